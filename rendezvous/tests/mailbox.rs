//! Mailboxes, as the pure machine keeps them: docs/protocol.md, "Letters". The disk is one of the test's.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's disk and its people fail by panicking")]

mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use knothole_proto::control::{LetterName, MAX_ENVELOPE, MAX_NAMED, Posted, ToPeer, ToRendezvous, Watched};
use knothole_proto::identity::PeerId;
use knothole_proto::keepalive::{self, FromRendezvous};
use knothole_proto::registration::SignInRequest;
use knothole_proto::seal::TagKey;
use knothole_rendezvous::mailbox::{Contents, Done, KeptLetter, KeptMailbox, Order};
use knothole_rendezvous::{Policy, Rate};
use world::{Peer, World};

/// Datagrams, and where each goes.
type Datagrams = Vec<(SocketAddr, Vec<u8>)>;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A rendezvous, and a disk that does as it is told.
struct Post {
    world: World,
    mailboxes: BTreeMap<PeerId, KeptMailbox>,
    letters: BTreeMap<u64, (PeerId, KeptLetter, Vec<u8>)>,
    last_letter: u64,
    /// Whether the disk is full.
    full: bool,
    /// Orders done so far.
    orders: usize,
}

fn policy() -> Policy {
    // Everybody may write as fast as a test does.
    let letters = Rate { burst: 1_000_000, per_second: 1_000_000 };
    Policy { mailbox_bytes: 1 << 30, letters, strangers_letters: letters, ..Policy::default() }
}

fn post_office() -> Post {
    Post::new(World::new(policy()))
}

impl Post {
    fn new(world: World) -> Self {
        let (mailboxes, letters) = (BTreeMap::new(), BTreeMap::new());
        Self { world, mailboxes, letters, last_letter: 0, full: false, orders: 0 }
    }

