//! Runs `train` in a temporary folder. Each test file uses a part of this.

use rationale::log::described::described;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// What a line of `metrics.jsonl` says of where it stands.
const PLACE: [&str; 5] = ["stage", "round", "loop_round", "step", "time"];

/// A folder with a recipe in it.
pub struct Program {
    folder: TempDir,
    binary: PathBuf,
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
        Self { folder, binary: env!("CARGO_BIN_EXE_train").into() }
    }

    /// The same for the program of `examples/`.
    pub fn of_example(example: &str, recipe: &str) -> Self {
        // Cargo builds examples beside the tests' own folder.
        let tests = std::env::current_exe().unwrap();
        let binary = tests.parent().unwrap().parent().unwrap().join("examples").join(example);
        Self { binary, ..Self::new(recipe) }
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
        self.train_with(arguments, &[])
    }

    /// Runs another recipe of its folder to the end, into another folder.
    pub fn train_into(&self, recipe: &str, out: &Path, arguments: &[&str]) -> Ended {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.folder.path()).args(["--recipe", recipe, "--out"]).arg(out).args(arguments);
        Ended::of(&command.output().unwrap())
    }

    /// Runs to the end, with these variables in its environment.
    pub fn train_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        Ended::of(&self.command(arguments).envs(environment.iter().copied()).output().unwrap())
    }

    /// Runs a verb to its end.
    pub fn verb(&self, arguments: &[&str]) -> Ended {
        self.verb_with(arguments, &[])
    }

    /// The same, with these variables in its environment.
    pub fn verb_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        Ended::of(
            &self
                .command_of(arguments)
                .stdin(Stdio::null())
                .envs(environment.iter().copied())
                .output()
                .unwrap(),
        )
    }

    /// The program with these arguments and no others.
    pub fn command_of(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    /// Starts it, and comes back once `ready` says so; the process, whose standard error can be read.
    pub fn start(&self, arguments: &[&str], ready: impl Fn(&Self) -> bool) -> Child {
        let mut command = self.command(arguments);
        let piped = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        while !ready(self) {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was ready");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child
    }

    /// Starts it, sends the signal once `ready` says so, and waits for its end.
    pub fn signalled(&self, arguments: &[&str], signal: i32, ready: impl Fn(&Self) -> bool) -> Ended {
        let child = self.start(arguments, ready);
        // SAFETY: kill(2) touches no memory, and the child has not been waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
        let output = child.wait_with_output().unwrap();
        Ended { code: output.status.code(), said: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    /// Runs to the end, quietly, with `--set` before each of these.
    pub fn train_set(&self, sets: &[&str]) -> Ended {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        self.train(&std::iter::once("--quiet").chain(sets).collect::<Vec<_>>())
    }

    /// The lines of `metrics.jsonl`.
    ///
    /// # Panics
    /// Where a figure is none that docs/metrics.md describes, but for those of examples/extending.
    pub fn metrics(&self) -> Vec<Value> {
        let lines = lines(&self.out().join("metrics.jsonl"));
        let figures =
            lines.iter().filter_map(Value::as_object).flatten().filter(|(_, value)| !value.is_string());
        for (name, _) in
            figures.filter(|(name, _)| !PLACE.contains(&name.as_str()) && !name.starts_with("awr/"))
        {
            assert!(described(name).is_some(), "{name} has no row in log/described/");
        }
        lines
    }

    /// Those of a stage.
    pub fn of_stage(&self, stage: &str) -> Vec<Value> {
        self.metrics().into_iter().filter(|line| line["stage"] == stage).collect()
    }

    /// Those of its updates, which have a loss.
    pub fn steps(&self, stage: &str) -> Vec<Value> {
        self.of_stage(stage).into_iter().filter(|line| line["loss"].is_number()).collect()
    }

    /// The lines of `evaluations.jsonl`.
    pub fn evaluations(&self) -> Vec<Value> {
        lines(&self.out().join("evaluations.jsonl"))
    }

    /// The lines of a file of traces, named without its ending.
    pub fn traces(&self, name: &str) -> Vec<Value> {
        lines(&self.out().join(format!("traces/{name}.jsonl")))
    }

    /// The lines of all files of traces.
    pub fn all_traces(&self) -> Vec<Value> {
        let files = fs::read_dir(self.out().join("traces")).unwrap().map(|file| file.unwrap().path());
        files.flat_map(|path| lines(&path)).collect()
    }

    /// The run's folder whose name ends so.
    pub fn checkpoint(&self, ending: &str) -> PathBuf {
        let mut folders = fs::read_dir(self.out()).unwrap().map(|entry| entry.unwrap().path());
        let found = folders.find(|path| path.to_string_lossy().ends_with(ending));
        found.unwrap_or_else(|| panic!("no checkpoint {ending}"))
    }

    /// Takes a checkpoint away, as if the run had been killed before it.
    pub fn forget(&self, ending: &str) {
        fs::remove_dir_all(self.checkpoint(ending)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&[&["--recipe", "recipe.toml", "--out", "out"], arguments].concat())
    }
}

impl Ended {
    fn of(output: &Output) -> Self {
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Self { code: output.status.code(), said: said.concat() }
    }

    /// The exit code, if no signal ended it, and what was said.
    pub fn parts(self) -> (Option<i32>, String) {
        (self.code, self.said)
    }

    /// Asserts that a signal ended it.
    pub fn killed(self) {
        assert_eq!(self.code, None, "it said:\n{}", self.said);
    }

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

/// A reward of no weight that kills the run at its `nth` completion, and once only: it scores all when the run is resumed.
pub fn fatal(nth: usize) -> String {
    let program = format!(
        "n=0; while read -r _; do n=$((n + 1)); \
         if [ $n = {nth} ] && [ ! -e killed ]; then : > killed; kill -9 $PPID; fi; echo 0; done"
    );
    format!("{{kind=\"command\", weight=0.0, command=[\"sh\", \"-c\", {program:?}]}}")
}

/// The weights in a model's folder, of one file or of several, by name.
pub fn weights(folder: &Path) -> std::collections::BTreeMap<String, tch::Tensor> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of_model = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        ["model", "thoughts", "extractor"].iter().any(|of| name.starts_with(of))
            && name.ends_with(".safetensors")
    };
    files.filter(of_model).flat_map(|path| rationale::checkpoint::load_tensors(path).unwrap()).collect()
}

/// How far two lists of weights are apart at most: the norm of the difference over that of the first, of one of them.
pub fn apart(one: &Path, other: &Path) -> f64 {
    let (one, other) = (weights(one), weights(other));
    assert!(!one.is_empty() && one.keys().eq(other.keys()));
    let far = |(name, tensor): (&String, &tch::Tensor)| {
        let norm = tensor.norm().double_value(&[]).max(1e-9);
        (tensor - &other[name]).norm().double_value(&[]) / norm
    };
    one.iter().map(far).fold(0.0, f64::max)
}

/// The lines of a JSONL file that are whole.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split_inclusive('\n')
        .filter(|l| l.ends_with('\n'))
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

/// One JSON object a line.
pub fn rows(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// A list in a JSON object; nothing, where there is none.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// A number in a JSON object.
pub fn number(object: &Value, name: &str) -> f64 {
    object[name].as_f64().unwrap_or_else(|| panic!("{name} is not a number in {object}"))
}
