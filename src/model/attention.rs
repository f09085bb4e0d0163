//! Causal attention over packed sequences, for training and scoring.

use super::Attend;
use std::collections::HashMap;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// How a layer attends, besides that a token sees its own sequence up to itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AttentionSpec {
    /// What products of queries and keys are multiplied by; none is 1/√head_dim.
    pub scale: Option<f64>,
    /// Scores s are cap · tanh(s / cap), where there is a cap.
    pub softcap: Option<f64>,
    /// How many tokens one sees, itself among them, where that is limited.
    pub window: Option<usize>,
}

/// Sequences packed end to end; a token sees its own sequence up to itself. After them come branches: a branch's token sees
/// what the branch goes on from, and its own branch up to itself. A branch can go on from a branch.
///
/// Neighbours of like length are attended to together, padded on the right to the longest of them: under a causal
/// mask nothing sees that padding, so no mask tensor is needed and libtorch takes its fast kernels. The branches that go
/// on from the same tokens are attended to together too, under a mask that they share.
#[derive(Debug)]
pub struct Packed {
    lengths: Vec<usize>,
    runs: Vec<Run>,
    branches: Vec<Fork>,
    masks: Masks,
    device: Device,
}

/// Continuations of the same tokens.
#[derive(Debug)]
pub struct Branches {
    /// The places of these tokens, from the first on: they stand before the branches. Where keys and values of earlier
    /// passes stand before those of this one, places count from the first of them.
    pub before: Vec<Range<usize>>,
    /// Tokens of each branch; none is possible.
    pub lengths: Vec<usize>,
}

/// A [`Branches`] as it is attended to.
#[derive(Debug)]
struct Fork {
    branch: Branches,
    run: Run,
}

/// The masks of a pass by queries, keys, place of the first query among the keys, and window: made in the first layer that needs them.
type Masks = HashMap<(i64, i64, i64, Option<usize>), Tensor>;

/// Neighbouring sequences that share one call.
#[derive(Debug)]
struct Run {
    /// Their tokens together.
    tokens: i64,
    sequences: i64,
    longest: i64,
    /// Where lengths differ: for each padded place its token within the run (0 for padding), and for each token its
    /// place.
    spread: Option<(Tensor, Tensor)>,
}

/// Queries that are masked at once: a window's keys are then few, and capped scores grow with a sequence and not with its square, where
/// nothing is differentiated.
const MASKED_QUERIES: i64 = 512;

/// A sequence joins a run if it fills at least this share of the run's longest.
const LEAST_FILLED: f64 = 0.75;

impl Packed {
    /// Sequences of these `lengths`, in order.
    pub fn new(lengths: &[usize], device: Device) -> Self {
        Self::branching(lengths, Vec::new(), device)
    }

    /// Sequences of these `lengths`, in order, then `branches` of them, in order.
    pub fn branching(lengths: &[usize], branches: Vec<Branches>, device: Device) -> Self {
        let mut runs = Vec::new();
        let mut rest = lengths;
        while !rest.is_empty() {
            let run = &rest[..alike(rest)];
            runs.push(Run::new(run, device));
            rest = &rest[run.len()..];
        }
        let fork = |branch: Branches| {
            let run = Run::new(&branch.lengths, device);
            (run.tokens > 0).then_some(Fork { branch, run })
        };
        let branches = branches.into_iter().filter_map(fork).collect();
        Self { lengths: lengths.to_vec(), runs, branches, masks: Masks::new(), device }
    }

    /// Positions of the packed tokens, each counted from the start of its sequence, `[tokens]`.
    pub fn positions(&self) -> Tensor {
        let whole = self.lengths.iter().map(|&n| 0..n as i64);
        let continued = self.branches.iter().flat_map(|Fork { branch, .. }| {
            let from = branch.before.iter().map(|range| range.len() as i64).sum::<i64>();
            branch.lengths.iter().map(move |&n| from..from + n as i64)
        });
        let positions: Vec<i64> = whole.chain(continued).flatten().collect();
        Tensor::from_slice(&positions).to_device(self.device)
    }
}

