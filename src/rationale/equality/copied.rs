//! Answers that copy the question: of the gold answer's value, in another form than it and in the one that the question has. Who is asked to
//! simplify 84/144 has not answered with 84/144, however it is written.

use super::canonical::canonical;
use super::expression::{Node, work};
use super::form::{is_mixed, is_scientific, keeps, simple};
use super::parser::parse;
use super::tokens::{Kind, Token, unbounded};
use super::wants::{Want, behind_examples, wants};
use super::{Read, Reading, Said, Side, agree, value, words};
use crate::rationale::number::Number;
use std::sync::OnceLock;

/// Bytes of a question that are looked into, from its end.
const LONGEST: usize = 8000;

/// What was asked, read when it is first needed.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    text: &'a str,
    wants: OnceLock<Vec<Want>>,
    tokens: OnceLock<Vec<Token>>,
    /// Its expressions, each in one way of writing.
    nodes: OnceLock<Vec<Node>>,
}

impl<'a> Question<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut start = text.len().saturating_sub(LONGEST);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let (wants, tokens, nodes) = Default::default();
        Self { text: behind_examples(&text[start..]), wants, tokens, nodes }
    }

    /// Whether it asks for an order, so that lists in different ones differ.
    pub fn orders(&self) -> bool {
        self.wants().contains(&Want::Order)
    }

    /// Whether it asks for an order, or to sort something.
    pub fn may_order(&self) -> bool {
        self.orders() || self.wants().contains(&Want::Sorting)
    }

    /// Whether it asks to sort something, and has all of these parts.
    fn sorts(&self, parts: &[Kind]) -> bool {
        let has = |part: &Kind| self.tokens().iter().any(|token| token.kind == *part);
        self.wants().contains(&Want::Sorting) && parts.iter().all(has)
    }

    fn wants(&self) -> &[Want] {
        self.wants.get_or_init(|| wants(self.text))
    }

    /// Its tokens, "percent" as its sign.
    pub fn tokens(&self) -> &[Token] {
        self.tokens.get_or_init(|| unbounded(self.text).into_iter().map(share).collect())
    }

    /// Whether no side of `answer` that says what `gold` says, in `unsolved` equations too, is in the form that was asked for.
    pub fn is_missed(&self, gold: &Reading, answer: &Reading, unsolved: bool) -> bool {
        let (
            Read::Value { said: golds, tokens: gold_tokens, .. },
            Read::Value { said, tokens: own_tokens, sides },
        ) = (&gold.kind, &answer.kind)
        else {
            return false;
        };
        // "$5" is written as 5 is.
        let measured = |said: &[Said]| said.iter().any(|said| said.unit.is_some());
        let alike = own_tokens == gold_tokens && measured(said) == measured(golds);
        if alike || self.text.is_empty() {
            return false;
        }
        let golds: Vec<Side> =
            golds.iter().map(|said| Side { said: said.clone(), tokens: gold_tokens.clone() }).collect();
        let whole: Vec<Side> =
            said.iter().map(|said| Side { said: said.clone(), tokens: own_tokens.clone() }).collect();
        let wants = self.wants_of(&golds);
        let pairs = |owns: &[Side]| -> Vec<bool> {
            golds
                .iter()
                .flat_map(|gold| owns.iter().map(move |own| (gold, own)))
                .filter(|(gold, own)| agree(&gold.said, &own.said, unsolved))
                .map(|(gold, own)| self.formed(&wants, gold, own))
                .collect()
        };
        let formed = Some(pairs(sides)).filter(|sides| !sides.is_empty()).unwrap_or_else(|| pairs(&whole));
        if formed.is_empty() {
            // Lists of words.
            let items = |kinds: &[Kind]| -> Vec<Kind> {
                let joins =
                    |kind: &Kind| matches!(kind, Kind::Op(',' | ';')) || *kind == Kind::Word("and".into());
                kinds.iter().filter(|kind| !joins(kind)).cloned().collect()
            };
            let (gold, own) = (items(gold_tokens), items(own_tokens));
            return (self.orders() || self.sorts(&gold)) && gold != own;
        }
        !formed.into_iter().any(|formed| formed)
    }

    fn formed(&self, wants: &[Want], gold: &Side, own: &Side) -> bool {
        // "In standard form" is not solved for a variable.
        let solved = matches!(gold.said.node, Node::Chain(..)) && own.said.label > gold.said.label;
        !(solved && self.text.contains("form"))
            && self.measures(gold, own)
            && keeps(wants, gold, own)
            && !self.copied(gold, own)
    }

    /// What it asks for in words, and what it shows by having the parts of the gold answer that it wants sorted, or it less simple.
    fn wants_of(&self, golds: &[Side]) -> Vec<Want> {
        let mut wants = self.wants().to_vec();
        let reduced = |node: &Node| {
            let quotient = matches!(node, Node::Quotient(..)) && node.literal().is_some();
            (quotient || node.any(&|part| matches!(part, Node::Root(..)))) && simple(node)
        };
        let sorts = wants.contains(&Want::Sorting) && !wants.contains(&Want::AnyOrder);
        for node in golds.iter().map(|gold| &gold.said.node) {
            if let Some(numbers) = numbers(node) {
                let lists = |asked: &Node| is_of(asked, &numbers);
                wants.extend((sorts && self.nodes().iter().any(lists)).then_some(Want::Order));
            } else if reduced(node) {
                let other = |asked: &Node| !simple(asked) && value::same_number(asked, node);
                wants.extend(self.nodes().iter().any(other).then_some(Want::Simplest));
            }
        }
        wants
    }

    /// Whether a form is asked for, in words or by a gold answer that no count and no value is written as.
    fn asks_for_a_form(&self, gold: &Side) -> bool {
        let wants = self.wants();
        let shown = gold.said.node.work() & (work::BRACKETS | work::FACTORS | work::NUMBERS | work::POWER)
            != 0
            || is_scientific(&gold.tokens);
        wants.contains(&Want::Form) || (shown && !wants.contains(&Want::Value))
    }

    /// Whether `own` is an expression of the question that is not in the form of `gold`.
    fn copied(&self, gold: &Side, own: &Side) -> bool {
        let forms = |kinds: &[Kind]| (is_mixed(kinds), is_scientific(kinds));
        let (node, asked) = (canonical(&own.said.node), canonical(&gold.said.node));
        let scale = |kind: &&Kind| matches!(kind, Kind::Word(word) if words::scale(word).is_some());
        let scaled = own.tokens.iter().find(scale).filter(|scale| !gold.tokens.contains(scale));
        if (plain(&node) == plain(&asked) && forms(&gold.tokens) == forms(&own.tokens) && scaled.is_none())
            || !self.asks_for_a_form(gold)
        {
            return false;
        }
        if let Some(Kind::Word(scale)) = scaled {
            return self.text.to_lowercase().contains(scale.as_str());
        }
        // A whole number that stands in a question is seldom what the question is of, unless a power is asked for.
        let worked = gold.tokens.iter().any(|kind| matches!(kind, Kind::Op('^' | '*' | '!')));
        let alone = matches!(node, Node::Number(number) if number.whole()) && !worked;
        !alone && !matches!(node, Node::Variable(_)) && self.nodes().contains(&node)
    }

    fn nodes(&self) -> &[Node] {
        self.nodes.get_or_init(|| expressions(self.tokens()))
    }
}

