//! How many requests are under way at one address, over all sections and threads of the process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Those who ask one address. A server's load is what all of them ask together, whoever they are.
#[derive(Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    under_way: usize,
    /// Who comes is served in turn, so that a section that allows many keeps none that allows few waiting for ever.
    next: u64,
    serving: u64,
}

/// Processes that ask the same servers.
static PROCESSES: AtomicUsize = AtomicUsize::new(1);

/// Says that so many processes ask the same servers from here on: each has its part of what is allowed, and one request at least.
pub fn shared_by(processes: usize) {
    PROCESSES.store(processes.max(1), Ordering::Relaxed);
}

/// A request under way; its place is free again when this is dropped.
pub(super) struct Pass<'a>(&'a Lane);

impl Lane {
    /// The lane of an address, the same for all who name it.
    pub fn to(address: &str) -> Arc<Self> {
        static LANES: Mutex<BTreeMap<String, Arc<Lane>>> = Mutex::new(BTreeMap::new());
        let mut lanes = LANES.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(address.to_owned()).or_default().clone()
    }

    /// Waits until fewer than this process's part of `most` are under way.
    pub fn enter(&self, most: usize) -> Pass<'_> {
        let most = part(most, PROCESSES.load(Ordering::Relaxed));
        let mut state = self.state();
        let mine = state.next;
        state.next += 1;
        while state.serving != mine || state.under_way >= most {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.serving += 1;
        state.under_way += 1;
        drop(state);
        self.moved.notify_all();
        Pass(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn part(most: usize, processes: usize) -> usize {
    (most / processes).max(1)
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
        self.0.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn what_is_allowed_is_divided_among_processes() {
        assert_eq!([(8, 1), (8, 3), (2, 8)].map(|(most, processes)| part(most, processes)), [8, 2, 1]);
    }

    /// Twelve who allow three: never more than three.
    #[test]
    fn all_who_name_an_address_share_its_places() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    let lane = Lane::to("http://lane.test");
                    let _pass = lane.enter(3);
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= 3);
    }

    /// One who allows one among those who allow three starts when nobody is under way, and those who came after it go on then.
    #[test]
    fn who_allows_one_is_alone_when_it_starts() {
        let lane = Lane::to("http://alone.test");
        let before = [lane.enter(3), lane.enter(3)];
        let (says, hears) = crossbeam::channel::unbounded();
        std::thread::scope(|scope| {
            let (lane, one) = (&lane, says.clone());
            scope.spawn(move || {
                let _pass = lane.enter(1);
                one.send("one").unwrap();
            });
            let waits = || hears.recv_timeout(Duration::from_millis(20)).is_err();
            while lane.state().next < 3 {
                std::thread::yield_now();
            }
            scope.spawn(move || {
                let _pass = lane.enter(3);
                says.send("after").unwrap();
            });
            for pass in before {
                assert!(waits(), "others are under way");
                drop(pass);
            }
            let mut told = [hears.recv().unwrap(), hears.recv().unwrap()];
            told.sort_unstable();
            assert_eq!(told, ["after", "one"]);
        });
    }
}
