//! A written answer as tokens: LaTeX, Markdown and Unicode spellings of one thing are one token.

use super::spellings::{LINES, LOOKS, MARKS, PROSE, SPACES, all_prose, composed, greek, half_width};
use super::units::Unit;
use super::{formula, infix, words};

/// Bytes of an answer that is looked into.
const LONGEST: usize = 2000;

/// What stands in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An unsigned decimal, `1234.5` or `1.5e3`, thousands separators left out.
    Number(String),
    /// A letter, a Greek one by its name: a variable.
    Letter(String),
    /// A word of prose, or whatever stands in `\text{…}`.
    Word(String),
    /// A LaTeX command or a function's name, such as `frac` or `sin`.
    Command(String),
    /// An operator, a bracket or a sign. `⦃` and `⦄` are the braces of a set; `{` and `}` group.
    Op(char),
}

/// A token and how it stands to its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Whether white space stands before it.
    pub spaced: bool,
    /// Of a number: where a comma stands as thousands separator, `1,234`, which in brackets may separate.
    pub comma: bool,
}

impl Token {
    /// A token without white space before it.
    pub fn new(kind: Kind) -> Self {
        Self { kind, spaced: false, comma: false }
    }

    /// Whether it is this operator.
    pub fn is(&self, op: char) -> bool {
        self.kind == Kind::Op(op)
    }

    /// The word, in small letters.
    pub fn word(&self) -> Option<String> {
        match &self.kind {
            Kind::Word(word) => Some(word.to_lowercase()),
            _ => None,
        }
    }
}

/// The tokens of `text`; what only dresses it (emphasis, quotes, spacing, emoji, `$`, `\left`) is left out.
pub fn tokens(text: &str) -> Vec<Token> {
    // No answer is that long; as one word it equals itself alone.
    if text.len() > LONGEST {
        return vec![Token::new(Kind::Word(text.split_whitespace().collect::<Vec<_>>().join(" ")))];
    }
    unbounded(text)
}

/// The tokens of a text of any length.
pub fn unbounded(text: &str) -> Vec<Token> {
    let (text, prose) = all_prose(text).map_or((text, false), |inner| (inner, true));
    let dollars = text.matches('$').count() - text.matches("\\$").count();
    let pairs = dollars.is_multiple_of(2);
    let text: Vec<char> = composed(text).chars().collect();
    let formula = formula::is_formula(&text);
    let mut lexer = Lexer { text, at: 0, spaced: false, pairs, formula, prose, found: Vec::new() };
    lexer.run(lexer.text.len(), prose);
    infix::plain(lexer.found)
}

/// Reads a text from left to right.
pub struct Lexer {
    pub text: Vec<char>,
    pub at: usize,
    pub spaced: bool,
    /// Whether `$` stands in pairs, around mathematics; elsewhere it is money.
    pub pairs: bool,
    /// Whether it is mathematics and nothing else, in which letters are variables.
    formula: bool,
    /// Whether it is prose and nothing else, in which a single letter is one as it is outside.
    prose: bool,
    pub found: Vec<Token>,
}

impl Lexer {
    pub fn peek(&self, ahead: usize) -> char {
        self.text.get(self.at + ahead).copied().map_or('\0', half_width)
    }

    pub fn push(&mut self, kind: Kind) {
        self.found.push(Token { kind, spaced: self.spaced, comma: false });
        self.spaced = false;
    }

    pub fn op(&mut self, op: char) {
        self.push(Kind::Op(op));
    }

    /// Whether the last token ends a value, so that a sign after it is an operation.
    pub fn last(&self) -> Option<&Kind> {
        self.found.last().map(|last| &last.kind)
    }

    pub fn after_value(&self) -> bool {
        self.found.last().is_some_and(|last| match &last.kind {
            Kind::Op(op) => ")]}|⦄%°!⟩∞'".contains(*op),
            Kind::Command(name) => name == "pi",
            _ => true,
        })
    }

    fn run(&mut self, end: usize, prose: bool) {
        while self.at < end {
            let c = self.peek(0);
            // 。 ends a sentence, and begins no number.
            // The period of Rs.5 is its word's.
            let worded = !self.spaced && matches!(self.last(), Some(Kind::Word(_)));
            let point = matches!(self.text[self.at], '.' | '．') && !worded;
            if c.is_ascii_digit() || (point && self.peek(1).is_ascii_digit() && !self.digit_before()) {
                self.number(end);
            } else if c == '\\' {
                self.command(end);
            } else if c == 'μ' && self.micro(end) {
                // A unit's prefix, written with the Greek letter.
            } else if c.is_alphabetic() && greek(c).is_none() && c != 'ª' && c != 'º' {
                self.letters(end, prose);
            } else {
                self.at += 1;
                self.sign(c);
            }
        }
    }

