//! The page that a model's repository opens with: what it was made of, by which recipe, and what was measured.

use super::README;
use crate::checkpoint::{Saved, is_run};
use crate::data::Hub;
use crate::error::{Error, Result};
use crate::eval::Evaluation;
use crate::limited;
use crate::recipe::{Recipe, StageTable};
use crate::{report, run};
use std::path::Path;
use toml::Value;

/// The card of the model in `folder`, which was named `model` and goes to the repository `name`: its own README.md where it has one.
///
/// # Errors
/// Files of its run that cannot be read.
pub(super) fn of(folder: &Path, model: &str, name: &str) -> Result<String> {
    let own = folder.join(README);
    if own.is_file() {
        return limited::text(&own, limited::DESCRIPTION);
    }
    let made = Made::of(folder, model)?;
    let head = match &made.base {
        Some(Base::OfHub(base)) => format!("base_model: {base}\n"),
        _ => String::new(),
    };
    Ok(format!(
        "---\nlibrary_name: transformers\n{head}tags:\n- rationale\n---\n\n# {}\n\n{}",
        name.split('/').next_back().unwrap_or(name),
        made.words()
    ))
}

/// How a model came to be, as far as its folder says.
#[derive(Debug, Default)]
struct Made {
    base: Option<Base>,
    /// The recipe's name, the stage and its step.
    by: Option<(String, String, usize)>,
    /// Where held-out rows are from.
    held_out: Vec<String>,
    evaluation: Option<Evaluation>,
}

/// What it was made of.
#[derive(Debug, PartialEq)]
enum Base {
    OfHub(String),
    /// A folder, of which others are told its name alone.
    Folder(String),
    New,
}

impl Base {
    fn of(model: &str) -> Self {
        let (id, path) = (model.split('@').next().unwrap_or_default(), Path::new(model));
        let of_hub = Hub::names_model(model) && id.contains('/') && !path.is_dir();
        if of_hub && !Hub::from_env().lacks_folder(model) {
            return Self::OfHub(id.to_owned());
        }
        Self::Folder(plain(&last(path)))
    }
}

/// What the stage of this name began from, through those that it takes its model from.
fn base<'s>(stages: &'s [StageTable], mut name: &'s str) -> Option<Base> {
    fn model_of(stage: &StageTable) -> Option<&str> {
        at(&stage.table, "policy", "model")?.as_str()
    }
    // Rounds may take from each other.
    for _ in 0..stages.len() {
        match model_of(stages.iter().find(|stage| stage.name == name)?) {
            None => return Some(Base::New),
            Some(model) => match model.strip_prefix('@') {
                Some(earlier) => name = earlier,
                None => return Some(Base::of(model)),
            },
        }
    }
    stages.iter().filter_map(model_of).find(|model| !model.starts_with('@')).map(Base::of)
}

impl Made {
    fn of(folder: &Path, model: &str) -> Result<Self> {
        let saved = Saved::open(folder).ok();
        let whole = folder.canonicalize().map_err(Error::io(folder))?;
        let run = whole.parent().filter(|run| is_run(run));
        let (Some(saved), Some(run)) = (saved, run) else {
            let base = Hub::names_model(model).then(|| Base::of(model));
            let of_hub = base.filter(|base| matches!(base, Base::OfHub(_)));
            return Ok(Self { base: of_hub, ..Self::default() });
        };
        let progress = saved.state.progress;
        let mut made = Self::default();
        let mut named = last(run);
        if let Some(recipe) = run::recipe_of(run) {
            let recipe = Recipe::read(&recipe, &[])?;
            let stages = recipe.stages();
            made.base = base(stages, &progress.stage);
            if let Some(stage) = stages.iter().find(|stage| stage.name == progress.stage) {
                made.held_out = held_out(&stage.table);
                let of_recipe = at(&stage.table, "run", "name").and_then(Value::as_str);
                named = of_recipe.map_or(named, str::to_owned);
            }
        }
        let of_stage = |one: &Evaluation| (&one.stage, one.round) == (&progress.stage, progress.round);
        let before = |one: &Evaluation| of_stage(one) && one.step <= progress.step;
        made.evaluation = Evaluation::all(run)?.into_iter().rfind(before);
        made.by = Some((plain(&named), progress.stage, progress.step));
        Ok(made)
    }

