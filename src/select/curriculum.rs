//! Which questions are asked next: by how often they were answered right of late, by pools of difficulty, by stages.

use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Chooses a step's questions. Without it the steps walk through the questions epoch after epoch; with it each step takes, in a
/// random order of its own, the questions that the pools ask for and whose recent pass rate lies in the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Curriculum {
    /// The least and the greatest recent pass rate of questions that are trained on; those not sampled yet always are.
    pub pass_rate: Option<[f64; 2]>,
    /// How many of a question's last askings its pass rate is the mean of.
    pub window: usize,
    /// The chance that a question outside the window is asked all the same when its turn comes, so that it can come back.
    pub outside: f64,
    /// The column that says which pool a question belongs to.
    pub column: Option<String>,
    /// Which pools are asked, and from which step on.
    pub stages: Vec<Pools>,
}

/// `[[loop.grpo.curriculum.stages]]`: pools and their shares of a step, until the next of the stages begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pools {
    /// The first step that asks them; the first of the stages has 1.
    pub from: usize,
    /// Values of the column and their shares, in any unit.
    pub shares: BTreeMap<String, f64>,
}

impl Default for Curriculum {
    fn default() -> Self {
        Self { pass_rate: None, window: 1, outside: 0.1, column: None, stages: vec![] }
    }
}

impl Curriculum {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        let mut wrong = |key: &str, message: &str| found.push(Misfit::new(key, message, ""));
        if let Some([low, high]) = self.pass_rate
            && !(0.0 <= low && low <= high && high <= 1.0)
        {
            wrong("pass_rate", "it must ascend and lie between 0 and 1");
        }
        if self.window == 0 {
            wrong("window", "at least the last asking counts");
        }
        if !(0.0..=1.0).contains(&self.outside) {
            wrong("outside", "it must lie between 0 and 1");
        }
        if self.column.is_none() != self.stages.is_empty() {
            let key = if self.column.is_some() { "column" } else { "stages" };
            wrong(key, "column and stages belong together: the pools of the stages are values of the column");
        }
        let first = self.stages.first().map_or(1, |stage| stage.from);
        if first != 1 || !self.stages.is_sorted_by(|a, b| a.from < b.from) {
            wrong("stages", "`from` must begin at 1 and ascend");
        }
        let sound = |pools: &Pools| {
            let shares = || pools.shares.values();
            shares().all(|share| share.is_finite() && *share >= 0.0) && shares().sum::<f64>() > 0.0
        };
        if !self.stages.iter().all(sound) {
            wrong("stages", "shares must be at least 0, and some above");
        }
        found
    }

    /// How many of `count` questions each pool gives at `step`: by largest remainder, ties to the first in the alphabet. None
    /// where there are no pools.
    ///
    /// ```
    /// use rationale::select::curriculum::{Curriculum, Pools};
    /// let shares = [("easy".to_string(), 1.0), ("hard".to_string(), 2.0)].into();
    /// let curriculum = Curriculum { stages: vec![Pools { from: 1, shares }], ..Curriculum::default() };
    /// // 8/3 = 2.67 and 16/3 = 5.33: the one left over goes to the larger remainder.
    /// assert_eq!(curriculum.counts(7, 8), Some(vec![("easy".into(), 3), ("hard".into(), 5)]));
    /// ```
    pub fn counts(&self, step: usize, count: usize) -> Option<Vec<(String, usize)>> {
        let pools = self.stages.iter().rfind(|stage| stage.from <= step)?;
        let total: f64 = pools.shares.values().sum();
        let exact = |share: &f64| share / total * count as f64;
        let mut counts: Vec<(String, usize)> =
            pools.shares.iter().map(|(pool, share)| (pool.clone(), exact(share).floor() as usize)).collect();
        let remainders: Vec<f64> = pools.shares.values().map(|share| exact(share).fract()).collect();
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by(|&a, &b| remainders[b].total_cmp(&remainders[a]));
        let left = count - counts.iter().map(|(_, n)| n).sum::<usize>();
        order.into_iter().take(left).for_each(|at| counts[at].1 += 1);
        Some(counts)
    }

    /// The first `count` questions of `order` that the window lets through; where these are too few, the first of the others
    /// too: their number is told as well. `chance` is a question's draw between 0 and 1.
    pub fn pick(
        &self,
        order: &[usize],
        count: usize,
        recent: &Recent,
        chance: impl Fn(usize) -> f64,
    ) -> (Vec<usize>, usize) {
        let inside = |question: usize| match (self.pass_rate, recent.rate(question)) {
            (Some([low, high]), Some(rate)) => (low..=high).contains(&rate),
            _ => true,
        };
        let (mut picked, passed_over): (Vec<usize>, Vec<usize>) =
            order.iter().partition(|&&question| inside(question) || chance(question) < self.outside);
        picked.truncate(count);
        let filled = passed_over.len().min(count - picked.len());
        picked.extend(&passed_over[..filled]);
        (picked, filled)
    }
}

