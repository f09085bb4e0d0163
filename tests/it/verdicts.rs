//! Each held-out completion's verdict is kept, and two runs are compared by theirs.

use crate::program::{Program, lines, number};
use crate::recipes::Tiny;
use rationale::compare::{arms, compare};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// Half taught, so that some sums come out and some do not.
const TAUGHT: &str = r#"
[run]
steps = 24
[data.template]
chat = false
[data.task.addition]
digits = [1, 2]
eval = 12
[optim]
lr = 3e-3
[loop.sft]
[eval]
every = 12
at_start = false
by = "digits"
samples = 3
seeds = 2
temperature = 0.8
max_new_tokens = 40
[eval.calibration]
"#;

fn taught() -> Program {
    Program::new(&Tiny::SUMS.recipe(TAUGHT))
}

fn verdicts(program: &Program, name: &str) -> Vec<Value> {
    lines(&program.out().join("evaluations").join(name))
}

#[test]
fn the_figures_of_an_evaluation_are_those_of_its_verdicts() {
    let program = taught();
    program.train_set(&[]).success();
    for (evaluation, step) in program.evaluations().iter().zip([12, 24]) {
        let all = verdicts(&program, &format!("sft-{step:06}.jsonl"));
        assert_eq!(all.len(), 12 * 3 * 2);
        let report = &evaluation["report"];
        let share = |of: &[&Value], key: &str| {
            of.iter().filter(|verdict| verdict[key] == true).count() as f64 / of.len() as f64
        };
        let every: Vec<&Value> = all.iter().collect();
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        near(share(&every, "right"), number(report, "accuracy"));
        near(share(&every, "truncated"), number(report, "truncated"));
        let tokens = |verdict: &Value| number(verdict, "tokens");
        near(all.iter().map(tokens).sum::<f64>() / all.len() as f64, number(report, "length"));
        for digits in ["1", "2"] {
            let class: Vec<&Value> = all.iter().filter(|verdict| verdict["by"]["digits"] == digits).collect();
            near(share(&class, "right"), report["classes"][digits][0].as_f64().unwrap());
        }
        let sure: Vec<f64> = all.iter().filter_map(|verdict| verdict["confidence"].as_f64()).collect();
        near(sure.iter().sum::<f64>() / sure.len() as f64, number(&report["calibration"], "confidence"));
        // Question by question, repetition by repetition, sample by sample.
        let places: Vec<[u64; 2]> =
            all[..6].iter().map(|v| [v["repeat"].as_u64().unwrap(), v["sample"].as_u64().unwrap()]).collect();
        assert_eq!(places, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
        let questions: BTreeSet<&str> = all.iter().map(|v| v["question"].as_str().unwrap()).collect();
        assert_eq!(questions.len(), 12);
        for verdict in &all {
            let sum = verdict["question"]
                .as_str()
                .unwrap()
                .split('+')
                .map(|n| n.parse::<u64>().unwrap())
                .sum::<u64>();
            assert_eq!(verdict["gold"], sum.to_string());
            let Some(answer) = verdict["answer"].as_str() else { continue };
            assert!(verdict["completion"].as_str().unwrap().contains(answer), "{verdict}");
        }
        assert_eq!(report["decoding"]["sampling"]["temperature"], 0.8);
    }
    // Without their texts, and otherwise the same.
    let short = taught();
    short.train_set(&["eval.keep_text=false"]).success();
    let without = |mut verdict: Value| {
        verdict.as_object_mut().unwrap().remove("completion");
        verdict
    };
    let kept: Vec<Value> = verdicts(&program, "sft-000024.jsonl").into_iter().map(without).collect();
    assert_eq!(verdicts(&short, "sft-000024.jsonl"), kept);
}

#[test]
fn runs_are_compared_by_their_verdicts() {
    let [one, other, longer] = [taught(), taught(), taught()];
    let cheap = ["eval.seeds=1", "run.steps=12"];
    one.train_set(&cheap).success();
    // The task's rows would be drawn by the seed.
    other.train_set(&[&cheap[..], &["run.seed=1"]].concat()).success();
    longer.train_set(&["eval.seeds=1", "run.steps=24", "eval.every=0"]).success();
    let given = |program: &Program| program.out().to_string_lossy().into_owned();
    let groups = [format!("short={},{}", given(&one), given(&other))];
    let found = compare(&arms(&groups, &[given(&longer)]).unwrap(), None, 500).unwrap();
    assert_eq!((found.arms[0].runs.len(), found.arms[0].runs[1].seed), (2, 1));
    for (run, program) in found.arms[0].runs.iter().zip([&one, &other]) {
        let accuracy = number(&program.evaluations()[0]["report"], "accuracy");
        assert!((run.accuracy - accuracy).abs() < 1e-9);
    }
    let said = found.warnings.join("\n");
    for words in ["its runs were not asked the same questions", "not looked at after the same stage and step"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let keys: Vec<&str> = found.recipes.iter().map(|setting| setting.key.as_str()).collect();
    assert_eq!(keys, ["stage.sft.eval.every", "stage.sft.run.steps"]);
    assert!(found.against[0].questions >= 12 && found.decoding.iter().all(|setting| !setting.differs()));
    // The same by the program.
    let picture = one.out().join("compared.svg");
    let mut program = Command::new(env!("CARGO_BIN_EXE_train"));
    program.args([
        "compare",
        &given(&longer),
        "--group",
        &groups[0],
        "--base",
        "out",
        "--resamples",
        "500",
        "--json",
    ]);
    let output = program.arg("--picture").arg(&picture).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&printed["base"], &printed["arms"][0]["name"]), (&"out".into(), &"short".into()));
    let turned = number(&printed["against"][0], "difference") + found.against[0].difference;
    assert!(turned.abs() < 1e-9 && std::fs::read_to_string(&picture).unwrap().starts_with("<svg"));
    // The two seeds alone are one arm: they differ in nothing else.
    let seeds = arms(&[], &[given(&one), given(&other)]).unwrap();
    assert_eq!(seeds.len(), 1);
}

