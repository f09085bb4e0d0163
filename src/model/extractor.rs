//! What selects the rationale of a text over a classifier's states, and reads texts of which parts are left out (Lei et al. 2016, arXiv
//! 1606.04155): a selector, the embedding of what is not there, and a second predictor where there is one.

use super::attention::Packed;
use super::heads::Projection;
use super::stored::{Stored, Taking};
use super::{Model, init, weights};
use crate::{Error, Result, limited};
use serde_json::Value;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// The files beside the weights that hold it, and how texts are read.
pub const FILE: &str = "extractor.safetensors";
/// What its method has noted of how texts are read.
pub const NOTES: &str = "extractor.json";

const MASK: &str = "extractor.mask";
const SELECTOR: &str = "extractor.selector";
const SECOND: &str = "extractor.second";

/// The parts beside the model's own score head, which is the first predictor.
#[derive(Debug)]
pub struct Extractor {
    /// To one number.
    pub selector: Projection,
    /// What stands for what is left out, `[hidden]`.
    pub mask: Tensor,
    /// To as many numbers as the score head, of texts of which parts are left out.
    pub second: Option<Projection>,
    /// How texts are read.
    pub notes: Value,
}

impl Extractor {
    /// By name, shared.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut all = vec![(MASK.to_string(), self.mask.shallow_clone())];
        all.extend(self.selector.tensors(SELECTOR));
        all.extend(self.second.iter().flat_map(|second| second.tensors(SECOND)));
        all
    }

    /// The same, each tensor put through `change`.
    pub(super) fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            selector: self.selector.map(&change),
            mask: change(&self.mask),
            second: self.second.as_ref().map(|second| second.map(&change)),
            notes: self.notes.clone(),
        }
    }

    /// Writes its files into the folder `dir`.
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        weights::write_tensors(&dir.join(FILE), self.tensors())?;
        weights::write_json(&dir.join(NOTES), &self.notes)
    }

    /// What the folder `dir` holds of it, if it does, for states of `hidden` numbers and so many labels.
    pub(super) fn load(dir: &Path, (hidden, labels): (usize, usize), taking: Taking) -> Result<Option<Self>> {
        let Some(mut stored) = Stored::beside(dir.join(FILE), taking)? else { return Ok(None) };
        let notes = dir.join(NOTES);
        let text = limited::text(&notes, limited::DESCRIPTION)?;
        let notes = serde_json::from_str(&text)
            .map_err(|error| Error::Model(format!("{}: {error}", notes.display())))?;
        let has_second = stored.has(&format!("{SECOND}.weight"));
        let mut take = |name: &str, shape: &[i64]| stored.take_as(name, shape);
        let hidden = hidden as i64;
        let mut projection = |name: &str, labels: i64| -> Result<Projection> {
            let weight = take(&format!("{name}.weight"), &[labels, hidden])?;
            Ok(Projection { weight, bias: Some(take(&format!("{name}.bias"), &[labels])?) })
        };
        let selector = projection(SELECTOR, 1)?;
        let second = if has_second { Some(projection(SECOND, labels as i64)?) } else { None };
        let mask = take(MASK, &[hidden])?;
        stored.nothing_left(None)?;
        Ok(Some(Self { selector, mask, second, notes }))
    }
}

impl Model {
    /// Gives the model what it lacks of a selector, the embedding of what is left out (the mean of all at first) and, where `second`, another
    /// predictor of so many labels.
    pub fn add_extractor(&mut self, labels: usize, second: bool, seed: u64, notes: Value) {
        let (hidden, kind, device) = (self.config.hidden_size as i64, self.kind(), self.device());
        let placed = |t: Tensor| t.to_device(device).to_kind(kind).set_requires_grad(true);
        let zeros = |n: i64| placed(Tensor::zeros([n], (Kind::Float, Device::Cpu)));
        let projection = |name: &str, labels: i64| {
            let drawn =
                init::normal(&[labels, hidden], self.config.initializer_range, init::stream(seed, name));
            Projection { weight: placed(drawn), bias: Some(zeros(labels)) }
        };
        let (selector, mask, earlier) = match self.extractor.take() {
            Some(earlier) => (earlier.selector, earlier.mask, earlier.second),
            None => {
                let all = Tensor::arange(self.config.vocab_size as i64, (Kind::Int64, device));
                let mean =
                    tch::no_grad(|| self.embed(&all).to_kind(Kind::Float).mean_dim(0, false, Kind::Float));
                (projection(SELECTOR, 1), placed(mean), None)
            }
        };
        let second = second.then(|| earlier.unwrap_or_else(|| projection(SECOND, labels as i64)));
        self.extractor = Some(Extractor { selector, mask, second, notes });
    }

    /// Reads what the model folder `dir` says of its extractor again, where it has one.
    pub fn load_extractor(&mut self, dir: &Path) -> Result<()> {
        if self.extractor.is_some() {
            let labels = self.score.as_ref().map_or(0, |score| score.weight.size()[0] as usize);
            let sizes = (self.config.hidden_size, labels);
            let taking = Taking::numbers(self.kind(), self.device());
            self.extractor = Extractor::load(dir, sizes, taking)?;
        }
        Ok(())
    }

