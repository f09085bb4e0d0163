//! Ranks that are processes, of one machine or of several: they meet in a store, and speak through Gloo, or NCCL for what lies on GPUs.

use super::c10d::{Group, Reached, Store};
use super::nccl::{Carrier, Nccl, Offer, chosen};
use super::place::{Launcher, Place};
use super::service::{Served, Service};
use super::watch::{FAILED, Failure, Watch, calls_of};
use super::{Apart, Local, Pending, Ranks, gathered, locked};
use crate::error::{Error, Result};
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tch::{Device, Tensor};

/// How long ranks wait for each other before they have met: until the slowest machine has started.
const MEETING: Duration = Duration::from_secs(600);
/// How long the words of the rank that failed first are waited for where the connection is lost.
const WORDS: Duration = Duration::from_secs(4);

/// This process as one of the ranks of a run, or of some of them.
#[derive(Debug)]
pub struct Processes {
    run: Arc<Run>,
    rank: usize,
    count: usize,
    group: Mutex<Group>,
    /// Those that work for the ranks of this group, where there are some.
    served: Option<Arc<Served>>,
}

/// What a process knows of the run that it is a rank of.
#[derive(Debug)]
struct Run {
    place: Place,
    local: Local,
    store: Mutex<Store>,
    // On the rank that serves it is the store itself: the others need it for as long as this is here.
    _root: Mutex<Store>,
    limit: Mutex<Duration>,
    /// Calls begun, which every rank makes in the same order.
    calls: Arc<AtomicU64>,
    watch: Watch,
    /// Whether it has said that it makes no calls any more.
    gave_up: AtomicBool,
    /// How many of the ranks, the last ones, work for the others and make no calls with them.
    serving: AtomicUsize,
    /// Groups met, which every rank does in the same order.
    met: AtomicU64,
    /// What the ranks said of their devices, and the device whose tensors NCCL carries of it.
    carried: Mutex<(Vec<Offer>, Option<Device>)>,
}

impl Processes {
    /// Meets the others. When another one fails and this one has not ended some seconds later, `end` is called, by another thread,
    /// and does not return.
    ///
    /// # Errors
    /// [`Error::Ranks`] where they do not come, or cannot be reached.
    pub fn meet(place: Place, end: impl Fn(&Error) + Send + 'static) -> Result<Self> {
        let failed = |what: String| Error::Ranks(format!("{}: {what}", unmet(&place)));
        let (root, _) = Store::open(&place.address, place.port, place.serves, MEETING).map_err(failed)?;
        let start = root.under(&format!("rationale/{}", place.start)).map_err(failed)?;
        // One store may outlive several starts, one after the other: torchrun's does.
        let arrived = start.add("arrived", 1).map_err(failed)?;
        let here = format!("{}", (arrived - 1) / place.count as i64);
        let (store, watched) = (start.under(&here).map_err(failed)?, start.under(&here).map_err(failed)?);
        let calls = Arc::new(AtomicU64::new(0));
        // Before the others are waited for, one of which may end before it has come.
        let watch = Watch::start(watched, place.rank, calls.clone(), end);
        let reached = reached(&place);
        let group = Group::open(&store, place.rank, place.count, &reached, MEETING).map_err(failed)?;
        let local = Local { rank: place.local_rank, count: place.local_count.unwrap_or(1) };
        let (group, store, limit) = (Mutex::new(group), Mutex::new(store), Mutex::new(MEETING));
        let (root, gave_up) = (Mutex::new(root), AtomicBool::new(false));
        let (rank, count) = (place.rank, place.count);
        let counted = place.local_count.is_some();
        let (met, carried, serving) = (AtomicU64::new(0), Mutex::default(), AtomicUsize::new(0));
        let run =
            Run { place, local, store, _root: root, limit, calls, watch, gave_up, met, carried, serving };
        let mut ranks = Self { run: Arc::new(run), rank, count, group, served: None };
        if !counted {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let hosts = ranks.gather(host)?;
            let here = hosts.iter().filter(|host| **host == hosts[rank]).count();
            Arc::get_mut(&mut ranks.run).expect("nobody else has it yet").local.count = here;
        }
        Ok(ranks)
    }

