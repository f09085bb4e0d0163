//! Model folders: safetensors in, safetensors out, as Hugging Face lays them out.

use super::stored::{INDEX, SINGLE, Stored, Taking};
use super::stowed::{Stowed, write_stowed};
pub(super) use super::stowed::{bytes_of, remove, write_json, write_tensors};
use super::{
    Config, Extractor, FAMILIES, Family, Linear, Model, Quantize, Thoughts, ValueHead, config, extractor,
    heads, names, thoughts, value,
};
use crate::{Error, Result};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Bytes in one file, as transformers shards them.
const SHARD: usize = 5_000_000_000;

impl Model {
    /// The model in the folder `dir`, its weights cast to `kind`.
    pub fn load(dir: &Path, kind: Kind, device: Device) -> Result<Self> {
        Self::load_among(FAMILIES, dir, kind, device)
    }

    /// The same, of one of these families.
    pub fn load_among(families: &'static [Family], dir: &Path, kind: Kind, device: Device) -> Result<Self> {
        Self::load_as(families, dir, None, Taking::numbers(kind, device))
    }

    /// The model in the folder `dir` with the matrices of its layers in four bits; there is never more than a layer in full.
    pub fn load_quantised(dir: &Path, kind: Kind, device: Device, quantize: Quantize) -> Result<Self> {
        Self::load_as(FAMILIES, dir, Some(quantize), Taking::numbers(kind, device))
    }

    /// The shape of the model in the folder `dir`, of which all that [`load`](Self::load) refuses is refused. Of more than 2 GB of numbers some blocks
    /// alone are looked at, so that it takes hardly longer with the largest models.
    pub fn look(dir: &Path) -> Result<Config> {
        Ok(Self::load_as(FAMILIES, dir, None, Taking::OUTLINES)?.config)
    }

    fn load_as(
        families: &'static [Family],
        dir: &Path,
        quantize: Option<Quantize>,
        taking: Taking,
    ) -> Result<Self> {
        let mut config = Config::read_among(families, dir)?;
        let mut stored = Stored::open(dir, taking)?;
        if stored.leaves_parts_out() {
            tracing::warn!(
                "{}: of this checkpoint the language model alone is loaded; what is saved is a {:?} model",
                dir.display(),
                config.family
            );
        }
        if config.tie_word_embeddings
            && heads::described(&config.original).is_none()
            && stored.has_own_head(&config)?
        {
            tracing::warn!(
                "{}: config.json says tie_word_embeddings: true, and the weights have another {}; the model is computed with \
                 the weights' own, untied",
                dir.display(),
                config.family.name(names::HEAD)
            );
            config.tie_word_embeddings = false;
        }
        let (tied, hidden) = (config.tie_word_embeddings, config.hidden_size as i64);
        let head = config.family.name(names::HEAD);
        let classifier = heads::described(&config.original);
        let thoughts = Thoughts::load(dir, config.hidden_size, taking)?;
        let value = ValueHead::load(dir, config.hidden_size, taking)?;
        let device = taking.device;
        let mut take = |name: &str, shape: &[i64]| stored.take_as(name, shape);
        let Some((labels, bias)) = classifier else {
            let model = names::assemble(config, device, quantize, take)?;
            stored.nothing_left(tied.then_some(&head))?;
            return Ok(Self { thoughts, value, ..model });
        };
        // A classifier's file has no output projection.
        let headless = Config { tie_word_embeddings: true, ..config };
        let mut model = names::assemble(headless, device, quantize, &mut take)?;
        model.config.tie_word_embeddings = tied;
        let weight = take(heads::WEIGHT, &[labels as i64, hidden])?;
        let bias = if bias { Some(take(heads::BIAS, &[labels as i64])?) } else { None };
        model.score = Some(heads::Projection { weight, bias });
        stored.nothing_left(Some(&head))?;
        let sizes = (model.config.hidden_size, labels);
        model.extractor = Extractor::load(dir, sizes, taking)?;
        Ok(Self { thoughts, value, ..model })
    }

    /// Reads the score head, where there is one, from the model folder `dir` again.
    pub fn load_score(&mut self, dir: &Path) -> Result<()> {
        let taking = Taking::numbers(self.kind(), self.device());
        let Some(score) = &mut self.score else { return Ok(()) };
        let mut stored = Stored::open(dir, taking)?;
        let mut take = |name: &str, old: &Tensor| stored.take_as(name, &old.size());
        score.weight = take(heads::WEIGHT, &score.weight)?;
        if let Some(bias) = &mut score.bias {
            *bias = take(heads::BIAS, bias)?;
        }
        Ok(())
    }

    /// Writes `config.json` and the weights into the folder `dir`, made where it is missing. Adapters are merged:
    /// what is saved is what the model computes, in plain files that transformers loads. One that is divided all ranks save together.
    pub fn save(&self, dir: &Path) -> Result<()> {
        match &self.shards {
            Some(shards) => self.save_together(shards, dir),
            None => self.save_sharded(dir, SHARD),
        }
    }

