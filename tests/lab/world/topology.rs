//! Building the world: who is joined to what, and under which addresses.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rand_chacha::rand_core::Rng;

use super::{Access, Host, HostId, Joined, Router, RouterId, World};
use crate::{
    link::{Line, Link},
    nat::{Behaviour, Expiry, Nat},
};

/// What the core calls itself in its notices.
pub(super) const CORE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What hosts and routers are joined to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The public internet.
    Core,
    /// The LAN inside a router.
    Inside(RouterId),
}

/// Which addresses are given out next.
#[derive(Clone, Debug, Default)]
pub(super) struct AddressPlan {
    hosts: u32,
    routers: u32,
    lans: u32,
    carriers: u32,
}

/// Building.
impl World {
    /// A host on the public internet, 198.51.100.x.
    pub fn public_host(&mut self) -> HostId {
        let address = self.addresses.next_host();
        self.attach_host(Segment::Core, address, Link::SITE)
    }

    /// A host behind a router of its own, or on the public internet for a NAT of `None`.
    pub fn host_behind(&mut self, nat: impl Into<Option<Behaviour>>) -> HostId {
        self.host_on(Segment::Core, nat.into())
    }

    /// `count` hosts on one LAN behind one router; without a NAT, that many public hosts.
    ///
    /// # Panics
    /// On more than 253, which a /24 does not hold beside its gateway.
    pub fn hosts_on_one_lan(&mut self, count: usize, nat: impl Into<Option<Behaviour>>) -> Vec<HostId> {
        assert!(count <= 253, "a LAN holds 253 hosts, not {count}");
        match nat.into() {
            None => (0..count).map(|_| self.public_host()).collect(),
            Some(nat) => {
                let router = self.home(Segment::Core, nat);
                (0..count).map(|_| self.lan_host(router)).collect()
            }
        }
    }

    /// A host behind a home router behind a carrier's. A NAT of `None` leaves its router out.
    pub fn double_nat(&mut self, inner: impl Into<Option<Behaviour>>, outer: impl Into<Option<Behaviour>>) -> HostId {
        let segment = self.carrier_or_core(outer.into());
        self.host_on(segment, inner.into())
    }

    /// Hosts, each behind a home router of its own, all behind one carrier's. A NAT of `None` leaves its router out.
    pub fn homes_behind_one_carrier<Nat: Into<Option<Behaviour>>>(
        &mut self,
        inner: impl IntoIterator<Item = Nat>,
        outer: impl Into<Option<Behaviour>>,
    ) -> Vec<HostId> {
        let segment = self.carrier_or_core(outer.into());
        inner.into_iter().map(|nat| self.host_on(segment, nat.into())).collect()
    }

    /// A host that is itself a router, of which the world knows nothing more: 203.0.113.x on the core. With it the
    /// gateway address of a LAN that it may have inside, 192.168.x.0/24.
    pub fn opaque_router(&mut self) -> (HostId, IpAddr) {
        let address = self.addresses.next_router();
        (self.attach_host(Segment::Core, address, Link::SITE), self.addresses.next_lan())
    }

    /// A carrier's router on the core, 203.0.113.x, with 100.64.x.0/24 inside.
    pub fn carrier(&mut self, nat: Behaviour) -> RouterId {
        let lan = self.addresses.next_carrier();
        let external = self.addresses.next_router();
        self.attach_router(Segment::Core, nat, vec![external], lan, Link::SITE)
    }

    /// A home router on a segment, with 192.168.x.0/24 inside. Its line is a site's if it is on the core.
    pub fn home(&mut self, segment: Segment, nat: Behaviour) -> RouterId {
        let lan = self.addresses.next_lan();
        let (external, link) = match segment {
            Segment::Core => (self.addresses.next_router(), Link::SITE),
            Segment::Inside(router) => (self.next_inside(router), Link::WIRE),
        };
        self.attach_router(segment, nat, vec![external], lan, link)
    }

    /// Another host on the LAN of a router.
    pub fn lan_host(&mut self, router: RouterId) -> HostId {
        let address = self.next_inside(router);
        self.attach_host(Segment::Inside(router), address, Link::WIRE)
    }

    /// A host at an address of the caller's choice, which nobody else on the segment may have.
    pub fn attach_host(&mut self, segment: Segment, address: IpAddr, link: Link) -> HostId {
        let id = HostId(self.hosts.len());
        let access = self.new_access(segment, link);
        self.hosts.push(Host { addresses: vec![address], access });
        self.table(segment).insert(address, Joined::Host(id));
        id
    }

