//! What faces ask for.

use std::time::Instant;

use knothole_proto::contact_link::{ContactLink, MAX_VIA};
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::ContactId;

use super::codes::Wishes;
use super::{Engine, answer};
use crate::command::{Command, CommandError, ContactView, Reply, Status};
use crate::event::EventKind;
use crate::store::{self, ContactState, MessageState, Outcome};

impl Engine {
    pub(super) fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Status(reply) => answer(reply, Ok(self.status())),
            Command::Network { seek_lifetime, reply } => {
                if seek_lifetime {
                    self.seek_lifetime(now);
                }
                answer(reply, Ok(self.network()));
            }
            Command::Contacts(reply) => {
                let mut views: Vec<_> = self.contacts.values().map(super::contact::Contact::view).collect();
                views.sort_by(|a, b| a.name.cmp(&b.name));
                answer(reply, Ok(views));
            }
            Command::AddContact { link, name, reply, .. } if link.peer == self.me => {
                drop((link, name));
                answer(reply, Err(CommandError::OwnLink));
            }
            Command::AddContact { link: ContactLink { peer, via }, name, relay_only, reply } => {
                if let Some(namesake) = name.as_ref().and_then(|name| self.verified_namesake(name, peer)) {
                    return self.warn_of_key(namesake, peer, reply);
                }
                self.take_in(self.store.add_reached(peer, name, via, relay_only), reply);
            }
            Command::Accept { who, relay_only, reply } => match self.named(&who) {
                Ok((_, peer)) => self.take_in(self.store.accept(peer, relay_only), reply),
                Err(error) => answer(reply, Err(error)),
            },
            Command::MakeCode { name, me, relay_only, reply } => {
                self.make_code(Wishes { theirs: name, ours: me, relay_only }, reply, now);
            }
            Command::JoinCode { code, name, me, relay_only, reply } => {
                self.join_code(code, Wishes { theirs: name, ours: me, relay_only }, reply, now);
            }
            Command::Introduce { link, name, greeting, relay_only, reply } => {
                self.introduce(link, name, &greeting, relay_only, reply);
            }
            Command::ReplaceContact { link, name, relay_only, reply } => {
                self.replace_contact(link, name, relay_only, reply);
            }
            Command::Words { who, reply } => self.words(&who, reply),
            Command::Verify { who, shown, reply } => self.verify(&who, shown.as_deref(), reply),
            Command::Rename { who, name, reply } => self.rename(&who, name, reply),
            Command::Path { who, relay_only, reply } => self.choose_path(&who, relay_only, reply),
            Command::Block { who, reply } => self.block(&who, reply),
            Command::Remove { who, reply } => match self.named(&who) {
                Ok((id, peer)) => self.after(self.store.remove(peer), move |engine, result| {
                    let name = engine.contacts.get(&id).filter(|_| result.is_ok()).map(|contact| contact.name.clone());
                    if result.is_ok() {
                        engine.forget_contact(id);
                        engine.forget_standing(peer);
                        engine.traversal.forget_memory(&peer);
                    }
                    answer(reply, result.map_err(Into::into));
                    if let Some(name) = name {
                        engine.emit(EventKind::ContactRemoved { peer, name });
                    }
                }),
                Err(error) => answer(reply, Err(error)),
            },
            Command::Connect { who, reply } => {
                let hidden = |(id, peer): (ContactId, PeerId)| match self.is_hidden_from(id) {
                    true => Err(CommandError::Hidden(who.clone())),
                    false => Ok((id, peer)),
                };
                let found = self.talking(&who).and_then(hidden);
                if let Ok((id, _)) = found {
                    self.traversal.connect(id, now);
                    self.look_around(id, now);
                }
                answer(reply, found.map(|_| ()));
            }
            Command::Send { to, message, reply } => self.send(&to, message, reply, now),
            Command::SetDraft { with, text, reply } => self.set_draft(&with, text, reply),
            Command::Typing { to, on, reply } => self.set_typing(&to, on, reply, now),
            Command::Amend { with, content, reply } => self.amend(with.as_deref(), content, reply, now),
            Command::History { with, search, place, limit, reply } => match self.named(&with) {
                Ok((_, peer)) => {
                    let page = self.store.page(peer, search, place, limit);
                    self.after(page, move |_, result| answer(reply, result.map_err(Into::into)));
                }
                Err(error) => answer(reply, Err(error)),
            },
            Command::Read { with, upto, reply } => self.read(&with, upto, reply),
            Command::Presence { mode, who, reply } => self.set_presence(mode, who, reply),
            Command::Export { path, passphrase, reply } => self.export(path, passphrase, reply),
            Command::Check(reply) => {
                self.after(self.store.check(), move |_, result| answer(reply, result.map_err(Into::into)));
            }
            Command::SetMailbox { open, reply } => self.set_mailbox(open, reply),
            #[cfg(test)]
            Command::Room { pages, reply } => {
                self.after(self.store.room(pages), move |_, result| answer(reply, result.map_err(Into::into)));
            }
            #[cfg(test)]
            Command::Renew { forced, reply } => {
                if forced {
                    self.renew(now);
                } else {
                    self.handle_renewal_due(now);
                }
                answer(reply, Ok(self.socket.port()));
            }
            #[cfg(test)]
            Command::SentTo { port, reply } => answer(reply, Ok(self.socket.counters().sent.to(port))),
            Command::Stop(done) => self.stopping = Some(done),
        }
    }

    /// What to give to others.
    pub(super) fn own_link(&self) -> ContactLink {
        let own = self.rendezvous.iter().take(self.own_rendezvous.min(MAX_VIA));
        ContactLink { peer: self.me, via: own.map(|rendezvous| rendezvous.address.clone()).collect() }
    }

    fn status(&self) -> Status {
        let own = self.rendezvous.iter().take(self.own_rendezvous.min(MAX_VIA));
        let via = own.map(|rendezvous| rendezvous.address.clone()).collect();
        Status {
            peer: self.me,
            link: ContactLink { peer: self.me, via },
            rendezvous: self.rendezvous_status(),
            invisible: self.presence.invisible,
            mailbox: self.mailbox.is_wanted(),
            letters_unopened: self.receiving.unopened,
        }
    }

    pub(super) fn named(&self, who: &str) -> Result<(ContactId, PeerId), CommandError> {
        let id = self.find(who).ok_or_else(|| CommandError::UnknownContact(who.to_owned()))?;
        let contact = self.contacts.get(&id).ok_or_else(|| CommandError::UnknownContact(who.to_owned()))?;
        Ok((id, contact.peer))
    }

    pub(super) fn talking(&self, who: &str) -> Result<(ContactId, PeerId), CommandError> {
        let (id, peer) = self.named(who)?;
        let contact = self.contacts.get(&id);
        match contact.map(|contact| contact.state) {
            Some(ContactState::Request) => Err(CommandError::NotAccepted(who.to_owned())),
            Some(ContactState::Blocked) => Err(CommandError::Blocked(who.to_owned())),
            _ => Ok((id, peer)),
        }
    }

    /// Takes a contact in that the store has just made or changed.
    pub(super) fn take_in(&mut self, outcome: Outcome<store::Contact>, reply: Reply<ContactView>) {
        self.after(outcome, move |engine, result| match result {
            Ok(known) => {
                let conversation = engine.store.conversation(known.peer);
                engine.after(conversation, move |engine, result| {
                    let peer = known.peer;
                    answer(reply, result.map(|at| engine.replace(known, at)).map_err(Into::into));
                    engine.tell_contact(peer);
                });
            }
            Err(error) => answer(reply, Err(error.into())),
        });
    }

    /// Puts a contact in the place of what was known of it, unless nothing differs but its name and how it may be met.
    pub(super) fn replace(&mut self, mut known: store::Contact, conversation: store::Conversation) -> ContactView {
        let now = Instant::now();
        let before = self.find_peer(known.peer);
        if let Some(contact) = before.and_then(|id| self.contacts.get(&id)) {
            // A message may have come since the store was asked.
            known.summary = contact.summary.clone();
        }
        let unchanged = before.and_then(|id| self.contacts.get(&id)).is_some_and(|c| c.talks() && c.via == known.via);
        let id = match before {
            Some(id) if unchanged => id,
            Some(id) => {
                self.forget_contact(id);
                self.insert_contact(known.clone(), Some(conversation), now)
            }
            None => self.insert_contact(known.clone(), Some(conversation), now),
        };
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.relay_only = known.relay_only;
        }
        self.hide_from_lan();
        // In force before the first invitation: an address that was told cannot be taken back.
        self.traversal.set_relay_only(id, known.relay_only, now);
        self.traversal.connect(id, now);
        let contact = self.contacts.get_mut(&id);
        contact.map_or_else(
            || unreachable_view(&known),
            |contact| {
                contact.name = known.name.clone();
                contact.view()
            },
        )
    }

    fn block(&mut self, who: &str, reply: Reply<ContactView>) {
        let (id, peer) = match (self.named(who), who.parse()) {
            (Ok(found), _) => found,
            (Err(_), Ok(stranger)) => return self.block_stranger(stranger, reply),
            (Err(error), _) => return answer(reply, Err(error)),
        };
        self.after(self.store.block(peer), move |engine, result| {
            let failed = match result {
                Ok(failed) => failed,
                Err(error) => return answer(reply, Err(error.into())),
            };
            for message in failed {
                engine.emit(EventKind::State { message, state: MessageState::Failed });
            }
            let Some(contact) = engine.contacts.get(&id) else {
                return answer(reply, Err(CommandError::UnknownContact(peer.to_string())));
            };
            let known = store::Contact {
                peer,
                name: contact.name.clone(),
                state: ContactState::Blocked,
                via: contact.via.clone(),
                added_at: 0,
                verified: contact.verified,
                relay_only: contact.relay_only,
                greeting: None,
                hello: None,
                summary: contact.summary.clone(),
            };
            engine.forget_contact(id);
            let view = unreachable_view(&known);
            engine.insert_contact(known, None, Instant::now());
            answer(reply, Ok(view));
            engine.tell_contact(peer);
        });
    }

    fn read(&mut self, with: &str, upto: MessageId, reply: Reply<()>) {
        let (_, peer) = match self.named(with) {
            Ok(found) => found,
            Err(error) => return answer(reply, Err(error)),
        };
        self.after(self.store.mark_read(peer, upto), move |engine, result| {
            if let (Ok(Some(position)), Some(id)) = (&result, engine.find_peer(peer)) {
                if let Some(conversation) = engine.contacts.get_mut(&id).and_then(|c| c.conversation.as_mut()) {
                    conversation.handle_read(position.log, position.number);
                }
                engine.pump(id);
                engine.expect_expiry(id, Instant::now());
            }
            match result {
                Ok(_) => engine.tell_read(peer, upto, reply),
                Err(error) => answer(reply, Err(error.into())),
            }
        });
    }

    /// Tells the faces what is unread still, if that is less than before. Whoever said so is answered when it shows.
    fn tell_read(&mut self, peer: PeerId, upto: MessageId, reply: Reply<()>) {
        self.after(self.store.contact(peer), move |engine, result| {
            let id = engine.find_peer(peer);
            let (Ok(known), Some(contact)) = (result, id.and_then(|id| engine.contacts.get_mut(&id))) else {
                return answer(reply, Ok(()));
            };
            let (before, unread) = (contact.summary.unread, known.summary.unread);
            contact.summary = known.summary;
            let name = contact.name.clone();
            answer(reply, Ok(()));
            if unread != before {
                engine.emit(EventKind::Read { peer, name, upto, unread });
            }
        });
    }

    /// Asks the store what is unread of a contact's, and when the newest message came.
    pub(super) fn recount(&mut self, peer: PeerId) {
        self.after(self.store.contact(peer), move |engine, result| {
            let id = engine.find_peer(peer);
            if let (Ok(known), Some(contact)) = (result, id.and_then(|id| engine.contacts.get_mut(&id))) {
                contact.summary = known.summary;
            }
        });
    }
}

/// A contact with whom there is no talk.
pub(super) fn unreachable_view(known: &store::Contact) -> ContactView {
    ContactView {
        peer: known.peer,
        name: known.name.clone(),
        state: known.state,
        online: false,
        last_seen: None,
        shown: false,
        path: None,
        verified: known.verified,
        relay_only: known.relay_only,
        expires_s: None,
        greeting: known.greeting.clone(),
        summary: known.summary.clone(),
    }
}
