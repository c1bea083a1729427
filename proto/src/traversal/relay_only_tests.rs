//! Contacts that are met through the relay alone: docs/protocol.md, "Relay only".

use std::net::SocketAddr;

use super::flight_tests::{Alice, BOB, bob, remote};
use super::*;
use crate::candidate::{Candidate, CandidateKind, CheckKey, IntroductionId};
use crate::control::{ToPeer, ToRendezvous};
use crate::lan::{Announcement, LanSalt, tag};
use crate::stun::TransactionId;
use crate::stun::check::{request, response, verify_request};
use crate::tunnel::NO_ADDRESS;

const NAME: IntroductionId = IntroductionId([5; 12]);

fn there() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 1], 9))
}

fn host() -> Candidate {
    Candidate { address: SocketAddr::from(([192, 168, 1, 7], 9)), kind: CandidateKind::Host }
}

fn invited(observed: SocketAddr) -> ToPeer {
    ToPeer::Invited {
        introduction: NAME,
        from: bob(),
        observed,
        key: CheckKey([4; 20]),
        candidates: vec![host()],
        channel: Some(6),
        greeting: None,
    }
}

/// Everything that she sends in the next minute to anywhere but her rendezvous.
fn elsewhere(alice: &mut Alice) -> usize {
    let end = alice.now + Duration::from_secs(60);
    let mut sent = 0;
    loop {
        let transmits = std::iter::from_fn(|| alice.traversal.poll_transmit(alice.now));
        sent += transmits.filter(|transmit| transmit.to != remote()).count();
        let Some(due) = alice.traversal.poll_timeout().filter(|due| *due <= end) else { return sent };
        alice.now = alice.now.max(due);
        alice.traversal.handle_timeout(alice.now);
    }
}

/// The acceptance among what was said.
fn acceptance(said: &[ToRendezvous]) -> (usize, bool) {
    let found = said.iter().find_map(|said| match said {
        ToRendezvous::Accept { candidates, relay_only, .. } => Some((candidates.len(), *relay_only)),
        _ => None,
    });
    found.unwrap()
}

fn public_host(alice: &mut Alice) {
    let now = alice.now;
    alice.traversal.set_hosts(vec![SocketAddr::from(([198, 51, 100, 1], 4000))], now);
}

#[test]
fn an_invitation_to_a_relay_only_contact_says_so_and_names_no_address() {
    let mut alice = Alice::new();
    public_host(&mut alice);
    alice.traversal.set_relay_only(BOB, true, alice.now);
    alice.traversal.connect(BOB, alice.now);
    let said = alice.said();
    let [ToRendezvous::Invite { candidates, relay_only: true, .. }] = &said[..] else { panic!("{said:?}") };
    assert_eq!(candidates, &[]);
}

#[test]
fn of_a_relay_only_contact_nothing_is_checked_whatever_it_is_told_and_the_acceptance_names_nothing() {
    let mut alice = Alice::new();
    public_host(&mut alice);
    alice.traversal.set_relay_only(BOB, true, alice.now);
    let events = alice.hear(invited(there()));
    assert_eq!(events[0], Event::Relay { contact: BOB, rendezvous: remote(), channel: 6 });
    assert_eq!(alice.traversal.without_udp(BOB), Some(Unreachable::RelayOnly));
    assert_eq!(acceptance(&alice.said()), (0, true));
    assert_eq!(elsewhere(&mut alice), 0);
}

#[test]
fn one_who_chose_relay_only_is_not_checked_nor_told_anything_also_behind_the_same_router() {
    let mut alice = Alice::new();
    public_host(&mut alice);
    alice.hear(invited(NO_ADDRESS));
    assert_eq!(alice.traversal.without_udp(BOB), Some(Unreachable::RelayOnlyThere));
    assert_eq!(acceptance(&alice.said()), (0, true));
    alice.traversal.handle_link_up(BOB, alice.now);
    let notes = alice.events().into_iter().filter(|event| matches!(event, Event::Note { .. })).count();
    assert_eq!(notes, 0, "neither candidates nor tactics");
    let salt = LanSalt([7; 12]);
    let announcement = Announcement { salt, tag: tag(salt, &bob()), addresses: vec![host().address] };
    alice.traversal.handle_announcement(&announcement, LanSalt([8; 12]), alice.now);
    assert_eq!(elsewhere(&mut alice), 0);
}

#[test]
fn a_check_of_a_relay_only_contact_is_not_answered() {
    let mut alice = Alice::new();
    alice.traversal.set_relay_only(BOB, true, alice.now);
    alice.hear(invited(there()));
    alice.said();
    let check = request(TransactionId([1; 12]), &NAME, &CheckKey([4; 20]));
    alice.traversal.handle_datagram(Base::MAIN, there(), &check, alice.now);
    assert_eq!(alice.events(), []);
    assert_eq!(elsewhere(&mut alice), 0);
}

