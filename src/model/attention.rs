//! Causal attention and recurrence over packed sequences, for training and scoring.

mod spec;

pub use spec::AttentionSpec;

use super::{Attend, DeltaInputs, DeltaSpec, DeltaState};
use spec::Masks;
use std::collections::HashMap;
use std::ops::Range;
use tch::{Device, Tensor};

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

/// Neighbouring sequences that share one call.
#[derive(Debug)]
struct Run {
    /// Their tokens together.
    tokens: i64,
    sequences: i64,
    longest: i64,
    spread: Option<Spread>,
}

/// Where sequences of different lengths stand once they are padded.
#[derive(Debug)]
struct Spread {
    /// For each padded place its token within the run (0 for padding).
    tokens: Tensor,
    /// For each token its place.
    places: Tensor,
    /// Tokens of each sequence.
    lengths: Tensor,
}

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

    /// What tokens find in a recurrent layer, `[tokens, value_heads · value_dim]`, and the state behind the last token of each sequence and branch, by the place behind
    /// it. Places count from the first token of earlier passes, of which there are `before`, and whose states `ends` has.
    pub fn recur_behind(
        &self,
        spec: &DeltaSpec,
        inputs: &DeltaInputs<'_>,
        before: usize,
        mut ends: HashMap<usize, DeltaState>,
    ) -> (Tensor, HashMap<usize, DeltaState>) {
        let (kind, device) = (inputs.mixed.kind(), inputs.mixed.device());
        let (mut found, mut place, mut rest) = (Vec::new(), before, self.lengths.as_slice());
        let whole = self.runs.iter().map(|run| {
            let (own, others) = rest.split_at(run.sequences as usize);
            rest = others;
            (run, own, None)
        });
        let continued = self.branches.iter().map(|Fork { branch, run }| {
            let last = branch.before.iter().rfind(|range| !range.is_empty());
            (run, branch.lengths.as_slice(), last.map(|range| range.end))
        });
        for (run, lengths, after) in whole.chain(continued) {
            if run.tokens == 0 {
                continue;
            }
            let from = match after {
                None => spec.empty(run.sequences, kind, device),
                Some(end) => ends[&end].shared(run.sequences),
            };
            let start = (place - before) as i64;
            let (own, state) = run.recur(spec, &inputs.map(|x| x.narrow(0, start, run.tokens)), &from);
            found.push(own);
            for (at, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
                place += length;
                ends.insert(place, state.of(at));
            }
        }
        (Tensor::cat(&found, 0), ends)
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
        sinks: Option<&Tensor>,
    ) -> Tensor {
        let masks = &mut self.masks;
        if let ([run], []) = (self.runs.as_slice(), self.branches.as_slice()) {
            return run.attend(spec, query, key, value, sinks, masks);
        }
        let of_branches = self.branches.iter().map(|fork| fork.run.tokens);
        let sizes: Vec<i64> = self.runs.iter().map(|run| run.tokens).chain(of_branches).collect();
        let new = query.size()[0];
        let [queries, keys, values] =
            [query, key, value].map(|x| x.narrow(0, x.size()[0] - new, new).split_with_sizes(&sizes, 0));
        let mut found = Vec::with_capacity(sizes.len());
        for (i, run) in self.runs.iter().enumerate() {
            found.push(run.attend(spec, &queries[i], &keys[i], &values[i], sinks, masks));
        }
        for (i, fork) in self.branches.iter().enumerate() {
            let i = self.runs.len() + i;
            let [before_keys, before_values] = [key, value].map(|x| at(x, &fork.branch.before));
            let (keys, values) = ((&before_keys, &keys[i]), (&before_values, &values[i]));
            found.push(fork.attend(spec, &queries[i], keys, values, sinks, masks));
        }
        Tensor::cat(&found, 0)
    }

    fn recur(&mut self, _layer: usize, spec: &DeltaSpec, inputs: &DeltaInputs<'_>) -> Tensor {
        self.recur_behind(spec, inputs, 0, HashMap::new()).0
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
        sinks: Option<&Tensor>,
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
        let out = spec.attend(&run.padded(query), &k, &v, sinks, masks);
        run.unpadded(&out, heads * head_dim)
    }
}

impl Run {
    fn new(lengths: &[usize], device: Device) -> Self {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let tokens: usize = lengths.iter().sum();
        let spread = (tokens < longest * lengths.len()).then(|| {
            let mut tokens_of = vec![0i64; longest * lengths.len()];
            let lengths_of: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
            let mut places = Vec::with_capacity(tokens);
            for (row, &length) in lengths.iter().enumerate() {
                for column in 0..length {
                    let place = row * longest + column;
                    tokens_of[place] = places.len() as i64;
                    places.push(place as i64);
                }
            }
            let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
            Spread { tokens: tensor(&tokens_of), places: tensor(&places), lengths: tensor(&lengths_of) }
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
        sinks: Option<&Tensor>,
        masks: &mut Masks,
    ) -> Tensor {
        let (heads, head_dim) = (query.size()[1], query.size()[2]);
        let [q, k, v] = [query, key, value].map(|x| self.padded(x));
        self.unpadded(&spec.attend(&q, &k, &v, sinks, masks), heads * head_dim)
    }

    /// What `[tokens, …]` find behind the state of each sequence, `[tokens, width]`, and the states behind them.
    fn recur(&self, spec: &DeltaSpec, inputs: &DeltaInputs<'_>, from: &DeltaState) -> (Tensor, DeltaState) {
        let lengths = self.spread.as_ref().map(|spread| &spread.lengths);
        let inputs = inputs.map(|x| self.rows(x).reshape([self.sequences, self.longest, x.size()[1]]));
        let (found, state) = spec.run(&inputs, lengths, from);
        (self.unpadded(&found, (spec.value_heads * spec.value_dim) as i64), state)
    }

    /// `[tokens, width]` of `[sequences, heads, longest, head_dim]`.
    fn unpadded(&self, out: &Tensor, width: i64) -> Tensor {
        let out = out.transpose(1, 2).reshape([self.sequences * self.longest, width]);
        match &self.spread {
            Some(Spread { places, .. }) => out.index_select(0, places),
            None => out,
        }
    }

    /// `[sequences, heads, longest, head_dim]`.
    fn padded(&self, x: &Tensor) -> Tensor {
        let (heads, head_dim) = (x.size()[1], x.size()[2]);
        let shape = [self.sequences, self.longest, heads, head_dim];
        self.rows(x).reshape(shape).transpose(1, 2)
    }

    /// `[sequences · longest, …]` of `[tokens, …]`.
    fn rows(&self, x: &Tensor) -> Tensor {
        match &self.spread {
            Some(Spread { tokens, .. }) => x.index_select(0, tokens),
            None => x.shallow_clone(),
        }
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
