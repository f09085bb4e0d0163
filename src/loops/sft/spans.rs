//! How much the tokens of parts of a completion count: `[[loop.sft.spans]]` and `loop.sft.spans_from`. GOAT (arXiv 2510.12218) learns calls
//! without the values of their parameters, CoTAR's answers are learned with the citations weighed.
//!
//! L = Σₜ wₜ · −log pₜ / Σₜ wₜ. A token that holds any part of a span has the span's weight, else 1; of several spans the last counts. What weighs 0 is
//! read and not learned.

use crate::data::{Example, Tokenizer, given};
use crate::section::{MOST_WEIGHT, Misfit};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::Range;

/// Parts of completions by a pattern, and how much they count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanWeight {
    /// A regular expression: what its first group takes in, or all of a match where it has none, such as `=(\S+)`.
    pub pattern: String,
    /// How much each of the tokens counts; 0 does not learn them.
    #[serde(default)]
    pub weight: f64,
}

impl SpanWeight {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        match Regex::new(&self.pattern) {
            Err(error) => found.push(Misfit::new("pattern", format!("it is no pattern: {error}"), "")),
            Ok(pattern) if pattern.is_match("") => {
                let message = "it matches an empty text, and so everywhere";
                found.push(Misfit::new("pattern", message, "let it take in at least one character"));
            }
            Ok(_) => {}
        }
        if !(self.weight >= 0.0 && self.weight.is_finite()) {
            found.push(Misfit::new("weight", "it must be a number of at least 0", ""));
        }
        found
    }

    /// Whether there is such a part.
    pub fn is_in(&self, text: &str) -> bool {
        Regex::new(&self.pattern).is_ok_and(|pattern| pattern.is_match(text))
    }
}

/// The spans of `text` that `weights` and the row's `column` name, in bytes, in the order in which they count.
///
/// # Errors
/// A column that is no list of `[start, end, weight]` within the text, in words that follow the row's place.
pub fn spans(
    weights: &[SpanWeight],
    column: Option<&str>,
    row: &Example,
    text: &str,
) -> Result<Vec<(Range<usize>, f64)>, String> {
    let mut found = Vec::new();
    for SpanWeight { pattern, weight } in weights {
        let Ok(pattern) = Regex::new(pattern) else { continue };
        let group = usize::from(pattern.captures_len() > 1);
        let taken = pattern.captures_iter(text).filter_map(|captures| captures.get(group));
        found.extend(taken.map(|part| (part.range(), *weight)));
    }
    if let Some(column) = column {
        found.extend(of_column(column, row.fields.get(column), text)?);
    }
    Ok(found)
}

fn of_column(name: &str, value: Option<&Value>, text: &str) -> Result<Vec<(Range<usize>, f64)>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Err(format!(
            "it has no column `{name}`, which loop.sft.spans_from names; give it one, [] for no span"
        ));
    };
    let wanted = || {
        format!(
            "its `{name}` must be a list of [start, end, weight], in bytes of its completion of {}, weights from 0 to {MOST_WEIGHT:e}",
            text.len()
        )
    };
    let list = value.as_array().ok_or_else(wanted)?;
    let span = |one: &Value| {
        let [start, end, weight] = one.as_array()?.as_slice() else { return None };
        let (start, end) = (start.as_u64()? as usize, end.as_u64()? as usize);
        let weight = weight.as_f64().filter(|weight| (0.0..=MOST_WEIGHT).contains(weight))?;
        (start < end && text.get(start..end).is_some()).then_some((start..end, weight))
    };
    list.iter().map(|one| span(one).ok_or_else(wanted)).collect()
}

/// The weight of each of `ids`, which are the completion `text` and what ends it.
pub fn of_tokens(
    spans: &[(Range<usize>, f64)],
    tokenizer: &Tokenizer,
    ids: &[u32],
    text: &str,
) -> Result<Vec<f32>, String> {
    let mut weights = vec![1.0; ids.len()];
    let places = given::holding(tokenizer, ids, text, spans.iter().map(|(span, _)| span))?;
    for ((_, weight), tokens) in spans.iter().zip(places) {
        weights[tokens].fill(*weight as f32);
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn weight(pattern: &str, weight: f64) -> SpanWeight {
        SpanWeight { pattern: pattern.into(), weight }
    }

    fn row(weights: Value) -> Example {
        let fields = [("w".to_string(), weights)].into_iter().collect();
        Example { fields, ..Example::text("row:1", "?") }
    }

    /// Values behind `=` count nothing, names twice; the column has the last word.
    #[test]
    fn groups_matches_and_columns_weigh() {
        let (text, row) = ("f(a=12, b=7)", row(json!([[9, 11, 0.5]])));
        let all = [weight(r"=(\d+)", 0.0), weight(r"[ab]=", 2.0)];
        let found = spans(&all, Some("w"), &row, text).unwrap();
        assert_eq!(found, [(4..6, 0.0), (10..11, 0.0), (2..4, 2.0), (8..10, 2.0), (9..11, 0.5)]);
        let tokenizer = Tokenizer::bytes();
        let ids = [tokenizer.encode(text).unwrap(), vec![tokenizer.eos()]].concat();
        let weights = of_tokens(&found, &tokenizer, &ids, text).unwrap();
        //          f    (    a    =    1    2    ,         b    =    7    )    eos
        assert_eq!(weights, [1.0, 1.0, 2.0, 2.0, 0.0, 0.0, 1.0, 1.0, 2.0, 0.5, 0.5, 1.0, 1.0]);
        assert_eq!(of_tokens(&[], &tokenizer, &ids[..2], text).unwrap(), [1.0; 2]);
    }

    /// A character of two bytes is weighed whole where either is taken in.
    #[test]
    fn a_token_with_any_part_of_a_span_has_its_weight() {
        let (tokenizer, text) = (Tokenizer::bytes(), "aé=b");
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(of_tokens(&[(1..3, 0.0)], &tokenizer, &ids, text).unwrap(), [1.0, 0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn columns_that_say_something_else_are_refused() {
        for wrong in [
            json!("x"),
            json!([[0, 1]]),
            json!([[1, 0, 1.0]]),
            json!([[0, 99, 1.0]]),
            json!([[0, 1, -1]]),
            json!([[0, 1, 1e300]]),
        ] {
            let told = spans(&[], Some("w"), &row(wrong), "abc").unwrap_err();
            assert!(told.contains("list of [start, end, weight]"), "{told}");
        }
        assert!(spans(&[], Some("other"), &row(json!([])), "abc").unwrap_err().contains("no column `other`"));
        let keys = |bad: SpanWeight| bad.check().into_iter().map(|misfit| misfit.key).collect::<Vec<_>>();
        assert_eq!(keys(weight("((", -1.0)), ["pattern", "weight"]);
        assert_eq!(keys(weight("x*", f64::NAN)), ["pattern", "weight"]);
        assert!(weight("=(x)", 0.0).check().is_empty());
    }
}
