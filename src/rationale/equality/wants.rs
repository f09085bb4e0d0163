//! What a question asks for by its words: an order, a form.

/// What a question asks for by its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Some form.
    Form,
    /// An order.
    Order,
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
const ASKS: [&str; 20] = [
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
    "sort",
    "arrange",
    "ascend",
    "descend",
    "rationali",
    "rank",
    "equivalent",
    "notation",
    "prime",
];

/// All that `text` asks for.
pub fn wants(text: &str) -> Vec<Want> {
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = |count: usize, names: &[&str]| {
            words[at.saturating_sub(count)..at].iter().any(|word| names.contains(word))
        };
        let next = words.get(at + 1).copied().unwrap_or_default();
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
            "sort" | "sorted" | "sorts" | "sorting" | "rank" | "ranked" | "ascending" | "descending"
            | "arrange" | "arranged" | "arranging" => Some(Want::Order),
            "order" if before(3, &["in"]) && !matches!(next, "to" | "for" | "that") => {
                let any = before(3, &["any", "no", "whatever", "some"]);
                Some(if any { Want::AnyOrder } else { Want::Order })
            }
            "to" if at > 0 && most(words[at - 1]) && most(next) => Some(Want::Order),
            word if ["simpl", "reduc", "rationali"].iter().any(|start| word.starts_with(start)) => {
                Some(Want::Simplest)
            }
            word if word.starts_with("factor") && !word.starts_with("factorial") => Some(Want::Factors),
            _ => None,
        };
        let asks = ASKS.iter().any(|ask| word.starts_with(ask)) && !(*word == "sort" && next == "of");
        let shown = want.is_some_and(|want| !matches!(want, Want::Value | Want::AnyOrder | Want::Power));
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
            "Find all ordered pairs.",
            "She walks from west to east.",
        ] {
            assert!(!wants(text).contains(&Want::Order) && !wants(text).contains(&Want::Form), "{text}");
        }
    }
}
