//! What a stage under way writes and shows: figures, rollouts, evaluations, checkpoints.

use super::places::PAIRS;
use super::session::Session;
use super::stage::{Opened, Unsettled};
use super::{pictures, stop, verdicts};
use crate::checkpoint::{Extent, Extents, OptimizerPart, Progress, label};
use crate::data::Prompted;
use crate::devices::Shard;
use crate::error::{Error, Result};
use crate::eval::{self, EVALUATIONS, Eval, Evaluated, Evaluation, HeldOut, Report, RowFigures, Verdict};
use crate::log::{Board, JsonLines, Metrics, Show};
use crate::loops::Method;
use crate::optim::{AdamW, steadier};
use crate::policy::PolicyConfig;
use crate::ranks::{Ranks, agreed, gathered};
use crate::recipe::Stage;
use crate::rollout::{Trace, leaves};
use crate::seed;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::path::Path;
use std::time::Instant;

const METRICS: &str = "metrics.jsonl";

/// What the stage under way writes to.
pub(super) struct Files {
    /// Each by its path in the run.
    metrics: JsonLines,
    evaluations: JsonLines,
    traces: (String, JsonLines),
    pairs: Option<(String, JsonLines)>,
    board: Option<Board>,
    pub show: Show,
}

impl Files {
    /// Opens the files of a stage behind what `kept` says that they held: lines beyond its checkpoint, which has `step` steps, will
    /// be written again.
    pub fn open(
        session: &Session,
        opened: &Opened,
        kept: &Extents,
        step: usize,
        show: Show,
    ) -> Result<Files> {
        let dir = session.dir.path();
        let resume =
            |name: &str| JsonLines::resume(&dir.join(name), kept.get(name).copied().unwrap_or_default());
        let named = |path: &Path| -> Result<(String, JsonLines)> {
            let name = path.strip_prefix(dir).unwrap_or(path).to_string_lossy().into_owned();
            let lines = resume(&name)?;
            Ok((name, lines))
        };
        let traces = |what| named(&session.traces_of(&opened.name, opened.round, what));
        let label = label(&opened.name, opened.round);
        verdicts::take_back(dir, &label, step)?;
        Ok(Files {
            metrics: resume(METRICS)?,
            evaluations: resume(EVALUATIONS)?,
            traces: traces("")?,
            pairs: opened.stage.needs().pairs.then(|| traces(PAIRS)).transpose()?,
            board: opened.stage.log.tensorboard.then(|| Board::open(dir, &label, kept, step == 0)),
            show,
        })
    }

    /// Has all that was written reach the disk; how far each file has come.
    pub fn extents(&mut self) -> Result<Extents> {
        let mut all = Extents::new();
        let mut add = |name: &str, extent: Extent| all.insert(name.to_string(), extent);
        add(METRICS, self.metrics.sync()?);
        add(EVALUATIONS, self.evaluations.sync()?);
        for (name, lines) in std::iter::once(&mut self.traces).chain(&mut self.pairs) {
            add(name, lines.sync()?);
        }
        all.extend(self.board.as_mut().and_then(Board::sync));
        Ok(all)
    }

    /// Clears the live line.
    pub fn finish(&self) {
        self.show.finish();
    }

    fn figures(&mut self, opened: &Opened, step: usize, metrics: &Metrics) -> Result<()> {
        self.metrics.append(&[line(opened, step, metrics.json())])?;
        if let Some(board) = &mut self.board {
            board.add(metrics.iter(), step);
        }
        Ok(())
    }
}

impl Session {
    /// Writes and shows the figures and rollouts of a step, those of all ranks together: `groups` has this rank's traces, a list a
    /// group behind its place. What the figures have come to.
    pub fn report(
        &mut self,
        opened: &Opened,
        step: usize,
        groups: Vec<(usize, Vec<Trace>)>,
        metrics: Metrics,
    ) -> Result<Metrics> {
        let mut groups = gathered(&*self.ranks, groups)?.concat();
        groups.sort_by_key(|(place, _)| *place);
        let traces = groups.into_iter().flat_map(|(_, traces)| traces);
        let (learned, dropped): (Vec<Trace>, Vec<Trace>) = traces.partition(|trace| trace.dropped.is_none());
        let metrics = self.together(metrics)?;
        let written = self.write_step(opened, step, [&learned, &dropped], &metrics);
        agreed(&*self.ranks, written).map(|()| metrics)
    }

