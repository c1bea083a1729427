//! One network namespace, by the name that `ip netns` knows it by.

use std::{ffi::OsStr, fs::File, net::Ipv4Addr, process::Command, thread};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

/// The device by which every host reaches everything.
pub(super) const DEVICE: &str = "net0";

/// Exists as long as this does.
#[derive(Debug)]
pub(super) struct Namespace {
    name: String,
}

impl Namespace {
    pub(super) fn new(name: &str) -> Result<Self> {
        ip(["netns", "add", name])?;
        let namespace = Self { name: name.into() };
        namespace.ip(["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// `ip` in this namespace.
    pub(super) fn ip<const N: usize>(&self, arguments: [&str; N]) -> Result<()> {
        ip(["-n", self.name()].into_iter().chain(arguments))
    }

    /// A command that will run in this namespace.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name()]).arg(program);
        command
    }

    /// Runs `work` in a thread in this namespace. Sockets and files that it opens stay in it wherever they are used.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {path}"))?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(inside).join()).map_err(|_| anyhow!("a thread in {path} panicked"))?
    }

    /// Gives the device its only address and a default route: by way of `gateway`, or of the device itself.
    pub(super) fn set_address(&self, address: Ipv4Addr, gateway: Option<Ipv4Addr>) -> Result<()> {
        self.ip(["addr", "flush", "dev", DEVICE])?;
        self.ip(["addr", "add", &format!("{address}/24"), "dev", DEVICE])?;
        self.set_up(gateway)
    }

    /// Brings the device up, and the default route back that went with it.
    pub(super) fn set_up(&self, gateway: Option<Ipv4Addr>) -> Result<()> {
        self.ip(["link", "set", DEVICE, "up"])?;
        match gateway {
            Some(gateway) => self.ip(["route", "replace", "default", "via", &gateway.to_string(), "dev", DEVICE]),
            None => self.ip(["route", "replace", "default", "dev", DEVICE]),
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // If it fails, the namespace still ends with the mount namespace that holds its name.
        let _ = ip(["netns", "del", self.name()]);
    }
}

/// Runs `ip`, whose complaint becomes the error.
pub(super) fn ip<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments);
    finish(command)
}

/// Runs a command to its end, and makes its complaint the error.
pub(super) fn finish(mut command: Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
