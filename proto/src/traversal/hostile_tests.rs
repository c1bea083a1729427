//! What contacts and rendezvous can make us do, whether they mean harm or not.

use std::net::SocketAddr;
use std::time::Duration;

use super::flight_tests::{Alice, BOB, bob, remote};
use super::*;
use crate::candidate::{CheckKey, IntroductionId};
use crate::control::ToPeer;
use crate::hard_nat::{Nat, Word};
use crate::nat::{Mapping, Ports};
use crate::stun::server::{Place, answer};

/// Alice, whose NAT is hard.
fn hard() -> Alice {
    let mut alice = Alice::new();
    // One who was seen at two ports is behind a hard NAT.
    let now = alice.now;
    let seen = SocketAddr::from(([198, 51, 100, 1], 4000));
    while let Some(asked) = alice.traversal.poll_transmit(now) {
        if let Some(answer) = answer(&asked.payload, seen, &Place { local: remote(), other: None }) {
            alice.traversal.handle_datagram(Base::MAIN, remote(), &answer.payload, now);
        }
    }
    alice.traversal.workshop.survey.handle_observed(SocketAddr::from(([198, 51, 100, 1], 4001)));
    assert!(alice.traversal.nat().is_hard());
    alice
}

/// Bob, who is behind an easy NAT, takes her invitation up, and their connection is up.
fn meet(alice: &mut Alice) {
    let introduction = alice.invite();
    let (observed, key) = (SocketAddr::from(([203, 0, 113, 1], 9)), CheckKey([4; 20]));
    alice.hear(ToPeer::Accepted { introduction, from: bob(), observed, key, candidates: Vec::new() });
    alice.traversal.handle_link_up(BOB, alice.now);
    say(alice, Word::Nat(Nat { mapping: Mapping::EndpointIndependent, ports: Ports::Preserved }));
}

fn say(alice: &mut Alice, word: Word) {
    alice.traversal.handle_note(BOB, &Note::Tactic(word).to_bytes(), alice.now);
}

#[test]
fn checks_have_their_time_before_a_tactic_also_when_the_contact_was_away() {
    let mut alice = hard();
    for _ in 0..2 {
        meet(&mut alice);
        let begin = alice.now;
        let opens = |events: &[Event]| events.iter().any(|event| matches!(event, Event::OpenBases { .. }));
        assert!(!opens(&alice.events()), "at once");
        while !opens(&alice.next()) {}
        assert!(alice.now - begin >= Duration::from_millis(900), "after {:?}", alice.now - begin);
        alice.traversal.handle_link_down(BOB);
        alice.traversal.release(BOB);
        // Who is busy is not asked for a while.
        let wait = alice.now + Duration::from_secs(6);
        while alice.now < wait {
            alice.said();
            alice.now = alice.traversal.poll_timeout().unwrap().max(alice.now).min(wait);
            alice.traversal.handle_timeout(alice.now);
        }
        alice.events();
    }
}

#[test]
fn a_contact_that_says_it_has_found_us_has_no_sockets_opened_again_and_again() {
    let mut alice = hard();
    meet(&mut alice);
    let (end, mut opened) = (alice.now + Duration::from_secs(10), 0);
    while alice.now < end && opened < 100 {
        for event in alice.events() {
            match event {
                Event::OpenBases { contact, count } => {
                    opened += 1;
                    let bases: Vec<_> = (1..=count).map(Base).collect();
                    let now = alice.now;
                    alice.traversal.handle_bases(contact, &bases, now);
                }
                Event::Note { note, .. } => {
                    if let Ok(Note::Tactic(Word::Ask { attempt, .. })) = postcard::from_bytes(&note) {
                        say(&mut alice, Word::Stop { attempt, found: true });
                    }
                }
                _ => {}
            }
        }
        alice.said();
        let now = alice.traversal.poll_timeout().unwrap().max(alice.now);
        alice.now = now;
        alice.traversal.handle_timeout(now);
    }
    assert!((1..=3).contains(&opened), "{opened} times in ten seconds");
}

#[test]
fn a_rendezvous_of_one_contact_speaks_for_no_other() {
    let mut alice = Alice::new();
    alice.traversal.reserve_rendezvous(RendezvousId(0));
    let invited = |from| ToPeer::Invited {
        introduction: IntroductionId([1; 12]),
        from,
        observed: SocketAddr::from(([203, 0, 113, 1], 9)),
        key: CheckKey([4; 20]),
        candidates: Vec::new(),
        channel: Some(6),
        greeting: None,
    };
    let (carol, mallory) = (PeerId::new([3; 32]), PeerId::new([6; 32]));
    alice.traversal.add_contact(ContactId(8), carol, vec![RendezvousId(1)]);
    for other in [carol, mallory] {
        assert_eq!(alice.hear(invited(other)), []);
        let introduction = IntroductionId([2; 12]);
        assert_eq!(alice.hear(ToPeer::Relay { introduction, with: other, channel: 9 }), []);
    }
    assert_eq!(alice.said(), []);
    assert!(!alice.hear(invited(bob())).is_empty());
}
