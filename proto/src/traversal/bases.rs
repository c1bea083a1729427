//! The further sockets of attempts: taken over from the owner, kept while a path may go from them, and given back.

use std::time::{Duration, Instant};

use super::{ContactId, Event, Traversal};
use crate::path::Base;

/// A base that nobody was heard at for so long, half as long again as consent lasts where it lasts longest (the frugal
/// profile's 75 s), carries no path of the other side's.
const QUIET: Duration = Duration::from_secs(113);
/// Bases held at once, by paths and the attempt: 256, and some paths.
const MAX_BASES: usize = 320;

impl Traversal {
    /// The sockets that an [`Event::OpenBases`] asked for; perhaps fewer, perhaps none. Those that are not needed any
    /// more are given back at once.
    pub fn handle_bases(&mut self, id: ContactId, bases: &[Base], now: Instant) {
        let room = MAX_BASES.saturating_sub(self.workshop.held.len());
        match &mut self.workshop.active {
            Some((of, attempt)) if *of == id => {
                let (taken, refused) = bases.split_at(bases.len().min(room));
                attempt.handle_bases(taken, now);
                self.events.extend(refused.iter().copied().map(Event::CloseBase));
            }
            _ => self.events.extend(bases.iter().copied().map(Event::CloseBase)),
        }
        self.drain(now);
    }

    /// Of the bases of an attempt, those where the contact was heard stay open: it may have chosen one of them that we did not.
    pub(super) fn hold_or_close(&mut self, id: ContactId, bases: &[Base], now: Instant) {
        for base in bases.iter().copied() {
            if self.uses(id, base, now) {
                self.workshop.held.insert(base, id);
                self.workshop.sweep.get_or_insert(now + QUIET);
            } else {
                self.close(id, base);
            }
        }
    }

    pub(super) fn sweep_bases(&mut self, now: Instant) {
        if self.workshop.sweep.is_none_or(|sweep| now < sweep) {
            return;
        }
        let held: Vec<_> = self.workshop.held.iter().map(|(base, id)| (*id, *base)).collect();
        for (id, base) in held {
            if !self.uses(id, base, now) {
                self.close(id, base);
            }
        }
        self.workshop.sweep = (!self.workshop.held.is_empty()).then_some(now + QUIET);
    }

    fn uses(&self, id: ContactId, base: Base, now: Instant) -> bool {
        let since = now.checked_sub(QUIET).unwrap_or(now);
        self.contacts.get(&id).is_some_and(|contact| contact.agent.uses(base, since))
    }

    pub(super) fn close(&mut self, id: ContactId, base: Base) {
        self.workshop.held.remove(&base);
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.agent.forget_base(base);
        }
        self.events.push_back(Event::CloseBase(base));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::Profile;

    #[test]
    fn no_base_is_closed_that_a_contact_of_any_profile_may_still_use() {
        for profile in [Profile::Default, Profile::Strict, Profile::Frugal] {
            assert!(QUIET >= profile.consent_expiry() * 3 / 2, "{profile:?}");
        }
    }
}
