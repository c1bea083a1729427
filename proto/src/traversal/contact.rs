//! One contact's invitation and path agent, and what they tell each other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::RendezvousId;
use crate::candidate::{Candidate, CandidateKind, CheckKey, IntroductionId, is_private};
use crate::identity::PeerId;
use crate::invitation::{self, Invitation};
use crate::path::{self, Agent, Config, Path, Role};

/// Both sides' invitations within this are one meeting, in which the ids decide who dials.
const GLARE: Duration = Duration::from_secs(10);

/// A way through a rendezvous, which both may use until it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relay {
    pub(super) rendezvous: RendezvousId,
    pub(super) channel: u32,
}

/// Whether the owner was told that its first datagrams may follow an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    /// No, or what they led to stands by itself.
    None,
    /// Yes, and the invitation is not accepted yet.
    Underway,
    /// The invitation came to nothing, and the owner is to be told.
    Over,
}

/// What a contact wants done.
pub(super) enum Step {
    Invite { introduction: IntroductionId, eager: bool },
    Grounded,
    Admit { remote: SocketAddr, vouched: bool },
    Revoke(SocketAddr),
    Path { remote: SocketAddr, rtt: Duration },
    Dial,
    Lost,
    Failed,
}

pub(super) struct Contact {
    me: PeerId,
    peer: PeerId,
    via: Vec<RendezvousId>,
    /// How many of `via` have answered in vain since the contact was last reached.
    tried: usize,
    invitation: Invitation,
    pub(super) agent: Agent,
    /// When we last took an invitation of the contact's up, and when it last took up one of ours.
    invited_us: Option<Instant>,
    accepted_ours: Option<Instant>,
    /// Where the rendezvous saw the contact.
    observed: Option<SocketAddr>,
    /// Through which rendezvous the latest invitation went.
    invited_via: Option<RendezvousId>,
    dials: bool,
    /// Whether the owner is to be told so, once there is a path or a relay.
    dial_due: bool,
    relay: Option<Relay>,
    /// The relay that came with our own invitation, until that is accepted.
    offered: Option<Relay>,
    flight: Flight,
    /// Whether its connection is up, so that notes reach it.
    pub(super) linked: bool,
}

impl Contact {
    pub(super) fn new(
        me: PeerId,
        peer: PeerId,
        via: Vec<RendezvousId>,
        config: Config,
        seeds: ([u8; 32], [u8; 32]),
    ) -> Self {
        Self {
            me,
            peer,
            via,
            tried: 0,
            invitation: Invitation::new(seeds.0),
            agent: Agent::new(config, seeds.1),
            invited_us: None,
            accepted_ours: None,
            observed: None,
            invited_via: None,
            dials: false,
            dial_due: false,
            relay: None,
            offered: None,
            flight: Flight::None,
            linked: false,
        }
    }

    pub(super) const fn peer(&self) -> PeerId {
        self.peer
    }

    pub(super) fn via(&self) -> &[RendezvousId] {
        &self.via
    }

    pub(super) fn path(&self) -> Option<(SocketAddr, Duration)> {
        self.agent.path().map(|path| (path.remote, path.rtt))
    }

    pub(super) fn connect(&mut self, now: Instant) {
        if self.agent.path().is_none() && self.relay.is_none() {
            self.invitation.invite(now);
        }
    }

    pub(super) fn release(&mut self) {
        self.invitation.cancel();
        self.agent.reset();
        self.relay = None;
        self.offered = None;
        self.flight = Flight::None;
        self.dial_due = false;
    }

    /// A rendezvous of this contact knows us now: what waited for that need not wait longer.
    pub(super) fn handle_registered(&mut self, now: Instant) {
        if self.invitation.is_waiting() {
            self.invitation.invite(now);
        }
    }

    /// The latest invitation went this way.
    pub(super) fn handle_sent(&mut self, via: RendezvousId) {
        self.invited_via = Some(via);
        self.offered = None;
    }

    /// The owner's first datagrams follow the latest invitation.
    pub(super) fn handle_flight(&mut self) {
        self.flight = Flight::Underway;
    }

    /// The latest invitation came to nothing.
    fn ground(&mut self) {
        self.offered = None;
        if self.flight == Flight::Underway {
            self.flight = Flight::Over;
        }
    }

    /// None of its rendezvous knows us.
    pub(super) fn handle_unsent(&mut self) {
        self.invitation.handle_unsent();
    }

    /// A rendezvous knows us no more, and what it was told is lost with that.
    pub(super) fn handle_unregistered(&mut self, id: RendezvousId) {
        if self.invitation.is_inviting() && self.invited_via == Some(id) {
            self.invitation.handle_unsent();
            self.ground();
        }
    }

