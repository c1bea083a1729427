//! Who is told that somebody comes or goes, and from whom one hides: docs/protocol.md, "Presence".

use std::net::SocketAddr;
use std::time::Duration;

use crate::world::{Peer, World, introduction};
use knothole_proto::control::{ToPeer, ToRendezvous, Watched};
use knothole_proto::identity::PeerId;
use knothole_proto::registration::SignInRequest;
use knothole_rendezvous::{Policy, Rate};

/// Names these, each with whether it may see the peer.
fn watch(peers: &[(&Peer, bool)]) -> ToRendezvous {
    let peers = peers.iter().map(|(peer, shown)| Watched { peer: peer.id, shown: *shown }).collect();
    ToRendezvous::Watch { unseen: false, peers }
}

/// What the peer is told of others among these datagrams.
fn told(peer: &mut Peer, datagrams: &[(SocketAddr, Vec<u8>)]) -> Vec<(PeerId, bool)> {
    let presence = |message| match message {
        ToPeer::Presence { peers } => peers,
        _ => Vec::new(),
    };
    peer.hear(datagrams).into_iter().flat_map(presence).collect()
}

/// Two who watch each other, and have been told.
fn two(world: &mut World) -> (Peer, Peer) {
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let out = world.say(&mut alice, watch(&[(&bob, true)]));
    assert_eq!(told(&mut alice, &out), [], "bob has not named alice");
    let out = world.say(&mut bob, watch(&[(&alice, true)]));
    assert_eq!(told(&mut alice, &out), [(bob.id, true)]);
    assert_eq!(told(&mut bob, &out), [(alice.id, true)]);
    world.acknowledge(&mut [&mut alice, &mut bob]);
    (alice, bob)
}

#[test]
fn only_who_is_watched_in_turn_is_told_anything() {
    let mut world = World::new(Policy::default());
    let (mut alice, bob, mut eve) = (world.sign_in(1, 20), world.sign_in(2, 20), world.sign_in(3, 20));
    let out = world.say(&mut eve, watch(&[(&alice, true), (&bob, true)]));
    assert_eq!(told(&mut eve, &out), []);
    let out = world.say(&mut alice, watch(&[(&bob, true)]));
    assert_eq!((told(&mut eve, &out), told(&mut alice, &out)), (vec![], vec![]));
    let out = world.say(&mut alice, ToRendezvous::Goodbye);
    assert_eq!(told(&mut eve, &out), []);
}

#[test]
fn a_goodbye_is_told_at_once_and_a_return_when_both_have_named_each_other_again() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = two(&mut world);
    let out = world.say(&mut bob, ToRendezvous::Goodbye);
    assert_eq!(told(&mut alice, &out), [(bob.id, false)]);
    world.acknowledge(&mut [&mut alice]);
    let mut bob = world.try_sign_in(2, 20, 0xff).unwrap_or_else(|answer| panic!("{answer:?}"));
    let none = world.drain();
    assert_eq!(told(&mut alice, &none), [], "nobody is told before it has named whom it lets see it");
    let out = world.say(&mut bob, watch(&[(&alice, true)]));
    assert_eq!(told(&mut alice, &out), [(bob.id, true)]);
    assert_eq!(told(&mut bob, &out), [(alice.id, true)]);
}

#[test]
fn who_falls_silent_is_away_when_its_registration_ends() {
    for (interval, lifetime) in [(20, 40), (3, 9)] {
        let mut world = World::new(Policy::default());
        let (mut alice, mut bob) = (world.sign_in(1, 600), world.sign_in(2, interval));
        world.say(&mut alice, watch(&[(&bob, true)]));
        let out = world.say(&mut bob, watch(&[(&alice, true)]));
        assert_eq!(told(&mut alice, &out), [(bob.id, true)]);
        world.acknowledge(&mut [&mut alice, &mut bob]);
        world.advance(Duration::from_secs(lifetime - 1));
        let out = world.drain();
        assert_eq!(told(&mut alice, &out), []);
        // The registry looks at what has expired once a second.
        world.advance(Duration::from_secs(2));
        let out = world.drain();
        assert_eq!(told(&mut alice, &out), [(bob.id, false)]);
    }
}

