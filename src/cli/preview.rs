//! `train preview`: what rows become before anything is learned of them.

use super::verb::Verb;
use crate::error::{Error, Result};
use crate::log::terminal::tell;
use crate::recipe::{Args, Registry};
use crate::run;
use clap::Parser;
use std::path::PathBuf;

/// Show what a recipe's rows become: text, tokens, what is learned, how long they are, what is left out.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Preview {
    /// The recipe file.
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Set a key over the recipe, as for a run; repeatable.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// The stage [default: all].
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// How many rows are shown.
    #[arg(long, default_value_t = 3)]
    rows: usize,
    /// Show the rows that are held out for `[eval]`.
    #[arg(long)]
    held_out: bool,
    /// Show each token by itself, with its id.
    #[arg(long)]
    tokens: bool,
}

const EXAMPLES: &str = "What is learned stands in ⟦ ⟧; the rest is only read.

Examples:
  train preview --recipe recipes/quickstart.toml
  train preview --recipe mine.toml --stage sft --rows 10 --tokens";

impl Verb for Preview {
    fn run(self, registry: &Registry) -> Result<()> {
        let Self { recipe, set, stage, rows, held_out, tokens } = self;
        let args = Args { recipe, set, ..Args::default() };
        let text = run::preview(&args, registry, &run::Preview { stage, rows, held_out, tokens })?;
        tell(&text).map_err(Error::io("standard output"))
    }
}
