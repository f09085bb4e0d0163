//! What the pages of a Parquet file would come to in memory, found before they are unpacked.

use super::thrift::Thrift;
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
        let [kind, bytes, packed, values] = header(&mut thrift)?;
        let (bytes, packed) = (u64::try_from(bytes).ok()?, u64::try_from(packed).ok()?);
        pages.push(Page { bytes, values: u64::try_from(values).ok()?, dictionary: kind == 2 });
        at = at.checked_add(thrift.at as u64)?.checked_add(packed)?;
    }
    Some(pages)
}

/// A page's type, bytes unpacked and packed, and values (parquet.thrift, `PageHeader`).
fn header(thrift: &mut Thrift) -> Option<[i64; 4]> {
    let mut found = [0; 4];
    thrift.fields(&mut |thrift, field, kind| match (field, kind) {
        (1..=3, 4..=6) => {
            found[field as usize - 1] = thrift.integer()?;
            Some(())
        }
        // The first field of each kind of page is its number of values.
        (5 | 7 | 8, 12) => thrift.fields(&mut |thrift, field, kind| match (field, kind) {
            (1, 4..=6) => {
                found[3] = thrift.integer()?;
                Some(())
            }
            _ => thrift.skip(kind),
        }),
        _ => thrift.skip(kind),
    })?;
    Some(found)
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
