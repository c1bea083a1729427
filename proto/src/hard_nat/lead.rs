//! The hard side's part: open sockets, see which ports they get, send openers, say where to probe.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::attempt::{Action, Outcome, Stage};
use super::prober::{MAX_PROBES, PACE as PROBE_PACE};
use super::sampling::Sampling;
use super::{Tactic, Word};
use crate::nat::{self, Ports};
use crate::path::Base;

/// Sockets that are sampled: by chance, 16 random ports of one block span less than half of it once in 2,000 times.
const SAMPLED: u16 = 16;
/// Sockets whose next port is foreseen: one must be hit, and each that is causes answers.
const FORESEEN: u16 = 4;
/// Ports tried after the last one sampled: what a busy network maps in the 100 to 200 ms before the openers go.
const WINDOW: u16 = 64;
/// Sockets in a block of up to [`SMALL_BLOCK`] ports, and in a larger one: with the probes that go into it, 98 % and more.
const BLOCK_SOCKETS: u16 = 32;
const LARGE_BLOCK_SOCKETS: u16 = 64;
const SMALL_BLOCK: u16 = 1024;
/// Sockets for a birthday over all ports.
pub(super) const SOCKETS: u16 = 256;
/// Probes of the first round of a birthday, 98.3 %; the second brings it to [`MAX_PROBES`].
const FIRST_PROBES: u16 = 1024;
/// Ports that NATs give out begin here (RFC 4787 section 4.2.1).
const FIRST_PORT: u16 = 1024;
/// Rounds of a prediction, each with fresh samples, and of a birthday.
const PREDICTIONS: u8 = 3;
const BIRTHDAYS: u8 = 2;
/// Between openers: 256 of them take half a second, and no router's table is hit by all at once.
const OPENER_PACE: Duration = Duration::from_millis(2);
/// The owner's sockets, the other side's grant, and the last of a round, are waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);

enum Phase {
    /// Bases were asked for, to be sampled or (`sampled`) to be used.
    Opening {
        until: Instant,
        sampled: bool,
    },
    Sampling(Sampling),
    /// Openers go out, from the base of this number on; not before the grant.
    Openers {
        next: usize,
        due: Instant,
        until: Instant,
    },
    /// The other side probes.
    Probed {
        until: Instant,
    },
}

pub(super) struct Lead {
    phase: Phase,
    granted: bool,
    round: u8,
    ports: Ports,
    last: u16,
}

impl Lead {
    pub(super) fn new(stage: &mut Stage, now: Instant) -> Self {
        stage.say(Word::Ask { attempt: stage.terms.attempt, meet: false });
        stage.reopen(SAMPLED);
        let phase = Phase::Opening { until: now + PATIENCE, sampled: false };
        Self { phase, granted: false, round: 0, ports: Ports::Unknown, last: 0 }
    }

    pub(super) const fn is_granted(&self) -> bool {
        self.granted
    }

    pub(super) const fn tactic(&self) -> Tactic {
        match self.ports {
            Ports::Sequential { .. } => Tactic::Prediction,
            Ports::Block { .. } => Tactic::BlockBirthday,
            _ => Tactic::Birthday,
        }
    }