    /// Reads `μm` behind a number, where it is a unit.
    fn micro(&mut self, end: usize) -> bool {
        let letters = self.text[(self.at + 1).min(end)..end].iter().take_while(|c| c.is_ascii_alphabetic());
        let name: String = std::iter::once('μ').chain(letters.copied()).collect();
        let unit = self.after_number() && name.chars().count() > 1 && Unit::named(&name).is_some();
        if unit {
            self.at += name.chars().count();
            self.push(Kind::Word(name));
        }
        unit
    }

    fn digit_before(&self) -> bool {
        self.at > 0 && self.text[self.at - 1].is_ascii_digit()
    }

    fn command(&mut self, end: usize) {
        let start = self.at + 1;
        let length = self.text[start.min(end)..end].iter().take_while(|c| c.is_ascii_alphabetic()).count();
        if length == 0 {
            let c = self.peek(1);
            self.at = (self.at + 2).min(end);
            match c {
                '{' => self.op('⦃'),
                '}' => self.op('⦄'),
                '|' => self.op('|'),
                '%' => self.op('%'),
                '\\' => {
                    self.op('⏎');
                    self.skip_length();
                }
                '&' => self.op('&'),
                '$' => self.money('$'),
                '[' if self.displayed_again() => self.op(','),
                _ if c.is_alphanumeric() => {
                    self.at -= 1;
                    self.op('∖');
                }
                _ => self.spaced = true,
            }
            return;
        }
        let name: String = self.text[start..start + length].iter().collect();
        self.at = start + length;
        let name = match name.as_str() {
            "dfrac" | "tfrac" | "cfrac" => "frac".to_string(),
            "dbinom" | "tbinom" => "binom".to_string(),
            _ => name,
        };
        let argument = if PROSE.contains(&name.as_str()) { self.argument() } else { None };
        if let Some((from, to)) = argument {
            // Upright i and e are the constants that they are.
            let constant = matches!(name.as_str(), "mathrm" | "operatorname")
                && matches!(self.text[from..to], ['i' | 'e']);
            self.at = from;
            self.run(to.min(end), !constant);
            self.at = (to + 1).min(end);
        } else if matches!(name.as_str(), "SI" | "qty") && self.argument().is_some() {
            for prose in [false, true] {
                let Some((from, to)) = self.argument() else { break };
                self.at = from;
                self.run(to.min(end), prose);
                (self.at, self.spaced) = ((to + 1).min(end), true);
            }
        } else if matches!(name.as_str(), "overline" | "bar") && self.repeats(end) {
            // The digits under the line belong to the number before.
        } else if name == "mathbb" && self.reals(end) {
            self.push(Kind::Letter("ℝ".into()));
        } else if matches!(name.as_str(), "hspace" | "vspace") {
            self.at = self.argument().map_or(self.at, |(_, to)| (to + 1).min(end));
            self.spaced = true;
        } else if matches!(name.as_str(), "color" | "textcolor" | "colorbox") {
            // The colour's name; what it is given to follows.
            self.at = self.argument().map_or(self.at, |(_, to)| (to + 1).min(end));
        } else if matches!(name.as_str(), "begin" | "end") {
            let environment = self.argument().map(|(from, to)| {
                self.at = (to + 1).min(end);
                self.text[from..to].iter().collect::<String>()
            });
            let environment = environment.unwrap_or_default();
            // One line of it is that line.
            if !LINES.contains(&environment.trim_end_matches('*')) {
                self.push(Kind::Command(format!("{name} {environment}")));
            }
        } else if name == "left" || name == "right" {
            // "\left." is an empty bracket.
            self.at += usize::from(self.peek(0) == '.');
        } else if LOOKS.contains(&name.as_str()) {
            // It changes nothing.
        } else if SPACES.contains(&name.as_str()) {
            self.spaced = true;
        } else if let Some((_, mark)) = MARKS.iter().find(|(known, _)| *known == name) {
            self.mark(*mark);
        } else if name == "not" && self.peek(0) == '=' {
            self.at += 1;
            self.op('≠');
        } else if matches!(name.as_str(), "and" | "or" | "not") {
            // "\not\in" denies what follows.
            self.push(Kind::Word(name));
        } else if matches!(name.as_str(), "mu" | "Omega") && self.measure(&name, end) {
            // A unit, or its prefix.
        } else if let Some(letter) = words::greek(&name) {
            self.push(Kind::Letter(letter.to_string()));
        } else {
            self.push(Kind::Command(name));
        }
    }

    /// Whether the `\[` before this place opens mathematics right behind what `\]` closed, and no relation goes on with that.
    fn displayed_again(&self) -> bool {
        let mut before = self.text[..self.at - 2].iter().rev().filter(|c| !c.is_whitespace());
        let first = self.text[self.at..].iter().find(|c| !c.is_whitespace());
        before.next() == Some(&']')
            && before.next() == Some(&'\\')
            && !self.found.is_empty()
            && !first.is_none_or(|c| "=<>&\\".contains(*c))
    }

