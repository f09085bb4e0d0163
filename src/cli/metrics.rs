//! `train metrics [WORD]`: what a run's figures are.

use super::verb::Verb;
use crate::error::{Error, Result};
use crate::log::described::{Described, GROUPS, described, markdown};
use crate::log::terminal::tell;
use crate::nearest::{did_you_mean, nearest};
use crate::recipe::Registry;
use clap::Parser;

/// Look up what a run's figures mean and what is healthy.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Metrics {
    /// A figure (`rewards/answer/mean`), or a word to look for; without it, all are listed.
    word: Option<String>,
    /// Print all as Markdown, as docs/metrics.md has them.
    #[arg(long, conflicts_with = "word")]
    markdown: bool,
}

const EXAMPLES: &str = "Examples:
  train metrics
  train metrics frac_reward_zero_std
  train metrics entropy";

impl Verb for Metrics {
    fn run(self, _: &Registry) -> Result<()> {
        let text = match &self.word {
            _ if self.markdown => markdown(),
            None => {
                let all = GROUPS.iter().map(|(title, rows)| format!("{title}\n{}", shown(rows.iter())));
                all.collect::<Vec<_>>().join("\n")
            }
            Some(word) => found(word).ok_or_else(|| unknown(word))?,
        };
        tell(&text).map_err(Error::io("standard output"))
    }
}

fn found(word: &str) -> Option<String> {
    if let Some(one) = described(word) {
        return Some(shown(std::iter::once(one)));
    }
    let typed = word.to_lowercase();
    let has = |row: &&Described| {
        [row.name, row.meaning, row.healthy].iter().any(|text| text.to_lowercase().contains(&typed))
    };
    let rows: Vec<&Described> = GROUPS.iter().flat_map(|(_, rows)| *rows).filter(has).collect();
    (!rows.is_empty()).then(|| shown(rows.into_iter()))
}

fn unknown(word: &str) -> Error {
    let whole = GROUPS.iter().flat_map(|(_, rows)| *rows).map(|row| row.name);
    let parts = whole.flat_map(|name| std::iter::once(name).chain(name.split('/')));
    let meant = did_you_mean(nearest(word, parts.filter(|name| !name.contains('*'))));
    Error::Recipe(format!(
        "no figure is called `{word}`, and none has it in its meaning{meant} (`train metrics` lists all)"
    ))
}

fn shown<'a>(rows: impl Iterator<Item = &'a Described>) -> String {
    let row = |Described { name, unit, meaning, healthy }: &Described| {
        let unit = if unit.is_empty() { String::new() } else { format!(" ({unit})") };
        let healthy = if healthy.is_empty() { String::new() } else { format!("\n    Healthy: {healthy}") };
        format!("{name}{unit}\n    {meaning}{healthy}\n")
    };
    rows.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_figure_is_told_what_it_may_have_been() {
        let said = unknown("accurcy").to_string();
        assert!(found("accurcy").is_none() && said.contains("did you mean `accuracy`?"), "{said}");
        assert!(unknown("rewrad_std").to_string().contains("did you mean `reward_std`?"));
        assert!(!unknown("zzzzzzzz").to_string().contains("did you mean"));
    }
}
