//! Presence: which contacts are there, when each was seen last, and which of them may know that we are.
//!
//! A contact is there if a rendezvous says so or a connection joins us. From whom we hide has no connection, is sent nothing
//! but letters and answered nothing: what it sees is what it would see if we had left, and we leave it as one who stops.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use knothole_proto::identity::PeerId;
use knothole_proto::traversal::{ContactId, RendezvousId};

use super::contact::{Contact, LAST_WORD};
use super::timers::Timer;
use super::{Engine, answer, reasons, virtual_address, wall_clock};
use crate::command::{CommandError, PresenceMode, Reply};
use crate::event::{EventKind, PathChange};
use crate::link::LinkId;
use crate::store::{Acquaintance, ContactState};

/// The setting that remembers whether the person is invisible: one byte, 0 or 1.
pub(super) const SETTING: &str = "invisible";

/// A connection that is closed in good order has ended after this, as when we stop; then the rendezvous are told.
const FAREWELL: Duration = Duration::from_secs(2);
/// Between the end of the last connection and the word to the rendezvous, as when we stop.
const LAST_WORDS: Duration = Duration::from_millis(150);
/// How often it is noted that contacts are still there: a process that is killed forgets no more than this of when they were
/// seen.
const NOTING: Duration = Duration::from_secs(300);

/// How we and a contact stand in time.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Whether it may see that we are there, if that is not as for all.
    shown: Option<bool>,
    /// Whether we hide from it.
    pub(super) hidden: bool,
    /// A connection of the two that is ending, after which the rendezvous hear that we hide.
    leaving: Option<LinkId>,
    /// Whether a rendezvous says that it is there.
    pub(super) here: bool,
    last_seen: Option<u64>,
    /// When something was written last, either way.
    pub(super) spoke: u64,
    /// The same, for connections that may rest.
    pub(super) talked: Option<Instant>,
}

/// What is not any one contact's.
#[derive(Debug, Default)]
pub(super) struct Presence {
    pub(super) invisible: bool,
    /// Of contacts that the engine does not hold at present.
    others: BTreeMap<PeerId, Standing>,
    /// When it is to be noted who is there.
    noting: Option<Instant>,
}

impl Presence {
    pub(super) fn new(invisible: bool, known: Vec<Acquaintance>) -> Self {
        let standing = |known: Acquaintance| {
            let Acquaintance { peer, spoke, last_seen, shown } = known;
            (peer, Standing { shown, last_seen, spoke, ..Standing::default() })
        };
        Self { invisible, others: known.into_iter().map(standing).collect(), noting: None }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.noting
    }
}

impl Contact {
    /// Whether it is there, as far as anybody knows; of those with whom we do not talk nobody is told.
    pub(super) fn is_there(&self) -> bool {
        self.is_online() || (self.talks() && self.standing.here)
    }

    /// When it was there last, in milliseconds since 1970.
    pub(super) fn last_seen(&self) -> Option<u64> {
        if self.is_there() { Some(wall_clock()) } else { self.standing.last_seen }
    }
}

impl Engine {
    /// Whether this contact must not notice that we are there: nothing but letters goes to it, and no word of what we do.
    pub(super) fn is_hidden_from(&self, id: ContactId) -> bool {
        self.contacts.get(&id).is_some_and(|contact| contact.standing.hidden)
    }

    /// How we stand with one who comes among the contacts.
    pub(super) fn take_standing(&mut self, peer: PeerId) -> Standing {
        let new = || Standing { spoke: wall_clock(), ..Standing::default() };
        let mut standing = self.presence.others.remove(&peer).unwrap_or_else(new);
        standing.hidden = !standing.shown.unwrap_or(!self.presence.invisible);
        standing.here = self.traversal.is_here(&peer);
        standing
    }

    /// One who is taken out and put back, as something else; what the rendezvous are told of it changes only then: for no
    /// moment does one who is blocked see us.
    /// `leaving`: the connection that is ending with it.
    pub(super) fn leave_standing(&mut self, peer: PeerId, standing: Standing, leaving: Option<LinkId>) {
        self.presence.others.insert(peer, Standing { leaving, ..standing });
    }

    /// One who is removed: what we knew of it goes, too.
    pub(super) fn forget_standing(&mut self, peer: PeerId) {
        self.presence.others.remove(&peer);
        self.traversal.unwatch(peer, Instant::now());
        self.refresh_unseen(Instant::now());
    }

