//! The answer of most votes among samples whose prompts differ: `[rollout.variants]` (rationale-augmented ensembles, Wang et al. 2022, arXiv
//! 2207.00747; other wordings and levels of one prompt).

use super::swapped::Swapped;
use super::{Search, SearchResult, no_negative};
use crate::data::row::need;
use crate::data::template::{Jinja, values};
use crate::data::unfilled::{Unfilled, fault, misfits};
use crate::data::{Example, Message, Prompt, order};
use crate::engine::Request;
use crate::error::{Error, Result};
use crate::rollout::{Group, Picks, Prompted, Rollout, SamplingContext, Source};
use crate::section::{Misfit, broken};
use crate::select::vote::vote;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// `n` samples of each prompt, of which each has a prompt of its own; the answer of most votes is the answer. Evaluations give accuracy by variant,
/// and that of votes among 1, 2, 4, … n. The group keeps the prompt as it is, and completions have no log-probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Variants {
    /// Samples of each prompt; sample i, from 0, has variant i mod their number.
    pub n: usize,
    /// What differs.
    pub vary: Vary,
    /// For `templates`: the prompts, `[[rollout.variants.template]]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub template: Vec<Variant>,
    /// For `rationale`: the traces of a stage that answered the solved rows, `"@stage"`, or a file of such.
    pub from: Option<String>,
    /// The reward whose scores the votes are weighed by; all votes count alike by default.
    pub by: Option<String>,
}

/// What differs between the prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Vary {
    /// Nothing: self-consistency.
    None,
    /// The order of the solved rows that the prompt shows (`data.template.few_shot`), drawn for each sample.
    Order,
    /// One of the solved rows is answered as the model has answered it itself and rightly, by the traces of `from`: of k rows row i mod k in sample i, or the
    /// next that has such an answer, which is drawn.
    Rationale,
    /// The wording, by `template`.
    Templates,
}

/// A wording of the prompt. What it leaves out stays as `[data.template]` has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Variant {
    /// Its name in figures.
    pub name: String,
    /// The user's last turn, a Jinja template over the row's columns and `prompt`, the turn as it is.
    pub user: Option<Jinja>,
    /// The system turn, likewise; of a plain-text prompt it is the first block.
    pub system: Option<Jinja>,
    /// What the completion begins with, likewise; it is part of the prompt.
    pub begin: Option<Jinja>,
}

impl Default for Variants {
    fn default() -> Self {
        Self { n: 8, vary: Vary::None, template: vec![], from: None, by: None }
    }
}

impl Variant {
    fn texts(&self) -> [(&'static str, Option<&Jinja>); 3] {
        [("user", self.user.as_ref()), ("system", self.system.as_ref()), ("begin", self.begin.as_ref())]
    }

    /// A row's prompt in this wording.
    fn of(&self, example: &Example) -> Result<Prompt> {
        let values = values(example);
        let written = |(key, text): (&str, Option<&Jinja>)| {
            let rendered = text.map(|text| text.render(&values)).transpose();
            rendered.map_err(|error| {
                Error::Data(format!("{example}: rollout.variants.template {:?}: {key}: {error:#}", self.name))
            })
        };
        let [user, system, begin] = self.texts();
        let (user, system, begin) = (written(user)?, written(system)?, written(begin)?);
        Ok(match &example.prompt {
            Prompt::Text(text) => {
                let asked = text.rsplit_once("\n\n").filter(|_| !example.shots.is_empty());
                let (before, last) =
                    asked.map_or((None, text.as_str()), |(before, last)| (Some(before), last));
                let last = user.as_deref().unwrap_or(last);
                let blocks = [system.as_deref(), before, Some(last)].into_iter().flatten();
                Prompt::Text(blocks.collect::<Vec<_>>().join("\n\n") + &begin.unwrap_or_default())
            }
            Prompt::Chat(_) => {
                let mut turns = crate::rollout::conversation(&example.prompt, system.as_deref(), None);
                let asked = turns.iter().rposition(|turn| turn.role != "assistant");
                if let (Some(user), Some(at)) = (user, asked) {
                    turns[at].content = user;
                }
                if let Some(begin) = begin {
                    turns.truncate(asked.map_or(0, |at| at + 1));
                    turns.push(Message::new("assistant", begin));
                }
                Prompt::Chat(turns)
            }
        })
    }
}

impl Search for Variants {
    fn name(&self) -> &'static str {
        "variants"
    }

