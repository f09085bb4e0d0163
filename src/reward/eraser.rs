//! Whether an answer rests on the rationale: comprehensiveness and sufficiency of free text, and both over shares of its words (ERASER, DeYoung et al. 2020,
//! arXiv 1911.03429).

use super::{Models, OfRow, Reward, Wants, cue};
use crate::data::Example;
use crate::policy::Policy;
use crate::policy::attribution::question;
use crate::policy::belief::{Context, Norm};
use crate::policy::candidates::{Over, Written};
use crate::rationale::Format;
use crate::rollout::{Group, Rollout, Score};
use crate::statistics::mean;
use crate::text::words::words;
use anyhow::Context as _;
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;

/// `[reward.eraser]`: with x the question, r the rationale and ŷ the candidate that a model finds likeliest behind both, how much of p(ŷ | x, r) is lost where something of them is
/// taken out. Nothing is sampled: p is the softmax over candidates, as in `[reward.belief]`. A completion without an answer is taken for reasoning as a whole.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Eraser {
    /// What is taken out.
    pub measure: Measure,
    /// The candidates: `"choices"` of the row, or a list of labels.
    pub over: Over,
    /// What stands between the rationale and an answer; `data.format.close` by default.
    pub cue: Option<String>,
    /// Whether a candidate's weight is the `"mean"` or the `"sum"` of its tokens' log p.
    pub norm: Norm,
    /// Whether choices are written as their `"letter"` or their `"text"`; by default as the gold answer is.
    pub written: Option<Written>,
    /// A frozen model, as a folder, a hub id or `"@stage"`, that is asked in the policy's place.
    pub model: Option<String>,
}

/// What is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The rationale: p(ŷ | x, r) − p(ŷ | x). High where the answer needs it.
    Comprehensiveness,
    /// The question: p(ŷ | x, r) − p(ŷ | r). Low where the rationale is enough.
    Sufficiency,
    /// The best 1, 5, 10, 20 and 50 % of the rationale's words, by what each alone takes off p(ŷ): the mean of what is lost. High where the answer hangs on few of them.
    AopcComprehensiveness,
    /// All of the rationale's words but these: the mean of what is lost. Low where few are enough.
    AopcSufficiency,
}

/// The shares of words, for the areas over perturbation.
const SHARES: [f64; 5] = [0.01, 0.05, 0.1, 0.2, 0.5];

impl Default for Eraser {
    fn default() -> Self {
        Self {
            measure: Measure::Comprehensiveness,
            over: Over::Choices,
            cue: None,
            norm: Norm::Mean,
            written: None,
            model: None,
        }
    }
}

impl Eraser {
    /// The reward, its section checked. A frozen model is loaded when there is first something to score.
    pub fn checked(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        anyhow::ensure!(
            matches!(self.over, Over::Choices | Over::Labels(_)),
            "over: what is lost of an answer's probability is told among several; name \"choices\" or labels"
        );
        let cue = cue(self.cue.as_deref(), format)?;
        Ok(Reader { section: self, cue, model: None })
    }
}

struct Reader {
    section: Eraser,
    cue: String,
    model: Option<Policy>,
}

