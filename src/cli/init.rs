//! `train init`: a recipe for rows of one's own, or a crate for rewards of one's own.

mod columns;

use super::starter;
use super::verb::Verb;
use crate::checkpoint::{Saved, no_such_folder, write_atomic};
use crate::data::called::{is_solution, renamed};
use crate::data::renaming::Renaming;
use crate::data::row::Problems;
use crate::data::{Hub, Sources, Split, Tokenizer};
use crate::error::{Error, Result};
use crate::log::terminal::{say, tell, typed};
use crate::recipe::{Recipe, Registry, Stage};
use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, ValueEnum};
use columns::{unknown, unread};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

/// Write a recipe for rows of your own, or a crate for rewards of your own.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// Training rows: a .jsonl, .csv or .parquet file (.gz and .zst too), a folder of such, or hub:owner/name. Asked for where it is not given.
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Held-out rows, to measure accuracy by.
    #[arg(long, value_name = "FILE")]
    held_out: Option<String>,
    /// The model to begin with: a folder or a hub id.
    #[arg(long, default_value = MODEL, value_parser = NonEmptyStringValueParser::new())]
    model: String,
    /// How it learns [default: by the columns of the first row].
    #[arg(long)]
    method: Option<Method>,
    /// The recipe to write.
    #[arg(long, value_name = "FILE", default_value = "recipe.toml")]
    out: PathBuf,
    /// Write a crate with a reward, a recipe and a test into this folder, in place of a recipe alone.
    #[arg(long = "crate", value_name = "DIR")]
    #[arg(conflicts_with_all = ["data", "held_out", "method", "model", "out"])]
    folder: Option<PathBuf>,
    /// With --crate: where the source of rationale is [default: where this program was built].
    #[arg(long, value_name = "DIR", requires = "folder")]
    source: Option<PathBuf>,
}

/// By which a schema of recipes is known.
const TITLE: &str = "A recipe of rationale";

const MODEL: &str = "HuggingFaceTB/SmolLM2-135M-Instruct";

const EXAMPLES: &str = "Examples:
  train init --data train.jsonl --held-out test.jsonl
  train init --data pairs.jsonl --method dpo --out dpo.toml
  train init --crate my-rewards";

/// What the recipe does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Learn the rows' rationales.
    Sft,
    /// Reinforcement learning on answers.
    Grpo,
    /// The rows' rationales first, then reinforcement learning on answers.
    SftGrpo,
    /// Learn from pairs: `chosen` and `rejected`.
    Dpo,
    /// Learn from completions that are good or bad: `label`.
    Kto,
    /// Rationales bootstrapped from answers alone.
    Star,
    /// A reward model of steps.
    Prm,
}

impl Verb for Init {
    fn run(self, registry: &Registry) -> Result<()> {
        if let Some(folder) = &self.folder {
            let told = starter::write(folder, self.source.as_deref())?;
            return tell(&told).map_err(Error::io("standard output"));
        }
        if self.out.exists() {
            let out = self.out.display();
            return Err(Error::Recipe(format!("{out} is there already; name another file with --out")));
        }
        let data = match &self.data {
            Some(data) => data.clone(),
            None => ask("training rows (a .jsonl, .csv or .parquet file, a folder, or hub:owner/name)")?,
        };
        let row = first_row(Path::new(&data), Split::Train)?;
        if let Some(held_out) = &self.held_out {
            first_row(Path::new(held_out), Split::Eval)?;
        }
        if Hub::from_env().lacks_folder(&self.model) {
            return Err(no_such_folder(Path::new(&self.model)));
        }
        let method = match (self.method, &row) {
            (Some(method), _) => method,
            (None, Some(row)) => guess(row).ok_or_else(|| unknown(&data, row))?,
            (None, None) => Method::SftGrpo,
        };
        if let Some(row) = &row {
            fits(&data, row, method)?;
        }
        let plain = lacks_template(&self.model);
        if plain && row.as_ref().is_some_and(has_turns) {
            let model = &self.model;
            return Err(Error::Model(format!(
                "{model} has no chat template, which the conversations of {data} need; name another --model"
            )));
        }
        let renamed = renamed(row.as_ref());
        let schema = self.out.with_file_name("schema.json");
        let ours = !schema.exists() || fs::read_to_string(&schema).is_ok_and(|text| text.contains(TITLE));
        let template = if plain { plain_text(row.as_ref(), &renamed) } else { "" };
        let text = recipe(&data, self.held_out.as_deref(), (&self.model, template), method, &renamed);
        let text = if ours { format!("#:schema ./schema.json\n{text}") } else { text };
        let shown = self.out.display().to_string();
        let read = Recipe::parse(&shown, &text, &[])?;
        Stage::read_all(&read, registry)?;
        if ours {
            let schema_text = serde_json::to_string_pretty(&registry.schema()).expect("a schema is JSON");
            write_atomic(&schema, format!("{schema_text}\n").as_bytes())?;
        }
        write_atomic(&self.out, text.as_bytes())?;
        let unread = row.as_ref().map_or(String::new(), |row| unread(row, &renamed));
        let told = format!(
            "{shown}: {} on {data}\n{unread}\nNext:\n  train preview --recipe {out}\n  train --recipe {out} --dry-run\n  train --recipe {out}\n",
            name(method),
            out = typed(&shown)
        );
        tell(&told).map_err(Error::io("standard output"))
    }
}

