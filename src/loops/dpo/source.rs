//! Where preferences come from: rows that state them, traces of an earlier stage, or fresh rollouts.

use super::{Dpo, Weigh, first_error};
use crate::data::row::Problems;
use crate::data::{Dataset, Example, Feedback, FeedbackCompletion};
use crate::error::{Error, Result};
use crate::loops::Worker;
use crate::loops::selection::{candidates, own_completion};
use crate::ranks::gathered;
use crate::rationale::Format;
use crate::rollout::trace::{self, NoTraces};
use crate::rollout::{Group, Rollout};
use crate::select::pairs::{Built, Dropped, PairKind, TreePath};
use crate::select::{Candidate, Select};
use crate::statistics::{Sum, alone};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many pairs a builder made, and what it left out by reason.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// Pairs, or labelled completions.
    pub built: usize,
    /// What became none, by reason.
    pub dropped: BTreeMap<&'static str, usize>,
    /// Pairs whose rejected path nobody voted for (`rollout.tree.schema.synthetic`).
    pub synthetic: usize,
}

impl Counts {
    /// `3 none_good, 2 over_cap`.
    fn reasons(&self) -> String {
        let some = self.dropped.iter().filter(|(_, count)| **count > 0);
        some.map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
    }
}

impl Dpo {
    /// The rows as examples with [`Feedback`]: as they stand where they state preferences, else built from traces of the
    /// same example.
    ///
    /// # Errors
    /// [`Error::Data`] where the rows are neither, or give no pairs.
    pub(super) fn prepare(
        &self,
        rows: Dataset,
        select: &Select,
        format: &Format,
    ) -> Result<(Dataset, Counts)> {
        let stated = |example: &Arc<Example>| self.states(example);
        if rows.examples.iter().all(stated) {
            return Ok((rows, Counts::default()));
        }
        let groups = match trace::groups(&rows.examples, format) {
            Ok(groups) => groups,
            Err(no) => return self.unstated(&rows, no).into_result().map(|()| (rows, Counts::default())),
        };
        let (mut feedback, counts) = self.feedback(&groups, select);
        self.weigh(&groups, &mut feedback, None)?;
        let mut examples = Vec::new();
        for (group, all) in groups.iter().zip(feedback) {
            for (number, one) in all.into_iter().enumerate() {
                let id = format!("{}/{number}", group.example.id);
                let index = examples.len();
                examples.push(Arc::new(Example {
                    id,
                    index,
                    feedback: Some(one),
                    ..(*group.example).clone()
                }));
            }
        }
        if examples.is_empty() {
            return Err(Error::Data(format!(
                "{}: [select] and [select.pairs] make no pairs of the traces of {} examples ({})",
                rows.name,
                groups.len(),
                counts.reasons()
            )));
        }
        Ok((Dataset { name: rows.name, examples }, counts))
    }

    /// What is wrong with each row that neither states a preference nor is a trace to build some from.
    fn unstated(&self, rows: &Dataset, no: NoTraces) -> Problems {
        let mut problems = Problems::default();
        let columns =
            if self.loss.unpaired() { "`completion` and `label`" } else { "`chosen` and `rejected`" };
        for (row, lacks) in no.rows {
            let row = &rows.examples[row];
            if self.states(row) && !no.mixed {
                continue;
            }
            problems.example(
                row,
                match row.fields.get("label").filter(|_| self.loss.unpaired() && !self.states(row)) {
                    Some(label) => format!("`label` must be true or false (or 1 or 0, yes or no), not {label}"),
                    None if self.states(row) => {
                        format!("it has {columns}, and others are traces to build pairs from; learn from them apart")
                    }
                    None if self.loss.unpaired() && row.fields.contains_key("completion") => {
                        format!(
                            "its `label` is missing or null: give true for a good completion and false for a bad one, or leave the row out (nor is \
                             it a trace to build pairs from: {lacks})"
                        )
                    }
                    None => format!("it has no {columns}, and is no trace to build pairs from ({lacks})"),
                },
            );
        }
        problems
    }

    /// Whether a row says itself what is to be preferred.
    pub(super) fn states(&self, example: &Example) -> bool {
        match &example.feedback {
            Some(Feedback::Pair { .. }) => true,
            Some(Feedback::Label { .. }) => self.loss.unpaired(),
            None => false,
        }
    }

