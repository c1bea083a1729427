//! Our mailboxes: whether our own rendezvous keep letters for us, and whose.
//!
//! Whom we talk with is told a few at a time, each in answer to the one before: what is said at once may arrive in any order,
//! and the first message replaces what was named.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use knothole_proto::control::MAX_NAMED;
use knothole_proto::identity::{PeerId, PublicKey};
use knothole_proto::traversal::RendezvousId;

use crate::command::{CommandError, MailboxState, Reply};
use crate::engine::{Engine, answer};

/// The setting that remembers what the person last said of it: one byte, 0 or 1.
pub(in crate::engine) const SETTING: &str = "mailbox";

/// The setting that remembers which rendezvous may keep letters for us, by their keys: each must be told when that is to end,
/// and again until it has said that it has.
pub(in crate::engine) const OPENED: &str = "mailboxes-opened";

/// Whether we want mailboxes, and how far we are with each.
pub(in crate::engine) struct Mailbox {
    wanted: bool,
    opened: Opened,
    at: BTreeMap<RendezvousId, Saying>,
}

/// What a rendezvous has been told, and has answered.
#[derive(Default)]
struct Saying {
    /// Still to be told, when it has answered.
    left: VecDeque<Vec<PeerId>>,
    /// What it has been asked for, and has not answered: to be open, or closed.
    asked: Option<bool>,
    /// Whether it has been told anything in this registration.
    told: bool,
    /// Whether the senders have changed since we began.
    again: bool,
    open: Option<bool>,
}

/// The rendezvous that have been asked to keep letters, and have not said since that they do not.
#[derive(Debug, Default, PartialEq, Eq)]
struct Opened(BTreeSet<PublicKey>);

impl Opened {
    fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.as_chunks().0.iter().copied().map(PublicKey::new).collect())
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|key| *key.as_bytes()).collect()
    }

    /// Notes what a rendezvous has been asked for (it may do it, whether we hear of that or not), or has answered; whether
    /// that is news.
    fn note(&mut self, key: PublicKey, asked: bool, answer: Option<bool>) -> bool {
        match (asked, answer) {
            (true, _) | (false, Some(true)) => self.0.insert(key),
            (false, Some(false)) => self.0.remove(&key),
            (false, None) => false,
        }
    }
}

impl Mailbox {
    pub(in crate::engine) fn new(wanted: bool, opened: &[u8]) -> Self {
        Self { wanted, opened: Opened::from_bytes(opened), at: BTreeMap::new() }
    }

    /// Whether the person wants letters kept: ours at our contacts' rendezvous, and theirs at ours.
    pub(in crate::engine) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(in crate::engine) fn state(&self, rendezvous: RendezvousId) -> MailboxState {
        match self.at.get(&rendezvous).and_then(|saying| saying.open) {
            Some(true) if self.wanted => MailboxState::Open,
            Some(false) if self.wanted => MailboxState::Refused,
            _ => MailboxState::Closed,
        }
    }
}

impl Engine {
    /// The person wants mailboxes from now on, or no more.
    pub(in crate::engine) fn set_mailbox(&mut self, wanted: bool, reply: Reply<()>) {
        self.after(self.store.set_setting(SETTING, vec![u8::from(wanted)]), move |engine, result| {
            if result.is_ok() {
                engine.mailbox.wanted = wanted;
                engine.mailbox_changed(Instant::now());
            }
            answer(reply, result.map_err(CommandError::from));
        });
    }

    /// Our rendezvous are told of a change: in what we want, or in whom we talk with.
    pub(in crate::engine) fn mailbox_changed(&mut self, now: Instant) {
        for index in 0..self.own_rendezvous {
            self.say_mailbox(RendezvousId(u32::try_from(index).unwrap_or(u32::MAX)), now);
        }
    }

