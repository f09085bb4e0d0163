//! One checkpoint: a folder holding the model, the optimiser and the state that a run goes on from.

use super::Checkpoint;
use super::atomic::remove;
use super::extent::{Extent, Extents};
use super::ranges::Ranges;
use super::rundir::RunDir;
use super::sealed::{unsealed, write_sealed};
use super::takeover::entries;
use super::tensors::save_tensors;
use super::trials::Trials;
use crate::nearest::nearest;
use crate::{Error, Result, limited};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// The layout of a checkpoint folder. A reader refuses any other.
const FORMAT: u32 = 2;
const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const DELETE: &str = "delete its folder to go on from an older checkpoint";

/// How far a run has come, as the caller of [`RunDir::save`](super::RunDir::save) states it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The stage's name; empty where the recipe has one unnamed stage.
    pub stage: String,
    /// Which repetition of the stages this is, counted from 1.
    pub round: usize,
    /// Steps of the stage that are done.
    pub step: usize,
    /// The run's seed, which all randomness and the order of the data derive from.
    pub seed: u64,
    /// The newest value of each metric.
    pub metrics: BTreeMap<String, f64>,
    /// Whatever else the loop needs to continue exactly.
    pub extra: Value,
    /// How far the run's files had come, which reached the disk before this.
    #[serde(default)]
    pub files: Extents,
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// The layout's number.
    pub format: u32,
    /// Counts the run's checkpoints: of two, the one with the larger number is the newer.
    pub sequence: u64,
    /// The version of this program.
    pub version: String,
    /// Whether the optimiser was written too.
    #[serde(default)]
    pub optimizer: bool,
    /// Whether it had one, which went once the run had gone on from here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// What each file of the folder but this one held when it was written.
    #[serde(default)]
    pub contents: Extents,
    /// How far the run had come.
    #[serde(flatten)]
    pub progress: Progress,
}

/// A complete checkpoint on disk. The folder itself is the model's.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// The folder; `config.json` and `model.safetensors` lie directly in it.
    pub path: PathBuf,
    /// What its `state.json` says.
    pub state: CheckpointState,
}

impl Progress {
    /// The checkpoint's folder name: `step-000050`, or `warmup-r2-step-000050` in round 2 of the stage `warmup`.
    pub fn folder(&self) -> String {
        let mut name = String::new();
        if !self.stage.is_empty() {
            name += &format!("{}-", self.stage);
        }
        if self.round > 1 {
            name += &format!("r{}-", self.round);
        }
        format!("{name}step-{:06}", self.step)
    }
}

impl Saved {
    /// The folder's name.
    pub fn name(&self) -> String {
        self.state.progress.folder()
    }

    /// The stage, and its round.
    pub(super) fn of(&self) -> (&str, usize) {
        (&self.state.progress.stage, self.state.progress.round)
    }

