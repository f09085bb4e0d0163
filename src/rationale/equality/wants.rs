//! What a question asks for by its words: an order, a form.

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

/// All that `text` asks for.
pub fn wants(text: &str) -> Vec<Want> {
    let lower = text.to_lowercase();
    let sentences = lower.split(['.', '?', '!', '\n']).enumerate();
    // Each word, and the sentence in which it stands.
    let placed: Vec<(usize, &str)> = sentences
        .flat_map(|(sentence, text)| {
            let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
            words.map(move |word| (sentence, word))
        })
        .collect();
    let words: Vec<&str> = placed.iter().map(|(_, word)| *word).collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = |count: usize, names: &[&str]| {
            words[at.saturating_sub(count)..at].iter().any(|word| names.contains(word))
        };
        let next = words.get(at + 1).copied().unwrap_or_default();
        let noun = |at: usize| at > 0 && matches!(words[at - 1], "a" | "the" | "this" | "each");
        let is_told = |at: usize| {
            let told = |before: usize| TELLS.contains(&words[before]) && !noun(before);
            (at.saturating_sub(TOLD)..at).any(|before| placed[before].0 == placed[at].0 && told(before))
        };
        // "As a common fraction", but not "such as 1/2 or a decimal", nor "as a fraction or a decimal".
        let lead = (at.saturating_sub(4)..at).rev().find(|at| matches!(words[*at], "as" | "into" | "or"));
        let named = lead.is_some_and(|lead| words[lead] != "or" && (lead == 0 || words[lead - 1] != "such"));
        let form = next != "or"
            && (named
                || matches!(next, "form" | "notation")
                || (before(2, &["to"]) && before(1, &["a", "an"])));
        let want = match *word {
            "fraction" | "fractions" if form => Some(Want::Fraction),
            "decimal" | "decimals" if form => Some(Want::Decimal),
            "percent" | "percentage" if form => Some(Want::Percent),
            "fraction" if equal(next) || words.get(at + 2).is_some_and(|word| equal(word)) => {
                Some(Want::Fraction)
            }
            "mixed" if words.get(at + 2) == Some(&"or") || before(1, &["or"]) => None,
            "mixed" if form || matches!(next, "number" | "fraction" | "numeral") => Some(Want::Mixed),
            "many" if before(1, &["how"]) => Some(Want::Value),
            "value" => Some(Want::Value),
            "lowest" if matches!(next, "terms" | "form") => Some(Want::Simplest),
            "scientific" | "notation" => Some(Want::Scientific),
            "standard" if next == "form" => Some(Want::Scientific),
            "power" | "powers" if next == "of" => Some(Want::Power),
            "squarefree" | "radical" => Some(Want::Simplest),
            "prime" | "primes" => Some(Want::Primes),
            "form" if before(3, &["in"]) => Some(Want::Form),
            "product" if form => Some(Want::Form),
            "sort" if next == "of" => None,
            "ascending" | "descending" => Some(if is_told(at) { Want::Order } else { Want::Sorting }),
            "order" if before(3, &["in"]) && !matches!(next, "to" | "for" | "that" | "in") => {
                let grows = |word: &str| word.ends_with("ing") || word.ends_with("al");
                let grown = next == "of" || (at > 0 && grows(words[at - 1]));
                let named = before(1, &["reverse"]) || (grown && is_told(at));
                Some(match before(3, &["any", "no", "whatever", "some"]) {
                    true => Want::AnyOrder,
                    false if named => Want::Order,
                    false => Want::Sorting,
                })
            }
            "to" if at > 0 && most(words[at - 1]) && most(next) => {
                Some(if is_told(at) { Want::Order } else { Want::Sorting })
            }
            word if ["simpl", "reduc", "rationali"].iter().any(|start| word.starts_with(start)) => {
                Some(Want::Simplest)
            }
            word if word.starts_with("factor") && !word.starts_with("factorial") => Some(Want::Factors),
            word if SORTS.iter().any(|start| word.starts_with(start)) => Some(Want::Sorting),
            _ => None,
        };
        // "Write your final answer in a box" is said to every question.
        let of_answers = || words[at + 1..].iter().take(4).any(|word| ANSWERS.contains(word));
        let writes = ["write", "rewrite", "express"].iter().any(|verb| word.starts_with(verb));
        let asks = ASKS.iter().any(|ask| word.starts_with(ask)) && !(writes && of_answers());
        let shown = want
            .is_some_and(|want| !matches!(want, Want::Value | Want::AnyOrder | Want::Sorting | Want::Power));
        for want in want.into_iter().chain((asks || shown).then_some(Want::Form)) {
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

fn equal(word: &str) -> bool {
    word.starts_with("equal") || word == "equivalent"
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
