//! Workings that end in a value: `2 + 2 = 4, 4 \cdot 6 = 24`, `9 eggs * $2 = $18`, `15% of 80 is 12`, `2x = 24 \Rightarrow x = 12`. They say what the last
//! of their equations comes to, where each holds exactly and each but the last is used by a later one.

use super::expression::Node;
use super::parser::parse;
use super::prose::{self, Said, numbers_by_name};
use super::reader::ends_value;
use super::tokens::{Kind, Token};
use super::{roles, words};
use crate::rationale::number::Number;

/// Equations of one answer that are looked at.
const MOST: usize = 16;

/// Words at which one equation ends and the next begins.
const JOINS: [&str; 7] = ["so", "therefore", "thus", "hence", "then", "and", "finally"];

/// An equation by its sides, and the tokens of its last one.
struct Equation {
    sides: Vec<Node>,
    last: Vec<Token>,
}

/// What the workings say.
pub fn said(found: &[Token]) -> Option<Vec<Said>> {
    let signed = with_signs(&numbers_by_name(found));
    let clauses = clauses(&signed)?;
    // "5 + 7 = 12, so 12 apples".
    let (again, clauses) = match &clauses[..] {
        [rest @ .., last] if !rest.is_empty() && !last.iter().any(|token| token.is('=')) => {
            (Some(*last), rest)
        }
        all => (None, all),
    };
    let equations: Vec<Equation> = clauses.iter().map(|clause| equation(clause)).collect::<Option<_>>()?;
    let (last, earlier) = equations.split_last()?;
    let end = exact(last.sides.last()?, None)?;
    // "2x = 24, x = 12".
    let variable = match &last.sides[..] {
        [Node::Variable(name), _] => Some((name.as_str(), end)),
        _ => None,
    };
    if variable.is_some() && earlier.is_empty() {
        return None;
    }
    let value = |node: &Node| exact(node, variable);
    let holds = |equation: &Equation| {
        let first = equation.sides.first().and_then(value);
        first.is_some() && equation.sides.iter().all(|side| value(side) == first)
    };
    let worked = |equation: &Equation| !equation.sides.iter().all(written);
    // What an equation comes to stands in a later one.
    let used = |at: usize| {
        let result = equations[at].sides.last().and_then(value);
        let uses = |node: &Node| written(node) && exact(node, None) == result;
        let later = || equations[at + 1..].iter().flat_map(|equation| &equation.sides);
        equations[at].sides.iter().any(Node::varies) || later().any(|side| side.any(&uses))
    };
    if !equations.iter().all(holds)
        || !earlier.iter().all(worked)
        || !(variable.is_some() || worked(last))
        || !(0..earlier.len()).all(used)
    {
        return None;
    }
    let mut said: Vec<Said> = Vec::new();
    for letters in [false, true] {
        let one = prose::said(again.unwrap_or(&last.last), letters);
        said.extend(one.filter(|one| {
            one.node.literal().is_some() && exact(&one.node, None) == Some(end) && !said.contains(one)
        }));
    }
    if let Some((name, _)) = variable {
        said.iter_mut().for_each(|one| one.label = Some(name.to_string()));
    }
    Some(said).filter(|said| !said.is_empty())
}

/// Without the notes of a calculator that what follows says again: `4*6 = <<4*6=24>>24`.
pub fn without_notes(found: Vec<Token>) -> Vec<Token> {
    let twice = |at: usize, op: char| {
        found.get(at).is_some_and(|token| token.is(op)) && found.get(at + 1).is_some_and(|next| next.is(op))
    };
    if !(0..found.len()).any(|at| twice(at, '<')) {
        return found;
    }
    let mut kept = Vec::with_capacity(found.len());
    let mut at = 0;
    while at < found.len() {
        let close = twice(at, '<').then(|| (at + 2..found.len()).take(100).find(|end| twice(*end, '>')));
        if let Some(end) = close.flatten()
            && let Some(equation) = equation(&found[at + 2..end])
            && let Some(next) = found.get(end + 2)
            && let Some(value) = parse(std::slice::from_ref(next)).as_ref().and_then(|node| exact(node, None))
            && equation.sides.iter().all(|side| exact(side, None) == Some(value))
        {
            at = end + 2;
            continue;
        }
        kept.push(found[at].clone());
        at += 1;
    }
    kept
}

