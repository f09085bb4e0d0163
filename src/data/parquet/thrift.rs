//! Thrift's compact encoding, as far as what describes a Parquet file needs it.

/// Structures and lists within each other; those of Parquet are fewer.
const DEPTH: usize = 16;

/// Reads bytes from left to right; what they lack, or cannot be, is `None`.
pub struct Thrift<'a> {
    bytes: &'a [u8],
    /// Where it stands.
    pub at: usize,
    depth: usize,
}

/// What is done with a field, by its number and type.
type Field<'f, 'a> = dyn FnMut(&mut Thrift<'a>, i64, u8) -> Option<()> + 'f;

impl<'a> Thrift<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// How many bytes there are in all.
    pub fn length(&self) -> usize {
        self.bytes.len()
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

    pub fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The fields of a structure, of which each is to be read or skipped.
    pub fn fields(&mut self, each: &mut Field<'_, 'a>) -> Option<()> {
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
            i16::try_from(field).ok()?;
            each(self, field, head & 15)?;
        }
    }

    /// The elements of a list, of which each is to be read or skipped by its type.
    pub fn elements(&mut self, each: &mut dyn FnMut(&mut Self, u8) -> Option<()>) -> Option<()> {
        self.deeper()?;
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        for _ in 0..count {
            each(self, head & 15)?;
        }
        self.depth -= 1;
        Some(())
    }

    fn deeper(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= DEPTH).then_some(())
    }

    /// Passes over what is of this type. Truth values in lists, of which Parquet has none, are not known.
    pub fn skip(&mut self, kind: u8) -> Option<()> {
        match kind {
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.at += 8,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            9 | 10 => self.elements(&mut |thrift, kind| match kind {
                1 | 2 => None,
                kind => thrift.skip(kind),
            })?,
            12 => self.fields(&mut |thrift, _, kind| thrift.skip(kind))?,
            _ => return None,
        }
        (self.at <= self.bytes.len()).then_some(())
    }
}
