//! The policy: a model with its tokenizer, its end-of-sequence ids and its way of sampling.

pub mod init;
pub mod reference;

pub use init::Init;
pub use reference::Reference;

use crate::batch::micro_batches;
use crate::data::hub::Hub;
use crate::data::tokenizer::{self, Tokenizer};
use crate::devices::native_kind;
use crate::engine::{self, Generated, Progress, Request, Sampling, Stops};
use crate::error::{Error, Result};
use crate::model::lora::Lora;
use crate::model::{Grad, Model, Sequence};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// What is trained: `[policy]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// A Hugging Face folder, a hub id (`owner/name` or `owner/name@revision`), or `@stage` for an earlier stage's
    /// result. Exactly one of this and `[policy.init]`.
    pub model: Option<String>,
    /// A new model made from sizes.
    pub init: Option<Init>,
    /// Number format of the weights; `auto` is bf16 where the device multiplies it natively, f32 elsewhere. The
    /// optimiser keeps f32 master weights for bf16.
    pub dtype: Dtype,
    /// Train low-rank adapters instead of the weights.
    pub lora: Option<Lora>,
    /// Keep only each layer's input for the backward pass and recompute the rest: less memory, a third more time.
    pub gradient_checkpointing: bool,
    /// How completions are sampled.
    pub sampling: Sampling,
    /// Sequences decoded at once.
    pub decode_slots: usize,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            model: None,
            init: None,
            dtype: Dtype::Auto,
            lora: None,
            gradient_checkpointing: false,
            sampling: Sampling::default(),
            decode_slots: 64,
        }
    }
}

/// Number format of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// bf16 where the device multiplies it natively, f32 elsewhere.
    Auto,
    /// 32-bit floats.
    F32,
    /// bfloat16.
    Bf16,
}

impl Dtype {
    /// The format on `device`.
    pub fn kind(self, device: Device) -> Kind {
        match self {
            Dtype::Auto => native_kind(device),
            Dtype::F32 => Kind::Float,
            Dtype::Bf16 => Kind::BFloat16,
        }
    }
}

impl PolicyConfig {
    /// Checks what can be checked without opening anything.
    pub fn validate(&self) -> Result<()> {
        match (&self.model, &self.init) {
            (None, None) => {
                return Err(Error::Recipe(
                    "[policy] names no model: set policy.model to a folder or hub id, or add [policy.init]"
                        .into(),
                ));
            }
            (Some(_), Some(_)) => {
                return Err(Error::Recipe(
                    "policy.model and [policy.init] exclude each other: keep one".into(),
                ));
            }
            _ => {}
        }
        if self.decode_slots == 0 {
            return Err(Error::Recipe(
                "policy.decode_slots = 0: at least one sequence is decoded at a time".into(),
            ));
        }
        if let Some(init) = &self.init {
            init.validate()?;
        }
        if let Some(lora) = &self.lora {
            lora.check().map_err(|why| Error::Recipe(format!("[policy.lora] {why}")))?;
        }
        self.sampling.validate()
    }
}

/// A model that generates, with what turns its tokens into text.
#[derive(Debug)]
pub struct Policy {
    /// The weights.
    pub model: Model,
    /// Text ↔ token ids.
    pub tokenizer: Tokenizer,
    /// Every id that ends a sequence.
    pub eos: Vec<u32>,
    slots: usize,
}

impl Policy {
    /// Loads or makes the policy on `device`; `seed` draws what is new (weights, adapters).
    pub fn open(config: &PolicyConfig, hub: &Hub, device: Device, seed: u64) -> Result<Self> {
        let kind = config.dtype.kind(device);
        let mut policy = match (&config.model, &config.init) {
            (Some(model), _) => Self::load(&hub.model(model)?, kind, device, config.decode_slots)?,
            (None, Some(init)) => init.make(kind, device, seed, config.decode_slots)?,
            (None, None) => return config.validate().map(|()| unreachable!("validate refuses this")),
        };
        policy.model.checkpointing = config.gradient_checkpointing;
        match &config.lora {
            Some(lora) => policy.model.add_lora(lora, seed)?,
            None => policy.model.train_all(),
        }
        Ok(policy)
    }

    /// Loads a Hugging Face folder.
    pub fn load(folder: &Path, kind: Kind, device: Device, slots: usize) -> Result<Self> {
        let tokenizer = Tokenizer::load(folder)?;
        let eos = tokenizer::generation_eos(folder)?;
        let model = Model::load(folder, kind, device)?;
        Self::new(model, tokenizer, eos, slots)
    }

