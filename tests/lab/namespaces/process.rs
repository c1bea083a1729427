//! A program running in a host's namespace.

use std::{
    ops::{Deref, DerefMut},
    process::Child,
};

use anyhow::{Context, Result};
use nix::{sys::signal, unistd::Pid};

/// A child that is killed, if it still runs, when this is dropped.
#[derive(Debug)]
pub struct Process(pub(super) Child);

impl Process {
    /// Sends a signal, say SIGTERM or SIGINT, to the program.
    ///
    /// # Errors
    /// It has already been waited for.
    pub fn signal(&self, signal: signal::Signal) -> Result<()> {
        // `ip netns exec` becomes the program, so the child's id is the program's.
        let id = i32::try_from(self.0.id()).context("a process id out of range")?;
        signal::kill(Pid::from_raw(id), signal).context("cannot signal the process")
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the child has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