    /// What is learned from each group, with counts over all of them.
    pub fn feedback(&self, groups: &[Group], select: &Select) -> (Vec<Vec<Feedback>>, Counts) {
        let mut counts = Counts::default();
        let mut all: Vec<Vec<Feedback>> = Vec::with_capacity(groups.len());
        for group in groups {
            let candidates = candidates(group);
            let kept = select.keep(&candidates);
            let candidates: Vec<Candidate> = kept.iter().map(|&index| candidates[index]).collect();
            *counts.dropped.entry("filtered").or_default() += group.rollouts.len() - kept.len();
            let (feedback, dropped) = match select.pairs.kind {
                _ if self.loss.unpaired() => labels(&candidates),
                PairKind::FirstError => {
                    first_error::pairs(group, &kept, select.pairs.per_example.unwrap_or(usize::MAX))
                }
                PairKind::Siblings => {
                    let built = select.pairs.of_tree(&candidates, &paths(group, &kept));
                    self.feedback_of(&candidates, built)
                }
                PairKind::GoldCounterfactual => {
                    let candidates: Vec<Candidate> = own_completion(&group.example)
                        .into_iter()
                        .chain(candidates.iter().copied())
                        .collect();
                    self.feedback_of(&candidates, select.pairs.build(&candidates))
                }
                _ => self.feedback_of(&candidates, select.pairs.build(&candidates)),
            };
            for (reason, count) in dropped.reasons() {
                *counts.dropped.entry(reason).or_default() += count;
            }
            counts.built += feedback.len();
            let texts: Vec<&str> =
                candidates.iter().filter(|c| c.confidence == Some(0.0)).map(|c| c.text).collect();
            counts.synthetic += feedback.iter().filter(|one| rejects(one, &texts)).count();
            all.push(feedback);
        }
        (all, counts)
    }

    /// Lets pairs count as `weigh` says, over the groups of all ranks where there is a `worker`.
    pub(super) fn weigh(
        &self,
        groups: &[Group],
        all: &mut [Vec<Feedback>],
        worker: Option<&Worker>,
    ) -> Result<()> {
        match (self.weigh, worker) {
            (Weigh::Pairs, _) => {}
            (Weigh::Questions, None) => weigh_questions(all, &mut alone),
            (Weigh::Questions, Some(worker)) => worker.over_ranks(|sum| weigh_questions(all, sum))?,
            (Weigh::Answers, _) => {
                let own = pairs_by_answer(groups, all);
                let counts = match worker {
                    None => own,
                    Some(worker) => gathered(&*worker.ranks, own)?.concat(),
                };
                weigh_answers(groups, all, &counts);
            }
        }
        Ok(())
    }

    fn feedback_of(&self, candidates: &[Candidate], built: Built) -> (Vec<Feedback>, Dropped) {
        let feedback = built.pairs.iter().map(|pair| Feedback::Pair {
            chosen: completion(&candidates[pair.chosen]),
            rejected: completion(&candidates[pair.rejected]),
            weight: 1.0,
            margin: self.reward_margin * pair.gap,
            why: None,
        });
        (feedback.collect(), built.dropped)
    }
}

fn rejects(feedback: &Feedback, texts: &[&str]) -> bool {
    matches!(feedback, Feedback::Pair { rejected, .. } if texts.contains(&rejected.text.as_str()))
}

/// The ways of the `kept` leaves of a tree from its root.
fn paths(group: &Group, kept: &[usize]) -> Vec<TreePath> {
    let path = |rollout: &Rollout| TreePath {
        nodes: rollout.forks.iter().map(|fork| (fork.node, fork.value)).collect(),
        reward: rollout.reward,
        tokens: rollout.tokens.len(),
    };
    kept.iter().map(|&index| path(&group.rollouts[index])).collect()
}

/// Every rollout whose answer can be told right from wrong, as good or bad.
fn labels(candidates: &[Candidate]) -> (Vec<Feedback>, Dropped) {
    let label = |candidate: &Candidate| {
        Some(Feedback::Label { completion: completion(candidate), good: candidate.correct?, weight: 1.0 })
    };
    let labels: Vec<Feedback> = candidates.iter().filter_map(label).collect();
    let ungraded = candidates.len() - labels.len();
    (labels, Dropped { ungraded, ..Dropped::default() })
}