impl Attend for Packed {
    fn attend(
        &mut self,
        _layer: usize,
        spec: &AttentionSpec,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
    ) -> Tensor {
        let masks = &mut self.masks;
        if let ([run], []) = (self.runs.as_slice(), self.branches.as_slice()) {
            return run.attend(spec, query, key, value, masks);
        }
        let of_branches = self.branches.iter().map(|fork| fork.run.tokens);
        let sizes: Vec<i64> = self.runs.iter().map(|run| run.tokens).chain(of_branches).collect();
        let new = query.size()[0];
        let [queries, keys, values] =
            [query, key, value].map(|x| x.narrow(0, x.size()[0] - new, new).split_with_sizes(&sizes, 0));
        let mut found = Vec::with_capacity(sizes.len());
        for (i, run) in self.runs.iter().enumerate() {
            found.push(run.attend(spec, &queries[i], &keys[i], &values[i], masks));
        }
        for (i, fork) in self.branches.iter().enumerate() {
            let i = self.runs.len() + i;
            let [before_keys, before_values] = [key, value].map(|x| at(x, &fork.branch.before));
            let (keys, values) = ((&before_keys, &keys[i]), (&before_values, &values[i]));
            found.push(fork.attend(spec, &queries[i], keys, values, masks));
        }
        Tensor::cat(&found, 0)
    }
}

/// The rows of `x` at some places, `[tokens, …]`.
fn at(x: &Tensor, places: &[Range<usize>]) -> Tensor {
    let mut parts: Vec<Tensor> =
        places.iter().map(|range| x.narrow(0, range.start as i64, range.len() as i64)).collect();
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) }
}

impl Fork {
    /// `[tokens, heads, head_dim]` of queries and of the keys and values of what comes before and of their own, to
    /// `[tokens, heads · head_dim]`. Branches see all that comes before them, as far as the window reaches.
    fn attend(
        &self,
        spec: &AttentionSpec,
        query: &Tensor,
        keys: (&Tensor, &Tensor),
        values: (&Tensor, &Tensor),
        masks: &mut Masks,
    ) -> Tensor {
        let run = &self.run;
        let (heads, head_dim) = (query.size()[1], query.size()[2]);
        let all = keys.0.size()[0];
        let before = spec.window.map_or(all, |window| all.min(window as i64 - 1));
        let [k, v] = [keys, values].map(|(known, own)| {
            let known = known.narrow(0, all - before, before).transpose(0, 1).unsqueeze(0);
            Tensor::cat(&[known.expand([run.sequences, -1, -1, -1], false), run.padded(own)], 2)
        });
        let out = spec.attend(&run.padded(query), &k, &v, masks);
        run.unpadded(&out, heads * head_dim)
    }
}

impl AttentionSpec {
    /// What queries `[sequences, heads, n, head_dim]` find in keys and values `[sequences, kv_heads, before + n, head_dim]`, of which
    /// they see the first `before`, and themselves up to their own place: `[sequences, heads, n, head_dim]`.
    fn attend(&self, query: &Tensor, keys: &Tensor, values: &Tensor, masks: &mut Masks) -> Tensor {
        let (count, all) = (query.size()[2], keys.size()[2]);
        let before = all - count;
        let window = self.window.filter(|&window| (window as i64) < all);
        if window.is_none() && self.softcap.is_none() {
            if before == 0 {
                let grouped = query.size()[1] != keys.size()[1];
                let (none, scale) = (None::<&Tensor>, self.scale);
                return Tensor::scaled_dot_product_attention(
                    query, keys, values, none, 0.0, true, scale, grouped,
                );
            }
            let mask = mask(masks, (count, all, before, None), query);
            return self.masked(query, keys, values, &mask);
        }
        let each = window.map_or(MASKED_QUERIES, |window| (window as i64).max(MASKED_QUERIES));
        let chunk = |start: i64| {
            let queries = each.min(count - start);
            // The first of these queries sees no key before `first`.
            let first = window.map_or(0, |window| (before + start + 1 - window as i64).max(0));
            let seen = before + start + queries - first;
            let [k, v] = [keys, values].map(|x| x.narrow(2, first, seen));
            let mask = mask(masks, (queries, seen, before + start - first, window), query);
            self.masked(&query.narrow(2, start, queries), &k, &v, &mask)
        };
        let mut chunks: Vec<Tensor> = (0..count).step_by(each as usize).map(chunk).collect();
        if chunks.len() == 1 { chunks.remove(0) } else { Tensor::cat(&chunks, 2) }
    }

