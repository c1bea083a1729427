//! Building a lab and changing it while it runs.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use anyhow::{Context, Result, bail};

use super::{
    host::{Behind, Host},
    masquerade::{self, Input},
    namespace::{DEVICE, Namespace},
    pump::Pump,
    tun,
};
use crate::{
    link::Link,
    nat::Behaviour,
    world::{HostId, Sight, Traffic, World},
};

/// A small internet with real hosts. Lines take 20 ms each way a site unless told otherwise.
#[derive(Debug)]
pub struct Lab {
    pump: Pump,
}

/// Building. A host's name is its namespace's; each fails when the kernel or `ip` does, or the name is taken.
impl Lab {
    /// A lab without hosts. Only [`run`](super::run) gives the rights that it takes.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(seed: u64) -> Result<Self> {
        Ok(Self { pump: Pump::new(World::new(seed))? })
    }

    /// A host with a public address, as a rendezvous is.
    pub fn public_host(&mut self, name: &str) -> Result<Host> {
        let id = self.world(World::public_host);
        self.host(name, id)
    }

    /// A host behind a NAT of its own.
    pub fn host_behind(&mut self, name: &str, nat: impl Into<Option<Behaviour>>) -> Result<Host> {
        let id = self.world(|world| world.host_behind(nat));
        self.host(name, id)
    }

    /// Hosts on one LAN behind one NAT.
    pub fn hosts_on_one_lan(&mut self, names: &[&str], nat: impl Into<Option<Behaviour>>) -> Result<Vec<Host>> {
        let ids = self.world(|world| world.hosts_on_one_lan(names.len(), nat));
        names.iter().zip(ids).map(|(name, id)| self.host(name, id)).collect()
    }

    /// A host behind a home router behind a carrier's.
    pub fn double_nat(
        &mut self,
        name: &str,
        inner: impl Into<Option<Behaviour>>,
        outer: impl Into<Option<Behaviour>>,
    ) -> Result<Host> {
        let id = self.world(|world| world.double_nat(inner, outer));
        self.host(name, id)
    }

    /// Hosts, each behind a home router of its own, all behind one carrier's.
    pub fn homes_behind_one_carrier<Nat: Into<Option<Behaviour>>>(
        &mut self,
        homes: impl IntoIterator<Item = (&'static str, Nat)>,
        outer: impl Into<Option<Behaviour>>,
    ) -> Result<Vec<Host>> {
        let (names, inner): (Vec<_>, Vec<_>) = homes.into_iter().unzip();
        let ids = self.world(|world| world.homes_behind_one_carrier(inner, outer));
        names.into_iter().zip(ids).map(|(name, id)| self.host(name, id)).collect()
    }

    /// A host behind the kernel's own NAT: `masquerade`, or `masquerade fully-random`. For [`World::direct_path_possible`]
    /// it is a public host; ask that of a [`NatKind`](crate::nat::NatKind) instead.
    pub fn nft_host(&mut self, name: &str, input: Input, fully_random: bool) -> Result<Host> {
        let (id, gateway) = self.world(World::opaque_router);
        let gateway = ipv4(gateway)?;
        let router = self.namespace(&format!("{name}-router"), id)?;
        let namespace = Namespace::new(name)?;
        let address = masquerade::set_up(&router, &namespace, gateway, input, fully_random)?;
        let behind = Some(Behind { router: Arc::new(router), address, gateway });
        Ok(Host { id, namespace: Arc::new(namespace), shared: Arc::clone(&self.pump.shared), behind })
    }

    /// A host of the [`World`], made through [`Self::world`] in whatever way, becomes a namespace.
    pub fn host(&mut self, name: &str, id: HostId) -> Result<Host> {
        let namespace = Arc::new(self.namespace(name, id)?);
        Ok(Host { id, namespace, shared: Arc::clone(&self.pump.shared), behind: None })
    }

    /// A namespace whose device ends at this host of the world.
    fn namespace(&self, name: &str, id: HostId) -> Result<Namespace> {
        let namespace = Namespace::new(name)?;
        let device = namespace.run(|| tun::open(DEVICE))?.context("cannot open a TUN device")?;
        // As an Ethernet device has it: a longer queue would only delay what the lab is too slow for. No link-local
        // IPv6 address, which would be a candidate that leads nowhere.
        namespace.ip(["link", "set", DEVICE, "mtu", "1500", "txqueuelen", "1000", "addrgenmode", "none"])?;
        let address = ipv4(self.world(|world| world.address(id)))?;
        namespace.set_address(address, None)?;
        self.pump.shared.join(id, device);
        Ok(namespace)
    }
}

