//! One contact's invitation and path agent, and what they tell each other.

mod inviting;
mod relay;
mod step;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(super) use relay::Relay;
pub(super) use step::Step;

use super::own::Told;
use super::tactics::Tactics;
use super::{RendezvousId, Unreachable};
use crate::candidate::{Candidate, CheckKey, IntroductionId, is_private};
use crate::hard_nat::Ration;
use crate::identity::PeerId;
use crate::invitation::Invitation;
use crate::path::{Agent, Config, Role};

/// Announcements of one contact that are followed at once, each with a round of checks, and how long it takes to earn
/// another: a contact restarts, or comes to the network, less often.
const NEIGHBOURS: (u32, Duration) = (8, Duration::from_secs(2));

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
    /// Whether it must not notice that we are here.
    pub(super) hidden: bool,
    /// Whether it is set here that the two meet through the relay alone.
    pub(super) relay_only: bool,
    /// Whether the other side was told otherwise, so that it is to be invited anew.
    renews: bool,
    /// What our invitations say of us, should it not know us.
    pub(super) greeting: Option<String>,
    /// Whether what our NAT does was kept from it.
    pub(super) untold: bool,
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
            hidden: false,
            relay_only: false,
            renews: false,
            greeting: None,
            untold: false,
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
        self.renews = false;
        self.unsettled = false;
        self.tactics.rest();
    }

    /// What the other side was told is not so any more. If it may hold that, it is invited anew.
    pub(super) fn retract(&mut self, now: Instant) {
        self.renews =
            self.linked || self.relay.is_some() || self.agent.path().is_some() || self.invitation.is_under_way();
        if self.renews {
            self.invitation.invite(now);
        }
    }

    /// Nothing of what was learnt of its addresses is used any more. Whether there was a path.
    pub(super) fn leave_path(&mut self) -> bool {
        self.tactics.rest();
        self.observed = None;
        self.untold = true;
        self.agent.leave()
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
        if self.hidden {
            return;
        }
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

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.invitation.poll_timeout(), self.agent.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.invitation.handle_timeout(now);
        self.agent.handle_timeout(now);
    }
}
