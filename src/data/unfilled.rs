//! Why a template of the recipe cannot be filled in over rows, so that it is said before a run, and not by the first row that is sampled.

use super::Example;
use super::jinja::Jinja;
use super::row::some;
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use crate::section::Misfit;
use minijinja::ErrorKind;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Rows whose columns are named as known.
const SEEN: usize = 100;

/// Why a template cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfilled {
    /// Names that it uses and that are not there.
    Lacks(Vec<String>),
    /// What else is wrong.
    Fails(String),
}

/// The text of a template over what is `known`.
///
/// # Errors
/// What it lacks, or what else is wrong.
pub fn fill(template: &Jinja, known: &Map<String, Value>) -> Result<String, Unfilled> {
    template.render(known).map_err(|error| Unfilled::of(template, known, &error))
}

/// The fault of a template over a row that is `known` before anything is sampled, where samples stand for what is only known `later`. A failure that
/// may hang on the samples is none.
///
/// ```
/// use rationale::data::template::Jinja;
/// use rationale::data::unfilled::{Unfilled, fault};
/// let known = serde_json::json!({ "hint": "h", "completion": "x" }).as_object().cloned().unwrap();
/// let of = |source: &str| fault(&Jinja::from(source), &known, &["completion"]);
/// assert_eq!(of("{{ hint }} {{ completion }}"), None);
/// assert_eq!(of("{{ hnt }} {{ completion }}"), Some(Unfilled::Lacks(vec!["hnt".into()])));
/// // What a completion will say may well be a number.
/// assert_eq!(of("{{ completion | int }}"), None);
/// assert!(of("{{ completion | upcase }}").is_some());
/// ```
pub fn fault(template: &Jinja, known: &Map<String, Value>, later: &[&str]) -> Option<Unfilled> {
    let error = template.render(known).err()?;
    let unfilled = Unfilled::of(template, known, &error);
    let certain = match (&unfilled, error.kind()) {
        (Unfilled::Lacks(_), _) => true,
        (_, ErrorKind::UndefinedError) => inside(template, known, later),
        (_, kind) => whatever_it_is_given(kind),
    };
    let hangs = template.names().is_ok_and(|names| later.iter().any(|name| names.contains(*name)));
    (certain || !hangs).then_some(unfilled)
}

/// Whether a template that fails so fails over all values.
fn whatever_it_is_given(kind: ErrorKind) -> bool {
    use ErrorKind::{
        BadEscape, BadInclude, MissingArgument, SyntaxError, TemplateNotFound, TooManyArguments,
        UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest,
    };
    matches!(
        kind,
        BadEscape
            | BadInclude
            | MissingArgument
            | SyntaxError
            | TemplateNotFound
            | TooManyArguments
            | UnknownFilter
            | UnknownFunction
            | UnknownMethod
            | UnknownTest
    )
}

/// Whether a place inside a column that the template names is not there.
fn inside(template: &Jinja, known: &Map<String, Value>, later: &[&str]) -> bool {
    let absent = |place: &String| {
        let mut path = place.split('.');
        let root = path.next().unwrap_or_default();
        let Some(mut value) = known.get(root).filter(|_| !later.contains(&root)) else { return false };
        for key in path {
            match value.as_object().map(|object| object.get(key)) {
                Some(Some(inner)) => value = inner,
                Some(None) => return true,
                None => return false,
            }
        }
        false
    };
    template.places().is_ok_and(|places| places.iter().any(absent))
}

/// The faults of rows by the keys that they are of, those that are alike together.
pub fn misfits(rows: &[&Example], faults: impl Fn(&Example) -> Vec<(String, Unfilled)>) -> Vec<Misfit> {
    let mut all: BTreeMap<(String, Unfilled), Vec<&Example>> = BTreeMap::new();
    for &row in rows {
        faults(row).into_iter().for_each(|fault| all.entry(fault).or_default().push(row));
    }
    all.into_iter().map(|((key, why), of)| why.misfit(&key, &of, rows.len())).collect()
}

