//! Other programs' names for what there is no key for.

use super::aliases::{ends, plain};

const SAMPLER: &str = "the program samples itself, from the weights that it trains; `policy.decode_slots` bounds the memory of that";
const PACKED: &str = "rows are packed always, up to `optim.tokens_per_microbatch`";
const CUT: &str = "nothing is cut; rows that are longer than `data.max_prompt_tokens` or the loop's `max_tokens` are left out, and counted";
const TOKENS: &str =
    "the model's tokenizer says which token it is; `policy.sampling.stop` has texts that end a completion";
const LOGITS: &str = "logits are computed in pieces always, never for all positions at once";
const COMPILED: &str = "nothing is compiled; the model's operations are libtorch's";
const OFFLOADED: &str =
    "nothing is moved to the CPU; `devices.shard`, `policy.quantize` and `optim.moments` save memory";
const UNDIVIDED: &str =
    "a model is divided by `devices.shard` alone, which keeps a part of each layer on every rank";
const ADAPTERS: &str = "adapters are LoRA's, scaled by `policy.lora.alpha` / rank";
const READERS: &str =
    "rows are read once, when a stage opens, and `devices.threads` says how many threads there are";
const UPLOADED: &str = "a run uploads nothing; `train export RUN --push OWNER/NAME` sends its model";
const RESUMED: &str = "`train --recipe R --resume` goes on from the newest checkpoint";
const ATTENTION: &str = "libtorch takes the fastest attention that the device has";

/// Their names for what there is no key for, and why.
const ABSENT: &[(&str, &str)] = &[
    ("logging_steps", "every step is written to metrics.jsonl"),
    ("packing", PACKED),
    ("packing_strategy", PACKED),
    ("eval_packing", PACKED),
    ("padding_free", PACKED),
    ("use_remove_padding", PACKED),
    ("truncation", CUT),
    ("truncation_mode", CUT),
    ("pad_token", TOKENS),
    ("eos_token", TOKENS),
    ("return_raw_chat", "rows that are conversations stay conversations"),
    (
        "chat_template_path",
        "the model's own chat template is used; put yours into `chat_template.jinja` of its folder",
    ),
    ("dataloader_num_workers", READERS),
    ("dataset_num_proc", READERS),
    ("assistant_only_loss", "only what the assistant writes is ever learned; `train preview` marks it"),
    ("completion_only_loss", "only completions are ever learned; `train preview` marks them"),
    (
        "missing_eos_penalty",
        "`loop.grpo.truncated_reward` is added to the reward of a truncated completion: a penalty is a negative one",
    ),
    ("save_only_model", "`checkpoint.save_optimizer = false` keeps no optimiser"),
    ("push_to_hub", UPLOADED),
    ("hub_model_id", UPLOADED),
    ("use_vllm", SAMPLER),
    ("vllm_mode", SAMPLER),
    ("cache_implementation", SAMPLER),
    ("ds3_gather_for_generation", SAMPLER),
    ("vllm_server_host", SAMPLER),
    ("vllm_server_port", SAMPLER),
    ("vllm_server_base_url", SAMPLER),
    ("vllm_tensor_parallel_size", SAMPLER),
    ("rollout.name", SAMPLER),
    ("gpu_memory_utilization", SAMPLER),
    ("vllm_gpu_memory_utilization", SAMPLER),
    ("attn_implementation", ATTENTION),
    ("flash_attn", ATTENTION),
    ("use_liger_kernel", LOGITS),
    ("use_liger_loss", LOGITS),
    ("torch_compile", COMPILED),
    ("tf32", "f32 is multiplied in full; `policy.dtype = \"bf16\"` is what is faster"),
    ("param_offload", OFFLOADED),
    ("optimizer_offload", OFFLOADED),
    ("activation_offloading", OFFLOADED),
    ("tensor_model_parallel_size", UNDIVIDED),
    ("ulysses_sequence_parallel_size", UNDIVIDED),
    ("nnodes", "torchrun or srun starts the ranks of several machines; `docs/cluster.md` shows how"),
    ("use_dora", ADAPTERS),
    ("use_rslora", ADAPTERS),
    (
        "neftune_noise_alpha",
        "no noise is added to embeddings; `policy.dropout` is that of the layers, in `loop.sft`",
    ),
    ("top_entropy_quantile", "every token of a completion is learned, whatever its entropy"),
    (
        "lora_dropout",
        "adapters are trained without dropout; `policy.dropout` is that of the layers, in `loop.sft`",
    ),
    (
        "trust_remote_code",
        "no code of a model's folder is run; `docs/families.md` has the models that are known",
    ),
    ("remove_unused_columns", "columns that nothing reads are kept with the row, for rewards and templates"),
    ("model_init_kwargs", "what a model is loaded with has keys of its own: `train keys policy` lists them"),
    ("resume_from_checkpoint", RESUMED),
    ("resume_mode", RESUMED),
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
        assert!(absent("data.truncation").unwrap().contains("data.max_prompt_tokens"));
        for (at, (name, _)) in ABSENT.iter().enumerate() {
            assert!(ABSENT[..at].iter().all(|(other, _)| other != name), "{name} stands twice");
            assert!(absent(name).is_some() && called(name).is_none(), "{name} stands in both tables");
        }
    }
}
