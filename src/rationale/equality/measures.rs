//! The unit that a question asks for.

use super::Side;
use super::copied::Question;
use super::reader::Reader;
use super::tokens::Kind;
use super::units::Unit;
use super::words;
use crate::rationale::number::{self, Number};

impl Question<'_> {
    /// Whether the answer is in the unit that is asked for, where one is. A gold answer without a unit has that one.
    pub fn measures(&self, gold: &Side, own: &Side) -> bool {
        match (&gold.said.unit, &own.said.unit) {
            (Some(unit), Some(other)) => unit == other || !self.converts(gold.said.node.literal(), unit),
            (None, Some(other)) => {
                let asked = || (0..self.tokens().len()).filter_map(|at| self.asked(at));
                asked().all(|unit| unit.over(other).is_none()) || asked().any(|unit| unit == *other)
            }
            _ => true,
        }
    }

    /// Whether it names the unit as what is asked for, or has the same amount in another one.
    fn converts(&self, amount: Option<Number>, unit: &Unit) -> bool {
        let same = |(said, other): (Number, Unit)| {
            let size = other.over(unit).filter(|_| other != *unit)?;
            Some(said.times(size)? == amount?)
        };
        (0..self.tokens().len())
            .any(|at| self.asked(at).as_ref() == Some(unit) || self.amount(at).and_then(same) == Some(true))
    }

    fn reader(&self) -> Reader<'_> {
        Reader { tokens: self.tokens(), letters: true }
    }

    /// The unit that is asked for by a word at `at`: "how many minutes", "in whole minutes", "the number of minutes", "to the nearest minute".
    fn asked(&self, at: usize) -> Option<Unit> {
        let reader = self.reader();
        let word = |at: usize| reader.word(at).unwrap_or_default();
        let last = at.checked_sub(1).map(word).unwrap_or_default();
        let asks = match &word(at)[..] {
            "in" | "to" | "into" | "nearest" => true,
            "many" | "much" => last == "how",
            "of" => last == "number",
            _ => false,
        };
        let more = ["more", "fewer", "less", "additional", "extra", "whole", "full", "total"];
        let behind = at + 1 + usize::from(more.contains(&&word(at + 1)[..]));
        Some(reader.unit(behind).filter(|_| asks)?.0)
    }

    /// The amount at `at`, and its unit.
    fn amount(&self, at: usize) -> Option<(Number, Unit)> {
        let reader = self.reader();
        let said = match &self.tokens()[at].kind {
            Kind::Number(text) => number::parse(text),
            _ => words::number(&reader.word(at)?).map(|number| Number::from(i128::from(number))),
        };
        let money = || Unit::named(&reader.word(at.checked_sub(1)?)?).filter(Unit::is_money);
        let unit = || reader.unit(at + 1).map(|(unit, _)| unit);
        said.and_then(|said| Some((said, unit().or_else(money)?)))
    }
}