    /// Tells the rendezvous of a contact what it is to us now.
    pub(super) fn watch_contact(&mut self, id: ContactId, now: Instant) {
        let Some(contact) = self.contacts.get(&id) else { return };
        let shown = contact.talks() && !contact.standing.hidden;
        let via = self.rendezvous.iter().zip(0..);
        let via = via.filter(|(rendezvous, _)| contact.via.iter().any(|via| via.key == rendezvous.address.key));
        // Where one who is blocked was invited it stays named, or it would be a stranger there for a moment, and strangers are told.
        let known = contact.talks() || contact.state == ContactState::Blocked;
        let via = via.filter(|_| known).map(|(_, index)| RendezvousId(index)).collect();
        // A stranger who asks has been told nothing yet, and is told nothing by this.
        if contact.state != ContactState::Request {
            self.traversal.watch(contact.peer, shown, via, now);
        }
        self.refresh_unseen(now);
    }

    /// Who is blocked is hidden from like anybody: it could ask under another key, or at a rendezvous of somebody else's at which
    /// we are guests, where it is named to nobody. What it is answered there would tell that it is blocked.
    fn refresh_unseen(&mut self, now: Instant) {
        let hidden =
            |contact: &Contact| contact.state == ContactState::Blocked || (contact.talks() && contact.standing.hidden);
        let hides = self.contacts.values().any(hidden);
        self.traversal.set_unseen(self.presence.invisible || hides, now);
    }

    /// A rendezvous says that somebody has come or gone.
    pub(super) fn handle_presence(&mut self, peer: PeerId, here: bool, now: Instant) {
        let Some(id) = self.find_peer(peer) else { return };
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        contact.standing.here = here;
        let joined = contact.link.is_some();
        self.settle_presence(id);
        if here && !joined {
            self.handle_come(id, now);
        }
    }

    /// The contact has left, or does not answer any more: what was said of it before counts no longer.
    pub(super) fn handle_gone(&mut self, id: ContactId, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        contact.standing.here = false;
        self.traversal.handle_gone(contact.peer, now);
    }

