//! A tree of rollouts as lines of text, and as a picture.

use super::table::shortened;
use crate::rollout::{Fork, Trace, Vote};
use plotters::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// A node of a tree, as it is drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// 0 below the root.
    pub depth: usize,
    /// The place of its parent in the list.
    pub parent: Option<usize>,
    /// What it is worth, by the leaves below it.
    pub value: f64,
    /// How often it was drawn.
    pub copies: usize,
    /// How it was voted for, where it is a reply to a rubric's question.
    pub vote: Option<Vote>,
    /// Its own text.
    pub text: String,
    /// Whether nothing comes after it.
    pub leaf: bool,
}

impl Node {
    /// What it is worth, and how it was drawn: `0.50 ×2`, or of a vote `0.50 7/10 +1`, where the reply has 7 of 10 votes and
    /// is worth one mark.
    fn label(&self) -> String {
        match self.vote {
            Some(Vote { asked, marks }) => format!("{:.2} {}/{asked} {marks:+}", self.value, self.copies),
            None if self.copies > 1 => format!("{:.2} ×{}", self.value, self.copies),
            None => format!("{:.2}", self.value),
        }
    }
}

/// The tree whose leaves the traces are, one node a line: what it is worth, how often it was drawn where that is more than
/// once (of a rubric's reply its votes and marks), its text. `None` where they have no forks.
pub fn lines(traces: &[&Trace]) -> Option<String> {
    let nodes = nodes(traces);
    let line = |node: &Node| {
        let text = shortened(node.text.trim(), 100).replace('\n', "⏎");
        format!("{}{}  {text}", "│  ".repeat(node.depth), node.label())
    };
    let leaves = nodes.iter().filter(|node| node.leaf).count();
    let head = format!("tree of {}, {leaves} leaves", traces.first()?.example);
    let lines: Vec<String> = std::iter::once(head).chain(nodes.iter().map(line)).collect();
    (!nodes.is_empty()).then(|| lines.join("\n"))
}

const COLUMN: i32 = 230;
const ROW: i32 = 26;
const EDGE: i32 = 20;
const TITLE: i32 = 34;

/// The same as the text of an SVG file: steps from left to right, red for the least value and green for the greatest.
///
/// # Errors
/// What the drawing library says.
pub fn picture(traces: &[&Trace]) -> Result<Option<String>, String> {
    let nodes = nodes(traces);
    let Some(deepest) = nodes.iter().map(|node| node.depth).max() else { return Ok(None) };
    let rows = heights(&nodes);
    let leaves = nodes.iter().filter(|node| node.leaf).count() as i32;
    let size = (2 * EDGE + COLUMN * (deepest as i32 + 1), 2 * EDGE + TITLE + ROW * leaves);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (size.0 as u32, size.1 as u32)).into_drawing_area();
        draw(&root, traces, &nodes, &rows).map_err(|error| error.to_string())?;
    }
    Ok(Some(svg))
}

fn draw(
    root: &DrawingArea<SVGBackend, plotters::coord::Shift>,
    traces: &[&Trace],
    nodes: &[Node],
    rows: &[f64],
) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&WHITE)?;
    let gold = traces.first().and_then(|trace| trace.answer.as_deref()).unwrap_or("none");
    let title = format!("{}, gold answer {gold}", traces.first().map_or("", |trace| &trace.example));
    root.draw(&Text::new(title, (EDGE, EDGE / 2), ("sans-serif", 15)))?;
    let (low, high) = nodes.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), node| {
        (low.min(node.value), high.max(node.value))
    });
    let at = |node: usize| {
        let (x, y) = (nodes[node].depth as i32 * COLUMN, rows[node] * f64::from(ROW));
        (EDGE + x, EDGE + TITLE + y as i32)
    };
    for (index, node) in nodes.iter().enumerate() {
        if let Some(parent) = node.parent {
            let ((from, above), (to, here)) = (at(parent), at(index));
            let bend = (to - 14, above);
            root.draw(&PathElement::new([(from + 5, above), bend, (to, here)], BLACK.mix(0.35)))?;
        }
    }
    for (index, node) in nodes.iter().enumerate() {
        let share = if high > low { (node.value - low) / (high - low) } else { 1.0 };
        let colour =
            RGBColor((213.0 * (1.0 - share)) as u8, (60.0 + 98.0 * share) as u8, (115.0 * share) as u8);
        let (x, y) = at(index);
        root.draw(&Circle::new((x, y), 5, colour.filled()))?;
        let text = node.text.trim().replace('\n', "⏎");
        // Of a reply the beginning tells: the question.
        let text = if node.vote.is_some() { text.chars().take(26).collect() } else { shortened(&text, 26) };
        let label = format!("{}  {text}", node.label());
        root.draw(&Text::new(label, (x + 9, y - 14), ("sans-serif", 12)))?;
    }
    root.present()?;
    Ok(())
}

