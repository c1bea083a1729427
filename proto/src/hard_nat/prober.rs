//! The easy side's part: probe the ports that the hard side names, at a steady pace.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use super::attempt::{Outcome, Stage};
use super::lead::along;
use super::sampling::Sampling;
use super::{Tactic, Word};
use crate::path::Base;

/// Between probes: see the module's documentation.
pub(super) const PACE: Duration = Duration::from_millis(4);
/// Probes of one attempt, all rounds together.
pub(crate) const MAX_PROBES: u16 = 2048;
/// After the last probe its answer is waited for, a long round trip.
const LAST_ANSWER: Duration = Duration::from_millis(400);
/// The hard side opens, samples and tries again within this, or has forgotten us.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rounds that are probed for: the leader has three at most, and one who asks for nothing in each would keep the turn of
/// all others.
const MAX_ROUNDS: u8 = 4;
/// The owner has opened a socket by then, or probes come from the main one.
const OPENING: Duration = Duration::from_secs(1);

/// Distinct ports, one after the other.
struct Range {
    first: u16,
    count: u32,
    step: i16,
    /// The `n`-th port in random order is `first + (factor × n + offset) mod count`.
    factor: u32,
    offset: u32,
    tried: u32,
}

impl Range {
    fn new(first: u16, count: u16, step: i16, random: &mut ChaCha12Rng) -> Self {
        let count = u32::from(count).min(u32::from(u16::MAX) + 1 - u32::from(first)).max(1);
        let coprime = |factor: &u32| gcd(*factor, count) == 1;
        let factor = (0..64).map(|_| random.next_u32() % count).find(coprime).unwrap_or(1);
        let offset = random.next_u32() % count;
        Self { first, count, step, factor, offset, tried: 0 }
    }
}

impl Iterator for Range {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.tried >= self.count {
            return None;
        }
        let tried = self.tried;
        self.tried += 1;
        if self.step != 0 {
            let port = self.first;
            self.first = along(port, self.step);
            return Some(port);
        }
        let place = (u64::from(self.factor) * u64::from(tried) + u64::from(self.offset)) % u64::from(self.count);
        self.first.checked_add(u16::try_from(place).ok()?)
    }
}

enum Phase {
    /// A socket to probe from was asked for.
    Opening {
        until: Instant,
    },
    /// It asks which port it has outside.
    Asking(Sampling),
    Waiting {
        until: Instant,
    },
    Probing {
        ports: Range,
        left: u16,
        due: Instant,
    },
    /// All is sent; a last answer may be under way.
    Listening {
        until: Instant,
    },
}

pub(super) struct Prober {
    phase: Phase,
    round: u8,
    rounds: u8,
    left: u16,
    sent: u16,
    /// Where probes come from.
    base: Base,
    tactic: Tactic,
}

impl Prober {
    pub(super) fn new(stage: &mut Stage, now: Instant) -> Self {
        stage.reopen(1);
        Self {
            phase: Phase::Opening { until: now + OPENING },
            round: 0,
            rounds: 0,
            left: MAX_PROBES,
            sent: 0,
            base: Base::MAIN,
            tactic: Tactic::Birthday,
        }
    }

    pub(super) const fn unused(&self) -> u16 {
        MAX_PROBES - self.sent
    }

    pub(super) const fn tactic(&self) -> Tactic {
        self.tactic
    }

    pub(super) fn handle_bases(&mut self, stage: &mut Stage, now: Instant) {
        if matches!(self.phase, Phase::Opening { .. }) {
            let sampling = Sampling::new(stage.terms.server, &stage.bases, &mut stage.random, now);
            self.phase = Phase::Asking(sampling);
        }
        self.handle_timeout(stage, now);
    }

    pub(super) fn handle_response(&mut self, base: Base, from: SocketAddr, datagram: &[u8]) {
        if let Phase::Asking(sampling) = &mut self.phase {
            sampling.handle_response(base, from, datagram);
        }
    }

