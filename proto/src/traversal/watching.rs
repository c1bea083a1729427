//! Whose coming and going we want to know of, what every rendezvous has been told of that, and what it says.
//!
//! A rendezvous tells of those alone who watch us too (docs/protocol.md, "Presence"). Everybody is named at our own rendezvous,
//! and at those where they can be invited. Control messages arrive in any order, so nobody is named in two that are on their
//! way at once; and from whom we hide is named, and that acknowledged, before anybody is let see us.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rand_chacha::rand_core::Rng;

use super::{Event, RendezvousId, Traversal};
use crate::control::{MAX_NAMED, ToRendezvous, Watched};
use crate::identity::PeerId;
use crate::registration::client::Client;

/// Messages that name peers on their way at once: invitations need room, too.
const UNDERWAY: usize = 4;
/// What a rendezvous said stays believed for so long after it has forgotten us, or seems to be gone: the peers that it told of
/// are as likely to be there as before, and come back to it within their registrations' lifetime.
const BELIEVED: Duration = Duration::from_secs(40);
/// Who does not answer any more is asked for after this: if it is gone, its registration is over then.
const DOUBTED: Duration = Duration::from_secs(40);
/// A million peers that come back to a rendezvous name their contacts within this, not all at once.
const SPREAD_MS: u32 = 5_000;

/// Peers, each with what is said of it: whether it may see us, or that it is watched no more.
type Named = Vec<(PeerId, Option<bool>)>;

/// One whom we watch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    shown: bool,
    via: Vec<RendezvousId>,
}

/// All that is watched, and how far that has come.
#[derive(Debug, Default)]
pub(super) struct Watching {
    wishes: BTreeMap<PeerId, Wish>,
    /// Whether we are away for all others.
    pub(super) unseen: bool,
    at: BTreeMap<RendezvousId, At>,
}

/// How we stand with one rendezvous.
#[derive(Debug, Default)]
struct At {
    /// Of which registration all this is.
    registration: u64,
    /// Nothing is said before this.
    begins: Option<Instant>,
    /// To be said: whether a peer may see us, or that it is watched no more.
    due: BTreeMap<PeerId, Option<bool>>,
    /// What is on its way, by the messages' numbers.
    underway: Vec<(u64, Named)>,
    /// Whether it was last told that we are unseen, within this registration.
    unseen: Option<bool>,
    /// Who is there.
    here: BTreeSet<PeerId>,
    /// Of those whom it told of when it still knew us, and when they are believed to be there no more.
    stale: Option<(Instant, BTreeSet<PeerId>)>,
    /// Who is to be asked for once more, and when.
    doubted: VecDeque<(Instant, PeerId)>,
}

impl At {
    /// The next message, unless there is nothing to say or what there is has to wait.
    fn next(&self, unseen: bool) -> Option<(ToRendezvous, Named)> {
        let busy = |peer: &PeerId| self.underway.iter().any(|(_, named)| named.iter().any(|(of, _)| of == peer));
        let due = |wanted: &[Option<bool>]| {
            let of = |(peer, said): &(&PeerId, &Option<bool>)| wanted.contains(said) && !busy(peer);
            self.due.iter().filter(of).map(|(peer, said)| (*peer, *said)).take(MAX_NAMED).collect::<Vec<_>>()
        };
        let strangers = due(&[None]);
        if !strangers.is_empty() {
            let peers = strangers.iter().map(|(peer, _)| *peer).collect();
            return Some((ToRendezvous::Unwatch { peers }, strangers));
        }
        let changes = self.unseen.map_or(unseen, |said| said != unseen);
        if changes && !self.underway.is_empty() {
            return None;
        }
        // If there is not room for all, it is for those from whom we hide.
        let hidden = due(&[Some(false)]);
        let named = if hidden.is_empty() { due(&[Some(true)]) } else { hidden };
        let watched = |(peer, said): &(PeerId, Option<bool>)| Watched { peer: *peer, shown: *said == Some(true) };
        let peers = named.iter().map(watched).collect();
        (changes || !named.is_empty()).then_some((ToRendezvous::Watch { unseen, peers }, named))
    }

