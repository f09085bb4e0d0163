//! Whether two [`Node`]s have one value: exactly where both are rational, else at sample points, to eleven digits.

use super::big::whole;
use super::complex::Complex;
use super::expression::{Node, work};
use super::functions::{call, power, real_root, sound_sum};
use super::reals;
use super::relation::flipped;
use crate::rationale::number::Number;

/// Whether `answer` is the value `gold`, worked out as far.
///
/// A number is compared exactly. Elsewhere both are computed at four points, and differ if they do at one of them. An operation that the gold answer does
/// not leave to be done is not left to be done by an answer: `3 \cdot 4` is no answer to "what is 3 · 4?". What cannot be computed
/// (sums of parts that differ by nine digits, cancellation) equals what is written alike only.
pub fn equal(gold: &Node, answer: &Node) -> bool {
    if let Some(same) = reals::same(gold, answer) {
        return same;
    }
    match (gold, answer) {
        (Node::Percent(gold), Node::Percent(answer)) => equal(gold, answer),
        // 50 % is written as 50 and as 0.5.
        (Node::Percent(share), other) | (other, Node::Percent(share)) if other.scalar() => {
            let hundredth = |number: Number| number.over(Number::from(100));
            match (share.literal(), other.literal()) {
                (Some(share), Some(other)) => share == other || hundredth(share) == Some(other),
                _ => equal(share, other),
            }
        }
        (Node::Named(name, gold), Node::Named(own, answer)) => name == own && equal(gold, answer),
        (Node::Degrees(gold), Node::Degrees(answer)) => equal(gold, answer),
        // A multiple of π is an angle in radians, and none in degrees.
        (Node::Degrees(one), other) | (other, Node::Degrees(one)) if of_pi(one) || of_pi(other) => false,
        (Node::Degrees(gold), answer) => equal(gold, answer),
        (gold, Node::Degrees(answer)) => equal(gold, answer),
        (Node::List(open, golds, close), Node::List(own_open, answers, own_close)) => {
            let bare = |open: char| open == ',' || open == '⦃' || open == '∪';
            let union = |open: char| open == '∪';
            if *open == ',' && *own_open == '(' && *own_close == ')' {
                coordinates(golds).is_some_and(|golds| {
                    golds.len() == answers.len()
                        && golds.iter().zip(answers).all(|(gold, own)| equal(gold, own))
                })
            } else if bare(*open) {
                bare(*own_open)
                    && union(*open) == union(*own_open)
                    && unordered(golds, answers, *open != ',', *own_open != ',')
            } else {
                ((open, close) == (own_open, own_close) && pairwise(golds, answers.iter()))
                    || (*own_open == ','
                        && (*open, *close) == ('(', ')')
                        && coordinates(answers).is_some_and(|own| pairwise(golds, own.into_iter())))
            }
        }
        (Node::List('⦃', golds, _), answer) if golds.len() == 1 && answer.scalar() => {
            equal(&golds[0], answer)
        }
        (gold, Node::List('⦃', answers, _)) if answers.len() == 1 && gold.scalar() => {
            equal(gold, &answers[0])
        }
        (Node::Matrix(golds), Node::Matrix(answers)) => {
            golds.len() == answers.len()
                && golds.iter().zip(answers).all(|(gold, answer)| pairwise(gold, answer.iter()))
        }
        (Node::Chain(golds, relations), Node::Chain(answers, own)) => chains(golds, relations, answers, own),
        _ if gold.scalar() && answer.scalar() => scalars(gold, answer),
        _ => false,
    }
}

/// Whether each answer is the gold one in its place.
fn pairwise<'a>(golds: &[Node], answers: impl ExactSizeIterator<Item = &'a Node>) -> bool {
    golds.len() == answers.len() && golds.iter().zip(answers).all(|(gold, answer)| equal(gold, answer))
}

