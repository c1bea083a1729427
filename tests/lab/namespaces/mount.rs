//! File systems of the lab's own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::namespace::finish;

/// Mounts a file system in memory that holds so many bytes. Programs that were started before may not see it.
///
/// # Errors
/// The kernel does not let it.
pub fn mount_memory(at: &Path, bytes: u64) -> Result<()> {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(at);
    finish(mount).context("cannot mount a tmpfs")
}

/// Unmounts what is there, at the latest when nobody uses it any more.
///
/// # Errors
/// Nothing is mounted there.
pub fn unmount(at: &Path) -> Result<()> {
    let mut unmount = Command::new("umount");
    unmount.arg("--lazy").arg(at);
    finish(unmount).context("cannot unmount")
}
