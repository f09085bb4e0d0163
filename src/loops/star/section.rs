//! `[loop.star]` as a method's section: what it needs, what does not go with it.

use super::method::StarMethod;
use super::prompts::has_gold;
use super::{Star, rounds};
use crate::data::{Prompted, Tokenizer};
use crate::error::Result;
use crate::loops::{Method, Needs, Section, Selects, Setup, StageView, Steps, passes};
use crate::rationale::Format;
use crate::section::{Idle, Misfit};

impl Section for Star {
    fn check(&self) -> Vec<Misfit> {
        Star::check(self)
    }

    fn needs(&self, stage: &StageView) -> Needs {
        let questions = self.questions.map_or("all".into(), |count| count.to_string());
        let learning = match stage.steps {
            Some(first) => {
                let of = |round| rounds::steps(first, self.growth, self.max_steps, round);
                format!("{} to {} steps of {}", of(1), of(self.rounds), stage.data.prompts_per_step)
            }
            None => format!("{} over the rationales kept", passes(stage.epochs)),
        };
        Needs {
            trains: true,
            rows: true,
            rollouts: true,
            own_samples: true,
            leaves_given: true,
            traces: true,
            selects: Selects::Rollouts,
            steps: Steps::Exactly(self.rounds),
            strips_hints: true,
            together: Some(self.chunk),
            work: Some(format!("{} rounds of {questions} questions, then {learning}", self.rounds)),
            ..Needs::default()
        }
    }

    fn idle(&self) -> Vec<Idle> {
        let (once, waits) = ("with rounds = 1", "with plateau.patience = 0");
        match (self.rounds, self.plateau.patience) {
            (1, _) => ["start", "growth", "accumulate", "plateau"].map(|key| (key, once)).into(),
            (_, 0) => ["plateau.measure", "plateau.min_gain"].map(|key| (key, waits)).into(),
            _ => vec![],
        }
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        let filters = stage.select.correct || stage.select.min_reward.is_some();
        let several = stage.rollout.size.is_some_and(|size| size > 1);
        let all = [
            stage.rollout.size.is_none().then(|| {
                Misfit::new(
                    "loop.star",
                    "it learns from the policy's own samples, and [rollout.dataset] reads others'",
                    "use [rollout.group], or [rollout.hint] to rationalize",
                )
            }),
            stage.rollout.episodes.then(|| {
                Misfit::new(
                    "loop.star",
                    "it learns rationales behind the rows' own prompts, and an environment says more behind them",
                    "use loop.collect here, then loop.sft on its traces; or loop.grpo",
                )
            }),
            (several && stage.policy.sampling.temperature == 0.0).then(|| {
                Misfit::new(
                    "policy.sampling.temperature",
                    "greedy samples of one prompt are all the same",
                    "use a positive temperature, or a rollout of size 1",
                )
            }),
            (!filters).then(|| {
                Misfit::new(
                    "loop.star",
                    "nothing tells loop.star which rationales to learn",
                    "set select.correct = true, STaR's filter, or select.min_reward with a [reward]",
                )
            }),
            (stage.select.min_reward.is_some() && stage.rewards.is_empty()).then(|| {
                Misfit::new(
                    "select.min_reward",
                    "there is no reward to compare select.min_reward with",
                    "add [reward.answer] or another reward",
                )
            }),
            (self.watches_accuracy() && stage.eval.is_none()).then(|| {
                Misfit::new(
                    "loop.star.plateau.measure",
                    "loop.star.plateau.measure = \"accuracy\" needs held-out questions, and there is no [eval] section",
                    "add [eval], or use measure = \"coverage\"",
                )
            }),
        ];
        all.into_iter().flatten().collect()
    }

    fn fits_rows(
        &self,
        _tokenizer: &Tokenizer,
        _context: usize,
        (rows, _whole): (&mut dyn Iterator<Item = Prompted>, bool),
        _format: &Format,
    ) -> Result<()> {
        for question in rows {
            has_gold(&question)?;
        }
        Ok(())
    }

    /// As for fine-tuning, which its rounds are.
    fn learning_rate(&self) -> f64 {
        2e-5
    }

    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>> {
        Ok(Box::new(StarMethod::new(self, setup)))
    }
}
