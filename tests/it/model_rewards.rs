//! Rewards that ask a model: a small real one, against its own log-probabilities put together by hand.

use crate::groups::rewards;
use crate::program::{Program, number};
use crate::recipes::{self, rewards_of};
use rationale::Registry;
use rationale::data::Example;
use rationale::engine::{Request, Sampling, StopReason};
use rationale::model::Sequence;
use rationale::policy::{Init, Policy};
use rationale::rationale::Format;
use rationale::reward::{Models, Rewards};
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

/// The table of recipes/vr-cli.toml by a writer that says something else behind each plan.
#[test]
fn a_plan_is_worth_what_it_takes_off_a_writers_perplexity() {
    let target = "give red daily";
    let taken_off = |writer: &Policy| {
        let without = logprob(writer, "2+2?\n\n> ", target);
        TEXTS.map(|plan| {
            let gain = logprob(writer, &format!("2+2?\n{plan}\n> "), target) - without;
            100.0 * (1.0 - (-gain).exp())
        })
    };
    let bin = |taken: f64| match taken {
        taken if taken < 0.05 => 0.0,
        taken if taken < 1.0 => 0.5,
        taken if taken < 2.0 => 0.9,
        _ => 1.0,
    };
    // Not so near the edge of a bin that rounding says which it is.
    let clear = |taken: f64| [0.05, 1.0, 2.0].iter().all(|edge| (taken - edge).abs() > 0.01);
    let mut writers = (2..100).map(policy).map(|writer| (taken_off(&writer), writer));
    let found =
        writers.find(|(taken, _)| bin(taken[0]) != bin(taken[1]) && taken.iter().all(|&of| clear(of)));
    let (taken, writer) = found.expect("one writer of a hundred");
    let (policy, folder) = (policy(1), tempfile::tempdir().unwrap());
    save(&writer, folder.path());
    let mut table = rewards_of("vr-cli", "reinforced");
    let section = table.get_mut("likelihood").and_then(toml::Value::as_table_mut).unwrap();
    section.insert("model".into(), folder.path().to_str().unwrap().into());
    let mut rewards = Rewards::build(&table, &Registry::default(), &Format::default()).unwrap();
    let mut group = group(&policy);
    Arc::get_mut(&mut group.example).unwrap().fields.insert("next".into(), target.into());
    rewards.score(std::slice::from_mut(&mut group), &Models::of(&policy, 64)).unwrap();
    assert_eq!(group.rewards(), taken.map(bin));
}

/// A recipe with a few reports and a few steps, whose policy is reinforced by what a frozen model makes of its rationales.
fn small(name: &str, frozen: &str, taught: &str) -> Program {
    let mut sets = vec!["data.task.report.train=24".to_owned(), "data.task.report.eval=6".to_owned()];
    sets.push("policy.sampling.max_new_tokens=24".to_owned());
    sets.extend([frozen, taught, "longer", "reinforced"].map(|stage| format!("stage.{stage}.run.steps=2")));
    recipes::small(name, &sets.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A figure of the last evaluation of a stage.
fn measured(program: &Program, stage: &str, measure: &str) -> f64 {
    let evaluations = program.evaluations();
    let last = evaluations.iter().rfind(|line| line["stage"] == stage).expect(stage);
    assert_eq!(number(&last["report"], "questions"), 6.0, "{stage}");
    number(&last["report"]["measures"][measure], "mean")
}

#[test]
fn plans_are_reinforced_by_a_frozen_writer() {
    let program = small("vr-cli", "writer", "planner");
    let traces = program.traces("reinforced");
    assert_eq!(traces.len(), 2 * 8 * 8);
    for trace in &traces {
        let score = number(&trace["scores"], "likelihood");
        assert!([0.0, 0.5, 0.9, 1.0].contains(&score) && trace["reward"] == score, "{score}");
    }
    for stage in ["planner", "longer", "reinforced"] {
        assert!(measured(&program, stage, "gain").is_finite(), "{stage}");
    }
}

#[test]
fn rationales_are_reinforced_by_a_frozen_readers_answers_and_by_how_they_look() {
    let program = small("lm-guided", "reader", "distilled");
    let traces = program.traces("reinforced");
    assert_eq!(traces.len(), 2 * 8 * 8);
    for trace in &traces {
        let [reader, rouge, repetition] =
            ["reader", "rouge", "repetition"].map(|name| number(&trace["scores"], name));
        assert!(reader == 0.0 || reader == 1.0, "{reader}");
        assert!(
            (number(trace, "reward") - (reader + 0.1 * rouge + 0.1 * repetition)).abs() < 1e-6,
            "{trace}"
        );
    }
    for stage in ["distilled", "longer", "reinforced"] {
        assert!((0.0..=1.0).contains(&measured(&program, stage, "reader")), "{stage}");
    }
}
