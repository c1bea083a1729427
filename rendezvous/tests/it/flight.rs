//! What may follow an invitation before it is accepted, and what may not: docs/protocol.md, "Relay".

use std::time::Duration;

use crate::world::{Peer, World, address, introduction};
use knothole_proto::candidate::IntroductionId;
use knothole_proto::control::{ToPeer, ToRendezvous};
use knothole_proto::datagram::{flight_header, relay_header};
use knothole_rendezvous::Policy;

/// A flight datagram of the length of QUIC's first ones.
fn flight(slot: u32, introduction: IntroductionId) -> Vec<u8> {
    let mut datagram = flight_header(slot, introduction).to_vec();
    datagram.resize(16 + 1200, 0xc3);
    datagram
}

/// What the other side gets of it.
fn frame(channel: u32) -> Vec<u8> {
    let mut frame = relay_header(channel).to_vec();
    frame.resize(8 + 1200, 0xc3);
    frame
}

/// Alice has invited Bob, and he has not answered.
fn invited(n: u8) -> (World, Peer, Peer, u32) {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 600), world.sign_in(2, 600));
    let channel = invite(&mut world, &mut alice, &mut bob, n);
    assert!(channel.is_some());
    (world, alice, bob, channel.unwrap_or_default())
}

/// One invites another, and both hear of the same channel, or of none.
fn invite(world: &mut World, inviter: &mut Peer, invitee: &mut Peer, n: u8) -> Option<u32> {
    let out = world.say(inviter, invitee.invite(n));
    let told = inviter.hear(&out).into_iter().find_map(|said| match said {
        ToPeer::Relay { channel, .. } => Some(channel),
        _ => None,
    });
    let heard = invitee.hear(&out);
    world.acknowledge(&mut [inviter, invitee]);
    assert!(matches!(heard[..], [ToPeer::Invited { channel, .. }] if channel == told), "{heard:?} {told:?}");
    told
}

fn accept(world: &mut World, inviter: &mut Peer, invitee: &mut Peer, n: u8) -> Vec<ToPeer> {
    let accept = ToRendezvous::Accept {
        introduction: introduction(n),
        to: inviter.id,
        candidates: Vec::new(),
        relay_only: false,
    };
    let out = world.say(invitee, accept);
    invitee.hear(&out);
    let heard = inviter.hear(&out);
    world.acknowledge(&mut [inviter, invitee]);
    heard
}

#[test]
fn a_first_flight_follows_the_invitation_and_does_not_overtake_it() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    alice.channel.send(bob.invite(9), world.now).unwrap();
    let invitation = alice.channel.poll_transmit(world.now).unwrap();
    let datagrams = [invitation, flight(alice.slot, introduction(9)), flight(alice.slot, introduction(9))];
    for datagram in &datagrams {
        world.server.handle_datagram(world.now, alice.address, crate::world::LOCAL, datagram);
    }
    let out: Vec<_> = world.drain().into_iter().filter(|(to, _)| *to == bob.address).collect();
    let heard = bob.hear(&out[..1]);
    let [ToPeer::Invited { channel: Some(channel), .. }] = heard[..] else { panic!("{heard:?}") };
    assert_eq!(out[1..], [(bob.address, frame(channel)), (bob.address, frame(channel))]);
}

#[test]
fn what_is_only_offered_carries_a_first_flight_and_no_more_however_often_the_inviter_invites() {
    let (mut world, mut alice, mut bob, channel) = invited(1);
    let mut passed = 0;
    for n in 2..20 {
        passed += world.hand(alice.address, &flight(alice.slot, introduction(n - 1))).len();
        passed += world.hand(alice.address, &frame(channel)).len();
        assert_eq!(invite(&mut world, &mut alice, &mut bob, n), Some(channel), "nothing is allocated anew");
    }
    assert_eq!(passed, 6, "7,500 bytes");
    assert_eq!(world.server.counters().channels_offered, 1);
    assert_eq!(world.server.counters().dropped_offered, 30);
    let mut small = 0;
    let (mut world, alice, _, channel) = invited(1);
    for _ in 0..20 {
        small += world.hand(alice.address, &frame(channel)[..100]).len();
    }
    assert_eq!(small, 6, "nor more datagrams");
}

