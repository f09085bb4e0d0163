//! Reasoning that comes after its conclusion: the answer stated before anything leads to it.

use super::{Reward, of_rollouts};
use crate::data::Prompt;
use crate::rationale::number;
use crate::rollout::Rollout;
use crate::text::rouge::words;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.leak]`: takes away where the answer is told before it is reasoned. −1 where the completion's answer stands in its first
/// steps already, else 0. An answer that the prompt mentions, such as a choice, says nothing and is let pass; so is a rationale of no
/// more than `steps` steps.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Leak {
    /// How many of the first steps are looked at.
    pub steps: usize,
}

impl Default for Leak {
    fn default() -> Self {
        Self { steps: 1 }
    }
}

impl Leak {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(self.steps > 0, "steps = 0: at least the first step is looked at");
        Ok(of_rollouts(move |example, rollout| {
            Ok(if self.leaks(&example.prompt, rollout) { -1.0 } else { 0.0 })
        }))
    }

    fn leaks(&self, prompt: &Prompt, rollout: &Rollout) -> bool {
        let (Some(rationale), Some(answer)) = (&rollout.rationale, rollout.answer()) else { return false };
        if rationale.steps.len() <= self.steps {
            return false;
        }
        let early = &rollout.text[rationale.steps[0].start..rationale.steps[self.steps - 1].end];
        says(early, answer) && !says(&prompt.text(), answer)
    }
}

/// Whether the text says the answer: as a number of the same value, or word for word.
fn says(text: &str, answer: &str) -> bool {
    if let Some(number) = number::parse(answer) {
        return number::spans(text).any(|span| number::parse(&text[span]) == Some(number));
    }
    let (text, answer) = (words(text), words(answer));
    !answer.is_empty() && text.windows(answer.len()).any(|window| window == answer)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};

    #[test]
    fn an_answer_before_the_reasoning_is_a_leak() {
        let texts = [
            "It is 72.0, as one sees:\n48 + 24 = 72\n#### 72",
            "48 + 24\nis 72\n#### 72",
            // One step that ends in the answer is reasoning, and 172 is not 72.
            "48 + 24 = 72\n#### 72",
            "172 less 100\nis 72\n#### 72",
            "Surely New York.\nIt has the harbour.\n#### new york",
            "no answer",
        ];
        let expected = vec![-1.0, 0.0, 0.0, 0.0, -1.0, 0.0];
        assert_eq!(scores("[leak]", group(None, &[], &texts)), Ok(expected));
        let two = scores("[leak]\nsteps = 2", group(None, &[], &["48 + 24\nis 72\nso\n#### 72"]));
        assert_eq!(two, Ok(vec![-1.0]));
    }

    #[test]
    fn what_the_prompt_says_is_no_leak() {
        let mut asked = group(None, &[], &["Is 72 even?\nYes, 72 / 2 = 36.\n#### 72"]);
        std::sync::Arc::get_mut(&mut asked.example).unwrap().prompt =
            crate::data::Prompt::Text("6 or 72?".into());
        assert_eq!(scores("[leak]", asked), Ok(vec![0.0]));
    }
}
