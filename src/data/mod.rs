//! Examples: the rows of a dataset as the rest of the engine sees them, from `[data]`'s files, hub or task.

mod beside;
pub mod called;
pub mod chat;
mod choices;
pub mod columns;
pub mod conversation;
mod csv;
mod dialects;
pub mod feedback;
pub mod given;
mod gold;
pub mod hinted;
pub mod hub;
mod jinja;
pub mod json;
pub mod jsonl;
mod marked;
pub mod numbered;
pub mod order;
mod packed;
pub mod parquet;
mod pieces;
pub mod preference;
pub mod questions;
pub mod renaming;
mod replies;
pub mod residual;
pub mod row;
pub mod rubrics;
mod said;
pub mod shots;
pub mod source;
pub mod spans;
pub mod tasks;
pub mod template;
pub mod threads;
pub mod tokenizer;
pub mod turns;
mod typed;
pub mod unfilled;
pub mod uses;
pub mod tree;

pub use conversation::{Message, Prompt, THINKING};
pub use feedback::{Feedback, FeedbackCompletion};
pub use hub::Hub;
pub use questions::{Prompted, Questions};
pub use residual::Residual;
pub use source::Sources;
pub use template::Template;
pub use tokenizer::Tokenizer;

use crate::error::{Error, Result};
use crate::nearest::nearest;
use crate::rationale::Format;
use crate::section::{Misfit, under};
use renaming::{KNOWN, Renaming};
use row::{Problems, Row};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tasks::Task;

/// What the model learns from: `[data]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// Training rows: a `.jsonl`, `.json` (one object a line, or one array of objects), `.csv`, `.tsv` or `.parquet` file (text may be
    /// packed: `.gz`, `.zst`), a folder of such, or a dataset of the Hugging Face Hub as `hub:owner/name[:config][/split][@revision]`; or a
    /// list of these. Paths are relative to the current directory. Without `/split` a hub dataset's `train` split is read.
    #[serde(skip_serializing_if = "Sources::is_empty")]
    pub train: Sources,
    /// Held-out rows, written as `train` is. Without `/split` a hub dataset's `test` split is read, or else its
    /// validation split.
    #[serde(skip_serializing_if = "Sources::is_empty")]
    pub eval: Sources,
    /// Rows made inside the program, in place of `train` and `eval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Read the first so many training rows.
    pub train_limit: Option<usize>,
    /// Read the first so many held-out rows.
    pub eval_limit: Option<usize>,
    /// Examples a training step uses.
    pub prompts_per_step: usize,
    /// Shuffle the training rows, anew in every epoch; off, they come in file order.
    pub shuffle: bool,
    /// Drop the examples whose prompt has more tokens; they are counted and reported.
    pub max_prompt_tokens: Option<usize>,
    /// Columns that have another name in the files: `columns.question = "problem"` reads `problem` as `question`.
    pub columns: BTreeMap<String, String>,
    /// What an integer `answer` beside `choices` is, where it is no label of theirs: `"from_0"` or `"from_1"`, the place of the choice, or `"text"`. By
    /// default an integer that is written as the choices are, and is one of them, is that one; others count from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integer_answers: Option<numbered::IntegerAnswers>,
    /// Labels from a measured outcome, less what confounds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual: Option<Residual>,
    /// From columns to prompt and completion.
    pub template: Template,
    /// How a rationale is written.
    pub format: Format,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            train: Sources::default(),
            eval: Sources::default(),
            task: None,
            train_limit: None,
            eval_limit: None,
            prompts_per_step: 8,
            shuffle: true,
            max_prompt_tokens: None,
            columns: BTreeMap::new(),
            integer_answers: None,
            residual: None,
            template: Template::default(),
            format: Format::default(),
        }
    }
}

/// Which of `[data]`'s two sets of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// `data.train`.
    Train,
    /// `data.eval`.
    Eval,
}

impl Split {
    /// The key in `[data]`.
    pub fn key(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Eval => "eval",
        }
    }

    /// What files of it are called, the usual name first.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Split::Train => &["train", "training"],
            Split::Eval => &["test", "validation", "valid", "val", "dev", "eval", "heldout", "testing"],
        }
    }
}

/// Examples in the order of their files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// What the recipe calls it: its sources, or the task's name.
    pub name: String,
    /// The examples; `examples[i].index == i`, and no id occurs twice.
    pub examples: Vec<Arc<Example>>,
}

