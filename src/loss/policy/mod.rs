//! The clipped policy-gradient surrogates and how their tokens are averaged.

mod kinds;

pub use kinds::{KINDS, PolicyLossKind};

use super::clips::Clips;
use super::row::{self, Named};
use crate::Result;
use crate::section::{Misfit, all_fit};
use kinds::Counts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// λ = log π − log π_old is kept within ±20 (verl): e^λ stays finite, so an advantage of 0 cannot become NaN.
const LOG_RATIO_LIMIT: f64 = 20.0;

/// The policy loss: `[loop.grpo.loss]`. With ratio r = π / π_old and advantage A, a token's loss is
/// −min(r·A, clip(r, 1 − clip_low, 1 + clip_high)·A), for `cispo` −sg(min(r, cap))·A·log π.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "PolicyLossKeys")]
pub struct PolicyLoss {
    /// How tokens are averaged, and for `cispo` and `gspo` also what a token's loss is.
    pub kind: Named<PolicyLossKind>,
    /// What the ratio is of.
    pub ratio: Ratio,
    /// How far below 1 the ratio may count for a negative advantage.
    pub clip_low: f64,
    /// How far above 1 the ratio may count for a positive advantage; none where `cap` holds it.
    pub clip_high: Option<f64>,
    /// The most that the ratio counts for a negative advantage, where the clip above does not hold it.
    pub dual_clip: Option<f64>,
    /// The most that `cispo` lets the ratio weigh.
    pub cap: Option<f64>,
}

/// [`PolicyLoss`] as a recipe has it: a clip that is not given follows from the kind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct PolicyLossKeys {
    /// How tokens are averaged, and for `cispo` and `gspo` also what a token's loss is.
    kind: Named<PolicyLossKind>,
    /// The ratio is of each `token`, or the geometric mean over its `sequence`. Default: `sequence` for `gspo`, else `token`.
    ratio: Option<Ratio>,
    /// How far below 1 the ratio may count for a negative advantage. Default: 0.2; for `gspo`, whose ratio is a mean over tokens,
    /// its authors' 3e-4 (TRL keeps 0.2 there, at which nothing is ever clipped).
    clip_low: Option<f64>,
    /// How far above 1 the ratio may count for a positive advantage; default `clip_low`, 0.28 in DAPO; for `gspo` without
    /// a `clip_low` 4e-4. For `cispo`
    /// it replaces `cap`: the ratio is then kept within [1 − clip_low, 1 + clip_high], as in verl and NeMo-RL.
    clip_high: Option<f64>,
    /// The most that the ratio counts for a negative advantage, where the clip above does not hold it: verl's
    /// `clip_ratio_c` (3.0 there), TRL's `delta`. Default: no limit.
    dual_clip: Option<f64>,
    /// The most that `cispo` lets the ratio weigh; default 5.0 (TRL's `epsilon_high` for CISPO).
    cap: Option<f64>,
}

impl Default for PolicyLossKeys {
    fn default() -> Self {
        let kind = Named::of("dapo").expect("a row of KINDS");
        Self { kind, ratio: None, clip_low: None, clip_high: None, dual_clip: None, cap: None }
    }
}

impl From<PolicyLossKeys> for PolicyLoss {
    fn from(keys: PolicyLossKeys) -> Self {
        let PolicyLossKeys { kind, ratio, clip_low, clip_high, dual_clip, cap } = keys;
        let (low, high) = kind.clip;
        let usual = high.filter(|_| clip_low.is_none()).or(clip_low).unwrap_or(low);
        // The one that `cispo` goes by in place of the other.
        let (clip_high, cap) = match kind.cap {
            Some(most) if clip_high.is_none() => (None, cap.or(Some(most))),
            Some(_) => (clip_high, cap),
            None => (clip_high.or(Some(usual)), cap),
        };
        let ratio = ratio.unwrap_or(kind.ratios[0]);
        Self { kind, ratio, clip_low: clip_low.unwrap_or(low), clip_high, dual_clip, cap }
    }
}

/// What the ratio π / π_old is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ratio {
    /// Each token has its own.
    Token,
    /// All tokens of a sequence share exp(mean λ).
    Sequence,
}

/// The completion tokens of a micro-batch, sequences end to end. Tensors are `[tokens]`.
#[derive(Debug)]
pub struct PolicyTokens<'a> {
    /// log π, with gradient.
    pub logprobs: &'a Tensor,
    /// log π_old, recorded while sampling.
    pub old_logprobs: &'a Tensor,
    /// A, of each token.
    pub advantages: &'a Tensor,
    /// w, of each token: [`PolicyLoss::weights`], or 0 for a token that is masked out.
    pub weights: &'a Tensor,
    /// The number of tokens of each sequence; their sum is `tokens`.
    pub lengths: &'a [usize],
}

