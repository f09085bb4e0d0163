//! A run: its directory, what has been done in it, what is done next.

use super::inputs::{same_consulted, same_inputs};
use super::places::{Claim, claim};
use super::reporting::{Reporting, ended};
use super::resume::is_done;
use super::stage::Opened;
use super::writing::Files;
use super::{pictures, resolved, stop, train};
use crate::checkpoint::{
    Done, Extents, Ledger, RunDir, Saved, StageRecord, abandon, is_run, label, load_tensors, save_tensors,
};
use crate::data::hub::Hub;
use crate::error::{Error, Result};
use crate::eval::Metric;
use crate::log::terminal::{tell, typed};
use crate::log::{JsonLines, Show, table};
use crate::loops::Steps;
use crate::model::extractor;
use crate::optim::Optimizer;
use crate::policy::reward_model::ScoreFormat;
use crate::ranks::{Ranks, agreed};
use crate::recipe::{PlannedStage, RULES, Recipe, Registry, Stage, substitute};
use crate::report::{Known, REPORT, summary};
use crate::rollout::Trace;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tch::Tensor;
use toml::Table;

/// A run under way.
pub struct Session {
    pub(super) dir: RunDir,
    pub(super) hub: Hub,
    pub(super) seed: u64,
    pub(super) quiet: bool,
    /// The trial that it is, where the run has several.
    pub(super) trial: String,
    /// The stages by their names; none of a recipe whose list is repeated, of which a stage may differ between rounds.
    pub(super) stages: BTreeMap<String, Stage>,
    /// Figures of evaluations that the program adds.
    pub(super) metrics: Vec<Metric>,
    /// The newest value of each figure, for the choice of the best checkpoint.
    pub(super) newest: BTreeMap<String, f64>,
    pub(super) ranks: Arc<dyn Ranks>,
    /// Of the first rank alone, which writes and shows what all of them do.
    pub(super) files: Option<Files>,
    /// When the stage under way began or was last saved.
    pub(super) saved_at: Instant,
    pub(super) reporting: Reporting,
}

impl Session {
    /// Makes or takes over the directory of a run, or of one of its trials, and writes the resolved recipe there: the first rank does, the
    /// others look on.
    pub fn open(
        place: &Claim,
        recipe: &Recipe,
        (stages, registry): (&[Stage], &Registry),
        plan: &[PlannedStage],
        hub: Hub,
        ranks: Arc<dyn Ranks>,
    ) -> Result<Self> {
        let resolved = recipe.resolved_with_all_keys(&resolved(stages, registry)?, registry)?;
        let dir = agreed(
            &*ranks,
            match ranks.is_first() {
                true => claim(place, &resolved, plan, registry),
                false => Ok(RunDir::join(place.path)),
            },
        )?;
        // What a chat template is told of the date does not change with the day on which a run goes on.
        let began = agreed(&*ranks, place.moment.map_or_else(|| dir.started(), |moment| Ok(Some(moment))))?;
        began.into_iter().for_each(crate::data::chat::set_moment);
        let seed = stages.first().map_or(0, |stage| stage.run.seed);
        let quiet = place.quiet || !ranks.is_first();
        let (newest, files, saved_at) = (BTreeMap::new(), None, Instant::now());
        let named = recipe.stages().iter().map(|table| table.name.clone()).zip(stages.iter().cloned());
        let stages = if recipe.rounds() == 1 { named.collect() } else { BTreeMap::new() };
        let trial = place.trial.to_owned();
        let metrics = registry.metrics.clone();
        let read = ranks.is_first().then(|| Recipe::parse("recipe.toml", &resolved, &[]).ok()).flatten();
        let reporting = Reporting::new(Known::of(registry, read.as_ref()));
        Ok(Self { dir, hub, seed, quiet, trial, stages, metrics, newest, ranks, files, saved_at, reporting })
    }

    /// Leaves nothing of a run that never began, so that the next start finds what was there before this one; one that has begun has
    /// a report that says how it ended.
    pub fn abandon(mut self, error: &Error) {
        self.files = None;
        if self.ranks.is_first() {
            // What cannot be removed is in nobody's way: it is no run that has begun.
            let _ = abandon(self.dir.path(), self.dir.made());
            if is_run(self.dir.path()) {
                self.note_failure(error);
                let state = ended(error);
                self.note_end(&state);
                self.write_report(state);
            }
            if let Some(aside) = self.dir.set_aside() {
                tracing::warn!(
                    "the run that was to be replaced is whole in {}; it goes with the first checkpoint of the next run here",
                    aside.display()
                );
            }
        }
    }

