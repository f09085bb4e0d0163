//! The evaluation of a stage under way: what is asked or measured, what was found already, what is written of it.

use super::session::Session;
use super::stage::Opened;
use super::{pictures, stop, verdicts};
use crate::checkpoint::label;
use crate::data::Prompted;
use crate::error::Result;
use crate::eval::{self, Eval, Evaluated, Evaluation, HeldOut, Question, Report, RowFigures, Verdict};
use crate::log::{JsonLines, Metrics, Show};
use crate::loops::Method;
use crate::nearest::{did_you_mean, nearest, or_semicolon};
use crate::policy::PolicyConfig;
use crate::ranks::{agreed, gathered, of_first, timeline};
use crate::recipe::Stage;
use crate::seed;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

impl Session {
    /// Evaluates the policy after `step` steps; the figures. One that fails takes nothing with it that was trained or sampled: the
    /// figures say `eval/failed`.
    pub fn evaluate(&mut self, method: &dyn Method, opened: &mut Opened, step: usize) -> Result<Metrics> {
        let Some(config) = opened.stage.eval.clone() else { return Ok(Metrics::default()) };
        let _evaluates = timeline::phase("evaluation");
        opened.gather()?;
        // What was done is saved, so that a long evaluation need not be waited for.
        stop::may_cut(self.is_alone().then_some("evaluating"));
        let began = Instant::now();
        let show = self.files.as_ref().map(|files| &files.show);
        let before = self.evaluated_before(opened, &config, step);
        let made = matches!(before, Ok(None));
        let found = before.and_then(|before| measure(method, opened, &config, self.seed, show, before));
        let found = found.map(|mut found| {
            let own = self.metrics.iter().filter(|_| !found.verdicts.is_empty());
            found.report.metrics =
                own.map(|metric| (metric.name.clone(), metric.of(&found.verdicts))).collect();
            found
        });
        stop::may_cut(None);
        // What is taken over says nothing of how long one takes.
        if let Some(files) = self.files.as_mut().filter(|_| made) {
            files.show.evaluated(began.elapsed());
        }
        let needs = opened.stage.needs();
        let found = agreed(&*self.ranks, found);
        // Before the first step of all nothing is lost by ending.
        let ends = found.is_err()
            && (!(needs.trains || needs.rollouts) || (step == 0 && !self.has_done_a_stage()?));
        let found = if ends { Ok(found?) } else { found };
        let written = self.write_evaluation(opened, step, found);
        let metrics = agreed(&*self.ranks, written)?;
        self.together(metrics)
    }

    /// Ends a stage that goes on where it has made all the steps that it is to have now, or more: it is evaluated as at its end, if it
    /// `evaluates` and was not yet.
    pub fn end_at(
        &mut self,
        method: &dyn Method,
        opened: &mut Opened,
        step: usize,
        evaluates: bool,
    ) -> Result<()> {
        if step > opened.steps && self.ranks.is_first() {
            tracing::warn!(
                "stage `{}` was past step {} already: it ends at step {step}",
                opened.name,
                opened.steps
            );
        }
        self.expect(opened, step);
        let trains = opened.stage.needs().trains;
        let due = opened.stage.eval.as_ref().is_some_and(|eval| !trains || eval.due(step, step));
        if evaluates && due && !self.has_evaluated(opened, step)? {
            self.evaluate(method, opened, step)?;
            self.note(opened, step, None)?;
        }
        Ok(())
    }

    /// Whether there is an evaluation of this step of the stage, as the first rank finds it.
    fn has_evaluated(&self, opened: &Opened, step: usize) -> Result<bool> {
        let at = (opened.name.as_str(), opened.round, step);
        of_first(&*self.ranks, || {
            Ok(self.evaluations()?.iter().any(|one| (one.stage.as_str(), one.round, one.step) == at))
        })
    }

    /// Whether this process may end without a word to others: no rank trains with it, and none works for it.
    pub(super) fn is_alone(&self) -> bool {
        self.ranks.count() == 1 && self.ranks.served().is_none()
    }

    /// Whether a stage of the run is done, as the first rank finds it.
    fn has_done_a_stage(&self) -> Result<bool> {
        of_first(&*self.ranks, || Ok(self.dir.ledger()?.stages.iter().any(|record| record.done.is_some())))
    }

    /// Says which figures never came up by which a checkpoint was to be the best.
    pub(super) fn tell_of_best(&self) {
        let named = self.stages.values().filter_map(|stage| stage.checkpoint.best.as_deref());
        for best in named.collect::<BTreeSet<&str>>() {
            if !self.newest.contains_key(best) {
                let near = did_you_mean(nearest(best, self.newest.keys().map(String::as_str)));
                tracing::warn!(
                    "checkpoint.best = \"{best}\" never came up, so no checkpoint is kept as the best{} metrics.jsonl has the figures that did",
                    or_semicolon(near)
                );
            }
        }
    }

