//! Other programs' names for what there is no key for.

use super::aliases::{called, ends, plain};

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

const TEMPLATE: &str =
    "the model's own chat template is used; put yours into `chat_template.jinja` of its folder";
const PADDED: &str = "rows are packed, and never padded to a length or sorted by it";
const REFERENCE: &str = "the reference is the policy as the stage found it, under `[policy.lora]` its base";
const OWN: &str = "a program of your own, which `train init --crate` begins, registers rewards, sources, methods and metrics";
const STEADY: &str = "the coefficient stays as the recipe has it";
const KINDS: &str = "it is no loss here; `train keys loop.grpo.loss.kind` lists those that there are";
const BOUNDED: &str = "memory is bounded by `optim.tokens_per_microbatch` and `policy.decode_slots`, however many rows a step has";
const WRITTEN: &str = "every step is written to metrics.jsonl, and every rollout to traces/";
const SHOWN: &str = "`docs/report.md` shows how W&B and trackio take a run's figures";
const SAVED: &str = "checkpoints are made of all that a run needs to go on; `[checkpoint]` says how often, and how many are kept";
const VERBS: &str =
    "a stage does what its loop says: `loop.evaluate` only evaluates, and `[eval]` says when others do";
const LAUNCHED: &str = "`devices.ranks` or torchrun starts processes, and gradients are summed once an update; `docs/cluster.md`";
const SAME: &str =
    "the same recipe with the same `run.seed` and `devices.threads` gives the same run on a CPU";
const ADAMW: &str = "the optimiser is AdamW, or `[optim.muon]` for matrices; `optim.betas`, `optim.eps` and `optim.moments` are its keys";
const PREPARED: &str = "rows are prepared by `[data.columns]` and `[data.template]` alone; `train preview` shows what comes of them";
const UNSCALED: &str =
    "rewards are taken as they are; `loop.grpo.advantage.scale` says by what advantages are divided";