    /// Runs a stage, or goes on with it, or passes over it if it is done; whether there was anything to do.
    pub fn run_stage(
        &mut self,
        recipe: &Recipe,
        planned: &PlannedStage,
        registry: &Registry,
    ) -> Result<bool> {
        let (name, round) = (planned.stage.name.clone(), planned.round);
        let mut ledger = self.dir.ledger()?;
        if is_done(self.dir.path(), &ledger, &name, round) {
            let done = ledger.of(&name, round).and_then(|record| record.done.as_ref());
            self.newest.extend(done.into_iter().flat_map(|done| done.metrics.clone()));
            // Killed while it removed its older checkpoints, it has some of them still.
            let last = ledger.stages.last().is_some_and(|r| (r.stage.as_str(), r.round) == (&name, round));
            if last && self.ranks.is_first() {
                self.dir.prune(&Stage::read(recipe, &planned.stage, registry)?.checkpoint)?;
                self.forget_failure()?;
            }
            return Ok(false);
        }
        if let Some(folder) =
            ledger.of(&name, round).and_then(|record| record.done.as_ref()?.checkpoint.as_ref())
        {
            tracing::warn!("{folder} is gone: stage `{name}` goes on from what there is of it");
        }
        if self.asked()? {
            return Err(stop::stopped_between(self.dir.path()));
        }
        ledger.failed = None;
        stop::may_cut(self.is_alone().then_some("opening a stage"));
        let saved = self.saved(&name, round)?;
        let step = saved.as_ref().map_or(0, |saved| saved.state.progress.step);
        let (mut table, mut waited) = (planned.stage.clone(), false);
        substitute(&mut table.table, RULES.references, |path, target| {
            waited |= path.starts_with("data.train");
            self.product(&ledger, (path, target), (&name, round))
        })?;
        let mut stage = Stage::read(recipe, &table, registry)?;
        self.use_newest_checkpoint(&mut stage)?;
        let begun = match self.ranks.is_first() {
            true => self.begin(&mut ledger, (&name, round), &stage, &table.table),
            false => Ok(StageRecord::default()),
        };
        let record = agreed(&*self.ranks, begun)?;
        let mut show = Show::new(format!("{} {name}", self.trial).trim_start(), 0, self.quiet);
        let waits = show.waits("opening: models and rows are read");
        let opened = Opened::open(&name, round, stage, self.seed, &self.hub, registry, &self.ranks);
        drop(waits);
        let (mut opened, mut method) = agreed(&*self.ranks, opened)?;
        opened.group()?;
        if waited && self.ranks.is_first() {
            opened.tell_of_rows();
        }
        self.note_machine();
        stop::may_cut(None);
        show.expect(opened.steps);
        if let Some(eval) = &opened.stage.eval {
            show.evaluates(eval.every, eval.at_end);
        }
        opened.worker.progress = show.sampling("sampling");
        opened.worker.doing = show.says();
        opened.worker.traces = (self.dir.path().join("traces"), label(&name, round));
        let ranks = self.ranks.clone();
        opened.worker.asked = Box::new(move || stop::asked(&*ranks));
        opened.worker.stopped_at = Box::new(stop::stopped);
        let kept = saved.map_or(record.before, |saved| saved.state.progress.files);
        let open = || {
            // That a stage has begun is noted once all that it needs was there.
            self.dir.note(&ledger)?;
            Files::open(self, &opened, &kept, step, show)
        };
        let files = self.ranks.is_first().then(open).transpose();
        self.files = agreed(&*self.ranks, files)?;
        self.saved_at = Instant::now();
        tracing::info!(
            "stage `{name}`: loop.{}, from step {step} to {}",
            opened.stage.method.name(),
            opened.steps
        );
        train::train(method.as_mut(), &mut opened, self)?;
        let done = if self.ranks.is_first() { self.done(&opened, ledger) } else { Ok(()) };
        tracing::info!("stage `{name}` is done");
        agreed(&*self.ranks, done)?;
        Ok(true)
    }

