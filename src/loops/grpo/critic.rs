//! A critic: what the policy expects of a completion before each of its tokens, in place of what its group came to (PPO, Schulman et al. 2017,
//! arXiv 1707.06347; its form for language models, Ziegler et al. 2019, 1909.08593).

use super::{Grpo, KlPlace};
use crate::advantage::{Outcome, explained_variance, gae, whiten_tokens};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::item::stacked;
use crate::loops::{Item, Output, Worker};
use crate::loss::policy::PolicyLoss;
use crate::loss::value::{ValueTerms, value_loss};
use crate::model::Sequence;
use crate::policy::Policy;
use crate::ranks::agreed;
use crate::rollout::{Group, Rollout};
use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// What was expected before a learned token when it was sampled.
const VALUES: &str = "values";
/// What came from a learned token on: its advantage before whitening, and what was expected.
const RETURNS: &str = "returns";

/// What the reference says of each rollout's tokens, where there is one.
type References = [Option<Vec<f32>>];

/// One number a token of each rollout.
type OfTokens = Vec<Vec<f64>>;

/// `[loop.grpo.critic]`: proximal policy optimisation. A head on the policy's own states says what is expected before each token;
/// advantages are generalised advantage estimates against that, with the rewards at each completion's last token, those of
/// `loop.grpo.steps` or `step_rewards` at the last token of each step, and with `kl.place = "reward"` the divergence at every token.
///
/// The head sits on the policy, and not on a model of its own, since that costs no memory and no second pass: as in TRL's first
/// trainer and in the work that it follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Critic {
    /// γ: what a later reward is worth one token before.
    pub gamma: f64,
    /// λ: 1 credits a token with all that came after it, 0 with what the value behind it says alone.
    pub lambda: f64,
    /// How far a value may move from what was expected at sampling before its loss is held there; 0 turns that off. It matters where a batch
    /// is learned from in several updates (`epochs_per_batch`, `minibatches`).
    pub clip: f64,
    /// Weight of the critic's loss beside the policy's: its mean over the tokens of an update, whatever the policy's loss averages over.
    pub weight: f64,
    /// The head is learned so many times as fast as the policy (`optim.lr`). Only where the model has no value head yet.
    pub lr_scale: f64,
    /// Whether the critic's loss also teaches the layers below the head, or the head alone.
    pub backbone: bool,
    /// Steps at the start in which the head alone learns, so that what it expects means something once the policy moves.
    pub warmup_steps: usize,
    /// Give the advantages of all tokens of a step mean 0 and deviation 1.
    pub whiten: bool,
}

impl Default for Critic {
    fn default() -> Self {
        Self {
            gamma: 1.0,
            lambda: 0.95,
            clip: 0.2,
            weight: 0.1,
            lr_scale: 10.0,
            backbone: true,
            warmup_steps: 0,
            whiten: true,
        }
    }
}

/// One number a token of a rollout each.
pub(super) struct Credited {
    pub advantages: Vec<f64>,
    pub values: Vec<f64>,
    pub returns: Vec<f64>,
}

impl Credited {
    /// The mean advantage of its tokens; 0 of none.
    pub fn mean(&self) -> f64 {
        self.advantages.iter().sum::<f64>() / self.advantages.len().max(1) as f64
    }

    /// The advantages as an item has them.
    pub fn by_token(&self) -> Vec<f32> {
        self.advantages.iter().map(|&x| x as f32).collect()
    }

    /// The item with what the critic's loss asks for.
    pub fn on(&self, item: Item) -> Item {
        let places = item.sequences.iter().map(Sequence::predicting).collect();
        let numbers = |of: &[f64]| of.iter().map(|&x| x as f32).collect();
        item.read_at(places)
            .with_tokens(VALUES, numbers(&self.values))
            .with_tokens(RETURNS, numbers(&self.returns))
    }
}

impl Critic {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let positive = |x: f64| x > 0.0 && x.is_finite();
        broken(&[
            (share(self.gamma), "gamma", "it must lie between 0 and 1"),
            (share(self.lambda), "lambda", "it must lie between 0 and 1"),
            (
                self.clip >= 0.0 && self.clip.is_finite(),
                "clip",
                "it must be a number of at least 0, such as 0.2; 0 turns it off",
            ),
            (positive(self.weight), "weight", "it must be above 0, such as 0.1"),
            (positive(self.lr_scale), "lr_scale", "it must be above 0, such as 10"),
        ])
    }

    /// Gives the policy a value head, where it has none yet, and has it learn.
    pub(super) fn attach(&self, policy: &mut Policy) {
        policy.model.add_value(self.lr_scale);
        for (_, tensor) in policy.model.value.iter().flat_map(|value| value.tensors()) {
            let _ = tensor.set_requires_grad(true);
        }
        policy.weights_changed();
    }

    /// Whether only the head learns in this step.
    pub(super) fn warms_up(&self, step: usize) -> bool {
        step <= self.warmup_steps
    }

    /// Σ over the items' tokens of the critic's loss, such that, divided by the update's weight, it is `weight` times the mean over the
    /// update's tokens. While it `warms_up`, or without `backbone`, nothing of it reaches the layers.
    pub(super) fn loss(
        &self,
        items: &[&Item],
        output: &Output,
        warms_up: bool,
        metrics: &mut Metrics,
    ) -> Result<Tensor> {
        let Some(head) = &output.model.value else {
            return Err(Error::Model("the policy has no value head for loop.grpo.critic".into()));
        };
        let states = &output.scored.states;
        let teaches_layers = self.backbone && !warms_up;
        let values = head.of(&if teaches_layers { states.shallow_clone() } else { states.detach() });
        let column = |name| stacked(items, name, values.device()).expect("every rollout has it");
        let ValueTerms { losses, clipped } =
            value_loss(&values, &column(VALUES), &column(RETURNS), self.clip);
        let count = losses.numel() as f64;
        if count > 0.0 {
            let mean = |of: &Tensor| of.mean(Kind::Float).double_value(&[]);
            metrics.add("critic/loss", mean(&losses), count);
            metrics.add("critic/clip_ratio", mean(&clipped), count);
        }
        let scale = PolicyLoss::entropy_scale(output.weight, output.tokens);
        Ok(losses.sum(Kind::Float) * (self.weight * scale))
    }
}

