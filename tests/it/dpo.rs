//! `[loop.dpo]` as its user meets it: what it learns from, what it reports, and TRL's own figures over 20 steps.

use crate::program::{Program, number};
use crate::recipes::Tiny;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tch::Tensor;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

const MODEL: Tiny = Tiny { alphabet: None, hidden_size: 16, kv_heads: 1, context: Some(512), ..Tiny::SUMS };

/// Pairs in file order, four a step, on a model of a few thousand weights.
const ON_PAIRS: &str = r#"
[run]
steps = 5
[data]
train = "rows.jsonl"
prompts_per_step = 4
shuffle = false
template.chat = false
[optim]
lr = 1e-2
eps = 1e-4
[loop.dpo]
"#;

/// Rows of differing lengths; `chosen` and `rejected` begin alike.
fn pairs(count: usize) -> String {
    let row = |i: usize| {
        let (good, bad) = ("y".repeat(1 + i % 5), "n".repeat(1 + (i * 3) % 7));
        format!("{{\"prompt\":\"q{i}\",\"chosen\":\"so {good}\",\"rejected\":\"so {bad} {i}\"}}\n")
    };
    (0..count).map(row).collect()
}

/// The figures of each step of a run over `rows` with `more` in its recipe.
fn run(more: &str, rows: &str) -> Vec<Value> {
    let program = Program::new(&on_pairs(more));
    program.write("rows.jsonl", rows);
    program.train(&["--quiet"]).success();
    program.steps("dpo")
}

/// Pairs with `more` in the recipe.
fn on_pairs(more: &str) -> String {
    MODEL.recipe(&format!("{ON_PAIRS}{more}"))
}

fn close(found: &Value, expected: &Value, tolerance: f64) {
    for name in ["loss", "grad_norm", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"]
    {
        let (found, expected) = (number(found, name), number(expected, name));
        assert!(
            (found - expected).abs() <= tolerance * expected.abs().max(0.1),
            "{name}: {found}, {expected}"
        );
    }
}

fn all_close(found: &[Value], expected: &[Value], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).for_each(|(found, expected)| close(found, expected, tolerance));
}

#[test]
fn twenty_steps_follow_trl() {
    let trl: Value =
        serde_json::from_str(&fs::read_to_string(format!("{FIXTURES}/preference/trl/steps.json")).unwrap())
            .unwrap();
    for (case, loss) in
        [("sigmoid", "beta = 0.1"), ("ipo", "beta = 0.5\nkind = \"ipo\""), ("rpo", "beta = 0.3\nnll = 0.5")]
    {
        let recipe =
            ON_PAIRS.replace("steps = 5", "steps = 20").replace("lr = 1e-2\neps = 1e-4", "lr = 1e-3");
        let head = "[policy]\ndtype = \"f32\"\nmodel = \"model\"\n[devices]\npolicy = \"cpu\"\nthreads = 1\n";
        let program = Program::new(&format!("{head}{recipe}[loop.dpo.loss]\n{loss}\n"));
        copy(&program, "models/llama", &["config.json", "model.safetensors"]);
        copy(&program, "preference/trl", &["tokenizer.json", "tokenizer_config.json"]);
        program.write(
            "rows.jsonl",
            &fs::read_to_string(format!("{FIXTURES}/preference/trl/rows.jsonl")).unwrap(),
        );
        program.train(&["--quiet"]).success();
        let (found, expected) = (program.steps("dpo"), trl["steps"][case].as_array().unwrap());
        all_close(&found, expected, 1e-4);
        // At step 1 all rewards are 0 but for rounding.
        for (found, expected) in found.iter().zip(expected).skip(1) {
            assert_eq!(number(found, "rewards/accuracies"), number(expected, "rewards/accuracies"), "{case}");
        }
    }
}

/// Copies a fixture's files into the folder `model` beside the recipe.
fn copy(program: &Program, from: &str, names: &[&str]) {
    let model: PathBuf = program.out().with_file_name("model");
    fs::create_dir_all(&model).unwrap();
    for name in names {
        fs::copy(format!("{FIXTURES}/{from}/{name}"), model.join(name)).unwrap();
    }
}

