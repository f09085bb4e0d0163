//! Two models: a frozen reader answers from the policy's rationale, and its success is the reward (LM-Guided CoT, arXiv
//! 2404.03414).

use super::{Models, Part, Reward, Wants, agrees};
use crate::ask::{TextModel, TextRequest};
use crate::engine::Sampling;
use crate::policy::Policy;
use crate::rationale::Format;
use crate::rollout::{Group, Rollout, Score};
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.reader]`: 1 where the reader, having read the prompt, the rationale without its answer, and `cue`, goes on to
/// the right answer; else 0.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    /// The frozen model: a folder, a hub id, or `"@stage"`.
    pub model: String,
    /// What is written between the rationale and the reader's answer; the answer is read from the cue on, as
    /// `[data.format]` says.
    #[serde(default = "hashes")]
    pub cue: String,
    /// Longest answer, in tokens.
    #[serde(default = "sixteen")]
    pub max_new_tokens: usize,
    /// Sequences that it decodes at once.
    #[serde(default = "sixty_four")]
    pub decode_slots: usize,
}

fn hashes() -> String {
    "\n#### ".into()
}

fn sixteen() -> usize {
    16
}

fn sixty_four() -> usize {
    64
}

impl Reader {
    /// The reward, its section checked. The reader is loaded when there is first something to score.
    pub fn checked(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        anyhow::ensure!(!self.model.is_empty(), "model = \"\": name a folder, a hub id or \"@stage\"");
        anyhow::ensure!(
            self.max_new_tokens > 0 && self.decode_slots > 0,
            "max_new_tokens and decode_slots must be at least 1"
        );
        Ok(LoadedReader {
            section: self,
            format: Format { tags: None, ..format.clone() },
            reader: None,
            unread: vec![],
        })
    }
}

struct LoadedReader {
    section: Reader,
    format: Format,
    reader: Option<Policy>,
    /// For each answer since figures were asked for, whether none could be read.
    unread: Vec<f64>,
}

impl LoadedReader {
    /// Prompt, rationale and cue, which the reader goes on from.
    fn question(&self, group: &Group, rollout: &Rollout) -> TextRequest {
        let begun = format!("{}{}", Part::Rationale.of(rollout), self.section.cue);
        let about = Some(group.example.clone());
        TextRequest { begun, about, ..TextRequest::new(group.example.prompt.clone()) }
    }
}

impl Reward for LoadedReader {
    fn wants(&self) -> Wants {
        Wants::default().gold("add an `answer` column").model("model", &self.section.model)
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        if self.reader.is_none() {
            self.reader = Some(models.open(&self.section.model, self.section.decode_slots)?);
        }
        let reader = self.reader.as_ref().expect("loaded just above");
        let questions: Vec<TextRequest> =
            group.rollouts.iter().map(|rollout| self.question(group, rollout)).collect();
        let greedy =
            Sampling { temperature: 0.0, max_new_tokens: self.section.max_new_tokens, ..Sampling::default() };
        let answers = TextModel::Local(reader, &greedy).ask(&questions, None, &mut |_| {})?.choices;
        let mut scores = Vec::with_capacity(answers.len());
        for answer in answers {
            let text = format!("{}{}", self.section.cue, answer[0].text);
            let read = self.format.parse(&text);
            self.unread.push(f64::from(u8::from(read.is_none())));
            let right = agrees(&group.example, read.map(|read| &text[read.answer]))
                .context("it has no gold answer; add an `answer` column")?;
            scores.push(Score::from(f64::from(u8::from(right))));
        }
        Ok(scores)
    }

    fn figures(&mut self) -> Vec<(String, f64)> {
        std::mem::take(&mut self.unread).into_iter().map(|unread| ("unread".to_owned(), unread)).collect()
    }
}
