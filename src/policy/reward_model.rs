//! A reward model: a language model whose head scores each step of a completion, or the completion as a whole.

use super::Policy;
use crate::batch::{micro_batches, sizes};
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::model::{Grad, Head, Model};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// The file beside the weights that says how they are to be read.
pub const FILE: &str = "reward_model.json";

/// How a reward model reads a completion: what its folder keeps beside the weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScoreFormat {
    /// What it judges.
    pub judges: Judges,
    /// How a state becomes a score.
    pub head: Head,
    /// The tokens after each step; the last of them is where the step is judged.
    pub separator: Vec<u32>,
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judges {
    /// Each step, at the last token of the separator behind it.
    Steps,
    /// The whole completion, at its last token.
    Outcome,
}

/// Tokens with the places where they are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedSteps {
    /// Prompt, then completion.
    pub tokens: Vec<u32>,
    /// Indices of the tokens whose states are read.
    pub places: Vec<usize>,
    /// Tokens of the prompt.
    pub prompt: usize,
}

impl ScoreFormat {
    /// `prompt`, then each step's tokens and the separator's. Steps are tokenised one by one and the separator is
    /// appended as ids, so that no token reaches across a joint (TRL's `tokenize_row`).
    pub fn tokenize_steps(
        &self,
        tokenizer: &Tokenizer,
        prompt: &[u32],
        steps: &[impl AsRef<str>],
    ) -> Result<TokenizedSteps> {
        let (mut tokens, mut places) = (prompt.to_vec(), Vec::with_capacity(steps.len()));
        for step in steps {
            tokens.extend(tokenizer.encode(step.as_ref())?);
            tokens.extend(&self.separator);
            places.push(tokens.len() - 1);
        }
        if self.judges == Judges::Outcome {
            places = places.pop().into_iter().collect();
        }
        Ok(TokenizedSteps { tokens, places, prompt: prompt.len() })
    }

    /// Whether a folder is that of a reward model.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(FILE).is_file()
    }

    /// Reads the file in a model's folder.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Error::Model(format!(
                "{}: {error}; a reward model is the checkpoint of a stage with [loop.prm]",
                path.display()
            ))
        })?;
        serde_json::from_str(&text).map_err(|error| Error::Model(format!("{}: {error}", path.display())))
    }

    /// Writes it into a model's folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let text = serde_json::to_string_pretty(self).expect("plain data");
        std::fs::write(&path, text + "\n").map_err(Error::io(&path))
    }

    /// The scores of each of `tokenized` at its places, in micro-batches of `budget` tokens.
    pub fn scores(
        &self,
        model: &Model,
        tokenized: &[TokenizedSteps],
        budget: usize,
    ) -> Result<Vec<Vec<f64>>> {
        let sizes =
            sizes(&tokenized.iter().map(|tokenized| vec![tokenized.tokens.as_slice()]).collect::<Vec<_>>());
        let mut out = vec![Vec::new(); tokenized.len()];
        for indices in micro_batches(&sizes, budget) {
            let read = logits(self.head, model, indices.iter().map(|&i| &tokenized[i]))?;
            let scores: Vec<f32> = Vec::try_from(&self.head.scores(&read).to_device(Device::Cpu))?;
            let mut rest = scores.into_iter().map(f64::from);
            for index in indices {
                out[index] = rest.by_ref().take(tokenized[index].places.len()).collect();
            }
        }
        Ok(out)
    }
}

/// What `head` says at the places of `tokenized`, without gradients.
fn logits<'a>(
    head: Head,
    model: &Model,
    tokenized: impl Iterator<Item = &'a TokenizedSteps>,
) -> Result<Tensor> {
    let (tokens, places): (Vec<&[u32]>, Vec<&[usize]>) =
        tokenized.map(|tokenized| (tokenized.tokens.as_slice(), tokenized.places.as_slice())).unzip();
    tch::no_grad(|| head.logits(model, &model.read(&tokens, &places, Grad::No)?.states))
}

/// A trained reward model with its tokenizer.
#[derive(Debug)]
pub struct RewardModel {
    /// The weights and what turns text into tokens.
    pub policy: Policy,
    /// How they are read.
    pub score_format: ScoreFormat,
}

impl RewardModel {
    /// Loads the folder that a stage with `[loop.prm]` left.
    pub fn load(folder: &Path, kind: Kind, device: Device) -> Result<Self> {
        let score_format = ScoreFormat::load(folder)?;
        Ok(Self { policy: Policy::load(folder, kind, device, 1)?, score_format })
    }

    /// The scores of the steps of each text after its prompt; of the whole, one, where that is what the model judges.
    pub fn scores(&self, prompt: &[u32], texts: &[Vec<&str>], budget: usize) -> Result<Vec<Vec<f64>>> {
        let tokenize =
            |steps: &Vec<&str>| self.score_format.tokenize_steps(&self.policy.tokenizer, prompt, steps);
        let tokenized = texts.iter().map(tokenize).collect::<Result<Vec<_>>>()?;
        self.score_format.scores(&self.policy.model, &tokenized, budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// TRL's `tokenize_row` (tests/fixtures/reward_model/make.py): ids, and labels on the last separator token alone.
    #[test]
    fn rows_are_laid_as_trl_lays_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preference/trl");
        let tokenizer = Tokenizer::load(&folder).unwrap();
        let cases: Vec<Value> =
            serde_json::from_str(include_str!("../../tests/fixtures/reward_model/rows.json")).unwrap();
        assert_eq!(cases.len(), 8);
        for case in cases {
            let mut prompt = tokenizer.encode(case["prompt"].as_str().unwrap()).unwrap();
            if case["bos"] == true {
                prompt.insert(0, tokenizer.pad().unwrap());
            }
            let judges = if case["last_step_only"] == true { Judges::Outcome } else { Judges::Steps };
            let separator = tokenizer.encode(case["separator"].as_str().unwrap()).unwrap();
            let score_format = ScoreFormat { judges, head: Head::Classes(2), separator };
            let texts = |key: &str| -> Vec<String> { serde_json::from_value(case[key].clone()).unwrap() };
            let tokenized = score_format.tokenize_steps(&tokenizer, &prompt, &texts("completions")).unwrap();
            let ids: Vec<u32> = serde_json::from_value(case["input_ids"].clone()).unwrap();
            assert_eq!(tokenized.tokens, ids);
            let labels: Vec<i64> = serde_json::from_value(case["token_labels"].clone()).unwrap();
            let places: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] != -100).collect();
            assert_eq!(tokenized.places, places);
        }
    }
}
