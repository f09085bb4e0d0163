//! What the loss of `[loop.grpo]` adds up to on a tiny model, over the updates of a step; and what its advantages are taken over.

use super::*;
use crate::engine::StopReason;
use crate::loss::policy::KINDS;
use crate::model::Grad;
use crate::policy::Policy;
use crate::policy::tests::tiny;
use crate::ranks::Single;
use crate::rollout::{Fork, Score};
use tch::Kind;

fn policy() -> Policy {
    let policy = tiny(1, 2, 3);
    policy.model.train_all();
    policy
}

fn grpo(recipe: &str) -> GrpoMethod {
    GrpoMethod { grpo: toml::from_str(recipe).unwrap(), recent: Recent::default(), warms_up: false }
}

fn item(completion: &[u32], advantage: f64) -> Item {
    Item::of(vec![Sequence::new(&[1, 2], completion)])
        .with_tokens(OLD_LOGPROBS, vec![-4.0; completion.len()])
        .with_tokens(ADVANTAGES, vec![advantage as f32; completion.len()])
}

/// The loss of one update of two completions of 1 and 3 tokens whose tokens weigh `weight`, and the mean entropy of its tokens.
fn learned(recipe: &str, weight: f64) -> (f64, f64) {
    let (policy, mut metrics) = (policy(), Metrics::default());
    let items = [item(&[3], 1.0), item(&[4, 5, 6], -1.0)];
    let sequences: Vec<Sequence> = items.iter().flat_map(|item| item.sequences.clone()).collect();
    let scored = policy.model.score(&sequences, 1.0, Grad::Yes).unwrap();
    let output = Output { model: &policy.model, scored: &scored, weight, tokens: 4 };
    let loss = grpo(recipe).loss(&[&items[0], &items[1]], &output, &mut metrics).unwrap() / weight;
    (loss.double_value(&[]), metrics.get("entropy").unwrap())
}

#[test]
fn the_entropy_bonus_is_the_coefficient_times_the_mean_for_every_kind() {
    for (kind, weight) in
        [("grpo", 2.0), ("bnpo", 4.0), ("dr_grpo", 20.0), ("dapo", 7.0), ("cispo", 7.0), ("gspo", 2.0)]
    {
        let of = |coefficient: f64| {
            learned(&format!("loss.kind = \"{kind}\"\nentropy_coefficient = {coefficient:?}"), weight)
        };
        let ((without, entropy), (with, same)) = (of(0.0), of(0.5));
        assert_eq!(entropy, same);
        assert!(entropy > 1.0, "a policy that is sure shows little");
        assert!((without - with - 0.5 * entropy).abs() < 1e-5, "{kind}: {without} {with} {entropy}");
    }
}

/// The gradient of what `of` makes of the scored `items`, of all weights end to end.
fn gradient(policy: &Policy, items: &[&Item], of: impl FnOnce(&Output) -> Tensor, weight: f64) -> Tensor {
    let sequences: Vec<Sequence> = items.iter().flat_map(|item| item.sequences.clone()).collect();
    let scored = policy.model.score(&sequences, 1.0, Grad::Yes).unwrap();
    let tokens = lengths(items).iter().sum();
    let loss = of(&Output { model: &policy.model, scored: &scored, weight, tokens }) / weight;
    scored.backward(&loss).unwrap();
    let parameters = policy.model.parameters();
    let gradients: Vec<Tensor> =
        parameters.iter().map(|(_, tensor)| tensor.grad().to_kind(Kind::Double).flatten(0, -1)).collect();
    let gradients = Tensor::cat(&gradients, 0);
    parameters.into_iter().for_each(|(_, mut tensor)| tensor.zero_grad());
    gradients
}

fn of_loss(method: &GrpoMethod, policy: &Policy, items: &[&Item], weight: f64) -> Tensor {
    let loss = |output: &Output| method.loss(items, output, &mut Metrics::default()).unwrap();
    gradient(policy, items, loss, weight)
}

/// |a − b| / |b|.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    ((a - b).norm() / b.norm()).double_value(&[])
}