impl Reward for Reader {
    fn wants(&self) -> Wants {
        let wants = match self.section.over {
            Over::Choices => Wants::default().row("over", OfRow::Choices, ""),
            _ => Wants::default(),
        };
        self.section.model.iter().fold(wants, |wants, name| wants.model("model", name))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        models.load(&mut self.model, self.section.model.as_deref())?;
        let (judge, prompt) = match &self.model {
            Some(model) => (model, model.tokenizer.render_example(&group.example)?),
            None => (models.policy()?, group.prompt.clone()),
        };
        let candidates = self.section.over.texts(&group.example, self.section.written);
        anyhow::ensure!(candidates.len() > 1, "it has no choices to answer with; name labels as `over`");
        let ask = |contexts: &[(&[u32], String)]| -> anyhow::Result<Vec<Vec<f64>>> {
            let contexts: Vec<Context> = contexts
                .iter()
                .map(|&(prompt, ref text)| Context { prompt, before: Format::ended(text, &self.cue) })
                .collect();
            Ok(judge.beliefs(&contexts, &candidates, self.section.norm, models.budget)?)
        };
        let bare = match self.section.measure {
            Measure::Sufficiency => without_question(judge, &prompt, &group.example)?,
            _ => vec![],
        };
        let score = |rollout: &Rollout| -> anyhow::Result<Score> {
            let text = reasoning(rollout);
            let whole = (&prompt[..], text.to_string());
            Ok(Score::from(match self.section.measure {
                Measure::Comprehensiveness => lost(&ask(&[whole, (&prompt[..], String::new())])?)[0],
                Measure::Sufficiency => lost(&ask(&[whole, (&bare[..], text.to_string())])?)[0],
                Measure::AopcComprehensiveness => over_shares(&prompt, text, false, &ask)?,
                Measure::AopcSufficiency => over_shares(&prompt, text, true, &ask)?,
            }))
        };
        group.rollouts.iter().map(score).collect()
    }
}

/// The beliefs behind prompts and texts.
type Ask<'a> = dyn Fn(&[(&[u32], String)]) -> anyhow::Result<Vec<Vec<f64>>> + 'a;

/// Of each belief but the first, what it has lost of the first one's greatest probability.
fn lost(beliefs: &[Vec<f64>]) -> Vec<f64> {
    let Some((whole, others)) = beliefs.split_first() else { return vec![] };
    // Of equals the first.
    let best = (0..whole.len()).rev().max_by(|&a, &b| whole[a].total_cmp(&whole[b])).unwrap_or(0);
    others.iter().map(|other| whole[best] - other[best]).collect()
}

/// The mean over [`SHARES`] of what is lost without the best words of `text`, or, where `only`, without all others; 0 of no words.
fn over_shares(prompt: &[u32], text: &str, only: bool, ask: &Ask) -> anyhow::Result<f64> {
    let spans = words(text);
    if spans.is_empty() {
        return Ok(0.0);
    }
    let behind = |texts: Vec<String>| -> anyhow::Result<Vec<f64>> {
        let all = std::iter::once(text.to_string()).chain(texts).map(|text| (prompt, text));
        Ok(lost(&ask(&all.collect::<Vec<_>>())?))
    };
    let alone = behind((0..spans.len()).map(|at| without(text, &spans, |word| word == at)).collect())?;
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by(|&a, &b| alone[b].total_cmp(&alone[a]));
    let of_share = |share: f64| {
        let count = ((share * spans.len() as f64).round() as usize).max(1);
        without(text, &spans, |word| order[..count].contains(&word) != only)
    };
    Ok(mean(behind(SHARES.map(of_share).to_vec())?))
}

/// A text without those of its words that are `gone`; what stands between words stays.
fn without(text: &str, spans: &[Range<usize>], gone: impl Fn(usize) -> bool) -> String {
    let (mut left, mut end) = (String::new(), 0);
    for (_, span) in spans.iter().enumerate().filter(|(at, _)| gone(*at)) {
        left += &text[end..span.start];
        end = span.end;
    }
    left + &text[end..]
}

/// A completion up to the end of its last step.
fn reasoning(rollout: &Rollout) -> &str {
    match &rollout.rationale {
        Some(rationale) => &rollout.text[..rationale.steps.last().map_or(0, |last| last.end)],
        None => &rollout.text,
    }
}

