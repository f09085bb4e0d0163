//! Which lines of a long file are shown: spread evenly over it, those that belong together as a whole.

use super::stages::Stage;
use crate::error::{Error, Result};
use crate::eval::Evaluation;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of the longest line that is read.
const LONGEST: u64 = 1 << 25;

/// A file of lines, each found by its number.
pub(super) struct Lines {
    file: File,
    /// Where each begins, and where the last ends.
    starts: Vec<u64>,
    path: std::path::PathBuf,
}

impl Lines {
    /// Looks where the lines of a file are; an unfinished last one is none. None where there is no such file.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        let io = |error| Error::io(path)(error);
        let file = File::open(path).map_err(io)?;
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let (mut starts, mut at) = (vec![0], 0);
        loop {
            let bytes = reader.fill_buf().map_err(io)?;
            if bytes.is_empty() {
                break;
            }
            starts.extend(memchr::memchr_iter(b'\n', bytes).map(|place| at + place as u64 + 1));
            let read = bytes.len();
            at += read as u64;
            reader.consume(read);
        }
        Ok(Some(Self { file, starts, path: path.to_path_buf() }))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The bytes of one.
    pub fn length(&self, line: usize) -> u64 {
        self.starts[line + 1] - self.starts[line]
    }

    /// What one of them says; none where it is no JSON, or longer than a page could show.
    pub fn read<T: serde::de::DeserializeOwned>(&self, line: usize) -> Result<Option<T>> {
        if self.length(line) > LONGEST {
            return Ok(None);
        }
        let mut bytes = vec![0; self.length(line) as usize];
        self.file
            .read_exact_at(&mut bytes, self.starts[line])
            .map_err(|error| Error::io(&self.path)(error))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

/// The numbers below `count`, each once: the first, the last, then those that halve what is between, so that any beginning of the list is
/// spread evenly.
pub(super) fn spread(count: usize) -> impl Iterator<Item = usize> {
    let bits = count.next_power_of_two().trailing_zeros();
    let turned = (0..count.next_power_of_two()).map(move |n| match bits {
        0 => 0,
        bits => n.reverse_bits() >> (usize::BITS - bits),
    });
    let last = count.saturating_sub(1);
    let ends = [0, last].into_iter().take(count.min(2));
    ends.chain(turned.filter(move |n| *n < count && *n != 0 && *n != last))
}

/// At most `most` evaluations, spread evenly and in their order, each with the place of its stage.
pub(super) fn evaluations<'a>(
    most: usize,
    stages: &[Stage],
    all: &'a [Evaluation],
) -> Vec<(usize, &'a Evaluation)> {
    let mut kept: Vec<usize> = spread(all.len()).take(most).collect();
    kept.sort_unstable();
    let placed = |at: usize| {
        let evaluation = &all[at];
        let of = |stage: &Stage| (stage.name.as_str(), stage.round) == (&evaluation.stage, evaluation.round);
        Some((stages.iter().position(of)?, evaluation))
    };
    kept.into_iter().filter_map(placed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_and_the_first_few_are_spread() {
        for count in [0, 1, 2, 3, 8, 13, 1000] {
            let mut all: Vec<usize> = spread(count).collect();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
        assert_eq!(spread(1000).take(5).collect::<Vec<_>>(), [0, 999, 512, 256, 768]);
    }

    #[test]
    fn lines_are_found_by_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "[1]\n[2, 2]\n{\"unfin").unwrap();
        let lines = Lines::open(&path).unwrap().unwrap();
        assert_eq!(lines.count(), 2);
        assert_eq!(lines.read::<Vec<u8>>(1).unwrap(), Some(vec![2, 2]));
        assert!(Lines::open(&folder.path().join("none")).unwrap().is_none());
    }
}
