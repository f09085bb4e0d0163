//! Which choice an answer names by its letter, with the choice's text, a reason or praise behind it, and none beside.

use super::choice::{LEADS, REASONS, bare};
use super::tokens::{Kind, Token, tokens};
use super::{roles, words};

/// What somebody says to have done for an answer: "C: I computed it".
const DONE: [&str; 8] =
    ["computed", "calculated", "checked", "verified", "derived", "counted", "solved", "worked"];
/// Words that follow a name and no article.
const BEHIND_NAMES: [&str; 11] = ["in", "on", "at", "for", "of", "or", "and", "if", "with", "by", "to"];
/// Words that commend a choice.
const PRAISE: [&str; 22] = [
    "obviously",
    "clearly",
    "definitely",
    "certainly",
    "surely",
    "indeed",
    "is",
    "would",
    "be",
    "seems",
    "correct",
    "right",
    "best",
    "true",
    "answer",
    "option",
    "choice",
    "the",
    "most",
    "appropriate",
    "one",
    "statement",
];

/// The place in the alphabet of the letter that a text's tokens name, where it is one of `count`; what follows it may be the choice's text or a reason,
/// and names no other.
pub fn lettered(found: &[Token], count: usize, choices: &[String]) -> Option<usize> {
    let mut at = chosen(found);
    let mut opened = false;
    while let Some(token) = found.get(at) {
        match &token.kind {
            Kind::Op('(' | '[' | '⦃' | '{') => opened = true,
            // A dash that touches the letter is its sign: -i is not i.
            Kind::Op('-') if found.get(at + 1).is_some_and(|next| !next.spaced) => return None,
            Kind::Op(':' | '.' | '-' | '—' | ',' | '}') => opened = false,
            Kind::Word(word) if LEADS.contains(&word.to_lowercase().as_str()) => opened = false,
            _ => break,
        }
        at += 1;
    }
    let named = match &found.get(at)?.kind {
        Kind::Letter(letter) | Kind::Word(letter) => place(letter, count),
        _ => None,
    };
    let Some(index) = named else { return behind_text(found, count, choices) };
    let touched = found.get(at + 1).is_some_and(|next| {
        !next.spaced
            && matches!(
                next.kind,
                Kind::Number(_)
                    | Kind::Letter(_)
                    | Kind::Word(_)
                    | Kind::Op('^' | '_' | '\'' | '*' | '/' | '+')
            )
    });
    let closed =
        opened && found.get(at + 1).is_some_and(|next| matches!(next.kind, Kind::Op(')' | ']' | '⦄' | '}')));
    // "(a - b)2" is mathematics.
    let small = matches!(&found[at].kind, Kind::Letter(letter) if letter.chars().all(char::is_lowercase));
    if opened && small && !closed {
        return behind_text(found, count, choices);
    }
    at += 1;
    let rest = &found[at..];
    // A dash that touches what follows is its sign.
    let separates = |at: &usize| match &rest[*at].kind {
        Kind::Op('-') => rest.get(at + 1).is_some_and(|next| next.spaced),
        Kind::Op(op) => ")]⦄}.:,;—→!".contains(*op),
        _ => false,
    };
    let separators = (0..rest.len()).take_while(separates).count();
    if touched
        || (rest.first().is_some_and(|next| next.is('-'))
            && rest.get(1).is_some_and(|next| !next.spaced && !rest[0].spaced))
    {
        return None;
    }
    let apart = separators > 0;
    let rest = &joined(&rest[separators..])[..];
    let all = texts_of(choices);
    let own = all.get(index).map(|choice| texts(choice)).unwrap_or_default();
    // What stands behind a letter is compared with the choices before anything in it is read: "not" may be part of a choice's text.
    match spells(rest, &all, index) {
        Some(true) => return Some(index),
        Some(false) => return None,
        None => {}
    }
    let own_end = if all.is_empty() { 0 } else { own_end(rest, &all, index)? };
    let behind = without_denied(&rest[own_end..], &own, index)?;
    let rest = &rest[..own_end + behind.len()];
    let says = texts(rest);
    if behind.is_empty() {
        return Some(index);
    }
    let own_text = own_end > 0;
    let begins = behind[0].word();
    let reason = begins
        .as_deref()
        .is_some_and(|word| REASONS.contains(&word) || matches!(word, "is" | "would" | "seems"));
    let commended = rest.iter().all(|token| match token.word() {
        Some(word) => PRAISE.contains(&word.as_str()),
        None => matches!(token.kind, Kind::Op('.' | ',' | '!' | ')' | '(')),
    });
    let somebody = matches!(&behind[0].kind, Kind::Letter(word) | Kind::Word(word) if ["I", "we", "We"].contains(&&word[..]));
    let done =
        somebody && behind.get(1).and_then(Token::word).is_some_and(|word| DONE.contains(&word.as_str()));
    let because = done || begins.as_deref().is_some_and(|word| REASONS.contains(&word));
    // Where the choices are known, what stands beside a letter is its text, a reason, or praise.
    let near = !own.is_empty() && (within(&says, &own) || starts_with(&own, &says));
    if !(choices.is_empty() || near || because || commended) {
        return None;
    }
    let in_brackets = rest[0].is('(');
    if !(apart || closed || own_text || reason || in_brackets) {
        return None;
    }
    let clause = before_reasons(behind);
    let reasons = &behind[clause.len()..];
    // "B for 9", where 9 is another's text.
    let noun = reasons.first().and_then(Token::word).is_some_and(|word| matches!(&word[..], "for" | "as"));
    if noun && spells(&reasons[1..], &all, index) == Some(false) {
        return None;
    }
    let against = reasons.iter().any(|token| token.word().is_some_and(|word| roles::spoils(&word)));
    if !against && (0..reasons.len()).any(|at| names_another(reasons, at, index, count)) {
        return None;
    }
    let doubtful = |token: &Token| token.word().is_some_and(|word| roles::spoils(&word));
    let another = (0..clause.len()).any(|at| names_another(clause, at, index, count));
    let mut others = all.iter().enumerate().filter(|(other, _)| *other != index);
    let other_text = |(_, choice): (usize, &Vec<Token>)| {
        let text = texts(choice);
        !text.is_empty() && text != own && !within(&own, &text) && within(&texts(clause), &text)
    };
    let other_text = others.any(other_text);
    (!clause.iter().any(doubtful) && !another && !other_text).then_some(index)
}