#[test]
fn the_gradient_of_the_entropy_bonus_is_that_of_the_mean_for_every_kind() {
    let policy = policy();
    let items = [item(&[3], 1.0), item(&[4, 5, 6], -1.0)];
    let items: Vec<&Item> = items.iter().collect();
    let mean = gradient(&policy, &items, |output| output.scored.entropy.mean(Kind::Float), 1.0);
    for kind in KINDS {
        let of = |coefficient: f64| {
            let recipe = format!("loss.kind = \"{}\"\nentropy_coefficient = {coefficient:?}", kind.name);
            of_loss(&grpo(&recipe), &policy, &items, 7.0)
        };
        let bonus = of(0.0) - of(2.0);
        assert!(apart(&bonus, &(&mean * 2.0)) < 1e-4, "{}", kind.name);
    }
}

/// Two rollouts a group, of 1 to 4 tokens; those for which `masked` are.
fn step(groups: &[usize], masked: impl Fn(usize, usize) -> bool) -> (Vec<Item>, Vec<Dealt>) {
    let (mut items, mut dealt) = (Vec::new(), Vec::new());
    for (number, &group) in groups.iter().enumerate() {
        for rollout in 0..2 {
            let first = (10 * group + 5 * rollout) as u32;
            let tokens: Vec<u32> = (first..).take(1 + (group + 2 * rollout) % 4).collect();
            items.push(item(&tokens, [0.5 + group as f64, -0.25][rollout]));
            dealt.push(Dealt { group: number, masked: masked(group, rollout) });
        }
    }
    (items, dealt)
}

const LONGEST: usize = 20;

/// However a step is split, an epoch deals every learned item once, and the mean of its updates' gradients, each counting by what it is
/// divided by, is the gradient of the whole step: Σ_u w_u ∇L_u / Σ_u w_u = ∇L, where L is Σ losses / total.
#[test]
fn the_updates_of_an_epoch_add_up_to_the_whole_step() {
    let policy = policy();
    let cut_off = |group: usize, rollout: usize| group == 1 || (group == 2 && rollout == 0);
    let all_or_every_other = |count: usize| [(0..count).collect(), (0..count).step_by(2).collect::<Vec<_>>()];
    let steps = [1, 4, 5].into_iter().flat_map(all_or_every_other);
    for (kept, masks) in steps.flat_map(|kept| [(kept.clone(), false), (kept, true)]) {
        let (items, dealt) = step(&kept, |group, rollout| masks && cut_off(group, rollout));
        let learned: Vec<usize> = (0..items.len()).filter(|&i| !dealt[i].masked).collect();
        let picked = |indices: &[usize]| indices.iter().map(|&i| &items[i]).collect::<Vec<_>>();
        for kind in KINDS {
            let whole =
                of_loss(&grpo(&format!("loss.kind = \"{}\"", kind.name)), &policy, &picked(&learned), 1.0);
            for (minibatches, epochs) in [1, 2, 3, 4, 8].into_iter().flat_map(|n| [(n, 1), (n, 2)]) {
                let case = format!("{} {kept:?} masks {masks} minibatches {minibatches}", kind.name);
                let method = grpo(&format!(
                    "loss.kind = \"{}\"\nminibatches = {minibatches}\nepochs_per_batch = {epochs}",
                    kind.name
                ));
                let updates = method.grpo.updates(&items, &dealt, LONGEST, 5, &Single).unwrap();
                assert_eq!(updates.len() % epochs, 0, "{case}");
                for epoch in updates.chunks(updates.len() / epochs) {
                    let mut once: Vec<usize> = epoch.iter().flat_map(|update| update.items.clone()).collect();
                    once.sort_unstable();
                    assert_eq!(once, learned, "{case}");
                    let groups = |update: &Update| -> std::collections::BTreeSet<usize> {
                        update.items.iter().map(|&i| dealt[i].group).collect()
                    };
                    let dealt_out: usize = epoch.iter().map(|update| groups(update).len()).sum();
                    let all: std::collections::BTreeSet<usize> =
                        learned.iter().map(|&i| dealt[i].group).collect();
                    assert_eq!(dealt_out, all.len(), "{case}: groups stay whole");
                    // Masked rollouts count as sequences, not as tokens; a part of masked rollouts alone is no update.
                    let sequences = 2 * if minibatches >= kept.len() { all.len() } else { kept.len() };
                    let total = match kind.name {
                        "grpo" | "gspo" => sequences,
                        "dr_grpo" => sequences * LONGEST,
                        "dapo" | "bnpo" | "cispo" => learned.iter().map(|&i| items[i].learned()).sum(),
                        other => panic!("{other}: say here what it is divided by"),
                    };
                    let weights: f64 = epoch.iter().map(|update| update.weight).sum();
                    assert!((weights - total as f64).abs() < 1e-9, "{case}: {weights}, not {total}");
                    let sum = epoch.iter().map(|update| {
                        of_loss(&method, &policy, &picked(&update.items), update.weight) * update.weight
                    });
                    let sum = sum.reduce(|a, b| a + b).expect("an update");
                    assert!(apart(&sum, &whole) < 1e-5, "{case}: {}", apart(&sum, &whole));
                }
            }
        }
    }
}

