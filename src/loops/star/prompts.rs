//! The three prompts of a question in STaR: as it is asked, as it is asked with the hint, as it is trained on.

use super::Star;
use crate::data::hinted::Hinted;
use crate::data::template::Jinja;
use crate::data::{Data, Example, Hub, Split};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rollout::Prompted;
use std::collections::HashMap;
use std::sync::Arc;

/// Prompts by the question's id. All are rendered from the rows, so that nothing is ever cut out of a text or of ids.
#[derive(Debug)]
pub struct Prompts {
    /// With the hint; none without `[rollout.hint]`.
    hinted: Option<HashMap<String, Prompted>>,
    /// What is learned from.
    plain: HashMap<String, Prompted>,
}

impl Prompts {
    /// Renders the training rows again: with the `hint` in the place of the user turn, and without few-shot examples.
    ///
    /// # Errors
    /// [`Error::Data`] if one of `questions` has no gold answer, cannot be hinted at, or is too long with its
    /// hint.
    pub fn load(
        star: &Star,
        hint: Option<&Jinja>,
        data: &Data,
        (hub, seed): (&Hub, u64),
        policy: &Policy,
        questions: &[Prompted],
    ) -> Result<Self> {
        questions.iter().try_for_each(has_gold)?;
        let hinted = match hint {
            Some(hint) => {
                let all = Hinted::load(data, hint, hub, seed)?;
                let asked = all.of(questions, &policy.tokenizer, policy.context())?;
                Some(asked.into_iter().map(|prompt| (prompt.example.id.clone(), prompt)).collect())
            }
            None => None,
        };
        let plain = if data.template.few_shot > 0 && !star.train_few_shot {
            let mut data = data.clone();
            data.template.few_shot = 0;
            render(&data, hub, seed, policy, questions)?
        } else {
            questions.iter().map(|question| (question.example.id.clone(), question.clone())).collect()
        };
        Ok(Self { hinted, plain })
    }

    /// The question with its hint; none where nothing is rationalized.
    pub fn hinted(&self, example: &Example) -> Option<&Prompted> {
        self.hinted.as_ref().map(|hinted| &hinted[&example.id])
    }

    /// The question as it is trained on.
    pub fn plain(&self, example: &str) -> &Prompted {
        &self.plain[example]
    }
}

/// Refuses a question of which nothing says what rationales of it are right.
pub(super) fn has_gold(question: &Prompted) -> Result<()> {
    match question.example.gold() {
        Some(_) => Ok(()),
        None => Err(Error::Data(format!(
            "{}: it has no gold answer, by which loop.star tells which rationales to learn; add an `answer` column",
            question.example
        ))),
    }
}

/// The prompts of `data` by id, for the questions that are asked.
fn render(
    data: &Data,
    hub: &Hub,
    seed: u64,
    policy: &Policy,
    questions: &[Prompted],
) -> Result<HashMap<String, Prompted>> {
    let examples = data.load(Split::Train, hub, seed)?.examples;
    let prompt = |question: &Prompted| {
        let example: Arc<Example> = examples[question.example.index].clone();
        let tokens = policy.tokenizer.render_example(&example)?;
        Ok((example.id.clone(), Prompted::new(example, tokens)))
    };
    questions.iter().map(prompt).collect()
}

#[cfg(test)]
impl Prompts {
    /// Prompts without a hint.
    pub(super) fn of(plain: Vec<Prompted>) -> Self {
        let plain = plain.into_iter().map(|prompted| (prompted.example.id.clone(), prompted)).collect();
        Self { hinted: None, plain }
    }
}