const SEEN: &str = "only text is read; `data.columns.unused` passes over columns of pictures";
const DECODERS: &str = "models are decoders; `docs/families.md` has those that are known";

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
    ("chat_template_path", TEMPLATE),
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
    ("pad_to_multiple_of", PADDED),
    ("padding_value", PADDED),
    ("label_pad_token_id", PADDED),
    ("group_by_length", PADDED),
    ("length_column_name", PADDED),
    ("balance_batch", PADDED),
    ("balance_dp_token", PADDED),
    ("num_of_sequences", PACKED),
    ("chars_per_token", PACKED),
    ("ref_model", REFERENCE),
    ("ref_model_init_kwargs", REFERENCE),
    ("force_use_ref_model", REFERENCE),
    ("model_adapter_name", REFERENCE),
    ("ref_adapter_name", REFERENCE),
    ("base_model_attribute_name", REFERENCE),
    ("callbacks", OWN),
    ("compute_metrics", OWN),
    ("data_collator", OWN),
    ("optimizers", OWN),
    ("processing_class", OWN),
    ("rollout_func", OWN),
    ("reward_processing_classes", OWN),
    ("custom_cls", OWN),
    ("batch_eval_metrics", OWN),
    ("include_for_metrics", OWN),
    ("use_adaptive_entropy", STEADY),
    ("entropy_target", STEADY),
    ("entropy_coef_min", STEADY),
    ("entropy_coef_max", STEADY),
    ("entropy_coef_delta", STEADY),
    ("kl_ctrl.type", STEADY),
    ("kl_ctrl.target_kl", STEADY),
    ("target_kl", STEADY),
    ("kl_ctrl.horizon", STEADY),
    ("tau_pos", KINDS),
    ("tau_neg", KINDS),
    ("clip_cov_ratio", KINDS),
    ("clip_cov_lb", KINDS),
    ("clip_cov_ub", KINDS),
    ("kl_cov_ratio", KINDS),
    ("use_pf_ppo", KINDS),
    ("discopop_tau", KINDS),
    ("dft", KINDS),
    ("auto_find_batch_size", BOUNDED),
    ("eval_accumulation_steps", BOUNDED),
    ("torch_empty_cache_steps", BOUNDED),
    ("log_prob_micro_batch_size", BOUNDED),
    ("log_prob_use_dynamic_bsz", BOUNDED),
    ("forward_micro_batch_size", BOUNDED),
    ("forward_micro_batch_size_per_gpu", BOUNDED),
    ("forward_max_token_len_per_gpu", BOUNDED),
    ("precompute_ref_batch_size", BOUNDED),
    ("local_rollout_forward_batch_size", BOUNDED),
    ("dataset_batch_size", BOUNDED),
    ("log_unique_prompts", WRITTEN),
    ("wandb_log_unique_prompts", WRITTEN),
    ("logging_strategy", WRITTEN),
    ("logging_first_step", WRITTEN),
    ("logging_nan_inf_filter", WRITTEN),
    ("include_num_input_tokens_seen", WRITTEN),
    ("validation_data_dir", WRITTEN),
    ("save_on_each_node", SAVED),
    ("save_contents", SAVED),
    ("load_contents", SAVED),
    ("async_save", SAVED),
    ("enable_jit_checkpoint", SAVED),
    ("restore_callback_states_from_checkpoint", SAVED),
    ("resume_from_path", RESUMED),
    ("resume_path", RESUMED),
    ("ignore_data_skip", RESUMED),
    ("do_train", VERBS),
    ("do_eval", VERBS),
    ("do_predict", VERBS),
    ("val_only", VERBS),
    ("prediction_loss_only", VERBS),
    ("accelerator_config", LAUNCHED),
    ("local_rank", LAUNCHED),
    ("parallelism_config", LAUNCHED),
    ("average_tokens_across_devices", LAUNCHED),
    ("expert_parallel_size", UNDIVIDED),
    ("pipeline_model_parallel_size", UNDIVIDED),
    ("data_parallel_size", UNDIVIDED),
    ("full_determinism", SAME),
    ("optimizer", ADAMW),
    ("optimizer_impl", ADAMW),
    ("optim_args", ADAMW),
    ("optim_target_modules", ADAMW),
    ("override_optimizer_config", ADAMW),
    ("dataset_kwargs", PREPARED),
    ("return_raw_input_ids", PREPARED),
    ("return_full_prompt", PREPARED),
    ("filter_overlong_prompts_workers", READERS),
    ("normalize_reward", UNSCALED),
    ("reward_clip_range", UNSCALED),
    ("image_key", SEEN),
    ("video_key", SEEN),
    ("return_multi_modal_inputs", SEEN),
    ("log_multimodal", SEEN),
    ("is_encoder_decoder", DECODERS),
    ("stop_token", TOKENS),
    ("stop_token_id", TOKENS),
    ("ignore_eos", TOKENS),
    ("use_logits_to_keep", LOGITS),
    ("liger_kernel_config", LOGITS),
    ("use_liger", LOGITS),
    ("use_fused_kernels", LOGITS),
    ("entropy_checkpointing", LOGITS),
    ("entropy_from_logits_with_chunking", LOGITS),
    ("use_torch_compile", COMPILED),
    ("torch_compile_backend", COMPILED),
    ("torch_compile_mode", COMPILED),
    ("enforce_eager", COMPILED),
    ("cudagraph_capture_sizes", COMPILED),
    ("activation_offload", OFFLOADED),
    ("enable_activation_offload", OFFLOADED),
    ("offload_policy", OFFLOADED),
    ("cpu_offload", OFFLOADED),
    ("offload_params", OFFLOADED),
    ("lora_modules_to_save", ADAPTERS),
    ("lora_task_type", ADAPTERS),
    ("use_cache", SAMPLER),
    ("use_transformers_paged", SAMPLER),
    ("use_transformers_continuous_batching", SAMPLER),
    ("transformers_continuous_batching_config", SAMPLER),
    ("rollout.mode", SAMPLER),
    ("hybrid_engine", SAMPLER),
    ("enable_chunked_prefill", SAMPLER),
    ("enable_prefix_caching", SAMPLER),
    ("free_cache_engine", SAMPLER),
    ("load_format", SAMPLER),
    ("max_num_batched_tokens", SAMPLER),
    ("max_model_len", SAMPLER),
    ("engine_kwargs", SAMPLER),
    ("layered_summon", SAMPLER),
    ("disable_log_stats", SAMPLER),
    ("calculate_log_probs", SAMPLER),
    ("multi_stage_wake_up", SAMPLER),
    ("tis_imp_ratio_cap", SAMPLER),
    ("rollout_is", SAMPLER),
    ("rollout_is_threshold", SAMPLER),
    ("rollout_rs", SAMPLER),
    ("rollout_rs_threshold", SAMPLER),
    ("rollout_correction", SAMPLER),
    ("rollout_correction.bypass_mode", SAMPLER),
    ("log_level", "`RATIONALE_LOG` says how much is told: `error`, `warn`, `info` or `debug`"),
    ("disable_tqdm", "`--quiet` shows no progress"),
    ("activation_checkpointing", "`policy.gradient_checkpointing` is what there is of it"),
    ("activation_checkpointing_kwargs", "`policy.gradient_checkpointing` is what there is of it"),
    ("gradient_checkpointing_kwargs", "`policy.gradient_checkpointing` is what there is of it"),
    ("bf16_full_eval", "`policy.dtype` is that of evaluations, too"),
    ("fp16_full_eval", "`policy.dtype` is that of evaluations, too"),
    ("half_precision_backend", "`policy.dtype` is all that there is to say"),
    ("use_bnb_nested_quant", "`policy.quantize = \"nf4\"` is all that there is to say"),
    ("bnb_4bit_quant_storage", "`policy.quantize = \"nf4\"` is all that there is to say"),
    ("reshard_after_forward", "`devices.shard` is all that there is to say"),
    ("forward_prefetch", "`devices.shard` is all that there is to say"),
    ("use_orig_params", "`devices.shard` is all that there is to say"),
    ("min_num_params", "`devices.shard` is all that there is to say"),
    ("use_mps_device", "`devices.policy` is `cpu` or `cuda`"),
    ("nccl_timeout", "`devices.timeout_s` says how long a rank waits for the others"),
    ("exclude_modules", "`policy.lora.targets` names the linear maps that get an adapter"),
    ("lora_target_parameters", "`policy.lora.targets` names the linear maps that get an adapter"),
    ("train_sampling_strategy", "`data.shuffle` is all that there is to say"),
    ("normalize_advantage", "`loop.grpo.advantage.scale` and `whiten` are its keys"),
    ("token_level_kl", "`loop.grpo.kl.place` says where the penalty goes"),
    ("per_gpu_train_batch_size", "`data.prompts_per_step` is the rows of a step, of all ranks together"),
    ("eval_delay", "`eval.at_start` and `eval.every` say when held-out questions are asked"),
    ("num_sample_generations", "`log.samples_every` and `eval.show` say what is shown"),
    ("sft_model_path", "`policy.model` is what a stage begins with"),
    ("lora_adapter_path", "`policy.model` is what a stage begins with"),
    ("router_aux_loss_coef", "no loss of routers is added to a method's own"),
    ("override_config", "a model is what the config.json of its folder says"),
    ("external_lib", "no code of a model's folder is run; `docs/families.md` has the models that are known"),
    ("tokenizer_path", "a model's tokenizer is that of its folder"),
    ("tool_config_path", "`[rollout.tools]` has the tools"),
    ("max_tool_response_length", "`[rollout.tools]` has the tools, and how long an answer may be"),
    ("max_parallel_calls", "calls are answered one after the other; `rollout.tools.calls` says how many"),
    ("interaction_config_path", "`[rollout.environment]` has the program that answers"),
    ("agent_loop_config_path", "`[rollout.environment]` has the program that answers"),
    ("messages_key", "`data.columns.messages` names the column, and such rows are read without more"),
    ("prompt_dict_keys", "`data.columns` names columns, nested ones too"),
    ("response_dict_keys", "`data.columns` names columns, nested ones too"),
    ("reward_fn_key", "a stage's rewards score all of its rows; `reward.NAME` says which rewards there are"),
    ("max_critic_ckpt_to_keep", "`checkpoint.keep_last` counts policy and critic together"),
    (
        "filter_groups.metric",
        "groups are told by their rewards; `loop.grpo.zero_variance` says what becomes of equal ones",
    ),
    ("validation_shuffle", "held-out questions are asked in the order of their file"),
    ("use_shm", "models and rows are read from where they lie"),
    ("default_hdfs_dir", "a run is a folder on a disk; `run.name` and `--out` say which"),
    ("custom_chat_template", TEMPLATE),
    ("data.chat_template", TEMPLATE),
];

