//! A model of which each rank holds a part: weights, gradients and what the optimiser remembers (ZeRO's third stage, Rajbhandari et al. 2019,
//! arXiv 1910.02054; fully sharded data parallelism, Zhao et al. 2023, arXiv 2304.11277).
//!
//! A unit is a layer, or all that stands outside of the layers. Its weights lie end to end in one flat tensor, of which each of n ranks keeps the
//! n-th part. While the model is [whole](Model::gather) every rank has all of them: it samples and scores as any model does, and ranks need not
//! do the same. While it is [divided](Model::release) only passes with a gradient go through it, as many on every rank, and in each a unit is there
//! for as long as it computes: it is gathered while the one before computes, and its gradient, in f32, is on its way to the ranks that keep
//! it while the next one does.

use super::{Model, storage};
use crate::Result;
use crate::ranks::timeline::{Open, gradients_under_way, span, weights_under_way};
use crate::ranks::{Pending, Ranks};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// What stands outside of the layers: the embedding, the last norm, the output projection and a score. Layer i is unit i + 1.
pub(super) const OUTSIDE: usize = 0;
/// Weights begin at multiples of so many elements, where kernels like them.
const ALIGNED: i64 = 64;

/// How a model is divided, and what of it is here.
#[derive(Debug)]
pub struct Shards {
    pub(super) ranks: Arc<dyn Ranks>,
    units: Vec<Unit>,
    whole: Cell<bool>,
    coming: RefCell<Option<Coming>>,
    leaving: RefCell<Option<Leaving>>,
}

/// The unit that is being gathered.
#[derive(Debug)]
struct Coming {
    at: usize,
    calls: Vec<Pending>,
    _shown: Open,
}

/// The unit whose gradients are under way.
#[derive(Debug)]
struct Leaving {
    at: usize,
    /// With what this rank receives of each of its trained flat tensors.
    calls: Vec<(Pending, Tensor)>,
    _shown: Open,
}

#[derive(Debug)]
struct Unit {
    /// Those that train and those that do not are apart.
    flats: Vec<Flat>,
    here: Cell<bool>,
}

/// Weights end to end.
#[derive(Debug)]
struct Flat {
    /// `[count · each]`, which the weights are views of; it has memory while the unit is here.
    all: Tensor,
    /// This rank's part, `[each]`.
    own: Tensor,
    trained: bool,
    weights: Vec<Weight>,
}

#[derive(Debug)]
struct Weight {
    name: String,
    /// The model's own tensor.
    tensor: Tensor,
    /// Where it begins in the flat tensor.
    start: i64,
    slice: Tensor,
    /// Where the slice begins in the weight.
    from: i64,
}

/// What a rank holds of a parameter that trains: elements in their order, from one on.
#[derive(Debug)]
pub struct Slice {
    /// The parameter's name.
    pub name: String,
    /// The elements, flat; none where others have them all. What is written into it is there when the model is next gathered, and its
    /// gradient, in f32, is the sum over ranks.
    pub tensor: Tensor,
    /// The first one's place in the parameter.
    pub start: i64,
    /// The parameter's shape.
    pub shape: Vec<i64>,
}

impl Flat {
    fn new(named: Vec<(String, Tensor)>, trained: bool, ranks: &dyn Ranks) -> Self {
        let (rank, count) = (ranks.rank() as i64, ranks.count() as i64);
        let (mut starts, mut end) = (Vec::new(), 0);
        for (_, tensor) in &named {
            starts.push(end);
            end += (tensor.numel() as i64 + ALIGNED - 1) / ALIGNED * ALIGNED;
        }
        let each = ((end + count - 1) / count + ALIGNED - 1) / ALIGNED * ALIGNED;
        let like = &named[0].1;
        let all = Tensor::zeros([count * each], (like.kind(), like.device()));
        for ((_, tensor), start) in named.iter().zip(&starts) {
            let place = all.narrow(0, *start, tensor.numel() as i64).view(&tensor.size()[..]);
            place.shallow_clone().copy_(&tensor.detach());
            tensor.shallow_clone().set_data(&place);
        }
        let (first, last) = (rank * each, rank * each + each);
        let own = all.narrow(0, first, each).copy();
        let weight = |((name, tensor), start): ((String, Tensor), i64)| {
            let end = start + tensor.numel() as i64;
            let (from, to) = (start.clamp(first, last), end.clamp(first, last));
            let slice = own.narrow(0, from - first, to - from);
            let from = (from - start).clamp(0, end - start);
            Weight { name, tensor, start, slice, from }
        };
        let weights = named.into_iter().zip(starts).map(weight).collect();
        Self { all, own, trained, weights }
    }

