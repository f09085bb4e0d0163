//! Who answers calls: the calculator, the row, or programs and servers that live as long as the run.

use super::section::{Mcp, Tool};
use crate::error::{Error, Result};
use crate::program::{Form, Program, Server, beside};
use crate::rationale::calc;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Failures of programs that have never answered before the run ends.
const PATIENCE: usize = 3;

/// A call of a tool.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The example's.
    pub id: &'a str,
    /// What stands between `open` and `close`.
    pub call: &'a str,
    /// The completion up to there.
    pub completion: &'a str,
    /// The columns of the row that a program is told.
    pub columns: Map<String, Value>,
    /// What the row's column has, where that answers: what is said to each call.
    pub recorded: Option<&'a Value>,
}

/// What a program is told of a call.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    call: &'a str,
    completion: &'a str,
    columns: &'a Map<String, Value>,
}

/// What a tool says: a result, or why there is none.
pub type Said = std::result::Result<String, String>;

/// What answers the calls of a tool.
pub enum Answering {
    /// The calculator, with so many digits behind the point.
    Calc(usize),
    /// A column of the row, which has what calls are answered.
    Column,
    /// Programs.
    Programs(Programs),
}

/// The programs of a tool, which answer beside each other.
pub struct Programs {
    programs: Vec<Box<dyn Answers>>,
    /// Whether any of them has answered yet.
    answered: bool,
    failed: usize,
}

impl Answering {
    /// As the section says.
    ///
    /// # Errors
    /// [`Error::Recipe`] where a program is not there.
    pub fn open(tool: &Tool) -> Result<Self> {
        let programs = match (&tool.calc, &tool.column, &tool.command, &tool.mcp) {
            (Some(calc), ..) => return Ok(Self::Calc(calc.places)),
            (None, Some(_), ..) => return Ok(Self::Column),
            (None, None, Some(command), _) => {
                let programs = command.open("rollout.tools.tool.command")?;
                programs.into_iter().map(|program| Box::new(program) as Box<dyn Answers>).collect()
            }
            (None, None, None, Some(mcp)) => {
                let programs = mcp.program.open("rollout.tools.tool.mcp.program")?;
                let server = |program| OfServer { server: Server::of(program), mcp: mcp.clone() };
                programs.into_iter().map(|program| Box::new(server(program)) as Box<dyn Answers>).collect()
            }
            (None, None, None, None) => {
                return Err(Error::Recipe("rollout.tools.tool: nobody answers; see `calc`".into()));
            }
        };
        Ok(Self::Programs(Programs { programs, answered: false, failed: 0 }))
    }

    /// What is said to each call, in order.
    ///
    /// # Errors
    /// [`Error::Tool`] of programs that fail and have never answered.
    pub fn answer(&mut self, calls: &[Call]) -> Result<Vec<Said>> {
        match self {
            Self::Calc(places) => {
                let of = |call: &Call| calc::evaluate(call.call).map(|value| calc::written(value, *places));
                Ok(calls.iter().map(of).collect())
            }
            Self::Column => Ok(calls.iter().map(recorded).collect()),
            Self::Programs(programs) => programs.answer(calls),
        }
    }
}

/// What the row's column says of a call.
fn recorded(call: &Call) -> Said {
    let said = call.recorded.and_then(|calls| calls.get(call.call.trim()));
    said.map(text).ok_or_else(|| "no such call".to_owned())
}

