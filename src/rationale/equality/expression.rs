//! What a mathematical answer is made of: expressions, lists, intervals, relations.

use crate::rationale::number::Number;
use std::collections::BTreeMap;

/// A part of an answer. Parts that are written alike are equal; whether they have one value says [`super::value`].
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A number as it is written, mixed ones and powers of ten included.
    Number(Number),
    /// A number of more digits than can be computed with.
    Long(String),
    /// A variable, with its index.
    Variable(String),
    /// π, e, i or ∞.
    Constant(char),
    /// a + b + …
    Sum(Vec<Node>),
    /// −a
    Negative(Box<Node>),
    /// a · b · …
    Product(Vec<Node>),
    /// a / b
    Quotient(Box<Node>, Box<Node>),
    /// a ^ b
    Power(Box<Node>, Box<Node>),
    /// The b-th root of a.
    Root(Box<Node>, Box<Node>),
    /// A function of its arguments.
    Call(String, Vec<Node>),
    /// a!
    Factorial(Box<Node>),
    /// |a|
    Absolute(Box<Node>),
    /// a %
    Percent(Box<Node>),
    /// a °
    Degrees(Box<Node>),
    /// ±a
    PlusMinus(Box<Node>),
    /// Digits in a base that is named.
    Based(String, Box<Node>),
    /// Several, between brackets: `(` tuple or open interval, `[`, `⦃` set, `∪` union, `∖` difference, `:` ratio, `,` bare.
    List(char, Vec<Node>, char),
    /// What a variable is, among several that are named: x = 2, y = 3.
    Named(String, Box<Node>),
    /// a < b ≤ c …
    Chain(Vec<Node>, Vec<char>),
    /// Rows of a matrix.
    Matrix(Vec<Vec<Node>>),
}

/// Work that an expression leaves to be done, as bits: what a gold answer does not leave, no answer may.
pub mod work {
    /// A sum or difference.
    pub const SUM: u32 = 1;
    /// Numbers that are multiplied.
    pub const NUMBERS: u32 = 2;
    /// A sum in brackets that is multiplied or raised.
    pub const BRACKETS: u32 = 4;
    /// Two such.
    pub const FACTORS: u32 = 8;
    /// A division of numbers that comes out whole, or of numbers that are no literals.
    pub const DIVISION: u32 = 16;
    /// A root.
    pub const ROOT: u32 = 32;
    /// A factorial or binomial.
    pub const COUNTING: u32 = 64;
    /// An absolute value.
    pub const ABSOLUTE: u32 = 128;
    /// A power of a number, unless of ten.
    pub const POWER: u32 = 256;
    /// Terms of a sum that can be added: 3x + 4x, 5 + 2.
    pub const LIKE: u32 = 512;
    /// A whole factor above and below a line, or nothing but 1 below it.
    pub const REDUCE: u32 = 1024;
    /// A power of a product, a power, a root or a quotient, a sign before a sign, a fraction in a fraction, a part that changes nothing.
    pub const NESTED: u32 = 2048;
    /// A root, or i, below a line.
    pub const BELOW: u32 = 4096;
    /// The first of the functions.
    pub const FUNCTION: u32 = 8192;
    /// A factor of -1.
    pub const SIGN: u32 = 1 << 31;
}

impl Node {
    /// The parts one level below.
    pub fn parts(&self) -> Vec<&Node> {
        match self {
            Node::Number(_) | Node::Long(_) | Node::Variable(_) | Node::Constant(_) => vec![],
            Node::Sum(parts)
            | Node::Product(parts)
            | Node::Call(_, parts)
            | Node::List(_, parts, _)
            | Node::Chain(parts, _) => parts.iter().collect(),
            Node::Negative(a)
            | Node::Factorial(a)
            | Node::Absolute(a)
            | Node::Percent(a)
            | Node::Degrees(a)
            | Node::PlusMinus(a)
            | Node::Named(_, a)
            | Node::Based(_, a) => vec![a],
            Node::Quotient(a, b) | Node::Power(a, b) | Node::Root(a, b) => vec![a, b],
            Node::Matrix(rows) => rows.iter().flatten().collect(),
        }
    }

    /// Whether a part is so.
    pub fn any(&self, is: &dyn Fn(&Node) -> bool) -> bool {
        is(self) || self.parts().into_iter().any(|part| part.any(is))
    }

    /// Whether it has a variable.
    pub fn varies(&self) -> bool {
        self.any(&|node| matches!(node, Node::Variable(_)))
    }

    /// Whether it is a single value, not several and no relation.
    pub fn scalar(&self) -> bool {
        !self
            .any(&|node| matches!(node, Node::List(..) | Node::Named(..) | Node::Chain(..) | Node::Matrix(_)))
    }

