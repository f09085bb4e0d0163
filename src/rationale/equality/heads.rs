//! What stands to the left of an equals sign and is no expression that could be computed, and sentences that are values.

use super::expression::Node;
use super::tokens::{Kind, Token};
use crate::rationale::number::Number;

/// What a sentence of words alone says: there is no solution, all real numbers are, a half.
pub fn phrase(found: &[Token]) -> Option<Node> {
    let said: Vec<String> =
        found.iter().filter(|token| !token.is('.')).map(Token::word).collect::<Option<_>>()?;
    let words: Vec<&str> = said.iter().map(String::as_str).collect();
    let words = match words[..] {
        ["there", "is" | "are", ref rest @ ..] | ["the", ref rest @ ..] => rest,
        ref all => all,
    };
    match words {
        ["no", "solution" | "solutions"] | ["empty", "set"] => Some(Node::List('⦃', vec![], '⦄')),
        ["all", "real", "numbers"] | ["all", "reals"] | ["real", "numbers"] | ["reals"] => {
            let infinity = Node::Constant('∞');
            Some(Node::List('(', vec![Node::Negative(Box::new(infinity.clone())), infinity], ')'))
        }
        ["infinity"] => Some(Node::Constant('∞')),
        ["half"] | ["a", "half"] => {
            let number = |number| Box::new(Node::Number(Number::from(number)));
            Some(Node::Quotient(number(1), number(2)))
        }
        _ => None,
    }
}

/// What stands in a set's braces of its members: `x < 5` of `\{x : x < 5\}`.
pub fn of_members(found: &[Token]) -> &[Token] {
    let [open, x @ Token { kind: Kind::Letter(_), .. }, rest @ .., close] = found else { return found };
    let real = |token: &Token| token.kind == Kind::Letter("ℝ".into());
    let rest = match rest {
        [of, all, rest @ ..] if of.is('∈') && real(all) => rest,
        rest => rest,
    };
    let relation = |token: &Token| matches!(token.kind, Kind::Op('<' | '>' | '≤' | '≥' | '≠'));
    match rest {
        [bar, inside @ ..]
            if (bar.is(':') || bar.is('|'))
                && open.is('⦃')
                && close.is('⦄')
                && inside.iter().any(relation)
                && inside.iter().any(|token| token.kind == x.kind) =>
        {
            inside
        }
        _ => found,
    }
}

/// Without what is said of a letter before it that may be any: "where C is a constant", "for n \in \mathbb{Z}". Capitals are constants, small letters
/// whole numbers.
pub fn without_any(found: &[Token]) -> &[Token] {
    let says = |token: &Token| match &token.kind {
        Kind::Letter(text) | Kind::Word(text) | Kind::Command(text) => text.to_lowercase(),
        _ => String::new(),
    };
    let of = |at: &usize| {
        let is = found.get(at + 1).is_some_and(|next| next.is('∈') || says(next) == "is");
        is && matches!(found[*at].kind, Kind::Letter(_))
    };
    let Some(at) = (1..found.len()).rev().find(of) else { return found };
    let said: Vec<String> = found[at + 2..].iter().map(says).filter(|word| !word.is_empty()).collect();
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    let said = match &said[..] {
        ["a" | "an" | "any" | "the" | "some", rest @ ..] => rest,
        all => all,
    };
    let capital = says(&found[at]) != said_as(&found[at]);
    let any = match said {
        ["constant"] | ["arbitrary" | "real", "constant"] | ["constant", "of", "integration"] => capital,
        ["integer"] | ["arbitrary", "integer"] => !capital,
        ["z" | "ℤ"] => !capital && found[at + 1].is('∈'),
        _ => false,
    };
    let mut before = &found[..at];
    while let [rest @ .., last] = before
        && (last.is(',')
            || last.is('(')
            || ["where", "for", "with", "any", "all", "some"].contains(&&says(last)[..]))
    {
        before = rest;
    }
    let named = before.iter().any(|token| token.kind == found[at].kind);
    if any && named && before.len() < at { before } else { found }
}

/// A letter as it is written.
fn said_as(token: &Token) -> &str {
    match &token.kind {
        Kind::Letter(text) => text,
        _ => "",
    }
}

