//! How many requests are under way at one address, over all sections and threads of the process.

use std::collections::BTreeMap;
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

/// A request under way; its place is free again when this is dropped.
pub(super) struct Pass<'a>(&'a Lane);

impl Lane {
    /// The lane of an address, the same for all who name it.
    pub fn to(address: &str) -> Arc<Self> {
        static LANES: Mutex<BTreeMap<String, Arc<Lane>>> = Mutex::new(BTreeMap::new());
        let mut lanes = LANES.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(address.to_owned()).or_default().clone()
    }

    /// Waits until fewer than `most` are under way.
    pub fn enter(&self, most: usize) -> Pass<'_> {
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

    /// Twelve who allow three and one who allows one: never more than three, and the one is alone when it starts.
    #[test]
    fn all_who_name_an_address_share_its_places() {
        let (now, most, alone) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for asker in 0..13 {
                let (now, most, alone) = (&now, &most, &alone);
                scope.spawn(move || {
                    let allowed = if asker == 6 { 1 } else { 3 };
                    let lane = Lane::to("http://lane.test");
                    let _pass = lane.enter(allowed);
                    let here = now.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(here, Ordering::SeqCst);
                    alone.fetch_add(usize::from(asker == 6 && here == 1), Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((most.into_inner() <= 3, alone.into_inner()), (true, 1));
    }
}