/// The numbers that it lists, where it is a list of numbers.
fn numbers(node: &Node) -> Option<Vec<f64>> {
    let Node::List(_, items, _) = node else { return None };
    items.iter().map(|item| item.literal().map(Number::to_f64)).collect()
}

/// Whether it lists the same numbers, in whatever order.
fn is_of(node: &Node, listed: &[f64]) -> bool {
    let sorted = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    numbers(node).is_some_and(|said| sorted(said) == sorted(listed.to_vec()))
}

/// "percent" as its sign.
fn share(token: Token) -> Token {
    match token.word().as_deref() {
        Some("percent" | "pct") => Token { kind: Kind::Op('%'), ..token },
        _ => token,
    }
}

/// Without signs that are written and left out.
fn plain(node: &Node) -> &Node {
    match node {
        Node::Percent(inner) | Node::Degrees(inner) => inner,
        other => other,
    }
}

/// Tokens of one expression; longer ones are looked at by their parts.
const MANY: usize = 400;

/// The expressions of a text, each in one way of writing: what stands between words, and the sides and items of that.
fn expressions(tokens: &[Token]) -> Vec<Node> {
    let mut found = Vec::new();
    let mut matrix = 0_usize;
    let cuts: Vec<bool> = (0..tokens.len())
        .map(|at| {
            let next = tokens.get(at + 1).map(|next| &next.kind);
            match &tokens[at].kind {
                Kind::Word(_) => true,
                Kind::Letter(letter) => {
                    matches!(letter.as_str(), "a" | "A" | "I") && matches!(next, Some(Kind::Word(_)))
                }
                Kind::Command(name) if name.starts_with("begin ") => {
                    matrix += usize::from(name.ends_with("matrix"));
                    !name.ends_with("matrix")
                }
                Kind::Command(name) if name.starts_with("end ") => {
                    matrix = matrix.saturating_sub(usize::from(name.ends_with("matrix")));
                    !name.ends_with("matrix")
                }
                Kind::Op('⏎' | '&') => matrix == 0,
                Kind::Op(op) => ".?→…¦".contains(*op),
                _ => false,
            }
        })
        .collect();
    let mut start = 0;
    for end in 0..=tokens.len() {
        if end == tokens.len() || cuts[end] {
            read(&tokens[start..end.max(start)], &mut found);
            start = end + 1;
        }
    }
    found
}

