//! Strangers: what comes of their asking, and who is kept away before anything of theirs is shown.
//!
//! A stranger is told nothing, whatever it does; it gets no answer that one who is not here would not get. It is heard of
//! once, until the person has answered or removed the request.

use std::time::Instant;

use knothole_proto::contact_link::{ContactLink, RendezvousAddress};
use knothole_proto::control::MAX_GREETING;
use knothole_proto::identity::PeerId;
use knothole_proto::traversal::ContactId;

use super::{Engine, answer};
use crate::command::{CommandError, ContactView, Reply};
use crate::event::EventKind;
use crate::store::{self, ContactState, MAX_REQUESTS, StoreError};

/// Strangers' requests that the store may be at: a hostile rendezvous can make them as fast as its line, and the store has
/// contacts to serve.
const REQUESTS_AT_ONCE: usize = 4;

impl Engine {
    /// A stranger invites us. Who is known already, by an earlier request or as blocked, costs a look and nothing more.
    pub(super) fn handle_request(&mut self, peer: PeerId, via: RendezvousAddress, greeting: Option<String>) {
        let open = self.contacts.values().filter(|contact| contact.state == ContactState::Request).count();
        let full = self.requests >= REQUESTS_AT_ONCE || open + self.requests >= MAX_REQUESTS as usize;
        if !self.takes_requests || full || self.find_peer(peer).is_some() {
            return;
        }
        self.requests += 1;
        let greeting = greeting.as_deref().and_then(presentable);
        self.after(self.store.request(peer, vec![via], greeting), move |engine, result| {
            engine.requests -= 1;
            engine.handle_requested(peer, result);
        });
    }

    fn handle_requested(&mut self, peer: PeerId, result: Result<Option<store::Contact>, StoreError>) {
        match result {
            Ok(Some(known)) if self.find_peer(peer).is_none() => {
                let (name, text) = (known.name.clone(), known.greeting.clone().unwrap_or_default());
                self.insert_contact(known, None, Instant::now());
                self.emit(EventKind::ContactRequest { peer, name, text });
            }
            Ok(_) => {}
            Err(error) => tracing::info!(%error, "a contact request was not taken"),
        }
    }

    /// Adds a contact with a word for it, should it not know us: it goes with every invitation until we are let in.
    pub(super) fn introduce(
        &mut self,
        link: ContactLink,
        name: Option<String>,
        greeting: &str,
        relay_only: Option<bool>,
        reply: Reply<ContactView>,
    ) {
        let ContactLink { peer, via } = link;
        if peer == self.me {
            return answer(reply, Err(CommandError::OwnLink));
        }
        if greeting.len() > MAX_GREETING {
            return answer(reply, Err(CommandError::LongGreeting(greeting.len())));
        }
        if let Some(namesake) = name.as_ref().and_then(|name| self.verified_namesake(name, peer)) {
            return self.warn_of_key(namesake, peer, reply);
        }
        let added = self.store.add_reached(peer, name, via, relay_only);
        let greeted = self.store.greet(peer, presentable(greeting));
        self.after(added, move |engine, result| match result {
            Ok(_) => engine.take_in(greeted, reply),
            Err(error) => answer(reply, Err(error.into())),
        });
    }

    /// We are let in: nothing more is said to strangers.
    pub(super) fn handle_let_in(&mut self, id: ContactId) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let peer = contact.peer;
        if !std::mem::take(&mut contact.greets) {
            return;
        }
        self.traversal.set_greeting(id, None);
        self.after(self.store.greet(peer, None), |_, result| {
            if let Err(error) = result {
                tracing::debug!(%error, "a greeting is kept that is needed no more");
            }
        });
    }

    /// Keeps somebody away who has not been heard of yet.
    pub(super) fn block_stranger(&mut self, peer: PeerId, reply: Reply<ContactView>) {
        if peer == self.me {
            return answer(reply, Err(CommandError::OwnLink));
        }
        self.after(self.store.block_stranger(peer), move |engine, result| match result {
            Ok(known) => {
                let view = super::commands::unreachable_view(&known);
                if engine.find_peer(peer).is_none() {
                    engine.insert_contact(known, None, Instant::now());
                }
                answer(reply, Ok(view));
                engine.tell_contact(peer);
            }
            Err(error) => answer(reply, Err(error.into())),
        });
    }
}

/// A greeting on one line, without anything that would do something instead of showing something; `None` if nothing is left.
fn presentable(greeting: &str) -> Option<String> {
    let plain = greeting.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    let line = plain.collect::<Vec<_>>().join(" ");
    (!line.is_empty() && line.len() <= MAX_GREETING).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_one_line_of_bounded_length_or_none() {
        assert_eq!(presentable("  it is\tAnn,\r\nfrom \u{1b}[31mwork\u{7} "), Some("it is Ann, from [31mwork".into()));
        assert_eq!(presentable(" \n\u{0} "), None);
        assert_eq!(presentable(&"x".repeat(MAX_GREETING)).map(|text| text.len()), Some(MAX_GREETING));
        assert_eq!(presentable(&"x".repeat(MAX_GREETING + 1)), None, "nobody sends that but who means ill");
    }
}
