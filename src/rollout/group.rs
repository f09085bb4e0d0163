//! Independent samples of the policy: `[rollout.group]`.

use super::{Group, Prompted, SamplingContext, Source, SourceSection, Traits, independent};
use crate::error::Result;
use crate::section::{Misfit, broken};
use serde::{Deserialize, Serialize};

/// A number of independent completions of each prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupRollout {
    /// Completions of each prompt.
    pub size: usize,
}

impl Default for GroupRollout {
    fn default() -> Self {
        Self { size: 8 }
    }
}

impl SourceSection for GroupRollout {
    fn traits(&self) -> Traits<'_> {
        Traits::sampled("group", self.size)
    }

    fn check(&self) -> Vec<Misfit> {
        broken(&[(self.size > 0, "size", "at least one completion of each prompt is needed")])
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.clone()))
    }
}

impl Source for GroupRollout {
    fn section(&self) -> &dyn SourceSection {
        self
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        let (groups, statistics) = independent::sample(prompts, self.size, context)?;
        context.report(&statistics);
        Ok(groups)
    }
}
