//! A line that holds a tree of rollouts, each node once, read as the rows of its leaves.

use super::row::{VALUE, size};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The column that holds the tree.
pub const COLUMN: &str = "tree";

/// Bytes that the leaves of one line may take.
const MOST: usize = 1 << 29;
/// What a node of a leaf takes besides its text and tokens, and what a number takes, in bytes.
const FORK: usize = 768;

#[derive(Deserialize)]
struct Tree {
    nodes: Vec<Node>,
    leaves: Vec<Leaf>,
}

#[derive(Deserialize)]
struct Node {
    node: usize,
    parent: Option<usize>,
    text: String,
    tokens: Vec<u32>,
    #[serde(deserialize_with = "finite")]
    logprobs: Vec<f32>,
    copies: usize,
    value: f64,
}

#[derive(Deserialize)]
struct Leaf {
    node: usize,
    /// Text that no node has.
    #[serde(default)]
    rest: String,
    /// Where the steps stand in the completion, in bytes.
    steps: Vec<[usize; 2]>,
    #[serde(flatten)]
    columns: Map<String, Value>,
}

/// Numbers of 32 bits. JSON has larger ones, which would become infinite.
///
/// # Errors
/// Where one is.
pub fn finite<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
    let numbers = Vec::<f32>::deserialize(from)?;
    match numbers.iter().all(|number| number.is_finite()) {
        true => Ok(numbers),
        false => Err(D::Error::custom("a number that is larger than any of 32 bits")),
    }
}

/// The rows of a line: of a tree one a leaf, with the whole completion and the nodes that lead up to it; of another the line.
///
/// # Errors
/// What is wrong with the tree.
pub fn rows(mut line: Map<String, Value>) -> Result<Vec<Map<String, Value>>, String> {
    let is_tree = |tree: &Value| tree["nodes"].is_array() && tree["leaves"].is_array();
    if !line.get(COLUMN).is_some_and(is_tree) {
        return Ok(vec![line]);
    }
    let tree = line.remove(COLUMN).unwrap_or_default();
    let tree: Tree = serde_json::from_value(tree).map_err(|error| format!("`{COLUMN}`: {error}"))?;
    let nodes: HashMap<usize, &Node> = tree.nodes.iter().map(|node| (node.node, node)).collect();
    let common: usize = line.values().map(size).sum();
    let (mut rows, mut total) = (Vec::new(), 0usize);
    for leaf in tree.leaves {
        // Every leaf has all its nodes.
        for node in path(&nodes, leaf.node)? {
            total = total
                .saturating_add(FORK + node.text.len() + (node.tokens.len() + node.logprobs.len()) * VALUE);
        }
        total = total.saturating_add(common);
        if total > MOST {
            return Err(format!(
                "`{COLUMN}`: its leaves with all their nodes take more than {} MB; write such leaves one by one",
                MOST >> 20
            ));
        }
        rows.push(row(&line, &nodes, leaf)?);
    }
    Ok(rows)
}

fn row(
    line: &Map<String, Value>,
    nodes: &HashMap<usize, &Node>,
    leaf: Leaf,
) -> Result<Map<String, Value>, String> {
    let (mut text, mut tokens, mut logprobs, mut forks) = (String::new(), vec![], vec![], vec![]);
    for node in path(nodes, leaf.node)? {
        text.push_str(&node.text);
        tokens.extend_from_slice(&node.tokens);
        logprobs.extend_from_slice(&node.logprobs);
        let (end, bytes) = (tokens.len(), text.len());
        forks.push(json!({"node": node.node, "tokens": end, "bytes": bytes, "copies": node.copies, "value": node.value}));
    }
    text.push_str(&leaf.rest);
    let step = |[start, end]: &[usize; 2]| text.get(*start..*end).map(Value::from);
    let steps: Option<Vec<Value>> = leaf.steps.iter().map(step).collect();
    let steps =
        steps.ok_or_else(|| format!("`{COLUMN}`: a step of leaf {} is no part of its text", leaf.node))?;
    let mut row = line.clone();
    row.extend(leaf.columns);
    row.insert("steps".into(), steps.into());
    row.insert("completion".into(), text.into());
    row.insert("completion_ids".into(), tokens.into());
    row.insert("logprobs".into(), logprobs.into());
    row.insert("forks".into(), forks.into());
    Ok(row)
}

