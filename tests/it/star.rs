//! Rounds of `loop.star` on tiny models: what is learned from, what a killed run leaves, what is refused.

use crate::program::{Program, fatal, number};
use crate::recipes::{Tiny, on_rows};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;

const MODEL: Tiny = Tiny { dtype: None, ..Tiny::SUMS };

/// One-digit sums, of which a warm-up teaches a part; then three rounds with rationalization.
const ROUNDS: &str = r#"
[data]
prompts_per_step = 16
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1]
train = 60
eval = 10
scratchpad = "remaining"
[policy.sampling]
max_new_tokens = 20
temperature = 0.8
[optim]
lr = 5e-3
[[stage]]
name = "warmup"
run.steps = 60
[stage.data]
template.user = "{{ question }}{% if turn is odd %} {{ answer }}{% endif %}\n"
[stage.loop.sft]
[[stage]]
name = "star"
run.steps = 6
[stage.policy]
model = "@warmup"
[stage.rollout.hint]
size = 2
hint = "{{ question }} {{ answer }}\n"
[stage.reward.answer]
[stage.select]
correct = true
dedup = true
[stage.eval]
by = "digits"
[stage.loop.star]
rounds = 3
chunk = 5
growth = 1.5
[stage.checkpoint]
every = 2
"#;

fn rounds() -> String {
    MODEL.recipe(ROUNDS)
}

fn flag(trace: &Value, name: &str) -> bool {
    trace[name].as_bool().unwrap()
}

#[test]
fn the_hint_is_stripped_from_what_is_trained_on() {
    let program = Program::new(&rounds());
    program.train(&[]).success();
    let taught = program.traces("star");
    let mut hinted_taught = 0;
    for round in 1..=3 {
        let asked = program.traces(&format!("star-round-{round}"));
        let plain: HashMap<&str, &Value> = asked
            .iter()
            .filter(|trace| !flag(trace, "hinted"))
            .map(|trace| (trace["example"].as_str().unwrap(), &trace["prompt_ids"]))
            .collect();
        assert_eq!(plain.len(), 60, "every question is asked without the hint");
        let by_id: HashMap<&str, &Value> = asked.iter().map(|t| (t["id"].as_str().unwrap(), t)).collect();
        assert_eq!(by_id.len(), asked.len(), "ids are unique");
        for trace in taught.iter().filter(|trace| trace["round"] == round) {
            let sampled = by_id[trace["id"].as_str().unwrap()];
            assert!(flag(sampled, "correct"));
            assert_eq!(&trace["prompt_ids"], plain[trace["example"].as_str().unwrap()]);
            assert_eq!(trace["completion_ids"], sampled["completion_ids"]);
            if flag(trace, "hinted") {
                hinted_taught += 1;
                let (with, without) = (ids(&sampled["prompt_ids"]), ids(&trace["prompt_ids"]));
                // `a+b sum\n` against `a+b\n`: the hint is a space and the answer's digits, before the line feed.
                let answer = trace["answer"].as_str().unwrap().len();
                assert_eq!(with.len(), without.len() + 1 + answer);
                assert_eq!(with[..without.len() - 1], without[..without.len() - 1]);
            }
        }
    }
    assert!(hinted_taught > 0, "no rationalized rationale was learned: this test saw nothing");
}