fn ask(what: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::Recipe(format!("--data is missing: {what}")));
    }
    say(&format!("{what}:"));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Error::io("standard input"))?;
    match line.trim() {
        "" => Err(Error::Recipe(format!("--data is missing: {what}"))),
        line => Ok(line.to_owned()),
    }
}

/// The first row; none of a data set of the hub.
fn first_row(path: &Path, split: Split) -> Result<Option<Map<String, Value>>> {
    let named = path.to_string_lossy();
    if named.starts_with("hub:") {
        return Ok(None);
    }
    if !path.exists() {
        return Err(Error::Data(format!("{named}: there is no such file")));
    }
    let (hub, mut problems) = (Hub::from_env().at_rest(), Problems::default());
    let mut renaming = Renaming::new(&BTreeMap::new());
    let rows = Sources(vec![named.into_owned()]).read(split, &hub, &mut renaming, 1, &mut problems)?;
    problems.into_result()?;
    let row = rows.into_iter().next();
    row.map(|row| Some(row.fields)).ok_or_else(|| Error::Data(format!("{} has no rows", path.display())))
}

/// Refuses rows that lack what a method learns from: each of some columns, or any of others.
fn fits(data: &str, row: &Map<String, Value>, method: Method) -> Result<()> {
    let renamed = renamed(Some(row));
    let has = |name: &&str| row.contains_key(*name) || renamed.iter().any(|(ours, _)| ours == name);
    let (each, any): (&[&str], &[&str]) = match method {
        Method::Sft => (&[], &["rationale", "completion", "messages", "text", "answer"]),
        Method::Grpo | Method::SftGrpo | Method::Star => (&["answer"], &[]),
        Method::Dpo => (&["chosen", "rejected"], &[]),
        Method::Kto => (&["completion", "label"], &[]),
        Method::Prm => {
            (&[], &["step_labels", "ratings", "first_error", "labels", "step_scores", "scores", "cuts"])
        }
    };
    let lacks: Vec<&str> = each.iter().copied().filter(|name| !has(name)).collect();
    let wanted = match (lacks.is_empty(), any.is_empty() || any.iter().any(has)) {
        (true, true) => return Ok(()),
        (false, _) => lacks.join(" and "),
        (true, false) => format!("any of {}", any.join(", ")),
    };
    let names = row.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(Error::Data(format!(
        "{data}: --method {} needs {wanted}, and the first row has {names}; rename the columns, or take another method",
        name(method)
    )))
}

/// Whether a row is a conversation.
fn has_turns(row: &Map<String, Value>) -> bool {
    ["messages", "prompt", "chosen"].iter().any(|name| row.get(*name).is_some_and(Value::is_array))
}

/// Whether a model that is on this machine, a run's newest too, has no chat template.
fn lacks_template(model: &str) -> bool {
    let newest = Saved::newest_model(model).ok().flatten().map(|saved| saved.path);
    let folder = newest.or_else(|| Hub::from_env().at_hand(model));
    folder.is_some_and(|folder| Tokenizer::load(&folder).is_ok_and(|tokenizer| !tokenizer.has_chat()))
}

/// The method as it is typed.
fn name(method: Method) -> String {
    method.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
}