    /// The number that it is written as, sign and percent included; no operation is carried out.
    pub fn literal(&self) -> Option<Number> {
        match self {
            Node::Number(number) => Some(*number),
            Node::Negative(inner) if !matches!(**inner, Node::Negative(_)) => {
                Some(inner.literal()?.negated())
            }
            Node::Percent(inner) | Node::Degrees(inner) => inner.literal(),
            Node::Quotient(above, below) => {
                let whole = |node: &Node| matches!(node, Node::Number(number) if number.whole());
                let signed = |node: &Node| matches!(node, Node::Negative(inner) if whole(inner));
                if !whole(below) || !(whole(above) || signed(above)) {
                    return None;
                }
                above.literal()?.over(below.literal()?).filter(|value| !value.whole())
            }
            Node::Power(base, exponent) if base.is_ten() => {
                let idle = |exponent: &Number| matches!(exponent.numerator(), 0 | 1);
                let exponent = exponent.literal().filter(|exponent| exponent.whole() && !idle(exponent))?;
                Number::from(10).power(exponent)
            }
            _ => None,
        }
    }

    /// The [`work`] that it leaves.
    pub fn work(&self) -> u32 {
        let below = self.parts().into_iter().fold(0, |all, part| all | part.work());
        let sum = |node: &Node| matches!(node, Node::Sum(_));
        let is_one = |node: &Node| *node == Node::Number(Number::from(1));
        let raised = |node: &Node| sum(node) || matches!(node, Node::Power(base, _) if sum(base));
        below
            | if self.idle() { work::NESTED } else { 0 }
            | match self {
                Node::Sum(parts) => {
                    let kinds: Vec<Option<String>> = parts.iter().map(Node::likeness).collect();
                    let alike =
                        (1..kinds.len()).any(|at| kinds[at].is_some() && kinds[..at].contains(&kinds[at]));
                    work::SUM | if alike { work::LIKE } else { 0 }
                }
                Node::Negative(inner) if matches!(**inner, Node::Negative(_)) => work::NESTED,
                Node::Product(parts) => {
                    let numbers = parts.iter().filter(|part| part.constant()).count();
                    let sums = parts.iter().filter(|part| raised(part)).count();
                    let numbers = if numbers > 1 { work::NUMBERS } else { 0 };
                    let factors = if sums > 1 { work::FACTORS } else { 0 };
                    let above = parts.iter().map(Node::content).fold(1, u64::saturating_mul);
                    let cancels = |part: &Node| match part {
                        Node::Quotient(_, below) => greatest_common_divisor(above, below.content()) > 1,
                        _ => false,
                    };
                    let reduce = if parts.iter().any(cancels) { work::REDUCE } else { 0 };
                    let negative = Node::Negative(Box::new(Node::Number(Number::from(1))));
                    let sign = if parts.contains(&negative) { work::SIGN } else { 0 };
                    // (x + 1)/2
                    let part = |part: &Node| matches!(part, Node::Quotient(above, below) if is_one(above) && below.is_large());
                    let divided = parts.len() == 2 && parts.iter().any(part) && parts.iter().any(sum);
                    numbers | reduce | sign | if sums > 0 && !divided { work::BRACKETS | factors } else { 0 }
                }
                Node::Power(base, _) if sum(base) && self.idle() => work::BRACKETS,
                Node::Power(base, _) if sum(base) => work::BRACKETS | work::FACTORS,
                Node::Power(base, exponent)
                    if self.literal().is_some() || base.is_ten() && exponent.is_large() =>
                {
                    0
                }
                Node::Power(base, exponent) if base.rational() && exponent.rational() => {
                    work::POWER | if matches!(**base, Node::Power(..)) { work::NESTED } else { 0 }
                }
                Node::Power(base, exponent) if **base == Node::Constant('i') && exponent.rational() => {
                    work::POWER
                }
                Node::Power(base, _)
                    if matches!(
                        **base,
                        Node::Product(_) | Node::Power(..) | Node::Quotient(..) | Node::Root(..)
                    ) =>
                {
                    work::NESTED
                }
                Node::Quotient(above, below) => {
                    let nested = |node: &Node| matches!(node, Node::Quotient(..) | Node::Negative(_));
                    let division = if above.rational() && below.rational() {
                        if self.literal().is_none() { work::DIVISION } else { 0 }
                    } else if above.content() != 1
                        && greatest_common_divisor(above.content(), below.content()) > 1
                        || below.literal() == Some(Number::from(1))
                    {
                        work::REDUCE
                    } else {
                        0
                    };
                    let root = |node: &Node| matches!(node, Node::Root(..) | Node::Constant('i'));
                    division
                        | if nested(below) || matches!(**above, Node::Quotient(..)) {
                            work::NESTED
                        } else {
                            0
                        }
                        | if below.any(&root) { work::BELOW } else { 0 }
                }
                Node::Root(..) => work::ROOT,
                Node::Factorial(_) => work::COUNTING,
                Node::Call(name, _) if name == "binom" => work::COUNTING,
                Node::Call(name, _) => {
                    let stem = name.split('_').next().unwrap_or(name);
                    let place = super::words::FUNCTIONS.iter().position(|known| *known == stem).unwrap_or(7);
                    work::FUNCTION << (place % 18)
                }
                Node::Absolute(_) => work::ABSOLUTE,
                _ => 0,
            }
    }

