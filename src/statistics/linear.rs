//! What linear models leave of outcomes: least squares, in two stages where a regressor is told by instruments (Theil 1953).

/// What outcomes are explained by: lists of one number a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Regressors {
    /// Taken as they are.
    pub given: Vec<Vec<f64>>,
    /// Those that have causes in common with the outcome. In a first stage they are told from `given` and `instruments`, and what is told of
    /// them explains the outcome.
    pub endogenous: Vec<Vec<f64>>,
    /// What moves `endogenous`, and the outcome through these alone.
    pub instruments: Vec<Vec<f64>>,
}

/// The intercept and the coefficients of `given` and `endogenous`, by the rows `of`; none where these do not determine them. `ridge` is
/// added to the mean square of each regressor but the intercept, so that those which say the same share their effect.
///
/// ```
/// use rationale::statistics::linear::{Regressors, coefficients};
/// let slope = Regressors { given: vec![vec![0.0, 1.0, 2.0]], ..Regressors::default() };
/// let found = coefficients(&[1.0, 3.0, 5.0], &slope, &[0, 1, 2], 0.0).unwrap();
/// assert!((found[0] - 1.0).abs() < 1e-9 && (found[1] - 2.0).abs() < 1e-9);
/// ```
pub fn coefficients(outcomes: &[f64], regressors: &Regressors, of: &[usize], ridge: f64) -> Option<Vec<f64>> {
    let own = |column: &Vec<f64>| of.iter().map(|&row| column[row]).collect::<Vec<f64>>();
    let outcomes: Vec<f64> = of.iter().map(|&row| outcomes[row]).collect();
    let mut exogenous = vec![vec![1.0; of.len()]];
    exogenous.extend(regressors.given.iter().map(own));
    let mut told: Vec<Vec<f64>> = regressors.endogenous.iter().map(own).collect();
    if !told.is_empty() && !regressors.instruments.is_empty() {
        let first: Vec<Vec<f64>> =
            exogenous.iter().cloned().chain(regressors.instruments.iter().map(own)).collect();
        for column in &mut told {
            *column = explained(&first, &least_squares(&first, column, ridge)?);
        }
    }
    exogenous.extend(told);
    least_squares(&exogenous, &outcomes, ridge)
}

/// What is left of each outcome once what explains it is taken off, the regressors themselves times their coefficients. Each row's coefficients are
/// those of the rows of other `folds` (one number a row), so that no outcome explains itself; of all rows where there is one fold.
pub fn residuals(outcomes: &[f64], regressors: &Regressors, folds: &[usize], ridge: f64) -> Option<Vec<f64>> {
    assert_eq!(outcomes.len(), folds.len(), "residuals: one fold a row");
    let mut left = outcomes.to_vec();
    for fold in 0..=folds.iter().copied().max().unwrap_or(0) {
        let (own, others): (Vec<usize>, Vec<usize>) = (0..folds.len()).partition(|&row| folds[row] == fold);
        let fitted =
            coefficients(outcomes, regressors, if others.is_empty() { &own } else { &others }, ridge)?;
        for row in own {
            let columns = regressors.given.iter().chain(&regressors.endogenous);
            let effects = columns.zip(&fitted[1..]).map(|(column, effect)| column[row] * effect);
            left[row] -= fitted[0] + effects.sum::<f64>();
        }
    }
    Some(left)
}

/// Σ_j column_j · coefficient_j of each row.
fn explained(columns: &[Vec<f64>], coefficients: &[f64]) -> Vec<f64> {
    let rows = columns.first().map_or(0, Vec::len);
    let of = |row: usize| columns.iter().zip(coefficients).map(|(column, effect)| column[row] * effect).sum();
    (0..rows).map(of).collect()
}

/// (XᵀX / n + ridge) β = Xᵀy / n, the first column, the intercept's, without a ridge.
fn least_squares(columns: &[Vec<f64>], outcomes: &[f64], ridge: f64) -> Option<Vec<f64>> {
    let n = outcomes.len().max(1) as f64;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / n;
    let row = |(at, column): (usize, &Vec<f64>)| {
        let mut row: Vec<f64> = columns.iter().map(|other| product(column, other)).collect();
        row[at] += if at == 0 { 0.0 } else { ridge };
        row.push(product(column, outcomes));
        row
    };
    solved(columns.iter().enumerate().map(row).collect())
}

