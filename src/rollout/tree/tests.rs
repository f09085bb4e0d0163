//! Literal values; trees of a real model.

use super::*;
use crate::data::Example;
use crate::log::Metrics;
use crate::policy::Init;
use crate::rollout::{Seeds, Unscored};
use std::sync::Arc;
use tch::{Device, Kind};

fn policy() -> Policy {
    let init = Init { hidden_size: 16, layers: 2, heads: 2, kv_heads: 1, ..Init::default() };
    init.make(Kind::Float, Device::Cpu, 5, 4).unwrap()
}

fn prompted(policy: &Policy) -> Prompted {
    let example = Example { index: 3, ..Example::text("a", "1+1?") };
    Prompted::new(Arc::new(example), policy.tokenizer.encode("1+1?").unwrap())
}

fn grown(section: &TreeRollout, sampling: &Sampling) -> (Group, Statistics) {
    let policy = policy();
    let prompts = [prompted(&policy)];
    let mut context = SamplingContext {
        policy: &policy,
        sampling,
        format: &Format::default(),
        seeds: Seeds::new(&[], &prompts),
        tokens_per_microbatch: 1024,
        nonce: 0,
        scorer: &mut Unscored,
        figures: &mut Metrics::default(),
        progress: &mut |_| {},
        tokens: 0,
    };
    let (mut groups, statistics) = grow(&prompts, section, &mut context).unwrap();
    (groups.remove(0), statistics)
}

fn by_tokens(depth: usize) -> TreeRollout {
    TreeRollout { at: At::Tokens, step_tokens: 3, depth, branching: 2, ..TreeRollout::default() }
}

