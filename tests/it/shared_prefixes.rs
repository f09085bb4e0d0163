//! Sequences that share what they begin with, computed once in training: values and gradients of random trees against the
//! dense form, in which each sequence is computed alone.

use rationale::batch::micro_batches;
use rationale::loss::PreferenceLoss;
use rationale::loss::preference::{PairShape, PairTokens};
use rationale::model::layout::{Predicting, sizes};
use rationale::model::{Config, Grad, Model, Sequence};
use rationale::seed;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

const VOCABULARY: u64 = 40;

fn model() -> Model {
    let mut config = Config {
        vocab_size: VOCABULARY as usize,
        hidden_size: 24,
        intermediate_size: 40,
        ..Config::default()
    };
    (config.num_attention_heads, config.num_key_value_heads, config.head_dim) = (4, 2, 6);
    (config.num_hidden_layers, config.initializer_range) = (2, 0.3);
    let model = Model::init(config, Kind::Float, Device::Cpu, 1).unwrap();
    model.train_all();
    model
}

/// `count` completions of each of two prompts: each goes on from a random place in an earlier one.
fn trees(salt: u64, count: usize) -> Vec<Sequence> {
    let draw = |parts: &[u64], below: u64| seed::derive(&[&[salt], parts].concat()) % below;
    let tokens = |tree: u64, path: u64, length: u64| -> Vec<u32> {
        (0..length).map(|i| draw(&[tree, path, i], VOCABULARY) as u32).collect()
    };
    let mut all: Vec<Sequence> = Vec::new();
    for tree in 0..2 {
        let prompt = tokens(tree, 99, 30 + 20 * tree);
        let first = all.len();
        for path in 0..count as u64 {
            let kept = match all[first..].len() as u64 {
                0 => vec![],
                earlier => {
                    let other = &all[first + draw(&[tree, path, 1000], earlier) as usize];
                    let cut = draw(&[tree, path, 1001], other.learned() as u64 + 1) as usize;
                    other.completion()[..cut].to_vec()
                }
            };
            let own = tokens(tree, path, 1 + draw(&[tree, path, 1002], 45));
            all.push(Sequence::new(&prompt, &[kept, own].concat()));
        }
    }
    all
}

type Gradients = HashMap<String, Tensor>;

/// The gradient that `backward` leaves in the parameters.
fn gradients(model: &Model, backward: impl FnOnce()) -> Gradients {
    for (_, parameter) in model.parameters() {
        parameter.grad().defined().then(|| parameter.grad().zero_());
    }
    backward();
    model.parameters().into_iter().map(|(name, parameter)| (name, parameter.grad().copy())).collect()
}

/// f32 sums of the same terms in another order: the largest difference over the largest element.
fn assert_close(ours: &Tensor, dense: &Tensor, what: &str) {
    let worst = ((ours - dense).abs().max() / dense.abs().max()).double_value(&[]);
    assert!(worst < 2e-5, "{what}: {worst:.1e}");
}

/// Numbers between −1 and 1, one a completion token, so that every token's gradient is told apart.
fn slopes(sequences: &[Sequence]) -> Vec<Tensor> {
    let slope = |(i, s): (usize, &Sequence)| {
        (Tensor::arange(s.learned() as i64, (Kind::Float, Device::Cpu)) * 0.7 + i as f64).sin()
    };
    sequences.iter().enumerate().map(slope).collect()
}

/// Σ slope · log p + slope² · entropy of the sequences at `indices`, backwards.
fn learn(model: &Model, sequences: &[Sequence], slopes: &[Tensor], indices: &[usize]) -> Tensor {
    let picked: Vec<Sequence> = indices.iter().map(|&i| sequences[i].clone()).collect();
    let slope = Tensor::cat(&indices.iter().map(|&i| slopes[i].shallow_clone()).collect::<Vec<_>>(), 0);
    let scored = model.score(&picked, 0.8, Grad::Yes).unwrap();
    let loss = (&scored.logprobs * &slope + &scored.entropy * slope.square()).sum(Kind::Float);
    let logprobs = scored.logprobs.detach();
    scored.backward(&loss).unwrap();
    logprobs
}