impl Data {
    /// What cannot be used, as far as it can be told without opening anything.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        if self.prompts_per_step == 0 {
            let message = "steps of no prompts learn nothing";
            found.push(Misfit::new("prompts_per_step", message, "give at least 1"));
        }
        if self.task.is_some() && !(self.train.is_empty() && self.eval.is_empty()) {
            let remedy = "leave out `data.train` and `data.eval`";
            found.push(Misfit::new("task", "[data.task] makes its own rows", remedy));
        }
        found.extend(self.columns.keys().filter_map(|ours| self.unread(ours)));
        found.extend(under("task", self.task.iter().flat_map(Task::check)));
        found.extend(under("residual", self.residual.iter().flat_map(Residual::check)));
        found.extend(under("template", self.template.check()));
        found.extend(under("format", self.format.check()));
        found
    }

    /// A name in `columns` that nothing reads and that is nearly one that is read. Others are carried along in traces, and templates of
    /// later stages may read them.
    fn unread(&self, ours: &str) -> Option<Misfit> {
        if KNOWN.contains(&ours) || self.template.names(ours) {
            return None;
        }
        let near = nearest(ours, KNOWN)?;
        let message = format!("rows are read by no column of the name `{ours}`; did you mean `{near}`?");
        let remedy = "known: id, question, system, prompt, messages, text, completion, completions, rationale, answer, choices, \
            chosen, rejected, label, weight, margin and what loops read; a template, a reward or `eval.by` names a column \
            as the files do";
        Some(Misfit::new(format!("columns.{ours}"), message, remedy))
    }

    /// Reads, checks and renders one of the two sets of rows. `seed` feeds the procedural tasks, and draws solved rows.
    ///
    /// # Errors
    /// [`Error::Data`] with the first ten unusable rows, each as `file:line: what is wrong`, and their number; or
    /// where the set has no source, a source is missing, or there are no rows.
    pub fn load(&self, split: Split, hub: &Hub, seed: u64) -> Result<Dataset> {
        let (rows, problems) = self.look(split, hub, seed)?;
        problems.into_result()?;
        Ok(rows)
    }

    /// The rows of [`load`](Self::load) that can be used, and what is wrong with others.
    ///
    /// # Errors
    /// As those of [`load`](Self::load) that are of no one row.
    pub fn look(&self, split: Split, hub: &Hub, seed: u64) -> Result<(Dataset, Problems)> {
        let mut problems = Problems::default();
        let mut renaming = Renaming::new(&self.columns);
        let mut rows = self.rows(split, hub, seed, &mut renaming, &mut problems)?;
        let name = self.name(split);
        if let Some(residual) = self.residual.as_ref().filter(|_| problems.is_empty()) {
            rows = residual.applied(rows, split, &name, &mut problems);
        }
        let shots = self.shot_rows(split, hub, seed, &rows, &mut problems)?;
        if rows.is_empty() && problems.is_empty() {
            let key = split.key();
            return Err(match self.limit(split) {
                0 => Error::Recipe(format!(
                    "data.{key}_limit = 0 leaves no row of {name}; take it out, or give more"
                )),
                _ => Error::Data(format!("{name} has no rows; `data.{key}` needs at least one")),
            });
        }
        // Held-out rows may lack what is only learned.
        let own = self.task.is_none() && self.train.is_empty();
        if problems.is_empty() && (split == Split::Train || own) {
            renaming.check(&name)?;
        }
        let examples = self.examples(&rows, shots.as_deref().unwrap_or(&rows), seed, &mut problems);
        if split == Split::Eval && problems.is_empty() {
            self.say_what_both_read();
        }
        Ok((Dataset { name, examples }, problems))
    }

    /// Whether the recipe gives rows for `split`.
    pub fn has(&self, split: Split) -> bool {
        self.task.is_some() || !self.sources(split).is_empty()
    }

    fn name(&self, split: Split) -> String {
        match &self.task {
            Some(task) => task.name().to_string(),
            None => self.sources(split).to_string(),
        }
    }

    fn sources(&self, split: Split) -> &Sources {
        if split == Split::Train { &self.train } else { &self.eval }
    }

    fn limit(&self, split: Split) -> usize {
        let limit = if split == Split::Train { self.train_limit } else { self.eval_limit };
        limit.unwrap_or(usize::MAX)
    }

    fn rows(
        &self,
        split: Split,
        hub: &Hub,
        seed: u64,
        renaming: &mut Renaming,
        problems: &mut Problems,
    ) -> Result<Vec<Row>> {
        let key = split.key();
        match &self.task {
            Some(_) if !self.train.is_empty() || !self.eval.is_empty() => Err(Error::Recipe(
                "[data.task] makes its own rows; leave out `data.train` and `data.eval`".to_string(),
            )),
            Some(task) => {
                let rows = task.rows(split, seed)?.into_iter().take(self.limit(split));
                Ok(rows.map(|row| Row { fields: renaming.apply(row.fields), ..row }).collect())
            }
            None if self.sources(split).is_empty() => Err(Error::Recipe(format!(
                "[data] has no `{key}`; name a file, a folder or `hub:owner/name`, or a task under [data.task]"
            ))),
            None => {
                let rows = self.sources(split).read(split, hub, renaming, self.limit(split), problems)?;
                Ok(numbered::settled(rows, self.integer_answers, problems))
            }
        }
    }

    fn examples(&self, rows: &[Row], shots: &[Row], seed: u64, problems: &mut Problems) -> Vec<Arc<Example>> {
        let mut writer = match template::Writer::new(&self.template, shots, seed) {
            Ok(writer) => writer,
            Err(what) => {
                problems.everywhere(what);
                return Vec::new();
            }
        };
        let (mut reader, mut examples) = (columns::Reader::new(rows, &self.template.roles), Vec::new());
        for row in rows {
            match reader.read(row).and_then(|columns| writer.example(row, columns, examples.len())) {
                Ok(example) => examples.push(Arc::new(example)),
                Err(what) => problems.at(row, what),
            }
        }
        if problems.is_empty() {
            writer.idle().iter().for_each(|told| tracing::warn!("{told}"));
        }
        examples
    }
}

