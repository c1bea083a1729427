//! Mailboxes, as the pure machine keeps them: docs/protocol.md, "Letters". The disk is one of the test's.

use std::time::Duration;

use crate::post_office::{Post, for_alice, policy, post_office};
use crate::world::World;
use knothole_proto::control::{LetterName, MAX_ENVELOPE, Posted, ToPeer, ToRendezvous};
use knothole_proto::identity::PeerId;
use knothole_rendezvous::Policy;
use knothole_rendezvous::mailbox::{Done, Order};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
