//! Models and datasets of the Hugging Face Hub, through its cache on disk.

mod cache;
mod card;
mod identity;
mod lfs;
mod listing;
mod local;
mod push;
mod source;
mod transfer;

pub use identity::DatasetId;
pub(super) use identity::without_part;
pub use push::{Compared, Sent, Target};

use super::Split;
use crate::error::{Error, Result};
use crate::limited;
use cache::{Kind, files_in};
use card::Card;
use identity::RepoId;
use serde_json::Value;
use source::Source;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use transfer::{Client, shown};

/// Where models and datasets come from: the hub's cache, filled from the hub unless offline.
#[derive(Clone)]
pub struct Hub {
    cache: PathBuf,
    endpoint: String,
    token: Option<String>,
    offline: bool,
    /// How long it may say nothing.
    patience: Duration,
}

/// Seconds: a long listing takes some.
const PATIENCE: f64 = 20.0;

impl Hub {
    /// As the environment says: `HF_HUB_CACHE`, or else `HF_HOME`, or else `~/.cache/huggingface`; `HF_ENDPOINT`;
    /// `HF_TOKEN`, or else the file that `hf auth login` writes; `HF_HUB_OFFLINE=1`; `HF_HUB_DOWNLOAD_TIMEOUT` (seconds).
    pub fn from_env() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
        let home = text("HF_HOME")
            .map(PathBuf::from)
            .unwrap_or_else(|| std::env::home_dir().unwrap_or_default().join(".cache").join("huggingface"));
        let file = text("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token = text("HF_TOKEN").or_else(|| std::fs::read_to_string(file).ok());
        let token = token.map(|token| token.trim().to_string()).filter(|token| !token.is_empty());
        let cache = text("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_string());
        let yes = |value: String| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on");
        let seconds = text("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|seconds| seconds.trim().parse().ok());
        let offline = text("HF_HUB_OFFLINE").is_some_and(yes);
        Self::at(cache, &endpoint, token, offline).patient(seconds.unwrap_or(PATIENCE))
    }

    /// A hub at `endpoint` with its cache in `folder`.
    pub fn at(folder: PathBuf, endpoint: &str, token: Option<String>, offline: bool) -> Self {
        let endpoint = endpoint.trim().to_string();
        Self { cache: folder, endpoint, token, offline, patience: patience(PATIENCE) }
    }

    /// The same, given up where it says nothing for so many seconds.
    pub fn patient(self, seconds: f64) -> Self {
        Self { patience: patience(seconds), ..self }
    }

    /// The folder of a model: `model` itself if it is one, or else the snapshot of the hub's
    /// `owner/name[@revision]`, downloaded where it is not in the cache yet.
    pub fn model(&self, model: &str) -> Result<PathBuf> {
        if Path::new(model).is_dir() {
            return Ok(PathBuf::from(model));
        }
        let repo = RepoId::parse(model).map_err(|what| {
            Error::Model(format!(
                "{model:?} is neither a folder here nor a model of the hub (owner/name): {what}"
            ))
        })?;
        let source = self.source(&repo, Kind::Model);
        let folder = source.fetch(model_files)?;
        let names = files_in(&folder);
        if !names.iter().any(|name| name == "config.json")
            || !names.iter().any(|name| name.ends_with(".safetensors"))
        {
            return Err(Error::Model(format!(
                "{model}: {} has no config.json with .safetensors weights; models in other formats have to be \
                 converted first",
                if self.offline { "its copy in the cache (HF_HUB_OFFLINE is set)" } else { "the repository" }
            )));
        }
        if let Some(shard) = missing_shard(&folder) {
            return Err(Error::Model(format!(
                "{model}: {} lacks {shard}; run again online",
                folder.display()
            )));
        }
        Ok(folder)
    }

    /// The folder of a model that is here already: `model` itself, or its copy in the cache.
    pub fn at_hand(&self, model: &str) -> Option<PathBuf> {
        self.at_rest().model(model).ok()
    }

    /// This hub, fetching nothing.
    pub fn at_rest(&self) -> Self {
        Self { token: None, offline: true, ..self.clone() }
    }

    /// Whether this is written as a model of the hub is.
    pub fn names_model(model: &str) -> bool {
        RepoId::parse(model).is_ok()
    }

    /// Whether a model is written as the path of a folder, and there is no such folder: it is not looked for on the hub then.
    pub fn lacks_folder(&self, model: &str) -> bool {
        let path = Path::new(model);
        let begins = ["./", "../", "/", "~/", "checkpoints/"].iter().any(|start| model.starts_with(start));
        let lies_in = |folder: &Path| !folder.as_os_str().is_empty() && folder.is_dir();
        !path.exists() && (begins || path.parent().is_some_and(lies_in) && self.at_hand(model).is_none())
    }

    /// What keeps a source of rows from being read here without asking the hub, where it is a dataset of the hub.
    pub fn lacks_dataset(&self, source: &str, split: Split) -> Option<Lack> {
        let id = source.starts_with("hub:").then(|| DatasetId::parse(source).ok()).flatten()?;
        self.at_rest().dataset(&id, split).err()?;
        let converted = RepoId { revision: "refs/convert/parquet".to_string(), ..id.repo.clone() };
        let copy = |repo: &RepoId| self.source(repo, Kind::Dataset).copy();
        let Some((files, card)) = copy(&id.repo).or_else(|| copy(&converted)) else {
            return Some(Lack::Copy("of which this machine has no copy yet".to_owned()));
        };
        let (wanted, known) = (id.splits(split), id.known_splits(&files, &card));
        let configs: Vec<String> = card.configs().into_iter().map(str::to_owned).collect();
        let instead = id.instead(&known, &configs).unwrap_or_default();
        // What its card names is all there is; of files, a copy may have some.
        let never = id.is_described(&card) && !known.iter().any(|known| wanted.contains(&known.as_str()));
        let wanted = wanted.join(" or ");
        Some(match self.offline || never {
            true => Lack::Split(format!(
                "{id}: there is no file of split {wanted} in this machine's copy{instead}"
            )),
            false => Lack::Copy(format!("of which this machine's copy has no split {wanted} yet")),
        })
    }

    /// Why a model that is no folder here cannot be had, as far as is known without asking the hub: a name that is none of the hub's; offline also
    /// one whose copy is not in the cache.
    pub fn lacks_model(&self, model: &str) -> Option<Error> {
        match RepoId::parse(model) {
            Ok(_) if !self.offline => None,
            _ => self.model(model).err(),
        }
    }

    /// The files of a dataset's split, sorted. Repositories without plain files are read from the hub's own Parquet
    /// conversion.
    pub fn dataset(&self, id: &DatasetId, split: Split) -> Result<Vec<PathBuf>> {
        let own = self.source(&id.repo, Kind::Dataset);
        let converted = RepoId { revision: "refs/convert/parquet".to_string(), ..id.repo.clone() };
        let (mut known, mut configs) = (Vec::new(), Vec::new());
        let mut choose = |files: &[String], card: &Card| {
            known.extend(id.known_splits(files, card));
            configs.extend(card.configs().into_iter().map(str::to_owned));
            id.choose(files, card, split)
        };
        let mut chosen = own.fetch_chosen(&mut choose)?;
        if chosen.is_empty() && id.repo.revision == "main" {
            let source = self.source(&converted, Kind::Dataset);
            // Its absence says less than what the repository itself lacks.
            chosen = source.fetch_chosen(&mut choose).unwrap_or_default();
        }
        if chosen.is_empty() {
            known.sort();
            known.dedup();
            configs.dedup();
            let offline = if self.offline { " in the cache, and HF_HUB_OFFLINE is set" } else { "" };
            return Err(Error::Data(format!(
                "{id}: no .parquet, .jsonl or .json file of split {}{offline}{}",
                id.splits(split).join(" or "),
                id.instead(&known, &configs).unwrap_or_else(|| {
                    if self.offline { "; unset it to download".to_owned() } else { String::new() }
                })
            )));
        }
        Ok(chosen)
    }

    fn source<'a>(&'a self, repo: &'a RepoId, kind: Kind) -> Source<'a> {
        Source::new(self, repo, kind)
    }

    fn client(&self) -> Client {
        Client::new(&self.endpoint, self.token.clone(), self.patience)
    }

    /// What its addresses begin with.
    fn root(&self) -> &str {
        self.endpoint.trim_end_matches('/')
    }
}

/// So many seconds, of a tenth to an hour.
fn patience(seconds: f64) -> Duration {
    Duration::from_secs_f64(if seconds.is_nan() { PATIENCE } else { seconds.clamp(0.1, 3600.0) })
}

/// Why rows of the hub are not read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// They have not been fetched, and how far they have.
    Copy(String),
    /// There are none: what is said of that.
    Split(String),
}

impl fmt::Debug for Hub {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, token, endpoint) = (self.cache.display(), self.token.is_some(), shown(&self.endpoint));
        write!(f, "Hub({endpoint} in {folder}, token: {token}, offline: {})", self.offline)
    }
}

