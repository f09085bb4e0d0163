//! AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) with f32 master weights, one fused call for all parameters.
//!
//! ```text
//! m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
//! w ← w − lr · λ · w − lr · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε)
//! ```

use super::fused::{self, Constants, Lists};
use super::share::Share;
use super::{Optim, steadier};
use crate::checkpoint::{Ranges, part_name};
use crate::model::{Slice, drop_grad};
use crate::ranks::Ranks;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// The optimiser and its memory, of all parameters or of a rank's [`Share`] of each. All that it computes with is f32: a bf16 or f16 parameter is the rounded copy of
/// a master weight, so that updates smaller than its spacing add up instead of being lost.
///
/// A step is: `backward` on each micro-batch, [`accumulate`](Self::accumulate) after each, [`clip`](Self::clip),
/// [`step`](Self::step), [`zero_grad`](Self::zero_grad).
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    share: Share,
    sliced: Option<Sliced>,
    /// Steps taken, as one f32 on the parameters' device: the fused kernel reads it there.
    steps: Tensor,
    device: Device,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
}

/// Who has what of parameters of which each rank holds slices.
#[derive(Debug, Clone)]
pub struct Sliced {
    /// Those that hold all of them together.
    pub within: Arc<dyn Ranks>,
    /// Those that hold the same slices, where there are several.
    pub across: Option<Arc<dyn Ranks>>,
}

/// A parameter and all that is remembered of it.
#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Tensor,
    /// Its shape.
    size: Vec<i64>,
    part: Part,
    /// Of the share; the parameter's own memory where that is f32 already.
    master: Tensor,
    average: Tensor,
    square: Tensor,
    /// The step's gradient so far, f32.
    gradient: Option<Tensor>,
}

/// What of a parameter's elements is updated here.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// So much of the parameter, which is whole.
    Of(Share),
    /// `parameter` is a slice of it that begins with this element, whose gradient is the sum over ranks.
    From(i64),
}

impl AdamW {
    /// An optimiser over `parameters`, which take gradients and lie on one device, with nothing remembered yet.
    /// Only `betas`, `eps` and `weight_decay` of `optim` matter here.
    pub fn new(parameters: Vec<(String, Tensor)>, optim: &Optim) -> Result<Self> {
        Self::of_share(parameters, optim, Share::WHOLE)
    }

