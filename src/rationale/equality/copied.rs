//! Answers that copy the question: of the gold answer's value, not written as it is, and in the question as an expression of their own. Who is asked
//! to simplify 84/144 has not answered with 84/144.

use super::tokens::{Kind, Token, unbounded};
use super::{Read, Reading, texts, words};
use std::sync::OnceLock;

/// Bytes of a question that are looked into, from its end.
const LONGEST: usize = 8000;

/// What was asked, read when it is first needed.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    text: &'a str,
    /// None where no form is asked for.
    read: OnceLock<Option<Vec<Token>>>,
}

impl<'a> Question<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut start = text.len().saturating_sub(LONGEST);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        Self { text: &text[start..], read: OnceLock::new() }
    }

    /// Whether it asks for what it has in another form; elsewhere what stands in a question may be its answer, too.
    fn asks_for_a_form(&self) -> bool {
        const ASKS: [&str; 26] = [
            "simplify",
            "simplified",
            "simplest",
            "reduce",
            "reduced",
            "lowest",
            "rewrite",
            "write",
            "express",
            "expressed",
            "convert",
            "converted",
            "factor",
            "factors",
            "factorise",
            "factorize",
            "factored",
            "expand",
            "expanded",
            "evaluate",
            "sort",
            "sorted",
            "arrange",
            "ascending",
            "descending",
            "rationalize",
        ];
        const AS: [&str; 6] =
            ["as a fraction", "as a decimal", "as a percent", "as a mixed", "as a product", "as a power"];
        let lower = self.text.to_ascii_lowercase();
        let mut words = lower.split(|c: char| !c.is_alphabetic());
        words.any(|word| ASKS.contains(&word)) || AS.iter().any(|form| lower.contains(form))
    }

    /// Whether `answer` stands in it and is not written as `gold` is.
    pub fn has(&self, answer: &Reading, gold: &Reading) -> bool {
        let (Read::Value { tokens: own, .. }, Read::Value { tokens, .. }) = (&answer.kind, &gold.kind) else {
            return false;
        };
        if own == tokens
            || self.text.is_empty()
            || !own.iter().any(|kind| matches!(kind, Kind::Number(_) | Kind::Letter(_)))
        {
            return false;
        }
        let read = || self.asks_for_a_form().then(|| spelled_tokens(unbounded(self.text)));
        let Some(asked) = self.read.get_or_init(read) else { return false };
        let (gold_form, form) = (Form::of(tokens), Form::of(own));
        if gold_form.is_of(&form)
            || (numbers(&gold_form.whole) == numbers(&form.whole) && one_value(gold, answer))
        {
            return false;
        }
        let plain = measured_alike(gold, answer)
            && !gold_form.whole.iter().any(|kind| matches!(kind, Kind::Op('^' | '*' | '!')));
        let told = |said: &[Kind]| {
            // A whole number that stands in a question is seldom what the question is of, unless a power or another unit is asked for.
            let alone = matches!(said, [Kind::Number(text)] if !text.contains(['.', 'e']));
            let letter = matches!(said, [] | [Kind::Letter(_)]);
            !(letter || alone && plain) && stands(asked, said)
        };
        told(&form.written) || form.parts.iter().any(|part| told(part))
    }
}

/// An answer as it is written, what changes nothing left out.
struct Form {
    /// All of it in one spelling.
    written: Vec<Kind>,
    /// Its values without words and the brackets around them.
    whole: Vec<Kind>,
    /// The sides of its equalities.
    parts: Vec<Vec<Kind>>,
}

impl Form {
    fn of(kinds: &[Kind]) -> Self {
        let written = spelled(kinds.to_vec());
        let kinds: Vec<Kind> =
            written.iter().filter(|kind| !matches!(kind, Kind::Word(_))).cloned().collect();
        let parts =
            kinds.split(|kind| matches!(kind, Kind::Op('=' | '≈'))).map(|part| bare(part).to_vec()).collect();
        Self { whole: bare(&kinds).to_vec(), parts, written }
    }

