//! Rows whose questions are drawn: a fifth of all questions, by their hash, is held out, and none comes twice.

use crate::data::Split;
use crate::data::order::below;
use crate::data::row::Row;
use crate::error::{Error, Result};
use crate::seed;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// The `wanted` rows of a split by the seed. `draw` makes a question for the row of an index, with what is known of it, or nothing where what it
/// drew is no question; `row` makes the row of one that is the split's and new. `what` is what there are too few of, in words.
pub(super) fn rows<T>(
    task: &str,
    what: &str,
    (split, wanted, seed): (Split, usize, u64),
    draw: impl Fn(usize, &mut ChaCha8Rng) -> Option<(String, T)>,
    row: impl Fn(usize, String, T, &mut ChaCha8Rng) -> Result<Row>,
) -> Result<Vec<Row>> {
    let order = seed::derive(&[seed, seed::of_text(task), u64::from(split == Split::Eval)]);
    let mut rng = ChaCha8Rng::seed_from_u64(order);
    let (mut seen, mut rows, mut draws) = (HashSet::new(), Vec::new(), 0);
    while rows.len() < wanted {
        draws += 1;
        if draws > 100 * (wanted + 100) {
            return Err(Error::Recipe(format!(
                "[data.task.{task}] there are not {wanted} different {what}; lower `train` and `eval`"
            )));
        }
        let Some((question, drawn)) = draw(rows.len(), &mut rng) else { continue };
        let held_out = seed::derive(&[seed, seed::of_text(&question)]).is_multiple_of(5);
        if held_out == (split == Split::Eval) && seen.insert(question.clone()) {
            rows.push(row(rows.len(), question, drawn, &mut rng)?);
        }
    }
    Ok(rows)
}

/// From 0 up to 1.
pub(super) fn share(rng: &mut ChaCha8Rng) -> f64 {
    below(rng, 1 << 20) as f64 / f64::from(1 << 20)
}
