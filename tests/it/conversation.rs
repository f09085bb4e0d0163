//! Supervised training of a conversation learns all of the assistant's turns, and nothing else.

use crate::program::{Program, number, rows as text};
use crate::recipes::Tiny;
use rationale::data::tokenizer::Tokenizer;
use rationale::data::turns::learned_turns;
use rationale::data::{Example, Message, Prompt};
use rationale::policy::{Init, Policy};
use serde_json::{Value, json};
use std::path::Path;
use tch::{Device, Kind};

/// Turns with their roles' letters; the assistant's end with the end token.
const TEMPLATE: &str = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}\
    {% else %}\n{% endif %}{% endfor %}{% if add_generation_prompt %}a:{% endif %}";
/// One that leaves what an earlier turn thought out, as those of thinking models do.
const FORGETFUL: &str = "{% for m in messages %}{{ m.role[0] }}:{% if loop.last %}{{ m.content }}{% else %}\
    {{ m.content.split('|')[-1] }}{% endif %}\n{% endfor %}{% if add_generation_prompt %}a:{% endif %}";

/// A new byte model in `folder` that speaks in `template`.
fn model(folder: &Path, template: &str) {
    let init = Init { hidden_size: 32, layers: 1, heads: 2, kv_heads: 2, ..Init::default() };
    init.make(Kind::Float, Device::Cpu, 3, 1).unwrap().save(folder).unwrap();
    let path = folder.join("tokenizer_config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["chat_template"] = template.into();
    std::fs::write(&path, config.to_string()).unwrap();
}

fn conversation(turns: &[&str]) -> Vec<Value> {
    let roles = ["user", "assistant"].iter().cycle();
    turns.iter().zip(roles).map(|(content, role)| json!({"role": role, "content": content})).collect()
}

fn example(turns: &[&str], learned: &[usize]) -> Example {
    let turns: Vec<Message> = serde_json::from_value(conversation(turns).into()).unwrap();
    Example { prompt: Prompt::Chat(turns), learned_turns: learned.to_vec(), ..Example::text("x", "") }
}

#[test]
fn what_the_assistant_said_stands_where_it_is_said_to() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), TEMPLATE);
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    let example = example(&["1+1?", "it is é2", "and 2+2?", "4", "why?"], &[1, 3]);
    let ids = tokenizer.render(&example.prompt).unwrap();
    let spans = learned_turns(&tokenizer, &example).unwrap();
    let said: Vec<String> = spans.iter().map(|span| tokenizer.decode(&ids[span.clone()])).collect();
    assert_eq!(said, ["it is é2", "4"]);
    // A token a byte, `é` being two, and the end token behind each.
    assert_eq!(spans.iter().map(std::ops::Range::len).collect::<Vec<_>>(), [9 + 1, 1 + 1]);
    assert!(spans.iter().all(|span| ids[span.end - 1] == tokenizer.eos()));
}

fn recipe(rows: &str, sets: &str) -> String {
    let head = Tiny::BYTES.recipe("").replace("[policy]\n", "[policy]\nmodel = \"model\"\n");
    let (before, rest) = head.split_once("[policy.init]").unwrap();
    let rest = &rest[rest.find("[devices]").unwrap()..];
    format!(
        "{before}{rest}\n[data]\ntrain = \"{rows}\"\nprompts_per_step = 2\n[loop.sft]\n[run]\nsteps = 60\n[optim]\nlr = 1e-2\n{sets}"
    )
}

