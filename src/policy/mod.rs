//! The policy: a model with its tokenizer, its end-of-sequence ids and its way of sampling.

pub mod attribution;
pub mod belief;
pub mod candidates;
pub mod choices;
mod elsewhere;
pub mod embedding;
mod folder;
pub mod init;
mod prompt_logprobs;
pub mod reference;
pub mod reward_model;
mod scored_elsewhere;
mod steer;
mod values;
pub mod sufficient;

pub use init::Init;
pub use prompt_logprobs::Told;
pub use reference::{Reference, Refresh};
pub use reward_model::RewardModel;
pub use scored_elsewhere::Holder;
pub use steer::{Spanned, Steered};

use elsewhere::{Current, Elsewhere};
use folder::belong_together;

use crate::batch::micro_batches;
use crate::data::hub::Hub;
use crate::data::tokenizer::{self, GENERATION, Tokenizer};
use crate::devices::native_kind;
use crate::engine::{Decoder, Sampler, Sampling, Stops};
use crate::error::{Error, Result};
use crate::model::layout::sizes;
use crate::model::lora::Lora;
use crate::model::{Grad, Model, Quantize, ScoredTokens, Sequence};
use crate::section::{Misfit, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// What is trained: `[policy]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Keep the matrices of the layers in four bits (`nf4`, as QLoRA does), frozen under `[policy.lora]`: about a quarter of bf16's memory. Products read
    /// them anew each time, forward and backward. What is saved is in full, adapters merged.
    pub quantize: Option<Quantize>,
    /// The share of the numbers of what attention and MLP add to each token's state that is dropped while `loop.sft` learns; never outside of
    /// that. 0.1 is usual, 0 drops nothing.
    pub dropout: f64,
    /// Add a direction to what the policy's layers give, to steer what it writes.
    pub steer: Option<Steered>,
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
            quantize: None,
            dropout: 0.0,
            steer: None,
            gradient_checkpointing: false,
            sampling: Sampling::default(),
            decode_slots: 64,
        }
    }
}

/// Number format of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// What cannot be used, as far as it can be told without opening anything.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        match (&self.model, &self.init) {
            (None, None) => found.push(Misfit::new(
                "",
                "[policy] names no model",
                "set policy.model to a folder or hub id, or add [policy.init]",
            )),
            (Some(_), Some(_)) => found.push(Misfit::new(
                "init",
                "policy.model and [policy.init] exclude each other",
                "keep one",
            )),
            _ => {}
        }
        if !(0.0..1.0).contains(&self.dropout) {
            found.push(Misfit::new("dropout", "it must be from 0 up to, not including, 1", ""));
        }
        if self.decode_slots == 0 {
            found.push(Misfit::new("decode_slots", "at least one sequence is decoded at a time", ""));
        }
        found.extend(under("init", self.init.iter().flat_map(Init::check)));
        found.extend(under("steer", self.steer.iter().flat_map(Steered::check)));
        found.extend(under("lora", self.lora.iter().flat_map(Lora::check)));
        found.extend(under("sampling", self.sampling.check()));
        found
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
    /// How its states are read, where it is a reward model in training.
    pub score_format: Option<reward_model::ScoreFormat>,
    slots: usize,
    version: u64,
    /// Who writes in place of a decoder over these weights.
    elsewhere: Option<RefCell<Elsewhere>>,
}

impl Policy {
    /// Loads or makes the policy on `device`; `seed` draws what is new (weights, adapters).
    pub fn open(config: &PolicyConfig, hub: &Hub, device: Device, seed: u64) -> Result<Self> {
        let kind = config.dtype.kind(device);
        let mut policy = match (&config.model, &config.init) {
            (Some(model), _) => {
                Self::load_as(&hub.model(model)?, kind, device, config.decode_slots, config.quantize)?
            }
            (None, Some(init)) => init.make(kind, device, seed, config.decode_slots)?,
            (None, None) => {
                return Err(Error::Recipe("[policy] names neither a model nor [policy.init]".into()));
            }
        };
        if config.quantize.is_some() {
            policy.model.quantise()?;
        }
        policy.model.checkpointing = config.gradient_checkpointing;
        policy.model.dropout = config.dropout;
        config.steer.as_ref().map_or(Ok(()), |steered| steered.apply(&mut policy.model))?;
        match &config.lora {
            Some(lora) => policy.model.add_lora(lora, seed)?,
            None => policy.model.train_all(),
        }
        Ok(policy)
    }