/// The solution of equations, each its coefficients and then its right side: elimination with the largest pivot.
fn solved(mut equations: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let count = equations.len();
    for at in 0..count {
        let largest =
            (at..count).max_by(|&a, &b| equations[a][at].abs().total_cmp(&equations[b][at].abs()))?;
        equations.swap(at, largest);
        if equations[at][at].abs() < 1e-12 {
            return None;
        }
        let pivot = equations[at].clone();
        for equation in equations.iter_mut().skip(at + 1) {
            let factor = equation[at] / pivot[at];
            equation.iter_mut().zip(&pivot).for_each(|(x, pivot)| *x -= factor * pivot);
        }
    }
    let mut solution = vec![0.0; count];
    for at in (0..count).rev() {
        let known: f64 = (at + 1..count).map(|other| equations[at][other] * solution[other]).sum();
        solution[at] = (equations[at][count] - known) / equations[at][at];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;

    #[test]
    fn two_regressors_are_told_apart() {
        // y = 1 + 2a − 3b, without noise; the largest pivot is not the first.
        let (a, b) = (vec![0.0, 1.0, 0.0, 2.0], vec![0.0, 0.0, 1.0, 1.0]);
        let outcomes: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 1.0 + 2.0 * a - 3.0 * b).collect();
        let given = Regressors { given: vec![a, b], ..Regressors::default() };
        near(coefficients(&outcomes, &given, &[0, 1, 2, 3], 0.0).unwrap(), [1.0, 2.0, -3.0], 1e-4);
        near(residuals(&outcomes, &given, &[0; 4], 0.0).unwrap(), [0.0; 4], 1e-4);
    }

    #[test]
    fn a_fixed_effect_takes_off_the_mean_of_its_class() {
        // 3 and 5 in one season, 1 and 1 in the other: ∓1 and 0. Both seasons and the intercept say the same once too often.
        let seasons = Regressors {
            given: vec![vec![1.0, 1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0, 1.0]],
            ..Regressors::default()
        };
        near(residuals(&[3.0, 5.0, 1.0, 1.0], &seasons, &[0; 4], 1e-6).unwrap(), [-1.0, 1.0, 0.0, 0.0], 1e-4);
        assert_eq!(residuals(&[3.0, 5.0, 1.0, 1.0], &seasons, &[0; 4], 0.0), None);
    }

    #[test]
    fn an_instrument_tells_the_effect_from_what_both_have_in_common() {
        // p = z + q and y = 2p + q, where q is not seen: least squares say (Σ p y) / Σ p² = 20/8, the instrument z says Σ z y / Σ z p = 8/4.
        let (p, z, y) = (vec![-2.0, 0.0, 0.0, 2.0], vec![-1.0, -1.0, 1.0, 1.0], [-5.0, 1.0, -1.0, 5.0]);
        let plain = Regressors { endogenous: vec![p.clone()], ..Regressors::default() };
        near(coefficients(&y, &plain, &[0, 1, 2, 3], 0.0).unwrap(), [0.0, 2.5], 1e-4);
        let told = Regressors { instruments: vec![z], ..plain };
        near(coefficients(&y, &told, &[0, 1, 2, 3], 0.0).unwrap(), [0.0, 2.0], 1e-4);
        // What is left is q.
        near(residuals(&y, &told, &[0; 4], 0.0).unwrap(), [-1.0, 1.0, -1.0, 1.0], 1e-4);
    }

    #[test]
    fn a_row_is_explained_by_the_other_folds() {
        // Without regressors the mean of the others: (3 + 5)/2 of the first, (1 + 3)/2 of the last.
        let none = Regressors::default();
        near(residuals(&[1.0, 3.0, 5.0], &none, &[0, 1, 2], 0.0).unwrap(), [-3.0, 0.0, 3.0], 1e-4);
        near(residuals(&[1.0, 3.0, 5.0], &none, &[0, 0, 0], 0.0).unwrap(), [-2.0, 0.0, 2.0], 1e-4);
    }
}
