//! One repository of the hub at one revision: what it lists, what is downloaded of it, what the cache has.

use super::Hub;
use super::identity::RepoId;
use crate::error::{Error, Result};
use hf_hub::api::sync::{ApiError, ApiRepo};
use hf_hub::{Repo, RepoType};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One repository at one revision.
pub(super) struct Source<'a> {
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

impl<'a> Source<'a> {
    pub(super) fn new(hub: &'a Hub, id: &'a RepoId, kind: RepoType) -> Self {
        Self { hub, id, kind, repo: Repo::with_revision(id.name.clone(), kind, id.revision.clone()) }
    }
}

impl Source<'_> {
    /// The snapshot's folder after the files that `choose` names are in it.
    pub(super) fn fetch(&self, choose: impl Fn(&[String]) -> Vec<String>) -> Result<PathBuf> {
        self.fetch_named(choose).map(|(folder, _)| folder)
    }

    /// The chosen files themselves.
    pub(super) fn fetch_chosen(
        &self,
        choose: impl Fn(&[String]) -> Result<Vec<String>>,
    ) -> Result<Vec<PathBuf>> {
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
    pub(super) fn present(&self, folder: &Path) -> Vec<String> {
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

/// A relative path that stays where it is put.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('\\')
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_leave_the_cache_are_refused() {
        assert!(!is_plain("../x") && !is_plain("/x") && !is_plain("a/../b") && is_plain("a/b.json"));
    }
}
