//! Invitations, ours and the contact's, and what becomes of them.

use std::time::{Duration, Instant};

use super::{Contact, Flight};
use crate::candidate::{CheckKey, IntroductionId};
use crate::path::Role;
use crate::traversal::RendezvousId;
use crate::traversal::without_udp::Remotes;

/// Both sides' invitations within this are one meeting, in which the ids decide who dials.
const GLARE: Duration = Duration::from_secs(10);

impl Contact {
    /// The latest invitation went this way.
    pub(in crate::traversal) fn handle_sent(&mut self, via: RendezvousId) {
        self.invited_via = Some(via);
        self.renews = false;
        self.offered = None;
    }

    /// The owner's first datagrams follow the latest invitation.
    pub(in crate::traversal) fn handle_flight(&mut self) {
        self.flight = Flight::Underway;
    }

    /// The latest invitation came to nothing.
    pub(super) fn ground(&mut self) {
        self.offered = None;
        if self.flight == Flight::Underway {
            self.flight = Flight::Over;
        }
    }

    /// None of its rendezvous knows us.
    pub(in crate::traversal) fn handle_unsent(&mut self) {
        self.invitation.handle_unsent();
    }

    /// This rendezvous does not answer. If an invitation is on its way there, and another of the contact's will do
    /// (`usable`), the contact is invited through that one now.
    pub(in crate::traversal) fn invite_otherwise(
        &mut self,
        id: RendezvousId,
        usable: impl Fn(&RendezvousId) -> bool,
        now: Instant,
    ) {
        let affected = self.invitation.is_inviting() && self.invited_via == Some(id);
        if affected && self.via.iter().any(|via| *via != id && usable(via)) {
            self.invitation.handle_unsent();
            self.invitation.invite(now);
        }
    }

    /// A rendezvous knows us no more, and what it was told is lost with that.
    pub(in crate::traversal) fn handle_unregistered(&mut self, id: RendezvousId) {
        if self.invitation.is_inviting() && self.invited_via == Some(id) {
            self.invitation.handle_unsent();
            self.ground();
        }
    }

    pub(in crate::traversal) const fn is_outstanding(&self) -> bool {
        self.invitation.is_outstanding()
    }

    pub(in crate::traversal) fn is_waiting(&self) -> bool {
        self.invitation.is_waiting()
    }

    /// The rendezvous to ask next, of those where we are registered.
    pub(in crate::traversal) fn next_via(&self, registered: impl Fn(&RendezvousId) -> bool) -> Option<RendezvousId> {
        let usable: Vec<_> = self.via.iter().filter(|via| registered(via)).collect();
        usable.get(self.tried % usable.len().max(1)).map(|via| **via)
    }

    pub(in crate::traversal) fn handle_invited(
        &mut self,
        introduction: IntroductionId,
        key: CheckKey,
        remotes: &Remotes,
        now: Instant,
    ) -> bool {
        if self.hidden || !self.invitation.handle_invited(now) {
            return false;
        }
        self.invited_us = Some(now);
        // Whoever invited dials. Only when each has taken the other's invitation up do the ids decide.
        let accepted = self.accepted_ours.is_some_and(|at| now.saturating_duration_since(at) < GLARE);
        self.dials = accepted && self.me < self.peer;
        self.observed = remotes.observed;
        self.tactics.seek(now);
        self.introduce(introduction, key, Role::Invitee, remotes, now);
        true
    }

    pub(in crate::traversal) fn handle_accepted(
        &mut self,
        introduction: IntroductionId,
        key: CheckKey,
        remotes: &Remotes,
        now: Instant,
    ) -> bool {
        if !self.invitation.handle_accepted(introduction, now) {
            return false;
        }
        self.flight = Flight::None;
        self.accepted_ours = Some(now);
        let invited = self.invited_us.is_some_and(|at| now.saturating_duration_since(at) < GLARE);
        self.dials = !invited || self.me < self.peer;
        // There may be a path already, by the contact's own invitation.
        self.dial_due = self.dials;
        self.observed = remotes.observed;
        self.tactics.seek(now);
        self.introduce(introduction, key, Role::Inviter, remotes, now);
        true
    }

    pub(in crate::traversal) fn handle_declined(&mut self, introduction: IntroductionId, now: Instant) -> bool {
        let declined = self.invitation.handle_declined(introduction, now);
        if declined {
            self.tried += 1;
            let eager = self.flight == Flight::Underway;
            self.ground();
            // The next rendezvous is asked without a pause, once round.
            if self.via.len() > 1 && !self.tried.is_multiple_of(self.via.len()) {
                match eager {
                    true => self.invitation.invite(now),
                    false => self.invitation.invite_soon(now),
                }
            }
        }
        declined
    }
}
