//! Gold answers of numbers that are joined and no sum: ranges and scores (10-15, 3-2), dates (2024-01-05, May 5, 2020), numbers of telephones.

use super::roles;
use super::tokens::{Kind, Token};
use super::units::Unit;

/// Such an answer as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Span {
    /// Year, month and day.
    Date(String, u32, u32),
    /// Whole numbers as they are written, what joins them, and what is counted.
    Joined { by: char, numbers: Vec<String>, of: Vec<String> },
}

/// The months of a year, in small letters.
pub const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// What a gold answer asks for where it is whole numbers joined by tight dashes, three by slashes, or a date with its month's name.
pub fn gold(found: &[Token]) -> Option<Span> {
    let tight =
        found.iter().filter(|token| matches!(token.kind, Kind::Op('-' | '/'))).all(|sign| !sign.spaced)
            && found.windows(2).all(|pair| !matches!(pair[0].kind, Kind::Op('-' | '/')) || !pair[1].spaced);
    let named = found.iter().any(|token| token.word().is_some_and(|word| month(&word).is_some()));
    read(found).filter(|_| tight || named)
}

/// An answer as such a one: dashes may stand apart, and "to" is one.
pub fn read(found: &[Token]) -> Option<Span> {
    date(found).or_else(|| joined(found))
}

/// An answer as such a one, without what may stand around it: brackets, "it is", "the score was".
pub fn said(found: &[Token]) -> Option<Span> {
    let leads = |word: &str| {
        !roles::spoils(word)
            && month(word).is_none()
            && (roles::harmless(word) || roles::copula(word) || roles::leads(word) || roles::verb(word))
    };
    let mut rest = found;
    loop {
        rest = match rest {
            [open, inner @ .., close]
                if (open.is('(') && close.is(')')) || (open.is('{') && close.is('}')) =>
            {
                inner
            }
            [inner @ .., last] if [';', ':', '!'].iter().any(|sign| last.is(*sign)) => inner,
            [first, inner @ ..] if first.word().is_some_and(|word| leads(&word)) => inner,
            _ => return read(rest),
        };
    }
}

/// Whether `answer` says what `gold` does; what is counted may be left out.
pub fn same(gold: &Span, answer: &Span) -> bool {
    match (gold, answer) {
        (Span::Joined { by, numbers, of }, Span::Joined { by: own_by, numbers: own, of: own_of }) => {
            by == own_by
                && numbers == own
                && (counted_alike(of, own_of) || of.is_empty() || own_of.is_empty())
        }
        _ => gold == answer,
    }
}

/// Whether both are the same words, one of them in the plural, or one unit.
fn counted_alike(of: &[String], own: &[String]) -> bool {
    let one = |a: &String, b: &String| {
        a.trim_end_matches('s') == b.trim_end_matches('s')
            || Unit::named(a).is_some_and(|unit| Unit::named(b) == Some(unit))
    };
    of.len() == own.len() && of.iter().zip(own).all(|(a, b)| one(a, b))
}

fn month(word: &str) -> Option<u32> {
    let word = word.trim_end_matches('.');
    let known = |name: &&str| *name == word || (word.len() >= 3 && word.len() <= 4 && name.starts_with(word));
    MONTHS.iter().position(known).and_then(|at| u32::try_from(at + 1).ok())
}

/// `May 5, 2020`, `5th of May 2020`, `2020-05-05`.
fn date(found: &[Token]) -> Option<Span> {
    let said: Vec<&Token> = found
        .iter()
        .filter(|token| {
            let word = token.word();
            let idle = matches!(word.as_deref(), Some("the" | "of" | "on" | "st" | "nd" | "rd" | "th"));
            !idle && !matches!(token.kind, Kind::Op(',' | '.'))
        })
        .collect();
    let number = |token: &Token, longest: usize| match &token.kind {
        Kind::Number(text) if text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(text.clone())
        }
        _ => None,
    };
    let year = |token: &Token| number(token, 4).filter(|year| year.len() == 4);
    let day = |token: &Token| number(token, 2)?.parse().ok().filter(|day| (1..=31).contains(day));
    match said[..] {
        [first, second, third] => {
            let year = year(third)?;
            match (first.word(), second.word()) {
                (Some(name), _) => Some(Span::Date(year, month(&name)?, day(second)?)),
                (_, Some(name)) => Some(Span::Date(year, month(&name)?, day(first)?)),
                _ => None,
            }
        }
        [first, dash, second, other, third] if dash.is('-') && other.is('-') => {
            let month = number(second, 2)?.parse().ok().filter(|month| (1..=12).contains(month))?;
            Some(Span::Date(year(first)?, month, day(third)?))
        }
        _ => None,
    }
}

