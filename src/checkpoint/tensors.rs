//! Named tensors as a safetensors file, every bit of them.

use crate::{Error, Result, limited};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Writes `tensors` to `path`, one at a time, so that no second copy of all of them is ever in memory.
pub fn save_tensors(path: impl AsRef<Path>, tensors: &[(String, Tensor)]) -> Result<()> {
    let path = path.as_ref();
    let views = tensors.iter().map(|(name, tensor)| Ok((name, Stored::new(name, tensor)?)));
    let views = views.collect::<Result<Vec<_>>>()?;
    safetensors::serialize_to_file(views, None, path).map_err(|error| match error {
        SafeTensorError::IoError(source) => Error::io(path)(source),
        other => Error::Checkpoint(format!("{} cannot be written: {other}", path.display())),
    })
}

/// Reads all tensors of a safetensors file to the CPU, in the order of their names.
pub fn load_tensors(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    let unreadable = |error: &dyn std::fmt::Display| {
        Error::Checkpoint(format!("{} is not a whole safetensors file: {error}", path.display()))
    };
    let file = limited::open(path).map_err(Error::io(path))?;
    // SAFETY: checkpoints never change once they have their name; only pruning unlinks them, which a map survives.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path))?;
    let stored = SafeTensors::deserialize(&bytes).map_err(|error| unreadable(&error))?;
    let mut tensors = Vec::with_capacity(stored.len());
    for (name, view) in stored.tensors() {
        let kind = kind(view.dtype()).ok_or_else(|| unreadable(&format!("{name} is {:?}", view.dtype())))?;
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        tensors.push((name, Tensor::f_from_data_size(view.data(), &shape, kind)?));
    }
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(tensors)
}

struct Stored<'a> {
    tensor: &'a Tensor,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl<'a> Stored<'a> {
    fn new(name: &str, tensor: &'a Tensor) -> Result<Self> {
        let Some((_, dtype)) = KINDS.into_iter().find(|(kind, _)| *kind == tensor.kind()) else {
            return Err(Error::Checkpoint(format!("{name} is {:?}, which is not stored", tensor.kind())));
        };
        Ok(Self { tensor, dtype, shape: tensor.size().iter().map(|&n| n as usize).collect() })
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; self.data_len()];
        let tensor = self.tensor.detach().to_device(Device::Cpu).contiguous();
        tensor.copy_data_u8(&mut bytes, self.tensor.numel());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

const KINDS: [(Kind, Dtype); 6] = [
    (Kind::Float, Dtype::F32),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Half, Dtype::F16),
    (Kind::Double, Dtype::F64),
    (Kind::Int64, Dtype::I64),
    (Kind::Uint8, Dtype::U8),
];

pub(super) fn kind(dtype: Dtype) -> Option<Kind> {
    KINDS.into_iter().find(|(_, known)| *known == dtype).map(|(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        // −0, the smallest subnormal, a NaN with a payload: equal as bits, not as numbers.
        let odd = [0x8000_0000u32, 1, 0x7FC0_1234, 0x3EAA_AAAB].map(f32::from_bits);
        let matrix = Tensor::from_slice(&odd).reshape([2, 2]);
        let tensors = vec![
            ("b".to_string(), matrix.tr()),
            ("a".to_string(), matrix.to_kind(Kind::BFloat16)),
            ("scalar".to_string(), Tensor::from(7.0f32)),
            ("empty".to_string(), Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))),
        ];
        save_tensors(&path, &tensors).unwrap();
        let loaded = load_tensors(&path).unwrap();
        assert_eq!(
            loaded.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["a", "b", "empty", "scalar"]
        );
        for (name, tensor) in &tensors {
            let (_, other) = loaded.iter().find(|(known, _)| known == name).unwrap();
            assert_eq!((tensor.size(), tensor.kind()), (other.size(), other.kind()));
            assert_eq!(Stored::new(name, tensor).unwrap().data(), Stored::new(name, other).unwrap().data());
        }
    }

    #[test]
    fn a_cut_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.safetensors");
        save_tensors(&path, &[("a".to_string(), Tensor::from_slice(&[1.0f32; 64]))]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        assert!(load_tensors(&path).unwrap_err().to_string().contains("cut.safetensors"));
    }
}
