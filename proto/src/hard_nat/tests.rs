//! One side of an attempt at a time, and whatever the other may say to it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::identity::PeerId;
use crate::path::{Base, Transmit};
use crate::stun::discovery::binding_request;
use crate::stun::server::{Place, answer};

const ATTEMPT: u32 = 7;

fn server() -> SocketAddr {
    "198.51.100.1:3478".parse().unwrap()
}

fn target() -> SocketAddr {
    "203.0.113.9:40000".parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise; only differences matter here")]
fn epoch() -> Instant {
    Instant::now()
}

fn terms() -> Terms {
    Terms { attempt: ATTEMPT, target: target(), server: server(), opener_ttl: 2, check: vec![0; 76] }
}

/// An attempt, and what it has done so far.
struct Run {
    attempt: Attempt,
    now: Instant,
    sent: Vec<(Instant, Transmit)>,
    said: Vec<Word>,
    open: BTreeSet<Base>,
    most: usize,
    next: u16,
    outcome: Option<Outcome>,
    /// The port that the next fresh mapping has.
    port: fn(u16) -> u16,
}

impl Run {
    fn new(begin: impl FnOnce(Instant) -> Attempt, port: fn(u16) -> u16) -> Self {
        let now = epoch();
        let (sent, said, open) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut run = Self { attempt: begin(now), now, sent, said, open, most: 0, next: 1, outcome: None, port };
        run.drain();
        run
    }

    fn drain(&mut self) {
        loop {
            while let Some(transmit) = self.attempt.poll_transmit() {
                if transmit.to == server() {
                    let from = SocketAddr::from(([192, 0, 2, 1], (self.port)(transmit.base.0)));
                    let place = Place { local: server(), other: None };
                    let response = answer(&transmit.payload, from, &place).unwrap().payload;
                    self.attempt.handle_response(transmit.base, server(), &response, self.now);
                }
                self.sent.push((self.now, transmit));
            }
            match self.attempt.poll_action() {
                Some(Action::Open(count)) => {
                    let bases: Vec<_> = (self.next..self.next + count).map(Base).collect();
                    self.next += count;
                    self.open.extend(&bases);
                    self.most = self.most.max(self.open.len());
                    self.attempt.handle_bases(&bases, self.now);
                }
                Some(Action::Close(bases)) => bases.iter().for_each(|base| assert!(self.open.remove(base))),
                Some(Action::Say(word)) => self.said.push(word),
                Some(Action::Over(outcome)) => self.outcome = Some(outcome),
                None if self.attempt.poll_transmit().is_none() => return,
                None => {}
            }
        }
    }

    fn hear(&mut self, word: Word) {
        self.attempt.handle_word(word, self.now);
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.attempt.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.attempt.handle_timeout(self.now);
            self.drain();
            assert!(self.attempt.poll_timeout().is_none_or(|due| due > self.now), "time moves on");
        }
        self.now = end;
    }

    fn checks(&self) -> impl Iterator<Item = &(Instant, Transmit)> {
        self.sent.iter().filter(|(_, transmit)| transmit.to != server())
    }

    fn opened(&self) -> Vec<Word> {
        self.said.iter().filter(|word| matches!(word, Word::Open { .. })).copied().collect()
    }
}

fn led(port: fn(u16) -> u16) -> Run {
    let mut run = Run::new(|now| Attempt::lead(terms(), [1; 32], now), port);
    run.hear(Word::Grant { attempt: ATTEMPT, port: 0 });
    run.pass(Duration::from_secs(2));
    run
}

/// A port without order, for a number.
const fn scattered(number: u16) -> u16 {
    1024 + number.wrapping_mul(40_503) % 64_000
}

#[test]
fn a_sequence_is_foreseen_from_where_its_samples_end() {
    let run = led(|number| 5000 + 2 * number);
    let expected = Word::Open { attempt: ATTEMPT, round: 0, first: 5034, count: 64, step: 2, probes: 64 };
    assert_eq!(run.opened(), [expected]);
    assert_eq!((run.checks().count(), run.open.len()), (4, 4), "the rest was closed");
}

