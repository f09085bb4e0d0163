//! The tensors in a folder's safetensors files, memory-mapped and handed out one by one.

use super::block::outlined;
use super::{Config, composite, finite, mxfp4, names};
use crate::{Error, Result, limited};
use memmap2::{Mmap, UncheckedAdvice};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// The weights' name where one file holds them.
pub(super) const SINGLE: &str = "model.safetensors";

/// The list of files where several do.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// What the names of layers that predict further tokens at once begin with: transformers too leaves them out.
const FURTHER: &str = "mtp.";

/// What is made of the tensors that are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taking {
    pub kind: Kind,
    pub device: Device,
    /// Whether their numbers are taken. Else all that a file says of them is looked at, and of the numbers whether they are finite: of many, of
    /// some; and what is handed out has their shape and no memory.
    pub numbers: bool,
}

impl Taking {
    /// Without their numbers.
    pub const OUTLINES: Self = Self { kind: Kind::Float, device: Device::Cpu, numbers: false };

    /// In numbers of `kind` on `device`.
    pub fn numbers(kind: Kind, device: Device) -> Self {
        Self { kind, device, numbers: true }
    }
}

/// The tensors of a folder that have not been taken yet.
pub(super) struct Stored {
    taking: Taking,
    /// What an error points at: the single file, or the index.
    source: PathBuf,
    files: Vec<Mapped>,
    /// Name to file, and to the name there.
    places: HashMap<String, (usize, String)>,
    /// One of how many blocks of numbers is looked at where they are not taken.
    one_of: usize,
}

/// One safetensors file, mapped.
struct Mapped {
    path: PathBuf,
    bytes: Mmap,
    start: usize,
    metadata: Metadata,
}

/// What is read of a tensor's numbers.
#[derive(Clone, Copy)]
enum Reads {
    All,
    /// One of so many blocks, to see whether they are finite.
    OneOf(usize),
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Stored {
    /// The weights of the model folder `dir`.
    pub fn open(dir: &Path, taking: Taking) -> Result<Self> {
        let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
        if single.is_file() {
            return Self::one(single, taking);
        }
        if index.is_file() {
            return Self::sharded(dir, index, taking);
        }
        let there = dir.join("pytorch_model.bin");
        if there.is_file() || dir.join("pytorch_model.bin.index.json").is_file() {
            return Err(Error::Model(format!(
                "{}: pickled weights are not read, since a pickle can run code; convert them with transformers: \
                 AutoModelForCausalLM.from_pretrained({dir:?}).save_pretrained(\"converted\", safe_serialization=True)",
                there.display()
            )));
        }
        Err(Error::Model(format!("{}: neither {SINGLE} nor {INDEX} is here", dir.display())))
    }

    /// The tensors of one file.
    pub fn one(path: PathBuf, taking: Taking) -> Result<Self> {
        let file = Mapped::open(path.clone())?;
        let names = file.metadata.tensors().into_keys().map(|name| (name, 0)).collect();
        Ok(Self::of(taking, path, vec![file], names))
    }

    /// The tensors of one file, where it is there.
    pub fn beside(path: PathBuf, taking: Taking) -> Result<Option<Self>> {
        path.is_file().then(|| Self::one(path, taking)).transpose()
    }

    fn sharded(dir: &Path, source: PathBuf, taking: Taking) -> Result<Self> {
        let text = limited::text(&source, limited::INDEX)?;
        let index: Index =
            serde_json::from_str(&text).map_err(|e| Error::Model(format!("{}: {e}", source.display())))?;
        let names: BTreeSet<&String> = index.weight_map.values().collect();
        let mut files = Vec::new();
        let mut numbers = HashMap::new();
        for name in names {
            numbers.insert(name.clone(), files.len());
            files.push(Mapped::open(dir.join(inside(name, &source)?))?);
        }
        let names = index.weight_map.iter().map(|(tensor, file)| (tensor.clone(), numbers[file]));
        let names = names.collect();
        Ok(Self::of(taking, source, files, names))
    }

    fn of(taking: Taking, source: PathBuf, files: Vec<Mapped>, names: Vec<(String, usize)>) -> Self {
        let one_of = finite::one_of(files.iter().map(|file| file.bytes.len()).sum());
        Self { taking, source, files, places: places(names), one_of }
    }

    /// Whether the files hold other parts too, which are left out.
    pub fn leaves_parts_out(&self) -> bool {
        self.places.iter().any(|(name, (_, stored))| name != stored || name.starts_with(FURTHER))
    }

    /// Whether there is an output projection that is not the embedding, which only numbers say.
    pub fn has_own_head(&self, config: &Config) -> Result<bool> {
        let [head, embedding] = [names::HEAD, names::EMBEDDING].map(|name| config.family.name(name));
        let (Some((at, head)), Some((of, embedding))) = (self.places.get(&head), self.places.get(&embedding))
        else {
            return Ok(false);
        };
        let shape = [config.vocab_size as i64, config.hidden_size as i64];
        let [head, embedding] = [self.tensor(*at, head, &shape)?, self.tensor(*of, embedding, &shape)?];
        Ok(self.taking.numbers && (head.kind() != embedding.kind() || !head.equal(&embedding)))
    }

    /// As [`take`](Self::take), in the numbers and on the device that are asked for.
    pub fn take_as(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let Taking { kind, device, .. } = self.taking;
        Ok(self.take(name, shape)?.to_device(device).to_kind(kind))
    }

    /// The tensor called `name`, which must have this `shape`, on the CPU and as stored. One of a name with `*` is put together of those
    /// that have a number there.
    pub fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        if let Some(together) = self.experts_together(name, shape)? {
            return Ok(together);
        }
        if let Some(parts) = names::parts(name, shape[0]) {
            let parts = parts.into_iter().map(|part| self.take(&part, &shape[1..]));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            return Ok(self.made(shape, || Tensor::stack(&parts, 0)));
        }
        let quantised = [format!("{name}_blocks"), format!("{name}_scales")];
        if let (&[experts, input, out], true) = (shape, self.places.contains_key(&quantised[0])) {
            // Stored the other way round, a row of blocks an output.
            let groups = input / mxfp4::BLOCK;
            let [blocks, scales] = [vec![experts, out, groups, mxfp4::BLOCK / 2], vec![experts, out, groups]];
            let [blocks, scales] = [self.bytes(&quantised[0], &blocks)?, self.bytes(&quantised[1], &scales)?];
            return Ok(self.made(shape, || {
                let each = blocks.unbind(0).into_iter().zip(scales.unbind(0));
                let each = each.map(|(blocks, scales)| mxfp4::dequantised(&blocks, &scales).tr());
                Tensor::stack(&each.collect::<Vec<_>>(), 0)
            }));
        }
        let (place, name) = self.places.remove(name).ok_or_else(|| {
            let remedy = match name {
                "lm_head.weight" => {
                    "; where the head is the embedding, config.json says tie_word_embeddings: true"
                }
                _ => "; the file is incomplete or belongs to another config.json",
            };
            Error::Model(format!("{}: tensor {name} is missing{remedy}", self.source.display()))
        })?;
        self.tensor(place, &name, shape)
    }