    fn words(&self) -> String {
        let mut text = String::new();
        text += &match &self.base {
            Some(Base::OfHub(base)) => format!("Made of [{base}](https://huggingface.co/{base}).\n"),
            Some(Base::Folder(name)) => format!("Made of the model `{name}`.\n"),
            Some(Base::New) => "Trained from nothing.\n".to_owned(),
            None => String::new(),
        };
        if let Some((recipe, stage, step)) = &self.by {
            let version = env!("CARGO_PKG_VERSION");
            text += &format!(
                "Trained by rationale {version} with the recipe `{recipe}`, stage `{stage}`, {step} steps.\n"
            );
        }
        let Some(evaluation) = &self.evaluation else {
            return text + "\nNo evaluation of it is known.\n";
        };
        let [table, _] = report::tables(std::slice::from_ref(evaluation));
        let rows = match &self.held_out[..] {
            [] => String::new(),
            all => format!(", held-out rows of {}", all.join(", ")),
        };
        format!("{text}\n## Evaluation\n\nAt step {}{rows}.\n\n{table}", evaluation.step)
    }
}

/// A stage's key.
fn at<'a>(stage: &'a toml::Table, section: &str, key: &str) -> Option<&'a Value> {
    stage.get(section)?.get(key)
}

/// Where a stage's held-out rows are from: datasets of the hub and tasks by name, of files the name alone.
fn held_out(stage: &toml::Table) -> Vec<String> {
    let tasks = at(stage, "data", "task").and_then(Value::as_table).into_iter().flat_map(toml::Table::keys);
    let sources: Vec<&str> = match at(stage, "data", "eval") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let source = |source: &str| match source.strip_prefix("hub:") {
        Some(dataset) => plain(dataset),
        None => plain(&last(Path::new(source))),
    };
    let all = tasks.map(|task| plain(task)).chain(sources.into_iter().map(source));
    all.map(|name| format!("`{name}`")).collect()
}

/// The last part of a path.
fn last(path: &Path) -> String {
    path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

/// A name that stays what it is between the marks of code.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !c.is_control() && *c != '`').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_names_and_no_paths() {
        let stage: toml::Table = toml::from_str(
            "[data]\neval = ['hub:openai/gsm8k:main/test', '/home/me/secret/rows.jsonl']\n[data.task.addition]\ndigits = [1]\n",
        )
        .unwrap();
        assert_eq!(held_out(&stage), ["`addition`", "`openai/gsm8k:main/test`", "`rows.jsonl`"]);
        assert_eq!(Base::of("/home/me/models/x`y"), Base::Folder("xy".into()));
        assert_eq!(Base::of("Qwen/Qwen2.5-0.5B@main"), Base::OfHub("Qwen/Qwen2.5-0.5B".into()));
        assert_eq!(Base::of("checkpoints/mine"), Base::Folder("mine".into()));
    }

    #[test]
    fn a_card_says_what_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let card = of(folder.path(), "owner/base", "me/mine").unwrap();
        let head =
            "---\nlibrary_name: transformers\nbase_model: owner/base\ntags:\n- rationale\n---\n\n# mine\n\n";
        assert!(card.starts_with(head) && card.contains("No evaluation"), "{card}");
        let report = crate::eval::Report { questions: 4, accuracy: 0.75, ..Default::default() };
        let evaluation = Evaluation { stage: "rl".into(), round: 1, loop_round: None, step: 20, report };
        let made = Made {
            base: Some(Base::New),
            by: Some(("sums".into(), "rl".into(), 30)),
            held_out: vec!["`addition`".into()],
            evaluation: Some(evaluation),
        };
        let words = made.words();
        for part in [
            "from nothing",
            "recipe `sums`, stage `rl`, 30 steps",
            "At step 20, held-out rows of `addition`.",
        ] {
            assert!(words.contains(part), "{part} is not in\n{words}");
        }
        assert!(words.contains("| accuracy | 75.0 %"), "{words}");
        std::fs::write(folder.path().join(README), "# By hand\n").unwrap();
        assert_eq!(of(folder.path(), "owner/base", "me/mine").unwrap(), "# By hand\n");
    }
}