#[test]
fn an_offer_that_is_not_accepted_ends_after_ten_seconds_and_the_inviter_is_told() {
    let (mut world, mut alice, mut bob, channel) = invited(1);
    world.advance(Duration::from_secs(10));
    assert_eq!(world.drain(), []);
    world.advance(Duration::from_secs(1));
    let out = world.drain();
    assert_eq!(alice.hear(&out), [ToPeer::RelayClosed { channel }]);
    assert_eq!(bob.hear(&out), [], "he may not even know whose it was");
    for datagram in [frame(channel), flight(alice.slot, introduction(1))] {
        assert_eq!(world.hand(alice.address, &datagram), []);
    }
    assert_eq!(world.server.counters().channels_declined, 1);
    let next = invite(&mut world, &mut alice, &mut bob, 2).unwrap();
    assert_ne!(next, channel);
    assert_eq!(world.hand(alice.address, &flight(alice.slot, introduction(2))).len(), 1, "a new offer, a new flight");
}

#[test]
fn inviting_again_does_not_prolong_an_offer() {
    let (mut world, mut alice, mut bob, _) = invited(1);
    for n in 2..=11 {
        world.advance(Duration::from_secs(1));
        invite(&mut world, &mut alice, &mut bob, n);
    }
    world.advance(Duration::from_secs(1));
    assert_eq!(world.server.counters().channels_declined, 1);
}

#[test]
fn an_acceptance_of_the_invitee_s_or_its_own_invitation_accepts() {
    type Acceptance = fn(&mut World, &mut Peer, &mut Peer, u32);
    let ways: [(&str, Acceptance); 2] = [
        ("acceptance", |world, alice, bob, _| {
            let heard = accept(world, alice, bob, 1);
            assert!(matches!(heard[..], [ToPeer::Accepted { .. }]), "the channel is known: {heard:?}");
        }),
        ("invitation", |world, alice, bob, channel| assert_eq!(invite(world, bob, alice, 2), Some(channel))),
    ];
    for (how, way) in ways {
        let (mut world, mut alice, mut bob, channel) = invited(1);
        way(&mut world, &mut alice, &mut bob, channel);
        for _ in 0..20 {
            assert_eq!(world.hand(alice.address, &frame(channel)).len(), 1, "{how}");
        }
        assert_eq!(world.hand(alice.address, &flight(alice.slot, introduction(1))).len(), 1, "{how}: a late flight");
        world.advance(Duration::from_secs(100));
        assert_eq!(world.hand(bob.address, &frame(channel)).len(), 1, "{how}");
        assert_eq!(world.server.counters().channels_opened, 1, "{how}");
    }
}

#[test]
fn frames_from_the_invitee_s_address_accept_nothing_and_carry_an_answer_to_the_flight_and_no_more() {
    // Who invites may know the address that frames are believed from, and forge it.
    let forty = |world: &mut World, from, frame: &[u8]| (0..40).map(|_| world.hand(from, frame).len()).sum::<usize>();
    for (length, answered, invited_by) in [(1208, 12, 6), (100, 12, 6), (1500, 10, 5)] {
        let (mut world, mut alice, mut bob, channel) = invited(1);
        let mut frame = frame(channel);
        frame.resize(length, 0xc3);
        assert_eq!(world.hand(bob.address, &frame), [(alice.address, frame.clone())], "at once");
        assert_eq!(forty(&mut world, bob.address, &frame), answered - 1, "{length}");
        assert_eq!(forty(&mut world, alice.address, &frame), invited_by, "{length}: what the inviter may is its own");
        assert_eq!(invite(&mut world, &mut alice, &mut bob, 2), Some(channel));
        assert_eq!(forty(&mut world, bob.address, &frame), 0, "{length}: inviting again brings no more");
        assert_eq!(world.server.counters().channels_opened, 0);
        let heard = accept(&mut world, &mut alice, &mut bob, 2);
        assert!(matches!(heard[..], [ToPeer::Accepted { .. }]), "{heard:?}");
        assert_eq!(forty(&mut world, alice.address, &frame), 40, "{length}: accepted");
    }
}

