//! The tactics for hard NATs in their place: when an attempt begins, whose turn it is, and what remains of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::rand_core::Rng;

use super::{ContactId, Event, Note, Traversal, Unreachable};
use crate::hard_nat::{
    Action, Attempt, Chance, MAX_PROBES, Memory, Nat, Networks, Outcome, Part, Ration, Remembered, Survey, Tactic,
    Terms, Word, part,
};
use crate::path::{Base, Transmit};
use crate::registration::client;
use crate::tunnel::is_without_udp;

/// How long ordinary checks are let try: four round trips of 250 ms.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same where a tactic worked before: then checks have never found anything here.
const SHORT_PATIENCE: Duration = Duration::from_millis(300);
/// Before the other side is asked again that was busy, or where sockets were lacking: most attempts succeed in less.
const LATER: Duration = Duration::from_secs(5);
/// It doubles so often, to 21 minutes: who is always busy costs us next to nothing.
const MAX_DELAYS: u8 = 8;
/// Attempts that one contact may ask of us at once, and how long another takes to earn.
const GRANTS: (u32, Duration) = (4, Duration::from_secs(600));
/// Probes for all contacts together: four attempts' at once, then 4 a second.
const PROBES: (u32, Duration) = (8192, Duration::from_millis(250));

/// What a contact's tactics remember.
pub(super) struct Tactics {
    /// What it says of its NAT.
    theirs: Option<Nat>,
    /// Since when a path is sought.
    since: Option<Instant>,
    /// Not before this, and how often it was put off.
    later: Option<Instant>,
    delays: u8,
    grants: Ration,
    /// Why there is no path, as it was told.
    verdict: Option<Unreachable>,
}

impl Tactics {
    pub(super) const fn new() -> Self {
        Self {
            theirs: None,
            since: None,
            later: None,
            delays: 0,
            grants: Ration::new(GRANTS.0, GRANTS.1),
            verdict: None,
        }
    }

    /// A path is sought from now on, if none was before.
    pub(super) fn seek(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }
}

/// What all contacts' tactics share.
pub(super) struct Workshop {
    pub(super) survey: Survey,
    told: Nat,
    memory: Memory,
    pub(super) active: Option<(ContactId, Attempt)>,
    probes: Ration,
    /// The bases that attempts have left open, and whose paths they carry.
    pub(super) held: BTreeMap<Base, ContactId>,
    pub(super) sweep: Option<Instant>,
}

impl Workshop {
    pub(super) fn new(seed: [u8; 32], allow_loopback: bool) -> Self {
        Self {
            survey: Survey::new(seed, allow_loopback),
            told: Nat::UNKNOWN,
            memory: Memory::default(),
            active: None,
            probes: Ration::new(PROBES.0, PROBES.1),
            held: BTreeMap::new(),
            sweep: None,
        }
    }

    pub(super) fn handle_response(&mut self, base: Base, from: SocketAddr, datagram: &[u8], now: Instant) {
        if base == Base::MAIN {
            self.survey.handle_response(from, datagram, now);
        } else if let Some((_, attempt)) = &mut self.active {
            attempt.handle_response(base, from, datagram, now);
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        let attempt = self.active.as_mut().and_then(|(_, attempt)| attempt.poll_transmit());
        attempt.or_else(|| self.survey.poll_transmit())
    }

    fn is_active(&self, id: ContactId) -> bool {
        self.active.as_ref().is_some_and(|(of, _)| *of == id)
    }
}

impl Traversal {
    /// What is known of our own NAT.
    #[must_use]
    pub const fn nat(&self) -> Nat {
        self.workshop.survey.nat()
    }

    /// What worked between which networks and what did not, for the owner to store.
    #[must_use]
    pub fn memory(&self, now: Instant) -> Vec<Remembered> {
        self.workshop.memory.remembered(now)
    }

    /// Gives back what was stored.
    pub fn set_memory(&mut self, remembered: &[Remembered], now: Instant) {
        self.workshop.memory = Memory::recall(remembered, now);
    }

