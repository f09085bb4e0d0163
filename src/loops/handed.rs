//! What stages hand on, as methods say it: what their checkpoints are good for, and what traces have to have for who learns from them.

use crate::rollout::Traits;

/// What a stage's checkpoints are, where it changes its policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Leaves {
    /// A model that generates.
    #[default]
    Writer,
    /// A reward model, which generates nothing.
    Scorer,
    /// A reward model whose scores are probabilities of tokens, so that it generates as well.
    Both,
}

/// What traces have where they come from a source that gives it ([`Traits`](crate::rollout::Traits)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfTraces {
    /// Cuts between steps with what continuations from there came to ([`Rollout::cuts`](crate::rollout::Rollout::cuts)).
    Cuts,
    /// The nodes of a tree ([`Rollout::forks`](crate::rollout::Rollout::forks)).
    Forks,
    /// Continuations of cuts that are completions of their own ([`Rollout::branched_at`](crate::rollout::Rollout::branched_at)).
    Branches,
    /// Nodes that were voted for ([`Rollout::confidence`](crate::rollout::Rollout::confidence)).
    Votes,
}

impl OfTraces {
    /// Whether completions of such a source can have it.
    pub fn is_of(self, source: &Traits) -> bool {
        match self {
            OfTraces::Cuts => source.values_steps,
            OfTraces::Forks => source.forks,
            OfTraces::Branches => source.branches,
            OfTraces::Votes => source.votes,
        }
    }

    /// What it is, and which source gives it.
    pub fn named(self) -> (&'static str, &'static str) {
        match self {
            OfTraces::Cuts => ("steps that were continued", "[rollout.prefix]"),
            OfTraces::Forks => ("a tree whose ways fork", "[rollout.tree]"),
            OfTraces::Branches => {
                ("continuations as completions of their own", "[rollout.prefix] with keep = \"all\"")
            }
            OfTraces::Votes => ("a tree over a rubric's questions", "[rollout.tree] with at = \"questions\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_what_its_traits_say() {
        let group = Traits::sampled("group", 4);
        let all = [OfTraces::Cuts, OfTraces::Forks, OfTraces::Branches, OfTraces::Votes];
        let of = |source: Traits| all.map(|one| one.is_of(&source));
        assert_eq!(of(group.clone()), [false; 4]);
        assert_eq!(of(Traits { values_steps: true, ..group.clone() }), [true, false, false, false]);
        assert_eq!(of(Traits { forks: true, ..group.clone() }), [false, true, false, false]);
        assert_eq!(of(Traits { branches: true, ..group }), [false, false, true, false]);
    }
}
