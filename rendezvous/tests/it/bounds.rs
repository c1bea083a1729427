//! Bounds that nobody gets around by leaving and coming back, refusing, or repeating: docs/protocol.md, "Limits".

use std::net::SocketAddr;
use std::time::Duration;

use crate::world::{LOCAL, Peer, World, address, introduction};
use knothole_proto::control::{PeerChannel, ToPeer, ToRendezvous};
use knothole_proto::datagram::{ECHO, Header, RETURNED, TICKET, UNKNOWN_SLOT, flight_header, relay_header};
use knothole_proto::identity::PeerId;
use knothole_proto::keepalive::{self, FromRendezvous, Wishes};
use knothole_proto::registration::echo;
use knothole_proto::registration::ticket::{Resumption, Return};
use knothole_proto::registration::{SignInAnswer, SignInRequest};
use knothole_proto::seal::{RegistrationSecret, TagKey};
use knothole_rendezvous::{Policy, Rate};

/// How many of nine datagrams of a first flight pass.
fn fly(world: &mut World, inviter: &Peer, n: u8) -> usize {
    let mut flight = flight_header(inviter.slot, introduction(n)).to_vec();
    flight.resize(16 + 1200, 0xc3);
    (0..9).map(|_| world.hand(inviter.address, &flight).len()).sum()
}

/// Invites; returns what the inviter heard.
fn invite(world: &mut World, inviter: &mut Peer, invitee: &mut Peer, n: u8) -> Vec<ToPeer> {
    let out = world.say(inviter, invitee.invite(n));
    invitee.hear(&out);
    let heard = inviter.hear(&out);
    world.acknowledge(&mut [inviter, invitee]);
    heard
}

#[test]
fn an_inviter_that_ends_its_offers_itself_gets_no_more_flights_through() {
    let mut world = World::new(Policy::default());
    let (mut mallory, mut bob) = (world.sign_in(1, 600), world.sign_in(2, 600));
    let mut passed = 0;
    for n in 1..=50 {
        let heard = invite(&mut world, &mut mallory, &mut bob, n);
        passed += fly(&mut world, &mallory, n);
        if let [ToPeer::Relay { channel, .. }] = heard[..] {
            let out = world.say(&mut mallory, ToRendezvous::Refuse { channel });
            mallory.hear(&out);
            world.acknowledge(&mut [&mut mallory]);
        }
    }
    assert_eq!(passed, 16 * 6);
    world.advance(Duration::from_secs(3));
    world.drain();
    invite(&mut world, &mut mallory, &mut bob, 60);
    assert_eq!(fly(&mut world, &mallory, 60), 6, "one more a second");
}

#[test]
fn offers_that_are_accepted_leave_room_for_others() {
    let mut world = World::new(Policy::default());
    let mut bob = world.sign_in(1, 600);
    for n in 2..=50 {
        let mut friend = world.sign_in(n, 600);
        let [heard, _] = world.introduce(&mut friend, &mut bob, n);
        assert!(matches!(heard[..], [ToPeer::Relay { .. }, ToPeer::Accepted { .. }]), "{n}: {heard:?}");
    }
}

#[test]
fn leaving_and_coming_back_is_no_way_to_more_invitations_nor_bytes() {
    let invitations = Rate { burst: 2, per_second: 1 };
    let relay_bytes = Rate { burst: 1_200, per_second: 1 };
    let mut world = World::new(Policy { invitations, relay_bytes, ..Policy::default() });
    let (mut alice, mut bob) = (world.sign_in(1, 600), world.sign_in(2, 600));
    let channel = world.relay_channel(&mut alice, &mut bob, 1);
    let mut frame = relay_header(channel).to_vec();
    frame.resize(1_152, 0x41);
    assert_eq!(world.hand(alice.address, &frame).len(), 1);
    invite(&mut world, &mut alice, &mut bob, 2);
    let out = world.say(&mut alice, ToRendezvous::Goodbye);
    bob.hear(&out);
    world.acknowledge(&mut [&mut bob]);

    let mut alice = world.try_sign_in(1, 600, 0xff).unwrap_or_else(|answer| panic!("{answer:?}"));
    assert_eq!(invite(&mut world, &mut alice, &mut bob, 3), [ToPeer::Refused { introduction: introduction(3) }]);
    world.advance(Duration::from_secs(1));
    let channel = world.relay_channel(&mut alice, &mut bob, 4);
    frame[..8].copy_from_slice(&relay_header(channel));
    assert_eq!(world.hand(alice.address, &frame), []);
}

