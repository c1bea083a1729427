//! The master key, and the keys of the two kinds of files.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
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

    /// A key for one purpose, from which neither this one nor another purpose's follows; there is always one: HKDF-SHA256 gives
    /// 32 bytes for any purpose.
    fn derive(&self, purpose: &'static str) -> Option<Zeroizing<[u8; LENGTH]>> {
        let mut derived = Zeroizing::new([0; LENGTH]);
        let salt = Salt::new(HKDF_SHA256, b"knothole vault 1");
        salt.extract(&*self.0).expand(&[purpose.as_bytes()], Bytes).ok()?.fill(&mut *derived).ok()?;
        Some(derived)
    }

    /// Seals a few bytes that are no page, for one purpose: nonce, ciphertext, tag. The `context` is authenticated with them.
    /// `None`: the system has no random numbers.
    #[must_use]
    pub fn seal(&self, purpose: &'static str, context: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut content = Zeroizing::new(bytes.to_vec());
        let cipher = self.cipher(purpose)?;
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        let tag = cipher.seal_in_place_separate_tag(nonce_used, Aad::from(context), &mut content).ok()?;
        Some([&nonce, content.as_slice(), tag.as_ref()].concat())
    }

    /// Opens what [`seal`](Self::seal) made. `None`: it is damaged, or of another key, purpose or context.
    #[must_use]
    pub fn open(&self, purpose: &'static str, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, content) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = Zeroizing::new(content.to_vec());
        let length = self.cipher(purpose)?.open_in_place(nonce, Aad::from(context), &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_open_with_their_key_purpose_and_context_alone() {
        let key = Key::new([1; 32]);
        let sealed = key.seal("identity", b"here", b"secret").unwrap();
        assert_eq!(key.open("identity", b"here", &sealed).as_deref().map(Vec::as_slice), Some(b"secret".as_slice()));
        assert!(key.open("identity", b"there", &sealed).is_none());
        assert!(key.open("another", b"here", &sealed).is_none());
        assert!(Key::new([2; 32]).open("identity", b"here", &sealed).is_none());
        for cut in 0..sealed.len() {
            assert!(key.open("identity", b"here", &sealed[..cut]).is_none());
        }
        assert_ne!(sealed, key.seal("identity", b"here", b"secret").unwrap());
    }
}
