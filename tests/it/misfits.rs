//! What does not fit together in a stage, by the whole text of each message that its user reads.

use rationale::Registry;
use rationale::recipe::{Recipe, Stage};

/// What is said of a recipe whose stage, from the second line on, is `stage`.
fn said(stage: &str) -> String {
    let recipe = Recipe::parse("quick.toml", &format!("[policy.init]\n{stage}\n"), &[]).unwrap();
    match Stage::read_all(&recipe, &Registry::default()) {
        Ok(_) => "nothing".into(),
        Err(error) => format!("exit code {}: {error}", error.exit_code()),
    }
}

/// Asserts what is said of each of these, all in one: the rows are (stage, message without its beginning).
fn say(table: &[(&str, &str)]) {
    let expected = |message: &str| format!("exit code 2: recipe: quick.toml:{message}");
    let differ = |(stage, message): &&(&str, &str)| said(stage) != expected(message);
    let wrong: Vec<String> = table
        .iter()
        .filter(differ)
        .map(|(stage, message)| format!("{stage}\n  {}\n  {message}", said(stage)))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_a_stage_is_made_of_whatever_its_method_is() {
    say(&[
        (
            "[data.task.addition]\n[run]\nsteps = 0\n[loop.sft]",
            "4: run.steps = 0: there is nothing to do in 0 steps; give at least 1, or use run.epochs; only loop.prm with eval.at_start = \
             true measures what is there",
        ),
        (
            "[data]\nprompts_per_step = 0\n[data.task.addition]\n[loop.sft]",
            "3: data.prompts_per_step = 0: steps of no prompts learn nothing; give at least 1",
        ),
        (
            "[data.task.addition]\n[run]\nepochs = 0.0\n[loop.sft]",
            "4: run.epochs = 0.0: passes over the data must be a positive number; 1 is one pass",
        ),
        (
            "[data.task.addition]\n[loop.grpo]",
            "3: loop.grpo: there is no reward to learn from; add [reward.answer] or another reward",
        ),
        (
            "[data]\ntrain = \"rows.jsonl\"\n[eval]\n[loop.sft]",
            "4: eval: there are no held-out questions; set data.eval, or a data.task that has some",
        ),
    ]);
}

#[test]
fn ways_that_completions_come_to_be() {
    say(&[
        (
            "[data.format]\nanswer = [\"last_number\"]\n[data.task.addition]\n[reward.answer]\n[rollout.prefix]\nclose = true\n[loop.collect]",
            "7: rollout.prefix.close forces answers, and the first of data.format.answer has no beginning to write; set \
             data.format.close",
        ),
        (
            "[data.task.addition]\n[loop.dpo]\nonline = true\n[loop.dpo.flow]",
            "5: loop.dpo.flow: its two models are adapters of one base; add [policy.lora]",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\n[rollout.remote]\nsize = 2\n[rollout.remote.endpoint]\nurl = \"http://here\"\nmodel = \"m\"",
            "4: loop.grpo: it learns from the policy's own samples and their log-probabilities, and the completions of this \
             rollout have none; use [rollout.group]; or collect here and learn in a later stage by loop.sft or loop.dpo",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\nadvantage = { baseline = \"none\", scale = \"none\" }\n[rollout.best_of]",
            "6: rollout: loop.grpo learns from the policy's own samples, and a search picks; use [rollout.group]; a search serves \
             loop.collect, loop.evaluate and [eval]",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\nadvantage = { baseline = \"none\", scale = \"none\" }\n[rollout.hint]",
            "6: only loop.star strips the hint of [rollout.hint] from what it trains on; use [rollout.group] here",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\n[rollout.prefix]\ncuts = \"tree\"",
            "6: rollout.prefix.cuts = \"tree\": it adds continuations to a group, which are no independent samples; use \
             loop.collect here, or cuts = \"search\"",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\n[rollout.prefix]\nkeep = \"all\"",
            "6: rollout.prefix.keep = \"all\": it adds continuations to a group, which are no independent samples; use \
             loop.collect here and learn in a later stage, or keep = \"best\"",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\n[rollout.dataset]",
            "4: loop.grpo: it learns from the policy's own samples, and [rollout.dataset] reads others'; use [rollout.group]",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.mario]\n[rollout.dataset]",
            "4: loop.mario: it samples the policy, and [rollout.dataset] reads others' completions; use [rollout.group]; \
             loop.mario.rows takes the rows' own completions into the pool",
        ),
        (
            "[data.task.addition]\n[select]\ncorrect = true\n[loop.star]\n[rollout.dataset]",
            "5: loop.star: it learns from the policy's own samples, and [rollout.dataset] reads others'; use [rollout.group], or \
             [rollout.hint] to rationalize",
        ),
    ]);
}

#[test]
fn groups_that_teach_nothing() {
    say(&[
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\n[rollout.group]\nsize = 1",
            "6: rollout.group.size = 1: a group of one has no baseline to be compared with; use at least 2, \
             loop.grpo.advantage.baseline = \"none\", or [loop.grpo.critic]",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\nzero_variance = \"resample\"\nresample_limit = 0",
            "6: loop.grpo.resample_limit = 0: resampling zero-variance groups at most 0 times does nothing; give at least 1, or \
             zero_variance = \"drop\"",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\n[policy.sampling]\ntemperature = 0.0",
            "6: policy.sampling.temperature = 0.0: greedy samples of one prompt are all the same, so a group teaches nothing; use a \
             positive temperature, such as 1.0",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.dpo]\nonline = true\n[policy.sampling]\ntemperature = 0.0",
            "7: policy.sampling.temperature = 0.0: greedy samples of one prompt are all the same and make no pair; use a positive \
             temperature, such as 1.0",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.dpo]\nonline = true\n[rollout.group]\nsize = 1",
            "7: rollout.group.size = 1: a single completion of a question makes no pair; use at least 2",
        ),
        (
            "[data.task.addition]\n[select]\ncorrect = true\n[loop.star]\n[policy.sampling]\ntemperature = 0.0",
            "7: policy.sampling.temperature = 0.0: greedy samples of one prompt are all the same; use a positive temperature, or a \
             rollout of size 1",
        ),
    ]);
}

