//! How a packet goes from place to place.

use std::{net::IpAddr, time::Instant};

use super::{Arrival, DropReason, HostId, Joined, Moment, Place, RouterId, Segment, World, topology::CORE_ADDRESS};
use crate::{
    link::Refusal,
    packet::{Packet, Transport},
};

impl World {
    pub(super) fn leave_host(&mut self, now: Instant, host: HostId, mut packet: Packet) {
        let addresses = &self.hosts[host.0].addresses;
        if packet.src.ip().is_unspecified() {
            let first = addresses.iter().find(|address| address.is_ipv4() == packet.dst.is_ipv4());
            packet.src.set_ip(first.copied().unwrap_or(packet.src.ip()));
        }
        let mine = addresses.contains(&packet.src.ip());
        let to_itself = addresses.contains(&packet.dst.ip());
        let place = Place::Host(host);
        self.trace.note(now, place, Moment::Sent, &packet);
        if !mine {
            self.drop_at(now, place, DropReason::NotMine, &packet);
        } else if to_itself {
            self.schedule(now, Arrival::Host(host), packet);
        } else {
            self.go_up(now, Joined::Host(host), packet);
        }
    }

    /// What happens when the packet gets there; a delivery if that is a host.
    pub(super) fn arrive(&mut self, at: Instant, arrival: Arrival, packet: Packet) -> Option<(HostId, Packet)> {
        match arrival {
            Arrival::Host(host) => {
                let place = Place::Host(host);
                // The address may have changed while the packet was under way.
                if !self.hosts[host.0].addresses.contains(&packet.dst.ip()) {
                    self.drop_at(at, place, DropReason::NoRoute, &packet);
                    return None;
                }
                self.trace.note(at, place, Moment::Received, &packet);
                return Some((host, packet));
            }
            Arrival::Segment(Segment::Core) => self.pass_core(at, packet),
            Arrival::Segment(Segment::Inside(router)) => match self.routers[router.0].inside.get(&packet.dst.ip()) {
                // The LAN is a switch: no hop.
                Some(&neighbour) => self.go_down(at, neighbour, packet),
                None => self.pass_outward(at, router, packet),
            },
            Arrival::Router(router) => self.pass_inward(at, router, packet),
        }
        None
    }

    fn pass_core(&mut self, at: Instant, mut packet: Packet) {
        if !spend_hop(&mut packet) {
            return self.expire(at, Place::Core, CORE_ADDRESS, packet);
        }
        match self.core.get(&packet.dst.ip()) {
            Some(&joined) => self.go_down(at, joined, packet),
            None => self.drop_at(at, Place::Core, DropReason::NoRoute, &packet),
        }
    }

    /// From a router's inside.
    fn pass_outward(&mut self, at: Instant, id: RouterId, mut packet: Packet) {
        let place = Place::Router(id);
        let gateway = self.routers[id.0].gateway;
        if packet.dst.ip() == gateway {
            return self.drop_at(at, place, DropReason::NoRoute, &packet);
        }
        if !spend_hop(&mut packet) {
            return self.expire(at, place, gateway, packet);
        }
        // A notice from a router within: its quotation would need translation as well. No test needs it.
        if packet.expired_toward.is_some() {
            return self.drop_at(at, place, DropReason::Refused, &packet);
        }
        let nat = self.nat_mut(id, packet.transport);
        if nat.external().contains(&packet.dst.ip()) {
            match nat.hairpin(at, packet.src, packet.dst) {
                Some((src, dst)) => self.go_inside(at, id, Packet { src, dst, ..packet }),
                None => self.drop_at(at, place, DropReason::Filtered, &packet),
            }
        } else {
            match nat.outbound(at, packet.src, packet.dst) {
                Some(src) => self.go_up(at, Joined::Router(id), Packet { src, ..packet }),
                None => self.drop_at(at, place, DropReason::Refused, &packet),
            }
        }
    }

