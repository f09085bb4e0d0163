//! STaR at work: sampling a round is one step, its fine-tuning the steps after it.
//!
//! What is sampled goes to the round's own file of traces chunk by chunk, and what a round learns is a function of that file:
//! a run that resumes reads it back and samples only what is missing.

use super::rounds::{self, Measure};
use super::{Attempts, Prompts, Star, Start, attempts};
use crate::checkpoint::Extent;
use crate::data::{Data, Hub, Prompted, order};
use crate::error::{Error, Result};
use crate::log::{JsonLines, Metrics};
use crate::loops::{Batch, Item, Method, Output, Pace, Setup, Worker};
use crate::model::Sequence;
use crate::ranks::{agreed, gathered};
use crate::rollout::Trace;
use crate::seed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;
use tch::Tensor;

/// How far the rounds have come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct StarState {
    /// The round under way, or the next one, counted from 1.
    round: usize,
    /// Steps of its fine-tuning that are done; 0 is before it, sampling.
    trained: usize,
    /// The plateau's measure after each round.
    measures: Vec<f64>,
    /// Of the round under way once it is sampled: the steps of its fine-tuning, and the share of the questions that were solved
    /// without a hint.
    steps: usize,
    coverage: f64,
    /// What each round's file of rollouts held once it was sampled, as the first rank wrote it.
    sampled: Vec<Extent>,
}

/// The method at work.
pub(super) struct StarMethod {
    star: Star,
    data: Data,
    hub: Hub,
    run_seed: u64,
    /// `run.steps`.
    steps: Option<usize>,
    /// `run.epochs`.
    epochs: f64,
    prompts: Option<Prompts>,
    state: StarState,
    learning: Option<Learning>,
}

/// What a round learns once it is sampled.
struct Learning {
    /// Prompt without hint, completion as sampled.
    sequences: Vec<Sequence>,
    /// Steps that are expected of the stage.
    stage: usize,
}

impl Method for StarMethod {
    fn begin(&mut self, worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        let from = (&self.hub, self.run_seed);
        let all = &worker.questions.all;
        self.prompts = Some(Prompts::load(
            &self.star,
            worker.source.traits().hint,
            &self.data,
            from,
            &worker.policy,
            all,
        )?);
        worker.loop_round = Some(0);
        Ok(None)
    }

    fn load_state_dict(
        &mut self,
        worker: &mut Worker,
        state: &Value,
        _: &mut dyn FnMut() -> Result<Vec<Trace>>,
    ) -> Result<()> {
        self.state = serde_json::from_value(state.clone()).map_err(|error| {
            Error::Checkpoint(format!(
                "a checkpoint of stage `{}` does not say how far loop.star had come: {error}",
                worker.name
            ))
        })?;
        // What is left of its last step, its evaluation, is of this round.
        worker.loop_round = Some(self.state.round);
        Ok(())
    }

    fn state_dict(&self) -> Value {
        serde_json::to_value(&self.state).expect("numbers")
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        worker.loop_round = Some(self.state.round);
        let Some(learning) = &self.learning else {
            let batch = self.sample(worker, step, metrics)?;
            if self.state.trained == 0 {
                return Ok(batch);
            }
            // A run that resumes within a round has read back what it sampled, and goes on learning.
            return self.batch(worker, step, metrics);
        };
        let (at, of, stage) = (self.state.trained + 1, self.state.steps, learning.stage);
        let fresh_optimizer = self.state.trained == 0;
        if fresh_optimizer && self.star.start == Start::Base && self.state.round > 1 {
            worker.reset_policy()?;
        }
        let seed = seed::derive(&[worker.seed, seed::of_text("taught"), self.state.round as u64]);
        let per_step = worker.questions.per_step();
        let indices = order::of_step(learning.sequences.len(), per_step, at - 1, Some(seed));
        let indices = worker.questions.share(indices);
        let items = indices.into_iter().map(|index| Item::of(vec![learning.sequences[index].clone()]));
        let batch = Batch::of_completions(items.collect());
        self.state.trained = at;
        Ok(Batch { fresh_optimizer, pace: Pace::Round { at, of, stage }, ..batch })
    }

    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        Ok(Item::imitation(items, output, metrics))
    }

    fn after(&mut self, _: &mut Worker, _: usize, metrics: &Metrics) -> Result<bool> {
        if self.state.trained == 0 || self.state.trained < self.state.steps {
            return Ok(false);
        }
        self.learning = None;
        self.state.measures.extend(match self.star.plateau.measure {
            Measure::Coverage => Some(self.state.coverage),
            Measure::Accuracy => metrics.get("eval/accuracy"),
        });
        self.state.round += 1;
        self.state.trained = 0;
        Ok(self.is_over())
    }

    fn over(&self, _: usize) -> bool {
        self.state.trained == 0 && self.is_over()
    }
}

