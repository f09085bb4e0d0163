//! Asking a reward so that no failure becomes a number: about one group, or about several at once.

use crate::data::{Example, Tokenizer};
use crate::error::panic_message;
use crate::reward::{Models, SharedReward};
use crate::rollout::{Group, Score};
use crossbeam::channel::unbounded;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Squares of scores and weights up to this one, and sums of many, are numbers that f32 has too.
pub(super) const LARGEST: f64 = 1e15;

/// What came of a group: its example, the seconds that it took, and its scores or why there are none.
pub(super) type Outcome = (Arc<Example>, f64, anyhow::Result<Vec<Score>>);

/// The scores of groups, in order, up to the first failure. As many are asked about at once as the reward allows; after a failure
/// nobody asks about later ones, while those before it are asked about, so that the failure that is told is always the same.
pub(super) fn together<G: Borrow<Group> + Send>(
    reward: &dyn SharedReward,
    groups: impl IntoIterator<Item = G>,
    models: &Models,
) -> Vec<Outcome> {
    let tokenizer = models.tokenizer().ok();
    let (sender, waiting) = unbounded::<(usize, G)>();
    let (failed, outcomes) = (AtomicUsize::new(usize::MAX), Mutex::new(BTreeMap::new()));
    let work = || work(reward, tokenizer, &waiting, &failed, &outcomes);
    std::thread::scope(|scope| {
        for (place, group) in groups.into_iter().enumerate() {
            if failed.load(Ordering::SeqCst) < place {
                break;
            }
            if place < reward.at_once() {
                scope.spawn(work);
            }
            // It is received as long as this function lasts.
            let _ = sender.send((place, group));
        }
        drop(sender);
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let whole = outcomes.into_iter().enumerate().take_while(|(at, (place, _))| at == place);
    whole.map(|(_, (_, outcome))| outcome).collect()
}

/// Asks about groups as long as some come, in the order in which they come.
fn work<G: Borrow<Group>>(
    reward: &dyn SharedReward,
    tokenizer: Option<&Tokenizer>,
    waiting: &crossbeam::channel::Receiver<(usize, G)>,
    failed: &AtomicUsize,
    outcomes: &Mutex<BTreeMap<usize, Outcome>>,
) {
    for (place, group) in waiting {
        if failed.load(Ordering::SeqCst) < place {
            continue;
        }
        let group = group.borrow();
        let start = Instant::now();
        let scores = checked(group, || reward.score(group, &Models::tokenizing(tokenizer)));
        if scores.is_err() {
            failed.fetch_min(place, Ordering::SeqCst);
        }
        let outcome = (group.example.clone(), start.elapsed().as_secs_f64(), scores);
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(place, outcome);
    }
}

/// The scores, one a rollout and all finite, or why not.
pub(super) fn checked(
    group: &Group,
    score: impl FnOnce() -> anyhow::Result<Vec<Score>>,
) -> anyhow::Result<Vec<Score>> {
    let scores = catch_unwind(AssertUnwindSafe(score))
        .unwrap_or_else(|panic| Err(anyhow::anyhow!("it panicked: {}", panic_message(panic.as_ref()))))?;
    anyhow::ensure!(
        scores.len() == group.rollouts.len(),
        "it gave {} scores for {} rollouts",
        scores.len(),
        group.rollouts.len()
    );
    if let Some(at) = scores.iter().position(|score| !score.value.is_finite()) {
        anyhow::bail!("its score of rollout {at} is {}; a score must be a finite number", scores[at].value);
    }
    if let Some(at) = scores.iter().position(|score| score.value.abs() > LARGEST) {
        anyhow::bail!(
            "its score of rollout {at} is {:e}; beyond {LARGEST:e} the deviation of a group's rewards, by which \
             advantages are divided, is lost",
            scores[at].value
        );
    }
    let broken = |score: &Score| score.steps.iter().flatten().position(|step| !step.value.is_finite());
    if let Some((at, step)) = scores.iter().enumerate().find_map(|(at, score)| Some((at, broken(score)?))) {
        anyhow::bail!(
            "its score of step {step} of rollout {at} is not a finite number; where a model gave it, its weights have \
             broken in training: take an earlier checkpoint"
        );
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::tests::group;
    use std::time::Duration;

    /// Scores by the number of tokens, the slower the fewer; those without an answer fail.
    struct Slow {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl SharedReward for Slow {
        fn score(&self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
            self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let tokens = group.rollouts[0].tokens.len();
            std::thread::sleep(Duration::from_millis(40 - 5 * tokens as u64));
            self.now.fetch_sub(1, Ordering::SeqCst);
            anyhow::ensure!(group.example.answer.is_some(), "{tokens} tokens");
            Ok(vec![Score::from(tokens as f64)])
        }

        fn at_once(&self) -> usize {
            3
        }
    }

    fn slow() -> Slow {
        Slow { now: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    #[test]
    fn several_groups_are_asked_about_at_once_and_their_scores_keep_their_order() {
        let groups: Vec<Group> =
            (1..=6).map(|n| group(Some("7"), &[], &["xxxxxx".get(..n).unwrap()])).collect();
        let slow = slow();
        let scores = together(&slow, &groups, &Models::none());
        let scores: Vec<f64> = scores.into_iter().map(|(_, _, scores)| scores.unwrap()[0].value).collect();
        assert_eq!(scores, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(slow.most.into_inner(), 3);
    }

    /// The third group fails later than the fourth, and is the one that is told.
    #[test]
    fn the_first_failure_in_order_is_told() {
        let of = |n: usize| group((n != 3 && n != 4).then_some("7"), &[], &["xxxxxx".get(..n).unwrap()]);
        let groups: Vec<Group> = (1..=6).map(of).collect();
        let outcomes = together(&slow(), &groups, &Models::none());
        let failed = outcomes.iter().position(|(_, _, scores)| scores.is_err()).unwrap();
        assert_eq!((failed, outcomes[2].2.as_ref().unwrap_err().to_string()), (2, "3 tokens".to_owned()));
    }
}
