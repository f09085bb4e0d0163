//! Literal places, searches and values; continuations of a real model.

use super::*;
use crate::engine::StopReason;
use crate::policy::Init;
use tch::{Device, Kind};

fn policy() -> Policy {
    let init = Init { hidden_size: 16, layers: 2, heads: 2, kv_heads: 1, ..Init::default() };
    init.make(Kind::Float, Device::Cpu, 5, 3).unwrap()
}

fn rollout(text: &str) -> Rollout {
    let tokens = policy().tokenizer.encode(text).unwrap();
    let logprobs = (0..tokens.len()).map(|index| -(index as f32)).collect();
    Rollout::new(tokens, text.into(), logprobs, StopReason::Length, &Format::default())
}

/// Bytes are tokens here, so a place's tokens are its bytes. "1+1=2\n" has 6 of them, "é: 2\n\n" 7.
#[test]
fn places_stand_where_the_next_step_begins() {
    let at = |text: &str| {
        let places = places(&rollout(text), &Format::default(), &policy().tokenizer);
        assert!(places.iter().all(|place| place.tokens == place.bytes));
        places.iter().map(|place| (place.step, place.tokens)).collect::<Vec<_>>()
    };
    assert_eq!(at("1+1=2\né: 2\n\n#### 2"), [(1, 6), (2, 13)]);
    // Without an answer the last line may be half a step.
    assert_eq!(at("1+1=2\né: 2\n\n##"), [(1, 6), (2, 13)]);
    // What a line is indented by is its own: lines end at bytes 2 and 9, and 2 and 10, whether what is indented is a step or the answer's line.
    assert_eq!(at("2\n #### \n 6"), [(1, 2), (2, 9)]);
    assert_eq!(at("2\n 1+1=2\n\n  #### 2"), [(1, 2), (2, 10)]);
    assert_eq!(at("#### 2"), []);
    assert_eq!(at(""), []);
}

#[test]
fn cuts_are_asked_for_in_their_order() {
    let every = PrefixRollout::default();
    assert_eq!(every.next(3, &[].into(), 0), [1, 2, 3]);
    assert!(every.next(3, &[(1, true), (2, false), (3, true)].into(), 0).is_empty());
    let scan = PrefixRollout { stop_at_failure: true, ..every.clone() };
    assert_eq!(scan.next(3, &[(1, true)].into(), 0), [2]);
    assert!(scan.next(3, &[(1, true), (2, false)].into(), 0).is_empty());
    let share = PrefixRollout { cuts: Cuts::Share, share: 0.25, ..every };
    let drawn = share.next(4000, &[].into(), 1);
    // A binomial of mean 1000 and deviation √(4000 · ¼ · ¾) = 27; five of them.
    assert!((865..=1135).contains(&drawn.len()), "{}", drawn.len());
    assert_ne!(drawn, share.next(4000, &[].into(), 2));
}

/// The paper's reference for five and for ten steps: a fifth of them, rounded down, is never cut behind.
#[test]
fn the_first_share_of_the_steps_can_be_passed_over() {
    let skips = PrefixRollout { skip: 0.2, ..PrefixRollout::default() };
    let next = |steps| skips.next(steps, &[].into(), 0);
    assert_eq!((next(4), next(5), next(10)), (vec![1, 2, 3, 4], vec![2, 3, 4, 5], (3..=10).collect()));
    let share = PrefixRollout { cuts: Cuts::Share, share: 0.3, ..skips.clone() };
    let drawn = share.next(4000, &[].into(), 1);
    assert!(drawn[0] > 800);
    // A binomial of mean 3200 · 0.3 = 960 and deviation √(3200 · 0.3 · 0.7) = 26; five of them.
    assert!((830..=1090).contains(&drawn.len()), "{}", drawn.len());
    // What rounding takes from 0.29 · 100 is given back.
    let odd = PrefixRollout { skip: 0.29, ..PrefixRollout::default() };
    assert_eq!(odd.next(100, &[].into(), 0)[0], 30);
}

