//! Literal numbers of the policy losses; `tests/loss_parity.rs` compares them with TRL's.

use super::*;
use crate::near::near;

fn read(recipe: &str) -> PolicyLoss {
    let loss: PolicyLoss = toml::from_str(recipe).unwrap();
    loss.validate().unwrap();
    loss
}

/// The losses of single tokens, each a sequence of its own unless `lengths` says otherwise.
fn losses(recipe: &str, logprobs: &[f32], old: &[f32], advantages: &[f32], lengths: &[usize]) -> Vec<f64> {
    let (logprobs, old) = (Tensor::from_slice(logprobs), Tensor::from_slice(old));
    let (advantages, weights) = (Tensor::from_slice(advantages), logprobs.ones_like());
    let tokens = PolicyTokens {
        logprobs: &logprobs,
        old_logprobs: &old,
        advantages: &advantages,
        weights: &weights,
        lengths,
    };
    let loss = read(recipe);
    let losses = (loss.kind.token)(&loss, &tokens, &loss.ratios(&tokens));
    Vec::try_from(losses.to_kind(Kind::Double)).unwrap()
}

#[test]
fn the_clip_is_that_of_nemo_rls_tests() {
    // Ratios 0.5, 1, 1.5; A = 1, −1, 2: −0.5 (below the window, A > 0: not clipped), 1, −1.2 · 2.
    let found = losses("", &[-1.69315, -1.0, -0.59453], &[-1.0; 3], &[1.0, -1.0, 2.0], &[1; 3]);
    near(&found, [-0.5, 1.0, -2.4], 1e-4);
}

#[test]
fn the_dual_clip_is_that_of_nemo_rls_and_slimes_tests() {
    // Ratios 0.5, 1, 10; A = 1, −1, −4; c = 3 holds the last: −A·c = 12.
    let old = [-1.0, -1.0, -3.0];
    let found = losses("dual_clip = 3.0", &[-1.69315, -1.0, -0.69741], &old, &[1.0, -1.0, -4.0], &[1; 3]);
    near(&found, [-0.5, 1.0, 12.0], 1e-4);
    // slime: ratios 2, 2, 0.5; A = 2, −2, 2; c = 1.5.
    let two = 2.0_f32.ln();
    let found = losses("dual_clip = 1.5", &[two, two, -two], &[0.0; 3], &[2.0, -2.0, 2.0], &[1; 3]);
    near(&found, [-2.4, 3.0, -1.0], 1e-4);
}

#[test]
fn cispo_weighs_the_log_probability_by_the_clipped_ratio() {
    // NeMo-RL: ratios 0.5, 1, 1.5 become 0.8, 1, 1.2; −A·w·log π.
    let logprobs = [-1.69315, -1.0, -0.59453];
    let found =
        losses("kind = \"cispo\"\nclip_high = 0.2", &logprobs, &[-1.0; 3], &[1.0, -1.0, 2.0], &[1; 3]);
    near(&found, [0.8 * 1.69315, -1.0, 2.4 * 0.59453], 1e-4);
    // TRL: no lower clamp, and the cap is absolute: ratios e⁻³ and e³ become e⁻³ and 5.
    let found = losses("kind = \"cispo\"", &[-4.0, -1.0], &[-1.0, -4.0], &[1.0, 1.0], &[1; 2]);
    near(&found, [4.0 * (-3.0_f64).exp(), 5.0], 1e-4);
}

#[test]
fn gspo_takes_one_ratio_a_sequence() {
    // Two sequences: mean λ = (0.3 − 0.1)/2 = 0.1 and −0.5; ratios 1.10517 and 0.60653, the second clipped
    // to 0.8 for A < 0.
    let found = losses(
        "kind = \"gspo\"\nclip_low = 0.2",
        &[-0.7, -1.1, -1.5],
        &[-1.0, -1.0, -1.0],
        &[2.0, 2.0, -1.0],
        &[2, 1],
    );
    near(&found, [-2.21034, -2.21034, 0.8], 1e-4);
}

#[test]
fn a_huge_ratio_stays_finite_and_zero_advantage_stays_zero() {
    let found = losses("", &[0.0, 0.0], &[-500.0, -500.0], &[0.0, -1.0], &[1; 2]);
    near([found[0], found[1] / 20.0_f64.exp()], [0.0, 1.0], 1e-4);
}

#[test]
fn weights_and_totals_average_as_documented() {
    // Lengths 1 and 3, max 10: per-sequence mean, tokens, constant.
    let lengths = [1, 3];
    for (kind, weights, total) in [
        ("grpo", [1.0, 1.0 / 3.0], 2.0),
        ("gspo", [1.0, 1.0 / 3.0], 2.0),
        ("bnpo", [1.0, 1.0], 4.0),
        ("dapo", [1.0, 1.0], 4.0),
        ("cispo", [1.0, 1.0], 4.0),
        ("dr_grpo", [1.0, 1.0], 20.0),
    ] {
        let loss = read(&format!("kind = \"{kind}\""));
        assert_eq!(
            (loss.weights(&lengths).as_slice(), loss.total(2, 4, 10)),
            (&weights[..], total),
            "{kind}"
        );
    }
    // Nothing to average is no division by zero.
    assert_eq!(read("").total(0, 0, 10), 1.0);
}

