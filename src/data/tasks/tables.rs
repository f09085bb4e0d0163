//! Questions about two small tables, and the query that answers each: a procedural stand-in for text-to-SQL, with rationales of growing queries.

use super::drawn;
use crate::data::Split;
use crate::data::order::below;
use crate::data::row::Row;
use crate::error::{Error, Result};
use crate::section::{Misfit, all_fit, broken};
use crate::text::sql::{Table, Tables as Contents, run};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

/// Every character of the task's texts.
pub const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789.,:?<>=# \n";

const NAMES: [&str; 10] = ["bo", "mia", "kit", "lu", "rex", "ada", "sol", "ivy", "max", "zoe"];
const KINDS: [&str; 3] = ["cat", "dog", "hen"];
const HOMES: [&str; 3] = ["a", "b", "c"];
const CITIES: [&str; 3] = ["york", "bath", "leeds"];
const MOST_ROWS: usize = 25_000;

/// Tables and queries: `[data.task.tables]`. `question` shows the tables `pets` (name, kind, age, home) and `homes` (home, city), and asks; `sql` and
/// `answer` are the query, `result` what it comes to (never nothing), `rationale` the query grown clause by clause, each line with what the clause is for, `tables` the
/// tables as `[reward.execute]` reads them. By `level`: `simple` has a condition, `moderate` two, an order or a count, `hard` a join.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tables {
    /// Training rows.
    pub train: usize,
    /// Held-out rows.
    pub eval: usize,
    /// Rows of `pets`.
    pub pets: usize,
    /// Which levels there are, in equal shares.
    pub levels: Vec<Level>,
    /// Give rows a rationale.
    pub rationale: bool,
}

/// How much a query asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// One condition.
    Simple,
    /// Two conditions, an order, or a count.
    Moderate,
    /// A join.
    Hard,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Simple => "simple",
            Level::Moderate => "moderate",
            Level::Hard => "hard",
        }
    }
}

impl Default for Tables {
    fn default() -> Self {
        let levels = vec![Level::Simple, Level::Moderate, Level::Hard];
        Self { train: 3000, eval: 300, pets: 4, levels, rationale: true }
    }
}

/// A question with its query, clause by clause: what each is for, and the clause.
struct Asked {
    question: String,
    clauses: Vec<(String, String)>,
}

impl Asked {
    fn sql(&self) -> String {
        self.clauses.iter().map(|(_, clause)| clause.as_str()).collect::<Vec<_>>().join(" ")
    }
}

