//! Contacts that announced themselves on our own network.

use std::time::Instant;

use super::{ContactId, Traversal};
use crate::candidate::{Candidate, CandidateKind};
use crate::identity::PeerId;
use crate::lan::{Announcement, LanSalt, introduction};

impl Traversal {
    /// Whose announcement this is, if a contact's.
    #[must_use]
    pub fn recognise(&self, announcement: &Announcement) -> Option<ContactId> {
        self.ids.iter().find(|(peer, _)| announcement.is_of(peer)).map(|(_, id)| *id)
    }

    /// A contact announced itself on our network, where we announced `salt`: checks begin as after an introduction by a
    /// rendezvous. Nothing follows if it is reached on a private network already and has not restarted, or announces itself too often.
    pub fn handle_announcement(&mut self, announcement: &Announcement, salt: LanSalt, now: Instant) {
        let Some(id) = self.recognise(announcement) else { return };
        let me: PeerId = self.me;
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.may_be_direct()) else { return };
        let (introduction, key) = introduction((&me, salt), (&contact.peer(), announcement.salt));
        let host = |address| Candidate { address, kind: CandidateKind::Host };
        let remotes: Vec<_> = announcement.lan_addresses().map(host).collect();
        if !remotes.is_empty() {
            contact.handle_neighbour(introduction, key, &remotes, now);
        }
        self.drain(now);
    }
}
