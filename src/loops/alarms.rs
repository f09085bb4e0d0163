//! Signs that a policy is gaming its rewards or falling apart, each said in one sentence.

use crate::advantage::zero_variance;
use crate::log::{ALARMS, Metrics};
use crate::rollout::{Group, Rollout};
use crate::statistics::{deviation, mean};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Steps for which an alarm that has sounded is silent.
const SILENCE: usize = 50;
/// Steps whose mean is what later ones are compared with.
const START: usize = 5;

/// What the alarms remember of the steps before: kept with every checkpoint, so that a run that resumes says what it would have said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alarms {
    lengths: Vec<f64>,
    mean_nlls: Vec<f64>,
    last: BTreeMap<String, usize>,
}

/// What the alarms look at in a step's rollouts.
#[derive(Debug, Clone, PartialEq)]
pub struct Signs {
    /// Share of groups in which all rewards are equal.
    pub equal: f64,
    /// Mean tokens of a completion.
    pub length: f64,
    /// Mean −log p of the sampled tokens, in nats: an estimate of the entropy.
    pub mean_nll: f64,
    /// Mean share of different texts in a group of at least four.
    pub unique: Option<f64>,
    /// The reward that has most of the variance of the weighted sum, and its share, where others vary too.
    pub largest: Option<(String, f64)>,
}

impl Signs {
    /// Of a step's groups, under these rewards with their weights.
    pub fn of<'a>(groups: &[Group], weights: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let rollouts = || groups.iter().flat_map(|group| &group.rollouts);
        let logprobs = || rollouts().flat_map(|rollout| &rollout.logprobs);
        let unique = |group: &Group| {
            let texts: HashSet<&str> = group.rollouts.iter().map(|r| r.text.as_str()).collect();
            texts.len() as f64 / group.rollouts.len() as f64
        };
        let of_size: Vec<f64> = groups.iter().filter(|group| group.rollouts.len() >= 4).map(unique).collect();
        Self {
            equal: mean(groups.iter().map(|group| f64::from(u8::from(zero_variance(&group.rewards()))))),
            length: mean(rollouts().map(|rollout| rollout.tokens.len() as f64)),
            mean_nll: mean(logprobs().map(|&logprob| -f64::from(logprob))),
            unique: (!of_size.is_empty()).then(|| mean(of_size.iter().copied())),
            largest: largest(&rollouts().collect::<Vec<_>>(), weights),
        }
    }
}

fn largest<'a>(
    rollouts: &[&Rollout],
    weights: impl Iterator<Item = (&'a str, f64)>,
) -> Option<(String, f64)> {
    let variance = |(name, weight): (&str, f64)| {
        let values: Vec<f64> =
            rollouts.iter().filter_map(|rollout| rollout.scores.get(name)).map(|score| score.value).collect();
        (name.to_owned(), (weight * deviation(&values)).powi(2))
    };
    let varying: Vec<(String, f64)> =
        weights.map(variance).filter(|(_, variance)| *variance > 1e-12).collect();
    let total: f64 = varying.iter().map(|(_, variance)| variance).sum();
    let most = varying.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (varying.len() > 1).then(|| (most.0.clone(), most.1 / total))
}

impl Alarms {
    /// Warns of what the rollouts of `step` call for, under the rewards' weights by name; the `first` of several ranks says it in the
    /// figures too.
    pub fn watch<'a>(
        &mut self,
        groups: &[Group],
        weights: impl Iterator<Item = (&'a str, f64)>,
        (step, first): (usize, bool),
        metrics: &mut Metrics,
    ) {
        let signs = Signs::of(groups, weights);
        if let Some(unique) = signs.unique {
            let compared = groups.iter().filter(|group| group.rollouts.len() >= 4).count();
            metrics.add("completions/unique_ratio", unique, compared as f64);
        }
        let sentences = self.check(&signs, step);
        sentences.iter().for_each(|sentence| tracing::warn!("{sentence}"));
        if first && !sentences.is_empty() {
            metrics.name(ALARMS, sentences);
        }
    }

    /// The sentences that `step` calls for; one that has been said is not said again for a while.
    pub fn check(&mut self, signs: &Signs, step: usize) -> Vec<String> {
        let mut sentences = Vec::new();
        for (kind, sentence) in self.sentences(signs) {
            if self.last.get(kind).is_none_or(|&last| step >= last + SILENCE) {
                self.last.insert(kind.to_string(), step);
                sentences.push(format!("step {step}: {sentence}"));
            }
        }
        // Of a step without rollouts there is no mean, and what is kept has to be a number.
        if self.lengths.len() < START && signs.length.is_finite() && signs.mean_nll.is_finite() {
            self.lengths.push(signs.length);
            self.mean_nlls.push(signs.mean_nll);
        }
        sentences
    }

