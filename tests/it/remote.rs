//! `[rollout.remote]` against a local server: what is asked, what becomes of the answers, what is learned from them.

use crate::program::{Program, number};
use crate::recipes::Tiny;
use crate::server::{Teacher, completion};
use serde_json::{Value, json};

const MODEL: Tiny = Tiny { context: Some(64), ..Tiny::BYTES };

/// A teacher's completions, the right ones to learn from and pairs of right and wrong.
const RECIPE: &str = r#"
[data]
train = "rows.jsonl"
prompts_per_step = 2
shuffle = false
[[stage]]
name = "teach"
data.template.chat = false
data.template.user = "Q: {{ question }}\n"
[stage.rollout.remote]
size = 3
system = "Be brief."
user = "{{ prompt }}Think of {{ hint }}."
[stage.rollout.remote.endpoint]
url = "URL/v1"
model = "teacher"
temperature = 0.7
max_tokens = 9
answers_per_request = 2
prompt_price = 1.0
cache = "cache"
[stage.reward.answer]
[stage.loop.collect]
[[stage]]
name = "sft"
data.train = "@teach"
[stage.loop.sft]
[[stage]]
name = "dpo"
data.train = "@teach"
[stage.loop.dpo]
"#;

const ROWS: &str = r#"{"id": "a", "question": "2+2?", "answer": "4", "hint": "pairs"}
{"id": "b", "question": "3+3?", "answer": "6", "hint": "threes"}
"#;

/// A teacher that says `4` and `5` and, asked for one answer, thinks until its limit.
fn teacher() -> Teacher {
    Teacher::replies(|body, _| {
        let mut said = match body["n"] == 2 {
            true => completion([("two pairs\n#### 4", "stop"), ("no\n#### 5", "stop")]),
            false => completion([("hm, so", "length")]),
        };
        said["usage"] = json!({"prompt_tokens": 100, "completion_tokens": 5});
        said
    })
}

fn recipe(url: &str) -> String {
    MODEL.recipe(&RECIPE.replace("URL", url))
}

#[test]
fn a_teachers_completions_are_scored_and_learned_from() {
    let teacher = teacher();
    let program = Program::new(&recipe(&teacher.url));
    program.write("rows.jsonl", ROWS);
    program.train(&["--quiet"]).success();

    // Three completions of each of two prompts in requests of two and one.
    let bodies = teacher.seen();
    assert_eq!(bodies.len(), 4);
    let asked =
        bodies.iter().find(|body| body["messages"][1]["content"].as_str().unwrap().contains("2+2")).unwrap();
    let expected = json!([{"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Q: 2+2?\nThink of pairs."}]);
    assert_eq!(
        (&asked["messages"], &asked["temperature"], &asked["max_tokens"]),
        (&expected, &json!(0.7), &json!(9))
    );

    let traces = program.traces("teach");
    assert_eq!(traces.len(), 6);
    let bytes = |text: &str| json!(text.bytes().collect::<Vec<u8>>());
    let eos = 256;
    let mut ids: Vec<Value> = bytes("two pairs\n#### 4").as_array().unwrap().clone();
    ids.push(json!(eos));
    let first = &traces[0];
    // The policy is asked its own prompt; the answer is in its tokens and has no log-probabilities.
    assert_eq!((&first["prompt"], &first["prompt_ids"]), (&json!("Q: 2+2?\n"), &bytes("Q: 2+2?\n")));
    assert_eq!((&first["completion_ids"], &first["logprobs"]), (&json!(ids), &json!([])));
    assert_eq!(
        (&first["stop"], &first["reward"], &first["predicted"]),
        (&json!({"eos": eos}), &json!(1.0), &json!("4"))
    );
    // What its limit cut off has no end of sequence.
    assert_eq!((&traces[2]["stop"], &traces[2]["completion_ids"]), (&json!("length"), &bytes("hm, so")));

    let of = |stage: &str| program.of_stage(stage).remove(0);
    assert_eq!([number(&of("teach"), "remote/requests"), number(&of("teach"), "remote/cost")], [4.0, 4e-4]);
    assert_eq!(number(&of("teach"), "rewards/answer/mean"), 1.0 / 6.0);
    assert!(number(&of("sft"), "loss") > 0.0);
    // Only the first question has a right answer, and two wrong ones, of which one is none.
    assert_eq!(number(&of("dpo"), "pairs/built"), 2.0);
}

/// What a reasoning model thought stands before what it says.
#[test]
fn what_a_teacher_thought_is_learned() {
    let teacher = Teacher::replies(|_, _| {
        let mut said = completion([("#### 4", "stop"), ("#### 5", "stop")]);
        said["choices"][0]["message"]["reasoning_content"] = json!("two pairs");
        said
    });
    let program = Program::new(&recipe(&teacher.url).replace("size = 3", "size = 2"));
    program.write("rows.jsonl", ROWS);
    program.train(&["--quiet"]).success();
    let said = |at: usize| program.traces("teach")[at]["completion"].clone();
    assert_eq!(said(0), json!("<think>\ntwo pairs\n</think>\n\n#### 4"));
    assert_eq!(said(1), json!("#### 5"));
}

#[test]
fn an_answer_is_paid_for_once() {
    let teacher = teacher();
    let first_stage = recipe(&teacher.url);
    let first_stage = &first_stage[..first_stage.rfind("[[stage]]\nname = \"sft\"").unwrap()];
    let program = Program::new(first_stage);
    program.write("rows.jsonl", ROWS);
    program.train(&["--quiet"]).success();
    // Another order finds the same answers; a second pass over the questions asks again.
    program.train(&["--quiet", "--overwrite", "--set", "data.shuffle=true", "--set", "run.seed=5"]).success();
    assert_eq!(teacher.seen().len(), 4);
    program.train(&["--quiet", "--overwrite", "--set", "run.epochs=2"]).success();
    assert_eq!(teacher.seen().len(), 8);
}

#[test]
fn loops_that_need_log_probabilities_refuse() {
    let recipe = recipe("http://127.0.0.1:9");
    for name in ["grpo", "star", "mario"] {
        let recipe = recipe.replacen("[stage.loop.collect]", &format!("[stage.loop.{name}]"), 1);
        let program = Program::new(&recipe);
        program.write("rows.jsonl", ROWS);
        let said = program.train(&["--dry-run"]).code(2);
        assert!(
            said.contains(&format!(
                "recipe.toml:36: loop.{name}: it learns from the policy's own samples and their log-probabilities"
            )),
            "{said}"
        );
    }
    // A key that is not there is named before anything is asked.
    let recipe = recipe.replace("cache = \"cache\"", "api_key_env = \"NO_SUCH_KEY_OF_TESTS\"");
    let program = Program::new(&recipe);
    program.write("rows.jsonl", ROWS);
    let said = program.train(&["--quiet"]).code(2);
    assert!(
        said.contains("rollout.remote.endpoint.api_key_env") && said.contains("NO_SUCH_KEY_OF_TESTS"),
        "{said}"
    );
}
