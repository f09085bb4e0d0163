//! What may stand behind a value: a unit or what is counted, then where, when and for whom.

use super::reader::Reader;
use super::roles;
use super::tokens::{Kind, Token};
use super::units::Unit;
use super::words;

/// What stands behind a value.
#[derive(Debug, Default)]
pub struct Behind {
    pub end: usize,
    pub unit: Option<Unit>,
    pub noun: Option<String>,
    pub name: bool,
}

/// How many are said to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// One or a share of one, of which the noun is singular.
    One,
    Many,
}

impl Amount {
    pub fn of(found: &[Token]) -> Self {
        let numbers: Vec<&str> = found
            .iter()
            .filter_map(|token| match &token.kind {
                Kind::Number(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        match numbers[..] {
            ["1"] => Amount::One,
            [number] if number.starts_with("0.") || number.starts_with('.') => Amount::One,
            [_, .., _] => Amount::One,
            _ => Amount::Many,
        }
    }
}

impl Reader<'_> {
    /// Reads what stands behind a value.
    pub fn behind(&self, at: usize, money: bool, amount: Amount) -> Option<Behind> {
        let mut behind = Behind { end: at, ..Behind::default() };
        let mut more = false;
        let mut at = at;
        if self.word(at).as_deref() == Some("th")
            || self.word(at).is_some_and(|word| matches!(word.as_str(), "st" | "nd" | "rd"))
        {
            at += 1;
        }
        if let Some("more" | "less" | "fewer" | "additional" | "extra" | "whole" | "full") =
            self.word(at).as_deref()
        {
            more = true;
            at += 1;
        }
        if let Some((unit, end)) = self.unit(at) {
            behind.unit = Some(unit);
            at = end;
        } else if let Some((noun, name, end)) = self.noun(at, amount) {
            // "units^2" are units of another kind.
            at = if noun == "units" || noun == "unit" { self.exponent(end).1 } else { end };
            (behind.noun, behind.name) = (Some(noun), name);
        } else if more && !money {
            return None;
        }
        // "12 cm apples": no.
        let bare = behind.unit.is_none() && behind.noun.is_none() && !money;
        behind.end = self.trail(at, bare, more)?;
        Some(behind)
    }

    /// What is counted: an unknown plural, up to three others before it.
    pub fn noun(&self, at: usize, amount: Amount) -> Option<(String, bool, usize)> {
        let mut name = false;
        let mut end = at;
        for _ in 0..4 {
            let Some(Token { kind: Kind::Word(written), .. }) = self.tokens.get(end) else { return None };
            let word = written.to_lowercase();
            // "5 pairs of shoes" are five.
            let of = self.word(end + 1).as_deref() == Some("of")
                && !roles::spoils(&word)
                && roles::share(&word).is_none();
            if (roles::is_amount(&word) && !of)
                || roles::preposition(&word, false)
                || roles::copula(&word)
                || matches!(word.as_str(), "the" | "and" | "than" | "as")
            {
                return None;
            }
            name |= written.starts_with(|c: char| c.is_uppercase());
            let singular = amount == Amount::One
                && !roles::trails(&word, false)
                && !roles::verb(&word)
                && !["ing", "ed", "ly"].iter().any(|ending| word.ends_with(ending));
            let next = self.tokens.get(end + 1);
            // In a row of words the last plural is what is counted: "5 business days".
            let goes_on = |next: &Token| {
                let unknown = |next: &str| {
                    !roles::trails(next, false)
                        && !roles::preposition(next, false)
                        && !roles::copula(next)
                        && !roles::verb(next)
                        && !roles::is_amount(next)
                        && !matches!(next, "and" | "or" | "than" | "as")
                };
                (singular && matches!(&next.kind, Kind::Word(next) if unknown(&next.to_lowercase())))
                    || matches!(&next.kind, Kind::Word(next) if roles::plural(&next.to_lowercase()) && !roles::trails(&next.to_lowercase(), false)
                    && !roles::verb(&next.to_lowercase()))
            };
            let last = !next.is_some_and(goes_on);
            if (roles::plural(&word) || words::sign(&word) || singular)
                && last
                && !roles::trails(&word, false)
                && !roles::part(&word)
            {
                return Some((word, name, end + 1));
            }
            let hyphened = self.is(end + 1, '-') && !self.tokens[end + 1].spaced;
            end += 1 + usize::from(hyphened);
        }
        None
    }

    /// Reads what may follow a counted thing, or a bare number.
    pub fn trail(&self, mut at: usize, bare: bool, more: bool) -> Option<usize> {
        loop {
            if !bare && self.is(at, '/') && self.word(at + 1).is_some() {
                at += 2;
                continue;
            }
            let Some(word) = self.word(at) else { return self.clauses(at, true) };
            if matches!(word.as_str(), "and" | "or") && self.value_follows(at) {
                return Some(at);
            }
            // "18 boys and girls".
            if word == "and"
                && !bare
                && let Some((.., end)) = self.noun(at + 1, Amount::Many)
            {
                at = end;
                continue;
            }
            if roles::copula(&word) {
                return self.predicate(at + 1, bare);
            }
            if roles::spoils(&word) {
                return None;
            }
            let next = self.word(at + 1);
            // "5 as required".
            if word == "as"
                && next.as_ref().is_some_and(|next| {
                    matches!(
                        next.as_str(),
                        "required" | "expected" | "desired" | "needed" | "asked" | "wanted" | "before"
                    )
                })
            {
                at += 2;
                continue;
            }
            let comparison = word.ends_with("er") || matches!(word.as_str(), "more" | "less");
            if word == "than" && more && !bare {
                at = self.phrase(at + 1)?;
            } else if !bare && comparison && next.as_deref() == Some("than") {
                at = self.phrase(at + 2)?;
            } else if matches!(word.as_str(), "each" | "every")
                && next.as_ref().is_some_and(|next| !roles::trails(next, false))
            {
                if roles::preposition(next.as_deref().unwrap_or_default(), true) {
                    at += 1;
                } else if self.completes(&word, at + 1, bare) {
                    at = self.phrase(at + 1)?;
                } else {
                    return None;
                }
            } else if roles::trails(&word, bare) {
                at += 1;
                // "left unwashed", "remaining uneaten".
                let stays = matches!(word.as_str(), "left" | "remaining");
                if !bare
                    && stays
                    && next.as_ref().is_some_and(|next| {
                        (next == "over" || next.starts_with("un")) && !roles::spoils(next)
                    })
                {
                    at += 1;
                }
            } else if !bare
                && (matches!(
                    word.as_str(),
                    "last" | "next" | "this" | "that" | "can" | "will" | "have" | "had" | "has"
                ) || roles::verb(&word)
                    || word.ends_with("ed"))
            {
                at = match next {
                    Some(_) if word != "total" => self.phrase(at + 1)?,
                    _ => at + 1,
                };
            } else if !bare && (word.ends_with("ly") || (comparison && word.len() > 4)) {
                at += 1;
            } else if !bare && word.ends_with("ing") {
                at = self.phrase(at)?;
            } else if roles::preposition(&word, bare) && self.completes(&word, at + 1, bare) {
                at = self.phrase(at + 1)?;
            } else {
                return None;
            }
        }
    }

    /// Whether what follows a preposition leaves a bare number what it is.
    pub fn completes(&self, preposition: &str, at: usize, bare: bool) -> bool {
        let Some(next) = self.word(at) else { return false };
        let determined = |word: &str| {
            matches!(
                word,
                "the"
                    | "his"
                    | "her"
                    | "their"
                    | "its"
                    | "our"
                    | "my"
                    | "each"
                    | "every"
                    | "this"
                    | "that"
                    | "all"
                    | "total"
            )
        };
        match preposition {
            _ if !bare => true,
            "of" => {
                determined(&next) || matches!(next.as_str(), "them" | "these" | "those" | "it" | "a" | "us")
            }
            "in" => {
                determined(&next)
                    || matches!(
                        next.as_str(),
                        "sum"
                            | "profit"
                            | "change"
                            | "cash"
                            | "tips"
                            | "savings"
                            | "interest"
                            | "stock"
                            | "one"
                            | "a"
                    )
            }
            "per" | "a" | "an" | "each" | "every" => {
                roles::share(&next).is_none() && words::scale(&next).is_none()
            }
            _ => true,
        }
    }

    /// Words behind a preposition, to the next break.
    pub fn phrase(&self, at: usize) -> Option<usize> {
        let mut end = at;
        while let Some(word) = self.word(end) {
            let month = matches!(&self.tokens[end].kind, Kind::Word(written) if written == "May");
            // "5 eggs that he did not eat", but not "that are not correct".
            let denied = matches!(word.as_str(), "not" | "without") || word.ends_with("n't");
            let of_things = denied
                && end > at
                && !self.word(end + 1).is_some_and(|next| {
                    roles::harmless(&next) && !matches!(next.as_str(), "be" | "the" | "in")
                })
                && !matches!(
                    self.word(end + 1).as_deref(),
                    None | Some("true" | "so" | "really" | "valid" | "quite")
                );
            if roles::spoils(&word) && !month && !of_things {
                return None;
            }
            if matches!(word.as_str(), "and" | "or") && self.value_follows(end) {
                break;
            }
            end += 1;
            // Words that are hyphened together.
            if self.is(end, '-') && !self.tokens[end].spaced && self.word(end + 1).is_some() {
                end += 1;
            }
        }
        if end == at {
            return None;
        }
        self.clauses(end, true)
    }

    /// "is the answer", "are in the class".
    pub fn predicate(&self, at: usize, bare: bool) -> Option<usize> {
        let mut end = at;
        while let Some(word) = self.word(end) {
            if roles::spoils(&word) {
                return None;
            }
            let ok = roles::harmless(&word) || roles::trails(&word, bare);
            if !ok && !bare && roles::preposition(&word, false) {
                return self.phrase(end + 1);
            }
            if !ok {
                return None;
            }
            end += 1;
        }
        self.clauses(end, true)
    }

    /// Clauses behind a comma, a period or a dash: asides of words that say nothing. Elsewhere where they begin.
    pub fn clauses(&self, at: usize, after_value: bool) -> Option<usize> {
        let mut at = at;
        loop {
            let breaks = matches!(
                self.tokens.get(at).map(|token| &token.kind),
                Some(Kind::Op(',' | ';' | '.' | '—' | '!'))
            ) || (self.is(at, '-')
                && self.tokens[at].spaced
                && self.tokens.get(at + 1).is_some_and(|next| next.spaced));
            if self.is_open(at) {
                return None;
            }
            if !breaks || !after_value {
                return Some(at);
            }
            match self.word(at + 1) {
                None if at + 1 == self.tokens.len() && !self.is(at, '-') => return Some(at + 1),
                None if self.is(at, '.') || self.is(at, '—') => at += 1,
                None => return Some(at),
                Some(word) if matches!(word.as_str(), "and" | "or") || self.item_follows(at + 1) => {
                    return Some(at);
                }
                Some(_) => {
                    let mut end = at + 1;
                    while let Some(word) = self.word(end) {
                        let next = self.word(end + 1);
                        if roles::spoils(&word) {
                            return None;
                        }
                        if roles::preposition(&word, true)
                            && next.is_some()
                            && self.completes(&word, end + 1, true)
                        {
                            end = self.phrase(end + 1)?;
                            break;
                        }
                        if !(roles::harmless(&word)
                            || roles::trails(&word, false)
                            || Unit::named(&word).is_some())
                        {
                            return None;
                        }
                        end += 1;
                    }
                    at = end;
                }
            }
        }
    }
}
