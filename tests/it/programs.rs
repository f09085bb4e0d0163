//! Programs that are computed when they are judged, families of problems and calls of an interface, as their recipes have them.

use crate::groups::{group, rewards};
use crate::program::number;
use crate::recipes::small;
use rationale::data::tasks::problems::Problems;
use rationale::data::{Example, Split};
use rationale::rationale::Format;
use rationale::reward::Models;
use serde_json::Value;

/// What `[reward.calc]` says of completions of a row, by these keys.
fn scores(keys: &str, row: &Example, texts: &[&str]) -> Vec<f64> {
    let mut group = group(row.clone(), texts, &Format::default());
    let recipe = format!("[calc]\nof = \"text\"\n{keys}");
    rewards(&recipe).unwrap().score(std::slice::from_mut(&mut group), &Models::none()).unwrap();
    group.rewards()
}

/// Of each problem the program, its rationale, one whose last result is wrong and the answer alone: what was computed by the model counts as it wrote it, what is to be
/// computed as it comes out.
#[test]
fn a_slip_spoils_what_is_written_and_not_what_is_computed() {
    let rows = Problems { eval: 30, ..Problems::default() }.rows(Split::Eval, 1).unwrap();
    for row in rows {
        let text = |name: &str| row.fields[name].as_str().unwrap();
        let example = Example {
            answer: Some(text("answer").into()),
            fields: row.fields.clone(),
            ..Example::text("row:1", text("question"))
        };
        let (program, rationale, answer) = (text("program"), text("rationale"), text("answer"));
        let slip = format!("{}{}", &rationale[..rationale.len() - answer.len()], "9999");
        let (written, slipped) = (format!("{rationale}\n{answer}"), format!("{slip}\n9999"));
        let texts = [program, &written, &slipped, &slip, answer, "9999"];
        assert_eq!(scores("", &example, &texts), [1.0, 1.0, 0.0, 1.0, 1.0, 0.0], "{program}");
        assert_eq!(scores("measure = \"runs\"", &example, &texts), [1.0; 6], "{program}");
        let lines = rationale.lines().count() as f64;
        let found = scores("measure = \"equations\"\nnone = 0.5", &example, &texts);
        assert_eq!(found, [0.5, 1.0, (lines - 1.0) / lines, (lines - 1.0) / lines, 0.5, 0.5], "{rationale}");
        let coded = text("family").rsplit_once('\n').unwrap().0.to_string() + "\nsolve " + answer;
        assert_eq!(
            scores("measure = \"family\"", &example, &[text("family"), &coded, program]),
            [1.0, 0.0, 0.0]
        );
    }
}

fn of_stage(evaluations: &[Value], stage: &str) -> Value {
    let found = evaluations.iter().rfind(|evaluation| evaluation["stage"] == stage);
    found.unwrap_or_else(|| panic!("no evaluation of {stage}"))["report"].clone()
}

#[test]
fn three_ways_to_an_answer_are_measured_by_one_figure() {
    let sets = ["run.steps=2", "data.task.problems.train=32", "data.task.problems.eval=6"];
    let program = small("aqua-programs", &[&sets[..], &["policy.sampling.max_new_tokens=16"]].concat());
    let evaluations = program.evaluations();
    let stages: [(&str, &[&str]); 3] = [
        ("alone", &["executed"]),
        ("written", &["executed", "equations"]),
        ("program", &["executed", "runs"]),
    ];
    for (stage, measures) in stages {
        let report = of_stage(&evaluations, stage);
        for measure in measures {
            let share = number(&report["measures"][*measure], "mean");
            assert!((0.0..=1.0).contains(&share), "{stage} {measure}: {share}");
        }
    }
    assert_eq!(program.steps("program").len(), 2);
}

/// Rounds of programs of which those that pass are learned; each test's share is a figure.
#[test]
fn families_are_tested_round_by_round() {
    let program = small(
        "efagen-problems",
        &[
            "data.task.problems.train=16",
            "data.task.problems.eval=4",
            "policy.sampling.max_new_tokens=40",
            "stage.taught.run.steps=2",
            "stage.rounds.run.steps=1",
            "stage.rounds.loop.star.rounds=2",
            "stage.rounds.loop.star.questions=4",
            "stage.rounds.loop.star.chunk=4",
            "stage.rounds.rollout.group.size=2",
            // What two steps teach passes nothing: this is about the way there.
            "stage.rounds.select.min_reward=0.0",
            "stage.rounds.select.drop_truncated=false",
        ],
    );
    let sampled: Vec<Value> = program
        .of_stage("rounds")
        .into_iter()
        .filter(|line| line["rewards/family/mean"].is_number())
        .collect();
    assert_eq!(sampled.len(), 2);
    for test in ["is_extractable", "is_executable", "has_dof", "single_valued", "matches_original"] {
        let mut shares = sampled.iter().map(|line| number(line, &format!("rewards/family/{test}/mean")));
        assert!(shares.all(|share| (0.0..=1.0).contains(&share)), "{test}");
    }
    let report = of_stage(&program.evaluations(), "rounds");
    assert!(report["measures"]["family"]["mean"].is_number(), "{report}");
}

/// A model that knows how to call writes calls, which are executed; what the interface says is marked as given and the stage that learns the traces goes through.
#[test]
fn calls_are_executed_before_and_after_they_are_asked_for() {
    let program = small(
        "goat",
        &[
            "policy.init.hidden_size=32",
            "policy.init.layers=2",
            "data.task.graph.train=200",
            "data.task.graph.eval=8",
            "stage.base.run.steps=120",
            "stage.base.optim.lr=1e-2",
            "stage.written.run.steps=2",
            "stage.written.data.train_limit=16",
            "stage.instructed.run.steps=1",
            "stage.call-first.run.steps=1",
            "stage.call-first-whole.run.steps=1",
        ],
    );
    let traces = program.traces("written");
    assert_eq!(traces.len(), 16);
    let given: Vec<&Value> =
        traces.iter().flat_map(|trace| trace["given_spans"].as_array().into_iter().flatten()).collect();
    assert!(!given.is_empty());
    for stage in ["zero-shot", "instruction-first", "call-first", "call-first-whole"] {
        let report = of_stage(&program.evaluations(), stage);
        assert_eq!(number(&report, "questions"), 8.0, "{stage}");
    }
}
