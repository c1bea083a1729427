//! From "I want to reach this contact" to an address where its datagrams are heard: registrations, invitations and path
//! agents joined into one machine.
//!
//! A peer owns one [`Traversal`]. It holds a registration at each rendezvous, its own and its contacts', and for each
//! contact an [`Invitation`](crate::invitation::Invitation) and a path [`Agent`](crate::path::Agent). What is not here:
//! sockets, the QUIC sign-in and the QUIC connections, whose datagrams the owner sends to the paths found here.

mod bases;
mod contact;
#[cfg(test)]
mod flight_tests;
mod introduction;
mod lan;
mod note;
mod other_family;
mod own;
mod tactics;
#[cfg(test)]
mod tests;
mod without_udp;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::candidate::IntroductionId;
use crate::control::ToRendezvous;
use crate::datagram::{Header, Kind, classify};
use crate::identity::PeerId;
use crate::path::{Base, Config, Transmit};
use crate::registration::{self, Profile, SignInAnswer, client};
use crate::seal::RegistrationSecret;
use crate::stun::check::{Peek, peek};
use crate::tunnel::is_without_udp;
use contact::{Contact, Step};
pub use note::{MAX_NOTE, Note};
use other_family::OtherFamily;
use own::Own;
use tactics::Workshop;

/// The owner's name for a rendezvous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RendezvousId(pub u32);

/// The owner's name for a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContactId(pub u32);

/// Why a contact is not reached; trying goes on by itself, more and more rarely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// None of the rendezvous through which it can be invited answers us.
    NoRendezvous,
    /// It keeps alive at none of its rendezvous.
    Absent,
    /// The rendezvous has too much to do for us.
    Refused,
    /// Both sides tried, and no check came through.
    NoPath,
    /// Only a relay can be: our network lets no UDP through.
    NoUdp,
    /// Only a relay can be: the contact's network lets no UDP through.
    NoUdpThere,
    /// Both networks give every connection a port that cannot be foreseen: no direct path can be found.
    BothHard,
    /// The network of one side gives every connection a port of its own, and it was not hit upon. It is tried again, rarely.
    TacticFailed,
}

