//! `data.train` and `data.eval`: files, folders and hub datasets, read into rows.

use super::hub::{DatasetId, Hub};
use super::row::{Problems, Row};
use super::{Split, jsonl, parquet};
use crate::error::{Error, Result};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
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
        columns: &BTreeMap<String, String>,
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
            let reader = if has_ending(&file, &["parquet"]) { parquet::read } else { jsonl::read };
            rows.extend(reader(&file, stem, columns, left, problems)?);
        }
        Ok(rows)
    }
}

const ENDINGS: [&str; 3] = ["jsonl", "json", "parquet"];

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|e| endings.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

fn files_of(source: &str, split: Split, hub: &Hub) -> Result<Vec<PathBuf>> {
    if source.starts_with("hub:") {
        return hub.dataset(&DatasetId::parse(source)?, split);
    }
    let path = Path::new(source);
    if path.is_dir() {
        return folder(path);
    }
    if !path.exists() {
        return Err(Error::Data(format!(
            "{source}: no such file or folder (data.{}); paths are relative to {}, and a dataset of the Hugging \
             Face Hub is written hub:owner/name",
            split.key(),
            std::env::current_dir().unwrap_or_default().display()
        )));
    }
    if !has_ending(path, &ENDINGS) {
        return Err(Error::Data(format!("{source}: not a .jsonl, .json or .parquet file")));
    }
    Ok(vec![path.to_path_buf()])
}

fn folder(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        let file = entry.map_err(Error::io(path))?.path();
        if file.is_file() && has_ending(&file, &ENDINGS) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::Data(format!(
            "{}: no .jsonl, .json or .parquet file in this folder",
            path.display()
        )));
    }
    files.sort();
    Ok(files)
}

/// Each file with the name that ids are made from: its stem, or its whole path where files share a stem.
fn named(files: &[PathBuf]) -> Vec<(PathBuf, Arc<str>)> {
    let stem = |file: &PathBuf| file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
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