#[test]
fn a_block_is_probed_whole_and_widened_the_second_time() {
    let mut run = led(|number| 2048 + (scattered(number) & 511));
    let first = Word::Open { attempt: ATTEMPT, round: 0, first: 2048, count: 512, step: 0, probes: 512 };
    assert_eq!((run.opened(), run.open.len()), (vec![first], 32));
    run.hear(Word::Spent { attempt: ATTEMPT, round: 0 });
    let second = Word::Open { attempt: ATTEMPT, round: 1, first: 1793, count: 1022, step: 0, probes: 1022 };
    assert_eq!(run.opened(), [first, second]);
    run.hear(Word::Spent { attempt: ATTEMPT, round: 1 });
    assert_eq!(run.outcome, Some(Outcome::InVain(Tactic::BlockBirthday)));
}

#[test]
fn a_birthday_takes_256_sockets_whose_openers_die_on_the_way_before_a_word_is_said() {
    let run = led(scattered);
    assert_eq!((run.most, run.checks().count()), (256, 256));
    assert!(run.checks().all(|(_, opener)| opener.to == target() && opener.ttl == Some(2)));
    let bases: BTreeSet<_> = run.checks().map(|(_, opener)| opener.base).collect();
    assert_eq!(bases.len(), 256, "one each");
    let [Word::Open { first: 1024, count: 64_512, step: 0, probes: 1024, .. }] = run.opened()[..] else {
        panic!("{:?}", run.said)
    };
}

#[test]
fn nothing_is_sent_to_the_other_side_before_it_has_granted_it() {
    let mut run = Run::new(|now| Attempt::lead(terms(), [1; 32], now), scattered);
    run.pass(Duration::from_secs(30));
    assert_eq!((run.checks().count(), run.outcome), (0, Some(Outcome::Busy)));
}

#[test]
fn without_sockets_or_with_fewer_than_wanted_it_makes_do() {
    let mut attempt = Attempt::lead(terms(), [1; 32], epoch());
    attempt.handle_bases(&[], epoch());
    let actions: Vec<_> = std::iter::from_fn(|| attempt.poll_action()).collect();
    assert_eq!(actions.last(), Some(&Action::Over(Outcome::NoSockets)));
    let mut attempt = Attempt::lead(terms(), [1; 32], epoch());
    attempt.handle_bases(&[Base(1), Base(2)], epoch());
    assert!(attempt.poll_transmit().is_some());
}

#[test]
fn a_prober_keeps_its_pace_and_its_bound_whatever_it_is_told() {
    let mut run = Run::new(|now| Attempt::probe(terms(), [1; 32], now), scattered);
    let open = |round| Word::Open { attempt: ATTEMPT, round, first: 1024, count: u16::MAX, step: 0, probes: u16::MAX };
    for round in 0..5 {
        run.hear(open(round));
        run.hear(open(round));
        run.pass(Duration::from_secs(9));
    }
    assert_eq!(run.checks().count(), usize::from(MAX_PROBES));
    assert!(run.checks().all(|(_, probe)| probe.to.ip() == target().ip() && probe.base == Base(1)));
    assert_eq!(run.said[0], Word::Grant { attempt: ATTEMPT, port: scattered(1) });
    let ports: BTreeSet<_> = run.checks().map(|(_, probe)| probe.to.port()).collect();
    assert_eq!(ports.len(), usize::from(MAX_PROBES), "no port twice in a round");
    let times: Vec<_> = run.checks().map(|(at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(4)));
}

#[test]
fn parts_are_taken_by_what_is_known_of_both() {
    let nat = |mapping, ports| Nat { mapping, ports };
    let easy = nat(Mapping::EndpointIndependent, Ports::Unknown);
    let random = nat(Mapping::AddressAndPortDependent, Ports::Random);
    let sequential = nat(Mapping::AddressAndPortDependent, Ports::Sequential { step: 1 });
    let unknown = Nat::UNKNOWN;
    let kept = nat(Mapping::Unknown, Ports::Preserved);
    for (ours, theirs, first, second) in [
        (random, easy, Part::Lead, Part::Wait),
        (sequential, easy, Part::Lead, Part::Wait),
        (random, unknown, Part::Wait, Part::Wait),
        (unknown, easy, Part::Lead, Part::Wait),
        (unknown, unknown, Part::Wait, Part::Wait),
        (kept, unknown, Part::Wait, Part::Lead),
        (random, kept, Part::Lead, Part::Wait),
        (easy, easy, Part::Wait, Part::Wait),
        (sequential, sequential, Part::Meet, Part::Wait),
        (sequential, random, Part::Hopeless, Part::Hopeless),
        (random, random, Part::Hopeless, Part::Hopeless),
    ] {
        assert_eq!((part(ours, theirs, true), part(theirs, ours, false)), (first, second), "{ours:?} {theirs:?}");
    }
}

