//! The prompts of training rows with a source's hint, looked at before the run: the questions that fail are asked so again, and not before a
//! stage is under way.

use super::Looking;
use super::fitting::fitting;
use super::models::Known;
use super::rows::first_made;
use super::tokenized::looked_at;
use crate::data::hinted::Hinted;
use crate::data::threads::each;
use crate::data::{Dataset, Example, Prompted};
use crate::run::lengths::Lengths;
use std::sync::Arc;

impl Looking<'_> {
    /// Refuses a hint that some of the questions cannot be asked with, of those that are asked without it.
    pub(super) fn look_at_hinted(&mut self, rows: &Dataset, model: &Known) {
        let stage = self.stage;
        let Some(hint) = stage.rollout.traits().hint else { return };
        let key = format!("rollout.{}.hint", stage.rollout.name());
        if !stage.needs().rollouts
            || self.is_wrong("loop")
            || self.is_wrong("rollout")
            || self.is_refused(&key)
        {
            return;
        }
        let (tokenizer, context) = (&model.tokenizer, model.shape.context());
        let lengths = Lengths::of(stage, context);
        let asked = |row: &Arc<Example>| {
            let question = fitting(row, tokenizer, lengths.longest_prompt());
            question.filter(|question| lengths.fits(tokenizer, question).is_ok_and(|fits| fits))
        };
        let Ok(questions) = each(looked_at(&rows.examples), asked) else { return };
        let questions: Vec<Prompted> = questions.into_iter().flatten().collect();
        let mut data = stage.data.clone();
        first_made(&mut data);
        let hinted = Hinted::load(&data, hint, self.hub, self.seed);
        if let Err(error) = hinted.and_then(|hinted| hinted.of(&questions, tokenizer, context)) {
            self.refuse(&key, &error);
        }
    }

    /// Whether rows have been found that lack what the template at this key of the stage reads.
    fn is_refused(&self, key: &str) -> bool {
        let stage = Some(&self.table.name).filter(|_| self.recipe.stages().len() > 1);
        let is_own = |refused: &Option<String>| refused.as_ref() == stage;
        self.found.refused.iter().any(|refusal| refusal.key == key && is_own(&refusal.stage))
    }
}
