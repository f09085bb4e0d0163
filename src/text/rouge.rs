//! ROUGE-L (Lin 2004): how long a text's common subsequence of words with a reference is.

/// The words of a text as the `rouge-score` package reads them without its stemmer: runs of ASCII letters and digits
/// in lower case.
pub fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// The F measure 2PR / (P + R) of the longest common subsequence of words, with P its share of the text's words and R of
/// the reference's; 0 where either has no words.
///
/// ```
/// // "the cat sat" of 4 and 5 words: P = 3/4, R = 3/5, F = 2/3.
/// let f = rationale::text::rouge::rouge_l("the cat sat down", "the black cat sat there");
/// assert!((f - 2.0 / 3.0).abs() < 1e-12);
/// ```
pub fn rouge_l(text: &str, reference: &str) -> f64 {
    let (text, reference) = (words(text), words(reference));
    let common = common_subsequence(&text, &reference) as f64;
    let (precision, recall) = (common / text.len().max(1) as f64, common / reference.len().max(1) as f64);
    if common == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) }
}

/// The length of the longest common subsequence.
fn common_subsequence(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
