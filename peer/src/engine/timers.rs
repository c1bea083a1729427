//! The engine's own deadlines; the machines have theirs.

use std::collections::BTreeMap;
use std::time::Instant;

use knothole_proto::traversal::ContactId;

/// What is due for a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// When the contact should have opened the connection and has not: we do.
    Dial,
    /// When a path that fell silent has been silent for long.
    Silence,
    /// When a silent path has been checked: if it is still there, the next silence counts anew.
    Answered,
    /// When the last word on a connection has left, and its routes can be forgotten.
    Forget,
    /// When a conversation that the store could not follow is to be taken up again.
    Recover,
    /// When letters that the rendezvous had no time for are to be posted.
    Letters,
    /// When letters that were posted should have been answered.
    Unanswered,
    /// When a contact is to be invited anew.
    Reconnect,
    /// When a text is to disappear, or it is to be looked whether one is.
    Expire,
    /// When it is to be looked whether a connection is still needed.
    Rest,
    /// When the rendezvous are to hear that we hide from a contact.
    Conceal,
    /// When a contact has stopped typing without saying so.
    Typing,
}

/// Deadlines, at most one of a kind for each contact.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(ContactId, Timer), Instant>,
}

impl Timers {
    /// Sets a deadline, in place of an earlier one of the same kind.
    pub(super) fn set(&mut self, contact: ContactId, timer: Timer, at: Instant) {
        self.due.insert((contact, timer), at);
    }

    /// Sets a deadline, unless there is an earlier one of the same kind.
    pub(super) fn bring_forward(&mut self, contact: ContactId, timer: Timer, at: Instant) {
        let due = self.due.entry((contact, timer)).or_insert(at);
        *due = at.min(*due);
    }

    /// Takes a deadline back; whether there was one.
    pub(super) fn cancel(&mut self, contact: ContactId, timer: Timer) -> bool {
        self.due.remove(&(contact, timer)).is_some()
    }

    /// Forgets a contact's deadlines.
    pub(super) fn forget(&mut self, contact: ContactId) {
        self.due.retain(|(of, _), _| *of != contact);
    }

    /// The next deadline.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(ContactId, Timer)> {
        let (&key, _) = self.due.iter().find(|(_, at)| **at <= now)?;
        self.due.remove(&key);
        Some(key)
    }
}
