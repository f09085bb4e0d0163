//! What is learned of a row: of each of its views the tokens, and how much each counts.

use super::{Sft, spans};
use crate::data::row::Problems;
use crate::data::turns::learned_turns;
use crate::data::{Dataset, Example, Tokenizer, given};
use crate::error::{Error, Result};
use crate::loops::Item;
use crate::loops::item::WEIGHTS;
use crate::model::Sequence;
use crate::rollout::Prompted;
use std::sync::Arc;

/// The number that an item has of the view that it is of: its place in `loop.sft.view`.
pub(super) const VIEW: &str = "view";

/// One sequence that is learned of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taught {
    /// The view that it is of, where there are views.
    pub view: Option<usize>,
    pub sequence: Sequence,
    /// How much each learned token counts.
    pub weights: Vec<f32>,
}

impl Taught {
    pub fn item(self) -> Item {
        let view = self.view.unwrap_or(0) as f64;
        Item::of(vec![self.sequence]).with(VIEW, view).with_tokens(WEIGHTS, self.weights)
    }

    /// Σ w.
    pub fn weight(&self) -> f64 {
        self.weights.iter().map(|&weight| f64::from(weight)).sum()
    }
}

impl Sft {
    /// What is learned of `row`; nothing, where it has no completion or no view of it is learned.
    pub(super) fn taught(&self, tokenizer: &Tokenizer, row: &Prompted) -> Result<Vec<Taught>> {
        if self.view.is_empty() {
            let Some(text) = &row.example.completion else { return Ok(vec![]) };
            return Ok(vec![self.weighed(tokenizer, row, text, None)?]);
        }
        let mut taught = Vec::new();
        for (at, view) in self.view.iter().enumerate() {
            let seen =
                view.of(&row.example).map_err(|what| Error::Data(format!("{}: {what}", row.example)))?;
            let Some(seen) = seen else { continue };
            let seen = Prompted::of(&Arc::new(seen), tokenizer)?;
            let text = seen.example.completion.clone().unwrap_or_default();
            taught.push(self.weighed(tokenizer, &seen, &text, Some(at))?);
        }
        Ok(taught)
    }

    /// The row with `text` behind it, whose spans weigh as the section says.
    fn weighed(
        &self,
        tokenizer: &Tokenizer,
        row: &Prompted,
        text: &str,
        view: Option<usize>,
    ) -> Result<Taught> {
        let sampled = given::sampled(tokenizer, &row.example, text);
        let whole = match &sampled {
            Some((ids, _)) => with_ids(tokenizer, row, ids)?,
            None => with_completion(tokenizer, row, text)?,
        };
        let of_view = view.map_or(1.0, |at| self.view[at].weight);
        let mut weights = vec![1.0; whole.tokens.len()];
        let wrong = |what: String| Error::Data(format!("{}: {what}", row.example));
        let ids = &whole.tokens[row.tokens.len()..];
        if !self.spans.is_empty() || self.spans_from.is_some() {
            let found = spans::spans(&self.spans, self.spans_from.as_deref(), &row.example, text);
            let found = found.and_then(|found| spans::of_tokens(&found, tokenizer, ids, text));
            weights[row.tokens.len()..].copy_from_slice(&found.map_err(wrong)?);
        }
        let given = match sampled {
            Some((_, given)) => given,
            None => given::of_row(&row.example, text)
                .and_then(|given| given::holding(tokenizer, ids, text, given))
                .map_err(wrong)?,
        };
        given.into_iter().for_each(|tokens| weights[row.tokens.len()..][tokens].fill(0.0));
        // What counts nothing is read only.
        let learned: Vec<usize> = whole.places().filter(|&place| weights[place] > 0.0).collect();
        let weights = learned.iter().map(|&place| weights[place] * of_view as f32).collect();
        let sequence = Sequence::of_spans(whole.tokens, learned.into_iter().map(|place| place..place + 1))?;
        Ok(Taught { view, sequence, weights })
    }

