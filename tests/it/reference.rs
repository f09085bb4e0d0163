//! What recipes and figures may be, as the program tells it: `train keys` and `metrics`, their pages, and the schema that editors read.

use crate::program::Program;
use rationale::Registry;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn keys(arguments: &[&str]) -> String {
    Program::new("").verb(&[&["keys"], arguments].concat()).success()
}

fn recipes() -> Vec<PathBuf> {
    let all = fs::read_dir(root().join("recipes")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect()
}

#[test]
fn the_pages_and_the_schema_are_what_the_program_says() {
    for (file, command) in [
        ("docs/keys.md", ["keys", "--markdown"]),
        ("recipes/schema.json", ["keys", "--schema"]),
        ("docs/metrics.md", ["metrics", "--markdown"]),
    ] {
        let written = fs::read_to_string(root().join(file)).unwrap_or_default();
        let said = Program::new("").verb(&command).success();
        assert!(written == said, "{file} is out of date: train {} > {file}", command.join(" "));
    }
}

#[test]
fn every_key_says_what_it_means() {
    let silent: Vec<String> = Registry::default()
        .keys()
        .into_iter()
        .filter(|key| key.meaning.is_empty())
        .map(|key| key.path)
        .collect();
    assert!(silent.is_empty(), "keys without a doc comment: {silent:?}");
}

#[test]
fn a_key_is_found_by_its_path_its_table_its_name_and_other_programs_names() {
    let one = keys(&["loop.grpo.kl.place"]);
    for part in ["default \"loss\"", "\"reward\": reward − β", "use_kl_in_reward"] {
        assert!(one.contains(part), "{part} is not in\n{one}");
    }
    let table = keys(&["optim"]);
    assert!(
        table.contains("optim.lr") && table.contains("optim.betas") && !table.contains("policy.sampling"),
        "{table}"
    );
    assert!(keys(&["num_generations"]).contains("rollout.group.size  whole number  default 8"));
    assert!(keys(&["mask_truncated_completions"]).contains("loop.grpo.truncated"));
    assert!(keys(&["warm-up"]).contains("optim.lr"));
    let said = Program::new("").verb(&["keys", "tempratures"]).code(2);
    assert!(
        said.contains("no key is named `tempratures`") && said.contains("did you mean `temperature`?"),
        "{said}"
    );
    // Of a reward, what all have in common is said with it.
    assert!(keys(&["reward.rouge"]).contains("reward.rouge.weight"));
}

#[test]
fn what_a_program_registers_has_keys_too() {
    let said = Program::of_example("extending", "").verb(&["keys", "reward.budget"]).success();
    for part in ["reward.budget.slope  number  default 1", "What a completion of twice the budget loses."] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let loops = Program::of_example("extending", "").verb(&["keys", "loop.awr.beta"]).success();
    assert!(loops.contains("The difference in reward"), "{loops}");
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&Registry::default().schema()).unwrap()
}

/// A recipe as the schema sees it.
fn json(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

#[test]
fn every_recipe_fits_the_schema_and_names_it() {
    let (validator, recipes) = (validator(), recipes());
    assert!(recipes.len() > 40);
    for path in recipes {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#:schema ./schema.json\n"), "{} names no schema", path.display());
        let recipe = json(&text);
        let wrong: Vec<String> =
            validator.iter_errors(&recipe).map(|error| format!("{}: {error}", error.instance_path)).collect();
        assert!(wrong.is_empty(), "{}:\n{}", path.display(), wrong.join("\n"));
    }
}

#[test]
fn what_the_program_refuses_does_not_fit_the_schema() {
    let validator = validator();
    let fits = |text: &str| validator.is_valid(&json(text));
    assert!(fits(
        "[optim]\nlr = 1e-3\n[loop.sft]\n[[stage]]\nname = \"a\"\nreward.answer = false\npolicy.model = \"@b\""
    ));
    assert!(fits("[reward.again]\nkind = \"length\"\nmax_tokens = 5\n[data]\ntrain = [\"a\", \"b\"]"));
    for wrong in [
        "[optim]\nlearning_rate = 1e-3",
        "[optim]\nlr = \"x\"",
        "[optim]\nlr = 1e99",
        "[run]\nsteps = -1",
        "[run]\nsteps = 1.5",
        "[optim]\nschedule = \"cosin\"",
        "[loop.grpoo]",
        "[loop.grpo]\nbeta = 0.1",
        "[loop.grpo.loss]\nkind = \"dapoo\"",
        "[reward.answer]\nweigth = 1",
        "[reward.again]\nkind = \"length\"\nmax_token = 5",
        "[sampling]\ntop_p = 0.5",
        "[[stage]]\nname = \"A b\"",
        "[[stage]]\nname = \"a\"\nlr = 1",
        "[data]\nprompts_per_step = 10000000",
        "[data]\nprompts_per_step = 0",
    ] {
        assert!(!fits(wrong), "it fits:\n{wrong}");
    }
}
