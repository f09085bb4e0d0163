//! Which words may stand beside a value and leave it what it is: units and things that are counted behind it, labels and verbs before it,
//! and a closed list of others. Whatever else stands there makes it another value or none.

use super::tokens::{Kind, Token};
use super::units::Unit;
use super::words;

/// A sentence's mathematics.
#[derive(Debug, Default)]
pub struct Plain {
    /// Without its words; `¦` where words stood between two values.
    pub tokens: Vec<Token>,
    /// The unit of its value.
    pub unit: Option<Unit>,
    /// What is counted, its last word.
    pub noun: Option<String>,
    /// Whether that is written as a name is.
    pub name: bool,
}

/// What stands behind a value.
#[derive(Debug, Default)]
struct Behind {
    end: usize,
    unit: Option<Unit>,
    noun: Option<String>,
    name: bool,
}

/// Mathematics alone: units and other words dropped, "and" and "or" between values as commas. `None` where a word changes what is said, or may.
pub fn plain(tokens: &[Token], letters: bool) -> Option<Plain> {
    let mut said = Plain::default();
    let mut gap = false;
    // Of each item of a list what it is of.
    let mut items: Vec<Vec<String>> = vec![vec![]];
    let mut depth = 0_i32;
    let reader = Reader { tokens, letters };
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let found = &mut said.tokens;
        let after_value = found.last().is_some_and(ends_value) && !gap;
        if reader.is_open(at) {
            return None;
        }
        if reader.word(at).is_none() && !(after_value && reader.is_temperature(at)) {
            // "$2/hour".
            let paid = said.unit.as_ref().is_some_and(Unit::is_money);
            if token.is('/')
                && after_value
                && paid
                && reader.word(at + 1).is_some_and(|word| !words::spoils(&word))
            {
                (at, gap) = (at + 2, true);
                continue;
            }
            if matches!(token.kind, Kind::Op('.' | '—')) {
                let behind = reader.clauses(at, found.iter().any(is_value))?;
                (at, gap) = (behind.max(at + 1), gap || !found.is_empty());
                continue;
            }
            let starts = starts_value(token);
            // After words a dash is a dash.
            let dash = token.is('-') && token.spaced && tokens.get(at + 1).is_some_and(|next| !next.spaced);
            if gap && found.last().is_some_and(ends_value) && (dash || (starts && !token.is('-'))) {
                found.push(Token::new(Kind::Op('¦')));
            }
            depth += i32::from(opens(token)) - i32::from(closes(token));
            let separates = matches!(token.kind, Kind::Op(',' | ';'));
            if separates && found.iter().any(is_value) {
                if let Some(word) = reader.word(at + 1)
                    && !matches!(word.as_str(), "and" | "or")
                    && !reader.item_follows(at + 1)
                {
                    at = reader.clauses(at, true)?;
                    gap = true;
                    continue;
                }
                if depth == 0 {
                    items.push(vec![]);
                }
            }
            found.push(token.clone());
            gap = false;
            at += 1;
            continue;
        }
        // A bracket that holds words alone.
        if found.last().is_some_and(|last| last.is('(')) && found.len() > 1 {
            let end = (at..tokens.len()).find(|at| tokens[*at].is(')'))?;
            if (at..end).all(|at| reader.word(at).is_some()) {
                (at..end).all(|at| reader.word(at).is_some_and(|word| aside(&word))).then_some(())?;
                at = end;
                continue;
            }
        }
        let joins = matches!(reader.word(at).as_deref(), Some("and" | "or"));
        if joins && found.iter().any(is_value) && reader.value_follows(at) {
            let either = reader.word(at).as_deref() == Some("or");
            let bounds = |token: &Token| matches!(token.kind, Kind::Op('<' | '>' | '≤' | '≥'));
            if either && tokens.iter().any(bounds) && !tokens.iter().any(|token| token.is(',')) {
                found.push(Token::new(Kind::Op('∨')));
                items.push(vec![]);
            } else if !found.last().is_some_and(|last| last.is(',')) {
                found.push(Token::new(Kind::Op(',')));
                items.push(vec![]);
            }
            gap = false;
            at += 1;
            continue;
        }
        if after_value || found.last().is_some_and(ends_value) {
            // "n is 5".
            if let Some(end) = reader.copula(at).filter(|_| found.last().is_some_and(is_variable)) {
                found.push(Token::new(Kind::Op('=')));
                (at, gap) = (end, false);
                continue;
            }
            let money = said.unit.as_ref().is_some_and(Unit::is_money);
            let start = found
                .iter()
                .rposition(|token| matches!(token.kind, Kind::Op(',' | ';' | '=')))
                .map_or(0, |at| at + 1);
            let behind = reader.behind(at, money, Amount::of(&found[start..]))?;
            let item = items.last_mut().expect("one");
            item.extend(behind.noun.clone());
            item.extend(behind.unit.as_ref().map(|unit| format!("{unit:?}")));
            said.unit = said.unit.take().or(behind.unit);
            said.noun = behind.noun.or(said.noun.take());
            said.name |= behind.name;
            // Nothing was read: what joins no value.
            if behind.end == at {
                return None;
            }
            at = behind.end;
            gap = true;
            continue;
        }
        let (end, unit, label) = reader.before(at)?;
        items.last_mut().expect("one").extend(label);
        said.unit = said.unit.take().or(unit);
        at = end;
        if tokens.get(at).is_some_and(|token| token.is(':')) {
            at += 1;
        }
        // Words alone say no value.
        gap = !found.is_empty() && found.last().is_some_and(ends_value);
    }
    let named: Vec<&Vec<String>> = items.iter().filter(|item| !item.is_empty()).collect();
    (items.len() < 2 || named.windows(2).all(|pair| pair[0] == pair[1])).then_some(said)
}

