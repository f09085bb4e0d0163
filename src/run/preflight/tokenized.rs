//! Rows as they go through the model, looked at before the run: how long they are, which are left out, and what is wrong with them.

use crate::data::row::Problems;
use crate::data::threads::each;
use crate::data::{Dataset, Example, Feedback, Prompt, Prompted, Split, Tokenizer};
use crate::error::{Error, Result};
use crate::run::lengths::{Lengths, TooLong, none_is_left};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rows that are looked at, however long they are.
const AT_LEAST: usize = 10_000;

/// Bytes of text beyond which no further row is looked at: a core takes about a minute for them, a render of the chat template and a tokenisation
/// for the prompt and for each turn that is learned.
const TEXT: usize = 64 << 20;

/// What a row takes beside its text, in bytes of that.
const ROW: usize = 256;

/// How long rows are looked at once one is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first of `rows`, as many as are looked at one by one: all, unless they are a great many.
pub(super) fn looked_at(rows: &[Arc<Example>]) -> &[Arc<Example>] {
    first(rows, AT_LEAST, TEXT)
}

/// The first `least` rows, and as many more as have so much text.
fn first(rows: &[Arc<Example>], least: usize, text: usize) -> &[Arc<Example>] {
    let mut seen = 0;
    let end = rows.iter().enumerate().position(|(at, row)| {
        seen += ROW + length(row);
        at >= least && seen > text
    });
    &rows[..end.unwrap_or(rows.len())]
}

/// Bytes of what is asked and learned of a row.
fn length(row: &Example) -> usize {
    let prompt = match &row.prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Chat(turns) => turns.iter().map(|turn| turn.content.len()).sum(),
    };
    let feedback = row.feedback.iter().flat_map(Feedback::texts);
    prompt + row.completion.iter().chain(feedback).map(String::len).sum::<usize>()
}

/// So many rows of a split as a sentence calls them: the first ones, where they are not the `whole` of it.
pub(super) fn called(count: usize, whole: bool, split: Split) -> String {
    let held = if split == Split::Eval { "held-out " } else { "" };
    if whole { format!("{count} {held}rows") } else { format!("the first {count} {held}rows") }
}

/// Tokens of a row: of its prompt, and of the longest sequence that is learned of it.
#[derive(Debug, Clone, Copy)]
struct Size {
    prompt: usize,
    learned: Option<usize>,
}

/// The rows of a split that were tokenised.
#[derive(Debug)]
pub(super) struct Tokenized<'r> {
    rows: &'r [Arc<Example>],
    sizes: Vec<Size>,
    whole: bool,
    split: Split,
}

impl<'r> Tokenized<'r> {
    /// Tokenises the rows of a split, or the first of very many; `whole` where `rows` are all that there are.
    ///
    /// # Errors
    /// What the tokenizer, its chat template or the method refuses of rows: all of it.
    pub fn of(
        rows: &'r Dataset,
        (split, whole): (Split, bool),
        lengths: &Lengths,
        tokenizer: &Tokenizer,
    ) -> Result<Self> {
        let looked_at = looked_at(&rows.examples);
        let whole = whole && looked_at.len() == rows.examples.len();
        let (began, refused) = (Instant::now(), AtomicBool::new(false));
        let look = |row| {
            if refused.load(Ordering::Relaxed) && began.elapsed() > PATIENCE {
                return None;
            }
            let size = size(row, split, lengths, tokenizer);
            refused.fetch_or(size.is_err(), Ordering::Relaxed);
            Some(size)
        };
        let (mut sizes, mut problems, mut unseen) =
            (Vec::with_capacity(looked_at.len()), Problems::default(), 0);
        for (row, size) in looked_at.iter().zip(each(looked_at, look)?) {
            match size {
                Some(Ok(size)) => sizes.push(size),
                Some(Err(error)) => problems.of(row, error)?,
                None => unseen += 1,
            }
        }
        problems.into_result().map_err(|error| match error {
            Error::Data(text) if unseen > 0 => {
                Error::Data(format!("{text}\n  {unseen} further rows were not looked at, which takes long"))
            }
            error => error,
        })?;
        Ok(Self { rows: looked_at, sizes, whole, split })
    }

    /// Which of them are too long, a sentence for each reason.
    ///
    /// # Errors
    /// Where none is left.
    pub fn too_long(&self, lengths: &Lengths) -> Result<Vec<String>> {
        let (mut prompts, mut learned) = (vec![], vec![]);
        for (row, size) in self.rows.iter().zip(&self.sizes) {
            match lengths.too_long(size.prompt, size.learned) {
                Some(TooLong::Prompt) => prompts.push(&**row),
                Some(TooLong::Learned) => learned.push(&**row),
                None => {}
            }
        }
        let (count, of) = (self.rows.len(), called(self.rows.len(), self.whole, self.split));
        let fitting = count - prompts.len() - learned.len();
        let found = [(TooLong::Prompt, prompts), (TooLong::Learned, learned)];
        let found = found.into_iter().filter(|(_, rows)| !rows.is_empty());
        let sentences: Vec<String> = found.map(|(why, rows)| lengths.sentence(&rows, why, &of)).collect();
        if fitting == 0 && self.whole && count > 0 {
            return Err(Error::Data(none_is_left(&sentences)));
        }
        Ok(sentences)
    }

    /// Tokens of each: of what is learned, or else of its prompt.
    pub fn lengths(&self) -> Vec<usize> {
        self.sizes.iter().map(|size| size.learned.unwrap_or(size.prompt)).collect()
    }
}

fn size(row: &Arc<Example>, split: Split, lengths: &Lengths, tokenizer: &Tokenizer) -> Result<Size> {
    let question = Prompted::of(row, tokenizer)?;
    let prompt = question.tokens.len();
    let learned = match split {
        Split::Train => lengths.longest_learned(tokenizer, &question),
        Split::Eval => Ok(None),
    };
    // Of a row that is left out for its prompt nothing is learned.
    let left_out = lengths.too_long(prompt, None).is_some();
    Ok(Size { prompt, learned: if left_out { learned.unwrap_or_default() } else { learned? } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, prompt: &str) -> Vec<Arc<Example>> {
        (0..count).map(|at| Arc::new(Example::text(at.to_string(), prompt))).collect()
    }

    #[test]
    fn all_rows_are_looked_at_but_of_very_many_the_first() {
        assert_eq!(looked_at(&rows(10_050, "a prompt")).len(), 10_050);
        let rows = rows(10, &"x".repeat(1000));
        // Each counts for 1256 bytes.
        for (least, text, count) in
            [(3, 0, 3), (3, 5 * 1256, 5), (3, 6 * 1256 - 1, 5), (20, 0, 10), (0, 1 << 20, 10)]
        {
            assert_eq!(first(&rows, least, text).len(), count, "{least} {text}");
        }
        assert_eq!(called(5, true, Split::Train), "5 rows");
        assert_eq!(called(5, false, Split::Eval), "the first 5 held-out rows");
    }
}
