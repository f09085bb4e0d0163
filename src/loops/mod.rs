//! loops.
