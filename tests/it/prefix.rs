//! `[rollout.prefix]` and `[rollout.tree]`: traces whose steps carry values, and pairs from them.

use crate::program::{Program, list, number};
use crate::recipes::{after_sums, sums};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Rollouts of a model that has learned some sums are cut after every step.
fn recipe() -> String {
    let rest =
        "[stage.rollout.prefix]\nsize = 3\ncontinuations = 4\n[stage.reward.answer]\n[stage.loop.collect]\n";
    sums(&after_sums("collect", 2, rest))
}

/// Wrong rollouts are searched for their first error, and a preference stage learns from what was found.
fn first_error() -> String {
    let rest = "data.train = \"@collect\"\n[stage.select.pairs]\nkind = \"first_error\"\n\
                [stage.loop.dpo]\nmask = \"shared_prefix\"\n";
    after_sums("dpo", 2, rest)
}

#[test]
fn first_errors_become_pairs() {
    let searching = "\nonly_wrong = true\ncuts = \"search\"\nsize = 3\n";
    let more = "run.steps = 8\npolicy.model";
    let recipe = recipe().replace("\nsize = 3\n", searching).replace("run.steps = 2\npolicy.model", more)
        + &first_error();
    let program = Program::new(&recipe);
    program.train(&["--quiet"]).success();
    let expected = traces(&program).iter().filter(|trace| has_pair(trace)).count();
    let first = &program.of_stage("dpo")[0];
    let built = number(first, "pairs/built");
    // A failing first step needs a right rollout of the same question, which not all have.
    let sure = expected as f64;
    assert!(sure >= 1.0 && built >= sure, "{built} pairs, {sure} of them between two cuts");
    assert!(
        number(first, "rewards/margins").abs() < 1e-4,
        "the reference is the policy before its first update"
    );
}

/// Every continuation of the first right completion's cuts is a trace; a preference stage crosses the right with the wrong ones of
/// each cut.
#[test]
fn branches_of_one_right_path_become_pairs() {
    let branching = "\nonly_right = true\nkeep = \"all\"\nat_start = true\nsize = 3\n";
    let more = "run.steps = 8\npolicy.model";
    let rest = "data.train = \"@collect\"\n[stage.select.pairs]\nkind = \"branches\"\nmatching = \"random\"\nper_example = 8\n\
                [stage.loop.dpo]\nmask = \"shared_prefix\"\nweigh = \"questions\"\nloss.kind = \"orpo\"\n";
    let recipe = recipe().replace("\nsize = 3\n", branching).replace("run.steps = 2\npolicy.model", more)
        + &after_sums("dpo", 2, rest);
    let program = Program::new(&recipe);
    program.train(&["--quiet"]).success();
    let mut groups: BTreeMap<(String, u64), Vec<Value>> = BTreeMap::new();
    for trace in traces(&program) {
        let step = trace["step"].as_u64().unwrap();
        groups.entry((trace["example"].to_string(), step)).or_default().push(trace);
    }
    // [reward.answer] is the only one.
    let right = |trace: &Value| number(trace, "reward") == 1.0;
    let mut questions: BTreeMap<String, BTreeSet<[String; 2]>> = BTreeMap::new();
    for ((question, _), group) in &groups {
        let (own, branches) = group.split_at(3);
        assert!(own.iter().all(|trace| trace["branched_at"].is_null()));
        let Some(path) = own.iter().find(|trace| right(trace)) else {
            assert!(branches.is_empty(), "nothing right, nothing to branch from");
            continue;
        };
        assert!(own.iter().all(|trace| trace == path || trace["cuts"].is_null()), "one path is cut");
        let cuts = list(path, "cuts");
        assert_eq!(cuts[0]["step"], 0);
        assert_eq!(branches.len(), 4 * cuts.len());
        for (cut, ways) in cuts.iter().zip(branches.chunks(4)) {
            let kept = number(cut, "tokens") as usize;
            for way in ways {
                assert_eq!(way["branched_at"]["step"], cut["step"]);
                assert_eq!(list(way, "completion_ids")[..kept], list(path, "completion_ids")[..kept]);
            }
            assert_eq!(number(cut, "good"), ways.iter().filter(|way| right(way)).count() as f64);
            for better in ways.iter().filter(|way| right(way)) {
                for worse in ways.iter().filter(|way| !right(way)) {
                    let pair = [better, worse].map(|way| way["completion_ids"].to_string());
                    questions.entry(question.clone()).or_default().insert(pair);
                }
            }
        }
    }
    // A question that was asked in two steps has the pairs of both.
    let expected: usize = questions.values().map(|pairs| pairs.len().min(8)).sum();
    let first = &program.of_stage("dpo")[0];
    assert!(expected > 0, "no pair, so this shows nothing");
    assert_eq!(number(first, "pairs/built"), expected as f64);
}

