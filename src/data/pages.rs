//! What a Parquet file would come to in memory, found before its table of contents is read and its pages are unpacked.

use crate::error::{Error, Result};
use ::parquet::column::reader::ColumnReader;
use ::parquet::file::metadata::ColumnChunkMetaData;
use ::parquet::file::reader::RowGroupReader;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of one unpacked page; writers aim at 1 MB.
const PAGE: u64 = 256 << 20;
/// A value in memory, whatever it is.
const VALUE: u64 = 32;
/// Bytes that a page's header may have; statistics make it long.
const HEADER: usize = 1 << 16;

/// Refuses a file, `path`, whose table of contents announces more than it has: the reader makes room for what is announced.
///
/// # Errors
/// [`Error::Data`].
pub fn check_contents(path: &Path, source: &mut File) -> Result<()> {
    // What has no table of contents at all, the reader says.
    let Some(bytes) = contents(source) else { return Ok(()) };
    match Thrift::of(&bytes).structure(-1) {
        Some(()) => Ok(()),
        None => Err(Error::Data(format!(
            "{}: a damaged Parquet file (its table of contents does not end where it should)",
            path.display()
        ))),
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

/// Refuses a row group that comes to more than `most` bytes; `source` is its file, `path`.
///
/// # Errors
/// [`Error::Data`] with the column.
pub fn check(path: &Path, source: &mut File, group: &dyn RowGroupReader, most: u64) -> Result<()> {
    let mut total = 0u64;
    for (index, column) in group.metadata().columns().iter().enumerate() {
        let refuse = |what: String| {
            let name = column.column_path().string();
            Err(Error::Data(format!("{}: column `{name}`: {what}", path.display())))
        };
        let Some(pages) = pages(source, column) else {
            return refuse("its pages are damaged".to_string());
        };
        if let Some(page) = pages.iter().find(|page| page.bytes > PAGE) {
            return refuse(format!("a page of {} MB; the most is {} MB", page.bytes >> 20, PAGE >> 20));
        }
        let bytes: u64 = pages.iter().map(|page| page.bytes).sum();
        let values: u64 = pages.iter().filter(|page| !page.dictionary).map(|page| page.values).sum();
        total = total.saturating_add(bytes).saturating_add(values.saturating_mul(VALUE));
        // Each value may be the dictionary's longest.
        let dictionary: u64 = pages.iter().filter(|page| page.dictionary).map(|page| page.bytes).sum();
        if values.saturating_mul(dictionary) > most {
            total = total.saturating_add(texts(group, index, most).unwrap_or(0));
        }
        if total > most {
            return refuse(format!(
                "up to it a group of rows comes to {} MB or more, out of a file over a hundred times smaller; write the \
                 file anew with smaller groups",
                most >> 20
            ));
        }
    }
    Ok(())
}

struct Page {
    bytes: u64,
    values: u64,
    dictionary: bool,
}

/// The pages of a column by their headers; none where these cannot be read.
fn pages(source: &mut File, column: &ColumnChunkMetaData) -> Option<Vec<Page>> {
    let (mut at, length) = column.byte_range();
    let end = at.checked_add(length)?;
    let (mut pages, mut buffer) = (Vec::new(), Vec::new());
    while at < end {
        buffer.clear();
        source.seek(SeekFrom::Start(at)).ok()?;
        source.take((HEADER as u64).min(end - at)).read_to_end(&mut buffer).ok()?;
        let mut thrift = Thrift::of(&buffer);
        thrift.structure(0)?;
        let [kind, bytes, packed, values] = thrift.found;
        let (bytes, packed) = (u64::try_from(bytes).ok()?, u64::try_from(packed).ok()?);
        pages.push(Page { bytes, values: u64::try_from(values).ok()?, dictionary: kind == 2 });
        at = at.checked_add(thrift.at as u64)?.checked_add(packed)?;
    }
    Some(pages)
}

/// Structures and lists within each other; those of Parquet are fewer.
const DEPTH: usize = 16;

/// Thrift's compact encoding, as far as a page's header and a table of contents need it (parquet.thrift, `PageHeader` and `FileMetaData`).
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Type, bytes unpacked, bytes packed, and the values of the page.
    found: [i64; 4],
    depth: usize,
}

impl<'a> Thrift<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, found: [0; 4], depth: 0 }
    }

    fn byte(&mut self) -> Option<u8> {
        self.at += 1;
        self.bytes.get(self.at - 1).copied()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn deeper(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= DEPTH).then_some(())
    }

    /// `within` is the field of the header that holds the structure, 0 for the header itself.
    fn structure(&mut self, within: i64) -> Option<()> {
        self.deeper()?;
        let mut field = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                self.depth -= 1;
                return Some(());
            }
            let delta = i64::from(head >> 4);
            field = if delta == 0 { self.integer()? } else { field + delta };
            match head & 15 {
                4..=6 => {
                    let value = self.integer()?;
                    match (within, field) {
                        (0, 1..=3) => self.found[field as usize - 1] = value,
                        // The first field of each kind of page is its number of values.
                        (5 | 7 | 8, 1) => self.found[3] = value,
                        _ => {}
                    }
                }
                12 => self.structure(if within == 0 { field } else { -1 })?,
                kind => self.skip(kind)?,
            }
        }
    }

    fn skip(&mut self, kind: u8) -> Option<()> {
        match kind {
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.at += 8,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                self.deeper()?;
                for _ in 0..count {
                    match head & 15 {
                        12 => self.structure(-1)?,
                        1 | 2 => drop(self.byte()?),
                        kind => self.skip(kind)?,
                    }
                }
                self.depth -= 1;
            }
            12 => self.structure(-1)?,
            _ => return None,
        }
        (self.at <= self.bytes.len()).then_some(())
    }
}