#[test]
fn trees_are_scored_and_differentiated_as_their_paths_alone() {
    let mut model = model();
    for salt in 0..4 {
        let sequences = trees(salt, 9);
        let slopes = slopes(&sequences);
        let mut alone = Vec::new();
        let dense = gradients(&model, || {
            alone = (0..sequences.len()).map(|i| learn(&model, &sequences, &slopes, &[i])).collect();
        });
        let total: usize = sequences.iter().map(|s| s.tokens.len() - 1).sum();
        let orders = [(0..18).collect::<Vec<usize>>(), (0..18).rev().collect()];
        for (order, checkpointing) in orders.iter().zip([false, true]) {
            let laid =
                Predicting::new(&order.iter().map(|&i| &sequences[i]).collect::<Vec<_>>(), &[], Device::Cpu);
            assert!(
                laid.layout.inputs.size()[0] < total as i64 / 2,
                "half of the tokens are shared at least"
            );
            assert!(laid.row_of.is_some(), "so are predictions");
            (model.checkpointing, model.chunk) =
                (checkpointing, if checkpointing { 50 * 40 } else { 1 << 30 });
            let mut together = Tensor::new();
            let grads = gradients(&model, || together = learn(&model, &sequences, &slopes, order));
            let expected =
                Tensor::cat(&order.iter().map(|&i| alone[i].shallow_clone()).collect::<Vec<_>>(), 0);
            assert_close(&together, &expected, "log-probabilities");
            dense.iter().for_each(|(name, grad)| assert_close(&grads[name], grad, name));
        }
    }
}

