//! A model that writes a critique of each step before it says whether the step is right: a generative process reward model
//! (R-PRM, She et al. 2025, arXiv 2503.21295).

use super::{Aggregate, Models, Reward, Wants};
use crate::ask::{Samples, TextModel, TextRequest};
use crate::data::Prompt;
use crate::data::template::Jinja;
use crate::engine::Sampling;
use crate::model::Sequence;
use crate::policy::Policy;
use crate::rationale::{Format, steps};
use crate::rollout::{Group, Rollout, Score, StepScore};
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `[reward.critic]`: steps are scored by a model that writes critiques. The score of a step is the mean over `samples` critiques of
/// the probability of `yes` behind the verdict's beginning. Steps are those of `data.format.steps`; they become the completion's score,
/// and `loop.grpo.steps` and searches have them one by one, as with `[reward.process]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Critic {
    /// The model that writes: a folder, a hub id, or `"@stage"`.
    pub model: String,
    /// What it is asked about a step: a Jinja template over the row's columns, `previous` (the text before the step) and `step`.
    pub ask: Jinja,
    /// Ask by the model's chat template; off, the text as it stands.
    pub chat: bool,
    /// The text that a critique ends its reasoning with, behind which stands the verdict. It is written for the model where a critique
    /// comes to none.
    pub verdict: String,
    /// The verdict that a step is right.
    pub yes: String,
    /// Critiques of each step.
    pub samples: usize,
    /// Temperature of the critiques.
    pub temperature: f64,
    /// Longest critique, in tokens.
    pub max_new_tokens: usize,
    /// Sequences that it decodes at once.
    pub decode_slots: usize,
    /// How the steps' scores become the completion's.
    pub aggregate: Aggregate,
}

impl Default for Critic {
    fn default() -> Self {
        Self {
            model: String::new(),
            ask: "Question: {{ question }}\n\nPrevious Steps: {{ previous }}\n\nNow Step: {{ step }}".into(),
            chat: true,
            verdict: "Verification: Is the step correct (Yes/No)?".into(),
            yes: " Yes".into(),
            samples: 10,
            temperature: 0.95,
            max_new_tokens: 512,
            decode_slots: 64,
            aggregate: Aggregate::Min,
        }
    }
}

impl Critic {
    /// The reward, its section checked. The model is loaded when there is first something to score.
    pub fn checked(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        anyhow::ensure!(!self.model.is_empty(), "model is missing: name a folder, a hub id or \"@stage\"");
        for (key, value) in [
            ("samples", self.samples),
            ("max_new_tokens", self.max_new_tokens),
            ("decode_slots", self.decode_slots),
        ] {
            anyhow::ensure!(value > 0, "{key} = 0: at least one is needed");
        }
        anyhow::ensure!(
            self.temperature > 0.0 || self.samples == 1,
            "temperature = {}: greedy critiques are all the same; use a positive temperature, or samples = 1",
            self.temperature
        );
        anyhow::ensure!(
            !self.yes.is_empty() && !self.verdict.is_empty(),
            "verdict and yes must not be empty"
        );
        let names = self.ask.names().context("ask")?;
        anyhow::ensure!(
            names.contains("step"),
            "ask = {:?} does not show the step; write {{{{ step }}}} in it",
            self.ask
        );
        Ok(LoadedCritic { section: self, format: format.clone(), model: None })
    }

    /// What of a critique stands before its verdict, the verdict's beginning included.
    fn reasoning(&self, critique: &str) -> String {
        match critique.find(&self.verdict) {
            Some(at) => critique[..at + self.verdict.len()].to_string(),
            None => format!("{}\n{}", critique.trim_end(), self.verdict),
        }
    }
}

struct LoadedCritic {
    section: Critic,
    format: Format,
    model: Option<Policy>,
}

