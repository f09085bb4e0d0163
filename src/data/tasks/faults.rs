//! Scratchpads with a known first error, and labels of their lines: what a reward model of steps can be trained and
//! measured with.

use crate::data::order::below;
use crate::seed;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[data.task.addition.faults]`: rows have `steps` (the scratchpad's lines and the answer's), `labels` (whether each is
/// right), `first_error` and `fault`, the kind of fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// The share of rows with a fault; the kinds take turns.
    pub share: f64,
    /// Who labels the lines.
    pub labels: Labels,
    /// Make each row a question about one line, the training data of a model that writes critiques: columns `previous` (the lines before
    /// it, which are right), `step`, `rationale` (the line as it should be) and `answer`, `yes` or `no`. In a row with a fault it
    /// is the first wrong line, in others any.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub critiques: bool,
}

/// Who labels the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// The truth: a line is right if it is the one that comes there in the right scratchpad.
    Truth,
    /// A checker that reads each line by itself: right if its sum is, or if the answer repeats what was written before. It
    /// does not see whether the digits are the question's, nor whether a line was there already.
    Sums,
}

impl Default for Faults {
    fn default() -> Self {
        Self { share: 0.5, labels: Labels::Truth, critiques: false }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A line's sum is wrong.
    Sum,
    /// A line adds a digit that is not the question's; its sum is right.
    Digit,
    /// A line stands twice, up to four times.
    Repeat,
    /// The answer is not what was written.
    Answer,
}

impl Fault {
    const ALL: [Fault; 4] = [Fault::Sum, Fault::Digit, Fault::Repeat, Fault::Answer];

    /// Its name in the column `fault`.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Sum => "sum",
            Fault::Digit => "digit",
            Fault::Repeat => "repeat",
            Fault::Answer => "answer",
        }
    }
}

/// The lines of a scratchpad and what is true of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// The scratchpad's lines, then the answer's.
    pub steps: Vec<String>,
    /// Whether each line's own sum is right.
    pub sums: Vec<bool>,
    /// The first line that is wrong in truth.
    pub first_error: Option<usize>,
}

impl Lines {
    /// The labels that `labels` gives: of the truth, nothing after the first error is right.
    pub fn labels(&self, labels: Labels) -> Vec<bool> {
        match labels {
            Labels::Sums => self.sums.clone(),
            Labels::Truth => {
                (0..self.steps.len()).map(|line| self.first_error.is_none_or(|e| line < e)).collect()
            }
        }
    }
}

impl Faults {
    /// The fault of the row that is `index`-th, by chance from `seed`.
    pub fn of_row(&self, index: usize, seed: u64) -> Option<Fault> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(&[seed, index as u64, seed::of_text("fault")]));
        let faulty = (below(&mut rng, 1000) as f64) < 1000.0 * self.share;
        faulty.then(|| Fault::ALL[below(&mut rng, 4) as usize])
    }
}

/// The scratchpad of `a + b` with `fault`, its place and kind drawn from `seed`.
///
/// ```
/// use rationale::data::tasks::faults::lines;
/// let lines = lines(48, 27, None, 0);
/// assert_eq!(lines.steps, ["8+7+0=15: 5", "4+2+1=7: 75", "#### 75"]);
/// assert_eq!((lines.sums, lines.first_error), (vec![true; 3], None));
/// ```
pub fn lines(a: u64, b: u64, fault: Option<Fault>, seed: u64) -> Lines {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let places = a.max(b).to_string().len();
    let at = below(&mut rng, places as u64) as usize;
    let (mut carry, mut written) = (0, String::new());
    let mut found = Lines { steps: vec![], sums: vec![], first_error: None };
    for place in 0..places {
        let here = fault.filter(|_| place == at);
        let digit = |x: u64| x / 10u64.pow(place as u32) % 10;
        let (mut first, second) = (digit(a), digit(b));
        if here == Some(Fault::Digit) {
            first = (first + 1 + below(&mut rng, 9)) % 10;
        }
        let right = first + second + carry;
        let sum = if here == Some(Fault::Sum) { (right + 1 + below(&mut rng, 19)) % 20 } else { right };
        if matches!(here, Some(Fault::Sum | Fault::Digit)) {
            found.first_error = Some(found.steps.len());
        }
        written = format!("{}{written}", if place + 1 == places { sum } else { sum % 10 });
        let line = format!("{first}+{second}+{carry}={sum}: {written}");
        let repeats = if here == Some(Fault::Repeat) { 1 + below(&mut rng, 4) as usize } else { 0 };
        if repeats > 0 {
            found.first_error = Some(found.steps.len() + 1);
        }
        found.steps.extend(std::iter::repeat_n(line, 1 + repeats));
        found.sums.extend(std::iter::repeat_n(sum == right, 1 + repeats));
        carry = sum / 10;
    }
    let answer = match fault {
        Some(Fault::Answer) => {
            found.first_error = Some(found.steps.len());
            (written.parse::<u64>().unwrap_or(0) + 1 + below(&mut rng, 9)).to_string()
        }
        _ => written,
    };
    found.steps.push(format!("#### {answer}"));
    found.sums.push(fault != Some(Fault::Answer));
    found
}

