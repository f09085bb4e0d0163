//! What other programs call our keys: TRL, verl, OpenRLHF, LLaMA-Factory, axolotl and transformers' trainer.

/// Their name, alone or with what it stands in, and the keys that it may be here, the likeliest first.
pub type Alias = (&'static str, &'static [&'static str]);

const BATCH: &[&str] = &["data.prompts_per_step"];
const MEMORY: &[&str] = &["optim.tokens_per_microbatch"];
const GROUP: &[&str] = &["rollout.group.size"];
const LENGTH: &[&str] = &["policy.sampling.max_new_tokens"];
const PROMPT: &[&str] = &["data.max_prompt_tokens"];
const WHOLE: &[&str] = &["loop.sft.max_tokens", "loop.dpo.max_tokens", "loop.prm.max_tokens"];
const MODEL: &[&str] = &["policy.model"];
const ROWS: &[&str] = &["data.train"];
const HELD_OUT: &[&str] = &["data.eval"];
const COLUMNS: &[&str] = &["data.columns"];
const BETA: &[&str] = &["loop.grpo.kl.coefficient", "loop.dpo.loss.beta"];
const KL: &[&str] = &["loop.grpo.kl.coefficient"];
const LOW: &[&str] = &["loop.grpo.loss.clip_low"];
const HIGH: &[&str] = &["loop.grpo.loss.clip_high"];
const DUAL: &[&str] = &["loop.grpo.loss.dual_clip"];
const KIND: &[&str] = &["loop.grpo.loss.kind", "loop.dpo.loss.kind"];
const SCALE: &[&str] = &["loop.grpo.advantage.scale"];
const BASELINE: &[&str] = &["loop.grpo.advantage.baseline"];
const PASSES: &[&str] = &["loop.grpo.epochs_per_batch"];
const UPDATES: &[&str] = &["loop.grpo.minibatches"];
const EQUAL: &[&str] = &["loop.grpo.zero_variance"];
const ENTROPY: &[&str] = &["loop.grpo.entropy_coefficient"];
const FOLLOWS: &[&str] = &["loop.grpo.reference.every", "loop.dpo.reference.every"];
const MIX: &[&str] = &["loop.grpo.reference.mix", "loop.dpo.reference.mix"];
const RATE: &[&str] = &["optim.lr"];
const SCHEDULE: &[&str] = &["optim.schedule"];
const RISE: &[&str] = &["optim.warmup_ratio"];
const NORM: &[&str] = &["optim.max_grad_norm"];
const STEPS: &[&str] = &["run.steps"];
const EPOCHS: &[&str] = &["run.epochs"];
const NAME: &[&str] = &["run.name"];
const SAVES: &[&str] = &["checkpoint.every"];
const KEPT: &[&str] = &["checkpoint.keep_last"];
const BEST: &[&str] = &["checkpoint.best"];
const TESTS: &[&str] = &["eval.every"];
const DTYPE: &[&str] = &["policy.dtype"];
const RANK: &[&str] = &["policy.lora.rank"];
const ALPHA: &[&str] = &["policy.lora.alpha"];
const TARGETS: &[&str] = &["policy.lora.targets"];
const RECOMPUTE: &[&str] = &["policy.gradient_checkpointing"];
const QUANTIZED: &[&str] = &["policy.quantize"];
const SHARDED: &[&str] = &["devices.shard"];
const RANKS: &[&str] = &["devices.ranks"];
const PROGRAM: &[&str] = &["reward.command.command"];
const OVERLONG: &[&str] = &["reward.length.buffer"];
const LIKELIHOOD: &[&str] = &["loop.dpo.loss.nll"];

/// All of them.
pub const ALIASES: &[Alias] = &[
    // What a step is.
    ("batch_size", BATCH),
    ("train_batch_size", BATCH),
    ("per_device_train_batch_size", BATCH),
    ("per_device_batch_size", BATCH),
    ("generation_batch_size", BATCH),
    ("rollout_batch_size", BATCH),
    ("gradient_accumulation_steps", MEMORY),
    ("micro_batch_size", MEMORY),
    ("micro_train_batch_size", MEMORY),
    ("ppo_micro_batch_size", MEMORY),
    ("ppo_micro_batch_size_per_gpu", MEMORY),
    ("ppo_max_token_len_per_gpu", MEMORY),
    ("log_prob_micro_batch_size_per_gpu", MEMORY),
    ("micro_rollout_batch_size", &["policy.decode_slots"]),
    ("per_device_eval_batch_size", &["policy.decode_slots"]),
    ("max_num_seqs", &["policy.decode_slots"]),
    ("val_batch_size", &["policy.decode_slots"]),
    ("use_dynamic_bsz", MEMORY),
    ("num_generations", GROUP),
    ("n_samples_per_prompt", GROUP),
    ("group_size", GROUP),
    ("rollout.n", GROUP),
    ("rollouts", &["rollout"]),
    ("max_steps", STEPS),
    ("num_steps", STEPS),
    ("total_training_steps", STEPS),
    ("num_train_epochs", EPOCHS),
    ("num_epochs", EPOCHS),
    ("num_episodes", EPOCHS),
    ("max_epochs", EPOCHS),
    ("total_epochs", EPOCHS),
    ("output_dir", NAME),
    ("run_name", NAME),
    ("experiment_name", NAME),
    ("project_name", NAME),
    ("default_local_dir", NAME),
    ("save_path", NAME),
    // What completions are.
    ("max_tokens", &["policy.sampling.max_new_tokens", "loop.sft.max_tokens", "loop.dpo.max_tokens"]),
    ("max_completion_length", LENGTH),
    ("max_response_length", LENGTH),
    ("rollout.max_new_tokens", LENGTH),
    ("response_length", LENGTH),
    ("generate_max_len", LENGTH),
    ("max_length", &["loop.sft.max_tokens", "loop.dpo.max_tokens", "policy.sampling.max_new_tokens"]),
    ("max_seq_length", WHOLE),
    ("max_seq_len", WHOLE),
    ("max_len", WHOLE),
    ("cutoff_len", WHOLE),
    ("sequence_len", WHOLE),
    ("max_target_length", WHOLE),
    ("max_prompt_length", PROMPT),
    ("prompt_max_len", PROMPT),
    ("filter_overlong_prompts", PROMPT),
    ("temperature", &["policy.sampling.temperature", "eval.temperature"]),
    ("top_p", &["policy.sampling.top_p"]),
    ("top_k", &["policy.sampling.top_k"]),
    ("min_p", &["policy.sampling.min_p"]),
    ("repetition_penalty", &["policy.sampling.repetition_penalty"]),
    ("stop_strings", &["policy.sampling.stop"]),
    ("generation_kwargs", &["policy.sampling"]),
    ("num_generations_eval", &["eval.samples"]),
    ("val_kwargs.n", &["eval.samples"]),
    ("val_kwargs.temperature", &["eval.temperature"]),
    ("num_completions_to_print", &["log.samples"]),
    ("log_completions", &["log.samples_every"]),
    ("max_tool_calling_iterations", &["rollout.tools.calls"]),
    ("tools", &["rollout.tools"]),
    ("environment_factory", &["rollout.environment"]),
    ("multi_turn.enable", &["rollout.environment", "rollout.tools"]),
    ("multi_turn.max_assistant_turns", &["rollout.environment.turns"]),
    // What is minimised.
    ("beta", BETA),
    ("pref_beta", &["loop.dpo.loss.beta"]),
    ("model.beta", &["loop.dpo.loss.beta"]),
    ("kl_loss_coef", KL),
    ("kl_coef", KL),
    ("kl_coeff", KL),
    ("init_kl_coef", KL),
    ("kl.init_coef", KL),
    ("use_kl_loss", KL),
    ("kl_loss_type", &["loop.grpo.kl.estimator"]),
    ("kl_estimator", &["loop.grpo.kl.estimator"]),
    ("kl.estimator", &["loop.grpo.kl.estimator"]),
    ("kl_penalty", &["loop.grpo.kl.estimator"]),
    ("use_kl_in_reward", &["loop.grpo.kl.place"]),
    ("kl.use_loss", &["loop.grpo.kl.place"]),
    ("epsilon", LOW),
    ("clip_ratio", LOW),
    ("clip_ratio_low", LOW),
    ("eps_clip", LOW),
    ("cliprange", LOW),
    ("epsilon_high", HIGH),
    ("clip_ratio_high", HIGH),
    ("eps_clip_low_high", HIGH),
    ("clip_ratio_c", DUAL),
    ("delta", DUAL),
    ("dual_clip", DUAL),
    ("loss_type", KIND),
    ("loss_agg_mode", KIND),
    ("loss_mode", KIND),
    ("policy_loss_type", KIND),
    ("pref_loss", &["loop.dpo.loss.kind"]),
    ("reference_free", &["loop.dpo.loss.kind"]),
    ("importance_sampling_level", &["loop.grpo.loss.ratio"]),
    ("scale_rewards", SCALE),
    ("norm_adv_by_std_in_grpo", SCALE),
    ("no_advantage_std_norm", SCALE),
    ("advantage.no_std_norm", SCALE),
    ("adv_estimator", BASELINE),
    ("advantage_estimator", BASELINE),
    ("advantage.estimator", BASELINE),
    ("whiten_rewards", &["loop.grpo.advantage.whiten"]),
    ("num_iterations", PASSES),
    ("num_ppo_epochs", PASSES),
    ("ppo_epochs", PASSES),
    ("train.max_epochs", PASSES),
    ("ppo_mini_batch_size", UPDATES),
    ("train.batch_size", UPDATES),
    ("num_mini_batches", UPDATES),
    ("steps_per_generation", UPDATES),
    ("mask_truncated_completions", &["loop.grpo.truncated"]),
    ("dynamic_filtering", EQUAL),
    ("dynamic_filtering_enable", EQUAL),
    ("dynamic_sampling", EQUAL),
    ("filter_groups.enable", EQUAL),
    ("filter_groups", EQUAL),
    ("max_num_gen_batches", &["loop.grpo.resample_limit"]),
    ("overlong_buffer_len", OVERLONG),
    ("overlong_buffer.len", OVERLONG),
    ("overlong_buffer", OVERLONG),
    ("get_soft_overlong_punishment", OVERLONG),
    ("use_critic", &["loop.grpo.critic"]),
    ("gamma", &["loop.grpo.critic.gamma"]),
    ("lam", &["loop.grpo.critic.lambda"]),
    ("lambd", &["loop.grpo.critic.lambda"]),
    ("gae_lambda", &["loop.grpo.critic.lambda"]),
    ("cliprange_value", &["loop.grpo.critic.clip"]),
    ("value_clip", &["loop.grpo.critic.clip"]),
    ("vf_coef", &["loop.grpo.critic.weight"]),
    ("critic_warmup", &["loop.grpo.critic.warmup_steps"]),
    ("entropy_coeff", ENTROPY),
    ("entropy_coef", ENTROPY),
    ("entropy_loss_coef", ENTROPY),
    ("sync_ref_model", FOLLOWS),
    ("ref_model_sync_steps", FOLLOWS),
    ("ref_model_mixup_alpha", MIX),
    ("precompute_ref_log_probs", &["loop.dpo.precompute_reference"]),
    ("rpo_alpha", LIKELIHOOD),
    ("cpo_alpha", LIKELIHOOD),
    ("pref_ftx", LIKELIHOOD),
    ("nll_loss_coef", LIKELIHOOD),
    ("loss_weights", LIKELIHOOD),
    ("simpo_gamma", &["loop.dpo.loss.margin"]),
    ("f_divergence_type", &["loop.dpo.loss.divergence"]),
    ("desirable_weight", &["loop.dpo.loss.desirable_weight"]),
    ("undesirable_weight", &["loop.dpo.loss.undesirable_weight"]),
    ("center_rewards_coefficient", &["loop.prm.centring"]),
    ("step_separator", &["loop.prm.separator"]),
    ("train_on_last_step_only", &["loop.prm.last_step_only"]),
    // How weights move.
    ("learning_rate", RATE),
    ("actor_learning_rate", RATE),
    ("optim.lr", RATE),
    ("adam.lr", RATE),
    ("lr_scheduler_type", SCHEDULE),
    ("lr_scheduler", SCHEDULE),
    ("lr_scheduler_kwargs", &["optim.min_lr_ratio"]),
    ("min_lr_rate", &["optim.min_lr_ratio"]),
    ("warmup_style", SCHEDULE),
    ("warmup_ratio", RISE),
    ("lr_warmup_ratio", RISE),
    ("lr_warmup_steps_ratio", RISE),
    ("warmup_steps", &["optim.warmup_steps"]),
    ("lr_warmup_steps", &["optim.warmup_steps"]),
    ("adam_beta1", &["optim.betas"]),
    ("adam_beta2", &["optim.betas"]),
    ("adam_betas", &["optim.betas"]),
    ("adam_epsilon", &["optim.eps"]),
    ("l2", &["optim.weight_decay"]),
    ("optim.weight_decay", &["optim.weight_decay"]),
    ("optim", &["optim.moments"]),
    ("max_grad_norm", NORM),
    ("grad_clip", NORM),
    ("clip_norm", NORM),
    ("max_norm", NORM),
    // The model.
    ("model", MODEL),
    ("model_name", MODEL),
    ("model_name_or_path", MODEL),
    ("base_model", MODEL),
    ("pretrain", MODEL),
    ("model.path", MODEL),
    ("bf16", DTYPE),
    ("fp16", DTYPE),
    ("torch_dtype", DTYPE),
    ("param_dtype", DTYPE),
    ("use_peft", RANK),
    ("peft_config", RANK),
    ("adapter", RANK),
    ("lora_r", RANK),
    ("lora_rank", RANK),
    ("lora.rank", RANK),
    ("lora_alpha", ALPHA),
    ("lora.alpha", ALPHA),
    ("lora_target", TARGETS),
    ("lora_target_modules", TARGETS),
    ("target_modules", TARGETS),
    ("load_in_4bit", QUANTIZED),
    ("load_in_8bit", QUANTIZED),
    ("quantization_bit", QUANTIZED),
    ("bnb_4bit_quant_type", QUANTIZED),
    ("enable_gradient_checkpointing", RECOMPUTE),
    ("gradient_checkpointing_enable", RECOMPUTE),
    ("disable_gradient_checkpointing", RECOMPUTE),
    ("gradient_checkpointing", RECOMPUTE),
    ("disable_dropout", &["policy.dropout"]),
    ("world_size", RANKS),
    ("num_processes", RANKS),
    ("nproc_per_node", RANKS),
    ("n_gpus_per_node", &["devices.policy"]),
    ("deepspeed", SHARDED),
    ("fsdp", SHARDED),
    ("actor.strategy", SHARDED),
    ("ref_device", &["devices.reference"]),
    // The data.
    ("dataset", ROWS),
    ("dataset_name", ROWS),
    ("dataset_config", ROWS),
    ("datasets", ROWS),
    ("prompt_data", ROWS),
    ("prompt_dataset", ROWS),
    ("train_files", ROWS),
    ("dataset_train_split", ROWS),
    ("eval_dataset", HELD_OUT),
    ("eval.dataset", HELD_OUT),
    ("val_files", HELD_OUT),
    ("dataset_test_split", HELD_OUT),
    ("shuffle_dataset", &["data.shuffle"]),
    ("max_samples", &["data.train_limit"]),
    ("prompt_key", COLUMNS),
    ("input_key", COLUMNS),
    ("label_key", COLUMNS),
    ("dataset_text_field", COLUMNS),
    ("dataset_info.json", COLUMNS),
    ("apply_chat_template", &["data.template.chat"]),
    ("input_template", &["data.template.user"]),
    ("chat_template_kwargs", &["data.template.variables"]),
    ("enable_thinking", &["data.template.variables.enable_thinking"]),
    ("thinking_budget", &["data.template.variables.thinking_budget"]),
    ("reasoning_effort", &["data.template.variables.reasoning_effort"]),
    ("reward_funcs", &["reward"]),
    ("reward_manager", &["reward"]),
    ("reward_model.enable", &["reward.process"]),
    ("reward_model.path", &["reward.process.model"]),
    ("reward_weights", &["reward.answer.weight"]),
    ("remote_rm_url", PROGRAM),
    ("reward.remote_url", PROGRAM),
    ("custom_reward_function.path", PROGRAM),
    // What is kept.
    ("save_steps", SAVES),
    ("save_freq", SAVES),
    ("save_strategy", SAVES),
    ("save_total_limit", KEPT),
    ("max_ckpt_num", KEPT),
    ("ckpt.max_num", KEPT),
    ("max_actor_ckpt_to_keep", KEPT),
    ("load_best_model_at_end", BEST),
    ("metric_for_best_model", BEST),
    ("greater_is_better", &["checkpoint.best_mode"]),
    ("eval_steps", TESTS),
    ("eval_strategy", TESTS),
    ("eval.steps", TESTS),
    ("test_freq", TESTS),
    ("val_before_train", &["eval.at_start"]),
    ("eval_on_start", &["eval.at_start"]),
    ("data_seed", &["run.seed"]),
    ("report_to", &["log.tensorboard"]),
    ("trainer.logger", &["log.tensorboard"]),
    // Further ones.
    ("gen_batch_size", BATCH),
    ("micro_batch_size_per_gpu", MEMORY),
    ("log_prob_max_token_len_per_gpu", MEMORY),
    ("rloo_k", GROUP),
    ("rollout_n", GROUP),
    ("total_episodes", EPOCHS),
    ("wandb_project", NAME),
    ("prompt_length", PROMPT),
    ("do_sample", &["policy.sampling.temperature"]),
    ("val_kwargs.do_sample", &["eval.temperature"]),
    ("log_val_generations", &["eval.show"]),
    ("generate_during_eval", &["eval.show"]),
    ("max_user_turns", &["rollout.environment.turns"]),
    ("label_smoothing_factor", &["loop.dpo.loss.label_smoothing"]),
    ("f_alpha_divergence_coef", &["loop.dpo.loss.divergence"]),
    ("normalize_advantages", &["loop.grpo.advantage.whiten"]),
    ("multi_objective_aggregation", &["loop.grpo.advantage.per_reward"]),
    ("mini_batch_size", UPDATES),
    ("clip_grad", NORM),
    ("warmup_steps_ratio", RISE),
    ("model_revision", MODEL),
    ("partial_pretrain", MODEL),
    ("model_dtype", DTYPE),
    ("fsdp_config", SHARDED),
    ("fsdp_size", SHARDED),
    ("use_cpu", &["devices.policy"]),
    ("no_cuda", &["devices.policy"]),
    ("ddp_timeout", &["devices.timeout_s"]),
    ("train_dataset", ROWS),
    ("train_max_samples", &["data.train_limit"]),
    ("val_max_samples", &["data.eval_limit"]),
    ("response_key", COLUMNS),
    ("formatting_func", &["data.template.user"]),
    ("apply_chat_template_kwargs", &["data.template.variables"]),
    ("max_ckpt_to_keep", KEPT),
    ("evaluation_strategy", TESTS),
    ("rollout_data_dir", &["log.traces"]),
];

/// The keys that other programs call `typed`, which may have before it what it stands in; of several names the longest counts.
pub fn called(typed: &str) -> Option<&'static [&'static str]> {
    of(ALIASES, typed).map(|(_, keys)| *keys)
}

/// The longest of `aliases` that `typed` is, or ends in.
pub(super) fn of<'a>(aliases: &'a [Alias], typed: &str) -> Option<&'a Alias> {
    let typed = plain(typed);
    aliases.iter().filter(|(alias, _)| ends(&typed, alias)).max_by_key(|(alias, _)| alias.len())
}

pub(super) fn ends(typed: &str, name: &str) -> bool {
    typed == name || typed.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
}

pub(super) fn plain(typed: &str) -> String {
    typed.to_lowercase().replace('-', "_")
}

/// The other programs' names for `key`.
pub fn names_of(key: &str) -> impl Iterator<Item = &'static str> {
    ALIASES.iter().filter(move |(_, keys)| keys.contains(&key)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests;
