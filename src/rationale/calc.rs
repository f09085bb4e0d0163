//! A calculator: one expression of numbers, + − · / ^, percent signs and parentheses, exact in rational numbers. Pure.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = signed { ("*" | "/") signed }
//! signed  = "-" signed | "+" signed | power
//! power   = atom { "%" } [ "^" signed ]
//! atom    = number | "(" sum ")"
//! ```
//!
//! As in mathematics and in Python, −2^2 is −4 and 2^3^2 is 2^9.

use super::number::{self, Number};

/// The most signs and numbers of an expression.
const LONGEST: usize = 200;

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
    let signs = signs(expression)?;
    let mut reader = Reader { signs: &signs, at: 0 };
    let value = reader.sum()?;
    match reader.peek() {
        None => Ok(value),
        Some(sign) => Err(format!("unexpected {}", sign.shown())),
    }
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

fn signs(text: &str) -> Result<Vec<Sign>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if found.len() == LONGEST {
            return Err("the expression is too long".to_owned());
        }
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(rest.len());
        let (sign, length) = match first {
            _ if digits > 0 => {
                let digits = &rest[..digits];
                let value = number::parse(digits).filter(|_| !digits.ends_with(['.', ',']));
                (Sign::Number(value.ok_or_else(|| format!("`{digits}` is no number"))?), digits.len())
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
    fn digits_behind_the_point_are_rounded_half_away_from_zero() {
        let of = |expression: &str, places| written(evaluate(expression).unwrap(), places);
        assert_eq!([of("1/8", 3), of("1/8", 2), of("1/8", 0)], ["0.125", "0.13", "0"]);
        assert_eq!([of("-1/8", 2), of("-1/8", 0)], ["-0.13", "0"]);
        assert_eq!([of("1999/1000", 2), of("5/2", 0), of("12/10", 6)], ["2", "3", "1.2"]);
        // A denominator near the end of what is counted in: no place is computed behind it.
        assert!(!of("1/(2^126)", 6).is_empty());
    }
}
