//! The two ways decoding runs the model: over what is new in prompts, and over one new token of each sequence in flight.

use super::cache::Cache;
use super::states::States;
use super::store::Store;
use super::view::{Partial, View, merged};
use crate::model::attention::{Branches, Packed};
use crate::model::{Attend, AttentionSpec, DeltaInputs, DeltaSpec, DeltaState, Model};
use std::collections::HashMap;
use std::ops::Range;
use tch::{Kind, Tensor};

/// Computes what is not known of the prompts that end with the segments `ends`, in one packed pass; returns its tokens.
pub fn prefill(model: &Model, store: &mut Store, ends: &[usize]) -> usize {
    let pending = pending(store, ends);
    if pending.is_empty() {
        return 0;
    }
    let pass = Pass::new(store, pending);
    let device = model.device();
    let ids: Vec<i64> = pass.new.iter().flat_map(|&at| new_tokens(store, at)).collect();
    let packed = Packed::branching(&pass.roots, pass.branches, device);
    let positions = packed.positions();
    let before: usize = pass.context.iter().map(|&at| store.at(at).known).sum();
    let context = pass.context;
    let mut recorder = Recorder { packed, store, context, layers: Vec::new(), states: Vec::new() };
    let hidden = model.hidden(&Tensor::from_slice(&ids).to_device(device), &positions, &mut recorder);
    let Recorder { layers, states, .. } = recorder;

    let (mut start, mut last) = (0, Vec::new());
    for at in pass.new {
        let length = (store.at(at).tokens.len() - store.at(at).known) as i64;
        let cut = |t: &Tensor| t.narrow(0, start, length).transpose(0, 1);
        let own: Vec<(Tensor, Tensor)> = layers.iter().map(|(key, value)| (cut(key), cut(value))).collect();
        start += length;
        // Views would keep the states of the whole pass.
        let behind = states.iter().map(|layer| layer[&(before + start as usize)].map(Tensor::copy));
        store.write(at, length as usize, &own, behind.collect());
        if store.ends_a_prompt(at) {
            last.push((at, start - 1));
        }
    }
    let rows: Vec<i64> = last.iter().map(|(_, row)| *row).collect();
    let logits = model.logits(&hidden.index_select(0, &Tensor::from_slice(&rows).to_device(device)));
    for (row, (at, _)) in last.into_iter().enumerate() {
        store.set_logits(at, logits.get(row as i64));
    }
    ids.len()
}

/// The segments of the prompts that end with `ends` of which something is not known, parents before their children.
pub fn pending(store: &Store, ends: &[usize]) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    let all = ends.iter().flat_map(|&end| store.path(end));
    all.filter(|&at| store.at(at).known < store.at(at).tokens.len() && seen.insert(at)).collect()
}

fn new_tokens(store: &Store, at: usize) -> impl Iterator<Item = i64> {
    let segment = store.at(at);
    segment.tokens[segment.known..].iter().map(|&id| i64::from(id))
}

/// How what is new is packed for a pass.
struct Pass {
    /// Known segments whose keys stand before those of the pass.
    context: Vec<usize>,
    /// The segments that become known, in the order that they are packed in.
    new: Vec<usize>,
    roots: Vec<usize>,
    branches: Vec<Branches>,
}

