//! What was computed of prompts: the keys and values of stretches of tokens, each held once, as a tree, and what recurrent layers remember behind each.

use super::cache::Cache;
use crate::batch::PrefixForest;
use crate::model::{Config, DeltaState, Model};
use std::collections::{BTreeMap, HashSet};
use tch::{Device, Kind, Tensor};

/// Keys and values that the calls of a [`Decoder`](super::Decoder) leave for each other: what a later call's prompts begin with is not computed
/// again.
pub struct Store {
    /// Whether what a call computes and samples is left for the next.
    pub keep_cache: bool,
    segments: Vec<Option<Segment>>,
    /// The segments that begin prompts, then those behind one segment, behind two and so on: a place each.
    levels: Vec<Level>,
    config: Config,
    kind: Kind,
    device: Device,
}

/// Tokens that follow each other, and behind which others may follow.
pub(super) struct Segment {
    pub parent: Option<usize>,
    pub tokens: Vec<u32>,
    /// How many of its tokens are computed, from the first on.
    pub known: usize,
    pub level: usize,
    pub place: Option<usize>,
    /// What is remembered behind its last known token, one a layer that recurs.
    pub states: Vec<DeltaState>,
    /// Logits of what follows, `[vocab]`, where a prompt ends here.
    pub logits: Option<Tensor>,
    /// Prompts of the call under way that it is part of.
    users: usize,
    ends_a_prompt: bool,
}

struct Level {
    cache: Cache,
    taken: Vec<bool>,
}

impl Store {
    /// Nothing yet, for `model`.
    pub fn new(model: &Model) -> Self {
        Self {
            keep_cache: false,
            segments: Vec::new(),
            levels: Vec::new(),
            config: model.config.clone(),
            kind: model.kind(),
            device: model.device(),
        }
    }

    /// Tokens whose keys and values are held.
    pub fn tokens(&self) -> usize {
        self.segments.iter().flatten().map(|segment| segment.known).sum()
    }

    /// Takes in the prompts of a call: lets go what none of them begins with, and returns the last segment of each.
    pub(super) fn begin(&mut self, prompts: &[&[u32]]) -> Vec<usize> {
        let known: Vec<Option<usize>> = prompts.iter().map(|prompt| self.longest(prompt)).collect();
        let used: HashSet<usize> = known.iter().flatten().flat_map(|&end| self.path(end)).collect();
        for at in 0..self.segments.len() {
            if !used.contains(&at) {
                self.free(at);
            }
        }
        for segment in self.segments.iter_mut().flatten() {
            (segment.users, segment.ends_a_prompt) = (0, false);
        }
        if self.segments.iter().all(Option::is_none) {
            self.levels.clear();
        }
        self.take(prompts, &known)
    }

    /// Takes in further prompts of a call that is under way, and returns the last segment of each. They share what is computed and what
    /// they have in common with each other; with a prompt that is not computed yet they share nothing.
    pub(super) fn join(&mut self, prompts: &[&[u32]]) -> Vec<usize> {
        let known: Vec<Option<usize>> = prompts.iter().map(|prompt| self.longest(prompt)).collect();
        self.take(prompts, &known)
    }

    /// Segments for prompts of which `known` is computed.
    fn take(&mut self, prompts: &[&[u32]], known: &[Option<usize>]) -> Vec<usize> {
        let mut behind: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (index, end) in known.iter().enumerate() {
            behind.entry(*end).or_default().push(index);
        }
        let mut ends = vec![0; prompts.len()];
        for (after, members) in behind {
            let start = after.map_or(0, |end| self.length(end));
            let rests: Vec<&[u32]> = members.iter().map(|&index| &prompts[index][start..]).collect();
            for (index, end) in members.into_iter().zip(self.plan(after, &rests)) {
                ends[index] = end;
            }
        }
        for &end in &ends {
            self.at_mut(end).ends_a_prompt = true;
            for at in self.path(end) {
                self.at_mut(at).users += 1;
            }
        }
        ends
    }

