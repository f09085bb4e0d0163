//! How many bytes a model takes, by what holds them: what a plan is made of before there is a model.

use super::names::CHUNK;
use super::{Config, Nf4};
use crate::devices::Shard;
use tch::Kind;

/// Bytes of one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerParameter {
    /// The weight that the model computes with.
    pub weight: usize,
    /// The sum of its gradient over micro-batches, f32.
    pub gradient: usize,
    /// The f32 number that a weight of another kind is rounded from.
    pub master: usize,
    /// AdamW's two running means, f32.
    pub moments: usize,
}

impl PerParameter {
    /// Of weights of `kind`.
    pub fn of(kind: Kind) -> Self {
        let master = if kind == Kind::Float { 0 } else { 4 };
        Self { weight: kind.elt_size_in_bytes(), gradient: 4, master, moments: 8 }
    }

    /// What training adds to the weight.
    pub fn training(self) -> usize {
        self.gradient + self.master + self.moments
    }
}

/// How a model in training is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    /// What is divided.
    pub shard: Shard,
    /// Among how many ranks.
    pub ranks: usize,
}

/// What of a model trains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trained {
    /// How many weights.
    pub weights: usize,
    /// Bytes that the optimiser remembers of them, beside their f32 masters.
    pub remembered: usize,
}

impl Trained {
    /// So many weights by AdamW, with two f32 means of each.
    pub fn by_adamw(weights: usize) -> Self {
        Self { weights, remembered: weights * PerParameter::of(Kind::Float).moments }
    }
}

impl Division {
    /// How many ranks each have a part of the gradients.
    pub fn parts(self) -> usize {
        if self.shard == Shard::Parameters { self.ranks } else { 1 }
    }
}

/// Bytes of a model in training, on one rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// Weights that are there at any time.
    pub weights: usize,
    /// Sums of gradients, from the first micro-batch of an update to its end.
    pub gradients: usize,
    /// Masters and running means.
    pub optimizer: usize,
    /// What is there of others' parts while a layer goes backward, beside activations.
    pub passing: usize,
    /// The same once all layers have, and no activations are there any more; of what is whole, a micro-batch's own gradients, which are not yet
    /// added to the sums.
    pub ending: usize,
    /// Weights that are there besides while the model is whole: it samples, or is evaluated.
    pub whole: usize,
}

impl State {
    /// Of weights of `kind`, of which train all, or adapters of the layers.
    pub fn of(shape: &Config, kind: Kind, trained: Trained, division: Division) -> Self {
        let (each, all) = (PerParameter::of(kind), shape.size());
        let Trained { weights: trained, remembered } = trained;
        let Division { shard, ranks } = division;
        let whole = State {
            weights: all * each.weight,
            gradients: trained * each.gradient,
            optimizer: trained * each.master + remembered,
            ending: trained * each.weight,
            ..Self::default()
        };
        match shard {
            _ if ranks == 1 => whole,
            Shard::None => whole,
            Shard::Optimizer => State { optimizer: whole.optimizer / ranks, ..whole },
            Shard::Parameters => {
                let [passing, ending] = gathered(shape, kind, trained);
                State {
                    weights: whole.weights / ranks,
                    gradients: whole.gradients / ranks,
                    optimizer: whole.optimizer / ranks,
                    whole: whole.weights,
                    passing,
                    ending,
                }
            }
        }
    }

    /// The most while learning, with so many bytes of activations and logits.
    pub fn learning(&self, activations: usize) -> usize {
        self.weights + self.gradients + self.optimizer + (self.passing + activations).max(self.ending)
    }

    /// The most while sampling, with so many bytes of keys, values and states.
    pub fn sampling(&self, cached: usize) -> usize {
        self.weights + self.optimizer + self.whole + cached
    }
}

/// What a rank has of all ranks' weights and gradients while a layer goes backward, and at the end. What stands outside of the layers is there
/// all along, with its gradient: the output projection's comes first. Of layers there are the one that computes and the next, of
/// which libtorch has a second copy while it arrives, and a gradient: as the layer leaves it, then in f32, sent and received.
fn gathered(shape: &Config, kind: Kind, trained: usize) -> [usize; 2] {
    let (width, all) = (kind.elt_size_in_bytes(), shape.size());
    let (outside, layers) = (outside(shape), shape.num_hidden_layers.max(1));
    let (layer, of_layer) = ((all - outside) / layers, trained.min(all - outside) / layers);
    let of_outside = if trained == all { outside } else { 0 };
    let kept = (outside + of_outside) * width;
    [kept + 3 * layer * width + of_layer * (width + 8), kept + 8 * of_outside]
}

