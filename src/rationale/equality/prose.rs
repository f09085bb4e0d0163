//! A sentence to the mathematics in it: names of numbers, scale words and signs are read, units, labels and asides go, doubt spoils it.

use super::expression::Node;
use super::parser::parse;
use super::reader::is_value;
use super::reals::all_but;
use super::relation::settled;
use super::tokens::{Kind, Token};
use super::units::Unit;
use super::{compound, heads, roles, sentence, value, words};

/// The mathematics of a sentence, and what it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Its value as written.
    pub node: Node,
    /// The unit, where it is a known one.
    pub unit: Option<Unit>,
    /// The variable that it is said to be of.
    pub label: Option<String>,
    /// What is counted, its last word.
    pub noun: Option<String>,
    /// Whether what is counted is written as a name is, "2 Chronicles": a gold answer that is so is a text.
    pub name: bool,
}

/// What `tokens` say, where they say one thing. `letters` are units where they may be: `5 m` is 5.
pub fn said(tokens: &[Token], letters: bool) -> Option<Said> {
    if let Some(node) = heads::phrase(tokens).or_else(|| all_but(tokens)) {
        return Some(Said { node, unit: None, label: None, noun: None, name: false });
    }
    let tokens = numbers_by_name(heads::of_members(heads::without_any(tokens)));
    if let Some((node, unit)) = compound::amount(&tokens) {
        return Some(Said { node, unit: Some(unit), label: None, noun: None, name: false });
    }
    let (tokens, named) = heads::without(&tokens);
    let tokens = without_denied(without_reasons(tokens))?;
    let mut plain = sentence::plain(&tokens, letters)?;
    let tokens = without_asides(trimmed(&plain.tokens));
    let tokens = trimmed(&tokens);
    let node = parse(tokens)?;
    let (label, node) = settled(node)?;
    let unit = plain.unit.take();
    Some(Said { node, unit, label: named.or(label), noun: plain.noun, name: plain.name })
}

/// What is said before reasons are given: "7 because 3 + 4 is 7".
fn without_reasons(tokens: &[Token]) -> &[Token] {
    let reason = |token: &Token| matches!(token.word().as_deref(), Some("because" | "since"));
    match tokens.iter().position(reason) {
        // "7 (because …)", too.
        Some(at) if tokens[..at].iter().any(is_value) => match &tokens[..at] {
            [before @ .., open] if open.is('(') => before,
            all => all,
        },
        _ => tokens,
    }
}

fn word_at(tokens: &[Token], at: usize) -> Option<String> {
    match &tokens.get(at)?.kind {
        Kind::Letter(letter) if letter == "a" && matches!(tokens.get(at + 1)?.kind, Kind::Word(_)) => {
            Some(letter.clone())
        }
        _ => tokens[at].word(),
    }
}

fn number_token(text: String, like: &Token) -> Token {
    Token { kind: Kind::Number(text), spaced: like.spaced, comma: false }
}