/// The shares of right answers that questions lately got, by the question's place in the data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent(BTreeMap<usize, Vec<f64>>);

impl Recent {
    /// Notes a question's newest pass rate, and forgets all but the last `window`.
    pub fn note(&mut self, question: usize, rate: f64, window: usize) {
        let rates = self.0.entry(question).or_default();
        rates.push(rate);
        rates.drain(..rates.len().saturating_sub(window));
    }

    /// The same under other numbers: those of the questions `0..count` that `index` names.
    pub fn by(&self, index: impl Fn(usize) -> Option<usize>, count: usize) -> Self {
        let known = |at: usize| Some((at, self.0.get(&index(at)?)?.clone()));
        Self((0..count).filter_map(known).collect())
    }

    /// The mean of those that are remembered.
    pub fn rate(&self, question: usize) -> Option<f64> {
        let rates = self.0.get(&question)?;
        Some(rates.iter().sum::<f64>() / rates.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(keys: &str) -> Curriculum {
        toml::from_str(keys).unwrap()
    }

    #[test]
    fn questions_outside_the_window_give_way() {
        let mut recent = Recent::default();
        for (question, rate) in [(0, 1.0), (1, 0.5), (2, 0.0), (3, 0.25)] {
            recent.note(question, rate, 1);
        }
        let window = section("pass_rate = [0.2, 0.8]\noutside = 0.1");
        // 0 is too easy and 2 too hard; 4 has not been asked.
        let pick = |count, draw: f64| window.pick(&[0, 2, 1, 4, 3], count, &recent, |_| draw);
        assert_eq!(pick(2, 0.5), (vec![1, 4], 0));
        assert_eq!(pick(4, 0.5), (vec![1, 4, 3, 0], 1));
        assert_eq!(pick(9, 0.5), (vec![1, 4, 3, 0, 2], 2));
        // A draw below `outside` lets them through.
        assert_eq!(pick(2, 0.05), (vec![0, 2], 0));
        assert_eq!(section("").pick(&[0, 2, 1], 2, &recent, |_| 0.5), (vec![0, 2], 0));
    }

    #[test]
    fn the_pass_rate_is_the_mean_of_the_last() {
        let mut recent = Recent::default();
        assert_eq!(recent.rate(7), None);
        for rate in [1.0, 0.0, 0.5] {
            recent.note(7, rate, 2);
        }
        // (0 + 0.5) / 2: the first is forgotten.
        assert_eq!(recent.rate(7), Some(0.25));
        let kept = serde_json::to_value(&recent).unwrap();
        assert_eq!(serde_json::from_value::<Recent>(kept).unwrap(), recent);
    }

    #[test]
    fn pools_take_turns_by_stage() {
        let pools = section(
            "column = 'digits'\nstages = [{ from = 1, shares = { 1 = 1.0 } }, { from = 10, shares = { 1 = 1.0, 2 = 3.0 } }]",
        );
        let named = |counts: &[(&str, usize)]| {
            Some(counts.iter().map(|(pool, n)| (pool.to_string(), *n)).collect::<Vec<_>>())
        };
        assert_eq!(pools.counts(9, 6), named(&[("1", 6)]));
        // 6/4 = 1.5 and 18/4 = 4.5: the tie goes to the first.
        assert_eq!(pools.counts(10, 6), named(&[("1", 2), ("2", 4)]));
        assert_eq!(section("").counts(1, 6), None);
    }

    #[test]
    fn the_section_is_checked() {
        let found = |keys: &str| -> Vec<(String, String)> {
            section(keys).check().into_iter().map(|misfit| (misfit.key, misfit.message)).collect()
        };
        let all = found("pass_rate = [0.8, 0.2]\nwindow = 0\noutside = 2.0\ncolumn = 'x'");
        let keys: Vec<&str> = all.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["pass_rate", "window", "outside", "column"]);
        assert!(all[3].1.contains("belong together"));
        let late = found("column = 'x'\nstages = [{ from = 2, shares = { a = 1.0 } }]");
        assert!(late[0].1.contains("begin at 1"));
        let none = found("column = 'x'\nstages = [{ from = 1, shares = { a = 0.0 } }]");
        assert!(none[0].1.contains("shares"));
    }
}
