//! Letters of our mailboxes that could not be taken, and when those are asked for them again.
//!
//! A mailbox pushes what is not collected when it is told again that it is open. It pushes all of it, so it is told seldom, and
//! ever more seldom while the store goes on refusing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use knothole_proto::traversal::RendezvousId;

use crate::engine::Engine;

/// As long as a conversation that the store refused is left alone.
const FIRST_PAUSE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Which mailboxes hold something for us that we could not take.
#[derive(Default)]
pub(super) struct Missed {
    /// These are to be asked again.
    at: BTreeSet<RendezvousId>,
    /// These when what waits has made room.
    held_up: BTreeSet<RendezvousId>,
    due: Option<Instant>,
    pause: Option<Duration>,
}

impl Missed {
    /// The store refused a letter, or there were too many.
    pub(super) fn handle_refused(&mut self, via: RendezvousId, now: Instant) {
        self.at.insert(via);
        self.expect(now);
    }

    /// Too much waits for a message that is missing.
    pub(super) fn handle_left(&mut self, via: RendezvousId) {
        self.held_up.insert(via);
    }

    /// A message has come, and perhaps what waited for it has been taken.
    pub(super) fn handle_room(&mut self, now: Instant) {
        if !self.held_up.is_empty() {
            self.at.append(&mut self.held_up);
            self.expect(now);
        }
    }

    /// The store takes letters.
    pub(super) fn handle_taken(&mut self) {
        if self.due.is_none() {
            self.pause = None;
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The mailboxes whose turn it is.
    pub(super) fn take_due(&mut self, now: Instant) -> BTreeSet<RendezvousId> {
        if self.due.is_none_or(|due| now < due) {
            return BTreeSet::new();
        }
        self.due = None;
        std::mem::take(&mut self.at)
    }

    fn expect(&mut self, now: Instant) {
        if self.due.is_none() {
            let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
            self.pause = Some(pause);
            self.due = Some(now + pause);
        }
    }
}

impl Engine {
    /// Asks again for what could not be taken.
    pub(in crate::engine) fn handle_letters_timeout(&mut self, now: Instant) {
        for via in self.receiving.missed.take_due(now) {
            if self.mailbox.is_wanted() {
                self.say_mailbox(via, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_are_asked_again_and_more_seldom_while_the_store_refuses() {
        let (mut now, via) = (Instant::now(), RendezvousId(0));
        let mut missed = Missed::default();
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map(Duration::from_secs) {
            missed.handle_refused(via, now);
            missed.handle_refused(via, now);
            assert_eq!(missed.poll_timeout(), Some(now + pause));
            assert_eq!(missed.take_due(now), BTreeSet::new());
            now += pause;
            assert_eq!(missed.take_due(now), BTreeSet::from([via]));
            assert_eq!(missed.poll_timeout(), None);
        }
        missed.handle_taken();
        missed.handle_refused(via, now);
        assert_eq!(missed.poll_timeout(), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn what_there_was_no_room_for_is_asked_for_when_a_message_has_come() {
        let (now, via) = (Instant::now(), RendezvousId(3));
        let mut missed = Missed::default();
        missed.handle_room(now);
        missed.handle_left(via);
        assert_eq!(missed.poll_timeout(), None);
        missed.handle_room(now);
        assert_eq!(missed.take_due(now + FIRST_PAUSE), BTreeSet::from([via]));
    }
}
