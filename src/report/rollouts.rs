//! Rollouts of a run for its report: whole groups, spread evenly over each stage, as many as a page can hold.

use super::picked::{Lines, spread};
use super::pieces::{Pieces, runs, shades, utf16};
use super::stages::Stage;
use super::{figures::short, trees};
use crate::data::{Example, tree};
use crate::error::{Error, Result};
use crate::reward::agrees;
use crate::rollout::{CutValue, Trace};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// What all stages together may have here.
const MOST: usize = 1500;
/// Bytes of text of all stages together.
const BYTES: usize = 2 << 20;
/// The rollouts of a group that are shown.
const OF_GROUP: usize = 64;
/// The trees of all stages together.
const TREES: usize = 12;

/// What is shown of a run's rollouts.
#[derive(Debug, Default, Serialize)]
pub(super) struct Rollouts {
    /// Each prompt once.
    prompts: Vec<String>,
    all: Vec<Shown>,
    trees: Vec<trees::Tree>,
    /// What of each file is not here.
    files: Vec<Part>,
}

/// How much of a file is shown.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    pub file: String,
    pub lines: usize,
    pub shown: usize,
}

/// A rollout.
#[derive(Debug, Default, Serialize)]
struct Shown {
    /// The place of its stage.
    stage: usize,
    step: usize,
    example: String,
    /// The place of its prompt.
    prompt: usize,
    text: String,
    answer: Option<String>,
    gold: Option<String>,
    right: Option<bool>,
    reward: f64,
    advantage: Option<f64>,
    scores: BTreeMap<String, f64>,
    /// Where each step begins and ends, in UTF-16 units.
    steps: Vec<(usize, usize)>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    step_scores: BTreeMap<String, Vec<f64>>,
    /// Where continuations were sampled from, how many of them came out right, and how many there were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cuts: Vec<(usize, usize, usize)>,
    stop: Value,
    tokens: usize,
    /// The units of each token.
    #[serde(skip_serializing_if = "Option::is_none")]
    lengths: Option<Vec<usize>>,
    /// A letter a token.
    shades: String,
    /// How many tokens each of the advantages has, where they differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    advantages: Vec<(usize, f64)>,
}

/// What says to which group a line belongs.
#[derive(Deserialize, PartialEq)]
struct Head {
    example: String,
    step: usize,
}

/// Picks them.
pub(super) fn pick(folder: &Path, stages: &[Stage], pieces: &Pieces) -> Result<Rollouts> {
    let mut found = Rollouts::default();
    let mut places = BTreeMap::new();
    let file = |stage: &Stage| format!("traces/{}.jsonl", stage.label);
    let mut files = Vec::new();
    for (place, stage) in stages.iter().enumerate() {
        if let Some(lines) = Lines::open(&folder.join(file(stage)))?.filter(|lines| lines.count() > 0) {
            files.push((place, lines));
        }
    }
    let share = files.len().max(1);
    let limits = (MOST.div_ceil(share), BYTES / share, TREES.div_ceil(share));
    for (place, lines) in files {
        let (groups, of_file) = groups(&lines, limits.0, limits.1)?;
        found.files.push(Part { file: file(&stages[place]), lines: lines.count(), shown: of_file });
        let with_tree: BTreeSet<usize> = spread(groups.len()).take(limits.2).collect();
        for (number, group) in groups.iter().enumerate() {
            if with_tree.contains(&number) {
                found.trees.extend(trees::Tree::of(place, group));
            }
            for trace in group.iter().take(OF_GROUP) {
                let prompt = trace.prompt.text();
                let next = places.len();
                let at = *places.entry(prompt).or_insert(next);
                found.all.push(shown(place, at, trace, pieces));
            }
        }
    }
    found.prompts = vec![String::new(); places.len()];
    places.into_iter().for_each(|(prompt, at)| found.prompts[at] = prompt);
    Ok(found)
}

/// Whole groups in the order of the file, and how many of its lines they are.
fn groups(lines: &Lines, most: usize, bytes: usize) -> Result<(Vec<Vec<Trace>>, usize)> {
    let mut picked: BTreeMap<usize, Vec<Trace>> = BTreeMap::new();
    let mut taken = vec![false; lines.count()];
    let (mut rollouts, mut room, mut tried, mut shown) = (0, bytes, 0, 0);
    for anchor in spread(lines.count()) {
        if rollouts >= most || tried >= 4 * most {
            break;
        }
        tried += 1;
        if taken[anchor] {
            continue;
        }
        let range = together(lines, anchor, &taken)?;
        let mut group = Vec::new();
        for line in range.clone() {
            let Some(value) = lines.read::<Map<String, Value>>(line)? else { continue };
            let rows = tree::rows(value).unwrap_or_default();
            let trace = |row| serde_json::from_value::<Trace>(Value::Object(row)).ok();
            group.extend(rows.into_iter().filter_map(trace));
        }
        taken[range.clone()].fill(true);
        let size: usize = group.iter().take(OF_GROUP).map(size).sum();
        // Of what is long there is one at least.
        if size > room && !picked.is_empty() {
            continue;
        }
        room = room.saturating_sub(size);
        rollouts += group.len().min(OF_GROUP);
        shown += range.len();
        picked.insert(range.start, group);
    }
    Ok((picked.into_values().collect(), shown))
}

