//! Which repository of the hub, at which revision, and which of a dataset's files make up a split.

use crate::data::Split;
use crate::error::{Error, Result};
use std::fmt;

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RepoId {
    pub(super) name: String,
    pub(super) revision: String,
}

/// `hub:owner/name[:config][/split][@revision]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetId {
    pub(super) repo: RepoId,
    config: Option<String>,
    split: Option<String>,
}

impl RepoId {
    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
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

    pub(super) fn splits(&self, split: Split) -> Vec<&str> {
        match (&self.split, split) {
            (Some(split), _) => vec![split],
            (None, Split::Train) => vec!["train"],
            (None, Split::Eval) => vec!["test", "validation", "valid", "dev", "eval"],
        }
    }

    /// The files of the split, those of the first of its possible names that there are.
    pub(super) fn choose(&self, files: &[String], split: Split) -> Result<Vec<String>> {
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
