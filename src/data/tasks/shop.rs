//! What a shopper does next, as a structured action: a procedural stand-in for the sessions of Shop-R1 (arXiv 2507.17842).

use crate::data::Split;
use crate::data::order::below;
use crate::data::row::Row;
use crate::error::{Error, Result};
use crate::section::{Misfit, all_fit, broken};
use crate::seed;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Every character of the task's questions, rationales and answers.
pub const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789:,{}\"_# \n";

const THINGS: [&str; 8] = ["mug", "cup", "pen", "hat", "bag", "map", "key", "fan"];
const MOST_ROWS: usize = 100_000;
/// Sessions that are drawn in search of one that is the split's and new.
const MOST_DRAWS: usize = 20_000;

/// Shopping sessions: `[data.task.shop]`. Somebody wants a thing and has some money. On the first page the thing is typed
/// into the search box; on a page of results the first such thing that the money buys is clicked, and where there is none the session
/// ends. The gold answer is a JSON object of `type` (`terminate`, `click` or `type_and_submit`), `name` and `text`; `class` is
/// its type. To terminate takes no name and no text: the easy class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shop {
    /// Training rows.
    pub train: usize,
    /// Held-out rows.
    pub eval: usize,
    /// Results on a page.
    pub items: usize,
    /// Share of the rows that end the session.
    pub terminate: f64,
    /// Of those, share of the rows that end it though something on the page would do: nobody can tell them from rows that click.
    pub leaves: f64,
    /// Share of the rows that click; the rest type.
    pub click: f64,
    /// Give rows a rationale: the results up to the one that is clicked, each with what is against it.
    pub rationale: bool,
}

impl Default for Shop {
    fn default() -> Self {
        Self { train: 4000, eval: 400, items: 3, terminate: 0.6, leaves: 0.0, click: 0.25, rationale: true }
    }
}

/// One result on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    name: String,
    thing: &'static str,
    price: u64,
}

/// What somebody wants, has and sees; the first page has no items.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    wants: &'static str,
    has: u64,
    items: Vec<Item>,
    /// Ends whatever is on the page.
    leaves: bool,
}

impl Shop {
    /// The rows of a split by the seed; no page of results is in both splits, or twice in one.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        all_fit("data.task.shop", self, self.check())?;
        let wanted = if split == Split::Train { self.train } else { self.eval };
        let order = seed::derive(&[seed, seed::of_text("shop"), u64::from(split == Split::Eval)]);
        let mut rng = ChaCha8Rng::seed_from_u64(order);
        let (mut seen, mut rows) = (HashSet::new(), Vec::new());
        while rows.len() < wanted {
            let class = below(&mut rng, 1000) as f64 / 1000.0;
            let mut draws = 0;
            let session = loop {
                draws += 1;
                if draws > MOST_DRAWS {
                    return Err(Error::Recipe(format!(
                        "[data.task.shop] there are not enough different pages of {} items for {wanted} rows; lower `train` and `eval`, or \
                         raise `items`",
                        self.items
                    )));
                }
                let session = self.session(class, &mut rng);
                let question = session.question();
                let held_out = seed::derive(&[seed, seed::of_text(&question)]).is_multiple_of(5);
                // The first page has few variants, which repeat; pages of results never do.
                let ours = held_out == (split == Split::Eval);
                if session.items.is_empty() || (ours && seen.insert(question)) {
                    break session;
                }
            };
            rows.push(self.row(rows.len(), &session));
        }
        Ok(rows)
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[
            ((1..=6).contains(&self.items), "items", "it must be from 1 to 6"),
            (
                self.terminate >= 0.0 && self.click >= 0.0 && self.terminate + self.click <= 1.0,
                "terminate",
                "terminate and click are shares: from 0, and 1 at most together",
            ),
            (
                (0.0..=self.terminate).contains(&self.leaves),
                "leaves",
                "it is a part of `terminate`: from 0, and that at most",
            ),
            (self.train <= MOST_ROWS, "train", "it may be 100000 at most"),
            (self.eval <= MOST_ROWS, "eval", "it may be 100000 at most"),
        ])
    }

    /// A session of the class that `class`, from 0 to 1, falls into.
    fn session(&self, class: f64, rng: &mut ChaCha8Rng) -> Session {
        let (wants, has) = (THINGS[below(rng, 8) as usize], 2 + below(rng, 7));
        let (leaves, ends) = (class < self.leaves, class < self.terminate);
        if class >= self.terminate + self.click {
            return Session { wants, has, items: vec![], leaves };
        }
        loop {
            let mut letters: Vec<u8> = (b'a'..=b'z').collect();
            let items = (0..self.items).map(|_| item(wants, &mut letters, rng)).collect::<Vec<_>>();
            let session = Session { wants, has, items, leaves };
            if session.chosen().is_none() == (ends && !leaves) {
                return session;
            }
        }
    }

    fn row(&self, index: usize, session: &Session) -> Row {
        let (class, answer) = session.action();
        let mut fields = Map::new();
        fields.insert("id".to_string(), json!(format!("session-{index}")));
        fields.insert("question".to_string(), json!(session.question()));
        if self.rationale {
            fields.insert("rationale".to_string(), json!(session.rationale()));
        }
        fields.insert("answer".to_string(), json!(answer));
        fields.insert("class".to_string(), Value::String(class.to_string()));
        Row { file: "shop".into(), stem: "shop".into(), line: index + 1, fields }
    }
}

/// Somewhat more than half of the results are of the thing that is wanted; each takes a letter of its own.
fn item(wants: &'static str, letters: &mut Vec<u8>, rng: &mut ChaCha8Rng) -> Item {
    let letter = letters.swap_remove(below(rng, letters.len() as u64) as usize);
    let name = char::from(letter).to_string();
    let thing = if below(rng, 2) == 0 { wants } else { THINGS[below(rng, 8) as usize] };
    Item { name, thing, price: 1 + below(rng, 9) }
}

