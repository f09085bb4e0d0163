//! The alternatives of an open section, such as the methods of `[loop]`: a row a name.

use super::{Unread, read, schema};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;
use toml::{Table, Value};

/// A table of names: `[SECTION.NAME]` is read into the type of its row, and used as an `S`.
pub struct Kinds<S: ?Sized> {
    rows: Vec<Row<S>>,
}

struct Row<S: ?Sized> {
    name: String,
    read: Box<dyn Fn(Table) -> Result<Chosen<S>, Unread> + Send + Sync>,
    schema: fn() -> serde_json::Value,
}

/// One alternative as the recipe wrote it; used as what it is a kind of.
pub struct Chosen<S: ?Sized> {
    name: String,
    /// Its keys with every default; why they cannot be written down where they cannot.
    written: Result<Table, String>,
    section: Arc<S>,
}

impl<S: ?Sized + 'static> Kinds<S> {
    /// No names at all.
    pub fn empty() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds `NAME`, read into a `T`; a name that is there already is replaced.
    pub fn with<T>(mut self, name: &str, shared: fn(T) -> Arc<S>) -> Self
    where
        T: Serialize + DeserializeOwned + JsonSchema + 'static,
    {
        let named = name.to_owned();
        let read = move |table: Table| {
            let section: T = read(table)?;
            let written = Table::try_from(&section).map_err(|error| error.to_string());
            Ok(Chosen { name: named.clone(), written, section: shared(section) })
        };
        let row = Row { name: name.to_owned(), read: Box::new(read), schema: schema::<T> };
        match self.rows.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
        self
    }

    /// The names, in the order in which they were added.
    pub fn names(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.name.as_str()).collect()
    }

    /// The schema of each, in the same order.
    pub fn schemas(&self) -> impl Iterator<Item = (&str, serde_json::Value)> {
        self.rows.iter().map(|row| (row.name.as_str(), (row.schema)()))
    }

    /// Reads `[SECTION.NAME]`; none where there is no such name.
    pub fn read(&self, name: &str, table: Table) -> Option<Result<Chosen<S>, Unread>> {
        self.rows.iter().find(|row| row.name == name).map(|row| (row.read)(table))
    }
}

impl<S: ?Sized + 'static> Debug for Kinds<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}

impl<S: ?Sized> Chosen<S> {
    /// Its name in recipes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `NAME` with its keys and every default, as it stands in the section.
    ///
    /// # Errors
    /// Why the values cannot be written as TOML.
    pub fn written(&self) -> Result<Value, String> {
        let table = self.written.clone()?;
        Ok(Value::Table(Table::from_iter([(self.name.clone(), Value::Table(table))])))
    }
}

impl<S: ?Sized> Deref for Chosen<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.section
    }
}

impl<S: ?Sized> Clone for Chosen<S> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), written: self.written.clone(), section: self.section.clone() }
    }
}

impl<S: ?Sized> PartialEq for Chosen<S> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.written == other.written
    }
}

impl<S: ?Sized> Debug for Chosen<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.debug_struct(&self.name).field("keys", &self.written).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    trait Shape {
        fn area(&self) -> f64;
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Square {
        side: f64,
    }

    impl Default for Square {
        fn default() -> Self {
            Self { side: 2.0 }
        }
    }

    impl Shape for Square {
        fn area(&self) -> f64 {
            self.side * self.side
        }
    }

    fn shapes() -> Kinds<dyn Shape> {
        Kinds::empty().with::<Square>("square", |square| Arc::new(square))
    }

    #[test]
    fn a_name_is_read_into_its_own_type_with_its_defaults() {
        let square = shapes().read("square", Table::new()).unwrap().unwrap();
        assert_eq!((square.name(), square.area()), ("square", 4.0));
        assert_eq!(square.written().unwrap().to_string(), "{ square = { side = 2.0 } }");
        let schemas: Vec<_> = shapes().schemas().map(|(name, schema)| (name.to_owned(), schema)).collect();
        assert_eq!(
            (schemas[0].0.as_str(), &schemas[0].1["properties"]["side"]["default"]),
            ("square", &2.0.into())
        );
        assert!(shapes().read("circle", Table::new()).is_none());
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let table = toml::from_str("side = 'long'").unwrap();
        let unread = shapes().read("square", table).unwrap().err().unwrap();
        assert_eq!(unread.keys, ["side"]);
        assert!(unread.message.contains("expected f64"), "{}", unread.message);
    }
}
