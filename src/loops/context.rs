//! What a lesson works with: the policy, the questions in their order, the rewards.

use super::{Alarms, Signs};
use crate::data::order;
use crate::data::{Dataset, Example};
use crate::engine::{Progress, Sampling, StopReason};
use crate::error::{Error, Result};
use crate::eval::statistics::deviation;
use crate::log::Metrics;
use crate::model::Sequence;
use crate::policy::{Policy, Reference, Refresh};
use crate::ranks::Ranks;
use crate::rationale::{Format, number};
use crate::reward::{Models, Rewards, answer, column};
use crate::rollout::group::Heard;
use crate::rollout::search::{Found, Means, Search};
use crate::rollout::tree::At;
use crate::rollout::tree::schema::{self, Grower};
use crate::rollout::{Group, Kind, Needs, Prompted, Rollout, dataset, group, remote, tree};
use crate::seed;
use crate::select::{Candidate, Select};
use crate::statistics::Sum;
use std::path::PathBuf;
use std::sync::Arc;

/// The questions of a dataset, tokenised, in the order of a seed.
#[derive(Debug, Default)]
pub struct Questions {
    /// All that fit, by position in the dataset.
    pub all: Vec<Prompted>,
    /// Questions left out because their prompt is longer than the limit.
    pub dropped: usize,
    seed: u64,
    per_step: usize,
    shuffle: bool,
}

impl Questions {
    /// Renders and tokenises every prompt; drops those longer than `limit`.
    pub fn new(
        dataset: &Dataset,
        policy: &Policy,
        limit: Option<usize>,
        per_step: usize,
        shuffle: bool,
        seed: u64,
    ) -> Result<Self> {
        let limit = limit.unwrap_or(policy.context() - 1);
        let (mut all, mut dropped) = (Vec::new(), 0);
        for example in &dataset.examples {
            let tokens = policy.tokenizer.render(&example.prompt)?;
            if tokens.is_empty() {
                return Err(Error::Data(format!("example {}: its prompt has no tokens", example.id)));
            }
            if tokens.len() > limit {
                dropped += 1;
            } else {
                all.push(Prompted { example: example.clone(), tokens });
            }
        }
        if all.is_empty() {
            return Err(Error::Data(format!(
                "{}: every prompt is longer than {limit} tokens; raise data.max_prompt_tokens or use a model with a \
                 longer context",
                dataset.name
            )));
        }
        Ok(Self { all, dropped, seed, per_step, shuffle })
    }

    /// The questions of `step`, counted from 1.
    pub fn of_step(&self, step: usize) -> Vec<Prompted> {
        self.pick(self.seed, step)
    }

    /// The `count` questions (all, where none is said) of `round`, counted from 1: each once, and the rounds take turns
    /// with them.
    pub fn of_round(&self, count: Option<usize>, round: usize) -> Vec<Prompted> {
        let count = count.unwrap_or(self.all.len()).min(self.all.len());
        let mut order = order::of_step(self.all.len(), count, round - 1, self.shuffle.then_some(self.seed));
        let mut seen = std::collections::HashSet::new();
        order.retain(|index| seen.insert(*index));
        order.into_iter().map(|index| self.all[index].clone()).collect()
    }

    /// Further questions, for the `attempt`-th resampling of `step`: another order, so that they differ.
    pub fn spare(&self, step: usize, attempt: usize) -> Vec<Prompted> {
        self.pick(seed::derive(&[self.seed, seed::of_text("spare"), attempt as u64]), step)
    }

    /// All questions, by their place in `all`, in an order of `step`'s (and `attempt`'s) own.
    pub fn in_some_order(&self, step: usize, attempt: usize) -> Vec<usize> {
        let seed = seed::derive(&[self.seed, seed::of_text("curriculum"), attempt as u64]);
        order::of_epoch(self.all.len(), step, Some(seed))
    }

    fn pick(&self, seed: u64, step: usize) -> Vec<Prompted> {
        order::of_step(self.all.len(), self.per_step, step - 1, self.shuffle.then_some(seed))
            .into_iter()
            .map(|index| self.all[index].clone())
            .collect()
    }

    /// A number for the questions of a `step` and its `attempt`-th sampling, by which an endpoint's cache tells several
    /// askings of one question apart: 0 throughout the first pass, whatever the order, so that another run finds what it asked.
    pub fn asking(&self, [step, attempt]: [usize; 2]) -> usize {
        let first_pass = attempt == 0 && step * self.per_step <= self.all.len();
        if first_pass { 0 } else { step * 1024 + attempt }
    }

    /// Questions of a step.
    pub fn per_step(&self) -> usize {
        self.per_step
    }

