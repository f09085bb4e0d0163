//! Figures of what single methods add: pairs, rounds, reward models.

use super::{Described, row};

pub(super) const PREFERENCES_AND_SELECTION: &[Described] = &[
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
    row("pairs/synthetic", "pairs", "Pairs with a completion that was put together, not sampled.", ""),
    row(
        "pairs/*",
        "pairs",
        "Pairs by what they are about, such as a chunk (`chunks`) or the decision to stop of loop.dpo.flow.",
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
        "select/removed/precision",
        "share",
        "Of the sentences that loop.sft.reduce left out, those that its column calls needless.",
        "Near 1; lower, needed ones go.",
    ),
    row(
        "select/removed/recall",
        "share",
        "Of the needless sentences, those that were left out.",
        "Rises to near 1 at the end, where all may go.",
    ),
    row("select/removed/needed", "share", "Of the needed sentences, those that were left out.", "Near 0."),
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
    row(
        "views/*/loss",
        "nats",
        "Of loop.sft.view: the mean −log p of a token of each view.",
        "Each falls; one that does not has nothing to be told by, or too little weight.",
    ),
    row(
        "choices/loss",
        "nats",
        "Of loop.sft.choices: the cross-entropy over a row's choices.",
        "Falls below the logarithm of their number.",
    ),
    row("choices/accuracy", "share", "Rows whose right choice is the likeliest.", "Rises."),
    row(
        "choices/perturbed_loss",
        "nats",
        "The cross-entropy, smoothed, where rationales are hidden or in part replaced.",
        "Stays above `choices/loss`; as low, rationales tell nothing that the question does not.",
    ),
    row(
        "keywords/words",
        "words",
        "Words of a question that loop.collect.keywords notes.",
        "Above 0; at 0 no prompt holds its question.",
    ),
    row("flow/*", "", "Of loop.dpo.flow: chunks of a completion, and the share of right ones.", ""),
];

pub(super) const THOUGHTS_AND_RATIONALES: &[Described] = &[
    row("thoughts", "thoughts", "Thoughts that were sampled for the step, by loop.think.", "Above 0."),
    row(
        "thoughts/reward",
        "nats",
        "What a thought takes off −log p of the tokens behind it, together.",
        "Rises above 0; far below it thoughts do harm: lower `optim.lr`.",
    ),
    row("thoughts/helpful", "share", "Thoughts whose reward is above 0.0001.", "Rises."),
    row(
        "thoughts/share",
        "",
        "How much of the state with a thought the mixing head takes: 0 none, 1 all.",
        "Leaves 0; where it stays there, thoughts change nothing.",
    ),
    row(
        "thoughts/nll",
        "nats",
        "−log p of a token behind a thought, with it.",
        "Falls below `thoughts/nll_without`.",
    ),
    row("thoughts/nll_without", "nats", "The same without thoughts.", ""),
    row(
        "thoughts/logprob",
        "nats",
        "log p of a thought's token, at the temperature that it is learned at.",
        "Near 0 all thoughts are the same.",
    ),
    row(
        "mask/share",
        "share",
        "Units of a text that the mask of loop.extract keeps.",
        "Near `loop.extract.share`.",
    ),
    row(
        "mask/moved",
        "units",
        "Units of a text that the estimated gradient of a `top_k` mask reaches.",
        "About 1; at 0 the selector learns nothing of the labels.",
    ),
    row("mask/beta", "", "β of AIMLE, which follows `mask/moved`.", ""),
    row(
        "extract/*",
        "",
        "The terms of loop.extract's loss before their weights; `whole` and `rationale` are cross-entropies in nats.",
        "`whole` and `rationale` fall.",
    ),
    row(
        "masked_tokens",
        "tokens",
        "Tokens of texts with units left out, read beside the texts themselves.",
        "",
    ),
];

pub(super) const STAR: &[Described] = &[
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
];

pub(super) const STEERING: &[Described] = &[
    row(
        "steer/contrasts",
        "",
        "Questions, or pairs, that loop.steer finds its direction in.",
        "Some dozens; few make a direction of these questions alone.",
    ),
    row(
        "steer/tokens_*",
        "tokens",
        "Mean length of the reasoning that is steered `towards` and `away` from.",
        "Of `length`, well apart.",
    ),
    row("steer/norm", "", "Mean over layers of the direction's length, ‖v‖.", ""),
];

pub(super) const REWARD_MODELS: &[Described] = &[
    row("accuracy", "share", "Labels of the step that the model tells.", "Rises."),
    row("scores/*", "", "Scores of the step.", ""),
    row(
        "errors/steps",
        "",
        "Of loop.prm learns = \"trajectory\": the mean squared error of the steps' scores.",
        "Falls.",
    ),
    row("errors/whole", "", "The same of the scores of whole trajectories.", "Falls."),
    row(
        "labels/right",
        "share",
        "Labels that say right.",
        "Far from 0 and 1; otherwise `loop.prm.balance = \"labels\"`.",
    ),
    row(
        "lists/built",
        "lists",
        "Lists that were made of traces.",
        "Above 0; otherwise see `lists/dropped/*`.",
    ),
    row(
        "lists/dropped/*",
        "",
        "What made no list, by the reason: traces that were `filtered`, groups of `too_few`.",
        "",
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
];