/// The weights of the updates of one epoch over `groups` groups of two rollouts of three tokens.
fn weights_of(kind: &str, groups: usize, minibatches: usize) -> Vec<f64> {
    let items: Vec<Item> = (0..2 * groups).map(|_| item(&[3, 4, 5], 1.0)).collect();
    let dealt: Vec<Dealt> = (0..2 * groups).map(|i| Dealt { group: i / 2, masked: false }).collect();
    let method = grpo(&format!("loss.kind = \"{kind}\"\nminibatches = {minibatches}"));
    let updates = method.grpo.updates(&items, &dealt, LONGEST, 5, &Single).unwrap();
    updates.iter().map(|update| update.weight).collect()
}

#[test]
fn a_total_of_the_generation_is_shared_by_the_updates_that_are_made() {
    // Five groups in four minibatches are parts of two, two and one: three updates. By four each gradient would be 4/3 of this.
    for kind in ["dapo", "cispo"] {
        assert_eq!(weights_of(kind, 5, 4), [10.0, 10.0, 10.0]);
        assert_eq!(weights_of(kind, 4, 4), [6.0; 4]);
        // One group that is left is one update, whatever was asked for: by 4 and 8 the gradient was 4 and 8 times this.
        assert_eq!([1, 4, 8].map(|minibatches| weights_of(kind, 1, minibatches)), [[6.0], [6.0], [6.0]]);
    }
    // Totals of an update are its own: tokens, sequences, and sequences of the greatest length.
    let sorted = |kind: &str| {
        let mut weights = weights_of(kind, 5, 4);
        weights.sort_by(f64::total_cmp);
        weights
    };
    assert_eq!(sorted("bnpo"), [6.0, 12.0, 12.0]);
    assert_eq!([sorted("grpo"), sorted("gspo")], [[2.0, 4.0, 4.0], [2.0, 4.0, 4.0]]);
    assert_eq!(sorted("dr_grpo"), [40.0, 80.0, 80.0]);
}

/// One of several ranks that have five groups together, with something to learn for each update.
#[derive(Debug)]
struct OfFive;

impl Ranks for OfFive {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        2
    }

    fn sum(&self, _values: &mut [f64]) -> Result<()> {
        unreachable!("updates are dealt by what is greatest")
    }

    /// How many groups there are; and, of each update, how much is learned in it.
    fn max(&self, values: &mut [f64]) -> Result<()> {
        let others = if values.len() == 1 { 5.0 } else { 1.0 };
        values.iter_mut().for_each(|value| *value = value.max(others));
        Ok(())
    }

    fn sum_tensors(&self, _tensors: &mut [Tensor]) -> Result<()> {
        unreachable!("updates are dealt by what is greatest")
    }

    fn gather_tensor(&self, _: &Tensor) -> Result<Tensor> {
        unreachable!("no optimiser")
    }

    fn gather(&self, _text: String) -> Result<Vec<String>> {
        unreachable!("updates are dealt by what is greatest")
    }
}

