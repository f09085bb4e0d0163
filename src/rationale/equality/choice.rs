//! Which choice, letter or truth value an answer names; naming two names none.

use super::letters::{before_reasons, joined, lettered, names_another, place, text_end, texts_of};
use super::tokens::{Kind, Token, tokens};
use super::{Alone, plain, roles, trimmed};

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
/// The choice that an answer names. A letter alone that is another choice's text names neither: of O, A, B and AB, `B` is the second and the third.
pub fn answered(text: &str, choices: &[String]) -> Option<usize> {
    let own = plain(text);
    let place = place(&own, choices.len());
    let other = |(index, choice): (usize, &String)| Some(index) != place && plain(choice) == own;
    if place.is_some() && choices.iter().enumerate().any(other) {
        return None;
    }
    named(text, own, choices)
}

/// The choice that `text` names, by its text or by its letter; the text goes first.
pub fn choice(text: &str, choices: &[String]) -> Option<usize> {
    named(text, plain(text), choices)
}

/// The same of a text of which [`plain`] leaves `own`.
fn named(text: &str, own: String, choices: &[String]) -> Option<usize> {
    if choices.is_empty() {
        return None;
    }
    // "15!" is not 15, nor is "15 %".
    let excited =
        text.trim_end().strip_suffix('!').is_some_and(|text| text.ends_with(|c: char| c.is_ascii_digit()));
    // "Rome?" is asked, not said.
    let asked = text.trim_end_matches(|c: char| c.is_whitespace() || "\"'”’*`).".contains(c)).ends_with('?');
    let any = |mark: char| choices.iter().any(|choice| choice.contains(mark));
    if (excited && !any('!')) || (asked && !any('?')) {
        return None;
    }
    if let Some(by_text) = by_text(text, &own, choices) {
        return by_text;
    }
    let found = tokens(text);
    if let Some(index) = lettered(&found, choices.len(), choices) {
        return Some(index);
    }
    let percent = |found: &[Token]| {
        found.iter().any(|token| token.is('%') || token.word().is_some_and(|word| word == "percent"))
    };
    let of_hundred = percent(&found);
    let named_too = |index: usize| {
        let own = tokens(bare(&choices[index], index));
        let has = |at: usize| own.iter().any(|token| token.kind == found[at].kind);
        // AB, \angle B and P(A) are of figures and events.
        let of = |token: Option<&Token>| {
            token
                .is_some_and(|token| matches!(token.kind, Kind::Letter(_) | Kind::Command(_) | Kind::Op('_')))
        };
        let part = |at: usize| {
            let before = at - usize::from(at > 0 && found[at - 1].is('('));
            of(before.checked_sub(1).map(|at| &found[at]))
                || of(found.get(at + 1).filter(|next| !next.spaced))
        };
        let named = |at: usize| names_another(&found, at, index, choices.len()) && !has(at) && !part(at);
        (0..found.len()).any(named)
    };
    let alone = Alone::of(found.clone(), own.clone());
    if alone.truth.is_some() && negated(text) {
        return None;
    }
    let mut named = (0..choices.len()).filter(|index| {
        let choice = bare(&choices[*index], *index);
        let found = tokens(choice);
        let counts = percent(&found) || !of_hundred;
        (Alone::of(found, plain(choice)).is(&alone) && counts)
            || unordered(without_lead(&own)) == unordered(without_lead(&plain(choice)))
    });
    let index = named.next()?;
    // "A = 2" and "2 or A" name A, and 2 besides.
    (named.next().is_none() && !named_too(index)).then_some(index)
}

/// The choice whose text is all of `text`; letter case tells apart only what nothing else does. The inner one is `None` where two fit.
fn by_text(text: &str, own: &str, choices: &[String]) -> Option<Option<usize>> {
    let only = |fits: &dyn Fn(usize, &str) -> bool| {
        let mut found =
            choices.iter().enumerate().filter(|(index, choice)| fits(*index, choice)).map(|(index, _)| index);
        let first = found.next()?;
        Some((found.next().is_none()).then_some(first))
    };
    let exact = trimmed(text);
    let of_letter = |index: usize, choice: &str| plain(bare(choice, index)) == own && !own.is_empty();
    let first = |fits: &dyn Fn(usize, &str) -> bool| {
        choices.iter().enumerate().find(|(index, choice)| fits(*index, choice)).map(|(index, _)| Some(index))
    };
    // Where punctuation is all, it is what tells choices apart.
    let same = |choice: &str| trimmed(choice) == exact && (!exact.is_empty() || choice.trim() == text.trim());
    first(&|_, choice| same(choice))
        .or_else(|| first(&|index, choice| trimmed(bare(choice, index)) == exact && !exact.is_empty()))
        .or_else(|| only(&|_, choice| plain(choice) == own && !own.is_empty()))
        .or_else(|| only(&of_letter))
}