#[test]
fn what_fails_is_tried_ever_more_rarely_and_at_last_no_more_until_an_address_changes() {
    let mut now = epoch();
    let mut memory = Memory::default();
    let theirs: IpAddr = [203, 0, 113, 9].into();
    let networks = Networks { ours: [192, 0, 2, 1].into(), peer: PeerId::new([3; 32]), theirs };
    assert_eq!(memory.chance(networks), Chance::Now);
    for minutes in [1, 5, 30, 30, 30] {
        memory.note(networks, Tactic::Birthday, false, now);
        assert_eq!(memory.chance(networks), Chance::At(now + Duration::from_secs(60 * minutes)));
        now += Duration::from_secs(60 * minutes);
    }
    memory.note(networks, Tactic::Birthday, false, now);
    assert_eq!(memory.chance(networks), Chance::Never);
    assert_eq!(memory.chance(Networks { theirs: [203, 0, 113, 10].into(), ..networks }), Chance::Now);
    let again = Memory::recall(&memory.remembered(now), now);
    assert_eq!((again.chance(networks), again.remembered(now)), (Chance::Never, memory.remembered(now)));
    memory.note(networks, Tactic::Birthday, true, now);
    assert_eq!(memory.chance(networks), Chance::Known);
}

#[test]
fn the_memory_stays_small_and_keeps_what_is_newest() {
    let mut memory = Memory::default();
    let networks = |n: u16| Networks {
        ours: [192, 0, 2, 1].into(),
        peer: PeerId::new([3; 32]),
        theirs: IpAddr::from(std::net::Ipv4Addr::from_bits(n.into())),
    };
    for n in 0..1000 {
        memory.note(networks(n), Tactic::Prediction, true, epoch());
    }
    assert_eq!(memory.remembered(epoch()).len(), 256);
    assert_eq!((memory.chance(networks(999)), memory.chance(networks(1))), (Chance::Known, Chance::Now));
}

#[test]
fn a_ration_is_spent_earned_and_given_back() {
    let now = epoch();
    let mut ration = Ration::new(4, Duration::from_secs(10));
    assert!(ration.take(4, now) && !ration.take(1, now));
    assert!(!ration.take(1, now + Duration::from_secs(9)) && ration.take(1, now + Duration::from_secs(10)));
    ration.give(9);
    assert!(ration.take(4, now + Duration::from_secs(11)) && !ration.take(1, now + Duration::from_secs(11)));
}

fn survey(see: fn(SocketAddr) -> u16) -> (Survey, usize) {
    let mut survey = Survey::new([1; 32], false);
    let (now, mut asked) = (epoch(), 0);
    survey.handle_registered(server(), SocketAddr::from(([192, 0, 2, 1], see(server()))), now);
    while let Some(transmit) = survey.poll_transmit() {
        asked += 1;
        let other = |at: SocketAddr| {
            let ip: IpAddr = if at.ip() == server().ip() { [198, 51, 100, 2].into() } else { server().ip() };
            SocketAddr::new(ip, if at.port() == 3478 { 3479 } else { 3478 })
        };
        let from = SocketAddr::from(([192, 0, 2, 1], see(transmit.to)));
        let place = Place { local: transmit.to, other: Some(other(transmit.to)) };
        let response = answer(&transmit.payload, from, &place).unwrap().payload;
        assert!(survey.handle_response(transmit.to, &response, now));
    }
    (survey, asked)
}

#[test]
fn a_survey_asks_four_addresses_and_tells_how_the_nat_maps() {
    let (easy, asked) = survey(|_| 4000);
    assert_eq!((asked, easy.nat().mapping), (4, Mapping::EndpointIndependent));
    let (address, _) = survey(|to| 4000 + u16::from(to.ip() != server().ip()));
    assert_eq!(address.nat().mapping, Mapping::AddressDependent);
    // Asked in the order (first, first), (first, second), (second, first), (second, second).
    let (sequential, _) = survey(|to| 4000 + 2 * u16::from(to.ip() != server().ip()) + u16::from(to.port() != 3478));
    let expected = Nat { mapping: Mapping::AddressAndPortDependent, ports: Ports::Sequential { step: 1 } };
    assert_eq!(sequential.nat(), expected);
}