    /// The weights' gradients in f32, `[count · each]`, which they let go of.
    fn gradients(&self) -> Result<Tensor> {
        let sum = Tensor::f_zeros(self.all.size(), (Kind::Float, self.all.device()))?;
        for Weight { tensor, start, .. } in &self.weights {
            let gradient = tensor.grad();
            if gradient.defined() {
                let gradient = gradient.f_reshape([-1])?;
                sum.f_narrow(0, *start, gradient.numel() as i64)?.f_copy_(&gradient)?;
                storage::drop_grad(tensor)?;
            }
        }
        Ok(sum)
    }
}

impl Unit {
    fn of(named: Vec<(String, Tensor)>, ranks: &dyn Ranks) -> Self {
        let like = |tensor: &Tensor| (tensor.requires_grad(), tensor.kind());
        let mut kinds: Vec<Vec<(String, Tensor)>> = Vec::new();
        for (name, tensor) in named {
            match kinds.iter_mut().find(|same| like(&same[0].1) == like(&tensor)) {
                Some(same) => same.push((name, tensor)),
                None => kinds.push(vec![(name, tensor)]),
            }
        }
        let flats = kinds.into_iter().map(|named| {
            let trained = named[0].1.requires_grad();
            Flat::new(named, trained, ranks)
        });
        Self { flats: flats.collect(), here: Cell::new(true) }
    }

    fn release(&self) -> Result<()> {
        self.here.set(false);
        self.flats.iter().try_for_each(|flat| storage::release(&flat.all))
    }
}

impl Shards {
    fn new(units: Vec<Vec<(String, Tensor)>>, ranks: &Arc<dyn Ranks>, whole: bool) -> Result<Self> {
        let divided = |named| {
            let unit = tch::no_grad(|| Unit::of(named, &**ranks));
            if whole { Ok(unit) } else { unit.release().map(|()| unit) }
        };
        let units = units.into_iter().map(divided).collect::<Result<_>>()?;
        let (coming, leaving) = (RefCell::default(), RefCell::default());
        Ok(Self { ranks: ranks.clone(), units, whole: Cell::new(whole), coming, leaving })
    }

    /// The last unit.
    pub(super) fn last(&self) -> usize {
        self.units.len() - 1
    }

    fn begin(&self, at: usize) -> Result<()> {
        let gather = |flat: &Flat| {
            storage::reserve(&flat.all)?;
            self.ranks.begin_gather(&flat.own, &flat.all)
        };
        let _shown = weights_under_way("gather", at);
        let calls = self.units[at].flats.iter().map(gather).collect::<Result<_>>()?;
        *self.coming.borrow_mut() = Some(Coming { at, calls, _shown });
        Ok(())
    }

    fn arrive(&self) -> Result<()> {
        let Some(Coming { at, calls, _shown }) = self.coming.take() else { return Ok(()) };
        let _waits = span("wait for weights", Some(at));
        calls.into_iter().try_for_each(|call| self.ranks.finish(call))?;
        self.units[at].here.set(true);
        Ok(())
    }

    /// Waits until a unit is here, and has the `next` one come meanwhile.
    fn need(&self, at: usize, next: Option<usize>) -> Result<()> {
        if self.whole.get() {
            return Ok(());
        }
        self.arrive()?;
        if !self.units[at].here.get() {
            self.begin(at)?;
            self.arrive()?;
        }
        match next.filter(|next| !self.units[*next].here.get()) {
            Some(next) => self.begin(next),
            None => Ok(()),
        }
    }

    /// A unit is about to compute forward.
    pub(super) fn forward(&self, at: usize) -> Result<()> {
        self.need(at, Some(at + 1).filter(|next| *next <= self.last()))
    }

    /// A unit is about to compute backward.
    pub(super) fn backward(&self, at: usize) -> Result<()> {
        self.need(at, at.checked_sub(1).filter(|next| *next != OUTSIDE))
    }

    /// A layer has computed.
    pub(super) fn computed(&self, at: usize) -> Result<()> {
        if self.whole.get() { Ok(()) } else { self.units[at].release() }
    }

    /// Sends off a unit's gradients, which are complete; those of the one before are waited for.
    pub(super) fn scatter(&self, at: usize) -> Result<()> {
        if self.whole.get() {
            return Ok(());
        }
        self.receive()?;
        let _shown = gradients_under_way("scatter", at);
        let exchange = |flat: &Flat| {
            let gradients = flat.gradients()?;
            let received = gradients.empty_like();
            Ok((self.ranks.begin_exchange(&gradients, &received)?, received))
        };
        let trained = self.units[at].flats.iter().filter(|flat| flat.trained);
        let calls = tch::no_grad(|| trained.map(exchange).collect::<Result<_>>())?;
        *self.leaving.borrow_mut() = Some(Leaving { at, calls, _shown });
        Ok(())
    }

