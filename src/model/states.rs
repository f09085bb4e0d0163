//! What stands in the residual stream behind every layer: states of chosen tokens, and means over stretches of them. Nothing is learned
//! from it.

use super::layout::PackedInputs;
use super::{Model, linear};
use crate::{Error, Result};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

impl Model {
    /// The states of each of `sequences` at its `places`, which count from its first token: `[layers + 1, places, hidden]` in f32, sequence by
    /// sequence; first the first layer's input, then each layer's output, the last one's not normalised
    /// ([`normalised`](Self::normalised) makes of it what [`read`](Self::read) gives).
    ///
    /// # Errors
    /// A sequence that is longer than the context, a token or a place that is not there.
    pub fn read_layers(&self, sequences: &[&[u32]], places: &[&[usize]]) -> Result<Tensor> {
        self.check_places(sequences, places)?;
        let layout = PackedInputs::whole(sequences, places, self.device());
        let mut states = Vec::with_capacity(self.layers.len() + 1);
        self.through_layers(layout, |x, rows| states.push(x.index_select(0, rows).to_kind(Kind::Float)));
        Ok(Tensor::stack(&states, 0))
    }

    /// The mean state of each of `sequences` over each of its `spans` of tokens, `[layers + 1, spans, hidden]` in f32, as
    /// [`read_layers`](Self::read_layers); only means are kept. An empty span has a mean of 0.
    ///
    /// # Errors
    /// As there.
    pub fn segment_means(&self, sequences: &[&[u32]], spans: &[&[Range<usize>]]) -> Result<Tensor> {
        let places: Vec<Vec<usize>> =
            spans.iter().map(|spans| spans.iter().cloned().flatten().collect()).collect();
        let places: Vec<&[usize]> = places.iter().map(Vec::as_slice).collect();
        self.check_places(sequences, &places)?;
        let lengths = spans.iter().flat_map(|spans| spans.iter().map(|span| span.len()));
        let lengths: Vec<i64> = lengths.map(|length| length as i64).collect();
        let owner: Vec<i64> = (0..).zip(&lengths).flat_map(|(span, &n)| vec![span; n as usize]).collect();
        let device = self.device();
        let (owner, count) = (Tensor::from_slice(&owner).to_device(device), lengths.len() as i64);
        let lengths = Tensor::from_slice(&lengths).to_device(device).to_kind(Kind::Float);
        let lengths = lengths.clamp_min(1.0).unsqueeze(1);
        let layout = PackedInputs::whole(sequences, &places, device);
        let mut means = Vec::with_capacity(self.layers.len() + 1);
        self.through_layers(layout, |x, rows| {
            let read = x.index_select(0, rows).to_kind(Kind::Float);
            let sums = Tensor::zeros([count, read.size()[1]], (Kind::Float, device));
            means.push(sums.index_add(0, &owner, &read) / &lengths);
        });
        Ok(Tensor::stack(&means, 0))
    }

    /// What the output projection makes of the `states [layers + 1, n, hidden]` of every layer for the vocabulary's `tokens`, `[layers + 1, n,
    /// tokens]`: the logit lens (nostalgebraist 2020), log-probabilities over the whole vocabulary.
    pub fn lens(&self, states: &Tensor, tokens: &[u32]) -> Tensor {
        let size = states.size();
        let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        let ids = Tensor::from_slice(&ids).to_device(self.device());
        let of_layer = |layer: i64| {
            let normalised = self.normalised(&states.select(0, layer).to_kind(self.kind()));
            let logits = self.logits_of(linear::product(&normalised, self.output(), None));
            logits.log_softmax(-1, Kind::Float).index_select(1, &ids)
        };
        tch::no_grad(|| Tensor::stack(&(0..size[0]).map(of_layer).collect::<Vec<_>>(), 0))
            .to_device(Device::Cpu)
    }

