//! Keeping a letter: whether, and what its sender is told when the disk has answered.

use std::time::Instant;

use knothole_proto::control::{LetterName, Posted};
use knothole_proto::identity::PeerId;

use super::quota::Bound;
use super::{KeptLetter, Order};
use crate::letters::Post;
use crate::server::Server;

/// A sender that waits for the disk. Who it is stands in its registration; here is only what recognises it.
pub(super) struct Asked {
    slot: u32,
    sender: u64,
    name: LetterName,
}

/// How a letter fares that may be kept.
pub(crate) enum Keeping {
    /// The disk has it, or is asked; then the sender is answered later.
    Asked,
    /// It is there already.
    Kept,
    /// Its sender has no business there.
    Refused,
}

impl Server {
    /// Keeps a letter for a peer, if that has named its sender and there is room.
    pub(crate) fn keep(&mut self, now: Instant, slot: u32, from: PeerId, post: &Post) -> Keeping {
        let Some(mailbox) = self.mailboxes.index.of(post.to) else { return Keeping::Refused };
        let sender = mailbox.sender(from);
        if !mailbox.is_named(sender) {
            self.counters.letters_refused_unnamed += 1;
            return Keeping::Refused;
        }
        let mark = mailbox.mark(sender, post.letter);
        match mailbox.known(mark) {
            Some((_, true)) => return Keeping::Kept,
            // Its sender asks again before the disk has answered: one answer is for both, and goes to where it is now.
            Some((id, false)) => {
                self.mailboxes.asked.insert(id, Asked { slot, sender, name: post.letter });
                return Keeping::Asked;
            }
            None => {}
        }
        let length = u16::try_from(post.envelope.len()).unwrap_or(u16::MAX);
        if self.mailboxes.is_busy() || self.closing.is_some() {
            self.counters.letters_refused_disk += 1;
            return Keeping::Refused;
        }
        if let Err(bound) = self.mailboxes.index.takes(post.to, sender, length, self.policy.mailbox_bytes) {
            let counter = match bound {
                Bound::Sender => &mut self.counters.letters_refused_sender,
                Bound::Mailbox => &mut self.counters.letters_refused_mailbox,
                Bound::Disk => &mut self.counters.letters_refused_disk,
            };
            *counter += 1;
            return Keeping::Refused;
        }
        self.mailboxes.last_letter += 1;
        let id = self.mailboxes.last_letter;
        let letter = KeptLetter { id, sender, mark, at_s: self.mailboxes.seconds(now), length, emptied: false };
        let who = self.registry.mark(from);
        self.mailboxes.index.put(post.to, letter, Some(who));
        self.mailboxes.asked.insert(id, Asked { slot, sender, name: post.letter });
        self.mailboxes.order(Order::Store { owner: post.to, letter, envelope: post.envelope.clone() });
        Keeping::Asked
    }

    pub(super) fn stored(&mut self, now: Instant, owner: PeerId, letter: u64, failed: Option<Vec<u8>>) {
        let kept = match &failed {
            None => self.mailboxes.index.stored(owner, letter),
            Some(_) => {
                self.counters.letters_refused_disk += 1;
                self.mailboxes.index.take(owner, letter);
                false
            }
        };
        let asked = self.mailboxes.asked.remove(&letter);
        let sender = asked.as_ref().and_then(|asked| self.who_asked(now, owner, asked));
        if let (Some(asked), Some(_)) = (&asked, sender) {
            let outcome = if kept { Posted::Kept } else { Posted::Returned };
            self.posted(now, asked.slot, asked.name, outcome);
        }
        self.counters.letters_kept += u64::from(kept);
        let Some(slot) = self.registry.find(owner, now) else { return };
        match (failed, sender) {
            (Some(envelope), Some(sender)) if self.hides(now, slot, sender) => {
                self.pass_discreetly(now, sender, owner, &envelope);
            }
            _ => {
                self.mailboxes.ready.insert(slot);
            }
        }
    }

    /// The sender of a letter that has just been stored or not, if it is still here.
    fn who_asked(&mut self, now: Instant, owner: PeerId, asked: &Asked) -> Option<PeerId> {
        let peer = self.registry.at(asked.slot, now)?.registration.peer();
        let mailbox = self.mailboxes.index.of(owner)?;
        (mailbox.sender(peer) == asked.sender).then_some(peer)
    }
}
