//! A disk of a few megabytes that can be filled, for homes that run out of room.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::namespaces::{mount_memory, unmount};

/// A file system of its own, in memory, as long as this lives. Only in a lab, before the programs start that are to see it.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `bytes` at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// The kernel does not let it.
    pub fn new(path: &Path, bytes: u64) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        mount_memory(path, bytes)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// It cannot be written for another reason than that it is full.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.ballast())?;
        // Large steps first: the last bytes count, but most of them need not be taken one by one.
        for step in [1 << 20, 1 << 12, 1] {
            let bytes = vec![0; step];
            loop {
                match ballast.write(&bytes) {
                    Ok(count) if count > 0 => {}
                    Ok(_) => break,
                    Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => break,
                    Err(error) => return Err(error).context("the ballast"),
                }
            }
        }
        ensure!(ballast.metadata()?.len() > 0, "there was no room to take");
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// It was not filled.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.ballast()).context("the ballast")
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // If it fails, it ends with the mount namespace at the latest.
        let _ = unmount(&self.path);
    }
}
