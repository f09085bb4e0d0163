//! What a reward needs before it can score, as plain data that is looked at when a run opens: of every row, of the other rewards,
//! of the machine.

mod machine;
mod rows;
mod templates;

use crate::data::Example;
use crate::data::template::Jinja;
use crate::section::Misfit;
use std::path::{Path, PathBuf};

/// What a reward needs. Keys are those of its own section that ask for it, empty for the section itself.
///
/// ```
/// use rationale::reward::{Holds, Wants};
/// let wants = Wants::default()
///     .gold("add an `answer` column")
///     .column("hint_column", "hint", Holds::Text)
///     .variable("api_key_env", "HINTS_API_KEY");
/// assert_eq!((wants.rows.len(), wants.machine.len()), (2, 1));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wants {
    /// Of every row.
    pub rows: Vec<RowWant>,
    /// Templates that are filled in from every row.
    pub templates: Vec<TemplateWant>,
    /// Of the other rewards: the key, and the name of one that has to be scored before.
    pub rewards: Vec<(String, String)>,
    /// Of the machine: the key, and what has to be there.
    pub machine: Vec<(String, MachineWant)>,
    /// Of the policy: the key, and a layer that it has to have, counted from 1.
    pub layers: Vec<(String, usize)>,
    /// Of the rollouts: that they are episodes of an environment.
    pub episodes: bool,
}

/// Something that every row must have.
#[derive(Debug, Clone, PartialEq)]
pub struct RowWant {
    /// The key that asks for it.
    pub key: String,
    /// What it is.
    pub of: OfRow,
    /// Only rows with these texts at these paths need it.
    pub only: Vec<(String, String)>,
    /// What to do about rows that lack it.
    pub remedy: String,
}

/// A template over rows and completions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateWant {
    /// The key that it stands under.
    pub key: String,
    /// The template.
    pub text: Jinja,
    /// Names that the reward fills in itself: `gold` is the row's answer, `steps` a list, all else texts of a completion.
    pub given: Vec<String>,
}

/// What a row can have.
#[derive(Debug, Clone, PartialEq)]
pub enum OfRow {
    /// A gold answer.
    Gold,
    /// A gold answer that is a number.
    GoldNumber,
    /// A gold answer that is one of the row's choices, by letter or text.
    GoldChoice,
    /// Choices.
    Choices,
    /// A column, or by dots a place inside one.
    Column(String, Holds),
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Holds {
    /// Whatever it is.
    Anything,
    /// A text, not empty.
    Text,
    /// A number, words around it aside.
    Number,
    /// A whole number above 0.
    Count,
    /// An instruction about form that can be checked, as [`crate::text::instruction::Instruction`] reads it.
    Instruction,
    /// One of these texts.
    OneOf(Vec<String>),
}

/// What a machine can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineWant {
    /// An environment variable that is set.
    Variable(String),
    /// A program: a path, or a name on the `PATH`.
    Program(String),
    /// A file.
    File(PathBuf),
    /// A model: a folder or a hub id.
    Model(String),
    /// A model that scores, as a stage with `[loop.prm]` leaves it: a folder or a hub id.
    RewardModel(String),
}

impl Wants {
    /// A gold answer of every row; `remedy` where some have none.
    pub fn gold(self, remedy: &str) -> Self {
        self.row("", OfRow::Gold, remedy)
    }

    /// Of every row a column, or by dots a place inside one; `key` names it.
    pub fn column(self, key: &str, path: &str, holds: Holds) -> Self {
        self.row(key, OfRow::Column(path.to_owned(), holds), "")
    }

    /// Of every row `of`; `key` asks for it.
    pub fn row(mut self, key: &str, of: OfRow, remedy: &str) -> Self {
        self.rows.push(RowWant { key: key.to_owned(), of, only: vec![], remedy: remedy.to_owned() });
        self
    }

    /// Of every row, that `template`, under `key`, can be filled in from it. `given` are the names that the reward fills in itself, as
    /// [`TemplateWant::given`] has them.
    pub fn template(mut self, key: &str, template: &Jinja, given: &[&str]) -> Self {
        let given = given.iter().map(|name| (*name).to_owned()).collect();
        self.templates.push(TemplateWant { key: key.to_owned(), text: template.clone(), given });
        self
    }

    /// The score of another reward, which `key` names.
    pub fn reward(mut self, key: &str, name: &str) -> Self {
        self.rewards.push((key.to_owned(), name.to_owned()));
        self
    }

    /// A layer of the policy, counted from 1, which `key` names.
    pub fn layer(mut self, key: &str, layer: usize) -> Self {
        self.layers.push((key.to_owned(), layer));
        self
    }

    /// An environment variable, which `key` names.
    pub fn variable(self, key: &str, name: &str) -> Self {
        self.machine(key, MachineWant::Variable(name.to_owned()))
    }

    /// A program and its arguments, of which the script of an interpreter is looked for too.
    pub fn command(self, key: &str, command: &[String]) -> Self {
        let Some(program) = command.first() else { return self };
        let wants = self.machine(key, MachineWant::Program(program.clone()));
        let python =
            Path::new(program).file_name().is_some_and(|name| name.to_string_lossy().starts_with("python"));
        match command.get(1).filter(|script| python && !script.starts_with('-')) {
            Some(script) => wants.machine(key, MachineWant::File(script.into())),
            None => wants,
        }
    }

    /// A model, which `key` names.
    pub fn model(self, key: &str, name: &str) -> Self {
        self.machine(key, MachineWant::Model(name.to_owned()))
    }

    /// A reward model, which `key` names.
    pub fn reward_model(self, key: &str, name: &str) -> Self {
        self.machine(key, MachineWant::RewardModel(name.to_owned()))
    }

    /// What `rows` lack of it, a misfit for each need: how many rows, and the first three by their ids.
    pub fn check_rows<'a>(&self, rows: impl Iterator<Item = &'a Example> + Clone) -> Vec<Misfit> {
        let mut found: Vec<Misfit> = self.rows.iter().filter_map(|want| want.misfit(rows.clone())).collect();
        if !self.templates.is_empty() {
            let rows: Vec<&Example> = rows.collect();
            found.extend(self.templates.iter().flat_map(|want| want.misfits(&rows)));
        }
        found
    }

    /// `want` of the machine; `key` asks for it.
    pub fn machine(mut self, key: &str, want: MachineWant) -> Self {
        self.machine.push((key.to_owned(), want));
        self
    }
}
