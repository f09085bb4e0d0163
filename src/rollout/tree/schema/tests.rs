//! Literal values of votes and paths; a real model that answers nothing.

use super::*;
use crate::data::Example;
use crate::policy::Init;
use crate::rollout::tree::{At, TreeRollout};
use serde_json::json;
use std::sync::Arc;
use tch::{Device, Kind};

fn rubric() -> Rubric {
    toml::from_str(
        "formula = 'total'\nquestions = [{ name = 'light' }, { name = 'water', ask = 'Water?', weight = 2.0 }]",
    )
    .unwrap()
}

fn policy() -> Policy {
    let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
    init.make(Kind::Float, Device::Cpu, 5, 4).unwrap()
}

fn prompted(policy: &Policy) -> Prompted {
    let example = Example {
        index: 3,
        answer: Some("2".into()),
        fields: json!({"rubric": rubric()}).as_object().unwrap().clone(),
        ..Example::text("a", "sun")
    };
    Prompted::new(Arc::new(example), policy.tokenizer.encode("sun").unwrap())
}

fn votes(yes: usize, no: usize, neither: usize) -> Vec<String> {
    let said = [("Yes", yes), ("no.", no), ("hm", neither)];
    said.iter().flat_map(|(text, count)| std::iter::repeat_n(text.to_string(), *count)).collect()
}

#[test]
fn a_path_branches_where_votes_split_and_weighs_their_shares() {
    let rubric = rubric();
    let mut counts = VoteCounts::default();
    let paths = Path::root(0).branches(&rubric.questions[0], &votes(6, 3, 1), 1, &mut counts);
    assert_eq!(
        paths.iter().map(|path| (path.replies[0], path.weight)).collect::<Vec<_>>(),
        [(0, 0.6), (1, 0.3)]
    );
    // Five of ten say no to the second question, and the others nothing: 0.6 · 0.5.
    let further = paths[0].branches(&rubric.questions[1], &votes(0, 5, 5), 1, &mut counts);
    assert_eq!(
        further.iter().map(|path| (path.replies.clone(), path.weight)).collect::<Vec<_>>(),
        [(vec![0, 1], 0.3)]
    );
    assert!(paths[1].branches(&rubric.questions[1], &votes(0, 0, 10), 1, &mut counts).is_empty());
    // Of 30 votes 16 are none of the options; one of three questions split; one path ended.
    let expected =
        VoteCounts { votes: 30, invalid: 16, questions: 3, split: 1, lost: 1, ..VoteCounts::default() };
    assert_eq!(counts, expected);
    // A reply with too few votes is no branch, unless no other has more.
    let of = |yes, no| {
        Path::root(0).branches(&rubric.questions[0], &votes(yes, no, 0), 3, &mut VoteCounts::default()).len()
    };
    assert_eq!([of(2, 8), of(3, 7), of(1, 2), of(2, 2)], [1, 2, 1, 2]);
}

#[test]
fn the_paths_with_the_most_votes_stay_in_their_order() {
    let path = |tree: usize, weight: f64| Path { weight, ..Path::root(tree) };
    let paths = vec![path(0, 0.2), path(0, 0.5), path(1, 0.1), path(0, 0.3)];
    let mut counts = VoteCounts::default();
    let kept: Vec<(usize, f64)> =
        most_voted(paths, 2, &mut counts).iter().map(|path| (path.tree, path.weight)).collect();
    assert_eq!(kept, [(0, 0.5), (1, 0.1), (0, 0.3)]);
    assert_eq!(counts.pruned, 1);
}

#[test]
fn a_paths_text_ends_in_the_formulas_mark() {
    let (policy, rubric, section) = (policy(), rubric(), Schema::default());
    let prompted = prompted(&policy);
    let mut counts = VoteCounts::default();
    let mut path = Path::root(0);
    for (question, said, why) in [(0, votes(3, 1, 0), "\"sun\""), (1, votes(0, 4, 0), "it is dry")] {
        let question = &rubric.questions[question];
        path = path.branches(question, &said, 1, &mut counts).remove(0);
        path.node += 4;
        path.add(&prompted.example, question, why, &section.step).unwrap();
    }
    let rollout = path.rollout(&prompted, &rubric, &section.end, &policy, &Format::default()).unwrap();
    // light has one mark of weight 1; the reply to water has none.
    assert_eq!(rollout.text, "light yes. \"sun\"\nWater? no. it is dry\n#### 1");
    assert_eq!((rollout.answer(), rollout.confidence()), (Some("1"), Some(0.75)));
    assert_eq!(rollout.tokens.len(), rollout.text.len() + 1);
    let nodes: Vec<_> = rollout.forks.iter().map(|f| (f.node, f.bytes, f.tokens, f.copies, f.vote)).collect();
    let vote = |marks| Some(crate::rollout::Vote { asked: 4, marks });
    // A byte is a token; the last node has the mark and the end of sequence.
    assert_eq!(nodes, [(4, 17, 17, 3, vote(1.0)), (8, 44, 45, 4, vote(0.0))]);
}

/// Random weights say nothing that is an option, so every path is lost and the group is empty.
#[test]
fn where_no_vote_is_valid_there_is_no_path() {
    let (policy, section) = (policy(), Schema { votes: 3, ..Schema::default() });
    let prompts = [prompted(&policy)];
    let sampling = Sampling::default();
    let grower = Grower { policy: &policy, client: None, sampling: &sampling, rubrics: &[], nonce: 0 };
    let seeds = Seeds::new(&[1], &prompts);
    let (groups, statistics, counts) =
        grow(&grower, &prompts, &section, &Format::default(), &seeds, &mut |_| {}).unwrap();
    assert_eq!((groups.len(), groups[0].rollouts.len()), (1, 0));
    assert_eq!((counts.votes, counts.invalid, counts.lost), (3, 3, 1));
    // Each of three votes has at most four tokens.
    assert!((3..=12).contains(&statistics.decoded_tokens));
}

#[test]
fn the_section_is_checked() {
    let text = "votes = 0\njustify = '{{'\nendpoint = { url = 'x', model = 'm' }";
    let found = toml::from_str::<Schema>(text).unwrap().check();
    let keys: Vec<&str> = found.iter().map(|misfit| misfit.key.as_str()).collect();
    assert_eq!(keys, ["votes", "justify", "endpoint.url"]);
    let tree: TreeRollout = toml::from_str("[schema]\nvotes = 3").unwrap();
    assert!(tree.check()[0].message.contains("set at = \"questions\""));
    let tree = TreeRollout { at: At::Questions, ..tree };
    assert_eq!((tree.check().is_empty(), tree.leaves()), (true, 32));
}
