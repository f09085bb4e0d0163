//! Tests that a machine lacks something for say so. Where RATIONALE_SKIPS names a file, as in the gate, a skip that the file does not
//! list is a failure.

use std::fs;
use std::path::Path;

/// Says that the test of this name is skipped. The caller returns.
///
/// # Panics
/// In the gate, where it is not allowed to be skipped.
pub fn skip(test: &str, reason: &str) {
    println!("skip: {reason}");
    if let Some(list) = std::env::var_os("RATIONALE_SKIPS") {
        let text = fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
        assert!(
            allowed(&text).any(|name| name == test),
            "{test} was skipped, which {} does not allow: {reason}",
            list.display()
        );
    }
}

/// A python with transformers, which RATIONALE_PYTHON names; without it the test of this name is skipped.
pub fn python_for(test: &str) -> Option<String> {
    let python = std::env::var("RATIONALE_PYTHON").ok();
    if python.is_none() {
        skip(test, "RATIONALE_PYTHON names no python with transformers");
    }
    python
}

/// One name a line; what follows a `#` is its reason.
fn allowed(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|name| !name.is_empty())
}

#[test]
fn a_list_is_names_with_reasons() {
    assert_eq!(allowed("# head\none # why\n\n two\n").collect::<Vec<_>>(), ["one", "two"]);
}

/// A name that no test skips by any more would allow nothing, or some day the wrong thing.
#[test]
fn every_skip_that_the_gate_allows_is_a_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let sources: String = fs::read_dir(folder.join("it"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let list = fs::read_to_string(folder.join("skips.txt")).unwrap();
    for name in allowed(&list) {
        assert!(sources.contains(&format!("fn {name}()")), "tests/skips.txt: there is no test {name}");
        assert!(sources.contains(&format!("\"{name}\"")), "tests/skips.txt: {name} never skips");
    }
}