/// Several choices that `text` names by their letters, in its order: `A, C`, `A and C`, `AC`.
pub fn choices(text: &str, count: usize) -> Option<Vec<usize>> {
    let mut found = Vec::new();
    for token in tokens(text) {
        match &token.kind {
            Kind::Letter(letter) | Kind::Word(letter) if letter.len() == 1 => {
                found.push(place(letter, count)?)
            }
            Kind::Word(word) if word.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                for letter in word.chars() {
                    found.push(place(&letter.to_string(), count)?);
                }
            }
            Kind::Word(word)
                if word.eq_ignore_ascii_case("and")
                    || word.eq_ignore_ascii_case("both")
                    || LEADS.contains(&word.to_lowercase().as_str()) => {}
            Kind::Op(',' | ';' | '&' | '(' | ')' | '[' | ']' | '.' | '⦃' | '⦄' | '{' | '}' | ':') => {}
            _ => return None,
        }
    }
    let twice = (1..found.len()).any(|at| found[..at].contains(&found[at]));
    (found.len() > 1 && !twice).then_some(found)
}

/// Several choices that `text` names, by their letters or their texts, in its order.
pub fn several(text: &str, of: &[String]) -> Option<Vec<usize>> {
    choices(text, of.len()).or_else(|| spelled(text, of))
}

/// Several choices that `text` names by their texts, letters before them or not: `A) red and C) blue`, `red, blue`. Nothing else may stand there.
fn spelled(text: &str, choices: &[String]) -> Option<Vec<usize>> {
    let all = tokens(text);
    let mut found = Vec::new();
    let texts = texts_of(choices);
    let mut rest = &joined(&all)[..];
    let mut apart = true;
    while let Some(first) = rest.first() {
        let joins = match &first.kind {
            Kind::Op(op) => ",;&.⏎".contains(*op),
            Kind::Word(word) => word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("both"),
            _ => false,
        };
        if joins {
            (rest, apart) = (&rest[1..], true);
            continue;
        }
        let longest = |rest: &[Token]| {
            let ends = texts.iter().enumerate().filter_map(|(at, text)| Some((text_end(rest, text)?, at)));
            let most = ends.clone().map(|(end, _)| end).max()?;
            let mut longest = ends.filter(|(end, _)| *end == most);
            longest.next().filter(|_| longest.next().is_none())
        };
        let marked = marked(rest, choices.len());
        let letter = marked.filter(|(_, end)| *end > 1 || longest(rest).is_none());
        let (index, end) = match (letter, longest(rest)) {
            (Some((index, end)), _) => match longest(&rest[end..]) {
                None => (index, end),
                Some((behind, own)) if own == index => (index, end + behind),
                Some(_) => return None,
            },
            (None, Some((end, index))) => (index, end),
            (None, None) => return None,
        };
        if !apart || found.contains(&index) {
            return None;
        }
        found.push(index);
        (rest, apart) = (&rest[end..], false);
    }
    (found.len() > 1).then_some(found)
}

/// The letter with which `rest` begins, `A`, `(A)`, `A)`, `A.` or `A:`, and where what marks it ends.
fn marked(rest: &[Token], count: usize) -> Option<(usize, usize)> {
    let open = usize::from(rest.first()?.is('('));
    let (Kind::Letter(letter) | Kind::Word(letter)) = &rest.get(open)?.kind else { return None };
    let closed = rest.get(open + 1).is_some_and(|next| match next.kind {
        Kind::Op(')') => true,
        Kind::Op('.' | ':') => open == 0,
        _ => false,
    });
    let index = place(letter, count).filter(|_| closed || open == 0)?;
    Some((index, open + 1 + usize::from(closed)))
}

/// The letter that is all of a gold answer, bare or in brackets.
pub fn letter(gold: &str) -> bool {
    let kinds: Vec<Token> = tokens(gold)
        .into_iter()
        .filter(|token| !matches!(token.kind, Kind::Op('(' | ')' | '[' | ']' | '.' | ':')))
        .collect();
    matches!(&kinds[..], [Token { kind: Kind::Letter(letter) | Kind::Word(letter), .. }] if letter.len() == 1 && letter.is_ascii())
}

/// A choice without the letter that it may bring: `B)21.5`.
pub fn bare(choice: &str, index: usize) -> &str {
    let text = choice.trim().trim_start_matches(['(', '[']);
    let own = u8::try_from(index).ok().filter(|index| *index < 26).map(|index| char::from(b'A' + index));
    match (text.chars().next(), own) {
        (Some(first), Some(own)) if first.to_ascii_uppercase() == own => {
            let rest = &text[first.len_utf8()..];
            let after = rest.trim_start_matches([')', ']', '.', ':']);
            if after.len() < rest.len() && !after.trim().is_empty() { after.trim() } else { choice }
        }
        _ => choice,
    }
}

/// Without "it is" and an article.
fn without_lead(text: &str) -> &str {
    let rest = ["it is ", "it's ", "it was ", "this is "]
        .iter()
        .find_map(|lead| text.strip_prefix(lead))
        .unwrap_or(text);
    ["a ", "an ", "the "].iter().find_map(|article| rest.strip_prefix(article)).unwrap_or(rest)
}

