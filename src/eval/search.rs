//! Accuracy against the number of completions that a search looks among, with majority voting beside it.
//!
//! All is estimated from one set of n completions a question. The best of k is exact: over all choices of k it is the mean of a
//! closed form, as pass@k is (Chen et al. 2021). Votes have none: they are counted over all choices of k where these are few,
//! and over choices drawn at random where they are many, which leaves no bias either.

use super::statistics::{mean, pass_at_k};
use super::stopping::{Ended, Stopping};
use crate::data::order::below;
use crate::error::{Error, Result};
use crate::log::number_or_nan;
use crate::reward::answer;
use crate::rollout::search::{Ending, Rule, SearchResult, scores};
use crate::rollout::{Group, Prompted, Rollout, SamplingContext, Search as Searching, independent};
use crate::seed;
use crate::select::vote::vote;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Choices of k that are counted, at most; more are drawn from.
const CHOICES: usize = 1000;

/// Accuracy by the number of completions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The kind that the recipe searches by.
    pub kind: String,
    /// The completions that it looks among.
    pub n: usize,
    /// Accuracy by kind (`best_of`, `weighted_vote`, `maj`, `pass`, `beam`, `guided`), then by number: 1, 2, 4, … n.
    pub accuracy: BTreeMap<String, BTreeMap<usize, f64>>,
    /// Tokens sampled for a question by a search among n.
    #[serde(deserialize_with = "number_or_nan")]
    pub tokens: f64,
    /// Accuracy over tokens, of a search that ends reasoning early.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stopping: Vec<Stopping>,
}

/// What a search found of one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Searched {
    /// Accuracy by kind, then by number.
    pub accuracy: BTreeMap<String, BTreeMap<usize, f64>>,
    /// Tokens sampled, on average over the questions that were asked together.
    pub tokens: f64,
    /// How it ended by each rule of a search that ends reasoning.
    pub ended: Vec<Ended>,
}

impl Search {
    /// The figures of all questions, by a search of this name among `n`. A kind that one question refuses has no accuracy.
    pub fn of(kind: &str, n: usize, questions: &[Searched]) -> Self {
        let mut accuracy = questions.first().map(|one| one.accuracy.clone()).unwrap_or_default();
        accuracy.retain(|kind, points| {
            points.retain(|k, _| {
                questions
                    .iter()
                    .all(|one| one.accuracy.get(kind).is_some_and(|points| points.contains_key(k)))
            });
            !points.is_empty()
        });
        for (kind, points) in &mut accuracy {
            points
                .iter_mut()
                .for_each(|(k, share)| *share = mean(questions.iter().map(|one| one.accuracy[kind][k])));
        }
        let tokens = mean(questions.iter().map(|one| one.tokens));
        let stopping = Stopping::of(&questions.iter().map(|one| one.ended.as_slice()).collect::<Vec<_>>());
        Self { kind: kind.to_string(), n, accuracy, tokens, stopping }
    }

    /// The mean of several repeats.
    pub fn mean(repeats: &[Self]) -> Option<Self> {
        let mut found = repeats.first()?.clone();
        let all = |of: &dyn Fn(&Self) -> f64| mean(repeats.iter().map(of));
        found.tokens = all(&|one| one.tokens);
        found.stopping =
            Stopping::mean(&repeats.iter().map(|one| one.stopping.as_slice()).collect::<Vec<_>>());
        found.accuracy.retain(|kind, _| repeats.iter().all(|one| one.accuracy.contains_key(kind)));
        for (kind, points) in &mut found.accuracy {
            points.iter_mut().for_each(|(n, share)| *share = all(&|one| one.accuracy[kind][n]));
        }
        Some(found)
    }

    /// What the recipe's kind gains over the majority vote of as many completions.
    pub fn gain(&self, kind: &str) -> Option<f64> {
        let at = |kind: &str| self.accuracy.get(kind)?.get(&self.n);
        Some(at(kind)? - at("maj")?)
    }

    /// The figures under their names in `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let mut out: Vec<(String, f64)> = Vec::new();
        for (kind, points) in &self.accuracy {
            out.extend(points.iter().map(|(n, share)| (format!("eval/{kind}@{n}"), *share)));
            let gain = self.gain(kind).filter(|_| !["maj", "pass"].contains(&kind.as_str()));
            out.extend(gain.map(|gain| (format!("eval/{kind}_gain"), gain)));
        }
        out.extend(self.stopping.iter().flat_map(Stopping::metrics));
        out.push(("eval/search_tokens".to_string(), self.tokens));
        out
    }
}

