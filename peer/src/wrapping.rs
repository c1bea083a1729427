//! A key wrapped under a passphrase, as the home's `key` file and the head of a backup hold it.
//!
//! ```text
//! magic (16) │ argon2id: memory in KiB (u32), passes (u32), lanes (u32), salt (16) │ sealed key (12 + 32 + 16) │ checksum (8)
//! ```
//! All before the sealed key is authenticated with it. The checksum, of SHA-256, only tells a damaged file from a wrong
//! passphrase. Numbers are big-endian.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::digest;
use knothole_vault::Key;
use zeroize::Zeroizing;

/// Bytes of a wrapped key.
pub(crate) const WRAPPED: usize = HEAD + SEALED + CHECKSUM;

const MAGIC: usize = 16;
const SALT: usize = 16;
const HEAD: usize = MAGIC + 12 + SALT;
const SEALED: usize = 12 + 32 + 16;
const CHECKSUM: usize = 8;

/// What a guess costs: 64 MiB and three passes, RFC 9106's second recommendation with one lane; a quarter of a second on a small
/// machine. Tests guess more often than people.
const MEMORY_KIB: u32 = if cfg!(test) { 64 } else { 64 * 1024 };
const PASSES: u32 = if cfg!(test) { 1 } else { 3 };
const LANES: u32 = 1;

/// The most that a file may demand, or a made-up one could use up a machine.
const MOST_MEMORY_KIB: u32 = 4 * 1024 * 1024;
const MOST_PASSES: u32 = 1000;

/// Why a key was not wrapped or unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrapError {
    /// The bytes are no wrapped key, or damaged.
    Damaged,
    /// The passphrase is another.
    WrongPassphrase,
    /// There is not the memory that it takes.
    Memory,
    /// The system has no random numbers to give.
    Randomness,
}

/// A new random key.
pub(crate) fn random_key() -> Result<Key, WrapError> {
    let mut bytes = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| WrapError::Randomness)?;
    Ok(Key::new(*bytes))
}

/// Wraps `key` under a passphrase. The magic says what it is for.
pub(crate) fn wrap(magic: [u8; MAGIC], key: &Key, passphrase: &str) -> Result<Vec<u8>, WrapError> {
    let mut salt = [0; SALT];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| WrapError::Randomness)?;
    let mut wrapped = magic.to_vec();
    for number in [MEMORY_KIB, PASSES, LANES] {
        wrapped.extend_from_slice(&number.to_be_bytes());
    }
    wrapped.extend_from_slice(&salt);
    let outer = stretched(passphrase, &wrapped)?;
    let sealed = outer.seal("wrapping", &wrapped, key.bytes()).ok_or(WrapError::Randomness)?;
    wrapped.extend_from_slice(&sealed);
    wrapped.extend_from_slice(&checksum(&wrapped));
    Ok(wrapped)
}

/// The key that was wrapped.
pub(crate) fn unwrap(magic: [u8; MAGIC], wrapped: &[u8], passphrase: &str) -> Result<Key, WrapError> {
    let (content, sum) = wrapped.split_at_checked(WRAPPED - CHECKSUM).ok_or(WrapError::Damaged)?;
    if sum != checksum(content) || !content.starts_with(&magic) {
        return Err(WrapError::Damaged);
    }
    let (head, sealed) = content.split_at(HEAD);
    let opened = stretched(passphrase, head)?.open("wrapping", head, sealed).ok_or(WrapError::WrongPassphrase)?;
    let bytes: [u8; 32] = opened.as_slice().try_into().map_err(|_| WrapError::Damaged)?;
    Ok(Key::new(bytes))
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&digest::digest(&digest::SHA256, content).as_ref()[..CHECKSUM]);
    sum
}

/// The key that a passphrase makes, with the numbers and the salt of this head.
fn stretched(passphrase: &str, head: &[u8]) -> Result<Key, WrapError> {
    let number = |at: usize| head.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
    let (memory, passes, lanes) = (number(MAGIC), number(MAGIC + 4), number(MAGIC + 8));
    if memory > MOST_MEMORY_KIB || passes > MOST_PASSES || lanes > 64 {
        return Err(WrapError::Damaged);
    }
    let parameters = Params::new(memory, passes, lanes, Some(32)).map_err(|_| WrapError::Damaged)?;
    let mut stretched = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(passphrase.as_bytes(), &head[MAGIC + 12..HEAD], &mut *stretched)
        .map_err(|_| WrapError::Memory)?;
    Ok(Key::new(*stretched))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: [u8; 16] = *b"a test, here  1\n";

    #[test]
    fn a_key_comes_out_with_the_passphrase_and_the_purpose_that_it_went_in_with() {
        let key = random_key().unwrap();
        let wrapped = wrap(HERE, &key, "right").unwrap();
        assert_eq!(wrapped.len(), WRAPPED);
        assert_eq!(unwrap(HERE, &wrapped, "right").unwrap().bytes(), key.bytes());
        assert_eq!(unwrap(HERE, &wrapped, "wrong").unwrap_err(), WrapError::WrongPassphrase);
        assert_eq!(unwrap(*b"a test, there 1\n", &wrapped, "right").unwrap_err(), WrapError::Damaged);
        assert_ne!(wrap(HERE, &key, "right").unwrap(), wrapped);
    }

    #[test]
    fn damage_is_no_wrong_passphrase() {
        let wrapped = wrap(HERE, &random_key().unwrap(), "right").unwrap();
        for at in 0..WRAPPED {
            let mut damaged = wrapped.clone();
            damaged[at] ^= 1;
            assert_eq!(unwrap(HERE, &damaged, "right").unwrap_err(), WrapError::Damaged, "{at}");
            assert_eq!(unwrap(HERE, &wrapped[..at], "right").unwrap_err(), WrapError::Damaged, "{at}");
        }
    }

    #[test]
    fn a_file_that_demands_a_whole_machine_is_damaged() {
        let mut wrapped = wrap(HERE, &random_key().unwrap(), "right").unwrap();
        wrapped[MAGIC..MAGIC + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        let sum = checksum(&wrapped[..WRAPPED - CHECKSUM]);
        wrapped[WRAPPED - CHECKSUM..].copy_from_slice(&sum);
        assert_eq!(unwrap(HERE, &wrapped, "right").unwrap_err(), WrapError::Damaged);
    }
}
