//! The resolved recipe: every stage with every default written out, which reads back to the same run.

use super::stages::{StageTable, at};
use super::unset::commented;
use super::{Recipe, Registry};
use crate::{Error, Result};
use serde::Serialize;
use toml::{Table, Value};

impl Recipe {
    /// The recipe as TOML with every key, from the stages' typed sections in the order of [`stages`](Recipe::stages): what is off is a
    /// comment, as far as `registry` knows it. Reading the text back gives the same stages. It opens with comments that say where it
    /// comes from.
    pub fn resolved_with_all_keys<T: Serialize>(
        &self,
        sections: &[T],
        registry: &Registry,
    ) -> Result<String> {
        Ok(commented(&self.resolved_toml(sections)?, registry.sections_schema(), self.rules.run_wide))
    }

    /// The same without comments on what is off.
    pub fn resolved_toml<T: Serialize>(&self, sections: &[T]) -> Result<String> {
        let mut tables = sections.iter().map(table_of).collect::<Result<Vec<_>>>()?;
        let mut body = if self.listed { self.several(&mut tables) } else { tables.swap_remove(0) };
        self.sweep.write(&mut body);
        let text = toml::to_string(&body).map_err(unwritable)?;
        Ok(format!("{}\n{text}", self.provenance()))
    }

    fn provenance(&self) -> String {
        let mut lines = format!(
            "# {} with every default, resolved by {} {}.\n",
            one_line(self.file()),
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION")
        );
        let sets = if self.sweeps() { &self.typed } else { &self.overrides };
        for over in sets {
            let word = if over.written.is_some() { "sweep" } else { "--set" };
            lines += &format!("# {word} {}\n", one_line(&over.typed()));
        }
        lines
    }

    fn several(&self, tables: &mut [Table]) -> Table {
        let mut body = Table::new();
        for path in self.rules.run_wide {
            let values: Vec<_> = tables.iter_mut().map(|table| take(table, path)).collect();
            if let Some(value) = values.into_iter().flatten().next() {
                put(&mut body, path, value);
            }
        }
        for (section, key, value) in self.stages().iter().flat_map(|stage| self.first_values(stage)) {
            put(&mut body, &format!("{section}.{key}"), value);
        }
        let named = self.stages().iter().zip(tables).map(|(stage, table)| {
            let mut named = Table::from_iter([("name".to_owned(), Value::String(stage.name.clone()))]);
            named.extend(std::mem::take(table));
            Value::Table(named)
        });
        body.insert("stage".to_owned(), Value::Array(named.collect()));
        body
    }

    /// The top-level values that round 1 of a stage starts from.
    fn first_values(&self, stage: &StageTable) -> Vec<(String, String, Value)> {
        self.later_references(stage).iter().filter_map(|path| self.first_value(path)).collect()
    }
}

fn table_of<T: Serialize>(sections: &T) -> Result<Table> {
    Table::try_from(sections).map_err(unwritable)
}

fn unwritable(error: toml::ser::Error) -> Error {
    Error::Recipe(format!("cannot be written as TOML: {error}; a number above 2^63 - 1 does that"))
}

/// As a comment may hold it, which ends with the line and has no control characters.
fn one_line(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' => " ".to_string(),
        c if c.is_control() && c != '\t' => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

fn take(table: &mut Table, path: &str) -> Option<Value> {
    let (parent, key) = path.rsplit_once('.')?;
    at(table, &path.split('.').collect::<Vec<_>>())?;
    parent.split('.').try_fold(table, |table, key| table.get_mut(key)?.as_table_mut())?.remove(key)
}

fn put(table: &mut Table, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return;
    };
    if let Value::Table(inside) = table.entry(first).or_insert_with(|| Value::Table(Table::new())) {
        put(inside, rest, value);
    }
}