    fn write_step(
        &mut self,
        opened: &Opened,
        step: usize,
        [traces, dropped]: [&[Trace]; 2],
        metrics: &Metrics,
    ) -> Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        files.figures(opened, step, metrics)?;
        if opened.stage.log.traces || opened.stage.needs().traces {
            files.traces.1.append(&leaves::lines(traces))?;
            files.traces.1.append(&leaves::lines(dropped))?;
        }
        files.show.step(step, metrics);
        let log = &opened.stage.log;
        if log.samples_every > 0 && step % log.samples_every == 1 % log.samples_every {
            files.show.samples(traces, log.samples);
            let name = format!("{}-{step:06}", label(&opened.name, opened.round));
            if let Some(lines) = pictures::or_warn(pictures::tree(self.dir.path(), &name, traces)).flatten() {
                files.show.print(&lines);
            }
        }
        Ok(())
    }

    /// Writes pairs of rollouts where the stage makes some.
    pub fn pairs(&mut self, pairs: Vec<Value>) -> Result<()> {
        let pairs = gathered(&*self.ranks, pairs)?.concat();
        let written = match self.files.as_mut().and_then(|files| files.pairs.as_mut()) {
            Some((_, file)) => file.append(&pairs),
            None => Ok(()),
        };
        agreed(&*self.ranks, written)
    }

    /// The figures of all ranks as one, from which all of them go on.
    fn together(&mut self, own: Metrics) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        for of_rank in gathered(&*self.ranks, vec![own])?.into_iter().flatten() {
            metrics.merge(of_rank);
        }
        self.newest.extend(metrics.iter().map(|(name, value)| (name.to_string(), value)));
        Ok(metrics)
    }

    /// Evaluates the policy after `step` steps; the figures. One that fails takes nothing with it that was trained or sampled: the
    /// figures say `eval/failed`.
    pub fn evaluate(&mut self, method: &dyn Method, opened: &mut Opened, step: usize) -> Result<Metrics> {
        let Some(config) = opened.stage.eval.clone() else { return Ok(Metrics::default()) };
        // What was done is saved, so that a long evaluation need not be waited for.
        stop::may_cut((self.ranks.count() == 1).then_some("evaluating"));
        let began = Instant::now();
        let show = self.files.as_ref().map(|files| &files.show);
        let before = self.evaluated_before(opened, &config, step);
        let found = before.and_then(|before| measure(method, opened, &config, self.seed, show, before));
        let found = found.map(|mut found| {
            let own = self.metrics.iter().filter(|_| !found.verdicts.is_empty());
            found.report.metrics =
                own.map(|metric| (metric.name.clone(), metric.of(&found.verdicts))).collect();
            found
        });
        stop::may_cut(None);
        if let Some(files) = &mut self.files {
            files.show.evaluated(began.elapsed());
        }
        let needs = opened.stage.needs();
        let found = agreed(&*self.ranks, found);
        // Before the first step nothing is lost by ending.
        let goes_on = step > 0 && (needs.trains || needs.rollouts);
        let found = if goes_on { found } else { Ok(found?) };
        let written = self.write_evaluation(opened, step, found);
        let metrics = agreed(&*self.ranks, written)?;
        self.together(metrics)
    }

    /// What the run has found already of these very weights and questions, at the end of the stage that the policy comes from.
    fn evaluated_before(&self, opened: &Opened, config: &Eval, step: usize) -> Result<Option<Evaluated>> {
        let ranks = self.ranks.clone();
        let own = if self.ranks.is_first() { self.look_up(opened, config, step) } else { Ok(None) };
        let found: Vec<(Report, Vec<Verdict>)> = agreed(&*ranks, own)?.into_iter().collect();
        let told = gathered(&*ranks, found)?.concat().pop();
        Ok(told.map(|(report, verdicts)| Evaluated { report, verdicts, questions: vec![], rows: vec![] }))
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
                "{}: the questions were asked of these weights after step {} of {}, and are not asked again",
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
        let Evaluated { report, verdicts, questions, rows } = match found {
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
        pictures::or_warn(pictures::reliability(self.dir.path(), &label, &report));
        let evaluation = Evaluation {
            stage: opened.name.clone(),
            round: opened.round,
            loop_round: opened.worker.loop_round,
            step,
            report,
        };
        verdicts::write(&self.dir.path().join(evaluation.verdicts()), &verdicts)?;
        let asked = self.dir.path().join(evaluation.questions());
        if !asked.exists() {
            verdicts::write(&asked, &questions)?;
        }
        verdicts::write(&self.dir.path().join(evaluation.rows()), &rows)?;
        files.evaluations.append(&[evaluation])?;
        self.has_news();
        Ok(metrics)
    }

    /// Saves the policy where the stage trains one, and the optimiser where it is needed to go on, each rank its part of it; `unsettled`
    /// is what is left to do of the step.
    pub fn save(
        &mut self,
        opened: &Opened,
        optim: Option<&AdamW>,
        step: usize,
        unsettled: Option<&Unsettled>,
    ) -> Result<()> {
        let writes = opened.needs_optimizer();
        let state = optim.filter(|_| writes).map(AdamW::state);
        let (rank, count) = match opened.stage.devices.shard {
            Shard::None => (0, 1),
            Shard::Optimizer => (self.ranks.rank(), self.ranks.count()),
        };
        let part = state.as_deref().map(|tensors| OptimizerPart { rank, count, tensors });
        let others = part.is_some_and(|part| part.count > 1);
        let ranks = self.ranks.clone();
        let saved = match self.ranks.is_first() {
            true => {
                let told = Cell::new(false);
                // Those who write to the folder of the first are told of it, and it waits for them.
                let fill = |folder: &Path| -> Result<()> {
                    if !others {
                        return opened.save(folder);
                    }
                    told.set(true);
                    ranks.gather(folder.to_string_lossy().into_owned())?;
                    agreed(&*ranks, opened.save(folder))
                };
                let saved = self.save_here(opened, part, step, unsettled, fill);
                if others && !told.get() {
                    ranks.gather(String::new())?;
                }
                saved
            }
            false if others => write_part(&*ranks, part),
            false => Ok(()),
        };
        self.saved_at = Instant::now();
        self.has_news();
        agreed(&*self.ranks, saved)
    }

    fn save_here(
        &mut self,
        opened: &Opened,
        optim: Option<OptimizerPart>,
        step: usize,
        unsettled: Option<&Unsettled>,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        files.show.doing("saving");
        tracing::info!("{}: a checkpoint of step {step}", opened.name);
        // Those that are here have been gone on from, which the new one has not.
        self.dir.prune(&opened.stage.checkpoint)?;
        let extents = files.extents()?;
        let progress = self.progress(opened, step, unsettled, extents);
        if !opened.stage.needs().trains {
            return self.dir.save(&progress, None, |_| Ok(()));
        }
        if let Some(name) = opened.not_finite()? {
            return Err(Error::Diverged(format!(
                "after step {step} of stage `{}` the weights of {name} are not finite; nothing was saved of them; {}, and so may a \
                 lower optim.max_grad_norm",
                opened.name,
                steadier(opened.worker.policy.model.kind())
            )));
        }
        self.dir.save(&progress, optim, fill)
    }

    /// Notes in the checkpoint of `step` what has come after it: the figures of its evaluation.
    pub fn note(&mut self, opened: &Opened, step: usize, unsettled: &Unsettled) -> Result<()> {
        let noted = self.note_here(opened, step, unsettled);
        agreed(&*self.ranks, noted)
    }

    fn note_here(&mut self, opened: &Opened, step: usize, unsettled: &Unsettled) -> Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        let extents = files.extents()?;
        let progress = self.progress(opened, step, Some(unsettled), extents);
        let saved = self.saved(&opened.name, opened.round)?;
        saved.filter(|saved| saved.state.progress.step == step).map_or(Ok(()), |saved| saved.note(&progress))
    }

    fn progress(
        &self,
        opened: &Opened,
        step: usize,
        unsettled: Option<&Unsettled>,
        files: Extents,
    ) -> Progress {
        Progress {
            stage: opened.name.clone(),
            round: opened.round,
            step,
            seed: self.seed,
            metrics: self.newest.clone(),
            extra: json!({
                "tokens": opened.tokens,
                "position": opened.state,
                "unsettled": unsettled,
                "alarms": opened.worker.alarms,
            }),
            files,
        }
    }
}

