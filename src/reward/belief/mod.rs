//! What the policy, or another model, would answer after the rationale: how likely the gold answer is, how sure the model is, and
//! what each step changes of it.

mod joint;
mod section;

use super::{Models, OfRow, Reward, Wants, choice, cue};
use crate::policy::Policy;
use crate::policy::belief::Context;
use crate::policy::candidates::Over;
use crate::rationale::{Format, steps};
use crate::rollout::{Group, Rollout, Score, StepScore};
use crate::section::Idle;
use crate::statistics::distribution::{entropy, slope, softmax};
use anyhow::Context as _;
pub use section::{Belief, Measure};
use std::ops::Range;

impl Belief {
    /// The reward, its section checked. Frozen models are loaded when there is first something to score.
    pub fn checked(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        self.check()?;
        let own = self.cue.as_deref();
        let cue = match self.measure {
            Measure::Joint => own.unwrap_or_default().to_owned(),
            _ => cue(own, format)?,
        };
        Ok(Reader { section: self, cue, format: format.clone(), model: None, model_without: None })
    }

    /// The score and those of the steps, from the levels v₀ … v_K behind 0 … K steps.
    fn score(&self, levels: &[f64]) -> (f64, Option<Vec<f64>>) {
        let last = levels[levels.len() - 1];
        let changes = |sign: f64| levels.windows(2).map(|pair| sign * (pair[1] - pair[0])).collect();
        match self.measure {
            Measure::Reduction => (levels[0] - last, Some(changes(-1.0))),
            Measure::Slope => (slope(levels), None),
            _ => (last, self.steps.then(|| changes(1.0))),
        }
    }
}

struct Reader {
    section: Belief,
    cue: String,
    format: Format,
    model: Option<Policy>,
    model_without: Option<Policy>,
}

impl Reward for Reader {
    fn idle(&self) -> Vec<Idle> {
        self.section.idle()
    }

    fn wants(&self) -> Wants {
        let section = &self.section;
        let remedy = "add an `answer` column";
        let wants = match (&section.over, section.wants_gold()) {
            _ if section.measure == Measure::Joint => Wants::default(),
            (Over::Choices, true) => Wants::default().row("over", OfRow::GoldChoice, ""),
            (Over::Choices, false) => Wants::default().row("over", OfRow::Choices, ""),
            (_, true) => Wants::default().gold(remedy),
            (_, false) => Wants::default(),
        };
        let prompt = section.prompt.iter();
        let wants = prompt.fold(wants, |wants, prompt| wants.template("prompt", prompt, &[]));
        let wants = section.model.iter().fold(wants, |wants, name| wants.model("model", name));
        section.model_without.iter().fold(wants, |wants, name| wants.model("model_without", name))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        models.load(&mut self.model, self.section.model.as_deref())?;
        models.load(&mut self.model_without, self.section.model_without.as_deref())?;
        let (policy, own) = (models.policy()?, self.model.as_ref());
        let judge = own.unwrap_or(policy);
        if self.section.measure == Measure::Joint {
            return joint::scores(&self.section, judge, group, models.budget);
        }
        let prompt = prompt(judge, own.is_some(), group)?;
        let spans: Vec<Vec<Range<usize>>> =
            group.rollouts.iter().map(|rollout| self.spans(rollout)).collect();
        let mut contexts = Vec::new();
        for (rollout, spans) in group.rollouts.iter().zip(&spans) {
            contexts.extend(self.places(spans).map(|k| self.context(&prompt, rollout, spans, k)));
        }
        let levels = self.levels(judge, group, &contexts, models.budget)?;
        let without = match self.section.measure {
            Measure::Gain => self.without(policy, judge, group, models.budget)?,
            _ => 0.0,
        };
        let (mut scores, mut at) = (Vec::with_capacity(spans.len()), 0);
        for (rollout, spans) in group.rollouts.iter().zip(&spans) {
            let count = self.places(spans).count();
            let (value, of_steps) = self.section.score(&levels[at..at + count]);
            at += count;
            let step = |(value, span): (f64, &Range<usize>)| StepScore {
                value,
                tokens: policy.tokenizer.tokens_of(&rollout.tokens, span.clone()),
            };
            let steps = of_steps.map(|values| values.into_iter().zip(spans).map(step).collect());
            scores.push(Score { value: value - without, steps });
        }
        Ok(scores)
    }
}

impl Reader {
    /// The steps of a completion; all of it, where it has no answer.
    fn spans(&self, rollout: &Rollout) -> Vec<Range<usize>> {
        match &rollout.rationale {
            Some(rationale) => rationale.steps.clone(),
            None => steps::split(&self.format.steps, &rollout.text, 0..rollout.text.len()),
        }
    }