    /// The stage's record in the ledger: a new one, or the one that it has, which the files that it reads have to be like.
    fn begin(
        &self,
        ledger: &mut Ledger,
        (name, round): (&str, usize),
        stage: &Stage,
        table: &Table,
    ) -> Result<StageRecord> {
        let (inputs, consulted) = (self.inputs(stage)?, self.consulted(table)?);
        let at = ledger.stages.iter().position(|r| (r.stage.as_str(), r.round) == (name, round));
        if let Some(at) = at {
            let record = &mut ledger.stages[at];
            same_inputs(name, &record.inputs, &inputs)?;
            same_consulted(name, &record.consulted, &consulted)?;
            record.consulted = consulted;
            record.done = None;
            return Ok(record.clone());
        }
        let before = ledger.stages.last().and_then(|record| record.done.clone()).map(|done| done.files);
        let shared = |name: &String| !name.contains('/');
        let before: Extents =
            before.unwrap_or_default().into_iter().filter(|(name, _)| shared(name)).collect();
        let record = StageRecord { stage: name.into(), round, before, inputs, consulted, done: None };
        ledger.stages.push(record.clone());
        Ok(record)
    }

    /// Draws what belongs to the whole stage, then notes that it is done.
    fn done(&mut self, opened: &Opened, mut ledger: Ledger) -> Result<()> {
        let (name, round) = (opened.name.as_str(), opened.round);
        if opened.worker.loop_round.is_some() {
            let by = opened.worker.by.as_deref().unwrap_or("class");
            let evaluations = self.evaluations()?;
            let file = label(name, round);
            pictures::or_warn(pictures::rounds(self.dir.path(), &file, &evaluations, (name, round), by));
        }
        pictures::or_warn(pictures::curves(self.dir.path(), &label(name, round), (name, round)));
        let files = match self.files.take() {
            Some(mut files) => {
                files.finish();
                files.extents()?
            }
            None => Extents::new(),
        };
        let saved = self.saved(name, round)?;
        let step = saved.as_ref().map_or(0, |saved| saved.state.progress.step);
        let mut metrics = self.newest.clone();
        // JSON has no other numbers.
        metrics.retain(|_, value| value.is_finite());
        let done = Done { step, checkpoint: saved.map(|saved| saved.name()), files, metrics };
        if let Some(record) = ledger.stages.last_mut() {
            record.done = Some(done);
        }
        self.dir.note(&ledger)?;
        self.dir.replace()?;
        self.dir.prune(&opened.stage.checkpoint)?;
        self.has_news();
        self.report_where_due();
        Ok(())
    }

    /// Whether the run is told to stop: what all ranks go by.
    pub fn asked(&self) -> Result<bool> {
        self.asked_of(None).map(|(stop, _)| stop)
    }

    /// The same, and whether a checkpoint of the stage is due by time.
    pub fn asked_of(&self, opened: Option<&Opened>) -> Result<(bool, bool)> {
        let since = self.saved_at.elapsed();
        let due = opened.is_some_and(|opened| opened.stage.checkpoint.due_by_time(since));
        let mut saves = [f64::from(u8::from(due && self.ranks.is_first()))];
        self.ranks.max(&mut saves)?;
        Ok((stop::asked(&*self.ranks)?, saves[0] > 0.0))
    }

    /// What the stage's method has had kept in the run.
    pub fn kept(&self, opened: &Opened) -> Result<Option<Tensor>> {
        let path = self.keeping(&opened.name, opened.round);
        if !path.is_file() {
            return Ok(None);
        }
        let found = load_tensors(&path).map_err(|error| {
            Error::Checkpoint(format!("{}; delete it to have it worked out anew", error.what()))
        })?;
        Ok(found.into_iter().map(|(_, tensor)| tensor).next())
    }

