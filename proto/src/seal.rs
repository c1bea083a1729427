//! The keys of a registration: a short tag for keepalives, an AEAD for control messages, a window against replays.
//!
//! All keys come from the TLS exporter of the sign-in (RFC 5705 through RFC 8446, section 7.5), by HKDF-SHA256 with a
//! label each, so that neither direction nor purpose shares a key with another.

use std::fmt;
use std::hash::Hasher;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::datagram::{HEADER, TAG};

/// What both sides take from the TLS exporter at sign-in: 32 bytes, label `EXPORTER-knothole-registration`, no context.
#[derive(Clone)]
pub struct RegistrationSecret(pub [u8; 32]);

impl fmt::Debug for RegistrationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistrationSecret(…)")
    }
}

/// The key of keepalive tags: SipHash-2-4-128 (a keyed pseudo-random function; 40 ns for 48 bytes, half of BLAKE3's).
#[derive(Clone, Copy)]
pub struct TagKey([u8; 16]);

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(…)")
    }
}

impl TagKey {
    /// Derives the key of a registration's keepalives, both directions; the kinds of datagram keep those apart.
    #[must_use]
    pub fn new(secret: &RegistrationSecret) -> Self {
        Self(derive(secret, &[b"keepalive"]))
    }

    /// Takes 16 bytes that are secret and uniformly random, for uses other than a registration's.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The tag over these bytes.
    #[must_use]
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish128().as_bytes()
    }

    /// Appends the tag over all that `datagram` holds so far.
    pub fn append(&self, datagram: &mut Vec<u8>) {
        let tag = self.tag(datagram);
        datagram.extend_from_slice(&tag);
    }

    /// Whether the last 16 bytes are the tag over those before; takes the same time whatever the tag.
    #[must_use]
    pub fn verifies(&self, datagram: &[u8]) -> bool {
        let Some((bytes, tag)) = datagram.split_last_chunk::<TAG>() else {
            return false;
        };
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(bytes), tag).is_ok()
    }
}

/// Which way a sealed message goes; each way has its own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a peer to the rendezvous.
    ToRendezvous,
    /// From the rendezvous to a peer.
    ToPeer,
}

/// Seals control messages one way: ChaCha20-Poly1305, the header as associated data, the sequence number as nonce.
///
/// A sequence number is never used twice with another text: a repetition sends the very same bytes.
pub struct SealKey(LessSafeKey);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

