//! Work on many rows, by all cores.

use crate::error::{Error, Result};
use std::panic::resume_unwind;
use std::thread::{self, Builder};

/// Rows below which a thread is not worth its start.
const WORTH: usize = 256;

/// As deep as the main thread's: chat templates nest calls on it.
const STACK: usize = 8 << 20;

/// What `of` gives of each row, in their order; all cores work on many.
///
/// # Errors
/// Where no thread can be started.
pub fn each<'r, R: Sync, T: Send>(rows: &'r [R], of: impl Fn(&'r R) -> T + Sync) -> Result<Vec<T>> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let part = rows.len().div_ceil(cores).max(WORTH);
    if rows.len() <= part {
        return Ok(rows.iter().map(of).collect());
    }
    let of = &of;
    thread::scope(|scope| {
        let start = |part: &'r [R]| {
            let work = move || part.iter().map(of).collect::<Vec<T>>();
            Builder::new().stack_size(STACK).spawn_scoped(scope, work)
        };
        let threads: Vec<_> = rows.chunks(part).map(start).collect::<std::io::Result<_>>()?;
        let done =
            threads.into_iter().flat_map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok(done.collect())
    })
    .map_err(|error: std::io::Error| {
        Error::Model(format!("no thread can be started to look at the rows: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_give_what_one_gives() {
        for count in [0, 1, WORTH, 10 * WORTH + 1] {
            let rows: Vec<usize> = (0..count).collect();
            assert_eq!(each(&rows, |row| row + 1).unwrap(), (1..=count).collect::<Vec<_>>());
        }
    }
}
