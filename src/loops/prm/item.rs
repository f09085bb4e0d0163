//! What is learned from a row: tokens, the places where they are judged, and what should be said there.

use super::{Balance, Learns, Prm, TooLong, rows, trajectory};
use crate::data::columns::Read;
use crate::data::row::{Problems, named};
use crate::data::{Example, Feedback, Tokenizer};
use crate::error::{Error, Result};
use crate::loops::Item;
use crate::loops::item::WEIGHTS;
use crate::model::Sequence;
use crate::policy::reward_model::{Judges, ScoreFormat, TokenizedSteps};
use crate::rationale::Format;
use crate::rollout::Prompted;
use std::collections::HashSet;

/// Of an item: what should be said at each place; of a list, the worth of each sequence.
pub(super) const TARGETS: &str = "targets";
/// Of a trajectory: 1 where the whole is judged, 0 where a step is.
pub(super) const OF_WHOLE: &str = "of_whole";
/// Of an item: how much better the chosen one is.
pub(super) const MARGIN: &str = "margin";

/// Completions that are read at the places of `tokenized` and whose scores are to be `targets`: one, the two of a pair, or the several
/// of a list.
fn item(id: &str, tokenized: Vec<TokenizedSteps>, targets: Vec<f64>) -> Item {
    let weights = vec![1.0; targets.len()];
    let (tokens, places): (Vec<Vec<u32>>, _) =
        tokenized.into_iter().map(|tokenized| (tokenized.tokens, tokenized.places)).unzip();
    let sequences = tokens.into_iter().map(Sequence::read_only).collect();
    Item::of(sequences).named(id).read_at(places).with_list(TARGETS, targets).with_list(WEIGHTS, weights)
}

/// What the update's loss is divided by for an item: labels count one by one, comparisons and trajectories as a whole.
pub(super) fn weight(item: &Item, labels: bool) -> f64 {
    if labels { item.list(WEIGHTS).iter().sum() } else { 1.0 }
}

/// An item, or why the row is left out; what is wrong with it where nothing may start.
pub(super) enum RowItem {
    Item(Item),
    TooLong,
    Cut(Item),
    Unlabelled,
    Bad(String),
}

/// Steps of traces that are labelled already: the prompt's tokens, the texts up to the step.
pub(super) type SeenSteps = HashSet<(Vec<u32>, Vec<String>)>;

/// What the rows come to, in their order.
#[derive(Default)]
pub(super) struct Made<'r> {
    /// What is learned.
    pub items: Vec<Item>,
    /// Of each item the place of its example in the data.
    pub indices: Vec<usize>,
    /// Rows that lose their last labels, by their ids.
    pub cut: Vec<&'r str>,
    /// Rows that are too long.
    pub dropped: Vec<&'r str>,
    /// Rows without a label.
    pub unlabelled: Vec<&'r str>,
}

/// How rows are read: as the section says, by this tokenizer, for a model of this context.
pub(super) struct Reading<'a> {
    pub prm: &'a Prm,
    pub tokenizer: &'a Tokenizer,
    pub context: usize,
    /// How the model is read, of which the head does not matter here.
    pub score_format: ScoreFormat,
}

