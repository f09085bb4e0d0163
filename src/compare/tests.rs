//! Comparisons of runs that are made of nothing but their files.

use super::*;
use crate::checkpoint::{Mode, RunDir};
use crate::eval::{Decoding, Evaluation, Report, Verdict};
use crate::near::near;
use std::path::Path;

/// A run in `folder`: the answers to questions, right or wrong, each of so many tokens, at a temperature.
struct Made<'a> {
    folder: &'a Path,
    name: &'a str,
    seed: i64,
    lr: f64,
    right: &'a [bool],
    tokens: usize,
    temperature: f64,
    /// What stands before the questions.
    prompt: &'a str,
}

impl Made<'_> {
    /// Its path.
    fn write(&self) -> String {
        let run = self.folder.join(self.name);
        std::fs::create_dir_all(run.join("evaluations")).unwrap();
        std::fs::write(run.join("run.json"), crate::checkpoint::sealed(serde_json::Map::new())).unwrap();
        let recipe = format!(
            "[run]\nseed = {}\nname = \"{}\"\n[optim]\nlr = {}\n[loop.sft]\n",
            self.seed, self.name, self.lr
        );
        std::fs::write(run.join("recipe.toml"), recipe).unwrap();
        let of = |(at, right): (usize, &bool)| Verdict {
            question: format!("q{at}"),
            prompt: format!("{}{at}", self.prompt),
            right: *right,
            gold: "7".into(),
            answer: right.then(|| "7".to_string()),
            tokens: self.tokens,
            truncated: !right,
            ..Verdict::default()
        };
        let verdicts: Vec<Verdict> = self.right.iter().enumerate().map(of).collect();
        let mut decoding = Decoding { samples: 1, seeds: 1, ..Decoding::default() };
        decoding.sampling.temperature = self.temperature;
        let right = self.right.iter().filter(|right| **right).count();
        let report = Report {
            questions: self.right.len(),
            accuracy: right as f64 / self.right.len() as f64,
            decoding: Some(decoding),
            ..Report::default()
        };
        let evaluation = Evaluation { stage: "sft".into(), round: 1, loop_round: None, step: 4, report };
        let lines: Vec<String> = verdicts.iter().map(|v| serde_json::to_string(v).unwrap()).collect();
        std::fs::write(run.join(evaluation.verdicts()), lines.join("\n") + "\n").unwrap();
        let line = serde_json::to_string(&evaluation).unwrap() + "\n";
        std::fs::write(run.join("evaluations.jsonl"), line).unwrap();
        run.to_string_lossy().into_owned()
    }
}

fn made<'a>(
    folder: &'a Path,
    name: &'a str,
    seed: i64,
    lr: f64,
    right: &'a [bool],
    tokens: usize,
) -> Made<'a> {
    Made { folder, name, seed, lr, right, tokens, temperature: 0.0, prompt: "p" }
}

const T: bool = true;
const F: bool = false;

/// Two seeds of a base and two of an arm of half the length.
fn two_by_two(folder: &Path) -> Vec<String> {
    vec![
        made(folder, "base-0", 0, 0.1, &[T, F, F, F], 20).write(),
        made(folder, "base-1", 1, 0.1, &[T, T, F, F], 20).write(),
        made(folder, "arm-0", 0, 0.2, &[T, T, T, F], 10).write(),
        made(folder, "arm-1", 1, 0.2, &[T, T, T, T], 10).write(),
    ]
}

