//! A run: its directory, what has been done in it, what it shows.

use super::places::{PAIRS, claim, label};
use super::stage::Opened;
use super::summary::Evaluation;
use super::{pictures, preflight, resolved, run_folder, summary, train};
use crate::checkpoint::{Progress, RunDir, load_tensors, save_tensors};
use crate::data::hub::Hub;
use crate::error::{Error, Result};
use crate::eval;
use crate::log::{Board, JsonLines, Metrics, Show, table};
use crate::loops::{Method, Steps};
use crate::optim::AdamW;
use crate::ranks::{Ranks, agreed, gathered};
use crate::recipe::{Args, PlannedStage, RULES, Recipe, Registry, Stage, substitute};
use crate::rollout::{Trace, leaves};
use crate::seed;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::Tensor;

/// A run under way.
pub struct Session {
    pub(super) dir: RunDir,
    hub: Hub,
    seed: u64,
    quiet: bool,
    /// The newest value of each figure, for the choice of the best checkpoint.
    newest: BTreeMap<String, f64>,
    pub(super) ranks: Arc<dyn Ranks>,
    /// Of the first rank alone, which writes and shows what all of them do.
    files: Option<Files>,
}

/// What the stage under way writes to.
struct Files {
    metrics: JsonLines,
    evaluations: JsonLines,
    traces: JsonLines,
    pairs: Option<JsonLines>,
    board: Option<Board>,
    show: Show,
}

impl Session {
    /// Makes or takes over the run's directory and writes the resolved recipe there: the first rank does, the others look on.
    pub fn open(
        args: &Args,
        recipe: &Recipe,
        stages: &[Stage],
        hub: Hub,
        ranks: Arc<dyn Ranks>,
    ) -> Result<Self> {
        let path = run_folder(args, stages)?;
        let resolved = recipe.resolved_toml(&resolved(stages)?)?;
        let dir = agreed(
            &*ranks,
            match ranks.is_first() {
                true => claim(&path, args, &resolved),
                false => Ok(RunDir::join(&path)),
            },
        )?;
        let seed = stages.first().map_or(0, |stage| stage.run.seed);
        let quiet = args.quiet || !ranks.is_first();
        Ok(Self { dir, hub, seed, quiet, newest: BTreeMap::new(), ranks, files: None })
    }

    /// Leaves nothing of a run that the user has to mend before it can begin: its directory goes, if it was made for it.
    pub fn abandon(&self, error: &Error) {
        let begun = self.dir.path().join("metrics.jsonl").exists();
        if error.exit_code() == 2 && !begun {
            self.dir.discard();
        }
    }

    /// Runs a stage, or goes on with it, or passes over it if it is done.
    pub fn run_stage(&mut self, recipe: &Recipe, planned: &PlannedStage, registry: &Registry) -> Result<()> {
        let (name, round) = (planned.stage.name.clone(), planned.round);
        let done = self.saved(&name, round)?;
        if done.as_ref().is_some_and(|saved| saved.state.progress.last) {
            return Ok(());
        }
        let step = done.map_or(0, |saved| saved.state.progress.step);
        let mut table = planned.stage.clone();
        substitute(&mut table.table, RULES.references, |path, target| self.product(path, target))?;
        let mut stage = Stage::read(recipe, &table, registry)?;
        self.use_newest_checkpoint(&mut stage)?;
        let opened = Opened::open(&name, round, stage, self.seed, &self.hub, registry, &self.ranks);
        let (mut opened, mut method) = agreed(&*self.ranks, opened)?;
        agreed(&*self.ranks, preflight::left_out(planned, &opened))?;
        let show = Show::new(&name, step, opened.steps, self.quiet);
        opened.worker.progress = show.sampling("sampling");
        opened.worker.doing = show.says();
        opened.worker.traces = (self.dir.path().join("traces"), label(&name, round));
        let files = self.ranks.is_first().then(|| self.files(&opened, step, show)).transpose();
        self.files = agreed(&*self.ranks, files)?;
        train::train(method.as_mut(), &mut opened, self)?;
        if opened.worker.loop_round.is_some() && self.ranks.is_first() {
            let by = opened.worker.by.as_deref().unwrap_or("class");
            let (file, of) = (label(&name, round), (opened.name.as_str(), round));
            pictures::rounds(self.dir.path(), &file, &self.evaluations()?, of, by)?;
        }
        if let Some(files) = self.files.take() {
            files.show.finish();
        }
        Ok(())
    }

    /// What the stage's method has had kept in the run.
    pub fn kept(&self, opened: &Opened) -> Result<Option<Tensor>> {
        let path = self.keeping(opened);
        if !path.is_file() {
            return Ok(None);
        }
        Ok(load_tensors(&path)?.into_iter().map(|(_, tensor)| tensor).next())
    }

