//! Decoding speed: `cargo bench --bench decode [-- f32 bf16]`. A line a number format: prompt tokens and sampled tokens
//! per second, the second of two runs. The peer's same work: `trl_peer.py MODEL gen`.

#[allow(dead_code, reason = "the other benches' measures")]
mod smollm2;

use std::time::Instant;

fn main() {
    smollm2::formats(|name, model| {
        let requests = smollm2::requests();
        smollm2::sample(model, &requests);
        let start = Instant::now();
        let statistics = smollm2::sample(model, &requests).statistics;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{name} on {:?}: prefill {:.0} tokens/s, decode {:.0} tokens/s, {:.0} new tokens/s over all {seconds:.2} s",
            model.device(),
            statistics.prefill_tokens as f64 / statistics.prefill_seconds,
            statistics.rows as f64 / statistics.decode_seconds,
            statistics.decoded_tokens as f64 / seconds,
        );
    });
}
