//! Registrations at rendezvous: ours and our contacts'.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Event, RendezvousId, Traversal, Unreachable};
use crate::control::ToRendezvous;
use crate::registration::{self, Profile, SignInAnswer, client};
use crate::seal::RegistrationSecret;
use crate::tunnel::is_without_udp;

impl Traversal {
    /// Registers at a rendezvous, and stays registered.
    pub fn add_rendezvous(&mut self, id: RendezvousId, now: Instant) {
        let (seed, (profile, interval)) = (self.seed(), self.keepalive);
        let client = self.rendezvous.entry(id).or_insert_with(|| client::Client::new(seed, now));
        client.set_keepalive(profile, interval, now);
        client.set_unseen(self.watching.unseen);
    }

    /// Hears through this rendezvous of those contacts alone that can be invited there: it is not ours but theirs, and
    /// whoever runs it has no business with the others.
    pub fn reserve_rendezvous(&mut self, id: RendezvousId) {
        self.reserved.insert(id);
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
        self.reserved.remove(&id);
        self.other_families.remove(&id);
        self.forget_reflexive(id);
        self.forget_presence(id);
    }

    /// What the rendezvous sees of us, while registered there.
    #[must_use]
    pub fn observed(&self, id: RendezvousId) -> Option<SocketAddr> {
        self.rendezvous.get(&id)?.observed()
    }

    /// The request for the sign-in that an [`Event::SignIn`] asks for.
    #[must_use]
    pub fn sign_in_request(&self, id: RendezvousId) -> Option<registration::SignInRequest> {
        let client = self.rendezvous.get(&id)?;
        let interval_s = u16::try_from(client.interval().as_secs()).unwrap_or(u16::MAX);
        Some(registration::SignInRequest { interval_s, unseen: client.is_unseen() })
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
        // Wanted elsewhere, a contact may have a path all the same.
        let waiting = waiting.filter(|(_, contact)| contact.path().is_none());
        let why = Unreachable::NoRendezvous;
        self.events.extend(waiting.map(|(contact, _)| Event::Unreachable { contact: *contact, why }));
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

    pub(super) fn handle_registration_event(&mut self, id: RendezvousId, event: client::Event, now: Instant) {
        match event {
            client::Event::SignIn => self.events.push_back(Event::SignIn(id)),
            client::Event::Unregistered => {
                self.events.push_back(Event::Unregistered(id));
                self.handle_presence_unknown(id, now);
                self.invite_otherwise(id, now);
                self.contacts.values_mut().for_each(|contact| contact.handle_unregistered(id));
                // Channels end with the registration.
                self.handle_relay_closed(|relay| relay.rendezvous == id);
            }
            client::Event::Registered { observed } => {
                self.events.push_back(Event::Registered { rendezvous: id, observed });
                self.name_all(id, now);
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
}