impl Tables {
    /// The rows of a split by the seed; no question about the same tables is in both, or twice in one.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        all_fit("data.task.tables", self, self.check())?;
        let wanted = if split == Split::Train { self.train } else { self.eval };
        let draw = |index: usize, rng: &mut ChaCha8Rng| {
            let level = self.levels[index % self.levels.len()];
            let contents = self.contents(rng);
            let asked = asked(level, rng);
            // What comes to nothing, any query comes to that asks for what is not there.
            let found = run(&contents, &asked.sql()).ok()?;
            (!found.values.is_empty() && found.values != ["0"]).then_some(())?;
            Some((format!("{}\n{}", shown(&contents), asked.question), (level, contents, asked)))
        };
        drawn::rows("tables", "questions", (split, wanted, seed), draw, |index, question, drawn, _| {
            let (level, contents, asked) = drawn;
            self.row(index, level, &contents, question, &asked)
        })
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[
            ((2..=NAMES.len()).contains(&self.pets), "pets", "it must be from 2 to 10"),
            (!self.levels.is_empty(), "levels", "name at least one"),
            (self.train <= MOST_ROWS, "train", "it may be 25000 at most"),
            (self.eval <= MOST_ROWS, "eval", "it may be 25000 at most"),
        ])
    }

    fn contents(&self, rng: &mut ChaCha8Rng) -> Contents {
        let mut names = NAMES.to_vec();
        // Ages differ, so that an order is one.
        let mut ages: Vec<u64> = (1..=20).collect();
        let mut pet = || {
            let name = names.swap_remove(below(rng, names.len() as u64) as usize);
            let age = ages.swap_remove(below(rng, ages.len() as u64) as usize);
            let (kind, home) = (KINDS[below(rng, 3) as usize], HOMES[below(rng, 3) as usize]);
            vec![name.to_string(), kind.to_string(), age.to_string(), home.to_string()]
        };
        let pets = (0..self.pets).map(|_| pet()).collect();
        let mut cities = CITIES.to_vec();
        let homes = HOMES.map(|home| {
            vec![home.to_string(), cities.swap_remove(below(rng, cities.len() as u64) as usize).to_string()]
        });
        let columns = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        Contents::from([
            ("pets".to_string(), Table { columns: columns(&["name", "kind", "age", "home"]), rows: pets }),
            ("homes".to_string(), Table { columns: columns(&["home", "city"]), rows: homes.to_vec() }),
        ])
    }

    fn row(
        &self,
        index: usize,
        level: Level,
        contents: &Contents,
        question: String,
        asked: &Asked,
    ) -> Result<Row> {
        let sql = asked.sql();
        let found = run(contents, &sql).map_err(Error::Data)?;
        let mut grown = String::new();
        let lines = asked.clauses.iter().map(|(remark, clause)| {
            grown = if grown.is_empty() { clause.clone() } else { format!("{grown} {clause}") };
            format!("{remark}: {grown}")
        });
        let rationale = lines.collect::<Vec<_>>().join("\n");
        let mut fields = Map::new();
        let mut set = |name: &str, value| drop(fields.insert(name.to_string(), value));
        set("id", json!(format!("query-{index}")));
        set("question", json!(question));
        if self.rationale {
            set("rationale", json!(rationale));
        }
        set("answer", json!(sql));
        set("sql", json!(sql));
        set("result", json!(found.values));
        set("level", json!(level.name()));
        set("tables", json!(contents));
        Ok(Row::made("tables", index + 1, fields))
    }
}

/// The tables as text.
fn shown(contents: &Contents) -> String {
    let table = |name: &str| {
        let table = &contents[name];
        let lines = std::iter::once(format!("{name}: {}", table.columns.join(" ")));
        lines.chain(table.rows.iter().map(|row| row.join(" "))).collect::<Vec<_>>().join("\n")
    };
    format!("{}\n{}", table("pets"), table("homes"))
}

