//! A model's shape, as `config.json` says it.

/// The shape of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Which family the checkpoint belongs to.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMS norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched beyond the trained context.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether query, key and value projections have a bias (Qwen2; Llama's `attention_bias`).
    pub qkv_bias: bool,
    /// Whether the attention's output projection has one (Llama's `attention_bias`).
    pub output_bias: bool,
    /// Whether the MLP's projections have one (Llama's `mlp_bias`).
    pub mlp_bias: bool,
    /// Tokens a query may look back, where the checkpoint limits it.
    pub sliding_window: Option<usize>,
}

/// The families that share this forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM2.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    Qwen2,
    /// Qwen3: RMS norms on each head of query and key.
    Qwen3,
}

/// How rotary frequencies are stretched.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// All frequencies divided by `factor`.
    Linear {
        /// The stretch.
        factor: f64,
    },
    /// Llama 3.1's rule.
    Llama3 {
        /// The stretch of long waves.
        factor: f64,
        /// Waves longer than context / this are stretched.
        low_freq_factor: f64,
        /// Waves shorter than context / this are kept.
        high_freq_factor: f64,
        /// The context before stretching.
        original_max_position_embeddings: usize,
    },
}