    /// Passes the R of `\mathbb{R}`, in braces or not.
    fn reals(&mut self, end: usize) -> bool {
        let (from, to, after) = match self.argument() {
            Some((from, to)) => (from, to, to + 1),
            None => {
                let at = self.at + usize::from(self.peek(0) == ' ');
                (at, at + 1, at + 1)
            }
        };
        let is = after <= end && self.text.get(from..to) == Some(&['R']);
        self.at = if is { after } else { self.at };
        is
    }

    /// Passes the `[2pt]` behind the end of a row.
    fn skip_length(&mut self) {
        let close = self.text[self.at.min(self.text.len())..].iter().take(10).position(|c| *c == ']');
        if let Some(close) = close.filter(|_| self.peek(0) == '[') {
            let inside: String = self.text[self.at + 1..self.at + close].iter().collect();
            let amount = inside.trim().trim_end_matches(|c: char| c.is_ascii_lowercase());
            if amount.len() < inside.trim().len() && amount.parse::<f64>().is_ok() {
                self.at += close + 1;
            }
        }
    }

    /// The range inside the braces that follow.
    fn argument(&self) -> Option<(usize, usize)> {
        let start = self.at + self.text[self.at..].iter().take_while(|c| **c == ' ').count();
        let mut depth = 0;
        for at in start..self.text.len() {
            match self.text[at] {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return (at > start).then_some((start + 1, at));
            }
        }
        None
    }

    fn letters(&mut self, end: usize, prose: bool) {
        let start = self.at;
        let inner = |at: usize| {
            let c = self.text[at];
            let letter =
                |at: usize| self.text.get(at).is_some_and(|c| c.is_alphabetic() && greek(*c).is_none());
            letter(at) || ("'’".contains(c) && at > start && at + 1 < end && letter(at + 1))
        };
        while self.at < end && inner(self.at) {
            self.at += 1;
        }
        let run: String = self.text[start..self.at]
            .iter()
            .map(|c| half_width(*c))
            .map(|c| if c == '’' { '\'' } else { c })
            .collect();
        let lower = run.to_lowercase();
        let touching = !self.spaced && matches!(self.last(), Some(Kind::Number(_)));
        let count = run.chars().count();
        let unit = || words::LETTER_UNITS.contains(&&run[..]) && self.after_number();
        if prose && !(self.prose && count == 1 && !unit()) {
            return self.push(Kind::Word(run));
        }
        // "18 min" has no minimum, and "18 sec" no secant.
        let time = matches!(&run[..], "min" | "sec")
            && self.after_number()
            && !matches!(self.peek(0), '(' | '{' | '_' | '^')
            && !(self.peek(0) == ' ' && self.peek(1).is_alphanumeric() && run == "sec");
        if lower == "pi"
            || (words::FUNCTIONS.contains(&run.as_str()) && count > 2 && !time)
            || run == "ln"
            || run == "lg"
        {
            return self.push(Kind::Command(lower));
        }
        let ten = self.peek(0) == '1'
            && self.peek(1) == '0'
            && (matches!(self.peek(2), '^' | '⁻')
                || self.peek(2) == '*'
                || "⁰¹²³⁴⁵⁶⁷⁸⁹".contains(self.peek(2)));
        if lower == "x" && touching && ten {
            return self.op('*');
        }
        if lower == "x"
            && self.spaced
            && self.after_value()
            && matches!(self.last(), Some(Kind::Number(_)))
            && self.peek(0) == ' '
            && self.peek(1).is_ascii_digit()
        {
            return self.op('*');
        }
        if count == 1 {
            // a.m., D.C.: letters with periods between them are a word.
            let mut word = run.clone();
            let more = |lexer: &Self| {
                lexer.peek(0) == '.' && lexer.peek(1).is_ascii_alphabetic() && !lexer.peek(2).is_alphabetic()
            };
            while self.at + 1 < end && more(self) {
                word.push(self.peek(1));
                self.at += 2;
            }
            if word.len() > run.len() {
                return self.push(Kind::Word(word));
            }
            return self.push(Kind::Letter(run));
        }
        let abbreviation = run == "ca" && self.peek(0) == '.';
        let variables = if abbreviation {
            false
        } else if self.formula && count < 4 && formula::variables(&lower) {
            true
        } else if touching {
            !words::after_digits(&lower)
        } else {
            count == 2 && !words::short(&lower) && run.is_ascii()
        };
        if variables {
            run.chars().for_each(|c| self.push(Kind::Letter(c.to_string())));
        } else {
            self.push(Kind::Word(run));
        }
    }

    pub fn after_number(&self) -> bool {
        matches!(self.last(), Some(Kind::Number(_)))
    }
}
