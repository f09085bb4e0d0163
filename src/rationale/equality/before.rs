//! What may stand before a value: a label, words that lead to it, somebody who does something to so many.

use super::behind::Amount;
use super::reader::Reader;
use super::spans::MONTHS;
use super::tokens::Kind;
use super::units::Unit;
use super::{roles, words};

impl Reader<'_> {
    /// Reads the words before a value: where they end, the currency among them, and what they name.
    pub fn before(&self, start: usize) -> Option<(usize, Option<Unit>, Vec<String>)> {
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
        let says = own.iter().any(|word| roles::verb(word) || roles::copula(word));
        // "The least common multiple", "the most expensive one": what is said to be so, and no bound.
        let superlative = |at: usize| {
            matches!(words_before[at].as_str(), "least" | "most")
                && at > 0
                && words_before[at - 1] == "the"
                && words_before.get(at + 1).is_some_and(|next| !roles::copula(next))
        };
        let spoilt = |(at, word): (usize, &String)| {
            !superlative(at)
                && (roles::spoils(word) || matches!(word.as_str(), "different" | "else" | "any"))
                && !(says && at < earlier && roles::of_its_clause(word))
        };
        if words_before.iter().enumerate().any(spoilt) {
            return None;
        }
        // "Monday, 18" is a date, "On Monday, 18" is not.
        if let ([day], []) = (&words_before[..], &own[..])
            && of_calendar(day)
        {
            return None;
        }
        let content = |word: &&String| {
            !roles::harmless(word)
                && !roles::verb(word)
                && !roles::copula(word)
                && !roles::near_number(word)
                && !roles::leads(word)
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

    /// Whether a year is all that follows.
    fn is_year(&self, at: usize) -> bool {
        let year = matches!(self.tokens.get(at).map(|token| &token.kind), Some(Kind::Number(text)) if text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit()));
        year && self.tokens[at + 1..].iter().all(|token| token.is('.'))
    }

    /// Whether things are counted by the number at `at`.
    pub fn counted(&self, at: usize) -> bool {
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
    pub fn leads_to(&self, own: &[String], end: usize) -> Option<()> {
        let mut rest = own;
        while let [before @ .., last] = rest
            && roles::near_number(last)
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
            "of" => roles::sizes(previous),
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
                        && !roles::bounds(previous)
                        && !matches!(previous, "close" | "up" | "prior" | "next" | "equivalent"))
            }
            "by" => {
                matches!(
                    previous,
                    "increased" | "increases" | "decreased" | "decreases" | "grew" | "rose" | "fell"
                ) || (counted
                    && !roles::bounds(previous)
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
            // "in 1990"
            "in" if own.len() == 1 && self.is_year(end) => true,
            "for" | "in" | "at" | "on" => measured() || counted,
            "year" if self.is_year(end) => true,
            "save" => {
                matches!(previous, "will" | "would" | "can" | "could" | "to" | "they" | "we" | "i" | "you")
            }
            word => {
                roles::verb(word)
                    || roles::copula(word)
                    || roles::leads(word)
                    || (counted && !roles::bounds(word))
            }
        };
        // "fails to be 5", "hopes to have 5".
        let infinitive = rest.windows(3).next_back().is_none_or(|three| {
            three[1] != "to"
                || !(roles::verb(&three[2]) || roles::copula(&three[2]))
                || roles::verb(&three[0])
                || roles::copula(&three[0])
                || matches!(three[0].as_str(), "able" | "equal" | "up")
        });
        (fits && infinitive).then_some(())
    }
}

/// Whether it is a day of the week or a month; "may" mostly allows.
fn of_calendar(word: &str) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    DAYS.contains(&word) || word == "month" || (word != "may" && MONTHS.contains(&word))
}
