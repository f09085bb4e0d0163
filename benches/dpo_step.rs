//! What sharing saves in preference learning: forward and backward of DPO's loss on a random model of SmolLM2-135M's shape,
//! over pairs that fork in the middle of their completions and over all pairs of a tree, with nothing shared (the dense
//! form), the prompt alone, and every common beginning. `cargo bench --bench dpo_step [-- f32 bf16]`.

#[allow(dead_code, reason = "the other benches' batch")]
mod smollm2;

use rationale::batch::micro_batches;
use rationale::loss::PreferenceLoss;
use rationale::loss::preference::{PairShape, PairTokens};
use rationale::model::layout::{Predicting, sizes};
use rationale::model::{Grad, Model, Sequence};
use std::time::Instant;

/// Tokens of a micro-batch.
const MICRO_BATCH: usize = 1024;
/// Tokens of a step of a completion.
const STEP: u32 = 16;

type Pair = [Sequence; 2];

/// What the sequences of a bench may have in common; they are equally long in all arms.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shared {
    Nothing,
    Prompt,
    Beginnings,
}

fn main() {
    smollm2::formats(|name, model| {
        model.train_all();
        for (work, pairs) in [("2 pairs that fork half-way", forks()), ("7 pairs of a tree of 8", tree())] {
            step(model, &pairs);
            for shared in [Shared::Nothing, Shared::Prompt, Shared::Beginnings] {
                let pairs = told_apart(&pairs, shared);
                let (start, processor) = (Instant::now(), smollm2::processor_seconds());
                let (computed, all) = step(model, &pairs);
                let (seconds, processor) =
                    (start.elapsed().as_secs_f64(), smollm2::processor_seconds() - processor);
                println!(
                    "{name} on {:?}, {work}, shared {shared:?}: {computed} of {all} tokens, {seconds:.2} s, {processor:.2} \
                     s of processors",
                    model.device()
                );
            }
        }
    });
}

/// Tokens that tell `path` apart from others.
fn tokens(path: u32, count: u32) -> Vec<u32> {
    (0..count).map(|i| (100 + path * 7919 + i * 104_729) % 40_000).collect()
}

/// Prompts of 128 tokens, each with two completions of 4 steps of which the first two are common.
fn forks() -> Vec<Pair> {
    let pair = |prompt: u32| {
        let side = |side: u32| {
            let own = tokens(10 * prompt + 3 + side, 2 * STEP);
            Sequence::new(&tokens(10 * prompt + 1, 128), &[tokens(10 * prompt + 2, 2 * STEP), own].concat())
        };
        [side(0), side(1)]
    };
    (0..2).map(pair).collect()
}

/// A prompt of 128 tokens and the 8 leaves of a tree that branches in two after each of 3 steps; each node's best two paths
/// are a pair: 4 + 2 + 1.
fn tree() -> Vec<Pair> {
    let leaf = |leaf: u32| {
        let node = |depth: u32| tokens(1000 + 100 * depth + (leaf >> (2 - depth.min(2))), STEP);
        Sequence::new(
            &tokens(1, 128),
            &(0..3).map(node).chain([tokens(2000 + leaf, STEP)]).collect::<Vec<_>>().concat(),
        )
    };
    [(0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (4, 6), (0, 4)].map(|(a, b)| [leaf(a), leaf(b)]).to_vec()
}

/// The same with tokens changed, so that only what is `shared` stays common.
fn told_apart(pairs: &[Pair], shared: Shared) -> Vec<Pair> {
    let mut pairs = pairs.to_vec();
    for (index, sequence) in pairs.iter_mut().flatten().enumerate() {
        match shared {
            Shared::Nothing => sequence.tokens[0] = 41_000 + index as u32,
            Shared::Prompt => {
                let first = sequence.prompt().len();
                sequence.tokens[first] = 41_000 + index as u32;
            }
            Shared::Beginnings => {}
        }
    }
    pairs
}

/// Forward and backward over all pairs; tokens computed, and those of the sequences.
fn step(model: &Model, pairs: &[Pair]) -> (i64, usize) {
    let loss = PreferenceLoss::default();
    let sizes = sizes(pairs.iter().map(|pair| (pair.as_slice(), &[][..])));
    let mut computed = 0;
    for indices in micro_batches(&sizes, MICRO_BATCH) {
        let sequences: Vec<Sequence> = indices.iter().flat_map(|&i| pairs[i].clone()).collect();
        let laid = Predicting::new(&sequences.iter().collect::<Vec<_>>(), &[], model.device());
        computed += laid.layout.inputs.size()[0];
        let scored = model.score(&sequences, 1.0, Grad::Yes).expect("the sequences fit");
        let shape = |&i: &usize| PairShape {
            chosen: pairs[i][0].learned(),
            rejected: pairs[i][1].learned(),
            rationale: 0,
            weight: 1.0,
            margin: 0.0,
            nll_weight: 0.0,
        };
        let shapes: Vec<PairShape> = indices.iter().map(shape).collect();
        let terms = loss.sum(&PairTokens {
            logprobs: &scored.logprobs,
            ref_logprobs: Some(&scored.logprobs.detach()),
            counted: &vec![true; scored.logprobs.size()[0] as usize],
            pairs: &shapes,
        });
        scored.backward(&terms.loss).expect("it has a graph");
    }
    for (_, parameter) in model.parameters() {
        let _ = parameter.grad().zero_();
    }
    (computed, pairs.iter().flatten().map(|sequence| sequence.tokens.len()).sum())
}
