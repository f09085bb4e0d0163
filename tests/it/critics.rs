//! Models that write before they judge, and an oracle of half-written sequences, from the command line.

use crate::program::{Program, number};
use crate::recipes::Tiny;

const DATA: &str = r#"
[data]
template.chat = false
"#;

/// A critic that was taught the form of a critique judges the steps of another policy, and a guide its ways on.
#[test]
fn critics_and_guides_judge_a_search() {
    let model = Tiny { alphabet: Some("0123456789+=:# \n>yesno"), context: Some(80), ..Tiny::BYTES };
    let stages = r#####"
[run]
steps = 2
[policy.sampling]
max_new_tokens = 12
[data.task.addition]
digits = [1]
train = 40
eval = 4
[[stage]]
name = "critic"
[stage.data]
prompts_per_step = 8
template.user = "{{ question }}\n{{ previous }}>{{ step }}\n"
[stage.data.task.addition]
faults.critiques = true
[stage.loop.sft]
[[stage]]
name = "solver"
[stage.data]
prompts_per_step = 8
template.user = "{{ question }}\n"
[stage.loop.sft]
[[stage]]
name = "judged"
[stage.data]
template.user = "{{ question }}\n"
[stage.policy]
model = "@solver"
[stage.rollout.beam]
n = 2
branching = 2
by = "critic"
[stage.reward.critic]
model = "@critic"
ask = "{{ question }}\n{{ previous }}>{{ step }}\n"
chat = false
verdict = "#### "
yes = "yes"
samples = 2
max_new_tokens = 12
[stage.reward.guide]
model = "@critic"
max_new_tokens = 8
[stage.loop.evaluate]
[stage.eval]
temperature = 1.0
"#####;
    let program = Program::new(&model.recipe(&format!("{DATA}{stages}")));
    program.train(&["--quiet"]).success();
    let found = program.metrics().pop().unwrap();
    assert_eq!(found["stage"], "judged");
    assert!((0.0..=1.0).contains(&number(&found, "eval/beam@2")));
    let asked = stages.replace("{{ previous }}>{{ step }}\\n\"\nchat", "{{ previous }}\"\nchat");
    let said = Program::new(&model.recipe(&format!("{DATA}{asked}"))).train(&["--dry-run"]).code(2);
    assert!(said.contains("does not show the step"), "{said}");
}

/// Two letters of three, hidden among three: progress under the prover finds them in a few steps, and the prover's chance is that of
/// the dynamic programme.
#[test]
fn progress_under_a_prover_teaches_a_hidden_sequence() {
    let model = Tiny { alphabet: Some("abc?"), context: Some(80), ..Tiny::BYTES };
    let stages = r#"
[run]
steps = 30
[policy.sampling]
max_new_tokens = 3
[data.task.planted]
letters = 3
length = 2
[rollout.group]
size = 16
[reward.planted]
letters = 3
length = 3
strength = 4.0
[loop.grpo]
advantage.scale = "none"
[loop.grpo.steps]
reward = "planted"
form = "progress"
[optim]
lr = 2e-2
"#;
    let data = DATA.replace("[data]\n", "[data]\nprompts_per_step = 2\n");
    let program = Program::new(&model.recipe(&format!("{data}{stages}")));
    program.train(&["--quiet"]).success();
    let found = program.metrics();
    let share = |step: usize| number(&found[step - 1], "rewards/planted/mean");
    // By chance three letters of three hold two given ones in 5 of 27 cases at most; end of sequence and the mark come on top.
    assert!(share(1) < 0.4 && share(30) > 0.8, "{} {}", share(1), share(30));
    let score = number(&found[29], "steps/score");
    assert!(score > number(&found[0], "steps/score"), "{score}");
}
