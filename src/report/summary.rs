//! What the end of a run says: the evaluations side by side, and rationales before and after.

use crate::eval::process::Process;
use crate::eval::search::Search;
use crate::eval::{Evaluation, OwnSteps};
use crate::log::plot::{Curve, Panel};
use crate::rollout::search::Rule;
use std::collections::{BTreeMap, BTreeSet};

/// The first evaluation and the last of each stage: a title and a report each, in order.
pub fn points(evaluations: &[Evaluation]) -> Vec<&Evaluation> {
    let last_of_stage = |index: usize| {
        let this = &evaluations[index];
        evaluations.get(index + 1).is_none_or(|next| (&next.stage, next.round) != (&this.stage, this.round))
    };
    let picked = (0..evaluations.len()).filter(|&index| index == 0 || last_of_stage(index));
    picked.map(|index| &evaluations[index]).collect()
}

/// The evaluations of each stage whose loop has rounds, round by round.
pub fn by_round(evaluations: &[Evaluation]) -> Vec<Vec<&Evaluation>> {
    let mut stages: Vec<Vec<&Evaluation>> = Vec::new();
    for evaluation in evaluations.iter().filter(|evaluation| evaluation.loop_round.is_some()) {
        let same = |known: &&Evaluation| (&known.stage, known.round) == (&evaluation.stage, evaluation.round);
        match stages.last_mut().filter(|stage| stage.first().is_some_and(same)) {
            Some(stage) => stage.push(evaluation),
            None => stages.push(vec![evaluation]),
        }
    }
    stages
}

/// The table of a stage's rounds: one row a round, one column a class and one for all questions.
pub fn rounds(stage: &[&Evaluation]) -> (Vec<String>, Vec<Vec<String>>) {
    let classes: BTreeSet<&String> = stage.iter().flat_map(|e| e.report.classes.keys()).collect();
    let first = stage.first().map_or(String::new(), |e| format!("{}, round", e.stage));
    let header = std::iter::once(first).chain(classes.iter().map(|c| c.to_string()));
    let row = |evaluation: &&Evaluation| {
        let report = &evaluation.report;
        let class = |class: &&String| report.classes.get(*class).map_or("–".into(), |(s, _)| percent(*s));
        std::iter::once(evaluation.loop_round.unwrap_or(0).to_string())
            .chain(classes.iter().map(class))
            .chain([format!(
                "{} [{}, {}]",
                percent(report.accuracy),
                percent(report.interval.0),
                percent(report.interval.1)
            )])
            .collect()
    };
    (header.chain(["accuracy".to_string()]).collect(), stage.iter().map(row).collect())
}

/// The same as a picture: a curve a class, and one for all questions.
pub fn panel(stage: &[&Evaluation], by: &str) -> Panel {
    let mut curves: BTreeMap<String, Curve> = BTreeMap::new();
    for evaluation in stage {
        let report = &evaluation.report;
        let classes = report.classes.iter().map(|(class, (share, _))| (format!("{by} = {class}"), *share));
        for (name, share) in classes.chain([("all".to_string(), report.accuracy)]) {
            let new = Curve { name: name.clone(), points: BTreeMap::new() };
            let points = &mut curves.entry(name).or_insert(new).points;
            points.insert(evaluation.loop_round.unwrap_or(0), (share, share, share));
        }
    }
    let title = stage.first().map_or(String::new(), |evaluation| evaluation.stage.clone());
    Panel { title, curves: curves.into_values().collect() }
}

/// Accuracy over tokens as a picture, where a search ends reasoning: a curve of fixed cuts, one of stops by belief, and the whole.
pub fn by_tokens(title: &str, search: &Search) -> Panel {
    let curve = |name: &str, of: &dyn Fn(&Rule) -> bool| Curve {
        name: name.to_string(),
        points: search
            .stopping
            .iter()
            .filter(|one| of(&one.rule))
            .map(|one| (one.tokens.round() as usize, (one.accuracy, one.accuracy, one.accuracy)))
            .collect(),
    };
    let curves = vec![
        curve("fixed cut", &|rule| matches!(rule, Rule::Tokens(_))),
        curve("belief", &|rule| matches!(rule, Rule::Alpha(_))),
        curve("whole", &|rule| *rule == Rule::Whole),
    ];
    Panel { title: title.to_string(), curves }
}

