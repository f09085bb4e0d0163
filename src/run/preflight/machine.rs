//! What a run needs of the machine: programs, keys, room on the disk, a place for its directory; and which figures it will have.

use super::models::{Models, Sought};
use super::{Found, Looking};
use crate::checkpoint::try_to_write;
use crate::devices::Shard;
use crate::endpoint;
use crate::error::{Error, Result};
use crate::eval::Eval;
use crate::loops::Steps;
use crate::model::Config;
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use crate::recipe::{Recipe, Refusal, Registry, Stage};
use crate::reward::Rewards;
use crate::run::beside::{Beside, asked, beside};
use crate::run::footprint::trained;
use crate::run::room::too_large;
use crate::section::{Misfit, under};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

impl Looking<'_> {
    /// What the rewards and the measures lack of the machine.
    pub(super) fn look_at_machine(&mut self) {
        let lacking = |rewards: &Rewards| under(rewards.section(), rewards.check_machine());
        let found: Vec<Misfit> = self.asked_rewards().flat_map(lacking).collect();
        self.refuse_all(&found);
    }

    /// The devices that are named for the models of its rewards.
    pub(super) fn look_at_places(&mut self) {
        let of = |rewards: &Rewards| rewards.misplaced(&self.stage.devices, self.local);
        let found: Vec<(String, Error)> = self.rewards.iter().chain(&self.measures).filter_map(of).collect();
        found.iter().for_each(|(key, error)| self.refuse(key, error));
    }

    /// Says of a stage that is about to run that it takes more memory than there is; a dry run's plan says it with all that it takes.
    pub(super) fn look_at_memory(&mut self, shape: &Config) {
        // How weights are divided over other machines is not known here.
        let whole = self.stage.devices.shard == Shard::None;
        if self.fetches
            && whole
            && !self.is_wrong("optim")
            && let Some(text) = too_large(self.stage, shape, &self.beside(), self.training())
        {
            self.note(&text);
        }
    }

    /// How many of the ranks of this machine train.
    fn training(&self) -> usize {
        self.local.count.saturating_sub(self.stage.devices.reward_ranks).max(1)
    }

    /// The models of its rewards that are at hand.
    fn beside(&self) -> Vec<Beside> {
        beside(self.stage, self.registry, |model| Config::read(&self.hub.at_hand(model)?).ok())
    }
}

/// Ranks that are set apart for reward models, where no stage asks one that they could hold.
pub(super) fn idle_ranks(recipe: &Recipe, stages: &[&Stage], registry: &Registry) -> Vec<Refusal> {
    let Some((table, first)) = recipe.stages().first().zip(stages.first()) else { return vec![] };
    let ranks = first.devices.reward_ranks;
    if ranks == 0 || stages.len() != recipe.stages().len() {
        return vec![];
    }
    // What cannot be built is refused by itself.
    let serves = |stage: &&Stage| asked(stage, registry).iter().any(Rewards::is_served);
    if stages.iter().any(serves) {
        return vec![];
    }
    let message = format!(
        "devices.reward_ranks = {ranks}: no stage asks a reward model that they could hold; [reward.process] without a device of its own does, or take it out"
    );
    vec![recipe.refusal(table, "devices.reward_ranks", &message)]
}

/// Servers that take no connection. They may be up by the time that they are asked, so this is no refusal.
pub(super) fn servers(urls: &BTreeSet<String>, found: &mut Found) {
    for url in urls {
        if let Err(why) = endpoint::reachable(url) {
            found.note(format!("{url} cannot be reached now ({why}), and the run will ask it"));
        }
    }
}

/// The urls of all endpoints in a table.
pub(super) fn endpoints(table: &toml::Table, urls: &mut BTreeSet<String>) {
    for (key, value) in table {
        let toml::Value::Table(inner) = value else { continue };
        match inner.get("url").and_then(toml::Value::as_str) {
            Some(url) if key == "endpoint" => drop(urls.insert(url.to_owned())),
            _ => endpoints(inner, urls),
        }
    }
}

