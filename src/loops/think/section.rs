//! `[loop.think]`: its keys, their defaults and which values they may have.

use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[loop.think]`: a language model that learns to think before each token of ordinary text, by what its thoughts do for the tokens that follow. Each row is one
/// text: its prompt and completion, or a column `text`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Think {
    /// Tokens of the text that are learned together: of longer rows a stretch from a random place.
    pub window: usize,
    /// Tokens of a thought, with the two that begin and end it.
    pub thought: usize,
    /// Tokens of the text behind a thought that it is judged by.
    pub ahead: usize,
    /// Thoughts of each place, whose mean is the baseline.
    pub passes: usize,
    /// Places of each window that are thought at, drawn anew in each step; all by default. 0 goes on with the text alone.
    pub positions: Option<usize>,
    /// What begins and ends a thought is at first embedded as the mean of this text's tokens, such as "---"; as the mean of all tokens by default. Only of a model that
    /// does not think yet.
    pub init_from: Option<String>,
    /// The embeddings of what begins and ends a thought are learned so many times as fast as other weights. Only of a model that does not
    /// think yet.
    pub lr_scale: f64,
    /// Share of the text without thoughts in the loss; the rest is of the text with them.
    pub base_weight: f64,
    /// Weight of the thoughts' own likelihood, times their advantage. (The released code has 1e6, with a learning rate of 1e-6 and gradients clipped to 1.)
    pub policy_weight: f64,
    /// Learn only from thoughts that are better than the mean of their place.
    pub positive_only: bool,
    /// The temperature that thoughts are sampled at.
    pub temperature: f64,
    /// The temperature at which their likelihood is learned.
    pub policy_temperature: f64,
}

impl Default for Think {
    fn default() -> Self {
        Self {
            window: 256,
            thought: 12,
            ahead: 4,
            passes: 2,
            positions: None,
            init_from: None,
            lr_scale: 100.0,
            base_weight: 0.5,
            policy_weight: 1.0,
            positive_only: true,
            temperature: 1.0,
            policy_temperature: 3.0,
        }
    }
}

impl Think {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let weight = |x: f64| x >= 0.0 && x.is_finite();
        broken(&[
            (
                self.thought >= 3,
                "thought",
                "it must be at least 3: one that begins it, one that ends it, one that is thought",
            ),
            (self.ahead >= 1, "ahead", "it must be at least 1"),
            (
                self.window > self.ahead,
                "window",
                "it must be longer than ahead, so that there is a place to think at",
            ),
            (self.passes >= 1, "passes", "it must be at least 1"),
            (
                self.passes >= 2 || self.policy_weight == 0.0 || self.positions == Some(0),
                "passes",
                "one thought is its own mean, so that nothing is learned of it; 2 or more, or policy_weight = 0",
            ),
            (
                !self.init_from.as_ref().is_some_and(String::is_empty),
                "init_from",
                "it must be a text that is not empty",
            ),
            (positive(self.lr_scale), "lr_scale", "it must be a positive number"),
            ((0.0..=1.0).contains(&self.base_weight), "base_weight", "it must be from 0 to 1"),
            (
                self.base_weight > 0.0 || self.positions != Some(0),
                "base_weight",
                "with positions = 0 nothing else is learned; it must be above 0",
            ),
            (weight(self.policy_weight), "policy_weight", "it must be a number of at least 0"),
            (
                self.temperature >= 0.001 && self.temperature.is_finite(),
                "temperature",
                "it must be at least 0.001",
            ),
            (positive(self.policy_temperature), "policy_temperature", "it must be a positive number"),
        ])
    }

    /// That a window and what is thought in it do not fit into a model of this context, where that is so.
    pub(super) fn too_wide(&self, context: usize) -> Option<Misfit> {
        let (window, thought) = (self.window, self.thought);
        let message = format!(
            "loop.think.window = {window} and loop.think.thought = {thought} are more than the model's context of {context}"
        );
        (window + thought > context).then(|| Misfit::new("window", message, "lower the window"))
    }

    /// Sampled tokens of a thought.
    pub fn sampled(&self) -> usize {
        self.thought - 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_checked() {
        let keys = |text: &str| -> Vec<String> {
            let section: Think = toml::from_str(text).unwrap();
            section.check().into_iter().map(|misfit| misfit.key).collect()
        };
        assert_eq!(keys(""), [""; 0]);
        assert_eq!(
            keys(
                "window = 4\nthought = 2\npasses = 1\nlr_scale = 0.0\nbase_weight = 1.5\npolicy_weight = -1.0\ntemperature = 0.0\ninit_from = ''"
            ),
            [
                "thought",
                "window",
                "passes",
                "init_from",
                "lr_scale",
                "base_weight",
                "policy_weight",
                "temperature"
            ]
        );
        assert_eq!(keys("passes = 1\npolicy_weight = 0.0"), [""; 0]);
        assert_eq!(keys("positions = 0\nbase_weight = 0.0"), ["base_weight"]);
    }
}