    /// Segments for what follows `after` in some prompts, not computed yet; the last of each.
    fn plan(&mut self, after: Option<usize>, rests: &[&[u32]]) -> Vec<usize> {
        let forest = PrefixForest::of_prompts(rests);
        let begins = |at: usize| forest.segments[at].parent.is_none();
        let mut first = (0..forest.segments.len()).filter(|&at| begins(at));
        let only = (first.next(), first.next()) == (Some(0), None);
        // Where there is one way on, a segment is made longer: fewer segments are faster to attend to.
        // Not one that others see as it is.
        let free = |&end: &usize| self.at(end).users == 0 && self.is_leaf(end);
        let grows = after.filter(|end| only && !rests.iter().any(|rest| rest.is_empty()) && free(end));
        let mut numbers: Vec<usize> = Vec::with_capacity(forest.segments.len());
        for segment in &forest.segments {
            let tokens = &rests[segment.of][segment.tokens.clone()];
            let number = match (segment.parent, after, grows) {
                (None, Some(end), _) if tokens.is_empty() => end,
                (None, _, Some(end)) => {
                    let longer = self.at_mut(end);
                    longer.tokens.extend_from_slice(tokens);
                    longer.logits = None;
                    end
                }
                (None, ..) => self.add(after, tokens.to_vec()),
                (Some(parent), ..) => self.add(Some(numbers[parent]), tokens.to_vec()),
            };
            numbers.push(number);
        }
        forest.ends.iter().map(|&end| numbers[end]).collect()
    }

    /// The segment that the longest known part of `prompt` ends with. A whole prompt is only known with its logits.
    ///
    /// Segments have no list of those behind them: each that `prompt` goes through looks at all that are held, which is
    /// O(segments on its path · segments held) for a prompt, and compares each of its tokens once. A call does so for each of its prompts
    /// before it decodes: 2000 open paths of trees, five segments deep among 2000, look 20 million times.
    fn longest(&self, prompt: &[u32]) -> Option<usize> {
        let (mut best, mut length) = (None, 0);
        let mut open = vec![(None, 0)];
        while let Some((parent, start)) = open.pop() {
            if start > length {
                (best, length) = (parent, start);
            }
            for (at, segment) in self.segments.iter().enumerate() {
                let Some(segment) = segment.as_ref().filter(|segment| segment.parent == parent) else {
                    continue;
                };
                let fits =
                    segment.known == segment.tokens.len() && prompt[start..].starts_with(&segment.tokens);
                let end = start + segment.tokens.len();
                if fits && (end < prompt.len() || segment.logits.is_some()) {
                    open.push((Some(at), end));
                }
            }
        }
        best
    }

    /// Takes in, where that is kept, what was sampled after the prompt that ends with `end`: `layers` are the keys and values `[kv_heads,
    /// tokens, head_dim]` of `tokens`, `states` what is remembered behind them.
    pub(super) fn insert(
        &mut self,
        end: usize,
        tokens: &[u32],
        layers: &[(Tensor, Tensor)],
        states: Vec<DeltaState>,
    ) {
        let same = |segment: &Segment| segment.parent == Some(end) && segment.tokens == tokens;
        if !self.keep_cache || tokens.is_empty() || self.segments.iter().flatten().any(same) {
            return;
        }
        let at = self.add(Some(end), tokens.to_vec());
        self.write(at, tokens.len(), layers, states);
    }

    /// A prompt that ends with `end` needs nothing any more: what no other prompt of the call needs is freed, unless it is
    /// kept for the next.
    pub(super) fn release(&mut self, end: usize) {
        for at in self.path(end) {
            let keep = self.keep_cache;
            let segment = self.at_mut(at);
            segment.users -= 1;
            match (segment.users, keep) {
                (0, true) => segment.logits = None,
                (0, false) => self.free(at),
                _ => {}
            }
        }
    }