/// Bytes of the weights of a model that is kept in four bits, what is outside of its layers' linear maps in `kind`; and of the largest of these in full.
///
/// # Panics
/// As [`Config::size`].
pub fn quantised(shape: &Config, kind: Kind) -> [usize; 2] {
    let layers = shape.outline().expect("a shape that the block can be built of");
    let linears = layers.iter().flat_map(|layer| layer.linears());
    let sizes: Vec<usize> = linears.map(|linear| linear.weight.numel()).collect();
    let width = kind.elt_size_in_bytes();
    let packed: usize = sizes.iter().map(|&size| Nf4::bytes(size)).sum();
    let rest = shape.size() - sizes.iter().sum::<usize>();
    [packed + rest * width, sizes.into_iter().max().unwrap_or(0) * width]
}

/// Parameters outside of the layers: the embedding, the output projection and the last norm.
pub fn outside(shape: &Config) -> usize {
    let heads = if shape.tie_word_embeddings { 1 } else { 2 };
    heads * shape.vocab_size * shape.hidden_size + shape.hidden_size
}

/// Bytes of a token that a backward pass goes back over: an estimate of 34 · hidden + 6 · intermediate a layer in 16-bit numbers,
/// twice that in f32, where the experts that a token passes through count together, and the f32 results of each, and in recurrent layers what the gated delta rule keeps
/// of queries, keys, values and a chunk's products in f32; with checkpointing one layer's, and every layer's input.
pub fn activations(shape: &Config, kind: Kind, checkpointing: bool) -> usize {
    let width = kind.elt_size_in_bytes();
    let mlp = (6.0 * shape.mlp_width()) as usize;
    let experts = shape.form().ok().and_then(|form| form.experts).map_or(0, |experts| experts.per_token);
    let layer = (34 * shape.hidden_size + mlp) * width / 2 + experts * 2 * shape.hidden_size * (width + 4);
    let delta = shape.form().ok().and_then(|form| form.delta);
    let recurrent = delta.map_or(0, |spec| spec.activations());
    let layers = shape.num_hidden_layers;
    match checkpointing {
        true => layer + recurrent + layers * shape.hidden_size * width,
        false => layer * layers + recurrent * shape.recurrent_layers(),
    }
}

/// Bytes of the logits of `tokens` learned tokens, as far as they are held at once: two copies in f32, and one of 16 bits where the
/// weights have these.
pub fn logits(shape: &Config, kind: Kind, tokens: usize) -> usize {
    let rounded = if kind == Kind::Float { 0 } else { kind.elt_size_in_bytes() };
    (2 * 4 + rounded) * (tokens * shape.vocab_size).min(CHUNK)
}

/// Bytes of a token's keys and values.
pub fn cached(shape: &Config, kind: Kind) -> usize {
    2 * shape.attention_layers() * shape.num_key_value_heads * shape.head_dim * kind.elt_size_in_bytes()
}

/// Bytes of what recurrent layers remember of a sequence, whatever its length.
pub fn remembered(shape: &Config, kind: Kind) -> usize {
    let delta = shape.form().ok().and_then(|form| form.delta);
    shape.recurrent_layers() * delta.map_or(0, |spec| spec.bytes(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of P weights: 4 + 4 + 8 bytes each in f32, 2 + 4 + 12 in bf16; and where activations are fewer bytes than a micro-batch's own
    /// gradients, which have the weights' format, these.
    #[test]
    fn gradients_of_a_micro_batch_count_once_activations_are_gone() {
        let shape = Config::default();
        let all = shape.size();
        for (kind, each, own) in [(Kind::Float, 16, 4), (Kind::BFloat16, 18, 2)] {
            let state =
                State::of(&shape, kind, Trained::by_adamw(all), Division { shard: Shard::None, ranks: 2 });
            assert_eq!(state.learning(0), (each + own) * all);
            assert_eq!(state.learning(5 * all), (each + 5) * all);
        }
        // Ten weights of adapters: gradients, their sums, and half of the running means.
        let state = State::of(
            &shape,
            Kind::Float,
            Trained::by_adamw(10),
            Division { shard: Shard::Optimizer, ranks: 2 },
        );
        assert_eq!(state.learning(0), 4 * all + 10 * (4 + 4 + 4));
    }
}
