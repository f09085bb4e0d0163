//! Completions with tools: `[rollout.tools]`. A stretch that ends a call is answered, the answer is put behind it as given tokens, and the policy goes on
//! (GSM8K's calculator, Cobbe et al. 2021, arXiv 2110.14168; Toolformer, Schick et al. 2023, 2302.04761).

mod answering;
mod section;

pub use section::{Calc, Mcp, Tool, ToolsRollout};

use super::turns::{self, Answer, InTurns, Partner, Path, Turning, placed};
use super::{Group, Prompted, SamplingContext, Source, SourceSection, Traits};
use crate::data::{Example, Tokenizer};
use crate::engine::{Statistics, StopReason};
use crate::error::Result;
use crate::section::Misfit;
use answering::{Answering, Call};
use section::RESULT;
use serde_json::Map;
use std::cell::RefCell;

impl SourceSection for ToolsRollout {
    fn traits(&self) -> Traits<'_> {
        Traits { gives: true, ..Traits::sampled("tools", self.size) }
    }

    fn check(&self) -> Vec<Misfit> {
        ToolsRollout::check(self)
    }

    fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        ToolsRollout::check_rows(self, rows)
    }

    fn columns(&self) -> Vec<(String, String)> {
        let of = |(at, tool): (usize, &Tool)| -> Vec<(String, String)> {
            let own = tool.column.iter().map(|column| (format!("tool.{at}.column"), column.clone()));
            let told = tool.command.iter().flat_map(|command| &command.columns);
            own.chain(told.map(|column| (format!("tool.{at}.command.columns"), column.clone()))).collect()
        };
        self.tool.iter().enumerate().flat_map(of).collect()
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        let answering = self.tool.iter().map(Answering::open).collect::<Result<_>>()?;
        Ok(Box::new(Turning(WithTools { section: self.clone(), answering: RefCell::new(answering) })))
    }
}

/// The source at work: its tools as they run.
struct WithTools {
    section: ToolsRollout,
    answering: RefCell<Vec<Answering>>,
}

impl InTurns for WithTools {
    fn section(&self) -> &dyn SourceSection {
        &self.section
    }

    fn size(&self) -> usize {
        self.section.size
    }

    fn sample(
        &self,
        prompts: &[Prompted],
        size: usize,
        context: &mut SamplingContext,
    ) -> Result<(Vec<Group>, Statistics)> {
        let (policy, sampling) = (context.policy, context.sampling);
        let mut answering = self.answering.borrow_mut();
        let closes = self.section.tool.iter().map(|tool| tool.close.clone());
        let mut tools = Tools {
            section: &self.section,
            answering: &mut answering,
            // What ends a completion ends no call.
            stops: closes.filter(|close| !sampling.stop.contains(close)).collect(),
            tokenizer: &policy.tokenizer,
            prompts,
            calls: 0,
            errors: 0,
        };
        let sampled = turns::sample(prompts, size, &mut tools, context)?;
        let (calls, errors) = (tools.calls as f64, tools.errors as f64);
        let completions = (prompts.len() * size) as f64;
        context.figures.add("tools/calls", calls / completions, completions);
        if calls > 0.0 {
            context.figures.add("tools/errors", errors / calls, calls);
        }
        Ok(sampled)
    }
}

/// The tools as those who answer stretches.
struct Tools<'a> {
    section: &'a ToolsRollout,
    answering: &'a mut [Answering],
    stops: Vec<String>,
    tokenizer: &'a Tokenizer,
    prompts: &'a [Prompted],
    /// Calls that were answered.
    calls: usize,
    /// Those of them that were answered by an error.
    errors: usize,
}

/// A call in a path.
struct Called {
    /// The path's place among those that wait.
    path: usize,
    /// What was called with.
    call: String,
    /// The completion up to there.
    completion: String,
}

impl Partner for Tools<'_> {
    fn stops(&self) -> &[String] {
        &self.stops
    }

    fn waits(&self, stop: &StopReason) -> bool {
        matches!(stop, StopReason::StopString(text) if self.stops.contains(text))
    }

    fn answer(&mut self, paths: &[&Path]) -> Result<Vec<Answer>> {
        let Self { section, tokenizer, prompts, .. } = *self;
        let mut answers = vec![Answer::Nothing; paths.len()];
        let mut of_tool: Vec<Vec<Called>> = section.tool.iter().map(|_| vec![]).collect();
        for (at, path) in paths.iter().enumerate().filter(|(_, path)| path.answers < section.calls) {
            if let Some((tool, call)) = self.call(path) {
                let completion = tokenizer.decode(&path.tokens);
                of_tool[tool].push(Called { path: at, call, completion });
            }
        }
        for (at, called) in of_tool.iter().enumerate().filter(|(_, called)| !called.is_empty()) {
            let tool = &section.tool[at];
            let calls: Vec<Call> =
                called.iter().map(|one| call(tool, &prompts[paths[one.path].prompt].example, one)).collect();
            let said = self.answering[at].answer(&calls)?;
            for (one, said) in called.iter().zip(said) {
                self.calls += 1;
                self.errors += usize::from(said.is_err());
                let said = said.unwrap_or_else(|error| format!("error: {error}"));
                let ids = placed(tokenizer, &tool.result, RESULT, &cut(&said, tool.longest))?;
                answers[one.path] = Answer::Given(ids);
            }
        }
        Ok(answers)
    }
}

impl Tools<'_> {
    /// The tool that a path has just called, and with what.
    fn call(&self, path: &Path) -> Option<(usize, String)> {
        let StopReason::StopString(stop) = path.last() else { return None };
        let text = path.written(self.tokenizer);
        let tools = self.section.tool.iter().enumerate().filter(|(_, tool)| tool.close == *stop);
        let found = tools.filter_map(|(at, tool)| Some((at, called(&text, &tool.open, &tool.close)?)));
        // Of several that end alike, the one that was begun last.
        let (at, call) = found.max_by_key(|(_, call)| call.as_ptr())?;
        Some((at, call.to_owned()))
    }
}

/// What a tool is told of a call.
fn call<'c>(tool: &Tool, example: &'c Example, called: &'c Called) -> Call<'c> {
    Call {
        id: &example.id,
        call: &called.call,
        completion: &called.completion,
        columns: tool.command.as_ref().map_or_else(Map::new, |command| command.told(example)),
        recorded: tool.column.as_ref().and_then(|column| example.fields.get(column)),
    }
}

/// The call that ends `text`: what stands between the last `open` and the `close` behind it.
fn called<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    let before = &text[..text.rfind(close)?];
    let call = &before[before.rfind(open)? + open.len()..];
    (!call.contains(close)).then_some(call)
}

/// The first `longest` characters, with `…` behind them where there are more.
fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests;
