//! The form that a question asks for, where its gold answer has it: lowest terms, factors, primes, a mantissa, an order. Whatever is not in it
//! is what was asked, not what was to be made of it, however it is written.

use super::Side;
use super::expression::{Node, work};
use super::tokens::Kind;
use super::value;
use super::wants::Want;
use crate::rationale::number::Number;

/// Whether `own` keeps the forms that were asked for and that `gold` has.
pub fn keeps(wants: &[Want], gold: &Side, own: &Side) -> bool {
    let asks = |want: Want| wants.contains(&want);
    let (node, answer) = (unsigned(&gold.said.node), unsigned(&own.said.node));
    let lowest = asks(Want::Simplest) || asks(Want::Fraction) || asks(Want::Mixed);
    let fraction = is_mixed(&gold.tokens) || matches!(node, Node::Quotient(..)) && node.literal().is_some();
    let share = answer.any(&|part| matches!(part, Node::Percent(_)));
    let kept = [
        !asks(Want::Order) || in_order(node, answer),
        !lowest || !simple(node) || (simple(answer) && reduced(&own.tokens)),
        !(lowest && fraction && share),
        !asks(Want::Simplest) || answer.work() & !node.work() & work::SIGN == 0,
        !((asks(Want::Fraction) || asks(Want::Mixed)) && fraction && is_decimal(own)),
        !(asks(Want::Mixed) && is_mixed(&gold.tokens)) || is_mixed(&own.tokens) || !has_digits(&own.tokens),
        !(asks(Want::Decimal) && matches!(node, Node::Number(_)))
            || (matches!(answer, Node::Number(_)) && !is_mixed(&own.tokens)),
        !asks(Want::Percent) || as_percent(node, answer),
        !(asks(Want::Scientific) && is_scientific(&gold.tokens)) || is_scientific(&own.tokens),
        !asks(Want::Form) || asks(Want::Value) || !of_primes(node) || of_primes(answer),
        !asks(Want::Power) || base(node).is_none() || base(node) == base(answer),
        !asks(Want::Factors) || factored(node, answer),
    ];
    kept.into_iter().all(|kept| kept)
}

fn unsigned(node: &Node) -> &Node {
    match node {
        Node::Negative(inner) | Node::Degrees(inner) => inner,
        Node::List('⦃', parts, _) if parts.len() == 1 => &parts[0],
        other => other,
    }
}

fn in_order(gold: &Node, answer: &Node) -> bool {
    match (gold, answer) {
        (Node::List(',' | '⦃', golds, _), Node::List(',' | '⦃', answers, _)) => {
            golds.len() == answers.len()
                && golds.iter().zip(answers).all(|(gold, own)| value::equal(gold, own))
        }
        _ => true,
    }
}

/// How far divisors are looked for.
const FAR: i128 = 10_000;

/// Whether no fraction in it can be reduced, and nothing be taken from under a root.
pub fn simple(node: &Node) -> bool {
    let whole = |node: &Node| node.literal().filter(|number| number.whole()).map(Number::numerator);
    !node.any(&|part| match part {
        Node::Quotient(above, below) => match (whole(above), whole(below)) {
            (Some(above), Some(below)) => divisor(above, below) > 1,
            _ => false,
        },
        Node::Root(inner, index) => match (inner.literal(), whole(index)) {
            (Some(inner), Some(index)) => !inner.whole() || has_power(inner.numerator(), index),
            _ => false,
        },
        _ => false,
    })
}

fn divisor(a: i128, b: i128) -> u128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Whether a whole number above 1, raised so often, divides it.
fn has_power(number: i128, index: i128) -> bool {
    let Ok(index) = u32::try_from(index) else { return false };
    (2..=FAR)
        .map_while(|factor| factor.checked_pow(index).filter(|power| *power <= number.saturating_abs()))
        .any(|power| number % power == 0)
}

