//! Whether a Parquet file's table of contents has what it announces, found before it is read: the reader makes room for what is announced.

use super::thrift::Thrift;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Columns within columns: the reader goes down by recursion.
const DEPTH: usize = 100;

/// What a field of parquet.thrift is. The reader believes it to be that, whatever the file says.
#[derive(Clone, Copy)]
enum Is {
    Truth,
    Byte,
    Integer,
    Column,
    /// How many columns a column has.
    Children,
    Text,
    Double,
    One(&'static [(i64, Is)]),
    Several(&'static Is),
}

use Is::{Byte, Children, Column, Double, Integer, One, Several, Text, Truth};

/// `FileMetaData`, and below it what it is made of.
const FILE: &[(i64, Is)] = &[
    (1, Integer),
    (2, Several(&Column)),
    (3, Integer),
    (4, Several(&One(GROUP))),
    (5, Several(&One(&[(1, Text), (2, Text)]))),
    (6, Text),
    (7, Several(&One(&[(1, One(&[]))]))),
];
const COLUMN: &[(i64, Is)] = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Text),
    (5, Children),
    (6, Integer),
    (7, Integer),
    (8, Integer),
    (9, Integer),
    (10, One(LOGICAL)),
];
const LOGICAL: &[(i64, Is)] = &[
    (1, One(&[])),
    (2, One(&[])),
    (3, One(&[])),
    (4, One(&[])),
    (5, One(&[(1, Integer), (2, Integer)])),
    (6, One(&[])),
    (7, One(&[(1, Truth), (2, One(UNIT))])),
    (8, One(&[(1, Truth), (2, One(UNIT))])),
    (10, One(&[(1, Byte), (2, Truth)])),
    (11, One(&[])),
    (12, One(&[])),
    (13, One(&[])),
    (14, One(&[])),
    (15, One(&[])),
    (16, One(&[(1, Byte)])),
    (17, One(&[(1, Text)])),
    (18, One(&[(1, Text), (2, Integer)])),
];
const UNIT: &[(i64, Is)] = &[(1, One(&[])), (2, One(&[])), (3, One(&[]))];
const GROUP: &[(i64, Is)] = &[
    (1, Several(&One(CHUNK))),
    (2, Integer),
    (3, Integer),
    (4, Several(&One(&[(1, Integer), (2, Truth), (3, Truth)]))),
    (5, Integer),
    (7, Integer),
];
const CHUNK: &[(i64, Is)] =
    &[(1, Text), (2, Integer), (3, One(PAGES)), (4, Integer), (5, Integer), (6, Integer), (7, Integer)];
const PAGES: &[(i64, Is)] = &[
    (1, Integer),
    (2, Several(&Integer)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (9, Integer),
    (10, Integer),
    (11, Integer),
    (12, One(STATISTICS)),
    (13, Several(&One(&[(1, Integer), (2, Integer), (3, Integer)]))),
    (14, Integer),
    (15, Integer),
    (16, One(&[(1, Integer), (2, Several(&Integer)), (3, Several(&Integer))])),
    (17, One(&[(1, One(BOX)), (2, Several(&Integer))])),
];
const STATISTICS: &[(i64, Is)] =
    &[(1, Text), (2, Text), (3, Integer), (4, Integer), (5, Text), (6, Text), (7, Truth), (8, Truth)];
const BOX: &[(i64, Is)] =
    &[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)];

/// Refuses a file, `path`, whose table of contents announces more than it has.
///
/// # Errors
/// [`Error::Data`].
pub fn check(path: &Path, source: &mut File) -> Result<()> {
    // What has no table of contents at all, the reader says.
    let Some(bytes) = contents(source) else { return Ok(()) };
    let mut children = Vec::new();
    let whole = One(FILE).holds(&mut Thrift::of(&bytes), 12, &mut children);
    match whole {
        Some(()) if depth(&children) <= DEPTH => Ok(()),
        whole => {
            let what = match whole {
                Some(()) => format!("columns stand within columns, {DEPTH} deep and more"),
                None => "its table of contents is not whole".to_string(),
            };
            Err(Error::Data(format!("{}: a damaged Parquet file ({what})", path.display())))
        }
    }
}

