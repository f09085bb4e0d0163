//! One level of a hierarchy: what it tests, what holding and not holding give, and whether others depend on it.

use super::Hierarchical;
use super::graph::Edges;
use super::reading::{CompletionView, Read};
use crate::rationale::{Pattern, number};
use crate::reward::{Holds, OfRow, Part, column, correct, plain};
use crate::text::rouge::rouge_l;
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// `[[reward.hierarchical.level]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// What it is called in the metrics.
    pub name: String,
    /// What is asked.
    pub test: Test,
    /// The field that is tested; the whole without this.
    pub field: Option<String>,
    /// The field of the completion that it is compared with, in place of the gold one.
    pub other: Option<String>,
    /// Where in the row the gold counterpart stands. By default: the same field of the gold object (`json`), the column
    /// of the field's name (`tags`), the gold answer (`text`).
    pub gold: Option<String>,
    /// The part of the completion, where it is another than the section's.
    pub of: Option<Part>,
    /// Pass this level over unless these gold fields (`json`) or columns have these texts.
    #[serde(default)]
    pub when: BTreeMap<String, String>,
    /// What it gives where it holds; times the value, for `overlap`, `recall`, `rouge_l`, `rank` and `nodes`.
    #[serde(default = "one")]
    pub right: f64,
    /// What it gives where it does not.
    #[serde(default)]
    pub wrong: f64,
    /// The least value (for `overlap`, `recall`, `rouge_l`, `rank`, `nodes`) or score (for `reward`; 1 by default) that holds. A value of
    /// 0 never does.
    pub at_least: Option<f64>,
    /// For `number`: the difference that is let pass.
    #[serde(default)]
    pub tolerance: f64,
    /// For `number`: the difference that is let pass, as a share of the gold number.
    #[serde(default)]
    pub relative: f64,
    /// For `overlap`, `recall`, `subset`, `rank`, `graph` and `nodes`: what separates the items of a text; JSON lists have theirs.
    #[serde(default = "comma")]
    pub separator: String,
    /// For `rank`: what a place in the list is worth.
    #[serde(default)]
    pub by: Places,
    /// For `pattern`: the regular expression, found anywhere.
    pub pattern: Option<Pattern>,
    /// For `reward`: the other reward's name.
    pub reward: Option<String>,
    /// Turn the test round: hold where it does not.
    #[serde(default)]
    pub not: bool,
    /// Whether nothing after it counts where it does not hold; `ordered` by default.
    pub gate: Option<bool>,
    /// Whether nothing after it counts where it holds: the first of several outcomes.
    #[serde(default)]
    pub enough: bool,
}

/// What a level asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Whether it can be read at all: valid JSON, an answer that parses, a field that is there.
    Parse,
    /// Whether it is there and not empty.
    Present,
    /// Equal as text; letter case, white space and punctuation at the ends aside.
    Exact,
    /// Equal as numbers, up to `tolerance` or `relative`.
    Number,
    /// Whether the answer is right as `[reward.answer]` sees it.
    Answer,
    /// The F1 of two sets of items, 2 |A ∩ B| / (|A| + |B|).
    Overlap,
    /// The share of the gold items that are there.
    Recall,
    /// Whether all items are among the gold ones.
    Subset,
    /// The place of the gold item in a list, as `by` says; items that come again are not counted again.
    Rank,
    /// Whether the items, edges `a>b`, are one graph without a cycle whose nodes are all among the gold items, or those of `other`.
    Graph,
    /// The F1 of the nodes of these edges and the gold items, or those of `other`.
    Nodes,
    /// ROUGE-L.
    RougeL,
    /// Whether a regular expression is found.
    Pattern,
    /// Whether another reward's score is at least `at_least`.
    Reward,
}

/// What a place in a ranked list is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Places {
    /// 1 / place.
    #[default]
    Reciprocal,
    /// 1 − (place − 1) / n, of a question with n choices; nothing beyond the n-th.
    Linear,
}

fn one() -> f64 {
    1.0
}

fn comma() -> String {
    ",".into()
}