impl Reading<'_> {
    /// What is learned from the rows, tokenised.
    ///
    /// # Errors
    /// Rows that nothing can be learned from, and labels that are all of one class, where the rows are the `whole`.
    pub(super) fn all<'r>(&self, rows: &'r [Prompted], format: &Format, whole: bool) -> Result<Made<'r>> {
        let (mut made, mut seen, mut problems) = (Made::default(), SeenSteps::default(), Problems::default());
        for row in rows {
            let id = row.example.id.as_str();
            let item = match self.item(row, format, &mut seen)? {
                RowItem::Item(item) => item,
                RowItem::Cut(item) => {
                    made.cut.push(id);
                    item
                }
                RowItem::TooLong => {
                    made.dropped.push(id);
                    continue;
                }
                RowItem::Unlabelled => {
                    made.unlabelled.push(id);
                    continue;
                }
                RowItem::Bad(what) => {
                    problems.example(&row.example, what);
                    continue;
                }
            };
            made.items.push(item);
            made.indices.push(row.example.index);
        }
        problems.into_result()?;
        if whole && self.prm.learns_labels() {
            two_classes(&made.items)?;
        }
        let of_whole = |item: &Item| item.list(OF_WHOLE).contains(&1.0);
        let asked = self.prm.learns == Learns::Trajectory && self.prm.targets.whole > 0.0;
        if whole && asked && !made.items.iter().any(of_whole) {
            return Err(trajectory::unanswered(rows.len()));
        }
        Ok(made)
    }

    /// What is learned from a row, tokenised.
    pub(super) fn item(&self, row: &Prompted, format: &Format, seen: &mut SeenSteps) -> Result<RowItem> {
        match self.prm.learns {
            Learns::Steps | Learns::Outcome | Learns::Trajectory => self.labelled(row, format, seen),
            Learns::Pairs => self.pair(row),
            Learns::Lists => self.list(row),
        }
    }

    fn limit(&self) -> usize {
        self.prm.max_tokens.unwrap_or(usize::MAX).min(self.context)
    }

    fn labelled(&self, row: &Prompted, format: &Format, seen: &mut SeenSteps) -> Result<RowItem> {
        let read = match self.prm.learns {
            Learns::Trajectory => trajectory::read(&row.example, self.prm, format),
            _ => rows::read(&row.example, self.prm, format),
        };
        let mut steps = match read {
            Ok(steps) => steps.learned(self.prm),
            Err(what) => return Ok(RowItem::Bad(what)),
        };
        if self.prm.dedup && self.prm.learns_labels() && row.example.fields.contains_key("cuts") {
            steps.labels.iter_mut().enumerate().filter(|(_, label)| label.is_some()).for_each(
                |(at, label)| {
                    if !seen.insert((row.tokens.clone(), steps.texts[..=at].to_vec())) {
                        *label = None;
                    }
                },
            );
        }
        if steps.labels.iter().all(Option::is_none) && steps.whole.is_none() {
            return Ok(RowItem::Unlabelled);
        }
        let whole = ScoreFormat { judges: Judges::Steps, ..self.score_format.clone() };
        let mut tokenized = whole.tokenize_steps(self.tokenizer, &row.tokens, &steps.texts)?;
        let limit = self.limit();
        let fits = tokenized.places.iter().take_while(|&&place| place < limit).count();
        let lost = steps.labels[fits..].iter().filter(|label| label.is_some()).count();
        let cut = fits < tokenized.places.len();
        if cut && self.prm.too_long == TooLong::Refuse {
            return Ok(RowItem::Bad(format!(
                "its {} tokens are more than {limit}, and {lost} of its labels would be lost; raise loop.prm.max_tokens, \
                 or set loop.prm.too_long = \"cut\" or \"drop\"",
                tokenized.tokens.len()
            )));
        }
        let known = (0..fits).filter(|&step| steps.labels[step].is_some());
        let (mut places, mut targets): (Vec<usize>, Vec<f64>) =
            known.map(|step| (tokenized.places[step], steps.labels[step].unwrap_or(0.0))).unzip();
        let labelled = places.len();
        // The whole is judged where its last step is, which what is cut has not.
        if let (Some(whole), Some(&last), false) = (steps.whole, tokenized.places.last(), cut) {
            places.push(last);
            targets.push(whole);
        }
        if cut && (self.prm.too_long == TooLong::Drop || places.is_empty()) {
            return Ok(RowItem::TooLong);
        }
        tokenized.tokens.truncate(tokenized.places.get(fits.wrapping_sub(1)).map_or(0, |last| last + 1));
        tokenized.places = places;
        let mut item = item(&row.example.id, vec![tokenized], targets);
        if self.prm.learns == Learns::Trajectory {
            item = self.weighed(item, labelled);
        }
        Ok(if cut { RowItem::Cut(item) } else { RowItem::Item(item) })
    }

    /// A trajectory, of which the first `labelled` places are those of steps: all of these count as much as λ of the steps, the whole as its own.
    fn weighed(&self, item: Item, labelled: usize) -> Item {
        let (targets, all) = (&self.prm.targets, item.list(TARGETS).len());
        let each = targets.steps / labelled.max(1) as f64;
        let of =
            |step: f64, whole: f64| (0..all).map(|at| if at < labelled { step } else { whole }).collect();
        item.with_list(WEIGHTS, of(each, targets.whole)).with_list(OF_WHOLE, of(0.0, 1.0))
    }

    fn pair(&self, row: &Prompted) -> Result<RowItem> {
        let Some(Feedback::Pair { chosen, rejected, margin, .. }) = &row.example.feedback else {
            let what = "it has no `chosen` and `rejected`, which loop.prm.learns = \"pairs\" compares";
            return Ok(RowItem::Bad(what.into()));
        };
        let read = |text: &str| self.whole(row, text);
        let item = item(&row.example.id, vec![read(&chosen.text)?, read(&rejected.text)?], vec![1.0, 0.0]);
        Ok(self.fitting(item.with(MARGIN, *margin)))
    }

    fn list(&self, row: &Prompted) -> Result<RowItem> {
        let scores = match scores(&row.example) {
            Ok(scores) => scores,
            Err(what) => return Ok(RowItem::Bad(what)),
        };
        let tokenized = row.example.completions.iter().map(|text| self.whole(row, text));
        let item = item(&row.example.id, tokenized.collect::<Result<_>>()?, scores);
        Ok(self.fitting(item))
    }

    fn whole(&self, row: &Prompted, text: &str) -> Result<TokenizedSteps> {
        self.score_format.tokenize_steps(self.tokenizer, &row.tokens, &[text])
    }

    fn fitting(&self, item: Item) -> RowItem {
        let limit = self.limit();
        let longest = item.sequences.iter().map(|sequence| sequence.tokens.len()).max().unwrap_or(0);
        match self.prm.too_long {
            _ if longest <= limit => RowItem::Item(item),
            TooLong::Refuse => RowItem::Bad(format!(
                "one of its completions makes {longest} tokens, more than {limit}; raise loop.prm.max_tokens, or set \
                 loop.prm.too_long = \"drop\""
            )),
            TooLong::Drop | TooLong::Cut => RowItem::TooLong,
        }
    }
}

