//! Tries inputs in a process of their own, which may die: of a stack that overflows, of memory, of the watchdog.

use super::mutate::{Grammar, Mutator};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Inputs that one process tries of a kind: what it leaves in memory goes with it.
const PER_PROCESS: u64 = 100_000;
/// Seconds of the processor that an input may take.
const LONGEST: f64 = 10.0;
/// Memory that a process may take beyond what it begins with.
const MOST_MEMORY: u64 = 2 << 30;
/// The stack of a program's main thread.
const STACK: usize = 8 << 20;
/// What is kept and shown of what fails alike.
const SHOWN: usize = 3;

/// The inputs that a process is to try, `NAME=FIRST..END` of each kind.
const RANGES: &str = "RATIONALE_FUZZ_RANGES";
/// The folder where it notes how far it is.
const NOTES: &str = "RATIONALE_FUZZ_NOTES";
/// Bytes of what begins the file `at` there: `NAME NUMBER LENGTH` of the input that is being tried, which stands behind them. It is
/// written over before each input, in one call, and outlives the process.
const HEAD: usize = 64;
/// What stands there where none is being tried.
const NONE: [u8; HEAD] = [b' '; HEAD];

/// A kind of input: the test that tries it, and inputs of it.
pub struct Tried<'a> {
    pub test: &'a str,
    pub inputs: Range<u64>,
}

/// Tries inputs made of `corpus` by `attempt`, which says what is wrong with how one was taken. `test` is the test's own name, by
/// which its process is started.
pub fn fuzz(
    test: &str,
    grammar: Grammar,
    corpus: Vec<Vec<u8>>,
    attempt: impl Fn(&[u8], &Path) -> Result<(), String> + Send + 'static,
) {
    let name = name(test).to_string();
    if let Some(path) = std::env::var_os("RATIONALE_REPLAY") {
        let folder = tempfile::tempdir().unwrap();
        println!("{:?}", attempt(&fs::read(path).unwrap(), folder.path()));
        return;
    }
    let Ok(ranges) = std::env::var(RANGES) else {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let (first, count) =
            (number("RATIONALE_FIRST").unwrap_or(0), number("RATIONALE_FUZZ").unwrap_or(PER_PROCESS));
        let wrong = try_all(vec![Tried { test, inputs: first..first + count }]);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        return;
    };
    let own = ranges.split(' ').find_map(|range| range.strip_prefix(&format!("{name}=")));
    let (first, end) = own.and_then(|range| range.split_once("..")).expect("its range");
    let range = first.parse().unwrap()..end.parse().unwrap();
    let mutator = Mutator::new(&name, grammar, corpus);
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread.spawn(move || child(&name, range, &mutator, &attempt)).unwrap().join().unwrap();
}

fn name(test: &str) -> &str {
    test.rsplit("::").next().unwrap_or(test)
}

/// Where inputs that fail are kept.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz")
}

/// Says before each input which it is, and notes `wrong NAME N WHAT` after one that was taken wrongly, and how it ends.
fn child(
    name: &str,
    range: Range<u64>,
    mutator: &Mutator,
    attempt: &impl Fn(&[u8], &Path) -> Result<(), String>,
) {
    let notes = PathBuf::from(std::env::var_os(NOTES).unwrap());
    let mut file = fs::OpenOptions::new().append(true).create(true).open(notes.join("notes")).unwrap();
    let mut say = |line: &str| file.write_all(format!("{}\n", line.replace('\n', " ⏎ ")).as_bytes()).unwrap();
    let at = fs::OpenOptions::new().write(true).create(true).truncate(false).open(notes.join("at")).unwrap();
    let panicked = Arc::new(Mutex::new(String::new()));
    let heard = panicked.clone();
    std::panic::set_hook(Box::new(move |info| *heard.lock().unwrap() = info.to_string()));
    let folder = tempfile::tempdir_in(&notes).unwrap();
    limit_memory();
    let (mut wrong, mut record, end) = (0, Vec::new(), range.end);
    for index in range {
        let input = mutator.input(index);
        record.clear();
        write!(record, "{name} {index} {}", input.len()).unwrap();
        record.resize(HEAD, b' ');
        record.extend(&input);
        at.write_all_at(&record, 0).unwrap();
        let what = match catch_unwind(AssertUnwindSafe(|| attempt(&input, folder.path()))) {
            Ok(Ok(())) => continue,
            Ok(Err(what)) => what,
            Err(_) => format!("a panic: {}", panicked.lock().unwrap()),
        };
        wrong += 1;
        if wrong <= 20 {
            keep(name, index, &input);
        }
        say(&format!("wrong {name} {index} {what}"));
    }
    say(&format!("peak {name} {}", status("VmHWM:") / 1024));
    say(&format!("done {name} {end}"));
    at.write_all_at(&NONE, 0).unwrap();
}