#[test]
fn what_does_not_go_together_is_told() {
    let keys = |text: &str| {
        let found = toml::from_str::<PrefixRollout>(text).unwrap().check();
        found.into_iter().map(|misfit| misfit.key).collect::<Vec<_>>()
    };
    assert_eq!(keys("only_right = true\nkeep = \"all\"\nat_start = true\ncuts = \"every\""), [""; 0]);
    assert_eq!(keys("skip = 0.2\ncuts = \"share\""), [""; 0]);
    assert_eq!(keys("skip = 1.0"), ["skip"]);
    assert_eq!(keys("skip = 0.2\nat_start = true"), ["skip"]);
    assert_eq!(keys("only_right = true\nonly_wrong = true"), ["only_right"]);
    assert_eq!(keys("keep = \"all\"\nclose = true"), ["keep"]);
    assert_eq!(keys("cuts = \"tree\"\nkeep = \"all\"\nat_start = true"), ["at_start", "keep"]);
    assert_eq!(keys("cuts = \"search\"\nonly_wrong = true\nonly_right = true"), ["only_right"]);
}

/// Whatever step fails first, the search finds it and the cut before it, in at most ⌈log₂ 9⌉ = 4 questions of 8 steps.
#[test]
fn search_finds_the_first_failure() {
    let search = PrefixRollout { cuts: Cuts::Search, only_wrong: true, ..PrefixRollout::default() };
    for first in 1..=9usize {
        let mut known = BTreeMap::new();
        while let [step] = search.next(8, &known, 0)[..] {
            known.insert(step, step < first);
        }
        assert!(known.len() <= 4, "{known:?}");
        assert!(first == 9 || known.get(&first) == Some(&false), "{first}: {known:?}");
        assert!(first == 1 || known.get(&(first - 1)) == Some(&true), "{first}: {known:?}");
    }
}

#[test]
fn values_are_means_and_labels() {
    let place = Place { step: 2, tokens: 3, bytes: 3 };
    let scored = |text: &str, reward: f64| Rollout { reward, ..rollout(text) };
    let all = [scored("abcd#### 1", 0.5), scored("abc#### 1", 0.5), scored("abc#### 2", -0.4)];
    let value = CutValue::of(place, &all, &[true, true, false]);
    // (0.5 + 0.5 − 0.4) / 3 = 0.2; two of three are good.
    assert!((value.value - 0.2).abs() < 1e-12 && (value.soft() - 2.0 / 3.0).abs() < 1e-12 && value.hard());
    let tail = |text: &str| Tail {
        text: text.into(),
        tokens: policy().tokenizer.encode(text).unwrap(),
        reward: 0.5,
    };
    assert_eq!((value.shortest.unwrap(), value.best.unwrap()), (tail("#### 1"), tail("d#### 1")));
    let none = CutValue::of(place, &all[2..], &[false]);
    assert!(none.shortest.is_none() && !none.hard() && none.soft() == 0.0);
}

/// What is continued begins with the ids and log-probabilities of what was cut; the tail is what the engine samples of
/// prompt and prefix with that seed, and the tokens of all cuts of one completion are computed once.
#[test]
fn a_continuation_is_the_prefix_and_what_the_policy_samples_after_it() {
    let policy = policy();
    let prompt = policy.tokenizer.encode("1+1?").unwrap();
    let whole = rollout("1+1=2\n2=2\n#### 2");
    let sampling = Sampling { max_new_tokens: 6, ..Sampling::default() };
    let cut = |tokens, seeds: &[u64]| Cut { prompt: &prompt, rollout: &whole, tokens, seeds: seeds.to_vec() };
    let cuts = [cut(6, &[1, 2]), cut(10, &[3])];
    let (all, statistics) =
        continuations(&policy, &cuts, &sampling, &Format::default(), &mut |_| {}).unwrap();
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(statistics.prefill_tokens, 4 + 10, "the second cut's prefix begins with the first's");
    for (cut, rollouts) in cuts.iter().zip(&all) {
        for (seed, rollout) in cut.seeds.iter().zip(rollouts) {
            assert_eq!(rollout.tokens[..cut.tokens], whole.tokens[..cut.tokens]);
            assert_eq!(rollout.logprobs[..cut.tokens], whole.logprobs[..cut.tokens]);
            let alone =
                Request { prompt: [&prompt[..], &whole.tokens[..cut.tokens]].concat(), seeds: vec![*seed] };
            let alone = policy.sampler().generate(&[alone], &sampling, &mut |_| {}).unwrap();
            assert_eq!(rollout.tokens[cut.tokens..], alone.completions[0][0].tokens);
            assert_eq!(rollout.text, policy.tokenizer.decode(&rollout.tokens));
        }
    }
}
