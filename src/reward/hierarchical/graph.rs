//! Edges as a completion writes them, `a>b`: whether they are one graph without a cycle.

use std::collections::{BTreeMap, BTreeSet};

/// Edges from one node to another.
pub struct Edges<'a>(BTreeSet<(&'a str, &'a str)>);

impl<'a> Edges<'a> {
    /// Reads items `a>b`; `None` where there are none, or one is no edge.
    pub fn of(items: &'a BTreeSet<String>) -> Option<Self> {
        let edge = |item: &'a String| {
            let (from, to) = item.split_once('>')?;
            let (from, to) = (from.trim(), to.trim());
            (!from.is_empty() && !to.is_empty() && !to.contains('>')).then_some((from, to))
        };
        let edges: BTreeSet<_> = items.iter().map(edge).collect::<Option<_>>()?;
        (!edges.is_empty()).then_some(Self(edges))
    }

    /// What they join.
    pub fn nodes(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(|(from, to)| [from.to_string(), to.to_string()]).collect()
    }

    /// Whether every node can be reached from every other, the direction of edges aside.
    pub fn connected(&self) -> bool {
        let mut reached: BTreeSet<&str> = self.0.iter().take(1).map(|(from, _)| *from).collect();
        loop {
            let touching = self.0.iter().filter(|(from, to)| reached.contains(from) || reached.contains(to));
            let grown: BTreeSet<&str> = touching.flat_map(|(from, to)| [*from, *to]).collect();
            if grown.len() == reached.len() {
                return reached.len() == self.nodes().len();
            }
            reached = grown;
        }
    }

    /// Whether no way along the edges leads back to where it began: nodes that nothing leads to are taken away until none is left.
    pub fn acyclic(&self) -> bool {
        let mut into: BTreeMap<&str, usize> = BTreeMap::new();
        for (from, to) in &self.0 {
            into.entry(from).or_default();
            *into.entry(to).or_default() += 1;
        }
        let mut free: Vec<&str> =
            into.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
        let mut taken = 0;
        while let Some(node) = free.pop() {
            taken += 1;
            for (_, to) in self.0.iter().filter(|(from, _)| *from == node) {
                let count = into.get_mut(to).expect("counted above");
                *count -= 1;
                if *count == 0 {
                    free.push(to);
                }
            }
        }
        taken == into.len()
    }
}
