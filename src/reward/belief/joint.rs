//! How likely a rationale and the problem behind it are together (PromptCoT, arXiv 2503.02324).

use super::Belief;
use crate::data::{Message, Prompt};
use crate::model::Sequence;
use crate::policy::Policy;
use crate::rollout::{Group, Score};
use anyhow::Context;

/// Σ log p(z | c) + Σ log p(x | z, between, c) of each completion `z between x`; of one without `between`, Σ log p of it and of
/// `between` behind it.
pub(super) fn scores(
    section: &Belief,
    model: &Policy,
    group: &Group,
    budget: usize,
) -> anyhow::Result<Vec<Score>> {
    let between = section.between.as_deref().unwrap_or_default();
    let prompt = match &section.prompt {
        None => model.tokenizer.render_example(&group.example)?,
        Some(template) => {
            let why = || format!("{}: prompt", group.example);
            let text = template.render(&group.example.fields).with_context(why)?;
            let prompt = match &group.example.prompt {
                Prompt::Text(_) => Prompt::Text(text),
                Prompt::Chat(_) => Prompt::Chat(vec![Message::new("user", &text)]),
            };
            model.tokenizer.render_from(&prompt, &group.example)?
        }
    };
    let sequence = |text: &str| -> anyhow::Result<Sequence> {
        // The rationale's end, and where the problem begins.
        let (written, end, start) = match text.find(between) {
            Some(at) => (text.to_string(), at, at + between.len()),
            None => {
                let written = format!("{text}{between}");
                let end = written.len();
                (written, end, end)
            }
        };
        let spans = [0..end, start..written.len()];
        let ids = model.tokenizer.encode(&written)?;
        let scored = spans.into_iter().map(|span| model.tokenizer.tokens_of(&ids, span));
        let scored = scored.filter(|tokens| !tokens.is_empty());
        let scored = scored.map(|tokens| tokens.start + prompt.len()..tokens.end + prompt.len());
        Ok(Sequence::of_spans([&prompt[..], &ids].concat(), scored.collect::<Vec<_>>())?)
    };
    let sequences = group.rollouts.iter().map(|rollout| sequence(&rollout.text));
    let sequences = sequences.collect::<anyhow::Result<Vec<_>>>()?;
    let logprobs = model.logprobs(&sequences, 1.0, budget)?;
    let sum = |of: &Vec<f32>| Score::from(of.iter().map(|&logprob| f64::from(logprob)).sum::<f64>());
    Ok(logprobs.iter().map(sum).collect())
}