#[test]
fn who_names_a_peer_anew_is_told_again_that_it_is_here() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = two(&mut world);
    let out = world.say(&mut alice, watch(&[(&bob, true)]));
    assert_eq!((told(&mut alice, &out), told(&mut bob, &out)), (vec![(bob.id, true)], vec![]));
}

#[test]
fn a_restart_is_no_coming_and_going() {
    let mut world = World::new(Policy::default());
    let (mut alice, _) = two(&mut world);
    let mut bob = world.try_sign_in(2, 20, 0xff).unwrap_or_else(|answer| panic!("{answer:?}"));
    let out = world.drain();
    assert_eq!(told(&mut alice, &out), []);
    let out = world.say(&mut bob, watch(&[(&alice, true)]));
    assert_eq!(told(&mut alice, &out), []);
    assert_eq!(told(&mut bob, &out), [(alice.id, true)]);
    world.acknowledge(&mut [&mut alice, &mut bob]);
    world.advance(Duration::from_secs(6));
    assert_eq!(world.drain(), []);
}

#[test]
fn who_restarts_and_does_not_name_a_watcher_again_has_left_for_it() {
    let mut world = World::new(Policy::default());
    let (mut alice, _) = two(&mut world);
    assert!(world.try_sign_in(2, 20, 0xff).is_ok());
    world.advance(Duration::from_secs(6));
    let out = world.drain();
    assert_eq!(told(&mut alice, &out), [(PeerId::new([2; 32]), false)]);
}

#[test]
fn who_is_named_no_more_learns_no_more_and_can_be_invited_as_a_stranger() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = two(&mut world);
    let out = world.say(&mut alice, ToRendezvous::Unwatch { peers: vec![bob.id] });
    assert_eq!((told(&mut alice, &out), told(&mut bob, &out)), (vec![], vec![(alice.id, false)]));
    let out = world.say(&mut bob, alice.invite(1));
    assert!(matches!(alice.hear(&out)[..], [ToPeer::Invited { .. }]));
}

/// What one sees who asks for somebody, as bytes to it: for the invitation, and when the other has gone and come.
fn seen_by_bob(hides: bool) -> Vec<Vec<u8>> {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = two(&mut world);
    let channel = world.relay_channel(&mut alice, &mut bob, 7);
    let goes = if hides { watch(&[(&bob, false)]) } else { ToRendezvous::Goodbye };
    let mut out = world.say(&mut alice, goes);
    let heard = bob.hear(&out);
    assert_eq!(heard, [ToPeer::RelayClosed { channel }, ToPeer::Presence { peers: vec![(alice.id, false)] }]);
    world.acknowledge(&mut [&mut bob]);
    for message in [
        alice.invite(1),
        ToRendezvous::Accept { introduction: introduction(7), to: alice.id, candidates: Vec::new(), relay_only: false },
        ToRendezvous::Opened { introduction: introduction(7), to: alice.id },
    ] {
        out.extend(world.say(&mut bob, message));
    }
    let frame = [&[10, 0, 0, 0][..], &channel.to_be_bytes(), &[0x40; 60]].concat();
    out.extend(world.hand(bob.address, &frame));
    let to_alice = alice.hear(&out);
    let own = |said: &ToPeer| matches!(said, ToPeer::RelayClosed { .. } | ToPeer::Presence { .. });
    assert!(to_alice.iter().all(own), "nothing of bob's reaches alice: {to_alice:?}");
    assert_eq!(bob.hear(&out), [ToPeer::Absent { introduction: introduction(1) }]);
    out.retain(|(to, _)| *to == bob.address);
    out.into_iter().map(|(_, datagram)| datagram).collect()
}

