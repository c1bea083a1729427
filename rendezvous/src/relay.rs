//! The relay: two peers that were introduced talk through the rendezvous until they have a direct path, or for good if
//! there is none. What it passes on is QUIC between them, which it cannot read.
//!
//! ```text
//! peer ── channel ‖ QUIC ──► from one of the channel's two? ──► the same bytes ──► the other's proven address
//! ```
//! A frame is believed for its source address alone, so that passing it on costs no cryptography. Whoever forges one must
//! know a channel's number and the address of one of its two peers; then it is passed on, to the other, and to nobody
//! else. No frame is answered, and none is passed on to more than one address: never more bytes go out than came in.
//!
//! A channel names registrations, not addresses: a registration that moves takes its channels along.
//!
//! It is there from the invitation on, so that the inviter's first datagrams can follow close behind. Until the invitee
//! accepts, by saying so under its registration's key, it is only *offered*: a few datagrams go through each way, to a
//! peer that keeps alive here and that may ignore them, and no more, however often the inviter invites and whatever
//! addresses it forges.

mod channels;

use std::net::SocketAddr;
use std::time::Instant;

use knothole_proto::candidate::IntroductionId;
use knothole_proto::control::ToPeer;
use knothole_proto::datagram::{HEADER, RELAY_HEADER, flight_name, parse_flight, parse_relay, relay_header};

use crate::admission::microseconds;
use crate::counters::Counters;
use crate::server::Server;
pub(crate) use channels::Relay;

/// The longest frame: what a link of the Internet carries at most, in one datagram. QUIC tries no longer ones.
const MAX_FRAME: usize = 1500;

/// What a frame is charged besides its bytes: its IPv6 and UDP headers, so that many small frames are not cheap.
const OVERHEAD: u32 = 48;

/// The counter of the reason for which a frame is dropped.
type Reason = fn(&mut Counters) -> &mut u64;

impl Server {
    /// Takes a relay frame of any content.
    pub(crate) fn handle_relay(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let sound = parse_relay(datagram).filter(|_| datagram.len() <= MAX_FRAME);
        let sound = sound.ok_or::<Reason>(|counters| &mut counters.dropped_malformed);
        if let Err(reason) = sound.and_then(|(number, _)| self.forward(now, from, number, datagram)) {
            *reason(&mut self.counters) += 1;
        }
    }

    /// Takes a flight datagram of any content: to the invitee it is a frame like any other.
    pub(crate) fn handle_flight(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let sound = parse_flight(datagram).filter(|_| datagram.len() <= MAX_FRAME - RELAY_HEADER + HEADER);
        let sound = sound.ok_or::<Reason>(|counters| &mut counters.dropped_malformed);
        let known = sound.and_then(|(header, inner)| {
            let number = self.relay.of_flight(header.slot, header.number);
            let here = self.registry.at(header.slot, now).is_some_and(|entry| entry.registration.address() == from);
            let number = number.filter(|_| here).ok_or::<Reason>(|counters| &mut counters.dropped_foreign)?;
            self.forward(now, from, number, &[&relay_header(number)[..], inner].concat())
        });
        if let Err(reason) = known {
            *reason(&mut self.counters) += 1;
        }
    }

    fn forward(&mut self, now: Instant, from: SocketAddr, number: u32, frame: &[u8]) -> Result<(), Reason> {
        let foreign: Reason = |counters| &mut counters.dropped_foreign;
        let channel = self.relay.find_mut(number).ok_or(foreign)?;
        let mut place =
            |slot: u32| self.registry.at(slot, now).map(|entry| (entry.registration.address(), entry.local));
        let [one, other] = channel.ends;
        let (Some(at_one), Some(at_other)) = (place(one), place(other)) else { return Err(foreign) };
        let (sender, (to, local)) = match from {
            from if from == at_one.0 => (one, at_other),
            from if from == at_other.0 => (other, at_one),
            _ => return Err(foreign),
        };
        let now_us = microseconds(self.start, now);
        // No frame is longer than MAX_FRAME.
        let charge = frame.len() as u32 + OVERHEAD;
        let entry = self.registry.at(sender, now).ok_or(foreign)?;
        if !entry.allowance.relay_bytes.take_many(self.policy.relay_bytes, charge, now_us) {
            return Err(|counters| &mut counters.dropped_quota);
        }
        if !channel.pass(sender, frame.len(), seconds(self.start, now)) {
            return Err(|counters| &mut counters.dropped_offered);
        }
        self.counters.forwarded += 1;
        self.counters.forwarded_bytes += frame.len() as u64;
        self.outbox.push(local, to, frame.to_vec());
        Ok(())
    }

    /// The channel of an inviter and its invitee, for the first flight of this introduction; if they have none, one is
    /// offered. The invitee is told with the invitation.
    pub(crate) fn offer_relay(&mut self, now: Instant, introduction: IntroductionId, ends: [u32; 2]) -> Option<u32> {
        let (name, now_s, [inviter, invitee]) = (flight_name(introduction), seconds(self.start, now), ends);
        if let Some(channel) = self.relay.between(ends) {
            if self.relay.invite_again(channel, inviter, name, now_s) {
                self.accept_relay(now, inviter, channel);
            }
            return Some(channel);
        }
        let may = self.relay.may_offer(invitee, microseconds(self.start, now));
        let room = may && self.make_room(now, &[inviter], true);
        let offered = room.then(|| self.relay.offer(ends, name, now_s)).flatten();
        let Some(channel) = offered else {
            self.counters.channels_refused += 1;
            return None;
        };
        self.counters.channels_offered += 1;
        self.make_way(now, inviter, channel);
        Some(channel)
    }