/// The coordinates that `x = 2, y = 3` names: variables that follow each other in the alphabet, in their order.
fn coordinates(items: &[Node]) -> Option<Vec<&Node>> {
    let mut named = items
        .iter()
        .map(|item| match item {
            Node::Named(name, value) if name.len() == 1 => Some((name.as_bytes()[0], &**value)),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    named.sort_by_key(|(name, _)| *name);
    let first = named.first()?.0;
    let follow =
        named.iter().zip(first..).all(|((name, _), place)| *name == place) && matches!(first, b'x' | b'a');
    follow.then(|| named.into_iter().map(|(_, value)| value).collect())
}

fn of_pi(node: &Node) -> bool {
    node.any(&|part| *part == Node::Constant('π'))
}

/// Whether each gold part is an answer's, in any order; of a set what is said again counts once.
fn unordered(golds: &[Node], answers: &[Node], set: bool, own_set: bool) -> bool {
    let distinct = |nodes: &[Node], set: bool| {
        let mut kept: Vec<Node> = Vec::new();
        for node in nodes {
            if !set || !kept.iter().any(|known| equal(known, node)) {
                kept.push(node.clone());
            }
        }
        kept
    };
    if golds.len() > 64 || answers.len() > 64 {
        return golds == answers;
    }
    let (golds, mut answers) = (distinct(golds, set), distinct(answers, set || own_set));
    golds.len() == answers.len()
        && golds.iter().all(|gold| {
            answers.iter().position(|answer| equal(gold, answer)).map(|at| answers.swap_remove(at)).is_some()
        })
}

/// Chains of one length and the same relations, read forwards or backwards. An equation is its difference, up to a factor.
fn chains(golds: &[Node], relations: &[char], answers: &[Node], own: &[char]) -> bool {
    if let ([left, right], ['='], [own_left, own_right], ['=']) = (golds, relations, answers, own) {
        let difference = |left: &Node, right: &Node| {
            Node::Sum(vec![left.clone(), Node::Negative(Box::new(right.clone()))])
        };
        // Terms change sides, so a sign may be a factor: 3x + (-1)y = 1.
        let free = work::SUM | work::DIVISION | work::SIGN;
        let work = |left: &Node, right: &Node| (left.work() | right.work()) & !free;
        let (gold, own) = (work(left, right), work(own_left, own_right));
        let (gold_all, all) = (difference(left, right), difference(own_left, own_right));
        return own & !gold == 0
            && gold & !own & work::FACTORS == 0
            && !oftener(&gold_all, &all)
            && proportional(&gold_all, &all);
    }
    let backwards = own.iter().rev().map(|relation| flipped(*relation));
    (relations == own && pairwise(golds, answers.iter()))
        || (relations.iter().copied().eq(backwards) && pairwise(golds, answers.iter().rev()))
}

fn scalars(gold: &Node, answer: &Node) -> bool {
    let infinity = |node: &Node| match node {
        Node::Constant('∞') => Some(true),
        Node::Negative(inner) if **inner == Node::Constant('∞') => Some(false),
        _ => None,
    };
    if infinity(gold).is_some() || infinity(answer).is_some() {
        return infinity(gold) == infinity(answer);
    }
    let unfinished = answer.work() & !gold.work();
    // A radical may be written with other numbers under it.
    let spared =
        if gold.literal().is_none() && gold.any(&|node| matches!(node, Node::Root(..) | Node::Power(..))) {
            work::ROOT
        } else {
            0
        };
    if unfinished & !spared != 0
        || (gold.work() & !answer.work()) & work::FACTORS != 0
        || oftener(gold, answer)
    {
        return false;
    }
    if let (Some(gold), Some(answer)) = (gold.literal(), answer.literal()) {
        return gold == answer;
    }
    if gold == answer {
        return true;
    }
    if let (Some(gold), Some(answer)) = (whole(gold), whole(answer)) {
        return gold == answer;
    }
    if long_decimal(answer) && !long_decimal(gold) {
        return false;
    }
    (0..POINTS).all(|point| match (compute(gold, point), compute(answer, point)) {
        (Some(Value::Exact(gold)), Some(Value::Exact(answer))) => gold == answer,
        (Some(gold), Some(answer)) => {
            short(&gold) && short(&answer) && near(gold.complex(), answer.complex())
        }
        _ => false,
    })
}

/// Whether the answer has a variable, a constant or a root oftener than the gold answer: something is left to be put together.
fn oftener(gold: &Node, answer: &Node) -> bool {
    let golds = gold.occurrences();
    answer.occurrences().iter().any(|(name, count)| golds.get(name).copied().unwrap_or(0) < *count)
}

/// Whether a number may be a value that is not worked out in fractions: no fraction and no decimal is a radical, however many digits it has.
fn short(value: &Value) -> bool {
    match value {
        Value::Exact(number) => number.denominator() <= 1000 && number.to_f64() != 0.0,
        Value::Near(_) => true,
    }
}

/// Whether it has a decimal of many digits.
fn long_decimal(node: &Node) -> bool {
    node.any(&|part| matches!(part, Node::Number(number) if number.denominator() >= 1_000_000))
}

fn proportional(gold: &Node, answer: &Node) -> bool {
    let mut factor: Option<Complex> = None;
    (0..POINTS).all(|point| {
        let (Some(gold), Some(answer)) = (compute(gold, point), compute(answer, point)) else { return false };
        let (gold, answer) = (gold.complex(), answer.complex());
        if gold.norm() < 1e-6 || answer.norm() < 1e-6 {
            return false;
        }
        let ratio = gold.over(answer);
        near(*factor.get_or_insert(ratio), ratio)
    })
}

const POINTS: usize = 4;

fn near(a: Complex, b: Complex) -> bool {
    a.plus(b.negated()).norm() <= 1e-11 * a.norm().max(b.norm())
}

/// A value at a sample point.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    Exact(Number),
    Near(Complex),
}

impl Value {
    pub fn complex(self) -> Complex {
        match self {
            Value::Exact(number) => Complex(number.to_f64(), 0.0),
            Value::Near(value) => value,
        }
    }

    fn both(
        self,
        other: Self,
        exact: impl Fn(Number, Number) -> Option<Number>,
        near: impl Fn(Complex, Complex) -> Option<Complex>,
    ) -> Option<Self> {
        if let (Value::Exact(a), Value::Exact(b)) = (self, other) {
            return exact(a, b).map(Value::Exact);
        }
        near(self.complex(), other.complex()).filter(|value| value.norm().is_finite()).map(Value::Near)
    }
}

/// The value at one of the points where variables have fixed values; `None` where it has none, is too uncertain, or beyond all numbers.
fn compute(node: &Node, point: usize) -> Option<Value> {
    worked_out(node, point).filter(|value| {
        let Complex(real, imaginary) = value.complex();
        real.is_finite() && imaginary.is_finite()
    })
}

fn worked_out(node: &Node, point: usize) -> Option<Value> {
    let of = |node: &Node| compute(node, point);
    match node {
        Node::Number(number) => Some(Value::Exact(*number)),
        Node::Variable(name) => Some(Value::Near(sample(name, point))),
        Node::Constant('π') => Some(Value::Near(Complex(std::f64::consts::PI, 0.0))),
        Node::Constant('e') => Some(Value::Near(Complex(std::f64::consts::E, 0.0))),
        Node::Constant('i') => Some(Value::Near(Complex(0.0, 1.0))),
        Node::Sum(parts) => {
            let mut parts = parts.iter();
            let first = of(parts.next()?)?;
            parts.try_fold(first, |sum, part| sum.both(of(part)?, Number::plus, sound_sum))
        }
        Node::Negative(inner) => {
            of(inner)?.both(Value::Exact(Number::from(-1)), Number::times, |a, b| Some(a.times(b)))
        }
        Node::Product(parts) => parts.iter().try_fold(Value::Exact(Number::from(1)), |all, part| {
            all.both(of(part)?, Number::times, |a, b| Some(a.times(b)))
        }),
        Node::Quotient(above, below) => {
            of(above)?.both(of(below)?, Number::over, |a, b| (b.norm() > 0.0).then(|| a.over(b)))
        }
        Node::Power(base, exponent) => of(base)?
            .both(of(exponent)?, |a, b| a.power(b), power)
            .or_else(|| root_of(of(base)?, of(exponent)?)),
        Node::Root(inner, index) => match (of(inner)?, of(index)?) {
            (Value::Exact(inner), Value::Exact(index)) if index.whole() => match inner.root(index) {
                Some(root) => Some(Value::Exact(root)),
                None => real_root(inner.to_f64(), index.to_f64()).map(Value::Near),
            },
            (inner, index) => {
                power(inner.complex(), Complex(1.0, 0.0).over(index.complex())).map(Value::Near)
            }
        },
        Node::Factorial(inner) => match of(inner)? {
            Value::Exact(number) => number.factorial().map(Value::Exact),
            Value::Near(_) => None,
        },
        Node::Absolute(inner) => match of(inner)? {
            Value::Exact(number) => Some(Value::Exact(number.absolute())),
            Value::Near(value) => Some(Value::Near(Complex(value.norm(), 0.0))),
        },
        Node::Percent(inner) => {
            of(inner)?.both(Value::Exact(Number::from(100)), Number::over, |a, b| Some(a.over(b)))
        }
        Node::Degrees(inner) => {
            Some(Value::Near(of(inner)?.complex().times(Complex(std::f64::consts::PI / 180.0, 0.0))))
        }
        Node::Call(name, arguments) => {
            let values = arguments.iter().map(of).collect::<Option<Vec<_>>>()?;
            call(name, &values)
        }
        _ => None,
    }
}

/// A rational power that is no rational number.
fn root_of(base: Value, exponent: Value) -> Option<Value> {
    match (base, exponent) {
        (Value::Exact(base), Value::Exact(exponent)) if !exponent.whole() && base.to_f64() > 0.0 => {
            Some(Value::Near(Complex(base.to_f64().powf(exponent.to_f64()), 0.0)))
        }
        _ => None,
    }
}

/// What a variable stands for at a point: two real numbers of either sign and complex ones, by its name.
fn sample(name: &str, point: usize) -> Complex {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ (point as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 32;
    let share = |bits: u64| (bits & 0xffff_ffff) as f64 / 4_294_967_296.0;
    let size = 0.6 + 1.7 * share(hash);
    match point {
        0 => Complex(size, 0.0),
        1 => Complex(-size, 0.0),
        _ => Complex(size, (share(hash >> 32) - 0.5) * 2.0),
    }
}

/// Whether both are numbers that are farther apart than rounding puts them.
pub fn contradict(a: &Node, b: &Node) -> bool {
    match (compute(a, 0), compute(b, 0)) {
        (Some(a), Some(b)) => {
            let (a, b) = (a.complex(), b.complex());
            a.plus(b.negated()).norm() > 0.01 * a.norm().max(b.norm())
        }
        _ => false,
    }
}

/// Whether both have one value at each of the points, whatever variables are: an identity and no equation.
pub fn identical(a: &Node, b: &Node) -> bool {
    (0..POINTS).all(|point| match (compute(a, point), compute(b, point)) {
        (Some(a), Some(b)) => near(a.complex(), b.complex()),
        _ => false,
    })
}

/// Whether `rounded` is a decimal that `exact` rounds to.
pub fn rounds_to(exact: &Node, rounded: &Node) -> bool {
    let Some(places) = rounded.literal().and_then(places) else { return false };
    match (compute(exact, 0), compute(rounded, 0)) {
        (Some(exact), Some(rounded)) => {
            let (exact, rounded) = (exact.complex(), rounded.complex());
            exact.plus(rounded.negated()).norm() <= 0.5000001 * 0.1_f64.powi(places)
        }
        _ => false,
    }
}

/// Decimal places of a number; `None` of a fraction that is no decimal.
fn places(number: Number) -> Option<i32> {
    (0..=12)
        .find(|places| 10_i128.pow(*places) % number.denominator() == 0)
        .and_then(|places| i32::try_from(places).ok())
}

/// The number that it comes to, where it has no variable and is real.
pub fn real(node: &Node) -> Option<f64> {
    let value = compute(node, 0).filter(|_| node.scalar() && !node.varies())?.complex();
    (value.1 == 0.0).then_some(value.0)
}

/// Whether both come to one number when they are worked out.
pub fn same_number(a: &Node, b: &Node) -> bool {
    match (compute(a, 0), compute(b, 0)) {
        (Some(Value::Exact(a)), Some(Value::Exact(b))) => a == b,
        (Some(a), Some(b)) => near(a.complex(), b.complex()),
        _ => false,
    }
}
