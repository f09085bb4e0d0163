//! Equations that a text states, and whether they hold: the arithmetic of a rationale, checked by the calculator (the arithmetic error of ROSCOE, Golovneva
//! et al. 2023, arXiv 2212.07919, found without a model).
//!
//! An equation is counted where both its sides can be computed and the left one is more than a number: `so 48/2 = 24 clips`, `<<48/2=24>>`, `a = 3*4 = 12`, and of
//! `2+3 = 5*1 = 10/2` both. What has a word, an unknown or a root in it (`2x = 10`, `3 apples + 2 apples = 5 apples`, `√16 = 4`) is passed over: it is no equation
//! of numbers alone, and its numbers without the rest might say something else.

use super::{LONGEST, Names, Number, evaluate_in, name, written};
use crate::rationale::number;
use std::ops::Range;

/// How LaTeX writes what the calculator has signs for.
const LATEX: [(&str, &str); 9] = [
    ("\\times", "*"),
    ("\\cdot", "*"),
    ("\\div", "/"),
    ("\\%", "%"),
    ("\\$", "$"),
    ("\\(", " "),
    ("\\)", " "),
    ("\\[", " "),
    ("\\]", " "),
];
/// Words behind which numbers are a part of what is computed, or another way to write it.
const COMPUTE: [&str; 14] = [
    "of", "times", "plus", "minus", "by", "over", "half", "twice", "thrice", "double", "triple", "squared",
    "than", "root",
];
/// Marks that an expression may stand behind, and before.
const AROUND: &str = ".,:;?!<>[]{}\"'`“”‘’—→•#&~";

/// Whether each equation holds, in their order: both sides come to the same, or the left one does when it is rounded to the digits behind the point
/// that the right one has.
///
/// ```
/// use rationale::rationale::calc::stated::equations;
/// let text = "Half of 48 is 48/2 = 24 clips.\nSo 48+24 = 73 in all, at 10/3 = 3.33 a day. x + 1 = 5.";
/// assert_eq!(equations(text), [true, false, true]);
/// ```
pub fn equations(text: &str) -> Vec<bool> {
    let mut names = Names::new();
    text.lines().flat_map(|line| of_line(line, &mut names)).collect()
}

fn of_line(line: &str, names: &mut Names) -> Vec<bool> {
    let line = LATEX.iter().fold(line.to_owned(), |line, (of, sign)| line.replace(of, sign));
    let sides: Vec<&str> = line.split('=').collect();
    let mut found = Vec::new();
    for (at, pair) in sides.windows(2).enumerate() {
        let right = Side::of(pair[1], names).leading();
        if let (Some(left), Some(right)) = (Side::of(pair[0], names).trailing(at == 0), right) {
            found.extend(holds(left, right, names));
        }
        if let (0, Some(own), Some(right)) = (at, name(pair[0]), right)
            && let Some(value) = value(right, names)
        {
            names.insert(own.to_owned(), value);
        }
    }
    found
}

fn value(expression: &str, names: &Names) -> Option<Number> {
    let mut room = LONGEST;
    evaluate_in(expression, names, &mut room).ok()
}

/// Whether an equation holds; `None` where a side cannot be computed.
fn holds(left: &str, right: &str, names: &Names) -> Option<bool> {
    let (left, stated) = (value(left, names)?, value(right, names)?);
    let places = right.rsplit_once('.').filter(|_| number::parse(right).is_some());
    let places = places.map_or(0, |(_, behind)| behind.chars().filter(char::is_ascii_digit).count());
    let rounded = || places > 0 && number::parse(&written(left, places)) == Some(stated);
    // 20/400*100 = 5 % says a number of percent, 20/400 = 5 % a share.
    let percent = || value(right.strip_suffix('%')?, names);
    Some(left == stated || rounded() || percent() == Some(left))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Number,
    /// A name that has a value.
    Name,
    /// A sign of the calculator.
    Sign(char),
    Word,
    Mark(char),
}

#[derive(Debug, Clone)]
struct Piece {
    kind: Kind,
    at: Range<usize>,
}

