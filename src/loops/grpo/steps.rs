//! Credit for single steps, beside the advantage of the whole: what a reward says of each, or what it changes.

use super::Grpo;
use super::asked::pass_rate;
use crate::advantage::steps::Scored;
use crate::advantage::{StepRewards, Whiten, whiten_tokens};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::Worker;
use crate::ranks::agreed;
use crate::rollout::{CutValue, Group, Rollout};
use crate::statistics::Sum;

/// One number a token of each rollout of a group.
type OfTokens<T> = Vec<Vec<T>>;

impl Grpo {
    /// The advantages of all sampled tokens of this rank's groups, where steps are credited. All ranks call it.
    pub(super) fn by_tokens(
        &self,
        worker: &Worker,
        groups: &[Group],
        advantages: &[Vec<f64>],
        metrics: &mut Metrics,
    ) -> Result<Option<Vec<OfTokens<f32>>>> {
        if self.step_rewards.is_none() && self.steps.is_none() {
            return Ok(None);
        }
        let of_group = |(group, advantages): (&Group, &Vec<f64>)| self.by_token(group, advantages, metrics);
        let each = groups.iter().zip(advantages).map(of_group).collect();
        let mut each: Vec<OfTokens<f64>> = agreed(&*worker.ranks, each)?;
        worker.over_ranks(|sum| self.whiten_by_token(&mut each, sum))?;
        let narrow = |of: Vec<f64>| of.into_iter().map(|advantage| advantage as f32).collect();
        Ok(Some(each.into_iter().map(|group| group.into_iter().map(narrow).collect()).collect()))
    }

    /// Whitens what tokens have with the rewards of their steps, where the recipe asks for it: the advantages of whole completions
    /// were not, before ([`Grpo::of_completions`]).
    fn whiten_by_token(&self, groups: &mut [OfTokens<f64>], sum: &mut Sum) {
        if self.step_rewards.is_none() || self.advantage.whiten == Whiten::None {
            return;
        }
        let mut all = groups.concat();
        whiten_tokens(&mut all, sum);
        groups.iter_mut().flatten().zip(all).for_each(|(plain, white)| *plain = white);
    }

    /// The advantage of every sampled token of the group's rollouts, where steps are credited.
    fn by_token(&self, group: &Group, advantages: &[f64], metrics: &mut Metrics) -> Result<OfTokens<f64>> {
        let Some(credit) = &self.steps else {
            let rollouts = group.rollouts.iter().zip(advantages);
            return Ok(rollouts
                .map(|(rollout, &a)| self.with_differences(group, rollout, a, metrics))
                .collect());
        };
        let scored = scored(group, &credit.reward)?;
        describe(&scored, metrics);
        let of_rollout = |((credits, rollout), advantage): ((Vec<f64>, &Scored), &f64)| {
            let separates = credit.separates(rollout);
            let of_token =
                |(credit, separates): (f64, bool)| if separates { 0.0 } else { advantage + credit };
            credits.into_iter().zip(separates).map(of_token).collect()
        };
        Ok(credit.of(&scored).into_iter().zip(&scored).zip(advantages).map(of_rollout).collect())
    }

    /// What the steps of each rollout earn where there is a critic, with the token that it is paid at: the step's last.
    pub(super) fn paid(&self, group: &Group, metrics: &mut Metrics) -> Result<Vec<Vec<(usize, f64)>>> {
        if let Some(steps) = &self.step_rewards {
            let of_rollout = |rollout: &Rollout| {
                let values = values(group, rollout);
                let rewards = steps.of(&values);
                told(&values, &rewards, metrics);
                let ends = behind_steps(rollout).map(|cut| cut.tokens.saturating_sub(1));
                ends.zip(rewards).collect()
            };
            return Ok(group.rollouts.iter().map(of_rollout).collect());
        }
        let Some(credit) = &self.steps else { return Ok(vec![vec![]; group.rollouts.len()]) };
        let scored = scored(group, &credit.reward)?;
        describe(&scored, metrics);
        let paid = |(earned, rollout): (Vec<f64>, &Scored)| {
            let ends = rollout.tokens.iter().map(|tokens| tokens.end.saturating_sub(1));
            ends.zip(earned.into_iter().map(|earned| credit.weight * earned)).collect()
        };
        Ok(credit.earned(&scored).into_iter().zip(&scored).map(paid).collect())
    }

    /// Whether the steps of a group teach, whatever its rewards do.
    pub(super) fn steps_teach(&self, group: &Group) -> bool {
        let differences = self.step_rewards.as_ref().is_some_and(|steps| {
            let rewards = |rollout| steps.of(&values(group, rollout));
            group.rollouts.iter().flat_map(rewards).any(|reward| reward != 0.0)
        });
        differences
            || self.steps.as_ref().is_some_and(|credit| {
                let credits = scored(group, &credit.reward).map(|scored| credit.of(&scored));
                credits.is_ok_and(|all| all.iter().flatten().any(|credit| *credit != 0.0))
            })
    }