/// Whether held-out rows are ever looked at in the stage, as `[eval]` and `run.steps` have it.
fn evaluates(stage: &Stage) -> bool {
    let needs = stage.needs();
    let Some(eval) = &stage.eval else { return false };
    let due = eval.at_start
        || eval.at_end
        || (eval.every > 0 && stage.run.steps.is_none_or(|steps| eval.every < steps));
    // Who trains nothing looks once; who has rounds, after each.
    due || !needs.trains || needs.steps != Steps::OfRun
}

/// `checkpoint.best` of stages that come to no figure of that name, as far as names are known: those of evaluations are. What the top level
/// says for all of them, one has to come to.
pub(super) fn best_figures(recipe: &Recipe, stages: &[&Stage], registry: &Registry) -> Vec<Refusal> {
    if stages.len() != recipe.stages().len() {
        return vec![];
    }
    let measured: Vec<&Stage> = stages.iter().copied().filter(|stage| evaluates(stage)).collect();
    let evals: Vec<&Eval> = measured.iter().filter_map(|stage| stage.eval.as_ref()).collect();
    let mut known: BTreeSet<String> = evals.iter().flat_map(|eval| eval.figures()).collect();
    for stage in &measured {
        known.extend(stage.method.figures().iter().map(|name| format!("eval/{name}")));
    }
    known.extend(registry.metrics.iter().map(|metric| format!("eval/{}", metric.name)));
    let open = evals.iter().any(|eval| eval.by.is_some()) || stages.iter().any(|stage| stage.needs().head);
    let searches = stages.iter().any(|stage| stage.rollout.search().is_some());
    let mut refused = Vec::new();
    for (table, stage) in recipe.stages().iter().zip(stages) {
        let Some(best) = &stage.checkpoint.best else { continue };
        let own = evaluates(stage) || (!evals.is_empty() && recipe.says_of_all("checkpoint.best"));
        let near = nearest(best, known.iter().map(String::as_str));
        let by = open && best.matches('/').count() > 1;
        let unknowable = near.is_none() && (open || searches || !best.starts_with("eval/"));
        let comes_up = own || !(known.contains(best) || best.starts_with("eval/"));
        if comes_up && (known.contains(best) || by || unknowable) {
            continue;
        }
        let what = match comes_up {
            false => format!("is a figure of evaluations, and {}", no_evaluation(stage)),
            true => format!(
                "is no figure that comes up{} known: {}",
                or_semicolon(did_you_mean(near)),
                list(known.iter().map(String::as_str))
            ),
        };
        let message = format!("checkpoint.best = \"{best}\" {what}");
        refused.push(recipe.refusal(table, "checkpoint.best", &message));
    }
    refused
}

/// Why a stage has no evaluation, and what to do about it.
fn no_evaluation(stage: &Stage) -> String {
    match stage.eval {
        None => "the stage has no [eval]; add [eval]".to_owned(),
        Some(_) => "[eval] of the stage never comes to one: at_start and at_end are false, and no step is one of every; set one of them".to_owned(),
    }
}

