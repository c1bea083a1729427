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

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use hashbrown::HashTable;
use knothole_proto::candidate::IntroductionId;
use knothole_proto::control::ToPeer;
use knothole_proto::datagram::parse_relay;
use knothole_proto::seal::TagKey;

use crate::admission::microseconds;
use crate::counters::Counters;
use crate::server::Server;

/// The longest frame: what a link of the Internet carries at most, in one datagram. QUIC tries no longer ones.
const MAX_FRAME: usize = 1500;

/// What a frame is charged besides its bytes: its IPv6 and UDP headers, so that many small frames are not cheap.
const OVERHEAD: u32 = 48;

/// A channel that carried nothing for so long ends. A direct path that is younger than this may still fail and fall back
/// on the channel without a new introduction; an older one is proven, and its failure brings an introduction anyway.
const IDLE_S: u32 = 120;

/// Two registrations whose frames are passed on to each other.
#[derive(Debug)]
struct RelayChannel {
    number: u32,
    /// The slots of the two. Who leaves a slot closes its channels: the next owner has none of them.
    ends: [u32; 2],
    /// When a frame was passed on last, in whole seconds since the start.
    heard_s: u32,
    /// When to look whether it is idle: where it stands in `due`.
    due_s: u32,
}

/// The table of relay channels.
pub(crate) struct Relay {
    limit: usize,
    /// Draws the numbers of channels.
    chance: TagKey,
    drawn: u64,
    channels: HashTable<RelayChannel>,
    /// The channel of each pair of slots, under either order: the channels of a slot stand next to each other.
    pairs: BTreeMap<(u32, u32), u32>,
    /// When to look at each channel, in seconds since the start. Frames do not touch it: a channel in use is looked at
    /// once in [`IDLE_S`].
    due: BTreeSet<(u32, u32)>,
}

