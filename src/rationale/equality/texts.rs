//! Answers as texts: their words and numbers, whatever formatting and order of items.

use super::tokens::{Kind, Token};
use super::words;

/// The tokens by which texts are compared, without punctuation at the ends or between words.
pub fn written(found: Vec<Token>) -> Vec<Kind> {
    let kinds = as_prose(without_lead(found)).into_iter().map(|token| match token.kind {
        Kind::Word(word) => Kind::Word(word.to_lowercase()),
        other => other,
    });
    let kinds = kinds.filter(|kind| *kind != Kind::Op('.') && *kind != Kind::Word("$".into()));
    let mut kinds = grouped(kinds.collect());
    // H_2O is H2O.
    let idle = |at: usize| {
        let letter = at > 0 && matches!(kinds[at - 1], Kind::Letter(_) | Kind::Word(_));
        kinds[at] == Kind::Op('_') && letter && matches!(kinds.get(at + 1), Some(Kind::Number(_)))
    };
    let idle: Vec<bool> = (0..kinds.len()).map(idle).collect();
    let mut at = 0..;
    kinds.retain(|_| !at.next().is_some_and(|at| idle[at]));
    while let [.., before, last] = &kinds[..]
        && (matches!(last, Kind::Op(',' | ';' | ':'))
            || (*last == Kind::Op('!') && matches!(before, Kind::Word(_))))
    {
        kinds.pop();
    }
    // A letter that is all is no variable of an expression.
    if let [Kind::Letter(letter)] = &mut kinds[..] {
        *letter = letter.to_lowercase();
    }
    kinds
}

/// Letters beside words as the words that they are there, inside `\text{…}` and outside: "Vitamin C", "quadrant II", "x-ray". Where numbers, relations
/// or operators stand among them, and where small ones and capitals touch (Aa), letters are signs.
fn as_prose(found: Vec<Token>) -> Vec<Token> {
    let word = |token: &Token| matches!(&token.kind, Kind::Word(word) if word.chars().count() > 1);
    let sign = |token: &Token| match &token.kind {
        Kind::Number(_) | Kind::Command(_) => true,
        Kind::Op(op) => "+*/^_=<>≤≥≠≈|°".contains(*op),
        _ => false,
    };
    if !found.iter().any(word) || found.iter().any(sign) {
        return found;
    }
    let letters = |token: &Token| match &token.kind {
        Kind::Letter(letter) if letter.chars().count() == 1 => Some(letter.clone()),
        Kind::Word(word) if word.chars().count() == 1 => Some(word.clone()),
        _ => None,
    };
    let mut joined: Vec<Token> = Vec::new();
    let mut tokens = found.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let Some(mut run) = letters(&token) else {
            joined.push(token);
            continue;
        };
        let mut all = vec![token];
        while let Some(next) = tokens.next_if(|next| !next.spaced && letters(next).is_some()) {
            run.extend(letters(&next));
            all.push(next);
        }
        let alike = run.chars().all(char::is_uppercase) || run.chars().all(char::is_lowercase);
        if alike {
            joined.push(Token { kind: Kind::Word(run), ..all.swap_remove(0) });
        } else {
            joined.append(&mut all);
        }
    }
    joined
}

/// Without "it is", "the answer is" and an article before other words: "It is a cat" says "cat".
fn without_lead(mut found: Vec<Token>) -> Vec<Token> {
    let word = |found: &[Token], at: usize| match found.get(at).map(|token| &token.kind) {
        Some(Kind::Word(word) | Kind::Letter(word)) => word.to_lowercase(),
        _ => String::new(),
    };
    let words = |found: &[Token]| {
        let colon =
            |at: usize| found[at].is(':') && at > 0 && matches!(&word(found, at - 1)[..], "is" | "answer");
        (0..found.len())
            .all(|at| matches!(found[at].kind, Kind::Word(_) | Kind::Letter(_) | Kind::Op('.')) || colon(at))
    };
    if !words(&found) {
        return found;
    }
    let named = usize::from(matches!(&word(&found, 1)[..], "final" | "correct" | "right" | "best"));
    let copula = match (&word(&found, 0)[..], &word(&found, 1)[..]) {
        ("it", "is" | "was") => 2,
        ("it's", _) => 1,
        ("the", _) if word(&found, named + 1) == "answer" && word(&found, named + 2) == "is" => {
            named + 3 + usize::from(found.get(named + 3).is_some_and(|next| next.is(':')))
        }
        _ => 0,
    };
    let article = usize::from(matches!(&word(&found, copula)[..], "a" | "an" | "the"));
    let lead = copula + article;
    if matches!(found.get(lead).map(|token| &token.kind), Some(Kind::Word(_))) {
        found.drain(..lead);
    }
    found
}

/// Without the braces that change nothing: those that are no power's, index's or command's, and those around one sign. `2^{n+1}` is not
/// `2^n + 1`, and `\sqrt{2x}` not `\sqrt{2}x`.
fn grouped(kinds: Vec<Kind>) -> Vec<Kind> {
    let kept = kept(&kinds.iter().collect::<Vec<_>>());
    kinds.into_iter().zip(kept).filter_map(|(kind, kept)| kept.then_some(kind)).collect()
}

