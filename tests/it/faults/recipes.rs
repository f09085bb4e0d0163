//! What is killed and starved: every loop, in runs of about a second on a model of a few thousand weights.

use crate::recipes::{Tiny, thinking};
use serde_json::json;

/// A recipe, the rows that it reads, and its name in messages.
#[derive(Clone)]
pub struct Tried {
    pub name: &'static str,
    pub recipe: String,
    pub rows: String,
}

const MODEL: Tiny = Tiny {
    alphabet: Some("0123456789+=:# \n<>answerlgthABCDxyz()."),
    hidden_size: 16,
    layers: 1,
    tensorboard: true,
    ..Tiny::SUMS
};

/// What a recipe's stages share.
#[derive(Default)]
struct Shared {
    dtype: Option<&'static str>,
    /// Whether there are two rounds, of which only the newest checkpoint is kept.
    rounds: bool,
    /// What is read in place of sums.
    rows: String,
    /// Seeds and keys of which there is a trial each.
    sweep: Option<(&'static str, &'static str)>,
}

impl Shared {
    fn with(self, name: &'static str, stages: &str) -> Tried {
        let Self { dtype, rounds, rows, sweep } = self;
        let (seed, sweep) = sweep.unwrap_or(("seed = 5", ""));
        let (rounds, kept) = if rounds { ("rounds = 2\n", "keep_last = 1\n") } else { ("", "") };
        let (file, task) = match rows.is_empty() {
            true => (
                "",
                "[data.task.addition]\ndigits = [1]\ntrain = 24\neval = 6\n[data.format]\nanswer = [\"last_number\"]\n",
            ),
            false => ("train = \"rows.jsonl\"\n", ""),
        };
        let rest = format!(
            "samples_every = 2\n[run]\n{seed}\n{rounds}[data]\nprompts_per_step = 4\n{file}\
             template.chat = false\ntemplate.user = \"{{{{ question }}}}\\n\"\n{task}\
             [policy.sampling]\nmax_new_tokens = 10\ntemperature = 1.4\n\
             [optim]\nlr = 1e-3\n[checkpoint]\nevery = 2\n{kept}{sweep}{}",
            stages.trim_start()
        );
        let model = Tiny { dtype: dtype.or(MODEL.dtype), ..MODEL };
        Tried { name, recipe: model.recipe(&rest), rows }
    }
}

/// A warm-up, GRPO with a curriculum, filters and a moving reference, and an evaluation of its own.
const POLICY_GRADIENT: &str = r#"
[eval]
by = "digits"
[[stage]]
name = "warm"
run.steps = 5
[stage.loop.sft]
[stage.eval]
every = 2
[[stage]]
name = "rl"
policy.model = "@warm"
run.steps = 5
[stage.loop.grpo]
kl.coefficient = 0.1
zero_variance = "drop"
curriculum = { pass_rate = [0.0, 1.0], outside = 0.1 }
[stage.select]
dedup = true
[stage.rollout.group]
size = 3
[stage.reward.answer]
[stage.reward.length]
max_tokens = 10
buffer = 8
[[stage]]
name = "held-out"
policy.model = "@rl"
[stage.loop.evaluate]
[stage.eval]
"#;

/// Pairs of the policy's own rationales, twice over, each round from the last one's result; only the newest checkpoint is kept.
const ITERATIVE: &str = r#"
[[stage]]
name = "collect"
policy.model = "@dpo"
run.steps = 3
[stage.rollout.group]
size = 4
[stage.reward.length]
max_tokens = 10
buffer = 8
[stage.loop.collect]
[stage.eval]
[[stage]]
name = "dpo"
policy.model = "@dpo"
data = { train = "@collect" }
run.steps = 4
[stage.select.pairs]
kind = "score_margin"
min_gap = 0.1
[stage.loop.dpo]
loss.nll = 1.0
"#;

/// Rounds of rationales that are sampled, hinted, kept and learned.
const BOOTSTRAPPED: &str = r#"
[[stage]]
name = "warm"
run.steps = 4
[stage.loop.sft]
[[stage]]
name = "star"
policy.model = "@warm"
run.steps = 3
[stage.rollout.hint]
size = 2
hint = "{{ question }} {{ answer }}\n"
[stage.reward.length]
max_tokens = 10
buffer = 8
[stage.select]
min_reward = -0.9
dedup = true
[stage.loop.star]
rounds = 2
questions = 9
chunk = 4
[stage.eval]
by = "digits"
"#;

