//! `[policy.steer]`: a direction that is added to the policy's states while it samples and is read, and of which nothing is learned.

use super::Policy;
use super::embedding::stretches;
use crate::error::{Error, Result};
use crate::model::{Config, Model};
use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// A direction in the policy's states, added behind its layers to every token that it reads or writes: x + λ v. For stages that sample, evaluate and
/// collect; stages that train refuse it, since their weights would be learned with it and saved without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Steered {
    /// The direction v: `"@stage"`, what a stage of `loop.steer` found, or a safetensors file with one tensor `[layers, hidden]`.
    pub from: String,
    /// How much of it is added, λ: 0 changes nothing, below 0 is the other way.
    #[serde(default = "whole")]
    pub strength: f64,
    /// The layers behind which it is added, counted from 1; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
}

fn whole() -> f64 {
    1.0
}

impl Steered {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[
            (!self.from.is_empty(), "from", "it names no direction; give a file, or \"@stage\""),
            (self.strength.is_finite(), "strength", "it must be a number"),
            (!self.layers.contains(&0), "layers", "they are counted from 1"),
        ])
    }

    /// What does not go with a model of this shape; where the direction is `at_hand`, that it is there and of one layer a row.
    ///
    /// # Errors
    /// [`Error::Recipe`], naming the key; [`Error::Model`], naming the file.
    pub fn fits(&self, shape: &Config, at_hand: bool) -> Result<()> {
        let depth = shape.num_hidden_layers;
        if let Some(layer) = self.layers.iter().find(|layer| **layer > depth) {
            return Err(Error::Recipe(format!("policy.steer.layers: there is no layer {layer} of {depth}")));
        }
        if at_hand && !Path::new(&self.from).is_file() {
            return Err(Error::Recipe(format!(
                "policy.steer.from = \"{}\": there is no such file; a stage of loop.steer finds a direction, named as \"@stage\"",
                self.from
            )));
        }
        if at_hand { shape.look_at_direction(Path::new(&self.from)) } else { Ok(()) }
    }

    /// Has `model` steered.
    ///
    /// # Errors
    /// A direction that cannot be read, or is of another model.
    pub fn apply(&self, model: &mut Model) -> Result<()> {
        self.fits(&model.config, true)?;
        let direction = model.read_direction(Path::new(&self.from))?;
        model.steer(&direction, self.strength, &self.layers)
    }
}

/// A sequence, and the tokens of it whose states are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned {
    /// All of its tokens.
    pub tokens: Vec<u32>,
    /// Which of them.
    pub span: Range<usize>,
}

impl Policy {
    /// Σ weight · (mean state over the span behind each layer) of sequences with their weights, `[layers, hidden]` in f64 on the CPU, in passes of `budget` tokens.
    ///
    /// # Errors
    /// As [`segment_means`](Model::segment_means).
    pub fn summed_states(&self, weighed: &[(&Spanned, f64)], budget: usize) -> Result<Tensor> {
        let (depth, hidden) = (self.model.layers.len() as i64, self.model.config.hidden_size as i64);
        let lengths: Vec<usize> = weighed.iter().map(|(one, _)| one.tokens.len()).collect();
        let mut sum = Tensor::zeros([depth, hidden], (Kind::Double, Device::Cpu));
        for stretch in stretches(&lengths, budget) {
            let own = &weighed[stretch];
            let sequences: Vec<&[u32]> = own.iter().map(|(one, _)| one.tokens.as_slice()).collect();
            let spans: Vec<[Range<usize>; 1]> = own.iter().map(|(one, _)| [one.span.clone()]).collect();
            let spans: Vec<&[Range<usize>]> = spans.iter().map(<[Range<usize>; 1]>::as_slice).collect();
            let means = self.model.segment_means(&sequences, &spans)?;
            let means = means.to_device(Device::Cpu).to_kind(Kind::Double);
            let weights: Vec<f64> = own.iter().map(|(_, weight)| *weight).collect();
            let weights = Tensor::from_slice(&weights).view([1, -1, 1]);
            // The first is the first layer's input, behind no layer.
            let behind = means.narrow(0, 1, depth) * weights;
            sum += behind.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Request, Sampling};
    use crate::model::Sequence;
    use crate::policy::Init;

    /// What is recorded while a steered policy samples is what it says of the same tokens when they are read, and not what it says unsteered.
    #[test]
    fn a_steered_policy_samples_as_it_reads() {
        let init = Init { hidden_size: 16, layers: 2, heads: 2, kv_heads: 1, ..Init::default() };
        let mut policy = init.make(Kind::Float, Device::Cpu, 3, 2).unwrap();
        let prompt = policy.tokenizer.encode("1+2=").unwrap();
        let direction = Tensor::arange(32, (Kind::Float, Device::Cpu)).view([2, 16]).sin();
        policy.model.steer(&direction, 1.5, &[]).unwrap();
        let sampling = Sampling { max_new_tokens: 6, temperature: 1.0, ..Sampling::default() };
        let request = [Request { prompt: prompt.clone(), seeds: vec![5] }];
        let written = policy.sampler().generate(&request, &sampling, &mut |_| {}).unwrap().completions;
        let completion = &written[0][0];
        let sequence = [Sequence::new(&prompt, &completion.tokens)];
        let read = policy.logprobs(&sequence, 1.0, 64).unwrap();
        let far = |read: &[f32]| {
            let each = completion.logprobs.iter().zip(read).map(|(a, b)| (a - b).abs());
            each.fold(0.0, f32::max)
        };
        assert_eq!(read[0].len(), completion.logprobs.len());
        assert!(far(&read[0]) < 1e-4, "{:?} {:?}", completion.logprobs, read[0]);
        policy.model.steering = None;
        assert!(far(&policy.logprobs(&sequence, 1.0, 64).unwrap()[0]) > 1e-2);
    }

    #[test]
    fn the_section_is_checked() {
        let keys = |text: &str| -> Vec<String> {
            let steered: Steered = toml::from_str(text).unwrap();
            steered.check().into_iter().map(|misfit| misfit.key).collect()
        };
        assert_eq!(keys("from = \"@x\""), Vec::<String>::new());
        assert_eq!(keys("from = \"\"\nstrength = nan\nlayers = [0]"), ["from", "strength", "layers"]);
        let steered: Steered = toml::from_str("from = \"nowhere.safetensors\"\nlayers = [3]").unwrap();
        let shape = Config { num_hidden_layers: 2, ..Config::default() };
        let told = |shape: &Config, at_hand| steered.fits(shape, at_hand).unwrap_err().to_string();
        assert!(told(&shape, false).contains("no layer 3 of 2"));
        let deeper = Config { num_hidden_layers: 3, ..Config::default() };
        assert!(steered.fits(&deeper, false).is_ok() && told(&deeper, true).contains("no such file"));
    }
}
