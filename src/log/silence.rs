//! When who waits hears a word: where standard error is no terminal, nothing moves on it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// So long one waits without a word.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing was said of what is told piece by piece.
pub(super) struct Silence {
    since: Instant,
    /// Tokens of the call under way.
    tokens: usize,
}

impl Silence {
    /// From `since` on.
    pub fn new(since: Instant) -> Self {
        Self { since, tokens: 0 }
    }

    /// Whether something is to be said at `now`, when the call under way has `tokens`; if so, it is.
    pub fn is_long(&mut self, now: Instant, tokens: usize) -> bool {
        if tokens < self.tokens {
            self.since = now;
        }
        self.tokens = tokens;
        let long = now.duration_since(self.since) >= PATIENCE;
        if long {
            self.since = now;
        }
        long
    }
}

/// What takes long and tells nothing meanwhile, until it is dropped.
#[must_use]
pub struct Waiting {
    _over: Sender<()>,
}

impl Waiting {
    /// Calls `say` with how long it has taken, again and again after so much `patience`.
    pub(super) fn new(patience: Duration, mut say: impl FnMut(Duration) + Send + 'static) -> Self {
        let (over, is_over) = channel::<()>();
        let began = Instant::now();
        // Where there is no thread to be had, who waits hears nothing.
        let _ = thread::Builder::new().spawn(move || {
            while is_over.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                say(began.elapsed());
            }
        });
        Self { _over: over }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that takes 50 s is spoken of twice; one of 15 s that follows it not at all.
    #[test]
    fn who_waits_is_told_now_and_then() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let mut said = |seconds: u64, tokens| silence.is_long(start + Duration::from_secs(seconds), tokens);
        let long: Vec<u64> = (0..=50).filter(|&second| said(second, second as usize)).collect();
        assert_eq!(long, [20, 40]);
        assert!((51..=66).all(|second| !said(second, second as usize - 51)));
    }

    /// Twice and more while it lasts, and no more when it is over: what is told from then on ends.
    #[test]
    fn what_tells_nothing_is_told_of_until_it_is_over() {
        let (told, heard) = channel();
        let patience = Duration::from_millis(5);
        let waiting = Waiting::new(patience, move |took| {
            let _ = told.send(took);
        });
        let (first, second) = (heard.recv().unwrap(), heard.recv().unwrap());
        assert!(first >= patience && second >= first + patience, "{first:?}, {second:?}");
        drop(waiting);
        assert!(heard.iter().all(|later| later > second));
    }
}
