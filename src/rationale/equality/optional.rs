//! Forms that a question names and does not insist on: one of several, or one that is only allowed.

use super::wants::{Want, Words};

/// Forms that are named as what a number is to be written as.
pub const FORMS: [(&str, Option<Want>); 14] = [
    ("fraction", Some(Want::Fraction)),
    ("fractions", Some(Want::Fraction)),
    ("decimal", Some(Want::Decimal)),
    ("decimals", Some(Want::Decimal)),
    ("percent", Some(Want::Percent)),
    ("percentage", Some(Want::Percent)),
    ("mixed", Some(Want::Mixed)),
    ("product", Some(Want::Form)),
    ("scientific", None),
    ("notation", None),
    ("improper", None),
    ("integer", None),
    ("whole", None),
    ("ratio", None),
];

/// What somebody may do with an answer.
const LEAVES: [&str; 16] = [
    "leave",
    "be",
    "write",
    "give",
    "express",
    "keep",
    "state",
    "report",
    "present",
    "choose",
    "also",
    "either",
    "answer",
    "represent",
    "round",
    "simplify",
];

impl Words<'_> {
    /// The places of forms of which any will do: "as a fraction, decimal or percent", "in scientific notation or as a whole number".
    pub fn alternatives(&self) -> Vec<usize> {
        let is_form = |at: usize| FORMS.iter().any(|(form, _)| *form == self.word(at));
        let places: Vec<usize> = (0..self.all.len()).filter(|at| is_form(*at)).collect();
        let mut found: Vec<usize> = Vec::new();
        // What is listed before the one at `place`, with nothing between them that says more.
        let listed = |place: usize| {
            let little = |at: usize| {
                matches!(self.word(at), "a" | "an" | "as" | "common" | "simplified" | "number" | "in")
            };
            places[..place]
                .iter()
                .rev()
                .scan(places[place], |next, at| {
                    let near = self.all[*at].0 == self.all[*next].0 && (*at + 1..*next).all(little);
                    *next = *at;
                    near.then_some(*at)
                })
                .collect::<Vec<_>>()
        };
        for place in 1..places.len() {
            let (first, second) = (places[place - 1], places[place]);
            let joined = self.back(second, second - first - 1).take(5).any(|at| self.word(at) == "or");
            let together = self.all[first].0 == self.all[second].0 && second - first <= 12;
            let mut all = listed(place - 1);
            all.push(first);
            if joined && together && all.iter().any(|at| self.is_named(*at) || found.contains(at)) {
                all.push(second);
                found.extend(all);
            }
        }
        found
    }

    /// Whether it is only allowed: "you may leave your answer as a fraction", "your answer need not be simplified".
    pub fn is_optional(&self, at: usize) -> bool {
        let apart = |word: &str| matches!(word, "and" | "but" | "then" | "if" | "calculator");
        self.back(at, 12).take_while(|at| !apart(self.word(*at))).any(|before| {
            let (last, next) = (self.last(before), self.word(before + 1));
            match self.word(before) {
                "may" | "can" | "could" => {
                    let said = LEAVES.contains(&next) || (next == "use" && at - before < 5);
                    let if_so = before > 1 && self.word(before - 2) == "if";
                    matches!(last, "you" | "answer" | "answers") && said && !if_so
                }
                "need" => next == "not" || (next == "to" && matches!(last, "not" | "t")),
                "have" => next == "to" && matches!(last, "not" | "t"),
                "needed" | "required" | "necessary" => last == "not",
                "needn" | "unnecessary" => true,
                "free" => last == "feel",
                "allowed" | "ok" | "okay" | "fine" | "acceptable" => next == "to" && last != "not",
                _ => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::wants::{Want, wants};

    #[test]
    fn one_of_several_forms_and_forms_that_are_allowed_are_not_asked_for() {
        const FORMS: [Want; 6] =
            [Want::Fraction, Want::Decimal, Want::Percent, Want::Mixed, Want::Simplest, Want::Factors];
        for text in [
            "Answer as a fraction, decimal or percent.",
            "Give it as a decimal or as a common fraction.",
            "Write a mixed number or an improper fraction.",
            "You may leave your answer as a fraction.",
            "Your answer need not be simplified.",
            "Feel free to leave it in factored form.",
        ] {
            let asked = wants(text);
            assert!(FORMS.iter().all(|form| !asked.contains(form)), "{text}: {asked:?}");
        }
        for text in [
            "You may use a calculator, but write your answer as a fraction.",
            "You may not leave it as a decimal; write it as a fraction.",
            "If you can, write 50 percent or 0.5 as a fraction.",
            "If 9 of 12 students have not passed, express the share who have not passed as a common fraction.",
            "If 3 of 12 pupils don't have a pet, write the part who do as a fraction.",
        ] {
            assert!(wants(text).contains(&Want::Fraction), "{text}");
        }
    }
}
