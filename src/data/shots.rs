//! Solved rows that a prompt shows first: which ones stand there, and in which order.

use super::renaming::Renaming;
use super::row::{Problems, Row};
use super::said::texts;
use super::{Data, Example, Hub, Message, Prompt, Split, numbered};
use crate::error::Result;
use crate::seed::{derive, of_text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A solved row as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shot {
    /// What is asked.
    pub user: String,
    /// What is answered.
    pub assistant: String,
    /// The texts of its row's columns, from which both were made.
    pub said: Vec<String>,
}

impl Shot {
    /// Made of a row with these columns.
    pub(super) fn of(user: String, assistant: String, fields: &Map<String, Value>) -> Self {
        let mut said = Vec::new();
        fields.values().for_each(|value| texts(value, &mut |text| said.push(text.to_owned())));
        Self { user, assistant, said }
    }
}

/// Which of the rows that there are to show are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// The first.
    #[default]
    First,
    /// Some, drawn for each row by `run.seed` and the row's id.
    Random,
    /// Those whose question has most words in common with the row's, the most alike last: the cosine of the two sets of words.
    Similar,
}

/// Rows that are looked at where not the first are shown.
const POOL: usize = 2000;

impl Pick {
    /// How many rows it takes to show `count`, never the row itself.
    pub(super) fn enough(self, count: usize) -> usize {
        if self == Self::First { count.saturating_add(1) } else { POOL.max(count.saturating_add(1)) }
    }

    /// What is shown of `all` before `question`, the question of the row `id`, which stands at `place`; `seed` draws.
    pub(super) fn of<'a>(
        self,
        all: &'a [Solved],
        (id, place): (&str, &str),
        question: &str,
        count: usize,
        seed: u64,
    ) -> Vec<&'a Solved> {
        let mut others: Vec<&Solved> =
            all.iter().filter(|one| !(one.id == id && one.place == place)).collect();
        match self {
            Self::First => {}
            Self::Random => {
                let own = of_text(id);
                others.sort_by_cached_key(|one| derive(&[seed, own, of_text(&one.id)]));
            }
            Self::Similar => {
                let words = words(question);
                let mut alike: Vec<_> = others.iter().map(|one| (one.alike(&words), *one)).collect();
                // Stable, so that of equals the earlier is shown.
                alike.sort_by(|a, b| b.0.total_cmp(&a.0));
                alike.truncate(count);
                others = alike.into_iter().rev().map(|(_, one)| one).collect();
            }
        }
        others.truncate(count);
        others
    }
}

/// A row that may be shown.
pub(super) struct Solved {
    id: String,
    place: String,
    words: BTreeSet<String>,
    pub(super) shot: Arc<Shot>,
}

impl Solved {
    pub(super) fn new(id: String, place: String, shot: Shot) -> Self {
        Self { id, place, words: words(&shot.user), shot: Arc::new(shot) }
    }

    fn alike(&self, words: &BTreeSet<String>) -> f64 {
        let shared = self.words.intersection(words).count() as f64;
        shared / ((self.words.len() * words.len()) as f64).sqrt().max(1.0)
    }
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

impl Example {
    /// The same question behind its solved rows in another order, `order` being a permutation of their places; none where the prompt is not
    /// one that shows so many.
    ///
    /// ```
    /// use rationale::data::{Example, Prompt, shots::Shot};
    /// let shot = |user: &str, assistant: &str| Shot { user: user.into(), assistant: assistant.into(), ..Shot::default() }.into();
    /// let shown = Example { shots: vec![shot("1+1=", "2"), shot("2+2=", "4")], ..Example::text("x", "1+1=2\n\n2+2=4\n\n3+3=") };
    /// assert_eq!(shown.reordered(&[1, 0]).unwrap().prompt, Prompt::Text("2+2=4\n\n1+1=2\n\n3+3=".into()));
    /// ```
    pub fn reordered(&self, order: &[usize]) -> Option<Example> {
        self.showing(order.iter().map(|&at| self.shots.get(at).cloned()).collect::<Option<_>>()?)
    }

    /// The same question behind as many other solved rows; none where the prompt is not one that shows its own.
    pub fn showing(&self, shots: Vec<Arc<Shot>>) -> Option<Example> {
        if shots.len() != self.shots.len() {
            return None;
        }
        let prompt = match &self.prompt {
            Prompt::Text(text) => {
                let block = |shots: &[Arc<Shot>]| {
                    let texts = shots.iter().map(|shot| format!("{}{}", shot.user, shot.assistant));
                    texts.collect::<Vec<_>>().join("\n\n")
                };
                let old = block(&self.shots);
                let at = text.find(&old)?;
                Prompt::Text(format!("{}{}{}", &text[..at], block(&shots), &text[at + old.len()..]))
            }
            Prompt::Chat(turns) => {
                let first = turns.iter().position(|turn| turn.role == "user")?;
                let shown = turns.get(first..first + 2 * shots.len())?;
                let mut both = self.shots.iter().zip(shown.chunks(2));
                if !both
                    .all(|(shot, turns)| turns[0].content == shot.user && turns[1].content == shot.assistant)
                {
                    return None;
                }
                let pairs = shots.iter().flat_map(|shot| {
                    [Message::new("user", &shot.user), Message::new("assistant", &shot.assistant)]
                });
                let rest = &turns[first + 2 * shots.len()..];
                Prompt::Chat(
                    turns[..first].iter().cloned().chain(pairs).chain(rest.iter().cloned()).collect(),
                )
            }
        };
        Some(Example { prompt, shots, ..self.clone() })
    }
}

impl Data {
    /// Reads the rows of `template.few_shot_from`, where there are some.
    ///
    /// # Errors
    /// As [`load`](Self::load) says them.
    pub fn look_at_shots(&self, hub: &Hub, seed: u64) -> Result<()> {
        let mut problems = Problems::default();
        if self.template.few_shot_from.is_some() {
            self.shot_rows(Split::Train, hub, seed, &[], &mut problems)?;
        }
        problems.into_result()
    }