#[test]
fn a_survey_begins_anew_at_another_address_and_believes_a_contact_that_saw_another_port() {
    let (mut survey, _) = survey(|_| 4000);
    survey.handle_observed("192.0.2.1:4000".parse().unwrap());
    assert!(survey.nat().is_easy());
    survey.handle_observed("192.168.0.1:9".parse().unwrap());
    assert!(survey.nat().is_easy(), "a path on our own network shows nothing");
    survey.set_local(Some(4000));
    assert_eq!(survey.nat().ports, Ports::Preserved);
    survey.handle_observed("192.0.2.1:4001".parse().unwrap());
    assert!(survey.nat().is_hard());
    survey.handle_registered(server(), "192.0.2.7:4000".parse().unwrap(), epoch());
    assert_eq!(survey.nat(), Nat::UNKNOWN);
}

#[test]
fn an_attempt_that_asks_for_nothing_again_and_again_does_not_go_on_for_ever() {
    let mut run = Run::new(|now| Attempt::probe(terms(), [1; 32], now), scattered);
    run.pass(Duration::from_secs(2));
    for round in 0..20 {
        run.hear(Word::Open { attempt: ATTEMPT, round, first: 1024, count: 9, step: 0, probes: 0 });
        run.pass(Duration::from_secs(9));
    }
    assert!(run.outcome.is_some(), "others wait for their turn");
}

fn word() -> impl Strategy<Value = Word> {
    let attempt = prop_oneof![9 => Just(ATTEMPT), 1 => any::<u32>()];
    (attempt, 0..7_u8, any::<(u8, u16, u16, i16, u16)>()).prop_map(
        |(attempt, kind, (round, first, count, step, probes))| {
            let round = round & 3;
            match kind {
                0 => Word::Grant { attempt, port: probes },
                1 => Word::Spent { attempt, round },
                2 => Word::Next { attempt, round, port: first, step },
                3 => Word::Ask { attempt, meet: step > 0 },
                4 if first < 2000 => Word::Stop { attempt, found: round == 1 },
                5 if first < 2000 => Word::Busy { attempt },
                _ => Word::Open { attempt, round, first, count, step: step % 3, probes },
            }
        },
    )
}

proptest! {
    #[test]
    fn whatever_the_other_side_says_an_attempt_stays_within_its_bounds_and_ends(
        part in 0..4_u8,
        order in 0..3_u8,
        deeds in proptest::collection::vec((word(), 0..3000_u64), 0..40),
    ) {
        let port: fn(u16) -> u16 = match order {
            0 => |number| 65_500_u16.wrapping_add(number),
            1 => |number| 4096 + (scattered(number) & 511),
            _ => scattered,
        };
        let mut run = Run::new(|now| match part {
            0 => Attempt::lead(terms(), [1; 32], now),
            1 => Attempt::probe(terms(), [1; 32], now),
            2 => Attempt::meet(terms(), true, [1; 32], now),
            _ => Attempt::meet(terms(), false, [1; 32], now),
        }, port);
        for (word, time) in deeds {
            run.hear(word);
            run.pass(Duration::from_millis(time));
        }
        run.pass(Duration::from_secs(300));
        prop_assert!(run.outcome.is_some(), "it ends by itself");
        prop_assert!(run.most <= 256 && run.checks().count() <= usize::from(MAX_PROBES));
        prop_assert!(run.checks().all(|(_, transmit)| transmit.to.ip() == target().ip()));
        let (left, _) = run.attempt.stop(false);
        prop_assert_eq!(left.into_iter().collect::<BTreeSet<_>>(), run.open, "every socket is accounted for");
    }

    #[test]
    fn noise_for_an_answer_teaches_nothing(noise in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut survey = Survey::new([1; 32], false);
        survey.handle_registered(server(), "192.0.2.1:4000".parse().unwrap(), epoch());
        prop_assert!(!survey.handle_response(server(), &noise, epoch()));
        prop_assert!(!survey.handle_response(server(), &binding_request(crate::stun::TransactionId([1; 12])), epoch()));
        prop_assert_eq!(survey.nat(), Nat::UNKNOWN);
    }
}
