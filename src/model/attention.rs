//! Causal attention over packed sequences, for training and scoring.

use super::Attend;
use tch::{Device, Tensor};

/// Sequences laid end to end; a token sees its own sequence up to itself.
///
/// Each sequence is attended to by itself: no mask, no padding to compute, and a sequence's result cannot depend
/// on what it is batched with. Splitting is a view and its backward one concatenation.
#[derive(Debug)]
pub struct Packed {
    lengths: Vec<i64>,
    device: Device,
}

impl Packed {
    /// Sequences of these `lengths`, in order.
    pub fn new(lengths: &[usize], device: Device) -> Self {
        Self { lengths: lengths.iter().map(|&n| n as i64).collect(), device }
    }

    /// Positions of the packed tokens, each counted from the start of its sequence, `[tokens]`.
    pub fn positions(&self) -> Tensor {
        let positions: Vec<i64> = self.lengths.iter().flat_map(|&n| 0..n).collect();
        Tensor::from_slice(&positions).to_device(self.device)
    }
}

impl Attend for Packed {
    fn attend(&mut self, _layer: usize, query: &Tensor, key: &Tensor, value: &Tensor) -> Tensor {
        let split = |x: &Tensor| x.split_with_sizes(&self.lengths, 0);
        let parts: Vec<Tensor> = split(query)
            .iter()
            .zip(split(key).iter().zip(split(value).iter()))
            .map(|(q, (k, v))| causal(q, k, v))
            .collect();
        match parts.as_slice() {
            [only] => only.shallow_clone(),
            _ => Tensor::cat(&parts, 0),
        }
    }
}

/// One sequence: `[tokens, heads, head_dim]` each, to `[tokens, heads · head_dim]`.
fn causal(query: &Tensor, key: &Tensor, value: &Tensor) -> Tensor {
    let size = query.size();
    let grouped = size[1] != key.size()[1];
    let batched = |x: &Tensor| x.transpose(0, 1).unsqueeze(0);
    let (q, k, v) = (batched(query), batched(key), batched(value));
    let out = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, true, None, grouped);
    out.squeeze_dim(0).transpose(0, 1).reshape([size[0], size[1] * size[2]])
}
