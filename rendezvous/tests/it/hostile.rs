//! What strangers may send: anything. It must not stop the rendezvous, nor make it talk more than it was told.

use std::net::SocketAddr;
use std::time::Duration;

use crate::world::{LOCAL, World};
use knothole_proto::datagram::{CONTROL, Header, relay_header};
use knothole_proto::keepalive;
use knothole_proto::seal::TagKey;
use knothole_proto::stun::{TransactionId, discovery};
use knothole_rendezvous::Policy;
use proptest::prelude::*;

/// The one thing that is answered with more bytes than it has (docs/protocol.md, "STUN"): a Binding request
/// without attributes, 20 bytes, by an address of 12 or 24.
const LONGEST_STUN_ANSWER: usize = 44;

fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// Hands a stranger's datagram in; the rendezvous must not say more to him than he said.
fn hand_hostile(world: &mut World, from: SocketAddr, datagram: &[u8]) -> Result<(), TestCaseError> {
    let answered: usize = world.hand(from, datagram).iter().map(|(_, payload)| payload.len()).sum();
    let allowed = if is_stun(datagram) { datagram.len().max(LONGEST_STUN_ANSWER) } else { datagram.len() };
    prop_assert!(answered <= allowed, "{answered} bytes for {}: {datagram:?}", datagram.len());
    Ok(())
}

/// Sound datagrams of every kind, to be damaged: random ones rarely get past the first check.
#[expect(clippy::unwrap_used, reason = "a test's helper: it fails by panicking")]
fn samples(world: &mut World) -> Vec<Vec<u8>> {
    let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    let channel = world.relay_channel(&mut alice, &mut bob, 9);
    let key = TagKey::new(&alice.secret);
    alice.channel.send(bob.invite(1), world.now).unwrap();
    vec![
        keepalive::keepalive(&key, alice.slot, 1_000, true),
        keepalive::keepalive(&key, 77, 1, true),
        keepalive::moved(&key, alice.slot, 2_000, 5),
        alice.channel.poll_transmit(world.now).unwrap(),
        Header { kind: CONTROL, flags: 0, port: 0, slot: bob.slot, number: 1 }.to_bytes().into(),
        [&relay_header(channel)[..], &[0x41; 60]].concat(),
        discovery::binding_request(TransactionId([3; 12])),
        discovery::change_request(TransactionId([3; 12]), true, true),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_datagrams_neither_stop_it_nor_make_it_talk(
        datagrams in prop::collection::vec((any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 0..100)), 1..50),
        first in 0..20_u8,
    ) {
        let mut world = World::new(Policy::default());
        world.sign_in(1, 20);
        for (ip, mut datagram) in datagrams {
            if let Some(byte) = datagram.first_mut() {
                *byte = first;
            }
            hand_hostile(&mut world, (ip, 9).into(), &datagram)?;
        }
    }

    #[test]
    fn damaged_datagrams_neither_stop_it_nor_make_it_talk(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255_u8), 1..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(Policy::default());
        let samples = samples(&mut world);
        for (which, place, change) in damage {
            let mut datagram = which.get(&samples).clone();
            *place.get_mut(&mut datagram[..]) ^= change;
            hand_hostile(&mut world, ([203, 0, 113, 1], 9).into(), &datagram)?;
            datagram.truncate(cut.index(datagram.len()));
            hand_hostile(&mut world, ([203, 0, 113, 1], 9).into(), &datagram)?;
        }
        world.advance(Duration::from_secs(60));
        prop_assert_eq!(world.drain(), []);
        prop_assert_eq!(world.server.registrations(), 0);
    }
}

#[test]
fn guessing_slots_gets_short_errors_at_most_and_leaves_nothing_to_do() {
    let mut world = World::new(Policy::default());
    let peers: Vec<_> = (1..=200).map(|n| world.sign_in(n, 20)).collect();
    let quiet = world.server.poll_timeout();
    for peer in &peers {
        for number in 1..20 {
            let mut datagram = vec![0; 60];
            let header = Header { kind: CONTROL, flags: 0, port: 0, slot: peer.slot, number };
            datagram[..16].copy_from_slice(&header.to_bytes());
            world.server.handle_datagram(world.now, ([203, 0, 113, 1], 9).into(), LOCAL, &datagram);
        }
    }
    let answers = world.drain();
    assert!(answers.iter().all(|(_, answer)| answer.len() == 24), "shorter than what they answer");
    assert!(answers.len() <= 3_800);
    assert_eq!(world.server.poll_timeout(), quiet);
}

#[test]
fn every_drop_is_counted() {
    let mut world = World::new(Policy::default());
    let datagrams: [&[u8]; 6] = [&[], &[4], &[9; 40], &[15; 60], &[63; 40], &[0; 20]];
    for (n, datagram) in datagrams.iter().enumerate() {
        world.hand(([203, 0, 113, 1], 9).into(), datagram);
        let counters = world.server.counters();
        let counted = counters.dropped_malformed + counters.unknown_slot;
        assert_eq!(counted, n as u64 + 1, "{datagram:?}");
    }
}
