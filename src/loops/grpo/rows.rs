//! What `[loop.grpo]` reads of the training rows: the columns that its keys name, and the values that these are to have.

use super::Grpo;
use crate::data::Example;
use crate::nearest::{list, nearest};
use crate::reward::{Holds, OfRow, Wants, column};
use crate::section::{Misfit, under};
use crate::select::curriculum::Curriculum;
use std::collections::BTreeSet;

/// Values of a column that a message names.
const SHOWN: usize = 20;

impl Grpo {
    /// What some of `rows` lack, or, where these are the `whole`, all of them.
    pub(super) fn lacking(&self, rows: &[&Example], whole: bool) -> Vec<Misfit> {
        let wants =
            self.advantage.compare_by.iter().fold(Wants::default(), |wants, by| {
                wants.column("advantage.compare_by", by, Holds::Anything)
            });
        let mut found = wants.check_rows(rows.iter().copied());
        let curriculum = self.curriculum.iter().flat_map(|curriculum| of_curriculum(curriculum, rows, whole));
        found.extend(under("curriculum", curriculum));
        found
    }
}

fn of_curriculum(curriculum: &Curriculum, rows: &[&Example], whole: bool) -> Vec<Misfit> {
    let Some(column) = &curriculum.column else { return golds(curriculum, rows) };
    let mut found =
        Wants::default().column("column", column, Holds::Anything).check_rows(rows.iter().copied());
    let shares = curriculum.stages.iter().flat_map(|stage| &stage.shares);
    let pools: BTreeSet<&str> =
        shares.filter(|(_, share)| **share > 0.0).map(|(pool, _)| pool.as_str()).collect();
    let (mut asked, mut values) = (Vec::new(), BTreeSet::new());
    for &row in rows {
        let Ok(value) = column::text(row, column) else { continue };
        if pools.contains(value.as_str()) {
            asked.push(row);
        }
        values.insert(value);
    }
    if whole && !values.is_empty() {
        let unknown = pools.into_iter().filter(|pool| !values.contains(*pool));
        found.extend(unknown.map(|pool| no_pool(pool, column, &values, rows.len())));
    }
    found.extend(golds(curriculum, &asked));
    found
}

/// Whether a question was answered rightly has to be told where its pass rate counts.
fn golds(curriculum: &Curriculum, asked: &[&Example]) -> Vec<Misfit> {
    match curriculum.pass_rate {
        Some(_) => Wants::default().row("pass_rate", OfRow::Gold, "").check_rows(asked.iter().copied()),
        None => vec![],
    }
}

fn no_pool(pool: &str, column: &str, values: &BTreeSet<String>, rows: usize) -> Misfit {
    let near = nearest(pool, values.iter().map(String::as_str));
    let near = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    let more = if values.len() > SHOWN { ", …" } else { "" };
    let known = list(values.iter().take(SHOWN).map(String::as_str));
    Misfit::new(
        "stages",
        format!("gives a share to {pool:?}, which none of {rows} rows has in its column `{column}`"),
        format!("{near}known: {known}{more}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Four rows, row:0 to row:3: the last has no level, the first no answer.
    fn rows() -> Vec<Example> {
        let row = |(index, level): (usize, &str)| {
            let mut row = Example::text(format!("row:{index}"), "q");
            row.answer = (index > 0).then(|| "1".to_owned());
            row.fields.insert("n".into(), json!(index));
            row.fields.extend((!level.is_empty()).then(|| ("level".to_owned(), json!(level))));
            row
        };
        ["easy", "hard", "hard", ""].into_iter().enumerate().map(row).collect()
    }

    /// What these keys say of the first `count` rows: key, message, remedy.
    fn said(keys: &str, count: usize, whole: bool) -> Vec<(String, String, String)> {
        let grpo: Grpo = toml::from_str(keys).unwrap();
        let rows = rows();
        let rows: Vec<&Example> = rows.iter().take(count).collect();
        let found = grpo.lacking(&rows, whole).into_iter();
        found.map(|misfit| (misfit.key, misfit.message, misfit.remedy)).collect()
    }

    #[test]
    fn columns_that_rows_lack_are_named() {
        let (key, message, remedy) = said("advantage.compare_by = 'levl'", 4, true).remove(0);
        let expected = "needs a column `levl` and 4 of 4 rows have none: row:0, row:1, row:2 and 1 more";
        assert_eq!((key.as_str(), message.as_str()), ("advantage.compare_by", expected));
        assert!(remedy.contains("did you mean the column `level`?"), "{remedy}");
        assert!(said("advantage.compare_by = 'level'", 3, true).is_empty());
        let pools =
            "curriculum.column = 'level'\ncurriculum.stages = [{ from = 1, shares = { hard = 1.0 } }]";
        let (key, message, _) = said(pools, 4, true).remove(0);
        let expected = "needs a column `level` and 1 of 4 rows has none: row:3";
        assert_eq!((key.as_str(), message.as_str()), ("curriculum.column", expected));
        assert!(said(pools, 3, true).is_empty());
    }

    #[test]
    fn a_pool_that_no_row_is_in_is_named() {
        let pools = "curriculum.column = 'level'\n\
            curriculum.stages = [{ from = 1, shares = { hrad = 1.0, easy = 1.0, none = 0.0 } }]";
        let found = said(pools, 3, true);
        let message = "gives a share to \"hrad\", which none of 3 rows has in its column `level`";
        let expected =
            ["curriculum.stages", message, "did you mean `hard`? known: easy, hard"].map(str::to_owned);
        assert_eq!(found, [expected].map(|[key, message, remedy]| (key, message, remedy)));
        // Among the first of many rows it need not be.
        assert!(said(pools, 3, false).is_empty());
    }

    #[test]
    fn a_pass_rate_needs_gold_answers_of_what_is_asked() {
        let window = "curriculum.pass_rate = [0.1, 0.9]";
        let (key, message, _) = said(window, 3, true).remove(0);
        let expected = "needs a gold answer and 1 of 3 rows has none: row:0";
        assert_eq!((key.as_str(), message.as_str()), ("curriculum.pass_rate", expected));
        let hard =
            "\ncurriculum.column = 'level'\ncurriculum.stages = [{ from = 1, shares = { hard = 1.0 } }]";
        assert!(said(&format!("{window}{hard}"), 3, true).is_empty());
    }
}
