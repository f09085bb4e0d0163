//! The rounds of `loop.star`: sample, keep what is right, fine-tune.
//!
//! Sampling a round is one step of the stage, its fine-tuning the steps after it. What is sampled goes to the round's
//! own file of traces chunk by chunk, and what a round learns is a function of that file: a run that resumes reads it
//! back and samples only what is missing.

use super::session::Session;
use super::stage::Opened;
use super::train;
use crate::error::{Error, Result};
use crate::log::{JsonLines, Metrics};
use crate::loops::star::rounds::{self, Measure};
use crate::loops::star::{Attempts, Prompts, Star, Start, Taught};
use crate::model::Sequence;
use crate::optim::AdamW;
use crate::rollout::{Prompted, Trace};
use crate::seed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

/// How far the rounds have come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    /// The round under way, or the next one, counted from 1.
    round: usize,
    /// Steps of its fine-tuning that are done; 0 is before it, sampling.
    trained: usize,
    /// The plateau's measure after each round.
    measures: Vec<f64>,
}

/// A stage's rounds under way.
struct Rounds<'a> {
    lesson: &'a Star,
    prompts: Prompts,
    position: Position,
    /// Steps of the stage that are done.
    step: usize,
}

/// Runs the rounds to the last or to a plateau, from wherever the stage's checkpoints and traces have come.
pub fn star(lesson: &Star, opened: &mut Opened, session: &mut Session) -> Result<()> {
    let worker = &opened.worker;
    let (data, hint) = (&opened.stage.data, worker.source.traits().hint);
    let prompts =
        Prompts::load(lesson, hint, data, session.sources(), &worker.policy, &worker.questions.all)?;
    let saved = session.restore_policy(opened)?;
    let (position, step) = match &saved {
        Some(saved) => (read(opened.position.clone(), &saved.path)?, saved.state.progress.step),
        None => (Position { round: 1, ..Position::default() }, 0),
    };
    let mut rounds = Rounds { lesson, prompts, position, step };
    let mut optim = match &saved {
        Some(saved) if rounds.position.trained > 0 => Some(session.optimizer(opened, saved)?),
        _ => None,
    };
    opened.loop_round = Some(rounds.position.round - 1);
    if step == 0 && opened.stage.eval.as_ref().is_some_and(|eval| eval.at_start) {
        session.evaluate(opened, 0)?;
    }
    while !rounds.run(opened, session, optim.take())? {}
    Ok(())
}

