//! What a half-written sequence is worth to a prover that may yet write the hidden one, computed exactly: the oracle of the
//! didactic task of Rewarding Progress (Setlur et al. 2024, arXiv 2410.08146).
//!
//! Where the last letters match the first i of the hidden sequence, the prover writes its next letter with probability
//! γ / (γ + V − 1) and each other of the V letters with 1 / (γ + V − 1): γ = 1 is a prover that knows nothing. The value of a
//! prefix depends on i and on the letters left alone, and is the dynamic programme v(i, r) = Σ_c μ(c | i) v(δ(i, c), r − 1) with
//! v(n, r) = 1 and v(i < n, 0) = 0, where δ is the automaton of Knuth, Morris and Pratt.

use super::{Holds, Models, OfRow, Reward, Wants, column};
use crate::rollout::{Group, Rollout, Score, StepScore};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.planted]` for `[data.task.planted]`: 1 where the completion contains the row's `hidden` sequence, else 0; and of every
/// token, as a step of its own, the prover's chance after it. Credit these with `loop.grpo.steps`, `form = "progress"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Planted {
    /// Letters of a whole completion; make it `policy.sampling.max_new_tokens`.
    pub length: usize,
    /// Letters to choose from, as in the task.
    pub letters: usize,
    /// How much likelier than another letter the prover writes the right one.
    pub strength: f64,
}

impl Default for Planted {
    fn default() -> Self {
        Self { length: 10, letters: 15, strength: 10.0 }
    }
}

impl Planted {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(
            self.strength > 0.0 && self.strength.is_finite(),
            "strength = {}: must be positive; 1 is a prover that knows nothing",
            self.strength
        );
        anyhow::ensure!((2..=26).contains(&self.letters), "letters must be from 2 to 26, as in the task");
        Ok(Oracle { section: self, known: None })
    }

    /// `values[i][r]`: the prover's chance where i letters of `hidden` are matched and r are left to write.
    pub fn values(&self, hidden: &str) -> Vec<Vec<f64>> {
        let hidden: Vec<char> = hidden.chars().collect();
        let (n, all) = (hidden.len(), self.strength + self.letters as f64 - 1.0);
        let mut values = vec![vec![0.0; self.length + 1]; n + 1];
        values[n].fill(1.0);
        for left in 1..=self.length {
            for matched in 0..n {
                let of = |letter: char| {
                    let weight = if letter == hidden[matched] { self.strength } else { 1.0 };
                    weight / all * values[next(&hidden, matched, letter)][left - 1]
                };
                values[matched][left] = (0..self.letters).map(|index| of((b'a' + index as u8) as char)).sum();
            }
        }
        values
    }
}

/// How many letters of `hidden` are matched when `letter` follows where `matched` are; all, once they have been.
fn next(hidden: &[char], matched: usize, letter: char) -> usize {
    if matched == hidden.len() {
        return matched;
    }
    let written: Vec<char> = hidden[..matched].iter().copied().chain([letter]).collect();
    (0..=written.len()).rev().find(|&i| written.ends_with(&hidden[..i])).unwrap_or(0)
}

struct Oracle {
    section: Planted,
    /// The hidden sequence last seen, with its values.
    known: Option<(String, Vec<Vec<f64>>)>,
}

impl Oracle {
    fn of_rollout(&self, rollout: &Rollout, decode: impl Fn(&[u32]) -> String) -> Score {
        let (hidden, values) = self.known.as_ref().expect("set before");
        let hidden: Vec<char> = hidden.chars().collect();
        let (mut matched, mut steps) = (0, Vec::with_capacity(rollout.tokens.len()));
        for (at, token) in rollout.tokens.iter().enumerate() {
            let text = decode(&[*token]);
            text.chars().for_each(|letter| matched = next(&hidden, matched, letter));
            let last = at + 1 == rollout.tokens.len();
            let left = if last { 0 } else { self.section.length.saturating_sub(at + 1) };
            steps.push(StepScore { value: values[matched][left], tokens: at..at + 1 });
        }
        Score { value: values[matched][0], steps: Some(steps) }
    }
}

