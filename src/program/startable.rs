//! Whether a program is there, looked at before anything is started.

use std::path::Path;

/// Whether a program can be started, found as `std::process::Command` finds it.
///
/// # Errors
/// Why not, and what to do about it.
pub fn startable(name: &str) -> Result<(), &'static str> {
    if name.contains('/') {
        let path = Path::new(name);
        if path.is_dir() {
            return Err("it is a folder, not a program");
        }
        return match (path.is_file(), executable(path)) {
            (true, true) => Ok(()),
            (true, false) => Err("it is not executable; chmod +x it"),
            _ => Err("there is no such file; relative paths begin at the working directory"),
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let there =
        |known: fn(&Path) -> bool| std::env::split_paths(&folders).any(|folder| known(&folder.join(name)));
    match (there(executable), there(Path::is_file)) {
        (true, _) => Ok(()),
        (_, true) => Err("it is on the PATH, but not executable; chmod +x it"),
        _ => Err("there is no such program on the PATH; install it, or name its path"),
    }
}

fn executable(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    path.is_file()
}
