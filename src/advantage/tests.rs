//! The advantages' literal numbers.

use super::*;
use crate::near::near;
use crate::statistics::alone;
use std::sync::{Barrier, Mutex};

fn advantage(baseline: Baseline, scale: Scale, epsilon: f64) -> Advantage {
    Advantage { baseline, scale, epsilon, ..Advantage::default() }
}

#[test]
fn group_scale_divides_by_the_sample_deviation_plus_epsilon() {
    // [1, 0, 0, 1]: mean 0.5, Σ(r − mean)² = 1, over n − 1 = 3: deviation √(1/3).
    let a = 0.5 / ((1.0_f64 / 3.0).sqrt() + 1e-4);
    near(Advantage::default().of(&[vec![1.0, 0.0, 0.0, 1.0]]), [&[a, -a, -a, a]], 1e-9);
}

#[test]
fn batch_scale_divides_by_the_deviation_of_all_rewards_not_of_the_centred_ones() {
    // TRL: nanstd(rewards) over [1, 0, 3, 2]: mean 1.5, Σ = 5, deviation √(5/3). Centred rewards would give √(1/3).
    let a = 0.5 / (5.0_f64 / 3.0).sqrt();
    let found = advantage(Baseline::Mean, Scale::Batch, 0.0).of(&[vec![1.0, 0.0], vec![3.0, 2.0]]);
    near(&found, [&[a, -a], &[a, -a]], 1e-9);
}

#[test]
fn leave_one_out_compares_with_the_others_mean() {
    // Rewards 4, 1, 1: the others' means are 1, 2.5, 2.5.
    let found = advantage(Baseline::LeaveOneOut, Scale::None, 0.0).of(&[vec![4.0, 1.0, 1.0]]);
    near(&found, [&[3.0, -1.5, -1.5]], 1e-9);
}

#[test]
fn centred_and_bare_rewards_are_not_divided() {
    // prime-rl's docs: [1, 1, 0] → [1/3, 1/3, −2/3].
    let centred = advantage(Baseline::Mean, Scale::None, 1e-4);
    near(centred.of(&[vec![1.0, 1.0, 0.0]]), [&[1.0 / 3.0, 1.0 / 3.0, -2.0 / 3.0]], 1e-9);
    let bare = advantage(Baseline::None, Scale::None, 1e-4);
    near(bare.of(&[vec![2.0], vec![1.0, 1.0]]), [vec![2.0], vec![1.0, 1.0]], 1e-9);
}

#[test]
fn groups_that_say_nothing_get_exactly_zero() {
    // The mean of three 0.1s is not 0.1 in doubles; divided by epsilon alone the difference would count.
    let groups = [vec![5.0], vec![0.1, 0.1, 0.1], vec![]];
    for baseline in [Baseline::Mean, Baseline::LeaveOneOut] {
        for scale in [Scale::Group, Scale::Batch, Scale::None] {
            let found = advantage(baseline, scale, 0.0).of(&groups);
            assert_eq!(found, [vec![0.0], vec![0.0; 3], vec![]]);
        }
    }
    assert!(zero_variance(&[0.1, 0.1 + 1e-10]) && zero_variance(&[7.0]) && !zero_variance(&[0.0, 1e-6]));
}

#[test]
fn the_section_is_checked() {
    let read = |text: &str| toml::from_str::<Advantage>(text);
    assert_eq!(read("").unwrap(), Advantage::default());
    assert_eq!(read("baseline = \"leave_one_out\"").unwrap().baseline, Baseline::LeaveOneOut);
    assert!(read("epsilom = 1").unwrap_err().to_string().contains("epsilon"));
    let message = |text: &str| read(text).unwrap().validate().unwrap_err().to_string();
    assert!(message("epsilon = -1.0").contains("loop.grpo.advantage.epsilon = -1"));
    assert!(message("baseline = \"none\"").contains("set scale = \"none\""));
}

/// A group of one reward's values with the completions' lengths.
fn group(rewards: &[f64], lengths: &[usize]) -> Outcome {
    Outcome { parts: vec![(1.0, rewards.to_vec())], lengths: lengths.to_vec() }
}