/// The mean log-probability of what the assistant says in its first turn and in its last one after training on `rows`.
fn learned(rows: &[Value]) -> (Vec<f64>, [f64; 2]) {
    let program = Program::new(&recipe("rows.jsonl", ""));
    model(&program.out().parent().unwrap().join("model"), TEMPLATE);
    program.write("rows.jsonl", &text(rows));
    program.train(&[]).success();
    let losses = program.steps("sft").iter().map(|line| number(line, "loss")).collect();
    let policy = Policy::load(&program.checkpoint("000060"), Kind::Float, Device::Cpu, 1).unwrap();
    let turn = |turns: &[&str], text: &str| {
        let prompt = policy.tokenizer.render(&example(turns, &[]).prompt).unwrap();
        let logprobs =
            policy.logprobs(&[policy.after(&prompt, "", text).unwrap()], 1.0, 512).unwrap().concat();
        f64::from(logprobs.iter().sum::<f32>()) / logprobs.len() as f64
    };
    let first = turn(&["a"], "bbbbbbbb");
    (losses, [first, turn(&["a", "bbbbbbbb", "c"], "d")])
}

#[test]
fn all_turns_of_the_assistant_are_learned() {
    let whole = json!({"messages": conversation(&["a", "bbbbbbbb", "c", "d"])});
    let last = json!({"prompt": conversation(&["a", "bbbbbbbb", "c"]), "completion": "d"});
    let (losses, [first, other]) = learned(&[whole.clone(), whole]);
    let (control, [unlearned, same]) = learned(&[last.clone(), last]);
    // Both learn the last turn; only the conversation teaches the first one.
    assert!(other > -0.1 && same > -0.1, "{other} {same}");
    assert!(first > -0.1 && unlearned < -1.0, "{first} {unlearned}");
    // The first loss is a mean over 9 + 2 tokens of the one, and over 2 of the other.
    assert_eq!((losses.len(), control.len()), (60, 60));
    assert!((losses[0] - control[0]).abs() > 1e-3, "{} {}", losses[0], control[0]);
}

/// All rows that it is true of are counted, in one message.
#[test]
fn a_template_that_rewrites_earlier_turns_is_refused_before_anything_is_learned() {
    let program = Program::new(&recipe("rows.jsonl", ""));
    model(&program.out().parent().unwrap().join("model"), FORGETFUL);
    let row = |said: &str| json!({"messages": conversation(&["a", said, "c", "d"])});
    program.write("rows.jsonl", &text(&[vec![row("hm|b"); 12], vec![row("b")]].concat()));
    for arguments in [&["--dry-run"][..], &[]] {
        let said = program.train(arguments).code(2);
        for part in [
            "12 problems in the data; nothing was started",
            "rows.jsonl:1: the model's chat template writes turn 2 otherwise",
            "(so too rows.jsonl:2, rows.jsonl:3, rows.jsonl:4",
            "rows.jsonl:10 and 2 more)",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("rows.jsonl:13"), "{said}");
        assert!(!program.out().exists());
    }
}

/// However far behind a row stands, and with all of its turns.
#[test]
fn turns_that_a_template_leaves_out_are_counted_over_all_rows() {
    let silent = TEMPLATE.replace("{% for m in messages %}", "{% for m in messages if m.role[0] in 'ua' %}");
    let program = Program::new(&recipe("rows.jsonl", ""));
    model(&program.out().parent().unwrap().join("model"), &silent);
    let plain = json!({"messages": conversation(&["a", "b"])});
    let told = |roles: &[&str]| {
        let told = roles.iter().map(|role| json!({"role": role, "content": "RULE"}));
        json!({"messages": told.chain(conversation(&["a", "b"])).collect::<Vec<_>>()})
    };
    let rows =
        [vec![plain; 1000], vec![told(&["system"]); 3], vec![told(&["system", "developer"]); 2]].concat();
    program.write("rows.jsonl", &text(&rows));
    let said = program.train(&["--dry-run"]).success();
    for (role, count, rows) in [
        ("system", 5, "rows:1001, rows:1002, rows:1003 and 2 more"),
        ("developer", 2, "rows:1004, rows:1005"),
    ] {
        let part = format!("does not write what the {role} turn of {count} of 1005 rows says: {rows}");
        assert!(said.contains(&part), "{part}: {said}");
    }
}
