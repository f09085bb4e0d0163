//! Sending a model's folder to the hub: all that is new has arrived before the one commit that makes it the repository's.

use super::Hub;
use super::cache::Kind;
use super::identity::RepoId;
use super::lfs::{AT_ONCE, Carrier};
use super::listing::{Listing, Remote};
use super::local::Local;
use super::transfer::{Client, Content, Failure, Said, Sending, To, patiently, shown};
use crate::digest::base64;
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use ureq::http::Method;

/// A model's repository on the hub, to be sent to.
pub struct Target {
    hub: Hub,
    repo: RepoId,
    private: bool,
    client: Client,
    /// What is there; none where there is no such repository.
    there: Option<Listing>,
}

/// A file of a folder, held against the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Its path from the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether the repository has it as it is.
    pub is_there: bool,
}

/// What came of sending a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The commit; none where all was there already.
    pub commit: Option<String>,
    /// The files that were new.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files of the repository that the folder has not, which stay.
    pub others: Vec<String>,
}

impl Hub {
    /// Looks at the repository `owner/name` before a model is sent there; nothing is changed.
    ///
    /// # Errors
    /// Another name; no token, or one that the hub does not take; a hub that is off or cannot be reached; one that is there and public, if it is to be
    /// `private`.
    pub fn target(&self, name: &str, private: bool) -> Result<Target> {
        let wrong = |what: &str| Error::Model(format!("--push {name}: {what}"));
        let repo = RepoId::parse(name).map_err(|what| wrong(&what))?;
        if !name.contains('/') || name.contains('@') {
            return Err(wrong("give OWNER/NAME alone; the model goes to the branch main of that repository"));
        }
        if self.offline {
            return Err(wrong("HF_HUB_OFFLINE is set, and the hub is needed; unset it"));
        }
        let place = shown(&self.endpoint);
        if self.token.is_none() {
            return Err(wrong(&format!(
                "there is no token for {place}; make one that may write, on the hub's page of access tokens, and set \
                 HF_TOKEN to it or run `hf auth login`"
            )));
        }
        let client = Client::sending(&self.endpoint, self.token.clone(), self.patience);
        let mut target = Target { hub: self.clone(), repo, private, client, there: None };
        target.there = target.look().map_err(|failure| match failure {
            Failure::Broken(why) => wrong(&format!("{place} cannot be reached: {why}")),
            failure => target.failed("looking at it", &failure),
        })?;
        target.check_private()?;
        Ok(target)
    }
}

impl Target {
    /// Whether the repository is there.
    pub fn exists(&self) -> bool {
        self.there.is_some()
    }

    /// Whether the repository has a file of this name.
    pub fn has(&self, file: &str) -> bool {
        self.there.iter().flat_map(|listing| &listing.files).any(|remote| remote.name == file)
    }

    /// Makes the repository where it is not there.
    ///
    /// # Errors
    /// The hub says no; another repository has the name.
    pub fn create(&mut self) -> Result<()> {
        if self.exists() {
            return Ok(());
        }
        let (owner, name) = self.repo.name.split_once('/').expect("looked at when it was read");
        let mut asked = json!({"type": "model", "organization": owner, "name": name});
        if self.private {
            asked["private"] = Value::from(true);
        }
        let address = format!("{}/api/repos/create", self.hub.root());
        let made = self.post(&address, "application/json", asked.to_string().as_bytes());
        let taken = match made {
            Ok(_) => false,
            // By others; or by the attempt before, whose answer did not come.
            Err(Failure::Status(409, _)) => true,
            Err(failure) => return Err(self.failed("making it", &failure)),
        };
        self.there = self.look().map_err(|failure| self.failed("looking at it", &failure))?;
        match (taken, &self.there) {
            (false, _) => Ok(()),
            (true, Some(_)) => self.check_private(),
            (true, None) => Err(Error::Model(format!(
                "{self}: something else has this name that is no model which the token may see, such as a dataset or \
                 a space; choose another name"
            ))),
        }
    }

