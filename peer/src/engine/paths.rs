//! What the traversal found out, put into routes and told to the faces.

use std::time::{Duration, Instant};

use knothole_proto::traversal::{ContactId, Event};

use super::contact::Relay;
use super::timers::Timer;
use super::{Engine, reasons, virtual_address};
use crate::command::Transport;
use crate::event::{EventKind, PathChange};
use crate::socket::{Route, SILENCE_MS, VirtualAddress};

/// A silence of so many round trips is more than QUIC's patience; shorter ones happen on every lossy path.
const SILENT_ROUND_TRIPS: u32 = 3;

/// The same for a relay, whose round trip nobody measures here: two trips through another continent and back.
const RELAY_SILENCE: Duration = Duration::from_millis(500);

/// Notes that wait for room in a link.
const NOTES: usize = 16;

/// After this the checks that a silence led to have been answered, or the path has been left.
const VERDICT: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn handle_traversal_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::SignIn(id) => self.sign_in(id),
            Event::Registered { rendezvous, observed } => {
                self.handle_observed(rendezvous, observed);
                self.note_mapping(rendezvous, observed, now);
                self.advance_codes(now);
                self.post_all();
                self.resume_mailbox(rendezvous, now);
                if let Some(rendezvous) = self.rendezvous.get(rendezvous.0 as usize) {
                    tracing::info!(rendezvous = %rendezvous.address, "registered");
                    self.emit(EventKind::Registered { rendezvous: rendezvous.address.clone(), observed });
                }
                // What was relayed to where we are no longer is repeated once the other side hears of us.
                for (contact, _) in
                    self.contacts.iter().filter(|(_, contact)| contact.path.is_none() && contact.is_online())
                {
                    self.links.nudge(virtual_address(*contact));
                }
            }
            Event::Unregistered(id) => {
                self.forget_posted(id);
                self.forget_mailbox(id);
                if let Some(rendezvous) = self.rendezvous.get(id.0 as usize) {
                    tracing::info!(rendezvous = %rendezvous.address, "not registered any more");
                    self.emit(EventKind::Unregistered { rendezvous: rendezvous.address.clone() });
                }
            }
            Event::Request { peer, via, greeting } => {
                if let Some(rendezvous) = self.rendezvous.get(via.0 as usize) {
                    self.handle_request(peer, rendezvous.address.clone(), greeting);
                }
            }
            Event::Admit { contact, base, remote, vouched } => {
                tracing::debug!(?contact, %remote, vouched, "heard");
                self.renew_routes(contact);
                let (routes, source) = (self.socket.routes(), Route::Direct { base, remote });
                // One check proves no address: what is another's stays so until a check of ours is answered from there.
                if routes.owner(source).is_some_and(|owner| owner != virtual_address(contact)) {
                    return;
                }
                routes.admit(source, virtual_address(contact));
                // Its first QUIC packet may come before our own check has been answered; the answer goes where it came from.
                if vouched && routes.route(virtual_address(contact)).is_none() {
                    routes.set_route(virtual_address(contact), Some(source));
                }
            }
            Event::Revoke { contact, base, remote } => {
                let source = Route::Direct { base, remote };
                let routes = self.socket.routes();
                if routes.owner(source) == Some(virtual_address(contact)) {
                    routes.revoke(source);
                }
            }
            Event::Dial(id) => self.dial(id, true, now),
            Event::Path { contact: id, base, remote, rtt } => {
                let Some(contact) = self.contacts.get_mut(&id) else { return };
                contact.path = Some((remote, rtt));
                contact.flight = None;
                contact.told_why = None;
                tracing::info!(contact = ?contact.peer, rtt_ms = rtt.as_millis(), "direct path");
                let (peer, name) = (contact.peer, contact.name.clone());
                self.renew_routes(id);
                // A source is admitted by its own checks; the answer to ours proves the address just as well.
                let route = Route::Direct { base, remote };
                self.socket.routes().admit(route, virtual_address(id));
                self.socket.routes().set_route(virtual_address(id), Some(route));
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
                self.tell_no_path(id, reasons::PATH_LOST);
            }
            Event::PathLeft { contact: id, why } => {
                let Some(contact) = self.contacts.get_mut(&id) else { return };
                contact.path = None;
                self.fall_back(id);
                self.tell_no_path(id, reasons::unreachable(why));
            }
            Event::Flight { contact, rendezvous, slot, introduction } => {
                self.fly(contact, Route::Flight { rendezvous, slot, introduction }, now);
            }
            Event::Offered { contact, rendezvous, channel } => self.take_offer(contact, rendezvous, channel),
            Event::Grounded(id) => self.ground(id, now),
            Event::Relay { contact: id, rendezvous, channel } => {
                let Some(contact) = self.contacts.get_mut(&id) else { return };
                contact.flight = None;
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
                    let why = self.traversal.without_udp(id).map_or(reasons::LOOKING, reasons::unreachable);
                    self.tell_no_path(id, why);
                }
                self.dial(id, false, now);
            }
            Event::RelayClosed(id) => {
                let Some(contact) = self.contacts.get_mut(&id) else { return };
                let Some(old) = contact.relay.take() else { return };
                self.socket.routes().revoke_relay(old.rendezvous, old.channel);
                if contact.path.is_none() {
                    self.fall_back(id);
                    self.tell_no_path(id, reasons::RELAY_CLOSED);
                    self.traversal.connect(id, now);
                }
            }
            Event::OpenBases { contact, count } => {
                let bases = self.socket.open_bases(count.into());
                self.traversal.handle_bases(contact, &bases, now);
            }
            Event::CodeOpened { via, number } => self.handle_code_opened(via, number, now),
            Event::Code { via, number, message } => self.handle_code(via, number, &message, now),
            Event::CodeClosed { via, number } => self.handle_code_closed(via, number, now),
            Event::Remember => self.remember_attempts(now),
            Event::CloseBase(base) => self.socket.close_base(base),
            Event::Unreachable { contact, why } => self.tell_no_path(contact, reasons::unreachable(why)),
            Event::Posted { via, letter, outcome } => self.handle_posted(via, letter, outcome, now),
            Event::Mailbox { via, open } => self.handle_mailbox(via, open, now),
            Event::Presence { peer, here } => self.handle_presence(peer, here, now),
            Event::Letter { via, letter, from, envelope } => self.handle_letter(via, letter, from, envelope),
        }
    }

    /// Without a direct path QUIC goes through the relay, where there is one, or behind an invitation.
    pub(super) fn fall_back(&mut self, id: ContactId) {
        let contact = self.contacts.get(&id);
        let relay = contact.and_then(|contact| contact.relay);
        let relay = relay.map(|Relay { rendezvous, channel }| Route::Relay { rendezvous, channel });
        let route = relay.or_else(|| contact?.flight);
        if self.socket.routes().route(virtual_address(id)) != route {
            self.socket.routes().set_route(virtual_address(id), route);
            self.links.nudge(virtual_address(id));
        }
    }

    /// Tells the faces that a contact has no direct path, once for each reason.
    pub(super) fn tell_no_path(&mut self, id: ContactId, why: &'static str) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        contact.path = None;
        if contact.told_why.replace(why) != Some(why) {
            let (peer, name) = (contact.peer, contact.name.clone());
            let why = why.to_owned();
            let path = match contact.relay {
                Some(Relay { rendezvous, .. }) => {
                    let tunnelled = self.socket.tunnels().has(rendezvous);
                    let transport = if tunnelled { Transport::Tcp } else { Transport::Udp };
                    PathChange::Relay { rendezvous, transport, why }
                }
                None => PathChange::None { why },
            };
            self.emit(EventKind::Path { peer, name, path });
        }
    }

    /// Before new routes are made for a contact, those of its last connection go.
    pub(super) fn renew_routes(&mut self, id: ContactId) {
        if self.timers.cancel(id, Timer::Forget) {
            self.socket.routes().forget(virtual_address(id));
        }
    }

    /// QUIC has been sending to a contact for a while and nothing came back.
    pub(super) fn handle_silence(&mut self, address: VirtualAddress, now: Instant) {
        let id = ContactId(address.index());
        let Some((path, relay)) = self.contacts.get(&id).map(|contact| (contact.path, contact.relay)) else { return };
        let patience = match (path, relay) {
            (Some((_, rtt)), _) => (rtt * SILENT_ROUND_TRIPS).max(Duration::from_millis(SILENCE_MS)),
            (None, Some(_)) => RELAY_SILENCE,
            (None, None) => return,
        };
        let routes = self.socket.routes();
        let Some(since) = routes.activity(address).unanswered_since() else { return };
        let silent = Duration::from_millis(routes.now().saturating_sub(since));
        if silent >= patience && path.is_none() {
            tracing::debug!(?id, silent_ms = silent.as_millis(), "nothing comes back through the relay");
            self.traversal.handle_relay_silence(id, now);
            self.timers.set(id, Timer::Answered, now + VERDICT);
        } else if silent >= patience {
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
            let Some(Route::Direct { base, remote }) = routes.route(virtual_address(id)) else { continue };
            if contact.path.is_none() {
                continue;
            }
            if let Some(at) = routes.activity(virtual_address(id)).last_received() {
                let ago = Duration::from_millis(routes.now().saturating_sub(at));
                if let Some(at) = now.checked_sub(ago) {
                    self.traversal.handle_received(id, base, remote, at);
                }
            }
        }
    }

    pub(super) fn handle_timers(&mut self, now: Instant) {
        while let Some((id, timer)) = self.timers.take_due(now) {
            match timer {
                Timer::Dial => self.dial(id, true, now),
                Timer::Answered => {
                    if self.contacts.get(&id).is_some_and(|contact| contact.path.is_some() || contact.relay.is_some()) {
                        self.socket.routes().activity(virtual_address(id)).note_answer();
                    }
                }
                Timer::Silence => self.handle_silence(virtual_address(id), now),
                Timer::Forget => self.socket.routes().forget(virtual_address(id)),
                Timer::Recover => self.recover(id),
                Timer::Letters => self.resume_letters(id),
                Timer::Unanswered => self.look_for_unanswered(id, now),
                Timer::Expire => self.expire(id),
                Timer::Typing => self.handle_typing(id, false, now),
                Timer::Reconnect if self.is_wanted(id) => {
                    self.traversal.connect(id, now);
                    self.look_around(id, now);
                }
                Timer::Reconnect => {}
                Timer::Rest => self.rest(id, now),
                Timer::Conceal => self.finish_concealing(id, now),
            }
        }
    }
}
