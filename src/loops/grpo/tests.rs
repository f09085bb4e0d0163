//! What the loss of `[loop.grpo]` adds up to on a tiny model.

use super::*;
use crate::model::Grad;
use crate::policy::{Init, Policy};
use tch::{Device, Kind};

fn policy() -> Policy {
    let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 2, ..Init::default() };
    let policy = init.make(Kind::Float, Device::Cpu, 3, 1).unwrap();
    policy.model.train_all();
    policy
}

fn grpo(recipe: &str) -> GrpoMethod {
    GrpoMethod { grpo: toml::from_str(recipe).unwrap(), recent: Recent::default() }
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