/// The prompt without what is asked.
fn without_question(judge: &Policy, prompt: &[u32], example: &Example) -> anyhow::Result<Vec<u32>> {
    let (text, asked) = (judge.tokenizer.decode(prompt), question(example).trim());
    let start = text
        .rfind(asked)
        .context("its prompt does not hold its question as it is, which so cannot be left out")?;
    let tokens = judge.tokenizer.tokens_of(prompt, start..start + asked.len());
    Ok([&prompt[..tokens.start], &prompt[tokens.end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards};
    use super::*;
    use crate::policy::tests::tiny;
    use crate::reward::Registry;
    use std::sync::Arc;

    #[test]
    fn literal_numbers() {
        // The second candidate is the likeliest of the whole: 0.7 − 0.4 and 0.7 − 0.9.
        let found = lost(&[vec![0.3, 0.7], vec![0.6, 0.4], vec![0.1, 0.9]]);
        assert!((found[0] - 0.3).abs() < 1e-12 && (found[1] + 0.2).abs() < 1e-12, "{found:?}");
        let text = "hip low, so ash";
        assert_eq!(without(text, &words(text), |at| at == 1 || at == 3), "hip , so ");
        assert_eq!(without(text, &words(text), |_| false), text);
    }

    /// Ten words, of which word 3 takes off 0.5, word 7 takes off 0.2 and all others nothing, in sums. Of shares of 1, 5 and 10 % word 3 goes, of 20 % both, of
    /// half all that count.
    #[test]
    fn areas_are_means_over_shares() {
        let text = "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9";
        let ask = |contexts: &[(&[u32], String)]| -> anyhow::Result<Vec<Vec<f64>>> {
            let of = |(_, text): &(&[u32], String)| {
                let worth = |word: &str, worth: f64| if text.contains(word) { worth } else { 0.0 };
                let p = 0.1 + worth("a3", 0.5) + worth("a7", 0.2);
                vec![p, 0.0]
            };
            Ok(contexts.iter().map(of).collect())
        };
        let near =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        near(over_shares(&[], text, false, &ask).unwrap(), (3.0 * 0.5 + 2.0 * 0.7) / 5.0);
        near(over_shares(&[], text, true, &ask).unwrap(), (3.0 * 0.2) / 5.0);
        near(over_shares(&[], " ", true, &ask).unwrap(), 0.0);
    }

    /// Against beliefs that are asked for one by one.
    #[test]
    fn rationale_and_question_are_taken_out() {
        let policy = tiny(2, 1, 3);
        let mut group = group(None, &["y", "n"], &["so it is\n#### y", "#### n"]);
        Arc::get_mut(&mut group.example).unwrap().prompt = crate::data::Prompt::Text("is it?\n".into());
        group.prompt = policy.tokenizer.encode("is it?\n").unwrap();
        let belief = |prompt: &str, before: &str| {
            let prompt = policy.tokenizer.encode(prompt).unwrap();
            let context = Context { prompt: &prompt, before: before.into() };
            policy.beliefs(&[context], &["y".into(), "n".into()], Norm::Mean, 64).unwrap().remove(0)
        };
        let scored = |measure: &str| {
            let section = format!("[eraser]\nwritten = \"text\"\nmeasure = \"{measure}\"");
            let mut groups = [group.clone()];
            rewards(&Registry::default(), &section)
                .unwrap()
                .score(&mut groups, &Models::of(&policy, 64))
                .unwrap();
            groups[0].rewards()
        };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        let whole = belief("is it?\n", "so it is\n#### ");
        let bare = belief("is it?\n", "#### ");
        let found = scored("comprehensiveness");
        near(found[0], lost(&[whole.clone(), bare])[0]);
        // Where nothing is reasoned nothing is lost.
        near(found[1], 0.0);
        near(scored("sufficiency")[0], lost(&[whole, belief("\n", "so it is\n#### ")])[0]);
        assert_eq!(scored("aopc_comprehensiveness")[1], 0.0);
        let gold = rewards(&Registry::default(), "[eraser]\nover = \"gold\"").err().unwrap().to_string();
        assert!(gold.contains("name \"choices\" or labels"), "{gold}");
    }
}
