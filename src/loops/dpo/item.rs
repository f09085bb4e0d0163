//! From feedback to what the loss needs: sequences, reference log-probabilities, which tokens count.

use super::answers::answers;
use super::{About, Dpo, DpoMethod, Mask};
use crate::data::row::named;
use crate::data::{Example, Feedback, FeedbackCompletion, Prompt, Tokenizer, given};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::item::REF_LOGPROBS;
use crate::loops::{Item, Worker};
use crate::loss::preference::{PairShape, shared_prefix};
use crate::model::Sequence;
use crate::policy::Policy;
use std::collections::HashMap;

/// Of an item: how much it counts.
pub(super) const WEIGHT: &str = "weight";
/// Of an item: how much better the chosen one is to be.
pub(super) const MARGIN: &str = "margin";
/// Of an item: how much −log p of the chosen one counts, before its weight.
pub(super) const NLL_WEIGHT: &str = "nll_weight";
/// Of an item: how many leading learned tokens of the chosen and of the rejected do not count.
pub(super) const PREFIX: &str = "prefix";
/// Of an item: where its question stood among those of all ranks.
pub(super) const PLACE: &str = "place";
/// Of an item: 1 where KTO's label is good.
pub(super) const GOOD: &str = "good";

/// Chosen, rejected and, where there is one, the rationale that says why; or KTO's one completion.
pub(super) fn item(sequences: Vec<Sequence>, weight: f64) -> Item {
    Item::of(sequences).with(WEIGHT, weight).with(GOOD, 1.0)
}

fn learned(item: &Item, sequence: usize) -> usize {
    item.sequences.get(sequence).map_or(0, Sequence::learned)
}

pub(super) fn shape(item: &Item) -> PairShape {
    PairShape {
        chosen: learned(item, 0),
        rejected: learned(item, 1),
        rationale: learned(item, 2),
        weight: item.number(WEIGHT),
        margin: item.number(MARGIN),
        nll_weight: item.number(NLL_WEIGHT) * item.number(WEIGHT),
    }
}

/// Why answers alone are not compared where parts of completions were given.
pub(super) const ANSWERS_GIVEN: &str =
    "answers are tokenised apart from their rationales, and nobody knows then what of them a tool gave";

/// A completion by the ids that were sampled.
pub(super) fn sampled(prompt: &[u32], ids: &[u32], completion: &FeedbackCompletion) -> Sequence {
    Sequence::of_completion(prompt, ids, completion.given.iter().map(|part| part.tokens.clone()))
}

/// A completion by the ids that its text was tokenised into.
pub(super) fn written(
    tokenizer: &Tokenizer,
    prompt: &[u32],
    ids: &[u32],
    completion: &FeedbackCompletion,
) -> Result<Sequence> {
    let bytes = completion.given.iter().map(|part| &part.bytes);
    let given = given::holding(tokenizer, ids, &completion.text, bytes).map_err(Error::Data)?;
    Ok(Sequence::of_completion(prompt, ids, given))
}

/// Which tokens of all its sequences count in the preference.
pub(super) fn counted(item: &Item) -> impl Iterator<Item = bool> {
    let side = |of: usize| {
        let prefix = item.list(PREFIX).get(of).map_or(0, |prefix| *prefix as usize);
        (0..learned(item, of)).map(move |token| token >= prefix)
    };
    side(0).chain(side(1)).chain(std::iter::repeat_n(true, learned(item, 2)))
}

/// The sequences that have a reference: a rationale has none.
pub(super) fn compared(item: &Item) -> &[Sequence] {
    &item.sequences[..item.sequences.len().min(2)]
}

/// With log π_ref of the compared sequences; 0 stands at the tokens of a rationale.
fn referred(item: Item, logprobs: Vec<Vec<f32>>) -> Item {
    let mut all = logprobs.concat();
    all.resize(item.learned(), 0.0);
    item.with_tokens(REF_LOGPROBS, all)
}

