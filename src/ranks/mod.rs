//! How many of us there are: what the ranks of a run share out among them, and what they add up.
//!
//! A rank is one of several processes (or, in tests, threads) that train one policy together, each on its share of the
//! questions. Whoever computes something of a whole step asks [`Ranks`]; with [`Single`], which is the default, it costs nothing.

mod c10d;
mod host;
mod nccl;
mod place;
mod processes;
pub mod resident;
mod service;
pub mod timeline;
mod watch;

pub use host::Host;
pub use nccl::{Carrier, Nccl};
pub use place::{Launcher, OWN, Place};
pub use processes::Processes;
pub use service::{Served, Service};
pub use watch::GRACE;

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tch::{Device, Tensor};

/// The ranks of a run. Every rank makes the same calls in the same order; a call returns on all of them or on none. Errors
/// ([`Error::Ranks`]) are of ranks that do not reach each other.
pub trait Ranks: Debug + Send + Sync {
    /// Which one this is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn count(&self) -> usize;

    /// Adds up over all ranks, place by place; each rank gives as many numbers.
    fn sum(&self, values: &mut [f64]) -> Result<()>;

    /// The greatest over all ranks, place by place.
    fn max(&self, values: &mut [f64]) -> Result<()>;

    /// Adds up tensors over all ranks, in place: the same shapes on each.
    fn sum_tensors(&self, tensors: &mut [Tensor]) -> Result<()>;

    /// The tensors of all ranks, of one shape, end to end in their first dimension.
    fn gather_tensor(&self, own: &Tensor) -> Result<Tensor>;

    /// What each rank gives, in their order, on every rank.
    fn gather(&self, text: String) -> Result<Vec<String>>;

    /// Begins to gather the flat tensors `own` of all ranks, which are of one size, into `all`, end to end; [`finish`](Self::finish) waits
    /// for it. Calls that are under way are finished in any order, and begun in the same on every rank.
    fn begin_gather(&self, own: &Tensor, all: &Tensor) -> Result<Pending> {
        all.shallow_clone().f_copy_(&self.gather_tensor(own)?)?;
        Ok(Pending::done())
    }

    /// Begins to give each rank its one of `parts`, as many equal parts of a flat tensor as there are ranks, in their order: `received`, of the
    /// same size, then has what each of them gives this one.
    fn begin_exchange(&self, parts: &Tensor, received: &Tensor) -> Result<Pending> {
        let (count, each) = (self.count() as i64, parts.numel() as i64 / self.count() as i64);
        let all = self.gather_tensor(parts)?.f_view([count, count, each])?;
        received.shallow_clone().f_copy_(&all.f_select(1, self.rank() as i64)?.f_reshape([-1])?)?;
        Ok(Pending::done())
    }

    /// Waits until what was begun is done.
    fn finish(&self, _pending: Pending) -> Result<()> {
        Ok(())
    }

    /// Makes no call any more, because of an error between two calls that others wait in: they are told of it and end, and whatever is
    /// called on this one fails.
    fn give_up(&self, _error: &Error) {}

    /// Settles who carries tensors of this rank's `device` from here on, which is the machine's GPU `chip`: NCCL, where all ranks can, or
    /// Gloo. All ranks call it, before [`split`](Self::split).
    fn carry(&self, _device: Device, _chip: Option<String>) -> Result<Carrier> {
        Ok(Carrier::Gloo(None))
    }

    /// Two groups that this rank is in: its `size` neighbours, and those that stand at its place among theirs. All ranks call it.
    fn split(&self, size: usize) -> Result<[Arc<dyn Ranks>; 2]> {
        Err(Error::Ranks(format!("these ranks cannot be split into groups of {size}")))
    }

    /// Sets the last `serving` ranks apart from the others, which they work for from here on: what each of them is then. All ranks call it, once.
    fn set_apart(&self, serving: usize) -> Result<Apart> {
        Err(Error::Devices(format!(
            "devices.reward_ranks = {serving}: of {} rank(s) here none can be set apart from those that train; start more, with devices.ranks, torchrun \
             or srun, or take it out",
            self.count()
        )))
    }

    /// The ranks that work for these, where there are some.
    fn served(&self) -> Option<Arc<Served>> {
        None
    }

