//! The section of the loop: what is judged, by which head, from which labels.

use super::compared::Lists;
use super::trajectory::Targets;
use crate::policy::reward_model::Judges;
use crate::section::{Idle, Misfit, broken, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// `[loop.prm]`: a reward model of steps, outcomes or comparisons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prm {
    /// What is learned from the rows.
    pub learns: Learns,
    /// How a state becomes a score. Comparisons and lists have one unbounded number, whatever is said here.
    pub head: HeadKind,
    /// Ordered classes of `head = "classes"`: 2 for right and wrong; with n continuations of each step, n + 1.
    pub classes: usize,
    /// The classes, counted from 0, whose probabilities add up to a step's score. By default the score is the expected class over the
    /// highest. Planning-based DPO (arXiv 2402.00658) takes `[2, 3]` of the four that three continuations make.
    pub score_classes: Vec<usize>,
    /// The single token that says right, for `head = "vocabulary"`.
    pub positive: String,
    /// The single token that says wrong, for `head = "vocabulary"`.
    pub negative: String,
    /// What stands behind each step. Its tokens are appended as ids, and its last token is where the step is judged.
    pub separator: String,
    /// Tokens of prompt and completion together; the model's context by default.
    pub max_tokens: Option<usize>,
    /// What becomes of rows that are longer.
    pub too_long: TooLong,
    /// What trains: `all` (the adapters and the head, under LoRA), or the `head` alone.
    pub train: Train,
    /// What a rating of 0 means in the column `ratings` (−1 wrong, 1 right).
    pub neutral: Neutral,
    /// Who labels the steps of traces; rows with labels of their own are labelled by these.
    pub labels: Labeller,
    /// The reward that judged the steps of traces, for `labels = "judge"` and `"consensus"`.
    pub judge: String,
    /// What the continuations of a trace's step say of it.
    pub continuations: Continuations,
    /// Leave out what follows the first wrong step: there it is unknown what right would be.
    pub stop_at_error: bool,
    /// Learn the label of each row's last step alone.
    pub last_step_only: bool,
    /// `labels` weighs right and wrong labels so that both classes count alike; `none` takes them as they come.
    pub balance: Balance,
    /// Leave out rows whose prompt and steps were seen before; and of traces, labels of steps that were labelled before with
    /// the same steps leading up to them, as trees of prefixes have many.
    pub dedup: bool,
    /// Of pairs that are made of traces: the margin by which the chosen one is to be better is so many times the difference of their rewards.
    pub reward_margin: f64,
    /// What the lists are that are made of traces.
    pub lists: Option<Lists>,
    /// What the steps of a trajectory and the whole are to be worth.
    pub targets: Targets,
    /// Coefficient of (chosen + rejected)², which keeps the rewards of comparisons about 0.
    pub centring: f64,
    /// The score below which a step counts as wrong in evaluations; by default it is chosen on every other held-out
    /// row, and the figures are those of the rest.
    pub threshold: Option<f64>,
}

/// What is learned from a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Learns {
    /// A label for each step: columns `completions` or `steps` with `labels`, `step_labels`, `ratings` or `first_error`; or
    /// traces of `[rollout.prefix]`, whose steps were continued.
    Steps,
    /// A label for the whole: `completion` and `label`, or steps whose last label is the outcome's.
    Outcome,
    /// Which of two is better: `chosen` and `rejected`, with a `margin` where there is one; or traces, of which `[select]` and
    /// `[select.pairs]` make pairs, as for loop.dpo.
    Pairs,
    /// The worth of each of several: `completions` and as many `scores`; or traces, of whose groups `[select]` and `loop.prm.lists` make
    /// lists.
    Lists,
    /// What each step of a trajectory is worth, and what the whole is, by two numbers of one model (ReasonFlux-PRM): traces whose steps several rewards
    /// have scored, and traces that answer these; `loop.prm.targets` says how they become what is learned. Held-out rows have labels, as for `steps`.
    Trajectory,
}

/// How a state becomes a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// Ordered classes, cross-entropy.
    Classes,
    /// One number in [0, 1], squared error.
    Regression,
    /// The language model's own choice between two tokens, cross-entropy (Math-Shepherd, OpenAI's outcome models).
    Vocabulary,
}

/// What becomes of rows that are longer than `max_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// The run stops and names the row.
    Refuse,
    /// The row is left out; metrics.jsonl names it in `rows/left_out` of the stage's first step.
    Drop,
    /// The row's last steps are left out, with their labels; metrics.jsonl names it in `rows/cut` of the stage's first step.
    Cut,
}