impl Dpo {
    /// What is learned from one row or rollout pair; for KTO a pair is two completions. Nothing, counted in `metrics`, where it
    /// is too long or no token counts.
    pub(super) fn items(
        &self,
        worker: &Worker,
        asked: &Prompt,
        prompt: &[u32],
        feedback: &Feedback,
        metrics: &mut Metrics,
    ) -> Result<Vec<Item>> {
        let policy = &worker.policy;
        let completed = |completion: &FeedbackCompletion| -> Result<Sequence> {
            let text = &completion.text;
            // Ids of another model's tokenizer say something else, or nothing; those of a turn were written here.
            let ours = |ids: &&Vec<u32>| completion.turn.is_some() || policy.tokenizer.decode(ids) == *text;
            match completion.tokens.as_ref().filter(ours) {
                Some(ids) => Ok(sampled(prompt, ids, completion)),
                None => {
                    let ids = policy.tokenizer.completion(asked, text)?;
                    written(&policy.tokenizer, prompt, &ids, completion)
                }
            }
        };
        let items = match feedback {
            Feedback::Label { completion, good, weight } => {
                vec![item(vec![completed(completion)?], *weight).with(GOOD, f64::from(u8::from(*good)))]
            }
            Feedback::Pair { chosen, rejected, weight, .. } if self.loss.unpaired() => vec![
                item(vec![completed(chosen)?], *weight),
                item(vec![completed(rejected)?], *weight).with(GOOD, 0.0),
            ],
            Feedback::Pair { chosen, rejected, .. }
                if self.about == About::Answers
                    && !(chosen.given.is_empty() && rejected.given.is_empty()) =>
            {
                return Err(Error::Data(format!(
                    "loop.dpo.about = \"answers\": {ANSWERS_GIVEN}; take about out"
                )));
            }
            Feedback::Pair { chosen, rejected, weight, margin, .. } if self.about == About::Answers => {
                let sequences = answers(policy, &worker.format, prompt, [&chosen.text, &rejected.text])?;
                metrics.add("rows_without_answer", f64::from(u8::from(sequences.is_none())), 1.0);
                let pair = |mut sequences: Vec<Sequence>| {
                    sequences.truncate(if self.loss.rationale == 0.0 { 2 } else { 3 });
                    item(sequences, *weight).with(MARGIN, *margin)
                };
                sequences.map(pair).into_iter().collect()
            }
            Feedback::Pair { chosen, rejected, weight, margin, why } => {
                let mut sequences = vec![completed(chosen)?, completed(rejected)?];
                if let Some((question, rationale)) = why.as_ref().filter(|_| self.loss.rationale != 0.0) {
                    let ids = policy.tokenizer.render(question)?;
                    sequences.push(Sequence::new(&ids, &policy.tokenizer.completion(question, rationale)?));
                }
                vec![item(sequences, *weight).with(MARGIN, *margin)]
            }
        };
        Ok(items.into_iter().filter_map(|item| self.usable(item, policy, metrics)).collect())
    }

    /// Says which of the rows teach nothing, since the recipe asks for a part of their completions that they do not have.
    ///
    /// # Errors
    /// Where none teaches anything.
    pub(super) fn look_at_rows(&self, worker: &Worker) -> Result<()> {
        let (key, why) = match (self.about, self.mask) {
            _ if self.online => return Ok(()),
            (About::Answers, _) => ("about = \"answers\"", "an answer of both completions"),
            (_, Mask::SharedPrefix) => {
                ("mask = \"shared_prefix\"", "a token of either completion behind what they share")
            }
            _ => return Ok(()),
        };
        let mut nothing = Vec::new();
        for row in &worker.questions.all {
            let Some(feedback) = &row.example.feedback else { continue };
            let prompt = &row.example.prompt;
            if self.items(worker, prompt, &row.tokens, feedback, &mut Metrics::default())?.is_empty() {
                nothing.push(row.example.id.as_str());
            }
        }
        let all = worker.questions.all.len();
        let words = || {
            format!(
                "loop.dpo.{key} needs {why}, which {} of {all} rows lack: {}",
                nothing.len(),
                named(&nothing)
            )
        };
        if nothing.len() == all && all > 0 {
            return Err(Error::Data(format!(
                "stage `{}`: {}; nothing is left to learn",
                worker.name,
                words()
            )));
        }
        if !nothing.is_empty() && worker.ranks.is_first() {
            tracing::warn!("{}: {}; they are left out", worker.name, words());
        }
        Ok(())
    }

