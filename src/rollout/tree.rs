//! Trees of completions that branch between their steps, or where votes on a rubric's questions split: `[rollout.tree]` (tree sampling of reasoning paths, Chia et al. 2024, arXiv 2410.10858).
//!
//! A level of all trees is one call of the engine: every path is a prompt. What the levels above computed of it stays in the
//! engine's store, so that a node is computed once for all that is below it.

pub mod schema;

pub use schema::Schema;

use super::{Fork, Group, Prompted, Rollout, SamplingContext, Source, SourceSection, Traits};
use crate::data::Example;
use crate::engine::{Boundary, Completion, Request, Sampling, Statistics, StopReason};
use crate::error::Result;
use crate::policy::Policy;
use crate::rationale::Format;
use crate::section::{Idle, Misfit, broken, idle, under};
use crate::seed::derive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Completions of each prompt as the leaves of a tree, each with the values of the nodes on its path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TreeRollout {
    /// Where it branches.
    pub at: At,
    /// How often a path branches: after so many steps it goes on to its end alone.
    pub depth: usize,
    /// Children of a node. Those with the same tokens are one.
    pub branching: usize,
    /// Tokens of a step, for `at = "tokens"`.
    pub step_tokens: usize,
    /// Once a tree has so many sampled tokens, none of its paths branches any more; no limit by default.
    pub budget: Option<usize>,
    /// What an inner node is worth.
    pub value: Value,
    /// How a rubric's questions are asked, for `at = "questions"`, where `depth`, `branching` and `budget` do not count:
    /// `[rollout.tree.schema]`.
    pub schema: Option<Box<Schema>>,
}

/// What ends a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// The end of a line.
    Line,
    /// A blank line.
    Paragraph,
    /// A period, exclamation or question mark before a space, or the end of a line. The token that has the space may begin the
    /// next sentence.
    Sentence,
    /// A number of tokens: `step_tokens`.
    Tokens,
    /// Each question of a rubric, answered by vote.
    Questions,
}

/// What an inner node is worth, by the rewards of the leaves below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Their mean.
    Mean,
    /// The greatest.
    Max,
    /// The mean of its children's values, one that was sampled several times counted so often: an unbiased estimate of
    /// what the policy gets from there.
    MonteCarlo,
}

impl Default for TreeRollout {
    fn default() -> Self {
        Self {
            at: At::Line,
            depth: 2,
            branching: 2,
            step_tokens: 32,
            budget: None,
            value: Value::MonteCarlo,
            schema: None,
        }
    }
}

impl TreeRollout {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let schema = self.schema.as_ref();
        if let (Some(schema), At::Questions) = (schema, self.at) {
            return under("schema", schema.check());
        }
        let few = self.branching.checked_pow(self.depth as u32).is_some_and(|leaves| leaves <= 4096);
        broken(&[
            (self.depth > 0, "depth", "it must be at least 1"),
            (self.branching > 0, "branching", "it must be at least 1"),
            (self.step_tokens > 0, "step_tokens", "it must be at least 1"),
            (
                schema.is_none(),
                "schema",
                "a tree over a rubric branches at its questions; set at = \"questions\"",
            ),
            (few, "depth", "a tree would have more than 4096 leaves; lower depth or branching"),
        ])
    }

    /// Leaves of a tree, at most.
    pub fn leaves(&self) -> usize {
        match self.at {
            At::Questions => {
                self.schema.as_ref().map_or_else(|| Schema::default().paths, |schema| schema.paths)
            }
            _ => self.branching.pow(self.depth as u32),
        }
    }

    /// What ends a step; a rubric's questions are none.
    fn boundary(&self) -> Boundary {
        match self.at {
            At::Line => Boundary::Texts(&["\n"]),
            At::Paragraph => Boundary::Texts(&["\n\n"]),
            At::Sentence => Boundary::Texts(&[". ", "! ", "? ", "\n"]),
            At::Tokens => Boundary::Tokens(self.step_tokens),
            At::Questions => Boundary::Texts(&[]),
        }
    }
}