    /// Tells a rendezvous of ours, where we are registered, whether to keep letters and whose; and one that is ours no longer,
    /// where we meet a contact, that it need not.
    pub(in crate::engine) fn say_mailbox(&mut self, id: RendezvousId, now: Instant) {
        let Some(key) = self.rendezvous_key(id).filter(|_| self.traversal.observed(id).is_some()) else { return };
        let wanted = self.mailbox.wanted && (id.0 as usize) < self.own_rendezvous;
        let saying = self.mailbox.at.entry(id).or_default();
        // One that was never opened need not be closed: so everybody who has none costs nothing.
        if !wanted && !self.mailbox.opened.0.contains(&key) {
            return;
        }
        saying.again = saying.asked.is_some();
        // To close may be left unanswered; then what is said now is said once more when there is an answer.
        if saying.asked == Some(true) || (saying.asked == Some(false) && !wanted) {
            return;
        }
        let senders = self.contacts.values().filter(|contact| wanted && contact.talks()).map(|contact| contact.peer);
        saying.left = senders.collect::<Vec<_>>().chunks(MAX_NAMED).map(<[PeerId]>::to_vec).collect();
        let first = saying.left.pop_front().unwrap_or_default();
        saying.told = self.traversal.keep_letters(id, wanted, true, first, now);
        saying.asked = saying.told.then_some(wanted);
        if saying.told {
            self.note_opened(key, wanted, None);
        }
    }

    fn rendezvous_key(&self, id: RendezvousId) -> Option<PublicKey> {
        self.rendezvous.get(id.0 as usize).map(|rendezvous| rendezvous.address.key)
    }

    fn note_opened(&mut self, key: PublicKey, asked: bool, answer: Option<bool>) {
        if self.mailbox.opened.note(key, asked, answer) {
            self.after(self.store.set_setting(OPENED, self.mailbox.opened.to_bytes()), |_, result| {
                if let Err(error) = result {
                    tracing::info!(%error, "it was not noted where there is a mailbox");
                }
            });
        }
    }

    /// We are registered, perhaps as we were before.
    pub(in crate::engine) fn resume_mailbox(&mut self, id: RendezvousId, now: Instant) {
        if self.mailbox.at.get(&id).is_none_or(|saying| !saying.told) {
            self.say_mailbox(id, now);
        }
    }

    /// A rendezvous has answered.
    pub(in crate::engine) fn handle_mailbox(&mut self, id: RendezvousId, open: bool, now: Instant) {
        let Some(key) = self.rendezvous_key(id) else { return };
        let Some(saying) = self.mailbox.at.get_mut(&id) else { return };
        let Some(asked) = saying.asked.take() else { return };
        saying.open = asked.then_some(open);
        if asked && !open {
            saying.left.clear();
            tracing::info!("the rendezvous keeps no letters for us");
        }
        let next = if saying.again { None } else { saying.left.pop_front() };
        let again = saying.again;
        self.note_opened(key, asked, Some(open));
        if again {
            self.say_mailbox(id, now);
        }
        if let Some(next) = next
            && self.traversal.keep_letters(id, asked, false, next, now)
            && let Some(saying) = self.mailbox.at.get_mut(&id)
        {
            saying.asked = Some(asked);
        }
    }

    /// A registration has ended, and what was not answered there is to be said again.
    pub(in crate::engine) fn forget_mailbox(&mut self, id: RendezvousId) {
        if let Some(saying) = self.mailbox.at.get_mut(&id) {
            (saying.asked, saying.told) = (None, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rendezvous_that_was_asked_is_remembered_until_it_says_that_it_is_closed() {
        let (one, two) = (PublicKey::new([1; 32]), PublicKey::new([2; 32]));
        let mut opened = Opened::from_bytes(&[]);
        assert!(opened.note(one, true, None), "it may be open although we never hear of it");
        assert!(opened.note(two, true, None));
        assert!(!opened.note(two, true, Some(true)));
        // One is closed; the other is out of reach, or does not answer.
        assert!(!opened.note(one, false, None));
        assert!(opened.note(one, false, Some(false)));
        assert!(!opened.note(two, false, None));
        let again = Opened::from_bytes(&opened.to_bytes());
        assert_eq!(again, Opened(BTreeSet::from([two])));
    }
}
