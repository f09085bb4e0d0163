//! Losses of a mask over the units of a text, and of what is predicted of the text under it: ERASER-style extractive rationales.
//!
//! Sources are named where a term is. All are of *one* text; `mask`, `scores` and `gold` are `[units]`, `logits` are `[labels]`.

use tch::{Kind, Tensor};

/// |mean z − share|: how many units are selected (SSR, Yue et al. 2024; ECtHR, Chalkidis et al. 2021).
pub fn sparsity(mask: &Tensor, share: f64) -> Tensor {
    (mask.mean(Kind::Float) - share).abs()
}

/// Σ |z_i − z_{i−1}| / (n − 1): neighbours are selected together; 0 for a single unit.
pub fn continuity(mask: &Tensor) -> Tensor {
    let steps = mask.size()[0] - 1;
    if steps < 1 {
        return mask.sum(Kind::Float) * 0.0;
    }
    (mask.narrow(0, 1, steps) - mask.narrow(0, 0, steps)).abs().mean(Kind::Float)
}

/// max(−m, better − worse) + m: `better` is to be smaller than `worse` by m at least (REFER, Madani and Minervini 2023, for losses of whole,
/// selected and remaining text; with m = h the hinge max(better − worse + h, 0) of ECtHR).
pub fn hinge(better: &Tensor, worse: &Tensor, margin: f64) -> Tensor {
    (better - worse).clamp_min(-margin) + margin
}

/// 1 − cos(z, other), apart from any graph: how far another mask is from this one; 1 where either is empty.
pub fn distance(mask: &Tensor, other: &Tensor) -> Tensor {
    1.0 - Tensor::cosine_similarity(&mask.detach(), &other.detach(), 0, 1e-8)
}

/// Mean cross-entropy of σ(s) with the gold mask, positives weighed by their rarity, #negative / #positive (REFER); unweighed where there are
/// only ones of a kind.
pub fn plausibility(scores: &Tensor, gold: &Tensor) -> Tensor {
    let positive = gold.sum(Kind::Float);
    let negative = gold.numel() as f64 - &positive;
    let both = positive.double_value(&[]) > 0.0 && negative.double_value(&[]) > 0.0;
    let weight = if both { Some(negative / positive) } else { None };
    scores.binary_cross_entropy_with_logits(gold, None::<&Tensor>, weight.as_ref(), tch::Reduction::Mean)
}

/// What is predicted of a text, in nats: softmax over single labels, a Bernoulli of each of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labelling {
    /// One label a text.
    Single,
    /// Any number of labels a text.
    Several,
}

impl Labelling {
    /// −log p of the gold labels, `targets [labels]` of 0 and 1; the mean over labels where there may be several.
    pub fn cross_entropy(self, logits: &Tensor, targets: &Tensor) -> Tensor {
        match self {
            Self::Single => -(logits.log_softmax(-1, Kind::Float) * targets).sum(Kind::Float),
            Self::Several => logits.binary_cross_entropy_with_logits(
                targets,
                None::<&Tensor>,
                None::<&Tensor>,
                tch::Reduction::Mean,
            ),
        }
    }

    /// KL(p ‖ the uninformed one): log L − H(p), and of several labels the mean of log 2 − H (SSR's term for shortcuts).
    pub fn from_uniform(self, logits: &Tensor) -> Tensor {
        let classes = logits.size()[logits.dim() - 1] as f64;
        let [p, log_p] = self.distribution(logits);
        let negative_entropy = (p * log_p).sum(Kind::Float);
        match self {
            Self::Single => negative_entropy + classes.ln(),
            Self::Several => negative_entropy / classes + 2f64.ln(),
        }
    }

    /// The Jensen–Shannon divergence of two predictions, the mean over labels where there may be several (Storek et al. 2023 couple two
    /// predictors by it).
    pub fn divergence(self, one: &Tensor, other: &Tensor) -> Tensor {
        let [p, log_p] = self.distribution(one);
        let [q, log_q] = self.distribution(other);
        let log_mean = ((&p + &q) / 2.0).clamp_min(1e-30).log();
        let of = |p: &Tensor, log_p: &Tensor| (p * (log_p - &log_mean)).sum(Kind::Float);
        let both = (of(&p, &log_p) + of(&q, &log_q)) / 2.0;
        match self {
            Self::Single => both,
            Self::Several => both / one.size()[one.dim() - 1] as f64,
        }
    }

