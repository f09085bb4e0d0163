//! `train compare RUN…`: which differences between runs are more than noise.

use super::verb::Verb;
use crate::checkpoint::{no_such_folder, write_atomic};
use crate::compare::{self, RESAMPLES, arms};
use crate::error::{Error, Result};
use crate::log::terminal::{say, tell};
use crate::recipe::Registry;
use clap::{Args, Parser};
use std::path::{Path, PathBuf};

/// Compare runs by their held-out completions: paired over questions, over seeds, with what they decoded.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Compare {
    /// A run's folder, at its last evaluation; FOLDER@STAGE or FOLDER@STAGE:STEP at another. Those whose recipes differ in run.seed
    /// alone are one arm; a run that sweeps has an arm a point.
    #[arg(value_name = "RUN", required_unless_present = "group")]
    runs: Vec<String>,
    /// Runs that are one arm whatever their recipes say; repeatable.
    #[arg(long, value_name = "NAME=RUN,RUN")]
    group: Vec<String>,
    /// The arm (or one of its runs) that the others are held against [default: the first].
    #[arg(long, value_name = "NAME")]
    base: Option<String>,
    #[command(flatten)]
    form: Form,
    /// Write the accuracies with their intervals as a picture, too.
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// What the picture calls the share of right answers, where the held-out rows ask for something else [default: accuracy].
    #[arg(long, value_name = "TEXT", requires = "picture")]
    called: Option<String>,
    /// Resamples of each bootstrap.
    #[arg(long, value_name = "N", default_value_t = RESAMPLES, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    resamples: u32,
}

/// In which form; tables for a terminal otherwise.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Form {
    /// Print all figures as JSON.
    #[arg(long)]
    json: bool,
    /// Print tables of Markdown.
    #[arg(long)]
    markdown: bool,
    /// Print tables of LaTeX.
    #[arg(long)]
    latex: bool,
    /// Print a line an arm, separated by commas.
    #[arg(long)]
    csv: bool,
}

const EXAMPLES: &str = "Examples:
  train compare checkpoints/quickstart@warmup checkpoints/quickstart@rl
  train compare runs/base-0 runs/base-1 runs/base-2 runs/new-0 runs/new-1 runs/new-2 --picture compared.svg
  train compare --group plain=runs/a,runs/b --group shorter=runs/c,runs/d --base plain --markdown";

impl Verb for Compare {
    fn run(self, _: &Registry) -> Result<()> {
        if let Some(path) = &self.picture {
            is_svg(path)?;
        }
        for run in &self.runs {
            let folder = Path::new(run.split('@').next().unwrap_or(run));
            if !folder.exists() && !Path::new(run).exists() {
                return Err(no_such_folder(folder));
            }
        }
        let arms = arms(&self.group, &self.runs)?;
        let found = compare::compare(&arms, self.base.as_deref(), self.resamples as usize)?;
        let text = match &self.form {
            Form { json: true, .. } => {
                serde_json::to_string_pretty(&found).map(|text| text + "\n").map_err(|error| {
                    Error::Checkpoint(format!("the comparison cannot be written as JSON: {error}"))
                })?
            }
            Form { markdown: true, .. } => compare::markdown(&found),
            Form { latex: true, .. } => compare::latex(&found),
            Form { csv: true, .. } => compare::csv(&found),
            _ => compare::text(&found),
        };
        if let Some(path) = &self.picture {
            let svg = compare::picture(&found, self.called.as_deref())
                .map_err(|error| Error::Checkpoint(format!("{}: {error}", path.display())))?;
            write_atomic(path, svg.as_bytes())?;
            say(&format!("picture: {}", path.display()));
        }
        tell(&text).map_err(Error::io("standard output"))
    }
}

/// Refuses a name that says that a picture is of another kind than it will be.
fn is_svg(path: &Path) -> Result<()> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        None | Some("svg") => Ok(()),
        Some(_) => Err(Error::Recipe(format!(
            "--picture {}: pictures are written as SVG; name a file that ends in .svg, and make another kind of it with such as \
             rsvg-convert or a browser",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_what_its_name_says() {
        for name in ["compared.svg", "a/b.SVG", "compared"] {
            assert!(is_svg(Path::new(name)).is_ok(), "{name}");
        }
        let refused = is_svg(Path::new("compared.png")).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("name a file that ends in .svg"), "{refused}");
    }
}
