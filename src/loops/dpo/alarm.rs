//! The alarm for a preference loss that is won by making everything less likely.

use std::collections::VecDeque;

/// The rewards of the latest steps, chosen and rejected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Falling {
    recent: VecDeque<[f64; 2]>,
    raised: bool,
}

impl Falling {
    /// Takes the mean rewards of a step (β · log π/π_ref, which unlike log π does not depend on which pairs it had) and
    /// says, once, whether both have fallen: the mean of the later half of the last `window` steps is below that of the
    /// earlier half, and below 0.
    pub fn push(&mut self, chosen: f64, rejected: f64, window: usize) -> bool {
        self.recent.push_back([chosen, rejected]);
        while self.recent.len() > window {
            self.recent.pop_front();
        }
        if self.raised || window < 2 || self.recent.len() < window {
            return false;
        }
        let half = window / 2;
        let mean = |side: usize, from: usize| {
            self.recent.iter().skip(from).take(half).map(|rewards| rewards[side]).sum::<f64>() / half as f64
        };
        let falls = |side: usize| mean(side, window - half) < mean(side, 0).min(0.0);
        self.raised = falls(0) && falls(1);
        self.raised
    }
}

/// What is said once they have fallen over so many steps.
pub fn sentence(step: u64, window: usize) -> String {
    format!(
        "step {step}: chosen and rejected completions have both become less likely over the last {window} steps, so the loss is \
         won by unlearning; a lower optim.lr, a higher loop.dpo.loss.beta or loop.dpo.loss.nll = 1.0 helps"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(steps: &[(f64, f64)]) -> Vec<bool> {
        let mut falling = Falling::default();
        steps.iter().map(|&(chosen, rejected)| falling.push(chosen, rejected, 4)).collect()
    }

    #[test]
    fn both_have_to_fall_and_it_is_said_once() {
        // Halves of 0, −1 and −2, −3: −2.5 < −0.5. From then on nothing more is said.
        let both: Vec<(f64, f64)> = (0..6).map(|step| (-f64::from(step), -2.0 * f64::from(step))).collect();
        assert_eq!(raised(&both), [false, false, false, true, false, false]);
        // Only the rejected ones fall: that is what is wanted.
        let apart: Vec<(f64, f64)> = both.iter().map(|&(c, r)| (-c, r)).collect();
        assert!(!raised(&apart).contains(&true));
        // Falling from a height to what the reference gave is no harm yet.
        let down: Vec<(f64, f64)> = (0..4).map(|step| (9.0 - f64::from(step), -f64::from(step))).collect();
        assert!(!raised(&down).contains(&true));
    }
}
