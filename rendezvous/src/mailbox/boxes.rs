//! The index of what waits: mailboxes, who may leave letters there, and all about their letters but what they hold.

use std::collections::{BTreeMap, BTreeSet};

use knothole_proto::control::LetterName;
use knothole_proto::identity::PeerId;
use knothole_proto::seal::TagKey;

use crate::registry::Mark;

use super::order::{KeptLetter, KeptMailbox};
use super::quota::{
    ABSENCE_S, Bound, DAY_S, FIRST, LETTER_S, MAILBOX_CHARGE, RESERVED, Room, SENDER_CHARGE, SENDERS, charge,
};

/// A sender in a mailbox: whether it may leave letters, and how many it has there.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    named: bool,
    letters: u16,
    /// Those of them that are emptied.
    emptied: u16,
}

impl Share {
    /// Those of its letters that nothing is reserved for.
    const fn common(self) -> u32 {
        (if self.named { self.letters.saturating_sub(RESERVED) } else { self.letters }) as u32
    }
}

/// A letter that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    sender: u64,
    mark: u64,
    at_s: u64,
    length: u16,
    durable: bool,
    /// Its recipient has it; what is left of it takes its sender's room.
    emptied: bool,
    /// Its sender, as registrations know it; none after a restart.
    who: Option<Mark>,
}

/// One peer's mailbox.
pub(super) struct Mailbox {
    pub(super) key: [u8; 16],
    tags: TagKey,
    shares: BTreeMap<u64, Share>,
    named: usize,
    common: u32,
    letters: BTreeMap<u64, Waiting>,
    /// By which a letter that is posted again is known.
    marks: BTreeMap<u64, u64>,
    /// Bytes of its letters, as charged.
    bytes: u64,
    /// Whether it is known to be on the disk.
    pub(super) durable: bool,
    /// When its owner was here last, as far as the disk knows.
    pub(super) seen_s: u64,
    /// When to look whether its owner is here still, or has been away for too long.
    pub(super) look_s: u64,
    /// When it stands in `due`.
    due_s: u64,
    /// Letters of this registration of the owner's that are being read from the disk …
    pub(super) fetching: BTreeSet<u64>,
    /// … and the last that was.
    pub(super) cursor: u64,
}

impl Mailbox {
    /// What stands for a peer in this mailbox: nobody knows whom without its key.
    pub(super) fn sender(&self, peer: PeerId) -> u64 {
        short(&self.tags, peer.as_bytes())
    }

    /// What stands for a letter's name. It has another length than a peer's id, so no name can stand for a peer.
    pub(super) fn mark(&self, sender: u64, name: LetterName) -> u64 {
        short(&self.tags, &[&sender.to_be_bytes()[..], &name.0].concat())
    }

    pub(super) fn is_named(&self, sender: u64) -> bool {
        self.shares.get(&sender).is_some_and(|share| share.named)
    }

    /// The letter that this mark stands for, and whether it is on the disk.
    pub(super) fn known(&self, mark: u64) -> Option<(u64, bool)> {
        let id = *self.marks.get(&mark)?;
        Some((id, self.letters.get(&id)?.durable))
    }

    /// Those of these that are not named yet.
    pub(super) fn new_senders(&self, senders: &[PeerId]) -> BTreeSet<u64> {
        senders.iter().map(|peer| self.sender(*peer)).filter(|sender| !self.is_named(*sender)).collect()
    }

    /// Whether so many more may be named, beside or in place of those that are.
    pub(super) const fn has_names_left(&self, fresh: bool, more: usize) -> bool {
        more + if fresh { 0 } else { self.named } <= SENDERS
    }

    /// Names senders; returns by how much the mailbox' charge changes.
    fn name(&mut self, fresh: bool, senders: &[u64]) -> i64 {
        let before = self.named;
        if fresh {
            let unnamed: Vec<_> =
                self.shares.iter().filter(|(_, share)| share.named).map(|(sender, _)| *sender).collect();
            unnamed.into_iter().for_each(|sender| self.change(sender, |share| share.named = false));
        }
        senders.iter().for_each(|sender| self.change(*sender, |share| share.named = true));
        (self.named as i64 - before as i64) * SENDER_CHARGE as i64
    }

    fn change(&mut self, sender: u64, change: impl FnOnce(&mut Share)) {
        let share = self.shares.entry(sender).or_default();
        self.common -= share.common();
        self.named -= usize::from(share.named);
        change(share);
        self.common += share.common();
        self.named += usize::from(share.named);
        if !share.named && share.letters == 0 {
            self.shares.remove(&sender);
        }
    }

