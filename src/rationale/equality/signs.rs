//! Signs: operators, money, degrees, fractions and powers of one character.

use super::spellings::{SUBSCRIPTS, SUPERSCRIPTS, VULGAR, dressing, greek};
use super::tokens::{Kind, Lexer};
use super::units::Unit;

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
            // "6 != 12", but "3! = 6" and "3!=6".
            '!' if self.spaced && self.peek(0) == '=' => {
                self.at += 1;
                self.op('≠');
            }
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
            '\'' if !matches!(self.last(), Some(Kind::Letter(_))) || self.spaced || self.quoted() => {}
            c if c.is_whitespace() => self.spaced = true,
            c if dressing(c) => {}
            c => match greek(c) {
                Some("pi") => self.push(Kind::Command("pi".into())),
                Some(name) => self.push(Kind::Letter(name.to_string())),
                None => self.op(c),
            },
        }
    }

    /// Whether the sign before this place closes what one like it opened right before the last letter: `'B'`.
    fn quoted(&self) -> bool {
        match self.text[..self.at - 1] {
            [.., before, '\'', letter] => {
                !before.is_alphanumeric() && !"')]}".contains(before) && letter.is_alphabetic()
            }
            ['\'', letter] => letter.is_alphabetic(),
            _ => false,
        }
    }

    pub fn money(&mut self, sign: char) {
        self.spaced = true;
        self.push(Kind::Word(sign.to_string()));
        self.spaced = true;
    }

    /// Reads `\Omega` behind a number or its prefix, and the unit behind `\mu`, where they are units: whatever stands in `\text{…}`, of bare letters
    /// those that end a text (`5 \mu m`).
    pub fn measure(&mut self, name: &str, end: usize) -> bool {
        if name == "Omega" {
            let prefix = match &self.found[..] {
                [.., number, last] if matches!(number.kind, Kind::Number(_)) => match &last.kind {
                    Kind::Letter(text) | Kind::Word(text) if matches!(text.as_str(), "k" | "M" | "m") => {
                        Some(text.clone())
                    }
                    _ => None,
                },
                _ => None,
            };
            if let Some(prefix) = prefix {
                self.found.last_mut().expect("a prefix").kind = Kind::Word(format!("{prefix}Ω"));
                return true;
            }
            let behind_number = self.after_number();
            if behind_number {
                self.push(Kind::Word("Ω".into()));
            }
            return behind_number;
        }
        if !self.after_number() {
            return false;
        }
        let rest: String = self.text[self.at.min(end)..end].iter().collect();
        let unit = rest.trim_start();
        let upright = ["\\text{", "\\mathrm{", "\\textrm{"].iter().find_map(|open| unit.strip_prefix(open));
        let (sign, behind) = match upright {
            Some(inner) => inner.split_once('}').unwrap_or_default(),
            None => unit.split_at(unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len())),
        };
        let sign = sign.trim();
        // 2\mu g and 2\mu N may be products of a friction.
        let bare = matches!(sign, "m" | "s" | "F") && behind.chars().all(|c| " .,;)}$".contains(c));
        let known = Unit::named(&format!("μ{sign}")).is_some() && !sign.is_empty();
        if !(known && (upright.is_some() || bare)) {
            return false;
        }
        self.at = end - behind.chars().count();
        self.push(Kind::Word(format!("μ{sign}")));
        true
    }

    fn amount_follows(&self) -> bool {
        let signed = usize::from(matches!(self.peek(0), '-' | '−' | ' '));
        self.peek(signed).is_ascii_digit()
            || (self.peek(signed) == '.' && self.peek(signed + 1).is_ascii_digit())
    }
}
