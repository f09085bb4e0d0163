//! What `--dry-run` says: the stages, the tokens of a step, and the memory that they need; of a recipe that sweeps, what all trials come
//! to. Nothing heavy is loaded.

use super::beside::beside;
use super::preflight::{Ready, Rows};
use super::room;
use super::trials::{product, shared};
use crate::checkpoint::Saved;
use crate::data::hub::Hub;
use crate::loops::{Steps, passes};
use crate::model::Config;
use crate::policy::PolicyConfig;
use crate::ranks::Local;
use crate::recipe::{PlannedStage, Registry, Stage};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

/// One stage of the plan.
#[derive(Debug)]
struct Planned<'a> {
    /// The pass over the list of stages, counted from 1.
    round: usize,
    /// The stage's name.
    name: &'a str,
    /// Its sections.
    stage: &'a Stage,
    /// Its training rows, as far as they are known.
    rows: Rows,
}

/// The plan of all trials as text, for so many ranks.
pub fn of_trials(trials: &[Ready], registry: &Registry, hub: &Hub, ranks: usize) -> String {
    let described = |ready: &Ready| {
        let plan = ready.trial.recipe.plan();
        describe(&planned(&plan, ready), registry, hub, ranks)
    };
    let [only] = trials else {
        let mut out = sweep(trials, hub);
        let mut told: Vec<(String, Vec<&str>)> = Vec::new();
        for ready in trials {
            let text = described(ready);
            match told.iter_mut().find(|(other, _)| *other == text) {
                Some((_, names)) => names.push(&ready.trial.name),
                None => told.push((text, vec![&ready.trial.name])),
            }
        }
        for (text, names) in &told {
            let of = if told.len() == 1 { "each trial".to_owned() } else { names.join(", ") };
            out += &text.replacen("# Plan\n", &format!("# Plan of {of}\n"), 1);
        }
        return out;
    };
    described(only)
}

fn planned<'a>(plan: &'a [PlannedStage], ready: &'a Ready) -> Vec<Planned<'a>> {
    let of = |p: &'a PlannedStage| Planned {
        round: p.round,
        name: &p.stage.name,
        stage: &ready.stages[p.stage.index],
        rows: ready.rows[p.stage.index].unwrap_or_default(),
    };
    plan.iter().map(of).collect()
}

/// The trials, what they share, and what all of it comes to.
fn sweep(trials: &[Ready], hub: &Hub) -> String {
    let mut out = String::from("# Sweep\n#\n");
    let (points, seeds) = shape(trials);
    let shared = shared(trials);
    let stages: usize = trials.iter().map(|ready| ready.trial.recipe.plan().len()).sum();
    let saved: usize = shared.iter().flatten().map(|(_, stages)| stages).sum();
    let _ = writeln!(
        out,
        "# {}; {} stages are run, and {saved} that are the same at two points of a seed are shared",
        product(points, seeds, trials.len()),
        stages - saved
    );
    let mut cost = Cost::default();
    for (ready, shared) in trials.iter().zip(&shared) {
        let _ = match shared {
            None => writeln!(out, "#   {}", ready.trial.name),
            Some((from, stages)) => {
                writeln!(out, "#   {} (the first {stages} of {})", ready.trial.name, trials[*from].trial.name)
            }
        };
        cost.add(ready, shared.map_or(0, |(_, stages)| stages), hub);
    }
    out + &cost.words(trials) + "#\n"
}

fn shape(trials: &[Ready]) -> (usize, usize) {
    let points: BTreeSet<&str> = trials.iter().map(|ready| ready.trial.point.as_str()).collect();
    (points.len(), trials.len() / points.len())
}

/// What trials come to in all.
#[derive(Default)]
struct Cost {
    steps: usize,
    sampled: f64,
    learned: f64,
    /// Multiplications and additions: twice the parameters for each token that is read or sampled, six times for each that is learned.
    operations: f64,
    /// Stages of which something is not known before they run.
    unknown: usize,
}

