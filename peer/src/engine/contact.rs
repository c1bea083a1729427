//! A contact as the engine keeps it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::conversation::Conversation;
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::ContactId;

use super::habits::Typing;
use super::letters::Letters;
use super::presence::Standing;
use super::timers::Timer;
use super::{Engine, reasons, virtual_address};
use crate::command::{ContactView, PathKind, PathView};
use crate::event::{EventKind, PathChange};
use crate::link::{Abort, LinkId};
use crate::socket::Route;
use crate::store::{self, ContactState, Position, Summary};

/// How long a closing connection may still send: it does so at once, but not in our own turn.
pub(super) const LAST_WORD: Duration = Duration::from_millis(200);

/// One contact, whatever its state.
pub(super) struct Contact {
    pub(super) peer: PeerId,
    pub(super) name: String,
    pub(super) state: ContactState,
    pub(super) via: Vec<RendezvousAddress>,
    pub(super) verified: bool,
    pub(super) relay_only: bool,
    /// What it says of itself, while it is a request.
    pub(super) greeting: Option<String>,
    /// Whether our invitations say something of us.
    pub(super) greets: bool,
    /// As the store would give it.
    pub(super) summary: Summary,
    /// How many seconds new texts last.
    pub(super) timer: Option<u32>,
    pub(super) path: Option<(SocketAddr, Duration)>,
    /// Where QUIC goes while there is no path.
    pub(super) relay: Option<Relay>,
    /// Where QUIC goes while there is neither, behind an invitation that is not accepted yet.
    pub(super) flight: Option<Route>,
    /// Why there is no path, as the faces were last told.
    pub(super) told_why: Option<&'static str>,
    /// Whether the faces were last told that it is online.
    pub(super) told_online: bool,
    pub(super) link: Option<Link>,
    /// Only of one with whom we talk.
    pub(super) conversation: Option<Conversation>,
    /// A frame that the link had no room for.
    pub(super) stalled: Option<Vec<u8>>,
    /// What our traversal tells theirs, ahead of messages.
    pub(super) notes: VecDeque<Vec<u8>>,
    /// Our messages up to this number were handed to a link that is not up yet.
    pub(super) sent: Option<u64>,
    /// When it was there, and whether it may know that we are.
    pub(super) standing: Standing,
    pub(super) typing: Typing,
    /// What goes and comes while there is no link.
    pub(super) letters: Letters,
    /// How long to wait after the next connection that comes to nothing.
    pub(super) pause: Duration,
}

/// A channel at a rendezvous that relays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relay {
    pub(super) rendezvous: SocketAddr,
    pub(super) channel: u32,
}

/// The connection in use.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) dialled: bool,
    pub(super) since: Instant,
    /// Whether the other side has let us in; until then it is only hoped for.
    pub(super) up: bool,
}

impl Contact {
    pub(super) fn view(&self) -> ContactView {
        ContactView {
            peer: self.peer,
            name: self.name.clone(),
            state: self.state,
            online: self.is_there(),
            last_seen: self.last_seen(),
            shown: !self.standing.hidden,
            path: match (self.path, self.relay) {
                (Some((remote, rtt)), _) => {
                    Some(PathView { kind: PathKind::Direct, remote, rtt: Some(rtt), why: None })
                }
                (None, Some(Relay { rendezvous, .. })) => {
                    Some(PathView { kind: PathKind::Relay, remote: rendezvous, rtt: None, why: self.told_why })
                }
                (None, None) => None,
            },
            verified: self.verified,
            relay_only: self.relay_only,
            expires_s: self.timer,
            greeting: self.greeting.clone(),
            summary: self.summary.clone(),
        }
    }

    pub(super) fn is_online(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.up)
    }

    /// Goes on with this connection.
    pub(super) fn use_link(&mut self, link: Link) {
        self.link = Some(link);
        self.stalled = None;
        self.notes.clear();
        self.letters.handle_link();
        self.sent = None;
        if let Some(conversation) = &mut self.conversation {
            conversation.handle_link_up();
        }
    }

    pub(super) const fn talks(&self) -> bool {
        talks(self.state)
    }

    pub(super) fn has_unacknowledged(&self) -> bool {
        self.conversation.as_ref().is_some_and(Conversation::has_unacknowledged)
    }
}

pub(super) const fn talks(state: ContactState) -> bool {
    matches!(state, ContactState::Contact | ContactState::Requested)
}