    /// From a router's outside.
    fn pass_inward(&mut self, at: Instant, id: RouterId, mut packet: Packet) {
        let place = Place::Router(id);
        let nat = self.nat_mut(id, packet.transport);
        if !nat.external().contains(&packet.dst.ip()) {
            return self.drop_at(at, place, DropReason::NoRoute, &packet);
        }
        let internal = match packet.expired_toward {
            Some(target) => nat.sender_of(at, packet.dst, target),
            None => nat.inbound(at, packet.src, packet.dst),
        };
        let Some(internal) = internal else {
            return self.drop_at(at, place, DropReason::Filtered, &packet);
        };
        if !spend_hop(&mut packet) {
            return self.expire(at, place, packet.dst.ip(), packet);
        }
        self.go_inside(at, id, Packet { dst: internal, ..packet });
    }

    fn go_inside(&mut self, at: Instant, id: RouterId, packet: Packet) {
        match self.routers[id.0].inside.get(&packet.dst.ip()) {
            Some(&joined) => self.go_down(at, joined, packet),
            None => self.drop_at(at, Place::Router(id), DropReason::NoRoute, &packet),
        }
    }

    /// From a host or router onto its segment.
    fn go_up(&mut self, at: Instant, from: Joined, packet: Packet) {
        let arrival = Arrival::Segment(self.access(from).segment);
        self.carry(at, from, true, arrival, packet);
    }

    /// From a segment to a host or router that is joined to it.
    fn go_down(&mut self, at: Instant, to: Joined, packet: Packet) {
        let arrival = match to {
            Joined::Host(host) => Arrival::Host(host),
            Joined::Router(router) => Arrival::Router(router),
        };
        self.carry(at, to, false, arrival, packet);
    }

    fn carry(&mut self, at: Instant, joined: Joined, up: bool, arrival: Arrival, packet: Packet) {
        let access = self.access(joined);
        let blocked = access.cut || (access.udp_blocked && packet.transport == Transport::Udp);
        let line = if up { &mut access.up } else { &mut access.down };
        let outcome = if blocked { Err(DropReason::Blocked) } else { line.carry(at, &packet).map_err(reason) };
        match outcome {
            Ok((first, copy)) => {
                if let Some(second) = copy {
                    self.schedule(second, arrival, packet.clone());
                }
                self.schedule(first, arrival, packet);
            }
            Err(reason) => self.drop_at(at, joined.into(), reason, &packet),
        }
    }

    fn schedule(&mut self, at: Instant, arrival: Arrival, packet: Packet) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (arrival, packet));
    }

    fn drop_at(&mut self, at: Instant, place: Place, reason: DropReason, packet: &Packet) {
        self.trace.note(at, place, Moment::Dropped(reason), packet);
    }

    /// The packet's TTL ran out at a hop, which tells the sender unless that was itself a notice (RFC 1122 3.2.2).
    fn expire(&mut self, at: Instant, place: Place, hop: IpAddr, packet: Packet) {
        self.drop_at(at, place, DropReason::Expired, &packet);
        if !self.notices || packet.expired_toward.is_some() || !packet.dst.is_ipv4() {
            return;
        }
        let notice = packet.time_exceeded(hop);
        match place {
            Place::Router(id) if self.routers[id.0].gateway == hop => self.go_inside(at, id, notice),
            Place::Router(id) => self.go_up(at, Joined::Router(id), notice),
            Place::Core => match self.core.get(&notice.dst.ip()) {
                Some(&sender) => self.go_down(at, sender, notice),
                None => self.drop_at(at, place, DropReason::NoRoute, &notice),
            },
            Place::Host(_) => {}
        }
    }
}

impl From<Joined> for Place {
    fn from(joined: Joined) -> Self {
        match joined {
            Joined::Host(host) => Self::Host(host),
            Joined::Router(router) => Self::Router(router),
        }
    }
}

/// Whether a router may forward the packet, whose TTL it then lowers.
fn spend_hop(packet: &mut Packet) -> bool {
    packet.ttl = packet.ttl.saturating_sub(1);
    packet.ttl > 0
}

fn reason(refusal: Refusal) -> DropReason {
    match refusal {
        Refusal::TooBig => DropReason::TooBig,
        Refusal::QueueFull => DropReason::QueueFull,
        Refusal::Lost => DropReason::Lost,
    }
}
