//! Which words may stand beside a value and leave it what it is: units and things that are counted behind it, labels and verbs before it,
//! and a closed list of others. Whatever else stands there makes it another value or none.

use super::behind::Amount;
use super::reader::{Reader, ends_value, is_value, is_variable, starts_value};
use super::roles;
use super::tokens::{Kind, Token};
use super::units::Unit;

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
                && reader.word(at + 1).is_some_and(|word| !roles::spoils(&word))
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
            // "x = 2 or y = 3" is neither both nor two values of one.
            let next = tokens.get(at + 1..).and_then(named);
            let last = found.windows(2).rev().find_map(named);
            if either && matches!((last, next), (Some(last), Some(next)) if last != next) {
                return None;
            }
            let bounds = |token: &Token| matches!(token.kind, Kind::Op('<' | '>' | '≤' | '≥'));
            let denied = tokens.iter().filter(|token| token.is('≠')).count() > 1;
            if either && (denied || tokens.iter().any(bounds)) && !tokens.iter().any(|token| token.is(',')) {
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

/// The variable of which a value is said to begin with.
fn named(tokens: &[Token]) -> Option<&Kind> {
    match tokens {
        [Token { kind: name @ Kind::Letter(_), .. }, equals, ..] if equals.is('=') => Some(name),
        _ => None,
    }
}

fn aside(word: &str) -> bool {
    !roles::spoils(word)
        && (matches!(word, "see" | "above" | "below" | "shown")
            || roles::harmless(word)
            || roles::trails(word, false)
            || Unit::named(word).is_some())
}

fn opens(token: &Token) -> bool {
    matches!(token.kind, Kind::Op('(' | '[' | '⦃' | '{' | '⟨'))
}

fn closes(token: &Token) -> bool {
    matches!(token.kind, Kind::Op(')' | ']' | '⦄' | '}' | '⟩'))
}
