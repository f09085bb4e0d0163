//! `[loop.contrast]`: its keys, their defaults and which values they may have.

use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[loop.contrast]`: answers that depend on their rationales, by counterfactual ones. Rows with `choices`, of which some have altered premises and name in `counterfactual_of` the row that they
/// alter; the rationales say something of each option.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Contrast {
    /// What differences of cosines are divided by.
    pub beta: f64,
    /// γ of the rationales' mean −log p of a token, of both contexts.
    pub nll: f64,
    /// What a step (as `data.format.steps` parts them) begins with that analyses an option: `{letter}` and `{choice}` are filled
    /// in. Of several such steps all count.
    pub label: String,
    /// What becomes of pairs that cannot be compared: an option is not analysed, both contexts have the same answer, or no
    /// option is wrong in both.
    pub irregular: Irregular,
    /// Pairs of which either prompt and rationale are longer are left out, and counted; the model's context by default.
    pub max_tokens: Option<usize>,
}

/// What becomes of pairs that cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Irregular {
    /// The run stops and names the row.
    Refuse,
    /// The pair is left out, and counted by reason.
    Drop,
}

impl Default for Contrast {
    fn default() -> Self {
        Self {
            beta: 0.1,
            nll: 1.0,
            label: "({letter})".into(),
            irregular: Irregular::Refuse,
            max_tokens: None,
        }
    }
}

impl Contrast {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let rules = [
            (self.beta > 0.0 && self.beta.is_finite(), "beta", "it must be a positive number, such as 0.1"),
            (self.nll >= 0.0 && self.nll.is_finite(), "nll", "it must be a number of at least 0"),
            (
                self.label.contains("{letter}") || self.label.contains("{choice}"),
                "label",
                "it must contain {letter} or {choice}",
            ),
            (!matches!(self.max_tokens, Some(0 | 1)), "max_tokens", "it must be at least 2"),
        ];
        broken(&rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_checked() {
        let section: Contrast =
            toml::from_str("beta = 0.0\nnll = -1.0\nlabel = 'Option'\nmax_tokens = 1").unwrap();
        let keys: Vec<String> = section.check().into_iter().map(|misfit| misfit.key).collect();
        assert_eq!(keys, ["beta", "nll", "label", "max_tokens"]);
        assert_eq!(Contrast::default().check(), []);
    }
}