/// Each node's row: a leaf's is its place among the leaves, another's the middle of its children's.
fn heights(nodes: &[Node]) -> Vec<f64> {
    let mut rows = vec![0.0; nodes.len()];
    let mut leaves = 0.0;
    for (index, node) in nodes.iter().enumerate() {
        if node.leaf {
            rows[index] = leaves;
            leaves += 1.0;
        }
    }
    for index in (0..nodes.len()).rev().filter(|&index| !nodes[index].leaf) {
        let below: Vec<f64> =
            (index + 1..nodes.len()).filter(|&i| nodes[i].parent == Some(index)).map(|i| rows[i]).collect();
        rows[index] = below.iter().sum::<f64>() / below.len().max(1) as f64;
    }
    rows
}

/// The nodes below the root of the tree whose leaves the traces are, parents before children.
pub fn nodes(traces: &[&Trace]) -> Vec<Node> {
    let mut children = Children::new();
    for trace in traces {
        let (mut parent, mut start) = (None, 0);
        for fork in &trace.forks {
            let text = trace.completion.get(start..fork.bytes).unwrap_or_default().to_string();
            children.entry(parent).or_default().insert(fork.node, (*fork, text));
            (parent, start) = (Some(fork.node), fork.bytes);
        }
    }
    let mut drawn = Vec::new();
    descend(None, None, 0, &children, &mut drawn);
    drawn
}

/// By parent, the children by number, each with its text.
type Children = BTreeMap<Option<usize>, BTreeMap<usize, (Fork, String)>>;

fn descend(
    node: Option<usize>,
    parent: Option<usize>,
    depth: usize,
    children: &Children,
    drawn: &mut Vec<Node>,
) {
    for (&child, (fork, text)) in children.get(&node).into_iter().flatten() {
        let leaf = !children.contains_key(&Some(child));
        let own = drawn.len();
        let Fork { value, copies, vote, .. } = *fork;
        drawn.push(Node { depth, parent, value, copies, vote, text: text.clone(), leaf });
        descend(Some(child), Some(own), depth + 1, children, drawn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// "a\n" leads to "b" (worth 1) and "c" (worth 0); "d" was drawn twice.
    fn traces() -> Vec<Trace> {
        let trace = |completion: &str, forks: &[(usize, usize, usize, f64)]| {
            let forks: Vec<_> = forks
                .iter()
                .map(|(node, bytes, copies, value)| {
                    json!({"node": node, "tokens": bytes, "bytes": bytes, "copies": copies, "value": value})
                })
                .collect();
            let trace = json!({
                "id": "q/1-0", "example": "q", "step": 1, "prompt": "q?", "completion": completion, "answer": "b",
                "steps": [], "predicted": null, "stop": "length", "scores": {}, "reward": 0.0, "advantage": null,
                "prompt_ids": [], "completion_ids": [], "logprobs": [], "forks": forks
            });
            serde_json::from_value(trace).unwrap()
        };
        vec![
            trace("d", &[(2, 1, 2, 0.25)]),
            trace("a\nb", &[(1, 2, 1, 0.5), (3, 3, 1, 1.0)]),
            trace("a\nc", &[(1, 2, 1, 0.5), (4, 3, 1, 0.0)]),
        ]
    }

    #[test]
    fn a_tree_is_written_from_the_root_down() {
        let traces = traces();
        let text = lines(&traces.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(text, "tree of q, 3 leaves\n0.50  a\n│  1.00  b\n│  0.00  c\n0.25 ×2  d");
        assert_eq!(lines(&[]), None);
    }

    #[test]
    fn votes_and_marks_stand_on_the_nodes() {
        let mut traces = traces();
        for fork in traces.iter_mut().flat_map(|trace| &mut trace.forks) {
            fork.vote = Some(Vote { asked: 3, marks: if fork.node == 2 { 0.5 } else { -1.0 } });
        }
        let traces: Vec<&Trace> = traces.iter().collect();
        assert!(lines(&traces).unwrap().ends_with("0.25 2/3 +0.5  d"));
        let svg = picture(&traces).unwrap().unwrap();
        assert!(svg.contains("0.50 1/3 -1  a") && svg.contains("0.25 2/3 +0.5  d"), "{svg}");
    }

    #[test]
    fn a_picture_has_every_value_and_text() {
        let traces = traces();
        let traces: Vec<&Trace> = traces.iter().collect();
        let svg = picture(&traces).unwrap().unwrap();
        for label in ["0.50  a", "1.00  b", "0.00  c", "0.25 ×2  d", "q, gold answer b"] {
            assert!(svg.contains(label), "{label}: {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 4);
        // The leaves stand in rows 0 to 2, and the node above the first two between them.
        assert_eq!(heights(&nodes(&traces)), [0.5, 0.0, 1.0, 2.0]);
        assert_eq!(picture(&[]).unwrap(), None);
    }
}
