//! Mailboxes: letters that wait on the disk while their recipient is away, for those who want that.
//!
//! ```text
//! Post ──► room? ──► Order::Store ──► disk ──► Done::Stored ──► Kept, said to the sender
//! recipient registers ──► Order::Fetch ──► disk ──► Done::Fetched ──► Letter, said to the recipient
//! Collected ──► Order::Destroy ──► disk
//! ```
//! The machine holds an index alone; what letters hold is on the disk, under ids. It never says that a letter is kept, or that a
//! mailbox is open, before the disk has said that it is.
//!
//! Recipients are known by their keys, for they have to be found. Of senders nothing is kept but a hash under a key of the
//! mailbox: enough to know whether somebody who asks is one of those whom the owner named, and no list of anybody's contacts.

mod boxes;
mod order;
mod quota;
mod under_way;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use knothole_proto::control::{LetterName, MAX_NAMED, Posted, ToPeer};
use knothole_proto::identity::PeerId;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use self::boxes::Index;
pub use self::order::{Contents, Done, KeptLetter, KeptMailbox, Order};
use self::quota::{ABSENCE_S, Bound, DAY_S, MAILBOX_CHARGE, SENDER_CHARGE};
pub(crate) use self::under_way::UnderWay;
use crate::admission::{Rate, microseconds};
use crate::letters::Post;
use crate::server::Server;

/// Control messages on their way to a recipient, beyond which no letter of its mailbox follows: a round trip brings so
/// many, and other messages never find the channel full of letters.
const WINDOW: usize = 8;
/// Letters being read from the disk: what a disk thread does at once, and as many kilobytes of memory.
const MAX_FETCHES: usize = 256;
/// Orders that the disk has not answered. Some seconds of a slow disk; when it hangs, letters are returned.
const MAX_ORDERS: usize = 8192;
/// Changes of one mailbox: naming all who may be named takes 18 messages, and after a restart a few peers do it twice.
const CHANGES: Rate = Rate { burst: 64, per_second: 1 };

/// A sender that waits for the disk. Who it is stands in its registration; here is only what recognises it.
struct Asked {
    slot: u32,
    sender: u64,
    name: LetterName,
}

/// All mailboxes, and what is asked of the disk.
pub(crate) struct Mailboxes {
    index: Index,
    start: Instant,
    /// The time of the start, in seconds since 1970.
    start_s: u64,
    random: ChaCha12Rng,
    last_letter: u64,
    orders: VecDeque<Order>,
    /// Orders that are not answered, fetches apart, and fetches.
    unanswered: usize,
    fetches: usize,
    /// Slots whose mailbox may have something to push.
    ready: BTreeSet<u32>,
    asked: BTreeMap<u64, Asked>,
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

impl Mailboxes {
    pub(crate) fn new(seed: [u8; 32], start: Instant) -> Self {
        Self {
            index: Index::default(),
            start,
            start_s: 0,
            random: ChaCha12Rng::from_seed(seed),
            last_letter: 0,
            orders: VecDeque::new(),
            unanswered: 0,
            fetches: 0,
            ready: BTreeSet::new(),
            asked: BTreeMap::new(),
        }
    }

    fn seconds(&self, now: Instant) -> u64 {
        self.start_s.saturating_add(now.saturating_duration_since(self.start).as_secs())
    }

    fn order(&mut self, order: Order) {
        self.unanswered += 1;
        self.orders.push_back(order);
    }

    fn is_busy(&self) -> bool {
        self.unanswered >= MAX_ORDERS
    }

    /// Whether the owner of a mailbox has named this peer.
    pub(crate) fn names(&self, owner: PeerId, peer: PeerId) -> bool {
        self.index.of(owner).is_some_and(|mailbox| mailbox.is_named(mailbox.sender(peer)))
    }

    /// When [`Server::look_after_mailboxes`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let (due_s, _) = self.index.first_due()?;
        Some(self.start + Duration::from_secs(due_s.saturating_sub(self.start_s)))
    }
}