    pub(super) fn handle_word(&mut self, id: ContactId, word: Word, now: Instant) {
        match word {
            Word::Nat(nat) => {
                if let Some(contact) = self.contacts.get_mut(&id)
                    && contact.tactics.theirs.replace(nat) != Some(nat)
                {
                    contact.tactics.verdict = None;
                }
            }
            Word::Ask { attempt, meet } => self.handle_ask(id, attempt, meet, now),
            word => {
                if let Some((_, attempt)) = self.workshop.active.as_mut().filter(|(of, _)| *of == id) {
                    attempt.handle_word(word, now);
                }
            }
        }
    }

    fn handle_ask(&mut self, id: ContactId, attempt: u32, meet: bool, now: Instant) {
        // Whoever asks again has forgotten what it asked before.
        let ours = self
            .contacts
            .get(&id)
            .map(|contact| part(self.nat(), contact.tactics.theirs.unwrap_or(Nat::UNKNOWN), false));
        if self.workshop.is_active(id) && ours == Some(Part::Wait) {
            self.stop_attempt(id, false, now);
        }
        // It has no path, then. Ours to it may be dead, and quick checks tell.
        if let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.agent.path().is_some()) {
            contact.agent.handle_silence(now);
        }
        // Behind a hard NAT each probe would make a mapping.
        let fit = if meet { self.nat().is_sequential() } else { self.nat().is_easy() };
        let free = self.workshop.active.is_none() && fit;
        let terms = if free { self.terms(id, attempt) } else { None };
        let granted = terms.filter(|_| {
            let Some(contact) = self.contacts.get_mut(&id) else { return false };
            contact.tactics.grants.take(1, now) && self.workshop.probes.take(MAX_PROBES.into(), now)
        });
        let Some(terms) = granted else {
            self.tell(id, &Note::Tactic(Word::Busy { attempt }));
            return;
        };
        let seed = self.seed();
        let attempt = if meet { Attempt::meet(terms, false, seed, now) } else { Attempt::probe(terms, seed, now) };
        self.workshop.active = Some((id, attempt));
    }

    /// What an attempt with this contact is given; `None` if there can be none.
    fn terms(&mut self, id: ContactId, attempt: u32) -> Option<Terms> {
        let (_, target) = self.networks(id)?;
        let server = self.rendezvous.values().filter_map(client::Client::remote).find(SocketAddr::is_ipv4)?;
        let contact = self.contacts.get_mut(&id).filter(|contact| contact.linked && contact.agent.path().is_none())?;
        let check = contact.agent.check()?;
        Some(Terms { attempt, target, server, opener_ttl: self.config.opener_ttl, check })
    }

    /// The two networks, and where the rendezvous saw the contact. Behind one address both have the same router, and what
    /// goes on within that no tactic here knows.
    fn networks(&self, id: ContactId) -> Option<(Networks, SocketAddr)> {
        let contact = self.contacts.get(&id)?;
        let theirs = contact.observed().filter(SocketAddr::is_ipv4)?;
        let mut observed = self.rendezvous.values().filter_map(client::Client::observed);
        let ours = observed.find(|ours| ours.is_ipv4() && !is_without_udp(*ours))?;
        let networks = Networks { ours: ours.ip(), peer: contact.peer(), theirs: theirs.ip() };
        (ours.ip() != theirs.ip()).then_some((networks, theirs))
    }

    /// Begins, goes on with and ends attempts. Called whenever everything else is quiet.
    pub(super) fn advance_tactics(&mut self, now: Instant) {
        self.tell_nat();
        self.sweep_bases(now);
        loop {
            self.follow_attempt(now);
            if self.workshop.active.is_some() {
                return;
            }
            let ids: Vec<_> = self.contacts.keys().copied().collect();
            if !ids.into_iter().any(|id| self.begin_attempt(id, now)) {
                return;
            }
        }
    }