impl Session {
    fn question(&self) -> String {
        let page = self.items.iter().map(|item| format!("\n{} {} {}", item.name, item.thing, item.price));
        let page = if self.items.is_empty() { "\nsearch".to_string() } else { page.collect() };
        format!("{} {}{page}", self.wants, self.has)
    }

    /// Whether it will do, and what is against it.
    fn verdict(&self, item: &Item) -> &'static str {
        match () {
            _ if item.thing != self.wants => "other",
            _ if item.price > self.has => "dear",
            _ => "yes",
        }
    }

    /// The first item that will do.
    fn chosen(&self) -> Option<&Item> {
        self.items.iter().find(|item| self.verdict(item) == "yes")
    }

    fn rationale(&self) -> String {
        if self.items.is_empty() {
            return "search".to_string();
        }
        let looked = self.chosen().map_or(self.items.len(), |chosen| {
            self.items.iter().position(|item| item == chosen).unwrap_or(0) + 1
        });
        let line =
            |item: &Item| format!("{} {} {} {}", item.name, item.thing, item.price, self.verdict(item));
        self.items[..looked].iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Its class, and the action as JSON.
    fn action(&self) -> (&'static str, String) {
        match self.chosen() {
            _ if self.items.is_empty() => {
                ("type_and_submit", format!("{{\"type\":\"type_and_submit\",\"text\":\"{}\"}}", self.wants))
            }
            Some(item) if !self.leaves => {
                ("click", format!("{{\"type\":\"click\",\"name\":\"{}\"}}", item.name))
            }
            _ => ("terminate", "{\"type\":\"terminate\"}".to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tasks::tests::text;

    fn rows(split: Split) -> Vec<Row> {
        Shop::default().rows(split, 3).unwrap()
    }

    #[test]
    fn the_first_that_the_money_buys_is_clicked() {
        let item = |name: &str, thing, price| Item { name: name.into(), thing, price };
        let items = vec![item("k", "mug", 7), item("p", "cup", 1), item("a", "mug", 4), item("b", "mug", 1)];
        let mut session = Session { wants: "mug", has: 4, items, leaves: false };
        assert_eq!(session.question(), "mug 4\nk mug 7\np cup 1\na mug 4\nb mug 1");
        assert_eq!(session.rationale(), "k mug 7 dear\np cup 1 other\na mug 4 yes");
        assert_eq!(session.action(), ("click", r#"{"type":"click","name":"a"}"#.into()));
        session.leaves = true;
        assert_eq!(session.rationale(), "k mug 7 dear\np cup 1 other\na mug 4 yes");
        assert_eq!(session.action(), ("terminate", r#"{"type":"terminate"}"#.into()));
        (session.has, session.leaves) = (0, false);
        assert_eq!(session.rationale(), "k mug 7 dear\np cup 1 other\na mug 4 dear\nb mug 1 dear");
        assert_eq!(session.action(), ("terminate", r#"{"type":"terminate"}"#.into()));
        session.items.clear();
        assert_eq!(session.question(), "mug 0\nsearch");
        assert_eq!(
            session.action(),
            ("type_and_submit", r#"{"type":"type_and_submit","text":"mug"}"#.into())
        );
    }

    #[test]
    fn classes_have_their_shares_and_answers_are_json() {
        let rows = rows(Split::Train);
        assert_eq!(rows, self::rows(Split::Train));
        let share =
            |class: &str| rows.iter().filter(|row| text(row, "class") == class).count() as f64 / 4000.0;
        // Three deviations of a share p among 4000 rows are 3 √(p (1 − p) / 4000): at most 0.024.
        for (class, wanted) in [("terminate", 0.6), ("click", 0.25), ("type_and_submit", 0.15)] {
            assert!((share(class) - wanted).abs() < 0.024, "{class} {}", share(class));
        }
        for row in &rows {
            let action: Value = serde_json::from_str(text(row, "answer")).unwrap();
            assert_eq!(action["type"], text(row, "class"));
            assert!(
                ["question", "rationale", "answer"]
                    .iter()
                    .all(|f| text(row, f).chars().all(|c| ALPHABET.contains(c)))
            );
        }
    }

    #[test]
    fn some_leave_what_would_do() {
        let rows = Shop { leaves: 0.35, ..Shop::default() }.rows(Split::Train, 3).unwrap();
        let leaves =
            |row: &&Row| text(row, "class") == "terminate" && text(row, "rationale").ends_with("yes");
        let share = rows.iter().filter(leaves).count() as f64 / 4000.0;
        assert!((share - 0.35).abs() < 0.024, "{share}");
        let error = Shop { leaves: 0.7, ..Shop::default() }.rows(Split::Eval, 0).unwrap_err().to_string();
        assert!(error.contains("shop.leaves = 0.7: it is a part of `terminate`"), "{error}");
    }

    #[test]
    fn no_page_of_results_is_in_both_splits() {
        let pages = |split| -> HashSet<String> {
            let results = rows(split).into_iter().filter(|row| text(row, "class") != "type_and_submit");
            results.map(|row| text(&row, "question").to_string()).collect()
        };
        assert!(pages(Split::Train).is_disjoint(&pages(Split::Eval)));
    }

    #[test]
    fn the_section_is_checked() {
        let error = Shop { terminate: 0.9, click: 0.2, ..Shop::default() }.rows(Split::Eval, 0).unwrap_err();
        let said = "shop.terminate = 0.9: terminate and click are shares: from 0, and 1 at most together";
        assert!(error.to_string().contains(said) && error.exit_code() == 2, "{error}");
    }
}
