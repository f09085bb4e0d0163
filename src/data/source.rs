//! `data.train` and `data.eval`: files, folders and hub datasets, read into rows.

mod split;

pub use split::of_split;

use super::hub::{DatasetId, Hub};
use super::renaming::Renaming;
use super::row::{Problems, Row};
use super::{Split, csv, dialects, jsonl, parquet};
use crate::error::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use split::{of_one_split, split_of};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One or several places that rows come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(pub Vec<String>);

impl Sources {
    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most `limit` rows of all sources, in order. Unusable lines go to `problems`.
    pub fn read(
        &self,
        split: Split,
        hub: &Hub,
        renaming: &mut Renaming,
        limit: usize,
        problems: &mut Problems,
    ) -> Result<Vec<Row>> {
        let mut files = Vec::new();
        for source in &self.0 {
            files.extend(files_of(source, split, hub)?);
        }
        let mut rows = Vec::new();
        for (file, stem) in named(&files) {
            let left = limit - rows.len();
            if left == 0 {
                break;
            }
            let reader = match ending(&file) {
                Some("parquet") => parquet::read,
                Some(ending) if ending.starts_with("csv") || ending.starts_with("tsv") => csv::read,
                _ => jsonl::read,
            };
            let mut read = reader(&file, stem, renaming, left, problems)?;
            read.retain_mut(|row| {
                let usable = row.check_size().and_then(|()| dialects::recognize(&mut row.fields));
                usable.inspect_err(|what| problems.at(row, what)).is_ok()
            });
            rows.extend(read);
        }
        Ok(rows)
    }
}

const ENDINGS: [&str; 13] = [
    "jsonl",
    "json",
    "parquet",
    "csv",
    "tsv",
    "jsonl.gz",
    "json.gz",
    "jsonl.zst",
    "json.zst",
    "csv.gz",
    "csv.zst",
    "tsv.gz",
    "tsv.zst",
];

/// A remedy for the endings that people have, but this program does not read.
const OTHERS: [(&str, &str); 2] =
    [("arrow", "datasets.load_from_disk(...).to_parquet('rows.parquet')"), ("gz", "gunzip")];

/// Which of [`ENDINGS`] a file's name has.
pub(super) fn ending(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let has = |ending: &&&str| name.strip_suffix(**ending).is_some_and(|stem| stem.ends_with('.'));
    ENDINGS.iter().filter(has).max_by_key(|ending| ending.len()).copied()
}

/// A file's name without folder and ending.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cut = ending(path).map_or(0, |ending| ending.len() + 1);
    name[..name.len().saturating_sub(cut)].to_string()
}

fn files_of(source: &str, split: Split, hub: &Hub) -> Result<Vec<PathBuf>> {
    if source.starts_with("hub:") {
        return hub.dataset(&DatasetId::parse(source)?, split);
    }
    let path = Path::new(source);
    if path.is_dir() {
        return folder(path, split);
    }
    if let Some(files) = of_split(source) {
        return Ok(files);
    }
    if !path.exists() {
        return Err(Error::Data(format!(
            "{source}: no such file or folder; paths are relative to {}, and a dataset of the Hugging Face Hub is \
             written hub:owner/name",
            std::env::current_dir().unwrap_or_default().display()
        )));
    }
    if !path.is_file() {
        return Err(Error::Data(format!(
            "{source}: a pipe or a device; rows are read from plain files, more than once: write them to one"
        )));
    }
    if ending(path).is_none() {
        let remedy =
            OTHERS.iter().find(|(ending, _)| source.to_ascii_lowercase().ends_with(&format!(".{ending}")));
        let remedy = remedy.map_or(String::new(), |(_, remedy)| format!("; {remedy} makes one of it"));
        return Err(Error::Data(format!(
            "{source}: not a .jsonl, .json, .csv, .tsv or .parquet file (text may be packed: .gz, .zst){remedy}"
        )));
    }
    Ok(vec![path.to_path_buf()])
}

/// The files of a folder that make up a split; what is not read is said.
fn folder(path: &Path, split: Split) -> Result<Vec<PathBuf>> {
    let (files, others) = chosen(path, split)?;
    if !others.is_empty() {
        let names: Vec<String> = others.iter().take(10).map(|file| name_of(file)).collect();
        let more = if others.len() > 10 { format!(" and {} more", others.len() - 10) } else { String::new() };
        let read: Vec<String> = files.iter().take(10).map(|file| name_of(file)).collect();
        tracing::warn!(
            "data.{} = {:?} reads {}; not read: {}{more}",
            split.key(),
            path.display().to_string(),
            read.join(", "),
            names.join(", ")
        );
    }
    Ok(files)
}