    /// Tells every linked contact what our NAT does, whenever that is news.
    fn tell_nat(&mut self) {
        let nat = self.nat();
        if self.workshop.told != nat {
            self.workshop.told = nat;
            self.contacts.values_mut().for_each(|contact| contact.tactics.verdict = None);
            let linked: Vec<_> = self.contacts.iter().filter(|(_, c)| c.linked).map(|(id, _)| *id).collect();
            for id in linked {
                self.tell(id, &Note::Tactic(Word::Nat(nat)));
            }
        }
    }

    /// When an attempt with the contact may begin, and our part in it; `None` if there is nothing to be begun by us.
    fn due(&self, id: ContactId) -> Option<(Instant, Part)> {
        let contact = self.contacts.get(&id)?;
        let Tactics { theirs, since, later, .. } = &contact.tactics;
        if !contact.linked || contact.agent.path().is_some() {
            return None;
        }
        let (networks, _) = self.networks(id)?;
        let part = part(self.nat(), (*theirs)?, self.me < contact.peer());
        let at = match (part, self.workshop.memory.chance(networks)) {
            (Part::Wait, _) | (Part::Lead | Part::Meet, Chance::Never) => return None,
            (Part::Hopeless, _) if contact.tactics.verdict == Some(Unreachable::BothHard) => return None,
            (Part::Hopeless, _) | (_, Chance::Now) => (*since)? + PATIENCE,
            (_, Chance::Known) => (*since)? + SHORT_PATIENCE,
            (_, Chance::At(at)) => at.max((*since)? + PATIENCE),
        };
        Some((later.map_or(at, |later| at.max(later)), part))
    }

    /// Begins an attempt if one is due; whether something changed.
    fn begin_attempt(&mut self, id: ContactId, now: Instant) -> bool {
        let Some((_, part)) = self.due(id).filter(|(at, _)| *at <= now) else { return false };
        if part == Part::Hopeless {
            self.give_verdict(id, Unreachable::BothHard);
            return true;
        }
        let (number, seed) = (self.random.next_u32(), self.seed());
        let Some(terms) = self.terms(id, number) else {
            // Without a rendezvous of IPv4, or before an introduction, there is nothing to be done.
            self.put_off(id, now);
            return true;
        };
        let attempt = match part {
            Part::Meet => Attempt::meet(terms, true, seed, now),
            _ => Attempt::lead(terms, seed, now),
        };
        self.workshop.active = Some((id, attempt));
        true
    }

