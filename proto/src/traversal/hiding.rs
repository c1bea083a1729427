//! Contacts that must not notice that we are here: towards them we are as silent as one who has left.

use std::time::Instant;

use super::contact::Contact;
use super::{ContactId, Traversal};

impl Contact {
    /// Forgets all ways to this contact, and takes none from it as long as we hide.
    fn hide(&mut self) {
        self.release();
        self.linked = false;
        self.hidden = true;
    }
}

impl Traversal {
    /// Whether we hide from this contact: nothing is sent to it, and no check, invitation or announcement of it is answered.
    /// Letters go and come all the same, for rendezvous carry them. What rendezvous are to know of it is
    /// [`watch`](Self::watch)'s.
    ///
    /// Its relay is not refused: the rendezvous close it when they hear that we hide, as they do when we leave, and until then
    /// it carries the connection's last word.
    pub fn set_hidden(&mut self, id: ContactId, hidden: bool, now: Instant) {
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.hidden != hidden) else { return };
        if hidden {
            contact.hide();
            self.end_tactics(id);
        } else {
            contact.hidden = false;
        }
        self.drain(now);
    }
}
