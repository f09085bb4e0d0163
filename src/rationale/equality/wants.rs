//! What a question asks for by its words: an order, a form.

use super::optional::FORMS;

/// What a question asks for by its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Some form.
    Form,
    /// An order.
    Order,
    /// The order of something: of what is asked, where the question has its parts.
    Sorting,
    /// No factor below a line or under a root that could go.
    Simplest,
    Fraction,
    Decimal,
    Percent,
    Mixed,
    Scientific,
    Factors,
    Primes,
    Power,
    /// No order.
    AnyOrder,
    /// A count or a value, in whatever form.
    Value,
}

/// Words by which a form is asked for, by their beginnings.
const ASKS: [&str; 15] = [
    "simplif",
    "simplest",
    "lowest",
    "reduce",
    "rewrite",
    "write",
    "express",
    "convert",
    "factor",
    "expand",
    "evaluate",
    "rationali",
    "equivalent",
    "notation",
    "prime",
];

/// Words by which something may be wanted in order, by their beginnings.
const SORTS: [&str; 16] = [
    "sort", "rank", "arrang", "order", "reorder", "sequence", "size", "increas", "decreas", "smallest",
    "largest", "least", "greatest", "highest", "low", "ascend",
];

/// Words of what every question is answered with.
const ANSWERS: [&str; 10] = [
    "answer",
    "answers",
    "response",
    "solution",
    "reasoning",
    "steps",
    "work",
    "working",
    "explanation",
    "final",
];

/// Words that tell to list, at most so many words before the order that they ask for.
const TELLS: [&str; 16] = [
    "list",
    "give",
    "write",
    "find",
    "name",
    "put",
    "place",
    "order",
    "sort",
    "arrange",
    "rank",
    "enter",
    "state",
    "separate",
    "answer",
    "solutions",
];
const TOLD: usize = 16;

/// What words ask for that are all of it, where one of these stands behind them, if any are named.
const NAMES: [(&str, &[&str], Want); 12] = [
    ("value", &[], Want::Value),
    ("lowest", &["terms", "form"], Want::Simplest),
    ("squarefree", &[], Want::Simplest),
    ("radical", &[], Want::Simplest),
    ("scientific", &[], Want::Scientific),
    ("notation", &[], Want::Scientific),
    ("standard", &["form"], Want::Scientific),
    ("power", &["of"], Want::Power),
    ("powers", &["of"], Want::Power),
    ("prime", &[], Want::Primes),
    ("primes", &[], Want::Primes),
    ("mixed", &["number", "fraction", "numeral"], Want::Mixed),
];

/// The same of words by their beginnings.
const BEGINNINGS: [(&str, Want); 4] = [
    ("simpl", Want::Simplest),
    ("reduc", Want::Simplest),
    ("rationali", Want::Simplest),
    ("factor", Want::Factors),
];

/// All that `text` asks for.
pub fn wants(text: &str) -> Vec<Want> {
    let lower = text.to_lowercase();
    let words = Words::of(&lower);
    let alternatives = words.alternatives();
    let mut found = Vec::new();
    for at in 0..words.all.len() {
        let order = words.order(at);
        let optional = words.is_optional(at);
        // Any of several is a form, too.
        let any = alternatives.contains(&at);
        let form = words.form(at).filter(|_| !any && !optional);
        let shown = order == Some(Want::Order)
            || form.is_some_and(|want| !matches!(want, Want::Value | Want::Power))
            || ((any || words.asks(at)) && !optional);
        for want in order.or(form).into_iter().chain(shown.then_some(Want::Form)) {
            if !found.contains(&want) {
                found.push(want);
            }
        }
    }
    let ten = lower.contains("10^") || lower.contains("of ten");
    if ten && (found.contains(&Want::Form) || found.contains(&Want::Power)) {
        found.push(Want::Scientific);
    }
    found
}

/// The words of a question, each with the sentence in which it stands.
pub struct Words<'a> {
    pub all: Vec<(usize, &'a str)>,
}

impl<'a> Words<'a> {
    fn of(lower: &'a str) -> Self {
        let sentences = lower.split(['.', '?', '!', '\n']).enumerate();
        let all = sentences.flat_map(|(sentence, text)| {
            let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
            words.map(move |word| (sentence, word))
        });
        Self { all: all.collect() }
    }