    fn put_off(&mut self, id: ContactId, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            let Tactics { later, delays, .. } = &mut contact.tactics;
            *later = Some(now + LATER * (1 << *delays));
            *delays = (*delays + 1).min(MAX_DELAYS);
        }
    }

    fn give_verdict(&mut self, contact: ContactId, why: Unreachable) {
        if let Some(known) = self.contacts.get_mut(&contact) {
            known.tactics.verdict = Some(why);
        }
        self.events.push_back(Event::Unreachable { contact, why });
    }

    /// Does what the attempt wants done.
    fn follow_attempt(&mut self, now: Instant) {
        // Without a connection neither side hears the other.
        let cut = self.workshop.active.as_ref().map(|(id, _)| *id);
        if let Some(id) = cut.filter(|id| self.contacts.get(id).is_none_or(|contact| !contact.linked)) {
            self.stop_attempt(id, false, now);
            self.put_off(id, now);
        }
        while let Some((id, action)) =
            self.workshop.active.as_mut().and_then(|(id, attempt)| Some((*id, attempt.poll_action()?)))
        {
            match action {
                Action::Open(count) => self.events.push_back(Event::OpenBases { contact: id, count }),
                Action::Close(bases) => self.hold_or_close(id, &bases, now),
                Action::Say(word) => {
                    self.tell(id, &Note::Tactic(word));
                }
                Action::Over(outcome) => self.handle_over(id, outcome, now),
            }
        }
    }

    fn handle_over(&mut self, id: ContactId, outcome: Outcome, now: Instant) {
        let active = self.workshop.active.as_ref().map(|(_, attempt)| attempt);
        let (tactic, ours) = (active.map(Attempt::tactic), active.is_some_and(Attempt::is_ours));
        self.stop_attempt(id, false, now);
        match outcome {
            Outcome::Found => self.remember(id, tactic, true, now),
            // Who grants and then stops it has cost us as much as who does not.
            Outcome::InVain(_) | Outcome::Stopped => {
                self.remember(id, tactic.filter(|_| ours), false, now);
                self.give_verdict(id, Unreachable::TacticFailed);
            }
            Outcome::Misfit => {
                self.put_off(id, now);
                self.give_verdict(id, Unreachable::BothHard);
            }
            Outcome::Busy | Outcome::NoSockets => self.put_off(id, now),
        }
    }

    fn remember(&mut self, id: ContactId, tactic: Option<Tactic>, worked: bool, now: Instant) {
        if let (Some((networks, _)), Some(tactic)) = (self.networks(id), tactic) {
            self.workshop.memory.note(networks, tactic, worked, now);
        }
    }

    /// A path was selected: whatever was tried is over, and if it was that which found it, that is remembered.
    pub(super) fn handle_reached(&mut self, id: ContactId, base: Base, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            let Tactics { since, later, delays, verdict, .. } = &mut contact.tactics;
            (*since, *later, *delays, *verdict) = (None, None, 0, None);
        }
        let active = self.workshop.active.as_ref().filter(|(of, _)| *of == id && base != Base::MAIN);
        let tactic = active.map(|(_, attempt)| attempt.tactic());
        self.remember(id, tactic, true, now);
        self.stop_attempt(id, true, now);
    }

    /// Ends the contact's attempt, if there is one; whether it was.
    fn stop_attempt(&mut self, id: ContactId, found: bool, now: Instant) -> bool {
        let Some((_, attempt)) = self.workshop.active.take_if(|(of, _)| *of == id) else { return false };
        self.workshop.probes.give(attempt.unused().into());
        let (bases, word) = attempt.stop(found);
        self.hold_or_close(id, &bases, now);
        if let Some(word) = word {
            self.tell(id, &Note::Tactic(word));
        }
        true
    }

    /// The contact is wanted no more, or is gone.
    pub(super) fn end_tactics(&mut self, id: ContactId) {
        if let Some((_, attempt)) = self.workshop.active.take_if(|(of, _)| *of == id) {
            let (bases, word) = attempt.stop(false);
            bases.into_iter().for_each(|base| self.close(id, base));
            if let Some(word) = word {
                self.tell(id, &Note::Tactic(word));
            }
        }
        let held: Vec<_> = self.workshop.held.iter().filter(|(_, of)| **of == id).map(|(base, _)| *base).collect();
        held.into_iter().for_each(|base| self.close(id, base));
    }

    /// Why ordinary checks have failed; `None` if something better is under way.
    pub(super) fn why_no_path(&self, id: ContactId) -> Option<Unreachable> {
        let verdict = self.contacts.get(&id).and_then(|contact| contact.tactics.verdict);
        (!self.workshop.is_active(id)).then_some(verdict.unwrap_or(Unreachable::NoPath))
    }

    pub(super) fn poll_tactics(&self) -> Option<Instant> {
        let Workshop { survey, active, sweep, .. } = &self.workshop;
        let attempt = match active {
            Some((_, attempt)) => attempt.poll_timeout(),
            None => self.contacts.keys().filter_map(|id| Some(self.due(*id)?.0)).min(),
        };
        [survey.poll_timeout(), attempt, *sweep].into_iter().flatten().min()
    }

    pub(super) fn handle_tactics_timeout(&mut self, now: Instant) {
        self.workshop.survey.handle_timeout(now);
        if let Some((_, attempt)) = &mut self.workshop.active {
            attempt.handle_timeout(now);
        }
    }
}
