//! What a contact wants done next.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Contact, Flight};
use crate::candidate::{IntroductionId, is_private};
use crate::invitation;
use crate::path::{self, Base, Path};

/// What a contact wants done.
pub(in crate::traversal) enum Step {
    Invite {
        introduction: IntroductionId,
        eager: bool,
    },
    Grounded,
    /// Our addresses are to be told under this introduction.
    Tell(IntroductionId),
    Admit {
        base: Base,
        remote: SocketAddr,
        vouched: bool,
    },
    Revoke {
        base: Base,
        remote: SocketAddr,
    },
    Path {
        base: Base,
        remote: SocketAddr,
        rtt: Duration,
    },
    Observed(SocketAddr),
    Dial,
    Lost,
    Failed,
}

impl Contact {
    pub(in crate::traversal) fn poll_step(&mut self, now: Instant) -> Option<Step> {
        if self.hidden {
            // Whatever has asked for it, the contact is not invited.
            self.invitation.cancel();
            return None;
        }
        if self.flight == Flight::Over {
            self.flight = Flight::None;
            return Some(Step::Grounded);
        }
        while let Some(event) = self.agent.poll_event() {
            return Some(match event {
                path::Event::Observed { base: Base::MAIN, address } => Step::Observed(address),
                path::Event::Observed { .. } => continue,
                path::Event::Heard { base, remote } => {
                    let vouched = self.observed == Some(remote) || is_private(remote.ip());
                    Step::Admit { base, remote, vouched }
                }
                path::Event::Forgotten { base, remote } => Step::Revoke { base, remote },
                path::Event::Selected(Path { base, remote, rtt, .. }) => {
                    self.tried = 0;
                    self.invitation.handle_reached();
                    self.flight = Flight::None;
                    self.dial_due = self.dials;
                    Step::Path { base, remote, rtt }
                }
                path::Event::Lost { .. } => {
                    self.invitation.invite(now);
                    self.tactics.seek(now);
                    Step::Lost
                }
                path::Event::Failed => {
                    if self.without_udp.is_none() || self.relay.is_none() {
                        self.invitation.handle_unreachable(now);
                    }
                    Step::Failed
                }
            });
        }
        if let Some(introduction) = self.agent.introduction().filter(|_| self.linked)
            && (std::mem::take(&mut self.tells) || !self.told.under(introduction))
        {
            return Some(Step::Tell(introduction));
        }
        if self.dial_due && (self.relay.is_some() || self.agent.path().is_some()) {
            self.dial_due = false;
            return Some(Step::Dial);
        }
        if self.renews {
            self.invitation.renew(now);
        }
        if self.invitation.poll_timeout().is_some_and(|due| due <= now) {
            self.invitation.handle_timeout(now);
        }
        // Whatever put the path in doubt, it has outlived it: nobody is waited for.
        if self.invitation.is_resting() && self.agent.is_settled() {
            self.invitation.handle_reached();
        }
        match self.invitation.poll_event()? {
            invitation::Event::Invite { introduction, eager } => Some(Step::Invite { introduction, eager }),
            invitation::Event::Unanswered => {
                self.ground();
                self.poll_step(now)
            }
        }
    }
}
