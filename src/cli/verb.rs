//! What a verb of the command line is.

use crate::error::Result;
use crate::recipe::Registry;
use clap::{ArgMatches, Command, Parser};

/// A verb: its arguments, with their help as doc comments, and what it does.
pub(super) trait Verb: Parser {
    /// Does it. What was asked for goes to standard output, all else to standard error.
    ///
    /// # Errors
    /// In the user's words; its kind says whether the program ends with 1 or 2.
    fn run(self, registry: &Registry) -> Result<()>;
}

/// A row of the table of verbs.
pub(super) struct Row {
    /// As it is typed.
    pub name: &'static str,
    command: fn() -> Command,
    check: fn(&ArgMatches) -> std::result::Result<(), clap::Error>,
    run: fn(&ArgMatches, &Registry) -> Result<()>,
}

/// The row of `V`, typed `name`.
pub(super) const fn row<V: Verb>(name: &'static str) -> Row {
    Row {
        name,
        command: || V::command(),
        check: |matches| V::from_arg_matches(matches).map(drop),
        run: |matches, registry| match V::from_arg_matches(matches) {
            Ok(verb) => verb.run(registry),
            Err(error) => unreachable!("checked when it was read: {error}"),
        },
    }
}

impl Row {
    /// Its part of the command line.
    pub fn command(&self) -> Command {
        (self.command)().name(self.name)
    }

    /// Whether its arguments can be read.
    pub fn check(&self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        (self.check)(matches)
    }

    /// Does it.
    pub fn run(&self, matches: &ArgMatches, registry: &Registry) -> Result<()> {
        (self.run)(matches, registry)
    }
}