    /// What the run has found already of these very weights and questions, at the end of the stage that the policy comes from.
    fn evaluated_before(&self, opened: &Opened, config: &Eval, step: usize) -> Result<Option<Evaluated>> {
        let told = of_first(&*self.ranks, || self.look_up(opened, config, step))?;
        Ok(told.map(|(report, verdicts)| Evaluated { report, verdicts, rows: vec![] }))
    }

    fn look_up(&self, opened: &Opened, config: &Eval, step: usize) -> Result<Option<(Report, Vec<Verdict>)>> {
        let stage = &opened.stage;
        // The weights are those that the stage began with.
        let unchanged = step == 0 || !stage.needs().trains;
        let Some(folder) = stage.policy.model.as_ref().filter(|_| unchanged) else { return Ok(None) };
        let ledger = self.dir.ledger()?;
        let from = ledger.stages.iter().find_map(|record| {
            let done = record.done.as_ref()?;
            let own = self.dir.path().join(done.checkpoint.as_ref()?);
            (own == Path::new(folder)).then_some((record, done))
        });
        let Some((record, done)) = from else { return Ok(None) };
        if !self.stages.get(&record.stage).is_some_and(|before| asks_alike(before, stage, config)) {
            return Ok(None);
        }
        let at = |one: &&Evaluation| {
            (one.stage.as_str(), one.round, one.step) == (record.stage.as_str(), record.round, done.step)
        };
        let Some(evaluation) = self.evaluations()?.into_iter().rfind(|one| at(&one)) else { return Ok(None) };
        let file = self.dir.path().join(evaluation.verdicts());
        if evaluation.report.process.is_some() || evaluation.report.questions == 0 || !file.is_file() {
            return Ok(None);
        }
        let verdicts: Vec<Verdict> = JsonLines::read_as(&file)?;
        // The same prompts, to the token.
        let each = (config.samples * config.seeds).max(1);
        let questions = &opened.worker.held_out;
        let same = verdicts.len() == questions.len() * each
            && verdicts
                .chunks(each)
                .zip(questions)
                .all(|(of, question)| of.iter().all(|verdict| verdict.is_of(question)));
        if !same {
            return Ok(None);
        }
        if let Some(files) = &self.files {
            files.show.print(&format!(
                "{}: these weights were already evaluated after step {} of {}; that result is used",
                opened.name, done.step, record.stage
            ));
        }
        Ok(Some((evaluation.report, verdicts)))
    }

    fn write_evaluation(
        &mut self,
        opened: &Opened,
        step: usize,
        found: Result<Evaluated>,
    ) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        let Some(files) = &mut self.files else { return Ok(metrics) };
        let Evaluated { report, verdicts, rows } = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(
                    "the evaluation after step {step} of stage `{}` failed, and the stage goes on without it: {error}",
                    opened.name
                );
                metrics.set("eval/failed", 1.0);
                files.figures(opened, step, &metrics)?;
                return Ok(metrics);
            }
        };
        if opened.worker.held_out_dropped > 0 {
            metrics.set("eval/questions_too_long", opened.worker.held_out_dropped as f64);
        }
        let label = label(&opened.name, opened.round);
        pictures::or_warn(pictures::by_number(self.dir.path(), &label, &report));
        for (name, value) in report.metrics() {
            metrics.set(&name, value);
        }
        files.figures(opened, step, &metrics)?;
        files.show.print(&format!("{} evaluation after step {step}: {}", opened.name, report.sentence()));
        files.show.evaluation(step, &metrics);
        pictures::or_warn(pictures::reliability(self.dir.path(), &label, &report));
        let evaluation = Evaluation {
            stage: opened.name.clone(),
            round: opened.round,
            loop_round: opened.worker.loop_round,
            step,
            report,
        };
        verdicts::write(&self.dir.path().join(evaluation.verdicts()), &verdicts)?;
        verdicts::write(&self.dir.path().join(evaluation.rows()), &rows)?;
        let asked = self.dir.path().join(evaluation.questions());
        let keeps_text = opened.stage.eval.as_ref().is_some_and(|config| config.keep_text);
        // They are a stage's, and the same at each of its evaluations.
        if keeps_text && !verdicts.is_empty() && !asked.exists() {
            let tokenizer = &opened.worker.policy.tokenizer;
            let questions = opened.worker.held_out.iter().map(|question| Question::of(question, tokenizer));
            verdicts::write(&asked, &questions.collect::<Vec<_>>())?;
        }
        files.evaluations.append(&[evaluation])?;
        self.has_news();
        Ok(metrics)
    }
}

