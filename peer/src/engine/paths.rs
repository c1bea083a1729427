//! What the traversal found out, put into routes and told to the faces.

use std::time::{Duration, Instant};

use knothole_proto::path::Base;
use knothole_proto::traversal::{ContactId, Event, Unreachable};

use super::contact::Relay;
use super::timers::Timer;
use super::{Engine, virtual_address};
use crate::event::{EventKind, PathChange};
use crate::socket::{Route, SILENCE_MS, VirtualAddress};

/// A silence of so many round trips is more than QUIC's patience; shorter ones happen on every lossy path.
const SILENT_ROUND_TRIPS: u32 = 3;

/// Notes that wait for room in a link.
const NOTES: usize = 16;

/// After this the checks that a silence led to have been answered, or the path has been left.
const VERDICT: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn handle_traversal_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::SignIn(id) => self.sign_in(id),
            Event::Registered { rendezvous, observed } => {
                if let Some(rendezvous) = self.rendezvous.get(rendezvous.0 as usize) {
                    tracing::info!(rendezvous = %rendezvous.address, "registered");
                    self.emit(EventKind::Registered { rendezvous: rendezvous.address.clone(), observed });
                }
            }
            Event::Unregistered(id) => {
                if let Some(rendezvous) = self.rendezvous.get(id.0 as usize) {
                    tracing::info!(rendezvous = %rendezvous.address, "not registered any more");
                    self.emit(EventKind::Unregistered { rendezvous: rendezvous.address.clone() });
                }
            }
            Event::Request { peer, via } => {
                if let Some(rendezvous) = self.rendezvous.get(via.0 as usize) {
                    self.handle_request(peer, rendezvous.address.clone());
                }
            }
            Event::Admit { contact, remote, vouched, .. } => {
                tracing::debug!(?contact, %remote, vouched, "heard");
                self.renew_routes(contact);
                let routes = self.socket.routes();
                // One check proves no address: what is another's stays so until a check of ours is answered from there.
                if routes.owner(remote).is_some_and(|owner| owner != virtual_address(contact)) {
                    return;
                }
                routes.admit(remote, virtual_address(contact));
                // Its first QUIC packet may come before our own check has been answered; the answer goes where it came from.
                if vouched && routes.route(virtual_address(contact)).is_none() {
                    routes.set_route(virtual_address(contact), Some(Route::Direct(remote)));
                }
            }
            Event::Revoke { contact, remote, .. } => {
                let routes = self.socket.routes();
                if routes.owner(remote) == Some(virtual_address(contact)) {
                    routes.revoke(remote);
                }
            }
            Event::Dial(id) => self.dial(id, true, now),
            Event::Path { contact: id, remote, rtt, .. } => {
                let Some(contact) = self.contacts.get_mut(&id) else { return };
                contact.path = Some((remote, rtt));
                contact.told_why = None;
                tracing::info!(contact = ?contact.peer, rtt_ms = rtt.as_millis(), "direct path");
                let (peer, name) = (contact.peer, contact.name.clone());
                self.renew_routes(id);
                // A source is admitted by its own checks; the answer to ours proves the address just as well.
                self.socket.routes().admit(remote, virtual_address(id));
                self.socket.routes().set_route(virtual_address(id), Some(Route::Direct(remote)));
                self.links.nudge(virtual_address(id));
                self.emit(EventKind::Path { peer, name, path: PathChange::Direct { remote, rtt } });
                self.dial(id, false, now);
            }
            Event::Note { contact: id, note } => {
                let linked = self.contacts.get_mut(&id).filter(|contact| contact.is_online());
                // One that cannot keep up with notes has no use for them.
                if let Some(contact) = linked.filter(|contact| contact.notes.len() < NOTES) {
                    contact.notes.push_back(note);
                    self.pump(id);
                }
            }
            Event::PathLost(id) => {
                let Some(contact) = self.contacts.get_mut(&id) else { return };
                contact.path = None;
                self.fall_back(id);
                self.tell_no_path(id, "the direct path stopped answering; looking for another");
            }
            Event::Relay { contact: id, rendezvous, channel } => {
                let Some(contact) = self.contacts.get_mut(&id) else { return };
                let old = contact.relay.replace(Relay { rendezvous, channel });
                let straight = contact.path.is_some();
                self.renew_routes(id);
                let routes = self.socket.routes();
                // The same pair mostly gets the same channel again.
                if let Some(old) = old.filter(|old| (old.rendezvous, old.channel) != (rendezvous, channel)) {
                    routes.revoke_relay(old.rendezvous, old.channel);
                }
                routes.admit_relay(rendezvous, channel, virtual_address(id));
                if !straight {
                    self.fall_back(id);
                    self.tell_no_path(id, "looking for a direct path");
                }
                self.dial(id, false, now);
            }
            Event::RelayClosed(id) => {
                let Some(contact) = self.contacts.get_mut(&id) else { return };
                let Some(old) = contact.relay.take() else { return };
                self.socket.routes().revoke_relay(old.rendezvous, old.channel);
                if contact.path.is_none() {
                    self.fall_back(id);
                    self.tell_no_path(id, "the relay has closed; looking for another way");
                    self.traversal.connect(id, now);
                }
            }
            // Without further sockets an attempt ends at once.
            Event::OpenBases { contact, .. } => self.traversal.handle_bases(contact, &[], now),
            Event::CloseBase(_) => {}
            Event::Unreachable { contact, why } => {
                let why = match why {
                    Unreachable::NoRendezvous => "no rendezvous of this contact answers",
                    Unreachable::Absent => "the contact is offline",
                    Unreachable::Refused => "the rendezvous is busy",
                    Unreachable::NoPath => "no direct path was found between the two networks",
                    Unreachable::BothHard => {
                        "both networks give every connection an unforeseeable port; no direct path can be found"
                    }
                    Unreachable::TacticFailed => {
                        "one network gives every connection another port, and it could not be found; it is tried again later"
                    }
                };
                self.tell_no_path(contact, why);
            }
        }
    }

    /// Without a direct path QUIC goes through the relay, where there is one.
    fn fall_back(&mut self, id: ContactId) {
        let relay = self.contacts.get(&id).and_then(|contact| contact.relay);
        let route = relay.map(|Relay { rendezvous, channel }| Route::Relay { rendezvous, channel });
        self.socket.routes().set_route(virtual_address(id), route);
        self.links.nudge(virtual_address(id));
    }

    /// Tells the faces that a contact has no direct path, once for each reason.
    pub(super) fn tell_no_path(&mut self, id: ContactId, why: &'static str) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        contact.path = None;
        if contact.told_why.replace(why) != Some(why) {
            let (peer, name) = (contact.peer, contact.name.clone());
            let why = why.to_owned();
            let path = match contact.relay {
                Some(Relay { rendezvous, .. }) => PathChange::Relay { rendezvous, why },
                None => PathChange::None { why },
            };
            self.emit(EventKind::Path { peer, name, path });
        }
    }

    /// Before new routes are made for a contact, those of its last connection go.
    fn renew_routes(&mut self, id: ContactId) {
        if self.timers.cancel(id, Timer::Forget) {
            self.socket.routes().forget(virtual_address(id));
        }
    }

    /// QUIC has been sending to a contact for a while and nothing came back.
    pub(super) fn handle_silence(&mut self, address: VirtualAddress, now: Instant) {
        let id = ContactId(address.index());
        let Some((_, rtt)) = self.contacts.get(&id).and_then(|contact| contact.path) else { return };
        let routes = self.socket.routes();
        let Some(since) = routes.activity(address).unanswered_since() else { return };
        let silent = Duration::from_millis(routes.now().saturating_sub(since));
        let patience = (rtt * SILENT_ROUND_TRIPS).max(Duration::from_millis(SILENCE_MS));
        if silent >= patience {
            tracing::debug!(?id, silent_ms = silent.as_millis(), "nothing comes back");
            self.traversal.handle_silence(id, now);
            self.timers.set(id, Timer::Answered, now + VERDICT);
        } else {
            self.timers.set(id, Timer::Silence, now + (patience - silent));
        }
    }

    /// Before deadlines are looked at: traffic heard counts as consent.
    pub(super) fn report_traffic(&mut self, now: Instant) {
        let routes = self.socket.routes();
        for (&id, contact) in &self.contacts {
            let Some((remote, _)) = contact.path else { continue };
            if let Some(at) = routes.activity(virtual_address(id)).last_received() {
                let ago = Duration::from_millis(routes.now().saturating_sub(at));
                if let Some(at) = now.checked_sub(ago) {
                    self.traversal.handle_received(id, Base::MAIN, remote, at);
                }
            }
        }
    }

    pub(super) fn handle_timers(&mut self, now: Instant) {
        while let Some((id, timer)) = self.timers.take_due(now) {
            match timer {
                Timer::Dial => self.dial(id, true, now),
                Timer::Answered => {
                    if self.contacts.get(&id).is_some_and(|contact| contact.path.is_some()) {
                        self.socket.routes().activity(virtual_address(id)).note_answer();
                    }
                }
                Timer::Silence => self.handle_silence(virtual_address(id), now),
                Timer::Forget => self.socket.routes().forget(virtual_address(id)),
                Timer::Recover => self.recover(id),
                Timer::Reconnect => self.traversal.connect(id, now),
            }
        }
    }
}