fn asked(level: Level, rng: &mut ChaCha8Rng) -> Asked {
    let kind = KINDS[below(rng, 3) as usize];
    let (city, age) = (CITIES[below(rng, 3) as usize], 3 + below(rng, 15));
    let by_kind = (format!("the {kind}s"), format!("where kind = {kind}"));
    let by_age = (format!("over {age}"), format!("where age > {age}"));
    let also_age = (format!("over {age}"), format!("and age > {age}"));
    let clause = |remark: &str, clause: &str| (remark.to_string(), clause.to_string());
    let names = clause("names", "select name from pets");
    let count = clause("how many", "select count from pets");
    let join = clause("with cities", "join homes on home");
    let by_city = (format!("in {city}"), format!("where city = {city}"));
    let oldest = clause("the oldest", "order by age desc limit 1");
    let (question, clauses) = match (level, below(rng, 3)) {
        (Level::Simple, 0) => (format!("names of the {kind}s?"), vec![names, by_kind]),
        (Level::Simple, 1) => (format!("names of those over {age}?"), vec![names, by_age]),
        (Level::Simple, _) => {
            (format!("homes of the {kind}s?"), vec![clause("homes", "select home from pets"), by_kind])
        }
        (Level::Moderate, 0) => (format!("names of the {kind}s over {age}?"), vec![names, by_kind, also_age]),
        (Level::Moderate, 1) => (format!("how many {kind}s over {age}?"), vec![count, by_kind, also_age]),
        (Level::Moderate, _) => {
            (format!("names of the {kind}s by age?"), vec![names, by_kind, clause("by age", "order by age")])
        }
        (Level::Hard, 0) => (format!("names of those in {city}?"), vec![names, join, by_city]),
        (Level::Hard, 1) => (
            format!("how many {kind}s in {city}?"),
            vec![count, join, by_city, (format!("the {kind}s"), format!("and kind = {kind}"))],
        ),
        (Level::Hard, _) => (format!("name of the oldest in {city}?"), vec![names, join, by_city, oldest]),
    };
    Asked { question, clauses }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tasks::tests::text;
    use rand::SeedableRng;
    use std::collections::HashSet;

    #[test]
    fn a_query_grows_to_its_answer() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let asked = loop {
            let asked = asked(Level::Hard, &mut rng);
            if asked.question == "how many hens in bath?" {
                break asked;
            }
        };
        let cells = |row: &str| row.split(' ').map(String::from).collect::<Vec<_>>();
        let table = |columns: &str, rows: &[&str]| Table {
            columns: cells(columns),
            rows: rows.iter().map(|row| cells(row)).collect(),
        };
        let contents = Contents::from([
            ("pets".into(), table("name kind age home", &["bo hen 3 b", "mia hen 5 a", "kit cat 7 b"])),
            ("homes".into(), table("home city", &["a york", "b bath", "c leeds"])),
        ]);
        let row = Tables::default().row(0, Level::Hard, &contents, "?".into(), &asked).unwrap();
        let sql = "select count from pets join homes on home where city = bath and kind = hen";
        assert_eq!((text(&row, "sql"), text(&row, "answer")), (sql, sql));
        let lines = "how many: select count from pets\nwith cities: select count from pets join homes on home\nin bath: select count \
                     from pets join homes on home where city = bath\nthe hens: select count from pets join homes on home where city = \
                     bath and kind = hen";
        assert_eq!(text(&row, "rationale"), lines);
        assert_eq!(row.fields["result"], json!(["1"]));
        assert_eq!(shown(&contents).lines().next(), Some("pets: name kind age home"));
        assert_eq!(shown(&contents).lines().count(), 8);
    }

    #[test]
    fn rows_are_of_the_seed_and_come_to_what_they_say() {
        let task = Tables::default();
        let [train, eval] = [Split::Train, Split::Eval].map(|split| task.rows(split, 3).unwrap());
        assert_eq!((train.len(), eval.len()), (3000, 300));
        assert_eq!(train, task.rows(Split::Train, 3).unwrap());
        for row in train.iter().chain(&eval) {
            let contents: Contents = serde_json::from_value(row.fields["tables"].clone()).unwrap();
            assert_eq!(row.fields["result"], json!(run(&contents, text(row, "sql")).unwrap().values));
            let nothing = "select name from pets where age > 99";
            assert!(!run(&contents, nothing).unwrap().agrees(&run(&contents, text(row, "sql")).unwrap()));
            assert_ne!(row.fields["result"], json!(["0"]));
            assert!(text(row, "rationale").ends_with(&format!(": {}", text(row, "answer"))));
            for name in ["question", "rationale", "answer"] {
                assert!(text(row, name).chars().all(|c| ALPHABET.contains(c)), "{}", text(row, name));
            }
        }
        for level in ["simple", "moderate", "hard"] {
            assert_eq!(train.iter().filter(|row| text(row, "level") == level).count(), 1000);
        }
        let questions: HashSet<&str> = train.iter().map(|row| text(row, "question")).collect();
        assert!(questions.len() == 3000 && eval.iter().all(|row| !questions.contains(text(row, "question"))));
        let error = Tables { pets: 11, levels: vec![], ..task }.rows(Split::Eval, 0).unwrap_err().to_string();
        assert!(
            error.contains("tables.pets = 11: it must be from 2 to 10") && error.contains("levels"),
            "{error}"
        );
    }
}
