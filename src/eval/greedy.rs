//! Which tokens of its prompt a policy's answer rests on, told of held-out rows by greedy rationalization (Vafa et al. 2021, arXiv 2109.06387).

use super::{Extracted, ExtractedUnit, RowFigures};
use crate::data::order::shuffle;
use crate::data::spans::spans;
use crate::data::{Example, Prompted};
use crate::error::{Error, Result};
use crate::model::Sequence;
use crate::policy::Policy;
use crate::policy::sufficient::{Prediction, Subset};
use crate::section::{Misfit, broken};
use crate::seed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// What the names of its figures begin with.
const GREEDY: &str = "greedy";
/// What is told of a subset of tokens; the last two where the row says what is marked.
const FIGURES: [&str; 4] = ["size", "found", "iou", "distractors"];
/// The columns with the parts of a question that tell the answer, and with those that do not matter.
const MARKED: &str = "spans";
const BESIDE: &str = "distractors";

/// `[eval.greedy]`: of held-out rows, the few tokens of the prompt that are enough for what the policy finds likeliest where the answer begins. The
/// prompt's last token and the cue behind it are always read; of the others the one is added that makes that token likeliest, until nothing is likelier, all at their
/// positions. Subsets mean something where the policy has seen prompts with words missing (`loop.sft.words`). Columns `spans` and `distractors`, lists of `[start, end]` in
/// bytes of a `question` that the prompt shows as it is, say what they should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Greedy {
    /// Tokens that are added at most.
    pub most: usize,
    /// The share of the token's probability with the whole prompt that it has to have too, below 1. The paper asks for none; where there are few answers,
    /// any of them is easily likeliest.
    pub least: f64,
    /// Held-out rows that are looked at, the first.
    pub rows: usize,
    /// What stands between prompt and answer, `""` for nothing; `data.format.close` by default, or what the first answer form begins with.
    pub cue: Option<String>,
    /// Other orders in which the same tokens are added, to be held against.
    pub against: Vec<Order>,
}

/// An order in which tokens are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Those first by whose embedding the gradient of the token's log p has the greatest norm.
    Gradient,
    /// Those first whose gradient times embedding is greatest.
    Signed,
    /// The last first.
    Last,
    /// At random.
    Random,
}

impl Default for Greedy {
    fn default() -> Self {
        let against = vec![Order::Gradient, Order::Last, Order::Random];
        Self { most: 16, least: 0.0, rows: 100, cue: None, against }
    }
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Order::Gradient => "gradient",
            Order::Signed => "signed",
            Order::Last => "last",
            Order::Random => "random",
        }
    }

    /// The free tokens of a prediction, the first to be added first; `seed` draws.
    fn of(self, policy: &Policy, prediction: &Prediction, seed: u64) -> Result<Vec<usize>> {
        let mut places: Vec<usize> = (0..prediction.free).collect();
        let Prediction { context, token, .. } = prediction;
        let scores = match self {
            Order::Gradient => policy.model.input_gradient_norms(context, &[*token])?,
            Order::Signed => policy.model.input_gradients(context, &[*token])?,
            Order::Last => (0..context.len()).map(|place| place as f64).collect(),
            Order::Random => {
                shuffle(&mut places, seed);
                return Ok(places);
            }
        };
        // Stable, so that of equals the earlier comes first.
        places.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        Ok(places)
    }
}

/// A row, and what is explained of it.
struct Asked<'a> {
    row: &'a Prompted,
    prediction: Prediction,
    /// The token that the gold answer begins with.
    gold: Option<u32>,
    /// The bytes that each free token holds of the prompt's text.
    bytes: Vec<Range<usize>>,
    /// The free tokens that tell the answer, and those that do not matter, where the row says.
    marked: Option<Vec<bool>>,
    beside: Option<Vec<bool>>,
}