/// "twenty-five" as 25, "two thirds" as 2/3, "minus" before a number as its sign, "5 million" as 5e6, "percent" and "degrees" as their signs.
pub fn numbers_by_name(tokens: &[Token]) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let Some(word) = word_at(tokens, at) else {
            found.push(token.clone());
            at += 1;
            continue;
        };
        let with_digits = tokens.iter().any(|token| matches!(token.kind, Kind::Number(_)));
        let named = cardinal(tokens, at).filter(|(_, end)| {
            // Beside a number in digits, "the two of them" and "in two days" say of whom and when.
            let says_of = at > 0
                && word_at(tokens, at - 1).is_some_and(|word| {
                    matches!(
                        word.to_lowercase().as_str(),
                        "the"
                            | "all"
                            | "these"
                            | "those"
                            | "other"
                            | "in"
                            | "for"
                            | "each"
                            | "every"
                            | "after"
                            | "first"
                            | "last"
                            | "next"
                    )
                });
            if with_digits && says_of && word_at(tokens, *end).is_some() {
                return false;
            }
            // "One of them" is no number, nor is "no one".
            word != "one"
                || (found.is_empty() && word_at(tokens, at + 1).as_deref() != Some("of"))
                || share_at(tokens, at + 1).is_some()
                || cardinal(tokens, at).is_some_and(|(_, end)| end > at + 1)
        });
        if let Some((value, end)) = named {
            at = end;
            if let Some((below, end)) = share_at(tokens, end)
                .filter(|(below, after)| value < *below && (value > 1) == plural_share(tokens, *after))
            {
                at = end;
                found.extend(fraction(value, below, token));
            } else {
                found.push(number_token(value.to_string(), token));
            }
            continue;
        }
        // "a third of a cup", "5 and a quarter".
        let article = matches!(word.as_str(), "a" | "one");
        if let Some((below, end)) =
            share_at(tokens, at + 1).filter(|(_, end)| article && !plural_share(tokens, *end))
        {
            found.extend(fraction(1, below, token));
            at = end;
            continue;
        }
        if word == "and" && matches!(found.last().map(|last| &last.kind), Some(Kind::Number(_))) {
            let part = cardinal(tokens, at + 1)
                .or_else(|| (word_at(tokens, at + 1).as_deref() == Some("a")).then_some((1, at + 2)));
            let share = part.and_then(|(value, end)| Some((value, share_at(tokens, end)?)));
            if let Some((value, (below, end))) = share
                .filter(|(value, (below, end))| value < below && (*value > 1) == plural_share(tokens, *end))
            {
                found.extend(fraction(value, below, &Token { spaced: true, ..token.clone() }));
                at = end;
                continue;
            }
            // "3 hundred and 45".
            let hundreds =
                match (found.last().map(|last| &last.kind), tokens.get(at + 1).map(|next| &next.kind)) {
                    (Some(Kind::Number(whole)), Some(Kind::Number(rest))) if rest.len() < 3 => whole
                        .strip_suffix("e2")
                        .and_then(|whole| Some(whole.parse::<u64>().ok()? * 100 + rest.parse::<u64>().ok()?)),
                    _ => None,
                };
            if let Some(value) = hundreds {
                found.last_mut().expect("a number").kind = Kind::Number(value.to_string());
                at += 2;
                continue;
            }
        }
        at += 1;
        let after_number = match found.last() {
            Some(Token { kind: Kind::Number(text), .. }) if !text.contains('e') => Some(text.clone()),
            _ => None,
        };
        if let (Some(power), Some(number)) = (words::scale(&word), after_number) {
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
        } else if matches!(word.as_str(), "minus" | "negative")
            && tokens.get(at).is_some_and(|next| {
                !matches!(next.kind, Kind::Op('-'))
                    && (next.word().is_none() || cardinal(tokens, at).is_some())
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

/// The whole number whose name begins at `at`, and where it ends: "two thousand five hundred and six".
fn cardinal(tokens: &[Token], at: usize) -> Option<(u64, usize)> {
    let (mut total, mut part, mut last): (u64, Option<u64>, u32) = (0, None, u32::MAX);
    let mut end = at;
    loop {
        let hyphen = usize::from(end > at && tokens.get(end).is_some_and(|token| token.is('-')));
        let and = usize::from(end > at && word_at(tokens, end).as_deref() == Some("and"));
        let next = end + hyphen + and;
        let Some(word) = word_at(tokens, next) else { break };
        let article = end == at
            && word == "a"
            && word_at(tokens, at + 1).and_then(|word| words::scale(&word)).is_some_and(|scale| scale < 7);
        if article {
            (part, end) = (Some(1), at + 1);
        } else if let Some(value) = words::number(&word) {
            let (sum, fits) = match part {
                None => (value, and == 0 || total > 0),
                Some(known) if value < 10 && known % 100 >= 20 && known % 10 == 0 => {
                    (known + value, value > 0 && and == 0)
                }
                Some(known) => (known + value, known >= 100 && known % 100 == 0 && value > 0 && hyphen == 0),
            };
            if !fits {
                break;
            }
            (part, end) = (Some(sum), next + 1);
        } else if let (Some(scale), Some(known), 0) = (words::scale(&word), part, and) {
            if scale == 2 && known < 100 {
                part = Some(known * 100);
            } else if scale > 2 && scale < last && scale < 16 {
                (total, part, last) =
                    (total.checked_add(known.checked_mul(10_u64.pow(scale))?)?, None, scale);
            } else {
                return None;
            }
            end = next + 1;
        } else {
            break;
        }
    }
    (end > at && (part.is_some() || total > 0)).then(|| (total + part.unwrap_or(0), end))
}

/// The denominator that a word at `at` names, a hyphen before it or not, and where it ends.
fn share_at(tokens: &[Token], at: usize) -> Option<(u64, usize)> {
    let at = at + usize::from(tokens.get(at).is_some_and(|token| token.is('-')));
    Some((roles::share(&word_at(tokens, at)?)?, at + 1))
}

fn plural_share(tokens: &[Token], end: usize) -> bool {
    word_at(tokens, end - 1).is_some_and(|word| word.ends_with('s') || word == "halves")
}

fn fraction(above: u64, below: u64, like: &Token) -> [Token; 3] {
    [
        number_token(above.to_string(), like),
        Token::new(Kind::Op('/')),
        Token::new(Kind::Number(below.to_string())),
    ]
}

fn after_number_is_whole(found: &[Token]) -> bool {
    matches!(found.last(), Some(Token { kind: Kind::Number(text), .. }) if text.len() < 12 && text.bytes().all(|byte| byte.is_ascii_digit()))
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
        return Some(tokens.to_vec());
    }
    let end = if opened {
        tokens[at..].iter().position(|token| token.is(')')).map(|close| at + close)
    } else {
        None
    };
    let denied = &tokens[at + 1..end.unwrap_or(tokens.len())];
    // It is another value that is denied: "5, not correct" denies its own.
    if !denied.iter().any(is_value)
        || denied.iter().any(|token| token.word().is_some_and(|word| roles::spoils(&word) && word != "or"))
    {
        return None;
    }
    let kept = if start < at { start } else { start - 1 };
    let mut kept = tokens[..kept].to_vec();
    kept.extend(end.map_or(&[][..], |end| &tokens[end + 1..]).iter().cloned());
    Some(kept)
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