#[test]
fn one_from_whom_a_peer_hides_sees_the_very_bytes_that_it_would_see_if_the_peer_had_left() {
    let (hidden, away) = (seen_by_bob(true), seen_by_bob(false));
    assert_eq!(hidden, away);
    assert!(hidden.len() >= 3);
}

#[test]
fn who_hides_from_one_is_seen_by_another_and_sees_both() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob, mut carol) = (world.sign_in(1, 20), world.sign_in(2, 20), world.sign_in(3, 20));
    world.say(&mut bob, watch(&[(&alice, true)]));
    world.say(&mut carol, watch(&[(&alice, true)]));
    let out = world.say(&mut alice, watch(&[(&bob, false), (&carol, true)]));
    assert_eq!((told(&mut bob, &out), told(&mut carol, &out)), (vec![], vec![(alice.id, true)]));
    assert_eq!(told(&mut alice, &out), [(bob.id, true), (carol.id, true)]);
    world.acknowledge(&mut [&mut alice, &mut bob, &mut carol]);
    let out = world.say(&mut alice, watch(&[(&bob, true)]));
    assert_eq!((told(&mut bob, &out), told(&mut carol, &out)), (vec![(alice.id, true)], vec![]));
}

#[test]
fn whom_an_unseen_peer_has_not_named_is_told_that_it_is_away_and_reaches_it_all_the_same() {
    let mut world = World::new(Policy::default());
    let (mut bob, mut carol) = (world.sign_in(2, 20), world.sign_in(3, 20));
    let request = SignInRequest { interval_s: 20, unseen: true };
    let mut alice = world.sign_in_as(1, 0, &request).unwrap_or_else(|answer| panic!("{answer:?}"));
    // Before it has named anybody, and after.
    for n in [1, 3] {
        let out = world.say(&mut carol, alice.invite(n));
        assert_eq!(carol.hear(&out), [ToPeer::Absent { introduction: introduction(n) }]);
        assert!(matches!(alice.hear(&out)[..], [ToPeer::Invited { channel: None, .. }]));
        assert_eq!(out[0].0, carol.address, "the answer does not wait for it");
        let peers = vec![Watched { peer: bob.id, shown: false }];
        world.say(&mut alice, ToRendezvous::Watch { unseen: true, peers });
    }
    let out = world.say(&mut bob, alice.invite(4));
    assert_eq!(bob.hear(&out), [ToPeer::Absent { introduction: introduction(4) }]);
    assert_eq!(alice.hear(&out), [], "one from whom it hides does not reach it");
    // It takes carol's invitation up.
    let accept =
        ToRendezvous::Accept { introduction: introduction(3), to: carol.id, candidates: Vec::new(), relay_only: false };
    let out = world.say(&mut alice, accept);
    assert!(matches!(carol.hear(&out)[..], [ToPeer::Accepted { .. }, ToPeer::Relay { .. }]));
    let peers = vec![Watched { peer: carol.id, shown: true }];
    world.say(&mut alice, ToRendezvous::Watch { unseen: true, peers });
    let out = world.say(&mut carol, alice.invite(5));
    assert!(matches!(carol.hear(&out)[..], [ToPeer::Relay { .. }]));
}

