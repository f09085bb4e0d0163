//! Heads that read a number off a model's states at chosen tokens: what reward and value models add to a language model.

use super::layout::PackedInputs;
use super::logprobs::Grad;
use super::trunk::Trunk;
use super::{Model, init};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

/// The names of the projection and of its tensors in a checkpoint, as transformers' classifiers have them.
pub(super) const SCORE: &str = "score";
pub(super) const WEIGHT: &str = "score.weight";
pub(super) const BIAS: &str = "score.bias";

/// A projection of the hidden states, under the names of transformers' classifiers: with a bias
/// `…ForTokenClassification`, without one `…ForSequenceClassification`.
#[derive(Debug)]
pub struct Projection {
    /// `[labels, hidden]`.
    pub weight: Tensor,
    /// `[labels]`.
    pub bias: Option<Tensor>,
}

impl Projection {
    /// What it makes of `states [n, hidden]`, in f32: `[n, labels]`.
    pub fn of(&self, states: &Tensor) -> Tensor {
        let float = |t: &Tensor| t.to_kind(Kind::Float);
        float(states).linear(&float(&self.weight), self.bias.as_ref().map(float))
    }

    /// By name, shared; `name` stands before both.
    pub(super) fn tensors(&self, name: &str) -> Vec<(String, Tensor)> {
        let mut all = vec![(format!("{name}.weight"), self.weight.shallow_clone())];
        all.extend(self.bias.as_ref().map(|bias| (format!("{name}.bias"), bias.shallow_clone())));
        all
    }

    /// The same, each tensor put through `change`.
    pub(super) fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { weight: change(&self.weight), bias: self.bias.as_ref().map(change) }
    }
}

/// How a state becomes a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// So many ordered classes, 0 the worst; the score is the expected class over the highest, in [0, 1]. Of two classes
    /// that is the probability of the better.
    Classes(usize),
    /// One number, squashed to [0, 1].
    Regression,
    /// One number as it is: a reward that only comparisons give a meaning.
    Scalar,
    /// The model's own next-token distribution between two tokens: the probability of the first.
    Vocabulary {
        /// The token that says right.
        positive: u32,
        /// The token that says wrong.
        negative: u32,
    },
    /// Two numbers as they are: what a step is worth, and what the whole is.
    Trajectory,
}

impl Head {
    /// Outputs of the projection; 0 where the head is the model's own.
    pub fn labels(self) -> usize {
        match self {
            Head::Classes(classes) => classes,
            Head::Regression | Head::Scalar => 1,
            Head::Trajectory => 2,
            Head::Vocabulary { .. } => 0,
        }
    }

    /// What the head says of `states [n, hidden]`, in f32: `[n, classes]`, of numbers `[n, 1]`, of tokens `[n, 2]` with
    /// the negative first.
    pub fn logits(self, model: &Model, states: &Tensor) -> Result<Tensor> {
        if let Head::Vocabulary { positive, negative } = self {
            let float = |t: &Tensor| t.to_kind(Kind::Float);
            let ids = Tensor::from_slice(&[i64::from(negative), i64::from(positive)]);
            let rows = model.output().index_select(0, &ids.to_device(model.device()));
            return Ok(model.logits_of(float(states).linear(&float(&rows), None::<&Tensor>)));
        }
        let projection = model.score.as_ref().filter(|p| p.weight.size()[0] == self.labels() as i64);
        let Some(projection) = projection else {
            return Err(Error::Model(format!("the model has no score head of {} outputs", self.labels())));
        };
        Ok(projection.of(states))
    }

    /// Of each row of `logits [n, 2]` of [`Head::Trajectory`] what it says of a step, or of the whole where `whole` says so: `[n]`.
    pub fn of_trajectories(logits: &Tensor, whole: &[bool]) -> Tensor {
        let columns: Vec<i64> = whole.iter().map(|whole| i64::from(*whole)).collect();
        let columns = Tensor::from_slice(&columns).to_device(logits.device()).unsqueeze(1);
        logits.gather(1, &columns, false).squeeze_dim(1)
    }

    /// The score of each row of `logits`, `[n]`; of [`Head::Trajectory`] as of a step.
    pub fn scores(self, logits: &Tensor) -> Tensor {
        match self {
            Head::Trajectory => logits.select(1, 0),
            Head::Scalar => logits.squeeze_dim(-1),
            Head::Regression => logits.squeeze_dim(-1).sigmoid(),
            Head::Classes(_) | Head::Vocabulary { .. } => {
                let classes = logits.size()[1];
                let worth = Tensor::arange(classes, (Kind::Float, logits.device())) / (classes - 1) as f64;
                (logits.softmax(-1, Kind::Float) * worth).sum_dim_intlist(-1, false, Kind::Float)
            }
        }
    }
}

