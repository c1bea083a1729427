//! How peers are introduced: docs/protocol.md, "Introduction" and "Control".

use std::time::Duration;

use crate::world::{World, address, host, introduction};
use knothole_proto::candidate::is_reachable;
use knothole_proto::control::{MAX_CANDIDATES, MAX_OUTSTANDING, ToPeer, ToRendezvous};
use knothole_proto::keepalive::FromRendezvous;
use knothole_proto::tunnel::NO_ADDRESS;
use knothole_rendezvous::{Policy, Rate};

#[test]
fn an_invitation_reaches_the_invitee_with_all_that_it_needs_and_the_answer_comes_back_under_the_same_key() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let out = world.say(&mut alice, bob.invite(9));
    let heard = bob.hear(&out);
    let [ToPeer::Invited { introduction: id, from, observed, key, candidates, channel: Some(_), .. }] = &heard[..]
    else {
        panic!("{heard:?}")
    };
    assert_eq!((*id, *from, *observed), (introduction(9), alice.id, alice.address));
    assert_eq!(candidates, &[host("192.168.1.2:5000")]);
    // The relay channel that is offered with it: tests/flight.rs.
    assert!(matches!(alice.hear(&out)[..], [ToPeer::Relay { .. }]));

    let accept = ToRendezvous::Accept {
        introduction: *id,
        to: alice.id,
        candidates: vec![host("10.0.0.2:6000")],
        relay_only: false,
    };
    let out = world.say(&mut bob, accept);
    let accepted = ToPeer::Accepted {
        introduction: *id,
        from: bob.id,
        observed: bob.address,
        key: *key,
        candidates: vec![host("10.0.0.2:6000")],
    };
    assert_eq!(alice.hear(&out), [accepted]);
    bob.hear(&out);

    let out = world.say(&mut alice, ToRendezvous::Opened { introduction: *id, to: bob.id });
    assert_eq!(bob.hear(&out), [ToPeer::Opened { introduction: *id, from: alice.id }]);
    assert_eq!((world.server.counters().invited, world.server.counters().relayed), (1, 2));
}

#[test]
fn of_one_who_chose_relay_only_the_other_is_told_no_address_in_either_direction() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let invite = ToRendezvous::Invite {
        introduction: introduction(9),
        to: bob.id,
        candidates: vec![host("203.0.113.9:5000")],
        relay_only: true,
        greeting: None,
    };
    let out = world.say(&mut alice, invite);
    let heard = bob.hear(&out);
    let [ToPeer::Invited { observed, candidates, channel: Some(_), .. }] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((*observed, &candidates[..]), (NO_ADDRESS, &[][..]));
    alice.hear(&out);

    let candidates = vec![host("203.0.113.2:6000")];
    let accept = ToRendezvous::Accept { introduction: introduction(9), to: alice.id, candidates, relay_only: true };
    let out = world.say(&mut bob, accept);
    let heard = alice.hear(&out);
    let [ToPeer::Accepted { observed, candidates, .. }] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((*observed, &candidates[..]), (NO_ADDRESS, &[][..]));
}

#[test]
fn an_invitation_for_a_peer_that_is_not_here_is_answered_with_absent() {
    let mut world = World::new(Policy::default());
    let (mut alice, bob) = (world.sign_in(1, 20), world.sign_in(2, 5));
    world.advance(Duration::from_secs(10));
    let out = world.say(&mut alice, bob.invite(1));
    assert_eq!(alice.hear(&out), [ToPeer::Absent { introduction: introduction(1) }]);
    assert_eq!(out.len(), 1, "the acknowledgement rides along");
}

#[test]
fn nobody_is_introduced_to_oneself() {
    let mut world = World::new(Policy::default());
    let mut alice = world.sign_in(1, 20);
    let invitation = alice.invite(1);
    let out = world.say(&mut alice, invitation);
    assert_eq!(alice.hear(&out), [ToPeer::Absent { introduction: introduction(1) }]);
}

#[test]
fn a_repeated_invitation_is_relayed_once() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    alice.channel.send(bob.invite(1), world.now).unwrap();
    let datagram = alice.channel.poll_transmit(world.now).unwrap();
    let first = world.hand(alice.address, &datagram);
    let again = world.hand(alice.address, &datagram);
    assert_eq!(bob.hear(&first).len(), 1);
    assert_eq!(bob.hear(&again).len(), 0);
    assert_eq!(again.len(), 1, "an acknowledgement, in case the first was lost");
}

#[test]
fn an_unacknowledged_invitation_is_repeated_until_the_invitee_has_it() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let lost = world.say(&mut alice, bob.invite(1));
    alice.hear(&lost);
    world.acknowledge(&mut [&mut alice]);
    world.advance(Duration::from_millis(200));
    let repeated = world.drain();
    assert!(lost.contains(&repeated[0]), "the very same bytes");
    assert_eq!(bob.hear(&repeated).len(), 1);
    let acknowledgement = bob.channel.poll_transmit(world.now).unwrap();
    assert_eq!(world.hand(bob.address, &acknowledgement), []);
    world.advance(Duration::from_secs(5));
    assert_eq!(world.drain(), []);
}

#[test]
fn invitations_beyond_the_burst_are_refused_until_time_has_passed() {
    let invitations = Rate { burst: 5, per_second: 2 };
    let mut world = World::new(Policy { invitations, ..Policy::default() });
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let mut outcomes = Vec::new();
    for n in 0..7 {
        let out = world.say(&mut alice, bob.invite(n));
        bob.hear(&out);
        outcomes.push(alice.hear(&out));
    }
    assert!(matches!(outcomes[4][..], [ToPeer::Relay { .. }]), "{outcomes:?}");
    assert_eq!(outcomes[5], [ToPeer::Refused { introduction: introduction(5) }]);
    world.advance(Duration::from_millis(500));
    let out = world.say(&mut alice, bob.invite(8));
    assert!(matches!(alice.hear(&out)[..], [ToPeer::Relay { .. }]));
    assert_eq!(world.server.counters().refused, 2);
}

