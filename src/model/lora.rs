//! Low-rank adapters (Hu et al. 2021), read and written as peft does.

use super::stored::{Stored, Taking};
use super::weights;
use super::{Adapter, Config, Linear, Model, Rope, family, init};
use crate::section::{Misfit, all_fit, broken};
use crate::{Error, Result, limited};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// peft's word for all linear maps of the layers.
const ALL: &str = "all-linear";
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

/// `[policy.lora]`: train small adapters beside frozen weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lora {
    /// Width of the adapters.
    pub rank: usize,
    /// Their output is scaled by alpha / rank.
    pub alpha: f64,
    /// Which linear maps get one: all-linear for all of the model's, or some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj
    /// (qkv_proj and gate_up_proj in Phi; in_proj_qkvz and in_proj_ba, or in_proj_qkv, in_proj_z, in_proj_b and in_proj_a, and out_proj in recurrent layers). Experts get
    /// none, but one that all tokens pass through does.
    pub targets: Vec<String>,
}

impl Default for Lora {
    fn default() -> Self {
        Self { rank: 16, alpha: 32.0, targets: vec![ALL.into()] }
    }
}

impl Lora {
    /// Sizes and targets that mean nothing.
    pub fn check(&self) -> Vec<Misfit> {
        self.check_for(&family::targets())
    }

    /// The same for a model whose linear maps have these last names.
    fn check_for(&self, known: &[String]) -> Vec<Misfit> {
        let mut found = broken(&[
            (self.rank > 0, "rank", "an adapter has at least rank 1"),
            (self.alpha > 0.0 && self.alpha.is_finite(), "alpha", "a positive number is needed"),
        ]);
        let names = known.join(", ");
        if self.targets.is_empty() {
            found.push(Misfit::new("targets", format!("name at least one of {names}"), ""));
        }
        if let Some(other) = self.targets.iter().find(|target| *target != ALL && !known.contains(target)) {
            let message = format!("no such linear map: {other}");
            found.push(Misfit::new("targets", message, format!("known: {ALL}, {names}")));
        }
        found
    }

    /// The number of weights that the adapters of a model of this shape have. Panics as [`Config::size`] does.
    pub fn size(&self, shape: &Config) -> usize {
        let layers = shape.outline().expect("a shape that the block can be built of");
        layers.iter().flat_map(|layer| layer.linears()).flat_map(|linear| self.sizes(linear)).sum()
    }

    /// The sizes of A and B of a linear map; none where it gets no adapter.
    pub(super) fn sizes(&self, linear: &Linear) -> Vec<usize> {
        match self.aims_at(&linear.name) {
            true => linear.weight.size().iter().rev().map(|&side| self.rank * side as usize).collect(),
            false => vec![],
        }
    }

    fn aims_at(&self, name: &str) -> bool {
        let last = name.rsplit('.').next().unwrap_or_default();
        self.targets.iter().any(|target| target == ALL || target == last)
    }

    fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

impl Model {
    /// Freezes the weights and adds trainable adapters: A uniform in ±1/√in as peft's Kaiming start, B zero, so
    /// that the model is unchanged at first. They have the weights' own kind: training and decoding then share
    /// them without casts, and the optimiser keeps its f32 masters of them as of any parameter.
    pub fn add_lora(&mut self, lora: &Lora, seed: u64) -> Result<()> {
        all_fit("policy.lora", lora, lora.check_for(&self.targets()))?;
        self.attach(lora, |name, out, input, rank| {
            let (a, b) = (
                kaiming(&[rank, input], seed, name),
                Tensor::zeros([out, rank], (Kind::Float, tch::Device::Cpu)),
            );
            Ok((a, b))
        })
    }

    /// Freezes the weights and adds the trainable adapters that peft or [`Model::save_adapters`] left in `dir`; of those
    /// that are inactive, what it left beside it.
    pub fn load_adapters(&mut self, dir: &Path) -> Result<()> {
        self.load_inactive(dir)?;
        self.read_adapters(dir)
    }

    pub(super) fn read_adapters(&mut self, dir: &Path) -> Result<()> {
        let lora = read_config(&dir.join(CONFIG), &self.targets())?;
        let taking = Taking::numbers(self.kind(), self.device());
        let mut stored = Stored::one(dir.join(WEIGHTS), taking)?;
        self.attach(&lora, |name, out, input, rank| {
            let a = stored.take(&format!("{name}.lora_A.weight"), &[rank, input])?;
            Ok((a, stored.take(&format!("{name}.lora_B.weight"), &[out, rank])?))
        })?;
        stored.nothing_left(None)
    }