/// Where "I choose" and the like end.
fn chosen(found: &[Token]) -> usize {
    let says = |at: usize, known: &[&str]| match found.get(at).map(|token| &token.kind) {
        Some(Kind::Word(word) | Kind::Letter(word)) => known.contains(&&word.to_lowercase()[..]),
        _ => false,
    };
    let somebody = usize::from(says(0, &["i", "we", "i'd", "we'd", "i'll", "we'll"]));
    let would = usize::from(somebody == 1 && says(1, &["would", "will"]));
    let verb = somebody + would;
    match () {
        () if somebody == 1 && says(verb, &["choose", "chose", "pick", "picked", "select", "selected"]) => {
            verb + 1
        }
        () if somebody == 1 && says(verb, &["go"]) && says(verb + 1, &["with", "for"]) => verb + 2,
        () if says(0, &["only", "just"]) => 1,
        () => 0,
    }
}

/// What is said before reasons are given.
pub fn before_reasons(found: &[Token]) -> &[Token] {
    let reason = |token: &Token| token.word().is_some_and(|word| REASONS.contains(&word.as_str()));
    &found[..found.iter().position(reason).unwrap_or(found.len())]
}

/// "Paris (B)": the choice's text and then its letter.
fn behind_text(found: &[Token], count: usize, choices: &[String]) -> Option<usize> {
    let [text @ .., open, letter, close] = found else { return None };
    let (Kind::Letter(letter), true, true) = (&letter.kind, open.is('('), close.is(')')) else { return None };
    let index = place(letter, count)?;
    (spells(&joined(text), &texts_of(choices), index) == Some(true)).then_some(index)
}

/// The choices without their letters.
pub fn texts_of(choices: &[String]) -> Vec<Vec<Token>> {
    choices.iter().enumerate().map(|(at, choice)| joined(&tokens(bare(choice, at)))).collect()
}

/// With letters that touch as one word: Fe is Fe, in `\text{…}` and outside.
pub fn joined(found: &[Token]) -> Vec<Token> {
    let mut joined: Vec<Token> = Vec::new();
    for token in found {
        let letter = matches!(&token.kind, Kind::Letter(letter) if letter.chars().count() == 1);
        match (joined.last_mut().map(|last| &mut last.kind), &token.kind) {
            (Some(Kind::Letter(run)), Kind::Letter(next)) if letter && !token.spaced => run.push_str(next),
            _ => joined.push(token.clone()),
        }
    }
    joined
}