fn size(trace: &Trace) -> usize {
    200 + trace.completion.len() + 3 * trace.completion_ids.len() + trace.prompt.question().len() / 4
}

/// The lines around one that are of its group and not taken yet.
fn together(lines: &Lines, anchor: usize, taken: &[bool]) -> Result<Range<usize>> {
    let own: Option<Head> = lines.read(anchor)?;
    let mut range = anchor..anchor + 1;
    if own.is_none() {
        return Ok(range);
    }
    let alike = |line: usize| Ok::<_, Error>(!taken[line] && lines.read::<Head>(line)? == own);
    while range.start > 0 && range.len() < OF_GROUP && alike(range.start - 1)? {
        range.start -= 1;
    }
    while range.end < lines.count() && range.len() < OF_GROUP && alike(range.end)? {
        range.end += 1;
    }
    Ok(range)
}

fn shown(stage: usize, prompt: usize, trace: &Trace, pieces: &Pieces) -> Shown {
    let example = Example {
        answer: trace.answer.clone(),
        choices: trace.choices.clone(),
        ..Example::text(trace.example.as_str(), "")
    };
    let cut = |cut: &CutValue| {
        let before = trace.completion.get(..cut.bytes)?;
        Some((utf16(before), cut.good, cut.continuations))
    };
    let rounded = |values: &[f64]| values.iter().map(|value| short(*value)).collect();
    Shown {
        stage,
        step: trace.step,
        example: trace.example.clone(),
        prompt,
        text: trace.completion.clone(),
        answer: trace.predicted.clone(),
        gold: trace.answer.clone(),
        right: agrees(&example, trace.predicted.as_deref()),
        reward: short(trace.reward),
        advantage: trace.advantage.map(short),
        scores: trace.scores.iter().map(|(name, score)| (name.clone(), short(*score))).collect(),
        steps: steps(trace),
        step_scores: trace.step_scores.iter().map(|(name, all)| (name.clone(), rounded(all))).collect(),
        cuts: trace.cuts.iter().filter_map(cut).collect(),
        stop: serde_json::to_value(&trace.stop).unwrap_or_default(),
        tokens: trace.completion_ids.len(),
        lengths: pieces.lengths(&trace.completion_ids, &trace.completion),
        shades: shades(&trace.by_token(&trace.logprobs)),
        advantages: runs(&trace.by_token(&trace.advantages)),
    }
}

/// Where the steps stand in the completion, one after the other.
fn steps(trace: &Trace) -> Vec<(usize, usize)> {
    let text = &trace.completion;
    let (mut from, mut units) = (0, 0);
    let mut found = Vec::new();
    for step in &trace.steps {
        let Some(at) = text[from..].find(step.as_str()) else { break };
        let start = units + utf16(&text[from..from + at]);
        let end = start + utf16(step);
        found.push((start, end));
        (from, units) = (from + at + step.len(), end);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trace(example: usize, sample: usize, text: &str) -> Value {
        json!({
            "id": format!("q{example}/1-{sample}"), "example": format!("q{example}"), "step": 1, "prompt": "q?",
            "completion": text, "answer": "7", "steps": [], "predicted": "7.0", "stop": "length", "scores": {},
            "reward": 0.123456789, "advantage": null, "prompt_ids": [], "completion_ids": [1], "logprobs": [-0.5]
        })
    }

    /// Of groups that are longer than what is shown at once no rollout comes twice, and what is long leaves room for one.
    #[test]
    fn groups_are_whole_and_come_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("traces.jsonl");
        let lines: String =
            (0..400).map(|at| format!("{}\n", trace(at / 100, at % 100, &at.to_string()))).collect();
        std::fs::write(&path, lines).unwrap();
        let lines = Lines::open(&path).unwrap().unwrap();
        let (found, shown) = groups(&lines, 1000, 1 << 20).unwrap();
        let mut texts: Vec<usize> =
            found.concat().iter().map(|one| one.completion.parse().unwrap()).collect();
        assert_eq!(shown, 400);
        assert!(
            texts.is_sorted() && {
                texts.dedup();
                texts.len() == 400
            }
        );
        let (found, _) = groups(&lines, 1000, 10).unwrap();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_rollout_is_shown_with_its_verdict() {
        let mut one: Trace = serde_json::from_value(trace(1, 0, "é\nb\nb")).unwrap();
        one.steps = vec!["é".into(), "b".into(), "b".into()];
        let found = shown(0, 3, &one, &Pieces::of(Path::new("nowhere")));
        assert_eq!((found.right, found.prompt, found.reward), (Some(true), 3, 0.12346));
        assert_eq!(found.steps, [(0, 1), (2, 3), (4, 5)]);
        assert_eq!((found.lengths, found.shades.as_str()), (None, "E"));
    }
}
