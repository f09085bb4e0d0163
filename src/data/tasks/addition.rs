//! n-digit addition with a scratchpad rationale, the first task of STaR (Zelikman et al. 2022, arXiv 2203.14465).

use super::faults::{Fault, Faults, critique, lines};
use super::surplus::Surplus;
use crate::data::Split;
use crate::data::order::{below, shuffle};
use crate::data::row::Row;
use crate::error::Result;
use crate::section::{Misfit, all_fit, broken, under};
use crate::seed;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::ops::Range;

/// Every character of the task's questions, rationales and answers.
pub const ALPHABET: &str = "0123456789+=:# \n";

/// Sums of two n-digit numbers: `[data.task.addition]`. A fifth of all pairs, chosen by the seed, is held out: only
/// those are evaluated on, and none of them is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Addition {
    /// Numbers of digits, in equal shares. One digit has 100 pairs only (0+0 to 9+9), two have 8100: training rows
    /// beyond the pairs there are repeat them, evaluation rows are left out.
    pub digits: Vec<u32>,
    /// Training rows.
    pub train: usize,
    /// Held-out rows.
    pub eval: usize,
    /// Give rows a rationale.
    pub rationale: bool,
    /// How the rationale is written.
    pub scratchpad: Scratchpad,
    /// Give rows steps with labels, some of them wrong: training data of reward models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<Faults>,
    /// Give rationales lines that the answer does not need, and rows the column that says which these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surplus: Option<Surplus>,
}

/// How a sum is worked out on paper, digit by digit from the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scratchpad {
    /// The two digits and the carry, their sum, the answer so far: [`scratchpad`].
    Columns,
    /// What remains to be added and the carry, the answer so far, as in STaR: [`remaining`].
    Remaining,
    /// The two digits and the carry, and their sum: the answer has to be put together of all lines and is copied from none: [`digits`].
    Digits,
}

impl Scratchpad {
    fn write(self, a: u64, b: u64) -> String {
        match self {
            Scratchpad::Columns => scratchpad(a, b),
            Scratchpad::Remaining => remaining(a, b),
            Scratchpad::Digits => digits(a, b),
        }
    }
}

impl Default for Addition {
    fn default() -> Self {
        Self {
            digits: vec![1, 2, 3, 4],
            train: 4000,
            eval: 400,
            rationale: true,
            scratchpad: Scratchpad::Columns,
            faults: None,
            surplus: None,
        }
    }
}

/// Up to so many digits all pairs are listed; beyond, there are more than any run draws.
const LISTED: u32 = 2;
/// 3 digits have 810 000 pairs, a fifth of which are held out.
const MOST_ROWS: usize = 100_000;

