//! What the loss of `[loop.grpo]` adds up to on a tiny model.

use super::*;
use crate::policy::Init;
use tch::{Device, Kind};

/// The loss of one update of two completions of 1 and 3 tokens whose tokens weigh `weight`, and the mean entropy of its tokens.
fn learned(recipe: &str, weight: f64) -> (f64, f64) {
    let grpo: Grpo = toml::from_str(recipe).unwrap();
    let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 2, ..Init::default() };
    let policy = init.make(Kind::Float, Device::Cpu, 3, 1).unwrap();
    policy.model.train_all();
    let item = |completion: &[u32], advantage: f64| Item {
        sequence: Sequence::new(&[1, 2], completion),
        group: 0,
        advantage,
        by_token: None,
        old_logprobs: vec![-4.0; completion.len()],
        ref_logprobs: None,
        masked: false,
    };
    let items = [item(&[3], 1.0), item(&[4, 5, 6], -1.0)];
    let mut metrics = Metrics::default();
    let pass = Pass {
        model: &policy.model,
        items: &items.iter().collect::<Vec<_>>(),
        temperature: 1.0,
        weight,
        tokens: 4,
        metrics: &mut metrics,
    };
    (grpo.learn(pass).unwrap(), metrics.get("entropy").unwrap())
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
