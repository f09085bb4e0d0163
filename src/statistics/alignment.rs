//! How the sentences of one text answer to those of another, by their similarities: ROSCOE's alignment scores (Golovneva et al. 2023, arXiv
//! 2212.07919).

use super::mean;
use super::trajectory::cosine;

/// Vectors of a chain's steps, of the context's sentences and of the reference's steps.
#[derive(Debug, Clone, Copy)]
pub struct Chains<'a> {
    /// The chain's own, h.
    pub steps: &'a [Vec<f64>],
    /// What it is about, c.
    pub context: &'a [Vec<f64>],
    /// How it should have gone, r; empty where that is not known.
    pub reference: &'a [Vec<f64>],
}

/// (1 + cos(a, b)) / 2.
fn alike(a: &[f64], b: &[f64]) -> f64 {
    (1.0 + cosine(a, b)) / 2.0
}

/// Of each of `these` the similarity to the one of `those` that is most like it; 0 where there is none.
fn aligned(these: &[Vec<f64>], those: &[Vec<f64>]) -> Vec<f64> {
    these.iter().map(|one| those.iter().map(|other| alike(one, other)).fold(0.0, f64::max)).collect()
}

fn mean_or_none(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { mean(values.iter().copied()) }
}

impl Chains<'_> {
    /// The mean of align(h | c): each step is about the context.
    pub fn faithfulness(&self) -> f64 {
        mean_or_none(&aligned(self.steps, self.context))
    }

    /// Half of [`faithfulness`](Self::faithfulness) and half of the mean of align(c | h): the context is used, too.
    pub fn informativeness(&self) -> f64 {
        (self.faithfulness() + mean_or_none(&aligned(self.context, self.steps))) / 2.0
    }

    /// (1 − max_{i≠j} cos(hᵢ, hⱼ)) / 2: 0 where a step is said twice; 1 of a single step.
    pub fn repetition(&self) -> f64 {
        let pairs = (0..self.steps.len()).flat_map(|at| (0..at).map(move |before| (at, before)));
        pairs.map(|(a, b)| 1.0 - alike(&self.steps[a], &self.steps[b])).fold(1.0, f64::min)
    }

    /// The mean of align(h | r).
    pub fn reasoning_alignment(&self) -> f64 {
        mean_or_none(&aligned(self.steps, self.reference))
    }

    /// The least of align(h | r): low where a step is none of the reference's.
    pub fn redundancy(&self) -> f64 {
        least(&aligned(self.steps, self.reference))
    }

    /// The least of align(r | h): low where the reference has a step that the chain lacks.
    pub fn missing_step(&self) -> f64 {
        least(&aligned(self.reference, self.steps))
    }

    /// 1 − max (1 − align(h | r)) (1 − align(h | c)): low where a step is neither of the reference nor of the context.
    pub fn external_hallucination(&self) -> f64 {
        let (reference, context) = (aligned(self.steps, self.reference), aligned(self.steps, self.context));
        let strange = reference.iter().zip(&context).map(|(r, c)| (1.0 - r) * (1.0 - c));
        1.0 - strange.fold(0.0, f64::max)
    }

    /// 1 − |mean align(r | c) − mean align(h | c)|: the chain is about as much of the context as the reference.
    pub fn semantic_coverage(&self) -> f64 {
        1.0 - (mean_or_none(&aligned(self.reference, self.context)) - self.faithfulness()).abs()
    }
}

fn least(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().copied().fold(f64::INFINITY, f64::min) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;

    /// Unit vectors along and between axes: cos 1, 0 or 0.6 and 0.8, which are 1, 0.5, 0.8 and 0.9 of likeness.
    #[test]
    fn chains_are_held_against_context_and_reference() {
        let (x, y, z) = (vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0]);
        let between = vec![0.6, 0.8, 0.0];
        let (steps, context, reference) = ([x.clone(), between.clone()], [x.clone(), z.clone()], [x, y, z]);
        let chains = Chains { steps: &steps, context: &context, reference: &reference };
        // The steps in the context: 1 and (1 + 0.6)/2; the context in the steps: 1 and 0.5.
        near(chains.faithfulness(), 0.9, 1e-12);
        near(chains.informativeness(), (0.9 + 0.75) / 2.0, 1e-12);
        near(chains.repetition(), 0.2, 1e-12);
        // In the reference: 1 and (1 + 0.8)/2; the reference in the steps: 1, 0.9, 0.5.
        near(chains.reasoning_alignment(), 0.95, 1e-12);
        near(chains.redundancy(), 0.9, 1e-12);
        near(chains.missing_step(), 0.5, 1e-12);
        near(chains.external_hallucination(), 1.0 - 0.1 * 0.2, 1e-12);
        // The reference in the context: 1, 0.5, 1.
        near(chains.semantic_coverage(), 1.0 - (2.5 / 3.0 - 0.9_f64).abs(), 1e-12);
        let twice = [between.clone(), between];
        near(Chains { steps: &twice, ..chains }.repetition(), 0.0, 1e-12);
        let none = Chains { steps: &[], ..chains };
        assert_eq!((none.faithfulness(), none.repetition(), none.redundancy()), (0.0, 1.0, 0.0));
    }
}