    /// The next letter to read from the disk for this registration of the owner's.
    pub(super) fn next(&self) -> Option<u64> {
        let mut left = self.letters.range(self.cursor.saturating_add(1)..);
        let (id, letter) = left.find(|(_, letter)| !letter.emptied)?;
        letter.durable.then_some(*id)
    }

    fn due(&self) -> u64 {
        let oldest = self.letters.first_key_value().map(|(_, letter)| letter.at_s.saturating_add(LETTER_S));
        oldest.unwrap_or(u64::MAX).min(self.look_s)
    }
}

fn short(key: &TagKey, bytes: &[u8]) -> u64 {
    let tag = key.tag(bytes);
    u64::from_be_bytes(std::array::from_fn(|i| tag[i]))
}

/// Those of a mailbox' bytes that are beyond its first.
const fn beyond(bytes: u64) -> u64 {
    bytes.saturating_sub(FIRST)
}

/// All mailboxes.
#[derive(Default)]
pub(super) struct Index {
    mailboxes: BTreeMap<PeerId, Mailbox>,
    /// When to look at each: a letter is old, or its owner has been away for long.
    due: BTreeSet<(u64, PeerId)>,
    /// Bytes of all, as charged, …
    bytes: u64,
    /// … and those of them that are beyond the first of each.
    beyond: u64,
    letters: u64,
}

impl Index {
    pub(super) fn of(&self, owner: PeerId) -> Option<&Mailbox> {
        self.mailboxes.get(&owner)
    }

    pub(super) fn of_mut(&mut self, owner: PeerId) -> Option<&mut Mailbox> {
        self.mailboxes.get_mut(&owner)
    }

    /// How many mailboxes there are, how many letters, and the bytes of all as charged.
    pub(super) fn size(&self) -> (usize, u64, u64) {
        (self.mailboxes.len(), self.letters, self.bytes)
    }

    /// Opens a mailbox that there is not yet.
    pub(super) fn open(&mut self, owner: PeerId, key: [u8; 16], seen_s: u64) {
        let look_s = seen_s.saturating_add(DAY_S);
        let mailbox = Mailbox {
            key,
            tags: TagKey::from_bytes(key),
            shares: BTreeMap::new(),
            named: 0,
            common: 0,
            letters: BTreeMap::new(),
            marks: BTreeMap::new(),
            bytes: 0,
            durable: false,
            seen_s,
            look_s,
            due_s: look_s,
            fetching: BTreeSet::new(),
            cursor: 0,
        };
        self.due.insert((look_s, owner));
        self.bytes += MAILBOX_CHARGE;
        self.mailboxes.insert(owner, mailbox);
    }

    /// Puts a mailbox back that was found on the disk. Nothing in it is of later than now, whatever the clock was then.
    pub(super) fn restore(&mut self, kept: &KeptMailbox, now_s: u64) {
        let seen_s = kept.seen_s.min(now_s);
        self.open(kept.owner, kept.key, seen_s);
        if let Some(mailbox) = self.mailboxes.get_mut(&kept.owner) {
            mailbox.durable = true;
            mailbox.look_s = seen_s.saturating_add(ABSENCE_S);
        }
        self.name(kept.owner, true, &kept.senders);
        for letter in &kept.letters {
            self.put(kept.owner, KeptLetter { at_s: letter.at_s.min(now_s), ..*letter }, None);
            self.stored(kept.owner, letter.id);
        }
        self.arm(kept.owner);
    }

    pub(super) fn name(&mut self, owner: PeerId, fresh: bool, senders: &[u64]) {
        if let Some(mailbox) = self.mailboxes.get_mut(&owner) {
            self.bytes = self.bytes.saturating_add_signed(mailbox.name(fresh, senders));
        }
    }

    /// Whether a letter of this length from this sender is kept, when all together may take `limit`.
    pub(super) fn takes(&self, owner: PeerId, sender: u64, length: u16, limit: u64) -> Result<(), Bound> {
        let mailbox = self.mailboxes.get(&owner).ok_or(Bound::Mailbox)?;
        let of_sender = mailbox.shares.get(&sender).map_or(0, |share| share.letters);
        let (letters, bytes, common) = (mailbox.letters.len(), mailbox.bytes, mailbox.common);
        Room { limit, used: self.bytes, beyond: self.beyond, letters, bytes, common, of_sender }.takes(length)
    }

    /// Puts a letter in that is about to be stored.
    pub(super) fn put(&mut self, owner: PeerId, letter: KeptLetter, who: Option<Mark>) {
        let Some(mailbox) = self.mailboxes.get_mut(&owner) else { return };
        let KeptLetter { id, sender, mark, at_s, length, emptied } = letter;
        mailbox.letters.insert(id, Waiting { sender, mark, at_s, length, durable: false, emptied, who });
        mailbox.marks.insert(mark, id);
        mailbox.change(sender, |share| {
            share.letters = share.letters.saturating_add(1);
            share.emptied = share.emptied.saturating_add(emptied.into());
        });
        let before = beyond(mailbox.bytes);
        mailbox.bytes += charge(length);
        self.beyond += beyond(mailbox.bytes) - before;
        self.bytes += charge(length);
        self.letters += 1;
        self.arm(owner);
    }