    /// The same of a rank that holds and updates a part of each parameter; [`spread`](Self::spread) then gives all ranks all parts.
    pub fn of_share(parameters: Vec<(String, Tensor)>, optim: &Optim, share: Share) -> Result<Self> {
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
            Slot::new(name, tensor, size, Part::Of(share))
        };
        Ok(Self::over(parameters.into_iter().map(slot).collect(), share, device, optim))
    }

    /// The same of a rank that holds slices of parameters and of their gradients.
    ///
    /// # Errors
    /// [`Error::Model`] without any.
    pub fn of_slices(slices: Vec<Slice>, sliced: Sliced, optim: &Optim) -> Result<Self> {
        let Some(device) = slices.first().map(|slice| slice.tensor.device()) else {
            return Err(Error::Model("there is nothing to train: no parameter takes gradients".into()));
        };
        let slot = |Slice { name, tensor, start, shape }| Slot::new(name, tensor, shape, Part::From(start));
        let whole = Self::over(slices.into_iter().map(slot).collect(), Share::WHOLE, device, optim);
        Ok(Self { sliced: Some(sliced), ..whole })
    }

    fn over(slots: Vec<Slot>, share: Share, device: Device, optim: &Optim) -> Self {
        let steps = Tensor::zeros([], (Kind::Float, device));
        let Optim { betas, eps, weight_decay, .. } = *optim;
        Self { slots, share, sliced: None, steps, device, betas, eps, weight_decay }
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

    /// One update at the learning rate `lr`, from the gradients as they stand.
    pub fn step(&mut self, lr: f64) -> Result<()> {
        self.slots.iter_mut().try_for_each(Slot::accumulate)?;
        let _ = self.steps.g_add_scalar_(1.0);
        for decays in [true, false] {
            let lists = self.lists(decays);
            if !lists.parameters.is_empty() {
                let weight_decay = if decays { self.weight_decay } else { 0.0 };
                let constants = Constants { lr, betas: self.betas, weight_decay, eps: self.eps };
                fused::adamw(&lists, &self.steps, &constants)?;
            }
        }
        self.round()
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
            slot.gradient = None;
            drop_grad(&slot.parameter)?;
        }
        Ok(())
    }

    /// Updates made so far.
    pub fn steps(&self) -> usize {
        self.steps.double_value(&[]) as usize
    }

    /// All that the next step depends on, all f32: `step`, and for each parameter `NAME.exp_avg`, `NAME.exp_avg_sq`
    /// and, where the parameter itself is not f32, `NAME.master`. The tensors share memory with the optimiser's. Those of a share are
    /// flat, and their names end with `@` and the place where the part begins.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let of = |slot: &Slot| {
            let name = |name: String| slot.start().map_or(name.clone(), |start| part_name(&name, start));
            slot.state().into_iter().map(|(part, tensor)| (name(part), tensor)).collect::<Vec<_>>()
        };
        let step = ("step".to_string(), self.steps.shallow_clone());
        std::iter::once(step).chain(self.slots.iter().flat_map(of)).collect()
    }

    /// Takes up a state that [`state`](Self::state) gave of all there is: this share's part of it. Refuses names that are missing or too many
    /// and other shapes; then nothing has changed. Parameters with a master weight become its rounded copy.
    pub fn load_state(&mut self, state: Vec<(String, Tensor)>) -> Result<()> {
        let theirs: BTreeMap<String, Tensor> = state.into_iter().collect();
        let wanted =
            self.wanted(theirs.keys().map(String::as_str), |name| theirs.get(name).map(Tensor::size))?;
        let one = |part: &Wanted| -> Result<Tensor> {
            let all = theirs[&part.name].f_reshape([-1])?;
            part.fitting(all.f_narrow(0, part.start, part.own.numel() as i64)?)
        };
        let found = wanted.iter().map(one).collect::<Result<Vec<_>>>()?;
        fused::copy(&wanted.into_iter().map(|part| part.own).collect::<Vec<_>>(), &found)?;
        self.round()
    }

    /// The same of what lies in files, of which this share's part alone is read, one tensor after the other. What cannot be read leaves this
    /// half loaded.
    pub fn load_ranges(&mut self, state: &Ranges) -> Result<()> {
        for part in self.wanted(state.names(), |name| state.shape(name))? {
            let found = part.fitting(state.read(&part.name, part.start, part.own.numel() as i64)?)?;
            fused::copy(&[part.own], &[found])?;
        }
        self.round()
    }

    /// All that is remembered, as it has to be found among `names`, of which `shape` gives the shape.
    fn wanted<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        shape: impl Fn(&str) -> Option<Vec<i64>>,
    ) -> Result<Vec<Wanted>> {
        let steps = Wanted { name: "step".into(), size: vec![], start: 0, own: self.steps.shallow_clone() };
        let of = |slot: &Slot| {
            let (size, start) = (slot.size.clone(), slot.start().unwrap_or(0));
            let part = move |(name, own)| Wanted { name, size: size.clone(), start, own };
            slot.state().into_iter().map(part).collect::<Vec<_>>()
        };
        let wanted: Vec<Wanted> = std::iter::once(steps).chain(self.slots.iter().flat_map(of)).collect();
        for Wanted { name, size, .. } in &wanted {
            let found = shape(name).ok_or_else(|| mismatch(format!("{name} is missing")))?;
            fits(name, &found, size)?;
        }
        let known: BTreeSet<&str> = wanted.iter().map(|part| part.name.as_str()).collect();
        match names.into_iter().find(|name| !known.contains(name)) {
            Some(name) => Err(mismatch(format!("{name} belongs to no parameter of this model"))),
            None => Ok(wanted),
        }
    }

    fn lists(&mut self, decays: bool) -> Lists {
        let mut lists = Lists::default();
        let own = |slot: &&mut Slot| slot.decays() == decays && slot.master.numel() > 0;
        for slot in self.slots.iter_mut().filter(own) {
            let gradient = slot.gradient();
            lists.gradients.push(slot.own(&gradient));
            lists.parameters.push(slot.master.shallow_clone());
            lists.averages.push(slot.average.shallow_clone());
            lists.squares.push(slot.square.shallow_clone());
        }
        lists
    }

    /// parameter ← master, rounded, as far as this share goes.
    fn round(&self) -> Result<()> {
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

/// A tensor of the state that is to be found.
struct Wanted {
    name: String,
    /// The shape of all of it.
    size: Vec<i64>,
    /// The first element that is wanted.
    start: i64,
    /// What takes it up.
    own: Tensor,
}

impl Wanted {
    fn fitting(&self, found: Tensor) -> Result<Tensor> {
        match found.kind() {
            Kind::Float => Ok(found.f_reshape(self.own.size())?),
            kind => Err(mismatch(format!("{} is {kind:?}, not Float", self.name))),
        }
    }
}

impl Slot {
    fn new(name: String, parameter: Tensor, size: Vec<i64>, part: Part) -> Self {
        let own = match part {
            Part::Of(share) => share.slice(&parameter.detach()),
            Part::From(_) => parameter.detach(),
        };
        let master = own.to_kind(Kind::Float);
        let (average, square) = (master.zeros_like(), master.zeros_like());
        Self { name, parameter, size, part, master, average, square, gradient: None }
    }

    /// Whether the parameter is here as a whole, and so is its gradient.
    fn is_whole(&self) -> bool {
        matches!(self.part, Part::Of(_))
    }

    /// Where the part begins that is updated here; none where it is all.
    fn start(&self) -> Option<i64> {
        match self.part {
            Part::Of(share) if share.is_whole() => None,
            Part::Of(share) => Some(share.part(self.parameter.numel() as i64).0),
            Part::From(start) => Some(start),
        }
    }

    /// The part of what is as large as the parameter that is here.
    fn own(&self, tensor: &Tensor) -> Tensor {
        match self.part {
            Part::Of(share) => share.slice(tensor),
            Part::From(_) => tensor.shallow_clone(),
        }
    }

    fn has_master(&self) -> bool {
        self.parameter.kind() != Kind::Float
    }

    /// Norms and biases do not, as in transformers' and TRL's trainers.
    fn decays(&self) -> bool {
        self.size.len() >= 2
    }

    fn accumulate(&mut self) -> Result<()> {
        let fresh = self.parameter.grad();
        if !fresh.defined() {
            return Ok(());
        }
        match &mut self.gradient {
            Some(sum) => {
                let _ = sum.g_add_(&fresh);
            }
            None => self.gradient = Some(fresh.detach().to_kind(Kind::Float)),
        }
        drop_grad(&self.parameter)
    }

    fn gradient(&mut self) -> Tensor {
        let zeros = || self.parameter.detach().zeros_like().to_kind(Kind::Float);
        self.gradient.get_or_insert_with(zeros).shallow_clone()
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let part = |what: &str, tensor: &Tensor| (format!("{}.{what}", self.name), tensor.shallow_clone());
        let mut parts = vec![part("exp_avg", &self.average), part("exp_avg_sq", &self.square)];
        parts.extend(self.has_master().then(|| part("master", &self.master)));
        parts
    }
}

/// Refuses another shape; what was divided has none any more.
fn fits(name: &str, found: &[i64], size: &[i64]) -> Result<()> {
    match found == size || found == [size.iter().product::<i64>()] {
        true => Ok(()),
        false => Err(mismatch(format!("{name} is {found:?}, not {size:?}"))),
    }
}

fn mismatch(what: String) -> Error {
    Error::Checkpoint(format!("the optimiser state does not fit the model being trained: {what}"))
}
