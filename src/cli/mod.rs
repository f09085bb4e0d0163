//! The command line of `train`: a recipe to run, or one of the verbs, each a file of this folder and a row of `VERBS`.

mod chat;
mod compare;
mod completions;
mod env;
mod export;
mod init;
mod keys;
mod list;
mod machines;
mod metrics;
mod named;
mod preview;
mod report;
mod sample;
mod serve;
mod starter;
mod verb;

use crate::error::{Error, Result, is_quiet, panic_message};
use crate::log::terminal::{Stderr, say, say_json, typed};
use crate::ranks::Place;
use crate::recipe::{Args, LogFormat, Registry, called};
use crate::run;
use crate::scale::Options as Scale;
use crate::selftest::Options as Selftest;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use verb::{Row, row};

/// All verbs, in the order of `train --help`.
const VERBS: &[Row] = &[
    row::<init::Init>("init"),
    row::<list::List>("list"),
    row::<keys::Keys>("keys"),
    row::<metrics::Metrics>("metrics"),
    row::<preview::Preview>("preview"),
    row::<sample::Sample>("sample"),
    row::<chat::Chat>("chat"),
    row::<serve::Serve>("serve"),
    row::<report::Report>("report"),
    row::<compare::Compare>("compare"),
    row::<export::Export>("export"),
    row::<Selftest>("selftest"),
    row::<Scale>("scale"),
    row::<env::Env>("env"),
    row::<completions::Completions>("completions"),
];

/// The program `train`, with what `registry` knows: reads the command line, does what it says, and returns the exit code
/// (0 done, 1 failed while running, 2 the user can fix it, 129, 130, 138 or 143 stopped by SIGHUP, SIGINT, SIGUSR1 or SIGTERM).
pub fn cli(registry: Registry) -> i32 {
    let words: Vec<OsString> = std::env::args_os().collect();
    let asked = match Asked::of(words.iter().cloned()) {
        Ok(asked) => asked,
        Err(error) => {
            let hint = hint(&error).map_or(String::new(), |hint| format!("\n{hint}"));
            if error.use_stderr() && asks_for_json(&words) {
                say_json();
                say(format!("{error}{hint}").trim_end());
                return error.exit_code();
            }
            let _ = error.print();
            if !hint.is_empty() {
                say(&hint);
            }
            return error.exit_code();
        }
    };
    if asked.in_json() {
        say_json();
    }
    let place = Place::from_env().map(|place| place.filter(|place| place.count > 1));
    listen(!matches!(&place, Ok(Some(place)) if place.rank > 0));
    match catch_unwind(AssertUnwindSafe(|| asked.answer(&registry, place))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            let mark = if matches!(error, Error::Stopped { .. }) { "" } else { "error: " };
            say(&format!("{mark}{error}"));
            error.exit_code()
        }
        Err(_) => 1,
    }
}

/// What a command line asks for.
enum Asked {
    Train(Args),
    Verb(&'static Row, ArgMatches),
}

impl Asked {
    fn of(words: impl IntoIterator<Item = OsString>) -> std::result::Result<Self, clap::Error> {
        let mut matches = command().try_get_matches_from(words)?;
        if let Some((name, inner)) = matches.remove_subcommand() {
            let verb = VERBS.iter().find(|verb| verb.name == name).expect("the command is made of the rows");
            return verb.check(&inner).map(|()| Self::Verb(verb, inner));
        }
        Args::from_arg_matches_mut(&mut matches).map(Self::Train)
    }

    fn in_json(&self) -> bool {
        matches!(self, Self::Train(args) if args.log_format == LogFormat::Json)
    }

    /// Does it, in the `place` that this process has among ranks; the exit code.
    fn answer(&self, registry: &Registry, place: Result<Option<Place>>) -> Result<i32> {
        match self {
            Self::Train(args) => {
                run::heed_signals();
                run::start(args, registry, place?)
            }
            Self::Verb(verb, matches) => verb.run(matches, registry).map(|()| 0),
        }
    }
}

/// Whether a command line asks for messages in JSON, where it cannot be read otherwise.
fn asks_for_json(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "--log-format=json")
        || words.windows(2).any(|pair| pair[0] == "--log-format" && pair[1] == "json")
}

/// What was probably wanted of a command line that is none.
fn hint(error: &clap::Error) -> Option<String> {
    let words = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => vec![word.as_str()],
        Some(ContextValue::Strings(words)) => words.iter().map(String::as_str).collect(),
        _ => vec![],
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => match *words(ContextKind::InvalidSubcommand).first()? {
            path if path.ends_with(".toml") => {
                Some(format!("A recipe is run by `train --recipe {}`.", typed(path)))
            }
            "eval" | "evaluate" | "test" => Some(
                "A checkpoint is measured by a recipe with [loop.evaluate], such as recipes/gsm8k-evaluate.toml."
                    .to_owned(),
            ),
            "table" => Some(
                "The table of a run is printed by `train report RUN --markdown`, that of several by `train compare RUN RUN`, with --markdown, \
                 --latex or --csv."
                    .to_owned(),
            ),
            _ => None,
        },
        ErrorKind::UnknownArgument if error.get(ContextKind::Usage)?.to_string().contains("--recipe") => {
            let typed = words(ContextKind::InvalidArg).first()?.trim_start_matches('-').to_owned();
            let key = called(&typed).and_then(|keys| keys.first()).copied().unwrap_or("SECTION.KEY");
            Some(format!("Keys of a recipe are set by `--set {key}=VALUE`; `train keys {typed}` looks for one."))
        }
        ErrorKind::MissingRequiredArgument if words(ContextKind::InvalidArg).contains(&"--recipe <FILE>") => {
            Some(
                "`train list` shows the recipes that there are; `train init --data FILE` writes one for rows of your own."
                    .to_owned(),
            )
        }
        _ => None,
    }
}

