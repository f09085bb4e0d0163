//! `train export`: a model's folder for others, without what only training needs.

use super::named::Model;
use super::verb::Verb;
use crate::checkpoint::{free_folder, write_folder};
use crate::error::{Error, Result};
use crate::limited;
use crate::log::terminal::tell;
use crate::policy::Policy;
use crate::policy::reward_model::ScoreFormat;
use crate::recipe::Registry;
use clap::{Parser, ValueEnum};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Write a model as a Hugging Face folder: adapters merged, without the optimiser.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Export {
    #[command(flatten)]
    model: Model,
    /// The folder to write; it must not be there yet, or be empty.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The number format of the weights [default: as they are stored, f16 as bf16].
    #[arg(long)]
    dtype: Option<Format>,
}

/// The formats that weights are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// bfloat16: half the size.
    Bf16,
    /// 32-bit floats.
    F32,
}

const EXAMPLES: &str = "The folder loads in transformers (AutoModelForCausalLM.from_pretrained), vLLM and llama.cpp's converter; to share it:
hf upload OWNER/NAME DIR

Examples:
  train export checkpoints/mine my-model
  train export checkpoints/mine/rl-step-000180 my-model --dtype bf16";

impl Verb for Export {
    fn run(self, registry: &Registry) -> Result<()> {
        let dir = &free_folder(&self.dir)?;
        let folder = self.model.find(registry)?.folder;
        let kind = match self.dtype {
            Some(Format::Bf16) => Kind::BFloat16,
            Some(Format::F32) => Kind::Float,
            None => stored(&folder)?,
        };
        let mut policy = Policy::load(&folder, kind, Device::Cpu, 1)?;
        if policy.model.score.is_some() {
            policy.score_format = Some(ScoreFormat::load(&folder)?);
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        write_folder(dir, |unfinished| policy.save(unfinished))?;
        let size = dir.read_dir().into_iter().flatten().flatten().filter_map(|file| file.metadata().ok());
        let bytes: u64 = size.map(|file| file.len()).sum();
        let text = format!(
            "{}: {} of {}, {:.1} MB\n",
            dir.display(),
            name(kind),
            folder.display(),
            bytes as f64 / 1e6
        );
        tell(&text).map_err(Error::io("standard output"))
    }
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
