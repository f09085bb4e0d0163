//! A small part of SQL, run on tables in memory: what queries of the task `tables` come to, and whether a written query comes to the same.
//!
//! `select COLUMN | count from TABLE [join TABLE on COLUMN] [where COLUMN = | < | > VALUE [and …]] [order by COLUMN [desc]] [limit N]`, in
//! small or capital letters. Values are compared as numbers where both are, and as texts otherwise.

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
    /// Whether it is the same, in any order where neither query asks for one.
    pub fn same(&self, other: &Found) -> bool {
        if self.ordered || other.ordered {
            return self.values == other.values;
        }
        let sorted = |found: &Found| {
            let mut values = found.values.clone();
            values.sort();
            values
        };
        sorted(self) == sorted(other)
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
    let words: Vec<&str> = query.trim().trim_end_matches(';').split_whitespace().collect();
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
    tables.get(name).cloned().ok_or_else(|| format!("no table `{name}`; known: {}", known()))
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
            rows.push(row.iter().cloned().chain(without(found)).collect());
        }
    }
    Ok(Table { columns, rows })
}

fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
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
        ] {
            assert_eq!(of(query).as_deref(), Ok(expected), "{query}");
        }
        for (query, said) in [
            ("", "`select` was expected, not the end"),
            ("select name pets", "`from` was expected, not `pets`"),
            ("select name from cats", "no table `cats`; known: homes, pets"),
            ("select city from pets", "no column `city`; known: name, kind, age, home"),
            ("select name from pets where age ~ 3", "`~` is no comparison; known: =, <, >"),
            ("select name from pets where age =", "a value is missing at the end"),
            ("select name from pets limit two", "`two` is no number of rows"),
            ("select name from pets now", "`now` was not expected there"),
        ] {
            assert_eq!(of(query), Err(said.to_string()), "{query}");
        }
    }

    #[test]
    fn order_counts_where_it_is_asked_for() {
        let of = |query: &str| run(&tables(), query).unwrap();
        let (up, down) =
            (of("select name from pets order by age"), of("select name from pets order by age desc"));
        let any = of("select name from pets");
        assert!(!up.same(&down) && up.same(&up) && !any.same(&up));
        assert!(
            any.same(&Found {
                values: ["lu", "kit", "mia", "bo"].map(String::from).to_vec(),
                ordered: false
            })
        );
    }
}
