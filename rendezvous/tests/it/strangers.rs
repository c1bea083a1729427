//! What a stranger can ask of a rendezvous, and what it is told: docs/protocol.md, "Introduction".

use crate::world::{World, introduction};
use knothole_proto::control::{LetterName, MAX_GREETING, ToPeer, ToRendezvous, Watched};
use knothole_proto::identity::PeerId;
use knothole_rendezvous::Policy;

/// Everything that one who was never let in can say.
fn everything(to: PeerId) -> Vec<ToRendezvous> {
    let (relay_only, candidates) = (false, Vec::new);
    vec![
        ToRendezvous::Invite {
            introduction: introduction(1),
            to,
            candidates: candidates(),
            relay_only,
            greeting: Some("it is me".into()),
        },
        ToRendezvous::Accept { introduction: introduction(2), to, candidates: candidates(), relay_only },
        ToRendezvous::Opened { introduction: introduction(3), to },
        ToRendezvous::Watch { unseen: false, peers: vec![Watched { peer: to, shown: true }] },
        ToRendezvous::Post { to, letter: LetterName([4; 8]), envelope: vec![5; 100], keep: true },
        ToRendezvous::Code { number: 1, message: vec![6; 40] },
        ToRendezvous::OpenCode,
        ToRendezvous::Refuse { channel: 0 },
    ]
}

#[test]
fn whatever_a_stranger_says_no_address_of_the_other_comes_back() {
    let mut world = World::new(Policy::default());
    let (mut mallory, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
    // Bob has a code open, and watches nobody that he does not know.
    let out = world.say(&mut bob, ToRendezvous::OpenCode);
    bob.hear(&out);
    let mut told = Vec::new();
    for message in everything(bob.id) {
        let out = world.say(&mut mallory, message);
        told.extend(mallory.hear(&out));
        bob.hear(&out);
        world.acknowledge(&mut [&mut mallory, &mut bob]);
    }
    assert!(told.len() >= 3, "a channel, what became of the letter, a number: {told:?}");
    let told = format!("{told:?}");
    assert!(!told.contains(&bob.address.ip().to_string()), "{told}");
}

#[test]
fn a_greeting_reaches_the_one_it_is_for_unless_it_is_too_long() {
    for (length, passed) in [(MAX_GREETING, true), (MAX_GREETING + 1, false)] {
        let mut world = World::new(Policy::default());
        let (mut alice, mut bob) = (world.sign_in(1, 20), world.sign_in(2, 20));
        let greeting = Some("x".repeat(length));
        let invite = ToRendezvous::Invite {
            introduction: introduction(1),
            to: bob.id,
            candidates: Vec::new(),
            relay_only: false,
            greeting: greeting.clone(),
        };
        let out = world.say(&mut alice, invite);
        let heard = bob.hear(&out);
        assert!(
            matches!(&heard[..], [ToPeer::Invited { greeting: told, .. }] if *told == greeting.filter(|_| passed)),
            "{heard:?}"
        );
    }
}
