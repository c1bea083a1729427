//! What the rendezvous passes on between two peers without a direct path, and what not: docs/protocol.md, "Relay".

use std::time::Duration;

use crate::world::{Peer, World, address, introduction};
use knothole_proto::control::{ToPeer, ToRendezvous};
use knothole_proto::datagram::{Header, KEEPALIVE, relay_header};
use knothole_proto::keepalive::{self, FromRendezvous};
use knothole_proto::seal::TagKey;
use knothole_rendezvous::{Policy, Rate};

/// A relay frame of this length in all.
fn frame(channel: u32, length: usize) -> Vec<u8> {
    let mut frame = relay_header(channel).to_vec();
    frame.resize(length, 0x41);
    frame
}

/// Two peers, introduced, and their channel.
fn introduced(policy: Policy) -> (World, Peer, Peer, u32) {
    let mut world = World::new(policy);
    let (mut alice, mut bob) = (world.sign_in(1, 600), world.sign_in(2, 600));
    let channel = world.relay_channel(&mut alice, &mut bob, 9);
    (world, alice, bob, channel)
}

#[test]
fn an_introduction_tells_both_of_one_channel() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let [to_alice, to_bob] = world.introduce(&mut alice, &mut bob, 9);
    let [ToPeer::Relay { introduction: id, with, channel }, ToPeer::Accepted { .. }] = &to_alice[..] else {
        panic!("{to_alice:?}")
    };
    assert_eq!((*id, *with), (introduction(9), bob.id));
    assert!(matches!(to_bob[..], [ToPeer::Invited { channel: Some(told), .. }] if told == *channel));
    assert_eq!(world.server.counters().channels_opened, 1);
}

#[test]
fn frames_go_both_ways_unchanged_to_the_proven_addresses() {
    let (mut world, alice, bob, channel) = introduced(Policy::default());
    for length in [9, 1208, 1500] {
        let frame = frame(channel, length);
        assert_eq!(world.hand(alice.address, &frame), [(bob.address, frame.clone())]);
        assert_eq!(world.hand(bob.address, &frame), [(alice.address, frame)]);
    }
    assert_eq!(
        (world.server.counters().forwarded, world.server.counters().forwarded_bytes),
        (6, 2 * (9 + 1208 + 1500))
    );
}

#[test]
fn frames_that_arrive_together_leave_together_and_in_their_order() {
    let (mut world, alice, bob, channel) = introduced(Policy::default());
    let frames: Vec<_> = (100..140).map(|length| frame(channel, length)).collect();
    for frame in &frames {
        world.server.handle_datagram(world.now, alice.address, crate::world::LOCAL, frame);
    }
    assert_eq!(world.drain(), frames.into_iter().map(|frame| (bob.address, frame)).collect::<Vec<_>>());
}

#[test]
fn a_third_peer_gets_nothing_through_somebody_else_s_channel() {
    let (mut world, _, _, channel) = introduced(Policy::default());
    let carol = world.sign_in(3, 20);
    assert_eq!(world.hand(carol.address, &frame(channel, 100)), []);
    assert_eq!(world.server.counters().dropped_foreign, 1);
}

#[test]
fn a_frame_from_an_address_that_is_not_proven_is_dropped() {
    let (mut world, alice, _, channel) = introduced(Policy::default());
    let port = alice.address.port();
    for from in [(alice.address.ip(), port + 1).into(), address("203.0.113.1:4000"), address("127.0.0.1:4000")] {
        assert_eq!(world.hand(from, &frame(channel, 100)), []);
    }
    assert_eq!(world.hand(alice.address, &frame(channel ^ 1, 100)), [], "another channel");
    assert_eq!(world.server.counters().dropped_foreign, 4);
}

