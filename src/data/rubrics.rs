//! Rubrics as rows have them: from a TOML or JSONL file by name, or in the row itself.

use super::Example;
use crate::error::{Error, Result};
use crate::rationale::rubric::Rubric;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// The column of a row with its rubric's name, or the rubric itself.
pub const COLUMN: &str = "rubric";

/// The rubrics of a file: a `.toml` file is one rubric, or a list of `[[rubric]]`; a `.jsonl` file has one a line.
///
/// # Errors
/// [`Error::Data`], naming the file, the rubric and what is wrong.
pub fn read(path: &Path) -> Result<Vec<Rubric>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let wrong = |what: String| Error::Data(format!("{}: {what}", path.display()));
    let rubrics: Vec<Rubric> = match path.extension().and_then(|ending| ending.to_str()) {
        Some("toml") => of_toml(&text).map_err(|error| wrong(error.to_string()))?,
        Some("jsonl") => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let rubric = |(at, line): (usize, &str)| {
                serde_json::from_str(line).map_err(|error| wrong(format!("line {}: {error}", at + 1)))
            };
            lines.map(rubric).collect::<Result<_>>()?
        }
        _ => return Err(wrong("not a .toml or .jsonl file of rubrics".into())),
    };
    for rubric in &rubrics {
        rubric.check().map_err(|what| wrong(format!("rubric `{}`: {what}", rubric.name)))?;
    }
    if rubrics.is_empty() {
        return Err(wrong("it has no rubrics".into()));
    }
    Ok(rubrics)
}

/// The rubric of an example: the one in its column `rubric`, or that of `known` which the column names, or the only one.
///
/// # Errors
/// [`Error::Data`] where there is none, or it has faults.
pub fn of(example: &Example, known: &[Rubric]) -> Result<Rubric> {
    let wrong = |what: String| Error::Data(format!("{example}: {what}"));
    match (example.fields.get(COLUMN), known) {
        (Some(Value::String(name)), _) => {
            let found = known.iter().find(|rubric| rubric.name == *name).cloned();
            found.ok_or_else(|| {
                let names: Vec<&str> = known.iter().map(|rubric| rubric.name.as_str()).collect();
                wrong(format!("there is no rubric `{name}`; known: {}", names.join(", ")))
            })
        }
        (Some(own), _) => {
            let rubric: Rubric = serde_json::from_value(own.clone())
                .map_err(|error| wrong(format!("its `{COLUMN}`: {error}")))?;
            rubric.check().map_err(|what| wrong(format!("its `{COLUMN}`: {what}")))?;
            Ok(rubric)
        }
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(wrong(format!(
            "it has no `{COLUMN}` column, with the name of one of the rubrics in rollout.tree.schema.rubrics or with the \
             rubric itself"
        ))),
    }
}

fn of_toml(text: &str) -> std::result::Result<Vec<Rubric>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        rubric: Vec<Rubric>,
    }
    match text.parse::<toml::Table>()?.contains_key("rubric") {
        true => toml::from_str::<List>(text).map(|list| list.rubric),
        false => toml::from_str(text).map(|rubric| vec![rubric]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(name: &str, text: &str) -> Result<Vec<Rubric>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn example(rubric: Value) -> Example {
        let fields = json!({ "rubric": rubric }).as_object().unwrap().clone();
        Example {
            fields: fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            ..Example::text("a", "?")
        }
    }

    #[test]
    fn a_file_has_one_rubric_or_several() {
        let one = file("r.toml", "name = 'p'\n[[questions]]\nname = 'light'").unwrap();
        assert_eq!(one[0].questions[0].options[0].say, "yes");
        let list = "[[rubric]]\nname = 'p'\nquestions = [{name = 'a'}]\n[[rubric]]\nname = 'q'\nquestions = [{name = 'b'}]";
        assert_eq!(file("r.toml", list).unwrap().len(), 2);
        let lines = "{\"name\": \"p\", \"questions\": [{\"name\": \"light\"}]}\n\n";
        assert_eq!(file("r.jsonl", lines).unwrap(), one);
        let fault = |name: &str, text: &str| file(name, text).unwrap_err().to_string();
        assert!(fault("r.jsonl", "{\"questions\": []}").contains("no questions"));
        assert!(fault("r.jsonl", "\n{").contains("line 2"));
        assert!(fault("r.toml", "name = 1").contains("r.toml"));
        assert!(fault("r.yaml", "").contains("not a .toml or .jsonl"));
    }

    #[test]
    fn a_row_names_its_rubric_or_brings_it() {
        let known = file(
            "r.toml",
            "[[rubric]]\nname = 'p'\nquestions = [{name = 'a'}]\n[[rubric]]\nname = 'q'\nquestions = [{name = 'b'}]",
        )
        .unwrap();
        assert_eq!(of(&example(json!("q")), &known).unwrap(), known[1]);
        assert_eq!(of(&example(Value::Null), &known[..1]).unwrap(), known[0]);
        let own = json!({"questions": [{"name": "c"}]});
        assert_eq!(of(&example(own), &known).unwrap().questions[0].name, "c");
        let fault = |rubric: Value| of(&example(rubric), &known).unwrap_err().to_string();
        assert!(fault(json!("r")).contains("known: p, q"));
        assert!(fault(Value::Null).contains("`rubric` column"));
        assert!(fault(json!({"questions": [], "x": 1})).contains("unknown field `x`"));
    }
}
