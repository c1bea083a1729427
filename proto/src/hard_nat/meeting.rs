//! Two sequential NATs: both sides tell the next port, and send from the i-th new mapping to the other's i-th.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::attempt::{Outcome, Stage};
use super::lead::along;
use super::prober::MAX_PROBES;
use super::sampling::Sampling;
use super::{Tactic, Word};
use crate::nat::{self, Ports};
use crate::path::Base;

/// Sockets of each side: all are sampled, and all meet.
const SOCKETS: u16 = 8;
/// Rounds. Each has fresh samples; whatever else maps a port in the meantime spoils one.
const ROUNDS: u8 = 4;
/// When each volley goes out, after the first, which are openers. Both sides begin within a trip of each other.
const VOLLEYS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_millis(1000),
];
/// A round's last answers are waited for until then.
const ROUND: Duration = Duration::from_millis(1600);
/// The owner's sockets and the other side's word are waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);

enum Phase {
    Opening {
        until: Instant,
    },
    Sampling(Sampling),
    /// Our word is said; the other's is not there yet.
    Ready {
        until: Instant,
    },
    Volleys {
        began: Instant,
        next: usize,
    },
}

pub(super) struct Meeting {
    phase: Phase,
    begins: bool,
    granted: bool,
    round: u8,
    /// The other side's latest word.
    theirs: Option<(u8, u16, i16)>,
}

impl Meeting {
    pub(super) fn new(stage: &mut Stage, begins: bool, now: Instant) -> Self {
        let attempt = stage.terms.attempt;
        stage.say(if begins { Word::Ask { attempt, meet: true } } else { Word::Grant { attempt, port: 0 } });
        stage.reopen(SOCKETS);
        Self { phase: Phase::Opening { until: now + PATIENCE }, begins, granted: !begins, round: 0, theirs: None }
    }

    pub(super) const fn begins(&self) -> bool {
        self.begins
    }

    /// It sends 40 checks a round, and whoever was asked gives its allowance of probes back.
    pub(super) const fn unused(&self) -> u16 {
        if self.begins { 0 } else { MAX_PROBES }
    }

    pub(super) fn handle_bases(&mut self, stage: &mut Stage, now: Instant) {
        if matches!(self.phase, Phase::Opening { .. }) {
            if stage.bases.is_empty() {
                return stage.end(Outcome::NoSockets);
            }
            let sampling = Sampling::new(stage.terms.server, &stage.bases, &mut stage.random, now);
            self.phase = Phase::Sampling(sampling);
        }
        self.handle_timeout(stage, now);
    }

    pub(super) fn handle_response(&mut self, base: Base, from: SocketAddr, datagram: &[u8]) {
        if let Phase::Sampling(sampling) = &mut self.phase {
            sampling.handle_response(base, from, datagram);
        }
    }

    pub(super) fn handle_word(&mut self, stage: &mut Stage, word: Word, now: Instant) {
        match word {
            Word::Grant { .. } => self.granted = true,
            Word::Next { round, port, step, .. } => self.theirs = Some((round, port.max(1), step)),
            _ => {}
        }
        self.handle_timeout(stage, now);
    }

    pub(super) fn handle_timeout(&mut self, stage: &mut Stage, now: Instant) {
        if let Phase::Sampling(sampling) = &mut self.phase {
            sampling.handle_timeout(now, &mut stage.transmits);
            if sampling.is_over(now) {
                let ports = sampling.ports();
                let (Ports::Sequential { step }, Some(last)) = (nat::sequence(&ports), ports.last()) else {
                    return stage.end(Outcome::Misfit);
                };
                let (attempt, round) = (stage.terms.attempt, self.round);
                stage.say(Word::Next { attempt, round, port: along(*last, step), step });
                self.phase = Phase::Ready { until: now + PATIENCE };
            }
        }
        let theirs = self.theirs.filter(|(round, ..)| *round == self.round && self.granted);
        if let (Phase::Ready { .. }, Some(_)) = (&self.phase, theirs) {
            self.phase = Phase::Volleys { began: now, next: 0 };
        }
        match &mut self.phase {
            Phase::Opening { until } if *until <= now => stage.end(Outcome::NoSockets),
            Phase::Ready { until } if *until <= now => stage.end(Outcome::Busy),
            Phase::Volleys { began, next } => {
                while VOLLEYS.get(*next).is_some_and(|after| *began + *after <= now) {
                    let ttl = (*next == 0).then_some(stage.terms.opener_ttl);
                    *next += 1;
                    let Some((_, mut port, step)) = theirs else { break };
                    for base in stage.bases.clone() {
                        stage.send(base, port, ttl);
                        port = along(port, step);
                    }
                }
                if *began + ROUND <= now {
                    self.begin_round(stage, now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        match &self.phase {
            Phase::Opening { until } | Phase::Ready { until } => *until,
            Phase::Sampling(sampling) => sampling.poll_timeout(),
            Phase::Volleys { began, next } => *began + VOLLEYS.get(*next).copied().unwrap_or(ROUND),
        }
    }

    fn begin_round(&mut self, stage: &mut Stage, now: Instant) {
        self.round += 1;
        if self.round == ROUNDS {
            return stage.end(Outcome::InVain(Tactic::Meeting));
        }
        stage.reopen(SOCKETS);
        self.phase = Phase::Opening { until: now + PATIENCE };
    }
}
