//! A training method: the section that says how, and the object that does it.

use super::{Batch, Item, Leaves, OfTraces, Worker};
use crate::data::{Data, Dataset, Example, Hub, Prompted, Tokenizer};
use crate::error::Result;
use crate::eval::{Eval, Report, RowFigures};
use crate::log::Metrics;
use crate::model::{Config, Model, ScoredTokens, Sequence};
use crate::optim::SMALL_LR;
use crate::policy::{PolicyConfig, Refresh};
use crate::rationale::Format;
use crate::rollout::{Trace, Traits};
use crate::section::{Idle, Misfit};
use crate::select::Select;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Debug;
use tch::Tensor;

/// `[loop.NAME]`: plain data with documented keys, from which a [`Method`] is built.
pub trait Section: Debug + Send + Sync + 'static {
    /// Those of its own keys whose values cannot be used, by their paths from here: `beta`, not `loop.awr.beta`.
    fn check(&self) -> Vec<Misfit>;

    /// What a stage has to have for it, and what the plan says of it.
    fn needs(&self, stage: &StageView) -> Needs;

    /// The sequences that it learns of a row as it stands, for previews and so that rows that are too long are said before the run;
    /// none where it learns of what is sampled.
    fn learned_of(&self, _tokenizer: &Tokenizer, _row: &Prompted) -> Result<Vec<LearnedOf>> {
        Ok(vec![])
    }

    /// What it reads in a row beside sequences, a line each, for previews.
    fn read_of(&self, _row: &Prompted, _format: &Format) -> Vec<String> {
        vec![]
    }

    /// The figures that its loss comes to on held-out rows ([`Method::held_out`]), which are read and not answered; none of methods that tell
    /// nothing of them.
    fn figures(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it tells them of this row.
    fn measures(&self, _row: &Example) -> bool {
        false
    }

    /// Its key that bounds them, and the bound; the model's context alone where there is none.
    fn longest(&self) -> Option<(&'static str, usize)> {
        None
    }

    /// Those of its own keys that are without effect beside the others.
    fn idle(&self) -> Vec<Idle> {
        vec![]
    }

    /// What of the stage's other sections does not go with it, by their full paths.
    fn fits(&self, _stage: &StageView) -> Vec<Misfit> {
        vec![]
    }

    /// What some of the training rows lack of what its keys name, by their paths from here; each message goes on from its key, as
    /// `needs a column …`. `whole` where these are all rows, and not the first of many. Looked at when a run opens.
    fn check_rows(&self, _rows: &[&Example], _whole: bool) -> Vec<Misfit> {
        vec![]
    }

    /// Those of its keys that name a column of every training row, by their paths from here, with the columns: looked at where the rows are
    /// traces that an earlier stage is still to write.
    fn columns(&self) -> Vec<(String, String)> {
        vec![]
    }

    /// What of its keys does not go with the stage's model, by their paths from here. Looked at when a run opens.
    fn fits_model(&self, _tokenizer: &Tokenizer, _shape: &Config) -> Vec<Misfit> {
        vec![]
    }

    /// Refuses rows of which it could not learn once they are tokenised, where it says more of them than which are too long: those whose prompt
    /// is short enough, `whole` where these are all, for a model of this context. Looked at when a run opens.
    ///
    /// # Errors
    /// Rows that it cannot learn from.
    fn fits_rows(
        &self,
        _tokenizer: &Tokenizer,
        _context: usize,
        (_rows, _whole): (&mut dyn Iterator<Item = Prompted>, bool),
        _format: &Format,
    ) -> Result<()> {
        Ok(())
    }

    /// What there is to say of training rows that it can learn from all the same. Looked at when a run opens.
    fn notes(&self, _rows: &[&Example]) -> Vec<String> {
        vec![]
    }

    /// `optim.lr` where the recipe does not say, for the weights themselves: adapters take ten times as much.
    fn learning_rate(&self) -> f64 {
        SMALL_LR
    }

    /// Makes the method. The stage's rows are read and the policy is not: users err in their data, and models take long to load.
    ///
    /// # Errors
    /// Rows that it cannot learn from ([`Error::Data`](crate::Error::Data), naming them).
    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>>;
}

/// A sequence that is learned of a row, and what it is there: `completion`, `chosen`, `rejected`, …
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedOf {
    /// What it is.
    pub called: Cow<'static, str>,
    /// Its tokens, and which of them are learned.
    pub sequence: Sequence,
}

