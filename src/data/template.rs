//! `[data.template]`: from a row's columns to a prompt and the completion that supervised training learns.

pub use super::jinja::{Condition, Jinja, values};

use super::beside::SYSTEM;
use super::columns::{self, Columns, letter};
use super::conversation::Roles;
use super::jinja::bounded::told;
use super::row::Row;
use super::shots::{Pick, Shot, Solved};
use super::unfilled::quoted;
use super::uses::Uses;
use super::{Example, Feedback, Message, Prompt, Sources, called, dialects};
use crate::section::Misfit;
use minijinja::ErrorKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How a row becomes a prompt and a completion. The texts are Jinja templates over the row's columns, where
/// `choices` is a list of texts and null columns are undefined. Rows that bring a ready `prompt`, `messages` or
/// `text` keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Template {
    /// The system turn, or the first block of a plain-text prompt, of rows that bring no `system`; `{{ system }}` is theirs.
    pub system: Option<Jinja>,
    /// The user turn. Left at its default, a question's `choices` follow it on lines of their own: `(A) …`.
    pub user: Jinja,
    /// The completion of rows that bring none. By default the rationale and then `#### ` and the answer on a line
    /// of its own; without a rationale the answer alone.
    pub assistant: Option<Jinja>,
    /// The question that the `rationale` of a preference answers: why `chosen` is better than `rejected`. Besides the
    /// columns it may use `prompt` (the text of the last turn), `chosen` and `rejected` as texts.
    pub why: Jinja,
    /// Make conversations for the model's chat template; off, prompts are plain text, the user text as it stands.
    pub chat: bool,
    /// Show so many solved rows first: turns of the conversation, or blocks of the text separated by blank lines.
    pub few_shot: usize,
    /// Where the solved rows come from; by default the training rows, never the row itself. `"@stage"` shows what an earlier stage
    /// collected.
    pub few_shot_from: Option<Sources>,
    /// Which of them are shown: the `first`, `random` ones for each row, drawn by `run.seed`, or those most `similar` to its question, by
    /// words. Of more than 2000 the first 2000 are looked at.
    pub few_shot_pick: Pick,
    /// How a solved row is answered, over its columns; as `assistant` by default, or its completion.
    pub few_shot_show: Option<Jinja>,
    /// What every completion begins with, over the row's columns: it is written as the end of the prompt, and neither sampled nor learned.
    pub begin: Option<Jinja>,
    /// What the model's chat template may ask for by name: `variables.enable_thinking = false`. A row's own
    /// `chat_template_kwargs` come first.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// Roles of the rows' turns that chat templates do not know, and what they call them: `roles.narrator = "user"`.
    /// ShareGPT's are known.
    #[serde(skip_serializing_if = "Roles::is_empty")]
    pub roles: Roles,
}

const QUESTION: &str = "{{ question }}";
/// The wording of RDPO (Just et al. 2024, arXiv 2407.14477), shortened.
const WHY: &str = "Given the prompt:\n{{ prompt }}\nWhich of the following responses is preferable, and why?\n\
    Response above: \"{{ chosen }}\"\nResponse below: \"{{ rejected }}\"\n";

impl Default for Template {
    fn default() -> Self {
        Self {
            system: None,
            user: QUESTION.into(),
            assistant: None,
            why: WHY.into(),
            chat: true,
            few_shot: 0,
            few_shot_from: None,
            few_shot_pick: Pick::First,
            few_shot_show: None,
            begin: None,
            variables: Map::new(),
            roles: Roles::new(),
        }
    }
}

