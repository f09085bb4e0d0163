//! Tiny models and the recipes that many tests begin with.

use crate::program::Program;
use std::fs;
use std::path::{Path, PathBuf};

/// The head of a recipe: a new model of a few thousand weights on one thread of the CPU.
pub struct Tiny<'a> {
    /// A token a character of these; without them a token a byte.
    pub alphabet: Option<&'a str>,
    pub hidden_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    /// The longest sequence, where not the default.
    pub context: Option<usize>,
    /// The type of the weights, where not the default.
    pub dtype: Option<&'a str>,
    pub tensorboard: bool,
}

impl<'a> Tiny<'a> {
    /// A token a byte, one layer of 16.
    pub const BYTES: Tiny<'static> = Tiny {
        alphabet: None,
        hidden_size: 16,
        layers: 1,
        heads: 2,
        kv_heads: 2,
        context: None,
        dtype: Some("f32"),
        tensorboard: false,
    };

    /// The characters of `[data.task.addition]`, two layers of 32: learns one-digit sums in a hundred steps.
    pub const SUMS: Tiny<'static> = Tiny {
        alphabet: Some("0123456789+=:# \n"),
        hidden_size: 32,
        layers: 2,
        context: Some(96),
        ..Tiny::BYTES
    };

    /// This model's sections, then `rest`.
    pub fn recipe(&self, rest: &str) -> String {
        let [dtype, context] = [
            self.dtype.map(|dtype| format!("[policy]\ndtype = {dtype:?}\n")),
            self.context.map(|context| format!("context = {context}\n")),
        ]
        .map(Option::unwrap_or_default);
        format!(
            "{dtype}[policy.init]\n{}{context}[devices]\npolicy = \"cpu\"\nthreads = 1\n[log]\ntensorboard = {}\n{}",
            self.init(),
            self.tensorboard,
            rest.trim_start()
        )
    }

    fn init(&self) -> String {
        let tokens = match self.alphabet {
            Some(alphabet) => format!("tokenizer = \"characters\"\nalphabet = {alphabet:?}\n"),
            None => "tokenizer = \"bytes\"\n".to_string(),
        };
        let Self { hidden_size, layers, heads, kv_heads, .. } = self;
        format!(
            "{tokens}hidden_size = {hidden_size}\nlayers = {layers}\nheads = {heads}\nkv_heads = {kv_heads}\n"
        )
    }
}

/// What `recipes/NAME.toml` came to as it is, but for a model of a few thousand weights, eight rows a step and what `sets` say.
pub fn small(name: &str, sets: &[&str]) -> Program {
    let program = Program::new(&shipped(name));
    let tiny = [
        "policy.init.hidden_size=16",
        "policy.init.layers=1",
        "policy.init.heads=2",
        "policy.init.kv_heads=2",
        "devices.policy=cpu",
        "devices.threads=1",
        "data.prompts_per_step=8",
    ];
    program.train_set(&[&tiny[..], sets].concat()).success();
    program
}

/// One step of `[loop.METHOD]` on one row of `rows.jsonl`.
pub fn on_rows(method: &str) -> String {
    Tiny::BYTES.recipe(&format!(
        "[run]\nsteps = 1\n[data]\ntrain = \"rows.jsonl\"\nprompts_per_step = 1\ntemplate.chat = false\n[loop.{method}]\n"
    ))
}

/// The folder of one of the saved models of `tests/fixtures/models`; of all of them without a name.
pub fn saved_model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name)
}

/// A recipe that is shipped, as it stands in `recipes/`.
pub fn shipped(name: &str) -> String {
    fs::read_to_string(format!("{}/recipes/{name}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What a stage of a recipe that is shipped is rewarded by: the recipe's own `[reward]` with the stage's over it.
pub fn rewards_of(name: &str, stage: &str) -> toml::Table {
    let recipe: toml::Table = toml::from_str(&shipped(name)).unwrap();
    let stages = recipe["stage"].as_array().unwrap();
    let found = stages.iter().find(|of| of["name"].as_str() == Some(stage)).expect(stage);
    let table = |of: Option<&toml::Value>| of.and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let mut rewards = table(recipe.get("reward"));
    lay_over(&mut rewards, &table(found.get("reward")));
    rewards
}

/// Tables key by key; other values replace.
fn lay_over(base: &mut toml::Table, own: &toml::Table) {
    for (key, value) in own {
        if let (Some(toml::Value::Table(below)), toml::Value::Table(above)) = (base.get_mut(key), value) {
            lay_over(below, above);
            continue;
        }
        base.insert(key.clone(), value.clone());
    }
}

/// A model that learns some sums; the stages that start from `@sft` follow it, as [`after_sums`] writes them.
pub fn sums(stages: &str) -> String {
    Tiny::SUMS.recipe(&format!("{SUMS}{}", stages.trim_start()))
}

const SUMS: &str = r#"
[data]
prompts_per_step = 16
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1, 2]
train = 200
eval = 20
[policy.sampling]
max_new_tokens = 40
[[stage]]
name = "sft"
run.steps = 120
[stage.loop.sft]
[stage.optim]
lr = 1e-2
schedule = "cosine"
"#;

/// A stage that starts from what [`sums`] has learned: `rest` has its keys, then its tables.
pub fn after_sums(name: &str, steps: usize, rest: &str) -> String {
    format!("[[stage]]\nname = {name:?}\nrun.steps = {steps}\npolicy.model = \"@sft\"\n{rest}")
}

/// Additions of one digit in two stages, some steps each: `warmup`, supervised, and from its weights `rl`, whose method and rewards are `rest`.
/// `sections` are those of both. Seconds, not minutes, on a model of a few thousand weights.
pub fn warmed_up(sections: &str, [warmup, rl]: [usize; 2], rest: &str) -> String {
    format!(
        r#"
[data]
prompts_per_step = 4
template.chat = false
[data.task.addition]
digits = [1]
train = 40
eval = 6
[policy.sampling]
max_new_tokens = 12
{sections}[[stage]]
name = "warmup"
run.steps = {warmup}
[stage.loop.sft]
[stage.optim]
lr = 1e-3
[[stage]]
name = "rl"
run.steps = {rl}
[stage.policy]
model = "@warmup"
[stage.rollout.group]
size = 4
{rest}"#
    )
}

/// A stage that learns to think, with what else it says before its tables.
pub fn thinking(name: &str, keys: &str, [window, thought, positions]: [usize; 3]) -> String {
    format!(
        "[[stage]]\nname = {name:?}\n{keys}\n[stage.loop.think]\nwindow = {window}\nthought = {thought}\nahead = 2\n\
         positions = {positions}\n"
    )
}