/// All of it as one expression, or else its sides and items.
fn read(tokens: &[Token], found: &mut Vec<Node>) {
    let edge = |token: &Token, marks: &str| matches!(token.kind, Kind::Op(op) if marks.contains(op));
    let whole = |tokens: &[Token]| (tokens.len() <= MANY).then(|| parse(tokens))?;
    let mut inner = tokens;
    while let [rest @ .., last] = inner
        && edge(last, ",;:=")
    {
        inner = rest;
    }
    while let [first, rest @ ..] = inner
        && edge(first, ",;:*•")
    {
        inner = rest;
    }
    if inner.is_empty() {
        return;
    }
    if let Some(node) = whole(inner) {
        return keep(&node, found);
    }
    for part in inner.split(|token| edge(token, "=<>≤≥≈≠,;:")) {
        let mut part = part;
        while let [first, rest @ ..] = part
            && edge(first, "([{⦃)]}⦄|")
            && whole(part).is_none()
        {
            part = rest;
        }
        while let [rest @ .., last] = part
            && edge(last, "([{⦃)]}⦄|")
            && whole(part).is_none()
        {
            part = rest;
        }
        if let Some(node) = whole(part).filter(|_| !part.is_empty()) {
            keep(&node, found);
        }
    }
}

/// It, and its sides and items.
fn keep(node: &Node, found: &mut Vec<Node>) {
    found.push(canonical(node));
    match node {
        Node::List(_, parts, _) | Node::Chain(parts, _) => parts.iter().for_each(|part| keep(part, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::Equality;
    use super::LONGEST;

    fn right(question: &str, gold: &str, answer: &str) -> bool {
        Equality::of(Some(gold), &[]).asked(question).same(gold, answer)
    }

    #[test]
    fn what_is_asked_is_no_answer_to_itself() {
        for (question, gold, copy) in [
            ("Simplify the fraction $\\frac{84}{144}$ to its lowest terms.", "\\frac{7}{12}", "84/144"),
            ("Simplify 84/144.", "7/12", "\\dfrac{84}{144}"),
            ("Simplify 84/144.", "7/12", "14/24"),
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
        assert_eq!(equality.classes(&answers), [Some(0), Some(1), Some(0), Some(0)]);
    }

    #[test]
    fn long_and_deep_questions_end() {
        for piece in ["\\frac{", "{", "1 ", "((", "\\text{", "é", "1\\frac{", "(1,", "x=", "2^", "|"] {
            assert!(right(&piece.repeat(50_000), "7/12", "14/24"));
            let asked = format!("Simplify {}", piece.repeat((LONGEST - 20) / piece.len()));
            assert!(!right(&asked, "7/12", "14/24"));
        }
    }
}
