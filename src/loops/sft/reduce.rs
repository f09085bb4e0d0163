//! Rationales shortened by the policy's own likelihoods of the answers after them (VARR, arXiv 2412.21006).

use super::method::row_seed;
use crate::data::row::Problems;
use crate::data::{Dataset, Example};
use crate::error::Result;
use crate::log::Metrics;
use crate::loops::Worker;
use crate::rationale::{Format, Rationale, equality::Equality};
use crate::rollout::Prompted;
use crate::seed;
use crate::select::reduce::{Likelihood, Order, Reduce, Removal, Walk, drawn, without};
use serde_json::Value;

/// A row whose rationale is being walked.
struct Walked<'a> {
    /// Its place among the rows of the step.
    row: usize,
    prompt: &'a [u32],
    text: &'a str,
    rationale: &'a Rationale,
    /// Answers of other rows.
    wrong: Vec<&'a str>,
}

/// The completions of the `rows` of `step` to train on: their own with the sentences left out that the policy can do
/// without. A completion in which `[data.format]` reads no answer stays whole. All rows are walked side by side, so that
/// the policy scores one sentence of each at a time.
pub fn shortened(
    reduce: &Reduce,
    worker: &Worker,
    rows: &[Prompted],
    step: usize,
    metrics: &mut Metrics,
) -> Result<Vec<String>> {
    let texts: Vec<&str> = rows.iter().map(|row| row.example.completion.as_deref().unwrap_or("")).collect();
    let read: Vec<Option<Rationale>> = texts.iter().map(|text| worker.format.parse(text)).collect();
    let answers: Vec<Option<&str>> =
        read.iter().zip(&texts).map(|(read, text)| Some(&text[read.as_ref()?.answer.clone()])).collect();
    let mut walked = Vec::new();
    for (row, rationale) in read.iter().enumerate() {
        metrics.add("select/unanswered", f64::from(u8::from(rationale.is_none())), 1.0);
        let Some(rationale) = rationale else { continue };
        let limit = reduce.limit(rationale.steps.len(), step, worker.steps);
        metrics.add("select/sentences", rationale.steps.len() as f64, 1.0);
        metrics.add("select/sentences_removable", limit as f64, 1.0);
        let wrong = wrong(&answers, row, reduce.wrong_answers);
        walked.push((limit, Walked { row, prompt: &rows[row].tokens, text: texts[row], rationale, wrong }));
    }
    let walks = walks(reduce, worker, &walked)?;
    let mut shorter: Vec<String> = texts.into_iter().map(String::from).collect();
    for ((_, item), walk) in walked.iter().zip(walks) {
        let row = &rows[item.row];
        let none = || vec![false; item.rationale.steps.len()];
        let mut removed = walk.map_or_else(none, |walk| walk.removed().to_vec());
        if reduce.order == Order::Random {
            let seed = row_seed(worker, row, step);
            removed = drawn(&removed, seed::derive(&[seed, seed::of_text("reduce")]));
        }
        metrics.add("select/sentences_removed", removed.iter().filter(|gone| **gone).count() as f64, 1.0);
        let needed = reduce.needed_from.as_ref().and_then(|column| needed(&row.example, column));
        for (name, share, of) in Removal::of(&removed, &needed.unwrap_or_default()).figures() {
            metrics.add(&format!("select/removed/{name}"), share, of);
        }
        shorter[item.row] = without(item.text, item.rationale, &removed).0;
    }
    Ok(shorter)
}

/// What a row's column says of its sentences; `None` if it is no list of true and false.
fn needed(row: &Example, column: &str) -> Option<Vec<bool>> {
    row.fields.get(column)?.as_array()?.iter().map(Value::as_bool).collect()
}

/// Refuses rows whose column does not say of each of their sentences whether it is needed.
pub(super) fn look_at(reduce: &Reduce, rows: &Dataset, format: &Format) -> Result<()> {
    let Some(column) = &reduce.needed_from else { return Ok(()) };
    let mut problems = Problems::default();
    for row in &rows.examples {
        let Some(read) = row.completion.as_deref().and_then(|text| format.parse(text)) else { continue };
        let steps = read.steps.len();
        match needed(row, column) {
            None => problems.example(
                row,
                format!(
                    "its `{column}`, which loop.sft.reduce.needed_from names, is no list of true and false; write one value a step, or leave the key out"
                ),
            ),
            Some(marks) if marks.len() != steps => problems.example(
                row,
                format!(
                    "its `{column}` has {} values and its rationale {steps} steps (data.format.steps); write one value a step",
                    marks.len()
                ),
            ),
            Some(_) => {}
        }
    }
    problems.into_result()
}

