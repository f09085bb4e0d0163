//! What reward models are made of beside rows with labels: pairs and lists of traces, outcomes without what confounds them.

use crate::program::{Program, number, rows};
use crate::recipes::{self, Tiny, after_sums, sums};
use serde_json::{Value, json};

/// From the policy's own completions: right over wrong, then the shortest of each group beside longer ones, then PPO by what the first was
/// taught.
fn of_traces() -> String {
    let judge = |name: &str, learns: &str| {
        let rest = format!("data.train = \"@sample\"\ndata.eval = \"@sample\"\n{learns}[stage.eval]\n");
        after_sums(name, 3, &rest)
    };
    let sample = "[stage.rollout.group]\nsize = 4\n[stage.reward.answer]\n\
                  [stage.reward.length]\nmax_tokens = 40\nbuffer = 39\nweight = 0.0\n[stage.loop.collect]\n";
    let pairs = "[stage.select.pairs]\nper_example = 2\n[stage.loop.prm]\nlearns = \"pairs\"\n";
    let lists = "[stage.loop.prm]\nlearns = \"lists\"\nlists = { by = \"length\", positive = 0 }\n";
    let ppo = "[stage.rollout.group]\nsize = 2\n[stage.reward.process]\nmodel = \"@pairs\"\n\
               [stage.loop.grpo]\nkl = { coefficient = 0.05, place = \"reward\" }\n[stage.loop.grpo.critic]\n";
    let stages = [
        after_sums("sample", 4, sample),
        judge("pairs", pairs),
        judge("lists", lists),
        after_sums("ppo", 2, ppo),
    ];
    sums(&stages.concat())
}

/// The figures of a reward model's last evaluation in a stage.
fn judged<'a>(evaluations: &'a [Value], stage: &str) -> &'a Value {
    let last = evaluations.iter().rfind(|line| line["stage"] == stage);
    &last.unwrap_or_else(|| panic!("{stage} is not evaluated"))["report"]["process"]
}

#[test]
fn traces_become_pairs_and_lists() {
    let program = Program::new(&of_traces());
    program.train(&["--quiet"]).success();
    let mut groups: std::collections::BTreeMap<String, Vec<Value>> = Default::default();
    for trace in program.traces("sample") {
        groups.entry(trace["example"].to_string()).or_default().push(trace);
    }
    let right = |trace: &Value| number(&trace["scores"], "answer") == 1.0;
    let unlike = |a: &Value, b: &Value| a["completion_ids"] != b["completion_ids"];
    let pairs = |all: &Vec<Value>| {
        let wrong = |one: &Value| all.iter().filter(|other| !right(other) && unlike(one, other)).count();
        all.iter().filter(|one| right(one)).map(wrong).sum::<usize>().min(2)
    };
    let built: usize = groups.values().map(pairs).sum();
    let differ = |all: &Vec<Value>| {
        let worth = |trace: &Value| number(&trace["scores"], "length");
        all.iter().any(|one| worth(one) != worth(&all[0]))
    };
    let listed = groups.values().filter(|all| differ(all)).count();
    assert!(built > 0 && listed > 0, "nothing is compared, so this shows nothing: {built} {listed}");

    let (of_pairs, of_lists) = (program.steps("pairs"), program.steps("lists"));
    assert_eq!((of_pairs.len(), of_lists.len()), (3, 3));
    assert_eq!(number(&of_pairs[0], "pairs/built"), built as f64);
    assert_eq!(number(&of_lists[0], "lists/built"), listed as f64);
    assert!(of_pairs[0]["rewards/margins"].is_number());
    // What is judged is what was made of the held-out traces.
    let evaluations = program.evaluations();
    assert_eq!(number(judged(&evaluations, "pairs"), "steps"), built as f64);
    assert_eq!(number(judged(&evaluations, "lists"), "steps"), listed as f64);
    let ppo = program.steps("ppo");
    assert!(
        ppo.len() == 2 && ppo[1]["critic/loss"].is_number() && ppo[1]["rewards/process/mean"].is_number()
    );

    let kind = ["--dry-run", "--set", "stage.pairs.select.pairs.kind=first_error"];
    let said = Program::new(&of_traces()).train(&kind).code(2);
    assert!(said.contains("select.pairs.kind") && said.contains("compares whole completions"), "{said}");
}

