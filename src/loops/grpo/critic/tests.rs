//! A critic's literal numbers, and what of its loss goes where on a tiny policy.

use super::super::{GrpoMethod, Recent};
use super::*;
use crate::data::Questions;
use crate::loops::Method;
use crate::loops::item::{ADVANTAGES, OLD_LOGPROBS};
use crate::model::Grad;
use crate::policy::tests::tiny;
use crate::rationale::Format;
use crate::reward::Rewards;
use crate::reward::tests::group;
use tch::Device;

fn method(recipe: &str, warms_up: bool) -> GrpoMethod {
    let grpo: Grpo = toml::from_str(recipe).unwrap();
    assert_eq!(grpo.check(), []);
    GrpoMethod { grpo, recent: Recent::default(), warms_up }
}

fn policy(method: &GrpoMethod) -> Policy {
    let mut policy = tiny(1, 2, 3);
    policy.model.train_all();
    method.grpo.critic.iter().for_each(|critic| critic.attach(&mut policy));
    policy
}

/// Has the head say something that differs from state to state.
fn speak(policy: &Policy) {
    let weight = Tensor::arange(16i64, (Kind::Float, Device::Cpu)).sin().view([1, 16]) * 0.1;
    let projection = &policy.model.value.as_ref().unwrap().projection;
    tch::no_grad(|| projection.weight.shallow_clone().copy_(&weight));
}

fn item(prompt: &[u32], completion: &[u32], returns: f64) -> Item {
    let each = |x: f64| vec![x; completion.len()];
    let credited = Credited { advantages: each(1.0), values: each(0.0), returns: each(returns) };
    let item = Item::of(vec![Sequence::new(prompt, completion)])
        .with_tokens(OLD_LOGPROBS, vec![-4.0; completion.len()])
        .with_tokens(ADVANTAGES, credited.by_token());
    credited.on(item)
}

/// Completions of 1 and 3 tokens, behind each of which 1 and ½ came.
fn items() -> [Item; 2] {
    [item(&[1, 2], &[3], 1.0), item(&[7, 8, 9], &[4, 5, 6], 0.5)]
}

/// The loss of an update of all `parts` together, four tokens that weigh `weight`, and the gradient of each parameter.
fn learned(
    method: &GrpoMethod,
    policy: &Policy,
    parts: &[Vec<&Item>],
    weight: f64,
) -> (f64, Vec<(String, Tensor)>) {
    let mut total = 0.0;
    for part in parts {
        let sequences: Vec<Sequence> = part.iter().flat_map(|item| item.sequences.clone()).collect();
        let places: Vec<&[usize]> = part.iter().flat_map(|item| &item.places).map(Vec::as_slice).collect();
        let scored = policy.model.score_and_read(&sequences, &places, 1.0, Grad::Yes).unwrap();
        let output = Output { model: &policy.model, scored: &scored, weight, tokens: 4 };
        let loss = method.loss(part, &output, &mut Metrics::default()).unwrap() / weight;
        total += loss.double_value(&[]);
        scored.backward(&loss).unwrap();
    }
    let gradient = |(name, mut tensor): (String, Tensor)| {
        let gradient = tensor.grad().copy();
        tensor.zero_grad();
        (name, gradient)
    };
    (total, policy.model.parameters().into_iter().map(gradient).collect())
}

/// How far the gradients of the head, or of all others, are from each other, by the largest of the `other`s.
fn far(one: &[(String, Tensor)], other: &[(String, Tensor)], of_head: bool) -> f64 {
    let own = |all: &[(String, Tensor)]| -> Vec<(String, Tensor)> {
        let own = all.iter().filter(|(name, _)| name.starts_with("value.") == of_head);
        own.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    };
    let (one, other) = (own(one), own(other));
    assert!(!one.is_empty() && one.len() == other.len());
    let (mut apart, mut largest) = (0.0_f64, 1e-12_f64);
    for ((a, x), (b, y)) in one.iter().zip(&other) {
        assert_eq!(a, b);
        apart = apart.max((x - y).abs().max().double_value(&[]));
        largest = largest.max(y.abs().max().double_value(&[]));
    }
    apart / largest
}

