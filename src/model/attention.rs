//! Causal attention over packed sequences, for training and scoring.

use super::Attend;
use tch::{Device, Tensor};

/// Sequences laid end to end; a token sees its own sequence up to itself.
///
/// Neighbours of like length are attended to together, padded on the right to the longest of them: under a causal
/// mask nothing sees that padding, so no mask tensor is needed and libtorch takes its fast kernels.
#[derive(Debug)]
pub struct Packed {
    lengths: Vec<usize>,
    runs: Vec<Run>,
    device: Device,
}

/// Neighbouring sequences that share one call.
#[derive(Debug)]
struct Run {
    /// Their tokens together.
    tokens: i64,
    sequences: i64,
    longest: i64,
    /// Where lengths differ: for each padded place its token within the run (0 for padding), and for each token its
    /// place.
    spread: Option<(Tensor, Tensor)>,
}

/// A sequence joins a run if it fills at least this share of the run's longest.
const LEAST_FILLED: f64 = 0.75;

impl Packed {
    /// Sequences of these `lengths`, in order.
    pub fn new(lengths: &[usize], device: Device) -> Self {
        let mut runs = Vec::new();
        let mut rest = lengths;
        while !rest.is_empty() {
            let run = &rest[..alike(rest)];
            runs.push(Run::new(run, device));
            rest = &rest[run.len()..];
        }
        Self { lengths: lengths.to_vec(), runs, device }
    }

    /// Positions of the packed tokens, each counted from the start of its sequence, `[tokens]`.
    pub fn positions(&self) -> Tensor {
        let positions: Vec<i64> = self.lengths.iter().flat_map(|&n| 0..n as i64).collect();
        Tensor::from_slice(&positions).to_device(self.device)
    }
}

impl Attend for Packed {
    fn attend(&mut self, _layer: usize, query: &Tensor, key: &Tensor, value: &Tensor) -> Tensor {
        if let [run] = self.runs.as_slice() {
            return run.attend(query, key, value);
        }
        let sizes: Vec<i64> = self.runs.iter().map(|run| run.tokens).collect();
        let [query, key, value] = [query, key, value].map(|x| x.split_with_sizes(&sizes, 0));
        let parts: Vec<Tensor> = self
            .runs
            .iter()
            .zip(query.iter().zip(key.iter().zip(&value)))
            .map(|(run, (query, (key, value)))| run.attend(query, key, value))
            .collect();
        Tensor::cat(&parts, 0)
    }
}

impl Run {
    fn new(lengths: &[usize], device: Device) -> Self {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let tokens: usize = lengths.iter().sum();
        let spread = (tokens < longest * lengths.len()).then(|| {
            let mut tokens_of = vec![0i64; longest * lengths.len()];
            let mut places = Vec::with_capacity(tokens);
            for (row, &length) in lengths.iter().enumerate() {
                for column in 0..length {
                    let place = row * longest + column;
                    tokens_of[place] = places.len() as i64;
                    places.push(place as i64);
                }
            }
            let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
            (tensor(&tokens_of), tensor(&places))
        });
        Self { tokens: tokens as i64, sequences: lengths.len() as i64, longest: longest as i64, spread }
    }

    /// `[tokens, heads, head_dim]` each, to `[tokens, heads · head_dim]`.
    fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Tensor {
        let (heads, head_dim) = (query.size()[1], query.size()[2]);
        let grouped = heads != key.size()[1];
        let [q, k, v] = [query, key, value].map(|x| self.padded(x));
        let out = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, true, None, grouped);
        let out = out.transpose(1, 2).reshape([self.sequences * self.longest, heads * head_dim]);
        match &self.spread {
            Some((_, places)) => out.index_select(0, places),
            None => out,
        }
    }

    /// `[sequences, heads, longest, head_dim]`.
    fn padded(&self, x: &Tensor) -> Tensor {
        let (heads, head_dim) = (x.size()[1], x.size()[2]);
        let shape = [self.sequences, self.longest, heads, head_dim];
        let rows = match &self.spread {
            Some((tokens, _)) => x.index_select(0, tokens),
            None => x.shallow_clone(),
        };
        rows.reshape(shape).transpose(1, 2)
    }
}

/// How many sequences from the front are alike enough in length to share a run.
fn alike(lengths: &[usize]) -> usize {
    let (mut shortest, mut longest) = (lengths[0], lengths[0]);
    let fits = |length: &&usize| {
        shortest = shortest.min(**length);
        longest = longest.max(**length);
        shortest as f64 >= LEAST_FILLED * longest as f64
    };
    lengths.iter().take_while(fits).count().max(1)
}