    /// Tells the faces if the contact has come or gone.
    pub(super) fn settle_presence(&mut self, id: ContactId) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let online = contact.is_there();
        if contact.told_online == online {
            return;
        }
        contact.told_online = online;
        let (peer, name, at) = (contact.peer, contact.name.clone(), wall_clock());
        contact.standing.last_seen = Some(at);
        self.note_seen(vec![(peer, at)]);
        self.presence.noting.get_or_insert(Instant::now() + NOTING);
        self.emit(EventKind::Presence { peer, name, online });
    }

    /// Notes of all who are there that they are.
    pub(super) fn note_all_seen(&mut self) {
        let at = wall_clock();
        let there = self.contacts.values_mut().filter(|contact| contact.is_there());
        let seen: Vec<_> = there
            .map(|contact| {
                contact.standing.last_seen = Some(at);
                (contact.peer, at)
            })
            .collect();
        self.presence.noting = (!seen.is_empty()).then(|| Instant::now() + NOTING);
        if !seen.is_empty() {
            self.note_seen(seen);
        }
    }

    pub(super) fn handle_presence_timeout(&mut self, now: Instant) {
        if self.presence.noting.is_some_and(|due| due <= now) {
            self.note_all_seen();
        }
    }

    fn note_seen(&mut self, seen: Vec<(PeerId, u64)>) {
        self.after(self.store.seen(seen), |_, result| {
            if let Err(error) = result {
                tracing::debug!(%error, "it was not noted who was seen");
            }
        });
    }

    /// Stores who may see us, and follows it from then on: what is not stored would be forgotten at the next start.
    pub(super) fn set_presence(&mut self, mode: PresenceMode, who: Option<String>, reply: Reply<()>) {
        let shown = match mode {
            PresenceMode::Online => Some(true),
            PresenceMode::Invisible => Some(false),
            PresenceMode::Default => None,
        };
        let Some(who) = who else {
            let invisible = mode == PresenceMode::Invisible;
            return self.after(self.store.set_setting(SETTING, vec![u8::from(invisible)]), move |engine, result| {
                let mut changed = Vec::new();
                if result.is_ok() {
                    engine.presence.invisible = invisible;
                    changed = engine.follow_presence(Instant::now());
                }
                answer(reply, result.map_err(CommandError::from));
                changed.into_iter().for_each(|peer| engine.tell_contact(peer));
            });
        };
        let peer = match self.named(&who) {
            Ok((_, peer)) => peer,
            Err(error) => return answer(reply, Err(error)),
        };
        self.after(self.store.show(peer, shown), move |engine, result| {
            let id = engine.find_peer(peer).filter(|_| result.is_ok());
            let mut changed = Vec::new();
            if let Some(contact) = id.and_then(|id| engine.contacts.get_mut(&id)) {
                contact.standing.shown = shown;
                changed = engine.follow_presence(Instant::now());
            }
            answer(reply, result.map_err(CommandError::from));
            changed.into_iter().for_each(|peer| engine.tell_contact(peer));
        });
    }

    /// Hides from those from whom we are to, and from no others; returns for whom that is new.
    fn follow_presence(&mut self, now: Instant) -> Vec<PeerId> {
        let invisible = self.presence.invisible;
        let hides = |contact: &Contact| !contact.standing.shown.unwrap_or(!invisible);
        let changed: Vec<_> = self
            .contacts
            .iter()
            .filter(|(_, contact)| hides(contact) != contact.standing.hidden)
            .map(|(id, contact)| (*id, contact.talks()))
            .collect();
        let mut peers = Vec::new();
        for (id, talks) in changed {
            let Some(contact) = self.contacts.get_mut(&id) else { continue };
            contact.standing.hidden = !contact.standing.hidden;
            peers.push(contact.peer);
            match (talks, contact.standing.hidden) {
                (false, _) => {}
                (true, true) => self.conceal(id, now),
                (true, false) => self.reveal(id, now),
            }
        }
        self.hide_from_lan();
        self.refresh_unseen(now);
        peers
    }

    /// Leaves a contact, as if we stopped.
    fn conceal(&mut self, id: ContactId, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let link = contact.link.take();
        contact.drop_link();
        let way = contact.path.take().is_some() | contact.relay.take().is_some();
        contact.flight = None;
        contact.told_why = None;
        contact.standing.leaving = link.as_ref().map(|link| link.id);
        let (peer, name) = (contact.peer, contact.name.clone());
        self.links.expect_nobody(virtual_address(id));
        self.traversal.handle_link_down(id);
        self.traversal.set_hidden(id, true, now);
        for timer in [Timer::Dial, Timer::Silence, Timer::Answered, Timer::Reconnect, Timer::Rest] {
            self.timers.cancel(id, timer);
        }
        if let Some(link) = link {
            self.links.close(link.id);
            self.timers.set(id, Timer::Conceal, now + FAREWELL);
        } else {
            self.finish_concealing(id, now);
        }
        if way {
            let path = PathChange::None { why: reasons::HIDDEN.to_owned() };
            self.emit(EventKind::Path { peer, name, path });
        }
        self.settle_presence(id);
        // What is on its way goes with us: later nothing does that the person does not write.
        if self.contacts.get(&id).is_some_and(Contact::has_unacknowledged) {
            self.write_letters(id);
        }
    }

    /// A connection has ended that was in use no more.
    pub(super) fn handle_left(&mut self, link: LinkId, now: Instant) {
        let of = |contact: &Contact| contact.standing.leaving == Some(link);
        let left = self.contacts.iter_mut().find(|(_, contact)| of(contact));
        if let Some((&id, contact)) = left {
            contact.standing.leaving = None;
            self.timers.set(id, Timer::Conceal, now + LAST_WORDS);
        }
    }

    /// Tells the rendezvous of one who has come among the contacts. Of one who is blocked only after the last word of the connection
    /// that there may have been: they close what joins us through them, and the word would be lost.
    pub(super) fn name_new_contact(&mut self, id: ContactId, now: Instant) {
        let leaving = self.contacts.get_mut(&id).and_then(|contact| contact.standing.leaving.take());
        if leaving.is_some() && self.contacts.get(&id).is_some_and(|contact| contact.state == ContactState::Blocked) {
            self.timers.set(id, Timer::Conceal, now + LAST_WORDS);
        } else {
            self.watch_contact(id, now);
        }
    }

    /// The rendezvous hear from whom we hide, and close what joins us through them.
    pub(super) fn finish_concealing(&mut self, id: ContactId, now: Instant) {
        let blocked = self.contacts.get(&id).is_some_and(|contact| contact.state == ContactState::Blocked);
        if self.is_hidden_from(id) || blocked {
            if let Some(contact) = self.contacts.get_mut(&id) {
                contact.standing.leaving = None;
            }
            self.watch_contact(id, now);
            self.timers.set(id, Timer::Forget, now + LAST_WORD);
        }
    }

    /// Comes back to a contact, as if we started.
    fn reveal(&mut self, id: ContactId, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        contact.standing.leaving = None;
        let peer = contact.peer;
        self.timers.cancel(id, Timer::Conceal);
        self.links.expect(virtual_address(id), peer);
        self.traversal.set_hidden(id, false, now);
        self.watch_contact(id, now);
        if self.is_wanted(id) {
            self.traversal.connect(id, now);
            self.look_around(id, now);
        }
    }
}