/// The column `scores`: one for each completion.
fn scores(example: &Example) -> Read<Vec<f64>> {
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
    let all = || items.iter().flat_map(|item| item.list(TARGETS));
    all().filter(|target| **target >= 0.5).count() as f64 / all().count().max(1) as f64
}

/// Refuses labels that are all of one kind: whatever is said of every step is then right.
fn two_classes(items: &[Item]) -> Result<()> {
    let mut labels = items.iter().flat_map(|item| item.list(TARGETS)).map(|target| *target >= 0.5);
    let Some(right) = labels.next() else {
        return Err(Error::Data(
            "no row has a label to learn; see loop.prm.max_tokens and the rows' labels".into(),
        ));
    };
    if labels.any(|other| other != right) {
        return Ok(());
    }
    let (all, other) = if right { ("right", "wrong") } else { ("wrong", "right") };
    let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
    Err(Error::Data(format!(
        "{}, which are all: every label is {all}, and nothing can be learned from one class; add rows with {other} steps, \
         or see loop.prm.neutral",
        named(&ids)
    )))
}

/// Weighs the labels so that right and wrong ones count alike: n / (2 · n of the class).
pub(super) fn balance(items: &mut [Item], balance: Balance) {
    let right = |target: f64| target >= 0.5;
    let all: Vec<f64> = items.iter().flat_map(|item| item.list(TARGETS).iter().copied()).collect();
    let good = all.iter().filter(|&&target| right(target)).count() as f64;
    let bad = all.len() as f64 - good;
    if balance == Balance::None || good * bad == 0.0 {
        return;
    }
    for item in items {
        let weight = |target: &f64| all.len() as f64 / (2.0 * if right(*target) { good } else { bad });
        let weights = item.list(TARGETS).iter().map(weight).collect();
        *item = std::mem::take(item).with_list(WEIGHTS, weights);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_classes_come_to_count_alike() {
        // Three right, one wrong: 4/(2·3) and 4/(2·1).
        let item = |targets: &[f64]| item("", vec![], targets.to_vec());
        let mut items = vec![item(&[1.0, 1.0]), item(&[0.75, 0.0])];
        balance(&mut items, Balance::None);
        assert_eq!(items[0].list(WEIGHTS), [1.0, 1.0]);
        balance(&mut items, Balance::Labels);
        assert_eq!(items[0].list(WEIGHTS), [4.0 / 6.0, 4.0 / 6.0]);
        assert_eq!(items[1].list(WEIGHTS), [4.0 / 6.0, 2.0]);
    }
}
