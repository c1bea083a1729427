//! A rendezvous of the pure world with mailboxes, and a disk that does as it is told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's disk and its people fail by panicking")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use knothole_proto::control::{LetterName, MAX_NAMED, Posted, ToPeer, ToRendezvous};
use knothole_proto::identity::PeerId;
use knothole_rendezvous::mailbox::{Contents, Done, KeptLetter, KeptMailbox, Order};
use knothole_rendezvous::{Policy, Rate};

use crate::world::{Peer, World};

/// Datagrams, and where each goes.
pub(crate) type Datagrams = Vec<(SocketAddr, Vec<u8>)>;

/// A rendezvous, and a disk that does as it is told.
pub(crate) struct Post {
    pub(crate) world: World,
    pub(crate) mailboxes: BTreeMap<PeerId, KeptMailbox>,
    pub(crate) letters: BTreeMap<u64, (PeerId, KeptLetter, Vec<u8>)>,
    pub(crate) last_letter: u64,
    /// Whether the disk is full.
    pub(crate) full: bool,
    /// Orders done so far.
    pub(crate) orders: usize,
}

pub(crate) fn policy() -> Policy {
    // Everybody may write as fast as a test does.
    let letters = Rate { burst: 1_000_000, per_second: 1_000_000 };
    Policy { mailbox_bytes: 1 << 30, letters, strangers_letters: letters, ..Policy::default() }
}

pub(crate) fn post_office() -> Post {
    Post::new(World::new(policy()))
}

impl Post {
    pub(crate) fn new(world: World) -> Self {
        let (mailboxes, letters) = (BTreeMap::new(), BTreeMap::new());
        Self { world, mailboxes, letters, last_letter: 0, full: false, orders: 0 }
    }

    pub(crate) fn obey(&mut self, order: Order) -> Done {
        self.orders += 1;
        match order {
            Order::Name { owner, .. } if self.full => Done::Named { owner, durable: false },
            Order::Store { owner, letter, envelope } if self.full => {
                Done::Stored { owner, letter: letter.id, failed: Some(envelope) }
            }
            Order::Close { owner, letters } if self.full => Done::Closed { owner, failed: Some(letters) },
            Order::Name { owner, key, seen_s, fresh, senders } => {
                let new = KeptMailbox { owner, key, seen_s, senders: Vec::new(), letters: Vec::new() };
                let mailbox = self.mailboxes.entry(owner).or_insert(new);
                (mailbox.key, mailbox.seen_s) = (key, seen_s);
                if fresh {
                    mailbox.senders.clear();
                }
                mailbox.senders.extend(senders);
                Done::Named { owner, durable: true }
            }
            Order::Seen { owner, seen_s } => {
                self.mailboxes.get_mut(&owner).unwrap().seen_s = seen_s;
                Done::Obeyed
            }
            Order::Close { owner, letters } => {
                self.mailboxes.remove(&owner).unwrap();
                letters.iter().for_each(|letter| drop(self.letters.remove(letter)));
                Done::Closed { owner, failed: None }
            }
            Order::Store { owner, letter, envelope } => {
                assert!(letter.id > self.last_letter, "no id twice");
                self.last_letter = letter.id;
                self.letters.insert(letter.id, (owner, letter, envelope));
                Done::Stored { owner, letter: letter.id, failed: None }
            }
            Order::Fetch { owner, letter } => {
                let envelope = self.letters.get(&letter).map(|(_, _, envelope)| envelope.clone());
                Done::Fetched { owner, letter, envelope }
            }
            Order::Empty { letters } => {
                for letter in letters {
                    let (_, kept, envelope) = self.letters.get_mut(&letter).unwrap();
                    (kept.emptied, *envelope) = (true, vec![0; envelope.len()]);
                }
                Done::Obeyed
            }
            Order::Destroy { letters } => {
                letters.iter().for_each(|letter| drop(self.letters.remove(letter)));
                Done::Obeyed
            }
        }
    }

    /// Does what the machine orders until it orders no more; returns what it says.
    pub(crate) fn settle(&mut self) -> Datagrams {
        let mut out = self.world.drain();
        while let Some(order) = self.world.server.poll_order(self.world.now) {
            let done = self.obey(order);
            self.world.server.handle_done(self.world.now, done);
            out.extend(self.world.drain());
        }
        out
    }

