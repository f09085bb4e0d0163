//! The store of ranks that this program starts by itself, held by who starts them.

use super::c10d::Store;
use super::watch::{FAILED, Failure};
use crate::error::{Error, Result};
use std::time::Duration;

/// Where the ranks of one machine meet.
#[derive(Debug)]
pub struct Host {
    // Held for as long as the ranks need it.
    _root: Store,
    store: Store,
    port: u16,
}

impl Host {
    /// Holds a store on this machine, for ranks that begin with `start`.
    ///
    /// # Errors
    /// [`Error::Ranks`] where it cannot.
    pub fn open(start: &str) -> Result<Self> {
        let failed = |what: String| Error::Ranks(format!("no store for the ranks to meet in: {what}"));
        let limit = Duration::from_secs(60);
        let (root, port) = Store::open("127.0.0.1", 0, true, limit).map_err(failed)?;
        let start = root.under(&format!("rationale/{start}")).map_err(failed)?;
        let store = start.under("0").map_err(failed)?;
        Ok(Self { _root: root, store, port })
    }

    /// Its port on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Tells all that `rank` has failed, where none has before.
    pub fn tell(&self, rank: usize, code: i32, words: String) {
        let _ = self.store.claim(FAILED, &Failure { rank, code, words }.told());
    }

    /// The first failure, where there is one.
    pub fn failure(&self) -> Option<Error> {
        self.store.look(FAILED).ok().flatten().map(|told| Failure::read(&told).error())
    }
}
