//! A completion under way that two adapters write and judge in turns.

use super::Flow;
use super::flow::{JUDGE, WRITER};
use crate::data::Tokenizer;
use crate::engine::{Request, Sampling, StopReason};
use crate::error::Result;
use crate::loops::Worker;
use crate::model::Sequence;
use crate::rationale::Format;
use crate::rollout::{Prompted, Rollout};
use crate::seed;

/// Where a chain could have gone another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// The writer wrote the tokens from `from` to `to`.
    Chunk { from: usize, to: usize },
    /// After `at` tokens the judge said to stop, or to go on.
    Decision { at: usize, stop: bool },
}

/// What has been written of a completion, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chain {
    /// Which of the step's questions it answers.
    pub prompt: usize,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The nodes since it began, or since it turned off another chain.
    pub nodes: Vec<Node>,
    logprobs: Vec<f32>,
    /// Chunks and tokens that it has from another chain.
    inherited: [usize; 2],
    /// Why it ended; `None` where it goes on.
    stop: Option<StopReason>,
    seed: u64,
}

impl Chain {
    pub fn new(prompt: usize, seed: u64) -> Self {
        let (tokens, nodes, logprobs) = (Vec::new(), Vec::new(), Vec::new());
        Self { prompt, tokens, nodes, logprobs, inherited: [0, 0], stop: None, seed }
    }

    /// How many chunks it has.
    pub fn chunks(&self) -> usize {
        self.inherited[0] + chunks(&self.nodes)
    }

    /// How many of its tokens were sampled for it.
    pub fn sampled(&self) -> usize {
        self.tokens.len() - self.inherited[1]
    }

    /// The chain that goes another way at a node of this one: another chunk, still to be written, or the other decision.
    pub fn turned(&self, node: usize, yes: &str) -> Self {
        let (at, stop) = match self.nodes[node] {
            Node::Chunk { from, .. } => (from, None),
            Node::Decision { at, stop: true } => (at, None),
            Node::Decision { at, stop: false } => (at, Some(StopReason::StopString(yes.to_string()))),
        };
        Self {
            prompt: self.prompt,
            tokens: self.tokens[..at].to_vec(),
            nodes: Vec::new(),
            logprobs: self.logprobs[..at].to_vec(),
            inherited: [self.inherited[0] + chunks(&self.nodes[..node]), at],
            stop,
            seed: seed::derive(&[self.seed, 1 + node as u64]),
        }
    }

    /// As a rollout.
    pub fn rollout(&self, tokenizer: &Tokenizer, format: &Format) -> Rollout {
        let stop = self.stop.clone().unwrap_or(StopReason::Length);
        Rollout::decoded(self.tokens.clone(), self.logprobs.clone(), stop, tokenizer, format)
    }
}

fn chunks(nodes: &[Node]) -> usize {
    nodes.iter().filter(|node| matches!(node, Node::Chunk { .. })).count()
}

impl Flow {
    /// Takes chains to their ends: a chunk of each, a decision of each, and so on.
    pub(super) fn complete(
        &self,
        worker: &mut Worker,
        prompts: &[Prompted],
        mut chains: Vec<Chain>,
    ) -> Result<Vec<Chain>> {
        while chains.iter().any(|chain| chain.stop.is_none()) {
            self.write(worker, prompts, &mut chains)?;
            self.decide(worker, prompts, &mut chains)?;
        }
        Ok(chains)
    }

    fn write(&self, worker: &mut Worker, prompts: &[Prompted], chains: &mut [Chain]) -> Result<()> {
        let open: Vec<&mut Chain> = chains.iter_mut().filter(|chain| chain.stop.is_none()).collect();
        let request = |chain: &&mut Chain| Request {
            prompt: [&prompts[chain.prompt].tokens[..], &chain.tokens].concat(),
            seeds: vec![seed::derive(&[chain.seed, chain.chunks() as u64])],
        };
        let requests: Vec<Request> = open.iter().map(request).collect();
        let limits = Sampling { max_new_tokens: self.chunk_tokens, ..worker.sampling.clone() };
        worker.policy.model.set_active_adapter(WRITER)?;
        let generated = worker.policy.sampler().generate(&requests, &limits, &mut worker.progress)?;
        // Room for another token, the question and its answer.
        let question =
            worker.policy.tokenizer.encode(&format!("{}{}{}", self.question, self.yes, self.no))?.len();
        for (chain, written) in open.into_iter().zip(generated.completions) {
            let from = chain.tokens.len();
            for chunk in written {
                chain.tokens.extend(chunk.tokens);
                chain.logprobs.extend(chunk.logprobs);
                chain.nodes.push(Node::Chunk { from, to: chain.tokens.len() });
                let full = prompts[chain.prompt].tokens.len() + chain.tokens.len() + question
                    >= worker.policy.context();
                let goes_on = chunk.stop == StopReason::Length && chain.chunks() < self.chunks && !full;
                chain.stop = (!goes_on).then_some(chunk.stop);
            }
        }
        Ok(())
    }