#[test]
fn seeds_of_one_recipe_are_an_arm_and_questions_are_paired() {
    let folder = tempfile::tempdir().unwrap();
    let arms = arms(&[], &two_by_two(folder.path())).unwrap();
    let found = compare(&arms, None, 999).unwrap();
    let [base, arm] = &found.arms[..] else { panic!("{:?}", found.arms) };
    assert_eq!((base.name.as_str(), arm.name.as_str(), found.base.as_str()), ("base", "arm", "base"));
    near(base.accuracy, 0.375, 1e-12);
    near(base.deviation.unwrap(), 0.125 * 2.0_f64.sqrt(), 1e-12);
    assert_eq!((base.worst, arm.worst, base.questions, base.cut_off), (0.25, 0.75, 4, 0.625));
    let one = &found.against[0];
    // By question 0, 1/2, 1 and 1/2 more: three better, none worse, 2 · 1/8.
    near(one.difference, 0.5, 1e-12);
    assert_eq!((one.better_worse, one.questions), ((3, 0), 4));
    near(one.sign_p, 0.25, 1e-12);
    assert!(one.bootstrap.interval.0 > 0.0 && one.bootstrap.p < 0.05, "{:?}", one.bootstrap);
    // Both seeds gain a half, so that nothing varies; the deviation of either arm's seeds is 0.125 √2.
    let seeds = one.seeds.unwrap();
    assert!(seeds.paired && seeds.p == 0.0);
    near(seeds.effect.unwrap(), 0.5 / (0.125 * 2.0_f64.sqrt()), 1e-12);
    assert_eq!(one.verdict, Some(Noise::Beyond));
    // Shares (1.5 + 1/2)/5 and (3.5 + 1/2)/5: odds 2/3 and 4. E3 = 1/(0.4/6 + 0.6/2).
    near(one.e3_parts.0, 6.0, 1e-12);
    near(one.e3_parts.1, 2.0, 1e-12);
    near(one.e3, 30.0 / 11.0, 1e-12);
    near(one.tokens, 0.5, 1e-12);
}

#[test]
fn what_cannot_be_believed_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let runs = two_by_two(folder.path());
    let said = |base: Made, arm: Made| {
        let arms = arms(&[], &[base.write(), arm.write()]).unwrap();
        compare(&arms, None, 99).unwrap().warnings.join("\n")
    };
    let of = |name, lr, right| made(folder.path(), name, 5, lr, right, 20);
    let both = said(
        of("a", 0.1, &[T, T, T]),
        Made { temperature: 0.7, prompt: "other", ..of("b", 0.2, &[T, T, T, F]) },
    );
    for words in [
        "decoding differs in temperature",
        "0 and 1 questions are in one alone",
        "read other prompts for 3 of 3 questions",
        "b: one completion a question at a temperature above 0",
        "b: 25.0 % of the completions are cut off",
        "fewer than 3 seeds (a has 1, b has 1)",
    ] {
        assert!(both.contains(words), "{words}: {both}");
    }
    // A run that goes on is compared as far as it is.
    let going = "still running, and compared at the newest evaluation so far";
    let now = |held: &str| {
        let _held = RunDir::create(held, Mode::Resume).unwrap();
        compare(&arms(&[], &runs).unwrap(), None, 99).unwrap().warnings.join("\n")
    };
    assert!(!both.contains(going) && now(&runs[0]).contains(&format!("{going}: {}", runs[0])));
    // A run of another seed of the same recipe is no other arm, and a named group may hold anything.
    let named = arms(&[format!("all={},{}", runs[0], runs[2])], &runs[1..2]).unwrap();
    assert_eq!(named.iter().map(|arm| arm.runs.len()).collect::<Vec<_>>(), [2, 1]);
    let found = compare(&named, Some("base-1"), 99).unwrap();
    assert_eq!((found.base.as_str(), found.against[0].arm.as_str()), ("base-1", "all"));
    // One run a side is held against nothing of seeds.
    assert_eq!(found.against[0].seeds, None);
    let lr = found.recipes.iter().find(|setting| setting.key == "stage.sft.optim.lr").unwrap();
    assert_eq!(lr.values, ["0.1 | 0.2", "0.1"]);
}

