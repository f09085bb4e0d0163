//! Pair builders: which rollout of a group is to be preferred to which. Pure.

mod first_error;

pub use first_error::{StepPair, Unpaired, first_error};

use super::{Candidate, drop};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the rollouts of one example become pairs: `[select.pairs]`. Every pair that `kind` allows is looked at in the
/// order of `matching` and taken while the caps allow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pairs {
    /// Who is better than whom.
    pub kind: Kind,
    /// Which pairs come first.
    pub matching: Matching,
    /// The least difference of rewards (`score_margin`) or ratings (`rating_margin`).
    pub min_gap: f64,
    /// The least number of leading tokens that the two share (`shared_prefix`).
    pub min_prefix: usize,
    /// At most so many pairs of one example; no limit by default.
    pub per_example: Option<usize>,
    /// At most so many pairs with one and the same rollout in them; no limit by default. 1 uses each rollout once.
    pub per_rollout: Option<usize>,
}

/// Who is better than whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A correct answer is better than a wrong one.
    CorrectWrong,
    /// A reward is better than one that is smaller by at least `min_gap`, whatever the answers (planning-based DPO,
    /// arXiv 2402.00658).
    ScoreMargin,
    /// The answer is a rating: the gold one is better than one that is off by at least `min_gap` (self-rationalising
    /// judge, arXiv 2410.05495).
    RatingMargin,
    /// A correct answer is better than a wrong one that begins with the same `min_prefix` tokens (reasoning paths
    /// optimisation, arXiv 2410.10858).
    SharedPrefix,
    /// A path through a rubric's questions (`rollout.tree.at = "questions"`) that comes to the human mark is better than one of
    /// the same answer that does not (thought trees, arXiv 2406.19949).
    PathLabel,
    /// The shortest good continuation is better than the first step that no continuation recovers from, after the steps
    /// before it (Self-Explore, arXiv 2404.10346): of rollouts of `[rollout.prefix]`, whose cuts were continued. Caps count
    /// wrong rollouts in their order.
    FirstError,
}

/// Which pairs come first; of equals, those of earlier rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// Two rollouts of a group, by index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The better one.
    pub chosen: usize,
    /// The worse one.
    pub rejected: usize,
    /// How many leading tokens they share.
    pub prefix: usize,
    /// The difference of their rewards.
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
    /// Pairs closer than `min_gap`.
    pub below_gap: usize,
    /// Pairs that share fewer than `min_prefix` tokens.
    pub short_prefix: usize,
    /// Wrong rollouts without a step that no continuation recovers from (`first_error`).
    pub no_error: usize,
    /// Pairs beyond `per_rollout` or `per_example`.
    pub over_cap: usize,
}

impl Dropped {
    /// Each reason with its number.
    pub fn reasons(&self) -> [(&'static str, usize); 8] {
        [
            ("none_good", self.none_good),
            ("none_bad", self.none_bad),
            ("ungraded", self.ungraded),
            ("identical", self.identical),
            ("below_gap", self.below_gap),
            ("short_prefix", self.short_prefix),
            ("no_error", self.no_error),
            ("over_cap", self.over_cap),
        ]
    }
}

impl Default for Pairs {
    fn default() -> Self {
        Self {
            kind: Kind::CorrectWrong,
            matching: Matching::Order,
            min_gap: 0.0,
            min_prefix: 1,
            per_example: None,
            per_rollout: None,
        }
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
        if found.is_empty() && self.ungraded(group) < group.len() {
            let good = group.iter().any(|candidate| self.good(candidate, group));
            (dropped.none_good, dropped.none_bad) = (usize::from(!good), usize::from(good));
        }
        let shared = self.kind == Kind::SharedPrefix;
        dropped.identical = drop(&mut found, |p| group[p.chosen].tokens == group[p.rejected].tokens);
        dropped.below_gap = drop(&mut found, |p| self.distance(group, &p) < self.min_gap);
        dropped.short_prefix = drop(&mut found, |p| shared && p.prefix < self.min_prefix);
        let found = self.sorted(found, group);
        let pairs = self.capped(&found, group.len());
        dropped.over_cap = found.len() - pairs.len();
        Built { pairs, dropped }
    }

    /// What is wrong with this section, in the words of the recipe.
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::Recipe(format!("select.pairs.{text}")));
        if !(self.min_gap >= 0.0 && self.min_gap.is_finite()) {
            return refuse(format!("min_gap = {}: must be a number of at least 0", self.min_gap));
        }
        if self.min_gap > 0.0 && !matches!(self.kind, Kind::ScoreMargin | Kind::RatingMargin) {
            return refuse("min_gap: only for score_margin and rating_margin; take it out".into());
        }
        for (key, cap) in [("per_example", self.per_example), ("per_rollout", self.per_rollout)] {
            if cap == Some(0) {
                return refuse(format!("{key} = 0: makes no pairs; set at least 1, or take it out"));
            }
        }
        Ok(())
    }

    fn better(&self, a: &Candidate, b: &Candidate) -> bool {
        match self.kind {
            Kind::CorrectWrong | Kind::SharedPrefix | Kind::FirstError => {
                a.correct == Some(true) && b.correct == Some(false)
            }
            Kind::PathLabel => {
                a.correct == Some(true)
                    && b.correct == Some(false)
                    && a.confidence.is_some()
                    && b.confidence.is_some()
            }
            Kind::ScoreMargin => a.reward > b.reward,
            Kind::RatingMargin => {
                a.correct == Some(true)
                    && b.correct == Some(false)
                    && a.rating.is_some()
                    && b.rating.is_some()
            }
        }
    }

    /// Whether a group without pairs at least has something good in it.
    fn good(&self, candidate: &Candidate, group: &[Candidate]) -> bool {
        match self.kind {
            // All rewards are equal: nothing is worse than the best.
            Kind::ScoreMargin => group.iter().all(|other| other.reward <= candidate.reward),
            _ => candidate.correct == Some(true),
        }
    }

    fn ungraded(&self, group: &[Candidate]) -> usize {
        let graded = |candidate: &&Candidate| match self.kind {
            Kind::ScoreMargin => true,
            Kind::RatingMargin => candidate.correct.is_some() && candidate.rating.is_some(),
            Kind::PathLabel => candidate.correct.is_some() && candidate.confidence.is_some(),
            Kind::CorrectWrong | Kind::SharedPrefix | Kind::FirstError => candidate.correct.is_some(),
        };
        group.len() - group.iter().filter(graded).count()
    }

    /// What `min_gap` is held against.
    fn distance(&self, group: &[Candidate], pair: &Pair) -> f64 {
        match (self.kind, group[pair.chosen].rating, group[pair.rejected].rating) {
            (Kind::RatingMargin, Some(chosen), Some(rejected)) => (chosen - rejected).abs(),
            (Kind::ScoreMargin, ..) => pair.gap,
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
