//! All real numbers but some, in each of their ways of writing: `x \ne 3`, `\mathbb{R} \setminus \{3\}`, `(-\infty, 3) \cup (3, \infty)`.

use super::expression::Node;
use super::heads;
use super::parser::parse;
use super::relation::settled;
use super::tokens::{Kind, Token};
use super::value::{equal, real};

/// What is left out of the real numbers, and the variable of which it is said.
struct Holes<'a> {
    name: Option<&'a str>,
    points: Vec<&'a Node>,
}

/// Whether both are the real numbers without the same ones; `None` where one of them is something else.
pub fn same(gold: &Node, answer: &Node) -> Option<bool> {
    let (gold, answer) = (holes(gold)?, holes(answer)?);
    let other_name = matches!((gold.name, answer.name), (Some(gold), Some(own)) if gold != own);
    let has = |points: &[&Node], point: &Node| points.iter().any(|own| equal(point, own));
    let all = gold.points.iter().all(|point| has(&answer.points, point));
    Some(!other_name && all && gold.points.len() == answer.points.len())
}

fn holes(node: &Node) -> Option<Holes<'_>> {
    let (name, points) = match node {
        Node::Chain(..) => {
            let (name, point) = apart(node)?;
            (Some(name), vec![point])
        }
        Node::List(',', items, _) => {
            let (name, first) = apart(items.first()?)?;
            let further = |item| match apart(item) {
                Some((own, point)) => Some(point).filter(|_| own == name),
                None => Some(item),
            };
            let rest = items[1..].iter().map(further).collect::<Option<Vec<_>>>()?;
            (Some(name), std::iter::once(first).chain(rest).collect())
        }
        Node::List('∖', parts, _) => match &parts[..] {
            [all, without] if is_all(all) => (None, members(without)),
            _ => return None,
        },
        Node::Sum(parts) => match &parts[..] {
            [all, Node::Negative(without)] if is_all(all) && matches!(**without, Node::List('⦃', ..)) => {
                (None, members(without))
            }
            _ => return None,
        },
        Node::List('∪', parts, _) => (None, between(parts)?),
        _ => return None,
    };
    let known = !points.is_empty() && points.len() <= 64 && points.iter().all(|point| real(point).is_some());
    let twice = |at: usize| points[..at].iter().any(|known| equal(known, points[at]));
    (known && !(1..points.len()).any(twice)).then_some(Holes { name, points })
}

/// The variable and the number that it is not.
fn apart(node: &Node) -> Option<(&str, &Node)> {
    match node {
        Node::Chain(parts, relations) if relations[..] == ['≠'] => match &parts[..] {
            [Node::Variable(name), point] | [point, Node::Variable(name)] => Some((name, point)),
            _ => None,
        },
        _ => None,
    }
}

fn is_infinity(node: &Node) -> bool {
    *node == Node::Constant('∞')
}

fn is_below_all(node: &Node) -> bool {
    matches!(node, Node::Negative(inner) if is_infinity(inner))
}

fn is_all(node: &Node) -> bool {
    matches!(node, Node::List('(', ends, ')') if ends.len() == 2 && is_below_all(&ends[0]) && is_infinity(&ends[1]))
}

fn members(node: &Node) -> Vec<&Node> {
    match node {
        Node::List('⦃', items, _) => items.iter().collect(),
        one => vec![one],
    }
}

/// The points at which open intervals meet that are all of the real numbers but for them.
fn between(parts: &[Node]) -> Option<Vec<&Node>> {
    let low = |node: &Node| if is_below_all(node) { Some(f64::NEG_INFINITY) } else { real(node) };
    let mut intervals = parts
        .iter()
        .map(|part| match part {
            Node::List('(', ends, ')') if ends.len() == 2 => Some((low(&ends[0])?, &ends[0], &ends[1])),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    intervals.sort_by(|one, other| one.0.total_cmp(&other.0));
    let meet = intervals.windows(2).all(|pair| equal(pair[0].2, pair[1].1) && pair[0].0 < pair[1].0);
    let whole = is_below_all(intervals.first()?.1) && is_infinity(intervals.last()?.2);
    (meet && whole).then(|| intervals[1..].iter().map(|(_, point, _)| *point).collect())
}

/// "All real numbers except 2 and 3".
pub fn all_but(found: &[Token]) -> Option<Node> {
    let is = |at: usize, word: &str| found.get(at).and_then(Token::word).as_deref() == Some(word);
    let at = (0..found.len()).find(|at| is(*at, "except") || is(*at, "but") || is(*at, "other"))?;
    let behind = at + 1 + usize::from(is(at + 1, "for") || (is(at, "other") && is(at + 1, "than")));
    let named = found[..at].strip_suffix(&[Token::new(Kind::Op(','))]).unwrap_or(&found[..at]);
    let all = heads::phrase(named).filter(|_| !is(at, "other") || is(at + 1, "than")).filter(is_all)?;
    let comma = |token: &Token| match token.word().as_deref() {
        Some("and") => Token::new(Kind::Op(',')),
        _ => token.clone(),
    };
    let mut rest: Vec<Token> = found.get(behind..)?.iter().map(comma).collect();
    rest.pop_if(|last| last.is('.'));
    let (_, without) = settled(parse(&rest)?)?;
    let points = match without {
        Node::List(',', items, _) => items,
        one => vec![one],
    };
    let known = points.iter().all(|point| real(point).is_some());
    known.then(|| Node::List('∖', vec![all, Node::List('⦃', points, '⦄')], '∖'))
}

#[cfg(test)]
mod tests {
    use super::super::Equality;

    #[test]
    fn all_numbers_but_some_are_one_set() {
        let right = |gold: &str, answer: &str| Equality::of(Some(gold), &[]).same(gold, answer);
        let two = [
            "x \\ne -2, 3",
            "x \\neq 3 \\text{ and } x \\neq -2",
            "\\mathbb{R} \\setminus \\{-2, 3\\}",
            "\\mathbb{R} - \\{3, -2\\}",
            "(-\\infty, -2) \\cup (-2, 3) \\cup (3, \\infty)",
            "x \\in (3, \\infty) \\cup (-\\infty, -2) \\cup (-2, 3)",
            "all real numbers except -2 and 3",
        ];
        for gold in two {
            for answer in two {
                assert!(right(gold, answer), "{answer} for {gold}");
            }
            for wrong in [
                "x \\ne -2",
                "x \\ne 3, 3",
                "x = -2, 3",
                "\\{-2, 3\\}",
                "\\mathbb{R}",
                "x \\ne -2 \\text{ or } x \\ne 3",
                "(-\\infty, -2] \\cup (-2, 3) \\cup (3, \\infty)",
                "(-\\infty, -2) \\cup (-2, 3)",
                "(-\\infty, 3) \\cup (-2, 3) \\cup (3, \\infty)",
                "\\mathbb{R} \\setminus (-2, 3)",
                "all real numbers except 3",
            ] {
                assert!(!right(gold, wrong), "{wrong} for {gold}");
            }
        }
    }
}
