//! One attempt, whichever part in it is ours.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::lead::Lead;
use super::meeting::Meeting;
use super::prober::Prober;
use super::{Tactic, Word};
use crate::path::{Base, Transmit};

/// What an attempt is given.
pub(crate) struct Terms {
    /// The number that its leader chose.
    pub(crate) attempt: u32,
    /// Where the rendezvous saw the contact: nothing is ever sent to another IP address.
    pub(crate) target: SocketAddr,
    /// A rendezvous of IPv4 to ask where it sees us.
    pub(crate) server: SocketAddr,
    /// How far openers go.
    pub(crate) opener_ttl: u8,
    /// The datagram that every opener and probe is.
    pub(crate) check: Vec<u8>,
}

/// What the owner must do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Open so many bases.
    Open(u16),
    /// These are of no use any more.
    Close(Vec<Base>),
    /// Tell the other side.
    Say(Word),
    /// It is over without a path.
    Over(Outcome),
}

/// How an attempt ends that finds no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was tried.
    InVain(Tactic),
    /// The NATs are not what they seemed: no tactic fits.
    Misfit,
    /// The other side has no time for it, or does not answer.
    Busy,
    /// We have no sockets for it.
    NoSockets,
    /// The other side has a path, and ours is a round trip away.
    Found,
    /// The other side ended it.
    Stopped,
}

enum Part {
    Lead(Lead),
    Prober(Prober),
    Meeting(Meeting),
}

/// What the parts share.
pub(super) struct Stage {
    pub(super) terms: Terms,
    pub(super) random: ChaCha12Rng,
    /// All that were opened and not closed, in that order.
    pub(super) bases: Vec<Base>,
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) actions: VecDeque<Action>,
    over: bool,
}

impl Stage {
    pub(super) fn say(&mut self, word: Word) {
        self.actions.push_back(Action::Say(word));
    }

    pub(super) fn send(&mut self, base: Base, port: u16, ttl: Option<u8>) {
        let to = SocketAddr::new(self.terms.target.ip(), port);
        self.transmits.push_back(Transmit { base, to, ttl, payload: self.terms.check.clone() });
    }

    /// Gives the present bases up for so many new ones.
    pub(super) fn reopen(&mut self, count: u16) {
        let old = std::mem::take(&mut self.bases);
        if !old.is_empty() {
            self.actions.push_back(Action::Close(old));
        }
        self.actions.push_back(Action::Open(count));
    }

    /// Ends it, and tells the other side unless that did.
    pub(super) fn end(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.over, true) {
            if !matches!(outcome, Outcome::Stopped | Outcome::Found) {
                self.say(Word::Stop { attempt: self.terms.attempt, found: false });
            }
            self.actions.push_back(Action::Over(outcome));
        }
    }
}

/// An attempt under way.
pub(crate) struct Attempt {
    stage: Stage,
    part: Part,
}

impl Attempt {
    /// We are the hard side.
    pub(crate) fn lead(terms: Terms, seed: [u8; 32], now: Instant) -> Self {
        let mut stage = stage(terms, seed);
        let part = Part::Lead(Lead::new(&mut stage, now));
        Self { stage, part }
    }

    /// We are the easy side, and have granted what was asked.
    pub(crate) fn probe(terms: Terms, seed: [u8; 32], now: Instant) -> Self {
        let mut stage = stage(terms, seed);
        let part = Part::Prober(Prober::new(&mut stage, now));
        Self { stage, part }
    }

    /// Both sides are sequential; `begins`: we asked.
    pub(crate) fn meet(terms: Terms, begins: bool, seed: [u8; 32], now: Instant) -> Self {
        let mut stage = stage(terms, seed);
        let part = Part::Meeting(Meeting::new(&mut stage, begins, now));
        Self { stage, part }
    }

    /// Of the probes that it was allowed, those that it did not send.
    pub(crate) const fn unused(&self) -> u16 {
        match &self.part {
            Part::Lead(_) => 0,
            Part::Prober(prober) => prober.unused(),
            Part::Meeting(meeting) => meeting.unused(),
        }
    }

    /// What is tried, once that is known.
    pub(crate) const fn tactic(&self) -> Tactic {
        match &self.part {
            Part::Lead(lead) => lead.tactic(),
            Part::Prober(prober) => prober.tactic(),
            Part::Meeting(_) => Tactic::Meeting,
        }
    }

    /// Bases that the owner opened, perhaps fewer than were wanted.
    pub(crate) fn handle_bases(&mut self, bases: &[Base], now: Instant) {
        self.stage.bases.extend_from_slice(bases);
        match &mut self.part {
            Part::Lead(lead) => lead.handle_bases(&mut self.stage, now),
            Part::Meeting(meeting) => meeting.handle_bases(&mut self.stage, now),
            Part::Prober(prober) => prober.handle_bases(&mut self.stage, now),
        }
    }

    /// A STUN response that is nobody else's.
    pub(crate) fn handle_response(&mut self, base: Base, from: SocketAddr, datagram: &[u8], now: Instant) {
        match &mut self.part {
            Part::Lead(lead) => lead.handle_response(base, from, datagram),
            Part::Meeting(meeting) => meeting.handle_response(base, from, datagram),
            Part::Prober(prober) => prober.handle_response(base, from, datagram),
        }
        self.handle_timeout(now);
    }

    /// The other side says something. What does not belong here is passed over.
    pub(crate) fn handle_word(&mut self, word: Word, now: Instant) {
        if word.attempt() != Some(self.stage.terms.attempt) {
            return;
        }
        match (&mut self.part, word) {
            (_, Word::Stop { found: true, .. }) => self.stage.end(Outcome::Found),
            (_, Word::Stop { found: false, .. }) => self.stage.end(Outcome::Stopped),
            // Who has granted it has lost the right to be busy.
            (Part::Lead(lead), Word::Busy { .. }) if lead.is_granted() => self.stage.end(Outcome::Stopped),
            (_, Word::Busy { .. }) => self.stage.end(Outcome::Busy),
            (Part::Lead(lead), word) => lead.handle_word(&mut self.stage, word, now),
            (Part::Prober(prober), word) => prober.handle_word(&mut self.stage, word, now),
            (Part::Meeting(meeting), word) => meeting.handle_word(&mut self.stage, word, now),
        }
        self.handle_timeout(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.stage.over {
            return;
        }
        match &mut self.part {
            Part::Lead(lead) => lead.handle_timeout(&mut self.stage, now),
            Part::Prober(prober) => prober.handle_timeout(&mut self.stage, now),
            Part::Meeting(meeting) => meeting.handle_timeout(&mut self.stage, now),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let due = match &self.part {
            Part::Lead(lead) => lead.poll_timeout(),
            Part::Prober(prober) => prober.poll_timeout(),
            Part::Meeting(meeting) => meeting.poll_timeout(),
        };
        Some(due).filter(|_| !self.stage.over)
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.stage.transmits.pop_front()
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.stage.actions.pop_front()
    }

    /// A path was found, or none is wanted any more: the bases that are left, and the last word.
    pub(crate) fn stop(self, found: bool) -> (Vec<Base>, Option<Word>) {
        let word = Word::Stop { attempt: self.stage.terms.attempt, found };
        (self.stage.bases, (!self.stage.over).then_some(word))
    }
}

fn stage(terms: Terms, seed: [u8; 32]) -> Stage {
    Stage {
        terms,
        random: ChaCha12Rng::from_seed(seed),
        bases: Vec::new(),
        transmits: VecDeque::new(),
        actions: VecDeque::new(),
        over: false,
    }
}