/// Bytes of all values of a column of texts, none of them copied; stops beyond `most`.
fn texts(group: &dyn RowGroupReader, index: usize, most: u64) -> Option<u64> {
    let ColumnReader::ByteArrayColumnReader(mut reader) = group.get_column_reader(index).ok()? else {
        return None;
    };
    let mut total = 0u64;
    loop {
        let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
        let (_, read, levels) =
            reader.read_records(1024, Some(&mut defined), Some(&mut repeated), &mut values).ok()?;
        total = total.saturating_add(values.iter().map(|value| value.len() as u64).sum());
        if total > most || (read == 0 && levels == 0) {
            return Some(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a file of this table of contents is refused.
    fn refused(contents: &[u8]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let length = u32::try_from(contents.len()).unwrap().to_le_bytes();
        std::fs::write(&path, [b"PAR1", contents, &length, b"PAR1"].concat()).unwrap();
        let checked = check_contents(&path, &mut File::open(&path).unwrap());
        checked.is_err_and(|error| error.to_string().contains("rows.parquet: a damaged Parquet file"))
    }

    /// 0x29 is field 2, a list; 0xFC a list of structures whose number follows, 2^31 - 1 of them; 0x1C a list of one structure; 0x18 0x01
    /// field 1, a text of one byte.
    #[test]
    fn no_room_is_made_for_what_is_only_announced() {
        assert!(refused(b"\x29\xFC\xFF\xFF\xFF\xFF\x07\x18\x01a\x00\x00"));
        assert!(!refused(b"\x29\x1C\x18\x01a\x00\x00"));
        // Lists of lists, as deep as the file is long.
        assert!(refused(&[b"\x29".as_slice(), &[0x19; 1 << 20]].concat()));
        // What is no table of contents at all is left to the reader.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        std::fs::write(&path, b"PAR1").unwrap();
        assert!(check_contents(&path, &mut File::open(&path).unwrap()).is_ok());
        let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data/rows.parquet");
        assert!(check_contents(&table, &mut File::open(&table).unwrap()).is_ok());
    }
}
