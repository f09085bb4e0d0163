//! One test a key: what it does to a step of a tiny run whose rewards stand in its rows, by figures that follow from the traces.

use crate::near::{far, near};
use crate::program::{Program, list, number, rows};
use crate::recipes::Tiny;
use rationale::checkpoint::load_tensors;
use rationale::log::JsonLines;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Two letters and an end of sequence: at two tokens, some completions are cut off and some are not.
const MODEL: Tiny = Tiny { alphabet: Some("ab"), context: Some(32), ..Tiny::BYTES };

const RECIPE: &str = r#"
[run]
steps = 1
[data]
train = "rows.jsonl"
prompts_per_step = 2
shuffle = false
template.chat = false
[policy.sampling]
max_new_tokens = 2
[rollout.group]
size = 6
[optim]
lr = 0.05
[loop.grpo]
"#;

/// Rewards that the rows name: a number for all completions of one, or `varied`, 1 and 0 in turns.
fn given() -> String {
    let program = "n=0; while read -r line; do n=$((n + 1)); given=${line##*gives???}; given=${given%%[!a-z0-9]*}; \
                   case $given in varied) echo $((n % 2));; *) echo $given;; esac; done";
    format!("[reward.given]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"{program}\"]\n")
}

/// The recipe with `keys` of `[loop.grpo]`, and a row for each of `gives`.
fn program(gives: &[&str], keys: &str) -> Program {
    let program = Program::new(&MODEL.recipe(&format!("{RECIPE}{keys}\n{}", given())));
    let row = |(at, gives): (usize, &&str)| json!({"id": format!("{gives}-{at}"), "question": "ab", "gives": gives, "role": format!("role {}", at / 2)});
    program.write("rows.jsonl", &rows(&gives.iter().enumerate().map(row).collect::<Vec<_>>()));
    program
}

/// What a run of it left: its traces, and the figures of its last step.
fn ran(program: &Program, sets: &[&str]) -> (Vec<Value>, Value) {
    program.train_set(sets).success();
    (program.traces("grpo"), program.metrics().pop().unwrap())
}

fn length(trace: &Value) -> f64 {
    list(trace, "completion_ids").len() as f64
}

fn cut_off(trace: &Value) -> bool {
    trace["stop"] == "length"
}

fn advantages(traces: &[Value]) -> Vec<f64> {
    traces.iter().map(|trace| number(trace, "advantage")).collect()
}

/// The loss of `dapo` where the policy is the one that sampled: −Σ A over all tokens, by their number.
fn surrogate<'a>(traces: impl IntoIterator<Item = &'a Value>) -> f64 {
    let (mut sum, mut tokens) = (0.0, 0.0);
    for trace in traces {
        sum -= number(trace, "advantage") * length(trace);
        tokens += length(trace);
    }
    sum / tokens
}

#[test]
fn groups_without_differences_stay_are_dropped_or_are_replaced() {
    let gives = ["1", "varied", "1", "1"];
    let (kept, figures) = ran(&program(&gives, ""), &[]);
    assert_eq!((kept.len(), &figures["groups_kept"]), (12, &Value::Null));
    assert_eq!(advantages(&kept[..6]), [0.0; 6], "all of the first question's rewards are 1");
    // 1 and 0 in turns, ½ from their mean, by the deviation √(6 · ¼ / 5) and 1e-4.
    let half = 0.5 / ((6.0_f64 * 0.25 / 5.0).sqrt() + 1e-4);
    let alternate = |traces: &[Value]| {
        advantages(traces).iter().enumerate().for_each(|(i, a)| near(*a, half * [1.0, -1.0][i % 2], 2e-5));
    };
    alternate(&kept[6..]);
    near(number(&figures, "loss"), surrogate(&kept), 2e-5);

    let learned_of = |traces: Vec<Value>| -> (Vec<Value>, Vec<Value>) {
        traces.into_iter().partition(|trace| trace["dropped"].is_null())
    };
    let (traces, figures) = ran(&program(&gives, "zero_variance = \"drop\""), &[]);
    assert_eq!((number(&figures, "groups_kept"), number(&figures, "updates")), (1.0, 1.0));
    let (learned, dropped) = learned_of(traces);
    assert!(learned.len() == 6 && learned.iter().all(|trace| trace["example"] == "varied-1"));
    assert!(dropped.len() == 6 && dropped.iter().all(|trace| trace["dropped"] == "zero_variance"));
    alternate(&learned);
    near(number(&figures, "loss"), surrogate(&learned), 2e-5);

    // The first two questions are replaced by two of those whose rewards differ.
    let gives = ["1", "1", "varied", "varied", "varied", "varied"];
    let resampled = program(&gives, "zero_variance = \"resample\"");
    let (traces, figures) = ran(&resampled, &[]);
    let (traces, dropped) = learned_of(traces);
    assert!(!dropped.is_empty() && dropped.iter().all(|trace| trace["advantage"].is_null()));
    assert_eq!((number(&figures, "groups_kept"), traces.len()), (2.0, 12));
    assert!((1.0..=4.0).contains(&number(&figures, "resamplings")), "{figures}");
    let examples: BTreeMap<String, usize> = traces.iter().fold(BTreeMap::new(), |mut all, trace| {
        *all.entry(trace["example"].to_string()).or_default() += 1;
        all
    });
    assert!(examples.keys().all(|id| id.contains("varied")), "{examples:?}");
    assert_eq!(examples.into_values().collect::<Vec<_>>(), [6, 6], "two questions, each once");
}

