//! What a rendezvous says of introductions and relays, and what is said to it.

use std::time::{Duration, Instant};

use super::contact::{Contact, Relay};
use super::{ContactId, Event, RendezvousId, Traversal, Unreachable};
use crate::candidate::IntroductionId;
use crate::control::{ToPeer, ToRendezvous};
use crate::hops::DEFAULT_OPENER_TTL;
use crate::identity::PeerId;
use crate::registration::client;

/// How long a connection that ends may still use its relay.
const LAST_WORD: Duration = Duration::from_millis(200);

impl Traversal {
    pub(super) fn handle_control(&mut self, id: RendezvousId, message: ToPeer, now: Instant) {
        if let ToPeer::Invited { from: other, .. } | ToPeer::Relay { with: other, .. } = &message
            && !self.may_speak_for(id, other)
        {
            return;
        }
        match message {
            ToPeer::Invited { introduction, from, observed, key, candidates, channel, greeting } => {
                let remotes = self.remotes(id, &from, observed, &candidates);
                let Some(contact) = self.ids.get(&from).and_then(|id| self.contacts.get_mut(id)) else {
                    self.events.push_back(Event::Request { peer: from, via: id, greeting });
                    return;
                };
                // Seen at one address, both are behind one router, and the other's own lies no further than that.
                let seen = self.rendezvous.get(&id).and_then(client::Client::observed);
                let shared = seen.is_some_and(|ours| ours.ip() == observed.ip());
                let ttl = self.config.opener_ttl;
                contact.agent.set_opener_ttl(if shared { (ttl - 1).max(DEFAULT_OPENER_TTL) } else { ttl });
                if contact.handle_invited(introduction, key, &remotes, now) {
                    // Its first flight is close behind.
                    if let Some(channel) = channel {
                        self.handle_relay(id, from, channel);
                    }
                    let relay_only = self.heed_choice(&from, &remotes);
                    let candidates = self.candidates(relay_only);
                    self.refresh_other_family(id, now);
                    self.say(id, ToRendezvous::Accept { introduction, to: from, candidates, relay_only }, now);
                }
            }
            ToPeer::Accepted { introduction, from, observed, key, candidates } => {
                let remotes = self.remotes(id, &from, observed, &candidates);
                let Some(contact) = self.ids.get(&from).and_then(|id| self.contacts.get_mut(id)) else {
                    return;
                };
                if contact.handle_accepted(introduction, key, &remotes, now) {
                    let offered = contact.take_offered();
                    self.heed_choice(&from, &remotes);
                    if let Some(relay) = offered {
                        self.handle_relay(relay.rendezvous, from, relay.channel);
                    }
                    self.say(id, ToRendezvous::Opened { introduction, to: from }, now);
                }
            }
            ToPeer::Opened { introduction, from } => {
                if let Some(contact) = self.ids.get(&from).and_then(|id| self.contacts.get_mut(id)) {
                    contact.agent.handle_opened(introduction, now);
                }
            }
            ToPeer::Absent { introduction } => self.handle_declined(introduction, Unreachable::Absent, now),
            ToPeer::Refused { introduction } => self.handle_declined(introduction, Unreachable::Refused, now),
            ToPeer::Relay { introduction, with, channel } => {
                let Some(rendezvous) = self.rendezvous.get(&id).and_then(client::Client::remote) else { return };
                let Some(&contact) = self.ids.get(&with) else { return };
                let known = self.contacts.get_mut(&contact);
                if known.is_some_and(|known| known.handle_offered(introduction, Relay { rendezvous: id, channel })) {
                    self.events.push_back(Event::Offered { contact, rendezvous, channel });
                } else {
                    self.handle_relay(id, with, channel);
                }
            }
            ToPeer::RelayClosed { channel } => {
                self.handle_relay_closed(|relay| *relay == Relay { rendezvous: id, channel });
            }
            ToPeer::Posted { letter, outcome } => self.events.push_back(Event::Posted { via: id, letter, outcome }),
            ToPeer::Mailbox { open } => self.events.push_back(Event::Mailbox { via: id, open }),
            ToPeer::Letter { id: letter, from, envelope } => self.handle_letter(id, letter, from, envelope),
            ToPeer::Presence { peers } => self.handle_presence(id, &peers),
            ToPeer::CodeOpened { number } => self.events.push_back(Event::CodeOpened { via: id, number }),
            ToPeer::Code { number, message } => self.events.push_back(Event::Code { via: id, number, message }),
            ToPeer::CodeClosed { number } => self.events.push_back(Event::CodeClosed { via: id, number }),
            ToPeer::Closing => {}
        }
    }

