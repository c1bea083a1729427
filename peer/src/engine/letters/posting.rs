//! Our letters: sealed by the store, posted in order, and given over to the rendezvous that have them.

use std::time::{Duration, Instant};

use knothole_proto::control::{LetterName, Posted as Outcome};
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::{ContactId, NotPosted, RendezvousId};

use super::Posted;
use crate::engine::Engine;
use crate::engine::timers::Timer;
use crate::store::{MessageState, Sealed};

/// Letters of one contact on their way at once: half of what a registration can have on its way altogether.
const AT_ONCE: usize = 16;
/// A rendezvous that has too much to do for us is asked again after this.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

impl Engine {
    /// Something has been written for a contact, or has not come through: unless a connection carries it, it goes by letter.
    pub(in crate::engine) fn write_letters(&mut self, id: ContactId) {
        let Some(contact) = self.contacts.get(&id).filter(|contact| contact.talks() && !contact.is_online()) else {
            return;
        };
        let peer = contact.peer;
        // As many again as may be on their way, for the first may be.
        self.after(self.store.seal(self.me, peer, 2 * AT_ONCE as u32), move |engine, result| match result {
            Ok(sealed) => engine.handle_sealed(peer, sealed),
            Err(error) => tracing::info!(%error, "nothing was sealed"),
        });
    }

    /// We are registered: what has waited for that is posted.
    pub(in crate::engine) fn post_all(&mut self) {
        let unacknowledged = self.contacts.iter().filter(|(_, contact)| contact.has_unacknowledged());
        for id in unacknowledged.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.write_letters(id);
        }
    }

    fn handle_sealed(&mut self, peer: PeerId, sealed: Vec<Sealed>) {
        let Some(id) = self.find_peer(peer) else { return };
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| !contact.is_online()) else { return };
        let letters = &mut contact.letters;
        letters.waiting = sealed.into_iter().filter(|letter| !letters.posted.contains_key(&letter.name)).collect();
        self.post(id, Instant::now());
    }

    /// Posts as many of a contact's letters as may be on their way.
    fn post(&mut self, id: ContactId, now: Instant) {
        let keep = self.mailbox.is_wanted();
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let letters = &mut contact.letters;
        let at_once = if letters.returned { 1 } else { AT_ONCE };
        while letters.posted.len() < at_once
            && let Some(Sealed { name, envelope }) = letters.waiting.pop_front()
        {
            match self.traversal.post(id, &[], (name, envelope.clone()), keep, now) {
                Ok(via) => {
                    tracing::debug!(contact = ?contact.peer, ?via, "a letter is posted");
                    letters.posted.insert(name, Posted { envelope, tried: vec![via] });
                }
                Err(not) => {
                    letters.waiting.clear();
                    if not == NotPosted::Busy {
                        self.timers.set(id, Timer::Letters, now + BUSY_PAUSE);
                    }
                    return;
                }
            }
        }
    }

    /// A rendezvous tells what became of a letter.
    pub(in crate::engine) fn handle_posted(
        &mut self,
        via: RendezvousId,
        letter: LetterName,
        outcome: Outcome,
        now: Instant,
    ) {
        let sought = |posted: &Posted| posted.tried.last() == Some(&via);
        let found = self.contacts.iter().find(|(_, contact)| contact.letters.posted.get(&letter).is_some_and(sought));
        let Some(id) = found.map(|(id, _)| *id) else { return };
        let keep = self.mailbox.is_wanted();
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let peer = contact.peer;
        let Some(mut posted) = contact.letters.posted.remove(&letter) else { return };
        tracing::debug!(contact = ?peer, ?outcome, "a letter was answered");
        if outcome == Outcome::Returned {
            // The contact may be at another of its rendezvous.
            let next = self.traversal.post(id, &posted.tried, (letter, posted.envelope.clone()), keep, now);
            if let Ok(via) = next {
                posted.tried.push(via);
                contact.letters.posted.insert(letter, posted);
            } else {
                // It stays sealed: the next that is written, or the connection, or the next registration tries again.
                contact.letters.returned = true;
                contact.letters.waiting.clear();
            }
            return;
        }
        contact.letters.returned = false;
        self.progress(peer, self.store.posted(peer, letter), MessageState::Sent);
        self.post(id, now);
        if self.contacts.get(&id).is_some_and(|contact| contact.letters.posted.is_empty()) {
            // There may be more than was looked at.
            self.write_letters(id);
        }
    }

    /// A registration has ended: nothing more is heard of what was posted there.
    pub(in crate::engine) fn forget_posted(&mut self, via: RendezvousId) {
        for contact in self.contacts.values_mut() {
            contact.letters.posted.retain(|_, posted| posted.tried.last() != Some(&via));
        }
    }
}