impl Level {
    /// What is wrong with it.
    pub fn check(&self, read: Read) -> Result<(), String> {
        let numbers = [
            ("right", Some(self.right)),
            ("wrong", Some(self.wrong)),
            ("at_least", self.at_least),
            ("tolerance", Some(self.tolerance)),
            ("relative", Some(self.relative)),
        ];
        let odd = numbers.iter().find(|(_, number)| number.is_some_and(|number| !number.is_finite()));
        let need = |needed: bool, text: &str| if needed { Err(text.to_owned()) } else { Ok(()) };
        need(odd.is_some(), &format!("{} must be a finite number", odd.map_or("", |(key, _)| key)))?;
        need(
            read == Read::Text && (self.field.is_some() || self.other.is_some()),
            "field needs read = \"json\" or \"tags\"",
        )?;
        need(
            self.test == Test::Pattern && self.pattern.is_none(),
            "name the regular expression as `pattern`",
        )?;
        need(self.test == Test::Reward && self.reward.is_none(), "name the reward as `reward`")?;
        need(self.separator.is_empty(), "separator must not be empty")
    }

    /// What of the row a completion is compared with.
    pub fn target(&self, section: &Hierarchical) -> Option<OfRow> {
        let number = self.test == Test::Number;
        let holds = if number { Holds::Number } else { Holds::Anything };
        match (self.test, &self.other) {
            (Test::Answer, _) => return Some(OfRow::Gold),
            (Test::Reward | Test::Pattern | Test::Parse | Test::Present, _) | (_, Some(_)) => return None,
            _ => {}
        }
        let path = match (&self.gold, section.read, &self.field) {
            (Some(path), ..) => Some(path.clone()),
            (None, Read::Json, Some(field)) => Some(section.path(field)),
            (None, Read::Json, None) => Some(section.gold.clone()),
            (None, Read::Tags, Some(field)) => Some(field.clone()),
            (None, ..) => None,
        };
        Some(
            path.map_or(if number { OfRow::GoldNumber } else { OfRow::Gold }, |path| {
                OfRow::Column(path, holds)
            }),
        )
    }

