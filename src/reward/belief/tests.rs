//! Beliefs of models whose answers are known.

use super::*;
use crate::model::Sequence;
use crate::near::near;
use crate::policy::tests::tiny;
use crate::reward::tests::group;

fn section(keys: &str) -> Belief {
    toml::from_str(keys).unwrap()
}

fn policy() -> Policy {
    tiny(1, 1, 5)
}

/// One whose embedding is nothing, so that all tokens are alike to it.
fn indifferent() -> Policy {
    let policy = policy();
    tch::no_grad(|| drop(policy.model.embedding.shallow_clone().zero_()));
    policy
}

/// The scores of completions of a question with three choices.
fn scores(policy: &Policy, keys: &str, texts: &[&str]) -> anyhow::Result<Vec<Score>> {
    let mut group = group(Some("B"), &["red", "blue", "brown"], texts);
    group.prompt = policy.tokenizer.encode("q:")?;
    for rollout in &mut group.rollouts {
        rollout.tokens = policy.tokenizer.encode(&rollout.text)?;
    }
    section(keys).checked(&Format::default())?.score(&group, &Models::of(policy, 256))
}

fn values(policy: &Policy, keys: &str, texts: &[&str]) -> Vec<f64> {
    scores(policy, keys, texts).unwrap().into_iter().map(|score| score.value).collect()
}

#[test]
fn measures_of_levels_are_literal_numbers() {
    let levels = [2.0, 1.5, 0.25];
    let of = |keys: &str| section(keys).score(&levels);
    assert_eq!(of("measure = 'prob'"), (0.25, None));
    assert_eq!(of("measure = 'logprob'\nsteps = true"), (0.25, Some(vec![-0.5, -1.25])));
    // What the steps take adds up to what all of them take.
    assert_eq!(of("measure = 'reduction'"), (1.75, Some(vec![0.5, 1.25])));
    // k − 1 is −1, 0, 1: (−2 + 0.25)/2.
    assert_eq!(of("measure = 'slope'"), (-0.875, None));
    assert_eq!(section("measure = 'slope'").score(&levels[..2]).0, 0.0);
}

#[test]
fn who_is_indifferent_believes_in_all_alike() {
    let (policy, texts) = (indifferent(), ["a\nb\n#### B", "#### A"]);
    for value in values(&policy, "", &texts) {
        near(value, 1.0 / 3.0, 2e-5);
    }
    near(values(&policy, "measure = 'entropy'", &texts)[0], 3.0_f64.log2(), 2e-5);
    near(values(&policy, "measure = 'entropy'\nbase = 3.0", &texts)[0], 1.0, 2e-5);
    near(values(&policy, "measure = 'entropy'\nper_candidate = true", &texts)[0], 3.0_f64.log2() / 3.0, 2e-5);
    let vocabulary = policy.model.config.vocab_size as f64;
    near(values(&policy, "measure = 'entropy'\nover = 'gold'", &texts)[0], vocabulary.ln(), 2e-5);
    near(values(&policy, "measure = 'logprob'\nover = 'gold'", &texts)[0], -vocabulary.ln(), 2e-5);
    // One token of "B", two of "no": sums −ln V and −2 ln V are as V to 1; means are alike.
    let labels = "over = ['B', 'no']\nnorm = 'sum'";
    near(values(&policy, labels, &texts)[0], vocabulary / (vocabulary + 1.0), 2e-5);
    near(values(&policy, "over = ['B', 'no']", &texts)[0], 0.5, 2e-5);
    for keys in ["measure = 'gain'", "measure = 'reduction'", "measure = 'slope'"] {
        near(values(&policy, keys, &texts)[0], 0.0, 2e-5);
    }
    // Five candidates that are alike.
    near(
        values(&policy, "measure = 'entropy'\nover = 'enumerate'\ntokens = 1", &texts)[0],
        5.0_f64.log2(),
        2e-5,
    );
    // Four tokens before the mark and three behind it; the mark itself is given, and charged where it is missing.
    let joint = "measure = 'joint'\nbetween = '|'";
    near(values(&policy, joint, &["abcd|xyz"])[0], -7.0 * vocabulary.ln(), 2e-5);
    near(values(&policy, joint, &["abcd"])[0], -5.0 * vocabulary.ln(), 2e-5);
}