#[test]
fn what_is_not_quic_or_too_long_or_too_short_is_dropped() {
    let (mut world, alice, _, channel) = introduced(Policy::default());
    let mut dropped = 0;
    for first in (0..=255).filter(|first| !matches!(first, 64..=127 | 192..=255)) {
        let mut frame = frame(channel, 100);
        frame[8] = first;
        assert_eq!(world.hand(alice.address, &frame), [], "{first}");
        dropped += 1;
    }
    for length in [1, 7, 8, 1501, 9000] {
        assert_eq!(world.hand(alice.address, &frame(channel, length.max(8))[..length]), [], "{length}");
        dropped += 1;
    }
    assert_eq!(world.server.counters().dropped_malformed, dropped);
}

#[test]
fn a_registration_that_moves_takes_its_channels_along() {
    let (mut world, mut alice, bob, channel) = introduced(Policy::default());
    let (old, new) = (alice.address, address("192.0.2.77:999"));
    let key = TagKey::new(&alice.secret);
    let challenge = world.hand(new, &keepalive::keepalive(&key, alice.slot, 1, false));
    assert_eq!(world.hand(new, &frame(channel, 100)), [], "not yet proven");
    let Some(FromRendezvous::Challenge { token }) = alice.read(&challenge[0].1) else { panic!("{challenge:?}") };
    world.hand(new, &keepalive::moved(&key, alice.slot, 2, token));
    alice.address = new;

    let frame = frame(channel, 100);
    assert_eq!(world.hand(new, &frame), [(bob.address, frame.clone())]);
    assert_eq!(world.hand(bob.address, &frame), [(new, frame.clone())]);
    assert_eq!(world.hand(old, &frame), []);
}

#[test]
fn bytes_beyond_the_sender_s_share_are_dropped_over_all_its_channels_until_time_has_passed() {
    let relay_bytes = Rate { burst: 12_000, per_second: 6_000 };
    let (mut world, mut alice, bob, with_bob) = introduced(Policy { relay_bytes, ..Policy::default() });
    let mut carol = world.sign_in(3, 600);
    let with_carol = world.relay_channel(&mut alice, &mut carol, 10);
    // With its headers, 48 bytes for IPv6 and UDP, each is 1,200 bytes.
    let sent =
        |world: &mut World, channel| (0..8).map(|_| world.hand(alice.address, &frame(channel, 1152)).len()).sum();
    let passed: [usize; 2] = [sent(&mut world, with_bob), sent(&mut world, with_carol)];
    assert_eq!(passed, [8, 2]);
    assert_eq!(world.server.counters().dropped_quota, 6);
    assert_eq!(world.hand(bob.address, &frame(with_bob, 1152)).len(), 1, "the other's share is its own");
    world.advance(Duration::from_secs(1));
    assert_eq!(sent(&mut world, with_carol), 5_usize);
}

#[test]
fn signing_in_anew_is_no_way_to_more_bytes() {
    let relay_bytes = Rate { burst: 1_200, per_second: 1 };
    let (mut world, alice, mut bob, channel) = introduced(Policy { relay_bytes, ..Policy::default() });
    assert_eq!(world.hand(alice.address, &frame(channel, 1152)).len(), 1);
    let mut again = world.try_sign_in(1, 600, 0xff).unwrap_or_else(|answer| panic!("{answer:?}"));
    let out = world.drain();
    bob.hear(&out);
    world.acknowledge(&mut [&mut bob]);
    let channel = world.relay_channel(&mut again, &mut bob, 10);
    assert_eq!(world.hand(again.address, &frame(channel, 1152)), []);
    assert_eq!(world.server.counters().dropped_quota, 1);
}

#[test]
fn a_channel_that_carries_nothing_for_two_minutes_closes_for_both() {
    let (mut world, mut alice, mut bob, channel) = introduced(Policy::default());
    world.advance(Duration::from_millis(119_900));
    assert_eq!(world.hand(bob.address, &frame(channel, 100)).len(), 1, "in use");
    world.advance(Duration::from_secs(120));
    assert_eq!(world.drain(), []);
    world.advance(Duration::from_secs(1));
    let out = world.drain();
    assert_eq!(alice.hear(&out), [ToPeer::RelayClosed { channel }]);
    assert_eq!(bob.hear(&out), [ToPeer::RelayClosed { channel }]);
    assert_eq!(world.hand(alice.address, &frame(channel, 100)), []);
    assert_eq!(world.server.counters().channels_idle, 1);
}

