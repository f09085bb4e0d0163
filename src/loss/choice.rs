//! Cross-entropy over choices: L = −Σ_c q_c log softmax(s)_c with q = (1 − ε) 1_y + ε/C (Szegedy et al. 2016 for ε).

use tch::{Kind, Tensor};

/// The loss of the scores `[choices]`, of which the one at `gold` is right, smoothed by ε.
pub fn cross_entropy(scores: &Tensor, gold: usize, smoothing: f64) -> Tensor {
    let log_p = scores.log_softmax(-1, Kind::Float);
    log_p.get(gold as i64) * (smoothing - 1.0) - log_p.mean(Kind::Float) * smoothing
}

#[cfg(test)]
mod tests {
    use super::*;

    /// s = (ln 1, ln 2, ln 5): p = (1/8, 2/8, 5/8). −log p₁ = ln 4 = 1.386294; with ε = 0.3 it is 0.7 ln 4 + 0.1 (ln 8 + ln 4 + ln 1.6) = 1.363997.
    /// ∂L/∂s = p − q, q = (0.1, 0.8, 0.1).
    #[test]
    fn literal_numbers() {
        let scores = Tensor::from_slice(&[1f32, 2.0, 5.0]).log().set_requires_grad(true);
        let value = |smoothing| cross_entropy(&scores, 1, smoothing).double_value(&[]);
        assert!((value(0.0) - 1.386294).abs() < 1e-5);
        let expected = 0.7 * 4f64.ln() + 0.1 * (8f64.ln() + 4f64.ln() + 1.6f64.ln());
        assert!((value(0.3) - expected).abs() < 1e-5, "{}", value(0.3));
        cross_entropy(&scores, 1, 0.3).backward();
        let gradient: Vec<f32> = Vec::try_from(&scores.grad()).unwrap();
        for (found, expected) in gradient.iter().zip([0.125 - 0.1, 0.25 - 0.8, 0.625 - 0.1]) {
            assert!((found - expected as f32).abs() < 1e-6, "{gradient:?}");
        }
    }
}
