//! The gated delta rule (Yang et al. 2024, arXiv 2412.06464): what a layer remembers of a sequence is one matrix a head from keys to values. Each token lets it
//! fade, and corrects what is found under its key towards its value.
//!
//! S_t = γ_t S_{t−1} + k_t (β_t (v_t − (γ_t S_{t−1})ᵀ k_t))ᵀ and o_t = S_tᵀ q_t / √key_dim, where queries, keys and values come of a short causal convolution, and queries
//! and keys have length 1. It is computed in f32 and in chunks (section 3.3 there): within one the corrections are the solution of a triangular system, from one to
//! the next goes S alone.

use tch::{Device, Kind, Tensor};

/// Sizes of such a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaSpec {
    /// Heads of queries and keys, each of which serves as many value heads.
    pub key_heads: usize,
    /// Heads of values.
    pub value_heads: usize,
    /// Width of a query or key.
    pub key_dim: usize,
    /// Width of a value.
    pub value_dim: usize,
    /// Tokens that the convolution looks at, the last of them the token itself.
    pub kernel: usize,
}

/// What tokens bring to such a layer: of packed tokens `[tokens, …]`, of sequences side by side `[sequences, n, …]`.
#[derive(Debug)]
pub struct DeltaInputs<'a> {
    /// Queries, keys and values of all heads before their convolution, `[…, channels]`.
    pub mixed: Tensor,
    /// ln γ, `[…, value_heads]` in f32.
    pub decay: Tensor,
    /// β, `[…, value_heads]` in f32.
    pub strength: Tensor,
    /// The convolution's weights, `[channels, 1, kernel]`.
    pub kernel: &'a Tensor,
}

/// What is remembered of sequences, whatever their lengths.
#[derive(Debug)]
pub struct DeltaState {
    /// The last tokens' inputs of the convolution, `[sequences, kernel − 1, channels]`.
    pub recent: Tensor,
    /// S, `[sequences, value_heads, key_dim, value_dim]` in f32.
    pub memory: Tensor,
}

/// Tokens of a chunk.
const CHUNK: i64 = 64;
/// Added to squared lengths of queries and keys.
const EPS: f64 = 1e-6;

impl DeltaSpec {
    /// Inputs of the convolution.
    pub fn channels(&self) -> usize {
        2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim
    }

    /// Bytes of a sequence's state in one layer, whose convolution is of `kind`.
    pub fn bytes(&self, kind: Kind) -> usize {
        let memory = self.value_heads * self.key_dim * self.value_dim;
        (self.kernel - 1) * self.channels() * kind.elt_size_in_bytes() + 4 * memory
    }

    /// Bytes of a token that a backward pass goes back over, estimated: in f32 its query and key of each value head in twelve forms, its value in eight, and five rows
    /// of a chunk's products.
    pub fn activations(&self) -> usize {
        4 * self.value_heads * (12 * self.key_dim + 8 * self.value_dim + 5 * CHUNK as usize)
    }

    /// What is remembered of `sequences` sequences that have not begun.
    pub fn empty(&self, sequences: i64, kind: Kind, device: Device) -> DeltaState {
        let [channels, heads] = [self.channels(), self.value_heads].map(|n| n as i64);
        let [kernel, key, value] = [self.kernel, self.key_dim, self.value_dim].map(|n| n as i64);
        DeltaState {
            recent: Tensor::zeros([sequences, kernel - 1, channels], (kind, device)),
            memory: Tensor::zeros([sequences, heads, key, value], (Kind::Float, device)),
        }
    }

