//! Where each virtual address really is at the moment, and from where it is heard.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use knothole_proto::path::Base;
use tokio::sync::Notify;

use super::activity::Activity;
use super::route::Route;
use super::virtual_address::VirtualAddress;

/// How many sources one virtual address is heard from. A path that is left stays heard while its last datagrams are on
/// the way; a contact on a moving network leaves a handful behind, and the oldest are let go.
const SOURCES: usize = 16;

/// How many relay channels one virtual address is heard from, beside [`SOURCES`]: the one in use, its successor, and one
/// more of each at another rendezvous.
const CHANNELS: usize = 4;

/// The map between virtual addresses and real ones.
///
/// Sending and hearing are apart: there is one route out, and any number of admitted sources in, so that a change of
/// path loses nothing that is under way on the old one. Whoever admits a source has checked that the contact is behind
/// it.
///
/// Read for every batch of datagrams under a lock that is held for a look-up, written when a path changes.
#[derive(Debug)]
pub(crate) struct Routes {
    table: RwLock<Table>,
    silent: Mutex<BTreeSet<VirtualAddress>>,
    announced: Notify,
    bound: Instant,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<VirtualAddress, Entry>,
    sources: HashMap<Route, VirtualAddress>,
}

#[derive(Debug, Default)]
struct Entry {
    route: Option<Route>,
    /// The oldest first.
    sources: VecDeque<Route>,
    activity: Arc<Activity>,
}

impl Routes {
    pub(crate) fn new(bound: Instant) -> Self {
        Self { table: RwLock::default(), silent: Mutex::default(), announced: Notify::new(), bound }
    }

    /// Milliseconds since the socket was bound, from 1 on: the clock of every [`Activity`].
    #[must_use]
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.bound.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Sends what QUIC has for `address` to `route` from now on. With `None` it is dropped and counted: QUIC repeats
    /// it. The route is not admitted as a source by this.
    pub(crate) fn set_route(&self, address: VirtualAddress, route: Option<Route>) {
        let route = route.map(Route::normal);
        let mut table = self.write();
        let entry = table.entries.entry(address).or_default();
        if entry.route != route {
            entry.route = route;
            entry.activity.note_switch();
        }
    }

    /// The present route of a virtual address.
    #[must_use]
    pub(crate) fn route(&self, address: VirtualAddress) -> Option<Route> {
        self.read().entries.get(&address)?.route
    }

    /// Whose a source is. A bare address is a source at the main socket, here and below.
    #[must_use]
    pub(crate) fn owner(&self, source: impl Into<Route>) -> Option<VirtualAddress> {
        self.read().sources.get(&source.into().normal()).copied()
    }

    /// Takes QUIC datagrams from `source` as coming from `address`; from no other, if it was another's before.
    pub(crate) fn admit(&self, source: impl Into<Route>, address: VirtualAddress) {
        self.admit_source(source.into(), address);
    }

    /// Takes no more QUIC datagrams from `source`. Channels that are relayed from the same address stay.
    pub(crate) fn revoke(&self, source: impl Into<Route>) {
        self.revoke_source(source.into());
    }

    /// Forgets what goes and comes by a socket of ours that is closed.
    pub(super) fn leave(&self, base: Base) {
        let table = &mut *self.write();
        table.sources.retain(|source, _| source.base() != base);
        for entry in table.entries.values_mut() {
            entry.sources.retain(|source| source.base() != base);
            if entry.route.take_if(|route| route.base() == base).is_some() {
                entry.activity.note_switch();
            }
        }
    }

    /// Takes the relay frames of a channel as coming from `address`, if `rendezvous` is where they come from; from no
    /// other contact, if it was another's before. It is not the route by this, and what comes straight from the
    /// rendezvous is still the rendezvous'.
    pub(crate) fn admit_relay(&self, rendezvous: SocketAddr, channel: u32, address: VirtualAddress) {
        self.admit_source(Route::Relay { rendezvous, channel }, address);
    }