    /// Puts the parts together; the tokenizer's ids must have a row in the model's embedding.
    pub fn new(model: Model, tokenizer: Tokenizer, mut eos: Vec<u32>, slots: usize) -> Result<Self> {
        belong_together(&tokenizer, &model.config)?;
        if !eos.contains(&tokenizer.eos()) {
            eos.push(tokenizer.eos());
        }
        // What ends an assistant's turn ends what is sampled, where that is another token.
        eos.extend(tokenizer.turn_end().filter(|end| !eos.contains(end)));
        Ok(Self { model, tokenizer, eos, score_format: None, slots, version: 0, elsewhere: None })
    }

    /// What writes this policy's completions, with the weights as they are now.
    pub fn sampler(&self) -> Box<dyn Sampler + '_> {
        if let Some(elsewhere) = &self.elsewhere {
            return Box::new(Current { elsewhere, weights: &self.model, version: self.version });
        }
        Box::new(self.decoder())
    }

    /// A decoder over this policy's own weights.
    pub fn decoder(&self) -> Decoder<'_> {
        let decode = Box::new(|ids: &[u32]| self.tokenizer.decode(ids));
        let decoder = Decoder::new(&self.model, Stops { eos: &self.eos, decode }, self.slots);
        decoder.of_version(self.version)
    }

    /// What writes thoughts: nothing ends one but its length.
    pub fn thinker(&self) -> Box<dyn Sampler + '_> {
        Box::new(Decoder::new(&self.model, Stops::at(&[]), self.slots).of_version(self.version))
    }

    /// Takes on the weights of `other`, as a new version of this policy's, which whoever writes for it is told of.
    pub fn become_new(&mut self, other: Policy) {
        let (version, elsewhere) = (self.version, self.elsewhere.take());
        *self = Self { version, elsewhere, ..other };
        self.weights_changed();
    }

    /// The version of the weights: how often they have been said to have changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whoever has changed the weights says so: after an update, when a checkpoint was read, when other adapters take part.
    pub fn weights_changed(&mut self) {
        self.version += 1;
    }

    /// log p of every learned token at `temperature`, sequence by sequence, in micro-batches of `budget` tokens.
    pub fn logprobs(&self, sequences: &[Sequence], temperature: f64, budget: usize) -> Result<Vec<Vec<f32>>> {
        logprobs(&self.model, sequences, temperature, budget)
    }

    /// The ids of a completion given as text: its tokens and the end of sequence. Behind a known prompt, where a chat template may
    /// end a turn otherwise: [`Tokenizer::completion`].
    pub fn completion(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = self.tokenizer.encode_after(text, false)?;
        tokens.push(self.tokenizer.eos());
        Ok(tokens)
    }

    /// The entropy in nats of the distribution of every learned token at `temperature`, as
    /// [`logprobs`](Self::logprobs).
    pub fn entropies(
        &self,
        sequences: &[Sequence],
        temperature: f64,
        budget: usize,
    ) -> Result<Vec<Vec<f32>>> {
        of_tokens(&self.model, sequences, temperature, budget, |scored| scored.entropy)
    }

    /// `prompt`, the text `before` and then `text`, of which only the tokens of `text` are scored: Σ
    /// [`logprobs`](Self::logprobs) of it is log p(`text` | `prompt`, `before`). The texts are tokenised together, as
    /// training does.
    pub fn after(&self, prompt: &[u32], before: &str, text: &str) -> Result<Sequence> {
        let written = format!("{before}{text}");
        let ids = self.tokenizer.encode(&written)?;
        let scored = self.tokenizer.tokens_of(&ids, before.len()..written.len());
        Ok(Sequence::new(&[prompt, &ids[..scored.start]].concat(), &ids[scored]))
    }

    /// Writes a Hugging Face folder: weights (adapters merged into them), config, tokenizer and generation config. What
    /// the generation config said when it was loaded stays; end-of-sequence ids that it lacks are added. Of a model that is divided all
    /// ranks save the weights together, and the first the rest.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.model.save(folder)?;
        if !self.model.is_first() {
            return Ok(());
        }
        self.tokenizer.save(folder)?;
        self.score_format.as_ref().map_or(Ok(()), |score_format| score_format.save(folder))?;
        let known = tokenizer::generation_eos(folder, self.tokenizer.eos())?;
        if self.eos.iter().all(|id| known.contains(id)) {
            return Ok(());
        }
        let path: PathBuf = folder.join(GENERATION);
        let mut generation = tokenizer::generation_config(folder)?;
        generation.insert("eos_token_id".into(), self.eos.clone().into());
        generation.entry("pad_token_id").or_insert(self.tokenizer.pad().into());
        std::fs::write(&path, format!("{:#}\n", serde_json::Value::Object(generation)))
            .map_err(Error::io(&path))
    }

    /// Tokens that fit: the model's context.
    pub fn context(&self) -> usize {
        self.model.config.context()
    }
}

