//! Credit for each token from what a critic expects before and behind it: generalised advantage estimation (Schulman et al. 2015, arXiv
//! 1506.02438).

use super::Whiten;
use crate::statistics::{Moments, Sum};

/// The advantage of each token of a completion, from its reward r and the value V before it: δ_t = r_t + γ V_(t+1) − V_t and A_t = Σ_l (γλ)^l δ_(t+l).
/// Behind the last token nothing is expected, whether the completion ended there or was cut off (as TRL and OpenRLHF have it).
///
/// ```
/// // Two tokens, of which the last earns 1 where ½ was expected throughout: δ = 0, ½, of which λ = ½ reaches the first.
/// assert_eq!(rationale::advantage::gae(&[0.0, 1.0], &[0.5, 0.5], 1.0, 0.5), [0.25, 0.5]);
/// ```
///
/// # Panics
/// Where there are not as many values as rewards.
pub fn gae(rewards: &[f64], values: &[f64], gamma: f64, lambda: f64) -> Vec<f64> {
    assert_eq!(rewards.len(), values.len(), "gae: one value a token");
    let mut advantages = vec![0.0; rewards.len()];
    let (mut later, mut expected) = (0.0, 0.0);
    for at in (0..rewards.len()).rev() {
        later = rewards[at] + gamma * expected - values[at] + gamma * lambda * later;
        expected = values[at];
        advantages[at] = later;
    }
    advantages
}

/// Gives the advantages of all tokens of a step mean 0 and deviation 1, those of all ranks together: (A − mean) / √(variance + 1e-8), the
/// variance by n − 1 (TRL's and verl's `masked_whiten`).
pub fn whiten_tokens(advantages: &mut [Vec<f64>], sum: &mut Sum) {
    let each: Vec<Vec<usize>> = advantages.iter().map(|of| vec![1; of.len()]).collect();
    let each: Vec<&[usize]> = each.iter().map(Vec::as_slice).collect();
    Whiten::Tokens.apply(advantages, &each, 0.0, sum);
}

/// The share of the returns' variance that the values explain, over all ranks: 1 − Var(R − V) / Var(R). 1 of a critic that knows, 0 of one
/// that says the same of all, less of one that misleads; none where all returns are equal.
pub fn explained_variance(returns: &[f64], values: &[f64], sum: &mut Sum) -> Option<f64> {
    assert_eq!(returns.len(), values.len(), "explained_variance: one value a return");
    let mut variance = |of: &mut dyn Iterator<Item = f64>| {
        let weighted: Vec<(f64, f64)> = of.map(|x| (x, 1.0)).collect();
        Moments::of(&weighted, sum).variance
    };
    let whole = variance(&mut returns.iter().copied());
    let left = variance(&mut returns.iter().zip(values).map(|(r, v)| r - v));
    // The mean of equal numbers may be a rounding error away from them.
    (whole > 1e-12).then(|| 1.0 - left / whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;
    use crate::statistics::alone;
    use serde_json::Value;

    #[test]
    fn a_token_is_credited_with_what_comes_beyond_expectation() {
        // λ = 0: what the next state is worth more, and what is earned. λ = 1: all that is earned from here, less what was expected.
        let (rewards, values) = ([0.0, 0.5, 1.0], [0.25, 0.75, 0.5]);
        near(gae(&rewards, &values, 1.0, 0.0), [0.5, 0.25, 0.5], 1e-9);
        near(gae(&rewards, &values, 1.0, 1.0), [1.25, 0.75, 0.5], 1e-9);
        // γ = ½, λ = ½: δ = ⅛, 0, ½; from the back ½, ⅛, ⅛ + 1/32.
        near(gae(&rewards, &values, 0.5, 0.5), [0.125 + 0.125 / 4.0, 0.125, 0.5], 1e-9);
        assert!(gae(&[], &[], 1.0, 0.95).is_empty());
    }

    /// TRL's and OpenRLHF's formulas over padded rows (tests/fixtures/gae/make.py).
    #[test]
    fn advantages_and_returns_agree_with_trl_and_openrlhf() {
        let fixture: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/gae/expected.json")).unwrap();
        let rows = |value: &Value| -> Vec<Vec<f64>> { serde_json::from_value(value.clone()).unwrap() };
        let (rewards, values) = (rows(&fixture["rewards"]), rows(&fixture["values"]));
        let cases = fixture["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let of = |key: &str| case[key].as_f64().unwrap();
            let each = rewards.iter().zip(&values);
            let mut found: Vec<Vec<f64>> = each.map(|(r, v)| gae(r, v, of("gamma"), of("lambda"))).collect();
            near(found.concat(), rows(&case["advantages"]).concat(), 1e-9);
            let returns = found.concat().iter().zip(values.concat()).map(|(a, v)| a + v).collect::<Vec<_>>();
            near(&returns, rows(&case["returns"]).concat(), 1e-9);
            whiten_tokens(&mut found, &mut alone);
            near(found.concat(), rows(&case["whitened"]).concat(), 1e-9);
        }
    }

    #[test]
    fn what_a_critic_knows_is_the_variance_that_it_leaves() {
        let of = |values: &[f64]| explained_variance(&[1.0, 2.0, 3.0], values, &mut alone);
        assert_eq!((of(&[1.0, 2.0, 3.0]), of(&[7.0, 7.0, 7.0])), (Some(1.0), Some(0.0)));
        // What is left is twice as far apart: four times the variance.
        assert_eq!(of(&[3.0, 2.0, 1.0]), Some(-3.0));
        assert_eq!(explained_variance(&[1.0, 1.0], &[0.0, 5.0], &mut alone), None);
        assert_eq!(explained_variance(&[], &[], &mut alone), None);
    }
}
