//! Prompts of which one solved row is answered as the model has answered it itself: input-rationale ensembles (Wang et al. 2022, arXiv 2207.00747).

use super::variants::Variants;
use super::{Search, SearchResult};
use crate::data::renaming::Renaming;
use crate::data::row::Problems;
use crate::data::shots::Shot;
use crate::data::{Example, Prompt, jsonl};
use crate::error::{Error, Result};
use crate::rationale::answer;
use crate::rationale::equality::Equality;
use crate::rollout::{Picks, Prompted, SamplingContext, Trace};
use crate::section::Misfit;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// The right answers to one prompt, each once.
#[derive(Debug, Clone, PartialEq)]
struct Answered {
    prompt: Prompt,
    completions: Vec<String>,
}

/// Samples of variants whose traces have been read.
#[derive(Debug, Clone)]
pub(super) struct Swapped {
    variants: Variants,
    answered: Arc<[Answered]>,
}

impl Answered {
    /// Whether this is what a solved row asks: all that the prompt says, or what it says behind solved rows of its own.
    fn asks(&self, user: &str) -> bool {
        match &self.prompt {
            Prompt::Text(text) => {
                text.strip_suffix(user).is_some_and(|before| before.is_empty() || before.ends_with("\n\n"))
            }
            Prompt::Chat(turns) => {
                turns.iter().rfind(|turn| turn.role != "assistant").is_some_and(|turn| turn.content == user)
            }
        }
    }
}

impl Swapped {
    /// With the right answers among the traces in `from`.
    ///
    /// # Errors
    /// A file that is not there, or holds something else, or no right answer.
    pub fn read(variants: &Variants, from: &str) -> Result<Self> {
        let path = Path::new(from);
        if !path.is_file() {
            return Err(Error::Data(format!(
                "rollout.variants.from = \"{from}\": there is no such file; name a stage of loop.collect as \"@stage\", or a file of its traces"
            )));
        }
        let (columns, mut problems) = (BTreeMap::new(), Problems::default());
        let rows = jsonl::read(path, from.into(), &mut Renaming::new(&columns), usize::MAX, &mut problems)?;
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut answered: Vec<Answered> = Vec::new();
        for row in rows {
            let trace: Trace = match serde_json::from_value(Value::Object(row.fields.clone())) {
                Ok(trace) => trace,
                Err(error) => {
                    problems.at(
                        &row,
                        format!(
                            "it is no trace of a rollout ({error}), as rollout.variants.from has to hold"
                        ),
                    );
                    continue;
                }
            };
            let gold = trace.answer.as_deref().and_then(answer::gold);
            let both = gold.zip(trace.predicted.as_deref());
            if !both.is_some_and(|(gold, said)| {
                Equality::of(Some(gold), &trace.choices).asked(trace.prompt.question()).same(gold, said)
            }) {
                continue;
            }
            let next = answered.len();
            let at = *places.entry(format!("{:?}", trace.prompt)).or_insert(next);
            if at == next {
                answered.push(Answered { prompt: trace.prompt, completions: vec![] });
            }
            let text = trace.completion.trim_end().to_string();
            if !answered[at].completions.contains(&text) {
                answered[at].completions.push(text);
            }
        }
        problems.into_result()?;
        if answered.is_empty() {
            return Err(Error::Data(format!(
                "rollout.variants.from = \"{from}\": none of its traces has the right answer; sample more of them, or from a better policy"
            )));
        }
        Ok(Self { variants: variants.clone(), answered: answered.into() })
    }

    /// The row behind the same solved rows, of which one has an answer of the model's own.
    fn shown(&self, example: &Example, sample: usize, drawn: u64) -> Result<Option<Example>> {
        let count = example.shots.len();
        let otherwise = |at: usize| {
            let user = &example.shots[at].user;
            let own = self.answered.iter().find(|one| one.asks(user))?;
            let assistant = own.completions[(drawn % own.completions.len() as u64) as usize].clone();
            let mut shots = example.shots.clone();
            let said = [&example.shots[at].said[..], std::slice::from_ref(&assistant)].concat();
            shots[at] = Arc::new(Shot { user: user.clone(), assistant, said });
            example.showing(shots)
        };
        let shown = (0..count).map(|by| (sample + by) % count).find_map(otherwise);
        shown.map(Some).ok_or_else(|| {
            Error::Data(format!(
                "{example}: rollout.variants.from has a right answer to none of the {count} solved rows that its prompt shows; collect those that are \
                 shown (data.template.few_shot and few_shot_from), more often where they are hard"
            ))
        })
    }
}

