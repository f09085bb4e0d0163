//! Which figures of a stage are drawn, and together in which picture.

use super::figures::{self, Series, by_stage};
use crate::error::Result;
use crate::log::curves::{self, Line};
use crate::log::described::described;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A picture: it is drawn where the stage has any of its figures.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Panel {
    /// What stands above it.
    pub title: &'static str,
    /// The figures and what the legend calls each; `*` stands for any text without `/`.
    pub figures: &'static [(&'static str, &'static str)],
    /// The figures that bound the first.
    pub interval: Option<(&'static str, &'static str)>,
}

const fn panel(title: &'static str, figures: &'static [(&'static str, &'static str)]) -> Panel {
    Panel { title, figures, interval: None }
}

/// The lines of a picture whose figures are a family.
const LINES: usize = 6;

/// All pictures, in their order.
pub const PANELS: &[Panel] = &[
    Panel {
        title: "Held-out accuracy, 95 % interval",
        figures: &[("eval/accuracy", "accuracy")],
        interval: Some(("eval/accuracy_low", "eval/accuracy_high")),
    },
    panel("Held-out accuracy by class", &[("eval/accuracy/*", "")]),
    panel("Held-out measures", &[("eval/measures/*", "")]),
    panel("Held-out steps of a reward model", &[("eval/step_accuracy", "accuracy"), ("eval/auroc", "AUROC")]),
    panel("Reward", &[("reward", "reward")]),
    panel("Rewards by name", &[("rewards/*/mean", "")]),
    panel("Loss", &[("loss", "loss")]),
    panel("Preference accuracy", &[("rewards/accuracies", "chosen above rejected")]),
    panel("Margin of chosen over rejected", &[("rewards/margins", "margin")]),
    panel("Log-probabilities of a pair", &[("logps/chosen", "chosen"), ("logps/rejected", "rejected")]),
    panel(
        "Tokens of a completion",
        &[
            ("completions/mean_length", "all"),
            ("completions/mean_length_correct", "right"),
            ("completions/mean_length_wrong", "wrong"),
        ],
    ),
    panel(
        "Cut off, without an answer",
        &[("completions/clipped_ratio", "cut off"), ("completions/unanswered", "no answer")],
    ),
    panel("Groups without a difference in reward", &[("frac_reward_zero_std", "share")]),
    panel("Entropy, nats a token", &[("entropy", "entropy")]),
    panel("KL from the reference, nats", &[("kl", "kl")]),
    panel(
        "STaR: questions that are solved",
        &[
            ("star/coverage", "coverage"),
            ("star/sampled_accuracy", "sampled accuracy"),
            ("star/hinted_accuracy", "hinted accuracy"),
        ],
    ),
    panel("Training accuracy", &[("accuracy", "accuracy"), ("accuracy/*", "")]),
    panel("Gradient norm", &[("grad_norm", "norm")]),
    panel("Most memory on a GPU, GB", &[("memory/gpu_peak", "peak")]),
    panel("Learning rate", &[("learning_rate", "learning rate")]),
];

/// The pictures of a stage in its round as the text of an SVG file; none where it has no figures.
///
/// # Errors
/// Figures that cannot be read; in the inner result, what the drawing library says.
pub fn curves(
    folder: &Path,
    stage: &str,
    round: usize,
) -> Result<Option<std::result::Result<String, String>>> {
    let lines = figures::lines(folder)?;
    let all = by_stage(&lines);
    let Some(series) = all.get(&(stage, round)) else { return Ok(None) };
    let panels: Vec<curves::Panel> = PANELS.iter().filter_map(|panel| drawn(panel, series)).collect();
    let title = if round > 1 { format!("{stage}, round {round}") } else { stage.to_string() };
    Ok((!panels.is_empty()).then(|| curves::curves(&title, &panels)))
}

fn drawn(panel: &Panel, series: &BTreeMap<String, Series>) -> Option<curves::Panel> {
    let mut lines = Vec::new();
    for (pattern, called) in panel.figures {
        for (name, of) in series.iter().filter(|(name, _)| fits(pattern, name)) {
            let called = if called.is_empty() { star(pattern, name) } else { called };
            lines.push(Line { name: called.to_string(), points: points(of), intervals: vec![] });
        }
    }
    if let (Some((low, high)), Some(line)) = (panel.interval, lines.first_mut()) {
        let bounds = |name: &str| series.get(name).map(points).unwrap_or_default();
        line.intervals = bounds(low)
            .into_iter()
            .zip(bounds(high))
            .map(|((step, low), (_, high))| (step, low, high))
            .collect();
    }
    lines.retain(|line| !line.points.is_empty());
    lines.truncate(LINES);
    let share = panel.figures.iter().all(|(figure, _)| is_share(figure));
    (!lines.is_empty()).then(|| curves::Panel { title: panel.title.to_string(), lines, share })
}

/// Whether the figures of this pattern are shares of a whole.
fn is_share(pattern: &str) -> bool {
    described(&pattern.replace('*', "x")).is_some_and(|row| row.unit == "share")
}

fn points(series: &Series) -> Vec<(f64, f64)> {
    let all = series.steps.iter().zip(&series.values);
    all.filter_map(|(step, value)| Some((*step as f64, (*value)?))).collect()
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some(_) => !star(pattern, name).is_empty(),
    }
}

/// What stands for the `*`; nothing where the name is no such.
fn star<'a>(pattern: &str, name: &'a str) -> &'a str {
    let parts = pattern.split_once('*');
    let inner = parts.and_then(|(head, tail)| name.strip_prefix(head)?.strip_suffix(tail)).unwrap_or("");
    if inner.contains('/') { "" } else { inner }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accuracy_is_a_share_and_a_loss_is_none() {
        let shares: Vec<&str> = PANELS
            .iter()
            .filter(|panel| panel.figures.iter().all(|(figure, _)| is_share(figure)))
            .map(|panel| panel.title)
            .collect();
        for title in ["Held-out accuracy, 95 % interval", "Preference accuracy", "Cut off, without an answer"]
        {
            assert!(shares.contains(&title), "{title}: {shares:?}");
        }
        assert!(!shares.contains(&"Loss") && !shares.contains(&"Reward"), "{shares:?}");
    }

    #[test]
    fn every_figure_of_a_picture_is_one_that_there_is() {
        for panel in PANELS {
            let bounds = panel.interval.iter().flat_map(|(low, high)| [*low, *high]);
            for figure in panel.figures.iter().map(|(figure, _)| *figure).chain(bounds) {
                let row =
                    described(&figure.replace('*', "x")).unwrap_or_else(|| panic!("{figure} is described"));
                assert!(!row.name.ends_with("eval/*"), "{figure} is some evaluation's");
            }
        }
    }

    #[test]
    fn a_family_is_told_by_what_stands_for_the_star() {
        assert_eq!(star("rewards/*/mean", "rewards/answer/mean"), "answer");
        assert!(fits("accuracy/*", "accuracy/digits = 1") && !fits("accuracy/*", "accuracy/a/b"));
        assert!(!fits("accuracy/*", "accuracy") && fits("loss", "loss") && !fits("loss", "losses"));
    }
}
