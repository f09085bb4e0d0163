//! Which rows lack what a reward needs of them.

use super::{Holds, OfRow, RowWant};
use crate::data::Example;
use crate::nearest::{list, nearest};
use crate::rationale::number;
use crate::reward::{choice, column, plain};
use crate::section::Misfit;
use crate::text::instruction::Instruction;
use std::collections::BTreeSet;

impl RowWant {
    /// What the row has in its place, where it lacks it: `None` if it does not, `Some(None)` where it has nothing.
    fn lacks(&self, row: &Example) -> Option<Option<String>> {
        let concerns = |(path, text): &(String, String)| {
            column::text(row, path).is_ok_and(|found| plain(&found) == plain(text))
        };
        if !self.only.iter().all(concerns) {
            return None;
        }
        let (found, fits) = match &self.of {
            OfRow::Gold => (row.gold().map(str::to_owned), true),
            OfRow::GoldNumber => {
                let gold = row.gold();
                (gold.map(str::to_owned), gold.is_some_and(|gold| number::only(gold).is_some()))
            }
            OfRow::GoldChoice => {
                let gold = row.gold();
                (gold.map(str::to_owned), gold.is_some_and(|gold| choice(gold, &row.choices).is_some()))
            }
            OfRow::Choices => ((!row.choices.is_empty()).then(String::new), true),
            OfRow::Column(path, holds) => {
                let found = column::text(row, path).ok();
                let fits = found.as_ref().is_some_and(|found| holds.fits(found));
                (found, fits)
            }
        };
        (found.is_none() || !fits).then_some(found)
    }

    fn what(&self) -> String {
        match &self.of {
            OfRow::Gold => "a gold answer".into(),
            OfRow::GoldNumber => "a gold answer that is a number".into(),
            OfRow::GoldChoice => "a gold answer that is one of the choices".into(),
            OfRow::Choices => "choices".into(),
            OfRow::Column(path, Holds::Anything) => format!("a column `{path}`"),
            OfRow::Column(path, Holds::Text) => format!("a text in column `{path}`"),
            OfRow::Column(path, Holds::Number) => format!("a number in column `{path}`"),
            OfRow::Column(path, Holds::Count) => format!("a whole number above 0 in column `{path}`"),
            OfRow::Column(path, Holds::Instruction) => {
                format!("an instruction, such as {{\"kind\": \"upper\"}}, in column `{path}`")
            }
            OfRow::Column(path, Holds::OneOf(known)) => {
                format!("one of {} in column `{path}`", known.join(", "))
            }
        }
    }

    /// Which of `rows` lack it, as one misfit: their number and the first three.
    pub(super) fn misfit<'a>(&self, rows: impl Iterator<Item = &'a Example>) -> Option<Misfit> {
        let (mut total, mut count, mut shown, mut columns) = (0, 0, Vec::new(), BTreeSet::new());
        for row in rows {
            total += 1;
            let Some(found) = self.lacks(row) else { continue };
            count += 1;
            if shown.len() < SHOWN {
                columns.extend(row.fields.keys());
                let found = found.filter(|found| !found.is_empty());
                shown.push(found.map_or(row.id.clone(), |found| format!("{} (`{}`)", row.id, cut(&found))));
            }
        }
        if count == 0 {
            return None;
        }
        let have = if count == 1 { "has" } else { "have" };
        let more = if count > SHOWN { format!(" and {} more", count - SHOWN) } else { String::new() };
        let rows = shown.join(", ");
        let message = format!("needs {} and {count} of {total} rows {have} none: {rows}{more}", self.what());
        let usual = match &self.of {
            OfRow::Column(path, _) => {
                let column = path.split('.').next().unwrap_or(path);
                match nearest(column, columns.iter().map(|name| name.as_str())) {
                    Some(near) if near != column => {
                        format!(
                            "did you mean the column `{near}`? known: {}",
                            list(columns.iter().map(|name| name.as_str()))
                        )
                    }
                    _ => format!(
                        "add it to the data, or name the column that has it, as in data.columns.{column} = \"…\""
                    ),
                }
            }
            OfRow::Choices => {
                "add a `choices` column, or one called otherwise as data.columns.choices = \"…\"".into()
            }
            _ => "add an `answer` column, or one called otherwise as data.columns.answer = \"…\"".into(),
        };
        Some(Misfit::new(
            &self.key,
            message,
            if self.remedy.is_empty() { usual } else { self.remedy.clone() },
        ))
    }
}

const SHOWN: usize = 3;

fn cut(text: &str) -> String {
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(40).collect();
    if characters.next().is_some() { start + "…" } else { start }
}

