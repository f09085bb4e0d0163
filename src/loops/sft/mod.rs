//! Supervised fine-tuning: −log p of each row's completion given its prompt, the prompt itself not learned; of a conversation,
//! of all the assistant's turns.

pub mod choices;
mod method;
pub mod reduce;
pub mod source;
pub mod spans;
mod taught;
pub mod views;
pub mod words;

use super::{LearnedOf, Method, Needs, Section, Selects, Setup, StageView, Worker, candidates};
use crate::data::row::some;
use crate::data::{Dataset, Example, Feedback, Prompt, Tokenizer, given};
use crate::error::{Error, Result};
use crate::model::Sequence;
use crate::policy::choices::Choice;
use crate::rationale::Format;
use crate::rollout::{Prompted, trace};
use crate::section::{Misfit, broken, under};
use crate::select::Select;
use crate::select::reduce::Reduce;
use choices::Choices;
use method::SftMethod;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use source::BestSource;
use spans::SpanWeight;
use std::collections::BTreeSet;
use std::sync::Arc;
use taught::with_completion;
use views::View;
use words::Words;

/// `[loop.sft]`: supervised fine-tuning on the rows' completions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sft {
    /// Rows whose prompt and completion together are longer are left out, and counted; the model's context by
    /// default.
    pub max_tokens: Option<usize>,
    /// Shorten rationales as they are learned, by what the policy can do without (VARR).
    pub reduce: Option<Reduce>,
    /// Begin every pass over the data with a fresh optimiser: what it remembers of gradients is forgotten, and the schedule goes on. By default
    /// where rationales are shortened (`reduce`), as VARR does.
    pub fresh_optimizer: Option<bool>,
    /// What is learned of a row, where that is several things: each view has a prompt and a completion of its own (RVISA). A row of which no view is
    /// learned is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub view: Vec<View>,
    /// Parts of completions that count more or less than the rest, or nothing (GOAT).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<SpanWeight>,
    /// A column with such parts of the row's completion: a list of `[start, end, weight]`, in bytes.
    pub spans_from: Option<String>,
    /// Of several files of traces learn the one whose scores are best on average: which teacher, or which way of writing, the model takes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<BestSource>,
    /// Leave out words of prompts while they are learned from, the others at their positions.
    pub words: Option<Words>,
    /// Learn which of the rows' `choices` is right, each read behind a rationale of its own (PINTO), instead of completions.
    pub choices: Option<Choices>,
    /// Passes of each row under different dropout (`policy.dropout`), the mean of whose logits is learned by (MC-CoT has 5).
    pub votes: Option<usize>,
}