impl LoadedCritic {
    fn question(&self, group: &Group, previous: &str, step: &str) -> anyhow::Result<TextRequest> {
        let mut columns = group.example.fields.clone();
        columns.insert("previous".into(), previous.into());
        columns.insert("step".into(), step.into());
        let text = self.section.ask.render(&columns).with_context(|| format!("{}: ask", group.example))?;
        let question = match self.section.chat {
            true => TextRequest::user(None, text),
            false => {
                let about = Some(group.example.clone());
                TextRequest { about, ..TextRequest::new(Prompt::Text(text)) }
            }
        };
        Ok(TextRequest { samples: Samples::Count(self.section.samples), ..question })
    }

    /// The probability of `yes` behind each of several questions.
    fn verdicts(&self, model: &Policy, asked: &[TextRequest], budget: usize) -> anyhow::Result<Vec<f64>> {
        let section = &self.section;
        let sampling = Sampling {
            temperature: section.temperature,
            max_new_tokens: section.max_new_tokens,
            ..Sampling::default()
        };
        let critiques = TextModel::Local(model, &sampling).ask(asked, None, &mut |_| {})?.choices;
        let mut sequences: Vec<Sequence> = Vec::new();
        for (question, critiques) in asked.iter().zip(&critiques) {
            let prompt = question.tokens(&model.tokenizer)?;
            for critique in critiques {
                sequences.push(model.after(&prompt, &section.reasoning(&critique.text), &section.yes)?);
            }
        }
        let logprobs = model.logprobs(&sequences, 1.0, budget)?;
        let yes: Vec<f64> = logprobs
            .iter()
            .map(|of| of.iter().map(|&logprob| f64::from(logprob)).sum::<f64>().exp())
            .collect();
        Ok(yes.chunks(section.samples).map(|of| of.iter().sum::<f64>() / of.len() as f64).collect())
    }
}

