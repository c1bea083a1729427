//! Connections with contacts: which one is used, and what follows when it ends.

use std::time::{Duration, Instant};

use knothole_proto::traversal::ContactId;

use super::contact::{Contact, LAST_WORD, Link};
use super::timers::Timer;
use super::{Engine, reasons, virtual_address};
use crate::link::{Abort, Down, LinkEvent, LinkId};

/// Two connections that begin within this were dialled at once by both sides; one later replaces the one before it.
const GLARE: Duration = Duration::from_secs(5);
/// The round trip through a relay to assume until one is measured: a guess between a city and an ocean.
const RELAY_RTT: Duration = Duration::from_millis(150);
/// A contact that does not open the connection after this, though it should, is dialled.
const DIAL_PATIENCE: Duration = Duration::from_secs(3);

/// A connection that lived so long was worth having: the next is sought at once.
const STEADY: Duration = Duration::from_secs(30);
/// After others we wait, longer each time, or two sides that cannot agree would connect without end. Whatever a person
/// sends ends the wait.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Engine {
    pub(super) fn handle_link_event(&mut self, event: LinkEvent, now: Instant) {
        match event {
            LinkEvent::Up { link, virtual_address, dialled, early, .. } => {
                self.handle_up(link, ContactId(virtual_address.index()), dialled, early, now);
            }
            LinkEvent::Body { link, body } => {
                if let Some(id) = self.in_use(link) {
                    self.handle_body(id, &body);
                }
            }
            LinkEvent::Drained { link } => {
                if let Some(id) = self.in_use(link) {
                    self.pump(id);
                }
            }
            LinkEvent::Down { link, why, .. } => {
                let used = self.in_use(link);
                self.link_contacts.remove(&link);
                match used {
                    Some(id) => self.handle_down(id, &why, now),
                    None => self.handle_left(link, now),
                }
            }
        }
    }

    /// The contact whose connection in use this is.
    fn in_use(&self, link: LinkId) -> Option<ContactId> {
        let id = self.link_contacts.get(&link)?;
        let used = self.contacts.get(id)?.link.as_ref()?;
        (used.id == link).then_some(*id)
    }

    fn handle_up(&mut self, link: LinkId, id: ContactId, dialled: bool, early: bool, now: Instant) {
        let ready = |contact: &&mut Contact| contact.talks() && contact.conversation.is_some();
        if self.is_hidden_from(id) {
            // Begun before we hid.
            self.links.abort(link, Abort::Goodbye);
            return;
        }
        let Some(contact) = self.contacts.get_mut(&id).filter(ready) else {
            self.links.abort(link, Abort::Unready);
            return;
        };
        self.link_contacts.insert(link, id);
        // One that we dialled was in use from then on. If it is no more, it was given up meanwhile, and its end follows.
        if dialled && contact.link.as_ref().is_none_or(|used| used.id != link) {
            return;
        }
        // An acceptance of ours is here before a whole handshake of theirs is done: the two of them set out before either
        // heard of the other.
        let unaccepted = !early && self.traversal.is_outstanding(id);
        let unanswered = contact.is_unanswered(unaccepted, now);
        match &mut contact.link {
            Some(used) if used.id == link => used.up = true,
            Some(used) => {
                // In glare both sides keep the connection that the smaller id dialled.
                let glare = now.saturating_duration_since(used.since) < GLARE && used.dialled != dialled && !unanswered;
                if glare && used.dialled == (self.me < contact.peer) {
                    self.links.abort(link, Abort::Replaced);
                    return;
                }
                self.links.abort(used.id, Abort::Replaced);
                contact.use_link(Link { id: link, dialled, since: now, up: true });
            }
            None => contact.use_link(Link { id: link, dialled, since: now, up: true }),
        }
        self.settle_presence(id);
        self.begin_rest(id, now);
        self.handle_let_in(id);
        self.traversal.handle_link_up(id, now);
        self.handle_sent(id);
        self.keep_epoch(id);
        self.pump(id);
    }

    fn handle_down(&mut self, id: ContactId, why: &Down, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let lived = contact.link.take().filter(|link| link.up).map(|link| now.saturating_duration_since(link.since));
        contact.drop_link();
        self.traversal.handle_link_down(id);
        tracing::info!(contact = ?contact.peer, ?why, "connection ended");
        if *why == Down::Replaced {
            // The other connection is on its way, and the path carries it.
            return self.dial(id, false, now);
        }
        if *why == Down::Resting {
            return self.handle_rested(id, now);
        }
        contact.relay = None;
        contact.flight = None;
        if matches!(why, Down::Goodbye | Down::TimedOut) {
            self.handle_gone(id, now);
        }
        self.settle_presence(id);
        let left = *why == Down::Goodbye;
        self.tell_no_path(id, reasons::ended(why));
        self.traversal.release(id);
        self.timers.set(id, Timer::Forget, now + LAST_WORD);
        let wanted = self.is_wanted(id);
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.talks()) else { return };
        // Who has left comes back by itself, and a rendezvous says so.
        if lived.is_some_and(|lived| lived >= STEADY) && !left {
            contact.pause = Duration::ZERO;
            if wanted {
                self.traversal.connect(id, now);
            }
        } else {
            contact.pause = (contact.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.timers.set(id, Timer::Reconnect, now + contact.pause);
        }
        if self.contacts.get(&id).is_some_and(Contact::has_unacknowledged) {
            self.resume_letters(id);
        }
    }

    /// There is a path: whoever's turn it is opens the connection, unless there is one.
    pub(super) fn dial(&mut self, id: ContactId, ours: bool, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.link.is_none()) else { return };
        // Through a rendezvous of ours it is not much further than there and back, twice: to try sooner would double the
        // first flight.
        let far = self.rendezvous.iter().filter_map(|rendezvous| rendezvous.rtt).max().unwrap_or_default();
        let relayed = RELAY_RTT.max(far * 2);
        let rtt = match (contact.path, contact.relay, contact.flight) {
            (Some((_, rtt)), _, _) => Some(rtt),
            (None, Some(_), _) | (None, None, Some(_)) => Some(relayed),
            (None, None, None) => None,
        };
        match rtt {
            Some(rtt) if ours => {
                let link = self.links.dial(virtual_address(id), contact.peer, rtt);
                self.link_contacts.insert(link, id);
                // What is to be said is queued now and leaves with the end of the handshake, to that key alone.
                contact.use_link(Link { id: link, dialled: true, since: now, up: false });
                self.pump(id);
            }
            Some(_) => self.timers.set(id, Timer::Dial, now + DIAL_PATIENCE),
            None => {}
        }
    }
}
