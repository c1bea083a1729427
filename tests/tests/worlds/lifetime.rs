//! A frugal peer behind a simulated NAT: registration, lifetime search and NAT with a clock moved by hand
//! (docs/protocol.md, "Lifetime").
#![expect(clippy::unwrap_used, reason = "all of it is test code, which fails by panicking")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_lab::nat::{Behaviour, Expiry, Nat, NatKind};
use knothole_proto::datagram::Header;
use knothole_proto::identity::PeerId;
use knothole_proto::lifetime::{self, Known, Lifetime, Trial};
use knothole_proto::registration::client::{Client, Event};
use knothole_proto::registration::echo::Requests;
use knothole_proto::registration::{Profile, SignInRequest};
use knothole_proto::seal::RegistrationSecret;
use knothole_rendezvous::{LocalSocket, Policy, Server};

const MAIN: u16 = 4000;
const LOCAL: LocalSocket = LocalSocket(0);
const HOUR: Duration = Duration::from_secs(3600);

fn rendezvous() -> SocketAddr {
    ([192, 0, 2, 9], 3478).into()
}

struct Spare {
    requests: Requests,
    port: u16,
    due: Instant,
    answered: bool,
    borne: bool,
}

/// One frugal peer, its NAT and its rendezvous.
struct Town {
    nat: Nat,
    server: Server,
    client: Client,
    lifetime: Lifetime,
    profile: Profile,
    spare: Option<Spare>,
    next_port: u16,
    now: Instant,
    datagrams: VecDeque<(u16, Vec<u8>)>,
    /// Moments at which the rendezvous could not have reached the peer, sampled once a second.
    unreachable: u32,
    sign_ins: u32,
    bytes: usize,
    events: BTreeMap<&'static str, u32>,
}

impl Town {
    fn new(expiry: Expiry, profile: Profile, known: Known) -> Self {
        let now = Instant::now();
        let behaviour = Behaviour { expiry, ..NatKind::EimApdfRandom.behaviour().unwrap() };
        let mut town = Self {
            nat: Nat::new(behaviour, vec![[203, 0, 113, 1].into()], 1),
            server: Server::new(Policy::default(), [1; 32], now),
            client: Client::new([2; 32], now),
            lifetime: Lifetime::new(profile, known),
            profile,
            spare: None,
            next_port: 5000,
            now,
            datagrams: VecDeque::new(),
            unreachable: 0,
            sign_ins: 0,
            bytes: 0,
            events: BTreeMap::new(),
        };
        town.client.set_keepalive(profile, town.lifetime.interval(), now);
        town
    }

    fn inside(port: u16) -> SocketAddr {
        ([10, 0, 0, 2], port).into()
    }

    /// A datagram of the peer's goes out, and the answers come in.
    fn send(&mut self, port: u16, payload: &[u8]) {
        // IPv4's and UDP's headers.
        self.bytes += payload.len() + 28;
        let Some(from) = self.nat.outbound(self.now, Self::inside(port), rendezvous()) else { return };
        self.server.handle_datagram(self.now, from, LOCAL, payload);
        self.deliver();
    }

    fn deliver(&mut self) {
        while let Some((_, transmit)) = self.server.poll_transmit(self.now) {
            if let Some(inside) = self.nat.inbound(self.now, rendezvous(), transmit.to) {
                self.bytes += transmit.payload.len() + 28;
                self.datagrams.push_back((inside.port(), transmit.payload));
            }
        }
        while let Some((port, payload)) = self.datagrams.pop_front() {
            match self.spare.as_mut().filter(|spare| spare.port == port) {
                Some(spare) => match spare.requests.answered(&payload) {
                    Some(true) => spare.borne = true,
                    Some(false) => spare.answered = true,
                    None => {}
                },
                None if port == MAIN => {
                    let header = Header::parse(&payload).unwrap();
                    self.client.handle_datagram(rendezvous(), header, &payload, self.now);
                }
                None => {}
            }
        }
    }

    fn drain(&mut self) {
        loop {
            while let Some(event) = self.client.poll_event() {
                match event {
                    Event::SignIn => self.sign_in(),
                    Event::Registered { observed } => self.lifetime.handle_observed(observed, self.now),
                    _ => {}
                }
            }
            while let Some(event) = self.lifetime.poll_event() {
                self.obey(event);
            }
            let Some(transmit) = self.client.poll_transmit(self.now) else { return };
            self.send(MAIN, &transmit.payload);
        }
    }

    fn sign_in(&mut self) {
        self.sign_ins += 1;
        let from = self.nat.outbound(self.now, Self::inside(MAIN), rendezvous()).unwrap();
        let secret = RegistrationSecret([self.sign_ins as u8; 32]);
        let request = SignInRequest { interval_s: self.client.interval().as_secs() as u16, unseen: false };
        let answer = self.server.sign_in(self.now, LOCAL, PeerId::new([3; 32]), from, &request, &secret);
        self.nat.inbound(self.now, rendezvous(), from);
        self.client.handle_signed_in(rendezvous(), &answer, &secret, self.now);
    }

