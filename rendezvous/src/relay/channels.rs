//! The table of relay channels: which there are, whose, and which of them are only offered.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashTable;
use knothole_proto::seal::TagKey;

use crate::admission::{Bucket, Rate};

/// A channel that carried nothing for so long ends. A direct path that is younger than this may still fail and fall back
/// on the channel without a new introduction; an older one is proven, and its failure brings an introduction anyway.
const IDLE_S: u32 = 120;

/// A channel that was offered with an invitation and not accepted ends after this: before the inviter gives the
/// invitation up (11 s), so that its next invitation finds the first flight of a new offer.
const OFFER_S: u32 = 10;

/// A channel that was in use less than this ago makes way for no offer: QUIC between the two keeps it in use every ten
/// seconds, and has given up after thirty.
const QUIET_S: u32 = 30;

/// Channels looked at for the idlest one. Those that were in use since they were looked at last are not looked at again
/// before the others, so that mostly it is one or two; 64 take some microseconds.
const LOOKED_AT: usize = 64;

/// What may ride behind an invitation, before it is accepted: the two datagrams of a hybrid ClientHello with a few of
/// early data, or with one repetition. Of a stranger's, so much comes through the invitee's NAT in ten seconds …
const FLIGHT: Left = Left { datagrams: 6, bytes: 7_500 };

/// What the invitee may send back before its acceptance is here: a server's first flight, which is at most three times as
/// long as the client's, and its repetition. It does not accept, as whoever invites may forge the address that is
/// all it is believed for.
const ANSWER: Left = Left { datagrams: 12, bytes: 16_000 };

/// … and of all strangers' together at a time so many times as much. Invitations beyond that come without a channel, which is
/// opened when they are accepted.
const OFFERS_TO_ONE: usize = 16;

/// How fast one peer may be offered what it does not accept. An inviter may end an offer as soon as its flight has landed, so
/// it is not enough to count how many there are.
const OFFERS: Rate = Rate { burst: OFFERS_TO_ONE as u32, per_second: 1 };
/// Buckets for that, 6 bytes each, 384 KiB: peers whose slots have the same remainder share one, and at most go without a channel
/// until they accept.
const OFFER_BUCKETS: usize = 1 << 16;

/// Two registrations whose frames are passed on to each other.
#[derive(Debug)]
pub(super) struct RelayChannel {
    number: u32,
    /// The slots of the two. Who leaves a slot closes its channels: the next owner has none of them.
    pub(super) ends: [u32; 2],
    /// When a frame was passed on last, or the channel offered, in whole seconds since the start.
    heard_s: u32,
    /// When to look whether it is idle: where it stands in `due` or `offered`.
    due_s: u32,
    /// By what the flight datagrams of each end's latest invitation name it, beside the slot.
    names: [Option<u64>; 2],
    /// Until the invitee accepts.
    offer: Option<Offer>,
}

#[derive(Debug, Clone, Copy)]
struct Offer {
    inviter: u32,
    /// What the inviter still may send, …
    left: Left,
    /// … and the invitee.
    answer: Left,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    datagrams: u8,
    bytes: u16,
}

impl Left {
    /// Takes a frame of this length, unless that is too much.
    fn take(&mut self, length: usize) -> bool {
        let bytes = u16::try_from(length).ok().and_then(|length| self.bytes.checked_sub(length));
        let (Some(bytes), Some(datagrams)) = (bytes, self.datagrams.checked_sub(1)) else { return false };
        *self = Self { datagrams, bytes };
        true
    }
}

impl RelayChannel {
    /// Whether this is an invitation that the peer in this slot has not accepted: then it is not its own channel.
    fn is_offered_to(&self, slot: u32) -> bool {
        self.offer.is_some_and(|offer| offer.inviter != slot)
    }