    fn attach(
        &mut self,
        lora: &Lora,
        mut make: impl FnMut(&str, i64, i64, i64) -> Result<(Tensor, Tensor)>,
    ) -> Result<()> {
        let (kind, device) = (self.kind(), self.device());
        for (_, tensor) in self.tensors() {
            let _ = tensor.set_requires_grad(false);
        }
        for (index, layer) in self.layers.iter_mut().enumerate() {
            for linear in layer.linears_mut().into_iter().filter(|linear| lora.aims_at(&linear.name)) {
                let size = linear.weight.size();
                let name = full_name(&self.config, index, &linear.name);
                let (a, b) = make(&name, size[0], size[1], lora.rank as i64)?;
                let trainable = |t: Tensor| t.to_device(device).to_kind(kind).set_requires_grad(true);
                linear.adapter = Some(Adapter { a: trainable(a), b: trainable(b), scale: lora.scale() });
            }
        }
        self.lora = Some(lora.clone());
        Ok(())
    }

    /// The adapters' tensors, shared, under peft's names; empty where there are none.
    pub fn adapters(&self) -> Vec<(String, Tensor)> {
        let linears = self.layers.iter().flat_map(|layer| layer.linears());
        self.named(linears.map(|linear| linear.adapter.as_ref()))
    }

    /// What an adapter can target: the last part of each linear map's name, once.
    fn targets(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for linear in self.layers.iter().flat_map(|layer| layer.linears()) {
            let last = linear.name.rsplit('.').next().unwrap_or_default();
            if !all.iter().any(|known| known == last) {
                all.push(last.into());
            }
        }
        all
    }

    /// Under peft's names, the tensors of one adapter for each linear map, layer by layer.
    pub(super) fn named<'a>(
        &self,
        adapters: impl Iterator<Item = Option<&'a Adapter>>,
    ) -> Vec<(String, Tensor)> {
        let places = self.layers.iter().enumerate();
        let places = places.flat_map(|(index, layer)| {
            layer.linears().into_iter().map(move |linear| full_name(&self.config, index, &linear.name))
        });
        let both = |(name, adapter): (String, Option<&Adapter>)| {
            let Some(Adapter { a, b, .. }) = adapter else { return Vec::new() };
            let tensor = |which: &str, tensor: &Tensor| {
                (format!("{name}.lora_{which}.weight"), tensor.shallow_clone())
            };
            vec![tensor("A", a), tensor("B", b)]
        };
        places.zip(adapters).flat_map(both).collect()
    }

    /// Writes the adapters into the folder `dir` as peft does, for `PeftModel.from_pretrained(base, dir)`; of inactive ones,
    /// each into the folder beside it that has their name behind its own. Those of a divided model all ranks save together.
    pub fn save_adapters(&self, dir: &Path) -> Result<()> {
        let all = self.adapters().into_iter().chain(self.inactive_adapters());
        let mut whole: HashMap<String, Tensor> = self.collected(all.collect())?.into_iter().collect();
        if !self.is_first() {
            return Ok(());
        }
        let mut of = |named: Vec<(String, Tensor)>, before: &str| {
            let taken = |(name, _)| Some((whole.remove(&format!("{before}{name}"))?, name));
            named.into_iter().filter_map(taken).map(|(tensor, name)| (name, tensor)).collect::<Vec<_>>()
        };
        self.save_inactive(dir, &mut of)?;
        self.write_adapters(dir, of(self.adapters(), ""))
    }

    pub(super) fn write_adapters(&self, dir: &Path, adapters: Vec<(String, Tensor)>) -> Result<()> {
        let Some(lora) = &self.lora else {
            return Err(Error::Model(format!("{}: the model has no adapters to save", dir.display())));
        };
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        weights::write_tensors(&dir.join(WEIGHTS), adapters)?;
        // By name: what peft adapts under the word differs between its releases.
        let targets =
            if lora.targets.iter().any(|target| target == ALL) { &self.targets() } else { &lora.targets };
        let base = self.config.original.get("_name_or_path").cloned().unwrap_or(Value::Null);
        weights::write_json(&dir.join(CONFIG), &config_json(lora, targets, base))
    }

