//! What of a stage does not go with its model and tokenizer, as far as these are at hand before anything trains.

use super::Looking;
use super::models::{Known, Models, Sought};
use crate::data::row::some;
use crate::data::{Dataset, Example, Prompted, Tokenizer};
use crate::policy::PolicyConfig;
use crate::reward::{NamedModel, Rewards};
use crate::run::lengths::Lengths;
use crate::run::wants;
use crate::section::{Misfit, under};
use std::sync::Arc;

impl Looking<'_> {
    /// What of the keys of method, rewards and measures does not go with the model.
    pub(super) fn look_at_shape(&mut self, model: &Known) {
        let stage = self.stage;
        let mut found = Vec::new();
        if !self.is_wrong("loop") {
            let own = stage.method.fits_model(&model.tokenizer, &model.shape);
            found.extend(under(&format!("loop.{}", stage.method.name()), own));
        }
        let lacking = |rewards: &Rewards| under(rewards.section(), rewards.check_shape(&model.shape));
        found.extend(self.asked_rewards().flat_map(lacking));
        self.refuse_all(&found);
    }

    /// Its rewards and measures, as far as the stage asks them.
    pub(super) fn asked_rewards(&self) -> impl Iterator<Item = &Rewards> {
        let learned = self.rewards.iter().filter(|_| wants::scores(self.stage));
        learned.chain(self.measures.iter().filter(|_| wants::asks_held_out(self.stage)))
    }

    pub(super) fn refuse_all(&mut self, found: &[Misfit]) {
        found.iter().for_each(|misfit| self.refuse_as(&misfit.key, &misfit.sentence(), None));
    }

    /// Rows, of training and held out, that the method, the source or a reward model cannot read once they are tokenised.
    pub(super) fn look_at_tokenized(
        &mut self,
        [train, held_out]: [Option<&Dataset>; 2],
        model: &Known,
        models: &Models,
    ) {
        let (stage, needs) = (self.stage, self.stage.needs());
        if self.is_wrong("loop") || self.is_wrong("rollout") || self.is_wrong("select") {
            return;
        }
        let longest = Lengths::of(stage, model.shape.context()).longest_prompt();
        if let Some(rows) = train {
            let whole = self.are_all(rows);
            let (tokenizer, context) = (&model.tokenizer, model.shape.context());
            let mut questions = rows.examples.iter().filter_map(|row| fitting(row, tokenizer, longest));
            let read =
                stage.method.fits_rows(tokenizer, context, (&mut questions, whole), &stage.data.format);
            if let Err(error) = read {
                self.refuse(&format!("loop.{}", stage.method.name()), &error);
            }
        }
        let asks = wants::asks_held_out(stage);
        let searches = asks && stage.rollout.search().is_some();
        let train = train.filter(|_| needs.rollouts);
        let answered = held_out.filter(|_| searches || (asks && stage.rollout.traits().gives));
        let rows = train.into_iter().chain(answered).flat_map(|rows| &rows.examples);
        let rows: Vec<&Example> = rows.map(|row| &**row).collect();
        let own = stage.rollout.fits_tokenizer(&model.tokenizer, &rows);
        self.refuse_all(&under(&format!("rollout.{}", stage.rollout.name()), own));

        let of = |rewards: &Option<Rewards>| -> Vec<NamedModel> {
            let named = rewards.iter().flat_map(Rewards::named_models);
            named.filter(|named| named.scores).collect()
        };
        let scored = [
            (of(&self.rewards), [train, held_out.filter(|_| searches)]),
            (of(&self.measures), [held_out.filter(|_| asks), None]),
        ];
        for (judges, rows) in scored {
            for judge in judges {
                self.look_at_judge(&judge, rows, (&model.tokenizer, longest), models);
            }
        }
    }

    /// Prompts that a reward model has no room for.
    fn look_at_judge(
        &mut self,
        judge: &NamedModel,
        rows: [Option<&Dataset>; 2],
        (tokenizer, longest): (&Tokenizer, usize),
        models: &Models,
    ) {
        // One of the hub's is fetched when it is first asked.
        if !judge.model.starts_with('@') && self.hub.at_hand(&judge.model).is_none() {
            return;
        }
        let policy = PolicyConfig { model: Some(judge.model.clone()), ..PolicyConfig::default() };
        let Sought::Known(known) = models.of(&policy) else { return };
        let context = known.shape.context();
        let all: Vec<&Arc<Example>> = rows.into_iter().flatten().flat_map(|rows| &rows.examples).collect();
        // Behind the prompt at least a separator is read.
        let long = |row: &&Arc<Example>| {
            known.tokenizer.render_example(row).is_ok_and(|prompt| prompt.len() >= context)
                && fitting(row, tokenizer, longest).is_some()
        };
        let none: Vec<&Example> = all.iter().copied().filter(long).map(|row| &**row).collect();
        if !none.is_empty() {
            let text = format!(
                "{} = \"{}\": the prompts of {} of {} rows leave no room in its context of {context} tokens: {}; use a reward model with a longer \
                 context, or lower data.max_prompt_tokens",
                judge.key,
                judge.model,
                none.len(),
                all.len(),
                some(&none)
            );
            self.refuse_as(&judge.key, &text, None);
        }
    }
}

/// The row as a question, where it is short enough to be asked.
pub(super) fn fitting(row: &Arc<Example>, tokenizer: &Tokenizer, longest: usize) -> Option<Prompted> {
    Prompted::of(row, tokenizer).ok().filter(|question| question.tokens.len() <= longest)
}
