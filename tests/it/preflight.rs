//! All that is cheap is opened before anything trains: a misfit of any stage ends the run and its dry run with exit code 2, all of them
//! are said at once, and nothing is left behind.

use crate::program::Program;
use crate::recipes::Tiny;
use rationale::policy::Init;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Two stages that are well; the second is given what is wrong.
pub const STAGES: &str = r#"
[data]
train = "rows.jsonl"
eval = "held.jsonl"
prompts_per_step = 2
template.chat = false
[run]
steps = 1
[policy.sampling]
max_new_tokens = 4
[[stage]]
name = "first"
[stage.loop.sft]
[[stage]]
name = "second"
[stage.rollout.group]
size = 2
[stage.reward.answer]
[stage.eval]
[stage.loop.grpo]
"#;

pub const ROWS: &str =
    "{\"question\": \"q\", \"completion\": \"#### 1\", \"answer\": \"1\", \"class\": \"a\"}\n";

fn program() -> Program {
    let program = of_stages(STAGES);
    program.write("broken.jsonl", &format!("{ROWS}{{\"prompt\": \n"));
    program.write("lacking.jsonl", "{\"prompt\": \"q\", \"completion\": \"c\"}\n");
    program.write(
        "long.jsonl",
        &format!("{{\"prompt\": \"{}\", \"completion\": \"c\", \"answer\": \"1\"}}\n", "q".repeat(5000)),
    );
    program.write("empty.jsonl", "");
    model(
        &program,
        "strange",
        "{\"model_type\": \"strange\", \"architectures\": [\"StrangeForCausalLM\"]}",
        "{}",
    );
    model(&program, "no-tokenizer", "{\"model_type\": \"llama\"}", "{");
    program
}

/// These stages with rows that are well; of some-class.jsonl the third row has neither a class nor a completion.
/// Such stages of a tiny model, and rows for them.
pub fn of_stages(stages: &str) -> Program {
    let program = Program::new(&Tiny::BYTES.recipe(stages));
    program.write("rows.jsonl", &ROWS.repeat(3));
    program.write("held.jsonl", ROWS);
    program.write(
        "some-class.jsonl",
        &format!("{}{{\"question\": \"q\", \"answer\": \"1\"}}\n", ROWS.repeat(2)),
    );
    program.write("null.jsonl", &ROWS.replace("\"a\"", "null").repeat(3));
    program
}

/// A folder that says that it is a model.
fn model(program: &Program, name: &str, config: &str, tokenizer: &str) {
    let folder = program.out().with_file_name(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), config).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    fs::write(folder.join("model.safetensors"), "").unwrap();
}