impl Grpo {
    /// What each token of this rank's rollouts is credited with under the `critic`, group by group; `outcomes` are without divergences. All
    /// ranks call it.
    pub(super) fn credited(
        &self,
        critic: &Critic,
        worker: &Worker,
        groups: &[Group],
        (outcomes, references): (&[Outcome], &References),
        metrics: &mut Metrics,
    ) -> Result<Vec<Vec<Credited>>> {
        let known = self.earned_and_expected(worker, groups, (outcomes, references), metrics);
        let (rewards, values) = agreed(&*worker.ranks, known)?;
        let each = rewards.iter().zip(&values);
        let mut advantages: OfTokens =
            each.map(|(rewards, values)| gae(rewards, values, critic.gamma, critic.lambda)).collect();
        let plus = |(a, v): (&Vec<f64>, &Vec<f64>)| a.iter().zip(v).map(|(a, v)| a + v).collect();
        let returns: OfTokens = advantages.iter().zip(&values).map(plus).collect();
        if critic.whiten {
            worker.over_ranks(|sum| whiten_tokens(&mut advantages, sum))?;
        }
        let (of_returns, of_values) = (returns.concat(), values.concat());
        for (name, of) in [("critic/return", &of_returns), ("critic/value", &of_values)] {
            if !of.is_empty() {
                metrics.add(name, of.iter().sum::<f64>() / of.len() as f64, of.len() as f64);
            }
        }
        let explained = worker.over_ranks(|sum| explained_variance(&of_returns, &of_values, sum))?;
        explained.inspect(|share| metrics.set("critic/explained_variance", *share));
        let mut all = advantages
            .into_iter()
            .zip(values)
            .zip(returns)
            .map(|((advantages, values), returns)| Credited { advantages, values, returns });
        Ok(groups.iter().map(|group| all.by_ref().take(group.rollouts.len()).collect()).collect())
    }

    /// What each token of this rank's rollouts earns, and what was expected before it, rollout by rollout.
    fn earned_and_expected(
        &self,
        worker: &Worker,
        groups: &[Group],
        (outcomes, references): (&[Outcome], &References),
        metrics: &mut Metrics,
    ) -> Result<(OfTokens, OfTokens)> {
        let of_group = |group: &Group| {
            let of = |rollout: &Rollout| Sequence::new(&group.prompt, &rollout.tokens);
            group.rollouts.iter().map(of).collect::<Vec<_>>()
        };
        let sequences: Vec<Sequence> = groups.iter().flat_map(of_group).collect();
        let values = worker.policy.values(&sequences, worker.tokens_per_microbatch)?;
        let mut rewards = Vec::with_capacity(values.len());
        let mut references = references.iter();
        for (group, outcome) in groups.iter().zip(outcomes) {
            let paid = self.paid(group, metrics)?;
            let each = group.rollouts.iter().zip(outcome.rewards()).zip(paid).zip(references.by_ref());
            for (((rollout, outcome), paid), reference) in each {
                rewards.push(self.rewards_of_tokens(rollout, outcome, &paid, reference.as_deref()));
            }
        }
        let values = values.into_iter().map(|of| of.into_iter().map(f64::from).collect());
        Ok((rewards, values.collect()))
    }

    /// What each token of a rollout earns: its steps at the tokens that they are `paid` at, the outcome at the last one, less β times the
    /// divergence from the `reference` where that is part of the reward.
    fn rewards_of_tokens(
        &self,
        rollout: &Rollout,
        outcome: f64,
        paid: &[(usize, f64)],
        reference: Option<&[f32]>,
    ) -> Vec<f64> {
        let mut rewards = vec![0.0; rollout.tokens.len()];
        let Some(last) = rewards.len().checked_sub(1) else { return rewards };
        rewards[last] = outcome;
        paid.iter().for_each(|&(token, reward)| rewards[token.min(last)] += reward);
        if let (Some(reference), KlPlace::Reward) = (reference, self.kl.place) {
            let each = rollout.logprobs.iter().zip(reference);
            for (reward, (logprob, reference)) in rewards.iter_mut().zip(each) {
                *reward -= self.kl.coefficient * self.kl.estimator.sum(&[*logprob], &[*reference]);
            }
        }
        rewards
    }
}

#[cfg(test)]
mod tests;