/// What the owner must do or know.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Sign in over QUIC, then call `handle_signed_in` or `handle_sign_in_failed`.
    SignIn(RendezvousId),
    /// Known to the rendezvous, which sees us at this address (also after it changed). Port 0: over TCP, for no UDP passes.
    Registered {
        /// Which one.
        rendezvous: RendezvousId,
        /// Our address as it sees it.
        observed: SocketAddr,
    },
    /// Not known to the rendezvous any more; signing in follows by itself.
    Unregistered(RendezvousId),
    /// A stranger invites us. It has learnt nothing of us.
    Request {
        /// Who.
        peer: PeerId,
        /// The rendezvous that said so.
        via: RendezvousId,
    },
    /// This address proved to be the contact's: QUIC from it is to be taken.
    Admit {
        /// Whose.
        contact: ContactId,
        /// The socket that it reaches.
        base: Base,
        /// Its address.
        remote: SocketAddr,
        /// Whether more than the check speaks for it: the rendezvous saw the contact there, or it is on a network of our own.
        /// Only then may anything be sent there that is longer than what comes, before a check of ours is answered.
        vouched: bool,
    },
    /// This address was given up: QUIC from it is not to be taken any more.
    Revoke {
        /// Whose it was.
        contact: ContactId,
        /// The socket that it reached.
        base: Base,
        /// The address.
        remote: SocketAddr,
    },
    /// QUIC to the contact goes to this address from now on.
    Path {
        /// Whose.
        contact: ContactId,
        /// The socket to send from.
        base: Base,
        /// Its address.
        remote: SocketAddr,
        /// The round-trip time of the check.
        rtt: Duration,
    },
    /// There is a path or a relay, and it is ours to open the connection if there is none: the inviter's, or in glare the smaller id's.
    Dial(ContactId),
    /// Open the connection, if there is none, behind the invitation that `poll_transmit` gives next: send that first. Where
    /// there is no other way, QUIC's datagrams to the contact may go in flight datagrams, a few at most, until
    /// [`Event::Offered`] or [`Event::Relay`] names another.
    Flight {
        /// To whom.
        contact: ContactId,
        /// The rendezvous that passes them on.
        rendezvous: SocketAddr,
        /// Our slot there, and …
        slot: u32,
        /// … the invitation, for [`flight_header`](crate::datagram::flight_header).
        introduction: IntroductionId,
    },
    /// The contact may answer by this relay channel, which it has not accepted yet; a few of QUIC's datagrams may go by it.
    Offered {
        /// Whose.
        contact: ContactId,
        /// The rendezvous that relays.
        rendezvous: SocketAddr,
        /// Names the channel in the frames.
        channel: u32,
    },
    /// The invitation behind which the connection was opened came to nothing: without another way the connection does too.
    Grounded(ContactId),
    /// Until there is a direct path, QUIC to the contact may go through this relay channel, and come from it.
    Relay {
        /// Whose.
        contact: ContactId,
        /// The rendezvous that relays.
        rendezvous: SocketAddr,
        /// Names the channel in the frames.
        channel: u32,
    },
    /// The contact's relay channel is no more.
    RelayClosed(ContactId),
    /// Send this to the contact in a [`Frame::Note`](crate::frames::Frame::Note), ahead of messages.
    Note {
        /// To whom.
        contact: ContactId,
        /// The note.
        note: Vec<u8>,
    },
    /// Open up to so many more IPv4 sockets, for a hard NAT, and call `handle_bases` with what there is, perhaps nothing.
    OpenBases {
        /// For whom.
        contact: ContactId,
        /// How many, at most 256.
        count: u16,
    },
    /// What `memory` gives has changed.
    Remember,
    /// Close this socket: no path goes from it.
    CloseBase(Base),
    /// The path carries nothing any more. An invitation is on its way already.
    PathLost(ContactId),
    /// It was not reached this time.
    Unreachable {
        /// Who.
        contact: ContactId,
        /// Why.
        why: Unreachable,
    },
}

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
    contacts: BTreeMap<ContactId, Contact>,
    ids: BTreeMap<PeerId, ContactId>,
    workshop: Workshop,
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
            contacts: BTreeMap::new(),
            ids: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        seed
    }

    /// Registers at a rendezvous, and stays registered.
    pub fn add_rendezvous(&mut self, id: RendezvousId, now: Instant) {
        let (seed, (profile, interval)) = (self.seed(), self.keepalive);
        let client = self.rendezvous.entry(id).or_insert_with(|| client::Client::new(seed, now));
        client.set_keepalive(profile, interval, now);
    }

    /// What a spare socket sends to this rendezvous to have an echo, see
    /// [`Client::echo_requests`](client::Client::echo_requests).
    pub fn echo_requests(&mut self, id: RendezvousId, delay_s: u16) -> Option<registration::echo::Requests> {
        self.rendezvous.get_mut(&id)?.echo_requests(delay_s)
    }

    /// Keeps all registrations alive as this profile says, every `interval` (whole seconds).
    pub fn set_keepalive(&mut self, profile: Profile, interval: Duration, now: Instant) {
        self.keepalive = (profile, interval);
        self.rendezvous.values_mut().for_each(|client| client.set_keepalive(profile, interval, now));
    }

    /// Lets a registration end: nobody is to be met there any more.
    pub fn remove_rendezvous(&mut self, id: RendezvousId) {
        self.rendezvous.remove(&id);
        self.other_families.remove(&id);
        self.forget_reflexive(id);
    }

    /// Makes a contact known, so that its invitations are taken up. `via`: where it can be invited, the preferred first.
    pub fn add_contact(&mut self, id: ContactId, peer: PeerId, via: Vec<RendezvousId>) {
        let seeds = (self.seed(), self.seed());
        self.contacts.insert(id, Contact::new(self.me, peer, via, self.config, seeds));
        self.ids.insert(peer, id);
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

    /// What the rendezvous sees of us, while registered there.
    #[must_use]
    pub fn observed(&self, id: RendezvousId) -> Option<SocketAddr> {
        self.rendezvous.get(&id)?.observed()
    }

    /// The request for the sign-in that an [`Event::SignIn`] asks for.
    #[must_use]
    pub fn sign_in_request(&self, id: RendezvousId) -> Option<registration::SignInRequest> {
        let interval = self.rendezvous.get(&id)?.interval().as_secs();
        Some(registration::SignInRequest { interval_s: u16::try_from(interval).unwrap_or(u16::MAX) })
    }

    /// The sign-in succeeded.
    pub fn handle_signed_in(
        &mut self,
        id: RendezvousId,
        remote: SocketAddr,
        answer: &SignInAnswer,
        secret: &RegistrationSecret,
        now: Instant,
    ) {
        if let Some(client) = self.rendezvous.get_mut(&id) {
            client.handle_signed_in(remote, answer, secret, now);
            self.drain(now);
        }
    }

    /// The sign-in failed.
    pub fn handle_sign_in_failed(&mut self, id: RendezvousId, now: Instant) {
        let Some(client) = self.rendezvous.get_mut(&id) else { return };
        client.handle_sign_in_failed(now);
        let waiting = self.contacts.iter().filter(|(_, contact)| contact.is_waiting() && contact.via().contains(&id));
        let why = Unreachable::NoRendezvous;
        self.events.extend(waiting.map(|(contact, _)| Event::Unreachable { contact: *contact, why }));
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
        self.ask_rendezvous(now);
        self.drain(now);
    }

    /// Something was sent to the contact through its relay a while ago, and nothing has come since: either the relay's
    /// rendezvous has forgotten us, or it sees us somewhere else. It is asked.
    pub fn handle_relay_silence(&mut self, id: ContactId, now: Instant) {
        let relay = self.contacts.get(&id).and_then(Contact::relay);
        if let Some(client) = relay.and_then(|relay| self.rendezvous.get_mut(&relay.rendezvous)) {
            client.handle_network_change(now);
        }
        self.drain(now);
    }

    /// Tells every rendezvous that we leave.
    pub fn goodbye(&mut self, now: Instant) {
        for client in self.rendezvous.values_mut() {
            // Not registered, or the channel is full: the registration expires by itself.
            let _ = client.send(ToRendezvous::Goodbye, now);
        }
    }

    /// Whether every rendezvous has acknowledged all that was said.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.rendezvous.values().all(client::Client::is_idle)
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
        let ours = self.own.poll_timeout().into_iter().chain(self.poll_tactics());
        contacts.chain(rendezvous).chain(families).chain(ours).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for client in self.rendezvous.values_mut() {
            client.handle_timeout(now);
        }
        for contact in self.contacts.values_mut() {
            contact.handle_timeout(now);
        }
        for family in self.other_families.values_mut() {
            family.handle_timeout(now);
        }
        self.settle(now);
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
    }

    fn handle_registration_event(&mut self, id: RendezvousId, event: client::Event, now: Instant) {
        match event {
            client::Event::SignIn => self.events.push_back(Event::SignIn(id)),
            client::Event::Unregistered => {
                self.events.push_back(Event::Unregistered(id));
                self.invite_otherwise(id, now);
                self.contacts.values_mut().for_each(|contact| contact.handle_unregistered(id));
                // Channels end with the registration.
                self.handle_relay_closed(|relay| relay.rendezvous == id);
            }
            client::Event::Registered { observed } => {
                self.events.push_back(Event::Registered { rendezvous: id, observed });
                if let Some(remote) = self.rendezvous.get(&id).and_then(client::Client::remote) {
                    self.workshop.survey.handle_registered(remote, observed, now);
                }
                for contact in self.contacts.values_mut().filter(|contact| contact.via().contains(&id)) {
                    contact.handle_registered(now);
                    contact.settle(now);
                }
                if !is_without_udp(observed) {
                    self.contacts.values_mut().for_each(|contact| contact.handle_udp(now));
                }
            }
            client::Event::Doubtful => self.invite_otherwise(id, now),
            client::Event::Control(message) => self.handle_control(id, message, now),
        }
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
                self.ask_rendezvous(now);
            }
            Step::Failed => {
                let why = self.without_udp(id).or_else(|| self.why_no_path(id));
                self.events.extend(why.map(|why| Event::Unreachable { contact: id, why }));
            }
        }
    }
}