/// What is set, and what has to be said of it: the key, and a part of the sentence.
const MISFITS: &[(&str, &[&str])] = &[
    ("stage.second.data.train=\"none.jsonl\"", &["data.train", "none.jsonl"]),
    ("stage.second.data.train=\"broken.jsonl\"", &["broken.jsonl:2"]),
    ("stage.second.data.train=\"empty.jsonl\"", &["empty.jsonl"]),
    ("stage.second.data.train=\"long.jsonl\"", &["data.train", "long:1", "context"]),
    ("stage.second.data.eval=\"lacking.jsonl\"", &["gold answer", "lacking:1"]),
    ("stage.second.data.train=\"lacking.jsonl\"", &["[reward.answer]", "gold answer"]),
    ("stage.second.data.columns={answer=\"anwser\"}", &["anwser"]),
    ("stage.second.data.template.user=\"{{ nothing_there }}\"", &["nothing_there"]),
    ("stage.second.data.template.user=\"{{ prompt\"", &["template"]),
    (
        "stage.second.data.template.few_shot_from=\"none.jsonl\"\nstage.second.data.template.few_shot=1",
        &["few_shot_from", "none.jsonl"],
    ),
    ("stage.second.policy.model=\"strange\"", &["policy.model", "strange"]),
    ("stage.second.policy.model=\"no-tokenizer\"", &["policy.model", "no-tokenizer"]),
    ("stage.second.policy.model=\"folders/not-there/x\"", &["policy.model", "not-there"]),
    ("stage.second.policy.model=\"checkpoints/none\"", &["checkpoints/none: no such folder"]),
    ("stage.second.policy.model=\"@third\"", &["@third"]),
    ("stage.second.devices.policy=\"cuda:63\"", &["devices", "cuda:63"]),
    ("stage.second.eval.by=\"clas\"", &["eval.by", "did you mean `class`"]),
    ("stage.second.checkpoint.best=\"eval/acuracy\"", &["checkpoint.best", "eval/acuracy"]),
    (
        "stage.second.reward.program={kind=\"command\", command=[\"no-such-program\"]}",
        &["[reward.program]", "no-such-program"],
    ),
    (
        "stage.second.reward.judge={prompt=\"{{ completion }}\", endpoint={url=\"http://localhost:1/v1\", model=\"m\", api_key_env=\"RATIONALE_NO_KEY\"}}",
        &["RATIONALE_NO_KEY"],
    ),
    ("stage.second.reward.rouge={column=\"hint\"}", &["[reward.rouge]", "hint"]),
    ("stage.second.reward.process={model=\"none/of/these\"}", &["[reward.process]", "none/of/these"]),
    (
        "stage.second.policy.init.intermediate_size=1048576\npolicy.init.layers=200\nstage.second.policy.init.hidden_size=65536",
        &["disk has", "--out"],
    ),
    ("run.name=\"../elsewhere\"", &["run.name", "folder"]),
    ("stage.second.reward.answr={}", &["answr", "answer"]),
    (
        "stage.second.loop.grpo.advantage.compare_by=\"clas\"",
        &[
            "loop.grpo.advantage.compare_by needs a column `clas` and 3 of 3 rows have none: rows:1, rows:2, rows:3",
            "did you mean the column `class`?",
        ],
    ),
    (
        "stage.second.loop.grpo.advantage.compare_by=\"class\"\nstage.second.data.train=\"some-class.jsonl\"",
        &["loop.grpo.advantage.compare_by needs a column `class` and 1 of 3 rows has none: some-class:3"],
    ),
    (
        "stage.second.loop.grpo.curriculum={column=\"clas\", stages=[{from=1, shares={a=1.0}}]}",
        &[
            "loop.grpo.curriculum.column needs a column `clas` and 3 of 3 rows have none: rows:1, rows:2, rows:3",
        ],
    ),
    (
        "stage.second.loop.grpo.curriculum={column=\"class\", stages=[{from=1, shares={a=1.0, b=1.0}}]}",
        &[
            "loop.grpo.curriculum.stages gives a share to \"b\", which none of 3 rows has in its column `class`",
            "known: a",
        ],
    ),
    (
        "stage.second.data.train=\"null.jsonl\"\nstage.second.data.columns={rationale=\"class\"}",
        &[
            "data.columns.rationale = \"class\": the column has no value in any row of null.jsonl (all are null)",
        ],
    ),
    ("stage.second.optim.lr=-1", &["optim.lr"]),
];

/// The files around a recipe, with what is in them.
fn around(program: &Program) -> BTreeMap<String, u64> {
    let folder = program.out().parent().unwrap().to_owned();
    let mut found = BTreeMap::new();
    let mut open = vec![folder];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                found.insert(entry.path().display().to_string(), entry.metadata().unwrap().len());
            }
        }
    }
    found
}