#[test]
fn what_is_to_be_told_apart_by_what_is_not_there() {
    say(&[
        (
            "[data.task.addition]\n[select.pairs]\nkind = \"score_margin\"\n[loop.dpo]\nonline = true",
            "4: select.pairs.kind = \"score_margin\": there is no reward to tell the better from the worse; add [reward.answer] or \
             another reward, or use kind = \"correct_wrong\"",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.mario]\nborders.length = [0.5]",
            "5: loop.mario.borders.length = [0.5]: there is no such reward; name one of the [reward] tables",
        ),
        (
            "[data.task.addition]\n[loop.star]",
            "3: nothing tells loop.star which rationales to learn; set select.correct = true, STaR's filter, or \
             select.min_reward with a [reward]",
        ),
        (
            "[data.task.addition]\n[select]\nmin_reward = 0.5\n[loop.star]",
            "4: there is no reward to compare select.min_reward with; add [reward.answer] or another reward",
        ),
        (
            "[data.task.addition]\n[select]\ncorrect = true\n[loop.star]\nplateau = { measure = \"accuracy\", patience = 1 }",
            "6: loop.star.plateau.measure = \"accuracy\" needs held-out questions, and there is \
             no [eval] section; add [eval], or use measure = \"coverage\"",
        ),
        (
            "[data.task.addition]\n[loop.evaluate]",
            "3: loop.evaluate: there is no [eval] section; add [eval]; empty takes its defaults",
        ),
        (
            "[data.task.addition]\n[reward.answer]\n[loop.grpo]\nkl = { place = \"reward\", estimator = \"k3\" }",
            "5: loop.grpo.kl.estimator = \"k3\": in the reward it pushes away from the reference: for a policy of (0.9, 0.1) and a \
             reference of (0.5, 0.5) the divergence's gradient is 0.20, and k3 gives −0.20; take it out, or set \"k1\", whose gradient \
             it is",
        ),
    ]);
}