/// Without a left side that names what the right side is: `\gcd(10, 15) =`, `|AB| =`, `[ABC] =`, `\frac{dy}{dx} =`, `\int 2x dx =`, `f^{-1}(x) =`; with the
/// name where the right side is a number: `P(A|B) =`, `f'(2) =`, `\sin\theta =`.
pub fn without(found: &[Token]) -> (&[Token], Option<String>) {
    let mut depth = 0_i32;
    let equals = found.iter().position(|token| {
        if let Kind::Op(op) = token.kind {
            depth += i32::from("({[⦃".contains(op)) - i32::from(")}]⦄".contains(op));
        }
        depth == 0 && token.is('=')
    });
    let Some(at) = equals.filter(|at| *at > 0 && at + 1 < found.len()) else { return (found, None) };
    let (head, rest) = (&found[..at], &found[at + 1..]);
    if names(head) {
        return (rest, None);
    }
    let number = !rest.iter().any(|token| matches!(token.kind, Kind::Letter(_)));
    match value_of(head).filter(|_| number) {
        Some(name) => (rest, Some(name)),
        None => (found, None),
    }
}

/// The name that a left side is of one number: a function's value (f(x), f(2) and P(A) are read elsewhere), the sine of an angle, |z|.
fn value_of(head: &[Token]) -> Option<String> {
    const ANGLES: [&str; 6] = ["sin", "cos", "tan", "cot", "sec", "csc"];
    let written = |found: &[Token]| -> String {
        let text = |token: &Token| match &token.kind {
            Kind::Number(text) | Kind::Letter(text) | Kind::Word(text) | Kind::Command(text) => text.clone(),
            Kind::Op('{' | '}') => String::new(),
            Kind::Op(op) => op.to_string(),
        };
        found.iter().map(text).collect::<Vec<_>>().join("·")
    };
    let letters = |found: &[Token]| {
        let letter = |token: &Token| matches!(token.kind, Kind::Letter(_));
        found.iter().any(letter)
            && found.iter().all(|token| {
                letter(token)
                    || matches!(token.kind, Kind::Op('(' | ')' | '{' | '}'))
                    || token.kind == Kind::Command("angle".into())
            })
    };
    match head {
        [open, Token { kind: Kind::Letter(z), .. }, close]
            if open.is('|') && close.is('|') && matches!(z.as_str(), "z" | "w") =>
        {
            Some(format!("| {z}"))
        }
        [Token { kind: Kind::Command(name), .. }, of @ ..]
            if ANGLES.contains(&name.as_str()) && letters(of) =>
        {
            Some(format!("{name} {}", written(of)))
        }
        [Token { kind: Kind::Letter(of), .. }, rest @ ..] if "fghFGHPE".contains(of.as_str()) => {
            let open = rest.iter().position(|token| token.is('(') || token.is('['))?;
            let mut depth = 0_i32;
            let close = rest.iter().position(|token| {
                depth +=
                    i32::from(token.is('(') || token.is('[')) - i32::from(token.is(')') || token.is(']'));
                depth == 0 && (token.is(')') || token.is(']'))
            })?;
            let raised = written(&rest[..open]);
            let derived =
                raised.chars().all(|c| c == '\'' || c == '·') || matches!(&*raised, "^·-·1" | "^··-·1·");
            let inside = &rest[open + 1..close];
            let plain = raised.is_empty()
                && (letters(inside) || matches!(inside, [Token { kind: Kind::Number(_), .. }]));
            (close + 1 == rest.len() && derived && !plain && !inside.is_empty())
                .then(|| format!("{of}{raised} ({})", written(inside)))
        }
        _ => None,
    }
}