/// A text as it is, any other value as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Programs {
    fn answer(&mut self, calls: &[Call]) -> Result<Vec<Said>> {
        let next = AtomicUsize::new(0);
        let work = |_: usize, program: &mut Box<dyn Answers>| {
            let mut own = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(call) = calls.get(at) else { return own };
                own.push((at, program.answer(call)));
            }
        };
        let mut answers: Vec<(usize, anyhow::Result<Said>)> =
            beside(&mut self.programs, work).into_iter().flatten().collect();
        answers.sort_by_key(|(at, _)| *at);
        answers.into_iter().map(|(_, answer)| self.take(answer)).collect()
    }

    /// An answer, or what the policy reads in the place of one that did not come.
    fn take(&mut self, answer: anyhow::Result<Said>) -> Result<Said> {
        match answer {
            Ok(said) => {
                self.answered = true;
                Ok(said)
            }
            Err(error) => {
                self.failed += 1;
                if !self.answered && self.failed >= PATIENCE {
                    return Err(Error::Tool(format!(
                        "rollout.tools: the program has failed {PATIENCE} times and never answered: {error:#}"
                    )));
                }
                tracing::warn!(
                    "rollout.tools: a call was not answered, and the policy goes on without: {error:#}"
                );
                Ok(Err(NO_ANSWER.to_owned()))
            }
        }
    }
}

/// What answers one call after the other.
pub trait Answers: Send {
    /// What is said to a call.
    ///
    /// # Errors
    /// Who says nothing, or what cannot be read.
    fn answer(&mut self, call: &Call) -> anyhow::Result<Said>;
}

impl Answers for Program {
    fn answer(&mut self, call: &Call) -> anyhow::Result<Said> {
        let told = Told { id: call.id, call: call.call, completion: call.completion, columns: &call.columns };
        let said = self.ask(&[told], &ANSWER)?.pop();
        Ok(said.unwrap_or_else(|| Err(NO_ANSWER.to_owned())))
    }
}

/// A tool of a server.
struct OfServer {
    server: Server,
    mcp: Mcp,
}

impl Answers for OfServer {
    fn answer(&mut self, call: &Call) -> anyhow::Result<Said> {
        match called(&self.mcp, call.call) {
            Ok((name, arguments)) => self.server.call(&name, &arguments),
            Err(why) => Ok(Err(why.to_owned())),
        }
    }
}

/// The tool that a call names, and its arguments.
fn called(mcp: &Mcp, call: &str) -> std::result::Result<(String, Value), &'static str> {
    if let (Some(name), Some(argument)) = (&mcp.name, &mcp.argument) {
        let arguments = Map::from_iter([(argument.clone(), Value::from(call.trim()))]);
        return Ok((name.clone(), arguments.into()));
    }
    let said: Value = serde_json::from_str(call).map_err(|_| "the call is no JSON")?;
    if let Some(name) = &mcp.name {
        return if said.is_object() { Ok((name.clone(), said)) } else { Err("the arguments are no object") };
    }
    let name = said["name"].as_str().ok_or("the call has no `name`")?;
    let arguments = said.get("arguments").cloned().unwrap_or_else(|| Map::new().into());
    if arguments.is_object() { Ok((name.to_owned(), arguments)) } else { Err("`arguments` is no object") }
}

const NO_ANSWER: &str = "no answer";

/// What a program answers.
const ANSWER: Form<Said> = Form { written: "{\"result\": TEXT} or {\"error\": TEXT}", read };