    /// Steps in one pass over the questions.
    pub fn steps_per_epoch(&self) -> usize {
        self.all.len().div_ceil(self.per_step)
    }
}

/// Everything that a step needs besides the optimiser.
pub struct Context {
    /// The stage's name.
    pub name: String,
    /// The ranks of the run.
    pub ranks: Arc<dyn Ranks>,
    /// What is trained.
    pub policy: Policy,
    /// What the KL penalty refers to.
    pub reference: Option<Reference>,
    /// The training questions.
    pub questions: Questions,
    /// What scores the rollouts.
    pub rewards: Rewards,
    /// Where completions come from.
    pub rollout: Kind,
    /// What that needs besides the policy.
    pub needs: Needs,
    /// Which rollouts teach.
    pub select: Select,
    /// How completions are sampled.
    pub sampling: Sampling,
    /// How a rationale is written.
    pub format: Format,
    /// This stage's seed.
    pub seed: u64,
    /// This stage's steps in all.
    pub steps: usize,
    /// Tokens that go through the model together.
    pub tokens_per_microbatch: usize,
    /// What watches the rollouts for signs of trouble.
    pub alarms: Alarms,
    /// A column of the data to report training accuracy by.
    pub by: Option<String>,
    /// The held-out questions.
    pub held_out: Vec<Prompted>,
    /// The round that the method itself is in, where it has rounds; 0 is before the first.
    pub loop_round: Option<usize>,
    /// The policy as the stage began with it, loaded or made anew.
    pub origin: Box<dyn Fn() -> Result<Policy>>,
    /// Where the stage's traces lie, and what its files' names begin with.
    pub traces: (PathBuf, String),
    /// Called while sampling.
    pub progress: Box<dyn FnMut(&Progress)>,
    /// Called with what is being done within a step.
    pub doing: Box<dyn FnMut(&str)>,
}

impl Context {
    /// What `statistic` comes to where its sums are those of all ranks.
    pub fn over_ranks<T>(&self, statistic: impl FnOnce(&mut Sum) -> T) -> Result<T> {
        let mut failed = Ok(());
        let found = statistic(&mut |values| {
            if failed.is_ok() {
                failed = self.ranks.sum(values);
            }
        });
        failed.map(|()| found)
    }

    /// Takes the policy back to what the stage began with.
    pub fn begin_again(&mut self) -> Result<()> {
        self.policy = (self.origin)()?;
        Ok(())
    }

    /// The file of everything that the stage sampled in a round of its method.
    pub fn traces_of_round(&self, round: usize) -> PathBuf {
        self.traces.0.join(format!("{}-round-{round}.jsonl", self.traces.1))
    }

    /// Samples (or reads) the completions of `prompts` and scores them. `attempt` tells apart several samplings of
    /// one step.
    pub fn groups(
        &mut self,
        prompts: &[Prompted],
        step: usize,
        attempt: usize,
        metrics: &mut Metrics,
    ) -> Result<Vec<Group>> {
        let mut groups = match self.rollout.clone().search() {
            Some(search) => self.found(search, prompts, [step as u64, attempt as u64], metrics)?,
            None => self.scored(prompts, [step as u64, attempt as u64], metrics)?,
        };
        match self.rollout.clone() {
            Kind::Prefix(prefix) => {
                self.explore(&prefix, &mut groups, [step as u64, attempt as u64], metrics)?;
            }
            Kind::Tree(tree) => groups.iter_mut().for_each(|group| tree::value(group, tree.value)),
            _ => {}
        }
        let mut figures: std::collections::BTreeMap<String, Vec<f64>> = Default::default();
        for (name, value) in self.rewards.figures() {
            figures.entry(name).or_default().push(value);
        }
        for (name, values) in figures {
            let count = values.len() as f64;
            metrics.add(&format!("rewards/{name}/mean"), values.iter().sum::<f64>() / count, count);
            metrics.add(&format!("rewards/{name}/std"), deviation(&values), count);
        }
        Ok(groups)
    }

