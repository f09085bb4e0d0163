//! `[loop.dpo]`: its keys, their defaults and which values they may have.

use super::flow::Flow;
use crate::loops::OfTraces;
use crate::loss::PreferenceLoss;
use crate::policy::Refresh;
use crate::section::{Misfit, broken, under};
use crate::select::pairs::PairKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[loop.dpo]`: preferences, of rows or of the policy's own completions (DPO and its relatives).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dpo {
    /// What is minimised.
    pub loss: PreferenceLoss,
    /// Learn from pairs of the policy's own fresh rollouts, as `[select.pairs]` makes them in each step; off, from the
    /// rows' `chosen` and `rejected` (for `kto` also `completion` and `label`), or from pairs of the rows' traces.
    pub online: bool,
    /// Write completions in chunks, by two adapters in turns, and pair what another chunk or another decision to stop would
    /// have led to (Flow-DPO, arXiv 2410.22304): in the place of `[rollout]`, `[select]` and `[reward]`, which are refused
    /// beside it. Needs `online = true` and `[policy.lora]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// Which tokens of a pair count in the preference.
    pub mask: Mask,
    /// What the preference is about.
    pub about: About,
    /// How much each pair of traces or rollouts counts.
    pub weigh: Weigh,
    /// Margin that a pair of traces or rollouts gets for each unit by which their rewards differ (ODPO, arXiv
    /// 2402.10571).
    pub reward_margin: f64,
    /// How often the reference policy follows the policy (TR-DPO, arXiv 2404.09656).
    pub reference: Refresh,
    /// Score all rows under the reference policy once, before the first step, and keep that in the run: no second copy of
    /// the weights. Off, each step scores its own rows by a copy (under LoRA by the base, without a copy).
    pub precompute_reference: bool,
    /// Pairs with a longer prompt and completion are left out, and counted; the model's context by default.
    pub max_tokens: Option<usize>,
    /// Steps in a row over which the log-probabilities of both chosen and rejected completions may fall before there is
    /// a warning; 0 never warns.
    pub alarm_after: usize,
}

impl Default for Dpo {
    fn default() -> Self {
        Self {
            loss: PreferenceLoss::default(),
            online: false,
            flow: None,
            mask: Mask::None,
            about: About::Completions,
            weigh: Weigh::Pairs,
            reward_margin: 0.0,
            reference: Refresh::default(),
            precompute_reference: false,
            max_tokens: None,
            alarm_after: 20,
        }
    }
}

/// Which tokens of a pair count in the preference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// All of both completions.
    #[default]
    None,
    /// Only what follows the tokens that both completions begin with.
    SharedPrefix,
}

/// What the preference is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// Completions of one prompt.
    #[default]
    Completions,
    /// The answer of the chosen completion: better after its own rationale than after that of the rejected one, both of
    /// which are only read. `loss.nll` is then its −log p after its own rationale, and `loss.rationale` weighs −log p of the
    /// rejected completion's answer after the rejected rationale (FRODO's reasoner, arXiv 2402.13950).
    Answers,
}

/// How much each pair counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weigh {
    /// All pairs alike.
    #[default]
    Pairs,
    /// All questions alike: the more pairs a question has, the less each counts.
    Questions,
    /// All gold answers alike: the more pairs an answer has, the less each counts. For verdicts, of which one comes more often than the
    /// other (R-PRM, arXiv 2503.21295, leaves pairs of that one out).
    Answers,
}

impl Dpo {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = under("loss", self.loss.check());
        found.extend(under("reference", self.reference.check()));
        let answers = self.about == About::Answers;
        found.extend(broken(&[
            (!matches!(self.max_tokens, Some(0 | 1)), "max_tokens", "it must be at least 2"),
            (self.reward_margin.is_finite(), "reward_margin", "it must be a finite number"),
            (
                self.reward_margin == 0.0 || self.loss.takes_margins(),
                "reward_margin",
                "this kind of loss takes no margin; take it out, or use loss.kind = \"sigmoid\"",
            ),
            (
                self.mask != Mask::SharedPrefix || !self.loss.unpaired(),
                "mask",
                "kto learns from single completions, which share no prefix; take it out",
            ),
            (
                !answers || (self.mask != Mask::SharedPrefix && !self.loss.unpaired()),
                "about",
                "it compares one answer under two rationales; take mask and kto out",
            ),
            (
                self.loss.needs_reference() || self.reference.every == 0,
                "reference",
                "this kind of loss has no reference policy; take it out",
            ),
        ]));
        if let Some(flow) = &self.flow {
            found.extend(under("flow", flow.check()));
            found.extend(self.clashes_with_flow());
        }
        let early = match () {
            _ if !self.precompute_reference => None,
            _ if self.online => Some("fresh rollouts are not there before the first step"),
            _ if self.reference.every > 0 => {
                Some("a reference that moves is not the one of before the first step")
            }
            _ if self.loss.unpaired() => {
                Some("kto also scores completions under each other's prompts, which differ from step to step")
            }
            _ => None,
        };
        found.extend(early.map(|why| Misfit::new("precompute_reference", why, "take it out")));
        found
    }

    /// What does not go with `loop.dpo.flow`.
    fn clashes_with_flow(&self) -> Vec<Misfit> {
        let whole = self.mask == Mask::None && self.weigh == Weigh::Pairs;
        let plain = self.reward_margin == 0.0 && self.max_tokens.is_none();
        broken(&[
            (self.online, "flow", "its completions are written in each step; set online = true"),
            (self.about != About::Answers, "flow", "it pairs chunks, which have no answer; take about out"),
            (!self.loss.unpaired(), "flow", "it makes pairs, and kto learns from single completions"),
            (whole, "flow", "its pairs are chunks, which all count alike and whole; take mask and weigh out"),
            (
                plain,
                "flow",
                "chunks have no margin and a length of their own; take reward_margin and max_tokens out",
            ),
            (
                self.reference.every == 0,
                "flow",
                "its reference is the base under both adapters; take reference out",
            ),
        ])
    }

    /// What traces have to have for pairs of this `kind`.
    pub(super) fn of_traces(&self, kind: PairKind) -> Option<(&'static str, OfTraces)> {
        let of = match kind {
            _ if self.loss.unpaired() => return None,
            PairKind::FirstError => OfTraces::Cuts,
            PairKind::Branches => OfTraces::Branches,
            PairKind::Siblings => OfTraces::Forks,
            PairKind::PathLabel => OfTraces::Votes,
            _ => return None,
        };
        Some(("select.pairs.kind", of))
    }

    /// Whether a reference policy has to be there while it learns.
    pub fn needs_reference(&self) -> bool {
        self.loss.needs_reference() && !self.precompute_reference
    }
}
