//! What a method works with: the policy and its reference, the questions, and the one path from prompts to scored groups.

use super::Alarms;
use crate::data::{Prompted, Questions};
use crate::engine::{Progress, Sampling};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::model::Sequence;
use crate::policy::{Policy, Reference, Refresh};
use crate::ranks::{Ranks, Single};
use crate::rationale::Format;
use crate::reward::{Models, Rewards, Scoring};
use crate::rollout::group::GroupRollout;
use crate::rollout::{Group, SamplingContext, Seeds, Source};
use crate::select::Select;
use crate::statistics::{Sum, deviation};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that a step needs besides the optimiser.
pub struct Worker {
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
    pub source: Box<dyn Source>,
    /// Which rollouts are trained on.
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
    /// What measures the answers to the held-out questions, beside whether they are right.
    pub measures: Rewards,
    /// The held-out questions.
    pub held_out: Vec<Prompted>,
    /// Held-out questions that are left out because their prompt is too long.
    pub held_out_dropped: usize,
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
    /// Whether any rank is told to stop.
    pub asked: Box<dyn Fn() -> Result<bool>>,
    /// The error of a run that stops where it was told to, from what is saved.
    pub stopped_at: Box<dyn Fn(&str) -> Error>,
}

impl Worker {
    /// What works with `policy` on `questions`, alone and unseen: the rest is as a recipe has it that says nothing else.
    pub fn new(policy: Policy, questions: Questions, rewards: Rewards, format: Format) -> Self {
        Self {
            name: String::new(),
            ranks: Arc::new(Single),
            policy,
            reference: None,
            questions,
            rewards,
            source: Box::new(GroupRollout::default()),
            select: Select::default(),
            sampling: Sampling::default(),
            format,
            seed: 0,
            steps: 1,
            tokens_per_microbatch: 4096,
            alarms: Alarms::default(),
            by: None,
            measures: Rewards::none(),
            held_out: Vec::new(),
            held_out_dropped: 0,
            loop_round: None,
            origin: Box::new(|| Err(Error::Model("it is not known where this policy came from".into()))),
            traces: Default::default(),
            progress: Box::new(|_| {}),
            doing: Box::new(|_| {}),
            asked: Box::new(|| Ok(false)),
            stopped_at: Box::new(|saved| Error::Ranks(format!("another rank was told to stop: {saved}"))),
        }
    }

    /// Whether any rank is told to stop: asked by methods whose steps take long, between parts of one that need not be done again.
    ///
    /// # Errors
    /// Ranks that do not reach each other.
    pub fn stops(&self) -> Result<bool> {
        (self.asked)()
    }

    /// What `statistic` comes to where its sums are those of all ranks: it is handed what replaces sums by those of all, as
    /// [`statistics`](crate::statistics) asks for.
    ///
    /// # Errors
    /// Ranks that do not reach each other.
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
    pub fn reset_policy(&mut self) -> Result<()> {
        let policy = (self.origin)()?;
        self.policy.become_new(policy);
        Ok(())
    }

    /// The file of everything that the stage sampled in a round of its method.
    pub fn traces_of_round(&self, round: usize) -> PathBuf {
        self.traces.0.join(format!("{}-round-{round}.jsonl", self.traces.1))
    }

    /// The error to end with where [`stops`](Self::stops) says so; `saved` is what need not be done again.
    pub fn stopped(&self, saved: &str) -> Error {
        (self.stopped_at)(saved)
    }

    /// The file of what is worth knowing of how a round's rollouts were sampled.
    pub fn figures_of_round(&self, round: usize) -> PathBuf {
        let run = self.traces.0.parent().unwrap_or(&self.traces.0);
        run.join("figures").join(format!("{}-round-{round}.jsonl", self.traces.1))
    }

