//! Whether two answers are one: the equality that rewards, votes, calibration and marks share. docs/answers.md says what it takes for right.
//!
//! An answer is read once, in the way that its question's gold answer asks for: as a choice, a letter, a truth value, or as mathematics
//! and text. Then it is compared. Whatever stands beside a value is part of it unless it is a unit, a label or an aside.

mod atoms;
mod before;
mod behind;
mod big;
mod canonical;
mod choice;
mod classes;
mod complex;
mod compound;
mod copied;
mod digits;
mod emphasis;
mod expression;
mod form;
mod formula;
mod functions;
mod heads;
mod infix;
mod letters;
mod measures;
mod optional;
mod parser;
mod prose;
mod reader;
mod reading;
mod reals;
mod relation;
mod roles;
mod sentence;
mod signs;
mod spans;
mod spellings;
mod texts;
mod tokens;
mod units;
mod value;
mod wants;
mod words;
mod workings;

pub use choice::{answered, choice};
pub use roles::{denies, spoils};

use super::number::Number;
use copied::Question;
use expression::Node;
use prose::Said;
use reading::{Side, value};
use relation::{asks_for_an_equation, one_equation, other_name};
use spans::Span;
use tokens::{Kind, Token, tokens};
use units::Unit;

/// How the answers of one question are compared.
#[derive(Debug, Clone)]
pub struct Equality<'a> {
    way: Way,
    choices: &'a [String],
    /// The unit and the variable of the gold answer.
    unit: Option<Unit>,
    label: Option<String>,
    /// Whether it says what is counted.
    counted: bool,
    /// Whether it is several values, so that a comma between digits separates two.
    several: bool,
    /// The gold answer.
    gold: Option<Reading>,
    /// What was asked, and whether it is an equation, solved or not.
    question: Option<Question<'a>>,
    equation: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Choice,
    Choices,
    Letter,
    Truth,
    Span,
    Value,
}

/// An answer as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    plain: String,
    kind: Read,
}

#[derive(Debug, Clone, PartialEq)]
enum Read {
    Choices(Vec<usize>),
    Truth(bool),
    Span(Span),
    Value {
        said: Vec<Said>,
        tokens: Vec<Kind>,
        /// Of several that are equal, what each says.
        sides: Vec<Side>,
    },
    /// Nothing that the question can be answered with.
    Nothing,
}

impl<'a> Equality<'a> {
    /// As `gold` asks for: one of the choices, several, a letter, yes or no, or a value. Without it, one of the choices where there are some.
    ///
    /// ```
    /// use rationale::rationale::equality::Equality;
    /// let right = |gold, answer| Equality::of(Some(gold), &[]).same(gold, answer);
    /// assert!(right("1200", "$1,200.00 in all") && right("2\\sqrt{5}", "\\sqrt{20}") && right("B", "(B)"));
    /// assert!(!right("5", "5 or 6") && !right("5", "\\sqrt{5}") && !right("7", "3 + 4"));
    /// ```
    pub fn of(gold: Option<&str>, choices: &'a [String]) -> Self {
        let way = match gold {
            None if choices.is_empty() => Way::Value,
            None => Way::Choice,
            Some(gold) if choice(gold, choices).is_some() => Way::Choice,
            Some(gold) if !choices.is_empty() && choice::choices(gold, choices.len()).is_some() => {
                Way::Choices
            }
            Some(gold) if choices.is_empty() && choice::letter(gold) => Way::Letter,
            Some(gold) if matches!(plain(gold).as_str(), "yes" | "no" | "true" | "false") => Way::Truth,
            Some(gold) if spans::gold(&tokens(gold)).is_some() => Way::Span,
            Some(_) => Way::Value,
        };
        let read = gold.filter(|_| way == Way::Value).map(|gold| value(tokens(gold), true));
        let asked = match &read {
            Some(Read::Value { said, .. }) => said.first().cloned(),
            _ => None,
        };
        let gold = gold.zip(read).map(|(gold, kind)| Reading { plain: own_plain(gold), kind });
        let several = asked.as_ref().is_some_and(|asked| matches!(asked.node, Node::List(',', ..)));
        let counted = asked.as_ref().is_some_and(|asked| asked.noun.is_some());
        let (unit, label) = asked.map_or((None, None), |asked| (asked.unit, asked.label));
        Self { way, choices, unit, label, counted, several, gold, question: None, equation: false }
    }

