//! The preference losses: what is minimised over pairs of a chosen and a rejected completion (Rafailov et al. 2023,
//! arXiv 2305.18290, and its relatives).
//!
//! With c and r the sums of log π − log π_ref over the counted tokens of the chosen and the rejected completion,
//! δ = c − r, most losses are a function of x = β·δ − margin; [`KINDS`] has the formulas.

mod formula;
mod kinds;
mod section;
mod sums;
mod unpaired;

pub use kinds::{KINDS, PreferenceKind};
pub use section::{Divergence, NllMean, PreferenceLoss, RationaleForm};
pub use sums::shared_prefix;
pub use unpaired::{LabelledTokens, UnpairedTerms};

use crate::statistics::Sum;
use formula::Compared;
use kinds::Learns;
use tch::{Kind, Tensor};

/// The completion tokens of a micro-batch of whole pairs: of each pair the chosen, the rejected and then, where it has
/// one, the rationale, end to end. Tensors are `[tokens]`.
#[derive(Debug)]
pub struct PairTokens<'a> {
    /// log π, with gradient.
    pub logprobs: &'a Tensor,
    /// log π_ref; `None` for the kinds that have no reference.
    pub ref_logprobs: Option<&'a Tensor>,
    /// Whether a token counts in the preference: off for a shared prefix and for steps that are not to blame. The NLL
    /// terms count every token.
    pub counted: &'a [bool],
    /// The pairs, in order.
    pub pairs: &'a [PairShape],
}

/// How many tokens a pair has, and how much it counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairShape {
    /// Tokens of the chosen completion.
    pub chosen: usize,
    /// Tokens of the rejected completion.
    pub rejected: usize,
    /// Tokens of the rationale that says why; 0 where there is none.
    pub rationale: usize,
    /// Factor of the pair's preference loss.
    pub weight: f64,
    /// Added to the recipe's margin: how much better the chosen completion is.
    pub margin: f64,
    /// Factor of −log p of each chosen token in the NLL term: [`PreferenceLoss::nll_weights`].
    pub nll_weight: f64,
}

/// The loss of a micro-batch and what is reported of each pair, `[pairs]` in f64 and without gradient.
#[derive(Debug)]
pub struct PairTerms {
    /// Σ over the pairs, a scalar in f32; to be divided by the number of pairs of the whole update.
    pub loss: Tensor,
    /// β · c; without a reference β · log π.
    pub chosen_rewards: Vec<f64>,
    /// β · r, likewise.
    pub rejected_rewards: Vec<f64>,
    /// log π of the chosen completion: the sum over its counted tokens, their mean for ORPO and SimPO.
    pub chosen_logps: Vec<f64>,
    /// log π of the rejected completion, likewise.
    pub rejected_logps: Vec<f64>,
}

impl PreferenceLoss {
    /// Σ over a micro-batch of whole pairs.
    ///
    /// # Panics
    /// Where the kind learns from single completions ([`unpaired`](Self::unpaired)), or the tokens are not those of the pairs.
    pub fn sum(&self, tokens: &PairTokens) -> PairTerms {
        tokens.assert_shape();
        let Learns::Pairs(formula) = self.kind.of else {
            panic!("{} has no pairs: `sum_unpaired` is its loss", self.kind.name)
        };
        let weighted = sums::Weighted::of_pairs(tokens, self.ld_alpha);
        let logps = weighted.scores(tokens.logprobs);
        let ratios = match tokens.ref_logprobs {
            Some(reference) => weighted.scores(&(tokens.logprobs - reference)),
            None => logps.clone(),
        };
        let per_pair = |of: fn(&PairShape) -> f64| {
            Tensor::from_slice(&tokens.pairs.iter().map(of).collect::<Vec<f64>>())
                .to_device(tokens.logprobs.device())
        };
        let margins = per_pair(|pair| pair.margin) + self.margin;
        let losses = formula(&Compared::new(self, &ratios, margins)) * per_pair(|pair| pair.weight);
        let loss = losses.sum(Kind::Double) + self.nll_terms(tokens);
        let numbers = |tensor: Tensor| Vec::<f64>::try_from(tensor.detach()).expect("a vector of doubles");
        let (chosen, rejected) = ratios.reported(self);
        let (chosen_logps, rejected_logps) = logps.reported(self);
        PairTerms {
            loss: loss.to_kind(Kind::Float),
            chosen_rewards: numbers(chosen * self.beta),
            rejected_rewards: numbers(rejected * self.beta),
            chosen_logps: numbers(chosen_logps),
            rejected_logps: numbers(rejected_logps),
        }
    }