#[test]
fn forged_frames_do_not_keep_a_channel_open() {
    let (mut world, _, _, channel) = introduced(Policy::default());
    for _ in 0..121 {
        world.advance(Duration::from_secs(1));
        world.hand(address("203.0.113.1:4000"), &frame(channel, 100));
    }
    assert_eq!(world.server.counters().channels_idle, 1);
}

#[test]
fn a_registration_that_ends_closes_its_channels_and_the_others_are_told() {
    type End = fn(&mut World, &mut Peer) -> Vec<(std::net::SocketAddr, Vec<u8>)>;
    let ends: [(&str, End); 3] = [
        ("goodbye", |world, alice| world.say(alice, ToRendezvous::Goodbye)),
        ("a new sign-in", |world, _| {
            assert!(world.try_sign_in(1, 600, 0xff).is_ok());
            world.drain()
        }),
        ("expiry", |world, _| {
            world.advance(Duration::from_secs(11));
            world.drain()
        }),
    ];
    for (how, end) in ends {
        let mut world = World::new(Policy::default());
        let mut peers = [1, 2, 3].map(|n| world.sign_in(n, if n == 1 { 5 } else { 600 }));
        let [alice, bob, carol] = &mut peers;
        let channels = [world.relay_channel(alice, bob, 1), world.relay_channel(carol, alice, 2)];
        let others = world.relay_channel(bob, carol, 3);
        let out = end(&mut world, alice);
        assert_eq!(bob.hear(&out), [ToPeer::RelayClosed { channel: channels[0] }], "{how}");
        assert_eq!(carol.hear(&out), [ToPeer::RelayClosed { channel: channels[1] }], "{how}");
        world.acknowledge(&mut [bob, carol]);
        for channel in channels {
            for from in [alice.address, bob.address, carol.address] {
                assert_eq!(world.hand(from, &frame(channel, 100)), [], "{how}");
            }
        }
        assert_eq!(world.hand(bob.address, &frame(others, 100)).len(), 1, "{how}");
    }
}

#[test]
fn either_of_the_two_may_refuse_a_channel_at_any_time_and_nobody_else() {
    let (mut world, mut alice, mut bob, channel) = introduced(Policy::default());
    let mut carol = world.sign_in(3, 20);
    let out = world.say(&mut carol, ToRendezvous::Refuse { channel });
    carol.hear(&out);
    assert_eq!(world.hand(alice.address, &frame(channel, 100)).len(), 1);
    let out = world.say(&mut bob, ToRendezvous::Refuse { channel });
    assert_eq!(alice.hear(&out), [ToPeer::RelayClosed { channel }]);
    assert_eq!(world.hand(alice.address, &frame(channel, 100)), []);
}

#[test]
fn a_new_introduction_of_the_same_pair_goes_on_with_its_channel_whoever_invites() {
    let (mut world, mut alice, mut bob, channel) = introduced(Policy::default());
    let again = world.relay_channel(&mut alice, &mut bob, 10);
    let back = world.relay_channel(&mut bob, &mut alice, 11);
    assert_eq!((again, back), (channel, channel));
    assert_eq!(world.server.counters().channels_opened, 1);
    let [heard, _] = world.introduce(&mut alice, &mut bob, 12);
    assert_eq!(heard[0], ToPeer::Relay { introduction: introduction(12), with: bob.id, channel }, "told all the same");
}

#[test]
fn a_new_introduction_gives_an_idle_channel_its_full_time_again() {
    let (mut world, mut alice, mut bob, channel) = introduced(Policy::default());
    world.advance(Duration::from_secs(119));
    assert_eq!(world.relay_channel(&mut alice, &mut bob, 10), channel);
    world.advance(Duration::from_secs(119));
    assert_eq!(world.hand(alice.address, &frame(channel, 100)).len(), 1);
}

