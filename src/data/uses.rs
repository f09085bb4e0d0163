//! Which keys of `[data.template]` the rows use, and which columns of theirs nothing reads.

use super::columns::Columns;
use super::row::{Row, some};
use super::template::Template;
use super::{Data, Example, Prompt};
use serde_json::Value;

/// The rows that do without something: how many, and the first.
#[derive(Default)]
struct Others {
    count: usize,
    first: Option<String>,
}

impl Others {
    fn add(&mut self, row: &Row) {
        self.count += 1;
        self.first.get_or_insert_with(|| row.place());
    }

    /// What has no effect on these of `all` rows, and what they do in place of it; none where there are no such rows.
    fn told(&self, what: &str, all: usize, who: &str) -> Option<String> {
        let first = self.first.as_ref()?;
        let rows =
            if self.count == all { "all rows".to_string() } else { format!("{} of {all} rows", self.count) };
        Some(format!("{what} no effect on {rows}, which {who} (the first is {first})"))
    }
}

/// What of a template rows do without.
#[derive(Default)]
pub(super) struct Uses {
    rows: usize,
    own_prompt: Others,
    own_system: Others,
    own_completion: Others,
    /// Rows that are asked in plain text, and those of them that bring something for the chat template.
    plain: Others,
    handed: Others,
    no_conversation: Others,
}

impl Uses {
    /// Counts a row; `own_system`, whether a system turn of its own is the prompt's.
    pub(super) fn add(&mut self, template: &Template, row: &Row, columns: &Columns, own_system: bool) {
        self.rows += 1;
        if columns.prompt.is_some() {
            self.own_prompt.add(row);
        }
        if own_system {
            self.own_system.add(row);
        }
        if columns.completion.is_some() {
            self.own_completion.add(row);
        }
        let plain = match &columns.prompt {
            Some(prompt) => matches!(prompt, Prompt::Text(_)),
            None => !template.chat,
        };
        if plain {
            self.plain.add(row);
            if !columns.variables.is_empty() {
                self.handed.add(row);
            }
        }
        let compared = columns.preference.as_ref().is_some_and(|preference| preference.turns.is_some());
        if !(compared || columns.reply.is_some() || matches!(columns.prompt, Some(Prompt::Chat(_)))) {
            self.no_conversation.add(row);
        }
    }
}

impl Template {
    /// Keys that some or all of the rows do not read, with why: these bring what the keys would make, or are nothing that it goes into.
    pub(super) fn idle(&self, uses: &Uses) -> Vec<String> {
        let default = Self::default();
        let own = "bring `prompt`, `messages` or `text`";
        let plain = "are asked in plain text, without a chat template";
        let foreign = uses.no_conversation.count == uses.rows;
        let keys = [
            (self.system.is_some(), "system", &uses.own_prompt, own),
            (self.system.is_some(), "system", &uses.own_system, "bring `system`"),
            (self.few_shot > 0, "few_shot", &uses.own_prompt, own),
            (self.begin.is_some(), "begin", &uses.own_prompt, own),
            (self.user != default.user, "user", &uses.own_prompt, own),
            (self.assistant.is_some(), "assistant", &uses.own_completion, "bring a completion"),
            (!self.variables.is_empty(), "variables", &uses.plain, plain),
            (!self.roles.is_empty() && foreign, "roles", &uses.no_conversation, "are no conversations"),
        ];
        let told = |(set, key, rows, who): (bool, &str, &Others, &str)| {
            rows.told(&format!("data.template.{key} has"), uses.rows, who).filter(|_| set)
        };
        let mut found: Vec<String> = keys.into_iter().filter_map(told).collect();
        found.extend(uses.handed.told("`tools` and `chat_template_kwargs` have", uses.rows, plain));
        let shots = [
            (self.few_shot_from.is_some(), "few_shot_from"),
            (self.few_shot_pick != default.few_shot_pick, "few_shot_pick"),
            (self.few_shot_show.is_some(), "few_shot_show"),
        ];
        for (_, key) in shots.into_iter().filter(|(set, _)| *set && self.few_shot == 0) {
            found.push(format!("data.template.{key} has no effect while data.template.few_shot is 0"));
        }
        found
    }
}

