//! Opening a mailbox, naming who may leave letters there, and closing it.

use std::time::Instant;

use knothole_proto::control::{MAX_NAMED, ToPeer};
use knothole_proto::identity::PeerId;
use rand_chacha::rand_core::Rng as _;

use super::Order;
use super::quota::{MAILBOX_CHARGE, SENDER_CHARGE};
use crate::admission::{Rate, microseconds};
use crate::server::Server;

/// Changes of one mailbox: naming all who may be named takes 18 messages, and after a restart a few peers do it twice.
const CHANGES: Rate = Rate { burst: 64, per_second: 1 };

impl Server {
    /// The peer in this slot opens its mailbox, names senders, or closes it.
    pub(crate) fn change_mailbox(&mut self, now: Instant, slot: u32, open: bool, fresh: bool, senders: &[PeerId]) {
        let now_us = microseconds(self.start, now);
        let Some(entry) = self.registry.at(slot, now) else { return };
        let owner = entry.registration.peer();
        // Closing is not rationed: there is no more to close than was opened.
        let admitted = !open || entry.line.as_mut().is_some_and(|line| line.changes.take(CHANGES, now_us));
        if senders.len() > MAX_NAMED || !admitted || self.mailboxes.is_busy() || self.closing.is_some() {
            if open {
                self.counters.mailboxes_refused += 1;
                self.tell_mailbox(now, owner, false);
            }
            // One that is to be closed is open still. That is not answered, and asked for again at the next registration.
            return;
        }
        if open {
            if !self.open_mailbox(now, owner, fresh, senders) {
                self.counters.mailboxes_refused += 1;
                self.tell_mailbox(now, owner, false);
            } else if fresh || senders.is_empty() {
                // Who begins to name its senders has come, or wants what it could not store when it was pushed.
                self.open_letters(now, slot, owner);
            }
        } else if !self.close_mailbox(owner) {
            self.tell_mailbox(now, owner, false);
        }
        self.count_mailboxes();
    }

    /// Opens a mailbox, or names senders in it; false if there is no room.
    fn open_mailbox(&mut self, now: Instant, owner: PeerId, fresh: bool, senders: &[PeerId]) -> bool {
        let now_s = self.mailboxes.seconds(now);
        let (mailboxes, _, bytes) = self.mailboxes.index.size();
        let charge = senders.len() as u64 * SENDER_CHARGE;
        if self.mailboxes.index.of(owner).is_none() {
            let full = mailboxes + self.mailboxes.unclosed.len() >= self.policy.mailboxes as usize;
            if full || bytes + MAILBOX_CHARGE + charge > self.policy.mailbox_bytes {
                return false;
            }
            // What it was closed with before must not come back.
            self.close_mailbox(owner);
            let mut key = [0; 16];
            self.mailboxes.random.fill_bytes(&mut key);
            self.mailboxes.index.open(owner, key, now_s);
        }
        let Some(mailbox) = self.mailboxes.index.of_mut(owner) else { return false };
        let more = mailbox.new_senders(senders).len();
        let counted = if fresh { senders.len() } else { more };
        if !mailbox.has_names_left(fresh, counted) || bytes + charge > self.policy.mailbox_bytes {
            return false;
        }
        mailbox.seen_s = now_s;
        let key = mailbox.key;
        let senders: Vec<_> = senders.iter().map(|peer| mailbox.sender(*peer)).collect();
        self.mailboxes.index.name(owner, fresh, &senders);
        self.mailboxes.order(Order::Name { owner, key, seen_s: now_s, fresh, senders });
        true
    }

    pub(super) fn named(&mut self, now: Instant, owner: PeerId, durable: bool) {
        if let Some(mailbox) = self.mailboxes.index.of_mut(owner) {
            mailbox.durable |= durable;
            // One that is on no disk must not be believed to be open.
            if !mailbox.durable {
                self.mailboxes.index.close(owner);
            }
        }
        let open = durable && self.mailboxes.index.of(owner).is_some();
        self.counters.mailboxes_refused += u64::from(!open);
        self.tell_mailbox(now, owner, open);
    }

    /// Has a mailbox destroyed, and what the disk refused to destroy of it before; false if there is nothing.
    pub(super) fn close_mailbox(&mut self, owner: PeerId) -> bool {
        let closed = self.mailboxes.index.close(owner);
        let unclosed = self.mailboxes.unclosed.remove(&owner);
        if closed.is_none() && unclosed.is_none() {
            return false;
        }
        let mut letters = closed.unwrap_or_default();
        letters.extend(unclosed.into_iter().flatten());
        tracing::debug!(?owner, letters = letters.len(), "mailbox closed");
        self.mailboxes.unclosed.insert(owner, letters.clone());
        self.mailboxes.order(Order::Close { owner, letters });
        true
    }

    /// A mailbox has been destroyed on the disk, or that refused; then nothing is said, for it comes back with a restart.
    pub(super) fn closed(&mut self, now: Instant, owner: PeerId, failed: Option<Vec<u64>>) {
        if let Some(letters) = failed {
            self.mailboxes.unclosed.insert(owner, letters);
            return;
        }
        self.mailboxes.unclosed.remove(&owner);
        // It may have been opened again meanwhile, which is answered next.
        if self.mailboxes.index.of(owner).is_none() {
            self.tell_mailbox(now, owner, false);
        }
    }

    pub(super) fn tell_mailbox(&mut self, now: Instant, owner: PeerId, open: bool) {
        if let Some(slot) = self.registry.find(owner, now) {
            self.answer(now, slot, ToPeer::Mailbox { open });
        }
    }
}
