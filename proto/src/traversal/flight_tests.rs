//! What may follow an invitation at once: docs/protocol.md, "Introduction".

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::candidate::{CheckKey, IntroductionId};
use crate::control::{Opened, RendezvousChannel, ToPeer, ToRendezvous};
use crate::datagram::CONTROL;
use crate::registration::SignInAnswer;
use crate::seal::RegistrationSecret;

const RENDEZVOUS: RendezvousId = RendezvousId(0);
pub(super) const BOB: ContactId = ContactId(7);
const SLOT: u32 = 33;

/// Alice, who is registered and knows Bob, and the rendezvous' end of her control channel.
pub(super) struct Alice {
    pub(super) traversal: Traversal,
    rendezvous: RendezvousChannel,
    pub(super) now: Instant,
}

pub(super) fn remote() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 3478))
}

pub(super) fn bob() -> PeerId {
    PeerId::new([2; 32])
}

impl Alice {
    pub(super) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let mut traversal = Traversal::new(PeerId::new([1; 32]), Config::default(), [3; 32]);
        traversal.add_rendezvous(RENDEZVOUS, now);
        traversal.add_contact(BOB, bob(), vec![RENDEZVOUS]);
        traversal.handle_timeout(now);
        let (secret, observed) = (RegistrationSecret([9; 32]), SocketAddr::from(([198, 51, 100, 1], 4000)));
        let answer = SignInAnswer::Registered { slot: SLOT, lifetime_s: 1200, observed, ticket: Vec::new() };
        traversal.handle_signed_in(RENDEZVOUS, remote(), &answer, &secret, now);
        let mut alice = Self { traversal, rendezvous: RendezvousChannel::of_rendezvous(&secret, SLOT), now };
        alice.events();
        alice
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.traversal.poll_event()).collect()
    }

    /// What she says to the rendezvous, which acknowledges it.
    pub(super) fn said(&mut self) -> Vec<ToRendezvous> {
        let mut said = Vec::new();
        while let Some(transmit) = self.traversal.poll_transmit(self.now) {
            // Its checks go elsewhere.
            if let Some(header) = Header::parse(&transmit.payload)
                && header.kind == CONTROL
                && let Opened::Fresh(Some(message)) = self.rendezvous.handle(header, &transmit.payload)
            {
                said.push(message);
            }
        }
        self.deliver();
        said
    }

    pub(super) fn hear(&mut self, message: ToPeer) -> Vec<Event> {
        self.rendezvous.send(message, self.now).unwrap();
        self.deliver();
        self.events()
    }

    fn deliver(&mut self) {
        while let Some(datagram) = self.rendezvous.poll_transmit(self.now) {
            self.traversal.handle_datagram(Base::MAIN, remote(), &datagram, self.now);
        }
    }

    /// She wants Bob: the invitation that goes out, and its flight.
    pub(super) fn invite(&mut self) -> IntroductionId {
        self.traversal.connect(BOB, self.now);
        let events = self.events();
        let [Event::Flight { contact: BOB, rendezvous, slot: SLOT, introduction }] = events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(rendezvous, remote());
        let said = self.said();
        assert!(
            matches!(said[..], [ToRendezvous::Invite { introduction: name, .. }] if name == introduction),
            "{said:?}"
        );
        introduction
    }

    /// Lets time pass until there is something to know.
    pub(super) fn next(&mut self) -> Vec<Event> {
        for _ in 0..1000 {
            self.now = self.traversal.poll_timeout().unwrap().max(self.now);
            self.traversal.handle_timeout(self.now);
            let events = self.events();
            if !events.is_empty() {
                return events;
            }
            self.said();
        }
        panic!("nothing happens")
    }
}

