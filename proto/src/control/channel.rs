//! The channel between a peer and a rendezvous: sealed under the registration's keys, protected against replay, repeated
//! until acknowledged.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ToPeer, ToRendezvous};
use crate::datagram::{CONTROL, HEADER, Header, TAG};
use crate::seal::{Direction, Freshness, RegistrationSecret, ReplayWindow, SealKey};

/// The longest control datagram: with IPv6 and UDP headers it fits any path that QUIC fits (RFC 9000, section 14).
pub const MAX_DATAGRAM: usize = 1200;

/// Messages on their way at once. A peer with hundreds of contacts starts them in waves; a rendezvous keeps at most this
/// many for a peer that does not answer.
pub const MAX_OUTSTANDING: usize = 32;

/// First repetition: later than most round trips, soon enough that a lost invitation is not felt as an outage.
const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
/// Repetitions grow by half up to this.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(2);
/// After ten sendings, some 11 s, the other side is not there.
const MAX_SENDINGS: u8 = 10;
/// Acknowledgements carried by one datagram.
const MAX_ACKNOWLEDGEMENTS: usize = 32;
/// What can be sealed in a control datagram: all but its header and the seal's tag.
const MAX_TEXT: usize = MAX_DATAGRAM - HEADER - TAG;

struct Outstanding {
    datagram: Vec<u8>,
    sendings: u8,
    timeout: Duration,
    due: Instant,
}

/// One end of the channel: `Out` is what it says, `In` what it hears.
pub struct Channel<Out, In> {
    slot: u32,
    seal: SealKey,
    open: SealKey,
    next_sequence: u64,
    outstanding: BTreeMap<u64, Outstanding>,
    window: ReplayWindow,
    acknowledges: Vec<u64>,
    lost: bool,
    types: PhantomData<fn(Out) -> In>,
}

/// A peer's end.
pub type PeerChannel = Channel<ToRendezvous, ToPeer>;
/// A rendezvous' end.
pub type RendezvousChannel = Channel<ToPeer, ToRendezvous>;

/// The other side has not acknowledged what is on its way, and no more can be held for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_OUTSTANDING} control messages are not acknowledged yet")]
pub struct ChannelFull;

/// What came of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<M> {
    /// It is authentic and new; it may have carried acknowledgements alone, or a message of a later version.
    Fresh(Option<M>),
    /// It was seen before; it is acknowledged again.
    Repeated,
    /// It is forged, damaged or too old.
    Invalid,
}

impl PeerChannel {
    /// The channel of a new registration.
    #[must_use]
    pub fn of_peer(secret: &RegistrationSecret, slot: u32) -> Self {
        Self::new(secret, slot, Direction::ToRendezvous, Direction::ToPeer)
    }
}

impl RendezvousChannel {
    /// The channel of a new registration.
    #[must_use]
    pub fn of_rendezvous(secret: &RegistrationSecret, slot: u32) -> Self {
        Self::new(secret, slot, Direction::ToPeer, Direction::ToRendezvous)
    }
}

impl<Out: Serialize, In: DeserializeOwned> Channel<Out, In> {
    fn new(secret: &RegistrationSecret, slot: u32, ours: Direction, theirs: Direction) -> Self {
        Self {
            slot,
            seal: SealKey::new(secret, ours),
            open: SealKey::new(secret, theirs),
            next_sequence: 1,
            outstanding: BTreeMap::new(),
            window: ReplayWindow::default(),
            acknowledges: Vec::new(),
            lost: false,
            types: PhantomData,
        }
    }

    /// Takes a message for delivery, and gives it its number.
    ///
    /// # Errors
    /// [`ChannelFull`] when [`MAX_OUTSTANDING`] are on their way.
    pub fn send(&mut self, message: Out, now: Instant) -> Result<u64, ChannelFull> {
        if self.outstanding.len() >= MAX_OUTSTANDING {
            return Err(ChannelFull);
        }
        let sequence = self.next_sequence;
        let datagram = self.sealed(Some(message));
        let entry = Outstanding { datagram, sendings: 0, timeout: FIRST_TIMEOUT, due: now };
        self.outstanding.insert(sequence, entry);
        Ok(sequence)
    }

    /// Whether the message of this number is on its way: neither acknowledged nor given up.
    #[must_use]
    pub fn is_outstanding(&self, sequence: u64) -> bool {
        self.outstanding.contains_key(&sequence)
    }

    /// The sequence of what was said last.
    #[must_use]
    pub const fn latest(&self) -> u64 {
        self.next_sequence - 1
    }