/// The machine of a conversation that the store has brought this far.
pub(super) fn machine(at: store::Conversation) -> Conversation {
    let position = |position: Position| (position.log, position.number);
    let (received, read) = (at.received.map(position), at.read.map(position));
    Conversation::new(at.log, at.next.saturating_sub(1), at.acknowledged, received, read)
}

impl Engine {
    /// Takes a contact in as the store has it.
    pub(super) fn insert_contact(
        &mut self,
        known: store::Contact,
        conversation: Option<store::Conversation>,
        now: Instant,
    ) -> ContactId {
        let id = ContactId(self.next_contact);
        self.next_contact += 1;
        let talks = talks(known.state);
        let via: Vec<_> =
            known.via.iter().filter(|_| talks).map(|address| self.register(address.clone(), now)).collect();
        // The first are our own.
        for foreign in via.iter().filter(|id| id.0 as usize >= self.own_rendezvous) {
            self.traversal.reserve_rendezvous(*foreign);
        }
        let contact = Contact {
            peer: known.peer,
            name: known.name,
            state: known.state,
            via: known.via,
            verified: known.verified,
            relay_only: known.relay_only,
            greeting: known.greeting,
            greets: known.hello.is_some(),
            summary: known.summary,
            timer: conversation.as_ref().and_then(|conversation| conversation.timer),
            path: None,
            relay: None,
            flight: None,
            told_why: None,
            told_online: false,
            link: None,
            conversation: conversation.map(machine),
            stalled: None,
            notes: VecDeque::new(),
            sent: None,
            standing: self.take_standing(known.peer),
            typing: Typing::default(),
            letters: Letters::default(),
            pause: Duration::ZERO,
        };
        if contact.talks() {
            if !contact.standing.hidden {
                self.links.expect(virtual_address(id), contact.peer);
            }
            self.traversal.add_contact(id, contact.peer, via);
            self.traversal.set_hidden(id, contact.standing.hidden, now);
            self.traversal.set_relay_only(id, contact.relay_only, now);
            self.traversal.set_greeting(id, known.hello);
        }
        self.contacts.insert(id, contact);
        self.timers.set(id, Timer::Expire, now);
        self.name_new_contact(id, now);
        self.settle_presence(id);
        if talks {
            self.mailbox_changed(now);
        }
        id
    }

    /// Tells the faces that a contact is not as it was.
    pub(super) fn tell_contact(&self, peer: PeerId) {
        if let Some(contact) = self.find_peer(peer).and_then(|id| self.contacts.get(&id)) {
            self.emit(EventKind::ContactChanged { contact: Box::new(contact.view()) });
        }
    }

    /// Forgets all that the engine holds of a contact; the store is not touched.
    pub(super) fn forget_contact(&mut self, id: ContactId) {
        let Some(contact) = self.contacts.remove(&id) else { return };
        // One that is not up yet has no last word.
        let leaving = contact.link.as_ref().filter(|link| link.up).map(|link| link.id);
        if let Some(link) = contact.link {
            // At once: what is queued is not for them any more.
            self.links.abort(link.id, Abort::Goodbye);
        }
        if contact.told_online {
            let (peer, name) = (contact.peer, contact.name.clone());
            self.emit(EventKind::Presence { peer, name: name.clone(), online: false });
            let path = PathChange::None { why: reasons::SILENT.to_owned() };
            self.emit(EventKind::Path { peer, name, path });
        }
        self.leave_standing(contact.peer, contact.standing, leaving);
        self.leave_unused_rendezvous();
        self.hide_from_lan();
        self.mailbox_changed(Instant::now());
        self.traversal.remove_contact(id, Instant::now());
        self.links.expect_nobody(virtual_address(id));
        self.timers.forget(id);
        self.timers.set(id, Timer::Forget, Instant::now() + LAST_WORD);
    }

    /// Who is meant by a name or a peer id.
    pub(super) fn find(&self, who: &str) -> Option<ContactId> {
        let peer = who.parse::<PeerId>().ok();
        let named = |contact: &Contact| Some(contact.peer) == peer || contact.name == who;
        self.contacts.iter().find(|(_, contact)| named(contact)).map(|(id, _)| *id)
    }

    pub(super) fn find_peer(&self, peer: PeerId) -> Option<ContactId> {
        self.contacts.iter().find(|(_, contact)| contact.peer == peer).map(|(id, _)| *id)
    }
}
