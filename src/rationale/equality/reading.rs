//! An answer as a value: what it may say as mathematics, and its text.

use super::expression::Node;
use super::prose::{self, Said};
use super::tokens::{Kind, Token};
use super::{Read, spans, texts};
use crate::rationale::number;

/// A text's tokens as mathematics and as a text; of `several` values, commas separate alone.
pub fn value(found: Vec<Token>, several: bool) -> Read {
    // A range is no difference.
    if spans::gold(&found).is_some() {
        return Read::Value { said: vec![], tokens: texts::written(found) };
    }
    let mut said: Vec<Said> = Vec::new();
    for letters in [false, true] {
        if let Some(one) = prose::said(&found, letters).filter(|one| !said.contains(one)) {
            said.push(one);
        }
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
    Read::Value { said, tokens: texts::written(found) }
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
