//! Small graphs in words: routes on a map, workflows of typed nodes, calls of an interface, games of two, a frog that crosses a road. A procedural stand-in
//! for tasks whose right answers can be told exactly.

mod games;
mod routes;
mod wired;

use super::drawn;
use crate::data::Split;
use crate::data::row::Row;
use crate::error::Result;
use crate::section::{Misfit, all_fit, broken};
use rand_chacha::ChaCha8Rng;
pub use routes::{Line, rides};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Every character of the task's texts.
pub const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyzABCD0123456789.,:;?<>()=# \n";

const MOST_ROWS: usize = 25_000;

/// Graphs in words: `[data.task.graph]`. Rows have `question`, `rationale`, `answer` and `kind`, and what each `render` says beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Graph {
    /// Training rows.
    pub train: usize,
    /// Held-out rows.
    pub eval: usize,
    /// What the graph is.
    pub render: Render,
    /// Of `api` and `calls`: how many functions an answer may take, from 2 to 4.
    pub functions: usize,
}

/// What the graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Render {
    /// Lines and their stations; `kind` is `tf` (is a station on a line: yes, no), `count` (stops between two) or `plan` (the route of fewest
    /// stops, of these of fewest changes: `red a b c; blue c d`). `map` is the map, `transfers` the changes of the route.
    Routes,
    /// Nodes with the type that they take and the one that they give; the answer wires those that lead from `image` to the wanted type, `load>blur;
    /// blur>save`. `nodes` are the candidates, `used` those of the answer.
    Workflow,
    /// Functions of an interface with the types that they take and the one that they give; the answer is the nested call, `road(town(user(3)))`. `calls` are its functions,
    /// innermost first.
    Api,
    /// The same interface, executed: the rationale has the calls one by one with what each gave, `<user(3)>41`, and the answer is what the last one did. `functions` is how many it
    /// takes; `responses` says what every call gives that can be made, as a tool of `[rollout.tools]` answers it (`column = "responses"`).
    Calls,
    /// Games of two players with two moves each; `kind` is `reply` (the best reply to a move), or `equilibrium` (where neither gains by
    /// another move). `choices` are the options; questions without exactly one right option are not asked.
    Games,
    /// Where a frog and the cars of the next lane are, and what it does: `go`, `wait`, `left` or `right`; the rationale says why.
    Frogger,
}

impl Default for Graph {
    fn default() -> Self {
        Self { train: 2000, eval: 300, render: Render::Routes, functions: 4 }
    }
}

/// A question with what is known of it.
pub(super) struct Asked {
    question: String,
    rationale: String,
    answer: String,
    kind: &'static str,
    more: Vec<(&'static str, Value)>,
}

impl Graph {
    /// The rows of a split by the seed; no question is in both, or twice in one.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        all_fit("data.task.graph", self, self.check())?;
        let wanted = if split == Split::Train { self.train } else { self.eval };
        let draw = |index: usize, rng: &mut ChaCha8Rng| {
            let asked = match self.render {
                Render::Routes => routes::asked(index, rng),
                Render::Workflow => wired::workflow(rng),
                Render::Api => wired::nested(self.functions, rng),
                Render::Calls => wired::executed(self.functions, rng),
                Render::Games => games::asked(index, rng),
                Render::Frogger => games::frog(rng),
            };
            asked.map(|asked| (asked.question.clone(), asked))
        };
        drawn::rows("graph", "questions", (split, wanted, seed), draw, |index, _, asked, _| {
            Ok(row(index, asked))
        })
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let interface = matches!(self.render, Render::Api | Render::Calls);
        broken(&[
            (self.train <= MOST_ROWS, "train", "it may be 25000 at most"),
            (self.eval <= MOST_ROWS, "eval", "it may be 25000 at most"),
            ((2..=4).contains(&self.functions), "functions", "it must be from 2 to 4"),
            (interface || self.functions == 4, "functions", "only `api` and `calls` have functions"),
        ])
    }
}

fn row(index: usize, asked: Asked) -> Row {
    let mut fields = Map::new();
    let own = [
        ("id", json!(format!("graph-{index}"))),
        ("question", json!(asked.question)),
        ("rationale", json!(asked.rationale)),
        ("answer", json!(asked.answer)),
        ("kind", json!(asked.kind)),
    ];
    for (name, value) in own.into_iter().chain(asked.more) {
        fields.insert(name.to_string(), value);
    }
    Row::made("graph", index + 1, fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn rows_are_of_the_seed_and_no_question_is_in_both_splits() {
        use Render::{Api, Calls, Frogger, Games, Routes, Workflow};
        for render in [Routes, Workflow, Api, Calls, Games, Frogger] {
            let task = Graph { train: 120, eval: 30, render, ..Graph::default() };
            let [train, eval] = [Split::Train, Split::Eval].map(|split| task.rows(split, 3).unwrap());
            assert_eq!((train.len(), eval.len()), (120, 30), "{render:?}");
            assert_eq!(train, task.rows(Split::Train, 3).unwrap());
            let question = |row: &Row| row.fields["question"].as_str().unwrap().to_string();
            let asked: HashSet<String> = train.iter().map(question).collect();
            assert!(asked.len() == 120 && eval.iter().all(|row| !asked.contains(&question(row))));
            for row in train.iter().chain(&eval) {
                for name in ["question", "rationale", "answer"] {
                    let text = row.fields[name].as_str().unwrap();
                    assert!(!text.is_empty() && text.chars().all(|c| ALPHABET.contains(c)), "{text:?}");
                }
            }
        }
        for (render, functions) in [(Render::Api, 5), (Render::Calls, 1), (Render::Games, 3)] {
            let found = Graph { render, functions, ..Graph::default() }.check();
            assert!(found.iter().all(|misfit| misfit.key == "functions") && !found.is_empty(), "{found:?}");
        }
        let error = Graph { eval: 30_000, ..Graph::default() }.rows(Split::Eval, 0).unwrap_err().to_string();
        assert!(error.contains("graph.eval = 30000: it may be 25000 at most"), "{error}");
    }
}
