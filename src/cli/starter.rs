//! `train init --crate`: a crate that is a trainer with one more reward.

use crate::checkpoint::{free_folder, write_atomic, write_folder};
use crate::error::{Error, Result};
use crate::log::terminal::typed;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes the crate into `folder`, which is not there yet or empty; what to do next.
///
/// # Errors
/// A folder that has something in it; a source of this crate, or a libtorch, that is not found.
pub(super) fn write(folder: &Path, source: Option<&Path>) -> Result<String> {
    let folder = &free_folder(folder)?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fits = |name: &str| {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        plain && name.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    if !fits(&name) {
        return Err(Error::Recipe(format!(
            "{}: the folder's name is the crate's, of letters, digits, `-` and `_`",
            folder.display()
        )));
    }
    if let Some(what) = taken(&name) {
        return Err(Error::Recipe(format!(
            "{}: the folder's name is the crate's, and `{name}` is {what}; name another folder",
            folder.display()
        )));
    }
    let source = self::source(source)?;
    let (torch, profile) = (libtorch(&source)?, profile(&source)?);
    let filled = |text: &str| {
        let text = text.replace("NAME", &name).replace("SOURCE", &quoted(&source));
        text.replace("LIBTORCH_DIR", &quoted(&torch)).replace("PROFILE", &profile)
    };
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    write_folder(folder, |unfinished| {
        for (path, text) in FILES {
            let path = unfinished.join(path);
            let around = path.parent().expect("it lies in the folder");
            fs::create_dir_all(around).map_err(Error::io(around))?;
            write_atomic(&path, filled(text).as_bytes())?;
        }
        Ok(())
    })?;
    let (folder, into) = (folder.display(), typed(&folder.to_string_lossy()));
    Ok(format!(
        "{folder}: a trainer with the reward [reward.brevity] in src/main.rs\n\nNext (the first build takes about 5 minutes of two cores):\n  cd {into}\n  \
         cargo test --release\n  cargo run --release -- --recipe recipe.toml\n"
    ))
}

/// What a crate's name stands for already, where no crate can have it.
fn taken(name: &str) -> Option<&'static str> {
    let name = name.replace('-', "_");
    TAKEN.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(what, _)| *what)
}

const TAKEN: [(&str, &[&str]); 4] = [
    ("a word of Rust", &WORDS),
    ("a crate of Rust itself", &["std", "core", "alloc", "test", "proc_macro"]),
    ("a crate that it depends on", &["rationale", "anyhow", "serde", "serde_json", "tch"]),
    ("a folder of what Cargo builds", &["build", "deps", "examples", "incremental"]),
];

/// What is no name in Rust, now or later.
const WORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self",
    "static", "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// The source of this crate: as given, or where this program was built.
fn source(given: Option<&Path>) -> Result<PathBuf> {
    let path = given.unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR")));
    let there =
        fs::read_to_string(path.join("Cargo.toml")).is_ok_and(|text| text.contains("name = \"rationale\""));
    match path.canonicalize() {
        Ok(path) if there => Ok(path),
        _ => Err(Error::Recipe(format!(
            "{} is not the source of rationale; say where it is with --source DIR",
            path.display()
        ))),
    }
}

/// The libtorch that the source is built against, or that `LIBTORCH` names.
fn libtorch(source: &Path) -> Result<PathBuf> {
    let named = std::env::var_os("LIBTORCH").map(PathBuf::from);
    let found = [Some(source.join(".libtorch")), named].into_iter().flatten().find_map(|path| {
        let path = path.canonicalize().ok()?;
        path.join("lib/libtorch_cpu.so").exists().then_some(path)
    });
    found.ok_or_else(|| {
        Error::Recipe(format!(
            "there is no libtorch in {}/.libtorch; run `make setup` there, or export LIBTORCH=/path/to/libtorch",
            source.display()
        ))
    })
}

/// The release profile of the source, which a crate that depends on it does not inherit.
fn profile(source: &Path) -> Result<String> {
    let path = source.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let unreadable = |error: &dyn std::fmt::Display| Error::Recipe(format!("{}: {error}", path.display()));
    let manifest: toml::Table = toml::from_str(&text).map_err(|error| unreadable(&error))?;
    let mut release = manifest["profile"]["release"].clone();
    let own = toml::Table::from_iter([("opt-level".to_owned(), 1.into())]);
    if let Some(packages) = release.get_mut("package").and_then(toml::Value::as_table_mut) {
        packages.insert("rationale".to_owned(), own.into());
    }
    let profile = toml::Table::from_iter([("release".to_owned(), release)]);
    let whole = toml::Table::from_iter([("profile".to_owned(), profile.into())]);
    toml::to_string(&whole).map_err(|error| unreadable(&error))
}

/// A path as a TOML text.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.to_string_lossy().into_owned()).to_string()
}

const FILES: [(&str, &str); 7] = [
    ("Cargo.toml", CARGO),
    (".cargo/config.toml", CONFIG),
    ("build.rs", BUILD),
    ("src/main.rs", MAIN),
    ("recipe.toml", RECIPE),
    (".gitignore", "/target\n/checkpoints\n"),
    ("README.md", README),
];

const CARGO: &str = r#"[package]
name = "NAME"
version = "0.1.0"
edition = "2024"
publish = false

# README.md says how to take rationale from a repository or a registry. Methods, sources and tasks of one's own use the rest, in rationale's versions: tensors and errors pass between them.
[dependencies]
rationale = { path = SOURCE }
anyhow = "1"
serde = { version = "1", features = ["derive"] }
serde_json = "1"
tch = "0.24"

# As rationale itself is compiled: lightly, since the work is libtorch's, so that builds are quick.
PROFILE"#;

