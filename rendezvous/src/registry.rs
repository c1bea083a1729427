//! Who is registered.
//!
//! A datagram names its registration's *slot*, so that the commonest thing, a keepalive, looks nothing up. Slots are
//! used again: a datagram for the former owner does not verify under the new one's key. Only invitations and sign-ins
//! come with a peer id; a hash table with a secret seed leads from it to the slot.
//!
//! Slots stand in pages, because a vector of a million that grows is copied at once, and everybody waits.

mod expiry;

use std::hint::black_box;
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use knothole_proto::identity::PeerId;
use knothole_proto::registration::server::Registration;
use knothole_proto::seal::{RegistrationSecret, TagKey};

use self::expiry::Wheel;
use crate::introduction::Allowance;
use crate::outbox::Line;
use crate::policy::LocalSocket;

/// Slots in a page: some 700 KB, little for a full rendezvous and quickly there for a small one.
const PAGE: usize = 4096;

/// A slot is looked at as often as this at least: a keepalive may shorten its registration's life, and does not touch the
/// wheel.
const LONGEST_UNSEEN: Duration = Duration::from_secs(60);

/// All that is kept of a registered peer.
pub(crate) struct Entry {
    pub(crate) registration: Registration,
    /// Kept because the control channel is made from it only when there is something to say.
    pub(crate) secret: RegistrationSecret,
    /// The control channel. Most peers say nothing for hours. Once made it stays as long as the registration: its
    /// sequence numbers must neither repeat (they are nonces) nor be forgotten (they keep replays out).
    pub(crate) line: Option<Box<Line>>,
    pub(crate) allowance: Allowance,
    /// What a ticket was answered with that brought this registration about; 0 after a sign-in.
    pub(crate) chance: u64,
    /// Whether it is away for all whom it has not named.
    pub(crate) unseen: bool,
    /// Whether something that was said to it has been given up, and it has not been heard from since.
    pub(crate) unheard: bool,
    /// The way in by which the peer came last; its NAT lets answers through only from there.
    pub(crate) local: LocalSocket,
}

/// A peer's name within this process: the hash by which the table finds it, under a secret, but for two bits that whoever
/// keeps marks may use. That two of a million peers share one is as likely as one in nine million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(u64);

impl Mark {
    /// The bits that are no part of a mark. The table looks at the lowest (as many as it has places) and the highest seven.
    pub(crate) const FREE: u64 = 0b11 << 40;

