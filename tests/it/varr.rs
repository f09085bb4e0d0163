//! Rationales with marked lines: what goes of them, in which order, and the optimiser that begins anew.

use crate::program::{Program, number};
use crate::recipes::{Tiny, small};
use serde_json::Value;

#[test]
fn what_is_left_out_is_held_against_the_marks() {
    let program = small(
        "varr-arithmetic",
        &[
            "run.steps=8",
            "data.task.addition.train=24",
            "data.task.addition.eval=8",
            "policy.sampling.max_new_tokens=24",
        ],
    );
    for stage in ["full", "full-fresh"] {
        assert!(program.steps(stage)[7]["select/sentences_removed"].is_null(), "{stage}");
    }
    for stage in ["varr", "varr-plus", "back", "random"] {
        let steps = program.steps(stage);
        // Of at most six lines none may go at the first of eight steps; at the last all may.
        let of = |step: usize, name: &str| number(&steps[step], &format!("select/{name}"));
        assert_eq!((of(0, "removed/recall"), of(0, "removed/needed")), (0.0, 0.0), "{stage}");
        assert!(steps[0]["select/removed/precision"].is_null(), "{stage}: nothing went");
        assert_eq!(of(7, "sentences"), of(7, "sentences_removable"), "{stage}");
        let [recall, needed] = ["recall", "needed"].map(|name| of(7, &format!("removed/{name}")));
        assert!((0.0..=1.0).contains(&recall) && (0.0..=1.0).contains(&needed), "{stage}");
        // A row has some lines that are needed and some that are not, so that what went lies between both shares.
        let gone = of(7, "sentences_removed") / of(7, "sentences");
        assert!(recall.min(needed) - 1e-9 <= gone && gone <= recall.max(needed) + 1e-9, "{stage}: {gone}");
    }
}

const PASSES: &str = r#"
[data]
prompts_per_step = 8
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1, 2]
scratchpad = "digits"
train = 16
eval = 4
surplus = {}
[policy.sampling]
max_new_tokens = 8
[optim]
lr = 1e-2
[run]
steps = 4
[eval]
at_start = false
"#;

/// The steps of a run with these keys of `[loop.sft]`; what is drawn is the same in all.
fn steps(keys: &str, sets: &[&str]) -> Vec<Value> {
    let program = Program::new(
        &Tiny::SUMS.recipe(&format!("{PASSES}[[stage]]\nname = \"on\"\nloop.sft = {{ {keys} }}\n")),
    );
    program.train_set(sets).success();
    program.steps("on")
}

/// A pass has two steps. The third is computed with the weights of the second, and updates by a gradient alone.
#[test]
fn a_pass_begins_with_a_fresh_optimiser() {
    let losses = |keys: &str| steps(keys, &[]).iter().map(|step| number(step, "loss")).collect::<Vec<_>>();
    let (on, fresh) = (losses(""), losses("fresh_optimizer = true"));
    assert_eq!(on[..3], fresh[..3]);
    assert!((on[3] - fresh[3]).abs() > 1e-6, "{on:?} {fresh:?}");
}

/// Marks that are none of the rows' lines are told before anything is trained.
#[test]
fn marks_that_do_not_fit_are_told() {
    let said = |recipe: &str| Program::new(&Tiny::SUMS.recipe(recipe)).train(&["--dry-run"]).code(2);
    let told = said(&format!("{PASSES}[loop.sft.reduce]\nneeded_from = \"marks\"\n"));
    assert!(told.contains("marks") && told.contains("no list of true and false"), "{told}");
    // A question more than the marks speak of.
    let longer =
        "template.assistant = '{{ question }}{{ \"\\n\" }}{{ rationale }}{{ \"\\n\" }}#### {{ answer }}'";
    let longer = PASSES.replace("template.chat", &format!("{longer}\ntemplate.chat"));
    let told = said(&format!("{longer}[loop.sft.reduce]\nneeded_from = \"needed\"\n"));
    assert!(told.contains("values and its rationale"), "{told}");
    let told = said(&format!("{PASSES}[loop.sft.reduce]\nleast = inf\n"));
    assert!(told.contains("least"), "{told}");
    // Without a rationale there is nothing to add to.
    let bare = PASSES.replace("surplus = {}", "surplus = {}\nrationale = false");
    let told = said(&format!("{bare}[loop.sft]\n"));
    assert!(told.contains("surplus") && told.contains("no rationales to add to"), "{told}");
}

/// With equal weights and questions as many sentences go by chance as from the front.
#[test]
fn as_many_go_by_chance_as_from_the_front() {
    let removed = |keys: &str| {
        let steps = steps(&format!("reduce = {{ warmup_ratio = 0.0{keys} }}"), &["run.steps=1"]);
        number(&steps[0], "select/sentences_removed")
    };
    let front = removed("");
    assert!(front > 0.0);
    assert_eq!(front.to_bits(), removed(", order = \"random\"").to_bits());
}