impl Reward for Oracle {
    fn wants(&self) -> Wants {
        Wants::default().row(
            "",
            OfRow::Column("hidden".into(), Holds::Text),
            "[reward.planted] is made for [data.task.planted]",
        )
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        let hidden = column::text(&group.example, "hidden")?;
        if self.known.as_ref().is_none_or(|(known, _)| *known != hidden) {
            let values = self.section.values(&hidden);
            self.known = Some((hidden, values));
        }
        let tokenizer = models.tokenizer()?;
        let decode = |ids: &[u32]| tokenizer.decode(ids);
        Ok(group.rollouts.iter().map(|rollout| self.of_rollout(rollout, decode)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;

    fn planted(letters: usize, length: usize, strength: f64) -> Planted {
        Planted { letters, length, strength }
    }

    #[test]
    fn values_are_literal_where_all_completions_can_be_counted() {
        // "ab" of a and b with γ = 3: the right letter has 3/4. One letter is not enough; of two, both right: 9/16.
        let values = planted(2, 3, 3.0).values("ab");
        assert_eq!((values[0][1], values[1][0], values[2][0]), (0.0, 0.0, 1.0));
        near(values[0][2], 9.0 / 16.0, 1e-12);
        near(values[1][1], 0.75, 1e-12);
        // After an a, a wrong letter is another a, which matches one again: 3/4 + 1/4 · 3/4.
        near(values[1][2], 0.75 + 0.25 * 0.75, 1e-12);
        // Three letters: 3/4 · v(1, 2) + 1/4 · v(0, 2).
        near(values[0][3], 0.75 * values[1][2] + 0.25 * values[0][2], 1e-12);
    }

    #[test]
    fn values_are_those_of_all_completions_one_by_one() {
        // A hidden sequence with a border, "aba", over three letters, five to write: 3^5 completions, each with its probability.
        let section = planted(3, 5, 4.0);
        let hidden: Vec<char> = "aba".chars().collect();
        let mut total = 0.0;
        for number in 0..3_usize.pow(5) {
            let (mut text, mut probability) = (String::new(), 1.0);
            for place in 0..5 {
                let letter = (b'a' + (number / 3_usize.pow(place) % 3) as u8) as char;
                // The longest ending of the text that begins the hidden sequence, by looking at all of them.
                let begins = |i: &usize| text.ends_with(&hidden[..*i].iter().collect::<String>());
                let matched = (0..3).rev().find(begins).unwrap();
                let right = letter == hidden[matched];
                probability *= if right { 4.0 } else { 1.0 } / 6.0;
                text.push(letter);
            }
            total += if text.contains("aba") { probability } else { 0.0 };
        }
        near(section.values("aba")[0][5], total, 1e-12);
    }

    #[test]
    fn a_letter_goes_back_to_the_longest_beginning() {
        let hidden: Vec<char> = "ababc".chars().collect();
        // abab and another a end in aba; aba and a in a; a and c in nothing; what is there whole stays.
        let of = |matched, letter| next(&hidden, matched, letter);
        assert_eq!([of(4, 'a'), of(3, 'a'), of(1, 'c'), of(5, 'c')], [3, 1, 0, 5]);
    }

    #[test]
    fn every_token_is_worth_the_provers_chance_after_it() {
        let section = planted(2, 3, 3.0);
        let oracle = Oracle { known: Some(("ab".into(), section.values("ab"))), section: section.clone() };
        let decode = |ids: &[u32]| ["a", "b", ""][ids[0] as usize].to_string();
        let of = |tokens: &[u32]| {
            let mut rollout = crate::reward::tests::group(None, &[], &["x"]).rollouts.remove(0);
            rollout.tokens = tokens.to_vec();
            let score = oracle.of_rollout(&rollout, decode);
            (score.value, score.steps.unwrap().iter().map(|step| step.value).collect::<Vec<_>>())
        };
        // a, a, b: one matched with two left, one with one left, all.
        let (value, steps) = of(&[0, 0, 1]);
        assert_eq!(value, 1.0);
        near(steps[0], 0.9375, 1e-12);
        near(steps[1], 0.75, 1e-12);
        near(steps[2], 1.0, 1e-12);
        // An a and the end of sequence: nothing comes any more.
        assert_eq!(of(&[0, 2]), (0.0, vec![0.9375, 0.0]));
    }
}
