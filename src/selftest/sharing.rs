//! Sequences that begin alike, packed with the beginning once, against each one alone.

use super::tiny::{self, Scored, distance, worst};
use super::{Bench, Figure};
use crate::Result;
use crate::model::{Model, Sequence};
use tch::{Kind, Tensor};

const ORDER: &str = "the same f32 terms, summed in another order";

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let model = tiny::model(Kind::Float, bench.device)?;
    Ok(judged(&tiny::score(&model, &tree())?, &alone(&model)?))
}

/// Six completions of one prompt; the last three go on from a common first half.
fn tree() -> Vec<Sequence> {
    let prompt = tiny::tokens(1, 48);
    let half = tiny::tokens(2, 40);
    let own = |salt: u64| tiny::tokens(10 + salt, 12 + 5 * salt);
    let completion = |salt: u64| if salt < 3 { own(salt) } else { [half.clone(), own(salt)].concat() };
    (0..6).map(|salt| Sequence::new(&prompt, &completion(salt))).collect()
}

/// Each sequence in a pass of its own, with the slopes that its tokens have among all.
fn alone(model: &Model) -> Result<Scored> {
    let mut logprobs = Vec::new();
    let mut sums: Option<Vec<(String, Tensor)>> = None;
    let mut before = 0;
    for sequence in tree() {
        let scored = tiny::score_from(model, std::slice::from_ref(&sequence), before)?;
        before += sequence.learned();
        logprobs.push(scored.logprobs);
        sums = Some(match sums {
            None => scored.gradients,
            Some(sums) => {
                let pairs = sums.into_iter().zip(scored.gradients);
                pairs.map(|((name, sum), (_, gradient))| (name, sum + gradient)).collect()
            }
        });
    }
    Ok(Scored { logprobs: Tensor::cat(&logprobs, 0), gradients: sums.unwrap_or_default() })
}

fn judged(packed: &Scored, alone: &Scored) -> Vec<Figure> {
    vec![
        Figure::at_most("log-probabilities", distance(&packed.logprobs, &alone.logprobs), 2e-5, ORDER),
        Figure::at_most("gradients", worst(packed, alone, distance), 1e-4, ORDER),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::planted::{failing, off};
    use super::*;
    use crate::model::layout::sizes;
    use tch::Device;

    #[test]
    fn a_wrong_number_fails() {
        let model = tiny::model(Kind::Float, Device::Cpu).unwrap();
        let (packed, alone) = (tiny::score(&model, &tree()).unwrap(), alone(&model).unwrap());
        assert_eq!(failing(&judged(&packed, &alone)), [""; 0]);
        let logprobs = Scored {
            logprobs: off(&alone.logprobs),
            gradients: tiny::score(&model, &tree()).unwrap().gradients,
        };
        assert_eq!(failing(&judged(&packed, &logprobs)), ["log-probabilities"]);
        let mut gradients = alone;
        gradients.gradients[3].1 = off(&gradients.gradients[3].1);
        assert_eq!(failing(&judged(&packed, &gradients)), ["gradients"]);
    }

    /// The prompt and the half are packed once: of 48 · 6 + 40 · 3 tokens that are begun with, 88 are left.
    #[test]
    fn there_is_something_to_share() {
        let all = tree();
        let sizes = sizes(all.iter().map(|sequence| (std::slice::from_ref(sequence), &[][..])));
        let everything: Vec<usize> = (0..all.len()).collect();
        let alone: usize = all.iter().map(|sequence| sequence.tokens.len() - 1).sum();
        assert!(crate::batch::computed(&sizes, &everything) + 300 < alone);
    }
}