    /// The completions, scored; a group while the next ones are still sampled, by the rewards that can.
    fn scored(&mut self, prompts: &[Prompted], of: [u64; 2], metrics: &mut Metrics) -> Result<Vec<Group>> {
        let (base, budget) = (self.seed, self.tokens_per_microbatch);
        let (policy, sampling, format) = (&self.policy, &self.sampling, &self.format);
        let seed =
            |index: usize, sample: usize| seed::derive(&[base, of[0], of[1], index as u64, sample as u64]);
        let mut cost = None;
        let (questions, needs) = (&self.questions, &self.needs);
        let (rollout, progress, told) = (&self.rollout, &mut self.progress, &mut cost);
        let sample = |give: &mut dyn FnMut(&Group)| {
            let asking = questions.asking(of.map(|part| part as usize));
            let Needs { client, rubrics } = needs;
            let client = client.as_ref();
            let groups = match (rollout, client, rollout.group_size()) {
                (Kind::Remote(section), Some(client), _) => {
                    let (groups, out) = remote::ask(client, section, policy, prompts, format, asking)?;
                    out.iter().for_each(|share| metrics.set("remote/other_answer", *share));
                    groups
                }
                (Kind::Tree(section), ..) if section.at == At::Questions => {
                    let grower = Grower { policy, client, sampling, rubrics, asking };
                    let section = section.schema.as_deref().cloned().unwrap_or_default();
                    let seed =
                        |index, node: usize, vote: usize| seed::derive(&[seed(index, node), vote as u64]);
                    let grown = schema::grow(&grower, prompts, &section, format, &seed, progress)?;
                    report(&grown.2.figures(), "tree", metrics);
                    *told = client.is_none().then_some(grown.1);
                    grown.0
                }
                (Kind::Tree(section), ..) => {
                    let seed = |index, parent: usize, child: usize| {
                        seed::derive(&[seed(index, parent), child as u64])
                    };
                    let grown = tree::grow(policy, prompts, section, sampling, format, seed, progress)?;
                    *told = Some(grown.1);
                    grown.0
                }
                (.., Some(size)) => {
                    let heard = Heard { progress, group: give };
                    let sampled = group::sample_each(policy, prompts, size, sampling, format, seed, heard)?;
                    *told = Some(sampled.1);
                    return Ok(sampled.0);
                }
                (.., None) => dataset::read(policy, prompts, sampling, format, budget)?,
            };
            client.iter().for_each(|client| report(&client.figures(), "remote", metrics));
            groups.iter().for_each(give);
            Ok(groups)
        };
        let groups = self.rewards.score_sampling(&Models::of(policy, budget), sample)?;
        if let Some(cost) = cost {
            let seconds = cost.prefill_seconds + cost.decode_seconds;
            metrics.add("sampling/tokens_per_second", cost.decoded_tokens as f64 / seconds, 1.0);
            metrics.add("sampling/kept_mass", cost.kept_mass, 1.0);
            metrics.add("sampling/prefill_tokens", cost.prefill_tokens as f64, 1.0);
            metrics.add("sampling/decoded_tokens", cost.decoded_tokens as f64, 1.0);
        }
        Ok(groups)
    }

    /// What `search` finds for each of `prompts`, its completions scored.
    fn found(
        &mut self,
        search: &dyn Search,
        prompts: &[Prompted],
        of: [u64; 2],
        metrics: &mut Metrics,
    ) -> Result<Vec<Group>> {
        let (base, rewards) = (self.seed, &mut self.rewards);
        let models = Models::of(&self.policy, self.tokens_per_microbatch);
        let mut means = Means {
            policy: &self.policy,
            sampling: &self.sampling,
            format: &self.format,
            seed: &|index, sample| seed::derive(&[base, of[0], of[1], index as u64, sample as u64]),
            score: &mut |groups| rewards.score(groups, &models),
            progress: &mut self.progress,
            tokens: 0,
        };
        let found = search.find(prompts, &mut means)?;
        metrics.add("search/tokens", means.tokens as f64 / prompts.len() as f64, prompts.len() as f64);
        Ok(found.into_iter().map(Found::answer).collect())
    }

    /// Scores the rollouts of `groups` by the recipe's rewards.
    pub fn score(&mut self, groups: &mut [Group]) -> Result<()> {
        let models = Models::of(&self.policy, self.tokens_per_microbatch);
        self.rewards.score(groups, &models)
    }

    /// log p of every completion token under the reference policy at `temperature`, sequence by sequence.
    pub fn reference_logprobs(&mut self, sequences: &[Sequence], temperature: f64) -> Result<Vec<Vec<f32>>> {
        let Some(reference) = &self.reference else {
            return Err(Error::Recipe("a reference policy is needed and there is none".into()));
        };
        reference.logprobs(&mut self.policy, sequences, temperature, self.tokens_per_microbatch)
    }

    /// Moves the reference policy where it follows the policy after `step`.
    pub fn refresh_reference(&mut self, refresh: &Refresh, step: usize) {
        if let Some(reference) = self.reference.as_mut().filter(|_| refresh.due(step)) {
            reference.refresh(&self.policy, refresh.mix);
        }
    }

