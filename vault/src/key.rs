//! The master key, and the keys of the two kinds of files.

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// Bytes of a key.
const LENGTH: usize = 32;

/// The master key of a home: random, wiped from memory when it is dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; LENGTH]>);

impl Key {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; LENGTH]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, to be wrapped.
    #[must_use]
    pub fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// A key for one purpose, from which neither this one nor another purpose's follows.
    ///
    /// # Errors
    /// None in practice: HKDF gives 32 bytes for any purpose.
    pub fn derive(&self, purpose: &'static str) -> Option<Zeroizing<[u8; LENGTH]>> {
        let mut derived = Zeroizing::new([0; LENGTH]);
        let salt = Salt::new(HKDF_SHA256, b"knothole vault 1");
        salt.extract(&*self.0).expand(&[purpose.as_bytes()], Bytes).ok()?.fill(&mut *derived).ok()?;
        Some(derived)
    }

    /// The same as what seals and opens.
    pub(crate) fn cipher(&self, purpose: &'static str) -> Option<LessSafeKey> {
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*self.derive(purpose)?).ok()?))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

struct Bytes;

impl KeyType for Bytes {
    fn len(&self) -> usize {
        LENGTH
    }
}