/// How many are said to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    /// One or a share of one, of which the noun is singular.
    One,
    Many,
}

impl Amount {
    fn of(found: &[Token]) -> Self {
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

struct Reader<'a> {
    tokens: &'a [Token],
    letters: bool,
}

impl Reader<'_> {
    fn word(&self, at: usize) -> Option<String> {
        self.tokens.get(at)?.word().or_else(|| self.letter_as_word(at))
    }

    fn is(&self, at: usize, op: char) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(op))
    }

    /// A letter that is a word: an article, "I", or a unit that stands apart behind a number.
    fn letter_as_word(&self, at: usize) -> Option<String> {
        let tokens = self.tokens;
        let Kind::Letter(letter) = &tokens[at].kind else { return None };
        let is_word = |token: Option<&Token>| token.is_some_and(|token| matches!(token.kind, Kind::Word(_)));
        if matches!(letter.as_str(), "a" | "A" | "I") && is_word(tokens.get(at + 1)) {
            return Some(letter.to_lowercase());
        }
        let alone = tokens.get(at + 1).is_none_or(|next| {
            next.spaced || matches!(next.kind, Kind::Op('^' | '/' | '.' | ',' | '*' | ')'))
        });
        let behind_number = at > 0 && matches!(tokens[at - 1].kind, Kind::Number(_) | Kind::Op('}'));
        let unit = self.letters && words::LETTER_UNITS.contains(&letter.as_str());
        (unit && tokens[at].spaced && alone && behind_number).then(|| letter.clone())
    }

    fn value_follows(&self, at: usize) -> bool {
        (at..self.tokens.len()).any(|at| self.word(at).is_none() && is_value(&self.tokens[at]))
    }

    /// That something is left out, or asked.
    fn is_open(&self, at: usize) -> bool {
        self.is(at, '…') || self.is(at, '?')
    }

    /// `°C`, `° F`.
    fn is_temperature(&self, at: usize) -> bool {
        let scale = match self.tokens.get(at + 1).map(|token| &token.kind) {
            Some(Kind::Letter(letter)) => matches!(letter.as_str(), "C" | "F" | "K"),
            Some(Kind::Word(word)) => {
                matches!(word.to_lowercase().as_str(), "celsius" | "fahrenheit" | "c" | "f")
            }
            _ => false,
        };
        self.is(at, '°') && scale
    }

    /// Whether a comma's words begin another item: a label or a noun with a value of its own.
    fn item_follows(&self, at: usize) -> bool {
        let end = (at..self.tokens.len()).find(|at| self.word(*at).is_none());
        end.is_some_and(|end| starts_value(&self.tokens[end]) || self.is(end, ':') || self.is(end, '='))
    }

    /// Where a run of forms of "to be" and "equal to" before a value ends.
    fn copula(&self, at: usize) -> Option<usize> {
        let mut end = at;
        while let Some(word) = self.word(end) {
            if !(words::copula(&word) || (word == "to" && end > at)) {
                return None;
            }
            end += 1;
        }
        (end > at && self.tokens.get(end).is_some_and(starts_value)).then_some(end)
    }

    /// A unit at `at`, and where it ends.
    fn unit(&self, at: usize) -> Option<(Unit, usize)> {
        if self.is_temperature(at) {
            let scale = match &self.tokens[at + 1].kind {
                Kind::Letter(letter) | Kind::Word(letter) => letter[..1].to_uppercase(),
                _ => return None,
            };
            return Some((Unit::named(&format!("°{scale}"))?, at + 2));
        }
        let (mut unit, mut end) = self.simple_unit(at)?;
        loop {
            let (next, below) = match self.word(end).as_deref() {
                Some("per") => (end + 1, true),
                _ if self.is(end, '/') => (end + 1, true),
                _ if self.is(end, '*') => (end + 1, false),
                _ => return Some((unit, end)),
            };
            let Some((other, after)) = self.simple_unit(next) else { return Some((unit, end)) };
            unit = if below { unit.per(&other)? } else { unit.times(&other)? };
            end = after;
        }
    }

    /// A unit with its power: `cm^2`, "square feet".
    fn simple_unit(&self, at: usize) -> Option<(Unit, usize)> {
        let text = |at: usize| match &self.tokens.get(at)?.kind {
            Kind::Word(word) => Some(word.clone()),
            Kind::Letter(letter) if self.letters => Some(letter.clone()),
            _ => None,
        };
        let first = text(at)?;
        let power = match first.to_lowercase().as_str() {
            "square" | "sq" => Some(2),
            "cubic" | "cu" => Some(3),
            _ => None,
        };
        let mut at = at + usize::from(power.is_some());
        at += usize::from(power.is_some() && self.is(at, '.'));
        let name = text(at)?;
        if name.eq_ignore_ascii_case("in") && self.word(at + 1).is_some() {
            return None;
        }
        let unit = Unit::named(&name)?;
        let (written, end) = self.exponent(at + 1);
        Some((unit.raised(power.unwrap_or(1) * written)?, end))
    }

    /// A whole exponent at `at`, 1 where there is none, and where it ends.
    fn exponent(&self, at: usize) -> (i32, usize) {
        let number = |at: usize| match &self.tokens.get(at)?.kind {
            Kind::Number(text) => text.parse::<i32>().ok().filter(|power| *power < 10),
            _ => None,
        };
        let (braces, at_sign) = (usize::from(self.is(at + 1, '{')), at + 1);
        let sign = usize::from(self.is(at_sign + braces, '-'));
        match number(at_sign + braces + sign) {
            Some(power) if self.is(at, '^') && (braces == 0 || self.is(at_sign + sign + 2, '}')) => {
                (if sign == 1 { -power } else { power }, at_sign + 2 * braces + sign + 1)
            }
            _ => (1, at),
        }
    }

    /// Reads what stands behind a value.
    fn behind(&self, at: usize, money: bool, amount: Amount) -> Option<Behind> {
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
            (behind.noun, behind.name) = (Some(noun), name);
            at = end;
        } else if more && !money {
            return None;
        }
        // "12 cm apples": no.
        let bare = behind.unit.is_none() && behind.noun.is_none() && !money;
        behind.end = self.trail(at, bare, more)?;
        Some(behind)
    }

    /// What is counted: an unknown plural, up to three others before it.
    fn noun(&self, at: usize, amount: Amount) -> Option<(String, bool, usize)> {
        let mut name = false;
        let mut end = at;
        for _ in 0..4 {
            let Some(Token { kind: Kind::Word(written), .. }) = self.tokens.get(end) else { return None };
            let word = written.to_lowercase();
            // "5 pairs of shoes" are five.
            let of = self.word(end + 1).as_deref() == Some("of")
                && !words::spoils(&word)
                && words::share(&word).is_none();
            if (words::is_amount(&word) && !of)
                || words::preposition(&word, false)
                || words::copula(&word)
                || matches!(word.as_str(), "the" | "and" | "than" | "as")
            {
                return None;
            }
            name |= written.starts_with(|c: char| c.is_uppercase());
            let singular = amount == Amount::One
                && !words::trails(&word, false)
                && !words::verb(&word)
                && !["ing", "ed", "ly"].iter().any(|ending| word.ends_with(ending));
            let next = self.tokens.get(end + 1);
            // In a row of words the last plural is what is counted: "5 business days".
            let goes_on = |next: &Token| {
                let unknown = |next: &str| {
                    !words::trails(next, false)
                        && !words::preposition(next, false)
                        && !words::copula(next)
                        && !words::verb(next)
                        && !words::is_amount(next)
                        && !matches!(next, "and" | "or" | "than" | "as")
                };
                (singular && matches!(&next.kind, Kind::Word(next) if unknown(&next.to_lowercase())))
                    || matches!(&next.kind, Kind::Word(next) if words::plural(&next.to_lowercase()) && !words::trails(&next.to_lowercase(), false)
                    && !words::verb(&next.to_lowercase()))
            };
            let last = !next.is_some_and(goes_on);
            if (words::plural(&word) || words::sign(&word) || singular)
                && last
                && !words::trails(&word, false)
            {
                return Some((word, name, end + 1));
            }
            let hyphened = self.is(end + 1, '-') && !self.tokens[end + 1].spaced;
            end += 1 + usize::from(hyphened);
        }
        None
    }

    /// Reads what may follow a counted thing, or a bare number.
    fn trail(&self, mut at: usize, bare: bool, more: bool) -> Option<usize> {
        loop {
            if !bare && self.is(at, '/') && self.word(at + 1).is_some() {
                at += 2;
                continue;
            }
            let Some(word) = self.word(at) else { return self.clauses(at, true) };
            if matches!(word.as_str(), "and" | "or") && self.value_follows(at) {
                return Some(at);
            }
            if words::copula(&word) {
                return self.predicate(at + 1, bare);
            }
            if words::spoils(&word) {
                return None;
            }
            let next = self.word(at + 1);
            let comparison = word.ends_with("er") || matches!(word.as_str(), "more" | "less");
            if word == "than" && more && !bare {
                at = self.phrase(at + 1)?;
            } else if !bare && comparison && next.as_deref() == Some("than") {
                at = self.phrase(at + 2)?;
            } else if matches!(word.as_str(), "each" | "every")
                && next.as_ref().is_some_and(|next| !words::trails(next, false))
            {
                if words::preposition(next.as_deref().unwrap_or_default(), true) {
                    at += 1;
                } else if self.completes(&word, at + 1, bare) {
                    at = self.phrase(at + 1)?;
                } else {
                    return None;
                }
            } else if words::trails(&word, bare) {
                at += 1;
                // "left unwashed", "remaining uneaten".
                let stays = matches!(word.as_str(), "left" | "remaining");
                if !bare
                    && stays
                    && next.as_ref().is_some_and(|next| {
                        (next == "over" || next.starts_with("un")) && !words::spoils(next)
                    })
                {
                    at += 1;
                }
            } else if !bare
                && (matches!(
                    word.as_str(),
                    "last" | "next" | "this" | "that" | "can" | "will" | "have" | "had" | "has"
                ) || words::verb(&word)
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
            } else if words::preposition(&word, bare) && self.completes(&word, at + 1, bare) {
                at = self.phrase(at + 1)?;
            } else {
                return None;
            }
        }
    }

    /// Whether what follows a preposition leaves a bare number what it is.
    fn completes(&self, preposition: &str, at: usize, bare: bool) -> bool {
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
                words::share(&next).is_none() && words::scale(&next).is_none()
            }
            _ => true,
        }
    }

    /// Words behind a preposition, to the next break.
    fn phrase(&self, at: usize) -> Option<usize> {
        let mut end = at;
        while let Some(word) = self.word(end) {
            let month = matches!(&self.tokens[end].kind, Kind::Word(written) if written == "May");
            // "5 eggs that he did not eat", but not "that are not correct".
            let denied = matches!(word.as_str(), "not" | "without") || word.ends_with("n't");
            let of_things = denied
                && end > at
                && !self.word(end + 1).is_some_and(|next| {
                    words::harmless(&next) && !matches!(next.as_str(), "be" | "the" | "in")
                })
                && !matches!(
                    self.word(end + 1).as_deref(),
                    None | Some("true" | "so" | "really" | "valid" | "quite")
                );
            if words::spoils(&word) && !month && !of_things {
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
    fn predicate(&self, at: usize, bare: bool) -> Option<usize> {
        let mut end = at;
        while let Some(word) = self.word(end) {
            if words::spoils(&word) {
                return None;
            }
            let ok = words::harmless(&word) || words::trails(&word, bare);
            if !ok && !bare && words::preposition(&word, false) {
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
    fn clauses(&self, at: usize, after_value: bool) -> Option<usize> {
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
                        if words::spoils(&word) {
                            return None;
                        }
                        if words::preposition(&word, true)
                            && next.is_some()
                            && self.completes(&word, end + 1, true)
                        {
                            end = self.phrase(end + 1)?;
                            break;
                        }
                        if !(words::harmless(&word)
                            || words::trails(&word, false)
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

    /// Reads the words before a value: where they end, the currency among them, and what they name.
    fn before(&self, start: usize) -> Option<(usize, Option<Unit>, Vec<String>)> {
        let mut end = start;
        let mut unit = None;
        let mut clause = start;
        let mut words_before: Vec<String> = Vec::new();
        loop {
            match self.word(end) {
                Some(word) => {
                    if words::currency(&word) {
                        unit = Unit::named(&word);
                    }
                    if matches!(word.as_str(), "so" | "therefore" | "thus" | "hence")
                        && self.word(end + 1).is_some()
                    {
                        clause = end + 1;
                    }
                    let month = matches!(&self.tokens[end].kind, Kind::Word(written) if written == "May");
                    words_before.push(if month { "month".into() } else { word });
                }
                None if self.is(end, '-')
                    && !self.tokens[end].spaced
                    && end > start
                    && self.word(end + 1).is_some() => {}
                // A comma, a dash or a period that words follow, or a value: "In all, 5".
                None if self.is(end, ',') || self.is(end, '.') || self.is(end, '—') => {
                    clause = end + 1;
                    if self.is_open(end) {
                        return None;
                    }
                }
                None => break,
            }
            end += 1;
        }
        // Digits that a word ends in belong to it.
        let touches =
            self.tokens.get(end).is_some_and(|next| !next.spaced && matches!(next.kind, Kind::Number(_)));
        let own: Vec<String> =
            (clause..end).filter_map(|at| self.word(at)).filter(|word| !words::currency(word)).collect();
        let last_is_currency = self.word(end - 1).is_some_and(|word| words::currency(&word));
        if touches && !last_is_currency && clause < end {
            return None;
        }
        // What an earlier clause says of something else: "Twice as far as he did, she ran 5 miles".
        let earlier = words_before.len() - own.len().min(words_before.len());
        let says = own.iter().any(|word| words::verb(word) || words::copula(word));
        let spoilt = |(at, word): (usize, &String)| {
            (words::spoils(word) || matches!(word.as_str(), "different" | "else" | "any"))
                && !(says && at < earlier && words::of_its_clause(word))
        };
        if words_before.iter().enumerate().any(spoilt) {
            return None;
        }
        let content = |word: &&String| {
            !words::harmless(word)
                && !words::verb(word)
                && !words::copula(word)
                && !words::near_number(word)
                && !words::leads(word)
        };
        let labelled = self.is(end, ':') || self.is(end, '=') || self.is(end, '≈');
        if labelled || self.tokens.get(end).is_none() {
            return Some((end, unit, own.iter().filter(content).cloned().collect()));
        }
        // A hyphen joins the word to the number.
        if self.is(end, '-')
            && !own.is_empty()
            && !self.tokens[end].spaced
            && clause < end
            && !last_is_currency
        {
            return None;
        }
        self.leads_to(&own, end)?;
        Some((end, unit, own.iter().filter(content).cloned().collect()))
    }

    /// Whether things are counted by the number at `at`.
    fn counted(&self, at: usize) -> bool {
        let end = (at..self.tokens.len()).find(|at| self.word(*at).is_some());
        let end = end.filter(|end| {
            self.tokens[at..*end]
                .iter()
                .all(|token| matches!(token.kind, Kind::Number(_) | Kind::Op('/' | '.' | ',')))
        });
        let more =
            |at: usize| matches!(self.word(at).as_deref(), Some("more" | "fewer" | "additional" | "extra"));
        end.is_some_and(|end| {
            self.unit(end).is_some() || self.noun(end + usize::from(more(end)), Amount::Many).is_some()
        })
    }

    /// Whether the words before a value lead to it.
    fn leads_to(&self, own: &[String], end: usize) -> Option<()> {
        let mut rest = own;
        while let [before @ .., last] = rest
            && words::near_number(last)
        {
            rest = before;
        }
        let [before @ .., last] = rest else { return Some(()) };
        let previous = before.last().map_or("", String::as_str);
        // What is counted behind the number, after a preposition: "in 5 days".
        let measured = || {
            let behind = (end..self.tokens.len()).find(|at| self.word(*at).is_some());
            let money = self.word(end - 1).is_some_and(|word| words::currency(&word));
            money || behind.is_some_and(|at| self.unit(at).is_some())
        };
        // What is counted is no number that a word before it could change, where a sentence says it of someone.
        let counted = before.len() + own.len() - rest.len() > 0 && (measured() || self.counted(end));
        let fits = match last.as_str() {
            "of" => words::sizes(previous),
            "to" => {
                matches!(
                    previous,
                    "equal"
                        | "amounts"
                        | "amount"
                        | "down"
                        | "comes"
                        | "came"
                        | "simplifies"
                        | "evaluates"
                        | "reduces"
                        | "equals"
                ) || (previous == "up"
                    && before.len() > 1
                    && matches!(before[before.len() - 2].as_str(), "adds" | "add" | "comes" | "sums"))
                    || (counted
                        && !words::bounds(previous)
                        && !matches!(previous, "close" | "up" | "prior" | "next" | "equivalent"))
            }
            "by" => {
                matches!(
                    previous,
                    "increased" | "increases" | "decreased" | "decreases" | "grew" | "rose" | "fell"
                ) || (counted
                    && !words::bounds(previous)
                    && !matches!(previous, "divided" | "multiplied" | "divisible" | "raised" | "scaled"))
            }
            "with" => {
                counted
                    || matches!(
                        previous,
                        "left"
                            | "up"
                            | "remained"
                            | "remains"
                            | "leaves"
                            | "ends"
                            | "ended"
                            | "home"
                            | "started"
                            | "starts"
                            | "began"
                            | "begins"
                    )
            }
            "for" | "in" | "at" | "on" => measured() || counted,
            "save" => {
                matches!(previous, "will" | "would" | "can" | "could" | "to" | "they" | "we" | "i" | "you")
            }
            word => {
                words::verb(word)
                    || words::copula(word)
                    || words::leads(word)
                    || (counted && !words::bounds(word))
            }
        };
        // "fails to be 5", "hopes to have 5".
        let infinitive = rest.windows(3).next_back().is_none_or(|three| {
            three[1] != "to"
                || !(words::verb(&three[2]) || words::copula(&three[2]))
                || words::verb(&three[0])
                || words::copula(&three[0])
                || matches!(three[0].as_str(), "able" | "equal" | "up")
        });
        (fits && infinitive).then_some(())
    }
}

fn aside(word: &str) -> bool {
    !words::spoils(word)
        && (words::harmless(word) || words::trails(word, false) || Unit::named(word).is_some())
}

fn is_value(token: &Token) -> bool {
    matches!(token.kind, Kind::Number(_) | Kind::Letter(_) | Kind::Command(_))
}

fn is_variable(token: &Token) -> bool {
    matches!(token.kind, Kind::Letter(_))
}

fn ends_value(last: &Token) -> bool {
    is_value(last) || matches!(last.kind, Kind::Op(')' | '}' | ']' | '⦄' | '%' | '°' | '!'))
}

fn starts_value(token: &Token) -> bool {
    is_value(token) || matches!(token.kind, Kind::Op('(' | '{' | '[' | '⦃' | '-' | '±' | '|' | '∞'))
}

fn opens(token: &Token) -> bool {
    matches!(token.kind, Kind::Op('(' | '[' | '⦃' | '{' | '⟨'))
}

fn closes(token: &Token) -> bool {
    matches!(token.kind, Kind::Op(')' | ']' | '⦄' | '}' | '⟩'))
}
