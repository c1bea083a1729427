//! Letters on their way through rendezvous, which neither read nor keep what they are told here beyond what the owner wants.

use std::time::Instant;

use super::{ContactId, Event, RendezvousId, Traversal};
use crate::control::{LetterName, ToRendezvous};
use crate::identity::PeerId;

/// Why a letter was not posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPosted {
    /// The contact has no rendezvous, of those not tried, where we are registered.
    #[error("we are registered at none of the contact's rendezvous")]
    Unregistered,
    /// Too much that was said is not acknowledged yet.
    #[error("the rendezvous has too much to do for us")]
    Busy,
}

impl Traversal {
    /// Posts a letter for a contact through one of its rendezvous where we are registered, the preferred first, but none of
    /// those that have been `tried`: [`Event::Posted`] follows, unless that registration ends before. `keep`: whether it
    /// may wait in a mailbox. Returns which one it is.
    ///
    /// # Errors
    /// [`NotPosted`].
    pub fn post(
        &mut self,
        id: ContactId,
        tried: &[RendezvousId],
        (letter, envelope): (LetterName, Vec<u8>),
        keep: bool,
        now: Instant,
    ) -> Result<RendezvousId, NotPosted> {
        let contact = self.contacts.get(&id).ok_or(NotPosted::Unregistered)?;
        let registered = |via: &&RendezvousId| {
            let client = self.rendezvous.get(via);
            !tried.contains(via) && client.is_some_and(|client| client.observed().is_some())
        };
        let heard = |via: &&RendezvousId| self.rendezvous.get(via).is_some_and(|client| !client.is_doubtful());
        let mut usable = contact.via().iter().filter(registered);
        let via = *usable.clone().find(heard).or_else(|| usable.next()).ok_or(NotPosted::Unregistered)?;
        let to = contact.peer();
        let said = self.say(via, ToRendezvous::Post { to, letter, envelope, keep }, now);
        said.then_some(via).ok_or(NotPosted::Busy)
    }

    /// Tells a rendezvous whether to keep letters for us while we are away, and whose: at most
    /// [`MAX_NAMED`](crate::control::MAX_NAMED) in one call. `fresh`: instead of those named before. [`Event::Mailbox`]
    /// follows; what is said meanwhile may overtake it. False if it cannot be said now.
    pub fn keep_letters(
        &mut self,
        id: RendezvousId,
        open: bool,
        fresh: bool,
        senders: Vec<PeerId>,
        now: Instant,
    ) -> bool {
        self.say(id, ToRendezvous::Mailbox { open, fresh, senders }, now)
    }

    /// These letters of our mailbox are in durable storage, or of no use. Not to be said now, they come again.
    pub fn collect(&mut self, id: RendezvousId, letters: Vec<u64>, now: Instant) -> bool {
        self.say(id, ToRendezvous::Collected { letters }, now)
    }

    pub(super) fn handle_letter(
        &mut self,
        via: RendezvousId,
        letter: Option<u64>,
        from: Option<PeerId>,
        envelope: Vec<u8>,
    ) {
        let ours = !self.reserved.contains(&via);
        // Our mailboxes are at our own.
        if from.map_or(ours, |from| self.may_speak_for(via, &from)) {
            self.events.push_back(Event::Letter { via, letter, from, envelope });
        }
    }
}
