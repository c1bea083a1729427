//! Presence: who is told that somebody comes or goes.
//!
//! A registration names peers that it *watches*, each with whether that peer may see it. A is told of B only while A watches
//! B and B watches A and lets A see it, so whoever is to be told of somebody stands in that somebody's own list, and nothing
//! leads the other way. A list holds the registry's [`Mark`]s, eight bytes a peer; only registrations that watch have one.
//! It ends with its registration: after a restart nobody is told anything before both have named each other again.
//!
//! What a watcher is to be told is collected as *news*, of each peer the latest, and goes out in messages of many peers,
//! rationed for each watcher: whoever comes and goes without end costs its watchers no more than a message a second.
//!
//! From whom a registration *hides*, by naming it so, that one is treated as if the registration were not there:
//! [`Server::hides`]. One that hides from somebody is *unseen* by all whom it has not named, or whoever it hides from would
//! only have to ask under another name.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use knothole_proto::control::{MAX_NAMED, RendezvousChannel, ToPeer, Watched};
use knothole_proto::identity::PeerId;

use crate::admission::{Bucket, Rate, microseconds};
use crate::registry::{Entry, Mark};
use crate::server::Server;

/// Peers that one registration may watch: more than a person knows.
const MAX_WATCHED: usize = 1024;

/// Messages of presence to one peer: at once as many as tell of all that it may watch, then one a second.
const MESSAGES: Rate = Rate { burst: 40, per_second: 1 };

/// Messages of presence that are on their way to one peer at most: half of what may be, for invitations need room, too.
const UNDERWAY: usize = 16;

/// What a peer did not acknowledge is told again after this; until then it is likelier to have moved, or to have left.
const LOST_PAUSE: Duration = Duration::from_secs(20);

/// A registration that is replaced by another of the same peer has this long to name its watchers again before they are told
/// that it left: a restart is no coming and going.
const LAPSE: Duration = Duration::from_secs(5);

/// One watched peer: its mark, and in the two bits that marks leave free whether it may see the watcher, and whether the
/// watcher was told that it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watch(u64);

const SHOWN: u64 = Mark::FREE & (Mark::FREE - 1);
const TOLD: u64 = Mark::FREE & !SHOWN;

impl Watch {
    const fn mark(self) -> Mark {
        Mark::new(self.0)
    }

    const fn is(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    const fn set(&mut self, flag: u64, value: bool) {
        self.0 = if value { self.0 | flag } else { self.0 & !flag };
    }
}

/// What a watcher is to be told.
#[derive(Debug)]
struct News {
    peer: PeerId,
    here: bool,
    /// Whether the watcher may know the contrary, or this already: what it was told last may be lost.
    doubtful: bool,
}

/// What a registration watches, and what it is still to be told.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    /// In the order of the marks.
    watches: Vec<Watch>,
    /// Of each peer the latest, which is not what the watcher was told last.
    news: Vec<News>,
    /// Messages on their way, with their numbers. They may arrive in any order, so what they tell of somebody is not told
    /// otherwise before they have.
    underway: Vec<(u64, Vec<(PeerId, bool)>)>,
    messages: Bucket,
    /// Peers that it has named.
    named: Bucket,
    /// Nothing is told before this, and when it comes there is something to tell.
    due: Option<Instant>,
}

impl Watching {
    fn place(&self, mark: Mark) -> Result<usize, usize> {
        self.watches.binary_search_by_key(&mark, |watch| watch.mark())
    }

    fn find(&self, mark: Mark) -> Option<&Watch> {
        self.watches.get(self.place(mark).ok()?)
    }

    /// Adds or changes a watch; false if there are too many.
    fn name(&mut self, mark: Mark, shown: bool, room: bool) -> bool {
        match self.place(mark) {
            Ok(place) => {
                if let Some(watch) = self.watches.get_mut(place) {
                    watch.set(SHOWN, shown);
                }
                true
            }
            Err(place) => {
                let room = room && self.watches.len() < MAX_WATCHED;
                if room {
                    let mut watch = Watch(mark.bits());
                    watch.set(SHOWN, shown);
                    // A list is written once and then kept: it takes no more than it needs.
                    self.watches.reserve_exact(1);
                    self.watches.insert(place, watch);
                }
                room
            }
        }
    }

    /// The watcher is to know whether this peer is here, unless it does; if it `asks`, also then. Whether there is news.
    fn learn(&mut self, mark: Mark, peer: PeerId, here: bool, asks: bool) -> bool {
        let Ok(place) = self.place(mark) else { return false };
        let Some(watch) = self.watches.get_mut(place) else { return false };
        if watch.is(TOLD) == here {
            let again = asks && here && !self.news.iter().any(|news| news.peer == peer);
            self.news.extend(again.then_some(News { peer, here, doubtful: true }));
            return again;
        }
        watch.set(TOLD, here);
        match self.news.iter().position(|news| news.peer == peer) {
            // It is again as the watcher believes.
            Some(old) if !self.news[old].doubtful => drop(self.news.swap_remove(old)),
            Some(old) => self.news[old].here = here,
            None => self.news.push(News { peer, here, doubtful: false }),
        }
        true
    }