    /// These messages were given up: what they said is to be said again, unless something else is.
    fn handle_lost(&mut self, client: &Client) {
        for (_, named) in self.underway.extract_if(.., |(number, _)| !client.is_outstanding(*number)) {
            // It may have been the one that said so.
            self.unseen = None;
            for (peer, said) in named {
                self.due.entry(peer).or_insert(said);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let stale = self.stale.as_ref().map(|(until, _)| *until);
        let doubted = self.doubted.front().map(|(at, _)| *at);
        [self.begins, stale, doubted].into_iter().flatten().min()
    }
}

impl Watching {
    fn is_here(&self, peer: &PeerId) -> bool {
        self.at.values().any(|at| at.here.contains(peer))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.at.values().filter_map(At::poll_timeout).min()
    }
}

impl Traversal {
    /// Wants to know when this peer is there: at our own rendezvous, and at `via`, where it can be invited. Only if it is
    /// `shown` may it know of us; else the rendezvous, which then passes no invitation of its on, treats it as if we were away.
    pub fn watch(&mut self, peer: PeerId, shown: bool, via: Vec<RendezvousId>, now: Instant) {
        let wish = Wish { shown, via };
        if self.watching.wishes.get(&peer) == Some(&wish) {
            return;
        }
        let ids: Vec<_> = self.rendezvous.keys().copied().collect();
        let before: Vec<_> = ids.iter().map(|id| self.watched_at(*id, &peer)).collect();
        self.watching.wishes.insert(peer, wish);
        for (id, before) in ids.into_iter().zip(before) {
            let wanted = self.watched_at(id, &peer);
            if let Some(at) = self.watching.at.get_mut(&id).filter(|_| wanted != before) {
                at.due.insert(peer, wanted);
            }
        }
        self.drain(now);
    }

    /// This peer is nobody to us any more.
    pub fn unwatch(&mut self, peer: PeerId, now: Instant) {
        if self.watching.wishes.remove(&peer).is_none() {
            return;
        }
        for at in self.watching.at.values_mut() {
            at.here.remove(&peer);
            at.doubted.retain(|(_, doubted)| *doubted != peer);
            at.due.insert(peer, None);
        }
        self.drain(now);
    }

    /// Whether a rendezvous says that this peer is there.
    #[must_use]
    pub fn is_here(&self, peer: &PeerId) -> bool {
        self.watching.is_here(peer)
    }

    /// This peer has said itself that it leaves, or answers no more: what rendezvous said of it counts no longer. They are
    /// asked anew when, if it is gone, they know.
    pub fn handle_gone(&mut self, peer: PeerId, now: Instant) {
        for at in self.watching.at.values_mut() {
            if at.here.remove(&peer) {
                at.doubted.retain(|(_, doubted)| *doubted != peer);
                at.doubted.push_back((now + DOUBTED, peer));
            }
        }
    }

    /// Whether we are away for all whom we do not watch. Who hides from somebody is, or that one would only have to ask under
    /// another name.
    pub fn set_unseen(&mut self, unseen: bool, now: Instant) {
        self.watching.unseen = unseen;
        self.rendezvous.values_mut().for_each(|client| client.set_unseen(unseen));
        self.drain(now);
    }

    /// What this rendezvous is to know of a peer: whoever runs one that is not ours has no business with those who cannot be
    /// invited there.
    fn watched_at(&self, id: RendezvousId, peer: &PeerId) -> Option<bool> {
        let wish = self.watching.wishes.get(peer)?;
        (!self.reserved.contains(&id) || wish.via.contains(&id)).then_some(wish.shown)
    }

    /// We are registered there, perhaps under a new registration, which watches nobody.
    pub(super) fn name_all(&mut self, id: RendezvousId, now: Instant) {
        let Some(client) = self.rendezvous.get(&id) else { return };
        let (registration, returned) = (client.registration(), client.has_returned());
        let at = self.watching.at.entry(id).or_default();
        if at.registration == registration {
            // It knew us all the while.
            at.stale = None;
            return;
        }
        at.registration = registration;
        at.unseen = None;
        at.underway.clear();
        at.begins = returned.then(|| now + Duration::from_millis((self.random.next_u32() % SPREAD_MS).into()));
        let peers: Vec<_> = self.watching.wishes.keys().copied().collect();
        let due = peers.into_iter().filter_map(|peer| Some((peer, Some(self.watched_at(id, &peer)?)))).collect();
        if let Some(at) = self.watching.at.get_mut(&id) {
            at.due = due;
        }
    }

    /// The rendezvous does not know us any more, or is gone.
    pub(super) fn handle_presence_unknown(&mut self, id: RendezvousId, now: Instant) {
        if let Some(at) = self.watching.at.get_mut(&id) {
            let (_, stale) = at.stale.take().unwrap_or((now, BTreeSet::new()));
            let stale: BTreeSet<_> = stale.union(&at.here).copied().collect();
            at.stale = (!stale.is_empty()).then_some((now + BELIEVED, stale));
        }
    }

    /// We are registered there no longer, nor want to be.
    pub(super) fn forget_presence(&mut self, id: RendezvousId) {
        let gone = self.watching.at.remove(&id).map(|at| at.here).unwrap_or_default();
        for peer in gone {
            self.tell_presence(peer, true);
        }
    }

    /// A rendezvous says who is there.
    pub(super) fn handle_presence(&mut self, id: RendezvousId, peers: &[(PeerId, bool)]) {
        for (peer, here) in peers.iter().take(MAX_NAMED) {
            if self.watched_at(id, peer).is_none() {
                continue;
            }
            let before = self.is_here(peer);
            let Some(at) = self.watching.at.get_mut(&id) else { return };
            if let Some((_, stale)) = &mut at.stale {
                stale.remove(peer);
            }
            at.doubted.retain(|(_, doubted)| doubted != peer);
            if *here {
                at.here.insert(*peer);
            } else {
                at.here.remove(peer);
            }
            self.tell_presence(*peer, before);
        }
    }

    fn tell_presence(&mut self, peer: PeerId, before: bool) {
        let here = self.is_here(&peer);
        if here != before {
            self.events.push_back(Event::Presence { peer, here });
        }
    }

    /// Says what is to be said, as far as there is room.
    pub(super) fn say_watches(&mut self, now: Instant) {
        for (id, at) in &mut self.watching.at {
            let Some(client) = self.rendezvous.get_mut(id).filter(|client| client.observed().is_some()) else {
                continue;
            };
            at.underway.retain(|(number, _)| client.is_outstanding(*number));
            if at.registration != client.registration() || at.begins.is_some() {
                continue;
            }
            while at.underway.len() < UNDERWAY
                && let Some((message, named)) = at.next(self.watching.unseen)
            {
                let said = match message {
                    ToRendezvous::Watch { unseen, .. } => Some(unseen),
                    _ => at.unseen,
                };
                let Ok(number) = client.send(message, now) else { break };
                at.unseen = said;
                for (peer, _) in &named {
                    at.due.remove(peer);
                }
                at.underway.push((number, named));
            }
        }
    }

    /// Rendezvous have just given up what they did not acknowledge in time.
    pub(super) fn handle_watch_timeout(&mut self, now: Instant) {
        let mut gone = Vec::new();
        let Self { watching, rendezvous, reserved, .. } = self;
        for (id, at) in &mut watching.at {
            if let Some(client) = rendezvous.get(id) {
                at.handle_lost(client);
            }
            at.begins.take_if(|begins| *begins <= now);
            if let Some((_, stale)) = at.stale.take_if(|(until, _)| *until <= now) {
                gone.extend(stale.into_iter().filter(|peer| at.here.remove(peer)));
            }
            while at.doubted.front().is_some_and(|(due, _)| *due <= now)
                && let Some((_, peer)) = at.doubted.pop_front()
            {
                let wish = watching.wishes.get(&peer).filter(|wish| !reserved.contains(id) || wish.via.contains(id));
                if let Some(wish) = wish {
                    at.due.entry(peer).or_insert(Some(wish.shown));
                }
            }
        }
        for peer in gone {
            self.tell_presence(peer, true);
        }
    }
}