    fn obey(&mut self, order: Order) -> Done {
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
    fn settle(&mut self) -> Datagrams {
        let mut out = self.world.drain();
        while let Some(order) = self.world.server.poll_order(self.world.now) {
            let done = self.obey(order);
            self.world.server.handle_done(self.world.now, done);
            out.extend(self.world.drain());
        }
        out
    }

    /// The peer says something, and hears what comes of it.
    fn say(&mut self, peer: &mut Peer, message: ToRendezvous) -> Vec<ToPeer> {
        let mut out = self.world.say(peer, message);
        out.extend(self.settle());
        let heard = peer.hear(&out);
        self.world.acknowledge(&mut [peer]);
        heard
    }

    fn open(&mut self, peer: &mut Peer, senders: &[PeerId]) {
        for (n, senders) in senders.chunks(MAX_NAMED).enumerate() {
            let message = ToRendezvous::Mailbox { open: true, fresh: n == 0, senders: senders.to_vec() };
            assert_eq!(self.say(peer, message).first(), Some(&ToPeer::Mailbox { open: true }));
        }
    }

    /// Posts a letter of this length; returns what became of it.
    fn post(&mut self, from: &mut Peer, to: PeerId, n: u64, length: usize) -> Posted {
        let letter = LetterName(n.to_be_bytes());
        let message = ToRendezvous::Post { to, letter, envelope: vec![n as u8; length], keep: true };
        match &self.say(from, message)[..] {
            [ToPeer::Posted { letter: answered, outcome }] if *answered == letter => *outcome,
            heard => panic!("{heard:?}"),
        }
    }

    /// The peer signs in anew and hears all its letters, acknowledging them; returns their ids and first bytes.
    fn come(&mut self, n: u8, run: u8) -> (Peer, Vec<(u64, u8)>) {
        let mut peer = self.world.try_sign_in(n, 20, run).unwrap_or_else(|answer| panic!("{answer:?}"));
        let letters = self.listen(&mut peer);
        (peer, letters)
    }

    fn listen(&mut self, peer: &mut Peer) -> Vec<(u64, u8)> {
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
    fn listen_straight(&mut self, peer: &mut Peer) -> usize {
        self.world.advance(Duration::from_millis(200));
        let out = self.settle();
        let heard = peer.hear(&out);
        self.world.acknowledge(&mut [peer]);
        heard.len()
    }

    fn leave(&mut self, peer: &mut Peer) {
        self.world.say(peer, ToRendezvous::Goodbye);
    }

    fn collect(&mut self, peer: &mut Peer, letters: &[(u64, u8)]) {
        for letters in letters.chunks(MAX_NAMED) {
            let letters = letters.iter().map(|(id, _)| *id).collect();
            assert_eq!(self.say(peer, ToRendezvous::Collected { letters }), []);
        }
    }

    /// The rendezvous is killed and comes back with what is on the disk.
    fn restart(&mut self, start_s: u64) {
        let contents = self.contents();
        let mut world = World::new(policy());
        world.server = world.server.with_mailboxes(&contents, start_s);
        self.world = world;
    }

    fn contents(&self) -> Contents {
        let mut mailboxes = self.mailboxes.clone();
        for (owner, letter, _) in self.letters.values() {
            mailboxes.get_mut(owner).unwrap().letters.push(*letter);
        }
        Contents { mailboxes: mailboxes.into_values().collect(), last_letter: self.last_letter }
    }
}

/// Alice here, Bob away with a mailbox that is open for her.
fn for_alice() -> (Post, Peer, PeerId) {
    let mut post = post_office();
    let (alice, mut bob) = (post.world.sign_in(1, 20), post.world.sign_in(2, 20));
    post.open(&mut bob, &[alice.id]);
    post.leave(&mut bob);
    (post, alice, bob.id)
}

#[test]
fn letters_wait_in_order_until_they_are_collected_and_then_are_gone() {
    let (mut post, mut alice, bob) = for_alice();
    for n in 0..40 {
        assert_eq!(post.post(&mut alice, bob, n, 300), Posted::Kept);
    }
    let (mut bob, letters) = post.come(2, 1);
    assert_eq!(letters.iter().map(|(_, n)| *n).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    assert_eq!(post.letters.len(), 40, "nothing is destroyed that is not collected");
    post.collect(&mut bob, &letters);
    assert_eq!(post.letters.len(), 0);
    post.leave(&mut bob);
    assert_eq!(post.come(2, 2).1, []);
    let counters = post.world.server.counters();
    assert_eq!((counters.letters_kept, counters.letters_pushed, counters.letters_collected), (40, 40, 40));
    assert_eq!((counters.mailboxes, counters.letters_waiting), (1, 0));
}

#[test]
fn what_is_not_collected_is_pushed_again_at_the_next_registration() {
    let (mut post, mut alice, bob) = for_alice();
    for n in 0..20 {
        post.post(&mut alice, bob, n, 300);
    }
    let (mut first, letters) = post.come(2, 1);
    assert_eq!(letters.len(), 20);
    post.collect(&mut first, &letters[..5]);
    // It crashes and signs in anew while its former registration stands.
    let (_, again) = post.come(2, 2);
    assert_eq!(again, letters[5..]);
}

#[test]
fn kept_is_said_only_after_the_disk_has_said_so() {
    let (mut post, mut alice, bob) = for_alice();
    let message = |n| ToRendezvous::Post { to: bob, letter: LetterName([n; 8]), envelope: vec![1; 50], keep: true };
    let out = post.world.say(&mut alice, message(1));
    assert_eq!(alice.hear(&out), [], "not yet");
    let order = post.world.server.poll_order(post.world.now).unwrap();
    assert!(matches!(order, Order::Store { .. }));
    let Done::Stored { owner, letter, .. } = post.obey(order) else { panic!("a letter is stored") };
    let failed = Done::Stored { owner, letter, failed: Some(vec![1; 50]) };
    post.world.server.handle_done(post.world.now, failed);
    let out = post.world.drain();
    assert_eq!(alice.hear(&out), [ToPeer::Posted { letter: LetterName([1; 8]), outcome: Posted::Returned }]);
    post.world.acknowledge(&mut [&mut alice]);
    assert_eq!(post.world.server.counters().letters_refused_disk, 1);
    post.letters.clear();
    assert_eq!(
        post.say(&mut alice, message(2)),
        [ToPeer::Posted { letter: LetterName([2; 8]), outcome: Posted::Kept }]
    );
}

#[test]
fn a_sender_that_the_disk_answers_all_at_once_hears_every_answer() {
    let (mut post, mut alice, bob) = for_alice();
    for n in 0..90 {
        let (letter, envelope) = (LetterName([n; 8]), vec![1; 50]);
        let out = post.world.say(&mut alice, ToRendezvous::Post { to: bob, letter, envelope, keep: true });
        alice.hear(&out);
    }
    let mut out = post.settle();
    let mut answers = Vec::new();
    while !out.is_empty() {
        answers.extend(alice.hear(&out));
        let datagram = alice.channel.poll_transmit(post.world.now);
        out = datagram.map(|datagram| post.world.hand(alice.address, &datagram)).unwrap_or_default();
        out.extend(post.settle());
    }
    let kept = |n| ToPeer::Posted { letter: LetterName([n; 8]), outcome: Posted::Kept };
    assert_eq!(answers, (0..90).map(kept).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_returns_letters_opens_no_mailbox_and_loses_nothing() {
    let (mut post, mut alice, bob) = for_alice();
    assert_eq!(post.post(&mut alice, bob, 1, 300), Posted::Kept);
    post.full = true;
    assert_eq!(post.post(&mut alice, bob, 2, 300), Posted::Returned);
    let message = ToRendezvous::Mailbox { open: true, fresh: true, senders: vec![bob] };
    assert_eq!(post.say(&mut alice, message), [ToPeer::Mailbox { open: false }]);
    assert_eq!(post.world.server.counters().mailboxes, 1);
    post.full = false;
    assert_eq!(post.post(&mut alice, bob, 2, 300), Posted::Kept);
    assert_eq!(post.come(2, 1).1.len(), 2);
}

#[test]
fn of_strangers_and_of_those_not_named_any_more_nothing_is_kept() {
    let (mut post, mut alice, bob) = for_alice();
    let mut mallory = post.world.sign_in(66, 20);
    for n in 0..500 {
        assert_eq!(post.post(&mut mallory, bob, n, 300), Posted::Returned);
    }
    assert_eq!((post.letters.len(), post.world.server.counters().letters_refused_unnamed), (0, 500));
    assert_eq!(post.post(&mut alice, bob, 1, 300), Posted::Kept);
    let (mut bob, letters) = post.come(2, 1);
    post.open(&mut bob, &[mallory.id]);
    post.leave(&mut bob);
    assert_eq!(post.post(&mut alice, bob.id, 2, 300), Posted::Returned);
    assert_eq!(post.come(2, 2).1, letters, "what was kept stays");
}

#[test]
fn flooding_by_one_named_sender_leaves_the_others_mail_untouched() {
    let mut post = post_office();
    let (mut alice, mut mallory, mut bob) =
        (post.world.sign_in(1, 20), post.world.sign_in(66, 20), post.world.sign_in(2, 20));
    post.open(&mut bob, &[alice.id, mallory.id]);
    post.leave(&mut bob);
    let mut flood = |post: &mut Post, from| {
        (from..from + 1_000).filter(|n| post.post(&mut mallory, bob.id, *n, MAX_ENVELOPE) == Posted::Kept).count()
    };
    assert_eq!(flood(&mut post, 0), 128);
    // The longest text in pieces, and some more.
    for n in 0..128 {
        assert_eq!(post.post(&mut alice, bob.id, n, MAX_ENVELOPE), Posted::Kept, "{n}");
    }
    assert_eq!(flood(&mut post, 5_000), 0);
    assert_eq!(post.world.server.counters().letters_refused_sender, 872 + 1_000);
    assert_eq!(post.come(2, 1).1.len(), 256);
}

#[test]
fn many_named_senders_together_leave_to_each_what_is_reserved_for_it() {
    let mut post = post_office();
    let mut senders: Vec<_> = (10..40).map(|n| post.world.sign_in(n, 255)).collect();
    let (mut alice, mut bob) = (post.world.sign_in(1, 20), post.world.sign_in(2, 20));
    let ids: Vec<_> = senders.iter().map(|sender| sender.id).chain([alice.id]).collect();
    post.open(&mut bob, &ids);
    post.leave(&mut bob);
    let mut kept = 0;
    for sender in &mut senders {
        kept += (0..150).filter(|n| post.post(sender, bob.id, *n, MAX_ENVELOPE) == Posted::Kept).count();
    }
    assert_eq!(kept, 30 * 16 + 1_024);
    assert_eq!((0..150).filter(|n| post.post(&mut alice, bob.id, *n, MAX_ENVELOPE) == Posted::Kept).count(), 16);
}

#[test]
fn a_letter_posted_again_is_kept_once() {
    let (mut post, mut alice, bob) = for_alice();
    for _ in 0..3 {
        assert_eq!(post.post(&mut alice, bob, 1, 300), Posted::Kept);
    }
    assert_eq!(post.letters.len(), 1);
}

#[test]
fn a_letter_of_a_sender_that_left_meanwhile_is_kept_and_answered_to_nobody_else() {
    let (mut post, mut alice, bob) = for_alice();
    let message = ToRendezvous::Post { to: bob, letter: LetterName([1; 8]), envelope: vec![1; 50], keep: true };
    post.world.say(&mut alice, message);
    post.leave(&mut alice);
    post.world.advance(Duration::from_secs(100));
    let mut carol = post.world.sign_in(3, 20);
    assert_eq!(carol.slot, alice.slot, "another has its slot");
    let out = post.settle();
    assert_eq!(carol.hear(&out), []);
    assert_eq!(post.come(2, 1).1.len(), 1);
}

#[test]
fn a_sender_that_came_back_before_the_disk_has_answered_is_told_when_it_asks_again() {
    let (mut post, mut alice, bob) = for_alice();
    let message = || ToRendezvous::Post { to: bob, letter: LetterName([1; 8]), envelope: vec![1; 50], keep: true };
    post.world.say(&mut alice, message());
    post.leave(&mut alice);
    // Somebody else has its slot, so that it gets another.
    post.world.advance(Duration::from_secs(100));
    let carol = post.world.sign_in(3, 20);
    let mut again = post.world.try_sign_in(1, 20, 1).unwrap();
    assert_eq!((carol.slot == alice.slot, again.slot == alice.slot), (true, false));
    let kept = ToPeer::Posted { letter: LetterName([1; 8]), outcome: Posted::Kept };
    assert_eq!(post.say(&mut again, message()), [kept]);
    assert_eq!(post.letters.len(), 1);
}

#[test]
fn a_restart_loses_no_letter_no_mailbox_and_no_bound() {
    let (mut post, mut alice, bob) = for_alice();
    for n in 0..100 {
        post.post(&mut alice, bob, n, 300);
    }
    post.restart(1_000_000);
    let mut alice = post.world.sign_in(1, 20);
    let kept = (100..200).filter(|n| post.post(&mut alice, bob, *n, 300) == Posted::Kept).count();
    assert_eq!(kept, 28, "the sender's bound counts what it left before");
    let (mut bob, letters) = post.come(2, 1);
    assert_eq!(letters.iter().map(|(_, n)| *n).collect::<Vec<_>>(), (0..128).collect::<Vec<_>>());
    post.collect(&mut bob, &letters);
    post.restart(1_000_100);
    let mut alice = post.world.sign_in(1, 20);
    assert_eq!(post.post(&mut alice, bob.id, 1, 300), Posted::Kept, "under an id that none had before");
}

#[test]
fn closing_the_mailbox_destroys_what_is_in_it() {
    let (mut post, mut alice, bob) = for_alice();
    post.post(&mut alice, bob, 1, 300);
    let (mut bob, letters) = post.come(2, 1);
    assert_eq!(letters.len(), 1);
    let close = || ToRendezvous::Mailbox { open: false, fresh: true, senders: Vec::new() };
    assert_eq!(post.say(&mut bob, close()), [ToPeer::Mailbox { open: false }]);
    assert_eq!((post.letters.len(), post.mailboxes.len()), (0, 0));
    assert_eq!(post.world.server.counters().mailbox_bytes, 0);
    assert_eq!(post.say(&mut bob, close()), [ToPeer::Mailbox { open: false }], "and once more");
    post.leave(&mut bob);
    assert_eq!(post.post(&mut alice, bob.id, 2, 300), Posted::Returned);
}

#[test]
fn a_close_that_the_disk_refuses_is_not_answered_and_done_when_it_is_asked_for_again() {
    let close = || ToRendezvous::Mailbox { open: false, fresh: true, senders: Vec::new() };
    for opened_again in [false, true] {
        let (mut post, mut alice, bob) = for_alice();
        post.post(&mut alice, bob, 1, 300);
        let mut bob = post.come(2, 1).0;
        post.full = true;
        assert_eq!(post.say(&mut bob, close()), [], "it comes back with a restart");
        assert_eq!(post.say(&mut bob, close()), [], "nor the second time");
        post.full = false;
        if opened_again {
            post.open(&mut bob, &[alice.id]);
            assert_eq!((post.letters.len(), post.mailboxes[&bob.id].senders.len()), (0, 1));
        } else {
            assert_eq!(post.say(&mut bob, close()), [ToPeer::Mailbox { open: false }]);
            assert_eq!((post.letters.len(), post.mailboxes.len()), (0, 0));
        }
    }
}

#[test]
fn a_close_is_not_rationed_and_one_that_is_refused_is_not_answered() {
    let mut post = post_office();
    let mut bob = post.world.sign_in(2, 20);
    let open = || ToRendezvous::Mailbox { open: true, fresh: true, senders: Vec::new() };
    while post.say(&mut bob, open()) == [ToPeer::Mailbox { open: true }] {}
    assert_eq!(post.mailboxes.len(), 1);
    let close = || ToRendezvous::Mailbox { open: false, fresh: true, senders: Vec::new() };
    assert_eq!(post.say(&mut bob, close()), [ToPeer::Mailbox { open: false }]);
    assert_eq!(post.mailboxes.len(), 0);

    post.world.advance(Duration::from_secs(5));
    post.open(&mut bob, &[PeerId::new([1; 32])]);
    post.world.server.closing();
    post.settle();
    assert_eq!(post.say(&mut bob, close()), [], "a rendezvous that stops has not closed it");
    assert_eq!(post.mailboxes.len(), 1);
}

#[test]
fn letters_are_kept_for_two_weeks_and_mailboxes_for_a_month_without_their_owner() {
    let (mut post, mut alice, bob) = for_alice();
    post.post(&mut alice, bob, 1, 300);
    let wait = |post: &mut Post, days: u32| {
        for _ in 0..days * 2 {
            post.world.advance(DAY / 2);
            post.settle();
        }
    };
    wait(&mut post, 13);
    assert_eq!(post.letters.len(), 1);
    let mut alice = post.world.sign_in(1, 20);
    post.post(&mut alice, bob, 2, 300);
    wait(&mut post, 1);
    assert_eq!(post.letters.len(), 1, "the first has grown old");
    wait(&mut post, 15);
    assert_eq!((post.letters.len(), post.mailboxes.len()), (0, 1));
    wait(&mut post, 2);
    assert_eq!(post.mailboxes.len(), 0);
    let counters = post.world.server.counters();
    assert_eq!((counters.letters_expired, counters.mailboxes_expired), (2, 1));
    assert_eq!(post.world.server.poll_timeout(), None, "nothing is left to look after");
}

#[test]
fn an_owner_that_stays_is_seen_every_day_and_keeps_its_mailbox() {
    let mut post = post_office();
    let (alice, mut bob) = (post.world.sign_in(1, 20), post.world.sign_in(2, 600));
    post.open(&mut bob, &[alice.id]);
    let orders = post.orders;
    for _ in 0..40 * 24 * 6 {
        post.world.keepalive(&mut bob, false);
        post.world.advance(Duration::from_secs(600));
        post.settle();
    }
    assert!((39..=41).contains(&(post.orders - orders)), "a line a day, not {}", post.orders - orders);
    assert_eq!(post.mailboxes.len(), 1);
}

#[test]
fn a_recipient_that_is_here_gets_the_letter_straight_and_one_that_does_not_keep_up_from_its_mailbox() {
    let mut post = post_office();
    let (mut alice, mut bob) = (post.world.sign_in(1, 20), post.world.sign_in(2, 20));
    post.open(&mut bob, &[alice.id]);
    let outcomes: Vec<_> = (0..40).map(|n| post.post(&mut alice, bob.id, n, 300)).collect();
    let passed = outcomes.iter().filter(|outcome| **outcome == Posted::Passed).count();
    assert_eq!((passed, outcomes.len() - passed), (32, 8));
    assert!(outcomes[32..].iter().all(|outcome| *outcome == Posted::Kept));
}

#[test]
fn without_room_or_with_a_policy_of_none_there_are_no_mailboxes() {
    for mailbox_bytes in [0, 500] {
        let mut post = Post::new(World::new(Policy { mailbox_bytes, ..policy() }));
        let (mut alice, bob) = (post.world.sign_in(1, 20), post.world.sign_in(2, 20));
        let message = ToRendezvous::Mailbox { open: true, fresh: true, senders: vec![bob.id] };
        assert_eq!(post.say(&mut alice, message), [ToPeer::Mailbox { open: false }]);
        assert_eq!(post.orders, 0);
    }
    let mut post = Post::new(World::new(Policy { mailboxes: 1, ..policy() }));
    let (mut alice, mut bob) = (post.world.sign_in(1, 20), post.world.sign_in(2, 20));
    post.open(&mut bob, &[alice.id]);
    let message = ToRendezvous::Mailbox { open: true, fresh: true, senders: vec![bob.id] };
    assert_eq!(post.say(&mut alice, message), [ToPeer::Mailbox { open: false }]);
}

#[test]
fn a_mailbox_has_512_senders_at_most_and_changes_are_rationed() {
    let mut post = post_office();
    let mut bob = post.world.sign_in(2, 20);
    let peers: Vec<_> = (0..512_u32).map(|n| PeerId::new(std::array::from_fn(|i| n.to_be_bytes()[i % 4]))).collect();
    post.open(&mut bob, &peers);
    let name = |peer, fresh| ToRendezvous::Mailbox { open: true, fresh, senders: vec![peer] };
    let one_more = PeerId::new([9; 32]);
    assert_eq!(post.say(&mut bob, name(one_more, false)), [ToPeer::Mailbox { open: false }]);
    assert_eq!(post.say(&mut bob, name(peers[7], false)), [ToPeer::Mailbox { open: true }], "who is named is named");
    assert_eq!(post.say(&mut bob, name(one_more, true)), [ToPeer::Mailbox { open: true }]);
    let refused = (0..100).filter(|_| post.say(&mut bob, name(one_more, true)) == [ToPeer::Mailbox { open: false }]);
    assert!(refused.count() > 50);
}

#[test]
fn nobody_s_name_is_on_the_disk_but_the_owner_s() {
    let (mut post, mut alice, bob) = for_alice();
    post.post(&mut alice, bob, 1, 300);
    let mut orders = format!("{:?}", post.contents());
    orders.push_str(&format!("{:?}", post.letters));
    assert!(orders.contains(&format!("{bob:?}")));
    assert!(!orders.contains(&format!("{:?}", alice.id)));
    let mailbox = post.mailboxes[&bob].clone();
    let mut carol = post.world.sign_in(3, 20);
    post.open(&mut carol, &[alice.id]);
    assert_ne!(post.mailboxes[&carol.id].senders, mailbox.senders, "nor the same hash in two mailboxes");
}

#[test]
fn a_letter_passed_to_a_recipient_that_has_vanished_waits_in_its_mailbox() {
    // It expires, or signs in anew before that.
    for seconds in [100, 5] {
        let mut post = post_office();
        let (mut alice, mut bob) = (post.world.sign_in(1, 255), post.world.sign_in(2, 20));
        post.open(&mut bob, &[alice.id]);
        assert_eq!(post.post(&mut alice, bob.id, 1, 300), Posted::Passed);
        assert_eq!(post.listen_straight(&mut bob), 1, "which it acknowledges");
        for n in [2, 3] {
            assert_eq!(post.post(&mut alice, bob.id, n, 300), Posted::Passed);
        }
        assert_eq!(post.letters.len(), 0);
        for _ in 0..seconds {
            post.world.advance(Duration::from_secs(1));
            post.settle();
        }
        let (_, letters) = post.come(2, 1);
        assert_eq!(letters.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2, 3], "after {seconds} s");
    }
}

#[test]
fn a_letter_to_a_vanished_recipient_that_has_no_room_for_it_is_counted() {
    let mut post = post_office();
    let (mut alice, mut bob) = (post.world.sign_in(1, 255), post.world.sign_in(2, 20));
    post.open(&mut bob, &[alice.id]);
    assert_eq!(post.post(&mut alice, bob.id, 1, 300), Posted::Passed);
    let close = ToRendezvous::Mailbox { open: false, fresh: true, senders: Vec::new() };
    bob.channel.send(close, post.world.now).unwrap();
    let datagram = bob.channel.poll_transmit(post.world.now).unwrap();
    post.world.hand(bob.address, &datagram);
    post.settle();
    post.world.advance(Duration::from_secs(100));
    post.settle();
    assert_eq!((post.letters.len(), post.world.server.counters().letters_lost), (0, 1));
}

#[test]
fn a_rendezvous_that_stops_keeps_what_was_passed_and_not_acknowledged() {
    let mut post = post_office();
    let (mut alice, mut bob) = (post.world.sign_in(1, 255), post.world.sign_in(2, 255));
    post.open(&mut bob, &[alice.id]);
    for n in [1, 2] {
        assert_eq!(post.post(&mut alice, bob.id, n, 300), Posted::Passed);
    }
    assert_eq!(post.listen_straight(&mut bob), 2, "which it acknowledges");
    for n in [3, 4] {
        assert_eq!(post.post(&mut alice, bob.id, n, 300), Posted::Passed);
    }
    post.world.server.closing();
    post.settle();
    post.world.advance(Duration::from_secs(1));
    post.settle();
    assert!(!post.world.server.is_closed(), "he has vanished");
    post.world.server.stopping(post.world.now);
    post.settle();
    post.restart(1_000_000);
    assert_eq!(post.come(2, 1).1.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [3, 4]);
}

/// Twelve letters wait for Bob, who registers, and vanishes before he hears the first.
fn for_one_that_vanishes() -> (Post, Peer) {
    let (mut post, mut alice, bob) = for_alice();
    for n in 0..12 {
        assert_eq!(post.post(&mut alice, bob, n, 300), Posted::Kept);
    }
    let bob = post.world.try_sign_in(2, 255, 1).unwrap();
    for _ in 0..60 {
        post.settle();
        post.world.advance(Duration::from_secs(1));
    }
    assert_eq!(post.world.server.counters().letters_pushed, 8, "nobody is told more who says nothing");
    (post, bob)
}

#[test]
fn letters_that_were_given_up_are_pushed_again_when_their_owner_is_heard_from() {
    let expected: Vec<_> = (0..12).collect();
    for by_keepalive in [true, false] {
        let (mut post, mut bob) = for_one_that_vanishes();
        if by_keepalive {
            assert_eq!(post.world.keepalive(&mut bob, false), []);
        } else {
            let out = post.world.say(&mut bob, ToRendezvous::Unwatch { peers: Vec::new() });
            assert_eq!(bob.hear(&out), []);
        }
        let letters = post.listen(&mut bob);
        assert_eq!(letters.iter().map(|(_, n)| *n).collect::<Vec<_>>(), expected, "{by_keepalive}");
        post.collect(&mut bob, &letters);
        post.world.keepalive(&mut bob, false);
        assert_eq!(post.listen(&mut bob), [], "once");
    }
}

#[test]
fn one_that_moves_is_pushed_what_was_given_up_where_it_is_now() {
    let (mut post, mut bob) = for_one_that_vanishes();
    bob.address = world::address("203.0.113.9:7000");
    let challenge = post.world.keepalive(&mut bob, false);
    let [(to, challenge)] = &challenge[..] else { panic!("{challenge:?}") };
    assert_eq!(*to, bob.address);
    let Some(FromRendezvous::Challenge { token }) = bob.read(challenge) else { panic!("no challenge") };
    assert_eq!(post.settle(), [], "nothing before it has proved that it is there");
    bob.counter += 1;
    let moved = keepalive::moved(&TagKey::new(&bob.secret), bob.slot, bob.counter, token);
    post.world.hand(bob.address, &moved);
    assert_eq!(post.listen(&mut bob).len(), 12);
}

#[test]
fn a_letter_passed_straight_and_given_up_is_pushed_when_its_recipient_is_back() {
    let mut post = post_office();
    let (mut alice, mut bob) = (post.world.sign_in(1, 255), post.world.sign_in(2, 255));
    post.open(&mut bob, &[alice.id]);
    assert_eq!(post.post(&mut alice, bob.id, 7, 300), Posted::Passed);
    for _ in 0..60 {
        post.settle();
        post.world.advance(Duration::from_secs(1));
    }
    post.world.keepalive(&mut bob, false);
    assert_eq!(post.listen(&mut bob).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [7]);
}

#[test]
fn an_owner_that_opens_its_mailbox_again_is_pushed_whatever_it_has_not_collected() {
    let (mut post, mut alice, bob) = for_alice();
    for n in 0..12 {
        post.post(&mut alice, bob, n, 300);
    }
    let (mut bob, letters) = post.come(2, 1);
    post.collect(&mut bob, &letters[..3]);
    for (fresh, senders) in [(true, vec![alice.id]), (false, Vec::new())] {
        let out = post.world.say(&mut bob, ToRendezvous::Mailbox { open: true, fresh, senders });
        assert_eq!(bob.hear(&out), []);
        let mut out = Vec::new();
        let order = post.world.server.poll_order(post.world.now).unwrap();
        let done = post.obey(order);
        post.world.server.handle_done(post.world.now, done);
        out.extend(post.world.drain());
        assert_eq!(bob.hear(&out), [ToPeer::Mailbox { open: true }]);
        assert_eq!(post.listen(&mut bob), letters[3..]);
    }
    let message = ToRendezvous::Mailbox { open: true, fresh: false, senders: vec![PeerId::new([9; 32])] };
    assert_eq!(post.say(&mut bob, message), [ToPeer::Mailbox { open: true }], "one more name asks for nothing");
}

/// Two worlds that differ in one thing: in the second, Bob is there, and hides from Alice.
fn away_and_hidden(mailbox: bool) -> [(Post, Peer, Peer); 2] {
    [false, true].map(|here| {
        let mut post = post_office();
        let (alice, mut bob) = (post.world.sign_in(1, 255), post.world.sign_in(2, 255));
        if mailbox {
            post.open(&mut bob, &[alice.id]);
        }
        if here {
            let peers = vec![Watched { peer: alice.id, shown: false }];
            post.say(&mut bob, ToRendezvous::Watch { unseen: false, peers });
        } else {
            post.leave(&mut bob);
        }
        (post, alice, bob)
    })
}

/// All that Alice gets for her letter, in its order.
fn answers(post: &mut Post, alice: &mut Peer, bob: PeerId, keep: bool) -> (Vec<Vec<u8>>, Datagrams) {
    let message = ToRendezvous::Post { to: bob, letter: LetterName([5; 8]), envelope: vec![9; 400], keep };
    let mut out = post.world.say(alice, message);
    out.extend(post.settle());
    let to_alice = out.iter().filter(|(to, _)| *to == alice.address).map(|(_, bytes)| bytes.clone()).collect();
    (to_alice, out)
}

#[test]
fn a_recipient_that_hides_is_away_to_the_byte_and_has_the_letter_all_the_same() {
    for (mailbox, keep, full) in [(false, false, false), (false, true, false), (true, true, false), (true, true, true)]
    {
        let [(mut away, mut alice, bob), (mut hidden, mut also_alice, mut also_bob)] = away_and_hidden(mailbox);
        (away.full, hidden.full) = (full, full);
        let (expected, _) = answers(&mut away, &mut alice, bob.id, keep);
        let (answered, out) = answers(&mut hidden, &mut also_alice, bob.id, keep);
        assert_eq!(answered, expected, "{mailbox} {keep} {full}");
        let first = out.first().map(|(to, _)| *to);
        assert_eq!(first, Some(also_alice.address), "and before the letter");
        let heard = also_bob.hear(&out);
        let [ToPeer::Letter { id, from, envelope }] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((id.is_some(), from.is_none(), envelope.len()), (mailbox && !full, mailbox && !full, 400));
    }
}

#[test]
fn one_that_hides_and_collects_is_away_by_what_its_mailbox_takes_too() {
    // Bob is away; or there, hiding from Alice, and collects; or does so over a restart in which nobody is remembered.
    for (hidden, restart) in [(false, false), (true, false), (true, true)] {
        let (mut post, mut alice, bob) = for_alice();
        let hide = |post: &mut Post, run: u8, shown: bool| {
            let request = SignInRequest { interval_s: 255, unseen: true };
            let mut bob = post.world.sign_in_as(2, run, &request).unwrap();
            let peers = vec![Watched { peer: PeerId::new([1; 32]), shown }];
            let out = post.world.say(&mut bob, ToRendezvous::Watch { unseen: true, peers });
            bob.hear(&out);
            let letters = post.listen(&mut bob);
            post.collect(&mut bob, &letters);
            letters.len()
        };
        let (mut outcomes, mut heard) = (Vec::new(), 0);
        for n in 0..150 {
            if hidden && n % 50 == 49 {
                heard += hide(&mut post, n as u8, false);
                assert!(post.letters.values().all(|(_, _, envelope)| envelope.iter().all(|byte| *byte == 0)));
            }
            if restart && n == 100 {
                post.restart(1_000_000);
                alice = post.world.sign_in(1, 255);
                heard += hide(&mut post, 200, false);
            }
            outcomes.push(post.post(&mut alice, bob, n + 1, 300));
        }
        let kept = outcomes.iter().filter(|outcome| **outcome == Posted::Kept).count();
        assert_eq!((kept, &outcomes[128]), (128, &Posted::Returned), "{hidden} {restart}");
        assert_eq!(post.post(&mut alice, bob, 1, 300), Posted::Kept, "and known by its name");
        if hidden {
            heard += hide(&mut post, 201, true);
            assert_eq!(heard, 128, "each letter comes once");
            assert_eq!(post.letters.len(), 0, "it shows itself, and has room");
        }
    }
}
