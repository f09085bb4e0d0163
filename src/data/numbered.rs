//! Integer answers beside choices: which choice a row's `"answer": 1` is (MMLU and HellaSwag count from 0, KMMLU from 1).

use super::choices;
use super::columns::{Read, named};
use super::row::{Problems, Row};
use crate::rationale::answer;
use crate::rationale::equality::is_choice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an integer in the column `answer` of a row with `choices` is, where it is no label of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntegerAnswers {
    /// The place of the choice, the first being 0.
    #[serde(rename = "from_0")]
    From0,
    /// The place of the choice, the first being 1.
    #[serde(rename = "from_1")]
    From1,
    /// The text of the choice.
    Text,
}

/// The rows, integer answers beside choices as the letters that they count; those whose integer is neither are noted and left out.
pub(super) fn settled(mut rows: Vec<Row>, how: Option<IntegerAnswers>, problems: &mut Problems) -> Vec<Row> {
    rows.retain_mut(|row| match settle(row, how) {
        Ok(()) => true,
        Err(what) => {
            problems.at(row, what);
            false
        }
    });
    rows
}

/// Puts the letter of the choice in place of an integer that counts the choices. Where the recipe does not say what integers are, one that is written as the
/// choices are (a number among numbers, a text among texts) and equals one of them is that one; others count from 0.
///
/// # Errors
/// An integer that is neither.
pub fn settle(row: &mut Row, how: Option<IntegerAnswers>) -> Read<()> {
    let Some(answer) = row.fields.get("answer") else { return Ok(()) };
    let (written, text) = match answer {
        Value::Number(number) => (number.to_string(), false),
        Value::String(text) => (text.trim().to_string(), true),
        _ => return Ok(()),
    };
    let digits = written.strip_prefix('-').unwrap_or(&written);
    let (labels, texts) = choices::read(row)?;
    if texts.is_empty() || labels.contains(&written) {
        return Ok(());
    }
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let gold = answer::gold(&written);
        return match gold.filter(|gold| !is_choice(gold, &texts)) {
            None => Ok(()),
            Some(gold) => Err(format!(
                "`answer` {gold:?} is none of the {} choices, by letter, label or text; mend the row, or take `choices` out",
                texts.len()
            )),
        };
    }
    let same = texts.iter().any(|choice| crate::rationale::number::equal(choice, &written));
    let numbers = row.fields["choices"].as_array().is_some_and(|items| items.iter().all(Value::is_number));
    let counts =
        |first: usize| written.parse::<usize>().ok()?.checked_sub(first).filter(|index| *index < texts.len());
    let index = match how {
        Some(IntegerAnswers::From0) => counts(0),
        Some(IntegerAnswers::From1) => counts(1),
        Some(IntegerAnswers::Text) if same => return Ok(()),
        Some(IntegerAnswers::Text) => None,
        None if same && (text || numbers || counts(0).is_none()) => return Ok(()),
        None => counts(0),
    };
    let Some(index) = index else {
        let count = texts.len();
        let (said, remedy) = match how {
            None if counts(1).is_some() => (
                "is neither label nor text of the choices, nor their number from 0",
                "if answers count from 1, set data.integer_answers = \"from_1\"",
            ),
            None => ("is neither label nor text of the choices, nor their number from 0", "mend the row"),
            Some(IntegerAnswers::From0) => {
                ("is no choice's number from 0", "mend the row, or data.integer_answers")
            }
            Some(IntegerAnswers::From1) => {
                ("is no choice's number from 1", "mend the row, or data.integer_answers")
            }
            Some(IntegerAnswers::Text) => {
                ("is no choice's text or label", "mend the row, or data.integer_answers")
            }
        };
        return Err(format!("`answer` {written} {said}, which are {count}; {remedy}"));
    };
    row.fields.insert("answer".to_string(), Value::String(named(index, &texts)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The gold answer of a row with these columns.
    fn answer(answer: Value, choices: Value, how: Option<IntegerAnswers>) -> Result<String, String> {
        let fields = json!({"answer": answer, "choices": choices}).as_object().unwrap().clone();
        let mut row = Row { file: "a.jsonl".into(), stem: "a".into(), line: 1, fields };
        settle(&mut row, how)?;
        Ok(super::super::columns::read(&row, &Default::default()).unwrap().answer.unwrap())
    }

    #[test]
    fn an_integer_counts_the_choices_unless_it_is_one() {
        use IntegerAnswers::*;
        let words = || json!(["p", "q", "r", "s"]);
        for (value, choices, how, expected) in [
            (json!(1), words(), None, "B"),
            (json!("3"), words(), None, "D"),
            (json!(1), words(), Some(From1), "A"),
            (json!("B"), words(), Some(From1), "B"),
            // MMLU's numeric choices are texts, its answers numbers; numbers among numbers are values.
            (json!(1), json!(["1", "2", "3", "4"]), None, "B"),
            (json!("1"), json!(["1", "2", "3", "4"]), None, "1"),
            (json!(2), json!([4, 3, 2, 1]), None, "2"),
            (json!(2), json!([4, 3, 2, 1]), Some(From0), "C"),
            (json!(12), json!(["10", "11", "12", "13"]), None, "12"),
            (json!(1), json!(["1", "2"]), Some(Text), "1"),
            // Labels go first: ARC counts its choices itself.
            (json!("1"), json!({"label": ["1", "2"], "text": ["p", "q"]}), None, "A"),
        ] {
            assert_eq!(
                answer(value.clone(), choices.clone(), how).as_deref(),
                Ok(expected),
                "{value} of {choices}"
            );
        }
        let refused = |value: Value, how| answer(value, words(), how).unwrap_err();
        assert!(refused(json!(4), None).contains("set data.integer_answers = \"from_1\""));
        assert!(refused(json!(9), None).contains("`answer` 9 is neither label nor text of the choices"));
        assert!(refused(json!(0), Some(From1)).contains("no choice's number from 1"));
        assert!(refused(json!(1), Some(Text)).contains("no choice's text"));
    }
}
