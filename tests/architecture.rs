//! Holds the code to its dependency rules: `src/lib.rs` declares the modules in dependency order, each uses only those
//! above it, and the mathematics stays pure. Reads the sources as text; test code is left out.

#[path = "architecture/planted.rs"]
mod planted;
#[path = "architecture/syntax.rs"]
mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syntax::{attributes, paths, without_comments, without_literals, without_tests};

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
/// What the implementations of a folder have in common, and may all name. It names no implementation itself.
const SHARED: [(&str, &[&str]); 2] = [
    ("loops", &["alarms", "figures", "item", "method", "selection", "worker"]),
    ("rollout", &["closing", "independent", "leaves", "seeds", "source", "trace", "turns"]),
];
/// The open sections: who holds one knows it by its trait alone.
const OPEN: [&str; 2] = ["loops", "rollout"];
const BLIND: [&str; 2] = ["recipe", "run"];
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
fn a_method_knows_ranks_by_their_trait() {
    assert_none(ranks_by_trait(&Crate::read()));
}

#[test]
fn sections_hold_no_runtime_state() {
    assert_none(runtime_state(&Crate::read()));
}

#[test]
fn no_method_or_source_is_told_apart_by_who_runs_it() {
    let code = Crate::read();
    assert!(
        code.names().len() > 15,
        "the tables of methods and sources are not where this test looks: {:?}",
        code.names()
    );
    assert_none(open_sections(&code));
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

/// Of its siblings, an implementation uses at most plain functions and what is shared: a type of one belongs to it alone.
fn siblings(code: &Crate) -> Vec<String> {
    code.each_use(|file, used| {
        let [folder, own, ..] = &file.module[..] else { return None };
        let [used_folder, sibling, ..] = used else { return None };
        let implementation =
            IMPLEMENTATIONS.contains(&folder.as_str()) && used_folder == folder && sibling != own;
        if shared(folder, sibling) {
            return None;
        }
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

/// A method asks the ranks through the trait (and functions over it) that its worker has: which ones there are, and what
/// device its tensors lie on, is none of its business.
fn ranks_by_trait(code: &Crate) -> Vec<String> {
    let of_method = |file: &File| match &file.module[..] {
        [folder, member, ..] => folder == "loops" && !shared(folder, member),
        _ => false,
    };
    let is_type = |name: &String| name == "*" || name.starts_with(char::is_uppercase);
    let mut violations = Vec::new();
    for file in code.files.iter().filter(|file| of_method(file)) {
        let own = file.uses().into_iter().filter(|used| used[0] == "ranks" || used[0] == "devices");
        let own = own.filter(|used| {
            used[0] == "devices" || used.get(1).is_some_and(|name| is_type(name) && name != "Ranks")
        });
        let torch =
            |path: &Vec<String>| path[0] == "tch" && ["Device", "Cuda", "*"].contains(&path[1].as_str());
        let named = own.chain(paths(&file.code).into_iter().filter(torch)).collect::<BTreeSet<_>>();
        violations.extend(
            named.iter().map(|path| format!("{}: a method that names {}", file.path, path.join("::"))),
        );
    }
    violations
}

/// A section is what the recipe says and nothing else: a field that serde passes over is one that something else fills.
fn runtime_state(code: &Crate) -> Vec<String> {
    let skips = |attribute: &String| {
        let mut words = attribute.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| ["skip", "skip_deserializing", "skip_serializing"].contains(&word))
    };
    let of = |file: &File| attributes(&file.code, "serde").iter().filter(|found| skips(found)).count();
    let told = |file: &File| format!("{}: a field of a section that no recipe can say", file.path);
    code.files.iter().flat_map(|file| std::iter::repeat_n(told(file), of(file))).collect()
}

/// `recipe` and `run` name no method and no source: neither its module nor, to tell it from others, its name in recipes.
fn open_sections(code: &Crate) -> Vec<String> {
    let names = code.names();
    let mut violations = Vec::new();
    for file in code.files.iter().filter(|file| BLIND.contains(&file.module[0].as_str())) {
        for used in file.uses() {
            let [folder, member, ..] = &used[..] else { continue };
            let is_one = |f: &File| f.module.starts_with(&[folder.clone(), member.clone()]);
            if OPEN.contains(&folder.as_str()) && !shared(folder, member) && code.files.iter().any(is_one) {
                violations.push(format!("{}: names {folder}::{member}", file.path));
            }
        }
        for name in &names {
            let compared = [format!("\"{name}\" =>"), format!("\"{name}\" |"), format!("= \"{name}\"")];
            if compared.iter().any(|written| file.text_without_tests.contains(written)) {
                violations.push(format!(
                    "{}: asks whether it is `{name}`; a trait, a need or a row says what matters",
                    file.path
                ));
            }
        }
    }
    violations
}

fn shared(folder: &str, member: &str) -> bool {
    SHARED.iter().any(|(of, members)| *of == folder && members.contains(&member))
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
    /// The text without comments and test code.
    text_without_tests: String,
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

    /// What recipes call the methods and sources: the names in the tables of their folders.
    fn names(&self) -> Vec<String> {
        let tables = self
            .files
            .iter()
            .filter(|file| matches!(&file.module[..], [folder] if OPEN.contains(&folder.as_str())));
        let rows = |file: &File| {
            let rows = file.text_without_tests.split(".with::<").skip(1);
            rows.filter_map(|row| row.split('"').nth(1)).map(String::from).collect::<Vec<_>>()
        };
        tables.flat_map(rows).collect()
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
        let (code, uncommented) =
            (without_tests(&without_literals(text)), without_tests(&without_comments(text)));
        Self { path: path.into(), module, text: text.into(), text_without_tests: uncommented, code }
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
