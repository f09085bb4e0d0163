//! One repository of the hub at one revision: what it lists, what is downloaded of it, what the cache has.

use super::Hub;
use super::cache::{Fetching, Kind, RepoCache, files_in, is_commit, is_tag};
use super::card::Card;
use super::identity::RepoId;
use super::listing::{Listing, Remote};
use super::transfer::{Client, Failure, Found, patiently, shown};
use crate::digest::of_file;
use crate::error::{Error, Result};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The fewest bytes that have to come in six times the hub's patience.
const TRICKLE: u64 = 1 << 16;

/// The file that describes a dataset, and the bytes of the largest that is read.
const CARD: &str = "README.md";
const LARGEST_CARD: u64 = 1 << 20;

/// One repository at one revision.
pub(super) struct Source<'a> {
    hub: &'a Hub,
    id: &'a RepoId,
    kind: Kind,
    cache: RepoCache,
}

impl<'a> Source<'a> {
    pub(super) fn new(hub: &'a Hub, id: &'a RepoId, kind: Kind) -> Self {
        Self { hub, id, kind, cache: RepoCache::new(&hub.cache, kind, &id.name) }
    }
}

impl Source<'_> {
    /// The snapshot's folder after the files that `choose` names are in it.
    pub(super) fn fetch(&self, choose: impl Fn(&[String]) -> Vec<String>) -> Result<PathBuf> {
        self.fetch_named(|files, _| choose(files)).map(|(folder, _)| folder)
    }

    /// The chosen files themselves.
    pub(super) fn fetch_chosen(
        &self,
        mut choose: impl FnMut(&[String], &Card) -> Result<Vec<String>>,
    ) -> Result<Vec<PathBuf>> {
        let mut wrong = None;
        let (folder, names) = self.fetch_named(|files, card| {
            choose(files, card).unwrap_or_else(|error| {
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
        mut choose: impl FnMut(&[String], &Card) -> Vec<String>,
    ) -> Result<(PathBuf, Vec<String>)> {
        if self.hub.offline {
            return self.cached(choose, "HF_HUB_OFFLINE is set; unset it to download");
        }
        let client = self.hub.client();
        let Listing { commit, files: remote, .. } = match Listing::ask(&client, self.hub, self.kind, self.id)
        {
            Ok(listing) => listing,
            // The hub was reached and said no, as against no connection or a server that is down.
            Err(error @ (Failure::Refused(_) | Failure::Status(..500, _))) => {
                return Err(self.refused(&error));
            }
            Err(error) => {
                let endpoint = shown(&self.hub.endpoint);
                return self.cached(choose, &format!("{endpoint} cannot be reached: {error}; name a folder on this machine, or a mirror by HF_ENDPOINT"));
            }
        };
        let folder = self.cache.snapshot(&commit);
        let names: Vec<String> = remote.iter().map(|file| file.name.clone()).collect();
        let is_card =
            |file: &&Remote| file.name == CARD && file.size.is_some_and(|size| size <= LARGEST_CARD);
        if let Some(file) = remote.iter().find(is_card).filter(|_| self.kind == Kind::Dataset) {
            self.download(&client, &commit, file)?;
        }
        let chosen = choose(&names, &card(&folder));
        for file in remote.iter().filter(|file| chosen.contains(&file.name)) {
            self.download(&client, &commit, file)?;
        }
        self.cache.refer(&self.id.revision, &commit).map_err(Error::io(&self.hub.cache))?;
        Ok((folder, chosen))
    }

    /// One file, unless it is there whole. Pinned to the commit that was listed, so that the files of one snapshot belong together.
    fn download(&self, client: &Client, commit: &str, file: &Remote) -> Result<()> {
        let path = self.cache.snapshot(commit).join(&file.name);
        if std::fs::metadata(&path).is_ok_and(|there| file.is_whole(there.len())) {
            return Ok(());
        }
        let prefix = if self.kind == Kind::Dataset { "datasets/" } else { "" };
        let (endpoint, repository) = (self.hub.root(), &self.id.name);
        let address = format!("{endpoint}/{prefix}{repository}/resolve/{commit}/{}", encoded(&file.name));
        let passes = |stopped: &Stopped| matches!(stopped, Stopped::Hub(failure) if failure.passes());
        patiently(|| self.fetch_file(client, &address, commit, file), passes).map_err(|stopped| match stopped
        {
            Stopped::Disk(error) => error,
            Stopped::Hub(failure) => self.broken(file, &failure),
        })
    }

    /// An attempt at a file, from where the last one ended.
    fn fetch_file(
        &self,
        client: &Client,
        address: &str,
        commit: &str,
        file: &Remote,
    ) -> std::result::Result<(), Stopped> {
        let found = client.get(address, None)?;
        let tag = checked(&found, commit)?;
        let disk = |path: &Path| {
            let path = path.to_owned();
            move |error| Stopped::Disk(Error::io(path)(error))
        };
        let fetching = self.cache.fetch(&tag).map_err(disk(&self.hub.cache))?;
        match fetching.whole() {
            Some(size) if file.is_whole(size) => {}
            _ => {
                fetching.discard_blob();
                let (found, start) = continued(client, address, found, &fetching, &tag, commit, file.size)?;
                self.receive(client, found, file, &fetching, start)?;
                // The tag of a large file is what it hashes to.
                let named = tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
                if named && of_file(&fetching.part).map_err(Stopped::Disk)?.1 != tag.to_ascii_lowercase() {
                    fetching.discard();
                    return Err(
                        Failure::Broken("what came has another SHA-256 than the hub says".into()).into()
                    );
                }
                fetching.done().map_err(disk(&fetching.part))?;
            }
        }
        self.cache.link(&fetching, commit, &file.name).map_err(disk(&self.hub.cache))?;
        Ok(())
    }

    /// Writes what comes to the part, which ends `start` bytes behind the file's beginning.
    fn receive(
        &self,
        client: &Client,
        mut found: Found,
        file: &Remote,
        fetching: &Fetching,
        start: u64,
    ) -> std::result::Result<(), Stopped> {
        let length = found.response.body().content_length().map(|rest| start + rest);
        let size = file
            .size
            .or(length)
            .ok_or_else(|| Failure::Refused("the hub does not say how long it is".into()))?;
        let disk = |error| Stopped::Disk(Error::io(&fetching.part)(error));
        let mut part = fetching.open(start).map_err(disk)?;
        let mut reader = found.response.body_mut().as_reader();
        let (mut came, mut buffer) = (0, vec![0; 1 << 16]);
        let (mut since, mut before) = (Instant::now(), 0);
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(client.broke_off(&error).into()),
            };
            came += count as u64;
            if start + came > size {
                fetching.discard();
                return Err(Failure::Refused(format!("the hub sends more than its {size} bytes")).into());
            }
            part.write_all(&buffer[..count]).map_err(disk)?;
            if since.elapsed() > 6 * self.hub.patience {
                if came - before < TRICKLE {
                    return Err(Failure::Broken("hardly anything came for a while".into()).into());
                }
                (since, before) = (Instant::now(), came);
            }
        }
        if start + came < size {
            return Err(Failure::Broken(format!("it ended after {} of {size} bytes", start + came)).into());
        }
        part.sync_all().map_err(disk)?;
        Ok(())
    }

    fn broken(&self, file: &Remote, failure: &Failure) -> Error {
        match failure {
            Failure::Status(..) => self.refused(failure),
            Failure::Refused(why) => {
                let endpoint = shown(&self.hub.endpoint);
                self.error(format!("{}: {} is not taken from {endpoint}: {why}", self.id, file.name))
            }
            Failure::Broken(why) => self.error(format!(
                "{}: the download of {} broke off ({why}); run again to go on from there",
                self.id, file.name
            )),
        }
    }

    fn cached(
        &self,
        mut choose: impl FnMut(&[String], &Card) -> Vec<String>,
        why: &str,
    ) -> Result<(PathBuf, Vec<String>)> {
        let folder = self.cached_folder().ok_or_else(|| {
            self.error(format!("{} is not in the cache ({}), and {why}", self.id, self.hub.cache.display()))
        })?;
        let chosen = choose(&files_in(&folder), &card(&folder));
        Ok((folder, chosen))
    }

    /// The files of the copy that is here, and what its card says.
    pub(super) fn copy(&self) -> Option<(Vec<String>, Card)> {
        let folder = self.cached_folder()?;
        Some((files_in(&folder), card(&folder)))
    }

    fn cached_folder(&self) -> Option<PathBuf> {
        // A revision that is a commit has no reference of its own.
        let commit = self.cache.commit(&self.id.revision).unwrap_or_else(|| self.id.revision.clone());
        Some(self.cache.snapshot(&commit)).filter(|folder| is_commit(&commit) && folder.is_dir())
    }

    fn refused(&self, failure: &Failure) -> Error {
        let (id, endpoint) = (self.id, shown(&self.hub.endpoint));
        let token =
            if self.hub.token.is_some() { "HF_TOKEN gives no access to it" } else { "HF_TOKEN is not set" };
        self.error(match failure {
            Failure::Status(401 | 403, _) => format!(
                "{id}: {endpoint} refuses access. The name is wrong, or the repository is private or gated and \
                 {token}: accept its licence on the hub's page and set HF_TOKEN to a token that may read it"
            ),
            Failure::Status(404, _) => format!("{id}: {endpoint} has no such repository or revision; check the spelling"),
            _ => format!("{id}: {endpoint} answers: {failure}"),
        })
    }

    fn error(&self, text: String) -> Error {
        match self.kind {
            Kind::Dataset => Error::Data(text),
            Kind::Model => Error::Model(text),
        }
    }
}

/// The card of a dataset whose snapshot this is; one that says nothing where there is none.
fn card(folder: &Path) -> Card {
    Card::read(&std::fs::read_to_string(folder.join(CARD)).unwrap_or_default())
}

/// Why an attempt at a file ended without it.
enum Stopped {
    Hub(Failure),
    Disk(Error),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Hub(failure)
    }
}