/// What trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Train {
    /// Backbone (or its adapters) and head.
    All,
    /// The head alone: PURE's first stage.
    Head,
}

/// What a neutral rating means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Neutral {
    /// Right, as Qwen's models take PRM800K.
    Right,
    /// Wrong.
    Wrong,
    /// Nothing: the step has no label.
    Skip,
}

/// Who says which steps of a trace are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Labeller {
    /// The continuations of `[rollout.prefix]`.
    Continuations,
    /// A reward that judged the steps, such as `[reward.judge]` with `steps = true`.
    Judge,
    /// The continuations, where the judge names the same first error; other traces are left out and counted.
    Consensus,
}

/// What n continuations of a step, m of them good, say of it (Math-Shepherd).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Continuations {
    /// Right if any is good: m > 0.
    Hard,
    /// m / n.
    Soft,
}

/// How classes are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// As they come.
    None,
    /// Both count alike.
    Labels,
}

impl Default for Prm {
    fn default() -> Self {
        Self {
            learns: Learns::Steps,
            head: HeadKind::Classes,
            classes: 2,
            score_classes: vec![],
            positive: "+".into(),
            negative: "-".into(),
            separator: "\n".into(),
            max_tokens: None,
            too_long: TooLong::Refuse,
            train: Train::All,
            neutral: Neutral::Right,
            labels: Labeller::Continuations,
            judge: "judge".into(),
            continuations: Continuations::Hard,
            stop_at_error: true,
            last_step_only: false,
            balance: Balance::None,
            dedup: true,
            reward_margin: 0.0,
            lists: None,
            targets: Targets::default(),
            centring: 0.0,
            threshold: None,
        }
    }
}

