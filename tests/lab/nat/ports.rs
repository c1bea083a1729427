//! Which external port a new mapping is given.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Instant,
};

use rand_chacha::{ChaCha8Rng, rand_core::Rng};

use super::{Key, Nat, Toward};

/// Ports that a NAT gives out: not the well-known ones (RFC 4787 section 4.2.1).
const DYNAMIC: RangeInclusive<u16> = 1024..=65535;

/// How the port of a new mapping is chosen (RFC 4787 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortAssignment {
    /// The inside port. If another inside endpoint has it, a random one. An inside endpoint's further mappings take
    /// the port of its latest, so a destination-dependent mapping looks endpoint-independent while nothing collides,
    /// and after a collision everything new follows to the other port.
    Preserving,
    /// The last one given out plus `step`, from 65535 on to 1024; what is taken is passed over.
    Sequential {
        /// From 1.
        step: u16,
    },
    /// A random one of a contiguous block that belongs to the inside address alone. A full block is not extended.
    Block {
        /// Ports in a block, 1 to 64,512.
        size: u16,
    },
    /// Any.
    Random,
}

/// Where assignment stands between two mappings.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    next: u16,
    blocks: BTreeMap<IpAddr, u16>,
}

impl Cursor {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        Self { next: random_port(rng), blocks: BTreeMap::new() }
    }

    pub(super) fn release_blocks(&mut self) {
        self.blocks.clear();
    }
}

impl Nat {
    /// An external endpoint for a new mapping; `None` when all are taken.
    pub(super) fn assign(&mut self, now: Instant, key: Key, dst: SocketAddr) -> Option<SocketAddr> {
        let ip = self.paired_address(key.internal.ip())?;
        match self.behaviour.ports {
            PortAssignment::Preserving => {
                let from = Key { internal: key.internal, toward: Toward::Anyone };
                let own = self.entries.range(from..).take_while(|(other, _)| other.internal == key.internal);
                let latest = own.max_by_key(|(_, entry)| entry.serial).map(|(_, entry)| entry.external.port());
                let wanted = latest.into_iter().chain([key.internal.port()]);
                self.first_free(now, ip, wanted, key, dst).or_else(|| self.random_free(now, ip, key, dst))
            }
            PortAssignment::Random => self.random_free(now, ip, key, dst),
            PortAssignment::Sequential { step } => {
                let first = self.ports.next;
                let ports = (0..DYNAMIC.len()).scan(first, |port, _| {
                    let present = *port;
                    *port = advance(present, step.max(1));
                    Some(present)
                });
                let chosen = self.first_free(now, ip, ports, key, dst)?;
                self.ports.next = advance(chosen.port(), step.max(1));
                Some(chosen)
            }
            PortAssignment::Block { size } => {
                let block = self.block(key.internal.ip(), size.max(1))?;
                let offset = (self.rng.next_u32() % u32::from(size.max(1))) as u16;
                let ports =
                    (0..size).map(|step| block + ((u32::from(offset) + u32::from(step)) % u32::from(size)) as u16);
                self.first_free(now, ip, ports, key, dst)
            }
        }
    }

    /// The external address that an inside one keeps to (RFC 4787 REQ-2, "paired").
    fn paired_address(&self, internal: IpAddr) -> Option<IpAddr> {
        let number: u64 = match internal {
            IpAddr::V4(address) => address.octets().iter().map(|&octet| u64::from(octet)).sum(),
            IpAddr::V6(address) => address.octets().iter().map(|&octet| u64::from(octet)).sum(),
        };
        let count = self.external.len().max(1) as u64;
        self.external.get((number % count) as usize).copied()
    }

    fn random_free(&mut self, now: Instant, ip: IpAddr, key: Key, dst: SocketAddr) -> Option<SocketAddr> {
        let first = random_port(&mut self.rng);
        self.first_free(now, ip, (first..=*DYNAMIC.end()).chain(*DYNAMIC.start()..first), key, dst)
    }

    fn first_free(
        &mut self,
        now: Instant,
        ip: IpAddr,
        ports: impl IntoIterator<Item = u16>,
        key: Key,
        dst: SocketAddr,
    ) -> Option<SocketAddr> {
        ports.into_iter().map(|port| SocketAddr::new(ip, port)).find(|external| self.is_free(now, *external, key, dst))
    }

    fn is_free(&mut self, now: Instant, external: SocketAddr, key: Key, dst: SocketAddr) -> bool {
        if self.resting.contains(&external) {
            return false;
        }
        if let Some(last) = self.claims.get(&(external, dst)) {
            if now.duration_since(*last) < self.behaviour.expiry.unanswered {
                return false;
            }
            self.claims.remove(&(external, dst));
        }
        let holders: Vec<Key> = self.by_external.get(&external).into_iter().flatten().copied().collect();
        for holder in holders {
            self.remove_if_dead(now, holder);
            if self.entries.contains_key(&holder) && self.collides(holder, key) {
                return false;
            }
        }
        true
    }

    fn collides(&self, holder: Key, key: Key) -> bool {
        if self.behaviour.overloading {
            return holder.toward == key.toward;
        }
        holder.internal != key.internal || self.behaviour.ports != PortAssignment::Preserving
    }

    /// The first port of the block of an inside address, which is chosen at its first packet.
    fn block(&mut self, internal: IpAddr, size: u16) -> Option<u16> {
        if let Some(start) = self.ports.blocks.get(&internal) {
            return Some(*start);
        }
        let count = DYNAMIC.len() as u32 / u32::from(size);
        let first = self.rng.next_u32() % count.max(1);
        let starts = (0..count).map(|step| DYNAMIC.start() + ((first + step) % count) as u16 * size);
        let start = starts.into_iter().find(|start| !self.ports.blocks.values().any(|taken| taken == start))?;
        self.ports.blocks.insert(internal, start);
        Some(start)
    }
}

fn random_port(rng: &mut ChaCha8Rng) -> u16 {
    DYNAMIC.start() + (rng.next_u32() % DYNAMIC.len() as u32) as u16
}

fn advance(port: u16, step: u16) -> u16 {
    let offset = u32::from(port - DYNAMIC.start()) + u32::from(step);
    DYNAMIC.start() + (offset % DYNAMIC.len() as u32) as u16
}