    /// Reads the checkpoint in `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Saved> {
        let path = path.as_ref();
        let file = path.join(STATE);
        let bytes = limited::notes(&file).map_err(Error::io(&file))?;
        let unusable = |what: String| Error::Checkpoint(format!("{} {what}", file.display()));
        let format =
            serde_json::from_slice::<Value>(&bytes).map_or(Value::Null, |value| value["format"].clone());
        if format.is_u64() && format != FORMAT {
            return Err(unusable(format!(
                "has format {format}, this version reads {FORMAT}; use the version that wrote it"
            )));
        }
        let value = unsealed(&bytes).map_err(|what| unusable(format!("{what}; {DELETE}")))?;
        let state = serde_json::from_value(value)
            .map_err(|error| unusable(format!("is incomplete: {error}; {DELETE}")))?;
        Ok(Saved { path: path.to_path_buf(), state })
    }

    /// The newest checkpoint with a model in the run directory `path`; none if it is no run directory.
    ///
    /// # Errors
    /// A checkpoint that cannot be read; a run of several trials, of which one has to be named.
    pub fn newest_model(path: impl AsRef<Path>) -> Result<Option<Saved>> {
        if let Some(trials) = Trials::read(path.as_ref())?
            && let Some(first) = trials.trials.first()
        {
            return Err(Error::Checkpoint(format!(
                "{} is a run of {} trials; name one of them, such as {}",
                path.as_ref().display(),
                trials.trials.len(),
                path.as_ref().join(&first.name).display()
            )));
        }
        let all = RunDir::look(path.as_ref())?;
        Ok(all.into_iter().rfind(|saved| saved.path.join("config.json").is_file()))
    }

    /// Refuses a checkpoint of which a bit is not what was written.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] that names the file.
    pub fn check(&self) -> Result<()> {
        for (name, written) in &self.state.contents {
            let file = self.path.join(name);
            if Extent::of(&file, written.bytes + 1)? != *written {
                let what = if file.exists() {
                    "is not any more what was written"
                } else {
                    "was written and is gone"
                };
                return Err(Error::Checkpoint(format!("{} {what}", file.display())));
            }
        }
        Ok(())
    }

    /// The optimiser's tensors, those of all ranks' parts, or none where the recipe left them out.
    ///
    /// # Errors
    /// A file that was written and is gone, or that is not whole.
    pub fn optimizer(&self) -> Result<Option<Ranges>> {
        let mut files = OptimizerPart::files(&self.path)?;
        if files.is_empty() && self.state.optimizer {
            files.push(self.path.join(OPTIMIZER));
        }
        let gone = files.iter().find(|file| !file.exists());
        if let Some(gone) = gone {
            return Err(Error::Checkpoint(format!("{} was written and is gone", gone.display())));
        }
        (!files.is_empty()).then(|| Ranges::open(&files)).transpose()
    }

    /// Removes its optimiser: the state does not tell of it any more before it goes.
    pub(super) fn drop_optimizer(&self) -> Result<()> {
        let files = OptimizerPart::files(&self.path)?;
        if files.is_empty() {
            return Ok(());
        }
        let mut state = CheckpointState { optimizer: false, dropped: true, ..self.state.clone() };
        state.contents.retain(|name, _| !files.iter().any(|file| file.ends_with(name)));
        write_state(&self.path, &state)?;
        files.iter().filter(|file| file.exists()).try_for_each(|file| remove(file))
    }

    /// Why a stage that learns cannot go on from here for want of an optimiser.
    pub fn lacks_optimizer(&self) -> String {
        format!(
            "{}: it was written with checkpoint.save_optimizer = false, so --resume cannot continue exactly; \
             start a new run with policy.model set to that folder",
            self.path.display()
        )
    }

    /// Refuses a checkpoint that has lost its optimiser.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with what to do.
    pub fn can_go_on(&self) -> Result<()> {
        if self.state.dropped { Err(Error::Checkpoint(self.lacks_optimizer())) } else { Ok(()) }
    }

    /// Writes `progress` in the place of what the checkpoint says of it: the figures of an evaluation that came after it.
    pub fn note(&self, progress: &Progress) -> Result<()> {
        write_state(&self.path, &CheckpointState { progress: progress.clone(), ..self.state.clone() })
    }
}

/// What a rank holds of the optimiser: all of it, where it is the only one.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerPart<'a> {
    /// The rank.
    pub rank: usize,
    /// How many parts there are.
    pub count: usize,
    /// Its tensors.
    pub tensors: &'a [(String, Tensor)],
}

impl OptimizerPart<'_> {
    /// Writes the part into a checkpoint's folder; it has reached the disk then.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join(Self::file(self.rank, self.count));
        save_tensors(&file, self.tensors)?;
        std::fs::File::open(&file).and_then(|file| file.sync_all()).map_err(Error::io(&file))
    }

    fn file(rank: usize, count: usize) -> String {
        match count {
            1 => OPTIMIZER.to_string(),
            _ => format!("optimizer-{:05}-of-{count:05}.safetensors", rank + 1),
        }
    }

    /// The files of all parts that a folder has, or should have beside those that it has.
    fn files(folder: &Path) -> Result<Vec<PathBuf>> {
        let names = entries(folder)?.into_iter().map(|(name, _)| name);
        let of = |name: String| -> Option<usize> {
            if name == OPTIMIZER {
                return Some(1);
            }
            name.strip_prefix("optimizer-")?.strip_suffix(".safetensors")?.split_once("-of-")?.1.parse().ok()
        };
        let count = names.filter_map(of).max().unwrap_or(0);
        Ok((0..count).map(|rank| folder.join(Self::file(rank, count))).collect())
    }
}

/// Whether a folder of a run may be a checkpoint, by its name: `<stage>-step-NNNNNN`, of round 2 `<stage>-r2-step-NNNNNN`.
pub(super) fn is_named(name: &str) -> bool {
    let step =
        name.rsplit_once("step-").map(|(before, step)| (before.is_empty() || before.ends_with('-'), step));
    step.is_some_and(|(whole, step)| whole && step.len() >= 6 && step.bytes().all(|c| c.is_ascii_digit()))
}

