//! Reports of findings and the condition that they come to: a procedural task whose evidence, counterfactuals and confounders are known,
//! for methods that ask whether a rationale matters.

mod findings;
mod rationales;
mod row;

use super::drawn::share;
use crate::data::Split;
use crate::data::order::{below, shuffle};
use crate::data::row::Row;
use crate::error::{Error, Result};
use crate::section::{Misfit, all_fit, broken};
use crate::seed;
use findings::{CONDITIONS, Findings, PARTS, RENAMED, SEVERITIES};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
pub use rationales::Style;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::Range;

/// Every character of the task's texts.
pub const ALPHABET: &str =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:?!()[]{}\"'#+-_ \n";

const MOST_ROWS: usize = 25_000;

/// Reports: `[data.task.report]`. A report says of six parts whether each is low, ok or high, in any order, among sentences that do not
/// matter; one of four conditions has both of its two findings in it, and the answer is its name. The findings of held-out
/// reports, a fifth of each condition's, are in no training row.
///
/// Columns of every row: `question`, `answer`, `rationale`, `evidence` (the answer's findings in words), `spans` (where they stand in
/// `question`, `[start, end]` in bytes), `distractors` (where the sentences stand that do not matter, likewise), `conditions` (the list of those that it comes to), `ranked` (all, by how many of their findings
/// are there), `difficulty` (how many findings the nearest wrong one has there), `site`, `next` (what is prescribed). Where there is
/// one answer, also `choices`, `letter` (the answer's), `wrong` (the nearest wrong choice), `negated` (a rationale that leads there), `rationales`
/// (one for each choice that leads to it) and `counterfactuals` (for each wrong choice the completion that leads to it): these read
/// the report with the fewest findings altered that comes to that choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Report {
    /// Training rows, those by `counterfactuals` not counted.
    pub train: usize,
    /// Held-out rows, those by `counterfactuals` not counted.
    pub eval: usize,
    /// How rationales are written.
    pub style: Style,
    /// Sentences that do not matter: from 2 (age and site) to 4.
    pub distractors: usize,
    /// Share of the training reports whose `site` is the condition's own; in the others, and in all held-out ones, it says nothing.
    pub shortcut: f64,
    /// Held-out reports have other words for low, ok and high.
    pub ood: bool,
    /// Share of the rationales with one wrong line, under a right answer. Rows then have `steps` (the lines and the answer's), `labels`
    /// (whether each is right; none is behind an error) and `first_error` (from 0; −1 for none).
    pub corrupt: f64,
    /// Share of the findings that the rationale's writer takes the wrong way; the column `assessed` is what that comes to.
    pub careless: f64,
    /// Add for every wrong choice a row whose report has the fewest findings altered that make it right, with its rationale; `counterfactual_of` is
    /// the `id` of the row that it alters, and `altered` says `yes` or `no`.
    pub counterfactuals: bool,
    /// Any number of conditions from one on; the answer is all their names, `ash, cor`.
    pub multi: bool,
    /// Add an author's `note` about the report, the `season` in which it was written (`high`, `low`) and an `outcome`: 1 if the note names the
    /// evidence, and 1.5 in high season, and noise of deviation 0.25. So much more often than in low season authors write `at once` in high
    /// season: 0 is as often, 1 always and never.
    pub confounding: Option<f64>,
    /// Ask for a form of the rationale too: the question ends with an instruction, which the column `instruction` has as
    /// `[reward.instruction]` reads it, `form` its kind, and `complied` the rationale made to follow it.
    pub instructions: bool,
    /// Ask for a level of reading too: the question ends with whom the rationale is for, a `child`, an `adult` or a `doctor`, which the column `level` says. `rationale` is what the answer
    /// rests on in words of that level, and `by_level` has it in those of each.
    pub levels: bool,
    /// So many `passages` a row, of which one, at the place that `relevant` names from 0, says what the answer's condition needs.
    pub passages: usize,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            train: 2000,
            eval: 400,
            style: Style::Options,
            distractors: 2,
            shortcut: 0.0,
            ood: false,
            corrupt: 0.0,
            careless: 0.0,
            counterfactuals: false,
            multi: false,
            confounding: None,
            instructions: false,
            levels: false,
            passages: 0,
        }
    }
}

/// A report as it is written.
#[derive(Debug, Clone)]
struct Case {
    findings: Findings,
    /// The conditions in the order in which they are offered.
    options: Vec<usize>,
    /// What does not matter.
    others: Vec<String>,
    site: usize,
    /// The order of the sentences: parts, then what does not matter.
    order: Vec<usize>,
    severities: [&'static str; 3],
}

impl Case {
    /// The text, where the sentence of each part stands in it, and where those do that do not matter.
    fn text(&self) -> (String, [Range<usize>; 6], Vec<Range<usize>>) {
        let (mut text, mut spans, mut beside) = (String::new(), [const { 0..0 }; 6], Vec::new());
        for &at in &self.order {
            let start = text.len();
            match at.checked_sub(PARTS.len()) {
                Some(other) => {
                    text.push_str(&self.others[other]);
                    beside.push(start..text.len() + 1);
                }
                None => {
                    text.push_str(&rationales::finding((at, self.findings.0[at]), &self.severities));
                    spans[at] = start..text.len() + 1;
                }
            }
            text.push_str(". ");
        }
        text.pop();
        (text, spans, beside)
    }