impl Search for Swapped {
    fn name(&self) -> &'static str {
        Search::name(&self.variants)
    }

    fn picks(&self) -> Picks<'_> {
        Search::picks(&self.variants)
    }

    fn with(&self, n: usize) -> Box<dyn Search> {
        Box::new(Self { variants: Variants { n, ..self.variants.clone() }, ..self.clone() })
    }

    fn check(&self) -> Vec<Misfit> {
        Search::check(&self.variants)
    }

    fn writes_itself(&self) -> bool {
        self.variants.writes_itself()
    }

    fn find(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<SearchResult>> {
        self.variants.sampled(prompts, context, |example, sample, drawn| self.shown(example, sample, drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Message;
    use crate::rollout::search::Vary;
    use serde_json::json;

    fn trace(prompt: Value, completion: &str, predicted: &str) -> String {
        let trace = json!({
            "id": "a/1-0", "example": "a", "step": 1, "prompt": prompt, "answer": "5", "steps": [], "completion": completion,
            "predicted": predicted, "stop": "length", "scores": {}, "reward": 1.0, "advantage": null, "prompt_ids": [1],
            "completion_ids": [2], "logprobs": [-0.5],
        });
        format!("{trace}\n")
    }

    fn swapped(traces: &[String]) -> Result<Swapped> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("traces.jsonl");
        std::fs::write(&file, traces.concat()).unwrap();
        let from = file.to_str().unwrap().to_string();
        let variants = Variants { vary: Vary::Rationale, from: Some(from.clone()), ..Variants::default() };
        Swapped::read(&variants, &from)
    }

    fn shown() -> Example {
        let shot = |user: &str, assistant: &str| {
            Arc::new(Shot { user: user.into(), assistant: assistant.into(), said: vec![] })
        };
        let shots = vec![shot("2+3=", "five: 5"), shot("1+4=", "four, 5")];
        Example { shots, ..Example::text("x", "2+3=five: 5\n\n1+4=four, 5\n\n3+3=") }
    }

    /// Right answers stand in the place of the row's own, each by the sample's number and its draw; wrong ones never do.
    #[test]
    fn a_solved_row_is_answered_as_the_model_did() {
        let asked = json!("9+9=eighteen\n\n2+3=");
        let traces = [
            trace(asked.clone(), "so 5\n", "5"),
            trace(asked.clone(), "so 6", "6"),
            trace(asked, "then 5", "5"),
            trace(json!("2+3=12+3="), "never 5", "5"),
        ];
        let swapped = swapped(&traces).unwrap();
        assert_eq!(swapped.answered[0].completions, ["so 5", "then 5"]);
        let text = |sample: usize, drawn: u64| {
            let Prompt::Text(text) = swapped.shown(&shown(), sample, drawn).unwrap().unwrap().prompt else {
                panic!("a text")
            };
            text
        };
        assert_eq!(text(0, 4), "2+3=so 5\n\n1+4=four, 5\n\n3+3=");
        assert_eq!(text(2, 7), "2+3=then 5\n\n1+4=four, 5\n\n3+3=");
        // Nobody has answered the second: the next is the first.
        assert_eq!(text(1, 0), text(0, 0));
        let other = Example {
            shots: vec![Arc::new(Shot { user: "7+7=".into(), assistant: "14".into(), said: vec![] })],
            ..shown()
        };
        let said = swapped.shown(&other, 0, 0).unwrap_err().to_string();
        assert!(said.contains("a right answer to none of the 1 solved rows"), "{said}");
    }

    #[test]
    fn conversations_are_told_by_their_last_turn() {
        let turns = json!([{"role": "system", "content": "add"}, {"role": "user", "content": "1+4="}]);
        let swapped = swapped(&[trace(turns, "own 5", "5")]).unwrap();
        assert!(swapped.answered[0].asks("1+4=") && !swapped.answered[0].asks("4="));
        let turn = |role: &str, text: &str| Message::new(role, text);
        let of = |own: &str| {
            let turns = [
                ("user", "2+3="),
                ("assistant", "five: 5"),
                ("user", "1+4="),
                ("assistant", own),
                ("user", "3+3="),
            ];
            Prompt::Chat(turns.map(|(role, text)| turn(role, text)).to_vec())
        };
        let example = Example { prompt: of("four, 5"), ..shown() };
        assert_eq!(swapped.shown(&example, 1, 3).unwrap().unwrap().prompt, of("own 5"));
    }

    #[test]
    fn files_without_right_answers_are_refused() {
        let told = |traces: &[String]| swapped(traces).unwrap_err().to_string();
        assert!(told(&[trace(json!("2+3="), "6", "6")]).contains("none of its traces has the right answer"));
        assert!(told(&["{\"prompt\": \"2+3=\"}\n".to_string()]).contains("traces.jsonl:1: it is no trace"));
        let said = Swapped::read(&Variants::default(), "nowhere.jsonl").unwrap_err().to_string();
        assert!(said.contains("there is no such file"), "{said}");
    }
}
