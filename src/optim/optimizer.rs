//! The optimiser: f32 master weights, each moved by its rule. AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) is one fused call for all that
//! it moves; [Muon](super::Muon) takes matrices one after the other.
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
//! w ← w − lr · λ · w − lr · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)
//! ```

use super::blockwise::{self, BLOCK};
use super::fused::{self, Constants, Lists};
use super::share::{Share, TOGETHER};
use super::slot::{Memory, Part, Slot};
use super::{Moments, Optim, Rules, steadier};
use crate::devices::native_kind;
use crate::model::Slice;
use crate::ranks::Ranks;
use crate::{Error, Result};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The optimiser and its memory, of all parameters or of a rank's [`Share`] of each. All that it computes with is f32: a bf16 or f16 parameter is the rounded copy of
/// a master weight, so that updates smaller than its spacing add up instead of being lost.
///
/// A step is: `backward` on each micro-batch, [`accumulate`](Self::accumulate) after each, [`clip`](Self::clip),
/// [`step`](Self::step), [`zero_grad`](Self::zero_grad).
#[derive(Debug)]
pub struct Optimizer {
    pub(super) slots: Vec<Slot>,
    share: Share,
    sliced: Option<Sliced>,
    /// Those that hold the parts of what is divided here, shares or slices.
    within: Option<Arc<dyn Ranks>>,
    /// Steps taken, as one f32 on the parameters' device: the fused kernel reads it there.
    pub(super) steps: Tensor,
    device: Device,
    optim: Optim,
}

/// Who has what of parameters of which each rank holds slices.
#[derive(Debug, Clone)]
pub struct Sliced {
    /// Those that hold all of them together.
    pub within: Arc<dyn Ranks>,
    /// Those that hold the same slices, where there are several.
    pub across: Option<Arc<dyn Ranks>>,
}

