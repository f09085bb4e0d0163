//! A reward that fails in the middle of a stage loses no step: what was done before is saved, and the run goes on as if nothing had been.

use crate::compare::differences;
use crate::program::Program;
use crate::recipes::warmed_up;
use crate::resume::{MODEL, RL};

/// A reward of no weight that scores so many completions, 16 a step, of all ranks together, then does `last` and ends; all, once there is a file `mended`.
fn failing(scored: usize, last: &str) -> Program {
    let program = format!(
        "while read -r _; do echo >> count; if [ ! -e mended ] && [ $(wc -l < count) -gt {scored} ]; then {last}; \
         echo out of luck >&2; exit 3; fi; echo 0; done"
    );
    let reward = format!(
        "[stage.reward.judge]\nkind = \"command\"\nweight = 0.0\ncommand = [\"sh\", \"-c\", {program:?}]\n"
    );
    Program::new(&MODEL.recipe(&warmed_up("", [3, 6], &(reward + RL))))
}

/// The run with these arguments whose reward fails, what it said, and the same run whose reward does not.
fn both(scored: usize, arguments: &[&str]) -> (Program, String, Program) {
    let [whole, failed] = [0; 2].map(|_| failing(scored, ":"));
    whole.write("mended", "");
    whole.train(arguments).success();
    let said = failed.train(arguments).code(1);
    assert!(said.contains("out of luck"), "{said}");
    (failed, said, whole)
}

fn goes_on(failed: &Program, arguments: &[&str], whole: &Program) {
    failed.write("mended", "");
    failed.train(&[arguments, &["--resume"]].concat()).success();
    let mut different = differences(&whole.out(), &failed.out());
    // What was saved of the step before the one that failed is a checkpoint more.
    different.retain(|what| !(what.contains("-step-") && what.ends_with(" is too much")));
    assert_eq!(different, Vec::<String>::new());
}

#[test]
fn a_reward_that_fails_loses_no_step() {
    let (failed, said, whole) = both(32, &["-q"]);
    assert!(said.contains("stage `rl` is saved after step 2 of 6. Go on with:\n"), "{said}");
    assert_eq!(said.matches("--resume").count(), 1, "{said}");
    // What it ends with is why it ended.
    assert!(said.find("--resume") < said.find("error: reward: "), "{said}");
    assert!(failed.out().join("rl-step-000002/state.json").is_file());
    let listed = |state: &str| {
        let said = failed.verb(&["list", "."]).success();
        assert!(
            said.lines().any(|line| line.trim_start().starts_with("out") && line.contains(state)),
            "{said}"
        );
    };
    listed("failed");
    goes_on(&failed, &["-q"], &whole);
    listed("done");
}

/// What a method remembers is that of the last whole step, whatever it had noted of the one that failed.
#[test]
fn what_a_failed_step_noted_is_forgotten() {
    let sets = [
        "stage.rl.loop.grpo.curriculum.pass_rate=[0.0,1.0]",
        "stage.rl.loop.grpo.zero_variance=\"resample\"",
    ];
    let arguments = ["-q", "--set", sets[0], "--set", sets[1]];
    for scored in [40, 70] {
        let (failed, _, whole) = both(scored, &arguments);
        goes_on(&failed, &arguments, &whole);
    }
}

/// A step that is the first loses nothing, and what was done before its stage is there.
#[test]
fn the_first_step_of_a_later_stage_may_fail() {
    let (failed, said, whole) = both(3, &["-q"]);
    assert!(said.contains("what was done before stage `rl` is saved. Go on with:\n"), "{said}");
    goes_on(&failed, &["-q"], &whole);
}

/// An evaluation that fails takes nothing with it, though its stage has not begun: an earlier one has.
#[test]
fn an_evaluation_before_a_later_stage_may_fail() {
    let measure = "[stage.eval]\n[stage.eval.measures.q]\nkind = \"command\"\ncommand = [\"false\"]\n";
    let best = "[stage.checkpoint]\nbest = \"rewards/judge/mean\"\n";
    let program = Program::new(&MODEL.recipe(&warmed_up("", [3, 4], &(RL.to_owned() + measure + best))));
    let said = program.train(&["-q"]).success();
    for step in [0, 4] {
        let words = format!(
            "the evaluation after step {step} of stage `rl` failed, and the stage goes on without it: "
        );
        assert!(said.contains(&words), "{said}");
    }
    assert!(program.out().join("rl-step-000004").is_dir());
    // A figure that no step has come to is no reason to keep a checkpoint, and not passed over in silence.
    assert!(said.contains("checkpoint.best = \"rewards/judge/mean\" never came up"), "{said}");

    // In the first stage it ends the run, which has nothing to lose.
    let first = Program::new(&MODEL.recipe(&warmed_up(&measure.replace("stage.", ""), [3, 4], RL)));
    let said = first.train(&["-q"]).code(1);
    assert!(said.contains("error: reward: ") && !first.out().exists(), "{said}");
}