#[test]
fn signing_in_anew_is_no_way_to_more_invitations() {
    let invitations = Rate { burst: 1, per_second: 1 };
    let mut world = World::new(Policy { invitations, ..Policy::default() });
    let (mut alice, bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    world.say(&mut alice, bob.invite(1));
    let mut again = world.try_sign_in(1, 20, 0xff).unwrap_or_else(|answer| panic!("{answer:?}"));
    let out = world.say(&mut again, bob.invite(2));
    assert_eq!(again.hear(&out), [ToPeer::Refused { introduction: introduction(2) }]);
}

#[test]
fn an_invitee_that_acknowledges_nothing_costs_a_bounded_number_of_messages() {
    let mut world = World::new(Policy::default());
    let (mut alice, bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let mut refused = 0;
    for n in 0..u8::try_from(MAX_OUTSTANDING).unwrap() + 3 {
        let out = world.say(&mut alice, bob.invite(n));
        refused += alice.hear(&out).iter().filter(|said| matches!(said, ToPeer::Refused { .. })).count();
        let acknowledgement = alice.channel.poll_transmit(world.now);
        acknowledgement.map(|datagram| world.hand(alice.address, &datagram));
    }
    assert_eq!(refused, 3);
}

#[test]
fn acceptances_beyond_the_rate_and_for_absent_peers_are_dropped_and_counted() {
    let relays = Rate { burst: 2, per_second: 1 };
    let mut world = World::new(Policy { relays, ..Policy::default() });
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let accept =
        |to| ToRendezvous::Accept { introduction: introduction(1), to, candidates: Vec::new(), relay_only: false };
    for _ in 0..3 {
        let out = world.say(&mut bob, accept(alice.id));
        alice.hear(&out);
    }
    let nobody = knothole_proto::identity::PeerId::new([99; 32]);
    world.advance(Duration::from_secs(9));
    world.say(&mut bob, accept(nobody));
    let counters = world.server.counters();
    assert_eq!((counters.relayed, counters.dropped_relay), (2, 2));
}

#[test]
fn candidates_that_lead_nowhere_or_are_too_many_are_not_passed_on() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let mut candidates = vec![host("127.0.0.1:22"), host("255.255.255.255:9"), host("224.0.0.1:9")];
    candidates.extend((1..20).map(|port| host(&format!("192.0.2.1:{port}"))));
    let invite = ToRendezvous::Invite {
        introduction: introduction(1),
        to: bob.id,
        candidates,
        relay_only: false,
        greeting: None,
    };
    let out = world.say(&mut alice, invite);
    let heard = bob.hear(&out);
    let [ToPeer::Invited { candidates, .. }] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(candidates.len(), MAX_CANDIDATES);
    assert!(candidates.iter().all(|candidate| is_reachable(candidate.address, false)));
}

#[test]
fn a_goodbye_ends_the_registration_at_once_and_is_acknowledged() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let out = world.say(&mut bob, ToRendezvous::Goodbye);
    assert_eq!(out.len(), 1);
    bob.hear(&out);
    assert!(bob.channel.is_idle());
    let out = world.say(&mut alice, bob.invite(1));
    assert_eq!(alice.hear(&out), [ToPeer::Absent { introduction: introduction(1) }]);
    assert_eq!(world.server.registrations(), 1);
}

#[test]
fn a_control_message_counts_from_wherever_it_comes_but_only_a_challenge_goes_to_where_it_came_from() {
    let mut world = World::new(Policy::default());
    let (mut alice, bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    alice.channel.send(bob.invite(1), world.now).unwrap();
    let datagram = alice.channel.poll_transmit(world.now).unwrap();
    let elsewhere = address("203.0.113.5:5");
    let out = world.hand(elsewhere, &datagram);
    let mut to: Vec<_> = out.iter().map(|(to, _)| *to).collect();
    to.sort_unstable();
    assert_eq!(to, [alice.address, bob.address, elsewhere]);
    let challenge = out.iter().find(|(to, _)| *to == elsewhere).map(|(_, challenge)| challenge).unwrap();
    assert!(matches!(alice.read(challenge), Some(FromRendezvous::Challenge { .. })));
    assert!(challenge.len() < datagram.len());
}

#[test]
fn closing_tells_everyone_once_and_is_over_when_all_have_acknowledged() {
    let mut world = World::new(Policy::default());
    let mut peers: Vec<_> = (1..=50).map(|n| world.sign_in(n, 20)).collect();
    world.server.closing();
    let out = world.drain();
    assert_eq!(out.len(), peers.len());
    for peer in &mut peers {
        assert!(!world.server.is_closed());
        assert_eq!(peer.hear(&out), [ToPeer::Closing]);
        let acknowledgement = peer.channel.poll_transmit(world.now).unwrap();
        world.hand(peer.address, &acknowledgement);
    }
    assert!(world.server.is_closed());
    assert_eq!(world.server.registrations(), 0);
    assert!(world.try_sign_in(99, 20, 0).is_err(), "who closes takes nobody in");
}

#[test]
fn closing_does_not_wait_for_a_peer_that_is_gone() {
    let mut world = World::new(Policy::default());
    world.sign_in(1, 5);
    world.server.closing();
    assert_eq!(world.drain().len(), 1);
    world.advance(Duration::from_secs(11));
    world.drain();
    assert!(world.server.is_closed());
}
