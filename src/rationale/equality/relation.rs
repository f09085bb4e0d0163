//! What relations say: `x = 5` and `3 + 4 = 7` a value, `x > 5` an interval, others themselves.

use super::expression::Node;
use super::prose::Said;
use super::{value, workings};
use crate::rationale::number::Number;

/// What a chain of equalities comes to: `x = 5` and `3 + 4 = 7` are 5 and 7; with the variable that it is of. `None` where it contradicts itself.
pub fn settled(node: Node) -> Option<(Option<String>, Node)> {
    let (mut parts, relations) = match node {
        Node::Chain(parts, relations) => (parts, relations),
        // "x < 2 or x > 3".
        Node::List('∪', items, _) => {
            let items = items.into_iter().map(|item| Some(settled(item)?.1)).collect::<Option<Vec<_>>>()?;
            return Some((None, Node::List('∪', items, '∪')));
        }
        Node::List(',', items, _) => {
            // "x = 1 or x = 2": each for itself; of several variables each is named.
            let variable =
                |(label, node): (Option<String>, Node)| (label.filter(|label| !label.contains(' ')), node);
            let items =
                items.into_iter().map(|item| settled(item).map(variable)).collect::<Option<Vec<_>>>()?;
            let of = items[0].0.clone();
            // "x = 1, 2" says both of x.
            let further = |(label, node): &(Option<String>, Node)| {
                let number = |node: &Node| node.literal().is_some();
                label.is_none()
                    && match node {
                        Node::List(',', both, _) => both.iter().all(number),
                        node => number(node),
                    }
            };
            let one = items.iter().all(|(label, _)| *label == of) || items[1..].iter().all(further);
            let named = |(label, node)| match label {
                Some(label) if !one => Node::Named(label, Box::new(node)),
                _ => node,
            };
            // "±2, ±3" are four.
            let apart = |node: Node| match node {
                Node::List(',', both, _) => both,
                node => vec![node],
            };
            let items: Vec<Node> = items.into_iter().map(named).flat_map(apart).collect();
            if let Some(node) = repeated(&items) {
                return Some((of, node.clone()));
            }
            return Some((of.filter(|_| one), Node::List(',', items, ',')));
        }
        Node::Product(_) | Node::Sum(_) | Node::PlusMinus(_) | Node::Quotient(..) | Node::Negative(_)
            if node.any(&|part| matches!(part, Node::PlusMinus(_))) && node.scalar() =>
        {
            return Some((None, Node::List(',', vec![node.signed(true), node.signed(false)], ',')));
        }
        other => return Some((None, other)),
    };
    // Nothing is in a number.
    if relations == ['∈'] && named(&parts[0]).is_some() && parts[1].literal().is_none() {
        return Some((named(&parts[0]), parts.remove(1)));
    }
    if !relations.iter().all(|relation| matches!(relation, '=' | '≈')) {
        return Some((None, interval(parts, relations)));
    }
    let mut label = None;
    let mut relations = relations;
    while parts.len() > 1 && named(&parts[0]).is_some() {
        label = label.or(named(&parts.remove(0)));
        relations.remove(0);
    }
    if parts.len() > 1 && named(&parts[parts.len() - 1]).is_some() && !parts[0].varies() {
        label = label.or(named(&parts.pop().expect("several")));
        relations.pop();
    }
    if parts.len() == 1 {
        let (_, node) = settled(parts.remove(0))?;
        return Some((label.filter(|label| !label.contains(' ') || of_function(label)), node));
    }
    if parts.iter().any(Node::varies) {
        // An equation, unless one is worked out step by step from a variable.
        let identity = || parts.windows(2).all(|pair| value::identical(&pair[0], &pair[1]));
        return match label {
            Some(_) => Some((label, parts.pop().expect("several"))),
            None if identity() => Some((None, parts.pop().expect("several"))),
            None => Some((None, Node::Chain(parts, relations))),
        };
    }
    // What is about equal is worth what it is of, unless that is a number itself.
    let about = parts[parts.len() - 2..].to_vec();
    if relations.last() == Some(&'≈') && about[0].literal().is_none() {
        parts.pop();
    }
    if clash(&about[0], &about[1]) {
        return None;
    }
    let last = parts.pop().expect("several");
    let (_, last) = settled(last)?;
    for part in parts.iter().rev() {
        match (part.literal(), last.literal()) {
            (Some(a), Some(b)) if a != b && !value::equal(part, &last) => return None,
            // "12 = 3 · 4" says 12.
            (Some(_), None) => return value::same_number(part, &last).then(|| (label, part.clone())),
            _ if clash(part, &last) => return None,
            _ => {}
        }
    }
    Some((label, last))
}