#[test]
fn frames_from_the_invitee_s_address_prolong_no_offer() {
    let (mut world, _, bob, channel) = invited(1);
    for _ in 0..11 {
        world.advance(Duration::from_secs(1));
        world.hand(bob.address, &frame(channel));
    }
    assert_eq!(world.server.counters().channels_declined, 1);
}

#[test]
fn an_acceptance_that_comes_too_late_for_the_offer_opens_another_channel() {
    let (mut world, mut alice, mut bob, channel) = invited(1);
    world.advance(Duration::from_secs(11));
    let out = world.drain();
    alice.hear(&out);
    let heard = accept(&mut world, &mut alice, &mut bob, 1);
    let [ToPeer::Accepted { .. }, ToPeer::Relay { channel: other, .. }] = heard[..] else { panic!("{heard:?}") };
    assert_ne!(other, channel);
}

#[test]
fn a_flight_without_an_invitation_or_to_somebody_who_is_not_here_goes_nowhere() {
    let mut world = World::new(Policy::default());
    let (mut alice, bob) = (world.sign_in(1, 20), world.sign_in(2, 5));
    assert_eq!(world.hand(alice.address, &flight(alice.slot, introduction(1))), []);
    world.advance(Duration::from_secs(10));
    let out = world.say(&mut alice, bob.invite(1));
    assert_eq!(alice.hear(&out), [ToPeer::Absent { introduction: introduction(1) }]);
    assert_eq!(world.hand(alice.address, &flight(alice.slot, introduction(1))), []);
    assert_eq!(world.server.counters().dropped_foreign, 2);
}

#[test]
fn a_flight_is_believed_from_the_inviter_s_proven_address_alone() {
    let (mut world, alice, bob, _) = invited(1);
    let carol = world.sign_in(3, 20);
    let moved = (alice.address.ip(), alice.address.port() + 1).into();
    for from in [carol.address, bob.address, moved, address("203.0.113.1:9")] {
        for slot in [alice.slot, bob.slot, carol.slot, 77] {
            assert_eq!(world.hand(from, &flight(slot, introduction(1))), [], "{from} {slot}");
        }
    }
    assert_eq!(world.hand(alice.address, &flight(alice.slot, introduction(2))), [], "another name");
    assert_eq!(world.server.counters().dropped_foreign, 17);
}

#[test]
fn what_is_not_quic_or_too_long_or_too_short_is_dropped() {
    let (mut world, alice, ..) = invited(1);
    let whole = flight(alice.slot, introduction(1));
    let mut foreign = whole.clone();
    foreign[16] = 10;
    let long = [&whole[..], &[0; 400]].concat();
    for datagram in [&whole[..16], &whole[..15], &whole[..1], &foreign, &long] {
        assert_eq!(world.hand(alice.address, datagram), []);
    }
    assert_eq!(world.server.counters().dropped_malformed, 5);
}

#[test]
fn strangers_together_get_no_more_through_to_one_peer_than_sixteen_flights_in_ten_seconds() {
    let mut world = World::new(Policy { relay_channels_each: 4, ..Policy::default() });
    let mut bob = world.sign_in(2, 600);
    let mut passed = 0;
    for n in 10..60 {
        let mut stranger = world.sign_in(n, 600);
        invite(&mut world, &mut stranger, &mut bob, n);
        passed +=
            (0..9).map(|_| world.hand(stranger.address, &flight(stranger.slot, introduction(n))).len()).sum::<usize>();
    }
    assert_eq!(passed, 16 * 6);
    // The invitations are told all the same, and those offers are not his: he has room for channels of his own.
    for n in 60..64 {
        let mut friend = world.sign_in(n, 600);
        world.relay_channel(&mut bob, &mut friend, n);
    }
    assert_eq!(world.server.counters().channels_replaced, 0);
}