#[test]
fn the_updates_of_two_ranks_are_together_those_of_one() {
    let (items, dealt) = step(&[0, 1, 2, 3, 4], |_, _| false);
    for kind in KINDS {
        for minibatches in [1, 3, 4, 8] {
            let method = grpo(&format!("loss.kind = \"{}\"\nminibatches = {minibatches}", kind.name));
            // Of the items at these places: each update's weight, and which of all items it learns from.
            let of = |places: &[usize], ranks: &dyn Ranks| {
                let items: Vec<Item> = places.iter().map(|&i| items[i].clone()).collect();
                let dealt: Vec<Dealt> = places.iter().map(|&i| dealt[i]).collect();
                let updates = method.grpo.updates(&items, &dealt, LONGEST, 5, ranks).unwrap();
                let learned = |update: &Update| update.items.iter().map(|&i| places[i]).collect::<Vec<_>>();
                updates.iter().map(|update| (update.weight, learned(update))).collect::<Vec<_>>()
            };
            let alone = of(&(0..10).collect::<Vec<_>>(), &Single);
            // The second group, of places 2 and 3, is another rank's.
            let ranks = [of(&[0, 1, 4, 5, 6, 7, 8, 9], &OfFive), of(&[2, 3], &OfFive)];
            let case = format!("{} minibatches {minibatches}", kind.name);
            assert_eq!([ranks[0].len(), ranks[1].len()], [alone.len(); 2], "{case}");
            for (at, (weight, learned)) in alone.iter().enumerate() {
                let sum = ranks[0][at].0 + ranks[1][at].0;
                assert!((sum - weight).abs() < 1e-9, "{case}: {sum}, not {weight}");
                let mut together = [&ranks[0][at].1[..], &ranks[1][at].1].concat();
                together.sort_unstable();
                assert_eq!(together, *learned, "{case}");
            }
        }
    }
}

/// A group with these scores of `[reward.a]` and `[reward.b]`, none of it cut off.
fn scored(scores: &[(f64, f64)]) -> Group {
    let mut group = crate::reward::tests::group(None, &[], &vec!["x"; scores.len()]);
    for (rollout, (a, b)) in group.rollouts.iter_mut().zip(scores) {
        let score = |value: f64| Score { value, steps: None };
        rollout.scores = [("a".to_string(), score(*a)), ("b".to_string(), score(*b))].into();
        rollout.stop = StopReason::Eos(0);
    }
    group
}