/// What stands on one side of an equals sign, up to the next one.
struct Side<'a> {
    text: &'a str,
    pieces: Vec<Piece>,
}

impl<'a> Side<'a> {
    fn of(text: &'a str, names: &Names) -> Self {
        let (mut pieces, mut at) = (Vec::new(), 0);
        while let Some(first) = text[at..].chars().next() {
            let rest = &text[at..];
            let length = if first.is_whitespace() { first.len_utf8() } else { 0 };
            if length > 0 {
                at += length;
                continue;
            }
            let (kind, length) = piece(rest, first, names);
            pieces.push(Piece { kind, at: at..at + length });
            at += length;
        }
        Self { text, pieces }
    }

    fn computes(kind: Kind) -> bool {
        !matches!(kind, Kind::Word | Kind::Mark(_))
    }

    /// Whether two pieces stand beside each other with nothing between.
    fn touch(&self, one: usize) -> bool {
        self.pieces[one].at.end == self.pieces[one + 1].at.start
    }

    fn span(&self, of: Range<usize>) -> Option<&'a str> {
        let pieces = &self.pieces[of];
        Some(&self.text[pieces.first()?.at.start..pieces.last()?.at.end])
    }

    /// The computation that it ends in; `first` where it begins a line, and so may begin with its bullet or number.
    fn trailing(&self, first: bool) -> Option<&'a str> {
        let kind = |at: usize| self.pieces.get(at).map(|piece| piece.kind);
        let mut from =
            self.pieces.iter().rposition(|piece| !Self::computes(piece.kind)).map_or(0, |at| at + 1);
        let begins = kind(from)?;
        match from.checked_sub(1) {
            // What is left of it would be its end: `x + 3`, `f(3)`, `twice 3+1`.
            Some(before) if self.pieces[before].kind == Kind::Word => {
                let word = self.text[self.pieces[before].at.clone()].to_lowercase();
                let part = matches!(begins, Kind::Sign('+' | '-' | '*' | '/' | '^' | '%'));
                if part || self.touch(before) || COMPUTE.contains(&word.as_str()) {
                    return None;
                }
            }
            Some(before) => {
                let Kind::Mark(mark) = self.pieces[before].kind else { return None };
                if !AROUND.contains(mark) {
                    return None;
                }
            }
            None if first => {
                let bullet = matches!(begins, Kind::Sign('-' | '*' | '+')) && kind(1).is_some();
                if bullet && !self.touch(0) {
                    from += 1;
                }
                if (kind(from), kind(from + 1)) == (Some(Kind::Number), Some(Kind::Sign(')'))) {
                    from += 2;
                }
            }
            None => {}
        }
        let sign = |piece: &Piece| matches!(piece.kind, Kind::Sign('+' | '-' | '*' | '/' | '^' | '%'));
        let computes = self.pieces[from..].iter().skip(1).any(sign);
        self.span(from..self.pieces.len()).filter(|_| computes)
    }

    /// The expression that it begins with.
    fn leading(&self) -> Option<&'a str> {
        let end = self.pieces.len();
        let to = self.pieces.iter().position(|piece| !Self::computes(piece.kind)).unwrap_or(end);
        let (Some(behind), Some(last)) = (self.pieces.get(to), to.checked_sub(1)) else {
            return self.span(0..to);
        };
        // `24 (in May)`; `2(x+1)` is no 2.
        if self.pieces[last].kind == Kind::Sign('(') {
            let before = last.checked_sub(1)?;
            return self.span(0..last).filter(|_| !self.touch(before));
        }
        // `5x` is no 5, nor is `2√3` 2.
        let part = match behind.kind {
            Kind::Mark(mark) => !AROUND.contains(mark),
            _ => self.touch(last),
        };
        self.span(0..to).filter(|_| !part)
    }
}