    /// Adds what is worth knowing of the rollouts, under TRL's names.
    pub fn describe(groups: &[Group], metrics: &mut Metrics) {
        let rollouts = || groups.iter().flat_map(|g| &g.rollouts);
        let lengths: Vec<f64> = rollouts().map(|r| r.tokens.len() as f64).collect();
        for (prefix, lengths) in [
            ("", lengths.clone()),
            ("_terminated", rollouts().filter(|r| !r.truncated()).map(|r| r.tokens.len() as f64).collect()),
        ] {
            if !lengths.is_empty() {
                metrics.set(
                    &format!("completions/mean{prefix}_length"),
                    lengths.iter().sum::<f64>() / lengths.len() as f64,
                );
                metrics.set(
                    &format!("completions/min{prefix}_length"),
                    lengths.iter().copied().fold(f64::MAX, f64::min),
                );
                metrics.set(
                    &format!("completions/max{prefix}_length"),
                    lengths.iter().copied().fold(0.0, f64::max),
                );
            }
        }
        for group in groups {
            for rollout in &group.rollouts {
                let correct = crate::reward::answer::correct(&group.example, rollout);
                let name = match correct {
                    Some(true) => "completions/mean_length_correct",
                    Some(false) => "completions/mean_length_wrong",
                    None => continue,
                };
                metrics.add(name, rollout.tokens.len() as f64, 1.0);
            }
        }
        for rollout in rollouts() {
            metrics.add("completions/clipped_ratio", f64::from(u8::from(rollout.truncated())), 1.0);
            metrics.add(
                "completions/stop_string_ratio",
                f64::from(u8::from(matches!(rollout.stop, StopReason::StopString(_)))),
                1.0,
            );
            metrics.add("completions/unanswered", f64::from(u8::from(rollout.rationale.is_none())), 1.0);
            metrics.add("reward", rollout.reward, 1.0);
        }
        let names: std::collections::BTreeSet<&String> = rollouts().flat_map(|r| r.scores.keys()).collect();
        for name in names {
            let values: Vec<f64> = rollouts().filter_map(|r| r.scores.get(name)).map(|s| s.value).collect();
            metrics.set(&format!("rewards/{name}/mean"), values.iter().sum::<f64>() / values.len() as f64);
            metrics.set(&format!("rewards/{name}/std"), deviation(&values));
        }
        for group in groups {
            let rewards = group.rewards();
            metrics.add("reward_std", deviation(&rewards), 1.0);
            metrics.add(
                "frac_reward_zero_std",
                f64::from(u8::from(crate::advantage::zero_variance(&rewards))),
                1.0,
            );
        }
    }

    /// Warns of what the rollouts of `step` call for, and adds the accuracy of each class of `by`.
    pub fn watch(&mut self, groups: &[Group], step: usize, metrics: &mut Metrics) {
        let signs = Signs::of(groups, self.rewards.weights());
        if let Some(unique) = signs.unique {
            metrics.set("completions/unique_ratio", unique);
        }
        for sentence in self.alarms.hear(&signs, step) {
            tracing::warn!("{sentence}");
        }
        let Some(by) = &self.by else { return };
        for group in groups {
            let Ok(class) = column::text(&group.example, by) else { continue };
            for correct in group.rollouts.iter().filter_map(|r| crate::reward::correct(&group.example, r)) {
                metrics.add(&format!("accuracy/{class}"), f64::from(u8::from(correct)), 1.0);
            }
        }
    }

    /// Which rollouts of `group` the `[select]` section keeps, with counts of what it drops.
    pub fn selected(&self, group: &Group, metrics: &mut Metrics) -> Vec<usize> {
        let candidates: Vec<Candidate> =
            group.rollouts.iter().map(|rollout| candidate(&group.example, rollout)).collect();
        let kept = self.select.keep(&candidates);
        for index in 0..candidates.len() {
            metrics.add("select/kept", f64::from(u8::from(kept.contains(&index))), 1.0);
        }
        kept
    }
}

fn report(figures: &[(String, f64)], of: &str, metrics: &mut Metrics) {
    figures.iter().for_each(|(name, value)| metrics.set(&format!("{of}/{name}"), *value));
}

/// A rollout as filters and pair builders see it.
pub fn candidate<'a>(example: &Example, rollout: &'a Rollout) -> Candidate<'a> {
    Candidate {
        reward: rollout.reward,
        correct: answer::correct(example, rollout),
        text: &rollout.text,
        truncated: rollout.truncated(),
        tokens: &rollout.tokens,
        rating: rollout.answer().and_then(number::only).map(number::Number::to_f64),
        gold: false,
        confidence: rollout.confidence(),
    }
}
