//! Completions written in chunks by two adapters in turns, and pairs of what another chunk or another decision to stop leads to
//! (Flow-DPO, Deng and Mineiro 2024, arXiv 2410.22304).

use super::{Taken, chain::Chain, chain::Node, item::item};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::{Item, Worker, figures, without_credit};
use crate::model::Sequence;
use crate::policy::Policy;
use crate::reward::answer;
use crate::rollout::{Group, Prompted, Rollout};
use crate::section::{Misfit, broken};
use crate::seed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The adapter that writes chunks; it is what is evaluated and saved.
pub const WRITER: &str = "writer";
/// The adapter that says whether what has been written is complete.
pub(super) const JUDGE: &str = "judge";

/// `[loop.dpo.flow]`: at every chunk and at every decision of a completion one other way is taken to its end, at random; where the
/// two ends differ in being right, the chunk (or the decision) that led to the right one is preferred by its own adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// Tokens of a chunk, at most.
    pub chunk_tokens: usize,
    /// Chunks of a completion, at most.
    pub chunks: usize,
    /// What the second adapter reads behind what has been written.
    pub question: String,
    /// What it says to stop.
    pub yes: String,
    /// What it says to go on.
    pub no: String,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            chunk_tokens: 160,
            chunks: 6,
            question: "\nIs this solution complete?".into(),
            yes: " Yes".into(),
            no: " No".into(),
        }
    }
}

/// A way that is not taken at a node: whose node it is, and where it leads.
struct Other {
    chain: usize,
    node: usize,
    end: Chain,
}

/// That there is no base for its two adapters, where the policy has none.
pub(super) fn no_base(has_adapters: bool) -> Option<Misfit> {
    let misfit =
        || Misfit::new("loop.dpo.flow", "its two models are adapters of one base", "add [policy.lora]");
    (!has_adapters).then(misfit)
}

