//! Short answers to science questions, marked by a rubric: a procedural stand-in for the marked answers of thought trees (Li et al.
//! 2024, arXiv 2406.19949), whose own are not free to share.

use super::drawn::{self, share};
use crate::data::Split;
use crate::data::order::{below, shuffle};
use crate::data::row::Row;
use crate::error::Result;
use crate::rationale::rubric::{Question, Reply, Rubric};
use crate::section::{Misfit, all_fit, broken};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

/// Every character of the task's questions, rationales and marks.
pub const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789:.?# \n";

const MOST_ROWS: usize = 10_000;

/// Marked answers: `[data.task.marking]`. A pupil names something on some of a rubric's four elements; what is named may be
/// clear, vague or wrong, and of the vague ones the rubric credits half, always the same. `answer` is the human mark, from 0 to
/// 3: four credited elements give 3, three give 2, two give 1, but for some noise. `rationale` and `assessed` are a careless
/// assessor's: each element's reply with the word that it rests on, and the mark that these come to; what is vague is taken
/// either way. `rubric` is the rubric itself, `set` its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Marking {
    /// Training rows.
    pub train: usize,
    /// Held-out rows.
    pub eval: usize,
    /// Sets of questions, each with a rubric of its own: 1 or 2.
    pub sets: usize,
    /// Share of the elements on which something vague is named.
    pub vague: f64,
    /// Share of the vague words that the assessor takes the wrong way.
    pub careless: f64,
    /// Share of the human marks that are one off.
    pub noise: f64,
}

impl Default for Marking {
    fn default() -> Self {
        Self { train: 2000, eval: 400, sets: 1, vague: 0.35, careless: 0.5, noise: 0.05 }
    }
}

/// What may be said of an element.
struct Element {
    name: &'static str,
    clear: [&'static str; 2],
    /// Vague, and credited.
    hint: &'static str,
    /// Vague, and not credited.
    near: &'static str,
    wrong: &'static str,
}

const fn element(
    name: &'static str,
    clear: [&'static str; 2],
    hint: &'static str,
    near: &'static str,
    wrong: &'static str,
) -> Element {
    Element { name, clear, hint, near, wrong }
}

const SETS: [(&str, [Element; 4]); 2] = [
    (
        "leaf",
        [
            element("light", ["sun", "lamp"], "bright", "warm", "dark"),
            element("water", ["rain", "juice"], "moist", "steam", "dry"),
            element("gas", ["air", "carbon"], "breath", "open", "smoke"),
            element("green", ["green", "vein"], "young", "tall", "white"),
        ],
    ),
    (
        "rust",
        [
            element("iron", ["iron", "steel"], "nail", "hard", "wood"),
            element("oxygen", ["oxygen", "breeze"], "outside", "free", "sealed"),
            element("moist", ["wet", "drips"], "pond", "cold", "baked"),
            element("salt", ["salt", "brine"], "sea", "road", "lime"),
        ],
    ),
];

/// How an element is treated in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Clear(usize),
    Hint,
    Near,
    Wrong,
}

/// A pupil's answer: the set, what is said of each element, the order of the words.
struct Pupil {
    set: usize,
    said: [Said; 4],
    order: Vec<usize>,
}

impl Marking {
    /// The rows of a split by the seed; no answer is in both splits, or twice in one.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        all_fit("data.task.marking", self, self.check())?;
        let wanted = if split == Split::Train { self.train } else { self.eval };
        let draw = |_: usize, rng: &mut ChaCha8Rng| {
            let pupil = self.pupil(rng);
            Some((pupil.question(), pupil))
        };
        let what = "answers with so many vague words";
        drawn::rows("marking", what, (split, wanted, seed), draw, |index, question, pupil, rng| {
            Ok(self.row(index, question, &pupil, rng))
        })
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let share = |share: f64| (0.0..=1.0).contains(&share);
        broken(&[
            (share(self.vague), "vague", "it is a share: from 0 to 1"),
            (share(self.careless), "careless", "it is a share: from 0 to 1"),
            (share(self.noise), "noise", "it is a share: from 0 to 1"),
            ((1..=SETS.len()).contains(&self.sets), "sets", "it must be 1 or 2"),
            (self.train <= MOST_ROWS, "train", "it may be 10000 at most"),
            (self.eval <= MOST_ROWS, "eval", "it may be 10000 at most"),
        ])
    }

