//! `[loop.mario]`: its keys, their defaults and which values they may have.

use crate::loss::kl::{Estimator, NO_PENALTY};
use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[loop.mario]`: several rewards by control tokens, a pool of the policy's own completions learned by how good they are (MaRio). The rewards are those of `[reward]`, one control token each; their weights do not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mario {
    /// Quantiles that the pool is cut into by each reward, and so control tokens a reward.
    pub quantiles: usize,
    /// Rewards that are cut at fixed scores instead, in rising order: `borders.answer = [0.5]` has two tokens, for wrong
    /// and right.
    pub borders: BTreeMap<String, Vec<f64>>,
    /// What says a quantile, `{reward}` and `{quantile}` (0 is the worst) filled in; the texts of all rewards in the
    /// recipe's order stand between prompt and completion. They are text that the tokenizer encodes, not new ids: nothing
    /// is resized, what is saved loads anywhere, and who asks the trained policy writes them after the prompt.
    pub control: String,
    /// Whether the pool begins with the rows' own completions, beside samples of the policy.
    pub rows: bool,
    /// Steps between explorations, which sample `rollout.group.size` completions of each question under the best control
    /// tokens. The paper's 4000 steps of 4 rows are a pass or more over its data.
    pub sample_every: usize,
    /// Questions of an exploration, the first aside, which asks all; all by default.
    pub sample_questions: Option<usize>,
    /// Times the KL to the policy as it was at the start, which does not see the control tokens.
    pub kl_coefficient: f64,
    /// How the KL is estimated from the tokens learned. They are the pool's, not fresh samples of the policy; `k2` stays
    /// tame there, where the exponential of `k3` may not. (The paper sums over the vocabulary.)
    pub kl_estimator: Estimator,
    /// Added to the loss: −coefficient · entropy; the paper has 0.
    pub entropy_coefficient: f64,
}

impl Default for Mario {
    fn default() -> Self {
        Self {
            quantiles: 5,
            borders: BTreeMap::new(),
            control: "<{reward}:{quantile}>".into(),
            rows: true,
            sample_every: 500,
            sample_questions: None,
            kl_coefficient: 0.1,
            kl_estimator: Estimator::K2,
            entropy_coefficient: 0.0,
        }
    }
}

impl Mario {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let finite = |value: f64| (value.is_finite(), "it must be a finite number");
        let (entropy, number) = finite(self.entropy_coefficient);
        let kl = self.kl_coefficient.is_finite() && self.kl_coefficient >= 0.0;
        let named = self.control.contains("{reward}") && self.control.contains("{quantile}");
        let mut found = broken(&[
            (self.quantiles > 0, "quantiles", "it must be at least 1"),
            (self.sample_every > 0, "sample_every", "it must be at least 1"),
            (
                self.sample_questions != Some(0),
                "sample_questions",
                "it must be at least 1; leave it out for all",
            ),
            (named, "control", "it must contain {reward} and {quantile}"),
            (kl, "kl_coefficient", NO_PENALTY),
            (entropy, "entropy_coefficient", number),
        ]);
        let rising = |borders: &Vec<f64>| borders.is_sorted() && borders.iter().all(|b| b.is_finite());
        for (name, _) in self.borders.iter().filter(|(_, borders)| !rising(borders)) {
            found.push(Misfit::new(
                format!("borders.{name}"),
                "they must be finite numbers in rising order",
                "",
            ));
        }
        found
    }

    /// Whether a reference policy is needed.
    pub fn needs_reference(&self) -> bool {
        self.kl_coefficient != 0.0
    }

    /// The control text of one quantile a reward, in the order of `names`.
    pub fn control<'a>(&self, quantiles: impl IntoIterator<Item = (&'a str, usize)>) -> String {
        let one = |(name, quantile): (&str, usize)| {
            self.control.replace("{reward}", name).replace("{quantile}", &quantile.to_string())
        };
        quantiles.into_iter().map(one).collect()
    }

    /// The control text of the best quantile of each reward: what exploration and evaluation ask for.
    pub fn best<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> String {
        self.control(names.into_iter().map(|name| (name, self.tokens(name) - 1)))
    }

    /// Control tokens of a reward.
    pub(super) fn tokens(&self, name: &str) -> usize {
        self.borders.get(name).map_or(self.quantiles, |borders| borders.len() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_texts_name_the_rewards_in_order() {
        let mario: Mario = toml::from_str("borders.answer = [0.5]").unwrap();
        assert_eq!(mario.check(), []);
        assert_eq!(mario.best(["length", "answer"]), "<length:4><answer:1>");
        assert_eq!(mario.control([("answer", 0), ("length", 2)]), "<answer:0><length:2>");
    }

    #[test]
    fn the_section_is_checked() {
        let text = "quantiles = 0\ncontrol = '{reward}'\nborders.answer = [0.5, 0.0]\nkl_coefficient = inf";
        let section: Mario = toml::from_str(text).unwrap();
        let keys: Vec<String> = section.check().into_iter().map(|misfit| misfit.key).collect();
        assert_eq!(keys, ["quantiles", "control", "kl_coefficient", "borders.answer"]);
    }
}
