//! Which split a file is named after, and whether training and evaluation read the same files.

use super::{Sources, chosen, name_of, readable, stem};
use crate::data::hub::without_part;
use crate::data::{Data, Split};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The split that a file is named after, in one of the words of its name: `train`, `gsm8k_test`, `train-00000-of-00002`, `train1`,
/// `gsmTest`.
pub(super) fn split_of(stem: &str) -> Option<&'static str> {
    let lower = stem.to_ascii_lowercase();
    let whole = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let (whole, parts): (Vec<&str>, _) = (whole.collect(), words(stem));
    let names = [Split::Train.names(), Split::Eval.names()].concat();
    let named = |name: &&&str| whole.contains(*name) || parts.iter().any(|part| part == **name);
    names.iter().find(named).copied()
}

/// The split that a file's name says as a whole: its stem but for the number of the part.
fn whole(file: &Path) -> String {
    without_part(&stem(file)).to_string()
}

/// Those of a folder's files of the kind `wanted` that are one split, and the others: where several are of that kind, the one that is called so.
pub(super) fn of_one_split(
    folder: &Path,
    wanted: &str,
    files: Vec<PathBuf>,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let names: BTreeSet<String> = files.iter().map(|file| whole(file)).collect();
    if names.len() < 2 {
        return Ok((files, Vec::new()));
    }
    let exact = |file: &PathBuf| {
        whole(file).trim_end_matches(|c: char| c.is_ascii_digit()).eq_ignore_ascii_case(wanted)
    };
    let (chosen, further): (Vec<_>, Vec<_>) = files.into_iter().partition(exact);
    if !chosen.is_empty() {
        return Ok((chosen, further));
    }
    let (place, names) = (folder.display(), names.into_iter().collect::<Vec<_>>());
    Err(Error::Data(format!(
        "{place}: several splits may be meant by `{wanted}` ({}); name one, as in {place}/{}, or list files",
        names.join(", "),
        names[0]
    )))
}

/// The files of a split that is named behind its folder, as in `rows/train_sft`, where nothing else is called so; sorted.
pub fn of_split(source: &str) -> Option<Vec<PathBuf>> {
    let path = Path::new(source);
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    if path.exists() || !folder.is_dir() {
        return None;
    }
    let (mut files, _) = readable(folder).ok()?;
    files.retain(|file| whole(file) == name);
    (!files.is_empty()).then_some(files)
}

/// The words of a name, which end at signs, at digits and where a capital letter begins another, in small letters.
fn words(name: &str) -> Vec<String> {
    let signs: Vec<char> = name.chars().collect();
    let (mut words, mut word) = (Vec::new(), String::new());
    for (at, &sign) in signs.iter().enumerate() {
        let small = |at: usize| signs.get(at).is_some_and(char::is_ascii_lowercase);
        let begins = at.checked_sub(1).is_some_and(|before| {
            let capital = sign.is_ascii_uppercase()
                && (small(before) || (signs[before].is_ascii_uppercase() && small(at + 1)));
            signs[before].is_ascii_digit() != sign.is_ascii_digit() || capital
        });
        if begins || !sign.is_ascii_alphanumeric() {
            words.push(std::mem::take(&mut word));
        }
        word.extend(Some(sign.to_ascii_lowercase()).filter(char::is_ascii_alphanumeric));
    }
    words.push(word);
    words
}

impl Data {
    /// Says where training and evaluation read the same files.
    pub(in crate::data) fn say_what_both_read(&self) {
        if let Some(told) = both_read(&self.train, &self.eval) {
            tracing::warn!("{told}");
        }
    }
}

/// What both of `[data]`'s sources read, in a sentence; nothing where they read different files.
fn both_read(train: &Sources, eval: &Sources) -> Option<String> {
    let learned = local_files(train, Split::Train);
    let both: Vec<PathBuf> = local_files(eval, Split::Eval).intersection(&learned).cloned().collect();
    let names: Vec<String> = both.iter().take(3).map(|file| name_of(file)).collect();
    let more = if both.len() > 3 { format!(" and {} more", both.len() - 3) } else { String::new() };
    (!both.is_empty()).then(|| {
        format!(
            "data.train = {:?} and data.eval = {:?} both read {}{more}, so that evaluation asks what is learned; hold rows out in a \
             file of their own",
            train.to_string(),
            eval.to_string(),
            names.join(", ")
        )
    })
}

/// The files that sources of this machine read for a split, by their true paths.
fn local_files(sources: &Sources, split: Split) -> BTreeSet<PathBuf> {
    let of = |source: &String| {
        let path = Path::new(source);
        match path.is_dir() {
            true => chosen(path, split).map_or(vec![], |(files, _)| files),
            false => of_split(source).unwrap_or_else(|| vec![path.to_path_buf()]),
        }
    };
    sources.0.iter().flat_map(of).filter_map(|file| file.canonicalize().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_told_by_parts_of_names() {
        for (stem, split) in [
            ("train1", Some("train")),
            ("test1", Some("test")),
            ("gsmTrain", Some("train")),
            ("gsmTest", Some("test")),
            ("GSM8KTest", Some("test")),
            ("val2017", Some("val")),
            ("2024Dev", Some("dev")),
            ("TRAIN", Some("train")),
            ("contest", None),
            ("pretrained", None),
            ("latest1", None),
            ("Contest2", None),
            ("évalTest", Some("test")),
        ] {
            assert_eq!(split_of(stem), split, "{stem}");
        }
    }

    #[test]
    fn what_is_learned_and_asked_is_said() {
        let home = tempfile::tempdir().unwrap();
        let made = |folder: &str, names: &[&str]| {
            let folder = home.path().join(folder);
            std::fs::create_dir(&folder).unwrap();
            names.iter().for_each(|name| std::fs::write(folder.join(name), "").unwrap());
            folder.display().to_string()
        };
        let (rows, split) =
            (made("rows", &["a.jsonl", "b.jsonl"]), made("split", &["train.jsonl", "test.jsonl"]));
        let both =
            |train: &str, eval: &str| both_read(&Sources(vec![train.into()]), &Sources(vec![eval.into()]));
        let file = format!("{rows}/a.jsonl");
        let told = both(&file, &format!("{rows}/../rows/a.jsonl")).unwrap();
        assert!(told.contains("both read a.jsonl, so that evaluation asks what is learned"), "{told}");
        assert!(both(&rows, &rows).unwrap().contains("both read a.jsonl, b.jsonl"));
        assert!(both(&rows, &file).unwrap().contains("both read a.jsonl, so"));
        assert_eq!(both(&split, &split), None);
        assert_eq!(both(&file, &format!("{rows}/b.jsonl")), None);
        assert_eq!(both("hub:a/b", "hub:a/b"), None);
    }
}