impl Server {
    /// Gives this rendezvous what was found on the disk, and the time in seconds since 1970. With a policy that gives mailboxes
    /// no room there are none, whatever was found.
    #[must_use]
    pub fn with_mailboxes(mut self, contents: &Contents, start_s: u64) -> Self {
        self.mailboxes.start_s = start_s;
        self.mailboxes.last_letter = contents.last_letter;
        if self.policy.mailbox_bytes > 0 {
            contents.mailboxes.iter().for_each(|kept| self.mailboxes.index.restore(kept, start_s));
        }
        self.count_mailboxes();
        self
    }

    /// The next order to the disk. Orders are done one after the other, and each is answered by
    /// [`handle_done`](Self::handle_done).
    pub fn poll_order(&mut self, now: Instant) -> Option<Order> {
        if let Some(order) = self.mailboxes.orders.pop_front() {
            return Some(order);
        }
        while self.mailboxes.fetches < MAX_FETCHES
            && let Some(slot) = self.mailboxes.ready.pop_first()
        {
            if let Some(order) = self.fetch(now, slot) {
                self.mailboxes.ready.insert(slot);
                self.mailboxes.fetches += 1;
                return Some(order);
            }
        }
        None
    }

    /// Takes the disk's answer to an order.
    pub fn handle_done(&mut self, now: Instant, done: Done) {
        let count = match done {
            Done::Fetched { .. } => &mut self.mailboxes.fetches,
            _ => &mut self.mailboxes.unanswered,
        };
        *count = count.saturating_sub(1);
        match done {
            Done::Named { owner, durable } => self.named(now, owner, durable),
            Done::Closed { owner } => self.tell_mailbox(now, owner, false),
            Done::Stored { owner, letter, failed } => self.stored(now, owner, letter, failed),
            Done::Fetched { owner, letter, envelope } => self.fetched(now, owner, letter, envelope),
            Done::Obeyed => {}
        }
        self.count_mailboxes();
    }