#[test]
fn the_first_step_knows_no_preference_and_later_ones_learn_it() {
    let found = run("", &pairs(4));
    // The policy is its own reference: −log σ(0) = ln 2, and no reward.
    assert!((number(&found[0], "loss") - std::f64::consts::LN_2).abs() < 1e-6);
    assert_eq!(number(&found[0], "rewards/margins"), 0.0);
    assert!(number(&found[4], "loss") < 0.6 && number(&found[4], "rewards/margins") > 0.2, "{}", found[4]);
    for name in ["rewards/accuracies", "logps/chosen", "logps/rejected", "entropy", "pairs", "num_tokens"] {
        assert!(found[4][name].is_number(), "{name} is missing");
    }
}

/// Adam divides by the gradient's size, so that a gradient of rounding errors moves as far as any other; with this it
/// moves hardly, and runs that differ in roundings stay together.
const SMOOTH: [&str; 4] = ["--set", "optim.eps=1.0", "--set", "optim.lr=0.02"];

/// The same with arguments of the command line.
fn run_with(more: &str, rows: &str, arguments: &[&str]) -> Vec<Value> {
    let program = Program::new(&on_pairs(more));
    program.write("rows.jsonl", rows);
    program.train(&[&["--quiet"], arguments].concat()).success();
    program.steps("dpo")
}

#[test]
fn micro_batches_and_order_change_nothing() {
    let rows = pairs(20);
    for more in ["loss.nll = 0.5\nloss.average = true\n", "loss.kind = \"orpo\"\n", "loss.kind = \"kto\"\n"] {
        let whole = run_with(more, &rows, &SMOOTH);
        for tokens in ["1", "40", "90"] {
            let set = format!("optim.tokens_per_microbatch={tokens}");
            all_close(&run_with(more, &rows, &[&SMOOTH[..], &["--set", &set]].concat()), &whole, 1e-4);
        }
        if more.contains("kto") {
            // Which completions meet which prompts in KTO's baseline is a matter of order.
            continue;
        }
        // Each step's four rows the other way round.
        let lines: Vec<&str> = rows.lines().collect();
        let turned: Vec<&str> = lines.chunks(4).flat_map(|step| step.iter().rev().copied()).collect();
        all_close(&run_with(more, &turned.join("\n"), &SMOOTH), &whole, 1e-4);
    }
}

#[test]
fn a_shared_prefix_cancels_in_dpo_and_can_be_masked() {
    // Both completions begin with "so " after the same prompt: its tokens add the same to c and r.
    let rows = pairs(20);
    let masked = run_with("mask = \"shared_prefix\"\n", &rows, &SMOOTH);
    let whole = run_with("", &rows, &SMOOTH);
    assert_eq!((masked.len(), whole.len()), (5, 5));
    for (masked, whole) in masked.iter().zip(&whole) {
        for name in ["loss", "grad_norm", "rewards/margins"] {
            let (masked, whole) = (number(masked, name), number(whole, name));
            assert!((masked - whole).abs() < 1e-4 * whole.abs().max(0.1), "{name}: {masked}, {whole}");
        }
        assert!(number(masked, "logps/chosen") > number(whole, "logps/chosen") + 1.0);
    }
    // Averages are over fewer tokens, so there the mask matters.
    let first = |more: &str| number(&run(more, &rows)[0], "loss");
    let orpo = "loss.kind = \"orpo\"\n";
    assert!((first(&format!("{orpo}mask = \"shared_prefix\"\n")) - first(orpo)).abs() > 1e-3);
}

#[test]
fn precomputed_references_are_live_ones_and_survive_a_resume() {
    let rows = pairs(10);
    let live = run("", &rows);
    let program = Program::new(&on_pairs("precompute_reference = true\n[checkpoint]\nevery = 2\n"));
    program.write("rows.jsonl", &rows);
    program.train(&["--quiet"]).success();
    let found = program.steps("dpo");
    all_close(&found, &live, 1e-6);
    // Without the last checkpoint the run goes on from step 4, with what it kept.
    program.forget("step-000005");
    let kept = fs::read_dir(program.out().join("reference")).unwrap().next().unwrap().unwrap().path();
    let before = fs::metadata(&kept).unwrap().modified().unwrap();
    program.train(&["--quiet", "--resume"]).success();
    let resumed = program.steps("dpo");
    assert_eq!(resumed.len(), 5);
    assert_eq!(resumed[4]["loss"], found[4]["loss"]);
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), before, "it was scored again");
}

