//! What the model says of a text and of parts of it: scores and labels, and the passes that read texts of which units are left out.

use super::item::{DRAWS, TEMPERATURE, UNITS};
use super::section::{Extract, MaskKind};
use crate::error::{Error, Result};
use crate::loops::Item;
use crate::loss::mask::{straight_through, top};
use crate::model::heads::Projection;
use crate::model::{Extractor, Model};
use tch::{Kind, Tensor};

/// A text's units as they were read, with the label of the whole of it.
#[derive(Debug)]
pub struct Reading {
    /// Of the units, `[units]`.
    pub scores: Tensor,
    /// Of the labels, `[labels]`.
    pub label: Tensor,
}

/// The parts of the model that a reading goes through.
pub fn parts(model: &Model) -> Result<(&Extractor, &Projection)> {
    match (&model.extractor, &model.score) {
        (Some(extractor), Some(score)) => Ok((extractor, score)),
        _ => Err(Error::Model("the model has no selector and no label head".into())),
    }
}

impl Reading {
    /// From `states [1 + units, hidden]`, that of the label's place first.
    pub fn of(model: &Model, extract: &Extract, states: &Tensor) -> Result<Self> {
        let (extractor, score) = parts(model)?;
        let units = states.narrow(0, 1, states.size()[0] - 1).to_kind(Kind::Float);
        let scores = extractor.selector.of(&units).squeeze_dim(-1);
        let read = match extract.mask.kind {
            MaskKind::Attention => scores.softmax(0, Kind::Float).unsqueeze(0).matmul(&units),
            _ => states.narrow(0, 0, 1),
        };
        Ok(Self { scores, label: score.of(&read).squeeze_dim(0) })
    }

    /// The units that are selected without noise, 1 each.
    pub fn selected(&self, extract: &Extract) -> Tensor {
        match extract.mask.kind {
            MaskKind::Gumbel | MaskKind::Sigmoid => self.scores.detach().gt(0.0).to_kind(Kind::Float),
            _ => top(&self.scores, extract.count(self.scores.size()[0] as usize) as i64),
        }
    }

    /// The mask to learn by, with the draws of `item`: of AIMLE a leaf, whose gradient [`implicit`](crate::loss::mask::implicit) brings to
    /// the scores.
    pub fn mask(&self, extract: &Extract, item: &Item) -> Tensor {
        let draws = list(item, DRAWS, &self.scores);
        let temperature = item.number(TEMPERATURE);
        match extract.mask.kind {
            MaskKind::Gumbel => {
                let logistic = draws.logit(None);
                straight_through(&((&self.scores + logistic) / temperature).sigmoid())
            }
            MaskKind::Sigmoid => straight_through(&self.scores.sigmoid()),
            MaskKind::TopK => top(&(self.scores.detach() + noise(item, &draws)), self.count(extract))
                .set_requires_grad(true),
            MaskKind::Attention | MaskKind::None => top(&self.scores, self.count(extract)),
        }
    }

    /// Units that are selected where their number is fixed.
    pub fn count(&self, extract: &Extract) -> i64 {
        extract.count(self.scores.size()[0] as usize) as i64
    }
}

/// Gumbel noise of `draws`, times the item's temperature.
pub fn noise(item: &Item, draws: &Tensor) -> Tensor {
    draws.log().neg().log().neg() * item.number(TEMPERATURE)
}

/// A list of an item's, in f32, where `beside` is.
pub fn list(item: &Item, name: &str, beside: &Tensor) -> Tensor {
    let values: Vec<f32> = item.list(name).iter().map(|&value| value as f32).collect();
    Tensor::from_slice(&values).to_device(beside.device())
}

/// The states of each of `items`, `[1 + units, hidden]`.
pub fn of_items(items: &[&Item], states: &Tensor) -> Vec<Tensor> {
    let lengths: Vec<i64> = items.iter().map(|item| 1 + item.number(UNITS) as i64).collect();
    states.split_with_sizes(&lengths, 0)
}

/// Texts of which units are left out, to be read in one pass.
#[derive(Debug, Default)]
pub struct Masked {
    texts: Vec<Vec<u32>>,
    keep: Vec<Tensor>,
}

impl Masked {
    /// A text of tokens, the last `cue` of which are always there; token t stands in unit `unit_of[t]`, of which `mask [units]` keeps a share.
    /// The number by which it is asked for.
    pub fn push(&mut self, tokens: &[u32], unit_of: &[f64], cue: usize, mask: &Tensor) -> usize {
        let places: Vec<i64> = unit_of.iter().map(|&unit| unit as i64).collect();
        let device = mask.device();
        let kept = mask.index_select(0, &Tensor::from_slice(&places).to_device(device));
        self.keep.push(Tensor::cat(&[kept, Tensor::ones([cue as i64], (Kind::Float, device))], 0));
        self.texts.push(tokens[..unit_of.len() + cue].to_vec());
        self.texts.len() - 1
    }

    /// The logits of each, `[texts, labels]`, by the predictor of texts of which parts are left out.
    pub fn read(&self, model: &Model) -> Result<Tensor> {
        let (extractor, score) = parts(model)?;
        let predictor = extractor.second.as_ref().unwrap_or(score);
        let texts: Vec<&[u32]> = self.texts.iter().map(Vec::as_slice).collect();
        Ok(predictor.of(&model.read_masked(&texts, &Tensor::cat(&self.keep, 0))?))
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Their tokens.
    pub fn tokens(&self) -> usize {
        self.texts.iter().map(Vec::len).sum()
    }
}