    /// The same under a mask that is added to scores, `[n, keys]`.
    fn masked(&self, query: &Tensor, keys: &Tensor, values: &Tensor, mask: &Tensor) -> Tensor {
        let size = query.size();
        let (heads, kv_heads) = (size[1], keys.size()[1]);
        let Some(cap) = self.softcap else {
            // No kernel but the slowest takes a mask and grouped heads together on a GPU.
            let apart = keys.device().is_cuda() && heads != kv_heads;
            let [k, v] = [keys, values].map(|x| match apart {
                true => x.repeat_interleave_self_int(heads / kv_heads, 1, None),
                false => x.shallow_clone(),
            });
            let grouped = k.size()[1] != heads;
            return Tensor::scaled_dot_product_attention(
                query,
                &k,
                &v,
                Some(mask),
                0.0,
                false,
                self.scale,
                grouped,
            );
        };
        // No kernel caps scores. Heads that share keys are rows of one product.
        let grouped = query.reshape([size[0], kv_heads, heads / kv_heads * size[2], size[3]]);
        let scores = grouped.matmul(&keys.transpose(2, 3)) * self.scale_of(size[3]);
        let scores = ((scores / cap).tanh() * cap).view([size[0], heads, size[2], -1]) + mask;
        let shares = scores.softmax(-1, Kind::Float).to_kind(query.kind());
        shares.view([size[0], kv_heads, -1, keys.size()[2]]).matmul(values).view_as(query)
    }

    /// What products of queries and keys of `head_dim` numbers are multiplied by.
    pub fn scale_of(&self, head_dim: i64) -> f64 {
        self.scale.unwrap_or(1.0 / (head_dim as f64).sqrt())
    }
}

/// 0 where query i of `queries`, which stands at key `first` + i, sees one of the `keys`, −∞ elsewhere, `[queries, keys]`.
fn mask(masks: &mut Masks, of: (i64, i64, i64, Option<usize>), like: &Tensor) -> Tensor {
    let made = masks.entry(of).or_insert_with(|| {
        let (queries, keys, first, window) = of;
        let (size, device) = ([queries, keys], like.device());
        let mut hidden = Tensor::ones(size, (Kind::Bool, device)).triu(first + 1);
        if let Some(window) = window {
            hidden = hidden.logical_or(&Tensor::ones(size, (Kind::Bool, device)).tril(first - window as i64));
        }
        Tensor::zeros(size, (like.kind(), device)).masked_fill_(&hidden, f64::NEG_INFINITY)
    });
    made.shallow_clone()
}

impl Run {
    fn new(lengths: &[usize], device: Device) -> Self {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let tokens: usize = lengths.iter().sum();
        let spread = (tokens < longest * lengths.len()).then(|| {
            let mut tokens_of = vec![0i64; longest * lengths.len()];
            let mut places = Vec::with_capacity(tokens);
            for (row, &length) in lengths.iter().enumerate() {
                for column in 0..length {
                    let place = row * longest + column;
                    tokens_of[place] = places.len() as i64;
                    places.push(place as i64);
                }
            }
            let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
            (tensor(&tokens_of), tensor(&places))
        });
        Self { tokens: tokens as i64, sequences: lengths.len() as i64, longest: longest as i64, spread }
    }

