//! Whether a written query comes to what the row's own one does, by running both (execution accuracy).

use super::{Holds, Part, Reward, Wanting, Wants, column};
use crate::rollout::{Group, Rollout, Score};
use crate::text::sql::{Tables, run};
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.execute]`: 1 where the query that the completion ends in comes to the same as the row's own (in its order, where that asks for one),
/// else 0; one that cannot be run comes to nothing. Queries are the small part of SQL that `[data.task.tables]` has, run inside the program on the row's tables: `{"pets":
/// {"columns": ["name", "age"], "rows": [["bo", "9"]]}}`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Execute {
    /// The column with the tables.
    pub tables: String,
    /// The column with the row's own query.
    pub sql: String,
    /// The part of the completion that is the query: `text`, `rationale` or `answer`.
    pub of: Part,
}

impl Default for Execute {
    fn default() -> Self {
        Self { tables: "tables".into(), sql: "sql".into(), of: Part::Answer }
    }
}

impl Execute {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        let wants = Wants::default().column("tables", &self.tables, Holds::Anything);
        let wants = wants.column("sql", &self.sql, Holds::Text);
        let reward = move |group: &Group| -> anyhow::Result<Vec<Score>> {
            let example = &group.example;
            let tables = example.fields.get(&self.tables).cloned().unwrap_or_default();
            let tables: Tables = serde_json::from_value(tables)
                .with_context(|| format!("its column `{}` holds no tables", self.tables))?;
            let own = column::text(example, &self.sql)?;
            let own = run(&tables, &own)
                .map_err(|wrong| anyhow::anyhow!("its own query cannot be run: {wrong}"))?;
            let score = |rollout: &Rollout| {
                let found = run(&tables, self.of.of(rollout));
                Score::from(f64::from(u8::from(found.is_ok_and(|found| found.agrees(&own)))))
            };
            Ok(group.rollouts.iter().map(score).collect())
        };
        Ok(Wanting { wants, idle: vec![], reward })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};
    use serde_json::json;

    #[test]
    fn queries_are_judged_by_what_they_come_to() {
        let asked = |sql: &str| {
            let texts = [
                "so\n#### select name from pets where age > 5",
                "#### select name from pets where age = 9",
                "#### select age from pets where age > 5",
                "#### drop pets",
                "no query",
            ];
            let mut asked = group(None, &[], &texts);
            let example = std::sync::Arc::get_mut(&mut asked.example).unwrap();
            let tables = json!({"pets": {"columns": ["name", "age"], "rows": [["bo", "9"], ["kit", "3"]]}});
            example.fields.insert("tables".into(), tables);
            example.fields.insert("sql".into(), json!(sql));
            asked
        };
        let found = scores("[execute]", asked("select name from pets order by age desc limit 1"));
        assert_eq!(found, Ok(vec![1.0, 1.0, 0.0, 0.0, 0.0]));
        let wrong = scores("[execute]", asked("select x from pets")).unwrap_err();
        assert!(wrong.contains("its own query cannot be run: no column `x`"), "{wrong}");
    }
}