/// Whether a left side names a value.
fn names(head: &[Token]) -> bool {
    const COMMANDS: [&str; 16] = [
        "int", "iint", "oint", "sum", "prod", "lim", "det", "gcd", "lcm", "max", "min", "deg", "dim",
        "triangle", "angle", "overline",
    ];
    let points = |name: &str| name.len() < 6 && name.bytes().all(|byte| byte.is_ascii_uppercase());
    // [ABC], |AB|: areas and lengths.
    if let [open, Token { kind: Kind::Word(name), .. }, close] = head
        && ((open.is('|') && close.is('|')) || (open.is('[') && close.is(']')))
    {
        return points(name);
    }
    // Words but for the names of points are another matter.
    if head.iter().any(|token| matches!(&token.kind, Kind::Word(name) if !points(name))) {
        return false;
    }
    let capitals = |inside: &[Token]| {
        let capital = |token: &Token| matches!(&token.kind, Kind::Letter(letter) if letter.chars().all(char::is_uppercase));
        inside.len() > 1 && inside.iter().all(capital)
    };
    let letter = |token: &Token, name: &str| matches!(&token.kind, Kind::Letter(letter) if letter == name);
    let any_letter = |token: &Token| matches!(token.kind, Kind::Letter(_));
    match head {
        [Token { kind: Kind::Command(name), .. }, ..] if COMMANDS.contains(&&name[..]) => true,
        // m∠ABC
        [m, Token { kind: Kind::Command(name), .. }, ..] if letter(m, "m") && name == "angle" => true,
        [open, inside @ .., close] if (open.is('|') && close.is('|')) || (open.is('[') && close.is(']')) => {
            capitals(inside)
        }
        // dy/dx, \frac{dy}{dx}, \frac{d}{dx} f(x)
        [d, y, over, other, x] if over.is('/') => {
            letter(d, "d") && any_letter(y) && letter(other, "d") && any_letter(x)
        }
        [Token { kind: Kind::Command(name), .. }, open, d, rest @ ..]
            if name == "frac" && open.is('{') && letter(d, "d") =>
        {
            let below = rest.iter().position(|token| token.is('{'));
            below.is_some_and(|at| rest.get(at + 1).is_some_and(|d| letter(d, "d")))
        }
        // f^{-1}(x)
        [f, power, .., close] if any_letter(f) && power.is('^') && close.is(')') => {
            let minus =
                head.get(2).is_some_and(|next| next.is('-')) || head.get(3).is_some_and(|next| next.is('-'));
            let inside = head.iter().position(|token| token.is('('));
            minus && inside.is_some_and(|at| head[at + 1..head.len() - 1].iter().all(any_letter))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    #[test]
    fn left_sides_that_name_a_value_are_passed() {
        let rest = |text: &str| without(&tokens(text)).0.to_vec();
        for head in [
            "\\gcd(10, 15)",
            "\\det A",
            "|AB|",
            "[ABC]",
            "dy/dx",
            "\\frac{dy}{dx}",
            "\\frac{d}{dx} x^2",
            "\\int_{a=0}^1 x dx",
            "f^{-1}(x)",
            "\\lim_{x\\to 0} f(x)",
            "\\angle ABC",
            "P(A|B)",
            "P(X = 2)",
            "P(\\text{at least one})",
            "f'(2)",
            "f(-1)",
            "\\sin\\theta",
            "|z|",
        ] {
            assert_eq!(rest(&format!("{head} = 7")), tokens(" 7"), "{head}");
        }
        for text in [
            "x = 7",
            "not \\gcd = 7",
            "|x| = 7",
            "[a] = 7",
            "\\gcd > 7",
            "f(x) = 7",
            "\\frac{dy}{2} = 7",
            "= 7",
            "\\gcd =",
            "f(x+1) = x^2",
            "2f(-1) = 7",
            "f(1)f(-2) = 7",
            "P(A|B)^2 = 7",
            "\\sin 2\\theta = 7",
            "\\log x = 7",
        ] {
            assert_eq!(rest(text), tokens(text), "{text}");
        }
    }

    #[test]
    fn members_of_a_set_and_letters_that_may_be_any_are_passed() {
        for (text, rest) in
            [("\\{x : x < 5\\}", "x < 5"), ("\\{x \\in \\mathbb{R} \\mid 2 < x \\le 5\\}", "2 < x \\le 5")]
        {
            assert!(
                of_members(&tokens(text))
                    .iter()
                    .map(|token| &token.kind)
                    .eq(tokens(rest).iter().map(|token| &token.kind)),
                "{text}"
            );
        }
        for text in ["\\{x, y\\}", "\\{x : 5\\}", "\\{x : y < 5\\}", "(x : x < 5)"] {
            assert_eq!(of_members(&tokens(text)), tokens(text), "{text}");
        }
        for (text, rest) in [
            ("x^2 + C, where C is a constant.", "x^2 + C"),
            ("\\pi + n\\pi (n is an integer)", "\\pi + n\\pi"),
            ("\\pi + n\\pi, n \\in \\mathbb{Z}", "\\pi + n\\pi"),
            ("\\pi + n\\pi for all n \\in \\mathbb{Z}", "\\pi + n\\pi"),
        ] {
            assert_eq!(without_any(&tokens(text)), tokens(rest), "{text}");
        }
        for text in [
            "x^2 + C, where C is a number",
            "x^2, where C is a constant",
            "n, where n is a constant",
            "n \\in \\mathbb{N}",
            "n is an integer",
            "n, n is 5",
            "n, n is not an integer",
        ] {
            assert_eq!(without_any(&tokens(text)), tokens(text), "{text}");
        }
    }

    #[test]
    fn sentences_are_values_where_they_are_all() {
        let of = |text: &str| phrase(&tokens(text));
        assert_eq!(of("There is no solution."), of("the empty set"));
        assert!(of("no solution").is_some() && of("all real numbers").is_some() && of("half").is_some());
        for text in ["half of it", "no solution but 5", "not all real numbers", "solution", ""] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
