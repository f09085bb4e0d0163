//! How much of a text says again what it has said.

use std::collections::HashSet;

/// 1 − unique / total over the n-grams of a text's words (white space between them); 0 where it has fewer than two.
///
/// ```
/// // Of "a b", "b a", "a b" two are different: 1 − 2/3.
/// assert!((rationale::text::repetition::repeated("a b a b", 2) - 1.0 / 3.0).abs() < 1e-12);
/// ```
pub fn repeated(text: &str, n: usize) -> f64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    if n == 0 || words.len() <= n {
        return 0.0;
    }
    let total = words.len() + 1 - n;
    1.0 - words.windows(n).collect::<HashSet<_>>().len() as f64 / total as f64
}

/// ∏ (1 − [`repeated`]) over n-grams of 2, 3 and 4 words: MaRio's diversity (arXiv 2311.02805).
pub fn diversity(text: &str) -> f64 {
    (2..=4).map(|n| 1.0 - repeated(text, n)).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_counts_n_grams_that_were_there_before() {
        assert_eq!([repeated("a b c d", 2), repeated("", 2), repeated("a", 1), repeated("a b", 2)], [0.0; 4]);
        assert_eq!(repeated("so so so so", 1), 0.75);
        // "a b a b a b": 5 pairs of 2 kinds, 4 triples of 2, 3 quadruples of 2: 2/5 · 1/2 · 2/3 = 2/15.
        assert!((diversity("a b a b a b") - 2.0 / 15.0).abs() < 1e-12);
        assert_eq!(diversity("all words differ in here"), 1.0);
    }
}