impl SourceSection for TreeRollout {
    fn traits(&self) -> Traits<'_> {
        let votes = self.at == At::Questions;
        let own = Traits { forks: true, votes, ..Traits::sampled("tree", self.leaves()) };
        if !votes {
            return own;
        }
        let endpoint = self.schema.as_ref().and_then(|schema| schema.endpoint.as_ref());
        Traits { sampled: false, endpoint: endpoint.map(|_| schema::ENDPOINT), ..own }
    }

    fn check(&self) -> Vec<Misfit> {
        TreeRollout::check(self)
    }

    fn idle(&self) -> Vec<Idle> {
        idle(&[
            (self.at == At::Tokens, &["step_tokens"], "unless at = \"tokens\""),
            (self.at != At::Questions, &["depth", "branching", "budget"], "with at = \"questions\""),
        ])
    }

    fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        match (&self.schema, self.at) {
            (Some(schema), At::Questions) => under("schema", schema.check_rows(rows)),
            (None, At::Questions) => under("schema", Schema::default().check_rows(rows)),
            _ => vec![],
        }
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        match self.at {
            At::Questions => Ok(Box::new(schema::RubricTree::open(self)?)),
            _ => Ok(Box::new(self.clone())),
        }
    }
}

impl Source for TreeRollout {
    fn section(&self) -> &dyn SourceSection {
        self
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        let (mut groups, statistics) = grow(prompts, self, context)?;
        context.report(&statistics);
        context.scorer.score(&mut groups)?;
        groups.iter_mut().for_each(|group| value(group, self.value));
        Ok(groups)
    }
}

/// A piece of a path.
#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    copies: usize,
    /// Why the completion ended here; `None` where it goes on.
    stop: Option<StopReason>,
}

/// A tree under way. The root is node 0 and has no tokens.
struct Tree {
    nodes: Vec<Node>,
    /// Nodes that go on, at the level under way.
    open: Vec<usize>,
    sampled: usize,
}

/// Grows a tree for each prompt. Leaves are the group's rollouts, in the order of their nodes, not yet scored; values come
/// with [`value`].
pub fn grow(
    prompts: &[Prompted],
    section: &TreeRollout,
    context: &mut SamplingContext,
) -> Result<(Vec<Group>, Statistics)> {
    let SamplingContext { policy, sampling, format, .. } = *context;
    let mut trees: Vec<Tree> = prompts.iter().map(|_| Tree::new()).collect();
    let mut total = Statistics::default();
    let mut sampler = policy.sampler();
    let room: Vec<usize> = prompts.iter().map(|prompted| context.room(prompted)).collect();
    for level in 0..=section.depth {
        let last = level == section.depth;
        let mut limits = if last { sampling.clone() } else { section.boundary().step(sampling) };
        let (mut parents, mut longest) = (Vec::new(), 0);
        let mut requests = Vec::new();
        for (index, (tree, prompted)) in trees.iter_mut().zip(prompts).enumerate() {
            let spent = section.budget.is_some_and(|budget| tree.sampled >= budget);
            let children = if last || spent { 1 } else { section.branching };
            for parent in std::mem::take(&mut tree.open) {
                let draw = |child| derive(&[context.seeds.draw(index, &[parent as u64]), child]);
                let seeds = (0..children as u64).map(draw).collect();
                let path = tree.path(parent).0;
                longest = longest.max(room[index] - path.len());
                parents.push((index, parent));
                requests.push(Request { prompt: [&prompted.tokens[..], &path].concat(), seeds });
            }
        }
        if requests.is_empty() {
            break;
        }
        limits.max_new_tokens = limits.max_new_tokens.min(longest);
        sampler.keep_cache(!last);
        let generated = sampler.generate(&requests, &limits, context.progress)?;
        total.add(&generated.statistics);
        for ((tree, parent), children) in parents.into_iter().zip(generated.completions) {
            for child in children {
                trees[tree].graft(parent, child, section, (sampling, room[tree]), last);
            }
        }
    }
    let groups = trees.iter().zip(prompts).map(|(tree, prompted)| tree.group(prompted, policy, format));
    let groups = groups.collect();
    context.tokens += total.decoded_tokens;
    Ok((groups, total))
}

