//! What a layout of GPUs takes and does in a step, by formula. P is the number of parameters, T how many GPUs split each of them, S over how
//! many of the others the training state is cut, R how many copies of that there are: N = T · S · R GPUs.

use super::{Cluster, Work};
use crate::devices::Shard;
use crate::model::Config;
use crate::model::memory::{Division, PerParameter, State, Trained, activations, cached, logits, remembered};
use tch::Kind;

/// How GPUs are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// GPUs in all, N.
    pub gpus: usize,
    /// What is cut.
    pub shard: Shard,
    /// Copies of the cut state, R.
    pub replicas: usize,
    /// GPUs that split every matrix, T.
    pub tensor: usize,
}

/// What comes of it, a GPU, in bytes and seconds of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paper {
    /// Weights, gradients and optimiser.
    pub state: f64,
    /// The most while learning.
    pub learning: f64,
    /// The most while sampling.
    pub sampling: f64,
    /// Bytes that it sends for gradients and weights.
    pub sent: f64,
    /// Seconds of sampling, of computing updates, and of sending.
    pub seconds: [f64; 3],
}

impl Layout {
    /// Over how many GPUs the state is cut, S.
    pub fn slices(&self) -> usize {
        self.gpus / (self.tensor * self.replicas)
    }

    /// By formula, of a model on a cluster.
    pub fn on_paper(&self, shape: &Config, cluster: &Cluster, work: &Work) -> Paper {
        let (p, t) = (shape.size() as f64, self.tensor as f64);
        let micro_batches = self.micro_batches(work);
        let state = self.per_parameter() * p / t + self.gathered(shape) / t;
        let passing = activations(shape, Kind::BFloat16, true) * work.tokens_per_microbatch;
        let passing = (passing + logits(shape, Kind::BFloat16, work.tokens_per_microbatch)) as f64 / t;
        let [weights, gradients] = self.while_sampling(p / t);
        let held = work.length() * cached(shape, Kind::BFloat16) + remembered(shape, Kind::BFloat16);
        let cache = self.in_flight(work) * held as f64 / t;
        let sent = self.sent(p / t, micro_batches) + self.split(shape, work, micro_batches);
        Paper {
            state,
            learning: state + passing,
            sampling: state + weights - gradients + cache,
            sent,
            seconds: [
                self.sampling_seconds(shape, cluster, work),
                self.flops(shape, work) / (self.gpus as f64 * cluster.flops * cluster.utilisation),
                self.sending_seconds(shape, cluster, work, micro_batches),
            ],
        }
    }

    /// Bytes of a parameter on the GPUs that hold it together: ZeRO's table (arXiv 1910.02054, figure 1) with gradients in f32.
    pub fn per_parameter(&self) -> f64 {
        let each = PerParameter::of(Kind::BFloat16);
        let [weight, gradient, rest] =
            [each.weight, each.gradient, each.master + each.moments].map(|b| b as f64);
        let s = self.slices() as f64;
        match self.shard {
            Shard::None => weight + gradient + rest,
            Shard::Optimizer => weight + gradient + rest / s,
            Shard::Parameters => (weight + gradient + rest) / s,
        }
    }

    /// Bytes that an update sends over the GPUs that hold a copy of a part of `p` parameters. A ring sends (n − 1) / n of what it gathers or
    /// scatters, twice that of what it sums (Patarasuk & Yuan 2009). None: f32 gradients are summed. Optimizer: they are scattered, bf16 weights
    /// gathered. Parameters: a micro-batch gathers twice, since its backward computes layers again, and scatters. Slices are summed over replicas.
    pub fn sent(&self, p: f64, micro_batches: f64) -> f64 {
        let ring = |n: usize| (n as f64 - 1.0) / n as f64;
        let (s, r) = (self.slices(), self.replicas);
        let over_replicas = 2.0 * 4.0 * p / s as f64 * ring(r);
        match self.shard {
            Shard::None => 2.0 * 4.0 * p * ring(s * r),
            Shard::Optimizer => (4.0 + 2.0) * p * ring(s) + over_replicas,
            Shard::Parameters => (2.0 + 2.0 + 4.0) * p * ring(s) * micro_batches + over_replicas,
        }
    }