#[test]
fn many_are_told_of_in_few_messages_and_not_before_those_on_their_way_have_arrived() {
    let mut world = World::new(Policy::default());
    let mut alice = world.sign_in(1, 20);
    let mut others: Vec<_> = (2..=100).map(|n| world.sign_in(n, 20)).collect();
    for some in others.chunks(30) {
        let named: Vec<_> = some.iter().map(|peer| (peer, true)).collect();
        world.say(&mut alice, watch(&named));
    }
    let mut messages = 0;
    let mut here = Vec::new();
    for other in &mut others {
        let out = world.say(other, watch(&[(&alice, true)]));
        // Alice acknowledges nothing meanwhile.
        messages += out.iter().filter(|(to, _)| *to == alice.address).count();
        here.extend(told(&mut alice, &out));
    }
    assert!(messages <= 16, "{messages}");
    // What waited follows the acknowledgement.
    while let Some(datagram) = alice.channel.poll_transmit(world.now) {
        let out = world.hand(alice.address, &datagram);
        here.extend(told(&mut alice, &out));
    }
    while let Some(due) = world.server.poll_timeout().filter(|due| *due < world.now + Duration::from_secs(5)) {
        let passed = due - world.now;
        world.advance(passed);
        let out = world.drain();
        here.extend(told(&mut alice, &out));
        while let Some(datagram) = alice.channel.poll_transmit(world.now) {
            let out = world.hand(alice.address, &datagram);
            here.extend(told(&mut alice, &out));
        }
    }
    here.sort_unstable();
    assert_eq!(here, others.iter().map(|other| (other.id, true)).collect::<Vec<_>>());
}

#[test]
fn who_comes_and_goes_without_end_costs_a_watcher_a_message_a_second() {
    let watches = Rate { burst: 1_000_000, per_second: 1_000_000 };
    let mut world = World::new(Policy { watches, ..Policy::default() });
    let (mut alice, mut bob) = two(&mut world);
    let (mut messages, mut last) = (0, true);
    for turn in 0..1_000_u32 {
        let out = world.say(&mut bob, watch(&[(&alice, turn % 2 == 1)]));
        let mut heard = told(&mut alice, &out);
        bob.hear(&out);
        world.acknowledge(&mut [&mut alice, &mut bob]);
        world.advance(Duration::from_millis(10));
        let out = world.drain();
        heard.extend(told(&mut alice, &out));
        world.acknowledge(&mut [&mut alice, &mut bob]);
        messages += heard.len();
        last = heard.last().map_or(last, |(_, here)| *here);
    }
    assert!(messages <= 40 + 11, "{messages} in ten seconds");
    world.advance(Duration::from_secs(2));
    let out = world.drain();
    last = told(&mut alice, &out).last().map_or(last, |(_, here)| *here);
    assert!(last, "and knows in the end what is");
}

#[test]
fn what_a_watcher_did_not_hear_is_told_again() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 600), world.sign_in(2, 20));
    world.say(&mut alice, watch(&[(&bob, true)]));
    let lost = world.say(&mut bob, watch(&[(&alice, true)]));
    assert!(lost.iter().any(|(to, _)| *to == alice.address));
    world.acknowledge(&mut [&mut bob]);
    // Its network is away for longer than the rendezvous repeats anything.
    let mut heard = Vec::new();
    for second in 0..60 {
        world.advance(Duration::from_secs(1));
        let mut out = world.keepalive(&mut bob, false);
        out.extend(world.drain());
        if second > 25 {
            heard.extend(told(&mut alice, &out));
        }
    }
    assert_eq!(heard, [(bob.id, true)]);
}

#[test]
fn more_than_a_thousand_are_not_watched_and_nobody_is_told_when_the_rendezvous_closes() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = two(&mut world);
    let stranger = |n: u32| {
        let mut key = [9; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        Watched { peer: PeerId::new(key), shown: true }
    };
    for n in 0..40 {
        let peers = (n * 30..n * 30 + 30).map(stranger).collect();
        let out = world.say(&mut alice, ToRendezvous::Watch { unseen: false, peers });
        alice.hear(&out);
    }
    let counters = world.server.counters();
    assert_eq!((counters.watched, counters.dropped_watch), (2 + 1_023, 1_200 - 1_023));
    world.server.closing();
    let out = world.drain();
    bob.hear(&out);
    let out = world.say(&mut alice, ToRendezvous::Goodbye);
    assert_eq!(told(&mut bob, &out), []);
}
