//! Reasoning that only says again what it was told.

use super::{Holds, Part, Reward, Wants, column, wanting};
use crate::text::rouge::words;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::HashSet;

/// `[reward.copying]`: takes away for what is copied from the prompt. −(share of the n-grams of words that stand in the prompt), 0 up
/// to `free`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Copying {
    /// Words of an n-gram.
    pub n: usize,
    /// The share that is let pass.
    pub free: f64,
    /// A column of the row to look in besides the prompt, such as a reference text that must not be given away.
    pub column: Option<String>,
    /// `text`, `rationale` or `answer`.
    pub of: Part,
}

impl Default for Copying {
    fn default() -> Self {
        Self { n: 4, free: 0.0, column: None, of: Part::Rationale }
    }
}

impl Copying {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        let (n, free) = (self.n, self.free);
        anyhow::ensure!(n > 0, "n = 0: an n-gram has at least one word, such as 4");
        anyhow::ensure!((0.0..1.0).contains(&free), "free = {free}: must be at least 0 and less than 1");
        let column = self.column.iter();
        let wants =
            column.fold(Wants::default(), |wants, name| wants.column("column", name, Holds::Anything));
        Ok(wanting(wants, move |example, rollout| {
            let mut sources = vec![words(&example.prompt.text())];
            if let Some(name) = &self.column {
                sources.push(words(&column::text(example, name)?));
            }
            let known: HashSet<&[String]> = sources.iter().flat_map(|source| source.windows(n)).collect();
            let own = words(self.of.of(rollout));
            let total = own.windows(n).count().max(1);
            let copied = own.windows(n).filter(|ngram| known.contains(ngram)).count() as f64 / total as f64;
            Ok(if copied <= free { 0.0 } else { -copied })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};

    #[test]
    fn words_taken_from_the_prompt_are_counted() {
        let texts = ["Ann has two red apples now\n#### 1", "Two and two make four\n#### 4", "#### 1"];
        let mut asked = group(None, &[], &texts);
        let example = std::sync::Arc::get_mut(&mut asked.example).unwrap();
        example.prompt = crate::data::Prompt::Text("Ann has two red pears.".into());
        example.fields.insert("hint".into(), "two make four".into());
        // Pairs of the first: ann-has, has-two, two-red of 5 stand there.
        assert_eq!(scores("[copying]\nn = 2", asked.clone()), Ok(vec![-0.6, 0.0, 0.0]));
        assert_eq!(scores("[copying]\nn = 2\nfree = 0.6", asked.clone()), Ok(vec![0.0; 3]));
        assert_eq!(scores("[copying]\nn = 3\ncolumn = \"hint\"", asked), Ok(vec![-0.5, -1.0 / 3.0, 0.0]));
    }
}
