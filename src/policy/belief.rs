//! What a model would answer now: the distribution over candidate answers behind any beginning of a completion.

use super::Policy;
use crate::error::Result;
use crate::model::{Grad, Sequence};
use crate::statistics::distribution::softmax;
use crate::statistics::mean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// Where a model stands: a prompt, and the text that has been written behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Context<'a> {
    /// The prompt's token ids.
    pub prompt: &'a [u32],
    /// What was written, up to where the answer would begin.
    pub before: String,
}

/// How the log-probabilities of a candidate's tokens become its weight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// s = (1/n) Σₜ log p(cₜ): candidates of more tokens are not the less likely for it.
    #[default]
    Mean,
    /// s = Σₜ log p(cₜ).
    Sum,
}

/// Candidates that a model itself has named.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Each as text.
    pub texts: Vec<String>,
    /// Their probabilities, renormalised among themselves.
    pub probabilities: Vec<f64>,
}

impl Policy {
    /// The weight s of each candidate behind each context, in nats at temperature 1, in micro-batches of `budget` tokens; what contexts begin with
    /// in common is computed once. Text and candidate are tokenised together.
    pub fn weights(
        &self,
        contexts: &[Context],
        candidates: &[String],
        norm: Norm,
        budget: usize,
    ) -> Result<Vec<Vec<f64>>> {
        if candidates.is_empty() {
            return Ok(vec![vec![]; contexts.len()]);
        }
        let sequences = self.answers(contexts, candidates)?;
        let logprobs = self.logprobs(&sequences, 1.0, budget)?;
        let weight = |of: &Vec<f32>| {
            let values = of.iter().map(|&logprob| f64::from(logprob));
            match norm {
                Norm::Mean => mean(values),
                Norm::Sum => values.sum(),
            }
        };
        let weights: Vec<f64> = logprobs.iter().map(weight).collect();
        Ok(weights.chunks(candidates.len()).map(<[f64]>::to_vec).collect())
    }

    /// The belief behind each context: the softmax over candidates of their [`weights`](Self::weights).
    pub fn beliefs(
        &self,
        contexts: &[Context],
        candidates: &[String],
        norm: Norm,
        budget: usize,
    ) -> Result<Vec<Vec<f64>>> {
        let weights = self.weights(contexts, candidates, norm, budget)?;
        Ok(weights.iter().map(|weights| softmax(weights)).collect())
    }

    /// Behind each context, the mean over the tokens of `answer` of the entropy of what the model would write in its place, in nats:
    /// (1/|y|) Σₜ H(p(· | context, y_<t)).
    pub fn answer_entropies(&self, contexts: &[Context], answer: &str, budget: usize) -> Result<Vec<f64>> {
        let sequences = self.answers(contexts, &[answer.to_string()])?;
        let entropies = self.entropies(&sequences, 1.0, budget)?;
        Ok(entropies.iter().map(|of| mean(of.iter().map(|&entropy| f64::from(entropy)))).collect())
    }

    /// What the model itself would most likely answer: token by token the `width` likeliest beginnings are kept, for at most `tokens`
    /// tokens, each until it has written `until` or ended. They are what `until` or the end stands behind, renormalised.
    pub fn named(&self, context: &Context, width: usize, tokens: usize, until: &str) -> Result<Named> {
        let before = [context.prompt, &self.tokenizer.encode(&context.before)?].concat();
        let mut kept: Vec<Beginning> = vec![Beginning::default()];
        for _ in 0..tokens {
            if kept.iter().all(|one| one.ended) {
                break;
            }
            kept = self.longer(&before, kept, width, until)?;
        }
        let texts = kept.iter().map(|one| one.text(self, until)).collect();
        let weights: Vec<f64> = kept.iter().map(|one| one.logprob).collect();
        Ok(Named { texts, probabilities: softmax(&weights) })
    }

    /// The `width` likeliest among beginnings that have ended and those of the others with a further token.
    fn longer(
        &self,
        before: &[u32],
        kept: Vec<Beginning>,
        width: usize,
        until: &str,
    ) -> Result<Vec<Beginning>> {
        let (mut all, open): (Vec<Beginning>, Vec<Beginning>) = kept.into_iter().partition(|one| one.ended);
        let texts: Vec<Vec<u32>> = open.iter().map(|one| [before, &one.tokens].concat()).collect();
        let rows: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let last: Vec<[usize; 1]> = texts.iter().map(|tokens| [tokens.len() - 1]).collect();
        let places: Vec<&[usize]> = last.iter().map(<[usize; 1]>::as_slice).collect();
        let states = self.model.read(&rows, &places, Grad::No)?.states;
        let logprobs = tch::no_grad(|| self.model.logits(&states).log_softmax(-1, Kind::Float));
        let (values, ids) = logprobs.topk(width.min(self.model.config.vocab_size) as i64, -1, true, true);
        let values: Vec<Vec<f32>> = Vec::try_from(&values.to_device(Device::Cpu))?;
        let ids: Vec<Vec<i64>> = Vec::try_from(&ids.to_device(Device::Cpu))?;
        for (one, (values, ids)) in open.iter().zip(values.iter().zip(&ids)) {
            for (logprob, id) in values.iter().zip(ids) {
                let mut next = one.clone();
                next.logprob += f64::from(*logprob);
                next.tokens.push(*id as u32);
                next.ended = self.eos.contains(&(*id as u32))
                    || (!until.is_empty() && self.tokenizer.decode(&next.tokens).contains(until));
                all.push(next);
            }
        }
        // Sorting is stable, so that of equals the earlier stays.
        all.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
        all.truncate(width);
        Ok(all)
    }

