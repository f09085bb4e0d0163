//! How much what a completion says is like another text, by the states of a language model.

use super::{Holds, Models, Part, Reward, Wants, column};
use crate::policy::Policy;
use crate::policy::embedding::centred;
use crate::rollout::{Group, Rollout, Score, StepScore};
use crate::statistics::trajectory::cosine;
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;

/// `[reward.similarity]`: the cosine of two texts as vectors, each the mean of the last states of its tokens; 0 where either is empty.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Similarity {
    /// The part of the completion: `text`, `rationale` or `answer`.
    pub of: Part,
    /// What it is held against: `"prompt"` (its last turn), `"gold"` (the row's answer), `"answer"` (the completion's own), or a column.
    pub to: String,
    /// Also score each step by its own cosine, for `[loop.grpo.steps]` and searches.
    pub each_step: bool,
    /// Take out of all vectors of a question's completions what they have most in common (their first principal direction): there have
    /// to be several completions of each question.
    pub centre: bool,
    /// A frozen model, as a folder, a hub id or `"@stage"`, whose states are taken in the policy's place.
    pub model: Option<String>,
}

impl Default for Similarity {
    fn default() -> Self {
        Self { of: Part::Rationale, to: "rationale".into(), each_step: false, centre: false, model: None }
    }
}

impl Similarity {
    /// The reward, its section checked. A frozen model is loaded when there is first something to score.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(!self.to.is_empty(), "to = \"\": name \"prompt\", \"gold\", \"answer\" or a column");
        Ok(Comparer { section: self, model: None })
    }
}

struct Comparer {
    section: Similarity,
    model: Option<Policy>,
}

impl Reward for Comparer {
    fn wants(&self) -> Wants {
        let wants = match self.section.to.as_str() {
            "prompt" | "answer" => Wants::default(),
            "gold" => Wants::default().gold("add an `answer` column"),
            name => Wants::default().column("to", name, Holds::Text),
        };
        self.section.model.iter().fold(wants, |wants, name| wants.model("model", name))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        models.load(&mut self.model, self.section.model.as_deref())?;
        let policy = models.policy()?;
        let (section, example) = (&self.section, &group.example);
        let other = match section.to.as_str() {
            "prompt" => example.prompt.question().to_string(),
            "gold" => example.gold().context("it has no gold answer; add an `answer` column")?.to_string(),
            "answer" => String::new(),
            name => column::text(example, name)?,
        };
        // What all are compared with stands there once, or it alone would say what they have in common. Then of each rollout: what is compared, its own answer where that is what
        // it is compared with, its steps.
        let own_answer = section.to == "answer";
        let mut texts: Vec<&str> = if own_answer { vec![] } else { vec![other.as_str()] };
        for rollout in &group.rollouts {
            texts.push(section.of.of(rollout));
            if own_answer {
                texts.push(rollout.answer().unwrap_or(""));
            }
            texts.extend(self.steps(rollout).map(|step| &rollout.text[step]));
        }
        let vectors = models.embed(self.model.as_ref(), &texts)?;
        let vectors = if section.centre { centred(vectors) } else { vectors };
        let mut vectors = vectors.into_iter();
        let mut next = || vectors.next().unwrap_or_default();
        let shared = if own_answer { None } else { Some(next()) };
        let score = |rollout: &Rollout| {
            let own = next();
            let other = shared.clone().unwrap_or_else(&mut next);
            let step = |span: Range<usize>| StepScore {
                value: cosine(&next(), &other),
                tokens: policy.tokenizer.tokens_of(&rollout.tokens, span),
            };
            let steps: Vec<StepScore> = self.steps(rollout).map(step).collect();
            Score { value: cosine(&own, &other), steps: section.each_step.then_some(steps) }
        };
        Ok(group.rollouts.iter().map(score).collect())
    }
}

impl Comparer {
    fn steps(&self, rollout: &Rollout) -> impl Iterator<Item = Range<usize>> + use<> {
        let rationale = rollout.rationale.as_ref().filter(|_| self.section.each_step);
        rationale.map_or_else(Vec::new, |rationale| rationale.steps.clone()).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards};
    use super::*;
    use crate::policy::tests::tiny;
    use crate::reward::Registry;

    #[test]
    fn a_text_is_like_itself_and_steps_are_like_what_they_say() {
        let policy = tiny(1, 1, 3);
        let mut group = group(Some("two"), &[], &["one\ntwo\n#### two", "two\n#### three", "none"]);
        for rollout in &mut group.rollouts {
            rollout.tokens = policy.tokenizer.encode(&rollout.text).unwrap();
        }
        let models = Models::of(&policy, 64);
        let scored = |section: &str| {
            let mut groups = [group.clone()];
            rewards(&Registry::default(), section).unwrap().score(&mut groups, &models).unwrap();
            groups[0].rollouts.iter().map(|rollout| rollout.scores["similarity"].clone()).collect::<Vec<_>>()
        };
        let found = scored("[similarity]\nto = \"gold\"\neach_step = true");
        assert!((found[1].value - 1.0).abs() < 1e-6 && found[0].value < 0.999 && found[2].value == 0.0);
        let steps = found[0].steps.as_ref().unwrap();
        assert_eq!((steps.len(), steps[1].tokens.clone()), (2, 4..7));
        assert!((steps[1].value - 1.0).abs() < 1e-6 && steps[0].value < 0.999);
        // Of the two completions, "two" against "two" and against "three".
        let own = scored("[similarity]\nto = \"answer\"\nof = \"answer\"");
        assert!((own[0].value - 1.0).abs() < 1e-6 && own[0].steps.is_none());
        let apart = scored("[similarity]\nto = \"gold\"\ncentre = true");
        assert!(apart[1].value > 0.999);
        // What all are held against counts once in what all have in common.
        let vectors = centred(policy.embed(&["two", "one\ntwo", "two", ""], 64).unwrap());
        for (score, own) in apart.iter().zip(&vectors[1..]) {
            assert!((score.value - cosine(own, &vectors[0])).abs() < 1e-6);
        }
    }
}
