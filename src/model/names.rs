//! A model's tensors under the names that Hugging Face checkpoints give them.

use super::{Config, Model, Quantize, Rope, heads, nf4};
use crate::{Error, Result};
use std::collections::BTreeSet;
use tch::{Device, Tensor};

/// Builds a model from its tensors: `get` is asked once for each, by name and shape. Each layer is quantised before the next is asked for.
pub(super) fn assemble(
    config: Config,
    device: Device,
    quantize: Option<Quantize>,
    mut get: impl FnMut(&str, &[i64]) -> Result<Tensor>,
) -> Result<Model> {
    config.consistent().map_err(Error::Model)?;
    let (vocab, hidden, family) = (config.vocab_size as i64, config.hidden_size as i64, config.family);
    let embedding = get(&family.name(EMBEDDING), &[vocab, hidden])?;
    quantize.map_or(Ok(()), |_| config.quantisable())?;
    let form = config.form()?;
    let layers = (0..config.num_hidden_layers)
        .map(|index| {
            let mut layer =
                config.block(&form, index, &mut |name, shape| get(&config.layer_name(index, name), shape))?;
            quantize.map_or(Ok(()), |_| nf4::quantise(&mut *layer))?;
            Ok(layer)
        })
        .collect::<Result<_>>()?;
    let norm = get(&family.name(NORM), &[hidden])?;
    let tied = config.tie_word_embeddings;
    let head = if tied { None } else { Some(get(&family.name(HEAD), &[vocab, hidden])?) };
    let rope = Rope::new(&form.ropes, device);
    Ok(Model {
        config,
        form,
        embedding,
        layers,
        norm,
        head,
        score: None,
        extractor: None,
        thoughts: None,
        steering: None,
        value: None,
        rope,
        lora: None,
        inactive: Vec::new(),
        shards: None,
        adapted: true,
        checkpointing: false,
        dropout: 0.0,
        chunk: CHUNK,
    })
}

pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
const NORM: &str = "model.norm.weight";
/// The output projection's name; a family's checkpoint may have another.
pub(super) const HEAD: &str = "lm_head.weight";

/// Logits held at once: 256 MB in f32.
pub(super) const CHUNK: usize = 1 << 26;

/// The names of the `count` tensors that a checkpoint has in place of the one called `name`, if its name has a part `*`.
pub(super) fn parts(name: &str, count: i64) -> Option<Vec<String>> {
    let (before, behind) = name.split_once(".*.")?;
    Some((0..count).map(|number| format!("{before}.{number}.{behind}")).collect())
}

/// Whether a layer's tensor is a matrix, or several, and no biases of several experts or convolution of single channels.
pub(super) fn is_matrix(name: &str, tensor: &Tensor) -> bool {
    tensor.dim() >= 2 && !name.ends_with("bias") && !name.ends_with("conv1d.weight")
}

impl Config {
    /// The checkpoint's name of what is called `name` within layer `index`.
    pub(super) fn layer_name(&self, index: usize, name: &str) -> String {
        format!("{}.{index}.{name}", self.family.name("model.layers"))
    }
}

impl Model {
    /// The base weights, shared, by their Hugging Face names; a tied head is not among them. Those of all of a layer's experts are one
    /// tensor, with `*` for the expert's number.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let Config { family, .. } = self.config;
        let mut all = vec![(family.name(EMBEDDING), self.embedding.shallow_clone())];
        for (index, layer) in self.layers.iter().enumerate() {
            let named = layer.tensors().into_iter();
            all.extend(named.map(|(name, t)| (self.config.layer_name(index, &name), t.shallow_clone())));
        }
        all.push((family.name(NORM), self.norm.shallow_clone()));
        all.extend(self.head.as_ref().map(|head| (family.name(HEAD), head.shallow_clone())));
        all.extend(self.score.iter().flat_map(|score| score.tensors(heads::SCORE)));
        all
    }

    /// The base weights as a checkpoint has them: one tensor an expert.
    pub fn stored_tensors(&self) -> Vec<(String, Tensor)> {
        let apart = |(name, tensor): (String, Tensor)| match parts(&name, tensor.size()[0]) {
            Some(names) => names.into_iter().zip(tensor.unbind(0)).collect(),
            None => vec![(name, tensor)],
        };
        self.tensors().into_iter().flat_map(apart).collect()
    }

    /// The names of the layers' matrices among [`all_tensors`](Self::all_tensors): linear maps, routers, experts (as many matrices as the first
    /// dimension counts) and adapters.
    pub fn matrices(&self) -> BTreeSet<String> {
        let adapters = self.adapters().into_iter().chain(self.inactive_adapters()).map(|(name, _)| name);
        let mut found: BTreeSet<String> = adapters.collect();
        for (index, layer) in self.layers.iter().enumerate() {
            let matrices = layer.tensors().into_iter().filter(|(name, tensor)| is_matrix(name, tensor));
            found.extend(matrices.map(|(name, _)| self.config.layer_name(index, &name)));
        }
        found
    }

    /// The base weights' number of elements.
    pub fn size(&self) -> usize {
        self.tensors().iter().map(|(_, t)| t.numel()).sum()
    }
}