impl Addition {
    /// The rows of a split, the numbers of digits taking turns; the column `turn` counts them, by which a template can
    /// treat every other row of each number of digits in another way.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        all_fit("data.task.addition", self, self.check())?;
        let wanted = if split == Split::Train { self.train } else { self.eval };
        let classes = self.digits.len();
        let share = |class: usize| wanted / classes + usize::from(class < wanted % classes);
        let pairs: Vec<_> =
            (0..classes).map(|class| draw(self.digits[class], split, share(class), seed)).collect();
        let longest = pairs.iter().map(Vec::len).max().unwrap_or(0);
        let turns = (0..longest).flat_map(|turn| (0..classes).map(move |class| (class, turn)));
        let mut seen = HashSet::new();
        let rows = turns.filter_map(|(class, turn)| Some((class, turn, *pairs[class].get(turn)?)));
        let row = |(index, (class, turn, pair))| {
            let mut row = self.row(index, self.digits[class], pair, &mut seen);
            if let Some(surplus) = &self.surplus {
                self.pad(&mut row, surplus, self.digits[class], pair, seed);
            }
            row.fields.insert("turn".to_string(), json!(turn));
            if let Some(faults) = &self.faults {
                let fault = faults.of_row(row.line, seed);
                let seed = seed::derive(&[seed, row.line as u64]);
                if faults.critiques {
                    let critique = critique(pair.0, pair.1, fault, seed);
                    row.fields.insert("previous".to_string(), json!(critique.previous));
                    row.fields.insert("step".to_string(), json!(critique.step));
                    row.fields.insert("rationale".to_string(), json!(critique.rationale));
                    row.fields.insert("answer".to_string(), json!(if critique.right { "yes" } else { "no" }));
                    row.fields.insert("fault".to_string(), json!(fault.map_or("none", Fault::name)));
                    return row;
                }
                let lines = lines(pair.0, pair.1, fault, seed);
                row.fields.insert("labels".to_string(), json!(lines.labels(faults.labels)));
                row.fields
                    .insert("first_error".to_string(), json!(lines.first_error.map_or(-1, |e| e as i64)));
                row.fields.insert("fault".to_string(), json!(fault.map_or("none", Fault::name)));
                row.fields.insert("steps".to_string(), json!(lines.steps));
            }
            row
        };
        Ok(rows.enumerate().map(row).collect())
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let distinct: HashSet<_> = self.digits.iter().collect();
        let share = self.faults.as_ref().is_none_or(|faults| (0.0..=1.0).contains(&faults.share));
        let padded = self.surplus.is_some();
        let mut found = broken(&[
            (!self.digits.is_empty(), "digits", "it is empty; name at least one number of digits"),
            (distinct.len() == self.digits.len(), "digits", "it names a number twice"),
            (self.digits.iter().all(|n| (1..=18).contains(n)), "digits", "they must be from 1 to 18"),
            (share, "faults.share", "it must be from 0 to 1"),
            (self.train <= MOST_ROWS, "train", "it may be 100000 at most"),
            (self.eval <= MOST_ROWS, "eval", "it may be 100000 at most"),
            (
                !padded || self.rationale,
                "surplus",
                "there are no rationales to add to; leave rationale = false out",
            ),
            (
                !padded || self.faults.is_none(),
                "surplus",
                "rows with faults have lines of their own; leave one of the two out",
            ),
        ]);
        found.extend(under("surplus", self.surplus.iter().flat_map(Surplus::check)));
        found
    }

    /// Adds lines that the answer does not need to a row's rationale, and says which these are.
    fn pad(&self, row: &mut Row, surplus: &Surplus, digits: u32, (a, b): (u64, u64), seed: u64) {
        let own = self.scratchpad.write(a, b);
        let other = |seed: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let range = of_digits(digits);
            let mut number = || range.start + below(&mut rng, range.end - range.start);
            let written = self.scratchpad.write(number(), number());
            written.lines().map(str::to_owned).collect()
        };
        let seed = seed::derive(&[seed, row.line as u64]);
        let lines = surplus.around(&format!("{a}+{b}"), &own.lines().collect::<Vec<_>>(), seed, other);
        let (texts, needed): (Vec<String>, Vec<bool>) = lines.into_iter().unzip();
        row.fields.insert("rationale".to_string(), json!(texts.join("\n")));
        row.fields.insert("needed".to_string(), json!(needed));
    }

    fn row(&self, index: usize, digits: u32, (a, b): (u64, u64), seen: &mut HashSet<String>) -> Row {
        let question = format!("{a}+{b}");
        let mut repeats = (0..).map(|n| if n == 0 { question.clone() } else { format!("{question}#{n}") });
        let id = repeats.find(|id| !seen.contains(id)).expect("endless");
        seen.insert(id.clone());
        let mut fields = Map::new();
        fields.insert("id".to_string(), json!(id));
        fields.insert("question".to_string(), json!(question));
        if self.rationale {
            fields.insert("rationale".to_string(), json!(self.scratchpad.write(a, b)));
        }
        fields.insert("answer".to_string(), json!((a + b).to_string()));
        fields.insert("digits".to_string(), Value::String(digits.to_string()));
        Row { file: "addition".into(), stem: "addition".into(), line: index + 1, fields }
    }
}

/// One line a digit, from the right: the two digits and the carry, their sum, and the answer's digits so far. The
/// last line's end is the answer.
///
/// ```
/// use rationale::data::tasks::addition::scratchpad;
/// assert_eq!(scratchpad(348, 27), "8+7+0=15: 5\n4+2+1=7: 75\n3+0+0=3: 375");
/// ```
pub fn scratchpad(a: u64, b: u64) -> String {
    let places = a.max(b).to_string().len();
    let (mut carry, mut written, mut lines) = (0, String::new(), Vec::new());
    for place in 0..places {
        let digit = |x: u64| x / 10u64.pow(place as u32) % 10;
        let sum = digit(a) + digit(b) + carry;
        let shown = if place + 1 == places { sum } else { sum % 10 };
        written = format!("{shown}{written}");
        lines.push(format!("{}+{}+{carry}={sum}: {written}", digit(a), digit(b)));
        carry = sum / 10;
    }
    lines.join("\n")
}