/// The table of contents: it stands before its own length, in 4 bytes, and the file's last 4.
fn contents(source: &mut File) -> Option<Vec<u8>> {
    const END: u64 = 8;
    let mut end = [0; END as usize];
    let size = source.seek(SeekFrom::End(0)).ok()?;
    source.seek(SeekFrom::Start(size.checked_sub(END)?)).ok()?;
    source.read_exact(&mut end).ok()?;
    let length = u64::from(u32::from_le_bytes(end[..4].try_into().ok()?));
    source.seek(SeekFrom::Start(size.checked_sub(END + length)?)).ok()?;
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes).ok()?;
    (end[4..] == *b"PAR1").then_some(bytes)
}

impl Is {
    /// Passes over a value of it that the file says to be of type `kind`; none where it is of another. Of each column it notes how
    /// many it has below it.
    fn holds(&self, thrift: &mut Thrift, kind: u8, children: &mut Vec<usize>) -> Option<()> {
        match (self, kind) {
            (Truth, 1 | 2) | (Byte, 3) | (Integer, 4..=6) | (Double, 7) | (Text, 8) => thrift.skip(kind),
            (Children, 4..=6) => {
                // Each takes a byte at least.
                let count = usize::try_from(thrift.integer()?).ok()?;
                *children.last_mut()? = count;
                (count <= thrift.length()).then_some(())
            }
            (Column, _) => {
                children.push(0);
                One(COLUMN).holds(thrift, kind, children)
            }
            (One(fields), 12) => {
                let known = |number: i64| fields.iter().find(|(known, _)| *known == number);
                thrift.fields(&mut |thrift, number, kind| match known(number) {
                    Some((_, is)) => is.holds(thrift, kind, children),
                    None => thrift.skip(kind),
                })
            }
            (Several(one), 9) => thrift.elements(&mut |thrift, kind| one.holds(thrift, kind, children)),
            _ => None,
        }
    }
}

/// How deep columns stand within columns, each being followed by those that it has.
fn depth(children: &[usize]) -> usize {
    let (mut open, mut deepest) = (Vec::new(), 0);
    for count in children {
        // Those that have all of theirs are closed.
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(*count);
        deepest = deepest.max(open.len());
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file of this table of contents.
    fn said(contents: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let length = u32::try_from(contents.len()).unwrap().to_le_bytes();
        std::fs::write(&path, [b"PAR1", contents, &length, b"PAR1"].concat()).unwrap();
        let checked = check(&path, &mut File::open(&path).unwrap());
        let text = checked.err().map_or(String::new(), |error| error.to_string());
        assert!(text.is_empty() || text.contains("rows.parquet: a damaged Parquet file ("), "{text}");
        text
    }

    /// Field 2, a list (0x29) of structures (0x1C one, 0xFC of a number that follows), with a text of one byte as field 4 (0x48) and a
    /// number (0x15) as field 5 behind it, twice as large as written.
    #[test]
    fn no_room_is_made_for_what_is_only_announced() {
        let column =
            |head: &[u8], children: &[u8]| [b"\x29", head, b"\x48\x01a\x15", children, b"\x00\x00"].concat();
        assert_eq!(said(&column(b"\x1C", b"\x02")), "");
        let most = b"\xFE\xFF\xFF\xFF\x0F";
        assert!(said(&column(b"\xFC\xFF\xFF\xFF\xFF\x07", b"\x02")).contains("is not whole"));
        assert!(said(&column(b"\x1C", most)).contains("is not whole"));
        // Said to be a number, and read as a list all the same.
        assert!(said(b"\x25\xFC\xFF\xFF\xFF\xFF\x07\x00").contains("is not whole"));
        // A list of numbers, which are read as structures.
        assert!(said(b"\x29\x15\x02\x00").contains("is not whole"));
    }

    #[test]
    fn what_is_as_deep_as_the_file_is_long_is_refused() {
        assert!(said(&[b"\x99".as_slice(), &[0x19; 1 << 20]].concat()).contains("is not whole"));
        let columns = |count: u8| {
            let mut bytes = vec![0x29, 0xFC, count];
            (1..count).for_each(|_| bytes.extend(b"\x48\x01a\x15\x02\x00"));
            bytes.extend(b"\x48\x01a\x00\x00");
            bytes
        };
        assert_eq!(said(&columns(100)), "");
        assert!(said(&columns(101)).contains("100 deep and more"));
        // Of three below the first the second has one of its own.
        assert_eq!(depth(&[3, 0, 1, 0, 0]), 3);
    }

    #[test]
    fn tables_are_whole_and_what_is_none_is_left_to_the_reader() {
        let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data/rows.parquet");
        assert!(check(&table, &mut File::open(&table).unwrap()).is_ok());
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(check(&text, &mut File::open(&text).unwrap()).is_ok());
    }
}
