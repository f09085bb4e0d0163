//! What a rank tells the others beside their calls, and hears of them: that one has failed, and how far each has come.

use super::c10d::Store;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The key of the first failure.
pub(super) const FAILED: &str = "failed";
/// How often a rank looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long a rank is left to end by itself once another has failed.
pub const GRACE: Duration = Duration::from_secs(5);

/// The key of how many calls a rank has begun.
pub(super) fn calls_of(rank: usize) -> String {
    format!("calls/{rank}")
}

/// The failure of a rank, as the others are told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub rank: usize,
    /// Its exit code.
    pub code: i32,
    /// What it said.
    pub words: String,
}

impl Failure {
    pub fn of(rank: usize, error: &Error) -> Self {
        Self { rank, code: error.exit_code(), words: error.to_string() }
    }

    pub fn error(&self) -> Error {
        Error::Elsewhere { rank: self.rank, code: self.code, words: self.words.clone() }
    }

    pub fn told(&self) -> String {
        serde_json::to_string(self).expect("numbers and a text are JSON")
    }

    pub fn read(told: &str) -> Self {
        serde_json::from_str(told).unwrap_or(Self { rank: 0, code: 1, words: told.to_string() })
    }

    /// As torchrun reads it.
    pub fn error_file(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // A `py_callstack`, even an empty one, would be shown in place of the message.
        let extra = serde_json::json!({ "timestamp": now.to_string() });
        serde_json::json!({ "message": { "message": self.words, "extraInfo": extra } }).to_string()
    }
}

/// A thread that looks whether another rank has failed.
#[derive(Debug)]
pub(super) struct Watch {
    over: Arc<AtomicBool>,
}

impl Watch {
    /// Looks from here on; where this process is still there some time after another's failure, or after the store has gone, calls `end`.
    pub fn start(
        store: Store,
        rank: usize,
        calls: Arc<AtomicU64>,
        end: impl Fn(&Error) + Send + 'static,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stopped = over.clone();
        std::thread::spawn(move || {
            let mut told = 0;
            let failed = loop {
                std::thread::sleep(LOOK);
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let now = calls.load(Ordering::SeqCst);
                if now != told && store.set(&calls_of(rank), &now.to_string()).is_ok() {
                    told = now;
                }
                match store.look(FAILED) {
                    Ok(None) => {}
                    Ok(Some(failure)) => break Failure::read(&failure).error(),
                    Err(what) => {
                        let lost =
                            format!("rank {rank} has lost the store through which the ranks meet: {what}");
                        break Error::Ranks(lost);
                    }
                }
            };
            let began = Instant::now();
            while began.elapsed() < GRACE {
                std::thread::sleep(Duration::from_millis(50));
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
            }
            end(&failed);
        });
        Self { over }
    }

    /// Looks no more.
    pub fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_its_words_and_code() {
        let own = Failure::of(3, &Error::Reward("\"judge\" failed\nbadly".into()));
        let heard = Failure::read(&own.told()).error();
        assert_eq!(heard.exit_code(), 1);
        assert_eq!(heard.to_string(), "rank 3 failed: reward: \"judge\" failed\nbadly");
        let file: serde_json::Value = serde_json::from_str(&own.error_file()).unwrap();
        assert_eq!(file["message"]["message"], "reward: \"judge\" failed\nbadly");
        assert!(file["message"]["extraInfo"].get("py_callstack").is_none());
        assert!(file["message"]["extraInfo"]["timestamp"].as_str().unwrap().parse::<u64>().is_ok());
    }
}
