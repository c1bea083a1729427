//! Letters that pass straight: docs/protocol.md, "Letters".

use std::time::Duration;

use crate::world::{Peer, World};
use knothole_proto::control::{LetterName, MAX_DATAGRAM, MAX_ENVELOPE, MAX_OUTSTANDING, Posted, ToPeer, ToRendezvous};
use knothole_proto::identity::PeerId;
use knothole_rendezvous::{Policy, Rate};

fn letter(n: u8) -> LetterName {
    LetterName([n; 8])
}

fn post(to: PeerId, n: u8) -> ToRendezvous {
    ToRendezvous::Post { to, letter: letter(n), envelope: vec![n; 300], keep: false }
}

fn straight(from: PeerId, n: u8) -> ToPeer {
    ToPeer::Letter { id: None, from: Some(from), envelope: vec![n; 300] }
}

fn posted(n: u8, outcome: Posted) -> ToPeer {
    ToPeer::Posted { letter: letter(n), outcome }
}

/// Posts, and has both acknowledge what they hear; returns what either heard.
fn exchange(world: &mut World, sender: &mut Peer, recipient: &mut Peer, n: u8) -> [Vec<ToPeer>; 2] {
    let out = world.say(sender, post(recipient.id, n));
    let heard = [sender.hear(&out), recipient.hear(&out)];
    world.acknowledge(&mut [sender, recipient]);
    heard
}

#[test]
fn a_letter_to_a_peer_that_is_here_goes_out_before_the_answer_and_in_one_datagram() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let out = world.say(&mut alice, post(bob.id, 7));
    let to: Vec<_> = out.iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [bob.address, alice.address]);
    assert_eq!(bob.hear(&out), [straight(alice.id, 7)]);
    assert_eq!(alice.hear(&out), [posted(7, Posted::Passed)]);
}

#[test]
fn a_letter_to_a_peer_that_is_away_or_to_oneself_is_returned() {
    let mut world = World::new(Policy::default());
    let (mut alice, bob) = (world.sign_in(1, 20), world.sign_in(2, 5));
    world.advance(Duration::from_secs(10));
    for to in [bob.id, alice.id] {
        let out = world.say(&mut alice, post(to, 7));
        assert_eq!(alice.hear(&out), [posted(7, Posted::Returned)]);
        assert_eq!(out.len(), 1, "the acknowledgement rides along");
        world.acknowledge(&mut [&mut alice]);
    }
    let counters = world.server.counters();
    assert_eq!((counters.letters_posted, counters.letters_passed, counters.letters_returned), (2, 0, 2));
}

#[test]
fn the_largest_letter_passes_a_longer_one_does_not_and_neither_grows() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    for (length, passes) in [(0, true), (1, true), (MAX_ENVELOPE, true), (MAX_ENVELOPE + 1, false)] {
        let message = ToRendezvous::Post { to: bob.id, letter: letter(1), envelope: vec![9; length], keep: false };
        alice.channel.send(message, world.now).unwrap();
        let datagram = alice.channel.poll_transmit(world.now).unwrap();
        let out = world.hand(alice.address, &datagram);
        let to_bob: usize = out.iter().filter(|(to, _)| *to == bob.address).map(|(_, bytes)| bytes.len()).sum();
        assert!(to_bob <= datagram.len().min(MAX_DATAGRAM), "{to_bob} for {}", datagram.len());
        assert_eq!(bob.hear(&out).len(), usize::from(passes), "{length}");
        let outcome = if passes { Posted::Passed } else { Posted::Returned };
        assert_eq!(alice.hear(&out), [posted(1, outcome)]);
        world.acknowledge(&mut [&mut alice, &mut bob]);
    }
}

#[test]
fn a_repeated_post_passes_one_letter() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    alice.channel.send(post(bob.id, 1), world.now).unwrap();
    let datagram = alice.channel.poll_transmit(world.now).unwrap();
    let first = world.hand(alice.address, &datagram);
    assert_eq!(bob.hear(&first).len(), 1);
    let again = world.hand(alice.address, &datagram);
    assert_eq!(bob.hear(&again).len(), 0);
}

#[test]
fn letters_beyond_the_ration_are_returned_until_time_has_passed_and_signing_in_anew_brings_no_more() {
    let letters = Rate { burst: 5, per_second: 2 };
    let mut world = World::new(Policy { letters, ..Policy::default() });
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let mut passed = 0;
    for n in 0..9 {
        passed += exchange(&mut world, &mut alice, &mut bob, n)[1].len();
    }
    assert_eq!(passed, 5);
    assert_eq!(world.server.counters().letters_refused_rate, 4);
    let mut again = world.try_sign_in(1, 20, 0xff).unwrap_or_else(|answer| panic!("{answer:?}"));
    let [heard, _] = exchange(&mut world, &mut again, &mut bob, 9);
    assert_eq!(heard, [posted(9, Posted::Returned)]);
    world.advance(Duration::from_millis(500));
    let [heard, _] = exchange(&mut world, &mut again, &mut bob, 10);
    assert_eq!(heard, [posted(10, Posted::Passed)]);
}

#[test]
fn strangers_together_have_one_ration_at_each_peer_however_many_they_are() {
    let strangers_letters = Rate { burst: 10, per_second: 1 };
    let mut world = World::new(Policy { strangers_letters, ..Policy::default() });
    let mut bob = world.sign_in(100, 20);
    let mut passed = 0;
    for n in 1..=20 {
        let mut stranger = world.sign_in(n, 20);
        passed += exchange(&mut world, &mut stranger, &mut bob, n)[1].len();
    }
    assert_eq!(passed, 10);
    assert_eq!(world.server.counters().letters_refused_strangers, 10);
    let (mut carol, mut dave) = (world.sign_in(101, 20), world.sign_in(102, 20));
    assert_eq!(exchange(&mut world, &mut carol, &mut dave, 1)[1].len(), 1, "another's are untouched");
}

#[test]
fn a_recipient_that_acknowledges_nothing_costs_a_bounded_number_of_letters() {
    let mut world = World::new(Policy::default());
    let (mut alice, bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let mut returned = 0;
    for n in 0..u8::try_from(MAX_OUTSTANDING).unwrap() + 3 {
        let out = world.say(&mut alice, post(bob.id, n));
        returned += usize::from(alice.hear(&out) == [posted(n, Posted::Returned)]);
        world.acknowledge(&mut [&mut alice]);
    }
    assert_eq!(returned, 3);
}