#[test]
fn each_misfit_of_a_later_stage_is_named_before_the_first_trains() {
    let (program, mut wrong) = (program(), Vec::new());
    let before = around(&program);
    for (sets, parts) in MISFITS {
        for dry_run in [true, false] {
            let sets: Vec<&str> = sets.lines().flat_map(|set| ["--set", set]).collect();
            let (code, said) =
                program.train(&[if dry_run { &["--dry-run"][..] } else { &[] }, &sets].concat()).parts();
            if code != Some(2) || !parts.iter().all(|part| said.contains(part)) {
                wrong.push(format!("{sets:?}, dry run {dry_run}: {code:?}: {said}"));
            }
            if around(&program) != before || program.out().exists() {
                wrong.push(format!("{sets:?}, dry run {dry_run}: something is left behind"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What they are set over is well.
    program.train(&["--dry-run"]).success();
    program.train(&[]).success();
}

/// One phase: the recipe's own misfits, and those of files, models, devices, programs and keys, in one list.
#[test]
fn all_misfits_are_said_at_once() {
    let program = program();
    let one_each = [
        "stage.first.data.train=\"broken.jsonl\"",
        "stage.first.devices.policy=\"cuda:63\"",
        "stage.first.optim.lr=-1",
        "stage.second.policy.model=\"strange\"",
        "stage.second.data.train=\"none.jsonl\"",
        "stage.second.checkpoint.best=\"eval/acuracy\"",
        "stage.second.eval.by=\"clas\"",
        "stage.second.reward.program={kind=\"command\", command=[\"no-such-program\"]}",
    ];
    let sets: Vec<&str> = one_each.into_iter().flat_map(|set| ["--set", set]).collect();
    for arguments in [sets.clone(), [&["--dry-run"], &sets[..]].concat()] {
        let said = program.train(&arguments).code(2);
        let lacking: Vec<&str> = [
            "broken.jsonl:2",
            "cuda:63",
            "optim.lr",
            "strange",
            "none.jsonl",
            "eval/acuracy",
            "clas",
            "no-such-program",
        ]
        .into_iter()
        .filter(|part| !said.contains(part))
        .collect();
        assert!(lacking.is_empty(), "{lacking:?} are not said: {said}");
        assert!(said.contains("8 things are wrong"), "{said}");
    }
    assert!(!program.out().exists());
}

/// A model of a few thousand weights, in the folder `name` beside the recipe.
fn whole_model(program: &Program, name: &str) -> PathBuf {
    let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 2, ..Init::default() };
    let folder = program.out().with_file_name(name);
    init.make(Kind::Float, Device::Cpu, 1, 1).unwrap().save(&folder).unwrap();
    folder
}

/// The same text in the place of another of its length.
fn replace(file: &Path, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.windows(old.len()).position(|part| part == old.as_bytes()).unwrap();
    bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
    fs::write(file, bytes).unwrap();
}

/// Models whose weights are cut off, lack a tensor, have another shape than they say or lack a file: as policy, in rewards and in measures.
#[test]
fn weights_are_looked_at_before_anything_trains() {
    let program = program();
    let weights = "model.safetensors";
    let cut = whole_model(&program, "cut").join(weights);
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    replace(&whole_model(&program, "lacking").join(weights), "model.norm.weight", "model.nrom.weight");
    let shaped = whole_model(&program, "shaped").join("config.json");
    let config = fs::read_to_string(&shaped).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["intermediate_size"] = 40.into();
    fs::write(&shaped, config.to_string()).unwrap();
    let sharded = whole_model(&program, "sharded");
    fs::remove_file(sharded.join(weights)).unwrap();
    program.write(
        "sharded/model.safetensors.index.json",
        r#"{"weight_map": {"model.norm.weight": "model-1.safetensors"}}"#,
    );
    program.write("sharded/model-2.safetensors", "");
    let sets = [
        "stage.second.policy.model=\"cut\"",
        "stage.second.reward.perplexity={model=\"lacking\"}",
        "stage.second.reward.similarity={to=\"prompt\", model=\"shaped\"}",
        "stage.second.eval.measures.perplexity={model=\"sharded\"}",
    ];
    let parts = [
        "cut/model.safetensors: not a whole safetensors file",
        "[reward.perplexity]: model = \"lacking\": lacking/model.safetensors: tensor model.norm.weight is missing",
        "[reward.similarity]: model = \"shaped\": shaped/model.safetensors: tensor model.layers.0.mlp.",
        "[eval.measures.perplexity]: model = \"sharded\": sharded/model-1.safetensors: No such file",
    ];
    let before = around(&program);
    let sets: Vec<&str> = sets.into_iter().flat_map(|set| ["--set", set]).collect();
    for arguments in [sets.clone(), [&["--dry-run"], &sets[..]].concat()] {
        let said = program.train(&arguments).code(2);
        let lacking: Vec<&&str> = parts.iter().filter(|part| !said.contains(**part)).collect();
        assert!(lacking.is_empty(), "{lacking:?} are not said: {said}");
        assert_eq!(around(&program), before, "something is left behind");
    }
    // A whole one is none of these.
    whole_model(&program, "whole");
    program.train(&["--dry-run", "--set", "stage.second.reward.perplexity={model=\"whole\"}"]).success();
}

/// A file of a model's folder that has more bytes than any of its kind is not read.
#[test]
fn files_of_models_that_are_too_large_are_named() {
    let program = program();
    let folder = whole_model(&program, "large");
    for (name, most) in [
        ("config.json", 4 << 20),
        ("generation_config.json", 4 << 20),
        ("special_tokens_map.json", 32 << 20),
        ("added_tokens.json", 32 << 20),
        ("tokenizer.json", 128 << 20),
        ("chat_template.jinja", 1 << 16),
    ] {
        let path = folder.join(name);
        let there = fs::read(&path).ok();
        fs::OpenOptions::new().create(true).append(true).open(&path).unwrap().set_len(1 << 33).unwrap();
        let said = program.train(&["--dry-run", "--set", "stage.second.policy.model=\"large\""]).code(2);
        let sentence =
            format!("large/{name}: it has 8589934592 bytes, and a file of its kind has at most {most};");
        assert!(said.contains(&sentence), "{said}");
        there.map_or_else(|| fs::remove_file(&path), |bytes| fs::write(&path, bytes)).unwrap();
    }
}

/// Where completions come from elsewhere, what they are made of is looked at in all rows, and said at once.
#[test]
fn rows_that_a_source_cannot_use_are_named() {
    let remote = |keys: &str| {
        format!(
            "[stage.rollout.remote]\n{keys}\n[stage.rollout.remote.endpoint]\nurl = \"http://localhost:1/v1\"\nmodel = \"m\"\n"
        )
    };
    for (rows, source, parts) in [
        (
            "rows",
            remote("user = \"{{ question }} {{ nope }}\""),
            vec![
                "rollout.remote.user uses `nope`, which 3 of 3 rows do not have: rows:1, rows:2, rows:3; known: answer, class, completion, question",
            ],
        ),
        (
            "some-class",
            remote("user = \"{{ class }}\""),
            vec!["rollout.remote.user uses `class`, which 1 of 3 rows does not have: some-class:3;"],
        ),
        (
            "rows",
            remote("each_choice = true\nuser = \"{{ letter }}\""),
            vec![
                "rollout.remote.each_choice needs choices to ask about and 3 of 3 rows have none: rows:1, rows:2, rows:3; add a `choices` column",
            ],
        ),
        (
            "rows",
            remote("rewrite = true\nuser = \"{{ completion }} {{ nope }}\""),
            vec![
                "rollout.remote.user uses `nope`",
                "rollout.remote.rewrite takes traces, as data.train = \"@stage\", and 3 of 3 rows are none: rows:1, rows:2, rows:3 (missing field",
                "2 things are wrong",
            ],
        ),
        (
            "some-class",
            "[stage.rollout.dataset]\n".to_string(),
            vec![
                "rollout.dataset needs a completion of each row's own and 1 of 3 rows has none: some-class:3; add a `completion`",
            ],
        ),
        (
            "rows",
            "[stage.rollout.tree]\nat = \"questions\"\n".to_string(),
            vec![
                "rollout.tree.schema.rubrics needs a rubric and 3 of 3 rows have none: rows:1, rows:2, rows:3 (",
            ],
        ),
    ] {
        let stages = STAGES
            .replace("[stage.rollout.group]\nsize = 2\n", &source)
            .replace("[stage.eval]\n[stage.loop.grpo]", "[stage.loop.collect]")
            .replace("name = \"second\"", &format!("name = \"second\"\ndata.train = \"{rows}.jsonl\""));
        let program = of_stages(&stages);
        for arguments in [&["--dry-run"][..], &[]] {
            let said = program.train(arguments).code(2);
            assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
            assert!(!program.out().exists(), "{said}");
        }
    }
}

/// Answers to held-out questions are searched for by wordings, which are filled in before the run.
#[test]
fn wordings_are_filled_in_from_every_held_out_row() {
    let wordings = "[stage.rollout.variants]\nvary = \"templates\"\nn = 1\n[[stage.rollout.variants.template]]\n\
        name = \"a\"\nuser = \"{{ nope }}\"\n";
    let stages = STAGES
        .replace("[stage.rollout.group]\nsize = 2\n[stage.reward.answer]\n", wordings)
        .replace("[stage.loop.grpo]", "[stage.loop.evaluate]");
    for arguments in [&["--dry-run"][..], &[]] {
        let said = of_stages(&stages).train(arguments).code(2);
        let expected = "of the held-out rows: rollout.variants.template.0.user uses `nope`, which 1 of 1 rows does not have: held:1; \
            known: answer, class, completion, question";
        assert!(said.contains(expected), "{said}");
    }
}

/// Files are called after stages.
#[test]
fn the_name_of_a_stage_has_a_hundred_characters_at_most() {
    let named =
        |length: usize| of_stages(&STAGES.replace("\"second\"", &format!("{:?}", "x".repeat(length))));
    named(100).train(&["--dry-run"]).success();
    let said = named(101).train(&["--dry-run"]).code(2);
    assert!(
        said.contains("this stage's name has 101 characters") && !said.contains(&"x".repeat(101)),
        "{said}"
    );
}

/// Rows whose rationale nobody reads, since it is called otherwise or missing.
#[test]
fn what_rows_hold_and_do_not_teach_is_told() {
    let program = program();
    let row = "{\"question\": \"q\", \"answer\": \"1\"}\n";
    program.write("half.jsonl", &(row.replace("}", ", \"rationale\": \"so\"}").repeat(2) + row));
    program.write("capital.jsonl", &row.replace("}", ", \"Rationale\": \"so\"}"));
    program.write("cot.jsonl", &(row.replace("}", ", \"cot\": \"so\", \"weight\": 0.5}") + row));
    let said = |file: &str| {
        program.train(&["--dry-run", "--set", &format!("stage.first.data.train={file}")]).success()
    };
    let half = said("half.jsonl");
    assert!(
        half.contains("1 of 3 rows have no `rationale`, and of them the answer alone is learned: half:3"),
        "{half}"
    );
    let capital = said("capital.jsonl");
    assert!(capital.contains("the column `Rationale` is not read as `rationale`"), "{capital}");
    let cot = said("cot.jsonl");
    for part in [
        "`cot` of 1 of 2 rows (cot:1) is not read as `rationale`, and the answer alone is their completion; data.columns.rationale = \"cot\" would",
        "`weight` of 1 of 2 rows (cot:1) weighs nothing",
    ] {
        assert!(cot.contains(part), "{cot}");
    }
    assert!(!said("rows.jsonl").contains("`rationale`"));
}

/// A step that is said to be of more rows than there are is of all that there are.
#[test]
fn fewer_rows_than_one_step_takes_are_told() {
    let program = program();
    program.write("three.jsonl", &ROWS.repeat(3));
    let said = |per_step: usize| {
        let sets =
            ["stage.first.data.train=three.jsonl".to_string(), format!("data.prompts_per_step={per_step}")];
        program.train(&["--dry-run", "--set", &sets[0], "--set", &sets[1]]).success()
    };
    let few = "stage `first`: there are 3 rows, fewer than the data.prompts_per_step = 16 of one step, which takes them all, so that \
               a pass over them is one step: three:1, three:2, three:3";
    assert!(said(16).contains(few), "{}", said(16));
    assert!(!said(3).contains("there are 3 rows"));
    program.write("three.jsonl", ROWS);
    assert!(said(16).contains("stage `first`: there is 1 row, fewer than"), "{}", said(16));
}

/// A column that some of the rows write otherwise, or leave out, teaches the model to end without an answer.
#[test]
fn rows_without_an_answer_among_rows_with_one_are_told() {
    let program = program();
    let row = |answer: &str| format!("{{\"question\": \"q\", \"rationale\": \"so\"{answer}}}\n");
    let rows = [row(", \"answer\": \"1\"").repeat(2), row(", \"Answer\": \"1\""), row(", \"answer\": null")];
    // What ends its rationale with the answer has one.
    program.write("open.jsonl", &(rows.concat() + &row("").replace("so", "so\\n#### 1")));
    program.write("none.jsonl", &row("").repeat(2));
    let set = |file: &str| format!("stage.first.data.train={file}");
    let preview = ["preview", "--recipe", "recipe.toml", "--set", &set("open.jsonl")];
    for said in [program.train(&["--dry-run", "--set", &set("open.jsonl")]), program.verb(&preview)] {
        let said = said.success();
        for part in [
            "2 of 5 rows have no `answer`, and of them the rationale alone is learned, which ends without one: open:3, open:4",
            "the column `Answer` of 1 of 5 rows is not read as `answer`, which it is called in others: open:3",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    for file in ["none.jsonl", "rows.jsonl"] {
        let said = program.train(&["--dry-run", "--set", &set(file)]).success();
        assert!(!said.contains("no `answer`"), "{file}: {said}");
    }
}

/// What rows lack of what a key names is said at the line of that key, and not of the rows.
#[test]
fn rows_that_do_not_fit_a_key_are_refused_at_its_line() {
    for key in ["data.columns.question = \"nocol\"", "data.template.few_shot = 9"] {
        let stages = STAGES.replace("name = \"second\"\n", &format!("name = \"second\"\n{key}\n"));
        let program = of_stages(&stages);
        let recipe = fs::read_to_string(program.out().with_file_name("recipe.toml")).unwrap();
        let line = recipe.lines().position(|line| line == key).unwrap() + 1;
        let said = program.train(&["--dry-run"]).code(2);
        assert!(said.contains(&format!("recipe.toml:{line}: ")) && said.contains(key), "{key}: {said}");
    }
}

/// A key twice, and what no row needs.
#[test]
fn rows_that_lose_a_value_or_take_forever_are_refused_by_line() {
    let program = program();
    let long = format!("{{\"question\": \"q\", \"answer\": \"{}\"}}\n", "9".repeat((1 << 20) + 1));
    let twice = ROWS.replace("\"class\"", "\"answer\": \"2\", \"class\"");
    program.write("odd.jsonl", &[ROWS, &twice, &long].concat());
    let said = program.train(&["--dry-run", "--set", "stage.second.data.train=odd.jsonl"]).code(2);
    for part in [
        "2 problems in the data",
        "odd.jsonl:2: the key \"answer\" stands twice in one object",
        "odd.jsonl:3: `answer` has 1.0 MB, and the most is 1 MB",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// What has no effect, is left out or is not read is said in one line, with a count and examples.
#[test]
fn what_is_left_out_is_counted() {
    let program = program();
    program.write(
        "rows.jsonl",
        &(ROWS.repeat(3) + &fs::read_to_string(program.out().with_file_name("long.jsonl")).unwrap()),
    );
    let sets = ["--set", "stage.first.rollout.group.size=4", "--set", "run.steps=1"];
    let said = program.train(&[&["--dry-run"], &sets[..]].concat()).success();
    for part in ["rollout", "no effect", "1 of 4", "rows:4"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