#[test]
fn a_clip_that_is_not_given_follows_from_the_kind() {
    let clip = |recipe: &str| {
        let loss = read(recipe);
        assert_eq!(read(&toml::to_string(&loss).unwrap()), loss, "{recipe}");
        (loss.clip_low, loss.high())
    };
    assert_eq!(clip(""), (0.2, 0.2));
    assert_eq!(clip("clip_high = 0.28"), (0.2, 0.28));
    // Zheng et al. (2025), section 5: 3e-4 and 4e-4.
    assert_eq!(clip("kind = \"gspo\""), (3e-4, 4e-4));
    assert_eq!(clip("kind = \"gspo\"\nclip_low = 0.1"), (0.1, 0.1));
    assert_eq!(clip("kind = \"gspo\"\nclip_high = 0.1"), (3e-4, 0.1));
}

#[test]
fn what_is_not_given_is_written_as_it_holds() {
    let written = |recipe: &str| {
        let loss = read(recipe);
        let text = toml::to_string(&loss).unwrap();
        assert_eq!(read(&text), loss, "{recipe}");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(written(""), ["kind = \"dapo\"", "ratio = \"token\"", "clip_low = 0.2", "clip_high = 0.2"]);
    assert_eq!(written("clip_low = 0.1")[2..], ["clip_low = 0.1", "clip_high = 0.1"]);
    assert_eq!(
        written("kind = \"gspo\"")[1..],
        ["ratio = \"sequence\"", "clip_low = 0.0003", "clip_high = 0.0004"]
    );
    // The ratio is held by the one or the other.
    assert_eq!(written("kind = \"cispo\"")[2..], ["clip_low = 0.2", "cap = 5.0"]);
    assert_eq!(written("kind = \"cispo\"\ncap = 3.0")[2..], ["clip_low = 0.2", "cap = 3.0"]);
    assert_eq!(written("kind = \"cispo\"\nclip_high = 0.3")[2..], ["clip_low = 0.2", "clip_high = 0.3"]);
}

#[test]
fn the_section_is_checked() {
    let message =
        |recipe: &str| toml::from_str::<PolicyLoss>(recipe).unwrap().validate().unwrap_err().to_string();
    for (recipe, key) in [
        ("clip_low = 1.5", "clip_low = 1.5"),
        ("clip_high = 0.0", "clip_high = 0"),
        ("dual_clip = 1.1", "dual_clip = 1.1"),
        ("cap = 2.0", "cap = 2.0: it is only for kind = \"cispo\"; take it out, or set dual_clip"),
        ("kind = \"cispo\"\ncap = -1.0", "cap = -1"),
        (
            "kind = \"cispo\"\ndual_clip = 3.0",
            "dual_clip = 3.0: cispo does not take it; take it out, or set cap",
        ),
        (
            "kind = \"cispo\"\ncap = 4.0\nclip_high = 0.2",
            "cap = 4.0: cispo takes either cap or the window of clip_high; take one out",
        ),
        (
            "kind = \"gspo\"\nratio = \"token\"",
            "ratio = \"token\": gspo takes the ratio by sequence; take it out, or set kind = \"grpo\"",
        ),
    ] {
        let message = message(recipe);
        assert!(message.contains(&format!("loop.grpo.loss.{key}")), "{message}");
    }
    let unknown = toml::from_str::<PolicyLoss>("clip = 0.2").unwrap_err().to_string();
    assert!(unknown.contains("clip_low"), "{unknown}");
}

#[test]
#[should_panic(expected = "weights: one number for each token of [1, 2]")]
fn a_weight_for_each_sequence_is_not_one_for_each_token() {
    let (tokens, sequences) = (Tensor::from_slice(&[-1.0_f32; 3]), Tensor::from_slice(&[1.0_f32; 2]));
    let tokens = PolicyTokens {
        logprobs: &tokens,
        old_logprobs: &tokens,
        advantages: &tokens,
        weights: &sequences,
        lengths: &[1, 2],
    };
    read("").sum(&tokens);
}

#[test]
fn an_entropy_bonus_is_the_mean_over_tokens_for_every_kind() {
    // Entropies 1, 2, 3, 6 of sequences of 1 and 3 tokens, up to 10 new ones: mean 3 and slope 1/4, in one micro-batch or two.
    // Weighed as the loss it would be (1 + 11/3)/2 for `grpo` and 12/20 for `dr_grpo`.
    for kind in KINDS {
        let loss = PolicyLoss { kind: Named(kind), ..PolicyLoss::default() };
        let total = loss.total(2, 4, 10);
        for parts in [&[4][..], &[1, 3]] {
            let entropy = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 6.0]).set_requires_grad(true);
            let sums = entropy.split_with_sizes(parts, 0).into_iter().map(|part| {
                let bonus = part.sum(Kind::Float) * PolicyLoss::entropy_scale(total, 4) / total;
                bonus.backward();
                bonus.double_value(&[])
            });
            near([sums.sum::<f64>()], [3.0], 1e-4);
            let gradient: Vec<f64> = Vec::try_from(entropy.grad().to_kind(Kind::Double)).unwrap();
            near(&gradient, [0.25; 4], 1e-4);
        }
    }
    // `dapo` divides each of two updates by half of the generation batch's tokens: 4 here, where this update has 2.
    assert_eq!(PolicyLoss::entropy_scale(4.0, 2), 2.0);
}
