//! `[rollout.tools]` and `[rollout.environment]` in whole runs: what is given is in the traces, in no loss, and in the prompts of later stages' rows as text.

use crate::program::{Program, list, number};
use crate::recipes::Tiny;
use crate::skip::skip;
use rationale::data::Example;
use rationale::rationale::Format;
use rationale::reward::Models;
use serde_json::{Value, json};

const CALCULATOR: &str = r#"
[[stage.rollout.tools.tool]]
open = "<<"
close = "="
result = "{result}>>"
calc = {}
"#;

/// A model learns to call, is reinforced with the calculator, and its traces are learned.
fn calculating() -> String {
    let stages = r##"
[data]
prompts_per_step = 16
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1]
train = 200
eval = 20
rationale = false
[policy.sampling]
max_new_tokens = 32
[[stage]]
name = "sft"
run.steps = 200
data.template.assistant = "<<{{ question }}={{ answer }}>>{{ answer }}\n#### {{ answer }}"
loop.sft.spans = [{ pattern = '=(\d+>>)' }]
[stage.optim]
lr = 1e-2
schedule = "cosine"
[[stage]]
name = "rl"
run.steps = 2
policy.model = "@sft"
[stage.reward.answer]
[stage.loop.grpo]
kl.coefficient = 0.01
[stage.eval]
[stage.rollout.tools]
size = 4
CALCULATOR
[[stage]]
name = "again"
run.steps = 1
policy.model = "@sft"
data.train = "@rl"
loop.sft = {}
"##;
    let model = Tiny { alphabet: Some("0123456789+=<>:# \n"), ..Tiny::SUMS };
    model.recipe(&stages.replace("CALCULATOR\n", CALCULATOR))
}

#[test]
fn what_a_calculator_says_is_read_and_not_learned() {
    let program = Program::new(&calculating());
    program.train(&["--quiet"]).success();
    let steps = program.steps("rl");
    assert_eq!(steps.len(), 2);
    for step in &steps {
        assert!(number(step, "tools/calls") > 0.0);
        // The trainer reads what was given where the sampler did.
        assert!(number(step, "sampling/sampling_logp_difference/max") < 1e-3);
        assert!(number(step, "kl").is_finite());
    }
    let traces = program.traces("rl");
    let calls = traces.iter().filter(|trace| check(trace)).count();
    assert!(calls > 0);
    let evaluation = &program.evaluations()[0];
    assert!(number(&evaluation["report"], "questions") > 0.0, "{evaluation}");
    assert_eq!(program.steps("again").len(), 1);
}

/// Whether something was given in a trace; what was stands where it says, and all else has a log-probability.
fn check(trace: &Value) -> bool {
    let (text, ids) = (trace["completion"].as_str().unwrap(), list(trace, "completion_ids").len());
    let mut given = 0;
    for part in list(trace, "given_spans") {
        let place = |of: &str, end: &str| part[of][end].as_u64().unwrap() as usize;
        given += place("tokens", "end") - place("tokens", "start");
        let said = &text[place("bytes", "start")..place("bytes", "end")];
        let before = &text[..place("bytes", "start")];
        assert!(said.ends_with(">>") && before.ends_with('='), "{said:?} behind {before:?}");
    }
    assert_eq!(list(trace, "logprobs").len() + given, ids, "{trace}");
    given > 0
}

/// A server of the Model Context Protocol with one tool: the sum of what numbers stand in a text, in three digits at least, as no row writes one.
const SERVER: &str = r#"
import json, re, sys
def say(asked, result): print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
ready = False
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "initialize":
        say(asked, {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "sums", "version": "1"}})
    elif asked["method"] == "notifications/initialized":
        ready = True
    else:
        assert ready and asked["method"] == "tools/call" and asked["params"]["name"] == "sum", asked
        numbers = re.findall("[0-9]+", asked["params"]["arguments"]["terms"])
        say(asked, {"content": [{"type": "text", "text": "%03d" % sum(int(each) for each in numbers)}]})