    /// The peer in this slot opens its mailbox, names senders, or closes it.
    pub(crate) fn change_mailbox(&mut self, now: Instant, slot: u32, open: bool, fresh: bool, senders: &[PeerId]) {
        let now_us = microseconds(self.start, now);
        let Some(entry) = self.registry.at(slot, now) else { return };
        let owner = entry.registration.peer();
        let admitted = entry.line.as_mut().is_some_and(|line| line.changes.take(CHANGES, now_us));
        if senders.len() > MAX_NAMED || !admitted || self.mailboxes.is_busy() || self.closing.is_some() {
            self.counters.mailboxes_refused += u64::from(open);
            return self.tell_mailbox(now, owner, false);
        }
        if open {
            if !self.open_mailbox(now, owner, fresh, senders) {
                self.counters.mailboxes_refused += 1;
                self.tell_mailbox(now, owner, false);
            }
        } else if let Some(letters) = self.mailboxes.index.close(owner) {
            tracing::debug!(?owner, letters = letters.len(), "mailbox closed");
            self.mailboxes.order(Order::Close { owner, letters });
        } else {
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
            let full = mailboxes >= self.policy.mailboxes as usize;
            if full || bytes + MAILBOX_CHARGE + charge > self.policy.mailbox_bytes {
                return false;
            }
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

    fn named(&mut self, now: Instant, owner: PeerId, durable: bool) {
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

    fn tell_mailbox(&mut self, now: Instant, owner: PeerId, open: bool) {
        if let Some(slot) = self.registry.find(owner, now) {
            self.answer(now, slot, ToPeer::Mailbox { open });
        }
    }

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
            Some(true) => return Keeping::Kept,
            // Its sender asks again before the disk has answered: one answer is for both.
            Some(false) => return Keeping::Asked,
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
        let letter = KeptLetter { id, sender, mark, at_s: self.mailboxes.seconds(now), length };
        self.mailboxes.index.put(post.to, letter);
        self.mailboxes.asked.insert(id, Asked { slot, sender, name: post.letter });
        self.mailboxes.order(Order::Store { owner: post.to, letter, envelope: post.envelope.clone() });
        Keeping::Asked
    }

    fn stored(&mut self, now: Instant, owner: PeerId, letter: u64, failed: Option<Vec<u8>>) {
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

    /// The peer in this slot has registered: what waits for it is pushed from the first letter on.
    pub(crate) fn open_letters(&mut self, now: Instant, slot: u32, owner: PeerId) {
        let now_s = self.mailboxes.seconds(now);
        let Some(mailbox) = self.mailboxes.index.of_mut(owner) else { return };
        mailbox.fetching.clear();
        mailbox.cursor = 0;
        self.mailboxes.ready.insert(slot);
        self.see(owner, now_s);
    }

    /// Writes down, once a day, that an owner is here.
    fn see(&mut self, owner: PeerId, now_s: u64) {
        let Some(mailbox) = self.mailboxes.index.of_mut(owner) else { return };
        mailbox.look_s = now_s.saturating_add(DAY_S);
        if now_s >= mailbox.seen_s.saturating_add(DAY_S) {
            mailbox.seen_s = now_s;
            self.mailboxes.order(Order::Seen { owner, seen_s: now_s });
        }
        self.mailboxes.index.arm(owner);
    }

    /// Asks for the next letter for the peer in this slot, if it can take one.
    fn fetch(&mut self, now: Instant, slot: u32) -> Option<Order> {
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

    fn fetched(&mut self, now: Instant, owner: PeerId, letter: u64, envelope: Option<Vec<u8>>) {
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

    /// The peer in this slot has these letters: they are destroyed.
    pub(crate) fn collect(&mut self, now: Instant, slot: u32, letters: Vec<u64>) {
        let Some(owner) = self.registry.at(slot, now).map(|entry| entry.registration.peer()) else { return };
        if self.mailboxes.is_busy() {
            // They are pushed once more some day, and known by their numbers.
            return;
        }
        let mut taken = letters;
        taken.retain(|letter| self.mailboxes.index.take(owner, *letter));
        self.counters.letters_collected += taken.len() as u64;
        if !taken.is_empty() {
            self.mailboxes.order(Order::Destroy { letters: taken });
        }
        self.count_mailboxes();
    }

    /// Destroys what has grown old, and mailboxes whose owner stays away.
    pub(crate) fn look_after_mailboxes(&mut self, now: Instant) {
        let now_s = self.mailboxes.seconds(now);
        while let Some((_, owner)) = self.mailboxes.index.first_due().filter(|(due_s, _)| *due_s <= now_s) {
            let letters = self.mailboxes.index.old(owner, now_s);
            if !letters.is_empty() {
                self.counters.letters_expired += letters.len() as u64;
                for letter in &letters {
                    self.mailboxes.index.take(owner, *letter);
                }
                self.mailboxes.order(Order::Destroy { letters });
            }
            let Some(mailbox) = self.mailboxes.index.of_mut(owner) else { break };
            if mailbox.look_s > now_s {
                continue;
            }
            let gone_s = mailbox.seen_s.saturating_add(ABSENCE_S);
            if self.registry.find(owner, now).is_some() {
                self.see(owner, now_s);
            } else if gone_s > now_s {
                mailbox.look_s = gone_s;
                self.mailboxes.index.arm(owner);
            } else if let Some(letters) = self.mailboxes.index.close(owner) {
                self.counters.mailboxes_expired += 1;
                self.mailboxes.order(Order::Close { owner, letters });
            }
        }
        self.count_mailboxes();
    }

    fn count_mailboxes(&mut self) {
        let (mailboxes, letters, bytes) = self.mailboxes.index.size();
        self.counters.mailboxes = mailboxes as u64;
        self.counters.letters_waiting = letters;
        self.counters.mailbox_bytes = bytes;
    }
}
