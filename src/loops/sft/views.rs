//! Several things that are learned of one row, each with a prompt and a completion of its own: `[[loop.sft.view]]`. Label, rationale and
//! verification of one question are three such views (RVISA, Lai et al. 2024, arXiv 2407.02340); so is an answer with its evidence attributed.
//!
//! L = Σᵥ weightᵥ · NLLᵥ / Σ tokens · weight over all views of a step's rows.

use crate::data::template::{Condition, Jinja, values};
use crate::data::{Example, Message, Prompt};
use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that is learned of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// What it is called: `views/NAME/loss` is the mean −log p of its tokens.
    pub name: String,
    /// How much each of its tokens counts.
    #[serde(default = "one")]
    pub weight: f64,
    /// Rows of which this view is learned: a Jinja expression over the columns, such as the name of one (`verified`) or `assessed == answer`.
    /// All by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// What is asked and what is learned.
    #[serde(default)]
    pub template: ViewTemplate,
}

/// The texts of a view, as those of `[data.template]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ViewTemplate {
    /// The user turn, over the row's columns; the row's own prompt by default. Turns before it stay, and solved rows that are shown; of any other
    /// prompt of plain text it takes the place whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Jinja>,
    /// The completion that is learned; the row's own by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assistant: Option<Jinja>,
}

fn one() -> f64 {
    1.0
}

impl View {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let named = !self.name.is_empty() && !self.name.contains('/');
        let mut found = broken(&[
            (named, "name", "a view needs a name, without a slash, by which its figures are told"),
            (self.weight > 0.0 && self.weight.is_finite(), "weight", "it must be a positive number"),
        ]);
        let texts =
            [("template.user", &self.template.user), ("template.assistant", &self.template.assistant)];
        for (key, text) in texts {
            let error = text.as_ref().and_then(|text| text.check().err());
            found.extend(error.map(|error| Misfit::new(key, said(&error), "")));
        }
        let error = self.when.as_ref().and_then(|when| when.check().err());
        found.extend(error.map(|error| {
            Misfit::new("when", said(&error), "write a column's name, or an expression over columns")
        }));
        found
    }

    /// The row as this view has it; none where `when` does not hold of it.
    ///
    /// # Errors
    /// What its templates miss in the row, in words that follow the row's place.
    pub fn of(&self, row: &Example) -> Result<Option<Example>, String> {
        let values = values(row);
        let failed = |key: &str, error: minijinja::Error| {
            format!("view `{}`: {key}: {}; give the row that column, or see `when`", self.name, said(&error))
        };
        if let Some(when) = &self.when
            && !when.holds(&values).map_err(|error| failed("when", error))?
        {
            return Ok(None);
        }
        let written = |key: &str, text: &Option<Jinja>| {
            let text = text.as_ref().map(|text| text.render(&values));
            text.transpose().map_err(|error| failed(key, error))
        };
        let (user, assistant) = (
            written("template.user", &self.template.user)?,
            written("template.assistant", &self.template.assistant)?,
        );
        let mut example = row.clone();
        if let Some(user) = user {
            asks(&mut example.prompt, user, !row.shots.is_empty());
            example.learned_turns.clear();
        }
        if let Some(assistant) = assistant {
            example.reply = None;
            example.completion = Some(assistant);
        }
        match &example.completion {
            None => Err(format!(
                "view `{}`: it has no completion to learn; give the row one, or set the view's template.assistant",
                self.name
            )),
            Some(text) if text.is_empty() => {
                Err(format!("view `{}`: template.assistant gives an empty text", self.name))
            }
            Some(_) => Ok(Some(example)),
        }
    }
}

/// Puts `user` in the place of what the prompt asks, `behind` solved rows where it shows some.
fn asks(prompt: &mut Prompt, user: String, behind: bool) {
    match prompt {
        Prompt::Text(text) => {
            let before = text.rsplit_once("\n\n").filter(|_| behind);
            *text = before.map_or(user.clone(), |(shots, _)| format!("{shots}\n\n{user}"));
        }
        Prompt::Chat(turns) => {
            let last = turns.iter().rposition(|turn| turn.role == "user");
            turns.truncate(last.unwrap_or(turns.len()));
            turns.push(Message::new("user", user));
        }
    }
}

fn said(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    format!("{}{detail}", error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn row(fields: Value) -> Example {
        let Value::Object(fields) = fields else { panic!("an object") };
        let prompt = Prompt::Chat(vec![Message::new("system", "Be brief."), Message::new("user", "Q?")]);
        Example { prompt, fields, completion: Some("own".into()), ..Example::text("row:1", "") }
    }

    fn view(text: &str) -> View {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_view_asks_and_answers_in_its_own_words() {
        let row = row(json!({"aspect": "soup", "label": "good", "verified": true}));
        let own = view("name = 'own'");
        assert_eq!(own.of(&row).unwrap().unwrap(), row);
        let label = view(
            "name = 'label'\nwhen = 'verified'\ntemplate.user = 'How is {{ aspect }}?'\ntemplate.assistant = '{{ label }}'",
        );
        let seen = label.of(&row).unwrap().unwrap();
        let Prompt::Chat(turns) = &seen.prompt else { panic!("a conversation") };
        let said: Vec<&str> = turns.iter().map(|turn| turn.content.as_str()).collect();
        assert_eq!((said, seen.completion.as_deref()), (vec!["Be brief.", "How is soup?"], Some("good")));
        let mut plain = row.clone();
        plain.prompt = Prompt::Text("shots\n\nQ?".into());
        assert_eq!(label.of(&plain).unwrap().unwrap().prompt, Prompt::Text("How is soup?".into()));
    }

    #[test]
    fn what_does_not_hold_is_not_learned_and_what_is_missing_is_said() {
        let asks = |when: &str| View { when: Some(when.into()), ..view("name = 'v'") };
        let row = row(json!({"verified": false, "assessed": "ash", "answer": "ash"}));
        assert_eq!(asks("verified").of(&row).unwrap(), None);
        assert!(asks("assessed == answer").of(&row).unwrap().is_some());
        let missing = view("name = 'v'\ntemplate.assistant = '{{ nothing }}'").of(&row).unwrap_err();
        assert!(missing.contains("view `v`: template.assistant: undefined value"), "{missing}");
        let empty = view("name = 'v'\ntemplate.assistant = ''").of(&row).unwrap_err();
        assert!(empty.contains("empty text"), "{empty}");
        let none = Example { completion: None, ..row };
        assert!(view("name = 'v'").of(&none).unwrap_err().contains("no completion to learn"));
    }

    #[test]
    fn the_section_is_checked() {
        let bad = view("name = 'a/b'\nweight = 0.0\nwhen = '(('\ntemplate.user = '{{'");
        let keys: Vec<String> = bad.check().into_iter().map(|misfit| misfit.key).collect();
        assert_eq!(keys, ["name", "weight", "template.user", "when"]);
        assert_eq!(view("name = 'a'\nwhen = 'x'").check(), []);
    }
}