const CONFIG: &str = r#"# What is compiled against and what is linked: one libtorch, whatever the shell says.
[env]
LIBTORCH = { value = LIBTORCH_DIR, force = true }
LIBTORCH_INCLUDE = { value = LIBTORCH_DIR, force = true }
LIBTORCH_LIB = { value = LIBTORCH_DIR, force = true }
"#;

const BUILD: &str = r#"//! Lets the program find libtorch when it runs, CUDA included.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH_LIB");
    let lib = Path::new(&std::env::var("LIBTORCH_LIB").expect(".cargo/config.toml names it")).join("lib");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    if lib.join("libtorch_cuda.so").exists() {
        // No symbol of it is used by name, so the linker may drop it.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
    }
}
"#;

const MAIN: &str = r##"//! The trainer with a reward of our own: `cargo run --release -- --recipe recipe.toml`.

use rationale::Registry;
use rationale::rollout::{Group, Score};
use rationale::schemars::{self, JsonSchema};
use serde::Deserialize;

/// `[reward.brevity]`: prefers rationales of few steps.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Brevity {
    /// What each step costs.
    cost: f64,
}

impl Default for Brevity {
    fn default() -> Self {
        Self { cost: 0.1 }
    }
}

impl Brevity {
    /// The score of a rationale of so many steps; one without steps explains nothing.
    fn score(&self, steps: usize) -> f64 {
        if steps == 0 { -1.0 } else { -self.cost * steps as f64 }
    }
}

fn registry() -> Registry {
    Registry::default().reward("brevity", |brevity: Brevity| {
        Ok(move |group: &Group| {
            // Steps are ranges of bytes: `&group.rollouts[at].text[step.clone()]` is the text of one.
            let steps = |rationale: &rationale::rationale::Rationale| rationale.steps.len();
            let score = |at: usize| brevity.score(group.rollouts[at].rationale.as_ref().map_or(0, steps));
            Ok((0..group.rollouts.len()).map(|at| Score::from(score(at))).collect())
        })
    })
}

fn main() {
    std::process::exit(rationale::cli(registry()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rationale::recipe::{Recipe, Stage};

    #[test]
    fn fewer_steps_score_higher() {
        let brevity = Brevity::default();
        assert!(brevity.score(1) > brevity.score(2) && brevity.score(2) > brevity.score(0));
    }

    #[test]
    fn the_recipe_is_one_that_this_program_reads() {
        let recipe = Recipe::read("recipe.toml".as_ref(), &[]).unwrap();
        let stages = Stage::read_all(&recipe, &registry()).unwrap();
        assert!(stages[1].reward.contains_key("brevity"));
    }
}
"##;

const RECIPE: &str = r#"# A small new model learns sums, then is rewarded for right answers in few steps: a minute on a CPU.

[data]
prompts_per_step = 16
template.chat = false
template.user = "{{ question }}\n"
task.addition.digits = [1]
task.addition.train = 400
task.addition.eval = 40

[policy.init]
tokenizer = "characters"
alphabet = "0123456789+=:# \n"
hidden_size = 64
layers = 2
heads = 2
kv_heads = 2
context = 64

[policy.sampling]
max_new_tokens = 32

[eval]

[[stage]]
name = "warmup"
run.steps = 60
optim.lr = 3e-3
loop.sft = {}

[[stage]]
name = "rl"
run.steps = 10
policy.model = "@warmup"
optim.lr = 1e-4
reward.answer = {}
reward.brevity = { weight = 0.2, cost = 0.1 }
loop.grpo = {}
"#;

const README: &str = "# NAME

A trainer of rationales with rewards of its own; `[reward.brevity]` in `src/main.rs` is the first.

    cargo test --release
    cargo run --release -- --recipe recipe.toml
    cargo run --release -- keys reward.brevity

The first build compiles rationale too, which takes some minutes; later ones compile this crate alone. For a reward of another name change the type and
`registry()` in `src/main.rs`, the tests below them, and `[reward.NAME]` in `recipe.toml`.

Methods, sources, tasks and metrics are added in the same way: `docs/extending.md` of rationale has one of each.

## On other machines

`Cargo.toml` takes rationale from the path of its source, which is there on this machine alone. A repository or a registry that has it does as well:

    rationale = { git = \"https://example.org/rationale.git\", tag = \"v0.1.0\" }
    rationale = { version = \"0.1\", registry = \"ours\" }

Neither brings libtorch: `.cargo/config.toml` has the folder that is compiled against and linked. `make setup` in a checkout of rationale fetches one.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_called_what_no_other_is() {
        let home = tempfile::tempdir().unwrap();
        for (name, what) in [
            ("fn", "a word of Rust"),
            ("gen", "a word of Rust"),
            ("std", "a crate of Rust itself"),
            ("proc-macro", "a crate of Rust itself"),
            ("rationale", "a crate that it depends on"),
            ("serde-json", "a crate that it depends on"),
            ("tch", "a crate that it depends on"),
            ("build", "a folder of what Cargo builds"),
        ] {
            let refused = write(&home.path().join(name), None).unwrap_err();
            assert_eq!(refused.exit_code(), 2);
            assert!(refused.to_string().contains(&format!("`{name}` is {what}")), "{refused}");
            assert!(!home.path().join(name).exists());
        }
        assert!(["my-rewards", "rationale-2", "functions"].iter().all(|name| taken(name).is_none()));
        // All that the crate depends on.
        let manifest: toml::Table = CARGO.replace("SOURCE", "\"a\"").replace("PROFILE", "").parse().unwrap();
        let needed = manifest["dependencies"].as_table().unwrap();
        assert!(needed.keys().all(|name| taken(name) == Some("a crate that it depends on")), "{needed:?}");
    }
}