    /// Adds the gradients that are under way to this rank's slices.
    pub(super) fn receive(&self) -> Result<()> {
        let Some(Leaving { at, calls, _shown }) = self.leaving.take() else { return Ok(()) };
        let _waits = span("wait for gradients", Some(at));
        let trained = self.units[at].flats.iter().filter(|flat| flat.trained);
        for (flat, (call, received)) in trained.zip(calls) {
            self.ranks.finish(call)?;
            let count = self.ranks.count() as i64;
            let sum = received.f_view([count, -1])?.f_sum_dim_intlist(0, false, Kind::Float)?;
            let first = self.ranks.rank() as i64 * flat.own.numel() as i64;
            for Weight { slice, start, from, .. } in flat.weights.iter().filter(|w| w.slice.numel() > 0) {
                let gradient = sum.f_narrow(0, start + from - first, slice.numel() as i64)?;
                storage::add_grad(slice, &gradient)?;
            }
        }
        Ok(())
    }

    /// Has each unit here in turn, from the first to the last, and lets `look` see it. All ranks call it.
    pub(super) fn each(&self, mut look: impl FnMut(usize)) -> Result<()> {
        for at in 0..=self.last() {
            self.forward(at)?;
            look(at);
            self.computed(at)?;
        }
        Ok(())
    }

    /// Takes part in a pass of the others, with nothing to compute.
    pub(super) fn idle(&self) -> Result<()> {
        if self.whole.get() {
            return Ok(());
        }
        self.forward(OUTSIDE)?;
        for at in 1..=self.last() {
            self.forward(at)?;
            self.computed(at)?;
        }
        for at in (1..=self.last()).rev() {
            self.backward(at)?;
            self.scatter(at)?;
            self.computed(at)?;
        }
        self.scatter(OUTSIDE)?;
        self.receive()
    }
}

impl Model {
    /// Divides the model, which is whole and stays so if that is wanted, among `ranks`; nothing where it is divided already, or one rank is
    /// alone. What trains and what does not is settled by then. Layers are divided one after the other, so that there is never more than one of them twice.
    pub fn shard(&mut self, ranks: &Arc<dyn Ranks>, whole: bool) -> Result<()> {
        if ranks.count() == 1 || self.shards.is_some() {
            return Ok(());
        }
        let mut units: Vec<Vec<(String, Tensor)>> = (0..=self.layers.len()).map(|_| Vec::new()).collect();
        for (name, tensor) in self.all_tensors() {
            units[self.unit_of(&name)].push((name, tensor));
        }
        storage::keep_nothing();
        self.shards = Some(Shards::new(units, ranks, whole)?);
        Ok(())
    }

    /// Has all weights on every rank. All ranks call it.
    pub fn gather(&self) -> Result<()> {
        let Some(shards) = self.shards.as_ref().filter(|shards| !shards.whole.get()) else { return Ok(()) };
        for at in 0..=shards.last() {
            shards.forward(at)?;
        }
        shards.whole.set(true);
        Ok(())
    }

    /// Gives back the memory of all weights but this rank's part.
    pub fn release(&self) -> Result<()> {
        let Some(shards) = &self.shards else { return Ok(()) };
        shards.whole.set(false);
        shards.units.iter().try_for_each(Unit::release)
    }

    /// Gives back the memory of all weights, which are to be read anew: who computes with them before fails.
    pub fn forget(&self) -> Result<()> {
        self.all_tensors().iter().try_for_each(|(_, tensor)| storage::release(tensor))
    }

    /// Takes part in a pass that others make with a gradient, of a model that is divided: all ranks make equally many.
    pub fn pass_idle(&self) -> Result<()> {
        self.shards.as_ref().map_or(Ok(()), Shards::idle)
    }

    /// Whether every rank has all weights.
    pub fn is_whole(&self) -> bool {
        self.shards.as_ref().is_none_or(|shards| shards.whole.get())
    }

    /// Whoever has written into the weights of a model that is whole says so, alike on all ranks: each takes its part of them.
    pub fn weights_written(&self) {
        let Some(shards) = &self.shards else { return };
        let rank = shards.ranks.rank() as i64;
        for Flat { all, own, .. } in shards.units.iter().flat_map(|unit| &unit.flats) {
            let each = own.numel() as i64;
            tch::no_grad(|| own.shallow_clone().copy_(&all.narrow(0, rank * each, each)));
        }
    }

    /// What this rank holds of each parameter that trains, by the names that they had when the model was divided: which of several adapters is active
    /// changes theirs. None of a model that is not divided.
    pub fn slices(&self) -> Option<Vec<Slice>> {
        let units = &self.shards.as_ref()?.units;
        let trained = units.iter().flat_map(|unit| &unit.flats).filter(|flat| flat.trained);
        let of = |weight: &Weight| Slice {
            name: weight.name.clone(),
            tensor: weight.slice.shallow_clone(),
            start: weight.from,
            shape: weight.tensor.size(),
        };
        Some(trained.flat_map(|flat| &flat.weights).map(of).collect())
    }
}