    /// Whether a frame of this length from this end is passed on.
    pub(super) fn pass(&mut self, sender: u32, length: usize, now_s: u32) -> bool {
        match &mut self.offer {
            Some(offer) if offer.inviter == sender => offer.left.take(length),
            Some(offer) => offer.answer.take(length),
            None => {
                self.heard_s = now_s;
                true
            }
        }
    }
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
    /// The channels by their flights: the inviter's slot, and the name.
    flights: BTreeMap<(u32, u64), u32>,
    /// When to look at each channel that is accepted, in seconds since the start. Frames do not touch it: a channel in use
    /// is looked at once in [`IDLE_S`], or when another needs a place. None is due later than [`IDLE_S`] after it was in
    /// use, so that the first ones are the first to ask who was idle longest.
    due: BTreeSet<(u32, u32)>,
    /// When each one ends that is only offered.
    offered: BTreeSet<(u32, u32)>,
    /// What each peer may be offered.
    offers: Vec<Bucket>,
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
            flights: BTreeMap::new(),
            due: BTreeSet::new(),
            offered: BTreeSet::new(),
            offers: vec![Bucket::default(); OFFER_BUCKETS],
        }
    }

    fn find(&self, number: u32) -> Option<&RelayChannel> {
        self.channels.find(hashed(number), |channel| channel.number == number)
    }

    pub(super) fn find_mut(&mut self, number: u32) -> Option<&mut RelayChannel> {
        self.channels.find_mut(hashed(number), |channel| channel.number == number)
    }

    /// The ends of a channel. Read ahead of handling a frame, it brings the channel nearer to the processor too.
    pub(crate) fn ends(&self, number: u32) -> Option<[u32; 2]> {
        self.find(number).map(|channel| channel.ends)
    }

    /// Whether a channel waits for an acceptance.
    pub(super) fn is_offered(&self, number: u32) -> bool {
        self.find(number).is_some_and(|channel| channel.offer.is_some())
    }

    /// The channel of a pair.
    pub(crate) fn between(&self, [one, other]: [u32; 2]) -> Option<u32> {
        self.pairs.get(&(one, other)).copied()
    }

    /// The channel that a flight datagram from this slot goes by.
    pub(super) fn of_flight(&self, slot: u32, name: u64) -> Option<u32> {
        self.flights.get(&(slot, name)).copied()
    }

    /// The channels of a slot, each with the slot at its other end.
    pub(super) fn of(&self, slot: u32) -> impl Iterator<Item = (u32, u32)> {
        self.pairs.range((slot, 0)..=(slot, u32::MAX)).map(|((_, other), number)| (*other, *number))
    }

    /// The channels of a slot but for those that are only offered to it, which are not of its making.
    fn own(&self, slot: u32) -> impl Iterator<Item = &RelayChannel> {
        self.of(slot).filter_map(|(_, number)| self.find(number)).filter(move |channel| !channel.is_offered_to(slot))
    }

    /// Whether one more may be offered to the peer in this slot, which then counts.
    pub(super) fn may_offer(&mut self, invitee: u32, now_us: u64) -> bool {
        let offered = self.of(invitee).filter_map(|(_, number)| self.find(number));
        offered.filter(|channel| channel.is_offered_to(invitee)).count() < OFFERS_TO_ONE
            && self.offers.get_mut(invitee as usize % OFFER_BUCKETS).is_some_and(|bucket| bucket.take(OFFERS, now_us))
    }

    /// The channel that makes way if a slot has more than so many of its own: the one that was idle longest, but for
    /// the one named.
    pub(super) fn superfluous(&self, slot: u32, each: usize, but: Option<u32>) -> Option<u32> {
        let many = self.own(slot).count() > each;
        let others = self.own(slot).filter(|channel| many && Some(channel.number) != but);
        others.min_by_key(|channel| channel.heard_s).map(|channel| channel.number)
    }

    /// Whether another has to make way for one that is opened, or offered: the last quarter of the table is kept for those
    /// that are accepted.
    pub(super) fn is_full(&self, offering: bool) -> bool {
        self.channels.len() >= self.limit - if offering { self.limit / 4 } else { 0 }
    }

    /// The channel that makes way for one that is opened, or offered: the one that was idle longest. Before one that was
    /// in use of late goes the oldest offer, and if there is none, no offer is worth it.
    pub(super) fn idlest(&mut self, offering: bool, now_s: u32) -> Option<u32> {
        let idlest = self.longest_unheard();
        let quiet = idlest.filter(|(heard_s, _)| heard_s + QUIET_S <= now_s);
        let oldest_offer = self.offered.first().copied();
        quiet.or(oldest_offer).or(idlest.filter(|_| !offering)).map(|(_, number)| number)
    }

    /// Of those accepted, the one in which nothing was heard for longest, and since when; of the first few, if all of them
    /// were heard since they were looked at last.
    fn longest_unheard(&mut self) -> Option<(u32, u32)> {
        let mut longest = None;
        for _ in 0..LOOKED_AT {
            let (due_s, number) = self.due.first().copied()?;
            let channel = self.find_mut(number)?;
            let heard = (channel.heard_s, number);
            longest = longest.min(Some(heard)).or(Some(heard));
            channel.due_s = channel.heard_s + IDLE_S + 1;
            let next = (channel.due_s, number);
            if next.0 == due_s {
                break;
            }
            self.due.pop_first();
            self.due.insert(next);
        }
        longest
    }

    /// Opens a channel, unless there are as many as there may be in all.
    pub(super) fn open(&mut self, ends: [u32; 2], now_s: u32) -> Option<u32> {
        let number = self.insert(ends, now_s, now_s + IDLE_S + 1)?;
        self.due.insert((now_s + IDLE_S + 1, number));
        Some(number)
    }

    /// Opens a channel that carries no more than a first flight until it is accepted.
    pub(super) fn offer(&mut self, [inviter, invitee]: [u32; 2], name: u64, now_s: u32) -> Option<u32> {
        let number = self.insert([inviter, invitee], now_s, now_s + OFFER_S + 1)?;
        self.offered.insert((now_s + OFFER_S + 1, number));
        if let Some(channel) = self.find_mut(number) {
            channel.offer = Some(Offer { inviter, left: FLIGHT, answer: ANSWER });
        }
        self.set_name(number, inviter, Some(name));
        Some(number)
    }

    /// One of a channel's two invites the other again: its flight comes by this channel. True if the other has invited
    /// before and waits for an acceptance, which this is.
    pub(super) fn invite_again(&mut self, number: u32, inviter: u32, name: u64, now_s: u32) -> bool {
        let Some(channel) = self.find_mut(number) else { return false };
        let answered = channel.is_offered_to(inviter);
        // Inviting again brings an offer no second flight, nor more time.
        if channel.offer.is_none() {
            channel.heard_s = now_s;
        }
        self.set_name(number, inviter, Some(name));
        answered
    }

    /// The channel is both sides' from now on, with all its time before it.
    pub(super) fn accept(&mut self, number: u32, now_s: u32) {
        let Some(channel) = self.find_mut(number) else { return };
        channel.heard_s = now_s;
        let Some(Offer { inviter, .. }) = channel.offer.take() else { return };
        let invitee = channel.ends.into_iter().find(|slot| *slot != inviter);
        let offered_s = std::mem::replace(&mut channel.due_s, now_s + IDLE_S + 1);
        self.offered.remove(&(offered_s, number));
        self.due.insert((now_s + IDLE_S + 1, number));
        if let Some(bucket) = invitee.and_then(|invitee| self.offers.get_mut(invitee as usize % OFFER_BUCKETS)) {
            bucket.put_back(OFFERS);
        }
    }

    fn insert(&mut self, ends: [u32; 2], now_s: u32, due_s: u32) -> Option<u32> {
        if self.channels.len() >= self.limit {
            return None;
        }
        let number = self.unused();
        let channel = RelayChannel { number, ends, heard_s: now_s, due_s, names: [None; 2], offer: None };
        self.channels.insert_unique(hashed(number), channel, |channel| hashed(channel.number));
        let [one, other] = ends;
        self.pairs.extend([((one, other), number), ((other, one), number)]);
        Some(number)
    }

    /// Lets the flight datagrams of one end's latest invitation go by this channel, or those of none.
    fn set_name(&mut self, number: u32, inviter: u32, name: Option<u64>) {
        let Some(channel) = self.find_mut(number) else { return };
        let at_end = channel.ends.into_iter().zip(&mut channel.names).find(|(slot, _)| *slot == inviter);
        let old = at_end.and_then(|(_, at)| std::mem::replace(at, name));
        self.forget_name(number, inviter, old);
        self.flights.extend(name.map(|name| ((inviter, name), number)));
    }

    fn forget_name(&mut self, number: u32, inviter: u32, name: Option<u64>) {
        // Whoever gives two invitations the same name loses the first.
        if let Some(name) = name
            && self.flights.get(&(inviter, name)) == Some(&number)
        {
            self.flights.remove(&(inviter, name));
        }
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

    /// Closes a channel; returns who is to know: both, or of one that was only offered, the inviter.
    pub(crate) fn close(&mut self, number: u32) -> Option<Vec<u32>> {
        let found = self.channels.find_entry(hashed(number), |channel| channel.number == number).ok()?;
        let (channel, _) = found.remove();
        let RelayChannel { ends, due_s, names, .. } = channel;
        let [one, other] = ends;
        self.pairs.remove(&(one, other));
        self.pairs.remove(&(other, one));
        let line = if channel.offer.is_some() { &mut self.offered } else { &mut self.due };
        line.remove(&(due_s, number));
        ends.into_iter().zip(names).for_each(|(slot, name)| self.forget_name(number, slot, name));
        Some(ends.into_iter().filter(|slot| !channel.is_offered_to(*slot)).collect())
    }

    /// The next channel that has been idle for long, or offered in vain; and whether it was that.
    pub(super) fn idle(&mut self, now_s: u32) -> Option<(u32, bool)> {
        let over = |line: &BTreeSet<(u32, u32)>| line.first().copied().filter(|(due_s, _)| *due_s <= now_s);
        if let Some((_, number)) = over(&self.offered) {
            self.offered.pop_first();
            return Some((number, true));
        }
        while let Some((_, number)) = over(&self.due) {
            self.due.pop_first();
            let Some(channel) = self.find_mut(number) else { continue };
            // What is heard late in a second counts from its beginning: one second more, and none ends too early.
            channel.due_s = channel.heard_s + IDLE_S + 1;
            let (due_s, ends) = (channel.due_s, channel.ends);
            if due_s <= now_s {
                return Some((number, false));
            }
            // Its flights have long landed.
            ends.into_iter().for_each(|slot| self.set_name(number, slot, None));
            self.due.insert((due_s, number));
        }
        None
    }

    /// When to look for idle channels, in seconds since the start.
    pub(crate) fn poll_timeout_s(&self) -> Option<u32> {
        self.due.first().into_iter().chain(self.offered.first()).map(|(due_s, _)| *due_s).min()
    }
}

