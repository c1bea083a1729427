//! From "I want to reach this contact" to an address where its datagrams are heard: registrations, invitations and path
//! agents joined into one machine.
//!
//! A peer owns one [`Traversal`]. It holds a registration at each rendezvous, its own and its contacts', and for each
//! contact an [`Invitation`](crate::invitation::Invitation) and a path [`Agent`](crate::path::Agent). What is not here:
//! sockets, the QUIC sign-in and the QUIC connections, whose datagrams the owner sends to the paths found here.

mod bases;
mod codes;
mod contact;
mod event;
#[cfg(test)]
mod flight_tests;
mod hiding;
#[cfg(test)]
mod hostile_tests;
mod introduction;
mod lan;
mod letters;
mod note;
mod other_family;
mod own;
mod registrations;
mod relay_only;
#[cfg(test)]
mod relay_only_tests;
mod tactics;
#[cfg(test)]
mod tests;
mod watching;
#[cfg(test)]
mod watching_tests;
mod without_udp;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::datagram::{Header, Kind, classify};
use crate::identity::PeerId;
use crate::path::{Base, Config, Transmit};
use crate::registration::{Profile, client};
use crate::stun::check::{Peek, peek};
use contact::{Contact, Relay, Step};
pub use event::{ContactId, Event, RendezvousId, Unreachable};
pub use letters::NotPosted;
pub use note::{MAX_NOTE, Note};
use other_family::OtherFamily;
use own::Own;
use tactics::Workshop;
use watching::Watching;

/// A peer's registrations, invitations and paths.
pub struct Traversal {
    me: PeerId,
    config: Config,
    random: ChaCha12Rng,
    /// How registrations are kept alive.
    keepalive: (Profile, Duration),
    own: Own,
    other_families: BTreeMap<RendezvousId, OtherFamily>,
    rendezvous: BTreeMap<RendezvousId, client::Client>,
    /// Those of contacts, see [`Self::reserve_rendezvous`].
    reserved: BTreeSet<RendezvousId>,
    contacts: BTreeMap<ContactId, Contact>,
    ids: BTreeMap<PeerId, ContactId>,
    /// Relays of contacts that were removed, and when they are to be refused.
    refusals: VecDeque<(Instant, Relay)>,
    workshop: Workshop,
    watching: Watching,
    events: VecDeque<Event>,
}

impl Traversal {
    /// A peer that knows nobody yet.
    #[must_use]
    pub fn new(me: PeerId, config: Config, seed: [u8; 32]) -> Self {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut survey = [0; 32];
        random.fill_bytes(&mut survey);
        Self {
            me,
            config,
            workshop: Workshop::new(survey, config.allow_loopback),
            random,
            keepalive: (config.profile, config.profile.interval()),
            own: Own::default(),
            other_families: BTreeMap::new(),
            rendezvous: BTreeMap::new(),
            reserved: BTreeSet::new(),
            refusals: VecDeque::new(),
            contacts: BTreeMap::new(),
            ids: BTreeMap::new(),
            watching: Watching::default(),
            events: VecDeque::new(),
        }
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        seed
    }

    /// Makes a contact known, so that its invitations are taken up. `via`: where it can be invited, the preferred first.
    pub fn add_contact(&mut self, id: ContactId, peer: PeerId, via: Vec<RendezvousId>) {
        let seeds = (self.seed(), self.seed());
        self.contacts.insert(id, Contact::new(self.me, peer, via, self.config, seeds));
        self.ids.insert(peer, id);
    }

