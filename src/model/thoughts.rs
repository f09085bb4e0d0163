//! What thinks before each token of a language model (Quiet-STaR, Zelikman et al. 2024, arXiv 2403.09629): embeddings of what begins
//! and ends a thought, and a head that mixes the states with and without one.

use super::stored::{Stored, Taking};
use super::{Model, init, linear, weights};
use crate::Result;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// The file beside the weights that holds all of it: whoever loads the folder without it has the model that does not think.
pub const FILE: &str = "thoughts.safetensors";

const MARKS: &str = "thoughts.marks";
const SCALE: &str = "thoughts.scale";

/// The two marks and the mixing head.
#[derive(Debug)]
pub struct Thoughts {
    /// Of the tokens that begin and end a thought, what times `scale` is their embedding, `[2, hidden]`.
    pub marks: Tensor,
    /// An optimiser that moves each number by its learning rate moves the embeddings by so many times that.
    pub scale: f64,
    /// A perceptron of three layers over both states, `[hidden, 2 · hidden]`, `[hidden, hidden]`, `[1, hidden]`, each with its bias.
    pub mixing: [(Tensor, Tensor); 3],
}

impl Thoughts {
    /// By name, shared.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let of = |(layer, (weight, bias)): (usize, &(Tensor, Tensor))| {
            [("weight", weight), ("bias", bias)].map(|(what, t)| (named(layer, what), t.shallow_clone()))
        };
        let mixing = self.mixing.iter().enumerate().flat_map(of);
        [(MARKS.to_string(), self.marks.shallow_clone())].into_iter().chain(mixing).collect()
    }

    /// The share of the state with a thought, `[n, 1]`, from both states `[n, hidden]`; 0 for all at the start.
    pub fn weight(&self, base: &Tensor, thought: &Tensor) -> Tensor {
        let mut x = Tensor::cat(&[base, thought], -1);
        for (layer, (weight, bias)) in self.mixing.iter().enumerate() {
            x = if layer == 0 { x } else { x.relu() };
            x = linear::product(&x, weight, Some(bias));
        }
        x
    }

    /// The embeddings of `tokens`, of which those behind the rows of `embedding` are the marks.
    pub(super) fn embed(&self, embedding: &Tensor, tokens: &Tensor) -> Tensor {
        let rows = embedding.size()[0];
        let known = Tensor::embedding(embedding, &tokens.clamp_max(rows - 1), -1, false, false);
        let marks = (&self.marks * self.scale).index_select(0, &(tokens - rows).clamp_min(0));
        marks.where_self(&tokens.ge(rows).unsqueeze(-1), &known)
    }

    /// The same, each tensor put through `change`.
    pub(super) fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        let mixing = self.mixing.each_ref().map(|(weight, bias)| (change(weight), change(bias)));
        Self { marks: change(&self.marks), scale: self.scale, mixing }
    }

    /// Writes its file into the folder `dir`.
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let scale = (SCALE.to_string(), Tensor::from_slice(&[self.scale as f32]));
        weights::write_tensors(&dir.join(FILE), self.tensors().into_iter().chain([scale]).collect())
    }

    /// What the folder `dir` holds of it, if it does, for states of `hidden` numbers.
    pub(super) fn load(dir: &Path, hidden: usize, taking: Taking) -> Result<Option<Self>> {
        let Some(mut stored) = Stored::beside(dir.join(FILE), taking)? else { return Ok(None) };
        let scale = stored.take(SCALE, &[1])?.double_value(&[0]);
        let mut of = |name: &str, shape: &[i64]| stored.take_as(name, shape);
        let hidden = hidden as i64;
        let marks = of(MARKS, &[2, hidden])?;
        let mut layer = |layer: usize, shape: [i64; 2]| -> Result<(Tensor, Tensor)> {
            Ok((of(&named(layer, "weight"), &shape)?, of(&named(layer, "bias"), &shape[..1])?))
        };
        let mixing = [layer(0, [hidden, 2 * hidden])?, layer(1, [hidden, hidden])?, layer(2, [1, hidden])?];
        stored.nothing_left(None)?;
        Ok(Some(Self { marks, scale, mixing }))
    }
}

fn named(layer: usize, what: &str) -> String {
    format!("thoughts.mixing.{layer}.{what}")
}

impl Model {
    /// Lets the model think, where it does not yet: both marks are embedded as the mean of the tokens `like` (of all, where none is
    /// named), the head's last layer is 0, so that thoughts change nothing at first.
    pub fn add_thoughts(&mut self, like: &[u32], scale: f64, seed: u64) {
        if self.thoughts.is_some() {
            return;
        }
        let (hidden, kind, device) = (self.config.hidden_size as i64, self.kind(), self.device());
        let float = self.embedding.detach().to_kind(Kind::Float);
        let ids: Vec<i64> = like.iter().map(|&id| i64::from(id)).collect();
        let rows = match ids.is_empty() {
            true => float,
            false => float.index_select(0, &Tensor::from_slice(&ids).to_device(device)),
        };
        let mean = rows.mean_dim(0, false, Kind::Float) / scale;
        let placed = |t: Tensor| t.to_device(device).to_kind(kind);
        let layer = |layer: usize, out: i64, input: i64| {
            let drawn = |what: &str, shape: &[i64]| {
                let name = named(layer, what);
                placed(init::uniform(shape, 1.0 / (input as f32).sqrt(), init::stream(seed, &name)))
            };
            (drawn("weight", &[out, input]), drawn("bias", &[out]))
        };
        let zeros = |shape: &[i64]| placed(Tensor::zeros(shape, (Kind::Float, Device::Cpu)));
        self.thoughts = Some(Thoughts {
            marks: placed(Tensor::stack(&[&mean, &mean], 0)),
            scale,
            mixing: [
                layer(0, hidden, 2 * hidden),
                layer(1, hidden, hidden),
                (zeros(&[1, hidden]), zeros(&[1])),
            ],
        });
    }