    /// Of what is not vague, half is clear, a third is not said and a sixth is wrong.
    fn pupil(&self, rng: &mut ChaCha8Rng) -> Pupil {
        let mut said = [Said::Nothing; 4];
        for one in &mut said {
            *one = match (share(rng) < self.vague, below(rng, 6)) {
                (true, draw) => [Said::Hint, Said::Near][draw as usize % 2],
                (false, draw @ 0..=2) => Said::Clear(draw as usize % 2),
                (false, 3 | 4) => Said::Nothing,
                _ => Said::Wrong,
            };
        }
        let mut order: Vec<usize> = (0..4).filter(|&at| said[at] != Said::Nothing).collect();
        shuffle(&mut order, rng.next_u64());
        Pupil { set: below(rng, self.sets as u64) as usize, said, order }
    }

    fn row(&self, index: usize, question: String, pupil: &Pupil, rng: &mut ChaCha8Rng) -> Row {
        let vague = |said: Said| matches!(said, Said::Hint | Said::Near);
        let credited = pupil.said.map(|said| matches!(said, Said::Clear(_) | Said::Hint));
        let mut assessed = credited;
        for (yes, said) in assessed.iter_mut().zip(pupil.said) {
            *yes ^= vague(said) && share(rng) < self.careless;
        }
        let mark = mark(&credited);
        let human = match (share(rng) < self.noise, below(rng, 2)) {
            (true, 0) if mark > 0 => mark - 1,
            (true, _) if mark < 3 => mark + 1,
            (true, _) => mark - 1,
            _ => mark,
        };
        let mut fields = Map::new();
        fields.insert("id".into(), json!(format!("pupil-{index}")));
        fields.insert("question".into(), json!(question));
        fields.insert("rationale".into(), json!(pupil.rationale(&assessed)));
        fields.insert("answer".into(), json!(human.to_string()));
        fields.insert("assessed".into(), json!(self::mark(&assessed).to_string()));
        fields.insert("set".into(), json!(SETS[pupil.set].0));
        fields.insert("rubric".into(), json!(rubric(pupil.set)));
        Row { file: "marking".into(), stem: "marking".into(), line: index + 1, fields }
    }
}

/// What the rubrics' formula says.
fn mark(credited: &[bool; 4]) -> usize {
    credited.iter().filter(|yes| **yes).count().saturating_sub(1)
}

fn rubric(set: usize) -> Rubric {
    let (name, elements) = &SETS[set];
    let reply = |say: &str, marks| Reply { say: say.into(), marks };
    let question = |element: &Element| Question {
        name: element.name.into(),
        ask: format!("{}?", element.name),
        weight: 1.0,
        options: vec![reply("yes", 1.0), reply("no", 0.0)],
    };
    Rubric {
        name: (*name).into(),
        formula: "total - 1 if total >= 1 else 0".into(),
        questions: elements.iter().map(question).collect(),
    }
}

