//! A whole GRPO step without its reward: sampling, the clipped loss forward and backward, an AdamW update.
//! `cargo bench --bench grpo_step [-- f32 bf16]`; a line a number format, the second of two steps. The peer's same work:
//! `trl_peer.py MODEL grpo`.

#[allow(dead_code, reason = "the other benches' measures")]
mod smollm2;

use rationale::batch::micro_batches;
use rationale::loss::policy::{PolicyLoss, PolicyTokens};
use rationale::model::layout::sizes;
use rationale::model::{Grad, Model, Sequence};
use rationale::optim::{Optim, Optimizer};
use std::time::Instant;
use tch::Tensor;

/// Tokens that go through the model together: as many as in the peer's harness, which takes 4 sequences.
const MICRO_BATCH: usize = 4 * (smollm2::PROMPT_TOKENS + smollm2::NEW_TOKENS);

fn main() {
    smollm2::formats(|name, model| {
        model.train_all();
        let optim = Optim::default();
        let mut adamw = Optimizer::new(model.parameters(), &optim).expect("parameters train");
        step(model, &mut adamw);
        let start = Instant::now();
        let sampling = step(model, &mut adamw);
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{name} on {:?}: {seconds:.2} s a step, {sampling:.2} s of it sampling; {:.0} new tokens/s over the step",
            model.device(),
            (smollm2::PROMPTS * smollm2::NEW_TOKENS) as f64 * smollm2::SAMPLES as f64 / seconds,
        );
    });
}

/// One step; returns the seconds spent on sampling.
fn step(model: &Model, adamw: &mut Optimizer) -> f64 {
    let start = Instant::now();
    let requests = smollm2::requests();
    let generated = smollm2::sample(model, &requests);
    let sampling = start.elapsed().as_secs_f64();

    let rollouts: Vec<(Sequence, Vec<f32>, f32)> = requests
        .iter()
        .zip(generated.completions)
        .flat_map(|(request, completions)| {
            let credited = completions.into_iter().enumerate();
            credited.map(|(i, c)| {
                let advantage = if i % 2 == 0 { 1.0 } else { -1.0 };
                (Sequence::new(&request.prompt, &c.tokens), c.logprobs, advantage)
            })
        })
        .collect();
    let loss = PolicyLoss::default();
    let total = rollouts.len() * smollm2::NEW_TOKENS;
    let sizes = sizes(rollouts.iter().map(|(sequence, ..)| (std::slice::from_ref(sequence), &[][..])));
    for indices in micro_batches(&sizes, MICRO_BATCH) {
        let batch: Vec<&(Sequence, Vec<f32>, f32)> = indices.iter().map(|&i| &rollouts[i]).collect();
        let sequences: Vec<Sequence> = batch.iter().map(|(sequence, ..)| sequence.clone()).collect();
        let scored = model.score(&sequences, 1.0, Grad::Yes).expect("the sequences fit");
        let lengths = vec![smollm2::NEW_TOKENS; batch.len()];
        let flat = |values: Vec<f32>| Tensor::from_slice(&values).to_device(model.device());
        let old_logprobs = flat(batch.iter().flat_map(|(_, old, _)| old.clone()).collect());
        let advantages = flat(batch.iter().flat_map(|(.., a)| vec![*a; smollm2::NEW_TOKENS]).collect());
        let tokens = PolicyTokens {
            logprobs: &scored.logprobs,
            old_logprobs: &old_logprobs,
            advantages: &advantages,
            weights: &advantages.ones_like(),
            lengths: &lengths,
        };
        let sum = loss.sum(&tokens).loss / total as f64;
        scored.backward(&sum).expect("it has a graph");
        adamw.accumulate().expect("gradients");
    }
    adamw.clip(1.0).expect("finite");
    adamw.step(1e-6).expect("a step");
    adamw.zero_grad().expect("no gradients left");
    sampling
}
