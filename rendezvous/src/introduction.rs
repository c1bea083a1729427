//! What one registered peer may ask of another: to be introduced.
//!
//! No introduction is remembered. Both sides need the same key for their checks, and each hears it in another message at
//! another time; so the key is computed, anew each time, from a secret of this run, the introduction's id and the two
//! peers. Nobody else can compute it, and another pair of peers gets another key for the same id.

use std::net::SocketAddr;
use std::time::Instant;

use aws_lc_rs::hmac;
use knothole_proto::candidate::{Candidate, CheckKey, IntroductionId, is_reachable};
use knothole_proto::control::{MAX_CANDIDATES, ToPeer, ToRendezvous};
use knothole_proto::identity::PeerId;

use crate::admission::{Bucket, microseconds};
use crate::outbox::Line;
use crate::server::Server;

/// What a registered peer has left of what it may ask of others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowance {
    invitations: Bucket,
    /// Acceptances and "opened".
    relays: Bucket,
}

/// The secret behind the keys of all introductions.
pub(crate) struct Introductions(hmac::Key);

impl Introductions {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The key of an introduction between two peers, the same whichever is named first.
    fn key(&self, introduction: IntroductionId, one: PeerId, other: PeerId) -> CheckKey {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&introduction.0);
        context.update(one.min(other).as_bytes());
        context.update(one.max(other).as_bytes());
        let tag = context.sign();
        let mut key = [0; 20];
        key.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        CheckKey(key)
    }
}

/// The candidates that are passed on: those where something could be. A loopback address means something only to a peer
/// on the same machine, as its owner then is too: the rendezvous sees it at a loopback address.
fn passed_on(candidates: &[Candidate], owner: SocketAddr) -> Vec<Candidate> {
    let reachable = |candidate: &&Candidate| is_reachable(candidate.address, owner.ip().is_loopback());
    candidates.iter().filter(reachable).take(MAX_CANDIDATES).copied().collect()
}

impl Server {
    /// Does what the peer in this slot asks for.
    pub(crate) fn handle_message(&mut self, now: Instant, slot: u32, message: ToRendezvous) {
        match message {
            ToRendezvous::Invite { introduction, to, candidates } => {
                self.invite(now, slot, introduction, to, &candidates);
            }
            ToRendezvous::Accept { introduction, to, candidates } => {
                self.relay(now, slot, to, |from, observed, key| ToPeer::Accepted {
                    introduction,
                    from,
                    observed,
                    key: key.key(introduction, from, to),
                    candidates: passed_on(&candidates, observed),
                });
            }
            ToRendezvous::Opened { introduction, to } => {
                self.relay(now, slot, to, |from, _, _| ToPeer::Opened { introduction, from });
            }
            ToRendezvous::Goodbye => self.goodbye(now, slot),
        }
    }

    fn invite(&mut self, now: Instant, slot: u32, introduction: IntroductionId, to: PeerId, candidates: &[Candidate]) {
        let now_us = microseconds(self.start, now);
        let Some(inviter) = self.registry.at(slot, now) else { return };
        let (from, observed) = (inviter.registration.peer(), inviter.registration.address());
        let refused = Some(ToPeer::Refused { introduction });
        let reply = if !inviter.allowance.invitations.take(self.policy.invitations, now_us) || self.closing.is_some() {
            refused
        } else if let Some(invitee) = self.registry.find(to, now).filter(|invitee| *invitee != slot) {
            let key = self.introductions.key(introduction, from, to);
            let candidates = passed_on(candidates, observed);
            let invited = self.say(now, invitee, ToPeer::Invited { introduction, from, observed, key, candidates });
            if invited { None } else { refused }
        } else {
            Some(ToPeer::Absent { introduction })
        };
        let counter = match &reply {
            None => &mut self.counters.invited,
            Some(ToPeer::Absent { .. }) => &mut self.counters.absent,
            Some(_) => &mut self.counters.refused,
        };
        *counter += 1;
        tracing::debug!(?from, ?to, ?introduction, ?reply, "invitation");
        if let Some(reply) = reply {
            // An inviter that does not keep up with our answers asks again by itself.
            self.say(now, slot, reply);
        }
    }

    fn relay(
        &mut self,
        now: Instant,
        slot: u32,
        to: PeerId,
        message: impl FnOnce(PeerId, SocketAddr, &Introductions) -> ToPeer,
    ) {
        let now_us = microseconds(self.start, now);
        let Some(sender) = self.registry.at(slot, now) else { return };
        let (from, observed) = (sender.registration.peer(), sender.registration.address());
        let admitted = sender.allowance.relays.take(self.policy.relays, now_us);
        let recipient = self.registry.find(to, now).filter(|recipient| admitted && *recipient != slot);
        let message = message(from, observed, &self.introductions);
        if recipient.is_some_and(|recipient| self.say(now, recipient, message)) {
            self.counters.relayed += 1;
        } else {
            self.counters.dropped_relay += 1;
        }
    }

    fn goodbye(&mut self, now: Instant, slot: u32) {
        let Some(mut entry) = self.registry.remove(slot) else { return };
        self.counters.goodbyes += 1;
        tracing::debug!(peer = ?entry.registration.peer(), slot, "goodbye");
        let (local, to) = (entry.local, entry.registration.address());
        // The acknowledgement goes out after the registration has ended.
        while let Some(payload) = entry.line.as_mut().and_then(|line| line.channel.poll_transmit(now)) {
            self.outbox.push(local, to, payload);
        }
        self.ended(slot, entry);
    }

    /// Says something to the peer in this slot; false if it is not there or does not keep up.
    pub(crate) fn say(&mut self, now: Instant, slot: u32, message: ToPeer) -> bool {
        let Some(entry) = self.registry.at(slot, now) else { return false };
        let line = entry.line.get_or_insert_with(|| Box::new(Line::new(&entry.secret, slot)));
        let said = line.channel.send(message, now).is_ok();
        self.outbox.wake(slot, line);
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use knothole_proto::candidate::CandidateKind;

    #[test]
    fn both_sides_get_the_same_key_and_any_other_pair_or_id_another() {
        let introductions = Introductions::new(&[1; 32]);
        let [a, b, c] = [1, 2, 3].map(|n| PeerId::new([n; 32]));
        let id = IntroductionId([7; 12]);
        assert_eq!(introductions.key(id, a, b), introductions.key(id, b, a));
        let others = [
            introductions.key(id, a, c),
            introductions.key(IntroductionId([8; 12]), a, b),
            Introductions::new(&[2; 32]).key(id, a, b),
        ];
        assert!(others.iter().all(|other| *other != introductions.key(id, a, b)));
    }

    #[test]
    fn candidates_are_bounded_and_lead_nowhere_odd() {
        let candidate = |text: &str| Candidate { address: text.parse().unwrap(), kind: CandidateKind::Host };
        let good = candidate("192.168.1.7:4000");
        let mut candidates = vec![good; MAX_CANDIDATES + 5];
        let remote = "203.0.113.7:9".parse().unwrap();
        assert_eq!(passed_on(&candidates, remote), vec![good; MAX_CANDIDATES]);
        candidates = ["255.255.255.255:9", "224.0.0.1:9", "192.168.1.7:0", "127.0.0.1:9"].map(candidate).to_vec();
        assert_eq!(passed_on(&candidates, remote), []);
        let same_machine = "127.0.0.1:9".parse().unwrap();
        assert_eq!(passed_on(&candidates, same_machine), [candidate("127.0.0.1:9")]);
    }
}