/// Whether a run's directory can be made, and its checkpoints fit on its disk: of each trial those of its largest model, with the
/// optimiser. A dry run asks the system whether it may write, and writes nothing.
pub(super) fn room(folder: &Path, dry_run: bool, trials: &[(Vec<Stage>, &Models)], found: &mut Found) {
    if let Err(error) = claimable(folder, dry_run) {
        return found.refuse("--out", &error);
    }
    let Some(free) = existing(folder).and_then(|folder| rustix::fs::statvfs(folder).ok()) else { return };
    // Some file systems say nothing of their size.
    if free.f_blocks == 0 {
        return;
    }
    let free = free.f_bavail.saturating_mul(free.f_frsize);
    let folder = folder.display();
    if free < LEAST {
        let text = format!(
            "{folder}: its disk has {} kB left, too little for a run's own files; make room, or choose another with --out",
            free >> 10
        );
        return found.refuse("--out", &Error::Checkpoint(text));
    }
    let mut all: u64 = 0;
    for (stages, models) in trials {
        let training = stages.iter().filter(|stage| stage.needs().trains);
        let sizes: Vec<(u64, u64)> = training.filter_map(|stage| checkpoints(stage, models)).collect();
        let one = sizes.iter().map(|(one, _)| *one).max().unwrap_or(0);
        if one > free {
            let text = format!(
                "{folder}: a checkpoint has about {}, and its disk has {} left; make room, or choose another with --out",
                gigabytes(one),
                gigabytes(free)
            );
            return found.refuse("--out", &Error::Checkpoint(text));
        }
        all = all.saturating_add(sizes.iter().map(|(_, kept)| *kept).max().unwrap_or(0));
    }
    if all > free {
        let of = if trials.len() > 1 { format!(" of {} trials", trials.len()) } else { String::new() };
        found.note(format!(
            "the checkpoints{of} that are kept at once come to about {}, and the disk of {folder} has {} left; checkpoint.keep_last = 1, or \
             checkpoint.save_optimizer = false, takes less",
            gigabytes(all),
            gigabytes(free)
        ));
    }
}

/// The bytes of a checkpoint of the stage, and of all that there are at once; none where its model is not known.
fn checkpoints(stage: &Stage, models: &Models) -> Option<(u64, u64)> {
    let Sought::Known(known) = models.of(&stage.policy) else { return None };
    // Weights in two bytes or four, and what the optimiser remembers of those that train.
    let width = stage.policy.dtype.kind(tch::Device::Cpu).elt_size_in_bytes() as u64;
    let weights = (known.shape.size() as u64).saturating_mul(width);
    let optimizer = trained(stage, &known.shape).remembered as u64;
    // A new one is written before an old one goes.
    let kept = stage.checkpoint.keep_last.max(1) as u64 + 1;
    let remembering = if stage.checkpoint.save_optimizer { kept } else { 2 };
    let all = weights.saturating_mul(kept).saturating_add(optimizer.saturating_mul(remembering));
    Some((weights.saturating_add(optimizer), all))
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

/// The nearest folder around `path` that is there.
fn existing(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find(|path| path.exists()).map(Path::to_path_buf)
}

/// Bytes that a run without checkpoints takes at least: its recipe, its lines, its report.
const LEAST: u64 = 1 << 20;

/// Bytes of a file's name, at most.
const LONGEST_NAME: usize = 255;

/// Whether a run's directory can be made at `path`; nothing of it is left, and a dry run makes nothing.
///
/// # Errors
/// [`Error::Checkpoint`] where a file is in its place, or where nothing can be written.
fn claimable(path: &Path, dry_run: bool) -> Result<()> {
    let refuse = |why: String| {
        Err(Error::Checkpoint(format!("{}: {why}; choose another folder with --out", path.display())))
    };
    if let Some(name) = path.iter().find(|name| name.len() > LONGEST_NAME) {
        return refuse(format!(
            "a name of {} bytes is longer than the {LONGEST_NAME} that disks take",
            name.len()
        ));
    }
    if let Some(link) = path.ancestors().find(|path| path.is_symlink() && !path.exists()) {
        return refuse(format!("{} is a link to what is not there", link.display()));
    }
    let Some(around) = existing(path) else { return refuse("there is no such place".into()) };
    if !around.is_dir() {
        return refuse(format!("{} is a file, not a folder", around.display()));
    }
    let may = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    let written = match dry_run {
        true => rustix::fs::access(&around, may).map_err(std::io::Error::from),
        false => try_to_write(&around),
    };
    written.or_else(|error| refuse(format!("nothing can be written in {} ({error})", around.display())))
}