/// What `search` finds for each of `questions`, and the accuracy against its `n`. Kinds that go step by step search again for
/// every smaller number; the independent completions beside them are sampled once.
pub fn search(
    search: &dyn Searching,
    questions: &[Prompted],
    context: &mut SamplingContext,
    seed: u64,
) -> Result<(Vec<Group>, Vec<Searched>)> {
    let before = context.tokens;
    if let Some(endings) = search.endings(questions, context)? {
        let tokens = (context.tokens - before) as f64 / questions.len() as f64;
        return ended(questions, endings, tokens);
    }
    let found = search.find(questions, context)?;
    let tokens = (context.tokens - before) as f64 / questions.len() as f64;
    let picks = search.picks();
    let beside = match picks.independent {
        true => found.iter().map(|found| found.group.clone()).collect(),
        false => independent::sample(questions, picks.n, context)?.0,
    };
    let samples =
        beside.iter().map(|group| ScoredSamples::of(group, picks.by)).collect::<Result<Vec<_>>>()?;
    let mut searched = vec![Searched { accuracy: BTreeMap::new(), tokens, ended: vec![] }; questions.len()];
    let mut note = |question: usize, kind: &str, k: usize, share: f64| {
        searched[question].accuracy.entry(kind.to_string()).or_default().insert(k, share);
    };
    for k in numbers(picks.n) {
        for (question, samples) in samples.iter().enumerate() {
            let of_question = samples.accuracy(k, seed::derive(&[seed, questions[question].place as u64]));
            let by_scores = |kind: &str| ["best_of", "weighted_vote"].contains(&kind);
            let found = of_question.into_iter().filter(|(kind, _)| picks.judged || !by_scores(kind));
            found.for_each(|(kind, share)| note(question, kind, k, share));
        }
        if k == 1 {
            for (question, samples) in samples.iter().enumerate() {
                let of_variants = by_variant(search, &samples.correct);
                of_variants.into_iter().for_each(|(variant, share)| note(question, &variant, 1, share));
            }
        }
        if !picks.independent {
            let groups: Vec<Group> = match k == picks.n {
                true => found.iter().cloned().map(SearchResult::answer).collect(),
                false => {
                    search.with(k).find(questions, context)?.into_iter().map(SearchResult::answer).collect()
                }
            };
            for (question, group) in groups.iter().enumerate() {
                let right = right(group, &group.rollouts[0])?;
                note(question, search.name(), k, f64::from(u8::from(right)));
            }
        }
    }
    Ok((found.into_iter().map(SearchResult::answer).collect(), searched))
}

/// The share of right samples of each variant, where samples have some.
fn by_variant(search: &dyn Searching, correct: &[bool]) -> BTreeMap<String, f64> {
    let mut shares: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (sample, right) in correct.iter().enumerate() {
        let Some(name) = search.variant(sample) else { continue };
        shares.entry(format!("variant_{name}")).or_default().push(f64::from(u8::from(*right)));
    }
    shares.into_iter().map(|(name, shares)| (name, mean(shares))).collect()
}

/// The completions that a search which ends reasoning finds, and how they end by its rules.
fn ended(
    questions: &[Prompted],
    endings: Vec<Vec<Ending>>,
    tokens: f64,
) -> Result<(Vec<Group>, Vec<Searched>)> {
    let (mut groups, mut searched) = (Vec::new(), Vec::new());
    for (question, endings) in questions.iter().zip(endings) {
        let all = Group::of(question, vec![]);
        let of = |ending: &Ending| {
            let (rule, stopped, tokens) = (ending.rule, ending.stopped, ending.rollout.tokens.len());
            Ok(Ended { rule, right: right(&all, &ending.rollout)?, tokens, stopped })
        };
        let ended = endings.iter().map(of).collect::<Result<Vec<_>>>()?;
        let found = endings.into_iter().find(|ending| ending.rule != Rule::Whole);
        groups.push(Group {
            rollouts: found.into_iter().map(|ending| ending.rollout).collect(),
            ..all.clone()
        });
        searched.push(Searched { accuracy: BTreeMap::new(), tokens, ended });
    }
    Ok((groups, searched))
}