    /// Grants the attempt, from the fresh socket if its port is known.
    fn grant(&mut self, stage: &mut Stage, ports: &[u16], now: Instant) {
        let attempt = stage.terms.attempt;
        let (base, port) = stage.bases.first().copied().zip(ports.first().copied()).unwrap_or((Base::MAIN, 0));
        self.base = base;
        stage.say(Word::Grant { attempt, port });
        self.phase = Phase::Waiting { until: now + PATIENCE };
    }

    pub(super) fn handle_word(&mut self, stage: &mut Stage, word: Word, now: Instant) {
        let Word::Open { round, first, count, step, probes, .. } = word else { return };
        if !matches!(self.phase, Phase::Waiting { .. }) {
            return;
        }
        if self.rounds == MAX_ROUNDS {
            return stage.end(Outcome::Busy);
        }
        self.rounds += 1;
        self.round = round;
        self.tactic = match (step, count) {
            (0, ..=4096) => Tactic::BlockBirthday,
            (0, _) => Tactic::Birthday,
            _ => Tactic::Prediction,
        };
        let left = probes.min(self.left);
        self.left -= left;
        self.phase = Phase::Probing { ports: Range::new(first.max(1), count, step, &mut stage.random), left, due: now };
    }

    pub(super) fn handle_timeout(&mut self, stage: &mut Stage, now: Instant) {
        if let Phase::Asking(sampling) = &mut self.phase {
            sampling.handle_timeout(now, &mut stage.transmits);
            if sampling.is_over(now) {
                let ports = sampling.ports();
                self.grant(stage, &ports, now);
            }
        }
        if let Phase::Probing { ports, left, due } = &mut self.phase {
            // A sleeper that wakes late makes up for at most four.
            *due = (*due).max(now.checked_sub(PACE * 4).unwrap_or(now));
            while *due <= now && *left > 0 {
                *left -= 1;
                *due += PACE;
                match ports.next() {
                    Some(port) => {
                        self.sent += 1;
                        stage.send(self.base, port, None);
                    }
                    None => *left = 0,
                }
            }
            if *left == 0 {
                self.phase = Phase::Listening { until: now + LAST_ANSWER };
            }
        }
        match self.phase {
            Phase::Listening { until } if until <= now => {
                stage.say(Word::Spent { attempt: stage.terms.attempt, round: self.round });
                self.phase = Phase::Waiting { until: now + PATIENCE };
            }
            Phase::Opening { until } if until <= now => self.grant(stage, &[], now),
            Phase::Waiting { until } if until <= now => stage.end(Outcome::Busy),
            _ => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        match &self.phase {
            Phase::Opening { until } | Phase::Waiting { until } | Phase::Listening { until } => *until,
            Phase::Asking(sampling) => sampling.poll_timeout(),
            Phase::Probing { due, .. } => *due,
        }
    }
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;
    use std::collections::BTreeSet;

    #[test]
    fn a_range_names_each_of_its_ports_once_whatever_it_is() {
        let mut random = ChaCha12Rng::from_seed([3; 32]);
        for (first, count) in [(1024, 64_512), (2048, 512), (65_535, 1), (65_000, 9999), (1, 7), (9, 0)] {
            let ports: Vec<u16> = Range::new(first, count, 0, &mut random).collect();
            let expected = u32::from(count).min(65_536 - u32::from(first)).max(1);
            assert_eq!(ports.iter().collect::<BTreeSet<_>>().len() as u32, expected);
            assert!(ports.len() as u32 == expected && ports.iter().all(|port| *port >= first));
        }
    }

    #[test]
    fn a_sequence_goes_on_in_its_direction_and_around() {
        let mut random = ChaCha12Rng::from_seed([3; 32]);
        let mut ports = |first, step| Range::new(first, 4, step, &mut random).collect::<Vec<_>>();
        assert_eq!(ports(4000, 2), [4000, 4002, 4004, 4006]);
        assert_eq!(ports(1025, -1), [1025, 1024, 65_535, 65_534]);
    }
}