#[test]
fn the_section_is_checked() {
    let keys = |text: &str| -> Vec<String> {
        let critic: Critic = toml::from_str(text).unwrap();
        critic.check().into_iter().map(|misfit| misfit.key).collect()
    };
    assert_eq!(keys(""), [""; 0]);
    assert_eq!(keys("clip = 0.0\ngamma = 0.0\nlambda = 1.0"), [""; 0]);
    assert_eq!(
        keys("gamma = 1.1\nlambda = -0.1\nclip = -1.0\nweight = 0.0\nlr_scale = 0.0"),
        ["gamma", "lambda", "clip", "weight", "lr_scale"]
    );
}

#[test]
fn tokens_earn_their_steps_their_divergence_and_the_last_one_the_outcome() {
    let mut rollout = group(None, &[], &["abcd"]).rollouts.remove(0);
    rollout.logprobs = vec![-1.0; 4];
    let of = |recipe: &str, reference: Option<&[f32]>| {
        let grpo: Grpo = toml::from_str(recipe).unwrap();
        grpo.rewards_of_tokens(&rollout, 1.0, &[(1, 0.5), (9, 0.25)], reference)
    };
    assert_eq!(rollout.tokens.len(), 4);
    // What ends behind the completion is paid at its end.
    assert_eq!(of("", None), [0.0, 0.5, 0.0, 1.25]);
    // k1 is log π − log π_ref: 1, 0, −1 and 2 nats, of which each costs ½.
    let reference = [-2.0, -1.0, 0.0, -3.0];
    let kl = "kl = { coefficient = 0.5, place = \"reward\" }";
    assert_eq!(of(kl, Some(&reference)), [-0.5, 0.5, 0.5, 0.25]);
    assert_eq!(of("kl.coefficient = 0.5", Some(&reference)), [0.0, 0.5, 0.0, 1.25]);
}

#[test]
fn rollouts_are_credited_by_what_the_head_expects() {
    let method = method("critic = { lambda = 0.5, whiten = false, lr_scale = 2.0 }", false);
    let policy = policy(&method);
    let projection = &policy.model.value.as_ref().unwrap().projection;
    // The head says ½ of every state.
    let bias = projection.bias.as_ref().unwrap().shallow_clone();
    tch::no_grad(|| drop(bias.shallow_clone().fill_(0.25)));
    let groups = [Group { prompt: vec![1, 2], ..group(None, &[], &["a", "bcd"]) }];
    let worker = Worker::new(policy, Questions::default(), Rewards::none(), Format::default());
    let outcomes = [Outcome::from(vec![1.0, 0.0])];
    let mut metrics = Metrics::default();
    let critic = method.grpo.critic.as_ref().unwrap();
    let found = method
        .grpo
        .credited(critic, &worker, &groups, (&outcomes[..], &[None, None][..]), &mut metrics)
        .unwrap();
    // 1 − ½; and from the back 0 − ½, half of it, half of that.
    assert_eq!(found[0][0].advantages, [0.5]);
    assert_eq!(found[0][1].advantages, [-0.125, -0.25, -0.5]);
    assert_eq!((&found[0][0].returns[..], &found[0][1].returns[..]), (&[1.0][..], &[0.375, 0.25, 0.0][..]));
    assert_eq!(found[0][1].values, [0.5; 3]);
    assert_eq!(
        (metrics.get("critic/value"), metrics.get("critic/explained_variance")),
        (Some(0.5), Some(0.0))
    );
    assert_eq!(metrics.get("critic/return"), Some((1.0 + 0.375 + 0.25) / 4.0));
}

