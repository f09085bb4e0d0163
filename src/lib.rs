//! `rationale` trains language models that explain before they answer.
//!
//! The modules below stand in dependency order: a module uses only those above it
//! (`tests/architecture.rs` holds the code to that). Data passes through them in the order
//!
//! ```text
//! recipe → data → rollout → reward → select → advantage → batch → loss → optim → checkpoint → log
//! ```

pub mod error;
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
