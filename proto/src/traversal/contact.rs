//! One contact's invitation and path agent, and what they tell each other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::own::Told;
use super::tactics::Tactics;
use super::without_udp::Remotes;
use super::{RendezvousId, Unreachable};
use crate::candidate::{Candidate, CheckKey, IntroductionId, is_private};
use crate::hard_nat::Ration;
use crate::identity::PeerId;
use crate::invitation::{self, Invitation};
use crate::path::{self, Agent, Base, Config, Path, Role};

/// Both sides' invitations within this are one meeting, in which the ids decide who dials.
const GLARE: Duration = Duration::from_secs(10);

/// Announcements of one contact that are followed at once, each with a round of checks, and how long it takes to earn
/// another: a contact restarts, or comes to the network, less often.
const NEIGHBOURS: (u32, Duration) = (8, Duration::from_secs(2));

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
    /// Why its last introduction gave only addresses of our own network to check, or none.
    pub(super) without_udp: Option<Unreachable>,
    /// Whether its connection is up, so that notes reach it.
    pub(super) linked: bool,
    /// What it was told of our addresses over that connection, and whether it is to be told more.
    pub(super) told: Told,
    pub(super) tells: bool,
    /// Whether the network has changed, and nothing has shown since that the contact is reached all the same.
    unsettled: bool,
    pub(super) tactics: Tactics,
    /// What is made of announcements. Anybody on the LAN who knows its id can make them, and must not use up what its own
    /// invitations need.
    neighbours: Ration,
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
            without_udp: None,
            linked: false,
            told: Told::default(),
            tells: false,
            unsettled: false,
            tactics: Tactics::new(),
            neighbours: Ration::new(NEIGHBOURS.0, NEIGHBOURS.1),
        }
    }

    pub(super) const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Where the rendezvous saw it last.
    pub(super) const fn observed(&self) -> Option<SocketAddr> {
        self.observed
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
        self.unsettled = false;
        self.tactics.rest();
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
        if under_way || !self.neighbours.take(1, now) {
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

    pub(super) const fn relay(&self) -> Option<Relay> {
        self.relay
    }

    /// This rendezvous does not answer. If an invitation is on its way there, and another of the contact's will do
    /// (`usable`), the contact is invited through that one now.
    pub(super) fn invite_otherwise(&mut self, id: RendezvousId, usable: impl Fn(&RendezvousId) -> bool, now: Instant) {
        let affected = self.invitation.is_inviting() && self.invited_via == Some(id);
        if affected && self.via.iter().any(|via| *via != id && usable(via)) {
            self.invitation.handle_unsent();
            self.invitation.invite(now);
        }
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
        remotes: &Remotes,
        now: Instant,
    ) -> bool {
        if !self.invitation.handle_invited(now) {
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

    pub(super) fn handle_accepted(
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

    pub(super) fn handle_relay(&mut self, relay: Relay) {
        self.relay = Some(relay);
        // There is nothing better to wait for, and to invite again would change nothing.
        if self.without_udp.is_some() {
            self.invitation.handle_reached();
        }
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

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.invitation.poll_timeout(), self.agent.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.invitation.handle_timeout(now);
        self.agent.handle_timeout(now);
    }
}