impl StarMethod {
    /// Before its first round.
    pub(super) fn new(star: &Star, setup: &Setup) -> Self {
        Self {
            star: star.clone(),
            data: setup.data.clone(),
            hub: setup.hub.clone(),
            run_seed: setup.run_seed,
            steps: setup.steps,
            epochs: setup.epochs,
            prompts: None,
            state: StarState { round: 1, ..StarState::default() },
            learning: None,
        }
    }

    /// Whether the rounds before the one that would be next are enough.
    fn is_over(&self) -> bool {
        self.state.round > self.star.rounds || self.star.plateau.reached(&self.state.measures)
    }

    /// Samples what is missing of the round, and works out what it learns.
    fn sample(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let round = self.state.round;
        // The step in which the round was sampled, where this one comes after it.
        let sampling_step = step - if self.state.trained > 0 { self.state.trained + 1 } else { 0 };
        let attempts = self.attempts(worker, sampling_step, metrics)?;
        let training_traces = self.training_traces(&attempts, worker)?;
        let steps = match self.steps {
            Some(first) => rounds::steps(first, self.star.growth, self.star.max_steps, round),
            None => rounds::passes(training_traces.len(), worker.questions.per_step(), self.epochs)
                .min(self.star.max_steps.unwrap_or(usize::MAX)),
        };
        if self.state.trained == 0 {
            attempts.describe(&worker.select, worker.by.as_deref(), &training_traces, metrics);
        }
        let stage = sampling_step + steps + (self.star.rounds - round) * (steps + 1);
        self.state.steps = steps;
        self.state.coverage = attempts.figures(&worker.select, None).0.coverage();
        self.learning =
            Some(Learning { sequences: training_traces.iter().map(Trace::sequence).collect(), stage });
        let traces = training_traces.into_iter().filter(|trace| trace.step == sampling_step).collect();
        Ok(Batch { traces, pace: Pace::Sampling { stage }, ..Batch::default() })
    }

    fn prompts(&self) -> &Prompts {
        self.prompts.as_ref().expect("the method has begun")
    }

    /// Refuses a round's file that is not as it was noted, where it was.
    fn check_sampled(&self, round: usize, path: &Path) -> Result<()> {
        self.state.sampled.get(round - 1).map_or(Ok(()), |sampled| sampled.check(path))
    }

