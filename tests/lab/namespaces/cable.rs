//! Two hosts joined by a cable and by nothing else: Ethernet, with multicast and IPv6, which the world does not have.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::Result;

use super::namespace::{DEVICE, Namespace};

/// A host at one end.
#[derive(Debug)]
pub struct Station(Namespace);

/// Joins two new hosts, each with these addresses (`10.0.0.1/24`). Only in a lab: see [`run`](super::run).
///
/// # Errors
/// `ip` fails, or a name is taken.
pub fn cable(names: [&str; 2], addresses: [&[&str]; 2]) -> Result<[Station; 2]> {
    let [left, right] = [Namespace::new(names[0])?, Namespace::new(names[1])?];
    left.ip(["link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", right.name()])?;
    let stations = [Station(left), Station(right)];
    for (station, addresses) in stations.iter().zip(addresses) {
        station.0.ip(["link", "set", DEVICE, "addrgenmode", "none"])?;
        for address in addresses {
            station.add_address(address)?;
        }
        station.set_device(true)?;
    }
    Ok(stations)
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

    /// Adds an address with its prefix's length.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn add_address(&self, address: &str) -> Result<()> {
        if address.contains(':') {
            // Without duplicate address detection, which would take seconds.
            self.0.ip(["addr", "add", address, "dev", DEVICE, "nodad"])
        } else {
            self.0.ip(["addr", "add", address, "dev", DEVICE])
        }
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn remove_address(&self, address: &str) -> Result<()> {
        self.0.ip(["addr", "del", address, "dev", DEVICE])
    }

    /// Takes the device down or up again.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn set_device(&self, up: bool) -> Result<()> {
        self.0.ip(["link", "set", DEVICE, if up { "up" } else { "down" }])
    }

    /// Makes the other end, at this address, the way to everything else.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn route_by(&self, gateway: &str) -> Result<()> {
        self.0.ip(["route", "replace", "default", "via", gateway, "dev", DEVICE])
    }
}