/// What the method's loss says of the held-out rows, and what the policy answers to the questions in them, if that is asked and was not
/// found `before`; the same on all ranks.
fn measure(
    method: &dyn Method,
    opened: &mut Opened,
    config: &Eval,
    seed: u64,
    show: Option<&Show>,
    before: Option<Evaluated>,
) -> Result<Evaluated> {
    let ranks = opened.worker.ranks.clone();
    let all = &opened.worker.held_out;
    let own: Vec<Prompted> = all.iter().skip(ranks.rank()).step_by(ranks.count()).cloned().collect();
    let asks = opened.stage.asks(all.iter().map(|row| &*row.example));
    let waits = show.and_then(|show| show.waits("evaluating held-out rows"));
    let (rows, mut too_long) = agreed(&*ranks, method.held_out(&mut opened.worker, &own))?;
    let (explained, without_room) = agreed(&*ranks, explain(opened, config, &own, seed))?;
    drop(waits);
    too_long += without_room;
    let rows = eval::with_further(rows, explained);
    let mut rows = gathered(&*ranks, rows)?.concat();
    rows.sort_by_key(|(place, _)| *place);
    let rows: Vec<RowFigures> = rows.into_iter().map(|(_, row)| row).collect();
    let mut lost = [too_long as f64];
    ranks.sum(&mut lost)?;
    let of_tokens = opened.stage.method.figures().contains(&eval::PERPLEXITY);
    let found = match before {
        Some(before) => before,
        None if asks => ask(method, opened, config, seed, show)?,
        None => Evaluated { report: Report::unasked(), ..Evaluated::default() },
    };
    let held_out = (!rows.is_empty()).then(|| HeldOut::of(&rows, lost[0] as usize, of_tokens, seed));
    Ok(Evaluated { report: Report { held_out, ..found.report }, rows, ..found })
}

/// What the policy's answers to this rank's held-out rows rest on, where that is asked for, and how many rows have no room for it.
fn explain(
    opened: &Opened,
    config: &Eval,
    own: &[Prompted],
    seed: u64,
) -> Result<(Vec<(usize, RowFigures)>, usize)> {
    let worker = &opened.worker;
    match config.greedy.as_ref().filter(|_| !opened.stage.needs().head) {
        Some(greedy) => {
            greedy.of(&worker.policy, own, worker.format.cue(), worker.tokens_per_microbatch, seed)
        }
        None => Ok(Default::default()),
    }
}

/// What the policy answers to the held-out questions, the same on all ranks.
fn ask(
    method: &dyn Method,
    opened: &mut Opened,
    config: &Eval,
    seed: u64,
    show: Option<&Show>,
) -> Result<Evaluated> {
    let mut shown = match show {
        Some(show) => show.sampling("evaluating"),
        None => Box::new(|_: &_| {}),
    };
    let worker = &mut opened.worker;
    if let Some(report) = method.evaluate(worker, &worker.held_out, config) {
        return report.map(|report| Evaluated { report, ..Evaluated::default() });
    }
    eval::evaluate(
        &mut eval::Answering {
            policy: &worker.policy,
            sampling: &worker.sampling,
            format: &worker.format,
            search: worker.source.search(),
            source: &*worker.source,
            rewards: &mut worker.rewards,
            measures: &mut worker.measures,
            budget: worker.tokens_per_microbatch,
            ranks: &*worker.ranks,
        },
        &worker.held_out,
        config,
        seed::derive(&[seed, seed::of_text("eval")]),
        &mut shown,
    )
}

/// Whether the held-out questions are asked in one stage as in the one before, by all that bears on an answer but for the weights.
fn asks_alike(before: &Stage, now: &Stage, config: &Eval) -> bool {
    let Some(eval) = &before.eval else { return false };
    let eval = Eval { every: config.every, at_start: config.at_start, at_end: config.at_end, ..eval.clone() };
    let policy = |stage: &Stage| PolicyConfig {
        model: None,
        init: None,
        dropout: 0.0,
        gradient_checkpointing: false,
        ..stage.policy.clone()
    };
    let plain = |stage: &Stage| {
        stage.policy.lora.is_none() && stage.rollout.search().is_none() && !stage.rollout.traits().gives
    };
    // What the prompts are is looked at token by token.
    eval == *config
        && policy(before) == policy(now)
        && before.data.format == now.data.format
        && before.devices == now.devices
        && plain(before)
        && plain(now)
}
