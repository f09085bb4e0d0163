//! `[policy.sampling]`: from logits to one token a row, as transformers' logits processors order it: repetition penalty,
//! temperature, top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2024).

use crate::Result;
use crate::section::{Misfit, all_fit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Most likely tokens that top-p looks at before it sorts the whole vocabulary.
const HEAD: i64 = 1024;

/// How tokens are drawn, and when a completion is long enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Longest completion, in tokens.
    pub max_new_tokens: usize,
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f64,
    /// Draw from this many most likely tokens only (and those as likely as the last of them); 0 = from all.
    pub top_k: usize,
    /// Draw from the fewest most likely tokens that hold this much probability; 1 = from all.
    pub top_p: f64,
    /// Draw from tokens at least this fraction as likely as the most likely one; 0 = from all.
    pub min_p: f64,
    /// Divides the positive logits of tokens that the prompt or the completion has, and multiplies the negative ones; 1 = off.
    pub repetition_penalty: f64,
    /// Texts that end a completion.
    pub stop: Vec<String>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            max_new_tokens: 512,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            stop: Vec::new(),
        }
    }
}

/// One token a row.
pub struct Drawn {
    /// Token ids.
    pub tokens: Vec<i64>,
    /// Their log-probabilities over the whole vocabulary, before truncation and penalty.
    pub logprobs: Vec<f32>,
    /// Probability that truncation left standing.
    pub kept: Vec<f64>,
    /// The likeliest tokens with their log-probabilities of the same kind; empty where none are asked for.
    pub top: Vec<Vec<(u32, f32)>>,
}

impl Drawn {
    /// What was drawn for `groups` of rows as one, by row.
    pub(super) fn together(mut drawn: Vec<Drawn>, groups: &[Vec<i64>]) -> Drawn {
        if drawn.len() == 1 {
            return drawn.remove(0);
        }
        let rows = groups.iter().map(Vec::len).sum();
        let mut all = Drawn {
            tokens: vec![0; rows],
            logprobs: vec![0.0; rows],
            kept: vec![0.0; rows],
            top: vec![vec![]; rows],
        };
        for (mut one, group) in drawn.into_iter().zip(groups) {
            for (at, &row) in group.iter().enumerate() {
                let row = row as usize;
                (all.tokens[row], all.logprobs[row], all.kept[row]) =
                    (one.tokens[at], one.logprobs[at], one.kept[at]);
                all.top[row] = one.top.get_mut(at).map(std::mem::take).unwrap_or_default();
            }
        }
        all
    }
}

impl Sampling {
    /// The temperature at which log-probabilities are recorded and recomputed: the sampling temperature, and 1 for
    /// greedy decoding.
    pub fn scoring_temperature(&self) -> f64 {
        if self.temperature == 0.0 { 1.0 } else { self.temperature }
    }

    /// Whether tokens are drawn as by `other`; how many there may be and what ends them are no part of that.
    pub(super) fn draws_as(&self, other: &Self) -> bool {
        let how = |one: &Self| (one.temperature, one.top_k, one.top_p, one.min_p, one.repetition_penalty);
        how(self) == how(other)
    }