    /// Puts the keys and values of a segment's next `count` tokens behind those that are known; `states` are what is remembered then.
    pub(super) fn write(
        &mut self,
        at: usize,
        count: usize,
        layers: &[(Tensor, Tensor)],
        states: Vec<DeltaState>,
    ) {
        let (config, kind, device) = (&self.config, self.kind, self.device);
        let segment = self.segments[at].as_mut().expect("a segment in use");
        while self.levels.len() <= segment.level {
            let cache = Cache::new(config, 0, config.context(), kind, device);
            self.levels.push(Level { cache, taken: Vec::new() });
        }
        let level = &mut self.levels[segment.level];
        let place = *segment.place.get_or_insert_with(|| {
            let free = level.taken.iter().position(|taken| !taken).unwrap_or(level.taken.len());
            level.taken.resize(level.taken.len().max(free + 1), false);
            level.taken[free] = true;
            free
        });
        level.cache.fit(place + 1, segment.known + count);
        level.cache.seat(layers, place, segment.known);
        segment.known += count;
        segment.states = states;
    }

    /// What is known of a segment in `layer`: keys and values `[tokens, kv_heads, head_dim]`.
    pub(super) fn read(&self, at: usize, layer: usize) -> (Tensor, Tensor) {
        let segment = self.at(at);
        let place = segment.place.expect("a computed segment has a place") as i64;
        let (keys, values) = self.levels[segment.level].cache.read(layer, place + 1, segment.known as i64);
        let own = |held: Tensor| held.select(0, place).transpose(0, 1);
        (own(keys), own(values))
    }

    /// Keys and values of the first `places` of a level, `[places, kv_heads, span, head_dim]`.
    pub(super) fn level(&self, level: usize, layer: usize, places: i64, span: i64) -> (Tensor, Tensor) {
        self.levels[level].cache.read(layer, places, span)
    }

    /// A round number of tokens that holds `length` of a segment of the level.
    pub(super) fn span(&self, level: usize, length: usize) -> i64 {
        self.levels[level].cache.span(length)
    }

    /// The segments of a prompt, from the first to `end`.
    pub(super) fn path(&self, end: usize) -> Vec<usize> {
        let mut path: Vec<usize> = std::iter::successors(Some(end), |&at| self.at(at).parent).collect();
        path.reverse();
        path
    }

    pub(super) fn at(&self, at: usize) -> &Segment {
        self.segments[at].as_ref().expect("a segment in use")
    }

    /// The logits behind the prompt that ends with `end`.
    pub(super) fn logits(&self, end: usize) -> &Tensor {
        self.at(end).logits.as_ref().expect("the prompt is computed")
    }

    pub(super) fn set_logits(&mut self, end: usize, logits: Tensor) {
        self.at_mut(end).logits = Some(logits);
    }

    /// Whether a prompt's logits are wanted behind a segment.
    pub(super) fn ends_a_prompt(&self, at: usize) -> bool {
        self.at(at).ends_a_prompt
    }

    fn at_mut(&mut self, at: usize) -> &mut Segment {
        self.segments[at].as_mut().expect("a segment in use")
    }

    fn length(&self, end: usize) -> usize {
        self.path(end).into_iter().map(|at| self.at(at).tokens.len()).sum()
    }

    fn is_leaf(&self, at: usize) -> bool {
        self.segments.iter().flatten().all(|segment| segment.parent != Some(at))
    }

    fn add(&mut self, parent: Option<usize>, tokens: Vec<u32>) -> usize {
        let level = parent.map_or(0, |parent| self.at(parent).level + 1);
        let segment = Segment {
            parent,
            tokens,
            known: 0,
            level,
            place: None,
            states: Vec::new(),
            logits: None,
            users: 0,
            ends_a_prompt: false,
        };
        let free = self.segments.iter().position(Option::is_none);
        match free {
            Some(at) => self.segments[at] = Some(segment),
            None => self.segments.push(Some(segment)),
        }
        free.unwrap_or(self.segments.len() - 1)
    }

    fn free(&mut self, at: usize) {
        if let Some(Segment { level, place: Some(place), .. }) = self.segments[at].take() {
            self.levels[level].taken[place] = false;
        }
    }
}