    /// Hands what may be told now to the channel; returns the number of messages.
    pub(crate) fn tell(&mut self, channel: &mut RendezvousChannel, start: Instant, now: Instant) -> u64 {
        self.underway.retain(|(number, _)| channel.is_outstanding(*number));
        // Most peers have nothing to be told for hours, and then a few bytes a watch are all that is kept for them.
        if self.underway.is_empty() {
            self.underway = Vec::new();
        }
        if self.due.is_some_and(|due| now < due) {
            return 0;
        }
        self.due = None;
        let mut told = 0;
        while channel.outstanding() < UNDERWAY {
            let Self { news, underway, .. } = self;
            let waits = |news: &News| !underway.iter().any(|(_, told)| told.iter().any(|(of, _)| *of == news.peer));
            if !news.iter().any(waits) {
                break;
            }
            if !self.messages.take(MESSAGES, microseconds(start, now)) {
                self.due = Some(now + Duration::from_secs(1) / MESSAGES.per_second);
                break;
            }
            let mut room = MAX_NAMED;
            let mut next = |news: &mut News| {
                let taken = room > 0 && waits(news);
                room -= usize::from(taken);
                taken
            };
            let peers: Vec<_> = news.extract_if(.., |news| next(news)).map(|news| (news.peer, news.here)).collect();
            let Ok(number) = channel.send(ToPeer::Presence { peers: peers.clone() }, now) else { break };
            self.underway.push((number, peers));
            told += 1;
        }
        if self.news.is_empty() {
            self.news = Vec::new();
        }
        told
    }

    /// When `tell` wants to be called, if nothing else happens.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The channel has given up what was repeated often enough. What of that was presence is told again, later.
    pub(crate) fn handle_given_up(&mut self, channel: &RendezvousChannel, now: Instant) {
        let lost = self.underway.extract_if(.., |(number, _)| !channel.is_outstanding(*number));
        for (peer, here) in lost.flat_map(|(_, peers)| peers) {
            match self.news.iter_mut().find(|news| news.peer == peer) {
                // Since then the contrary has come about.
                Some(later) => later.doubtful = true,
                None => self.news.push(News { peer, here, doubtful: true }),
            }
            self.due = Some(now + LOST_PAUSE);
        }
    }

    /// Whether there is somebody whom it does not let see it.
    fn hides(&self) -> bool {
        self.watches.iter().any(|watch| !watch.is(SHOWN))
    }

    /// Whom it lets see it.
    fn shown(&self) -> impl Iterator<Item = Mark> {
        self.watches.iter().filter(|watch| watch.is(SHOWN)).map(|watch| watch.mark())
    }
}

/// All watching, beside what stands with each registration.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// Watches of all registrations.
    watches: usize,
    /// Registrations that another of the same peer has replaced: whom they let see them, who is to be told unless the new one
    /// names them, too.
    lapsing: VecDeque<(Instant, PeerId, Vec<Mark>)>,
}

impl Presence {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.lapsing.front().map(|(due, ..)| *due)
    }
}

impl Server {
    /// The peer in this slot names peers that it watches.
    pub(crate) fn watch(&mut self, now: Instant, slot: u32, unseen: bool, peers: &[Watched]) {
        let now_us = microseconds(self.start, now);
        let rate = self.policy.watches;
        let Some(entry) = self.registry.at(slot, now).filter(|_| self.closing.is_none()) else { return };
        let (me, mut unseen) = (entry.registration.peer(), unseen);
        let Some(watching) = entry.line.as_mut().map(|line| line.watching.get_or_insert_default()) else { return };
        let amount = u32::try_from(peers.len()).unwrap_or(u32::MAX).max(1);
        if peers.len() > MAX_NAMED || !watching.named.take_many(rate, amount, now_us) {
            self.counters.dropped_watch += 1;
            // To be shown to somebody from whom one hides is worse than to be seen by nobody.
            entry.unseen |= peers.iter().any(|named| !named.shown);
            return;
        }
        for Watched { peer, shown } in peers.iter().filter(|named| named.peer != me) {
            let mark = self.registry.mark(*peer);
            let room = self.presence.watches < self.policy.watches_in_all;
            let Some(watching) = self.watching(now, slot) else { return };
            let before = watching.watches.len();
            let taken = watching.name(mark, *shown, room);
            self.presence.watches += watching.watches.len() - before;
            if !taken {
                self.counters.dropped_watch += 1;
                unseen |= !shown;
                continue;
            }
            self.counters.watched += 1;
            let other = self.registry.find(*peer, now);
            if let Some(other) = other.filter(|_| !shown) {
                self.part(now, slot, other);
            }
            if *shown {
                self.show_collected(me, *peer);
            }
            self.look(now, slot, *peer, true);
            if let Some(other) = other {
                self.look(now, other, me, false);
            }
        }
        if let Some(entry) = self.registry.at(slot, now) {
            entry.unseen = unseen;
        }
    }