    /// A letter is on the disk; false if it is no longer wanted there.
    pub(super) fn stored(&mut self, owner: PeerId, letter: u64) -> bool {
        let letter = self.mailboxes.get_mut(&owner).and_then(|mailbox| mailbox.letters.get_mut(&letter));
        letter.map(|letter| letter.durable = true).is_some()
    }

    /// Takes a letter out; false if it is not in this mailbox.
    pub(super) fn take(&mut self, owner: PeerId, letter: u64) -> bool {
        let Some(mailbox) = self.mailboxes.get_mut(&owner) else { return false };
        let Some(taken) = mailbox.letters.remove(&letter) else { return false };
        mailbox.marks.remove(&taken.mark);
        mailbox.fetching.remove(&letter);
        mailbox.change(taken.sender, |share| {
            share.letters = share.letters.saturating_sub(1);
            share.emptied = share.emptied.saturating_sub(taken.emptied.into());
        });
        let before = beyond(mailbox.bytes);
        mailbox.bytes -= charge(taken.length);
        self.beyond -= before - beyond(mailbox.bytes);
        self.bytes -= charge(taken.length);
        self.letters -= 1;
        self.arm(owner);
        true
    }

    /// A letter's sender, as registrations know it if that is known, if it is in this mailbox and not emptied.
    pub(super) fn who(&self, owner: PeerId, letter: u64) -> Option<Option<Mark>> {
        let letter = self.mailboxes.get(&owner)?.letters.get(&letter)?;
        (!letter.emptied).then_some(letter.who)
    }

    /// A letter is emptied: it takes room as before, and is known by its name.
    pub(super) fn empty(&mut self, owner: PeerId, letter: u64) {
        let Some(mailbox) = self.mailboxes.get_mut(&owner) else { return };
        let Some(emptied) = mailbox.letters.get_mut(&letter) else { return };
        let before = std::mem::replace(&mut emptied.emptied, true);
        let sender = emptied.sender;
        mailbox.fetching.remove(&letter);
        mailbox.change(sender, |share| share.emptied = share.emptied.saturating_add((!before).into()));
    }

    /// The letters of a peer's in this mailbox that are emptied.
    pub(super) fn emptied(&self, owner: PeerId, of: PeerId) -> Vec<u64> {
        let Some(mailbox) = self.mailboxes.get(&owner) else { return Vec::new() };
        let sender = mailbox.sender(of);
        if mailbox.shares.get(&sender).is_none_or(|share| share.emptied == 0) {
            return Vec::new();
        }
        let letters = mailbox.letters.iter().filter(|(_, letter)| letter.emptied && letter.sender == sender);
        letters.map(|(id, _)| *id).collect()
    }

    /// Closes a mailbox; returns its letters.
    pub(super) fn close(&mut self, owner: PeerId) -> Option<Vec<u64>> {
        let mailbox = self.mailboxes.remove(&owner)?;
        self.due.remove(&(mailbox.due_s, owner));
        self.bytes -= MAILBOX_CHARGE + mailbox.bytes + mailbox.named as u64 * SENDER_CHARGE;
        self.beyond -= beyond(mailbox.bytes);
        self.letters -= mailbox.letters.len() as u64;
        Some(mailbox.letters.into_keys().collect())
    }

    /// Sets when to look at a mailbox again.
    pub(super) fn arm(&mut self, owner: PeerId) {
        let Some(mailbox) = self.mailboxes.get_mut(&owner) else { return };
        let due_s = mailbox.due();
        if due_s != mailbox.due_s {
            self.due.remove(&(mailbox.due_s, owner));
            self.due.insert((due_s, owner));
            mailbox.due_s = due_s;
        }
    }

    /// When to look at a mailbox at the earliest, and at whose.
    pub(super) fn first_due(&self) -> Option<(u64, PeerId)> {
        self.due.first().copied()
    }

    /// The letters of a mailbox that have grown old.
    pub(super) fn old(&self, owner: PeerId, now_s: u64) -> Vec<u64> {
        let letters = self.mailboxes.get(&owner).into_iter().flat_map(|mailbox| &mailbox.letters);
        letters.take_while(|(_, letter)| letter.at_s.saturating_add(LETTER_S) <= now_s).map(|(id, _)| *id).collect()
    }
}