/// A head that says nothing yet: ½ R² of 1, and of ½ three times, a tenth of their mean. Its slope by the bias is −R times the scale of 10.
#[test]
fn the_loss_is_the_weight_times_the_mean_for_every_kind() {
    let items = items();
    let all = [items.iter().collect::<Vec<_>>()];
    for (kind, weight) in [("grpo", 2.0), ("dapo", 4.0), ("dr_grpo", 20.0)] {
        let recipe = format!("loss.kind = \"{kind}\"");
        let plain = method(&recipe, false);
        let (without, _) = learned(&plain, &policy(&plain), &all, weight);
        let critic = method(&format!("{recipe}\n[critic]"), false);
        let (with, gradients) = learned(&critic, &policy(&critic), &all, weight);
        let expected = 0.1 * (0.5 + 3.0 * 0.125) / 4.0;
        assert!((with - without - expected).abs() < 1e-6, "{kind}: {with} {without}");
        let (_, bias) = gradients.iter().find(|(name, _)| name == "value.bias").unwrap();
        let slope = -0.1 * 10.0 * (1.0 + 3.0 * 0.5) / 4.0;
        assert!((bias.double_value(&[0]) - slope).abs() < 1e-6, "{kind}: {bias:?}");
    }
}

#[test]
fn micro_batches_add_up_to_the_whole() {
    let method = method("[critic]", false);
    let policy = policy(&method);
    speak(&policy);
    let items = items();
    let (whole, gradients) = learned(&method, &policy, &[items.iter().collect()], 4.0);
    let (parts, of_parts) = learned(&method, &policy, &[vec![&items[1]], vec![&items[0]]], 4.0);
    assert!((whole - parts).abs() < 1e-6, "{whole} {parts}");
    assert!(far(&gradients, &of_parts, true) < 1e-4 && far(&gradients, &of_parts, false) < 1e-4);
}

#[test]
fn the_head_alone_learns_where_it_is_to() {
    let items = items();
    let of = |recipe: &str, warms_up: bool| {
        let method = method(recipe, warms_up);
        let policy = policy(&method);
        if method.grpo.critic.is_some() {
            speak(&policy);
        }
        learned(&method, &policy, &[items.iter().collect()], 4.0).1
    };
    let (plain, whole) = (of("", false), of("[critic]", false));
    let (head, warming) = (of("critic.backbone = false", false), of("critic.warmup_steps = 3", true));
    // Into the layers goes what the critic learns, unless it is held back; while it warms up nothing goes there.
    assert!(far(&whole, &plain, false) > 1e-2);
    assert!(far(&head, &plain, false) < 1e-4);
    let nothing: Vec<_> = plain.iter().map(|(name, tensor)| (name.clone(), tensor.zeros_like())).collect();
    assert!(far(&warming, &nothing, false) == 0.0);
    assert!(far(&head, &whole, true) < 1e-4 && far(&warming, &whole, true) < 1e-4);
    let critic = Critic { warmup_steps: 3, ..Critic::default() };
    assert_eq!([1, 3, 4].map(|step| critic.warms_up(step)), [true, true, false]);
}

/// Gradient steps on the head of a policy that stays as it is.
#[test]
fn what_comes_is_learned() {
    let method = method("critic = { lr_scale = 1.0, weight = 1.0, clip = 0.0 }", true);
    let policy = policy(&method);
    let items = items();
    let step = || {
        let (loss, gradients) = learned(&method, &policy, &[items.iter().collect()], 4.0);
        let of: std::collections::BTreeMap<String, Tensor> = gradients.into_iter().collect();
        for (name, tensor) in policy.model.value.as_ref().unwrap().tensors() {
            tch::no_grad(|| drop(tensor.shallow_clone().g_add_(&(&of[&name] * -0.05))));
        }
        loss
    };
    let losses: Vec<f64> = (0..300).map(|_| step()).collect();
    assert!(losses[299] < 0.05 * losses[0], "{} {}", losses[0], losses[299]);
}
