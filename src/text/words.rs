//! The words of a text, and which of them say little by themselves.

use std::ops::Range;

/// The words of `text`, in bytes: what stands between blanks, without the punctuation around it.
///
/// ```
/// use rationale::text::words::words;
/// let text = "(A) Is it well-known, then?";
/// let found: Vec<&str> = words(text).into_iter().map(|span| &text[span]).collect();
/// assert_eq!(found, ["A", "Is", "it", "well-known", "then"]);
/// ```
pub fn words(text: &str) -> Vec<Range<usize>> {
    let is_around = |c: char| !c.is_alphanumeric();
    let mut found = Vec::new();
    for part in text.split_whitespace() {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        let front = part.len() - part.trim_start_matches(is_around).len();
        let word = part.trim_matches(is_around);
        if !word.is_empty() {
            found.push(start + front..start + front + word.len());
        }
    }
    found
}

/// Whether an English word says little by itself: articles, pronouns, forms of be, have and do, conjunctions, prepositions, question words, and letters that
/// stand alone.
///
/// ```
/// use rationale::text::words::says_little;
/// assert!(says_little("The") && says_little("a") && says_little("B") && !says_little("river") && !says_little("7"));
/// ```
pub fn says_little(word: &str) -> bool {
    let word = word.to_lowercase();
    let letter = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    letter || LITTLE.contains(&word.as_str())
}

const LITTLE: [&str; 96] = [
    "an", "the", "this", "that", "these", "those", "some", "any", "each", "every", "all", "both", "no",
    "not", "me", "my", "we", "us", "our", "you", "your", "he", "him", "his", "she", "her", "it", "its",
    "they", "them", "their", "who", "whom", "whose", "which", "what", "when", "where", "why", "how", "am",
    "is", "are", "was", "were", "be", "been", "being", "have", "has", "had", "do", "does", "did", "will",
    "would", "can", "could", "should", "may", "might", "must", "and", "or", "but", "if", "then", "than",
    "so", "as", "because", "while", "of", "at", "by", "for", "with", "about", "into", "to", "from", "in",
    "out", "on", "off", "over", "under", "again", "there", "here", "just", "only", "too", "very", "up",
    "down",
];
