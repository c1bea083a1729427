//! What a traversal says of whom it watches, and what it makes of the answers: docs/protocol.md, "Presence".

use super::*;
use crate::control::{Opened, RendezvousChannel, ToPeer, ToRendezvous, Watched};
use crate::registration::SignInAnswer;
use crate::seal::RegistrationSecret;

const RENDEZVOUS: RendezvousId = RendezvousId(0);

fn peer(n: u16) -> PeerId {
    let mut key = [7; 32];
    key[..2].copy_from_slice(&n.to_be_bytes());
    PeerId::new(key)
}

/// A peer and what its rendezvous hears.
struct Desk {
    traversal: Traversal,
    channel: RendezvousChannel,
    now: Instant,
    /// Whether what the peer says arrives.
    hears: bool,
    runs: u8,
}

impl Desk {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let mut traversal = Traversal::new(PeerId::new([1; 32]), Config::default(), [5; 32]);
        traversal.add_rendezvous(RENDEZVOUS, now);
        traversal.handle_timeout(now);
        let channel = RendezvousChannel::of_rendezvous(&RegistrationSecret([0; 32]), 0);
        Self { traversal, channel, now, hears: true, runs: 0 }
    }

    fn at(&self) -> SocketAddr {
        "198.51.100.1:3478".parse().unwrap()
    }

    fn sign_in(&mut self) {
        self.runs += 1;
        let secret = RegistrationSecret([self.runs; 32]);
        self.channel = RendezvousChannel::of_rendezvous(&secret, 0);
        let answer = SignInAnswer::Registered {
            slot: 0,
            lifetime_s: 40,
            observed: "203.0.113.1:9".parse().unwrap(),
            ticket: Vec::new(),
        };
        let (at, now) = (self.at(), self.now);
        self.traversal.handle_signed_in(RENDEZVOUS, at, &answer, &secret, now);
    }

    /// What the rendezvous is told now, in a single turn: nothing is acknowledged in between.
    fn turn(&mut self) -> Vec<ToRendezvous> {
        let mut said = Vec::new();
        while let Some(transmit) = self.traversal.poll_transmit(self.now) {
            if self.hears
                && let Some(header) = Header::parse(&transmit.payload)
                && header.kind == crate::datagram::CONTROL
                && let Opened::Fresh(Some(message)) = self.channel.handle(header, &transmit.payload)
            {
                said.push(message);
            }
        }
        said
    }

    /// The rendezvous acknowledges, and says this.
    fn answer(&mut self, message: Option<ToPeer>) {
        if let Some(message) = message {
            self.channel.send(message, self.now).unwrap();
        }
        while let Some(datagram) = self.channel.poll_transmit(self.now) {
            let (at, now) = (self.at(), self.now);
            self.traversal.handle_datagram(Base::MAIN, at, &datagram, now);
        }
    }

    /// All that it is told until nothing more comes.
    fn told(&mut self) -> Vec<ToRendezvous> {
        let mut all = Vec::new();
        loop {
            let said = self.turn();
            if said.is_empty() {
                return all;
            }
            all.extend(said);
            self.answer(None);
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.traversal.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.traversal.handle_timeout(self.now);
            self.turn();
        }
        self.now = end;
    }

    fn presence(&mut self) -> Vec<(PeerId, bool)> {
        let events = std::iter::from_fn(|| self.traversal.poll_event());
        events
            .filter_map(|event| match event {
                Event::Presence { peer, here } => Some((peer, here)),
                _ => None,
            })
            .collect()
    }
}

fn names(message: &ToRendezvous) -> (bool, Vec<(PeerId, bool)>) {
    let ToRendezvous::Watch { unseen, peers } = message else { panic!("{message:?}") };
    (*unseen, peers.iter().map(|Watched { peer, shown }| (*peer, *shown)).collect())
}

#[test]
fn all_are_named_at_every_registration() {
    let mut desk = Desk::new();
    for n in 0..200 {
        desk.traversal.watch(peer(n), n % 2 == 0, Vec::new(), desk.now);
    }
    for _ in 0..2 {
        desk.sign_in();
        let first = desk.turn();
        assert_eq!(first.len(), 4, "not all at once");
        desk.answer(None);
        let mut named: Vec<_> = first.iter().chain(&desk.told()).flat_map(|said| names(said).1).collect();
        assert!(named[..100].iter().all(|(_, shown)| !shown), "if there is not room for all, these come first");
        named.sort_unstable();
        assert_eq!(named, (0..200).map(|n| (peer(n), n % 2 == 0)).collect::<Vec<_>>());
    }
}

#[test]
fn who_hides_from_somebody_signs_in_unseen_and_says_so_when_that_changes() {
    let mut desk = Desk::new();
    assert!(!desk.traversal.sign_in_request(RENDEZVOUS).unwrap().unseen);
    desk.traversal.watch(peer(1), false, Vec::new(), desk.now);
    desk.traversal.set_unseen(true, desk.now);
    assert!(desk.traversal.sign_in_request(RENDEZVOUS).unwrap().unseen);
    desk.sign_in();
    assert_eq!(desk.told().iter().map(names).collect::<Vec<_>>(), [(true, vec![(peer(1), false)])]);
    desk.traversal.set_unseen(false, desk.now);
    let first = desk.turn();
    assert_eq!(first.iter().map(names).collect::<Vec<_>>(), [(false, vec![])]);
    desk.traversal.set_unseen(true, desk.now);
    assert_eq!(desk.turn(), [], "the first may arrive after it");
    desk.answer(None);
    assert_eq!(desk.told().iter().map(names).collect::<Vec<_>>(), [(true, vec![])]);
}

