//! Which repository of the hub, at which revision, and which of a dataset's files make up a split.

use super::card::Card;
use crate::data::Split;
use crate::data::source::ending;
use crate::error::{Error, Result};
use regex::Regex;
use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

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

    /// The files that rows are read from, of the config where one is named.
    fn own<'f>(&self, files: &'f [String]) -> Vec<&'f String> {
        let readable: Vec<&String> = files.iter().filter(|file| ending(Path::new(file)).is_some()).collect();
        let own: Vec<&String> = readable.iter().copied().filter(|file| self.is_of_config(file)).collect();
        // So the hub calls the only config of a repository that names none.
        if own.is_empty() && self.config.as_deref() == Some("default") { readable } else { own }
    }

    /// The files of the split, those of the first of its possible names that there are: as the card says, or else by their names.
    pub(super) fn choose(&self, files: &[String], card: &Card, split: Split) -> Result<Vec<String>> {
        let mut said = card.choose(files, self.config.as_deref(), &self.splits(split));
        said.retain(|file| ending(Path::new(file)).is_some());
        if !said.is_empty() {
            return Ok(said);
        }
        let own = self.own(files);
        let those = |are: &dyn Fn(&str) -> bool| -> Vec<String> {
            own.iter().filter(|file| are(file)).map(|file| file.to_string()).collect()
        };
        for name in self.splits(split) {
            let mut chosen = those(&|file| self.split_of(file) == name || in_folder(file, name));
            if chosen.is_empty() {
                // `gsm8k_train.jsonl`
                let ends = |stem: &str| {
                    stem.strip_suffix(name).is_some_and(|before| before.ends_with(['-', '_', '.']))
                };
                chosen = those(&|file| ends(self.split_of(file)));
                self.check_one_split(&chosen)?;
            }
            chosen.sort();
            self.check_one_config(&chosen)?;
            if !chosen.is_empty() {
                return Ok(chosen);
            }
        }
        Ok(Vec::new())
    }

    /// What there is instead of what is asked for, and how it is written.
    pub(super) fn instead(&self, splits: &[String], configs: &[String]) -> Option<String> {
        let name = &self.repo.name;
        match &self.config {
            Some(config) if !configs.is_empty() && !configs.contains(config) => Some(format!(
                "; its configs are {}: name one, as in hub:{name}:{}",
                configs.join(", "),
                configs[0]
            )),
            config => {
                let config = config.as_ref().map_or(String::new(), |config| format!(":{config}"));
                let first = splits.first()?;
                Some(format!("; it has {}: name one, as in hub:{name}{config}/{first}", splits.join(", ")))
            }
        }
    }

    /// Whether the card says which splits there are.
    pub(super) fn is_described(&self, card: &Card) -> bool {
        !card.splits(self.config.as_deref()).is_empty()
    }

    /// The splits that there are: those of the card, or else by the names of files and of the folders around parts.
    pub(super) fn known_splits(&self, files: &[String], card: &Card) -> Vec<String> {
        let said = card.splits(self.config.as_deref());
        if !said.is_empty() {
            return said;
        }
        let name = |file: &String| match (self.split_of(file), file.rsplit('/').nth(1)) {
            (part, Some(folder)) if part.chars().all(|c| c.is_ascii_digit()) => folder.to_owned(),
            (split, _) => split.to_owned(),
        };
        let mut names: Vec<String> = self.own(files).into_iter().map(name).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The split that a file's name says: all of its stem but the number of the part, and the config in front.
    fn split_of<'a>(&self, file: &'a str) -> &'a str {
        let name = file.rsplit('/').next().unwrap_or(file);
        let stem = name.split('.').next().unwrap_or_default();
        let stem = without_part(stem);
        let config = self.config.as_deref().and_then(|config| stem.strip_prefix(config));
        config.and_then(|rest| rest.strip_prefix(['-', '_'])).filter(|rest| !rest.is_empty()).unwrap_or(stem)
    }

    fn check_one_split(&self, chosen: &[String]) -> Result<()> {
        let mut splits: Vec<&str> = chosen.iter().map(|file| self.split_of(file)).collect();
        splits.sort_unstable();
        splits.dedup();
        if splits.len() < 2 {
            return Ok(());
        }
        let (all, name) = (splits.join(", "), &self.repo.name);
        Err(Error::Data(format!(
            "{self}: several splits may be meant ({all}); name one, as in hub:{name}/{}",
            splits[0]
        )))
    }

    fn is_of_config(&self, file: &str) -> bool {
        let Some(config) = &self.config else { return true };
        let mut parts = file.rsplit('/');
        let stem = parts.next().unwrap_or_default();
        let behind = stem.strip_prefix(config.as_str());
        behind.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
            || parts.any(|folder| folder == config)
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

/// A stem without what numbers the parts of a split: `train-00000-of-00002`, the same with a hash behind it, `train-00001`.
pub(in crate::data) fn without_part(stem: &str) -> &str {
    static PART: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[-_](?:\d{3,}-of-\d{3,}(?:-[0-9a-f]{8,})?|\d+)$").expect("it is one"));
    PART.find(stem).filter(|part| part.start() > 0).map_or(stem, |part| &stem[..part.start()])
}

/// `config/train/0000.parquet`
fn in_folder(file: &str, split: &str) -> bool {
    file.rsplit('/').skip(1).any(|folder| folder == split)
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
        let choose =
            |text, split| DatasetId::parse(text).and_then(|id| id.choose(&files, &Card::default(), split));
        assert_eq!(
            choose("hub:a/b:main", Split::Train).expect("one config"),
            ["main/train-00000-of-00001.parquet"]
        );
        assert_eq!(choose("hub:a/b", Split::Eval).expect("one config"), ["main/test-00000-of-00001.parquet"]);
        let error = choose("hub:a/b", Split::Train).expect_err("two configs").to_string();
        assert!(error.contains("hub:a/b:main"), "{error}");
    }

    #[test]
    fn a_split_is_the_whole_name() {
        let chosen = |text: &str, files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| file.to_string()).collect();
            DatasetId::parse(text)
                .and_then(|id| id.choose(&files, &Card::default(), Split::Train))
                .map_err(|error| error.to_string())
        };
        let feedback = [
            "data/train_prefs-00000-of-00001.parquet",
            "data/train_sft-00000-of-00002-0123456789abcdef.parquet",
            "data/train_sft-00001-of-00002-fedcba9876543210.parquet",
            "data/test_prefs-00000-of-00001.parquet",
        ];
        assert_eq!(chosen("hub:a/b/train_prefs", &feedback).unwrap(), feedback[..1]);
        assert_eq!(chosen("hub:a/b/train_sft", &feedback).unwrap(), feedback[1..3]);
        assert_eq!(chosen("hub:a/b", &feedback).unwrap(), [""; 0]);
        let splits = DatasetId::parse("hub:a/b")
            .unwrap()
            .known_splits(&feedback.map(str::to_string), &Card::default());
        assert_eq!(splits, ["test_prefs", "train_prefs", "train_sft"]);
        for (text, file) in [
            ("hub:a/b", "train.jsonl"),
            ("hub:a/b", "default/train/0000.parquet"),
            ("hub:a/b", "train_00001.jsonl"),
            ("hub:a/b:main", "main-train.parquet"),
            ("hub:a/b:main", "main/train-00000-of-00001.parquet"),
            ("hub:a/b", "gsm8k_train.jsonl"),
            ("hub:a/b", "data/train.jsonl.gz"),
            ("hub:a/b:default", "data/train-00000-of-00001.parquet"),
        ] {
            assert_eq!(chosen(text, &[file, "test.jsonl", "train_x.jsonl"]).unwrap(), [file], "{file}");
        }
        assert_eq!(
            chosen("hub:a/b", &["constrain.jsonl", "train_gen.jsonl", "training.json"]).unwrap(),
            [""; 0]
        );
        assert_eq!(chosen("hub:a/b:main", &["mainland-train.jsonl"]).unwrap(), [""; 0]);
        let several = chosen("hub:a/b", &["easy_train.jsonl", "hard_train.jsonl"]).unwrap_err();
        assert!(several.contains("several splits may be meant (easy_train, hard_train)"), "{several}");
    }
}
