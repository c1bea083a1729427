//! An internet of packets: hosts, routers with NATs, and a core, joined by lines. Pure: the driver moves the clock.
//!
//! ```text
//!            core ──┬── host                      public
//!                   └── router ──┬── host         a LAN behind one NAT; its hosts reach each other directly
//!                                ├── host
//!                                └── router ── host     double NAT
//! ```
//!
//! Routers and the core are hops: each takes one from the TTL, and drops what would reach 0 *before* its NAT notes
//! anything, with an ICMP notice to the sender. What is addressed to a router itself reaches its NAT whatever the TTL,
//! since nothing is forwarded yet; if the NAT knows whom it is for inside, it then needs the TTL to go on. So
//! an opening packet with TTL 2 makes a mapping at its own router and dies in the core, and one with TTL 3 arrives at the
//! other side's router, and may claim a port there, but does not pass it.
//!
//! The run loop: [`World::send`] what hosts have to say, then drain [`World::poll_delivery`], then wait until
//! [`World::poll_timeout`]. The same seed and the same calls give the same run.

mod change;
mod forwarding;
mod oracle;
#[cfg(test)]
mod tests;
mod topology;
mod trace;

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
pub use topology::Segment;
pub use trace::{DropReason, Moment, Place, Sight, Traffic};

use crate::{
    link::Line,
    nat::Nat,
    packet::{Packet, Transport},
};

/// A host in one [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(usize);

/// A router in one [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(usize);

/// The internet.
#[derive(Clone, Debug)]
pub struct World {
    rng: ChaCha8Rng,
    hosts: Vec<Host>,
    routers: Vec<Router>,
    /// Who is where on the public internet.
    core: BTreeMap<IpAddr, Joined>,
    /// What is under way, by arrival, then by the order of sending.
    queue: BTreeMap<(Instant, u64), (Arrival, Packet)>,
    sequence: u64,
    addresses: topology::AddressPlan,
    trace: trace::Trace,
    notices: bool,
}

#[derive(Clone, Debug)]
struct Host {
    addresses: Vec<IpAddr>,
    access: Access,
}

#[derive(Clone, Debug)]
struct Router {
    udp: Nat,
    tcp: Nat,
    /// Its address on the inside.
    gateway: IpAddr,
    inside: BTreeMap<IpAddr, Joined>,
    access: Access,
}

/// Who can be joined to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    Host(HostId),
    Router(RouterId),
}

/// How a host or router is joined to its segment.
#[derive(Clone, Debug)]
struct Access {
    segment: Segment,
    up: Line,
    down: Line,
    cut: bool,
    udp_blocked: bool,
}

#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// At the segment's core or LAN, from one of those joined to it.
    Segment(Segment),
    /// At a router, from its outside.
    Router(RouterId),
    Host(HostId),
}

impl World {
    /// An empty internet.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            hosts: Vec::new(),
            routers: Vec::new(),
            core: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            addresses: topology::AddressPlan::default(),
            trace: trace::Trace::default(),
            notices: true,
        }
    }

    /// A host sends. An unspecified source address becomes the host's first one; a source that is not the host's is
    /// dropped, as after a change of address.
    pub fn send(&mut self, now: Instant, host: HostId, packet: Packet) {
        self.leave_host(now, host, packet);
    }

    /// When something will next be under way no longer. Nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.keys().next().map(|&(at, _)| at)
    }

    /// What has reached a host by `now`, in order of arrival; call until `None`.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<(HostId, Packet)> {
        loop {
            let entry = self.queue.first_entry()?;
            let (at, _) = *entry.key();
            if at > now {
                return None;
            }
            let (arrival, packet) = entry.remove();
            if let Some(delivery) = self.arrive(at, arrival, packet) {
                return Some(delivery);
            }
        }
    }

    /// A host's addresses, the first one first.
    pub fn addresses(&self, host: HostId) -> &[IpAddr] {
        &self.hosts[host.0].addresses
    }

    /// A host's first address.
    pub fn address(&self, host: HostId) -> IpAddr {
        self.hosts[host.0].addresses[0]
    }

    /// The routers between a host and the core, the nearest first.
    pub fn routers_before(&self, host: HostId) -> Vec<RouterId> {
        let mut routers = Vec::new();
        let mut segment = self.hosts[host.0].access.segment;
        while let Segment::Inside(router) = segment {
            routers.push(router);
            segment = self.routers[router.0].access.segment;
        }
        routers
    }

    /// A router's NAT for UDP.
    pub fn nat(&self, router: RouterId) -> Option<&Nat> {
        self.routers.get(router.0).map(|router| &router.udp)
    }

    /// What a host has sent and received.
    pub fn traffic(&self, host: HostId) -> Traffic {
        self.trace.traffic(host)
    }

    /// Packets dropped at a place for a reason.
    pub fn dropped(&self, place: Place, reason: DropReason) -> u64 {
        self.trace.dropped(place, reason)
    }

    /// Keeps the last `limit` sights from now on; 0, as at first, keeps none.
    pub fn watch(&mut self, limit: usize) {
        self.trace.watch(limit);
    }

    /// Takes what was seen since the last call, oldest first.
    pub fn take_sights(&mut self) -> Vec<Sight> {
        self.trace.take()
    }

    fn access(&mut self, joined: Joined) -> &mut Access {
        match joined {
            Joined::Router(RouterId(index)) => &mut self.routers[index].access,
            Joined::Host(HostId(index)) => &mut self.hosts[index].access,
        }
    }

    fn nat_mut(&mut self, router: RouterId, transport: Transport) -> &mut Nat {
        let router = &mut self.routers[router.0];
        match transport {
            Transport::Udp => &mut router.udp,
            Transport::Tcp => &mut router.tcp,
        }
    }
}
