//! What the person here does beyond writing: reading, and typing. Contacts learn of it as a courtesy, which can be refused; and who
//! refuses it is shown none.

use std::time::{Duration, Instant};

use knothole_proto::frames::Frame;
use knothole_proto::traversal::ContactId;

use super::contact::Contact;
use super::timers::Timer;
use super::{Engine, answer};
use crate::command::Reply;
use crate::event::EventKind;
use crate::home::{Home, HomeError};

/// That somebody types is said again after this at the earliest, while it goes on.
const REPEAT: Duration = Duration::from_secs(3);
/// Somebody of whom no more is heard has stopped typing: the next word may be a round trip and a lost packet late.
const STOPPED: Duration = Duration::from_secs(8);
/// The faces hear no more often than this that a contact begins to type, however often it says so.
const CALM: Duration = Duration::from_secs(1);

/// Which of the two are told and shown at all; config.toml says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// Read receipts.
    receipts: bool,
    typing: bool,
}

/// What a contact may learn of the person here, besides what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// How far the conversation was read.
    Reading,
    /// That something is being written.
    Typing,
}

impl Habits {
    pub(super) fn of(home: &Home) -> Result<Self, HomeError> {
        Ok(Self { receipts: home.receipts()?, typing: home.typing()? })
    }

    const fn has(self, habit: Habit) -> bool {
        match habit {
            Habit::Reading => self.receipts,
            Habit::Typing => self.typing,
        }
    }
}

/// Who of the two types, as far as was said.
#[derive(Debug, Default)]
pub(super) struct Typing {
    /// What is to be said next.
    due: Option<bool>,
    /// Whether the contact believes that we type, and when we said so the last time.
    told: bool,
    told_at: Option<Instant>,
    /// Whether the contact types, and when the faces heard so the last time.
    heard: bool,
    heard_at: Option<Instant>,
}

impl Typing {
    /// The next frame for the link, on which nothing waits for an answer.
    pub(super) fn poll_frame(&mut self) -> Option<Frame> {
        self.due.take().map(|on| Frame::Typing { on })
    }

    /// A text was sent, which says by itself that the typing is over.
    pub(super) const fn handle_sent(&mut self) {
        self.due = None;
        self.told = false;
        self.told_at = None;
    }

    fn set(&mut self, on: bool, now: Instant) {
        let recently = self.told_at.is_some_and(|at| now.saturating_duration_since(at) < REPEAT);
        if on && !recently {
            (self.due, self.told, self.told_at) = (Some(true), true, Some(now));
        } else if !on && std::mem::take(&mut self.told) {
            self.due = Some(false);
        }
    }

    /// Takes what the contact says; whether that is news.
    fn hear(&mut self, on: bool, now: Instant) -> bool {
        let recently = self.heard_at.is_some_and(|at| now.saturating_duration_since(at) < CALM);
        if on == self.heard || (on && recently) {
            return false;
        }
        self.heard = on;
        if on {
            self.heard_at = Some(now);
        }
        true
    }
}

impl Engine {
    /// Whether a contact may learn this of the person here. The one place where that is decided.
    pub(super) fn may_learn(&self, id: ContactId, habit: Habit) -> bool {
        let talks = self.contacts.get(&id).is_some_and(Contact::talks);
        self.habits.has(habit) && talks && !self.is_hidden_from(id)
    }

    /// Whether this is shown of a contact.
    pub(super) const fn is_shown(&self, habit: Habit) -> bool {
        self.habits.has(habit)
    }

    /// The person here types, or has stopped. Said only on a connection that is up: who is not there has no use for it.
    pub(super) fn set_typing(&mut self, to: &str, on: bool, reply: Reply<()>, now: Instant) {
        let found = self.talking(to);
        if let Ok((id, _)) = found
            && self.may_learn(id, Habit::Typing)
            && let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.is_online())
        {
            contact.typing.set(on, now);
            self.pump(id);
        }
        answer(reply, found.map(|_| ()));
    }

    /// The contact types, or has stopped, or was not heard of for so long that it must have.
    pub(super) fn handle_typing(&mut self, id: ContactId, on: bool, now: Instant) {
        if !self.is_shown(Habit::Typing) {
            return;
        }
        let Some(contact) = self.contacts.get_mut(&id).filter(|contact| contact.talks()) else { return };
        let news = contact.typing.hear(on, now);
        if contact.typing.heard {
            self.timers.set(id, Timer::Typing, now + STOPPED);
        } else {
            self.timers.cancel(id, Timer::Typing);
        }
        if news {
            let (peer, name) = (contact.peer, contact.name.clone());
            self.emit(EventKind::Typing { peer, name, on });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_is_said_once_in_a_while_and_its_end_once() {
        let mut typing = Typing::default();
        let start = Instant::now();
        let mut said = |on: bool, seconds: u64| {
            typing.set(on, start + Duration::from_secs(seconds));
            typing.poll_frame()
        };
        let frame = |on| Some(Frame::Typing { on });
        assert_eq!(said(false, 0), None);
        assert_eq!(said(true, 0), frame(true));
        assert_eq!(said(true, 1), None);
        assert_eq!(said(true, 3), frame(true));
        assert_eq!(said(false, 4), frame(false));
        assert_eq!(said(false, 4), None);
        assert_eq!(said(true, 5), None);
        assert_eq!(said(false, 5), None);
        assert_eq!(said(true, 6), frame(true));
        typing.handle_sent();
        typing.set(true, start + Duration::from_secs(7));
        assert_eq!(typing.poll_frame(), frame(true));
    }

    #[test]
    fn a_contact_that_says_so_again_and_again_is_heard_once() {
        let mut typing = Typing::default();
        let start = Instant::now();
        let mut hear = |on: bool, milliseconds: u64| typing.hear(on, start + Duration::from_millis(milliseconds));
        assert!(hear(true, 0));
        assert!(!hear(true, 10));
        assert!(hear(false, 20));
        assert!(!hear(true, 30));
        assert!(!hear(false, 40));
        assert!(hear(true, 1000));
    }
}