"#;

/// The calculator's run with a server in its place: what was given is what the server says of the call before it, is read where it stands, and is in no loss.
#[test]
fn what_a_server_says_is_read_and_not_learned() {
    let tool = "mcp = { program = { command = [\"python3\", \"server.py\"], timeout_s = 60, programs = 2 }, name = \"sum\", \
                argument = \"terms\" }";
    let program = Program::new(&calculating().replace("calc = {}", tool));
    program.write("server.py", SERVER);
    program.train(&["--quiet"]).success();
    let steps = program.steps("rl");
    assert_eq!(steps.len(), 2);
    for step in &steps {
        assert!(number(step, "tools/calls") > 0.0);
        assert_eq!(number(step, "tools/errors"), 0.0);
        assert!(number(step, "sampling/sampling_logp_difference/max") < 1e-3);
        assert!(number(step, "kl").is_finite());
    }
    let traces = program.traces("rl");
    assert_eq!(traces.len(), 2 * 16 * 4);
    assert!(traces.iter().filter(|trace| check(trace)).count() > 0);
    for trace in &traces {
        let text = trace["completion"].as_str().unwrap();
        for part in list(trace, "given_spans") {
            let place = |end: &str| part["bytes"][end].as_u64().unwrap() as usize;
            let call = text[..place("start")].rsplit("<<").next().unwrap();
            let numbers = call.split(|sign: char| !sign.is_ascii_digit()).filter(|digits| !digits.is_empty());
            let sum: u128 = numbers.map(|digits| digits.parse::<u128>().unwrap()).sum();
            assert_eq!(&text[place("start")..place("end")], format!("{sum:03}>>"), "{text}");
        }
    }
    let evaluation = &program.evaluations()[0];
    assert!(number(&evaluation["report"], "questions") > 0.0, "{evaluation}");
    assert_eq!(program.steps("again").len(), 1);
}

/// Says at each turn how long the action was; over after two.
const ENVIRONMENT: &str = r#"
import json, sys
turns = {}
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "reset":
        turns[asked["episode"]] = 0
        said = {"observation": "go " + str(asked["seed"] % 10)}
    elif asked["do"] == "step":
        turns[asked["episode"]] += 1
        said = {"observation": "%d" % len(asked["action"]), "reward": len(asked["action"]) % 3, "done": turns[asked["episode"]] == 2}
    else:
        said = {"reward": -1}
    print(json.dumps(said), flush=True)
"#;

fn in_environment(rest: &str) -> String {
    Tiny::BYTES.recipe(&format!(
        r#"
[run]
steps = 2
[data]
train = "rows.jsonl"
eval = "rows.jsonl"
prompts_per_step = 2
template.chat = false
[policy.sampling]
max_new_tokens = 40
[rollout.environment]
size = 4
until = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"]
[rollout.environment.program]
command = ["python3", "environment.py"]
timeout_s = 60
programs = 2
{rest}"#
    ))
}

const ROWS: &str = "{\"id\": \"a\", \"question\": \"x\", \"answer\": \"1\"}\n{\"id\": \"b\", \"question\": \"y\", \"answer\": \"2\"}\n";

/// What an environment makes of the numbers of its episodes is the same in a run that stopped between.
#[test]
fn episodes_have_the_same_numbers_in_a_run_that_is_resumed() {
    let by_number = r#"
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    said = {"observation": "go"} if asked["do"] == "reset" else {"reward": asked["episode"] % 1000, "done": True}
    print(json.dumps(said), flush=True)
"#;
    let rewards = |runs: &[&[&str]]| -> Vec<f64> {
        let rest = "[reward.environment]\n[loop.grpo]\n[eval]\nat_start = false\n";
        let program = Program::new(&in_environment(rest));
        program.write("environment.py", by_number);
        program.write("rows.jsonl", ROWS);
        for run in runs {
            program.train(&[&["--quiet"][..], *run].concat()).success();
        }
        program.traces("grpo").iter().map(|trace| number(trace, "episode_reward")).collect()
    };
    let whole = rewards(&[&[]]);
    assert_eq!(whole.len(), 2 * 2 * 4);
    assert_eq!(whole, rewards(&[&["--set", "run.steps=1"], &["--resume"]]));
}

