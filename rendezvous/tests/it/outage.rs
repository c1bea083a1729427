//! A rendezvous that is away: invitations go through the next one, and what lives stays (docs/protocol.md, "Introduction").
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "all of it is test code, which fails by panicking and needs some instant to begin with"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::datagram::{Kind, classify};
use knothole_proto::identity::PeerId;
use knothole_proto::path::{Base, Config};
use knothole_proto::seal::RegistrationSecret;
use knothole_proto::traversal::{ContactId, Event, RendezvousId, Traversal};
use knothole_rendezvous::{LocalSocket, Policy, Server};

const LOCAL: LocalSocket = LocalSocket(0);
/// One way through the simulated network.
const DELAY: Duration = Duration::from_millis(20);
const CONTACT: ContactId = ContactId(0);
/// Both rendezvous, in the order of the contacts' preference.
const BOTH: [RendezvousId; 2] = [RendezvousId(0), RendezvousId(1)];

fn rendezvous(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n as u8 + 1], 3478))
}

fn peer(n: usize) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, n as u8 + 1], 4000))
}

/// Two peers without NATs and two rendezvous, each of which may be away.
struct Town {
    servers: [Server; 2],
    away: [bool; 2],
    peers: [Traversal; 2],
    events: [Vec<(Instant, Event)>; 2],
    sign_ins: u8,
    now: Instant,
    start: Instant,
    /// On its way: when it arrives, a number that keeps the order, whence, whither, what.
    wire: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    /// Whether datagrams between the two peers are lost.
    apart: bool,
}

impl Town {
    fn new() -> Self {
        let now = Instant::now();
        let mut peers = [1, 2].map(|n| Traversal::new(PeerId::new([n; 32]), Config::default(), [n; 32]));
        for (n, traversal) in peers.iter_mut().enumerate() {
            traversal.set_hosts(vec![peer(n)], now);
            BOTH.iter().for_each(|id| traversal.add_rendezvous(*id, now));
            traversal.add_contact(CONTACT, PeerId::new([2 - n as u8; 32]), BOTH.to_vec());
        }
        let servers = [3, 4].map(|n| Server::new(Policy::default(), [n; 32], now).with_tickets(&[n; 32], 0));
        let events = [Vec::new(), Vec::new()];
        let (away, wire) = ([false; 2], BTreeMap::new());
        let mut town = Self { servers, away, peers, events, sign_ins: 0, now, start: now, wire, sent: 0, apart: false };
        town.run(Duration::from_secs(1));
        assert!(town.servers.iter().all(|server| server.registrations() == 2));
        town
    }

    fn post(&mut self, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        self.sent += 1;
        self.wire.insert((self.now + DELAY, self.sent), (from, to, payload));
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        for n in 0..2 {
            if to == rendezvous(n) && !self.away[n] {
                self.servers[n].handle_datagram(self.now, from, LOCAL, payload);
            }
            let lost = self.apart && from == peer(1 - n);
            // What is QUIC is the engine's.
            if to == peer(n) && !lost && classify(payload[0]) != Kind::Quic {
                self.peers[n].handle_datagram(Base::MAIN, from, payload, self.now);
            }
        }
    }

    fn drain(&mut self) {
        for n in 0..2 {
            while let Some(event) = self.peers[n].poll_event() {
                if let Event::SignIn(id) = event {
                    self.sign_in(n, id);
                }
                self.events[n].push((self.now, event));
            }
            while let Some(transmit) = self.peers[n].poll_transmit(self.now) {
                if transmit.ttl.is_none() {
                    self.post(peer(n), transmit.to, transmit.payload);
                }
            }
            while let Some((_, transmit)) = self.servers[n].poll_transmit(self.now) {
                if !self.away[n] {
                    self.post(rendezvous(n), transmit.to, transmit.payload);
                }
            }
        }
    }