/// Of a step that learns from nothing, what was sampled is shown all the same: it says why.
#[test]
fn samples_are_shown_where_all_groups_are_dropped() {
    let said = program(&["1", "1"], "zero_variance = \"drop\"").train(&[]).success();
    assert!(said.contains("not trained on"), "{said}");
}

#[test]
fn resampling_ends_at_its_limit() {
    let program = program(&["1", "1", "1"], "zero_variance = \"resample\"\nresample_limit = 3");
    let said = program.train(&["--quiet"]).success();
    let told = "step 1: 0 of 2 groups have different rewards after 3 resamplings; going on with these";
    assert!(said.contains(told), "{said}");
    let figures = program.metrics().pop().unwrap();
    let found = ["groups_kept", "resamplings", "updates"].map(|name| number(&figures, name));
    assert_eq!(found, [0.0, 3.0, 0.0]);
}

#[test]
fn what_is_cut_off_is_masked() {
    let of = |keys: &str| ran(&program(&["varied", "varied"], keys), &["rollout.group.size=5"]);
    let (traces, figures) = of("");
    assert!(traces.iter().any(cut_off) && !traces.iter().all(cut_off), "both kinds, or this shows nothing");
    near(number(&figures, "loss"), surrogate(&traces), 2e-5);
    let (same, figures) = of("truncated = \"mask\"");
    assert_eq!(advantages(&same), advantages(&traces), "they count in the baseline");
    near(number(&figures, "loss"), surrogate(same.iter().filter(|trace| !cut_off(trace))), 2e-5);
    assert!((surrogate(&same) - number(&figures, "loss")).abs() > 0.1);
}

#[test]
fn what_is_cut_off_costs_its_reward() {
    let keys = "truncated_reward = -0.5\nadvantage.scale = \"none\"";
    let (traces, _) = ran(&program(&["varied", "1"], keys), &[]);
    assert!(traces.iter().any(cut_off));
    for group in traces.chunks(6) {
        let outcome = |trace: &Value| number(trace, "reward") - if cut_off(trace) { 0.5 } else { 0.0 };
        let mean = group.iter().map(outcome).sum::<f64>() / 6.0;
        group.iter().for_each(|trace| near(number(trace, "advantage"), outcome(trace) - mean, 2e-5));
    }
}

#[test]
fn minibatches_and_epochs_say_how_many_updates_a_step_makes() {
    let of = |minibatches: usize, epochs: usize, lr: &str| {
        let keys = format!("minibatches = {minibatches}\nepochs_per_batch = {epochs}");
        let program = program(&["varied", "varied", "varied"], &keys);
        ran(&program, &["data.prompts_per_step=3", &format!("optim.lr={lr}")])
    };
    // Of a policy that does not move, the updates' losses are parts of the same whole, which they are divided by.
    for (minibatches, epochs, updates) in [(1, 1, 1.0), (2, 1, 2.0), (8, 1, 3.0), (2, 3, 6.0)] {
        let (traces, figures) = of(minibatches, epochs, "0.0");
        assert_eq!(number(&figures, "updates"), updates);
        near(number(&figures, "loss"), surrogate(&traces), 2e-5);
        near(number(&figures, "ratio/max"), 1.0, 2e-5);
    }
    // One that moves has left the samples behind by the second update.
    let moved = |minibatches, epochs| number(&of(minibatches, epochs, "0.05").1, "ratio/max");
    near(moved(1, 1), 1.0, 2e-5);
    assert!(moved(1, 2) > 1.01 && moved(3, 1) > 1.01);
}

