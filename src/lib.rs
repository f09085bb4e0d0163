//! `rationale` trains language models that explain before they answer.
//!
//! It is a program, `train --recipe mine.toml`, and this crate, which is the same program in parts. What a recipe says, and what there is to say, is in the
//! project's `README.md` and `docs/`; here is what Rust can do with it.
//!
//! # Where to look
//!
//! | I want to | look at |
//! | --- | --- |
//! | run a recipe from a program and read what came of it | [`run::execute`], and below |
//! | score completions by a function or a type of mine | [`reward`], the whole how-to |
//! | train by a method of mine, `[loop.NAME]` | [`loops::Method`], [how](extending#a-method) |
//! | have completions come about otherwise, `[rollout.NAME]` | [`rollout::Source`], [how](extending#a-source) |
//! | make rows in a program, `[data.task.NAME]` | [`data::tasks::OwnTask`], [how](extending#a-task) |
//! | measure held-out completions, `eval/NAME` | [`Registry::metric`], [how](extending#a-metric) |
//! | give all of these their names, and run the command line with them | [`Registry`], [`cli`](fn@cli) |
//! | let an engine of mine write the tokens | [`engine::Sampler`], [`policy::Policy::sample_with`] |
//! | decode requests as they come, token by token | [`engine::Decoder::serve`], [`engine::Desk`] |
//! | load a model, score texts, sample | [`policy::Policy`] |
//! | read a model family that is not there yet | [`model::Family`] |
//! | mathematics alone: losses, advantages, equality of answers | [`loss`], [`advantage`], [`rationale`](mod@crate::rationale) |
//!
//! [`extending`] walks through a program with one of each, `examples/extending` of the source; `train init --crate my-rewards` writes a crate to begin with.
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
//! # A trainer with more in it
//!
//! Recipes name what a program adds as they name what is built in, with keys, defaults, checks and documentation by its type.
//!
//! ```no_run
//! use rationale::Registry;
//! let registry = Registry::default()
//!     .reward_fn("short", |_example, rollout| -(rollout.tokens.len() as f64))
//!     .metric("answers", |verdicts| verdicts.iter().filter(|verdict| verdict.answer.is_some()).count() as f64);
//! std::process::exit(rationale::cli(registry));
//! ```
//!
//! # A model from a program
//!
//! ```
//! use rationale::engine::{Request, Sampling};
//! use rationale::policy::Init;
//! use tch::{Device, Kind};
//!
//! // A new model of a few thousand weights; `Policy::load` reads a Hugging Face folder.
//! let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
//! let policy = init.make(Kind::Float, Device::Cpu, 0, 8)?;
//! let prompt = policy.tokenizer.encode("1+2=")?;
//! let sampling = Sampling { max_new_tokens: 4, ..Sampling::default() };
//! let requests = [Request { prompt: prompt.clone(), seeds: vec![1, 2] }];
//! let written = policy.sampler().generate(&requests, &sampling, &mut |_| {})?.completions;
//! assert_eq!(written[0].len(), 2);
//! // What the model makes of a text: log p of each token behind those before it, and the two likeliest in its place.
//! let told = policy.prompt_logprobs(&[&prompt], 1.0, 2, 1024)?;
//! assert_eq!((told[0].tokens.len(), told[0].tokens[0].top.len()), (3, 2));
//! # Ok::<(), rationale::Error>(())
//! ```
//!
//! # How it is made
//!
//! The modules stand in dependency order: a module uses only those above it (`tests/architecture.rs` holds the code to that). Data passes through them in the order
//!
//! ```text
//! recipe → data → rollout → reward → select → advantage → batch → loss → optim → checkpoint → log
//! ```
//!
//! Errors are one type, [`Error`], whose variants say whose they are and with what code the program ends. Tensors are `tch`'s: depend on the same version.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod error;
pub mod library;
pub mod digest;
pub mod limited;
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

pub mod program;

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

pub mod extending;
#[cfg(test)]
mod near;

pub use cli::cli;
pub use error::{Error, Result};
pub use recipe::Registry;
/// Derives what sections of one's own are described by: see [`extending`].
pub use schemars;
