//! Which choice an answer names by its letter, with the choice's text, a reason or praise behind it, and none beside.

use super::choice::bare;
use super::roles;
use super::tokens::{Kind, Token, tokens};

/// Words before a choice's letter that say nothing of it.
pub const LEADS: [&str; 24] = [
    "option",
    "options",
    "choice",
    "choices",
    "answer",
    "answers",
    "letter",
    "the",
    "is",
    "are",
    "correct",
    "right",
    "final",
    "best",
    "that",
    "therefore",
    "thus",
    "hence",
    "so",
    "it's",
    "it",
    "statement",
    "definitely",
    "clearly",
];
/// Words after which reasons follow.
pub const REASONS: [&str; 5] = ["because", "since", "as", "due", "for"];
/// What somebody says to have done for an answer: "C: I computed it".
const DONE: [&str; 8] =
    ["computed", "calculated", "checked", "verified", "derived", "counted", "solved", "worked"];
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
    let rest = without_denied(&rest[separators..])?;
    let says = texts(rest);
    let own = choices.get(index).map(|choice| texts(&tokens(bare(choice, index)))).unwrap_or_default();
    if rest.is_empty() || (!own.is_empty() && says == own) {
        return Some(index);
    }
    let own_text = !own.is_empty() && starts_with(&says, &own);
    let begins = rest[0].word();
    let reason = begins
        .as_deref()
        .is_some_and(|word| REASONS.contains(&word) || matches!(word, "is" | "would" | "seems"));
    let commended = rest.iter().all(|token| match token.word() {
        Some(word) => PRAISE.contains(&word.as_str()),
        None => matches!(token.kind, Kind::Op('.' | ',' | '!' | ')' | '(')),
    });
    let somebody = matches!(&rest[0].kind, Kind::Letter(word) | Kind::Word(word) if ["I", "we", "We"].contains(&&word[..]));
    let done =
        somebody && rest.get(1).and_then(Token::word).is_some_and(|word| DONE.contains(&word.as_str()));
    let because = done || begins.as_deref().is_some_and(|word| REASONS.contains(&word));
    // "C) cat" of "cat" and "cat and dog": the text is another choice's, all of it.
    let is_another =
        |(other, choice): (usize, &String)| other != index && texts(&tokens(bare(choice, other))) == says;
    if choices.iter().enumerate().any(is_another) {
        return None;
    }
    // Where the choices are known, what stands beside a letter is its text, a reason, or praise.
    let near = !own.is_empty() && (within(&says, &own) || starts_with(&own, &says) || says == own);
    if !(choices.is_empty() || near || because || commended) {
        return None;
    }
    let in_brackets = rest[0].is('(');
    if !(apart || closed || own_text || reason || in_brackets) {
        return None;
    }
    let clause = before_reasons(rest);
    let reasons = &rest[clause.len()..];
    let against = reasons.iter().any(|token| token.word().is_some_and(|word| roles::spoils(&word)));
    if !against && (0..reasons.len()).any(|at| names_another(reasons, at, index, count)) {
        return None;
    }
    let clause = &clause[if own_text { own.len().min(clause.len()) } else { 0 }..];
    let doubtful = |token: &Token| token.word().is_some_and(|word| roles::spoils(&word));
    let another = (0..clause.len()).any(|at| names_another(clause, at, index, count));
    let mut others = choices.iter().enumerate().filter(|(other, _)| *other != index);
    let other_text = |(other, choice): (usize, &String)| {
        let text = texts(&tokens(bare(choice, other)));
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
    let own = texts(&tokens(bare(choices.get(index)?, index)));
    (!own.is_empty() && texts(text) == own).then_some(index)
}

/// Without what is said not to be it: "(B), not (A)". `None` where the letter itself is denied.
fn without_denied(rest: &[Token]) -> Option<&[Token]> {
    let reason = before_reasons(rest).len();
    let says = |at: usize, word: &str| rest.get(at).and_then(Token::word).is_some_and(|said| said == word);
    let denies = |at: &usize| {
        says(*at, "not")
            || (says(*at, "rather") && says(at + 1, "than"))
            || (says(*at, "instead") && says(at + 1, "of"))
    };
    match (0..reason).find(denies) {
        None => Some(rest),
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
                        "but" | "correct" | "right" | "sure" | "certain" | "only" | "or" | "rather"
                    )
                })
            });
            sound.then_some(kept)
        }
        Some(_) => None,
    }
}

/// Whether the token names another choice: a capital or a letter in brackets, an article aside.
fn names_another(found: &[Token], at: usize, own: usize, count: usize) -> bool {
    let (Kind::Letter(letter) | Kind::Word(letter)) = &found[at].kind else { return false };
    let bracketed = at > 0 && found[at - 1].is('(') && found.get(at + 1).is_some_and(|next| next.is(')'));
    let article = matches!(letter.as_str(), "a" | "A" | "I")
        && matches!(found.get(at + 1).map(|next| &next.kind), Some(Kind::Word(next)) if !roles::copula(next));
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
