//! Figures of what is measured beside learning: speed and held-out questions.

use super::{Described, row};

pub(super) const SAMPLING_AND_TIME: &[Described] = &[
    row(
        "sampling/sampling_logp_difference/mean",
        "nats",
        "How far the sampler's log-probability of a token is from the trainer's.",
        "Below 1e-4 in f32, 0.05 in bf16: both compute the same.",
    ),
    row(
        "sampling/sampling_logp_difference/max",
        "nats",
        "The largest such difference.",
        "Below 1e-3 in f32, 1 in bf16.",
    ),
    row(
        "sampling/kept_mass",
        "share",
        "Probability that top-k, top-p and min-p left standing.",
        "1 without them. Far below it, what is learned is not what was sampled from.",
    ),
    row("sampling/tokens_per_second", "tokens/s", "Tokens sampled a second.", ""),
    row(
        "sampling/*",
        "tokens",
        "Prompt tokens computed (`prefill_tokens`), tokens sampled (`decoded_tokens`).",
        "",
    ),
    row("search/tokens", "tokens", "Tokens that a search takes for a question.", ""),
    row("remote/*", "", "Of rollout.remote: figures of the endpoint, and the share of answers left out.", ""),
    row(
        "tree/*",
        "",
        "Of rollout.tree.schema: the share of votes that could not be read and of questions whose votes split, and paths that were lost, cut away or put together.",
        "`tree/invalid_votes` near 0.",
    ),
    row(
        "memory/gpu_peak",
        "GB",
        "The most that tensors took on the policy's GPU since the step before, on the fullest of several ranks.",
        "Some GB below what the GPU has: less `optim.tokens_per_microbatch` or fewer `policy.decode_slots` lower it.",
    ),
    row("time/sampling_and_scoring", "s", "Of the step, until what is learned is there.", ""),
    row("time/learning", "s", "The rest of the step.", ""),
    row("step_time", "s", "The whole step.", ""),
    row("tokens_per_second", "tokens/s", "Tokens learned a second of the step.", ""),
];

pub(super) const EVALUATION: &[Described] = &[
    row(
        "eval/accuracy",
        "share",
        "Right answers to the held-out questions.",
        "Rises; compare it with its interval.",
    ),
    row("eval/accuracy_low", "share", "Lower end of its 95 % interval, by bootstrap over questions.", ""),
    row("eval/accuracy_high", "share", "Upper end.", ""),
    row("eval/accuracy/*", "share", "The same by the class that `eval.by` names.", ""),
    row(
        "eval/pass@*",
        "share",
        "Questions of which at least one of k completions is right.",
        "Falling while accuracy rises: the policy sharpens and explores less.",
    ),
    row("eval/maj@*", "share", "Questions whose most frequent answer of k is right.", "Above accuracy."),
    row(
        "eval/best_of@*",
        "share",
        "Questions whose completion of highest score of n is right.",
        "Above `eval/maj@n`; otherwise the reward that picks is worse than counting.",
    ),
    row(
        "eval/weighted_vote@*",
        "share",
        "Questions whose answer of the highest sum of scores is right.",
        "Above `eval/maj@n`.",
    ),
    row("eval/*_gain", "share", "What picking by scores gives over the majority.", "Above 0."),
    row(
        "eval/measures/*",
        "",
        "The mean of a measure (`[eval.measures]`) over the held-out completions.",
        "",
    ),
    row("eval/measures/*/*", "", "A further figure of it: shares, times, costs.", ""),
    row("eval/search_tokens", "tokens", "Tokens that the search took for a question.", ""),
    row("eval/completions/*", "tokens, share", "Lengths and the share cut off, as in training.", ""),
    row("eval/unanswered", "share", "Completions without a readable answer.", "Near 0."),
    row(
        "eval/questions_too_long",
        "questions",
        "Held-out questions that do not fit and were left out.",
        "0.",
    ),
    row("eval/failed", "", "1 where the evaluation failed; the run says why.", "Not there."),
    row("eval/macro_f1", "share", "F1 over the classes of `eval.labels`, each counting alike.", "Rises."),
    row(
        "eval/qwk",
        "",
        "Quadratic weighted kappa of marks, −1 to 1.",
        "Above 0.6 or so is called substantial.",
    ),
    row("eval/ece", "share", "Expected calibration error: how far confidence is from accuracy.", "Near 0."),
    row("eval/confidence", "share", "Mean confidence in the answers.", "Near accuracy."),
    row("eval/step_accuracy", "share", "Steps whose label the reward model tells.", "Rises."),
    row(
        "eval/auroc",
        "",
        "How well its scores separate right from wrong steps; 0.5 is by chance.",
        "Above 0.5.",
    ),
    row("eval/prm_score", "", "PRMBench's score.", "Rises."),
    row("eval/prm_score/*", "", "The same by class.", ""),
    row("eval/*", "", "Further figures of an evaluation: first errors found, losses, by name.", ""),
];