#[test]
fn a_ticket_shown_right_after_expiry_ends_what_hung_on_the_old_registration() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 5), world.sign_in(2, 600));
    let secret = RegistrationSecret([9; 32]);
    let request = SignInRequest { interval_s: 5, unseen: false };
    let answer = world.server.sign_in(world.now, LOCAL, alice.id, alice.address, &request, &secret);
    let SignInAnswer::Registered { slot, ticket, .. } = answer else { panic!("{answer:?}") };
    alice.secret = secret.clone();
    alice.slot = slot;
    alice.channel = PeerChannel::of_peer(&secret, slot);
    let channel = world.relay_channel(&mut alice, &mut bob, 1);
    // Nobody has looked at the timers yet.
    world.now += Duration::from_secs(10);
    let error = world.keepalive(&mut alice, true);
    let Some(FromRendezvous::UnknownSlot { token: Some(token), .. }) = alice.read(&error[0].1) else {
        panic!("{error:?}")
    };
    let shown = Return { nonce: 1, interval_s: 5, unseen: false, token, ticket: &ticket };
    let out = world.hand(alice.address, &shown.to_bytes(&Resumption::of(&secret).tag_key(), slot));
    assert!(out.iter().any(|(to, answer)| *to == alice.address && answer[0] == RETURNED));
    assert_eq!(bob.hear(&out), [ToPeer::RelayClosed { channel }]);
}

#[test]
fn a_lifetime_that_becomes_shorter_ends_the_registration_within_a_minute_more() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 600), world.sign_in(2, 600));
    let channel = world.relay_channel(&mut alice, &mut bob, 1);
    let wishes = Wishes { interval_s: 5, ..Wishes::default() };
    world.hand(alice.address, &keepalive::wishing(&TagKey::new(&alice.secret), alice.slot, 1, wishes));
    for _ in 0..70 {
        world.advance(Duration::from_secs(1));
    }
    let out = world.drain();
    assert_eq!(bob.hear(&out), [ToPeer::RelayClosed { channel }]);
    assert_eq!(world.server.registrations(), 1);
}

#[test]
fn a_peer_that_wants_ticket_after_ticket_gets_few() {
    let mut world = World::new(Policy::default());
    let alice = world.sign_in(1, 600);
    let mut longer = 0;
    for counter in 1..=1_000 {
        let wishes = Wishes { asks: true, renews: true, interval_s: 0 };
        let datagram = keepalive::wishing(&TagKey::new(&alice.secret), alice.slot, counter, wishes);
        let out = world.hand(alice.address, &datagram);
        assert_eq!(out.len(), 1, "its question is answered all the same");
        longer += usize::from(out[0].1[0] == TICKET);
    }
    assert_eq!(longer, 8);
}

#[test]
fn an_offer_that_the_invitee_could_not_be_told_of_is_none() {
    let mut world = World::new(Policy::default());
    let bob = world.sign_in(1, 600);
    // Bob acknowledges nothing, until no more is held for him.
    let mut talker = world.sign_in(3, 600);
    for n in 2..=33 {
        let accept = ToRendezvous::Accept {
            introduction: introduction(n),
            to: bob.id,
            candidates: Vec::new(),
            relay_only: false,
        };
        let out = world.say(&mut talker, accept);
        talker.hear(&out);
    }
    let mut mallory = world.sign_in(99, 600);
    let out = world.say(&mut mallory, bob.invite(99));
    assert_eq!(mallory.hear(&out), [ToPeer::Refused { introduction: introduction(99) }]);
    assert_eq!(fly(&mut world, &mallory, 99), 0);
}

