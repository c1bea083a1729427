//! Our own addresses: which of them travel in invitations, which only inside a contact's connection, and what follows
//! when they change.
//!
//! An invitation passes through the rendezvous, so it names only what is public anyway. Private addresses show how a
//! person's network is built; contacts hear of them in a [`Note`] inside their own connection, as soon as there
//! is one, direct or relayed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{ContactId, Note, RendezvousId, Traversal};
use crate::candidate::{self, Candidate, CandidateKind, IntroductionId, is_private};
use crate::control;

/// After a change of network the rendezvous tells us within a round trip where we are now, and quick checks say
/// within 400 ms whether a path lives. If neither has settled a contact by then, it is invited.
const SETTLING: Duration = Duration::from_millis(500);

/// Where we are, as far as we know.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Addresses of our own interfaces, the best first.
    hosts: Vec<SocketAddr>,
    /// The port that our router opened for us.
    mapped: Option<SocketAddr>,
    /// What a rendezvous sees of us over the address family by which we are not registered there.
    reflexive: Vec<(RendezvousId, SocketAddr)>,
    /// When contacts that a change of network left in doubt are to be invited.
    settles: Option<Instant>,
}

impl Own {
    /// What an invitation names: no private address, each address once, [`control::MAX_CANDIDATES`] at most.
    pub(super) fn public(&self) -> Vec<Candidate> {
        let mut public: Vec<Candidate> = Vec::new();
        for candidate in self.all().filter(|candidate| !is_private(candidate.address.ip())) {
            if public.len() < control::MAX_CANDIDATES && !public.iter().any(|one| one.address == candidate.address) {
                public.push(candidate);
            }
        }
        public
    }

    /// Everything, the interfaces' own addresses first.
    fn all(&self) -> impl Iterator<Item = Candidate> {
        let of = |kind| move |address: &SocketAddr| Candidate { address: *address, kind };
        let reflexive = self.reflexive.iter().map(|(_, address)| address);
        self.hosts
            .iter()
            .map(of(CandidateKind::Host))
            .chain(self.mapped.iter().map(of(CandidateKind::PortMapped)))
            .chain(reflexive.map(of(CandidateKind::ServerReflexive)))
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.settles
    }
}

/// What a contact was told of our addresses.
#[derive(Debug, Default)]
pub(super) struct Told {
    introduction: Option<IntroductionId>,
    /// All that it was told under this introduction. The other side looks at each address once.
    ever: Vec<SocketAddr>,
    /// What it was told last.
    last: Vec<SocketAddr>,
}

impl Told {
    pub(super) fn under(&self, introduction: IntroductionId) -> bool {
        self.introduction == Some(introduction)
    }

    /// What is to be told now, and whether the introduction serves for it: it does not if an address comes back that
    /// was gone, for the other side does not look at it again, or if there are too many beside those told before.
    fn tell(&mut self, introduction: IntroductionId, own: impl Iterator<Item = Candidate>) -> (Vec<Candidate>, bool) {
        if !self.under(introduction) {
            *self = Self { introduction: Some(introduction), ..Self::default() };
        }
        let own: Vec<_> = own.collect();
        let returned = own.iter().any(|own| self.ever.contains(&own.address) && !self.last.contains(&own.address));
        // Half of what the other side looks at is left to what the invitation named.
        let room = (candidate::MAX_CANDIDATES / 2).saturating_sub(self.ever.len());
        let mut fresh: Vec<_> = own.iter().filter(|own| !self.ever.contains(&own.address)).copied().collect();
        let serves = !returned && (fresh.len() <= room || self.ever.is_empty());
        fresh.truncate(room);
        self.ever.extend(fresh.iter().map(|fresh| fresh.address));
        self.last = own.iter().map(|own| own.address).collect();
        (fresh, serves)
    }
}

impl Traversal {
    /// Our addresses on our own networks, the best first. Contacts hear of a change.
    pub fn set_hosts(&mut self, hosts: Vec<SocketAddr>, now: Instant) {
        if self.own.hosts != hosts {
            self.workshop.survey.set_local(hosts.first().map(SocketAddr::port));
            self.own.hosts = hosts;
            self.tell_all(now);
        }
    }

    /// The public address that our router opened for us on request, if it did. One that is private or nowhere is not
    /// believed: such a router is behind another.
    pub fn set_port_mapping(&mut self, mapped: Option<SocketAddr>, now: Instant) {
        let mapped = mapped.filter(|mapped| candidate::is_public(*mapped));
        if self.own.mapped != mapped {
            self.own.mapped = mapped;
            self.tell_all(now);
        }
    }