    /// What sequences `[sequences, n, …]` behind `from` find, `[sequences, value_heads, n, value_dim]`, and what is remembered of them then. Of sequences of
    /// different `lengths [sequences]` those that are shorter than n are filled up behind their ends, where what is found means nothing.
    pub fn run(
        &self,
        inputs: &DeltaInputs<'_>,
        lengths: Option<&Tensor>,
        from: &DeltaState,
    ) -> (Tensor, DeltaState) {
        let DeltaInputs { mixed, decay, strength, kernel } = inputs;
        let [sequences, n, channels] = mixed.size()[..] else { unreachable!("three dimensions") };
        let before = self.kernel as i64 - 1;
        let seen = Tensor::cat(&[&from.recent, mixed], 1);
        let recent = match lengths {
            None => seen.narrow(1, n, before),
            Some(lengths) => {
                let last = lengths.unsqueeze(1) + Tensor::arange(before, (Kind::Int64, mixed.device()));
                seen.gather(1, &last.unsqueeze(2).expand([-1, -1, channels], false), false)
            }
        };
        let convolved = seen.transpose(1, 2).conv1d(kernel, None::<&Tensor>, [1], [0], [1], channels);
        let convolved = convolved.silu().transpose(1, 2).to_kind(Kind::Float);
        let (heads, keys) = (self.value_heads as i64, (self.key_heads * self.key_dim) as i64);
        let of = |start: i64, width: i64, heads: usize| {
            convolved.narrow(2, start, width).reshape([sequences, n, heads as i64, -1]).transpose(1, 2)
        };
        let each = heads / self.key_heads as i64;
        let [query, key] = [0, keys].map(|start| {
            let x = of(start, keys, self.key_heads);
            let length = (x.square().sum_dim_intlist(-1, true, Kind::Float) + EPS).rsqrt();
            (x * length).repeat_interleave_self_int(each, 1, None)
        });
        let value = of(2 * keys, channels - 2 * keys, self.value_heads);
        // Behind a sequence's end nothing fades and nothing is written.
        let there = lengths.map(|lengths| {
            let places = Tensor::arange(n, (Kind::Int64, mixed.device()));
            places.unsqueeze(0).lt_tensor(&lengths.unsqueeze(1)).to_kind(Kind::Float).unsqueeze(2)
        });
        let [decay, strength] = [decay, strength].map(|x| {
            let x = there.as_ref().map_or_else(|| x.shallow_clone(), |there| x * there);
            x.transpose(1, 2)
        });
        let query = query * (1.0 / (self.key_dim as f64).sqrt());
        let (found, memory) = scan(&[query, key, value], &decay, &strength, &from.memory);
        (found.to_kind(mixed.kind()), DeltaState { recent, memory })
    }
}

/// What queries find, `[sequences, heads, n, value_dim]`, and S behind all tokens, of `[query, key, value]`, each `[sequences, heads, n, …]`, ln γ and β
/// `[sequences, heads, n]`, and S before them.
fn scan(tokens: &[Tensor; 3], decay: &Tensor, strength: &Tensor, memory: &Tensor) -> (Tensor, Tensor) {
    let n = decay.size()[2];
    let size = n.min(CHUNK);
    let chunks = (n + size - 1) / size;
    let missing = chunks * size - n;
    let chunked = |x: &Tensor| {
        let padded = if missing > 0 { x.constant_pad_nd([0, 0, 0, missing]) } else { x.shallow_clone() };
        let [sequences, heads, _, width] = padded.size()[..] else { unreachable!("four dimensions") };
        padded.reshape([sequences, heads, chunks, size, width])
    };
    let [query, key, value] = tokens.each_ref().map(chunked);
    let strength = chunked(&strength.unsqueeze(3));
    // ln of all that fades from the chunk's beginning to each token, and from each token to each later one.
    let faded = chunked(&decay.unsqueeze(3)).cumsum(3, Kind::Float);
    let between = (&faded - faded.transpose(3, 4)).tril(0).exp().tril(0);
    let whole = faded.narrow(3, size - 1, 1);
    let key_strength = &key * &strength;
    // (I + L) U = β v − β γ k S: U holds the corrections, and is made of two parts, of which one waits for S.
    let parts = Tensor::cat(&[&value * &strength, &key_strength * faded.exp()], 4);
    let parts = match size {
        1 => parts,
        _ => {
            let lower = (key_strength.matmul(&key.transpose(3, 4)) * &between).tril(-1);
            lower.linalg_solve_triangular(&parts, false, true, true)
        }
    };
    let width = value.size()[4];
    let [written, read] =
        [parts.narrow(4, 0, width), parts.narrow(4, width, key.size()[4])].map(|part| part.unbind(2));
    let within = (query.matmul(&key.transpose(3, 4)) * &between).unbind(2);
    let query = (query * faded.exp()).unbind(2);
    let key = (key * (&whole - &faded).exp()).transpose(3, 4).unbind(2);
    let whole = whole.exp().unbind(2);
    let (mut memory, mut found) = (memory.shallow_clone(), Vec::with_capacity(chunks as usize));
    for at in 0..chunks as usize {
        let corrections = &written[at] - read[at].matmul(&memory);
        found.push(query[at].matmul(&memory) + within[at].matmul(&corrections));
        memory = memory * &whole[at] + key[at].matmul(&corrections);
    }
    (Tensor::cat(&found, 2).narrow(2, 0, n), memory)
}

