//! `[rollout.tools]`: its keys, their defaults and which values they may have.

use crate::data::Example;
use crate::data::row::need;
use crate::program::{checked, startable};
use crate::section::{Misfit, broken, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the answer stands in `result`.
pub(super) const RESULT: &str = "{result}";

/// A number of completions of each prompt in which the policy may call tools: what a tool answers is put behind the call and never learned. Held-out
/// questions are asked with the same tools.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToolsRollout {
    /// Completions of each prompt.
    pub size: usize,
    /// Calls of a completion that are answered; behind a later one nothing is put.
    pub calls: usize,
    /// The tools, `[[rollout.tools.tool]]`.
    pub tool: Vec<Tool>,
}

/// A tool: how it is called, and who answers; either `calc` or `command`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// What a call begins with, such as `<<`.
    pub open: String,
    /// What ends it, such as `=`: there the tool is asked about what stands between. What a token says beyond it stays before the answer, so choose
    /// what ends with a token.
    pub close: String,
    /// What is put behind the call, with `{result}` in the place of the answer: GSM8K's calculator has `{result}>>`. Special tokens in it are those.
    #[serde(default = "plain")]
    pub result: String,
    /// Characters of an answer; a longer one is cut, and ends with `…`.
    #[serde(default = "longest")]
    pub longest: usize,
    /// The calculator of this program: numbers, `+ - * / ^ %` and parentheses, exact. `calc = {}` takes its defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calc: Option<Calc>,
    /// A program of yours that is started once and lives as long as the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
}

/// The calculator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calc {
    /// Digits behind the point, at most.
    pub places: usize,
}

/// A program that answers calls.
///
/// For each call it reads a line, a JSON object of `n` (the line's number, from 1), `id` (the example's), `call` (what stands between `open` and
/// `close`), `completion` (the text up to there) and `columns`. It writes a line for each, in order, and flushes it: `{"result": "36"}`, or
/// `{"error": "no such city"}`, which the policy reads as `error: no such city`. It may repeat `n`, as `[reward.command]` does. Where it ends, says
/// something else or nothing in time, the policy reads `error: no answer`, and the program is started anew; one that has never answered ends the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments, such as `["python3", "search.py"]`; no shell reads them.
    pub command: Vec<String>,
    /// Seconds that a call may take.
    #[serde(default = "ten_seconds")]
    pub timeout_s: f64,
    /// How many of it run beside each other. Any of them may get a call, so that it keeps nothing from one to the next.
    #[serde(default = "one")]
    pub programs: usize,
    /// Columns of the row that it is told, and no others: it is not to see the gold answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Variables of the environment that it sees though they may be secrets, such as `SEARCH_API_KEY`. All others that are named or written like keys
    /// and passwords it does not see, since the policy could ask for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
}

fn plain() -> String {
    RESULT.to_owned()
}

fn longest() -> usize {
    1000
}

fn ten_seconds() -> f64 {
    10.0
}

fn one() -> usize {
    1
}

impl Default for ToolsRollout {
    fn default() -> Self {
        Self { size: 8, calls: 8, tool: vec![] }
    }
}

impl Default for Calc {
    fn default() -> Self {
        Self { places: 6 }
    }
}

impl ToolsRollout {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = broken(&[
            (self.size > 0, "size", "at least one completion of each prompt is needed"),
            (self.calls > 0, "calls", "no call would be answered; use [rollout.group]"),
            (!self.tool.is_empty(), "tool", "there is none; add [[rollout.tools.tool]]"),
        ]);
        for (at, tool) in self.tool.iter().enumerate() {
            found.extend(under(&format!("tool.{at}"), tool.check()));
        }
        found
    }

    /// What rows lack of what the tools are told.
    pub fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        let commands =
            self.tool.iter().enumerate().filter_map(|(at, tool)| Some((at, tool.command.as_ref()?)));
        let lacking = |(at, command): (usize, &Command)| {
            let of = |column: &String| {
                let none: Vec<&Example> =
                    rows.iter().copied().filter(|row| !row.fields.contains_key(column)).collect();
                let message = || need(&format!("a column `{column}`"), &none, rows.len());
                (!none.is_empty()).then(|| Misfit::new(format!("tool.{at}.command.columns"), message(), ""))
            };
            command.columns.iter().filter_map(of).collect::<Vec<_>>()
        };
        commands.flat_map(lacking).collect()
    }
}

