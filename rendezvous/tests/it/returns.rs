//! How peers come back to a rendezvous that was restarted, and how they move: docs/protocol.md, "Ticket" and "Keepalive".
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "all of it is test code, which fails by panicking and needs some instant to begin with"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::candidate::IntroductionId;
use knothole_proto::control::ToRendezvous;
use knothole_proto::datagram::{Header, RETURN, RETURNED, UNKNOWN_SLOT};
use knothole_proto::identity::PeerId;
use knothole_proto::keepalive::keepalive;
use knothole_proto::registration::client::{Client, Event};
use knothole_proto::registration::{Profile, SignInRequest};
use knothole_proto::seal::{RegistrationSecret, TagKey};
use knothole_rendezvous::{LocalSocket, Policy, Server};

const RENDEZVOUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 3478);
const LOCAL: LocalSocket = LocalSocket(0);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn at(n: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, n], 4000))
}

/// What one peer's datagrams meet: whether the nth datagram of all is lost.
type Loss = fn(u64) -> bool;

/// A rendezvous and one peer that is driven as its engine would drive it.
struct Town {
    server: Server,
    client: Client,
    me: PeerId,
    address: SocketAddr,
    now: Instant,
    start: Instant,
    lives: u8,
    sign_ins: u32,
    events: Vec<Event>,
    /// All that the peer sent.
    sent: Vec<Vec<u8>>,
    lost: Loss,
    datagrams: u64,
}

fn server(life: u8, key: u8, start: Instant, now: Instant) -> Server {
    let since = 1_800_000_000 + (now - start).as_secs();
    Server::new(Policy::default(), [life; 32], now).with_tickets(&[key; 32], since)
}

impl Town {
    fn new(lost: Loss) -> Self {
        let now = Instant::now();
        let mut town = Self {
            server: server(1, 7, now, now),
            client: Client::new([5; 32], now),
            me: PeerId::new([3; 32]),
            address: at(1),
            now,
            start: now,
            lives: 1,
            sign_ins: 0,
            events: Vec::new(),
            sent: Vec::new(),
            lost,
            datagrams: 0,
        };
        town.run(Duration::ZERO);
        assert_eq!((town.sign_ins, town.server.registrations()), (1, 1));
        town.events.clear();
        town
    }

    /// Another process in the place of the first one, with the same key of tickets or another.
    fn restart(&mut self, key: u8) {
        self.lives += 1;
        self.server = server(self.lives, key, self.start, self.now);
    }

    fn loses(&mut self) -> bool {
        self.datagrams += 1;
        (self.lost)(self.datagrams)
    }

    fn drain(&mut self) {
        loop {
            while let Some(event) = self.client.poll_event() {
                if event == Event::SignIn {
                    self.sign_in();
                } else {
                    self.events.push(event);
                }
            }
            let Some(transmit) = self.client.poll_transmit(self.now) else { return };
            self.sent.push(transmit.payload.clone());
            if !self.loses() {
                self.arrive(self.address, &transmit.payload);
            }
        }
    }

    fn arrive(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        self.server.handle_datagram(self.now, from, LOCAL, datagram);
        let mut answers = Vec::new();
        while let Some((_, transmit)) = self.server.poll_transmit(self.now) {
            if transmit.to == self.address && !self.loses() {
                let header = Header::parse(&transmit.payload).unwrap();
                self.client.handle_datagram(RENDEZVOUS, header, &transmit.payload, self.now);
            }
            answers.push((transmit.to, transmit.payload));
        }
        answers
    }