#[test]
fn after_a_channel_has_closed_a_new_introduction_opens_another() {
    let (mut world, mut alice, mut bob, channel) = introduced(Policy::default());
    world.advance(Duration::from_secs(121));
    let out = world.drain();
    alice.hear(&out);
    bob.hear(&out);
    world.acknowledge(&mut [&mut alice, &mut bob]);
    let next = world.relay_channel(&mut alice, &mut bob, 10);
    assert_ne!(next, channel);
    assert_eq!(world.hand(alice.address, &frame(next, 100)).len(), 1);
}

#[test]
fn an_acceptance_that_nobody_asked_for_opens_no_channel_and_one_that_is_repeated_no_second() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut mallory) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let to = alice.id;
    let accept =
        |n| ToRendezvous::Accept { introduction: introduction(n), to, candidates: Vec::new(), relay_only: false };
    let out = world.say(&mut mallory, accept(1));
    assert_eq!(mallory.hear(&out), []);
    assert!(matches!(alice.hear(&out)[..], [ToPeer::Accepted { .. }]));
    assert_eq!(world.server.counters().channels_opened, 0);
    world.acknowledge(&mut [&mut alice]);

    let invitation = mallory.invite(2);
    let out = world.say(&mut alice, invitation);
    mallory.hear(&out);
    world.say(&mut mallory, accept(2));
    world.say(&mut mallory, accept(2));
    assert_eq!(world.server.counters().channels_opened, 1);
}

#[test]
fn one_registration_has_so_many_channels_and_the_idlest_makes_way_for_another() {
    let mut world = World::new(Policy { relay_channels_each: 3, ..Policy::default() });
    let mut peers: Vec<_> = (1..=5).map(|n| world.sign_in(n, 600)).collect();
    let (alice, others) = peers.split_first_mut().unwrap();
    let mut channels = Vec::new();
    for (n, other) in (1..).zip(&mut others[..3]) {
        channels.push(world.relay_channel(alice, other, n));
        world.advance(Duration::from_secs(1));
    }
    world.hand(alice.address, &frame(channels[0], 100));
    let next = world.relay_channel(&mut others[3], alice, 4);
    for (peer, channel) in others.iter().zip([channels[0], channels[1], channels[2], next]) {
        let passed = world.hand(alice.address, &frame(channel, 100)).len();
        assert_eq!(passed, usize::from(channel != channels[1]), "to {:?}", peer.address);
    }
    assert_eq!(world.server.counters().channels_replaced, 1);
}

#[test]
fn in_a_full_table_the_channel_that_was_idle_longest_makes_way_for_the_next_and_its_two_are_told() {
    let mut world = World::new(Policy { relay_channels: 4, ..Policy::default() });
    let mut peers: Vec<_> = (1..=10).map(|n| world.sign_in(n, 600)).collect();
    let mut channels = Vec::new();
    for (pair, n) in peers[..8].chunks_mut(2).zip(1..) {
        let [one, other] = pair else { panic!() };
        channels.push(world.relay_channel(one, other, n));
        world.advance(Duration::from_secs(1));
    }
    let talking = peers[0].address;
    assert_eq!(world.hand(talking, &frame(channels[0], 100)).len(), 1);

    let [_, _, ref mut one, ref mut other, .., ref mut alice, ref mut bob] = peers[..] else { panic!() };
    let mut out = world.say(alice, bob.invite(5));
    bob.hear(&out);
    let accept =
        ToRendezvous::Accept { introduction: introduction(5), to: alice.id, candidates: Vec::new(), relay_only: false };
    out.extend(world.say(bob, accept));
    for idle in [one, other] {
        assert_eq!(idle.hear(&out), [ToPeer::RelayClosed { channel: channels[1] }]);
    }
    let heard = alice.hear(&out);
    let next = heard.iter().find_map(|said| match said {
        ToPeer::Relay { channel, .. } => Some(*channel),
        _ => None,
    });
    assert_eq!(world.hand(alice.address, &frame(next.unwrap_or_default(), 100)).len(), 1, "{heard:?}");
    for (channel, pair) in channels.iter().zip(peers.chunks(2)) {
        let passed = world.hand(pair[0].address, &frame(*channel, 100)).len();
        assert_eq!(passed, usize::from(*channel != channels[1]), "{channel}");
    }
    assert_eq!(world.server.counters().channels_replaced, 1);
}

