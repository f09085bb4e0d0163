//! What a later stage takes of an earlier one that never makes it, and what does not go with a stage's model or tokenizer, is said before anything
//! trains.

use crate::preflight::{ROWS, STAGES, of_stages};
use crate::program::Program;

/// What the stages behind the first make, which trains weights and nothing else: traces of independent completions, a reward model.
const MAKERS: &str = r#"
[[stage]]
name = "c"
policy.model = "@first"
[stage.rollout.group]
size = 2
[stage.reward.answer]
[stage.loop.collect]
[[stage]]
name = "p"
data.train = "labelled.jsonl"
[stage.loop.prm]
[[stage]]
name = "z"
"#;

const LABELLED: &str = "{\"prompt\": \"q\", \"completions\": [\"a\", \"b\"], \"labels\": [1, 0]}\n";

/// The makers, and behind them a stage `z`.
fn program(z: &str) -> Program {
    let (first, _) = STAGES.split_once("[[stage]]\nname = \"second\"").expect("a second stage");
    let program = of_stages(&format!("{first}{MAKERS}{z}"));
    program.write("labelled.jsonl", LABELLED);
    program
}

/// Asserts that the run and its dry run refuse each of these stages with such words, and leave nothing behind.
fn refused(table: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (z, part) in table {
        let program = program(z);
        for arguments in [&["--dry-run"][..], &[]] {
            let (code, said) = program.train(arguments).parts();
            if code != Some(2) || !said.contains(part) || program.out().exists() {
                wrong.push(format!("{z}\n{arguments:?}: {code:?}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_stage_never_makes_is_refused_where_it_is_named() {
    refused(&[
        (
            "data.train = \"@first\"\n[stage.loop.sft]\n",
            "data.train = \"@first\": loop.sft samples nothing there and leaves no traces; name a stage of loop.collect",
        ),
        (
            "data.train = [\"rows.jsonl\", \"@p\"]\n[stage.loop.sft]\n",
            "= \"@p\": loop.prm samples nothing there and leaves no traces",
        ),
        (
            "data.eval = \"@first\"\n[stage.eval]\n[stage.loop.sft]\n",
            "data.eval = \"@first\": loop.sft samples nothing",
        ),
        (
            "[stage.data.template]\nfew_shot = 1\nfew_shot_from = \"@first\"\n[stage.loop.sft]\n",
            "data.template.few_shot_from = \"@first\": loop.sft samples nothing",
        ),
        (
            "data.train = \"@c/pairs\"\n[stage.loop.dpo]\n",
            "data.train = \"@c/pairs\": loop.collect writes no pairs there",
        ),
        ("data.train = \"@c/others\"\n[stage.loop.sft]\n", "a stage has no `others` there"),
        (
            "[stage.reward.process]\nmodel = \"@first\"\n[stage.loop.grpo]\n",
            "reward.process.model = \"@first\": what loop.sft leaves generates and scores nothing; name a stage of loop.prm",
        ),
        (
            "[stage.reward.process]\nmodel = \"@c\"\n[stage.loop.grpo]\n",
            "reward.process.model = \"@c\": loop.collect trains nothing and leaves no weights; its own policy is \"@first\"",
        ),
        (
            "policy.model = \"@c\"\n[stage.loop.sft]\n",
            "policy.model = \"@c\": loop.collect trains nothing and leaves no weights",
        ),
        (
            "policy.model = \"@p\"\n[stage.reward.answer]\n[stage.loop.grpo]\n",
            "what loop.prm leaves is a reward model, which generates nothing",
        ),
        (
            "policy.steer = { from = \"@c\" }\n[stage.reward.answer]\n[stage.loop.collect]\n",
            "loop.collect finds no direction; name a stage of loop.steer",
        ),
    ]);
}

#[test]
fn pairs_of_what_traces_never_have_are_refused() {
    let kind =
        |kind: &str| format!("data.train = \"@c\"\nselect.pairs.kind = \"{kind}\"\n[stage.loop.dpo]\n");
    let (siblings, errors, paths) = (kind("siblings"), kind("first_error"), kind("path_label"));
    let online = "select.pairs.kind = \"siblings\"\n[stage.rollout.group]\nsize = 2\n[stage.reward.answer]\n[stage.loop.dpo]\nonline = true\n";
    refused(&[
        (
            &siblings,
            "select.pairs.kind: it needs a tree whose ways fork, which the traces of \"@c\" ([rollout.group]) do not have; collect them with \
             [rollout.tree], or use another kind",
        ),
        (
            &errors,
            "it needs steps that were continued, which the traces of \"@c\" ([rollout.group]) do not have",
        ),
        (
            &kind("branches"),
            "it needs continuations as completions of their own, which the traces of \"@c\" ([rollout.group]) do not have; collect them with \
             [rollout.prefix] with keep = \"all\", or use another kind",
        ),
        (&paths, "it needs a tree over a rubric's questions"),
        (online, "it needs a tree whose ways fork, which completions of [rollout.group] do not have"),
    ]);
}

#[test]
fn columns_that_traces_will_not_have_are_refused() {
    refused(&[
        (
            "data.train = \"@c\"\n[stage.loop.sft]\nspans_from = \"nospan\"\n",
            "loop.sft.spans_from = \"nospan\" names a column that neither the rows of \"@c\" have nor traces; known: class, question",
        ),
        (
            "data.train = \"@c\"\n[stage.rollout.dataset]\n[stage.reward.rouge]\ncolumn = \"clas\"\n[stage.loop.collect]\n",
            "reward.rouge.column = \"clas\" names a column that neither the rows of \"@c\" have nor traces; did you mean `class`?",
        ),
        (
            "data.train = \"@c\"\ndata.columns.answer = \"gold\"\n[stage.loop.sft]\n",
            "data.columns.answer = \"gold\" names a column that neither",
        ),
        (
            "data.eval = \"@c\"\n[stage.eval]\nby = \"nope\"\n[stage.loop.sft]\n",
            "eval.by = \"nope\" names a column that neither the rows of \"@c\" have nor traces",
        ),
    ]);
}

#[test]
fn what_a_stage_does_make_is_taken() {
    for z in [
        "data.train = \"@c\"\ndata.eval = \"@c\"\n[stage.eval]\nby = \"class\"\n[stage.loop.sft]\n",
        "data.train = \"@c\"\n[stage.rollout.dataset]\n[stage.reward.rouge]\ncolumn = \"question\"\n[stage.loop.collect]\n",
        "[stage.reward.process]\nmodel = \"@p\"\n[stage.loop.grpo]\n",
        "policy.model = \"@p\"\ndata.train = \"labelled.jsonl\"\n[stage.loop.prm]\n",
        // Nobody asks this reward.
        "[stage.reward.process]\nmodel = \"@first\"\n[stage.loop.sft]\n",
    ] {
        program(z).train(&["--dry-run"]).success();
    }
}

#[test]
fn what_does_not_go_with_the_model_or_its_tokenizer_is_refused() {
    refused(&[
        (
            "policy.init.context = 128\n[stage.loop.think]\n",
            "loop.think.window = 256 and loop.think.thought = 12 are more than the model's context of 128; lower the window",
        ),
        (
            "data.train = \"labelled.jsonl\"\n[stage.loop.prm]\nhead = \"vocabulary\"\npositive = \"good\"\n",
            "loop.prm.positive = \"good\" is 4 tokens of this tokenizer; name a text that is a single one",
        ),
        (
            "data.train = \"labelled.jsonl\"\n[stage.loop.prm]\nmax_tokens = 4\n",
            "labelled.jsonl:1: its 5 tokens are more than 4, and 1 of its labels would be lost",
        ),
        (
            "[stage.reward.trajectory]\nlayers = [9]\n[stage.loop.grpo]\n",
            "reward.trajectory.layers: there is no layer 9 of 1",
        ),
        (
            "data.format.steps = \"sentence\"\n[stage.rollout.beam]\n[stage.reward.answer]\n[stage.loop.collect]\n",
            "rollout.beam: a sentence's end is seen only in what follows it; set rollout.beam.step_tokens",
        ),
        (
            "data.format.answer = [\"last_number\"]\n[stage.rollout.adaptive]\nover = \"enumerate\"\n[stage.eval]\n[stage.loop.evaluate]\n",
            "rollout.adaptive forces answers, and the first of data.format.answer has no beginning to write; set data.format.close",
        ),
        (
            "[stage.eval]\nat_start = false\nat_end = false\n[stage.checkpoint]\nbest = \"eval/accuracy\"\n[stage.loop.sft]\n",
            "checkpoint.best = \"eval/accuracy\" is a figure of evaluations, and [eval] of the stage never comes to one",
        ),
    ]);
}

/// A reward model of 16 tokens reads no prompt of twenty.
#[test]
fn prompts_that_a_reward_model_has_no_room_for_are_named() {
    let z = "data.train = \"long.jsonl\"\n[stage.reward.process]\nmodel = \"@p\"\n[stage.loop.grpo]\n";
    let program = program(z);
    program
        .write("long.jsonl", &format!("{ROWS}{}", ROWS.replace("\"q\"", &format!("{:?}", "q".repeat(20)))));
    let short = ["--set", "stage.p.policy.init.context=16"];
    for arguments in [&["--dry-run"][..], &[]] {
        let said = program.train(&[arguments, &short].concat()).code(2);
        let expected = "reward.process.model = \"@p\": the prompts of 1 of 2 rows leave no room in its context of 16 tokens: long:2";
        assert!(said.contains(expected) && !program.out().exists(), "{said}");
    }
    program.train(&["--dry-run"]).success();
}

/// What is said of rows before a run is said of those that an earlier stage writes once they are there.
#[test]
fn rows_of_an_earlier_stage_are_spoken_of_when_it_has_written_them() {
    let select = "[stage.rollout.group]\nsize = 2\n[stage.select]\ncorrect = true\n[stage.loop.collect]\n";
    let (first, _) = STAGES.split_once("[[stage]]\nname = \"second\"").expect("a second stage");
    let makes = "[[stage]]\nname = \"c\"\npolicy.model = \"@first\"\ndata.train = \"open.jsonl\"\n[stage.rollout.group]\nsize = 2\n\
                 [stage.loop.collect]\n";
    let program = of_stages(&format!("{first}{makes}[[stage]]\nname = \"z\"\ndata.train = \"@c\"\n{select}"));
    program.write(
        "open.jsonl",
        "{\"question\": \"q\", \"answer\": \"1\"}\n{\"question\": \"r\", \"class\": \"a\"}\n",
    );
    let told = "stage `z`: select.correct keeps right answers, and ";
    let planned = program.train(&["--dry-run"]).success();
    assert!(!planned.contains(told), "{planned}");
    let said = program.train(&["-q"]).success();
    assert!(
        said.contains(told)
            && said.contains("rows have no gold answer to tell by: open:2")
            && said.contains("nothing of them is kept"),
        "{said}"
    );
}