/// [`warmed_up`] without its first stage.
fn without_warmup(rest: &str) -> String {
    let alone = warmed_up("", [3, 4], rest).replace("model = \"@warmup\"", "");
    let stage =
        alone.find("[[stage]]\nname = \"warmup\"").unwrap()..alone.find("[[stage]]\nname = \"rl\"").unwrap();
    alone.replace(&alone[stage], "")
}

/// What was evaluated before the first step is worth going on from.
#[test]
fn a_first_step_that_fails_behind_an_evaluation_says_how_to_go_on() {
    let judge =
        "[stage.reward.judge]\nkind = \"command\"\nweight = 0.0\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n";
    let program = Program::new(&MODEL.recipe(&without_warmup(&format!("{judge}{RL}[stage.eval]\n"))));
    let said = program.train(&["-q"]).code(1);
    assert!(said.contains("what was evaluated before stage `rl` is saved. Go on with:\n"), "{said}");
    assert!(program.train(&["-q", "--resume"]).code(1).contains("error: reward: "));
}

/// Where nothing was evaluated, what a first round has sampled is.
#[test]
fn a_first_round_that_fails_says_that_what_it_sampled_is_saved() {
    let reward = "i=0; while read -r _; do i=$((i + 1)); [ $i -le 30 ] || exit 3; echo 0; done";
    let rest = format!(
        "[stage.reward.answer]\n[stage.reward.judge]\nkind = \"command\"\nweight = 0.0\ncommand = [\"sh\", \"-c\", {reward:?}]\n\
         [stage.select]\ncorrect = true\n[stage.loop.star]\nchunk = 5\n"
    );
    for (evaluation, words) in [
        ("", "what stage `rl` has sampled is saved. Go on with:\n"),
        (
            "[stage.eval]\n",
            "what was evaluated before stage `rl` and what it has sampled is saved. Go on with:\n",
        ),
    ] {
        let program = Program::new(&MODEL.recipe(&without_warmup(&format!("{rest}{evaluation}"))));
        let said = program.train(&["-q"]).code(1);
        assert!(said.contains(words), "{said}");
        // Four of each question of the first chunk; the second one's failed.
        assert_eq!(program.traces("rl-round-1").len(), 20);
    }
}

#[test]
fn a_save_that_fails_too_is_said_beside_it() {
    let program = failing(32, "echo nothing > out/stages.json");
    let said = program.train(&["-q"]).code(1);
    assert!(said.contains("stage `rl` has come to step 2 of 6, and that cannot be saved: "), "{said}");
    assert!(said.contains("stages.json") && said.contains("error: reward: "), "{said}");
    assert!(said.contains("out of luck") && !said.contains("Go on with"), "{said}");
    assert!(!program.out().join("rl-step-000002").exists());
}

/// All ranks save together what each has, whichever of them failed.
#[cfg(target_os = "linux")]
#[test]
fn ranks_save_together_where_one_fails() {
    for shard in ["none", "parameters"] {
        let shard = format!("devices.shard={shard}");
        let arguments = ["-q", "--set", "devices.ranks=2", "--set", "devices.threads=2", "--set", &shard];
        let (failed, said, whole) = both(32, &arguments);
        assert!(said.contains("stage `rl` is saved after step 2 of 6"), "{said}");
        assert_eq!(said.matches("--resume").count(), 1, "{said}");
        goes_on(&failed, &arguments, &whole);
    }
}

/// A reward that falls silent on one rank alone, which the others wait for no longer: there is nobody to save with.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_saved_without_a_rank_that_hangs() {
    let program = failing(32, "case \"$RANK\" in 1) kill -STOP $PPID;; esac");
    let limit = "devices.timeout_s=3";
    let said =
        program.train(&["-q", "--set", "devices.ranks=2", "--set", "devices.threads=2", "--set", limit]);
    let said = said.code(1);
    assert!(!said.contains("is saved after step") && !said.contains("cannot be saved"), "{said}");
    assert!(!program.out().join("rl-step-000002").exists());
}