/// One line a digit, from the right: what is left of the two numbers, the carry, and the answer's digits so far; STaR's
/// scratchpad, where every line follows from the one before. A last carry stands before the digits in the answer.
///
/// ```
/// use rationale::data::tasks::addition::remaining;
/// assert_eq!(remaining(624, 459), "62+45+1: 3\n6+4+0: 83\n++1: 083");
/// ```
pub fn remaining(a: u64, b: u64) -> String {
    let left = |x: u64| if x == 0 { String::new() } else { x.to_string() };
    let places = a.max(b).to_string().len();
    let (mut carry, mut written, mut lines) = (0, String::new(), Vec::new());
    for place in 0..places {
        let (low, high) = (10u64.pow(place as u32), 10u64.pow(place as u32 + 1));
        let sum = a / low % 10 + b / low % 10 + carry;
        carry = sum / 10;
        written = format!("{}{written}", sum % 10);
        lines.push(format!("{}+{}+{carry}: {written}", left(a / high), left(b / high)));
    }
    lines.join("\n")
}

/// One line a digit, from the right: the two digits and the carry, and their sum.
///
/// ```
/// use rationale::data::tasks::addition::digits;
/// assert_eq!(digits(348, 27), "8+7+0=15\n4+2+1=7\n3+0+0=3");
/// ```
pub fn digits(a: u64, b: u64) -> String {
    let written = scratchpad(a, b);
    let sums = written.lines().map(|line| line.split(": ").next().unwrap_or(line));
    sums.collect::<Vec<_>>().join("\n")
}

/// The numbers of so many digits.
fn of_digits(digits: u32) -> Range<u64> {
    let low = if digits == 1 { 0 } else { 10u64.pow(digits - 1) };
    low..10u64.pow(digits)
}

fn held_out(seed: u64, (a, b): (u64, u64)) -> bool {
    seed::derive(&[seed, seed::of_text("addition"), a, b]).is_multiple_of(5)
}

