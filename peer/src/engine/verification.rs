//! Whether contacts are who they are taken for: words to compare, and names that only a compared key may have.

use std::sync::{Mutex, PoisonError};

use knothole_proto::contact_link::ContactLink;
use knothole_proto::identity::PeerId;
use knothole_proto::verification;

use super::{Engine, answer};
use crate::command::{CommandError, ContactView, KeyDiffers, Replaced, Reply, WordsView};

/// One at a time: each takes 64 MiB.
static TURN: Mutex<()> = Mutex::new(());

impl Engine {
    /// What the person and a contact compare. It takes some tenths of a second, which the engine does not wait for.
    pub(super) fn words(&self, who: &str, reply: Reply<WordsView>) {
        let (_, peer) = match self.named(who) {
            Ok(found) => found,
            Err(error) => return answer(reply, Err(error)),
        };
        let me = self.me;
        tokio::task::spawn_blocking(move || {
            let text = verification::text(&me, &peer);
            answer(reply, words(&me, &peer).map(|words| WordsView { words, text }));
        });
    }

    /// The person has compared the words, or gives what the contact shows.
    pub(super) fn verify(&mut self, who: &str, shown: Option<&str>, reply: Reply<ContactView>) {
        let (_, peer) = match self.named(who) {
            Ok(found) => found,
            Err(error) => return answer(reply, Err(error)),
        };
        if let Some(why) = shown.and_then(|shown| verification::check(shown, &self.me, &peer).err()) {
            return answer(reply, Err(CommandError::Unverified(why)));
        }
        self.after(self.store.verify(peer), move |engine, result| {
            let id = result.map_err(Into::into).and_then(|()| engine.named(&peer.to_string()).map(|(id, _)| id));
            let contact = id.map(|id| engine.contacts.get_mut(&id));
            match contact {
                Ok(Some(contact)) => {
                    contact.verified = true;
                    answer(reply, Ok(contact.view()));
                    engine.tell_contact(peer);
                }
                Ok(None) => {}
                Err(error) => answer(reply, Err(error)),
            }
        });
    }

    /// The verified contact that has this name, if it is not this peer. Capitals tell nobody apart.
    pub(super) fn verified_namesake(&self, name: &str, peer: PeerId) -> Option<(PeerId, String)> {
        let folded = |name: &str| name.trim().to_lowercase();
        let wanted = folded(name);
        let mut verified = self.contacts.values().filter(|contact| contact.verified && contact.peer != peer);
        verified.find(|contact| folded(&contact.name) == wanted).map(|contact| (contact.peer, contact.name.clone()))
    }

    /// What is to be said of a key that `given` is, and that was not compared under this name.
    pub(super) fn describe_key(
        &self,
        (known, name): (PeerId, String),
        given: PeerId,
        then: impl FnOnce(CommandError) + Send + 'static,
    ) {
        let me = self.me;
        tokio::task::spawn_blocking(move || {
            let spoken = |peer: &PeerId| words(&me, peer).map_or_else(|_| peer.to_string(), |words| words.join(" "));
            let (known, given) = (spoken(&known), spoken(&given));
            then(CommandError::KeyDiffers(Box::new(KeyDiffers { name, known, given })));
        });
    }

    /// Tells that `given` is not the key that was compared under this name. Nothing has been changed.
    pub(super) fn warn_of_key<T: Send + 'static>(&self, known: (PeerId, String), given: PeerId, reply: Reply<T>) {
        self.describe_key(known, given, |why| answer(reply, Err(why)));
    }

    /// Gives a name to another key, as the person wants it who has compared the words.
    pub(super) fn replace_contact(
        &mut self,
        link: ContactLink,
        name: String,
        relay_only: Option<bool>,
        reply: Reply<Replaced>,
    ) {
        if link.peer == self.me {
            return answer(reply, Err(CommandError::OwnLink));
        }
        let namesake = self.verified_namesake(&name, link.peer).map(|(peer, _)| peer);
        let old = namesake.or_else(|| self.named(&name).ok().map(|(_, peer)| peer).filter(|peer| *peer != link.peer));
        let Some(old) = old else { return answer(reply, Err(CommandError::UnknownContact(name))) };
        self.after(self.store.replace(old, link.peer, name, link.via, relay_only), move |engine, result| {
            let (new, old) = match result {
                Ok(both) => both,
                Err(error) => return answer(reply, Err(error.into())),
            };
            if let Some(contact) = engine.find_peer(old.peer).and_then(|id| engine.contacts.get_mut(&id)) {
                contact.name.clone_from(&old.name);
                contact.verified = false;
            }
            let conversation = engine.store.conversation(new.peer);
            engine.after(conversation, move |engine, result| {
                let both = [new.peer, old.peer];
                let contact = result.map(|at| engine.replace(new, at)).map_err(Into::into);
                answer(reply, contact.map(|contact| Replaced { contact, former: (old.peer, old.name) }));
                // The former one first: until then two would have the name.
                both.into_iter().rev().for_each(|peer| engine.tell_contact(peer));
            });
        });
    }
}

fn words(me: &PeerId, peer: &PeerId) -> Result<Vec<&'static str>, CommandError> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    verification::words(me, peer).ok_or(CommandError::NoMemory)
}
