//! A file that is appended to and knows how far it has come, so that a checkpoint can vouch for it.

use crate::checkpoint::Extent;
use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct Growing {
    path: PathBuf,
    file: File,
    extent: Extent,
}

impl Growing {
    /// Goes on behind what is there, which is `extent`; the file and its folder are made where they are missing.
    pub fn open(path: &Path, extent: Extent) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io(path))?;
        Ok(Self { path: path.to_path_buf(), file, extent })
    }

    /// Goes on behind what it held when `kept` was noted; what came after is taken back.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where it does not hold that any more.
    pub fn resume(path: &Path, kept: Extent) -> Result<Self> {
        kept.check(path)?;
        let growing = Self::open(path, kept)?;
        growing.file.set_len(kept.bytes).map_err(Error::io(path))?;
        Ok(growing)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends in one write.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.path))?;
        self.extent.grow(bytes);
        Ok(())
    }

    /// Has what was appended reach the disk; how far the file has come.
    pub fn sync(&self) -> Result<Extent> {
        self.file.sync_data().map_err(Error::io(&self.path))?;
        Ok(self.extent)
    }
}
