//! Public keys, the names by which peers and rendezvous are known.

use std::fmt;
use std::str::FromStr;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};

/// An Ed25519 public key (RFC 8032), 32 bytes. Its text is lower-case RFC 4648 base32 without padding: 52 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublicKey([u8; 32]);

/// The public key by which a peer is known.
pub type PeerId = PublicKey;

/// Why a text is not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key is 52 characters of a-z and 2-7")]
pub struct InvalidKey;

impl PublicKey {
    /// Takes the 32 bytes of an Ed25519 public key. Whether they are a point of the curve is for TLS to find out.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first ten characters of the text: enough for a person to tell contacts apart, not to trust them.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32_text(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = base32().decode(text.as_bytes()).map_err(|_| InvalidKey)?;
        Ok(Self(bytes.try_into().map_err(|_| InvalidKey)?))
    }
}

/// Lower-case RFC 4648 base32 without padding: how every key and id is written.
#[must_use]
pub fn base32_text(bytes: &[u8]) -> String {
    base32().encode(bytes)
}

/// Reads what [`base32_text`] writes.
///
/// # Errors
/// The text holds other characters, or stray bits at its end.
pub fn base32_bytes(text: &str) -> Result<Vec<u8>, InvalidKey> {
    base32().decode(text.as_bytes()).map_err(|_| InvalidKey)
}

fn base32() -> &'static Encoding {
    static ENCODING: std::sync::OnceLock<Encoding> = std::sync::OnceLock::new();
    ENCODING.get_or_init(|| {
        let mut specification = Specification::new();
        specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        #[expect(clippy::expect_used, reason = "the alphabet is the constant above; a test encodes with it")]
        specification.encoding().expect("32 distinct symbols are an encoding")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_52_lower_case_characters_and_reads_back() {
        let key = PublicKey::new(std::array::from_fn(|i| (i * 7) as u8));
        let text = key.to_string();
        assert_eq!(text.len(), 52);
        assert!(text.bytes().all(|c| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c)));
        assert_eq!(text.parse(), Ok(key));
    }

    #[test]
    fn texts_of_another_length_alphabet_or_with_stray_bits_are_refused() {
        let text = PublicKey::new([0; 32]).to_string();
        for wrong in ["", &text[1..], &text.to_uppercase(), &text.replace('a', "1"), &format!("{}b", &text[..51])] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(InvalidKey), "{wrong}");
        }
    }
}