/// Whether a rollout's answer is the gold one.
pub(super) fn right(group: &Group, rollout: &Rollout) -> Result<bool> {
    answer::correct(&group.example, rollout).ok_or_else(|| {
        Error::Data(format!(
            "{}: it has no gold answer to evaluate against; add an `answer` column",
            group.example
        ))
    })
}

/// 1, 2, 4, … and n itself.
///
/// ```
/// use rationale::eval::search::numbers;
/// assert_eq!(numbers(12), [1, 2, 4, 8, 12]);
/// ```
pub fn numbers(n: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> =
        std::iter::successors(Some(1), |k| Some(2 * k)).take_while(|&k| k < n).collect();
    numbers.push(n);
    numbers
}

/// The completions of one question, as a search sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredSamples {
    /// The answer of each, as a class of equal ones.
    pub answers: Vec<Option<usize>>,
    /// Whether it is right.
    pub correct: Vec<bool>,
    /// What the judge says of it.
    pub scores: Vec<f64>,
}

impl ScoredSamples {
    fn of(group: &Group, by: Option<&str>) -> Result<Self> {
        let right = |rollout| right(group, rollout);
        Ok(Self {
            answers: group.classes(),
            correct: group.rollouts.iter().map(right).collect::<Result<_>>()?,
            scores: scores(group, by)?,
        })
    }

    /// The accuracy of each kind of search among `k` of the completions, in expectation over all choices of k. The weighted
    /// vote is left out where a score is negative.
    pub fn accuracy(&self, k: usize, seed: u64) -> BTreeMap<&'static str, f64> {
        let right = self.correct.iter().filter(|&&right| right).count();
        let choices = choices(self.correct.len(), k, seed);
        let voted = |weights: &dyn Fn(usize) -> f64| {
            let right = |choice: &Vec<usize>| {
                let answers: Vec<Option<usize>> = choice.iter().map(|&i| self.answers[i]).collect();
                let weights: Vec<f64> = choice.iter().map(|&i| weights(i)).collect();
                let right = vote(&answers, &weights).is_some_and(|(first, _)| self.correct[choice[first]]);
                f64::from(u8::from(right))
            };
            mean(choices.iter().map(right))
        };
        let mut found = BTreeMap::from([
            ("best_of", best_of_k(&self.scores, &self.correct, k)),
            ("maj", voted(&|_| 1.0)),
            ("pass", pass_at_k(self.correct.len(), right, k)),
        ]);
        if self.scores.iter().all(|score| *score >= 0.0) {
            found.insert("weighted_vote", voted(&|index| self.scores[index]));
        }
        found
    }
}

/// The probability that the best-scored of `k` of the completions is right, over all choices of k: sorted by score, the best of a
/// choice stands in block j (completions of one score) with probability (C(n − above, k) − C(n − above − size, k)) / C(n, k),
/// and is any of the block alike.
pub fn best_of_k(scores: &[f64], correct: &[bool], k: usize) -> f64 {
    let n = scores.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    // C(n − above, k) / C(n, k): that none of the `above` best is among the k.
    let none_of = |above: usize| 1.0 - pass_at_k(n, above, k);
    let mut above = 0;
    let of_block = |block: &[usize]| {
        let right = mean(block.iter().map(|&index| f64::from(u8::from(correct[index]))));
        let probability = none_of(above) - none_of(above + block.len());
        above += block.len();
        probability * right
    };
    order.chunk_by(|&a, &b| scores[a] == scores[b]).map(of_block).sum()
}

/// All choices of `k` of `n`, in the order of the completions, where there are at most [`CHOICES`]; so many random ones where
/// there are more.
fn choices(n: usize, k: usize, seed: u64) -> Vec<Vec<usize>> {
    let count = (0..k).fold(1.0, |count, i| count * (n - i) as f64 / (i + 1) as f64);
    if count <= CHOICES as f64 + 0.5 {
        return all(n, k);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed::derive(&[seed, k as u64]));
    let mut drawn = || {
        let mut pool: Vec<usize> = (0..n).collect();
        for place in 0..k {
            pool.swap(place, place + below(&mut random, (n - place) as u64) as usize);
        }
        pool.truncate(k);
        pool.sort_unstable();
        pool
    };
    (0..CHOICES).map(|_| drawn()).collect()
}