fn keep(name: &str, index: u64, input: &[u8]) {
    fs::create_dir_all(kept()).unwrap();
    fs::write(kept().join(format!("{name}-{index}.bin")), input).unwrap();
}

/// Tries all of them, one process after the other; says how many there were, and returns what is wrong.
pub fn try_all(mut tried: Vec<Tried>) -> Vec<String> {
    let wanted: Vec<(&str, Range<u64>)> =
        tried.iter().map(|tried| (tried.test, tried.inputs.clone())).collect();
    let (mut found, mut peak, began) = (Vec::new(), 0, Instant::now());
    while !tried.is_empty() {
        let folder = tempfile::tempdir_in(memory()).unwrap();
        let (hung, said) = process(&tried, folder.path());
        let notes = fs::read_to_string(folder.path().join("notes")).unwrap_or_default();
        let mut on = |name: &str, next: u64| {
            let own = tried.iter_mut().find(|tried| self::name(tried.test) == name);
            own.expect("a name that was given").inputs.start = next;
        };
        for line in notes.lines() {
            let mut parts = line.splitn(4, ' ');
            let mut part = || parts.next().unwrap_or_default();
            let (word, name, number) = (part(), part(), part().parse::<u64>().unwrap());
            match word {
                "wrong" => found.push((name.to_string(), number, part().to_string())),
                "peak" => peak = peak.max(number),
                _ => on(name, number),
            }
        }
        if let Some((name, index, input)) = being_tried(folder.path()) {
            on(&name, index + 1);
            keep(&name, index, &input);
            let last: Vec<&str> = said.lines().rev().filter(|line| !line.is_empty()).take(3).collect();
            let died = format!("it dies: {}", last.join(" | "));
            found.push((name, index, if hung { format!("a hang of more than {LONGEST} s") } else { died }));
        } else if notes.is_empty() {
            panic!("no input is tried: {said}");
        }
        tried.retain(|tried| !tried.inputs.is_empty());
    }
    let count: u64 = wanted.iter().map(|(_, inputs)| inputs.end - inputs.start).sum();
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let names: Vec<String> =
        wanted.iter().map(|(test, inputs)| format!("{} {inputs:?}", name(test))).collect();
    println!("{}: {rate:.0} a second, at most {peak} MB, {} fail", names.join(", "), found.len());
    wanted.iter().flat_map(|(test, _)| told(test, &found)).collect()
}

/// Where files are no work for a disk, if there is such a place.
fn memory() -> PathBuf {
    Some(PathBuf::from("/dev/shm")).filter(|folder| folder.is_dir()).unwrap_or_else(std::env::temp_dir)
}

/// The name, number and bytes of the input at which a process ended.
fn being_tried(folder: &Path) -> Option<(String, u64, Vec<u8>)> {
    let at = fs::read(folder.join("at")).ok()?;
    let head = std::str::from_utf8(at.get(..HEAD)?).ok()?;
    let mut parts = head.split_whitespace();
    let (name, index, length) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((name.to_string(), index, at[HEAD..].iter().take(length).copied().collect()))
}

