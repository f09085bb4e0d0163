//! `train report RUN`: a run as one page.

use super::verb::Verb;
use crate::checkpoint::{Trials, is_run, no_such_folder, only_files};
use crate::compare::{self, RESAMPLES};
use crate::error::{Error, Result};
use crate::eval::Evaluation;
use crate::log::terminal::{say, tell};
use crate::recipe::Registry;
use crate::report;
use clap::{Args, Parser};
use std::path::PathBuf;

/// Write a run's report.html: its state, curves, tables, samples, trees, alarms and recipe, in one file that any browser opens.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Report {
    /// A run's folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    form: Form,
}

/// What is printed in place of it.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Form {
    /// Print all figures by step as comma-separated values, as W&B, trackio and spreadsheets read them; those of all trials of a run that sweeps.
    #[arg(long)]
    csv: bool,
    /// Print the table of evaluations as Markdown.
    #[arg(long)]
    markdown: bool,
}

const EXAMPLES: &str = "Examples:
  train report checkpoints/quickstart
  train report checkpoints/quickstart --markdown
  train report checkpoints/quickstart --csv > figures.csv";

impl Verb for Report {
    fn run(self, registry: &Registry) -> Result<()> {
        let folder = &self.run;
        if !folder.exists() {
            return Err(no_such_folder(folder));
        }
        if !is_run(folder) {
            let shown = folder.display();
            return Err(Error::Checkpoint(format!(
                "{shown} is no run, since it has no run.json; `train list` shows runs"
            )));
        }
        only_files(folder)?;
        let trials = Trials::read(folder)?.unwrap_or_default().begun(folder);
        let text = match self.form {
            Form { markdown: true, .. } if !trials.is_empty() => {
                let arms = compare::arms(&[], &[folder.to_string_lossy().into_owned()])?;
                compare::markdown(&compare::compare(&arms, None, RESAMPLES as usize)?)
            }
            Form { csv: true, .. } => report::csv(folder)?,
            Form { markdown: true, .. } => {
                let [markdown, _] = report::tables(&Evaluation::all(folder)?);
                if markdown.is_empty() {
                    return Err(Error::Checkpoint(format!("{} has no evaluations yet", folder.display())));
                }
                markdown
            }
            Form { .. } => {
                let path = report::write(folder, None, &report::Known::of_run(folder, registry))?;
                say(&format!("report: {}", path.display()));
                return Ok(());
            }
        };
        tell(&text).map_err(Error::io("standard output"))
    }
}