    /// The rows that few-shot examples come from, where they are not the split's own.
    pub(super) fn shot_rows(
        &self,
        split: Split,
        hub: &Hub,
        seed: u64,
        rows: &[Row],
        problems: &mut Problems,
    ) -> Result<Option<Vec<Row>>> {
        let enough = self.template.few_shot_pick.enough(self.template.few_shot);
        let renaming = &mut Renaming::new(&self.columns);
        let shots = match (&self.template.few_shot_from, split) {
            _ if self.template.few_shot == 0 => return Ok(None),
            (Some(source), _) => {
                let rows = source.read(Split::Train, hub, renaming, enough, problems)?;
                numbered::settled(rows, self.integer_answers, problems)
            }
            (None, Split::Train) => rows[..enough.min(rows.len())].to_vec(),
            (None, Split::Eval) => {
                let first = Data { train_limit: Some(enough), ..self.clone() };
                first.rows(Split::Train, hub, seed, renaming, problems)?
            }
        };
        Ok(Some(shots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solved(id: &str, user: &str) -> Solved {
        Solved::new(
            id.into(),
            format!("f:{id}"),
            Shot { user: user.into(), assistant: "so".into(), said: vec![] },
        )
    }

    #[test]
    fn rows_are_picked_and_none_shows_itself() {
        let all =
            [solved("a", "one two"), solved("b", "Two three!"), solved("c", "four"), solved("d", "two")];
        let seeded = |pick: Pick, id: &str, question: &str, seed: u64| -> Vec<String> {
            let place = format!("f:{id}");
            pick.of(&all, (id, &place), question, 2, seed).iter().map(|one| one.id.clone()).collect()
        };
        let of = |pick: Pick, id: &str, question: &str| seeded(pick, id, question, 0);
        assert_eq!(of(Pick::First, "a", "one two"), ["b", "c"]);
        // "three two" has both words of b (cosine 1) and one of d's one (1/√2): the most alike is last.
        assert_eq!(of(Pick::Similar, "x", "three, two?"), ["d", "b"]);
        assert_eq!(of(Pick::Similar, "b", "three, two?"), ["a", "d"]);
        let drawn: BTreeSet<Vec<String>> = (0..20).map(|n| of(Pick::Random, &format!("r{n}"), "")).collect();
        assert!(drawn.len() > 5 && of(Pick::Random, "r1", "") == of(Pick::Random, "r1", ""));
        let seeds: BTreeSet<Vec<String>> = (0..20).map(|seed| seeded(Pick::Random, "r1", "", seed)).collect();
        assert!(seeds.len() > 5, "{seeds:?}");
        for pick in [Pick::First, Pick::Similar] {
            assert_eq!(seeded(pick, "x", "three", 1), seeded(pick, "x", "three", 2));
        }
        assert_eq!((Pick::First.enough(3), Pick::Random.enough(3)), (4, POOL));
    }

    #[test]
    fn turns_change_places() {
        let turn = |role: &str, text: &str| Message::new(role, text);
        let shot =
            |user: &str| Arc::new(Shot { user: user.into(), assistant: format!("{user}!"), said: vec![] });
        let pair = |user: &str| [turn("user", user), turn("assistant", &format!("{user}!"))];
        let chat = |order: [&str; 3]| {
            let shown = order.into_iter().flat_map(pair);
            let turns = [turn("system", "be brief")].into_iter().chain(shown).chain([turn("user", "q")]);
            Prompt::Chat(turns.collect())
        };
        let shots = vec![shot("a"), shot("b"), shot("c")];
        let example = Example { prompt: chat(["a", "b", "c"]), shots, ..Example::text("x", "") };
        let other = example.reordered(&[2, 0, 1]).unwrap();
        assert_eq!((&other.prompt, &other.shots[0]), (&chat(["c", "a", "b"]), &shot("c")));
        assert!(example.reordered(&[0, 1]).is_none() && example.reordered(&[0, 1, 3]).is_none());
        let bare = Example { shots: vec![], ..example.clone() };
        assert_eq!(bare.reordered(&[]).unwrap().prompt, example.prompt);
    }
}
