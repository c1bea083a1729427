//! What a person calls a contact. It is theirs alone: the contact never learns of it.

use super::{Engine, answer};
use crate::command::{ContactView, Reply};

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
            // Removed meanwhile: nobody is left to be told of.
            let Some(id) = engine.find_peer(peer) else { return };
            let Some(contact) = engine.contacts.get_mut(&id) else { return };
            contact.name = renamed.name;
            answer(reply, Ok(contact.view()));
            engine.tell_contact(peer);
        });
    }
}