impl Greedy {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut names: Vec<&str> = self.against.iter().map(|order| order.name()).collect();
        names.sort_unstable();
        names.dedup();
        broken(&[
            (self.most > 0, "most", "at least one token is added"),
            ((0.0..1.0).contains(&self.least), "least", "it must be from 0 up to, not including, 1"),
            (self.rows > 0, "rows", "at least one row is looked at"),
            (names.len() == self.against.len(), "against", "one of them is there twice"),
        ])
    }

    /// What is wrong with the marks of a row, in words that go on from its place.
    pub fn wrong_marks(example: &Example) -> Option<String> {
        let Some(Value::String(question)) = example.fields.get("question") else { return None };
        [MARKED, BESIDE].iter().find_map(|column| spans(example, column, question).err())
    }

    /// The names of its figures.
    pub fn figures(&self) -> Vec<String> {
        let others = self.against.iter().map(|order| format!("{GREEDY}/{}", order.name()));
        let kinds = std::iter::once(GREEDY.to_string()).chain(others);
        kinds.flat_map(|kind| FIGURES.map(|figure| format!("{kind}/{figure}"))).collect()
    }

    /// The figures of those of `rows` that are looked at, with their places, and how many of these are too long. `cue` is what stands before the answer
    /// where the section does not say.
    ///
    /// # Errors
    /// A model whose attention slides, and marks that are none.
    pub fn of(
        &self,
        policy: &Policy,
        rows: &[Prompted],
        cue: Option<String>,
        budget: usize,
        seed: u64,
    ) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        let cue = self.cue.clone().or(cue).unwrap_or_default();
        let (mut asked, mut too_long) = (Vec::new(), 0);
        for row in rows.iter().filter(|row| row.place < self.rows && !row.tokens.is_empty()) {
            match Asked::of(policy, row, &cue)? {
                Some(one) => asked.push(one),
                None => too_long += 1,
            }
        }
        let whole: Vec<Sequence> =
            asked.iter().map(|one| Sequence::read_only(one.prediction.context.clone())).collect();
        for (one, token) in asked.iter_mut().zip(policy.next_tokens(&whole, budget)?) {
            one.prediction.token = token;
        }
        let whole: Vec<Sequence> =
            asked.iter().map(|one| Sequence::new(&one.prediction.context, &[one.prediction.token])).collect();
        for (one, logprob) in asked.iter_mut().zip(policy.logprobs(&whole, 1.0, budget)?) {
            one.prediction.least = self.least.ln() as f32 + logprob[0];
        }
        let predictions: Vec<Prediction> = asked.iter().map(|one| one.prediction.clone()).collect();
        let greedy = policy.sufficient(&predictions, self.most, budget)?;
        let mut all: Vec<BTreeMap<String, (f64, f64)>> = vec![BTreeMap::new(); asked.len()];
        let mut tell = |name: &str, subsets: &[Subset]| {
            for ((figures, one), subset) in all.iter_mut().zip(&asked).zip(subsets) {
                let told = one.figures(subset).into_iter();
                figures.extend(told.map(|(figure, value)| (format!("{name}/{figure}"), (value, 1.0))));
            }
        };
        tell(GREEDY, &greedy);
        for order in &self.against {
            let own = |one: &Asked| {
                let drawn = seed::derive(&[seed, seed::of_text(GREEDY), one.row.place as u64]);
                order.of(policy, &one.prediction, drawn)
            };
            let orders: Vec<Vec<usize>> = asked.iter().map(own).collect::<Result<_>>()?;
            let subsets = policy.sufficient_of(&predictions, &orders, self.most, budget)?;
            tell(&format!("{GREEDY}/{}", order.name()), &subsets);
        }
        let told = asked.iter().zip(&greedy).zip(all).map(|((one, subset), figures)| {
            let (row, extracted) = (one.row.example.id.clone(), Some(one.shown(policy, subset)));
            (one.row.place, RowFigures { row, figures, extracted })
        });
        Ok((told.collect(), too_long))
    }
}

impl<'a> Asked<'a> {
    /// The row with the context of its answer, whose first token is still to be told; none where that does not fit.
    fn of(policy: &Policy, row: &'a Prompted, cue: &str) -> Result<Option<Self>> {
        let tokenizer = &policy.tokenizer;
        // Texts are tokenised together, as they are learned: a blank may belong to the answer's first token.
        let (context, gold) = match row.example.gold().filter(|gold| !gold.is_empty()) {
            Some(gold) => {
                let sequence = policy.after(&row.tokens, cue, gold)?;
                (sequence.prompt().to_vec(), sequence.completion().first().copied())
            }
            None => ([row.tokens.as_slice(), &tokenizer.encode(cue)?].concat(), None),
        };
        if context.len() > policy.context() {
            return Ok(None);
        }
        let free = row.tokens.len() - 1;
        let text = tokenizer.decode(&row.tokens);
        let ends: Vec<usize> = (0..=free).map(|tokens| tokenizer.length(&row.tokens[..tokens])).collect();
        let bytes: Vec<Range<usize>> = ends.windows(2).map(|pair| pair[0]..pair[1].max(pair[0])).collect();
        let within = |column: &str| -> Result<Option<Vec<bool>>> {
            let found = marks(&row.example, column, &text)
                .map_err(|what| Error::Data(format!("{}: {what}", row.example)))?;
            Ok(found.map(|marks| bytes.iter().map(|token| meets(token, &marks)).collect()))
        };
        let (marked, beside) = (within(MARKED)?, within(BESIDE)?);
        let prediction = Prediction { context, free, token: 0, least: f32::NEG_INFINITY };
        Ok(Some(Self { row, prediction, gold, bytes, marked, beside }))
    }