/// With operations and "is" in words as their signs.
fn with_signs(found: &[Token]) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::with_capacity(found.len());
    let word = |at: usize| found.get(at).and_then(Token::word);
    let amount = |at: usize| {
        let money = word(at).is_some_and(|word| words::currency(&word));
        matches!(found.get(at + usize::from(money)), Some(Token { kind: Kind::Number(_), .. }))
    };
    let sign = |op: char| Token { spaced: true, ..Token::new(Kind::Op(op)) };
    let number = |text: &str| Token::new(Kind::Number(text.into()));
    let mut at = 0;
    while at < found.len() {
        let own = word(at).unwrap_or_default();
        let next = word(at + 1).unwrap_or_default();
        let behind = kept.last().is_some_and(|last| ends_value(last) || last.word().is_some());
        let letter_x = found[at].kind == Kind::Letter("x".into());
        // "15% of", "1/3 of".
        let share = || match &kept[..] {
            [.., last] if last.is('%') => true,
            [.., over, Token { kind: Kind::Number(_), .. }] => over.is('/'),
            _ => false,
        };
        let half = usize::from(next == "of");
        let (signs, taken) = match (own.as_str(), next.as_str()) {
            ("plus", _) if behind => (vec![sign('+')], 1),
            ("times", _) if behind => (vec![sign('*')], 1),
            ("multiplied", "by") if behind => (vec![sign('*')], 2),
            ("divided", "by") if behind => (vec![sign('/')], 2),
            ("equals" | "is" | "makes" | "gives", _) if behind && amount(at + 1) => (vec![sign('=')], 1),
            ("is" | "are", "equal") if behind && word(at + 2).as_deref() == Some("to") => {
                (vec![sign('=')], 3)
            }
            ("of", _) if share() && amount(at + 1) => (vec![sign('*')], 1),
            ("half", _) if amount(at + 1 + half) => {
                let half_of = [sign('('), number("1"), sign('/'), number("2"), sign(')'), sign('*')];
                (half_of.to_vec(), 1 + half)
            }
            ("twice" | "double", _) if amount(at + 1) => (vec![number("2"), sign('*')], 1),
            ("triple" | "thrice", _) if amount(at + 1) => (vec![number("3"), sign('*')], 1),
            _ if letter_x && behind && amount(at + 1) && found[at].spaced && found[at + 1].spaced => {
                (vec![sign('*')], 1)
            }
            _ => (vec![found[at].clone()], 1),
        };
        kept.extend(signs);
        at += taken;
    }
    kept
}

