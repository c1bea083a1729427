//! Changing the world while it runs: lines, cables, addresses, mappings.

use std::{net::IpAddr, time::Duration};

use super::{Access, HostId, Joined, RouterId, Segment, World};
use crate::link::Link;

impl World {
    /// Replaces the line of a host's site, both ways: the host's own, or that of the outermost router before it.
    pub fn set_link(&mut self, host: HostId, link: Link) {
        let access = self.site_access(host);
        access.up.link = link;
        access.down.link = link;
    }

    /// The line of a host's site.
    pub fn link(&self, host: HostId) -> Link {
        match self.site(host) {
            Joined::Router(RouterId(index)) => self.routers[index].access.up.link,
            Joined::Host(HostId(index)) => self.hosts[index].access.up.link,
        }
    }

    /// The share of packets lost on the line of a host's site, in each direction.
    pub fn set_loss(&mut self, host: HostId, loss: f64) {
        let link = Link { loss, ..self.link(host) };
        self.set_link(host, link);
    }

    /// The time that the line of a host's site takes, in each direction.
    pub fn set_delay(&mut self, host: HostId, delay: Duration) {
        let link = Link { delay, ..self.link(host) };
        self.set_link(host, link);
    }

    /// Pulls the host's own cable, or puts it back: with it pulled, everything to and from the host vanishes.
    pub fn set_cut(&mut self, host: HostId, cut: bool) {
        self.access(Joined::Host(host)).cut = cut;
    }

    /// Lets no UDP pass the line of a host's site, as some offices do. TCP and the LAN go on.
    pub fn set_udp_blocked(&mut self, host: HostId, blocked: bool) {
        self.site_access(host).udp_blocked = blocked;
    }

    /// Whether hops report a TTL that ran out (RFC 792); they do unless told otherwise. Many carriers' do not.
    pub fn set_notices(&mut self, notices: bool) {
        self.notices = notices;
    }

    /// Gives a public host one more address, say for the second one of RFC 5780.
    pub fn add_address(&mut self, host: HostId) -> IpAddr {
        let address = self.next_address(host);
        let segment = self.hosts[host.0].access.segment;
        self.hosts[host.0].addresses.push(address);
        self.table(segment).insert(address, Joined::Host(host));
        address
    }

    /// A host loses all its addresses for a new one on the same segment.
    pub fn change_address(&mut self, host: HostId) -> IpAddr {
        let address = self.next_address(host);
        let segment = self.hosts[host.0].access.segment;
        for old in std::mem::replace(&mut self.hosts[host.0].addresses, vec![address]) {
            self.table(segment).remove(&old);
        }
        self.table(segment).insert(address, Joined::Host(host));
        address
    }

    /// A router forgets its mappings, and gives none of the external endpoints out again that they had.
    pub fn rebind_ports(&mut self, router: RouterId) {
        self.routers[router.0].udp.rebind(None);
        self.routers[router.0].tcp.rebind(None);
    }

    /// A router gets one new external address, and forgets its mappings.
    pub fn rebind_address(&mut self, router: RouterId) -> IpAddr {
        let segment = self.routers[router.0].access.segment;
        let address = match segment {
            Segment::Core => self.addresses.next_router(),
            Segment::Inside(outer) => self.next_inside(outer),
        };
        for old in self.routers[router.0].udp.external().to_vec() {
            self.table(segment).remove(&old);
        }
        self.table(segment).insert(address, Joined::Router(router));
        self.routers[router.0].udp.rebind(Some(vec![address]));
        self.routers[router.0].tcp.rebind(Some(vec![address]));
        address
    }

    /// Who of a host's site is joined to the core.
    fn site(&self, host: HostId) -> Joined {
        self.routers_before(host).last().map_or(Joined::Host(host), |&router| Joined::Router(router))
    }

    /// The line between a host's site and the core.
    fn site_access(&mut self, host: HostId) -> &mut Access {
        self.access(self.site(host))
    }
}