    /// Who started them, and with which place.
    pub fn place(&self) -> &Place {
        &self.run.place
    }

    /// Those ranks of the run that give the same `name`, of which this one is the `rank`th of so many.
    fn among(&self, name: &str, rank: usize, count: usize) -> Result<Self> {
        let run = self.run.clone();
        let limit = *locked(&run.limit);
        let meet = || {
            let store = locked(&run.store).under(name)?;
            Group::open(&store, rank, count, &reached(&run.place), limit)
        };
        let group = meet().map_err(|what| run.lost(&what, Duration::ZERO))?;
        let device = locked(&run.carried).1;
        let met = Self { run, rank, count, group: Mutex::new(group), served: None };
        if let Some(device) = device.filter(|_| count > 1) {
            met.open_nccl(device, &format!("{name}/nccl"))?;
        }
        Ok(met)
    }

    /// Has NCCL carry the tensors of `device` among these ranks, which meet under `name`.
    fn open_nccl(&self, device: Device, name: &str) -> Result<()> {
        let wrong = |what: &str| {
            let rank = self.run.place.rank;
            Error::Ranks(format!(
                "NCCL does not start on rank {rank}: {what}; with RATIONALE_NCCL=none tensors travel through Gloo, by way of the CPU"
            ))
        };
        let nccl = Nccl::here().map_err(wrong)?;
        let store = locked(&self.run.store).under(name).map_err(|what| wrong(&what))?;
        self.run.calls.fetch_add(1, Ordering::SeqCst);
        locked(&self.group).carry(&store, nccl.opens, device).map_err(|what| wrong(&what))
    }

    /// Ends together with the others, none of which needs this one any more when it returns.
    pub fn finish(&self) -> Result<()> {
        let met = self.max(&mut [0.0]);
        self.run.leave();
        met
    }

    /// Tells the others, and torchrun, of an error that is this rank's own; of others' they know.
    pub fn fail(&self, error: &Error) {
        if let (Some(failure), Some(path)) = (self.run.claim(error), &self.run.place.error_file) {
            let _ = std::fs::write(path, failure.error_file());
        }
        self.run.leave();
    }

    /// Makes a call that all ranks make.
    fn call<T>(&self, make: impl FnOnce(&Group) -> std::result::Result<T, String>) -> Result<T> {
        let run = &self.run;
        if run.gave_up.load(Ordering::SeqCst) {
            return Err(Error::Ranks(format!("rank {} has failed between two calls", run.place.rank)));
        }
        let began = Instant::now();
        run.calls.fetch_add(1, Ordering::SeqCst);
        let made = make(&locked(&self.group));
        made.map_err(|what| run.lost(&what, began.elapsed()))
    }

    fn numbers(&self, values: &mut [f64], maximum: bool) -> Result<()> {
        self.call(|group| group.numbers(values, maximum))
    }
}

impl Run {
    /// Ends what this process does for the others.
    fn leave(&self) {
        self.watch.stop();
        if self.place.serves {
            self.outlast();
        } else {
            let _ = locked(&self.store).add("left", 1);
        }
    }

    /// Tells the others of an error that is this rank's own.
    fn claim(&self, error: &Error) -> Option<Failure> {
        let own = !matches!(error, Error::Elsewhere { .. });
        let failure = own.then(|| Failure::of(self.place.rank, error))?;
        let _ = locked(&self.store).claim(FAILED, &failure.told());
        Some(failure)
    }