/// The tag of what was found, after what the hub says of it was looked at: nothing is written before.
fn checked(found: &Found, commit: &str) -> std::result::Result<String, Failure> {
    if let Some(other) = found.commit.as_ref().filter(|said| *said != commit) {
        return Err(Failure::Refused(format!(
            "the hub says that it is of commit {other:?}, not of {commit}"
        )));
    }
    let tag = found.etag.as_deref().unwrap_or_default().trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    if !is_tag(tag) {
        return Err(Failure::Refused(format!("the hub's ETag {tag:?} is none that can name a file")));
    }
    Ok(tag.to_owned())
}

/// What was found, from the byte on where the part ends; and that byte.
fn continued(
    client: &Client,
    address: &str,
    found: Found,
    fetching: &Fetching,
    tag: &str,
    commit: &str,
    size: Option<u64>,
) -> std::result::Result<(Found, u64), Failure> {
    let there = std::fs::metadata(&fetching.part).map_or(0, |about| about.len());
    if there == 0 || size.is_some_and(|size| there > size) {
        return starting(found, 0);
    }
    drop(found);
    match client.get(address, Some(there)) {
        Ok(rest) if checked(&rest, commit)? == tag => starting(rest, there),
        // It does not fit the file: from the beginning again.
        Ok(_) | Err(Failure::Status(416, _)) => {
            fetching.discard();
            starting(client.get(address, None)?, 0)
        }
        Err(failure) => Err(failure),
    }
}

/// An answer that begins at `asked`, or else at the file's beginning; and where it begins.
fn starting(found: Found, asked: u64) -> std::result::Result<(Found, u64), Failure> {
    let range = found.response.headers().get("content-range").and_then(|range| range.to_str().ok());
    let from = match (found.response.status().as_u16(), range) {
        (206, Some(range)) => {
            range.trim_start_matches("bytes").trim().split('-').next().and_then(|from| from.parse().ok())
        }
        (206, None) => Some(asked),
        _ => Some(0),
    };
    match from {
        Some(from) if from == asked || from == 0 => Ok((found, from)),
        _ => Err(Failure::Refused("the hub sends another part of it than was asked for".into())),
    }
}

/// A name as a part of an address.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    let written = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_into_an_address() {
        assert_eq!(encoded("data/a b#1?é.json"), "data/a%20b%231%3F%C3%A9.json");
    }
}