#[test]
fn opo_weights_the_baseline_by_length() {
    // (1 · 10 + 0 · 30) / 40 = 0.25.
    let opo = advantage(Baseline::LengthWeighted, Scale::None, 0.0);
    near(opo.credit(&[group(&[1.0, 0.0], &[10, 30])], &mut alone), [&[0.75, -0.25]], 1e-9);
    near(opo.of(&[vec![1.0, 0.0]]), [&[0.5, -0.5]], 1e-9);
}

#[test]
fn pass_at_k_credits_the_best_alone() {
    // Best 3 over second best 1; deviation of [1, 3, 0]: mean 4/3, Σ = 1/9 + 25/9 + 16/9 = 14/3, √(7/3).
    let plain = advantage(Baseline::SecondBest, Scale::None, 0.0);
    near(plain.of(&[vec![1.0, 3.0, 0.0], vec![1.0, 1.0, 0.0]]), [&[0.0, 2.0, 0.0], &[0.0; 3]], 1e-9);
    let scaled = advantage(Baseline::SecondBest, Scale::Group, 1e-6).of(&[vec![1.0, 3.0, 0.0]]);
    near(&scaled, [&[0.0, 2.0 / ((7.0_f64 / 3.0).sqrt() + 1e-6), 0.0]], 1e-9);
}

#[test]
fn reinforce_plus_plus_whitens_over_tokens() {
    // Rewards 1 (1 token) and 0 (3 tokens): over tokens mean 1/4, Σ(…)² = 9/16 + 3/16 = 3/4, over 4 − 1: variance 1/4.
    let whiten = |baseline| Advantage { whiten: Whiten::Tokens, ..advantage(baseline, Scale::None, 0.0) };
    let groups = [group(&[1.0], &[1]), group(&[0.0], &[3])];
    let root = (0.25_f64 + 1e-8).sqrt();
    near(whiten(Baseline::None).credit(&groups, &mut alone), [&[0.75 / root], &[-0.25 / root]], 1e-9);
    // With the group's mean as baseline: ±1/2 and ±1 over one token each: mean 0, Σ = 2.5, over 3.
    let groups = [group(&[1.0, 0.0], &[1, 1]), group(&[2.0, 0.0], &[1, 1])];
    let root = (2.5_f64 / 3.0 + 1e-8).sqrt();
    near(
        whiten(Baseline::Mean).credit(&groups, &mut alone),
        [&[0.5 / root, -0.5 / root], &[1.0 / root, -1.0 / root]],
        1e-9,
    );
}

#[test]
fn gdpo_normalises_each_reward_before_the_sum() {
    // TRL's normalize_then_sum with epsilon 0. Reward a: [1, 0] → ±√½ (deviation √½), reward b: [0, 10] → ∓√½, times
    // weight 2; the sum is [−√½, √½]. The second group has a = [1, 1] → 0 and b = [3, 1] → ±√½, times 2: ±√2.
    // Over the batch: mean 0, Σ = ½ + ½ + 2 + 2 = 5, deviation √(5/3).
    let gdpo = Advantage { per_reward: true, ..advantage(Baseline::Mean, Scale::Group, 0.0) };
    let two = |a: [f64; 2], b: [f64; 2]| Outcome {
        parts: vec![(1.0, a.into()), (2.0, b.into())],
        lengths: vec![1, 1],
    };
    let groups = [two([1.0, 0.0], [0.0, 10.0]), two([1.0, 1.0], [3.0, 1.0])];
    let (half, root) = (0.5_f64.sqrt(), 2.0_f64.sqrt());
    near(gdpo.credit(&groups, &mut alone), [&[-half, half], &[root, -root]], 1e-9);
    let whitened = Advantage { whiten: Whiten::Sequences, ..gdpo }.credit(&groups, &mut alone);
    let d = (5.0_f64 / 3.0).sqrt();
    near(&whitened, [&[-half / d, half / d], &[root / d, -root / d]], 1e-9);
}

#[test]
fn groups_of_one_key_are_compared_with_each_other() {
    // prime-rl's docs: a solver's rewards 1, 1, 0 over episodes → 1/3, 1/3, −2/3; a role that occurs once gets 0.
    let groups = [group(&[1.0], &[1]), group(&[9.0], &[1]), group(&[1.0, 0.0], &[1, 1])];
    let keys = ["solver", "proposer", "solver"].map(String::from);
    let found = advantage(Baseline::Mean, Scale::None, 0.0).credit_by(&groups, &keys);
    near(&found, [vec![1.0 / 3.0], vec![0.0], vec![1.0 / 3.0, -2.0 / 3.0]], 1e-9);
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2]);
}