    /// Keeps the store for the others until they have left it.
    fn outlast(&self) {
        let began = Instant::now();
        let others = self.place.count as i64 - 1;
        while began.elapsed() < WORDS && locked(&self.store).add("left", 0).is_ok_and(|left| left < others) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Why a call failed: in the words of the rank that failed first, where it had any.
    fn lost(&self, what: &str, waited: Duration) -> Error {
        let limit = *locked(&self.limit);
        let late = waited + Duration::from_millis(500) >= limit;
        let began = Instant::now();
        loop {
            let told = locked(&self.store).look(FAILED);
            match told {
                Ok(Some(told)) => return Failure::read(&told).error(),
                Ok(None) if !late && began.elapsed() < WORDS => {}
                Ok(None) if late => return self.late(limit),
                _ => break,
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let rank = self.place.rank;
        Error::Ranks(format!("rank {rank} does not reach the others any more: {what}"))
    }

    /// The first of the ranks that have not come to where this one has waited for them.
    fn late(&self, limit: Duration) -> Error {
        let own = self.calls.load(Ordering::SeqCst);
        let store = locked(&self.store);
        let of = |rank: usize| -> u64 {
            let told = store.look(&calls_of(rank)).ok().flatten();
            told.and_then(|told| told.parse().ok()).unwrap_or(0)
        };
        let calling = self.place.count - self.serving.load(Ordering::SeqCst);
        let rank = (0..calling).filter(|rank| *rank != self.place.rank).min_by_key(|rank| of(*rank));
        let late = rank.filter(|rank| of(*rank) < own);
        let seconds = limit.as_secs();
        let Some(rank) = late else {
            return Error::Ranks(format!(
                "no answer from the other ranks within {seconds} s (devices.timeout_s)"
            ));
        };
        let words = format!(
            "it did not come to where the others waited for it, for {seconds} s (devices.timeout_s): it hangs, or has more to do \
             than they have"
        );
        let failure = Failure { rank, code: 1, words };
        let _ = store.claim(FAILED, &failure.told());
        failure.error()
    }
}

impl Ranks for Processes {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn local(&self) -> Local {
        self.run.local
    }

    fn wait_at_most(&self, limit: Duration) -> Result<()> {
        *locked(&self.run.limit) = limit;
        self.served.iter().for_each(|served| served.wait_at_most(limit));
        locked(&self.group).limit(limit).map_err(Error::Ranks)
    }

    fn sum(&self, values: &mut [f64]) -> Result<()> {
        self.numbers(values, false)
    }

    fn max(&self, values: &mut [f64]) -> Result<()> {
        self.numbers(values, true)
    }

    fn sum_tensors(&self, tensors: &mut [Tensor]) -> Result<()> {
        self.call(|group| group.sum(tensors))
    }

    fn gather_tensor(&self, own: &Tensor) -> Result<Tensor> {
        self.call(|group| group.gather(own))
    }

    fn begin_gather(&self, own: &Tensor, all: &Tensor) -> Result<Pending> {
        self.call(|group| group.begin_gather(own, all)).map(|call| Pending(Some(call)))
    }

    fn begin_exchange(&self, parts: &Tensor, received: &Tensor) -> Result<Pending> {
        self.call(|group| group.begin_exchange(parts, received)).map(|call| Pending(Some(call)))
    }

    fn finish(&self, pending: Pending) -> Result<()> {
        let began = Instant::now();
        let finished = pending.0.map_or(Ok(()), |call| call.finish());
        finished.map_err(|what| self.run.lost(&what, began.elapsed()))
    }

    fn carry(&self, device: Device, chip: Option<String>) -> Result<Carrier> {
        let offers = gathered(self, vec![Offer::of(device, chip)])?.concat();
        let carrier = chosen(&offers);
        let device = matches!(carrier, Carrier::Nccl(_)).then_some(device);
        let before = locked(&self.run.carried).0 == offers;
        if !before {
            let number = self.run.met.fetch_add(1, Ordering::SeqCst);
            match device {
                Some(device) => self.open_nccl(device, &format!("{number}/nccl"))?,
                None => locked(&self.group).let_go().map_err(Error::Ranks)?,
            }
            *locked(&self.run.carried) = (offers, device);
        }
        Ok(carrier)
    }

    fn split(&self, size: usize) -> Result<[Arc<dyn Ranks>; 2]> {
        let (group, place) = (self.rank / size, self.rank % size);
        // What is met under one name twice would find what the first left there.
        let number = self.run.met.fetch_add(1, Ordering::SeqCst);
        let within = self.among(&format!("{number}/within/{group}"), place, size)?;
        let across = self.among(&format!("{number}/across/{place}"), group, self.count / size)?;
        Ok([Arc::new(within), Arc::new(across)])
    }

    fn set_apart(&self, serving: usize) -> Result<Apart> {
        let (count, run) = (self.count.saturating_sub(serving), self.run.clone());
        if count == 0 {
            return Err(Error::Devices(format!(
                "devices.reward_ranks = {serving}: of {} rank(s) in all none is left that trains; start more",
                self.count
            )));
        }
        run.serving.store(serving, Ordering::SeqCst);
        let opened = locked(&run.store).under("service");
        let store = opened.map_err(|what| run.lost(&what, Duration::ZERO))?;
        let limit = *locked(&run.limit);
        let failed =
            Box::new(move || locked(&run.store).look(FAILED).ok()?.map(|told| Failure::read(&told).error()));
        if self.rank >= count {
            return Ok(Apart::Serves(Service::new(store, self.rank, count, failed)));
        }
        let served = Served::new(store, self.rank, count..self.count, limit, failed);
        let train = self.among("train", self.rank, count)?;
        Ok(Apart::Trains(Arc::new(Self { served: Some(Arc::new(served)), ..train })))
    }

    fn served(&self) -> Option<Arc<Served>> {
        self.served.clone()
    }

    fn give_up(&self, error: &Error) {
        self.run.gave_up.store(true, Ordering::SeqCst);
        self.run.claim(error);
    }

    fn gather(&self, text: String) -> Result<Vec<String>> {
        let length = Tensor::from_slice(&[text.len() as i64]);
        let lengths = self.call(|group| group.gather_words(&length))?;
        let lengths = Vec::<i64>::try_from(&lengths).map_err(Error::Torch)?;
        let longest = lengths.iter().copied().max().unwrap_or(0) as usize;
        if longest == 0 {
            return Ok(vec![String::new(); self.count()]);
        }
        let mut bytes = text.into_bytes();
        bytes.resize(longest, 0);
        let all = self.call(|group| group.gather_words(&Tensor::from_slice(&bytes)))?;
        let all = Vec::<u8>::try_from(&all).map_err(Error::Torch)?;
        let said = all.chunks(longest).zip(lengths);
        Ok(said.map(|(bytes, n)| String::from_utf8_lossy(&bytes[..n as usize]).into_owned()).collect())
    }
}

fn unmet(place: &Place) -> String {
    let Place { rank, count, address, port, launcher, .. } = place;
    format!("rank {rank} of {count}, which {launcher} started, does not meet the others at {address}:{port}")
}

/// How the others reach this machine: by the address from which it reaches the store.
fn reached(place: &Place) -> Reached {
    if let Ok(interface) = std::env::var("GLOO_SOCKET_IFNAME")
        && !interface.is_empty()
    {
        return Reached::Through(interface);
    }
    // Nothing is sent: connecting such a socket only chooses the way.
    let own = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect((place.address.as_str(), place.port.max(1)))?;
        socket.local_addr()
    });
    match own.map(|address| address.ip()) {
        Ok(IpAddr::V4(ip)) if !ip.is_loopback() => Reached::At(ip.to_string()),
        _ if place.launcher == Launcher::Own || place.local_count == Some(place.count) => {
            Reached::At("127.0.0.1".into())
        }
        _ => Reached::ByName,
    }
}
