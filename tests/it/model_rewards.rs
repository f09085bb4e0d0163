//! Rewards that ask a model: a small real one, against its own log-probabilities put together by hand.

use crate::groups::rewards;
use rationale::data::Example;
use rationale::engine::{Request, Sampling, StopReason};
use rationale::model::Sequence;
use rationale::policy::{Init, Policy};
use rationale::rationale::Format;
use rationale::reward::Models;
use rationale::rollout::{Group, Rollout};
use std::path::Path;
use std::sync::Arc;
use tch::{Device, Kind};

const TEXTS: [&str; 2] = ["2+2=4\nso it is\n#### 4", "it is odd\n#### 5"];
const RATIONALES: [&str; 2] = ["2+2=4\nso it is", "it is odd"];

fn policy(seed: u64) -> Policy {
    let init = Init { hidden_size: 32, layers: 2, heads: 2, kv_heads: 1, context: 128, ..Init::default() };
    init.make(Kind::Float, Device::Cpu, seed, 4).unwrap()
}

fn group(policy: &Policy) -> Group {
    let example = Example { answer: Some("4".into()), ..Example::text("x", "2+2?\n") };
    let prompt = policy.tokenizer.render(&example.prompt).unwrap();
    let rollout = |text: &&str| {
        let tokens = policy.tokenizer.encode(text).unwrap();
        let logprobs = vec![0.0; tokens.len()];
        Rollout::new(tokens, (*text).to_owned(), logprobs, StopReason::Eos(0), &Format::default())
    };
    Group { example: Arc::new(example), prompt, rollouts: TEXTS.iter().map(rollout).collect(), place: 0 }
}

fn scores(policy: &Policy, recipe: &str) -> Vec<f64> {
    let mut rewards = rewards(recipe).unwrap();
    let mut group = group(policy);
    rewards.score(std::slice::from_mut(&mut group), &Models::of(policy, 64)).unwrap();
    group.rewards()
}

/// Mean log p of the bytes of `target` after `context`.
fn logprob(policy: &Policy, context: &str, target: &str) -> f64 {
    let encode = |text: &str| policy.tokenizer.encode(text).unwrap();
    let sequence = Sequence::new(&encode(context), &encode(target));
    let logprobs = policy.logprobs(&[sequence], 1.0, 64).unwrap().swap_remove(0);
    logprobs.iter().map(|&logprob| f64::from(logprob)).sum::<f64>() / logprobs.len() as f64
}

#[test]
fn the_gain_is_that_of_the_gold_answer_after_the_rationale() {
    let policy = policy(1);
    let with = RATIONALES.map(|r| logprob(&policy, &format!("2+2?\n{r}\nSo: "), "4"));
    let without = logprob(&policy, "2+2?\n\nSo: ", "4");
    let keys = "[likelihood]\ncue = \"\\nSo: \"\nmeasure = ";
    for (i, gain) in scores(&policy, &format!("{keys}\"gain\"")).into_iter().enumerate() {
        assert!((gain - (with[i] - without)).abs() < 2e-5, "{gain}");
        assert!(gain.abs() > 1e-4, "the rationale changes nothing, so this shows nothing");
    }
    for (i, logprob) in scores(&policy, &format!("{keys}\"logprob\"")).into_iter().enumerate() {
        assert!((logprob - with[i]).abs() < 1e-5);
    }
}

#[test]
fn a_frozen_model_judges_in_the_policys_place() {
    let (policy, judge) = (policy(1), policy(2));
    let folder = tempfile::tempdir().unwrap();
    save(&judge, folder.path());
    let frozen = format!("[likelihood]\nmodel = {:?}", folder.path().to_str().unwrap());
    let (found, expected) = (scores(&policy, &frozen), scores(&judge, "[likelihood]"));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    assert_ne!(found, scores(&policy, "[likelihood]"));
}

#[test]
fn a_frozen_reader_answers_from_the_rationale() {
    // What a reader answers after each rationale, by hand: the cue's 4 and what follows it.
    let says = |reader: &Policy| {
        RATIONALES.map(|rationale| {
            let prompt = reader.tokenizer.encode(&format!("2+2?\n{rationale}\n#### 4")).unwrap();
            let greedy = Sampling { temperature: 0.0, max_new_tokens: 3, ..Sampling::default() };
            let asked = [Request { prompt, seeds: vec![0] }];
            let said = reader.sampler().generate(&asked, &greedy, &mut |_| {}).unwrap().completions;
            format!("4{}", reader.tokenizer.decode(&said[0][0].tokens))
        })
    };
    // A reader whose answer hangs on the rationale: one that is sure of what it says.
    let sure = |seed| {
        let reader = policy(seed);
        tch::no_grad(|| reader.model.tensors().into_iter().for_each(|(_, mut t)| drop(t.g_mul_scalar_(4.0))));
        reader
    };
    let readers = (2..100).map(sure).map(|reader| (says(&reader), reader));
    let (says, reader) =
        readers.into_iter().find(|(says, _)| says[0] != says[1]).expect("one reader of a hundred");
    let (policy, folder) = (policy(1), tempfile::tempdir().unwrap());
    save(&reader, folder.path());
    let recipe = format!(
        "[reader]\nmodel = {:?}\nmax_new_tokens = 3\ncue = \"\\n#### 4\"",
        folder.path().to_str().unwrap()
    );
    let mut rewards = rewards(&recipe).unwrap();
    // Right where the gold answer is what the reader says, wrong where it is another.
    for (answer, expected) in
        [(&says[0], [1.0, 0.0]), (&says[1], [0.0, 1.0]), (&format!("{}x", says[0]), [0.0; 2])]
    {
        let mut group = group(&policy);
        Arc::get_mut(&mut group.example).unwrap().answer = Some(answer.clone());
        rewards.score(std::slice::from_mut(&mut group), &Models::of(&policy, 64)).unwrap();
        assert_eq!(group.rewards(), expected, "{says:?}");
    }
    let figures = rewards.figures();
    assert_eq!(figures.iter().filter(|(name, _)| name == "reader/unread").count(), 6);
}

fn save(policy: &Policy, folder: &Path) {
    policy.save(folder).unwrap();
}

#[test]
fn certainty_and_entropy_add_up_to_the_uniform_distributions() {
    let policy = policy(1);
    let vocabulary = policy.model.config.vocab_size as f64;
    let (sure, unsure) = (scores(&policy, "[self_certainty]"), scores(&policy, "[entropy]"));
    let group = group(&policy);
    for i in 0..2 {
        assert!((sure[i] + unsure[i] - vocabulary.ln()).abs() < 1e-9 && sure[i] > 0.0);
        // One byte is one token, so the rationale's tokens are the first of the completion.
        let sequence = Sequence::new(&group.prompt, &group.rollouts[i].tokens);
        let entropies = policy.entropies(&[sequence], 1.0, 64).unwrap().swap_remove(0);
        let span = &entropies[..RATIONALES[i].len()];
        let mean = span.iter().map(|&h| f64::from(h)).sum::<f64>() / span.len() as f64;
        assert!((unsure[i] - mean).abs() < 1e-5, "{} {mean}", unsure[i]);
    }
    assert_ne!(unsure, scores(&policy, "[entropy]\nwhole = true"));
}
