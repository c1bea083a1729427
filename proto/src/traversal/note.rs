//! What two contacts' traversals tell each other inside their own connection, relayed or direct, where the rendezvous
//! cannot read it. Layout: docs/protocol.md, "Notes".

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::own::Told;
use super::{ContactId, Event, Traversal};
use crate::candidate::{Candidate, IntroductionId};
use crate::hard_nat::Word;

/// The longest note, in bytes.
pub const MAX_NOTE: usize = 1024;

/// One thing told. New notes are appended, never inserted; one that is not known is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// Addresses at which the sender may be reached as well. Of those of one introduction only the first
    /// [`MAX_CANDIDATES`](crate::candidate::MAX_CANDIDATES) are looked at.
    Candidates {
        /// The introduction under whose key they are to be checked.
        introduction: IntroductionId,
        /// The addresses.
        candidates: Vec<Candidate>,
    },
    /// About an attempt to cross a hard NAT.
    Tactic(Word),
}

impl Note {
    /// The note as it travels.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising into memory cannot fail.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes::<Self>(bytes) {
            Ok((note, [])) if bytes.len() <= MAX_NOTE => Some(note),
            _ => None,
        }
    }
}

impl Traversal {
    /// The contact's connection is up, in place of another if there was one: notes reach it from now on. Those that
    /// went by the other may be lost, so all is told anew.
    pub fn handle_link_up(&mut self, id: ContactId, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.linked = true;
            contact.told = Told::default();
        }
        self.tell(id, &Note::Tactic(Word::Nat(self.nat())));
        self.drain(now);
    }

    /// The contact's connection has ended. Notes that were not read yet may be lost.
    pub fn handle_link_down(&mut self, id: ContactId) {
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.linked = false;
            contact.told = Told::default();
        }
    }

    /// A note came. Anything that is none is passed over: it may be of a later version.
    pub fn handle_note(&mut self, id: ContactId, note: &[u8], now: Instant) {
        let contact = self.contacts.get_mut(&id).filter(|contact| contact.may_be_direct());
        let (Some(note), Some(contact)) = (Note::parse(note), contact) else { return };
        match note {
            Note::Candidates { introduction, candidates } => {
                contact.agent.add_candidates(introduction, &candidates, now);
            }
            Note::Tactic(word) => self.handle_word(id, word, now),
        }
        self.drain(now);
    }

    /// Tells the contact something, if its connection is up and it may be reached directly; whether it was told.
    pub(super) fn tell(&mut self, id: ContactId, note: &Note) -> bool {
        // All notes are about direct paths.
        let linked = self.contacts.get(&id).is_some_and(|contact| contact.linked && contact.may_be_direct());
        if linked {
            self.events.push_back(Event::Note { contact: id, note: note.to_bytes() });
        }
        linked
    }
}