fn is_prime(number: Number) -> bool {
    let number = number.numerator();
    let small = |factor: &i128| *factor <= FAR && factor * factor <= number;
    number > 1 && (2..).take_while(small).all(|factor| number % factor != 0)
}

/// Whether it is several prime numbers, multiplied, or a power of one.
fn of_primes(node: &Node) -> bool {
    let one = |node: &Node| match node {
        Node::Number(number) => number.whole() && is_prime(*number),
        Node::Power(base, exponent) => {
            matches!(**base, Node::Number(number) if number.whole() && is_prime(number))
                && matches!(**exponent, Node::Number(number) if number.whole())
        }
        _ => false,
    };
    match node {
        Node::Product(parts) => parts.len() <= 64 && parts.iter().all(one),
        Node::Power(..) => one(node),
        _ => false,
    }
}

/// The number of which it is a power.
fn base(node: &Node) -> Option<&Node> {
    match node {
        Node::Power(base, _) if base.literal().is_some() => Some(base),
        _ => None,
    }
}

/// How many factors with a variable it has.
fn factors(node: &Node) -> usize {
    match node {
        Node::Product(parts) => parts.iter().map(factors).sum(),
        Node::Negative(inner) => factors(inner),
        Node::Quotient(above, below) if !below.varies() => factors(above),
        Node::Power(base, exponent) => {
            let times = exponent.literal().filter(|times| times.whole()).map_or(1, Number::numerator);
            factors(base) * usize::try_from(times.clamp(1, 64)).unwrap_or(1)
        }
        other => usize::from(other.varies()),
    }
}

/// Whether the answer is taken apart as far as the gold answer is.
fn factored(gold: &Node, answer: &Node) -> bool {
    let common = |node: &Node| node.any(&|part| matches!(part, Node::Sum(_)) && part.content() > 1);
    factors(gold) < 2 || (factors(answer) >= factors(gold) && (common(gold) || !common(answer)))
}

fn as_percent(gold: &Node, answer: &Node) -> bool {
    match gold {
        Node::Percent(share) => matches!(answer, Node::Percent(_)) || answer.literal() == share.literal(),
        _ => true,
    }
}

/// A number with digits behind the point.
fn is_decimal(side: &Side) -> bool {
    let point = |kind: &Kind| matches!(kind, Kind::Number(text) if text.contains(['.', 'e']));
    let comma = matches!(unsigned(&side.said.node), Node::Number(number) if !number.whole())
        && side.tokens.contains(&Kind::Op(','));
    comma || side.tokens.iter().any(point)
}

fn has_digits(kinds: &[Kind]) -> bool {
    kinds.iter().any(|kind| matches!(kind, Kind::Number(_)))
}

/// The fraction of whole numbers that is written behind a whole number: `3 1/2`, `3\\frac12`, `3 and 1/2`.
fn part_of_mixed(kinds: &[Kind]) -> Option<(&str, &str)> {
    let kinds: Vec<&Kind> = kinds.iter().filter(|kind| **kind != Kind::Word("and".into())).collect();
    (0..kinds.len()).find_map(|at| match &kinds[at..] {
        [Kind::Number(_), Kind::Number(above), Kind::Op('/'), Kind::Number(below), ..] => {
            Some((above.as_str(), below.as_str()))
        }
        [Kind::Number(_), Kind::Command(name), Kind::Number(above), Kind::Number(below), ..]
            if name == "frac" =>
        {
            Some((above.as_str(), below.as_str()))
        }
        [Kind::Number(_), Kind::Command(name), Kind::Number(digits), ..]
            if name == "frac" && digits.len() == 2 =>
        {
            Some(digits.split_at(1))
        }
        _ => None,
    })
}

/// Whether a number is written with a whole one before a fraction.
pub fn is_mixed(kinds: &[Kind]) -> bool {
    part_of_mixed(kinds).is_some()
}