    /// Puts the parts together; the tokenizer's ids must have a row in the model's embedding.
    pub fn new(model: Model, tokenizer: Tokenizer, mut eos: Vec<u32>, slots: usize) -> Result<Self> {
        let (ids, rows) = (tokenizer.vocab_size(), model.config.vocab_size);
        if ids > rows {
            return Err(Error::Model(format!(
                "the tokenizer knows {ids} tokens and the model has {rows} embedding rows: they do not belong together"
            )));
        }
        if !eos.contains(&tokenizer.eos()) {
            eos.push(tokenizer.eos());
        }
        Ok(Self { model, tokenizer, eos, slots })
    }

    /// Samples completions; see [`engine::generate`].
    pub fn generate(
        &self,
        requests: &[Request],
        sampling: &Sampling,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Generated> {
        let decode = |ids: &[u32]| self.tokenizer.decode(ids);
        let stops = Stops { eos: &self.eos, decode: &decode };
        engine::generate(&self.model, requests, sampling, &stops, self.slots, progress)
    }

    /// log p of every completion token at `temperature`, sequence by sequence, in micro-batches of `budget` tokens.
    pub fn logprobs(&self, sequences: &[Sequence], temperature: f64, budget: usize) -> Result<Vec<Vec<f32>>> {
        logprobs(&self.model, sequences, temperature, budget)
    }

    /// `prompt`, the text `before` and then `text`, of which only the tokens of `text` are scored: Σ
    /// [`logprobs`](Self::logprobs) of it is log p(`text` | `prompt`, `before`). The texts are tokenised together, as
    /// training does.
    pub fn after(&self, prompt: &[u32], before: &str, text: &str) -> Result<Sequence> {
        let written = format!("{before}{text}");
        let ids = self.tokenizer.encode(&written)?;
        let scored = self.tokenizer.tokens_of(&ids, before.len()..written.len());
        let tokens = [prompt, &ids[..scored.end]].concat();
        Ok(Sequence { prompt: prompt.len() + scored.start, tokens })
    }

    /// Writes a Hugging Face folder: weights (adapters merged into them), config, tokenizer and generation config.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.model.save(folder)?;
        self.tokenizer.save(folder)?;
        let path: PathBuf = folder.join("generation_config.json");
        let generation = serde_json::json!({
            "eos_token_id": self.eos,
            "pad_token_id": self.tokenizer.pad(),
        });
        std::fs::write(&path, format!("{generation:#}\n")).map_err(Error::io(&path))
    }

    /// Tokens that fit: the model's context.
    pub fn context(&self) -> usize {
        self.model.config.max_position_embeddings
    }
}

fn logprobs(model: &Model, sequences: &[Sequence], temperature: f64, budget: usize) -> Result<Vec<Vec<f32>>> {
    let lengths: Vec<usize> = sequences.iter().map(|s| s.tokens.len()).collect();
    let mut out = vec![Vec::new(); sequences.len()];
    for indices in micro_batches(&lengths, budget) {
        let picked: Vec<Sequence> = indices.iter().map(|&i| sequences[i].clone()).collect();
        let scored = model.score(&picked, temperature, Grad::No)?;
        let values: Vec<f32> = Vec::try_from(&scored.logprobs.to_device(Device::Cpu))?;
        let mut start = 0;
        for (index, sequence) in indices.into_iter().zip(&picked) {
            let end = start + sequence.tokens.len() - sequence.prompt;
            out[index] = values[start..end].to_vec();
            start = end;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_after_another_is_scored_as_the_tokens_that_hold_it() {
        let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
        let policy = init.make(Kind::Float, Device::Cpu, 3, 1).unwrap();
        // Bytes: "é" is two of them, so the answer's three characters are four tokens, after two of the prompt and three.
        let prompt = policy.tokenizer.encode("q:").unwrap();
        let asked = policy.after(&prompt, "1é", "2é3").unwrap();
        assert_eq!((asked.prompt, asked.completion()), (2 + 3, 4));
        let whole = Sequence::new(&prompt, &policy.tokenizer.encode("1é2é3").unwrap());
        let logprobs = policy.logprobs(&[asked, whole], 1.0, 64).unwrap();
        assert_eq!(logprobs[0], logprobs[1][3..]);
    }
}
