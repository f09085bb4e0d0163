//! A reward model: a language model whose head scores each step of a completion, or the completion as a whole.

use super::Policy;
use super::scored_elsewhere::ScoredElsewhere;
use crate::batch::{micro_batches, sizes};
use crate::data::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::limited;
use crate::model::{Grad, Head, Model};
use crate::ranks::Served;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
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
    /// Of a head of ordered classes those whose probabilities add up to the score; none where it is the expected class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub score_classes: Vec<usize>,
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judges {
    /// Each step, at the last token of the separator behind it.
    Steps,
    /// The whole completion, at its last token.
    Outcome,
    /// Each step, and behind all of them the whole, at the place of the last: one score more than there are steps.
    Trajectory,
}

/// Tokens with the places where they are judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        match self.judges {
            Judges::Steps => {}
            Judges::Outcome => places = places.pop().into_iter().collect(),
            Judges::Trajectory => places.extend(places.last().copied()),
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
        let text = limited::text(&path, limited::DESCRIPTION).map_err(|error| match error {
            Error::Io { source, .. } => Error::Model(format!(
                "{}: {source}; a reward model is the checkpoint of a stage with [loop.prm]",
                path.display()
            )),
            other => other,
        })?;
        let wrong = |what: String| Error::Model(format!("{}: {what}", path.display()));
        let read: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        match (read.score_classes.iter().max(), read.head) {
            (None, _) => Ok(read),
            (Some(last), Head::Classes(classes)) if *last < classes => Ok(read),
            (Some(last), head) => Err(wrong(format!("score_classes: {head:?} has no class {last}"))),
        }
    }

    /// Writes it into a model's folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let text = serde_json::to_string_pretty(self).expect("plain data");
        std::fs::write(&path, text + "\n").map_err(Error::io(&path))
    }

    /// The score of each row of `logits`, `[n]`.
    pub fn of_logits(&self, logits: &Tensor) -> Tensor {
        if self.score_classes.is_empty() {
            return self.head.scores(logits);
        }
        let classes: Vec<i64> = self.score_classes.iter().map(|&class| class as i64).collect();
        let classes = Tensor::from_slice(&classes).to_device(logits.device());
        logits.softmax(-1, Kind::Float).index_select(-1, &classes).sum_dim_intlist(-1, false, Kind::Float)
    }

    /// The scores of each of `tokenized` at its places, in micro-batches of `budget` tokens.
    pub fn scores(
        &self,
        model: &Model,
        tokenized: &[TokenizedSteps],
        budget: usize,
    ) -> Result<Vec<Vec<f64>>> {
        in_micro_batches(tokenized, budget, |batches| {
            batches.iter().map(|batch| self.read(model, batch)).collect()
        })
    }

    /// The scores at all places of one micro-batch, end to end. What is read is laid on the model's device, and what it says is brought back from there.
    pub(super) fn read(&self, model: &Model, batch: &[&TokenizedSteps]) -> Result<Vec<f32>> {
        let tokens: Vec<&[u32]> = batch.iter().map(|one| one.tokens.as_slice()).collect();
        let places: Vec<&[usize]> = batch.iter().map(|one| one.places.as_slice()).collect();
        let logits =
            tch::no_grad(|| self.head.logits(model, &model.read(&tokens, &places, Grad::No)?.states))?;
        let scores = match self.judges {
            Judges::Steps | Judges::Outcome => self.of_logits(&logits),
            Judges::Trajectory => {
                let last = |count: usize| (1..=count).map(move |place| place == count);
                let whole: Vec<bool> = places.iter().flat_map(|places| last(places.len())).collect();
                Head::of_trajectories(&logits, &whole)
            }
        };
        Ok(Vec::try_from(&scores.to_device(Device::Cpu))?)
    }
}

/// The scores of each of `tokenized`, of which `read` is handed all micro-batches and gives those of each, end to end.
fn in_micro_batches(
    tokenized: &[TokenizedSteps],
    budget: usize,
    read: impl FnOnce(&[Vec<&TokenizedSteps>]) -> Result<Vec<Vec<f32>>>,
) -> Result<Vec<Vec<f64>>> {
    let sizes =
        sizes(&tokenized.iter().map(|tokenized| vec![tokenized.tokens.as_slice()]).collect::<Vec<_>>());
    let indices = micro_batches(&sizes, budget);
    let batches: Vec<Vec<&TokenizedSteps>> =
        indices.iter().map(|of| of.iter().map(|&index| &tokenized[index]).collect()).collect();
    let mut out = vec![Vec::new(); tokenized.len()];
    for (indices, scores) in indices.into_iter().zip(read(&batches)?) {
        let mut rest = scores.into_iter().map(f64::from);
        for index in indices {
            out[index] = rest.by_ref().take(tokenized[index].places.len()).collect();
        }
    }
    Ok(out)
}

/// A trained reward model with its tokenizer.
#[derive(Debug)]
pub struct RewardModel {
    /// What turns text into its tokens.
    pub tokenizer: Tokenizer,
    /// How its states are read.
    pub score_format: ScoreFormat,
    weights: Weights,
}

