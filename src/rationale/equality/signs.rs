//! Signs: operators, money, degrees, fractions and powers of one character.

use super::spellings::{SUBSCRIPTS, SUPERSCRIPTS, VULGAR, dressing, greek};
use super::tokens::{Kind, Lexer};

impl Lexer {
    pub fn mark(&mut self, mark: char) {
        // 90^\circ: the hat is no power.
        if mark == '°' {
            let brace = self.found.last().is_some_and(|last| last.is('{')) && self.found.len() > 1;
            if brace && self.found[self.found.len() - 2].is('^') {
                self.found.truncate(self.found.len() - 2);
                self.at += usize::from(self.peek(0) == '}');
            } else if self.found.last().is_some_and(|last| last.is('^')) {
                self.found.pop();
            }
        }
        self.op(mark);
    }

    pub fn sign(&mut self, c: char) {
        if let Some((_, above, below)) = VULGAR.iter().find(|(vulgar, ..)| *vulgar == c) {
            // 5½ is 5 1/2.
            self.spaced = true;
            self.push(Kind::Number(above.to_string()));
            self.op('/');
            return self.push(Kind::Number(below.to_string()));
        }
        // x⁻¹
        let raised = |at: usize| self.text.get(at).is_some_and(|c| SUPERSCRIPTS.contains(*c));
        if c == '⁻' && raised(self.at) {
            let digits = (self.at..).take_while(|at| raised(*at)).map(|at| self.text[at]);
            let digit = |c: char| {
                SUPERSCRIPTS.chars().position(|known| known == c).map_or('0', |at| (b'0' + at as u8) as char)
            };
            let number: String = digits.map(digit).collect();
            self.at += number.len();
            self.op('^');
            self.op('-');
            return self.push(Kind::Number(number));
        }
        for (digits, op) in [(SUPERSCRIPTS, '^'), (SUBSCRIPTS, '_')] {
            let digit =
                |c: char| digits.chars().position(|known| known == c).map(|at| (b'0' + at as u8) as char);
            if let Some(first) = digit(c) {
                let mut number = String::from(first);
                while let Some(next) = self.text.get(self.at).and_then(|c| digit(*c)) {
                    number.push(next);
                    self.at += 1;
                }
                self.op(op);
                return self.push(Kind::Number(number));
            }
        }
        match c {
            '-' if self.found.is_empty()
                && self.peek(0) == ' '
                && self.peek(1).is_alphabetic()
                && self.peek(2).is_alphabetic() =>
            {
                self.spaced = true
            }
            '−' | '–' | '‐' | '‑' | '﹣' | '-' => self.op('-'),
            '—' if self.found.is_empty() && self.peek(0).is_ascii_digit() => self.op('-'),
            '×' | '·' | '⋅' | '∙' | '✕' => self.op('*'),
            '÷' | '∕' | '⁄' => self.op('/'),
            '*' => self.star(),
            '√' => self.push(Kind::Command("sqrt".into())),
            'º' | '˚' | '∘' | '°' => self.mark('°'),
            '<' => self.tag(),
            '≦' | '⩽' => self.op('≤'),
            '≧' | '⩾' => self.op('≥'),
            '.' if self.peek(0) == '.' => {
                while self.peek(0) == '.' {
                    self.at += 1;
                }
                self.op('…');
            }
            // Two strike out.
            '~' if self.peek(0) == '~' => self.op('~'),
            '~' => self.spaced = true,
            '➖' => self.op('-'),
            '➕' => self.op('+'),
            '✖' => self.op('*'),
            '➗' => self.op('/'),
            '≃' | '≅' => self.op('≈'),
            '❌' | '❎' | '✗' | '✘' | '👎' | '🚫' | '⛔' | '🙅' => {
                self.push(Kind::Word("wrong".into()))
            }
            '{' if self.peek(0) == ',' && self.peek(1) == '}' => {
                self.at += 2;
                self.op(',');
            }
            '€' | '£' | '¥' | '₹' | '₩' | '₽' | '¢' | '₦' | '₱' => self.money(c),
            '$' if !self.pairs && (self.after_number() || self.amount_follows()) => self.money('$'),
            '$' => self.spaced = true,
            // C# is not C.
            '#' if !self.spaced && matches!(self.last(), Some(Kind::Letter(_) | Kind::Word(_))) => {
                self.op('#')
            }
            '"' | '“' | '”' | '„' | '«' | '»' | '‘' | '’' | '`' | '#' => {}
            '\'' if !matches!(self.last(), Some(Kind::Letter(_))) || self.spaced => {}
            c if c.is_whitespace() => self.spaced = true,
            c if dressing(c) => {}
            c => match greek(c) {
                Some("pi") => self.push(Kind::Command("pi".into())),
                Some(name) => self.push(Kind::Letter(name.to_string())),
                None => self.op(c),
            },
        }
    }

    pub fn money(&mut self, sign: char) {
        self.spaced = true;
        self.push(Kind::Word(sign.to_string()));
        self.spaced = true;
    }

    fn amount_follows(&self) -> bool {
        let signed = usize::from(matches!(self.peek(0), '-' | '−' | ' '));
        self.peek(signed).is_ascii_digit()
            || (self.peek(signed) == '.' && self.peek(signed + 1).is_ascii_digit())
    }
}
