//! What the device samples: the CPU's tokens, the same ones twice, whatever runs beside them, with the trainer's log-probabilities.

use super::tiny::{self, greatest};
use super::{Bench, Figure};
use crate::Result;
use crate::devices::native_kind;
use crate::engine::{Completion, Decoder, Request, Sampler, Sampling, Stops};
use crate::model::{Grad, Model, Sequence};
use tch::{Device, Kind};

const TIPPED: &str = "a rounding may tip a token now and then, and all that follow it";
const PROMISED: &str = "the same requests in the same number of slots are the same arithmetic";
const PATHS: &str = "the sampler attends to a cache, the trainer to packed rows: f32 sums in another order";
const BF16: &str = "bf16 keeps 8 bits: a log-probability of 5 moves by some hundredths, in both directions";

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let model = tiny::model(Kind::Float, bench.device)?;
    let reference = tiny::model(Kind::Double, Device::Cpu)?;
    let greedy = [sampled(&model, 0.0, 8)?, sampled(&reference, 0.0, 8)?];
    let [first, second, narrow] = [8, 8, 3].map(|slots| sampled(&model, 1.0, slots));
    let (first, second) = (first?, second?);
    let mut figures = vec![
        equal("greedy as on the CPU", &greedy[0], &greedy[1], 0.9, TIPPED),
        equal("sampled as on the CPU", &first, &sampled(&reference, 1.0, 8)?, 0.9, TIPPED),
        equal("sampled twice", &first, &second, 1.0, PROMISED),
        equal("in other company", &first, &narrow?, 0.9, TIPPED),
    ];
    let most = |differences: Vec<f64>| greatest(differences);
    figures.push(Figure::at_most(
        "against the trainer, f32",
        most(differences(&model, &first)?),
        1e-4,
        PATHS,
    ));
    let native = native_kind(bench.device);
    if native != Kind::Float {
        let model = tiny::model(native, bench.device)?;
        let [first, second] = [8, 8].map(|slots| sampled(&model, 1.0, slots));
        let first = first?;
        figures.push(equal("sampled twice, bf16", &first, &second?, 1.0, PROMISED));
        let differences = differences(&model, &first)?;
        let mean = differences.iter().sum::<f64>() / differences.len() as f64;
        figures.push(Figure::at_most("against the trainer, bf16 mean", mean, 0.05, BF16));
    }
    Ok(figures)
}

fn requests() -> Vec<Request> {
    let of = |prompt: u64| Request {
        prompt: tiny::tokens(prompt, 9 + prompt),
        seeds: (0..4).map(|sample| 10 * prompt + sample).collect(),
    };
    (0..5).map(of).collect()
}

fn sampled(model: &Model, temperature: f64, slots: usize) -> Result<Vec<Completion>> {
    let sampling = Sampling { max_new_tokens: 24, temperature, top_p: 0.95, ..Sampling::default() };
    let generated =
        Decoder::new(model, Stops::at(&[0]), slots).generate(&requests(), &sampling, &mut |_| {})?;
    Ok(generated.completions.into_iter().flatten().collect())
}

/// |log p of the sampler − log p of the trainer|, token by token.
fn differences(model: &Model, completions: &[Completion]) -> Result<Vec<f64>> {
    let prompts = requests().into_iter().flat_map(|r| r.seeds.into_iter().map(move |_| r.prompt.clone()));
    let sequences: Vec<Sequence> = prompts
        .zip(completions)
        .map(|(prompt, completion)| Sequence::new(&prompt, &completion.tokens))
        .collect();
    let scored = model.score(&sequences, 1.0, Grad::No)?;
    let trainer = Vec::<f32>::try_from(scored.logprobs.to_device(Device::Cpu))?;
    let sampler: Vec<f32> = completions.iter().flat_map(|completion| completion.logprobs.clone()).collect();
    Ok(apart(&sampler, &trainer))
}

fn apart(a: &[f32], b: &[f32]) -> Vec<f64> {
    if a.len() != b.len() {
        return vec![f64::NAN];
    }
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).collect()
}

/// The share of completions that have the same tokens.
fn equal(name: &str, found: &[Completion], expected: &[Completion], least: f64, why: &'static str) -> Figure {
    let same = found.iter().zip(expected).filter(|(a, b)| a.tokens == b.tokens).count();
    let all = found.len().max(expected.len()).max(1);
    Figure::at_least(name, same as f64 / all as f64, least, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tokens_and_other_log_probabilities_fail() {
        let model = tiny::model(Kind::Float, Device::Cpu).unwrap();
        let right = sampled(&model, 1.0, 8).unwrap();
        let mut wrong = right.clone();
        wrong[3].tokens[0] ^= 1;
        assert!(equal("", &right, &right, 1.0, "").passes() && !equal("", &wrong, &right, 1.0, "").passes());
        // 3 of 20 are more than a rounding tips; none at all pass nothing.
        wrong[4].tokens[1] ^= 1;
        wrong[5].tokens[2] ^= 1;
        assert!(!equal("", &wrong, &right, 0.9, "").passes() && !equal("", &[], &right, 0.9, "").passes());
        let mut wrong = right.clone();
        wrong[0].logprobs[0] += 1e-3;
        assert!(greatest(differences(&model, &right).unwrap()) < 1e-4);
        assert!(greatest(differences(&model, &wrong).unwrap()) > 1e-4);
        assert!(greatest(apart(&[1.0], &[])).is_nan());
    }

    /// The check has something to tell apart: the prompts' samples differ.
    #[test]
    fn samples_differ() {
        let all = sampled(&tiny::model(Kind::Float, Device::Cpu).unwrap(), 1.0, 8).unwrap();
        assert_eq!(all.len(), 20);
        assert!(all.windows(2).all(|pair| pair[0].tokens != pair[1].tokens));
    }
}
