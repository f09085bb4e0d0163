//! TensorBoard's event files, read in the order of their names.

use std::fmt;
use std::fs;
use std::path::Path;

/// A figure at a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub tag: String,
    pub step: u64,
    pub value: f32,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} {:?}", self.step, self.tag, self.value)
    }
}

/// The points of a folder, by step and then by name.
pub fn points(folder: &Path) -> Vec<Point> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut points = Vec::new();
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let mut rest = &bytes[..];
        // A record: its length, a check sum of that, the event, a check sum of it. The last one may be cut off.
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let length = u64::from_le_bytes(*length) as usize;
            let Some(event) = after.get(4..4usize.saturating_add(length)) else { break };
            take(event, &mut points);
            rest = after.get(length + 8..).unwrap_or_default();
        }
    }
    points.sort_by(|a, b| (a.step, &a.tag).cmp(&(b.step, &b.tag)));
    points
}

/// `Event`: 2 is its step, 5 its summary.
fn take(event: &[u8], points: &mut Vec<Point>) {
    let step = fields(event).iter().find_map(|field| field.number(2)).unwrap_or(0);
    for field in fields(event) {
        if let Some(summary) = field.message(5) {
            for value in fields(summary).iter().filter_map(|field| field.message(1)) {
                let value = fields(value);
                let tag = value.iter().find_map(|field| field.message(1)).unwrap_or_default();
                let tag = String::from_utf8_lossy(tag).into_owned();
                // A value of 0 is left out.
                let value = value.iter().find_map(|field| field.fixed(2)).unwrap_or(0.0);
                points.push(Point { tag, step, value });
            }
        }
    }
}

enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
    Fixed(u64, f32),
}

impl<'a> Field<'a> {
    fn number(&self, wanted: u64) -> Option<u64> {
        matches!(self, Field::Number(tag, _) if *tag == wanted).then(|| match self {
            Field::Number(_, value) => *value,
            _ => 0,
        })
    }

    fn message(&self, wanted: u64) -> Option<&'a [u8]> {
        match self {
            Field::Bytes(tag, bytes) if *tag == wanted => Some(bytes),
            _ => None,
        }
    }

    fn fixed(&self, wanted: u64) -> Option<f32> {
        match self {
            Field::Fixed(tag, value) if *tag == wanted => Some(*value),
            _ => None,
        }
    }
}

/// The fields of a protocol buffer's message.
fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let tag = key >> 3;
        let mut part = |length: usize| {
            let (part, rest) = bytes.split_at(length.min(bytes.len()));
            bytes = rest;
            part
        };
        match key & 7 {
            0 => found.push(Field::Number(tag, varint(&mut bytes))),
            1 => drop(part(8)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (part, rest) = bytes.split_at(length.min(bytes.len()));
                bytes = rest;
                found.push(Field::Bytes(tag, part));
            }
            5 => found.push(Field::Fixed(tag, f32::from_le_bytes(part(4).try_into().unwrap_or_default()))),
            _ => break,
        }
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else { break };
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
