//! Which contacts are kept connected, when others are connected to, and when a connection rests.
//!
//! With some hundred contacts as many idle connections would cost more than all talk: presence comes from the rendezvous, and a
//! connection when there is something to say. The contacts written with most recently are kept connected while they are
//! there, so that what is said to them goes straight.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use knothole_proto::traversal::ContactId;

use super::contact::{Contact, LAST_WORD};
use super::timers::Timer;
use super::{Engine, reasons};
use crate::link::Abort;

/// Contacts that are kept connected. Who has no more than these never notices the rest of this.
const WARM: usize = if cfg!(test) { 2 } else { 16 };

/// A contact that has come, and for which something waits, is connected to after this, if it has not connected to us by then:
/// it has just begun, and invites those that it wants.
const COURTESY: Duration = Duration::from_secs(1);

/// If nothing waits, within so much more by chance: all who know it hear at once that it has come.
const SPREAD_MS: u64 = 20_000;

/// A connection on which nobody has written for so long rests, unless it is kept.
const REST: Duration = if cfg!(test) { Duration::from_secs(2) } else { Duration::from_secs(300) };

impl Engine {
    /// Whether a connection with this contact is to be sought, and kept.
    pub(super) fn is_wanted(&self, id: ContactId) -> bool {
        let Some(contact) = self.contacts.get(&id).filter(|contact| contact.talks() && !contact.standing.hidden) else {
            return false;
        };
        contact.has_unacknowledged() || self.is_warm(id, contact)
    }

    fn is_warm(&self, id: ContactId, contact: &Contact) -> bool {
        let ours = (contact.standing.spoke, id);
        let later = |(other, contact): &(&ContactId, &Contact)| {
            contact.talks() && !contact.standing.hidden && (contact.standing.spoke, **other) > ours
        };
        self.contacts.iter().filter(later).take(WARM).count() < WARM
    }

    /// Sets out to reach all that are wanted.
    pub(super) fn connect_wanted(&mut self, now: Instant) {
        let wanted: Vec<_> = self.contacts.keys().copied().filter(|id| self.is_wanted(*id)).collect();
        for id in wanted {
            self.traversal.connect(id, now);
            self.look_around(id, now);
        }
    }

    /// A contact has come, and no connection joins us.
    pub(super) fn handle_come(&mut self, id: ContactId, now: Instant) {
        let waits = self.contacts.get(&id).is_some_and(Contact::has_unacknowledged);
        if waits {
            self.resume_letters(id);
        }
        if self.is_wanted(id) {
            let chance = u64::from(super::seed()[0]) * SPREAD_MS / 256;
            let spread = if waits { 0 } else { chance };
            self.timers.set(id, Timer::Reconnect, now + COURTESY + Duration::from_millis(spread));
        }
    }

    /// Something was written, either way.
    pub(super) fn note_talk(&mut self, id: ContactId) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.standing.spoke = super::wall_clock();
            contact.standing.talked = Some(Instant::now());
        }
    }

    /// A connection is up: whether it is to stay is looked at by and by.
    pub(super) fn begin_rest(&mut self, id: ContactId, now: Instant) {
        self.timers.set(id, Timer::Rest, now + REST);
    }

    /// Lets a connection rest that nobody needs at present. Whoever is not known to a rendezvous keeps its own, or its going
    /// would not be noticed.
    pub(super) fn rest(&mut self, id: ContactId, now: Instant) {
        let wanted = self.is_wanted(id);
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let Some(link) = &contact.link else { return };
        let idle = contact.standing.talked.is_none_or(|at| now >= at + REST);
        if wanted || !idle || !link.up || !contact.standing.here {
            return self.begin_rest(id, now);
        }
        tracing::debug!(contact = ?contact.peer, "the connection rests");
        self.links.abort(link.id, Abort::Resting);
        contact.drop_link();
        self.handle_rested(id, now);
    }

    /// A connection rests, by our choice or the contact's.
    pub(super) fn handle_rested(&mut self, id: ContactId, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        contact.relay = None;
        contact.flight = None;
        contact.pause = Duration::ZERO;
        self.timers.cancel(id, Timer::Rest);
        self.traversal.handle_link_down(id);
        self.tell_no_path(id, reasons::RESTS);
        self.traversal.release(id);
        self.timers.set(id, Timer::Forget, now + LAST_WORD);
        self.settle_presence(id);
    }
}
