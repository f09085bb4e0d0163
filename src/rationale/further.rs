//! What a sentence that gives an answer is followed by and that belongs to it: a choice's text behind its letter, "C. iron", and what takes an answer
//! back, "C. No, A."

use super::steps::sentence_end;
use regex::Regex;
use std::sync::LazyLock;

/// Words of a text behind a letter; more are a sentence.
const FEW: usize = 4;

/// Bytes behind an answer in which it may be taken back.
const LONGEST: usize = 200;

/// Where the answer ends that begins at `start` and its sentence at `end`, with what goes on with it.
pub fn end(text: &str, start: usize, end: usize) -> usize {
    let said = &text[start..end];
    let further = if lettered(said) { spelled(text, end).unwrap_or(end) } else { end };
    taken_back(text, said, further)
        .or_else(|| turned(text, said, further))
        .or_else(|| numbered(text, said, further))
        .unwrap_or(further)
}

/// Where a number ends that is all that stands behind an answer in its line, "12. 13.", or the equation that goes on with the equation `said`.
fn numbered(text: &str, said: &str, end: usize) -> Option<usize> {
    let line = text[end..].lines().next().filter(|_| !text[..end].ends_with('\n'))?;
    let next = line.trim_matches(|c: char| c.is_whitespace() || "$\\*_.!".contains(c));
    let number = next.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let all = |text: &str, marks: &str| text.chars().all(|c| c.is_ascii_digit() || marks.contains(c));
    let equations = |text: &str| text.contains('=') && all(text, " .,+-*/=()$%^×·÷");
    (number && (all(next, ",./-%") || (equations(said) && equations(next)))).then_some(end + line.len())
}

/// Whether a letter is all of an answer.
fn lettered(said: &str) -> bool {
    let mut said = said.trim_matches(|c: char| !c.is_alphanumeric()).chars();
    said.next().is_some_and(|c| c.is_ascii_alphabetic()) && said.next().is_none()
}

/// Where the text ends that stands in the same line behind a letter's period and is no sentence.
fn spelled(text: &str, end: usize) -> Option<usize> {
    if text[..end].ends_with('\n') {
        return None;
    }
    let whole = sentence_end(text, end);
    few(&text[end..whole], FEW).then_some(whole)
}

/// Whether it is at most so many words, and no sentence.
fn few(said: &str, most: usize) -> bool {
    let words =
        said.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
    (1..=most).contains(&words.clone().count()) && !words.into_iter().any(|word| of_sentences(&word))
}

/// Whether it is a word of sentences, or of what is said when all is said.
fn of_sentences(word: &str) -> bool {
    const WORDS: [&str; 59] = [
        "is",
        "are",
        "was",
        "were",
        "be",
        "has",
        "have",
        "had",
        "does",
        "do",
        "did",
        "can",
        "could",
        "will",
        "would",
        "should",
        "must",
        "may",
        "i",
        "i'm",
        "this",
        "that",
        "these",
        "it",
        "it's",
        "they",
        "you",
        "we",
        "hope",
        "done",
        "thanks",
        "thank",
        "bye",
        "let",
        "let's",
        "good",
        "great",
        "end",
        "explanation",
        "reason",
        "reasoning",
        "note",
        "solution",
        "because",
        "hence",
        "so",
        "thus",
        "therefore",
        "answer",
        "by",
        "see",
        "using",
        "based",
        "easy",
        "simple",
        "qed",
        "works",
        "fits",
        "fit",
    ];
    WORDS.contains(&word) || word.ends_with("n't")
}

