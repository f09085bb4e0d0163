//! Answers by classes of one answer each, for votes.
//!
//! To be the same is not transitive: `50` is the same as `50 kg` and as `50 %`, which are not the same as each other. An answer whose likes
//! are all the same as one another stands clear; one that could be either of two goes with the more frequent, so that no class depends on
//! the order in which samples came.

use super::{Equality, Question, Read, Reading};

impl Equality<'_> {
    /// The class of each answer, by the index of the first answer in it. What cannot be read is the same as what is written alike.
    ///
    /// ```
    /// use rationale::rationale::equality::Equality;
    /// let any = Equality::of(None, &[]);
    /// let answers = [Some("50"), Some("50 kg"), Some("50 %"), Some("50 %"), None];
    /// assert_eq!(any.classes(&answers), [Some(0), Some(1), Some(0), Some(0), None]);
    /// ```
    pub fn classes<A: AsRef<str>>(&self, answers: &[Option<A>]) -> Vec<Option<usize>> {
        let mut distinct: Vec<(Reading, Vec<usize>)> = Vec::new();
        for (at, answer) in answers.iter().enumerate() {
            let Some(answer) = answer else { continue };
            let reading = self.measured(self.read(answer.as_ref()));
            match distinct.iter_mut().find(|(known, _)| *known == reading) {
                Some((_, places)) => places.push(at),
                None => distinct.push((reading, vec![at])),
            }
        }
        let mut class = vec![None; answers.len()];
        // What is not in the form that was asked for, and what is: a vote for the one is none for the other, nor is one for what is left to be done.
        let graded = |reading: &Reading| {
            let right = self.gold.as_ref().is_some_and(|gold| self.right(gold, reading));
            (right, self.misses(reading))
        };
        let grades: Vec<(bool, bool)> = distinct.iter().map(|(reading, _)| graded(reading)).collect();
        let orders = self.question.as_ref().is_some_and(Question::may_order);
        let one = |a: usize, b: usize| {
            let apart = orders && grades[a].1;
            grades[a] == grades[b] && !apart && self.one(&distinct[a].0, &distinct[b].0)
        };
        let chosen = together(distinct.len(), &one, &|at| distinct[at].1.len());
        for (at, (_, places)) in distinct.iter().enumerate() {
            let first = (0..distinct.len())
                .filter(|other| chosen[*other] == chosen[at])
                .map(|other| distinct[other].1[0])
                .min();
            places.iter().for_each(|place| class[*place] = first);
        }
        class
    }

    /// The reading with the measure and the variable that were asked for where it names none: `12` is the same as `12 cm` and as
    /// `12 m`, which are not the same as each other, and a class has to be one answer.
    fn measured(&self, mut reading: Reading) -> Reading {
        if let Read::Value { said, .. } = &mut reading.kind {
            for said in said {
                said.unit = said.unit.take().or_else(|| self.unit.clone());
                // Where a value is asked for and not of what, all names of it are one.
                let named = self.label.is_some() || self.gold.is_none();
                said.label = said.label.take().or_else(|| self.label.clone()).filter(|_| named);
                // Where it is not asked of what, all that is counted is one.
                said.noun = said.noun.take().filter(|_| self.counted);
            }
        }
        reading
    }

    /// Whether one is right where the other is gold: `120` and `\binom{10}{3}` are one answer, worked out or not.
    fn one(&self, a: &Reading, b: &Reading) -> bool {
        (a.kind == Read::Nothing && b.kind == Read::Nothing && a.plain == b.plain)
            || self.alike(a, b)
            || self.alike(b, a)
    }
}