    /// Whether this gold answer's form is that of the answer or of a side of it; shares, degrees and money are written with their signs and without.
    fn is_of(&self, answer: &Self) -> bool {
        let signs = |kinds: &[Kind]| -> Vec<Kind> {
            kinds.iter().filter(|kind| !matches!(kind, Kind::Op('%' | '°'))).cloned().collect()
        };
        let own = signs(&self.whole);
        let last = self.parts.last().map(|part| signs(part));
        own == signs(&answer.whole)
            || answer.parts.iter().any(|part| signs(part) == own)
            || (answer.parts.len() == 1 && last == Some(signs(&answer.whole)))
    }
}

/// Without the brackets around all of it, and punctuation at its ends.
fn bare(mut kinds: &[Kind]) -> &[Kind] {
    loop {
        kinds = match kinds {
            [rest @ .., Kind::Op(',' | '.' | ';' | ':')] | [Kind::Op(',' | '.' | ';' | ':'), rest @ ..] => {
                rest
            }
            [Kind::Op(open), inner @ .., Kind::Op(close)]
                if "({[⦃".contains(*open) && ")}]⦄".contains(*close) && closed(inner) =>
            {
                inner
            }
            _ => return kinds,
        };
    }
}

/// Whether all brackets in it are closed in it.
fn closed(kinds: &[Kind]) -> bool {
    let mut depth = 0_i32;
    for kind in kinds {
        if let Kind::Op(op) = kind {
            depth += i32::from("({[⦃".contains(*op)) - i32::from(")}]⦄".contains(*op));
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}

fn numbers(kinds: &[Kind]) -> Vec<&Kind> {
    kinds.iter().filter(|kind| matches!(kind, Kind::Number(_))).collect()
}

fn said(reading: &Reading) -> &[super::Said] {
    match &reading.kind {
        Read::Value { said, .. } => said,
        _ => &[],
    }
}

/// Whether both are one expression, its terms in one order.
fn one_value(gold: &Reading, answer: &Reading) -> bool {
    said(gold).iter().any(|gold| said(answer).iter().any(|own| gold.node == own.node))
}

/// Whether no unit is named that differs.
fn measured_alike(gold: &Reading, answer: &Reading) -> bool {
    said(gold).iter().any(|gold| {
        said(answer).iter().any(|own| gold.unit.is_none() || own.unit.is_none() || gold.unit == own.unit)
    })
}

/// Each thing in one spelling: numbers without needless zeros, fractions with a slash, "percent" as its sign, no braces around one sign.
fn spelled(kinds: Vec<Kind>) -> Vec<Kind> {
    let tokens = kinds.into_iter().map(Token::new).collect();
    spelled_tokens(tokens).into_iter().map(|token| token.kind).collect()
}

fn spelled_tokens(tokens: Vec<Token>) -> Vec<Token> {
    let mut found = Vec::with_capacity(tokens.len());
    let tokens = texts::without_idle_braces(tokens);
    fractions(&tokens, &mut found, 0);
    for token in &mut found {
        token.kind = match std::mem::replace(&mut token.kind, Kind::Op(' ')) {
            Kind::Number(text) => Kind::Number(short(&text)),
            Kind::Word(word) if matches!(&word.to_lowercase()[..], "percent" | "pct") => Kind::Op('%'),
            Kind::Word(word) => Kind::Word(word.to_lowercase()),
            Kind::Op('⦃') => Kind::Op('{'),
            Kind::Op('⦄') => Kind::Op('}'),
            other => other,
        };
    }
    found.retain(|token| token.kind != Kind::Word("$".into()));
    found
}

fn short(text: &str) -> String {
    let text = if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    };
    match text.trim_start_matches('0') {
        "" => "0".into(),
        rest if rest.starts_with(['.', 'e']) => format!("0{rest}"),
        rest => rest.into(),
    }
}

/// How deep fractions are looked for in each other.
const DEPTH: usize = 20;

fn fractions(tokens: &[Token], found: &mut Vec<Token>, depth: usize) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        if token.kind != Kind::Command("frac".into()) || depth > DEPTH {
            found.push(token.clone());
            continue;
        }
        // \frac12: a digit each; where braces have gone, \frac 84 144 has its own.
        if let Some(Kind::Number(digits)) = tokens.get(at).map(|next| &next.kind)
            && digits.len() == 2
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !matches!(tokens.get(at + 1).map(|next| &next.kind), Some(Kind::Number(_)))
        {
            let digit = |at: usize| Token::new(Kind::Number(digits[at..=at].into()));
            let above = Token { spaced: token.spaced, ..digit(0) };
            found.extend([above, Token::new(Kind::Op('/')), digit(1)]);
            at += 1;
            continue;
        }
        for part in 0..2 {
            let end = group(tokens, at);
            let grouped = tokens.get(at).is_some_and(|next| next.is('{'));
            let inside = if grouped {
                &tokens[(at + 1).min(end)..end.saturating_sub(1).max(at + 1).min(tokens.len())]
            } else {
                &tokens[at..end]
            };
            let start = found.len();
            if inside.len() > 1 {
                found.push(Token::new(Kind::Op('(')));
            }
            fractions(inside, found, depth + 1);
            if inside.len() > 1 {
                found.push(Token::new(Kind::Op(')')));
            }
            if part == 0 {
                if let Some(first) = found.get_mut(start) {
                    first.spaced = token.spaced;
                }
                found.push(Token::new(Kind::Op('/')));
            }
            at = end;
        }
    }
}

