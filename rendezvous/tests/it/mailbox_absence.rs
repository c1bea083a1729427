//! Mailboxes of those who vanish without a word, and of those who hide: docs/protocol.md, "Letters".
#![expect(clippy::unwrap_used, reason = "a test's disk and its people fail by panicking")]

use std::time::Duration;

use crate::post_office::{Datagrams, Post, for_alice, post_office};
use crate::world::Peer;
use knothole_proto::control::{LetterName, Posted, ToPeer, ToRendezvous, Watched};
use knothole_proto::identity::PeerId;
use knothole_proto::keepalive::{self, FromRendezvous};
use knothole_proto::registration::SignInRequest;
use knothole_proto::seal::TagKey;

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
    bob.address = crate::world::address("203.0.113.9:7000");
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