/// Writes this rank's part into the folder that the first has made; nothing where that could not.
fn write_part(ranks: &dyn Ranks, part: Option<OptimizerPart>) -> Result<()> {
    let folder = ranks.gather(String::new())?.swap_remove(0);
    match part.filter(|_| !folder.is_empty()) {
        Some(part) => agreed(ranks, part.write(Path::new(&folder))),
        None => Ok(()),
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
    let (rows, too_long) = agreed(&*ranks, method.held_out(&mut opened.worker, &own))?;
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
        gradient_checkpointing: false,
        ..stage.policy.clone()
    };
    let plain = |stage: &Stage| stage.policy.lora.is_none() && stage.rollout.search().is_none();
    // What the prompts are is looked at token by token.
    eval == *config
        && policy(before) == policy(now)
        && before.data.format == now.data.format
        && before.devices == now.devices
        && plain(before)
        && plain(now)
}

fn line(opened: &Opened, step: usize, figures: Map<String, Value>) -> Value {
    let mut line = Map::new();
    line.insert("stage".into(), opened.name.clone().into());
    line.insert("round".into(), opened.round.into());
    line.extend(opened.worker.loop_round.map(|own| ("loop_round".to_string(), own.into())));
    line.insert("step".into(), step.into());
    line.extend(figures);
    Value::Object(line)
}
