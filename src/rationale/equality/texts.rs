//! Answers as texts: their words and numbers, whatever formatting and order of items.

use super::tokens::{Kind, Token};

/// The tokens by which texts are compared, without punctuation at the ends or between words.
pub fn written(found: Vec<Token>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = found
        .into_iter()
        .map(|token| match token.kind {
            Kind::Word(word) => Kind::Word(word.to_lowercase()),
            other => other,
        })
        .filter(|kind| !matches!(kind, Kind::Op('.' | '{' | '}')) && *kind != Kind::Word("$".into()))
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