    /// The factor of each chosen token's −log p in the NLL term, one number a pair, from the numbers of chosen tokens
    /// of the pairs that this rank has of an update (whose loss is divided by the number of pairs): 1/length for the mean
    /// over pairs of each one's mean, pairs/tokens of all ranks, over which `sum` adds up, for the mean over all tokens.
    pub fn nll_weights(&self, chosen: &[usize], sum: &mut Sum) -> Vec<f64> {
        match self.nll_mean {
            NllMean::Tokens => {
                let mut counts = [chosen.len() as f64, chosen.iter().sum::<usize>() as f64];
                sum(&mut counts);
                vec![counts[0] / counts[1].max(1.0); chosen.len()]
            }
            NllMean::Sequences => chosen.iter().map(|length| 1.0 / (*length).max(1) as f64).collect(),
        }
    }

    /// α · Σ w · −log p over the chosen tokens, and γ · Σ w · the loss of the rationales.
    fn nll_terms(&self, tokens: &PairTokens) -> Tensor {
        let [chosen, rationale] =
            [|pair: &PairShape| [pair.nll_weight, 0.0, 0.0], |_: &PairShape| [0.0, 0.0, 1.0]].map(
                |factors| {
                    let spread = |pair: &PairShape| {
                        let lengths = [pair.chosen, pair.rejected, pair.rationale];
                        let factors = factors(pair);
                        (0..3).flat_map(move |i| std::iter::repeat_n(factors[i], lengths[i]))
                    };
                    let factors: Vec<f64> = tokens.pairs.iter().flat_map(spread).collect();
                    Tensor::from_slice(&factors).to_device(tokens.logprobs.device()) * tokens.logprobs
                },
            );
        let mut loss = chosen.sum(Kind::Double) * -self.nll;
        if self.rationale != 0.0 {
            let lengths: Vec<usize> =
                tokens.pairs.iter().map(|pair| pair.chosen + pair.rejected + pair.rationale).collect();
            let logps = sums::per_sequence(&rationale, &lengths);
            let weight = |pair: &PairShape| if pair.rationale > 0 { pair.weight } else { 0.0 };
            let weights: Vec<f64> = tokens.pairs.iter().map(weight).collect();
            let losses = match self.rationale_form {
                RationaleForm::Nll => -logps * self.rationale,
                RationaleForm::Sigmoid => -(logps * self.rationale).log_sigmoid(),
            };
            let weights = Tensor::from_slice(&weights).to_device(losses.device());
            loss += (losses * weights).sum(Kind::Double);
        }
        loss
    }
}

impl PairTokens<'_> {
    fn assert_shape(&self) {
        let of_pair = |pair: &PairShape| pair.chosen + pair.rejected + pair.rationale;
        let tokens: usize = self.pairs.iter().map(of_pair).sum();
        for (name, tensor) in [("logprobs", Some(self.logprobs)), ("ref_logprobs", self.ref_logprobs)] {
            if let Some(tensor) = tensor {
                assert_eq!(tensor.size(), [tokens as i64], "{name}: one number for each token of the pairs");
            }
        }
        assert_eq!(self.counted.len(), tokens, "counted: one flag for each token of the pairs");
    }
}

#[cfg(test)]
mod tests;