/// Leaves that share a node share its tokens; each piece is what the engine samples after the path before it.
#[test]
fn paths_share_the_tokens_of_the_nodes_they_share() {
    let sampling = Sampling { max_new_tokens: 10, ..Sampling::default() };
    let (group, _) = grown(&by_tokens(2), &sampling);
    // A byte model of random weights draws from 256 tokens: siblings differ.
    assert_eq!(group.rollouts.len(), 4);
    let mut pieces: BTreeMap<usize, &[u32]> = BTreeMap::new();
    for rollout in &group.rollouts {
        assert!(rollout.tokens.len() == 10 || !rollout.truncated(), "cut at the limit of the whole");
        assert_eq!(rollout.tokens.len(), rollout.logprobs.len());
        assert_eq!(rollout.forks.last().unwrap().tokens, rollout.tokens.len());
        for fork in &rollout.forks {
            let path = &rollout.tokens[..fork.tokens];
            assert_eq!(*pieces.entry(fork.node).or_insert(path), path);
        }
    }
    // Two nodes below the root, two below each, one piece to the end of each.
    assert_eq!(pieces.len(), 2 + 4 + 4);
    let policy = policy();
    let prompt = policy.tokenizer.encode("1+1?").unwrap();
    let sequences: Vec<_> =
        group.rollouts.iter().map(|rollout| crate::model::Sequence::new(&prompt, &rollout.tokens)).collect();
    let again = policy.logprobs(&sequences, 1.0, 4096).unwrap();
    for (rollout, again) in group.rollouts.iter().zip(again) {
        assert!(rollout.logprobs.iter().zip(again).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}

/// What goes through the model is each token of the tree once, but for the last of each leaf, which nothing follows: the
/// prompt, then of each piece all but its last token while it is sampled and the last where it is gone on from.
#[test]
fn every_token_of_a_tree_is_computed_once() {
    let sampling = Sampling { max_new_tokens: 10, ..Sampling::default() };
    let (group, statistics) = grown(&by_tokens(3), &sampling);
    let mut pieces: BTreeMap<usize, usize> = BTreeMap::new();
    for rollout in &group.rollouts {
        let mut start = 0;
        for fork in &rollout.forks {
            assert_eq!(fork.copies, 1, "no piece was sampled twice");
            pieces.insert(fork.node, fork.tokens - start);
            start = fork.tokens;
        }
    }
    let distinct = "1+1?".len() + pieces.values().sum::<usize>();
    assert_eq!(statistics.prefill_tokens + statistics.rows, distinct - group.rollouts.len());
    // The levels below the first prefill one token a node: 2 and 4 and 8 nodes go on.
    assert_eq!(statistics.prefill_tokens, "1+1?".len() + 2 + 4 + 8);
}

#[test]
fn greedy_siblings_are_one() {
    let sampling = Sampling { max_new_tokens: 8, temperature: 0.0, ..Sampling::default() };
    let (group, _) = grown(&by_tokens(2), &sampling);
    assert_eq!(group.rollouts.len(), 1);
    // Each of the two branchings drew the same twice; the end is drawn once.
    assert_eq!(group.rollouts[0].forks.iter().map(|fork| fork.copies).collect::<Vec<_>>(), [2, 2, 1]);
}

#[test]
fn a_spent_budget_ends_the_branching() {
    let sampling = Sampling { max_new_tokens: 10, ..Sampling::default() };
    // The first level samples 2 × 3 tokens, which is all there is to spend: two paths to the end.
    let (group, _) = grown(&TreeRollout { budget: Some(6), ..by_tokens(3) }, &sampling);
    assert_eq!(group.rollouts.len(), 2);
}

#[test]
fn lines_end_steps() {
    let sampling = Sampling { max_new_tokens: 400, ..Sampling::default() };
    let section = TreeRollout { depth: 1, ..TreeRollout::default() };
    let (group, _) = grown(&section, &sampling);
    for rollout in group.rollouts.iter().filter(|rollout| rollout.forks.len() == 2) {
        let first = policy().tokenizer.decode(&rollout.tokens[..rollout.forks[0].tokens]);
        assert!(first.ends_with('\n') && first.matches('\n').count() == 1, "{first:?}");
    }
}

fn leaf(reward: f64, way: &[(usize, usize)]) -> Rollout {
    let forks =
        way.iter().map(|&(node, copies)| Fork { node, tokens: 0, bytes: 0, copies, value: 0.0, vote: None });
    let empty = Rollout::new(vec![], String::new(), vec![], StopReason::Length, &Format::default());
    Rollout { reward, forks: forks.collect(), ..empty }
}

/// The root was drawn from four times: node 1 three times, which has the leaves 3, drawn twice, and 4; and node 2, which ended
/// there. 3/4 · 2/3, 3/4 · 1/3 and 1/4 of the draws; as products 6, 3 and 1, which forgets that node 2 did not branch.
#[test]
fn a_leaf_stands_for_the_draws_that_came_to_it() {
    let rollouts = vec![leaf(1.0, &[(1, 3), (3, 2)]), leaf(0.0, &[(1, 3), (4, 1)]), leaf(0.5, &[(2, 1)])];
    let group = Group { rollouts, ..grown(&by_tokens(1), &Sampling::default()).0 };
    assert_eq!(group.rollouts.iter().map(Rollout::copies).collect::<Vec<_>>(), [6, 3, 1]);
    let close = |found: &[f64], expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    };
    close(&group.shares(), &[0.5, 0.25, 0.25]);
    let mean: f64 = group.shares().iter().zip(group.rewards()).map(|(share, reward)| share * reward).sum();
    // Node 1 is worth (2 · 1 + 0) / 3; the root (3 · 2/3 + 1/2) / 4.
    close(&[mean], &[0.625]);
    let apart = Group { rollouts: vec![leaf(1.0, &[]), leaf(0.0, &[])], ..group };
    assert_eq!((apart.rollouts[0].copies(), apart.shares()), (1, vec![0.5, 0.5]));
}

/// Node 1 has the leaves 3 (reward 1, drawn twice) and 4 (reward 0); node 2 is a leaf of reward 0.5.
#[test]
fn inner_nodes_are_worth_what_is_below_them() {
    let of = |kind: Value| {
        let rollouts = vec![leaf(1.0, &[(1, 1), (3, 2)]), leaf(0.0, &[(1, 1), (4, 1)]), leaf(0.5, &[(2, 1)])];
        let mut group = Group { rollouts, ..grown(&by_tokens(1), &Sampling::default()).0 };
        value(&mut group, kind);
        let values = |i: usize| group.rollouts[i].forks.iter().map(|fork| fork.value).collect::<Vec<_>>();
        [values(0), values(1), values(2)]
    };
    assert_eq!(of(Value::Mean), [vec![0.5, 1.0], vec![0.5, 0.0], vec![0.5]]);
    assert_eq!(of(Value::Max), [vec![1.0, 1.0], vec![1.0, 0.0], vec![0.5]]);
    // (2 · 1 + 1 · 0) / 3.
    let third = 2.0 / 3.0;
    assert_eq!(of(Value::MonteCarlo), [vec![third, 1.0], vec![third, 0.0], vec![0.5]]);
}

#[test]
fn sections_are_checked() {
    let refused = |section: &str| !toml::from_str::<TreeRollout>(section).unwrap().check().is_empty();
    assert!(!refused("") && refused("branching = 0") && refused("depth = 13"));
}

/// A sentence's end is a place to branch; a stop string of the recipe ends the completion.
#[test]
fn sentences_end_at_their_marks() {
    let section = TreeRollout { at: At::Sentence, ..TreeRollout::default() };
    let sampling = Sampling { stop: vec!["? ".into()], ..Sampling::default() };
    let step = section.boundary().step(&sampling);
    assert_eq!(step.stop, ["? ", ". ", "! ", "? ", "\n"]);
    let mut tree = Tree::new();
    for (number, stop) in [". ", "\n", "? "].iter().enumerate() {
        let stop = StopReason::StopString(stop.to_string());
        let child = Completion { tokens: vec![number as u32], logprobs: vec![0.0], stop, version: 0 };
        tree.graft(0, child, &section, (&sampling, 9), false);
    }
    assert_eq!(tree.open, [0, 1, 2]);
    assert_eq!(tree.nodes[3].stop, Some(StopReason::StopString("? ".into())));
}