    /// It without its sign.
    fn unsigned(&self) -> &Node {
        match self {
            Node::Negative(inner) => inner,
            other => other,
        }
    }

    /// Whether it has a part that changes nothing: a factor of 1 or in per cent, a term of 0, an exponent of 1 or 0.
    fn idle(&self) -> bool {
        let is = |node: &Node, number: i128| *node == Node::Number(Number::from(number));
        match self {
            Node::Sum(parts) => parts.iter().any(|part| is(part.unsigned(), 0)),
            Node::Product(parts) => parts.iter().any(|part| is(part, 1) || matches!(part, Node::Percent(_))),
            Node::Power(_, exponent) => is(exponent, 0) || is(exponent, 1),
            _ => false,
        }
    }

    fn is_ten(&self) -> bool {
        *self == Node::Number(Number::from(10))
    }

    /// Whether it is a whole number above 1.
    fn is_large(&self) -> bool {
        self.literal().is_some_and(|number| number.whole() && number.numerator() > 1)
    }

    /// What terms of a sum have in common that can be added: all but their numbers. `None` of sums.
    fn likeness(&self) -> Option<String> {
        let mut factors = Vec::new();
        self.other_factors(&mut factors).then(|| {
            factors.sort_unstable();
            factors.join("·")
        })
    }

    /// Its factors but numbers, as they are written; whether it has no sum in it.
    fn other_factors(&self, factors: &mut Vec<String>) -> bool {
        match self {
            Node::Negative(inner) => inner.other_factors(factors),
            Node::Product(parts) => parts.iter().all(|part| part.other_factors(factors)),
            Node::Quotient(above, below) if below.constant() => above.other_factors(factors),
            Node::Sum(_) | Node::PlusMinus(_) => false,
            _ if self.constant() => true,
            _ => {
                factors.push(format!("{self:?}"));
                true
            }
        }
    }

    /// The greatest whole number that divides all its terms, as they are written.
    pub fn content(&self) -> u64 {
        match self {
            Node::Number(number) if number.whole() => number.to_f64().abs() as u64,
            Node::Negative(inner) => inner.content(),
            Node::Product(parts) => parts.iter().map(Node::content).fold(1, u64::saturating_mul),
            Node::Sum(parts) => parts.iter().map(Node::content).fold(0, greatest_common_divisor),
            _ => 1,
        }
    }

    /// How often each variable, constant and root stands in it.
    pub fn occurrences(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        self.count(&mut found);
        found
    }

    fn count(&self, found: &mut BTreeMap<String, usize>) {
        let name = match self {
            Node::Variable(name) => Some(name.clone()),
            Node::Constant(name) => Some(name.to_string()),
            Node::Root(_, index) => Some(format!("√{index:?}")),
            _ => None,
        };
        if let Some(name) = name {
            *found.entry(name).or_default() += 1;
        }
        self.parts().into_iter().for_each(|part| part.count(found));
    }

    /// A number or a power of one.
    fn constant(&self) -> bool {
        match self {
            Node::Number(_) | Node::Long(_) => true,
            Node::Power(base, exponent) => base.constant() && exponent.constant(),
            Node::Negative(inner) | Node::Percent(inner) => inner.constant(),
            Node::Quotient(above, below) => above.constant() && below.constant(),
            _ => false,
        }
    }

    /// Made of numbers and the four operations alone.
    fn rational(&self) -> bool {
        !self.any(&|node| {
            !matches!(
                node,
                Node::Number(_)
                    | Node::Long(_)
                    | Node::Sum(_)
                    | Node::Negative(_)
                    | Node::Product(_)
                    | Node::Quotient(..)
                    | Node::Power(..)
            )
        })
    }

    /// It with ± read as plus or as minus.
    pub fn signed(&self, plus: bool) -> Node {
        let all = |parts: &[Node]| parts.iter().map(|part| part.signed(plus)).collect::<Vec<_>>();
        let one = |part: &Node| Box::new(part.signed(plus));
        match self {
            Node::PlusMinus(inner) if plus => inner.signed(plus),
            // The other sign of ∓.
            Node::PlusMinus(inner) if matches!(**inner, Node::Negative(_)) => inner.parts()[0].signed(plus),
            Node::PlusMinus(inner) => Node::Negative(one(inner)),
            Node::Sum(parts) => Node::Sum(all(parts)),
            Node::Product(parts) => Node::Product(all(parts)),
            Node::Call(name, parts) => Node::Call(name.clone(), all(parts)),
            Node::List(open, parts, close) => Node::List(*open, all(parts), *close),
            Node::Chain(parts, relations) => Node::Chain(all(parts), relations.clone()),
            Node::Negative(inner) => Node::Negative(one(inner)),
            Node::Percent(inner) => Node::Percent(one(inner)),
            Node::Degrees(inner) => Node::Degrees(one(inner)),
            Node::Quotient(above, below) => Node::Quotient(one(above), one(below)),
            Node::Power(base, exponent) => Node::Power(one(base), one(exponent)),
            Node::Root(inner, index) => Node::Root(one(inner), one(index)),
            other => other.clone(),
        }
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