impl Rounds<'_> {
    /// One round, or the rest of it with the optimiser that it stopped with. Returns whether it was the last.
    fn run(&mut self, opened: &mut Opened, session: &mut Session, optim: Option<AdamW>) -> Result<bool> {
        opened.loop_round = Some(self.position.round);
        let began = Instant::now();
        let mut metrics = Metrics::default();
        let sampling_step = self.step + 1 - if optim.is_some() { self.position.trained + 1 } else { 0 };
        let attempts = self.sample(opened, session, sampling_step, &mut metrics)?;
        let taught = self.taught(&attempts, opened, session)?;
        let by = opened.stage.eval.as_ref().and_then(|eval| eval.by.as_deref());
        let select = &opened.worker.select;
        if optim.is_none() {
            self.step = sampling_step;
            attempts.describe(select, by, &taught, &mut metrics);
            metrics.set("num_tokens", opened.tokens as f64);
            metrics.set("step_time", began.elapsed().as_secs_f64());
            let new: Vec<Trace> =
                taught.iter().filter(|trace| trace.step == sampling_step).cloned().collect();
            session.report(opened, self.step, &new, &metrics)?;
        }
        let coverage = attempts.figures(select, None).0.coverage();
        self.train(&taught, opened, session, optim)?;
        if opened.stage.eval.is_some() {
            session.evaluate(opened, self.step)?;
        }
        let measure = match self.lesson.plateau.measure {
            Measure::Coverage => Some(coverage),
            Measure::Accuracy => session.figure("eval/accuracy"),
        };
        self.position.measures.extend(measure);
        let last =
            self.position.round >= self.lesson.rounds || self.lesson.plateau.reached(&self.position.measures);
        self.position.round += 1;
        self.position.trained = 0;
        opened.position = written(&self.position);
        session.save(opened, None, self.step, last)?;
        Ok(last)
    }

    /// Everything that the round samples, of which what is in its file already is read.
    fn sample(
        &self,
        opened: &mut Opened,
        session: &Session,
        step: usize,
        metrics: &mut Metrics,
    ) -> Result<Attempts> {
        let round = self.position.round;
        let asked = opened.worker.questions.of_round(self.lesson.questions, round);
        let chunks: Vec<&[Prompted]> = asked.chunks(self.lesson.chunk).collect();
        let id = |question: &Prompted| question.example.id.clone();
        let ids: Vec<Vec<String>> = chunks.iter().map(|chunk| chunk.iter().map(id).collect()).collect();
        let traits = opened.worker.source.traits();
        let (size, hinting) = (traits.size.unwrap_or(1), traits.hint.is_some());
        let path = session.attempts(opened, round);
        let mut attempts = attempts(&path)?;
        let whole = attempts.whole(&ids, size, hinting, &opened.worker.select);
        let known: HashSet<&String> = ids[..whole].iter().flatten().collect();
        attempts.traces.retain(|trace| known.contains(&trace.example));
        let keep = |line: &Value| line["example"].as_str().is_some_and(|id| known.contains(&id.to_string()));
        let mut file = JsonLines::open(&path, keep)?;
        for (index, chunk) in chunks.iter().enumerate().skip(whole) {
            session.doing(&format!("round {round}, sampling {} of {}", index + 1, chunks.len()));
            let traces = self.lesson.ask(&mut opened.worker, chunk, &self.prompts, (round, step), metrics)?;
            file.append(&traces)?;
            attempts.traces.extend(traces);
        }
        Ok(attempts)
    }

    /// What the round learns, as rollouts of the plain prompts.
    fn taught(&self, attempts: &Attempts, opened: &Opened, session: &Session) -> Result<Vec<Trace>> {
        let select = &opened.worker.select;
        let taught = if self.lesson.accumulate && self.position.round > 1 {
            let mut all = Attempts::default();
            for round in 1..self.position.round {
                all.traces.extend(self::attempts(&session.attempts(opened, round))?.traces);
            }
            all.traces.extend(attempts.traces.iter().cloned());
            all.taught(select, &self.prompts)
        } else {
            attempts.taught(select, &self.prompts)
        };
        if taught.is_empty() {
            return Err(Error::Data(format!(
                "round {} of stage `{}` has nothing to learn: of {} rollouts [select] keeps none; ask easier questions, \
                 show some solved ones (data.template.few_shot), start from a model that was warmed up with loop.sft, \
                 or rationalize with [rollout.hint]",
                self.position.round,
                opened.name,
                attempts.traces.len()
            )));
        }
        Ok(taught)
    }

    /// The round's fine-tuning, with an optimiser of its own.
    fn train(
        &mut self,
        taught: &[Trace],
        opened: &mut Opened,
        session: &mut Session,
        optim: Option<AdamW>,
    ) -> Result<()> {
        let (round, per_step) = (self.position.round, opened.stage.data.prompts_per_step);
        let steps = match opened.stage.run.steps {
            Some(first) => rounds::steps(first, self.lesson.growth, self.lesson.max_steps, round),
            None => rounds::passes(taught.len(), per_step, opened.stage.run.epochs)
                .min(self.lesson.max_steps.unwrap_or(usize::MAX)),
        };
        let before = self.step - self.position.trained;
        session.expect(opened, before + steps + (self.lesson.rounds - round) * (steps + 1));
        let mut optim = match optim {
            Some(optim) => optim,
            None => {
                if self.lesson.start == Start::Base && round > 1 {
                    opened.begin_again(session.sources().0)?;
                }
                AdamW::new(opened.worker.policy.model.parameters(), &opened.stage.optim)?
            }
        };
        let sequence = |trace: &Trace| Sequence::new(&trace.prompt_ids, &trace.completion_ids);
        let seed = seed::derive(&[opened.worker.seed, seed::of_text("taught"), round as u64]);
        let sequences = taught.iter().map(sequence).collect();
        let mut lesson = Taught { sequences, per_step, before, seed };
        let every = opened.stage.checkpoint.every;
        while self.position.trained < steps {
            let lr = opened.stage.optim.lr(self.position.trained, steps);
            self.step += 1;
            self.position.trained += 1;
            train::one(&mut lesson, opened, session, &mut optim, self.step, lr)?;
            if every > 0 && self.position.trained.is_multiple_of(every) && self.position.trained < steps {
                opened.position = written(&self.position);
                session.save(opened, Some(&optim), self.step, false)?;
            }
        }
        Ok(())
    }
}

/// The traces of a round's file; none if it is not there.
fn attempts(path: &Path) -> Result<Attempts> {
    Ok(Attempts { traces: JsonLines::read_as(path)? })
}

fn written(position: &Position) -> Value {
    serde_json::to_value(position).expect("numbers")
}

fn read(position: Value, path: &Path) -> Result<Position> {
    serde_json::from_value(position).map_err(|error| {
        Error::Checkpoint(format!("{}: it does not say how far loop.star had come: {error}", path.display()))
    })
}