    pub(super) fn handle_bases(&mut self, stage: &mut Stage, now: Instant) {
        match self.phase {
            Phase::Opening { .. } if stage.bases.is_empty() => stage.end(Outcome::NoSockets),
            Phase::Opening { sampled: false, .. } => {
                let sampling = Sampling::new(stage.terms.server, &stage.bases, &mut stage.random, now);
                self.phase = Phase::Sampling(sampling);
            }
            Phase::Opening { sampled: true, .. } => self.open(now),
            _ => {}
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
            Word::Grant { port, .. } if !self.granted => {
                self.granted = true;
                if port != 0 {
                    stage.terms.target.set_port(port);
                }
                if let Phase::Openers { due, .. } = &mut self.phase {
                    *due = now;
                }
            }
            Word::Spent { round, .. } if round == self.round && matches!(self.phase, Phase::Probed { .. }) => {
                self.begin_round(stage, now);
            }
            _ => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, stage: &mut Stage, now: Instant) {
        if let Phase::Sampling(sampling) = &mut self.phase {
            sampling.handle_timeout(now, &mut stage.transmits);
            if sampling.is_over(now) {
                let ports = sampling.ports();
                self.choose(stage, &ports, now);
            }
        }
        match &mut self.phase {
            Phase::Opening { until, .. } if *until <= now => stage.end(Outcome::NoSockets),
            Phase::Openers { until, .. } if *until <= now => stage.end(Outcome::Busy),
            Phase::Openers { next, due, .. } if self.granted => {
                let (port, ttl) = (stage.terms.target.port(), Some(stage.terms.opener_ttl));
                // A sleeper that wakes late makes up for at most four.
                *due = (*due).max(now.checked_sub(OPENER_PACE * 4).unwrap_or(now));
                while *due <= now
                    && let Some(base) = stage.bases.get(*next).copied()
                {
                    stage.send(base, port, ttl);
                    *next += 1;
                    *due += OPENER_PACE;
                }
                if *next >= stage.bases.len() {
                    self.tell(stage, now);
                }
            }
            Phase::Probed { until } if *until <= now => self.begin_round(stage, now),
            _ => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        match &self.phase {
            Phase::Opening { until, .. } | Phase::Probed { until } => *until,
            Phase::Sampling(sampling) => sampling.poll_timeout(),
            Phase::Openers { due, .. } if self.granted => *due,
            Phase::Openers { until, .. } => *until,
        }
    }

    /// The samples are there: choose the tactic, and open what it needs.
    fn choose(&mut self, stage: &mut Stage, ports: &[u16], now: Instant) {
        self.ports = nat::sequence(ports);
        self.last = ports.last().copied().unwrap_or_default();
        let wanted = match self.ports {
            Ports::Sequential { .. } => {
                let unused = stage.bases.split_off(stage.bases.len().min(usize::from(FORESEEN)));
                stage.actions.push_back(Action::Close(unused));
                0
            }
            Ports::Block { first, last } if last - first < SMALL_BLOCK => BLOCK_SOCKETS,
            Ports::Block { .. } => LARGE_BLOCK_SOCKETS,
            _ => SOCKETS,
        };
        let missing = usize::from(wanted).saturating_sub(stage.bases.len());
        match u16::try_from(missing) {
            Ok(1..) => {
                stage.actions.push_back(Action::Open(missing as u16));
                self.phase = Phase::Opening { until: now + PATIENCE, sampled: true };
            }
            _ => self.open(now),
        }
    }

    fn open(&mut self, now: Instant) {
        self.phase = Phase::Openers { next: 0, due: now, until: now + PATIENCE };
    }

    /// The openers are gone: say where to probe.
    fn tell(&mut self, stage: &mut Stage, now: Instant) {
        let (first, count, step, probes) = match self.ports {
            Ports::Sequential { step } => (along(self.last, step), WINDOW, step, WINDOW),
            Ports::Block { first, last } => {
                // The second time a little around it as well: perhaps the samples did not show all of it.
                let margin = if self.round == 0 { 0 } else { (last - first) / 2 };
                let (first, last) = (first.saturating_sub(margin).max(1), last.saturating_add(margin));
                let count = (last - first).saturating_add(1);
                (first, count, 0, count.min(MAX_PROBES / 2))
            }
            _ => (FIRST_PORT, u16::MAX - FIRST_PORT + 1, 0, FIRST_PROBES),
        };
        let (attempt, round) = (stage.terms.attempt, self.round);
        stage.say(Word::Open { attempt, round, first, count, step, probes });
        self.phase = Phase::Probed { until: now + PROBE_PACE * u32::from(probes) + PATIENCE };
    }

    fn begin_round(&mut self, stage: &mut Stage, now: Instant) {
        self.round += 1;
        match self.tactic() {
            Tactic::Prediction if self.round < PREDICTIONS => {
                stage.reopen(SAMPLED);
                self.phase = Phase::Opening { until: now + PATIENCE, sampled: false };
            }
            // The mappings are younger than ten seconds, and no NAT forgets so soon.
            Tactic::Birthday | Tactic::BlockBirthday if self.round < BIRTHDAYS => self.tell(stage, now),
            tactic => stage.end(Outcome::InVain(tactic)),
        }
    }
}

/// The next port of a sequence.
pub(super) const fn along(port: u16, step: i16) -> u16 {
    let next = port.wrapping_add_signed(step);
    // From the last on it begins anew at the first that NATs give out.
    if next >= FIRST_PORT {
        next
    } else if step > 0 {
        next.wrapping_add(FIRST_PORT)
    } else {
        u16::MAX - (FIRST_PORT - 1 - next)
    }
}