    /// Behind how many steps the model is asked.
    fn places(&self, spans: &[Range<usize>]) -> Range<usize> {
        let whole = self.section.steps || matches!(self.section.measure, Measure::Reduction | Measure::Slope);
        if whole { 0..spans.len() + 1 } else { spans.len()..spans.len() + 1 }
    }

    /// What stands behind the first `k` steps of a completion.
    fn context<'a>(
        &self,
        prompt: &'a [u32],
        rollout: &Rollout,
        spans: &[Range<usize>],
        k: usize,
    ) -> Context<'a> {
        let end = match k {
            0 => spans.first().map_or(0, |first| first.start),
            _ => spans[k - 1].end,
        };
        Context { prompt, before: self.cued(&rollout.text[..end]) }
    }

    fn cued(&self, text: &str) -> String {
        Format::ended(text, &self.cue)
    }

    /// The candidates and the place of the gold answer among them.
    fn candidates(&self, group: &Group) -> anyhow::Result<(Vec<String>, Option<usize>)> {
        let example = &group.example;
        let candidates = self.section.over.texts(example, self.section.written);
        let place = match &self.section.over {
            Over::Gold => {
                anyhow::ensure!(!candidates.is_empty(), "it has no gold answer; add an `answer` column");
                Some(0)
            }
            Over::Enumerate => None,
            Over::Choices => {
                anyhow::ensure!(
                    !candidates.is_empty(),
                    "it has no choices to be sure of; name labels as `over`, or \"gold\""
                );
                example.gold().and_then(|gold| choice(gold, &example.choices))
            }
            Over::Labels(labels) => {
                let equality = example.equality();
                example.gold().and_then(|gold| {
                    let gold = equality.gold(gold);
                    labels.iter().position(|label| equality.right(&gold, &equality.gold(label)))
                })
            }
        };
        Ok((candidates, place))
    }

    /// What is measured behind each context, before it is compared.
    fn levels(
        &self,
        model: &Policy,
        group: &Group,
        contexts: &[Context],
        budget: usize,
    ) -> anyhow::Result<Vec<f64>> {
        let section = &self.section;
        let base = section.base().ln();
        let (candidates, gold) = self.candidates(group)?;
        match &section.over {
            Over::Enumerate => {
                let of = |context: &Context| -> anyhow::Result<f64> {
                    let named = model.named(context, section.width, section.tokens, &section.until)?;
                    Ok(section.certainty(&named.probabilities) / base)
                };
                return contexts.iter().map(of).collect();
            }
            Over::Gold if section.of_entropy() => {
                let found = model.answer_entropies(contexts, &candidates[0], budget)?;
                return Ok(found.into_iter().map(|entropy| entropy / base).collect());
            }
            _ => {}
        }
        let weights = model.weights(contexts, &candidates, section.norm, budget)?;
        if section.of_entropy() {
            let level = |weights: &Vec<f64>| section.certainty(&softmax(weights)) / base;
            return Ok(weights.iter().map(level).collect());
        }
        let gold = gold.with_context(|| {
            format!(
                "its gold answer {:?} is none of the candidates {candidates:?}",
                group.example.answer.as_deref().unwrap_or_default()
            )
        })?;
        let level = |weights: &Vec<f64>| match section.measure {
            Measure::Logprob => weights[gold],
            _ => softmax(weights)[gold],
        };
        Ok(weights.iter().map(level).collect())
    }

    /// The level without a rationale, under the model that is asked without one.
    fn without(&self, policy: &Policy, judge: &Policy, group: &Group, budget: usize) -> anyhow::Result<f64> {
        let frozen = self.model_without.as_ref();
        let model = frozen.unwrap_or(judge);
        let prompt = prompt(model, !std::ptr::eq(model, policy), group)?;
        let context = Context { prompt: &prompt, before: self.cued("") };
        Ok(self.levels(model, group, &[context], budget)?[0])
    }
}

/// The prompt as a model reads it: the policy's own as it was sampled from.
fn prompt(model: &Policy, other: bool, group: &Group) -> anyhow::Result<Vec<u32>> {
    Ok(if other { model.tokenizer.render_example(&group.example)? } else { group.prompt.clone() })
}

impl Belief {
    /// The entropy of probabilities in nats; by `per_candidate` divided by their number.
    fn certainty(&self, probabilities: &[f64]) -> f64 {
        let divisor = if self.per_candidate { probabilities.len().max(1) as f64 } else { 1.0 };
        entropy(probabilities) / divisor
    }
}

#[cfg(test)]
mod tests;