    /// Settings outside their range.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[
            (self.max_new_tokens > 0, "max_new_tokens", "it must be at least 1"),
            (
                is_temperature(self.temperature),
                "temperature",
                "it must be 0 (greedy), or a number of at least 0.001",
            ),
            (
                self.top_p > 0.0 && self.top_p <= 1.0,
                "top_p",
                "it must be above 0 and at most 1 (1 turns it off)",
            ),
            ((0.0..=1.0).contains(&self.min_p), "min_p", "it must be between 0 (off) and 1"),
            (
                self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0,
                "repetition_penalty",
                "it must be a positive number (1 turns it off)",
            ),
            (
                !self.stop.iter().any(String::is_empty),
                "stop",
                "it must be a list of texts that are not empty",
            ),
        ])
    }

    /// Refuses settings outside their range, by key, where no recipe did.
    pub fn validate(&self) -> Result<()> {
        all_fit("policy.sampling", self, self.check())
    }

    /// Draws a token for each row of `logits [rows, vocab]` with its uniform in [0, 1). `seen [rows, vocab]` marks the
    /// tokens under the repetition penalty; the `top` likeliest tokens are told beside it. All on the logits' device; one copy brings the three numbers a row back.
    pub(super) fn draw(
        &self,
        logits: &Tensor,
        uniforms: &[f64],
        seen: Option<&Tensor>,
        top: usize,
    ) -> Result<Drawn> {
        let logits = logits.to_kind(Kind::Float);
        let logprobs = self.tempered(&logits).log_softmax(-1, Kind::Float);
        let penalised = seen.map(|seen| self.penalised(&logits, seen));
        let (tokens, kept) = if self.temperature == 0.0 {
            let best = penalised.as_ref().unwrap_or(&logits).argmax(-1, true);
            let whole = best.ones_like().to_kind(Kind::Double);
            (best, whole)
        } else {
            let scores = penalised.map(|logits| self.tempered(&logits).log_softmax(-1, Kind::Float));
            self.invert(scores.as_ref().unwrap_or(&logprobs), uniforms)
        };
        let chosen = logprobs.gather(-1, &tokens, false);
        let rows = Tensor::cat(&[tokens.to_kind(Kind::Double), chosen.to_kind(Kind::Double), kept], -1);
        let rows: Vec<Vec<f64>> = rows.transpose(0, 1).contiguous().try_into()?;
        Ok(Drawn {
            tokens: rows[0].iter().map(|&token| token as i64).collect(),
            logprobs: rows[1].iter().map(|&logprob| logprob as f32).collect(),
            kept: rows[2].clone(),
            top: likeliest(&logprobs, top)?,
        })
    }

    /// Inverse of the cumulative distribution in vocabulary order, and the mass it runs over, `[rows, 1]` each.
    fn invert(&self, scores: &Tensor, uniforms: &[f64]) -> (Tensor, Tensor) {
        let last = scores.size()[1] - 1;
        // f64, so that the rounding of a sum over a large vocabulary stays far below any token's own probability.
        let cumulative = self.truncated(scores).cumsum(-1, Kind::Double);
        let total = cumulative.narrow(-1, last, 1);
        let target = Tensor::from_slice(uniforms).to_device(scores.device()).unsqueeze(1) * &total;
        let tokens = target.searchsorted(&cumulative, false, true, "right", None::<&Tensor>).clamp_max(last);
        (tokens, if self.truncates() { total } else { total.ones_like() })
    }

    /// Probabilities of `scores` (log-probabilities), 0 for the tokens that are not drawn from.
    fn truncated(&self, scores: &Tensor) -> Tensor {
        let probabilities = scores.exp();
        match self.lowest(scores) {
            Some(lowest) => probabilities * scores.ge_tensor(&lowest),
            None => probabilities,
        }
    }

    fn truncates(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0 || self.min_p > 0.0
    }

    fn tempered(&self, logits: &Tensor) -> Tensor {
        match self.temperature {
            0.0 | 1.0 => logits.shallow_clone(),
            temperature => logits / temperature,
        }
    }

    fn penalised(&self, logits: &Tensor, seen: &Tensor) -> Tensor {
        let penalty = self.repetition_penalty;
        let lowered = (logits * penalty).where_self(&logits.lt(0.0), &(logits / penalty));
        lowered.where_self(seen, logits)
    }

    /// The smallest of `scores` (log-probabilities `[rows, vocab]`) that a token may have, `[rows, 1]`, if any.
    fn lowest(&self, scores: &Tensor) -> Option<Tensor> {
        let ranked = (self.top_k > 0 || self.top_p < 1.0).then(|| self.lowest_ranked(scores));
        let relative = (self.min_p > 0.0).then(|| scores.amax([-1i64].as_slice(), true) + self.min_p.ln());
        match (ranked, relative) {
            (Some(a), Some(b)) => Some(a.maximum(&b)),
            (a, b) => a.or(b),
        }
    }

    /// top-k, then top-p over what it left: a token stays while the tokens above it hold less than top_p.
    fn lowest_ranked(&self, scores: &Tensor) -> Tensor {
        let vocab = scores.size()[1];
        let limited = self.top_k > 0 && (self.top_k as i64) < vocab;
        let sorted = match limited {
            true => scores.topk(self.top_k as i64, -1, true, true).0,
            false => self.ranked(scores),
        };
        let last = sorted.size()[1];
        if self.top_p == 1.0 {
            return sorted.narrow(-1, last - 1, 1);
        }
        let mut mass = sorted.to_kind(Kind::Double).exp();
        if limited {
            mass = &mass / mass.sum_dim_intlist([-1i64].as_slice(), true, Kind::Double);
        }
        let above = mass.cumsum(-1, Kind::Double) - &mass;
        let stay = above.lt(self.top_p).sum_dim_intlist([-1i64].as_slice(), true, Kind::Int64);
        // Of a row that is no numbers none stays; who drew from it is told so by its log-probability.
        sorted.gather(-1, &(stay - 1).clamp_min(0i64), false)
    }

    /// `scores` from the largest down, as far as top-p needs them. A CPU sorts a large vocabulary as slowly as it
    /// computes a small model, so there the head is tried first; elsewhere asking whether it suffices would make the
    /// host wait.
    fn ranked(&self, scores: &Tensor) -> Tensor {
        if scores.device() == Device::Cpu && scores.size()[1] > HEAD {
            let head = scores.topk(HEAD, -1, true, true).0;
            let mass = head.exp().sum_dim_intlist([-1i64].as_slice(), false, Kind::Double);
            if mass.min().double_value(&[]) >= self.top_p {
                return head;
            }
        }
        scores.sort(-1, true).0
    }
}

