//! What rows lack of what a server is asked about them: the columns of `user`, choices, a trace.

use super::RemoteRollout;
use crate::data::Example;
use crate::data::columns::letter;
use crate::data::row::{need, some};
use crate::data::template::values;
use crate::data::unfilled::{Unfilled, fill, misfits};
use crate::rollout::Trace;
use crate::section::Misfit;
use serde_json::Value;

impl RemoteRollout {
    /// What some of `rows` lack.
    pub(super) fn lacking(&self, rows: &[&Example]) -> Vec<Misfit> {
        let mut found = self.unwritten(rows);
        let none: Vec<&Example> = rows.iter().copied().filter(|row| row.choices.is_empty()).collect();
        if self.each_choice && !none.is_empty() {
            found.push(Misfit::new(
                "each_choice",
                need("choices to ask about", &none, rows.len()),
                "add a `choices` column, or one called otherwise as data.columns.choices = \"…\"",
            ));
        }
        if self.rewrite {
            found.extend(no_traces(rows));
        }
        found
    }

    /// Rows whose last turn cannot be written, together by why.
    fn unwritten(&self, rows: &[&Example]) -> Vec<Misfit> {
        misfits(rows, |row| {
            let about: Vec<Option<usize>> =
                if self.each_choice { (0..row.choices.len()).map(Some).collect() } else { vec![None] };
            let why = about.into_iter().find_map(|choice| self.filled(row, choice).err());
            why.map(|why| ("user".to_owned(), why)).into_iter().collect()
        })
    }

    /// The last turn, about one of the choices where that is said.
    pub(super) fn filled(
        &self,
        example: &Example,
        choice: Option<usize>,
    ) -> Result<Option<String>, Unfilled> {
        let Some(user) = &self.user else { return Ok(None) };
        let mut known = values(example);
        if let Some(choice) = choice {
            known.insert("choice".into(), Value::from(example.choices[choice].as_str()));
            known.insert("letter".into(), Value::from(letter(choice)));
        }
        fill(user, &known).map(Some)
    }
}

/// The trace that a row is, or what it lacks of one.
pub(super) fn trace(row: &Example) -> Result<Trace, serde_json::Error> {
    serde_json::from_value(Value::Object(row.fields.clone()))
}

/// Rows that are no traces.
fn no_traces(rows: &[&Example]) -> Option<Misfit> {
    let (mut none, mut first) = (Vec::new(), None);
    for &row in rows {
        let Err(why) = trace(row) else { continue };
        first.get_or_insert(why);
        none.push(row);
    }
    let (why, all, count) = (first?, rows.len(), none.len());
    let verb = if count == 1 { "is" } else { "are" };
    let message = format!(
        "takes traces, as data.train = \"@stage\", and {count} of {all} rows {verb} none: {} ({why})",
        some(&none)
    );
    Some(Misfit::new("rewrite", message, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What these keys say of rows with these columns and choices, called row:0, row:1, …: keys and messages.
    fn said(keys: &str, rows: &[(Value, &[&str])]) -> Vec<(String, String)> {
        let section: RemoteRollout =
            toml::from_str(&format!("{keys}\nendpoint = {{ url = 'http://x/v1', model = 'm' }}")).unwrap();
        let row = |(index, (fields, choices)): (usize, &(Value, &[&str]))| Example {
            fields: fields.as_object().unwrap().clone(),
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            ..Example::text(format!("row:{index}"), "q")
        };
        let rows: Vec<Example> = rows.iter().enumerate().map(row).collect();
        let rows: Vec<&Example> = rows.iter().collect();
        section.lacking(&rows).into_iter().map(|misfit| (misfit.key, misfit.message)).collect()
    }

    fn one(key: &str, message: &str) -> Vec<(String, String)> {
        vec![(key.to_owned(), message.to_owned())]
    }

    #[test]
    fn rows_without_what_the_last_turn_reads_are_named() {
        let rows: [(Value, &[&str]); 3] =
            [(json!({"hint": "h"}), &[]), (json!({"id": 1}), &[]), (json!({"hint": 3}), &[])];
        assert!(said("user = '{{ prompt }} {{ hint }}'", &rows[..1]).is_empty());
        assert_eq!(
            said("user = '{{ hint }}'", &rows),
            one("user", "uses `hint`, which 1 of 3 rows does not have: row:1; known: id")
        );
        let near = "uses `hnt`, which 3 of 3 rows do not have: row:0, row:1, row:2; did you mean `hint`? known: hint, id";
        assert_eq!(said("user = '{{ hnt }}'", &rows), one("user", near));
        // What a row may lack, it may; what Jinja has itself is no column.
        let may = "user = '{% if hint is defined %}{{ hint }}{% endif %}{{ range(2) }}'";
        assert!(said(may, &rows).is_empty());
        let inside = said("user = '{{ hint.place.name }}'", &rows[..1]);
        assert!(
            inside[0].1.starts_with("cannot be filled in for 1 of 1 rows: row:0 (undefined value"),
            "{inside:?}"
        );
    }

    #[test]
    fn choices_are_asked_about_where_there_are_some() {
        let rows: [(Value, &[&str]); 2] = [(json!({"n": 1}), &["x", "y"]), (json!({"n": 2}), &[])];
        let keys = |user: &str| format!("each_choice = true\nuser = '{user}'");
        assert_eq!(
            said(&keys("{{ letter }} {{ choice }}"), &rows),
            one("each_choice", "needs choices to ask about and 1 of 2 rows has none: row:1")
        );
        assert_eq!(
            said(&keys("{{ leter }}"), &rows[..1]),
            one("user", "uses `leter`, which 1 of 1 rows does not have: row:0; known: n")
        );
    }

    #[test]
    fn what_is_written_anew_are_traces() {
        let rows: [(Value, &[&str]); 1] = [(json!({"completion": "c"}), &[])];
        let found = said("rewrite = true\nuser = '{{ completion }}'", &rows);
        assert_eq!((found.len(), found[0].0.as_str()), (1, "rewrite"));
        let starts =
            "takes traces, as data.train = \"@stage\", and 1 of 1 rows is none: row:0 (missing field `";
        assert!(found[0].1.starts_with(starts), "{found:?}");
    }
}
