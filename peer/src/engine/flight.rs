//! The first flight: a connection opened behind its own invitation, before anybody has accepted that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::traversal::ContactId;

use super::contact::Contact;
use super::{Engine, virtual_address};
use crate::link::Abort;
use crate::socket::Route;

/// Of two connections opened at once by both sides, ours has been answered when theirs is up, wherever on earth they are.
/// One that went unanswered for longer found nobody who would let it in.
const ANSWERED: Duration = Duration::from_secs(1);

impl Engine {
    /// An invitation is on its way out: what is to be said follows it.
    pub(super) fn fly(&mut self, id: ContactId, route: Route, now: Instant) {
        // It must not overtake the invitation.
        self.transmit(now);
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.talks()) else { return };
        if contact.path.is_some() || contact.relay.is_some() {
            return;
        }
        contact.flight = Some(route);
        self.renew_routes(id);
        self.fall_back(id);
        self.dial(id, true, now);
    }

    /// The contact's answer may come by this channel, and what else we have to say may go by it.
    pub(super) fn take_offer(&mut self, id: ContactId, rendezvous: SocketAddr, channel: u32) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        contact.flight = Some(Route::Relay { rendezvous, channel });
        let straight = contact.path.is_some();
        self.renew_routes(id);
        self.socket.routes().admit_relay(rendezvous, channel, virtual_address(id));
        if !straight {
            self.fall_back(id);
        }
    }

    /// Nobody took the invitation up.
    pub(super) fn ground(&mut self, id: ContactId, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        if let Some(Route::Relay { rendezvous, channel }) = contact.flight.take()
            && contact.relay.is_none_or(|relay| (relay.rendezvous, relay.channel) != (rendezvous, channel))
        {
            self.socket.routes().revoke_relay(rendezvous, channel);
        }
        let way = contact.path.is_some() || contact.relay.is_some();
        if let Some(link) = contact.link.take_if(|link| link.dialled && !link.up && !way) {
            // Nothing has come of it, and nothing follows from its end.
            self.links.abort(link.id, Abort::Goodbye);
            contact.drop_link();
        }
        if contact.path.is_none() {
            self.fall_back(id);
        }
        self.dial(id, false, now);
    }
}

impl Contact {
    /// Whether our own connection found nobody: then the one that the contact has opened takes its place, whoever has the
    /// smaller id.
    pub(super) fn is_unanswered(&self, now: Instant) -> bool {
        self.link
            .as_ref()
            .is_some_and(|link| link.dialled && !link.up && now.saturating_duration_since(link.since) > ANSWERED)
    }

    /// Goes on without a connection.
    pub(super) fn drop_link(&mut self) {
        self.link = None;
        self.stalled = None;
        self.sent = None;
        if let Some(conversation) = &mut self.conversation {
            conversation.handle_link_down();
        }
    }
}
