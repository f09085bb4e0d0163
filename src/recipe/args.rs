//! The command line of `train`.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Trains a language model that explains before it answers, as one TOML file says.
#[derive(Debug, Clone, Default, PartialEq, Parser)]
#[command(name = "train", version, about, after_help = EXAMPLES)]
pub struct Args {
    /// The recipe file.
    #[arg(long, value_name = "FILE")]
    pub recipe: PathBuf,
    /// Set a key over the recipe, for every stage; repeatable. One stage: stage.NAME.section.key=value.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the resolved recipe, with every default, and the plan; run nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Continue the run that is in its directory, exactly where it stopped.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Replace the run that is in its directory.
    #[arg(long)]
    pub overwrite: bool,
    /// The run's directory [default: checkpoints/<run.name>].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How progress and messages are written to standard error: text, or a JSON object a line, for programs.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// No progress lines and no samples; errors and the final table still show.
    #[arg(short, long)]
    pub quiet: bool,
}

/// What a run's log looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

const EXAMPLES: &str = "Examples:
  train --recipe recipes/quickstart.toml
  train --recipe recipes/gsm8k-grpo.toml --dry-run
  train --recipe recipes/gsm8k-grpo.toml --set optim.lr=1e-6 --set run.steps=200
  train --recipe recipes/quickstart.toml --set stage.warmup.run.steps=50 --out checkpoints/short
  train --recipe recipes/gsm8k-grpo.toml --set policy.sampling.stop='[\"\\n\\n\"]' --resume

Exit codes: 0 done, 1 failed while running, 2 something for you to fix, 129, 130, 138 or 143 stopped by a signal (SIGHUP, SIGINT, SIGUSR1, SIGTERM) after saving.
RATIONALE_LOG=info also says what is opened and saved, RATIONALE_LOG=debug the time of each part of a step.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn sets_are_kept_in_order() {
        let args = parse("train --recipe a.toml --set optim.lr=1 --set optim.lr=2 -q --out runs/x").unwrap();
        assert_eq!(args.set, ["optim.lr=1", "optim.lr=2"]);
        assert_eq!((args.quiet, args.dry_run, args.resume, args.overwrite), (true, false, false, false));
        assert_eq!((args.out, args.log_format), (Some(PathBuf::from("runs/x")), LogFormat::Text));
        assert_eq!(parse("train --recipe a.toml --log-format json").unwrap().log_format, LogFormat::Json);
    }

    #[test]
    fn a_wrong_command_line_exits_with_2_and_help_with_0() {
        let conflict = parse("train --recipe a.toml --resume --overwrite").unwrap_err();
        assert_eq!((conflict.kind(), conflict.exit_code()), (ErrorKind::ArgumentConflict, 2));
        let missing = parse("train --dry-run").unwrap_err();
        assert_eq!((missing.kind(), missing.exit_code()), (ErrorKind::MissingRequiredArgument, 2));
        assert_eq!(parse("train --recpie a.toml").unwrap_err().exit_code(), 2);
        assert_eq!(parse("train --help").unwrap_err().exit_code(), 0);
        let version = parse("train --version").unwrap_err();
        assert_eq!(version.to_string(), format!("train {}\n", env!("CARGO_PKG_VERSION")));
    }
}