/// The loss of a micro-batch and what is reported of it.
#[derive(Debug)]
pub struct PolicyTerms {
    /// Σ_t w_t ℓ_t, a scalar; to be divided by [`PolicyLoss::total`].
    pub loss: Tensor,
    /// How often the clip held.
    pub clips: Clips,
}

impl Default for PolicyLoss {
    fn default() -> Self {
        PolicyLossKeys::default().into()
    }
}

impl PolicyLoss {
    /// Σ_t w_t ℓ_t over a micro-batch of whole sequences.
    ///
    /// # Panics
    /// Where a tensor is not as long as the sequences are together.
    pub fn sum(&self, tokens: &PolicyTokens) -> PolicyTerms {
        tokens.assert_shape();
        let ratio = self.ratios(tokens);
        let losses = (self.kind.token)(self, tokens, &ratio);
        let loss = (losses * tokens.weights).sum(tokens.logprobs.kind());
        PolicyTerms { loss, clips: self.clips(tokens, &ratio.detach()) }
    }

    /// The weight that each token of a sequence of this length has, one number a sequence.
    pub fn weights(&self, lengths: &[usize]) -> Vec<f64> {
        lengths.iter().map(|length| (self.kind.weight)((*length).max(1) as f64)).collect()
    }

    /// What the summed loss of a whole optimiser step, over all its micro-batches and ranks, is divided by.
    ///
    /// `sequences` counts every rollout of the step, those whose tokens are masked out too (as TRL does), `tokens`
    /// only tokens that count. Where [`PolicyLoss::spans_generation`], give the counts of the whole generation
    /// batch instead and divide the result by the number of optimiser steps that it is split into.
    pub fn total(&self, sequences: usize, tokens: usize, max_new_tokens: usize) -> f64 {
        self.part(sequences, tokens, max_new_tokens).max(1.0)
    }

    /// What some of the step's rollouts, those of a rank, contribute to the [`total`](Self::total): 0 of nothing.
    pub fn part(&self, sequences: usize, tokens: usize, max_new_tokens: usize) -> f64 {
        (self.kind.total)(&Counts { sequences, tokens, max_new_tokens }) as f64
    }

    /// What an entropy of each token is multiplied by so that its sum, divided by the update's `total` as the loss is, is the
    /// mean over the `tokens` of that update, whatever the kind.
    pub fn entropy_scale(total: f64, tokens: usize) -> f64 {
        total / tokens.max(1) as f64
    }

    /// Whether the total is one of the generation batch rather than of the optimiser step: `dapo` and `cispo`.
    pub fn spans_generation(&self) -> bool {
        self.kind.spans_generation
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        let mut refuse =
            |key: &str, message: String, remedy: &str| found.push(Misfit::new(key, message, remedy));
        if !(self.clip_low > 0.0 && self.clip_low <= 1.0) {
            refuse("clip_low", "it must be above 0 and at most 1, such as 0.2".into(), "");
        }
        // As far as below, it is refused there.
        if self.clip_high.is_some_and(|high| high != self.clip_low && !(high.is_finite() && high > 0.0)) {
            refuse("clip_high", "it must be above 0, such as 0.28".into(), "");
        }
        let least = 1.0 + self.high();
        if self.dual_clip.is_some_and(|dual| !(dual.is_finite() && dual > least)) {
            refuse("dual_clip", format!("it must be above 1 + clip_high = {least}, such as 3.0"), "");
        }
        if self.cap.is_some_and(|cap| !(cap.is_finite() && cap > 0.0)) {
            refuse("cap", "it must be above 0, such as 5.0".into(), "");
        }
        if !self.kind.ratios.contains(&self.ratio) {
            let other =
                KINDS.iter().find(|kind| kind.ratios.contains(&self.ratio)).expect("each ratio has kinds");
            let (level, remedy) =
                (self.kind.ratios[0], format!("take it out, or set kind = \"{}\"", other.name));
            refuse("ratio", format!("{} takes the ratio by {level}", self.kind.name), &remedy);
        }
        if self.cap.is_some() && self.clip_high.is_some() && self.kind.cap.is_some() {
            let message = format!("{} takes either cap or the window of clip_high", self.kind.name);
            refuse("cap", message, "take one out");
        }
        let given = [
            ("clip_high", self.clip_high.is_some()),
            ("dual_clip", self.dual_clip.is_some()),
            ("cap", self.cap.is_some()),
        ];
        let refused = given.iter().filter(|(_, given)| *given);
        found.extend(refused.filter_map(|(key, _)| row::refusal(self.kind.0, key)));
        found
    }