/// Accuracy against the number of completions as a picture: a curve a kind of search.
pub fn by_number(title: &str, search: &Search) -> Panel {
    let curve = |(name, points): (&String, &BTreeMap<usize, f64>)| Curve {
        name: name.clone(),
        points: points.iter().map(|(n, share)| (*n, (*share, *share, *share))).collect(),
    };
    Panel { title: title.to_string(), curves: search.accuracy.iter().map(curve).collect() }
}

/// What a row says of a reward model; none where it was not looked at.
type OfRewardModel = fn(&Process) -> Option<String>;

const OF_REWARD_MODELS: [(&str, OfRewardModel); 6] = [
    ("judgements right", |found| Some(percent(found.accuracy))),
    ("AUROC", |found| found.auroc.map(|area| format!("{area:.3}"))),
    ("first-error F1", |found| found.first_error.map(|found| percent(found.f1))),
    ("first-error F1 by chance", |found| found.chance.map(|chance| percent(chance.f1))),
    ("first-error F1 by lengths alone", |found| found.length_only.map(|lengths| percent(lengths.f1))),
    ("calibration error of steps (ECE)", |found| {
        found.calibration.as_ref().map(|found| percent(found.error))
    }),
];

/// Header and rows: one column a point, one row a class and one for all questions, then lengths.
pub fn table(points: &[&Evaluation]) -> (Vec<String>, Vec<Vec<String>>) {
    let header = std::iter::once(String::new()).chain(points.iter().map(|point| point.title())).collect();
    let classes: BTreeSet<&String> = points.iter().flat_map(|p| p.report.classes.keys()).collect();
    let mut rows = Vec::new();
    for class in classes {
        let cells = points.iter().map(|p| {
            p.report
                .classes
                .get(class)
                .map_or("–".into(), |(share, n)| format!("{} of {n}", percent(*share)))
        });
        rows.push(std::iter::once(class.clone()).chain(cells).collect());
    }
    let row = |name: &str, cell: &dyn Fn(&Evaluation) -> String| {
        std::iter::once(name.to_string()).chain(points.iter().map(|p| cell(p))).collect::<Vec<String>>()
    };
    if points.iter().any(|p| p.report.calibration.is_some()) {
        rows.push(row("calibration error (ECE)", &|p| {
            p.report.calibration.as_ref().map_or("–".to_string(), |c| percent(c.error))
        }));
        rows.push(row("mean confidence", &|p| {
            p.report.calibration.as_ref().map_or("–".to_string(), |c| percent(c.confidence))
        }));
    }
    let held_out = [
        ("loss", "held-out loss"),
        ("perplexity", "held-out perplexity"),
        ("rewards/accuracies", "preference accuracy"),
        ("rewards/margins", "preference margin"),
        ("loss/hard", "of the hardest quarter of tokens"),
        ("loss/answer", "of answers"),
        ("thoughts/loss", "held-out loss with thoughts"),
        ("thoughts/loss/hard", "of the hardest quarter, with thoughts"),
        ("thoughts/loss/answer", "of answers, with thoughts"),
        ("accuracy", "label accuracy"),
        ("rationale/accuracy", "accuracy from rationales alone"),
        ("rationale/token_f1", "token F1 of rationales"),
        ("rationale/iou_f1", "IOU F1 of rationales"),
        ("rationale/auprc", "AUPRC of rationales"),
        ("rationale/comprehensiveness", "comprehensiveness"),
        ("rationale/sufficiency", "sufficiency"),
        ("greedy/size", "tokens that are enough"),
        ("greedy/found", "share of rows where some are"),
        ("greedy/iou", "their overlap with marked spans"),
        ("greedy/distractors", "of them distractors"),
    ];
    for (name, title) in held_out {
        let of = |p: &Evaluation| p.report.held_out.as_ref().and_then(|held_out| held_out.words(name));
        if points.iter().any(|p| of(p).is_some()) {
            rows.push(row(title, &|p| of(p).unwrap_or_else(|| "–".to_string())));
        }
    }
    for (title, told) in OF_REWARD_MODELS {
        let of = |p: &Evaluation| p.report.process.as_ref().and_then(told);
        if points.iter().any(|p| of(p).is_some()) {
            rows.push(row(title, &|p| of(p).unwrap_or_else(|| "–".to_string())));
        }
    }
    // A reward model judges, and answers nothing.
    let judges = |p: &Evaluation| p.report.process.is_some();
    if points.iter().all(|p| judges(p) || p.report.questions == 0 && p.report.held_out.is_some()) {
        return (header, rows);
    }
    if points.iter().any(|p| p.report.own_steps.is_some()) {
        let of = |share: fn(&OwnSteps) -> f64| {
            move |p: &Evaluation| {
                p.report.own_steps.as_ref().map_or("–".to_string(), |own| percent(share(own)))
            }
        };
        rows.push(row("all steps right", &of(|own| own.followed)));
        rows.push(row("right answers with a wrong step", &of(|own| own.right_by_wrong_steps)));
    }
    let length = |l: Option<f64>| l.map_or("–".to_string(), |l| format!("{l:.1}"));
    rows.push(row("accuracy", &|p| {
        let r = &p.report;
        if judges(p) {
            return "–".to_string();
        }
        format!("{} [{}, {}]", percent(r.accuracy), percent(r.interval.0), percent(r.interval.1))
    }));
    if points.iter().any(|p| p.report.agreement.is_some()) {
        let show = |value: Option<f64>| value.map_or("–".to_string(), |value| format!("{value:.3}"));
        rows.push(row("macro-F1", &|p| show(p.report.agreement.map(|agreement| agreement.macro_f1))));
        rows.push(row("quadratic weighted kappa", &|p| show(p.report.agreement.and_then(|a| a.kappa))));
    }
    let ks: BTreeSet<usize> =
        points.iter().flat_map(|p| p.report.pass_at.keys().copied()).filter(|k| *k > 1).collect();
    for k in ks {
        let show = |v: Option<&f64>| v.map_or("–".to_string(), |v| percent(*v));
        rows.push(row(&format!("pass@{k}"), &|p| show(p.report.pass_at.get(&k))));
        rows.push(row(&format!("maj@{k}"), &|p| show(p.report.majority_at.get(&k))));
    }
    let searched: BTreeSet<(usize, &String)> = points
        .iter()
        .filter_map(|p| p.report.search.as_ref())
        .flat_map(|search| search.accuracy.keys().map(|kind| (search.n, kind)))
        .collect();
    for (n, kind) in searched {
        rows.push(row(&format!("{kind}@{n}"), &|p| {
            let search = p.report.search.as_ref();
            search.and_then(|search| search.accuracy.get(kind)?.get(&n)).map_or("–".into(), |v| percent(*v))
        }));
    }
    rows.push(row("tokens, right answers", &|p| length(p.report.length_correct)));
    rows.push(row("tokens, wrong answers", &|p| length(p.report.length_wrong)));
    rows.push(row("cut off", &|p| percent(if judges(p) { f64::NAN } else { p.report.truncated })));
    (header, rows)
}

