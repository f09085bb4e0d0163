//! Methods, sources, rewards, tasks and metrics of one's own: a program with one of each, which is compiled and tested as `examples/extending` of the source.
//!
//! [custom-rewards]: mod@crate::reward
//!
#![cfg_attr(not(doctest), doc = include_str!("../docs/extending.md"))]