fn joined(found: &[Token]) -> Option<Span> {
    let word = |at: usize| found.get(at).and_then(Token::word);
    let mut at = usize::from(word(0).as_deref() == Some("from"));
    let mut numbers = Vec::new();
    let mut by = None;
    loop {
        let Kind::Number(text) = &found.get(at)?.kind else { return None };
        if !text.bytes().all(|byte| byte.is_ascii_digit()) || (found[at].comma) {
            return None;
        }
        numbers.push(text.clone());
        at += 1;
        let sign = match found.get(at) {
            Some(token) if token.is('-') || token.is('—') => '-',
            Some(token) if token.is('/') => '/',
            Some(token) if matches!(token.word().as_deref(), Some("to" | "through" | "until")) => '-',
            _ => break,
        };
        if *by.get_or_insert(sign) != sign {
            return None;
        }
        at += 1;
    }
    let by = by?;
    // Two numbers with a slash are a fraction, three a date; leading zeros are nothing there.
    if by == '/' && numbers.len() != 3 {
        return None;
    }
    if by == '/' {
        numbers.iter_mut().for_each(|text| *text = text.trim_start_matches('0').to_string());
    }
    let mut of = Vec::new();
    for token in &found[at..] {
        match &token.kind {
            Kind::Word(word) => of.push(word.to_lowercase()),
            Kind::Letter(letter) if token.spaced => of.push(letter.clone()),
            Kind::Op('.' | ',') => {}
            _ => return None,
        }
    }
    (of.len() < 3 && !of.iter().any(|word| roles::spoils(word))).then_some(Span::Joined { by, numbers, of })
}

#[cfg(test)]
mod tests {
    use super::super::Equality;
    use super::super::tokens::tokens;
    use super::*;

    #[test]
    fn what_stands_around_a_range_is_no_part_of_it() {
        let right = |gold: &str, answer: &str| Equality::of(Some(gold), &[]).same(gold, answer);
        for (gold, answer) in [
            ("10-15", "It is 10-15"),
            ("10-15", "(10-15)"),
            ("10-15", "10-15;"),
            ("10-15 minutes", "10-15 mins"),
            ("5-7 days", "5-7 day"),
        ] {
            assert!(right(gold, answer), "{answer} for {gold}");
        }
        assert!(!right("10-15", "not 10-15") && !right("10-15 km", "10-15 miles"));
        // A full stop that is as wide as a sign of Chinese is one, too, and its point a point.
        assert!(right("0.5", "．5") && !right("5", "7。5") && right("5", "5。"));
    }

    #[test]
    fn ranges_and_dates_are_told_from_sums_and_fractions() {
        for text in [
            "10-15",
            "1990–1995",
            "3-2",
            "2024-01-05",
            "555-0199",
            "1/5/2024",
            "5-7 days",
            "May 5, 2020",
            "5 May 2020",
        ] {
            assert!(gold(&tokens(text)).is_some(), "{text}");
        }
        for text in [
            "9/11",
            "10 - 5",
            "-5",
            "x-2",
            "5-2\\sqrt{3}",
            "May 5",
            "2020",
            "3-1/2",
            "10-5=5",
            "1,000-2",
            "5 - not 7",
            "2.5-3",
        ] {
            assert!(gold(&tokens(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn one_span_is_written_in_several_ways() {
        let is = |a: &str, b: &str| same(&gold(&tokens(a)).unwrap(), &read(&tokens(b)).unwrap());
        for (a, b) in [
            ("1990-1995", "1990 to 1995"),
            ("1990-1995", "from 1990 – 1995"),
            ("5-7 days", "5 to 7"),
            ("May 5, 2020", "the 5th of May 2020"),
            ("2020-05-05", "5 May 2020"),
            ("1/5/2024", "01/05/2024"),
        ] {
            assert!(is(a, b), "{a} and {b}");
        }
        for (a, b) in [
            ("10-15", "20-25"),
            ("3-2", "2-3"),
            ("5-7 days", "5-7 weeks"),
            ("2024-01-05", "2024-05-01"),
            ("555-0199", "555-199"),
        ] {
            assert!(!is(a, b), "{a} and {b}");
        }
    }
}
