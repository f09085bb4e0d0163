//! A new policy from sizes: `[policy.init]`.

use super::Policy;
use crate::data::tokenizer::Tokenizer;
use crate::error::Result;
use crate::model::{Config, Model};
use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// The shape of a new model (Llama's architecture) and its tokenizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Init {
    /// One token a byte, or one a character of `alphabet`.
    pub tokenizer: Level,
    /// The characters that a character-level tokenizer knows; printable ASCII and the line feed by default.
    pub alphabet: String,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Transformer layers, one on the other.
    pub layers: usize,
    /// Query heads; `hidden_size` is a multiple of it.
    pub heads: usize,
    /// Key and value heads; `heads` is a multiple of it.
    pub kv_heads: usize,
    /// Width of the MLP; 4 × `hidden_size` × 2/3, rounded up to a multiple of 32, by default.
    pub intermediate_size: Option<usize>,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of new weights. 0.02 is usual for widths of a thousand; a narrow model begins to attend sooner with 1/√`hidden_size`.
    pub initializer_range: f64,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A byte of UTF-8.
    Bytes,
    /// A character.
    Characters,
}

impl Default for Init {
    fn default() -> Self {
        Self {
            tokenizer: Level::Bytes,
            alphabet: std::iter::once('\n').chain(' '..='~').collect(),
            hidden_size: 128,
            layers: 4,
            heads: 4,
            kv_heads: 4,
            intermediate_size: None,
            context: 512,
            rope_theta: 10_000.0,
            tie_word_embeddings: true,
            initializer_range: 0.02,
        }
    }
}

impl Init {
    /// Sizes that do not fit together.
    pub fn check(&self) -> Vec<Misfit> {
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("layers", self.layers),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("context", self.context),
        ];
        let none = sizes.iter().filter(|(_, size)| *size == 0);
        let mut found: Vec<Misfit> =
            none.map(|(key, _)| Misfit::new(*key, "it must be at least 1", "")).collect();
        if !self.hidden_size.is_multiple_of(2 * self.heads) && self.heads > 0 {
            let message = format!(
                "it must be a multiple of 2 × heads = {}, because heads have an even width",
                2 * self.heads
            );
            found.push(Misfit::new("hidden_size", message, ""));
        }
        if !(self.rope_theta >= 1.0 && self.rope_theta.is_finite()) {
            found.push(Misfit::new("rope_theta", "it must be a number of at least 1", "10000 is usual"));
        }
        if !(self.initializer_range > 0.0 && self.initializer_range <= 1.0) {
            found.push(Misfit::new("initializer_range", "it must be above 0 and at most 1", "0.02 is usual"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) && self.kv_heads > 0 {
            let message = format!("it must be a multiple of kv_heads = {}", self.kv_heads);
            found.push(Misfit::new("heads", message, ""));
        }
        found
    }

    /// The model's shape over `vocab_size` tokens.
    pub fn shape(&self, vocab_size: usize) -> Config {
        let mut config = Config { vocab_size, ..Config::default() };
        config.hidden_size = self.hidden_size;
        config.intermediate_size =
            self.intermediate_size.unwrap_or((self.hidden_size * 8 / 3).next_multiple_of(32));
        config.num_hidden_layers = self.layers;
        config.num_attention_heads = self.heads;
        config.num_key_value_heads = self.kv_heads;
        config.head_dim = self.hidden_size / self.heads.max(1);
        config.max_position_embeddings = self.context;
        config.rope_theta = self.rope_theta;
        config.tie_word_embeddings = self.tie_word_embeddings;
        config.initializer_range = self.initializer_range;
        config
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        match self.tokenizer {
            Level::Bytes => Ok(Tokenizer::bytes()),
            Level::Characters => Tokenizer::characters(&self.alphabet),
        }
    }

    /// Draws the weights from `seed`.
    pub fn make(&self, kind: Kind, device: Device, seed: u64, slots: usize) -> Result<Policy> {
        let tokenizer = self.tokenizer()?;
        let model = Model::init(self.shape(tokenizer.vocab_size()), kind, device, seed)?;
        let eos = vec![tokenizer.eos()];
        Policy::new(model, tokenizer, eos, slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_weights_are_as_wide_as_is_said() {
        let narrow = Init { initializer_range: 0.125, ..Init::default() };
        assert!(narrow.check().is_empty());
        assert_eq!(
            (narrow.shape(9).initializer_range, Init::default().shape(9).initializer_range),
            (0.125, 0.02)
        );
        for wrong in [0.0, -0.02, 1.5, f64::NAN] {
            let found = Init { initializer_range: wrong, ..Init::default() }.check();
            assert!(found.len() == 1 && found[0].key == "initializer_range", "{wrong}: {found:?}");
        }
    }
}