    /// What of others' parts is there while a layer goes backward.
    fn gathered(&self, shape: &Config) -> f64 {
        let division = Division { shard: self.shard, ranks: self.slices() };
        State::of(shape, Kind::BFloat16, Trained::by_adamw(shape.size()), division).passing as f64
    }

    /// What sampling adds, weights that are cut otherwise, and what it does without, gradients; of `p` parameters.
    fn while_sampling(&self, p: f64) -> [f64; 2] {
        let each = PerParameter::of(Kind::BFloat16);
        let s = self.slices() as f64;
        match self.shard {
            Shard::Parameters => [each.weight as f64 * p, each.gradient as f64 * p / s],
            _ => [0.0, each.gradient as f64 * p],
        }
    }

    /// Sums over the GPUs that split matrices: two a layer forward, computed twice, and two backward (Megatron-LM, arXiv 1909.08053), of bf16
    /// states.
    fn split(&self, shape: &Config, work: &Work, micro_batches: f64) -> f64 {
        let t = self.tensor as f64;
        let states = micro_batches * (work.tokens_per_microbatch * shape.hidden_size) as f64 * 2.0;
        6.0 * shape.num_hidden_layers as f64 * states * 2.0 * (t - 1.0) / t
    }

    fn micro_batches(&self, work: &Work) -> f64 {
        let groups = (self.gpus / self.tensor) as f64;
        (work.tokens() / groups / work.tokens_per_microbatch as f64).ceil().max(1.0)
    }

    /// Sequences that are sampled at once by GPUs that split matrices.
    fn in_flight(&self, work: &Work) -> f64 {
        let share = (work.sequences as f64 * self.tensor as f64 / self.gpus as f64).ceil();
        share.min(work.slots as f64)
    }

    /// 2 P a token forward and twice that backward (Kaplan et al. 2020, arXiv 2001.08361), and 2 P again for checkpointing; attention meets
    /// half of the sequence on average.
    fn flops(&self, shape: &Config, work: &Work) -> f64 {
        work.tokens() * 4.0 * forward(shape, work.length() as f64 / 2.0)
    }

    /// A decoding step reads weights, those of the experts that some sequence passes through, and cache once and computes a token of each sequence, whichever takes longer, and waits for two sums a layer
    /// where matrices are split (Pope et al. 2022, arXiv 2211.05102). Sequences come in as many rounds as slots make them.
    fn sampling_seconds(&self, shape: &Config, cluster: &Cluster, work: &Work) -> f64 {
        let (t, batch) = (self.tensor as f64, self.in_flight(work));
        let seen = (work.prompt + work.completion / 2) as f64;
        // What recurrent layers remember is read and written.
        let [cached, states] = [cached, remembered].map(|of| of(shape, Kind::BFloat16) as f64);
        let read = 2.0 * shape.size_for(batch) + batch * (seen * cached + 2.0 * states);
        let reading = read / t / (cluster.memory_bandwidth * cluster.utilisation);
        let computing = batch * forward(shape, seen) / t / (cluster.flops * cluster.utilisation);
        let waiting =
            if self.tensor > 1 { 2.0 * shape.num_hidden_layers as f64 * cluster.latency } else { 0.0 };
        let rounds = (work.sequences as f64 * t / self.gpus as f64 / batch).ceil();
        rounds * work.completion as f64 * (reading.max(computing) + waiting)
    }