/// What a row is made for.
fn guess(row: &Map<String, Value>) -> Option<Method> {
    let renamed = renamed(Some(row));
    let has = |name: &str| row.contains_key(name) || renamed.iter().any(|(ours, _)| *ours == name);
    let any = |names: &[&str]| names.iter().any(|name| has(name));
    if has("chosen") && has("rejected") {
        return Some(Method::Dpo);
    }
    if has("label") && has("completion") {
        return Some(Method::Kto);
    }
    if any(&["step_labels", "ratings", "first_error"]) {
        return Some(Method::Prm);
    }
    // A solution that ends in its answer is a rationale.
    let answer = renamed.iter().find(|(ours, _)| *ours == "answer").map_or("answer", |(_, theirs)| *theirs);
    let text = row.get(answer).and_then(Value::as_str);
    let solved = text.is_some_and(|text| text.contains("####") || is_solution(text));
    match (any(&["rationale", "completion", "messages", "text"]) || solved, has("answer")) {
        (true, true) => Some(Method::SftGrpo),
        (true, false) => Some(Method::Sft),
        (false, true) => Some(Method::Grpo),
        (false, false) => None,
    }
}

fn recipe(
    data: &str,
    held_out: Option<&str>,
    (model, template): (&str, &str),
    method: Method,
    renamed: &[(&str, &str)],
) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = format!(
        "# {}\n# Keys: `train keys WORD`. What rows become: `train preview --recipe THIS`.\n\n[data]\ntrain = {}\n",
        about(method),
        quoted(data)
    );
    if let Some(held_out) = held_out {
        text += &format!("eval = {}\n", quoted(held_out));
    }
    for (ours, theirs) in renamed {
        text += &format!("columns.{ours} = {}\n", quoted(theirs));
    }
    text += template;
    text += &format!("\n[policy]\nmodel = {}\n", quoted(model));
    text += body(method);
    if held_out.is_some() && !matches!(method, Method::Dpo | Method::Kto) {
        text += "\n[eval]\nshow = 2\n";
    }
    text
}

/// How a model without a chat template is asked: in plain text, where a line ends a question.
fn plain_text(row: Option<&Map<String, Value>>, renamed: &[(&str, &str)]) -> &'static str {
    let has = |name: &str| {
        row.is_some_and(|row| row.contains_key(name)) || renamed.iter().any(|(ours, _)| *ours == name)
    };
    if has("question") && !has("choices") {
        "template.chat = false    # the model has no chat template: questions are put as plain text\n\
         template.user = \"{{ question }}\\n\"\n"
    } else {
        "template.chat = false    # the model has no chat template: questions are put as plain text\n"
    }
}

fn about(method: Method) -> &'static str {
    match method {
        Method::Sft => "Learns the rows' rationales.",
        Method::Grpo => {
            "Improves by the answers alone: several completions of a question, scored and compared."
        }
        Method::SftGrpo => "Learns the rows' rationales, then improves by the answers alone.",
        Method::Dpo => "Learns which of two completions is better.",
        Method::Kto => "Learns from completions of which each is called good or bad.",
        Method::Star => "Bootstraps rationales from answers: keeps what is right, learns it, again.",
        Method::Prm => "Learns to tell right steps from wrong ones.",
    }
}