impl Pupil {
    fn word(&self, at: usize) -> Option<&'static str> {
        let element = &SETS[self.set].1[at];
        match self.said[at] {
            Said::Nothing => None,
            Said::Clear(which) => Some(element.clear[which]),
            Said::Hint => Some(element.hint),
            Said::Near => Some(element.near),
            Said::Wrong => Some(element.wrong),
        }
    }

    fn question(&self) -> String {
        let said: Vec<&str> = self.order.iter().filter_map(|&at| self.word(at)).collect();
        let said = if said.is_empty() { "none".to_string() } else { said.join(". ") };
        format!("{}: {said}.", SETS[self.set].0)
    }

    fn rationale(&self, replies: &[bool; 4]) -> String {
        let line = |at: usize| {
            let reply = if replies[at] { "yes" } else { "no" };
            format!("{}? {reply}: {}", SETS[self.set].1[at].name, self.word(at).unwrap_or("unsaid"))
        };
        (0..4).map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tasks::tests::text;
    use std::collections::HashSet;

    fn rows(task: &Marking, split: Split) -> Vec<Row> {
        task.rows(split, 3).unwrap()
    }

    /// Two words on four elements: a clear one, and one that is vague and not credited.
    #[test]
    fn an_answer_is_assessed_by_element() {
        let said = [Said::Clear(1), Said::Nothing, Said::Near, Said::Nothing];
        let pupil = Pupil { set: 0, said, order: vec![2, 0] };
        assert_eq!(pupil.question(), "leaf: open. lamp.");
        let rationale = pupil.rationale(&[true, false, true, false]);
        assert_eq!(rationale, "light? yes: lamp\nwater? no: unsaid\ngas? yes: open\ngreen? no: unsaid");
        let nothing = Pupil { set: 1, said: [Said::Nothing; 4], order: vec![] };
        assert_eq!(nothing.question(), "rust: none.");
    }

    /// The rubric that a row brings gives the rationale's replies the mark that the row says.
    #[test]
    fn the_rubric_of_a_row_marks_its_rationale() {
        let rows = rows(&Marking::default(), Split::Train);
        assert_eq!(rows, self::rows(&Marking::default(), Split::Train));
        let mut marks = [0; 4];
        for row in &rows {
            let rubric: Rubric = serde_json::from_value(row.fields["rubric"].clone()).unwrap();
            rubric.check().unwrap();
            let replies = text(row, "rationale").lines().zip(&rubric.questions).map(|(line, question)| {
                question
                    .reply(line.strip_prefix(question.words()).unwrap().split(':').next().unwrap())
                    .unwrap()
            });
            let mark = rubric.mark(&replies.collect::<Vec<_>>()).unwrap();
            assert_eq!(mark.to_string(), text(row, "assessed"));
            marks[text(row, "answer").parse::<usize>().unwrap()] += 1;
            for name in ["question", "rationale", "answer"] {
                assert!(text(row, name).chars().all(|c| ALPHABET.contains(c)), "{}", text(row, name));
            }
        }
        assert!(marks.iter().all(|count| *count > 60), "every mark is given: {marks:?}");
    }

    /// Without carelessness the assessor's mark is the rubric's, so it differs from the human one where there is noise: of 2000
    /// marks 400 ± 3·√(2000·0.2·0.8) = 54.
    #[test]
    fn noise_and_carelessness_have_their_shares() {
        let off = |task: &Marking| {
            rows(task, Split::Train).iter().filter(|row| text(row, "answer") != text(row, "assessed")).count()
        };
        let careful = Marking { careless: 0.0, noise: 0.2, sets: 2, ..Marking::default() };
        assert!(off(&careful).abs_diff(400) < 54, "{}", off(&careful));
        assert_eq!(off(&Marking { noise: 0.0, ..careful.clone() }), 0);
        assert!(off(&Marking { careless: 0.5, noise: 0.0, ..careful }) > 400);
    }

    #[test]
    fn no_answer_is_in_both_splits() {
        let answers = |split| -> HashSet<String> {
            rows(&Marking::default(), split).iter().map(|row| text(row, "question").to_string()).collect()
        };
        assert!(answers(Split::Train).is_disjoint(&answers(Split::Eval)));
        let error = Marking { noise: 2.0, ..Marking::default() }.rows(Split::Eval, 0).unwrap_err();
        let said = "recipe: data.task.marking.noise = 2.0: it is a share: from 0 to 1";
        assert_eq!((error.to_string().as_str(), error.exit_code()), (said, 2));
        // Two words for each of four elements in any order make 2⁴ · 4! = 384 answers.
        let error = Marking { vague: 1.0, ..Marking::default() }.rows(Split::Train, 0).unwrap_err();
        assert!(error.to_string().contains("not 2000 different answers"), "{error}");
    }
}
