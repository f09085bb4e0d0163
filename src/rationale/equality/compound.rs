//! Amounts in several units: `5 ft 4 in`, `1 hour and 30 minutes`, `5 dollars and 50 cents`.

use super::expression::Node;
use super::reader::Reader;
use super::roles;
use super::tokens::{Kind, Token};
use super::units::Unit;
use crate::rationale::number::{self, Number};

/// The whole of `found` as one amount in its largest unit; each unit measures what the first does, is smaller than the one before, and has
/// fewer than would make one of that.
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
        // 11 ft 12 in is not how 12 ft are written.
        let count = number::parse(text).filter(|count| smaller && (count.whole() || !whole))?;
        if parts > 0 && count.times(size)?.to_f64() >= last.to_f64() {
            return None;
        }
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

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    #[test]
    fn amounts_are_in_the_largest_unit() {
        let of = |text: &str| amount(&tokens(text)).map(|(node, unit)| (node.literal().unwrap(), unit));
        let is = |count: i128, below: i128, unit: &str| {
            Some((Number::from(count).over(Number::from(below)).unwrap(), Unit::named(unit).unwrap()))
        };
        assert_eq!(of("5 ft 4 in"), is(16, 3, "ft"));
        assert_eq!(of("1 hour and 30 minutes"), is(3, 2, "hour"));
        assert_eq!(of("5 dollars, 50 cents"), is(11, 2, "dollar"));
        assert_eq!(of("2 days 3 hours 30 minutes"), is(103, 48, "day"));
        for text in [
            "5 ft",
            "4 in 5 ft",
            "5 ft 4 kg",
            "11 ft 12 in",
            "5.5 ft 4 in",
            "5 ft or 4 in",
            "5 ft 4",
            "not 5 ft 4 in",
            "half 5 ft 4 in",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
