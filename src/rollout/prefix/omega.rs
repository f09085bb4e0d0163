//! Trees of prefixes: wrong completions are searched for their first error, and the wrong continuations that this takes are
//! searched in turn (OmegaPRM, Luo et al. 2024, arXiv 2406.06592).

use super::cost::Cost;
use super::explore::{Cutting, Exploration, Origin, explore};
use super::{CutValue, Place, Pool, PrefixRollout, SearchCandidate, places};
use crate::error::Result;
use crate::rollout::{Group, Rollout, SamplingContext};
use std::collections::{BTreeMap, HashMap};

/// A question's tree.
struct Question {
    group: usize,
    pool: Pool,
    /// All completions and continuations, in the order sampled, each with the place that it goes on from.
    sampled: Vec<(Rollout, Place)>,
    /// What continuations of a prefix said, by its tokens.
    known: HashMap<Vec<u32>, CutValue>,
    searches: usize,
    reused: usize,
    search: Option<BinarySearch>,
}

/// A rollout under search.
struct BinarySearch {
    /// Its number in the group.
    rollout: usize,
    places: Vec<Place>,
    /// The places, counted from 1, whose prefixes were continued; and whether for this search.
    known: BTreeMap<usize, (CutValue, bool)>,
}

/// Grows a tree for each of `groups`: rollouts that were searched carry cuts, and those that are continuations of others are
/// added to their group. A prefix is continued once, whichever rollouts begin with it.
pub(super) fn grow(
    section: &PrefixRollout,
    groups: &mut [Group],
    context: &mut SamplingContext,
) -> Result<()> {
    let question = |(at, group): (usize, &Group)| {
        let right: Vec<bool> = group.rollouts.iter().map(|rollout| context.good(group, rollout)).collect();
        Question::new(section, at, group, &right)
    };
    let mut questions: Vec<Question> = groups.iter().enumerate().map(question).collect();
    let cost = explore(section, &mut questions, groups, context)?;
    cost.report(context.figures);
    for question in &questions {
        context.figures.add("prefix/searches", question.searches as f64, 1.0);
        context.figures.add("prefix/cuts", question.known.len() as f64, 1.0);
        context.figures.add("prefix/reused", question.reused as f64, 1.0);
        context.figures.add("prefix/rollouts", question.sampled.len() as f64, 1.0);
    }
    Ok(())
}

impl Question {
    /// Of the `at`-th group, of whose rollouts `right` says whether each is right.
    fn new(section: &PrefixRollout, at: usize, group: &Group, right: &[bool]) -> Self {
        let value = right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64;
        let wrong = (0..right.len()).filter(|&number| !right[number]);
        let mut pool = Pool::new(&section.tree);
        pool.add(value, wrong.map(|number| (number, group.rollouts[number].tokens.len())));
        Self {
            group: at,
            pool,
            sampled: group.rollouts.iter().map(|rollout| (rollout.clone(), Place::START)).collect(),
            known: HashMap::new(),
            searches: 0,
            reused: 0,
            search: None,
        }
    }

    /// The place whose prefix is to be continued next; none when the question is done.
    fn place(&mut self, cutting: &Cutting, group: &mut Group, cost: &mut Cost) -> Option<Origin> {
        let section = cutting.section;
        loop {
            let Some(search) = &mut self.search else {
                let tree = &section.tree;
                if self.searches >= tree.searches || self.sampled.len() >= tree.rollouts {
                    return None;
                }
                let candidate = self.pool.take()?;
                self.search = self.begin(candidate, group, cutting);
                continue;
            };
            let known = search.known.iter().map(|(number, (value, _))| (*number, value.hard())).collect();
            let Some(&number) = section.next(search.places.len(), &known, 0).first() else {
                search.end(group, section.continuations, cost);
                self.search = None;
                continue;
            };
            let place = search.places[number - 1];
            match self.known.get(&group.rollouts[search.rollout].tokens[..place.tokens]) {
                Some(value) => {
                    self.reused += 1;
                    search.known.insert(number, (value.clone(), false));
                }
                None => return Some(Origin { group: self.group, rollout: search.rollout, place }),
            }
        }
    }

    /// The search of `candidate`, from which a continuation becomes a rollout of the group; none where no step ends behind
    /// its state.
    fn begin(
        &mut self,
        candidate: SearchCandidate,
        group: &mut Group,
        cutting: &Cutting,
    ) -> Option<BinarySearch> {
        let (rollout, from) = &self.sampled[candidate.rollout];
        let places = places(rollout, cutting.format, cutting.tokenizer);
        if places.iter().all(|place| place.tokens <= from.tokens) {
            return None;
        }
        self.searches += 1;
        // Up to the state the prefix is known to be good; it stands among the places.
        let at = places.iter().position(|place| place.tokens == from.tokens);
        let state = at.and_then(|at| Some((at + 1, self.known.get(&rollout.tokens[..from.tokens])?.clone())));
        let known = state.into_iter().map(|(number, value)| (number, (value, false))).collect();
        let number = if from.tokens == 0 {
            candidate.rollout
        } else {
            group.rollouts.push(Rollout { branched_at: Some(*from), ..rollout.clone() });
            group.rollouts.len() - 1
        };
        Some(BinarySearch { rollout: number, places, known })
    }
}

impl Exploration for Question {
    fn next(&mut self, cutting: &Cutting, groups: &mut [Group], cost: &mut Cost) -> Vec<Origin> {
        let group = &mut groups[self.group];
        self.place(cutting, group, cost).into_iter().collect()
    }