    /// Takes no more relay frames of a channel from `rendezvous`.
    pub(crate) fn revoke_relay(&self, rendezvous: SocketAddr, channel: u32) {
        self.revoke_source(Route::Relay { rendezvous, channel });
    }

    fn admit_source(&self, source: Route, address: VirtualAddress) {
        let source = source.normal();
        let table = &mut *self.write();
        match table.sources.insert(source, address) {
            Some(before) if before == address => return,
            Some(before) => table.lose_source(before, source),
            None => {}
        }
        let entry = table.entries.entry(address).or_default();
        entry.sources.push_back(source);
        if let Some(dropped) = entry.superfluous(source.is_relay()) {
            entry.sources.retain(|source| *source != dropped);
            table.sources.remove(&dropped);
        }
    }

    fn revoke_source(&self, source: Route) {
        let source = source.normal();
        let table = &mut *self.write();
        if let Some(address) = table.sources.remove(&source) {
            table.lose_source(address, source);
        }
    }

    /// Forgets a virtual address, its route and its sources.
    pub(crate) fn forget(&self, address: VirtualAddress) {
        let table = &mut *self.write();
        for source in table.entries.remove(&address).unwrap_or_default().sources {
            table.sources.remove(&source);
        }
    }

    /// What passes between this peer and a virtual address; it stays the same until the address is forgotten.
    #[must_use]
    pub(crate) fn activity(&self, address: VirtualAddress) -> Arc<Activity> {
        if let Some(entry) = self.read().entries.get(&address) {
            return entry.activity.clone();
        }
        self.write().entries.entry(address).or_default().activity.clone()
    }

    /// The next virtual address whose route has fallen silent: QUIC has been sending for
    /// [`SILENCE_MS`](super::SILENCE_MS) or longer and nothing came back. Each silence is announced once, at a moment
    /// of sending: an idle path is never announced and costs no timer. Cancelling loses nothing; one reader is meant.
    pub(crate) async fn next_silent(&self) -> VirtualAddress {
        loop {
            let next = self.silent.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match next {
                Some(address) => return address,
                None => self.announced.notified().await,
            }
        }
    }

    /// The route to send on now, with note taken of the sending: the present one or, while that is silent and a relay
    /// brings the answers, the way that they come. Checks decide meanwhile which of the two it stays.
    pub(super) fn route_for_sending(&self, address: VirtualAddress) -> Option<Route> {
        let now = self.now();
        let (route, silent) = {
            let table = self.read();
            let entry = table.entries.get(&address)?;
            let silent = entry.activity.note_sent(now);
            let route = entry.route?;
            let relay = || entry.sources.iter().rev().copied().find(|source| source.is_relay());
            let strayed = !route.is_relay() && entry.activity.is_answered_by_relay(now);
            (if strayed { relay().unwrap_or(route) } else { route }, silent)
        };
        if silent {
            self.announce(address);
        }
        Some(route)
    }

    fn announce(&self, address: VirtualAddress) {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
        self.announced.notify_one();
    }

    /// Whose source this is, with note taken of the hearing.
    pub(super) fn heard(&self, source: Route) -> Option<VirtualAddress> {
        let source = source.normal();
        let table = self.read();
        let address = *table.sources.get(&source)?;
        if let Some(entry) = table.entries.get(&address) {
            if entry.route == Some(source) {
                entry.activity.note_received(self.now());
            } else if source.is_relay() && entry.activity.note_relayed(self.now()) {
                self.announce(address);
            }
        }
        Some(address)
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn lose_source(&mut self, address: VirtualAddress, source: Route) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.sources.retain(|other| *other != source);
        }
    }
}

