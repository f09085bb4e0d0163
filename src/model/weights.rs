//! Model folders: safetensors in, safetensors out, as Hugging Face lays them out.

use super::{Config, Model, config, names};
use crate::{Error, Result};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo, View};
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use tch::{Device, Kind, Tensor};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Bytes in one file, as transformers shards them.
const SHARD: usize = 5_000_000_000;

impl Model {
    /// The model in the folder `dir`, its weights cast to `kind`.
    pub fn load(dir: &Path, kind: Kind, device: Device) -> Result<Self> {
        let config = Config::read(dir)?;
        let mut stored = Stored::open(dir)?;
        let tied = config.tie_word_embeddings;
        let model = names::assemble(config, device, |name, shape| {
            let tensor = stored.take(name, shape)?;
            Ok(tensor.to_device(device).to_kind(kind))
        })?;
        stored.nothing_left(tied)?;
        Ok(model)
    }

    /// Writes `config.json` and the weights into the folder `dir`, made where it is missing. Adapters are merged:
    /// what is saved is what the model computes, in plain files that transformers loads.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.save_sharded(dir, SHARD)
    }

    fn save_sharded(&self, dir: &Path, limit: usize) -> Result<()> {
        if !self.adapters().is_empty() && self.adapted {
            return self.merged().save_sharded(dir, limit);
        }
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let shards = shards(self.tensors(), limit);
        let count = shards.len();
        let mut files = BTreeMap::new();
        let mut total = 0;
        for (i, shard) in shards.into_iter().enumerate() {
            let file = match count {
                1 => SINGLE.to_string(),
                _ => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
            };
            total += shard.iter().map(|(_, t)| bytes_of(t)).sum::<usize>();
            files.extend(shard.iter().map(|(name, _)| (name.clone(), file.clone())));
            write_tensors(&dir.join(&file), shard)?;
        }
        // The other layout's files, left by an earlier save, would be read instead of these or beside them.
        if count == 1 {
            remove(&dir.join(INDEX))?;
        } else {
            write_json(&dir.join(INDEX), &json!({"metadata": {"total_size": total}, "weight_map": files}))?;
            remove(&dir.join(SINGLE))?;
        }
        write_json(&dir.join(config::FILE), &self.config.to_json(self.kind()))
    }
}

/// Writes `tensors` to `path` at once: a reader sees the old file or the whole new one.
pub(super) fn write_tensors(path: &Path, tensors: Vec<(String, Tensor)>) -> Result<()> {
    let views = tensors.into_iter().map(|(name, tensor)| (name, Stowed::new(tensor)));
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    replace(path, |temporary| {
        safetensors::serialize_to_file(views, Some(metadata), temporary)
            .map_err(|e| Error::Model(format!("{}: cannot be written: {e}", path.display())))
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

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(e)),
        _ => Ok(()),
    }
}

/// Tensors in files of at most `limit` bytes, unless one alone is larger.
fn shards(tensors: Vec<(String, Tensor)>, limit: usize) -> Vec<Vec<(String, Tensor)>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for (name, tensor) in tensors {
        let bytes = bytes_of(&tensor);
        if filled > 0 && filled + bytes > limit {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        if let Some(last) = shards.last_mut() {
            last.push((name, tensor));
        }
    }
    shards
}

fn bytes_of(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}

/// A tensor on its way to a file; brought to the CPU only when its turn comes.
struct Stowed {
    tensor: Tensor,
    shape: Vec<usize>,
}

impl Stowed {
    fn new(tensor: Tensor) -> Self {
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        Self { tensor, shape }
    }
}

impl View for Stowed {
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
        let mut bytes = vec![0; self.data_len()];
        self.tensor
            .detach()
            .to_device(Device::Cpu)
            .contiguous()
            .copy_data_u8(&mut bytes, self.tensor.numel());
        bytes.into()
    }

    fn data_len(&self) -> usize {
        bytes_of(&self.tensor)
    }
}

/// The tensors of a folder that have not been taken yet.
pub(super) struct Stored {
    /// What an error points at: the single file, or the index.
    source: PathBuf,
    files: Vec<Mapped>,
    /// Name to file.
    places: HashMap<String, usize>,
}