fn completion(candidate: &Candidate) -> FeedbackCompletion {
    FeedbackCompletion {
        text: candidate.text.to_string(),
        tokens: (!candidate.gold).then(|| candidate.tokens.to_vec()),
        given: candidate.given.to_vec(),
        turn: None,
    }
}

/// Weights n/(g·n_q), with n pairs of g questions and n_q of this one: questions count alike and weights average 1.
fn weigh_questions(all: &mut [Vec<Feedback>], sum: &mut Sum) {
    let of_rank = all.iter().filter(|feedback| !feedback.is_empty()).count();
    let mut sums = [all.iter().map(Vec::len).sum::<usize>() as f64, of_rank as f64];
    sum(&mut sums);
    let [built, questions] = sums;
    for feedback in all {
        let even = built / (questions * feedback.len().max(1) as f64);
        multiply(feedback, even);
    }
}

/// How many pairs each group has, by its gold answer.
fn pairs_by_answer(groups: &[Group], all: &[Vec<Feedback>]) -> Vec<(Option<String>, usize)> {
    groups.iter().zip(all).map(|(group, of)| (group.example.answer.clone(), of.len())).collect()
}

/// Weights n/(g·n_a), with n pairs of g gold answers and n_a of this one by the `counts` of the groups of all ranks: answers count
/// alike and weights average 1.
fn weigh_answers(groups: &[Group], all: &mut [Vec<Feedback>], counts: &[(Option<String>, usize)]) {
    let mut pairs: BTreeMap<&Option<String>, usize> = BTreeMap::new();
    for (answer, count) in counts.iter().filter(|(_, count)| *count > 0) {
        *pairs.entry(answer).or_default() += count;
    }
    let built: usize = pairs.values().sum();
    for (group, feedback) in groups.iter().zip(all) {
        if let Some(own) = pairs.get(&group.example.answer) {
            multiply(feedback, built as f64 / (pairs.len() * own) as f64);
        }
    }
}

