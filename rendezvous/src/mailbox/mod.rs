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
mod keeping;
mod opening;
mod order;
mod pushing;
mod quota;
mod under_way;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use knothole_proto::identity::PeerId;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use self::boxes::Index;
use self::keeping::Asked;
pub(crate) use self::keeping::Keeping;
pub use self::order::{Contents, Done, KeptLetter, KeptMailbox, Order};
use self::quota::{ABSENCE_S, DAY_S};
pub(crate) use self::under_way::UnderWay;
use crate::server::Server;

/// Letters being read from the disk: what a disk thread does at once, and as many kilobytes of memory.
const MAX_FETCHES: usize = 256;
/// Orders that the disk has not answered. Some seconds of a slow disk; when it hangs, letters are returned.
const MAX_ORDERS: usize = 8192;

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
    /// Mailboxes that are closed, and stand on the disk all the same with these letters: it has not yet destroyed them, or refused.
    unclosed: BTreeMap<PeerId, Vec<u64>>,
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
            unclosed: BTreeMap::new(),
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
            Done::Closed { owner, failed } => self.closed(now, owner, failed),
            Done::Stored { owner, letter, failed } => self.stored(now, owner, letter, failed),
            Done::Fetched { owner, letter, envelope } => self.fetched(now, owner, letter, envelope),
            Done::Obeyed => {}
        }
        self.count_mailboxes();
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
            } else if self.close_mailbox(owner) {
                self.counters.mailboxes_expired += 1;
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
