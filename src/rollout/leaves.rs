//! The leaves of a tree as one line of traces, in which each node stands once; `data::tree` reads it.

use super::Trace;
use crate::data::tree;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A line of a file of traces.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Line<'a> {
    /// A rollout.
    One(&'a Trace),
    /// The leaves of a tree.
    Tree(Box<TreeLine<'a>>),
}

/// A tree, and what its leaves have in common.
#[derive(Debug, Serialize)]
pub struct TreeLine<'a> {
    #[serde(flatten)]
    all: Map<String, Value>,
    tree: Tree<'a>,
}

#[derive(Debug, Serialize)]
struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    leaves: Vec<Leaf<'a>>,
}

#[derive(Debug, Serialize)]
struct Node<'a> {
    node: usize,
    parent: Option<usize>,
    text: &'a str,
    tokens: &'a [u32],
    logprobs: &'a [f32],
    copies: usize,
    value: f64,
}

#[derive(Debug, Serialize)]
struct Leaf<'a> {
    node: usize,
    #[serde(skip_serializing_if = "str::is_empty")]
    rest: &'a str,
    steps: Vec<[usize; 2]>,
    #[serde(flatten)]
    own: Map<String, Value>,
}

/// What the nodes on a leaf's way say.
const OF_NODES: [&str; 5] = ["completion", "completion_ids", "logprobs", "forks", "steps"];

/// The lines of a step's traces: the leaves of one tree, which follow each other, in one, the others by themselves.
pub fn lines(traces: &[Trace]) -> Vec<Line<'_>> {
    let together = |a: &Trace, b: &Trace| {
        let leaves = !a.forks.is_empty() && !b.forks.is_empty();
        leaves && (&a.example, a.step) == (&b.example, b.step)
    };
    let lines = |leaves| match folded(leaves) {
        Some(tree) => vec![Line::Tree(Box::new(tree))],
        None => leaves.iter().map(Line::One).collect(),
    };
    traces.chunk_by(together).flat_map(lines).collect()
}

/// The leaves as one line, where that says all that they say.
fn folded(leaves: &[Trace]) -> Option<TreeLine<'_>> {
    if leaves.len() < 2 {
        return None;
    }
    let object = |trace: &Trace| match serde_json::to_value(trace) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    };
    let mut owns: Vec<Map<String, Value>> = leaves.iter().map(object).collect::<Option<_>>()?;
    let mut all = owns[0].clone();
    all.retain(|key, value| owns.iter().all(|own| own.get(key) == Some(&*value)));
    owns.iter_mut().for_each(|own| own.retain(|key, _| !all.contains_key(key)));
    for columns in owns.iter_mut().chain([&mut all]) {
        columns.retain(|key, _| !OF_NODES.contains(&key.as_str()));
    }
    let mut nodes = BTreeMap::new();
    let mut ends = Vec::new();
    for (leaf, own) in leaves.iter().zip(owns) {
        let (mut parent, mut tokens, mut bytes) = (None, 0, 0);
        for fork in &leaf.forks {
            nodes.entry(fork.node).or_insert(Node {
                node: fork.node,
                parent,
                text: leaf.completion.get(bytes..fork.bytes)?,
                tokens: leaf.completion_ids.get(tokens..fork.tokens)?,
                logprobs: leaf.logprobs.get(tokens..fork.tokens)?,
                copies: fork.copies,
                value: fork.value,
            });
            (parent, tokens, bytes) = (Some(fork.node), fork.tokens, fork.bytes);
        }
        ends.push(Leaf { node: parent?, rest: &leaf.completion[bytes..], steps: spans(leaf)?, own });
    }
    let line = TreeLine { all, tree: Tree { nodes: nodes.into_values().collect(), leaves: ends } };
    says_all(&line, leaves).then_some(line)
}

/// Where the steps stand in the completion.
fn spans(leaf: &Trace) -> Option<Vec<[usize; 2]>> {
    let mut from = 0;
    let span = |step: &String| {
        let start = from + leaf.completion[from..].find(step.as_str())?;
        from = start + step.len();
        Some([start, from])
    };
    leaf.steps.iter().map(span).collect()
}

/// Whether reading the line gives these leaves.
fn says_all(line: &TreeLine, leaves: &[Trace]) -> bool {
    let Ok(Value::Object(line)) = serde_json::to_value(line) else { return false };
    let Ok(rows) = tree::rows(line) else { return false };
    let read = |row| serde_json::from_value::<Trace>(Value::Object(row)).ok();
    rows.into_iter().map(read).collect::<Option<Vec<Trace>>>().is_some_and(|read| read == leaves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A leaf of two nodes, the first of which is node 1.
    fn leaf(sample: usize, node: usize, text: &str, bytes: [usize; 2]) -> Trace {
        let fork = |node: usize, tokens: usize, bytes: usize| json!({"node": node, "tokens": tokens, "bytes": bytes, "copies": 1, "value": 0.5});
        let trace = json!({
            "id": format!("q/3-{sample}"), "example": "q", "step": 3, "prompt": "q?", "completion": text,
            "answer": "7", "steps": text.lines().collect::<Vec<_>>(), "predicted": null, "stop": "length",
            "scores": {"answer": sample}, "reward": sample, "advantage": 0.25, "prompt_ids": [1],
            "completion_ids": [10, 11, 20 + sample], "logprobs": [-0.1, -0.2, -0.3 - sample as f64],
            "forks": [fork(1, 2, bytes[0]), fork(node, 3, bytes[1])], "level": "easy"
        });
        serde_json::from_value(trace).unwrap()
    }

    fn read(lines: &[Line]) -> Vec<Trace> {
        let rows = lines.iter().flat_map(|line| {
            // By way of the text, as a file has it.
            let text = serde_json::to_string(line).unwrap();
            tree::rows(serde_json::from_str(&text).unwrap()).unwrap()
        });
        rows.map(|row| serde_json::from_value(Value::Object(row)).unwrap()).collect()
    }

    #[test]
    fn a_tree_is_one_line_with_each_node_once() {
        let mut traces = vec![leaf(0, 2, "so a\n7", [5, 6]), leaf(1, 3, "so a\n8", [5, 6])];
        traces.push(Trace { example: "other".into(), forks: vec![], ..leaf(2, 4, "x", [0, 1]) });
        let lines = lines(&traces);
        assert!(matches!(lines[..], [Line::Tree(_), Line::One(_)]));
        assert_eq!(read(&lines), traces);
        let text = serde_json::to_string(&lines[0]).unwrap();
        assert_eq!((text.matches("so a").count(), text.matches("[10,11]").count()), (1, 1), "{text}");
        assert_eq!(text.matches("easy").count(), 1);
    }

    #[test]
    fn what_does_not_fit_together_is_written_leaf_by_leaf() {
        // Two leaves that say otherwise what node 1 is.
        let traces = vec![leaf(0, 2, "so a\n7", [5, 6]), leaf(1, 3, "as b\n8", [5, 6])];
        assert_eq!(lines(&traces).len(), 2);
        assert_eq!(read(&lines(&traces)), traces);
        assert_eq!(lines(&traces[..1]).len(), 1);
    }
}
