//! What each figure of `metrics.jsonl` is: docs/metrics.md and `train metrics` are written of this table.

/// A figure, or all of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Its name; `*` stands for any text without `/`.
    pub name: &'static str,
    /// In what it is counted; empty for a plain number.
    pub unit: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// What is healthy, and what to do otherwise; empty where nothing is to be read off it.
    pub healthy: &'static str,
}

const fn row(
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
    healthy: &'static str,
) -> Described {
    Described { name, unit, meaning, healthy }
}

/// The figures by what they are about. Of several that fit a name, the first counts.
pub const GROUPS: &[(&str, &[Described])] = &[
    (
        "Learning",
        &[
            row(
                "loss",
                "",
                "What is minimised, over the step's last update.",
                "Falls for sft, prm and contrast. For grpo it hovers about 0 and says little: look at `reward`.",
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
            row("num_tokens", "tokens", "Tokens learned from since the stage began.", ""),
            row(
                "computed_tokens",
                "tokens",
                "Tokens that went through the model in the step; what sequences share counts once.",
                "",
            ),
        ],
    ),
    (
        "Rewards",
        &[
            row(
                "reward",
                "",
                "The weighted sum of all rewards, mean over the completions of the step.",
                "Rises. Flat from the start: see `frac_reward_zero_std`. Rises while `eval/accuracy` falls: it is being hacked.",
            ),
            row(
                "reward_std",
                "",
                "Its deviation within a group, mean over groups. (TRL's of this name is over all completions of the step.)",
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
            row("rewards/rejected", "", "The same of the rejected one.", ""),
            row("rewards/margins", "", "Difference of the two.", "Rises from 0."),
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
            row("rewards/*/seconds", "s", "How long it took to score a group.", ""),
            row(
                "rewards/*/over_limit",
                "share",
                "Groups whose scoring took longer than its `limit_s`.",
                "0.",
            ),
            row("rewards/*/requests", "requests", "Requests to its endpoint.", ""),
            row("rewards/*/cache_hits", "requests", "Answers that were known already.", ""),
            row("rewards/*/retries", "requests", "Requests that were sent again.", "Near 0."),
            row("rewards/*/timeouts", "requests", "Requests that were not answered in time.", "0."),
            row("rewards/*/empty", "requests", "Answers without a text.", "0."),
            row("rewards/*/refusals", "requests", "Requests that the server refused.", "0."),
            row("rewards/*/latency_s", "s", "Time of a request.", ""),
            row(
                "rewards/*/prompt_tokens",
                "tokens",
                "Tokens that were asked, as the server counts them.",
                "",
            ),
            row("rewards/*/completion_tokens", "tokens", "Tokens that it answered.", ""),
            row("rewards/*/cost", "as priced", "What they cost, by the endpoint's prices.", ""),
            row(
                "rewards/*/unread",
                "answers",
                "Answers of a judge or reader in which no score was found.",
                "Near 0; otherwise ask for the form of the answer more plainly.",
            ),
            row(
                "rewards/*/*",
                "",
                "A figure of one reward's own, such as the share of completions that pass a level or gate.",
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
                "Of rewards that score steps: how many there are (`count`), their tokens, their `score`, `sum` and `min` a completion, and what a step is given (`reward`).",
                "`count` and `tokens` steady: a policy that is paid by the step learns to write more steps.",
            ),
            row(
                "curriculum/filled",
                "share",
                "Places of the step that the curriculum filled as asked.",
                "Near 1.",
            ),
        ],
    ),
    (
        "Completions",
        &[
            row(
                "completions/mean_length",
                "tokens",
                "Length of completions.",
                "Steady or falling. Rising to the limit with `clipped_ratio`: a length reward, or `loop.grpo.truncated = \"mask\"`.",
            ),
            row("completions/min_length", "tokens", "The shortest.", ""),
            row("completions/max_length", "tokens", "The longest.", ""),
            row(
                "completions/*_terminated_length",
                "tokens",
                "The same of those that ended by themselves.",
                "",
            ),
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
        ],
    ),
    (
        "Clipping",
        &[
            row(
                "clip_ratio/low_min",
                "share",
                "Tokens clipped from below, in the micro-batch with the fewest.",
                "",
            ),
            row(
                "clip_ratio/high_max",
                "share",
                "Tokens clipped from above, in the micro-batch with the most.",
                "",
            ),
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
            row(
                "cispo_clip_ratio",
                "share",
                "Tokens whose weight was capped (`kind = \"cispo\"`).",
                "Below 0.2.",
            ),
        ],
    ),
    (
        "Preferences and selection",
        &[
            row(
                "logps/*",
                "nats",
                "log p of the chosen, rejected, good or bad completion under the policy, summed over its tokens.",
                "That of the chosen one should not fall for long.",
            ),
            row("pairs", "pairs", "Pairs of the step.", "Above 0."),
            row(
                "pairs/built",
                "pairs",
                "Pairs that were made of rollouts or traces.",
                "Above 0; otherwise see `pairs/dropped/*`.",
            ),
            row(
                "pairs/synthetic",
                "pairs",
                "Pairs with a completion that was put together, not sampled.",
                "",
            ),
            row("pairs/dropped/*", "pairs", "What made no pair, by the reason.", ""),
            row(
                "rows_too_long",
                "share",
                "Rows left out since they are longer than the loop's `max_tokens` or the model's context.",
                "0, or known: `train preview` says which.",
            ),
            row("rows_*", "share", "Rows of the step that were left out, by the reason.", "0, or known."),
            row("rows/*", "rows", "Rows that were cut or left out; the line names them.", "0, or known."),
            row("select/kept", "share", "Rollouts that `[select]` keeps.", "Above 0."),
            row(
                "select/*",
                "",
                "What a selection removed or found: sentences, pairs by their kind, answers that lacked.",
                "",
            ),
            row(
                "cosine/*",
                "",
                "Of loop.contrast: likeness of states where the answer should flip (`flipped`) and stay (`unchanged`), and their difference.",
                "`cosine/margins` rises.",
            ),
            row("spans/*", "tokens", "Of loop.contrast: tokens of the spans that are compared.", ""),
            row(
                "pool/*",
                "",
                "Of loop.mario: completions kept (`size`), their mean age in steps, and the share of the best class among what is learned.",
                "`pool/best` rises.",
            ),
            row("flow/*", "", "Of loop.dpo.flow: chunks of a completion, and the share of right ones.", ""),
        ],
    ),
    (
        "STaR",
        &[
            row(
                "star/coverage",
                "share",
                "Questions with a right rationale, hinted ones included.",
                "Rises from round to round.",
            ),
            row("star/coverage/*", "share", "The same by the class that `eval.by` names.", ""),
            row(
                "star/rationalized",
                "share",
                "Questions that were right with the hint alone.",
                "Falls as the policy learns.",
            ),
            row("star/rationalized/*", "share", "The same by class.", ""),
            row("star/sampled_accuracy", "share", "Right completions without a hint.", "Rises."),
            row("star/hinted_accuracy", "share", "Right completions with a hint.", "Above that without one."),
            row(
                "star/*",
                "",
                "Questions of the round, rationales learned, and the share of these that came of hints.",
                "",
            ),
        ],
    ),
    (
        "Reward models",
        &[
            row("accuracy", "share", "Labels of the step that the model tells.", "Rises."),
            row("scores/*", "", "Scores of the step.", ""),
            row(
                "labels/right",
                "share",
                "Labels that say right.",
                "Far from 0 and 1; otherwise `loop.prm.balance = \"labels\"`.",
            ),
            row("labels/agreeing", "share", "Steps on which both labellers agree.", ""),
            row(
                "labels/*",
                "tokens",
                "What a label took: tokens computed and written, beside what labelling each step alone would take.",
                "",
            ),
            row(
                "prefix/*",
                "",
                "Of rollout.prefix: cuts, searches, values of prefixes, and where the first failing one is.",
                "",
            ),
        ],
    ),
    (
        "Sampling and time",
        &[
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
            row(
                "remote/*",
                "",
                "Of rollout.remote: figures of the endpoint, and the share of answers left out.",
                "",
            ),
            row(
                "tree/*",
                "",
                "Of rollout.tree.schema: the share of votes that could not be read and of questions whose votes split, and paths that were lost, cut away or put together.",
                "`tree/invalid_votes` near 0.",
            ),
            row("time/sampling_and_scoring", "s", "Of the step, until what is learned is there.", ""),
            row("time/learning", "s", "The rest of the step.", ""),
            row("step_time", "s", "The whole step.", ""),
            row("tokens_per_second", "tokens/s", "Tokens learned a second of the step.", ""),
        ],
    ),
    (
        "Evaluation",
        &[
            row(
                "eval/accuracy",
                "share",
                "Right answers to the held-out questions.",
                "Rises; compare it with its interval.",
            ),
            row(
                "eval/accuracy_low",
                "share",
                "Lower end of its 95 % interval, by bootstrap over questions.",
                "",
            ),
            row("eval/accuracy_high", "share", "Upper end.", ""),
            row("eval/accuracy/*", "share", "The same by the class that `eval.by` names.", ""),
            row(
                "eval/pass@*",
                "share",
                "Questions of which at least one of k completions is right.",
                "Falling while accuracy rises: the policy sharpens and explores less.",
            ),
            row(
                "eval/maj@*",
                "share",
                "Questions whose most frequent answer of k is right.",
                "Above accuracy.",
            ),
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
            row("eval/measures/*", "", "The mean of a measure (`[eval.measures]`) over the held-out completions.", ""),
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
            row(
                "eval/macro_f1",
                "share",
                "F1 over the classes of `eval.labels`, each counting alike.",
                "Rises.",
            ),
            row(
                "eval/qwk",
                "",
                "Quadratic weighted kappa of marks, −1 to 1.",
                "Above 0.6 or so is called substantial.",
            ),
            row(
                "eval/ece",
                "share",
                "Expected calibration error: how far confidence is from accuracy.",
                "Near 0.",
            ),
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
        ],
    ),
];

/// What a figure is; none for one that nobody has described.
pub fn described(name: &str) -> Option<&'static Described> {
    GROUPS.iter().flat_map(|(_, rows)| *rows).find(|row| fits(row.name, name))
}

/// Whether a name is the pattern, of which `*` stands for any text without `/`.
fn fits(pattern: &str, name: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('/'), name.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) => {
                let alike = match pattern.split_once('*') {
                    None => pattern == name,
                    Some((head, tail)) => {
                        name.len() > head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
                    }
                };
                if !alike {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// docs/metrics.md.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    for (title, rows) in GROUPS {
        text += &format!(
            "\n## {title}\n\n| figure | unit | what it is | what is healthy |\n| --- | --- | --- | --- |\n"
        );
        for Described { name, unit, meaning, healthy } in *rows {
            text += &format!("| `{name}` | {unit} | {meaning} | {healthy} |\n");
        }
    }
    text
}

const HEAD: &str = "# Metrics

What stands in a run's `metrics.jsonl` and in TensorBoard, a line a step, under TRL's names where TRL has the figure. `*` stands for any name: of a
reward, a class, a reason. `train metrics WORD` looks here. This page is written by `train metrics --markdown`.

What to look at first: of **sft** `loss` and `eval/accuracy`; of **grpo** `reward`, `frac_reward_zero_std`, `entropy`, `completions/clipped_ratio` and
`eval/accuracy`; of **dpo** `rewards/accuracies`, `rewards/margins` and `logps/chosen`; of **star** `star/coverage` and `eval/accuracy`; of **prm**
`accuracy` and `eval/step_accuracy`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_one_name_each() {
        assert!(fits("rewards/*/mean", "rewards/answer/mean") && !fits("rewards/*/mean", "rewards/a/b/mean"));
        assert!(fits("eval/pass@*", "eval/pass@8") && !fits("eval/pass@*", "eval/pass@"));
        assert!(fits("completions/*_terminated_length", "completions/mean_terminated_length"));
        assert!(!fits("loss", "loss/x") && !fits("a/*", "a"));
    }

    #[test]
    fn no_row_is_hidden_behind_one_before_it() {
        let rows = || GROUPS.iter().flat_map(|(_, rows)| *rows);
        for row in rows() {
            let example = row.name.replace('*', "x");
            assert_eq!(described(&example), Some(row), "{} is never found", row.name);
        }
        assert!(rows().all(|row| row.meaning.ends_with(['.', ')'])));
    }
}
