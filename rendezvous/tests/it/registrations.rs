//! How peers stay known: docs/protocol.md, "Keepalive" and "Sign-in".

use std::time::Duration;

use crate::world::{LOCAL, Peer, World, address, introduction};
use knothole_proto::control::ToPeer;
use knothole_proto::datagram::{ECHO, Header, UNKNOWN_SLOT};
use knothole_proto::keepalive::{self, FromRendezvous};
use knothole_proto::registration::{SignInAnswer, echo};
use knothole_proto::seal::TagKey;
use knothole_proto::stun::discovery;
use knothole_rendezvous::{FourSockets, LocalSocket, Policy, Rate};

#[test]
fn a_keepalive_is_answered_only_when_it_asks() {
    let mut world = World::new(Policy::default());
    let mut alice = world.sign_in(1, 20);
    assert_eq!(world.keepalive(&mut alice, false), []);
    let answers = world.keepalive(&mut alice, true);
    let [(to, answer)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(*to, alice.address);
    assert_eq!(alice.read(answer), Some(FromRendezvous::Observed { counter: 2, address: alice.address }));
    assert_eq!(world.server.counters().keepalives, 2);
}

#[test]
fn a_registration_ends_exactly_its_lifetime_after_the_last_keepalive() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 600), world.sign_in(2, 20));
    world.advance(Duration::from_millis(15_500));
    world.keepalive(&mut bob, false);
    let mut outcome_at = |ms| {
        world.now += Duration::from_millis(ms);
        let out = world.say(&mut alice, bob.invite(1));
        alice.hear(&out)
    };
    assert!(matches!(outcome_at(39_999)[..], [ToPeer::Relay { .. }]), "it goes to bob");
    assert_eq!(outcome_at(1), [ToPeer::Absent { introduction: introduction(1) }]);
    assert_eq!(world.server.registrations(), 2, "its slot is not free yet");
    let due = world.server.poll_timeout().unwrap();
    assert!(due <= world.now + Duration::from_secs(1));
    world.advance(Duration::from_secs(1));
    assert_eq!(world.server.registrations(), 1);
    assert_eq!(world.server.counters().expired, 1);
}

#[test]
fn keepalives_keep_a_registration_for_days() {
    let mut world = World::new(Policy::default());
    let mut alice = world.sign_in(1, 20);
    for _ in 0..3 * 24 * 180 {
        world.advance(Duration::from_secs(20));
        world.keepalive(&mut alice, false);
    }
    assert_eq!(world.server.registrations(), 1);
    assert_eq!(world.keepalive(&mut alice, true).len(), 1);
}

#[test]
fn a_new_sign_in_replaces_the_registration_and_the_old_keys_open_nothing() {
    let mut world = World::new(Policy::default());
    let mut old = world.sign_in(1, 20);
    let mut new = world.try_sign_in(1, 20, 0xff).unwrap_or_else(|answer| panic!("{answer:?}"));
    assert_eq!(world.server.registrations(), 1);
    let answers = world.keepalive(&mut old, true);
    assert_eq!(Header::parse(&answers[0].1).unwrap().kind, UNKNOWN_SLOT);
    let answers = world.keepalive(&mut new, true);
    assert!(matches!(new.read(&answers[0].1), Some(FromRendezvous::Observed { .. })));
}

#[test]
fn a_full_rendezvous_refuses_newcomers_but_not_those_it_knows() {
    let mut world = World::new(Policy { registrations: 2, ..Policy::default() });
    world.sign_in(1, 20);
    world.sign_in(2, 20);
    assert!(matches!(world.try_sign_in(3, 20, 0), Err(SignInAnswer::Refused { .. })));
    assert!(world.try_sign_in(2, 20, 1).is_ok());
    world.advance(Duration::from_secs(41));
    assert!(world.try_sign_in(3, 20, 0).is_ok());
}

#[test]
fn an_interval_out_of_bounds_counts_as_the_nearest_one() {
    let mut world = World::new(Policy::default());
    world.sign_in(1, 0);
    world.sign_in(2, u16::MAX);
    world.advance(Duration::from_secs(3));
    assert_eq!(world.server.registrations(), 1);
    world.advance(Duration::from_secs(1_198));
    assert_eq!(world.server.registrations(), 0);
}

