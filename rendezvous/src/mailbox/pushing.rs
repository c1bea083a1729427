//! Pushing what waits to an owner that has registered, in the order of arrival, and destroying what that has collected.

use std::time::Instant;

use knothole_proto::control::ToPeer;
use knothole_proto::identity::PeerId;

use super::Order;
use crate::server::Server;

/// Control messages on their way to a recipient, beyond which no letter of its mailbox follows: a round trip brings so
/// many, and other messages never find the channel full of letters.
const WINDOW: usize = 8;
impl Server {
    /// The peer in this slot has registered, or is back after something was given up, or asks for it: what waits for it is pushed from the first letter on.
    pub(crate) fn open_letters(&mut self, now: Instant, slot: u32, owner: PeerId) {
        let now_s = self.mailboxes.seconds(now);
        let Some(mailbox) = self.mailboxes.index.of_mut(owner) else { return };
        mailbox.fetching.clear();
        mailbox.cursor = 0;
        self.mailboxes.ready.insert(slot);
        self.see(owner, now_s);
    }

    /// Asks for the next letter for the peer in this slot, if it can take one.
    pub(super) fn fetch(&mut self, now: Instant, slot: u32) -> Option<Order> {
        let entry = self.registry.at(slot, now)?;
        let owner = entry.registration.peer();
        let mailbox = self.mailboxes.index.of_mut(owner)?;
        let letter = mailbox.next()?;
        let under_way = entry.line.as_ref().map_or(0, |line| line.channel.outstanding());
        if under_way + mailbox.fetching.len() >= WINDOW {
            // Looked at again when the peer has acknowledged something.
            if let Some(line) = &mut entry.line {
                line.letters_wait = true;
            }
            return None;
        }
        mailbox.cursor = letter;
        mailbox.fetching.insert(letter);
        Some(Order::Fetch { owner, letter })
    }

    pub(super) fn fetched(&mut self, now: Instant, owner: PeerId, letter: u64, envelope: Option<Vec<u8>>) {
        let Some(mailbox) = self.mailboxes.index.of_mut(owner) else { return };
        // Otherwise it was collected meanwhile, or is asked for again by a newer registration.
        if !mailbox.fetching.remove(&letter) {
            return;
        }
        let Some(envelope) = envelope else {
            self.counters.letters_unreadable += 1;
            return;
        };
        let Some(slot) = self.registry.find(owner, now) else { return };
        self.mailboxes.ready.insert(slot);
        if self.say(now, slot, ToPeer::Letter { id: Some(letter), from: None, envelope }) {
            self.counters.letters_pushed += 1;
        } else if let Some(mailbox) = self.mailboxes.index.of_mut(owner) {
            mailbox.cursor = mailbox.cursor.min(letter - 1);
        }
    }

    /// The peer in this slot has said something, so that it may have room for more of its letters.
    pub(crate) fn look_for_letters(&mut self, now: Instant, slot: u32) {
        let line = self.registry.at(slot, now).and_then(|entry| entry.line.as_mut());
        if line.is_some_and(|line| std::mem::take(&mut line.letters_wait)) {
            self.mailboxes.ready.insert(slot);
        }
    }

    /// The peer in this slot has these letters: they are destroyed. Of those whose sender it hides from, what they held is, and the
    /// rest is left where it was: if they made room, their sender could count that somebody takes them.
    pub(crate) fn collect(&mut self, now: Instant, slot: u32, letters: Vec<u64>) {
        let Some(owner) = self.registry.at(slot, now).map(|entry| entry.registration.peer()) else { return };
        if self.mailboxes.is_busy() {
            // They are pushed once more some day, and known by their numbers.
            return;
        }
        let (mut taken, mut emptied) = (Vec::new(), Vec::new());
        for letter in letters {
            let Some(who) = self.mailboxes.index.who(owner, letter) else { continue };
            if self.hides_from(now, slot, who) {
                self.mailboxes.index.empty(owner, letter);
                emptied.push(letter);
            } else if self.mailboxes.index.take(owner, letter) {
                taken.push(letter);
            }
        }
        self.counters.letters_collected += (taken.len() + emptied.len()) as u64;
        if !taken.is_empty() {
            self.mailboxes.order(Order::Destroy { letters: taken });
        }
        if !emptied.is_empty() {
            self.mailboxes.order(Order::Empty { letters: emptied });
        }
        self.count_mailboxes();
    }

    /// The owner of a mailbox shows itself to a peer: what is left of letters of that one's that it has collected goes.
    pub(crate) fn show_collected(&mut self, owner: PeerId, of: PeerId) {
        let letters = if self.mailboxes.is_busy() { Vec::new() } else { self.mailboxes.index.emptied(owner, of) };
        if letters.is_empty() {
            return;
        }
        for letter in &letters {
            self.mailboxes.index.take(owner, *letter);
        }
        self.mailboxes.order(Order::Destroy { letters });
        self.count_mailboxes();
    }
}
