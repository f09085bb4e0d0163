//! A sentence to the mathematics in it: names of numbers, scale words and signs are read, units, labels and asides go, doubt spoils it.

use super::expression::Node;
use super::parser::parse;
use super::relation::settled;
use super::tokens::{Kind, Token};
use super::{value, words};

/// The mathematics of a sentence, and the unit behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Its value as written.
    pub node: Node,
    /// The measure, where it is a known one.
    pub unit: Option<&'static str>,
    /// The variable that it is said to be of.
    pub label: Option<String>,
}

/// What `tokens` say, where they say one thing. `letters` are units where they may be: `5 m` is 5.
pub fn said(tokens: &[Token], letters: bool) -> Option<Said> {
    let tokens = numbers_by_name(tokens);
    let tokens = without_denied(without_reasons(&tokens))?;
    let (tokens, unit) = without_words(&tokens, letters)?;
    let tokens = without_asides(trimmed(&tokens));
    let tokens = trimmed(&tokens);
    let node = parse(tokens)?;
    let (label, node) = settled(node)?;
    Some(Said { node, unit, label })
}

/// What is said before reasons are given: "7 because 3 + 4 is 7".
fn without_reasons(tokens: &[Token]) -> &[Token] {
    let reason = |token: &Token| matches!(token.word().as_deref(), Some("because" | "since"));
    match tokens.iter().position(reason) {
        Some(at) if tokens[..at].iter().any(is_value) => &tokens[..at],
        _ => tokens,
    }
}

fn word_at(tokens: &[Token], at: usize) -> Option<String> {
    tokens.get(at)?.word()
}

fn number_token(text: String, like: &Token) -> Token {
    Token { kind: Kind::Number(text), spaced: like.spaced, comma: false }
}

/// "twenty-five" as 25, "minus" before a number as its sign, "5 million" as 5e6, "percent" and "degrees" as their signs.
fn numbers_by_name(tokens: &[Token]) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        at += 1;
        let Some(word) = token.word() else {
            found.push(token.clone());
            continue;
        };
        let after_number = match found.last() {
            Some(Token { kind: Kind::Number(text), .. }) if !text.contains('e') => Some(text.clone()),
            _ => None,
        };
        if let Some(mut value) = words::number(&word) {
            // "One of them" is no number, nor is "no one".
            let hyphen = usize::from(tokens.get(at).is_some_and(|token| token.is('-')));
            if value >= 20
                && let Some(ones) = word_at(tokens, at + hyphen)
                    .and_then(|word| words::number(&word))
                    .filter(|ones| (1..10).contains(ones))
            {
                value += ones;
                at += hyphen + 1;
            }
            let ends = tokens.get(at).is_none_or(|next| !matches!(next.word().as_deref(), Some("of")));
            if word != "one" || (ends && found.is_empty()) {
                found.push(number_token(value.to_string(), token));
            } else {
                found.push(token.clone());
            }
        } else if let (Some(power), Some(number)) = (words::scale(&word), after_number) {
            let last = found.last_mut().expect("a number");
            last.kind = Kind::Number(format!("{number}e{power}"));
            last.comma = false;
        } else if word == "dozen" && after_number_is_whole(&found) {
            let Some(Token { kind: Kind::Number(number), .. }) = found.last_mut() else { continue };
            *number = (number.parse::<u64>().unwrap_or(0) * 12).to_string();
        } else if matches!(word.as_str(), "percent" | "pct")
            || (word == "per" && word_at(tokens, at).as_deref() == Some("cent"))
        {
            at += usize::from(word == "per");
            found.push(Token { kind: Kind::Op('%'), ..token.clone() });
        } else if matches!(word.as_str(), "degree" | "degrees") {
            found.push(Token { kind: Kind::Op('°'), ..token.clone() });
            // Celsius, Fahrenheit are units.
        } else if matches!(word.as_str(), "minus" | "negative")
            && tokens.get(at).is_some_and(|next| {
                !matches!(next.kind, Kind::Op('-'))
                    && (next.word().is_none() || words::number(&next.word().unwrap_or_default()).is_some())
            })
        {
            found.push(Token { kind: Kind::Op('-'), ..token.clone() });
        } else if word == "plus"
            && word_at(tokens, at).as_deref() == Some("or")
            && word_at(tokens, at + 1).as_deref() == Some("minus")
        {
            at += 2;
            found.push(Token { kind: Kind::Op('±'), ..token.clone() });
        } else {
            found.push(token.clone());
        }
    }
    found
}