/// How names begin that are all of one thing.
const BEGINNINGS: &[(&str, &str)] = &[
    ("vllm_", SAMPLER),
    ("dataloader_", READERS),
    ("hub_", UPLOADED),
    ("wandb_", SHOWN),
    ("trackio_", SHOWN),
    ("ddp_", LAUNCHED),
    ("sapo_", KINDS),
    ("vespo_", KINDS),
];

/// Why there is nothing here that other programs call `typed`.
pub fn absent(typed: &str) -> Option<&'static str> {
    let typed = plain(typed);
    let last = typed.rsplit('.').next().filter(|_| called(&typed).is_none()).unwrap_or_default();
    let begun = || BEGINNINGS.iter().find(|(begins, _)| last.starts_with(begins));
    ABSENT.iter().find(|(name, _)| ends(&typed, name)).or_else(begun).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_known_by_its_name_and_has_no_key() {
        assert!(absent("no_such_thing").is_none());
        assert!(absent("actor_rollout_ref.rollout.gpu_memory_utilization").is_some());
        assert!(absent("data.truncation").unwrap().contains("data.max_prompt_tokens"));
        // One that begins so and has a key is not absent.
        assert!(absent("ddp_timeout").is_none() && absent("wandb_project").is_none());
        assert!(absent("trackio_space_id").is_some());
        for name in
            ["log_unique_prompts", "wandb_log_unique_prompts", "dataset_kwargs", "rollout.engine_kwargs"]
        {
            assert!(absent(name).is_some(), "{name}");
        }
        for (at, (name, _)) in ABSENT.iter().enumerate() {
            assert!(ABSENT[..at].iter().all(|(other, _)| other != name), "{name} stands twice");
            assert!(absent(name).is_some() && called(name).is_none(), "{name} stands in both tables");
        }
    }
}