    /// p and log p, over labels, or of each label that it is and that it is not.
    fn distribution(self, logits: &Tensor) -> [Tensor; 2] {
        match self {
            Self::Single => [logits.softmax(-1, Kind::Float), logits.log_softmax(-1, Kind::Float)],
            Self::Several => {
                let both = Tensor::stack(&[logits.shallow_clone(), -logits], -1);
                [both.sigmoid(), both.log_sigmoid()]
            }
        }
    }
}

/// −log(e^{z_y(x₊)} / (e^{z_y(x₊)} + Σ_j e^{z_y(x₋ⱼ)})): the gold label's logit of the gold rationale, `[]`, against those of texts without it,
/// `[others]` (Resck et al. 2024).
pub fn contrast(gold: &Tensor, others: &Tensor) -> Tensor {
    let all = Tensor::cat(&[gold.reshape([1]), others.reshape([-1])], 0);
    all.logsumexp(0, false) - gold
}

/// 1 at the `count` greatest scores, at the first of equal ones; 0 elsewhere.
pub fn top(scores: &Tensor, count: i64) -> Tensor {
    let order = scores.detach().sort_stable(true, 0, true).1.narrow(0, 0, count.min(scores.size()[0]));
    scores.detach().zeros_like().index_fill_(0, &order, 1.0)
}

/// The gradient of scores by implicit maximum likelihood (AIMLE, Minervini et al. 2023): with z = top(s + ε) and d = ∂L/∂z the estimate is
/// (z − top(s − λ d + ε)) / λ, λ = β ‖s‖ / ‖d‖; 0 where d is. The norms are of this text; in the authors' program they are of the whole batch.
pub fn implicit(scores: &Tensor, noise: &Tensor, by_mask: &Tensor, count: i64, beta: f64) -> Tensor {
    let norm = |t: &Tensor| t.norm().double_value(&[]);
    let (scores, size) = (scores.detach(), norm(by_mask));
    let lambda = if size > 0.0 { beta * norm(&scores) / size } else { 0.0 };
    if lambda == 0.0 {
        return scores.zeros_like();
    }
    let target = top(&(&scores - by_mask * lambda + noise), count);
    (top(&(&scores + noise), count) - target) / lambda
}

/// How β of AIMLE moves after a step, towards one unit a text that its gradient reaches.
const BETA_STEP: f64 = 1e-4;
/// How slowly the mean number of these forgets.
const DECAY: f64 = 0.9;

/// β of AIMLE and the moving mean of the units that its gradient reaches of a text, after a step in which it reached `reached` of each: β rises
/// while the mean is below 1, and falls else, as far as 0.
pub fn adapted(beta: f64, moved: f64, reached: f64) -> (f64, f64) {
    let moved = DECAY * moved + (1.0 - DECAY) * reached;
    ((beta + if moved < 1.0 { BETA_STEP } else { -BETA_STEP }).max(0.0), moved)
}