    fn age(&self) -> u64 {
        self.others[0].trim_start_matches("age ").parse().unwrap_or(0)
    }
}

impl Report {
    /// The rows of a split by the seed; no report is twice in one.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        all_fit("data.task.report", self, self.check())?;
        let wanted = if split == Split::Train { self.train } else { self.eval };
        let order = seed::derive(&[seed, seed::of_text("report"), u64::from(split == Split::Eval)]);
        let mut rng = ChaCha8Rng::seed_from_u64(order);
        let all = findings::of_split(split, seed);
        let (mut seen, mut rows, mut draws) = (HashSet::new(), Vec::new(), 0);
        for index in 0..wanted {
            let case = loop {
                draws += 1;
                if draws > 100 * (wanted + 100) {
                    return Err(Error::Recipe(format!(
                        "[data.task.report] there are not {wanted} different reports; lower `train` and `eval`"
                    )));
                }
                let case = self.case(split, &all, &mut rng);
                if seen.insert(case.text().0) {
                    break case;
                }
            };
            let towards = self.towards(&case, &all, &mut rng);
            let mut fields = self.fields(index, &case, &towards, &mut rng);
            let id = format!("report-{index}");
            fields.insert("id".into(), id.clone().into());
            if self.counterfactuals {
                fields.insert("altered".into(), "no".into());
            }
            rows.push(Row::made("report", rows.len() + 1, fields));
            for (condition, altered) in towards.iter().filter(|_| self.counterfactuals) {
                let back = self.towards(altered, &all, &mut rng);
                let mut fields = self.fields(index, altered, &back, &mut rng);
                fields.insert("id".into(), format!("{id}-{}", CONDITIONS[*condition].name).into());
                fields.insert("counterfactual_of".into(), id.clone().into());
                fields.insert("altered".into(), "yes".into());
                rows.push(Row::made("report", rows.len() + 1, fields));
            }
        }
        Ok(rows)
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let share = |share: f64| (0.0..=1.0).contains(&share);
        let asked = "it is a share: from 0 to 1";
        broken(&[
            ((2..=4).contains(&self.distractors), "distractors", "it must be from 2 to 4"),
            (share(self.shortcut), "shortcut", asked),
            (share(self.corrupt), "corrupt", asked),
            (share(self.careless), "careless", asked),
            (share(self.confounding.unwrap_or(0.0)), "confounding", asked),
            (
                self.corrupt == 0.0 || self.careless == 0.0,
                "corrupt",
                "a careless writer has wrong lines already; take one of the two out",
            ),
            (
                self.corrupt == 0.0 || self.style != Style::Terse,
                "corrupt",
                "a terse rationale has but the line that the answer rests on; use style = \"options\" or \"chain\"",
            ),
            (
                !(self.multi && self.counterfactuals),
                "counterfactuals",
                "they turn one answer into another; take multi out",
            ),
            (
                !(self.levels
                    && (self.instructions || self.multi || self.corrupt > 0.0 || self.careless > 0.0)),
                "levels",
                "its rationales say rightly what one answer rests on; take instructions, multi, corrupt and careless out",
            ),
            (
                self.passages == 0 || (4..=12).contains(&self.passages),
                "passages",
                "it must be from 4 to 12, or 0",
            ),
            (self.train <= MOST_ROWS, "train", "it may be 25000 at most"),
            (self.eval <= MOST_ROWS, "eval", "it may be 25000 at most"),
        ])
    }

    /// A report of the split: conditions in equal shares where there is one answer, else findings.
    fn case(&self, split: Split, all: &[Findings], rng: &mut ChaCha8Rng) -> Case {
        let condition = below(rng, CONDITIONS.len() as u64) as usize;
        let findings = loop {
            let findings = all[below(rng, all.len() as u64) as usize];
            if self.multi || findings.conditions() == [condition] {
                break findings;
            }
        };
        let first = findings.conditions()[0];
        let own = split == Split::Train && share(rng) < self.shortcut;
        let site = if own { first } else { below(rng, CONDITIONS.len() as u64) as usize };
        let mut others = vec![format!("age {}", 40 + below(rng, 50)), format!("site q{}", site + 1)];
        others.push(format!("ward {}", ["a", "b", "c"][below(rng, 3) as usize]));
        others.push(format!("day {}", 1 + below(rng, 28)));
        others.truncate(self.distractors);
        let (mut options, mut order) =
            (vec![0, 1, 2, 3], (0..PARTS.len() + others.len()).collect::<Vec<_>>());
        shuffle(&mut options, rng.next_u64());
        shuffle(&mut order, rng.next_u64());
        let severities = if self.ood && split == Split::Eval { RENAMED } else { SEVERITIES };
        Case { findings, options, others, site, order, severities }
    }

    /// For each wrong condition, in the order in which they are offered, the report with the fewest findings altered that comes to it alone;
    /// which of several is drawn. They are of the same split.
    fn towards(&self, case: &Case, all: &[Findings], rng: &mut ChaCha8Rng) -> Vec<(usize, Case)> {
        if self.multi {
            return vec![];
        }
        let wrong = case.options.iter().filter(|&&condition| case.findings.conditions() != [condition]);
        let nearest = wrong.map(|&condition| {
            let of = all.iter().filter(|findings| findings.conditions() == [condition]);
            let least = of.clone().map(|findings| findings.altered(case.findings)).min().unwrap_or(0);
            let near: Vec<&Findings> =
                of.filter(|findings| findings.altered(case.findings) == least).collect();
            let findings = *near[below(rng, near.len() as u64) as usize];
            (condition, Case { findings, ..case.clone() })
        });
        nearest.collect()
    }
}

#[cfg(test)]
mod tests;
