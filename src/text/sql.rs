//! A small part of SQL, run on tables in memory: what queries of the task `tables` come to, and whether a written query comes to the same.
//!
//! `select COLUMN | count from TABLE [join TABLE on COLUMN] [where COLUMN = | < | > VALUE [and …]] [order by COLUMN [desc]] [limit N]`, in
//! small or capital letters. Numbers are compared as numbers and stand before texts.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A table: the columns' names, and rows of as many cells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// Rows that a join may come to: a written query joins what it likes.
const MOST_JOINED: usize = 100_000;

/// Tables by name.
pub type Tables = BTreeMap<String, Table>;

/// What a query comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The cells of its column, or the count alone.
    pub values: Vec<String>,
    /// Whether the query says in which order they stand.
    pub ordered: bool,
}

impl Found {
    /// Whether it is what `gold` is, in any order unless gold's query asks for one.
    pub fn agrees(&self, gold: &Found) -> bool {
        if gold.ordered {
            return self.values == gold.values;
        }
        let sorted = |found: &Found| {
            let mut values = found.values.clone();
            values.sort();
            values
        };
        sorted(self) == sorted(gold)
    }
}

/// Runs a query, or says what is wrong with it.
///
/// ```
/// use rationale::text::sql::{Table, Tables, run};
/// let cells = |row: &[&str]| row.iter().map(|cell| cell.to_string()).collect::<Vec<_>>();
/// let pets = Table { columns: cells(&["name", "age"]), rows: vec![cells(&["bo", "9"]), cells(&["mia", "12"])] };
/// let tables = Tables::from([("pets".to_string(), pets)]);
/// assert_eq!(run(&tables, "select name from pets where age > 9").unwrap().values, ["mia"]);
/// assert_eq!(run(&tables, "select count from pets").unwrap().values, ["2"]);
/// assert!(run(&tables, "select size from pets").unwrap_err().contains("no column `size`"));
/// ```
pub fn run(tables: &Tables, query: &str) -> Result<Found, String> {
    let words = words(query.trim().trim_end_matches(';'));
    let mut reader = Reader { words: &words, at: 0 };
    reader.keyword("select")?;
    let selected = reader.word("a column or `count`")?;
    reader.keyword("from")?;
    let mut table = named(tables, reader.word("a table")?)?;
    if reader.takes("join") {
        let other = named(tables, reader.word("a table")?)?;
        reader.keyword("on")?;
        table = joined(&table, &other, reader.word("a column")?)?;
    }
    if reader.takes("where") {
        loop {
            let column = place(&table, reader.word("a column")?)?;
            let operator = reader.word("=, < or >")?;
            let wanted = match operator {
                "=" => Ordering::Equal,
                "<" => Ordering::Less,
                ">" => Ordering::Greater,
                other => return Err(format!("`{other}` is no comparison; known: =, <, >")),
            };
            let value = reader.word("a value")?.trim_matches(['\'', '"']);
            table.rows.retain(|row| compare(&row[column], value) == wanted);
            if !reader.takes("and") {
                break;
            }
        }
    }
    let ordered = reader.takes("order");
    if ordered {
        reader.keyword("by")?;
        let column = place(&table, reader.word("a column")?)?;
        table.rows.sort_by(|a, b| compare(&a[column], &b[column]));
        if reader.takes("desc") {
            table.rows.reverse();
        } else {
            reader.takes("asc");
        }
    }
    if reader.takes("limit") {
        let word = reader.word("a number")?;
        table.rows.truncate(word.parse().map_err(|_| format!("`{word}` is no number of rows"))?);
    }
    if let Some(rest) = words.get(reader.at) {
        return Err(format!("`{rest}` was not expected there"));
    }
    if ["count", "count(*)"].contains(&selected.to_ascii_lowercase().as_str()) {
        return Ok(Found { values: vec![table.rows.len().to_string()], ordered: false });
    }
    let column = place(&table, selected)?;
    let values = table.rows.into_iter().map(|mut row| row.swap_remove(column)).collect();
    Ok(Found { values, ordered })
}

/// The words of a query: quoted values are one, comparisons stand alone.
fn words(query: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |at| at + 2),
            '=' | '<' | '>' => 1,
            _ => rest.find(|c: char| c.is_whitespace() || "=<>".contains(c)).unwrap_or(rest.len()),
        };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
}

impl<'a> Reader<'a> {
    fn word(&mut self, what: &str) -> Result<&'a str, String> {
        let word = *self.words.get(self.at).ok_or_else(|| format!("{what} is missing at the end"))?;
        self.at += 1;
        Ok(word)
    }

    fn takes(&mut self, keyword: &str) -> bool {
        let there = self.words.get(self.at).is_some_and(|word| word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(there);
        there
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), String> {
        if self.takes(keyword) {
            return Ok(());
        }
        let found = self.words.get(self.at).map_or("the end".to_string(), |word| format!("`{word}`"));
        Err(format!("`{keyword}` was expected, not {found}"))
    }
}

fn named(tables: &Tables, name: &str) -> Result<Table, String> {
    let known = || tables.keys().cloned().collect::<Vec<_>>().join(", ");
    let table = tables.get(name).ok_or_else(|| format!("no table `{name}`; known: {}", known()))?;
    let columns = table.columns.len();
    match table.rows.iter().find(|row| row.len() != columns) {
        Some(row) => Err(format!("table `{name}` has a row of {} cells for {columns} columns", row.len())),
        None => Ok(table.clone()),
    }
}