impl Pass {
    fn new(store: &Store, pending: Vec<usize>) -> Self {
        // Of a segment that was made longer the known tokens are context to the new ones.
        let before = |at: usize| match store.at(at) {
            segment if segment.known > 0 => Some(at),
            segment => segment.parent,
        };
        let (roots, others): (Vec<usize>, Vec<usize>) =
            pending.into_iter().partition(|&at| before(at).is_none());
        let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut group_of: HashMap<(usize, bool), usize> = HashMap::new();
        for at in others {
            let after = before(at).expect("roots are apart");
            let group = *group_of.entry((after, after == at)).or_insert(groups.len());
            if group == groups.len() {
                groups.push((after, Vec::new()));
            }
            groups[group].1.push(at);
        }
        let paths = groups.iter().map(|(after, _)| store.path(*after));
        let mut context: Vec<usize> = paths.flatten().filter(|&at| store.at(at).known > 0).collect();
        context.sort_unstable();
        context.dedup();
        let length = |at: &usize| store.at(*at).tokens.len() - store.at(*at).known;
        let new: Vec<usize> =
            roots.iter().chain(groups.iter().flat_map(|(_, group)| group)).copied().collect();
        let (mut end, mut places) = (0, HashMap::<usize, Vec<Range<usize>>>::new());
        let known = context.iter().map(|&at| (at, store.at(at).known));
        for (at, tokens) in known.chain(new.iter().map(|at| (*at, length(at)))) {
            places.entry(at).or_default().push(end..end + tokens);
            end += tokens;
        }
        let branch = |(after, group): &(usize, Vec<usize>)| {
            let longer = group.contains(after);
            let place = |at: usize| match longer && at == *after {
                true => places[&at][..1].to_vec(),
                false => places[&at].clone(),
            };
            let before = store.path(*after).into_iter().flat_map(place).collect();
            Branches { before, lengths: group.iter().map(length).collect() }
        };
        let branches = groups.iter().map(branch).collect();
        Self { context, roots: roots.iter().map(length).collect(), branches, new }
    }
}

/// Packed attention and recurrence behind what is known, which keeps every layer's new keys and values, or states by the place behind their last token.
struct Recorder<'a> {
    packed: Packed,
    store: &'a Store,
    context: Vec<usize>,
    layers: Vec<(Tensor, Tensor)>,
    states: Vec<HashMap<usize, DeltaState>>,
}

impl Attend for Recorder<'_> {
    fn attend(
        &mut self,
        layer: usize,
        spec: &AttentionSpec,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        sinks: Option<&Tensor>,
    ) -> Tensor {
        self.layers.push((key.shallow_clone(), value.contiguous()));
        if self.context.is_empty() {
            return self.packed.attend(layer, spec, query, key, value, sinks);
        }
        let (mut keys, mut values): (Vec<Tensor>, Vec<Tensor>) =
            self.context.iter().map(|&at| self.store.read(at, layer)).unzip();
        keys.push(key.shallow_clone());
        values.push(value.shallow_clone());
        self.packed.attend(layer, spec, query, &Tensor::cat(&keys, 0), &Tensor::cat(&values, 0), sinks)
    }

    fn recur(&mut self, layer: usize, spec: &DeltaSpec, inputs: &DeltaInputs<'_>) -> Tensor {
        let (mut known, mut end) = (HashMap::new(), 0);
        for segment in self.context.iter().map(|&at| self.store.at(at)) {
            end += segment.known;
            known.insert(end, segment.states[layer].map(Tensor::shallow_clone));
        }
        let (found, states) = self.packed.recur_behind(spec, inputs, end, known);
        self.states.push(states);
        found
    }
}

/// Feeds `tokens[r]` to the sequence in slot r, behind its prompt as `view` has it and `own[r]` tokens in `cache`, with its state in `states`, and
/// returns the logits of the next, `[rows, vocab]`.
pub fn step(
    model: &Model,
    store: &Store,
    view: &View,
    (cache, states): (&mut Cache, &mut States),
    tokens: &[i64],
    own: &[i64],
) -> Tensor {
    let device = model.device();
    let longest = own.iter().max().map_or(0, |&position| position as usize + 1);
    cache.reserve(longest);
    let span = cache.span(longest);
    let upload = |values: &[i64]| Tensor::from_slice(values).to_device(device);
    let places = upload(&cache.places(own));
    let positions: Vec<i64> = own.iter().zip(&view.prompts).map(|(own, prompt)| own + prompt).collect();
    let seen = positions.iter().max().map_or(0, |position| position + 1);
    let (own, positions) = (upload(own), upload(&positions));
    let mask = visible(&own, span, model.kind());
    let rows = tokens.len() as i64;
    let windows = HashMap::new();
    let mut attend = Cached {
        store,
        view,
        cache,
        states,
        rows,
        span,
        places,
        mask,
        own,
        positions: positions.shallow_clone(),
        seen,
        windows,
    };
    let hidden = model.hidden(&upload(tokens), &positions, &mut attend);
    model.logits(&hidden)
}