/// Whether the first cut that no continuation is good from stands behind another cut, which then is a good one.
fn has_pair(trace: &Value) -> bool {
    list(trace, "cuts").iter().position(|cut| number(cut, "good") == 0.0).is_some_and(|at| at > 0)
}

fn traces(program: &Program) -> Vec<Value> {
    rationale::log::JsonLines::read(&program.out().join("traces/collect.jsonl")).unwrap()
}

#[test]
fn every_step_of_every_trace_has_a_value() {
    let program = Program::new(&recipe());
    program.train(&["--quiet"]).success();
    let all = traces(&program);
    assert_eq!(all.len(), 2 * 16 * 3);
    let (mut cuts, mut good) = (0, 0.0);
    for trace in &all {
        let text = trace["completion"].as_str().unwrap();
        if trace["predicted"].is_string() {
            assert_eq!(list(trace, "cuts").len(), list(trace, "steps").len(), "{trace}");
        }
        for cut in list(trace, "cuts") {
            // One token a character, and all of them one byte: tokens are bytes.
            assert_eq!(cut["tokens"], cut["bytes"]);
            assert!(text[..number(cut, "bytes") as usize].ends_with('\n'), "{trace}");
            assert_eq!(number(cut, "continuations"), 4.0);
            // The reward of [reward.answer] is 1 for a right answer and 0 for any other: the value is the share of right ones.
            assert!((number(cut, "value") - number(cut, "good") / 4.0).abs() < 1e-12);
            assert_eq!(cut["shortest"].is_object(), number(cut, "good") > 0.0);
            cuts += 1;
            good += number(cut, "good");
        }
    }
    assert!(
        good > 0.0 && good < 4.0 * f64::from(cuts),
        "{good} of 4 × {cuts}: all alike, so this shows nothing"
    );
    let last = program.of_stage("collect").pop().unwrap();
    let of_last =
        all.iter().filter(|trace| trace["step"] == 2).map(|trace| list(trace, "cuts").len()).sum::<usize>();
    assert_eq!(number(&last, "prefix/cuts"), of_last as f64 / (16.0 * 3.0));
    // Every prompt and every completion is computed once, however many cuts there are: at most 16 × 3 × (6 + 40) tokens.
    assert!(number(&last, "prefix/prefill_tokens") <= 16.0 * 3.0 * 46.0);
}

/// Leaves that part at a fork become pairs whose common path is masked.
const SIBLINGS: &str = r#"
[[stage]]
name = "dpo"
run.steps = 1
policy.model = "@sft"
data.train = "@collect"
[stage.select.pairs]
kind = "shared_prefix"
matching = "prefix"
[stage.loop.dpo]
mask = "shared_prefix"
"#;

#[test]
fn trees_are_kept_shown_and_learned_from() {
    let branching = "[stage.rollout.tree]\ndepth = 2\nbranching = 3\nvalue = \"mean\"\n";
    let recipe =
        recipe().replace("[stage.rollout.prefix]\nsize = 3\ncontinuations = 4\n", branching) + SIBLINGS;
    let program = Program::new(&recipe);
    let said = program.train(&[]).success();
    assert!(said.contains("tree of ") && said.contains(" leaves\n"), "{said}");
    let svg = std::fs::read_to_string(program.out().join("trees/collect-000001.svg")).unwrap();
    let all = traces(&program);
    let first: Vec<&Value> = all
        .iter()
        .filter(|trace| trace["example"] == all[0]["example"] && trace["step"] == all[0]["step"])
        .collect();
    // In the file a tree is one line, which has each node's tokens once.
    let trees = program.traces("collect");
    assert!(trees.len() * 2 < all.len(), "{} lines for {} leaves", trees.len(), all.len());
    let laid =
        |tree: &Value| list(&tree["tree"], "nodes").iter().map(|node| list(node, "tokens").len()).sum();
    let (kept, whole): (usize, usize) =
        (laid(&trees[0]), first.iter().map(|leaf| list(leaf, "completion_ids").len()).sum());
    assert!(0 < kept && kept < whole, "{kept} of {whole} tokens");
    let nodes: BTreeMap<u64, f64> = first
        .iter()
        .flat_map(|trace| list(trace, "forks"))
        .map(|fork| (fork["node"].as_u64().unwrap(), number(fork, "value")))
        .collect();
    assert_eq!(svg.matches("<circle").count(), nodes.len(), "one dot a node");
    // The mean over the leaves of a node, by hand for every node of the first tree.
    for (node, value) in nodes {
        let below = first.iter().filter(|t| list(t, "forks").iter().any(|f| f["node"] == node));
        let rewards: Vec<f64> = below.map(|trace| number(trace, "reward")).collect();
        assert!((rewards.iter().sum::<f64>() / rewards.len() as f64 - value).abs() < 1e-12);
    }
    assert!(all.iter().all(|trace| list(trace, "forks").len() <= 3));
    let dpo = &program.of_stage("dpo")[0];
    assert!(number(dpo, "pairs/built") > 0.0, "{dpo}");
}
