//! Stars and tags: operators where they stand between values, else looks.

use super::spellings::TAGS;
use super::tokens::{Kind, Lexer, Token};

impl Lexer {
    /// A star between values multiplies, two raise; others are emphasis or bullets.
    pub fn star(&mut self) {
        let stars = 1 + self.text[self.at..].iter().take_while(|c| **c == '*').count();
        let next = self.text.get(self.at + stars - 1).copied().unwrap_or('\0');
        let place = self.at + stars - 1 + usize::from(next == ' ');
        let after = self.text.get(place).copied().unwrap_or('\0');
        // A period that no digit follows ends a sentence.
        let digit = self.text.get(place + 1).is_some_and(char::is_ascii_digit);
        let value = after.is_ascii_alphanumeric() || "(\\-{$".contains(after) || (after == '.' && digit);
        let even = self.spaced == (next == ' ');
        self.at += stars - 1;
        // "9 eggs * 2": what is counted, and no bullet.
        let line = self.at > stars && self.text[self.at - stars - 1] == ' ' && next == ' ';
        let counted = matches!(
            &self.found[..],
            [.., Token { kind: Kind::Number(_), .. }, Token { kind: Kind::Word(_), .. }]
        );
        if stars == 1 && line && counted && (after.is_ascii_digit() || after == '$') {
            return self.op('*');
        }
        let odd = self.text.iter().filter(|c| **c == '*').count() % 2 == 1;
        if odd && stars == 1 && next == '\0' && self.after_value() && !self.spaced {
            return self.op('*');
        }
        if self.after_value() && even && value && !matches!(self.last(), Some(Kind::Word(_))) {
            self.op(if stars == 1 { '*' } else { '^' });
        }
    }

    pub fn tag(&mut self) {
        let close = self.text[self.at..].iter().take(12).position(|c| *c == '>');
        let name = close.map(|end| self.text[self.at..self.at + end].iter().collect::<String>());
        let bare = name.as_ref().map(|name| name.trim_matches(|c| c == '/' || c == ' ').to_lowercase());
        match (close, bare) {
            (Some(end), Some(bare)) if TAGS.contains(&bare.as_str()) => self.at += end + 1,
            _ if self.peek(0) == '=' => {
                self.at += 1;
                self.op('≤');
            }
            _ => self.op('<'),
        }
    }
}
