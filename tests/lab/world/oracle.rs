//! Which pairs of hosts a hole punch must join.

use std::{collections::BTreeMap, net::IpAddr};

use super::{HostId, Joined, RouterId, Segment, World};
use crate::nat::{Behaviour, Filtering, Mapping, PortAssignment};

impl World {
    /// Whether two hosts must find a direct path over UDP, when each
    /// - has one socket, whose port no other host behind the same NAT uses;
    /// - knows the other's host address and the endpoint that a public server sees (server-reflexive);
    /// - sends to both, and to any endpoint that it hears from, before mappings and permissions expire;
    /// - lets its opening packets die before the other's router (see [`Behaviour::accepts_input`]): with a TTL of 2
    ///   until both have begun, since a neighbour behind the same carrier is no further, then one higher for each
    ///   further router of its own.
    ///
    /// Ports are not predicted and no more sockets are opened: [`Self::tactic_possible`] says where that helps.
    pub fn direct_path_possible(&self, a: HostId, b: HostId) -> bool {
        if [a, b].iter().any(|host| self.hosts[host.0].access.cut) {
            return false;
        }
        self.reaches_host_address(a, b) || self.reaches_host_address(b, a) || self.meet_at_core(a, b)
    }

    /// Whether tactics for hard NATs find a direct path where [`Self::direct_path_possible`] says that checks alone do not:
    /// one side keeps its endpoint, or the ports of both sides' new mappings follow each other. Some of them leave it
    /// to chance, and fail once in fifty times or less. Behind one router nothing is tried.
    pub fn tactic_possible(&self, a: HostId, b: HostId) -> bool {
        let (way_a, way_b) = (self.routers_before(a), self.routers_before(b));
        let shared = way_a.last().is_some_and(|last| way_b.last() == Some(last));
        if shared || self.is_blocked(a, &way_a) || self.is_blocked(b, &way_b) {
            return false;
        }
        let easy = self.side(&way_a).keeps_endpoint || self.side(&way_b).keeps_endpoint;
        easy || self.is_sequential(&way_a) && self.is_sequential(&way_b)
    }

    fn is_blocked(&self, host: HostId, way: &[RouterId]) -> bool {
        let access = &self.hosts[host.0].access;
        access.cut || access.udp_blocked || way.iter().any(|router| self.routers[router.0].access.udp_blocked)
    }

    /// Whether a new mapping's port outside follows from the last one's: the outermost router that chooses ports decides.
    fn is_sequential(&self, way: &[RouterId]) -> bool {
        let chosen = way.iter().rev().map(|router| self.routers[router.0].udp.behaviour());
        let mut chosen = chosen.filter(|nat| nat.ports != PortAssignment::Preserving);
        chosen.next().is_some_and(|nat| {
            // One mapping for each address shows but two ports to a rendezvous with two, too few to see an order in.
            matches!(nat.ports, PortAssignment::Sequential { .. }) && nat.mapping == Mapping::AddressAndPortDependent
        })
    }

    /// Whether packets from `from` find `to` under its own address. Answers always come back: nothing filters
    /// before `to`, and the routers before `from` have just let the question out.
    fn reaches_host_address(&self, from: HostId, to: HostId) -> bool {
        let target = self.address(to);
        let mut blocked = self.hosts[from.0].access.udp_blocked || self.hosts[to.0].access.udp_blocked;
        let mut segment = self.hosts[from.0].access.segment;
        loop {
            if let Some(&found) = self.inhabitants(segment).get(&target) {
                return found == Joined::Host(to) && !blocked;
            }
            let Segment::Inside(router) = segment else { return false };
            let access = &self.routers[router.0].access;
            blocked |= access.udp_blocked;
            segment = access.segment;
        }
    }

    /// Whether both meet by their server-reflexive endpoints, at the core or in the outermost router that they share.
    fn meet_at_core(&self, a: HostId, b: HostId) -> bool {
        let (way_a, way_b) = (self.routers_before(a), self.routers_before(b));
        let blocked = |way: &[RouterId]| way.iter().any(|router| self.routers[router.0].access.udp_blocked);
        if [a, b].iter().any(|host| self.hosts[host.0].access.udp_blocked) || blocked(&way_a) || blocked(&way_b) {
            return false;
        }
        let shared = way_a.last().filter(|last| way_b.last() == Some(last));
        if shared.is_some_and(|router| !self.routers[router.0].udp.behaviour().hairpin) {
            return false;
        }
        // In a shared router no opening dies before the other's NAT: an accepting one lets the earlier side claim the
        // later side's port.
        let spoiled = shared.is_some_and(|router| {
            let nat = self.routers[router.0].udp.behaviour();
            nat.accepts_input && nat.mapping != Mapping::EndpointIndependent
        });
        let (a, b) = (self.side(&way_a), self.side(&way_b));
        match (a.keeps_endpoint, b.keeps_endpoint) {
            // Each opens its filters for just the endpoint that the other's packets come from.
            (true, true) => !spoiled || (a.admits_new_port && b.admits_new_port),
            // The second one's packets come from an endpoint nobody knew, and are answered if they get in.
            (true, false) => a.admits_new_port,
            (false, true) => b.admits_new_port,
            // One must be open on the endpoint that the server saw, from which it then does not answer.
            (false, false) => (a.open && b.admits_new_port) || (b.open && a.admits_new_port),
        }
    }

    fn side(&self, way: &[RouterId]) -> Side {
        let mut side = Side { keeps_endpoint: true, admits_new_port: true, open: true };
        for router in way {
            let nat = self.routers[router.0].udp.behaviour();
            side.keeps_endpoint &= keeps_endpoint(nat);
            side.admits_new_port &= admits_new_port(nat);
            // What was sent to the peer opens a filter on the server's way only where both ways are still one.
            let permitted = side.keeps_endpoint && admits_new_port(nat);
            side.open &= nat.filtering == Filtering::EndpointIndependent || permitted;
        }
        side
    }

    fn inhabitants(&self, segment: Segment) -> &BTreeMap<IpAddr, Joined> {
        match segment {
            Segment::Core => &self.core,
            Segment::Inside(router) => &self.routers[router.0].inside,
        }
    }
}

/// What all the routers on one side amount to.
struct Side {
    /// Packets to the peer leave from the endpoint that the server saw.
    keeps_endpoint: bool,
    /// Where a packet to an address has gone out, packets from its other ports come in. (Pooling is paired, so a
    /// peer's address is known even where its port is not.)
    admits_new_port: bool,
    /// The peer's packets come in at the endpoint that the server saw, from whatever port.
    open: bool,
}

/// A destination-dependent NAT that preserves ports keeps the endpoint too, as long as the port is free.
fn keeps_endpoint(nat: &Behaviour) -> bool {
    nat.mapping == Mapping::EndpointIndependent || nat.ports == PortAssignment::Preserving
}

fn admits_new_port(nat: &Behaviour) -> bool {
    nat.filtering != Filtering::AddressAndPortDependent
}
