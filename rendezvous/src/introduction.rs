//! What one registered peer may ask of another: to be introduced.
//!
//! No introduction is remembered, but that it was asked for: an acceptance of what nobody asked for opens no relay
//! channel. Both sides need the same key for their checks, and each hears it in another message at
//! another time; so the key is computed, anew each time, from a secret of this run, the introduction's id and the two
//! peers. Nobody else can compute it, and another pair of peers gets another key for the same id.

use std::net::SocketAddr;
use std::time::Instant;

use aws_lc_rs::hmac;
use knothole_proto::candidate::{Candidate, CheckKey, IntroductionId, is_reachable};
use knothole_proto::control::{MAX_CANDIDATES, MAX_GREETING, ToPeer, ToRendezvous};
use knothole_proto::identity::PeerId;
use knothole_proto::seal::TagKey;
use knothole_proto::tunnel::{NO_ADDRESS, told};

use crate::admission::{Bucket, microseconds};
use crate::letters::Post;
use crate::outbox::Line;
use crate::server::Server;

/// What a registered peer has left of what it may ask of others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowance {
    invitations: Bucket,
    /// Acceptances and "opened".
    relays: Bucket,
    /// Bytes of relay frames.
    pub(crate) relay_bytes: Bucket,
}

impl Allowance {
    /// Whether nothing of it is used up.
    pub(crate) fn is_full(&self, now_us: u64) -> bool {
        [&self.invitations, &self.relays, &self.relay_bytes].into_iter().all(|bucket| bucket.is_full(now_us))
    }
}

/// Invitations that are remembered; 8 bytes each, 2 MiB, and only what is touched costs memory. They are accepted within a
/// round trip: with a thousand invitations a second, one in 2,600 is lost to a newer one in its place within 0.1 s.
const INVITATIONS: usize = 1 << 18;

/// Which introductions were asked for: a mark for each, in a place that it shares with others, so that nobody can make it
/// grow. A newer one takes an older one's place.
struct Invitations {
    key: TagKey,
    marks: Vec<u64>,
}

impl Invitations {
    /// The mark of an invitation, and its place.
    fn mark(&mut self, introduction: IntroductionId, inviter: PeerId, invitee: PeerId) -> (u64, Option<&mut u64>) {
        let mut bytes = [0; 76];
        bytes[..12].copy_from_slice(&introduction.0);
        bytes[12..44].copy_from_slice(inviter.as_bytes());
        bytes[44..].copy_from_slice(invitee.as_bytes());
        let tag = u128::from_be_bytes(self.key.tag(&bytes));
        // Both are cut from the tag on purpose. No mark is 0, which stands for none.
        (tag as u64 | 1, self.marks.get_mut((tag >> 64) as usize % INVITATIONS))
    }

    fn remember(&mut self, introduction: IntroductionId, inviter: PeerId, invitee: PeerId) {
        if let (mark, Some(place)) = self.mark(introduction, inviter, invitee) {
            *place = mark;
        }
    }

    /// Whether this was asked for and not taken up before.
    fn take(&mut self, introduction: IntroductionId, inviter: PeerId, invitee: PeerId) -> bool {
        let (mark, place) = self.mark(introduction, inviter, invitee);
        place.filter(|place| **place == mark).is_some_and(|place| std::mem::take(place) == mark)
    }
}

/// The secret behind the keys of all introductions, and which were asked for.
pub(crate) struct Introductions {
    secret: hmac::Key,
    invitations: Invitations,
}

impl Introductions {
    pub(crate) fn new(secret: &[u8; 32], seed: [u8; 16]) -> Self {
        let invitations = Invitations { key: TagKey::from_bytes(seed), marks: vec![0; INVITATIONS] };
        Self { secret: hmac::Key::new(hmac::HMAC_SHA256, secret), invitations }
    }

