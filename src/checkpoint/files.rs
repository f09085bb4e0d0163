//! Files as they are opened and read: plain ones. A pipe waits for who writes into it, and a device never ends.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// What the notes of a run come to at most, in bytes: recipes, stages, trials, states of checkpoints.
const LARGEST: u64 = 1 << 28;

/// Opens a file to read it.
///
/// # Errors
/// It is not there, cannot be opened, or is no plain file.
pub(super) fn open_file(path: &Path) -> Result<File> {
    // Looked at first: to open a pipe is to wait.
    if !std::fs::metadata(path)?.is_file() {
        let what = "a pipe, a device or a folder, where a file should be; take it away";
        return Err(Error::new(ErrorKind::InvalidInput, what));
    }
    File::open(path)
}

/// All of a file that memory holds.
///
/// # Errors
/// As `open_file`; more than 256 MB.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let file = open_file(path)?;
    if file.metadata()?.len() > LARGEST {
        let what = format!("longer than {} MB, which no run writes there", LARGEST >> 20);
        return Err(Error::new(ErrorKind::InvalidInput, what));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same of a text.
///
/// # Errors
/// As [`read_file`]; what is no UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read_file(path)?).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_no_plain_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let pipe = CString::new(path("pipe").as_os_str().as_bytes()).unwrap();
        // SAFETY: mkfifo(3) reads the path alone.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        symlink("/dev/zero", path("zeros")).unwrap();
        for name in ["pipe", "zeros", "."] {
            let refused = read_file(&path(name)).unwrap_err();
            assert!(refused.to_string().starts_with("a pipe, a device or a folder"), "{name}: {refused}");
        }
        std::fs::write(path("plain"), "text").unwrap();
        symlink("plain", path("link")).unwrap();
        assert_eq!(read_text(&path("link")).unwrap(), "text");
        assert_eq!(read_file(&path("none")).unwrap_err().kind(), ErrorKind::NotFound);
        // A file of holes takes no place on the disk.
        File::create(path("long")).and_then(|file| file.set_len(LARGEST + 1)).unwrap();
        assert!(read_file(&path("long")).unwrap_err().to_string().starts_with("longer than 256 MB"));
    }
}