impl DeltaInputs<'_> {
    /// The same of other tokens, as `change` makes them of each tensor.
    pub fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        let [mixed, decay, strength] = [&self.mixed, &self.decay, &self.strength].map(change);
        Self { mixed, decay, strength, kernel: self.kernel }
    }
}

impl DeltaState {
    /// That of one of the sequences, as a view.
    pub fn of(&self, sequence: usize) -> Self {
        self.map(|x| x.narrow(0, sequence as i64, 1))
    }

    /// That of one sequence as that of `sequences` which go on from it, as a view.
    pub fn shared(&self, sequences: i64) -> Self {
        self.map(|x| x.expand([&[sequences][..], &x.size()[1..]].concat(), false))
    }

    /// Each tensor put through `change`.
    pub fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { recent: change(&self.recent), memory: change(&self.memory) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: DeltaSpec = DeltaSpec { key_heads: 1, value_heads: 2, key_dim: 3, value_dim: 5, kernel: 4 };

    struct Random {
        mixed: Tensor,
        decay: Tensor,
        strength: Tensor,
        kernel: Tensor,
        state: DeltaState,
    }

    fn random(sequences: i64, n: i64) -> Random {
        tch::manual_seed(6);
        let of = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let channels = SPEC.channels() as i64;
        Random {
            mixed: of(&[sequences, n, channels]).set_requires_grad(true),
            decay: (of(&[sequences, n, 2]).abs() * -0.3).set_requires_grad(true),
            strength: of(&[sequences, n, 2]).sigmoid().set_requires_grad(true),
            kernel: of(&[channels, 1, 4]).set_requires_grad(true),
            state: DeltaState { recent: of(&[sequences, 3, channels]), memory: of(&[sequences, 2, 3, 5]) }
                .map(|x| x.copy().set_requires_grad(true)),
        }
    }

    impl Random {
        fn inputs(&self) -> DeltaInputs<'_> {
            let [mixed, decay, strength] =
                [&self.mixed, &self.decay, &self.strength].map(Tensor::shallow_clone);
            DeltaInputs { mixed, decay, strength, kernel: &self.kernel }
        }

        fn leaves(&self) -> [&Tensor; 6] {
            let DeltaState { recent, memory } = &self.state;
            [&self.mixed, &self.decay, &self.strength, &self.kernel, recent, memory]
        }

        /// The rule as it is written, token by token and head by head: what sequence `of` finds in its first `n` tokens, `[2, n, 5]`, and S behind them, `[2, 3, 5]`.
        fn by_hand(&self, of: i64, n: i64) -> (Tensor, Tensor) {
            let all = Tensor::cat(&[self.state.recent.get(of), self.mixed.get(of)], 0);
            let (mut found, mut memories) = (Vec::new(), Vec::new());
            for head in 0..2 {
                let (mut memory, mut own) = (self.state.memory.get(of).get(head), Vec::new());
                for at in 0..n {
                    // The last kernel − 1 inputs stand before the first token.
                    let window = all.narrow(0, at, 4);
                    let convolved = (window * self.kernel.squeeze_dim(1).tr())
                        .sum_dim_intlist(0, false, Kind::Float)
                        .silu();
                    let unit = |x: Tensor| &x / (x.square().sum(Kind::Float) + 1e-6).sqrt();
                    let query = unit(convolved.narrow(0, 0, 3)) / 3f64.sqrt();
                    let key = unit(convolved.narrow(0, 3, 3));
                    let value = convolved.narrow(0, 6 + 5 * head, 5);
                    let number = |x: &Tensor| x.get(of).get(at).get(head);
                    memory = &memory * number(&self.decay).exp();
                    let change = (value - memory.tr().mv(&key)) * number(&self.strength);
                    memory = &memory + key.outer(&change);
                    own.push(memory.tr().mv(&query));
                }
                found.push(Tensor::stack(&own, 0));
                memories.push(memory);
            }
            (Tensor::stack(&found, 0), Tensor::stack(&memories, 0))
        }
    }