/// The nodes from below the root to `end`.
fn path<'a>(nodes: &HashMap<usize, &'a Node>, end: usize) -> Result<Vec<&'a Node>, String> {
    let (mut path, mut next) = (Vec::new(), Some(end));
    while let Some(at) = next {
        let node = nodes.get(&at).ok_or_else(|| format!("`{COLUMN}`: there is no node {at}"))?;
        if path.len() > nodes.len() {
            return Err(format!("`{COLUMN}`: node {at} comes after itself"));
        }
        path.push(*node);
        next = node.parent;
    }
    path.reverse();
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(nodes: Value) -> Map<String, Value> {
        let leaves = json!([
            {"node": 2, "id": "q/1-0", "reward": 1.0, "steps": [[0, 1], [2, 3]], "rest": "!"},
            {"node": 3, "id": "q/1-1", "reward": 0.0, "steps": []}
        ]);
        let line = json!({"example": "q", "answer": "b", "tree": {"nodes": nodes, "leaves": leaves}});
        line.as_object().unwrap().clone()
    }

    fn node(node: usize, parent: Option<usize>, text: &str, token: u32) -> Value {
        json!({"node": node, "parent": parent, "text": text, "tokens": [token], "logprobs": [-0.5],
               "copies": 1, "value": 0.25})
    }

    #[test]
    fn a_leaf_has_all_that_its_nodes_have() {
        let nodes = json!([node(1, None, "a\n", 5), node(2, Some(1), "b", 6), node(3, Some(1), "c", 7)]);
        let rows = rows(line(nodes)).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((&rows[0]["completion"], &rows[1]["completion"]), (&json!("a\nb!"), &json!("a\nc")));
        assert_eq!(
            (&rows[0]["completion_ids"], &rows[1]["completion_ids"]),
            (&json!([5, 6]), &json!([5, 7]))
        );
        assert_eq!(rows[0]["steps"], json!(["a", "b"]));
        let fork = json!({"node": 1, "tokens": 1, "bytes": 2, "copies": 1, "value": 0.25});
        assert_eq!((&rows[1]["forks"][0], &rows[1]["forks"][1]["bytes"]), (&fork, &json!(3)));
        assert_eq!((&rows[0]["answer"], &rows[0]["reward"]), (&json!("b"), &json!(1.0)));
        assert!(rows.iter().all(|row| !row.contains_key(COLUMN)));
    }

    #[test]
    fn what_is_no_tree_is_left_alone_and_what_is_broken_is_named() {
        let plain = json!({"tree": "oak"}).as_object().unwrap().clone();
        assert_eq!(rows(plain.clone()).unwrap(), [plain]);
        let missing = json!([node(2, Some(1), "b", 6), node(3, None, "c", 7)]);
        assert_eq!(rows(line(missing)).unwrap_err(), "`tree`: there is no node 1");
        let chain: Vec<Value> = (1..=6000).map(|at| node(at, (at > 1).then(|| at - 1), "a", 5)).collect();
        let leaves: Vec<Value> = (1..=6000).map(|at| json!({"node": at, "steps": []})).collect();
        let wide = json!({"tree": {"nodes": chain, "leaves": leaves}}).as_object().unwrap().clone();
        assert!(rows(wide).unwrap_err().contains("take more than 512 MB"));
        let mut large = node(2, None, "b", 6);
        large["logprobs"] = json!([-1e308]);
        assert!(rows(line(json!([large]))).unwrap_err().contains("larger than any of 32 bits"));
        let round = json!([node(2, Some(3), "b", 6), node(3, Some(2), "c", 7)]);
        assert!(rows(line(round)).unwrap_err().contains("comes after itself"));
    }
}