/// Whether two sides of an equals sign cannot be one: numbers that are far apart, several values and a single one.
fn clash(one: &Node, other: &Node) -> bool {
    let several = |node: &Node| match node {
        Node::List(open, items, _) => *open != ':' && items.len() > 1,
        other => matches!(other, Node::Matrix(_)),
    };
    let places = |node: &Node| matches!(node, Node::List('(' | '[' | '⟨', ..));
    match (one, other) {
        (Node::List(_, items, _), Node::List(_, others, _)) if places(one) && places(other) => {
            items.len() != others.len() || items.iter().zip(others).any(|(one, other)| clash(one, other))
        }
        _ if one.scalar() && other.scalar() => value::contradict(one, other) || workings::differ(one, other),
        _ => (several(one) && other.scalar()) || (several(other) && one.scalar()),
    }
}

/// The value that all items are, each written otherwise than the first: "1/2, 0.5" says one value twice, "2, 2" two. "0.5, 50 %" is the number; "50, 50 %"
/// is two.
fn repeated(items: &[Node]) -> Option<&Node> {
    let share = |item: &&Node| item.any(&|part| matches!(part, Node::Percent(_)));
    let same = |one: &Node, other: &Node| value::equal(one, other) && value::equal(other, one);
    let (shares, numbers): (Vec<&Node>, Vec<&Node>) = items.iter().partition(share);
    let alike = |nodes: &[&Node]| nodes.iter().skip(1).all(|node| node != &nodes[0] && same(nodes[0], node));
    let hundredth = |share: &Node| share.literal()?.over(Number::from(100));
    let joined = match (shares.first(), numbers.first()) {
        (Some(share), Some(number)) => hundredth(share) == number.literal() && number.literal().is_some(),
        _ => true,
    };
    numbers.iter().chain(&shares).next().copied().filter(|_| joined && alike(&shares) && alike(&numbers))
}

/// Letters that are taken for functions where something stands behind them.
const FUNCTIONS: &str = "fghFGHP";

/// Whether a name is that of a function's value: f(x), P(A).
fn of_function(name: &str) -> bool {
    name.split_once(' ').is_some_and(|(of, _)| FUNCTIONS.contains(of))
}

/// Whether two names cannot be of one thing: x and y, f(x) and g(x). A function's value may be called by a variable; AB is BA.
pub fn other_name(one: &str, other: &str) -> bool {
    let parts = |name: &str| {
        let mut parts: Vec<String> = name.split(' ').map(str::to_string).collect();
        parts.sort();
        parts
    };
    one.contains(' ') == other.contains(' ') && parts(one) != parts(other)
}

/// Whether a question asks for an equation and for no form of it, so that one that is not solved for a variable is an answer where the gold one is.
pub fn asks_for_an_equation(question: &str) -> bool {
    const FORMS: [&str; 7] = ["solve", "in terms of", "form", "express", "isolate", "subject", "rearrange"];
    let lower = question.to_lowercase();
    let asks = ["equation of", "equation for", "equation that"].iter().any(|asked| lower.contains(asked));
    asks && !FORMS.iter().any(|form| lower.contains(form))
}