impl Relay {
    pub(crate) fn new(limit: u32, seed: [u8; 16]) -> Self {
        let limit = limit as usize;
        Self {
            limit,
            chance: TagKey::from_bytes(seed),
            drawn: 0,
            // All at once: a table that grows moves every channel at once. Untouched memory costs nothing.
            channels: HashTable::with_capacity(limit),
            pairs: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// The ends of a channel. Read ahead of handling a frame, it brings the channel nearer to the processor too.
    pub(crate) fn ends(&self, number: u32) -> Option<[u32; 2]> {
        self.channels.find(hashed(number), |channel| channel.number == number).map(|channel| channel.ends)
    }

    /// The channel of a pair, which is as good as new from now on.
    fn renewed(&mut self, [one, other]: [u32; 2], now_s: u32) -> Option<u32> {
        let number = *self.pairs.get(&(one, other))?;
        let channel = self.channels.find_mut(hashed(number), |channel| channel.number == number)?;
        channel.heard_s = now_s;
        Some(number)
    }

    /// The channels of a slot, each with the slot at its other end.
    fn of(&self, slot: u32) -> impl Iterator<Item = (u32, u32)> {
        self.pairs.range((slot, 0)..=(slot, u32::MAX)).map(|((_, other), number)| (*other, *number))
    }

    /// Opens a channel, unless there are as many as there may be: in all, or `each` of one of the two.
    fn open(&mut self, ends: [u32; 2], each: usize, now_s: u32) -> Option<u32> {
        let [one, other] = ends;
        if self.channels.len() >= self.limit || ends.iter().any(|slot| self.of(*slot).take(each).count() == each) {
            return None;
        }
        let number = self.unused();
        let due_s = now_s + IDLE_S + 1;
        let channel = RelayChannel { number, ends, heard_s: now_s, due_s };
        self.channels.insert_unique(hashed(number), channel, |channel| hashed(channel.number));
        self.pairs.extend([((one, other), number), ((other, one), number)]);
        self.due.insert((due_s, number));
        Some(number)
    }

    /// A number that names no channel. A quarter of a million channels leave 16,000 numbers for each, so that the first
    /// one drawn is nearly always free, and a stranger who guesses nearly never finds one.
    fn unused(&mut self) -> u32 {
        loop {
            self.drawn += 1;
            let [a, b, c, d, ..] = self.chance.tag(&self.drawn.to_be_bytes());
            let number = u32::from_be_bytes([a, b, c, d]);
            if self.ends(number).is_none() {
                return number;
            }
        }
    }

    fn close(&mut self, number: u32) -> Option<[u32; 2]> {
        let found = self.channels.find_entry(hashed(number), |channel| channel.number == number).ok()?;
        let (RelayChannel { ends, due_s, .. }, _) = found.remove();
        let [one, other] = ends;
        self.pairs.remove(&(one, other));
        self.pairs.remove(&(other, one));
        self.due.remove(&(due_s, number));
        Some(ends)
    }

    /// The next channel that has been idle for long.
    fn idle(&mut self, now_s: u32) -> Option<u32> {
        while let Some((_, number)) = self.due.first().copied().filter(|(due_s, _)| *due_s <= now_s) {
            self.due.pop_first();
            let Some(channel) = self.channels.find_mut(hashed(number), |channel| channel.number == number) else {
                continue;
            };
            // What is heard late in a second counts from its beginning: one second more, and none ends too early.
            channel.due_s = channel.heard_s + IDLE_S + 1;
            if channel.due_s <= now_s {
                return Some(number);
            }
            self.due.insert((channel.due_s, number));
        }
        None
    }

    /// When to look for idle channels, in seconds since the start.
    pub(crate) fn poll_timeout_s(&self) -> Option<u32> {
        self.due.first().map(|(due_s, _)| *due_s)
    }
}

/// Numbers are drawn at random, so each is its own hash; the table uses the bits at both ends.
fn hashed(number: u32) -> u64 {
    u64::from(number) << 32 | u64::from(number)
}

/// The counter of the reason for which a frame is dropped.
type Reason = fn(&mut Counters) -> &mut u64;

impl Server {
    /// Takes a relay frame of any content.
    pub(crate) fn handle_relay(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if let Err(reason) = self.forward(now, from, datagram) {
            *reason(&mut self.counters) += 1;
        }
    }

    fn forward(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), Reason> {
        let foreign: Reason = |counters| &mut counters.dropped_foreign;
        let sound = parse_relay(datagram).filter(|_| datagram.len() <= MAX_FRAME);
        let (number, _) = sound.ok_or::<Reason>(|counters| &mut counters.dropped_malformed)?;
        let channel = self.relay.channels.find_mut(hashed(number), |channel| channel.number == number);
        let channel = channel.ok_or(foreign)?;
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
        let charge = datagram.len() as u32 + OVERHEAD;
        let entry = self.registry.at(sender, now).ok_or(foreign)?;
        if !entry.allowance.relay_bytes.take_many(self.policy.relay_bytes, charge, now_us) {
            return Err(|counters| &mut counters.dropped_quota);
        }
        channel.heard_s = seconds(self.start, now);
        self.counters.forwarded += 1;
        self.counters.forwarded_bytes += datagram.len() as u64;
        self.outbox.push(local, to, datagram.to_vec());
        Ok(())
    }

    /// Lets the two peers of an introduction send each other frames, and tells them. If they may already, they go on
    /// with the channel that they have: what is on its way through it arrives.
    pub(crate) fn open_relay(&mut self, now: Instant, introduction: IntroductionId, ends: [u32; 2]) {
        let [Some(one), Some(other)] = ends.map(|slot| self.registry.at(slot, now).map(|e| e.registration.peer()))
        else {
            return;
        };
        let now_s = seconds(self.start, now);
        let known = self.relay.renewed(ends, now_s);
        let each = self.policy.relay_channels_each as usize;
        let opened = if self.closing.is_some() { None } else { known.or_else(|| self.relay.open(ends, each, now_s)) };
        let Some(channel) = opened else {
            self.counters.channels_refused += 1;
            return;
        };
        self.counters.channels_opened += u64::from(known.is_none());
        tracing::debug!(?one, ?other, ?introduction, channel, again = known.is_some(), "relay channel");
        // Whoever does not keep up misses it, and the channel ends idle.
        self.say(now, ends[0], ToPeer::Relay { introduction, with: other, channel });
        self.say(now, ends[1], ToPeer::Relay { introduction, with: one, channel });
    }

    /// Closes the channels of a registration that has ended, and tells the others.
    pub(crate) fn close_relays(&mut self, now: Instant, slot: u32) {
        let first = |relay: &Relay| relay.of(slot).next();
        while let Some((other, channel)) = first(&self.relay) {
            self.relay.close(channel);
            // Whoever has been told that the rendezvous closes knows, and is not to be waited for once more.
            if self.closing.is_none() {
                self.say(now, other, ToPeer::RelayClosed { channel });
            }
        }
    }

    /// Closes the channels that carried nothing for long, and tells both sides.
    pub(crate) fn close_idle_relays(&mut self, now: Instant) {
        let now_s = seconds(self.start, now);
        while let Some(channel) = self.relay.idle(now_s) {
            self.counters.channels_idle += 1;
            for slot in self.relay.close(channel).into_iter().flatten() {
                self.say(now, slot, ToPeer::RelayClosed { channel });
            }
        }
    }
}

/// Whole seconds from `start` to `now`; 136 years fit, and half of them are left for adding.
fn seconds(start: Instant, now: Instant) -> u32 {
    u32::try_from(now.saturating_duration_since(start).as_secs()).unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(limit: u32) -> Relay {
        Relay::new(limit, [1; 16])
    }

    #[test]
    fn numbers_are_never_given_twice_at_a_time_and_look_random() {
        let mut relay = relay(10_000);
        let numbers: BTreeSet<_> = (0..10_000).filter_map(|n| relay.open([n, n + 20_000], 64, 0)).collect();
        assert_eq!(numbers.len(), 10_000);
        let high = numbers.iter().filter(|number| **number > u32::MAX / 2).count();
        assert!((4_500..5_500).contains(&high), "{high}");
        assert_eq!(relay.open([1, 2], 64, 0), None, "full");
    }

    #[test]
    fn what_is_closed_leaves_nothing_behind() {
        let mut relay = relay(10);
        for _ in 0..100 {
            let channels = [[1, 2], [1, 3], [2, 3]].map(|ends| relay.open(ends, 2, 7).unwrap());
            assert_eq!(relay.open([3, 4], 2, 7), None, "3 has two");
            assert_eq!(relay.of(1).collect::<Vec<_>>(), [(2, channels[0]), (3, channels[1])]);
            assert_eq!(relay.renewed([3, 2], 7), Some(channels[2]));
            for channel in channels {
                assert!(relay.close(channel).is_some());
                assert!(relay.close(channel).is_none());
            }
            assert!(relay.channels.is_empty() && relay.pairs.is_empty() && relay.due.is_empty());
        }
    }

    #[test]
    fn a_channel_is_idle_after_its_time_and_never_before() {
        let mut relay = relay(10);
        let channel = relay.open([1, 2], 64, 10).unwrap();
        assert_eq!((relay.poll_timeout_s(), relay.idle(130)), (Some(131), None));
        relay.channels.iter_mut().for_each(|channel| channel.heard_s = 100);
        assert_eq!((relay.idle(131), relay.poll_timeout_s()), (None, Some(221)));
        assert_eq!((relay.idle(220), relay.idle(221)), (None, Some(channel)));
    }
}