#[test]
fn the_entropy_bonus_is_a_term_of_the_loss() {
    for kind in ["dapo", "grpo", "dr_grpo"] {
        // Rewards that are all equal leave the bonus alone.
        let keys = format!("entropy_coefficient = 0.25\nloss.kind = \"{kind}\"");
        let (_, figures) = ran(&program(&["1", "1"], &keys), &[]);
        assert!(number(&figures, "entropy") > 0.5);
        near(number(&figures, "loss"), -0.25 * number(&figures, "entropy"), 2e-5);
    }
}

#[test]
fn a_divergence_is_taken_from_the_reward_or_added_to_the_loss() {
    let of = |place: &str| {
        let advantage = "advantage = { baseline = \"none\", scale = \"none\" }";
        let keys = format!("{advantage}\nkl.coefficient = 0.5\nkl.place = \"{place}\"");
        let program = program(&["varied", "varied", "varied", "varied"], &keys);
        let (traces, figures) = ran(&program, &["run.steps=2"]);
        let recipe = std::fs::read_to_string(program.out().join("recipe.toml")).unwrap();
        (traces.into_iter().filter(|trace| trace["step"] == 2).collect::<Vec<_>>(), figures, recipe)
    };
    let rewards = |traces: &[Value]| traces.iter().map(|trace| number(trace, "reward")).sum::<f64>();
    // Its estimator is k1, whose sum over a completion is taken off: over all of them, the mean of a token by their number.
    let (traces, figures, recipe) = of("reward");
    assert!(recipe.contains("estimator = \"k1\""), "{recipe}");
    let divergence = number(&figures, "kl") * traces.iter().map(length).sum::<f64>();
    assert!(divergence.abs() > 1e-2, "{divergence} shows nothing");
    let taken = rewards(&traces) - advantages(&traces).iter().sum::<f64>();
    assert!((taken - 0.5 * divergence).abs() < 1e-4, "{taken}, not half of {divergence}");
    near(number(&figures, "loss"), surrogate(&traces), 2e-5);

    let (traces, figures, recipe) = of("loss");
    assert!(recipe.contains("estimator = \"k3\""), "{recipe}");
    assert_eq!(advantages(&traces).iter().sum::<f64>(), rewards(&traces));
    assert!(number(&figures, "kl") > 1e-3);
    near(number(&figures, "loss"), surrogate(&traces) + 0.5 * number(&figures, "kl"), 2e-5);
}

#[test]
fn rollouts_are_compared_with_those_of_the_same_column() {
    let keys = "advantage = { compare_by = \"role\", scale = \"none\" }";
    let program = program(&["1", "0", "5", "1"], keys);
    let (traces, _) = ran(&program, &["data.prompts_per_step=4", "rollout.group.size=1"]);
    // Roles of the first two and of the last two: means ½ and 3.
    assert_eq!(advantages(&traces), [0.5, -0.5, 2.0, -2.0]);
}

#[test]
fn a_trees_baseline_is_the_mean_of_its_draws() {
    let tree = "[rollout.tree]\nat = \"tokens\"\nstep_tokens = 1\nbranching = 4\ndepth = 2\n";
    let recipe = RECIPE
        .replace("[rollout.group]\nsize = 6\n", tree)
        .replace("max_new_tokens = 2", "max_new_tokens = 4");
    let program = Program::new(&MODEL.recipe(&format!("{recipe}advantage.scale = \"none\"\n{}", given())));
    program.write(
        "rows.jsonl",
        &rows(&[json!({"question": "ab", "gives": "varied"}), json!({"question": "ba", "gives": "varied"})]),
    );
    program.train_set(&[]).success();
    let leaves = JsonLines::read(&program.out().join("traces/grpo.jsonl")).unwrap();
    let mut trees: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for leaf in &leaves {
        trees.entry(leaf["example"].to_string()).or_default().push(leaf);
    }
    // Each of the first two nodes of a way was drawn `copies` times of four; what follows is one path.
    let share = |leaf: &Value| -> f64 {
        list(leaf, "forks").iter().take(2).map(|fork| number(fork, "copies") / 4.0).product()
    };
    assert!(leaves.iter().any(|leaf| list(leaf, "forks").len() == 1), "no path ended at once");
    for tree in trees.values() {
        near(tree.iter().map(|leaf| share(leaf)).sum::<f64>(), 1.0, 2e-5);
        let mean: f64 = tree.iter().map(|leaf| share(leaf) * number(leaf, "reward")).sum();
        tree.iter().for_each(|leaf| near(number(leaf, "advantage"), number(leaf, "reward") - mean, 2e-5));
    }
}

