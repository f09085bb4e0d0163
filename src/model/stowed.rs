//! Files written at once: tensors, of which one is in memory at a time, and JSON.

use crate::{Error, Result};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Writes `tensors` to `path` at once: a reader sees the old file or the whole new one.
pub(super) fn write_tensors(path: &Path, tensors: Vec<(String, Tensor)>) -> Result<()> {
    write_stowed(path, tensors.into_iter().map(|(name, tensor)| (name, Stowed::new(tensor))))
}

/// The same of tensors that are made as their turn comes.
pub(super) fn write_stowed<'m>(path: &Path, views: impl Iterator<Item = (String, Stowed<'m>)>) -> Result<()> {
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    replace(path, |temporary| {
        safetensors::serialize_to_file(views, Some(metadata), temporary).map_err(|error| match error {
            SafeTensorError::IoError(source) => Error::io(path)(source),
            other => Error::Model(format!("{}: cannot be written: {other}", path.display())),
        })
    })
}

/// Writes `value` to `path` at once, indented.
pub(super) fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let text = format!("{value:#}\n");
    replace(path, |temporary| std::fs::write(temporary, text).map_err(Error::io(temporary)))
}

/// Lets `write` fill a file beside `path`, makes sure of it on disk, then gives it `path`'s name.
fn replace(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = write(&temporary)
        .and_then(|()| File::open(&temporary).and_then(|f| f.sync_all()).map_err(Error::io(&temporary)))
        .and_then(|()| std::fs::rename(&temporary, path).map_err(Error::io(path)));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(e)),
        _ => Ok(()),
    }
}

pub(super) fn bytes_of(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}

/// A tensor on its way to a file; made, and brought to the CPU, only when its turn comes.
pub(super) struct Stowed<'m> {
    /// It, or one of its shape and kind.
    tensor: Tensor,
    shape: Vec<usize>,
    make: Option<Box<dyn Fn() -> Tensor + 'm>>,
}

impl<'m> Stowed<'m> {
    pub fn new(tensor: Tensor) -> Self {
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        Self { tensor, shape, make: None }
    }

    /// What `make` gives, which has the shape and the kind of `like`.
    pub fn made(like: Tensor, make: impl Fn() -> Tensor + 'm) -> Self {
        Self { make: Some(Box::new(make)), ..Self::new(like) }
    }
}

impl View for Stowed<'_> {
    fn dtype(&self) -> Dtype {
        match self.tensor.kind() {
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let tensor = self.make.as_ref().map_or_else(|| self.tensor.shallow_clone(), |make| make());
        let mut bytes = vec![0; self.data_len()];
        tensor.detach().to_device(Device::Cpu).contiguous().copy_data_u8(&mut bytes, tensor.numel());
        bytes.into()
    }

    fn data_len(&self) -> usize {
        bytes_of(&self.tensor)
    }
}
