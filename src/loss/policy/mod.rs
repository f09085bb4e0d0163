//! The clipped policy-gradient surrogates and how their tokens are averaged.

use super::clips::Clips;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind as Dtype, Tensor};

/// λ = log π − log π_old is kept within ±20 (verl): e^λ stays finite, so an advantage of 0 cannot become NaN.
const LOG_RATIO_LIMIT: f64 = 20.0;

/// The policy loss: `[loop.grpo.loss]`. With ratio r = π / π_old and advantage A, a token's loss is
/// −min(r·A, clip(r, 1 − clip_low, 1 + clip_high)·A), for `cispo` −sg(min(r, cap))·A·log π.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyLoss {
    /// How tokens are averaged, and for `cispo` and `gspo` also what a token's loss is.
    pub kind: Kind,
    /// The ratio is of each `token`, or the geometric mean over its `sequence`. Default: `sequence` for `gspo`, else `token`.
    pub ratio: Option<Ratio>,
    /// How far below 1 the ratio may count for a negative advantage.
    pub clip_low: f64,
    /// How far above 1 the ratio may count for a positive advantage; default `clip_low`, 0.28 in DAPO. For `cispo`
    /// it replaces `cap`: the ratio is then kept within [1 − clip_low, 1 + clip_high], as in verl and NeMo-RL.
    pub clip_high: Option<f64>,
    /// The most that the ratio counts for a negative advantage, where the clip above does not hold it: verl's
    /// `clip_ratio_c` (3.0 there), TRL's `delta`. Default: no limit.
    pub dual_clip: Option<f64>,
    /// The most that `cispo` lets the ratio weigh; default 5.0 (TRL's `epsilon_high` for CISPO).
    pub cap: Option<f64>,
}

/// How tokens are averaged: Σ_t w_t ℓ_t / total, with w of [`PolicyLoss::weights`] and [`PolicyLoss::total`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The mean over sequences of the mean over their tokens (arXiv 2402.03300): w = 1/length, total = sequences.
    Grpo,
    /// The mean over the tokens of the optimiser step: w = 1, total = its tokens.
    Bnpo,
    /// The sum over tokens by a constant, without length bias (arXiv 2503.20783): w = 1,
    /// total = sequences · `max_new_tokens`.
    DrGrpo,
    /// The mean over the tokens of the whole generation batch (arXiv 2503.14476): w = 1. Unlike `bnpo`, where that
    /// batch is split into several optimiser steps each divides by the same total.
    Dapo,
    /// Every token keeps its gradient and its clipped ratio only weighs it (arXiv 2506.13585); averaged as `dapo`.
    Cispo,
    /// One ratio a sequence (arXiv 2507.18071); averaged as `grpo`.
    Gspo,
}

/// What the ratio π / π_old is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
        Self { kind: Kind::Dapo, ratio: None, clip_low: 0.2, clip_high: None, dual_clip: None, cap: None }
    }
}

impl PolicyLoss {
    /// Σ_t w_t ℓ_t over a micro-batch of whole sequences.
    pub fn sum(&self, tokens: &PolicyTokens) -> PolicyTerms {
        let ratio = self.ratios(tokens);
        let losses = self.token_losses(tokens, &ratio);
        let loss = (losses * tokens.weights).sum(tokens.logprobs.kind());
        PolicyTerms { loss, clips: self.clips(tokens, &ratio.detach()) }
    }

    /// The weight that each token of a sequence of this length has, one number a sequence.
    pub fn weights(&self, lengths: &[usize]) -> Vec<f64> {
        match self.kind {
            Kind::Grpo | Kind::Gspo => lengths.iter().map(|length| 1.0 / (*length).max(1) as f64).collect(),
            Kind::Bnpo | Kind::DrGrpo | Kind::Dapo | Kind::Cispo => vec![1.0; lengths.len()],
        }
    }