    /// What our invitations of this contact say of us, should it not know us: at most
    /// [`MAX_GREETING`](crate::control::MAX_GREETING) bytes.
    pub fn set_greeting(&mut self, id: ContactId, greeting: Option<String>) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.greeting = greeting.filter(|greeting| greeting.len() <= crate::control::MAX_GREETING);
        }
    }

    /// Forgets a contact: its invitations are a stranger's again, and its relay is refused.
    pub fn remove_contact(&mut self, id: ContactId, now: Instant) {
        self.end_tactics(id);
        if let Some(contact) = self.contacts.remove(&id) {
            self.ids.remove(&contact.peer());
            self.refuse_relays(&contact, now);
        }
    }

    /// How far openers must go, found out by [`hops`](crate::hops).
    pub fn set_opener_ttl(&mut self, ttl: u8) {
        self.config.opener_ttl = ttl;
    }

    /// The contact is wanted: invites it, unless it is reached or on the way.
    pub fn connect(&mut self, id: ContactId, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.connect(now);
        }
        self.drain(now);
    }

    /// The contact is wanted no more: forgets its path and ends its invitations. Its own invitations are still taken up.
    pub fn release(&mut self, id: ContactId) {
        self.end_tactics(id);
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.release();
        }
    }

    /// Whether our latest invitation of a contact has not been taken up: what followed it may have found nobody.
    #[must_use]
    pub fn is_outstanding(&self, id: ContactId) -> bool {
        self.contacts.get(&id).is_some_and(Contact::is_outstanding)
    }

    /// The path of a contact, with its round-trip time.
    #[must_use]
    pub fn path(&self, id: ContactId) -> Option<(SocketAddr, Duration)> {
        self.contacts.get(&id)?.path()
    }

    /// A STUN or Knothole datagram came to one of our sockets.
    pub fn handle_datagram(&mut self, base: Base, from: SocketAddr, datagram: &[u8], now: Instant) {
        match datagram.first().map(|first| classify(*first)) {
            Some(Kind::Stun) => self.handle_stun(base, from, datagram, now),
            Some(Kind::Knothole) if base == Base::MAIN => {
                let Some(header) = Header::parse(datagram) else { return };
                for client in self.rendezvous.values_mut().filter(|client| client.remote() == Some(from)) {
                    client.handle_datagram(from, header, datagram, now);
                }
            }
            _ => {}
        }
        self.drain(now);
    }

    fn handle_stun(&mut self, base: Base, from: SocketAddr, datagram: &[u8], now: Instant) {
        match peek(datagram) {
            Peek::Request(introduction) => {
                if let Some(contact) = self.contacts.values_mut().find(|contact| contact.agent.knows(&introduction)) {
                    contact.agent.handle_request(base, from, datagram, now);
                }
            }
            Peek::Response(transaction) => {
                if let Some(contact) = self.contacts.values_mut().find(|contact| contact.agent.expects(&transaction)) {
                    contact.agent.handle_response(base, from, datagram, now);
                } else {
                    self.workshop.handle_response(base, from, datagram, now);
                    self.handle_other_family(from, datagram, now);
                }
            }
            Peek::Other => {}
        }
    }

    /// QUIC came from the contact at this address, to this socket: it consents to hear from us there.
    pub fn handle_received(&mut self, id: ContactId, base: Base, remote: SocketAddr, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.agent.handle_received(base, remote, now);
        }
    }

    /// Something was sent to the contact a while ago, directly or through a relay, and nothing has come since. Perhaps it is
    /// we who moved: the rendezvous are asked in the same moment, for until they know, no relay reaches us.
    pub fn handle_silence(&mut self, id: ContactId, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.agent.handle_silence(now);
        }
        self.doubt_rendezvous(now);
        self.drain(now);
    }

    /// Something was sent to the contact through its relay a while ago, and nothing has come since: either the relay's
    /// rendezvous has forgotten us, or it sees us somewhere else. It is asked.
    pub fn handle_relay_silence(&mut self, id: ContactId, now: Instant) {
        let relay = self.contacts.get(&id).and_then(Contact::relay);
        if let Some(client) = relay.and_then(|relay| self.rendezvous.get_mut(&relay.rendezvous)) {
            client.handle_doubt(now);
        }
        self.drain(now);
    }

    /// The next datagram to send. Checks go first: an acceptance must not overtake its opening packets.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        self.contacts
            .values_mut()
            .find_map(|contact| contact.agent.poll_transmit())
            .or_else(|| self.workshop.poll_transmit())
            .or_else(|| {
                let rendezvous = self.rendezvous.values_mut().find_map(|client| client.poll_transmit(now));
                let transmit =
                    rendezvous.or_else(|| self.other_families.values_mut().find_map(OtherFamily::poll_transmit))?;
                Some(Transmit { base: Base::MAIN, to: transmit.to, ttl: transmit.ttl, payload: transmit.payload })
            })
    }

    /// What the owner must do or know next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let contacts = self.contacts.values().filter_map(Contact::poll_timeout);
        let rendezvous = self.rendezvous.values().filter_map(client::Client::poll_timeout);
        let families = self.other_families.values().filter_map(OtherFamily::poll_timeout);
        let refusal = self.refusals.front().map(|(due, _)| *due);
        let watching = self.watching.poll_timeout();
        let ours = self.own.poll_timeout().into_iter().chain(self.poll_tactics()).chain(refusal).chain(watching);
        contacts.chain(rendezvous).chain(families).chain(ours).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for client in self.rendezvous.values_mut() {
            client.handle_timeout(now);
        }
        self.handle_watch_timeout(now);
        for contact in self.contacts.values_mut() {
            contact.handle_timeout(now);
        }
        for family in self.other_families.values_mut() {
            family.handle_timeout(now);
        }
        self.settle(now);
        self.refuse_due(now);
        self.handle_tactics_timeout(now);
        self.drain(now);
    }

    /// Lets the machines have each other's events until all are quiet.
    fn drain(&mut self, now: Instant) {
        let ids: Vec<_> = self.rendezvous.keys().copied().collect();
        for id in ids {
            while let Some(event) = self.rendezvous.get_mut(&id).and_then(client::Client::poll_event) {
                self.handle_registration_event(id, event, now);
            }
        }
        let ids: Vec<_> = self.contacts.keys().copied().collect();
        for id in ids {
            while let Some(step) = self.contacts.get_mut(&id).and_then(|contact| contact.poll_step(now)) {
                self.handle_step(id, step, now);
            }
        }
        self.advance_tactics(now);
        self.say_watches(now);
    }

    fn handle_step(&mut self, id: ContactId, step: Step, now: Instant) {
        match step {
            Step::Invite { introduction, eager } => self.invite(id, introduction, eager, now),
            Step::Grounded => self.events.push_back(Event::Grounded(id)),
            Step::Tell(introduction) => self.tell_own(id, introduction, now),
            Step::Admit { base, remote, vouched } => {
                self.events.push_back(Event::Admit { contact: id, base, remote, vouched });
            }
            Step::Revoke { base, remote } => self.events.push_back(Event::Revoke { contact: id, base, remote }),
            Step::Observed(address) => self.workshop.survey.handle_observed(address),
            Step::Path { base, remote, rtt } => {
                self.events.push_back(Event::Path { contact: id, base, remote, rtt });
                self.handle_reached(id, base, now);
            }
            Step::Dial => self.events.push_back(Event::Dial(id)),
            Step::Lost => {
                self.events.push_back(Event::PathLost(id));
                // Perhaps it was our own mapping that moved: then the rendezvous must learn it before anything goes through it.
                self.doubt_rendezvous(now);
            }
            Step::Failed => {
                let why = self.without_udp(id).or_else(|| self.why_no_path(id));
                self.events.extend(why.map(|why| Event::Unreachable { contact: id, why }));
            }
        }
    }
}
