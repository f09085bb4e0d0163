//! Held-out questions, asked once as `[eval]` says; nothing is trained.

use super::{Batch, Item, Method, Needs, Output, Section, Selects, Setup, StageView, Steps, Worker};
use crate::error::Result;
use crate::log::Metrics;
use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// `[loop.evaluate]`: asks the evaluation questions once, as `[eval]` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {}

impl Section for Evaluate {
    fn check(&self) -> Vec<Misfit> {
        vec![]
    }

    fn needs(&self, _: &StageView) -> Needs {
        let work = Some("the held-out questions once".into());
        Needs { selects: Selects::Nothing, steps: Steps::Exactly(1), work, ..Needs::default() }
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        let missing = Misfit::new(
            "loop.evaluate",
            "there is no [eval] section",
            "add [eval]; empty takes its defaults",
        );
        if stage.eval.is_none() { vec![missing] } else { vec![] }
    }

    fn build(&self, _: &mut Setup) -> Result<Box<dyn Method>> {
        Ok(Box::new(Questions))
    }
}

/// One step with nothing in it: the evaluation after it is all that happens.
struct Questions;

impl Method for Questions {
    fn batch(&mut self, _: &mut Worker, _: usize, _: &mut Metrics) -> Result<Batch> {
        Ok(Batch::default())
    }

    fn over(&self, step: usize) -> bool {
        step >= 1
    }

    fn loss(&self, _: &[&Item], _: &Output, _: &mut Metrics) -> Result<Tensor> {
        Ok(Tensor::from(0.0))
    }
}
