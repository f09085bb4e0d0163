//! An answer as a value: what it may say as mathematics, and its text.

use super::expression::Node;
use super::prose::{self, Said};
use super::tokens::{Kind, Token};
use super::units::Unit;
use super::value::rounds_to;
use super::{Read, roles, spans, texts, workings};
use crate::rationale::number;

/// What is said, and how it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    pub said: Said,
    pub tokens: Vec<Kind>,
}

/// A text's tokens as mathematics and as a text; of `several` values, commas separate alone.
pub fn value(found: Vec<Token>, several: bool) -> Read {
    let found = workings::without_notes(found);
    // A range is no difference, and a list of words with a number among them not that number.
    if spans::gold(&found).is_some() || words_listed(&found) {
        return Read::Value { said: vec![], tokens: texts::written(found), sides: vec![] };
    }
    let mut said: Vec<Said> = Vec::new();
    for letters in [false, true] {
        if let Some(one) = prose::said(&found, letters).filter(|one| !said.contains(one)) {
            said.push(one);
        }
    }
    said.extend(rounded(&found, &said));
    if !several && let Some(mixed) = mixed(&found) {
        said.extend(prose::said(&mixed, false));
    }
    let decimal = decimal_comma(&found);
    // No list of numbers begins with a lone zero that the next touches.
    if found.first().is_some_and(|first| first.kind == Kind::Number("0".into())) && decimal.is_some() {
        said.clear();
    }
    if !several || said.is_empty() {
        // "5,5" is five and a half or a list, not one 5.
        said.retain(|one| decimal.is_none() || matches!(one.node, Node::List(..)));
        said.extend(decimal);
    }
    // Of several equations each of which holds the last says the value, unless several values are asked for.
    if !several && let Some(worked) = workings::said(&found) {
        said = worked;
    }
    let sides = sides(&found);
    Read::Value { said, tokens: texts::written(found), sides }
}

/// Of a chain of equalities that are looked at by themselves.
const SIDES: usize = 16;

/// What each side of a chain of equalities says by itself.
fn sides(found: &[Token]) -> Vec<Side> {
    let parts = found.split(|token| token.is('=') || token.is('≈'));
    if !(2..=SIDES).contains(&parts.clone().count()) {
        return vec![];
    }
    let said = |part: &[Token]| {
        let tokens = texts::written(part.to_vec());
        let one = |letters| Some(Side { said: prose::said(part, letters)?, tokens: tokens.clone() });
        [one(false), one(true)]
    };
    parts.flat_map(said).flatten().collect()
}

/// `3,5` as three and a half, where it is all.
fn decimal_comma(found: &[Token]) -> Option<Said> {
    let (sign, rest) = match found {
        [sign, rest @ ..] if sign.is('-') => ("-", rest),
        rest => ("", rest),
    };
    let [
        Token { kind: Kind::Number(whole), .. },
        comma,
        Token { kind: Kind::Number(part), spaced: false, .. },
    ] = rest
    else {
        return None;
    };
    let plain = comma.is(',') && !comma.spaced && !part.contains(['.', 'e']) && !whole.contains(['.', 'e']);
    let text = format!("{sign}{whole}.{part}");
    let node = Node::Number(number::parse(&text).filter(|_| plain && part.len() != 3)?);
    Some(Said { node, unit: None, label: None, noun: None, name: false })
}

/// The other side of "about equal": `\frac{22}{7} \approx 3.14` is 3.14 as well, and `12.47 \approx 12` is 12.47, where one rounds to the other.
fn rounded(found: &[Token], said: &[Said]) -> Vec<Said> {
    let mut signs = found.iter().enumerate().filter(|(_, token)| token.is('≈')).map(|(at, _)| at);
    let (Some(at), None) = (signs.next(), signs.next()) else { return vec![] };
    let side = |tokens: &[Token]| prose::said(tokens, false);
    let (Some(left), Some(right)) = (side(&found[..at]), side(&found[at + 1..])) else { return vec![] };
    if !left.node.scalar() || left.node.varies() || !rounds_to(&left.node, &right.node) {
        return vec![];
    }
    let unit = left.unit.clone().or_else(|| right.unit.clone());
    let both = [left, right].map(|one| Said { unit: one.unit.clone().or_else(|| unit.clone()), ..one });
    both.into_iter().filter(|one| !said.contains(one)).collect()
}

/// `3 and 1/2` as `3 1/2`.
fn mixed(found: &[Token]) -> Option<Vec<Token>> {
    let whole = |token: &Token| matches!(&token.kind, Kind::Number(text) if text.bytes().all(|byte| byte.is_ascii_digit()));
    let at = found.iter().position(|token| token.word().as_deref() == Some("and"))?;
    let behind = match &found[at + 1..] {
        [above, slash, below, ..] => slash.is('/') && whole(above) && whole(below),
        _ => false,
    } || matches!(found.get(at + 1).map(|next| &next.kind), Some(Kind::Command(name)) if name == "frac");
    if at == 0 || !whole(&found[at - 1]) || !behind {
        return None;
    }
    let mut tokens = found.to_vec();
    tokens.remove(at);
    tokens[at].spaced = true;
    Some(tokens)
}

/// Whether all items are one word or number each, and two of them words that say something by themselves.
fn words_listed(found: &[Token]) -> bool {
    let items = || found.split(|token| token.is(',')).filter(|item| !item.is_empty());
    let says = |item: &&[Token]| {
        item[0].word().is_some_and(|word| {
            !roles::harmless(&word) && !roles::leads(&word) && Unit::named(&word).is_none()
        })
    };
    items().all(|item| item.len() == 1) && items().filter(says).count() > 1
}
