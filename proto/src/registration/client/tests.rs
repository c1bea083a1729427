use super::*;
use crate::datagram::Header;
use crate::keepalive;
use crate::registration::KEEPALIVE_INTERVAL;
use crate::registration::server::{Challenger, Outcome, Registration};

const RENDEZVOUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 3478);
const SLOT: u32 = 4;

fn observed(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 1], port))
}

struct World {
    client: Client,
    server: Registration,
    challenger: Challenger,
    now: Instant,
}

fn registered() -> World {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    let now = Instant::now();
    let mut client = Client::new([1; 32], now);
    client.handle_timeout(now);
    assert_eq!(client.poll_event(), Some(Event::SignIn));
    let secret = RegistrationSecret([2; 32]);
    let answer = SignInAnswer::Registered { slot: SLOT, lifetime_s: 40, observed: observed(1), ticket: vec![9; 117] };
    client.handle_signed_in(RENDEZVOUS, &answer, &secret, now);
    assert_eq!(client.poll_event(), Some(Event::Registered { observed: observed(1) }));
    let peer = crate::identity::PeerId::new([3; 32]);
    let server = Registration::new(peer, &secret, observed(1), Duration::from_secs(40), now);
    World { client, server, challenger: Challenger::new([4; 16], now), now }
}

impl World {
    /// Advances to the next deadline and returns what the client sends then.
    fn advance(&mut self) -> Vec<Transmit> {
        self.now = self.client.poll_timeout().unwrap().max(self.now);
        self.client.handle_timeout(self.now);
        std::iter::from_fn(|| self.client.poll_transmit(self.now)).collect()
    }

    /// Lets the server have a datagram that seems to come from this port, and the client have its answer.
    fn exchange(&mut self, transmit: &Transmit, port: u16) {
        let header = Header::parse(&transmit.payload).unwrap();
        let outcome = self.server.handle(header, &transmit.payload, observed(port), self.now, &self.challenger);
        if let Outcome::Answer(answer) | Outcome::Challenge(answer) | Outcome::Moved(answer) = outcome {
            self.client.handle_datagram(RENDEZVOUS, Header::parse(&answer).unwrap(), &answer, self.now);
        }
    }
}

#[test]
fn it_is_known_since_when_a_question_is_unanswered() {
    let mut world = registered();
    world.client.handle_network_change(world.now);
    let (asked, first) = (world.now, world.client.poll_transmit(world.now).unwrap());
    for _ in 0..3 {
        assert_eq!(world.client.unanswered_since(), Some(asked));
        world.advance();
    }
    world.exchange(&first, 1);
    assert_eq!(world.client.unanswered_since(), None);
}

#[test]
fn a_rendezvous_that_is_doubted_again_and_again_is_given_up_all_the_same() {
    let mut world = registered();
    let (start, patience) = (world.now, Duration::from_secs(7));
    let mut doubts = 0;
    while world.client.poll_event() != Some(Event::Unregistered) {
        // As a relayed contact that does not answer has it doubted.
        let next = start + Duration::from_millis(1150) * doubts;
        if world.client.poll_timeout().is_none_or(|due| next < due) {
            world.now = next;
            doubts += 1;
            world.client.handle_doubt(next);
        } else {
            world.advance();
        }
        assert!(world.now - start <= patience, "not given up after {:?}", world.now - start);
    }
}

#[test]
fn keepalives_come_every_interval_and_each_third_is_answered() {
    let mut world = registered();
    let start = world.now;
    for n in 1..=9 {
        let sent = world.advance();
        assert_eq!(sent.len(), 1);
        assert_eq!(world.now, start + KEEPALIVE_INTERVAL * n);
        assert_eq!(world.client.active.as_ref().unwrap().asked.is_some(), n % 3 == 0, "keepalive {n}");
        world.exchange(&sent[0], 1);
    }
    assert_eq!(world.client.poll_event(), None);
}

#[test]
fn a_new_mapping_moves_the_registration_within_one_keepalive() {
    let mut world = registered();
    let sent = world.advance();
    world.exchange(&sent[0], 2);
    let answer = world.client.poll_transmit(world.now).unwrap();
    world.exchange(&answer, 2);
    assert_eq!(world.client.poll_event(), Some(Event::Registered { observed: observed(2) }));
    assert_eq!(world.server.address(), observed(2));
}

#[test]
fn a_rendezvous_that_does_not_answer_is_left_within_three_intervals_and_seven_seconds() {
    let mut world = registered();
    let start = world.now;
    while world.client.poll_event() != Some(Event::Unregistered) {
        world.advance();
    }
    assert!(world.now - start <= KEEPALIVE_INTERVAL * 3 + Duration::from_secs(7));
    world.advance();
    assert_eq!(world.client.poll_event(), Some(Event::SignIn));
}

#[test]
fn an_unknown_slot_is_believed_only_with_the_echo_of_what_was_sent() {
    let mut world = registered();
    let sent = world.advance();
    let forged = keepalive::unknown_slot(SLOT, &[0; 32], None).unwrap();
    world.client.handle_datagram(RENDEZVOUS, Header::parse(&forged).unwrap(), &forged, world.now);
    assert_eq!(world.client.poll_event(), None);
    let error = keepalive::unknown_slot(SLOT, &sent[0].payload, None).unwrap();
    world.client.handle_datagram(RENDEZVOUS, Header::parse(&error).unwrap(), &error, world.now);
    assert_eq!(world.client.poll_event(), Some(Event::Unregistered));
    world.advance();
    assert_eq!(world.client.poll_event(), Some(Event::SignIn), "no ticket helps: at once, without a pause");
}

#[test]
fn a_recorded_answer_neither_answers_a_later_question_nor_brings_a_lost_registration_back() {
    let mut world = registered();
    world.client.handle_network_change(world.now);
    let question = world.client.poll_transmit(world.now).unwrap();
    let recorded = keepalive::observed(&crate::seal::TagKey::new(&RegistrationSecret([2; 32])), SLOT, 1, observed(1));
    world.exchange(&question, 1);
    let replay = |world: &mut World| {
        world.client.handle_datagram(RENDEZVOUS, Header::parse(&recorded).unwrap(), &recorded, world.now);
    };
    world.now += Duration::from_secs(1);
    world.client.handle_network_change(world.now);
    replay(&mut world);
    assert!(world.client.unanswered_since().is_some());
    while world.client.poll_event() != Some(Event::Unregistered) {
        world.advance();
        replay(&mut world);
    }
    replay(&mut world);
    assert_eq!(world.client.observed(), None);
}

#[test]
fn failed_sign_ins_pause_longer_and_longer_up_to_a_minute() {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    let mut now = Instant::now();
    let mut client = Client::new([1; 32], now);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let due = client.poll_timeout().unwrap();
        pauses.push(due - now);
        now = due;
        client.handle_timeout(now);
        assert_eq!(client.poll_event(), Some(Event::SignIn));
        client.handle_sign_in_failed(now);
    }
    assert_eq!(pauses[0], Duration::ZERO);
    assert!(pauses[1] <= FIRST_PAUSE && pauses[1] >= FIRST_PAUSE / 2);
    assert!(pauses[11] <= LONGEST_PAUSE && pauses[11] >= LONGEST_PAUSE / 2);
}