/// The whole command line: `train --recipe FILE …`, and the verbs.
fn command() -> Command {
    Args::command()
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .disable_help_subcommand(true)
        .subcommand_value_name("VERB")
        .subcommand_help_heading("Verbs")
        .subcommands(VERBS.iter().map(Row::command))
}

/// Warnings go to standard error, of several ranks those of the `first`; `RATIONALE_LOG` (such as `debug`) asks for more.
fn listen(first: bool) {
    let usual = if first { "warn" } else { "error" };
    let asked = std::env::var("RATIONALE_LOG").unwrap_or_default();
    let filter = known_filter(&asked);
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| usual.into()))
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .with_writer(|| Stderr)
        .log_internal_errors(false)
        .try_init();
    if first && !asked.is_empty() && known_filter(&asked).is_none() {
        tracing::warn!(
            "RATIONALE_LOG={asked} names no level and is not heeded; known: error, warn, info, debug, trace, or such as rationale::engine=debug"
        );
    }
    let standard = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if is_quiet() {
            return;
        }
        say(&format!("error: internal: {}", panic_message(info.payload())));
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            standard(info);
        }
    }));
}

/// What is to be said by `RATIONALE_LOG`; none where it is empty, or has a word that is no level. To the library such a word is a module.
fn known_filter(asked: &str) -> Option<tracing_subscriber::EnvFilter> {
    let known = |part: &str| {
        part.contains(['=', ':', '[']) || part.trim().parse::<tracing::level_filters::LevelFilter>().is_ok()
    };
    (!asked.is_empty() && asked.split(',').all(known)).then(|| asked.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_not_heeded() {
        for asked in ["info", "WARN", "error,rationale::engine=debug", "rationale=trace"] {
            assert!(known_filter(asked).is_some(), "{asked}");
        }
        for asked in ["", "inf0", "info,rational", "warn;debug"] {
            assert!(known_filter(asked).is_none(), "{asked}");
        }
    }

    fn ask(line: &str) -> std::result::Result<Asked, clap::Error> {
        Asked::of(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_one_that_clap_accepts() {
        command().debug_assert();
    }

    #[test]
    fn a_recipe_or_a_verb_and_not_both() {
        assert!(matches!(ask("train --recipe a.toml --dry-run"), Ok(Asked::Train(args)) if args.dry_run));
        assert!(
            matches!(ask("train completions bash"), Ok(Asked::Verb(row, _)) if row.name == "completions")
        );
        let both = ask("train --recipe a.toml completions bash").err().unwrap();
        assert_eq!((both.kind(), both.exit_code()), (ErrorKind::ArgumentConflict, 2));
        let neither = ask("train").err().unwrap();
        assert_eq!((neither.kind(), neither.exit_code()), (ErrorKind::MissingRequiredArgument, 2));
        let misspelt = ask("train completion bash").err().unwrap();
        assert_eq!(misspelt.exit_code(), 2);
        assert!(misspelt.to_string().contains("completions"), "{misspelt}");
    }

    #[test]
    fn what_was_probably_wanted_is_said() {
        let said = |line: &str| hint(&ask(line).err().unwrap());
        let run = "A recipe is run by `train --recipe recipes/a.toml`.";
        assert_eq!(said("train recipes/a.toml").as_deref(), Some(run));
        assert!(
            said("train recipes/it's.toml").unwrap().contains(r"`train --recipe 'recipes/it'\''s.toml'`")
        );
        assert!(said("train evaluate a").unwrap().contains("[loop.evaluate]"));
        assert!(said("train table a").unwrap().contains("`train report RUN --markdown`"));
        assert!(said("train").unwrap().contains("train init --data FILE"));
        assert!(said("train --recipe a.toml --learning-rate 1").unwrap().contains("`--set optim.lr=VALUE`"));
        assert!(said("train --recipe a.toml --device cpu").unwrap().contains("`--set SECTION.KEY=VALUE`"));
        assert!(said("train chat a --what").is_none() && said("train completion bash").is_none());
    }

    #[test]
    fn that_json_is_asked_for_is_seen_in_words_that_cannot_be_read() {
        let asks = |line: &str| {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            asks_for_json(&words)
        };
        for line in [
            "train --log-format json --nosuch",
            "train --nosuch --log-format=json",
            "train --log-format text --log-format json",
            "train --log-format json report a",
        ] {
            assert!(asks(line) && ask(line).is_err(), "{line}");
        }
        for line in ["train --nosuch", "train --log-format text --recipe json --nosuch", "train --log-format"]
        {
            assert!(!asks(line), "{line}");
        }
    }

    #[test]
    fn every_verb_says_what_it_does_and_gives_an_example() {
        for verb in VERBS {
            let help = verb.command().render_long_help().to_string();
            assert!(verb.command().get_about().is_some(), "{}", verb.name);
            assert!(help.contains(&format!("train {}", verb.name)), "{help}");
        }
    }
}