fn logprobs(model: &Model, sequences: &[Sequence], temperature: f64, budget: usize) -> Result<Vec<Vec<f32>>> {
    of_tokens(model, sequences, temperature, budget, |scored| scored.logprobs)
}

/// One value of every learned token, sequence by sequence.
fn of_tokens(
    model: &Model,
    sequences: &[Sequence],
    temperature: f64,
    budget: usize,
    value: impl Fn(ScoredTokens) -> Tensor,
) -> Result<Vec<Vec<f32>>> {
    let sizes = sizes(sequences.chunks(1).map(|one| (one, &[][..])));
    let mut out = vec![Vec::new(); sequences.len()];
    for indices in micro_batches(&sizes, budget) {
        let picked: Vec<Sequence> = indices.iter().map(|&i| sequences[i].clone()).collect();
        let scored = model.score(&picked, temperature, Grad::No)?;
        let values: Vec<f32> = Vec::try_from(&value(scored).to_device(Device::Cpu))?;
        let mut start = 0;
        for (index, sequence) in indices.into_iter().zip(&picked) {
            let end = start + sequence.learned();
            out[index] = values[start..end].to_vec();
            start = end;
        }
    }
    Ok(out)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model of a few thousand random weights over bytes, with two heads, that decodes one sequence at a time.
    pub(crate) fn tiny(layers: usize, kv_heads: usize, seed: u64) -> Policy {
        let init = Init { hidden_size: 16, layers, heads: 2, kv_heads, ..Init::default() };
        init.make(Kind::Float, Device::Cpu, seed, 1).unwrap()
    }

    /// A generation config's own keys survive; only a missing end-of-sequence id changes the file.
    #[test]
    fn a_loaded_generation_config_is_kept() {
        let policy = tiny(1, 2, 0);
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        policy.save(first.path()).unwrap();
        let eos = policy.tokenizer.eos();
        let saved_again = |generation: &str| {
            std::fs::write(first.path().join(GENERATION), generation).unwrap();
            let policy = Policy::load(first.path(), Kind::Float, Device::Cpu, 1).unwrap();
            policy.save(second.path()).unwrap();
            std::fs::read_to_string(second.path().join(GENERATION)).unwrap()
        };
        let complete = format!("{{\"eos_token_id\":[{eos},7],   \"temperature\":0.6}}");
        assert_eq!(saved_again(&complete), complete);
        let added: serde_json::Value =
            serde_json::from_str(&saved_again(r#"{"eos_token_id": 7, "top_p": 0.9}"#)).unwrap();
        assert_eq!(added["eos_token_id"], serde_json::json!([7, eos]));
        assert_eq!(added["top_p"], 0.9);
    }

    #[test]
    fn a_text_after_another_is_scored_as_the_tokens_that_hold_it() {
        let policy = tiny(1, 1, 3);
        // Bytes: "é" is two of them, so the answer's three characters are four tokens, after two of the prompt and three.
        let prompt = policy.tokenizer.encode("q:").unwrap();
        let asked = policy.after(&prompt, "1é", "2é3").unwrap();
        assert_eq!((asked.prompt().len(), asked.learned()), (2 + 3, 4));
        let whole = Sequence::new(&prompt, &policy.tokenizer.encode("1é2é3").unwrap());
        let logprobs = policy.logprobs(&[asked, whole], 1.0, 64).unwrap();
        assert_eq!(logprobs[0], logprobs[1][3..]);
    }
}
