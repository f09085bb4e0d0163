//! Credit for single steps from a process reward model: forms that resist hacking, and the raw sum that does not (PURE, Cheng
//! et al. 2025, arXiv 2504.15275; clip and delta, Gao et al. 2024, 2410.15115; PAV, Setlur et al. 2024, 2410.08146).

use crate::Result;
use crate::section::{Misfit, all_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// `[loop.grpo.steps]`: added, token by token, to the advantage that the rewards' values give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StepCredit {
    /// The reward whose step scores are credited; give it `weight = 0` to keep its value out of the outcome.
    pub reward: String,
    /// What a step earns.
    pub form: Form,
    /// Factor of the credit.
    pub weight: f64,
    /// For `min`: how soft the minimum is; PURE's is 0.1.
    pub temperature: f64,
    /// For `clip` and `clip_delta`: the score from which on a step costs nothing.
    pub threshold: f64,
    /// For `progress`: the prover is the best of so many samples of the model that the scores are values of, 1 − (1 − v)^k.
    pub best_of: usize,
    /// What is taken from what a step earns.
    pub baseline: StepBaseline,
    /// Credit the tokens between steps with nothing at all, not even the outcome: a policy would learn to avoid them.
    pub mask_separators: bool,
}

/// What a step of score p earns. Of all but `progress` a token's credit is the return: what its step and the later ones
/// earn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// p: hacked by writing more steps.
    Sum,
    /// w · (2p − 1) with w = softmax(−(2p − 1) / temperature) over the steps: about the least of them, at its place.
    Min,
    /// min(p − threshold, 0): steps that are good enough earn nothing.
    Clip,
    /// p_k − p_(k+1), of the last but one p, of the last nothing: the return from step k is p_k, however many follow.
    Delta,
    /// `clip`, then `delta` of that.
    ClipDelta,
    /// v_k − v_(k−1) under the prover, before the first step the group's mean of v_1; credited to the step alone.
    Progress,
}

/// What is taken from what a step earns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepBaseline {
    /// For each of the step's tokens, what the group's other rollouts earn a token of theirs (PURE): leave-one-out by tokens.
    /// It is a charge on length rather than a baseline: where the others earn less than nothing, every token is paid for, those
    /// after the worst step too, as PURE's own program does. `group` or `none` pay nothing for length.
    Tokens,
    /// From every return the mean of what the others earn in all: the same for all tokens of a rollout, however long it is.
    Group,
    /// Nothing.
    None,
}

/// The steps of one rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Each step's score, in [0, 1].
    pub scores: Vec<f64>,
    /// Each step's tokens in the completion.
    pub tokens: Vec<Range<usize>>,
    /// Tokens of the completion.
    pub length: usize,
}

impl Default for StepCredit {
    fn default() -> Self {
        Self {
            reward: "process".into(),
            form: Form::Min,
            weight: 1.0,
            temperature: 0.1,
            threshold: 0.9,
            best_of: 1,
            baseline: StepBaseline::Tokens,
            mask_separators: true,
        }
    }
}