    /// Each candidate behind each context, context by context.
    fn answers(&self, contexts: &[Context], candidates: &[String]) -> Result<Vec<Sequence>> {
        let of = |context: &Context| {
            candidates
                .iter()
                .map(|text| self.after(context.prompt, &context.before, text))
                .collect::<Vec<_>>()
        };
        contexts.iter().flat_map(of).collect()
    }
}

/// The beginning of an answer.
#[derive(Debug, Clone, Default)]
struct Beginning {
    tokens: Vec<u32>,
    logprob: f64,
    ended: bool,
}

impl Beginning {
    fn text(&self, policy: &Policy, until: &str) -> String {
        let text = policy.tokenizer.decode(&self.tokens);
        let end = if until.is_empty() { None } else { text.find(until) };
        text[..end.unwrap_or(text.len())].trim().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Head;
    use crate::near::near;
    use crate::policy::tests::tiny;

    fn policy() -> Policy {
        tiny(1, 1, 3)
    }

    /// Another way to the same: two tokens of the vocabulary, read off the state in front of them.
    #[test]
    fn a_belief_over_two_tokens_is_the_softmax_of_their_logits() {
        let policy = policy();
        let prompt = policy.tokenizer.encode("q: is it?").unwrap();
        let contexts =
            ["so ", "a longer way, so "].map(|before| Context { prompt: &prompt, before: before.into() });
        let found = policy.beliefs(&contexts, &["n".into(), "y".into()], Norm::Mean, 64).unwrap();
        for (context, belief) in contexts.iter().zip(&found) {
            let tokens = [&prompt[..], &policy.tokenizer.encode(&context.before).unwrap()].concat();
            let read = policy.model.read(&[&tokens], &[&[tokens.len() - 1]], Grad::No).unwrap();
            let ids = ["n", "y"].map(|text| policy.tokenizer.encode(text).unwrap()[0]);
            let head = Head::Vocabulary { negative: ids[0], positive: ids[1] };
            let logits = head.logits(&policy.model, &read.states).unwrap();
            let expected: Vec<f64> = Vec::try_from(&logits.softmax(-1, Kind::Double).squeeze_dim(0)).unwrap();
            near(belief, &expected, 1e-5);
        }
        // One token each: mean and sum are the same; of two tokens the sum is twice the mean.
        let weights = |norm| policy.weights(&contexts[..1], &["no".into(), "y".into()], norm, 64).unwrap();
        let (means, sums) = (weights(Norm::Mean), weights(Norm::Sum));
        near(&sums[0], [2.0 * means[0][0], means[0][1]], 1e-5);
    }

    #[test]
    fn what_the_model_names_is_what_is_likeliest() {
        let policy = policy();
        let prompt = policy.tokenizer.encode("q:").unwrap();
        let context = Context { prompt: &prompt, before: "a".into() };
        // One token: the likeliest of the vocabulary, with their shares of what these hold together.
        let named = policy.named(&context, 3, 1, "\n").unwrap();
        let tokens = [&prompt[..], &policy.tokenizer.encode("a").unwrap()].concat();
        let read = policy.model.read(&[&tokens], &[&[tokens.len() - 1]], Grad::No).unwrap();
        let all = policy.model.logits(&read.states).softmax(-1, Kind::Double).squeeze_dim(0);
        let (most, _) = all.topk(3, -1, true, true);
        let most: Vec<f64> = Vec::try_from(&most).unwrap();
        let sum: f64 = most.iter().sum();
        near(&named.probabilities, most.iter().map(|p| p / sum).collect::<Vec<_>>(), 1e-5);
        // With as many beginnings as there are, two tokens are searched through: the best is the best of all pairs.
        let vocabulary = policy.model.config.vocab_size;
        let best = policy.named(&context, vocabulary, 2, "").unwrap();
        assert!(best.probabilities.is_sorted_by(|a, b| a >= b) && best.texts.len() == vocabulary);
        near([best.probabilities.iter().sum::<f64>()], [1.0], 1e-5);
    }

    #[test]
    fn the_entropy_of_an_answer_is_the_mean_over_its_tokens() {
        let policy = policy();
        let prompt = policy.tokenizer.encode("q:").unwrap();
        let context = Context { prompt: &prompt, before: "a ".into() };
        let found = policy.answer_entropies(std::slice::from_ref(&context), "12", 64).unwrap()[0];
        let tokens = [&prompt[..], &policy.tokenizer.encode("a 1").unwrap()].concat();
        let at = [tokens.len() - 2, tokens.len() - 1];
        let read = policy.model.read(&[&tokens], &[&at], Grad::No).unwrap();
        let p = policy.model.logits(&read.states).softmax(-1, Kind::Double);
        let entropy = -(&p * p.log()).sum(Kind::Double).double_value(&[]) / 2.0;
        near([found], [entropy], 1e-5);
    }
}
