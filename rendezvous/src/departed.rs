//! What those who left had left of what they may ask, so that leaving and coming back brings nobody more.

use std::time::Instant;

use knothole_proto::identity::PeerId;
use knothole_proto::seal::TagKey;

use crate::admission::{Bucket, microseconds};
use crate::introduction::Allowance;

/// Peers that are remembered; 32 bytes each, 2 MB. Only those are that have asked for something of late; a later one takes
/// an earlier one's place. Who wants to be forgotten so has tens of thousands of others come and go, as nobody knows the
/// places.
const PLACES: usize = 1 << 16;

/// What is remembered, in a place for each that it shares with others: nobody can make it grow. Of whom is not remembered:
/// eight bytes of a hash stand for the peer, under a key that ends with the process.
pub(crate) struct Departed {
    key: TagKey,
    start: Instant,
    places: Vec<Place>,
}

/// A mark, what is left of most things, and of letters.
type Place = (u64, Allowance, Bucket);

impl Departed {
    pub(crate) fn new(seed: [u8; 16], start: Instant) -> Self {
        Self { key: TagKey::from_bytes(seed), start, places: vec![Place::default(); PLACES] }
    }

    /// A peer's mark, and its place.
    fn place(&mut self, peer: PeerId) -> (u64, Option<&mut Place>) {
        let tag = u128::from_be_bytes(self.key.tag(peer.as_bytes()));
        // Both are cut from the tag on purpose. No mark is 0, which stands for none.
        (tag as u64 | 1, self.places.get_mut((tag >> 64) as usize % PLACES))
    }

    /// This peer leaves with so much, and so many letters.
    pub(crate) fn remember(&mut self, peer: PeerId, allowance: &Allowance, letters: Bucket, now: Instant) {
        let now_us = microseconds(self.start, now);
        if !(allowance.is_full(now_us) && letters.is_full(now_us))
            && let (mark, Some(place)) = self.place(peer)
        {
            *place = (mark, allowance.clone(), letters);
        }
    }

    /// With how much this peer begins, and how many letters.
    pub(crate) fn recall(&mut self, peer: PeerId) -> (Allowance, Bucket) {
        let (mark, place) = self.place(peer);
        place.filter(|place| place.0 == mark).map(|place| (place.1.clone(), place.2)).unwrap_or_default()
    }
}
