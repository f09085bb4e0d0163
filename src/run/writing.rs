//! What a stage under way writes and shows: figures, rollouts, evaluations, checkpoints.

use super::places::PAIRS;
use super::session::Session;
use super::stage::{Opened, Unsettled};
use super::{pictures, verdicts};
use crate::checkpoint::{Extent, Extents, OptimizerPart, Progress, label};
use crate::devices::Shard;
use crate::error::{Error, Result};
use crate::eval::EVALUATIONS;
use crate::log::{Board, JsonLines, Metrics, Show};
use crate::optim::{Optimizer, steadier};
use crate::ranks::{Ranks, agreed, gathered, timeline};
use crate::rollout::{Trace, leaves};
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const METRICS: &str = "metrics.jsonl";

/// What the stage under way writes to.
pub(super) struct Files {
    /// Each by its path in the run.
    metrics: JsonLines,
    pub evaluations: JsonLines,
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

    pub(super) fn figures(&mut self, opened: &Opened, step: usize, metrics: &Metrics) -> Result<()> {
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
            // Where nothing is learned from, what was sampled tells why.
            let sampled = if traces.is_empty() { dropped } else { traces };
            files.show.samples(sampled, log.samples);
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
    pub(super) fn together(&mut self, own: Metrics) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        for of_rank in gathered(&*self.ranks, vec![own])?.into_iter().flatten() {
            metrics.merge(of_rank);
        }
        self.newest.extend(metrics.iter().map(|(name, value)| (name.to_string(), value)));
        Ok(metrics)
    }

    /// Saves the policy where the stage trains one, and the optimiser where it is needed to go on, each rank its part of it; `unsettled`
    /// is what is left to do of the step.
    pub fn save(
        &mut self,
        opened: &Opened,
        optim: Option<&Optimizer>,
        step: usize,
        unsettled: Option<&Unsettled>,
    ) -> Result<()> {
        let _saves = timeline::phase("saving");
        let trains = opened.stage.needs().trains;
        let finite = if trains { finite(opened, step) } else { Ok(()) };
        agreed(&*self.ranks, finite)?;
        let state = optim.map(Optimizer::state);
        let (rank, count) = match opened.stage.devices.shard {
            Shard::None => (0, 1),
            Shard::Optimizer | Shard::Parameters => (opened.within.rank(), opened.within.count()),
        };
        let part = state.as_deref().map(|tensors| OptimizerPart { rank, count, tensors });
        let others = part.is_some_and(|part| part.count > 1) || (trains && opened.saves_together());
        let part = part.filter(|_| opened.saves());
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
            false if others => write_share(&*ranks, opened, part),
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
        self.dir.save(&progress, optim, fill)
    }

    /// Notes in the checkpoint of `step` what has come after it: the figures of its evaluation.
    pub fn note(&mut self, opened: &Opened, step: usize, unsettled: Option<&Unsettled>) -> Result<()> {
        let noted = self.note_here(opened, step, unsettled);
        agreed(&*self.ranks, noted)
    }

    fn note_here(&mut self, opened: &Opened, step: usize, unsettled: Option<&Unsettled>) -> Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        let extents = files.extents()?;
        let progress = self.progress(opened, step, unsettled, extents);
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
                "learned": opened.learned,
                "position": opened.state,
                "unsettled": unsettled,
                "alarms": opened.worker.alarms,
            }),
            files,
        }
    }
}

/// Refuses to save weights of which some are no numbers.
fn finite(opened: &Opened, step: usize) -> Result<()> {
    let Some(name) = opened.not_finite()? else { return Ok(()) };
    Err(Error::Diverged(format!(
        "after step {step} of stage `{}` the weights of {name} are not finite; nothing was saved of them; {}, and so may a \
         lower optim.max_grad_norm",
        opened.name,
        steadier(opened.worker.policy.model.kind())
    )))
}

/// Writes this rank's share into the folder that the first has made; nothing where that could not.
fn write_share(ranks: &dyn Ranks, opened: &Opened, part: Option<OptimizerPart>) -> Result<()> {
    let folder = ranks.gather(String::new())?.swap_remove(0);
    if folder.is_empty() {
        return Ok(());
    }
    let folder = Path::new(&folder);
    let model = if opened.saves_together() && opened.saves() { opened.save(folder) } else { Ok(()) };
    agreed(ranks, model.and_then(|()| part.map_or(Ok(()), |part| part.write(folder))))
}

fn line(opened: &Opened, step: usize, figures: Map<String, Value>) -> Value {
    let mut line = Map::new();
    line.insert("stage".into(), opened.name.clone().into());
    line.insert("round".into(), opened.round.into());
    line.extend(opened.worker.loop_round.map(|own| ("loop_round".to_string(), own.into())));
    line.insert("step".into(), step.into());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    line.insert("time".into(), (since.as_millis() as f64 / 1000.0).into());
    line.extend(figures);
    Value::Object(line)
}
