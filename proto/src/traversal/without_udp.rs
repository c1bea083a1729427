//! Introductions in which a network lets no UDP through (docs/protocol.md, "TCP"): nothing is checked that cannot answer,
//! and nobody is invited again until UDP passes.

use std::net::SocketAddr;
use std::time::Instant;

use super::contact::Contact;
use super::{ContactId, RendezvousId, Traversal, Unreachable, client};
use crate::candidate::{Candidate, CandidateKind, CheckKey, IntroductionId, is_private};
use crate::control::MAX_CANDIDATES;
use crate::identity::PeerId;
use crate::path::Role;
use crate::tunnel::is_without_udp;

/// What an introduction gives to check.
pub(super) struct Remotes {
    pub(super) candidates: Vec<Candidate>,
    /// Where the rendezvous saw the contact, if it reaches it by UDP. The contact's own word is none.
    pub(super) observed: Option<SocketAddr>,
    /// Why these are not all.
    without_udp: Option<Unreachable>,
}

impl Remotes {
    /// `ours` and `theirs`: as the rendezvous sees the two sides. Where one of them has no UDP to the rendezvous, only a
    /// network that both are on remains; they may be on one if they are seen at one address.
    pub(super) fn new(ours: Option<SocketAddr>, theirs: SocketAddr, candidates: &[Candidate]) -> Self {
        let reflexive = Candidate { address: theirs, kind: CandidateKind::ServerReflexive };
        let candidates = candidates.iter().take(MAX_CANDIDATES).copied();
        let without_udp = match ours {
            Some(ours) if is_without_udp(ours) => Some(Unreachable::NoUdp),
            _ => is_without_udp(theirs).then_some(Unreachable::NoUdpThere),
        };
        let together = ours.is_some_and(|ours| ours.ip() == theirs.ip());
        let near = |candidate: &Candidate| together && is_private(candidate.address.ip());
        let candidates = match without_udp {
            None => candidates.chain([reflexive]).collect(),
            Some(_) => candidates.filter(near).collect(),
        };
        Self { candidates, observed: without_udp.is_none().then_some(theirs), without_udp }
    }

    /// Nothing, for somebody has chosen so: not even where both are on one network.
    pub(super) const fn none(why: Unreachable) -> Self {
        Self { candidates: Vec::new(), observed: None, without_udp: Some(why) }
    }

    /// Who has chosen that the two meet through the relay alone, if somebody has.
    pub(super) fn choice(&self) -> Option<Unreachable> {
        self.without_udp.filter(|why| why.is_choice())
    }
}

impl Contact {
    /// Begins what checks there are to be made.
    pub(super) fn introduce(
        &mut self,
        introduction: IntroductionId,
        key: CheckKey,
        role: Role,
        remotes: &Remotes,
        now: Instant,
    ) {
        self.without_udp = remotes.without_udp;
        if !remotes.candidates.is_empty() {
            self.agent.introduce(introduction, key, role, &remotes.candidates, now);
        }
    }

    /// Why only a relay can be, if that is so.
    pub(super) const fn without_udp(&self) -> Option<Unreachable> {
        self.without_udp
    }

    /// UDP passes here: what did not before may now.
    pub(super) fn handle_udp(&mut self, now: Instant) {
        if self.without_udp.take_if(|why| !why.is_choice()).is_some() && self.agent.path().is_none() {
            self.invite(now);
        }
    }
}

impl Traversal {
    /// What to check of a contact that is seen at `observed`.
    pub(super) fn remotes(
        &self,
        id: RendezvousId,
        from: &PeerId,
        observed: SocketAddr,
        candidates: &[Candidate],
    ) -> Remotes {
        if let Some(why) = self.choice(from, observed) {
            return Remotes::none(why);
        }
        Remotes::new(self.rendezvous.get(&id).and_then(client::Client::observed), observed, candidates)
    }

    /// Why a contact is relayed for want of UDP, or by choice, as far as its last introduction told.
    #[must_use]
    pub fn without_udp(&self, contact: ContactId) -> Option<Unreachable> {
        self.contacts.get(&contact)?.without_udp()
    }

    /// Since when a rendezvous where we are registered has been asked where we are, if it has not answered yet.
    #[must_use]
    pub fn unanswered_since(&self, id: RendezvousId) -> Option<Instant> {
        self.rendezvous.get(&id)?.unanswered_since()
    }

    /// Asks a rendezvous where we are, for the way to it has changed.
    pub fn handle_way_changed(&mut self, id: RendezvousId, now: Instant) {
        if let Some(client) = self.rendezvous.get_mut(&id) {
            client.handle_network_change(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// What is checked of somebody at `theirs` with a private and a public candidate.
    fn checked(ours: &str, theirs: &str) -> (Vec<String>, Option<Unreachable>) {
        let host = |text| Candidate { address: at(text), kind: CandidateKind::Host };
        let remotes = Remotes::new(Some(at(ours)), at(theirs), &[host("192.168.1.7:9"), host("203.0.113.7:9")]);
        (remotes.candidates.iter().map(|candidate| candidate.address.to_string()).collect(), remotes.without_udp)
    }

    #[test]
    fn with_udp_on_both_sides_everything_is_checked() {
        let all = ["192.168.1.7:9", "203.0.113.7:9", "198.51.100.2:9"].map(str::to_owned).to_vec();
        assert_eq!(checked("198.51.100.1:9", "198.51.100.2:9"), (all, None));
    }

    #[test]
    fn without_udp_on_a_side_nothing_is_checked() {
        assert_eq!(checked("198.51.100.1:0", "198.51.100.2:9"), (vec![], Some(Unreachable::NoUdp)));
        assert_eq!(checked("198.51.100.1:9", "198.51.100.2:0"), (vec![], Some(Unreachable::NoUdpThere)));
        assert_eq!(checked("198.51.100.1:0", "198.51.100.2:0"), (vec![], Some(Unreachable::NoUdp)));
    }

    #[test]
    fn behind_one_router_without_udp_the_network_behind_it_is_still_checked() {
        let near = (vec!["192.168.1.7:9".to_owned()], Some(Unreachable::NoUdp));
        assert_eq!(checked("198.51.100.1:0", "198.51.100.1:0"), near);
    }

    #[test]
    fn where_udp_is_blocked_no_word_of_the_contact_passes_for_the_rendezvous() {
        let named = Candidate { address: at("192.168.1.7:9"), kind: CandidateKind::ServerReflexive };
        let here = at("198.51.100.1:0");
        assert_eq!(Remotes::new(Some(here), here, &[named]).observed, None);
        let (ours, theirs) = (at("198.51.100.1:9"), at("198.51.100.2:9"));
        assert_eq!(Remotes::new(Some(ours), theirs, &[named]).observed, Some(theirs));
    }
}
