//! One way of writing for what is written in many: whatever changes nothing is left out, and what may stand in any order stands in one.

use super::expression::Node;
use crate::rationale::number::Number;

/// `node` without factors and exponents of 1, terms of 0 and signs that cancel, its terms and factors in one order. No operation is carried out.
pub fn canonical(node: &Node) -> Node {
    let each = |parts: &[Node]| parts.iter().map(canonical).collect::<Vec<_>>();
    let one = |part: &Node| Box::new(canonical(part));
    match node {
        Node::Sum(_) => {
            let mut terms = Vec::new();
            added(node, &mut terms);
            joined(terms, 0, Node::Sum)
        }
        Node::Product(_) | Node::Negative(_) => {
            let mut factors = Vec::new();
            let negative = multiplied(node, &mut factors);
            let product = joined(factors, 1, Node::Product);
            if negative && !is(&product, 0) { Node::Negative(Box::new(product)) } else { product }
        }
        Node::Quotient(above, below) => {
            let ((above_sign, above), (sign, below)) =
                (unsigned(canonical(above)), unsigned(canonical(below)));
            let quotient =
                if is(&below, 1) { above } else { Node::Quotient(Box::new(above), Box::new(below)) };
            if above_sign == sign { quotient } else { Node::Negative(Box::new(quotient)) }
        }
        Node::Power(base, exponent) => match (canonical(base), canonical(exponent)) {
            (base, exponent) if is(&exponent, 1) => base,
            (base, exponent) => Node::Power(Box::new(base), Box::new(exponent)),
        },
        Node::Root(inner, index) => Node::Root(one(inner), one(index)),
        Node::Call(name, parts) => Node::Call(name.clone(), each(parts)),
        Node::List('⦃', parts, _) if parts.len() == 1 => canonical(&parts[0]),
        Node::List(open, parts, close) => Node::List(*open, each(parts), *close),
        Node::Chain(parts, relations) if relations.iter().all(|relation| *relation == '=') => {
            Node::Chain(sorted(each(parts)), relations.clone())
        }
        Node::Chain(parts, relations) => Node::Chain(each(parts), relations.clone()),
        Node::Matrix(rows) => Node::Matrix(rows.iter().map(|row| each(row)).collect()),
        Node::Factorial(inner) => Node::Factorial(one(inner)),
        Node::Absolute(inner) => Node::Absolute(one(inner)),
        Node::Percent(inner) if is(inner, 100) => Node::Number(Number::from(1)),
        Node::Percent(inner) => Node::Percent(one(inner)),
        Node::Degrees(inner) => Node::Degrees(one(inner)),
        Node::PlusMinus(inner) => Node::PlusMinus(one(inner)),
        Node::Named(name, inner) => Node::Named(name.clone(), one(inner)),
        Node::Number(_) | Node::Long(_) | Node::Variable(_) | Node::Constant(_) | Node::Based(..) => {
            node.clone()
        }
    }
}

fn is(node: &Node, number: i128) -> bool {
    *node == Node::Number(Number::from(number))
}

/// Whether it has a sign, and it without.
fn unsigned(node: Node) -> (bool, Node) {
    match node {
        Node::Negative(inner) => (true, *inner),
        other => (false, other),
    }
}

/// The terms of a sum and of those in it.
fn added(node: &Node, terms: &mut Vec<Node>) {
    match node {
        Node::Sum(parts) => parts.iter().for_each(|part| added(part, terms)),
        other => match canonical(other) {
            Node::Sum(parts) => terms.extend(parts),
            term => terms.push(term),
        },
    }
}

/// The factors of a product and of those in it, signs left out; whether the signs come to a minus.
fn multiplied(node: &Node, factors: &mut Vec<Node>) -> bool {
    match node {
        Node::Negative(inner) => !multiplied(inner, factors),
        Node::Product(parts) => parts.iter().fold(false, |sign, part| sign ^ multiplied(part, factors)),
        other => {
            let (sign, factor) = unsigned(canonical(other));
            match factor {
                Node::Product(parts) => factors.extend(parts),
                factor => factors.push(factor),
            }
            sign
        }
    }
}

/// The parts but for the `idle` number that changes nothing: one of them by itself, several in their order.
fn joined(mut parts: Vec<Node>, idle: i128, join: impl Fn(Vec<Node>) -> Node) -> Node {
    parts.retain(|part| !is(part, idle));
    match parts.len() {
        0 => Node::Number(Number::from(idle)),
        1 => parts.remove(0),
        _ => join(sorted(parts)),
    }
}

fn sorted(mut parts: Vec<Node>) -> Vec<Node> {
    parts.sort_by_cached_key(|part| format!("{part:?}"));
    parts
}

#[cfg(test)]
mod tests {
    use super::super::{parser::parse, tokens::tokens};
    use super::*;

    #[test]
    fn what_changes_nothing_makes_no_other_expression() {
        let of = |text: &str| canonical(&parse(&tokens(text)).unwrap());
        for (a, b) in [
            ("3x^2+6x", "6x+3x^2+0"),
            ("3x^2+6x", "1(3\\cdot x^2 + 6 \\cdot x)^1"),
            ("84/144", "+\\frac{(84)}{(144)}"),
            ("84/144", "\\frac{-84}{-144}"),
            ("-84/144", "\\frac{84}{-144}"),
            ("\\sqrt{180}", "1\\sqrt[2]{(180)}\\cdot 1"),
            ("24", "24^1 \\cdot 1"),
            ("x = y", "y = x"),
        ] {
            assert_eq!(of(a), of(b), "{a} and {b}");
        }
        for (a, b) in [
            ("84/144", "7/12"),
            ("84/144", "144/84"),
            ("2 \\cdot 12", "24"),
            ("x - y", "y - x"),
            ("9, 3, 7", "3, 7, 9"),
            ("x^2", "2^x"),
        ] {
            assert_ne!(of(a), of(b), "{a} and {b}");
        }
    }
}