#[test]
fn under_lora_the_base_is_the_reference_and_a_moving_one_resumes() {
    let rows = pairs(20);
    let lora = run("[policy.lora]\nrank = 4\nalpha = 8.0\n", &rows);
    assert!((number(&lora[0], "loss") - std::f64::consts::LN_2).abs() < 1e-6);
    assert!(number(&lora[4], "rewards/margins") != 0.0);

    // A reference that follows has weights of its own: after step 2 it is the policy, adapters and all.
    let followed = run("reference.every = 2\n[policy.lora]\nrank = 4\nalpha = 8.0\n", &rows);
    assert!((number(&followed[1], "loss") - number(&lora[1], "loss")).abs() < 1e-5);
    let chosen = |steps: &[Value], step: usize| number(&steps[step], "rewards/chosen").abs();
    assert!(chosen(&followed, 2) < 1e-5 && chosen(&followed, 3) > 10.0 * chosen(&followed, 2));
    assert!(chosen(&lora, 2) > 1e-4, "{}", lora[2]);

    let program = Program::new(&on_pairs("reference.every = 2\n[checkpoint]\nevery = 3\n"));
    program.write("rows.jsonl", &rows);
    program.train(&["--quiet"]).success();
    let found = program.steps("dpo");
    // After step 2 the policy becomes the reference: step 3 starts from no reward, step 4 does not.
    assert_eq!(number(&found[2], "rewards/chosen"), 0.0);
    assert!(number(&found[3], "rewards/chosen") != 0.0);
    program.forget("step-000005");
    program.train(&["--quiet", "--resume"]).success();
    assert_eq!(program.steps("dpo")[3]["loss"], found[3]["loss"]);
}

/// All but DiscoPOP, whose loss falls on both sides of x = 0.
#[test]
fn every_kind_of_loss_trains() {
    let rows = pairs(4);
    for kind in [
        "ipo",
        "hinge",
        "ranking",
        "robust",
        "exo",
        "nca",
        "bco",
        "sppo",
        "apo_zero",
        "apo_down",
        "cpo",
        "simpo",
        "orpo",
        "kto",
        "apo_zero_unpaired",
    ] {
        let smoothing = if matches!(kind, "robust" | "exo") { "loss.label_smoothing = 0.1\n" } else { "" };
        let found = run(&format!("loss.kind = \"{kind}\"\n{smoothing}"), &rows);
        let margin = |step: &Value| number(step, "rewards/chosen") - number(step, "rewards/rejected");
        assert!(margin(&found[4]) > margin(&found[0]), "{kind}: {} then {}", found[0], found[4]);
    }
}

/// A prompt of 60 bytes is computed once for both sides, and what ends a sequence is not fed.
#[test]
fn what_is_computed_is_told_beside_what_is_learned_from() {
    let row = |prompt: &str| {
        let prompt = prompt.repeat(60);
        format!("{{\"prompt\":\"{prompt}\",\"chosen\":\"yes\",\"rejected\":\"no\"}}\n")
    };
    let first = &run("", &["a", "b", "c", "d"].map(row).concat())[0];
    assert_eq!(number(first, "num_tokens"), 4.0 * (2.0 * 60.0 + 4.0 + 3.0));
    assert_eq!(number(first, "computed_tokens"), 4.0 * (60.0 + 3.0 + 2.0));
}