/// The stages of `recipes/reasonflux-prm.toml` on rows whose own rationales are the trajectories, so that an untrained model has some.
const TRAJECTORIES: &str = r#"
[run]
steps = 2
[data]
prompts_per_step = 4
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [2]
train = 8
eval = 4
[policy.sampling]
max_new_tokens = 12
[[stage]]
name = "start"
loop.sft = {}
[[stage]]
name = "judge"
data.task.addition.faults = { share = 0.7, labels = "truth" }
policy.model = "@start"
loop.prm = {}
[[stage]]
name = "explore"
policy.model = "@start"
rollout.dataset = {}
reward.similarity = { to = "answer", each_step = true, weight = 0.0 }
reward.judge = { kind = "process", model = "@judge", weight = 0.0 }
reward.coherence.weight = 0.0
loop.collect = {}
[[stage]]
name = "answers"
data.train = "@explore"
data.columns.asked = "prompt"
data.template.user = "{{ question }}\n{% for step in steps %}{{ step.split('=')[0] }}\n{% endfor %}"
policy.model = "@start"
rollout.group.size = 3
reward.answer = {}
loop.collect = {}
[[stage]]
name = "flux"
data.train = ["@explore", "@answers"]
data.eval = "held-out.jsonl"
policy.model = "@start"
loop.prm.learns = "trajectory"
eval.at_start = false
[[stage]]
name = "rl"
run.steps = 1
policy.model = "@start"
rollout.group.size = 4
reward.answer.weight = 0.8
reward.flux = { kind = "process", model = "@flux", aggregate = "mean", whole = 1.0, weight = 0.2 }
loop.grpo = {}
"#;