    fn save_sharded(&self, dir: &Path, limit: usize) -> Result<()> {
        let unlike = self.unlike();
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let shards = shards(self.stored_tensors(), limit);
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
            let stowed = shard.into_iter().map(|(name, tensor)| match unlike.get(&name) {
                None => (name, Stowed::new(tensor)),
                Some(linear) => {
                    let adapted = self.adapted;
                    let make = move || if adapted { linear.merged() } else { linear.dense() };
                    (name, Stowed::made(tensor, make))
                }
            });
            write_stowed(&dir.join(&file), stowed)?;
        }
        // The other layout's files, left by an earlier save, would be read instead of these or beside them.
        if count == 1 {
            remove(&dir.join(INDEX))?;
        } else {
            write_json(&dir.join(INDEX), &json!({"metadata": {"total_size": total}, "weight_map": files}))?;
            remove(&dir.join(SINGLE))?;
        }
        self.save_config(dir)
    }

    /// The linear maps whose weights are saved as others than they are kept, by their weights' names: merged with an adapter, or read of four
    /// bits.
    fn unlike(&self) -> HashMap<String, &Linear> {
        let mut found = HashMap::new();
        for (index, layer) in self.layers.iter().enumerate() {
            for linear in layer.linears() {
                if linear.quantised.is_some() || (self.adapted && linear.adapter.is_some()) {
                    found.insert(self.config.layer_name(index, &format!("{}.weight", linear.name)), linear);
                }
            }
        }
        found
    }

    pub(super) fn save_config(&self, dir: &Path) -> Result<()> {
        let mut config = self.config.to_json(self.kind());
        if let Some(score) = &self.score {
            let names = self.extractor.as_ref().map(|extractor| &extractor.notes["labels"]);
            heads::describe(score, names, self.config.family.class, &mut config);
        }
        match &self.thoughts {
            Some(thoughts) => thoughts.save(dir)?,
            None => remove(&dir.join(thoughts::FILE))?,
        }
        match &self.value {
            Some(value) => value.save(dir)?,
            None => remove(&dir.join(value::FILE))?,
        }
        match &self.extractor {
            Some(extractor) => extractor.save(dir)?,
            None => {
                [extractor::FILE, extractor::NOTES].iter().try_for_each(|file| remove(&dir.join(file)))?
            }
        }
        write_json(&dir.join(config::FILE), &config)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model::init(Config { num_hidden_layers: 2, ..Config::default() }, Kind::Float, Device::Cpu, 1)
            .unwrap()
    }

    /// What is said of a folder: the same whether its numbers are read or not.
    fn refusal(dir: &Path) -> String {
        let said = Model::load(dir, Kind::Float, Device::Cpu).unwrap_err().to_string();
        assert_eq!(Model::look(dir).unwrap_err().to_string(), said);
        said
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
        assert_eq!(Model::look(dir.path()).unwrap().num_hidden_layers, 2);
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

        let whole = std::fs::read(&path).unwrap();
        for part in [&b"no tensors"[..], &b""[..], &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
            std::fs::write(&path, part).unwrap();
            assert!(refusal(dir.path()).contains("not a whole safetensors file"));
        }
    }

    /// Experts, one tensor each or all in one, and numbers of four bits: none of them is read.
    #[test]
    fn every_saved_model_can_be_looked_at() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
        let mut count = 0;
        for folder in std::fs::read_dir(models).unwrap().map(|folder| folder.unwrap().path()) {
            if folder.join(config::FILE).is_file() {
                let loaded = Model::load(&folder, Kind::Float, Device::Cpu).unwrap().config;
                assert_eq!(Model::look(&folder).unwrap().original, loaded.original, "{}", folder.display());
                count += 1;
            }
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn a_shard_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        model().save_sharded(dir.path(), 196_608).unwrap();
        let shards = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
        let shard = shards.into_iter().find(|path| path.to_string_lossy().contains("-00002-of-")).unwrap();
        std::fs::remove_file(&shard).unwrap();
        assert!(refusal(dir.path()).starts_with(&shard.display().to_string()));
    }

    #[test]
    fn a_head_of_its_own_is_used_whatever_the_file_says_of_ties() {
        let dir = tempfile::tempdir().unwrap();
        let model = model();
        assert!(model.config.tie_word_embeddings);
        model.save(dir.path()).unwrap();
        let whole = || model.tensors().into_iter().map(|(name, t)| (name, t.shallow_clone()));
        let with = |head: Tensor| {
            write_tensors(
                &dir.path().join(SINGLE),
                whole().chain([("lm_head.weight".into(), head)]).collect(),
            )
        };
        let load = || Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap();
        with(model.embedding.copy()).unwrap();
        assert!(load().head.is_none(), "a copy of the embedding is the embedding");
        with(&model.embedding * 2.0).unwrap();
        let own = load();
        assert!(!own.config.tie_word_embeddings);
        assert!(own.head.unwrap().equal(&(&model.embedding * 2.0)));
    }

    #[test]
    fn weights_that_are_no_numbers_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let model = model();
        let _ = model.norm.shallow_clone().detach().fill_(f64::NAN);
        model.save(dir.path()).unwrap();
        let said = refusal(dir.path());
        assert!(said.contains("tensor model.norm.weight has numbers that are not finite"), "{said}");
    }

    #[test]
    fn an_adapters_folder_is_told_from_a_models() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refusal(dir.path()).contains("no config.json"));
        write_json(
            &dir.path().join("adapter_config.json"),
            &json!({"base_model_name_or_path": "owner/base"}),
        )
        .unwrap();
        let said = refusal(dir.path());
        assert!(said.contains("holds an adapter") && said.contains("owner/base"), "{said}");
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
