//! A comparison as text, as Markdown, as LaTeX, as CSV.

use super::settings::Setting;
use super::{Against, ArmFigures, Comparison};
use crate::log::table::{csv_cell, latex as latex_of, markdown as markdown_of, table};
use crate::log::terminal::shown;
use serde::Serialize;

/// Keys of recipes that are shown.
const KEYS: usize = 20;

/// A difference that is none but for rounding of sums.
const UNSEEN: f64 = 1e-9;

/// A table of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sheet {
    /// What stands above it.
    pub title: String,
    /// Its columns.
    pub header: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
    /// What its columns are, in a sentence each, where their names do not say it.
    pub notes: Vec<String>,
}

impl Sheet {
    fn new(title: impl Into<String>, header: &[&str], rows: Vec<Vec<String>>) -> Self {
        let header = header.iter().map(|name| name.to_string()).collect();
        Self { title: title.into(), header, rows, notes: vec![] }
    }

    fn noted(mut self, notes: &[&str]) -> Self {
        self.notes = notes.iter().map(|note| note.to_string()).collect();
        self
    }
}

/// As tables for a terminal.
pub fn text(found: &Comparison) -> String {
    let shown = |sheet: &Sheet| {
        let notes: String = sheet.notes.iter().map(|note| format!(" {note}\n")).collect();
        format!("{}\n{}\n{notes}", sheet.title, table(&sheet.header, &sheet.rows))
    };
    let said: String = sentences(found).iter().map(|line| format!("{line}\n")).collect();
    let mut out = said + "\n" + &sheets(found).iter().map(shown).collect::<Vec<_>>().join("\n");
    if !found.warnings.is_empty() {
        out += "\nTo be wary of:\n";
        found.warnings.iter().for_each(|warning| out += &format!("  * {warning}\n"));
    }
    out
}

/// As tables of Markdown.
pub fn markdown(found: &Comparison) -> String {
    let mut out = sentences(found).join("\n\n") + "\n\n";
    for sheet in sheets(found) {
        out += &format!("**{}**\n\n{}\n", sheet.title, markdown_of(&sheet.header, &sheet.rows));
        sheet.notes.iter().for_each(|note| out += &format!("{note}\n\n"));
    }
    found.warnings.iter().for_each(|warning| out += &format!("* {warning}\n"));
    out
}

/// As tables of LaTeX, whose titles and notes, and all else that is said, are comments.
pub fn latex(found: &Comparison) -> String {
    let comment = |text: &String| format!("% {}\n", shown(text).replace('\n', " "));
    let mut out: String = sentences(found).iter().map(comment).collect();
    for sheet in sheets(found) {
        out += &format!("\n{}{}", comment(&sheet.title), latex_of(&sheet.header, &sheet.rows));
        out.extend(sheet.notes.iter().map(comment));
    }
    out.extend(found.warnings.iter().map(comment));
    out
}

/// A line an arm, with its figures and those against the base; numbers as they are. Nothing stands where there is nothing.
pub fn csv(found: &Comparison) -> String {
    let header = "arm,runs,questions,accuracy,low,high,seed_deviation,worst_seed,tokens,tokens_right,tokens_wrong,cut_off,unanswered,\
        base,paired_questions,difference,difference_low,difference_high,p,p_of_all,better,worse,sign_p,seed_difference,seed_low,\
        seed_high,seed_p,effect,tokens_ratio,e3,e3_odds,e3_brevity";
    let mut lines = vec![header.to_string()];
    for arm in &found.arms {
        let number = |value: f64| if value.is_finite() { value.to_string() } else { String::new() };
        let maybe = |value: Option<f64>| value.map_or(String::new(), number);
        let mut cells = vec![csv_cell(&arm.name), arm.runs.len().to_string(), arm.questions.to_string()];
        cells.extend([arm.accuracy, arm.interval.0, arm.interval.1].map(number));
        cells.extend([maybe(arm.deviation), number(arm.worst), number(arm.tokens)]);
        cells.extend([
            maybe(arm.tokens_right),
            maybe(arm.tokens_wrong),
            number(arm.cut_off),
            number(arm.unanswered),
        ]);
        match found.against.iter().find(|against| against.arm == arm.name) {
            None => cells.extend(std::iter::repeat_n(String::new(), header.split(',').count() - cells.len())),
            Some(one) => {
                cells.extend([csv_cell(&found.base), one.questions.to_string(), number(one.difference)]);
                let bootstrap =
                    [one.bootstrap.interval.0, one.bootstrap.interval.1, one.bootstrap.p, one.p_of_all];
                cells.extend(bootstrap.map(number));
                cells.extend([
                    one.better_worse.0.to_string(),
                    one.better_worse.1.to_string(),
                    number(one.sign_p),
                ]);
                cells.extend([
                    maybe(one.seeds.map(|seeds| seeds.difference)),
                    maybe(one.seeds.map(|seeds| seeds.interval.0)),
                    maybe(one.seeds.map(|seeds| seeds.interval.1)),
                    maybe(one.seeds.map(|seeds| seeds.p)),
                    maybe(one.seeds.and_then(|seeds| seeds.effect)),
                ]);
                cells.extend([one.tokens, one.e3, one.e3_parts.0, one.e3_parts.1].map(number));
            }
        }
        lines.push(cells.join(","));
    }
    lines.join("\n") + "\n"
}

