//! What a layer is to the rest of the crate: a map from states to states, made of named linear maps and other weights.
//!
//! A new kind of layer is a file with a [`Block`] and its [`Blueprint`], and a row of [`super::family`] that names the
//! latter. Loading, starting, saving, copying, merging and adapting go through what is here; training and decoding differ in
//! the [`Attend`] alone that stands behind [`Rows::attend`] and [`Rows::recur`].

use super::attention::AttentionSpec;
use super::delta::{DeltaInputs, DeltaSpec};
use super::dropout::Dropout;
use super::family::Family;
use super::form::Form;
use super::rope::Rotation;
use super::{Attend, Config, Linear, Model};
use crate::{Error, Result};
use std::collections::HashMap;
use std::fmt::Debug;
use tch::{Device, Kind, Tensor};

/// One layer of a model.
pub trait Block: Debug + Send {
    /// The states after the layer of those before it, `x [tokens, hidden]`: the residual sum is the layer's own.
    fn forward(&self, x: &Tensor, rows: &mut Rows<'_>) -> Tensor;

    /// Every weight that it was built of, in the order in which parameters are listed.
    fn parts(&self) -> Vec<Part<'_>>;

    /// The linear maps among them in the same order, to be changed.
    fn linears_mut(&mut self) -> Vec<&mut Linear>;

    /// How many tokens each of its experts has had since this was last asked, `[experts]`; none in a layer without experts.
    fn expert_load(&self) -> Option<Tensor> {
        None
    }

    /// The linear maps among the parts: what adapters can be added to.
    fn linears(&self) -> Vec<&Linear> {
        let linear = |part| match part {
            Part::Linear(linear) => Some(linear),
            Part::Weight(_) => None,
        };
        self.parts().into_iter().filter_map(linear).collect()
    }

    /// Every tensor but the adapters', by its name within the layer.
    fn tensors(&self) -> Vec<(String, &Tensor)> {
        self.parts().into_iter().flat_map(Part::tensors).collect()
    }
}

/// A weight of a layer.
#[derive(Debug)]
pub enum Part<'a> {
    /// A linear map, with its bias where it has one.
    Linear(&'a Linear),
    /// Any other tensor.
    Weight(&'a Weight),
}

impl<'a> Part<'a> {
    fn tensors(self) -> Vec<(String, &'a Tensor)> {
        match self {
            Part::Weight(Weight { name, tensor }) => vec![(name.clone(), tensor)],
            Part::Linear(Linear { name, weight, bias, .. }) => {
                let bias = bias.iter().map(|bias| (format!("{name}.bias"), bias));
                std::iter::once((format!("{name}.weight"), weight)).chain(bias).collect()
            }
        }
    }
}

/// A tensor of a layer that is no linear map's, such as a norm's.
#[derive(Debug)]
pub struct Weight {
    /// Its name within the layer, such as `input_layernorm.weight`.
    pub name: String,
    /// Shared with whoever lists it: what is written into it changes the layer.
    pub tensor: Tensor,
}

/// A layer, or why there is none.
pub type Built = Result<Box<dyn Block>>;

/// How a kind of layer is built, and what is known of it before it is. Names are those within a layer.
pub struct Blueprint {
    /// Its linear maps, as far as their names differ in the last part: an adapter targets that.
    pub linears: &'static [&'static str],
    /// Those that write into the residual stream: a new model's are smaller.
    pub residual: &'static [&'static str],
    /// What `hidden_act` may say; the first is what a new model's says.
    pub activations: &'static [&'static str],
    /// Whether the layer of this number looks at other tokens: it then calls [`Rows::attend`] once, and otherwise never.
    pub attends: fn(&Config, usize) -> bool,
    /// Whether the layer of this number remembers other tokens in a state: it then calls [`Rows::recur`] once, and otherwise never.
    pub recurs: fn(&Config, usize) -> bool,
    /// Builds the layer of this number of a model of this form. What it needs beyond the keys that all families share stands in
    /// [`Config::original`].
    pub build: fn(&Config, &Form, usize, &mut Parts<'_>) -> Built,
}

/// The weights that a block is built of, handed out by name and shape.
pub struct Parts<'a> {
    family: &'static Family,
    get: &'a mut dyn FnMut(&str, &[i64]) -> Result<Tensor>,
    requested: Vec<String>,
}

