//! Rationales shortened by the policy's own likelihoods of the answers after them (VARR, arXiv 2412.21006).

use crate::error::Result;
use crate::log::Metrics;
use crate::loops::Worker;
use crate::rationale::{Rationale, equality::Equality};
use crate::rollout::Prompted;
use crate::select::reduce::{Likelihood, Reduce, Walk, without};

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
    let walks = walks(worker, &walked)?;
    let mut shorter: Vec<String> = texts.into_iter().map(String::from).collect();
    for ((_, item), walk) in walked.iter().zip(walks) {
        let removed = walk.as_ref().map_or(&[][..], Walk::removed);
        metrics.add("select/sentences_removed", removed.iter().filter(|gone| **gone).count() as f64, 1.0);
        shorter[item.row] = without(item.text, item.rationale, removed).0;
    }
    Ok(shorter)
}

/// The walks of those rows that may lose a sentence, to their ends.
fn walks(worker: &Worker, walked: &[(usize, Walked)]) -> Result<Vec<Option<Walk>>> {
    let may = |(limit, item): &(usize, Walked)| (*limit > 0).then(|| vec![false; item.rationale.steps.len()]);
    let wholes = likelihoods(worker, walked, walked.iter().map(may).collect())?;
    let begin = |((limit, item), whole): (&(usize, Walked), Option<Likelihood>)| {
        whole.map(|whole| Walk::new(item.rationale.steps.len(), *limit, whole))
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
    let mut sums = scored.iter().map(|logprobs| logprobs.iter().map(|&l| f64::from(l)).sum::<f64>());
    let mut next = |item: &Walked| Likelihood {
        gold: sums.next().expect("one a sequence"),
        wrong: sums.by_ref().take(item.wrong.len()).collect(),
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