/// Changing and watching.
impl Lab {
    /// Everything that the world itself offers: see its `set_…`, `rebind_…`, `nat`, `dropped`.
    pub fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        self.pump.shared.world(look)
    }

    /// Sets the share of packets lost on the line of a host's site, in each direction.
    pub fn set_loss(&self, host: &Host, loss: f64) {
        self.world(|world| world.set_loss(host.id, loss));
    }

    /// Replaces the line of a host's site, both ways.
    pub fn set_link(&self, host: &Host, link: Link) {
        self.world(|world| world.set_link(host.id, link));
    }

    /// Pulls the host's cable without the host noticing, or puts it back.
    pub fn set_cut(&self, host: &Host, cut: bool) {
        self.world(|world| world.set_cut(host.id, cut));
    }

    /// Lets UDP through the line of a host's site, or not.
    pub fn set_udp_blocked(&self, host: &Host, blocked: bool) {
        self.world(|world| world.set_udp_blocked(host.id, blocked));
    }

    /// The outermost router before a host forgets its mappings, and new ones have other ports. The kernel's NAT gets
    /// a new address instead, which has it forget too.
    ///
    /// # Errors
    /// The host has no NAT, or `ip` fails.
    pub fn rebind_nat(&self, host: &Host) -> Result<()> {
        if let Some(behind) = &host.behind {
            let address = ipv4(self.world(|world| world.change_address(host.id)))?;
            return behind.router.set_address(address, None);
        }
        let Some(router) = self.world(|world| world.routers_before(host.id).last().copied()) else {
            bail!("{} has no NAT to rebind", host.name());
        };
        self.world(|world| world.rebind_ports(router));
        Ok(())
    }

    /// The host gets another address on its LAN or, if public, on the internet, and loses the one that it had.
    ///
    /// # Errors
    /// The host is behind the kernel's NAT, or `ip` fails.
    pub fn change_address(&self, host: &Host) -> Result<IpAddr> {
        if host.behind.is_some() {
            bail!("{} is behind the kernel's NAT: use rebind_nat", host.name());
        }
        let address = self.world(|world| world.change_address(host.id));
        host.namespace.set_address(ipv4(address)?, None)?;
        Ok(address)
    }

    /// Gives a public host one more address, say for the second one of RFC 5780.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn add_address(&self, host: &Host) -> Result<IpAddr> {
        let address = self.world(|world| world.add_address(host.id));
        host.namespace.ip(["addr", "add", &format!("{address}/24"), "dev", DEVICE])?;
        Ok(address)
    }

    /// Takes the host's device down, which the host notices, or up again.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn set_device(&self, host: &Host, up: bool) -> Result<()> {
        let gateway = host.behind.as_ref().map(|behind| behind.gateway);
        if up { host.namespace.set_up(gateway) } else { host.namespace.ip(["link", "set", DEVICE, "down"]) }
    }

    /// What a host (or, with the kernel's NAT, its router) has sent and received on the wire.
    pub fn traffic(&self, host: &Host) -> Traffic {
        self.world(|world| world.traffic(host.id))
    }

    /// Keeps the last `limit` packets seen from now on.
    pub fn watch(&self, limit: usize) {
        self.world(|world| world.watch(limit));
    }

    /// Takes what was seen since the last call, oldest first.
    pub fn take_sights(&self) -> Vec<Sight> {
        self.world(World::take_sights)
    }
}

fn ipv4(address: IpAddr) -> Result<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => bail!("the lab's devices carry IPv4, not {address}"),
    }
}