    pub(crate) const fn new(bits: u64) -> Self {
        Self(bits & !Self::FREE)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

impl Entry {
    /// Moves the entry out, and writes over the place where it was.
    fn take_out(&mut self) -> Self {
        let secret = RegistrationSecret(std::mem::take(&mut self.secret.0));
        black_box(&mut self.secret);
        Self {
            registration: self.registration.take_out(),
            secret,
            line: self.line.take(),
            allowance: self.allowance.clone(),
            ..*self
        }
    }
}

/// The table of registrations.
pub(crate) struct Registry {
    limit: usize,
    pages: Vec<Box<[Option<Entry>]>>,
    /// Slots handed out so far, in use or free.
    slots: u32,
    free: Vec<u32>,
    by_peer: HashTable<u32>,
    hash: TagKey,
    wheel: Wheel,
}

/// The table holds as many registrations as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Registry {
    pub(crate) fn new(limit: u32, seed: [u8; 16], start: Instant) -> Self {
        let limit = limit as usize;
        Self {
            limit,
            pages: Vec::new(),
            slots: 0,
            free: Vec::new(),
            // All at once: a table that grows moves every entry at a single sign-in. Untouched memory costs nothing.
            by_peer: HashTable::with_capacity(limit),
            hash: TagKey::from_bytes(seed),
            wheel: Wheel::new(start),
        }
    }

    /// Registers a peer; a registration that it had is replaced and returned.
    pub(crate) fn insert(&mut self, entry: Entry, now: Instant) -> Result<(u32, Option<Entry>), Full> {
        let peer = entry.registration.peer();
        let expires = entry.registration.expires().min(now + LONGEST_UNSEEN);
        // A slot that was left early stays in the wheel, and comes free with its turn there.
        if let Some(slot) = self.slot_of(peer) {
            let old = self.place(slot).and_then(|place| place.replace(entry));
            return Ok((slot, old));
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.new_slot()?,
        };
        if let Some(place) = self.place(slot) {
            *place = Some(entry);
        }
        let (pages, hash) = (&self.pages, &self.hash);
        self.by_peer.insert_unique(hashed(hash, peer), slot, |slot| {
            occupant(pages, *slot).map_or(0, |entry| hashed(hash, entry.registration.peer()))
        });
        self.wheel.arm(slot, expires);
        Ok((slot, None))
    }

    fn new_slot(&mut self) -> Result<u32, Full> {
        let slots = self.slots as usize;
        if slots >= self.limit {
            return Err(Full);
        }
        if slots == self.pages.len() * PAGE {
            self.pages.push(std::iter::repeat_with(|| None).take(PAGE).collect());
        }
        self.slots += 1;
        Ok(self.slots - 1)
    }

    fn place(&mut self, slot: u32) -> Option<&mut Option<Entry>> {
        self.pages.get_mut(slot as usize / PAGE)?.get_mut(slot as usize % PAGE)
    }

    fn slot_of(&self, peer: PeerId) -> Option<u32> {
        let owns = |slot: &u32| occupant(&self.pages, *slot).is_some_and(|entry| entry.registration.peer() == peer);
        self.by_peer.find(hashed(&self.hash, peer), owns).copied()
    }

    /// The registration in a slot, unless it has expired.
    pub(crate) fn at(&mut self, slot: u32, now: Instant) -> Option<&mut Entry> {
        self.place(slot)?.as_mut().filter(|entry| now < entry.registration.expires())
    }

    /// Reads here and there in a slot, so that its cache lines are there when it is asked for.
    pub(crate) fn touch(&self, slot: u32) -> u64 {
        let bytes = |entry: &Entry| [entry.secret.0[0], entry.registration.peer().as_bytes()[0], entry.local.0 as u8];
        occupant(&self.pages, slot).map_or(0, |entry| bytes(entry).map(u64::from).iter().sum())
    }

    /// The slot of a peer that is registered now.
    pub(crate) fn find(&self, peer: PeerId, now: Instant) -> Option<u32> {
        self.slot_of(peer)
            .filter(|slot| occupant(&self.pages, *slot).is_some_and(|entry| now < entry.registration.expires()))
    }

    /// The mark of a peer, here or not.
    pub(crate) fn mark(&self, peer: PeerId) -> Mark {
        Mark::new(hashed(&self.hash, peer))
    }

    /// The slot of the peer with this mark that is registered now.
    pub(crate) fn find_mark(&self, mark: Mark, now: Instant) -> Option<u32> {
        let is =
            |slot: &u32| occupant(&self.pages, *slot).is_some_and(|entry| self.mark(entry.registration.peer()) == mark);
        let slot = self.by_peer.find(mark.bits(), is).copied()?;
        occupant(&self.pages, slot).filter(|entry| now < entry.registration.expires()).map(|_| slot)
    }

    /// Ends a registration.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let place = self.place(slot)?;
        let entry = place.as_mut()?.take_out();
        *place = None;
        // The table is asked after the slot is empty, so by the slot's number.
        if let Ok(found) =
            self.by_peer.find_entry(hashed(&self.hash, entry.registration.peer()), |candidate| *candidate == slot)
        {
            found.remove();
        }
        Some(entry)
    }

    /// How many peers are registered, those included that expired within the last tick.
    pub(crate) fn len(&self) -> usize {
        self.by_peer.len()
    }

