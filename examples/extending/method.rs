//! `[loop.awr]`: advantage-weighted regression (Peng et al. 2019, arXiv 1910.00177), with a running mean as baseline.

use rationale::Result;
use rationale::log::Metrics;
use rationale::loops::item::{WEIGHTS, stacked};
use rationale::loops::{Batch, Item, Method, Needs, Output, Section, Setup, StageView, Worker, figures};
use rationale::model::Sequence;
use rationale::schemars::{self, JsonSchema};
use rationale::section::{Misfit, broken};
use rationale::statistics::mean_of_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

/// Imitates completions, each by the weight exp((reward − baseline) / beta).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Awr {
    /// The difference in reward that counts e times as much.
    pub beta: f64,
    /// No completion weighs more than this.
    pub cap: f64,
    /// The share of the baseline that a step keeps; the rest is the mean of its rewards.
    pub decay: f64,
}

impl Default for Awr {
    fn default() -> Self {
        Self { beta: 1.0, cap: 20.0, decay: 0.9 }
    }
}

impl Section for Awr {
    fn check(&self) -> Vec<Misfit> {
        broken(&[
            (self.beta > 0.0, "beta", "it must be above 0"),
            (self.cap > 0.0, "cap", "it must be above 0"),
            ((0.0..1.0).contains(&self.decay), "decay", "it must be at least 0 and below 1"),
        ])
    }

    fn needs(&self, _: &StageView) -> Needs {
        Needs { trains: true, rows: true, rollouts: true, rewards: true, ..Needs::default() }
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        let reads_rows = stage.rollout.reads_rows;
        let own =
            Misfit::new("loop.awr", "it learns from fresh completions, not the rows' own", "use loop.sft");
        reads_rows.then_some(own).into_iter().collect()
    }

    fn build(&self, _: &mut Setup) -> Result<Box<dyn Method>> {
        Ok(Box::new(AwrMethod { awr: self.clone(), baseline: None }))
    }
}

/// What runs: the section, and what it has to remember from step to step.
struct AwrMethod {
    awr: Awr,
    baseline: Option<f64>,
}

impl Method for AwrMethod {
    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let prompts = worker.questions.of_step(step);
        let groups = worker.roll_out(&prompts, step, 0, metrics)?;
        figures::describe(&groups, metrics);
        let rewards: Vec<f64> = groups.iter().flat_map(|group| group.rewards()).collect();
        // Of all ranks, so that it does not matter how many share the step's questions.
        let mean = worker.over_ranks(|sum| mean_of_all(rewards, sum))?;
        let before = self.baseline.unwrap_or(mean);
        let baseline = self.awr.decay * before + (1.0 - self.awr.decay) * mean;
        self.baseline = Some(baseline);
        metrics.set("awr/baseline", baseline);

        let (mut items, mut credited) = (vec![], vec![]);
        for group in groups {
            let credit: Vec<f64> = group.rewards().iter().map(|reward| reward - baseline).collect();
            for (rollout, advantage) in group.rollouts.iter().zip(&credit) {
                let weight = (advantage / self.awr.beta).exp().min(self.awr.cap);
                let item = Item::of(vec![Sequence::new(&group.prompt, &rollout.tokens)]);
                items.push(item.with_tokens(WEIGHTS, vec![weight as f32; rollout.tokens.len()]));
            }
            credited.push((group, credit.into_iter().map(Some).collect()));
        }
        let sampled_tokens = items.iter().map(Item::learned).sum();
        Ok(Batch { groups: credited, sampled_tokens, ..Batch::of_completions(items) })
    }

    /// −Σ w log p, a sum: the training loop divides it by the tokens of the whole step.
    fn loss(&self, items: &[&Item], output: &Output, _: &mut Metrics) -> Result<Tensor> {
        let logprobs = &output.scored.logprobs;
        let weights = stacked(items, WEIGHTS, logprobs.device()).expect("every item has them");
        Ok(-(logprobs * weights).sum(Kind::Float))
    }

    fn state_dict(&self) -> Value {
        json!({ "baseline": self.baseline })
    }

    fn load_state_dict(
        &mut self,
        _: &mut Worker,
        state: &Value,
        _: &mut dyn FnMut() -> Result<Vec<rationale::rollout::Trace>>,
    ) -> Result<()> {
        self.baseline = state["baseline"].as_f64();
        Ok(())
    }
}