fn ids(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

#[test]
fn a_round_samples_filters_and_trains_as_the_recipe_says() {
    let program = Program::new(&rounds());
    let said = program.train(&[]).success();
    let metrics = program.metrics();
    let of = |round: usize| metrics.iter().filter(move |m| m["stage"] == "star" && m["loop_round"] == round);
    // 6 steps, 6 · 1.5 = 9, 6 · 2.25 = 13.5.
    let steps = [1, 2, 3].map(|round| of(round).filter(|m| m["loss"].is_number()).count());
    assert_eq!(steps, [6, 9, 13]);
    for round in 1..=3 {
        let sampling: Vec<&Value> = of(round).filter(|m| m["star/coverage"].is_number()).collect();
        assert_eq!(sampling.len(), 1);
        let asked = program.traces(&format!("star-round-{round}"));
        let solved = |hinted: bool| {
            let mut questions: Vec<&str> = asked
                .iter()
                .filter(|t| flag(t, "hinted") == hinted && flag(t, "correct"))
                .map(|t| t["example"].as_str().unwrap())
                .collect();
            questions.dedup();
            questions.len() as f64
        };
        assert_eq!(number(sampling[0], "star/questions"), 60.0);
        assert!((number(sampling[0], "star/coverage") - solved(false) / 60.0).abs() < 1e-9);
        assert!((number(sampling[0], "star/rationalized") - solved(true) / 60.0).abs() < 1e-9);
        // Two of each question, and two more of each that is not solved.
        assert_eq!(asked.len() as f64, 2.0 * (60.0 + 60.0 - solved(false)));
        assert!(of(round).any(|m| m["eval/accuracy"].is_number()), "held-out questions after round {round}");
    }
    assert!(said.contains("star, round") && said.contains("star, loop round 3"), "{said}");
    let picture = fs::read_to_string(program.out().join("star-accuracy.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("digits = 1"), "{picture}");
}

/// Kills a run at the completion of `at`, given how many each round samples; `prepare`s what it left, resumes it, and compares everything
/// with a run that nobody killed.
fn killed_and_resumed(at: impl Fn([usize; 3]) -> usize, prepare: impl Fn(&Program), unfinished: &str) {
    let [whole, killed] = [Program::new(&rounds()), Program::new(&rounds())];
    let sets = |nth: usize| format!("stage.star.reward.fatal={}", fatal(nth));
    let keep = ["--set", "stage.star.checkpoint.keep_last=0", "--set"];
    whole.train(&[&keep[..], &[&sets(usize::MAX)]].concat()).success();
    let sampled = [1, 2, 3].map(|round| whole.traces(&format!("star-round-{round}")).len());
    let fatal = sets(at(sampled));
    killed.train(&[&keep[..], &[&fatal]].concat()).killed();
    prepare(&killed);
    assert!(!killed.out().join(unfinished).exists(), "it was killed too late to test anything");
    assert!(!killed.traces("star-round-1").is_empty());
    killed.train(&[&keep[..], &[&fatal, "--resume"]].concat()).success();

    for name in ["star.jsonl", "star-round-1.jsonl", "star-round-2.jsonl", "star-round-3.jsonl"] {
        let bytes = |program: &Program| fs::read(program.out().join("traces").join(name)).unwrap();
        assert!(bytes(&whole) == bytes(&killed), "{name} differs");
    }
    let weights =
        |program: &Program| fs::read(program.out().join("star-step-000031/model.safetensors")).unwrap();
    assert!(weights(&whole) == weights(&killed), "the weights differ");
    let curve = |program: &Program| -> Vec<(u64, String)> {
        let figures =
            |m: &Value| ["loss", "star/coverage", "eval/accuracy"].map(|name| m[name].to_string()).join(" ");
        program.of_stage("star").iter().map(|m| (m["step"].as_u64().unwrap(), figures(m))).collect()
    };
    assert_eq!(curve(&whole), curve(&killed), "each line is there once, with the same figures");
}

#[test]
fn a_run_killed_while_sampling_resumes_bit_for_bit() {
    // The first step of round 2's fine-tuning is step 9: sampling, six steps, sampling, then it.
    killed_and_resumed(|sampled| sampled[0] + 60, |_| (), "star-step-000010");
}

#[test]
fn a_run_killed_while_fine_tuning_resumes_bit_for_bit() {
    // Killed as round 3 begins to sample; without what came after step 10 it is a run killed in the middle of round 2's nine steps.
    let cut = |killed: &Program| {
        for step in ["12", "14", "16"] {
            killed.forget(&format!("star-step-0000{step}"));
        }
        let _ = fs::remove_dir_all(killed.out().join("star-step-000017"));
        let _ = fs::remove_file(killed.out().join("traces/star-round-3.jsonl"));
        assert!(killed.out().join("star-step-000010").exists());
    };
    killed_and_resumed(|sampled| sampled[0] + sampled[1] + 20, cut, "star-step-000017");
}

#[test]
fn few_shot_examples_help_sampling_and_are_not_trained_on() {
    let program = Program::new(&rounds());
    program.train(&["--set", "data.template.few_shot=1", "--set", "stage.star.loop.star.rounds=1"]).success();
    let asked = program.traces("star-round-1");
    let taught = program.traces("star");
    assert!(!taught.is_empty());
    for trace in &taught {
        let sampled = asked.iter().find(|t| t["id"] == trace["id"]).unwrap();
        let (shown, learned) = (sampled["prompt"].as_str().unwrap(), trace["prompt"].as_str().unwrap());
        assert!(shown.contains("\n\n") && shown.contains("####"), "a solved row is shown: {shown}");
        assert_eq!(learned, format!("{}\n", trace["question"].as_str().unwrap()));
        assert_eq!(ids(&trace["prompt_ids"]).len(), learned.chars().count());
    }
}

#[test]
fn rounds_accumulate_stop_on_a_plateau_and_hand_their_rationales_on() {
    let again = "[[stage]]\nname = \"again\"\nrun.steps = 2\n[stage.policy]\nmodel = \"@star\"\n[stage.data]\n\
                 train = \"@star\"\n[stage.loop.sft]\n";
    let recipe = format!("{}{again}", rounds()).replace("dedup = true\n", "");
    let program = Program::new(&recipe);
    let set = [
        "stage.star.loop.star.accumulate=true",
        "stage.star.loop.star.start=previous",
        "stage.star.loop.star.plateau={patience=1, min_gain=0.99}",
    ];
    program.train_set(&set).success();
    let right = |round: usize| {
        program.traces(&format!("star-round-{round}")).iter().filter(|t| flag(t, "correct")).count()
    };
    let taught = program.traces("star");
    let at = |step: u64| taught.iter().filter(|t| t["step"] == step).count();
    let metrics = program.metrics();
    let rationales: Vec<f64> = metrics.iter().filter_map(|m| m["star/rationales"].as_f64()).collect();
    assert_eq!(rationales, [right(1) as f64, (right(1) + right(2)) as f64], "a gain of 0.99 ends it");
    assert_eq!((at(1), at(8)), (right(1), right(2)), "each rationale is handed on once");
    assert!(metrics.iter().any(|m| m["stage"] == "again" && m["loss"].as_f64() > Some(0.0)));
}

#[test]
fn mistakes_are_named_before_anything_starts() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["stage.star.select.correct=false"], &["loop.star", "select.correct = true"]),
        (&["stage.star.rollout.hint.hint=\"{{ question }}\""], &["rollout.hint.hint", "answer"]),
        (&["stage.star.policy.sampling.temperature=0"], &["greedy", "size 1"]),
        (&["stage.star.loop.star.growth=0"], &["loop.star.growth"]),
        (&["stage.star.loop.star.plateau.min_gain=2"], &["loop.star.plateau.min_gain"]),
        (&["stage.star.data.template.few_shot=100"], &["few_shot = 100", "other rows to show"]),
        (&["stage.star.loop.star.round=2"], &["rounds"]),
    ];
    for (sets, words) in cases {
        let program = Program::new(&rounds());
        let said = program.train_set(sets).code(2);
        for word in words {
            assert!(said.contains(word), "{sets:?}: `{word}` is missing from: {said}");
        }
    }
}