    fn obey(&mut self, event: lifetime::Event) {
        match event {
            lifetime::Event::Interval(interval) => self.client.set_keepalive(self.profile, interval, self.now),
            lifetime::Event::Trial { delay_s } => {
                *self.events.entry("trial").or_default() += 1;
                let Some(requests) = self.client.echo_requests(delay_s) else {
                    return self.lifetime.handle_trial(Trial::Void, self.now);
                };
                self.next_port += 1;
                let due = self.now + Duration::from_secs(u64::from(delay_s) + 1);
                let first = requests.datagrams[0].clone();
                self.spare = Some(Spare { requests, port: self.next_port, due, answered: false, borne: false });
                self.send(self.next_port, &first);
            }
            lifetime::Event::Renew => *self.events.entry("renew").or_default() += 1,
            lifetime::Event::Learnt(_) => {}
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.server.handle_timeout(self.now);
            self.deliver();
            self.client.handle_timeout(self.now);
            self.lifetime.handle_timeout(self.now);
            if self.spare.as_ref().is_some_and(|spare| spare.due <= self.now)
                && let Some(spare) = self.spare.take()
            {
                let trial = match (spare.answered, spare.borne) {
                    (_, true) => Trial::Borne,
                    (true, false) => Trial::Died,
                    (false, false) => Trial::Void,
                };
                self.lifetime.handle_trial(trial, self.now);
            }
            self.drain();
            self.now += Duration::from_secs(1);
            // Asked of a copy, so that asking keeps nothing alive.
            let reached = self.client.observed().and_then(|at| self.nat.clone().inbound(self.now, rendezvous(), at));
            self.unreachable += u32::from(reached != Some(Self::inside(MAIN)));
        }
    }
}

#[test]
fn a_frugal_peer_finds_an_interval_that_its_nat_bears_and_stays_reachable() {
    for idle_s in [30, 35, 65, 120, 300, 7_200] {
        for refreshed_inbound in [true, false] {
            let expiry = Expiry { refreshed_inbound, ..Expiry::after(Duration::from_secs(idle_s)) };
            let mut town = Town::new(expiry, Profile::Frugal, Known::default());
            town.run(2 * HOUR);
            let interval = town.client.interval().as_secs();
            assert!(interval < idle_s && interval <= 600, "{idle_s} s: {interval} s");
            assert!(interval >= idle_s.min(600) / 2, "{idle_s} s: {interval} s");
            assert_eq!((town.unreachable, town.sign_ins), (0, 1), "{idle_s} s, {:?}", town.lifetime);
            let (trials, bytes) = (town.events["trial"], town.bytes);
            town.run(4 * HOUR);
            assert_eq!(town.events["trial"], trials, "the search is over");
            assert_eq!((town.unreachable, town.sign_ins), (0, 1), "{idle_s} s");
            // Each keepalive asks, once they are rare: 60 bytes there, 76 back.
            let most = 4 * 3600 / interval as usize * 136 + 136;
            assert!(town.bytes - bytes <= most, "{idle_s} s: {} bytes", town.bytes - bytes);
        }
    }
}

#[test]
fn a_linux_router_that_forgets_unanswered_mappings_sooner_is_measured_by_answered_ones() {
    let mut town = Town::new(Expiry::LINUX, Profile::Frugal, Known::default());
    town.run(2 * HOUR);
    assert!((60..120).contains(&town.client.interval().as_secs()), "{:?}", town.lifetime);
    assert_eq!(town.unreachable, 0);
}

#[test]
fn a_nat_that_becomes_impatient_is_noticed_and_measured_again() {
    let known = Known { borne_s: 300, died_s: 330, absolute_s: 0 };
    let mut town = Town::new(Expiry::after(Duration::from_secs(65)), Profile::Frugal, known);
    assert_eq!(town.client.interval().as_secs(), 240);
    town.run(HOUR);
    let unreachable = town.unreachable;
    assert!((1..600).contains(&unreachable), "{unreachable} s");
    town.run(4 * HOUR);
    assert_eq!(town.unreachable, unreachable);
    assert!((32..65).contains(&town.client.interval().as_secs()), "{:?}", town.lifetime);
    assert_eq!(town.sign_ins, 1);
}

#[test]
fn an_absolute_lifetime_is_recognised_and_the_fresh_socket_asked_for_before_it_ends() {
    for profile in [Profile::Default, Profile::Strict, Profile::Frugal] {
        let lifetime = Some(Duration::from_secs(65));
        let mut town = Town::new(Expiry { lifetime, ..Expiry::TWO_MINUTES }, profile, Known::default());
        town.run(2 * HOUR);
        let known = town.lifetime.known();
        assert!((40..=65).contains(&known.absolute_s), "{profile:?}: {known:?}");
        assert!(town.events["renew"] > 20, "{profile:?}: {:?}", town.events);
        assert_eq!(town.sign_ins, 1, "the registration follows every new mapping");
    }
}

/// Bytes an hour of a registration alone, IPv4 and UDP headers included; the table in docs/protocol.md, "Keepalive".
#[test]
fn a_registration_costs_what_the_table_says() {
    let cost = |profile, borne_s, idle: Duration| {
        let known = Known { borne_s, died_s: borne_s + 1, absolute_s: 0 };
        let mut town = Town::new(Expiry::after(idle), profile, known);
        town.run(HOUR);
        let before = town.bytes;
        town.run(HOUR);
        town.bytes - before
    };
    let patient = Duration::from_secs(7_200);
    assert_eq!(cost(Profile::Default, 0, patient), 180 * 60 + 60 * 76);
    assert_eq!(cost(Profile::Strict, 0, patient), 1_200 * (60 + 76));
    assert!((15..=17).contains(&(cost(Profile::Frugal, 280, patient) / 136)));
}
