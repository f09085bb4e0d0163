//! What a row and its counterfactual are learned by: both, with the tokens in which each option is analysed.

use super::{COLUMN, Contrast, Irregular};
use crate::data::{Example, columns::letter};
use crate::error::{Error, Result};
use crate::loops::{Item, Worker};
use crate::model::Sequence;
use crate::rationale::equality::choice;
use crate::rationale::options::analyses;
use crate::rollout::Prompted;
use std::ops::Range;

/// Of an item: by side, how many of its places are each compared option's, first the options whose truth flips.
pub(super) const SPANS: [&str; 2] = ["spans/own", "spans/altered"];
/// Of an item: how many options flip.
pub(super) const FLIPPED: &str = "flipped";

/// A pair's item, or the reason why there is none.
type PairItem = std::result::Result<Item, &'static str>;

/// Why a pair cannot be compared: the figure's name, and the row in the user's words.
type NotComparable = (&'static str, String);

impl Contrast {
    /// What is learned from `original` and its counterfactual.
    pub(super) fn item(&self, worker: &Worker, original: &Example, altered: &Prompted) -> Result<PairItem> {
        let own = worker.policy.tokenizer.render_example(original)?;
        let options = match compared(original, &altered.example) {
            Ok(options) => options,
            Err(not_comparable) => return self.not_comparable(not_comparable),
        };
        let limit = self.max_tokens.unwrap_or(usize::MAX).min(worker.policy.context());
        let (mut sequences, mut read, mut counts) = (vec![], vec![], vec![]);
        let sides = [(original, own.as_slice()), (&*altered.example, altered.tokens.as_slice())];
        for (example, prompt) in sides {
            let text = example.completion.as_deref().ok_or_else(|| {
                Error::Data(format!(
                    "{}: it has no completion to learn; give it a `rationale` and `answer`, or a `completion`",
                    example
                ))
            })?;
            let completion = worker.policy.completion(text)?;
            let spans = match self.spans(worker, example, &completion, &options) {
                Ok(spans) => spans,
                Err(not_comparable) => return self.not_comparable(not_comparable),
            };
            let (mut places, mut count) = (Vec::new(), Vec::new());
            for tokens in spans {
                let before = places.len();
                places.extend(tokens.into_iter().flatten().map(|token| prompt.len() + token));
                count.push((places.len() - before) as f64);
            }
            read.push(places);
            counts.push(count);
            sequences.push(Sequence::new(prompt, &completion));
        }
        if sequences.iter().any(|sequence| sequence.tokens.len() > limit) {
            return Ok(Err("too_long"));
        }
        let [own, altered] = [0, 1].map(|side| std::mem::take(&mut counts[side]));
        let item = Item::of(sequences).read_at(read);
        Ok(Ok(item.with_list(SPANS[0], own).with_list(SPANS[1], altered).with(FLIPPED, 2.0)))
    }

    fn not_comparable(&self, (why, what): NotComparable) -> Result<PairItem> {
        match self.irregular {
            Irregular::Drop => Ok(Err(why)),
            Irregular::Refuse => Err(Error::Data(format!(
                "{what}; mend or leave out the row, or set loop.contrast.irregular = \"drop\""
            ))),
        }
    }

    /// The tokens of `completion` in which each of `options` is analysed.
    fn spans(
        &self,
        worker: &Worker,
        example: &Example,
        completion: &[u32],
        options: &[usize],
    ) -> std::result::Result<Vec<Vec<Range<usize>>>, NotComparable> {
        let tokenizer = &worker.policy.tokenizer;
        let text = tokenizer.decode(completion);
        let steps = worker.format.parse(&text).map_or_else(Vec::new, |rationale| rationale.steps);
        let label = |&option: &usize| {
            let choice = &example.choices[option];
            self.label.replace("{letter}", &letter(option)).replace("{choice}", choice)
        };
        let labels: Vec<String> = options.iter().map(label).collect();
        let found = analyses(&text, &steps, &labels);
        if let Some(at) = found.iter().position(Vec::is_empty) {
            return Err((
                "not_analysed",
                format!(
                    "{}: none of the {} steps of its rationale begins with {:?}, which is to analyse that option (see \
                     loop.contrast.label and data.format)",
                    example,
                    steps.len(),
                    labels[at]
                ),
            ));
        }
        let tokens = |span: Range<usize>| tokenizer.tokens_of(completion, span);
        Ok(found.into_iter().map(|spans| spans.into_iter().map(tokens).collect()).collect())
    }
}

/// The options that are compared: the right ones of both contexts, whose truth flips, then those that are wrong in both.
fn compared(original: &Example, altered: &Example) -> std::result::Result<Vec<usize>, NotComparable> {
    if original.choices != altered.choices {
        let what =
            format!("{altered}: its `choices` are not those of {}, which its `{COLUMN}` names", original.id);
        return Err(("other_choices", what));
    }
    let right = |example: &Example| example.gold().and_then(|gold| choice(gold, &example.choices));
    let of = |example: &Example| {
        let what = format!("{}: it has no `choices` with its `answer` among them", example);
        right(example).ok_or(("ungraded", what))
    };
    let (own, other) = (of(original)?, of(altered)?);
    if own == other {
        let what = format!("{altered}: its answer is that of {}, and no option's truth flips", original.id);
        return Err(("same_answer", what));
    }
    let unchanged = (0..original.choices.len()).filter(|option| ![own, other].contains(option));
    let all: Vec<usize> = [own, other].into_iter().chain(unchanged).collect();
    if all.len() == 2 {
        let what = format!("{altered}: it has no option that is wrong in both contexts, as a third would be");
        return Err(("none_unchanged", what));
    }
    Ok(all)
}