    /// Where it stands among those on its machine.
    fn local(&self) -> Local {
        Local::ALONE
    }

    /// How long a call waits for the other ranks from here on.
    fn wait_at_most(&self, _limit: Duration) -> Result<()> {
        Ok(())
    }

    /// Whether this is the rank that writes files and shows what is going on.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }
}

/// What a rank is where some work for the others.
#[derive(Debug)]
pub enum Apart {
    /// One of these, which go on by themselves.
    Trains(Arc<dyn Ranks>),
    /// One that answers what they ask.
    Serves(Service),
}

/// What was begun with [`Ranks::begin_gather`] or [`Ranks::begin_exchange`] and goes on beside what this rank does.
#[derive(Debug)]
pub struct Pending(Option<c10d::Pending>);

impl Pending {
    /// What was done at once.
    pub fn done() -> Self {
        Self(None)
    }
}

/// A rank among those on its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Which one, from 0.
    pub rank: usize,
    /// How many there are.
    pub count: usize,
}

impl Local {
    /// The only one on its machine.
    pub const ALONE: Local = Local { rank: 0, count: 1 };
}

/// What each rank has, in their order.
pub fn gathered<T>(ranks: &dyn Ranks, own: Vec<T>) -> Result<Vec<Vec<T>>>
where
    T: Serialize + DeserializeOwned,
{
    if ranks.count() == 1 {
        return Ok(vec![own]);
    }
    let wrong = |error: serde_json::Error| Error::Ranks(format!("what ranks told each other: {error}"));
    let said = ranks.gather(serde_json::to_string(&own).map_err(wrong)?)?;
    said.iter().map(|list| serde_json::from_str(list).map_err(wrong)).collect()
}

/// The ranks' shares of a list, of which each has every n-th, put together as they stood in it.
///
/// ```
/// use rationale::ranks::in_turn;
/// assert_eq!(in_turn(vec![vec![0, 2, 4], vec![1, 3]]), [0, 1, 2, 3, 4]);
/// ```
pub fn in_turn<T>(shares: Vec<Vec<T>>) -> Vec<T> {
    let mut shares: Vec<_> = shares.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(shares.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

/// Waits for all ranks: what went well on each goes on, and what failed on one fails on all, with its exit code and in the words of
/// the first that failed.
pub fn agreed<T>(ranks: &dyn Ranks, outcome: Result<T>) -> Result<T> {
    if ranks.count() == 1 {
        return outcome;
    }
    let own = outcome.as_ref().err().map(|error| watch::Failure::of(ranks.rank(), error));
    let all = gathered(ranks, own.into_iter().collect());
    let outcome = outcome?;
    match all?.into_iter().flatten().next() {
        Some(failure) => Err(failure.error()),
        None => Ok(outcome),
    }
}

/// What the first rank finds, which all ranks then have.
pub fn of_first<T>(ranks: &dyn Ranks, look: impl FnOnce() -> Result<T>) -> Result<T>
where
    T: Serialize + DeserializeOwned,
{
    let own = agreed(ranks, ranks.is_first().then(look).transpose())?;
    let told = gathered(ranks, own.into_iter().collect())?.into_iter().flatten().next();
    told.ok_or_else(|| Error::Ranks("the first rank has told nothing".into()))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of memory that a sum of so many bytes over ranks takes besides: two buckets are under way at a time and a third is packed
/// (csrc/c10d.cpp), each with as much for what comes from the neighbour.
pub fn sums_under_way(bytes: usize) -> usize {
    const BUCKET: usize = 8 << 20;
    6 * bytes.min(BUCKET)
}

/// One rank alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Single;

impl Ranks for Single {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn sum(&self, _values: &mut [f64]) -> Result<()> {
        Ok(())
    }

    fn max(&self, _values: &mut [f64]) -> Result<()> {
        Ok(())
    }

    fn sum_tensors(&self, _tensors: &mut [Tensor]) -> Result<()> {
        Ok(())
    }

    fn gather_tensor(&self, own: &Tensor) -> Result<Tensor> {
        Ok(own.shallow_clone())
    }

    fn gather(&self, text: String) -> Result<Vec<String>> {
        Ok(vec![text])
    }
}