#[test]
fn who_has_as_many_channels_as_one_may_takes_the_place_of_nobody_else_s() {
    let mut world = World::new(Policy { relay_channels: 3, relay_channels_each: 2, ..Policy::default() });
    let mut peers: Vec<_> = (1..=6).map(|n| world.sign_in(n, 600)).collect();
    let [ref mut one, ref mut other, ref mut alice, ref mut others @ ..] = peers[..] else { panic!() };
    let oldest = world.relay_channel(one, other, 1);
    for (other, n) in others.iter_mut().zip(2..) {
        world.advance(Duration::from_secs(1));
        world.relay_channel(alice, other, n);
        let out = world.drain();
        alice.hear(&out);
        world.acknowledge(&mut [alice]);
    }
    assert_eq!(world.hand(one.address, &frame(oldest, 100)).len(), 1);
    assert_eq!(world.server.counters().channels_replaced, 1);
}

#[test]
fn what_closes_makes_room() {
    let mut world = World::new(Policy { relay_channels: 2, ..Policy::default() });
    let mut peers = [1, 2, 3, 4].map(|n| world.sign_in(n, 600));
    let [a, b, c, d] = &mut peers;
    world.relay_channel(a, b, 1);
    world.relay_channel(b, c, 2);
    let out = world.say(a, ToRendezvous::Goodbye);
    b.hear(&out);
    world.acknowledge(&mut [b]);
    world.relay_channel(c, d, 4);
    assert_eq!(world.server.counters().channels_replaced, 0);
}

#[test]
fn garbage_never_gets_out_more_bytes_than_it_has_nor_to_anybody_else() {
    let (mut world, alice, bob, channel) = introduced(Policy::default());
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for _ in 0..20_000 {
        let mut datagram = frame(channel, 1 + usize::try_from(random() % 60).unwrap_or(0) + 8);
        for _ in 0..random() % 3 {
            let place = usize::try_from(random()).unwrap_or(0) % datagram.len();
            datagram[place] = random().to_be_bytes()[7];
        }
        let from = [alice.address, bob.address, address("203.0.113.1:9")][usize::try_from(random() % 3).unwrap_or(0)];
        let relayed = datagram[0] == relay_header(0)[0];
        for (to, out) in world.hand(from, &datagram) {
            assert!(out.len() <= datagram.len(), "{datagram:?}");
            assert!(!relayed || (to != from && [alice.address, bob.address].contains(&to)), "{datagram:?}");
        }
    }
}

#[test]
fn a_rendezvous_that_closes_opens_no_channel_and_waits_for_none() {
    let (mut world, mut alice, mut bob, channel) = introduced(Policy::default());
    world.server.closing();
    let out = world.drain();
    assert_eq!(alice.hear(&out), [ToPeer::Closing]);
    let acknowledgement = alice.channel.poll_transmit(world.now).unwrap();
    assert_eq!(world.hand(alice.address, &acknowledgement), [], "Bob hears nothing more");
    assert_eq!(world.hand(bob.address, &frame(channel, 100)), []);
    assert_eq!(bob.hear(&out), [ToPeer::Closing]);
    let acknowledgement = bob.channel.poll_transmit(world.now).unwrap();
    world.hand(bob.address, &acknowledgement);
    assert!(world.server.is_closed());
}

#[test]
fn looking_ahead_changes_nothing() {
    let (world, _, _, channel) = introduced(Policy::default());
    let before = world.server.counters();
    for datagram in [&frame(channel, 100)[..], &frame(channel ^ 1, 100), &frame(channel, 8), &[10]] {
        let _ = world.server.look_ahead(datagram);
    }
    let header = Header { kind: KEEPALIVE, flags: 0, port: 0, slot: 0, number: 1 };
    let _ = world.server.look_ahead(&header.to_bytes());
    assert_eq!(world.server.counters(), before);
}