/// The files of a folder that make up a split; where none of them is named after a split, all. Beside them what else may be meant to
/// be read.
fn chosen(path: &Path, split: Split) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut others) = readable(path)?;
    if files.is_empty() {
        return Err(Error::Data(nothing(path, others)));
    }
    let splits: Vec<Option<&str>> = files.iter().map(|file| split_of(&stem(file))).collect();
    if splits.iter().any(Option::is_some) {
        let Some(wanted) = split.names().iter().find(|name| splits.contains(&Some(**name))) else {
            let there = files.iter().map(|file| name_of(file)).collect::<Vec<_>>().join(", ");
            return Err(Error::Data(format!(
                "{}: no file of the split {} in this folder; it has {there}: name a file itself",
                path.display(),
                split.names()[0]
            )));
        };
        let (chosen, left): (Vec<_>, Vec<_>) =
            files.into_iter().zip(splits).partition(|(_, name)| name.as_ref() == Some(wanted));
        let (chosen, further) =
            of_one_split(path, wanted, chosen.into_iter().map(|(file, _)| file).collect())?;
        others.extend(left.into_iter().map(|(file, _)| file).chain(further));
        files = chosen;
    }
    others.retain(|file| !name_of(file).to_ascii_lowercase().starts_with("readme") && !is_description(file));
    others.sort();
    Ok((files, others))
}

/// The files of a folder that rows can be read from, sorted, and what else is in it.
fn readable(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        let file = entry.map_err(Error::io(path))?.path();
        let hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        match file.is_file() && ending(&file).is_some() && !is_description(&file) {
            true => files.push(file),
            false if hidden => {}
            false => others.push(file),
        }
    }
    files.sort();
    Ok((files, others))
}

/// Why a folder without rows has none.
fn nothing(path: &Path, others: Vec<PathBuf>) -> String {
    let place = path.display();
    let has = |ending: &str| others.iter().any(|file| file.extension().is_some_and(|own| own == ending));
    if has("arrow") {
        return format!(
            "{place}: a folder that datasets' save_to_disk wrote; write its rows as a file: \
             datasets.load_from_disk({:?}).to_parquet(\"rows.parquet\")",
            place.to_string()
        );
    }
    let names: Vec<String> = others.iter().take(10).map(|file| name_of(file)).collect();
    let there = if names.is_empty() { String::new() } else { format!("; it has {}", names.join(", ")) };
    let inner = others.iter().find(|file| file.is_dir());
    let inner = inner.map_or(String::new(), |inner| {
        format!("; folders in it are not looked into: name {}", inner.display())
    });
    format!("{place}: no .jsonl, .json, .csv, .tsv or .parquet file in this folder{there}{inner}")
}

/// What describes a dataset, and has no rows of it.
fn is_description(file: &Path) -> bool {
    matches!(
        name_of(file).as_str(),
        "dataset_info.json" | "dataset_infos.json" | "dataset_dict.json" | "state.json" | "metadata.json"
    )
}

/// A file's name, and a `/` behind a folder's.
fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if file.is_dir() { format!("{name}/") } else { name.into_owned() }
}

/// Each file with the name that ids are made from: its stem, or its whole path where files share a stem.
fn named(files: &[PathBuf]) -> Vec<(PathBuf, Arc<str>)> {
    let mut seen = BTreeMap::<String, usize>::new();
    for file in files {
        *seen.entry(stem(file)).or_default() += 1;
    }
    let name = |file: &PathBuf| match seen[&stem(file)] {
        1 => stem(file),
        _ => file.display().to_string(),
    };
    files.iter().map(|file| (file.clone(), name(file).into())).collect()
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" + "))
    }
}

