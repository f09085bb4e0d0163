//! What can be measured of a text: overlap with another, repetition, readability, instructions followed. Pure: no files, devices or clocks.

pub mod instruction;
pub mod readability;
pub mod repetition;
pub mod rouge;
pub mod sql;
pub mod words;