    /// The ids that begin and end a thought: behind the vocabulary, so that they are read and never written.
    pub fn marks(&self) -> [u32; 2] {
        [0, 1].map(|mark| (self.config.vocab_size + mark) as u32)
    }

    /// Ids below this can be read.
    pub(crate) fn readable(&self) -> usize {
        self.config.vocab_size + if self.thoughts.is_some() { 2 } else { 0 }
    }

    /// Reads what the model folder `dir` says of thoughts again, where it thinks.
    pub fn load_thoughts(&mut self, dir: &Path) -> Result<()> {
        if self.thoughts.is_some() {
            let taking = Taking::numbers(self.kind(), self.device());
            self.thoughts = Thoughts::load(dir, self.config.hidden_size, taking)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Grad, Sequence};
    use crate::near::far;

    fn states(model: &Model, tokens: &[u32]) -> Tensor {
        model.read(&[tokens], &[&[tokens.len() - 1]], Grad::No).unwrap().states.copy()
    }

    #[test]
    fn marks_are_read_as_the_mean_of_what_they_are_like_and_nothing_else_changes() {
        let mut model = Model::tiny(2);
        let before = states(&model, &[3, 5, 5, 7]);
        assert!(model.read(&[&[3, 20]], &[&[1]], Grad::No).is_err(), "20 tokens, none of them a mark");
        model.add_thoughts(&[5], 100.0, 3);
        assert_eq!(model.marks(), [20, 21]);
        assert!(far(&states(&model, &[3, 20, 21, 7]), &before) < 1e-6);
        assert!(far(&states(&model, &[3, 5, 5, 7]), &before) == 0.0);
        assert!(model.read(&[&[3, 22]], &[&[1]], Grad::No).is_err());
        // The last layer is 0: no share for the thought, whatever the states.
        let weight = model.thoughts.as_ref().unwrap().weight(&before, &(&before * 2.0));
        assert_eq!((weight.size(), weight.abs().max().double_value(&[])), (vec![1, 1], 0.0));
    }

    /// With and without checkpointing; a mark's gradient is 100 times that of the row that it is.
    #[test]
    fn marks_have_gradients_by_their_scale() {
        let of = |tokens: Vec<u32>, checkpointing: bool| {
            let mut model = Model::tiny(2);
            model.train_all();
            model.checkpointing = checkpointing;
            model.add_thoughts(&[5], 100.0, 3);
            let marks = model.thoughts.as_ref().unwrap().marks.set_requires_grad(true);
            let scored = model.score(&[Sequence::new(&tokens, &[7, 2])], 1.0, Grad::Yes).unwrap();
            let loss = scored.logprobs.sum(Kind::Float);
            scored.backward(&loss).unwrap();
            (marks.grad(), model.embedding.grad())
        };
        for checkpointing in [false, true] {
            let (marks, _) = of(vec![3, 20], checkpointing);
            let (_, rows) = of(vec![3, 5], checkpointing);
            // The tied output projection adds to row 5 what the logits give it, which the mark does not have.
            let (_, tied) = of(vec![3, 20], checkpointing);
            let expected = (rows.get(5) - tied.get(5)) * 100.0;
            let far = (marks.get(0) - &expected).abs().max().double_value(&[]);
            assert!(far < 1e-3 * expected.abs().max().double_value(&[]), "{far}");
            assert_eq!(marks.get(1).abs().max().double_value(&[]), 0.0);
        }
    }

    #[test]
    fn thoughts_are_saved_in_a_file_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::tiny(2);
        model.save(dir.path()).unwrap();
        let plain = std::fs::read(dir.path().join("model.safetensors")).unwrap();
        model.add_thoughts(&[], 8.0, 3);
        model.save(dir.path()).unwrap();
        assert!(plain == std::fs::read(dir.path().join("model.safetensors")).unwrap());
        let again = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap();
        let (one, other) = (model.thoughts.as_ref().unwrap(), again.thoughts.as_ref().unwrap());
        assert_eq!(other.scale, 8.0);
        assert!(one.tensors().iter().zip(other.tensors()).all(|((a, x), (b, y))| *a == b && x.equal(&y)));
        let zeros =
            |name: &str, shape: &[i64]| (name.to_string(), Tensor::zeros(shape, (Kind::Float, Device::Cpu)));
        let small = vec![zeros(MARKS, &[2, 3]), zeros(SCALE, &[1])];
        weights::write_tensors(&dir.path().join(FILE), small).unwrap();
        let said = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap_err().to_string();
        assert!(said.contains(FILE) && said.contains("[2, 3]"), "{said}");
        // A model that does not think leaves no thoughts of another.
        Model::tiny(2).save(dir.path()).unwrap();
        assert!(!dir.path().join(FILE).exists());
    }
}