    /// It, told what was asked: an answer that copies the question is none, though it has the gold answer's value.
    ///
    /// ```
    /// use rationale::rationale::equality::Equality;
    /// let right = |answer| Equality::of(Some("7/12"), &[]).asked("Simplify 84/144.").same("7/12", answer);
    /// assert!(right("\\frac{7}{12}") && !right("84/144") && !right("+168/288"));
    /// ```
    pub fn asked(self, question: &'a str) -> Self {
        Self { question: Some(Question::new(question)), equation: asks_for_an_equation(question), ..self }
    }

    /// Whether an answer is not in the form that was asked for, as a copy of the question is not.
    fn misses(&self, answer: &Reading) -> bool {
        self.question
            .as_ref()
            .zip(self.gold.as_ref())
            .is_some_and(|(question, gold)| question.is_missed(gold, answer, self.equation))
    }

    /// An answer, read once for many comparisons.
    pub fn read(&self, text: &str) -> Reading {
        let kind = match self.way {
            Way::Choice => answered(text, self.choices).map(|index| Read::Choices(vec![index])),
            Way::Choices => self.several(text).map(Read::Choices),
            Way::Letter => letters::lettered(&tokens(text), 26, &[]).map(|index| Read::Choices(vec![index])),
            Way::Truth => choice::truth_of(text).map(Read::Truth),
            Way::Span => spans::said(&tokens(text)).map(Read::Span),
            Way::Value => Some(value(tokens(text), self.several)),
        };
        Reading { plain: own_plain(text), kind: kind.unwrap_or(Read::Nothing) }
    }

    /// The choices that a text names; their order is nothing unless it is asked for.
    fn several(&self, text: &str) -> Option<Vec<usize>> {
        let mut found = choice::several(text, self.choices)?;
        if !self.question.as_ref().is_some_and(Question::orders) {
            found.sort_unstable();
        }
        Some(found)
    }

    /// A gold answer or a label, read once: where it is the text of a choice it is that one, though it be the letter of another.
    pub fn gold(&self, text: &str) -> Reading {
        match choice(text, if self.way == Way::Choice { self.choices } else { &[] }) {
            Some(index) => Reading { plain: own_plain(text), kind: Read::Choices(vec![index]) },
            None => self.read(text),
        }
    }

    /// Whether `answer` is right where `gold` is.
    pub fn right(&self, gold: &Reading, answer: &Reading) -> bool {
        self.alike(gold, answer) && self.misses(gold) == self.misses(answer)
    }

    fn alike(&self, gold: &Reading, answer: &Reading) -> bool {
        match (&gold.kind, &answer.kind) {
            (Read::Choices(gold), Read::Choices(answer)) => gold == answer,
            (Read::Truth(gold), Read::Truth(answer)) => gold == answer,
            (Read::Span(gold), Read::Span(answer)) => spans::same(gold, answer),
            (Read::Value { said, tokens, .. }, Read::Value { said: own, tokens: own_tokens, .. }) => {
                let initials =
                    texts::of_capitals(&gold.plain, tokens) && texts::of_capitals(&answer.plain, own_tokens);
                // What is all dressing, as an emoji is, is compared as it is written.
                (if tokens.is_empty() {
                    gold.plain == answer.plain
                } else {
                    tokens == own_tokens
                        || texts::same_items(tokens, own_tokens)
                        || texts::same_word((&gold.plain, tokens), (&answer.plain, own_tokens))
                }) || (!initials
                    && said.iter().any(|gold| own.iter().any(|own| agree(gold, own, self.equation))))
            }
            _ => false,
        }
    }

    /// [`right`](Self::right) of texts.
    pub fn same(&self, gold: &str, answer: &str) -> bool {
        self.right(&self.gold(gold), &self.read(answer))
    }
}

/// Whether a gold answer is one of the choices or several, by letter or text.
pub fn is_choice(gold: &str, choices: &[String]) -> bool {
    choice(gold, choices).is_some() || choice::choices(gold, choices.len()).is_some()
}

/// The number that a text says, units, labels and asides left out: `72 clips`, `x = 5`, `5 million`; `None` for `5 or 6`, `at least 5`, `\sqrt{5}`.
pub fn only_number(text: &str) -> Option<Number> {
    let found = tokens(text);
    [false, true].into_iter().find_map(|letters| prose::said(&found, letters)?.node.literal())
}

/// A text by itself, nothing being asked for.
struct Alone {
    truth: Option<bool>,
    reading: Reading,
}

impl Alone {
    /// Of its tokens, and of what [`plain`] leaves of it.
    fn of(found: Vec<Token>, plain: String) -> Self {
        Self { truth: choice::truth(&found), reading: Reading { plain, kind: value(found, false) } }
    }