    /// The peer in this slot watches these no more.
    pub(crate) fn unwatch(&mut self, now: Instant, slot: u32, peers: &[PeerId]) {
        let Some(me) = self.registry.at(slot, now).map(|entry| entry.registration.peer()) else { return };
        for peer in peers.iter().take(MAX_NAMED) {
            let mark = self.registry.mark(*peer);
            let Some(watching) = self.watching(now, slot) else { return };
            let Ok(place) = watching.place(mark) else { continue };
            watching.watches.remove(place);
            watching.news.retain(|news| news.peer != *peer);
            self.presence.watches -= 1;
            if let Some(other) = self.registry.find(*peer, now) {
                self.look(now, other, me, false);
            }
        }
    }

    /// Whether the peer in this slot hides from that one, which is then to be treated as if the slot were empty.
    pub(crate) fn hides(&mut self, now: Instant, slot: u32, from: PeerId) -> bool {
        let mark = self.registry.mark(from);
        self.hides_from(now, slot, Some(mark))
    }

    /// The same, where one may not know of whom; then whether it hides from anybody.
    pub(crate) fn hides_from(&mut self, now: Instant, slot: u32, mark: Option<Mark>) -> bool {
        self.registry.at(slot, now).is_some_and(|entry| {
            let watching = entry.line.as_ref().and_then(|line| line.watching.as_ref());
            let Some(mark) = mark else {
                return entry.unseen || watching.is_some_and(|watching| watching.hides());
            };
            let named = watching.and_then(|watching| watching.find(mark));
            named.map_or(entry.unseen, |watch| !watch.is(SHOWN))
        })
    }

    /// Whether the peer in this slot has named that one, to be seen by it or to hide from it: it is no stranger.
    pub(crate) fn knows(&mut self, now: Instant, slot: u32, peer: PeerId) -> bool {
        let mark = self.registry.mark(peer);
        let line = self.registry.at(slot, now).and_then(|entry| entry.line.as_ref());
        line.and_then(|line| line.watching.as_ref()?.find(mark)).is_some()
    }

    /// A registration has ended: whoever watched it is told, unless another of the same peer has taken its place.
    pub(crate) fn watch_ended(&mut self, now: Instant, entry: &mut Entry) {
        let Some(watching) = entry.line.as_mut().and_then(|line| line.watching.take()) else { return };
        self.presence.watches -= watching.watches.len();
        if self.closing.is_some() {
            return;
        }
        let peer = entry.registration.peer();
        let shown: Vec<_> = watching.shown().collect();
        if self.registry.find(peer, now).is_some() {
            self.presence.lapsing.push_back((now + LAPSE, peer, shown));
        } else {
            self.look_all(now, &shown, peer);
        }
    }

    /// Tells of those who were replaced and have not come back to their watchers.
    pub(crate) fn lapse(&mut self, now: Instant) {
        while self.presence.poll_timeout().is_some_and(|due| due <= now) {
            let Some((_, peer, shown)) = self.presence.lapsing.pop_front() else { return };
            if self.closing.is_none() {
                self.look_all(now, &shown, peer);
            }
        }
    }

    fn look_all(&mut self, now: Instant, watchers: &[Mark], peer: PeerId) {
        for watcher in watchers {
            if let Some(slot) = self.registry.find_mark(*watcher, now) {
                self.look(now, slot, peer, false);
            }
        }
    }

    /// Looks whether the peer in this slot, if it watches that one, is to be told something of it; if it `asks` for it, whether
    /// that one is here is told again.
    fn look(&mut self, now: Instant, slot: u32, peer: PeerId, asks: bool) {
        let Some(watcher) = self.registry.at(slot, now).map(|entry| entry.registration.peer()) else { return };
        let (mark, ours) = (self.registry.mark(peer), self.registry.mark(watcher));
        let here = self.registry.find(peer, now).is_some_and(|there| self.shows(now, there, ours));
        let Some(line) = self.registry.at(slot, now).and_then(|entry| entry.line.as_mut()) else { return };
        if line.watching.as_mut().is_some_and(|watching| watching.learn(mark, peer, here, asks)) {
            self.outbox.wake(slot, line);
        }
    }

    /// Whether the peer in this slot watches that one and lets it see it.
    fn shows(&mut self, now: Instant, slot: u32, to: Mark) -> bool {
        let line = self.registry.at(slot, now).and_then(|entry| entry.line.as_ref());
        line.and_then(|line| line.watching.as_ref()?.find(to)).is_some_and(|watch| watch.is(SHOWN))
    }

    fn watching(&mut self, now: Instant, slot: u32) -> Option<&mut Watching> {
        let line = self.registry.at(slot, now)?.line.as_mut()?;
        Some(line.watching.get_or_insert_default())
    }
}
