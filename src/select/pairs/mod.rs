//! Pair builders: which rollout of a group is to be preferred to which. Pure.

mod first_error;
mod section;
mod siblings;

pub use first_error::{StepPair, Unpaired, first_error};
pub use section::{Matching, PairKind, Pairs};
pub use siblings::{Sibling, TreePath, siblings};

use super::{Candidate, drop};
use crate::seed;
use std::collections::HashSet;

/// Two rollouts of a group, by index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The better one.
    pub chosen: usize,
    /// The worse one.
    pub rejected: usize,
    /// How many leading tokens they share.
    pub prefix: usize,
    /// The difference of their rewards, or of the values of the nodes that part them (`siblings`).
    pub gap: f64,
}

/// What became of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Built {
    /// The pairs, in the order of `matching`.
    pub pairs: Vec<Pair>,
    /// What did not become one, by reason.
    pub dropped: Dropped,
}

/// How much was left out, and why. A pair counts for the first reason that holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Groups in which nothing is good: 1 or 0.
    pub none_good: usize,
    /// Groups in which nothing is bad: 1 or 0.
    pub none_bad: usize,
    /// Rollouts that cannot be told good from bad: no gold answer, no rating, no votes.
    pub ungraded: usize,
    /// Pairs of the same tokens.
    pub identical: usize,
    /// Pairs of two texts that were paired before (`branches`).
    pub duplicate: usize,
    /// Pairs closer than `min_gap`.
    pub below_gap: usize,
    /// Pairs that share fewer than `min_prefix` tokens.
    pub short_prefix: usize,
    /// Wrong rollouts without a step that no continuation recovers from (`first_error`).
    pub no_error: usize,
    /// Counterfactual rationales that come to the gold answer all the same (`gold_counterfactual`).
    pub same_answer: usize,
    /// Pairs beyond `chosen`, `rejected`, `per_rollout` or `per_example`.
    pub over_cap: usize,
}

impl Dropped {
    /// Each reason with its number.
    pub fn reasons(&self) -> [(&'static str, usize); 10] {
        [
            ("none_good", self.none_good),
            ("none_bad", self.none_bad),
            ("ungraded", self.ungraded),
            ("identical", self.identical),
            ("duplicate", self.duplicate),
            ("below_gap", self.below_gap),
            ("short_prefix", self.short_prefix),
            ("no_error", self.no_error),
            ("same_answer", self.same_answer),
            ("over_cap", self.over_cap),
        ]
    }
}

impl Pairs {
    /// The pairs of a group.
    ///
    /// ```
    /// use rationale::select::{Candidate, Pairs};
    /// let right = Candidate { reward: 1.0, correct: Some(true), text: "2", tokens: &[7], ..Candidate::default() };
    /// let wrong = Candidate { reward: 0.0, correct: Some(false), text: "3", tokens: &[8], ..right };
    /// let built = Pairs::default().build(&[wrong, right]);
    /// assert_eq!((built.pairs[0].chosen, built.pairs[0].rejected), (1, 0));
    /// ```
    pub fn build(&self, group: &[Candidate]) -> Built {
        let mut dropped = Dropped { ungraded: self.ungraded(group), ..Dropped::default() };
        let mut found: Vec<Pair> = Vec::new();
        let everyone = 0..group.len();
        for chosen in everyone.clone() {
            let better = everyone.clone().filter(|&rejected| self.better(&group[chosen], &group[rejected]));
            found.extend(better.map(|rejected| pair(group, chosen, rejected)));
        }
        let counterfactual = self.kind == PairKind::GoldCounterfactual;
        let same = |candidate: &&Candidate| !candidate.gold && candidate.correct == Some(true);
        dropped.same_answer = if counterfactual { group.iter().filter(same).count() } else { 0 };
        if found.is_empty() && self.ungraded(group) < group.len() {
            let good = group.iter().any(|candidate| self.good(candidate, group));
            (dropped.none_good, dropped.none_bad) = (usize::from(!good), usize::from(good));
        }
        self.finished(found, group, dropped)
    }