#[test]
fn a_rationale_is_learned_beside_the_preference() {
    let with = |row: &str, i: usize| row.replace('}', &format!(",\"rationale\":\"because {i}\"}}"));
    let rows: Vec<String> = pairs(4).lines().enumerate().map(|(i, row)| with(row, i)).collect();
    let plain = run("", &rows.join("\n"));
    let both = run("loss.rationale = 0.1\n", &rows.join("\n"));
    // Step 1 has ln 2 from the preference, and the rest from the rationales, which training makes likelier.
    let first = number(&both[0], "loss") - number(&plain[0], "loss");
    let last =
        number(&both[4], "loss") - number(&both[4], "rewards/margins").mul_add(-0.5, std::f64::consts::LN_2);
    assert!(first > 1.0 && last < first, "{first} then {last}");
    assert_eq!(number(&plain[0], "num_tokens"), number(&run("", &pairs(4))[0], "num_tokens"));
}

/// Rows that an earlier stage writes are looked at when theirs opens.
#[test]
fn labels_of_one_class_that_an_earlier_stage_wrote_are_told() {
    let stages = "[run]\nsteps = 1\n[data]\ntrain = \"rows.jsonl\"\ntemplate.chat = false\n[[stage]]\nname = \"s\"\nloop.sft = {}\n\
        [[stage]]\nname = \"c\"\npolicy.model = \"@s\"\nrollout.dataset = {}\nreward.answer = {}\nloop.collect = {}\n\
        [[stage]]\nname = \"k\"\npolicy.model = \"@s\"\ndata.train = \"@c\"\nloop.dpo.loss.kind = \"kto\"\n";
    let program = Program::new(&Tiny::BYTES.recipe(stages));
    program.write("rows.jsonl", "{\"question\": \"q\", \"completion\": \"#### 1\", \"answer\": \"1\"}\n");
    let said = program.train(&[]).success();
    assert_eq!(said.matches("all 1 completions are labelled good").count(), 1, "{said}");
}

#[test]
fn labelled_completions_are_ktos() {
    let rows = "{\"prompt\":\"a\",\"completion\":\"yes\",\"label\":true}\n\
        {\"prompt\":\"b\",\"completion\":\"no\",\"label\":false}\n\
        {\"prompt\":\"c\",\"completion\":\"yes yes\",\"label\":true}\n\
        {\"prompt\":\"d\",\"completion\":\"no no no\",\"label\":false}\n";
    let found = run("loss.kind = \"kto\"\nloss.beta = 0.5\n", rows);
    // Policy and reference agree at first: 1 − σ(0).
    assert!((number(&found[0], "loss") - 0.5).abs() < 1e-6 && number(&found[0], "kl") == 0.0);
    assert!(number(&found[4], "rewards/chosen") > number(&found[4], "rewards/rejected"));

    let program = Program::new(&on_pairs(""));
    program.write("rows.jsonl", rows);
    let said = program.train(&[]).code(2);
    // All rows at once, by what is wrong with them.
    assert!(said.contains("4 problems in the data"), "{said}");
    assert!(said.contains("rows.jsonl:1: it has no `chosen` and `rejected`"), "{said}");
    assert!(said.contains("(so too rows.jsonl:2, rows.jsonl:3, rows.jsonl:4)"), "{said}");

    // What has nothing to be told apart from is said; rows of both classes are not.
    let one = rows.replace("false", "true");
    for (rows, told) in [(rows, false), (&one, true)] {
        let program = Program::new(&on_pairs("loss.kind = \"kto\"\n"));
        program.write("rows.jsonl", rows);
        // Before a start too, and once.
        for arguments in [&["--dry-run"][..], &[]] {
            let said = program.train(arguments).success();
            assert_eq!(
                said.matches("all 4 completions are labelled good").count(),
                usize::from(told),
                "{said}"
            );
        }
    }

    let blank = rows.replacen("true", "null", 1);
    let program = Program::new(&on_pairs("loss.kind = \"kto\"\n"));
    program.write("rows.jsonl", &blank);
    let said = program.train(&[]).code(2);
    assert!(said.contains("its `label` is missing or null: give true for a good completion"), "{said}");

    let mixed = rows.replacen("true", "\"good\"", 1).replacen("false", "3", 1);
    let program = Program::new(&on_pairs("loss.kind = \"kto\"\n"));
    program.write("rows.jsonl", &mixed);
    let said = program.train(&[]).code(2);
    assert!(said.contains("`label` must be true or false (or 1 or 0, yes or no), not \"good\""), "{said}");
    assert!(
        said.contains("rows.jsonl:2: `label` must be true or false (or 1 or 0, yes or no), not 3"),
        "{said}"
    );
}

