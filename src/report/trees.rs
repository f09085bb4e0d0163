//! The trees of rollouts that a report shows.

use crate::log::tree::{Node, nodes};
use crate::rollout::Trace;
use serde::Serialize;

/// The nodes of a tree that are shown.
const NODES: usize = 200;

/// A tree.
#[derive(Debug, Serialize)]
pub(super) struct Tree {
    /// The place of its stage.
    stage: usize,
    step: usize,
    example: String,
    prompt: String,
    gold: Option<String>,
    /// Parents before children.
    nodes: Vec<Node>,
    /// How many there are.
    all: usize,
}

impl Tree {
    /// That of a group whose rollouts are leaves of one.
    pub fn of(stage: usize, group: &[Trace]) -> Option<Self> {
        let first = group.first()?;
        let leaves: Vec<&Trace> = group.iter().collect();
        let mut nodes = nodes(&leaves);
        let all = nodes.len();
        nodes.truncate(NODES);
        (all > 0).then(|| Self {
            stage,
            step: first.step,
            example: first.example.clone(),
            prompt: first.prompt.text(),
            gold: first.answer.clone(),
            nodes,
            all,
        })
    }
}
