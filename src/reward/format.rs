//! Whether a completion is written as asked: by a regular expression, tags, or as steps that end in an answer.

use super::{Reward, of_rollouts};
use crate::rationale::{Format, Pattern};
use crate::rollout::Rollout;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.format]`: pays for a completion of the form that is asked for. `right` where all of it holds, else `wrong`. With no keys: the completion must parse as a
/// rationale by `[data.format]` (with its tags once, where it has any) with at least one step.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The whole completion must match it, white space at its ends aside; `.` matches line breaks too.
    pub regex: Option<String>,
    /// Each must occur once, in this order, such as `["<think>", "</think>", "<answer>", "</answer>"]`.
    pub tags: Vec<String>,
    /// Steps that the rationale must at least have, before an answer. Default: 1, or 0 with `regex` or `tags`, which
    /// then asks for no rationale at all.
    pub min_steps: Option<usize>,
    /// The score where all holds.
    pub right: f64,
    /// The score where something does not.
    pub wrong: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { regex: None, tags: vec![], min_steps: None, right: 1.0, wrong: 0.0 }
    }
}

impl Config {
    /// The reward, its section checked.
    pub fn build(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        let whole = self.regex.as_ref().map(|regex| Pattern::new(&format!(r"(?s)\A\s*(?:{regex})\s*\z")));
        let whole = whole.transpose().map_err(|error| anyhow::anyhow!("regex: {error}"))?;
        anyhow::ensure!(
            self.tags.iter().all(|tag| !tag.is_empty()),
            "tags: an empty tag is in every text; take it out"
        );
        anyhow::ensure!(
            self.right.is_finite() && self.wrong.is_finite(),
            "right and wrong must be finite numbers"
        );
        let bare = self.regex.is_none() && self.tags.is_empty();
        let around = format.tags.clone().filter(|_| bare);
        let min_steps = self.min_steps.or(bare.then_some(1));
        Ok(of_rollouts(move |_, rollout| {
            let holds = whole.as_ref().is_none_or(|whole| whole.regex().is_match(&rollout.text))
                && in_order(&rollout.text, &self.tags)
                && around.as_ref().is_none_or(|[open, close]| once(&rollout.text, open, close))
                && min_steps.is_none_or(|least| has_steps(rollout, least));
            Ok(if holds { self.right } else { self.wrong })
        }))
    }
}

/// Whether the reasoning is closed once and opened at most once: the opening tag may stand in the prompt.
fn once(text: &str, open: &str, close: &str) -> bool {
    text.matches(close).count() == 1 && text.matches(open).count() <= 1
}

/// Whether each tag occurs once, after the one before it.
fn in_order(text: &str, tags: &[String]) -> bool {
    let mut rest = text;
    tags.iter().all(|tag| {
        let once = text.matches(tag.as_str()).count() == 1;
        let after = rest.split_once(tag.as_str()).map(|(_, after)| after);
        rest = after.unwrap_or("");
        once && after.is_some()
    })
}

fn has_steps(rollout: &Rollout, least: usize) -> bool {
    rollout.rationale.as_ref().is_some_and(|rationale| rationale.steps.len() >= least)
}

#[cfg(test)]
mod tests {
    use super::super::Models;
    use super::super::tests::{group, scores};
    use super::*;

    fn score(recipe: &str, texts: &[&str]) -> Vec<f64> {
        scores(&format!("[format]\n{recipe}"), group(None, &[], texts)).unwrap()
    }

    #[test]
    fn without_keys_it_asks_for_a_step_and_an_answer() {
        assert_eq!(score("", &["a\n#### 1", "#### 1", "a\nb", ""]), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(
            score("min_steps = 2\nright = 0.5\nwrong = -1", &["a\nb\n#### 1", "a\n#### 1"]),
            [0.5, -1.0]
        );
        assert_eq!(score("min_steps = 0", &["#### 1", "1"]), [1.0, 0.0]);
    }

    #[test]
    fn a_regex_must_match_the_whole_text() {
        let texts = ["<think>a\nb</think>7\n", "x <think>a</think>7", "<think>a</think>x"];
        assert_eq!(score("regex = '<think>.*</think>\\d'", &texts), [1.0, 0.0, 0.0]);
        // Alternatives are one group: "a|b" is not "starts with a, or ends with b".
        assert_eq!(score("regex = 'a|b'", &["a", "b", "ax", "xb"]), [1.0, 1.0, 0.0, 0.0]);
        let error = scores("[format]\nregex = '('", group(None, &[], &[])).unwrap_err();
        assert!(error.contains("[reward.format]: regex: ") && error.contains("unclosed group"), "{error}");
    }

    #[test]
    fn tags_stand_once_and_in_order() {
        let recipe = "tags = [\"<a>\", \"</a>\"]";
        assert_eq!(score(recipe, &["x<a>y</a>z", "</a><a>", "<a></a></a>", "<a>"]), [1.0, 0.0, 0.0, 0.0]);
        assert!(scores("[format]\ntags = [\"\"]", group(None, &[], &[])).unwrap_err().contains("tags"));
    }

    #[test]
    fn the_rationales_own_tags_are_asked_for() {
        let format = Format { tags: Some(["<t>".into(), "</t>".into()]), ..Format::default() };
        let mut group =
            group(None, &[], &["<t>a</t>\n#### 1", "a</t>#### 1", "a\n#### 1", "<t>a</t><t>b</t>#### 1"]);
        for rollout in &mut group.rollouts {
            rollout.rationale = format.parse(&rollout.text);
        }
        let scores = Config::default().build(&format).unwrap().score(&group, &Models::none()).unwrap();
        assert_eq!(scores.iter().map(|score| score.value).collect::<Vec<_>>(), [1.0, 1.0, 0.0, 0.0]);
    }
}
