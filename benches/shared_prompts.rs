//! What sampling saves by computing once what prompts begin with, on a random model of SmolLM2-135M's shape: trees that grow on
//! from a store against trees whose every level computes its paths anew, and questions behind the same examples against
//! questions behind examples that differ in their first token. `cargo bench --bench shared_prompts [-- f32 bf16]`.

#[allow(dead_code, reason = "the other benches' batch")]
mod smollm2;

use rationale::engine::{Decoder, Request, Sampler, Sampling, Statistics, Stops};
use rationale::model::Model;
use std::time::Instant;

/// Tokens of a step of a tree, and of an answer.
const STEP: usize = 16;

fn main() {
    smollm2::formats(|name, model| {
        let report = |what: &str, (prefill, rows, seconds, processor): (usize, usize, f64, f64)| {
            println!(
                "{name} on {:?}, {what}: {prefill} prompt tokens and {rows} rows, {seconds:.2} s, {processor:.2} s of \
                 processors",
                model.device()
            );
        };
        for kept in [false, true, false, true] {
            let what = if kept { "2 trees of 8 leaves, kept" } else { "2 trees of 8 leaves, anew" };
            report(what, timed(|| trees(model, kept)));
        }
        for shared in [false, true, false, true] {
            let what = if shared { "8 questions, same examples" } else { "8 questions, own examples" };
            report(what, timed(|| questions(model, shared)));
        }
    });
}

fn timed(work: impl FnOnce() -> (usize, usize)) -> (usize, usize, f64, f64) {
    let (start, processor) = (Instant::now(), smollm2::processor_seconds());
    let (prefill, rows) = work();
    (prefill, rows, start.elapsed().as_secs_f64(), smollm2::processor_seconds() - processor)
}

/// Prompt tokens computed and rows of steps of two trees that branch in two after each of three steps.
fn trees(model: &Model, kept: bool) -> (usize, usize) {
    let mut decoder = Decoder::new(model, Stops::at(&[]), 64);
    let mut paths: Vec<Vec<u32>> =
        smollm2::requests()[..2].iter().map(|request| request.prompt.clone()).collect();
    let mut total = (0, 0);
    for level in 0..4 {
        let children = if level < 3 { 2 } else { 1 };
        decoder.keep_cache(kept && level < 3);
        let requests: Vec<Request> = paths
            .iter()
            .map(|path| Request { prompt: path.clone(), seeds: (0..children).collect() })
            .collect();
        let (completions, statistics) = sample(&mut decoder, &requests);
        total = (total.0 + statistics.prefill_tokens, total.1 + statistics.rows);
        let go_on = paths.iter().zip(&completions);
        paths = go_on.flat_map(|(path, all)| all.iter().map(move |c| [&path[..], c].concat())).collect();
    }
    total
}

/// The same of eight questions of 32 tokens behind 480 tokens of examples.
fn questions(model: &Model, shared: bool) -> (usize, usize) {
    let request = |question: u32| {
        let mut prompt: Vec<u32> = (0..480).map(|i| (7 + i * 104_729) % 40_000).collect();
        prompt[0] = if shared { 41_000 } else { 41_000 + question };
        prompt.extend((0..32).map(|i| (question * 7919 + i * 31) % 40_000));
        Request { prompt, seeds: vec![0] }
    };
    let requests: Vec<Request> = (0..8).map(request).collect();
    let (_, statistics) = sample(&mut Decoder::new(model, Stops::at(&[]), 64), &requests);
    (statistics.prefill_tokens, statistics.rows)
}

fn sample(decoder: &mut Decoder, requests: &[Request]) -> (Vec<Vec<Vec<u32>>>, Statistics) {
    let sampling = Sampling { max_new_tokens: STEP, ..Sampling::default() };
    let generated = decoder.generate(requests, &sampling, &mut |_| {}).expect("the requests are valid");
    let tokens = |group: Vec<_>| group.into_iter().map(|c: rationale::engine::Completion| c.tokens).collect();
    (generated.completions.into_iter().map(tokens).collect(), generated.statistics)
}
