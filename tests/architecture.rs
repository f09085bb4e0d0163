//! Holds the code to its dependency rules: `src/lib.rs` declares the modules in dependency order, each uses only those
//! above it, and the mathematics stays pure. Reads the sources as text; test code is left out.

#[path = "architecture/syntax.rs"]
mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syntax::{paths, without_literals, without_tests};

const PURE: [&str; 6] = ["statistics", "rationale", "text", "advantage", "loss", "select"];
const IMPURE: [&[&str]; 8] = [
    &["std", "fs"],
    &["std", "time"],
    &["std", "net"],
    &["std", "process"],
    &["std", "env"],
    &["rand"],
    &["rand_chacha"],
    &["tch", "Device"],
];
const IMPLEMENTATIONS: [&str; 3] = ["rollout", "reward", "loops"];
const VAGUE: [&str; 10] =
    ["util", "utils", "common", "manager", "managers", "handler", "handlers", "helper", "helpers", "misc"];
const LONGEST: usize = 400;

#[test]
fn modules_use_only_those_above_them() {
    assert_none(order(&Crate::read()));
}

#[test]
fn implementations_do_not_import_each_other() {
    assert_none(siblings(&Crate::read()));
}

#[test]
fn the_mathematics_is_pure() {
    assert_none(purity(&Crate::read()));
}

#[test]
fn a_method_never_sees_a_device() {
    assert_none(meeting_places(&Crate::read()));
}

#[test]
fn files_are_named_introduced_and_short() {
    assert_none(form(&Crate::read()));
}

fn assert_none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{} broken rules:\n  {}", violations.len(), violations.join("\n  "));
}

// --- The rules -----------------------------------------------------------------------------------------------------

/// A module uses only itself and modules declared above it.
fn order(code: &Crate) -> Vec<String> {
    let place = |module: &str| code.modules.iter().position(|m| m == module);
    code.each_use(|file, used| {
        let (own, name) = (file.module.first()?, used.first()?);
        let module = code.exports.get(name).unwrap_or(name);
        let Some(theirs) = place(module) else {
            return Some(format!("{}: crate::{name} is no module of lib.rs", file.path));
        };
        let Some(ours) = place(own) else {
            return Some(format!("{}: lib.rs does not declare {own}", file.path));
        };
        (theirs > ours).then(|| format!("{}: uses {module}, declared below {own} in lib.rs", file.path))
    })
}

/// Of its siblings, an implementation uses at most plain functions: a type that two share belongs in their mod.rs.
fn siblings(code: &Crate) -> Vec<String> {
    code.each_use(|file, used| {
        let [folder, own, ..] = &file.module[..] else { return None };
        let [used_folder, sibling, ..] = used else { return None };
        let implementation =
            IMPLEMENTATIONS.contains(&folder.as_str()) && used_folder == folder && sibling != own;
        let has_types = |f: &File| f.module[..] == [folder.clone(), sibling.clone()] && f.declares_a_type();
        (implementation && code.files.iter().any(has_types))
            .then(|| format!("{}: imports its sibling {folder}::{sibling}", file.path))
    })
}

/// Pure modules name no files, clocks, network, processes, randomness or devices.
fn purity(code: &Crate) -> Vec<String> {
    let mut violations = Vec::new();
    for file in code.files.iter().filter(|f| PURE.contains(&f.module[0].as_str())) {
        for path in paths(&file.code) {
            // `use tch::*` brings in tch::Device just as naming it does.
            let named = path.strip_suffix(&["*".to_string()]).unwrap_or(&path);
            let glob = named.len() < path.len();
            let impure =
                |i: &&&[&str]| named.iter().zip(**i).all(|(a, b)| a == b) && (glob || named.len() >= i.len());
            if let Some(impure) = IMPURE.iter().find(impure) {
                violations.push(format!(
                    "{}: {} is not pure: it names {}",
                    file.path,
                    file.module[0],
                    impure.join("::")
                ));
            }
        }
    }
    violations
}

/// Methods and devices meet in `run` alone; `recipe` only reads the sections of both.
fn meeting_places(code: &Crate) -> Vec<String> {
    let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in &code.files {
        let sees = seen.entry(&file.module[0]).or_default();
        sees.insert(file.module[0].clone());
        sees.extend(file.uses().into_iter().filter_map(|used| used.first().cloned()));
    }
    seen.into_iter()
        .filter(|(module, sees)| {
            !["run", "recipe"].contains(module) && ["loops", "devices"].iter().all(|m| sees.contains(*m))
        })
        .map(|(module, _)| format!("src/{module}: sees both loops and devices, as only run may"))
        .collect()
}

