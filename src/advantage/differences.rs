//! Rewards of steps from the values of prefixes (VSRM, arXiv 2508.10293).

use crate::Result;
use crate::section::{Misfit, all_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[loop.grpo.step_rewards]`: what each step adds to the advantage of all of its tokens.
///
/// A step's reward is the difference that it makes to the accuracy of continuations; where it makes none, the next
/// difference that a later step makes counts, times `decay` for each step between. The released code puts a step's reward on
/// the token where it begins, and overwrites it by the outcome at the end; here it is on every token of the step, and the outcome's
/// advantage is added to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StepRewards {
    /// What the rewards of steps are multiplied by.
    pub weight: f64,
    /// How much of a later difference is left from one step to the step before.
    pub decay: f64,
    /// How many steps ahead a difference is looked for.
    pub ahead: usize,
}

/// Differences below this are none.
const NONE: f64 = 1e-5;

impl Default for StepRewards {
    fn default() -> Self {
        Self { weight: 1.0, decay: 0.7, ahead: 4 }
    }
}

impl StepRewards {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let rules = [
            (self.weight.is_finite(), "weight", "it must be a finite number"),
            ((0.0..=1.0).contains(&self.decay), "decay", "it must lie between 0 and 1"),
        ];
        let broken = rules.iter().filter(|(holds, ..)| !holds);
        broken.map(|(_, key, message)| Misfit::new(*key, *message, "")).collect()
    }

    /// The same as an error, for who uses the section without a recipe around it.
    pub fn validate(&self) -> Result<()> {
        all_fit("loop.grpo.step_rewards", self, self.check())
    }

    /// The reward of each step, from the accuracies before the first, and after each: one more than there are steps.
    ///
    /// ```
    /// use rationale::advantage::StepRewards;
    /// let steps = StepRewards { decay: 0.5, ..StepRewards::default() };
    /// // The first step changes nothing; two steps on is a loss of 0.5, of which 0.5² · −0.5 reaches it.
    /// assert_eq!(steps.of(&[1.0, 1.0, 1.0, 0.5]), [-0.125, -0.25, -0.5]);
    /// ```
    pub fn of(&self, values: &[f64]) -> Vec<f64> {
        let differences: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let reward = |at: usize| {
            let coming = differences[at..].iter().take(self.ahead + 1).enumerate();
            let next = coming.map(|(distance, d)| (distance, *d)).find(|(_, d)| d.abs() >= NONE);
            next.map_or(0.0, |(distance, difference)| self.decay.powi(distance as i32) * difference)
        };
        (0..differences.len()).map(|at| self.weight * reward(at)).collect()
    }

    /// What each of `tokens` tokens gets, where step `j` ends before token `ends[j]`: the reward of its step; tokens behind the
    /// last step (the answer) get none.
    pub fn on_tokens(&self, values: &[f64], ends: &[usize], tokens: usize) -> Vec<f64> {
        let mut spread = Vec::with_capacity(tokens);
        for (reward, &end) in self.of(values).into_iter().zip(ends) {
            spread.resize(end.min(tokens).max(spread.len()), reward);
        }
        spread.resize(tokens, 0.0);
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_gets_the_next_difference_within_reach() {
        let steps = StepRewards { weight: 2.0, decay: 0.7, ahead: 1 };
        // Differences 0.2, 0, 0, −0.4: the second looks one ahead and finds none, the third finds 0.7 · −0.4.
        let found = steps.of(&[0.4, 0.6, 0.6, 0.6, 0.2]);
        let expected = [0.4, 0.0, -0.56, -0.8];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert!(steps.of(&[0.5]).is_empty());
    }

    #[test]
    fn all_tokens_of_a_step_get_its_reward_and_the_answer_none() {
        let steps = StepRewards::default();
        // Steps of tokens 0–1 and 2–4, then two tokens of answer; rewards 0.5 − 0 and 1 − 0.5.
        let spread = steps.on_tokens(&[0.0, 0.5, 0.25], &[2, 5], 7);
        assert_eq!(spread, [0.5, 0.5, -0.25, -0.25, -0.25, 0.0, 0.0]);
        assert_eq!(steps.on_tokens(&[0.3], &[], 2), [0.0, 0.0]);
    }

    #[test]
    fn the_section_is_checked() {
        let wrong = StepRewards { decay: 1.5, weight: f64::NAN, ..StepRewards::default() };
        assert_eq!(
            wrong.check().iter().map(|misfit| &misfit.key[..]).collect::<Vec<_>>(),
            ["weight", "decay"]
        );
        assert!(
            wrong.validate().unwrap_err().to_string().contains("loop.grpo.step_rewards.decay = 1.5: it must")
        );
        assert!(StepRewards::default().validate().is_ok());
    }
}