/// The walks of those rows that may lose a sentence, to their ends.
fn walks(reduce: &Reduce, worker: &Worker, walked: &[(usize, Walked)]) -> Result<Vec<Option<Walk>>> {
    let may = |(limit, item): &(usize, Walked)| (*limit > 0).then(|| vec![false; item.rationale.steps.len()]);
    let wholes = likelihoods(worker, walked, walked.iter().map(may).collect())?;
    let begin = |((limit, item), whole): (&(usize, Walked), Option<Likelihood>)| {
        whole.map(|whole| Walk::new(reduce, item.rationale.steps.len(), *limit, whole))
    };
    let mut walks: Vec<Option<Walk>> = walked.iter().zip(wholes).map(begin).collect();
    loop {
        let proposals: Vec<_> = walks.iter().map(|walk| walk.as_ref().and_then(Walk::proposal)).collect();
        if proposals.iter().all(Option::is_none) {
            return Ok(walks);
        }
        for (walk, found) in walks.iter_mut().zip(likelihoods(worker, walked, proposals)?) {
            if let (Some(walk), Some(found)) = (walk, found) {
                walk.decide(found);
            }
        }
    }
}

/// log p of the answers of each row that asks, after its rationale without what it proposes to remove.
fn likelihoods(
    worker: &Worker,
    walked: &[(usize, Walked)],
    removed: Vec<Option<Vec<bool>>>,
) -> Result<Vec<Option<Likelihood>>> {
    let mut sequences = Vec::new();
    for ((_, item), removed) in walked.iter().zip(&removed) {
        let Some(removed) = removed else { continue };
        let (text, answer) = without(item.text, item.rationale, removed);
        for answered in std::iter::once(&text[answer.clone()]).chain(item.wrong.iter().copied()) {
            sequences.push(worker.policy.after(item.prompt, &text[..answer.start], answered)?);
        }
    }
    let scored = worker.policy.logprobs(&sequences, 1.0, worker.tokens_per_microbatch)?;
    let mut scored = scored.iter();
    let sum = |logprobs: &Vec<f32>| logprobs.iter().map(|&l| f64::from(l)).sum::<f64>();
    let mut next = |item: &Walked| {
        let gold = scored.next().expect("one a sequence");
        let wrong = scored.by_ref().take(item.wrong.len()).map(sum).collect();
        Likelihood { gold: sum(gold), wrong, tokens: gold.len() }
    };
    Ok(walked.iter().zip(&removed).map(|((_, item), asks)| asks.as_ref().map(|_| next(item))).collect())
}

/// Up to `count` different answers of the rows that follow `row`, round and round, that are not its own.
fn wrong<'a>(answers: &[Option<&'a str>], row: usize, count: usize) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    let others = (1..answers.len()).filter_map(|ahead| answers[(row + ahead) % answers.len()]);
    let equality = Equality::of(None, &[]);
    let same = |a: &str, b: &str| equality.same(a, b);
    for other in others {
        if found.len() < count
            && answers[row].is_some_and(|own| !same(own, other))
            && found.iter().all(|known| !same(known, other))
        {
            found.push(other);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn marks_are_one_a_sentence() {
        let reduce = Reduce { needed_from: Some("needed".into()), ..Reduce::default() };
        let told = |marks: Option<Value>| {
            let completion = Some("3+2\n3+2=5\n#### 5".to_owned());
            let mut row = Example { completion, ..Example::text("a", "3+2") };
            row.fields.extend(marks.map(|marks| ("needed".to_owned(), marks)));
            let rows = Dataset { examples: vec![Arc::new(row)], name: "rows".into() };
            look_at(&reduce, &rows, &Format::default()).err().map_or(String::new(), |told| told.to_string())
        };
        assert_eq!(told(Some(json!([false, true]))), "");
        assert!(told(Some(json!([true]))).contains("has 1 values and its rationale 2 steps"));
        for no in [None, Some(json!([1, 0])), Some(json!("yes"))] {
            assert!(told(no).contains("no list of true and false"));
        }
    }

    #[test]
    fn wrong_answers_are_other_rows_answers() {
        let answers = [Some("1"), Some("2"), None, Some("1.0"), Some("3"), Some("2")];
        // After row 0: 2, none, 1.0 (its own), 3, 2 (known).
        assert_eq!(wrong(&answers, 0, 5), ["2", "3"]);
        // After row 4: 2, 1, …
        assert_eq!(wrong(&answers, 4, 1), ["2"]);
        assert_eq!(wrong(&answers, 4, 5), ["2", "1"]);
        assert!(wrong(&answers, 4, 0).is_empty());
    }
}