/// States of some tokens, with the way back to the parameters.
#[derive(Debug)]
pub struct Read<'m> {
    /// `[places, hidden]`, sequence by sequence; with [`Grad::Yes`] a leaf that requires gradients.
    pub states: Tensor,
    trunk: Trunk<'m>,
}

impl Read<'_> {
    /// Adds ∂`loss` / ∂parameter to every trainable parameter's gradient. `loss` is a scalar computed from `states`.
    pub fn backward(self, loss: &Tensor) -> Result<()> {
        loss.f_backward()?;
        let grad = self.states.grad();
        self.trunk.backward(if grad.defined() { grad } else { self.states.zeros_like() })
    }
}

impl Model {
    /// The last layer's normalised states of each of `sequences` at its `places`, which count from its first token.
    pub fn read(&self, sequences: &[&[u32]], places: &[&[usize]], grad: Grad) -> Result<Read<'_>> {
        self.check_places(sequences, places)?;
        let trunk = Trunk::run(self, PackedInputs::whole(sequences, places, self.device()), grad)?;
        let states = trunk.states.detach().set_requires_grad(grad == Grad::Yes);
        Ok(Read { states, trunk })
    }

    /// Adds a new projection to `labels` numbers, normal(0, σ = `initializer_range`) with a bias of 0 where it has one. A
    /// model's own output projection is dropped: it takes no part any more.
    pub fn add_score(&mut self, labels: usize, bias: bool, seed: u64) {
        let shape = [labels as i64, self.config.hidden_size as i64];
        let (kind, device) = (self.kind(), self.device());
        let trainable = |t: Tensor| t.to_device(device).to_kind(kind).set_requires_grad(true);
        let weight = init::normal(&shape, self.config.initializer_range, init::stream(seed, WEIGHT));
        let zeros = || Tensor::zeros([labels as i64], (Kind::Float, tch::Device::Cpu));
        self.score = Some(Projection { weight: trainable(weight), bias: bias.then(|| trainable(zeros())) });
        self.head = None;
    }
}

/// Whether a `config.json` describes a classifier: its number of labels and whether its head has a bias.
pub(super) fn described(config: &Map<String, Value>) -> Option<(usize, bool)> {
    let class = config.get("architectures")?.as_array()?.first()?.as_str()?;
    let bias = match class {
        _ if class.ends_with("ForTokenClassification") => true,
        _ if class.ends_with("ForSequenceClassification") => false,
        _ => return None,
    };
    let named = config.get("id2label").and_then(Value::as_object).map(Map::len);
    let counted = config.get("num_labels").and_then(Value::as_u64).map(|n| n as usize);
    Some((named.or(counted).unwrap_or(2), bias))
}

