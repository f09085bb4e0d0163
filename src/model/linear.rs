//! A linear map of a layer, with the low-rank adapter that may be added to it.

use super::Nf4;
use crate::Result;
use tch::{Device, Kind, Tensor};

/// A linear map as the checkpoint names it, with its low-rank adapter where there is one.
#[derive(Debug)]
pub struct Linear {
    /// The name within its layer, such as `self_attn.q_proj`; what an adapter targets is the last part.
    pub name: String,
    /// `[out, in]`; of one that is kept in four bits its shape alone, with numbers that are none.
    pub weight: Tensor,
    /// The weight in four bits.
    pub quantised: Option<Box<Nf4>>,
    /// `[out]`.
    pub bias: Option<Tensor>,
    /// The adapter added to it.
    pub adapter: Option<Adapter>,
}

/// A low-rank adapter: `y += scale · x Aᵀ Bᵀ`.
#[derive(Debug)]
pub struct Adapter {
    /// `[rank, in]`.
    pub a: Tensor,
    /// `[out, rank]`, zero at the start.
    pub b: Tensor,
    /// alpha / rank.
    pub scale: f64,
}

impl Linear {
    /// x Wᵀ + bias, and what the adapter adds where adapters take part.
    pub(super) fn forward(&self, x: &Tensor, adapted: bool) -> Tensor {
        let y = match (&self.quantised, &self.bias) {
            (None, bias) => product(x, &self.weight, bias.as_ref()),
            (Some(nf4), None) => nf4.product(x).unwrap_or_else(|error| panic!("{}: {error}", self.name)),
            (Some(nf4), Some(bias)) => {
                nf4.product(x).unwrap_or_else(|error| panic!("{}: {error}", self.name)) + bias
            }
        };
        match &self.adapter {
            Some(adapter) if adapted => {
                let low = x.linear(&adapter.a, None::<&Tensor>).linear(&adapter.b, None::<&Tensor>);
                y + low * adapter.scale
            }
            _ => y,
        }
    }

    /// The weight in full: shared, or read of four bits.
    pub(super) fn dense(&self) -> Tensor {
        let read = |nf4: &Nf4| nf4.dense().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.quantised.as_deref().map_or_else(|| self.weight.shallow_clone(), read)
    }

    /// Keeps the weight in four bits from here on.
    pub(super) fn quantise(&mut self) -> Result<()> {
        if self.quantised.is_none() {
            let nf4 = Nf4::of(&self.weight)?;
            (self.weight, self.quantised) = (nf4.outline(), Some(Box::new(nf4)));
        }
        Ok(())
    }

    /// W + scale · B A, summed in f32; the weight itself, shared, where there is no adapter.
    pub(super) fn merged(&self) -> Tensor {
        match &self.adapter {
            None => self.dense(),
            Some(Adapter { a, b, scale }) => tch::no_grad(|| {
                let change = b.to_kind(Kind::Float).mm(&a.to_kind(Kind::Float)) * *scale;
                (self.dense().to_kind(Kind::Float) + change).to_kind(self.weight.kind())
            }),
        }
    }
}

/// Rows up to which a CPU is faster with the weight as the left factor: a step of decoding.
const FEW_ROWS: i64 = 64;

/// x Wᵀ + bias. For few rows on a CPU as (W xᵀ)ᵀ: the long side then is the rows of the product, which libtorch's
/// matrix kernels split over threads and registers much better.
pub(super) fn product(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let few = x.device() == Device::Cpu && x.dim() == 2 && (2..=FEW_ROWS).contains(&x.size()[0]);
    if !few || x.kind() != Kind::Float {
        return x.linear(weight, bias);
    }
    let y = weight.matmul(&x.tr()).tr().contiguous();
    match bias {
        Some(bias) => y + bias,
        None => y,
    }
}
