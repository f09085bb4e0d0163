//! Answers as texts: their words and numbers, whatever formatting and order of items.

use super::tokens::{Kind, Token};

/// The tokens by which texts are compared, without punctuation at the ends or between words.
pub fn written(found: Vec<Token>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = without_idle_braces(found)
        .into_iter()
        .map(|token| match token.kind {
            Kind::Word(word) => Kind::Word(word.to_lowercase()),
            other => other,
        })
        .filter(|kind| !matches!(kind, Kind::Op('.')) && *kind != Kind::Word("$".into()))
        .collect();
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

/// Without braces, but those around several tokens that a command, a power or an index is of: `\sqrt{x+1}` is not `\sqrt{x}+1`.
fn without_idle_braces(found: Vec<Token>) -> Vec<Token> {
    let mut open: Vec<usize> = Vec::new();
    let mut kept = vec![true; found.len()];
    for (at, token) in found.iter().enumerate() {
        if token.is('{') {
            open.push(at);
        }
        if !token.is('{') && !token.is('}') {
            continue;
        }
        kept[at] = false;
        let Some(start) = token.is('}').then(|| open.pop()).flatten() else { continue };
        let before = start.checked_sub(1).map(|before| &found[before].kind);
        let argument = matches!(before, Some(Kind::Command(_) | Kind::Op('^' | '_' | '}' | ']')));
        let several = kept[start + 1..at].iter().filter(|kept| **kept).count() > 1;
        (kept[start], kept[at]) = (argument && several, argument && several);
    }
    found.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(token, _)| token).collect()
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

    #[test]
    fn braces_that_hold_something_together_are_part_of_a_text() {
        let same = |a: &str, b: &str| written(tokens(a)) == written(tokens(b));
        for (a, b) in [
            (r"{5}", "5"),
            (r"x^{2}", "x^2"),
            (r"\sqrt{{x+1}}", r"\sqrt{x+1}"),
            (r"\mathbf{Tom Smith}", "Tom Smith"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            (r"\sqrt{x+1}", r"\sqrt{x}+1"),
            (r"\sqrt{5}+1", r"\sqrt{5+1}"),
            (r"2^{n}-1", r"2^{n-1}"),
            (r"x^{2}y", r"x^{2y}"),
            (r"\frac{a}{bc}", r"\frac{ab}{c}"),
            (r"\frac{x}{y+1}", r"\frac{x}{y}+1"),
            (r"\sqrt[3]{x+1}", r"\sqrt[3]{x}+1"),
            (r"a_{n+1}", r"a_{n}+1"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
