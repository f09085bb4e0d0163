//! Other programs' names for what there is no key for.

use super::aliases::{ends, plain};

const SAMPLER: &str = "the program samples itself, from the weights that it trains; `policy.decode_slots` bounds the memory of that";
const ATTENTION: &str = "libtorch takes the fastest attention that the device has";

/// Their names for what there is no key for, and why.
const ABSENT: &[(&str, &str)] = &[
    ("logging_steps", "every step is written to metrics.jsonl"),
    ("packing", "rows are packed always, up to `optim.tokens_per_microbatch`"),
    ("assistant_only_loss", "only what the assistant writes is ever learned; `train preview` marks it"),
    ("completion_only_loss", "only completions are ever learned; `train preview` marks them"),
    ("push_to_hub", "nothing is uploaded; `train export RUN DIR`, then `hf upload OWNER/NAME DIR`"),
    ("use_vllm", SAMPLER),
    ("vllm_mode", SAMPLER),
    ("gpu_memory_utilization", SAMPLER),
    ("vllm_gpu_memory_utilization", SAMPLER),
    ("attn_implementation", ATTENTION),
    ("flash_attn", ATTENTION),
    (
        "lora_dropout",
        "adapters are trained without dropout; `policy.dropout` is that of the layers, in `loop.sft`",
    ),
    (
        "trust_remote_code",
        "no code of a model's folder is run; `docs/families.md` has the models that are known",
    ),
    ("remove_unused_columns", "columns that nothing reads are kept with the row, for rewards and templates"),
    ("resume_from_checkpoint", "`train --recipe R --resume` goes on from the newest checkpoint"),
    ("overwrite_output_dir", "`train --recipe R --overwrite` replaces the run"),
];

/// Why there is nothing here that other programs call `typed`.
pub fn absent(typed: &str) -> Option<&'static str> {
    let typed = plain(typed);
    ABSENT.iter().find(|(name, _)| ends(&typed, name)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::aliases::called;

    #[test]
    fn what_is_absent_is_known_by_its_name_and_has_no_key() {
        assert!(absent("no_such_thing").is_none());
        assert!(absent("actor_rollout_ref.rollout.gpu_memory_utilization").is_some());
        for (name, _) in ABSENT {
            assert!(absent(name).is_some() && called(name).is_none(), "{name} stands in both tables");
        }
    }
}