    /// The pairs of a tree's leaves by `siblings`; `paths[i]` is the path of `group[i]` from the root.
    pub fn of_tree(&self, group: &[Candidate], paths: &[TreePath]) -> Built {
        let found = siblings(paths, 0.0).into_iter();
        let found: Vec<Pair> =
            found.map(|fork| Pair { gap: fork.gap, ..pair(group, fork.chosen, fork.rejected) }).collect();
        let none_bad = usize::from(found.is_empty() && !group.is_empty());
        self.finished(found, group, Dropped { none_bad, ..Dropped::default() })
    }

    fn finished(&self, mut found: Vec<Pair>, group: &[Candidate], mut dropped: Dropped) -> Built {
        let shared = self.kind == PairKind::SharedPrefix;
        dropped.identical = drop(&mut found, |p| group[p.chosen].tokens == group[p.rejected].tokens);
        // Copies of a pair stand beside each other where its texts decide the order.
        let once = self.kind == PairKind::Branches || self.matching == Matching::Random;
        let mut seen = HashSet::new();
        dropped.duplicate =
            drop(&mut found, |p| once && !seen.insert((group[p.chosen].tokens, group[p.rejected].tokens)));
        dropped.below_gap = drop(&mut found, |p| self.distance(group, &p) < self.min_gap);
        dropped.short_prefix = drop(&mut found, |p| shared && p.prefix < self.min_prefix);
        let (chosen, rejected) = (best(group, true, self.chosen), best(group, false, self.rejected));
        let taken = |index: &usize| chosen.contains(index) || rejected.contains(index);
        let capped = self.chosen.is_some() || self.rejected.is_some();
        let over = drop(&mut found, |p| capped && !(taken(&p.chosen) && taken(&p.rejected)));
        let found = self.sorted(found, group);
        let pairs = self.capped(&found, group.len());
        dropped.over_cap = over + found.len() - pairs.len();
        Built { pairs, dropped }
    }

    fn better(&self, a: &Candidate, b: &Candidate) -> bool {
        let (right, wrong) = (a.correct == Some(true), b.correct == Some(false));
        match self.kind {
            PairKind::CorrectWrong | PairKind::SharedPrefix | PairKind::FirstError => right && wrong,
            PairKind::Branches => right && wrong && same_cut(a, b),
            PairKind::Ranked => right && (wrong || b.correct == Some(true) && a.reward > b.reward),
            PairKind::GoldCounterfactual => a.gold && !b.gold && wrong,
            PairKind::ScoreMargin | PairKind::Siblings => a.reward > b.reward,
            PairKind::RatingMargin => right && wrong && a.rating.is_some() && b.rating.is_some(),
            PairKind::PathLabel => right && wrong && a.confidence.is_some() && b.confidence.is_some(),
        }
    }

    /// Whether a group without pairs at least has something good in it.
    fn good(&self, candidate: &Candidate, group: &[Candidate]) -> bool {
        match self.kind {
            // All rewards are equal: nothing is worse than the best.
            PairKind::ScoreMargin => group.iter().all(|other| other.reward <= candidate.reward),
            PairKind::GoldCounterfactual => candidate.gold,
            _ => candidate.correct == Some(true),
        }
    }

    fn ungraded(&self, group: &[Candidate]) -> usize {
        let graded = |candidate: &&Candidate| match self.kind {
            PairKind::ScoreMargin | PairKind::Siblings => true,
            PairKind::GoldCounterfactual => candidate.gold || candidate.correct.is_some(),
            PairKind::RatingMargin => candidate.correct.is_some() && candidate.rating.is_some(),
            PairKind::PathLabel => candidate.correct.is_some() && candidate.confidence.is_some(),
            PairKind::CorrectWrong
            | PairKind::Ranked
            | PairKind::SharedPrefix
            | PairKind::Branches
            | PairKind::FirstError => candidate.correct.is_some(),
        };
        group.len() - group.iter().filter(graded).count()
    }