impl Template {
    /// Texts that are no templates.
    pub fn check(&self) -> Vec<Misfit> {
        let wrong = |(key, text): (&str, Option<&Jinja>)| {
            let error = text?.check().err()?;
            let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
            let line = error.line().map_or(String::new(), |line| format!(" in line {line} of the text"));
            Some(Misfit::new(key, format!("{}{line}{detail}", error.kind()), ""))
        };
        let mut found: Vec<Misfit> = self.texts().into_iter().filter_map(wrong).collect();
        let given = ["messages", "add_generation_prompt"]
            .into_iter()
            .filter(|name| self.variables.contains_key(*name));
        found.extend(given.map(|name| {
            Misfit::new(
                format!("variables.{name}"),
                "every conversation gives the chat template its own",
                "leave it out",
            )
        }));
        found
    }

    /// Whether one of the texts is written over the column `name`.
    pub(super) fn names(&self, name: &str) -> bool {
        let mut texts = self.texts().into_iter().filter_map(|(_, text)| text);
        texts.any(|text| text.names().is_ok_and(|names| names.contains(name)))
    }

    /// Its Jinja texts, by their keys.
    fn texts(&self) -> [(&'static str, Option<&Jinja>); 6] {
        [
            ("system", self.system.as_ref()),
            ("user", Some(&self.user)),
            ("assistant", self.assistant.as_ref()),
            ("why", Some(&self.why)),
            ("few_shot_show", self.few_shot_show.as_ref()),
            ("begin", self.begin.as_ref()),
        ]
    }
}

type Rendered<T> = Result<T, String>;

/// A template ready to write examples: its solved rows are rendered.
pub struct Writer<'a> {
    template: &'a Template,
    shots: Vec<Solved>,
    seed: u64,
    variables: Arc<Map<String, Value>>,
    /// Whether one of the texts is written over a row's own system turn.
    places_system: bool,
    uses: Uses,
}

impl<'a> Writer<'a> {
    /// Renders the solved rows among `candidates`, of the first ones one more than is shown, so that a row never shows itself; `seed` draws.
    pub fn new(template: &'a Template, candidates: &[Row], seed: u64) -> Rendered<Self> {
        let (variables, uses) = (Arc::new(template.variables.clone()), Uses::default());
        let places_system = SYSTEM.iter().any(|name| template.names(name));
        let mut writer = Self { template, shots: Vec::new(), seed, variables, places_system, uses };
        if template.few_shot > 0 {
            let candidates = candidates.iter().take(template.few_shot_pick.enough(template.few_shot));
            writer.shots = candidates.map(|row| writer.shot(row)).collect::<Rendered<_>>()?;
        }
        Ok(writer)
    }

    /// The example of one row, or what is wrong with it.
    pub fn example(&mut self, row: &Row, columns: Columns, index: usize) -> Rendered<Example> {
        let fields = fields(row, &columns);
        let own_system = self.own_system(&columns).is_some();
        self.uses.add(self.template, row, &columns, own_system);
        let (prompt, shots) = match &columns.prompt {
            Some(prompt) => (prompt.clone(), vec![]),
            None => self.prompt(row, &columns, &fields)?,
        };
        let completion = self.completion(row, &columns, &fields)?;
        let completion = match (completion, &columns.prompt) {
            (Some(text), None) => Some(self.behind_begin(row, &fields, text)?),
            (completion, _) => completion,
        };
        let feedback = self.feedback(row, &columns, &fields, &prompt)?;
        let completions = match columns.completions.is_empty() {
            true => columns.completion.into_iter().collect(),
            false => columns.completions,
        };
        let (id, answer, choices) = (columns.id, columns.answer, columns.choices);
        let variables = match columns.variables.is_empty() {
            true => self.variables.clone(),
            false => {
                let mut variables = (*self.variables).clone();
                variables.extend(columns.variables);
                Arc::new(variables)
            }
        };
        Ok(Example {
            id,
            origin: Some(row.origin()),
            index,
            prompt,
            shots,
            learned_turns: columns.learned_turns,
            variables,
            completion,
            reply: columns.reply,
            completions,
            feedback,
            answer,
            choices,
            fields: row.fields.clone(),
        })
    }

