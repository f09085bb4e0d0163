//! `train export`: a model's folder for others, without what only training needs, and its way to the hub.

mod card;

use super::named::Model;
use super::verb::Verb;
use crate::checkpoint::{free_folder, write_folder};
use crate::data::hub::Target;
use crate::data::{Hub, Template};
use crate::error::{Error, Result};
use crate::limited;
use crate::log::terminal::{say, tell, typed};
use crate::policy::Policy;
use crate::policy::reward_model::ScoreFormat;
use crate::recipe::Registry;
use crate::section::toml as toml_of;
use clap::{Parser, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Write a model as a Hugging Face folder, or send it to the hub: adapters merged, without the optimiser.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Export {
    #[command(flatten)]
    model: Model,
    /// The folder to write; it must not be there yet, or be empty. With --push it may be left out.
    #[arg(value_name = "DIR", required_unless_present = "push")]
    dir: Option<PathBuf>,
    /// The number format of the weights [default: as they are stored, f16 as bf16].
    #[arg(long)]
    dtype: Option<Format>,
    /// Send it to this repository of the hub, in one commit; the repository is made where it is not there.
    #[arg(long, value_name = "OWNER/NAME")]
    push: Option<String>,
    /// Make the repository one that others do not see.
    #[arg(long, requires = "push")]
    private: bool,
    /// Say what --push would send; nothing is sent, made or written.
    #[arg(long, requires = "push")]
    dry_run: bool,
}

/// The formats that weights are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// bfloat16: half the size.
    Bf16,
    /// 32-bit floats.
    F32,
}

/// The page that a repository opens with.
const README: &str = "README.md";

const EXAMPLES: &str = "The folder loads in transformers (AutoModelForCausalLM.from_pretrained), vLLM and llama.cpp's converter.

--push wants a token that may write: HF_TOKEN, or the one of `hf auth login`. HF_ENDPOINT names another hub. Files that are there already
are not sent again, and a README.md that is there stays as it is.

Examples:
  train export checkpoints/mine my-model
  train export checkpoints/mine/rl-step-000180 my-model --dtype bf16
  train export checkpoints/mine --push OWNER/NAME --private";

impl Verb for Export {
    fn run(self, registry: &Registry) -> Result<()> {
        let dir = self.dir.as_deref().map(free_folder).transpose()?;
        let mut target =
            self.push.as_deref().map(|name| Hub::from_env().target(name, self.private)).transpose()?;
        let found = self.model.find(registry)?;
        let folder = found.folder;
        let kind = match self.dtype {
            Some(Format::Bf16) => Kind::BFloat16,
            Some(Format::F32) => Kind::Float,
            None => stored(&folder)?,
        };
        let mut policy = Policy::load(&folder, kind, Device::Cpu, 1)?;
        if policy.model.score.is_some() {
            policy.score_format = Some(ScoreFormat::load(&folder)?);
        }
        // What is only sent, or looked at, needs no folder that stays.
        let passing = match dir.is_none() || self.dry_run {
            true => Some(tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?),
            false => None,
        };
        let dir = match (&passing, dir) {
            (Some(passing), _) => passing.path().join("model"),
            (None, dir) => dir.expect("it is there where nothing else is"),
        };
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        let pushed =
            self.push.as_deref().filter(|_| target.as_ref().is_some_and(|target| !target.has(README)));
        let card = pushed.map(|name| card::of(&folder, &self.model.name(), name)).transpose()?;
        write_folder(&dir, |unfinished| {
            policy.save(unfinished)?;
            let page = unfinished.join(README);
            card.map_or(Ok(()), |card| std::fs::write(&page, card).map_err(Error::io(&page)))
        })?;
        drop(policy);
        // Made once all is written: what fails before leaves nothing behind.
        if let Some(target) = target.as_mut().filter(|_| !self.dry_run) {
            target.create()?;
        }
        let weights = format!("{} of {}", name(kind), folder.display());
        let mut text = String::new();
        if passing.is_none() {
            let files =
                dir.read_dir().into_iter().flatten().flatten().filter_map(|file| file.metadata().ok());
            let bytes = files.map(|file| file.len()).sum();
            text += &format!("{}: {weights}, {}\n", dir.display(), size(bytes));
            text += &put(&found.data.template).map_or(String::new(), |how| format!("  {how}\n"));
        }
        text += &match &target {
            None => String::new(),
            Some(target) if self.dry_run => would_send(target, &dir, self.private)?,
            Some(target) => send(target, &dir, &weights).inspect_err(|_| {
                if passing.is_none() {
                    let typed = typed(&dir.to_string_lossy());
                    say(&format!(
                        "{} is whole; `train export {typed} --push …` sends it alone",
                        dir.display()
                    ));
                }
            })?,
        };
        tell(&text).map_err(Error::io("standard output"))
    }
}