/// What a model needs, at the top of its repository: its description, its tokenizer and its weights, of which
/// `model….safetensors` where there are others too.
fn model_files(files: &[String]) -> Vec<String> {
    let top = || files.iter().filter(|name| !name.contains('/'));
    let described = |name: &str| matches!(name, "config.json" | "model.safetensors.index.json");
    let mut chosen: Vec<_> = top()
        .filter(|name| described(name) || super::tokenizer::FILES.contains(&name.as_str()))
        .cloned()
        .collect();
    let weights: Vec<_> = top().filter(|name| name.ends_with(".safetensors")).cloned().collect();
    let (usual, others): (Vec<_>, Vec<_>) = weights.into_iter().partition(|name| name.starts_with("model"));
    chosen.extend(if usual.is_empty() { others } else { usual });
    chosen
}

/// A file that the index of sharded weights names and the folder lacks.
fn missing_shard(folder: &Path) -> Option<String> {
    let index = limited::bytes(&folder.join("model.safetensors.index.json"), limited::INDEX).ok()?;
    let index: Value = serde_json::from_slice(&index).ok()?;
    let shards = index["weight_map"].as_object()?.values().filter_map(Value::as_str);
    shards.into_iter().find(|name| !folder.join(name).exists()).map(str::to_string)
}