    /// Everything that the round samples, of which what is in its file already is read.
    fn attempts(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Attempts> {
        let round = self.state.round;
        let questions = worker.questions.of_round(self.star.questions, round);
        let chunks: Vec<&[Prompted]> = questions.chunks(self.star.chunk).collect();
        let id = |question: &Prompted| question.example.id.clone();
        let ids: Vec<Vec<String>> = chunks.iter().map(|chunk| chunk.iter().map(id).collect()).collect();
        let traits = worker.source.traits();
        let (size, hinting) = (traits.size.unwrap_or(1), traits.hint.is_some());
        let (path, described) = (worker.traces_of_round(round), worker.figures_of_round(round));
        if self.state.trained > 0 {
            self.check_sampled(round, &path)?;
        }
        let mut attempts = Attempts { traces: JsonLines::read_as(&path)? };
        let mut figures: Vec<Metrics> = JsonLines::read_as(&described)?;
        let whole = attempts.whole(&ids, size, hinting, &worker.select).min(figures.len());
        let known: HashSet<&str> = ids[..whole].iter().flatten().map(String::as_str).collect();
        attempts.traces.retain(|trace| known.contains(trace.example.as_str()));
        figures.truncate(whole);
        let keep = |line: &Value| line["example"].as_str().is_some_and(|id| known.contains(id));
        // All ranks have read what is there before one goes on with it.
        agreed(&*worker.ranks, Ok(()))?;
        let open = || -> Result<(JsonLines, JsonLines)> {
            let mut lines = JsonLines::open(&described, |_| false)?;
            lines.append(&figures)?;
            Ok((JsonLines::open(&path, keep)?, lines))
        };
        let opened = worker.ranks.is_first().then(open).transpose();
        let mut files = agreed(&*worker.ranks, opened)?;
        for (index, chunk) in chunks.iter().enumerate().skip(whole) {
            // What is sampled is kept chunk by chunk.
            if worker.stops()? {
                return Err(worker
                    .stopped(&format!("{index} of {} parts of round {round} are sampled", chunks.len())));
            }
            (worker.doing)(&format!("round {round}, sampling {} of {}", index + 1, chunks.len()));
            let mine = worker.questions.share(chunk.to_vec());
            let mut seen = Metrics::default();
            let own = self.star.ask(worker, &mine, self.prompts(), (round, step), &mut seen);
            let own = agreed(&*worker.ranks, own)?;
            let mut traces = gathered(&*worker.ranks, own)?.concat();
            let place = |trace: &Trace| ids[index].iter().position(|id| *id == trace.example);
            traces.sort_by_cached_key(|trace| (attempts::hinted(trace), place(trace)));
            // Those of all ranks together, so that they do not depend on who goes on with them.
            let mut all = Metrics::default();
            gathered(&*worker.ranks, vec![seen])?
                .into_iter()
                .flatten()
                .for_each(|of_rank| all.merge(of_rank));
            let append = |(file, lines): &mut (JsonLines, JsonLines)| {
                file.append(&traces)?;
                lines.append(std::slice::from_ref(&all))
            };
            let written = files.as_mut().map_or(Ok(()), append);
            agreed(&*worker.ranks, written)?;
            attempts.traces.extend(traces);
            figures.push(all);
        }
        // They are those of all ranks already, and belong to the step in which the round was sampled.
        if worker.ranks.is_first() && self.state.trained == 0 {
            figures.into_iter().for_each(|of_chunk| metrics.merge(of_chunk));
        }
        if let Some((file, _)) = &mut files {
            self.state.sampled.truncate(round - 1);
            self.state.sampled.push(file.sync()?);
        }
        Ok(attempts)
    }

    /// What the round learns, as rollouts of the plain prompts.
    fn training_traces(&self, attempts: &Attempts, worker: &Worker) -> Result<Vec<Trace>> {
        let training_traces = if self.star.accumulate && self.state.round > 1 {
            let mut all = Attempts::default();
            for round in 1..self.state.round {
                let path = worker.traces_of_round(round);
                self.check_sampled(round, &path)?;
                all.traces.extend(JsonLines::read_as::<Trace>(&path)?);
            }
            all.traces.extend(attempts.traces.iter().cloned());
            all.training_traces(&worker.select, self.prompts())
        } else {
            attempts.training_traces(&worker.select, self.prompts())
        };
        if training_traces.is_empty() {
            return Err(Error::Data(format!(
                "round {} of stage `{}` has nothing to learn: of {} rollouts [select] keeps none; ask easier questions, \
                 show some solved ones (data.template.few_shot), start from a model that was warmed up with loop.sft, \
                 or rationalize with [rollout.hint]",
                self.state.round,
                worker.name,
                attempts.traces.len()
            )));
        }
        Ok(training_traces)
    }
}