/// Runs of several seeds keep the stage that they were asked for; of stages of one run these alone are names, and --base knows both.
#[test]
fn stages_are_called_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let names = |runs: &[String]| -> Vec<String> {
        arms(&[], runs).unwrap().into_iter().map(|arm| arm.name).collect()
    };
    let at = |runs: &[String], place: &str| -> Vec<String> {
        runs.iter().map(|run| format!("{run}{place}")).collect()
    };
    let runs = two_by_two(folder.path());
    assert_eq!(names(&at(&runs, "@sft")), ["base@sft", "arm@sft"]);
    let stages = [at(&runs[..1], "@sft"), at(&runs[..1], "@sft:4")].concat();
    assert_eq!(names(&stages), ["sft", "sft:4"]);
    for base in ["sft:4", &stages[1]] {
        assert_eq!(compare(&arms(&[], &stages).unwrap(), Some(base), 9).unwrap().base, "sft:4");
    }
    // A folder may have the sign in its name.
    let marked = ["mine@0", "mine@1"].map(|name| made(folder.path(), name, 0, 0.1, &[T, F], 20).write());
    assert_eq!(names(&marked), ["mine@0", "mine@1"]);
    // Beside what is asked for without one, names stay whole.
    assert_eq!(names(&[at(&runs[..1], "@sft"), runs[..1].to_vec()].concat()), ["base-0@sft", "base-0"]);
}

#[test]
fn a_run_that_cannot_be_compared_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let runs = two_by_two(folder.path());
    let refused = |runs: &[String]| {
        let error = arms(&[], runs).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    assert!(refused(&runs[..1]).contains("give two or more"));
    assert!(refused(&[runs[0].clone(), runs[0].clone()]).contains("is given twice"));
    assert!(refused(&[runs[0].clone() + "-none"]).contains("holds no run"));
    assert!(refused(&[runs[0].clone() + "@rl"]).contains("known: @sft:4"));
    assert!(
        compare(&arms(&[], &runs).unwrap(), Some("bose"), 9).unwrap_err().to_string().contains("`base`?")
    );
    let file = Path::new(&runs[1]).join("evaluations/sft-000004.jsonl");
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, lines.replacen("true", "false", 1)).unwrap();
    assert!(refused(&runs[..2]).contains("sft-000004.jsonl holds other verdicts"));
    std::fs::remove_file(&file).unwrap();
    assert!(refused(&runs[..2]).contains("evaluate again"));
}

/// A mean of nothing is none, and a test of nothing neither: no figure, no verdict, and nothing that counts among the tests of other arms.
#[test]
fn of_no_question_in_common_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name, right| made(folder.path(), name, 0, 0.1, right, 20);
    let (first, second) = (of("first", &[T, F, F, F]).write(), of("second", &[T, T, F, F]).write());
    let other = of("other", &[T, T, T]).write();
    let file = Path::new(&other).join("evaluations/sft-000004.jsonl");
    let verdicts = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, verdicts.replace(":\"q", ":\"other-")).unwrap();
    // One that has held-out rows alone, as preferences have.
    let silent = Made { lr: 0.3, ..of("silent", &[]) }.write();
    let evaluation =
        Evaluation { stage: "sft".into(), round: 1, loop_round: None, step: 4, report: Report::default() };
    let line = serde_json::to_string(&evaluation).unwrap() + "\n";
    std::fs::write(Path::new(&silent).join("evaluations.jsonl"), line).unwrap();
    let groups: Vec<String> =
        [("first", &first), ("other", &other), ("silent", &silent), ("second", &second)]
            .map(|(name, run)| format!("{name}={run}"))
            .into();
    let found = compare(&arms(&groups, &[]).unwrap(), None, 999).unwrap();
    for one in &found.against[..2] {
        assert_eq!((one.questions, one.better_worse, one.verdict, one.seeds), (0, (0, 0), None, None));
        let figures = [one.difference, one.bootstrap.p, one.p_of_all, one.sign_p, one.tokens, one.e3];
        assert!(figures.iter().all(|figure| figure.is_nan()), "{one:?}");
    }
    // The one test that there is counts as one.
    let last = &found.against[2];
    assert!(last.questions == 4 && last.p_of_all == last.bootstrap.p && last.verdict.is_some(), "{last:?}");
    let json = serde_json::to_value(&found).unwrap();
    for key in ["p_of_all", "sign_p", "verdict", "difference"] {
        assert!(json["against"][0][key].is_null(), "{key}: {}", json["against"][0]);
    }
    assert!(json["against"][1]["bootstrap"]["p"].is_null());
    let lines: Vec<Vec<String>> =
        csv(&found).lines().map(|line| line.split(',').map(str::to_string).collect()).collect();
    let at = |name: &str| lines[0].iter().position(|column| column == name).unwrap();
    for column in ["difference", "p", "p_of_all", "sign_p", "seed_p", "e3"] {
        assert_eq!((lines[2][at(column)].as_str(), lines[3][at(column)].as_str()), ("", ""), "{column}");
    }
    assert_eq!(lines[2][at("paired_questions")], "0");
    let shown = text(&found);
    assert!(!shown.contains("NaN"), "{shown}");
    assert!(shown.contains("silent was asked no question: nothing is paired"), "{shown}");
    assert!(shown.contains("first and other were asked no question in common"), "{shown}");
    assert!(!shown.contains("earlier version") && !shown.contains("decoding differs"), "{shown}");
}