    /// Whether this peer can be met through this rendezvous at all. Nobody comes to us through one that is not ours, but a
    /// contact whom we have invited there.
    pub(super) fn may_speak_for(&self, id: RendezvousId, peer: &PeerId) -> bool {
        let contact = self.ids.get(peer).and_then(|contact| self.contacts.get(contact));
        !self.reserved.contains(&id) || contact.is_some_and(|contact| contact.via().contains(&id))
    }

    fn handle_relay(&mut self, id: RendezvousId, with: PeerId, channel: u32) {
        let Some(rendezvous) = self.rendezvous.get(&id).and_then(client::Client::remote) else { return };
        let Some(&contact) = self.ids.get(&with) else { return };
        if let Some(known) = self.contacts.get_mut(&contact).filter(|known| !known.hidden) {
            known.handle_relay(Relay { rendezvous: id, channel });
            self.events.push_back(Event::Relay { contact, rendezvous, channel });
        }
    }

    /// Without this a contact that was removed could push frames through our NAT for as long as it likes. It is said a
    /// little later: the connection's own last word goes through the relay, too.
    pub(super) fn refuse_relays(&mut self, contact: &Contact, now: Instant) {
        self.refusals.extend(contact.relays().map(|relay| (now + LAST_WORD, relay)));
    }

    pub(super) fn refuse_due(&mut self, now: Instant) {
        while self.refusals.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, relay)) = self.refusals.pop_front() else { return };
            // The same two mostly get the same channel again: a contact that was taken in anew is not refused.
            if !self.contacts.values().any(|contact| contact.relays().any(|used| used == relay)) {
                // Not to be said now, it is said by our silence when the registration ends.
                self.say(relay.rendezvous, ToRendezvous::Refuse { channel: relay.channel }, now);
            }
        }
    }

    pub(super) fn handle_relay_closed(&mut self, closed: impl Fn(&Relay) -> bool) {
        for (id, contact) in &mut self.contacts {
            if contact.handle_relay_closed(&closed) {
                self.events.push_back(Event::RelayClosed(*id));
            }
        }
    }

    pub(super) fn handle_declined(&mut self, introduction: IntroductionId, why: Unreachable, now: Instant) {
        let mut contacts = self.contacts.iter_mut();
        let declined = contacts.find_map(|(id, contact)| contact.handle_declined(introduction, now).then_some(*id));
        // A direct path needs no rendezvous.
        if let Some(contact) = declined.filter(|contact| self.path(*contact).is_none()) {
            self.events.push_back(Event::Unreachable { contact, why });
        }
    }

    pub(super) fn invite(&mut self, id: ContactId, introduction: IntroductionId, eager: bool, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id) else {
            return;
        };
        let (relay_only, greeting) = (contact.relay_only, contact.greeting.clone());
        let to = contact.peer();
        let registered = |via: &RendezvousId| self.rendezvous.get(via).is_some_and(|c| c.observed().is_some());
        let heard = |via: &RendezvousId| self.rendezvous.get(via).is_some_and(|client| !client.is_doubtful());
        match contact.next_via(heard).or_else(|| contact.next_via(registered)) {
            None => contact.handle_unsent(),
            Some(via) => {
                contact.handle_sent(via);
                self.refresh_other_family(via, now);
                let candidates = self.candidates(relay_only);
                let invite = ToRendezvous::Invite { introduction, to, candidates, relay_only, greeting };
                if !self.say(via, invite, now) {
                    self.handle_declined(introduction, Unreachable::Refused, now);
                } else if eager {
                    self.fly(id, via, introduction);
                }
            }
        }
    }

    /// Lets the first datagrams to a contact follow the invitation that goes this way.
    fn fly(&mut self, id: ContactId, via: RendezvousId, introduction: IntroductionId) {
        let client = self.rendezvous.get(&via);
        let (Some(rendezvous), Some(slot)) =
            (client.and_then(client::Client::remote), client.and_then(client::Client::slot))
        else {
            return;
        };
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.handle_flight();
            self.events.push_back(Event::Flight { contact: id, rendezvous, slot, introduction });
        }
    }

    /// A rendezvous does not answer: whoever is being invited through it is invited through another, if there is one.
    pub(super) fn invite_otherwise(&mut self, id: RendezvousId, now: Instant) {
        let usable = |via: &RendezvousId| self.rendezvous.get(via).is_some_and(|client| !client.is_doubtful());
        for contact in self.contacts.values_mut() {
            contact.invite_otherwise(id, usable, now);
        }
    }

    pub(super) fn say(&mut self, id: RendezvousId, message: ToRendezvous, now: Instant) -> bool {
        self.rendezvous.get_mut(&id).is_some_and(|client| client.send(message, now).is_ok())
    }
}
