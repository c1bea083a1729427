//! A host of the lab.

use std::{
    ffi::OsStr,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    namespace::{Namespace, finish},
    process::Process,
    pump::Shared,
};
use crate::world::{HostId, World};

/// What does not come within this, also on a busy machine, does not come.
const RECEIVING: Duration = Duration::from_secs(10);

/// A namespace in which programs run. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Host {
    pub(super) id: HostId,
    pub(super) namespace: Arc<Namespace>,
    pub(super) shared: Arc<Shared>,
    /// For a host behind the kernel's NAT, of which the world sees only the router.
    pub(super) behind: Option<Behind>,
}

/// Where a host behind the kernel's NAT is.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    pub(super) router: Arc<Namespace>,
    pub(super) address: Ipv4Addr,
    pub(super) gateway: Ipv4Addr,
}

impl Host {
    /// The host in the world: the router's place for a host behind the kernel's NAT.
    pub fn id(&self) -> HostId {
        self.id
    }

    /// The name it was made with, which is its namespace's.
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// Its address on its own device.
    pub fn address(&self) -> IpAddr {
        match &self.behind {
            Some(behind) => behind.address.into(),
            None => self.shared.world(|world| world.address(self.id)),
        }
    }

    /// The address that its packets have on the public internet.
    pub fn public_address(&self) -> IpAddr {
        self.shared.world(|world| {
            let outermost = world.routers_before(self.id).last().copied();
            let external = outermost.and_then(|router| world.nat(router)?.external().first().copied());
            external.unwrap_or_else(|| world.address(self.id))
        })
    }

    /// Takes the host out of the lab for good, so that its namespace may go while the lab goes on. End its programs before,
    /// and drop its clones after.
    pub fn unplug(&self) {
        self.shared.leave(self.id);
    }

    /// The mappings made, up to now, by all the routers before it. Of the kernel's NAT: the entries in its table, where
    /// a mapping that nobody answered stays for 30 s and any other for longer.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn mappings_made(&self) -> Result<u64> {
        if let Some(behind) = &self.behind {
            let count = "/proc/sys/net/netfilter/nf_conntrack_count";
            let text = behind.router.run(|| fs::read_to_string(count))?.context(count)?;
            return text.trim().parse().context(count);
        }
        let of_router = |world: &World, router| world.nat(router).map_or(0, |nat| nat.counts().created);
        Ok(self
            .shared
            .world(|world| world.routers_before(self.id).into_iter().map(|router| of_router(world, router)).sum()))
    }

    /// Drops silently whatever comes from these addresses, and no longer what came from those of an earlier call.
    ///
    /// # Errors
    /// nftables refuses the rule.
    pub fn set_deaf_to(&self, sources: &[IpAddr]) -> Result<()> {
        let rules: String = sources.iter().map(|source| format!("ip saddr {source} drop\n")).collect();
        // Declared, deleted and made anew: the table need not exist before.
        let hook = "type filter hook input priority filter";
        let table = format!("table ip deaf {{\n chain input {{\n {hook}\n {rules} }}\n }}");
        let mut nft = self.command("nft");
        nft.arg(format!("table ip deaf\n delete table ip deaf\n {table}"));
        finish(nft).context("nftables refuses to drop")
    }

    /// A command that will run on this host; add arguments as usual.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.namespace.command(program)
    }

    /// Starts a program on this host, which ends at the latest when the [`Process`] is dropped.
    ///
    /// # Errors
    /// `ip` cannot be started. (A program that cannot be is a [`Process`] that soon ends in failure.)
    pub fn spawn(&self, program: impl AsRef<OsStr>, shape: impl FnOnce(&mut Command)) -> Result<Process> {
        let mut command = self.command(program);
        shape(&mut command);
        Ok(Process(command.spawn().with_context(|| format!("cannot start {command:?}"))?))
    }

    /// Runs `work` in a thread on this host. Sockets that it opens stay the host's wherever they are used.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` panicked.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.namespace.run(work)
    }

    /// A UDP socket on this host, at a port of the caller's choice or, with 0, the kernel's. Receiving gives up after 10 s.
    ///
    /// # Errors
    /// The port is taken.
    pub fn udp_socket(&self, port: u16) -> Result<UdpSocket> {
        let socket = self.run(|| UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))??;
        socket.set_read_timeout(Some(RECEIVING))?;
        Ok(socket)
    }
}