    /// Keys that some or all of the rows so far have not used.
    pub fn idle(&self) -> Vec<String> {
        self.template.idle(&self.uses)
    }

    /// The system turn that the row brings, where no text says where it goes.
    fn own_system<'c>(&self, columns: &'c Columns) -> Option<&'c String> {
        columns.system.as_ref().filter(|_| !self.places_system)
    }

    fn prompt(
        &self,
        row: &Row,
        columns: &Columns,
        fields: &Map<String, Value>,
    ) -> Rendered<(Prompt, Vec<Arc<Shot>>)> {
        let system = match (self.own_system(columns), &self.template.system) {
            (Some(own), _) => Some(own.clone()),
            (None, text) => text.as_ref().map(|text| render("system", text, row, fields)).transpose()?,
        };
        let user = self.user(row, columns, fields)?;
        let shots = self.shots_for(row, &user)?;
        let begin = self.begin(row, fields)?;
        if self.template.chat {
            let mut turns: Vec<_> = system.iter().map(|text| Message::new("system", text)).collect();
            for shot in &shots {
                turns.extend([Message::new("user", &shot.user), Message::new("assistant", &shot.assistant)]);
            }
            turns.push(Message::new("user", user));
            turns.extend(begin.map(|begin| Message::new("assistant", begin)));
            return Ok((Prompt::Chat(turns), shots));
        }
        let mut blocks: Vec<_> = system.into_iter().collect();
        blocks.extend(shots.iter().map(|shot| format!("{}{}", shot.user, shot.assistant)));
        blocks.push(user + &begin.unwrap_or_default());
        Ok((Prompt::Text(blocks.join("\n\n")), shots))
    }

    fn begin(&self, row: &Row, fields: &Map<String, Value>) -> Rendered<Option<String>> {
        let begin = self.template.begin.as_ref();
        begin.map(|text| render("begin", text, row, fields)).transpose()
    }

    /// What is left of a completion behind what the prompt has begun of it.
    fn behind_begin(&self, row: &Row, fields: &Map<String, Value>, text: String) -> Rendered<String> {
        let begin = self.begin(row, fields)?.unwrap_or_default();
        Ok(text.strip_prefix(&begin).map_or(text.clone(), str::to_string))
    }

    fn user(&self, row: &Row, columns: &Columns, fields: &Map<String, Value>) -> Rendered<String> {
        if self.template.user.source() == QUESTION && columns.question.is_none() {
            if let Some(why) = dialects::why_not(&row.fields) {
                return Err(format!("no `question`, `prompt`, `messages` or `text`: {why}"));
            }
            let line = called::likely(row);
            return Err(format!(
                "no `question`, `prompt`, `messages` or `text`; the row has {}. Name the column, as in {line}, or write \
                 data.template.user",
                row.names()
            ));
        }
        let mut text = render("user", &self.template.user, row, fields)?;
        if self.template.user.source() == QUESTION {
            for (at, choice) in columns.choices.iter().enumerate() {
                text.push_str(&format!("\n({}) {choice}", letter(at)));
            }
        }
        Ok(text)
    }

    fn completion(
        &self,
        row: &Row,
        columns: &Columns,
        fields: &Map<String, Value>,
    ) -> Rendered<Option<String>> {
        if columns.completion.is_some() {
            return Ok(columns.completion.clone());
        }
        if let Some(template) = &self.template.assistant {
            return render("assistant", template, row, fields).map(Some);
        }
        Ok(match (&columns.rationale, &columns.answer) {
            (Some(rationale), Some(answer)) => Some(format!("{}\n#### {answer}", rationale.trim_end())),
            (Some(rationale), None) => Some(rationale.clone()),
            (None, answer) => answer.clone(),
        })
    }

    fn feedback(
        &self,
        row: &Row,
        columns: &Columns,
        fields: &Map<String, Value>,
        prompt: &Prompt,
    ) -> Rendered<Option<Feedback>> {
        let Some(preference) = &columns.preference else {
            let labelled = columns.label.zip(columns.completion.as_deref());
            return Ok(labelled.map(|(good, text)| Feedback::Label {
                completion: text.into(),
                good,
                weight: columns.weight,
            }));
        };
        let (chosen, rejected) = (preference.chosen.as_str(), preference.rejected.as_str());
        let mut why = None;
        if let Some(rationale) = &columns.rationale {
            let mut fields = fields.clone();
            let asked = prompt.question();
            for (name, text) in [("prompt", asked), ("chosen", chosen), ("rejected", rejected)] {
                fields.insert(name.to_string(), json!(text));
            }
            let question = render("why", &self.template.why, row, &fields)?;
            let question = match prompt {
                Prompt::Text(_) => Prompt::Text(question),
                Prompt::Chat(_) => Prompt::Chat(vec![Message::new("user", question)]),
            };
            why = Some((question, rationale.clone()));
        }
        let [chosen, rejected] = preference.completions();
        Ok(Some(Feedback::Pair {
            chosen,
            rejected,
            weight: preference.weight,
            margin: preference.margin,
            why,
        }))
    }

    fn shots_for(&self, row: &Row, question: &str) -> Rendered<Vec<Arc<Shot>>> {
        let (id, place) = (columns::id(row)?, row.place());
        let (wanted, pick) = (self.template.few_shot, self.template.few_shot_pick);
        let shots = pick.of(&self.shots, (&id, &place), question, wanted, self.seed);
        if shots.len() == wanted {
            return Ok(shots.into_iter().map(|one| one.shot.clone()).collect());
        }
        let got = shots.len();
        Err(format!("data.template.few_shot = {wanted}, but there are only {got} other rows to show"))
    }

    fn shot(&self, row: &Row) -> Rendered<Solved> {
        let wrong = |what: String| format!("{}: as a few-shot example: {what}", row.place());
        let columns = columns::read(row, &self.template.roles).map_err(wrong)?;
        let fields = fields(row, &columns);
        let user = match &columns.prompt {
            None => self.user(row, &columns, &fields).map_err(wrong)?,
            Some(prompt) => prompt.question().to_string(),
        };
        let assistant = match &self.template.few_shot_show {
            Some(show) => Some(render("few_shot_show", show, row, &fields).map_err(wrong)?),
            None => self.completion(row, &columns, &fields).map_err(wrong)?,
        };
        let none = || wrong("it has no completion, rationale or answer".to_string());
        Ok(Solved::new(columns.id, row.place(), Shot::of(user, assistant.ok_or_else(none)?, &row.fields)))
    }
}