#[test]
fn episodes_are_learned_by_what_they_came_to() {
    let rest = "[reward.environment]\n[loop.grpo]\n[eval]\nat_start = false\n[eval.measures.environment]\n";
    let program = Program::new(&in_environment(rest));
    program.write("environment.py", ENVIRONMENT);
    program.write("rows.jsonl", ROWS);
    program.train(&["--quiet"]).success();
    let steps = program.steps("grpo");
    assert_eq!(steps.len(), 2);
    for step in &steps {
        assert!(number(step, "sampling/sampling_logp_difference/max") < 1e-3);
        let turns = number(step, "environment/turns");
        assert!(turns > 0.0 && turns <= 2.0, "{turns}");
    }
    let traces = program.traces("grpo");
    assert_eq!(traces.len(), 2 * 2 * 4);
    for group in traces.chunks(4) {
        for trace in group {
            assert_eq!(trace["episode_reward"], trace["scores"]["environment"]);
            // What stands behind the prompt is that of the whole group.
            assert_eq!(trace["prompt"], group[0]["prompt"]);
            assert!(trace["prompt"].as_str().unwrap().contains("go "), "{}", trace["prompt"]);
            let given: u64 = list(trace, "given_spans")
                .iter()
                .map(|part| {
                    part["tokens"]["end"].as_u64().unwrap() - part["tokens"]["start"].as_u64().unwrap()
                })
                .sum();
            let sampled = list(trace, "logprobs").len() as u64;
            assert_eq!(sampled + given, list(trace, "completion_ids").len() as u64);
        }
    }
}

/// `examples/environments/reasoning_gym_tasks.py` in a run, then one episode by hand: a wrong answer, and the right one.
#[test]
fn reasoning_gym_is_an_environment() {
    let python = |code: &str| {
        std::process::Command::new("python3").args(["-c", code]).output().expect("python3 can be started")
    };
    if !python("import reasoning_gym").status.success() {
        return skip("reasoning_gym_is_an_environment", "python3 has no reasoning-gym");
    }
    let file = format!("{}/examples/environments/reasoning_gym_tasks.py", env!("CARGO_MANIFEST_DIR"));
    let command = format!("[\"python3\", {file:?}, \"leg_counting\", \"--tries\", \"2\"]");
    let rest = "[reward.environment]\n[loop.grpo]\n[eval]\nat_start = false\n";
    let recipe = in_environment(rest)
        .replace("[\"python3\", \"environment.py\"]", &command)
        .replace("timeout_s = 60", "timeout_s = 300");
    let program = Program::new(&recipe);
    program.write("rows.jsonl", ROWS);
    program.train_set(&["policy.init.context=1024", "policy.sampling.max_new_tokens=160"]).success();
    for step in program.steps("grpo") {
        let turns = number(&step, "environment/turns");
        assert!(turns > 0.0 && turns <= 2.0, "{turns}");
    }
    let traces = program.traces("grpo");
    assert_eq!(traces.len(), 2 * 2 * 4);
    for group in traces.chunks(4) {
        for trace in group {
            assert_eq!(trace["prompt"], group[0]["prompt"]);
            assert!(trace["prompt"].as_str().unwrap().contains("how many legs"), "{}", trace["prompt"]);
            assert!((0.0..=1.0).contains(&number(trace, "episode_reward")));
            assert_eq!(trace["episode_reward"], trace["scores"]["environment"]);
        }
    }
    // Other steps, other questions; and who was wrong is told so.
    assert_ne!(traces[0]["prompt"], traces[8]["prompt"]);
    let told =
        |trace: &Value| trace["completion"].as_str().unwrap().contains("That is not right. Try again.");
    assert!(traces.iter().any(|trace| !list(trace, "given_spans").is_empty() && told(trace)));

    let made =
        "import reasoning_gym as r; print(r.create_dataset('leg_counting', size=1, seed=5)[0]['answer'])";
    let right = String::from_utf8(python(made).stdout).unwrap();
    let lines = [
        json!({"n": 1, "do": "reset", "episode": 7, "id": "a", "seed": 5, "columns": {}}),
        json!({"n": 2, "do": "step", "episode": 7, "action": "I do not know"}),
        json!({"n": 3, "do": "step", "episode": 7, "action": format!("legs\n#### {}", right.trim())}),
    ];
    program.write("lines.jsonl", &crate::program::rows(&lines));
    let lines = std::fs::File::open(program.out().with_file_name("lines.jsonl")).unwrap();
    let said = std::process::Command::new("python3")
        .args([file.as_str(), "leg_counting", "--tries", "2"])
        .stdin(lines)
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(said[0]["observation"].as_str().unwrap().contains("how many legs"), "{}", said[0]);
    let wrong = number(&said[1], "reward");
    assert!(wrong < 1.0 && said[1]["done"] == false && said[1]["observation"].is_string(), "{}", said[1]);
    assert!(
        (wrong + number(&said[2], "reward") - 1.0).abs() < 1e-9 && said[2]["done"] == true,
        "{}",
        said[2]
    );
}