#[test]
fn an_unknown_slot_and_a_wrong_tag_are_told_in_no_more_bytes_than_came() {
    let mut world = World::new(Policy::default());
    let mut alice = world.sign_in(1, 20);
    let stranger = TagKey::from_bytes([9; 16]);
    for slot in [alice.slot, 12_345, u32::MAX] {
        let datagram = keepalive::keepalive(&stranger, slot, 1, true);
        let answers = world.hand(address("203.0.113.9:9"), &datagram);
        let [(to, error)] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(*to, address("203.0.113.9:9"));
        assert!(error.len() <= datagram.len());
        let echo = keepalive::echo(&datagram).unwrap();
        let Some(FromRendezvous::UnknownSlot { echo: told, token: Some(_) }) = alice.read(error) else {
            panic!("{error:?}")
        };
        assert_eq!(told, echo);
    }
    assert_eq!(world.keepalive(&mut alice, true).len(), 1, "alice has not noticed");
}

#[test]
fn a_moved_peer_is_believed_after_it_has_answered_at_its_new_address() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let (old, new) = (alice.address, address("203.0.113.77:7"));
    alice.address = new;
    let answers = world.keepalive(&mut alice, true);
    assert_eq!(answers[0].0, new);
    let Some(FromRendezvous::Challenge { token }) = alice.read(&answers[0].1) else { panic!("{answers:?}") };

    let out = world.say(&mut bob, alice.invite(1));
    assert!(out.iter().all(|(to, _)| *to != new), "nothing goes to an address that proved nothing");
    assert!(out.iter().any(|(to, _)| *to == old));

    alice.counter += 1;
    let moved = keepalive::moved(&TagKey::new(&alice.secret), alice.slot, alice.counter, token);
    let answers = world.hand(new, &moved);
    assert!(matches!(alice.read(&answers[0].1), Some(FromRendezvous::Observed { address, .. }) if address == new));
    assert_eq!(alice.hear(&answers).len(), 1, "what was on its way follows at once");
    assert_eq!(world.server.counters().moved, 1);
}

#[test]
fn what_is_said_to_a_peer_goes_by_the_way_it_came_last() {
    let mut world = World::new(Policy::default());
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let (new, way) = (address("203.0.113.77:7"), LocalSocket(3));
    let hand = |world: &mut World, alice: &mut Peer, token: Option<u64>| {
        alice.counter += 1;
        let key = TagKey::new(&alice.secret);
        let datagram = match token {
            None => keepalive::keepalive(&key, alice.slot, alice.counter, true),
            Some(token) => keepalive::moved(&key, alice.slot, alice.counter, token),
        };
        world.server.handle_datagram(world.now, new, way, &datagram);
        world.server.poll_transmit(world.now).unwrap()
    };
    let (local, challenge) = hand(&mut world, &mut alice, None);
    assert_eq!(local, way);
    let Some(FromRendezvous::Challenge { token }) = alice.read(&challenge.payload) else { panic!("{challenge:?}") };
    hand(&mut world, &mut alice, Some(token));
    bob.channel.send(alice.invite(1), world.now).unwrap();
    let invite = bob.channel.poll_transmit(world.now).unwrap();
    world.server.handle_datagram(world.now, bob.address, LOCAL, &invite);
    let ways: Vec<_> = std::iter::from_fn(|| world.server.poll_transmit(world.now)).collect();
    let to_alice = ways.iter().find(|(_, transmit)| transmit.to == new).unwrap();
    let to_bob = ways.iter().find(|(_, transmit)| transmit.to == bob.address).unwrap();
    assert_eq!((to_alice.0, to_bob.0), (way, LOCAL));
}

#[test]
fn a_network_that_proved_nothing_gets_its_share_of_answers_and_no_more() {
    let unauthenticated = Rate { burst: 10, per_second: 2 };
    let mut world = World::new(Policy { unauthenticated, ..Policy::default() });
    let mut alice = world.sign_in(1, 20);
    let request = discovery::binding_request(knothole_proto::stun::TransactionId([1; 12]));
    let unknown = keepalive::keepalive(&TagKey::from_bytes([9; 16]), 999, 1, true);
    let mut answered = 0;
    for port in 1..100 {
        answered += world.hand(([198, 51, 100, 1], port).into(), &request).len();
        answered += world.hand(([198, 51, 100, 1], port).into(), &unknown).len();
    }
    assert_eq!(answered, 10);
    assert_eq!(world.server.counters().dropped_unadmitted, 188);
    assert_eq!(world.keepalive(&mut alice, true).len(), 1, "who has proved itself is not limited");
}