/// Where what begins at `at` ends: a group in braces, or one token.
fn group(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (end, token) in tokens.iter().enumerate().skip(at) {
        depth = if token.is('{') { depth + 1 } else { depth.saturating_sub(usize::from(token.is('}'))) };
        if depth == 0 {
            return end + 1;
        }
    }
    tokens.len()
}

/// Whether `said` stands in a question with nothing at its sides that goes on with it.
fn stands(asked: &[Token], said: &[Kind]) -> bool {
    let list = said.iter().any(|kind| matches!(kind, Kind::Op(',' | ';')));
    (0..asked.len().saturating_sub(said.len() - 1)).any(|at| {
        let end = at + said.len();
        asked[at..end].iter().map(|token| &token.kind).eq(said)
            && begins(asked, at, list)
            && ends(asked, end, list)
    })
}

fn begins(asked: &[Token], at: usize, list: bool) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| &asked[at]) else { return true };
    let earlier = at.checked_sub(2).map(|at| &asked[at].kind);
    let value = matches!(
        earlier,
        Some(Kind::Number(_) | Kind::Letter(_) | Kind::Command(_) | Kind::Op(')' | '}' | ']' | '^' | '_'))
    );
    match &before.kind {
        Kind::Word(_) => true,
        Kind::Letter(letter) => matches!(letter.as_str(), "a" | "A" | "I") && asked[at].spaced,
        Kind::Op(':') => !matches!(earlier, Some(Kind::Number(_))),
        Kind::Op('(' | '[' | '{') => !list && !value,
        Kind::Op(',') => !list,
        Kind::Op(op) => "=<>≤≥≈;.?→…⏎&".contains(*op),
        _ => false,
    }
}