#[test]
fn what_does_not_go_with_tools_is_refused_before_anything_trains() {
    let said = |recipe: &str, code: i32| {
        let program = Program::new(recipe);
        program.write("environment.py", ENVIRONMENT);
        program.write("rows.jsonl", ROWS);
        program.train(&["--dry-run"]).code(code)
    };
    said(&in_environment("[reward.environment]\n[loop.grpo]\n"), 0);
    let star = said(&in_environment("[select]\ncorrect = true\n[loop.star]\n"), 2);
    assert!(star.contains("an environment says more behind them"), "{star}");
    let without = in_environment("[reward.environment]\n[loop.grpo]\n")
        .replace("[rollout.environment]", "[rollout.group]");
    let head = without.find("until = ").unwrap();
    let tail = without.find("[reward.environment]").unwrap();
    let alone = said(&format!("{}{}", &without[..head], &without[tail..]), 2);
    assert!(alone.contains("[reward.environment] is what an environment says, and there is none"), "{alone}");
    let answers = said(
        &calculating()
            .replace("kl.coefficient = 0.01", "")
            .replace("loop.grpo]", "loop.dpo]\nonline = true\nabout = \"answers\""),
        2,
    );
    assert!(answers.contains("answers are tokenised apart from their rationales"), "{answers}");
    let nothing = said(&calculating().replace("calc = {}", ""), 2);
    assert!(nothing.contains("a tool is one of `calc`, `column`, `command` and `mcp`"), "{nothing}");
}

/// A class that generalizes 48 / 2; its samples are `DRAWN` over 2.
const CLASS: &str = "```python
import random
class Division:
    def __init__(self, a): self.a = a
    @classmethod
    def original(cls): return cls(48)
    @classmethod
    def sample(cls): return cls(DRAWN)
    def render(self): return f'{self.a} / 2?'
    def solve(self): return self.a / 2
