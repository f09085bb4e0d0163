//! A calculator: an expression of numbers, + − · / ^, percent signs and parentheses, exact in rational numbers; [programs](program) of several lines,
//! programs [with ranges](family) in the place of numbers, and what a text [states](stated) as equal. Pure, without loops, and bounded.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = signed { ("*" | "/") signed }
//! signed  = "-" signed | "+" signed | power
//! power   = atom { "%" } [ "^" signed ]
//! atom    = number | name | "(" sum ")"
//! ```
//!
//! As in mathematics and in Python, −2^2 is −4 and 2^3^2 is 2^9.

pub mod family;
pub mod program;
pub mod stated;

use super::number::{self, Number};
use std::collections::BTreeMap;

/// The most signs and numbers of an expression, or of all lines of a program together.
const LONGEST: usize = 200;

/// What names stand for.
pub type Names = BTreeMap<String, Number>;

/// What the expression comes to.
///
/// ```
/// use rationale::rationale::calc::{evaluate, written};
/// assert_eq!(written(evaluate("(1,250 - 5*3) / 4").unwrap(), 6), "308.75");
/// assert_eq!(evaluate("1/0").unwrap_err(), "division by zero");
/// ```
///
/// # Errors
/// Why there is no result, in a few words that a model can read.
pub fn evaluate(expression: &str) -> Result<Number, String> {
    let mut room = LONGEST;
    evaluate_in(expression, &Names::new(), &mut room)
}

/// The same with names. `room` is how many signs and numbers it may have, and what is left of it afterwards.
fn evaluate_in(expression: &str, names: &Names, room: &mut usize) -> Result<Number, String> {
    let signs = signs(expression, names, *room)?;
    *room -= signs.len();
    let mut reader = Reader { signs: &signs, at: 0 };
    let value = reader.sum()?;
    match reader.peek() {
        None => Ok(value),
        Some(sign) => Err(format!("unexpected {}", sign.shown())),
    }
}

/// A number without loss: whole, or as a fraction.
///
/// ```
/// use rationale::rationale::calc::{evaluate, exact};
/// assert_eq!(["6/2", "-2/6"].map(|text| exact(evaluate(text).unwrap())), ["3", "-1/3"]);
/// ```
pub fn exact(value: Number) -> String {
    match value.whole() {
        true => value.numerator().to_string(),
        false => format!("{}/{}", value.numerator(), value.denominator()),
    }
}

/// The name that a text is, and nothing else: a letter or `_`, then letters, digits and `_`.
fn name(text: &str) -> Option<&str> {
    let text = text.trim();
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (begins && text.chars().all(named)).then_some(text)
}