/// A file says what it is, is short enough to read, and has a name that means something.
fn form(code: &Crate) -> Vec<String> {
    let mut violations = Vec::new();
    for file in &code.files {
        if !file.text.starts_with("//!") {
            violations.push(format!("{}: does not open with //! and what it is", file.path));
        }
        let lines = file.text.lines().count();
        if lines > LONGEST {
            violations.push(format!("{}: {lines} lines, more than {LONGEST}", file.path));
        }
        if let Some(name) = file.module.iter().find(|name| VAGUE.contains(&name.as_str())) {
            violations.push(format!("{}: `{name}` says nothing of what is in it", file.path));
        }
    }
    violations
}

// --- The code as the rules see it ------------------------------------------------------------------------------------

struct Crate {
    /// In lib.rs's order.
    modules: Vec<String>,
    /// What lib.rs exports at the root, by the module that it is from.
    exports: BTreeMap<String, String>,
    /// All but lib.rs and main.rs.
    files: Vec<File>,
}

struct File {
    path: String,
    /// `src/rollout/tree.rs` is `[rollout, tree]`, `src/rollout/mod.rs` is `[rollout]`.
    module: Vec<String>,
    text: String,
    /// The text without comments, literals and test code.
    code: String,
}

impl Crate {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Vec::new();
        read_folder(root, &root.join("src"), &mut sources);
        assert!(sources.len() > 20, "the sources are not where this test looks for them");
        Self::of(sources.iter().map(|(path, text)| (path.as_str(), text.as_str())))
    }

    fn of<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut code = Self { modules: Vec::new(), exports: BTreeMap::new(), files: Vec::new() };
        for (path, text) in sources {
            match path {
                "src/main.rs" => {}
                "src/lib.rs" => code.read_root(text),
                _ => code.files.push(File::of(path, text)),
            }
        }
        code
    }

    fn read_root(&mut self, text: &str) {
        let text = without_tests(&without_literals(text));
        let words: Vec<&str> = text.split_whitespace().collect();
        let declared =
            words.windows(2).filter(|pair| pair[0] == "mod").filter_map(|pair| pair[1].strip_suffix(';'));
        self.modules = declared.map(String::from).collect();
        for path in paths(&text) {
            self.exports.insert(path[path.len() - 1].clone(), path[0].clone());
        }
    }

    fn each_use(&self, rule: impl Fn(&File, &[String]) -> Option<String>) -> Vec<String> {
        let of_file =
            |file| File::uses(file).into_iter().filter_map(|used| rule(file, &used)).collect::<BTreeSet<_>>();
        self.files.iter().flat_map(of_file).collect()
    }
}

impl File {
    fn of(path: &str, text: &str) -> Self {
        let inner = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let module = inner.split('/').map(String::from).collect();
        Self { path: path.into(), module, text: text.into(), code: without_tests(&without_literals(text)) }
    }

    /// The paths it uses of its own crate, from the root: `super::tree::Node` is `[rollout, tree, Node]`.
    fn uses(&self) -> Vec<Vec<String>> {
        paths(&self.code).into_iter().filter_map(|path| self.path_from_root(&path)).collect()
    }

    fn path_from_root(&self, path: &[String]) -> Option<Vec<String>> {
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        let base = match path[0].as_str() {
            "crate" => &[],
            "self" => &self.module[..],
            "super" => &self.module[..self.module.len().saturating_sub(ups)],
            _ => return None,
        };
        Some([base, &path[ups.max(1)..]].concat())
    }

    fn declares_a_type(&self) -> bool {
        let words: Vec<&str> = self.code.split_whitespace().collect();
        words
            .windows(2)
            .any(|pair| pair[0] == "pub" && ["struct", "enum", "trait", "type"].contains(&pair[1]))
    }
}