fn render(key: &str, template: &Jinja, row: &Row, fields: &Map<String, Value>) -> Rendered<String> {
    template.render(fields).map_err(|error| match error.kind() {
        ErrorKind::UndefinedError => {
            let lacks = template.lacks(fields);
            let unknown = if lacks.is_empty() { "a part of a field".into() } else { quoted(&lacks) };
            let asks = lacks.iter().any(|name| name == "question");
            let line = if asks {
                format!(". Name the column, as in {}", called::likely(row))
            } else {
                String::new()
            };
            format!(
                "data.template.{key} uses {unknown}, which this row does not have; it has {}{line}",
                row.names()
            )
        }
        _ => format!("data.template.{key}: {}", told(&error)),
    })
}

/// The row's columns, with the typed reading of those that have one.
fn fields(row: &Row, columns: &Columns) -> Map<String, Value> {
    let mut fields = row.fields.clone();
    let typed = [("rationale", &columns.rationale), ("answer", &columns.answer)];
    for (name, value) in typed {
        if let Some(value) = value {
            fields.insert(name.to_string(), json!(value));
        }
    }
    fields.insert("id".to_string(), json!(columns.id));
    if !columns.choices.is_empty() {
        fields.insert("choices".to_string(), json!(columns.choices));
    }
    fields
}
