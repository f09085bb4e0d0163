//! Accuracy by round of several runs of one recipe with `loop.star`, such as of three seeds: a picture with a panel a
//! stage (means, the least and the greatest as bars), and a Markdown table.
//!
//! `cargo run --release --example star_curves -- curves.svg checkpoints/seed-0 checkpoints/seed-1 …`

use rationale::log::JsonLines;
use rationale::log::plot::{Curve, Panel, accuracy};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Accuracies of all runs: by stage, by class, by round (none where the loop has no rounds).
type Found = BTreeMap<String, BTreeMap<String, BTreeMap<Option<usize>, Vec<f64>>>>;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let picture = arguments.next().ok_or_else(|| anyhow::anyhow!("name the picture, then the runs"))?;
    let mut found = Found::new();
    for run in arguments {
        for evaluation in JsonLines::read(&Path::new(&run).join("evaluations.jsonl"))? {
            read(&evaluation, &mut found);
        }
    }
    let panels: Vec<Panel> = found.iter().filter_map(|(stage, classes)| panel(stage, classes)).collect();
    std::fs::write(&picture, accuracy(&panels, "round").map_err(anyhow::Error::msg)?)?;
    print!("{}", table(&found));
    Ok(())
}

fn read(evaluation: &Value, found: &mut Found) {
    let stage = found.entry(evaluation["stage"].as_str().unwrap_or("?").to_string()).or_default();
    let round = evaluation["loop_round"].as_u64().map(|round| round as usize);
    let report = &evaluation["report"];
    let classes = report["classes"].as_object().into_iter().flatten();
    let classes = classes.filter_map(|(class, value)| Some((class.clone(), value[0].as_f64()?)));
    for (class, share) in classes.chain(report["accuracy"].as_f64().map(|all| ("all".to_string(), all))) {
        stage.entry(class).or_default().entry(round).or_default().push(share);
    }
}

fn panel(stage: &str, classes: &BTreeMap<String, BTreeMap<Option<usize>, Vec<f64>>>) -> Option<Panel> {
    let curve = |(class, rounds): (&String, &BTreeMap<Option<usize>, Vec<f64>>)| Curve {
        name: class.clone(),
        points: rounds.iter().filter_map(|(round, values)| Some(((*round)?, spread(values)))).collect(),
    };
    let curves: Vec<Curve> = classes.iter().map(curve).filter(|curve| !curve.points.is_empty()).collect();
    (!curves.is_empty()).then(|| Panel { title: stage.to_string(), curves })
}

/// Mean, least, greatest.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(f64::MIN, f64::max))
}

fn table(found: &Found) -> String {
    let mut out = String::new();
    for (stage, classes) in found {
        let names: Vec<&String> = classes.keys().collect();
        let header: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        out += &format!("\n| {stage} | {} |\n|{}\n", header.join(" | "), " --- |".repeat(names.len() + 1));
        let rounds: Vec<&Option<usize>> = classes["all"].keys().collect();
        for round in rounds {
            let cells = names.iter().map(|name| match classes[*name].get(round) {
                None => "–".to_string(),
                Some(values) => {
                    let (mean, low, high) = spread(values);
                    format!("{:.1} ({:.1}–{:.1})", 100.0 * mean, 100.0 * low, 100.0 * high)
                }
            });
            let round = round.map_or("end".to_string(), |round| format!("round {round}"));
            out += &format!("| {round} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
        }
    }
    out
}