impl Reward for LoadedCritic {
    fn wants(&self) -> Wants {
        let section = &self.section;
        Wants::default().model("model", &section.model).template("ask", &section.ask, &["previous", "step"])
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        let policy = models.policy()?;
        if self.model.is_none() {
            self.model = Some(models.open(&self.section.model, self.section.decode_slots)?);
        }
        let model = self.model.as_ref().expect("loaded just above");
        let spans =
            |rollout: &Rollout| steps::split(&self.format.steps, &rollout.text, 0..rollout.text.len());
        // By their tokens: rollouts that begin alike have steps in common.
        let (mut asked, mut questions) = (Vec::new(), BTreeMap::new());
        for rollout in &group.rollouts {
            for span in spans(rollout) {
                let question = self.question(group, &rollout.text[..span.start], &rollout.text[span])?;
                asked.push(question.tokens(&model.tokenizer)?);
                questions.entry(asked[asked.len() - 1].clone()).or_insert(question);
            }
        }
        let distinct: Vec<TextRequest> = questions.values().cloned().collect();
        let verdicts = self.verdicts(model, &distinct, models.budget)?;
        let known: BTreeMap<Vec<u32>, f64> = questions.into_keys().zip(verdicts).collect();
        let mut values = asked.iter().map(|prompt| known[prompt]);
        let of_rollout = |rollout: &Rollout| {
            let step = |span| StepScore {
                value: values.next().expect("one a step"),
                tokens: policy.tokenizer.tokens_of(&rollout.tokens, span),
            };
            let steps: Vec<StepScore> = spans(rollout).into_iter().map(step).collect();
            let scores: Vec<f64> = steps.iter().map(|step| step.value).collect();
            Score { value: self.section.aggregate.of(&scores), steps: Some(steps) }
        };
        Ok(group.rollouts.iter().map(of_rollout).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Request;
    use crate::policy::Init;
    use tch::{Device, Kind};

    fn section() -> Critic {
        Critic {
            model: "given".into(),
            ask: "{{ question }}|{{ previous }}>{{ step }}\n".into(),
            chat: false,
            verdict: "= ".into(),
            yes: "ok".into(),
            samples: 3,
            temperature: 1.0,
            max_new_tokens: 6,
            ..Critic::default()
        }
    }

    #[test]
    fn the_verdict_is_read_behind_the_reasoning() {
        let section = section();
        assert_eq!(section.reasoning("seven\n= ok"), "seven\n= ");
        assert_eq!(section.reasoning("seven = no = ok"), "seven = ", "the first verdict counts");
        assert_eq!(section.reasoning("seven and \n"), "seven and\n= ");
    }

    #[test]
    fn a_step_is_worth_the_mean_probability_of_yes() {
        let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
        let policy = init.make(Kind::Float, Device::Cpu, 3, 8).unwrap();
        let critic = init.make(Kind::Float, Device::Cpu, 4, 8).unwrap();
        let judge = LoadedCritic { section: section(), format: Format::default(), model: None };
        let mut group = crate::reward::tests::group(None, &[], &["x", "x\ny", "x\nz"]);
        for rollout in &mut group.rollouts {
            rollout.tokens = policy.tokenizer.encode(&rollout.text).unwrap();
        }
        let mut example = (*group.example).clone();
        example.fields.insert("question".into(), "q".into());
        group.example = std::sync::Arc::new(example);
        let asked = |text: &str, samples| TextRequest {
            samples: Samples::Count(samples),
            ..TextRequest::new(Prompt::Text(text.into()))
        };
        let expected = ["q|>x\n", "q|x\n>y\n", "q|x\n>z\n"].map(|text| {
            // The critiques once more, and log p of the two bytes of "ok" behind each.
            judge.verdicts(&critic, &[asked(text, 3)], 512).unwrap()[0]
        });
        let models = Models::of(&policy, 512);
        let mut judge = LoadedCritic { model: Some(critic), ..judge };
        let scores = judge.score(&group, &models).unwrap();
        let steps = |rollout: usize| scores[rollout].steps.as_ref().unwrap();
        assert_eq!(steps(0).iter().map(|step| step.value).collect::<Vec<_>>(), [expected[0]]);
        assert_eq!(steps(1).iter().map(|step| step.value).collect::<Vec<_>>(), [expected[0], expected[1]]);
        assert_eq!((steps(2)[1].value, steps(2)[1].tokens.clone()), (expected[2], 2..3));
        assert_eq!(scores[1].value, expected[0].min(expected[1]));
        assert!(expected.iter().all(|value| *value > 0.0 && *value < 1.0), "{expected:?}");
        // By hand: greedy, one critique, its reasoning and the bytes of "ok" scored as one sequence.
        let greedy = LoadedCritic { section: Critic { samples: 1, temperature: 0.0, ..section() }, ..judge };
        let critic = greedy.model.as_ref().unwrap();
        let prompt = critic.tokenizer.encode("q|>x\n").unwrap();
        let sampling = Sampling { temperature: 0.0, max_new_tokens: 6, ..Sampling::default() };
        let request = Request { prompt: prompt.clone(), seeds: vec![0] };
        let written = critic.sampler().generate(&[request], &sampling, &mut |_| {}).unwrap().completions[0]
            [0]
        .tokens
        .clone();
        let before = section().reasoning(&critic.tokenizer.decode(&written));
        let whole = critic.tokenizer.encode(&format!("{before}ok")).unwrap();
        let logprobs = critic.logprobs(&[Sequence::new(&prompt, &whole)], 1.0, 512).unwrap().remove(0);
        let yes = logprobs[whole.len() - 2..].iter().map(|&l| f64::from(l)).sum::<f64>().exp();
        let found = greedy.verdicts(critic, &[asked("q|>x\n", 1)], 512).unwrap()[0];
        assert!((found - yes).abs() < 1e-9, "{found} {yes}");
    }

    #[test]
    fn the_section_is_checked() {
        let said = |section: Critic| section.checked(&Format::default()).err().unwrap().to_string();
        assert!(said(Critic::default()).contains("model is missing"));
        assert!(
            said(Critic { ask: "{{ question }}".into(), ..section() }).contains("does not show the step")
        );
        assert!(said(Critic { temperature: 0.0, ..section() }).contains("greedy critiques are all the same"));
        assert!(said(Critic { samples: 0, ..section() }).contains("samples = 0"));
    }
}
