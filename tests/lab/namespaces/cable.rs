//! Hosts joined by cables and by nothing else: Ethernet, with multicast and IPv6, which the world does not have.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::namespace::{DEVICE, Namespace};

/// A host at the end of a cable.
#[derive(Debug)]
pub struct Station(Namespace);

/// A cable from the middle of a star to a new host, with the addresses of its ends (`10.0.0.1/24`).
#[derive(Debug, Clone, Copy)]
pub struct Spoke<'a> {
    /// The name of the host.
    pub name: &'a str,
    /// The addresses that the middle has on this cable.
    pub near: &'a [&'a str],
    /// The host's.
    pub far: &'a [&'a str],
}

/// Joins two new hosts, each with these addresses. Only in a lab: see [`run`](super::run).
///
/// # Errors
/// `ip` fails, or a name is taken.
pub fn cable(names: [&str; 2], addresses: [&[&str]; 2]) -> Result<[Station; 2]> {
    let (left, mut others) = star(names[0], &[Spoke { name: names[1], near: addresses[0], far: addresses[1] }])?;
    let right = others.pop().context("one spoke makes one host")?;
    Ok([left, right])
}

/// Joins new hosts to one in the middle, each by a cable of its own. The middle passes nothing on.
///
/// # Errors
/// `ip` fails, or a name is taken.
pub fn star(middle: &str, spokes: &[Spoke<'_>]) -> Result<(Station, Vec<Station>)> {
    let middle = Station(Namespace::new(middle)?);
    let mut others = Vec::new();
    for (index, spoke) in spokes.iter().enumerate() {
        let other = Station(Namespace::new(spoke.name)?);
        let near = format!("net{index}");
        middle.0.ip(["link", "add", &near, "type", "veth", "peer", "name", DEVICE, "netns", other.0.name()])?;
        middle.set_addresses(&near, spoke.near)?;
        other.set_addresses(DEVICE, spoke.far)?;
        others.push(other);
    }
    Ok((middle, others))
}

impl Station {
    /// A command that will run on this host; add arguments as usual.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.0.command(program)
    }

    /// Runs `work` in a thread on this host.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` panicked.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.0.run(work)
    }

    fn set_addresses(&self, device: &str, addresses: &[&str]) -> Result<()> {
        self.0.ip(["link", "set", device, "addrgenmode", "none"])?;
        for address in addresses {
            if address.contains(':') {
                // Without duplicate address detection, which would take seconds.
                self.0.ip(["addr", "add", address, "dev", device, "nodad"])?;
            } else {
                self.0.ip(["addr", "add", address, "dev", device])?;
            }
        }
        self.0.ip(["link", "set", device, "up"])
    }

    /// Passes IPv6 on between its cables.
    ///
    /// # Errors
    /// The kernel does not let it.
    pub fn forward_v6(&self) -> Result<()> {
        self.0.run(|| fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1"))?.context("cannot turn on forwarding")
    }

    /// Makes the other end of its cable, at this address, the way to everything else of that family.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn route_by(&self, gateway: &str) -> Result<()> {
        self.0.ip(["route", "replace", "default", "via", gateway, "dev", DEVICE])
    }
}
