//! Where the randomness of a sampling's completions comes from.

use super::Prompted;
use crate::seed::derive;

/// The seeds of a sampling: from what it is for, the example, how often that was asked before in the same sampling, and the
/// draw. What is sampled of an example then depends on no other prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds {
    of: Vec<u64>,
    prompts: Vec<u64>,
}

impl Seeds {
    /// Of a sampling of `prompts` for the purpose `of`: the stage's seed first, then what tells this sampling from others.
    /// A prompt that comes again draws anew; its first occurrence draws as if it came once.
    pub fn new(of: &[u64], prompts: &[Prompted]) -> Self {
        let part = |prompted: &Prompted| match (prompted.example.index as u64, prompted.occurrence as u64) {
            (index, 0) => index,
            (index, before) => derive(&[index, before]),
        };
        Self { of: of.to_vec(), prompts: prompts.iter().map(part).collect() }
    }

    /// The seed of a draw for the prompt at `place`.
    pub fn draw(&self, place: usize, draw: &[u64]) -> u64 {
        derive(&[&self.of[..], &[self.prompts[place]], draw].concat())
    }

    /// As [`draw`](Self::draw), the same in all samplings of the stage.
    pub fn of_stage(&self, place: usize, draw: &[u64]) -> u64 {
        derive(&[&self.of[..1], &[self.prompts[place]], draw].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Example;
    use std::sync::Arc;

    fn prompted((index, occurrence): (usize, usize)) -> Prompted {
        let example = Example { index, ..Example::text(format!("row:{index}"), "?") };
        Prompted { occurrence, ..Prompted::new(Arc::new(example), vec![1]) }
    }

    #[test]
    fn a_prompt_that_comes_again_draws_anew() {
        let prompts = [(4, 0), (9, 0), (4, 1), (4, 2)].map(prompted);
        let seeds = Seeds::new(&[7, 1, 0], &prompts);
        // First occurrences draw from example and sample alone.
        assert_eq!([0, 1].map(|at| seeds.draw(at, &[3])), [4, 9].map(|index| derive(&[7, 1, 0, index, 3])));
        assert_eq!(seeds.of_stage(1, &[3]), derive(&[7, 9, 3]));
        let mut again = [0, 2, 3].map(|at| seeds.draw(at, &[3])).to_vec();
        again.dedup();
        assert_eq!(again.len(), 3);
        // What a second occurrence draws does not depend on what stands between.
        let others = Seeds::new(&[7, 1, 0], &[(4, 0), (4, 1)].map(prompted));
        assert_eq!(others.draw(1, &[3]), seeds.draw(2, &[3]));
    }
}