/// Where the weights are.
#[derive(Debug)]
enum Weights {
    Here(Box<Model>),
    /// With ranks that hold them for several.
    Elsewhere(ScoredElsewhere),
}

impl RewardModel {
    /// Loads the folder that a stage with `[loop.prm]` left.
    pub fn load(folder: &Path, kind: Kind, device: Device) -> Result<Self> {
        let score_format = ScoreFormat::load(folder)?;
        let Policy { model, tokenizer, .. } = Policy::load(folder, kind, device, 1)?;
        Ok(Self { tokenizer, score_format, weights: Weights::Here(Box::new(model)) })
    }

    /// The one called `name` (a folder or a hub id), which lies in `folder` here, as the ranks `served` hold it in `kind`: nothing of its weights is
    /// loaded by this one.
    pub fn served(name: &str, folder: &Path, kind: Kind, served: Arc<Served>) -> Result<Self> {
        let (score_format, tokenizer) = (ScoreFormat::load(folder)?, Tokenizer::load(folder)?);
        let weights = Weights::Elsewhere(ScoredElsewhere::new(name, kind, served));
        Ok(Self { tokenizer, score_format, weights })
    }

    /// The scores of the steps of each text after its prompt; of the whole, one, where that is what the model judges.
    pub fn scores(&self, prompt: &[u32], texts: &[Vec<&str>], budget: usize) -> Result<Vec<Vec<f64>>> {
        let tokenize = |steps: &Vec<&str>| self.score_format.tokenize_steps(&self.tokenizer, prompt, steps);
        let tokenized = texts.iter().map(tokenize).collect::<Result<Vec<_>>>()?;
        match &self.weights {
            Weights::Here(model) => self.score_format.scores(model, &tokenized, budget),
            Weights::Elsewhere(elsewhere) => {
                in_micro_batches(&tokenized, budget, |batches| elsewhere.read(batches))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::tiny;
    use serde_json::Value;

    /// Four classes of 1 : 2 : 3 : 4: the expected one is (2 + 6 + 12) / 10 = 2 of 3; the last two come to 0.7, the last alone to 0.4.
    #[test]
    fn named_classes_add_up_to_a_score() {
        let logits = Tensor::from_slice(&[0.0f32, 2f32.ln(), 3f32.ln(), 4f32.ln()]).view([1, 4]);
        let score = |score_classes: Vec<usize>| {
            let format = ScoreFormat {
                judges: Judges::Steps,
                head: Head::Classes(4),
                separator: vec![1],
                score_classes,
            };
            let folder = tempfile::tempdir().unwrap();
            format.save(folder.path()).unwrap();
            let read = ScoreFormat::load(folder.path()).unwrap();
            assert_eq!(read, format);
            read.of_logits(&logits).double_value(&[0])
        };
        for (classes, expected) in
            [(vec![], 2.0 / 3.0), (vec![2, 3], 0.7), (vec![3], 0.4), (vec![1, 2, 3], 0.9)]
        {
            assert!((score(classes.clone()) - expected).abs() < 1e-6, "{classes:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let head = Head::Classes(4);
        let beyond = ScoreFormat { judges: Judges::Steps, head, separator: vec![1], score_classes: vec![4] };
        beyond.save(folder.path()).unwrap();
        let said = ScoreFormat::load(folder.path()).unwrap_err().to_string();
        assert!(said.contains("score_classes") && said.contains("has no class 4"), "{said}");
    }

    /// The scores of a trajectory are those of its steps by one number, and that of the whole by the other, wherever a sequence stands.
    #[test]
    fn the_whole_is_read_where_the_last_step_is() {
        let mut policy = tiny(1, 1, 3);
        policy.model.add_score(2, true, 5);
        let format = |judges| ScoreFormat {
            judges,
            head: Head::Trajectory,
            separator: vec![10],
            score_classes: vec![],
        };
        let (steps, whole) = (format(Judges::Steps), format(Judges::Trajectory));
        let read = |format: &ScoreFormat, steps: &[&str]| {
            format.tokenize_steps(&policy.tokenizer, &[65], steps).unwrap()
        };
        let (one, two) = (read(&whole, &["a"]), read(&whole, &["a", "bc"]));
        assert_eq!((one.places.clone(), two.places.clone()), (vec![2, 2], vec![2, 5, 5]));
        assert!(read(&whole, &[]).places.is_empty());
        let found = whole.scores(&policy.model, &[two.clone(), one.clone()], 64).unwrap();
        let of_steps = steps.scores(&policy.model, &[read(&steps, &["a", "bc"])], 64).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-5, "{a} {b}");
        assert_eq!((found[0].len(), found[1].len()), (3, 2));
        near(found[0][0], of_steps[0][0]);
        near(found[0][1], of_steps[0][1]);
        near(found[1][0], of_steps[0][0]);
        let states = tch::no_grad(|| policy.model.read(&[&two.tokens], &[&[5]], Grad::No).unwrap().states);
        let logits = Head::Trajectory.logits(&policy.model, &states).unwrap();
        near(found[0][2], logits.double_value(&[0, 1]));
        assert!((found[0][2] - found[0][1]).abs() > 1e-6);
    }

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
            let score_format =
                ScoreFormat { judges, head: Head::Classes(2), separator, score_classes: vec![] };
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
