//! Distributions over a few alternatives, and how a series of them moves.

/// exp(xᵢ) / Σ exp(xⱼ).
///
/// ```
/// use rationale::statistics::distribution::softmax;
/// // e⁰ : e^(−ln 3) = 3 : 1, however large the values are.
/// for shift in [0.0, 1000.0] {
///     let found = softmax(&[shift, shift - 3.0_f64.ln()]);
///     assert!((found[0] - 0.75).abs() < 1e-9 && (found[1] - 0.25).abs() < 1e-9);
/// }
/// ```
pub fn softmax(values: &[f64]) -> Vec<f64> {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = values.iter().map(|value| (value - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// −Σ p log p in nats; what has no probability adds nothing.
///
/// ```
/// use rationale::statistics::distribution::entropy;
/// assert!((entropy(&[0.25; 4]) - 4.0_f64.ln()).abs() < 1e-12);
/// assert_eq!(entropy(&[1.0, 0.0]), 0.0);
/// ```
pub fn entropy(probabilities: &[f64]) -> f64 {
    let of = |p: &f64| if *p > 0.0 { -p * p.ln() } else { 0.0 };
    probabilities.iter().map(of).sum()
}

/// The slope of the least-squares line through values at 0, 1, 2, …: cov(k, y) / var(k). 0 of fewer than three, of which any two make
/// a line.
///
/// ```
/// use rationale::statistics::distribution::slope;
/// // k − 1 is −1, 0, 1: (−3 + 1) / 2.
/// assert_eq!(slope(&[3.0, 2.0, 1.0]), -1.0);
/// assert_eq!(slope(&[3.0, 0.0, 1.0]), -1.0);
/// assert_eq!(slope(&[3.0, 2.0]), 0.0);
/// ```
pub fn slope(values: &[f64]) -> f64 {
    if values.len() < 3 {
        return 0.0;
    }
    let middle = (values.len() - 1) as f64 / 2.0;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (k, value) in values.iter().enumerate() {
        let from = k as f64 - middle;
        covariance += from * value;
        variance += from * from;
    }
    covariance / variance
}
