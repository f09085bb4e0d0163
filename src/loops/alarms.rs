//! Signs that a policy is gaming its rewards or falling apart, each said in one sentence.

use crate::advantage::zero_variance;
use crate::error::Result;
use crate::log::{ALARMS, Metrics};
use crate::ranks::{Ranks, gathered, in_turn};
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

/// What is looked at of a group: ranks tell each other these, so that all see the whole step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    equal: bool,
    tokens: Vec<usize>,
    nll: f64,
    sampled: usize,
    unique: Option<f64>,
    scores: BTreeMap<String, Vec<f64>>,
}

impl Seen {
    /// Looks at a group.
    pub fn of(group: &Group) -> Self {
        let rollouts = &group.rollouts;
        let logprobs = || rollouts.iter().flat_map(|rollout| &rollout.logprobs);
        let texts: HashSet<&str> = rollouts.iter().map(|rollout| rollout.text.as_str()).collect();
        let mut scores: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, score) in rollouts.iter().flat_map(|rollout| &rollout.scores) {
            scores.entry(name.clone()).or_default().push(score.value);
        }
        Self {
            equal: zero_variance(&group.rewards()),
            tokens: rollouts.iter().map(Rollout::sampled).collect(),
            nll: logprobs().map(|&logprob| -f64::from(logprob)).sum(),
            sampled: logprobs().count(),
            unique: (rollouts.len() >= 4).then(|| texts.len() as f64 / rollouts.len() as f64),
            scores,
        }
    }

    /// The same where equal rewards teach all the same, of which then nothing is to be said.
    pub fn unless(self, equal_teaches: bool) -> Self {
        Self { equal: self.equal && !equal_teaches, ..self }
    }
}

impl Signs {
    /// Of what was seen of a step's groups, under these rewards with their weights.
    fn of<'a>(seen: &[Seen], weights: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let unique: Vec<f64> = seen.iter().filter_map(|group| group.unique).collect();
        let sampled: usize = seen.iter().map(|group| group.sampled).sum();
        Self {
            equal: mean(seen.iter().map(|group| f64::from(u8::from(group.equal)))),
            length: mean(seen.iter().flat_map(|group| &group.tokens).map(|&tokens| tokens as f64)),
            mean_nll: seen.iter().map(|group| group.nll).sum::<f64>() / sampled as f64,
            unique: (!unique.is_empty()).then(|| mean(unique)),
            largest: largest(seen, weights),
        }
    }
}

fn largest<'a>(seen: &[Seen], weights: impl Iterator<Item = (&'a str, f64)>) -> Option<(String, f64)> {
    let variance = |(name, weight): (&str, f64)| {
        let values: Vec<f64> =
            seen.iter().filter_map(|group| group.scores.get(name)).flatten().copied().collect();
        (name.to_owned(), (weight * deviation(&values)).powi(2))
    };
    let varying: Vec<(String, f64)> =
        weights.map(variance).filter(|(_, variance)| *variance > 1e-12).collect();
    let total: f64 = varying.iter().map(|(_, variance)| variance).sum();
    let most = varying.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (varying.len() > 1).then(|| (most.0.clone(), most.1 / total))
}

impl Alarms {
    /// Warns of what the groups of `step` call for, those of all ranks together, under the rewards' weights by name; the first rank says
    /// it, in the figures too.
    ///
    /// # Errors
    /// [`Error::Ranks`](crate::Error::Ranks) where the ranks cannot tell each other.
    pub fn watch<'a>(
        &mut self,
        own: Vec<Seen>,
        weights: impl Iterator<Item = (&'a str, f64)>,
        step: usize,
        ranks: &dyn Ranks,
        metrics: &mut Metrics,
    ) -> Result<()> {
        let unique = own.iter().filter_map(|group| group.unique);
        unique.for_each(|unique| metrics.add("completions/unique_ratio", unique, 1.0));
        let sentences = self.check(&Signs::of(&in_turn(gathered(ranks, own)?), weights), step);
        if ranks.is_first() && !sentences.is_empty() {
            sentences.iter().for_each(|sentence| tracing::warn!("{sentence}"));
            metrics.name(ALARMS, sentences);
        }
        Ok(())
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
                "the policy's entropy has fallen to {:.3} nats a token, from {mean_nll:.3}: it hardly explores any more",
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
                    "[reward.{name}] has {:.1} % of the variance of the total reward: the other rewards have almost no influence",
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
        let signs = Signs::of(&[Seen::of(&one)], weights.into_iter());
        // 12 tokens in 4 completions, 2 different of 4; both vary alike, so the variances are as 100 to 1.
        assert_eq!((signs.equal, signs.length, signs.mean_nll, signs.unique), (1.0, 3.0, 0.5, Some(0.5)));
        let (name, share) = signs.largest.unwrap();
        assert!(name == "big" && (share - 100.0 / 101.0).abs() < 1e-12);
    }

    /// Each rank has some of the groups, and a group of equal rewards on one is no sign for all.
    #[test]
    fn ranks_see_what_one_sees() {
        let mut groups = ["ab", "cd", "ef"].map(|text| group(None, &[], &[text, "b"]));
        for (at, group) in groups.iter_mut().enumerate() {
            group.rollouts[0].logprobs = vec![-0.1 * at as f32 - 0.3; 3];
            group
                .rollouts
                .iter_mut()
                .zip([1.0, at as f64])
                .for_each(|(rollout, reward)| rollout.reward = reward);
        }
        let seen: Vec<Seen> = groups.iter().map(Seen::of).collect();
        let one = Signs::of(&seen, std::iter::empty());
        let shares = [vec![seen[0].clone(), seen[2].clone()], vec![seen[1].clone()]];
        assert_eq!(Signs::of(&in_turn(shares.to_vec()), std::iter::empty()), one);
        assert_eq!((one.equal * 3.0).round(), 1.0);
    }
}
