//! What a row teaches: tokens, the places where they are judged, and what should be said there.

use super::{Balance, Learns, Prm, TooLong, rows};
use crate::data::columns::Read;
use crate::data::{Example, Feedback};
use crate::error::Result;
use crate::model::Sequence;
use crate::policy::Policy;
use crate::policy::reward_model::Laid;
use crate::rationale::Format;
use crate::rollout::Prompted;
use std::collections::HashSet;

/// A completion with its labels; the two of a pair, or the several of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The example that it is made of.
    pub(super) id: String,
    /// The tokens.
    pub(super) sequences: Vec<Sequence>,
    /// Where each sequence is judged.
    pub(super) places: Vec<Vec<usize>>,
    /// What should be said at each place; of a list, the worth of each sequence.
    pub(super) targets: Vec<f64>,
    /// What each place counts.
    pub(super) weights: Vec<f64>,
    /// How much better the chosen one is.
    pub(super) margin: f64,
}

impl Item {
    fn of(id: &str, laid: Vec<Laid>, targets: Vec<f64>) -> Self {
        let weights = vec![1.0; targets.len()];
        let (mut sequences, mut places) = (Vec::new(), Vec::new());
        for Laid { tokens, places: at, prompt } in laid {
            sequences.push(Sequence::new(&tokens[..prompt], &tokens[prompt..]));
            places.push(at);
        }
        Self { id: id.to_string(), sequences, places, targets, weights, margin: 0.0 }
    }

    /// What the update's loss is divided by for it.
    pub(super) fn weight(&self, compares: bool) -> f64 {
        if compares { 1.0 } else { self.weights.iter().sum() }
    }
}

/// An item, or why the row is left out; what is wrong with it where nothing may start.
pub(super) enum Made {
    Item(Item),
    TooLong,
    Cut(Item),
    Unlabelled,
    Bad(String),
}

/// Steps of traces that are labelled already: the prompt's tokens, the texts up to the step.
pub(super) type Seen = HashSet<(Vec<u32>, Vec<String>)>;

impl Prm {
    /// What the row teaches, tokenised.
    pub(super) fn item(
        &self,
        policy: &Policy,
        row: &Prompted,
        format: &Format,
        seen: &mut Seen,
    ) -> Result<Made> {
        match self.learns {
            Learns::Steps | Learns::Outcome => self.labelled(policy, row, format, seen),
            Learns::Pairs => self.pair(policy, row),
            Learns::Lists => self.list(policy, row),
        }
    }

    fn limit(&self, policy: &Policy) -> usize {
        self.max_tokens.unwrap_or(usize::MAX).min(policy.context())
    }

    fn labelled(&self, policy: &Policy, row: &Prompted, format: &Format, seen: &mut Seen) -> Result<Made> {
        let mut steps = match rows::read(&row.example, self, format) {
            Ok(steps) => steps.taught(self),
            Err(what) => return Ok(Made::Bad(what)),
        };
        if self.dedup && row.example.fields.contains_key("cuts") {
            steps.labels.iter_mut().enumerate().filter(|(_, label)| label.is_some()).for_each(
                |(at, label)| {
                    if !seen.insert((row.tokens.clone(), steps.texts[..=at].to_vec())) {
                        *label = None;
                    }
                },
            );
        }
        if steps.labels.iter().all(Option::is_none) {
            return Ok(Made::Unlabelled);
        }
        let reading = self.reading();
        let whole = super::Reading { judges: super::Judges::Steps, ..reading.clone() };
        let mut laid = whole.lay(&policy.tokenizer, &row.tokens, &steps.texts)?;
        let limit = self.limit(policy);
        let fits = laid.places.iter().take_while(|&&place| place < limit).count();
        let lost = steps.labels[fits..].iter().filter(|label| label.is_some()).count();
        let cut = fits < laid.places.len();
        if cut && self.too_long == TooLong::Refuse {
            return Ok(Made::Bad(format!(
                "its {} tokens are more than {limit}, and {lost} of its labels would be lost; raise loop.prm.max_tokens, \
                 or set loop.prm.too_long = \"cut\" or \"drop\"",
                laid.tokens.len()
            )));
        }
        let known = (0..fits).filter(|&step| steps.labels[step].is_some());
        let (places, targets): (Vec<usize>, Vec<f64>) =
            known.map(|step| (laid.places[step], steps.labels[step].unwrap_or(0.0))).unzip();
        if cut && (self.too_long == TooLong::Drop || places.is_empty()) {
            return Ok(Made::TooLong);
        }
        laid.tokens.truncate(laid.places.get(fits.wrapping_sub(1)).map_or(0, |last| last + 1));
        laid.places = places;
        let item = Item::of(&row.example.id, vec![laid], targets);
        Ok(if cut { Made::Cut(item) } else { Made::Item(item) })
    }