/// A label's weight is a factor of its loss, and counts in what the step is divided by: of two rows with one loss the weights show in the
/// gradient, and a row of weight 0 teaches nothing.
#[test]
fn a_label_may_have_a_weight() {
    let row = |completion: &str, weight: f64| {
        format!("{{\"prompt\":\"a\",\"completion\":\"{completion}\",\"label\":true,\"weight\":{weight}}}\n")
    };
    let kto = "loss.kind = \"kto\"\nloss.beta = 0.5\n";
    let rewards = |rows: &str| number(run(kto, rows).last().unwrap(), "rewards/chosen");
    let (both, first) =
        (rewards(&(row("yes", 1.0) + &row("no", 1.0))), rewards(&(row("yes", 1.0) + &row("no", 0.0))));
    assert!((both - first).abs() > 1e-6, "{both} {first}");
    let program = Program::new(&on_pairs(kto));
    program.write("rows.jsonl", &row("yes", -1.0));
    assert!(program.train(&[]).code(2).contains("`weight` is -1, which would turn its `label` about"));
}

const SMALL: Tiny = Tiny { hidden_size: 16, layers: 1, context: Some(64), dtype: None, ..Tiny::SUMS };

/// Addition with a warm-up, traces of its rollouts, and preferences between them.
const ON_TRACES: &str = r##"
[run]
rounds = 2
[data]
prompts_per_step = 8
template.chat = false
[data.task.addition]
digits = [1]
train = 40
eval = 4
[policy.sampling]
max_new_tokens = 10
[select.pairs]
kind = "score_margin"
min_gap = 0.05
per_example = 2
[[stage]]
name = "collect"
run.steps = 2
policy.model = "@dpo"
[stage.rollout.group]
size = 4
[stage.reward.length]
max_tokens = 10
buffer = 9
[stage.loop.collect]
[[stage]]
name = "dpo"
run.steps = 3
policy.model = "@dpo"
data.train = "@collect"
[stage.loop.dpo]
[stage.checkpoint]
every = 1
keep_last = 0
"##;

#[test]
fn traces_become_pairs_round_after_round_and_resume_exactly() {
    let program = Program::new(&SMALL.recipe(ON_TRACES));
    program.train(&["--quiet"]).success();
    let found = program.steps("dpo");
    assert_eq!(found.len(), 6);
    for round in [1, 2] {
        let first = &found[3 * (round - 1)];
        assert_eq!(first["round"], round);
        // Each round's reference is the policy that it starts from.
        assert!((number(first, "loss") - std::f64::consts::LN_2).abs() < 1e-6, "{first}");
        let traces = program.traces(if round == 1 { "collect" } else { "collect-r2" });
        assert!(
            number(first, "pairs/built") > 0.0 && number(first, "pairs/built") <= traces.len() as f64 / 2.0
        );
    }
    // Round 2 goes on from its first step with round 1's result as reference, not with its own half-way point.
    for step in [2, 3] {
        program.forget(&format!("dpo-r2-step-00000{step}"));
    }
    program.train(&["--quiet", "--resume"]).success();
    let resumed = program.steps("dpo");
    assert_eq!(resumed.len(), 6);
    assert_eq!(resumed[5]["loss"], found[5]["loss"]);
}

#[test]
fn fresh_rollouts_become_pairs_in_each_step() {
    let recipe = SMALL.recipe(ON_TRACES);
    let recipe = recipe.split("[[stage]]").next().unwrap().replace("rounds = 2", "steps = 3");
    let program = Program::new(&format!(
        "{recipe}[rollout.group]\nsize = 4\n[reward.length]\nmax_tokens = 10\nbuffer = 9\n[loop.dpo]\nonline = true\n"
    ));
    program.train(&["--quiet"]).success();
    let found = program.steps("dpo");
    assert_eq!(found.len(), 3);
    assert_eq!(number(&found[0], "pairs"), number(&found[0], "pairs/built"));
    assert!(found[0]["pairs/dropped/below_gap"].is_number() && found[0]["rewards/length/mean"].is_number());
    let traces: Vec<_> = fs::read_dir(program.out().join("traces")).unwrap().collect();
    assert_eq!(traces.len(), 1);
}

