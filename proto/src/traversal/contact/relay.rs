//! The relay of a contact: the one that both may use, and the one that is offered with our invitation.

use super::Contact;
use crate::candidate::IntroductionId;
use crate::traversal::RendezvousId;

/// A way through a rendezvous, which both may use until it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::traversal) struct Relay {
    pub(in crate::traversal) rendezvous: RendezvousId,
    pub(in crate::traversal) channel: u32,
}

impl Contact {
    pub(in crate::traversal) const fn relay(&self) -> Option<Relay> {
        self.relay
    }

    pub(in crate::traversal) fn handle_relay(&mut self, relay: Relay) {
        self.relay = Some(relay);
        // There is nothing better to wait for, and to invite again would change nothing.
        if self.without_udp.is_some() {
            self.invitation.handle_reached();
        }
    }

    /// A relay came with our own invitation of this name. Whether it is only offered yet; else it is the contact's.
    pub(in crate::traversal) fn handle_offered(&mut self, introduction: IntroductionId, relay: Relay) -> bool {
        let offered = self.invitation.is_inviting_by(introduction) && self.relay != Some(relay);
        if offered {
            self.offered = Some(relay);
        }
        offered
    }

    /// The relays by which the contact's frames come.
    pub(in crate::traversal) fn relays(&self) -> impl Iterator<Item = Relay> {
        self.relay.into_iter().chain(self.offered)
    }

    /// The relay that came with our invitation, when that is accepted.
    pub(in crate::traversal) fn take_offered(&mut self) -> Option<Relay> {
        self.offered.take()
    }

    /// Whether this was the contact's relay, which is no more.
    pub(in crate::traversal) fn handle_relay_closed(&mut self, closed: impl Fn(&Relay) -> bool) -> bool {
        self.offered.take_if(|relay| closed(relay));
        self.relay.take_if(|relay| closed(relay)).is_some()
    }
}
