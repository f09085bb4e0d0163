//! Tensors of several safetensors files of which each may have a part, read by ranges of elements: nobody has more of them in memory than it asks for.

use super::tensors::kind;
use crate::{Error, Result, limited};
use memmap2::Mmap;
use safetensors::tensor::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// What is kept of a part, by name: its tensor's name, and where the part begins.
pub fn part_name(name: &str, start: i64) -> String {
    format!("{name}@{start}")
}

/// The tensors of some files, by name.
pub struct Ranges {
    files: Vec<(PathBuf, Mmap)>,
    /// Parts in their order.
    tensors: BTreeMap<String, Vec<Part>>,
}

struct Part {
    start: i64,
    len: i64,
    /// None of what was divided, which has no shape any more.
    shape: Option<Vec<i64>>,
    file: usize,
    /// The part's bytes in it.
    bytes: std::ops::Range<usize>,
    kind: Kind,
}

impl Ranges {
    /// Looks into the files.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] of one that is not whole.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let (mut files, mut tensors) = (Vec::new(), BTreeMap::<String, Vec<Part>>::new());
        for (number, path) in paths.iter().enumerate() {
            let file = limited::open(path).map_err(Error::io(path))?;
            // SAFETY: checkpoints never change once they have their name; only pruning unlinks them, which a map survives.
            let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
            let stored = SafeTensors::deserialize(&map).map_err(|error| unreadable(path, &error))?;
            for (name, view) in stored.tensors() {
                let Some(kind) = kind(view.dtype()) else {
                    return Err(unreadable(path, &format!("{name} is {:?}", view.dtype())));
                };
                let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
                let from = view.data().as_ptr() as usize - map.as_ptr() as usize;
                let bytes = from..from + view.data().len();
                let divided = name
                    .rsplit_once('@')
                    .and_then(|(name, start)| Some((name.to_string(), start.parse().ok()?)));
                let (len, file) = (shape.iter().product(), number);
                let (name, start, shape) = match divided {
                    Some((name, start)) => (name, start, None),
                    None => (name, 0, Some(shape)),
                };
                let parts = tensors.entry(name).or_default();
                // A part of no elements begins where another one does, and what all have alike is there once for each.
                if (len > 0 || shape.is_some()) && parts.iter().all(|part| part.start != start) {
                    parts.push(Part { start, len, shape, file, bytes, kind });
                }
            }
            files.push((path.clone(), map));
        }
        tensors.values_mut().for_each(|parts| parts.sort_by_key(|part| part.start));
        Ok(Self { files, tensors })
    }

    /// The tensors' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor that is there, of one that was divided how many elements it has.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        let parts = self.tensors.get(name)?;
        let elements = || parts.last().map_or(0, |part| part.start + part.len);
        Some(parts.first().and_then(|part| part.shape.clone()).unwrap_or_else(|| vec![elements()]))
    }

    /// As what a tensor that is there is kept.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.tensors.get(name)?.first().map(|part| part.kind)
    }

    /// So many elements of the tensor called `name` from one on, flat, on the CPU.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where a part of them is in no file.
    pub fn read(&self, name: &str, start: i64, len: i64) -> Result<Tensor> {
        let (mut next, end, mut found) = (start, start + len, Vec::new());
        for part in self.tensors.get(name).into_iter().flatten() {
            if next < end && part.start <= next && next < part.start + part.len {
                let (from, to) = (next - part.start, end.min(part.start + part.len) - part.start);
                let width = part.kind.elt_size_in_bytes();
                let bytes = part.bytes.start + from as usize * width..part.bytes.start + to as usize * width;
                let map = &self.files[part.file].1;
                found.push(Tensor::f_from_data_size(&map[bytes], &[to - from], part.kind)?);
                next = part.start + to;
            }
        }
        if next < end {
            return Err(Error::Checkpoint(format!(
                "the optimiser state has no part of {name} from its element {next} on"
            )));
        }
        match found.len() {
            1 => Ok(found.swap_remove(0)),
            0 => Ok(Tensor::f_zeros([0], (Kind::Float, tch::Device::Cpu))?),
            _ => Ok(Tensor::f_cat(&found, 0)?),
        }
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Checkpoint(format!("{} is not a whole safetensors file: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::tensors::save_tensors;
    use super::*;

    #[test]
    fn parts_are_read_as_one_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let whole = Tensor::arange(7, (Kind::Float, tch::Device::Cpu));
        let file = |number: usize, start: i64, len: i64| {
            let path = folder.path().join(number.to_string());
            let step = ("step".to_string(), Tensor::from(4.0f32));
            save_tensors(&path, &[step, (part_name("w", start), whole.narrow(0, start, len))]).unwrap();
            path
        };
        // The last of four has none, and one that is empty may begin where another does.
        let files = [file(0, 0, 3), file(1, 3, 3), file(2, 6, 1), file(3, 6, 0)];
        let all = Ranges::open(&files).unwrap();
        assert_eq!(all.names().collect::<Vec<_>>(), ["step", "w"]);
        assert_eq!((all.shape("step"), all.shape("w"), all.shape("v")), (Some(vec![]), Some(vec![7]), None));
        for (start, len) in [(0, 7), (2, 3), (3, 3), (5, 2), (6, 1), (7, 0)] {
            assert!(all.read("w", start, len).unwrap().equal(&whole.narrow(0, start, len)), "{start} {len}");
        }
        assert_eq!(all.read("step", 0, 1).unwrap().double_value(&[0]), 4.0);
        let gap = Ranges::open(&[files[0].clone(), files[2].clone()]).unwrap();
        let error = gap.read("w", 1, 6).err().unwrap().to_string();
        assert!(error.contains("no part of w from its element 3 on"), "{error}");
    }
}
