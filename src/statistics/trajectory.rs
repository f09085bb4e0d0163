//! How a series of states moves: what it comes to, how long its way is, and how straight (latent-trajectory signals).

/// Measures of a series of states h₁ … h_N.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trajectory {
    /// ‖h_N − h₁‖ / (N − 1): how far a step leads in the end.
    pub net: f64,
    /// Σ ‖hₙ − hₙ₋₁‖: how long the way is.
    pub cumulative: f64,
    /// The mean over n of cos(hₙ − hₙ₋₁, h_N − h₁): how much each step goes where all of them lead; a step that does not move counts 0.
    pub aligned: f64,
}

/// The measures of a series; none of fewer than two states.
///
/// ```
/// use rationale::statistics::trajectory::trajectory;
/// // One to the right, then one up: the way is 2, what it comes to √2 over two steps, and each step is at 45° to it.
/// let found = trajectory(&[vec![0.0, 0.0], vec![1.0, 0.0], vec![1.0, 1.0]]).unwrap();
/// let half = 0.5_f64.sqrt();
/// assert!((found.net - half).abs() < 1e-12 && (found.aligned - half).abs() < 1e-12);
/// assert_eq!(found.cumulative, 2.0);
/// assert!(trajectory(&[vec![1.0]]).is_none());
/// ```
pub fn trajectory(states: &[Vec<f64>]) -> Option<Trajectory> {
    let (first, last) = (states.first()?, states.last()?);
    let steps = states.len() - 1;
    if steps == 0 {
        return None;
    }
    let less = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let whole = less(last, first);
    let moves: Vec<Vec<f64>> = states.windows(2).map(|pair| less(&pair[1], &pair[0])).collect();
    Some(Trajectory {
        net: norm(&whole) / steps as f64,
        cumulative: moves.iter().map(|step| norm(step)).sum(),
        aligned: moves.iter().map(|step| cosine(step, &whole)).sum::<f64>() / steps as f64,
    })
}

/// a · b / (‖a‖ ‖b‖); 0 where either is 0.
///
/// ```
/// use rationale::statistics::trajectory::cosine;
/// assert_eq!(cosine(&[3.0, 4.0], &[4.0, 3.0]), 0.96);
/// assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
/// ```
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let norms = norm(a) * norm(b);
    if norms > 0.0 { product / norms } else { 0.0 }
}

fn norm(a: &[f64]) -> f64 {
    a.iter().map(|a| a * a).sum::<f64>().sqrt()
}