    /// The tensor of a file that is called `name` there.
    fn tensor(&self, place: usize, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.files[place].stored(name, shape, None, self.reads())
    }

    /// What is made of several, of this shape.
    fn made(&self, shape: &[i64], make: impl FnOnce() -> Tensor) -> Tensor {
        if self.taking.numbers { make() } else { outlined(shape) }
    }

    /// The matrices of all experts where a checkpoint has them in one tensor, gates above what they gate, as transformers computes with them.
    fn experts_together(&mut self, name: &str, shape: &[i64]) -> Result<Option<Tensor>> {
        let (Some((experts, part)), &[count, out, input]) = (name.split_once(".*."), shape) else {
            return Ok(None);
        };
        let (key, half) = match part {
            "gate_proj.weight" => ("gate_up_proj", Some(0)),
            "up_proj.weight" => ("gate_up_proj", Some(out)),
            "down_proj.weight" => ("down_proj", None),
            _ => return Ok(None),
        };
        let key = format!("{experts}.{key}");
        let Some((place, stored)) = self.places.get(&key).cloned() else { return Ok(None) };
        // Gates are asked for first.
        if half != Some(0) {
            self.places.remove(&key);
        }
        let both = if half.is_some() { 2 } else { 1 };
        let tensor = self.tensor(place, &stored, &[count, both * out, input])?;
        let part = |start: i64| self.made(shape, || tensor.narrow(1, start, out).copy());
        Ok(Some(half.map_or_else(|| tensor.shallow_clone(), part)))
    }

    /// The bytes called `name`, of this `shape`.
    fn bytes(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let missing = || Error::Model(format!("{}: tensor {name} is missing", self.source.display()));
        let (place, name) = self.places.remove(name).ok_or_else(missing)?;
        self.files[place].stored(&name, shape, Some(Kind::Uint8), self.reads())
    }

    fn reads(&self) -> Reads {
        if self.taking.numbers { Reads::All } else { Reads::OneOf(self.one_of) }
    }

    /// The names of those that are not taken, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.places.keys().cloned().collect();
        names.sort();
        names
    }

    /// Whether a tensor of this name is there and not taken.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Refuses weights that the model has no place for, which would be lost without a word. A `head` that the model does
    /// without may be there.
    pub fn nothing_left(&self, head: Option<&String>) -> Result<()> {
        let harmless = |name: &String| {
            name.ends_with("rotary_emb.inv_freq") || name.starts_with(FURTHER) || Some(name) == head
        };
        let mut extra: Vec<&String> = self.places.keys().filter(|name| !harmless(name)).collect();
        extra.sort();
        let Some(first) = extra.first() else { return Ok(()) };
        let more = if extra.len() > 1 { format!(" and {} more", extra.len() - 1) } else { String::new() };
        Err(Error::Model(format!(
            "{}: tensor {first}{more} has no place in the model that config.json describes; \
             check its model_type, num_hidden_layers, attention_bias and mlp_bias",
            self.source.display()
        )))
    }
}

