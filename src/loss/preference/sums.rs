//! From tokens to completions: weighted sums over each completion's tokens.

use super::PairTokens;
use super::formula::Scores;
use tch::{Kind, Tensor};

/// How many leading tokens two completions share.
///
/// ```
/// use rationale::loss::preference::shared_prefix;
/// assert_eq!(shared_prefix(&[5, 6, 7], &[5, 6, 8, 9]), 2);
/// ```
pub fn shared_prefix(chosen: &[u32], rejected: &[u32]) -> usize {
    chosen.iter().zip(rejected).take_while(|(a, b)| a == b).count()
}

/// Σ of `values [tokens]` over each of the sequences of these `lengths`, `[sequences]` in f64.
pub(super) fn per_sequence(values: &Tensor, lengths: &[usize]) -> Tensor {
    let sizes: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
    let values = values.to_kind(Kind::Double);
    let sums: Vec<Tensor> =
        values.split_with_sizes(sizes.as_slice(), 0).iter().map(|part| part.sum(Kind::Double)).collect();
    if sums.is_empty() {
        return values;
    }
    Tensor::stack(&sums, 0)
}

/// The weight of every token in its completion's sum, and how many count.
#[derive(Debug)]
pub(super) struct Weighted {
    weights: Vec<f64>,
    /// Chosen, rejected and rationale of each pair in turn.
    lengths: Vec<usize>,
    counts: Vec<[f64; 2]>,
}

impl Weighted {
    /// 1 for a counted token, or α where it stands beyond the other completion's counted length (LD-DPO); 0 for any
    /// other.
    pub fn of_pairs(tokens: &PairTokens, ld_alpha: Option<f64>) -> Self {
        let mut of = Self { weights: Vec::new(), lengths: Vec::new(), counts: Vec::new() };
        for pair in tokens.pairs {
            let start = of.weights.len();
            let middle = start + pair.chosen;
            let end = middle + pair.rejected;
            let sides = [&tokens.counted[start..middle], &tokens.counted[middle..end]];
            let counts = sides.map(|side| side.iter().filter(|counted| **counted).count());
            let shared = counts[0].min(counts[1]);
            for side in sides {
                of.weights.extend(side_weights(side, shared, ld_alpha.unwrap_or(1.0)));
            }
            of.weights.extend(std::iter::repeat_n(0.0, pair.rationale));
            of.lengths.extend([pair.chosen, pair.rejected, pair.rationale]);
            of.counts.push(counts.map(|count| count as f64));
        }
        of
    }

    /// What the chosen and the rejected completions sum to.
    pub fn scores(&self, values: &Tensor) -> Scores {
        let weights = Tensor::from_slice(&self.weights).to_device(values.device());
        let sums = per_sequence(&(values * weights), &self.lengths).view([-1, 3]);
        let counts = |side: usize| {
            let counts: Vec<f64> = self.counts.iter().map(|counts| counts[side]).collect();
            Tensor::from_slice(&counts).to_device(values.device())
        };
        Scores {
            chosen: sums.select(1, 0),
            rejected: sums.select(1, 1),
            chosen_counts: counts(0),
            rejected_counts: counts(1),
        }
    }
}

fn side_weights(counted: &[bool], shared: usize, beyond: f64) -> impl Iterator<Item = f64> {
    let mut seen = 0;
    counted.iter().map(move |&counted| {
        seen += usize::from(counted);
        match counted {
            false => 0.0,
            true if seen <= shared => 1.0,
            true => beyond,
        }
    })
}
