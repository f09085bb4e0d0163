//! A sentence's words one by one: which tokens are words, which are units with their powers, and where mathematics begins.

use super::tokens::{Kind, Token};
use super::units::Unit;
use super::{roles, words};

/// Reads a sentence's tokens.
pub struct Reader<'a> {
    pub tokens: &'a [Token],
    pub letters: bool,
}

impl Reader<'_> {
    pub fn word(&self, at: usize) -> Option<String> {
        self.tokens.get(at)?.word().or_else(|| self.letter_as_word(at))
    }

    pub fn is(&self, at: usize, op: char) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(op))
    }

    /// A letter that is a word: an article, "I", or a unit that stands apart behind a number.
    pub fn letter_as_word(&self, at: usize) -> Option<String> {
        let tokens = self.tokens;
        let Kind::Letter(letter) = &tokens[at].kind else { return None };
        let is_word = |token: Option<&Token>| token.is_some_and(|token| matches!(token.kind, Kind::Word(_)));
        if matches!(letter.as_str(), "a" | "A" | "I") && is_word(tokens.get(at + 1)) {
            return Some(letter.to_lowercase());
        }
        let alone = tokens.get(at + 1).is_none_or(|next| {
            next.spaced || matches!(next.kind, Kind::Op('^' | '/' | '.' | ',' | '*' | ')'))
        });
        let behind_number = at > 0 && matches!(tokens[at - 1].kind, Kind::Number(_) | Kind::Op('}'));
        let unit = self.letters && words::LETTER_UNITS.contains(&letter.as_str());
        (unit && tokens[at].spaced && alone && behind_number).then(|| letter.clone())
    }

    pub fn value_follows(&self, at: usize) -> bool {
        (at..self.tokens.len()).any(|at| self.word(at).is_none() && is_value(&self.tokens[at]))
    }

    /// That something is left out, or asked.
    pub fn is_open(&self, at: usize) -> bool {
        self.is(at, '…') || self.is(at, '?')
    }

    /// `°C`, `° F`.
    pub fn is_temperature(&self, at: usize) -> bool {
        let scale = match self.tokens.get(at + 1).map(|token| &token.kind) {
            Some(Kind::Letter(letter)) => matches!(letter.as_str(), "C" | "F" | "K"),
            Some(Kind::Word(word)) => {
                matches!(word.to_lowercase().as_str(), "celsius" | "fahrenheit" | "c" | "f")
            }
            _ => false,
        };
        self.is(at, '°') && scale
    }

    /// Whether a comma's words begin another item: a label or a noun with a value of its own.
    pub fn item_follows(&self, at: usize) -> bool {
        let end = (at..self.tokens.len()).find(|at| self.word(*at).is_none());
        end.is_some_and(|end| starts_value(&self.tokens[end]) || self.is(end, ':') || self.is(end, '='))
    }

    /// Where a run of forms of "to be" and "equal to" before a value ends.
    pub fn copula(&self, at: usize) -> Option<usize> {
        let mut end = at;
        while let Some(word) = self.word(end) {
            if !(roles::copula(&word) || (word == "to" && end > at)) {
                return None;
            }
            end += 1;
        }
        (end > at && self.tokens.get(end).is_some_and(starts_value)).then_some(end)
    }

    /// A unit at `at`, and where it ends.
    pub fn unit(&self, at: usize) -> Option<(Unit, usize)> {
        if self.is_temperature(at) {
            let scale = match &self.tokens[at + 1].kind {
                Kind::Letter(letter) | Kind::Word(letter) => letter[..1].to_uppercase(),
                _ => return None,
            };
            return Some((Unit::named(&format!("°{scale}"))?, at + 2));
        }
        let (mut unit, mut end) = self.simple_unit(at)?;
        loop {
            let (next, below) = match self.word(end).as_deref() {
                Some("per") => (end + 1, true),
                _ if self.is(end, '/') => (end + 1, true),
                _ if self.is(end, '*') => (end + 1, false),
                // "m s^{-1}", but no "m s".
                Some(_) if self.exponent(end + 1).0 < 0 => (end, false),
                _ => return Some((unit, end)),
            };
            let Some((other, after)) = self.simple_unit(next) else { return Some((unit, end)) };
            unit = if below { unit.per(&other)? } else { unit.times(&other)? };
            end = after;
        }
    }

    /// A unit with its power: `cm^2`, "square feet".
    pub fn simple_unit(&self, at: usize) -> Option<(Unit, usize)> {
        let text = |at: usize| match &self.tokens.get(at)?.kind {
            Kind::Word(word) => Some(word.clone()),
            Kind::Letter(letter) if self.letters => Some(letter.clone()),
            _ => None,
        };
        let first = text(at)?;
        let power = match first.to_lowercase().as_str() {
            "square" | "sq" => Some(2),
            "cubic" | "cu" => Some(3),
            _ => None,
        };
        let mut at = at + usize::from(power.is_some());
        at += usize::from(power.is_some() && self.is(at, '.'));
        let name = text(at)?;
        if name.eq_ignore_ascii_case("in") && self.word(at + 1).is_some() {
            return None;
        }
        let unit = Unit::named(&name)?;
        let (written, end) = self.exponent(at + 1);
        // "cm squared".
        let said = match self.word(end).as_deref() {
            Some("squared") => Some(2),
            Some("cubed") => Some(3),
            _ => None,
        };
        let said = said.filter(|_| written == 1 && power.is_none());
        Some((unit.raised(power.or(said).unwrap_or(1) * written)?, end + usize::from(said.is_some())))
    }

    /// A whole exponent at `at`, 1 where there is none, and where it ends.
    pub fn exponent(&self, at: usize) -> (i32, usize) {
        let number = |at: usize| match &self.tokens.get(at)?.kind {
            Kind::Number(text) => text.parse::<i32>().ok().filter(|power| *power < 10),
            _ => None,
        };
        let (braces, at_sign) = (usize::from(self.is(at + 1, '{')), at + 1);
        let sign = usize::from(self.is(at_sign + braces, '-'));
        match number(at_sign + braces + sign) {
            Some(power) if self.is(at, '^') && (braces == 0 || self.is(at_sign + sign + 2, '}')) => {
                (if sign == 1 { -power } else { power }, at_sign + 2 * braces + sign + 1)
            }
            _ => (1, at),
        }
    }
}

pub fn is_value(token: &Token) -> bool {
    matches!(token.kind, Kind::Number(_) | Kind::Letter(_) | Kind::Command(_))
}

pub fn is_variable(token: &Token) -> bool {
    matches!(token.kind, Kind::Letter(_))
}

pub fn ends_value(last: &Token) -> bool {
    is_value(last) || matches!(last.kind, Kind::Op(')' | '}' | ']' | '⦄' | '%' | '°' | '!'))
}

pub fn starts_value(token: &Token) -> bool {
    is_value(token) || matches!(token.kind, Kind::Op('(' | '{' | '[' | '⦃' | '-' | '±' | '|' | '∞'))
}