fn read_folder(root: &Path, folder: &Path, sources: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        // `#[cfg(test)] mod tests;` keeps its code in a file of that name.
        if path.is_dir() {
            read_folder(root, &path, sources);
        } else if path.extension().is_some_and(|e| e == "rs")
            && path.file_name().is_some_and(|n| n != "tests.rs")
        {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            sources.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

// --- Planted violations are found --------------------------------------------------------------------------------------

const ROOT: (&str, &str) = (
    "src/lib.rs",
    "//! x\npub mod error;\npub mod loss;\npub mod rollout;\npub mod devices;\npub mod loops;\npub mod recipe;\n\
     pub mod run;\npub use error::{Error, Result};\npub use run::cli;\n",
);

fn broken(rule: fn(&Crate) -> Vec<String>, path: &str, text: &str) -> usize {
    rule(&Crate::of([ROOT, ("src/rollout/tree.rs", "pub struct Tree;"), (path, text)])).len()
}

#[test]
fn a_use_of_a_module_below_is_found() {
    let above = "use crate::{Result, error::Error};\nfn f() -> crate::Result<()> { self::g() }";
    assert_eq!(broken(order, "src/rollout/mod.rs", above), 0);
    // One each: in a list, inline, by `super`, through a name that lib.rs exports from below.
    assert_eq!(
        broken(order, "src/rollout/mod.rs", "use crate::{\n    error::Error,\n    loops::Loop,\n};"),
        1
    );
    assert_eq!(broken(order, "src/rollout/mod.rs", "fn f() { crate::loops::go() }"), 1);
    assert_eq!(broken(order, "src/rollout/hint.rs", "use super::super::loops::Loop;"), 1);
    assert_eq!(broken(order, "src/rollout/mod.rs", "use super::loops::Loop;"), 1);
    assert_eq!(broken(order, "src/rollout/mod.rs", "use crate::cli;"), 1);
    // A folder that lib.rs does not know cannot stand in its order, and neither can a name.
    assert_eq!(broken(order, "src/odd/mod.rs", "use crate::error::Error;"), 1);
    assert_eq!(broken(order, "src/rollout/mod.rs", "use crate::odd::Error;"), 1);
}

#[test]
fn comments_literals_and_tests_are_not_code() {
    for harmless in [
        "// crate::loops\n/// [`crate::loops`]\n/* crate::loops */",
        "const A: &str = \"a \\\" crate::loops\"; const B: &str = r#\"\" crate::loops\"#;",
        "#[cfg(test)]\nmod tests {\n    use crate::loops::Loop;\n    fn f() { if true {} }\n}",
        "#[cfg(test)]\nuse crate::loops::Loop;",
    ] {
        assert_eq!(broken(order, "src/rollout/mod.rs", harmless), 0, "{harmless}");
        // The parser finds its way back: what comes after is code again.
        let then = format!(
            "{harmless}\nfn f<'a>(c: &'a char) -> bool {{ *c == '\"' || *c == '\\'' || crate::loops::g() }}"
        );
        assert_eq!(broken(order, "src/rollout/mod.rs", &then), 1, "{then}");
    }
}

#[test]
fn an_import_of_a_sibling_is_found() {
    assert_eq!(broken(siblings, "src/rollout/hint.rs", "use super::tree::Tree;"), 1);
    assert_eq!(broken(siblings, "src/rollout/hint.rs", "use crate::rollout::{Group, tree};"), 1);
    assert_eq!(broken(siblings, "src/rollout/hint/cut.rs", "use super::super::tree::Tree;"), 1);
    assert_eq!(broken(siblings, "src/rollout/hint.rs", "use super::{Group, Rollout};"), 0);
    assert_eq!(
        broken(siblings, "src/rollout/mod.rs", "pub mod tree; use tree::Tree; use self::tree::Node;"),
        0
    );
    // Plain functions are for all.
    let code = [("src/rollout/seeds.rs", "pub fn of() {}"), ("src/rollout/hint.rs", "use super::seeds::of;")];
    assert_eq!(siblings(&Crate::of(code)).len(), 0);
}

#[test]
fn an_impure_name_is_found() {
    for impure in
        ["use std::{f64, time::Instant};", "fn f() { std::fs::read(p) }", "use rand::Rng;", "use tch::*;"]
    {
        assert_eq!(broken(purity, "src/loss/kl.rs", impure), 1, "{impure}");
        assert_eq!(broken(purity, "src/rollout/hint.rs", impure), 0, "{impure}");
    }
    assert_eq!(broken(purity, "src/loss/kl.rs", "use tch::{Device, Tensor};"), 1);
    assert_eq!(
        broken(purity, "src/loss/kl.rs", "use tch::Tensor; use std::collections::*; use crate::error::*;"),
        0
    );
}

#[test]
fn a_meeting_of_loops_and_devices_is_found() {
    assert_eq!(broken(meeting_places, "src/loops/grpo.rs", "use crate::devices::Devices;"), 1);
    assert_eq!(
        broken(meeting_places, "src/rollout/hint.rs", "use crate::{devices, devices::Rank, loops};"),
        1
    );
    assert_eq!(broken(meeting_places, "src/run/mod.rs", "use crate::{devices, loops};"), 0);
}

#[test]
fn a_long_nameless_or_unexplained_file_is_found() {
    let with = |path, text: &str| form(&Crate::of([(path, text)])).len();
    assert_eq!(with("src/loss/kl.rs", &"//! x\n".repeat(LONGEST)), 0);
    assert_eq!(with("src/loss/kl.rs", &"//! x\n".repeat(LONGEST + 1)), 1);
    assert_eq!(with("src/loss/kl.rs", "fn f() {}"), 1);
    assert_eq!(with("src/loss/utils.rs", "//! x"), 1);
    assert_eq!(with("src/common/mod.rs", "//! x"), 1);
}