    /// What goes between nodes goes through a GPU's share of the network, the rest through the node's links. Tensor parts lie inside a node.
    fn sending_seconds(&self, shape: &Config, cluster: &Cluster, work: &Work, micro_batches: f64) -> f64 {
        let p = shape.size() as f64 / self.tensor as f64;
        let inside = |gpus: usize| gpus <= cluster.gpus_per_node;
        let link = |inside: bool| if inside { cluster.links } else { cluster.network };
        let slices = Layout { replicas: 1, gpus: self.gpus / self.replicas, ..*self };
        let within = match self.shard {
            Shard::None => self.sent(p, micro_batches),
            _ => slices.sent(p, micro_batches),
        };
        let over = self.sent(p, micro_batches) - within;
        let reach = if self.shard == Shard::None { self.gpus } else { slices.gpus };
        within / link(inside(reach))
            + over / link(inside(self.gpus))
            + self.split(shape, work, micro_batches) / cluster.links
    }
}

/// Floating-point operations of a token that meets `seen` others.
fn forward(shape: &Config, seen: f64) -> f64 {
    let attended = shape.attention_layers() * shape.num_attention_heads * shape.head_dim;
    2.0 * shape.size_for(1.0) + 4.0 * seen * attended as f64
}

#[cfg(test)]
mod tests {
    use super::super::shapes::MODELS;
    use super::*;

    fn layout(gpus: usize, shard: Shard) -> Layout {
        Layout { gpus, shard, replicas: 1, tensor: 1 }
    }

    /// 2 + 4 + 4 + 8 bytes: 18 P; 6 P + 12 P / N; 18 P / N. In round figures 8B take 60 GB on 8, 54 on 16 and 49 on 64 GPUs; 32B take 72 on 8 and
    /// 36 on 16; 70B take 79 on 16.
    #[test]
    fn state_is_zeros_table() {
        let gigabytes = |billions: f64, gpus, shard| (layout(gpus, shard).per_parameter() * billions).round();
        assert_eq!(gigabytes(0.6, 1, Shard::None), 11.0);
        assert_eq!([8, 16, 64].map(|gpus| gigabytes(8.0, gpus, Shard::Optimizer)), [60.0, 54.0, 50.0]);
        assert_eq!([8, 16, 64].map(|gpus| gigabytes(32.0, gpus, Shard::Parameters)), [72.0, 36.0, 9.0]);
        assert_eq!([16, 64].map(|gpus| gigabytes(70.0, gpus, Shard::Parameters)), [79.0, 20.0]);
    }

    /// Over many GPUs a ring's (n − 1) / n is 1: 8 P, 6 P an update, 8 P a micro-batch. One GPU sends nothing.
    #[test]
    fn an_update_sends_what_its_rings_do() {
        let sent = |shard| layout(1_000_000, shard).sent(1.0, 3.0);
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-4;
        assert!(
            near(sent(Shard::None), 8.0)
                && near(sent(Shard::Optimizer), 6.0)
                && near(sent(Shard::Parameters), 24.0)
        );
        assert_eq!(
            [Shard::None, Shard::Optimizer, Shard::Parameters].map(|s| layout(1, s).sent(1.0, 3.0)),
            [0.0; 3]
        );
        // 16 GPUs as 2 copies of 8 slices: 6 · 7/8 within, 8 / 8 · 1/2 between.
        let twice = Layout { replicas: 2, ..layout(16, Shard::Optimizer) };
        assert_eq!(twice.sent(1.0, 3.0), 6.0 * 7.0 / 8.0 + 0.5);
    }

    #[test]
    fn more_gpus_take_less_of_each_and_less_time() {
        let (cluster, work) = (Cluster::default(), Work::default());
        for (_, shape) in MODELS {
            for shard in [Shard::Optimizer, Shard::Parameters] {
                let [few, many] =
                    [16, 64].map(|gpus| layout(gpus, shard).on_paper(&shape(), &cluster, &work));
                assert!(
                    many.state < few.state
                        && many.seconds[1] < few.seconds[1]
                        && many.seconds[0] <= few.seconds[0]
                );
            }
        }
    }

    #[test]
    fn tensor_parts_take_their_part_of_the_memory() {
        let of = |tensor| {
            Layout { tensor, ..layout(16, Shard::None) }.on_paper(
                &MODELS[3].1(),
                &Cluster::default(),
                &Work::default(),
            )
        };
        assert!((of(1).state / of(4).state - 4.0).abs() < 1e-9);
    }
}
