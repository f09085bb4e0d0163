//! Losses of reward models: ordered classes with soft targets, squares, comparisons, lists. All are sums.

use tch::{Kind, Tensor};

/// Σ weight · −Σ_c q_c log p_c over the rows of `logits [n, classes]`. A target in [0, 1] is a place on the scale from
/// the lowest class to the highest: its two neighbours share the probability q by how near they are. Of two classes it
/// is the probability of the better one (soft cross-entropy; hard where it is 0 or 1), and c of n continuations of a
/// step, with n + 1 classes, is class c.
pub fn ordered(logits: &Tensor, targets: &Tensor, weights: &Tensor) -> Tensor {
    let &[rows, classes] = &logits.size()[..] else { panic!("logits are [n, classes]: {:?}", logits.size()) };
    assert_rows(&[targets, weights], &[rows]);
    let place = (targets * (classes - 1) as f64).clamp(0.0, (classes - 1) as f64).unsqueeze(1);
    let numbers = Tensor::arange(classes, (Kind::Float, logits.device())).unsqueeze(0);
    let q: Tensor = 1.0 - (place - numbers).abs();
    let q = q.clamp_min(0.0);
    let entropy = (q * logits.log_softmax(-1, Kind::Float)).sum_dim_intlist(-1, false, Kind::Float).neg();
    (entropy * weights).sum(Kind::Float)
}

/// Σ weight · (score − target)².
pub fn squared(scores: &Tensor, targets: &Tensor, weights: &Tensor) -> Tensor {
    assert_rows(&[targets, weights], &scores.size());
    ((scores - targets).square() * weights).sum(Kind::Float)
}

/// Σ −log σ(chosen − rejected − margin) + centring · (chosen + rejected)²: Bradley and Terry's model with Llama 2's
/// margin, and the term that keeps rewards about 0 (Eisenstein et al. 2023, arXiv 2312.09244).
pub fn bradley_terry(chosen: &Tensor, rejected: &Tensor, margins: &Tensor, centring: f64) -> Tensor {
    assert_rows(&[rejected, margins], &chosen.size());
    let likelihood = (chosen - rejected - margins).log_sigmoid().neg();
    (likelihood + (chosen + rejected).square() * centring).sum(Kind::Float)
}

/// −Σ_i softmax(target)_i log softmax(score)_i over one list: ListNet's top-one cross-entropy (Cao et al. 2007).
pub fn listwise(scores: &Tensor, targets: &Tensor) -> Tensor {
    assert_rows(&[targets], &scores.size());
    (targets.softmax(-1, Kind::Float) * scores.log_softmax(-1, Kind::Float)).sum(Kind::Float).neg()
}

/// A tensor of another length would be broadcast, and its loss be a number like any other.
fn assert_rows(tensors: &[&Tensor], size: &[i64]) {
    for tensor in tensors {
        assert_eq!(tensor.size(), size, "a reward model's loss: one number a row");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &Tensor, expected: f64) {
        let found = found.double_value(&[]);
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn two_classes_are_soft_cross_entropy() {
        // p(right) = 3/4. Targets 1, 0 and 1/4 with weights 1, 2 and 4:
        // −ln .75 − 2 ln .25 − 4 (.25 ln .75 + .75 ln .25) = −2 ln .75 − 5 ln .25.
        let logits = Tensor::from_slice(&[0.0f32, 3f32.ln()]).repeat([3, 1]);
        let (targets, weights) =
            (Tensor::from_slice(&[1.0f32, 0.0, 0.25]), Tensor::from_slice(&[1.0f32, 2.0, 4.0]));
        near(&ordered(&logits, &targets, &weights), -2.0 * 0.75f64.ln() - 5.0 * 0.25f64.ln());
    }

    #[test]
    fn three_of_four_continuations_are_class_three_of_five() {
        // p = (1, 1, 1, 4, 1)/8. 3/4 · 4 = 3: −ln 1/2. Halfway between classes 2 and 3: −(ln 1/8 + ln 1/2)/2 = ln 4.
        let logits = Tensor::from_slice(&[0.0f32, 0.0, 0.0, 4f32.ln(), 0.0]).view([1, 5]);
        let of =
            |target: f32| ordered(&logits, &Tensor::from_slice(&[target]), &Tensor::from_slice(&[1.0f32]));
        near(&of(0.75), 2f64.ln());
        near(&of(0.625), 4f64.ln());
    }

    #[test]
    fn squares_and_lists_give_literal_numbers() {
        let tensor = |values: &[f32]| Tensor::from_slice(values);
        near(&squared(&tensor(&[0.5, 1.0]), &tensor(&[0.0, 0.5]), &tensor(&[2.0, 4.0])), 0.5 + 1.0);
        // Targets 3 : 1, scores 1 : 1: −(3/4 + 1/4) ln 1/2. Equal to the targets: their entropy.
        let targets = tensor(&[3f32.ln(), 0.0]);
        near(&listwise(&tensor(&[7.0, 7.0]), &targets), 2f64.ln());
        near(&listwise(&targets, &targets), -0.75 * 0.75f64.ln() - 0.25 * 0.25f64.ln());
    }

    /// TRL's RewardTrainer (tests/fixtures/reward_model/make.py), means over the batch.
    #[test]
    fn comparisons_agree_with_trl() {
        let fixture = include_str!("../../tests/fixtures/reward_model/pairs.json");
        let fixture: serde_json::Value = serde_json::from_str(fixture).unwrap();
        let numbers = |value: &serde_json::Value| -> Vec<f32> {
            value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
        };
        for case in fixture["cases"].as_array().unwrap() {
            let leaf = |key: &str| Tensor::from_slice(&numbers(&fixture[key])).set_requires_grad(true);
            let (chosen, rejected) = (leaf("chosen"), leaf("rejected"));
            let margins = Tensor::from_slice(&numbers(&case["margins"]));
            let pairs = margins.numel() as f64;
            let loss =
                bradley_terry(&chosen, &rejected, &margins, case["centring"].as_f64().unwrap()) / pairs;
            near(&loss, case["loss"].as_f64().unwrap());
            loss.backward();
            for (leaf, key) in [(&chosen, "chosen_gradient"), (&rejected, "rejected_gradient")] {
                let found: Vec<f32> = Vec::try_from(leaf.grad()).unwrap();
                let close = found.iter().zip(numbers(&case[key])).all(|(a, b)| (a - b).abs() < 1e-6);
                assert!(close, "{key}: {found:?}");
            }
        }
    }
}
