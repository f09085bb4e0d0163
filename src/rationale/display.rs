//! Mathematics that is set on lines of its own behind "the answer is".

use super::answer::{AnswerSpan, found, tidy};
use super::equality::spoils;
use super::steps;
use std::borrow::Cow;

/// Environments of displayed mathematics, starred or not.
const ENVIRONMENTS: [&str; 4] = ["equation", "align", "gather", "displaymath"];

/// What opens `rest` and what closes it.
fn ends(rest: &str) -> Option<(Cow<'static, str>, Cow<'static, str>)> {
    let pairs = [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("```", "```"), ("$", "$")];
    if let Some((open, close)) = pairs.into_iter().find(|(open, _)| rest.starts_with(open)) {
        return Some((open.into(), close.into()));
    }
    let (name, _) = rest.strip_prefix("\\begin{")?.split_once('}')?;
    let known = ENVIRONMENTS.contains(&name.strip_suffix('*').unwrap_or(name));
    known.then(|| (format!("\\begin{{{name}}}").into(), format!("\\end{{{name}}}").into()))
}

/// What stands between `$$` and `$$`, `\[` and `\]`, `\begin{align}` and `\end{align}` or the fences of code that begin at `start`, where they are not
/// closed on their first line. What goes on behind them in their last line is part of it; what nothing closes reaches to the end.
pub fn displayed(text: &str, marker: usize, start: usize) -> Option<AnswerSpan> {
    let rest = &text[start..];
    let (open, close) = ends(rest)?;
    let (first, below) = rest[open.len()..].split_once('\n')?;
    if let Some(at) = first.find(&*close)
        && let Some(end) = all_displayed(text, start + open.len() + at + close.len())
    {
        return found(tidy(text, start..end), marker..end);
    }
    // A fence's line may name a language; dollars that something stands behind may be money.
    let (fence, environment) = (open == "```", open.starts_with("\\begin"));
    let alone = if fence || environment { !first.contains(&*close) } else { first.trim().is_empty() };
    let behind = text.len() - below.len();
    let body = if environment { start + open.len() } else { behind };
    if !alone {
        return None;
    }
    let end = below.find(&*close).map_or(text.len(), |at| behind + at);
    let closed = (end + close.len()).min(text.len());
    if let Some(end) = all_displayed(text, closed) {
        return found(tidy(text, start..end), marker..end);
    }
    let mut whole = steps::sentence_end(text, closed);
    let next = text[whole..].trim_start();
    if goes_on(next) {
        whole = steps::sentence_end(text, text.len() - next.len());
    }
    let more = text[closed..whole].trim_matches(|c: char| c.is_whitespace() || ".*".contains(c));
    let inside = tidy(text, if more.is_empty() { body..end } else { start..whole });
    let answer = if inside.is_empty() { steps::trimmed(text, start..closed) } else { inside };
    found(answer, marker..whole)
}

/// Where the displayed mathematics ends that follows what ends at `closed`, with that which follows itself; `None` where none does.
fn all_displayed(text: &str, closed: usize) -> Option<usize> {
    let mut end = closed;
    loop {
        let rest = &text[end..];
        let start = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let joined = ["and ", "and\n", "or ", "or\n"].iter().find_map(|word| start.strip_prefix(word));
        let next = joined.unwrap_or(start).trim_start();
        let (open, close) = match ends(next) {
            Some((open, close)) if matches!(&*open, "$$" | "\\[") || open.starts_with("\\begin") => {
                (open, close)
            }
            _ => return (end > closed).then_some(end),
        };
        let body = text.len() - next.len() + open.len();
        end = text[body..].find(&*close).map_or(text.len(), |at| body + at + close.len());
    }
}

/// Whether a line behind displayed mathematics goes on with it and changes what it says: "or 6", "only if y = 2", "is wrong", "million".
fn goes_on(rest: &str) -> bool {
    let sentence = &rest[..steps::sentence_end(rest, 0)];
    let mut words = sentence.split(|c: char| !(c.is_alphanumeric() || "'’".contains(c)));
    let first = words.clone().next().unwrap_or_default();
    matches!(first, "or" | "and" | "Or" | "And" | "when" | "plus" | "minus" | "times")
        || (first.starts_with(char::is_lowercase) && words.any(spoils))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_behind_displayed_mathematics_is_read_where_it_changes_it() {
        for text in [
            "or 6",
            "And 6.",
            "only if y = 2",
            "unless it rains",
            "but isn't",
            "is wrong.",
            "million",
            "when x = 2",
        ] {
            assert!(super::goes_on(text), "{text}");
        }
        for text in [
            "",
            "This is wrong.",
            "where C is a constant.",
            "apples. It is not 6.",
            "If you have questions, ask.",
        ] {
            assert!(!super::goes_on(text), "{text}");
        }
    }
}