fn read(reply: &Value) -> Option<Said> {
    match (reply.get("result"), reply.get("error")) {
        (Some(result), None) => Some(Ok(text(result))),
        (None, Some(error)) => Some(Err(text(error))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(command: &[&str], programs: usize) -> Answering {
        let command = command.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let keys = format!(
            "open = '<'\nclose = '>'\ncommand = {{ command = [{command}], timeout_s = 20, programs = {programs} }}"
        );
        Answering::open(&toml::from_str(&keys).unwrap()).unwrap()
    }

    fn asked(answering: &mut Answering, calls: &[&str]) -> Result<Vec<Said>> {
        let call = |call: &&'static str| Call {
            id: "row:1",
            call,
            completion: "",
            columns: Map::new(),
            recorded: None,
        };
        let calls: Vec<&'static str> = calls.iter().map(|text| &*text.to_string().leak()).collect();
        answering.answer(&calls.iter().map(call).collect::<Vec<_>>())
    }

    const ECHO: &str = r#"
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    call = asked["call"]
    if call == "die": sys.exit(3)
    if call == "odd": print("5", flush=True)
    elif call == "bad": print(json.dumps({"error": "not " + call}), flush=True)
    else: print(json.dumps({"result": [call]}), flush=True)
"#;

    #[test]
    fn the_calculator_says_why_it_has_no_result() {
        let mut calc =
            Answering::open(&toml::from_str("open = '<<'\nclose = '='\ncalc = { places = 2 }").unwrap())
                .unwrap();
        let said = asked(&mut calc, &["2/3", "1/0"]).unwrap();
        assert_eq!(said, [Ok("0.67".to_owned()), Err("division by zero".to_owned())]);
    }

    #[test]
    fn the_row_answers_what_was_recorded() {
        let keys = "open = '<'\nclose = '>'\ncolumn = 'responses'";
        let mut row = Answering::open(&toml::from_str(keys).unwrap()).unwrap();
        let responses = serde_json::json!({"town(41)": "17", "at(2,3)": {"x": 1}});
        let (columns, recorded) = (Map::new, Some(&responses));
        let call =
            |call: &'static str| Call { id: "row:1", call, completion: "", columns: columns(), recorded };
        let said = row.answer(&["town(41)", " at(2,3) ", "town(17)", ""].map(call)).unwrap();
        let none = || Err("no such call".to_owned());
        assert_eq!(said, [Ok("17".to_owned()), Ok("{\"x\":1}".to_owned()), none(), none()]);
    }

    /// Calls come back in order, from however many programs; what fails is an answer of its own, and the program goes on.
    #[test]
    fn programs_answer_in_order_and_fail_alone() {
        for programs in [1, 3] {
            let mut answering = opened(&["python3", "-c", ECHO], programs);
            let calls = ["a", "bad", "b", "die", "c", "odd", "d"];
            let said = asked(&mut answering, &calls).unwrap();
            let (ok, none) = (|text: &str| Ok(format!("[\"{text}\"]")), || Err("no answer".to_owned()));
            assert_eq!(said, [ok("a"), Err("not bad".into()), ok("b"), none(), ok("c"), none(), ok("d")]);
        }
    }

    #[test]
    fn a_call_of_a_server_names_a_tool_and_its_arguments() {
        use serde_json::json;
        let of = |keys: &str, call: &str| {
            let mcp: Mcp = toml::from_str(&format!("program.command = ['sh']\n{keys}")).unwrap();
            called(&mcp, call)
        };
        let both = r#"{"name": "add", "arguments": {"a": 1}}"#;
        assert_eq!(of("", both), Ok(("add".to_owned(), json!({"a": 1}))));
        assert_eq!(of("", r#"{"name": "now"}"#), Ok(("now".to_owned(), json!({}))));
        assert_eq!(of("name = 'add'", r#"{"a": 1}"#), Ok(("add".to_owned(), json!({"a": 1}))));
        let named = "name = 'search'\nargument = 'query'";
        assert_eq!(of(named, " a \"b\" "), Ok(("search".to_owned(), json!({"query": "a \"b\""}))));
        assert_eq!(of("", "add 1"), Err("the call is no JSON"));
        assert_eq!(of("", "[1]"), Err("the call has no `name`"));
        assert_eq!(of("", r#"{"name": "add", "arguments": 1}"#), Err("`arguments` is no object"));
        assert_eq!(of("name = 'add'", "1"), Err("the arguments are no object"));
    }

    #[test]
    fn a_program_that_never_answers_ends_the_run() {
        let mut answering = opened(&["sh", "-c", "echo sorry >&2; exit 1"], 1);
        assert_eq!(asked(&mut answering, &["a", "b"]).unwrap(), vec![Err(NO_ANSWER.to_owned()); 2]);
        let error = asked(&mut answering, &["c"]).unwrap_err();
        assert!(matches!(error, Error::Tool(_)));
        assert!(
            error.to_string().contains("never answered") && error.to_string().contains("sorry"),
            "{error}"
        );
    }
}