    fn sign_in(&mut self, n: usize, id: RendezvousId) {
        self.sign_ins += 1;
        let index = id.0 as usize;
        if self.away[index] {
            return self.peers[n].handle_sign_in_failed(id, self.now);
        }
        let secret = RegistrationSecret([self.sign_ins; 32]);
        let request = self.peers[n].sign_in_request(id).unwrap();
        let me = PeerId::new([n as u8 + 1; 32]);
        let answer = self.servers[index].sign_in(self.now, LOCAL, me, peer(n), &request, &secret);
        self.peers[n].handle_signed_in(id, rendezvous(index), &answer, &secret, self.now);
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            for n in 0..2 {
                self.peers[n].handle_timeout(self.now);
                self.servers[n].handle_timeout(self.now);
            }
            self.drain();
            let machines = (0..2).flat_map(|n| [self.peers[n].poll_timeout(), self.servers[n].poll_timeout()]);
            let next = machines.chain([self.wire.keys().next().map(|(at, _)| *at)]).flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next.max(self.now);
            while let Some(((at, number), (from, to, payload))) = self.wire.pop_first() {
                if at > self.now {
                    self.wire.insert((at, number), (from, to, payload));
                    break;
                }
                self.arrive(from, to, &payload);
            }
        }
        self.now = end;
    }

    /// How long after `since` this peer had a path, if it has one.
    fn path_after(&self, n: usize, since: Instant) -> Option<Duration> {
        let path = |(at, event): &&(Instant, Event)| *at >= since && matches!(event, Event::Path { .. });
        self.events[n].iter().find(path).map(|(at, _)| *at - since)
    }

    fn saw(&self, n: usize, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events[n].iter().any(|(_, event)| wanted(event))
    }
}

#[test]
fn an_invitation_that_the_first_rendezvous_does_not_take_goes_through_the_next_within_a_second() {
    let mut town = Town::new();
    town.away[0] = true;
    let asked = town.now;
    town.peers[0].connect(CONTACT, town.now);
    town.run(Duration::from_secs(3));
    let took = town.path_after(0, asked).unwrap();
    assert!(took <= Duration::from_millis(1_000), "{took:?}");
}

#[test]
fn once_the_first_is_known_to_be_away_the_next_is_asked_without_a_pause() {
    let mut town = Town::new();
    town.away[0] = true;
    town.run(Duration::from_secs(80));
    assert!(town.saw(0, |event| *event == Event::Unregistered(BOTH[0])));
    assert!(!town.saw(0, |event| *event == Event::Unregistered(BOTH[1])));
    let asked = town.now;
    town.peers[0].connect(CONTACT, town.now);
    town.run(Duration::from_secs(3));
    // Two trips to the rendezvous and back, and a check.
    let took = town.path_after(0, asked).unwrap();
    assert!(took <= DELAY * 8, "{took:?}");
}

#[test]
fn a_living_path_stays_while_every_rendezvous_is_away_and_they_are_found_again() {
    let mut town = Town::new();
    town.peers[0].connect(CONTACT, town.now);
    town.run(Duration::from_secs(2));
    assert!(town.path_after(0, town.start).is_some());
    town.away = [true; 2];
    town.run(Duration::from_secs(300));
    assert!(!town.saw(0, |event| matches!(event, Event::PathLost(_))), "consent needs no rendezvous");
    town.away = [false; 2];
    town.run(Duration::from_secs(65));
    for (n, server) in town.servers.iter().enumerate() {
        assert_eq!(server.registrations(), 2, "rendezvous {n}");
        // The registrations had ended in the meantime: tickets brought them back.
        assert_eq!((server.counters().signed_in, server.counters().returned), (2, 2), "rendezvous {n}");
    }
}

#[test]
fn a_path_that_breaks_while_the_first_rendezvous_is_away_is_found_again_through_the_next() {
    let mut town = Town::new();
    town.peers[0].connect(CONTACT, town.now);
    town.run(Duration::from_secs(2));
    (town.away[0], town.apart) = (true, true);
    town.run(Duration::from_secs(40));
    assert!(town.saw(0, |event| matches!(event, Event::PathLost(_))));
    town.apart = false;
    let again = town.now;
    town.peers[0].connect(CONTACT, town.now);
    town.run(Duration::from_secs(15));
    assert!(town.path_after(0, again).is_some());
}

#[test]
fn a_peer_whose_relay_falls_silent_is_back_at_a_restarted_rendezvous_at_once() {
    let mut town = Town::new();
    town.peers[0].connect(CONTACT, town.now);
    town.run(Duration::from_secs(2));
    assert!(town.saw(0, |event| matches!(event, Event::Relay { .. })));
    town.servers[0] = Server::new(Policy::default(), [9; 32], town.now).with_tickets(&[3; 32], 0);
    town.peers[0].handle_relay_silence(CONTACT, town.now);
    // A question and its answer, the ticket and its answer.
    town.run(DELAY * 4);
    let counters = town.servers[0].counters();
    assert_eq!((counters.returned, counters.signed_in), (1, 0));
    assert!(town.saw(0, |event| *event == Event::RelayClosed(CONTACT)), "the channel went with the old process");
    assert!(town.peers[0].path(CONTACT).is_some(), "and the path stays");
}
