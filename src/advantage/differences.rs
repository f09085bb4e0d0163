//! Rewards of steps from the values of prefixes (VSRM, arXiv 2508.10293).

use crate::Result;
use crate::section::{Misfit, all_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[loop.grpo.step_rewards]`: what the steps of a rationale earn beside the outcome (VSRM, arXiv 2508.10293).
///
/// A step's reward is the difference that it makes to the accuracy of continuations, of forced answers with `rollout.prefix.close`, as in the
/// paper; the first step's, to that of answers forced before it. Where it makes none, the next difference that a later step makes counts, times
/// `decay` for each step between. A reward stands at the last token of its step, the outcome at the end of the completion, and a token is
/// credited with all that comes from it on: what REINFORCE++ does with `advantage = { baseline = "none", scale = "none", whiten = "tokens" }`, which is
/// the paper's, and PPO with `[loop.grpo.critic]`. `advantage.whiten` comes last, over the sums.
///
/// The released program puts the reward at the first token of its step, where the rest of the step is not credited with it, and forces no answer
/// before the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StepRewards {
    /// What the rewards of steps are multiplied by.
    pub weight: f64,
    /// How much of a later difference is left from one step to the step before.
    pub decay: f64,
    /// How many steps ahead a difference is looked for.
    pub ahead: usize,
    /// Which tokens a reward is credited to.
    pub credit: StepReach,
}

/// Which tokens a step's reward is credited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepReach {
    /// Those of the step and all before it: each token has what is earned from it on, as in the paper.
    Returns,
    /// Those of the step alone: ours, for comparison. What a step leads to is not seen in it.
    Step,
}

/// Differences below this are none.
const NONE: f64 = 1e-5;

impl Default for StepRewards {
    fn default() -> Self {
        Self { weight: 1.0, decay: 0.7, ahead: 4, credit: StepReach::Returns }
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

    /// How many steps change nothing, by the same accuracies.
    pub fn unchanged(values: &[f64]) -> usize {
        values.windows(2).filter(|pair| (pair[1] - pair[0]).abs() < NONE).count()
    }

    /// What each of `tokens` tokens is credited with, where step `j` ends before token `ends[j]`: the rewards of its step and of those behind it, or of
    /// its step alone; tokens behind the last step (the answer) get none.
    pub fn on_tokens(&self, values: &[f64], ends: &[usize], tokens: usize) -> Vec<f64> {
        let mut credits = self.of(values);
        if self.credit == StepReach::Returns {
            let mut left = 0.0;
            for credit in credits.iter_mut().rev() {
                left += *credit;
                *credit = left;
            }
        }
        let mut spread = Vec::with_capacity(tokens);
        for (credit, &end) in credits.into_iter().zip(ends) {
            spread.resize(end.min(tokens).max(spread.len()), credit);
        }
        spread.resize(tokens, 0.0);
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advantage::whiten_tokens;
    use crate::near::near;
    use crate::statistics::alone;
    use serde_json::Value;

    #[test]
    fn a_step_gets_the_next_difference_within_reach() {
        let steps = StepRewards { weight: 2.0, decay: 0.7, ahead: 1, ..StepRewards::default() };
        // Differences 0.2, 0, 0, −0.4: the second looks one ahead and finds none, the third finds 0.7 · −0.4.
        let found = steps.of(&[0.4, 0.6, 0.6, 0.6, 0.2]);
        let expected = [0.4, 0.0, -0.56, -0.8];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert!(steps.of(&[0.5]).is_empty());
    }

    #[test]
    fn a_token_gets_what_is_earned_from_it_on_and_the_answer_nothing() {
        let steps = StepRewards::default();
        // Steps of tokens 0–1 and 2–4, then two tokens of answer; rewards 0.5 − 0 and 0.25 − 0.5, which leaves 0.25 from the first on.
        let spread = |steps: &StepRewards| steps.on_tokens(&[0.0, 0.5, 0.25], &[2, 5], 7);
        assert_eq!(spread(&steps), [0.25, 0.25, -0.25, -0.25, -0.25, 0.0, 0.0]);
        assert_eq!(steps.on_tokens(&[0.3], &[], 2), [0.0, 0.0]);
        let own = StepRewards { credit: StepReach::Step, ..steps };
        assert_eq!(spread(&own), [0.5, 0.5, -0.25, -0.25, -0.25, 0.0, 0.0]);
    }

    #[test]
    fn without_looking_ahead_all_that_is_earned_is_the_last_value_less_the_first() {
        let next = StepRewards { ahead: 0, ..StepRewards::default() };
        let values = [0.2, 0.8, 0.8, 0.4, 1.0];
        near([next.on_tokens(&values, &[1, 2, 3, 4], 5)[0]], [0.8], 1e-9);
        // Looking ahead, the step that changes nothing shares the loss behind it: 0.7 · −0.4.
        near([StepRewards::default().on_tokens(&values, &[1, 2, 3, 4], 5)[0]], [0.8 - 0.28], 1e-9);
        assert_eq!((StepRewards::unchanged(&values), StepRewards::unchanged(&[0.5])), (1, 0));
    }

    /// The released program's rewards of steps and verl's REINFORCE++ over padded rows, the reward at the end of its step
    /// (tests/fixtures/vsrm/make.py).
    #[test]
    fn rewards_and_advantages_agree_with_the_released_program_and_verl() {
        let fixture: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/vsrm/expected.json")).unwrap();
        let numbers = |value: &Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
        let steps = StepRewards::default();
        let (mut advantages, mut expected) = (Vec::new(), Vec::new());
        let rows = fixture["rows"].as_array().unwrap();
        assert!(rows.len() > 5);
        for row in rows {
            let values = numbers(&row["values"]);
            near(steps.of(&values), numbers(&row["rewards"]), 1e-9);
            let ends: Vec<usize> = serde_json::from_value(row["ends"].clone()).unwrap();
            let tokens = row["tokens"].as_u64().unwrap() as usize;
            let outcome = row["outcome"].as_f64().unwrap();
            let credits = steps.on_tokens(&values, &ends, tokens).into_iter().map(|credit| outcome + credit);
            advantages.push(credits.collect::<Vec<f64>>());
            expected.extend(numbers(&row["advantages"]));
        }
        whiten_tokens(&mut advantages, &mut alone);
        near(advantages.concat(), expected, 1e-9);
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
