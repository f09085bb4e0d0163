//! The option that a text's last sentence calls right, where nothing announces an answer: "Option B is correct."

use super::answer::AnswerSpan;
use regex::Regex;
use std::sync::LazyLock;

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a literal")
}

/// A sentence that says nothing else, at the end of a text: behind another sentence's end, a bracket's, or emphasis.
static LAST: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x) (?: \A\s* | [.!?)\]}$*]\s+ ) (?: (?i: so|therefore|thus|hence|then|finally|in\ conclusion|in\ summary )\b ,? \s+ )?
        ( \** (?: (?i: (?:the\s+)? (?:option|choice) ) \s+ \** \(? ([A-Z]) \)? \** \s+ is \s+ (?:the\s+)? \**
                (?i: (?:correct|right|best) (?: \s+ (?:answer|choice|option|one) )? )
            | \(? ([A-Z]) \)? \** \s+ is \s+ the \s+ \** (?i: (?:correct|right|best) \s+ (?:answer|choice|option) ) )
            \** [.!]? \** ) \s* \z",
    )
});
/// An option that is said to be right anywhere, surely or not.
static CALLED_RIGHT: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x) (?: (?i: option|choice ) s? \s+ )? \b ([A-Z]) \b \)? \** \s+
        (?i: is|was|could\s+be|might\s+be|may\s+be|would\s+be|must\s+be|seems|looks ) \s+ (?i: (?:also|probably|the|both|most|a)\s+ )* \** (?i: correct|right|best|true|possible )",
    )
});
/// Several that are said to be right together.
static SEVERAL: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?i)\bare\s+(?:(?:both|all|also|equally)\s+)?(?:correct|right|true)\b"));

/// The option that the last sentence of `text` calls right, where no sentence calls another one so. What else announces an answer goes before it.
///
/// ```
/// use rationale::rationale::stated::option;
/// let of = |text: &str| option(text).map(|found| text[found.answer].to_owned());
/// assert_eq!(of("A is too far. Option (B) is correct."), Some("B".into()));
/// assert_eq!(of("Option A is correct. Option B is correct."), None);
/// assert_eq!(of("I doubt that option B is correct."), None);
/// ```
pub fn option(text: &str) -> Option<AnswerSpan> {
    let last = LAST.captures(text)?;
    let (sentence, letter) = (last.get(1)?, last.get(2).or(last.get(3))?);
    let another = CALLED_RIGHT
        .captures_iter(text)
        .any(|said| said.get(1).is_some_and(|option| option.as_str() != letter.as_str()));
    let marked = sentence.start()..text.len();
    (!another && !SEVERAL.is_match(text)).then(|| AnswerSpan { answer: letter.range(), marked, weak: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_last_statement_is_an_answer_and_nothing_less() {
        let of = |text: &str| option(text).map(|found| text[found.answer].to_owned());
        for said in [
            "Option B is correct.",
            "Option (B) is correct",
            "**Option B** is correct.",
            "Option B is the correct answer.\n",
            "A is wrong, as 2 < 3.\n\nTherefore, option B is right!",
            "Option A is not correct. Thus the choice B is the best one.",
            "Hence, B is the correct answer.",
            "**B** is the best choice.",
            "A is too far. So (B) is the right answer.",
            "2 + 2 = 4 (see above)\nOption B is correct.",
        ] {
            assert_eq!(of(said), Some("B".to_owned()), "{said}");
        }
        for said in [
            "",
            "Option B is not correct.",
            "Option B is correct?",
            "Option b is correct.",
            "Option BC is correct.",
            "If so, option B is correct.",
            "The student says:\nOption B is correct.",
            "He says \"Option B is correct.\"",
            "It is false that option B is correct.",
            "Option B is correct. Or is it?",
            "Option B is correct, but so is C.",
            "Option A is correct. Option B is correct.",
            "Option A could be right. Option B is correct.",
            "Both A and C are correct. Option B is correct.",
            "Options B and C are correct.",
            "B is right.",
            "The angle B is the right answer.",
            "A is the correct answer. B is the correct answer.",
            "A could be the best answer. B is the correct answer.",
            "B is not the correct answer.",
            "Perhaps B is the correct answer.",
        ] {
            assert_eq!(of(said), None, "{said}");
        }
        let text = "So. Option B is correct.\n";
        assert_eq!(&text[option(text).unwrap().marked], "Option B is correct.\n");
    }
}