    fn pair(&self, policy: &Policy, row: &Prompted) -> Result<Made> {
        let Some(Feedback::Pair { chosen, rejected, margin, .. }) = &row.example.feedback else {
            let what = "it has no `chosen` and `rejected`, which loop.prm.learns = \"pairs\" compares";
            return Ok(Made::Bad(what.into()));
        };
        let lay = |text: &str| self.whole(policy, row, text);
        let item = Item::of(&row.example.id, vec![lay(&chosen.text)?, lay(&rejected.text)?], vec![1.0, 0.0]);
        Ok(self.fitting(policy, Item { margin: *margin, ..item }))
    }

    fn list(&self, policy: &Policy, row: &Prompted) -> Result<Made> {
        let worth = match worths(&row.example) {
            Ok(worth) => worth,
            Err(what) => return Ok(Made::Bad(what)),
        };
        let laid = row.example.completions.iter().map(|text| self.whole(policy, row, text));
        let item = Item::of(&row.example.id, laid.collect::<Result<_>>()?, worth);
        Ok(self.fitting(policy, item))
    }

    fn whole(&self, policy: &Policy, row: &Prompted, text: &str) -> Result<Laid> {
        self.reading().lay(&policy.tokenizer, &row.tokens, &[text])
    }

    fn fitting(&self, policy: &Policy, item: Item) -> Made {
        let limit = self.limit(policy);
        let longest = item.sequences.iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0);
        match self.too_long {
            _ if longest <= limit => Made::Item(item),
            TooLong::Refuse => Made::Bad(format!(
                "one of its completions makes {longest} tokens, more than {limit}; raise loop.prm.max_tokens, or set \
                 loop.prm.too_long = \"drop\""
            )),
            TooLong::Drop | TooLong::Cut => Made::TooLong,
        }
    }
}

/// The column `scores`: the worth of each completion.
fn worths(example: &Example) -> Read<Vec<f64>> {
    let scores = example.fields.get("scores").and_then(serde_json::Value::as_array);
    let scores = scores.and_then(|all| all.iter().map(serde_json::Value::as_f64).collect::<Option<Vec<_>>>());
    let completions = example.completions.len();
    match scores {
        None => Err("it has no `scores`, a list with a number for each of its `completions`".into()),
        Some(scores) if scores.len() != completions => {
            Err(format!("it has {} scores for {completions} completions; give each one", scores.len()))
        }
        Some(_) if completions < 2 => Err("a list needs at least two completions; leave the row out".into()),
        Some(scores) => Ok(scores),
    }
}

/// The share of labels that say right.
pub(super) fn right(items: &[Item]) -> f64 {
    let all = || items.iter().flat_map(|item| &item.targets);
    all().filter(|target| **target >= 0.5).count() as f64 / all().count().max(1) as f64
}

/// Weighs the labels so that right and wrong ones count alike: n / (2 · n of the class).
pub(super) fn balance(items: &mut [Item], balance: Balance) {
    let right = |target: f64| target >= 0.5;
    let all: Vec<f64> = items.iter().flat_map(|item| item.targets.iter().copied()).collect();
    let good = all.iter().filter(|&&target| right(target)).count() as f64;
    let bad = all.len() as f64 - good;
    if balance == Balance::None || good * bad == 0.0 {
        return;
    }
    for item in items {
        for (weight, target) in item.weights.iter_mut().zip(&item.targets) {
            *weight = all.len() as f64 / (2.0 * if right(*target) { good } else { bad });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_classes_come_to_count_alike() {
        // Three right, one wrong: 4/(2·3) and 4/(2·1).
        let item = |targets: &[f64]| Item {
            weights: vec![1.0; targets.len()],
            ..Item::of("", vec![], targets.to_vec())
        };
        let mut items = vec![item(&[1.0, 1.0]), item(&[0.75, 0.0])];
        balance(&mut items, Balance::None);
        assert_eq!(items[0].weights, [1.0, 1.0]);
        balance(&mut items, Balance::Labels);
        assert_eq!(items[0].weights, [4.0 / 6.0, 4.0 / 6.0]);
        assert_eq!(items[1].weights, [4.0 / 6.0, 2.0]);
    }
}