impl Prm {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let soft = self.labels == Labeller::Consensus && self.continuations == Continuations::Soft;
        let bare = self.separator.is_empty() && matches!(self.learns, Learns::Steps | Learns::Trajectory);
        let alone = self.train == Train::Head && self.is_spoken();
        let named: BTreeSet<usize> = self.score_classes().into_iter().collect();
        let mut found = broken(&[
            (self.classes >= 2, "classes", "at least 2, wrong and right"),
            (
                named.iter().all(|class| *class < self.classes) && named.len() < self.classes,
                "score_classes",
                "they are some of `classes`, counted from 0, and not all of them, whose probabilities add up to 1",
            ),
            (
                !soft,
                "labels",
                "two agree on the first error, which soft labels do not name; use continuations = \"hard\"",
            ),
            (!bare, "separator", "it is empty: steps need something behind them, such as \"\\n\""),
            (
                self.centring >= 0.0 && self.centring.is_finite(),
                "centring",
                "it must be a finite number from 0 on, such as 0.01",
            ),
            (
                self.threshold.is_none_or(f64::is_finite),
                "threshold",
                "it must be a finite number, such as 0.5",
            ),
            (
                !alone,
                "train",
                "a vocabulary head is the model's own and has nothing to train by itself; use train = \"all\"",
            ),
            (!matches!(self.max_tokens, Some(0 | 1)), "max_tokens", "it must be at least 2"),
            (
                self.reward_margin >= 0.0 && self.reward_margin.is_finite(),
                "reward_margin",
                "it must be a finite number from 0 on, such as 1.0",
            ),
        ]);
        found.extend(under("lists", self.lists.iter().flat_map(Lists::check)));
        found.extend(under("targets", self.targets.check()));
        found
    }

    /// Keys that the others leave without effect, and why.
    pub fn without_effect(&self) -> Vec<Idle> {
        const OF_LABELS: [&str; 13] = [
            "head",
            "classes",
            "score_classes",
            "positive",
            "negative",
            "neutral",
            "labels",
            "judge",
            "continuations",
            "stop_at_error",
            "last_step_only",
            "balance",
            "threshold",
        ];
        let idle = |keys: &[&'static str], why: &'static str| {
            keys.iter().map(move |key| (*key, why)).collect::<Vec<_>>()
        };
        let pairs = idle(&["centring", "reward_margin"], "without learns = \"pairs\"");
        let lists = idle(&["lists"], "without learns = \"lists\"");
        let targets = idle(&["targets"], "without learns = \"trajectory\"");
        match self.learns {
            Learns::Pairs => return [idle(&OF_LABELS, "with learns = \"pairs\""), lists, targets].concat(),
            Learns::Lists => return [idle(&OF_LABELS, "with learns = \"lists\""), pairs, targets].concat(),
            Learns::Trajectory => {
                let own = OF_LABELS.iter().filter(|key| !["neutral", "threshold"].contains(*key));
                let own: Vec<&'static str> = own.copied().collect();
                return [idle(&own, "with learns = \"trajectory\""), pairs, lists].concat();
            }
            Learns::Steps | Learns::Outcome => {}
        }
        let mut found = [pairs, lists, targets].concat();
        if self.learns == Learns::Outcome {
            found.extend(idle(&["last_step_only"], "with learns = \"outcome\""));
        }
        if self.head != HeadKind::Classes {
            found.extend(idle(&["classes", "score_classes"], "without head = \"classes\""));
        }
        if self.head != HeadKind::Vocabulary {
            found.extend(idle(&["positive", "negative"], "without head = \"vocabulary\""));
        }
        match self.labels {
            Labeller::Continuations => found.extend(idle(&["judge"], "with labels = \"continuations\"")),
            Labeller::Judge => found.extend(idle(&["continuations"], "with labels = \"judge\"")),
            Labeller::Consensus => {}
        }
        found
    }

    /// The classes that make a score, where the head has classes: each once.
    pub(super) fn score_classes(&self) -> Vec<usize> {
        let named = self.score_classes.iter().copied().collect::<BTreeSet<_>>();
        let has = self.head == HeadKind::Classes && !self.compares();
        if has { named.into_iter().collect() } else { vec![] }
    }

    /// Whether it learns from comparisons, which leave the reward's zero and unit open.
    pub fn compares(&self) -> bool {
        matches!(self.learns, Learns::Pairs | Learns::Lists)
    }

    /// Whether it learns labels of right and wrong.
    pub fn learns_labels(&self) -> bool {
        matches!(self.learns, Learns::Steps | Learns::Outcome)
    }

    /// Whether a score is what the model would write: it then goes on generating.
    pub fn is_spoken(&self) -> bool {
        self.head == HeadKind::Vocabulary && self.learns_labels()
    }

    /// What the model will judge.
    pub fn judges(&self) -> Judges {
        match self.learns {
            Learns::Steps => Judges::Steps,
            Learns::Trajectory => Judges::Trajectory,
            Learns::Outcome | Learns::Pairs | Learns::Lists => Judges::Outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_the_classes_make_a_score() {
        let found = |keys: &str| -> Vec<String> {
            let section: Prm = toml::from_str(keys).unwrap();
            section.check().into_iter().map(|misfit| misfit.key).collect()
        };
        assert_eq!(found("classes = 4\nscore_classes = [3, 2, 3]"), [""; 0]);
        assert_eq!(found("classes = 4\nscore_classes = [4]"), ["score_classes"]);
        assert_eq!(found("score_classes = [0, 1]"), ["score_classes"]);
        let section: Prm = toml::from_str("classes = 4\nscore_classes = [3, 2, 3]").unwrap();
        assert_eq!(section.score_classes(), [2, 3]);
        assert_eq!(Prm { head: HeadKind::Regression, ..section }.score_classes(), [0; 0]);
    }

    #[test]
    fn what_the_other_keys_leave_without_effect_is_named() {
        let idle = |keys: &str| -> Vec<&'static str> {
            let section: Prm = toml::from_str(keys).unwrap();
            section.without_effect().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(
            idle(""),
            ["centring", "reward_margin", "lists", "targets", "positive", "negative", "judge"]
        );
        assert_eq!(
            idle("head = 'vocabulary'\nlabels = 'consensus'"),
            ["centring", "reward_margin", "lists", "targets", "classes", "score_classes"]
        );
        assert!(idle("learns = 'outcome'\nlabels = 'judge'").contains(&"last_step_only"));
        let (pairs, lists) = (idle("learns = 'pairs'"), idle("learns = 'lists'"));
        assert!(pairs.contains(&"head") && pairs.contains(&"threshold") && !pairs.contains(&"centring"));
        assert_eq!(lists.len(), pairs.len() + 1);
        let trajectory = idle("learns = 'trajectory'");
        assert!(
            trajectory.contains(&"head")
                && !trajectory.contains(&"targets")
                && !trajectory.contains(&"threshold")
        );
    }
}