    /// The completions of `prompts`, scored: a group for each, in their order. `attempt` tells apart several samplings of one
    /// step: 0, then 1, … A prompt that comes twice is sampled anew.
    ///
    /// # Errors
    /// Whatever keeps the source from sampling; a reward that fails, which is never turned into a number.
    pub fn roll_out(
        &mut self,
        prompts: &[Prompted],
        step: usize,
        attempt: usize,
        metrics: &mut Metrics,
    ) -> Result<Vec<Group>> {
        if prompts.is_empty() {
            return Ok(vec![]);
        }
        let models = Models::of(&self.policy, self.tokens_per_microbatch);
        let mut context = SamplingContext {
            policy: &self.policy,
            sampling: &self.sampling,
            format: &self.format,
            seeds: Seeds::new(&[self.seed, step as u64, attempt as u64], prompts),
            tokens_per_microbatch: self.tokens_per_microbatch,
            nonce: self.questions.nonce(step, attempt),
            scorer: &mut Scoring { rewards: &mut self.rewards, models },
            figures: metrics,
            progress: &mut self.progress,
            tokens: 0,
        };
        let groups = self.source.roll_out(prompts, &mut context)?;
        let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
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

    /// Scores the rollouts of `groups` by the recipe's rewards.
    pub fn score(&mut self, groups: &mut [Group]) -> Result<()> {
        let models = Models::of(&self.policy, self.tokens_per_microbatch);
        self.rewards.score(groups, &models)
    }

    /// log p in nats of every learned token under the reference policy at `temperature`, sequence by sequence.
    ///
    /// # Errors
    /// [`Error::Recipe`] without a reference policy: [`Needs::reference`](super::Needs::reference) asks for one.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Example};
    use crate::engine::Request;
    use crate::policy::Init;
    use crate::reward::Registry;
    use crate::seed;
    use tch::{Device, Kind};

    fn example(index: usize) -> Arc<Example> {
        let example = Example::text(format!("row:{index}"), format!("{index}+1?"));
        Arc::new(Example { index, answer: Some("2".into()), ..example })
    }

    /// A step of `per_step` questions out of three, in the data's order, of two completions each.
    fn worker(per_step: usize) -> Worker {
        let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
        let policy = init.make(Kind::Float, Device::Cpu, 3, 16).unwrap();
        let dataset = Dataset { name: "three".into(), examples: (0..3).map(example).collect() };
        let questions = Questions::new(&dataset, &policy.tokenizer, 64, per_step, false, 0).unwrap();
        let answer = toml::from_str("[answer]").unwrap();
        let rewards = Rewards::build(&answer, &Registry::default(), &Format::default()).unwrap();
        Worker {
            source: Box::new(GroupRollout { size: 2 }),
            sampling: Sampling { max_new_tokens: 12, ..Sampling::default() },
            seed: 11,
            ..Worker::new(policy, questions, rewards, Format::default())
        }
    }

    fn tokens(groups: &[Group]) -> Vec<Vec<&[u32]>> {
        groups.iter().map(|group| group.rollouts.iter().map(|r| &r.tokens[..]).collect()).collect()
    }

    #[test]
    fn a_question_that_comes_twice_in_a_step_is_sampled_anew() {
        let (mut once, mut twice) = (worker(3), worker(6));
        let mut metrics = Metrics::default();
        // A pass has each once, however many a step might ask.
        assert_eq!(twice.questions.of_step(1).len(), 3);
        let prompts = twice.questions.mine(&[0, 1, 2, 0, 1, 2]);
        let all = twice.roll_out(&prompts, 1, 0, &mut metrics).unwrap();
        let first = once.roll_out(&once.questions.of_step(1), 1, 0, &mut Metrics::default()).unwrap();
        assert_eq!(tokens(&all[..3]), tokens(&first));
        for (question, prompted) in prompts[..3].iter().enumerate() {
            let seeds = [0, 1].map(|sample| seed::derive(&[11, 1, 0, question as u64, sample])).to_vec();
            let request = Request { prompt: prompted.tokens.clone(), seeds };
            let own = twice.policy.sampler().generate(&[request], &twice.sampling, &mut |_| {}).unwrap();
            let expected: Vec<&[u32]> = own.completions[0].iter().map(|c| &c.tokens[..]).collect();
            assert_eq!(tokens(&all)[question], expected, "from (seed, step, attempt, example, sample)");
            let again = &tokens(&all)[question + 3];
            assert!(
                again.iter().all(|one| !expected.contains(one)),
                "twelve bytes of 256 are never the same"
            );
        }
        assert!(all.iter().flat_map(|group| &group.rollouts).all(|r| r.scores.contains_key("answer")));
        let sampled = tokens(&all).concat().concat().len();
        assert_eq!(metrics.get("sampling/decoded_tokens"), Some(sampled as f64));
    }
}
