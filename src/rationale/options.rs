//! Which steps of a rationale are about which option of a question.

use std::ops::Range;

/// Of each label, such as `(A)`, the steps of `text` that begin with it, bullets and emphasis before it aside.
///
/// ```
/// use rationale::rationale::{Format, options};
/// let text = "Cats purr.\n(A) follows from that.\n- (B) does not.\nThe answer is (A).";
/// let steps = Format::default().parse(text).unwrap().steps;
/// let labels = ["(A)", "(B)", "(C)"].map(String::from);
/// let found: Vec<Vec<&str>> = options::analyses(text, &steps, &labels)
///     .into_iter().map(|spans| spans.into_iter().map(|span| &text[span]).collect()).collect();
/// assert_eq!(found, [vec!["(A) follows from that."], vec!["- (B) does not."], vec![]]);
/// ```
pub fn analyses(text: &str, steps: &[Range<usize>], labels: &[String]) -> Vec<Vec<Range<usize>>> {
    let begins = |span: &&Range<usize>, label: &String| {
        let step =
            text[(*span).clone()].trim_start_matches(|c: char| c.is_whitespace() || "-*#•".contains(c));
        step.starts_with(label.as_str())
    };
    let of = |label: &String| steps.iter().filter(|span| begins(span, label)).cloned().collect();
    labels.iter().map(of).collect()
}