impl SealKey {
    /// Derives the key for one direction.
    #[must_use]
    pub fn new(secret: &RegistrationSecret, direction: Direction) -> Self {
        let label: &[u8] = match direction {
            Direction::ToRendezvous => b"control to rendezvous",
            Direction::ToPeer => b"control to peer",
        };
        #[expect(clippy::expect_used, reason = "a key of 32 bytes is what the algorithm takes")]
        let key = UnboundKey::new(&CHACHA20_POLY1305, &derive::<32>(secret, &[label])).expect("32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// The datagram `header ‖ ciphertext ‖ tag`.
    #[must_use]
    pub fn seal(&self, header: [u8; HEADER], sequence: u64, text: &[u8]) -> Vec<u8> {
        let mut sealed = text.to_vec();
        #[expect(clippy::expect_used, reason = "fails only for texts of 256 GiB")]
        self.0.seal_in_place_append_tag(nonce(sequence), Aad::from(header), &mut sealed).expect("a short text");
        [&header[..], &sealed].concat()
    }

    /// The text of a sealed datagram, or `None` if it was not sealed with this key and sequence.
    #[must_use]
    pub fn open(&self, datagram: &[u8], sequence: u64) -> Option<Vec<u8>> {
        let (header, sealed) = datagram.split_first_chunk::<HEADER>()?;
        let mut sealed = sealed.to_vec();
        let length = self.0.open_in_place(nonce(sequence), Aad::from(header), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

fn nonce(sequence: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&sequence.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// `N` bytes for one purpose: HKDF-SHA256, salt `knothole 1`, the parts of `info` one after the other.
pub(crate) fn derive<const N: usize>(secret: &RegistrationSecret, info: &[&[u8]]) -> [u8; N] {
    hkdf(b"knothole 1", &secret.0, info)
}

/// HKDF-SHA256 (RFC 5869), the parts of `info` one after the other.
pub(crate) fn hkdf<const N: usize>(salt: &[u8], secret: &[u8; 32], info: &[&[u8]]) -> [u8; N] {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let key: Prk = Salt::new(HKDF_SHA256, salt).extract(secret);
    let mut out = [0; N];
    #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8160 bytes; 48 at most are asked for")]
    key.expand(info, Length(N)).and_then(|okm| okm.fill(&mut out)).expect("a short key");
    out
}

/// The latest sequence numbers that a [`ReplayWindow`] tells apart. A message is repeated under its first number for 11 s,
/// while acknowledgements of what others say take the next numbers: 32 of those in each round trip of a third of a second
/// overtake it at most.
const WINDOW: u64 = 1024;

/// Remembers which of the latest 1,024 sequence numbers have been seen (RFC 4303, section 3.4.3).
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplayWindow {
    highest: u64,
    /// A bit for each number, at the number's remainder.
    seen: [u64; WINDOW as usize / 64],
}

/// What a [`ReplayWindow`] says of a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Never seen.
    Fresh,
    /// Seen before: a repetition or a replay.
    Repeated,
    /// Too old to tell.
    Stale,
}

impl ReplayWindow {
    /// What this number is, without marking it. Numbers begin at 1; zero is stale.
    #[must_use]
    pub fn check(&self, sequence: u64) -> Freshness {
        if sequence > self.highest {
            Freshness::Fresh
        } else if sequence == 0 || self.highest - sequence >= WINDOW {
            Freshness::Stale
        } else {
            let (word, bit) = place(sequence);
            let seen = self.seen.get(word).is_some_and(|word| word & bit != 0);
            if seen { Freshness::Repeated } else { Freshness::Fresh }
        }
    }

    /// Marks a number whose datagram proved authentic.
    pub fn mark(&mut self, sequence: u64) {
        let overtaken = sequence.saturating_sub(self.highest).min(WINDOW);
        for skipped in (0..overtaken).map(|n| place(sequence - n)) {
            self.set(skipped, false);
        }
        self.highest = self.highest.max(sequence);
        if self.highest - sequence < WINDOW {
            self.set(place(sequence), true);
        }
    }

    fn set(&mut self, (word, bit): (usize, u64), seen: bool) {
        if let Some(word) = self.seen.get_mut(word) {
            *word = if seen { *word | bit } else { *word & !bit };
        }
    }
}

/// Where a number's bit stands.
const fn place(sequence: u64) -> (usize, u64) {
    // The remainder is below WINDOW.
    ((sequence % WINDOW) as usize / 64, 1 << (sequence % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datagram::{CONTROL, Header};

    fn secret() -> RegistrationSecret {
        RegistrationSecret([7; 32])
    }

    #[test]
    fn a_tag_verifies_only_untouched_and_under_its_own_key() {
        let key = TagKey::new(&secret());
        let mut datagram = vec![4, 0, 0, 0, 1, 2, 3];
        key.append(&mut datagram);
        assert!(key.verifies(&datagram));
        assert!(!TagKey::new(&RegistrationSecret([8; 32])).verifies(&datagram));
        for i in 0..datagram.len() {
            let mut touched = datagram.clone();
            touched[i] ^= 1;
            assert!(!key.verifies(&touched), "byte {i}");
        }
        assert!(!key.verifies(&datagram[..15]));
    }

    #[test]
    fn a_sealed_message_opens_only_whole_in_its_direction_and_sequence() {
        let key = SealKey::new(&secret(), Direction::ToPeer);
        let header = Header { kind: CONTROL, flags: 0, port: 0, slot: 5, number: 9 }.to_bytes();
        let datagram = key.seal(header, 9, b"hello");
        assert_eq!(datagram.len(), HEADER + 5 + TAG);
        assert_eq!(key.open(&datagram, 9).as_deref(), Some(&b"hello"[..]));
        assert_eq!(key.open(&datagram, 10), None);
        assert_eq!(SealKey::new(&secret(), Direction::ToRendezvous).open(&datagram, 9), None);
        for i in 0..datagram.len() {
            let mut touched = datagram.clone();
            touched[i] ^= 1;
            assert_eq!(key.open(&touched, 9), None, "byte {i}");
        }
        for length in 0..datagram.len() {
            assert_eq!(key.open(&datagram[..length], 9), None);
        }
    }

    #[test]
    fn the_window_lets_each_of_the_latest_numbers_through_once_in_any_order() {
        let mut window = ReplayWindow::default();
        assert_eq!(window.check(0), Freshness::Stale);
        for sequence in [3, 1, 2, 1026, 5] {
            assert_eq!(window.check(sequence), Freshness::Fresh, "{sequence}");
            window.mark(sequence);
            assert_eq!(window.check(sequence), Freshness::Repeated, "{sequence}");
        }
        assert_eq!(window.check(2), Freshness::Stale);
        assert_eq!(window.check(3), Freshness::Repeated);
        assert_eq!(window.check(4), Freshness::Fresh);
        window.mark(3000);
        assert_eq!(window.check(1976), Freshness::Stale);
        for sequence in 1977..3000 {
            assert_eq!(window.check(sequence), Freshness::Fresh, "{sequence}");
        }
        window.mark(u64::MAX);
        assert_eq!(window.check(u64::MAX - 1), Freshness::Fresh);
    }
}
