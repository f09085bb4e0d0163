//! Models and datasets of the Hugging Face Hub, through its cache on disk.

use super::Split;
use crate::error::{Error, Result};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where models and datasets come from: the hub's cache, filled from the hub unless offline.
pub struct Hub {
    cache: Cache,
    endpoint: String,
    token: Option<String>,
    offline: bool,
}

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RepoId {
    name: String,
    revision: String,
}

/// `hub:owner/name[:config][/split][@revision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetId {
    repo: RepoId,
    config: Option<String>,
    split: Option<String>,
}

impl Hub {
    /// As the environment says: `HF_HUB_CACHE`, or else `HF_HOME`, or else `~/.cache/huggingface`; `HF_ENDPOINT`;
    /// `HF_TOKEN`, or else the file that `hf auth login` writes; `HF_HUB_OFFLINE=1`.
    pub fn from_env() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
        let home = Cache::from_env();
        let token = text("HF_TOKEN").map(|token| token.trim().to_string()).or_else(|| home.token());
        let cache = text("HF_HUB_CACHE").map_or(home, |folder| Cache::new(folder.into()));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_string());
        let yes = |value: String| matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on");
        Self { cache, endpoint, token, offline: text("HF_HUB_OFFLINE").is_some_and(yes) }
    }

    /// A hub at `endpoint` with its cache in `folder`.
    pub fn at(folder: PathBuf, endpoint: &str, token: Option<String>, offline: bool) -> Self {
        Self { cache: Cache::new(folder), endpoint: endpoint.to_string(), token, offline }
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
        let source = self.source(&repo, RepoType::Model);
        let folder = source.fetch(model_files)?;
        let names = source.present(&folder);
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
        let (cache, endpoint) = (self.cache.clone(), self.endpoint.clone());
        Self { cache, endpoint, token: None, offline: true }.model(model).ok()
    }

    /// The files of a dataset's split, sorted. Repositories without plain files are read from the hub's own Parquet
    /// conversion.
    pub fn dataset(&self, id: &DatasetId, split: Split) -> Result<Vec<PathBuf>> {
        let own = self.source(&id.repo, RepoType::Dataset);
        let converted = RepoId { revision: "refs/convert/parquet".to_string(), ..id.repo.clone() };
        let mut chosen = own.fetch_chosen(|files| id.choose(files, split))?;
        if chosen.is_empty() && id.repo.revision == "main" {
            let source = self.source(&converted, RepoType::Dataset);
            // Its absence says less than what the repository itself lacks.
            chosen = source.fetch_chosen(|files| id.choose(files, split)).unwrap_or_default();
        }
        if chosen.is_empty() {
            return Err(Error::Data(format!(
                "{id}: no .parquet, .jsonl or .json file of split {}{}",
                id.splits(split).join(" or "),
                if self.offline {
                    " in the cache, and HF_HUB_OFFLINE is set; unset it to download"
                } else {
                    ""
                }
            )));
        }
        Ok(chosen)
    }

    fn source<'a>(&'a self, repo: &'a RepoId, kind: RepoType) -> Source<'a> {
        let at = |revision: &str| Repo::with_revision(repo.name.clone(), kind, revision.to_string());
        Source { hub: self, id: repo, kind, repo: at(&repo.revision) }
    }

    fn api(&self) -> Result<Api> {
        ApiBuilder::from_cache(self.cache.clone())
            .with_endpoint(self.endpoint.trim_end_matches('/').to_string())
            .with_token(self.token.clone())
            .with_retries(2)
            .build()
            .map_err(|e| Error::Model(format!("the hub's client cannot start: {e}")))
    }
}

impl fmt::Debug for Hub {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, token) = (self.cache.path(), self.token.is_some());
        write!(f, "Hub({} in {}, token: {token}, offline: {})", self.endpoint, folder.display(), self.offline)
    }
}

/// One repository at one revision.
struct Source<'a> {
    hub: &'a Hub,
    id: &'a RepoId,
    kind: RepoType,
    repo: Repo,
}

/// A file of a repository, with its size where the hub tells it.
struct Remote {
    name: String,
    size: Option<u64>,
}