#[test]
fn a_step_is_worth_what_it_changes() {
    let policy = policy();
    let text = "first\nsecond\n#### B";
    let with_steps = |keys: &str| scores(&policy, keys, &[text]).unwrap().remove(0);
    // The same by hand: the softmax over the letters behind each beginning, which are one token each.
    let prompt = policy.tokenizer.encode("q:").unwrap();
    let belief = |before: &str| -> Vec<f64> {
        let letters = ["A", "B", "C"].map(|letter| {
            Sequence::new(
                &[&prompt[..], &policy.tokenizer.encode(before).unwrap()].concat(),
                &policy.tokenizer.encode(letter).unwrap(),
            )
        });
        let logprobs = policy.logprobs(&letters, 1.0, 64).unwrap();
        let sum: f64 = logprobs.iter().map(|l| f64::from(l[0]).exp()).sum();
        logprobs.iter().map(|l| f64::from(l[0]).exp() / sum).collect()
    };
    let beliefs = ["#### ", "first\n#### ", "first\nsecond\n#### "].map(belief);
    let found = with_steps("steps = true");
    near(found.value, beliefs[2][1], 2e-5);
    let steps = found.steps.unwrap();
    near(steps[0].value, beliefs[1][1] - beliefs[0][1], 2e-5);
    near(steps[1].value, beliefs[2][1] - beliefs[1][1], 2e-5);
    assert_eq!((steps[0].tokens.clone(), steps[1].tokens.clone()), (0..5, 6..12));
    let h: Vec<f64> = beliefs.iter().map(|p| -p.iter().map(|p| p * p.log2()).sum::<f64>()).collect();
    let reduction = with_steps("measure = 'reduction'");
    near(reduction.value, h[0] - h[2], 2e-5);
    near(reduction.steps.unwrap().iter().map(|step| step.value).sum::<f64>(), h[0] - h[2], 2e-5);
    near(with_steps("measure = 'slope'").value, (h[2] - h[0]) / 2.0, 2e-5);
    near(with_steps("measure = 'gain'").value, beliefs[2][1] - beliefs[0][1], 2e-5);
    // The texts of the choices in the letters' place are other candidates.
    assert!((with_steps("written = 'text'").value - found.value).abs() > 1e-6);
    // Cut off before its answer, all of it is reasoning.
    near(values(&policy, "", &["first\nsecond"])[0], beliefs[2][1], 2e-5);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let refused = |keys: &str| match toml::from_str::<Belief>(keys) {
        Ok(section) => section.checked(&Format::default()).err().unwrap().to_string(),
        Err(error) => error.to_string(),
    };
    for (keys, words) in [
        ("over = 'gold'", "alone it has probability 1"),
        ("over = 'enumerate'", "need not be among them"),
        ("over = 'choice'", "a list of at least two labels"),
        ("over = ['one']", "a list of at least two labels"),
        ("measure = 'gain'\nsteps = true", "steps are scored by"),
        ("model_without = '@a'", "gain"),
        ("measure = 'joint'", "between is missing"),
        ("between = '|'", "belong to measure"),
        ("base = 1.0", "base = 1"),
    ] {
        assert!(refused(keys).contains(words), "{keys}: {}", refused(keys));
    }
    let without = Format { answer: vec![crate::rationale::AnswerForm::LastNumber], ..Format::default() };
    assert!(section("").checked(&without).err().unwrap().to_string().contains("cue is missing"));
    // Never a number in place of what is not there.
    let asked = |keys: &str| scores(&policy(), keys, &["#### B"]).unwrap_err().to_string();
    assert!(asked("over = ['yes', 'no']").contains("is none of the candidates"));
}
