//! The words of each question that its gold answer hangs on, as a column of the traces: material for rationales that show them (AMPLIFY, Krishna et al. 2023,
//! arXiv 2305.11426; Self-AMPLIFY, Bhan et al. 2024, arXiv 2402.12038).

use crate::data::Example;
use crate::data::row::need;
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::Worker;
use crate::policy::attribution::{Asked, Word, question};
use crate::rollout::Group;
use crate::section::{Misfit, broken};
use crate::seed;
use crate::text::words::says_little;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The column that traces get.
pub const COLUMN: &str = "keywords";

/// `[loop.collect.keywords]`: the words of the question that the policy's log p of the gold answer, right behind the prompt, hangs on most go to the
/// column `keywords` of the traces, a list in the order of the text. Rows without a gold answer are refused. Words that say little by themselves are none. A later stage shows
/// them with its solved rows: `data.template.few_shot_from = "@stage"` and `few_shot_show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keywords {
    /// What says how much hangs on a word.
    pub by: By,
    /// How many words there are at most.
    pub top: usize,
    /// What stands between prompt and answer; `data.format.close` by default.
    pub cue: Option<String>,
}

/// What says how much hangs on a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// log p(answer) less that without the word: one pass for all words.
    Occlusion,
    /// The gradient of log p(answer) by the word's embeddings, times these.
    Gradient,
    /// Nothing: words are drawn. The control.
    Random,
}

impl Default for Keywords {
    fn default() -> Self {
        Self { by: By::Occlusion, top: 5, cue: None }
    }
}

impl Keywords {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[(self.top > 0, "top", "at least one word is asked for")])
    }

    /// What rows lack of it.
    pub fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        let none: Vec<&Example> = rows.iter().copied().filter(|row| row.gold().is_none()).collect();
        let remedy = "add an `answer` column, which the words are to be important for";
        if none.is_empty() {
            vec![]
        } else {
            vec![Misfit::new("", need("a gold answer", &none, rows.len()), remedy)]
        }
    }

    /// Gives the questions of `groups` their words.
    pub fn find<'a>(
        &self,
        worker: &Worker,
        groups: impl IntoIterator<Item = &'a mut Group>,
        step: usize,
        metrics: &mut Metrics,
    ) -> Result<()> {
        let cue = self.cue.clone().or_else(|| worker.format.cue()).ok_or_else(|| {
            Error::Recipe(
                "loop.collect.keywords.cue is missing: data.format has no answer form that begins with a text".into(),
            )
        })?;
        for group in groups {
            let example = &group.example;
            let policy = &worker.policy;
            let words = policy.words_of(&group.prompt, question(example));
            let answer = example.gold().unwrap_or_default();
            let asked = Asked { before: &cue, answer };
            let scores = match self.by {
                By::Occlusion => policy.missed(&group.prompt, &words, asked, worker.tokens_per_microbatch)?,
                By::Gradient => policy.moving(&group.prompt, &words, asked)?,
                By::Random => {
                    let seed = [worker.seed, seed::of_text("keywords"), step as u64, example.index as u64];
                    let drawn = |at: usize| seed::uniform(seed::derive(&[seed::derive(&seed), at as u64]));
                    (0..words.len()).map(drawn).collect()
                }
            };
            let found = most(&words, &scores, self.top);
            metrics.add("keywords/words", found.len() as f64, 1.0);
            let found = found.into_iter().map(Value::from).collect();
            Arc::make_mut(&mut group.example).fields.insert(COLUMN.into(), Value::Array(found));
        }
        Ok(())
    }
}