/// A training method at work: what it learns from, and by what loss. Micro-batches, the optimiser, checkpoints, devices and
/// ranks are the training loop's affair (`run`), and a method never sees them. An error from any of these ends the run, with
/// its message and exit code. `Registry::method` gives one a name, `[loop.NAME]`:
///
/// ```
/// use rationale::log::Metrics;
/// use rationale::loops::{Batch, Item, Method, Needs, Output, Section, Setup, StageView, Worker, sft::Sft};
/// use rationale::schemars::{self, JsonSchema};
/// use rationale::section::Misfit;
/// use rationale::{Registry, Result};
/// use serde::{Deserialize, Serialize};
/// use tch::{Kind, Tensor};
///
/// /// Learns the rows' completions.
/// #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields, default)]
/// struct Imitate {}
///
/// impl Section for Imitate {
///     fn check(&self) -> Vec<Misfit> {
///         vec![]
///     }
///
///     fn needs(&self, _: &StageView) -> Needs {
///         Needs { trains: true, rows: true, ..Needs::default() }
///     }
///
///     fn build(&self, _: &mut Setup) -> Result<Box<dyn Method>> {
///         Ok(Box::new(self.clone()))
///     }
/// }
///
/// impl Method for Imitate {
///     fn batch(&mut self, worker: &mut Worker, step: usize, _: &mut Metrics) -> Result<Batch> {
///         let rows = worker.questions.of_step(step);
///         let items = rows.iter().map(|row| Ok(Item::of(vec![Sft::sequence(worker, row)?])));
///         Ok(Batch::of_completions(items.collect::<Result<_>>()?))
///     }
///
///     fn loss(&self, _: &[&Item], output: &Output, _: &mut Metrics) -> Result<Tensor> {
///         Ok(-output.scored.logprobs.sum(Kind::Float))
///     }
/// }
///
/// let registry = Registry::default().method::<Imitate>("imitate");
/// assert!(registry.methods.names().contains(&"imitate"));
/// ```
///
/// [How to write one](crate::extending#a-method): it has one that samples, weighs and remembers.
pub trait Method {
    /// Called once, before the first step and before a resumed run's weights are restored: the policy is as the stage found
    /// it, and gets what it needs beside the model. `kept` is what an earlier call returned; what this one returns is kept in
    /// the run.
    fn begin(&mut self, _context: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Rolls out, scores, selects and credits for `step` (counted from 1 in each stage). `metrics` takes the step's figures: means by
    /// their weights, so that those of several micro-batches and ranks come to one.
    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch>;

    /// The *sum* of the items' losses: a scalar with gradient, from what the model says of their learned tokens
    /// (`output.scored.logprobs` and `entropy`, `[learned tokens]`) and of their places (`states`, `[places, hidden]`), those of all
    /// items end to end. Items of one update come here in any number of calls, so that nothing may be divided by their number here.
    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor>;

    /// Called after each step, its updates and the evaluation that was due then, with the figures of both. Whether the stage
    /// ends here.
    fn after(&mut self, _context: &mut Worker, _step: usize, _metrics: &Metrics) -> Result<bool> {
        Ok(false)
    }

    /// Whether a stage that resumes after `step` is over, for methods that say themselves how many steps there are.
    fn over(&self, _step: usize) -> bool {
        false
    }

    /// What it has to remember beside its step, before [`after`](Self::after); kept with every checkpoint.
    fn state_dict(&self) -> Value {
        Value::Null
    }

    /// Called with what [`state_dict`](Self::state_dict) said, where a run resumes after a step of the stage; `traces` reads the
    /// stage's rollouts up to then.
    fn load_state_dict(
        &mut self,
        _context: &mut Worker,
        _state: &Value,
        _traces: &mut dyn FnMut() -> Result<Vec<Trace>>,
    ) -> Result<()> {
        Ok(())
    }

    /// What its loss says of those of this rank's held-out `rows` that it [`measures`](Section::measures): each with the row's place, and
    /// how many were too long. All ranks call it equally often.
    fn held_out(
        &self,
        _context: &mut Worker,
        _rows: &[Prompted],
    ) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        Ok(Default::default())
    }

    /// How good the policy is on the held-out rows, for methods whose policies are not asked questions.
    fn evaluate(&self, _context: &Worker, _held_out: &[Prompted], _eval: &Eval) -> Option<Result<Report>> {
        None
    }
}

/// What a model says of the items of a micro-batch.
#[derive(Debug)]
pub struct Output<'a> {
    /// The model.
    pub model: &'a Model,
    /// Log-probabilities and entropies in nats, and states, of all items end to end: leaves that a loss is computed from.
    pub scored: &'a ScoredTokens<'a>,
    /// What the sum of the losses of the whole update, over all its micro-batches and ranks, is divided by.
    pub weight: f64,
    /// Learned tokens of the whole update, over all its micro-batches and ranks.
    pub tokens: usize,
}

