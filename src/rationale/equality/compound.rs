//! Amounts in several units: `5 ft 4 in`, `1 hour and 30 minutes`, `5 dollars and 50 cents`.

use super::expression::Node;
use super::reader::Reader;
use super::roles;
use super::tokens::{Kind, Token};
use super::units::Unit;
use crate::rationale::number::{self, Number};

/// The whole of `found` as one amount in its largest unit; each unit measures what the first does and is smaller than the one before.
pub fn amount(found: &[Token]) -> Option<(Node, Unit)> {
    let reader = Reader { tokens: found, letters: true };
    let mut at = 0;
    // "It takes 1 hour and 30 minutes".
    while reader
        .word(at)
        .is_some_and(|word| roles::harmless(&word) || roles::copula(&word) || roles::verb(&word))
    {
        at += 1;
    }
    let mut first: Option<Unit> = None;
    let mut last = Number::from(1);
    let mut total = Number::from(0);
    let mut parts = 0;
    loop {
        let Some(Token { kind: Kind::Number(text), .. }) = found.get(at) else { return None };
        let (unit, end) = reader.simple_unit(at + 1)?;
        let size = match &first {
            None => Number::from(1),
            Some(first) => unit.over(first)?,
        };
        let smaller = parts == 0 || size.to_f64() < last.to_f64();
        let whole = end < found.len();
        let count = number::parse(text).filter(|count| smaller && (count.whole() || !whole))?;
        total = total.plus(count.times(size)?)?;
        (first, last, parts, at) = (first.or(Some(unit)), size, parts + 1, end);
        if found[at..].iter().all(|token| matches!(token.kind, Kind::Op('.' | '!'))) {
            break;
        }
        at += usize::from(reader.is(at, ','));
        at += usize::from(reader.word(at).as_deref() == Some("and"));
    }
    (parts > 1).then_some((Node::Number(total), first?))
}