    /// How many messages are on their way.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Takes a control datagram whose header names this slot.
    pub fn handle(&mut self, header: Header, datagram: &[u8]) -> Opened<In> {
        if header.slot != self.slot || datagram.len() > MAX_DATAGRAM {
            return Opened::Invalid;
        }
        let freshness = self.window.check(header.number);
        let Some(text) = self.open.open(datagram, header.number) else {
            return Opened::Invalid;
        };
        match freshness {
            Freshness::Fresh => {}
            // It may never have arrived, so that its sender must not believe it did; nor that nobody knows its keys.
            Freshness::Stale => return Opened::Repeated,
            Freshness::Repeated => {
                self.acknowledge(header.number);
                return Opened::Repeated;
            }
        }
        self.window.mark(header.number);
        // The acknowledgements come first, so that they count even when the message is of a later version.
        let Ok((acknowledges, rest)) = postcard::take_from_bytes::<Vec<u64>>(&text) else {
            return Opened::Fresh(None);
        };
        for sequence in acknowledges.iter().take(MAX_ACKNOWLEDGEMENTS) {
            self.outstanding.remove(sequence);
        }
        match rest.split_first() {
            Some((1, body)) => {
                self.acknowledge(header.number);
                Opened::Fresh(postcard::take_from_bytes(body).ok().filter(|(_, rest)| rest.is_empty()).map(|(m, _)| m))
            }
            _ => Opened::Fresh(None),
        }
    }

    fn acknowledge(&mut self, sequence: u64) {
        if self.acknowledges.len() < MAX_ACKNOWLEDGEMENTS && !self.acknowledges.contains(&sequence) {
            self.acknowledges.push(sequence);
        }
    }

    /// The next datagram to send, to wherever the registration is.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let due = self.outstanding.values_mut().find(|entry| entry.due <= now && entry.sendings < MAX_SENDINGS);
        if let Some(entry) = due {
            entry.sendings += 1;
            entry.due = now + entry.timeout;
            entry.timeout = (entry.timeout * 3 / 2).min(LONGEST_TIMEOUT);
            return Some(entry.datagram.clone());
        }
        (!self.acknowledges.is_empty()).then(|| self.sealed(None))
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outstanding.values().map(|entry| entry.due).min()
    }

    /// Gives up what has been sent often enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        let before = self.outstanding.len();
        self.outstanding.retain(|_, entry| entry.due > now || entry.sendings < MAX_SENDINGS);
        self.lost |= self.outstanding.len() < before;
    }

    /// Whether a message was given up since this was last asked: the other side is not there any more.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Whether everything said has been acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outstanding.is_empty() && self.acknowledges.is_empty()
    }

    /// Whether something was sent twice and is not acknowledged: at the next repetition that is half a second.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.outstanding.values().any(|entry| entry.sendings > 1)
    }

    /// The way to the other side has changed or is open again: what is not acknowledged is sent now, at least once more, and
    /// soon again.
    pub fn repeat(&mut self, now: Instant) {
        for entry in self.outstanding.values_mut() {
            entry.due = entry.due.min(now);
            entry.timeout = FIRST_TIMEOUT;
            entry.sendings = entry.sendings.min(MAX_SENDINGS - 1);
        }
    }

    fn sealed(&mut self, message: Option<Out>) -> Vec<u8> {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        // Serialising these types into memory cannot fail; an empty text would be dropped by the other side.
        let message = postcard::to_allocvec(&message).unwrap_or_default();
        let acknowledges = self.acknowledgements(MAX_TEXT.saturating_sub(message.len()));
        let mut text = postcard::to_allocvec(&acknowledges).unwrap_or_default();
        text.extend_from_slice(&message);
        let header = Header { kind: CONTROL, flags: 0, port: 0, slot: self.slot, number: sequence };
        self.seal.seal(header.to_bytes(), sequence, &text)
    }

    /// Takes the acknowledgements that fit in so many bytes; those beside the largest messages wait for the next datagram.
    fn acknowledgements(&mut self, room: usize) -> Vec<u64> {
        // Their number takes one byte, as there are at most 32.
        let mut left = room.saturating_sub(1);
        let fits = |sequence: &&u64| {
            let rest = left.checked_sub(varint_length(**sequence));
            left = rest.unwrap_or_default();
            rest.is_some()
        };
        let count = self.acknowledges.iter().take_while(fits).count();
        self.acknowledges.drain(..count).collect()
    }
}