/// Trees and cut rollouts, what is learned of them, and a reward model of their values.
const TREES: &str = r#"
[[stage]]
name = "tree"
run.steps = 2
[stage.rollout.tree]
depth = 2
branching = 2
[stage.reward.length]
max_tokens = 10
buffer = 8
[stage.loop.collect]
[[stage]]
name = "siblings"
data = { train = "@tree" }
run.steps = 3
[stage.select.pairs]
kind = "siblings"
min_gap = 0.01
[stage.loop.dpo]
mask = "shared_prefix"
[[stage]]
name = "prefix"
run.steps = 2
[stage.rollout.prefix]
size = 2
continuations = 2
[stage.reward.answer]
[stage.loop.collect]
[[stage]]
name = "shortest"
data = { train = "@prefix" }
run.steps = 2
[stage.select]
per_example = 1
[stage.loop.sft]
[[stage]]
name = "prm"
data.task.addition.faults.share = 0.5
run.steps = 3
[stage.loop.prm]
[stage.eval]
"#;

/// Rewards as tokens, preferences while sampling, and adapters that a second round goes on with.
const ADAPTED: &str = r#"
[[stage]]
name = "mario"
run.steps = 3
[stage.loop.mario]
sample_every = 2
sample_questions = 6
[stage.rollout.group]
size = 2
[stage.reward.length]
max_tokens = 10
buffer = 8
[[stage]]
name = "online"
policy.lora.rank = 2
run.steps = 3
[stage.loop.dpo]
online = true
loss.kind = "kto"
[stage.rollout.group]
size = 2
[stage.reward.length]
max_tokens = 10
buffer = 8
"#;

/// Two stages of which the second is swept, so that the first is shared by the trials of a seed.
const SWEPT: &str = r#"
[[stage]]
name = "warm"
run.steps = 3
[stage.loop.sft]
[[stage]]
name = "rl"
policy.model = "@warm"
run.steps = 3
[stage.loop.grpo]
[stage.rollout.group]
size = 2
[stage.reward.length]
max_tokens = 10
buffer = 8
[stage.eval]
every = 2
"#;

/// Questions and their counterfactuals, from a file.
const CONTRASTED: &str = r#"
[[stage]]
name = "contrast"
run.steps = 5
[stage.loop.contrast]
[[stage]]
name = "more"
policy.model = "@contrast"
policy.lora.rank = 2
run.steps = 4
[stage.loop.sft]
"#;

/// Rationales whose shortcuts an earlier selector says.
const EXTRACTED: &str = r#"
[[stage]]
name = "vanilla"
run.steps = 3
[stage.loop.extract]
mask = { kind = "gumbel", temperature = [1.0, 0.5] }
[[stage]]
name = "repaired"
policy.model = "@vanilla"
run.steps = 4
[stage.loop.extract]
mask.kind = "top_k"
plausible = 1.0
shortcut = 0.1
noise = 0.2
"#;

/// All of them.
pub fn all() -> Vec<Tried> {
    let once = Shared::default;
    let twice = || Shared { rounds: true, ..Shared::default() };
    let reading = thinking("thoughts", "run.steps = 4", [8, 4, 2]) + EXTRACTED;
    vec![
        once().with("policy-gradient", POLICY_GRADIENT),
        Shared { dtype: Some("bf16"), ..twice() }.with("iterative", ITERATIVE),
        once().with("bootstrapped", BOOTSTRAPPED),
        once().with("trees", TREES),
        twice().with("adapted", ADAPTED),
        Shared { rows: contrasted(), ..once() }.with("contrasted", CONTRASTED),
        Shared { rows: labelled(), ..once() }.with("reading", &reading),
    ]
}

/// The same of a run that has four trials, of two values and two seeds.
pub fn swept() -> Tried {
    let sweep = ("seeds = [3, 4]", "[sweep]\nstage.rl.optim.lr = [1e-3, 2e-3]\n");
    Shared { sweep: Some(sweep), ..Shared::default() }.with("swept", SWEPT)
}

/// Texts of four words whose label is the second one, which is marked.
fn labelled() -> String {
    let row = |n: usize| {
        let word = ["y", "n"][n % 2];
        let question = format!("{n} {word} {} A", 28 - n);
        let row =
            json!({"question": question, "answer": word, "completion": word, "spans": [[3, 3 + word.len()]]});
        format!("{row}\n")
    };
    (10..18).map(row).collect()
}

/// Cases of four options, each with a counterfactual that makes another option right.
fn contrasted() -> String {
    let row = |case: usize, right: char, of: Option<usize>| {
        let says = |option: char| format!("({option}) {}", if option == right { 'y' } else { 'n' });
        let mut row = json!({
            "id": format!("{case}{right}"), "question": format!("{case} {right}\n"), "choices": ["w", "x", "y", "z"],
            "rationale": "ABCD".chars().map(says).collect::<Vec<_>>().join("\n"), "answer": right.to_string(),
        });
        if let Some(of) = of {
            row["counterfactual_of"] = json!(format!("{of}A"));
        }
        format!("{row}\n")
    };
    (10..18).map(|case| row(case, 'A', None) + &row(case, ['B', 'C', 'D'][case % 3], Some(case))).collect()
}