/// Whether the choice at `index` is the one whose text is all of `rest`; letter case, brackets and money tell apart what they alone tell apart. `None`
/// where it is no choice's text.
fn spells(rest: &[Token], choices: &[Vec<Token>], index: usize) -> Option<bool> {
    let rest = without_ends(rest);
    let opened = |found: &[Token]| found.iter().any(|token| token.is('('));
    let inner = match rest {
        [open, inner @ .., close] if open.is('(') && close.is(')') => without_ends(inner),
        [inner @ .., close] if close.is(')') && !opened(inner) => without_ends(inner),
        all => all,
    };
    let written = |found: &[Token], case: bool| -> Vec<Kind> {
        let kind = |token: &Token| match &token.kind {
            Kind::Letter(text) | Kind::Word(text) if case => Kind::Word(text.clone()),
            Kind::Letter(text) | Kind::Word(text) => Kind::Word(text.to_lowercase()),
            other => other.clone(),
        };
        without_ends(found).iter().map(kind).collect()
    };
    let fitting = |fits: &dyn Fn(&Vec<Token>) -> bool| -> Vec<usize> {
        (0..choices.len()).filter(|at| fits(&choices[*at])).collect()
    };
    for case in [true, false] {
        for said in [rest, inner] {
            let said = written(said, case);
            let found = fitting(&|choice| !said.is_empty() && written(choice, case) == said);
            if !found.is_empty() {
                let one = |at: &usize| written(&choices[*at], true) == written(&choices[index], true);
                return Some(found.contains(&index) && (case || found.iter().all(one)));
            }
        }
    }
    let said = texts(rest);
    let found = fitting(&|choice| !said.is_empty() && texts(choice) == said);
    (!found.is_empty()).then(|| found == [index])
}

/// Where the text of the choice at `index` ends, with which `rest` begins: 0 where it begins with none. `None` where another choice's text is all that
/// stands before a break.
fn own_end(rest: &[Token], choices: &[Vec<Token>], index: usize) -> Option<usize> {
    let end = |choice: &Vec<Token>| text_end(rest, choice);
    let Some(longest) = choices.iter().filter_map(end).max() else { return Some(0) };
    let breaks = rest.get(longest).is_none_or(|next| match &next.kind {
        Kind::Op(op) => ",;.:—-!(".contains(*op),
        _ => next.word().is_some_and(|word| REASONS.contains(&word.as_str())),
    });
    match spells(&rest[..longest], choices, index) {
        Some(false) if breaks && !starts_with(&texts(&choices[index]), &texts(rest)) => None,
        Some(true) => Some(longest),
        _ => Some(end(&choices[index]).unwrap_or(0)),
    }
}

/// Where the text of a choice ends, with which `rest` begins.
pub fn text_end(rest: &[Token], choice: &[Token]) -> Option<usize> {
    let mut end = 0;
    for want in texts(choice) {
        let said = rest[end..].iter().position(|token| !texts(std::slice::from_ref(token)).is_empty())?;
        if texts(&rest[end + said..=end + said]) != [want] {
            return None;
        }
        end += said + 1;
    }
    let brackets = rest[end..].iter().take_while(|token| matches!(token.kind, Kind::Op(')' | ']' | '⦄')));
    (end > 0).then_some(end + brackets.count())
}

/// Without punctuation at the end.
fn without_ends(mut found: &[Token]) -> &[Token] {
    while let [before @ .., last] = found
        && matches!(last.kind, Kind::Op('.' | ',' | ';' | ':' | '!' | '}'))
    {
        found = before;
    }
    found
}

