//! `train selftest`, which tries a machine, and `train scale`, which has clusters on paper.

use super::verb::Verb;
use crate::error::Result;
use crate::recipe::Registry;
use crate::{scale, selftest};

impl Verb for selftest::Options {
    fn run(self, _: &Registry) -> Result<()> {
        selftest::run(&self)
    }
}

impl Verb for scale::Options {
    fn run(self, _: &Registry) -> Result<()> {
        scale::run(&self)
    }
}
