//! A NAT in the terms of RFC 4787: mapping × filtering × port assignment × expiry, with hairpinning and the ways of
//! Linux' connection tracking. Pure: packets' times come in as arguments, chance as a seed.
//!
//! Pooling is always *paired* (RFC 4787 REQ-2): with several external addresses, one inside address keeps to one of them.

mod behaviour;
mod expiry;
mod kind;
mod ports;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

pub use behaviour::{Behaviour, Filtering, Mapping};
pub use expiry::Expiry;
pub use kind::NatKind;
pub use ports::PortAssignment;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

/// What a NAT has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Mappings made.
    pub created: u64,
    /// Outgoing packets dropped: no port was free, or the table was full.
    pub refused: u64,
    /// Incoming packets dropped: no mapping, or its filter forbids the sender.
    pub filtered: u64,
    /// Pairs of endpoints claimed by packets to the router itself.
    pub claimed: u64,
}

/// One NAT at work.
#[derive(Clone, Debug)]
pub struct Nat {
    behaviour: Behaviour,
    external: Vec<IpAddr>,
    rng: ChaCha8Rng,
    entries: BTreeMap<Key, Entry>,
    by_external: BTreeMap<SocketAddr, BTreeSet<Key>>,
    /// (external endpoint, stranger) → last packet.
    claims: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    /// External endpoints that the last rebinding took away.
    resting: BTreeSet<SocketAddr>,
    ports: ports::Cursor,
    /// Pairs of (mapping, destination) in the table.
    sessions: usize,
    last_sweep: Option<Instant>,
    counts: Counts,
}

/// Whose packets an entry translates: one inside endpoint's, toward some destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    internal: SocketAddr,
    toward: Toward,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Toward {
    Anyone,
    Address(IpAddr),
    Endpoint(SocketAddr),
}

#[derive(Clone, Debug)]
struct Entry {
    external: SocketAddr,
    /// Its place in the order of creation.
    serial: u64,
    age: expiry::Age,
    /// Destination → last packet that kept it.
    permitted: BTreeMap<SocketAddr, Instant>,
}

impl Nat {
    /// A NAT with these external addresses. Without any it lets nothing out.
    pub fn new(behaviour: Behaviour, external: Vec<IpAddr>, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let ports = ports::Cursor::new(&mut rng);
        Self {
            behaviour,
            external,
            rng,
            entries: BTreeMap::new(),
            by_external: BTreeMap::new(),
            claims: BTreeMap::new(),
            resting: BTreeSet::new(),
            ports,
            sessions: 0,
            last_sweep: None,
            counts: Counts::default(),
        }
    }

