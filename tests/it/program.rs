//! Runs `train` in a temporary folder. Each test file uses a part of this.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A recipe over `rows.jsonl`; `LOOP` stands for the loop's name.
pub const ON_ROWS: &str = r#"
[run]
steps = 1
[data]
train = "rows.jsonl"
prompts_per_step = 1
template.chat = false
[policy.init]
tokenizer = "bytes"
hidden_size = 16
layers = 1
heads = 2
kv_heads = 2
[devices]
policy = "cpu"
threads = 1
[loop.LOOP]
"#;

/// A model that learns some sums; stages that start from `@sft` stand behind it.
pub const SUMS: &str = r#"
[data]
prompts_per_step = 16
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1, 2]
train = 200
eval = 20
[policy]
dtype = "f32"
[policy.init]
tokenizer = "characters"
alphabet = "0123456789+=:# \n"
hidden_size = 32
layers = 2
heads = 2
kv_heads = 2
context = 96
[policy.sampling]
max_new_tokens = 40
[devices]
policy = "cpu"
threads = 1
[log]
tensorboard = false
[[stage]]
name = "sft"
run.steps = 120
[stage.loop.sft]
[stage.optim]
lr = 1e-2
schedule = "cosine"
"#;

/// A folder with a recipe in it.
pub struct Program {
    folder: TempDir,
}

/// What a run said (standard output and error together) and how it ended.
pub struct Ended {
    code: Option<i32>,
    said: String,
}

impl Program {
    /// A folder with this recipe.
    pub fn new(recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
        Self { folder }
    }

    /// Where its run goes.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Writes a file beside the recipe.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Runs to the end.
    pub fn train(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Ended { code: output.status.code(), said }
    }

    /// Starts it and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command
            .current_dir(self.folder.path())
            .args(["--recipe", "recipe.toml", "--out", "out"])
            .args(arguments);
        command
    }
}

impl Ended {
    /// Asserts exit code 0; what was said.
    pub fn success(self) -> String {
        self.code(0)
    }

    /// Asserts an exit code; what was said.
    pub fn code(self, expected: i32) -> String {
        assert_eq!(self.code, Some(expected), "it said:\n{}", self.said);
        self.said
    }
}

/// The lines of a JSONL file that are whole.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split_inclusive('\n')
        .filter(|l| l.ends_with('\n'))
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

/// A list in a JSON object; nothing, where there is none.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// A number in a JSON object.
pub fn number(object: &Value, name: &str) -> f64 {
    object[name].as_f64().unwrap_or_else(|| panic!("{name} is not a number in {object}"))
}