    /// What `min_gap` is held against.
    fn distance(&self, group: &[Candidate], pair: &Pair) -> f64 {
        match (self.kind, group[pair.chosen].rating, group[pair.rejected].rating) {
            (PairKind::RatingMargin, Some(chosen), Some(rejected)) => (chosen - rejected).abs(),
            (PairKind::ScoreMargin | PairKind::Siblings, ..) => pair.gap,
            (PairKind::Ranked, ..) if group[pair.rejected].correct == Some(true) => pair.gap,
            _ => f64::INFINITY,
        }
    }

    fn sorted(&self, pairs: Vec<Pair>, group: &[Candidate]) -> Vec<Pair> {
        let key = |pair: &Pair| match self.matching {
            Matching::Order => [0.0, 0.0],
            Matching::Near => [edits(group, pair), 0.0],
            Matching::Far => [-edits(group, pair), 0.0],
            Matching::Score => [-group[pair.chosen].reward, -group[pair.rejected].reward],
            Matching::Confidence => {
                let of = |index: usize| -group[index].confidence.unwrap_or(0.0);
                [of(pair.chosen), of(pair.rejected)]
            }
            Matching::Gap => [-pair.gap, 0.0],
            Matching::Prefix => [-(pair.prefix as f64), 0.0],
            Matching::Random => {
                let of = |index: usize| {
                    let tokens = group[index].tokens.iter().map(|&token| u64::from(token));
                    seed::derive(&tokens.collect::<Vec<_>>())
                };
                [seed::uniform(seed::derive(&[of(pair.chosen), of(pair.rejected)])), 0.0]
            }
        };
        let mut keyed: Vec<([f64; 2], Pair)> = pairs.into_iter().map(|pair| (key(&pair), pair)).collect();
        // The sort is stable, and pairs were found in the order of the rollouts.
        keyed.sort_by(|(a, _), (b, _)| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        keyed.into_iter().map(|(_, pair)| pair).collect()
    }

    fn capped(&self, pairs: &[Pair], candidates: usize) -> Vec<Pair> {
        let mut uses = vec![0; candidates];
        let (most, each) = (self.per_example.unwrap_or(usize::MAX), self.per_rollout.unwrap_or(usize::MAX));
        let mut taken = Vec::new();
        for pair in pairs {
            if taken.len() < most && uses[pair.chosen] < each && uses[pair.rejected] < each {
                uses[pair.chosen] += 1;
                uses[pair.rejected] += 1;
                taken.push(*pair);
            }
        }
        taken
    }
}

/// Whether both go on from the same cut of the same completion.
fn same_cut(a: &Candidate, b: &Candidate) -> bool {
    let Some(at) = a.branched_at.filter(|_| a.branched_at == b.branched_at) else { return false };
    let kept = a.tokens.get(..at);
    kept.is_some() && kept == b.tokens.get(..at)
}

/// Of those that are right, or wrong, the `most` of highest reward, of equals the earlier.
fn best(group: &[Candidate], right: bool, most: Option<usize>) -> Vec<usize> {
    let mut of: Vec<usize> = (0..group.len()).filter(|&index| group[index].correct == Some(right)).collect();
    of.sort_by(|a, b| group[*b].reward.total_cmp(&group[*a].reward));
    of.truncate(most.unwrap_or(usize::MAX));
    of
}

fn pair(group: &[Candidate], chosen: usize, rejected: usize) -> Pair {
    let (better, worse) = (&group[chosen], &group[rejected]);
    let prefix = better.tokens.iter().zip(worse.tokens).take_while(|(a, b)| a == b).count();
    Pair { chosen, rejected, prefix, gap: better.reward - worse.reward }
}

/// Words to insert, delete or replace, by the longer text's words: between 0 and 1.
fn edits(group: &[Candidate], pair: &Pair) -> f64 {
    let words = |index: usize| -> Vec<&str> { group[index].text.split_whitespace().collect() };
    let (a, b) = (words(pair.chosen), words(pair.rejected));
    strsim::generic_levenshtein(&a, &b) as f64 / a.len().max(b.len()).max(1) as f64
}

#[cfg(test)]
mod tests;