/// Makes a causal model's `config.json` that of a classifier, with the `names` of its labels where they have any; `class` is what the family's
/// classes begin with where the file names none.
pub(super) fn describe(score: &Projection, names: Option<&Value>, class: &str, config: &mut Value) {
    let causal = config["architectures"][0].as_str().unwrap_or(class).to_owned();
    let family = causal.split("For").next().unwrap_or(class);
    let kind = if score.bias.is_some() { "Token" } else { "Sequence" };
    let labels = 0..score.weight.size()[0] as usize;
    let named =
        |i: usize| names.and_then(|names| names[i].as_str()).map_or(format!("LABEL_{i}"), str::to_string);
    let id2label: Map<String, Value> = labels.clone().map(|i| (i.to_string(), json!(named(i)))).collect();
    let label2id: Map<String, Value> = labels.map(|i| (named(i), json!(i))).collect();
    config["architectures"] = json!([format!("{family}For{kind}Classification")]);
    config["id2label"] = Value::Object(id2label);
    config["label2id"] = Value::Object(label2id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lora, Sequence};
    use tch::Device;

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double)).unwrap()
    }

    #[test]
    fn scores_are_expected_classes() {
        // ln 3 against 0: 3/4 and 1/4. Three classes 1 : 1 : 2 are worth 0, 1/2, 1: (0.5 + 2)/4 = 0.625.
        let two = Tensor::from_slice(&[0.0f32, 3f32.ln()]).view([1, 2]);
        let three = Tensor::from_slice(&[0.0f32, 0.0, 2f32.ln()]).view([1, 3]);
        let one = Tensor::from_slice(&[-(3f32.ln())]).view([1, 1]);
        let near = |head: Head, logits: &Tensor, expected: f64| {
            assert!((numbers(&head.scores(logits))[0] - expected).abs() < 1e-6, "{head:?}");
        };
        near(Head::Classes(2), &two, 0.75);
        near(Head::Vocabulary { positive: 1, negative: 0 }, &two, 0.75);
        near(Head::Classes(3), &three, 0.625);
        near(Head::Regression, &one, 0.25);
        near(Head::Scalar, &one, -(3f64.ln()));
        near(Head::Trajectory, &two, 0.0);
    }

    #[test]
    fn a_trajectory_has_a_number_of_each_step_and_one_of_the_whole() {
        let logits = Tensor::from_slice(&[0.5f32, 9.0, -0.25, 9.0, 9.0, 2.0]).view([3, 2]);
        let found = numbers(&Head::of_trajectories(&logits, &[false, false, true]));
        assert_eq!(found, [0.5, -0.25, 2.0]);
        assert_eq!(Head::Trajectory.labels(), 2);
    }

    #[test]
    fn tokens_of_the_vocabulary_agree_with_the_models_log_probabilities() {
        let model = Model::tiny(2);
        let tokens = [3u32, 5, 7, 9];
        let read = model.read(&[&tokens], &[&[1, 3]], Grad::No).unwrap();
        let scores = Head::Vocabulary { positive: 4, negative: 6 };
        let scores = numbers(&scores.scores(&scores.logits(&model, &read.states).unwrap()));
        // p(4) / (p(4) + p(6)) after the first two tokens and after all four.
        for (found, known) in scores.iter().zip([2, 4]) {
            let of = |token| Sequence::new(&tokens[..known], &[token]);
            let scored = model.score(&[of(4), of(6)], 1.0, Grad::No).unwrap();
            let p: Vec<f64> = numbers(&scored.logprobs.exp());
            assert!((found - p[0] / (p[0] + p[1])).abs() < 1e-6);
        }
    }

    fn squares(model: &Model, grad: Grad) -> (Read<'_>, Tensor) {
        let (a, b, head) = ([3u32, 5, 7, 9], [2u32, 4], Head::Classes(2));
        let read = model.read(&[&a, &b], &[&[1, 3], &[1]], grad).unwrap();
        let loss = head.scores(&head.logits(model, &read.states).unwrap()).square().sum(Kind::Float);
        (read, loss)
    }

    /// The analytic gradient against a difference quotient, with and without checkpointing, packed and alone.
    #[test]
    fn gradients_flow_into_backbone_and_head() {
        for checkpointing in [false, true] {
            let mut model = Model::tiny(2);
            model.train_all();
            model.add_score(2, true, 7);
            model.checkpointing = checkpointing;
            let (read, value) = squares(&model, Grad::Yes);
            read.backward(&value).unwrap();
            for name in ["model.layers.0.mlp.up_proj.weight", "score.weight", "model.embed_tokens.weight"] {
                let (_, tensor) = model.parameters().into_iter().find(|(known, _)| known == name).unwrap();
                let gradient = tensor.grad();
                let direction = gradient.sign();
                let moved = |by: f64| {
                    tch::no_grad(|| {
                        let mut tensor = tensor.shallow_clone();
                        let _ = tensor.g_add_(&(&direction * by));
                        let (_, value) = squares(&model, Grad::No);
                        let _ = tensor.g_add_(&(&direction * -by));
                        value.double_value(&[])
                    })
                };
                let finite_difference = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                let expected = gradient.abs().sum(Kind::Float).double_value(&[]);
                assert!(
                    (finite_difference - expected).abs() < 0.02 * expected + 1e-4,
                    "{name}: {finite_difference} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_head_is_saved_with_its_backbone_and_comes_back() {
        for (labels, bias, class) in
            [(3, true, "LlamaForTokenClassification"), (1, false, "LlamaForSequenceClassification")]
        {
            let folder = tempfile::tempdir().unwrap();
            let mut model = Model::tiny(2);
            model.add_lora(&Lora { rank: 2, ..Lora::default() }, 3).unwrap();
            model.add_score(labels, bias, 7);
            model.save(folder.path()).unwrap();
            let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
            assert!(config.contains(class), "{config}");
            let loaded = Model::load(folder.path(), Kind::Float, Device::Cpu).unwrap();
            let (before, after) = (model.score.unwrap(), loaded.score.as_ref().unwrap());
            assert!(before.weight.equal(&after.weight) && after.bias.is_some() == bias);
            assert!(Head::Classes(2).logits(&loaded, &loaded.norm.unsqueeze(0)).is_err());
        }
    }
}