fn body(method: Method) -> &'static str {
    match method {
        Method::Sft => "\n[run]\nepochs = 1\n\n[loop.sft]\n",
        Method::Grpo => concat!(
            "\n[run]\nsteps = 100\n",
            "\n[policy.sampling]\nmax_new_tokens = 256\n",
            "\n[reward.answer]\n",
            "\n[loop.grpo]\nzero_variance = \"drop\"    # questions that teach nothing are passed over\n"
        ),
        Method::SftGrpo => concat!(
            "\n[policy.sampling]\nmax_new_tokens = 256\n",
            "\n[[stage]]\nname = \"sft\"\nrun.epochs = 1\nloop.sft = {}\n",
            "\n[[stage]]\nname = \"rl\"\nrun.steps = 100\npolicy.model = \"@sft\"    # what the stage before made\nreward.answer = {}\n",
            "loop.grpo.zero_variance = \"drop\"    # questions that teach nothing are passed over\n"
        ),
        Method::Dpo => "\n[run]\nepochs = 1\n\n[loop.dpo]\nloss.beta = 0.1\n",
        Method::Kto => "\n[run]\nepochs = 1\n\n[loop.dpo]\nloss.kind = \"kto\"\nloss.beta = 0.1\n",
        Method::Star => concat!(
            "\n[run]\nsteps = 40\n",
            "\n[policy.sampling]\nmax_new_tokens = 256\ntemperature = 0.0\n",
            "\n[rollout.hint]\nsize = 1\nhint = \"{{ question }} (the answer is {{ answer.split('####')[-1].split('boxed{')[-1] | trim }})\"\n",
            "\n[select]\ncorrect = true\n",
            "\n[loop.star]\nrounds = 3\n"
        ),
        Method::Prm => "\n[run]\nepochs = 1\n\n[loop.prm]\nseparator = \"\\n\"\nbalance = \"labels\"\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_says_what_it_is_for() {
        let of = |row: Value| guess(row.as_object().unwrap());
        assert_eq!(of(json!({"prompt": "a", "chosen": "b", "rejected": "c"})), Some(Method::Dpo));
        assert_eq!(of(json!({"question": "a", "steps": [], "step_labels": []})), Some(Method::Prm));
        assert_eq!(of(json!({"problem": "a", "solution": "b", "answer": "c"})), Some(Method::SftGrpo));
        assert_eq!(of(json!({"question": "a", "answer": "b\n#### 3"})), Some(Method::SftGrpo));
        assert_eq!(of(json!({"problem": "a", "solution": "so $\\boxed{3}$"})), Some(Method::SftGrpo));
        assert_eq!(of(json!({"problem": "a", "solution": "so it is"})), Some(Method::Sft));
        assert_eq!(of(json!({"question": "a", "answer": "3"})), Some(Method::Grpo));
        assert_eq!(of(json!({"messages": []})), Some(Method::Sft));
        assert_eq!(of(json!({"title": "a"})), None);
        assert_eq!(of(json!({"prompt": "a", "completion": "b", "label": true})), Some(Method::Kto));
        let aqua = json!({"question": "q", "options": ["A)1", "B)2"], "rationale": "r", "correct": "B"});
        assert_eq!(of(aqua.clone()), Some(Method::SftGrpo));
        assert_eq!(renamed(aqua.as_object()), [("answer", "correct"), ("choices", "options")]);
        let verl =
            json!({"prompt": [{"role": "user", "content": "q"}], "reward_model": {"ground_truth": "3"}});
        assert_eq!(of(verl.clone()), Some(Method::Grpo));
        assert_eq!(renamed(verl.as_object()), [("answer", "reward_model.ground_truth")]);
    }

    #[test]
    fn a_crate_takes_nothing_that_it_would_pass_over() {
        let parsed = |more: &[&str]| Init::try_parse_from([&["init", "--crate", "a"][..], more].concat());
        assert!(parsed(&[]).is_ok());
        assert!(parsed(&["--model", "m"]).is_err() && parsed(&["--out", "b.toml"]).is_err());
    }

    #[test]
    fn every_method_makes_a_recipe_that_is_one() {
        let registry = Registry::default();
        for method in Method::value_variants() {
            for held_out in [None, Some("test.jsonl")] {
                let text = recipe("a \"b\".jsonl", held_out, ("m", ""), *method, &[("question", "problem")]);
                let read = Recipe::parse("recipe.toml", &text, &[]).unwrap();
                let stages = Stage::read_all(&read, &registry)
                    .unwrap_or_else(|error| panic!("{method:?}: {error}\n{text}"));
                assert_eq!(stages[0].data.columns["question"], "problem");
            }
        }
    }

    #[test]
    fn what_a_row_lacks_for_a_method_is_said() {
        let row = json!({"problem": "a", "solution": "b", "final": "c"});
        let row = row.as_object().unwrap();
        let lacks = |method| fits("a.jsonl", row, method).map_err(|error| error.to_string()).unwrap_err();
        assert!(
            lacks(Method::Dpo)
                .contains("--method dpo needs chosen and rejected, and the first row has problem")
        );
        assert!(lacks(Method::Kto).contains("--method kto needs completion and label"));
        assert!(lacks(Method::Prm).contains("--method prm needs any of step_labels, ratings"));
        assert!(lacks(Method::Grpo).contains("--method grpo needs answer"));
        assert!(fits("a.jsonl", row, Method::Sft).is_ok());
        let ended = "template.user = \"{{ question }}\\n\"";
        let plain = plain_text(Some(row), &renamed(Some(row)));
        assert!(plain.contains("template.chat = false ") && plain.contains(ended), "{plain}");
        assert!(recipe("a", None, ("m", plain), Method::Sft, &[]).contains(ended));
        // What is shown behind a question, and prompts of one's own, stand as they are.
        for row in [json!({"question": "a", "choices": ["b"]}), json!({"prompt": "a", "completion": "b"})] {
            assert!(!plain_text(row.as_object(), &[]).contains("template.user"));
        }
    }
}