/// How many bytes postcard takes for a number: one for every seven bits.
const fn varint_length(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::{Candidate, CheckKey, IntroductionId};
    use crate::control::{LetterName, MAX_CANDIDATES, MAX_ENVELOPE, MAX_GREETING, MAX_NAMED, Watched};
    use crate::identity::PeerId;

    struct Pair {
        peer: PeerChannel,
        rendezvous: RendezvousChannel,
        now: Instant,
    }

    fn pair() -> Pair {
        let secret = RegistrationSecret([5; 32]);
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        Pair { peer: PeerChannel::of_peer(&secret, 3), rendezvous: RendezvousChannel::of_rendezvous(&secret, 3), now }
    }

    fn invite(n: u8) -> ToRendezvous {
        ToRendezvous::Invite {
            introduction: IntroductionId([n; 12]),
            to: PeerId::new([n; 32]),
            candidates: Vec::new(),
            relay_only: false,
            greeting: None,
        }
    }

    fn handle(channel: &mut RendezvousChannel, datagram: &[u8]) -> Opened<ToRendezvous> {
        channel.handle(Header::parse(datagram).unwrap(), datagram)
    }

    #[test]
    fn a_message_is_repeated_until_acknowledged_and_delivered_once() {
        let mut pair = pair();
        pair.peer.send(invite(1), pair.now).unwrap();
        let first = pair.peer.poll_transmit(pair.now).unwrap();
        assert_eq!(pair.peer.poll_transmit(pair.now), None);
        pair.now += FIRST_TIMEOUT;
        assert_eq!(pair.peer.poll_transmit(pair.now).as_ref(), Some(&first), "the very same bytes");
        assert_eq!(handle(&mut pair.rendezvous, &first), Opened::Fresh(Some(invite(1))));
        assert_eq!(handle(&mut pair.rendezvous, &first), Opened::Repeated);
        let answer = pair.rendezvous.poll_transmit(pair.now).unwrap();
        assert_eq!(pair.rendezvous.poll_transmit(pair.now), None);
        assert_eq!(pair.peer.handle(Header::parse(&answer).unwrap(), &answer), Opened::Fresh(None));
        assert!(pair.peer.is_idle());
        assert_eq!(pair.peer.poll_timeout(), None);
    }

    #[test]
    fn an_answer_carries_the_acknowledgement_with_it() {
        let mut pair = pair();
        pair.peer.send(invite(1), pair.now).unwrap();
        let datagram = pair.peer.poll_transmit(pair.now).unwrap();
        handle(&mut pair.rendezvous, &datagram);
        pair.rendezvous.send(ToPeer::Absent { introduction: IntroductionId([1; 12]) }, pair.now).unwrap();
        let answer = pair.rendezvous.poll_transmit(pair.now).unwrap();
        assert_eq!(pair.rendezvous.poll_transmit(pair.now), None, "one datagram for both");
        let opened = pair.peer.handle(Header::parse(&answer).unwrap(), &answer);
        assert_eq!(opened, Opened::Fresh(Some(ToPeer::Absent { introduction: IntroductionId([1; 12]) })));
        assert!(pair.peer.outstanding.is_empty());
    }

    #[test]
    fn after_the_last_repetition_the_message_is_given_up_and_reported_lost() {
        let mut pair = pair();
        pair.peer.send(invite(1), pair.now).unwrap();
        let mut sent = 0;
        while let Some(due) = pair.peer.poll_timeout() {
            pair.now = due;
            pair.peer.handle_timeout(pair.now);
            while pair.peer.poll_transmit(pair.now).is_some() {
                sent += 1;
            }
        }
        assert_eq!(sent, MAX_SENDINGS);
        assert!(pair.peer.take_lost());
        assert!(!pair.peer.take_lost());
    }

    #[test]
    fn what_was_sent_for_the_last_time_is_sent_once_more_when_the_way_opens_and_soon_again_what_was_not() {
        let mut pair = pair();
        pair.peer.send(invite(1), pair.now).unwrap();
        for _ in 0..MAX_SENDINGS {
            pair.now = pair.peer.poll_timeout().unwrap();
            assert!(pair.peer.poll_transmit(pair.now).is_some());
        }
        pair.peer.send(invite(2), pair.now).unwrap();
        assert!(pair.peer.poll_transmit(pair.now).is_some());
        pair.peer.repeat(pair.now);
        pair.peer.handle_timeout(pair.now);
        assert!(!pair.peer.take_lost());
        assert_eq!(std::iter::from_fn(|| pair.peer.poll_transmit(pair.now)).count(), 2);
        assert_eq!(pair.peer.poll_timeout(), Some(pair.now + FIRST_TIMEOUT));
    }

    #[test]
    fn a_peer_that_does_not_answer_costs_a_bounded_number_of_messages() {
        let mut pair = pair();
        for _ in 0..MAX_OUTSTANDING {
            pair.peer.send(invite(1), pair.now).unwrap();
        }
        assert_eq!(pair.peer.send(invite(1), pair.now), Err(ChannelFull));
    }

    #[test]
    fn the_largest_message_fits_a_datagram() {
        let mut pair = pair();
        let address = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
        let candidate = Candidate { address, kind: crate::candidate::CandidateKind::Host };
        let message = ToPeer::Invited {
            channel: Some(u32::MAX),
            greeting: Some("x".repeat(MAX_GREETING)),
            introduction: IntroductionId([255; 12]),
            from: PeerId::new([255; 32]),
            observed: address,
            key: CheckKey([255; 20]),
            candidates: vec![candidate; MAX_CANDIDATES],
        };
        pair.rendezvous.acknowledges = vec![u64::MAX; MAX_ACKNOWLEDGEMENTS];
        pair.rendezvous.send(message, pair.now).unwrap();
        assert!(pair.rendezvous.poll_transmit(pair.now).unwrap().len() <= MAX_DATAGRAM);
    }

    /// The largest letter either way, with all acknowledgements that may wait: those that do not fit follow at once.
    #[test]
    fn the_largest_letter_fits_a_datagram_and_acknowledgements_that_do_not_come_with_the_next() {
        let mut pair = pair();
        let waiting: Vec<_> = (0..MAX_ACKNOWLEDGEMENTS as u64).map(|n| u64::MAX - n).collect();
        let (id, from, to) = (Some(u64::MAX), Some(PeerId::new([255; 32])), PeerId::new([255; 32]));
        let envelope = vec![255; MAX_ENVELOPE];
        pair.rendezvous.acknowledges.clone_from(&waiting);
        pair.rendezvous.send(ToPeer::Letter { id, from, envelope: envelope.clone() }, pair.now).unwrap();
        let sizes: Vec<_> = std::iter::from_fn(|| pair.rendezvous.poll_transmit(pair.now)).map(|d| d.len()).collect();
        assert_eq!(sizes.len(), 2, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= MAX_DATAGRAM), "{sizes:?}");

        let letter = LetterName([255; 8]);
        pair.peer.acknowledges.clone_from(&waiting);
        pair.peer.send(ToRendezvous::Post { to, letter, envelope, keep: true }, pair.now).unwrap();
        let mut acknowledged = Vec::new();
        while let Some(datagram) = pair.peer.poll_transmit(pair.now) {
            assert!(datagram.len() <= MAX_DATAGRAM, "{}", datagram.len());
            let text = pair.rendezvous.open.open(&datagram, Header::parse(&datagram).unwrap().number).unwrap();
            acknowledged.extend(postcard::take_from_bytes::<Vec<u64>>(&text).unwrap().0);
        }
        assert_eq!(acknowledged, waiting, "each once");
    }

    #[test]
    fn the_most_names_fit_a_datagram() {
        let peer = PeerId::new([255; 32]);
        let messages = [
            ToRendezvous::Watch { unseen: true, peers: vec![Watched { peer, shown: true }; MAX_NAMED] },
            ToRendezvous::Mailbox { open: true, fresh: true, senders: vec![peer; MAX_NAMED] },
            ToRendezvous::Unwatch { peers: vec![peer; MAX_NAMED] },
            ToRendezvous::Collected { letters: vec![u64::MAX; MAX_NAMED] },
        ];
        for message in messages {
            let mut pair = pair();
            pair.peer.acknowledges = vec![u64::MAX; MAX_ACKNOWLEDGEMENTS];
            pair.peer.send(message, pair.now).unwrap();
            assert!(pair.peer.poll_transmit(pair.now).unwrap().len() <= MAX_DATAGRAM);
        }
        let mut pair = pair();
        pair.rendezvous.acknowledges = vec![u64::MAX; MAX_ACKNOWLEDGEMENTS];
        pair.rendezvous.send(ToPeer::Presence { peers: vec![(peer, true); MAX_NAMED] }, pair.now).unwrap();
        assert!(pair.rendezvous.poll_transmit(pair.now).unwrap().len() <= MAX_DATAGRAM);
    }

    #[test]
    fn numbers_are_as_long_as_postcard_makes_them() {
        for bits in 0..64 {
            for number in [(1_u64 << bits) - 1, 1 << bits, u64::MAX >> bits] {
                assert_eq!(varint_length(number), postcard::to_allocvec(&number).unwrap().len(), "{number}");
            }
        }
    }
}