#[test]
fn a_least_reward_needs_a_reward() {
    let recipe =
        rounds().replace("[stage.reward.answer]\n", "").replace("correct = true", "min_reward = 0.5");
    let said = Program::new(&recipe).train(&["--dry-run"]).code(2);
    assert!(said.contains("select.min_reward") && said.contains("[reward.answer]"), "{said}");
}

#[test]
fn only_star_strips_hints() {
    let said = Program::new(&rounds()).train(&["--set", "stage.star.loop.collect={}", "--dry-run"]).code(2);
    assert!(said.contains("rollout.hint") && said.contains("[rollout.group]"), "{said}");
}

#[test]
fn rows_that_cannot_be_rationalized_are_named() {
    let recipe = on_rows("star") + "[rollout.hint]\n[select]\ncorrect = true\n";
    let rows = [
        ("{\"id\": \"q1\", \"question\": \"1+1\"}\n", "1 of 1 rows have no gold answer to tell by: q1"),
        (
            "{\"id\": \"q2\", \"prompt\": \"1+1\", \"answer\": \"2\"}\n",
            "rollout.hint.hint uses `question`, which 1 of 1 rows does not have: q2",
        ),
    ];
    for (row, words) in rows {
        let program = Program::new(&recipe);
        program.write("rows.jsonl", row);
        let said = program.train(&[]).code(2);
        assert!(said.contains(words), "{said}");
    }
}