/// What stands between commas, periods, arrows and "so"; `None` where they are too many.
fn clauses(found: &[Token]) -> Option<Vec<&[Token]>> {
    let arrow = |at: usize| {
        found[at].is('→')
            || (found[at].is('=') && found.get(at + 1).is_some_and(|next| next.is('>') && !next.spaced))
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for at in 0..=found.len() {
        let ends = found.get(at).is_none_or(|token| match &token.kind {
            Kind::Op(op) => ",;.⏎".contains(*op) || arrow(at),
            _ => token.word().is_some_and(|word| JOINS.contains(&word.as_str())),
        });
        if ends {
            let part = found.get(start..at).unwrap_or_default();
            parts.extend((!part.is_empty()).then_some(part));
            let length = if at < found.len() && found[at].is('=') { 2 } else { 1 };
            start = at + length;
        }
    }
    (parts.len() <= MOST).then_some(parts)
}

/// The sides of an equation without what they are of.
fn equation(clause: &[Token]) -> Option<Equation> {
    let mut clause = clause;
    while let [first, rest @ ..] = clause
        && let Some(word) = first.word()
        && (roles::leads(&word) || matches!(word.as_str(), "first" | "next" | "now" | "get" | "have"))
    {
        clause = rest;
    }
    let sides: Vec<&[Token]> = clause.split(|token| token.is('=')).collect();
    let last = sides.last()?.to_vec();
    let sides = sides.iter().map(|side| parse(&bare(side)?)).collect::<Option<Vec<_>>>()?;
    (sides.len() > 1).then_some(Equation { sides, last })
}

/// Numbers and signs without units and what is counted, which an operation, a bracket or the end follows.
fn bare(side: &[Token]) -> Option<Vec<Token>> {
    let mut kept: Vec<Token> = Vec::with_capacity(side.len());
    let word = |at: usize| side.get(at).and_then(Token::word);
    let mut at = 0;
    while at < side.len() {
        let behind = kept.last().is_some_and(ends_value);
        match word(at) {
            None if side[at].is('/')
                && behind
                && word(at + 1).is_some_and(|word| !words::currency(&word)) =>
            {
                at += 1;
            }
            None => {
                kept.push(side[at].clone());
                at += 1;
            }
            Some(word) if words::currency(&word) && !behind => {
                matches!(side.get(at + 1)?.kind, Kind::Number(_)).then_some(at += 1)?;
            }
            Some(_) if behind => {
                let start = at;
                while let Some(word) = word(at) {
                    let joins = matches!(word.as_str(), "to" | "than" | "of") || roles::copula(&word);
                    (!roles::spoils(&word) && !joins && at < start + 4).then_some(())?;
                    at += 1;
                }
                let apart = |token: &Token| matches!(token.kind, Kind::Op('+' | '-' | '*' | '/' | ')'));
                side.get(at).is_none_or(apart).then_some(())?;
            }
            Some(_) => return None,
        }
    }
    Some(kept)
}

/// Whether nothing is to be done in it.
fn written(node: &Node) -> bool {
    match node {
        Node::Number(_) | Node::Variable(_) => true,
        Node::Negative(inner) | Node::Percent(inner) => matches!(**inner, Node::Number(_)),
        _ => false,
    }
}

/// Whether both are of whole numbers, so that nothing is rounded, and come to two.
pub fn differ(one: &Node, other: &Node) -> bool {
    let decimal = |node: &Node| matches!(node, Node::Number(number) if !number.whole());
    match (exact(one, None), exact(other, None)) {
        (Some(a), Some(b)) => a != b && a.whole() && b.whole() && !one.any(&decimal) && !other.any(&decimal),
        _ => false,
    }
}

/// The rational number that it comes to.
fn exact(node: &Node, variable: Option<(&str, Number)>) -> Option<Number> {
    let of = |node: &Node| exact(node, variable);
    match node {
        Node::Number(number) => Some(*number),
        Node::Variable(name) => variable.filter(|(own, _)| own == name).map(|(_, value)| value),
        Node::Negative(inner) => Some(of(inner)?.negated()),
        Node::Percent(inner) => of(inner)?.over(Number::from(100)),
        Node::Sum(parts) => parts.iter().try_fold(Number::from(0), |sum, part| sum.plus(of(part)?)),
        Node::Product(parts) => parts.iter().try_fold(Number::from(1), |all, part| all.times(of(part)?)),
        Node::Quotient(above, below) => of(above)?.over(of(below)?),
        Node::Power(base, exponent) => of(base)?.power(of(exponent)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    #[test]
    fn workings_that_hold_say_what_the_last_comes_to() {
        let of = |text: &str| {
            said(&without_notes(tokens(text))).map(|said| said[0].node.literal().expect("a number"))
        };
        for text in [
            "5 + 7 = 12",
            "2+2=4, 4*3 = 12",
            "16 - 3 = 13; 13 - 1 = 12",
            "2*3=6, so 6*2=12",
            "2 \\cdot 3 = 6 \\Rightarrow 6 \\cdot 2 = 12",
            "3 + 3 = 6 and 10 - 4 = 6, 6 + 6 = 12",
            "7/2 = 3.5, 3.5 * 2 = 7, 7 + 5 = 12",
            "6 eggs * $2 = $12",
            "6 eggs x 2 dollars/egg = 12 dollars",
            "15% of 80 = 12",
            "a third of 36 is 12",
            "half of 24 = 12",
            "5 plus 7 equals 12",
            "24 divided by 2 is equal to 12",
            "6*2 = <<6*2=12>>12",
            "2x = 24 \\Rightarrow x = 12",
            "2x + 1 = 25, 2x = 24, x = 12",
            "5 + 7 = 12, so 12 apples",
        ] {
            assert_eq!(of(text), Some(Number::from(12)), "{text}");
        }
        for text in [
            "12",
            "12 = 12",
            "12 = 12, 13 = 13",
            "6*2 = 12, 6*3 = 18",
            "6*2 = 12, 13",
            "6*2 = 12 or 6*3 = 18",
            "2+2=5, 5*6=30",
            "2+2=4, 4*6=25",
            "2+2=4, 5*6=30",
            "15% of 80 = 13",
            "15% of 80 = 12%",
            "half of 24",
            "6 eggs * $2",
            "5 plus 7 is not 12",
            "5 plus 7 is at least 12",
            "6 wrong eggs * 2 = 12",
            "2x = 24",
            "x = 12",
            "x = 12, 2x = 24",
            "2x = 24, x = 13",
            "2x = 24, y = 12",
            "2x = 24, x = 12, x = 13",
            "6*2 = 3*4",
            "10/3 = 3.33",
            "5 + 7 = 12, so 13",
            "5 + 7 = 12, so not 12",
            "12, 5 + 7 = 12",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(without_notes(tokens("<<6*2=12>>13")), tokens("<<6*2=12>>13"));
        assert_eq!(without_notes(tokens("<<6*2=13>>13")), tokens("<<6*2=13>>13"));
        let long = format!("{}1+1 = 2", "1+1 = 2, ".repeat(200));
        assert_eq!(of(&long), None);
    }
}