/// Values the nodes of a scored group by its leaves. Rollouts without forks are left alone.
pub fn value(group: &mut Group, kind: Value) {
    let mut below: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut children: BTreeMap<Option<usize>, BTreeMap<usize, usize>> = BTreeMap::new();
    for rollout in &group.rollouts {
        let mut parent = None;
        for fork in &rollout.forks {
            below.entry(fork.node).or_default().push(rollout.reward);
            children.entry(parent).or_default().insert(fork.node, fork.copies);
            parent = Some(fork.node);
        }
    }
    let mean = |rewards: &[f64]| rewards.iter().sum::<f64>() / rewards.len() as f64;
    let mut values: BTreeMap<usize, f64> = BTreeMap::new();
    // A child's number is greater than its parent's.
    for (&node, rewards) in below.iter().rev() {
        let value = match (kind, children.get(&Some(node))) {
            (Value::Max, _) => rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            (Value::MonteCarlo, Some(children)) if children.values().any(|copies| *copies > 0) => {
                let copies: usize = children.values().sum();
                children.iter().map(|(child, n)| values[child] * *n as f64).sum::<f64>() / copies as f64
            }
            _ => mean(rewards),
        };
        values.insert(node, value);
    }
    for fork in group.rollouts.iter_mut().flat_map(|rollout| &mut rollout.forks) {
        fork.value = values[&fork.node];
    }
}

impl Tree {
    fn new() -> Self {
        let root = Node { parent: None, tokens: vec![], logprobs: vec![], copies: 1, stop: None };
        Self { nodes: vec![root], open: vec![0], sampled: 0 }
    }

    /// Hangs a sampled piece below `parent`, or counts it with a sibling that is the same.
    fn graft(
        &mut self,
        parent: usize,
        mut child: Completion,
        section: &TreeRollout,
        (sampling, limit): (&Sampling, usize),
        last: bool,
    ) {
        self.sampled += child.tokens.len();
        let room = limit - self.path(parent).0.len();
        let ended = !last && section.boundary().ends(&child, sampling);
        let open = child.fit(room, ended);
        let stop = (!open).then_some(child.stop);
        let same = |node: &&mut Node| {
            node.parent == Some(parent) && node.tokens == child.tokens && node.stop == stop
        };
        if let Some(sibling) = self.nodes.iter_mut().find(same) {
            sibling.copies += 1;
            return;
        }
        if stop.is_none() {
            self.open.push(self.nodes.len());
        }
        let Completion { tokens, logprobs, .. } = child;
        self.nodes.push(Node { parent: Some(parent), tokens, logprobs, copies: 1, stop });
    }

    /// Tokens and log-probabilities from the root to the end of `node`.
    fn path(&self, node: usize) -> (Vec<u32>, Vec<f32>) {
        let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
        for number in self.path_nodes(node) {
            tokens.extend_from_slice(&self.nodes[number].tokens);
            logprobs.extend_from_slice(&self.nodes[number].logprobs);
        }
        (tokens, logprobs)
    }

    /// The nodes from below the root to `node`.
    fn path_nodes(&self, node: usize) -> Vec<usize> {
        let up = std::iter::successors(Some(node), |&at| self.nodes[at].parent);
        let mut path: Vec<usize> = up.filter(|&at| at != 0).collect();
        path.reverse();
        path
    }

    fn group(&self, prompted: &Prompted, policy: &Policy, format: &Format) -> Group {
        let ends = self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.stop.clone()?)));
        let leaf = |(at, stop): (usize, StopReason)| {
            let (tokens, logprobs) = self.path(at);
            let mut end = 0;
            let forks = self.path_nodes(at).into_iter().map(|node| {
                end += self.nodes[node].tokens.len();
                let bytes = policy.tokenizer.length(&tokens[..end]);
                Fork { node, tokens: end, bytes, copies: self.nodes[node].copies, value: 0.0, vote: None }
            });
            let forks: Vec<Fork> = forks.collect();
            Rollout { forks, ..Rollout::decoded(tokens, logprobs, stop, &policy.tokenizer, format) }
        };
        Group::of(prompted, ends.map(leaf).collect())
    }
}

#[cfg(test)]
mod tests;
