//! A row's choices as completions, each behind a rationale of its own: prompt, rationale, what ends it, the choice's text. s_c is the mean log p of the
//! choice's tokens, and p = softmax(s) (PINTO, Wang et al. 2023, arXiv 2211.01562).

use crate::data::columns::letter;
use crate::data::template::{Jinja, values};
use crate::data::{Example, Tokenizer};
use crate::error::Result;
use crate::model::Sequence;
use crate::rationale::Format;
use crate::rationale::equality::answered;
use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Held-out questions are answered with the choice that is likeliest, and nothing is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choosing {
    /// What stands before each choice, a Jinja template over the row's columns and the choice's `at` (from 0), `choice` (its text) and `letter`:
    /// `"{{ rationales[at] }}"`. Nothing by default. Behind it comes what `data.format` ends reasoning with.
    pub rationale: Option<Jinja>,
}

impl Choosing {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let error = self.rationale.as_ref().and_then(|text| text.check().err());
        let wrong = |error: minijinja::Error| {
            let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
            Misfit::new("rationale", format!("{}{detail}", error.kind()), "")
        };
        error.map(wrong).into_iter().collect()
    }

    /// The rationale of each choice, and the place of the right one.
    ///
    /// # Errors
    /// Rows that lack choices, one that is right, or a rationale, in words that follow the row's place.
    pub fn read(&self, row: &Example) -> std::result::Result<(Vec<String>, usize), String> {
        if row.choices.len() < 2 {
            return Err("it has no `choices` to choose among; give it at least two".into());
        }
        // Nothing of it would be read, and the mean of nothing is no number.
        if let Some(at) = row.choices.iter().position(|choice| choice.trim().is_empty()) {
            return Err(format!("choice {} of its `choices` is empty; fill it in or take it out", at + 1));
        }
        let gold = row.gold().and_then(|gold| answered(gold, &row.choices));
        let gold = gold.ok_or("its `answer` is none of its `choices`; mend one of them")?;
        let Some(template) = &self.rationale else {
            return Ok((vec![String::new(); row.choices.len()], gold));
        };
        let mut values = values(row);
        let mut rationales = Vec::new();
        for (at, choice) in row.choices.iter().enumerate() {
            values.insert("at".into(), at.into());
            values.insert("choice".into(), choice.clone().into());
            values.insert("letter".into(), letter(at).into());
            let written = template.render(&values).map_err(|error| {
                let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
                format!("no rationale of its choice {choice:?}: {}{detail}; give it the columns that `rationale` asks for", error.kind())
            })?;
            if written.trim().is_empty() {
                return Err(format!("the rationale of its choice {choice:?} is empty"));
            }
            rationales.push(written);
        }
        Ok((rationales, gold))
    }
}

/// A choice as it is scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Prompt, rationale, what ends it and the choice's text, the tokens of which count as learned.
    pub sequence: Sequence,
    /// Where the rationale's tokens stand.
    pub rationale: Range<usize>,
    /// What is written behind the prompt.
    pub text: String,
}

/// Each of `choices` behind its rationale.
pub fn behind(
    tokenizer: &Tokenizer,
    prompt: &[u32],
    rationales: &[String],
    choices: &[String],
    format: &Format,
) -> Result<Vec<Choice>> {
    let cue = format.cue().unwrap_or_else(|| "\n".into());
    let of = |(rationale, choice): (&String, &String)| {
        let before = Format::ended(rationale, &cue);
        let text = format!("{before}{choice}");
        let ids = tokenizer.encode(&text)?;
        let scored = tokenizer.tokens_of(&ids, before.len()..text.len());
        let reasoned = tokenizer.tokens_of(&ids, 0..rationale.trim_end().len()).end.min(scored.start);
        let begin = prompt.len();
        let sequence = Sequence::new(&[prompt, &ids[..scored.start]].concat(), &ids[scored]);
        Ok(Choice { sequence, rationale: begin..begin + reasoned, text })
    };
    rationales.iter().zip(choices).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row() -> Example {
        let fields = json!({"rationales": ["it is wet", "it is dry"]}).as_object().cloned().unwrap();
        let choices = vec!["rain".into(), "sun".into()];
        Example { choices, answer: Some("B".into()), fields, ..Example::text("row:1", "?") }
    }

    fn choosing(rationale: &str) -> Choosing {
        Choosing { rationale: Some(rationale.into()) }
    }

    #[test]
    fn each_choice_stands_behind_its_rationale() {
        let (row, tokenizer) = (row(), Tokenizer::bytes());
        let (rationales, gold) = choosing("{{ rationales[at] }}").read(&row).unwrap();
        assert_eq!((rationales.clone(), gold), (vec!["it is wet".into(), "it is dry".into()], 1));
        let found = behind(&tokenizer, &[63, 10], &rationales, &row.choices, &Format::default()).unwrap();
        assert_eq!(found[1].text, "it is dry\n#### sun");
        let span = Range { start: 17, end: 20 };
        assert_eq!((found[1].rationale.clone(), found[1].sequence.spans()), (2..11, &[span][..]));
        let (none, _) = Choosing::default().read(&row).unwrap();
        let bare = behind(&tokenizer, &[63], &none, &row.choices, &Format::default()).unwrap();
        assert_eq!((bare[0].text.as_str(), bare[0].rationale.clone()), ("#### rain", 1..1));
        let named =
            choosing("{{ letter }} {{ choice }}: {{ rationales[(at + 1) % 2] }}").read(&row).unwrap().0;
        assert_eq!(named[0], "A rain: it is dry");
    }

    #[test]
    fn rows_that_lack_something_are_told_of() {
        let told = |row: &Example, rationale: &str| choosing(rationale).read(row).unwrap_err();
        let own = "{{ rationales[at] }}";
        assert!(told(&Example { choices: vec![], ..row() }, own).contains("no `choices`"));
        let empty = vec!["rain".into(), " ".into()];
        assert!(
            told(&Example { choices: empty, ..row() }, own).contains("choice 2 of its `choices` is empty")
        );
        assert!(
            told(&Example { answer: Some("snow".into()), ..row() }, own).contains("none of its `choices`")
        );
        assert!(
            told(&Example { fields: Default::default(), ..row() }, own)
                .contains("no rationale of its choice \"rain\"")
        );
        assert!(told(&row(), "{{ rationales[7] }}").contains("choice \"rain\""));
        assert_eq!(choosing("{{").check().len(), 1);
        assert!(choosing(own).check().is_empty());
    }
}