impl Holds {
    fn fits(&self, found: &str) -> bool {
        match self {
            Holds::Anything => true,
            Holds::Text => !found.is_empty(),
            Holds::Number => number::only(found).is_some(),
            Holds::Count => found.parse::<usize>().is_ok_and(|count| count > 0),
            Holds::Instruction => serde_json::from_str(found).is_ok_and(|rule: Instruction| rule.known()),
            Holds::OneOf(known) => known.iter().any(|text| text == found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use crate::reward::tests::{group, rewards};
    use serde_json::{Value, json};

    /// Rows with these columns and gold answers, called row:0, row:1, ….
    fn rows(of: &[(Option<&str>, Value)]) -> Vec<Example> {
        let row = |(index, (gold, fields)): (usize, &(Option<&str>, Value))| {
            let mut example = (*group(*gold, &["x", "y"], &[]).example).clone();
            example.id = format!("row:{index}");
            example.fields = fields.as_object().unwrap().clone();
            example
        };
        of.iter().enumerate().map(row).collect()
    }

    /// What these rewards say of rows: key, message, remedy.
    fn said(recipe: &str, rows: &[Example]) -> Vec<(String, String, String)> {
        let misfits = rewards(&Registry::default(), recipe).unwrap().check_rows(rows.iter());
        misfits.into_iter().map(|misfit| (misfit.key, misfit.message, misfit.remedy)).collect()
    }

    #[test]
    fn every_row_is_looked_at_and_the_first_three_are_named() {
        let golds = [Some("1"), None, Some(" "), None, Some("2"), None];
        let all = rows(&golds.map(|gold| (gold, json!({}))));
        let (key, message, remedy) = said("[answer]", &all).remove(0);
        let expected =
            "[reward.answer] needs a gold answer and 4 of 6 rows have none: row:1, row:2, row:3 and 1 more";
        assert_eq!((key.as_str(), message.as_str()), ("answer", expected));
        assert!(remedy.contains("add an `answer` column"), "{remedy}");
        assert!(said("[answer]\n[leak]\n[format]", &all[..1]).is_empty());
    }

    #[test]
    fn each_reward_says_what_it_reads() {
        let all = rows(&[
            (Some("y"), json!({"hint": "a", "level": "easy", "size": 5, "hidden": "ab"})),
            (Some("lots"), json!({"hint": "", "level": "odd", "size": "few"})),
            (None, json!({"level": "hard"})),
        ]);
        let of = |recipe: &str| {
            let found = said(recipe, &all);
            assert_eq!(found.len(), 1, "{recipe}: {found:?}");
            (found[0].0.clone(), found[0].1.split_once("needs ").unwrap().1.to_owned())
        };
        for (recipe, key, message) in [
            (
                "[answer]\nmatch = 'numeric'",
                "answer.match",
                "a gold answer that is a number and 3 of 3 rows have none: row:0 (`y`), row:1 (`lots`), row:2",
            ),
            (
                "[answer]\nmatch = 'choice'",
                "answer.match",
                "a gold answer that is one of the choices and 2 of 3 rows have none: row:1 (`lots`), row:2",
            ),
            (
                "[copying]\ncolumn = 'hint'",
                "copying.column",
                "a column `hint` and 1 of 3 rows has none: row:2",
            ),
            ("[rouge]\ncolumn = 'hint'", "rouge.column", "a column `hint` and 1 of 3 rows has none: row:2"),
            (
                "[likelihood]\ncolumn = 'hint'",
                "likelihood.column",
                "a text in column `hint` and 2 of 3 rows have none: row:1, row:2",
            ),
            ("[likelihood]", "likelihood", "a gold answer and 1 of 3 rows has none: row:2"),
            ("[reader]\nmodel = '@a'", "reader", "a gold answer and 1 of 3 rows has none: row:2"),
            ("[length]\nshortest = {}", "length", "a gold answer and 1 of 3 rows has none: row:2"),
            (
                "[length.budget]\ncolumn = 'size'",
                "length.budget.column",
                "a whole number above 0 in column `size` and 2 of 3 rows have none: row:1 (`few`), row:2",
            ),
            (
                "[length.budget]\ncolumn = 'level'\ntokens = { easy = 4, hard = 9 }",
                "length.budget.column",
                "one of easy, hard in column `level` and 1 of 3 rows has none: row:1 (`odd`)",
            ),
            ("[planted]", "planted", "a text in column `hidden` and 2 of 3 rows have none: row:1, row:2"),
        ] {
            assert_eq!(of(recipe), (key.to_owned(), message.to_owned()));
        }
        // Where another reward says what is right, no gold answer is needed.
        let by = "[length]\nshortest = {}\nright_by = 'format'\n[format]";
        assert!(said(by, &all).is_empty());
    }

    #[test]
    fn choices_are_asked_for_by_their_name() {
        let mut all = rows(&[(Some("x"), json!({})), (Some("x"), json!({}))]);
        all[1].choices.clear();
        let (key, message, remedy) = said("[internal_consistency]\ncue = '####'", &all).remove(0);
        let expected = "[reward.internal_consistency] needs choices and 1 of 2 rows has none: row:1";
        assert_eq!((key.as_str(), message.as_str()), ("internal_consistency.over", expected));
        assert!(remedy.starts_with("add a `choices` column") && !remedy.contains("answer"), "{remedy}");
    }

    #[test]
    fn levels_want_the_fields_that_they_compare_with() {
        let levels = "[hierarchical]\nread = 'json'\n\
            [[hierarchical.level]]\nname = 'kind'\ntest = 'exact'\nfield = 'kind'\n\
            [[hierarchical.level]]\nname = 'at'\ntest = 'number'\nfield = 'at'\nwhen = { kind = 'click' }\n\
            [[hierarchical.difficulty]]\ncolumn = 'map'\nweights = { easy = 1.0 }";
        let all = rows(&[
            (Some(r#"{"kind": "click", "at": 3}"#), json!({"map": "easy"})),
            // No place is needed where nothing is clicked.
            (Some(r#"{"kind": "type"}"#), json!({"map": "easy"})),
            (Some(r#"{"kind": "click", "at": "there"}"#), json!({"map": "easy"})),
            (Some("{}"), json!({"map": "hard"})),
        ]);
        let found = said(levels, &all);
        let messages: Vec<&str> = found.iter().map(|(_, message, _)| message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "[reward.hierarchical] needs a column `answer.kind` and 1 of 4 rows has none: row:3",
                "[reward.hierarchical] needs a number in column `answer.at` and 1 of 4 rows has none: row:2 (`there`)",
                "[reward.hierarchical] needs one of easy in column `map` and 1 of 4 rows has none: row:3 (`hard`)",
            ]
        );
    }
}
