//! Planted violations are found, and what is allowed is not called one.

use super::*;

const ROOT: (&str, &str) = (
    "src/lib.rs",
    "//! x\npub mod error;\npub mod loss;\npub mod rollout;\npub mod devices;\npub mod loops;\npub mod recipe;\n\
     pub mod run;\npub use error::{Error, Result};\npub use run::cli;\n",
);

fn broken(rule: fn(&Crate) -> Vec<String>, path: &str, text: &str) -> usize {
    broken_among(rule, &[(path, text)])
}

fn broken_among(rule: fn(&Crate) -> Vec<String>, files: &[(&str, &str)]) -> usize {
    let known = [ROOT, ("src/rollout/tree.rs", "pub struct Tree;")];
    rule(&Crate::of(known.into_iter().chain(files.iter().copied()))).len()
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
fn what_is_shared_is_for_all_and_names_none() {
    let found = |path, text| {
        broken_among(siblings, &[("src/rollout/source.rs", "pub trait Source {}"), (path, text)])
    };
    assert_eq!(found("src/rollout/hint.rs", "use super::source::Source;"), 0);
    assert_eq!(found("src/rollout/source.rs", "use super::tree::Tree;"), 1);
}

#[test]
fn a_method_that_knows_more_of_ranks_is_found() {
    for (path, text, expected) in [
        ("src/loops/grpo.rs", "use crate::ranks::{Ranks, gathered};", 0),
        ("src/loops/grpo.rs", "use crate::ranks::Single;", 1),
        ("src/loops/grpo/asked.rs", "fn f() { crate::devices::native_kind() }", 1),
        ("src/loops/grpo.rs", "use tch::{Device, Tensor};", 1),
        ("src/loops/worker.rs", "use crate::ranks::Single;", 0),
        ("src/run/train.rs", "use crate::ranks::Single;", 0),
    ] {
        assert_eq!(broken(ranks_by_trait, path, text), expected, "{path}: {text}");
    }
}

#[test]
fn state_in_a_section_is_found() {
    let of = |attribute: &str| {
        broken(
            runtime_state,
            "src/loops/grpo.rs",
            &format!("struct A {{\n    #[serde({attribute})]\n    a: B,\n}}"),
        )
    };
    assert_eq!(["skip", "default, skip", "skip_deserializing", "skip_serializing"].map(of), [1; 4]);
    assert_eq!(["default", "skip_serializing_if = \"Option::is_none\"", "rename = \"skip\""].map(of), [0; 3]);
}

#[test]
fn who_tells_methods_apart_is_found() {
    let table = (
        "src/rollout/mod.rs",
        "fn sources() { Kinds::empty().with::<tree::Tree>(\"tree\", |section| Arc::new(section)) }",
    );
    let found = |path, text| broken_among(open_sections, &[table, (path, text)]);
    for (text, expected) in [
        ("use crate::rollout::{Group, Source};", 0),
        ("use crate::rollout::tree::Tree;", 1),
        ("use crate::rollout::source::Traits;", 0),
        ("fn f() -> usize { match name { \"tree\" => 1, _ => 2 } }", 1),
        ("fn f() -> bool { name == \"tree\" }", 1),
        ("// name == \"tree\"\nconst A: &str = \"rollout.tree\"; const B: [&str; 1] = [\"tree\"];", 0),
    ] {
        assert_eq!(found("src/run/plan.rs", text), expected, "{text}");
        assert_eq!(found("src/rollout/hint.rs", text), 0, "{text}");
    }
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