fn after_number_is_whole(found: &[Token]) -> bool {
    matches!(found.last(), Some(Token { kind: Kind::Number(text), .. }) if text.len() < 12 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_value(token: &Token) -> bool {
    matches!(token.kind, Kind::Number(_) | Kind::Letter(_) | Kind::Command(_))
}

/// Without what is said not to be the answer: ", not 8", "(not 8)", "and not 8", to its bracket or the end. `None` where something else follows instead.
fn without_denied(tokens: &[Token]) -> Option<Vec<Token>> {
    let Some(at) = tokens.iter().position(|token| matches!(token.word().as_deref(), Some("not"))) else {
        return Some(tokens.to_vec());
    };
    let mut start = at;
    if start > 0 && matches!(tokens[start - 1].word().as_deref(), Some("and")) {
        start -= 1;
    }
    let opened = start > 0 && tokens[start - 1].is('(');
    let apart = start > 0
        && (tokens[start - 1].is(',') || tokens[start - 1].is(';') || tokens[start - 1].is('—') || opened)
        || start < at;
    if !apart || !tokens[..start].iter().any(is_value) {
        return None;
    }
    let end = if opened {
        tokens[at..].iter().position(|token| token.is(')')).map(|close| at + close)
    } else {
        None
    };
    let denied = &tokens[at + 1..end.unwrap_or(tokens.len())];
    if denied.iter().any(|token| token.word().is_some_and(|word| words::spoils(&word) && word != "or")) {
        return None;
    }
    let kept = if start < at { start } else { start - 1 };
    let mut kept = tokens[..kept].to_vec();
    kept.extend(end.map_or(&[][..], |end| &tokens[end + 1..]).iter().cloned());
    Some(kept)
}

/// Mathematics alone: units and other words dropped, "and" and "or" between values as commas. `None` where a word spoils what is said.
fn without_words(tokens: &[Token], letters: bool) -> Option<(Vec<Token>, Option<&'static str>)> {
    let mut found: Vec<Token> = Vec::new();
    let mut unit = None;
    let mut gap = false;
    let mut before: Vec<String> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let word = token.word().or_else(|| letter_as_word(tokens, at, letters));
        let Some(word) = word else {
            let starts = is_value(token)
                || matches!(token.kind, Kind::Op('(' | '{' | '[' | '⦃' | '-' | '±' | '|' | '∞'));
            if starts && before.iter().rev().take(2).any(|word| words::spoils_next(word)) && gap {
                return None;
            }
            let ends = found.last().is_some_and(|last| {
                is_value(last) || matches!(last.kind, Kind::Op(')' | '}' | ']' | '⦄' | '%' | '°' | '!'))
            });
            // A full stop or a dash between clauses is a gap, as a word is.
            if matches!(token.kind, Kind::Op('.' | '?' | '—' | '…')) {
                gap = true;
                at += 1;
                continue;
            }
            if token.is(':') && (found.is_empty() || gap) {
                gap = true;
                at += 1;
                continue;
            }
            // After words a dash is a dash.
            let dash = token.is('-') && token.spaced && tokens.get(at + 1).is_some_and(|next| !next.spaced);
            if gap && ends && (dash || (starts && !token.is('-'))) {
                found.push(Token::new(Kind::Op('¦')));
            }
            if !(token.is('-') && gap && tokens.get(at + 1).is_none_or(|next| next.word().is_some())) {
                found.push(token.clone());
            }
            gap = false;
            before.clear();
            at += 1;
            continue;
        };
        at += 1;
        let joins = matches!(word.as_str(), "and" | "or");
        if joins && found.iter().any(is_value) && tokens[at..].iter().any(is_value) {
            if !found.last().is_some_and(|last| last.is(',')) {
                found.push(Token::new(Kind::Op(',')));
            }
            gap = false;
            before.clear();
            continue;
        }
        let bigger = matches!(
            word.as_str(),
            "more" | "less" | "fewer" | "greater" | "larger" | "smaller" | "higher" | "lower" | "other"
        );
        if word == "up" && before.last().is_some_and(|word| word == "and") {
            return None;
        }
        let month = word == "may" && matches!(&token.kind, Kind::Word(text) if text == "May");
        if (words::spoils(&word) && !month)
            || (bigger && word_at(tokens, at).as_deref() == Some("than") && !found.iter().any(is_value))
        {
            return None;
        }
        // Digits that a word ends in belong to it.
        if tokens.get(at).is_some_and(|next| !next.spaced && matches!(next.kind, Kind::Number(_)))
            && !words::currency(&word)
        {
            return None;
        }
        if found.last().is_some_and(is_value)
            || found.last().is_some_and(|last| matches!(last.kind, Kind::Op('}' | ')' | '⦄')))
        {
            unit = unit.or(words::measure(&word));
            at = after_unit(tokens, at);
        }
        before.push(word);
        gap = true;
    }
    Some((found, unit))
}

/// A letter that is a word: an article, "I", or a unit that stands apart behind a number.
fn letter_as_word(tokens: &[Token], at: usize, letters: bool) -> Option<String> {
    let Kind::Letter(letter) = &tokens[at].kind else { return None };
    let is_word = |token: Option<&Token>| token.is_some_and(|token| matches!(token.kind, Kind::Word(_)));
    let alone = tokens
        .get(at + 1)
        .is_none_or(|next| next.spaced || matches!(next.kind, Kind::Op('^' | '/' | '.' | ',')));
    let behind_number = at > 0 && matches!(tokens[at - 1].kind, Kind::Number(_) | Kind::Op('}'));
    if matches!(letter.as_str(), "a" | "A" | "I") && is_word(tokens.get(at + 1)) {
        return Some(letter.to_lowercase());
    }
    let unit = letters && words::LETTER_UNITS.contains(&letter.as_str());
    (unit && tokens[at].spaced && alone && behind_number).then(|| letter.clone())
}

/// Where a unit ends that goes on behind a word: `^2`, `²`, `/h`, `per hour`.
fn after_unit(tokens: &[Token], mut at: usize) -> usize {
    loop {
        let number = |at: usize| matches!(tokens.get(at).map(|token| &token.kind), Some(Kind::Number(_)));
        let op = |at: usize, op: char| tokens.get(at).is_some_and(|token| token.is(op));
        let name = |at: usize| {
            matches!(tokens.get(at).map(|token| &token.kind), Some(Kind::Word(_) | Kind::Letter(_)))
        };
        if op(at, '^') && op(at + 1, '{') && number(at + 2) && op(at + 3, '}') {
            at += 4;
        } else if op(at, '^') && op(at + 1, '-') && number(at + 2) {
            at += 3;
        } else if (op(at, '^') && number(at + 1)) || ((op(at, '/') || op(at, '*')) && name(at + 1)) {
            at += 2;
        } else {
            return at;
        }
    }
}

/// Without punctuation, gaps and braces that nothing opened or closed, at both ends.
fn trimmed(tokens: &[Token]) -> &[Token] {
    let mut tokens = tokens;
    loop {
        let braces = |open: char| tokens.iter().filter(|token| token.is(open)).count();
        tokens = match tokens {
            [first, rest @ ..] if matches!(first.kind, Kind::Op('¦' | ',' | ';' | ':' | '.' | '→')) => {
                rest
            }
            [rest @ .., last] if matches!(last.kind, Kind::Op('¦' | ',' | ';' | ':' | '.' | '?' | '⏎')) => {
                rest
            }
            [first, rest @ ..] if first.is('}') && braces('}') > braces('{') => rest,
            [rest @ .., last] if last.is('{') && braces('{') > braces('}') => rest,
            [first, middle @ .., last] if first.is('{') && last.is('}') && balanced(middle) => middle,
            _ => return tokens,
        };
    }
}

fn balanced(tokens: &[Token]) -> bool {
    let mut depth = 0_i32;
    for token in tokens {
        depth += i32::from(token.is('{')) - i32::from(token.is('}'));
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}

/// Without brackets behind a value that say it again: "12 (twelve)", "12 (5 + 7)", "12 (in all)".
fn without_asides(tokens: &[Token]) -> Vec<Token> {
    let [.., last] = tokens else { return tokens.to_vec() };
    if !last.is(')') {
        return tokens.to_vec();
    }
    let mut depth = 0;
    let open = tokens.iter().rposition(|token| {
        depth += i32::from(token.is(')')) - i32::from(token.is('('));
        depth == 0
    });
    let Some(open) = open.filter(|open| *open > 0) else { return tokens.to_vec() };
    let (before, aside) = (trimmed(&tokens[..open]), trimmed(&tokens[open + 1..tokens.len() - 1]));
    let apart = tokens[open].spaced || tokens[open - 1].is('¦');
    if apart && (aside.is_empty() || says_again(before, aside)) { before.to_vec() } else { tokens.to_vec() }
}

fn says_again(before: &[Token], aside: &[Token]) -> bool {
    let (Some(before), Some(aside)) = (parse(before), parse(aside)) else { return false };
    let (Some((_, before)), Some((_, aside))) = (settled(before), settled(aside)) else { return false };
    before.literal().is_some() && value::same_number(&before, &aside)
}
