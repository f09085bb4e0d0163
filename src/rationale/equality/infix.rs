//! What TeX writes between its parts or raises for looks: `{3 \over 4}` as `\frac{3}{4}`, `{n \choose k}` as `\binom{n}{k}`, `18^{\text{th}}` as 18th.

use super::tokens::{Kind, Token};

/// A group so far, and where its command stands in it.
type Group = (Vec<Token>, Option<(usize, &'static str)>);

/// Tokens with what stands in between put first, and ordinals' endings on the line.
pub fn plain(found: Vec<Token>) -> Vec<Token> {
    let infix = |token: &Token| matches!(&token.kind, Kind::Command(name) if matches!(name.as_str(), "over" | "choose"));
    let found = if found.iter().any(|token| token.is('&')) { unaligned(found) } else { found };
    let found = if found.iter().any(infix) { put_first(&found) } else { found };
    if found.iter().any(ordinal) { lowered(found) } else { found }
}

/// Without the places at which relations stand below each other, and the ends of lines before them: `x &= 2 + 3 \\\\ &= 5`. In matrices and cases they separate.
fn unaligned(found: Vec<Token>) -> Vec<Token> {
    if found.iter().any(|token| matches!(&token.kind, Kind::Command(name) if name.starts_with("begin "))) {
        return found;
    }
    let relation = |token: Option<&Token>| matches!(token.map(|token| &token.kind), Some(Kind::Op(op)) if "=<>≤≥≈≡".contains(*op));
    let mut kept: Vec<Token> = Vec::with_capacity(found.len());
    for (at, token) in found.iter().enumerate() {
        if token.is('&') && relation(found.get(at + 1)) {
            if kept.last().is_some_and(|last| last.is('⏎')) {
                kept.pop();
            }
        } else {
            kept.push(token.clone());
        }
    }
    kept
}

fn ordinal(token: &Token) -> bool {
    matches!(token.word().as_deref(), Some("st" | "nd" | "rd" | "th"))
}

/// One infix command of each group, or of all: what stands on both sides are its arguments.
fn put_first(found: &[Token]) -> Vec<Token> {
    let op = |op: char| Token::new(Kind::Op(op));
    let mut open: Vec<Group> = vec![(vec![], None)];
    let close = |(mut inside, command): Group| {
        let Some((at, name)) = command else { return inside };
        let below = inside.split_off(at);
        let mut whole = vec![Token { spaced: true, ..Token::new(Kind::Command(name.into())) }, op('{')];
        whole.append(&mut inside);
        whole.extend([op('}'), op('{')]);
        whole.extend(below);
        whole.push(op('}'));
        whole
    };
    for token in found {
        let nested = open.len() > 1;
        let (inside, command) = open.last_mut().expect("all");
        match &token.kind {
            Kind::Op('{') => {
                inside.push(token.clone());
                open.push((vec![], None));
            }
            Kind::Op('}') if nested => {
                let group = close(open.pop().expect("open"));
                let (inside, _) = open.last_mut().expect("all");
                inside.extend(group);
                inside.push(token.clone());
            }
            Kind::Command(name) if matches!(name.as_str(), "over" | "choose") && command.is_none() => {
                *command = Some((inside.len(), if name == "over" { "frac" } else { "binom" }));
            }
            _ => inside.push(token.clone()),
        }
    }
    while open.len() > 1 {
        let group = close(open.pop().expect("open"));
        open.last_mut().expect("all").0.extend(group);
    }
    close(open.pop().expect("all"))
}

/// Endings of ordinals without the hat and the braces that raise them.
fn lowered(found: Vec<Token>) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::new();
    let mut tokens = found.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if ordinal(&token) {
            let braced = matches!(&kept[..], [.., number, hat, open]
                if matches!(number.kind, Kind::Number(_)) && hat.is('^') && open.is('{'));
            let raised = matches!(&kept[..], [.., number, hat] if matches!(number.kind, Kind::Number(_)) && hat.is('^'));
            if braced && tokens.next_if(|next| next.is('}')).is_some() {
                kept.truncate(kept.len() - 2);
            } else if raised {
                kept.pop();
            }
        }
        kept.push(token);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;

    #[test]
    fn parts_stand_behind_their_command() {
        let kinds = |text: &str| tokens(text).into_iter().map(|token| token.kind).collect::<Vec<_>>();
        for (a, b) in [
            ("{3\\over 4}", "{\\frac{3}{4}}"),
            ("x = {n+1 \\choose k}", "x = {\\binom{n+1}{k}}"),
            ("{{1\\over 2}\\over 3}", "{\\frac{{\\frac{1}{2}}}{3}}"),
            ("3 \\over 4", "\\frac{3}{4}"),
            ("18^{\\text{th}}", "18\\text{th}"),
            ("18^\\text{th}", "18\\text{th}"),
            ("x &= 2 + 3 \\\\ &= 5", "x = 2 + 3 = 5"),
        ] {
            assert_eq!(kinds(a), kinds(b), "{a}");
        }
        for text in ["x^{\\text{th}}", "18^{\\text{half}}", "{\\over", "}\\over{", "{3"] {
            kinds(text);
        }
        assert_eq!(kinds("x^{th}").len(), 5);
    }
}