/// What a stage has to have for its method.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needs {
    /// It changes the policy.
    pub trains: bool,
    /// It reads the training rows.
    pub rows: bool,
    /// It makes batches of rows alone: neither before an update nor after it does it look at the policy or its reference, whose weights
    /// may be divided among ranks then.
    pub rows_alone: bool,
    /// Its passes may be under `policy.dropout`: what they come to is held against nothing that was computed without.
    pub drops: bool,
    /// It runs layers in an order of its own, so that their weights have to be whole on every rank.
    pub undivided: bool,
    /// It samples and scores completions of the training questions.
    pub rollouts: bool,
    /// A step is of a pool that earlier steps filled, and not of `data.prompts_per_step` rows.
    pub pooled: bool,
    /// It learns from log-probabilities that were recorded while the policy sampled.
    pub own_samples: bool,
    /// It learns of a completion only what was sampled, where parts of it were given by tools or an environment
    /// ([`Rollout::given`](crate::rollout::Rollout::given)): [`Rollout::sequence`](crate::rollout::Rollout::sequence) says what.
    pub leaves_given: bool,
    /// It takes the hint of a source that gives one out of what it learns from.
    pub strips_hints: bool,
    /// It learns from rewards, so that there has to be one.
    pub rewards: bool,
    /// The reference policy, where one has to be there while it learns.
    pub reference: Option<ReferenceKind>,
    /// Its rollouts are written as traces even where `log.traces` is off: later steps or stages read them.
    pub traces: bool,
    /// Columns that its traces have beside those of the rows.
    pub adds: &'static [&'static str],
    /// What traces have to have for it to learn from them, and its key that asks for it, by the full path.
    pub of_traces: Option<(&'static str, OfTraces)>,
    /// What its checkpoints are.
    pub leaves: Leaves,
    /// It writes pairs beside its traces.
    pub pairs: bool,
    /// It finds a direction in the policy's states, which later stages take as `policy.steer.from`.
    pub direction: bool,
    /// Its policy has a head that scores: a reward model.
    pub head: bool,
    /// Its own evaluation counts no classes of rows, so that `eval.by` means nothing to it.
    pub classless: bool,
    /// Of rows that are no traces it reads neither steps nor answers, so that without an evaluation `data.format` means nothing to it.
    pub formless: bool,
    /// What `[select]` decides.
    pub selects: Selects,
    /// Sections that mean nothing to it, and why.
    pub unused: Option<(&'static [&'static str], &'static str)>,
    /// How many steps it has.
    pub steps: Steps,
    /// Prompts that are sampled together, where they are not `data.prompts_per_step`.
    pub together: Option<usize>,
    /// Completions of one prompt under way together and the tokens of the longest, where `[rollout]` does not say.
    pub in_flight: Option<(usize, usize)>,
    /// What the whole of it does, in the plan's words; its steps and prompts by default.
    pub work: Option<String>,
    /// What a step of it does, in the plan's words; rollouts or rows by default.
    pub step: Option<String>,
}

impl ReferenceKind {
    /// What `refresh` makes of it.
    pub fn of(refresh: &Refresh) -> Self {
        match refresh.every {
            0 => ReferenceKind::Fixed,
            _ if refresh.mix < 1.0 => ReferenceKind::Mixes,
            _ => ReferenceKind::Follows,
        }
    }
}

/// What a reference policy does while the policy learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceKind {
    /// It stays as it was at the start.
    Fixed,
    /// It becomes the policy from time to time.
    Follows,
    /// It moves towards the policy from time to time, from f32 masters of its own.
    Mixes,
}

/// What a method reads of `[select]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Selects {
    /// Nothing.
    Nothing,
    /// Which rollouts or traces are kept.
    Rollouts,
    /// That, and which of them make pairs: `[select.pairs]`.
    #[default]
    Pairs,
}

/// How many steps a method has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Steps {
    /// `run.steps`, or `run.epochs` passes over the questions.
    #[default]
    OfRun,
    /// So many, unless the method ends before or turns out to have more.
    Exactly(usize),
}

/// So many passes over rows, in words.
pub fn passes(epochs: f64) -> String {
    if epochs == 1.0 { "1 pass".to_owned() } else { format!("{epochs} passes") }
}

/// The other sections of a stage, as a method looks at them.
#[derive(Debug)]
pub struct StageView<'a> {
    /// `run.steps`.
    pub steps: Option<usize>,
    /// `run.epochs`.
    pub epochs: f64,
    /// `[data]`.
    pub data: &'a Data,
    /// `[policy]`.
    pub policy: &'a PolicyConfig,
    /// What the completions of `[rollout]` are like.
    pub rollout: Traits<'a>,
    /// `[reward]`: the names.
    pub rewards: Vec<&'a str>,
    /// `[select]`.
    pub select: &'a Select,
    /// `[eval]`.
    pub eval: Option<&'a Eval>,
}

/// What a method is built from besides its section.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The training rows; the method leaves those here that its steps are to be made of. Empty where it reads none.
    pub rows: Dataset,
    /// `[data]`, to read rows anew with another template.
    pub data: &'a Data,
    /// Where rows are read from.
    pub hub: &'a Hub,
    /// The run's seed, by which rows are drawn.
    pub run_seed: u64,
    /// `run.steps`.
    pub steps: Option<usize>,
    /// `run.epochs`.
    pub epochs: f64,
    /// `[select]`.
    pub select: &'a Select,
    /// How a rationale is written.
    pub format: &'a Format,
}