impl Source<'_> {
    /// The snapshot's folder after the files that `choose` names are in it.
    fn fetch(&self, choose: impl Fn(&[String]) -> Vec<String>) -> Result<PathBuf> {
        self.fetch_named(choose).map(|(folder, _)| folder)
    }

    /// The chosen files themselves.
    fn fetch_chosen(&self, choose: impl Fn(&[String]) -> Result<Vec<String>>) -> Result<Vec<PathBuf>> {
        let mut wrong = None;
        let (folder, names) = self.fetch_named(|files| {
            choose(files).unwrap_or_else(|error| {
                wrong.replace(error);
                Vec::new()
            })
        })?;
        match wrong {
            Some(error) => Err(error),
            None => Ok(names.iter().map(|name| folder.join(name)).collect()),
        }
    }

    fn fetch_named(
        &self,
        mut choose: impl FnMut(&[String]) -> Vec<String>,
    ) -> Result<(PathBuf, Vec<String>)> {
        let (commit, remote) = match self.hub.offline {
            true => return self.cached(choose, "HF_HUB_OFFLINE is set; unset it to download"),
            false => {
                let repo = self.hub.api()?.repo(self.repo.clone());
                match self.listing(&repo) {
                    Ok(listing) => listing,
                    Err(error) if has_answered(&error) => return Err(self.refused(&error)),
                    Err(error) => {
                        return self
                            .cached(choose, &format!("{} cannot be reached: {error}", self.hub.endpoint));
                    }
                }
            }
        };
        let folder = self.snapshot(&commit);
        let names: Vec<String> = remote.iter().map(|file| file.name.clone()).collect();
        let chosen = choose(&names);
        // Pinned to the commit that was listed, so that the files of one snapshot belong together.
        let pinned = Repo::with_revision(self.id.name.clone(), self.kind, commit.clone());
        let repo = self.hub.api()?.repo(pinned);
        for file in remote.iter().filter(|file| chosen.contains(&file.name)) {
            self.download(&repo, file, &folder.join(&file.name))?;
        }
        let cache = self.hub.cache.repo(self.repo.clone());
        cache.create_ref(&commit).map_err(Error::io(self.hub.cache.path()))?;
        Ok((folder, chosen))
    }

    fn listing(&self, repo: &ApiRepo) -> std::result::Result<(String, Vec<Remote>), ApiError> {
        let mut response = repo.info_request().query("blobs", "true").call().map_err(Box::new)?;
        let info: Value = response.body_mut().read_json().map_err(Box::new)?;
        let commit = info["sha"].as_str().unwrap_or_default().to_string();
        let files = info["siblings"].as_array().into_iter().flatten().filter_map(|file| {
            let name = file["rfilename"].as_str()?.to_string();
            is_plain(&name).then(|| Remote { name, size: file["size"].as_u64() })
        });
        let files = files.collect();
        if commit.is_empty() || !is_plain(&commit) {
            Err(ApiError::MissingHeader("sha"))
        } else {
            Ok((commit, files))
        }
    }

    /// One file, unless it is there whole. A download of the wrong size is taken away again.
    fn download(&self, repo: &ApiRepo, file: &Remote, path: &Path) -> Result<()> {
        let whole = |path: &Path| {
            std::fs::metadata(path).is_ok_and(|there| file.size.is_none_or(|size| size == there.len()))
        };
        if whole(path) {
            return Ok(());
        }
        discard(path);
        let downloaded = match repo.download(&file.name) {
            // A part left by an earlier attempt does not fit the file: start it again.
            Err(ApiError::InvalidResume) => {
                self.discard_parts();
                repo.download(&file.name)
            }
            result => result,
        };
        let downloaded = downloaded.map_err(|error| self.broken(file, &error))?;
        if whole(&downloaded) && downloaded == path {
            return Ok(());
        }
        discard(&downloaded);
        Err(self.error(format!(
            "{}: the download of {} is not whole; run again to repeat it",
            self.id, file.name
        )))
    }

    fn broken(&self, file: &Remote, error: &ApiError) -> Error {
        if status(error).is_some() {
            return self.refused(error);
        }
        self.error(format!(
            "{}: the download of {} broke off ({error}); run again to go on from there",
            self.id, file.name
        ))
    }

    fn cached(
        &self,
        mut choose: impl FnMut(&[String]) -> Vec<String>,
        why: &str,
    ) -> Result<(PathBuf, Vec<String>)> {
        let folder = self.cached_folder().ok_or_else(|| {
            self.error(format!(
                "{} is not in the cache ({}), and {why}",
                self.id,
                self.hub.cache.path().display()
            ))
        })?;
        let chosen = choose(&self.present(&folder));
        Ok((folder, chosen))
    }

    fn cached_folder(&self) -> Option<PathBuf> {
        let reference = self.root().join("refs").join(&self.id.revision);
        // A revision that is a commit has no reference of its own.
        let commit = std::fs::read_to_string(reference).unwrap_or_else(|_| self.id.revision.clone());
        Some(self.snapshot(commit.trim())).filter(|folder| folder.is_dir())
    }

    /// The files of a snapshot, by their names in the repository, sorted.
    fn present(&self, folder: &Path) -> Vec<String> {
        fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                match entry.path().is_dir() {
                    true => walk(&entry.path(), &format!("{name}/"), names),
                    false if entry.path().exists() => names.push(name),
                    false => {}
                }
            }
        }
        let mut names = Vec::new();
        walk(folder, "", &mut names);
        names.sort();
        names
    }

    fn root(&self) -> PathBuf {
        self.hub.cache.path().join(self.repo.folder_name())
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.root().join("snapshots").join(commit)
    }

    fn discard_parts(&self) {
        for entry in std::fs::read_dir(self.root().join("blobs")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "part") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn refused(&self, error: &ApiError) -> Error {
        let (id, endpoint) = (self.id, &self.hub.endpoint);
        let token =
            if self.hub.token.is_some() { "HF_TOKEN gives no access to it" } else { "HF_TOKEN is not set" };
        self.error(match status(error) {
            Some(401 | 403) => format!(
                "{id}: {endpoint} refuses access. The name is wrong, or the repository is private or gated and \
                 {token}: accept its licence on the hub's page and set HF_TOKEN to a token that may read it"
            ),
            Some(404) => format!("{id}: {endpoint} has no such repository or revision; check the spelling"),
            _ => format!("{id}: {endpoint} answers: {error}"),
        })
    }

    fn error(&self, text: String) -> Error {
        match self.kind {
            RepoType::Dataset => Error::Data(text),
            _ => Error::Model(text),
        }
    }
}

