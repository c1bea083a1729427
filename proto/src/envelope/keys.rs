//! The chain of keys: each derived from the one before, which it does not tell.

use std::fmt;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{HEADER, SALT, Way};
use crate::seal::hkdf;

/// 32 secret bytes, overwritten when they are not used any more.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Key([u8; 32]);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// What follows from this key for one purpose.
    pub(super) fn derive(&self, info: &[&[u8]]) -> Self {
        Self(hkdf(LABEL, &self.0, info))
    }

    /// The key that a connection's exporter gave.
    pub(super) const fn exported(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Bytes that may be known to all, and tell nothing of the key.
    pub(super) fn public<const N: usize>(&self, info: &[&[u8]]) -> [u8; N] {
        hkdf(LABEL, &self.0, info)
    }

    /// The cipher of the one envelope that this key seals. The salt goes into key and nonce: an older copy of the chain,
    /// taken up again, seals another text with the same chain key, but not with the same cipher.
    fn cipher(&self, salt: [u8; SALT]) -> (LessSafeKey, Nonce) {
        let bytes = Zeroizing::new(hkdf::<44>(&salt, &self.0, &[b"envelope"]));
        let (key, nonce) = bytes.split_at(32);
        #[expect(clippy::expect_used, reason = "a key of 32 bytes and a nonce of 12 are what the algorithm takes")]
        let (key, nonce) = (
            UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes"),
            Nonce::try_assume_unique_for_key(nonce).expect("12 bytes"),
        );
        (LessSafeKey::new(key), nonce)
    }

    /// `header ‖ ciphertext ‖ tag`.
    pub(super) fn seal(&self, way: &Way, header: [u8; HEADER], salt: [u8; SALT], text: &[u8]) -> Vec<u8> {
        let (key, nonce) = self.cipher(salt);
        let mut sealed = text.to_vec();
        #[expect(clippy::expect_used, reason = "fails only for texts of 256 GiB")]
        key.seal_in_place_append_tag(nonce, way.vouched(header), &mut sealed).expect("a short text");
        [&header[..], &sealed].concat()
    }

    /// What [`Self::seal`] sealed, if this is the key.
    pub(super) fn open(&self, way: &Way, header: [u8; HEADER], salt: [u8; SALT], sealed: &[u8]) -> Option<Vec<u8>> {
        let (key, nonce) = self.cipher(salt);
        let mut text = sealed.to_vec();
        let length = key.open_in_place(nonce, way.vouched(header), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

/// HKDF's salt for all that is derived from an exported secret.
const LABEL: &[u8] = b"knothole envelope 1";

impl Way {
    fn vouched(&self, header: [u8; HEADER]) -> Aad<Vec<u8>> {
        Aad::from([&header[..], self.from.as_bytes(), self.to.as_bytes()].concat())
    }
}

/// A chain from some index on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Chain {
    key: Key,
    /// The index of the key that comes next.
    pub(super) next: u32,
}

impl Chain {
    pub(super) const fn new(key: Key) -> Self {
        Self { key, next: 0 }
    }

    /// The next key, with its index; the chain does not know it any more. `None` after the last index of all.
    pub(super) fn advance(&mut self) -> Option<(u32, Key)> {
        let index = self.next;
        self.next = index.checked_add(1)?;
        let key = self.key.derive(&[b"message"]);
        self.key = self.key.derive(&[b"chain"]);
        Some((index, key))
    }
}