    /// The same function without adapters: W + scale · B A, summed in f32. Other weights are shared.
    pub fn merged(&self) -> Model {
        let share = |t: &Tensor| t.shallow_clone();
        Model {
            config: self.config.clone(),
            form: self.form.clone(),
            embedding: share(&self.embedding),
            layers: self.rebuilt(Linear::merged, share),
            norm: share(&self.norm),
            head: self.head.as_ref().map(share),
            score: self.score.as_ref().map(|score| score.map(share)),
            extractor: self.extractor.as_ref().map(|extractor| extractor.map(share)),
            thoughts: self.thoughts.as_ref().map(|thoughts| thoughts.map(share)),
            steering: self.steering.as_ref().map(|steering| steering.map(share)),
            value: self.value.as_ref().map(|value| value.map(share)),
            rope: Rope::new(&self.form.ropes, self.device()),
            lora: None,
            inactive: Vec::new(),
            shards: None,
            ..*self
        }
    }
}

fn full_name(config: &Config, layer: usize, name: &str) -> String {
    format!("base_model.model.{}", config.layer_name(layer, name))
}

/// torch's kaiming_uniform with a = √5, as peft starts A: uniform in ±1/√in.
fn kaiming(shape: &[i64; 2], seed: u64, name: &str) -> Tensor {
    init::uniform(shape, 1.0 / (shape[1] as f32).sqrt(), init::stream(seed, name))
}

fn config_json(lora: &Lora, targets: &[String], base: Value) -> Value {
    let whole = lora.alpha.fract() == 0.0;
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": if whole { json!(lora.alpha as i64) } else { json!(lora.alpha) },
        "target_modules": targets,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "modules_to_save": null,
        "use_rslora": false,
        "use_dora": false,
    })
}

/// peft's file; what it may ask for beyond plain LoRA is refused by name.
fn read_config(path: &Path, known: &[String]) -> Result<Lora> {
    let refuse = |why: String| Error::Model(format!("{}: {why}", path.display()));
    let text = limited::text(path, limited::DESCRIPTION)?;
    let config: Value = serde_json::from_str(&text).map_err(|e| refuse(e.to_string()))?;
    for key in
        ["use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform"]
    {
        let off = match &config[key] {
            Value::Null | Value::Bool(false) => true,
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        if !off {
            return Err(refuse(format!("{key} = {} is not supported", config[key])));
        }
    }
    if config["bias"].as_str().is_some_and(|bias| bias != "none") {
        return Err(refuse(format!("bias = {} is not supported; known: none", config["bias"])));
    }
    let targets = match &config["target_modules"] {
        Value::String(word) if word == ALL => json!([ALL]),
        other => other.clone(),
    };
    let lora = json!({"rank": config["r"], "alpha": config["lora_alpha"], "targets": targets});
    let lora: Lora = serde_json::from_value(lora)
        .map_err(|e| refuse(format!("r, lora_alpha and target_modules (a list) are needed: {e}")))?;
    if let Some(misfit) = lora.check_for(known).first() {
        return Err(refuse(misfit.said(None)));
    }
    Ok(lora)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_none_is_told_what_is() {
        let lora = Lora { targets: vec!["q_proj".into(), "lm_head".into()], ..Lora::default() };
        let why = lora.check()[0].said(None);
        assert!(why.contains("no such linear map: lm_head; known: all-linear, q_proj, k_proj"), "{why}");
        let keys = |lora: Lora| lora.check().into_iter().map(|misfit| misfit.key).collect::<Vec<_>>();
        assert_eq!(keys(Lora { rank: 0, alpha: -1.0, targets: vec![] }), ["rank", "alpha", "targets"]);
        assert_eq!(Lora::default().check(), []);
    }

    #[test]
    fn peft_options_beyond_plain_lora_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CONFIG);
        let mut config = config_json(&Lora::default(), &[ALL.into()], Value::Null);
        weights::write_json(&path, &config).unwrap();
        assert_eq!(read_config(&path, &family::targets()).unwrap(), Lora::default());
        config["use_dora"] = json!(true);
        weights::write_json(&path, &config).unwrap();
        assert!(
            read_config(&path, &family::targets())
                .unwrap_err()
                .to_string()
                .contains("use_dora = true is not supported")
        );
    }
}