/// 0 where the token at `positions[r]` may look, −∞ elsewhere, `[rows, 1, 1, span]`.
pub fn visible(positions: &Tensor, span: i64, kind: Kind) -> Tensor {
    let device = positions.device();
    let (last, columns) = (positions.unsqueeze(1), Tensor::arange(span, (Kind::Int64, device)).unsqueeze(0));
    let mask = Tensor::zeros([positions.size()[0], span], (kind, device));
    mask.masked_fill(&columns.gt_tensor(&last), f64::NEG_INFINITY).view([-1, 1, 1, span])
}

/// One query a row against its prompt's segments and its slot's keys and values.
struct Cached<'a> {
    store: &'a Store,
    view: &'a View,
    cache: &'a mut Cache,
    states: &'a mut States,
    rows: i64,
    span: i64,
    places: Tensor,
    mask: Tensor,
    /// Where each row's token stands in its slot, and in its sequence, `[rows]`.
    own: Tensor,
    positions: Tensor,
    /// The most tokens that a row sees without a window.
    seen: i64,
    /// The masks of layers with a window, by its length: of the slots, and of each level.
    windows: HashMap<usize, (Tensor, Vec<Tensor>)>,
}

impl Cached<'_> {
    /// The masks of a window that some row's sequence has grown out of, for `groups` query heads a key head.
    fn within(&mut self, window: usize, groups: i64) -> &(Tensor, Vec<Tensor>) {
        let (own, positions, view) = (&self.own, &self.positions, self.view);
        let (whole, span) = (&self.mask, self.span);
        self.windows.entry(window).or_insert_with(|| {
            let columns = Tensor::arange(span, (Kind::Int64, own.device())).unsqueeze(0);
            let passed = columns.le_tensor(&(own - window as i64).unsqueeze(1)).view([-1, 1, 1, span]);
            let slots = whole.masked_fill(&passed, f64::NEG_INFINITY);
            (
                slots,
                view.levels
                    .iter()
                    .map(|level| level.within(positions, window, groups, whole.kind()))
                    .collect(),
            )
        })
    }
}

impl Attend for Cached<'_> {
    fn attend(
        &mut self,
        layer: usize,
        spec: &AttentionSpec,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        sinks: Option<&Tensor>,
    ) -> Tensor {
        self.cache.write(layer, &self.places, key, value);
        let (keys, values) = self.cache.read(layer, self.rows, self.span);
        let size = query.size();
        let kv_heads = keys.size()[1];
        let groups = size[1] / kv_heads;
        // The query heads that share a key head stand where a sequence's queries would, so that keys and values are
        // read once for all of them and never repeated in memory.
        let query = query.reshape([self.rows, kv_heads, groups, size[2]]);
        let (store, view) = (self.store, self.view);
        let passed = spec.window.filter(|&window| self.seen > window as i64);
        let mut parts: Vec<Partial> = match passed {
            None => {
                let own = Partial::of(spec, &query, &keys, &values, &self.mask);
                let levels =
                    view.levels.iter().map(|level| level.attend(spec, &query, store, layer, level.mask()));
                std::iter::once(own).chain(levels).collect()
            }
            Some(window) => {
                let (slots, masks) = self.within(window, groups);
                let own = Partial::of(spec, &query, &keys, &values, slots);
                let levels = view.levels.iter().zip(masks);
                let levels = levels.map(|(level, mask)| level.attend(spec, &query, store, layer, mask));
                std::iter::once(own).chain(levels).collect()
            }
        };
        parts.extend(sinks.map(|sinks| Partial::of_sinks(sinks, &query)));
        merged(&parts, key.kind()).reshape([self.rows, size[1] * size[2]])
    }

    fn recur(&mut self, layer: usize, spec: &DeltaSpec, inputs: &DeltaInputs<'_>) -> Tensor {
        self.states.step(layer, spec, inputs)
    }
}