/// Takes a file away, and what its link in the snapshot points to.
fn discard(path: &Path) {
    if let Ok(blob) = path.canonicalize() {
        let _ = std::fs::remove_file(blob);
    }
    let _ = std::fs::remove_file(path);
}

/// The status of an answer that is an error; hf-hub keeps it only inside its message.
fn status(error: &ApiError) -> Option<u16> {
    let text = error.to_string();
    let (_, code) = text.rsplit_once("http status: ")?;
    code.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

/// Whether the hub was reached and said no, as against no connection or a server that is down.
fn has_answered(error: &ApiError) -> bool {
    status(error).is_some_and(|code| code < 500) || matches!(error, ApiError::MissingHeader(_))
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
    let index = std::fs::read(folder.join("model.safetensors.index.json")).ok()?;
    let index: Value = serde_json::from_slice(&index).ok()?;
    let shards = index["weight_map"].as_object()?.values().filter_map(Value::as_str);
    shards.into_iter().find(|name| !folder.join(name).exists()).map(str::to_string)
}

/// A relative path that stays where it is put.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('\\')
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

impl RepoId {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        let part = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty()
                && part.chars().all(allowed)
                && !part.starts_with(['.', '-'])
                && !part.contains("..")
        };
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|text| part(text)) {
            return Err(
                "such a name has the form owner/name, of letters, digits, `-`, `_` and `.`".to_string()
            );
        }
        if !revision.split('/').all(part) {
            return Err(format!("{revision:?} is not a revision (a branch, a tag or a commit)"));
        }
        Ok(Self { name: name.to_string(), revision: revision.to_string() })
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