    /// All slots that may be in use are below this.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    /// When `expired` wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.poll_timeout()
    }

    /// The next registration that has expired, taken out of the table.
    pub(crate) fn poll_expired(&mut self, now: Instant) -> Option<(u32, Entry)> {
        while let Some(slot) = self.wheel.due(now) {
            match occupant(&self.pages, slot).map(|entry| entry.registration.expires()) {
                Some(expires) if now < expires => self.wheel.arm(slot, expires.min(now + LONGEST_UNSEEN)),
                Some(_) => {
                    self.free.push(slot);
                    return self.remove(slot).map(|entry| (slot, entry));
                }
                None => self.free.push(slot),
            }
        }
        None
    }
}

fn occupant(pages: &[Box<[Option<Entry>]>], slot: u32) -> Option<&Entry> {
    pages.get(slot as usize / PAGE)?.get(slot as usize % PAGE)?.as_ref()
}

fn hashed(key: &TagKey, peer: PeerId) -> u64 {
    let tag = key.tag(peer.as_bytes());
    Mark::new(u64::from_ne_bytes(std::array::from_fn(|i| tag[i]))).bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        Instant::now()
    }

    fn peer(n: u32) -> PeerId {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        PeerId::new(key)
    }

    fn entry(n: u32, lifetime: u64, now: Instant) -> Entry {
        let secret = RegistrationSecret([1; 32]);
        let address = SocketAddr::from(([192, 0, 2, 1], 4000));
        let registration = Registration::new(peer(n), &secret, address, Duration::from_secs(lifetime), now);
        Entry {
            registration,
            secret,
            line: None,
            allowance: Allowance::default(),
            chance: 0,
            unseen: false,
            unheard: false,
            local: LocalSocket(0),
        }
    }

    /// What one registered peer costs: the entry, its link in the wheel, and five bytes of hash table at 7/16 to 7/8 full.
    /// (The free list holds only slots that nobody has.)
    #[test]
    fn a_registration_takes_at_most_200_bytes() {
        let table = 5.0 / (7.0 / 16.0);
        let bytes = size_of::<Option<Entry>>() as f64 + 4.0 + table;
        assert!(bytes <= 200.0, "{bytes}");
    }

    #[test]
    fn peers_are_found_until_removed_and_the_table_is_bounded() {
        let now = start();
        let mut registry = Registry::new(5000, [1; 16], now);
        for n in 0..5000 {
            assert_eq!(registry.insert(entry(n, 40, now), now).map(|(slot, _)| slot), Ok(n));
        }
        assert_eq!(registry.insert(entry(5000, 40, now), now).map(|(slot, _)| slot), Err(Full));
        for n in 0..5000 {
            assert_eq!(registry.find(peer(n), now), Some(n));
        }
        assert!(registry.remove(7).is_some());
        assert!(registry.remove(7).is_none());
        assert_eq!(registry.find(peer(7), now), None);
        assert_eq!(registry.len(), 4999);
    }

    #[test]
    fn a_second_registration_of_a_peer_takes_the_first_one_s_slot() {
        let now = start();
        let mut registry = Registry::new(10, [1; 16], now);
        let (slot, old) = registry.insert(entry(1, 40, now), now).unwrap_or_else(|_| panic!("room"));
        assert!(old.is_none());
        let (again, old) = registry.insert(entry(1, 60, now), now).unwrap_or_else(|_| panic!("room"));
        assert_eq!(slot, again);
        assert!(old.is_some());
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn slots_left_early_or_expired_come_free_with_their_turn() {
        let now = start();
        let mut registry = Registry::new(2, [1; 16], now);
        for n in 0..2 {
            assert!(registry.insert(entry(n, 40, now), now).is_ok());
        }
        registry.remove(0);
        let late = now + Duration::from_secs(42);
        assert_eq!(registry.poll_expired(late).map(|(slot, _)| slot), Some(1));
        assert!(registry.poll_expired(late).is_none());
        assert_eq!(registry.len(), 0);
        for n in 2..4 {
            assert!(registry.insert(entry(n, 40, late), late).is_ok());
        }
        assert_eq!(registry.insert(entry(4, 40, late), late).map(|(slot, _)| slot), Err(Full));
    }
}