    /// The peer says something, and hears what comes of it.
    pub(crate) fn say(&mut self, peer: &mut Peer, message: ToRendezvous) -> Vec<ToPeer> {
        let mut out = self.world.say(peer, message);
        out.extend(self.settle());
        let heard = peer.hear(&out);
        self.world.acknowledge(&mut [peer]);
        heard
    }

    pub(crate) fn open(&mut self, peer: &mut Peer, senders: &[PeerId]) {
        for (n, senders) in senders.chunks(MAX_NAMED).enumerate() {
            let message = ToRendezvous::Mailbox { open: true, fresh: n == 0, senders: senders.to_vec() };
            assert_eq!(self.say(peer, message).first(), Some(&ToPeer::Mailbox { open: true }));
        }
    }

    /// Posts a letter of this length; returns what became of it.
    pub(crate) fn post(&mut self, from: &mut Peer, to: PeerId, n: u64, length: usize) -> Posted {
        let letter = LetterName(n.to_be_bytes());
        let message = ToRendezvous::Post { to, letter, envelope: vec![n as u8; length], keep: true };
        match &self.say(from, message)[..] {
            [ToPeer::Posted { letter: answered, outcome }] if *answered == letter => *outcome,
            heard => panic!("{heard:?}"),
        }
    }

    /// The peer signs in anew and hears all its letters, acknowledging them; returns their ids and first bytes.
    pub(crate) fn come(&mut self, n: u8, run: u8) -> (Peer, Vec<(u64, u8)>) {
        let mut peer = self.world.try_sign_in(n, 20, run).unwrap_or_else(|answer| panic!("{answer:?}"));
        let letters = self.listen(&mut peer);
        (peer, letters)
    }

    pub(crate) fn listen(&mut self, peer: &mut Peer) -> Vec<(u64, u8)> {
        let mut letters = Vec::new();
        loop {
            let out = self.settle();
            let heard = peer.hear(&out);
            assert!(heard.len() <= 8, "a few at a time, not {}", heard.len());
            if heard.is_empty() {
                return letters;
            }
            for said in heard {
                let ToPeer::Letter { id: Some(id), from: None, envelope } = said else { panic!("{said:?}") };
                letters.push((id, envelope.first().copied().unwrap_or_default()));
            }
            self.world.acknowledge(&mut [peer]);
        }
    }

    /// The peer takes what was passed straight to it; returns how many letters that were.
    pub(crate) fn listen_straight(&mut self, peer: &mut Peer) -> usize {
        self.world.advance(Duration::from_millis(200));
        let out = self.settle();
        let heard = peer.hear(&out);
        self.world.acknowledge(&mut [peer]);
        heard.len()
    }

    pub(crate) fn leave(&mut self, peer: &mut Peer) {
        self.world.say(peer, ToRendezvous::Goodbye);
    }

    pub(crate) fn collect(&mut self, peer: &mut Peer, letters: &[(u64, u8)]) {
        for letters in letters.chunks(MAX_NAMED) {
            let letters = letters.iter().map(|(id, _)| *id).collect();
            assert_eq!(self.say(peer, ToRendezvous::Collected { letters }), []);
        }
    }

    /// The rendezvous is killed and comes back with what is on the disk.
    pub(crate) fn restart(&mut self, start_s: u64) {
        let contents = self.contents();
        let mut world = World::new(policy());
        world.server = world.server.with_mailboxes(&contents, start_s);
        self.world = world;
    }

    pub(crate) fn contents(&self) -> Contents {
        let mut mailboxes = self.mailboxes.clone();
        for (owner, letter, _) in self.letters.values() {
            mailboxes.get_mut(owner).unwrap().letters.push(*letter);
        }
        Contents { mailboxes: mailboxes.into_values().collect(), last_letter: self.last_letter }
    }
}

/// Alice here, Bob away with a mailbox that is open for her.
pub(crate) fn for_alice() -> (Post, Peer, PeerId) {
    let mut post = post_office();
    let (alice, mut bob) = (post.world.sign_in(1, 20), post.world.sign_in(2, 20));
    post.open(&mut bob, &[alice.id]);
    post.leave(&mut bob);
    (post, alice, bob.id)
}