/// What "and" joins, in alphabetical order: "dog and cat" is "cat and dog".
fn unordered(text: &str) -> Vec<&str> {
    let all = text.strip_prefix("both ").filter(|_| text.contains(" and ")).unwrap_or(text);
    let mut parts: Vec<&str> = all.split(" and ").map(|part| without_lead(part.trim())).collect();
    parts.sort_unstable();
    parts
}

/// Whether a text says yes or no, true or false; `~True` says neither.
pub fn truth_of(text: &str) -> Option<bool> {
    truth(&tokens(text)).filter(|_| !negated(text))
}

/// Whether the sign that TeX takes for a space begins a text, where it may be that of a negation.
fn negated(text: &str) -> bool {
    text.trim_start_matches(|c: char| c.is_whitespace() || "$(*\"".contains(c)).starts_with('~')
}

/// Whether a text's tokens say yes or no, true or false.
pub fn truth(found: &[Token]) -> Option<bool> {
    let is = |token: &Token| match token.word().as_deref() {
        Some("yes" | "true") => Some(true),
        Some("no" | "false") => Some(false),
        _ => None,
    };
    let start = found.iter().position(|token| match &token.kind {
        Kind::Word(word) => !LEADS.contains(&word.to_lowercase().as_str()),
        Kind::Op(op) => !"([{⦃)]}⦄.,:;*•→".contains(*op),
        _ => true,
    })?;
    let said = is(&found[start]).or_else(|| match found[start].word()?.as_str() {
        "yep" | "yeah" | "yup" => Some(true),
        "nope" => Some(false),
        _ => None,
    })?;
    let rest = &found[start + 1..];
    let apart = rest.first().is_none_or(|next| match &next.kind {
        Kind::Op(op) => ",.;:—-!)]}(".contains(*op),
        Kind::Word(word) => REASONS.contains(&word.to_lowercase().as_str()),
        _ => false,
    });
    let clause = before_reasons(rest);
    let denied = |at: usize| is(&clause[at]).is_some_and(|other| other != said) || doubts(clause, at, said);
    (apart && !(0..clause.len()).any(denied) && !turned(clause, said)).then_some(said)
}

/// Whether a clause behind "yes" or "no" says no more than the other one: "no, it does", "yes, it is not".
fn turned(clause: &[Token], said: bool) -> bool {
    const WHAT: [&str; 10] = ["it", "they", "he", "she", "there", "that", "this", "these", "we", "i"];
    const DOES: [&str; 19] = [
        "is", "are", "was", "were", "does", "do", "did", "can", "could", "will", "would", "has", "have",
        "had", "should", "may", "might", "must", "am",
    ];
    const SO: [&str; 9] =
        ["so", "true", "right", "correct", "indeed", "possible", "actually", "really", "too"];
    clause.split(|token| matches!(token.kind, Kind::Op(',' | '.' | ';' | '—' | ':' | '!'))).any(|part| {
        let words: Vec<String> = part
            .iter()
            .filter_map(|token| match &token.kind {
                Kind::Letter(letter) => Some(letter.to_lowercase()),
                _ => token.word(),
            })
            .collect();
        let pronoun = words.iter().rposition(|word| WHAT.contains(&word.trim_end_matches("'s")));
        // "Actually it does", "I think it is"; "the dog can do what it does" says it of something else.
        let Some(at) = pronoun.filter(|at| *at <= 3) else { return false };
        let short = words[at].ends_with("'s");
        let mut behind = words[at + 1..].iter().map(String::as_str).peekable();
        let verb = behind.next_if(|word| !short && DOES.contains(&word.trim_end_matches("n't")));
        let negated = verb.is_some_and(|verb| verb.ends_with("n't"));
        let negated = behind.next_if(|word| *word == "not").is_some() || negated;
        (verb.is_some() || short) && negated == said && behind.all(|word| SO.contains(&word))
    })
}

/// Whether the word at `at` behind "yes" or "no" takes it back: what an explanation says of amounts and what may be does not.
fn doubts(clause: &[Token], at: usize, said: bool) -> bool {
    let word = |at: usize| clause.get(at).and_then(Token::word);
    let Some(own) = word(at) else { return clause[at].is('?') };
    let before = |back: usize| at.checked_sub(back).and_then(word);
    match own.as_str() {
        // "Cats or dogs do", but not "or" by itself.
        "or" => {
            let number =
                |at: usize| clause.get(at).is_some_and(|token| matches!(token.kind, Kind::Number(_)));
            !(number(at + 1) && number(at.wrapping_sub(1)))
                && (before(1).is_none() || word(at + 1).is_none_or(|next| roles::denies(&next)))
        }
        "doubt" | "doubts" => {
            ![before(1), before(2)].into_iter().flatten().any(|word| word == "without" || word == "beyond")
        }
        "maybe" | "perhaps" => true,
        "but" if !said => true,
        own => said && roles::spoils(own) && !roles::explains(own),
    }
}
