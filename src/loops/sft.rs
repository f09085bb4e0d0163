//! Supervised fine-tuning: −log p of each row's completion given its prompt, the prompt itself not learned.

use super::{Batch, Context, Lesson, Update, imitation};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::model::Sequence;
use crate::rollout::Prompted;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// `[loop.sft]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sft {
    /// Rows whose prompt and completion together are longer are left out, and counted; the model's context by
    /// default.
    pub max_tokens: Option<usize>,
}

impl Sft {
    /// Checks the values.
    pub fn validate(&self) -> Result<()> {
        match self.max_tokens {
            Some(0 | 1) => Err(Error::Recipe("loop.sft.max_tokens must be at least 2".into())),
            _ => Ok(()),
        }
    }

    /// The row as a training sequence: prompt, completion, end of sequence; none if it is too long.
    ///
    /// # Errors
    /// [`Error::Data`] if the row has no completion.
    pub fn sequence(&self, context: &Context, row: &Prompted) -> Result<Option<Sequence>> {
        let text = row.example.completion.as_ref().ok_or_else(|| {
            Error::Data(format!(
                "example {}: it has no completion to learn; give it a `rationale` and `answer`, or a `completion`, \
                 or set data.template.assistant",
                row.example.id
            ))
        })?;
        let tokens = [row.tokens.as_slice(), &context.policy.completion(text)?].concat();
        let limit = self.max_tokens.unwrap_or(usize::MAX).min(context.policy.context());
        Ok((tokens.len() <= limit).then_some(Sequence { tokens, prompt: row.tokens.len() }))
    }
}

impl Lesson for Sft {
    type Item = Sequence;

    fn batch(
        &mut self,
        context: &mut Context,
        step: usize,
        metrics: &mut Metrics,
    ) -> Result<Batch<Sequence>> {
        let mut items = Vec::new();
        for row in context.questions.of_step(step) {
            let sequence = self.sequence(context, &row)?;
            metrics.add("rows_too_long", f64::from(u8::from(sequence.is_none())), 1.0);
            items.extend(sequence);
        }
        let tokens: usize = items.iter().map(|s| s.tokens.len() - s.prompt).sum();
        let updates = if items.is_empty() {
            Vec::new()
        } else {
            vec![Update { items: (0..items.len()).collect(), weight: tokens as f64 }]
        };
        Ok(Batch { items, updates, groups: Vec::new(), sampled_tokens: 0, temperature: 1.0 })
    }

    fn sequences<'a>(&self, item: &'a Sequence) -> &'a [Sequence] {
        std::slice::from_ref(item)
    }

    fn loss(
        &self,
        _: &[&Sequence],
        logprobs: &Tensor,
        entropy: &Tensor,
        metrics: &mut Metrics,
    ) -> Result<Tensor> {
        Ok(imitation(logprobs, entropy, metrics))
    }
}
