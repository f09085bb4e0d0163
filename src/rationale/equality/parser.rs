//! Tokens to [`Node`]s: a recursive descent over lists, relations, sums, products and powers.

use super::expression::Node;
use super::tokens::{Kind, Token};
use super::words;
use crate::rationale::number::{self, Number};

/// How deep brackets may stand in each other; deeper text is no answer.
const DEPTH: usize = 40;

/// The whole of `tokens` as one answer; `None` where they are no mathematics, or more than one answer without a separator.
pub fn parse(tokens: &[Token]) -> Option<Node> {
    let mut parser = Parser { tokens, at: 0, depth: 0, bars: 0 };
    let node = parser.list()?;
    (parser.at == tokens.len()).then_some(node)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    bars: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn op(&self) -> Option<char> {
        match self.peek()? {
            Kind::Op(op) => Some(*op),
            _ => None,
        }
    }

    fn take(&mut self, op: char) -> bool {
        let found = self.op() == Some(op);
        self.at += usize::from(found);
        found
    }

    fn list(&mut self) -> Option<Node> {
        let mut items = vec![self.relation()?];
        while self.op().is_some_and(|op| matches!(op, ',' | ';')) {
            self.at += 1;
            // "1, 2, and 3" has two separators.
            while self.op().is_some_and(|op| matches!(op, ',' | ';')) {
                self.at += 1;
            }
            items.push(self.relation()?);
        }
        Some(if items.len() == 1 { items.remove(0) } else { Node::List(',', items, ',') })
    }

    fn relation(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        let mut relations = Vec::new();
        let mut parts = Vec::new();
        if self.op().is_some_and(|op| matches!(op, '=' | '≈')) {
            self.at += 1;
        }
        loop {
            parts.push(self.union()?);
            let Some(op) = self.op().filter(|op| "=<>≤≥≠≈∈≡".contains(*op)) else { break };
            self.at += 1;
            // "<=" and ">=" and "!=" in two signs.
            let op = match (op, self.op()) {
                ('<', Some('=')) => '≤',
                ('>', Some('=')) => '≥',
                _ => op,
            };
            self.at += usize::from(matches!(op, '≤' | '≥') && self.op() == Some('='));
            relations.push(op);
        }
        self.depth -= 1;
        Some(if relations.is_empty() { parts.remove(0) } else { Node::Chain(parts, relations) })
    }

    fn union(&mut self) -> Option<Node> {
        let mut parts = vec![self.ratio()?];
        while self.take('∪') {
            parts.push(self.ratio()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::List('∪', parts, '∪') })
    }

    fn ratio(&mut self) -> Option<Node> {
        let mut parts = vec![self.sum()?];
        while self.take(':') {
            parts.push(self.sum()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::List(':', parts, ':') })
    }

    fn sum(&mut self) -> Option<Node> {
        let mut terms = Vec::new();
        loop {
            let sign = self.op().filter(|op| matches!(op, '+' | '-' | '±'));
            if sign.is_none() && !terms.is_empty() {
                break;
            }
            self.at += usize::from(sign.is_some());
            if self.op().is_some_and(|op| matches!(op, '+' | '-' | '±')) {
                return None;
            }
            let term = self.product()?;
            terms.push(match sign {
                Some('-') => Node::Negative(Box::new(term)),
                Some('±') => Node::PlusMinus(Box::new(term)),
                _ => term,
            });
        }
        Some(if terms.len() == 1 { terms.remove(0) } else { Node::Sum(terms) })
    }

    fn product(&mut self) -> Option<Node> {
        let mut factors = vec![self.power()?];
        loop {
            if self.take('*') {
                let factor = self.signed_power()?;
                // a × 10^n is one number.
                let scaled = match (factors.last(), &factor) {
                    (Some(Node::Number(left)), Node::Power(base, _))
                        if **base == Node::Number(Number::from(10)) =>
                    {
                        factor.literal().and_then(|power| left.times(power)).filter(|_| factors.len() == 1)
                    }
                    _ => None,
                };
                match scaled {
                    Some(number) => factors[0] = Node::Number(number),
                    None => factors.push(factor),
                }
            } else if self.take('/') {
                let below = self.signed_power()?;
                let above = product(factors);
                factors = vec![Node::Quotient(Box::new(above), Box::new(below))];
            } else if self.starts_factor() {
                let factor = self.power()?;
                factors.push(factor);
            } else {
                return Some(product(factors));
            }
        }
    }

    fn signed_power(&mut self) -> Option<Node> {
        if self.take('-') {
            return Some(Node::Negative(Box::new(self.power()?)));
        }
        self.power()
    }

    /// Whether a factor follows without a sign of multiplication; a number never does.
    fn starts_factor(&self) -> bool {
        match self.peek() {
            Some(Kind::Letter(_)) => true,
            Some(Kind::Command(name)) => !name.starts_with("end "),
            Some(Kind::Op('|')) => self.bars == 0,
            Some(Kind::Op(op)) => "({[⦃∞".contains(*op),
            _ => false,
        }
    }

    fn power(&mut self) -> Option<Node> {
        let mut node = self.atom()?;
        loop {
            if self.take('^') {
                let exponent = self.script()?;
                node = Node::Power(Box::new(node), Box::new(exponent));
            } else if self.take('!') {
                node = Node::Factorial(Box::new(node));
            } else if self.take('%') {
                node = Node::Percent(Box::new(node));
            } else if self.take('°') {
                // °C, °F.
                let unit = matches!(self.tokens.get(self.at), Some(Token { kind: Kind::Letter(letter), .. }) if matches!(letter.as_str(), "C" | "F" | "K"));
                self.at += usize::from(unit);
                node = Node::Degrees(Box::new(node));
            } else {
                return Some(node);
            }
        }
    }

    /// What is raised or lowered: a group, or one token with its sign.
    fn script(&mut self) -> Option<Node> {
        if self.take('-') {
            return Some(Node::Negative(Box::new(self.atom()?)));
        }
        if self.take('+') {
            return self.atom();
        }
        self.atom()
    }

    fn group(&mut self, close: char) -> Option<Node> {
        let bars = std::mem::take(&mut self.bars);
        let node = self.list();
        self.bars = bars;
        let node = node?;
        self.take(close).then_some(node)
    }

    fn atom(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEPTH {
            return None;
        }
        let node = self.undeepened_atom();
        self.depth -= 1;
        node
    }

    fn undeepened_atom(&mut self) -> Option<Node> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        match token.kind {
            Kind::Number(text) => self.number(&text, self.at - 1),
            Kind::Letter(letter) => Some(self.variable(letter)),
            Kind::Command(name) => self.command(&name),
            Kind::Word(_) => None,
            Kind::Op('{') => self.group('}'),
            Kind::Op('(') => self.bracket('('),
            Kind::Op('[') => self.bracket('['),
            Kind::Op('⦃') => {
                if self.take('⦄') {
                    return Some(Node::List('⦃', vec![], '⦄'));
                }
                Some(match self.group('⦄')? {
                    Node::List(',', items, _) => Node::List('⦃', items, '⦄'),
                    only => Node::List('⦃', vec![only], '⦄'),
                })
            }
            Kind::Op('∅') => Some(Node::List('⦃', vec![], '⦄')),
            Kind::Op('∞') => Some(Node::Constant('∞')),
            Kind::Op('⟨') => Some(match self.group('⟩')? {
                Node::List(',', items, _) => Node::List('⟨', items, '⟩'),
                _ => return None,
            }),
            Kind::Op('|') => {
                self.bars += 1;
                let inner = self.sum();
                self.bars -= 1;
                let inner = inner?;
                self.take('|').then(|| Node::Absolute(Box::new(inner)))
            }
            Kind::Op(_) => None,
        }
    }

    fn bracket(&mut self, open: char) -> Option<Node> {
        let bars = std::mem::take(&mut self.bars);
        let inner = self.pair().or_else(|| self.list());
        self.bars = bars;
        let inner = inner?;
        let close = self.op().filter(|op| matches!(op, ')' | ']'))?;
        self.at += 1;
        Some(match inner {
            Node::List(',', items, _) => Node::List(open, items, close),
            // One in square brackets is as good as one in round ones.
            _ if (open == '(') != (close == ')') => return None,
            only => only,
        })
    }

    /// `1,234` where it stands alone in brackets: two numbers, not one in thousands.
    fn pair(&mut self) -> Option<Node> {
        let [Token { kind: Kind::Number(text), comma: true, .. }, close, ..] = &self.tokens[self.at..] else {
            return None;
        };
        let closes = matches!(close.kind, Kind::Op(')' | ']'));
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let (first, rest) = text.split_at((text.len() - 1) % 3 + 1);
        let groups =
            std::iter::once(first).chain((0..rest.len() / 3).map(|group| &rest[3 * group..3 * group + 3]));
        let items = groups.map(|group| number::parse(group).map(Node::Number)).collect::<Option<Vec<_>>>()?;
        (closes && digits).then(|| {
            self.at += 1;
            Node::List(',', items, ',')
        })
    }

    fn number(&mut self, text: &str, at: usize) -> Option<Node> {
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

    fn variable(&mut self, letter: String) -> Node {
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

    fn command(&mut self, name: &str) -> Option<Node> {
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
            _ if name.starts_with("begin ") => self.matrix(&name["begin ".len()..].to_string()),
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
        let power = if self.take('^') { Some(self.script()?) } else { None };
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
                return Some(Node::Matrix(rows));
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

fn product(mut factors: Vec<Node>) -> Node {
    if factors.len() == 1 { factors.remove(0) } else { Node::Product(factors) }
}