impl Serialize for Sources {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl JsonSchema for Sources {
    fn schema_name() -> Cow<'static, str> {
        "Sources".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({ "type": "string" });
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Sources;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a file, a folder or hub:owner/name, or a list of these")
            }
            fn visit_str<E>(self, one: &str) -> std::result::Result<Sources, E> {
                Ok(Sources(vec![one.to_string()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Sources, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(Sources(all))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str], split: Split) -> std::result::Result<Vec<String>, String> {
        let home = tempfile::tempdir().unwrap();
        for name in names {
            let path = home.path().join(name);
            if name.ends_with('/') {
                std::fs::create_dir(path).unwrap()
            } else {
                std::fs::write(path, "").unwrap()
            }
        }
        let files = folder(home.path(), split).map_err(|error| error.to_string())?;
        Ok(files.iter().map(|file| name_of(file)).collect())
    }

    #[test]
    fn a_folder_gives_the_split_that_is_asked_for() {
        let gsm = ["train.jsonl", "test.jsonl", "README.md", "old/", "more.txt"];
        assert_eq!(read(&gsm, Split::Train).unwrap(), ["train.jsonl"]);
        assert_eq!(read(&gsm, Split::Eval).unwrap(), ["test.jsonl"]);
        let parts = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation-0.parquet"];
        assert_eq!(read(&parts, Split::Train).unwrap(), parts[..2]);
        assert_eq!(read(&parts, Split::Eval).unwrap(), parts[2..]);
        // `contest` and `pretrained` are no splits, so all is read.
        assert_eq!(read(&["contest.jsonl", "pretrained.jsonl.gz"], Split::Train).unwrap().len(), 2);
        for parts in [["train1.jsonl", "test1.jsonl"], ["gsmTrain.jsonl", "gsmTest.jsonl"]] {
            assert_eq!(read(&parts, Split::Train).unwrap(), parts[..1]);
            assert_eq!(read(&parts, Split::Eval).unwrap(), parts[1..]);
        }
        // Of several splits of a kind one is meant, and nobody can tell which; `train` is what is called so.
        let feedback = ["test_sft.json", "train_prefs-00000-of-00001.json", "train_sft-00000-of-00002.json"];
        let said = read(&feedback, Split::Train).unwrap_err();
        assert!(said.contains("several splits may be meant by `train` (train_prefs, train_sft)"), "{said}");
        assert!(said.contains("/train_prefs, or list files"), "{said}");
        assert_eq!(read(&feedback, Split::Eval).unwrap(), feedback[..1]);
        let exact = ["train-00000-of-00001.json", "train_prefs-00000-of-00001.json", "train_sft.json"];
        assert_eq!(read(&exact, Split::Train).unwrap(), exact[..1]);
        assert_eq!(read(&["train1.json", "train2.json", "train_x.json"], Split::Train).unwrap().len(), 2);
        let said = read(&["gsm8k_test.jsonl"], Split::Train).unwrap_err();
        assert!(said.contains("no file of the split train") && said.contains("gsm8k_test.jsonl"), "{said}");
    }

    #[test]
    fn a_split_of_a_folder_is_named_behind_it() {
        let home = tempfile::tempdir().unwrap();
        let names = [
            "train_sft-00000-of-00002.jsonl",
            "train_sft-00001-of-00002.jsonl",
            "train_prefs.jsonl",
            "notes.md",
        ];
        names.iter().for_each(|name| std::fs::write(home.path().join(name), "").unwrap());
        let files = |split: &str| {
            let source = home.path().join(split).display().to_string();
            files_of(&source, Split::Train, &Hub::from_env()).map_err(|error| error.to_string())
        };
        let named = |split: &str| files(split).unwrap().iter().map(|file| name_of(file)).collect::<Vec<_>>();
        assert_eq!(named("train_sft"), names[..2]);
        assert_eq!(named("train_prefs"), names[2..3]);
        assert_eq!(named("train_prefs.jsonl"), names[2..3]);
        for other in ["train", "train_sft-00000", "notes"] {
            assert!(files(other).unwrap_err().contains("no such file or folder"), "{other}");
        }
    }

    #[test]
    fn a_folder_without_rows_says_what_it_has() {
        let saved = ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"];
        assert!(read(&saved, Split::Train).unwrap_err().contains("load_from_disk"));
        let said = read(&["rows.xlsx", "inner/"], Split::Train).unwrap_err();
        assert!(
            said.contains("it has inner/, rows.xlsx") || said.contains("it has rows.xlsx, inner/"),
            "{said}"
        );
        assert!(said.contains("folders in it are not looked into"), "{said}");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_no_rows() {
        let hub = Hub::from_env();
        for source in ["/dev/zero", "/dev/random", "/dev/null"] {
            let said = files_of(source, Split::Train, &hub).unwrap_err().to_string();
            assert!(said.contains("a pipe or a device"), "{said}");
        }
        let said = files_of(file!(), Split::Train, &hub).unwrap_err().to_string();
        assert!(said.contains("not a .jsonl, .json, .csv, .tsv or .parquet file"), "{said}");
    }
}
