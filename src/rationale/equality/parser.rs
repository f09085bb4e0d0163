//! Tokens to [`Node`]s: a recursive descent over lists, relations, sums, products and powers.

use super::expression::Node;
use super::tokens::{Kind, Token};
use crate::rationale::number::{self, Number};

/// How deep brackets may stand in each other; deeper text is no answer.
const DEPTH: usize = 40;

/// The whole of `tokens` as one answer; `None` where they are no mathematics, or more than one answer without a separator.
pub fn parse(tokens: &[Token]) -> Option<Node> {
    let mut parser = Parser { tokens, at: 0, depth: 0, bars: 0 };
    let node = parser.list()?;
    (parser.at == tokens.len()).then_some(node)
}

pub struct Parser<'a> {
    pub tokens: &'a [Token],
    pub at: usize,
    depth: usize,
    bars: usize,
}

impl Parser<'_> {
    pub fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    pub fn op(&self) -> Option<char> {
        match self.peek()? {
            Kind::Op(op) => Some(*op),
            _ => None,
        }
    }

    pub fn take(&mut self, op: char) -> bool {
        let found = self.op() == Some(op);
        self.at += usize::from(found);
        found
    }

    fn list(&mut self) -> Option<Node> {
        let mut items = vec![self.relation()?];
        if self.op() == Some('∨') {
            while self.take('∨') {
                items.push(self.relation()?);
            }
            return Some(Node::List('∪', items, '∪'));
        }
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
        let mut parts = vec![self.difference()?];
        while self.take('∪') {
            parts.push(self.difference()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::List('∪', parts, '∪') })
    }

    /// One set without another.
    fn difference(&mut self) -> Option<Node> {
        let all = self.ratio()?;
        Some(if self.take('∖') { Node::List('∖', vec![all, self.ratio()?], '∖') } else { all })
    }

    fn ratio(&mut self) -> Option<Node> {
        let mut parts = vec![self.sum()?];
        while self.take(':') {
            parts.push(self.sum()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::List(':', parts, ':') })
    }

    pub fn sum(&mut self) -> Option<Node> {
        let mut terms = Vec::new();
        loop {
            let sign = self.op().filter(|op| matches!(op, '+' | '-' | '±' | '∓'));
            if sign.is_none() && !terms.is_empty() {
                break;
            }
            self.at += usize::from(sign.is_some());
            if self.op().is_some_and(|op| matches!(op, '+' | '-' | '±' | '∓')) {
                return None;
            }
            let term = self.product()?;
            terms.push(match sign {
                Some('-') => Node::Negative(Box::new(term)),
                Some('±') => Node::PlusMinus(Box::new(term)),
                Some('∓') => Node::PlusMinus(Box::new(Node::Negative(Box::new(term)))),
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
                match scaled(&factors, &factor) {
                    Some(number) => factors[0] = number,
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

    pub fn power(&mut self) -> Option<Node> {
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
    pub fn script(&mut self) -> Option<Node> {
        if self.take('-') {
            return Some(Node::Negative(Box::new(self.atom()?)));
        }
        self.take('+');
        self.atom()
    }

    pub fn group(&mut self, close: char) -> Option<Node> {
        let bars = std::mem::take(&mut self.bars);
        let node = self.list();
        self.bars = bars;
        let node = node?;
        self.take(close).then_some(node)
    }

    pub fn atom(&mut self) -> Option<Node> {
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

    pub fn bracket(&mut self, open: char) -> Option<Node> {
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
}

/// a × 10^n as one number, with all its digits where it is too long to compute with.
fn scaled(factors: &[Node], factor: &Node) -> Option<Node> {
    let ([Node::Number(left)], Node::Power(base, exponent)) = (factors, factor) else { return None };
    if **base != Node::Number(Number::from(10)) {
        return None;
    }
    if let Some(number) = factor.literal().and_then(|power| left.times(power)) {
        return Some(Node::Number(number));
    }
    let power = exponent.literal().filter(|power| power.whole() && power.numerator() > 1)?.numerator();
    let places = (0..=12).find(|places| 10_i128.pow(*places) % left.denominator() == 0)?;
    let digits = left.times(Number::from(10_i128.pow(places)))?.numerator();
    Some(Node::Long(format!("{digits}e{}", power.checked_sub(places.into())?)))
}

pub fn product(mut factors: Vec<Node>) -> Node {
    if factors.len() == 1 { factors.remove(0) } else { Node::Product(factors) }
}