    /// Runs the layers, and shows `see` the first one's input and the output of each, with the rows that are to be read.
    fn through_layers(&self, layout: PackedInputs, mut see: impl FnMut(&Tensor, &Tensor)) {
        let PackedInputs { inputs, rows, mut packed, .. } = layout;
        tch::no_grad(|| {
            let rotation = self.rope.at(&packed.positions(), self.kind());
            let mut x = self.embed(&inputs);
            see(&x, &rows);
            for index in 0..self.layers.len() {
                x = self.layer(index, &x, &rotation, &mut packed);
                see(&x, &rows);
            }
        });
    }

    /// That the `places` of `sequences` can be read.
    pub(super) fn check_places(&self, sequences: &[&[u32]], places: &[&[usize]]) -> Result<()> {
        for (tokens, places) in sequences.iter().zip(places) {
            self.config.check_length(tokens.len())?;
            let outside = tokens.iter().find(|&&token| token as usize >= self.readable());
            if let Some(token) = outside {
                return Err(Error::Model(format!("token id {token} is outside the model's vocabulary")));
            }
            if places.iter().any(|&place| place >= tokens.len()) {
                return Err(Error::Model("a place to read lies behind its sequence".into()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grad;
    use super::*;

    fn near(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.size(), expected.size());
        let difference = (found - expected).abs().max().double_value(&[]);
        assert!(difference < 1e-5, "{difference}");
    }

    /// The last layer's states are those that `read` gives before its norm, the first the embeddings; others and a shared beginning change
    /// nothing.
    #[test]
    fn states_of_layers_are_those_of_the_one_pass() {
        let model = Model::tiny(3);
        let (a, b) = ([3u32, 5, 7, 9], [3u32, 5, 4]);
        let both = model.read_layers(&[&a, &b], &[&[1, 3], &[2]]).unwrap();
        assert_eq!(both.size(), [4, 3, 16]);
        let read = model.read(&[&a, &b], &[&[1, 3], &[2]], Grad::No).unwrap();
        near(&model.normalised(&both.select(0, 3)), &read.states);
        near(&both.select(0, 0).select(0, 1), &model.embedding.select(0, 9));
        let alone = model.read_layers(&[&b], &[&[2]]).unwrap();
        near(&both.narrow(1, 2, 1), &alone);
        assert!(model.read_layers(&[&a], &[&[4]]).is_err() && model.read_layers(&[&[20]], &[&[0]]).is_err());
    }

    #[test]
    fn means_are_those_of_the_states() {
        let model = Model::tiny(3);
        let (a, b) = ([3u32, 5, 7, 9], [2u32, 4]);
        let means = model.segment_means(&[&a, &b], &[&[0..2, 1..4, 2..2], &[1..2, 0..2]]).unwrap();
        let all = model.read_layers(&[&a, &b], &[&[0, 1, 2, 3], &[0, 1]]).unwrap();
        let mean = |from: i64, count: i64| {
            all.narrow(1, from, count).mean_dim([1i64].as_slice(), false, Kind::Float)
        };
        near(&means.select(1, 0), &mean(0, 2));
        near(&means.select(1, 1), &mean(1, 3));
        near(&means.select(1, 2), &Tensor::zeros([4, 16], (Kind::Float, Device::Cpu)));
        near(&means.select(1, 3), &mean(5, 1));
    }

    /// Behind the last layer the lens says what the model says.
    #[test]
    fn the_lens_of_the_last_layer_is_the_prediction() {
        let model = Model::tiny(3);
        let tokens = [3u32, 5, 7];
        let states = model.read_layers(&[&tokens], &[&[2]]).unwrap();
        let found = model.lens(&states, &[4, 6]);
        assert_eq!(found.size(), [4, 1, 2]);
        let read = model.read(&[&tokens], &[&[2]], Grad::No).unwrap();
        let all = model.logits(&read.states).log_softmax(-1, Kind::Float);
        near(
            &found.select(0, 3).select(0, 0),
            &all.select(0, 0).index_select(0, &Tensor::from_slice(&[4i64, 6])),
        );
    }
}