/// The shown questions, each with what the first and the last point wrote.
pub fn rationales(points: &[&Evaluation]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let mut out = String::new();
    for (index, before) in first.report.shown.iter().enumerate() {
        out += &format!("\n{}\n", before.prompt.trim_end());
        let mut add = |title: String, text: &str, correct: bool, wrong_step: Option<usize>| {
            let verdict = match (correct, wrong_step) {
                (true, None) => "right".to_string(),
                (true, Some(step)) => format!("right, but step {step} is wrong"),
                (false, None) => "wrong".to_string(),
                (false, Some(step)) => format!("wrong, from step {step} on"),
            };
            out += &format!("  {title} ({verdict}):\n");
            let text = match text.trim_end() {
                "" if text.is_empty() => "(nothing)",
                "" => "(nothing but white space)",
                written => written,
            };
            for line in text.lines() {
                out += &format!("    {line}\n");
            }
        };
        add(first.title(), &before.completion, before.correct, before.wrong_step);
        if points.len() > 1
            && let Some(after) = last.report.shown.get(index)
        {
            add(last.title(), &after.completion, after.correct, after.wrong_step);
        }
        out += &format!("  answer: {}\n", before.answer);
    }
    out
}

fn percent(share: f64) -> String {
    // The share of nothing.
    if share.is_nan() {
        return "–".to_string();
    }
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Report, Shown};

    /// An answer that cannot be seen is not an empty line.
    #[test]
    fn what_is_blank_is_said_to_be() {
        let shown = |completion: &str| {
            let shown = Shown {
                prompt: "1+1=".into(),
                completion: completion.into(),
                answer: "2".into(),
                correct: false,
                wrong_step: None,
            };
            let report = Report { shown: vec![shown], ..Report::default() };
            rationales(&[&Evaluation { stage: "sft".into(), round: 1, loop_round: None, step: 4, report }])
        };
        for (completion, words) in
            [("\n\n ", "(nothing but white space)"), ("", "(nothing)"), (" 3\n", " 3"), ("3\n4", "3\n    4")]
        {
            let said = shown(completion);
            assert!(said.ends_with(&format!("(wrong):\n    {words}\n  answer: 2\n")), "{said}");
        }
    }

    /// A reward model answers no questions, and has figures of its own.
    #[test]
    fn a_reward_model_has_rows_of_its_own() {
        let point = |stage: &str, report: Report| Evaluation {
            stage: stage.into(),
            round: 1,
            loop_round: None,
            step: 4,
            report,
        };
        let found = Process { accuracy: 0.75, auroc: Some(0.8), ..Process::default() };
        let judging = point("prm", Report { process: Some(found), ..Report::default() });
        let (_, rows) = table(&[&judging]);
        assert_eq!(rows, [["judgements right", "75.0 %"], ["AUROC", "0.800"]]);
        let asking = point("rl", Report { accuracy: 0.5, interval: (0.25, 0.75), ..Report::default() });
        let (_, rows) = table(&[&judging, &asking]);
        for row in
            [["AUROC", "0.800", "–"], ["accuracy", "–", "50.0 % [25.0 %, 75.0 %]"], ["cut off", "–", "0.0 %"]]
        {
            assert!(rows.contains(&row.map(String::from).to_vec()), "{rows:?}");
        }
    }

    /// What an evaluation of nothing found is read back as it was: JSON writes NaN as null.
    #[test]
    fn a_figure_of_nothing_comes_back_and_is_a_dash() {
        let nan = f64::NAN;
        let report = Report {
            accuracy: nan,
            interval: (nan, 0.5),
            pass_at: [(1, nan)].into(),
            classes: [("x".to_string(), (nan, 0))].into(),
            length: nan,
            ..Report::default()
        };
        let written = Evaluation { stage: "prm".into(), round: 1, loop_round: None, step: 4, report };
        let told: Evaluation = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
        assert!(told.report.accuracy.is_nan() && told.report.classes["x"].0.is_nan());
        let (_, rows) = table(&[&told]);
        assert!(rows.contains(&vec!["accuracy".to_string(), "– [–, 50.0 %]".to_string()]), "{rows:?}");
    }
}
