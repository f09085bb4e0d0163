//! The memory that this process has had resident at most, as Linux counts it (proc(5)).

/// Lets the peak begin anew from what there is now.
pub fn forget_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The most bytes since the process began, or since [`forget_peak`].
pub fn peak() -> Option<u64> {
    status("VmHWM")
}

/// Bytes now.
pub fn now() -> Option<u64> {
    status("VmRSS")
}

/// Gives back what was freed and is still kept for later: freed pieces between others are never used for anything larger.
pub fn trim() {
    // SAFETY: it touches free memory alone.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A line of /proc/self/status.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever forgets the peak meanwhile, this is still there.
    #[test]
    fn what_is_held_is_resident() {
        let held = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(now().unwrap() >= 64 << 20 && peak().unwrap() >= 64 << 20);
        drop(held);
    }
}