    /// The advantage of a rollout's tokens with the rewards of their steps. The value before the first step is what the cut there is worth,
    /// or else the share of the group that is right.
    fn with_differences(
        &self,
        group: &Group,
        rollout: &Rollout,
        advantage: f64,
        metrics: &mut Metrics,
    ) -> Vec<f64> {
        let length = rollout.sampled();
        let ends: Vec<usize> =
            behind_steps(rollout).map(|cut| rollout.sampled_in(0..cut.tokens).end).collect();
        let Some(steps) = self.step_rewards.as_ref().filter(|_| !ends.is_empty()) else {
            return vec![advantage; length];
        };
        let values = values(group, rollout);
        told(&values, &steps.of(&values), metrics);
        steps.on_tokens(&values, &ends, length).into_iter().map(|step| advantage + step).collect()
    }
}

/// Adds what is worth knowing of scored steps.
fn describe(scored: &[Scored], metrics: &mut Metrics) {
    for rollout in scored {
        let count = rollout.scores.len() as f64;
        metrics.add("steps/count", count, 1.0);
        metrics.add("steps/sum", rollout.scores.iter().sum(), 1.0);
        if count > 0.0 {
            let tokens: usize = rollout.tokens.iter().map(std::ops::Range::len).sum();
            metrics.add("steps/tokens", tokens as f64 / count, count);
            metrics.add("steps/score", rollout.scores.iter().sum::<f64>() / count, count);
            metrics.add("steps/min", rollout.scores.iter().copied().fold(f64::INFINITY, f64::min), 1.0);
        }
    }
}

/// Adds the mean of a rollout's step rewards, where it has steps, and how many of these change nothing.
fn told(values: &[f64], rewards: &[f64], metrics: &mut Metrics) {
    if !rewards.is_empty() {
        metrics.add("steps/unchanged", StepRewards::unchanged(values) as f64, 1.0);
        let count = rewards.len() as f64;
        metrics.add("steps/reward", rewards.iter().sum::<f64>() / count, count);
    }
}

/// The accuracy of continuations before a rollout's first step, and after each.
fn values(group: &Group, rollout: &Rollout) -> Vec<f64> {
    let first = rollout.cuts.iter().find(|cut| cut.step == 0).map(CutValue::soft);
    let before = first.or_else(|| pass_rate(group)).unwrap_or(0.0);
    std::iter::once(before).chain(behind_steps(rollout).map(CutValue::soft)).collect()
}

/// The cuts behind a step; there may be one before the first.
fn behind_steps(rollout: &Rollout) -> impl Iterator<Item = &CutValue> {
    rollout.cuts.iter().filter(|cut| cut.step > 0)
}

/// What `[reward.NAME]` says of the steps of each rollout.
fn scored(group: &Group, reward: &str) -> Result<Vec<Scored>> {
    group.rollouts.iter().map(|rollout| steps_of(group, rollout, reward)).collect()
}