fn ends(asked: &[Token], end: usize, list: bool) -> bool {
    let Some(behind) = asked.get(end) else { return true };
    match &behind.kind {
        Kind::Word(word) => words::scale(word).is_none() && (!list || !matches!(&word[..], "and" | "or")),
        Kind::Letter(letter) => behind.spaced && words::LETTER_UNITS.contains(&letter.as_str()),
        Kind::Op(':') => !matches!(asked.get(end + 1).map(|next| &next.kind), Some(Kind::Number(_))),
        Kind::Op(')' | ']' | '}' | ',') => !list,
        Kind::Op(op) => "=<>≤≥≈;.?→…⏎&".contains(*op),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Equality;

    fn right(question: &str, gold: &str, answer: &str) -> bool {
        Equality::of(Some(gold), &[]).asked(question).same(gold, answer)
    }

    #[test]
    fn what_is_asked_is_no_answer_to_itself() {
        for (question, gold, copy) in [
            ("Simplify the fraction $\\frac{84}{144}$ to its lowest terms.", "\\frac{7}{12}", "84/144"),
            ("Simplify 84/144.", "7/12", "\\dfrac{84}{144}"),
            ("Simplify $\\sqrt{180}$.", "6\\sqrt{5}", "√180"),
            ("Factor $3x^2+6x$.", "3x(x+2)", "3x^{2} + 6x"),
            ("Write 0.35 as a fraction.", "\\frac{7}{20}", "0.350"),
            ("Write 45% as a fraction in lowest terms.", "\\frac{9}{20}", "45 percent"),
            ("Convert 5 km to metres.", "5000 m", "5 km"),
            ("Express 2 hours in minutes.", "120 minutes", "2 hours"),
            ("Write 4^3 as a power of 2.", "2^6", "4^3"),
            ("Write 24 as a product of primes.", "2^3 \\cdot 3", "24"),
            ("Write 1200 in scientific notation.", "1.2 \\times 10^3", "1,200"),
            ("Write \\frac{25}{2} as a mixed number.", "12 1/2", "25/2"),
            ("Sort these numbers: 9, 3, 7", "3, 7, 9", "9, 3, 7"),
            ("Evaluate $\\binom{5}{2}$.", "10", "\\binom52"),
        ] {
            assert!(!right(question, gold, copy), "{copy} in {question}");
            assert!(right(question, gold, gold), "{gold} in {question}");
        }
    }

    #[test]
    fn what_stands_in_a_question_by_chance_or_as_the_gold_answer_is_right() {
        for (question, gold, answer) in [
            ("Tom has 5 apples and eats 0. How many has he?", "5", "5 apples"),
            ("It costs $1,200.00. What is left of it?", "1200", "$1,200.00"),
            ("A rope of 12 m is cut. How long is it?", "12", "12 m"),
            ("50% of them are red. How many percent are not?", "50", "50%"),
            ("Is 0.5x a half?", "1/2", "0.5"),
            ("What is 2 + 3?", "5", "2 + 3 = 5"),
            ("What is 2 + 3?", "5", "5 = 2 + 3"),
            ("Simplify 84/144.", "7/12", "84/144 = 7/12"),
            ("Simplify 84/144.", "7/12", "14/24"),
            ("The two of them have 2. Two?", "2", "two"),
            ("x = 3 in y = x/2 + 1", "y = \\frac{x}{2} + 1", "y = x/2 + 1"),
            ("Numbers 1, 9, 3, 7 and others", "3, 7, 9", "9, 3, 7"),
            ("What is 12 \\frac{1}{2} + 0.5?", "\\frac{1}{2}", "1/2"),
            ("", "7/12", "84/144"),
            ("Tom drives 2 laps of 60 minutes each.", "120 minutes", "2 hours"),
            ("A firm earned $5 million, then lost half and doubled.", "5,000,000", "$5 million"),
            ("The probability of rain is 0.5. What is that of none?", "1/2", "0.5"),
            ("Tom ate 1/4 of the pizza and Ann 1/2. How much is left?", "0.25", "1/4"),
            ("Answer with a fraction such as 1/2 or a decimal. What is 0.25 + 0.25?", "0.5", "1/2"),
            ("小明有苹果。3个是红的。", "1/2", "0.50"),
        ] {
            assert!(right(question, gold, answer), "{answer} for {gold} in {question}");
        }
    }

    #[test]
    fn votes_for_a_copy_are_not_for_the_answer() {
        let equality = Equality::of(Some("7/12"), &[]).asked("Simplify 84/144.");
        let answers = ["84/144", "7/12", "\\frac{84}{144}", "14/24"].map(Some);
        assert_eq!(equality.classes(&answers), [Some(0), Some(1), Some(0), Some(1)]);
    }

    #[test]
    fn long_and_deep_questions_end() {
        for piece in ["\\frac{", "{", "1 ", "((", "\\text{", "é"] {
            assert!(right(&piece.repeat(50_000), "7/12", "14/24"));
        }
    }
}