    /// Whether the example is one that it is for.
    pub fn concerns(&self, reading: &CompletionView) -> anyhow::Result<bool> {
        for (path, text) in &self.when {
            if plain(&reading.gold_text(path)?) != plain(text) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How well the completion does, above 0; `None` where the level does not hold.
    pub fn value(&self, reading: &CompletionView) -> anyhow::Result<Option<f64>> {
        let value = self.measure(reading)?;
        if self.not {
            return Ok((value <= 0.0).then_some(1.0));
        }
        Ok((value > 0.0).then_some(value))
    }

    fn measure(&self, reading: &CompletionView) -> anyhow::Result<f64> {
        let yes = |holds: bool| Ok(f64::from(u8::from(holds)));
        match self.test {
            Test::Answer => {
                return yes(correct(reading.example, reading.rollout)
                    .context("it has no gold answer; add an `answer` column")?);
            }
            Test::Reward => {
                let score = reading.rollout.score_of(self.reward.as_deref().unwrap_or_default())?;
                return yes(score >= self.at_least.unwrap_or(1.0));
            }
            Test::Pattern => {
                let found = self.own(reading).zip(self.pattern.as_ref());
                return yes(
                    found.is_some_and(|(own, pattern)| pattern.regex().is_match(&column::written(&own)))
                );
            }
            Test::Parse => return yes(self.own(reading).is_some()),
            Test::Present => {
                return yes(self.own(reading).is_some_and(|own| !column::written(&own).trim().is_empty()));
            }
            _ => {}
        }
        let target = match &self.other {
            Some(other) => match reading.own(Some(other), self.of) {
                Some(target) => target,
                None => return Ok(0.0),
            },
            None => reading.gold(self.gold.as_deref(), self.field.as_deref())?,
        };
        let Some(own) = self.own(reading) else { return Ok(0.0) };
        let value = match self.test {
            Test::Rank => self.place(&own, &column::written(&target), reading.example.choices.len())?,
            _ => self.compare(&own, &target)?,
        };
        Ok(if value < self.at_least.unwrap_or(0.0) { 0.0 } else { value })
    }

    fn own(&self, reading: &CompletionView) -> Option<Value> {
        reading.own(self.field.as_deref(), self.of)
    }

    fn compare(&self, own: &Value, target: &Value) -> anyhow::Result<f64> {
        let (text, wanted) = (column::written(own), column::written(target));
        let yes = |holds: bool| f64::from(u8::from(holds));
        Ok(match self.test {
            Test::Exact => yes(plain(&text) == plain(&wanted)),
            Test::RougeL => rouge_l(&text, &wanted),
            Test::Number => {
                let wanted = number::only(&wanted)
                    .with_context(|| format!("what it is compared with, `{wanted}`, is no number"))?
                    .to_f64();
                let near = self.tolerance.max(self.relative * wanted.abs());
                yes(number::only(&text).is_some_and(|number| (number.to_f64() - wanted).abs() <= near))
            }
            Test::Graph => {
                let items = self.items(target);
                yes(Edges::of(&self.items(own)).is_some_and(|edges| {
                    edges.nodes().is_subset(&items) && edges.connected() && edges.acyclic()
                }))
            }
            Test::Nodes => Edges::of(&self.items(own))
                .map_or(0.0, |edges| self.compare_sets(&edges.nodes(), &self.items(target))),
            _ => self.compare_sets(&self.items(own), &self.items(target)),
        })
    }

    /// What the place of `wanted` in a list is worth, of a question with so many choices; 0 where it is not in it.
    fn place(&self, own: &Value, wanted: &str, choices: usize) -> anyhow::Result<f64> {
        let (mut seen, wanted) = (BTreeSet::new(), plain(wanted));
        let distinct = self.listed(own).into_iter().filter(|item| seen.insert(item.clone()));
        let before = distinct.take_while(|item| *item != wanted).count();
        anyhow::ensure!(
            choices > 0 || self.by == Places::Reciprocal,
            "by = \"linear\" counts places among a question's choices, and it has none"
        );
        Ok(match self.by {
            _ if !seen.contains(&wanted) => 0.0,
            Places::Reciprocal => 1.0 / (before + 1) as f64,
            Places::Linear => (1.0 - before as f64 / choices as f64).max(0.0),
        })
    }

    fn compare_sets(&self, own: &BTreeSet<String>, target: &BTreeSet<String>) -> f64 {
        let common = own.intersection(target).count() as f64;
        match self.test {
            Test::Subset => f64::from(u8::from(own.is_subset(target))),
            _ if own.is_empty() && target.is_empty() => 1.0,
            Test::Recall => common / target.len().max(1) as f64,
            _ => 2.0 * common / (own.len() + target.len()) as f64,
        }
    }

    fn items(&self, value: &Value) -> BTreeSet<String> {
        self.listed(value).into_iter().collect()
    }

    /// The items of a list, or of a text between separators, in their order; compared as texts are.
    fn listed(&self, value: &Value) -> Vec<String> {
        let items: Vec<String> = match value {
            Value::Array(items) => items.iter().map(column::written).collect(),
            other => column::written(other).split(&self.separator).map(str::to_owned).collect(),
        };
        items.iter().map(|item| plain(item)).filter(|item| !item.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{group, scores};

    /// What one level says of JSON completions, against the gold JSON.
    fn level(keys: &str, gold: &str, texts: &[&str]) -> Vec<f64> {
        let recipe = format!(
            "[hierarchical]\nread = \"json\"\n[[hierarchical.level]]\nname = \"x\"\nfield = \"x\"\n{keys}"
        );
        scores(&recipe, group(Some(gold), &[], texts)).unwrap()
    }

    #[test]
    fn fields_are_there_equal_or_near() {
        let texts =
            [r#"{"x": "Red "}"#, "```json\n{\"x\": \"blue\"}\n```", r#"{"x": ""}"#, r#"{"y": 1}"#, "x"];
        assert_eq!(level("test = \"parse\"", "{}", &texts), [1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(level("test = \"present\"", "{}", &texts), [1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(level("test = \"exact\"", r#"{"x": "red"}"#, &texts), [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(
            level("test = \"exact\"\nnot = true", r#"{"x": "red"}"#, &texts),
            [0.0, 1.0, 1.0, 1.0, 1.0]
        );
        let numbers = [r#"{"x": 10.4}"#, r#"{"x": "10.6 kg"}"#, r#"{"x": "tan"}"#];
        assert_eq!(level("test = \"number\"\ntolerance = 0.5", r#"{"x": 10}"#, &numbers), [1.0, 0.0, 0.0]);
        assert_eq!(level("test = \"number\"\nrelative = 0.1", r#"{"x": 10}"#, &numbers), [1.0, 1.0, 0.0]);
        assert_eq!(level("test = \"number\"", r#"{"x": 10.4}"#, &numbers), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn sets_overlap() {
        // {a, b, c} against {b, c, d}: F1 = 2 · 2 / 6, recall 2/3; {b} is a subset, F1 = 2/4, recall 1/3.
        let (gold, texts) = (r#"{"x": ["B", "c", "d"]}"#, [r#"{"x": ["a", "b", "c"]}"#, r#"{"x": "b, b"}"#]);
        assert_eq!(level("test = \"overlap\"", gold, &texts), [2.0 / 3.0, 0.5]);
        assert_eq!(level("test = \"overlap\"\nat_least = 0.6\nright = 3", gold, &texts), [2.0, 0.0]);
        assert_eq!(level("test = \"recall\"", gold, &texts), [2.0 / 3.0, 1.0 / 3.0]);
        assert_eq!(level("test = \"subset\"", gold, &texts), [0.0, 1.0]);
    }

    #[test]
    fn a_place_in_a_list_is_worth_less_the_later_it_comes() {
        let texts = [
            r#"{"x": ["B", "a"]}"#,
            r#"{"x": "a, a, b, c"}"#,
            r#"{"x": ["a", "c", "d", "b"]}"#,
            r#"{"x": "a, c"}"#,
            r#"{"y": "b"}"#,
        ];
        let gold = r#"{"x": "b"}"#;
        assert_eq!(level("test = \"rank\"", gold, &texts), [1.0, 0.5, 0.25, 0.0, 0.0]);
        assert_eq!(
            level("test = \"rank\"\nat_least = 0.5\nright = 2", gold, &texts),
            [2.0, 1.0, 0.0, 0.0, 0.0]
        );
        // Of three choices: the first place is worth 1, the second 2/3, and what is beyond the third nothing.
        let recipe = "[hierarchical]\nof = \"text\"\n[[hierarchical.level]]\nname = \"x\"\ntest = \"rank\"\nby = \"linear\"\n";
        let asked = group(Some("b"), &["a", "b", "c"], &["b, a", "a, b", "x, y, z, b"]);
        assert_eq!(scores(recipe, asked).unwrap(), [1.0, 1.0 - 1.0 / 3.0, 0.0]);
        let without = scores(recipe, group(Some("b"), &[], &["b"])).unwrap_err();
        assert!(without.contains("linear") && without.contains("choices"), "{without}");
    }

    #[test]
    fn edges_are_a_graph_of_known_nodes_or_none() {
        let gold = r#"{"x": ["load", "blur", "save", "crop"]}"#;
        let texts = [
            r#"{"x": ["load>blur", "blur > save"]}"#,
            r#"{"x": "load>blur, blur>save, load>save"}"#,
            // A circle, an island, a node that nobody knows, an edge to itself, no edges, no edge.
            r#"{"x": ["load>blur", "blur>save", "save>load"]}"#,
            r#"{"x": ["load>blur", "save>crop"]}"#,
            r#"{"x": ["load>blur", "blur>print"]}"#,
            r#"{"x": ["load>load"]}"#,
            r#"{"x": []}"#,
            r#"{"x": ["load>blur", "save"]}"#,
        ];
        assert_eq!(level("test = \"graph\"", gold, &texts), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        // Three of four nodes: F1 = 2 · 3 / 7; the island has all four; load and blur of three: 2 · 2 / 7; one: 2 / 5.
        let nodes = [6.0 / 7.0, 6.0 / 7.0, 6.0 / 7.0, 1.0, 4.0 / 7.0, 0.4, 0.0, 0.0];
        assert_eq!(level("test = \"nodes\"", gold, &texts), nodes);
    }
}