impl Tool {
    fn check(&self) -> Vec<Misfit> {
        let kinds = usize::from(self.calc.is_some()) + usize::from(self.command.is_some());
        let mut found = broken(&[
            (!self.open.is_empty(), "open", "a call has to begin with something, such as \"<<\""),
            (!self.close.is_empty(), "close", "a call has to end with something, such as \"=\""),
            (self.open.is_empty() || self.open != self.close, "close", "it is what a call begins with"),
            (
                self.result.contains(RESULT),
                "result",
                "it has no {result}, so that no answer would be put there",
            ),
            (self.longest > 0, "longest", "an answer needs at least one character"),
        ]);
        if kinds != 1 {
            found.push(Misfit::new(
                "",
                "a tool is either `calc` or `command`",
                "write calc = {}, or a table `command`",
            ));
        }
        found.extend(under("command", self.command.iter().flat_map(Command::check)));
        found
    }
}

impl Command {
    fn check(&self) -> Vec<Misfit> {
        let mut found = broken(&[(self.programs > 0, "programs", "at least one is needed")]);
        if let Err(problem) = checked(&self.command, self.timeout_s) {
            let (key, message) = problem.split_once(' ').unwrap_or(("", problem.as_str()));
            let message = message.split_once(": ").map_or(message, |(_, message)| message);
            found.push(Misfit::new(key, message, ""));
        }
        found
    }

    /// Why it cannot be started, where it is not there.
    pub(super) fn missing(&self) -> Option<String> {
        let program = self.command.first()?;
        startable(program).err().map(|why| format!("cannot start `{program}`: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(keys: &str) -> Vec<String> {
        let section: ToolsRollout = toml::from_str(keys).unwrap();
        section.check().into_iter().map(|misfit| format!("{}: {}", misfit.key, misfit.message)).collect()
    }

    #[test]
    fn a_tool_has_a_form_and_somebody_who_answers() {
        let calculator = "[[tool]]\nopen = '<<'\nclose = '='\nresult = '{result}>>'\ncalc = {}";
        assert!(said(calculator).is_empty());
        let section: ToolsRollout = toml::from_str(calculator).unwrap();
        assert_eq!(section.tool[0].calc, Some(Calc { places: 6 }));
        assert_eq!(toml::from_str::<ToolsRollout>(&toml::to_string(&section).unwrap()).unwrap(), section);
        assert_eq!(said(""), ["tool: there is none; add [[rollout.tools.tool]]"]);
        let wrong = "size = 0\n[[tool]]\nopen = '='\nclose = '='\nresult = 'x'\n[tool.command]\ncommand = []\nprograms = 0";
        let keys: Vec<String> =
            said(wrong).iter().map(|said| said.split(": ").next().unwrap().to_owned()).collect();
        assert_eq!(
            keys,
            ["size", "tool.0.close", "tool.0.result", "tool.0.command.programs", "tool.0.command.command"]
        );
        let both = format!("{calculator}\n[tool.command]\ncommand = ['sh']");
        assert_eq!(said(&both), ["tool.0: a tool is either `calc` or `command`"]);
        assert!(toml::from_str::<ToolsRollout>("[[tool]]\nopen = '<<'\nclose = '='\nclac = {}").is_err());
    }

    #[test]
    fn columns_that_a_tool_is_told_have_to_be_there() {
        let keys = "[[tool]]\nopen = '<'\nclose = '>'\ncommand = { command = ['sh'], columns = ['db'] }";
        let section: ToolsRollout = toml::from_str(keys).unwrap();
        let with = |fields: &[&str]| {
            let fields = fields.iter().map(|name| (name.to_string(), json!("x"))).collect();
            Example { fields, ..Example::text("row:1", "?") }
        };
        let rows = [with(&["db"]), with(&[])];
        let found = section.check_rows(&rows.iter().collect::<Vec<_>>());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].key, "tool.0.command.columns");
        assert!(
            found[0].message.starts_with("needs a column `db` and 1 of 2 rows has none"),
            "{}",
            found[0].message
        );
    }
}
