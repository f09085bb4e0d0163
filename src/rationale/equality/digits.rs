//! Numbers in digits: thousands in groups of three, a decimal point, a power of ten.

use super::spellings::{decimal_comma, half_width, separator_at};
use super::tokens::{Kind, Lexer};

impl Lexer {
    /// Reads the number that begins here.
    pub fn number(&mut self, end: usize) {
        let digits = |at: usize| {
            self.text[at.min(end)..end].iter().take_while(|c| half_width(**c).is_ascii_digit()).count()
        };
        let read = |at: usize, count: usize| {
            self.text[at..at + count].iter().map(|c| half_width(*c)).collect::<String>()
        };
        let first = digits(self.at);
        let mut text = read(self.at, first);
        let (mut at, mut comma) = (self.at + first, false);
        // Groups of three behind one kind of separator.
        let mut separator: Option<&[char]> = None;
        if (1..=3).contains(&first) && !text.starts_with('0') {
            while let Some(found) = separator_at(&self.text[at..end]) {
                let next = at + found.len();
                if digits(next) != 3 || separator.is_some_and(|known| known != found) {
                    break;
                }
                // One period is a decimal point.
                if found == ['.']
                    && separator.is_none()
                    && !(self.text.get(next + 3) == Some(&'.')
                        && self.text.get(next + 4).is_some_and(char::is_ascii_digit))
                    && !decimal_comma(&self.text[next + 3..end])
                {
                    break;
                }
                text += &read(next, 3);
                comma |= found == [','];
                at = next + 3;
                separator = Some(found);
            }
        }
        let point = if separator == Some(&['.']) { ',' } else { '.' };
        let full = |c: char| if c == '．' { '.' } else { c };
        if at < end && full(self.text[at]) == point {
            let count = digits(at + 1);
            if count > 0 {
                text += ".";
                text += &read(at + 1, count);
                at += 1 + count;
            }
        }
        if self.text.get(at).is_some_and(|c| matches!(c, 'e' | 'E')) && at < end {
            let signed = usize::from(self.text.get(at + 1).is_some_and(|c| matches!(c, '+' | '-' | '−')));
            let count = digits(at + 1 + signed);
            let touches = self.text.get(at + 1 + signed + count).is_some_and(|c| c.is_alphanumeric());
            if count > 0 && !touches {
                let minus = signed == 1 && self.text[at + 1] != '+';
                text += if minus { "e-" } else { "e" };
                text += &read(at + 1 + signed, count);
                at += 1 + signed + count;
            }
        }
        self.at = at;
        self.push(Kind::Number(text));
        self.found.last_mut().expect("pushed").comma = comma;
    }

    /// Reads the digits under a line behind a decimal, as `0.1\overline{6}`, into it: `0.1(6)`.
    pub fn repeats(&mut self, end: usize) -> bool {
        let braces = usize::from(self.peek(0) == '{');
        let digits: String = (self.at + braces..end)
            .map_while(|at| self.text[at].is_ascii_digit().then(|| self.text[at]))
            .collect();
        let digits = if braces == 0 { digits.chars().take(1).collect() } else { digits };
        let after = self.at + braces + digits.len();
        let closed = braces == 0 || (after < end && self.text[after] == '}');
        let point = self.found.last().is_some_and(|last| last.is('.') && !last.spaced);
        let number = self.found.len().checked_sub(1 + usize::from(point)).map(|at| &self.found[at].kind);
        let Some(Kind::Number(text)) = number else { return false };
        let whole = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 9 || !closed || point != whole || text.contains(['e', '(']) {
            return false;
        }
        let text = format!("{text}{}({digits})", if point { "." } else { "" });
        if point {
            self.found.pop();
        }
        self.found.last_mut().expect("a number").kind = Kind::Number(text);
        self.at = after + braces;
        true
    }
}
