//! `[data.task.doubling]`: questions that the program makes itself, how much twice a number is.

use rationale::Result;
use rationale::data::Split;
use rationale::data::row::Row;
use rationale::data::tasks::OwnTask;
use rationale::schemars::{self, JsonSchema};
use rationale::section::{Misfit, broken};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Numbers to be doubled; every fifth is held out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Doubling {
    /// The largest number.
    pub most: u64,
}

impl Default for Doubling {
    fn default() -> Self {
        Self { most: 20 }
    }
}

impl OwnTask for Doubling {
    fn check(&self) -> Vec<Misfit> {
        broken(&[(self.most >= 5, "most", "it must be at least 5, so that a number is held out")])
    }

    fn rows(&self, split: Split, _seed: u64) -> Result<Vec<Row>> {
        let wanted = |n: &u64| n.is_multiple_of(5) == (split == Split::Eval);
        let row = |(index, n): (usize, u64)| {
            let fields = json!({
                "id": format!("2*{n}"),
                "question": format!("{n}+{n}"),
                "rationale": format!("{n}+{n}={}", 2 * n),
                "answer": (2 * n).to_string(),
            });
            Row::made("doubling", index + 1, fields.as_object().cloned().unwrap_or_default())
        };
        Ok((1..=self.most).filter(wanted).enumerate().map(row).collect())
    }

    fn alphabet(&self) -> &'static str {
        "0123456789+=# \n"
    }
}