impl Optimizer {
    /// An optimiser over `parameters`, which take gradients and lie on one device, with nothing remembered yet.
    /// Of the learning rates only how Muon's is to AdamW's matters here.
    pub fn new<'r>(parameters: Vec<(String, Tensor)>, rules: impl Into<Rules<'r>>) -> Result<Self> {
        Self::of(parameters, rules.into(), Share::WHOLE)
    }

    /// The same of one of the ranks `within`, each of which holds and updates a part of each parameter; [`spread`](Self::spread) then gives
    /// all of them all parts.
    pub fn of_share<'r>(
        parameters: Vec<(String, Tensor)>,
        rules: impl Into<Rules<'r>>,
        within: Arc<dyn Ranks>,
    ) -> Result<Self> {
        let rules = rules.into();
        let unit = if rules.optim.moments == Moments::EightBit { BLOCK } else { 1 };
        let whole = Self::of(parameters, rules, Share::of(&*within).in_units(unit))?;
        Ok(Self { within: Some(within), ..whole })
    }

    fn of(parameters: Vec<(String, Tensor)>, rules: Rules<'_>, share: Share) -> Result<Self> {
        let Some(device) = parameters.first().map(|(_, tensor)| tensor.device()) else {
            return Err(Error::Model("there is nothing to train: no parameter takes gradients".into()));
        };
        for (name, tensor) in &parameters {
            if tensor.device() != device {
                let message = format!("{name} lies on {:?}, other parameters on {device:?}", tensor.device());
                return Err(Error::Devices(message));
            }
            if !tensor.requires_grad() {
                return Err(Error::Model(format!("{name} is to be trained, but takes no gradient")));
            }
            if !share.is_whole() && !tensor.is_contiguous() {
                return Err(Error::Model(format!(
                    "{name} cannot be divided among ranks: devices.shard = \"none\" can"
                )));
            }
        }
        let slot = |(name, tensor): (String, Tensor)| {
            let size = tensor.size();
            let rule = rules.of(&name, &size);
            Slot::new(name, tensor, size, Part::Of(share), rule)
        };
        Ok(Self::over(parameters.into_iter().map(slot).collect(), share, device, rules.optim))
    }

    /// The same of a rank that holds slices of parameters and of their gradients.
    ///
    /// # Errors
    /// [`Error::Model`] without any.
    pub fn of_slices<'r>(slices: Vec<Slice>, sliced: Sliced, rules: impl Into<Rules<'r>>) -> Result<Self> {
        let rules = rules.into();
        if rules.optim.moments == Moments::EightBit {
            return Err(Error::Model(super::CUT_BLOCKS.into()));
        }
        let Some(device) = slices.first().map(|slice| slice.tensor.device()) else {
            return Err(Error::Model("there is nothing to train: no parameter takes gradients".into()));
        };
        let slot = |Slice { name, tensor, start, shape }: Slice| {
            let rule = rules.of(&name, &shape);
            Slot::new(name, tensor, shape, Part::From(start), rule)
        };
        let whole = Self::over(slices.into_iter().map(slot).collect(), Share::WHOLE, device, rules.optim);
        Ok(Self { within: Some(sliced.within.clone()), sliced: Some(sliced), ..whole })
    }

    fn over(slots: Vec<Slot>, share: Share, device: Device, optim: &Optim) -> Self {
        let steps = Tensor::zeros([], (Kind::Float, device));
        Self { slots, share, sliced: None, within: None, steps, device, optim: optim.clone() }
    }

    /// Moves the gradients that `backward` left at the parameters into f32 sums, and frees them there. After every
    /// micro-batch: a sum in bf16 would lose the small ones. Those in f32 stay where they are, since the next `backward` adds to them.
    pub fn accumulate(&mut self) -> Result<()> {
        let moved = |slot: &&mut Slot| slot.is_whole() && slot.has_master();
        self.slots.iter_mut().filter(moved).try_for_each(Slot::accumulate)
    }

    /// Sums the gradients over all `ranks`; those of slices are sums already over the ranks that hold slices together.
    pub fn sum_over(&mut self, ranks: &Arc<dyn Ranks>) -> Result<()> {
        let over = match &self.sliced {
            Some(sliced) => sliced.across.clone(),
            None => Some(ranks.clone()),
        };
        match over.filter(|ranks| ranks.count() > 1) {
            Some(ranks) => ranks.sum_tensors(&mut self.gradients()?),
            None => Ok(()),
        }
    }

    /// The step's gradients, f32, in the parameters' order, for whoever sums them over ranks in place. A parameter
    /// that the loss did not reach has gradient zero, on every rank alike.
    pub fn gradients(&mut self) -> Result<Vec<Tensor>> {
        self.slots.iter_mut().try_for_each(Slot::accumulate)?;
        Ok(self.slots.iter_mut().map(Slot::gradient).collect())
    }

    /// Scales the gradients down to the norm `max_norm` where they are larger (0: never) and returns the norm they
    /// had: √ Σ g² over all parameters, those of slices over all ranks. Waits for the device once. A norm that is not finite is an error.
    pub fn clip(&mut self, max_norm: f64) -> Result<f64> {
        let gradients = self.gradients()?;
        let mut squares = fused::norms(&gradients)?.to_kind(Kind::Double).square();
        if let Some(Sliced { within, .. }) = &self.sliced {
            within.sum_tensors(std::slice::from_mut(&mut squares))?;
        }
        let total = squares.sum(Kind::Double).sqrt();
        if max_norm > 0.0 {
            // torch.nn.utils.clip_grad_norm_ divides by the norm plus 1e-6 too.
            let factor = (max_norm / (&total + 1e-6)).clamp_max(1.0).to_kind(Kind::Float);
            fused::scale(&gradients, &factor)?;
        }
        let norm = total.double_value(&[]);
        if norm.is_finite() { Ok(norm) } else { Err(self.not_finite(&squares)) }
    }

    /// One update at AdamW's learning rate `lr`, which Muon's follows, from the gradients as they stand. Where matrices are divided, all
    /// ranks that hold them together make it together.
    pub fn step(&mut self, lr: f64) -> Result<()> {
        self.slots.iter_mut().try_for_each(Slot::accumulate)?;
        let _ = self.steps.g_add_scalar_(1.0);
        let Optim { betas, eps, weight_decay, .. } = self.optim;
        for decays in [true, false] {
            let lists = self.lists(decays);
            if !lists.parameters.is_empty() {
                let weight_decay = if decays { weight_decay } else { 0.0 };
                fused::adamw(&lists, &self.steps, &Constants { lr, betas, weight_decay, eps })?;
            }
        }
        self.step_blocks(lr)?;
        self.step_matrices(lr)?;
        self.round()
    }

    /// The part of a step of what is remembered in bytes.
    fn step_blocks(&mut self, lr: f64) -> Result<()> {
        let in_bytes = |slot: &Slot| matches!(slot.memory, Memory::AdamW8 { .. });
        if !self.slots.iter().any(in_bytes) {
            return Ok(());
        }
        let Optim { betas, eps, weight_decay, .. } = self.optim;
        let number = self.steps() as f64;
        for slot in self.slots.iter_mut().filter(|slot| slot.master.numel() > 0) {
            let weight_decay = if slot.decays() { weight_decay } else { 0.0 };
            if !in_bytes(slot) {
                continue;
            }
            let gradient = slot.own_gradient();
            if let Memory::AdamW8 { average, square } = &mut slot.memory {
                let step = blockwise::Step { lr, betas, weight_decay, eps, number };
                blockwise::adamw(&mut slot.master, &gradient, [average, square], &step)?;
            }
        }
        Ok(())
    }

    /// Muon's part of a step. What a rank's part of a matrix moves along depends on all of it, so that the parts of the averaged gradient are
    /// put together and every rank brings the singular values of all near 1: the products are made as often as there are ranks, and
    /// what is remembered stays divided as AdamW's is.
    fn step_matrices(&mut self, lr: f64) -> Result<()> {
        let Some(muon) = &self.optim.muon else { return Ok(()) };
        let lr = lr * self.optim.muon_by_adamw();
        let keeps = 1.0 - lr * self.optim.weight_decay;
        let by = native_kind(self.device);
        let ranks = self.within.as_ref().filter(|ranks| ranks.count() > 1);
        let mut slots: Vec<&mut Slot> =
            self.slots.iter_mut().filter(|slot| matches!(slot.memory, Memory::Muon { .. })).collect();
        let mut rest = &mut slots[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(together(rest));
            let mut updates = Vec::new();
            for slot in now.iter_mut() {
                let gradient = slot.own_gradient();
                let Memory::Muon { momentum } = &mut slot.memory else { continue };
                let update = muon.averaged(momentum, &gradient);
                updates.push(if ranks.is_some() { slot.among_zeros(&update)? } else { update });
            }
            ranks.map_or(Ok(()), |ranks| ranks.sum_tensors(&mut updates))?;
            for (slot, update) in now.iter_mut().zip(updates) {
                let direction = muon.direction(&update.f_reshape(&slot.size)?, by)?;
                let own = slot.part_of_whole(&direction)?;
                let _ = slot.master.g_mul_scalar_(keeps).f_sub_(&(own * lr))?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Gives all ranks what each has updated of its share.
    pub fn spread(&self, ranks: &dyn Ranks) -> Result<()> {
        if self.share.is_whole() {
            return Ok(());
        }
        let parameters: Vec<Tensor> = self.slots.iter().map(|slot| slot.parameter.detach()).collect();
        self.share.gather(&parameters, ranks)
    }

    /// Forgets the gradients and frees their memory.
    pub fn zero_grad(&mut self) -> Result<()> {
        for slot in &mut self.slots {
            slot.forget_gradient()?;
        }
        Ok(())
    }

    /// Updates made so far.
    pub fn steps(&self) -> usize {
        self.steps.double_value(&[]) as usize
    }

    fn lists(&mut self, decays: bool) -> Lists {
        let mut lists = Lists::default();
        let own = |slot: &&mut Slot| slot.decays() == decays && slot.master.numel() > 0;
        for slot in self.slots.iter_mut().filter(own) {
            let gradient = slot.own_gradient();
            let Memory::AdamW { average, square } = &slot.memory else { continue };
            lists.gradients.push(gradient);
            lists.parameters.push(slot.master.shallow_clone());
            lists.averages.push(average.shallow_clone());
            lists.squares.push(square.shallow_clone());
        }
        lists
    }

    /// parameter ← master, rounded, as far as this share goes.
    pub(super) fn round(&self) -> Result<()> {
        let rounded = self.slots.iter().filter(|slot| slot.has_master() && slot.master.numel() > 0);
        let pairs = rounded.map(|slot| (slot.own(&slot.parameter.detach()), slot.master.shallow_clone()));
        let (parameters, masters): (Vec<_>, Vec<_>) = pairs.unzip();
        if parameters.is_empty() { Ok(()) } else { fused::copy(&parameters, &masters) }
    }

    fn not_finite(&self, squares: &Tensor) -> Error {
        let squares = Vec::<f64>::try_from(squares.to_device(Device::Cpu)).unwrap_or_default();
        let first = squares.iter().position(|square| !square.is_finite());
        let name = first.map_or("the sum over all parameters", |index| &self.slots[index].name);
        let message = format!(
            "the gradient of {name} is not finite (update {} on {:?}); {}",
            self.steps() + 1,
            self.device,
            steadier(self.slots.first().map_or(Kind::Float, |slot| slot.parameter.kind()))
        );
        Error::Diverged(message)
    }
}

/// How many of the slots, of which there are some, are updated at once: what is whole of them at a time has so many elements.
fn together(slots: &[&mut Slot]) -> usize {
    let mut elements = 0;
    let fits = |slot: &&&mut Slot| {
        elements += slot.size.iter().product::<i64>();
        elements <= TOGETHER
    };
    slots.iter().take_while(fits).count().max(1)
}
