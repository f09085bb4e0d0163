//! Words at which reasoning turns.

use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[data.format.steps.cues]`: a step begins with the sentence in which one of `words` stands; in the first sentence of all, at the word. So VSRM
/// parts long thoughts (arXiv 2508.10293), whose released program has these defaults. It also finds its words inside of others (`but` in `attribute`),
/// and ends a sentence at every period, those of numbers too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cues {
    /// The words; an entry may be several in a row. Each counts as it is written, with a capital, and in capitals, where it is no part of another word.
    pub words: Vec<String>,
    /// Characters at the beginning of the reasoning in which no word counts, since it restates the question there. 0 for short scratchpads.
    pub skip: usize,
    /// Characters from where a step begins to the next word that counts, at least; 0 for short scratchpads.
    pub apart: usize,
}

impl Default for Cues {
    fn default() -> Self {
        let words = [
            "wait",
            "but",
            "alternatively",
            "however",
            "hmm",
            "let me double-check",
            "hold on",
            "looking back",
            "seems solid",
            "similarly",
            "that's correct, but",
            "that seems right",
            "So",
        ];
        Self { words: words.map(str::to_owned).into(), skip: 1000, apart: 400 }
    }
}

impl Cues {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let blank =
            self.words.is_empty() || self.words.iter().any(|word| word.trim() != word || word.is_empty());
        let remedy = "such as [\"wait\", \"but\"], without white space around them";
        blank
            .then(|| Misfit::new("words", "it needs words that steps begin with", remedy))
            .into_iter()
            .collect()
    }

    /// Where in `text` the words stand, in order: the byte at which each begins, and how many characters stand before it.
    ///
    /// ```
    /// use rationale::rationale::Cues;
    /// let cues = Cues { words: vec!["wait".into()], ..Cues::default() };
    /// assert_eq!(cues.places("½? Wait, await no WAIT."), [(4, 3), (19, 18)]);
    /// ```
    pub fn places(&self, text: &str) -> Vec<(usize, usize)> {
        let forms: Vec<String> = self.words.iter().flat_map(|word| forms(word)).collect();
        let mut before = None;
        let begins = |(count, (at, character)): (usize, (usize, char))| {
            let inside = before.replace(character).is_some_and(char::is_alphanumeric);
            let found = !inside && forms.iter().any(|form| stands_in_front(form, &text[at..]));
            found.then_some((at, count))
        };
        text.char_indices().enumerate().filter_map(begins).collect()
    }
}

/// A word as it is written, with a capital, and in capitals.
fn forms(word: &str) -> [String; 3] {
    let mut rest = word.chars();
    let capital = rest.next().map_or(String::new(), |first| first.to_uppercase().chain(rest).collect());
    [word.to_owned(), capital, word.to_uppercase()]
}

/// Whether `text` begins with `word`, and not with a longer one.
fn stands_in_front(word: &str, text: &str) -> bool {
    let goes_on =
        |rest: &str| word.ends_with(char::is_alphanumeric) && rest.starts_with(char::is_alphanumeric);
    text.strip_prefix(word).is_some_and(|rest| !goes_on(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_in_three_forms_and_alone() {
        let cues = Cues::default();
        let words = |text: &str| -> Vec<String> {
            let of = |(at, _): (usize, usize)| text[at..].chars().take(4).collect();
            cues.places(text).into_iter().map(of).collect()
        };
        assert_eq!(words("hmm. Hmm, HMM! hMM hmmm"), ["hmm.", "Hmm,", "HMM!"]);
        assert_eq!(words("Let me double-check. let me see"), ["Let "]);
        // Only with a capital, as the released program has it; "but" is found beside the phrase that ends in it.
        assert_eq!(words("so So Some"), ["So S"]);
        assert_eq!(words("That's correct, but"), ["That", "but"]);
    }

    #[test]
    fn words_are_needed() {
        let of = |words: &[&str]| Cues {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            ..Cues::default()
        };
        assert!(of(&["wait"]).check().is_empty() && Cues::default().check().is_empty());
        let wrong: [&[&str]; 3] = [&[], &[""], &["wait "]];
        for wrong in wrong {
            assert_eq!(of(wrong).check()[0].key, "words");
        }
    }
}