    fn picks(&self) -> Picks<'_> {
        Picks { n: self.n, by: self.by.as_deref(), independent: true, judged: self.by.is_some() }
    }

    fn with(&self, n: usize) -> Box<dyn Search> {
        Box::new(Self { n, ..self.clone() })
    }

    fn writes_itself(&self) -> bool {
        false
    }

    fn variant(&self, sample: usize) -> Option<&str> {
        let named = self.template.get(sample % self.template.len().max(1));
        named.filter(|_| self.vary == Vary::Templates).map(|variant| variant.name.as_str())
    }

    fn check(&self) -> Vec<Misfit> {
        let names: HashSet<&str> = self.template.iter().map(|variant| variant.name.as_str()).collect();
        let templates = self.vary == Vary::Templates;
        let mut found = broken(&[
            (self.n > 0, "n", "at least one is needed"),
            (
                (self.vary == Vary::Rationale) == self.from.is_some(),
                "from",
                "vary = \"rationale\" takes the traces of a stage that answered the solved rows, such as \"@written\", and nothing else does",
            ),
            (
                templates != self.template.is_empty(),
                "template",
                "vary = \"templates\" takes at least one [[rollout.variants.template]], and nothing else does",
            ),
            (
                names.len() == self.template.len() && !names.contains(""),
                "template",
                "each needs a name of its own",
            ),
            (
                !templates || self.n >= self.template.len(),
                "n",
                "so many samples have no place for every template; set it to a multiple of their number",
            ),
        ]);
        for (at, variant) in self.template.iter().enumerate() {
            for (key, text) in variant.texts() {
                let wrong = text.and_then(|text| text.check().err());
                found.extend(
                    wrong.map(|error| Misfit::new(format!("template.{at}.{key}"), format!("{error:#}"), "")),
                );
            }
        }
        found
    }

    fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        match self.vary {
            Vary::None | Vary::Rationale => vec![],
            Vary::Order => {
                let alone: Vec<&Example> = rows.iter().copied().filter(|row| row.shots.len() < 2).collect();
                let message = need("two solved rows to put in another order", &alone, rows.len());
                let none = Misfit::new("vary", message, "set data.template.few_shot to 2 or more");
                (!alone.is_empty()).then_some(none).into_iter().collect()
            }
            Vary::Templates => misfits(rows, |row| self.faults(row)),
        }
    }

    fn opened(&self) -> Result<Option<Box<dyn Source>>> {
        let Some(from) = &self.from else { return Ok(None) };
        Ok(Some(Box::new(Swapped::read(self, from)?)))
    }

    fn find(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<SearchResult>> {
        match &self.from {
            Some(from) => Swapped::read(self, from)?.find(prompts, context),
            None => {
                self.sampled(prompts, context, |example, sample, drawn| self.reworded(example, sample, drawn))
            }
        }
    }
}

impl Variants {
    /// Searches among samples of which each has the prompt of what `shown` makes of the row, by the sample's number and a seed of its own; none is the row as it is.
    pub(super) fn sampled(
        &self,
        prompts: &[Prompted],
        context: &mut SamplingContext,
        shown: impl Fn(&Example, usize, u64) -> Result<Option<Example>>,
    ) -> Result<Vec<SearchResult>> {
        let mut requests = Vec::new();
        for (place, prompted) in prompts.iter().enumerate() {
            for sample in 0..self.n {
                let seed = context.seeds.draw(place, &[sample as u64]);
                let drawn = context.seeds.of_stage(place, &[sample as u64, 1]);
                let prompt = match shown(&prompted.example, sample, drawn)? {
                    Some(own) => tokens(&own, context)?,
                    None => prompted.tokens.clone(),
                };
                requests.push(Request { prompt, seeds: vec![seed] });
            }
        }
        let (policy, format) = (context.policy, context.format);
        let generated = policy.sampler().generate(&requests, context.sampling, context.progress)?;
        context.tokens += generated.statistics.decoded_tokens;
        let mut sampled = generated.completions.into_iter().flatten();
        let mut groups = Vec::new();
        for prompted in prompts {
            let rollouts = sampled.by_ref().take(self.n).map(|completion| {
                Rollout::decoded(completion.tokens, vec![], completion.stop, &policy.tokenizer, format)
            });
            groups.push(Group::of(prompted, rollouts.collect()));
        }
        context.scorer.score(&mut groups)?;
        let found = groups.into_iter().map(|group| {
            let scores = match &self.by {
                Some(by) => super::scores(&group, Some(by))?,
                None => vec![1.0; group.rollouts.len()],
            };
            no_negative(&group, &scores, self.name())?;
            let chosen = vote(&group.classes(), &scores).map_or(0, |(first, _)| first);
            Ok(SearchResult { group, chosen })
        });
        found.collect()
    }

    /// Which of the wordings cannot be filled in from a row.
    fn faults(&self, row: &Example) -> Vec<(String, Unfilled)> {
        let known = values(row);
        let of = |(at, variant): (usize, &Variant)| {
            let written = variant.texts().into_iter().filter_map(|(key, text)| Some((key, text?)));
            let faults = written
                .filter_map(|(key, text)| Some((format!("template.{at}.{key}"), fault(text, &known, &[])?)));
            faults.collect::<Vec<_>>()
        };
        self.template.iter().enumerate().flat_map(of).collect()
    }