fn steps_of(group: &Group, rollout: &Rollout, reward: &str) -> Result<Scored> {
    let steps = rollout.scores.get(reward).and_then(|score| score.steps.as_ref()).ok_or_else(|| {
        Error::Reward(format!(
            "{}: loop.grpo.steps credits steps, and [reward.{reward}] says nothing of them; it has to be a \
             reward.process whose model was trained with loop.prm.learns = \"steps\"",
            group.example
        ))
    })?;
    Ok(Scored {
        scores: steps.iter().map(|step| step.value).collect(),
        tokens: steps.iter().map(|step| rollout.sampled_in(step.tokens.clone())).collect(),
        length: rollout.sampled(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advantage::StepCredit;
    use crate::advantage::steps::{Form, StepBaseline};
    use crate::near::near;
    use crate::rationale::Given;
    use crate::reward::tests::group;
    use crate::rollout::{Score, StepScore};
    use crate::statistics::alone;

    /// Two steps of two tokens, a separator behind each, then the end of sequence.
    fn scored_group(scores: [f64; 2]) -> Group {
        let mut scored = group(None, &[], &["ab\ncd\n."]);
        let step = |index: usize| StepScore { value: scores[index], tokens: 3 * index..3 * index + 2 };
        let score = Score { value: 0.0, steps: Some(vec![step(0), step(1)]) };
        scored.rollouts[0].scores.insert("process".into(), score);
        scored
    }

    fn by_token(credit: StepCredit) -> Vec<f64> {
        let grpo = Grpo { steps: Some(credit), ..Grpo::default() };
        let found = grpo.by_token(&scored_group([0.75, 0.25]), &[2.0], &mut Metrics::default());
        found.unwrap().remove(0)
    }

    #[test]
    fn outcome_and_weighted_steps_add_up_and_separators_get_neither() {
        let credit = |form, mask_separators| StepCredit {
            form,
            mask_separators,
            weight: 0.5,
            baseline: StepBaseline::None,
            ..StepCredit::default()
        };
        // Outcome 2 and half of the returns 1 and ¼; nothing at the separator between two steps. What follows the last step has the
        // outcome alone: whether to end there is the policy's to learn.
        assert_eq!(by_token(credit(Form::Sum, true)), [2.5, 2.5, 0.0, 2.125, 2.125, 2.0, 2.0]);
        assert_eq!(by_token(credit(Form::Sum, false)), [2.5, 2.5, 2.0, 2.125, 2.125, 2.0, 2.0]);
        // Progress from ¾, the group's first value: 0 and −½.
        assert_eq!(by_token(credit(Form::Progress, true)), [2.0, 2.0, 0.0, 1.75, 1.75, 2.0, 2.0]);
    }

    /// The second token was given by a tool: it has no credit, and the others have theirs.
    #[test]
    fn what_was_given_has_no_credit() {
        let credit = StepCredit {
            form: Form::Sum,
            weight: 0.5,
            baseline: StepBaseline::None,
            ..StepCredit::default()
        };
        let grpo = Grpo { steps: Some(credit), ..Grpo::default() };
        let mut group = scored_group([0.75, 0.25]);
        group.rollouts[0].given = vec![Given { tokens: 1..2, bytes: 1..2 }];
        let found = grpo.by_token(&group, &[2.0], &mut Metrics::default()).unwrap();
        assert_eq!(found, [[2.5, 0.0, 2.125, 2.125, 2.0, 2.0]]);
        assert_eq!(grpo.outcome(&group, &[], None).lengths, [6]);
    }

    #[test]
    fn a_reward_that_says_nothing_of_steps_is_named() {
        let grpo = Grpo {
            steps: Some(StepCredit { reward: "answer".into(), ..StepCredit::default() }),
            ..Grpo::default()
        };
        let error = grpo.by_token(&scored_group([0.5, 0.5]), &[0.0], &mut Metrics::default()).unwrap_err();
        assert!(error.to_string().contains("example row:7") && error.to_string().contains("[reward.answer]"));
    }

    #[test]
    fn equal_rewards_teach_where_steps_differ() {
        let grpo = Grpo { step_rewards: Some(StepRewards::default()), ..Grpo::default() };
        let mut right = group(Some("7"), &[], &["3+4=7\n#### 7", "#### 7"]);
        right.rollouts.iter_mut().for_each(|rollout| rollout.reward = 1.0);
        let cut = |good| CutValue {
            step: 1,
            tokens: 6,
            bytes: 6,
            continuations: 4,
            good,
            value: 1.0,
            shortest: None,
            best: None,
        };
        // All of the group are right, so a step after which all continuations still are changes nothing.
        right.rollouts[0].cuts = vec![cut(4)];
        assert!(!grpo.trains_on(&right, &[]));
        right.rollouts[0].cuts = vec![cut(3)];
        assert!(grpo.trains_on(&right, &[]));
        assert!(!Grpo::default().trains_on(&right, &[]));
        // An answer forced before the first step is what that one is held against, and no step of its own.
        right.rollouts[0].cuts = vec![CutValue { step: 0, tokens: 0, bytes: 0, ..cut(1) }, cut(3)];
        assert_eq!(values(&right, &right.rollouts[0]), [0.25, 0.75]);
        // A completion without an answer may have that cut alone: there is no step to be rewarded, nor a mean of none.
        right.rollouts[0].cuts.truncate(1);
        let mut metrics = Metrics::default();
        let length = right.rollouts[0].tokens.len();
        assert_eq!(grpo.with_differences(&right, &right.rollouts[0], 0.5, &mut metrics), vec![0.5; length]);
        assert_eq!(metrics.get("steps/reward"), None);
    }

    /// Two steps of three tokens, between forced answers of which 1, 3 and 2 of 4 are right, then the end; the outcome is 1.
    #[test]
    fn returns_of_steps_and_the_outcome_are_whitened_together() {
        let cut = |step: usize, good| CutValue {
            step,
            tokens: 3 * step,
            bytes: 3 * step,
            continuations: 4,
            good,
            value: 0.0,
            shortest: None,
            best: None,
        };
        let mut group = scored_group([0.0; 2]);
        group.rollouts[0].cuts = vec![cut(0, 1), cut(1, 3), cut(2, 2)];
        let of = |keys: &str| {
            let grpo: Grpo = toml::from_str(keys).unwrap();
            let outcome = grpo.of_completions().of(&[vec![1.0]]).remove(0);
            let mut metrics = Metrics::default();
            let mut found = [grpo.by_token(&group, &outcome, &mut metrics).unwrap()];
            grpo.whiten_by_token(&mut found, &mut alone);
            assert_eq!(metrics.get("steps/unchanged"), Some(0.0));
            found.concat().remove(0)
        };
        // Rewards ½ and −¼: ¼ from the first step on, and the outcome.
        let plain = "step_rewards = {}\nadvantage = { baseline = \"none\", scale = \"none\"";
        assert_eq!(of(&format!("{plain} }}")), [1.25, 1.25, 1.25, 0.75, 0.75, 0.75, 1.0]);
        // Mean 1, Σ(…)² = 6/16 over 6: deviation ¼.
        let white = of(&format!("{plain}, whiten = \"tokens\" }}"));
        near(white, [1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 0.0], 1e-6);
    }
}