/// What `of` gives on each of `ranks` threads, whose sums are those over all of them.
fn on_ranks<T: Send>(ranks: usize, of: impl Fn(usize, &mut Sum) -> T + Sync) -> Vec<T> {
    let (meeting, slots) = (Barrier::new(ranks), Mutex::new(vec![Vec::new(); ranks]));
    let rank = |own: usize| {
        of(own, &mut |values: &mut [f64]| {
            slots.lock().unwrap()[own] = values.to_vec();
            meeting.wait();
            let all = slots.lock().unwrap().clone();
            meeting.wait();
            assert!(all.iter().all(|theirs| theirs.len() == values.len()), "{all:?}");
            for (i, value) in values.iter_mut().enumerate() {
                *value = all.iter().map(|theirs| theirs[i]).sum();
            }
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..ranks).map(|own| scope.spawn(move || rank(own))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_critics_advantages_are_whitened_over_all_ranks() {
    let rollouts = [vec![0.5, -1.0], vec![2.0], vec![0.25, 0.75, -3.0]];
    let values = [vec![0.0, 1.0], vec![1.5], vec![0.5, 0.0, -1.0]];
    let of = |own: std::ops::Range<usize>, sum: &mut Sum| {
        let mut advantages = rollouts[own.clone()].to_vec();
        whiten_tokens(&mut advantages, sum);
        let explained = explained_variance(&rollouts[own.clone()].concat(), &values[own].concat(), sum);
        (advantages.concat(), explained.unwrap())
    };
    let (whole, explained) = of(0..3, &mut alone);
    // The last of three ranks has nothing.
    let shares = [0..1, 1..3, 3..3];
    let found = on_ranks(3, |rank, sum| of(shares[rank].clone(), sum));
    let together: Vec<f64> = found.iter().flat_map(|(advantages, _)| advantages.clone()).collect();
    near(&[together], [&whole[..]], 1e-9);
    assert!(found.iter().all(|(_, of_rank)| (of_rank - explained).abs() < 1e-12));
    assert!((0.1..0.9).contains(&explained), "{explained}");
}

#[test]
fn groups_spread_over_ranks_get_the_advantages_of_the_whole() {
    let two = |a: &[f64], b: &[f64], lengths: &[usize]| Outcome {
        parts: vec![(1.0, a.to_vec()), (0.5, b.to_vec())],
        lengths: lengths.to_vec(),
    };
    let groups = [
        two(&[1.0, 0.0, 0.3], &[7.0, -2.0, 0.0], &[3, 9, 4]),
        two(&[0.0, 0.0], &[1.0, 1.0], &[5, 5]),
        two(&[0.1, 0.9, 0.2, 0.7], &[3.0, 0.0, 0.0, 1.0], &[1, 40, 2, 8]),
        two(&[4.0, 5.0], &[0.0, 1.0], &[6, 2]),
    ];
    // The last of three has no group at all, and still takes part in every sum.
    let all = 0..4;
    let shares = [vec![all], vec![0..1, 1..4], vec![0..2, 2..4, 4..4]];
    for (baseline, scale) in [
        (Baseline::Mean, Scale::Batch),
        (Baseline::LengthWeighted, Scale::Batch),
        (Baseline::LeaveOneOut, Scale::Group),
        (Baseline::None, Scale::None),
    ] {
        for whiten in [Whiten::None, Whiten::Sequences, Whiten::Tokens] {
            for per_reward in [false, true] {
                let advantage = Advantage { whiten, per_reward, ..advantage(baseline, scale, 1e-4) };
                let whole = advantage.credit(&groups, &mut alone);
                assert!(whole.iter().flatten().any(|a| a.abs() > 0.1), "zeros prove nothing");
                for share in &shares {
                    let own =
                        |rank: usize, sum: &mut Sum| advantage.credit(&groups[share[rank].clone()], sum);
                    let found = on_ranks(share.len(), own).concat();
                    assert_eq!(found.len(), whole.len());
                    for (found, whole) in found.iter().zip(&whole) {
                        assert_eq!(found.len(), whole.len());
                        let near =
                            found.iter().zip(whole).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs().max(1.0));
                        assert!(near, "{advantage:?} over {}: {found:?}, not {whole:?}", share.len());
                    }
                }
            }
        }
    }
}
