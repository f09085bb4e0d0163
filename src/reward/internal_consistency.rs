//! Whether the layers agree on the answer: internal consistency (Xie et al. 2024, arXiv 2405.18711).

use super::{Models, OfRow, Reward, Wants, cue};
use crate::policy::Policy;
use crate::policy::candidates::{Over, Written};
use crate::policy::embedding::stretches;
use crate::rationale::Format;
use crate::rollout::{Group, Rollout, Score};
use crate::section::{Idle, idle};
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;
use tch::{Kind, Tensor};

/// `[reward.internal_consistency]`: how many of the model's layers would give the same answer as its last one. Behind prompt, reasoning
/// and `cue`, each layer's state is read by the output projection (the logit lens) over the first tokens of the candidates. The score
/// is the share of the layers below the last that answer as the last one does. With `[rollout.weighted_vote] by =
/// "internal_consistency"` each completion's vote counts so much.
///
/// The paper takes from each layer's probabilities their median over the data set, since early layers prefer one answer whatever is
/// asked; here `against = "prompt"` takes what the same layer says without the reasoning.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InternalConsistency {
    /// The candidates: `"choices"` of the row, or a list of labels. Their first tokens have to differ.
    pub over: Over,
    /// Whether choices are written as their `"letter"` or their `"text"`; by default as the gold answer is.
    pub written: Option<Written>,
    /// What stands between the rationale and an answer; `data.format.close` by default.
    pub cue: Option<String>,
    /// What is taken from each layer's probabilities before they are compared.
    pub against: Against,
}

const LACKS_CHOICES: &str = "add a `choices` column, or name labels as over = [\"yes\", \"no\"]";

/// What is taken from each layer's probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// Nothing.
    None,
    /// What the same layer says behind the prompt and `cue` alone; of the last layer nothing.
    Prompt,
}

impl Default for InternalConsistency {
    fn default() -> Self {
        Self { over: Over::Choices, written: None, cue: None, against: Against::None }
    }
}

impl InternalConsistency {
    /// The reward, its section checked.
    pub fn checked(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        anyhow::ensure!(
            matches!(self.over, Over::Choices | Over::Labels(_)),
            "over: name \"choices\" or a list of labels, which every layer can be asked about"
        );
        let cue = cue(self.cue.as_deref(), format)?;
        Ok(Layers { section: self, cue })
    }
}

struct Layers {
    section: InternalConsistency,
    cue: String,
}

impl Reward for Layers {
    fn idle(&self) -> Vec<Idle> {
        idle(&[(self.section.over == Over::Choices, &["written"], "unless over = \"choices\"")])
    }

    fn wants(&self) -> Wants {
        match self.section.over {
            Over::Choices => Wants::default().row("over", OfRow::Choices, LACKS_CHOICES),
            _ => Wants::default(),
        }
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        let policy = models.policy()?;
        let candidates = self.section.over.texts(&group.example, self.section.written);
        anyhow::ensure!(candidates.len() > 1, "it has no choices to answer with; name labels as `over`");
        let reasoning = |rollout: &Rollout| -> String {
            match &rollout.rationale {
                Some(rationale) => {
                    rollout.text[..rationale.steps.last().map_or(0, |last| last.end)].to_string()
                }
                None => rollout.text.clone(),
            }
        };
        let mut texts: Vec<String> = group.rollouts.iter().map(reasoning).collect();
        let compared = self.section.against == Against::Prompt;
        texts.extend(compared.then(String::new));
        let mut beliefs = self.beliefs(policy, group, &texts, &candidates, models.budget)?;
        let without = if compared { beliefs.pop() } else { None };
        let share = |layers: &Vec<Vec<f64>>| Score::from(consistency(layers, without.as_deref()));
        Ok(beliefs.iter().map(share).collect())
    }
}