impl Parts<'_> {
    /// The linear map `name` from `input` to `out` numbers.
    pub fn linear(&mut self, name: &str, out: usize, input: usize, bias: bool) -> Result<Linear> {
        let name = self.family.name(name);
        let weight = self.get(&format!("{name}.weight"), &[out as i64, input as i64])?;
        let bias = if bias { Some(self.get(&format!("{name}.bias"), &[out as i64])?) } else { None };
        Ok(Linear { name, weight, quantised: None, bias, adapter: None })
    }

    /// Whether the family's layers have a linear map `name`.
    pub fn names(&self, name: &str) -> bool {
        self.family.block.linears.contains(&name)
    }

    /// The tensor `name` of any other kind. A new model starts those of one dimension with 1, those called `….bias` with 0. One whose name
    /// has a part `*` is as many tensors of the checkpoint as its first dimension counts, whose names have a number there.
    pub fn weight(&mut self, name: &str, shape: &[usize]) -> Result<Weight> {
        let name = self.family.name(name);
        let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        Ok(Weight { tensor: self.get(&name, &shape)?, name })
    }

    fn get(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        self.requested.push(name.into());
        (self.get)(name, shape)
    }
}

/// What a block is told of the rows that it is applied to: where they stand, and whom they may look at.
pub struct Rows<'a> {
    rotation: &'a Rotation,
    attend: &'a mut dyn Attend,
    /// The layer's number among those that attend; none where it does not, or has.
    layer: Option<usize>,
    /// Its number among those that recur; none where it does not, or has.
    recurrence: Option<usize>,
    adapted: bool,
    /// What is dropped, and in which layer; none outside training under dropout.
    dropout: Option<(&'a Dropout, usize)>,
    /// Branches so far.
    branches: usize,
}

impl Rows<'_> {
    /// `linear` of `x [tokens, in]`, with its adapter where adapters take part, `[tokens, out]`.
    pub fn linear(&self, linear: &Linear, x: &Tensor) -> Tensor {
        linear.forward(x, self.adapted)
    }

    /// `x [tokens, heads, head_dim]`, each row turned by its position, by the rotation of this number ([`Form::ropes`]).
    pub fn rotated(&self, rope: usize, x: &Tensor) -> Tensor {
        self.rotation.apply(rope, x)
    }

    /// A residual branch `y [tokens, hidden]` as it is added: of sequences under dropout with numbers dropped, elsewhere as it is. A layer does
    /// this with each of its branches, in the same order in every pass.
    pub fn dropped(&mut self, y: Tensor) -> Tensor {
        self.branches += 1;
        match self.dropout {
            None => y,
            Some((dropout, layer)) => dropout.apply(layer, self.branches - 1, &y),
        }
    }

    /// What `query [tokens, heads, head_dim]` finds in `key` and `value [tokens, kv_heads, head_dim]` of the tokens that it may
    /// see, `[tokens, heads · head_dim]`.
    ///
    /// # Panics
    /// In a layer that does not attend by its blueprint, and the second time in a layer: there is one place a layer for keys and
    /// values.
    pub fn attend(
        &mut self,
        spec: &AttentionSpec,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        sinks: Option<&Tensor>,
    ) -> Tensor {
        let layer = self.layer.take().expect("a layer attends once, if its blueprint says that it does");
        self.attend.attend(layer, spec, query, key, value, sinks)
    }

    /// What the tokens `inputs` find in what is remembered of those before them, each of its own sequence, `[tokens, value_heads · value_dim]`.
    ///
    /// # Panics
    /// In a layer that does not recur by its blueprint, and the second time in a layer: there is one state a layer.
    pub fn recur(&mut self, spec: &DeltaSpec, inputs: &DeltaInputs<'_>) -> Tensor {
        let layer = self.recurrence.take().expect("a layer recurs once, if its blueprint says that it does");
        self.attend.recur(layer, spec, inputs)
    }
}

impl Config {
    /// What its family reads of the keys that are its own.
    ///
    /// # Errors
    /// Keys that cannot be meant so.
    pub fn form(&self) -> Result<Form> {
        (self.family.form)(self).map_err(Error::Model)
    }

    /// Layers that look at other tokens, each of which needs keys and values of them.
    pub fn attention_layers(&self) -> usize {
        self.attention_layers_before(self.num_hidden_layers)
    }

    fn attention_layers_before(&self, index: usize) -> usize {
        (0..index).filter(|&layer| (self.family.block.attends)(self, layer)).count()
    }

    /// Layers that remember other tokens in a state.
    pub fn recurrent_layers(&self) -> usize {
        self.recurrent_layers_before(self.num_hidden_layers)
    }

    fn recurrent_layers_before(&self, index: usize) -> usize {
        (0..index).filter(|&layer| (self.family.block.recurs)(self, layer)).count()
    }

