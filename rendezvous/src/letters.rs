//! Letters: what one peer leaves with the rendezvous for another. Only the two can read them.
//!
//! ```text
//! Post ──► within the sender's ration? ──► recipient here? ──► Letter, at once; the sender is told Passed
//!                                                  └─ away ──► mailbox ──► Kept, or Returned
//! ```
//! A peer may hide from another: towards that one it is away, in all that is said and when. Its letters reach it all the
//! same.
//!
//! One letter causes one letter at most, of the same bytes and a few around them: nobody is flooded with more than its senders
//! spend.

use std::time::Instant;

use knothole_proto::control::{LetterName, MAX_ENVELOPE, MAX_OUTSTANDING, Posted, ToPeer};
use knothole_proto::identity::PeerId;

use crate::admission::microseconds;
use crate::mailbox::Keeping;
use crate::outbox::Line;
use crate::server::Server;

/// Answers that one peer is owed: to all letters that it may post at once. One that takes none of them asks again by itself.
const MAX_ANSWERS: usize = 256;

/// What a peer posts.
pub(crate) struct Post {
    pub(crate) to: PeerId,
    pub(crate) letter: LetterName,
    pub(crate) envelope: Vec<u8>,
    pub(crate) keep: bool,
}

impl Server {
    /// Takes a letter from the peer in this slot, and tells it what became of it.
    pub(crate) fn post(&mut self, now: Instant, slot: u32, post: Post) {
        self.counters.letters_posted += 1;
        let now_us = microseconds(self.start, now);
        let Some(sender) = self.registry.at(slot, now) else { return };
        let from = sender.registration.peer();
        let letters = sender.line.as_mut().map(|line| &mut line.letters);
        if post.envelope.len() > MAX_ENVELOPE {
            self.counters.dropped_malformed += 1;
            return self.posted(now, slot, post.letter, Posted::Returned);
        }
        if !letters.is_some_and(|letters| letters.take(self.policy.letters, now_us)) {
            self.counters.letters_refused_rate += 1;
            return self.posted(now, slot, post.letter, Posted::Returned);
        }
        let recipient = self.registry.find(post.to, now).filter(|recipient| *recipient != slot);
        let hidden = recipient.is_some_and(|recipient| self.hides(now, recipient, from));
        let visible = recipient.filter(|_| !hidden && self.closing.is_none());
        if let Some(recipient) = visible
            && self.pass(now, recipient, from, &post.envelope)
        {
            self.counters.letters_passed += 1;
            self.show_collected(post.to, from);
            let letter = post.letter;
            if post.keep {
                self.hold(now, recipient, from, post);
            }
            // It goes before anything else, as an invitation does.
            self.flush(now, recipient);
            return self.posted(now, slot, letter, Posted::Passed);
        }
        // From here on a recipient that hides is away like any other.
        let keeping = if post.keep { self.keep(now, slot, from, &post) } else { Keeping::Refused };
        match keeping {
            Keeping::Asked => {}
            Keeping::Kept => self.posted(now, slot, post.letter, Posted::Kept),
            Keeping::Refused => {
                self.posted(now, slot, post.letter, Posted::Returned);
                if recipient.is_some() && hidden {
                    self.pass_discreetly(now, from, post.to, &post.envelope);
                }
            }
        }
    }

    /// Passes a letter to a peer that hides from its sender; after the answer, which neither says nor shows by its moment that
    /// there is anybody.
    pub(crate) fn pass_discreetly(&mut self, now: Instant, from: PeerId, to: PeerId, envelope: &[u8]) {
        if let Some(recipient) = self.registry.find(to, now) {
            let passed = self.pass(now, recipient, from, envelope);
            self.counters.letters_discreet += u64::from(passed);
        }
    }

    /// Passes a letter straight to the peer in this slot; false if that does not keep up, or has enough of strangers.
    fn pass(&mut self, now: Instant, slot: u32, from: PeerId, envelope: &[u8]) -> bool {
        let now_us = microseconds(self.start, now);
        let (rate, watched) = (self.policy.strangers_letters, self.knows(now, slot, from));
        let Some(entry) = self.registry.at(slot, now) else { return false };
        let known = watched || self.mailboxes.names(entry.registration.peer(), from);
        let line = entry.line.get_or_insert_with(|| Box::new(Line::new(&entry.secret, slot)));
        if !known && !line.strangers.take(rate, now_us) {
            self.counters.letters_refused_strangers += 1;
            return false;
        }
        self.say(now, slot, ToPeer::Letter { id: None, from: Some(from), envelope: envelope.to_vec() })
    }

    /// Tells the peer in this slot what became of its letter.
    pub(crate) fn posted(&mut self, now: Instant, slot: u32, letter: LetterName, outcome: Posted) {
        self.counters.letters_returned += u64::from(outcome == Posted::Returned);
        self.answer(now, slot, ToPeer::Posted { letter, outcome });
    }

    /// Answers the peer in this slot; now, or when its channel has room: the disk answers many of its letters at once.
    pub(crate) fn answer(&mut self, now: Instant, slot: u32, answer: ToPeer) {
        let Some(entry) = self.registry.at(slot, now) else { return };
        let line = entry.line.get_or_insert_with(|| Box::new(Line::new(&entry.secret, slot)));
        if line.channel.outstanding() >= MAX_OUTSTANDING || !line.answers.is_empty() {
            if line.answers.len() < MAX_ANSWERS {
                line.answers.push_back(answer);
            }
            return;
        }
        self.say(now, slot, answer);
    }

    /// The peer in this slot has said something, so that it may have room for answers that it is owed.
    pub(crate) fn answer_owed(&mut self, now: Instant, slot: u32) {
        loop {
            let Some(line) = self.registry.at(slot, now).and_then(|entry| entry.line.as_mut()) else { return };
            if line.channel.outstanding() >= MAX_OUTSTANDING {
                return;
            }
            let Some(answer) = line.answers.pop_front() else { return };
            self.say(now, slot, answer);
        }
    }
}