#[test]
fn what_cannot_be_learned_from_is_said() {
    let program = Program::new(&on_pairs(""));
    program.write("rows.jsonl", "{\"prompt\":\"q\",\"completion\":\"c\"}\n");
    let said = program.train(&[]).code(2);
    assert!(said.contains("rows.jsonl:1: it has no `chosen` and `rejected`, and is no trace"), "{said}");

    for (more, expected) in [
        ("online = true\n[rollout.group]\nsize = 1\n", "a single completion of a question makes no pair"),
        ("online = true\nprecompute_reference = true\n", "loop.dpo.precompute_reference: fresh rollouts"),
        (
            "loss.kind = \"orpo\"\nreference.every = 2\n",
            "loop.dpo.reference: this kind of loss has no reference",
        ),
        ("loss.kind = \"ipo\"\nreward_margin = 1.0\n", "loop.dpo.reward_margin"),
    ] {
        let program = Program::new(&on_pairs(more));
        program.write("rows.jsonl", &pairs(4));
        let said = program.train(&[]).code(2);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_alarm_says_when_both_fall() {
    // Only the rejected side is pushed down, and the two are nearly the same text: both fall.
    let rows: String = (0..4)
        .map(|i| format!("{{\"prompt\":\"q{i}\",\"chosen\":\"aaaaaaaaaaaaaaaab\",\"rejected\":\"aaaaaaaaaaaaaaaaa\"}}\n"))
        .collect();
    let program = Program::new(&on_pairs("alarm_after = 4\nloss.kind = \"apo_down\"\n"));
    program.write("rows.jsonl", &rows);
    let said = program.train(&["--quiet", "--set", "run.steps=12"]).success();
    assert_eq!(said.matches("have both become less likely").count(), 1, "{said}");
}

/// Two adapters of one base write and judge in turns: two-digit numbers of 1 and 2, right where they end in the question's.
const FLOW: &str = r#"
[run]
steps = 12
[data]
train = "rows.jsonl"
prompts_per_step = 8
template.chat = false
format.answer = ["last_number"]
[policy.sampling]
max_new_tokens = 8
[policy.lora]
rank = 4
alpha = 8.0
[optim]
lr = 2e-2
[checkpoint]
every = 5
[loop.dpo]
online = true
[loop.dpo.flow]
chunk_tokens = 2
chunks = 3
question = "?"
yes = "y"
no = "n"
"#;

fn flow() -> String {
    Tiny { alphabet: Some("12 ?yn"), kv_heads: 1, context: Some(32), ..Tiny::BYTES }.recipe(FLOW)
}

#[test]
fn two_adapters_take_turns_and_survive_a_resume() {
    let rows: String = (0..16)
        .map(|i| format!("{{\"question\":\"{}\",\"answer\":\"{}\"}}\n", 1 + i % 2, 1 + i % 2))
        .collect();
    let program = Program::new(&flow());
    program.write("rows.jsonl", &rows);
    program.train(&["--quiet"]).success();
    let found = program.steps("dpo");
    let sum = |name: &str| found.iter().filter_map(|step| step[name].as_f64()).sum::<f64>();
    // Both learn, each node has one other way, and every way that is a pair is one of the two.
    assert!(sum("pairs/chunks") > 0.0 && sum("pairs/decisions") > 0.0, "{}", found[0]);
    assert_eq!(sum("pairs/built"), sum("pairs/chunks") + sum("pairs/decisions"));
    assert!((number(&found[0], "loss") - std::f64::consts::LN_2).abs() < 1e-6, "{}", found[0]);
    let chunks = number(&found[0], "flow/chunks");
    assert!((1.0..=3.0).contains(&chunks) && found[0]["flow/accuracy"].is_number());
    // The two are saved apart; neither is where it began (B = 0) nor like the other.
    let weights = |name: &str| {
        Tensor::read_safetensors(
            program.checkpoint("step-000012").join(name).join("adapter_model.safetensors"),
        )
    };
    let second = |name: &str| -> Vec<(String, Vec<f32>)> {
        let all = weights(name).unwrap().into_iter().filter(|(name, _)| name.contains("lora_B"));
        let mut all: Vec<_> = all.map(|(name, b)| (name, Vec::try_from(b.flatten(0, -1)).unwrap())).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    };
    let before = ["adapter", "adapter-judge"].map(second);
    for all in &before {
        assert!(all.len() == 7 && all.iter().all(|(_, b)| b.iter().any(|x| *x != 0.0)), "{all:?}");
    }
    assert!(before[0] != before[1]);
    // A run that is cut off goes on with both, to the same end.
    program.forget("step-000012");
    program.train(&["--quiet", "--resume"]).success();
    let resumed = program.steps("dpo");
    assert_eq!(
        (resumed.len(), &resumed.last().unwrap()["loss"]),
        (found.len(), &found.last().unwrap()["loss"])
    );
    assert_eq!(["adapter", "adapter-judge"].map(second), before);

    let masked = program.train(&["--set", "loop.dpo.mask=\"shared_prefix\"", "--overwrite"]).code(2);
    assert!(masked.contains("loop.dpo.flow: its pairs are chunks"), "{masked}");
    for section in ["rollout.group", "reward.answer", "select.pairs"] {
        let unread = Program::new(&format!("{}[{section}]\n", flow()));
        let said = unread.train(&["--dry-run"]).code(2);
        let name = section.split('.').next().unwrap();
        assert!(said.contains(&format!("reads no [{name}]; take it out")), "{section}: {said}");
    }
    // The plan names what it does, and what is resolved reads back.
    let said = program.train(&["--dry-run", "--overwrite"]).success();
    assert!(said.contains("at most 3 chunks of 2 tokens") && !said.contains("[rollout"), "{said}");
    let resolved = Program::new(&said);
    resolved.write("rows.jsonl", &rows);
    resolved.train(&["--dry-run"]).success();
    let alone = Program::new(&flow().replace("[policy.lora]\nrank = 4\nalpha = 8.0\n", ""));
    alone.write("rows.jsonl", &rows);
    let said = alone.train(&[]).code(2);
    assert!(said.contains("add [policy.lora]"), "{said}");
}

/// Rows that have nothing of what is asked for teach nothing: that is said, and where it is so of all, nothing trains.
#[test]
fn rows_that_teach_nothing_are_told() {
    let program = Program::new(&on_pairs("about = \"answers\"\n"));
    program.write("rows.jsonl", &pairs(4));
    let said = program.train(&[]).code(2);
    let lack = "loop.dpo.about = \"answers\" needs an answer of both completions, which";
    assert!(said.contains(&format!("{lack} 4 of 4 rows lack: examples rows:1, rows:2")), "{said}");
    assert!(!program.out().exists(), "nothing had begun");
    let answered = r##"{"prompt":"q","chosen":"so\n#### 5","rejected":"but no\n#### 6"}"##;
    program.write("rows.jsonl", &format!("{answered}\n{}", pairs(1)));
    let said = program.train(&[]).success();
    assert!(said.contains(&format!("{lack} 1 of 2 rows lack: example rows:2; they are left out")), "{said}");
}

/// A stage whose steps had nothing to learn ends well, and says so.
#[test]
fn a_stage_that_learned_nothing_says_so() {
    let recipe = MODEL.recipe(
        "[run]\nsteps = 1\n[data]\nprompts_per_step = 2\ntemplate.chat = false\n[data.task.addition]\ndigits = [1]\n\
         [policy.sampling]\nmax_new_tokens = 4\n[rollout.group]\nsize = 2\n[reward.format]\n[loop.dpo]\nonline = true\n",
    );
    let said = Program::new(&recipe).train(&[]).success();
    assert!(said.contains("no step of stage `dpo` had anything to learn"), "{said}");
    let learned = Program::new(&on_pairs(""));
    learned.write("rows.jsonl", &pairs(4));
    assert!(!learned.train(&[]).success().contains("had anything to learn"));
}