/// A line of a scratchpad, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Critique {
    /// The lines before it, each with its end.
    pub previous: String,
    /// The line.
    pub step: String,
    /// The line as it should be, without the marker of an answer.
    pub rationale: String,
    /// Whether it is right.
    pub right: bool,
}

/// The critique of one line of the scratchpad of `a + b` with `fault`: the first wrong line, or where none is, one drawn from `seed`.
///
/// ```
/// use rationale::data::tasks::faults::critique;
/// let critique = critique(4, 5, None, 3);
/// assert!(critique.right && ["4+5+0=9: 9", "#### 9"].contains(&critique.step.as_str()));
/// ```
pub fn critique(a: u64, b: u64, fault: Option<Fault>, seed: u64) -> Critique {
    let (written, right) = (lines(a, b, fault, seed), lines(a, b, None, seed).steps);
    let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(&[seed, seed::of_text("critique")]));
    let at = written.first_error.unwrap_or_else(|| below(&mut rng, right.len() as u64) as usize);
    Critique {
        previous: written.steps[..at].iter().map(|line| format!("{line}\n")).collect(),
        step: written.steps[at].clone(),
        rationale: right[at].trim_start_matches("#### ").to_string(),
        right: written.first_error.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_critique_says_how_the_line_should_be() {
        for seed in 0..50 {
            let wrong = critique(348, 927, Some(Fault::Sum), seed);
            assert!(!wrong.right && wrong.step != wrong.rationale);
            assert!(lines(348, 927, None, 0).steps.join("\n").starts_with(wrong.previous.trim_end()));
            let right = critique(348, 927, None, seed);
            assert!(right.right && right.step.trim_start_matches("#### ") == right.rationale);
        }
        // A line that stands twice: the next one is what should have come.
        let repeat = (0..50).map(|seed| critique(12, 34, Some(Fault::Repeat), seed));
        let first = repeat.into_iter().find(|critique| critique.step == "2+4+0=6: 6").unwrap();
        assert_eq!((first.previous.as_str(), first.rationale.as_str()), ("2+4+0=6: 6\n", "1+3+0=4: 46"));
    }

    #[test]
    fn each_fault_is_what_its_name_says() {
        for seed in 0..200 {
            let right = lines(348, 927, None, seed).steps;
            let of = |fault| lines(348, 927, Some(fault), seed);
            for fault in Fault::ALL {
                let found = of(fault);
                let error = found.first_error.unwrap();
                assert_eq!(found.steps[..error.min(3)], right[..error.min(3)], "{fault:?}");
                let truth = found.labels(Labels::Truth);
                assert_eq!(truth.iter().position(|right| !right), Some(error));
                let sums_wrong = found.sums.iter().filter(|right| !**right).count();
                match fault {
                    Fault::Sum | Fault::Answer => {
                        assert_eq!((sums_wrong, found.sums[error]), (1, false));
                        assert_ne!(found.steps[error], right[error]);
                    }
                    // What the checker of sums is blind to.
                    Fault::Digit => assert!(sums_wrong == 0 && found.steps[error] != right[error]),
                    Fault::Repeat => assert!(sums_wrong == 0 && found.steps[error] == found.steps[error - 1]),
                }
            }
        }
    }

    #[test]
    fn a_share_of_the_rows_has_a_fault() {
        let faults = Faults { share: 0.25, ..Faults::default() };
        let kinds: Vec<Fault> = (0..4000).filter_map(|index| faults.of_row(index, 7)).collect();
        // 1000 ± 27 (one standard deviation); each kind a quarter of these, 250 ± 14.
        assert!((850..1150).contains(&kinds.len()), "{}", kinds.len());
        for fault in Fault::ALL {
            let count = kinds.iter().filter(|kind| **kind == fault).count();
            assert!((180..320).contains(&count), "{fault:?} {count}");
        }
    }
}
