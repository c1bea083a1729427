//! Contacts that are met through the relay alone, because one of the two has chosen so: neither learns an address of the
//! other, and not one packet goes between their networks (docs/protocol.md, "Relay only").
//!
//! Whoever chooses says so in its invitations and acceptances, and the rendezvous tells the other no address. The other does
//! the same in its acceptances, for what leads to no check need not be told.

use std::net::SocketAddr;
use std::time::Instant;

use super::contact::Contact;
use super::without_udp::Remotes;
use super::{ContactId, Event, Note, Traversal, Unreachable};
use crate::candidate::Candidate;
use crate::hard_nat::Word;
use crate::identity::PeerId;
use crate::tunnel::NO_ADDRESS;

impl Unreachable {
    /// Whether somebody has chosen this; no network is to blame.
    pub(super) const fn is_choice(self) -> bool {
        matches!(self, Self::RelayOnly | Self::RelayOnlyThere)
    }
}

impl Contact {
    /// Whether checks, candidates and whatever else leads to a direct path may go to this contact.
    pub(super) fn may_be_direct(&self) -> bool {
        !self.relay_only && !self.without_udp.is_some_and(Unreachable::is_choice)
    }
}

impl Traversal {
    /// Whether this contact is met through the relay alone. It takes effect at once: a path is left, and the contact invited
    /// anew, by which the other side hears of it.
    pub fn set_relay_only(&mut self, id: ContactId, relay_only: bool, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.relay_only != relay_only) else {
            return;
        };
        contact.retract(now);
        contact.relay_only = relay_only;
        contact.without_udp = relay_only.then_some(Unreachable::RelayOnly);
        if relay_only {
            self.leave_path(id, Unreachable::RelayOnly);
        } else {
            self.tell_nat_to(id);
        }
        self.drain(now);
    }

    /// Why there is to be no direct path with this peer, whom the rendezvous sees at `observed`, if somebody has chosen so.
    pub(super) fn choice(&self, peer: &PeerId, observed: SocketAddr) -> Option<Unreachable> {
        let contact = self.ids.get(peer).and_then(|id| self.contacts.get(id));
        if contact.is_some_and(|contact| contact.relay_only) {
            return Some(Unreachable::RelayOnly);
        }
        (observed == NO_ADDRESS).then_some(Unreachable::RelayOnlyThere)
    }

    /// An introduction told what was chosen: leaves the path, or is open for one again. Whether only the relay may be.
    pub(super) fn heed_choice(&mut self, peer: &PeerId, remotes: &Remotes) -> bool {
        let Some(&id) = self.ids.get(peer) else { return false };
        let choice = remotes.choice();
        match choice {
            Some(why) => self.leave_path(id, why),
            None => self.tell_nat_to(id),
        }
        choice.is_some()
    }

    /// What an invitation or an acceptance names.
    pub(super) fn candidates(&self, relay_only: bool) -> Vec<Candidate> {
        if relay_only { Vec::new() } else { self.own.public() }
    }

    fn leave_path(&mut self, id: ContactId, why: Unreachable) {
        self.end_tactics(id);
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let direct = contact.leave_path();
        // Not to be admitted any more, before anything else is sent.
        while let Some(step) = contact.agent.poll_event() {
            if let crate::path::Event::Forgotten { base, remote } = step {
                self.events.push_back(Event::Revoke { contact: id, base, remote });
            }
        }
        if direct {
            self.events.push_back(Event::PathLeft { contact: id, why });
        } else if contact.relay().is_some() {
            self.events.push_back(Event::Unreachable { contact: id, why });
        }
    }

    /// What it was told while only the relay might be is nothing.
    fn tell_nat_to(&mut self, id: ContactId) {
        let owed = self.contacts.get_mut(&id).is_some_and(|contact| std::mem::take(&mut contact.untold));
        if owed {
            self.tell(id, &Note::Tactic(Word::Nat(self.nat())));
        }
    }
}
