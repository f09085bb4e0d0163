//! Figures of what a step learns: losses, rewards, completions, clipping.

use super::{Described, row};

pub(super) const LEARNING: &[Described] = &[
    row(
        "alarms",
        "",
        "Sentences, where something in the step's rollouts calls for a look.",
        "Not there. Each is said once in 50 steps.",
    ),
    row(
        "loss",
        "",
        "What is minimised, over the step's last update.",
        "Falls for sft, prm, contrast, think and extract. For grpo it hovers about 0 and says little: look at `reward`.",
    ),
    row(
        "grad_norm",
        "",
        "The norm of the gradient before clipping.",
        "Mostly below `optim.max_grad_norm`; a steady rise or single peaks of a hundredfold ask for a lower `optim.lr`.",
    ),
    row("learning_rate", "", "The learning rate of the step.", ""),
    row(
        "updates",
        "updates",
        "Updates of the weights in the step.",
        "Above 0: a step of 0 had nothing to learn from.",
    ),
    row(
        "entropy",
        "nats",
        "How undecided the policy is, mean over the learned tokens.",
        "Falls slowly in reinforcement learning. Near 0 all completions are alike: more `loop.grpo.entropy_coefficient`, a higher `clip_high`, fewer steps.",
    ),
    row("nll", "nats", "−log p of the learned tokens, mean over them or over completions.", "Falls."),
    row(
        "kl",
        "nats",
        "How far the policy is from its reference, a token; for kto the baseline.",
        "Below 0.1 or so for small models; a jump says that the policy has left what it knew: more `kl.coefficient` or a lower `optim.lr`.",
    ),
    row(
        "critic/explained_variance",
        "",
        "Of loop.grpo.critic: the share of what completions come to that was expected, over all tokens of the step. Not there where all came to the same.",
        "Rises above 0. At or below it the critic says nothing yet: more `warmup_steps` or a higher `lr_scale`.",
    ),
    row(
        "critic/loss",
        "",
        "Half the squared error of what was expected, a token, before its weight.",
        "Falls; it rises for a while where the policy learns something new.",
    ),
    row(
        "critic/clip_ratio",
        "share",
        "Tokens whose value is held by `critic.clip`.",
        "Small; 0 where a batch is learned in one update.",
    ),
    row(
        "critic/value",
        "",
        "What was expected before a token when it was sampled, mean.",
        "Near `critic/return`.",
    ),
    row("critic/return", "", "What came from a token on, mean, as λ weighs it.", ""),
    row("num_tokens", "tokens", "Tokens learned from since the stage began.", ""),
    row(
        "computed_tokens",
        "tokens",
        "Tokens that went through the model in the step; what sequences share counts once.",
        "",
    ),
    row(
        "experts/load_max",
        "",
        "Tokens learned from that the busiest expert of a layer had, over the mean of its experts; mean over layers. Models with experts alone.",
        "1 is even. A rise while training says that the router comes to prefer few experts: a lower `optim.lr`.",
    ),
    row(
        "experts/idle",
        "",
        "Share of a layer's experts that had no token, mean over layers.",
        "Falls with the tokens of a step; a rise at the same number is a router that collapses.",
    ),
];

