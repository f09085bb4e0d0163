//! The loss of a critic: how far what it expects is from what came (Schulman et al. 2017, arXiv 1707.06347, as TRL, OpenRLHF and verl have
//! it).

use tch::{Kind, Tensor};

/// The loss of each token of a micro-batch, and where the clip holds it.
#[derive(Debug)]
pub struct ValueTerms {
    /// ℓ of each token, `[tokens]`, with gradient.
    pub losses: Tensor,
    /// 1 where the clipped square is the larger, `[tokens]`.
    pub clipped: Tensor,
}

/// ℓ = ½ max((V − R)², (V_clip − R)²), where V_clip is V kept within ±`clip` of what was expected when the tokens were sampled; ½ (V − R)²
/// where `clip` is 0. All are `[tokens]`.
///
/// # Panics
/// Where these are not equally long.
pub fn value_loss(values: &Tensor, old_values: &Tensor, returns: &Tensor, clip: f64) -> ValueTerms {
    for tensor in [old_values, returns] {
        assert_eq!(tensor.size(), values.size(), "a critic's loss: one number a token");
    }
    let plain = (values - returns).square();
    if clip == 0.0 {
        let clipped = plain.detach().zeros_like();
        return ValueTerms { losses: plain * 0.5, clipped };
    }
    let near = values.maximum(&(old_values - clip)).minimum(&(old_values + clip));
    let held = (near - returns).square();
    let clipped = held.detach().gt_tensor(&plain.detach()).to_kind(Kind::Float);
    ValueTerms { losses: held.maximum(&plain) * 0.5, clipped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_value_that_has_moved_far_is_held_back_only_where_that_looks_better() {
        let tensor = |values: &[f32]| Tensor::from_slice(values);
        // From 0 to ½, ½ and −½, returns 1, −1 and −1, a clip of ¼: (¼ − 1)² over (½ − 1)², held; (½ + 1)² over (¼ + 1)², free; and
        // (−¼ + 1)² over (−½ + 1)², held.
        let values = tensor(&[0.5, 0.5, -0.5]).set_requires_grad(true);
        let terms = value_loss(&values, &tensor(&[0.0, 0.0, 0.0]), &tensor(&[1.0, -1.0, -1.0]), 0.25);
        let numbers = |t: &Tensor| Vec::<f32>::try_from(t).unwrap();
        assert_eq!(numbers(&terms.losses.detach()), [0.5 * 0.5625, 0.5 * 2.25, 0.5 * 0.5625]);
        assert_eq!(numbers(&terms.clipped), [1.0, 0.0, 1.0]);
        terms.losses.sum(Kind::Float).backward();
        assert_eq!(numbers(&values.grad()), [0.0, 1.5, 0.0]);
    }

    /// TRL's and OpenRLHF's losses, means over the tokens of padded rows (tests/fixtures/gae/make.py): values and gradients.
    #[test]
    fn it_agrees_with_trl_and_openrlhf() {
        let fixture: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/gae/expected.json")).unwrap();
        let flat = |value: &Value| {
            let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
            Tensor::from_slice(&rows.concat())
        };
        let (old_values, returns) = (flat(&fixture["values"]), flat(&fixture["cases"][0]["returns"]));
        let cases = fixture["losses"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let values = flat(&fixture["moved"]).set_requires_grad(true);
            let terms = value_loss(&values, &old_values, &returns, case["clip"].as_f64().unwrap());
            let loss = terms.losses.mean(Kind::Double);
            assert!((loss.double_value(&[]) - case["loss"].as_f64().unwrap()).abs() < 1e-12, "{case}");
            loss.backward();
            let found: Vec<f64> = Vec::try_from(values.grad()).unwrap();
            let expected: Vec<f64> = serde_json::from_value(case["gradient"].clone()).unwrap();
            let near = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(near && found.len() == expected.len(), "{found:?} {expected:?}");
        }
    }
}