#[test]
fn a_stun_client_learns_its_address_and_with_four_sockets_is_answered_from_the_one_it_asks_for() {
    let mut world = World::new(Policy::default());
    let client = address("203.0.113.9:9");
    let id = knothole_proto::stun::TransactionId([1; 12]);
    let answers = world.hand(client, &discovery::binding_request(id));
    assert_eq!(answers[0].1.len(), 32);
    assert_eq!(discovery::parse_response(&answers[0].1).unwrap().mapped, client);

    let four = FourSockets([
        (LocalSocket(0), address("192.0.2.1:3478")),
        (LocalSocket(1), address("192.0.2.1:3479")),
        (LocalSocket(2), address("192.0.2.2:3478")),
        (LocalSocket(3), address("192.0.2.2:3479")),
    ]);
    let mut world = World::new(Policy { discovery: Some(four), ..Policy::default() });
    for (ip, port, expected) in [(false, false, 1), (false, true, 0), (true, false, 3), (true, true, 2)] {
        let request = discovery::change_request(id, ip, port);
        world.server.handle_datagram(world.now, client, LocalSocket(1), &request);
        let (local, _) = world.server.poll_transmit(world.now).unwrap();
        assert_eq!(local, LocalSocket(expected));
    }
}

#[test]
fn an_echo_comes_at_once_and_after_the_delay_to_where_it_was_asked_for() {
    let mut world = World::new(Policy::default());
    let mut alice = world.sign_in(1, 600);
    let (spare, key) = (address("198.51.100.1:7777"), TagKey::new(&alice.secret));
    let request = echo::request(&key, alice.slot, 1, 60);
    let answers = world.hand(spare, &request);
    let [(to, answer)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((*to, answer[0], answer.len()), (spare, ECHO, 32));
    assert_eq!(world.hand(spare, &request), [], "a repetition is no other request");
    world.advance(Duration::from_millis(59_999));
    assert_eq!(world.drain(), []);
    assert!(world.server.poll_timeout().unwrap() <= world.now + Duration::from_millis(1));
    world.advance(Duration::from_millis(1));
    let echoes = world.drain();
    assert_eq!(echoes, [(spare, echo::answer(&key, alice.slot, 1, true))]);
    alice.counter = 1;
    assert_eq!(world.keepalive(&mut alice, true).len(), 1, "the registration has not moved");
}

#[test]
fn nobody_makes_an_echo_for_another_nor_many_for_himself() {
    let mut world = World::new(Policy::default());
    let alice = world.sign_in(1, 600);
    let victim = address("203.0.113.9:9");
    let forged = echo::request(&TagKey::from_bytes([9; 16]), alice.slot, 1, 1);
    assert!(world.hand(victim, &forged).iter().all(|(_, answer)| answer[0] == UNKNOWN_SLOT));
    let key = TagKey::new(&alice.secret);
    let (mut sent, mut answered) = (0, 0);
    for counter in 1..=100 {
        let request = echo::request(&key, alice.slot, counter, 10);
        sent += request.len();
        answered += world.hand(victim, &request).iter().map(|(_, answer)| answer.len()).sum::<usize>();
    }
    world.advance(Duration::from_secs(11));
    let echoes = world.drain();
    assert_eq!(echoes.len(), 1, "the last alone");
    answered += echoes[0].1.len();
    assert!(answered <= sent, "{answered} of {sent} bytes");
}

#[test]
fn an_echo_for_a_registration_that_has_ended_is_not_sent() {
    let mut world = World::new(Policy::default());
    let alice = world.sign_in(1, 20);
    world.hand(alice.address, &echo::request(&TagKey::new(&alice.secret), alice.slot, 1, 60));
    world.advance(Duration::from_secs(61));
    assert_eq!(world.drain(), []);
}