    /// Leaves the rows of which some view is learned.
    pub(super) fn keep_seen(&self, rows: &mut Dataset) -> Result<()> {
        let (mut problems, mut kept) = (Problems::default(), Vec::new());
        for row in &rows.examples {
            let mut seen = false;
            for view in &self.view {
                match view.of(row) {
                    Ok(found) => seen |= found.is_some(),
                    Err(what) => problems.example(row, what),
                }
            }
            if seen {
                kept.push(row);
            }
        }
        problems.into_result()?;
        if kept.is_empty() {
            return Err(Error::Data(format!(
                "{}: no view of loop.sft is learned of any of its {} rows; see the views' `when`",
                rows.name,
                rows.examples.len()
            )));
        }
        let renumbered =
            |(index, row): (usize, &Arc<Example>)| Arc::new(Example { index, ..(**row).clone() });
        rows.examples = kept.into_iter().enumerate().map(renumbered).collect();
        Ok(())
    }

    /// Spans that no completion has, and columns that say none, are told before anything is tokenised.
    pub(super) fn look_at_spans(&self, rows: &Dataset) -> Result<()> {
        if self.spans.is_empty() && self.spans_from.is_none() {
            return Ok(());
        }
        let (mut problems, mut met) = (Problems::default(), vec![false; self.spans.len()]);
        for row in &rows.examples {
            let texts: Vec<String> = match self.view.is_empty() {
                true => row.completion.iter().cloned().collect(),
                false => {
                    let seen = self.view.iter().filter_map(|view| view.of(row).ok().flatten()?.completion);
                    seen.collect()
                }
            };
            for text in &texts {
                met.iter_mut().zip(&self.spans).for_each(|(met, span)| *met |= span.is_in(text));
                if let Err(what) = spans::spans(&[], self.spans_from.as_deref(), row, text) {
                    problems.example(row, what);
                }
            }
        }
        problems.into_result()?;
        match met.iter().position(|met| !met) {
            Some(at) => Err(Error::Data(format!(
                "{}: no completion of its {} rows has what loop.sft.spans looks for by {:?}; mend the pattern, or take it out",
                rows.name,
                rows.examples.len(),
                self.spans[at].pattern
            ))),
            None => Ok(()),
        }
    }
}

/// The row's prompt and then `text`, which is learned, as are the turns before it that the row says.
pub(super) fn with_completion(tokenizer: &Tokenizer, row: &Prompted, text: &str) -> Result<Sequence> {
    with_ids(tokenizer, row, &row.completion(tokenizer, text)?)
}

/// The same with a completion's ids.
fn with_ids(tokenizer: &Tokenizer, row: &Prompted, ids: &[u32]) -> Result<Sequence> {
    let tokens = [row.tokens.as_slice(), ids].concat();
    let mut spans = learned_turns(tokenizer, &row.example)?;
    // A text that nothing begins is learned from its second token on.
    spans.push(row.tokens.len().max(1)..tokens.len());
    Sequence::of_spans(tokens, spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A byte is a token: of `2*3=6.` a tool gave the 6.
    #[test]
    fn what_a_tool_gave_is_read_and_not_learned() {
        let (tokenizer, text) = (Tokenizer::bytes(), "2*3=6.");
        let place = json!({"start": 4, "end": 5});
        let given = json!([{"tokens": place, "bytes": place}]);
        let fields = [("completion".to_string(), json!(text)), ("given_spans".to_string(), given)];
        let example = Example {
            completion: Some(text.into()),
            fields: fields.into_iter().collect(),
            ..Example::text("row:1", "q")
        };
        let taught = |example: Example| {
            let row = Prompted::of(&Arc::new(example), &tokenizer).unwrap();
            let before = row.tokens.len();
            let taught = Sft::default().taught(&tokenizer, &row).map(|mut all| all.remove(0));
            taught.map(|one| {
                (one.sequence.places().map(|place| place - before).collect::<Vec<_>>(), one.weights)
            })
        };
        // The end of sequence is learned.
        assert_eq!(taught(example.clone()).unwrap(), (vec![0, 1, 2, 3, 5, 6], vec![1.0; 6]));
        // As it was sampled: cut off, so that nothing ends it.
        let mut cut = example.clone();
        cut.fields.insert("completion_ids".into(), json!(tokenizer.encode(text).unwrap()));
        assert_eq!(taught(cut).unwrap(), (vec![0, 1, 2, 3, 5], vec![1.0; 5]));
        let other = Example { completion: Some("6".into()), ..example };
        assert!(taught(other).unwrap_err().to_string().contains("is another text"));
    }
}
