//! What a policy makes of texts that are given: the log-probability of each token behind those before it, and the likeliest in its place.

use super::Policy;
use crate::batch::{micro_batches, sizes};
use crate::engine::{Token, likeliest};
use crate::error::Result;
use crate::model::Grad;
use tch::{Device, Kind, Tensor};

/// A text as the policy sees it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// Its tokens from the second on: before the first there is nothing that it could be told from.
    pub tokens: Vec<Token>,
    /// The likeliest token behind it.
    pub next: Token,
}

impl Policy {
    /// Each of `texts` (token ids, at least one) in one pass, in micro-batches of `budget` tokens; what they begin with in common is computed
    /// once. Log-probabilities are over the whole vocabulary at `temperature`, in nats; beside each token are the `top` likeliest.
    pub fn prompt_logprobs(
        &self,
        texts: &[&[u32]],
        temperature: f64,
        top: usize,
        budget: usize,
    ) -> Result<Vec<Told>> {
        let alone: Vec<Vec<&[u32]>> = texts.iter().map(|text| vec![*text]).collect();
        let mut all = vec![Told::default(); texts.len()];
        for indices in micro_batches(&sizes(&alone), budget) {
            let rows: Vec<&[u32]> = indices.iter().map(|&index| texts[index]).collect();
            let places: Vec<Vec<usize>> = rows.iter().map(|text| (0..text.len()).collect()).collect();
            let places: Vec<&[usize]> = places.iter().map(Vec::as_slice).collect();
            let states = self.model.read(&rows, &places, Grad::No)?.states;
            let mut start = 0;
            for (index, text) in indices.into_iter().zip(rows) {
                let own = states.narrow(0, start, text.len() as i64);
                all[index] = tch::no_grad(|| self.told(text, &own, temperature, top))?;
                start += text.len() as i64;
            }
        }
        Ok(all)
    }

    /// `states [tokens, hidden]` of a text, read in chunks, so that logits are never there for all of them.
    fn told(&self, text: &[u32], states: &Tensor, temperature: f64, top: usize) -> Result<Told> {
        let most = (self.model.chunk / self.model.config.vocab_size).max(1);
        let mut tokens = Vec::with_capacity(text.len());
        for start in (0..text.len()).step_by(most) {
            let count = most.min(text.len() - start);
            let logits = self.model.logits(&states.narrow(0, start as i64, count as i64));
            let logprobs = (logits.to_kind(Kind::Float) / temperature).log_softmax(-1, Kind::Float);
            // Behind the last token stands the likeliest, whatever follows.
            let mut next: Vec<i64> =
                text.iter().skip(start + 1).take(count).map(|&id| i64::from(id)).collect();
            if next.len() < count {
                next.push(logprobs.get(-1).argmax(0, false).int64_value(&[]));
            }
            let ids = Tensor::from_slice(&next).to_device(logprobs.device()).unsqueeze(1);
            let chosen = logprobs.gather(-1, &ids, false).squeeze_dim(1).to_device(Device::Cpu);
            let chosen: Vec<f32> = Vec::try_from(&chosen)?;
            let mut likely = likeliest(&logprobs, top)?.into_iter();
            tokens.extend(next.iter().zip(chosen).map(|(&id, logprob)| Token {
                id: id as u32,
                logprob,
                top: likely.next().unwrap_or_default(),
            }));
        }
        let next = tokens.pop().unwrap_or_default();
        Ok(Told { tokens, next })
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{Request, Sampling};
    use crate::model::Sequence;
    use crate::policy::tests::tiny;

    /// Two other ways to the same: the trainer's scoring, and what a greedy decoder writes behind the text. Two texts that begin alike, in
    /// chunks of three rows, come to what each comes to alone.
    #[test]
    fn a_text_is_told_as_the_trainer_and_the_decoder_have_it() {
        let mut policy = tiny(2, 1, 3);
        policy.model.chunk = 3 * policy.model.config.vocab_size;
        let texts: Vec<Vec<u32>> =
            [vec![7; 40], vec![5], [vec![7; 38], vec![9, 1, 2]].concat()].into_iter().collect();
        let rows: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let told = policy.prompt_logprobs(&rows, 0.7, 2, 64).unwrap();
        for (text, told) in texts.iter().zip(&told) {
            let alone = policy.prompt_logprobs(&[text], 0.7, 2, 64).unwrap();
            assert!((alone[0].next.logprob - told.next.logprob).abs() < 1e-5);
            let ids: Vec<u32> = told.tokens.iter().map(|token| token.id).collect();
            assert_eq!(ids, text[1..]);
            for token in told.tokens.iter().chain([&told.next]) {
                assert_eq!(token.top.len(), 2);
                assert!(token.top[0].1 >= token.top[1].1 && token.logprob <= token.top[0].1);
            }
            assert_eq!((told.next.id, told.next.logprob), told.next.top[0]);
            let greedy = Sampling { max_new_tokens: 1, temperature: 0.0, ..Sampling::default() };
            let request = [Request { prompt: text.clone(), seeds: vec![0] }];
            let written = policy.sampler().generate(&request, &greedy, &mut |_| {}).unwrap().completions;
            assert_eq!(written[0][0].tokens, [told.next.id]);
            if text.len() == 1 {
                continue;
            }
            let sequence = Sequence::new(&text[..1], &text[1..]);
            let expected = policy.logprobs(&[sequence], 0.7, 64).unwrap().remove(0);
            let found = told.tokens.iter().map(|token| token.logprob);
            found.zip(expected).for_each(|(found, expected)| assert!((found - expected).abs() < 1e-5));
        }
    }
}
