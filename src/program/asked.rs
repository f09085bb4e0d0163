//! How a program is asked while the policy writes: which one, how long it may take, what it may see.

use super::{Program, checked, startable};
use crate::data::Example;
use crate::data::row::need;
use crate::error::{Error, Result};
use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A program that answers the policy, started once and living as long as the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The program and its arguments, such as `["python3", "search.py"]`; no shell reads them.
    pub command: Vec<String>,
    /// Seconds that an answer may take.
    #[serde(default = "ten_seconds")]
    pub timeout_s: f64,
    /// How many of it run beside each other.
    #[serde(default = "one")]
    pub programs: usize,
    /// Columns of the row that it is told, and no others: it is not to see the gold answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Variables of the environment that it sees though they may be secrets, such as `SEARCH_API_KEY`. Others that are named or written like keys and
    /// passwords it does not see, since the policy could ask for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
}

fn ten_seconds() -> f64 {
    10.0
}

fn one() -> usize {
    1
}

impl Asked {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = broken(&[(self.programs > 0, "programs", "at least one is needed")]);
        if let Err(problem) = checked(&self.command, self.timeout_s) {
            // Begun with the key, so that the value is not repeated.
            if problem.starts_with("command: ") {
                found.push(Misfit::new("command", problem, ""));
                return found;
            }
            let (key, message) = problem.split_once(' ').unwrap_or(("", problem.as_str()));
            let message = message.split_once(": ").map_or(message, |(_, message)| message);
            found.push(Misfit::new(key, message, ""));
        }
        found
    }

    /// What `rows` lack of what it is told.
    pub fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        let lacking = |column: &String| {
            let lacks = |row: &&Example| !row.fields.contains_key(column);
            let none: Vec<&Example> = rows.iter().copied().filter(lacks).collect();
            let message = || need(&format!("a column `{column}`"), &none, rows.len());
            (!none.is_empty()).then(|| Misfit::new("columns", message(), ""))
        };
        self.columns.iter().filter_map(lacking).collect()
    }

    /// The columns of a row that it is told.
    pub fn told(&self, row: &Example) -> Map<String, Value> {
        let told = |name: &String| Some((name.clone(), row.fields.get(name)?.clone()));
        self.columns.iter().filter_map(told).collect()
    }

    /// The programs, which start when they are first asked; `section` is called so in errors.
    ///
    /// # Errors
    /// [`Error::Recipe`] where the program is not there.
    pub fn open(&self, section: &str) -> Result<Vec<Program>> {
        let timeout = checked(&self.command, self.timeout_s).map_err(Error::Recipe)?;
        if let Some(Err(why)) = self.command.first().map(|program| startable(program)) {
            return Err(Error::Recipe(format!("{section}: cannot start `{}`: {why}", self.command[0])));
        }
        let program = || Program::new(self.command.clone(), timeout).without_secrets(&self.variables);
        Ok((0..self.programs).map(|_| program()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(keys: &str) -> Asked {
        toml::from_str(keys).unwrap()
    }

    #[test]
    fn a_program_is_told_the_columns_that_the_recipe_names() {
        let asked = asked("command = ['sh']\ncolumns = ['db']");
        let row = |fields: Value| {
            let Value::Object(fields) = fields else { panic!("an object") };
            Example { fields, ..Example::text("row:1", "?") }
        };
        let rows = [row(json!({"db": "x", "answer": "5"})), row(json!({"answer": "5"}))];
        assert_eq!(Value::Object(asked.told(&rows[0])), json!({"db": "x"}));
        let found = asked.check_rows(&rows.iter().collect::<Vec<_>>());
        assert_eq!((found.len(), found[0].key.as_str()), (1, "columns"));
        assert!(
            found[0].message.starts_with("needs a column `db` and 1 of 2 rows has none"),
            "{}",
            found[0].message
        );
        assert!(asked.check_rows(&[&rows[0]]).is_empty());
    }

    #[test]
    fn what_cannot_be_started_is_said() {
        let keys = |found: Vec<Misfit>| found.into_iter().map(|misfit| misfit.key).collect::<Vec<_>>();
        assert_eq!(keys(asked("command = []\nprograms = 0").check()), ["programs", "command"]);
        assert_eq!(keys(asked("command = ['sh']\ntimeout_s = 0.0").check()), ["timeout_s"]);
        let found = asked("command = ['sh', '--api-key', 'hunter2hunter2']").check();
        let said: Vec<String> =
            found.into_iter().map(|one| one.under("rollout.environment.program").said(None)).collect();
        assert!(
            said.len() == 1 && said[0].starts_with("rollout.environment.program.command: its word 3"),
            "{said:?}"
        );
        assert_eq!(asked("command = ['sh']").open("x").unwrap().len(), 1);
        let missing = asked("command = ['no-such-program']").open("rollout.tools.tool").err().unwrap();
        let said = "recipe: rollout.tools.tool: cannot start `no-such-program`: there is no such program on the PATH";
        assert!(missing.to_string().starts_with(said), "{missing}");
    }
}