/// How the run put its questions, where a folder's chat template does not say so.
fn put(template: &Template) -> Option<String> {
    let plain = Template::default();
    let user = (template.user != plain.user)
        .then(|| format!("data.template.user = {}", toml_of(&json!(template.user))));
    let system =
        template.system.as_ref().map(|system| format!("data.template.system = {}", toml_of(&json!(system))));
    let shown = (template.few_shot > 0).then(|| format!("data.template.few_shot = {}", template.few_shot));
    let said: Vec<String> = [user, system, shown].into_iter().flatten().collect();
    let how = if template.chat { "in the chat template" } else { "as plain text" };
    (!template.chat || !said.is_empty()).then(|| {
        let with = if said.is_empty() { String::new() } else { format!(", with {}", said.join(", ")) };
        format!(
            "this run put its questions {how}{with}: the folder does not keep that, so put them so yourself"
        )
    })
}

/// What `--push` would do with a folder.
fn would_send(target: &Target, dir: &Path, private: bool) -> Result<String> {
    let made = match (target.exists(), private) {
        (true, _) => "",
        (false, true) => " (would be made, and others would not see it)",
        (false, false) => " (would be made)",
    };
    let all = target.compare(dir)?;
    let mut text = format!("{target}{made}\n");
    for file in &all {
        let mark = if file.is_there { "  (is there already)" } else { "" };
        text += &format!("  {:<32} {:>10}{mark}\n", file.name, size(file.bytes));
    }
    let new: Vec<u64> = all.iter().filter(|file| !file.is_there).map(|file| file.bytes).collect();
    let bytes: u64 = new.iter().sum();
    Ok(text + &format!("would send {}, {bytes} bytes\n", files(new.len())))
}

/// Sends a folder; what is said of it.
fn send(target: &Target, dir: &Path, weights: &str) -> Result<String> {
    let sent = target.send(dir, &say)?;
    let kept: Vec<&str> = sent
        .others
        .iter()
        .map(String::as_str)
        .filter(|name| ![".gitattributes", README].contains(name))
        .collect();
    if !kept.is_empty() {
        say(&format!("{target} has further files, which stay: {}", kept.join(", ")));
    }
    Ok(match sent.commit {
        None => format!("{target}: {weights}, all of it was there already\n"),
        Some(commit) => {
            let (new, bytes) = (files(sent.files), size(sent.bytes));
            format!("{target}: {weights}, {new} sent ({bytes}), commit {commit}\n")
        }
    })
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// The format that a folder's config.json names; f32 for others than can be written.
fn stored(folder: &Path) -> Result<Kind> {
    let path = folder.join("config.json");
    let text = limited::notes(&path).map_err(Error::io(&path))?;
    let config: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|error| Error::Model(format!("{}: {error}", path.display())))?;
    let named = config.get("dtype").or(config.get("torch_dtype")).and_then(|dtype| dtype.as_str());
    Ok(if matches!(named, Some("bfloat16" | "float16")) { Kind::BFloat16 } else { Kind::Float })
}

fn name(kind: Kind) -> &'static str {
    if kind == Kind::BFloat16 { "bf16 weights" } else { "f32 weights" }
}
