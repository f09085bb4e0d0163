//! Which wrong rollout of a tree of prefixes is searched next: OmegaPRM's priorities (Luo et al. 2024, arXiv 2406.06592).

use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[rollout.prefix.tree]`, for `cuts = "tree"`. A state s is a prefix with its Monte-Carlo value MC(s), the share of its k
/// continuations that are good; a wrong continuation r of a state with 0 < MC(s) < 1 is searched in the order of
/// α^(1 − MC(s)) · β^(len(r) / L) + c · √ΣN / (1 + N(s)), where N(s) counts the searches that began at s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrefixTree {
    /// Searches of a question at most.
    pub searches: usize,
    /// Completions and continuations of a question at most: no search begins once there are so many.
    pub rollouts: usize,
    /// α in (0, 1]: the lower, the more those are preferred whose state mostly succeeds.
    pub alpha: f64,
    /// β in (0, 1]: the lower, the more short ones are preferred.
    pub beta: f64,
    /// L: the tokens that β stands for.
    pub length: f64,
    /// c: how much states are preferred that were seldom searched from.
    pub exploration: f64,
}

impl Default for PrefixTree {
    fn default() -> Self {
        Self { searches: 20, rollouts: 200, alpha: 0.5, beta: 0.9, length: 500.0, exploration: 0.125 }
    }
}

impl PrefixTree {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let share = |value: f64| value > 0.0 && value <= 1.0;
        broken(&[
            (self.searches > 0, "searches", "at least one is needed"),
            (self.rollouts > 0, "rollouts", "at least one is needed"),
            (share(self.alpha), "alpha", "it must be more than 0 and at most 1"),
            (share(self.beta), "beta", "it must be more than 0 and at most 1"),
            (
                self.length > 0.0 && self.length.is_finite(),
                "length",
                "it must be a number of tokens above 0, such as 500",
            ),
            (
                self.exploration >= 0.0 && self.exploration.is_finite(),
                "exploration",
                "it must be a finite number from 0 on, such as 0.125",
            ),
        ])
    }
}

/// A wrong rollout that may be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchCandidate {
    /// The state that it continues.
    pub state: usize,
    /// Its number among the question's rollouts.
    pub rollout: usize,
    /// Tokens that were sampled behind the state.
    pub length: usize,
}

/// The states of a question, and the rollouts that are left to search.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    section: PrefixTree,
    /// MC(s) and N(s) of each state.
    states: Vec<(f64, usize)>,
    open: Vec<SearchCandidate>,
}

impl Pool {
    /// No states yet.
    pub fn new(section: &PrefixTree) -> Self {
        Self { section: section.clone(), states: Vec::new(), open: Vec::new() }
    }

    /// A new state, its number; `wrong` are its wrong continuations, as (number, tokens). Where all are wrong or none is,
    /// there is nothing to be searched.
    pub fn add(&mut self, value: f64, wrong: impl IntoIterator<Item = (usize, usize)>) -> usize {
        let state = self.states.len();
        self.states.push((value, 0));
        if value > 0.0 && value < 1.0 {
            let candidate = |(rollout, length)| SearchCandidate { state, rollout, length };
            self.open.extend(wrong.into_iter().map(candidate));
        }
        state
    }

    /// Q(s, r) + U(s).
    ///
    /// ```
    /// use rationale::rollout::prefix::{SearchCandidate, Pool, PrefixTree};
    /// let mut pool = Pool::new(&PrefixTree::default());
    /// let state = pool.add(0.5, []);
    /// // 0.5^0.5 · 0.9^(250 / 500) + 0.125 · √0 / 1.
    /// let priority = pool.priority(&SearchCandidate { state, rollout: 0, length: 250 });
    /// assert!((priority - (0.5f64 * 0.9).sqrt()).abs() < 1e-12);
    /// ```
    pub fn priority(&self, candidate: &SearchCandidate) -> f64 {
        let PrefixTree { alpha, beta, length, exploration, .. } = self.section;
        let (value, visits) = self.states[candidate.state];
        let all: usize = self.states.iter().map(|(_, visits)| visits).sum();
        let quality = alpha.powf(1.0 - value) * beta.powf(candidate.length as f64 / length);
        quality + exploration * (all as f64).sqrt() / (1.0 + visits as f64)
    }

    /// Takes out the candidate of the highest priority, of equals the earliest, and counts a search of its state.
    pub fn take(&mut self) -> Option<SearchCandidate> {
        let by_priority = |a: &usize, b: &usize| {
            self.priority(&self.open[*a]).total_cmp(&self.priority(&self.open[*b])).then(b.cmp(a))
        };
        let best = (0..self.open.len()).max_by(by_priority)?;
        let candidate = self.open.remove(best);
        self.states[candidate.state].1 += 1;
        Some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_follows_values_lengths_and_visits() {
        // exploration = 0: Q alone. From MC = 3/4: 0.5^(1/4) = 0.841, from MC = 1/4: 0.5^(3/4) = 0.595. 100 tokens more
        // cost a factor of 0.9^(1/5) = 0.979.
        let section = PrefixTree { exploration: 0.0, ..PrefixTree::default() };
        let mut pool = Pool::new(&section);
        pool.add(0.25, [(0, 10)]);
        pool.add(0.75, [(1, 110), (2, 10), (3, 10)]);
        pool.add(1.0, [(4, 1)]);
        pool.add(0.0, [(5, 1)]);
        let order: Vec<usize> =
            std::iter::from_fn(|| pool.take()).map(|candidate| candidate.rollout).collect();
        assert_eq!(
            order,
            [2, 3, 1, 0],
            "of equals the earlier; states of value 0 or 1 have nothing to search"
        );
    }

    #[test]
    fn a_state_that_was_searched_gives_way() {
        // After one search from state 1, ΣN = 1: U is 1 · √1 / 2 there and 1 · √1 / 1 at state 0; Q differs by 0.841 − 0.595.
        let section = PrefixTree { exploration: 1.0, ..PrefixTree::default() };
        let mut pool = Pool::new(&section);
        pool.add(0.25, [(0, 10)]);
        pool.add(0.75, [(1, 10), (2, 10)]);
        assert_eq!(pool.take().unwrap().rollout, 1);
        assert_eq!(pool.take().unwrap().rollout, 0);
        let left = SearchCandidate { state: 1, rollout: 2, length: 10 };
        let expected = 0.5f64.powf(0.25) * 0.9f64.powf(0.02) + 2f64.sqrt() / 2.0;
        assert!((pool.priority(&left) - expected).abs() < 1e-12);
    }

    #[test]
    fn the_section_is_checked() {
        let text = "alpha = 0\nbeta = 1.5\nlength = 0\nexploration = -1\nsearches = 0";
        let found = toml::from_str::<PrefixTree>(text).unwrap().check();
        let keys: Vec<&str> = found.iter().map(|misfit| misfit.key.as_str()).collect();
        assert_eq!(keys, ["searches", "alpha", "beta", "length", "exploration"]);
    }
}