/// Numbers are drawn at random, so each is its own hash; the table uses the bits at both ends.
fn hashed(number: u32) -> u64 {
    u64::from(number) << 32 | u64::from(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(limit: u32) -> Relay {
        Relay::new(limit, [1; 16])
    }

    fn is_empty(relay: &Relay) -> bool {
        let lines = [&relay.due, &relay.offered];
        relay.channels.is_empty()
            && relay.pairs.is_empty()
            && relay.flights.is_empty()
            && lines.iter().all(|l| l.is_empty())
    }

    #[test]
    fn numbers_are_never_given_twice_at_a_time_and_look_random() {
        let mut relay = relay(10_000);
        let numbers: BTreeSet<_> = (0..10_000).filter_map(|n| relay.open([n, n + 20_000], 0)).collect();
        assert_eq!(numbers.len(), 10_000);
        let high = numbers.iter().filter(|number| **number > u32::MAX / 2).count();
        assert!((4_500..5_500).contains(&high), "{high}");
        assert_eq!(relay.open([1, 2], 0), None, "full");
    }

    #[test]
    fn what_is_closed_leaves_nothing_behind() {
        let mut relay = relay(10);
        for _ in 0..100 {
            let channels = [relay.open([1, 2], 7), relay.offer([1, 3], 5, 7), relay.offer([2, 3], 5, 7)];
            let channels = channels.map(Option::unwrap);
            relay.invite_again(channels[0], 2, 6, 7);
            relay.invite_again(channels[1], 1, 8, 7);
            assert_eq!(relay.of(1).collect::<Vec<_>>(), [(2, channels[0]), (3, channels[1])]);
            assert_eq!(relay.between([3, 2]), Some(channels[2]));
            for (channel, told) in channels.into_iter().zip([vec![1, 2], vec![1], vec![2]]) {
                assert_eq!(relay.close(channel), Some(told));
                assert_eq!(relay.close(channel), None);
            }
            assert!(is_empty(&relay));
        }
    }

    #[test]
    fn a_channel_is_idle_after_its_time_and_never_before() {
        let mut relay = relay(10);
        let channel = relay.open([1, 2], 10).unwrap();
        assert_eq!((relay.poll_timeout_s(), relay.idle(130)), (Some(131), None));
        relay.channels.iter_mut().for_each(|channel| channel.heard_s = 100);
        assert_eq!((relay.idle(131), relay.poll_timeout_s()), (None, Some(221)));
        assert_eq!((relay.idle(220), relay.idle(221)), (None, Some((channel, false))));
    }

    #[test]
    fn an_offer_lasts_ten_seconds_and_once_accepted_as_long_as_any() {
        let mut relay = relay(10);
        let [refused, accepted] = [[1, 2], [1, 3]].map(|ends| relay.offer(ends, ends[1].into(), 10).unwrap());
        relay.accept(accepted, 12);
        assert_eq!(relay.idle(20), None);
        assert_eq!(relay.idle(21), Some((refused, true)));
        relay.close(refused);
        assert_eq!((relay.idle(21), relay.poll_timeout_s()), (None, Some(133)));
        relay.find_mut(accepted).unwrap().pass(1, 100, 100);
        assert_eq!((relay.idle(133), relay.of_flight(1, 3)), (None, None), "its flight has landed");
        assert_eq!(relay.idle(221), Some((accepted, false)));
    }

    #[test]
    fn the_idlest_of_a_slot_s_own_makes_way_and_no_stranger_s_offer_counts() {
        let mut relay = relay(100);
        let own: Vec<_> = (2..6).map(|other| relay.open([1, other], other).unwrap()).collect();
        (10..14).for_each(|other| assert!(relay.offer([other, 1], 0, 0).is_some()));
        assert_eq!(relay.superfluous(1, 4, None), None);
        assert_eq!(relay.superfluous(1, 3, None), Some(own[0]));
        assert_eq!(relay.superfluous(1, 3, Some(own[0])), Some(own[1]));
        relay.find_mut(own[0]).unwrap().pass(1, 100, 50);
        assert_eq!(relay.superfluous(1, 3, None), Some(own[1]));
    }
    #[test]
    fn the_idlest_of_all_is_found_among_thousands_in_use_and_no_search_looks_at_many() {
        let mut relay = relay(5_000);
        let channels: Vec<_> = (0..5_000).map(|n| relay.open([n, n + 10_000], 0).unwrap()).collect();
        assert!(relay.is_full(false));
        let idle = [channels[77], channels[4_000]];
        let in_use = |channel: &&u32| !idle.contains(channel);
        channels.iter().filter(in_use).for_each(|channel| assert!(relay.find_mut(*channel).unwrap().pass(0, 9, 5)));
        for (searches, _) in (1..).zip(idle) {
            let found =
                (0..5_000 / LOOKED_AT).find_map(|_| relay.idlest(false, 6).filter(|found| idle.contains(found)));
            assert!(relay.close(found.unwrap()).is_some(), "{searches}");
        }
        let looked_at = |relay: &Relay| relay.due.iter().filter(|(due_s, _)| *due_s == 5 + IDLE_S + 1).count();
        let before = looked_at(&relay);
        assert!(relay.idlest(false, 6).is_some());
        assert!(looked_at(&relay) <= before + LOOKED_AT);
    }

    #[test]
    fn a_channel_in_use_of_late_makes_way_for_an_acceptance_alone_and_after_every_offer() {
        let mut relay = relay(10);
        let quiet = relay.open([1, 2], 0).unwrap();
        let talking = relay.open([3, 4], 40).unwrap();
        let offers = [[5, 6], [7, 8]].map(|ends| relay.offer(ends, 1, 41 + ends[0]).unwrap());
        for next in [quiet, offers[0], offers[1]] {
            assert_eq!([true, false].map(|offering| relay.idlest(offering, 50)), [Some(next); 2]);
            relay.close(next);
        }
        assert_eq!([true, false].map(|offering| relay.idlest(offering, 50)), [None, Some(talking)]);
    }
}