    /// The last layer's normalised states at the end of each text, `[texts, hidden]`, in libtorch's graph where it keeps one. A token of
    /// `keep` k, `[tokens of all texts]`, is embedded as k · e + (1 − k) · what is left out. All of a pass is kept for the backward one:
    /// gradient checkpointing has no part in it.
    pub fn read_masked(&self, texts: &[&[u32]], keep: &Tensor) -> Result<Tensor> {
        let Some(extractor) = &self.extractor else {
            return Err(Error::Model("the model has no embedding of what is left out".into()));
        };
        for text in texts {
            self.config.check_length(text.len())?;
            if text.is_empty() {
                return Err(Error::Model("a text without tokens has no last state".into()));
            }
        }
        let ids: Vec<i64> = texts.concat().into_iter().map(i64::from).collect();
        assert_eq!(keep.size(), [ids.len() as i64], "read_masked: one number a token");
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let ends: Vec<i64> = lengths
            .iter()
            .scan(0, |end, length| {
                *end += *length as i64;
                Some(*end - 1)
            })
            .collect();
        let device = self.device();
        let mut packed = Packed::branching(&lengths, vec![], device);
        let rotation = self.rope.at(&packed.positions(), self.kind());
        let embedded = self.embed(&Tensor::from_slice(&ids).to_device(device));
        let keep = keep.to_kind(self.kind()).unsqueeze(1);
        let mut x = embedded * &keep + extractor.mask.unsqueeze(0) * (1.0 - &keep);
        for index in 0..self.layers.len() {
            x = self.layer(index, &x, &rotation, &mut packed);
        }
        Ok(self.normalised(&x.index_select(0, &Tensor::from_slice(&ends).to_device(device))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Grad;
    use crate::near::far;
    use serde_json::json;

    fn model() -> Model {
        let mut model = Model::tiny(2);
        model.train_all();
        model.add_score(3, false, 2);
        model.add_extractor(3, true, 2, json!({"labels": ["a", "b", "c"]}));
        model
    }

    #[test]
    fn what_is_kept_whole_is_read_as_ever_and_what_is_left_out_changes_nothing() {
        let model = model();
        let texts: [&[u32]; 3] = [&[3, 5, 7], &[2, 9], &[2, 4]];
        let keep = Tensor::from_slice(&[1.0f32; 7]);
        let whole = model.read_masked(&texts, &keep).unwrap();
        let read = model.read(&texts, &[&[2], &[1], &[1]], Grad::No).unwrap();
        assert!(far(&whole, &read.states) < 1e-5);
        // Without their last tokens the second and the third are the same.
        let keep = Tensor::from_slice(&[1.0f32, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
        let masked = model.read_masked(&texts, &keep).unwrap();
        assert!(far(&masked.get(1), &masked.get(2)) < 1e-6 && far(&masked.get(1), &whole.get(1)) > 1e-3);
        assert!(far(&masked.get(0), &whole.get(0)) < 1e-5);
    }

    /// The gradient by k against a difference quotient.
    #[test]
    fn gradients_flow_to_what_is_kept() {
        let model = model();
        let value = |keep: &[f32]| {
            let keep = Tensor::from_slice(keep).set_requires_grad(true);
            let states = model.read_masked(&[&[3, 5, 7, 2]], &keep).unwrap();
            (model.extractor.as_ref().unwrap().second.as_ref().unwrap().of(&states).get(0).get(1), keep)
        };
        let at = [0.9f32, 0.3, 0.6, 1.0];
        let (loss, keep) = value(&at);
        loss.backward();
        for token in 0..3 {
            let moved = |by: f32| {
                let mut keep = at;
                keep[token] += by;
                value(&keep).0.double_value(&[])
            };
            let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let found = keep.grad().double_value(&[token as i64]);
            assert!((found - expected).abs() < 0.02 * expected.abs() + 2e-5, "{found} {expected}");
        }
        assert!(model.extractor.as_ref().unwrap().mask.grad().defined());
    }

    /// Nor is what the model thinks with lost, which a stage before may have taught it.
    #[test]
    fn it_is_saved_with_its_classifier_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut model = model();
        model.add_thoughts(&[5], 8.0, 3);
        model.save(dir.path()).unwrap();
        let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
        assert!(config.contains("LlamaForSequenceClassification") && config.contains("\"b\": 1"), "{config}");
        let again = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap();
        let (one, other) = (model.extractor.unwrap(), again.extractor.unwrap());
        assert_eq!(one.notes, other.notes);
        assert!(one.tensors().iter().zip(other.tensors()).all(|((a, x), (b, y))| *a == b && x.equal(&y)));
        assert_eq!(other.tensors().len(), 5);
        assert_eq!(again.thoughts.unwrap().scale, 8.0);
    }
}
