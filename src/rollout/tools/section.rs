//! `[rollout.tools]`: its keys, their defaults and which values they may have.

use crate::data::Example;
use crate::program::Asked;
use crate::section::{Misfit, broken, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// A tool: how it is called, and who answers; one of `calc`, `column`, `command` and `mcp`.
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
    /// What was recorded: a column that says what each call is answered, `{"town(41)": "17"}`. Any other call is answered `error: no such call`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// A program of yours. For each call it reads a line, a JSON object of `n` (the line's number, from 1), `id` (the example's), `call` (what stands
    /// between `open` and `close`), `completion` (the text up to there) and `columns`; it writes a line for each, in order, and flushes it:
    /// `{"result": "36"}`, or `{"error": "no such city"}`, which the policy reads as `error: no such city`. It may repeat `n`, as `[reward.command]` does.
    /// Any of several `programs` may get a call, so that they keep nothing from one to the next. Where it ends, says something else or nothing in time,
    /// the policy reads `error: no answer` and the program is started anew; one that has never answered ends the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Asked>,
    /// A tool of a server of the Model Context Protocol, which is started as a program and spoken to by its standard input and output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<Mcp>,
}

/// A server's tool. What fails is answered as that of `command` is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mcp {
    /// The server.
    pub program: Asked,
    /// Which of its tools. By default a call says so, as JSON: `{"name": "search", "arguments": {"query": "…"}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// With `name`: the one argument that the text of a call is; by default it is JSON of all arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
}

/// The calculator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calc {
    /// Digits behind the point, at most.
    pub places: usize,
}

fn plain() -> String {
    RESULT.to_owned()
}

fn longest() -> usize {
    1000
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
        let of = |(at, tool): (usize, &Tool)| {
            let lacking = tool.command.iter().flat_map(|command| command.check_rows(rows));
            let unanswered = tool.column.iter().filter_map(|column| unanswered(column, rows));
            let found = under("command", lacking).into_iter().chain(unanswered);
            under(&format!("tool.{at}"), found)
        };
        self.tool.iter().enumerate().flat_map(of).collect()
    }
}

impl Tool {
    fn check(&self) -> Vec<Misfit> {
        let kinds = [self.calc.is_some(), self.column.is_some(), self.command.is_some(), self.mcp.is_some()];
        let kinds = kinds.into_iter().filter(|there| *there).count();
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
            (
                self.calc.as_ref().is_none_or(|calc| calc.places <= 100),
                "calc.places",
                "it may be 100 at most",
            ),
        ]);
        if kinds != 1 {
            found.push(Misfit::new(
                "",
                "a tool is one of `calc`, `column`, `command` and `mcp`",
                "write calc = {}, column = \"…\", or one table `command` or `mcp`",
            ));
        }
        found.extend(under("command", self.command.iter().flat_map(Asked::check)));
        found.extend(under("mcp", self.mcp.iter().flat_map(Mcp::check)));
        found
    }
}

/// Which rows have no answers of calls in `column`.
fn unanswered(column: &str, rows: &[&Example]) -> Option<Misfit> {
    let lacks = |row: &&&Example| !row.fields.get(column).is_some_and(Value::is_object);
    let lacking: Vec<&&Example> = rows.iter().filter(lacks).collect();
    let first = lacking.first()?;
    let message = format!(
        "{} of {} rows have no object of calls and answers in their column `{column}`, {} first",
        lacking.len(),
        rows.len(),
        first.id
    );
    Some(Misfit::new("column", message, "such as {\"town(41)\": \"17\"}; {} where no call is answered"))
}

impl Mcp {
    fn check(&self) -> Vec<Misfit> {
        let named = self.argument.is_none() || self.name.is_some();
        let mut found = broken(&[
            (named, "argument", "a call has one argument only where `name` says which tool it calls"),
            (
                self.program.columns.is_empty(),
                "program.columns",
                "a server is told the call alone; take it out",
            ),
        ]);
        found.extend(under("program", self.program.check()));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(said(&both), ["tool.0: a tool is one of `calc`, `column`, `command` and `mcp`"]);
        let server = "[[tool]]\nopen = '<'\nclose = '>'\nmcp = { program = { command = ['sh'], columns = ['a'] }, argument = 'q' }";
        let keys: Vec<String> =
            said(server).iter().map(|said| said.split(": ").next().unwrap().to_owned()).collect();
        assert_eq!(keys, ["tool.0.mcp.argument", "tool.0.mcp.program.columns"]);
        assert!(toml::from_str::<ToolsRollout>("[[tool]]\nopen = '<<'\nclose = '='\nclac = {}").is_err());
    }
}
