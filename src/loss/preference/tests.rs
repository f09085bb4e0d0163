//! Literal numbers of the preference losses; `tests/preference_parity.rs` compares all of them with TRL's.

use super::*;
use crate::loss::row::Named;
use crate::near::near;
use crate::statistics::alone;

/// One pair of one-token completions with log-ratios c and r (so log π = c, r and log π_ref = 0).
fn loss(recipe: &str, c: f64, r: f64) -> f64 {
    let loss: PreferenceLoss = toml::from_str(recipe).unwrap();
    loss.validate().unwrap();
    let (logprobs, zeros) = (Tensor::from_slice(&[c, r]), Tensor::from_slice(&[0.0, 0.0]));
    let pair = PairShape { chosen: 1, rejected: 1, rationale: 0, weight: 1.0, margin: 0.0, nll_weight: 1.0 };
    let tokens = PairTokens {
        logprobs: &logprobs,
        ref_logprobs: loss.needs_reference().then_some(&zeros),
        counted: &[true, true],
        pairs: &[pair],
    };
    loss.sum(&tokens).loss.double_value(&[])
}

#[test]
fn formulas_give_literal_numbers() {
    // β = 1, c = −1, r = −2: δ = 1, x = 1, log σ(1) = −0.313262, log σ(−1) = −1.313262.
    near(loss("beta = 1.0", -1.0, -2.0), 0.313262, 1e-5);
    // 0.9 · 0.313262 + 0.1 · 1.313262.
    near(loss("beta = 1.0\nlabel_smoothing = 0.1", -1.0, -2.0), 0.413262, 1e-5);
    // (0.9 · 0.313262 − 0.1 · 1.313262) / 0.8.
    near(loss("kind = \"robust\"\nbeta = 1.0\nlabel_smoothing = 0.1", -1.0, -2.0), 0.188262, 1e-5);
    // max(0, 1 − 0.5) and beyond the hinge 0.
    near(loss("kind = \"hinge\"\nbeta = 0.5", -1.0, -2.0), 0.5, 1e-5);
    near(loss("kind = \"hinge\"\nbeta = 2.0", -1.0, -2.0), 0.0, 1e-5);
    near(loss("kind = \"ranking\"\nbeta = 0.5", -1.0, -2.0), 0.5, 1e-5);
    // (1 − 1/(2·0.25))².
    near(loss("kind = \"ipo\"\nbeta = 0.25", -1.0, -2.0), 1.0, 1e-5);
    // 1 − σ(−1) + σ(−2) = 0.731059 + 0.119203; σ(−1) + 1 − σ(1) = 2 · 0.268941.
    near(loss("kind = \"apo_zero\"\nbeta = 1.0", -1.0, -2.0), 0.850262, 1e-5);
    near(loss("kind = \"apo_down\"\nbeta = 1.0", -1.0, -2.0), 0.537883, 1e-5);
    // x = 2·1 − 0.5 = 1.5: log σ = −0.201413.
    near(loss("kind = \"simpo\"\nbeta = 2.0", -1.0, -2.0), 0.201413, 1e-5);
    // Log odds of e⁻¹ are −1 − ln(1 − e⁻¹) = −0.541325, of e⁻² −1.854587: −0.1 · log σ(1.313262) = 0.023818, and
    // −log p of the chosen token, 1.
    near(loss("kind = \"orpo\"", -1.0, -2.0), 1.023818, 1e-5);
}

/// A pair that begins with the same token, of log p = −0.1: the chosen one goes on with −0.2 and −0.4, the rejected one with −1. Reasoning
/// paths optimisation compares what follows alone, and learns all of the chosen one.
#[test]
fn a_shared_beginning_counts_in_the_nll_term_alone() {
    let orpo: PreferenceLoss =
        toml::from_str("kind = \"orpo\"\nbeta = 0.3\nnll_mean = \"sequences\"").unwrap();
    let logprobs = Tensor::from_slice(&[-0.1, -0.2, -0.4, -0.1, -1.0]);
    let loss = |shared: bool, weight: f64| {
        let nll_weight = weight * orpo.nll_weights(&[3], &mut alone)[0];
        let pair = PairShape { chosen: 3, rejected: 2, rationale: 0, weight, margin: 0.0, nll_weight };
        let counted = [!shared, true, true, !shared, true];
        let tokens =
            PairTokens { logprobs: &logprobs, ref_logprobs: None, counted: &counted, pairs: &[pair] };
        orpo.sum(&tokens).loss.double_value(&[])
    };
    // Means −0.3 and −1, log odds 1.050225 and −0.541325: 0.3 · 0.185325 + 0.7/3.
    near(loss(true, 1.0), 0.288931, 1e-5);
    // With it −0.7/3 and −0.55.
    near(loss(false, 1.0), 0.325227, 1e-5);
    // A pair of half the weight has half of both terms.
    near(loss(true, 0.5), 0.144465, 1e-5);
}

#[test]
fn certain_completions_stay_finite() {
    // Probability 1 has infinite odds: ORPO is kept finite there.
    assert!(loss("kind = \"orpo\"", 0.0, -1.0).is_finite());
    assert!(loss("divergence = { alpha = 3.0 }", 500.0, -500.0).is_finite());
}