/// What data sets call the rationale.
pub const RATIONALES: [&str; 11] = [
    "explanation",
    "reasoning",
    "solution",
    "sol",
    "chain_of_thought",
    "cot",
    "rationales",
    "explanations",
    "thought",
    "thoughts",
    "reasoning_content",
];

/// Columns that say something to the model and are read under no name, a sentence each with the key that would read them; `teaches`, whether what
/// the rows say as their completion is learned.
pub fn unread(rows: &[&Example], data: &Data, teaches: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |which: &dyn Fn(&Example) -> bool, name: &str, why: String| {
        let which: Vec<&Example> = rows.iter().copied().filter(|row| which(row)).collect();
        if !which.is_empty() {
            let (count, all, which) = (which.len(), rows.len(), some(&which));
            found.push(format!("`{name}` of {count} of {all} rows ({which}) {why}"));
        }
    };
    let says = |row: &Example, name: &str| row.fields.get(name).is_some_and(is_something);
    let bare = |row: &Example| {
        let made = row.feedback.is_none() && !row.fields.contains_key("completion");
        made && row.answer.is_some() && row.completion == row.answer && !says(row, "rationale")
    };
    let free = |name: &str| !data.template.names(name);
    if teaches && data.template.assistant.is_none() && !data.columns.contains_key("rationale") {
        let names: Vec<&str> = RATIONALES.into_iter().filter(|name| free(name)).collect();
        for name in &names {
            let why = format!(
                "is not read as `rationale`, and the answer alone is their completion; data.columns.rationale = {name:?} would read it"
            );
            note(&|row| bare(row) && names.iter().find(|name| says(row, name)) == Some(name), name, why);
        }
    }
    if teaches && free("weight") {
        let weighs = |row: &Example| {
            row.fields.get("weight").and_then(Value::as_f64).is_some_and(|weight| weight != 1.0)
        };
        note(
            &|row| row.feedback.is_none() && row.completion.is_some() && weighs(row),
            "weight",
            "weighs nothing, since preferences and labels alone are weighed".to_string(),
        );
    }
    if !data.columns.contains_key("tools") {
        note(
            &|row| {
                let chat = matches!(row.prompt, Prompt::Chat(_)) && !row.variables.contains_key("tools");
                chat && row.fields.get("functions").is_some_and(is_list)
            },
            "functions",
            "is handed to no chat template; data.columns.tools = \"functions\" would hand it on".to_string(),
        );
    }
    found
}