/// Which tokens are no such braces.
fn kept(kinds: &[&Kind]) -> Vec<bool> {
    let mut kept = vec![true; kinds.len()];
    // Where each open brace stands, whether it belongs to what is before it, and how many arguments are to come behind it.
    let mut open: Vec<(usize, bool, usize)> = Vec::new();
    let (mut wanted, mut option) = (0_usize, false);
    for (at, kind) in kinds.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| kinds[at]);
        match kind {
            Kind::Op('{') => {
                kept[at] = false;
                let raised = matches!(before, Some(Kind::Op('^' | '_')));
                open.push((at, raised || wanted > 0, if raised { wanted } else { wanted.saturating_sub(1) }));
                wanted = 0;
            }
            Kind::Op('}') => {
                kept[at] = false;
                let Some((begin, belongs, more)) = open.pop() else { continue };
                let inside: Vec<&Kind> = (begin + 1..at).filter(|at| kept[*at]).map(|at| kinds[at]).collect();
                let one = matches!(inside[..], [] | [_] | [Kind::Op('-' | '+'), _]);
                (kept[begin], kept[at]) = (belongs && !one, belongs && !one);
                wanted = more;
            }
            // An option, as of a root.
            Kind::Op('[') if wanted > 0 && matches!(before, Some(Kind::Command(_))) => option = true,
            Kind::Op(']') if option => option = false,
            Kind::Op('^' | '_') => {}
            Kind::Command(name) => wanted = arguments(name),
            _ if option => {}
            _ => wanted = wanted.saturating_sub(1),
        }
    }
    kept
}

/// How many groups a command takes; functions stand in front of what they are of, in braces or not.
fn arguments(command: &str) -> usize {
    match command {
        "frac" | "binom" => 2,
        "sqrt" => 1,
        "pi" | "ln" | "lg" => 0,
        name if words::FUNCTIONS.contains(&name) || name.contains(' ') => 0,
        _ => 1,
    }
}

/// Whether it is a word of capitals, as LA and AL are, and no product: there is no mathematics around it.
pub fn of_capitals(plain: &str, tokens: &[Kind]) -> bool {
    let capital = |kind: &Kind| matches!(kind, Kind::Letter(letter) if letter.bytes().all(|byte| byte.is_ascii_uppercase()));
    tokens.len() > 1 && tokens.iter().all(capital) && !plain.contains(['$', '\\'])
}

/// Whether two texts are one word, of capitals or `\text{…}`.
pub fn same_word((gold, gold_tokens): (&str, &[Kind]), (answer, tokens): (&str, &[Kind])) -> bool {
    let word = |plain: &str, tokens: &[Kind]| match tokens {
        [Kind::Word(word)] => Some(word.clone()),
        _ if of_capitals(plain, tokens) => {
            let letters = tokens.iter().map(|kind| match kind {
                Kind::Letter(letter) => letter.to_lowercase(),
                _ => String::new(),
            });
            Some(letters.collect())
        }
        _ => None,
    };
    word(gold, gold_tokens).is_some_and(|own| word(answer, tokens) == Some(own))
}

/// Whether two texts list the same items, each a number with the words that say of what, in any order.
pub fn same_items(gold: &[Kind], answer: &[Kind]) -> bool {
    let items = |kinds: &[Kind]| {
        let separates =
            |kind: &Kind| matches!(kind, Kind::Op(',' | ';')) || *kind == Kind::Word("and".into());
        let mut items: Vec<Vec<Kind>> =
            kinds.split(separates).filter(|item| !item.is_empty()).map(<[Kind]>::to_vec).collect();
        let counted = |item: &Vec<Kind>| {
            item.iter().any(|kind| matches!(kind, Kind::Number(_)))
                && item.iter().any(|kind| matches!(kind, Kind::Word(_)))
        };
        let list = items.len() > 1
            && items.iter().all(counted)
            && !kinds.iter().any(|kind| matches!(kind, Kind::Op(op) if "([⦃".contains(*op)));
        items.sort_by_key(|item| format!("{item:?}"));
        list.then_some(items)
    };
    items(gold).is_some_and(|gold| Some(gold) == items(answer))
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        written(tokens(a)) == written(tokens(b))
    }

    #[test]
    fn braces_that_group_are_part_of_a_text() {
        for (a, b) in [
            ("2^{n+1}", "2^n+1"),
            ("x^{2n}", "x^2n"),
            ("a_{n+1}", "a_n+1"),
            ("\\sqrt{2x}", "\\sqrt{2}x"),
            ("\\sqrt[3]{x+1}", "\\sqrt[3]{x}+1"),
            ("\\frac{1}{2x}", "\\frac{1}{2}x"),
            ("\\frac{1}{x+1}", "\\frac1x+1"),
            ("\\binom{n}{k+1}", "\\binom{n}{k}+1"),
            ("\\overline{AB}", "\\overline{A}B"),
            ("O(2^{n+1})", "O(2^n+1)"),
        ] {
            assert!(!same(a, b), "{a} and {b}");
            assert!(same(a, a) && same(b, b));
        }
        for (a, b) in [
            ("2^{n}", "2^n"),
            ("f^{-1}(x)", "f^-1(x)"),
            ("x^{{2}}", "x^2"),
            ("\\frac{1}{x + 1}", "\\dfrac{1}{x+1}"),
            ("\\sin{2x}", "\\sin 2x"),
            ("{Paris}", "Paris"),
            ("{2^{n+1}}", "2^{n+1}"),
            ("\\mathbf{AB}", "AB"),
            ("a}{b", "ab"),
        ] {
            assert!(same(a, b), "{a} and {b}");
        }
    }
}
