//! The tiny model in f32 on the device against f64 on the CPU: logits, log-probabilities, gradients.

use super::tiny::{self, Scored, distance, worst};
use super::{Bench, Figure};
use crate::Result;
use crate::model::Model;
use crate::model::attention::Packed;
use tch::{Device, Kind, Tensor};

const SUMS: &str = "f32 has 24 bits (6e-8); sums of some hundred terms in another order lose a few of them";
const TWICE: &str = "the same, forward and backward through three layers";
const AGAIN: &str = "the same kernels compute the layers a second time";

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let expected = Computed::of(&tiny::model(Kind::Double, Device::Cpu)?)?;
    let mut model = tiny::model(Kind::Float, bench.device)?;
    let found = Computed::of(&model)?;
    model.checkpointing = true;
    let again = tiny::score(&model, &tiny::sequences())?;
    Ok(judged(&found, &again, &expected))
}

struct Computed {
    logits: Tensor,
    scored: Scored,
}

impl Computed {
    fn of(model: &Model) -> Result<Self> {
        let sequences = tiny::sequences();
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens.len()).collect();
        let ids: Vec<i64> = sequences.iter().flat_map(|s| s.tokens.iter().map(|&id| i64::from(id))).collect();
        let mut packed = Packed::new(&lengths, model.device());
        let positions = packed.positions();
        let ids = Tensor::from_slice(&ids).to_device(model.device());
        let logits = tch::no_grad(|| model.logits(&model.hidden(&ids, &positions, &mut packed)));
        Ok(Self { logits, scored: tiny::score(model, &sequences)? })
    }
}

fn judged(found: &Computed, again: &Scored, expected: &Computed) -> Vec<Figure> {
    let logprobs = distance(&found.scored.logprobs, &expected.scored.logprobs);
    vec![
        Figure::at_most("logits", distance(&found.logits, &expected.logits), 1e-5, SUMS),
        Figure::at_most("log-probabilities", logprobs, 1e-5, SUMS),
        Figure::at_most("gradients", worst(&found.scored, &expected.scored, distance), 1e-4, TWICE),
        Figure::at_most("with checkpointing", worst(again, &found.scored, distance), 1e-4, AGAIN),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::planted::{failing, off};
    use super::*;

    /// A thousandth in one place of what is compared fails the figure that compares it, and no other.
    #[test]
    fn a_wrong_number_fails() {
        let model = tiny::model(Kind::Float, Device::Cpu).unwrap();
        let computed = || Computed::of(&model).unwrap();
        let right = computed();
        let again = || computed().scored;
        assert_eq!(failing(&judged(&computed(), &again(), &right)), [""; 0]);
        let logits = Computed { logits: off(&right.logits), ..computed() };
        assert_eq!(failing(&judged(&logits, &again(), &right)), ["logits"]);
        let mut wrong = computed();
        wrong.scored.logprobs = off(&wrong.scored.logprobs);
        assert_eq!(failing(&judged(&wrong, &again(), &right)), ["log-probabilities"]);
        let mut wrong = again();
        wrong.gradients[7].1 = off(&wrong.gradients[7].1);
        assert_eq!(failing(&judged(&computed(), &wrong, &right)), ["with checkpointing"]);
        wrong.gradients.pop();
        assert_eq!(
            failing(&judged(&Computed { scored: wrong, ..computed() }, &again(), &right)),
            ["gradients", "with checkpointing"]
        );
    }
}