/// Whether both say one equation, one of them solved for a variable: `y = 2x + 3` and `2x - y + 3 = 0`. Unless `unsolved` ones are answers, none is
/// where the gold one is solved.
pub fn one_equation(gold: &Said, answer: &Said, unsolved: bool) -> bool {
    let solved = |Said { label, node, .. }: &Said| {
        let name = label.as_ref().filter(|name| !name.contains(' ') && node.scalar() && node.varies())?;
        let variable = Node::Variable(name.clone());
        let free = !node.any(&|part| *part == variable);
        free.then(|| Node::Chain(vec![variable, node.clone()], vec!['=']))
    };
    let chain = |Said { label, node, .. }: &Said| match node {
        Node::Chain(_, relations) if label.is_none() && relations[..] == ['='] => Some(node.clone()),
        _ => None,
    };
    match (chain(gold), solved(gold), chain(answer), solved(answer)) {
        (Some(gold), _, _, Some(answer)) => value::equal(&gold, &answer),
        // `2x + 3 = y` is as solved as `y = 2x + 3`.
        (_, Some(gold), Some(answer), _) => {
            let turned = matches!((&gold, &answer), (Node::Chain(golds, _), Node::Chain(sides, _)) if golds[0] == sides[1]);
            (unsolved || turned) && value::equal(&gold, &answer)
        }
        _ => false,
    }
}

/// The name that a side of an equation is: a variable, f(x), P(A).
fn named(node: &Node) -> Option<String> {
    match node {
        Node::Variable(name) => Some(name.clone()),
        Node::Constant(name @ ('i' | 'e')) => Some(name.to_string()),
        Node::List('(', parts, ')') => {
            let names = parts.iter().map(named).collect::<Option<Vec<_>>>()?;
            Some(names.join(" "))
        }
        Node::Product(parts) => match &parts[..] {
            [Node::Variable(of), Node::Number(_)] if FUNCTIONS.contains(of.as_str()) => {
                Some(format!("{of} ( )"))
            }
            parts => Some(parts.iter().map(named).collect::<Option<Vec<_>>>()?.join(" ")),
        },
        _ => None,
    }
}

/// A variable between bounds as the interval of its values.
fn interval(parts: Vec<Node>, relations: Vec<char>) -> Node {
    let infinite = |sign: bool| {
        if sign { Node::Constant('∞') } else { Node::Negative(Box::new(Node::Constant('∞'))) }
    };
    let constant = |node: &Node| !node.varies();
    let list = |low: Node, high: Node, open: bool, closed: bool| {
        Node::List(if open { '(' } else { '[' }, vec![low, high], if closed { ')' } else { ']' })
    };
    // The variable stands on the left.
    let half = |bound: &Node, relation: char| match relation {
        '<' => Some(list(infinite(false), bound.clone(), true, true)),
        '≤' => Some(list(infinite(false), bound.clone(), true, false)),
        '>' => Some(list(bound.clone(), infinite(true), true, true)),
        '≥' => Some(list(bound.clone(), infinite(true), false, true)),
        _ => None,
    };
    let found = match (&parts[..], &relations[..]) {
        ([Node::Variable(_), bound], [relation]) if constant(bound) => half(bound, *relation),
        ([bound, Node::Variable(_)], [relation]) if constant(bound) => half(bound, flipped(*relation)),
        ([low, Node::Variable(_), high], [left @ ('<' | '≤'), right @ ('<' | '≤')])
            if constant(low) && constant(high) =>
        {
            Some(list(low.clone(), high.clone(), *left == '<', *right == '<'))
        }
        ([high, Node::Variable(_), low], [left @ ('>' | '≥'), right @ ('>' | '≥')])
            if constant(low) && constant(high) =>
        {
            Some(list(low.clone(), high.clone(), *right == '>', *left == '>'))
        }
        _ => None,
    };
    found.unwrap_or(Node::Chain(parts, relations))
}

/// The relation as it reads from the right.
pub fn flipped(relation: char) -> char {
    match relation {
        '<' => '>',
        '>' => '<',
        '≤' => '≥',
        '≥' => '≤',
        other => other,
    }
}
