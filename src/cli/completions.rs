//! `train completions SHELL`: what a shell needs to complete the command line.

use super::verb::Verb;
use crate::error::{Error, Result};
use crate::log::terminal::tell;
use crate::recipe::Registry;
use clap::Parser;
use clap_complete::Shell;

/// Print the completions of a shell.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

const EXAMPLES: &str = "Examples:
  train completions bash > ~/.local/share/bash-completion/completions/train
  train completions zsh > ~/.zfunc/_train
  train completions fish > ~/.config/fish/completions/train.fish";

impl Verb for Completions {
    fn run(self, _: &Registry) -> Result<()> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "train", &mut text);
        tell(&String::from_utf8_lossy(&text)).map_err(Error::io("standard output"))
    }
}
