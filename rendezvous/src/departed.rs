//! What those who left had left of what they may ask, so that leaving and coming back brings nobody more.

use std::time::Instant;

use knothole_proto::identity::PeerId;
use knothole_proto::seal::TagKey;

use crate::admission::microseconds;
use crate::introduction::Allowance;

/// Peers that are remembered; 32 bytes each, 2 MB. Only those are that have asked for something of late; a later one takes
/// an earlier one's place. Who wants to be forgotten so has tens of thousands of others come and go, as nobody knows the
/// places.
const PLACES: usize = 1 << 16;

/// What is remembered of whom, in a place for each that it shares with others: nobody can make it grow.
pub(crate) struct Departed {
    key: TagKey,
    start: Instant,
    places: Vec<(u64, Allowance)>,
}

impl Departed {
    pub(crate) fn new(seed: [u8; 16], start: Instant) -> Self {
        Self { key: TagKey::from_bytes(seed), start, places: vec![(0, Allowance::default()); PLACES] }
    }

    /// A peer's mark, and its place.
    fn place(&mut self, peer: PeerId) -> (u64, Option<&mut (u64, Allowance)>) {
        let tag = u128::from_be_bytes(self.key.tag(peer.as_bytes()));
        // Both are cut from the tag on purpose. No mark is 0, which stands for none.
        (tag as u64 | 1, self.places.get_mut((tag >> 64) as usize % PLACES))
    }

    /// This peer leaves with so much.
    pub(crate) fn remember(&mut self, peer: PeerId, allowance: &Allowance, now: Instant) {
        if !allowance.is_full(microseconds(self.start, now))
            && let (mark, Some(place)) = self.place(peer)
        {
            *place = (mark, allowance.clone());
        }
    }

    /// With how much this peer begins.
    pub(crate) fn recall(&mut self, peer: PeerId) -> Allowance {
        let (mark, place) = self.place(peer);
        place.filter(|place| place.0 == mark).map(|place| place.1.clone()).unwrap_or_default()
    }
}