#[test]
fn a_group_trains_where_it_has_an_advantage() {
    let trains = |recipe: &str, group: &Group, [a, b]: [f64; 2]| {
        grpo(recipe).grpo.trains_on(group, &[("a".into(), a), ("b".into(), b)])
    };
    let alone = |recipe: &str, group: &Group| trains(recipe, group, [1.0, 0.0]);
    let (ones, zeros) = (scored(&[(1.0, 0.0); 8]), scored(&[(0.0, 0.0); 8]));
    assert!(!alone("", &ones) && !alone("", &zeros));
    assert!(alone("", &scored(&[(1.0, 0.0), (0.0, 0.0)])));

    // Seven of eight are cut off: rewards 1, outcomes 0 and 1, of advantage −.354 and 2.475.
    let mut cut = ones.clone();
    cut.rollouts[..7].iter_mut().for_each(|rollout| rollout.stop = StopReason::Length);
    for recipe in ["truncated_reward = -1.0", "truncated_reward = -1.0\nadvantage.per_reward = true"] {
        assert!(alone(recipe, &cut), "{recipe}");
        assert!(!alone(recipe, &ones), "{recipe}: none is cut off");
        let grpo = grpo(recipe).grpo;
        let outcome = grpo.outcome(&cut, &[("a".into(), 1.0)], None);
        let advantages = grpo.advantage.credit(&[outcome], &mut crate::statistics::alone).concat();
        let rounded = |at: usize| (1000.0 * advantages[at]).round() / 1000.0;
        assert_eq!((rounded(0), rounded(6), rounded(7)), (-0.353, -0.353, 2.474), "{recipe}");
    }
    assert!(!alone("", &cut), "what is cut off costs nothing");

    // Without a baseline, a reward is an advantage; and whitening compares with the step's other groups.
    let none = "advantage = { baseline = \"none\", scale = \"none\" }";
    assert!(alone(none, &ones) && !alone(none, &zeros));
    let whitened = "advantage = { baseline = \"none\", scale = \"none\", whiten = \"tokens\" }";
    assert!(alone(whitened, &ones) && alone(whitened, &zeros));

    assert!(alone("advantage.compare_by = \"role\"", &ones), "others of its role may have other rewards");
    assert!(alone("kl = { coefficient = 0.1, place = \"reward\" }", &ones), "divergences differ");
    assert!(!alone("kl = { coefficient = 0.0, place = \"reward\" }", &ones));
    assert!(!alone("kl = { coefficient = 0.1, place = \"loss\" }", &ones));

    // Sums that are equal: 2 · 1 + 0 and 0 + 1 · 2. Each divided by its own deviation, the first counts twice the second.
    let opposed = scored(&[(1.0, 0.0), (0.0, 2.0)]);
    assert!(!trains("", &opposed, [2.0, 1.0]));
    assert!(trains("advantage.per_reward = true", &opposed, [2.0, 1.0]));
    assert!(!trains("advantage = { per_reward = true, scale = \"none\" }", &opposed, [2.0, 1.0]));
    assert!(!trains("advantage.per_reward = true", &opposed, [0.0, 0.0]));
}

/// A tree's leaves with these rewards and, on the way to each, (node, copies).
fn tree(leaves: &[(f64, &[(usize, usize)])]) -> Group {
    let mut group = scored(&leaves.iter().map(|(reward, _)| (*reward, 0.0)).collect::<Vec<_>>());
    for (rollout, (reward, way)) in group.rollouts.iter_mut().zip(leaves) {
        let fork = |&(node, copies)| Fork { node, tokens: 0, bytes: 0, copies, value: 0.0, vote: None };
        (rollout.reward, rollout.forks) = (*reward, way.iter().map(fork).collect());
    }
    group
}

#[test]
fn leaves_count_as_often_as_they_were_drawn() {
    let counted = |leaves: &[(f64, &[(usize, usize)])], draws| {
        let group = tree(leaves);
        let (drawn, places) = drawn(&group, draws);
        let counts: Vec<usize> =
            (0..leaves.len()).map(|at| places.iter().filter(|place| **place == at).count()).collect();
        (counts, drawn.rewards().iter().sum::<f64>() / drawn.rollouts.len() as f64)
    };
    // Eight draws from one node, four leaves: the right one was drawn once.
    let level: [(f64, &[(usize, usize)]); 4] =
        [(1.0, &[(1, 1)]), (0.0, &[(2, 4)]), (0.0, &[(3, 2)]), (0.0, &[(4, 1)])];
    assert_eq!(counted(&level, 8), (vec![1, 4, 2, 1], 0.125));
    // Node 2 of two ended before its sibling branched: half of the draws are its own.
    let early: [(f64, &[(usize, usize)]); 3] =
        [(1.0, &[(1, 1), (3, 1)]), (0.0, &[(1, 1), (4, 1)]), (0.0, &[(2, 1)])];
    assert_eq!(counted(&early, 4), (vec![1, 1, 2], 0.25));
    // All draws came out the same twice: one leaf weighs what the two, or four, of another tree do.
    assert_eq!(counted(&[(1.0, &[(1, 2), (3, 2)])], 4), (vec![4], 1.0));
    // What was drawn without a tree is there once each.
    assert_eq!(counted(&[(1.0, &[]), (0.0, &[]), (0.0, &[])], 8), (vec![1, 1, 1], 1.0 / 3.0));
}