/// What each arm is against the base, in a sentence.
pub fn sentences(found: &Comparison) -> Vec<String> {
    let of = |one: &Against| {
        let (arm, base, verdict) = (&one.arm, &found.base, one.verdict?.words());
        let side = if one.difference < 0.0 { "below" } else { "above" };
        // That none is seen does not say that there is none.
        if one.difference.abs() < UNSEEN {
            return Some(format!("{arm} and {base}: no difference is seen, {verdict}."));
        }
        Some(match format!("{:.1}", 100.0 * one.difference.abs()).as_str() {
            "0.0" => format!("{arm} is less than 0.1 points {side} {base}: {verdict}."),
            points => format!("{arm} is {points} points {side} {base}: {verdict}."),
        })
    };
    found.against.iter().filter_map(of).collect()
}

/// Its tables.
pub fn sheets(found: &Comparison) -> Vec<Sheet> {
    // Where nothing was asked, nothing is right or wrong.
    let asked = found.arms.iter().any(|arm| arm.questions > 0);
    let mut sheets = if asked { vec![of_arms(&found.arms)] } else { vec![] };
    if asked && !found.against.is_empty() {
        sheets.push(of_questions(found));
        sheets.push(of_seeds_and_lengths(found));
    }
    sheets.extend(Some(of_measures(found)).filter(|sheet| !sheet.rows.is_empty()));
    if asked {
        sheets.push(of_settings("Decoding", found, &found.decoding));
    }
    if !found.recipes.is_empty() {
        sheets.push(of_settings("Where the recipes differ", found, &found.recipes));
    }
    sheets
}

/// The cells of an arm that was asked no question: its name, 0 where the questions are counted, nothing else.
fn blank(arm: &str, columns: usize, counted: Option<usize>) -> Vec<String> {
    let mut cells = vec!["–".to_string(); columns];
    cells[0] = arm.to_string();
    if let Some(at) = counted {
        cells[at] = "0".to_string();
    }
    cells
}

fn of_arms(arms: &[ArmFigures]) -> Sheet {
    let row = |arm: &ArmFigures| {
        if arm.questions == 0 {
            return blank(&arm.name, 9, Some(4));
        }
        let by_seed: Vec<String> =
            arm.runs.iter().map(|run| format!("{:.1}", 100.0 * run.accuracy)).collect();
        vec![
            arm.name.clone(),
            format!(
                "{:.1} [{:.1}, {:.1}]",
                100.0 * arm.accuracy,
                100.0 * arm.interval.0,
                100.0 * arm.interval.1
            ),
            arm.deviation.map_or("–".to_string(), |deviation| format!("{:.1}", 100.0 * deviation)),
            by_seed.join(" "),
            arm.questions.to_string(),
            format!("{:.1}", arm.tokens),
            format!("{} / {}", length(arm.tokens_right), length(arm.tokens_wrong)),
            format!("{:.1}", 100.0 * arm.cut_off),
            format!("{:.1}", 100.0 * arm.unanswered),
        ]
    };
    let header = [
        "arm",
        "accuracy, % [95 %]",
        "sd of seeds",
        "each run",
        "questions",
        "tokens",
        "right / wrong",
        "cut off, %",
        "no answer, %",
    ];
    Sheet::new("Accuracy and length", &header, arms.iter().map(row).collect()).noted(&[
        "[95 %]: by bootstrap over questions. sd of seeds: the deviation of the runs' accuracies, in points.",
        "right / wrong: tokens of right and of wrong completions.",
    ])
}

fn length(tokens: Option<f64>) -> String {
    tokens.map_or("–".to_string(), |tokens| format!("{tokens:.1}"))
}

