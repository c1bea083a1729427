//! Letters that were passed straight to a recipient that has not acknowledged them. A peer that crashes or loses its network is
//! here for another forty seconds, as far as anybody knows: what is sent to it then would be lost, though its mailbox is open. So
//! such a letter is held until it is acknowledged, and goes to the mailbox if it never is.

use std::time::Instant;

use knothole_proto::control::RendezvousChannel;
use knothole_proto::identity::PeerId;

use super::{KeptLetter, MAX_ORDERS, Order};
use crate::letters::Post;
use crate::registry::{Entry, Mark};
use crate::server::Server;

/// A letter that was passed straight; there are at most as many of one recipient as its channel has messages on their way.
pub(crate) struct UnderWay {
    sequence: u64,
    sender: u64,
    mark: u64,
    who: Mark,
    envelope: Vec<u8>,
}

/// Takes out those that this channel has not on its way any more.
fn take_over(letters: &mut Vec<UnderWay>, channel: &RendezvousChannel) -> Vec<UnderWay> {
    letters.extract_if(.., |letter| !channel.is_outstanding(letter.sequence)).collect()
}

impl Server {
    /// The last thing that was said to the peer in this slot is a letter, which its mailbox would keep.
    pub(crate) fn hold(&mut self, now: Instant, slot: u32, from: PeerId, post: Post) {
        let who = self.registry.mark(from);
        let Some(entry) = self.registry.at(slot, now) else { return };
        let (Some(line), Some(mailbox)) = (&mut entry.line, self.mailboxes.index.of(post.to)) else { return };
        let sender = mailbox.sender(from);
        if mailbox.is_named(sender) {
            let (sequence, mark) = (line.channel.latest(), mailbox.mark(sender, post.letter));
            line.under_way.push(UnderWay { sequence, sender, mark, who, envelope: post.envelope });
        }
    }

    /// The peer in this slot has acknowledged something.
    pub(crate) fn let_go(&mut self, now: Instant, slot: u32) {
        if let Some(line) = self.registry.at(slot, now).and_then(|entry| entry.line.as_mut()) {
            take_over(&mut line.under_way, &line.channel);
        }
    }

    /// Messages to the peer in this slot have been given up: letters among them go to its mailbox.
    pub(crate) fn keep_given_up(&mut self, now: Instant, slot: u32) {
        let Some(entry) = self.registry.at(slot, now) else { return };
        let owner = entry.registration.peer();
        // What its mailbox pushed is there still, and pushed again when the peer is heard from.
        entry.unheard |= entry.line.as_mut().is_some_and(|line| line.channel.take_lost());
        let given_up = entry.line.as_mut().map(|line| take_over(&mut line.under_way, &line.channel));
        given_up.into_iter().flatten().for_each(|letter| self.keep_after_all(now, owner, letter, MAX_ORDERS));
    }

    /// A registration has ended: letters that were on their way to it go to its mailbox.
    pub(crate) fn keep_unheard(&mut self, now: Instant, entry: &mut Entry) {
        let owner = entry.registration.peer();
        let unheard = entry.line.as_mut().map(|line| std::mem::take(&mut line.under_way));
        unheard.into_iter().flatten().for_each(|letter| self.keep_after_all(now, owner, letter, MAX_ORDERS));
    }

    /// The rendezvous stops: letters that were on their way to the peer in this slot go to its mailbox.
    pub(crate) fn keep_unacknowledged(&mut self, now: Instant, slot: u32) {
        let Some(entry) = self.registry.at(slot, now) else { return };
        let owner = entry.registration.peer();
        let unheard = entry.line.as_mut().map(|line| std::mem::take(&mut line.under_way));
        unheard.into_iter().flatten().for_each(|letter| self.keep_after_all(now, owner, letter, usize::MAX));
    }

    /// Keeps a letter whose sender was told that it has been passed on, if there is room, and the disk has fewer orders than so
    /// many. At the end it may have more: they take no memory that the letters do not take already.
    fn keep_after_all(&mut self, now: Instant, owner: PeerId, letter: UnderWay, orders: usize) {
        let UnderWay { sender, mark, who, envelope, .. } = letter;
        let length = u16::try_from(envelope.len()).unwrap_or(u16::MAX);
        let known = self.mailboxes.index.of(owner).is_some_and(|mailbox| mailbox.known(mark).is_some());
        let room = self.mailboxes.index.takes(owner, sender, length, self.policy.mailbox_bytes);
        if known || self.mailboxes.unanswered >= orders || room.is_err() {
            self.counters.letters_lost += u64::from(!known);
            return;
        }
        self.mailboxes.last_letter += 1;
        let id = self.mailboxes.last_letter;
        let letter = KeptLetter { id, sender, mark, at_s: self.mailboxes.seconds(now), length, emptied: false };
        self.mailboxes.index.put(owner, letter, Some(who));
        self.mailboxes.order(Order::Store { owner, letter, envelope });
    }
}