    /// The same as an error, for who uses the section without a recipe around it.
    pub fn validate(&self) -> Result<()> {
        all_fit("loop.grpo.loss", self, self.check())
    }

    /// r of each token. By sequence it is exp(log π − sg(log π) + sg(mean λ)), verl's form: each token of the
    /// sequence carries its share of the gradient, and the sum over the sequence is that of TRL's one ratio.
    fn ratios(&self, tokens: &PolicyTokens) -> Tensor {
        let log_ratio = tokens.logprobs - tokens.old_logprobs;
        let log_ratio = match self.ratio {
            Ratio::Token => log_ratio,
            Ratio::Sequence => {
                let means = sequence_means(&log_ratio.detach(), tokens.lengths);
                tokens.logprobs - tokens.logprobs.detach() + means
            }
        };
        log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
    }

    /// −min(r·A, clip(r)·A), at most −A·`dual_clip` where A < 0.
    fn clipped(&self, PolicyTokens { advantages, .. }: &PolicyTokens, ratio: &Tensor) -> Tensor {
        let (low, high) = self.window();
        let losses = (-(ratio * *advantages)).maximum(&-(ratio.clamp(low, high) * *advantages));
        match self.dual_clip {
            Some(dual) => losses.where_self(&advantages.ge(0.0), &losses.minimum(&(*advantages * -dual))),
            None => losses,
        }
    }

    /// −sg(clip(r))·A·log π.
    fn weighed(&self, tokens: &PolicyTokens, ratio: &Tensor) -> Tensor {
        let (low, high) = self.window();
        -(ratio.detach().clamp(low, high) * tokens.advantages * tokens.logprobs)
    }

    fn clips(&self, tokens: &PolicyTokens, ratio: &Tensor) -> Clips {
        // One copy from the device; counting is then plain arithmetic.
        let rows = [ratio, tokens.advantages, tokens.weights].map(|row| row.to_kind(Kind::Double));
        let rows = Vec::<Vec<f64>>::try_from(Tensor::stack(&rows, 0)).expect("a matrix of doubles");
        let (low, high) = self.window();
        let mut clips = Clips::default();
        let mut start = 0;
        for length in tokens.lengths {
            let counted = (start..start + length).filter(|token| rows[2][*token] != 0.0);
            let counted = counted.take(if self.ratio == Ratio::Sequence { 1 } else { *length });
            let pairs = counted.map(|token| (rows[0][token], rows[1][token]));
            clips = clips.plus(Clips::of_sequence(pairs, low, high));
            start += length;
        }
        clips
    }

    /// The ratios that are not clipped.
    fn window(&self) -> (f64, f64) {
        (self.kind.window)(self)
    }

    /// 1 − clip_low to 1 + clip_high.
    fn around_one(&self) -> (f64, f64) {
        (1.0 - self.clip_low, 1.0 + self.high())
    }

    /// Up to `cap`, unless `clip_high` asks for the window around 1.
    fn capped(&self) -> (f64, f64) {
        match self.clip_high {
            Some(_) => self.around_one(),
            None => (f64::NEG_INFINITY, self.cap.unwrap_or(f64::INFINITY)),
        }
    }

    fn high(&self) -> f64 {
        self.clip_high.unwrap_or(self.clip_low)
    }
}

impl PolicyTokens<'_> {
    fn assert_shape(&self) {
        let tokens = self.lengths.iter().sum::<usize>() as i64;
        for (name, tensor) in [
            ("logprobs", self.logprobs),
            ("old_logprobs", self.old_logprobs),
            ("advantages", self.advantages),
            ("weights", self.weights),
        ] {
            assert_eq!(tensor.size(), [tokens], "{name}: one number for each token of {:?}", self.lengths);
        }
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Ratio::Token { "token" } else { "sequence" })
    }
}

/// Each token's sequence mean of `values`, `[tokens]`.
fn sequence_means(values: &Tensor, lengths: &[usize]) -> Tensor {
    if lengths.is_empty() {
        return values.shallow_clone();
    }
    let sizes: Vec<i64> = lengths.iter().map(|length| *length as i64).collect();
    let means = values.split_with_sizes(sizes.as_slice(), 0).into_iter().map(|sequence| {
        let size = sequence.size();
        sequence.mean(values.kind()).expand(size, false)
    });
    Tensor::cat(&means.collect::<Vec<_>>(), 0)
}

#[cfg(test)]
mod tests;
