//! Recipes, and what a command line sets over them.

use super::mutate::Grammar;
use super::runner::{fuzz, refused};
use rationale::recipe::{Recipe, Stage, without_effect};
use rationale::{Error, Registry};
use std::path::Path;
use std::sync::LazyLock;

/// All recipes that come with the program.
fn shipped() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut recipes: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    recipes.sort();
    recipes.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn recipes() {
    fuzz("fuzz::recipes::recipes", Grammar::Text, shipped(), |bytes, _| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
        read(text, &[])
    });
}

/// What command lines set.
const SETS: [&str; 10] = [
    "optim.lr=1e-6",
    "run.steps = 7\nrun.rounds=2",
    "stage.dpo.loop.dpo.loss.beta=0.1",
    "stage.collect.rollout.group.size=3",
    "reward.length={max_tokens=5, buffer=2}",
    "data.train=[\"a.jsonl\", \"b.jsonl\"]",
    "policy.sampling.temperature=!",
    "select.pairs={kind=\"score_margin\"}",
    "stage.dpo.loop.dpo.loss!",
    "policy.model=HuggingFaceTB/SmolLM2-135M",
];

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn sets() {
    fuzz(
        "fuzz::recipes::sets",
        Grammar::Text,
        SETS.map(|set| set.as_bytes().to_vec()).to_vec(),
        |bytes, _| {
            let text = String::from_utf8_lossy(bytes);
            let sets: Vec<String> = text.lines().take(12).map(str::to_string).collect();
            read(include_str!("../../../recipes/iterative-dpo.toml"), &sets)
        },
    );
}

/// A recipe that is taken says the same once it is resolved.
fn read(text: &str, sets: &[String]) -> Result<(), String> {
    let resolved = match resolve(text, sets) {
        Ok(resolved) => resolved,
        Err(error @ Error::Recipe(_)) => {
            return refused(
                &error,
                &["recipe", "--set", "fuzzed.toml"],
                (text.to_string() + &sets.concat()).as_bytes(),
            );
        }
        Err(other) => return Err(format!("another kind of error: {other}")),
    };
    // What the command line set stands in comments.
    let body = |text: &str| {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_string).collect::<Vec<_>>()
    };
    let again =
        resolve(&resolved, &[]).map_err(|error| format!("what it resolves to is refused: {error}"))?;
    let (one, two) = (body(&resolved), body(&again));
    match one.iter().zip(&two).find(|(a, b)| a != b) {
        Some(lines) => Err(format!("resolved again it says something else: {lines:?}")),
        None if one.len() != two.len() => Err("resolved again it has another length".into()),
        None => Ok(()),
    }
}

fn resolve(text: &str, sets: &[String]) -> rationale::Result<String> {
    // Whether a recipe is taken hangs on nothing that was asked of the registry before.
    static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);
    let registry = &*REGISTRY;
    let recipe = Recipe::parse("fuzzed.toml", text, sets)?;
    let stages = Stage::read_all(&recipe, registry)?;
    without_effect(&recipe, &stages, registry);
    recipe.plan();
    let sections =
        stages.iter().map(|stage| stage.resolved(registry)).collect::<rationale::Result<Vec<_>>>()?;
    recipe.resolved_with_all_keys(&sections, registry)
}