impl StepCredit {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let positive = self.temperature > 0.0 && self.temperature.is_finite();
        let rules = [
            (positive, "temperature", "it must be positive, such as 0.1"),
            (self.weight.is_finite(), "weight", "it must be a finite number"),
            (self.threshold.is_finite(), "threshold", "it must be a finite number"),
            (self.best_of > 0, "best_of", "it must be at least 1, the model itself"),
        ];
        let broken = rules.iter().filter(|(holds, ..)| !holds);
        broken.map(|(_, key, message)| Misfit::new(*key, *message, "")).collect()
    }

    /// The same as an error, for who uses the section without a recipe around it.
    pub fn validate(&self) -> Result<()> {
        all_fit("loop.grpo.steps", self, self.check())
    }

    /// What each step earns; `start` is the value before the first.
    pub fn rewards(&self, scores: &[f64], start: f64) -> Vec<f64> {
        match self.form {
            Form::Sum => scores.to_vec(),
            Form::Min => min_form(scores, self.temperature),
            Form::Clip => clipped(scores, self.threshold),
            Form::Delta => delta(scores),
            Form::ClipDelta => delta(&clipped(scores, self.threshold)),
            Form::Progress => progress(scores, start, self.best_of),
        }
    }

    /// The credit of every token of a group's rollouts, times `weight`; 0 outside steps.
    pub fn of(&self, group: &[Scored]) -> Vec<Vec<f64>> {
        let earned = self.earned(group);
        (0..group.len()).map(|of| self.spread(&group[of], &self.credits(of, group, &earned))).collect()
    }

    /// What each step of a group's rollouts earns, without a baseline and before `weight`.
    pub fn earned(&self, group: &[Scored]) -> Vec<Vec<f64>> {
        let firsts: Vec<f64> = group
            .iter()
            .filter_map(|rollout| rollout.scores.first())
            .map(|&p| best_of(p, self.best_of))
            .collect();
        let start = firsts.iter().sum::<f64>() / firsts.len().max(1) as f64;
        group.iter().map(|rollout| self.rewards(&rollout.scores, start)).collect()
    }

    /// Whether a token of `rollout` stands between two steps.
    pub fn separates(&self, rollout: &Scored) -> Vec<bool> {
        let end = rollout.tokens.last().map_or(0, |last| last.end);
        let inside = |token: usize| rollout.tokens.iter().any(|step| step.contains(&token));
        (0..rollout.length).map(|token| self.mask_separators && token < end && !inside(token)).collect()
    }

    /// The credit of each step of rollout `of`.
    fn credits(&self, of: usize, group: &[Scored], earned: &[Vec<f64>]) -> Vec<f64> {
        if self.form == Form::Progress {
            return earned[of].clone();
        }
        let others = (0..group.len()).filter(|&other| other != of);
        let total: f64 = others.clone().flat_map(|other| &earned[other]).sum();
        // PURE counts all tokens here, separators and the end of sequence too, and below those of steps alone.
        let tokens: usize = others.clone().map(|other| group[other].length).sum();
        let (by_token, by_rollout) = match self.baseline {
            StepBaseline::Tokens if tokens > 0 => (total / tokens as f64, 0.0),
            StepBaseline::Group => (0.0, total / others.count().max(1) as f64),
            _ => (0.0, 0.0),
        };
        let mut left = 0.0;
        let mut credits: Vec<f64> = earned[of]
            .iter()
            .zip(&group[of].tokens)
            .rev()
            .map(|(earned, tokens)| {
                left += earned - by_token * tokens.len() as f64;
                left - by_rollout
            })
            .collect();
        credits.reverse();
        credits
    }

    fn spread(&self, rollout: &Scored, credits: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; rollout.length];
        for (step, credit) in rollout.tokens.iter().zip(credits) {
            out[step.clone()].fill(self.weight * credit);
        }
        out
    }
}

/// w_t r_t with r = 2p − 1 and w = softmax(−r / T): their sum goes to the least r as T goes to 0.
pub fn min_form(scores: &[f64], temperature: f64) -> Vec<f64> {
    let rewards: Vec<f64> = scores.iter().map(|p| 2.0 * p - 1.0).collect();
    let least = rewards.iter().copied().fold(f64::INFINITY, f64::min);
    let powers: Vec<f64> = rewards.iter().map(|r| ((least - r) / temperature).exp()).collect();
    let sum: f64 = powers.iter().sum();
    rewards.iter().zip(&powers).map(|(r, power)| r * power / sum).collect()
}

/// min(p − threshold, 0).
pub fn clipped(scores: &[f64], threshold: f64) -> Vec<f64> {
    scores.iter().map(|p| (p - threshold).min(0.0)).collect()
}

/// p_k − p_(k+1) for all but the last two of K, p_(K−1) for the last but one, 0 for the last.
pub fn delta(scores: &[f64]) -> Vec<f64> {
    let count = scores.len();
    let of = |k: usize| match count - k {
        1 => 0.0,
        2 => scores[k],
        _ => scores[k] - scores[k + 1],
    };
    (0..count).map(of).collect()
}

/// The advantage of each step under the best of `k`: what its value is more than the one before it.
pub fn progress(values: &[f64], start: f64, k: usize) -> Vec<f64> {
    let mut before = start;
    values
        .iter()
        .map(|&value| {
            let value = best_of(value, k);
            value - std::mem::replace(&mut before, value)
        })
        .collect()
}

