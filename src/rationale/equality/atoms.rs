//! What stands between operators: numbers, variables, LaTeX commands, functions, matrices.

use super::expression::Node;
use super::parser::{Parser, product};
use super::tokens::{Kind, Token};
use super::words;
use crate::rationale::number::{self, Number};

impl Parser<'_> {
    pub fn number(&mut self, text: &str, at: usize) -> Option<Node> {
        // "x2", "H2": digits that belong to a name.
        if at > 0
            && !self.tokens[at].spaced
            && matches!(self.tokens[at - 1].kind, Kind::Letter(_) | Kind::Word(_))
        {
            return None;
        }
        if self.op() == Some('_') {
            self.at += 1;
            let base = self.script()?;
            return Some(Node::Based(text.to_string(), Box::new(base)));
        }
        if let Some(value) = repeating(text) {
            return Some(Node::Number(value));
        }
        let Some(value) = number::parse(text) else { return Some(Node::Long(text.to_string())) };
        if text.contains(['.', 'e']) {
            return Some(Node::Number(value));
        }
        // 1 1/2, 3\frac{1}{2}.
        let start = self.at;
        if let Some(part) = self.proper_fraction() {
            return Some(Node::Number(value.plus(part)?));
        }
        self.at = start;
        Some(Node::Number(value))
    }

    /// A fraction of whole numbers below one, written behind a whole number.
    fn proper_fraction(&mut self) -> Option<Number> {
        let whole = |token: Option<&Token>| match &token?.kind {
            Kind::Number(text) if !text.contains(['.', 'e']) => number::parse(text),
            _ => None,
        };
        let (above, below) = match &self.tokens[self.at..] {
            [above, slash, below, ..] if above.spaced && slash.is('/') => {
                let found = (whole(Some(above))?, whole(Some(below))?);
                self.at += 3;
                found
            }
            [Token { kind: Kind::Command(name), .. }, ..] if name == "frac" => {
                self.at += 1;
                match self.command("frac")? {
                    Node::Quotient(above, below) => match (*above, *below) {
                        (Node::Number(above), Node::Number(below)) if above.whole() && below.whole() => {
                            (above, below)
                        }
                        _ => return None,
                    },
                    _ => return None,
                }
            }
            _ => return None,
        };
        let more = self.op().is_some_and(|op| matches!(op, '/' | '^' | '!'));
        above.over(below).filter(|part| part.to_f64() < 1.0 && part.to_f64() > 0.0 && !more)
    }

    pub fn variable(&mut self, letter: String) -> Node {
        if letter == "ℝ" && !matches!(self.op(), Some('^' | '_')) {
            let infinity = Node::Constant('∞');
            return Node::List('(', vec![Node::Negative(Box::new(infinity.clone())), infinity], ')');
        }
        if letter == "i" && self.op() != Some('_') {
            return Node::Constant('i');
        }
        if letter == "e" && self.op() != Some('_') {
            return Node::Constant('e');
        }
        let mut name = letter;
        while self.take('\'') {
            name.push('\'');
        }
        let start = self.at;
        if self.take('_') {
            if self.script().is_none() {
                self.at = start;
                return Node::Variable(name);
            }
            for token in &self.tokens[start..self.at] {
                match &token.kind {
                    Kind::Number(text) | Kind::Letter(text) | Kind::Word(text) => {
                        name = format!("{name}_{text}")
                    }
                    _ => {}
                }
            }
        }
        Node::Variable(name)
    }

    /// One argument of a command: a group, or one digit or letter, as TeX has it.
    fn argument(&mut self) -> Option<Node> {
        self.atom()
    }

    pub fn command(&mut self, name: &str) -> Option<Node> {
        match name {
            "pi" => Some(Node::Constant('π')),
            "frac" => {
                // \frac12: TeX takes a digit each.
                if let Some(Kind::Number(digits)) = self.peek()
                    && digits.bytes().all(|byte| byte.is_ascii_digit())
                {
                    let digits = digits.clone();
                    self.at += 1;
                    let (above, rest) = digits.split_at(1);
                    let above = Node::Number(number::parse(above)?);
                    let below = match rest {
                        "" => self.argument()?,
                        rest if rest.len() == 1 => Node::Number(number::parse(rest)?),
                        _ => return None,
                    };
                    return Some(Node::Quotient(Box::new(above), Box::new(below)));
                }
                let above = self.argument()?;
                let below = self.argument()?;
                Some(Node::Quotient(Box::new(above), Box::new(below)))
            }
            "sqrt" | "cbrt" => {
                let mut index = Node::Number(Number::from(if name == "sqrt" { 2 } else { 3 }));
                if name == "sqrt" && self.op() == Some('[') {
                    self.at += 1;
                    index = self.group(']')?;
                }
                let inner = match self.peek() {
                    Some(Kind::Op('(' | '{') | Kind::Number(_) | Kind::Letter(_) | Kind::Command(_)) => {
                        self.argument()?
                    }
                    _ => return None,
                };
                Some(Node::Root(Box::new(inner), Box::new(index)))
            }
            "binom" => {
                let above = self.argument()?;
                let below = self.argument()?;
                Some(Node::Call("binom".into(), vec![above, below]))
            }
            _ if name.starts_with("begin ") => self.matrix(&name["begin ".len()..]),
            _ if name.starts_with("end ") => None,
            _ if words::FUNCTIONS.contains(&name) || matches!(name, "ln" | "lg") => self.call(name),
            // \angle ABC, \overline{AB}: part of a name.
            _ => Some(Node::Variable(format!("\\{name}"))),
        }
    }

    fn call(&mut self, name: &str) -> Option<Node> {
        let mut name = name.to_string();
        let mut arguments = Vec::new();
        if self.take('_') {
            arguments.push(self.script()?);
            name += "_b";
        }
        let mut power = if self.take('^') { Some(self.script()?) } else { None };
        // \sin^{-1} is the inverse function, and no reciprocal.
        let inverse = Node::Negative(Box::new(Node::Number(Number::from(1))));
        if power.as_ref() == Some(&inverse) && matches!(&name[..], "sin" | "cos" | "tan") {
            name = format!("arc{name}");
            power = None;
        }
        match self.op() {
            Some('(') => {
                self.at += 1;
                match self.bracket('(')? {
                    Node::List('(', items, ')') => arguments.extend(items),
                    only => arguments.push(only),
                }
            }
            _ => {
                let mut factors = vec![self.power()?];
                while matches!(self.peek(), Some(Kind::Letter(_)))
                    || matches!(self.peek(), Some(Kind::Command(name)) if name == "pi")
                {
                    factors.push(self.power()?);
                }
                arguments.push(product(factors));
            }
        }
        let call = Node::Call(name, arguments);
        Some(match power {
            Some(power) => Node::Power(Box::new(call), Box::new(power)),
            None => call,
        })
    }

    fn matrix(&mut self, environment: &str) -> Option<Node> {
        if !matches!(environment, "pmatrix" | "bmatrix" | "matrix" | "array" | "smallmatrix") {
            return None;
        }
        if environment == "array" && self.take('{') {
            while !self.take('}') {
                self.at += 1;
                self.peek()?;
            }
        }
        let mut rows = vec![vec![]];
        loop {
            if matches!(self.peek()?, Kind::Command(name) if name.starts_with("end ")) {
                self.at += 1;
                rows.retain(|row: &Vec<Node>| !row.is_empty());
                return Some(match &mut rows[..] {
                    // A table of one cell is that cell.
                    [row] if environment == "array" && row.len() == 1 => row.remove(0),
                    _ => Node::Matrix(rows),
                });
            }
            if self.take('⏎') {
                rows.push(vec![]);
            } else if !self.take('&') {
                let cell = self.sum()?;
                rows.last_mut()?.push(cell);
            }
        }
    }
}

/// `0.1(6)`, a decimal whose last digits come again without end.
fn repeating(text: &str) -> Option<Number> {
    let (start, digits) = text.strip_suffix(')')?.split_once('(')?;
    let places = start.split_once('.')?.1.len();
    let ten = |power: usize| Number::from(10).power(Number::from(i128::try_from(power).ok()?));
    let below = ten(places)?.times(ten(digits.len())?.plus(Number::from(-1))?)?;
    number::parse(&format!("{start}0"))?.plus(number::parse(digits)?.over(below)?)
}