#[test]
fn an_echo_ends_with_the_registration_that_asked_for_it() {
    let mut world = World::new(Policy::default());
    let alice = world.sign_in(1, 20);
    let request = echo::request(&TagKey::new(&alice.secret), alice.slot, 1, 30);
    let spare = address("198.51.100.1:5000");
    assert_eq!(world.hand(spare, &request).len(), 1);
    assert!(world.try_sign_in(1, 20, 0xff).is_ok());
    world.advance(Duration::from_secs(31));
    let echoes: Vec<_> = world.drain().into_iter().filter(|(_, datagram)| datagram[0] == ECHO).collect();
    assert_eq!(echoes, []);
}

#[test]
fn a_recorded_control_datagram_throws_no_more_challenges_at_a_network_than_its_share() {
    let unauthenticated = Rate { burst: 3, per_second: 1 };
    let mut world = World::new(Policy { unauthenticated, ..Policy::default() });
    let (mut alice, bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    alice.channel.send(bob.invite(1), world.now).unwrap_or_else(|full| panic!("{full}"));
    let recorded = alice.channel.poll_transmit(world.now).unwrap_or_default();
    world.hand(alice.address, &recorded);
    let victim = address("203.0.113.1:9");
    let thrown: Vec<_> = (0..20).flat_map(|_| world.hand(victim, &recorded)).filter(|(to, _)| *to == victim).collect();
    assert_eq!(thrown.len(), 3);
}

#[test]
fn a_control_datagram_that_comes_very_late_does_not_cost_its_peer_the_registration() {
    let mut world = World::new(Policy::default());
    let (mut alice, bob) = (world.sign_in(1, 600), world.sign_in(2, 600));
    alice.channel.send(bob.invite(1), world.now).unwrap_or_else(|full| panic!("{full}"));
    let late = alice.channel.poll_transmit(world.now).unwrap_or_default();
    for sequence in 2..2_000 {
        let overtaking = PeerSeal::new(&alice);
        let out = world.hand(alice.address, &overtaking.nothing(sequence));
        assert_eq!(out, []);
    }
    let out = world.hand(alice.address, &late);
    assert!(out.iter().all(|(_, answer)| answer[0] != UNKNOWN_SLOT), "{out:?}");
}

/// Makes acknowledgements of nothing under any sequence number.
struct PeerSeal(knothole_proto::seal::SealKey, u32);

impl PeerSeal {
    fn new(peer: &Peer) -> Self {
        let key = knothole_proto::seal::SealKey::new(&peer.secret, knothole_proto::seal::Direction::ToRendezvous);
        Self(key, peer.slot)
    }

    fn nothing(&self, sequence: u64) -> Vec<u8> {
        let kind = knothole_proto::datagram::CONTROL;
        let header = Header { kind, flags: 0, port: 0, slot: self.1, number: sequence };
        self.0.seal(header.to_bytes(), sequence, &[0, 0])
    }
}

#[test]
fn one_machine_with_many_keys_opens_eight_codes_and_another_is_served() {
    let mut world = World::new(Policy::default());
    let mut opens = |n: u8, ip: [u8; 4]| {
        let (id, secret) = (PeerId::new([n; 32]), RegistrationSecret([n; 32]));
        let address = SocketAddr::from((ip, 4000 + u16::from(n)));
        let request = SignInRequest { interval_s: 20, unseen: false };
        let answer = world.server.sign_in(world.now, LOCAL, id, address, &request, &secret);
        let SignInAnswer::Registered { slot, .. } = answer else { panic!("{answer:?}") };
        let channel = PeerChannel::of_peer(&secret, slot);
        let mut peer = Peer { id, address, secret, slot, counter: 0, channel };
        let out = world.say(&mut peer, ToRendezvous::OpenCode);
        matches!(peer.hear(&out)[..], [ToPeer::CodeOpened { number: Some(_) }])
    };
    assert_eq!((1..100).filter(|n| opens(*n, [192, 0, 2, 1])).count(), 8);
    assert!(opens(200, [192, 0, 2, 2]));
}
