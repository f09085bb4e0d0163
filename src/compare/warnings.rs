//! What stands in the way of believing a comparison.

use super::arm::Arm;
use super::figures::{Against, ArmFigures};
use super::measured::{Measured, Question};
use super::settings::Setting;
use crate::checkpoint::{Trials, is_in_use};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Seeds below which a deviation is hardly known.
const SEEDS: usize = 3;
/// Share of completions cut off, from which accuracy says more of the limit than of the model.
const CUT_OFF: f64 = 0.05;

/// Whether a run is a trial of one that sweeps.
fn is_trial(run: &Measured) -> bool {
    let folder = Path::new(run.given.split('@').next().unwrap_or_default());
    folder.parent().is_some_and(|around| matches!(Trials::read(around), Ok(Some(_))))
}

/// Whether a process still writes to a run of which the newest evaluation was asked for. A sweep compares its trials itself.
fn goes_on(run: &&Measured) -> bool {
    !run.given.contains('@') && !is_trial(run) && is_in_use(Path::new(&run.given))
}

/// All of it, in sentences. `found` is what the arms came to, and `against` the base.
pub fn warnings(
    arms: &[Arm],
    base: usize,
    found: &[ArmFigures],
    against: &[Against],
    decoding: &[Setting],
) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    let first = &arms[base];
    let others = || arms.iter().enumerate().filter(|(at, _)| *at != base).map(|(_, arm)| arm);
    for (arm, against) in others().zip(against) {
        said.extend(of_questions(first, arm, against));
        let one = 1.0 / against.questions.max(1) as f64;
        if against.difference != 0.0 && against.difference.abs() < one {
            said.push(format!(
                "{}: the difference of {:.2} points is less than one of {} questions ({:.2} points)",
                arm.name,
                100.0 * against.difference,
                against.questions,
                100.0 * one
            ));
        }
    }
    let running: Vec<&str> =
        arms.iter().flat_map(|arm| &arm.runs).filter(goes_on).map(|run| run.given.as_str()).collect();
    if !running.is_empty() {
        said.push(format!(
            "still running, and compared at the newest evaluation so far: {}",
            running.join(", ")
        ));
    }
    let differing: Vec<&str> = decoding
        .iter()
        .filter(|setting| setting.is_known_to_differ())
        .map(|setting| setting.key.as_str())
        .collect();
    if !differing.is_empty() {
        said.push(format!(
            "decoding differs in {}: a difference may be that of decoding, not of what was trained",
            differing.join(", ")
        ));
    }
    let unknown: Vec<&str> = arms
        .iter()
        .filter(|arm| {
            let reports = || arm.runs.iter().map(|run| &run.evaluation.report);
            reports().any(|report| report.questions > 0 && report.decoding.is_none())
        })
        .map(|arm| arm.name.as_str())
        .collect();
    if !unknown.is_empty() {
        said.push(format!(
            "how {} decoded is not known: evaluated by an earlier version",
            unknown.join(", ")
        ));
    }
    for (arm, found) in arms.iter().zip(found) {
        said.extend(of_arm(arm, found));
    }
    let few: Vec<String> = found
        .iter()
        .filter(|arm| arm.runs.len() < SEEDS)
        .map(|arm| format!("{} has {}", arm.name, arm.runs.len()))
        .collect();
    if !few.is_empty() {
        let remedy = match arms.iter().flat_map(|arm| &arm.runs).any(is_trial) {
            true => "the sweep goes on to more with --set 'run.seeds=[0,1,2]' --resume",
            false => "the same recipe with --set run.seed=N and another --out makes one",
        };
        said.push(format!(
            "fewer than {SEEDS} seeds ({}): what another seed would have come to is hardly known; {remedy}",
            few.join(", ")
        ));
    }
    let steps: BTreeSet<(&str, usize)> =
        found.iter().flat_map(|arm| &arm.runs).map(|run| (run.stage.as_str(), run.step)).collect();
    if steps.len() > 1 {
        let shown: Vec<String> = steps.iter().map(|(stage, step)| format!("{stage}:{step}")).collect();
        said.push(format!("the arms are not looked at after the same stage and step: {}", shown.join(", ")));
    }
    said
}