/// All pairs of neighbours, chosen and rejected, each pair one item.
fn pairs(sequences: &[Sequence]) -> Vec<[Sequence; 2]> {
    sequences.windows(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect()
}

/// The sigmoid loss of some pairs, with an NLL term, from the log-probabilities of their tokens.
fn preference(pairs: &[&[Sequence; 2]], logprobs: &Tensor) -> Tensor {
    let shape = |pair: &&[Sequence; 2]| PairShape {
        chosen: pair[0].learned(),
        rejected: pair[1].learned(),
        rationale: 0,
        weight: 1.0,
        margin: 0.0,
        nll_weight: 0.01,
    };
    let loss: PreferenceLoss = toml::from_str("beta = 0.3\nnll = 0.5").unwrap();
    let reference = logprobs.detach() * 0.9 - 0.1;
    let shapes: Vec<PairShape> = pairs.iter().map(shape).collect();
    let counted = vec![true; logprobs.size()[0] as usize];
    loss.sum(&PairTokens { logprobs, ref_logprobs: Some(&reference), counted: &counted, pairs: &shapes }).loss
}

/// The loss of the pairs at `indices`, backwards, all of them in one pass.
fn prefer(model: &Model, pairs: &[[Sequence; 2]], indices: &[usize]) -> f64 {
    let picked: Vec<&[Sequence; 2]> = indices.iter().map(|&i| &pairs[i]).collect();
    let sequences: Vec<Sequence> = picked.iter().copied().flatten().cloned().collect();
    let scored = model.score(&sequences, 1.0, Grad::Yes).unwrap();
    let loss = preference(&picked, &scored.logprobs);
    let value = loss.double_value(&[]);
    scored.backward(&loss).unwrap();
    value
}

/// The loss of one pair, backwards, each of its sequences in a pass of its own.
fn prefer_alone(model: &Model, pair: &[Sequence; 2]) -> f64 {
    let score = |one: &Sequence, grad| model.score(std::slice::from_ref(one), 1.0, grad).unwrap();
    let known = pair.iter().map(|one| score(one, Grad::No).logprobs).collect::<Vec<_>>();
    let leaf = Tensor::cat(&known, 0).set_requires_grad(true);
    let loss = preference(&[pair], &leaf);
    loss.backward();
    let slopes = leaf.grad().split_with_sizes(pair.each_ref().map(|one| one.learned() as i64), 0);
    for (one, slope) in pair.iter().zip(&slopes) {
        let scored = score(one, Grad::Yes);
        let sum = (&scored.logprobs * slope).sum(Kind::Float);
        scored.backward(&sum).unwrap();
    }
    loss.double_value(&[])
}

/// A whole tree's pairs in one pass, in micro-batches of several budgets and in another order, against each pair's two
/// sequences computed alone: the loss, and its gradient.
#[test]
fn preferences_over_trees_do_not_depend_on_how_they_are_batched() {
    let model = model();
    let mut pairs = pairs(&trees(7, 8));
    let sum = |pairs: &[[Sequence; 2]], batches: &[Vec<usize>]| {
        let mut loss = 0.0;
        let grads =
            gradients(&model, || loss = batches.iter().map(|batch| prefer(&model, pairs, batch)).sum());
        (loss, grads)
    };
    let mut loss = 0.0;
    let dense = gradients(&model, || loss = pairs.iter().map(|pair| prefer_alone(&model, pair)).sum());
    for budget in [1, 200, 350, 100_000] {
        for _ in 0..2 {
            pairs.reverse();
            let sizes = sizes(pairs.iter().map(|pair| (pair.as_slice(), &[][..])));
            let batches = micro_batches(&sizes, budget);
            if budget == 100_000 {
                assert_eq!(batches.len(), 1);
                let all: Vec<&Sequence> = batches[0].iter().flat_map(|&i| &pairs[i]).collect();
                let planned: HashMap<usize, usize> = sizes.iter().flat_map(|s| s.segments.clone()).collect();
                let laid = Predicting::new(&all, &[], Device::Cpu).layout.inputs.size()[0] as usize;
                assert_eq!(planned.values().sum::<usize>(), laid, "the budget counts what is laid");
            }
            let (batched, grads) = sum(&pairs, &batches);
            assert!((batched - loss).abs() < 1e-5 * loss.abs(), "{batched} {loss}");
            dense.iter().for_each(|(name, grad)| assert_close(&grads[name], grad, name));
        }
    }
}

/// A reward model reads states of sequences that share their beginnings: the same numbers and gradients.
#[test]
fn states_are_read_as_those_of_sequences_alone() {
    let model = model();
    let sequences = trees(3, 6);
    let tokens: Vec<&[u32]> = sequences.iter().map(|s| s.tokens.as_slice()).collect();
    let places: Vec<Vec<usize>> =
        sequences.iter().map(|s| vec![s.prompt().len() - 1, s.tokens.len() - 1]).collect();
    let places: Vec<&[usize]> = places.iter().map(Vec::as_slice).collect();
    let read = |which: std::ops::Range<usize>| {
        let read = model.read(&tokens[which.clone()], &places[which], Grad::Yes).unwrap();
        let (states, loss) = (read.states.detach(), read_loss(&read.states));
        read.backward(&loss).unwrap();
        states
    };
    let (mut alone, mut together) = (Vec::new(), Tensor::new());
    let dense = gradients(&model, || alone = (0..tokens.len()).map(|i| read(i..i + 1)).collect());
    let grads = gradients(&model, || together = read(0..tokens.len()));
    assert_close(&together, &Tensor::cat(&alone, 0), "states");
    dense.iter().for_each(|(name, grad)| assert_close(&grads[name], grad, name));
}

fn read_loss(states: &Tensor) -> Tensor {
    let weights = Tensor::arange(states.size()[1], (Kind::Float, Device::Cpu)).sin();
    (states.square() * weights).sum(Kind::Float)
}