    /// A router with external addresses and an inside address of the caller's choice. For TCP it behaves as for
    /// UDP, with TCP's lifetimes.
    pub fn attach_router(
        &mut self,
        segment: Segment,
        nat: Behaviour,
        external: Vec<IpAddr>,
        gateway: IpAddr,
        link: Link,
    ) -> RouterId {
        let id = RouterId(self.routers.len());
        for &address in &external {
            self.table(segment).insert(address, Joined::Router(id));
        }
        let udp = Nat::new(nat, external.clone(), self.rng.next_u64());
        let tcp = Nat::new(Behaviour { expiry: Expiry::TCP, ..nat }, external, self.rng.next_u64());
        let access = self.new_access(segment, link);
        self.routers.push(Router { udp, tcp, gateway, inside: BTreeMap::new(), access });
        id
    }
}

/// Details of building, which changing shares.
impl World {
    fn host_on(&mut self, segment: Segment, nat: Option<Behaviour>) -> HostId {
        match (nat, segment) {
            (Some(nat), _) => {
                let router = self.home(segment, nat);
                self.lan_host(router)
            }
            (None, Segment::Inside(router)) => self.lan_host(router),
            (None, Segment::Core) => self.public_host(),
        }
    }

    fn carrier_or_core(&mut self, nat: Option<Behaviour>) -> Segment {
        nat.map_or(Segment::Core, |nat| Segment::Inside(self.carrier(nat)))
    }

    fn new_access(&mut self, segment: Segment, link: Link) -> Access {
        let mut line = || Line::new(link, self.rng.next_u64());
        Access { segment, up: line(), down: line(), cut: false, udp_blocked: false }
    }

    pub(super) fn table(&mut self, segment: Segment) -> &mut BTreeMap<IpAddr, Joined> {
        match segment {
            Segment::Core => &mut self.core,
            Segment::Inside(router) => &mut self.routers[router.0].inside,
        }
    }

    pub(super) fn next_address(&mut self, host: HostId) -> IpAddr {
        match self.hosts[host.0].access.segment {
            Segment::Core => self.addresses.next_host(),
            Segment::Inside(router) => self.next_inside(router),
        }
    }

    /// The address after the highest one that the LAN has, or its gateway's.
    pub(super) fn next_inside(&self, router: RouterId) -> IpAddr {
        let router = &self.routers[router.0];
        let last = router.inside.keys().next_back().copied().unwrap_or(router.gateway);
        match last.max(router.gateway) {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() + 1)),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() + 1)),
        }
    }
}

impl AddressPlan {
    fn next_host(&mut self) -> IpAddr {
        self.hosts += 1;
        public([198, 51, 100], [198, 18], self.hosts)
    }

    pub(super) fn next_router(&mut self) -> IpAddr {
        self.routers += 1;
        public([203, 0, 113], [198, 19], self.routers)
    }

    /// The gateway of another 192.168.x.0/24. After 256 of them they begin again, as homes' do.
    fn next_lan(&mut self) -> IpAddr {
        let [.., number] = self.lans.to_be_bytes();
        self.lans += 1;
        IpAddr::V4(Ipv4Addr::new(192, 168, number, 1))
    }

    /// The gateway of another 100.64.x.0/24, beginning again likewise.
    fn next_carrier(&mut self) -> IpAddr {
        let [.., number] = self.carriers.to_be_bytes();
        self.carriers += 1;
        IpAddr::V4(Ipv4Addr::new(100, 64, number, 1))
    }
}

/// The documentation /24 for the first 254 (RFC 5737), the benchmarking /16 for 64,770 more (RFC 2544). None ends in 0 or 255: to
/// the kernel those of a /24 are broadcast addresses, and what comes to one of its own is not translated.
fn public([a, b, c]: [u8; 3], [d, e]: [u8; 2], number: u32) -> IpAddr {
    let [.., high] = (number.saturating_sub(1) / 254).to_be_bytes();
    let [.., low] = (number.saturating_sub(1) % 254 + 1).to_be_bytes();
    IpAddr::V4(if high == 0 { Ipv4Addr::new(a, b, c, low) } else { Ipv4Addr::new(d, e, high, low) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_public_address_is_given_twice_or_is_a_broadcast_address_of_its_network() {
        let mut plan = AddressPlan::default();
        let given: Vec<_> = (0..3000).map(|_| plan.next_router()).collect();
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
        for address in given {
            let IpAddr::V4(v4) = address else { panic!("{address}") };
            assert!(!matches!(v4.octets()[3], 0 | 255), "{v4}");
        }
    }
}
