//! A reward of levels, coarse to fine: `[reward.hierarchical]` (the reward tables of Shop-R1, arXiv 2507.17842;
//! RewardMap, 2510.02240; ComfyUI-R1, 2506.09790; Recon, 2506.00577).

mod graph;
mod level;
mod reading;

pub use level::{Level, Places, Test};
pub use reading::Read;

use super::{Holds, Models, OfRow, Part, Reward, RowWant, Wants, column};
use crate::data::Example;
use crate::rollout::{Group, Rollout, Score};
use reading::CompletionView;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};

/// `[reward.hierarchical]`: the sum of what its levels give, times the example's difficulty.
///
/// Levels are tried in order. One that holds gives `right` (times its value, where the test is graded), one that does
/// not gives `wrong`. After a gate that does not hold, and after a level that is `enough` and holds, no further level
/// counts. Logged for each level: how many of the completions that came to it hold, as `rewards/NAME/LEVEL/mean`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Hierarchical {
    /// How fields are found in a completion: `text` (no fields), `json` or `tags`.
    pub read: Read,
    /// The part of the completion that is read: by default the answer for `text`, and all for `json` and `tags`.
    pub of: Option<Part>,
    /// The column that holds the gold object for `read = "json"`.
    pub gold: String,
    /// Whether a level counts only if those before it hold: whether levels are gates where they do not say.
    pub ordered: bool,
    /// The levels, coarse to fine.
    pub level: Vec<Level>,
    /// By what an example's score is multiplied: the sum of these weights; 1 without any.
    pub difficulty: Vec<Difficulty>,
}

/// A weight by a column of the row.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Difficulty {
    /// The column.
    pub column: String,
    /// Its values and what they weigh.
    pub weights: BTreeMap<String, f64>,
    /// What all other values weigh; an error without this.
    pub otherwise: Option<f64>,
}

impl Default for Hierarchical {
    fn default() -> Self {
        Self {
            read: Read::Text,
            of: None,
            gold: "answer".into(),
            ordered: true,
            level: vec![],
            difficulty: vec![],
        }
    }
}

impl Hierarchical {
    /// Writes into each level whether it is a gate.
    pub(super) fn follow(section: &mut toml::Table) {
        let ordered = section.get("ordered").cloned();
        let ordered = ordered.unwrap_or_else(|| Self::default().ordered.into());
        let levels = section.get_mut("level").and_then(toml::Value::as_array_mut).into_iter().flatten();
        for level in levels.filter_map(toml::Value::as_table_mut) {
            level.entry("gate").or_insert(ordered.clone());
        }
    }

    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(!self.level.is_empty(), "no levels; add [[reward.hierarchical.level]]");
        let mut names = HashSet::new();
        for level in &self.level {
            level.check(self.read).map_err(|problem| anyhow::anyhow!("level `{}`: {problem}", level.name))?;
            anyhow::ensure!(names.insert(&level.name), "two levels are called `{}`", level.name);
        }
        let weights = self.difficulty.iter().flat_map(|d| d.weights.values().chain(&d.otherwise));
        anyhow::ensure!(weights.copied().all(f64::is_finite), "difficulty: weights must be finite numbers");
        Ok(Scorer { section: self, figures: vec![] })
    }

    /// What its levels and weights need.
    fn wants(&self) -> Wants {
        let mut wants = Wants::default();
        for level in &self.level {
            // A condition is looked at where those before it hold.
            let mut only = Vec::new();
            for (path, text) in &level.when {
                let path = self.path(path);
                wants.rows.push(RowWant {
                    key: "level".into(),
                    of: OfRow::Column(path.clone(), Holds::Anything),
                    only: only.clone(),
                    remedy: String::new(),
                });
                only.push((path, text.clone()));
            }
            if let Some(of) = level.target(self) {
                wants.rows.push(RowWant { key: "level".into(), of, only, remedy: String::new() });
            }
            if level.test == Test::Rank && level.by == Places::Linear {
                let remedy = "level.by = \"linear\" counts places among a question's choices; by = \"reciprocal\" needs none";
                wants.rows.push(RowWant {
                    key: "level".into(),
                    of: OfRow::Choices,
                    only: vec![],
                    remedy: remedy.into(),
                });
            }
            if let Some(name) = level.reward.as_ref().filter(|_| level.test == Test::Reward) {
                wants = wants.reward("level.reward", name);
            }
        }
        self.difficulty.iter().fold(wants, |wants, difficulty| {
            let known = || difficulty.weights.keys().cloned().collect();
            let holds = if difficulty.otherwise.is_some() { Holds::Anything } else { Holds::OneOf(known()) };
            wants.column("difficulty", &difficulty.column, holds)
        })
    }

    /// The path in the row of one in the gold object (`read = "json"`), or in the row itself.
    fn path(&self, path: &str) -> String {
        match self.read {
            Read::Json => format!("{}.{path}", self.gold),
            _ => path.to_owned(),
        }
    }

    fn scale(&self, example: &Example) -> anyhow::Result<f64> {
        if self.difficulty.is_empty() {
            return Ok(1.0);
        }
        self.difficulty.iter().map(|difficulty| difficulty.of(example)).sum()
    }
}

impl Difficulty {
    fn of(&self, example: &Example) -> anyhow::Result<f64> {
        let value = column::text(example, &self.column)?;
        self.weights.get(&value).copied().or(self.otherwise).ok_or_else(|| {
            let column = &self.column;
            anyhow::anyhow!(
                "its {column} is `{value}`, which has no weight in difficulty; add it, or `otherwise`"
            )
        })
    }
}

struct Scorer {
    section: Hierarchical,
    figures: Vec<(String, f64)>,
}