impl DatasetId {
    /// Reads `hub:owner/name[:config][/split][@revision]`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::Data(format!("{text:?} is not hub:owner/name[:config][/split][@revision]: {what}"))
        };
        let rest = text.strip_prefix("hub:").ok_or_else(|| wrong("it does not begin with hub:"))?;
        let (rest, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let (name, config, split) = match rest.split_once(':') {
            Some((name, tail)) => {
                let (config, split) = tail.split_once('/').map_or((tail, None), |(c, s)| (c, Some(s)));
                (name.to_string(), Some(config), split)
            }
            None => {
                let mut parts = rest.splitn(3, '/');
                let owner_and_name: Vec<_> = parts.by_ref().take(2).collect();
                (owner_and_name.join("/"), None, parts.next())
            }
        };
        if config.is_some_and(str::is_empty)
            || split.is_some_and(|split| split.is_empty() || split.contains('/'))
        {
            return Err(wrong("the config or the split is empty, or has a slash"));
        }
        let repo = RepoId::parse(&format!("{name}@{revision}")).map_err(|what| wrong(&what))?;
        Ok(Self { repo, config: config.map(str::to_string), split: split.map(str::to_string) })
    }

    fn splits(&self, split: Split) -> Vec<&str> {
        match (&self.split, split) {
            (Some(split), _) => vec![split],
            (None, Split::Train) => vec!["train"],
            (None, Split::Eval) => vec!["test", "validation", "valid", "dev", "eval"],
        }
    }

    /// The files of the split, those of the first of its possible names that there are.
    fn choose(&self, files: &[String], split: Split) -> Result<Vec<String>> {
        let readable =
            |file: &&String| [".parquet", ".jsonl", ".json"].iter().any(|ending| file.ends_with(ending));
        for name in self.splits(split) {
            let of_split = files.iter().filter(readable).filter(|file| is_of_split(file, name));
            let mut chosen: Vec<String> = of_split.filter(|file| self.is_of_config(file)).cloned().collect();
            chosen.sort();
            self.check_one_config(&chosen)?;
            if !chosen.is_empty() {
                return Ok(chosen);
            }
        }
        Ok(Vec::new())
    }

    fn is_of_config(&self, file: &str) -> bool {
        let Some(config) = &self.config else { return true };
        let mut parts = file.rsplit('/');
        let stem = parts.next().unwrap_or_default();
        stem.starts_with(config.as_str()) || parts.any(|folder| folder == config)
    }

    /// Files in several folders are several configs, or one beside its copy in another form.
    fn check_one_config(&self, chosen: &[String]) -> Result<()> {
        let folder = |file: &String| file.split('/').rev().skip(1).map(str::to_string).collect::<Vec<_>>();
        let mut folders: Vec<_> = chosen.iter().map(folder).collect();
        folders.sort();
        folders.dedup();
        if folders.len() < 2 {
            return Ok(());
        }
        let names: Vec<_> = chosen.iter().map(String::as_str).take(8).collect();
        Err(Error::Data(format!(
            "{self}: several configs have this split ({}); name one, as in hub:{}:{}",
            names.join(", "),
            self.repo.name,
            chosen[0].split('/').next().unwrap_or("config")
        )))
    }
}

/// `train.jsonl`, `train-00000-of-00002.parquet`, `data/train-….parquet`, `config/train/0000.parquet`,
/// `config-train.parquet`.
fn is_of_split(file: &str, split: &str) -> bool {
    let (folders, name) = file.rsplit_once('/').unwrap_or(("", file));
    let stem = name.split('.').next().unwrap_or_default();
    let named = |stem: &str| {
        stem.split(['-', '_']).next() == Some(split) || stem.rsplit(['-', '_']).next() == Some(split)
    };
    named(stem) || folders.split('/').any(|folder| folder == split)
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hub:{}", self.repo.name)?;
        self.config.iter().try_for_each(|config| write!(f, ":{config}"))?;
        self.split.iter().try_for_each(|split| write!(f, "/{split}"))?;
        if self.repo.revision == "main" { Ok(()) } else { write!(f, "@{}", self.repo.revision) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_cache_are_refused() {
        for bad in ["../x", "a/../b", "a/b/c", "/etc", "a/b@../c", "", "a//b", ".a/b"] {
            assert!(RepoId::parse(bad).is_err(), "{bad}");
        }
        assert!(RepoId::parse("Qwen/Qwen2.5-0.5B@refs/pr/1").is_ok());
        assert!(!is_plain("../x") && !is_plain("/x") && !is_plain("a/../b") && is_plain("a/b.json"));
    }

    #[test]
    fn dataset_names_have_their_parts() {
        let id = |text| DatasetId::parse(text).expect("a dataset's name");
        assert_eq!(id("hub:a/b").config, None);
        assert_eq!(id("hub:a/b/test").split.as_deref(), Some("test"));
        assert_eq!(id("hub:a/b:main/test@v1").to_string(), "hub:a/b:main/test@v1");
        assert!(DatasetId::parse("hub:a/b:").is_err());
    }

    #[test]
    fn a_splits_files_are_found_in_the_usual_layouts() {
        let files = [
            "README.md",
            "main/train-00000-of-00001.parquet",
            "main/test-00000-of-00001.parquet",
            "socratic/train-00000-of-00001.parquet",
        ]
        .map(str::to_string);
        let choose = |text, split| DatasetId::parse(text).and_then(|id| id.choose(&files, split));
        assert_eq!(
            choose("hub:a/b:main", Split::Train).expect("one config"),
            ["main/train-00000-of-00001.parquet"]
        );
        assert_eq!(choose("hub:a/b", Split::Eval).expect("one config"), ["main/test-00000-of-00001.parquet"]);
        let error = choose("hub:a/b", Split::Train).expect_err("two configs").to_string();
        assert!(error.contains("hub:a/b:main"), "{error}");
        assert!(is_of_split("train.jsonl", "train") && is_of_split("default/train/0000.parquet", "train"));
        assert!(!is_of_split("constrain.jsonl", "train"));
    }
}
