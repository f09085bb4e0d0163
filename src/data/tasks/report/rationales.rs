//! How a reader of a report comes to its condition, in words.

use super::findings::{CONDITIONS, Findings, PARTS};
use crate::text::instruction::Instruction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How the rationale is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// A line an option, in their order: `(A) ash: hip low yes, tem low no: no`.
    Options,
    /// The same lines up to the option that it comes to.
    Chain,
    /// What the answer rests on, and nothing else: `hip low, tem low`.
    Terse,
}

/// Which of each condition's findings a reader holds to be there.
pub(super) type Reading = [[bool; 2]; 4];

/// The reading of who makes no mistake.
pub(super) fn reading(findings: Findings) -> Reading {
    [0, 1, 2, 3].map(|condition| findings.meets(condition))
}

/// The conditions that a reading comes to, in the order of `options`: those of which all is there, or else the first of which most is.
pub(super) fn come_to(reading: &Reading, options: &[usize]) -> Vec<usize> {
    let there = |condition: usize| reading[condition].iter().filter(|found| **found).count();
    let all: Vec<usize> = options.iter().copied().filter(|&condition| there(condition) == 2).collect();
    if !all.is_empty() {
        return all;
    }
    // The earlier of equals: max_by_key takes the last.
    options.iter().rev().copied().max_by_key(|&condition| there(condition)).into_iter().collect()
}

/// A condition's findings as the report says them: `hip low, tem low`.
pub(super) fn evidence(condition: usize, severities: &[&str; 3]) -> String {
    CONDITIONS[condition].needs.map(|need| finding(need, severities)).join(", ")
}

pub(super) fn finding((part, severity): (usize, u8), severities: &[&str; 3]) -> String {
    format!("{} {}", PARTS[part], severities[usize::from(severity)])
}

/// The lines about the first `lines` of `options`.
pub(super) fn lines(
    reading: &Reading,
    options: &[usize],
    lines: usize,
    severities: &[&str; 3],
) -> Vec<String> {
    let word = |found: bool| if found { "yes" } else { "no" };
    let line = |(letter, &condition): (char, &usize)| {
        let (read, needs) = (reading[condition], CONDITIONS[condition].needs);
        let [first, second] = needs.map(|need| finding(need, severities));
        let all = word(read == [true; 2]);
        let name = CONDITIONS[condition].name;
        format!("({letter}) {name}: {first} {}, {second} {}: {all}", word(read[0]), word(read[1]))
    };
    ('A'..).zip(options).take(lines).map(line).collect()
}

/// The instruction about a rationale's form that row `index` gives, in words and as `[reward.instruction]` reads it.
pub(super) fn instruction(index: usize) -> (&'static str, Value) {
    match index % 5 {
        0 => ("use capitals.", json!({"kind": "upper"})),
        1 => ("use no commas.", json!({"kind": "commas"})),
        2 => ("end with so be it.", json!({"kind": "ends", "phrase": "so be it"})),
        3 => ("use json.", json!({"kind": "json"})),
        _ => ("use less than 12 words.", json!({"kind": "words", "less": 12})),
    }
}

/// The levels of reading, and how each is asked for.
pub(super) const LEVELS: [(&str, &str); 3] =
    [("child", "say it to a child."), ("adult", "say it to an adult."), ("doctor", "say it to a doctor.")];

/// What a condition rests on in words of a level: short words and sentences, one sentence, long words.
pub(super) fn at_level(level: usize, condition: usize, severities: &[&str; 3]) -> String {
    let [first, second] = CONDITIONS[condition].needs.map(|need| finding(need, severities));
    let name = CONDITIONS[condition].name;
    match level {
        0 => format!("we see {first}. we see {second}. so it is {name}."),
        1 => format!("the report says {first} and {second}, and both are needed for {name}."),
        _ => {
            format!(
                "examination demonstrates {first} accompanied by {second}, consequently establishing {name}."
            )
        }
    }
}

/// A rationale made to follow `instruction` afterwards, as ReasonIF's fine-tuning data are.
pub(super) fn complied(rationale: &str, instruction: &Value) -> String {
    match serde_json::from_value(instruction.clone()) {
        Ok(Instruction::Upper) => rationale.to_uppercase(),
        Ok(Instruction::Commas) => rationale.replace(',', ""),
        Ok(Instruction::Ends { phrase }) => format!("{rationale}\n{phrase}"),
        Ok(Instruction::Json) => json!({ "why": rationale.replace('\n', " ") }).to_string(),
        Ok(Instruction::Words { less }) => {
            rationale.split_whitespace().take(less.saturating_sub(1)).collect::<Vec<_>>().join(" ")
        }
        _ => rationale.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings::SEVERITIES;
    use super::*;
    use crate::text::readability::TextCounts;

    #[test]
    fn a_reading_is_written_by_option() {
        let read = reading(Findings([0, 0, 1, 0, 1, 1]));
        let written = lines(&read, &[2, 0], 2, &SEVERITIES);
        let expected = ["(A) cor: ven high no, tem low yes: no", "(B) ash: hip low yes, tem low yes: yes"];
        assert_eq!(written, expected);
        assert_eq!(lines(&read, &[2, 0], 1, &SEVERITIES), expected[..1]);
        assert_eq!(evidence(3, &["small", "fine", "big"]), "ven big, par small");
    }

    /// cor and dal have one finding each, ash both; without ash, the first of the two.
    #[test]
    fn a_reading_comes_to_what_is_there() {
        let mut read = reading(Findings([0, 0, 1, 0, 1, 1]));
        assert_eq!(come_to(&read, &[3, 1, 2, 0]), [0]);
        read[0] = [false; 2];
        assert_eq!(come_to(&read, &[1, 3, 2, 0]), [3]);
        read[1] = [true; 2];
        read[2] = [true; 2];
        assert_eq!(come_to(&read, &[2, 3, 1, 0]), [2, 1]);
    }

    /// Flesch's reading ease, by hand: 206.835 − 1.015 · 12/3 − 84.6 · 12/12, 206.835 − 1.015 · 14 − 84.6 · 16/14 and 206.835 − 1.015 · 11 − 84.6 · 26/11, of every condition.
    #[test]
    fn levels_are_as_easy_to_read_as_they_say() {
        for condition in 0..4 {
            for (level, expected) in
                [118.175, 206.835 - 14.21 - 84.6 * 16.0 / 14.0, 206.835 - 11.165 - 84.6 * 26.0 / 11.0]
                    .into_iter()
                    .enumerate()
            {
                let said = at_level(level, condition, &SEVERITIES);
                let ease = TextCounts::of(&said).unwrap().flesch();
                assert!((ease - expected).abs() < 1e-9, "{said}: {ease}");
            }
        }
        assert_eq!(at_level(0, 1, &SEVERITIES), "we see hip ok. we see fro low. so it is bur.");
    }

    #[test]
    fn a_complied_rationale_follows_its_instruction() {
        let rationale =
            "(A) ash: hip low yes, tem low no: no\n(B) bur: hip ok yes, fro low yes: yes\n(C) is no";
        for index in 0..5 {
            let (_, written) = instruction(index);
            let rule: Instruction = serde_json::from_value(written.clone()).unwrap();
            assert!(!rule.holds(rationale) && rule.holds(&complied(rationale, &written)), "{written}");
        }
    }
}