#[test]
fn a_change_of_mind_does_not_overtake_what_was_said_before() {
    let mut desk = Desk::new();
    desk.traversal.watch(peer(1), true, Vec::new(), desk.now);
    desk.sign_in();
    assert_eq!(desk.turn().iter().map(names).collect::<Vec<_>>(), [(false, vec![(peer(1), true)])]);
    desk.traversal.watch(peer(1), false, Vec::new(), desk.now);
    assert_eq!(desk.turn(), [], "the first may arrive after it");
    desk.answer(None);
    assert_eq!(desk.turn().iter().map(names).collect::<Vec<_>>(), [(false, vec![(peer(1), false)])]);
    desk.answer(None);
    desk.traversal.unwatch(peer(1), desk.now);
    assert_eq!(desk.told(), [ToRendezvous::Unwatch { peers: vec![peer(1)] }]);
}

#[test]
fn what_was_given_up_is_said_again() {
    let mut desk = Desk::new();
    desk.traversal.watch(peer(1), true, Vec::new(), desk.now);
    desk.hears = false;
    desk.sign_in();
    desk.turn();
    // The keepalives' answers come, so that the registration stays.
    for _ in 0..30 {
        desk.pass(Duration::from_millis(500));
        let (at, now) = (desk.at(), desk.now);
        let key = crate::seal::TagKey::new(&RegistrationSecret([1; 32]));
        for counter in 1..200 {
            let observed = crate::keepalive::observed(&key, 0, counter, "203.0.113.1:9".parse().unwrap());
            desk.traversal.handle_datagram(Base::MAIN, at, &observed, now);
        }
    }
    desk.hears = true;
    let mut said = Vec::new();
    for _ in 0..6 {
        desk.traversal.handle_timeout(desk.now);
        said.extend(desk.turn());
        desk.now += Duration::from_secs(1);
    }
    assert!(said.iter().any(|message| names(message).1 == [(peer(1), true)]), "{said:?}");
}

#[test]
fn what_a_rendezvous_says_is_told_once_and_only_of_those_who_are_watched() {
    let mut desk = Desk::new();
    desk.traversal.watch(peer(1), true, Vec::new(), desk.now);
    desk.sign_in();
    desk.told();
    desk.presence();
    for (said, expected) in [(true, vec![(peer(1), true)]), (true, vec![]), (false, vec![(peer(1), false)])] {
        desk.answer(Some(ToPeer::Presence { peers: vec![(peer(1), said), (peer(2), said)] }));
        assert_eq!(desk.presence(), expected);
        assert_eq!(desk.traversal.is_here(&peer(1)), said);
        assert!(!desk.traversal.is_here(&peer(2)));
        desk.turn();
    }
}

#[test]
fn a_rendezvous_that_restarts_makes_nobody_leave_unless_it_does_not_come_back() {
    let mut desk = Desk::new();
    for n in [1, 2] {
        desk.traversal.watch(peer(n), true, Vec::new(), desk.now);
    }
    desk.sign_in();
    desk.told();
    desk.answer(Some(ToPeer::Presence { peers: vec![(peer(1), true), (peer(2), true)] }));
    desk.turn();
    desk.presence();
    // Nobody answers any more.
    desk.hears = false;
    desk.pass(Duration::from_secs(80));
    assert_eq!(desk.presence(), []);
    desk.hears = true;
    desk.sign_in();
    desk.told();
    desk.answer(Some(ToPeer::Presence { peers: vec![(peer(1), true)] }));
    desk.turn();
    assert_eq!(desk.presence(), []);
    desk.pass(Duration::from_secs(60));
    assert_eq!(desk.presence(), [(peer(2), false)]);
}

#[test]
fn one_who_does_not_answer_is_asked_for_once_more_when_its_registration_would_be_over() {
    let mut desk = Desk::new();
    desk.traversal.watch(peer(1), true, Vec::new(), desk.now);
    desk.sign_in();
    desk.told();
    desk.answer(Some(ToPeer::Presence { peers: vec![(peer(1), true)] }));
    desk.turn();
    desk.traversal.handle_gone(peer(1), desk.now);
    assert!(!desk.traversal.is_here(&peer(1)));
    assert_eq!(desk.told(), []);
    desk.now += Duration::from_secs(41);
    desk.traversal.handle_timeout(desk.now);
    assert_eq!(desk.told().iter().map(names).collect::<Vec<_>>(), [(false, vec![(peer(1), true)])]);
}

#[test]
fn a_rendezvous_of_a_contact_is_told_of_nobody_else() {
    let mut desk = Desk::new();
    desk.traversal.reserve_rendezvous(RENDEZVOUS);
    desk.traversal.watch(peer(1), true, vec![RENDEZVOUS], desk.now);
    desk.traversal.watch(peer(2), true, Vec::new(), desk.now);
    desk.sign_in();
    assert_eq!(desk.told().iter().map(names).collect::<Vec<_>>(), [(false, vec![(peer(1), true)])]);
    desk.answer(Some(ToPeer::Presence { peers: vec![(peer(2), true)] }));
    assert!(!desk.traversal.is_here(&peer(2)));
}

#[test]
fn one_who_is_blocked_is_hidden_from_where_it_was_invited_and_is_a_stranger_there_for_no_moment() {
    let mut desk = Desk::new();
    desk.traversal.reserve_rendezvous(RENDEZVOUS);
    desk.traversal.watch(peer(1), true, vec![RENDEZVOUS], desk.now);
    desk.sign_in();
    desk.told();
    desk.traversal.watch(peer(1), false, vec![RENDEZVOUS], desk.now);
    desk.traversal.set_unseen(true, desk.now);
    let said: Vec<_> = desk.told().iter().map(names).collect();
    assert_eq!(said, [(false, vec![(peer(1), false)]), (true, vec![])], "hidden from first, and not unwatched");
}