#[test]
fn nll_weights_average_as_documented() {
    // Lengths 1 and 3, two pairs: 2/4 over tokens, 1/length over sequences.
    let read = |recipe: &str| toml::from_str::<PreferenceLoss>(recipe).unwrap();
    let weights = |recipe: &str| read(recipe).nll_weights(&[1, 3], &mut alone);
    assert_eq!(weights(""), [0.5, 0.5]);
    assert_eq!(weights("nll_mean = \"sequences\""), [1.0, 1.0 / 3.0]);
    // Another rank has one pair of 8 tokens: 3/12.
    let mut sum =
        |counts: &mut [f64]| counts.iter_mut().zip([1.0, 8.0]).for_each(|(own, other)| *own += other);
    assert_eq!(read("").nll_weights(&[1, 3], &mut sum), [0.25, 0.25]);
}

#[test]
fn the_kl_baseline_is_a_mean_of_at_least_nothing() {
    let kto: PreferenceLoss = toml::from_str("kind = \"kto\"").unwrap();
    let of = |mismatched: &[f64]| kto.kl_baseline(mismatched, &mut alone);
    assert_eq!((of(&[1.0, 2.0]), of(&[-3.0, 1.0]), of(&[])), (1.5, 0.0, 0.0));
    // Another rank has 6 of two more: (1 + 2 + 6)/4; a rank with none of its own takes part.
    let mut sum = |sums: &mut [f64]| sums.iter_mut().zip([6.0, 2.0]).for_each(|(own, other)| *own += other);
    assert_eq!(kto.kl_baseline(&[1.0, 2.0], &mut sum), 2.25);
    assert_eq!(kto.kl_baseline(&[], &mut sum), 3.0);
    let without = Named::of("apo_zero_unpaired").unwrap();
    assert_eq!(PreferenceLoss { kind: without, ..kto.clone() }.kl_baseline(&[1.0], &mut alone), 0.0);
}

#[test]
fn what_is_not_given_is_written_as_it_holds_for_the_kind() {
    let read = |recipe: &str| -> PreferenceLoss { toml::from_str(recipe).unwrap() };
    for kind in KINDS {
        let smoothing = if kind.needs_smoothing { "label_smoothing = 0.01" } else { "" };
        let loss = read(&format!("kind = \"{}\"\n{smoothing}", kind.name));
        let text = toml::to_string(&loss).unwrap();
        for key in ["beta", "average", "margin", "nll"] {
            assert!(text.contains(&format!("{key} = ")), "{text}");
        }
        assert_eq!(read(&text), loss);
        loss.validate().unwrap();
    }
    let of = |recipe: &str| {
        let PreferenceLoss { beta, average, margin, nll, .. } = read(recipe);
        (beta, average, margin, nll)
    };
    assert_eq!(of(""), (0.1, false, 0.0, 0.0));
    assert_eq!(of("kind = \"simpo\""), (2.0, true, 0.5, 0.0));
    assert_eq!(of("kind = \"simpo\"\nbeta = 2.5\nmargin = 0.0"), (2.5, true, 0.0, 0.0));
    assert_eq!(of("kind = \"cpo\""), (0.1, false, 0.0, 1.0));
}

#[test]
fn the_section_is_checked() {
    let message =
        |recipe: &str| toml::from_str::<PreferenceLoss>(recipe).unwrap().validate().unwrap_err().to_string();
    for (recipe, key) in [
        ("beta = 0.0", "beta = 0"),
        ("label_smoothing = 0.5", "label_smoothing = 0.5: it is a share"),
        (
            "kind = \"hinge\"\nlabel_smoothing = 0.1",
            "label_smoothing = 0.1: it is only for sigmoid, robust, exo, cpo and simpo; take it out",
        ),
        ("kind = \"exo\"", "label_smoothing = 0.0: exo needs"),
        (
            "kind = \"ipo\"\nmargin = 0.1",
            "margin = 0.1: ipo, nca, bco, sppo, apo_zero, apo_down, kto and apo_zero_unpaired do not take it",
        ),
        ("margin = inf", "margin = inf: it must be"),
        ("ld_alpha = 1.5", "ld_alpha = 1.5: it must"),
        (
            "kind = \"orpo\"\naverage = false",
            "average: orpo is over mean log-probabilities; take it out, or use kind = \"cpo\"",
        ),
        ("kind = \"kto\"\naverage = true", "average: kto is over sums; take it out"),
        ("kind = \"kto\"\nnll = 1.0", "nll = 1.0: kto and apo_zero_unpaired do not take it; take it out"),
        (
            "kind = \"nca\"\ndivergence = \"js\"",
            "divergence = \"js\": it is only for sigmoid, ipo, hinge, robust, exo and discopop; take it out",
        ),
        ("divergence = { alpha = 1.0 }", "divergence: alpha must be"),
        ("nll = -1.0", "nll = -1"),
    ] {
        let message = message(recipe);
        assert!(message.contains(&format!("loop.dpo.loss.{key}")), "{message}");
    }
}

#[test]
#[should_panic(expected = "counted: one flag for each token of the pairs")]
fn flags_that_are_not_those_of_the_tokens_are_refused() {
    let logprobs = Tensor::from_slice(&[-1.0, -2.0]);
    let pair = PairShape { chosen: 1, rejected: 1, rationale: 0, weight: 1.0, margin: 0.0, nll_weight: 1.0 };
    let tokens =
        PairTokens { logprobs: &logprobs, ref_logprobs: Some(&logprobs), counted: &[true], pairs: &[pair] };
    PreferenceLoss::default().sum(&tokens);
}

#[test]
#[should_panic(expected = "kto has no pairs")]
fn pairs_are_not_for_losses_of_labels() {
    let logprobs = Tensor::from_slice(&[0.0_f64; 0]);
    let tokens = PairTokens { logprobs: &logprobs, ref_logprobs: None, counted: &[], pairs: &[] };
    toml::from_str::<PreferenceLoss>("kind = \"kto\"").unwrap().sum(&tokens);
}
