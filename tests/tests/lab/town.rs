//! A rendezvous and homes for peers, in the lab.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use knothole_lab::link::Link;
use knothole_lab::namespaces::{Host, Lab};
use knothole_lab::person::{Person, Rendezvous, binaries};
use serde_json::json;

/// Whatever is waited for happens within this, also on a machine that is busy, or not at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A rendezvous, and homes for peers.
pub(crate) struct Town {
    directory: tempfile::TempDir,
    programs: PathBuf,
    rendezvous: Rendezvous,
    homes: usize,
}

impl Town {
    pub(crate) fn new(lab: &mut Lab) -> Result<Self> {
        let host = lab.public_host("rendezvous")?;
        Self::around(lab, &host)
    }

    fn around(lab: &Lab, host: &Host) -> Result<Self> {
        let programs = binaries()?;
        let directory = tempfile::tempdir()?;
        let mut command = host.command(programs.join("knothole-rendezvous"));
        // By a second address peers tell what their NAT does.
        command.args(["--alternate", &format!("{}:3479", lab.add_address(host)?)]);
        let listen = format!("{}:3478", host.address());
        let rendezvous = Rendezvous::start(command, &listen, &directory.path().join("state"))?;
        Ok(Self { directory, programs, rendezvous, homes: 0 })
    }

    /// A rendezvous in the middle: through it, two sites are no further from each other than straight.
    pub(crate) fn with_rendezvous_between(lab: &mut Lab) -> Result<Self> {
        let host = lab.public_host("rendezvous")?;
        lab.set_link(&host, Link::WIRE);
        Self::around(lab, &host)
    }

    pub(crate) fn home(&mut self) -> PathBuf {
        self.homes += 1;
        self.directory.path().join(format!("home-{}", self.homes))
    }

    pub(crate) fn person(&self, host: &Host, home: &Path) -> Result<Person> {
        let mut person = Person::start(host.command(self.programs.join("knothole")), home, &self.rendezvous.address)?;
        person.event("registered", &json!({}), PATIENCE).with_context(|| host.name().to_owned())?;
        Ok(person)
    }

    pub(crate) fn newcomer(&mut self, host: &Host) -> Result<Person> {
        let home = self.home();
        self.person(host, &home)
    }
}
