//! Questions that somebody types, as rows of the data would become them.

use super::row::{Problems, Row};
use super::{Data, Example, Hub, Split};
use crate::error::Result;
use serde_json::{Map, Value};
use std::sync::Arc;

impl Data {
    /// Questions that stand in no file, rendered as rows with nothing but the column `question` are.
    ///
    /// # Errors
    /// A template that needs more than that; few-shot rows that cannot be read.
    pub fn of_questions(&self, questions: &[String], hub: &Hub, seed: u64) -> Result<Vec<Arc<Example>>> {
        let row = |(at, question): (usize, &String)| {
            let fields = Map::from_iter([("question".to_string(), Value::String(question.clone()))]);
            Row { file: "prompt".into(), stem: "prompt".into(), line: at + 1, fields }
        };
        let rows: Vec<Row> = questions.iter().enumerate().map(row).collect();
        let mut problems = Problems::default();
        let shots = self.shot_rows(Split::Eval, hub, seed, &rows, &mut problems)?;
        let examples = self.examples(&rows, shots.as_deref().unwrap_or(&rows), seed, &mut problems);
        problems.into_result()?;
        Ok(examples)
    }
}
