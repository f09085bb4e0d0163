//! Held-out completions of a run for its report: the same questions of every evaluation, as many as a page can hold.

use super::picked::{self, Lines, spread};
use super::rollouts::Part;
use super::stages::Stage;
use crate::error::Result;
use crate::eval::{Evaluation, Question, Verdict};
use crate::log::JsonLines;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// Evaluations that are shown; of more, some.
const EVALUATIONS: usize = 24;
/// What all evaluations together may have here.
const MOST: usize = 1500;
/// Bytes of text of all evaluations together.
const BYTES: usize = 1 << 20;

/// What is shown of the evaluations' completions.
#[derive(Debug, Default, Serialize)]
pub(super) struct HeldOut {
    /// Each prompt once.
    prompts: Vec<String>,
    all: Vec<Shown>,
    files: Vec<Part>,
}

/// A completion.
#[derive(Debug, Serialize)]
struct Shown {
    /// The place of its stage.
    stage: usize,
    step: usize,
    #[serde(flatten)]
    verdict: Verdict,
    /// The place of its prompt, where that is known.
    at: Option<usize>,
}

#[derive(Deserialize)]
struct Head {
    question: String,
}

/// Picks them.
pub(super) fn pick(folder: &Path, stages: &[Stage], evaluations: &[Evaluation]) -> Result<HeldOut> {
    let mut found = HeldOut::default();
    let kept = picked::evaluations(EVALUATIONS, stages, evaluations);
    let share = kept.len().max(1);
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (stage, evaluation) in kept {
        let file = evaluation.verdicts();
        let Some(lines) = Lines::open(&folder.join(&file))? else { continue };
        let asked: Vec<Question> = JsonLines::read_as(&folder.join(evaluation.questions()))?;
        let texts: BTreeMap<&str, &str> =
            asked.iter().map(|one| (one.question.as_str(), one.text.as_str())).collect();
        let (verdicts, shown) = verdicts(&lines, MOST.div_ceil(share), BYTES / share)?;
        found.files.push(Part { file, lines: lines.count(), shown });
        for verdict in verdicts {
            let text = texts.get(verdict.question.as_str());
            let next = places.len();
            let at = text.map(|text| *places.entry((*text).to_string()).or_insert(next));
            found.all.push(Shown { stage, step: evaluation.step, verdict, at });
        }
    }
    found.prompts = vec![String::new(); places.len()];
    places.into_iter().for_each(|(prompt, at)| found.prompts[at] = prompt);
    Ok(found)
}

/// The verdicts of whole questions in the order of the file, and how many of its lines they are.
fn verdicts(lines: &Lines, most: usize, bytes: usize) -> Result<(Vec<Verdict>, usize)> {
    let questions = questions(lines)?;
    let mut picked: BTreeMap<usize, Vec<Verdict>> = BTreeMap::new();
    let (mut room, mut shown) = (bytes as u64, 0);
    for place in spread(questions.len()) {
        let of_question = questions[place].clone();
        let size: u64 = of_question.clone().map(|line| lines.length(line)).sum();
        if shown > 0 && (shown + of_question.len() > most || size > room) {
            break;
        }
        room = room.saturating_sub(size);
        shown += of_question.len();
        let mut found = Vec::new();
        for line in of_question {
            found.extend(lines.read::<Verdict>(line)?);
        }
        picked.insert(place, found);
    }
    Ok((picked.into_values().flatten().collect(), shown))
}

/// The lines of each question.
fn questions(lines: &Lines) -> Result<Vec<Range<usize>>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut last = None;
    for line in 0..lines.count() {
        let question = lines.read::<Head>(line)?.map(|head| head.question);
        match found.last_mut().filter(|_| question == last) {
            Some(range) => range.end = line + 1,
            None => found.push(line..line + 1),
        }
        last = question;
    }
    Ok(found)
}