#[test]
fn a_flight_follows_its_invitation_at_once_and_its_channel_is_the_contact_s_when_the_invitation_is_accepted() {
    let mut alice = Alice::new();
    let introduction = alice.invite();
    let events = alice.hear(ToPeer::Relay { introduction, with: bob(), channel: 5 });
    assert_eq!(events, [Event::Offered { contact: BOB, rendezvous: remote(), channel: 5 }]);
    let (observed, key) = (SocketAddr::from(([203, 0, 113, 1], 9)), CheckKey([4; 20]));
    let events = alice.hear(ToPeer::Accepted { introduction, from: bob(), observed, key, candidates: Vec::new() });
    assert_eq!(events, [Event::Relay { contact: BOB, rendezvous: remote(), channel: 5 }, Event::Dial(BOB)]);
}

#[test]
fn a_channel_that_is_told_only_after_the_acceptance_is_the_contact_s_at_once() {
    let mut alice = Alice::new();
    let introduction = alice.invite();
    let (observed, key) = (SocketAddr::from(([203, 0, 113, 1], 9)), CheckKey([4; 20]));
    alice.hear(ToPeer::Accepted { introduction, from: bob(), observed, key, candidates: Vec::new() });
    let events = alice.hear(ToPeer::Relay { introduction, with: bob(), channel: 5 });
    assert_eq!(events[0], Event::Relay { contact: BOB, rendezvous: remote(), channel: 5 });
}

#[test]
fn a_declined_or_unanswered_invitation_grounds_its_flight_and_is_repeated_without_one() {
    for absent in [true, false] {
        let mut alice = Alice::new();
        let introduction = alice.invite();
        if absent {
            let events = alice.hear(ToPeer::Absent { introduction });
            assert!(events.contains(&Event::Grounded(BOB)), "{events:?}");
        } else {
            alice.hear(ToPeer::Relay { introduction, with: bob(), channel: 5 });
            let begin = alice.now;
            assert_eq!(alice.next(), [Event::Grounded(BOB)]);
            assert!(alice.now - begin <= Duration::from_secs(11));
        }
        let mut invitations = 0;
        for _ in 0..60 {
            alice.now = alice.traversal.poll_timeout().unwrap().max(alice.now);
            alice.traversal.handle_timeout(alice.now);
            assert!(!alice.events().iter().any(|event| matches!(event, Event::Flight { .. })));
            invitations += alice.said().iter().filter(|said| matches!(said, ToRendezvous::Invite { .. })).count();
        }
        assert!(invitations > 0, "absent: {absent}");
    }
}

#[test]
fn a_contact_s_flight_has_its_channel_before_the_acceptance_goes_and_a_stranger_s_has_none() {
    let mut alice = Alice::new();
    let invited = |from| ToPeer::Invited {
        introduction: IntroductionId([1; 12]),
        from,
        observed: SocketAddr::from(([203, 0, 113, 1], 9)),
        key: CheckKey([4; 20]),
        candidates: Vec::new(),
        channel: Some(6),
        greeting: None,
    };
    let mallory = PeerId::new([6; 32]);
    assert_eq!(alice.hear(invited(mallory)), [Event::Request { peer: mallory, via: RENDEZVOUS, greeting: None }]);
    assert_eq!(alice.said(), []);
    let events = alice.hear(invited(bob()));
    assert_eq!(events[0], Event::Relay { contact: BOB, rendezvous: remote(), channel: 6 });
    assert!(matches!(alice.said()[..], [ToRendezvous::Accept { .. }]));
}

#[test]
fn the_relay_of_a_contact_that_is_removed_is_refused() {
    let mut alice = Alice::new();
    let introduction = alice.invite();
    alice.hear(ToPeer::Relay { introduction, with: bob(), channel: 5 });
    alice.traversal.remove_contact(BOB, alice.now);
    assert_eq!(alice.said(), [], "the connection's last word goes first");
    alice.now += Duration::from_millis(200);
    alice.traversal.handle_timeout(alice.now);
    assert_eq!(alice.said(), [ToRendezvous::Refuse { channel: 5 }]);
}

#[test]
fn a_contact_that_is_wanted_no_more_has_no_flight_to_ground() {
    let mut alice = Alice::new();
    let introduction = alice.invite();
    alice.traversal.release(BOB);
    assert_eq!(alice.hear(ToPeer::Absent { introduction }), []);
}
