//! What can be measured of a text: overlap with another, repetition, readability. Pure: no files, devices or clocks.

pub mod readability;
pub mod repetition;
pub mod rouge;