/// Where an example was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as errors name it.
    pub file: Arc<str>,
    /// Line of a text file or row of a table, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A dataset row.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The row's `id` column, or its file's stem and its line as `stem:line`. Unique within its dataset; groups are keyed by it.
    pub id: String,
    /// Where it was read, if it was: what its messages begin with.
    pub origin: Option<Origin>,
    /// Position in its dataset, counted from 0. Seeds derive from it.
    pub index: usize,
    /// What the policy is asked.
    pub prompt: Prompt,
    /// The solved rows that the prompt shows first.
    pub shots: Vec<Arc<shots::Shot>>,
    /// Turns of the prompt that supervised training learns beside the completion: the assistant's earlier ones, where the row
    /// is a conversation (`messages`).
    pub learned_turns: Vec<usize>,
    /// What the chat template is given beside the turns: `data.template.variables`, the row's `chat_template_kwargs` and `tools`.
    pub variables: Arc<Map<String, Value>>,
    /// The completion that supervised training learns, where the row or the template gives one.
    pub completion: Option<String>,
    /// The turn that the completion is the text of, where it has more than a text: the chat template says how that is written.
    pub reply: Option<Arc<Message>>,
    /// The row's own completions (`completions`, or the one `completion`), for `rollout.dataset`.
    pub completions: Vec<String>,
    /// Which of two completions is better, or whether one is good, where the row says so.
    pub feedback: Option<Feedback>,
    /// The gold answer.
    pub answer: Option<String>,
    /// The options of a multiple-choice question, in order.
    pub choices: Vec<String>,
    /// Every column of the row.
    pub fields: Map<String, Value>,
}

impl Example {
    /// The first row of a dataset, with a prompt of plain text and nothing else.
    pub fn text(id: impl Into<String>, prompt: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            origin: None,
            index: 0,
            prompt: Prompt::Text(prompt.into()),
            shots: Vec::new(),
            learned_turns: Vec::new(),
            variables: Arc::default(),
            completion: None,
            reply: None,
            completions: Vec::new(),
            feedback: None,
            answer: None,
            choices: Vec::new(),
            fields: Map::new(),
        }
    }
}

/// As messages name it: `file:line (example id)`.
impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin} (example {})", self.id),
            None => write!(f, "example {}", self.id),
        }
    }
}
