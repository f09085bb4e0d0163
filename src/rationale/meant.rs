//! Whether "the answer is …" announces an answer: not another's, a denied or supposed one, or a part of one.

use super::equality::denies;

/// Bytes before a marker that are looked at; no clause is longer.
const LONGEST: usize = 400;

/// Whether what the marker at `at` announces is meant to be the answer: not "this answer is right", "a wrong answer is 5",
/// "I doubt that the answer is 5".
pub fn is_meant(text: &str, at: usize) -> bool {
    let ends = |c: char| ".!?,;:—()\n".contains(c);
    let mut from = at.saturating_sub(LONGEST);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let before = &text[from..at];
    let clause = before.rfind(ends).map_or(before, |end| &before[end..]).to_lowercase();
    let words: Vec<&str> = clause
        .split(|c: char| !(c.is_alphanumeric() || "'’".contains(c)))
        .filter(|word| !word.is_empty())
        .collect();
    let marked =
        |start: &str| text[at..].get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start));
    let begins = marked("ans") || marked("final result");
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
    if is_operand(before, &clause, begins) || words.last().is_some_and(|word| makes_another(word)) {
        return false;
    }
    // What is concluded does not depend on what was denied before.
    let concludes =
        |word: &&str| matches!(*word, "so" | "therefore" | "thus" | "hence" | "and" | "but" | "then");
    let start = words.iter().rposition(concludes).map_or(0, |at| at + 1);
    let own = &words[start..];
    !supposed(own)
        && !(0..own.len()).any(|at| {
            denies(own[at])
                && !own.get(at + 1).is_some_and(|next| matches!(*next, "hard" | "difficult" | "only"))
        })
}

/// Whether a word before "the answer" makes it a part of what is said (twice the answer, the digits of the answer), one of several, or a condition.
fn makes_another(word: &str) -> bool {
    const WORDS: [&str; 25] = [
        "of",
        "than",
        "in",
        "by",
        "from",
        "plus",
        "minus",
        "times",
        "over",
        "twice",
        "double",
        "triple",
        "thrice",
        "half",
        "quarter",
        "third",
        "squared",
        "negative",
        "if",
        "unless",
        "or",
        "either",
        "otherwise",
        "alternatively",
        "per",
    ];
    WORDS.contains(&word)
}

/// Whether what stands before "the answer" only supposes it, or says what others think: "suppose the answer is 5", "a student claims that the answer is 5".
fn supposed(words: &[&str]) -> bool {
    const SUPPOSED: [&str; 32] = [
        "suppose",
        "supposing",
        "assume",
        "assuming",
        "imagine",
        "pretend",
        "imagining",
        "wish",
        "wishes",
        "hope",
        "hopes",
        "glance",
        "claims",
        "claimed",
        "thinks",
        "thought",
        "believes",
        "believed",
        "argues",
        "argued",
        "insists",
        "insisted",
        "guesses",
        "guessed",
        "supposes",
        "assumes",
        "assumed",
        "alleges",
        "otherwise",
        "expects",
        "fears",
        "wants",
    ];
    const MODALS: [&str; 5] = ["might", "may", "could", "would", "can"];
    const SAYING: [&str; 7] = ["think", "say", "guess", "believe", "assume", "expect", "claim"];
    const BEGINS: [&str; 6] = ["suppose", "supposing", "assume", "assuming", "imagine", "pretend"];
    let said = match words {
        [rest @ .., "that"] => rest,
        all => all,
    };
    let own = || words.iter().any(|word| matches!(*word, "i" | "we"));
    let lets = words.iter().any(|word| matches!(*word, "let's" | "let’s" | "lets" | "let"));
    match said {
        [.., modal, saying] if MODALS.contains(modal) && SAYING.contains(saying) => !own(),
        [.., "say"] => lets,
        [.., last] if SUPPOSED.contains(last) => true,
        // "Suppose for a moment that", but "assuming x > 0 we find that".
        [first, ..] => said.len() < words.len() && BEGINS.contains(first) && !own(),
        [] => false,
    }
}