impl Sft {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found =
            broken(&[(!matches!(self.max_tokens, Some(0 | 1)), "max_tokens", "it must be at least 2")]);
        found.extend(under("reduce", self.reduce.iter().flat_map(Reduce::check)));
        found.extend(under("source", self.source.iter().flat_map(BestSource::check)));
        found.extend(under("words", self.words.iter().flat_map(Words::check)));
        found.extend(under("choices", self.choices.iter().flat_map(Choices::check)));
        let several = self.votes.is_none_or(|votes| votes > 1);
        found.extend(broken(&[(several, "votes", "one pass is no vote; give at least 2, such as 5")]));
        for (at, view) in self.view.iter().enumerate() {
            found.extend(under(&format!("view.{at}"), view.check()));
        }
        for (at, span) in self.spans.iter().enumerate() {
            found.extend(under(&format!("spans.{at}"), span.check()));
        }
        let mut names = BTreeSet::new();
        let twice = self.view.iter().position(|view| !names.insert(&view.name));
        found.extend(twice.map(|at| {
            Misfit::new(format!("view.{at}.name"), "another view has this name", "give each its own")
        }));
        let others = [
            ("view", !self.view.is_empty()),
            ("spans", !self.spans.is_empty()),
            ("spans_from", self.spans_from.is_some()),
            ("words", self.words.is_some()),
            ("reduce", self.reduce.is_some()),
        ];
        for (key, _) in others.into_iter().filter(|(_, there)| *there) {
            if self.choices.is_some() {
                let apart = "loop.sft.choices learns choices, and this is of completions";
                found.push(Misfit::new(key, apart, "leave one of the two out"));
            } else if self.reduce.is_some() && key != "reduce" {
                let apart = "rationales are shortened where a whole row is learned, all its tokens alike";
                found.push(Misfit::new(key, apart, "leave out this key, or reduce"));
            }
        }
        if self.spans_from.is_some() && !self.view.is_empty() {
            let message = "its places are those of a row's one completion, and views have several";
            found.push(Misfit::new("spans_from", message, "weigh by loop.sft.spans"));
        }
        found
    }

    /// The rows that `select` keeps, where they are traces of rollouts; other rows stand as they are.
    pub fn prepare(&self, rows: Dataset, select: &Select, format: &Format) -> Result<Dataset> {
        let groups = match trace::groups(&rows.examples, format) {
            Ok(groups) => groups,
            Err(no) if no.mixed => {
                let said = |lacks: &str| {
                    format!(
                        "it is no trace of a rollout ({lacks}), though other rows are; take it out, or mend the line"
                    )
                };
                return no.problems(&rows.examples, said).into_result().map(|()| rows);
            }
            Err(_) if *select != (Select { pairs: select.pairs.clone(), ..Select::default() }) => {
                return Err(Error::Data(format!(
                    "{}: [select] keeps and drops rollouts, and these rows are no traces of any; put [select] into \
                     the stage that samples, or learn from a stage's traces (data.train = \"@stage\")",
                    rows.name
                )));
            }
            Err(_) => {
                judged_bad(&rows).iter().for_each(|told| tracing::warn!("{told}"));
                return Ok(rows);
            }
        };
        let places = trace::places(&rows.examples);
        let kept = groups.iter().zip(places).flat_map(|(group, places)| {
            let candidates = candidates(group);
            select.keep(&candidates).into_iter().map(|at| places[at]).collect::<Vec<_>>()
        });
        let mut kept: Vec<usize> = kept.collect();
        kept.sort_unstable();
        if kept.is_empty() {
            return Err(Error::Data(format!(
                "{}: [select] keeps none of its {} traces",
                rows.name,
                rows.examples.len()
            )));
        }
        let renumbered =
            |(index, at): (usize, usize)| Arc::new(Example { index, ..(*rows.examples[at]).clone() });
        Ok(Dataset { examples: kept.into_iter().enumerate().map(renumbered).collect(), name: rows.name })
    }

    /// The row as a training sequence: prompt, completion, end of sequence.
    ///
    /// # Errors
    /// [`Error::Data`] if the row has no completion.
    pub fn sequence(worker: &Worker, row: &Prompted) -> Result<Sequence> {
        let text = row.example.completion.as_deref().ok_or_else(|| {
            Error::Data(format!(
                "{}: it has no completion to learn; give it a `rationale` and `answer`, or a `completion`, \
                 or set data.template.assistant",
                row.example
            ))
        })?;
        Self::learning(worker, row, text)
    }

    /// The same with another completion.
    fn learning(worker: &Worker, row: &Prompted, text: &str) -> Result<Sequence> {
        with_completion(&worker.policy.tokenizer, row, text)
    }
}

impl Section for Sft {
    fn check(&self) -> Vec<Misfit> {
        Sft::check(self)
    }

    fn needs(&self, _: &StageView) -> Needs {
        let formless = self.reduce.is_none() && self.choices.is_none();
        let of_rows = Needs { trains: true, rows: true, rows_alone: true, ..Needs::default() };
        Needs { drops: true, formless, selects: Selects::Rollouts, ..of_rows }
    }

    fn columns(&self) -> Vec<(String, String)> {
        let needed = self.reduce.as_ref().and_then(|reduce| reduce.needed_from.as_ref());
        let named = [("spans_from", self.spans_from.as_ref()), ("reduce.needed_from", needed)];
        named.into_iter().filter_map(|(key, column)| Some((key.to_owned(), column?.clone()))).collect()
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        let mut found = Vec::new();
        if self.votes.is_some() && stage.policy.dropout == 0.0 {
            let message = "without dropout all passes are alike";
            found.push(Misfit::new("loop.sft.votes", message, "set policy.dropout, such as 0.1"));
        }
        let (Some(choices), Some(eval)) = (&self.choices, stage.eval) else { return found };
        match &eval.choices {
            None if eval.ask => found.push(Misfit::new(
                "eval",
                "loop.sft.choices teaches which choice is right, and no answers to write",
                "add [eval.choices], or set eval.ask = false",
            )),
            Some(asked) if *asked != choices.choosing() => found.push(Misfit::new(
                "eval.choices.rationale",
                "it is not that of loop.sft.choices, which is learned",
                "write both alike; another stage, of loop.evaluate, may ask otherwise",
            )),
            _ => {}
        }
        found
    }