fn place(table: &Table, name: &str) -> Result<usize, String> {
    let at = table.columns.iter().position(|column| column == name);
    at.ok_or_else(|| format!("no column `{name}`; known: {}", table.columns.join(", ")))
}

/// The rows of both that have the same in `column`, which stands there once.
fn joined(one: &Table, other: &Table, column: &str) -> Result<Table, String> {
    let (own, theirs) = (place(one, column)?, place(other, column)?);
    let without = |row: &Vec<String>| -> Vec<String> {
        row.iter().enumerate().filter(|(at, _)| *at != theirs).map(|(_, cell)| cell.clone()).collect()
    };
    let columns = one.columns.iter().cloned().chain(without(&other.columns)).collect();
    let mut rows = Vec::new();
    for row in &one.rows {
        for found in other.rows.iter().filter(|found| found[theirs] == row[own]) {
            if rows.len() == MOST_JOINED {
                return Err(format!("the join comes to more than {MOST_JOINED} rows"));
            }
            rows.push(row.iter().cloned().chain(without(found)).collect());
        }
    }
    Ok(Table { columns, rows })
}

/// An order of all values: as texts, 9 < 10 and 10 < 1a < 9 would go in a circle.
fn compare(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Tables {
        let table = |columns: &str, rows: &[&str]| {
            let cells = |row: &str| row.split(' ').map(String::from).collect::<Vec<_>>();
            Table { columns: cells(columns), rows: rows.iter().map(|row| cells(row)).collect() }
        };
        let pets = table("name kind age home", &["bo cat 9 a", "mia dog 12 b", "kit cat 3 b", "lu hen 7 c"]);
        let homes = table("home city", &["a york", "b bath", "c york"]);
        Tables::from([("pets".into(), pets), ("homes".into(), homes)])
    }

    #[test]
    fn queries_come_to_what_they_say() {
        let of = |query: &str| run(&tables(), query).map(|found| found.values.join(" "));
        for (query, expected) in [
            ("select name from pets", "bo mia kit lu"),
            ("SELECT name FROM pets WHERE kind = 'cat' AND age < 9;", "kit"),
            ("select name from pets order by age", "kit lu bo mia"),
            ("select name from pets order by age desc limit 2", "mia bo"),
            ("select count from pets where age > 7", "2"),
            ("select name from pets join homes on home where city = york", "bo lu"),
            ("select city from pets join homes on home where name = kit", "bath"),
            ("select count(*) from pets join homes on home where city = york and kind = cat", "1"),
            ("select name from pets where age > 99", ""),
            ("select name from pets where age>7 and kind='dog'", "mia"),
            ("select name from pets join homes on home where city = 'new york'", ""),
        ] {
            assert_eq!(of(query).as_deref(), Ok(expected), "{query}");
        }
        for (query, said) in [
            ("", "`select` was expected, not the end"),
            ("select name pets", "`from` was expected, not `pets`"),
            ("select name from cats", "no table `cats`; known: homes, pets"),
            ("select city from pets", "no column `city`; known: name, kind, age, home"),
            ("select name from pets where age ~ 3", "`~` is no comparison; known: =, <, >"),
            ("select name from pets where age <= 3", "`3` was not expected there"),
            ("select name from pets where age =", "a value is missing at the end"),
            ("select name from pets limit two", "`two` is no number of rows"),
            ("select name from pets now", "`now` was not expected there"),
        ] {
            assert_eq!(of(query), Err(said.to_string()), "{query}");
        }
    }

    /// Cells of a number, of a text, and of a text that begins as a number does.
    #[test]
    fn what_is_written_and_what_rows_bring_cannot_break_it() {
        let one = |cells: &[&str]| Table {
            columns: vec!["x".into()],
            rows: cells.iter().map(|cell| vec![cell.to_string()]).collect(),
        };
        let tables = Tables::from([
            ("mixed".into(), one(&["nan", "9", "1a", "10"])),
            ("alike".into(), one(&["1"; 400])),
            ("short".into(), Table { columns: vec!["x".into(), "y".into()], ..one(&["1"]) }),
        ]);
        let of = |query: &str| run(&tables, query).map(|found| found.values);
        assert_eq!(of("select x from mixed order by x").unwrap(), ["9", "10", "1a", "nan"]);
        // 400 · 400 = 160 000 pairs.
        let joined = of("select count from alike join alike on x").unwrap_err();
        assert_eq!(joined, "the join comes to more than 100000 rows");
        assert_eq!(
            of("select y from short").unwrap_err(),
            "table `short` has a row of 1 cells for 2 columns"
        );
    }

    #[test]
    fn order_counts_where_gold_asks_for_it() {
        let of = |query: &str| run(&tables(), query).unwrap();
        let (up, down) =
            (of("select name from pets order by age"), of("select name from pets order by age desc"));
        let any = of("select name from pets");
        assert!(!up.agrees(&down) && up.agrees(&up) && !any.agrees(&up));
        // An order that nobody asked for is no fault.
        assert!(up.agrees(&any) && down.agrees(&any));
    }
}
