//! All tests from outside the crate, in one binary: libtorch is linked once and a changed line costs one build.
//! What tests share comes first; then a file for each thing that is tested. They run side by side in one process, so
//! none of them may change what the process shares (environment, folder, libtorch's threads).

mod compare;
mod groups;
#[path = "../../src/near.rs"]
mod near;
mod program;
mod recipes;
mod server;
mod skip;

mod adamw8;
mod answers;
mod block;
mod bundle;
mod chat_templates;
mod classifiers;
mod cli;
#[cfg(unix)]
mod command_reward;
mod contrast;
mod conversation;
mod critics;
mod curriculum;
mod custom_reward;
mod data;
mod dpo;
mod dpo_learning;
mod dry_run;
mod endpoint;
mod extract;
mod extremes;
mod engine;
mod families;
mod family;
#[cfg(target_os = "linux")]
mod faults;
mod fuzz;
mod gae;
mod handed;
mod held_out;
mod hierarchical_rewards;
mod hub;
mod judge;
mod keys;
mod labels;
#[cfg(target_os = "linux")]
mod launch;
mod loss_parity;
mod memory;
mod misfits;
mod model_parity;
mod model_rewards;
mod muon;
#[cfg(target_os = "linux")]
mod nccl;
mod nf4;
mod optim;
mod outside;
mod pages;
mod preference_parity;
mod preference_recipes;
mod prefix;
mod preflight;
mod prm;
mod programs;
mod push;
mod quickstart;
mod ranks;
mod recipe;
mod reference;
mod remote;
#[cfg(target_os = "linux")]
mod report;
mod rescue;
mod reward_inputs;
mod resume;
mod search;
mod serve;
mod serving;
mod shared_prefixes;
mod star;
mod steering;
mod sweep;
mod teaching;
mod text;
mod thought_tree;
mod tokenizers;
#[cfg(unix)]
mod tools;
#[cfg(target_os = "linux")]
mod torchrun;
mod turns;
mod varr;
mod verbs;
mod verdicts;
mod wants;