/// Where the tensors are that a model has: of a language model beside other parts, its own alone.
fn places(names: Vec<(String, usize)>) -> HashMap<String, (usize, String)> {
    let composite = names.iter().any(|(name, _)| composite::beside(name));
    let place = |(name, file): (String, usize)| {
        let own = if composite { composite::alone(&name)? } else { name.clone() };
        Some((own, (file, name)))
    };
    names.into_iter().filter_map(place).collect()
}

impl Mapped {
    fn open(path: PathBuf) -> Result<Self> {
        limited::size(&path)?;
        let file = File::open(&path).map_err(Error::io(&path))?;
        // Safety: the mapping is only read, and dropped when loading ends; a file that another program cuts short
        // meanwhile would stop this one, as it would in every reader of safetensors.
        let bytes = unsafe { Mmap::map(&file) }.map_err(Error::io(&path))?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| Error::Model(format!("{}: not a whole safetensors file: {e}", path.display())))?;
        Ok(Self { path, start: header + 8, bytes, metadata })
    }

    /// A tensor of numbers, or of another `kind`; its outline where not all of it is read.
    fn stored(&self, name: &str, shape: &[i64], other: Option<Kind>, reads: Reads) -> Result<Tensor> {
        let refuse = |why: String| Err(Error::Model(format!("{}: tensor {name} {why}", self.path.display())));
        let Some(info) = self.metadata.info(name) else {
            return refuse("is not in this file, though the index says so".into());
        };
        let TensorInfo { dtype, shape: stored, data_offsets: (from, to) } = info;
        if !stored.iter().map(|&n| n as i64).eq(shape.iter().copied()) {
            return refuse(format!("has shape {stored:?}; by config.json it should be {shape:?}"));
        }
        let kind = match dtype {
            Dtype::F32 => Kind::Float,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F16 => Kind::Half,
            Dtype::U8 if other == Some(Kind::Uint8) => Kind::Uint8,
            other => return refuse(format!("is stored as {other:?}; known: F32, BF16, F16")),
        };
        if let Some(other) = other.filter(|other| *other != kind) {
            return refuse(format!("is stored as {dtype:?}, not as {other:?}"));
        }
        let bytes = self.start.checked_add(*from).zip(self.start.checked_add(*to));
        let Some(bytes) = bytes.and_then(|(from, to)| self.bytes.get(from..to)) else {
            return refuse("lies outside of the file".into());
        };
        let wanted = stored.iter().try_fold(kind.elt_size_in_bytes(), |bytes, &size| bytes.checked_mul(size));
        if wanted != Some(bytes.len()) {
            return refuse(format!("has {} bytes, which its shape {stored:?} does not", bytes.len()));
        }
        // All that is computed with one that is not would be NaN, and the first sign of it a loss.
        let (tensor, are_finite) = match reads {
            Reads::All => {
                let tensor = Tensor::f_from_data_size(bytes, shape, kind)?;
                let are_finite = tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0;
                (tensor, are_finite)
            }
            Reads::OneOf(many) => (outlined(shape), finite::are_finite(bytes, kind, many)),
        };
        // What has been copied, or looked at, is not kept in memory.
        // SAFETY: pages of a file that nothing writes to are read again where they are looked at again.
        let _ = unsafe {
            self.bytes.unchecked_advise_range(UncheckedAdvice::DontNeed, self.start + from, to - from)
        };
        if !are_finite {
            let why = "has numbers that are not finite: the file is damaged, or its training diverged; take an earlier checkpoint";
            return refuse(why.into());
        }
        Ok(tensor)
    }
}

/// A shard's name, which may not lead out of the model's folder.
fn inside<'n>(name: &'n str, index: &Path) -> Result<&'n Path> {
    let path = Path::new(name);
    if path.components().all(|part| matches!(part, Component::Normal(_))) && !name.is_empty() {
        return Ok(path);
    }
    Err(Error::Model(format!("{}: the file name {name:?} leads out of the model's folder", index.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    /// Nobody writes into it: to read it would never end.
    #[test]
    fn a_pipe_in_the_place_of_a_shard_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = CString::new(folder.path().join("pipe").as_os_str().as_bytes()).unwrap();
        // SAFETY: mkfifo(3) reads the path alone.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        for name in ["pipe", "."] {
            let index = format!("{{\"weight_map\": {{\"model.norm.weight\": {name:?}}}}}");
            std::fs::write(folder.path().join(INDEX), index).unwrap();
            let refused =
                Stored::open(folder.path(), Taking::OUTLINES).err().expect("no weights").to_string();
            assert!(refused.contains("no file, but a pipe") || refused.contains("leads out"), "{refused}");
        }
    }
}