/// Whether the fraction behind a whole number cannot be reduced.
fn reduced(kinds: &[Kind]) -> bool {
    let whole = |text: &str| text.parse::<i128>().ok();
    part_of_mixed(kinds)
        .and_then(|(above, below)| whole(above).zip(whole(below)))
        .is_none_or(|(above, below)| divisor(above, below) == 1)
}

/// Whether it is a number from 1 to 10 and a power of ten.
pub fn is_scientific(kinds: &[Kind]) -> bool {
    let kinds = match kinds {
        [Kind::Op('-' | '+'), rest @ ..] => rest,
        rest => rest,
    };
    let mantissa = |text: &str| text.parse::<f64>().is_ok_and(|value| (1.0..10.0).contains(&value));
    match kinds {
        [Kind::Number(text), Kind::Op('*'), Kind::Number(ten), Kind::Op('^'), ..] => {
            ten == "10" && mantissa(text)
        }
        [Kind::Number(text), ..] => text.split_once('e').is_some_and(|(text, _)| mantissa(text)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Equality;

    #[test]
    fn the_form_that_was_asked_for_is_kept() {
        let right = |question: &str, gold: &str, answer: &str| {
            Equality::of(Some(gold), &[]).asked(question).same(gold, answer)
        };
        for (question, gold, rights, wrongs) in [
            (
                "Write 0.35 as a fraction.",
                "\\frac{7}{20}",
                &["7/20", "0.35 = 7/20", "\\dfrac{7}{20}"][..],
                &["0.35", "+0.35", "0,35", "3.5e-1", "35\\%", "35/100", "14/40"][..],
            ),
            (
                "Factor $3x^2+6x$.",
                "3x(x+2)",
                &["3x(2+x)", "3(x+2)x", "3x(x + 2) = 3x^2+6x"],
                &["3(x^2+2x)", "x(3x+6)", "6x+3x^2", "1(3x^2+6x)", "(3x^2+6x)^1"],
            ),
            (
                "Write 24 as a product of primes.",
                "2^3 \\cdot 3",
                &["3 \\cdot 2^3", "2*2*2*3"],
                &["4 \\cdot 6", "24"],
            ),
            ("Write 1024 as a power of 2.", "2^{10}", &["2^10"], &["4^5", "32^2", "1024"]),
            (
                "Simplify $\\sqrt{180}$.",
                "6\\sqrt{5}",
                &["6√5"],
                &["\\sqrt{720}/2", "2\\sqrt{45}", "1\\sqrt{180}"],
            ),
            (
                "Write 1200 in standard form.",
                "1.2 \\times 10^3",
                &["1.2e3"],
                &["12 \\times 10^2", "1200", "12 hundred"],
            ),
            (
                "Write 25/2 as a mixed number.",
                "12 \\frac12",
                &["12 1/2", "12½", "12 and 1/2"],
                &["50/4", "25/(2)", "12.5", "12 2/4", "12\\frac24"],
            ),
            ("Sort 9, 3, 7.", "3, 7, 9", &["3; 7; 9", "3, 7 and 9"], &["7, 3, 9", "9; 3; 7", "9, 7, 3"]),
            ("List A, B, C in order of size.", "B, C, A", &["B, C, A"], &["A, B, C"]),
            // What the question has and the gold answer is made of says it, too.
            ("Cancel 84/144 down.", "7/12", &["\\frac{7}{12}"], &["84/144", "14/24"]),
            ("Give 9, 3, 7 from low to high.", "3, 7, 9", &["3; 7; 9"], &["7, 3, 9", "9, 3, 7"]),
            ("Give 9, 3, 7 in any order.", "3, 7, 9", &["3; 7; 9", "7, 3, 9"], &["7, 3"]),
            ("Write 7/20 as a decimal.", "0.35", &["0.350"], &["14/40", "35%"]),
        ] {
            for answer in rights {
                assert!(right(question, gold, answer), "{answer} to {question}");
            }
            for answer in wrongs {
                assert!(!right(question, gold, answer), "{answer} to {question}");
            }
        }
    }
}