    pub(super) const fn is_outstanding(&self) -> bool {
        self.invitation.is_outstanding()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.invitation.is_waiting()
    }

    /// The rendezvous to ask next, of those where we are registered.
    pub(super) fn next_via(&self, registered: impl Fn(&RendezvousId) -> bool) -> Option<RendezvousId> {
        let usable: Vec<_> = self.via.iter().filter(|via| registered(via)).collect();
        usable.get(self.tried % usable.len().max(1)).map(|via| **via)
    }

    pub(super) fn handle_invited(
        &mut self,
        introduction: IntroductionId,
        key: CheckKey,
        remotes: &[Candidate],
        now: Instant,
    ) -> bool {
        if !self.invitation.handle_invited(now) {
            return false;
        }
        self.invited_us = Some(now);
        // Whoever invited dials. Only when each has taken the other's invitation up do the ids decide.
        let accepted = self.accepted_ours.is_some_and(|at| now.saturating_duration_since(at) < GLARE);
        self.dials = accepted && self.me < self.peer;
        self.observed = observed(remotes);
        self.agent.introduce(introduction, key, Role::Invitee, remotes, now);
        true
    }

    pub(super) fn handle_accepted(
        &mut self,
        introduction: IntroductionId,
        key: CheckKey,
        remotes: &[Candidate],
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
        self.observed = observed(remotes);
        self.agent.introduce(introduction, key, Role::Inviter, remotes, now);
        true
    }

    pub(super) fn handle_relay(&mut self, relay: Relay) {
        self.relay = Some(relay);
    }

    /// A relay came with our own invitation of this name. Whether it is only offered yet; else it is the contact's.
    pub(super) fn handle_offered(&mut self, introduction: IntroductionId, relay: Relay) -> bool {
        let offered = self.invitation.is_inviting_by(introduction) && self.relay != Some(relay);
        if offered {
            self.offered = Some(relay);
        }
        offered
    }

    /// The relays by which the contact's frames come.
    pub(super) fn relays(&self) -> impl Iterator<Item = Relay> {
        self.relay.into_iter().chain(self.offered)
    }

    /// The relay that came with our invitation, when that is accepted.
    pub(super) fn take_offered(&mut self) -> Option<Relay> {
        self.offered.take()
    }

    /// Whether this was the contact's relay, which is no more.
    pub(super) fn handle_relay_closed(&mut self, closed: impl Fn(&Relay) -> bool) -> bool {
        self.offered.take_if(|relay| closed(relay));
        self.relay.take_if(|relay| closed(relay)).is_some()
    }

    pub(super) fn handle_declined(&mut self, introduction: IntroductionId, now: Instant) -> bool {
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

    pub(super) fn poll_step(&mut self, now: Instant) -> Option<Step> {
        if self.flight == Flight::Over {
            self.flight = Flight::None;
            return Some(Step::Grounded);
        }
        while let Some(event) = self.agent.poll_event() {
            return Some(match event {
                path::Event::Observed { .. } => continue,
                path::Event::Heard { remote } => {
                    let vouched = self.observed == Some(remote) || is_private(remote.ip());
                    Step::Admit { remote, vouched }
                }
                path::Event::Forgotten { remote } => Step::Revoke(remote),
                path::Event::Selected(Path { remote, rtt, .. }) => {
                    self.tried = 0;
                    self.invitation.handle_reached();
                    self.flight = Flight::None;
                    self.dial_due = self.dials;
                    Step::Path { remote, rtt }
                }
                path::Event::Lost { .. } => {
                    self.invitation.invite(now);
                    Step::Lost
                }
                path::Event::Failed => {
                    self.invitation.handle_unreachable(now);
                    Step::Failed
                }
            });
        }
        if self.dial_due && (self.relay.is_some() || self.agent.path().is_some()) {
            self.dial_due = false;
            return Some(Step::Dial);
        }
        if self.invitation.poll_timeout().is_some_and(|due| due <= now) {
            self.invitation.handle_timeout(now);
        }
        match self.invitation.poll_event()? {
            invitation::Event::Invite { introduction, eager } => Some(Step::Invite { introduction, eager }),
            invitation::Event::Unanswered => {
                self.ground();
                self.poll_step(now)
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.invitation.poll_timeout(), self.agent.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.invitation.handle_timeout(now);
        self.agent.handle_timeout(now);
    }
}

fn observed(remotes: &[Candidate]) -> Option<SocketAddr> {
    remotes.iter().find(|remote| remote.kind == CandidateKind::ServerReflexive).map(|remote| remote.address)
}