impl Scorer {
    fn climb(&mut self, example: &Example, rollout: &Rollout) -> anyhow::Result<f64> {
        let section = &self.section;
        let reading = CompletionView::new(section, example, rollout);
        let mut total = 0.0;
        for level in &section.level {
            if !level.concerns(&reading)? {
                continue;
            }
            let value = level.value(&reading)?;
            self.figures.push((level.name.clone(), f64::from(u8::from(value.is_some()))));
            total += value.map_or(level.wrong, |value| level.right * value);
            let gate = level.gate.unwrap_or(section.ordered);
            if (value.is_none() && gate) || (value.is_some() && level.enough) {
                break;
            }
        }
        Ok(total)
    }
}

impl Reward for Scorer {
    fn wants(&self) -> Wants {
        self.section.wants()
    }

    fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
        let scale = self.section.scale(&group.example)?;
        let score = |rollout| Ok(Score::from(scale * self.climb(&group.example, rollout)?));
        group.rollouts.iter().map(score).collect()
    }

    fn depends_on_others(&self) -> bool {
        self.section.level.iter().any(|level| level.test == Test::Reward)
    }

    fn figures(&mut self) -> Vec<(String, f64)> {
        std::mem::take(&mut self.figures)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards, score, scores};
    use crate::Registry;

    const ORDERED: &str = "[hierarchical]\nof = \"text\"\n\
        [[hierarchical.level]]\nname = \"a\"\ntest = \"pattern\"\npattern = 'a'\n\
        [[hierarchical.level]]\nname = \"b\"\ntest = \"pattern\"\npattern = 'b'\nright = 10\nwrong = -1\n\
        [[hierarchical.level]]\nname = \"c\"\ntest = \"pattern\"\npattern = 'c'\nright = 100\n";

    #[test]
    fn a_level_counts_only_if_those_before_it_hold() {
        let asked = || group(None, &[], &["a b c", "a c", "b c", "a b"]);
        assert_eq!(scores(ORDERED, asked()), Ok(vec![111.0, 0.0, 0.0, 11.0]));
        // Freely, "b c" is 0 + 10 + 100 and "a c" 1 − 1 + 100.
        let free = ORDERED.replacen("of =", "ordered = false\nof =", 1);
        assert_eq!(scores(&free, asked()), Ok(vec![111.0, 100.0, 110.0, 11.0]));
        // With b no gate alone, a still is one; where a is enough, nothing follows it.
        let open = ORDERED.replace("wrong = -1", "wrong = -1\ngate = false");
        assert_eq!(scores(&open, asked()), Ok(vec![111.0, 100.0, 0.0, 11.0]));
        let enough = ORDERED.replace("pattern = 'a'", "pattern = 'a'\nenough = true");
        assert_eq!(scores(&enough, asked()), Ok(vec![1.0, 1.0, 0.0, 1.0]));
    }

    #[test]
    fn the_share_of_each_level_is_told() {
        let mut rewards = rewards(&Registry::default(), ORDERED).unwrap();
        score(&mut rewards, &mut group(None, &[], &["a b c", "a c", "x"])).unwrap();
        let figures = rewards.figures();
        let of = |name: &str| figures.iter().filter(|(n, _)| n == name).map(|(_, v)| *v).collect::<Vec<_>>();
        assert_eq!(of("hierarchical/a"), [1.0, 1.0, 0.0]);
        // "x" did not come to b, and only "a b c" to c.
        assert_eq!(of("hierarchical/b"), [1.0, 0.0]);
        assert_eq!(of("hierarchical/c"), [1.0]);
        assert!(rewards.figures().is_empty());
    }

    #[test]
    fn difficulty_multiplies() {
        let recipe = format!(
            "{ORDERED}[[hierarchical.difficulty]]\ncolumn = \"map\"\nweights = {{ easy = 1.0, hard = 1.5 }}\n\
             [[hierarchical.difficulty]]\ncolumn = \"changes\"\nweights = {{ 0 = 0.0 }}\notherwise = 0.5"
        );
        let asked = |map: &str, changes: u8| {
            let mut asked = group(None, &[], &["a b"]);
            let fields = &mut std::sync::Arc::get_mut(&mut asked.example).unwrap().fields;
            fields.insert("map".into(), map.into());
            fields.insert("changes".into(), changes.into());
            asked
        };
        // 11 · (1.5 + 0.5) and 11 · (1 + 0).
        assert_eq!(scores(&recipe, asked("hard", 2)), Ok(vec![22.0]));
        assert_eq!(scores(&recipe, asked("easy", 0)), Ok(vec![11.0]));
        assert!(
            scores(&recipe, asked("odd", 0)).unwrap_err().contains("its map is `odd`, which has no weight")
        );
    }

    #[test]
    fn the_section_is_checked() {
        let message = |recipe: &str| scores(recipe, group(None, &[], &[])).unwrap_err();
        assert!(message("[hierarchical]").contains("no levels"));
        let level = |keys: &str| message(&format!("[[hierarchical.level]]\nname = \"a\"\n{keys}"));
        assert!(level("test = \"exact\"\nfield = \"x\"").contains("level `a`: field needs read"));
        assert!(level("test = \"pattern\"").contains("name the regular expression as `pattern`"));
        assert!(level("test = \"reward\"").contains("name the reward as `reward`"));
        assert!(level("test = \"exact\"\nright = inf").contains("right"));
        assert!(level("test = \"exakt\"").contains("`exact`"));
        assert!(
            message(&format!("{ORDERED}[[hierarchical.level]]\nname = \"a\"\ntest = \"exact\""))
                .contains("two levels")
        );
    }
}