    /// The peer in this slot takes up what it was offered.
    fn accept_relay(&mut self, now: Instant, slot: u32, channel: u32) {
        self.relay.accept(channel, seconds(self.start, now));
        self.counters.channels_opened += 1;
        self.make_way(now, slot, channel);
    }

    /// The peer in this slot has a channel more: if that is one too many, the one that was idle longest ends.
    fn make_way(&mut self, now: Instant, slot: u32, channel: u32) {
        let each = self.policy.relay_channels_each as usize;
        self.replace(now, self.relay.superfluous(slot, each, Some(channel)));
    }

    /// Sees that there is room in the table for a channel of these slots' making. Who has as many as one may have makes
    /// the room himself; else it is who was idle longest, so that many idle channels keep nobody else from talking.
    fn make_room(&mut self, now: Instant, slots: &[u32], offering: bool) -> bool {
        if !self.relay.is_full(offering) {
            return true;
        }
        let others = (self.policy.relay_channels_each as usize).saturating_sub(1);
        let own = slots.iter().find_map(|slot| self.relay.superfluous(*slot, others, None));
        let gone = own.or_else(|| self.relay.idlest(offering, seconds(self.start, now)));
        self.replace(now, gone);
        gone.is_some()
    }

    fn replace(&mut self, now: Instant, channel: Option<u32>) {
        if let Some(channel) = channel {
            self.counters.channels_replaced += 1;
            self.close_relay(now, channel);
        }
    }

    /// Lets the two peers of an introduction send each other frames. If they may already, they go on with the channel
    /// that they have, and know of: what is on its way through it arrives.
    pub(crate) fn open_relay(&mut self, now: Instant, introduction: IntroductionId, ends: [u32; 2]) {
        let [_, invitee] = ends;
        let now_s = seconds(self.start, now);
        if let Some(channel) = self.relay.between(ends) {
            match self.relay.is_offered(channel) {
                true => self.accept_relay(now, invitee, channel),
                false => self.relay.accept(channel, now_s),
            }
            return;
        }
        let [Some(one), Some(other)] = ends.map(|slot| self.registry.at(slot, now).map(|e| e.registration.peer()))
        else {
            return;
        };
        let room = self.closing.is_none() && self.make_room(now, &ends, false);
        let opened = room.then(|| self.relay.open(ends, now_s)).flatten();
        let Some(channel) = opened else {
            self.counters.channels_refused += 1;
            return;
        };
        self.counters.channels_opened += 1;
        tracing::debug!(?one, ?other, ?introduction, channel, "relay channel");
        // Whoever does not keep up misses it, and the channel ends idle.
        self.say(now, ends[0], ToPeer::Relay { introduction, with: other, channel });
        self.say(now, ends[1], ToPeer::Relay { introduction, with: one, channel });
        ends.into_iter().for_each(|slot| self.make_way(now, slot, channel));
    }

    /// One of the two wants no more frames.
    pub(crate) fn refuse_relay(&mut self, now: Instant, slot: u32, channel: u32) {
        if self.relay.ends(channel).is_some_and(|ends| ends.contains(&slot)) {
            self.counters.channels_declined += 1;
            self.close_relay(now, channel);
        }
    }

    fn close_relay(&mut self, now: Instant, channel: u32) {
        for slot in self.relay.close(channel).into_iter().flatten() {
            self.say(now, slot, ToPeer::RelayClosed { channel });
        }
    }

    /// Closes the channel that these two have.
    pub(crate) fn part(&mut self, now: Instant, one: u32, other: u32) {
        if let Some(channel) = self.relay.between([one, other]) {
            self.counters.channels_declined += 1;
            self.close_relay(now, channel);
        }
    }

    /// Closes the channels of a registration that has ended, and tells the others.
    pub(crate) fn close_relays(&mut self, now: Instant, slot: u32) {
        let first = |relay: &Relay| relay.of(slot).next();
        while let Some((other, channel)) = first(&self.relay) {
            let told = self.relay.close(channel).is_some_and(|ends| ends.contains(&other));
            // Whoever has been told that the rendezvous closes knows, and is not to be waited for once more.
            if told && self.closing.is_none() {
                self.say(now, other, ToPeer::RelayClosed { channel });
            }
        }
    }

    /// Closes the channels that carried nothing for long, and tells both sides; and those that were offered in vain, and
    /// tells the inviter.
    pub(crate) fn close_idle_relays(&mut self, now: Instant) {
        let now_s = seconds(self.start, now);
        while let Some((channel, offered)) = self.relay.idle(now_s) {
            let counter = if offered { &mut self.counters.channels_declined } else { &mut self.counters.channels_idle };
            *counter += 1;
            self.close_relay(now, channel);
        }
    }
}

/// Whole seconds from `start` to `now`; 136 years fit, and half of them are left for adding.
fn seconds(start: Instant, now: Instant) -> u32 {
    u32::try_from(now.saturating_duration_since(start).as_secs()).unwrap_or(u32::MAX / 2)
}