impl Cost {
    /// Adds the stages of a trial behind those that it shares.
    fn add(&mut self, ready: &Ready, shared: usize, hub: &Hub) {
        let plan = ready.trial.recipe.plan();
        let planned = planned(&plan, ready);
        let shapes = shapes(&planned, hub);
        for (at, Planned { stage, rows, .. }) in planned.iter().enumerate().skip(shared) {
            let size = shapes[at].as_ref().map(|shape| shape.size() as f64);
            let needs = stage.needs();
            let prompts = stage.data.prompts_per_step as f64;
            let tokens = if needs.rows { rows.tokens } else { Some(0.0) };
            let (Some(steps), Some(tokens), Some(size)) = (steps(stage, *rows), tokens, size) else {
                self.unknown += 1;
                continue;
            };
            self.steps += steps;
            let (all, mut sampled) = (steps as f64 * prompts, 0.0);
            let mut learned = if needs.trains { all * tokens } else { 0.0 };
            if let (true, Some(group)) = (needs.rollouts, stage.rollout.traits().size) {
                sampled += all * (group * stage.policy.sampling.max_new_tokens) as f64;
                learned = if needs.trains { learned + sampled } else { 0.0 };
            }
            if let Some(eval) = stage.eval.as_ref().filter(|_| !needs.head) {
                let times = (0..=steps).filter(|step| eval.due(*step, steps)).count();
                let longest = eval.max_new_tokens.unwrap_or(stage.policy.sampling.max_new_tokens);
                sampled += (times * rows.held_out * eval.samples * eval.seeds * longest) as f64;
            }
            self.sampled += sampled;
            self.learned += learned;
            self.operations += size * (2.0 * sampled + 6.0 * learned);
        }
    }

    fn words(&self, trials: &[Ready]) -> String {
        let more = match self.unknown {
            0 => String::new(),
            n => format!(" (without {n} stages of which the model or the rows are not known yet)"),
        };
        let mut out = format!(
            "#\n# in all {} steps; at most {} sampled and {} learned tokens, about {:.1e} operations{more}\n",
            self.steps,
            count(self.sampled as usize),
            count(self.learned as usize),
            self.operations
        );
        let device = trials[0].stages.first().and_then(|stage| stage.devices.find(Local::ALONE).ok());
        if let Some(rate) = device.and_then(|layout| products_a_second(layout.policy).ok()) {
            let hours = self.operations / rate / 3600.0;
            let time = if hours < 1.0 {
                format!("{:.1} minutes", 60.0 * hours)
            } else {
                format!("{hours:.1} hours")
            };
            let _ = writeln!(
                out,
                "# that is {time} at the {:.0} GFLOP/s which a large matrix product has here; small models and single rows take longer",
                rate / 1e9
            );
        }
        out
    }
}

/// Operations a second of a matrix product on the device.
fn products_a_second(device: Device) -> crate::Result<f64> {
    const SIDE: i64 = 768;
    let factor = Tensor::f_ones([SIDE, SIDE], (Kind::Float, device))?;
    let product = || factor.f_matmul(&factor)?.f_get(0)?.f_double_value(&[0]);
    product()?;
    let (began, mut times) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(100) {
        product()?;
        times += 1;
    }
    Ok(f64::from(times) * 2.0 * (SIDE as f64).powi(3) / began.elapsed().as_secs_f64())
}

/// The plan as text, for so many ranks.
fn describe(plan: &[Planned], registry: &Registry, hub: &Hub, ranks: usize) -> String {
    let mut out = String::from("# Plan\n");
    if ranks > 1 {
        let _ = writeln!(out, "#\n# {ranks} ranks, which share a step's questions; memory is that of each");
    }
    let shapes = shapes(plan, hub);
    let again = plan.iter().any(|planned| planned.round > 1);
    for (index, Planned { round, name, stage, rows }) in plan.iter().enumerate() {
        let round = if again { format!(" (round {round})") } else { String::new() };
        let _ = writeln!(
            out,
            "#\n# {}. {name}{round}: loop.{}, {}",
            index + 1,
            stage.method.name(),
            work(stage, *rows)
        );
        if stage.needs().trains || stage.needs().rollouts {
            let _ = writeln!(out, "#    {}", tokens(stage));
        }
        let shape = shapes[index].as_ref();
        // An earlier stage's result has the shape of its policy.
        let earlier =
            |name: &str| (0..index).rev().find(|&at| plan[at].name == name).and_then(|at| shapes[at].clone());
        let asked = |model: &str| match model.strip_prefix('@') {
            Some(name) => earlier(name),
            None => Config::read(&hub.at_hand(model)?).ok(),
        };
        let words = |shape| room::words(stage, shape, &beside(stage, registry, asked), ranks);
        let memory = shape.map_or_else(|| vec![unknown()], words);
        memory.iter().for_each(|line| out += &format!("#    {line}\n"));
    }
    out
}

