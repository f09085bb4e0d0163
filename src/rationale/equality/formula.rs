//! Texts that are a formula and nothing else, where letters that touch are multiplied: `ax + by = c`, `xyz/2`.

use super::{roles, words};

/// The longest text that is looked at.
const LONGEST: usize = 200;

/// Whether `text` has a sign of mathematics and each run of its letters touches mathematics on one side and no word on the other.
pub fn is_formula(text: &[char]) -> bool {
    let signs = text.iter().any(|c| "+=^²³½".contains(*c))
        || text.windows(5).any(|run| run == ['\\', 'f', 'r', 'a', 'c']);
    let over = text.windows(2).any(|pair| pair[0] == '/' && pair[1].is_ascii_digit());
    if text.len() > LONGEST || !(signs || over) {
        return false;
    }
    let mut at = 0;
    let mut products = false;
    while at < text.len() {
        if text[at] == '\\' {
            // A command with prose in it is no formula.
            let length = text[at + 1..].iter().take_while(|c| c.is_ascii_alphabetic()).count();
            let name: String = text[at + 1..at + 1 + length].iter().collect();
            if super::spellings::PROSE.contains(&&name[..]) {
                return false;
            }
            at += 1 + length.max(1);
            continue;
        }
        let length = text[at..].iter().take_while(|c| c.is_alphabetic()).count();
        if length > 1 {
            let word: String = text[at..at + length].iter().collect();
            let before = text[..at].iter().rev().find(|c| !c.is_whitespace());
            // "1/2 cup": no factor stands apart behind a number.
            let counted = text[..at].ends_with(&[' ']) && before.is_some_and(char::is_ascii_digit);
            let behind = text[at + length..].iter().find(|c| !c.is_whitespace());
            let fits = |next: Option<&char>| {
                next.is_none_or(|c| "+-−–*/^=(){}_$²³½,:;|".contains(*c) || c.is_ascii_digit())
            };
            // "5 = bad": a word that is all of a side.
            let side = |next: Option<&char>| next.is_none_or(|c| *c == '=');
            let counted = counted || (side(before) && side(behind));
            let function = words::FUNCTIONS.contains(&&word[..]) || matches!(&word[..], "ln" | "lg" | "pi");
            if !function {
                if length > 3
                    || !word.is_ascii()
                    || !variables(&word.to_lowercase())
                    || counted
                    || !fits(before)
                    || !fits(behind)
                {
                    return false;
                }
                products = true;
            }
        }
        at += length.max(1);
    }
    products
}

/// Whether two or three small letters may be variables: no unit, no function, no word that denies or joins.
pub fn variables(word: &str) -> bool {
    !(words::sign(word)
        || words::FUNCTIONS.contains(&word)
        || words::scale(word).is_some()
        || words::number(word).is_some()
        || roles::spoils(word)
        || super::units::Unit::named(word).is_some()
        || matches!(
            word,
            "or" | "if"
                | "so"
                | "is"
                | "no"
                | "and"
                | "ans"
                | "sum"
                | "to"
                | "th"
                | "st"
                | "nd"
                | "rd"
                | "ln"
                | "lg"
                | "pi"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_told_from_sentences() {
        let is = |text: &str| is_formula(&text.chars().collect::<Vec<_>>());
        for text in ["v+at", "v + at", "ax+by=c", "xyz/2", "\\frac{xyz}{2}", "½at²", "abc + 1"] {
            assert!(is(text), "{text}");
        }
        for text in [
            "abc",
            "5 = bad",
            "x = 5",
            "x = 5 or 6",
            "sum=5",
            "1/2 cup",
            "5 km/h^2",
            "So x^2 = at",
            "max=5",
            "\\text{at}+v",
            "area = 5+at",
            "x^2 if y",
        ] {
            assert!(!is(text), "{text}");
        }
        assert!(!is(&"v+at".repeat(1000)));
    }
}
