//! Shapes of well-known models, as their `config.json` on the hub have them.

use crate::model::{Config, Family};

/// Makes a model's shape.
type Shape = fn() -> Config;

/// What a model is called here, and its shape.
pub const MODELS: [(&str, Shape); 5] = [
    ("0.6B", qwen3_600m),
    ("8B", llama_8b),
    ("32B", qwen3_32b),
    ("70B", llama_70b),
    ("30B-A3B", qwen3_30b_a3b),
];

/// Qwen3-0.6B.
pub fn qwen3_600m() -> Config {
    Config {
        hidden_size: 1024,
        intermediate_size: 3072,
        num_hidden_layers: 28,
        num_attention_heads: 16,
        ..qwen3()
    }
}

/// Qwen3-32B.
fn qwen3_32b() -> Config {
    Config {
        hidden_size: 5120,
        intermediate_size: 25_600,
        num_hidden_layers: 64,
        num_attention_heads: 64,
        tie_word_embeddings: false,
        ..qwen3()
    }
}

/// Qwen3-30B-A3B: 8 of 128 experts of width 768, as the family has it by default.
fn qwen3_30b_a3b() -> Config {
    let family = Family::named("qwen3_moe").expect("a row of the families");
    Config {
        family,
        hidden_size: 2048,
        intermediate_size: 6144,
        num_hidden_layers: 48,
        num_attention_heads: 32,
        num_key_value_heads: 4,
        tie_word_embeddings: false,
        ..qwen3()
    }
}

/// Llama-3.1-8B.
fn llama_8b() -> Config {
    Config {
        hidden_size: 4096,
        intermediate_size: 14_336,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        ..llama3()
    }
}

/// Llama-3.1-70B.
fn llama_70b() -> Config {
    Config {
        hidden_size: 8192,
        intermediate_size: 28_672,
        num_hidden_layers: 80,
        num_attention_heads: 64,
        ..llama3()
    }
}

fn qwen3() -> Config {
    let family = Family::named("qwen3").expect("a row of the families");
    Config { family, vocab_size: 151_936, max_position_embeddings: 40_960, rope_theta: 1e6, ..wide() }
}

fn llama3() -> Config {
    Config {
        vocab_size: 128_256,
        max_position_embeddings: 131_072,
        rope_theta: 5e5,
        tie_word_embeddings: false,
        ..wide()
    }
}

/// Heads of 128, eight of them for keys and values.
fn wide() -> Config {
    Config { num_key_value_heads: 8, head_dim: 128, ..Config::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of weights that the hub shows.
    #[test]
    fn shapes_are_those_that_they_are_called_after() {
        let sizes = MODELS.map(|(_, shape)| shape().size());
        assert_eq!(sizes, [596_049_920, 8_030_261_248, 32_762_123_264, 70_553_706_496, 30_532_122_624]);
        // "3.3B activated" by its card.
        assert_eq!((qwen3_30b_a3b().size_for(1.0) / 1e8).floor(), 33.0);
    }
}
