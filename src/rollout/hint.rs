//! Samples of the policy, with a second prompt that knows the answer for the questions that the first one fails:
//! `[rollout.hint]`, the rationalization of STaR (Zelikman et al. 2022, arXiv 2203.14465, section 3.2).

use super::{Group, Prompted, SamplingContext, Source, SourceSection, Traits, independent};
use crate::data::Example;
use crate::data::template::{Jinja, values};
use crate::data::unfilled::{fault, misfits};
use crate::error::Result;
use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Independent completions of each prompt; a question that none of them answers rightly is asked again with a hint.
/// The hint is left out of what is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HintRollout {
    /// Completions of each prompt, and of each prompt with the hint.
    pub size: usize,
    /// The user turn (or plain text) that takes the place of `data.template.user`, in the few-shot examples too: a
    /// Jinja template over the same columns, which must use `answer`.
    pub hint: Jinja,
}

impl Default for HintRollout {
    fn default() -> Self {
        Self { size: 1, hint: "{{ question }} (the answer is {{ answer }})".into() }
    }
}

impl SourceSection for HintRollout {
    fn traits(&self) -> Traits<'_> {
        Traits { hint: Some(&self.hint), ..Traits::sampled("hint", self.size) }
    }

    fn check(&self) -> Vec<Misfit> {
        let mut found =
            broken(&[(self.size > 0, "size", "at least one completion of each prompt is needed")]);
        match self.hint.names() {
            Err(error) => found.push(Misfit::new("hint", format!("it cannot be read: {error:#}"), "")),
            Ok(names) if !names.contains("answer") => found.push(Misfit::new(
                "hint",
                "it does not tell the answer, so it is no hint",
                "write {{ answer }} where it belongs",
            )),
            Ok(_) => {}
        }
        found
    }

    fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        misfits(rows, |row| {
            // It takes the place of the prompt's template, so that there is no prompt yet.
            let mut known = values(row);
            if !row.fields.contains_key("prompt") {
                known.remove("prompt");
            }
            known.insert("id".into(), row.id.as_str().into());
            let fault = fault(&self.hint, &known, &[]);
            fault.map(|fault| ("hint".to_owned(), fault)).into_iter().collect()
        })
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.clone()))
    }
}

/// Which questions are asked again is for the loop to say: it has their prompts with the hint.
impl Source for HintRollout {
    fn section(&self) -> &dyn SourceSection {
        self
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        independent::reported(prompts, self.size, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(hint: &str) -> String {
        let section = HintRollout { hint: hint.into(), ..HintRollout::default() };
        let found = section.check();
        assert_eq!(found.len(), 1);
        found[0].clone().under("rollout.hint").said(Some(&toml::Value::String(hint.into())))
    }

    #[test]
    fn a_hint_tells_the_answer() {
        assert_eq!(HintRollout::default().check(), []);
        let marked = "{% for c in choices %}{{ c }}{% if c == answer %} (CORRECT){% endif %}{% endfor %}";
        assert_eq!(HintRollout { hint: marked.into(), size: 2 }.check(), []);
        assert!(said("{{ question }}").contains("rollout.hint.hint = \"{{ question }}\": it does not tell"));
        assert!(said("{{ question").contains("it cannot be read: syntax error"));
        assert_eq!(HintRollout { size: 0, ..HintRollout::default() }.check()[0].key, "size");
    }

    #[test]
    fn rows_that_a_hint_cannot_be_written_for_are_named() {
        let row = |id: &str, fields: serde_json::Value| Example {
            answer: Some("1".to_owned()),
            fields: fields.as_object().unwrap().clone(),
            ..Example::text(id, "q")
        };
        let rows = [
            row("r:1", serde_json::json!({"question": "q", "topic": "t"})),
            row("r:2", serde_json::json!({"question": "q"})),
        ];
        let rows: Vec<&Example> = rows.iter().collect();
        assert_eq!(HintRollout::default().check_rows(&rows), []);
        let told = |hint: &str| {
            let section = HintRollout { hint: hint.into(), ..HintRollout::default() };
            section.check_rows(&rows).into_iter().map(|misfit| misfit.message).collect::<Vec<_>>()
        };
        assert_eq!(
            told("{{ topic }} {{ id }} {{ answer }}"),
            ["uses `topic`, which 1 of 2 rows does not have: r:2; known: question"]
        );
        assert_eq!(
            told("{{ prompt }} {{ answer }}"),
            ["uses `prompt`, which 2 of 2 rows do not have: r:1, r:2; known: question, topic"]
        );
    }
}
