//! Where a sentence announces the answer: "the answer is 5", "correct choice: B".

use super::answer::{AnswerSpan, found, tidy};
use super::equality::denies;
use super::steps;
use regex::Regex;
use std::sync::LazyLock;

/// The last one that is meant, and says more than how good an answer is where another does.
pub(super) fn answer_is(text: &str) -> Option<AnswerSpan> {
    static MARKER: LazyLock<Regex> = LazyLock::new(|| {
        let marker = r"(?i)\b(?:(?:(?:the|my|so|final|correct|right|best)\s+)*answer|(?:correct|right|best)\s+(?:choice|option))(?:\s+to\b[^.\n]{0,80}?)?(?:\s+(?:is|would be|must be|should be|will be)\b(?:\s+(?:therefore|thus|hence|then|so|simply|just|clearly))?|\**\s*[:=])|^\s*#+\s*\**(?:the\s+)?(?:final\s+)?answer\**\s*$";
        Regex::new(&format!("(?m){marker}")).expect("a literal")
    });
    let matches: Vec<_> = MARKER.find_iter(text).collect();
    let mut weak = None;
    for marker in matches.into_iter().rev().take(MOST_MARKERS) {
        if !is_meant(text, marker.start()) {
            continue;
        }
        // "The answer is:" may put the answer on the next line.
        let rest = &text[marker.end()..];
        let start = marker.end()
            + (rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || ":=*,".contains(c)).len());
        let end = match steps::sentence_end(text, marker.start()) {
            end if end > start => end,
            _ => steps::sentence_end(text, start),
        };
        let Some(answer) = found(tidy(text, start..end), marker.start()..end) else { continue };
        if !is_judgement(&text[answer.answer.clone()]) {
            return Some(answer);
        }
        weak.get_or_insert(AnswerSpan { weak: true, ..answer });
    }
    weak
}

/// How many of the last announcements are looked at: each may go to the end of the text.
const MOST_MARKERS: usize = 100;

/// Whether what the marker at `at` announces is meant to be the answer: not "this answer is right", "a wrong answer is 5",
/// "I doubt that the answer is 5".
fn is_meant(text: &str, at: usize) -> bool {
    let ends = |c: char| ".!?,;:—()\n".contains(c);
    let clause = text[..at].rfind(ends).map_or(&text[..at], |end| &text[end..at]).to_lowercase();
    let words: Vec<&str> = clause
        .split(|c: char| !(c.is_alphanumeric() || "'’".contains(c)))
        .filter(|word| !word.is_empty())
        .collect();
    let answer = "answer";
    let begins = text.get(at..at + answer.len()).is_some_and(|word| word.eq_ignore_ascii_case(answer));
    let of_another = |word: &&str| {
        denies(word)
            || word.ends_with("'s")
            || word.ends_with("’s")
            || matches!(
                *word,
                "this"
                    | "that"
                    | "a"
                    | "an"
                    | "another"
                    | "his"
                    | "her"
                    | "their"
                    | "your"
                    | "its"
                    | "whose"
                    | "first"
                    | "initial"
                    | "previous"
                    | "original"
                    | "earlier"
                    | "old"
                    | "other"
                    | "possible"
                    | "tempting"
                    | "obvious"
                    | "common"
                    | "naive"
                    | "no"
                    | "any"
                    | "such"
                    | "every"
                    | "each"
            )
    };
    if begins && words.last().is_some_and(of_another) {
        return false;
    }
    // What is concluded does not depend on what was denied before.
    let concludes =
        |word: &&str| matches!(*word, "so" | "therefore" | "thus" | "hence" | "and" | "but" | "then");
    let start = words.iter().rposition(concludes).map_or(0, |at| at + 1);
    let own = &words[start..];
    !(0..own.len()).any(|at| {
        denies(own[at]) && !own.get(at + 1).is_some_and(|next| matches!(*next, "hard" | "difficult" | "only"))
    })
}

/// Whether it says how good an answer is, and none.
fn is_judgement(answer: &str) -> bool {
    let first: String =
        answer.chars().take_while(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    matches!(
        first.as_str(),
        "correct"
            | "right"
            | "wrong"
            | "incorrect"
            | "consistent"
            | "verified"
            | "obtained"
            | "found"
            | "given"
            | "valid"
            | "reasonable"
            | "confirmed"
            | "checked"
            | "final"
            | "derived"
            | "determined"
            | "calculated"
            | "computed"
            | "reached"
            | "based"
            | "supported"
            | "accurate"
            | "unchanged"
            | "sound"
            | "plausible"
            | "complete"
            | "clear"
            | "expected"
            | "wrapped"
            | "shown"
    )
}