fn all(n: usize, k: usize) -> Vec<Vec<usize>> {
    if k == 0 {
        return vec![vec![]];
    }
    let with_last = |last: usize| {
        all(last, k - 1).into_iter().map(move |mut choice| {
            choice.push(last);
            choice
        })
    };
    (k - 1..n).flat_map(with_last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;

    fn samples() -> ScoredSamples {
        ScoredSamples {
            answers: [7, 8, 7, 9].map(Some).to_vec(),
            correct: vec![true, false, true, false],
            scores: vec![0.2, 0.9, 0.5, 0.1],
        }
    }

    #[test]
    fn the_best_of_k_is_a_closed_form() {
        let ScoredSamples { correct, scores, .. } = samples();
        // Best first: 8 (wrong), 7, 7, 9. Of the 6 pairs 3 have the 8; of the other 3 two have a 7 of 0.5, one of 0.2: all right.
        near(best_of_k(&scores, &correct, 1), 0.5, 1e-9);
        near(best_of_k(&scores, &correct, 2), 0.5, 1e-9);
        // Three of four triples have the 8.
        near(best_of_k(&scores, &correct, 3), 0.25, 1e-9);
        near(best_of_k(&scores, &correct, 4), 0.0, 1e-9);
        // Equal scores: either of the two is taken.
        near(best_of_k(&[1.0, 1.0, 0.0], &[true, false, true], 2), (0.5 + 2.0 * 0.5) / 3.0, 1e-9);
    }

    #[test]
    fn votes_are_counted_over_all_choices() {
        let found = samples().accuracy(3, 0);
        // Triples: {7,8,7} → 7; {7,8,9}: the first, 7; {7,7,9} → 7; {8,7,9}: 8. The weights: 0.7 against 0.9 → 8; 8; 7; 8.
        near(found["maj"], 0.75, 1e-9);
        near(found["weighted_vote"], 0.25, 1e-9);
        near(found["best_of"], 0.25, 1e-9);
        near(found["pass"], 1.0, 1e-9);
        // All four: 7 has two voices, and 0.7 against 0.9 of the 8.
        let all = samples().accuracy(4, 0);
        assert_eq!([all["maj"], all["weighted_vote"], all["best_of"]], [1.0, 0.0, 0.0]);
        let negative = ScoredSamples { scores: vec![-1.0, 0.0, 0.0, 0.0], ..samples() };
        assert!(!negative.accuracy(2, 0).contains_key("weighted_vote"));
    }

    #[test]
    fn choices_are_all_or_random_and_distinct() {
        assert_eq!(all(4, 2), [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]);
        // C(16, 8) = 12 870.
        let drawn = choices(16, 8, 3);
        assert_eq!(drawn.len(), CHOICES);
        for mut choice in drawn.clone() {
            choice.sort_unstable();
            choice.dedup();
            assert_eq!(choice.len(), 8);
        }
        assert_eq!(choices(16, 8, 3), drawn);
        // Each is in half of them: 500 ± 5 standard deviations of 16.
        let with_first = drawn.iter().filter(|choice| choice.contains(&0)).count();
        assert!((420..580).contains(&with_first), "{with_first}");
    }

    #[test]
    fn the_gain_is_over_the_majority_of_as_many() {
        let by_n = |share: f64| BTreeMap::from([(1, 0.5), (4, share)]);
        let accuracy = [("best_of", 0.9), ("maj", 0.6), ("pass", 1.0)];
        let accuracy = accuracy.map(|(kind, share)| (kind.to_string(), by_n(share))).into();
        let search = Search { kind: "best_of".into(), n: 4, accuracy, tokens: 40.0, stopping: vec![] };
        near(search.gain("best_of").unwrap(), 0.3, 1e-9);
        let metrics: BTreeMap<String, f64> = search.metrics().into_iter().collect();
        near(metrics["eval/best_of_gain"], 0.3, 1e-9);
        assert_eq!((metrics["eval/maj@4"], metrics["eval/best_of@1"]), (0.6, 0.5));
        assert!(!metrics.contains_key("eval/pass_gain"));
    }
}