impl Flow {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[
            (self.chunks >= 2, "chunks", "it must be at least 2"),
            (self.chunk_tokens > 0, "chunk_tokens", "it must be at least 1"),
            (!self.question.is_empty(), "question", "it must be a text"),
            (!self.yes.is_empty(), "yes", "it must be a text"),
            (!self.no.is_empty(), "no", "it must be a text"),
            (self.yes != self.no, "no", "it must differ from yes"),
        ])
    }

    /// Gives the policy its second adapter.
    pub(super) fn attach_adapter(policy: &mut Policy, seed: u64) -> Result<()> {
        if let Some(misfit) = no_base(policy.model.lora.is_some()) {
            return Err(Error::Recipe(format!("{}: {}", misfit.key, misfit.sentence())));
        }
        policy.model.add_inactive_adapter(JUDGE, WRITER, seed::derive(&[seed, seed::of_text(JUDGE)]))
    }

    /// The pairs of a step's questions, and the completions behind them.
    pub(super) fn taken(&self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Taken> {
        let prompts = worker.questions.of_step(step);
        let begin = |(prompt, prompted): (usize, &Prompted)| {
            Chain::new(
                prompt,
                seed::derive(&[
                    worker.seed,
                    step as u64,
                    prompted.example.index as u64,
                    prompted.place as u64,
                ]),
            )
        };
        let chains = prompts.iter().enumerate().map(begin).collect();
        let chains = self.complete(worker, &prompts, chains)?;
        let others = self.others(&chains);
        let ends = others.iter().map(|other| other.end.clone()).collect();
        let ends = self.complete(worker, &prompts, ends)?;
        let others: Vec<Other> =
            others.into_iter().zip(ends).map(|(other, end)| Other { end, ..other }).collect();

        let mut groups = first(&chains, &prompts, worker, metrics);
        let mut taken = Taken { sampled_tokens: chains.iter().map(Chain::sampled).sum(), ..Taken::default() };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for other in &others {
            let (chain, group) = (&chains[other.chain], &mut groups[other.chain]);
            let prompted = &prompts[chain.prompt];
            let end = rollout(&other.end, prompted, worker);
            let right = [&group.rollouts[0], &end].map(|end| answer::correct(&prompted.example, end));
            group.rollouts.push(end);
            taken.sampled_tokens += other.end.sampled();
            let (what, item) = self.training_pair(&worker.policy, prompted, (chain, other), right)?;
            *counts.entry(what).or_default() += 1;
            taken.rows.extend(item.iter().map(|_| prompted.example.index));
            taken.items.extend(item);
        }
        metrics.count("pairs/built", taken.items.len() as f64);
        counts.iter().for_each(|(name, count)| metrics.count(&format!("pairs/{name}"), *count as f64));
        figures::describe(&groups, metrics);
        taken.groups = without_credit(groups);
        Ok(taken)
    }

    /// One other way at each node, as far as it is known before it is written.
    fn others(&self, chains: &[Chain]) -> Vec<Other> {
        let of = |(at, chain): (usize, &Chain)| {
            let other = move |node: usize| Other { chain: at, node, end: chain.turned(node, &self.yes) };
            (0..chain.nodes.len()).map(other).collect::<Vec<_>>()
        };
        chains.iter().enumerate().flat_map(of).collect()
    }

    /// What became of a node, whose own path and whose other path were right or not as `right` says, and what is learned from it.
    fn training_pair(
        &self,
        policy: &Policy,
        prompted: &Prompted,
        (chain, other): (&Chain, &Other),
        right: [Option<bool>; 2],
    ) -> Result<(&'static str, Option<Item>)> {
        let [Some(own), Some(its)] = right else { return Ok(("dropped/ungraded", None)) };
        if own == its {
            return Ok(("dropped/same_outcome", None));
        }
        let item = self.pair(policy, prompted, (chain, other.node), &other.end, own)?;
        let what = match item.as_ref().and_then(|item| item.adapter) {
            Some(WRITER) => "chunks",
            Some(_) => "decisions",
            None => "dropped/identical",
        };
        Ok((what, item))
    }

    /// What is learned from a node whose two paths ended differently; `own` says whether the chain's own path was right. `None` where
    /// both chunks are the same.
    fn pair(
        &self,
        policy: &Policy,
        prompted: &Prompted,
        (chain, node): (&Chain, usize),
        other: &Chain,
        own: bool,
    ) -> Result<Option<Item>> {
        let (read, sides, adapter) = match chain.nodes[node] {
            Node::Chunk { from, to } => {
                let Some(Node::Chunk { from: begin, to: end }) = other.nodes.first() else { return Ok(None) };
                let sides = [chain.tokens[from..to].to_vec(), other.tokens[*begin..*end].to_vec()];
                ([&prompted.tokens[..], &chain.tokens[..from]].concat(), sides, WRITER)
            }
            Node::Decision { at, stop } => {
                let said = |stop: bool| policy.tokenizer.encode(if stop { &self.yes } else { &self.no });
                (
                    self.decision_prompt(policy, prompted, &chain.tokens[..at])?,
                    [said(stop)?, said(!stop)?],
                    JUDGE,
                )
            }
        };
        if sides[0] == sides[1] {
            return Ok(None);
        }
        let [chosen, rejected] = if own { [0, 1] } else { [1, 0] };
        let sequence = |side: usize| Sequence::new(&read, &sides[side]);
        Ok(Some(item(vec![sequence(chosen), sequence(rejected)], 1.0).learned_by(adapter)))
    }

    /// What the judge reads.
    pub(super) fn decision_prompt(
        &self,
        policy: &Policy,
        prompted: &Prompted,
        written: &[u32],
    ) -> Result<Vec<u32>> {
        Ok([&prompted.tokens[..], written, &policy.tokenizer.encode(&self.question)?].concat())
    }
}

/// The chains as the first rollouts of their questions. How many are right before anything is learned from them is, over the
/// steps of one pass, the paper's progressive validation.
fn first(chains: &[Chain], prompts: &[Prompted], worker: &Worker, metrics: &mut Metrics) -> Vec<Group> {
    let mut group = |chain: &Chain| {
        let prompted = &prompts[chain.prompt];
        let rollouts = vec![rollout(chain, prompted, worker)];
        let right = answer::correct(&prompted.example, &rollouts[0]);
        right.iter().for_each(|right| metrics.add("flow/accuracy", f64::from(u8::from(*right)), 1.0));
        metrics.add("flow/chunks", chain.chunks() as f64, 1.0);
        Group::of(prompted, rollouts)
    };
    chains.iter().map(&mut group).collect()
}

fn rollout(chain: &Chain, prompted: &Prompted, worker: &Worker) -> Rollout {
    let rollout = chain.rollout(&worker.policy.tokenizer, &worker.format);
    let right = answer::correct(&prompted.example, &rollout);
    Rollout { reward: f64::from(u8::from(right == Some(true))), ..rollout }
}
