//! Several ranks on this machine: this process starts them, shows the first one's terminal, and ends when all have ended.

use super::stop;
use crate::devices::most_at_once;
use crate::error::{Error, Result};
use crate::log::terminal::say;
use crate::ranks::{GRACE, Host, OWN};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long ranks have to end once one of them has failed: what they give themselves, and as much again.
const LIMIT: Duration = GRACE.saturating_mul(2);
/// Lines that are kept of what a rank says that nobody sees.
const KEPT: usize = 20;

/// A rank that this process has started.
struct Rank {
    child: Child,
    ended: Option<ExitStatus>,
    /// The end of what it has said.
    said: Arc<Mutex<VecDeque<String>>>,
}

/// Runs this program as `count` ranks, with the arguments that it has itself; its exit code.
///
/// # Errors
/// What keeps it from starting them.
pub(super) fn launch(count: usize) -> Result<i32> {
    let most = most_at_once();
    if count > most {
        return Err(Error::Devices(format!(
            "devices.ranks = {count}: each rank is a process, and this machine starts {most} at most, as it has no more cores; set \
             devices.ranks to what it has, such as its GPUs"
        )));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let id = format!("{}-{now}", std::process::id());
    let host = Host::open(&format!("{id}/0"))?;
    let mut ranks = Vec::with_capacity(count);
    for rank in 0..count {
        match start(rank, count, host.port(), &id) {
            Ok(started) => ranks.push(started),
            Err(error) => {
                ranks.iter().for_each(kill);
                return Err(Error::Ranks(format!("rank {rank} cannot be started: {error}")));
            }
        }
    }
    stop::hand_on(ranks.iter().map(|rank| rank.child.id() as i32).collect());
    wait(&host, &mut ranks);
    Ok(code(&host, &ranks))
}

fn start(rank: usize, count: usize, port: u16, id: &str) -> std::io::Result<Rank> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).stdin(Stdio::null());
    let (rank_, count_, port) = (rank.to_string(), count.to_string(), port.to_string());
    command.envs([
        ("RANK", rank_.as_str()),
        ("LOCAL_RANK", &rank_),
        ("WORLD_SIZE", &count_),
        ("LOCAL_WORLD_SIZE", &count_),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", &port),
        ("TORCHELASTIC_USE_AGENT_STORE", "True"),
        ("TORCHELASTIC_RUN_ID", id),
        ("TORCHELASTIC_RESTART_COUNT", "0"),
        (OWN, "1"),
    ]);
    command.env_remove("TORCHELASTIC_ERROR_FILE");
    if rank > 0 {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
    }
    // A group of its own: what a terminal sends to this one, this one hands on, once.
    command.process_group(0);
    let parent = std::process::id() as i32;
    // SAFETY: prctl(2), pthread_sigmask(3), getppid(2) and _exit(2) are allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            stop::mask(libc::SIG_BLOCK);
            if libc::getppid() != parent {
                libc::_exit(1);
            }
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let said = Arc::new(Mutex::new(VecDeque::new()));
    if let Some(stderr) = child.stderr.take() {
        let said = said.clone();
        std::thread::spawn(move || keep_last(stderr, &said));
    }
    Ok(Rank { child, ended: None, said })
}

fn keep_last(from: impl Read, said: &Mutex<VecDeque<String>>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // A line of any length, and of any bytes.
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text: String = String::from_utf8_lossy(&line).trim_end().chars().take(2000).collect();
        line.clear();
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push_back(text);
        if said.len() > KEPT {
            said.pop_front();
        }
    }
}

/// Waits until all have ended; where one ends badly, the others have so long to do so too.
fn wait(host: &Host, ranks: &mut [Rank]) {
    let mut limit: Option<Instant> = None;
    while ranks.iter().any(|rank| rank.ended.is_none()) {
        for (number, rank) in ranks.iter_mut().enumerate().filter(|(_, rank)| rank.ended.is_none()) {
            rank.ended = rank.child.try_wait().unwrap_or(Some(ExitStatus::from_raw(1 << 8)));
            if let Some(status) = rank.ended.filter(|status| !status.success()) {
                if status.code().is_none_or(|code| code <= 128) {
                    host.tell(number, status.code().unwrap_or(1), last_words(rank, status));
                }
                limit.get_or_insert(Instant::now() + LIMIT);
            }
        }
        if limit.is_some_and(|limit| limit < Instant::now()) {
            ranks.iter().filter(|rank| rank.ended.is_none()).for_each(kill);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Why a rank has ended that told nobody.
fn last_words(rank: &Rank, status: ExitStatus) -> String {
    let how = match (status.signal(), status.code()) {
        (Some(libc::SIGKILL), _) => {
            "it was ended by SIGKILL; where nobody sent that, memory was short".into()
        }
        (Some(signal), _) => format!("it was ended by {}", stop::name_of(signal)),
        (_, code) => format!("it ended with exit code {}", code.unwrap_or(1)),
    };
    let said = rank.said.lock().unwrap_or_else(PoisonError::into_inner);
    match said.is_empty() {
        true => how,
        false => format!("{how}. It said last:\n  {}", Vec::from(said.clone()).join("\n  ")),
    }
}

/// Ends a rank with all that is in its group.
fn kill(rank: &Rank) {
    // SAFETY: kill(2) touches no memory, and the rank, which leads its group, has not been waited for.
    unsafe { libc::kill(-(rank.child.id() as i32), libc::SIGKILL) };
}

/// The exit code of all: that of the first failure, else what the first rank ended with. A first rank that was ended said nothing of it; one
/// that ended well did so together with all others, so that whatever became of them then is no matter of the run.
fn code(host: &Host, ranks: &[Rank]) -> i32 {
    let first = ranks[0].ended.and_then(|status| status.code());
    let Some(failure) = host.failure() else { return first.unwrap_or(1) };
    match first {
        None => say(&format!("error: {failure}")),
        Some(0) => {
            say(&format!("all is done; afterwards {failure}"));
            return 0;
        }
        Some(_) => {}
    }
    failure.exit_code()
}