```";

/// What a program of `examples/verifiers` says of completions.
struct Verified {
    scores: Vec<f64>,
    figures: Vec<(String, f64)>,
}

impl Verified {
    fn of(program: &str, fields: &Value, texts: &[&str]) -> Self {
        let answer = fields["answer"].as_str().map(str::to_owned);
        let fields = fields.as_object().unwrap().clone();
        let example = Example { answer, fields, ..Example::text("row:1", "48 / 2?") };
        let mut group = crate::groups::group(example, texts, &Format::default());
        let file = format!("{}/examples/verifiers/{program}", env!("CARGO_MANIFEST_DIR"));
        let recipe = format!("[command]\ncommand = [\"python3\", \"-B\", \"{file}\"]\ntimeout_s = 120");
        let mut rewards = crate::groups::rewards(&recipe).unwrap();
        rewards.score(std::slice::from_mut(&mut group), &Models::none()).unwrap();
        Self { scores: group.rewards(), figures: rewards.figures() }
    }

    /// 1 for each completion that passes a test.
    fn passed(&self, test: &str) -> Vec<f64> {
        let name = format!("command/{test}");
        self.figures.iter().filter(|(of, _)| *of == name).map(|(_, passed)| *passed).collect()
    }
}

/// Of seven completions the first and the last are right; one draws nothing, one prints a verdict of its own, one reads this project's files, one would end its
/// verifier, one comes to an answer that is longer than what is read of it. None of that keeps the verifier from the next. Of three queries
/// one is right, one has another order, one would open a file.
#[test]
fn a_verifier_runs_what_a_model_wrote() {
    let folder = format!("{}/examples/verifiers", env!("CARGO_MANIFEST_DIR"));
    let known = format!(
        "import sys; sys.path.insert(0, {folder:?}); import confined; sys.exit(confined.version() == 0)"
    );
    if !std::process::Command::new("python3").args(["-B", "-c", &known]).status().unwrap().success() {
        return skip("a_verifier_runs_what_a_model_wrote", "this kernel has no landlock");
    }
    let drawn = CLASS.replace("DRAWN", "2 * random.randint(1, 10**6)");
    let forged = "import os\nprint('{\"is_extractable\": true, \"answer\": \"24\"}')\nos._exit(0)".to_owned();
    let reads = drawn.replace("self.a / 2\n", &format!("open({folder:?} + '/efa.py').read()\n"));
    let same = CLASS.replace("DRAWN", "48");
    let kills = drawn.replace("self.a / 2\n", "__import__('os').kill(__import__('os').getppid(), 9)\n");
    let long = drawn.replace("self.a / 2\n", "'9' * 100000\n");
    let texts = [&drawn, &same, &forged, &reads, &kills, &long, &drawn].map(String::as_str);
    let classes = Verified::of("efa.py", &json!({"answer": "24"}), &texts);
    assert_eq!(classes.scores, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(classes.passed("matches_original"), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(classes.passed("has_dof"), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(classes.passed("is_extractable"), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);

    let schema = "create table pets(name, age); insert into pets values ('bo', 3), ('mia', 5);";
    let row = json!({"schema": schema, "sql": "select name from pets order by age desc"});
    let texts = [
        "```sql\nselect name from pets where age > 1 order by age desc;\n```",
        "#### select name from pets",
        "#### attach database 'a' as b",
    ];
    let queries = Verified::of("sql.py", &row, &texts);
    assert_eq!(queries.scores, [1.0, 0.0, 0.0]);
    assert_eq!(queries.passed("is_executable"), [1.0, 1.0, 0.0]);
    assert_eq!(queries.passed("is_right"), [1.0, 0.0, 0.0]);
}

/// Calls of an interface are looked up in what it was recorded to say.
#[test]
fn a_verifier_looks_calls_up() {
    let row = json!({"responses": {"user(3)": "41", "town(41)": "17"}, "answer": "17"});
    let texts = ["a town\n#### town(user(3))", "#### user(3)", "#### town(user(4))", "#### 17"];
    let calls = Verified::of("api.py", &row, &texts);
    assert_eq!(calls.scores, [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(calls.passed("is_call"), [1.0, 1.0, 1.0, 0.0]);
    assert_eq!(calls.passed("is_answered"), [1.0, 1.0, 0.0, 0.0]);
    assert_eq!(calls.passed("is_right"), [1.0, 0.0, 0.0, 0.0]);
}