    fn near(ours: &Tensor, theirs: &Tensor, what: &str) {
        assert_eq!(ours.size(), theirs.size(), "{what}");
        let (off, most) = ((ours - theirs).abs().max(), theirs.abs().max().clamp_min(1.0));
        let off = (off / most).double_value(&[]);
        assert!(off < 1e-5, "{what}: {off}");
    }

    /// Sequences of 150 and 70 tokens side by side: three chunks, of which the last is not full, and one that ends within its second. Of one token: no system.
    #[test]
    fn chunks_find_what_the_rule_says() {
        for (n, lengths) in [(150, [150i64, 70]), (1, [1, 1]), (64, [64, 1])] {
            let made = random(2, n);
            let given = Tensor::from_slice(&lengths);
            let (found, state) = SPEC.run(&made.inputs(), Some(&given), &made.state);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for (of, &length) in (0..).zip(&lengths) {
                let (expected, memory) = made.by_hand(of, length);
                let own = found.get(of).narrow(1, 0, length);
                near(&own, &expected, "found");
                near(&state.memory.get(of), &memory, "memory");
                let all = Tensor::cat(&[made.state.recent.get(of), made.mixed.get(of)], 0);
                near(&state.recent.get(of), &all.narrow(0, length, 3), "recent");
                let sum = |found: &Tensor, memory: &Tensor| {
                    found.square().sum(Kind::Float) + memory.square().sum(Kind::Float) * 0.3
                };
                ours.push(sum(&own, &state.memory.get(of)));
                theirs.push(sum(&expected, &memory));
            }
            let gradients = |sums: &[Tensor]| {
                Tensor::run_backward(&[Tensor::stack(sums, 0).sum(Kind::Float)], &made.leaves(), true, false)
            };
            for (one, other) in gradients(&ours).iter().zip(&gradients(&theirs)) {
                let scale = other.abs().max().clamp_min(1.0);
                near(&(one / &scale), &(other / &scale), "gradient");
            }
        }
    }

    /// What is remembered in the middle is all that the rest needs.
    #[test]
    fn a_sequence_goes_on_from_its_state() {
        let made = random(1, 90);
        let (whole, last) = SPEC.run(&made.inputs(), None, &made.state);
        let part = |start: i64, length: i64| made.inputs().map(|x| x.narrow(1, start, length));
        let (first, middle) = SPEC.run(&part(0, 33), None, &made.state);
        let rest = part(33, 57).map(|x| x.expand([2, -1, -1], false));
        let (second, end) = SPEC.run(&rest, None, &middle.of(0).shared(2));
        near(&Tensor::cat(&[first, second.narrow(0, 0, 1)], 2), &whole, "found");
        near(&second.get(1), &second.get(0), "both");
        near(&end.of(1).memory, &last.memory, "memory");
        near(&end.of(0).recent, &last.recent, "recent");
        assert_eq!(SPEC.bytes(Kind::BFloat16), 3 * 16 * 2 + 2 * 3 * 5 * 4);
    }
}