#[test]
fn steps_and_the_whole_of_a_trajectory_are_learned_in_one_model() {
    let program = Program::new(&Tiny::SUMS.recipe(TRAJECTORIES));
    let row = |error: i64| json!({"question": "12+34", "answer": "46", "first_error": error, "steps": ["2+4+0=6: 6", "1+3+0=4: 46", "#### 46"]});
    program.write("held-out.jsonl", &rows(&[row(-1), row(0), row(1), row(-1)]));
    program.train(&["--quiet"]).success();
    let explored = program.traces("explore");
    assert_eq!(explored.len(), 8);
    for trace in &explored {
        let scored = |name: &str| trace["step_scores"][name].as_array().unwrap().len();
        // Two columns, and the answer's line, which the judge has too.
        assert_eq!(["similarity", "judge", "coherence"].map(scored), [2, 3, 2]);
        assert_eq!(trace["reward"], 0.0);
    }
    let answers = program.traces("answers");
    assert_eq!(answers.len(), 24);
    for answer in &answers {
        let of = explored.iter().find(|trace| trace["id"] == answer["example"]).expect("of a trajectory");
        let lines = of["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step.as_str().unwrap().split('=').next().unwrap());
        let template: String = lines.map(|line| format!("{line}\n")).collect();
        assert_eq!(answer["prompt"], format!("{}\n{template}", of["question"].as_str().unwrap()));
    }
    let learned = program.steps("flux");
    for name in ["loss", "errors/steps", "errors/whole"] {
        assert!(number(&learned[0], name) >= 0.0, "{name}");
    }
    // A trajectory's loss is the mean error of its two steps and that of the whole.
    let sum = number(&learned[0], "errors/steps") + number(&learned[0], "errors/whole");
    assert!((number(&learned[0], "loss") - sum).abs() < 1e-4 * sum.max(1.0), "{}", learned[0]);
    let reading =
        std::fs::read_to_string(program.checkpoint("flux-step-000002").join("reward_model.json")).unwrap();
    let reading: Value = serde_json::from_str(&reading).unwrap();
    assert_eq!((&reading["judges"], &reading["head"]), (&json!("trajectory"), &json!("trajectory")));
    assert!(number(judged(&program.evaluations(), "flux"), "steps") > 0.0);
    assert!(program.steps("rl")[0]["rewards/flux/mean"].is_number());

    // Without answers nothing says what the whole is worth.
    let alone = TRAJECTORIES.replace("[\"@explore\", \"@answers\"]", "\"@explore\"");
    let program = Program::new(&Tiny::SUMS.recipe(&alone));
    program.write("held-out.jsonl", &rows(&[row(-1), row(0), row(1), row(-1)]));
    let said = program.train(&["--quiet"]).code(2);
    assert!(
        said.contains("none of 8 traces is answered by another") && said.contains("loop.prm.targets.whole"),
        "{said}"
    );
}

/// A recipe with a few reports.
fn small(name: &str, sets: &[&str]) -> Program {
    let sizes = ["data.task.report.train=24", "data.task.report.eval=6", "policy.sampling.max_new_tokens=24"];
    recipes::small(name, &[&sizes[..], sets].concat())
}

#[test]
fn radio_ranks_passages_by_rationales() {
    let program = small(
        "radio",
        &[
            "stage.reader.run.steps=2",
            "stage.truth.data.task.report.train=8",
            "stage.radio.run.steps=2",
            "stage.radio-first.data.task.report.train=8",
            "stage.question-first.data.task.report.train=8",
        ],
    );
    // Twelve passages a report, scored by both; the lists are of one of each.
    let traces = program.traces("by-rationale");
    assert_eq!(traces.len(), 24 * 12);
    assert!(
        traces
            .iter()
            .all(|trace| trace["scores"]["rationale"].is_number() && trace["scores"]["question"].is_number())
    );
    assert_eq!(number(&program.steps("radio")[0], "lists/built"), 24.0);
    let evaluations = program.evaluations();
    assert_eq!(number(judged(&evaluations, "radio"), "steps"), 8.0);
    // Behind one passage of each of eight reports, the reader is asked.
    for [first, read] in [["radio-first", "radio-read"], ["question-first", "question-read"]] {
        assert_eq!(program.traces(first).len(), 8, "{first}");
        let last = evaluations.iter().rfind(|line| line["stage"] == read).expect(read);
        assert_eq!(number(&last["report"], "questions"), 8.0, "{read}");
    }
}

#[test]
fn careless_rationales_are_ranked_before_they_are_shown() {
    let program = small(
        "rationale-ranking",
        &[
            "stage.plain.run.steps=2",
            "stage.doubting.run.steps=2",
            "stage.ranker.run.steps=2",
            "stage.written.data.task.report.train=16",
        ],
    );
    let evaluations = program.evaluations();
    assert_eq!(number(judged(&evaluations, "ranker"), "steps"), 6.0);
    // Each is scored by its rationale, which is not all of it.
    let written = program.traces("written");
    assert_eq!(written.len(), 16);
    assert!(written.iter().all(|trace| trace["scores"]["process"].is_number()));
    for stage in ["plain-alone", "plain-all", "plain-ranked", "doubting-all", "doubting-ranked"] {
        let last = evaluations.iter().rfind(|line| line["stage"] == stage).expect(stage);
        assert_eq!(number(&last["report"], "questions"), 16.0, "{stage}");
    }
}

#[test]
fn a_season_is_taken_off_before_rewards_are_learned() {
    let program = small(
        "deconfound",
        &[
            "stage.authors.run.steps=2",
            "stage.naive.run.steps=2",
            "stage.residual.run.steps=2",
            "stage.season.run.steps=2",
            "stage.rl-naive.run.steps=1",
            "stage.rl-season.run.steps=1",
            "stage.rl-residual.run.steps=1",
        ],
    );
    let first = |stage: &str| program.steps(stage)[0].clone();
    // From the least outcome to the greatest, there are some on either side of the middle.
    for stage in ["naive", "residual"] {
        let right = number(&first(stage), "labels/right");
        assert!(right > 0.0 && right < 1.0, "{stage}: {right}");
    }
    let evaluations = program.evaluations();
    for stage in ["rl-naive", "rl-season", "rl-residual"] {
        assert!(first(stage)["rewards/process/mean"].is_number(), "{stage}");
        let last = evaluations.iter().rfind(|line| line["stage"] == stage).expect(stage);
        for name in ["evidence", "habit"] {
            assert!(last["report"]["measures"][name]["mean"].is_number(), "{stage}: {name}");
        }
    }
}