/// What is wrong with inputs of a kind: how often, and the first of those that fail alike.
fn told(test: &str, found: &[(String, u64, String)]) -> Vec<String> {
    let mut alike: BTreeMap<String, Vec<(u64, &str)>> = BTreeMap::new();
    for (_, index, what) in found.iter().filter(|(name, ..)| name == self::name(test)) {
        // Panics of one crate are told apart by their place in it.
        let place = what.split_once("/registry/src/").map_or(&what[..], |(_, place)| place);
        let kind = place.chars().filter(|c| !c.is_ascii_digit()).take(100).collect();
        alike.entry(kind).or_default().push((*index, what));
    }
    let mut lines = Vec::new();
    for all in alike.values() {
        for (index, what) in all.iter().take(SHOWN) {
            let what: String = what.chars().take(500).collect();
            let file = kept().join(format!("{}-{index}.bin", name(test)));
            lines.push(format!("{} {index}, one of {} like it: {what}", name(test), all.len()));
            lines.push(format!(
                "  RATIONALE_REPLAY={} cargo test --release --test it {test} -- --ignored --nocapture",
                file.display()
            ));
        }
    }
    lines
}

/// Runs a process over a part of the inputs: whether it hung, and what it said.
fn process(tried: &[Tried], folder: &Path) -> (bool, String) {
    let range = |tried: &Tried| {
        let Range { start, end } = tried.inputs;
        format!("{}={start}..{}", name(tried.test), end.min(start + PER_PROCESS))
    };
    let ranges: Vec<String> = tried.iter().map(range).collect();
    let said = fs::File::create(folder.join("said")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(tried.iter().map(|tried| tried.test))
        .args(["--exact", "--nocapture", "--include-ignored", "--test-threads", "1"])
        .env(RANGES, ranges.join(" "))
        .env(NOTES, folder)
        // Arenas of threads would count as memory.
        .env("MALLOC_ARENA_MAX", "1")
        .env("OMP_NUM_THREADS", "1")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said);
    let hung = watch(&mut command.spawn().unwrap(), &folder.join("at"));
    (hung, String::from_utf8_lossy(&fs::read(folder.join("said")).unwrap()).into_owned())
}

/// Waits until the process ends; ends it where it has computed for too long on one input, or waits for nothing. Whether it has.
fn watch(child: &mut Child, at: &Path) -> bool {
    let head = || {
        let mut head = NONE;
        let _ = fs::File::open(at).and_then(|file| file.read_exact_at(&mut head, 0));
        head
    };
    // What it had computed when an input was first seen, when it last computed anything, and how much it had then.
    let (mut known, mut began, mut since, mut computed) = (head(), None, Instant::now(), 0.0);
    loop {
        std::thread::sleep(Duration::from_millis(20));
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let now = head();
        if now != known {
            (known, began) = (now, None);
            continue;
        }
        // Machines are shared: an hour without the processor is no fault of an input.
        let worked = seconds(child.id());
        if began.is_none() || worked > computed {
            (since, computed) = (Instant::now(), worked);
        }
        let began = *began.get_or_insert(worked);
        if worked - began > LONGEST || since.elapsed().as_secs_f64() > 6.0 * LONGEST {
            let _ = child.kill();
            let _ = child.wait();
            return true;
        }
    }
}

/// The processor's seconds that a process has had.
fn seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// A line of /proc/self/status, in KiB.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What is asked of the system beyond this is refused, which ends the process.
fn limit_memory() {
    const ADDRESS_SPACE: i32 = 9;
    unsafe extern "C" {
        fn setrlimit(resource: i32, limit: *const [u64; 2]) -> i32;
    }
    let most = status("VmSize:") * 1024 + MOST_MEMORY;
    // SAFETY: two 64-bit numbers, as `struct rlimit` is on Linux. The second may only be lowered.
    assert_eq!(unsafe { setrlimit(ADDRESS_SPACE, &[most, u64::MAX]) }, 0, "setrlimit");
}

/// A file in the scratch folder of a process.
pub fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// What is wrong with an error: it names none of these, or says far more than the input.
pub fn refused(error: &rationale::Error, names: &[&str], input: &[u8]) -> Result<(), String> {
    let text = error.to_string();
    if text.len() > 20_000.max(4 * input.len()) {
        return Err(format!("a message of {} bytes", text.len()));
    }
    match names.iter().any(|name| text.contains(name)) {
        true => Ok(()),
        false => Err(format!("a message that names none of {names:?}: {text}")),
    }
}