    /// What is told of a subset.
    fn figures(&self, subset: &Subset) -> Vec<(&'static str, f64)> {
        let [size, found, iou, distractors] = FIGURES;
        let mut told = vec![(size, subset.places.len() as f64), (found, f64::from(u8::from(subset.enough)))];
        let among = |marks: &Vec<bool>| subset.places.iter().filter(|&&place| marks[place]).count() as f64;
        if let Some(marked) = self.marked.as_ref().filter(|marked| marked.contains(&true)) {
            let (both, all) = (among(marked), marked.iter().filter(|yes| **yes).count() as f64);
            told.push((iou, both / (all + subset.places.len() as f64 - both)));
        }
        told.extend(self.beside.as_ref().map(|beside| (distractors, among(beside))));
        told
    }

    /// The prompt word by word, each with the share of its tokens that are in a subset.
    fn shown(&self, policy: &Policy, subset: &Subset) -> Extracted {
        let tokenizer = &policy.tokenizer;
        let text = tokenizer.decode(&self.row.tokens);
        let unit = |word: &str| {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            let word_bytes = start..start + word.len();
            let own: Vec<usize> = (0..self.bytes.len())
                .filter(|&at| meets(&self.bytes[at], std::slice::from_ref(&word_bytes)))
                .collect();
            let selected = own.iter().filter(|place| subset.places.contains(place)).count();
            ExtractedUnit {
                text: word.to_string(),
                score: selected as f64 / own.len().max(1) as f64,
                selected: selected > 0,
                marked: self.marked.as_ref().map(|marked| own.iter().any(|&place| marked[place])),
            }
        };
        Extracted {
            predicted: vec![tokenizer.decode(&[self.prediction.token])],
            gold: self.gold.iter().map(|&token| tokenizer.decode(&[token])).collect(),
            units: text.split_whitespace().map(unit).collect(),
        }
    }
}

/// What the `column` of a row marks of its question, in bytes of the prompt's `text`; none where it marks nothing, or where the prompt does not show the question.
fn marks(
    example: &Example,
    column: &str,
    text: &str,
) -> std::result::Result<Option<Vec<Range<usize>>>, String> {
    let Some(Value::String(question)) = example.fields.get("question") else { return Ok(None) };
    let Some(found) = spans(example, column, question)? else { return Ok(None) };
    let Some(start) = text.rfind(question.trim_end()) else { return Ok(None) };
    Ok(Some(found.into_iter().map(|span| start + span.start..start + span.end).collect()))
}