#[test]
fn without_the_optimiser_a_run_does_not_resume() {
    let program = program(&["varied", "varied"], "");
    let sets = ["run.steps=2", "checkpoint.every=1", "checkpoint.save_optimizer=false"];
    program.train_set(&sets).success();
    program.forget("step-000002");
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let said = program.train(&["--quiet", "--resume"].into_iter().chain(sets).collect::<Vec<_>>()).code(2);
    let told = "step-000001: it was written with checkpoint.save_optimizer = false, so --resume cannot continue exactly; start a \
                new run with policy.model set to that folder";
    assert!(said.contains(told), "{said}");
}

#[test]
fn prompts_that_are_too_long_are_left_out() {
    let program = program(&[], "");
    let row = |question: &str| json!({"id": question, "question": question, "gives": "varied"});
    program.write("rows.jsonl", &rows(&["aa", "aaaaa", "bbb", "bbbb"].map(row)));
    let said = program.train(&["--quiet", "--set", "data.max_prompt_tokens=3"]).success();
    let told = "grpo: 2 of 4 rows are longer (their prompts) than data.max_prompt_tokens = 3 tokens: aaaaa, bbbb; they are left out";
    assert!(said.contains(told), "{said}");
    let asked: Vec<Value> =
        program.traces("grpo").iter().step_by(6).map(|t| t["prompt_ids"].clone()).collect();
    assert_eq!(asked, [json!([0, 0]), json!([1, 1, 1])]);
}

/// Without a beginning token there is nothing before a text's first token to tell it from: it is learned from its second on.
#[test]
fn a_text_alone_is_learned_from_its_second_token_on() {
    let recipe = "[run]\nsteps = 1\n[data]\ntrain = \"rows.jsonl\"\nprompts_per_step = 1\ntemplate.chat = false\n[loop.sft]\n";
    let program = Program::new(&Tiny::BYTES.recipe(recipe));
    program.write("rows.jsonl", &rows(&[json!({"text": "The sky is blue."})]));
    program.train_set(&[]).success();
    let step = &program.steps("sft")[0];
    assert!(number(step, "updates") == 1.0 && number(step, "loss").is_finite(), "{step}");
    // Of a single character, its end is learned.
    program.write("rows.jsonl", &rows(&[json!({"text": "T"})]));
    program.train(&["--quiet", "--overwrite"]).success();
    assert_eq!(number(&program.steps("sft")[0], "updates"), 1.0);
}

/// Held-out questions that are too long are said before anything trains, and each evaluation counts them.
#[test]
fn an_evaluation_counts_the_questions_that_it_leaves_out() {
    let recipe = "[run]\nsteps = 1\n[data]\ntrain = \"rows.jsonl\"\neval = \"asked.jsonl\"\nprompts_per_step = 1\ntemplate.chat = false\n\
        max_prompt_tokens = 8\n[policy.sampling]\nmax_new_tokens = 1\n[loop.sft]\n[eval]\nask = true\n";
    let program = Program::new(&Tiny::BYTES.recipe(recipe));
    let row = |question: &str| json!({"id": question, "question": question, "answer": "2"});
    program.write("rows.jsonl", &rows(&[row("1+1?")]));
    program.write("asked.jsonl", &rows(&["1+1?", "what is one and one?", "0+2?"].map(row)));
    let said = program.train(&[]).success();
    assert!(
        said.contains("1 of 3 held-out rows is longer") && said.contains("what is one and one?"),
        "{said}"
    );
    let counted: Vec<f64> =
        program.metrics().iter().filter_map(|line| line["eval/questions_too_long"].as_f64()).collect();
    assert!(!counted.is_empty() && counted.iter().all(|count| *count == 1.0), "{counted:?}");
    assert!(program.evaluations().iter().all(|evaluation| evaluation["report"]["questions"] == 2));
}

