//! Where trials happen: a rendezvous in the core, sites that come and go, homes for peers.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::link::Link;
use crate::namespaces::{Host, Lab};
use crate::network::Network;
use crate::person::{Person, Rendezvous};

/// A rendezvous and everything that a peer needs. Trials share it, each with sites of its own.
pub struct Setting<'a> {
    lab: Mutex<&'a mut Lab>,
    programs: PathBuf,
    directory: tempfile::TempDir,
    rendezvous_host: Host,
    listen: SocketAddr,
    alternate: SocketAddr,
    rendezvous: Mutex<Rendezvous>,
    /// What every peer is given.
    address: String,
    made: AtomicUsize,
    doors: Mutex<()>,
}

/// A host in a [`Network`], which leaves the lab when this is dropped.
#[derive(Debug)]
pub struct Site {
    host: Host,
}

impl Deref for Site {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.host.unplug();
    }
}

impl<'a> Setting<'a> {
    /// Starts a rendezvous in the core, on a line without delay, so that the way through it is as long as the way between
    /// two sites: 40 ms. It has the second address that telling NATs apart takes.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn new(lab: &'a mut Lab, programs: PathBuf) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let host = lab.public_host("rendezvous")?;
        lab.set_link(&host, Link::WIRE);
        let listen = SocketAddr::new(host.address(), 3478);
        let alternate = SocketAddr::new(lab.add_address(&host)?, 3479);
        let rendezvous = start(&programs, &host, listen, alternate, directory.path())?;
        Ok(Self {
            lab: Mutex::new(lab),
            programs,
            directory,
            rendezvous_host: host,
            listen,
            alternate,
            address: rendezvous.address.clone(),
            rendezvous: Mutex::new(rendezvous),
            made: AtomicUsize::new(0),
            doors: Mutex::new(()),
        })
    }

    /// The lab, to change it. Others wait meanwhile.
    pub fn lab(&self) -> MutexGuard<'_, &'a mut Lab> {
        self.lab.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that takes the machine much time, as starting programs does, while nobody else does: what
    /// the others are measuring meanwhile is disturbed by one at most.
    pub fn one_at_a_time<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// A new host in a network of this kind.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn site(&self, network: Network) -> Result<Site> {
        let name = format!("host{}", self.number());
        Ok(Site { host: network.host(&mut self.lab(), &name)? })
    }

    /// A home where nobody has lived yet.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join(format!("home{}", self.number()))
    }

    /// Starts a peer. It is not registered yet.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn person(&self, host: &Host, home: &Path) -> Result<Person> {
        Person::start(host.command(self.programs.join("knothole")), home, &self.address)
    }

    /// Starts a peer that reaches nobody, to read what a home holds.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn hermit(&self, home: &Path) -> Result<Person> {
        Person::start(Command::new(self.programs.join("knothole")), home, &self.address)
    }

    /// Kills the rendezvous, and starts it again at the same addresses with what it had written down.
    ///
    /// # Errors
    /// It cannot be started again.
    pub fn restart_rendezvous(&self) -> Result<()> {
        let mut rendezvous = self.rendezvous.lock().unwrap_or_else(PoisonError::into_inner);
        rendezvous.process.signal(Signal::SIGKILL)?;
        // Ended by a signal it has no exit code: only that it is over matters, or its port would be taken.
        let _ = rendezvous.process.wait();
        *rendezvous = start(&self.programs, &self.rendezvous_host, self.listen, self.alternate, self.directory.path())?;
        Ok(())
    }

    /// Lets nothing pass between two sites any more, without either being told; or everything again. The way through the
    /// rendezvous stays open.
    ///
    /// # Errors
    /// See [`Host::set_deaf_to`].
    pub fn set_apart(&self, a: &Site, b: &Site, apart: bool) -> Result<()> {
        for (one, other) in [(a, b), (b, a)] {
            let sources: &[IpAddr] = if apart { &[other.public_address()] } else { &[] };
            one.set_deaf_to(sources)?;
        }
        Ok(())
    }

    fn number(&self) -> usize {
        self.made.fetch_add(1, Ordering::Relaxed)
    }
}

fn start(
    programs: &Path,
    host: &Host,
    listen: SocketAddr,
    alternate: SocketAddr,
    directory: &Path,
) -> Result<Rendezvous> {
    let mut command = host.command(programs.join("knothole-rendezvous"));
    command.args(["--alternate", &alternate.to_string()]);
    Rendezvous::start(command, &listen.to_string(), &directory.join("state")).context("the rendezvous")
}