/// Whether some of `spans` has bytes of a token's.
fn meets(token: &Range<usize>, spans: &[Range<usize>]) -> bool {
    spans.iter().any(|span| span.start < token.end && token.start < span.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::tiny;
    use serde_json::json;
    use std::sync::Arc;

    fn policy() -> Policy {
        tiny(1, 1, 3)
    }

    /// Bytes are tokens. "tem low." is marked and "age 7." does not matter.
    fn row(policy: &Policy, place: usize) -> Prompted {
        let question = "age 7. tem low.";
        let mut example = Example::text(format!("row:{place}"), format!("{question}\n"));
        example.answer = Some("ash".into());
        for (name, value) in
            [("question", json!(question)), ("spans", json!([[7, 15]])), ("distractors", json!([[0, 6]]))]
        {
            example.fields.insert(name.into(), value);
        }
        let tokens = policy.tokenizer.encode(&format!("{question}\n")).unwrap();
        Prompted { place, ..Prompted::new(Arc::new(example), tokens) }
    }

    /// By hand: of the 15 free tokens 7 to 14 are marked, 0 to 5 do not matter. S of 3, of which two are marked: 2 of 8 + 3 − 2.
    #[test]
    fn a_subset_is_held_against_what_is_marked() {
        let policy = policy();
        let row = row(&policy, 0);
        let asked = Asked::of(&policy, &row, "#### ").unwrap().unwrap();
        assert_eq!((asked.prediction.free, asked.prediction.context.len()), (15, 16 + 5));
        assert_eq!(asked.gold, Some(policy.tokenizer.encode("a").unwrap()[0]));
        let subset = Subset { places: vec![8, 2, 14], enough: true };
        let expected = [("size", 3.0), ("found", 1.0), ("iou", 2.0 / 9.0), ("distractors", 1.0)];
        assert_eq!(asked.figures(&subset), expected);
        let none = Subset::default();
        assert_eq!(asked.figures(&none), [("size", 0.0), ("found", 0.0), ("iou", 0.0), ("distractors", 0.0)]);
        let shown = asked.shown(&policy, &subset);
        let words: Vec<(&str, bool, Option<bool>)> =
            shown.units.iter().map(|unit| (unit.text.as_str(), unit.selected, unit.marked)).collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(words, [("age", true, no), ("7.", false, no), ("tem", true, yes), ("low.", true, yes)]);
        assert_eq!((shown.units[0].score, shown.gold), (1.0 / 3.0, vec!["a".to_string()]));
        // Without the question in its prompt nothing is known of marks.
        let mut other = (*row.example).clone();
        other.fields.insert("question".into(), json!("age 8. tem low."));
        let elsewhere = Prompted::new(Arc::new(other), row.tokens.clone());
        let asked = Asked::of(&policy, &elsewhere, "").unwrap().unwrap();
        assert_eq!((asked.marked.clone(), asked.prediction.context.len()), (None, 16));
        assert_eq!(asked.figures(&subset), [("size", 3.0), ("found", 1.0)]);
    }

    /// What is told is what the search finds, of the rows that are looked at; every order comes to the token too where all may be added.
    #[test]
    fn rows_are_explained() {
        let policy = policy();
        let rows: Vec<Prompted> = [0, 2, 1].map(|place| row(&policy, place)).into();
        let greedy: Greedy =
            toml::from_str("most = 15\nrows = 2\nagainst = [\"gradient\", \"signed\", \"last\", \"random\"]")
                .unwrap();
        assert_eq!(greedy.check(), []);
        let (told, too_long) = greedy.of(&policy, &rows, Some("#### ".into()), 64, 7).unwrap();
        assert_eq!((told.len(), too_long, told[1].0), (2, 0, 1));
        let mut names: Vec<String> = told[0].1.figures.keys().cloned().collect();
        let mut expected = greedy.figures();
        expected.sort();
        names.sort();
        assert_eq!(names, expected);
        let figures = &told[0].1.figures;
        for name in expected.iter().filter(|name| name.ends_with("/found")) {
            assert_eq!(figures[name], (1.0, 1.0), "{name}");
        }
        let whole = [rows[0].tokens.as_slice(), &policy.tokenizer.encode("#### ").unwrap()].concat();
        let token = policy.next_tokens(&[Sequence::read_only(whole.clone())], 64).unwrap()[0];
        let prediction = [Prediction { context: whole, free: 15, token, least: f32::NEG_INFINITY }];
        let subset = policy.sufficient(&prediction, 15, 64).unwrap().swap_remove(0);
        assert_eq!(figures["greedy/size"].0, subset.places.len() as f64);
        let extracted = told[0].1.extracted.as_ref().unwrap();
        assert_eq!(extracted.predicted, [policy.tokenizer.decode(&[token])]);
    }

    #[test]
    fn orders_are_those_that_they_are_called() {
        let policy = policy();
        let context = policy.tokenizer.encode("tem low.").unwrap();
        let prediction = Prediction { context, free: 7, token: 65, least: f32::NEG_INFINITY };
        let of = |order: Order| order.of(&policy, &prediction, 3).unwrap();
        assert_eq!(of(Order::Last), [6, 5, 4, 3, 2, 1, 0]);
        let norms = policy.model.input_gradient_norms(&prediction.context, &[65]).unwrap();
        assert!(of(Order::Gradient).is_sorted_by(|&a, &b| norms[a] >= norms[b]));
        let products = policy.model.input_gradients(&prediction.context, &[65]).unwrap();
        assert!(of(Order::Signed).is_sorted_by(|&a, &b| products[a] >= products[b]));
        let mut drawn = of(Order::Random);
        assert_eq!(drawn, of(Order::Random));
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn the_section_is_checked() {
        let key = |text: &str| toml::from_str::<Greedy>(text).unwrap().check()[0].key.clone();
        assert_eq!(key("most = 0"), "most");
        assert_eq!((key("rows = 0"), key("least = 1.0")), ("rows".to_string(), "least".to_string()));
        assert_eq!(key("against = [\"last\", \"last\"]"), "against");
        assert!(Greedy::default().check().is_empty());
        let mut example = (*row(&policy(), 0).example).clone();
        assert_eq!(Greedy::wrong_marks(&example), None);
        example.fields.insert("distractors".into(), json!([[3, 99]]));
        let told = Greedy::wrong_marks(&example).unwrap();
        assert!(told.contains("[3, 99] of its `distractors`"), "{told}");
    }
}