    /// Keeps what the stage's method has worked out and will ask for when the run is resumed.
    pub fn keep(&self, opened: &Opened, found: Tensor) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        let path = self.keeping(opened);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let unfinished = path.with_extension("unfinished");
        save_tensors(&unfinished, &[("logprobs".to_string(), found)])?;
        std::fs::rename(&unfinished, &path).map_err(Error::io(&path))
    }

    /// The steps of the stage that are done; the policy, its reference, the method's state and, where it `trains`, the optimiser
    /// as they were then.
    pub fn restore(&mut self, opened: &mut Opened, trains: bool) -> Result<(usize, Option<AdamW>)> {
        let Some(saved) = self.saved(&opened.name, opened.round)? else { return Ok((0, None)) };
        let progress = &saved.state.progress;
        opened.tokens = progress.extra["tokens"].as_u64().unwrap_or(0) as usize;
        opened.state = progress.extra["position"].clone();
        if !trains {
            return Ok((progress.step, None));
        }
        opened.restore(&saved.path)?;
        self.newest.clone_from(&progress.metrics);
        let Some(state) = saved.optimizer()? else {
            let why = format!(
                "{}: it was written with checkpoint.save_optimizer = false, so --resume cannot continue exactly; \
                 start a new run with policy.model set to that folder",
                saved.path.display()
            );
            // A method with rounds saves the end of one without an optimiser.
            if opened.stage.needs().steps == Steps::OfRun {
                return Err(Error::Checkpoint(why));
            }
            opened.without_optimizer = Some(why);
            return Ok((progress.step, None));
        };
        let mut optim = AdamW::new(opened.worker.policy.model.parameters(), &opened.stage.optim)?;
        optim.load_state(state)?;
        Ok((progress.step, Some(optim)))
    }

    /// The rollouts that the stage has written.
    pub fn traces(&self, opened: &Opened) -> Result<Vec<Trace>> {
        JsonLines::read_as(&self.traces_of(&opened.name, opened.round, ""))
    }

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
        let traces: Vec<Trace> = groups.into_iter().flat_map(|(_, traces)| traces).collect();
        let metrics = self.together(metrics)?;
        let written = self.write_step(opened, step, &traces, &metrics);
        agreed(&*self.ranks, written).map(|()| metrics)
    }

    fn write_step(
        &mut self,
        opened: &Opened,
        step: usize,
        traces: &[Trace],
        metrics: &Metrics,
    ) -> Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        files.metrics.append(&[line(opened, step, metrics.json())])?;
        if opened.stage.log.traces || opened.stage.needs().traces {
            files.traces.append(&leaves::lines(traces))?;
        }
        if let Some(board) = &mut files.board {
            board.add(metrics.iter(), step);
        }
        files.show.step(step, metrics);
        let log = &opened.stage.log;
        if log.samples_every > 0 && step % log.samples_every == 1 % log.samples_every {
            files.show.samples(traces, log.samples);
            let name = format!("{}-{step:06}", label(&opened.name, opened.round));
            if let Some(lines) = pictures::tree(self.dir.path(), &name, traces)? {
                files.show.print(&lines);
            }
        }
        Ok(())
    }

    /// Writes pairs of rollouts where the stage makes some.
    pub fn pairs(&mut self, pairs: Vec<Value>) -> Result<()> {
        let pairs = gathered(&*self.ranks, pairs)?.concat();
        match self.files.as_mut().and_then(|files| files.pairs.as_mut()) {
            Some(file) => file.append(&pairs),
            None => Ok(()),
        }
    }

    /// Evaluates the policy after `step` steps, on the first rank; the figures.
    pub fn evaluate(&mut self, method: &dyn Method, opened: &mut Opened, step: usize) -> Result<Metrics> {
        let found = self.evaluate_here(method, opened, step);
        let metrics = agreed(&*self.ranks, found)?;
        self.together(metrics)
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

    fn evaluate_here(&mut self, method: &dyn Method, opened: &mut Opened, step: usize) -> Result<Metrics> {
        let (Some(config), Some(files)) = (&opened.stage.eval, &mut self.files) else {
            return Ok(Metrics::default());
        };
        let worker = &mut opened.worker;
        let report = match method.evaluate(worker, &worker.held_out, config) {
            Some(report) => report?,
            None => eval::evaluate(
                &mut eval::Answering {
                    policy: &worker.policy,
                    sampling: &worker.sampling,
                    format: &worker.format,
                    search: worker.source.search(),
                    rewards: &mut worker.rewards,
                    budget: worker.tokens_per_microbatch,
                },
                &worker.held_out,
                config,
                seed::derive(&[self.seed, seed::of_text("eval")]),
                &mut files.show.sampling("evaluating"),
            )?,
        };
        pictures::by_number(self.dir.path(), &label(&opened.name, opened.round), &report)?;
        let mut metrics = Metrics::default();
        if worker.held_out_dropped > 0 {
            metrics.set("eval/questions_too_long", worker.held_out_dropped as f64);
        }
        for (name, value) in report.metrics() {
            metrics.set(&name, value);
        }
        files.metrics.append(&[line(opened, step, metrics.json())])?;
        if let Some(board) = &mut files.board {
            board.add(metrics.iter(), step);
        }
        files.show.print(&format!("{} evaluation after step {step}: {}", opened.name, report.sentence()));
        pictures::reliability(self.dir.path(), &label(&opened.name, opened.round), &report)?;
        files.evaluations.append(&[Evaluation {
            stage: opened.name.clone(),
            round: opened.round,
            loop_round: opened.worker.loop_round,
            step,
            report,
        }])?;
        Ok(metrics)
    }

    /// Saves the policy, and the optimiser where it is needed to go on; `last` says that the stage is done.
    pub fn save(&mut self, opened: &Opened, optim: Option<&AdamW>, step: usize, last: bool) -> Result<()> {
        let saved = self.save_here(opened, optim, step, last);
        agreed(&*self.ranks, saved)
    }

    fn save_here(&mut self, opened: &Opened, optim: Option<&AdamW>, step: usize, last: bool) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        files.show.doing("saving");
        let config = &opened.stage.checkpoint;
        let state = optim.filter(|_| config.save_optimizer).map(AdamW::state);
        self.dir.save(&self.progress(opened, step, last), state.as_deref(), |folder| opened.save(folder))?;
        self.dir.prune(config)
    }

    /// Notes how far a stage without training has come.
    pub fn mark(&mut self, opened: &Opened, step: usize, last: bool) -> Result<()> {
        let mark = || {
            self.dir.save(&self.progress(opened, step, last), None, |_| Ok(()))?;
            self.dir.prune(&opened.stage.checkpoint)
        };
        agreed(&*self.ranks, if self.ranks.is_first() { mark() } else { Ok(()) })
    }

    /// Prints what the evaluations say, and where everything is.
    pub fn finish(self) -> Result<()> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        let evaluations = self.evaluations()?;
        for stage in summary::by_round(&evaluations) {
            let (header, rows) = summary::rounds(&stage);
            println!("{}", table(&header, &rows));
        }
        let points = summary::points(&evaluations);
        if !points.is_empty() {
            let (header, rows) = summary::table(&points);
            println!("{}", table(&header, &rows));
            print!("{}", summary::rationales(&points));
        }
        println!("\n{}", self.dir.path().display());
        Ok(())
    }

    /// Tells the display how many steps the stage is now expected to have.
    pub fn expect(&mut self, opened: &mut Opened, steps: usize) {
        opened.steps = steps;
        if let Some(files) = &mut self.files {
            files.show.expect(steps);
        }
    }

    fn progress(&self, opened: &Opened, step: usize, last: bool) -> Progress {
        Progress {
            stage: opened.name.clone(),
            round: opened.round,
            step,
            last,
            seed: self.seed,
            metrics: self.newest.clone(),
            extra: json!({ "tokens": opened.tokens, "position": opened.state }),
        }
    }

    fn files(&self, opened: &Opened, step: usize, show: Show) -> Result<Files> {
        let (dir, label) = (self.dir.path(), label(&opened.name, opened.round));
        // Lines of this stage beyond its checkpoint will be written again.
        let keep = |line: &Value| {
            let ours = line["stage"] == opened.name.as_str() && line["round"] == opened.round;
            let at = line["step"].as_u64().unwrap_or(0) as usize;
            !ours || (at <= step && (step > 0 || at > 0))
        };
        let done = |line: &Value| line["step"].as_u64().is_some_and(|at| at as usize <= step);
        Ok(Files {
            metrics: JsonLines::open(&dir.join("metrics.jsonl"), keep)?,
            evaluations: JsonLines::open(&dir.join("evaluations.jsonl"), keep)?,
            traces: JsonLines::open(&self.traces_of(&opened.name, opened.round, ""), done)?,
            pairs: match opened.stage.needs().pairs {
                true => Some(JsonLines::open(&self.traces_of(&opened.name, opened.round, PAIRS), done)?),
                false => None,
            },
            board: if opened.stage.log.tensorboard {
                Some(Board::open(&dir.join("tensorboard").join(&label))?)
            } else {
                None
            },
            show,
        })
    }
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