/// A point is called by the shorter way to write its numbers, which need not be the one that the recipe has.
#[test]
fn a_point_is_found_however_its_numbers_are_written() {
    assert!(same_point("lr=0.01_max_tokens=8", "lr=1e-2_max_tokens=8") && same_point("lr=1e-3", "lr=0.001"));
    for other in ["lr=1e-3_max_tokens=8", "lr=1e-2", "beta=0.01_max_tokens=8", "lr=0.01_max_tokens=8_seed=0"]
    {
        assert!(!same_point("lr=0.01_max_tokens=8", other), "{other}");
    }
}

#[test]
fn it_is_shown_as_tables_lines_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let found = compare(&arms(&[], &two_by_two(folder.path())).unwrap(), None, 999).unwrap();
    let shown = text(&found);
    for words in [
        "+50.0",
        "3 / 0",
        "arm is 50.0 points above base: beyond the noise of questions and of seeds.",
        "max_new_tokens",
        "stage.sft.optim.lr",
        "To be wary of:",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let tables = markdown(&found);
    assert!(tables.contains("| arm | 87.5 [") && tables.contains("0.1 | 0.2"), "{tables}");
    let tables = latex(&found);
    for words in ["% arm is 50.0 points above base", "\narm & 87.5 [", "max\\_new\\_tokens & "] {
        assert!(tables.contains(words), "{words}: {tables}");
    }
    let cells = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
    let odd = crate::log::table::latex(&cells(["arm", "a|b"]), &[cells(["[x]", "*"])]);
    assert!(odd.contains("a\\textbar{}b") && odd.contains("\n{}[x] & *"), "{odd}");
    let lines: Vec<Vec<String>> =
        csv(&found).lines().map(|line| line.split(',').map(str::to_string).collect()).collect();
    assert!(lines.len() == 3 && lines.iter().all(|line| line.len() == lines[0].len()), "{lines:?}");
    let at = |name: &str| lines[0].iter().position(|column| column == name).unwrap();
    assert_eq!((lines[2][at("accuracy")].as_str(), lines[2][at("better")].as_str()), ("0.875", "3"));
    assert_eq!((lines[1][at("base")].as_str(), lines[2][at("base")].as_str()), ("", "base"));
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        (&json["against"][0]["verdict"], &json["arms"][0]["runs"][1]["seed"]),
        (&"beyond".into(), &1.into())
    );
    let svg = picture(&found, None).unwrap();
    assert_eq!(svg.matches("<circle").count(), 2 + 4);
    assert!(svg.contains("accuracy: mean"));
    let named = picture(&found, Some("followed")).unwrap();
    assert!(named.contains("followed: mean") && !named.contains("accuracy"));
}

/// A difference that is rounded away is not said to be none, and one that is not seen not to be equality.
#[test]
fn no_difference_is_no_equality() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = compare(&arms(&[], &two_by_two(folder.path())).unwrap(), None, 99).unwrap();
    found.against[0].verdict = Some(Noise::Within);
    for (difference, said) in [
        (0.0, "arm and base: no difference is seen, within noise."),
        (-1e-17, "arm and base: no difference is seen, within noise."),
        (0.0004, "arm is less than 0.1 points above base: within noise."),
        (-0.0004, "arm is less than 0.1 points below base: within noise."),
        (-0.0006, "arm is 0.1 points below base: within noise."),
    ] {
        found.against[0].difference = difference;
        assert_eq!(sentences(&found), [said]);
    }
}