    /// Layer `index` of the model's `form`, built of what `get` gives by name within the layer and by shape.
    pub(super) fn block(
        &self,
        form: &Form,
        index: usize,
        get: &mut dyn FnMut(&str, &[i64]) -> Result<Tensor>,
    ) -> Result<Box<dyn Block>> {
        let mut parts = Parts { family: self.family, get, requested: Vec::new() };
        let mut block = (self.family.block.build)(self, form, index, &mut parts)?;
        let mut requested = parts.requested;
        let mut named: Vec<String> = block.tensors().into_iter().map(|(name, _)| name).collect();
        requested.sort();
        named.sort();
        let linears: Vec<String> = block.linears().into_iter().map(|linear| linear.name.clone()).collect();
        let refuse =
            |what: String| Err(Error::Model(format!("layer {index} of a {:?} model {what}", self.family)));
        // A weight that a block forgets to list would neither train nor be saved, without a word.
        if requested != named
            || !linears.iter().eq(block.linears_mut().into_iter().map(|linear| &linear.name))
        {
            return refuse("lists other weights than it was built of".into());
        }
        let targets: Vec<String> = self.family.targets().collect();
        match linears
            .iter()
            .find(|name| !targets.iter().any(|target| name.rsplit('.').next() == Some(target)))
        {
            Some(other) => refuse(format!("has a linear map {other} that its blueprint does not name")),
            None => Ok(block),
        }
    }

    /// The layers with tensors of the right shapes that take no memory.
    pub(super) fn outline(&self) -> Result<Vec<Box<dyn Block>>> {
        let form = self.form()?;
        let mut shaped = |_: &str, shape: &[i64]| Ok(outlined(shape));
        (0..self.num_hidden_layers).map(|index| self.block(&form, index, &mut shaped)).collect()
    }
}

/// A tensor of this shape that takes no memory.
pub(super) fn outlined(shape: &[i64]) -> Tensor {
    Tensor::zeros(vec![1; shape.len()], (Kind::Float, Device::Cpu)).expand(shape, false)
}

impl Model {
    /// One layer over `x [tokens, hidden]`, with the rotation of each token's position.
    pub fn layer(&self, index: usize, x: &Tensor, rotation: &Rotation, attend: &mut dyn Attend) -> Tensor {
        self.dropping(index, x, rotation, attend, None)
    }

    /// The same under dropout.
    pub(super) fn dropping(
        &self,
        index: usize,
        x: &Tensor,
        rotation: &Rotation,
        attend: &mut dyn Attend,
        dropout: Option<&Dropout>,
    ) -> Tensor {
        let attends = (self.config.family.block.attends)(&self.config, index);
        let layer = attends.then(|| self.config.attention_layers_before(index));
        let recurs = (self.config.family.block.recurs)(&self.config, index);
        let recurrence = recurs.then(|| self.config.recurrent_layers_before(index));
        let dropout = dropout.map(|dropout| (dropout, index));
        let mut rows =
            Rows { rotation, attend, layer, recurrence, adapted: self.adapted, dropout, branches: 0 };
        let x = self.layers[index].forward(x, &mut rows);
        assert!(dropout.is_none() || rows.branches > 0, "layer {index} knows no dropout");
        // Decoding holds keys and values by the number of the layers that attend, and states by that of those that recur.
        assert!(
            rows.layer.is_none() && rows.recurrence.is_none(),
            "layer {index} does not attend or recur, though its blueprint says that it does"
        );
        match &self.steering {
            None => x,
            Some(steering) => steering.added(index, x),
        }
    }

    /// The same layers without adapters, of other tensors: each linear map's weight is what `weight` makes of it, every other
    /// tensor what `other` does.
    pub(super) fn rebuilt(
        &self,
        weight: impl Fn(&Linear) -> Tensor,
        other: impl Fn(&Tensor) -> Tensor,
    ) -> Vec<Box<dyn Block>> {
        let rebuilt = |index: usize| {
            let layer = &self.layers[index];
            let mut tensors = HashMap::new();
            for part in layer.parts() {
                match part {
                    Part::Weight(part) => drop(tensors.insert(part.name.clone(), other(&part.tensor))),
                    Part::Linear(linear) => {
                        tensors.insert(format!("{}.weight", linear.name), weight(linear));
                        tensors
                            .extend(linear.bias.iter().map(|b| (format!("{}.bias", linear.name), other(b))));
                    }
                }
            }
            let mut get = |name: &str, _: &[i64]| {
                let missing = || Error::Model(format!("layer {index} has no tensor {name}"));
                tensors.remove(name).ok_or_else(missing)
            };
            self.config.block(&self.form, index, &mut get).expect("a layer can be built of its own tensors")
        };
        (0..self.layers.len()).map(rebuilt).collect()
    }
}