    /// TRL's for SFT.
    fn learning_rate(&self) -> f64 {
        2e-5
    }

    fn learned_of(&self, tokenizer: &Tokenizer, row: &Prompted) -> Result<Vec<LearnedOf>> {
        if let Some(choices) = &self.choices {
            // The answers' form is not known here: it only adds some tokens between rationale and choice.
            let (all, _) = choices.of(tokenizer, row, &Format::default())?;
            let learned = |one: Choice| LearnedOf { called: "choice".into(), sequence: one.sequence };
            return Ok(all.into_iter().map(learned).collect());
        }
        let taught = self.taught(tokenizer, row)?;
        let called =
            |view: Option<usize>| view.map_or("completion".into(), |at| self.view[at].name.clone().into());
        Ok(taught
            .into_iter()
            .map(|one| LearnedOf { called: called(one.view), sequence: one.sequence })
            .collect())
    }

    fn figures(&self) -> &'static [&'static str] {
        match self.choices {
            None => &["loss", "perplexity"],
            Some(_) => &["loss", "accuracy", "gold", "gold_hidden", "gold_swapped"],
        }
    }

    fn measures(&self, row: &Example) -> bool {
        if let Some(choices) = &self.choices {
            return choices.measures(row);
        }
        match self.view.is_empty() {
            true => row.completion.is_some(),
            false => self.view.iter().any(|view| view.of(row).is_ok_and(|seen| seen.is_some())),
        }
    }

    fn longest(&self) -> Option<(&'static str, usize)> {
        self.max_tokens.map(|tokens| ("max_tokens", tokens))
    }

    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>> {
        setup.rows = self.prepare(std::mem::take(&mut setup.rows), setup.select, setup.format)?;
        if let Some(source) = &self.source {
            setup.rows = source.of(std::mem::take(&mut setup.rows))?;
        }
        match &self.choices {
            Some(choices) => choices.look_at(&setup.rows)?,
            None if self.view.is_empty() => have_completions(&setup.rows)?,
            None => self.keep_seen(&mut setup.rows)?,
        }
        if self.words.is_some() {
            have_prompts(&setup.rows)?;
        }
        self.look_at_spans(&setup.rows)?;
        if let Some(shortens) = &self.reduce {
            given::refuse(&setup.rows.examples, "loop.sft.reduce shortens")?;
            reduce::look_at(shortens, &setup.rows, setup.format)?;
        }
        Ok(Box::new(SftMethod { sft: self.clone() }))
    }
}

/// All rows must have something to learn.
fn have_completions(rows: &Dataset) -> Result<()> {
    let all = rows.examples.iter().map(|row| &**row);
    let lacking: Vec<&Example> = all.filter(|row| row.completion.is_none()).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let (count, have) = (lacking.len(), if lacking.len() == 1 { "has" } else { "have" });
    Err(Error::Data(format!(
        "{count} of {} rows {have} no completion to learn: {}; give them a `rationale` and `answer`, or a `completion`, or \
         set data.template.assistant",
        rows.examples.len(),
        some(&lacking)
    )))
}

/// All rows must have a prompt, of which words can be left out.
fn have_prompts(rows: &Dataset) -> Result<()> {
    let alone = |row: &&Example| matches!(&row.prompt, Prompt::Text(text) if text.is_empty());
    let without: Vec<&Example> = rows.examples.iter().map(|row| &**row).filter(alone).collect();
    if without.is_empty() {
        return Ok(());
    }
    Err(Error::Data(format!(
        "{} of {} rows have no prompt, of which loop.sft.words could leave words out: {}; give them a `question` or `prompt`",
        without.len(),
        rows.examples.len(),
        some(&without)
    )))
}

/// What is said of rows whose `label` calls their completion bad, which is learned all the same.
fn judged_bad(rows: &Dataset) -> Option<String> {
    let bad = |row: &&Example| matches!(row.feedback, Some(Feedback::Label { good: false, .. }));
    let bad: Vec<&Example> = rows.examples.iter().map(|row| &**row).filter(bad).collect();
    (!bad.is_empty()).then(|| {
        format!(
            "the `label` of {} of {} rows calls their completion bad, and loop.sft learns it all the same: {}; leave them out, or learn \
             from both with loop.dpo and loss.kind = \"kto\"",
            bad.len(),
            rows.examples.len(),
            some(&bad)
        )
    })
}

#[cfg(test)]
mod tests;
