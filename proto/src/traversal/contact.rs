//! One contact's invitation and path agent, and what they tell each other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::RendezvousId;
use super::own::Told;
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

/// What a contact wants done.
pub(super) enum Step {
    Invite(IntroductionId),
    /// Our addresses are to be told under this introduction.
    Tell(IntroductionId),
    Admit {
        remote: SocketAddr,
        vouched: bool,
    },
    Revoke(SocketAddr),
    Path {
        remote: SocketAddr,
        rtt: Duration,
    },
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
    /// Whether its connection is up, so that notes reach it.
    pub(super) linked: bool,
    /// What it was told of our addresses over that connection, and whether it is to be told more.
    pub(super) told: Told,
    pub(super) tells: bool,
    /// Whether the network has changed, and nothing has shown since that the contact is reached all the same.
    unsettled: bool,
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
            linked: false,
            told: Told::default(),
            tells: false,
            unsettled: false,
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
        self.dial_due = false;
        self.unsettled = false;
    }

    /// Another introduction is wanted, whatever there is already.
    pub(super) fn invite(&mut self, now: Instant) {
        self.invitation.invite(now);
    }

    /// Our network has changed. The path is used on while quick checks find out whether it still leads there.
    pub(super) fn handle_network_change(&mut self, now: Instant) {
        self.agent.handle_silence(now);
        self.unsettled = self.linked || self.relay.is_some() || self.invitation.is_waiting();
    }

    /// After a change the rendezvous knows where we are now, or has had the time to say so. A contact whose path has not
    /// answered is invited; one that is reached through a relay too, for the new network may have a path.
    pub(super) fn settle(&mut self, now: Instant) {
        if std::mem::take(&mut self.unsettled) && !self.agent.is_settled() {
            self.invitation.invite(now);
        }
    }

    /// A contact announced itself on our own network: an introduction without a rendezvous.
    pub(super) fn handle_neighbour(
        &mut self,
        introduction: IntroductionId,
        key: CheckKey,
        remotes: &[Candidate],
        now: Instant,
    ) {
        let known = self.agent.knows(&introduction);
        let reached = self.agent.path().is_some_and(|path| is_private(path.remote.ip()));
        // Under a salt that is new the contact may have restarted, and what is known of it be over.
        let under_way = known && (reached || self.agent.is_checking(&introduction));
        if under_way || !self.invitation.handle_invited(now) {
            return;
        }
        // Neither has invited the other, so the ids decide.
        self.dials = self.me < self.peer;
        if known {
            self.agent.check_again(introduction, now);
        }
        self.agent.introduce(introduction, key, Role::Inviter, remotes, now);
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
    }

    /// None of its rendezvous knows us.
    pub(super) fn handle_unsent(&mut self) {
        self.invitation.handle_unsent();
    }

    /// A rendezvous knows us no more, and what it was told is lost with that.
    pub(super) fn handle_unregistered(&mut self, id: RendezvousId) {
        if self.invitation.is_inviting() && self.invited_via == Some(id) {
            self.invitation.handle_unsent();
        }
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

    /// Whether this was the contact's relay, which is no more.
    pub(super) fn handle_relay_closed(&mut self, closed: impl Fn(&Relay) -> bool) -> bool {
        self.relay.take_if(|relay| closed(relay)).is_some()
    }

    pub(super) fn handle_declined(&mut self, introduction: IntroductionId, now: Instant) -> bool {
        let declined = self.invitation.handle_declined(introduction, now);
        if declined {
            self.tried += 1;
            // The next rendezvous is asked without a pause, once round.
            if self.via.len() > 1 && !self.tried.is_multiple_of(self.via.len()) {
                self.invitation.invite(now);
            }
        }
        declined
    }

    pub(super) fn poll_step(&mut self, now: Instant) -> Option<Step> {
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
        if let Some(introduction) = self.agent.introduction().filter(|_| self.linked)
            && (std::mem::take(&mut self.tells) || !self.told.under(introduction))
        {
            return Some(Step::Tell(introduction));
        }
        if self.dial_due && (self.relay.is_some() || self.agent.path().is_some()) {
            self.dial_due = false;
            return Some(Step::Dial);
        }
        if self.invitation.poll_timeout().is_some_and(|due| due <= now) {
            self.invitation.handle_timeout(now);
        }
        self.invitation.poll_event().map(|invitation::Event::Invite(introduction)| Step::Invite(introduction))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.invitation.poll_timeout(), self.agent.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.invitation.handle_timeout(now);
        self.agent.handle_timeout(now);
    }
}

/// What the rendezvous saw stands last, behind whatever the contact says of itself.
fn observed(remotes: &[Candidate]) -> Option<SocketAddr> {
    remotes.iter().rev().find(|remote| remote.kind == CandidateKind::ServerReflexive).map(|remote| remote.address)
}