pub(super) const REWARDS: &[Described] = &[
    row(
        "reward",
        "",
        "The weighted sum of all rewards, mean over the completions of the step.",
        "Rises. Flat from the start: see `frac_reward_zero_std`. Rises while `eval/accuracy` falls: it is being hacked.",
    ),
    row(
        "reward_std",
        "",
        "Standard deviation of the reward within a group, mean over groups. (TRL's of this name is over all completions of the step.)",
        "Above 0: without differences within groups nothing is learned.",
    ),
    row(
        "frac_reward_zero_std",
        "share",
        "Groups whose rewards are all equal, and so teach nothing.",
        "Below a half. Higher: questions that are neither too easy nor too hard, larger `rollout.group.size`, `zero_variance = \"resample\"`.",
    ),
    row(
        "groups_kept",
        "groups",
        "Groups with differences, where the others are dropped or replaced.",
        "Near `data.prompts_per_step`.",
    ),
    row(
        "resamplings",
        "times",
        "How often further questions were sampled to fill the step.",
        "Below `loop.grpo.resample_limit`.",
    ),
    row(
        "rewards/chosen",
        "",
        "Reward of the chosen completion in the preference loss's sense, β times its log-ratio.",
        "Above that of the rejected one. Both falling is usual; chosen falling fast is not: see the alarm.",
    ),
    row("rewards/rejected", "", "Implicit reward of the rejected completion.", ""),
    row(
        "rewards/margins",
        "",
        "Implicit reward of the chosen less that of the rejected completion.",
        "Rises from 0.",
    ),
    row(
        "rewards/accuracies",
        "share",
        "Pairs whose chosen completion has the higher reward.",
        "From about 0.5 upwards; 1.0 at once says that the pairs are too easy.",
    ),
    row(
        "rewards/*/mean",
        "",
        "The score of one reward, without its weight.",
        "Each should rise or stay; one that falls is being paid for the others.",
    ),
    row(
        "rewards/*/std",
        "",
        "Its deviation over the completions of the step.",
        "Much smaller than another's: it has no say in the sum. See `loop.grpo.advantage.per_reward`.",
    ),
    row("rewards/*/seconds/*", "s", "How long it took to score a group.", ""),
    row("rewards/*/over_limit/*", "share", "Groups whose scoring took longer than its `limit_s`.", "0."),
    row("rewards/*/requests/*", "requests", "Requests to its endpoint.", ""),
    row("rewards/*/cache_hits/*", "requests", "Answers that were known already.", ""),
    row("rewards/*/retries/*", "requests", "Requests that were sent again.", "Near 0."),
    row("rewards/*/timeouts/*", "requests", "Requests that were not answered in time.", "0."),
    row("rewards/*/empty/*", "requests", "Answers without a text.", "0."),
    row("rewards/*/refusals/*", "requests", "Requests that the server refused.", "0."),
    row("rewards/*/latency_s/*", "s", "Time of a request.", ""),
    row("rewards/*/prompt_tokens/*", "tokens", "Tokens that were asked, as the server counts them.", ""),
    row("rewards/*/completion_tokens/*", "tokens", "Tokens that it answered.", ""),
    row("rewards/*/cost/*", "as priced", "What they cost, by the endpoint's prices.", ""),
    row(
        "rewards/*/unread/*",
        "answers",
        "Answers of a judge or reader in which no score was found.",
        "Near 0; otherwise ask for the form of the answer more plainly.",
    ),
    row(
        "rewards/*/*/*",
        "",
        "The mean or deviation of a figure of one reward's own, such as the share of completions that pass a level or gate.",
        "",
    ),
    row(
        "accuracy/*",
        "share",
        "Right completions of the training questions by the class that `eval.by` names.",
        "Rises in each class.",
    ),
    row(
        "steps/*",
        "",
        "Of rewards that score steps: how many there are (`count`), their tokens, their `score`, `sum` and `min` a completion, what a step is given (`reward`), and with `step_rewards` how many a completion change nothing (`unchanged`).",
        "`count` and `tokens` steady: a policy that is paid by the step learns to write more steps.",
    ),
    row("curriculum/filled", "share", "Places of the step that the curriculum filled as asked.", "Near 1."),
];

pub(super) const COMPLETIONS: &[Described] = &[
    row(
        "completions/mean_length",
        "tokens",
        "Length of completions.",
        "Steady or falling. Rising to the limit with `clipped_ratio`: a length reward, or `loop.grpo.truncated = \"mask\"`.",
    ),
    row("completions/min_length", "tokens", "The shortest.", ""),
    row("completions/max_length", "tokens", "The longest.", ""),
    row("completions/*_terminated_length", "tokens", "The same of those that ended by themselves.", ""),
    row("completions/mean_length_correct", "tokens", "Length of right completions.", ""),
    row(
        "completions/mean_length_wrong",
        "tokens",
        "Length of wrong ones.",
        "Not much above that of right ones.",
    ),
    row(
        "completions/clipped_ratio",
        "share",
        "Completions that the token limit cut off.",
        "Below 0.1; otherwise more `policy.sampling.max_new_tokens`.",
    ),
    row("completions/stop_string_ratio", "share", "Completions that a stop string ended.", ""),
    row(
        "completions/unanswered",
        "share",
        "Completions that could not be read as a rationale with an answer.",
        "Near 0 once the form is learned; otherwise teach it first (sft), or see `data.format`.",
    ),
    row(
        "completions/unique_ratio",
        "share",
        "Different completions among those of a group.",
        "Falling to 0: the policy has collapsed on one text.",
    ),
];

pub(super) const CLIPPING: &[Described] = &[
    row("clip_ratio/low_min", "share", "Tokens clipped from below, in the micro-batch with the fewest.", ""),
    row("clip_ratio/high_max", "share", "Tokens clipped from above, in the micro-batch with the most.", ""),
    row(
        "clip_ratio/*",
        "share",
        "Tokens whose ratio was clipped: on either side (`region_mean`), from below (`low_mean`), from above (`high_mean`).",
        "Below 0.2. Always 0 with one update a batch, where the ratio is 1.",
    ),
    row(
        "ratio/max",
        "",
        "The largest ratio π / π_old.",
        "A few units; hundreds say that the policy has moved far within a batch: fewer `epochs_per_batch` or `minibatches`.",
    ),
    row("ratio/mean", "", "The mean ratio π / π_old over tokens.", "About 1."),
];