fn named(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A number as people write it: whole, or with at most `places` digits behind the point, rounded half away from zero.
pub fn written(value: Number, places: usize) -> String {
    let (above, below) = (value.numerator().unsigned_abs(), value.denominator().unsigned_abs());
    let (mut whole, mut rest) = (above / below, above % below);
    let mut digits: Vec<u8> = Vec::new();
    // A denominator of more than 37 digits is written with fewer places.
    while let Some(ten) = rest.checked_mul(10).filter(|_| rest > 0 && digits.len() < places) {
        digits.push((ten / below) as u8);
        rest = ten % below;
    }
    if rest > 0 && rest >= below - rest {
        match digits.iter().rposition(|digit| *digit < 9) {
            Some(place) => {
                digits.truncate(place + 1);
                digits[place] += 1;
            }
            None => {
                digits.clear();
                whole += 1;
            }
        }
    }
    let kept = digits.iter().rposition(|digit| *digit > 0).map_or(0, |last| last + 1);
    let sign = if value.numerator() < 0 && (whole > 0 || kept > 0) { "-" } else { "" };
    let behind: String = digits[..kept].iter().map(|digit| char::from(b'0' + digit)).collect();
    match behind.is_empty() {
        true => format!("{sign}{whole}"),
        false => format!("{sign}{whole}.{behind}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sign {
    Number(Number),
    /// One of `+ - * / ^ % ( )`.
    Of(char),
}

impl Sign {
    fn shown(self) -> String {
        match self {
            Self::Number(value) => written(value, 6),
            Self::Of(sign) => format!("`{sign}`"),
        }
    }
}

fn signs(text: &str, names: &Names, room: usize) -> Result<Vec<Sign>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if found.len() == room {
            return Err("the expression is too long".to_owned());
        }
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(rest.len());
        let (sign, length) = match first {
            _ if digits > 0 => {
                let digits = &rest[..digits];
                let value = number::parse(digits).filter(|_| !digits.ends_with(['.', ',']));
                (Sign::Number(value.ok_or_else(|| format!("`{digits}` is no number"))?), digits.len())
            }
            'a'..='z' | 'A'..='Z' | '_' if !names.is_empty() => {
                let name = &rest[..rest.find(|c| !named(c)).unwrap_or(rest.len())];
                let value = names.get(name).ok_or_else(|| format!("`{name}` has no value"))?;
                (Sign::Number(*value), name.len())
            }
            '*' if rest.starts_with("**") => (Sign::Of('^'), 2),
            '×' | '·' | '∗' | '⋅' => (Sign::Of('*'), first.len_utf8()),
            '÷' | '∕' => (Sign::Of('/'), first.len_utf8()),
            '−' | '–' => (Sign::Of('-'), first.len_utf8()),
            '$' | '€' | '£' => {
                rest = rest[first.len_utf8()..].trim_start();
                continue;
            }
            '+' | '-' | '*' | '/' | '^' | '%' | '(' | ')' => (Sign::Of(first), 1),
            _ => return Err(format!("unexpected `{first}`")),
        };
        found.push(sign);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

struct Reader<'a> {
    signs: &'a [Sign],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<Sign> {
        self.signs.get(self.at).copied()
    }

    /// Takes the next sign, if it is one of `signs`.
    fn takes(&mut self, signs: &[char]) -> Option<char> {
        let Some(Sign::Of(sign)) = self.peek() else { return None };
        let found = signs.contains(&sign).then_some(sign);
        self.at += usize::from(found.is_some());
        found
    }

    fn sum(&mut self) -> Result<Number, String> {
        let mut value = self.product()?;
        while let Some(sign) = self.takes(&['+', '-']) {
            let other = self.product()?;
            value = within(value.plus(if sign == '-' { other.negated() } else { other }))?;
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<Number, String> {
        let mut value = self.signed()?;
        while let Some(sign) = self.takes(&['*', '/']) {
            let other = self.signed()?;
            value = match sign {
                '*' => within(value.times(other))?,
                _ if other == Number::from(0) => return Err("division by zero".to_owned()),
                _ => within(value.over(other))?,
            };
        }
        Ok(value)
    }

    fn signed(&mut self) -> Result<Number, String> {
        match self.takes(&['+', '-']) {
            Some('-') => Ok(self.signed()?.negated()),
            Some(_) => self.signed(),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<Number, String> {
        let mut base = self.atom()?;
        while self.takes(&['%']).is_some() {
            base = within(base.over(Number::from(100)))?;
        }
        if self.takes(&['^']).is_none() {
            return Ok(base);
        }
        let exponent = self.signed()?;
        if base == Number::from(0) && exponent.numerator() < 0 {
            return Err("division by zero".to_owned());
        }
        let none = if exponent.whole() { TOO_LARGE } else { "the root is no fraction" };
        base.power(exponent).ok_or_else(|| none.to_owned())
    }

    fn atom(&mut self) -> Result<Number, String> {
        if self.takes(&['(']).is_some() {
            let value = self.sum()?;
            return self.takes(&[')']).map(|_| value).ok_or_else(|| "a `)` is missing".to_owned());
        }
        match self.peek() {
            Some(Sign::Number(value)) => {
                self.at += 1;
                Ok(value)
            }
            Some(sign) => Err(format!("unexpected {}", sign.shown())),
            None => Err("the expression is incomplete".to_owned()),
        }
    }
}

const TOO_LARGE: &str = "the numbers are too large";

fn within(value: Option<Number>) -> Result<Number, String> {
    value.ok_or_else(|| TOO_LARGE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(expression: &str) -> String {
        evaluate(expression).map_or_else(|error| error, |value| written(value, 6))
    }

    #[test]
    fn expressions_come_to_what_they_say() {
        for (expression, value) in [
            ("12*3", "36"),
            ("48/2", "24"),
            (" 2 + 3 * 4 ", "14"),
            ("(2+3)*4", "20"),
            ("7-10-2", "-5"),
            ("100/8/5", "2.5"),
            ("-2^2", "-4"),
            ("2^3^2", "512"),
            ("2**-1", "0.5"),
            ("4^(1/2)", "2"),
            ("20%*50", "10"),
            ("$1,250 × 2", "2500"),
            (".5*10", "5"),
            ("1 ÷ 3", "0.333333"),
            ("2/3", "0.666667"),
            ("1-5", "-4"),
            ("--3", "3"),
            // In doubles 0.30000000000000004.
            ("0.1+0.2", "0.3"),
        ] {
            assert_eq!(said(expression), value, "{expression}");
        }
    }

    #[test]
    fn what_has_no_result_says_why() {
        for (expression, error) in [
            ("", "the expression is incomplete"),
            ("3*", "the expression is incomplete"),
            ("1/0", "division by zero"),
            ("0^-1", "division by zero"),
            ("(1+2", "a `)` is missing"),
            ("1)", "unexpected `)`"),
            ("2 3", "unexpected 3"),
            ("2*x", "unexpected `x`"),
            ("__import__('os')", "unexpected `_`"),
            ("1.2.3", "`1.2.3` is no number"),
            ("5.", "`5.` is no number"),
            ("2^(1/2)", "the root is no fraction"),
            ("9^9^9", "the numbers are too large"),
        ] {
            assert_eq!(said(expression), error, "{expression}");
        }
        assert_eq!(said(&"(".repeat(201)), "the expression is too long");
        assert_eq!(said(&"-".repeat(199)), "the expression is incomplete");
    }

    #[test]
    fn names_stand_for_their_values() {
        let names = Names::from([("a".into(), 3.into()), ("b_2".into(), evaluate("1/3").unwrap())]);
        let said = |expression: &str| {
            let mut room = 5;
            evaluate_in(expression, &names, &mut room).map(|value| (exact(value), room))
        };
        assert_eq!(said("a*b_2"), Ok(("1".into(), 2)));
        assert_eq!(said("-b_2"), Ok(("-1/3".into(), 3)));
        assert_eq!(said("a+b"), Err("`b` has no value".into()));
        assert_eq!(said("2a"), Err("unexpected 3".into()));
        assert_eq!(said("a+a+a+a"), Err("the expression is too long".into()));
        assert_eq!(
            [" a", "b_2 ", "_", "2a", "a b", "", "é"].map(name).map(|name| name.is_some()),
            [true, true, true, false, false, false, false]
        );
    }

    #[test]
    fn digits_behind_the_point_are_rounded_half_away_from_zero() {
        let of = |expression: &str, places| written(evaluate(expression).unwrap(), places);
        assert_eq!([of("1/8", 3), of("1/8", 2), of("1/8", 0)], ["0.125", "0.13", "0"]);
        assert_eq!([of("-1/8", 2), of("-1/8", 0)], ["-0.13", "0"]);
        assert_eq!([of("1999/1000", 2), of("5/2", 0), of("12/10", 6)], ["2", "3", "1.2"]);
        // A denominator near the end of what is counted in: no place is computed behind it.
        assert!(!of("1/(2^126)", 6).is_empty());
    }
}
