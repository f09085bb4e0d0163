//! The best of n completions by a reward: `[rollout.best_of]` (verifiers, Cobbe et al. 2021, arXiv 2110.14168; with step
//! scores, Lightman et al. 2023, 2305.20050).

use super::{Found, Means, Search};
use crate::error::Result;
use crate::rollout::Prompted;
use serde::{Deserialize, Serialize};

/// The completion of highest score among `n` independent ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BestOf {
    /// Completions of each prompt.
    pub n: usize,
    /// The reward that judges, such as `process`; the weighted sum of all by default.
    pub by: Option<String>,
}

impl Default for BestOf {
    fn default() -> Self {
        Self { n: 8, by: None }
    }
}

impl Search for BestOf {
    fn name(&self) -> &'static str {
        "best_of"
    }

    fn n(&self) -> usize {
        self.n
    }

    fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }

    fn with(&self, n: usize) -> Box<dyn Search> {
        Box::new(Self { n, ..self.clone() })
    }

    fn independent(&self) -> bool {
        true
    }

    fn validate(&self) -> Result<()> {
        super::at_least_one(self.name(), "n", self.n)
    }

    fn find(&self, prompts: &[Prompted], means: &mut Means) -> Result<Vec<Found>> {
        let choose = |group| {
            let chosen = super::best(&super::worths(&group, self.by())?);
            Ok(Found { group, chosen })
        };
        super::independent(prompts, self.n, means)?.into_iter().map(choose).collect()
    }
}