#[test]
fn what_is_measured_is_kept_and_changes_nothing() {
    let [plain, measured] = [taught(), taught()];
    plain.train_set(&["eval.seeds=1"]).success();
    let half =
        r#"eval.measures.half={kind="command", command=["sh", "-c", "while read -r _; do echo 0.5; done"]}"#;
    measured.train_set(&["eval.seeds=1", half, "eval.measures.entropy.whole=true"]).success();
    let losses =
        |program: &Program| -> Vec<f64> { program.steps("sft").iter().map(|s| number(s, "loss")).collect() };
    assert_eq!(losses(&plain), losses(&measured));
    let all = verdicts(&measured, "sft-000024.jsonl");
    let found = &measured.evaluations()[1]["report"]["measures"];
    let mut classes = [(0.0, 0.0); 2];
    for verdict in &all {
        assert_eq!(verdict["measures"]["half"], 0.5);
        let class = &mut classes[usize::from(verdict["by"]["digits"] == "2")];
        *class = (class.0 + number(&verdict["measures"], "entropy"), class.1 + 1.0);
    }
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    let [one, two] = classes.map(|(sum, count)| sum / count);
    near(number(&found["entropy"]["classes"], "1"), one);
    near(number(&found["entropy"]["classes"], "2"), two);
    // As many questions of each number of digits.
    near(number(&found["entropy"], "mean"), (one + two) / 2.0);
    assert!(one > 0.0 && number(&found["half"], "mean") == 0.5);
    // How long the program took is told too.
    assert!(number(&found["half"]["figures"], "seconds") >= 0.0);
    let line = measured.metrics().into_iter().find(|line| line["eval/measures/entropy"].is_number()).unwrap();
    assert!(line["eval/measures/half/seconds"].is_number() && line["eval/accuracy"].is_number());
}

#[test]
fn a_measure_is_refused_as_a_reward_is() {
    let program = taught();
    let refused = |set: &str| program.train_set(&[set]).code(2);
    let unknown = refused("eval.measures.lenght.max_tokens=5");
    assert!(
        unknown.contains("eval.measures.lenght: no such reward") && unknown.contains("`length`?"),
        "{unknown}"
    );
    let column = refused("eval.measures.rouge.column=\"model_answer\"");
    assert!(column.contains("[eval.measures.rouge] needs a column `model_answer`"), "{column}");
    let program_missing = refused("eval.measures.mine={kind=\"command\", command=[\"/no/such/program\"]}");
    assert!(program_missing.contains("[eval.measures.mine]: cannot start"), "{program_missing}");
    let dry =
        program.train(&["--dry-run", "--overwrite", "--set", "eval.measures.answer.weight=2.0"]).success();
    assert!(dry.contains("eval.measures.answer.weight has no effect"), "{dry}");
}