/// The value of the best of `k` samples, each of which succeeds with probability `value`.
pub fn best_of(value: f64, k: usize) -> f64 {
    1.0 - (1.0 - value).powi(k as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;

    #[test]
    fn each_form_gives_literal_numbers() {
        let scores = [0.75, 0.25, 0.5];
        // r = (½, −½, 0), T = 1/ln 4: powers 4^−r = ½, 2, 1 of 3½: (1/7)(½), (4/7)(−½), 0.
        near(min_form(&scores, 1.0 / 4f64.ln()), [1.0 / 14.0, -2.0 / 7.0, 0.0], 1e-9);
        // A hard minimum: all of it at the least step.
        near(min_form(&scores, 1e-3), [0.0, -0.5, 0.0], 1e-9);
        near(clipped(&scores, 0.5), [0.0, -0.25, 0.0], 1e-9);
        // Returns from the front: ¾, ¼, 0.
        near(delta(&scores), [0.5, 0.25, 0.0], 1e-9);
        near(delta(&[0.7]), [0.0], 1e-9);
        near(progress(&scores, 0.5, 1), [0.25, -0.5, 0.25], 1e-9);
        // The best of two: 1 − (1/4)² = 15/16, 7/16, 3/4.
        near(progress(&scores, 0.0, 2), [15.0 / 16.0, -0.5, 5.0 / 16.0], 1e-9);
    }

    fn rollout(scores: &[f64]) -> Scored {
        // Steps of two tokens, a separator behind each.
        let tokens = (0..scores.len()).map(|step| 3 * step..3 * step + 2).collect();
        Scored { scores: scores.to_vec(), tokens, length: 3 * scores.len() }
    }

    #[test]
    fn a_token_is_credited_with_what_its_step_and_the_later_ones_earn() {
        let credit = StepCredit {
            form: Form::Sum,
            baseline: StepBaseline::None,
            weight: 2.0,
            ..StepCredit::default()
        };
        near(&credit.of(&[rollout(&[0.75, 0.25])])[0], [2.0, 2.0, 0.0, 0.5, 0.5, 0.0], 1e-9);
        assert_eq!(credit.separates(&rollout(&[0.75, 0.25])), [false, false, true, false, false, false]);
        // A later step that is right pays for padding under the sum; under clip and delta it pays nothing.
        let padded = |form| {
            let credit = StepCredit { form, baseline: StepBaseline::None, ..StepCredit::default() };
            let of = |scores: &[f64]| credit.of(&[rollout(scores)])[0][0];
            of(&[0.95, 0.95, 0.95, 0.95]) - of(&[0.95, 0.95])
        };
        near(
            [padded(Form::Sum), padded(Form::Clip), padded(Form::ClipDelta), padded(Form::Delta)],
            [1.9, 0.0, 0.0, 0.0],
            1e-9,
        );
        near([padded(Form::Min)], [0.0], 1e-9);
    }

    #[test]
    fn baselines_leave_the_own_rollout_out() {
        let group = [rollout(&[0.5, 0.5]), rollout(&[1.0])];
        let of = |baseline| StepCredit { form: Form::Sum, baseline, ..StepCredit::default() }.of(&group);
        // The second earns 1 with three tokens, its separator among them: ⅓ a token, ⅔ a step of the first: returns 1 − 4/3 and
        // ½ − ⅔. The first earns 1 with six tokens: ⅙ a token, ⅓ of the second's step.
        let tokens = of(StepBaseline::Tokens);
        near(&tokens[0], [-1.0 / 3.0, -1.0 / 3.0, 0.0, -1.0 / 6.0, -1.0 / 6.0, 0.0], 1e-9);
        near(&tokens[1], [2.0 / 3.0, 2.0 / 3.0, 0.0], 1e-9);
        let by_group = of(StepBaseline::Group);
        near(&by_group[0], [0.0, 0.0, 0.0, -0.5, -0.5, 0.0], 1e-9);
        near(&by_group[1], [0.0, 0.0, 0.0], 1e-9);
    }

    /// PURE's program (its `process_experiences` and the reverse cumulative sum after it), by hand.
    #[test]
    fn tokens_after_the_worst_step_are_paid_as_pure_pays_them() {
        // r = 2p − 1 = (0, −1, 0) and (0, −1); T → 0 leaves all of it at the −1: both rollouts earn −1, of 9 and of 6 tokens.
        let group = [rollout(&[0.5, 0.0, 0.5]), rollout(&[0.5, 0.0])];
        let of = |baseline| StepCredit { temperature: 1e-3, baseline, ..StepCredit::default() }.of(&group);
        // For the first −1/6 a token, −1/3 a step of two: its steps earn 1/3, −2/3, 1/3; from the back 1/3, −1/3, 0.
        let pure = of(StepBaseline::Tokens);
        near(&pure[0], [0.0, 0.0, 0.0, -1.0 / 3.0, -1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0, 0.0], 1e-9);
        // For the second −1/9 a token: 2/9 and −7/9 of its steps, from the back −7/9, −5/9.
        near(&pure[1], [-5.0 / 9.0, -5.0 / 9.0, 0.0, -7.0 / 9.0, -7.0 / 9.0, 0.0], 1e-9);
        // A longer rollout of the same worth is paid more for its first token: by length alone.
        assert!(pure[0][0] > pure[1][0]);
        // Without a baseline nothing comes after the worst step. By the group's mean all returns move alike.
        near(&of(StepBaseline::None)[0], [-1.0, -1.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0], 1e-9);
        let by_group = of(StepBaseline::Group);
        near(&by_group[0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0], 1e-9);
        assert_eq!(by_group[0][0], by_group[1][0]);
    }

    #[test]
    fn progress_starts_from_the_groups_mean() {
        let credit = StepCredit { form: Form::Progress, ..StepCredit::default() };
        // First values ¾ and ¼: start ½.
        let found = credit.of(&[rollout(&[0.75, 0.5]), rollout(&[0.25, 1.0])]);
        near(&found[0], [0.25, 0.25, 0.0, -0.25, -0.25, 0.0], 1e-9);
        near(&found[1], [-0.25, -0.25, 0.0, 0.75, 0.75, 0.0], 1e-9);
    }
}