    /// What is said of labelled completions that are all good, or all bad.
    pub(super) fn of_one_class<'a>(&self, rows: impl Iterator<Item = &'a Example>) -> Option<String> {
        if self.online {
            return None;
        }
        let (mut good, mut bad) = (0, 0);
        for row in rows {
            match &row.feedback {
                Some(Feedback::Label { good: true, .. }) => good += 1,
                Some(Feedback::Label { .. }) => bad += 1,
                Some(Feedback::Pair { .. }) => (good, bad) = (good + 1, bad + 1),
                None => {}
            }
        }
        let (all, other) = match (good, bad) {
            (1.., 0) => ("good", "bad"),
            (0, 1..) => ("bad", "good"),
            _ => return None,
        };
        Some(format!(
            "all {} completions are labelled {all}: loop.dpo with loss.kind = \"kto\" learns from what sets {all} ones apart from {other} ones; add some that are \
             {other}, with `label` = {}",
            good + bad,
            other == "good"
        ))
    }

    fn usable(&self, mut item: Item, policy: &Policy, metrics: &mut Metrics) -> Option<Item> {
        let limit = self.max_tokens.unwrap_or(usize::MAX).min(policy.context());
        let too_long = item.sequences.iter().any(|sequence| sequence.tokens.len() > limit);
        metrics.add("rows_too_long", f64::from(u8::from(too_long)), 1.0);
        if self.mask == Mask::SharedPrefix {
            let [chosen, rejected] = [0, 1].map(|i| item.sequences[i].completion());
            let prefix = shared_prefix(chosen, rejected);
            // Of tokens that both begin with, those that count are the learned ones.
            let leading = [0, 1].map(|i| {
                let sequence: &Sequence = &item.sequences[i];
                let end = sequence.prompt().len() + prefix;
                sequence.places().take_while(|place| *place < end).count()
            });
            let nothing = (0..2).any(|i| leading[i] >= learned(&item, i));
            item = item.with_list(PREFIX, leading.map(|leading| leading as f64).to_vec());
            metrics.add("rows_without_suffix", f64::from(u8::from(nothing)), 1.0);
            if nothing {
                return None;
            }
        }
        (!too_long).then_some(item)
    }
}

impl DpoMethod {
    /// The items with the reference policy's log-probabilities, which are `precomputed` at `rows` of the data where the recipe says so.
    pub(super) fn refer(
        &self,
        worker: &mut Worker,
        items: Vec<Item>,
        rows: &[usize],
        precomputed: &HashMap<usize, Vec<Vec<f32>>>,
        temperature: f64,
    ) -> Result<Vec<Item>> {
        if !self.dpo.loss.needs_reference() {
            return Ok(items);
        }
        if self.dpo.precompute_reference {
            let known = |(item, row): (Item, &usize)| match precomputed.get(row) {
                Some(logprobs) => Ok(referred(item, logprobs.clone())),
                None => Err(Error::Data(format!(
                    "row {row} was not there when reference log-probabilities were computed"
                ))),
            };
            return items.into_iter().zip(rows).map(known).collect();
        }
        let sequences: Vec<Sequence> = items.iter().flat_map(compared).cloned().collect();
        let mut logprobs = worker.reference_logprobs(&sequences, temperature)?.into_iter();
        let with = |item: Item| {
            let own = logprobs.by_ref().take(compared(&item).len()).collect();
            referred(item, own)
        };
        Ok(items.into_iter().map(with).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::tiny;
    use crate::rationale::Given;

    /// Both begin with `5 6`, of which a tool gave the 6.
    #[test]
    fn what_was_given_counts_nowhere() {
        let policy = tiny(1, 2, 0);
        let completion = |tokens: &[u32]| FeedbackCompletion {
            tokens: Some(tokens.to_vec()),
            given: vec![Given { tokens: 1..2, bytes: 1..2 }],
            ..policy.tokenizer.decode(tokens).as_str().into()
        };
        let side = |tokens: &[u32]| sampled(&[1], tokens, &completion(tokens));
        let pair = item(vec![side(&[5, 6, 7, 8]), side(&[5, 6, 9])], 1.0);
        assert_eq!((shape(&pair).chosen, shape(&pair).rejected), (3, 2));
        assert!(counted(&pair).all(|counts| counts));
        // A pair that counts half counts half in both of its terms.
        let half = shape(&item(vec![side(&[5, 6, 7, 8]), side(&[5, 6, 9])], 0.5).with(NLL_WEIGHT, 0.25));
        assert_eq!((half.weight, half.nll_weight), (0.5, 0.125));
        let masked = Dpo { mask: Mask::SharedPrefix, ..Dpo::default() };
        let masked = masked.usable(pair, &policy, &mut Metrics::default()).unwrap();
        assert_eq!(counted(&masked).collect::<Vec<_>>(), [false, true, true, false, true]);
        // Nothing that one of them learns stands behind what both begin with.
        let same = item(vec![side(&[5, 6, 7]), side(&[5, 6])], 1.0);
        let dpo = Dpo { mask: Mask::SharedPrefix, ..Dpo::default() };
        assert!(dpo.usable(same, &policy, &mut Metrics::default()).is_none());
        // Of a text that is tokenised here, the bytes say what it was.
        let text = FeedbackCompletion {
            given: vec![Given { tokens: 0..1, bytes: 2..3 }],
            ..FeedbackCompletion::from("abcd")
        };
        let ids = policy.tokenizer.encode("abcd").unwrap();
        assert_eq!(written(&policy.tokenizer, &[1], &ids, &text).unwrap().spans(), [1..3, 4..5]);
    }
}