/// Whether a sign before "answer" makes it a part of a formula: `10 - answer = 5`, `2*answer`. A dash behind words is a dash, stars are emphasis.
fn is_operand(before: &str, clause: &str, bare: bool) -> bool {
    let line = before.rsplit('\n').next().unwrap_or("");
    let Some(sign) = line.trim_end().chars().next_back() else { return false };
    // Where the sum is done, a sign is none of it: `5 + 7 = 12 - the answer is 12`.
    if clause.contains('=') {
        return false;
    }
    let spaced = line.ends_with(char::is_whitespace);
    let left = &line.trim_end()[..line.trim_end().len() - sign.len_utf8()];
    let value = |text: &str| text.ends_with(|c: char| c.is_ascii_digit() || c == ')' || c == '}');
    let (tight, operand) = (!left.ends_with(char::is_whitespace), value(left.trim_end()));
    match sign {
        '*' | '×' | '·' => operand && tight != spaced && !left.ends_with('*'),
        '/' | '^' | '+' | '÷' => operand,
        // No words before it: no sentence that a dash ends. A bullet has a space behind it.
        '-' | '−' => {
            (operand && !line.chars().any(char::is_alphabetic)) || (left.is_empty() && !spaced && bare)
        }
        _ => false,
    }
}

/// Whether it says how good an answer is, and none.
pub fn is_judgement(answer: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::super::answer::extract;
    use super::super::{AnswerForm, answer};

    fn said(text: &str) -> Option<&str> {
        extract(&AnswerForm::AnswerIs, text).map(|span| &text[span])
    }

    #[test]
    fn what_makes_another_value_of_the_answer_announces_none() {
        for text in [
            "Twice the answer is 5.",
            "Half the answer is 5.",
            "The square of the answer is 5.",
            "The opposite of the answer is 5.",
            "The denominator of the answer is 5.",
            "The number of digits in the answer is 5.",
            "One more than the answer is 5.",
            "2 times the answer is 5.",
            "10 - answer = 5",
            "10 - the answer is 5",
            "2*answer = 5",
            "1/answer = 5",
            "3 + answer = 5",
            "-answer = 5",
            "Suppose the answer is 5.",
            "Assume that the answer is 5.",
            "Let's say the answer is 5.",
            "A student claims that the answer is 5.",
            "You may think that the answer is 5.",
            "Suppose for a moment that the answer is 5.",
            "So suppose the answer is 5.",
            "I hope the answer is 5.",
            "At first glance the answer is 5.",
            "Or the answer is 5.",
            "If the answer is 5, then so be it.",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
        for text in [
            "So the answer is 5.",
            "This tells us that the answer is 5.",
            "We think the answer is 5.",
            "We may say the answer is 5.",
            "2 + 3 = 5, so the answer is 5.",
            "That is all - the answer is 5.",
            "- Answer: 5",
            "*Answer: 5*",
            "**3 + 2 = 5** **Answer: 5**",
            "If we add them, the answer is 5.",
            "Result/Answer: 5",
            "This leads to the answer: 5",
            "It is as simple as that and the answer is 5.",
            "John wants to buy 5 so the answer is 5.",
            "She expects 5 guests and the answer is 5.",
            "At first I thought it was 10 but the answer is 5.",
            "If we assume that x > 0 then the answer is 5.",
            "Assuming x > 0 we find that the answer is 5.",
            "Based on the assumed rate the answer is 5.",
            "One might guess 10 but the answer is 5.",
            "2 + 3 = 5 - the answer is 5",
            "Total: 5 - the answer is 5",
        ] {
            assert_eq!(said(text), Some("5"), "{text}");
        }
    }

    #[test]
    fn a_word_that_begins_as_an_optional_one_does_is_not_cut() {
        for word in answer::BETWEEN {
            for longer in
                [format!("{word}x"), format!("{word}ness"), format!("{word}'s"), format!("{word}-called")]
            {
                assert_eq!(said(&format!("The answer is {longer}.")), Some(&longer[..]));
            }
            let between = format!("The answer is {word} 5.");
            assert_eq!((said(&between), said(&format!("The answer is {word}."))), (Some("5"), Some(word)));
            for apart in [format!("The answer is {word}:\n5"), format!("The answer is {word}\n\n5")] {
                assert_eq!(said(&apart), Some("5"), "{apart}");
            }
        }
        for whole in ["South Africa", "sodium", "justice", "Sofia", "solar energy", "thenar", "son"] {
            assert_eq!(said(&format!("The answer is {whole}.")), Some(whole));
        }
    }
}
