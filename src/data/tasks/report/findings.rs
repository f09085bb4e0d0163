//! What a report may find, which conditions findings come to, and which findings are held out.

use crate::data::Split;
use crate::seed;
use std::collections::BTreeMap;

/// The parts that every report says something of.
pub(super) const PARTS: [&str; 6] = ["hip", "tem", "fro", "par", "occ", "ven"];
/// What is said of a part.
pub(super) const SEVERITIES: [&str; 3] = ["low", "ok", "high"];
/// The same in held-out reports, where the wording is shifted.
pub(super) const RENAMED: [&str; 3] = ["small", "fine", "big"];

const LOW: u8 = 0;
const OK: u8 = 1;
const HIGH: u8 = 2;

/// What a report may come to.
pub(super) struct Condition {
    pub name: &'static str,
    /// Parts, and what has to be found of them.
    pub needs: [(usize, u8); 2],
    /// What is given for it.
    pub drug: &'static str,
}

/// Neighbours share a finding, so that one alone never tells them apart.
pub(super) const CONDITIONS: [Condition; 4] = [
    Condition { name: "ash", needs: [(0, LOW), (1, LOW)], drug: "red" },
    Condition { name: "bur", needs: [(0, OK), (2, LOW)], drug: "blue" },
    Condition { name: "cor", needs: [(5, HIGH), (1, LOW)], drug: "gold" },
    Condition { name: "dal", needs: [(5, HIGH), (3, LOW)], drug: "pale" },
];

/// What is found of each part, as a place in `SEVERITIES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Findings(pub [u8; 6]);

impl Findings {
    /// All that there are: 3⁶.
    fn all() -> impl Iterator<Item = Findings> {
        (0..3u32.pow(6)).map(|code| Findings([0, 1, 2, 3, 4, 5].map(|at| (code / 3u32.pow(at) % 3) as u8)))
    }

    /// Which of a condition's findings are there.
    pub(super) fn meets(self, condition: usize) -> [bool; 2] {
        CONDITIONS[condition].needs.map(|(part, severity)| self.0[part] == severity)
    }

    /// The conditions that it comes to.
    pub(super) fn conditions(self) -> Vec<usize> {
        (0..CONDITIONS.len()).filter(|&condition| self.meets(condition) == [true; 2]).collect()
    }

    /// How many parts are found otherwise.
    pub(super) fn altered(self, other: Findings) -> usize {
        self.0.iter().zip(other.0).filter(|(one, other)| **one != *other).count()
    }
}

/// The findings of a split that come to any condition. Of those that come to the same ones a fifth is held out, chosen by the seed.
pub(super) fn of_split(split: Split, seed: u64) -> Vec<Findings> {
    let mut alike: BTreeMap<Vec<usize>, Vec<(u64, Findings)>> = BTreeMap::new();
    for findings in Findings::all() {
        let parts = findings.0.map(u64::from);
        let hash = seed::derive(&[&[seed, seed::of_text("report")], &parts[..]].concat());
        alike.entry(findings.conditions()).or_default().push((hash, findings));
    }
    alike.remove(&vec![]);
    let ours = alike.into_values().flat_map(|mut all| {
        all.sort_unstable();
        let held_out = (all.len() + 2) / 5;
        if split == Split::Eval {
            all.truncate(held_out)
        } else {
            drop(all.drain(..held_out))
        }
        all.into_iter().map(|(_, findings)| findings)
    });
    ours.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 81 findings with hip and tem low, 27 have ven high too, which is cor; and so on, with what two conditions exclude of each other.
    #[test]
    fn findings_come_to_conditions() {
        let count =
            |wanted: &[usize]| Findings::all().filter(|findings| findings.conditions() == wanted).count();
        assert_eq!([count(&[0]), count(&[1]), count(&[2]), count(&[3])], [54, 66, 30, 48]);
        assert_eq!((count(&[0, 2, 3]), count(&[0, 1])), (9, 0));
        let findings = Findings([LOW, LOW, OK, LOW, OK, OK]);
        assert_eq!((findings.conditions(), findings.meets(2)), (vec![0], [false, true]));
        assert_eq!(findings.altered(Findings([OK, LOW, LOW, LOW, OK, OK])), 2);
    }

    #[test]
    fn a_fifth_is_held_out_of_each_condition() {
        let [train, eval] = [Split::Train, Split::Eval].map(|split| of_split(split, 7));
        let alone = |all: &[Findings]| {
            [0, 1, 2, 3].map(|wanted| all.iter().filter(|f| f.conditions() == [wanted]).count())
        };
        assert_eq!((alone(&train), alone(&eval)), ([43, 53, 24, 38], [11, 13, 6, 10]));
        assert!(eval.iter().all(|findings| !train.contains(findings)));
        assert_ne!(eval, of_split(Split::Eval, 8));
    }
}