    /// Whether the other one is the same value or text.
    fn is(&self, other: &Self) -> bool {
        match (self.truth, other.truth) {
            (Some(own), Some(other)) => own == other,
            _ => Equality::of(None, &[]).right(&self.reading, &other.reading),
        }
    }
}

fn agree(gold: &Said, answer: &Said, unsolved: bool) -> bool {
    let stem = |noun: &String| noun.trim_end_matches('s').trim_end_matches('e').to_string();
    let clash =
        |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if stem(a) != stem(b));
    let labels =
        matches!((&gold.label, &answer.label), (Some(gold), Some(answer)) if other_name(gold, answer));
    let share = |said: &Said| said.node.any(&|node| matches!(node, Node::Percent(_)));
    let of_things =
        |said: &Said| said.unit.is_some() || said.noun.is_some() || matches!(said.node, Node::Degrees(_));
    let apart = (share(gold) && of_things(answer)) || (share(answer) && of_things(gold));
    if gold.name || labels || clash(&gold.noun, &answer.noun) || (share(gold) != share(answer) && apart) {
        return false;
    }
    match (&gold.unit, &answer.unit) {
        (Some(unit), Some(own)) if unit != own => {
            let amounts = gold.node.literal().zip(answer.node.literal()).zip(own.over(unit));
            amounts.is_some_and(|((gold, answer), size)| answer.times(size) == Some(gold))
        }
        (Some(unit), None) if unit.is_half_of_day() => false,
        (Some(_), None) if answer.noun.is_some() => false,
        (None, Some(_)) if gold.noun.is_some() => false,
        _ => value::equal(&gold.node, &answer.node) || one_equation(gold, answer, unsolved),
    }
}

/// What [`plain`] leaves of a text, or where it leaves nothing the text: a lone comma is no period.
fn own_plain(text: &str) -> String {
    Some(plain(text)).filter(|plain| !plain.is_empty()).unwrap_or_else(|| text.trim().to_string())
}

/// A text without letter case, white space and punctuation at its ends.
pub fn plain(text: &str) -> String {
    trimmed(text).to_lowercase()
}

/// The same in its own letters.
fn trimmed(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || ".,;:!?\"'“”‘’*`".contains(c);
    let text = spellings::all_prose(text).unwrap_or(text);
    spellings::composed(text).trim_matches(ends).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_is_the_same_as_itself_and_never_panics() {
        let mut pieces: Vec<&str> =
            r"7 8 . , 1,234 x 。 ． A ( ) { } \{ \frac \sqrt [ ] ^ _ ! % ° \text{ or not and half million
            = < ± - – — * ** / \begin{pmatrix} & \\ \end{pmatrix} ½ ² é 五 π \log | ∞ ∪ : ; cm $ ' e5
            e \left <b> 1.234.567"
                .split_whitespace()
                .collect();
        pieces.extend([" ", "\u{200b}"]);
        let mut state = 7_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let choices = ["7".to_string(), "x or 8".to_string()];
        for _ in 0..4000 {
            let text: String = (0..1 + next(12)).map(|_| pieces[next(pieces.len())]).collect();
            assert!(Equality::of(None, &[]).same(&text, &text), "{text}");
            let _ =
                (Equality::of(None, &choices).read(&text), only_number(&text), choice::truth(&tokens(&text)));
        }
        // Deep, long and repeated ones end.
        for deep in ["(", "{", "\\text{", "\\frac{", "-", "|", "7/", "!", "x^", "1,"] {
            for times in [300, 100_000] {
                let _ = Equality::of(None, &[]).read(&deep.repeat(times));
            }
        }
    }

    #[test]
    fn classes_are_those_of_the_first_alike() {
        let answers =
            [Some("7 or 8"), Some("7"), None, Some("7 apples"), Some("8"), Some("7 or 8"), Some("x = 7")];
        let classes = Equality::of(Some("7"), &[]).classes(&answers);
        assert_eq!(classes, [Some(0), Some(1), None, Some(1), Some(4), Some(0), Some(1)]);
        let capitals = ["Rome", "Paris"].map(String::from);
        let answers = [Some("(B)"), Some("A or B"), Some("Paris"), Some("a or b"), Some("A")];
        let classes = Equality::of(Some("B"), &capitals).classes(&answers);
        assert_eq!(classes, [Some(0), Some(1), Some(0), Some(1), Some(4)]);
    }
}