/// One safetensors file, mapped.
struct Mapped {
    path: PathBuf,
    bytes: Mmap,
    start: usize,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Stored {
    /// The weights of the model folder `dir`.
    fn open(dir: &Path) -> Result<Self> {
        let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
        if single.is_file() {
            return Self::one(single);
        }
        if index.is_file() {
            return Self::sharded(dir, index);
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
    pub(super) fn one(path: PathBuf) -> Result<Self> {
        let file = Mapped::open(path.clone())?;
        let places = file.metadata.tensors().into_keys().map(|name| (name, 0)).collect();
        Ok(Self { source: path, files: vec![file], places })
    }

    fn sharded(dir: &Path, source: PathBuf) -> Result<Self> {
        let text = std::fs::read_to_string(&source).map_err(Error::io(&source))?;
        let index: Index =
            serde_json::from_str(&text).map_err(|e| Error::Model(format!("{}: {e}", source.display())))?;
        let names: BTreeSet<&String> = index.weight_map.values().collect();
        let mut files = Vec::new();
        let mut numbers = HashMap::new();
        for name in names {
            numbers.insert(name.clone(), files.len());
            files.push(Mapped::open(dir.join(inside(name, &source)?))?);
        }
        let places = index.weight_map.iter().map(|(tensor, file)| (tensor.clone(), numbers[file])).collect();
        Ok(Self { source, files, places })
    }

    /// The tensor called `name`, which must have this `shape`, on the CPU and as stored.
    pub(super) fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let place = self.places.remove(name).ok_or_else(|| {
            let remedy = match name {
                "lm_head.weight" => {
                    "; where the head is the embedding, config.json says tie_word_embeddings: true"
                }
                _ => "; the file is incomplete or belongs to another config.json",
            };
            Error::Model(format!("{}: tensor {name} is missing{remedy}", self.source.display()))
        })?;
        self.files[place].tensor(name, shape)
    }

    /// Refuses weights that the model has no place for, which would be lost without a word.
    pub(super) fn nothing_left(&self, tied: bool) -> Result<()> {
        let harmless =
            |name: &str| name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight");
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

impl Mapped {
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(Error::io(&path))?;
        // Safety: the mapping is only read, and dropped when loading ends; a file that another program cuts short
        // meanwhile would stop this one, as it would in every reader of safetensors.
        let bytes = unsafe { Mmap::map(&file) }.map_err(Error::io(&path))?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| Error::Model(format!("{}: not a whole safetensors file: {e}", path.display())))?;
        Ok(Self { path, start: header + 8, bytes, metadata })
    }

    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
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
            other => return refuse(format!("is stored as {other:?}; known: F32, BF16, F16")),
        };
        Ok(Tensor::f_from_data_size(&self.bytes[self.start + from..self.start + to], shape, kind)?)
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

    fn model() -> Model {
        Model::init(Config { num_hidden_layers: 2, ..Config::default() }, Kind::Float, Device::Cpu, 1)
            .unwrap()
    }

    fn refusal(dir: &Path) -> String {
        Model::load(dir, Kind::Float, Device::Cpu).unwrap_err().to_string()
    }

    #[test]
    fn shards_load_as_one_and_replace_each_other() {
        let (model, dir) = (model(), tempfile::tempdir().unwrap());
        let files = || {
            let names =
                std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.ends_with(".safetensors")).count()
        };
        model.save(dir.path()).unwrap();
        assert_eq!(files(), 1);
        // The largest tensor has 128 · 384 · 4 bytes = 196608, so that every file holds at most that.
        model.save_sharded(dir.path(), 196_608).unwrap();
        assert!(!dir.path().join(SINGLE).exists() && files() > 5);
        let again = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap();
        assert!(model.tensors().iter().zip(again.tensors()).all(|((_, a), (_, b))| a.equal(&b)));
    }

    #[test]
    fn what_is_missing_superfluous_or_misshapen_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SINGLE);
        let mut model = model();
        model.save(dir.path()).unwrap();
        let whole = model.tensors();
        let without = |name: &str| -> Vec<(String, Tensor)> {
            whole.iter().filter(|(n, _)| n != name).map(|(n, t)| (n.clone(), t.shallow_clone())).collect()
        };

        write_tensors(&path, without("model.norm.weight")).unwrap();
        assert!(refusal(dir.path()).contains("model.safetensors: tensor model.norm.weight is missing"));

        let mut more = without("");
        more.push(("model.layers.2.mlp.up_proj.weight".into(), model.norm.copy()));
        write_tensors(&path, more).unwrap();
        assert!(refusal(dir.path()).contains("model.layers.2.mlp.up_proj.weight has no place"));

        model.config.intermediate_size = 100;
        model.save(dir.path()).unwrap();
        assert!(refusal(dir.path()).contains("has shape [384, 128]; by config.json it should be [100, 128]"));

        std::fs::write(&path, b"no tensors").unwrap();
        assert!(refusal(dir.path()).contains("not a whole safetensors file"));
    }

    #[test]
    fn pickles_and_ways_out_of_the_folder_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        write_json(&dir.path().join(config::FILE), &Config::default().to_json(Kind::Float)).unwrap();
        assert!(refusal(dir.path()).contains("neither model.safetensors nor"));
        std::fs::write(dir.path().join("pytorch_model.bin"), b"").unwrap();
        assert!(refusal(dir.path()).contains("save_pretrained"));
        for file in ["../model.safetensors", "/etc/passwd", ""] {
            let index = json!({"weight_map": {"model.norm.weight": file}});
            write_json(&dir.path().join(INDEX), &index).unwrap();
            assert!(refusal(dir.path()).contains("leads out of the model's folder"), "{file}");
        }
    }
}