/// Whether `folder` is a checkpoint: state.json is the last that is written to one.
pub(super) fn is_checkpoint(folder: &Path) -> bool {
    folder.join(STATE).is_file()
}

/// Writes what belongs to the run beside the model that lies in `folder` already.
pub(super) fn write(
    folder: &Path,
    sequence: u64,
    progress: &Progress,
    optimizer: Option<OptimizerPart>,
) -> Result<()> {
    optimizer.map_or(Ok(()), |part| part.write(folder))?;
    let version = env!("CARGO_PKG_VERSION").to_string();
    let (optimizer, progress) = (optimizer.is_some(), progress.clone());
    let contents = contents(folder)?;
    let state =
        CheckpointState { format: FORMAT, sequence, version, optimizer, dropped: false, contents, progress };
    write_state(folder, &state)
}

/// What the files of a folder and of those in it hold.
fn contents(folder: &Path) -> Result<Extents> {
    let mut all = Extents::new();
    for (name, path) in entries(folder)? {
        match path.is_dir() {
            true => {
                all.extend(contents(&path)?.into_iter().map(|(file, held)| (format!("{name}/{file}"), held)))
            }
            false => drop(all.insert(name, Extent::of(&path, u64::MAX)?)),
        }
    }
    Ok(all)
}

fn write_state(folder: &Path, state: &CheckpointState) -> Result<()> {
    let mut state = state.clone();
    // JSON has no other numbers; a metric that is not finite cannot be the best either.
    state.progress.metrics.retain(|_, value| value.is_finite());
    write_sealed(&folder.join(STATE), &state)
}

/// That there is no folder at `path`, with the one beside it that was probably meant.
pub fn no_such_folder(path: &Path) -> Error {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = folder.read_dir().into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let typed = path.file_name().unwrap_or_default().to_string_lossy();
    let remedy = match nearest(&typed, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {}?", path.with_file_name(name).display()),
        None => "`train list` shows the runs".to_owned(),
    };
    Error::Checkpoint(format!("{}: no such folder; {remedy}", path.display()))
}

/// The best of these by what `keep` names; none where it names nothing, or none has it.
pub(super) fn best<'a>(all: &'a [Saved], keep: &Checkpoint) -> Option<&'a Saved> {
    let metric = keep.best.as_ref()?;
    let value = |saved: &Saved| saved.state.progress.metrics.get(metric).copied();
    all.iter().filter(|saved| value(saved).is_some()).reduce(|best, next| {
        let better = keep.best_mode.than(value(next).unwrap_or(f64::NAN), value(best).unwrap_or(f64::NAN));
        if better { next } else { best }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run goes on from is what it was, to the last bit: state → JSON → state.
    #[test]
    fn a_state_comes_back_bit_for_bit() {
        // SplitMix64 over the bits of doubles, and the fractions that figures are made of.
        let mut seed = 1_u64;
        let mut next = || {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        let fractions = (1..=64).flat_map(|n| (0..=n).map(move |k| f64::from(k) / f64::from(n)));
        let random: Vec<f64> = std::iter::repeat_with(|| f64::from_bits(next())).take(100_000).collect();
        let extremes = [f64::MIN_POSITIVE, f64::from_bits(1), f64::MAX, -0.0];
        let all: Vec<f64> =
            fractions.chain(random).chain(extremes).filter(|value| value.is_finite()).collect();
        let progress = Progress {
            seed: u64::MAX,
            metrics: all.iter().enumerate().map(|(at, value)| (at.to_string(), *value)).collect(),
            extra: serde_json::json!({ "rates": all }),
            ..Progress::default()
        };
        let (format, sequence, version, contents) = (FORMAT, 1, String::new(), Extents::new());
        let (optimizer, dropped) = (true, false);
        let state = CheckpointState { format, sequence, version, optimizer, dropped, contents, progress };
        let told: CheckpointState =
            serde_json::from_str(&serde_json::to_string_pretty(&state).unwrap()).unwrap();
        let bits = |state: &CheckpointState| -> Vec<u64> {
            let rates = state.progress.extra["rates"].as_array().unwrap().iter();
            let rates = rates.map(|rate| rate.as_f64().unwrap());
            state.progress.metrics.values().copied().chain(rates).map(f64::to_bits).collect()
        };
        assert!(bits(&told) == bits(&state) && told == state);
    }
}