/// What is asked only where a question fails is looked at before the stages that come first: with its hint a prompt has other characters and
/// more tokens, and one that is ready-made has none.
#[test]
fn prompts_that_cannot_be_hinted_are_named_before_anything_trains() {
    let hint = |hint: &str| format!("stage.star.rollout.hint.hint={hint:?}");
    let long = format!("{{{{ question }}}} {{{{ answer }}}}{}", "0".repeat(96));
    for (set, words) in [
        (hint("{{ question }} (the answer is {{ answer }})"), "the tokenizer's alphabet has no '('"),
        (hint(&long), "with its hint the prompt is longer"),
    ] {
        for arguments in [&["--dry-run", "--set", &set][..], &["--set", &set]] {
            let program = Program::new(&rounds());
            let said = program.train(arguments).code(2);
            assert!(said.contains("rollout.hint.hint") && said.contains(words), "{words}: {said}");
            assert!(!program.out().exists(), "{said}");
        }
    }
    let program = Program::new(&(on_rows("star") + "[rollout.hint]\n[select]\ncorrect = true\n"));
    let row = "{\"question\": \"1+1\", \"answer\": \"2\"}\n";
    program.write("rows.jsonl", &format!("{row}{}", row.replace("}", ", \"prompt\": \"1+1\"}")));
    let said = program.train(&["--dry-run"]).code(2);
    assert!(said.contains("rows.jsonl:2: it brings its prompt ready-made"), "{said}");
}

/// Of several rows one without a gold answer is enough.
#[test]
fn a_question_without_a_gold_answer_is_named_before_anything_trains() {
    let program = Program::new(&(on_rows("star") + "[select]\ncorrect = true\n"));
    program.write("rows.jsonl", "{\"question\": \"1+1\", \"answer\": \"2\"}\n{\"question\": \"1+2\"}\n");
    let said = program.train(&["--dry-run"]).code(2);
    assert!(
        said.contains("rows.jsonl:2") && said.contains("it has no gold answer, by which loop.star"),
        "{said}"
    );
}

#[test]
fn nothing_right_is_an_error_with_remedies() {
    let program = Program::new(&rounds());
    let said = program.train(&["--set", "stage.star.policy.sampling.max_new_tokens=1"]).code(2);
    assert!(said.contains("nothing to learn") && said.contains("few_shot"), "{said}");
}

/// How much the share of right samples grows from the first round to the last, at this learning rate.
fn gain(seed: usize, lr: &str) -> f64 {
    let program = Program::new(&rounds());
    let sets = [format!("run.seed={seed}"), format!("stage.star.optim.lr={lr}")];
    program.train_set(&["stage.star.run.steps=30", "policy.dtype=f32", &sets[0], &sets[1]]).success();
    let metrics = program.metrics();
    let shares: Vec<f64> = metrics.iter().filter_map(|m| m["star/sampled_accuracy"].as_f64()).collect();
    assert_eq!(shares.len(), 3);
    shares[2] - shares[0]
}

#[test]
#[ignore = "slow: six runs; make slow-test"]
fn a_model_teaches_itself_whatever_the_seed() {
    let [gains, controls] = ["5e-3", "1e-12"].map(|lr| [0, 1, 2].map(|seed| gain(seed, lr)));
    println!("gains {gains:?}, without learning {controls:?}");
    assert!(gains.iter().all(|gain| *gain > 0.0), "{gains:?}");
    let mean = |gains: [f64; 3]| gains.iter().sum::<f64>() / 3.0;
    assert!(mean(gains) >= mean(controls) + 0.04, "{gains:?} {controls:?}");
}
