//! Episodes in an environment: `[rollout.environment]`. The policy acts and the environment answers, in turns, over the line protocol of programs.

mod episodes;
mod section;

pub use section::EnvironmentRollout;

use super::turns::{self, InTurns, Turning};
use super::{Group, Prompted, SamplingContext, Source, SourceSection, Traits};
use crate::data::{Example, Prompt, Tokenizer};
use crate::engine::Statistics;
use crate::error::{Error, Result};
use crate::program::Program;
use crate::section::Misfit;
use episodes::Episodes;
use std::cell::RefCell;

impl SourceSection for EnvironmentRollout {
    fn traits(&self) -> Traits<'_> {
        Traits { gives: true, episodes: true, ..Traits::sampled("environment", self.size) }
    }

    fn check(&self) -> Vec<Misfit> {
        EnvironmentRollout::check(self)
    }

    fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        EnvironmentRollout::check_rows(self, rows)
    }

    fn columns(&self) -> Vec<(String, String)> {
        let told = self.program.iter().flat_map(|program| &program.columns);
        told.map(|column| ("program.columns".to_owned(), column.clone())).collect()
    }

    fn fits_tokenizer(&self, tokenizer: &Tokenizer, rows: &[&Example]) -> Vec<Misfit> {
        let converses = rows.iter().any(|row| matches!(row.prompt, Prompt::Chat(_)));
        if self.observation.is_some() || !converses {
            return vec![];
        }
        let Err(Error::Recipe(why)) = episodes::between_turns(tokenizer) else { return vec![] };
        vec![Misfit::new("observation", why, "")]
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        let program = self.program.as_ref();
        let program =
            program.ok_or_else(|| Error::Recipe("rollout.environment: there is no program".into()))?;
        let programs = RefCell::new(program.open("rollout.environment.program")?);
        Ok(Box::new(Turning(InEnvironment { section: self.clone(), programs })))
    }
}

/// The source at work.
struct InEnvironment {
    section: EnvironmentRollout,
    programs: RefCell<Vec<Program>>,
}

impl InTurns for InEnvironment {
    fn section(&self) -> &dyn SourceSection {
        &self.section
    }

    fn size(&self) -> usize {
        self.section.size
    }

    fn sample(
        &self,
        prompts: &[Prompted],
        size: usize,
        context: &mut SamplingContext,
    ) -> Result<(Vec<Group>, Statistics)> {
        let mut programs = self.programs.borrow_mut();
        let policy = context.policy;
        let mut episodes = Episodes::new(&self.section, &mut programs, &policy.tokenizer, size);
        let prompts = episodes.begin(prompts, &context.seeds, policy.context())?;
        let sampled = turns::sample(&prompts, size, &mut episodes, context)?;
        let (turns, done) = episodes.figures();
        let count = (prompts.len() * size) as f64;
        context.figures.add("environment/turns", turns / count, count);
        context.figures.add("environment/done", done / count, count);
        Ok(sampled)
    }
}

#[cfg(test)]
mod tests;