fn of_questions(found: &Comparison) -> Sheet {
    let row = |one: &Against| {
        if one.questions == 0 {
            return blank(&one.arm, 7, Some(6));
        }
        let (low, high) = one.bootstrap.interval;
        vec![
            one.arm.clone(),
            format!("{:+.1} [{:+.1}, {:+.1}]", 100.0 * one.difference, 100.0 * low, 100.0 * high),
            probability(one.bootstrap.p),
            probability(one.p_of_all),
            format!("{} / {}", one.better_worse.0, one.better_worse.1),
            probability(one.sign_p),
            one.questions.to_string(),
        ]
    };
    let header = [
        "arm",
        "difference, points [95 %]",
        "p",
        "p among all arms",
        "questions better / worse",
        "p of better / worse",
        "questions of both",
    ];
    let title = format!("Against {}: question by question", found.base);
    Sheet::new(title, &header, found.against.iter().map(row).collect()).noted(&[
        "p: how likely chance alone would differ as much (paired bootstrap); among all arms: counted as one of them (Holm).",
        "p of better / worse: by sign test. questions of both: those that both were asked.",
    ])
}

fn of_seeds_and_lengths(found: &Comparison) -> Sheet {
    let row = |one: &Against| {
        if one.questions == 0 {
            return blank(&one.arm, 8, None);
        }
        let seeds = one.seeds.map_or(vec!["–".to_string(); 4], |seeds| {
            vec![
                format!(
                    "{:+.1} [{:+.1}, {:+.1}]",
                    100.0 * seeds.difference,
                    100.0 * seeds.interval.0,
                    100.0 * seeds.interval.1
                ),
                if seeds.paired { "paired" } else { "Welch" }.to_string(),
                probability(seeds.p),
                seeds.effect.map_or("–".to_string(), |effect| format!("{effect:+.2}")),
            ]
        });
        let (odds, brevity) = one.e3_parts;
        let rest =
            [format!("{:.2}", one.tokens), format!("{:.2}", one.e3), format!("{odds:.2}, {brevity:.2}")];
        std::iter::once(one.arm.clone()).chain(seeds).chain(rest).collect()
    };
    let header = [
        "arm",
        "over seeds, points [95 %]",
        "test of seeds",
        "p over seeds",
        "effect size, d",
        "tokens, ×",
        "E3 score",
        "accuracy, brevity, ×",
    ];
    let title = format!("Against {}: seeds and lengths", found.base);
    Sheet::new(title, &header, found.against.iter().map(row).collect()).noted(&[
        "×: as a multiple of the base's. accuracy, ×: of the odds of being right; brevity, ×: how many times shorter.",
        "effect size, d: the difference as a multiple of the deviation of seeds.",
        "E3 score: accuracy and brevity as one figure, above 1 where better than the base (arXiv 2511.10201).",
    ])
}

fn of_measures(found: &Comparison) -> Sheet {
    let mut rows = Vec::new();
    let around = |mean: f64, (low, high): (f64, f64)| format!("{mean:+.4} [{low:+.4}, {high:+.4}]");
    let nothing = || "–".to_string();
    for arm in &found.arms {
        let against = found.against.iter().find(|against| against.arm == arm.name);
        for (name, of) in &arm.measures {
            let (low, high) = of.interval;
            let gain = against.and_then(|against| against.measures.get(name));
            let seeds = gain.and_then(|gain| gain.seeds);
            rows.push(vec![
                name.clone(),
                arm.name.clone(),
                format!("{:.4} [{low:.4}, {high:.4}]", of.mean),
                of.deviation.map_or_else(nothing, |deviation| format!("{deviation:.4}")),
                gain.map_or_else(nothing, |gain| around(gain.difference, gain.bootstrap.interval)),
                gain.map_or_else(nothing, |gain| probability(gain.bootstrap.p)),
                seeds.map_or_else(nothing, |seeds| around(seeds.difference, seeds.interval)),
                seeds.map_or_else(nothing, |seeds| probability(seeds.p)),
            ]);
        }
    }
    rows.sort_by(|a, b| a[0].cmp(&b[0]));
    let header = [
        "measure",
        "arm",
        "mean [95 %]",
        "sd of seeds",
        "difference [95 %]",
        "p",
        "over seeds [95 %]",
        "p over seeds",
    ];
    Sheet::new("Measures and held-out rows", &header, rows)
}

fn probability(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_string() } else { format!("{p:.3}") }
}

fn of_settings(title: &str, found: &Comparison, settings: &[Setting]) -> Sheet {
    let header = std::iter::once(String::new()).chain(found.arms.iter().map(|arm| arm.name.clone()));
    let row = |setting: &Setting| {
        std::iter::once(setting.key.clone()).chain(setting.values.iter().cloned()).collect::<Vec<String>>()
    };
    let mut rows: Vec<Vec<String>> = settings.iter().take(KEYS).map(row).collect();
    if settings.len() > KEYS {
        let mut more = vec![format!("and {} more", settings.len() - KEYS)];
        more.resize(found.arms.len() + 1, String::new());
        rows.push(more);
    }
    Sheet { title: title.to_string(), header: header.collect(), rows, notes: vec![] }
}
