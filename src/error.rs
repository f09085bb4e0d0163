//! What can go wrong, by who can fix it.

use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The error of every fallible function of this crate. The text names the file, line or key and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe or the command line asks for something that cannot be done as written.
    #[error("recipe: {0}")]
    Recipe(String),
    /// A data file or row is not what the recipe says it is.
    #[error("data: {0}")]
    Data(String),
    /// A reward failed; its score is never replaced by a number.
    #[error("reward: {0}")]
    Reward(String),
    /// An endpoint cannot be reached, refuses, or says what cannot be read.
    #[error("endpoint: {0}")]
    Endpoint(String),
    /// A tool or an environment cannot be asked, or says what cannot be read.
    #[error("tool: {0}")]
    Tool(String),
    /// A model folder cannot be used as it is.
    #[error("model: {0}")]
    Model(String),
    /// A run directory or checkpoint cannot be used as it is.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// The layout asks for devices that this machine does not have.
    #[error("devices: {0}")]
    Devices(String),
    /// Ranks do not reach each other.
    #[error("ranks: {0}")]
    Ranks(String),
    /// Another rank failed, and this is what it said.
    #[error("rank {rank} failed: {words}")]
    Elsewhere {
        /// Which one.
        rank: usize,
        /// Its exit code.
        code: i32,
        /// Its own sentence.
        words: String,
    },
    /// Training has come to numbers that are none.
    #[error("training: {0}")]
    Diverged(String),
    /// Checks of `train selftest` that failed.
    #[error("selftest: {0}")]
    Checks(String),
    /// The run was told to stop, by this signal, and what is said of it: where it stands, and how to go on.
    #[error("{words}")]
    Stopped {
        /// The signal's number.
        signal: i32,
        /// What there is to say.
        words: String,
    },
    /// libtorch refused an operation.
    #[error("torch: {0}")]
    Torch(#[from] tch::TchError),
    /// The operating system refused a file operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// 2 where the user can fix it before the next run, 1 where the run failed while running, 128 and the signal's number where
    /// one stopped it.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Recipe(_)
            | Error::Data(_)
            | Error::Model(_)
            | Error::Checkpoint(_)
            | Error::Devices(_) => 2,
            Error::Stopped { signal, .. } => 128 + signal,
            Error::Elsewhere { code, .. } => *code,
            // A file that is not there, or not ours: somebody can put it right. A full disk is none of these.
            Error::Io { source, .. }
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
            {
                2
            }
            Error::Checks(_)
            | Error::Diverged(_)
            | Error::Reward(_)
            | Error::Endpoint(_)
            | Error::Tool(_)
            | Error::Ranks(_)
            | Error::Torch(_)
            | Error::Io { .. } => 1,
        }
    }

    /// What it says without the word for whose it is, for a sentence that says that already.
    pub fn what(&self) -> String {
        match self {
            Error::Recipe(what)
            | Error::Data(what)
            | Error::Reward(what)
            | Error::Endpoint(what)
            | Error::Tool(what)
            | Error::Model(what)
            | Error::Checkpoint(what)
            | Error::Devices(what)
            | Error::Ranks(what)
            | Error::Diverged(what)
            | Error::Checks(what) => what.clone(),
            other => other.to_string(),
        }
    }

    /// Adapter for `map_err`: an I/O error that names its file.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }
}

/// What a function of csrc/ returned: null, or what libtorch threw.
///
/// # Safety
/// A message is a C string that the function allocated and hands over.
pub(crate) unsafe fn thrown(message: *mut c_char) -> std::result::Result<(), String> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: by the above.
    Err(unsafe { taken(message) })
}

/// A text that a function of csrc/ hands over.
///
/// # Safety
/// It is a C string that the function allocated.
pub(crate) unsafe fn taken(text: *mut c_char) -> String {
    // SAFETY: by the above, and it is freed by who allocated it.
    let copy = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    unsafe { rationale_free(text) };
    copy
}

unsafe extern "C" {
    fn rationale_free(message: *mut c_char);
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or what it panicked with: for others' readers, which panic over damaged files. Nothing is printed.
pub fn quietly<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let before = QUIET.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    done.map_err(|panic| panic_message(panic.as_ref()).to_owned())
}

/// The message of a panic.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Whether a panic of this thread is caught and becomes an error, so that a hook has nothing to say of it.
pub fn is_quiet() -> bool {
    QUIET.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_has_the_same_code_whatever_file_it_hits() {
        let of = |number| Error::io("config.json")(std::io::Error::from_raw_os_error(number)).exit_code();
        let [missing, forbidden, full, broken] =
            [libc::ENOENT, libc::EACCES, libc::ENOSPC, libc::EIO].map(of);
        assert_eq!([missing, forbidden, full, broken], [2, 2, 1, 1]);
        assert_eq!(Error::Stopped { signal: libc::SIGTERM, words: String::new() }.exit_code(), 143);
    }
}
