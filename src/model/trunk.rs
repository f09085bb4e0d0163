//! Everything of a model below its output projection, run forward over packed sequences and later backward.

use super::attention::Packed;
use super::layout::PackedInputs;
use super::logprobs::Grad;
use super::{Model, rope::Rotation};
use crate::Result;
use tch::Tensor;

/// The states that some positions' predictions are read from.
#[derive(Debug)]
pub(super) struct Trunk<'m> {
    /// `[rows, hidden]`, apart from any graph.
    pub states: Tensor,
    backward_state: Option<BackwardState<'m>>,
}

/// How the gradient of the states gets to the parameters.
#[derive(Debug)]
enum BackwardState<'m> {
    /// Through libtorch's graph, which these states end.
    Graph(Tensor),
    /// Through each layer, computed a second time from its input.
    Again(Box<Again<'m>>),
}

#[derive(Debug)]
struct Again<'m> {
    model: &'m Model,
    tokens: Tensor,
    rotation: Rotation,
    packed: Packed,
    rows: Tensor,
    /// Each layer's input, then the last layer's output.
    inputs: Vec<Tensor>,
}

impl<'m> Trunk<'m> {
    /// Runs what is packed, keeping the states at its rows.
    pub fn run(model: &'m Model, layout: PackedInputs, grad: Grad) -> Self {
        let PackedInputs { inputs: tokens, rows, mut packed } = layout;
        let rotation = model.rope.at(&packed.positions(), model.kind());
        let mut inputs = Vec::new();
        let mut forward = || {
            let mut x = model.embed(&tokens);
            for index in 0..model.layers.len() {
                if grad == Grad::Yes && model.checkpointing {
                    inputs.push(x.shallow_clone());
                }
                x = model.layer(index, &x, &rotation, &mut packed);
            }
            x
        };
        match grad {
            Grad::No => {
                let states = tch::no_grad(|| last(model, &forward(), &rows));
                Self { states, backward_state: None }
            }
            Grad::Yes if model.checkpointing => {
                let output = tch::no_grad(forward);
                let states = tch::no_grad(|| last(model, &output, &rows));
                inputs.push(output);
                let again = Again { model, tokens, rotation, packed, rows, inputs };
                Self { states, backward_state: Some(BackwardState::Again(Box::new(again))) }
            }
            Grad::Yes => {
                let states = tch::with_grad(|| last(model, &forward(), &rows));
                Self { states: states.detach(), backward_state: Some(BackwardState::Graph(states)) }
            }
        }
    }

    /// Adds to the parameters' gradients what `grad`, that of the states, gives them.
    pub fn backward(self, grad: Tensor) -> Result<()> {
        tch::with_grad(|| match self.backward_state {
            None => Ok(()),
            Some(BackwardState::Graph(states)) if states.requires_grad() => {
                Ok(surrogate(&states, &grad).f_backward()?)
            }
            Some(BackwardState::Graph(_)) => Ok(()),
            Some(BackwardState::Again(again)) => again.backward(grad),
        })
    }
}

impl Again<'_> {
    /// From the last layer to the first. An input is freed as soon as its layer is done.
    fn backward(mut self, mut grad: Tensor) -> Result<()> {
        let (model, rows) = (self.model, &self.rows);
        if let Some(output) = self.inputs.pop() {
            grad = through(&output, &grad, |x| last(model, x, rows))?;
        }
        for index in (0..model.layers.len()).rev() {
            let Some(input) = self.inputs.pop() else { break };
            let (rotation, packed) = (&self.rotation, &mut self.packed);
            grad = through(&input, &grad, |x| model.layer(index, x, rotation, packed))?;
        }
        let marks = model.thoughts.as_ref().is_some_and(|thoughts| thoughts.marks.requires_grad());
        if model.embedding.requires_grad() || marks {
            surrogate(&model.embed(&self.tokens), &grad).f_backward()?;
        }
        Ok(())
    }
}

/// The gradient of `input` under that of `f(input)`; the parameters inside `f` get theirs on the way.
fn through(input: &Tensor, grad: &Tensor, f: impl FnOnce(&Tensor) -> Tensor) -> Result<Tensor> {
    let input = input.detach().set_requires_grad(true);
    surrogate(&f(&input), grad).f_backward()?;
    Ok(input.grad())
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
