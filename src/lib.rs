//! `rationale` trains language models that explain before they answer.
//!
//! The modules below stand in dependency order: a module uses only those above it
//! (`tests/architecture.rs` holds the code to that). Data passes through them in the order
//!
//! ```text
//! recipe → data → rollout → reward → select → advantage → batch → loss → optim → checkpoint → log
//! ```
//!
//! # A run from a program
//!
//! ```no_run
//! use rationale::{Registry, recipe::Args, run};
//! let args = Args { recipe: "recipes/quickstart.toml".into(), quiet: true, ..Args::default() };
//! let outcome = run::execute(&args, &Registry::default())?;
//! println!("{:?}", outcome.last().map(|stage| &stage.metrics));
//! # Ok::<(), rationale::Error>(())
//! ```
//!
//! # What a program can add
//!
//! Recipes name it as they name what is built in, with keys, defaults, checks and documentation by its type; `docs/extending.md` has a file of each, and
//! `examples/extending` is that program. A **reward** is a function or a [`reward::Reward`], and a measure of evaluations too (`[eval.measures.short]`); a **metric** is a
//! function of an evaluation's verdicts:
//!
//! ```no_run
//! use rationale::Registry;
//! let registry = Registry::default()
//!     .reward_fn("short", |_example, rollout| -(rollout.tokens.len() as f64))
//!     .metric("answers", |verdicts| verdicts.iter().filter(|verdict| verdict.answer.is_some()).count() as f64);
//! std::process::exit(rationale::cli(registry));
//! ```
//!
//! A **task** makes rows, `[data.task.squares]`:
//!
//! ```
//! use rationale::data::{Split, row::Row, tasks::OwnTask};
//! use rationale::schemars::{self, JsonSchema};
//! use rationale::section::Misfit;
//! use rationale::{Registry, Result};
//! use serde::{Deserialize, Serialize};
//! use serde_json::{Map, Value};
//!
//! /// Squares of small numbers.
//! #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! struct Squares {}
//!
//! impl OwnTask for Squares {
//!     fn check(&self) -> Vec<Misfit> {
//!         vec![]
//!     }
//!
//!     fn rows(&self, split: Split, _seed: u64) -> Result<Vec<Row>> {
//!         let numbers = if split == Split::Train { 1..90_u32 } else { 90..100 };
//!         let row = |n: u32| {
//!             let columns = [("question", format!("{n}*{n}")), ("answer", (n * n).to_string())];
//!             let fields: Map<String, Value> = columns.map(|(name, text)| (name.into(), text.into())).into_iter().collect();
//!             Row::made("squares", n as usize, fields)
//!         };
//!         Ok(numbers.map(row).collect())
//!     }
//! }
//!
//! let registry = Registry::default().task::<Squares>("squares");
//! assert!(registry.keys().iter().any(|key| key.path == "data.task.squares"));
//! ```
//!
//! A **source** of completions, `[rollout.twice]`:
//!
//! ```
//! use rationale::engine::{Request, Sampling};
//! use rationale::rollout::{Group, Prompted, Rollout, SamplingContext, Source, SourceSection, Traits};
//! use rationale::schemars::{self, JsonSchema};
//! use rationale::section::Misfit;
//! use rationale::{Registry, Result};
//! use serde::{Deserialize, Serialize};
//!
//! /// A careful completion of each prompt and a bold one.
//! #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! struct Twice {}
//!
//! impl SourceSection for Twice {
//!     fn traits(&self) -> Traits<'_> {
//!         Traits::written("twice", Some(2))
//!     }
//!
//!     fn check(&self) -> Vec<Misfit> {
//!         vec![]
//!     }
//!
//!     fn build(&self) -> Result<Box<dyn Source>> {
//!         Ok(Box::new(self.clone()))
//!     }
//! }
//!
//! impl Source for Twice {
//!     fn section(&self) -> &dyn SourceSection {
//!         self
//!     }
//!
//!     fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
//!         let mut groups: Vec<Group> = prompts.iter().map(|prompted| Group::of(prompted, vec![])).collect();
//!         for (draw, temperature) in [0.5, 1.5].into_iter().enumerate() {
//!             let request = |(place, prompted): (usize, &Prompted)| Request {
//!                 prompt: prompted.tokens.clone(),
//!                 seeds: vec![context.seeds.draw(place, &[draw as u64])],
//!             };
//!             let requests: Vec<Request> = prompts.iter().enumerate().map(request).collect();
//!             let sampling = Sampling { temperature, ..context.sampling.clone() };
//!             let sampled = context.policy.sampler().generate(&requests, &sampling, context.progress)?;
//!             for (group, completions) in groups.iter_mut().zip(sampled.completions) {
//!                 let tokenizer = &context.policy.tokenizer;
//!                 group.rollouts.extend(completions.into_iter().map(|one| Rollout::of(one, tokenizer, context.format)));
//!             }
//!         }
//!         context.scorer.score(&mut groups)?;
//!         Ok(groups)
//!     }
//! }
//!
//! let registry = Registry::default().source::<Twice>("twice");
//! assert!(registry.sources.names().contains(&"twice"));
//! ```
//!
//! A **method**, `[loop.imitate]`:
//!
//! ```
//! use rationale::log::Metrics;
//! use rationale::loops::{Batch, Item, Method, Needs, Output, Section, Setup, StageView, Worker, sft::Sft};
//! use rationale::schemars::{self, JsonSchema};
//! use rationale::section::Misfit;
//! use rationale::{Registry, Result};
//! use serde::{Deserialize, Serialize};
//! use tch::{Kind, Tensor};
//!
//! /// Learns the rows' completions.
//! #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! struct Imitate {}
//!
//! impl Section for Imitate {
//!     fn check(&self) -> Vec<Misfit> {
//!         vec![]
//!     }
//!
//!     fn needs(&self, _: &StageView) -> Needs {
//!         Needs { trains: true, rows: true, ..Needs::default() }
//!     }
//!
//!     fn build(&self, _: &mut Setup) -> Result<Box<dyn Method>> {
//!         Ok(Box::new(self.clone()))
//!     }
//! }
//!
//! impl Method for Imitate {
//!     fn batch(&mut self, worker: &mut Worker, step: usize, _: &mut Metrics) -> Result<Batch> {
//!         let rows = worker.questions.of_step(step);
//!         let items = rows.iter().map(|row| Ok(Item::of(vec![Sft::sequence(worker, row)?])));
//!         Ok(Batch::of_completions(items.collect::<Result<_>>()?))
//!     }
//!
//!     fn loss(&self, _: &[&Item], output: &Output, _: &mut Metrics) -> Result<Tensor> {
//!         Ok(-output.scored.logprobs.sum(Kind::Float))
//!     }
//! }
//!
//! let registry = Registry::default().method::<Imitate>("imitate");
//! assert!(registry.methods.names().contains(&"imitate"));
//! ```

pub mod error;
pub mod digest;
pub mod nearest;
pub mod section;
pub mod seed;
pub mod statistics;

pub mod ranks;

pub mod rationale;
pub mod text;

pub mod advantage;
pub mod loss;
pub mod select;

pub mod devices;

pub mod data;

pub mod batch;

pub mod model;

pub mod engine;

pub mod policy;

pub mod checkpoint;

pub mod endpoint;

pub mod ask;

pub mod rollout;

pub mod reward;

pub mod optim;

pub mod log;

pub mod eval;

pub mod loops;

pub mod recipe;

pub mod compare;

pub mod report;

pub mod run;

pub mod scale;

pub mod selftest;

pub mod cli;

pub use cli::cli;
pub use error::{Error, Result};
pub use recipe::Registry;
/// Derives what sections of one's own are described by: see `docs/extending.md`.
pub use schemars;