    /// What it was made with.
    pub fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// Its addresses on the outside.
    pub fn external(&self) -> &[IpAddr] {
        &self.external
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Mappings alive at `now`.
    pub fn mappings(&self, now: Instant) -> usize {
        self.entries.values().filter(|entry| self.behaviour.expiry.keeps(&entry.age, now)).count()
    }

    /// A packet leaves: the source that it has outside, or `None` when it is dropped.
    pub fn outbound(&mut self, now: Instant, src: SocketAddr, dst: SocketAddr) -> Option<SocketAddr> {
        let key = self.key(src, dst);
        self.remove_if_dead(now, key);
        let known = self.entries.get(&key);
        let session_is_new = known.is_none_or(|entry| !entry.permitted.contains_key(&dst));
        if session_is_new && !self.has_room(now) {
            self.counts.refused += 1;
            return None;
        }
        if !self.entries.contains_key(&key) {
            let Some(external) = self.assign(now, key, dst) else {
                self.counts.refused += 1;
                return None;
            };
            self.counts.created += 1;
            self.by_external.entry(external).or_default().insert(key);
            let (serial, age) = (self.counts.created, expiry::Age::new(now));
            self.entries.insert(key, Entry { external, serial, age, permitted: BTreeMap::new() });
        }
        let entry = self.entries.get_mut(&key)?;
        entry.age.refresh(now);
        if entry.permitted.insert(dst, now).is_none() {
            self.sessions += 1;
        }
        Some(entry.external)
    }

    /// A packet comes to an external endpoint: whom it is for inside, or `None` when it is dropped.
    pub fn inbound(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let Some(key) = self.admitting(now, from, to) else {
            if self.behaviour.accepts_input {
                self.claim(now, to, from);
            }
            self.counts.filtered += 1;
            return None;
        };
        let expiry = self.behaviour.expiry;
        let entry = self.entries.get_mut(&key)?;
        entry.age.reply();
        if expiry.refreshed_inbound {
            entry.age.refresh(now);
            if let Some(last) = entry.permitted.get_mut(&from) {
                *last = now;
            }
        }
        Some(key.internal)
    }

    /// A packet from inside to an external endpoint of this NAT: its source and destination when it is turned round
    /// (RFC 4787 REQ-9: the source is the external one), or `None` when it is dropped.
    pub fn hairpin(&mut self, now: Instant, src: SocketAddr, dst: SocketAddr) -> Option<(SocketAddr, SocketAddr)> {
        if !self.behaviour.hairpin {
            self.counts.filtered += 1;
            return None;
        }
        let external = self.outbound(now, src, dst)?;
        Some((external, self.inbound(now, external, dst)?))
    }

    /// Who inside sends to `remote` from `external`: for ICMP errors, which pass whatever the filter (RFC 4787 REQ-10).
    pub fn sender_of(&self, now: Instant, external: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let serves = |key: &&Key| {
            let entry = self.entries.get(*key);
            entry.is_some_and(|entry| {
                self.behaviour.expiry.keeps(&entry.age, now) && entry.permitted.contains_key(&remote)
            })
        };
        self.by_external.get(&external)?.iter().find(serves).map(|key| key.internal)
    }

    /// The table is lost, as after a restart or a new lease. The external endpoints that were in use are not given
    /// out again before the next rebinding, so every mapping moves. `addresses` replaces the external ones.
    pub fn rebind(&mut self, addresses: Option<Vec<IpAddr>>) {
        self.resting = self.by_external.keys().copied().collect();
        self.entries.clear();
        self.by_external.clear();
        self.claims.clear();
        self.ports.release_blocks();
        self.sessions = 0;
        if let Some(addresses) = addresses {
            self.external = addresses;
        }
    }

    fn key(&self, internal: SocketAddr, dst: SocketAddr) -> Key {
        let toward = match self.behaviour.mapping {
            Mapping::EndpointIndependent => Toward::Anyone,
            Mapping::AddressDependent => Toward::Address(dst.ip()),
            Mapping::AddressAndPortDependent => Toward::Endpoint(dst),
        };
        Key { internal, toward }
    }

    /// The mapping at `to` that lets `from` in.
    fn admitting(&self, now: Instant, from: SocketAddr, to: SocketAddr) -> Option<Key> {
        let keys = self.by_external.get(&to)?;
        // With overloading several fit; the one that was made for the sender comes first.
        let own = |key: &&Key| key.toward == Toward::Endpoint(from) || key.toward == Toward::Address(from.ip());
        let admits = |key: &&Key| self.entries.get(*key).is_some_and(|entry| self.admits(now, entry, from));
        keys.iter().filter(own).find(admits).or_else(|| keys.iter().find(admits)).copied()
    }

    fn admits(&self, now: Instant, entry: &Entry, from: SocketAddr) -> bool {
        let expiry = &self.behaviour.expiry;
        let fresh = |last: &Instant| expiry.keeps_since(&entry.age, *last, now);
        expiry.keeps(&entry.age, now)
            && match self.behaviour.filtering {
                Filtering::EndpointIndependent => true,
                Filtering::AddressDependent => {
                    entry.permitted.iter().any(|(to, last)| to.ip() == from.ip() && fresh(last))
                }
                Filtering::AddressAndPortDependent => entry.permitted.get(&from).is_some_and(fresh),
            }
    }

    fn claim(&mut self, now: Instant, external: SocketAddr, stranger: SocketAddr) {
        if self.claims.len() >= self.behaviour.capacity && self.may_sweep(now) {
            self.claims.retain(|_, last| now.duration_since(*last) < self.behaviour.expiry.unanswered);
        }
        if self.claims.len() < self.behaviour.capacity {
            self.counts.claimed += u64::from(self.claims.insert((external, stranger), now).is_none());
        }
    }

    fn remove_if_dead(&mut self, now: Instant, key: Key) {
        let dead = |entry: &Entry| !self.behaviour.expiry.keeps(&entry.age, now);
        if !self.entries.get(&key).is_some_and(dead) {
            return;
        }
        if let Some(entry) = self.entries.remove(&key) {
            self.sessions -= entry.permitted.len();
            if let Some(keys) = self.by_external.get_mut(&entry.external) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.by_external.remove(&entry.external);
                }
            }
        }
    }

    /// At most one sweep a second: a flood must not make each packet walk the table.
    fn may_sweep(&mut self, now: Instant) -> bool {
        let due = self.last_sweep.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1));
        if due {
            self.last_sweep = Some(now);
        }
        due
    }

    /// Whether another session fits, after a sweep if need be.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.sessions < self.behaviour.capacity {
            return true;
        }
        if self.may_sweep(now) {
            let keys: Vec<Key> = self.entries.keys().copied().collect();
            for key in keys {
                self.remove_if_dead(now, key);
            }
            let expiry = self.behaviour.expiry;
            for entry in self.entries.values_mut() {
                let before = entry.permitted.len();
                let age = &entry.age;
                entry.permitted.retain(|_, last| expiry.keeps_since(age, *last, now));
                self.sessions -= before - entry.permitted.len();
            }
        }
        self.sessions < self.behaviour.capacity
    }
}
