//! run.
/// x
pub fn cli(_r: crate::Registry) -> i32 { 0 }