/// The `count` likeliest tokens of each row of `logprobs [rows, vocab]` with their log-probabilities, the likeliest first; no rows
/// where `count` is 0.
pub(crate) fn likeliest(logprobs: &Tensor, count: usize) -> Result<Vec<Vec<(u32, f32)>>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let (values, ids) = logprobs.topk((count as i64).min(logprobs.size()[1]), -1, true, true);
    let values: Vec<Vec<f32>> = values.to_kind(Kind::Float).to_device(Device::Cpu).try_into()?;
    let ids: Vec<Vec<i64>> = ids.to_device(Device::Cpu).try_into()?;
    let row = |(ids, values): (Vec<i64>, Vec<f32>)| ids.into_iter().map(|id| id as u32).zip(values).collect();
    Ok(ids.into_iter().zip(values).map(row).collect())
}

/// Whether something can be sampled at it: logits that are divided by less are no numbers in f32.
pub fn is_temperature(temperature: f64) -> bool {
    temperature == 0.0 || (temperature >= 1e-3 && temperature.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::far;
    use serde_json::Value;

    fn table(value: &Value) -> Tensor {
        let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
        Tensor::stack(&rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0)
    }

    /// Each setting keeps the same tokens with the same probabilities as transformers' processors in their order.
    #[test]
    fn truncation_follows_transformers() {
        let fixture: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/engine/warpers.json")).unwrap();
        let (logits, prompt) = (table(&fixture["logits"]).to_kind(Kind::Float), table(&fixture["prompt"]));
        let seen = Tensor::zeros(logits.size(), (Kind::Bool, Device::Cpu));
        let seen = seen.scatter_value(1, &prompt.to_kind(Kind::Int64), 1.0);
        for case in fixture["cases"].as_array().unwrap() {
            let sampling: Sampling = serde_json::from_value(case["sampling"].clone()).unwrap();
            let scores = sampling.tempered(&sampling.penalised(&logits, &seen)).log_softmax(-1, Kind::Float);
            let kept = sampling.truncated(&scores).to_kind(Kind::Double);
            let ours = &kept / kept.sum_dim_intlist([-1i64].as_slice(), true, Kind::Double);
            let theirs = table(&case["probabilities"]);
            let difference = far(&ours, &theirs);
            assert!(difference < 1e-5, "{}: off by {difference}", case["sampling"]);
            assert!(ours.gt(0.0).equal(&theirs.gt(0.0)), "{}", case["sampling"]);
        }
    }

    /// Uniforms 0 and 1 − 2⁻⁵³ pick the first and the last token that has any probability, never one that has none.
    #[test]
    fn the_ends_of_the_unit_interval_pick_possible_tokens() {
        let sampling = Sampling { top_k: 2, ..Sampling::default() };
        let logits = Tensor::from_slice(&[0f32, 3.0, 2.0, 1.0]).repeat([2, 1]);
        let drawn = sampling.draw(&logits, &[0.0, 1.0 - f64::EPSILON / 2.0], None, 2).unwrap();
        assert_eq!(drawn.tokens, [1, 2]);
        // (e³ + e²) / (1 + e³ + e² + e) = 0.8808; log p(1) = 3 − ln(1 + e³ + e² + e) = −0.4402.
        assert!((drawn.kept[0] - 0.8808).abs() < 1e-4, "{}", drawn.kept[0]);
        assert!((drawn.logprobs[0] + 0.4402).abs() < 1e-4, "{}", drawn.logprobs[0]);
        // The two likeliest are told with the number that the drawn one has: tokens 1 and 2, one nat apart.
        let top = &drawn.top[0];
        assert_eq!((top[0], top[1].0), ((1, drawn.logprobs[0]), 2));
        assert!((top[0].1 - top[1].1 - 1.0).abs() < 1e-5, "{top:?}");
    }

    /// Over 4096 tokens, top-p draws from the same ones whether the likeliest 1024 hold the mass (a steep distribution) or the
    /// whole vocabulary has to be sorted (a flat one, where they hold less than a third). By hand: sort, add up, stop at .6.
    #[test]
    fn top_p_over_a_large_vocabulary() {
        let sampling = Sampling { top_p: 0.6, ..Sampling::default() };
        for slope in [0.01, 0.0001] {
            let order: Vec<i64> = (0..4096).map(|i| (i * 1237) % 4096).collect();
            let logits = Tensor::from_slice(&order).to_kind(Kind::Float).unsqueeze(0) * -slope;
            let kept = sampling.truncated(&logits.log_softmax(-1, Kind::Float)).gt(0.0);
            let weights: Vec<f64> = (0..4096).map(|rank| (-slope * f64::from(rank)).exp()).collect();
            let total: f64 = weights.iter().sum();
            let above = |rank: usize| weights[..rank].iter().sum::<f64>() / total;
            let count = (0..4096).take_while(|&rank| above(rank) < 0.6).count();
            assert_eq!(kept.sum(Kind::Int64).int64_value(&[]), count as i64, "slope {slope}");
            let ranks = Tensor::from_slice(&order).unsqueeze(0);
            assert!(kept.equal(&ranks.lt(count as i64)), "the {count} likeliest");
        }
    }

    /// What is out of range is refused by key, with what is allowed.
    #[test]
    fn settings_out_of_range_are_named() {
        for (toml, message) in [
            ("top_p = 0.0", "policy.sampling.top_p = 0.0: it must be above 0 and at most 1 (1 turns it off)"),
            ("min_p = 1.5", "policy.sampling.min_p = 1.5: it must be between 0 (off) and 1"),
            (
                "temperature = -1.0",
                "policy.sampling.temperature = -1.0: it must be 0 (greedy), or a number of at least 0.001",
            ),
            (
                "repetition_penalty = 0.0",
                "policy.sampling.repetition_penalty = 0.0: it must be a positive number (1 turns it off)",
            ),
            ("max_new_tokens = 0", "policy.sampling.max_new_tokens = 0: it must be at least 1"),
            ("stop = [\"\"]", "policy.sampling.stop = [\"\"]: it must be a list of texts that are not empty"),
            (
                "top_p = 0.0\nmin_p = 1.5",
                "policy.sampling.top_p = 0.0: it must be above 0 and at most 1 (1 turns it off)\n\
                 policy.sampling.min_p = 1.5: it must be between 0 (off) and 1",
            ),
        ] {
            let sampling: Sampling = toml::from_str(toml).unwrap();
            assert_eq!(sampling.validate().unwrap_err().to_string(), format!("recipe: {message}"));
        }
        assert!(Sampling::default().validate().is_ok());
        assert!(toml::from_str::<Sampling>("topp = 0.9").is_err());
    }
}