/// The piece that `rest` begins with, and its length.
fn piece(rest: &str, first: char, names: &Names) -> (Kind, usize) {
    let digits = digits(rest);
    if digits > 0 {
        return (Kind::Number, digits);
    }
    if first.is_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let kind = if names.contains_key(&rest[..length]) { Kind::Name } else { Kind::Word };
        return (kind, length);
    }
    let sign = match first {
        '×' | '·' | '∗' | '⋅' => '*',
        '÷' | '∕' => '/',
        '−' | '–' => '-',
        '+' | '-' | '*' | '/' | '^' | '%' | '(' | ')' | '$' | '€' | '£' => first,
        _ => return (Kind::Mark(first), first.len_utf8()),
    };
    (Kind::Sign(sign), first.len_utf8())
}

/// The length of the number that a text begins with: digits, with commas and a point between them, or a point before them.
fn digits(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    while digit(at)
        || (matches!(bytes.get(at), Some(b'.')) && digit(at + 1))
        || (at > 0 && bytes.get(at) == Some(&b',') && digit(at + 1))
    {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_hold_or_do_not() {
        let cases: &[(&str, &[bool])] = &[
            ("48/2 = 24", &[true]),
            ("48/2 = 25", &[false]),
            ("Natalia sold 48/2 = <<48/2=24>>24 clips in May.", &[true]),
            ("In all she has 48+24 = $72.", &[true]),
            ("So 5 * 3 = 15 and 15 - 4 = 12, that is it", &[true, false]),
            ("2+3 = 5 = 10/2 = 6", &[true, false]),
            ("3*4 = 10+2", &[true]),
            // Run on: what is written is that 6 is 12.
            ("2*3 = 6*2 = 12", &[false, true]),
            ("1,250 × 2 = 2,500", &[true]),
            ("1. 3+4 = 7", &[true]),
            ("2) 3+4 = 8", &[false]),
            ("- 3+4 = 7", &[true]),
            ("* 3+4 = 7", &[true]),
            ("-3+4 = 1", &[true]),
            ("Total = 3 + 4 = 7\nTotal * 2 = 15", &[true, false]),
            ("a = 3\nb = a+1 = 4", &[true]),
            ("2 \\times 3 = 6, \\(8 \\div 4 = 3\\)", &[true, false]),
            ("10/3 = 3.33", &[true]),
            ("10/3 = 3.34", &[false]),
            ("10/3 = 3", &[false]),
            ("2/3 = 0.7 of it", &[true]),
            ("20/400 = 5% and 20/400*100 = 5%", &[true, true]),
            ("(2+3)*4 = 20 (in May)", &[true]),
            ("cost: -3+5 = 2", &[true]),
        ];
        for (text, found) in cases {
            assert_eq!(equations(text), *found, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_equation_of_numbers_is_passed_over() {
        for text in [
            "",
            "no sum here",
            "x + 3 = 7",
            "2x + 3 = 7",
            "2x = 10",
            "x = 5",
            "f(3) = 9",
            "3 + 4 = 7x",
            "\u{221a}16 + 0 = 4",
            "1+1 = 2\u{221a}3",
            "3 apples + 2 apples = 5 apples",
            "2 hours = 120 minutes",
            "twice 3 + 4 = 10",
            "half of 6 + 2 = 4",
            "15 = 3",
            "a answer = 3",
            "3+4 >= 6",
            "3+4 == 8",
            "3+4 != 8",
            "3+4 \u{2260} 8",
            "1/0 = 7",
            "1+1 = 1/0",
            "3+ = 7",
            "3+4 =",
            "= 7",
            "===",
            "2(3) + 1 = 7",
            "9^9^9 = 1",
        ] {
            assert!(equations(text).is_empty(), "{text:?}");
        }
    }

    /// Any text is read, in a time that grows with it.
    #[test]
    fn long_and_odd_texts_are_read() {
        for piece in ["1+1=2 ", "=", "(", "1+", "é=√", "1,", "-", "a=1 "] {
            let text = piece.repeat(200_000 / piece.len());
            let found = equations(&text);
            assert!(found.len() <= text.len());
        }
        let text = "é. «ß» −3,5+1 = −2.5 😀! 2×3=6 \\boxed{1+1=2}\r\n".to_owned();
        for (at, _) in text.char_indices() {
            equations(&text[at..]);
            equations(&text[..at]);
        }
    }
}