#[test]
fn solved_rows_come_from_a_file_of_their_own() {
    let recipe = "[run]\nsteps = 1\n[data]\ntrain = \"rows.jsonl\"\nprompts_per_step = 1\ntemplate = { chat = false, few_shot = 2, \
        few_shot_from = \"shots.jsonl\" }\n[policy.sampling]\nmax_new_tokens = 1\n[rollout.group]\nsize = 1\n[loop.collect]\n";
    let program = Program::new(&Tiny::BYTES.recipe(recipe));
    let row = |question: &str, answer: &str| json!({"question": question, "answer": answer});
    program.write("rows.jsonl", &rows(&[row("1+1?", "2")]));
    program.write("shots.jsonl", &rows(&[row("3+4?", "7"), row("2+6?", "8"), row("5+5?", "10")]));
    program.train_set(&[]).success();
    assert_eq!(program.traces("collect")[0]["prompt"], "3+4?7\n\n2+6?8\n\n1+1?");
}

#[test]
fn a_reference_follows_the_policy_by_its_mix() {
    let weights = |mix: &str| {
        let program = program(&["varied", "varied"], "kl.coefficient = 0.1\nreference.every = 1");
        ran(&program, &[&format!("loop.grpo.reference.mix={mix}")]);
        let folder = program.checkpoint("step-000001");
        ["reference/model.safetensors", "model.safetensors"]
            .map(|file| load_tensors(folder.join(file)).unwrap())
    };
    let ([start, policy], [mixed, same], [last, _]) = (weights("0.0"), weights("0.25"), weights("1.0"));
    let mut moved: f64 = 0.0;
    for (((start, policy), (mixed, same)), last) in
        start.iter().zip(&policy).zip(mixed.iter().zip(&same)).zip(&last)
    {
        assert!([&policy.0, &mixed.0, &same.0, &last.0].iter().all(|name| **name == start.0));
        assert_eq!((far(&policy.1, &same.1), far(&policy.1, &last.1)), (0.0, 0.0), "{}", start.0);
        assert!(far(&mixed.1, &(&start.1 * 0.75 + &policy.1 * 0.25)) < 1e-6, "{}", start.0);
        moved = moved.max(far(&start.1, &policy.1));
    }
    assert!(moved > 1e-2, "a policy that stays where it is shows nothing");
}

#[test]
fn a_reference_on_a_device_that_is_named_says_the_same() {
    let of = |sets: &[&str]| {
        let program = program(&["varied", "varied", "varied", "varied"], "kl.coefficient = 0.1");
        let (traces, figures) = ran(&program, &[&["run.steps=2"], sets].concat());
        (advantages(&traces), ["kl", "loss", "grad_norm"].map(|name| number(&figures, name)))
    };
    let (named, own) = (of(&["devices.reference=\"cpu\""]), of(&[]));
    assert!(own.1[0] > 1e-3);
    assert_eq!(named, own);
    let nowhere =
        program(&["varied"], "kl.coefficient = 0.1").train_set(&["devices.reference=\"cuda:99\""]).code(2);
    assert!(nowhere.contains("devices.reference = \"cuda:99\""), "{nowhere}");
}

#[test]
fn a_variable_says_how_much_is_told() {
    let said = |environment: &[(&str, &str)]| {
        let program = program(&["varied"], "");
        program.write(
            "rows.jsonl",
            &rows(&["a", "bbbb"].map(|text| json!({"question": text, "gives": "varied"}))),
        );
        program.train_with(&["--quiet", "--set", "data.max_prompt_tokens=3"], environment).success()
    };
    let told = "1 of 2 rows is longer (their prompts) than data.max_prompt_tokens = 3 tokens";
    assert!(said(&[]).contains(told));
    assert!(!said(&[("RATIONALE_LOG", "error")]).contains(told));
    // What is no filter is as if it were not there.
    assert!(said(&[("RATIONALE_LOG", "=,=")]).contains(told));
}
