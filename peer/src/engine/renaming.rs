//! What a person calls a contact. It is theirs alone: the contact never learns of it.

use super::contact::Contact;
use super::{Engine, answer};
use crate::command::{ContactView, Reply};
use crate::event::EventKind;

impl Engine {
    /// Calls somebody, contact or not yet, by another name; a verified one stays so, for it is the key that was compared.
    pub(super) fn rename(&mut self, who: &str, name: String, reply: Reply<ContactView>) {
        let (_, peer) = match self.named(who) {
            Ok(found) => found,
            Err(error) => return answer(reply, Err(error)),
        };
        if let Some(namesake) = self.verified_namesake(&name, peer) {
            return self.warn_of_key(namesake, peer, reply);
        }
        self.after(self.store.rename(peer, name), move |engine, result| {
            let renamed = match result {
                Ok(renamed) => renamed,
                Err(error) => return answer(reply, Err(error.into())),
            };
            let view = engine.find_peer(peer).and_then(|id| engine.contacts.get_mut(&id)).map(|contact| {
                contact.name = renamed.name;
                Contact::view(contact)
            });
            // Removed meanwhile: nobody is left to be told of.
            let Some(view) = view else { return };
            let name = view.name.clone();
            answer(reply, Ok(view));
            engine.emit(EventKind::ContactRenamed { peer, name });
        });
    }
}