    fn sentences(&self, signs: &Signs) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut say = |kind, holds: bool, sentence: String| {
            if holds {
                found.push((kind, sentence));
            }
        };
        let begun = self.lengths.len() == START;
        let (length, mean_nll) = (mean(self.lengths.iter().copied()), mean(self.mean_nlls.iter().copied()));
        say(
            "equal",
            signs.equal > 0.9,
            format!(
                "in {:.0} % of the groups all rewards are equal, so hardly anything is learned",
                100.0 * signs.equal
            ),
        );
        say(
            "length",
            begun && signs.length > 2.0 * length,
            format!(
                "completions have {:.0} tokens on average, more than twice the {length:.0} of the start",
                signs.length
            ),
        );
        say(
            "entropy",
            begun && signs.mean_nll < 0.1 * mean_nll,
            format!(
                "the policy's entropy has fallen to {:.3} nats a token, from {mean_nll:.3}: it explores no more",
                signs.mean_nll
            ),
        );
        if let Some(unique) = signs.unique {
            say(
                "repeated",
                unique < 0.3,
                format!("only {:.0} % of a group's completions differ from each other", 100.0 * unique),
            );
        }
        if let Some((name, share)) = &signs.largest {
            say(
                "largest",
                *share > 0.995,
                format!(
                    "[reward.{name}] has {:.1} % of the variance of the sum: the other rewards have no say",
                    100.0 * share
                ),
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::tests::group;
    use crate::rollout::Score;

    fn quiet() -> Signs {
        Signs { equal: 0.0, length: 10.0, mean_nll: 1.0, unique: Some(1.0), largest: None }
    }

    #[test]
    fn each_alarm_sounds_once_in_a_while() {
        let mut alarms = Alarms::default();
        for step in 1..=START {
            assert!(alarms.check(&quiet(), step).is_empty());
        }
        let bad = Signs {
            equal: 0.95,
            length: 21.0,
            mean_nll: 0.09,
            unique: Some(0.25),
            largest: Some(("length".into(), 0.999)),
        };
        let said = alarms.check(&bad, 6);
        assert_eq!(said.len(), 5, "{said:?}");
        assert_eq!(
            said[0],
            "step 6: in 95 % of the groups all rewards are equal, so hardly anything is learned"
        );
        assert!(said[1].contains("21 tokens on average, more than twice the 10"));
        assert!(said[4].contains("[reward.length] has 99.9 %"));
        assert!(alarms.check(&bad, 55).is_empty());
        assert_eq!(alarms.check(&bad, 56).len(), 5);
        assert!(Alarms::default().check(&quiet(), 1).is_empty());
    }

    /// What a run that resumes says is what it would have said.
    #[test]
    fn alarms_that_are_kept_go_on_as_they_were() {
        let (mut alarms, mut kept) = (Alarms::default(), Alarms::default());
        let nothing = Signs { length: f64::NAN, ..quiet() };
        for step in 1..=60 {
            let signs = match step {
                1 => nothing.clone(),
                2..20 => quiet(),
                _ => Signs { length: 30.0, equal: 1.0, ..quiet() },
            };
            kept = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
            assert_eq!(kept.check(&signs, step), alarms.check(&signs, step));
        }
        assert_eq!((kept.lengths.len(), kept == alarms), (START, true));
    }

    #[test]
    fn signs_are_read_from_the_rollouts() {
        let mut one = group(None, &[], &["ab", "ab", "ab", "abcdef"]);
        for (rollout, (big, small)) in
            one.rollouts.iter_mut().zip([(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
        {
            rollout.scores.insert("big".into(), Score::from(big));
            rollout.scores.insert("small".into(), Score::from(small));
            rollout.scores.insert("same".into(), Score::from(7.0));
            rollout.reward = 0.0;
            rollout.logprobs = vec![-0.5; 2];
        }
        let weights = [("big", 10.0), ("small", 1.0), ("same", 1.0)];
        let signs = Signs::of(&[one], weights.into_iter());
        // 12 tokens in 4 completions, 2 different of 4; both vary alike, so the variances are as 100 to 1.
        assert_eq!((signs.equal, signs.length, signs.mean_nll, signs.unique), (1.0, 3.0, 0.5, Some(0.5)));
        let (name, share) = signs.largest.unwrap();
        assert!(name == "big" && (share - 100.0 / 101.0).abs() < 1e-12);
    }
}