/// Without what is said not to be it: "(B), not (A)". `None` where the letter itself, of `index`, or its `own` text is denied.
fn without_denied<'a>(rest: &'a [Token], own: &[String], index: usize) -> Option<&'a [Token]> {
    let reason = before_reasons(rest).len();
    let says = |at: usize, word: &str| rest.get(at).and_then(Token::word).is_some_and(|said| said == word);
    let denies = |at: &usize| {
        says(*at, "not")
            || (says(*at, "rather") && says(at + 1, "than"))
            || (says(*at, "instead") && says(at + 1, "of"))
    };
    // "Not (A)", whatever the texts begin with.
    let letter = |at: usize| {
        let bracket = usize::from(rest.get(at + 1).is_some_and(|next| next.is('(')));
        let (Kind::Letter(letter) | Kind::Word(letter)) = &rest.get(at + 1 + bracket)?.kind else {
            return None;
        };
        let behind = rest.get(at + 2 + bracket).is_none_or(|next| matches!(next.kind, Kind::Op(_)));
        place(letter, 26).filter(|_| behind && letter.bytes().all(|byte| byte.is_ascii_uppercase()))
    };
    match (0..reason).find(denies) {
        None => Some(rest),
        Some(at) if letter(at) == Some(index) => None,
        Some(0) if own.first().is_some_and(|first| first == "not") && letter(0).is_none() => None,
        Some(at)
            if !own.is_empty() && {
                let denied = texts(&rest[at + 1..]);
                denied == own || starts_with(&denied, own)
            } =>
        {
            None
        }
        Some(at)
            if at == 0
                || matches!(rest[at - 1].kind, Kind::Op(',' | ';' | '(' | '—' | '-' | '.'))
                || rest[at - 1].word().as_deref() == Some("and") =>
        {
            let end =
                if at > 0 && (rest[at - 1].is('(') || rest[at - 1].word().is_some()) { at - 1 } else { at };
            let mut kept = &rest[..end];
            while let [before @ .., last] = kept
                && matches!(last.kind, Kind::Op(',' | ';' | '—' | '-' | '.'))
            {
                kept = before;
            }
            let sound = rest[at + 1..reason].iter().all(|token| {
                !token.word().is_some_and(|word| {
                    matches!(
                        word.as_str(),
                        "but"
                            | "correct"
                            | "right"
                            | "sure"
                            | "certain"
                            | "only"
                            | "or"
                            | "rather"
                            | "really"
                    )
                })
            });
            sound.then_some(kept)
        }
        Some(_) => None,
    }
}

/// Whether the token names another choice: a capital or a letter in brackets, an article aside.
pub fn names_another(found: &[Token], at: usize, own: usize, count: usize) -> bool {
    let (Kind::Letter(letter) | Kind::Word(letter)) = &found[at].kind else { return false };
    let bracketed = at > 0 && found[at - 1].is('(') && found.get(at + 1).is_some_and(|next| next.is(')'));
    // No article stands there: "A in another case", "A or B", "A $5".
    let apart = |word: &str| {
        words::currency(&word.to_lowercase()) || BEHIND_NAMES.contains(&&word.to_lowercase()[..])
    };
    let article = matches!(letter.as_str(), "a" | "A" | "I")
        && matches!(found.get(at + 1).map(|next| &next.kind), Some(Kind::Word(next)) if !(roles::copula(next) || apart(next)));
    let all = found.iter().all(|token| match &token.kind {
        Kind::Letter(_) | Kind::Op(_) => true,
        Kind::Word(word) => word.len() == 1 || matches!(word.as_str(), "and" | "or"),
        _ => false,
    });
    let capital = letter.bytes().all(|byte| byte.is_ascii_uppercase());
    letter.len() == 1
        && (bracketed || all || (capital && !article))
        && place(letter, count).is_some_and(|other| other != own)
}

pub fn place(letter: &str, count: usize) -> Option<usize> {
    match letter.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => {
            Some(usize::from(byte.to_ascii_uppercase() - b'A')).filter(|index| *index < count)
        }
        _ => None,
    }
}

/// What tokens say: small letters, punctuation and brackets left out.
fn texts(found: &[Token]) -> Vec<String> {
    let text = |token: &Token| match &token.kind {
        Kind::Word(text) if text == "$" => None,
        Kind::Number(text) | Kind::Letter(text) | Kind::Word(text) | Kind::Command(text) => {
            Some(text.to_lowercase())
        }
        Kind::Op(op) if "+-*/^=<>≤≥%!√°|∪".contains(*op) => Some(op.to_string()),
        Kind::Op(_) => None,
    };
    found.iter().filter_map(text).collect()
}

fn starts_with(all: &[String], start: &[String]) -> bool {
    all.len() > start.len() && all[..start.len()] == *start
}

fn within(all: &[String], part: &[String]) -> bool {
    !part.is_empty() && all.windows(part.len()).any(|window| window == part)
}