/// `count` pairs of a split; distinct as long as there are any, then (in training) all over again.
fn draw(digits: u32, split: Split, count: usize, seed: u64) -> Vec<(u64, u64)> {
    let ours = |pair: (u64, u64)| held_out(seed, pair) == (split == Split::Eval);
    let order = seed::derive(&[seed, u64::from(digits), u64::from(split == Split::Eval)]);
    let range = of_digits(digits);
    if digits <= LISTED {
        let all = range.clone().flat_map(|a| range.clone().map(move |b| (a, b)));
        let mut pairs: Vec<_> = all.filter(|pair| ours(*pair)).collect();
        shuffle(&mut pairs, order);
        let repeats = if split == Split::Train { count } else { pairs.len() };
        return pairs.iter().copied().cycle().take(count.min(repeats)).collect();
    }
    let (mut rng, mut seen) = (ChaCha8Rng::seed_from_u64(order), HashSet::new());
    let mut number = || range.start + below(&mut rng, range.end - range.start);
    let endless = std::iter::repeat_with(|| (number(), number()));
    endless.filter(|pair| ours(*pair) && seen.insert(*pair)).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tasks::tests::text;

    fn rows(split: Split, seed: u64) -> Vec<Row> {
        Addition::default().rows(split, seed).expect("the defaults are sound")
    }

    #[test]
    fn training_and_evaluation_share_no_question() {
        let asked: HashSet<String> =
            rows(Split::Train, 3).iter().map(|r| text(r, "question").to_string()).collect();
        assert!(rows(Split::Eval, 3).iter().all(|row| !asked.contains(text(row, "question"))));
    }

    #[test]
    fn classes_are_balanced_and_one_digit_repeats_in_training_only() {
        let (train, eval) = (rows(Split::Train, 3), rows(Split::Eval, 3));
        let of = |rows: &[Row], n: &str| rows.iter().filter(|r| text(r, "digits") == n).count();
        // 4000 rows over 4 classes.
        assert_eq!(["1", "2", "3", "4"].map(|n| of(&train, n)), [1000; 4]);
        // 400 rows over 4 classes, but about a fifth of one digit's 100 pairs is all there is.
        assert_eq!(["2", "3", "4"].map(|n| of(&eval, n)), [100; 3]);
        assert!((10..=30).contains(&of(&eval, "1")), "{}", of(&eval, "1"));
        let ids: HashSet<_> = train.iter().map(|row| text(row, "id")).collect();
        assert_eq!(ids.len(), 4000, "ids are unique even where questions repeat");
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(rows(Split::Train, 3), rows(Split::Train, 3));
        assert_ne!(rows(Split::Train, 3), rows(Split::Train, 4));
    }

    #[test]
    fn every_text_is_within_the_alphabet_and_right() {
        for row in rows(Split::Train, 3) {
            let (a, b) = text(&row, "question").split_once('+').expect("a sum");
            let sum = a.parse::<u64>().expect("a number") + b.parse::<u64>().expect("a number");
            assert_eq!(text(&row, "answer"), sum.to_string());
            assert!(text(&row, "rationale").ends_with(&format!(": {sum}")));
            assert!([a, b, text(&row, "rationale")].iter().all(|t| t.chars().all(|c| ALPHABET.contains(c))));
        }
    }

    #[test]
    fn what_remains_is_written_with_its_carry() {
        // 4+9 = 13: 3, carry 1; 2+5+1 = 8, carry 0; 6+4 = 10: 0, carry 1, and 1083 is the answer.
        assert_eq!(remaining(624, 459), "62+45+1: 3\n6+4+0: 83\n++1: 083");
        assert_eq!(remaining(0, 0), "++0: 0");
        // The shorter number runs out first.
        assert_eq!(remaining(105, 7), "10++1: 2\n1++0: 12\n++0: 112");
        let task = Addition { scratchpad: Scratchpad::Remaining, ..Addition::default() };
        let rows = task.rows(Split::Train, 3).expect("sound");
        assert!(rows.iter().all(|row| text(row, "rationale").chars().all(|c| ALPHABET.contains(c))));
        assert_eq!([0, 1, 2, 3, 4, 5].map(|i| rows[i].fields["turn"].clone()), [0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn what_is_needed_of_a_padded_scratchpad_is_the_scratchpad() {
        let surplus = Some(Surplus { said: vec![1, 2], foreign: 0.5 });
        let task =
            Addition { scratchpad: Scratchpad::Digits, surplus, digits: vec![2, 3], ..Addition::default() };
        let (mut longer, mut twice) = (0, 0);
        for row in task.rows(Split::Train, 3).expect("sound") {
            let (a, b) = text(&row, "question").split_once('+').expect("a sum");
            let lines: Vec<&str> = text(&row, "rationale").lines().collect();
            let marks = row.fields["needed"].as_array().expect("a list");
            let marks: Vec<bool> = marks.iter().map(|mark| mark.as_bool().expect("a truth")).collect();
            let of = |needed: bool| lines.iter().zip(&marks).filter(move |(_, mark)| **mark == needed);
            let needed: Vec<&str> = of(true).map(|(line, _)| *line).collect();
            assert_eq!(needed.join("\n"), digits(a.parse().expect("one"), b.parse().expect("one")));
            assert_eq!(lines.len(), marks.len());
            let said = of(false).filter(|(line, _)| **line == text(&row, "question")).count();
            assert!((1..=2).contains(&said) && text(&row, "rationale").chars().all(|c| ALPHABET.contains(c)));
            twice += usize::from(said == 2);
            longer += usize::from(of(false).count() > said);
        }
        // Halves of 4000 rows, ± 32.
        assert!((1800..2200).contains(&longer) && (1800..2200).contains(&twice), "{longer} {twice}");
    }

    #[test]
    fn what_cannot_be_padded_is_told() {
        let padded = Addition { surplus: Some(Surplus::default()), ..Addition::default() };
        let told = |task: Addition| task.check().into_iter().map(|misfit| misfit.key).collect::<Vec<_>>();
        assert!(told(padded.clone()).is_empty());
        assert_eq!(told(Addition { rationale: false, ..padded.clone() }), ["surplus"]);
        assert_eq!(told(Addition { faults: Some(Faults::default()), ..padded.clone() }), ["surplus"]);
        assert_eq!(
            told(Addition { surplus: Some(Surplus { said: vec![], foreign: 0.0 }), ..padded }),
            ["surplus.said"]
        );
    }

    #[test]
    fn a_carry_out_of_the_last_place_is_written() {
        // 9+9 = 18, carry 1; 9+9+1 = 19: the answer is 198.
        assert_eq!(scratchpad(99, 99), "9+9+0=18: 8\n9+9+1=19: 198");
        assert_eq!(digits(99, 99), "9+9+0=18\n9+9+1=19");
    }
}