/// Whether a column says something: a text, or a list.
fn is_something(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

/// Whether it is a list with something in it, or the JSON of one.
fn is_list(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => serde_json::from_str::<Vec<Value>>(text).is_ok_and(|items| !items.is_empty()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::read;
    use super::*;
    use serde_json::json;

    /// What a template tells of these rows.
    fn told(template: &str, rows: &[Value]) -> Vec<String> {
        let template: Template = toml::from_str(template).unwrap();
        let mut uses = Uses::default();
        for (at, fields) in rows.iter().enumerate() {
            let row = Row::made("rows", at + 1, fields.as_object().unwrap().clone());
            let columns = read(&row, &template.roles).unwrap();
            uses.add(&template, &row, &columns, columns.system.is_some());
        }
        template.idle(&uses)
    }

    #[test]
    fn what_only_a_chat_template_reads_has_no_effect_in_plain_text() {
        let variables = "variables = { enable_thinking = false }\n";
        let asked = json!({"question": "q", "tools": [{"name": "f"}]});
        let turns = json!({"messages": [{"role": "user", "content": "q"}], "tools": [{"name": "f"}]});
        assert_eq!(told(variables, &[asked.clone(), turns.clone()]), [""; 0]);
        let all = "(the first is rows:1)";
        let plain = "which are asked in plain text, without a chat template";
        assert_eq!(
            told(&format!("{variables}chat = false"), &[asked.clone(), asked.clone()]),
            [
                format!("data.template.variables has no effect on all rows, {plain} {all}"),
                format!("`tools` and `chat_template_kwargs` have no effect on all rows, {plain} {all}"),
            ]
        );
        let some = told(&format!("{variables}chat = false"), &[turns, json!({"question": "q"})]);
        assert_eq!(
            some,
            [format!("data.template.variables has no effect on 1 of 2 rows, {plain} (the first is rows:2)")]
        );
    }

    #[test]
    fn roles_are_those_of_conversations_and_a_system_turn_the_rows() {
        let roles = "roles = { narrator = \"user\" }\nsystem = \"s\"\n";
        let (asked, own) = (json!({"question": "q"}), json!({"question": "q", "system": "t"}));
        let turns = json!({"prompt": [{"role": "narrator", "content": "q"}], "completion": "c"});
        let none =
            "data.template.roles has no effect on all rows, which are no conversations (the first is rows:1)";
        assert_eq!(told(roles, &[asked.clone(), asked.clone()]), [none]);
        assert_eq!(
            told(roles, &[asked, own, turns]),
            [
                "data.template.system has no effect on 1 of 3 rows, which bring `prompt`, `messages` or `text` (the first is rows:3)",
                "data.template.system has no effect on 1 of 3 rows, which bring `system` (the first is rows:2)",
            ]
        );
    }

    #[test]
    fn columns_that_say_something_are_told_with_the_key_that_reads_them() {
        let row = |id: &str, fields: Value, completion: &str| Example {
            answer: Some("5".to_string()),
            completion: Some(completion.to_string()),
            fields: fields.as_object().unwrap().clone(),
            ..Example::text(id, "q")
        };
        let rows = [
            row("a", json!({"answer": "5", "solution": "2+3", "reasoning": "so"}), "5"),
            row("b", json!({"answer": "5", "reasoning": " ", "weight": 0.5}), "5"),
            row("c", json!({"answer": "5", "rationale": "so", "solution": "2+3", "weight": 1}), "so\n#### 5"),
            row("d", json!({"answer": "5", "completion": "5", "solution": "2+3"}), "5"),
            row("e", json!({"answer": "5", "rationales": ["2+3", "5"]}), "5"),
        ];
        let rows: Vec<&Example> = rows.iter().collect();
        let told = |data: &str, teaches: bool| unread(&rows, &toml::from_str(data).unwrap(), teaches);
        let whole = told("", true);
        assert_eq!(whole.len(), 3, "{whole:?}");
        assert!(
            whole[0].starts_with("`reasoning` of 1 of 5 rows (a) is not read as `rationale`"),
            "{whole:?}"
        );
        assert!(whole[0].ends_with("data.columns.rationale = \"reasoning\" would read it"), "{whole:?}");
        assert!(whole[1].starts_with("`rationales` of 1 of 5 rows (e)"), "{whole:?}");
        assert!(whole[2].starts_with("`weight` of 1 of 5 rows (b) weighs nothing"), "{whole:?}");
        assert_eq!(told("", false), [""; 0]);
        let placed = "template.user = '{{ reasoning }}{{ rationales }}{{ weight }}'";
        let left = told(placed, true);
        assert!(left.len() == 1 && left[0].starts_with("`solution` of 1 of 5 rows (a)"), "{left:?}");
        let handed = |name: &str, said: Value| {
            let turns = Prompt::Chat(vec![super::super::Message::new("user", "q")]);
            let fields = json!({name: said}).as_object().unwrap().clone();
            let row = Example { prompt: turns, fields, ..Example::text("a", "") };
            unread(&[&row], &Data::default(), false)
        };
        for list in [json!([{"name": "f"}]), json!("[{\"name\": \"f\"}]")] {
            assert!(handed("functions", list)[0].contains("data.columns.tools = \"functions\""));
        }
        for (name, other) in [("others", json!([1])), ("functions", json!("3")), ("functions", json!([]))] {
            assert_eq!(handed(name, other), [""; 0]);
        }
    }
}