    /// What a rendezvous sees of us over the other address family than that of our registration there.
    pub(super) fn set_reflexive(&mut self, id: RendezvousId, address: SocketAddr, now: Instant) {
        let known = self.own.reflexive.iter_mut().find(|(of, _)| *of == id);
        match known {
            Some((_, known)) if *known == address => return,
            Some((_, known)) => *known = address,
            None => self.own.reflexive.push((id, address)),
        }
        self.tell_all(now);
    }

    pub(super) fn forget_reflexive(&mut self, id: RendezvousId) {
        self.own.reflexive.retain(|(of, _)| *of != id);
    }

    fn tell_all(&mut self, now: Instant) {
        self.contacts.values_mut().for_each(|contact| contact.tells = true);
        self.drain(now);
    }

    /// Tells a contact, under this introduction, what it does not know yet.
    pub(super) fn tell_own(&mut self, id: ContactId, introduction: IntroductionId, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.may_be_direct()) else { return };
        let (candidates, serves) = contact.told.tell(introduction, self.own.all());
        if !serves {
            contact.invite(now);
        }
        if !candidates.is_empty() {
            self.tell(id, &Note::Candidates { introduction, candidates });
        }
    }

    /// The network has changed, or may have: an address or a route came or went, or the machine slept. Every rendezvous
    /// is asked where we are, every path is checked at once and used on as long as it answers, and contacts for whom that
    /// is not enough are invited.
    pub fn handle_network_change(&mut self, now: Instant) {
        self.ask_rendezvous(now);
        for contact in self.contacts.values_mut() {
            contact.handle_network_change(now);
        }
        self.own.settles = Some(now + SETTLING);
        self.drain(now);
    }

    /// Asks every rendezvous where we are, but those that are being asked.
    pub(super) fn doubt_rendezvous(&mut self, now: Instant) {
        self.rendezvous.values_mut().for_each(|client| client.handle_doubt(now));
        self.ask_other_families(now);
    }

    /// Asks every rendezvous where we are.
    pub(super) fn ask_rendezvous(&mut self, now: Instant) {
        for client in self.rendezvous.values_mut() {
            client.handle_network_change(now);
        }
        self.ask_other_families(now);
    }

    pub(super) fn settle(&mut self, now: Instant) {
        if self.own.settles.take_if(|settles| *settles <= now).is_some() {
            self.contacts.values_mut().for_each(|contact| contact.settle(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> Candidate {
        Candidate { address: SocketAddr::from(([10, 0, 0, last], 9)), kind: CandidateKind::Host }
    }

    const FIRST: IntroductionId = IntroductionId([1; 12]);

    #[test]
    fn invitations_name_no_private_address() {
        let hosts = ["192.168.1.7:9", "203.0.113.7:9", "[fd00::7]:9", "[2001:db8::7]:9", "127.0.0.1:9", "[fe80::1]:9"];
        let hosts = hosts.iter().map(|text| text.parse().unwrap()).collect();
        let own = Own { hosts, mapped: Some("198.51.100.1:9".parse().unwrap()), ..Own::default() };
        let named: Vec<_> = own.public().iter().map(|candidate| candidate.address.to_string()).collect();
        assert_eq!(named, ["203.0.113.7:9", "[2001:db8::7]:9", "198.51.100.1:9"]);
        assert_eq!(own.all().count(), 7);
    }

    #[test]
    fn a_contact_is_told_each_address_once_an_introduction() {
        let mut told = Told::default();
        assert_eq!(told.tell(FIRST, [host(1), host(2)].into_iter()), (vec![host(1), host(2)], true));
        assert_eq!(told.tell(FIRST, [host(2), host(3)].into_iter()), (vec![host(3)], true));
        let second = IntroductionId([2; 12]);
        assert_eq!(told.tell(second, [host(3)].into_iter()), (vec![host(3)], true));
    }

    #[test]
    fn an_address_that_comes_back_needs_a_new_introduction() {
        let mut told = Told::default();
        told.tell(FIRST, [host(1)].into_iter());
        told.tell(FIRST, [host(2)].into_iter());
        assert_eq!(told.tell(FIRST, [host(1)].into_iter()), (vec![], false));
        assert_eq!(told.tell(FIRST, [host(1)].into_iter()), (vec![], true), "it was asked for once");
    }

    #[test]
    fn more_addresses_than_the_other_side_looks_at_need_a_new_introduction_unless_this_is_new() {
        let mut told = Told::default();
        let half = candidate::MAX_CANDIDATES / 2;
        let (fresh, serves) = told.tell(FIRST, (1..=20).map(host));
        assert_eq!((fresh.len(), serves), (half, true), "another would be told no more");
        let (fresh, serves) = told.tell(FIRST, (21..=40).map(host));
        assert_eq!((fresh.len(), serves), (0, false));
    }
}