impl Unfilled {
    fn of(template: &Jinja, known: &Map<String, Value>, error: &minijinja::Error) -> Self {
        let lacks = template.lacks(known);
        match (error.kind(), error.detail()) {
            (ErrorKind::UndefinedError, _) if !lacks.is_empty() => Self::Lacks(lacks),
            (kind, None) => Self::Fails(kind.to_string()),
            (kind, Some(detail)) => Self::Fails(format!("{kind}: {detail}")),
        }
    }

    /// The same of `rows` among `all`, under `key`.
    fn misfit(&self, key: &str, rows: &[&Example], all: usize) -> Misfit {
        let (count, named) = (rows.len(), some(rows));
        let (message, remedy) = match self {
            Self::Fails(why) => (
                format!("cannot be filled in for {count} of {all} rows: {named} ({why})"),
                "mend the template or the rows".to_owned(),
            ),
            Self::Lacks(names) => {
                let seen = rows.iter().take(SEEN);
                let known: BTreeSet<&str> =
                    seen.flat_map(|row| row.fields.keys().map(String::as_str)).collect();
                let near = names.iter().find_map(|name| nearest(name, known.iter().copied()));
                let (near, verb) = (or_semicolon(did_you_mean(near)), if count == 1 { "does" } else { "do" });
                let (quoted, known) = (quoted(names), list(known));
                (
                    format!(
                        "uses {quoted}, which {count} of {all} rows {verb} not have: {named}{near} known: {known}"
                    ),
                    format!("where rows may lack it, write {{% if {} is defined %}}", names[0]),
                )
            }
        };
        Misfit::new(key, message, remedy)
    }
}

/// As it is said of one row.
impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks(names) => write!(f, "uses {}, which it does not have", quoted(names)),
            Self::Fails(why) => write!(f, "cannot be filled in: {why}"),
        }
    }
}

pub(super) fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(source: &str) -> Option<Unfilled> {
        let known = json!({"meta": {"at": "x"}, "steps": vec!["x"; 4], "completion": "x"});
        fault(&source.into(), known.as_object().unwrap(), &["steps", "completion"])
    }

    #[test]
    fn what_hangs_on_a_completion_is_no_fault_yet() {
        for fine in [
            "{{ meta.at }} {{ completion }}",
            "{{ completion.split('|')[1] }}",
            "{{ steps[9] }}",
            "{{ completion | int }} {{ meta.at }}",
            "{% if hint is defined %}{{ hint }}{% endif %}{{ range(2) | list }}",
        ] {
            assert_eq!(of(fine), None, "{fine}");
        }
        assert_eq!(of("{{ hint }} {{ place }}"), Some(Unfilled::Lacks(vec!["hint".into(), "place".into()])));
        for wrong in [
            "{{ meta.place }} {{ completion }}",
            "{{ meta.place }}",
            "{{ completion | upcase }}",
            "{{ completion.upcase() }}",
            "{{ meta.at | int }}",
            "{{ completion",
        ] {
            assert!(matches!(of(wrong), Some(Unfilled::Fails(_))), "{wrong}");
        }
    }

    #[test]
    fn rows_with_one_fault_are_told_of_together() {
        let row = |id: &str, fields: Value| Example {
            fields: fields.as_object().unwrap().clone(),
            ..Example::text(id, "q")
        };
        let rows = [row("a", json!({"hint": 1})), row("b", json!({})), row("c", json!({"hnt": 2}))];
        let rows: Vec<&Example> = rows.iter().collect();
        let faults = |row: &Example| {
            let unfilled = fault(&"{{ hint }}".into(), &row.fields, &[]);
            unfilled.map(|unfilled| ("template.0.user".to_owned(), unfilled)).into_iter().collect()
        };
        let found = misfits(&rows, faults);
        assert_eq!(
            found,
            [Misfit::new(
                "template.0.user",
                "uses `hint`, which 2 of 3 rows do not have: b, c; did you mean `hnt`? known: hnt",
                "where rows may lack it, write {% if hint is defined %}",
            )]
        );
    }
}
