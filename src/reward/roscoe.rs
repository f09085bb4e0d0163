//! Scores of a chain's steps against the question and a reference, after ROSCOE (Golovneva et al. 2023, arXiv 2212.07919), by the states of a
//! language model.

use super::{Holds, Models, Reward, Wants, chains, column};
use crate::model::Sequence;
use crate::policy::Policy;
use crate::policy::embedding::centred;
use crate::rationale::{Format, StepUnit, steps};
use crate::rollout::{Group, Score};
use crate::statistics::alignment::Chains;
use crate::statistics::mean;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.roscoe]`: one of ROSCOE's scores, from 0 to 1, higher is better. Each step, each sentence of the question and each step of the reference is a
/// vector, the mean of the last states of its tokens; two are alike by (1 + cos)/2. The paper takes a sentence encoder that was
/// tuned for it, and an entailment model for its logical scores, which are not here: compare figures of one model only. A completion without steps has
/// 0, or 1 of `repetition_step`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Roscoe {
    /// Which score.
    pub measure: Measure,
    /// The column with the reference's steps, a text that `data.format.steps` parts.
    pub reference: String,
    /// Take out of a question's vectors what they have most in common (their first principal direction).
    pub centre: bool,
    /// A frozen model, as a folder, a hub id or `"@stage"`, whose states are taken in the policy's place.
    pub model: Option<String>,
}

/// Which of ROSCOE's scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Steps are about the question.
    Faithfulness,
    /// And the question is used.
    Informativeness,
    /// No step is said twice.
    RepetitionStep,
    /// Steps are those of the reference, on average.
    ReasoningAlignment,
    /// No step is beside the reference.
    Redundancy,
    /// No step of the reference lacks.
    MissingStep,
    /// No step is of neither question nor reference.
    ExternalHallucination,
    /// The chain is about as much of the question as the reference.
    SemanticCoverage,
    /// 1 / the mean perplexity of a step by itself, its first token left out.
    PerplexityStep,
}

impl Default for Roscoe {
    fn default() -> Self {
        Self { measure: Measure::Faithfulness, reference: "rationale".into(), centre: true, model: None }
    }
}

impl Measure {
    fn wants_reference(self) -> bool {
        matches!(
            self,
            Self::ReasoningAlignment
                | Self::Redundancy
                | Self::MissingStep
                | Self::ExternalHallucination
                | Self::SemanticCoverage
        )
    }

    fn of(self, chains: &Chains) -> f64 {
        match self {
            Self::RepetitionStep => chains.repetition(),
            // Of no steps none is strange, and nothing is left out.
            _ if chains.steps.is_empty() => 0.0,
            Self::Faithfulness => chains.faithfulness(),
            Self::Informativeness => chains.informativeness(),
            Self::ReasoningAlignment => chains.reasoning_alignment(),
            Self::Redundancy => chains.redundancy(),
            Self::MissingStep => chains.missing_step(),
            Self::ExternalHallucination => chains.external_hallucination(),
            Self::SemanticCoverage => chains.semantic_coverage(),
            Self::PerplexityStep => f64::NAN,
        }
    }
}

impl Roscoe {
    /// The reward, its section checked. A frozen model is loaded when there is first something to score.
    pub fn checked(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        anyhow::ensure!(
            !self.reference.is_empty(),
            "reference = \"\": name the column that has the reference's steps"
        );
        Ok(Judge { section: self, unit: format.steps.clone(), model: None })
    }
}

struct Judge {
    section: Roscoe,
    unit: StepUnit,
    model: Option<Policy>,
}

impl Reward for Judge {
    fn wants(&self) -> Wants {
        let wants = match self.section.measure.wants_reference() {
            true => Wants::default().column("reference", &self.section.reference, Holds::Text),
            false => Wants::default(),
        };
        self.section.model.iter().fold(wants, |wants, name| wants.model("model", name))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        models.load(&mut self.model, self.section.model.as_deref())?;
        let chains = chains(group);
        let scores = match self.section.measure {
            Measure::PerplexityStep => {
                perplexities(models.judge(self.model.as_ref())?, &chains, models.budget)?
            }
            measure => {
                let question = group.example.prompt.question();
                let reference = match measure.wants_reference() {
                    true => column::text(&group.example, &self.section.reference)?,
                    false => String::new(),
                };
                let context = parts(&StepUnit::Sentence, question);
                let reference = parts(&self.unit, &reference);
                let texts: Vec<&str> =
                    context.iter().chain(&reference).chain(chains.iter().flatten()).copied().collect();
                let mut vectors = models.embed(self.model.as_ref(), &texts)?;
                if self.section.centre {
                    vectors = centred(vectors);
                }
                let (context, rest) = vectors.split_at(context.len());
                let (reference, mut rest) = rest.split_at(reference.len());
                let score = |chain: &Vec<&str>| {
                    let (steps, others) = rest.split_at(chain.len());
                    rest = others;
                    measure.of(&Chains { steps, context, reference })
                };
                chains.iter().map(score).collect()
            }
        };
        Ok(scores.into_iter().map(Score::from).collect())
    }
}

fn parts<'a>(unit: &StepUnit, text: &'a str) -> Vec<&'a str> {
    steps::split(unit, text, 0..text.len()).into_iter().map(|span| &text[span]).collect()
}

/// Of each chain 1 / the mean perplexity of its steps; 0 of one without a step of two tokens.
fn perplexities(judge: &Policy, chains: &[Vec<&str>], budget: usize) -> anyhow::Result<Vec<f64>> {
    let (mut sequences, mut counts) = (Vec::new(), Vec::new());
    for chain in chains {
        let before = sequences.len();
        for step in chain {
            let ids = judge.tokenizer.encode_after(step, false)?;
            if ids.len() > 1 {
                sequences.push(Sequence::new(&ids[..1], &ids[1..]));
            }
        }
        counts.push(sequences.len() - before);
    }
    let logprobs = judge.logprobs(&sequences, 1.0, budget)?;
    let mut steps = logprobs.iter();
    let of_chain = |count: usize| {
        let perplexity = |of: &Vec<f32>| (-mean(of.iter().map(|&logprob| f64::from(logprob)))).exp();
        let all: Vec<f64> = steps.by_ref().take(count).map(perplexity).collect();
        if all.is_empty() { 0.0 } else { 1.0 / mean(all) }
    };
    Ok(counts.into_iter().map(of_chain).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards};
    use super::*;
    use crate::policy::tests::tiny;
    use crate::reward::Registry;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn chains_are_scored_by_their_steps() {
        let policy = tiny(1, 1, 3);
        let mut group = group(Some("2"), &[], &["one\ntwo\n#### 2", "one\none\n#### 2", "#### 2"]);
        let example = Arc::get_mut(&mut group.example).unwrap();
        example.fields.insert("rationale".into(), json!("one\ntwo"));
        let models = Models::of(&policy, 64);
        let scored = |measure: &str| {
            let section = format!("[roscoe]\nmeasure = \"{measure}\"\ncentre = false");
            let mut groups = [group.clone()];
            rewards(&Registry::default(), &section).unwrap().score(&mut groups, &models).unwrap();
            groups[0].rewards()
        };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        // The first chain is the reference; the second says a step twice and lacks one.
        let repeated = scored("repetition_step");
        near(repeated[1], 0.0);
        assert!(repeated[0] > 0.0 && repeated[2] == 1.0, "{repeated:?}");
        let missing = scored("missing_step");
        near(missing[0], 1.0);
        assert!(missing[1] < 0.9999 && missing[2] == 0.0, "{missing:?}");
        for measure in ["reasoning_alignment", "redundancy", "external_hallucination"] {
            near(scored(measure)[0], 1.0);
            near(scored(measure)[1], 1.0);
            near(scored(measure)[2], 0.0);
        }
        let coverage = scored("semantic_coverage");
        near(coverage[0], 1.0);
        near(coverage[2], 0.0);
        let ids = ["one", "two"].map(|text| policy.tokenizer.encode(text).unwrap());
        let sequences = ids.map(|ids| Sequence::new(&ids[..1], &ids[1..]));
        let logprobs = policy.logprobs(&sequences, 1.0, 64).unwrap();
        let perplexity = |of: &Vec<f32>| f64::from(-(of[0] + of[1]) / 2.0).exp();
        let found = scored("perplexity_step");
        near(found[0], 2.0 / (perplexity(&logprobs[0]) + perplexity(&logprobs[1])));
        assert_eq!(found[2], 0.0);
    }
}