    fn sign_in(&mut self) {
        self.sign_ins += 1;
        let secret = RegistrationSecret([self.sign_ins as u8; 32]);
        let request = SignInRequest { interval_s: self.client.interval().as_secs() as u16, unseen: false };
        let answer = self.server.sign_in(self.now, LOCAL, self.me, self.address, &request, &secret);
        self.client.handle_signed_in(RENDEZVOUS, &answer, &secret, self.now);
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.drain();
            let next = [self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next.max(self.now);
            self.server.handle_timeout(self.now);
            while let Some((_, transmit)) = self.server.poll_transmit(self.now) {
                let header = Header::parse(&transmit.payload).unwrap();
                if transmit.to == self.address {
                    self.client.handle_datagram(RENDEZVOUS, header, &transmit.payload, self.now);
                }
            }
            self.client.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// The latest datagram of this kind that the peer sent.
    fn recorded(&self, kind: u8) -> Vec<u8> {
        self.sent.iter().rev().find(|datagram| datagram.first() == Some(&kind)).unwrap().clone()
    }

    fn is_registered(&self) -> bool {
        self.client.observed() == Some(self.address) && self.server.registrations() == 1
    }
}

fn never(_: u64) -> bool {
    false
}

#[test]
fn after_a_restart_a_peer_is_back_within_one_interval_and_without_a_handshake() {
    let mut town = Town::new(never);
    town.run(Duration::from_secs(65));
    for _ in 0..3 {
        town.restart(7);
        town.run(Duration::from_secs(20));
        assert!(town.is_registered());
        town.run(Duration::from_secs(100));
        assert!(town.is_registered(), "and stays");
    }
    assert_eq!((town.sign_ins, town.server.counters().signed_in, town.server.counters().returned), (1, 0, 1));
    let told = [Event::Unregistered, Event::Registered { observed: at(1) }];
    assert!(town.events.chunks(2).all(|pair| pair == told), "{:?}", town.events);
}

#[test]
fn it_takes_two_datagrams_each_way_and_no_answer_is_longer_than_its_question() {
    let mut town = Town::new(never);
    town.restart(7);
    town.sent.clear();
    town.run(Duration::from_secs(20));
    let lengths: Vec<_> = town.sent.iter().map(|datagram| (datagram[0], datagram.len())).collect();
    assert_eq!(lengths.len(), 2, "{lengths:?}");
    let mut probe = server(9, 7, town.start, town.now);
    probe.handle_datagram(town.now, at(9), LOCAL, &town.sent[0]);
    let (_, error) = probe.poll_transmit(town.now).unwrap();
    assert_eq!(error.payload[0], UNKNOWN_SLOT);
    assert!(error.payload.len() < town.sent[0].len());
    assert!(town.sent[1].len() <= 200, "{}", town.sent[1].len());
}

#[test]
fn lost_datagrams_delay_the_return_and_rarely_lead_to_a_handshake() {
    let mut returned = 0;
    for seed in 0..50 {
        let mut town = Town::new(never);
        // A fifth is lost, by chance (Knuth's multiplicative hash).
        town.lost = |n| (n.wrapping_mul(2_654_435_761) >> 12) % 5 == 0;
        town.datagrams = seed * 1_000;
        town.run(Duration::from_secs(65));
        town.restart(7);
        town.run(Duration::from_secs(70));
        let counters = town.server.counters();
        assert!(counters.returned + counters.signed_in > 0, "seed {seed}");
        returned += counters.returned.min(1);
    }
    assert!(returned >= 45, "{returned} of 50");
}

#[test]
fn a_rendezvous_with_another_key_or_a_peer_with_an_old_ticket_leads_to_a_sign_in_at_once() {
    let mut town = Town::new(never);
    town.restart(8);
    town.run(Duration::from_secs(20));
    assert!(town.is_registered());
    assert_eq!((town.sign_ins, town.server.counters().tickets_refused), (2, 1));

    let mut town = Town::new(never);
    // The peer sleeps for nine days, while the world goes on.
    town.now += 9 * DAY;
    town.restart(7);
    town.run(Duration::from_secs(1));
    assert!(town.is_registered());
    assert_eq!((town.sign_ins, town.server.counters().tickets_refused), (2, 1));
}

#[test]
fn who_stays_registered_for_a_month_still_holds_a_ticket_that_opens() {
    let mut town = Town::new(never);
    town.client.set_keepalive(Profile::Frugal, Duration::from_secs(600), town.now);
    town.run(30 * DAY);
    town.restart(7);
    town.run(Duration::from_secs(600));
    assert!(town.is_registered());
    assert_eq!(town.sign_ins, 1);
}

#[test]
fn the_old_keys_mean_nothing_after_a_return() {
    let mut town = Town::new(never);
    town.run(Duration::from_secs(70));
    let old = town.sent.clone();
    town.restart(7);
    town.run(Duration::from_secs(20));
    let before = town.server.counters();
    for datagram in &old {
        assert!(town.arrive(at(66), datagram).iter().all(|(_, answer)| answer[0] == UNKNOWN_SLOT));
    }
    assert_eq!(town.server.counters().keepalives, before.keepalives);
    assert!(town.is_registered());
}

#[test]
fn a_recorded_return_moves_and_ends_nothing() {
    let mut town = Town::new(never);
    town.restart(7);
    town.run(Duration::from_secs(20));
    let recorded = town.recorded(RETURN);
    // From elsewhere: the token is not for there.
    let answers = town.arrive(at(66), &recorded);
    assert!(answers.iter().all(|(to, answer)| *to == at(66) && answer[0] == UNKNOWN_SLOT), "{answers:?}");
    // With a forged source, once the peer has used its new keys: nothing at all.
    town.client.handle_network_change(town.now);
    town.run(Duration::from_millis(1));
    let returned = town.server.counters().returned;
    assert_eq!(town.arrive(at(1), &recorded), []);
    assert_eq!(town.server.counters().returned, returned);
    town.run(Duration::from_secs(300));
    assert!(town.is_registered());
    assert_eq!(town.events.iter().filter(|event| **event == Event::Unregistered).count(), 1, "only the restart");
    // To the next process the token says nothing.
    town.restart(7);
    assert_eq!(town.arrive(at(1), &recorded)[0].1[0], UNKNOWN_SLOT);
    assert_eq!(town.server.registrations(), 0);
}

#[test]
fn a_return_of_a_registration_that_has_ended_has_keys_of_its_own() {
    let mut town = Town::new(never);
    town.restart(7);
    town.run(Duration::from_secs(20));
    let (recorded, keepalives) = (town.recorded(RETURN), town.sent.len());
    town.client.send(ToRendezvous::Goodbye, town.now).unwrap();
    town.run(Duration::from_millis(1));
    assert_eq!(town.server.registrations(), 0);
    let said = town.sent.split_off(keepalives);
    // Whoever recorded it may bring a ghost about within seconds, but says nothing in its name.
    let answers = town.arrive(at(1), &recorded);
    assert_eq!(answers[0].1[0], RETURNED);
    for datagram in said {
        assert_eq!(town.arrive(at(1), &datagram)[0].1[0], UNKNOWN_SLOT);
    }
}

#[test]
fn an_answer_that_was_lost_is_given_again_and_the_registration_is_the_same() {
    let mut town = Town::new(never);
    town.restart(7);
    town.run(Duration::from_secs(19));
    town.lost = |n| n == 4 + 2;
    town.datagrams = 2;
    town.run(Duration::from_secs(3));
    assert!(town.is_registered());
    assert_eq!(town.server.counters().returned, 1);
    town.run(Duration::from_secs(100));
    assert!(town.is_registered());
    assert_eq!(town.sign_ins, 1);
}

#[test]
fn a_peer_that_moves_while_it_returns_is_registered_where_it_is() {
    let mut town = Town::new(never);
    town.restart(7);
    town.run(Duration::from_secs(19));
    // Asked from the first address, its ticket comes from the second.
    town.lost = |n| n == 3;
    town.datagrams = 0;
    town.run(Duration::from_secs(1));
    town.address = at(2);
    town.run(Duration::from_secs(3));
    assert!(town.is_registered(), "{:?}", town.client.observed());
    assert_eq!((town.sign_ins, town.client.observed()), (1, Some(at(2))));
}

#[test]
fn a_rendezvous_that_was_away_for_minutes_finds_its_peers_by_their_tickets() {
    let mut town = Town::new(never);
    town.lost = |_| true;
    // Sign-ins fail as well while it is away: the harness answers them, so they are counted afterwards.
    let mut asked = 0;
    for _ in 0..600 {
        town.now += Duration::from_secs(1);
        town.client.handle_timeout(town.now);
        while let Some(event) = town.client.poll_event() {
            if event == Event::SignIn {
                town.client.handle_sign_in_failed(town.now);
            }
        }
        while town.client.poll_transmit(town.now).is_some() {
            asked += 1;
        }
    }
    assert!((20..150).contains(&asked), "{asked} datagrams in ten minutes");
    town.lost = never;
    town.restart(7);
    town.client.handle_network_change(town.now);
    town.run(Duration::from_secs(1));
    assert!(town.is_registered());
    assert_eq!(town.server.counters().returned, 1);
}

#[test]
fn a_flood_of_tickets_is_answered_little_and_leaves_nothing() {
    let mut town = Town::new(never);
    town.restart(7);
    town.run(Duration::from_secs(20));
    let recorded = town.recorded(RETURN);
    let (mut sent, mut answered) = (0, 0);
    for n in 0..20_000_usize {
        let mut datagram = recorded.clone();
        let at_byte = n % (datagram.len() - 1) + 1;
        datagram[at_byte] ^= (n % 255 + 1) as u8;
        if n % 7 == 0 {
            datagram.truncate(n % recorded.len());
        }
        sent += datagram.len();
        if datagram.is_empty() {
            continue;
        }
        answered += town.arrive(at(66), &datagram).iter().map(|(_, answer)| answer.len()).sum::<usize>();
    }
    assert!(answered <= sent / 8, "{answered} of {sent} bytes");
    assert_eq!(town.server.registrations(), 1);
    assert!(town.server.counters().dropped_unadmitted > 10_000, "{:?}", town.server.counters());
}

#[test]
fn a_closing_rendezvous_takes_no_ticket() {
    let mut town = Town::new(never);
    town.restart(7);
    town.server.closing();
    town.run(Duration::from_secs(22));
    assert_eq!(town.server.registrations(), 0);
    assert_eq!(town.server.counters().returned, 0);
}

#[test]
fn the_first_that_a_moved_peer_says_moves_its_registration() {
    let mut town = Town::new(never);
    town.address = at(2);
    let (introduction, to) = (IntroductionId([1; 12]), PeerId::new([9; 32]));
    town.client
        .send(
            ToRendezvous::Invite { introduction, to, candidates: Vec::new(), relay_only: false, greeting: None },
            town.now,
        )
        .unwrap();
    town.run(Duration::from_millis(1));
    assert_eq!(town.client.observed(), Some(at(2)));
    assert_eq!(town.server.counters().moved, 1);
    // The answer went to the old address at first; it follows at once.
    assert!(matches!(town.events[..], [.., Event::Control(_)]), "{:?}", town.events);
}

#[test]
fn a_second_move_while_the_first_is_challenged_is_followed_too() {
    let mut town = Town::new(never);
    town.address = at(2);
    town.client.handle_network_change(town.now);
    // The challenge comes to the second address; the answer leaves from a third.
    let question = town.client.poll_transmit(town.now).unwrap();
    town.arrive(at(2), &question.payload);
    town.address = at(3);
    town.run(Duration::from_secs(1));
    assert!(town.is_registered(), "{:?}", town.client.observed());
    assert_eq!(town.client.observed(), Some(at(3)));
}

#[test]
fn a_move_whose_answer_is_lost_is_repeated_within_a_second() {
    for lost in [|n| n == 3, |n| n == 4, |n| n == 2] as [Loss; 3] {
        let mut town = Town::new(never);
        town.run(Duration::from_secs(19));
        town.address = at(2);
        (town.lost, town.datagrams) = (lost, 0);
        town.run(Duration::from_millis(2_100));
        assert!(town.client.observed() == Some(at(2)) || lost(2), "{:?}", town.client.observed());
        town.run(Duration::from_secs(20));
        assert_eq!(town.client.observed(), Some(at(2)));
    }
}

#[test]
fn a_stranger_s_keepalive_for_a_slot_tells_nothing_of_its_owner() {
    let mut town = Town::new(never);
    let forged = keepalive(&TagKey::from_bytes([9; 16]), 0, 1, true);
    let answers = town.arrive(at(66), &forged);
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].1[0], answers[0].1.len()), (UNKNOWN_SLOT, 24));
    assert!(town.is_registered());
}

#[test]
fn leaving_and_returning_is_no_way_to_endless_invitations() {
    let mut town = Town::new(never);
    for _ in 0..200 {
        town.client.send(ToRendezvous::Goodbye, town.now).ok();
        town.run(Duration::from_millis(1));
        town.client.handle_network_change(town.now);
        town.run(Duration::from_millis(1));
    }
    let counters = town.server.counters();
    assert!((60..=70).contains(&counters.returned), "{counters:?}");
}