/// The `top` words of the greatest scores, in the order of the text; one that comes several times counts by its greatest, and where it first stands. Words that
/// say little are none of them.
fn most(words: &[Word], scores: &[f64], top: usize) -> Vec<String> {
    let mut known: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for (at, (word, score)) in
        words.iter().zip(scores).enumerate().filter(|(_, (word, _))| !says_little(&word.text))
    {
        let best = known.entry(&word.text).or_insert((at, *score));
        best.1 = best.1.max(*score);
    }
    let mut all: Vec<(&str, usize, f64)> =
        known.into_iter().map(|(word, (at, score))| (word, at, score)).collect();
    // Of equals those that stand before.
    all.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.1.cmp(&b.1)));
    all.truncate(top);
    all.sort_by_key(|(_, at, _)| *at);
    all.into_iter().map(|(word, ..)| word.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Prompt, Questions};
    use crate::policy::tests::tiny;
    use crate::rationale::Format;
    use crate::reward::Rewards;

    fn words(text: &str) -> Vec<Word> {
        text.split(' ').map(|word| Word { text: word.into(), tokens: 0..0 }).collect()
    }

    /// "river" comes twice and counts once, by 0.9, where it first stands; "the" says little, whatever its score.
    #[test]
    fn the_words_that_count_most_stand_in_the_texts_order() {
        let all = words("river runs the deep river");
        let scores = [0.1, 0.5, 2.0, 0.6, 0.9];
        assert_eq!(most(&all, &scores, 2), ["river", "deep"]);
        assert_eq!(most(&all, &scores, 9), ["river", "runs", "deep"]);
        assert_eq!(most(&all, &[0.0; 5], 2), ["river", "runs"]);
        assert!(most(&[], &[], 3).is_empty());
    }

    /// What is missed most comes first where one word is asked for; gradient and chance have words of the question too.
    #[test]
    fn questions_get_their_words() {
        let policy = tiny(1, 1, 3);
        let example = Example { answer: Some("ash".into()), ..Example::text("row:1", "hip low, tem high?") };
        let prompt = policy.tokenizer.encode("hip low, tem high?").unwrap();
        let all = policy.words_of(&prompt, "hip low, tem high?");
        let asked = Asked { before: "\n#### ", answer: "ash" };
        let missed = policy.missed(&prompt, &all, asked, 64).unwrap();
        let best = (0..4).max_by(|&a, &b| missed[a].total_cmp(&missed[b])).unwrap();
        let worker = Worker::new(policy, Questions::default(), Rewards::none(), Format::default());
        let found = |section: &str| -> Vec<String> {
            let keywords: Keywords = toml::from_str(section).unwrap();
            let example = Arc::new(example.clone());
            let mut groups = [Group { example, prompt: prompt.clone(), rollouts: vec![], place: 0 }];
            let mut metrics = Metrics::default();
            keywords.find(&worker, &mut groups, 1, &mut metrics).unwrap();
            assert_eq!(groups[0].example.prompt, Prompt::Text("hip low, tem high?".into()));
            let found: Vec<String> =
                serde_json::from_value(groups[0].example.fields[COLUMN].clone()).unwrap();
            assert_eq!(metrics.get("keywords/words"), Some(found.len() as f64));
            found
        };
        assert_eq!(found("top = 1"), [all[best].text.as_str()]);
        assert_eq!(found(""), ["hip", "low", "tem", "high"]);
        let [gradient, random] = ["by = \"gradient\"\ntop = 2", "by = \"random\"\ntop = 2"].map(found);
        let known = |words: &[String]| {
            words.len() == 2 && words.iter().all(|word| all.iter().any(|one| one.text == *word))
        };
        assert!(known(&gradient) && known(&random));
    }

    #[test]
    fn rows_without_an_answer_are_refused() {
        let (with, without) = (
            Example { answer: Some("a".into()), ..Example::text("row:1", "?") },
            Example::text("row:2", "?"),
        );
        let found = Keywords::default().check_rows(&[&with, &without]);
        assert!(found[0].message.starts_with("needs a gold answer and 1 of 2 rows has none"), "{found:?}");
        assert!(Keywords::default().check_rows(&[&with]).is_empty());
        assert_eq!(Keywords { top: 0, ..Keywords::default() }.check()[0].key, "top");
    }
}