    /// What a sample's prompt is of; `drawn` draws the order of what it shows.
    fn reworded(&self, example: &Example, sample: usize, drawn: u64) -> Result<Option<Example>> {
        match self.vary {
            Vary::None | Vary::Rationale => Ok(None),
            Vary::Order => {
                let mut places: Vec<usize> = (0..example.shots.len()).collect();
                order::shuffle(&mut places, drawn);
                let shown = (places.len() > 1).then(|| example.reordered(&places)).flatten();
                shown.map(Some).ok_or_else(|| {
                    Error::Data(format!(
                        "{example}: its prompt shows {} solved rows, of which there is no other order; set data.template.few_shot to 2 or more",
                        example.shots.len()
                    ))
                })
            }
            Vary::Templates => {
                let variant = &self.template[sample % self.template.len()];
                Ok(Some(Example { prompt: variant.of(example)?, ..example.clone() }))
            }
        }
    }
}

/// The prompt of a variant as token ids.
fn tokens(own: &Example, context: &SamplingContext) -> Result<Vec<u32>> {
    let tokens = context.policy.tokenizer.render_example(own)?;
    if tokens.len() >= context.policy.context() {
        return Err(Error::Data(format!(
            "{own}: a variant of its prompt has {} tokens and leaves no room for an answer; shorten it, or lower data.max_prompt_tokens",
            tokens.len()
        )));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_prompt_is_written_in_other_words() {
        let variants: Variants = toml::from_str(
            "vary = \"templates\"\nn = 4\n[[template]]\nname = \"short\"\nuser = \"{{ x }}?\"\n\
             [[template]]\nname = \"long\"\nsystem = \"be brief\"\nbegin = \"so \"",
        )
        .unwrap();
        assert_eq!(Search::check(&variants), []);
        assert_eq!([0, 1, 2].map(|sample| variants.variant(sample).unwrap()), ["short", "long", "short"]);
        let mut example = Example::text("x", "what is 3");
        example.fields.insert("x".into(), json!("3"));
        let of = |at: usize, example: &Example| variants.template[at].of(example).unwrap();
        assert_eq!(of(0, &example), Prompt::Text("3?".into()));
        assert_eq!(of(1, &example), Prompt::Text("be brief\n\nwhat is 3so ".into()));
        example.prompt = Prompt::Chat(vec![Message::new("user", "what is 3")]);
        assert_eq!(of(0, &example), Prompt::Chat(vec![Message::new("user", "3?")]));
        let turns = [("system", "be brief"), ("user", "what is 3"), ("assistant", "so ")];
        assert_eq!(
            of(1, &example),
            Prompt::Chat(turns.map(|(role, text)| Message::new(role, text)).to_vec())
        );
    }

    #[test]
    fn rows_that_a_wording_cannot_be_filled_in_from_are_named() {
        let variants: Variants = toml::from_str(
            "vary = \"templates\"\nn = 2\n[[template]]\nname = \"a\"\nuser = \"{{ x }} {{ prompt }}\"\n\
             [[template]]\nname = \"b\"\nbegin = \"{{ x.y }}{{ z | upcase }}\"",
        )
        .unwrap();
        let row = |id: &str, fields: serde_json::Value| Example {
            fields: fields.as_object().unwrap().clone(),
            ..Example::text(id, "q")
        };
        let rows = [row("r:1", json!({"x": {"y": 1}, "z": 2})), row("r:2", json!({"z": 2}))];
        let rows: Vec<&Example> = rows.iter().collect();
        let found = Search::check_rows(&variants, &rows);
        let keys: Vec<&str> = found.iter().map(|misfit| misfit.key.as_str()).collect();
        assert_eq!(keys, ["template.0.user", "template.1.begin", "template.1.begin"], "{found:?}");
        assert_eq!(found[0].message, "uses `x`, which 1 of 2 rows does not have: r:2; known: z");
        assert!(found.iter().any(|misfit| misfit.message.contains("unknown filter")), "{found:?}");
        assert_eq!(Search::check_rows(&Variants::default(), &rows), []);
        let order = Variants { vary: Vary::Order, ..Variants::default() };
        let found = Search::check_rows(&order, &rows);
        assert_eq!(
            (found.len(), found[0].message.as_str()),
            (1, "needs two solved rows to put in another order and 2 of 2 rows have none: r:1, r:2")
        );
    }

    #[test]
    fn the_section_is_checked() {
        let keys = |text: &str| -> Vec<String> {
            let variants: Variants = toml::from_str(text).unwrap();
            Search::check(&variants).into_iter().map(|misfit| misfit.key).collect()
        };
        assert_eq!(keys("vary = \"templates\""), ["template"]);
        assert_eq!(keys("[[template]]\nname = \"a\""), ["template"]);
        let two = "vary = \"templates\"\nn = 1\n[[template]]\nname = \"a\"\nuser = \"{{ x\"\n[[template]]\nname = \"a\"";
        assert_eq!(keys(two), ["template", "n", "template.0.user"]);
        assert!(keys("vary = \"order\"").is_empty());
        assert_eq!(keys("vary = \"rationale\""), ["from"]);
        assert_eq!(keys("from = \"traces.jsonl\""), ["from"]);
        assert!(keys("vary = \"rationale\"\nfrom = \"traces.jsonl\"").is_empty());
    }
}
