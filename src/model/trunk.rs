//! Everything of a model below its output projection, run forward over packed sequences and later backward, a layer at a time: what of a
//! divided model a layer needs is here while it computes.

use super::attention::Packed;
use super::dropout::Dropout;
use super::layout::PackedInputs;
use super::logprobs::Grad;
use super::shards::OUTSIDE;
use super::{Model, Shards, rope::Rotation};
use crate::ranks::timeline::span;
use crate::{Error, Result};
use tch::Tensor;

/// The states that some positions' predictions are read from.
#[derive(Debug)]
pub(super) struct Trunk<'m> {
    /// `[rows, hidden]`, apart from any graph.
    pub states: Tensor,
    backward: Option<Box<Backward<'m>>>,
}

/// How the gradient of the states gets to the parameters: through each layer in turn, computed a second time from its input where that
/// alone was kept.
#[derive(Debug)]
struct Backward<'m> {
    model: &'m Model,
    tokens: Tensor,
    rotation: Rotation,
    packed: Packed,
    dropout: Option<Dropout>,
    rows: Tensor,
    layers: Vec<Kept>,
    last: Kept,
}

/// What is kept of a layer.
#[derive(Debug)]
struct Kept {
    /// Its input, a leaf, which takes a gradient where something below it trains.
    input: Tensor,
    /// Its output, which ends its graph; none where it is to be computed again.
    output: Option<Tensor>,
}

impl Kept {
    /// Runs `f` over the output of what is below: all of it is kept, or with `checkpointing` the input alone. With the output.
    fn run(below: &Tensor, checkpointing: bool, f: impl FnOnce(&Tensor) -> Tensor) -> (Self, Tensor) {
        if checkpointing {
            let input = below.detach().set_requires_grad(true);
            let output = tch::no_grad(|| f(&input));
            return (Self { input, output: None }, output);
        }
        let input = below.detach().set_requires_grad(below.requires_grad());
        let output = tch::with_grad(|| f(&input));
        (Self { input, output: Some(output.shallow_clone()) }, output)
    }

    /// The gradient of the input under that of the output; parameters on the way get theirs. None where nothing below trains.
    fn through(self, grad: &Tensor, again: impl FnOnce(&Tensor) -> Tensor) -> Result<Option<Tensor>> {
        let output = self.output.unwrap_or_else(|| again(&self.input));
        if output.requires_grad() {
            surrogate(&output, grad).f_backward()?;
        }
        let grad = self.input.grad();
        Ok(grad.defined().then_some(grad))
    }
}

impl<'m> Trunk<'m> {
    /// Runs what is packed, keeping the states at its rows.
    pub fn run(model: &'m Model, layout: PackedInputs, grad: Grad) -> Result<Self> {
        let rotation = model.rope.at(&layout.positions(), model.kind());
        let PackedInputs { inputs: tokens, rows, mut packed, keys } = layout;
        let dropout = Dropout::of(model.dropout, &keys, model.device());
        if grad == Grad::No {
            if !model.is_whole() {
                return Err(Error::Model("weights that are divided among ranks are to be read alone".into()));
            }
            let forward = || {
                let mut x = model.embed(&tokens);
                for index in 0..model.layers.len() {
                    x = model.dropping(index, &x, &rotation, &mut packed, dropout.as_ref());
                }
                last(model, &x, &rows)
            };
            return Ok(Self { states: tch::no_grad(forward), backward: None });
        }
        let (shards, checkpointing) = (model.shards.as_ref(), model.checkpointing);
        let at =
            |index: usize, f: &dyn Fn(&Shards, usize) -> Result<()>| shards.map_or(Ok(()), |s| f(s, index));
        at(OUTSIDE, &Shards::forward)?;
        let mut x = if checkpointing {
            tch::no_grad(|| model.embed(&tokens))
        } else {
            tch::with_grad(|| model.embed(&tokens))
        };
        let mut layers = Vec::new();
        for index in 0..model.layers.len() {
            at(index + 1, &Shards::forward)?;
            let computes = span("forward", Some(index + 1));
            let (kept, output) = Kept::run(&x, checkpointing, |x| {
                model.dropping(index, x, &rotation, &mut packed, dropout.as_ref())
            });
            drop(computes);
            at(index + 1, &Shards::computed)?;
            layers.push(kept);
            x = output;
        }
        let (kept, states) = Kept::run(&x, checkpointing, |x| last(model, x, &rows));
        let backward = Backward { model, tokens, rotation, packed, dropout, rows, layers, last: kept };
        Ok(Self { states: states.detach(), backward: Some(Box::new(backward)) })
    }

    /// Adds to the parameters' gradients what `grad`, that of the states, gives them.
    pub fn backward(self, grad: Tensor) -> Result<()> {
        tch::with_grad(|| self.backward.map_or(Ok(()), |backward| backward.run(grad)))
    }
}

impl Backward<'_> {
    /// From the last layer to the first. What is kept of a layer is freed as soon as it is done.
    fn run(mut self, grad: Tensor) -> Result<()> {
        let (model, rows, shards) = (self.model, &self.rows, self.model.shards.as_ref());
        let mut grad = self.last.through(&grad, |x| last(model, x, rows))?;
        for index in (0..model.layers.len()).rev() {
            shards.map_or(Ok(()), |shards| shards.backward(index + 1))?;
            let computes = span("backward", Some(index + 1));
            if let (Some(kept), Some(by_output)) = (self.layers.pop(), &grad) {
                let (rotation, packed, dropout) = (&self.rotation, &mut self.packed, self.dropout.as_ref());
                grad = kept.through(by_output, |x| model.dropping(index, x, rotation, packed, dropout))?;
            }
            drop(computes);
            if let Some(shards) = shards {
                shards.scatter(index + 1)?;
                shards.computed(index + 1)?;
            }
        }
        let marks = model.thoughts.as_ref().is_some_and(|thoughts| thoughts.marks.requires_grad());
        if let Some(grad) = grad.filter(|_| model.embedding.requires_grad() || marks) {
            surrogate(&model.embed(&self.tokens), &grad).f_backward()?;
        }
        let Some(shards) = shards else { return Ok(()) };
        shards.scatter(OUTSIDE)?;
        shards.receive()
    }
}

/// The normalised states at `rows` of the last layer's output `x`.
fn last(model: &Model, x: &Tensor, rows: &Tensor) -> Tensor {
    model.normalised(&x.index_select(0, rows))
}

/// A scalar whose gradient in `output` is `grad`: tch's backward takes no gradient to start from. The scalar's
/// own value means nothing and may overflow in 16 bits, which no gradient sees.
pub(super) fn surrogate(output: &Tensor, grad: &Tensor) -> Tensor {
    output.reshape([-1]).dot(&grad.to_kind(output.kind()).reshape([-1]))
}
