//! How likely a step is once another model has said what it thinks of the steps before it: guided decoding of RATIONALYST (Jiang et
//! al. 2024, arXiv 2410.01044).

use super::{Models, Reward, Wants};
use crate::ask::{TextModel, TextRequest};
use crate::engine::Sampling;
use crate::model::Sequence;
use crate::policy::Policy;
use crate::rationale::{Format, steps};
use crate::rollout::{Group, Rollout, Score};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `[reward.guide]`: a step is worth how likely it is behind a guide's rationale. The guide writes a rationale behind the prompt and
/// the steps before a completion's last; the score is the mean log p that the policy gives a token of that last step behind prompt,
/// earlier steps and rationale. For `[rollout.guided]` and `[rollout.beam]`, which ask about every step as it is the last.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guide {
    /// The model that writes rationales: a folder, a hub id, or `"@stage"`.
    pub model: String,
    /// What is written between the rationale and the step.
    pub between: String,
    /// Longest rationale, in tokens.
    pub max_new_tokens: usize,
    /// Sequences that the guide decodes at once.
    pub decode_slots: usize,
}

impl Default for Guide {
    fn default() -> Self {
        Self { model: String::new(), between: "\n".into(), max_new_tokens: 128, decode_slots: 64 }
    }
}

impl Guide {
    /// The reward, its section checked. The guide is loaded when there is first something to score.
    pub fn checked(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        anyhow::ensure!(!self.model.is_empty(), "model is missing: name a folder, a hub id or \"@stage\"");
        anyhow::ensure!(
            self.max_new_tokens > 0 && self.decode_slots > 0,
            "max_new_tokens and decode_slots must be at least 1"
        );
        Ok(Guiding { section: self, format: format.clone(), guide: None })
    }
}

struct Guiding {
    section: Guide,
    format: Format,
    guide: Option<Policy>,
}

impl Guiding {
    /// A completion's text before its last step, and that step; nothing and nothing where it has none.
    fn parts<'a>(&self, rollout: &'a Rollout) -> (&'a str, &'a str) {
        let last = steps::split(&self.format.steps, &rollout.text, 0..rollout.text.len()).pop();
        last.map_or(("", ""), |span| (&rollout.text[..span.start], &rollout.text[span]))
    }

    /// What the guide writes behind each of the texts.
    fn rationales(&self, guide: &Policy, group: &Group, texts: &[&str]) -> anyhow::Result<Vec<String>> {
        let asked = |text: &&str| TextRequest {
            begun: text.to_string(),
            about: Some(group.example.clone()),
            ..TextRequest::new(group.example.prompt.clone())
        };
        let questions: Vec<TextRequest> = texts.iter().map(asked).collect();
        let greedy =
            Sampling { temperature: 0.0, max_new_tokens: self.section.max_new_tokens, ..Sampling::default() };
        let written = TextModel::Local(guide, &greedy).ask(&questions, None, &mut |_| {})?.choices;
        Ok(written.iter().map(|one| one[0].text.trim_end().to_string()).collect())
    }

    /// The step behind prompt, earlier steps and rationale; where nothing was written, that nothing is.
    fn behind(
        &self,
        policy: &Policy,
        group: &Group,
        parts: (&str, &str),
        rationale: &str,
    ) -> crate::Result<Sequence> {
        let before = format!("{}{rationale}{}", parts.0, self.section.between);
        if parts.1.is_empty() {
            let prompt = [&group.prompt[..], &policy.tokenizer.encode(&before)?].concat();
            return Ok(Sequence::new(&prompt, &[policy.tokenizer.eos()]));
        }
        policy.after(&group.prompt, &before, parts.1)
    }
}

impl Reward for Guiding {
    fn wants(&self) -> Wants {
        Wants::default().model("model", &self.section.model)
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        let policy = models.policy()?;
        if self.guide.is_none() {
            self.guide = Some(models.open(&self.section.model, self.section.decode_slots)?);
        }
        let guide = self.guide.as_ref().expect("loaded just above");
        let parts: Vec<(&str, &str)> = group.rollouts.iter().map(|rollout| self.parts(rollout)).collect();
        // Ways on from one path have the steps before in common.
        let mut known: BTreeMap<&str, String> =
            parts.iter().map(|(before, _)| (*before, String::new())).collect();
        let texts: Vec<&str> = known.keys().copied().collect();
        let rationales = self.rationales(guide, group, &texts)?;
        known.values_mut().zip(rationales).for_each(|(known, rationale)| *known = rationale);
        let sequences: Vec<Sequence> = parts
            .iter()
            .map(|&parts| self.behind(policy, group, parts, &known[parts.0]))
            .collect::<crate::Result<_>>()?;
        let logprobs = policy.logprobs(&sequences, 1.0, models.budget)?;
        let mean =
            |of: &Vec<f32>| of.iter().map(|&logprob| f64::from(logprob)).sum::<f64>() / of.len() as f64;
        Ok(logprobs.iter().map(mean).map(Score::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Request;
    use crate::policy::Init;
    use tch::{Device, Kind};

    #[test]
    fn the_last_step_is_scored_behind_the_guides_rationale() {
        let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
        let policy = init.make(Kind::Float, Device::Cpu, 3, 8).unwrap();
        let guide = init.make(Kind::Float, Device::Cpu, 4, 8).unwrap();
        let section = Guide { model: "given".into(), max_new_tokens: 4, ..Guide::default() };
        let mut group = crate::reward::tests::group(None, &[], &["ab\ncd", "ef\ngh", "ij", ""]);
        group.prompt = policy.tokenizer.encode("?").unwrap();
        // What it writes behind "?ab\n", by hand, and log p of "cd" behind all of it.
        let greedy = Sampling { temperature: 0.0, max_new_tokens: 4, ..Sampling::default() };
        let prompt = guide.tokenizer.encode("?ab\n").unwrap();
        let written =
            guide.sampler().generate(&[Request { prompt, seeds: vec![0] }], &greedy, &mut |_| {}).unwrap();
        let rationale = guide.tokenizer.decode(&written.completions[0][0].tokens);
        let before = format!("ab\n{}\n", rationale.trim_end());
        let sequence = policy.after(&group.prompt, &before, "cd").unwrap();
        let logprobs = policy.logprobs(&[sequence], 1.0, 512).unwrap().remove(0);
        assert_eq!(logprobs.len(), 2);
        let expected = f64::from(logprobs[0] + logprobs[1]) / 2.0;
        let mut guiding = Guiding { section, format: Format::default(), guide: Some(guide) };
        let scores = guiding.score(&group, &Models::of(&policy, 512)).unwrap();
        assert!((scores[0].value - expected).abs() < 1e-5, "{} {expected}", scores[0].value);
        assert_eq!(guiding.parts(&group.rollouts[2]), ("", "ij"));
        // To write nothing is as likely as the end of sequence, and no less than −∞ nor more than certain.
        assert!(scores[3].value < 0.0 && scores[3].value.is_finite());
        assert!(Guide::default().checked(&Format::default()).is_err());
    }
}