    /// A folder's files, held against what is there.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn compare(&self, folder: &Path) -> Result<Vec<Compared>> {
        let with = |file: Local| -> Result<Compared> {
            Ok(Compared { is_there: self.has_same(&file)?, name: file.name, bytes: file.size })
        };
        Local::all(folder)?.into_iter().map(with).collect()
    }

    /// Sends what the repository has not of a folder's files, and commits it once all has arrived. `tell` is told how far it has come.
    ///
    /// # Errors
    /// The hub says no or breaks off: then nothing is committed.
    pub fn send(&self, folder: &Path, tell: &dyn Fn(&str)) -> Result<Sent> {
        let all = Local::all(folder)?;
        let others = self.there.iter().flat_map(|listing| &listing.files).map(|remote| &remote.name);
        let others = others.filter(|name| !all.iter().any(|file| file.name == **name)).cloned().collect();
        let mut new = Vec::new();
        for file in all {
            if !self.has_same(&file)? {
                new.push(file);
            }
        }
        let (files, bytes) = (new.len(), new.iter().map(|file| file.size).sum());
        if new.is_empty() {
            return Ok(Sent { commit: None, files, bytes, others });
        }
        let large = self.which_are_large(&new)?;
        let (stored, plain): (Vec<_>, Vec<_>) = new.iter().zip(large).partition(|(_, large)| *large);
        let of = |some: Vec<(_, bool)>| some.into_iter().map(|(file, _)| file).collect::<Vec<&Local>>();
        let (stored, plain) = (of(stored), of(plain));
        let address = format!("{}/{}.git/info/lfs/objects/batch", self.hub.root(), self.repo.name);
        let carrier = Carrier { client: &self.client, address: &address, tell };
        carrier.bring(&stored).map_err(|(doing, failure)| self.failed(&doing, &failure))?;
        let commit = self.commit(&stored, &plain)?;
        Ok(Sent { commit: Some(commit), files, bytes, others })
    }

    /// Of each file whether the hub wants it by git-lfs.
    fn which_are_large(&self, files: &[Local]) -> Result<Vec<bool>> {
        let mut large = Vec::new();
        for some in files.chunks(AT_ONCE) {
            let described = some.iter().map(|file| {
                let sample = base64(&file.sample()?);
                Ok(json!({"path": file.name, "sample": sample, "size": file.size}))
            });
            let asked = json!({"files": described.collect::<Result<Vec<Value>>>()?});
            let address = format!("{}/api/models/{}/preupload/main", self.hub.root(), self.repo.name);
            let told = self.post(&address, "application/json", asked.to_string().as_bytes());
            let told = told.map_err(|failure| self.failed("asking how files go there", &failure))?;
            for file in some {
                let said =
                    told["files"].as_array().into_iter().flatten().find(|said| said["path"] == *file.name);
                let said = said.unwrap_or(&Value::Null);
                if said["shouldIgnore"] == true {
                    return Err(Error::Model(format!(
                        "{self}: its .gitignore leaves out {}; take that line out of it on the hub",
                        file.name
                    )));
                }
                large.push(match said["uploadMode"].as_str() {
                    // A store takes no file without bytes.
                    Some("lfs") => file.size > 0,
                    Some("regular") => false,
                    _ => {
                        let why = "it does not say whether the file is a large one".to_owned();
                        return Err(self.failed(&format!("sending {}", file.name), &Failure::Refused(why)));
                    }
                });
            }
        }
        Ok(large)
    }

    /// Makes the files the repository's, on top of the commit that was looked at; the commit.
    fn commit(&self, stored: &[&Local], plain: &[&Local]) -> Result<String> {
        let mut header = json!({"summary": format!("Model by rationale {}", env!("CARGO_PKG_VERSION")), "description": ""});
        if let Some(there) = &self.there {
            header["parentCommit"] = Value::from(there.commit.as_str());
        }
        let mut lines = vec![json!({"key": "header", "value": header})];
        for file in plain {
            let content = base64(&file.content()?);
            lines.push(
                json!({"key": "file", "value": {"path": file.name, "encoding": "base64", "content": content}}),
            );
        }
        lines.extend(stored.iter().map(|file| {
            let of = json!({"path": file.name, "algo": "sha256", "oid": file.sha256, "size": file.size});
            json!({"key": "lfsFile", "value": of})
        }));
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let address = format!("{}/api/models/{}/commit/main", self.hub.root(), self.repo.name);
        let done = self.post(&address, "application/x-ndjson", body.as_bytes());
        match done {
            Ok(told) => {
                Ok(told["commitOid"].as_str().unwrap_or("of a name that the hub does not say").to_owned())
            }
            // The answer may have been lost of a commit that was made, on which a second one does not fit.
            Err(failure @ (Failure::Broken(_) | Failure::Status(412 | 500.., _))) => {
                self.arrived(&[stored, plain].concat()).ok_or_else(|| self.failed("the commit", &failure))
            }
            Err(failure) => Err(self.failed("the commit", &failure)),
        }
    }

    /// The commit that the repository is at, if it has all of these as they are.
    fn arrived(&self, files: &[&Local]) -> Option<String> {
        let now = self.look().ok().flatten()?;
        let has = |file: &&Local| now.files.iter().any(|remote| same(file, remote).unwrap_or(false));
        files.iter().all(has).then_some(now.commit)
    }

    fn has_same(&self, file: &Local) -> Result<bool> {
        let mut files = self.there.iter().flat_map(|listing| &listing.files);
        files.try_fold(false, |found, remote| Ok(found || same(file, remote)?))
    }

    /// What the hub lists; none where it has no such repository.
    fn look(&self) -> std::result::Result<Option<Listing>, Failure> {
        match Listing::ask(&self.hub.client(), &self.hub, Kind::Model, &self.repo) {
            Ok(listing) => Ok(Some(listing)),
            Err(Failure::Status(404, _)) => Ok(None),
            // So it speaks of those that one may not see, too.
            Err(Failure::Status(401 | 403, said)) if said.code == "RepoNotFound" => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn check_private(&self) -> Result<()> {
        match &self.there {
            Some(there) if self.private && !there.private => Err(Error::Model(format!(
                "{self}: it is there and everybody sees it, and --private is for one that is made; make it private on \
                 its page, leave --private out, or choose another name"
            ))),
            _ => Ok(()),
        }
    }

    /// Asks the hub itself.
    fn post(&self, address: &str, media: &str, body: &[u8]) -> std::result::Result<Value, Failure> {
        let headers = [("Content-Type".to_owned(), media.to_owned())];
        let (method, content) = (Method::POST, Content::Bytes(body));
        let sending = Sending { method, address, headers: &headers, content, to: To::Hub };
        let reply = patiently(|| self.client.send(&sending), Failure::passes)?;
        Ok(serde_json::from_str(&reply.text).unwrap_or_default())
    }

    fn failed(&self, doing: &str, failure: &Failure) -> Error {
        let owner = self.repo.name.split('/').next().unwrap_or_default();
        let room = |words: &str| {
            let words = words.to_lowercase();
            ["quota", "storage limit", "storage space"].iter().any(|word| words.contains(word))
        };
        let why = match failure {
            Failure::Status(402 | 413 | 507, said) => no_room(said),
            Failure::Status(_, said) if room(&said.words) => no_room(said),
            Failure::Status(401, said) => format!(
                "the hub does not take the token{said}; set HF_TOKEN to one that is valid, or run `hf auth login`"
            ),
            Failure::Status(403, said) => format!(
                "the token may not write there{said}; make one that may write to what is {owner}'s, on the hub's page of \
                 access tokens, and set HF_TOKEN to it"
            ),
            Failure::Status(404, said) => {
                format!("the hub has no such repository or address{said}; HF_ENDPOINT says which hub it is")
            }
            Failure::Status(412, said) => {
                format!("others have changed it since it was looked at{said}; look at it and run again")
            }
            Failure::Broken(why) => {
                format!(
                    "it broke off ({why}); run again: of large files, those that have arrived are not sent again"
                )
            }
            other => format!("the hub answers: {other}"),
        };
        Error::Model(format!("{self}: {doing}: {why}"))
    }
}

impl fmt::Display for Target {
    /// The page of the repository.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", shown(self.hub.root()), self.repo.name)
    }
}

/// Whether a file is one of a repository, of the same name and bytes.
fn same(file: &Local, remote: &Remote) -> Result<bool> {
    Ok(remote.name == file.name && file.is(remote)?)
}

fn no_room(said: &Said) -> String {
    format!("there is no room for it{said}; free some there, or take a plan with more")
}