/// A mask that is `soft` in the backward pass and 1 where `soft` is above ½ in the forward pass.
pub fn straight_through(soft: &Tensor) -> Tensor {
    soft.gt(0.5).to_kind(soft.kind()) + soft - soft.detach()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::far;
    use serde_json::Value;

    fn fixture() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/mask/terms.json")).unwrap()
    }

    fn tensor(fixture: &Value, key: &str) -> Tensor {
        let values: Vec<f32> = serde_json::from_value(fixture[key].clone()).unwrap();
        Tensor::from_slice(&values)
    }

    fn agrees(fixture: &Value, name: &str, loss: &Tensor, inputs: &[(&str, &Tensor)]) {
        let expected = &fixture["terms"][name];
        let value = expected["value"].as_f64().unwrap();
        assert!((loss.double_value(&[]) - value).abs() < 1e-5, "{name}: {} {value}", loss.double_value(&[]));
        let leaves: Vec<&Tensor> = inputs.iter().map(|(_, input)| *input).collect();
        let gradients = Tensor::run_backward(&[loss], &leaves, true, false);
        for ((input, _), gradient) in inputs.iter().zip(gradients) {
            let expected = tensor(&expected["gradients"], input);
            let far = (gradient.view([-1]) - &expected).abs().max().double_value(&[]);
            assert!(far < 1e-5, "{name} by {input}: {far}");
        }
    }

    /// Each term against the same in torch (tests/fixtures/mask/make.py), value and gradient.
    #[test]
    fn terms_agree_with_torch() {
        let fixture = fixture();
        let leaf = |key: &str| tensor(&fixture, key).set_requires_grad(true);
        let (mask, scores, gold) = (leaf("mask"), leaf("scores"), tensor(&fixture, "gold"));
        let (one, other) = (leaf("one"), leaf("other"));
        let (hot, several) = (tensor(&fixture, "hot"), tensor(&fixture, "several"));
        agrees(&fixture, "sparsity", &sparsity(&mask, 0.2), &[("mask", &mask)]);
        agrees(&fixture, "continuity", &continuity(&mask), &[("mask", &mask)]);
        agrees(&fixture, "plausibility", &plausibility(&scores, &gold), &[("scores", &scores)]);
        for (labelling, targets, end) in
            [(Labelling::Single, &hot, ""), (Labelling::Several, &several, "_several")]
        {
            let named = |name: &str| format!("{name}{end}");
            let loss = labelling.cross_entropy(&one, targets);
            agrees(&fixture, &named("cross_entropy"), &loss, &[("one", &one)]);
            agrees(&fixture, &named("from_uniform"), &labelling.from_uniform(&one), &[("one", &one)]);
            let loss = labelling.divergence(&one, &other);
            agrees(&fixture, &named("divergence"), &loss, &[("one", &one), ("other", &other)]);
        }
        for (margin, name) in [(1.0, "hinge"), (0.1, "hinge_small")] {
            let (a, b) = (one.get(0), other.get(0));
            agrees(&fixture, name, &hinge(&a, &b, margin), &[("one", &one), ("other", &other)]);
        }
        let loss = contrast(&one.get(1), &other);
        agrees(&fixture, "contrast", &loss, &[("one", &one), ("other", &other)]);
        let weights = tensor(&fixture, "weights");
        let loss = (straight_through(&scores.sigmoid()) * &weights).sum(Kind::Float);
        agrees(&fixture, "straight_through", &loss, &[("scores", &scores)]);
    }

    fn released() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/mask/released.json")).unwrap()
    }

    /// AIMLE's estimate against the released program's, run (tests/fixtures/mask/make.py), for several β.
    #[test]
    fn implicit_gradients_agree_with_the_released_program() {
        let fixture = fixture();
        let (scores, noise, by_mask) =
            (tensor(&fixture, "scores"), tensor(&fixture, "noise"), tensor(&fixture, "weights"));
        let released = released();
        let cases = released["implicit"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let (beta, count) = (case["beta"].as_f64().unwrap(), case["count"].as_i64().unwrap());
            let found = implicit(&scores, &noise, &by_mask, count, beta);
            let far = (&found - tensor(case, "gradient")).abs().max().double_value(&[]);
            assert!(far < 1e-5, "β {beta}: {far}");
        }
        assert_eq!(
            implicit(&scores, &noise, &by_mask.zeros_like(), 3, 1.0).abs().sum(Kind::Float).double_value(&[]),
            0.0
        );
    }

    /// Gradient and β of AIMLE's released program, and of REFER's with its own selection, step by step.
    #[test]
    fn beta_moves_as_in_the_released_programs() {
        let released = released();
        let of = |value: &Value| value["updates"].as_array().unwrap().clone();
        let runs = [of(&released), of(&released["refer"])].concat();
        assert_eq!(runs.len(), 4);
        for run in runs {
            let (mut beta, mut moved) = (run["beta"].as_f64().unwrap(), 1.0);
            let count = run["count"].as_i64().unwrap();
            for step in run["steps"].as_array().unwrap() {
                let input = ["scores", "noise", "by_mask"].map(|name| tensor(step, name));
                let found = implicit(&input[0], &input[1], &input[2], count, beta);
                let expected = tensor(step, "gradient");
                let far = far(&found, &expected);
                let most = expected.abs().max().double_value(&[]);
                assert!(far <= 1e-5 * most, "β {beta}: {far} of {most}");
                let reached = found.ne(0.0).to_kind(Kind::Float).sum(Kind::Float).double_value(&[]);
                (beta, moved) = adapted(beta, moved, reached);
                assert!((beta - step["beta"].as_f64().unwrap()).abs() < 1e-9, "{beta}");
                assert!((moved - step["moved"].as_f64().unwrap()).abs() < 1e-5, "{moved}");
            }
        }
    }

    /// REFER's released terms of comprehensiveness, sufficiency and plausibility, value and gradient.
    #[test]
    fn terms_agree_with_refers_released_program() {
        let (fixture, released) = (fixture(), released());
        let leaf = |key: &str| tensor(&fixture, key).set_requires_grad(true);
        let check = |expected: &Value, loss: &Tensor, inputs: &[(&str, &Tensor)]| {
            let value = expected["value"].as_f64().unwrap();
            assert!((loss.double_value(&[]) - value).abs() < 1e-5, "{loss:?} {value}");
            let leaves: Vec<&Tensor> = inputs.iter().map(|(_, input)| *input).collect();
            let gradients = Tensor::run_backward(&[loss], &leaves, true, false);
            for ((name, _), gradient) in inputs.iter().zip(gradients) {
                let far = far(&gradient, &tensor(&expected["gradients"], name));
                assert!(far < 1e-5, "{name}: {far}");
            }
        };
        let (one, other, scores) = (leaf("one"), leaf("other"), leaf("scores"));
        let hot = tensor(&fixture, "hot");
        for (margin, name) in [(1.0, "1.0"), (0.1, "0.1")] {
            let whole = Labelling::Single.cross_entropy(&one, &hot);
            let part = Labelling::Single.cross_entropy(&other, &hot);
            let terms = &released["refer"];
            let inputs = [("one", &one), ("other", &other)];
            check(&terms["comprehensive"][name], &hinge(&whole, &part, margin), &inputs);
            check(&terms["sufficient"][name], &hinge(&part, &whole, margin), &inputs);
        }
        let loss = plausibility(&scores, &tensor(&fixture, "gold"));
        check(&released["refer"]["plausibility"], &loss, &[("scores", &scores)]);
    }

    #[test]
    fn literal_numbers() {
        let of = |values: &[f32]| Tensor::from_slice(values);
        let value = |t: Tensor| t.double_value(&[]);
        // Two changes between five units: 2/4; a mean of 2/5 against 1/5.
        let mask = of(&[0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(value(continuity(&mask)), 0.5);
        assert!((value(sparsity(&mask, 0.2)) - 0.2).abs() < 1e-6);
        assert_eq!(value(continuity(&of(&[1.0]))), 0.0);
        // Better by 2 where 1 is asked for: nothing is lost; by 0.25: 0.75 is.
        assert_eq!(value(hinge(&of(&[1.0]).get(0), &of(&[3.0]).get(0), 1.0)), 0.0);
        assert_eq!(value(hinge(&of(&[1.0]).get(0), &of(&[1.25]).get(0), 1.0)), 0.75);
        // Nothing known of three labels is their uniform distribution; equal predictions do not diverge.
        let flat = of(&[0.5, 0.5, 0.5]);
        for labelling in [Labelling::Single, Labelling::Several] {
            assert!(
                value(
                    labelling.from_uniform(&(&flat * if labelling == Labelling::Single { 1.0 } else { 0.0 }))
                )
                .abs()
                    < 1e-6
            );
            assert!(value(labelling.divergence(&flat, &flat)).abs() < 1e-6);
        }
        assert_eq!(Vec::<f32>::try_from(top(&of(&[1.0, 3.0, 3.0, 2.0]), 2)).unwrap(), [0.0, 1.0, 1.0, 0.0]);
        assert_eq!(Vec::<f32>::try_from(top(&of(&[1.0, 1.0, 1.0]), 2)).unwrap(), [1.0, 1.0, 0.0]);
        // Half of the one is in the other: cos = 1/√2 · …: (1,1,0) and (1,0,0).
        let far = value(distance(&of(&[1.0, 1.0, 0.0]), &of(&[1.0, 0.0, 0.0])));
        assert!((far - (1.0 - 0.5f64.sqrt())).abs() < 1e-6);
        // Against one other text of equal logit: ln 2.
        assert!((value(contrast(&of(&[1.0]).get(0), &of(&[1.0]))) - 2f64.ln()).abs() < 1e-6);
    }
}