    /// `[tokens, heads, head_dim]` each, to `[tokens, heads · head_dim]`.
    fn attend(
        &self,
        spec: &AttentionSpec,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        masks: &mut Masks,
    ) -> Tensor {
        let (heads, head_dim) = (query.size()[1], query.size()[2]);
        let [q, k, v] = [query, key, value].map(|x| self.padded(x));
        self.unpadded(&spec.attend(&q, &k, &v, masks), heads * head_dim)
    }

    /// `[tokens, width]` of `[sequences, heads, longest, head_dim]`.
    fn unpadded(&self, out: &Tensor, width: i64) -> Tensor {
        let out = out.transpose(1, 2).reshape([self.sequences * self.longest, width]);
        match &self.spread {
            Some((_, places)) => out.index_select(0, places),
            None => out,
        }
    }

    /// `[sequences, heads, longest, head_dim]`.
    fn padded(&self, x: &Tensor) -> Tensor {
        let (heads, head_dim) = (x.size()[1], x.size()[2]);
        let shape = [self.sequences, self.longest, heads, head_dim];
        let rows = match &self.spread {
            Some((tokens, _)) => x.index_select(0, tokens),
            None => x.shallow_clone(),
        };
        rows.reshape(shape).transpose(1, 2)
    }
}

/// How many sequences from the front are alike enough in length to share a run.
fn alike(lengths: &[usize]) -> usize {
    let (mut shortest, mut longest) = (lengths[0], lengths[0]);
    let fits = |length: &&usize| {
        shortest = shortest.min(**length);
        longest = longest.max(**length);
        shortest as f64 >= LEAST_FILLED * longest as f64
    };
    lengths.iter().take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each query by itself over the keys that it sees, written out.
    fn by_hand(spec: &AttentionSpec, query: &Tensor, keys: &Tensor, values: &Tensor) -> Tensor {
        let (size, all) = (query.size(), keys.size()[2]);
        let groups = size[1] / keys.size()[1];
        let before = all - size[2];
        let heads = (0..size[0]).flat_map(|s| (0..size[1]).map(move |head| (s, head)));
        let found: Vec<Tensor> = heads
            .flat_map(|(s, head)| (0..size[2]).map(move |at| (s, head, at)))
            .map(|(s, head, at)| {
                let last = before + at;
                let first = spec.window.map_or(0, |window| (last + 1 - window as i64).max(0));
                let seen = |x: &Tensor| x.get(s).get(head / groups).narrow(0, first, last + 1 - first);
                let scores = seen(keys).mv(&query.get(s).get(head).get(at)) * spec.scale.unwrap_or(0.5);
                let scores = spec.softcap.map_or(scores.copy(), |cap| (&scores / cap).tanh() * cap);
                seen(values).tr().mv(&scores.softmax(-1, Kind::Float))
            })
            .collect();
        Tensor::stack(&found, 0).view_as(query)
    }

    /// Lengths around those at which queries are cut, with and without keys before them. Heads of 4 numbers: 1/√4 = 0.5.
    #[test]
    fn windows_and_caps_hold_in_every_chunk() {
        tch::manual_seed(1);
        let random = |size: [i64; 4]| Tensor::randn(size, (Kind::Float, Device::Cpu)) * 2.0;
        let chunk = MASKED_QUERIES;
        for (count, before) in [(5, 0), (5, 9), (chunk + 3, 0), (chunk + 3, 40)] {
            let query = random([1, 2, count, 4]);
            let [keys, values] = [(), ()].map(|()| random([1, 1, before + count, 4]));
            for window in [None, Some(1), Some(3), Some(chunk as usize + 1)] {
                for softcap in [None, Some(1.5)] {
                    let scale = window.map(|_| 0.7);
                    let spec = AttentionSpec { scale, softcap, window };
                    let ours = spec.attend(&query, &keys, &values, &mut Masks::new());
                    let expected = by_hand(&spec, &query, &keys, &values);
                    let off = (&ours - &expected).abs().max().double_value(&[]);
                    assert!(off < 1e-5, "{spec:?}, {count} queries behind {before} keys: {off}");
                }
            }
        }
    }
}
