//! Causal attention over packed sequences, for training and scoring.

use super::Attend;
use tch::{Device, Tensor};

/// Sequences laid end to end; a token sees its own sequence up to itself.
///
/// The sequences are spread over a right-padded batch for the attention alone: with a causal mask no token can
/// see the padding behind it, so no mask tensor is needed and libtorch picks its fast kernels.
#[derive(Debug)]
pub struct Packed {
    /// Tokens of the longest sequence.
    longest: i64,
    /// Number of sequences.
    sequences: i64,
    /// Index of each packed token in the padded batch, `[tokens]`.
    slots: Tensor,
    /// The reverse: for each padded place its packed token (0 where it is padding), `[sequences · longest]`.
    sources: Tensor,
}

impl Packed {
    /// Sequences of these `lengths`, in order.
    pub fn new(lengths: &[usize], device: Device) -> Self {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut slots = Vec::with_capacity(lengths.iter().sum());
        let mut sources = vec![0i64; lengths.len() * longest];
        for (row, &length) in lengths.iter().enumerate() {
            for column in 0..length {
                let slot = row * longest + column;
                sources[slot] = slots.len() as i64;
                slots.push(slot as i64);
            }
        }
        Self {
            longest: longest as i64,
            sequences: lengths.len() as i64,
            slots: Tensor::from_slice(&slots).to_device(device),
            sources: Tensor::from_slice(&sources).to_device(device),
        }
    }

    /// Positions of the packed tokens, each counted from the start of its sequence, `[tokens]`.
    pub fn positions(&self) -> Tensor {
        self.slots.remainder(self.longest)
    }

    fn pad(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        if self.sequences == 1 {
            return x.unsqueeze(0).transpose(1, 2);
        }
        x.index_select(0, &self.sources).view([self.sequences, self.longest, size[1], size[2]]).transpose(1, 2)
    }
}

impl Attend for Packed {
    fn attend(&mut self, _layer: usize, query: &Tensor, key: &Tensor, value: &Tensor) -> Tensor {
        let size = query.size();
        let grouped = size[1] != key.size()[1];
        let (q, k, v) = (self.pad(query), self.pad(key), self.pad(value));
        let out = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, true, None, grouped);
        let out = out.transpose(1, 2).reshape([self.sequences * self.longest, size[1] * size[2]]);
        if self.sequences == 1 { out } else { out.index_select(0, &self.slots) }
    }
}

