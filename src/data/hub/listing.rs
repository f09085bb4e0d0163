//! What the hub lists of a repository at a revision.

use super::Hub;
use super::cache::{Kind, is_commit, is_plain};
use super::identity::RepoId;
use super::transfer::{Client, Failure};
use serde_json::Value;

/// A repository as the hub tells of it.
pub(super) struct Listing {
    /// The commit that the revision is.
    pub commit: String,
    /// Whether others do not see it.
    pub private: bool,
    pub files: Vec<Remote>,
}

/// A file of a repository, with what the hub tells of it.
pub(super) struct Remote {
    pub name: String,
    pub size: Option<u64>,
    /// What its bytes hash to, of a large file.
    pub sha256: Option<String>,
    /// What git calls its bytes, of others.
    pub blob: Option<String>,
}

impl Remote {
    /// Whether so many bytes are all of it, as far as the hub says.
    pub fn is_whole(&self, bytes: u64) -> bool {
        self.size.is_none_or(|size| size == bytes)
    }
}

impl Listing {
    /// Asks for it.
    pub fn ask(client: &Client, hub: &Hub, kind: Kind, id: &RepoId) -> Result<Self, Failure> {
        let revision = id.revision.replace('/', "%2F");
        let (root, kind) = (hub.root(), kind.plural());
        let text =
            client.listing(&format!("{root}/api/{kind}/{}/revision/{revision}?blobs=true", id.name))?;
        let info: Value = serde_json::from_str(&text)
            .map_err(|_| Failure::Broken("what it answers is no listing of a repository".into()))?;
        let commit = info["sha"].as_str().unwrap_or_default().to_string();
        if !is_commit(&commit) {
            return Err(Failure::Refused(format!("its listing names the commit {commit:?}, which is none")));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let files = info["siblings"].as_array().into_iter().flatten().filter_map(|file| {
            let name = text(&file["rfilename"])?;
            let (sha256, blob) = (text(&file["lfs"]["sha256"]), text(&file["blobId"]));
            is_plain(&name).then(|| Remote { name, size: file["size"].as_u64(), sha256, blob })
        });
        Ok(Self { commit, private: info["private"] == true, files: files.collect() })
    }
}