/// Where the sentence ends that takes back the answer `said`, by naming another letter, number or a few words: "No, A.", "Or 8.", "Wait, iron."
fn taken_back(text: &str, said: &str, end: usize) -> Option<usize> {
    static BACK: LazyLock<Regex> = LazyLock::new(|| {
        let first = r"(?:no\s*[,!—–-]|no\.\s|(?:nope|wait|hm+|oops|sorry|correction|actually|i\s+mean|i\s+meant|(?:scratch|strike|make)\s+that|hold\s+on|on\s+second\s+thoughts?|my\s+mistake|rather|or|maybe|perhaps)\b)";
        let more = r"(?:no|wait|actually|sorry|maybe|perhaps|even|it['’]s|it|that['’]s|that|i|mean|meant|is|should|must|would|be|the|correct|right|final|answer|option|choice|was|or|make|say|better|rather|also|instead)\b";
        let apart = r"[\s,.!:;*(…—–-]*";
        regex(&format!(r#"(?i)\A[\s"'*)\]…—–.-]*({first}{apart}(?:{more}{apart})*)"#))
    });
    static LETTER: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"\A([A-HJ-Z])\b[)*]*(?:\s*[.,;:!?]|\s*\z|\s*\n|\s+(?:is|was|it|instead|seems|would|should|must|because|not|since|or)\b)",
        )
    });
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\A\\?\$?(-?\d[\d,./]*)%?\$?(?:\s+[a-z]+){0,3}\s*(?:[.!;,?]|\z|\n)"));
    let rest = &text[end..];
    let mut length = rest.len().min(LONGEST);
    while !rest.is_char_boundary(length) {
        length -= 1;
    }
    let back = BACK.captures(&rest[..length])?.get(1)?;
    let whole = sentence_end(text, end + back.end());
    let other = &rest[back.end()..length];
    // "No. 13" numbers what follows, and "or, in words, twelve" says it again.
    let item =
        back.as_str().to_lowercase().starts_with("no.") && other.starts_with(|c: char| c.is_ascii_digit());
    if item || other.starts_with("in ") {
        return None;
    }
    let named = LETTER.captures(other).or_else(|| NUMBER.captures(other)).and_then(|found| found.get(1));
    let takes = match named {
        Some(other) => !said.trim_start_matches(|c: char| !c.is_alphanumeric()).starts_with(other.as_str()),
        // "Wait, no."
        None if other.trim().is_empty() => {
            let words: Vec<&str> =
                back.as_str().split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
            words.len() > 1 && words[words.len() - 1].eq_ignore_ascii_case("no")
        }
        None => apart(back.as_str()) && few(text[end + back.end()..whole].trim(), FEW - 1),
    };
    takes.then_some(whole)
}

/// Whether what takes an answer back stands apart from what is said instead: "Sorry, iron", "Or iron", but not "Sorry for that".
fn apart(back: &str) -> bool {
    let alone = ["or", "actually", "rather", "maybe", "perhaps", "i mean", "make that"];
    let lower = back.to_lowercase();
    lower.trim_end().ends_with([',', '.', '!', ':', ';', '…', '—', '–', '-'])
        || alone.iter().any(|word| lower.starts_with(word))
}

/// Where the sentence ends that says no behind "yes", or yes behind "no".
fn turned(text: &str, said: &str, end: usize) -> Option<usize> {
    let first = |text: &str| -> String {
        text.trim_start_matches(|c: char| !c.is_alphanumeric())
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect()
    };
    let truth = |text: &str| match first(text).to_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    };
    let next = text[end..].lines().next().filter(|_| !text[..end].ends_with('\n'))?;
    let apart = next
        .trim_start()
        .get(first(next).len()..)
        .is_none_or(|rest| rest.is_empty() || rest.starts_with([',', '.', '!']));
    (truth(said)? != truth(next)? && apart).then(|| sentence_end(text, end))
}

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a literal")
}

#[cfg(test)]
mod tests {
    use super::super::AnswerForm;
    use super::super::answer::extract;

    #[test]
    fn what_goes_on_with_an_answer_is_part_of_it() {
        let said = |text: &str| {
            let all = format!("The answer is {text}");
            extract(&AnswerForm::AnswerIs, &all).map(|span| all[span].to_owned())
        };
        for whole in [
            "C. iron",
            "C. Iron",
            "C. 12",
            "(C). tin or iron",
            "C. D",
            "C... wait, D",
            "C. No, A",
            "C. Or iron",
            "C.\n\nNo, it is D",
            "C. Scratch that. D",
            "12. Or 13",
            "12. 13",
            "2 * 6 = 12. 12 + 1 = 13",
            "12. Actually, it's 13 apples",
            "12!\nWait, 13",
            "yes. No, it is not",
            "Rome. No, Paris",
        ] {
            assert_eq!(said(whole).as_deref(), Some(whole));
        }
        for (text, short) in [
            ("C. Iron is too heavy.", "C"),
            ("C. I hope this helps!", "C"),
            ("C.\nIron", "C"),
            ("C. Wait, let me check.", "C"),
            ("C. Actually, this is easy.", "C"),
            ("C. However, D is close.", "C"),
            ("12. No units.", "12"),
            ("12. Sorry for the delay.", "12"),
            ("12. Wait, that's 12 apples.", "12"),
            ("12. Or, in words, twelve.", "12"),
            ("12. 5 of them are red.", "12"),
            ("12. 5 + 7 = 12.", "12"),
            ("12.\n13. What is 2 + 2?", "12"),
            ("12.\nNo. 13 is next.", "12"),
            ("yes. No dog can fly.", "yes"),
        ] {
            assert_eq!(said(text).as_deref(), Some(short), "{text}");
        }
    }
}
