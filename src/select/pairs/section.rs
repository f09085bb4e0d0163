//! `[select.pairs]`: its keys, their defaults and which values they may have.

use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the rollouts of one example become pairs: `[select.pairs]`. Every pair that `kind` allows is looked at in the
/// order of `matching` and taken while the caps allow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pairs {
    /// Who is better than whom.
    pub kind: PairKind,
    /// Which pairs come first.
    pub matching: Matching,
    /// The least difference of rewards (`score_margin`, and of two correct answers `ranked`), ratings (`rating_margin`) or
    /// values of nodes (`siblings`).
    pub min_gap: f64,
    /// The least number of leading tokens that the two share (`shared_prefix`).
    pub min_prefix: usize,
    /// Pair only so many of an example's right rollouts, those of highest reward, of equals the earlier; all by default. For kinds that tell
    /// right from wrong by the answer.
    pub chosen: Option<usize>,
    /// Pair only so many of its wrong rollouts, likewise. Planning-based DPO (arXiv 2402.00658) takes 10 of each.
    pub rejected: Option<usize>,
    /// At most so many pairs of one example; no limit by default.
    pub per_example: Option<usize>,
    /// At most so many pairs with one and the same rollout in them; no limit by default. 1 uses each rollout once.
    pub per_rollout: Option<usize>,
}

/// Who is better than whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairKind {
    /// A correct answer is better than a wrong one.
    CorrectWrong,
    /// A reward is better than one that is smaller by at least `min_gap`, whatever the answers.
    ScoreMargin,
    /// A correct answer is better than a wrong one, and of two correct ones that whose reward is greater by at least
    /// `min_gap`: the ranking by the scores of a process (planning-based DPO, arXiv 2402.00658).
    Ranked,
    /// The answer is a rating: the gold one is better than one that is off by at least `min_gap` (self-rationalising
    /// judge, arXiv 2410.05495).
    RatingMargin,
    /// A correct answer is better than a wrong one that begins with the same `min_prefix` tokens: independent completions that
    /// happen to begin alike.
    SharedPrefix,
    /// A path through a rubric's questions (`rollout.tree.at = "questions"`) that comes to the human mark is better than one of
    /// the same answer that does not (thought trees, arXiv 2406.19949).
    PathLabel,
    /// A right continuation is better than a wrong one from the same cut of the same completion (reasoning paths optimisation, arXiv
    /// 2410.10858): of rollouts of `[rollout.prefix]` with `keep = "all"`. Of pairs of the same two texts there is one.
    Branches,
    /// The shortest good continuation is better than the first step that no continuation recovers from, after the steps
    /// before it (Self-Explore, arXiv 2404.10346): of rollouts of `[rollout.prefix]`, whose cuts were continued. Caps count
    /// wrong rollouts in their order.
    FirstError,
    /// Where a tree of `[rollout.tree]` forks, a node is better than its sibling whose value is smaller by at least
    /// `min_gap`: the best leaf below the one, the worst below the other. Caps count pairs in the order of their gaps.
    Siblings,
    /// The row's own completion is better than each rollout that comes to another answer: rationales that were made to, by
    /// `[rollout.remote]` or a column read by `[rollout.dataset]` (FRODO, arXiv 2402.13950).
    GoldCounterfactual,
}

/// Which pairs come first; of equals, those of earlier rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// In the order of the rollouts.
    Order,
    /// Those whose texts differ least: edit distance over words, by the longer one's length.
    Near,
    /// Those whose texts differ most.
    Far,
    /// The best chosen rollouts first, each with the best rejected ones.
    Score,
    /// The greatest differences of rewards first.
    Gap,
    /// The paths that most votes are for first, each with the wrong ones that most are for (`path_label`).
    Confidence,
    /// Those that part latest: the longest shared prefix first.
    Prefix,
    /// In an order of chance, which the tokens of the two decide, so that it is the same whenever they are looked at.
    Random,
}

impl Default for Pairs {
    fn default() -> Self {
        Self {
            kind: PairKind::CorrectWrong,
            matching: Matching::Order,
            min_gap: 0.0,
            min_prefix: 1,
            chosen: None,
            rejected: None,
            per_example: None,
            per_rollout: None,
        }
    }
}

impl Pairs {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        if !(self.min_gap >= 0.0 && self.min_gap.is_finite()) {
            found.push(Misfit::new("min_gap", "it must be a number of at least 0", ""));
        }
        if self.min_gap > 0.0
            && !matches!(
                self.kind,
                PairKind::ScoreMargin | PairKind::Ranked | PairKind::RatingMargin | PairKind::Siblings
            )
        {
            let message = "it is only for score_margin, ranked, rating_margin and siblings";
            found.push(Misfit::new("min_gap", message, "take it out"));
        }
        let best = [("chosen", self.chosen), ("rejected", self.rejected)];
        let by_answer = !matches!(
            self.kind,
            PairKind::ScoreMargin | PairKind::FirstError | PairKind::Siblings | PairKind::GoldCounterfactual
        );
        for (key, _) in best.iter().filter(|(_, cap)| cap.is_some() && !by_answer) {
            let message = "it is for kinds that pair right answers with wrong ones, such as ranked";
            found.push(Misfit::new(*key, message, "take it out, or use per_rollout"));
        }
        let of_pairs = [("per_example", self.per_example), ("per_rollout", self.per_rollout)];
        for (key, cap) in best.into_iter().chain(of_pairs) {
            if cap == Some(0) {
                found.push(Misfit::new(key, "it makes no pairs", "set at least 1, or take it out"));
            }
        }
        found
    }
}