impl Entry {
    /// The oldest channel, or direct source, that is one too many; never the present route.
    fn superfluous(&self, relay: bool) -> Option<Route> {
        let kind = || self.sources.iter().copied().filter(|source| source.is_relay() == relay);
        let limit = if relay { CHANNELS } else { SOURCES };
        if kind().count() > limit { kind().find(|source| Some(*source) != self.route) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const CONTACT: VirtualAddress = VirtualAddress::new(1);
    const OTHER: VirtualAddress = VirtualAddress::new(2);

    fn routes() -> Routes {
        Routes::new(Instant::now())
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn direct(text: &str) -> Route {
        at(text).into()
    }

    fn relay(text: &str, channel: u32) -> Route {
        Route::Relay { rendezvous: at(text), channel }
    }

    #[test]
    fn several_sources_are_heard_as_one_contact_until_revoked_or_forgotten() {
        let routes = routes();
        routes.admit(at("192.0.2.1:5"), CONTACT);
        routes.admit(at("[2001:db8::1]:5"), CONTACT);
        assert_eq!(routes.heard(direct("192.0.2.1:5")), Some(CONTACT));
        assert_eq!(routes.heard(direct("[2001:db8::1]:5")), Some(CONTACT));
        assert_eq!(routes.heard(direct("192.0.2.1:6")), None);
        routes.revoke(at("192.0.2.1:5"));
        assert_eq!(routes.heard(direct("192.0.2.1:5")), None);
        routes.forget(CONTACT);
        assert_eq!(routes.heard(direct("[2001:db8::1]:5")), None);
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let routes = routes();
        routes.admit(at("[::ffff:192.0.2.1]:5"), CONTACT);
        assert_eq!(routes.heard(direct("192.0.2.1:5")), Some(CONTACT));
        routes.set_route(CONTACT, Some(direct("[::ffff:192.0.2.1]:5")));
        assert_eq!(routes.route(CONTACT), Some(direct("192.0.2.1:5")));
    }

    #[test]
    fn a_source_belongs_to_the_contact_that_it_was_last_admitted_for() {
        let routes = routes();
        routes.admit(at("192.0.2.1:5"), CONTACT);
        routes.admit(at("192.0.2.1:5"), OTHER);
        assert_eq!(routes.heard(direct("192.0.2.1:5")), Some(OTHER));
        routes.forget(CONTACT);
        assert_eq!(routes.heard(direct("192.0.2.1:5")), Some(OTHER));
    }

    #[test]
    fn the_oldest_sources_make_room_but_never_the_present_route() {
        let routes = routes();
        let source = |n: usize| SocketAddr::new(IpAddr::from([192, 0, 2, 1]), u16::try_from(n).unwrap());
        routes.set_route(CONTACT, Some(source(1).into()));
        (1..=SOURCES + 2).for_each(|n| routes.admit(source(n), CONTACT));
        assert_eq!(routes.heard(source(1).into()), Some(CONTACT));
        assert_eq!((routes.heard(source(2).into()), routes.heard(source(3).into())), (None, None));
        (4..=SOURCES + 2).for_each(|n| assert_eq!(routes.heard(source(n).into()), Some(CONTACT), "{n}"));
    }

    #[test]
    fn only_what_comes_from_the_present_route_is_an_answer() {
        let routes = routes();
        let activity = routes.activity(CONTACT);
        assert_eq!(routes.route_for_sending(CONTACT), None, "there is no route yet");
        routes.set_route(CONTACT, Some(direct("192.0.2.1:5")));
        routes.admit(at("192.0.2.1:5"), CONTACT);
        routes.admit(at("192.0.2.9:5"), CONTACT);
        assert_eq!(routes.route_for_sending(CONTACT), Some(direct("192.0.2.1:5")));
        assert!(activity.unanswered_since().is_some());
        routes.heard(direct("192.0.2.9:5"));
        assert!(activity.unanswered_since().is_some());
        routes.heard(direct("192.0.2.1:5"));
        assert_eq!(activity.unanswered_since(), None);
    }

    #[test]
    fn the_epoch_moves_with_the_route_alone() {
        let routes = routes();
        let activity = routes.activity(CONTACT);
        routes.set_route(CONTACT, Some(direct("192.0.2.1:5")));
        routes.set_route(CONTACT, Some(direct("192.0.2.1:5")));
        routes.admit(at("192.0.2.2:5"), CONTACT);
        assert_eq!(activity.epoch(), 1);
        routes.set_route(CONTACT, Some(direct("192.0.2.2:5")));
        assert_eq!(activity.epoch(), 2);
    }

    #[test]
    fn a_channel_is_heard_from_its_rendezvous_alone_until_revoked_or_forgotten() {
        let routes = routes();
        routes.admit(at("192.0.2.1:5"), OTHER);
        routes.admit_relay(at("[::ffff:192.0.2.1]:5"), 7, CONTACT);
        assert_eq!(routes.heard(relay("192.0.2.1:5", 7)), Some(CONTACT));
        assert_eq!(routes.heard(direct("192.0.2.1:5")), Some(OTHER), "signing in goes on beside it");
        for other in [relay("192.0.2.1:6", 7), relay("192.0.2.2:5", 7), relay("192.0.2.1:5", 8)] {
            assert_eq!(routes.heard(other), None, "{other:?}");
        }
        routes.revoke(at("192.0.2.1:5"));
        assert_eq!(routes.heard(relay("192.0.2.1:5", 7)), Some(CONTACT));
        routes.revoke_relay(at("192.0.2.1:5"), 7);
        assert_eq!(routes.heard(relay("192.0.2.1:5", 7)), None);
        routes.admit_relay(at("192.0.2.1:5"), 8, CONTACT);
        routes.admit_relay(at("192.0.2.1:5"), 8, OTHER);
        assert_eq!(routes.heard(relay("192.0.2.1:5", 8)), Some(OTHER), "it was last admitted for this one");
        routes.forget(CONTACT);
        assert_eq!(routes.heard(relay("192.0.2.1:5", 8)), Some(OTHER));
        routes.forget(OTHER);
        assert_eq!(routes.heard(relay("192.0.2.1:5", 8)), None);
        assert!(routes.read().sources.is_empty());
    }

    #[test]
    fn the_oldest_channels_make_room_but_never_the_present_route_nor_direct_sources() {
        let routes = routes();
        let count = u32::try_from(CHANNELS).unwrap();
        let channel = |n| relay("192.0.2.1:5", n);
        routes.admit(at("192.0.2.9:5"), CONTACT);
        routes.set_route(CONTACT, Some(channel(1)));
        (1..=count + 2).for_each(|n| routes.admit_relay(at("192.0.2.1:5"), n, CONTACT));
        assert_eq!(routes.heard(channel(1)), Some(CONTACT));
        assert_eq!((routes.heard(channel(2)), routes.heard(channel(3))), (None, None));
        (4..=count + 2).for_each(|n| assert_eq!(routes.heard(channel(n)), Some(CONTACT), "{n}"));
        assert_eq!(routes.heard(direct("192.0.2.9:5")), Some(CONTACT));
        assert_eq!(routes.read().sources.len(), CHANNELS + 1);
    }

    #[test]
    fn only_a_frame_of_the_present_channel_is_an_answer_and_every_change_moves_the_epoch() {
        let routes = routes();
        let activity = routes.activity(CONTACT);
        let others = [direct("192.0.2.1:5"), relay("192.0.2.1:5", 8), relay("192.0.2.2:5", 7)];
        routes.admit(at("192.0.2.1:5"), CONTACT);
        for (rendezvous, channel) in [("192.0.2.1:5", 7), ("192.0.2.1:5", 8), ("192.0.2.2:5", 7)] {
            routes.admit_relay(at(rendezvous), channel, CONTACT);
        }
        routes.set_route(CONTACT, Some(relay("192.0.2.1:5", 7)));
        routes.route_for_sending(CONTACT);
        for other in others {
            assert_eq!(routes.heard(other), Some(CONTACT));
            assert!(activity.unanswered_since().is_some(), "{other:?}");
        }
        routes.heard(relay("192.0.2.1:5", 7));
        assert_eq!(activity.unanswered_since(), None);
        for (n, other) in (2..).zip(others) {
            routes.set_route(CONTACT, Some(other));
            assert_eq!(activity.epoch(), n);
        }
    }
}
