//! Texts of held-out rows with what was selected of them, for a run's report: the same rows of every evaluation, as many as a page can hold.

use super::picked::{self, Lines, spread};
use super::rollouts::Part;
use super::stages::Stage;
use crate::error::Result;
use crate::eval::{Evaluation, Extracted, RowFigures};
use serde::Serialize;
use std::path::Path;

/// Evaluations that are shown; of more, some.
const EVALUATIONS: usize = 12;
/// Bytes of text of all evaluations together.
const BYTES: u64 = 1 << 20;
/// Rows of an evaluation.
const MOST: usize = 200;

/// What is shown of the evaluations' rationales.
#[derive(Debug, Default, Serialize)]
pub(super) struct Rationales {
    all: Vec<Shown>,
    files: Vec<Part>,
}

/// A row.
#[derive(Debug, Serialize)]
struct Shown {
    /// The place of its stage.
    stage: usize,
    step: usize,
    row: String,
    #[serde(flatten)]
    extracted: Extracted,
}

/// Picks them.
pub(super) fn pick(folder: &Path, stages: &[Stage], evaluations: &[Evaluation]) -> Result<Rationales> {
    let mut found = Rationales::default();
    let kept = picked::evaluations(EVALUATIONS, stages, evaluations);
    let share = kept.len().max(1) as u64;
    for (stage, evaluation) in kept {
        let file = evaluation.rows();
        let Some(lines) = Lines::open(&folder.join(&file))? else { continue };
        let (mut room, mut rows) = (BYTES / share, Vec::new());
        for line in spread(lines.count()).take(MOST) {
            if lines.length(line) > room {
                break;
            }
            // Only some rows may have been looked at.
            let Some(RowFigures { row, extracted: Some(extracted), .. }) = lines.read(line)? else {
                continue;
            };
            room -= lines.length(line);
            rows.push((line, Shown { stage, step: evaluation.step, row, extracted }));
        }
        if rows.is_empty() {
            continue;
        }
        rows.sort_by_key(|(line, _)| *line);
        found.files.push(Part { file, lines: lines.count(), shown: rows.len() });
        found.all.extend(rows.into_iter().map(|(_, row)| row));
    }
    Ok(found)
}