fn multiply(feedback: &mut [Feedback], factor: f64) {
    for one in feedback {
        let (Feedback::Pair { weight, .. } | Feedback::Label { weight, .. }) = one;
        *weight *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::tests::group;
    use crate::rollout::prefix::Place;

    fn built(recipe: &str, select: &str, groups: &[Group]) -> (Vec<Vec<Feedback>>, Counts) {
        let dpo: Dpo = toml::from_str(recipe).unwrap();
        assert_eq!(dpo.check(), []);
        let mut groups = groups.to_vec();
        for group in &mut groups {
            for (index, rollout) in group.rollouts.iter_mut().enumerate() {
                (rollout.tokens, rollout.reward) = (vec![index as u32], index as f64);
            }
        }
        let (mut feedback, counts) = dpo.feedback(&groups, &toml::from_str(select).unwrap());
        dpo.weigh(&groups, &mut feedback, None).unwrap();
        (feedback, counts)
    }

    fn weights(feedback: &[Vec<Feedback>]) -> Vec<f64> {
        let weight = |one: &Feedback| match one {
            Feedback::Pair { weight, .. } => *weight,
            Feedback::Label { .. } => f64::NAN,
        };
        feedback.iter().flatten().map(weight).collect()
    }

    #[test]
    fn questions_can_count_alike() {
        // One pair of the first question, three of the second, none of the third: 4/(2·1) and 4/(2·3).
        let groups = [
            group(Some("7"), &[], &["#### 7", "#### 8"]),
            group(Some("7"), &[], &["#### 7", "#### 1", "#### 2", "#### 3"]),
            group(Some("7"), &[], &["#### 7"]),
        ];
        let (feedback, counts) = built("weigh = \"questions\"", "", &groups);
        let third = 4.0 / 6.0;
        assert_eq!(weights(&feedback), [2.0, third, third, third]);
        assert_eq!((counts.built, counts.dropped["none_bad"]), (4, 1));
        assert_eq!(weights(&built("", "", &groups).0), [1.0; 4]);
    }

    /// Three pairs of one gold answer and one of the other: 4/(2·3) and 4/(2·1). A group without pairs is of no answer.
    #[test]
    fn answers_can_count_alike() {
        let groups = [
            group(Some("yes"), &[], &["#### yes", "#### no", "#### no"]),
            group(Some("no"), &[], &["#### no", "#### yes"]),
            group(Some("yes"), &[], &["#### yes", "#### no"]),
            group(Some("maybe"), &[], &["#### maybe"]),
        ];
        let (feedback, _) = built("weigh = \"answers\"", "", &groups);
        assert_eq!(feedback.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 0]);
        let often = 4.0 / 6.0;
        assert_eq!(weights(&feedback), [often, often, 2.0, often]);
        // What other ranks have counts: with two more of the second answer, three of either, all count alike.
        let (mut feedback, _) = built("", "", &groups);
        let others = [pairs_by_answer(&groups, &feedback), vec![(Some("no".into()), 2)]].concat();
        weigh_answers(&groups, &mut feedback, &others);
        assert_eq!(weights(&feedback), [1.0; 4]);
    }

    #[test]
    fn rewards_become_margins_and_filters_go_first() {
        let groups = [group(Some("7"), &[], &["#### 8", "#### 9", "#### 7"])];
        // Rewards 0, 1, 2: gaps 2 and 1.
        let (feedback, _) = built("reward_margin = 0.5", "", &groups);
        let margin = |one: &Feedback| match one {
            Feedback::Pair { margin, .. } => *margin,
            Feedback::Label { .. } => f64::NAN,
        };
        assert_eq!(feedback[0].iter().map(margin).collect::<Vec<_>>(), [1.0, 0.5]);
        let (feedback, counts) = built("", "min_reward = 1.0", &groups);
        assert_eq!((feedback[0].len(), counts.dropped["filtered"]), (1, 1));
    }

    /// The path itself is cut behind its first token; a right and a wrong way go on from there, and another wrong one from the start.
    #[test]
    fn branches_of_one_cut_become_pairs() {
        let mut group = group(Some("7"), &[], &["#### 7", "a\n#### 7", "b\n#### 8", "c\n#### 9"]);
        let at = |tokens: usize| Some(Place { step: tokens, tokens, bytes: tokens });
        let of = [(vec![1, 2], None), (vec![1, 3], at(1)), (vec![1, 4], at(1)), (vec![5], at(0))];
        for (rollout, (tokens, branched_at)) in group.rollouts.iter_mut().zip(of) {
            (rollout.tokens, rollout.branched_at) = (tokens, branched_at);
        }
        let select = toml::from_str("pairs.kind = \"branches\"").unwrap();
        let (feedback, counts) = Dpo::default().feedback(&[group], &select);
        let Feedback::Pair { chosen, rejected, .. } = &feedback[0][0] else { panic!("a pair") };
        assert_eq!((chosen.text.as_str(), rejected.text.as_str()), ("a\n#### 7", "b\n#### 8"));
        assert_eq!((chosen.tokens.as_deref(), counts.built), (Some(&[1, 3][..]), 1));
    }

    #[test]
    fn the_rows_own_completion_is_preferred_to_counterfactual_ones() {
        let mut groups =
            [group(Some("7"), &[], &["so\n#### 8", "but\n#### 7"]), group(Some("7"), &[], &["#### 8"])];
        let own =
            crate::data::Example { completion: Some("own\n#### 7".into()), ..(*groups[0].example).clone() };
        groups[0].example = Arc::new(own);
        let (feedback, counts) = built("", "pairs.kind = \"gold_counterfactual\"", &groups);
        let Feedback::Pair { chosen, rejected, .. } = &feedback[0][0] else { panic!("a pair") };
        assert_eq!((chosen.text.as_str(), rejected.text.as_str()), ("own\n#### 7", "so\n#### 8"));
        // The other rollout came to the gold answer; the second row has no completion of its own.
        let dropped = |reason: &str| counts.dropped[reason];
        assert_eq!((counts.built, dropped("same_answer"), dropped("none_good")), (1, 1, 1));
    }

    #[test]
    fn kto_takes_every_graded_rollout() {
        let groups = [group(Some("7"), &[], &["#### 8", "#### 7"]), group(None, &[], &["#### 7"])];
        let (feedback, counts) = built("loss.kind = \"kto\"", "", &groups);
        let good = |one: &Feedback| matches!(one, Feedback::Label { good: true, .. });
        assert_eq!(feedback[0].iter().map(good).collect::<Vec<_>>(), [false, true]);
        assert_eq!((counts.built, counts.dropped["ungraded"]), (2, 1));
    }
}