    /// A new state, whose wrong continuations may be searched.
    fn learn(&mut self, groups: &[Group], from: Origin, rollouts: Vec<Rollout>, right: &[bool]) -> CutValue {
        let value = CutValue::of(from.place, &rollouts, right);
        let first = self.sampled.len();
        let wrong = rollouts.iter().enumerate().filter(|(at, _)| !right[*at]);
        let wrong = wrong.map(|(at, rollout)| (first + at, rollout.tokens.len() - from.place.tokens));
        self.pool.add(value.soft(), wrong.collect::<Vec<_>>());
        self.sampled.extend(rollouts.into_iter().map(|rollout| (rollout, from.place)));
        let prefix = &groups[from.group].rollouts[from.rollout].tokens[..from.place.tokens];
        self.known.insert(prefix.to_vec(), value.clone());
        if let Some(search) = &mut self.search {
            let number = search.places.iter().position(|place| *place == from.place);
            search.known.extend(number.map(|at| (at + 1, (value.clone(), true))));
        }
        value
    }
}

impl BinarySearch {
    /// Hands the cuts to the rollout, and counts the labels that are new.
    fn end(&self, group: &mut Group, count: usize, cost: &mut Cost) {
        let shared = self.known.iter().rev().find(|(_, (value, own))| !own && value.hard());
        let tokens = group.rollouts[self.rollout].tokens.len();
        let known = |number: usize| {
            let (value, own) = self.known.get(&number)?;
            own.then(|| value.hard())
        };
        cost.labelled(
            &self.places,
            known,
            shared.map_or(0, |(number, _)| *number),
            [count, group.prompt.len(), tokens],
        );
        group.rollouts[self.rollout].cuts = self.known.values().map(|(value, _)| value.clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Example, Tokenizer};
    use crate::engine::StopReason;
    use crate::rationale::Format;
    use crate::rollout::prefix::{Cuts, PrefixTree};
    use std::sync::Arc;

    fn rollout(text: &str) -> Rollout {
        let tokens = Tokenizer::bytes().encode(text).unwrap();
        Rollout::new(tokens, text.into(), vec![0.0; text.len()], StopReason::Eos(0), &Format::default())
    }

    fn group(texts: &[&str]) -> Group {
        let example = Example { answer: Some("2".into()), ..Example::text("x", "?") };
        let rollouts = texts.iter().map(|text| rollout(text)).collect();
        Group { example: Arc::new(example), prompt: vec![1], rollouts, place: 0 }
    }

    /// What a policy writes behind a prefix: from one without an `x` half of the continuations are right, the others make
    /// their mistake, an `x`, in their second line; behind an `x` all is lost.
    fn continued(prefix: &str) -> Vec<Rollout> {
        let lines = prefix.matches('\n').count();
        let rest = |from: usize, wrong: Option<usize>| {
            (from..7)
                .map(|line| if wrong == Some(line) { "x\n".into() } else { format!("{line}\n") })
                .collect::<String>()
        };
        match prefix.contains('x') {
            true => vec![rollout(&format!("{prefix}{}#### 1", rest(lines, None))); 2],
            false => vec![
                rollout(&format!("{prefix}{}#### 2", rest(lines, None))),
                rollout(&format!("{prefix}{}#### 1", rest(lines, Some((lines + 1).min(6))))),
            ],
        }
    }

    #[test]
    fn every_search_ends_at_the_mistake_and_no_prefix_is_asked_for_twice() {
        let section = PrefixRollout {
            cuts: Cuts::Tree,
            tree: PrefixTree { searches: 4, ..PrefixTree::default() },
            ..PrefixRollout::default()
        };
        let mut groups = [group(&["0\n1\n2\n3\n4\nx\n6\n#### 1", "0\n1\n2\n3\n4\n5\n6\n#### 2"])];
        let mut question = Question::new(&section, 0, &groups[0], &[false, true]);
        let (format, tokenizer, mut cost) = (Format::default(), Tokenizer::bytes(), Cost::default());
        let cutting = Cutting { section: &section, format: &format, tokenizer: &tokenizer };
        let mut starts = Vec::new();
        while let [from] = question.next(&cutting, &mut groups, &mut cost)[..] {
            let prefix = groups[0].rollouts[from.rollout].text[..from.place.bytes].to_string();
            let rollouts = continued(&prefix);
            let right: Vec<bool> = rollouts.iter().map(|rollout| rollout.answer() == Some("2")).collect();
            question.learn(&groups, from, rollouts, &right);
            starts.push(prefix);
        }
        let group = &groups[0];
        let mut once = starts.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), starts.len(), "{starts:?}");
        assert_eq!(question.searches, 4);
        let searched: Vec<&Rollout> =
            group.rollouts.iter().filter(|rollout| !rollout.cuts.is_empty()).collect();
        assert_eq!((searched.len(), group.rollouts.len()), (4, 2 + 3), "three are continuations of others");
        for rollout in searched {
            let mistake = rollout.text.lines().position(|line| line == "x").unwrap() + 1;
            let first = rollout.cuts.iter().find(|cut| !cut.hard()).map(|cut| cut.step);
            let good = rollout.cuts.iter().rev().find(|cut| cut.hard()).map(|cut| cut.step);
            assert_eq!((first, good), (Some(mistake), Some(mistake - 1)), "{rollout:?}");
        }
        // The first search, of seven steps whose sixth is the mistake: after 4 good, after 6 not, after 5 good.
        assert_eq!(starts[..3], ["0\n1\n2\n3\n", "0\n1\n2\n3\n4\nx\n", "0\n1\n2\n3\n4\n"]);
    }
}