impl Layers {
    /// What each layer says of the candidates behind each of `texts`, by text, layer and candidate.
    fn beliefs(
        &self,
        policy: &Policy,
        group: &Group,
        texts: &[String],
        candidates: &[String],
        budget: usize,
    ) -> anyhow::Result<Vec<Vec<Vec<f64>>>> {
        let mut contexts: Vec<Vec<u32>> = Vec::new();
        let mut first: Vec<u32> = Vec::new();
        for text in texts {
            let before = Format::ended(text, &self.cue);
            let mut begun: Vec<(Vec<u32>, u32)> = Vec::new();
            for candidate in candidates {
                let sequence = policy.after(&group.prompt, &before, candidate)?;
                let place = sequence.prompt().len();
                let token = *sequence.tokens.get(place).context("a candidate has no token of its own")?;
                begun.push((sequence.tokens[..place].to_vec(), token));
            }
            let tokens: Vec<u32> = begun.iter().map(|(_, token)| *token).collect();
            let mut distinct = tokens.clone();
            distinct.sort_unstable();
            distinct.dedup();
            anyhow::ensure!(
                distinct.len() == tokens.len() && begun.iter().all(|(context, _)| *context == begun[0].0),
                "two of the candidates {candidates:?} begin with the same token; a layer is asked for the first one alone: \
                 use letters (written = \"letter\"), or other labels"
            );
            first = tokens;
            contexts.push(begun.swap_remove(0).0);
        }
        let lengths: Vec<usize> = contexts.iter().map(Vec::len).collect();
        let mut found = Vec::new();
        for stretch in stretches(&lengths, budget) {
            let own: Vec<&[u32]> = contexts[stretch].iter().map(Vec::as_slice).collect();
            let last: Vec<[usize; 1]> = own.iter().map(|tokens| [tokens.len() - 1]).collect();
            let places: Vec<&[usize]> = last.iter().map(<[usize; 1]>::as_slice).collect();
            let states = policy.model.read_layers(&own, &places)?;
            let logits = policy.model.lens(&states, &first);
            let beliefs: Tensor = logits.softmax(-1, Kind::Double);
            // [layers + 1, texts, candidates], of which the first is the embedding.
            for text in 0..own.len() as i64 {
                let of_text = beliefs.select(1, text);
                let layers = of_text.narrow(0, 1, of_text.size()[0] - 1);
                found.push(Vec::<Vec<f64>>::try_from(&layers)?);
            }
        }
        Ok(found)
    }
}

/// The share of the layers below the last whose answer is the last one's; `against` is taken from each of those below.
fn consistency(layers: &[Vec<f64>], against: Option<&[Vec<f64>]>) -> f64 {
    let greatest = |values: &[f64]| (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b]));
    let Some((last, below)) = layers.split_last().filter(|(_, below)| !below.is_empty()) else { return 1.0 };
    let agrees = |(at, own): &(usize, &Vec<f64>)| {
        let values: Vec<f64> = match against {
            None => (*own).clone(),
            Some(against) => own.iter().zip(&against[*at]).map(|(p, q)| p - q).collect(),
        };
        greatest(&values) == greatest(last)
    };
    below.iter().enumerate().filter(agrees).count() as f64 / below.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards};
    use super::*;
    use crate::model::{Grad, Head};
    use crate::policy::tests::tiny;
    use crate::reward::Registry;

    /// Of three layers below one answers as the last; less what they say without reasoning, two do.
    #[test]
    fn layers_agree_with_the_last() {
        let layers = [vec![0.6, 0.4], vec![0.7, 0.3], vec![0.2, 0.8], vec![0.1, 0.9]];
        assert_eq!(consistency(&layers, None), 1.0 / 3.0);
        let without = [vec![0.8, 0.2], vec![0.6, 0.4], vec![0.5, 0.5], vec![0.5, 0.5]];
        // Differences of the second answer: 0.2, −0.1, 0.3.
        assert_eq!(consistency(&layers, Some(&without)), 2.0 / 3.0);
        assert_eq!(consistency(&layers[..1], None), 1.0);
    }

    #[test]
    fn the_last_layer_answers_as_the_model() {
        let policy = tiny(3, 1, 3);
        let mut group = group(None, &["y", "n"], &["so\n#### y", "and so\n#### n"]);
        group.prompt = policy.tokenizer.encode("q:").unwrap();
        let section = InternalConsistency { written: Some(Written::Text), ..InternalConsistency::default() };
        let layers = Layers { section, cue: "\n#### ".into() };
        let candidates = ["y", "n"].map(String::from);
        let texts = ["so", "and so"].map(String::from);
        let found = layers.beliefs(&policy, &group, &texts, &candidates, 16).unwrap();
        assert_eq!((found.len(), found[0].len(), found[0][0].len()), (2, 3, 2));
        let tokens = [&group.prompt[..], &policy.tokenizer.encode("and so\n#### ").unwrap()].concat();
        let read = policy.model.read(&[&tokens], &[&[tokens.len() - 1]], Grad::No).unwrap();
        let ids = ["y", "n"].map(|text| policy.tokenizer.encode(text).unwrap()[0]);
        let head = Head::Vocabulary { negative: ids[0], positive: ids[1] };
        let logits = head.logits(&policy.model, &read.states).unwrap();
        let expected: Vec<f64> = Vec::try_from(&logits.softmax(-1, Kind::Double).squeeze_dim(0)).unwrap();
        let near = found[1][2].iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near, "{:?} {expected:?}", found[1][2]);

        let models = Models::of(&policy, 16);
        let scored = |section: &str| {
            let mut groups = [group.clone()];
            rewards(&Registry::default(), section)
                .unwrap()
                .score(&mut groups, &models)
                .map(|()| groups[0].rewards())
        };
        let shares = scored("[internal_consistency]\nwritten = \"text\"\nagainst = \"prompt\"").unwrap();
        assert!(shares.iter().all(|share| [0.0, 0.5, 1.0].contains(share)), "{shares:?}");
        let alike = scored("[internal_consistency]\nover = [\"yes\", \"you\"]").unwrap_err().to_string();
        assert!(alike.contains("begin with the same token"), "{alike}");
    }
}
