//! Siblings at a fork of a tree, the better against the worse (as in thought trees, arXiv 2406.19949, and steps preferred where
//! they part). Pure.

use std::collections::BTreeMap;

/// A leaf of a tree as a fork sees it: the nodes on its way from the root, and what it got itself.
#[derive(Debug, Clone, PartialEq)]
pub struct TreePath {
    /// Each node's number in its tree and its value, the root left out.
    pub nodes: Vec<(usize, f64)>,
    /// The leaf's reward.
    pub reward: f64,
    /// The leaf's length in tokens.
    pub tokens: usize,
}

/// A better and a worse child of one node, by a leaf of each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sibling {
    /// The leaf of greatest reward below the better child; of equals the shortest, then the first.
    pub chosen: usize,
    /// The leaf of least reward below the worse child; of equals the shortest, then the first.
    pub rejected: usize,
    /// The difference of the children's values.
    pub gap: f64,
}

/// The children of a node, each with its value and the leaves below it.
type Children = BTreeMap<usize, (f64, Vec<usize>)>;

/// Every two children of one node whose values differ by at least `min_gap` (and at all), the greatest differences first, of
/// equals in the order of the nodes.
///
/// ```
/// use rationale::select::pairs::{TreePath, siblings};
/// let leaf = |nodes: &[(usize, f64)], reward| TreePath { nodes: nodes.to_vec(), reward, tokens: 3 };
/// let leaves = [leaf(&[(1, 0.5), (3, 1.0)], 1.0), leaf(&[(1, 0.5), (4, 0.0)], 0.0), leaf(&[(2, 0.0)], 0.0)];
/// let found = siblings(&leaves, 0.0);
/// // 3 is better than 4, and 1, whose best leaf is below 3, than 2.
/// assert_eq!(found.iter().map(|pair| (pair.chosen, pair.rejected)).collect::<Vec<_>>(), [(0, 1), (0, 2)]);
/// ```
pub fn siblings(paths: &[TreePath], min_gap: f64) -> Vec<Sibling> {
    let mut forks: BTreeMap<Option<usize>, Children> = BTreeMap::new();
    for (leaf, path) in paths.iter().enumerate() {
        let mut parent = None;
        for &(node, value) in &path.nodes {
            let children = forks.entry(parent).or_default();
            children.entry(node).or_insert((value, Vec::new())).1.push(leaf);
            parent = Some(node);
        }
    }
    let shown = |leaves: &[usize], sign: f64| {
        let by = |a: &usize, b: &usize| {
            let worth = |leaf: &usize| sign * paths[*leaf].reward;
            worth(b).total_cmp(&worth(a)).then(paths[*a].tokens.cmp(&paths[*b].tokens))
        };
        leaves.iter().copied().min_by(by).expect("a node has a leaf below it")
    };
    let mut found = Vec::new();
    for children in forks.values() {
        for (better, above) in children.values() {
            for (worse, below) in children.values() {
                let gap = better - worse;
                if gap > 0.0 && gap >= min_gap {
                    found.push(Sibling { chosen: shown(above, 1.0), rejected: shown(below, -1.0), gap });
                }
            }
        }
    }
    found.sort_by(|a, b| b.gap.total_cmp(&a.gap));
    found
}