    /// Keeps what the stage's method has worked out and will ask for when the run is resumed.
    pub fn keep(&self, opened: &Opened, found: Tensor) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        let path = self.keeping(&opened.name, opened.round);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let unfinished = path.with_extension("unfinished");
        save_tensors(&unfinished, &[("kept".to_string(), found)])?;
        std::fs::File::open(&unfinished).and_then(|file| file.sync_all()).map_err(Error::io(&unfinished))?;
        std::fs::rename(&unfinished, &path).map_err(Error::io(&path))
    }

    /// The steps of the stage that are done; the policy, its reference, the method's state and, where it `trains`, the optimiser
    /// as they were then.
    pub fn restore(&mut self, opened: &mut Opened, trains: bool) -> Result<(usize, Option<Optimizer>)> {
        let Some(saved) = self.saved(&opened.name, opened.round)? else { return Ok((0, None)) };
        let progress = &saved.state.progress;
        opened.tokens = progress.extra["tokens"].as_u64().unwrap_or(0) as usize;
        opened.learned = progress.extra["learned"].as_bool().unwrap_or(true);
        opened.state = progress.extra["position"].clone();
        let unsettled = &progress.extra["unsettled"];
        opened.unsettled = serde_json::from_value(unsettled.clone()).map_err(|error| {
            Error::Checkpoint(format!("{}: its state is incomplete: {error}", saved.path.display()))
        })?;
        opened.worker.alarms = serde_json::from_value(progress.extra["alarms"].clone()).unwrap_or_default();
        self.newest.clone_from(&progress.metrics);
        if !trains {
            return Ok((progress.step, None));
        }
        // What a user can do about what is lost or broken is said with it.
        let broken = |error: Error| match error {
            Error::Io { .. } | Error::Model(_) | Error::Checkpoint(_) | Error::Torch(_) => {
                Error::Checkpoint(format!("{}; {}", error.what(), self.dir.remedy(&saved)))
            }
            other => other,
        };
        self.dir.check(&saved).map_err(broken)?;
        opened.restore(&saved.path).map_err(broken)?;
        let Some(state) = saved.optimizer().map_err(broken)? else {
            let why = saved.lacks_optimizer();
            // A method with rounds saves the end of one without an optimiser, and what is over needs none.
            if opened.stage.needs().steps == Steps::OfRun && progress.step < opened.steps {
                return Err(Error::Checkpoint(why));
            }
            opened.without_optimizer = Some(why);
            return Ok((progress.step, None));
        };
        let mut optim = opened.optimizer()?;
        let fits = optim.load_ranges(&state);
        let named = |error| {
            Error::Checkpoint(format!("{}: {error}", saved.path.join("optimizer.safetensors").display()))
        };
        fits.map_err(named).map_err(broken)?;
        Ok((progress.step, Some(optim)))
    }

    /// The rollouts that a stage has written.
    pub fn traces(&self, name: &str, round: usize) -> Result<Vec<Trace>> {
        JsonLines::read_as(&self.traces_of(name, round, ""))
    }

    /// Prints what the evaluations say, and where everything is.
    pub fn finish(mut self) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        self.tell_of_best();
        self.write_end();
        let evaluations = self.evaluations()?;
        let mut text = String::new();
        for stage in summary::by_round(&evaluations) {
            let (header, rows) = summary::rounds(&stage);
            text += &format!("{}\n", table(&header, &rows));
        }
        let points = summary::points(&evaluations);
        if !points.is_empty() {
            let (header, rows) = summary::table(&points);
            text += &format!("{}\n{}", table(&header, &rows), summary::rationales(&points));
        }
        text += &format!("\n{}\n", self.dir.path().display());
        let page = self.dir.path().join(REPORT);
        if !self.quiet && page.is_file() {
            text += &format!("report: {}\n", page.display());
        }
        if !self.quiet {
            text += &self.next()?;
        }
        // All is done and saved: that it cannot be shown is no failure.
        if let Err(error) = tell(&text) {
            tracing::warn!("the figures of {} cannot be shown: {error}", self.dir.path().display());
        }
        Ok(())
    }

    /// What there is to do with the model that the run has made.
    fn next(&self) -> Result<String> {
        let folder = self.dir.path();
        let Some(saved) = Saved::newest_model(folder)? else { return Ok(String::new()) };
        let (run, program) = (typed(&folder.to_string_lossy()), stop::program());
        let mut text = format!("model: {}\n", saved.path.display());
        if !ScoreFormat::is_in(&saved.path) && !saved.path.join(extractor::NOTES).is_file() {
            text += &format!("  {program} chat {run}\n");
        }
        Ok(text + &format!("  {program} export {run} DIR\n"))
    }

    /// Tells the display how many steps the stage is now expected to have.
    pub fn expect(&mut self, opened: &mut Opened, steps: usize) {
        opened.steps = steps;
        if let Some(files) = &mut self.files {
            files.show.expect(steps);
        }
    }
}