    /// What the summed loss of a whole optimiser step, over all its micro-batches and ranks, is divided by.
    ///
    /// `sequences` counts every rollout of the step, those whose tokens are masked out too (as TRL does), `tokens`
    /// only tokens that count. Where [`PolicyLoss::spans_generation`], give the counts of the whole generation
    /// batch instead and divide the result by the number of optimiser steps that it is split into.
    pub fn total(&self, sequences: usize, tokens: usize, max_new_tokens: usize) -> f64 {
        let total = match self.kind {
            Kind::Grpo | Kind::Gspo => sequences,
            Kind::Bnpo | Kind::Dapo | Kind::Cispo => tokens,
            Kind::DrGrpo => sequences * max_new_tokens,
        };
        total.max(1) as f64
    }

    /// Whether the total is one of the generation batch rather than of the optimiser step: `dapo` and `cispo`.
    pub fn spans_generation(&self) -> bool {
        matches!(self.kind, Kind::Dapo | Kind::Cispo)
    }

    /// What is wrong with this section, in the words of the recipe.
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::Recipe(format!("loop.grpo.loss.{text}")));
        let cispo = self.kind == Kind::Cispo;
        if !(self.clip_low > 0.0 && self.clip_low <= 1.0) {
            return refuse(format!(
                "clip_low = {}: must be above 0 and at most 1, such as 0.2",
                self.clip_low
            ));
        }
        if let Some(high) = self.clip_high.filter(|high| !(high.is_finite() && *high > 0.0)) {
            return refuse(format!("clip_high = {high}: must be above 0, such as 0.28"));
        }
        if let Some(dual) = self.dual_clip.filter(|dual| !(dual.is_finite() && *dual > 1.0 + self.high())) {
            return refuse(format!(
                "dual_clip = {dual}: must be above 1 + clip_high = {}, such as 3.0",
                1.0 + self.high()
            ));
        }
        if let Some(cap) = self.cap.filter(|cap| !(cap.is_finite() && *cap > 0.0)) {
            return refuse(format!("cap = {cap}: must be above 0, such as 5.0"));
        }
        match self {
            Self { dual_clip: Some(_), .. } if cispo => {
                refuse("dual_clip: cispo does not clip the loss; take it out, or set cap".to_owned())
            }
            Self { cap: Some(_), .. } if !cispo => {
                refuse("cap: only for kind = \"cispo\"; take it out, or set dual_clip".to_owned())
            }
            Self { cap: Some(_), clip_high: Some(_), .. } => {
                refuse("cap: cispo takes either cap or the window of clip_high; take one out".to_owned())
            }
            Self { kind: Kind::Gspo, ratio: Some(Ratio::Token), .. } => refuse(
                "ratio = \"token\": gspo is the ratio by sequence; set kind = \"grpo\" for ratios by token"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// r of each token. By sequence it is exp(log π − sg(log π) + sg(mean λ)), verl's form: each token of the
    /// sequence carries its share of the gradient, and the sum over the sequence is that of TRL's one ratio.
    fn ratios(&self, tokens: &PolicyTokens) -> Tensor {
        let log_ratio = tokens.logprobs - tokens.old_logprobs;
        let log_ratio = match self.level() {
            Ratio::Token => log_ratio,
            Ratio::Sequence => {
                let means = sequence_means(&log_ratio.detach(), tokens.lengths);
                tokens.logprobs - tokens.logprobs.detach() + means
            }
        };
        log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
    }

    /// ℓ of each token, `[tokens]`.
    fn token_losses(&self, tokens: &PolicyTokens, ratio: &Tensor) -> Tensor {
        let advantages = tokens.advantages;
        let (low, high) = self.window();
        if self.kind == Kind::Cispo {
            return -(ratio.detach().clamp(low, high) * advantages * tokens.logprobs);
        }
        let losses = (-(ratio * advantages)).maximum(&-(ratio.clamp(low, high) * advantages));
        match self.dual_clip {
            Some(dual) => losses.where_self(&advantages.ge(0.0), &losses.minimum(&(advantages * -dual))),
            None => losses,
        }
    }

    fn clips(&self, tokens: &PolicyTokens, ratio: &Tensor) -> Clips {
        // One copy from the device; counting is then plain arithmetic.
        let rows = [ratio, tokens.advantages, tokens.weights].map(|row| row.to_kind(Dtype::Double));
        let rows = Vec::<Vec<f64>>::try_from(Tensor::stack(&rows, 0)).expect("a matrix of doubles");
        let (low, high) = self.window();
        let mut clips = Clips::default();
        let mut start = 0;
        for length in tokens.lengths {
            let counted = (start..start + length).filter(|token| rows[2][*token] != 0.0);
            let counted = counted.take(if self.level() == Ratio::Sequence { 1 } else { *length });
            let pairs = counted.map(|token| (rows[0][token], rows[1][token]));
            clips = clips.plus(Clips::of_sequence(pairs, low, high));
            start += length;
        }
        clips
    }

    /// The ratios that are not clipped.
    fn window(&self) -> (f64, f64) {
        match (self.kind, self.clip_high) {
            (Kind::Cispo, None) => (f64::NEG_INFINITY, self.cap.unwrap_or(5.0)),
            _ => (1.0 - self.clip_low, 1.0 + self.high()),
        }
    }

    fn high(&self) -> f64 {
        self.clip_high.unwrap_or(self.clip_low)
    }

    fn level(&self) -> Ratio {
        self.ratio.unwrap_or(if self.kind == Kind::Gspo { Ratio::Sequence } else { Ratio::Token })
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
mod tests {
    use super::*;

    fn read(recipe: &str) -> PolicyLoss {
        let loss: PolicyLoss = toml::from_str(recipe).unwrap();
        loss.validate().unwrap();
        loss
    }

    /// The losses of single tokens, each a sequence of its own unless `lengths` says otherwise.
    fn losses(
        recipe: &str,
        logprobs: &[f32],
        old: &[f32],
        advantages: &[f32],
        lengths: &[usize],
    ) -> Vec<f64> {
        let (logprobs, old) = (Tensor::from_slice(logprobs), Tensor::from_slice(old));
        let (advantages, weights) = (Tensor::from_slice(advantages), logprobs.ones_like());
        let tokens = PolicyTokens {
            logprobs: &logprobs,
            old_logprobs: &old,
            advantages: &advantages,
            weights: &weights,
            lengths,
        };
        let loss = read(recipe);
        let losses = loss.token_losses(&tokens, &loss.ratios(&tokens));
        Vec::try_from(losses.to_kind(Dtype::Double)).unwrap()
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn the_clip_is_that_of_nemo_rls_tests() {
        // Ratios 0.5, 1, 1.5; A = 1, −1, 2: −0.5 (below the window, A > 0: not clipped), 1, −1.2 · 2.
        let found = losses("", &[-1.69315, -1.0, -0.59453], &[-1.0; 3], &[1.0, -1.0, 2.0], &[1; 3]);
        assert_near(&found, &[-0.5, 1.0, -2.4]);
    }

    #[test]
    fn the_dual_clip_is_that_of_nemo_rls_and_slimes_tests() {
        // Ratios 0.5, 1, 10; A = 1, −1, −4; c = 3 holds the last: −A·c = 12.
        let old = [-1.0, -1.0, -3.0];
        let found = losses("dual_clip = 3.0", &[-1.69315, -1.0, -0.69741], &old, &[1.0, -1.0, -4.0], &[1; 3]);
        assert_near(&found, &[-0.5, 1.0, 12.0]);
        // slime: ratios 2, 2, 0.5; A = 2, −2, 2; c = 1.5.
        let two = 2.0_f32.ln();
        let found = losses("dual_clip = 1.5", &[two, two, -two], &[0.0; 3], &[2.0, -2.0, 2.0], &[1; 3]);
        assert_near(&found, &[-2.4, 3.0, -1.0]);
    }

    #[test]
    fn cispo_weighs_the_log_probability_by_the_clipped_ratio() {
        // NeMo-RL: ratios 0.5, 1, 1.5 become 0.8, 1, 1.2; −A·w·log π.
        let logprobs = [-1.69315, -1.0, -0.59453];
        let found =
            losses("kind = \"cispo\"\nclip_high = 0.2", &logprobs, &[-1.0; 3], &[1.0, -1.0, 2.0], &[1; 3]);
        assert_near(&found, &[0.8 * 1.69315, -1.0, 2.4 * 0.59453]);
        // TRL: no lower clamp, and the cap is absolute: ratios e⁻³ and e³ become e⁻³ and 5.
        let found = losses("kind = \"cispo\"", &[-4.0, -1.0], &[-1.0, -4.0], &[1.0, 1.0], &[1; 2]);
        assert_near(&found, &[4.0 * (-3.0_f64).exp(), 5.0]);
    }

    #[test]
    fn gspo_takes_one_ratio_a_sequence() {
        // Two sequences: mean λ = (0.3 − 0.1)/2 = 0.1 and −0.5; ratios 1.10517 and 0.60653, the second clipped
        // to 0.8 for A < 0.
        let found =
            losses("kind = \"gspo\"", &[-0.7, -1.1, -1.5], &[-1.0, -1.0, -1.0], &[2.0, 2.0, -1.0], &[2, 1]);
        assert_near(&found, &[-2.21034, -2.21034, 0.8]);
    }

    #[test]
    fn a_huge_ratio_stays_finite_and_zero_advantage_stays_zero() {
        let found = losses("", &[0.0, 0.0], &[-500.0, -500.0], &[0.0, -1.0], &[1; 2]);
        assert_near(&[found[0], found[1] / 20.0_f64.exp()], &[0.0, 1.0]);
    }

    #[test]
    fn weights_and_totals_average_as_documented() {
        // Lengths 1 and 3, max 10: per-sequence mean, tokens, constant.
        let lengths = [1, 3];
        for (kind, weights, total) in [
            ("grpo", [1.0, 1.0 / 3.0], 2.0),
            ("gspo", [1.0, 1.0 / 3.0], 2.0),
            ("bnpo", [1.0, 1.0], 4.0),
            ("dapo", [1.0, 1.0], 4.0),
            ("cispo", [1.0, 1.0], 4.0),
            ("dr_grpo", [1.0, 1.0], 20.0),
        ] {
            let loss = read(&format!("kind = \"{kind}\""));
            assert_eq!(
                (loss.weights(&lengths).as_slice(), loss.total(2, 4, 10)),
                (&weights[..], total),
                "{kind}"
            );
        }
        // Nothing to average is no division by zero.
        assert_eq!(read("").total(0, 0, 10), 1.0);
    }

    #[test]
    fn the_section_is_checked() {
        let message =
            |recipe: &str| toml::from_str::<PolicyLoss>(recipe).unwrap().validate().unwrap_err().to_string();
        for (recipe, key) in [
            ("clip_low = 1.5", "clip_low = 1.5"),
            ("clip_high = 0.0", "clip_high = 0"),
            ("dual_clip = 1.1", "dual_clip = 1.1"),
            ("cap = 2.0", "cap: only for"),
            ("kind = \"cispo\"\ncap = -1.0", "cap = -1"),
            ("kind = \"cispo\"\ndual_clip = 3.0", "dual_clip: cispo"),
            ("kind = \"cispo\"\ncap = 4.0\nclip_high = 0.2", "cap: cispo takes either"),
            ("kind = \"gspo\"\nratio = \"token\"", "ratio = \"token\""),
        ] {
            let message = message(recipe);
            assert!(message.contains(&format!("loop.grpo.loss.{key}")), "{message}");
        }
        let unknown = toml::from_str::<PolicyLoss>("clip = 0.2").unwrap_err().to_string();
        assert!(unknown.contains("clip_low"), "{unknown}");
    }
}
