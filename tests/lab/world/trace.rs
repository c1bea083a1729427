//! What the world remembers of its packets: counters always, single sights when asked.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use super::{HostId, RouterId};
use crate::packet::{Packet, Transport};

/// Somewhere in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The router in the middle.
    Core,
    /// A router with a NAT.
    Router(RouterId),
    /// A host.
    Host(HostId),
}

/// Why a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Lost on the line.
    Lost,
    /// The line's queue was full.
    QueueFull,
    /// Longer than the line's MTU.
    TooBig,
    /// The cable is pulled, or UDP is blocked.
    Blocked,
    /// Its TTL ran out.
    Expired,
    /// A NAT had no port or no room for it.
    Refused,
    /// A NAT did not let it in or turn it round.
    Filtered,
    /// Nobody has that address here.
    NoRoute,
    /// Its source is not an address of the host that sent it.
    NotMine,
}

/// What happened to a packet at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The host sent it.
    Sent,
    /// The host received it.
    Received,
    /// It went no further.
    Dropped(DropReason),
}

/// One packet seen at one place. Addresses are those of that stretch of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// When.
    pub at: Instant,
    /// Where. What is lost on a line was seen at the near end.
    pub place: Place,
    /// What.
    pub moment: Moment,
    /// The packet's source.
    pub src: SocketAddr,
    /// The packet's destination.
    pub dst: SocketAddr,
    /// UDP or TCP, or what an ICMP notice is about.
    pub transport: Transport,
    /// Whether it is an ICMP notice.
    pub notice: bool,
    /// The TTL it had there.
    pub ttl: u8,
    /// Bytes with the IP header.
    pub len: usize,
}

/// A host's packets and their bytes with IP headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets out.
    pub sent_packets: u64,
    /// Bytes out.
    pub sent_bytes: u64,
    /// Packets in.
    pub received_packets: u64,
    /// Bytes in.
    pub received_bytes: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    traffic: BTreeMap<HostId, Traffic>,
    dropped: BTreeMap<(Place, DropReason), u64>,
    sights: VecDeque<Sight>,
    limit: usize,
}

impl Trace {
    pub(super) fn note(&mut self, at: Instant, place: Place, moment: Moment, packet: &Packet) {
        let len = packet.wire_len();
        match (moment, place) {
            (Moment::Dropped(reason), _) => *self.dropped.entry((place, reason)).or_default() += 1,
            (Moment::Sent, Place::Host(host)) => {
                let traffic = self.traffic.entry(host).or_default();
                traffic.sent_packets += 1;
                traffic.sent_bytes += len as u64;
            }
            (Moment::Received, Place::Host(host)) => {
                let traffic = self.traffic.entry(host).or_default();
                traffic.received_packets += 1;
                traffic.received_bytes += len as u64;
            }
            (Moment::Sent | Moment::Received, Place::Core | Place::Router(_)) => {}
        }
        if self.limit == 0 {
            return;
        }
        if self.sights.len() >= self.limit {
            self.sights.pop_front();
        }
        let Packet { src, dst, ttl, transport, .. } = *packet;
        let notice = packet.expired_toward.is_some();
        self.sights.push_back(Sight { at, place, moment, src, dst, transport, notice, ttl, len });
    }

    pub(super) fn traffic(&self, host: HostId) -> Traffic {
        self.traffic.get(&host).copied().unwrap_or_default()
    }

    pub(super) fn dropped(&self, place: Place, reason: DropReason) -> u64 {
        self.dropped.get(&(place, reason)).copied().unwrap_or_default()
    }

    pub(super) fn watch(&mut self, limit: usize) {
        self.limit = limit;
        self.sights.truncate(limit);
    }

    pub(super) fn take(&mut self) -> Vec<Sight> {
        self.sights.drain(..).collect()
    }
}
