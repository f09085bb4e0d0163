//! How easy an English text is to read: Flesch 1948, Gunning's fog index 1952, Coleman and Liau 1975.

use crate::rationale::{StepUnit, steps};

/// What the formulas count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextCounts {
    /// Sentences; a line's end ends one.
    pub sentences: usize,
    /// Runs of letters, digits, apostrophes and hyphens that have a letter or digit.
    pub words: usize,
    /// Letters and digits.
    pub letters: usize,
    /// Syllables, by [`syllables`].
    pub syllables: usize,
    /// Words of three syllables and more.
    pub complex: usize,
}

impl TextCounts {
    /// Counts a text; `None` where it has no words.
    pub fn of(text: &str) -> Option<Self> {
        let mut counts = Self {
            sentences: steps::split(&StepUnit::Sentence, text, 0..text.len()).len(),
            words: 0,
            letters: 0,
            syllables: 0,
            complex: 0,
        };
        let words = text.split(|c: char| !(c.is_alphanumeric() || "'’-".contains(c)));
        for word in words.filter(|word| word.contains(char::is_alphanumeric)) {
            let syllables = syllables(word);
            counts.words += 1;
            counts.letters += word.chars().filter(|c| c.is_alphanumeric()).count();
            counts.syllables += syllables;
            counts.complex += usize::from(syllables >= 3);
        }
        (counts.words > 0).then_some(counts)
    }

    fn per_sentence(&self) -> f64 {
        self.words as f64 / self.sentences as f64
    }

    /// Flesch's reading ease, 206.835 − 1.015 · words/sentences − 84.6 · syllables/words: about 100 is easy, 0 hard.
    pub fn flesch(&self) -> f64 {
        206.835 - 1.015 * self.per_sentence() - 84.6 * self.syllables as f64 / self.words as f64
    }

    /// The fog index, 0.4 · (words/sentences + 100 · complex/words): years of school.
    pub fn fog(&self) -> f64 {
        0.4 * (self.per_sentence() + 100.0 * self.complex as f64 / self.words as f64)
    }

    /// Coleman and Liau's 0.0588 · letters per 100 words − 0.296 · sentences per 100 words − 15.8: years of school.
    pub fn coleman_liau(&self) -> f64 {
        let per_hundred = |count: usize| 100.0 * count as f64 / self.words as f64;
        0.0588 * per_hundred(self.letters) - 0.296 * per_hundred(self.sentences) - 15.8
    }
}

/// Syllables of an English word: its groups of vowels, without a silent final e; at least 1. A rule of thumb that is
/// right for most words and knows no exceptions.
pub fn syllables(word: &str) -> usize {
    let word: String = word.to_lowercase().chars().filter(|c| c.is_alphabetic()).collect();
    let vowel = |c: char| "aeiouy".contains(c);
    let mut groups = 0;
    let mut before = false;
    for c in word.chars() {
        groups += usize::from(vowel(c) && !before);
        before = vowel(c);
    }
    let mut from_end = word.chars().rev();
    let silent = match (from_end.next(), from_end.next(), from_end.next()) {
        // "ta-ble" says its e, "make" and "agree" have none of their own.
        (Some('e'), Some('l'), Some(third)) => vowel(third),
        (Some('e'), Some(second), _) => !vowel(second),
        // "jumped" and "makes" have a silent e; "wanted", "needed" and "boxes" say it.
        (Some('d'), Some('e'), Some(third)) => !vowel(third) && !"td".contains(third),
        (Some('s'), Some('e'), Some(third)) => !vowel(third) && !"scxzhg".contains(third),
        _ => false,
    };
    (groups - usize::from(silent && groups > 1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syllables_are_those_of_the_dictionary() {
        let words = [
            ("cat", 1),
            ("make", 1),
            ("makes", 1),
            ("jumped", 1),
            ("wanted", 2),
            ("boxes", 2),
            ("table", 2),
            ("agree", 2),
            ("the", 1),
            ("remainder", 3),
            ("multiplication", 5),
            ("happy", 2),
            ("7", 1),
        ];
        for (word, expected) in words {
            assert_eq!(syllables(word), expected, "{word}");
        }
    }

    #[test]
    fn the_formulas_give_literal_numbers() {
        // 2 sentences; 12 words; the 3, cat 3, sat 3, on 2, the 3, table 5 = 19 letters, and
        // multiplication 14, is 2, easy 4, for 3, happy 5, people 6 = 34: 53 letters;
        // syllables 1+1+1+1+1+2 = 7 and 5+1+2+1+2+2 = 13: 20; one word of three or more.
        let counts =
            TextCounts::of("The cat sat on the table. Multiplication is easy for happy people!").unwrap();
        assert_eq!(counts, TextCounts { sentences: 2, words: 12, letters: 53, syllables: 20, complex: 1 });
        // 206.835 − 1.015 · 6 − 84.6 · 20/12 = 206.835 − 6.09 − 141 = 59.745.
        assert!((counts.flesch() - 59.745).abs() < 1e-9);
        // 0.4 · (6 + 100/12) = 5.7333.
        assert!((counts.fog() - 5.733_333_333).abs() < 1e-8);
        // 0.0588 · 441.667 − 0.296 · 16.667 − 15.8 = 25.97 − 4.93333 − 15.8 = 5.23667.
        assert!((counts.coleman_liau() - 5.236_666_667).abs() < 1e-8);
        assert_eq!(TextCounts::of(" …\n"), None);
    }
}