    fn decide(&self, worker: &mut Worker, prompts: &[Prompted], chains: &mut [Chain]) -> Result<()> {
        let open: Vec<&mut Chain> = chains.iter_mut().filter(|chain| chain.stop.is_none()).collect();
        if open.is_empty() {
            return Ok(());
        }
        let policy = &mut worker.policy;
        let [yes, no] = [policy.tokenizer.encode(&self.yes)?, policy.tokenizer.encode(&self.no)?];
        let mut sequences = Vec::new();
        for chain in &open {
            let decision_prompt = self.decision_prompt(policy, &prompts[chain.prompt], &chain.tokens)?;
            sequences.extend([&yes, &no].map(|said| Sequence::new(&decision_prompt, said)));
        }
        policy.model.set_active_adapter(JUDGE)?;
        let logprobs = policy.logprobs(
            &sequences,
            worker.sampling.scoring_temperature(),
            worker.tokens_per_microbatch,
        )?;
        let sum = |logprobs: &Vec<f32>| logprobs.iter().copied().map(f64::from).sum::<f64>();
        for (chain, said) in open.into_iter().zip(logprobs.chunks(2)) {
            let stop =
                stops(sum(&said[0]), sum(&said[1]), seed::derive(&[chain.seed, chain.chunks() as u64, 1]));
            chain.nodes.push(Node::Decision { at: chain.tokens.len(), stop });
            chain.stop = stop.then(|| StopReason::StopString(self.yes.clone()));
        }
        Ok(())
    }
}

/// Draws yes with probability e^yes / (e^yes + e^no).
fn stops(yes: f64, no: f64, seed: u64) -> bool {
    seed::uniform(seed) < 1.0 / (1.0 + (no - yes).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_turns_off_at_a_node() {
        // Two chunks of two tokens; after the first the judge went on, after the second it stopped.
        let nodes = vec![
            Node::Chunk { from: 0, to: 2 },
            Node::Decision { at: 2, stop: false },
            Node::Chunk { from: 2, to: 4 },
            Node::Decision { at: 4, stop: true },
        ];
        let stop = || StopReason::StopString("y".into());
        let chain = Chain {
            tokens: vec![1, 2, 3, 4],
            logprobs: vec![0.0; 4],
            nodes,
            stop: Some(stop()),
            ..Chain::new(0, 7)
        };
        let turned = |node: usize| chain.turned(node, "y");
        let seen = |chain: &Chain| (chain.tokens.len(), chain.chunks(), chain.sampled(), chain.stop.clone());
        assert_eq!(seen(&turned(0)), (0, 0, 0, None));
        // Where it went on, it now stops; where it stopped, it goes on.
        assert_eq!(seen(&turned(1)), (2, 1, 0, Some(stop())));
        assert_eq!(seen(&turned(2)), (2, 1, 0, None));
        assert_eq!(seen(&turned(3)), (4, 2, 0, None));
        assert_eq!((chain.chunks(), chain.sampled()), (2, 4));
        assert!(turned(0).seed != turned(2).seed);
    }

    #[test]
    fn a_decision_is_drawn_by_its_odds() {
        // Odds of 3 to 1: three in four.
        let yes = (0..4000).filter(|&i| stops(3f64.ln(), 0.0, seed::derive(&[i]))).count();
        assert!((2900..3100).contains(&yes), "{yes}");
        assert!(stops(0.0, -50.0, u64::MAX / 2) && !stops(-50.0, 0.0, u64::MAX / 2));
    }
}