    /// The key of an introduction between two peers, the same whichever is named first.
    fn key(&self, introduction: IntroductionId, one: PeerId, other: PeerId) -> CheckKey {
        let mut context = hmac::Context::with_key(&self.secret);
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

/// What one side of an introduction lets the other know of where it is.
struct Shown {
    candidates: Vec<Candidate>,
    /// Nothing at all.
    relay_only: bool,
}

impl Shown {
    /// What is told of one who is seen at this address.
    fn to_the_other(&self, observed: SocketAddr) -> (SocketAddr, Vec<Candidate>) {
        if self.relay_only { (NO_ADDRESS, Vec::new()) } else { (observed, passed_on(&self.candidates, observed)) }
    }
}

impl Server {
    /// Does what the peer in this slot asks for.
    pub(crate) fn handle_message(&mut self, now: Instant, slot: u32, message: ToRendezvous) {
        match message {
            ToRendezvous::Invite { introduction, to, candidates, relay_only, greeting } => {
                let shown = Shown { candidates, relay_only };
                self.invite(now, slot, introduction, to, &shown, greeting);
            }
            ToRendezvous::Accept { introduction, to, candidates, relay_only } => {
                let shown = Shown { candidates, relay_only };
                let relayed = self.relay(now, slot, to, |from, observed, key| {
                    let (observed, candidates) = shown.to_the_other(observed);
                    ToPeer::Accepted { introduction, from, observed, key: key.key(introduction, from, to), candidates }
                });
                // Whom nobody invited could otherwise push frames through anybody's NAT.
                if let Some((inviter, from)) = relayed
                    && self.introductions.invitations.take(introduction, to, from)
                {
                    self.open_relay(now, introduction, [inviter, slot]);
                }
            }
            ToRendezvous::Opened { introduction, to } => {
                self.relay(now, slot, to, |from, _, _| ToPeer::Opened { introduction, from });
            }
            ToRendezvous::Goodbye => self.goodbye(now, slot),
            ToRendezvous::Refuse { channel } => self.refuse_relay(now, slot, channel),
            ToRendezvous::Watch { unseen, peers } => self.watch(now, slot, unseen, &peers),
            ToRendezvous::Unwatch { peers } => self.unwatch(now, slot, &peers),
            ToRendezvous::Post { to, letter, envelope, keep } => {
                self.post(now, slot, Post { to, letter, envelope, keep })
            }
            ToRendezvous::Mailbox { open, fresh, senders } => self.change_mailbox(now, slot, open, fresh, &senders),
            ToRendezvous::Collected { letters } => self.collect(now, slot, letters),
            ToRendezvous::OpenCode => self.open_code(now, slot),
            ToRendezvous::Code { number, message } => self.pass_on_code(now, slot, number, message),
            ToRendezvous::CloseCode { number } => self.close_code(now, slot, number),
        }
    }

    fn invite(
        &mut self,
        now: Instant,
        slot: u32,
        introduction: IntroductionId,
        to: PeerId,
        shown: &Shown,
        greeting: Option<String>,
    ) {
        let now_us = microseconds(self.start, now);
        let Some(inviter) = self.registry.at(slot, now) else { return };
        let (from, observed) = (inviter.registration.peer(), told(inviter.registration.address()));
        let refused = Some(ToPeer::Refused { introduction });
        let greeting = greeting.filter(|greeting| greeting.len() <= MAX_GREETING);
        let mut asks_unseen = None;
        let reply = if !inviter.allowance.invitations.take(self.policy.invitations, now_us) || self.closing.is_some() {
            refused
        } else if let Some(invitee) = self.present(now, to, from).filter(|invitee| *invitee != slot) {
            let key = self.introductions.key(introduction, from, to);
            let (observed, candidates) = shown.to_the_other(observed);
            let had = self.relay.between([slot, invitee]);
            let channel = self.offer_relay(now, introduction, [slot, invitee]);
            let greeting = greeting.clone();
            let invited = ToPeer::Invited { introduction, from, observed, key, candidates, channel, greeting };
            if self.say(now, invitee, invited) {
                self.introductions.invitations.remember(introduction, from, to);
                // The inviter's first flight is close behind, and must not overtake it.
                self.flush(now, invitee);
                channel.map(|channel| ToPeer::Relay { introduction, with: to, channel })
            } else {
                // A channel that neither has been told of is no use to them.
                if let (Some(channel), None) = (channel, had) {
                    self.relay.close(channel);
                }
                refused
            }
        } else {
            asks_unseen =
                self.registry.find(to, now).filter(|unseen| *unseen != slot && !self.knows(now, *unseen, from));
            Some(ToPeer::Absent { introduction })
        };
        let counter = match &reply {
            None | Some(ToPeer::Relay { .. }) => &mut self.counters.invited,
            Some(ToPeer::Absent { .. }) => &mut self.counters.absent,
            Some(_) => &mut self.counters.refused,
        };
        *counter += 1;
        tracing::debug!(?from, ?to, ?introduction, ?reply, "invitation");
        if let Some(reply) = reply {
            // An inviter that does not keep up with our answers asks again by itself.
            self.say(now, slot, reply);
        }
        // After the answer, which neither says nor shows by its moment that there is anybody.
        if let Some(unseen) = asks_unseen {
            let key = self.introductions.key(introduction, from, to);
            let (observed, candidates) = shown.to_the_other(observed);
            let invited = ToPeer::Invited { introduction, from, observed, key, candidates, channel: None, greeting };
            if self.say(now, unseen, invited) {
                self.introductions.invitations.remember(introduction, from, to);
            }
        }
    }

    /// Passes a message on to another peer; returns that peer's slot, and who has sent it.
    fn relay(
        &mut self,
        now: Instant,
        slot: u32,
        to: PeerId,
        message: impl FnOnce(PeerId, SocketAddr, &Introductions) -> ToPeer,
    ) -> Option<(u32, PeerId)> {
        let now_us = microseconds(self.start, now);
        let sender = self.registry.at(slot, now)?;
        let (from, observed) = (sender.registration.peer(), told(sender.registration.address()));
        let admitted = sender.allowance.relays.take(self.policy.relays, now_us);
        let recipient = self.present(now, to, from).filter(|recipient| admitted && *recipient != slot);
        let said = recipient.filter(|recipient| {
            let message = message(from, observed, &self.introductions);
            self.say(now, *recipient, message)
        });
        let counter = if said.is_some() { &mut self.counters.relayed } else { &mut self.counters.dropped_relay };
        *counter += 1;
        said.map(|recipient| (recipient, from))
    }

    /// The slot of a peer that is here and does not hide from that one.
    fn present(&mut self, now: Instant, peer: PeerId, from: PeerId) -> Option<u32> {
        self.registry.find(peer, now).filter(|slot| !self.hides(now, *slot, from))
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
        self.ended(now, slot, entry);
    }

    /// Has what is to be said to the peer in this slot go out before anything else.
    pub(crate) fn flush(&mut self, now: Instant, slot: u32) {
        let Some(entry) = self.registry.at(slot, now) else { return };
        let (local, to) = (entry.local, entry.registration.address());
        while let Some(payload) = entry.line.as_mut().and_then(|line| line.channel.poll_transmit(now)) {
            self.outbox.push(local, to, payload);
        }
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
        let introductions = Introductions::new(&[1; 32], [1; 16]);
        let [a, b, c] = [1, 2, 3].map(|n| PeerId::new([n; 32]));
        let id = IntroductionId([7; 12]);
        assert_eq!(introductions.key(id, a, b), introductions.key(id, b, a));
        let others = [
            introductions.key(id, a, c),
            introductions.key(IntroductionId([8; 12]), a, b),
            Introductions::new(&[2; 32], [1; 16]).key(id, a, b),
        ];
        assert!(others.iter().all(|other| *other != introductions.key(id, a, b)));
    }

    #[test]
    fn an_invitation_is_taken_up_once_by_whom_it_was_for() {
        let mut invitations = Introductions::new(&[1; 32], [1; 16]).invitations;
        let [a, b, c] = [1, 2, 3].map(|n| PeerId::new([n; 32]));
        let id = IntroductionId([7; 12]);
        assert!(!invitations.take(id, a, b));
        invitations.remember(id, a, b);
        for (id, inviter, invitee) in [(id, b, a), (id, a, c), (IntroductionId([8; 12]), a, b)] {
            assert!(!invitations.take(id, inviter, invitee));
        }
        assert!(invitations.take(id, a, b));
        assert!(!invitations.take(id, a, b), "once");
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