/// She has a path to Bob, and a relay.
fn direct() -> Alice {
    let mut alice = Alice::new();
    alice.hear(invited(there()));
    alice.traversal.handle_link_up(BOB, alice.now);
    let check = request(TransactionId([1; 12]), &NAME, &CheckKey([4; 20]));
    alice.traversal.handle_datagram(Base::MAIN, there(), &check, alice.now);
    while alice.traversal.path(BOB).is_none() {
        let transmits: Vec<_> = std::iter::from_fn(|| alice.traversal.poll_transmit(alice.now)).collect();
        for request in transmits.iter().filter(|transmit| transmit.to == there()) {
            if let Some(id) = verify_request(&request.payload, &NAME, &CheckKey([4; 20])) {
                let answer = response(id, SocketAddr::from(([198, 51, 100, 1], 4000)), &CheckKey([4; 20]));
                alice.traversal.handle_datagram(Base::MAIN, there(), &answer, alice.now);
            }
        }
        alice.now = alice.traversal.poll_timeout().unwrap().max(alice.now);
        alice.traversal.handle_timeout(alice.now);
    }
    alice.events();
    alice
}

#[test]
fn switched_on_it_leaves_the_path_at_once_and_tells_the_other_side_by_an_invitation() {
    let mut alice = direct();
    alice.traversal.set_relay_only(BOB, true, alice.now);
    let events = alice.events();
    let revoked = Event::Revoke { contact: BOB, base: Base::MAIN, remote: there() };
    assert!(events.contains(&revoked), "{events:?}");
    assert!(events.contains(&Event::PathLeft { contact: BOB, why: Unreachable::RelayOnly }), "{events:?}");
    assert_eq!(alice.traversal.path(BOB), None);
    let mut said = alice.said();
    for _ in 0..20 {
        let Some(due) = alice.traversal.poll_timeout() else { break };
        alice.now = alice.now.max(due).min(alice.now + Duration::from_millis(100));
        alice.traversal.handle_timeout(alice.now);
        said.extend(alice.said());
    }
    let invites: Vec<_> = said.iter().filter(|said| matches!(said, ToRendezvous::Invite { .. })).collect();
    assert!(matches!(invites[..], [ToRendezvous::Invite { relay_only: true, .. }]), "{invites:?}");
}

#[test]
fn chosen_by_the_other_side_it_leaves_the_path_at_once() {
    let mut alice = direct();
    let ToPeer::Invited { from, key, .. } = invited(there()) else { panic!() };
    let again = ToPeer::Invited {
        introduction: IntroductionId([6; 12]),
        from,
        observed: NO_ADDRESS,
        key,
        candidates: Vec::new(),
        channel: Some(6),
        greeting: None,
    };
    let events = alice.hear(again);
    assert!(events.contains(&Event::PathLeft { contact: BOB, why: Unreachable::RelayOnlyThere }), "{events:?}");
    alice.said();
    assert_eq!(elsewhere(&mut alice), 0);
}

#[test]
fn an_invitation_that_was_out_when_it_was_switched_is_followed_by_one_that_tells() {
    let mut alice = Alice::new();
    let introduction = alice.invite();
    alice.traversal.set_relay_only(BOB, true, alice.now);
    alice.hear(ToPeer::Relay { introduction, with: bob(), channel: 5 });
    let key = CheckKey([4; 20]);
    alice.hear(ToPeer::Accepted { introduction, from: bob(), observed: there(), key, candidates: vec![host()] });
    let mut said = alice.said();
    assert!(!said.iter().any(|said| matches!(said, ToRendezvous::Invite { .. })), "never twice within a second");
    alice.now += Duration::from_secs(1);
    alice.traversal.handle_timeout(alice.now);
    said = alice.said();
    assert!(matches!(said[..], [ToRendezvous::Invite { relay_only: true, .. }]), "{said:?}");
    assert_eq!(elsewhere(&mut alice), 0);
}

#[test]
fn switched_off_it_invites_openly_and_both_check_again() {
    let mut alice = Alice::new();
    alice.traversal.set_relay_only(BOB, true, alice.now);
    alice.hear(invited(NO_ADDRESS));
    alice.traversal.handle_link_up(BOB, alice.now);
    alice.said();
    alice.events();
    alice.traversal.set_relay_only(BOB, false, alice.now);
    let notes = alice.events().into_iter().filter(|event| matches!(event, Event::Note { .. })).count();
    assert_eq!(notes, 1, "what its NAT does");
    alice.now += Duration::from_secs(1);
    alice.traversal.handle_timeout(alice.now);
    let said = alice.said();
    let [ToRendezvous::Invite { introduction, relay_only: false, .. }] = said[..] else { panic!("{said:?}") };
    let (key, candidates) = (CheckKey([4; 20]), Vec::new());
    alice.hear(ToPeer::Accepted { introduction, from: bob(), observed: there(), key, candidates });
    assert!(elsewhere(&mut alice) > 0);
}