/// The group of each of so many items, by one of its members: those whose likes are all alike, and whoever is like several such groups
/// with the one of most voices among what is clear (of equal ones the first). What is left goes with the first of its like.
fn together(
    count: usize,
    alike: &dyn Fn(usize, usize) -> bool,
    voices: &dyn Fn(usize) -> usize,
) -> Vec<usize> {
    let mut like = vec![vec![false; count]; count];
    for (a, b) in (0..count).flat_map(|a| (0..=a).map(move |b| (a, b))) {
        let same = a == b || alike(a, b);
        (like[a][b], like[b][a]) = (same, same);
    }
    let like = &like;
    let near = |at: usize| (0..count).filter(move |other| like[at][*other]);
    let clear: Vec<bool> = (0..count).map(|at| near(at).all(|a| near(at).all(|b| like[a][b]))).collect();
    let mut group: Vec<usize> = (0..count).collect();
    for at in (0..count).filter(|at| clear[*at]) {
        group[at] = near(at).find(|other| clear[*other]).unwrap_or(at);
    }
    let of = |own: usize, group: &[usize]| -> usize {
        (0..count).filter(|at| clear[*at] && group[*at] == own).map(voices).sum()
    };
    for at in (0..count).filter(|at| !clear[*at]) {
        // max_by_key takes the last of equals; backwards that is the first.
        let most = near(at).filter(|other| clear[*other]).rev().max_by_key(|other| of(group[*other], &group));
        group[at] = match most {
            Some(other) => group[other],
            None => near(at).find(|other| *other < at && group[*other] == *other).unwrap_or(at),
        };
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(answers: &[&str]) -> Vec<usize> {
        let answers: Vec<Option<&str>> = answers.iter().map(|answer| Some(*answer)).collect();
        Equality::of(None, &[]).classes(&answers).into_iter().flatten().collect()
    }

    #[test]
    fn what_could_be_two_answers_goes_with_the_more_frequent_in_any_order() {
        // Two kilograms and one per cent: the bare number is the third kilogram, wherever it stands.
        let answers = ["50", "50 kg", "50 %", "50 kg"];
        let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 2, 0]];
        for order in orders {
            let said: Vec<&str> = order.iter().map(|at| answers[*at]).collect();
            let found = classes(&said);
            let percent = said.iter().position(|said| *said == "50 %").unwrap();
            for (at, class) in found.iter().enumerate() {
                assert_eq!(*class == percent, at == percent, "{said:?} are {found:?}");
            }
        }
        // Without a majority, with the first.
        assert_eq!(classes(&["50 %", "50", "50 kg"]), [0, 0, 2]);
        assert_eq!(classes(&["50", "50 kg"]), [0, 0]);
    }

    #[test]
    fn answers_of_one_value_vote_together_however_far_they_are_worked_out() {
        assert_eq!(classes(&["120", "\\binom{10}{3}", "2^{10}", "1024"]), [0, 0, 2, 2]);
        assert_eq!(classes(&["3x(x+2)", "3x^2+6x", "3x^2+5x"]), [0, 0, 2]);
        // Where 120 is asked for, what is left to be done is another answer.
        let equality = Equality::of(Some("120"), &[]);
        assert_eq!(
            equality.classes(&["12 \\cdot 10", "120", "120.0"].map(Some)),
            [Some(0), Some(1), Some(1)]
        );
        // Nor is another order one where an order is asked for.
        let equality = Equality::of(Some("3, 7, 9"), &[]).asked("Sort 9, 3, 7.");
        let answers = ["9, 7, 3", "7, 3, 9", "3, 7, 9", "3; 7; 9"].map(Some);
        assert_eq!(equality.classes(&answers), [Some(0), Some(1), Some(2), Some(2)]);
    }

    #[test]
    fn groups_are_of_what_is_alike() {
        // 0 to 2 form a chain, 3 and 4 a pair, 5 stands alone.
        let pairs = [(0, 1), (1, 2), (3, 4)];
        let alike = |a: usize, b: usize| pairs.contains(&(a.min(b), a.max(b)));
        assert_eq!(together(6, &alike, &|_| 1), [0, 0, 2, 3, 3, 5]);
        assert_eq!(together(6, &alike, &|at| if at == 2 { 5 } else { 1 }), [0, 2, 2, 3, 3, 5]);
        // A ring of four has nothing clear: neighbours by the first.
        let ring = |a: usize, b: usize| (a + 1) % 4 == b || (b + 1) % 4 == a;
        assert_eq!(together(4, &ring, &|_| 1), [0, 0, 2, 0]);
    }
}
