//! Our letters: sealed by the store, posted in order, and given over to the rendezvous that have them.

use std::time::{Duration, Instant};

use knothole_proto::control::{LetterName, Posted as Outcome};
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::{ContactId, NotPosted, RendezvousId};

use super::{Letters, Posted};
use crate::engine::Engine;
use crate::engine::timers::Timer;
use crate::store::{MessageState, Sealed};

/// Letters of one contact on their way at once: half of what a registration can have on its way altogether.
const AT_ONCE: usize = 16;
/// A rendezvous that has too much to do for us is asked again after this.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
/// A letter that was not answered for so long is taken back: a rendezvous that answers none must not hold up all that follow.
const UNANSWERED: Duration = Duration::from_secs(30);

impl Engine {
    /// The person has written something: unless a connection carries it, it goes by letter, and all before it that has not
    /// come through.
    pub(in crate::engine) fn begin_letters(&mut self, id: ContactId) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.letters.said = true;
        }
        self.write_letters(id);
    }

    /// Something has not come through, and perhaps does now. To one from whom we hide nothing goes by itself: that we are
    /// there it is to learn from what the person writes, and from nothing else.
    pub(in crate::engine) fn resume_letters(&mut self, id: ContactId) {
        if self.contacts.get(&id).is_some_and(|contact| contact.letters.said || !contact.standing.hidden) {
            self.write_letters(id);
        }
    }

    /// All that has not come through goes by letter, unless a connection carries it.
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
            self.resume_letters(id);
        }
    }

    fn handle_sealed(&mut self, peer: PeerId, sealed: Vec<Sealed>) {
        let Some(id) = self.find_peer(peer) else { return };
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| !contact.is_online()) else { return };
        let letters = &mut contact.letters;
        letters.waiting = sealed.into_iter().filter(|letter| !letters.posted.contains_key(&letter.name)).collect();
        letters.said &= !(letters.waiting.is_empty() && letters.posted.is_empty());
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
                    letters.posted.insert(name, Posted { envelope, tried: vec![via], at: now });
                    self.timers.bring_forward(id, Timer::Unanswered, now + UNANSWERED);
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
                posted.at = now;
                self.timers.bring_forward(id, Timer::Unanswered, now + UNANSWERED);
                contact.letters.posted.insert(letter, posted);
            } else {
                // It stays sealed: the next that is written, or the connection, or the next registration tries again.
                contact.letters.returned = true;
                contact.letters.said = false;
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

    /// Letters have been on their way for long: those that are not answered are posted anew, one before the others.
    pub(in crate::engine) fn look_for_unanswered(&mut self, id: ContactId, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let taken_back = contact.letters.take_back(now);
        if let Some(first) = contact.letters.posted.values().map(|posted| posted.at).min() {
            self.timers.set(id, Timer::Unanswered, first + UNANSWERED);
        }
        if taken_back {
            tracing::info!("a rendezvous did not answer for letters");
            self.resume_letters(id);
        }
    }

    /// A registration has ended: nothing more is heard of what was posted there.
    pub(in crate::engine) fn forget_posted(&mut self, via: RendezvousId) {
        for contact in self.contacts.values_mut() {
            contact.letters.posted.retain(|_, posted| posted.tried.last() != Some(&via));
        }
    }
}

impl Letters {
    /// Takes back what was posted too long ago, if there is any.
    fn take_back(&mut self, now: Instant) -> bool {
        let before = self.posted.len();
        self.posted.retain(|_, posted| now < posted.at + UNANSWERED);
        let any = self.posted.len() < before;
        self.returned |= any;
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_nobody_answers_is_taken_back_and_holds_up_no_other() {
        let now = Instant::now();
        let mut letters = Letters::default();
        for (n, age) in [(1, 0), (2, 10)] {
            let at = now + Duration::from_secs(age);
            letters.posted.insert(LetterName([n; 8]), Posted { envelope: vec![n], tried: vec![RendezvousId(0)], at });
        }
        assert!(!letters.take_back(now + Duration::from_secs(29)));
        assert!(letters.take_back(now + UNANSWERED));
        assert_eq!(letters.posted.keys().copied().collect::<Vec<_>>(), [LetterName([2; 8])]);
        assert!(letters.returned, "others are tried one at a time");
        assert!(letters.take_back(now + Duration::from_secs(40)));
        assert!(letters.posted.is_empty());
        assert!(!letters.take_back(now + Duration::from_secs(99)));
    }
}