#[test]
fn offers_count_against_the_inviter_and_leave_room_in_the_table_for_acceptances() {
    let mut world = World::new(Policy { relay_channels_each: 3, relay_channels: 12, ..Policy::default() });
    let mut alice = world.sign_in(1, 600);
    let mut others: Vec<_> = (10..20).map(|n| world.sign_in(n, 600)).collect();
    for (n, other) in (10..).zip(&mut others) {
        assert!(invite(&mut world, &mut alice, other, n).is_some());
        let out = world.drain();
        alice.hear(&out);
        world.acknowledge(&mut [&mut alice]);
    }
    assert_eq!(world.server.counters().channels_replaced, 7, "she has three of ten");
    let mut pairs: Vec<_> = (30..46).map(|n| world.sign_in(n, 600)).collect();
    for pair in pairs.chunks_mut(2) {
        let [one, other] = pair else { panic!() };
        assert!(invite(&mut world, one, other, 1).is_some(), "the oldest makes way");
    }
    assert_eq!(world.server.counters().channels_replaced, 7 + 2, "of twelve, a quarter is kept");
}

#[test]
fn an_offer_takes_the_place_of_no_channel_that_was_in_use_of_late() {
    let mut world = World::new(Policy { relay_channels: 4, ..Policy::default() });
    let mut peers: Vec<_> = (1..=8).map(|n| world.sign_in(n, 600)).collect();
    let pairs = peers[..6].chunks_mut(2).zip(1..);
    let channels = pairs.map(|(pair, n)| {
        let [one, other] = pair else { panic!() };
        world.relay_channel(one, other, n)
    });
    let channels: Vec<_> = channels.collect();
    let [ref one, .., ref mut alice, ref mut bob] = peers[..] else { panic!() };
    world.advance(Duration::from_secs(10));
    assert_eq!(invite(&mut world, alice, bob, 4), None, "it is opened when he accepts");
    let in_use = [channels[0], channels[2]].map(|channel| (channel, frame(channel)));
    world.hand(one.address, &in_use[0].1);
    let five = peers[4].address;
    world.hand(five, &in_use[1].1);
    world.advance(Duration::from_secs(21));
    let [.., ref mut alice, ref mut bob] = peers[..] else { panic!() };
    assert!(invite(&mut world, alice, bob, 5).is_some());
    assert_eq!(world.hand(peers[2].address, &frame(channels[1])), [], "idle for 31 s");
    assert_eq!(world.hand(peers[0].address, &in_use[0].1).len(), 1);
    assert_eq!(world.hand(five, &in_use[1].1).len(), 1);
}

#[test]
fn a_peer_that_leaves_takes_its_offers_along() {
    let (mut world, mut alice, mut bob, channel) = invited(1);
    let out = world.say(&mut alice, ToRendezvous::Goodbye);
    assert_eq!(bob.hear(&out), [], "he was only offered it");
    assert_eq!(world.hand(bob.address, &frame(channel)), []);

    let (mut world, mut alice, mut bob, channel) = invited(1);
    let out = world.say(&mut bob, ToRendezvous::Goodbye);
    assert_eq!(alice.hear(&out), [ToPeer::RelayClosed { channel }]);
}

#[test]
fn a_flood_on_an_offered_channel_gets_out_no_more_bytes_than_it_has_nor_to_anybody_else() {
    let (mut world, alice, bob, channel) = invited(1);
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % below
    };
    let kinds = [flight(alice.slot, introduction(1)), frame(channel)];
    let mut through = 0;
    for _ in 0..20_000 {
        let mut datagram = kinds[random(2)][..17 + random(200)].to_vec();
        for _ in 0..random(3) {
            let place = random(datagram.len());
            datagram[place] = random(256).to_le_bytes()[0];
        }
        for (to, out) in world.hand(alice.address, &datagram) {
            assert!(out.len() <= datagram.len() && [alice.address, bob.address].contains(&to), "{datagram:?}");
            through += usize::from(to == bob.address);
        }
    }
    assert_eq!(through, 6);
}