    /// The word at `at`; none beyond the ends.
    pub fn word(&self, at: usize) -> &'a str {
        self.all.get(at).map_or("", |(_, word)| word)
    }

    /// The word before it.
    pub fn last(&self, at: usize) -> &'a str {
        at.checked_sub(1).map_or("", |at| self.word(at))
    }

    /// The places of up to `count` words before it, in its sentence, from the nearest on.
    pub fn back(&self, at: usize, count: usize) -> impl Iterator<Item = usize> + '_ {
        let own = self.all[at].0;
        (at.saturating_sub(count)..at).rev().take_while(move |before| self.all[*before].0 == own)
    }

    /// Whether one of `names` is among the `count` words before it.
    fn before(&self, at: usize, count: usize, names: &[&str]) -> bool {
        (at.saturating_sub(count)..at).any(|at| names.contains(&self.word(at)))
    }

    /// Whether a form is named here as what to write: "as a common fraction", but not "such as 1/2".
    pub fn is_named(&self, at: usize) -> bool {
        let lead = (at.saturating_sub(4)..at).rev().find(|at| matches!(self.word(*at), "as" | "into" | "or"));
        lead.is_some_and(|lead| self.word(lead) != "or" && self.last(lead) != "such")
            || matches!(self.word(at + 1), "form" | "notation")
            || (self.before(at, 2, &["to"]) && self.before(at, 1, &["a", "an"]))
            || NAMES.iter().any(|(word, next, want)| {
                matches!(want, Want::Mixed | Want::Scientific)
                    && *word == self.word(at)
                    && (next.is_empty() || next.contains(&self.word(at + 1)))
            })
    }

    /// The form that a word asks for, or a value in whatever form.
    fn form(&self, at: usize) -> Option<Want> {
        let (word, next) = (self.word(at), self.word(at + 1));
        let form = FORMS.iter().find(|(form, want)| *form == word && want.is_some());
        let equal = |word: &str| word.starts_with("equal") || word == "equivalent";
        if let Some((_, want)) = form.filter(|_| self.is_named(at)) {
            return *want;
        }
        let named = |(name, behind, _): &&(&str, &[&str], Want)| {
            *name == word && (behind.is_empty() || behind.contains(&next))
        };
        match word {
            "fraction" if equal(next) || equal(self.word(at + 2)) => Some(Want::Fraction),
            "many" if self.last(at) == "how" => Some(Want::Value),
            "form" if self.before(at, 3, &["in"]) => Some(Want::Form),
            _ => NAMES.iter().find(named).map(|(_, _, want)| *want).or_else(|| {
                let begins = |(start, _): &&(&str, Want)| word.starts_with(start);
                BEGINNINGS
                    .iter()
                    .find(begins)
                    .filter(|_| !word.starts_with("factorial"))
                    .map(|(_, want)| *want)
            }),
        }
    }

    /// The order that a word asks for.
    fn order(&self, at: usize) -> Option<Want> {
        let (last, next) = (self.last(at), self.word(at + 1));
        let told = || if self.is_told(at) { Want::Order } else { Want::Sorting };
        match self.word(at) {
            "sort" if next == "of" => None,
            "ascending" | "descending" => Some(told()),
            "order" if self.before(at, 3, &["in"]) && !matches!(next, "to" | "for" | "that" | "in") => {
                let grown = next == "of" || last.ends_with("ing") || last.ends_with("al");
                Some(match self.before(at, 3, &["any", "no", "whatever", "some"]) {
                    true => Want::AnyOrder,
                    false if last == "reverse" || (grown && self.is_told(at)) => Want::Order,
                    false => Want::Sorting,
                })
            }
            "to" if most(last) && most(next) => Some(told()),
            // "Lowest terms" are no order.
            "lowest" if matches!(next, "terms" | "form") => None,
            word => SORTS.iter().any(|start| word.starts_with(start)).then_some(Want::Sorting),
        }
    }

    /// Whether a word before it in its sentence tells to list.
    fn is_told(&self, at: usize) -> bool {
        let noun = |at: usize| matches!(self.last(at), "a" | "the" | "this" | "each");
        self.back(at, TOLD).any(|before| TELLS.contains(&self.word(before)) && !noun(before))
    }

    /// Whether a word asks for some form; "write your final answer in a box" is said to every question.
    fn asks(&self, at: usize) -> bool {
        let word = self.word(at);
        let writes = ["write", "rewrite", "express"].iter().any(|verb| word.starts_with(verb));
        ASKS.iter().any(|ask| word.starts_with(ask))
            && !(writes && (1..=4).any(|ahead| ANSWERS.contains(&self.word(at + ahead))))
    }
}

/// What stands behind worked examples, each of which asks for its own.
pub fn behind_examples(text: &str) -> &str {
    let begins = |text: &str, marks: &[&str]| marks.iter().any(|mark| text.trim_start().starts_with(mark));
    let (mut start, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        end += line.len();
        let rest = text[end..].trim_start();
        let worked = begins(line, &["####", "The answer is"])
            || (begins(line, &["A:", "Answer:"]) && begins(rest, &["Q:", "Question", "Problem"]));
        if worked && !rest.is_empty() {
            start = end;
        }
    }
    &text[start..]
}

/// "smallest", "most".
fn most(word: &str) -> bool {
    (word.ends_with("est") && !word.ends_with("west")) || matches!(word, "most" | "least" | "best" | "worst")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ask_for_forms() {
        for (text, want) in [
            ("List 9, 3, 7 in increasing order.", Want::Order),
            ("Order 9, 3, 7 from least to greatest.", Want::Order),
            ("Express your answer as a common fraction.", Want::Fraction),
            ("What is 1200 in scientific notation?", Want::Scientific),
            ("What is the prime factorization of 24?", Want::Primes),
            ("Give it in simplest radical form.", Want::Simplest),
        ] {
            assert!(wants(text).contains(&want) && wants(text).contains(&Want::Form), "{text}");
        }
        for text in [
            "In order to win, what sort of roots are needed, in any order?",
            "Write the steps in order. First arrange them. A list in ascending order has median 5. What is the rank?",
            "Find all ordered pairs.",
            "She walks from west to east.",
        ] {
            assert!(!wants(text).contains(&Want::Order) && !wants(text).contains(&Want::Form), "{text}");
        }
    }
}
