//! Contacts that are met through a relay alone, as the person chose.

#[cfg(test)]
mod tests;

use std::time::Instant;

use super::{Engine, answer};
use crate::command::{ContactView, Reply};

impl Engine {
    /// Stores the choice, and follows it from then on: what is not stored would be forgotten at the next start.
    pub(super) fn choose_path(&mut self, who: &str, relay_only: bool, reply: Reply<ContactView>) {
        let (_, peer) = match self.named(who) {
            Ok(found) => found,
            Err(error) => return answer(reply, Err(error)),
        };
        self.after(self.store.set_relay_only(peer, relay_only), move |engine, result| {
            let chosen = result.map_err(Into::into).and_then(|_| engine.named(&peer.to_string()));
            let view = chosen.map(|(id, _)| {
                if let Some(contact) = engine.contacts.get_mut(&id) {
                    contact.relay_only = relay_only;
                }
                engine.hide_from_lan();
                engine.traversal.set_relay_only(id, relay_only, Instant::now());
                engine.contacts.get(&id).map(super::contact::Contact::view)
            });
            match view {
                Ok(Some(view)) => {
                    answer(reply, Ok(view));
                    engine.tell_contact(peer);
                }
                Ok(None) => {}
                Err(error) => answer(reply, Err(error)),
            }
        });
    }

    /// While a contact is not to learn our address, or that we are there, nothing of ours is announced on the LAN: every contact would recognise
    /// it. Nobody is looked for either, for whom we do not announce ourselves to, we cannot meet.
    pub(super) fn hide_from_lan(&mut self) {
        let hidden =
            self.contacts.values().any(|contact| contact.talks() && (contact.relay_only || contact.standing.hidden));
        self.surroundings.show_on_lan(!hidden);
    }
}