/// Whether two arms were asked the same, in the same words.
fn of_questions(base: &Arm, arm: &Arm, against: &Against) -> Vec<String> {
    let mut said = Vec::new();
    let (first, second) = (prompts(base), prompts(arm));
    let only = |a: &BTreeMap<Question, BTreeSet<String>>, b: &BTreeMap<Question, BTreeSet<String>>| {
        a.keys().filter(|question| !b.contains_key(*question)).count()
    };
    let (ours, theirs) = (only(&first, &second), only(&second, &first));
    let pair = format!("{} and {}", base.name, arm.name);
    if first.is_empty() && second.is_empty() {
        return said;
    }
    for (asked, arm) in [(&first, base), (&second, arm)] {
        if asked.is_empty() {
            let name = &arm.name;
            return vec![format!(
                "{name} was asked no question: nothing is paired; give it the same data.eval"
            )];
        }
    }
    if against.questions == 0 {
        let advice = "give both the same data.eval";
        return vec![format!("{pair} were asked no question in common: nothing is paired; {advice}")];
    }
    if ours + theirs > 0 {
        let ids = |of: &BTreeMap<Question, BTreeSet<String>>| {
            of.keys().map(|(id, _)| id.clone()).collect::<BTreeSet<String>>()
        };
        let gold = ids(&first).intersection(&ids(&second)).count().saturating_sub(against.questions);
        let other = match gold {
            0 => String::new(),
            n => format!(", and {n} ids have another gold answer"),
        };
        said.push(format!(
            "{pair} were not asked the same: {ours} and {theirs} questions are in one alone{other}; differences are over the {} in both",
            against.questions
        ));
    }
    let both = first.iter().filter_map(|(question, prompts)| Some((prompts, second.get(question)?)));
    let reworded = both.filter(|(a, b)| a != b).count();
    if reworded > 0 {
        said.push(format!(
            "{pair} read other prompts for {reworded} of {} questions: templates, few-shot examples or tokenizers differ",
            against.questions
        ));
    }
    said
}

/// The prompts of each question.
fn prompts(arm: &Arm) -> BTreeMap<Question, BTreeSet<String>> {
    let mut all: BTreeMap<Question, BTreeSet<String>> = BTreeMap::new();
    for verdict in arm.runs.iter().flat_map(|run| &run.verdicts) {
        let question = (verdict.question.clone(), verdict.gold.clone());
        all.entry(question).or_default().insert(verdict.prompt.clone());
    }
    all
}

fn of_arm(arm: &Arm, found: &ArmFigures) -> Vec<String> {
    let mut said = Vec::new();
    if found.cut_off > CUT_OFF {
        said.push(format!(
            "{}: {:.1} % of the completions are cut off by max_new_tokens, so accuracy depends on it; raise eval.max_new_tokens",
            arm.name,
            100.0 * found.cut_off
        ));
    }
    let sets: BTreeSet<BTreeSet<Question>> =
        arm.runs.iter().map(|run| run.accuracies().into_keys().collect()).collect();
    if sets.len() > 1 {
        said.push(format!(
            "{}: its runs were not asked the same questions (a task draws them by run.seed), so their deviation is also that of questions",
            arm.name
        ));
    }
    let drawn_once = arm.runs.iter().any(|run| {
        let told = run.evaluation.report.decoding.as_ref();
        told.is_some_and(|told| told.sampling.temperature > 0.0 && told.samples * told.seeds == 1)
    });
    if drawn_once {
        said.push(format!(
            "{}: one completion a question at a temperature above 0: another draw comes to another accuracy; raise eval.samples or \
             eval.seeds, or set eval.temperature = 0",
            arm.name
        ));
    }
    said
}