/// How many steps a stage has, where its rows are known or it does not hang on them.
fn steps(stage: &Stage, rows: Rows) -> Option<usize> {
    match stage.needs().steps {
        Steps::Exactly(steps) => Some(steps),
        Steps::OfRun => stage.run.steps.or_else(|| {
            let of_pass = (rows.count? as f64 / stage.data.prompts_per_step as f64).ceil();
            Some(((of_pass * stage.run.epochs).ceil() as usize).max(1))
        }),
    }
}

fn work(stage: &Stage, rows: Rows) -> String {
    let prompts = stage.data.prompts_per_step;
    if let Some(work) = stage.needs().work {
        return work;
    }
    let steps = steps(stage, rows);
    match (stage.run.steps, steps) {
        (Some(_), Some(1)) => format!("1 step of {prompts} prompts"),
        (Some(_), Some(steps)) => format!("{steps} steps of {prompts} prompts"),
        (_, steps) => {
            let steps = steps.map_or(String::new(), |steps| format!(": {steps} steps"));
            format!("{} over the rows, {prompts} a step{steps}", passes(stage.run.epochs))
        }
    }
}

fn tokens(stage: &Stage) -> String {
    let (needs, prompts) = (stage.needs(), sampled_together(stage));
    match (needs.step, stage.rollout.traits().size) {
        (Some(step), _) => step,
        (None, Some(size)) if needs.rollouts && stage.rollout.traits().endpoint.is_some() => {
            format!("a step asks an endpoint for {prompts} × {size} = {} completions", prompts * size)
        }
        (None, Some(size)) if needs.rollouts => format!(
            "a step samples {prompts} × {size} = {} completions of at most {} tokens: {} tokens",
            prompts * size,
            stage.policy.sampling.max_new_tokens,
            prompts * size * stage.policy.sampling.max_new_tokens
        ),
        _ => format!("a step reads {prompts} rows, {} tokens at a time", stage.optim.tokens_per_microbatch),
    }
}

/// Completions that may be under way together, and the tokens of the longest.
pub(super) fn in_flight(stage: &Stage) -> Option<(usize, usize)> {
    let of_rollout = || Some((stage.rollout.traits().size?, stage.policy.sampling.max_new_tokens));
    let (each, longest) = stage.needs().in_flight.or_else(of_rollout)?;
    Some((sampled_together(stage) * each, longest))
}

fn sampled_together(stage: &Stage) -> usize {
    stage.needs().together.unwrap_or(stage.data.prompts_per_step)
}

fn unknown() -> String {
    "memory: not known before the model is there (an earlier stage makes it, or the hub has it)".into()
}

/// The shape of each stage's model where it can be known now: from sizes, or from a config.json at hand, a run's newest; `@stage` is looked up. What several
/// stages have is worked out once.
fn shapes(plan: &[Planned], hub: &Hub) -> Vec<Option<Config>> {
    let mut found: Vec<Option<Config>> = Vec::with_capacity(plan.len());
    let (mut newest, mut known) = (HashMap::new(), HashMap::<String, Option<Config>>::new());
    for (at, planned) in plan.iter().enumerate() {
        let PolicyConfig { init, model, .. } = &planned.stage.policy;
        let shape: Option<Config> = match (init, model.as_deref()) {
            (Some(init), _) => known
                .entry(format!("{init:?}"))
                .or_insert_with(|| Some(init.shape(init.tokenizer().ok()?.vocab_size())))
                .clone(),
            (None, Some(model)) => match model.strip_prefix('@') {
                Some(name) => newest.get(name).and_then(|&at: &usize| found[at].clone()),
                None => known
                    .entry(model.to_owned())
                    .or_insert_with(|| {
                        let newest = Saved::newest_model(model).ok().flatten().map(|saved| saved.path);
                        Config::read(&newest.or_else(|| hub.at_hand(model))?).ok()
                    })
                    .clone(),
            },
            (None, None) => None,
        };
        found.push(shape);
        newest.insert(planned.name, at);
    }
    found
}

pub(super) fn size(bytes: usize) -> String {
    match bytes as f64 {
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.0} MB", b / 1e6),
        b => format!("{:.0} kB", b / 1e3),
    }
}

pub(super) fn count(parameters: usize) -> String {
    match parameters as f64 {
        n if n >= 1e9 => format!("{:.1}B", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n => format!("{:.0}k", n / 1e3),
    }
}
