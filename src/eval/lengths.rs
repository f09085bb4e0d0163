//! What the number, the place and the length of steps alone say of them: a logistic regression, which a reward model that
//! has learned anything of their content beats.

const FEATURES: usize = 6;

/// A regression of "the step is right" on what can be seen without reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lengths {
    means: [f64; FEATURES],
    scales: [f64; FEATURES],
    weights: [f64; FEATURES],
}

/// Of each step: 1, its place, the number of steps, log length, log mean length, whether it is the last.
fn features(lengths: &[usize]) -> Vec<[f64; FEATURES]> {
    let (count, log) = (lengths.len() as f64, |length: f64| length.ln_1p());
    let mean = lengths.iter().sum::<usize>() as f64 / count.max(1.0);
    let of_step = |(place, length): (usize, &usize)| {
        let last = f64::from(u8::from(place + 1 == lengths.len()));
        [1.0, place as f64, count, log(*length as f64), log(mean), last]
    };
    lengths.iter().enumerate().map(of_step).collect()
}

impl Lengths {
    /// Fits it to completions: the lengths of the steps of each, and whether each step is right. Features are standardised
    /// and their weights decay with ½ w²; the constant's does not. `None` unless both right and wrong steps are known.
    pub fn fit<'a>(rows: impl Iterator<Item = (&'a [usize], &'a [Option<bool>])>) -> Option<Self> {
        let steps = rows.flat_map(|(lengths, labels)| {
            features(lengths).into_iter().zip(labels).filter_map(|(x, label)| Some((x, (*label)?)))
        });
        let (points, right): (Vec<[f64; FEATURES]>, Vec<bool>) = steps.unzip();
        if !right.contains(&true) || !right.contains(&false) {
            return None;
        }
        let count = points.len() as f64;
        let (mut means, mut scales) = ([0.0; FEATURES], [1.0; FEATURES]);
        for at in 1..FEATURES {
            means[at] = points.iter().map(|x| x[at]).sum::<f64>() / count;
            let variance = points.iter().map(|x| (x[at] - means[at]).powi(2)).sum::<f64>() / count;
            scales[at] = variance.sqrt().max(1e-9);
        }
        let mut model = Self { means, scales, weights: [0.0; FEATURES] };
        let points: Vec<_> = points.iter().map(|x| model.standard(x)).collect();
        for _ in 0..30 {
            model.newton(&points, &right);
        }
        Some(model)
    }

    /// How right each step is, in [0, 1].
    pub fn scores(&self, lengths: &[usize]) -> Vec<f64> {
        features(lengths).iter().map(|x| self.probability(&self.standard(x))).collect()
    }

    fn standard(&self, x: &[f64; FEATURES]) -> [f64; FEATURES] {
        std::array::from_fn(|at| (x[at] - self.means[at]) / self.scales[at])
    }

    fn probability(&self, x: &[f64; FEATURES]) -> f64 {
        1.0 / (1.0 + (-x.iter().zip(&self.weights).map(|(x, w)| x * w).sum::<f64>()).exp())
    }

    /// One step of Newton's method: H Δ = gradient of the penalised likelihood.
    fn newton(&mut self, points: &[[f64; FEATURES]], right: &[bool]) {
        let mut gradient = [0.0; FEATURES];
        let mut hessian = [[0.0; FEATURES]; FEATURES];
        for at in 1..FEATURES {
            gradient[at] = -self.weights[at];
            hessian[at][at] = 1.0;
        }
        for (x, right) in points.iter().zip(right) {
            let p = self.probability(x);
            for row in 0..FEATURES {
                gradient[row] += (f64::from(u8::from(*right)) - p) * x[row];
                for column in 0..FEATURES {
                    hessian[row][column] += p * (1.0 - p) * x[row] * x[column];
                }
            }
        }
        let step = solved(hessian, gradient);
        self.weights.iter_mut().zip(step).for_each(|(weight, step)| *weight += step);
    }
}

/// The x of A x = b, A symmetric and positive definite, by elimination.
fn solved(mut a: [[f64; FEATURES]; FEATURES], mut b: [f64; FEATURES]) -> [f64; FEATURES] {
    for pivot in 0..FEATURES {
        let (top, right) = (a[pivot], b[pivot]);
        for row in pivot + 1..FEATURES {
            let factor = a[row][pivot] / top[pivot].max(1e-12);
            a[row].iter_mut().zip(top).for_each(|(below, above)| *below -= factor * above);
            b[row] -= factor * right;
        }
    }
    for row in (0..FEATURES).rev() {
        let known: f64 = (row + 1..FEATURES).map(|column| a[row][column] * b[column]).sum();
        b[row] = (b[row] - known) / a[row][row].max(1e-12);
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_lengths_say_nothing_the_share_of_right_steps_is_left() {
        // One step of the same length in each: every feature but the constant is 0 when standardised. Three of four are
        // right, so w = ln 3 and the score is 3/4.
        let labels = [Some(true), Some(true), Some(true), Some(false)];
        let fitted = Lengths::fit(labels.iter().map(|label| (&[7usize][..], std::slice::from_ref(label))));
        assert!((fitted.unwrap().scores(&[7])[0] - 0.75).abs() < 1e-9);
    }

    #[test]
    fn long_steps_are_told_from_short_ones() {
        let rows = [
            ([9usize, 90, 9], [Some(true), Some(false), None]),
            ([8, 9, 80], [Some(true), Some(true), Some(false)]),
        ];
        let fitted = Lengths::fit(rows.iter().cycle().take(20).map(|(l, r)| (&l[..], &r[..]))).unwrap();
        let scores = fitted.scores(&[9, 85, 9]);
        assert!(scores[0] > 0.9 && scores[1] < 0.2, "{scores:?}");
        assert!(Lengths::fit(std::iter::once((&[1usize, 2][..], &[Some(true), None][..]))).is_none());
    }

    /// At the maximum the gradient is 0: Σ (right − p) x = w, and Σ (right − p) = 0 for the constant.
    #[test]
    fn it_stands_at_the_maximum_of_the_penalised_likelihood() {
        let rows: Vec<(Vec<usize>, Vec<Option<bool>>)> = (0..12usize)
            .map(|row| {
                (
                    vec![3 + row * 7 % 11, 5 + row % 4, 20],
                    vec![Some(row % 3 > 0), Some(row % 2 > 0), Some(row % 5 > 0)],
                )
            })
            .collect();
        let fitted = Lengths::fit(rows.iter().map(|(l, r)| (l.as_slice(), r.as_slice()))).unwrap();
        let mut gradient = [0.0; FEATURES];
        for (lengths, labels) in &rows {
            for (x, label) in features(lengths).iter().zip(labels) {
                let x = fitted.standard(x);
                let left = f64::from(u8::from(label.unwrap())) - fitted.probability(&x);
                gradient.iter_mut().zip(x).for_each(|(sum, x)| *sum += left * x);
            }
        }
        assert!(gradient[0].abs() < 1e-6, "{gradient:?}");
        for at in 1..FEATURES {
            assert!(
                (gradient[at] - fitted.weights[at]).abs() < 1e-6,
                "{at}: {gradient:?} {:?}",
                fitted.weights
            );
        }
    }
}
