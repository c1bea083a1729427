//! Whether a contact is who it is taken for: what two people compare, by ear or by camera. The threat and the figures stand in
//! docs/security.md, "Is it really them?".
//!
//! Ten words, five for each key, the same on both sides. They are no hash of the two keys together: somebody between the two could
//! then search on both sides at once, and would need the root of the work. Each half is Argon2id of one key with the other as
//! salt, so that every guess costs 64 MiB and a fraction of a second, for this one pair of people and no other.

use argon2::{Algorithm, Argon2, Params, Version};

use crate::identity::PeerId;
use crate::words::{BITS, word};

/// Words for each of the two keys: 55 bits.
pub const WORDS_EACH: usize = 5;

/// What [`text`] begins with.
const SCHEME: &str = "knothole-verify:";

/// The second choice of RFC 9106, section 4, for one lane: 64 MiB, three times through.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;

/// The words that both of these peers see: those of the smaller id's key first. Takes some tenths of a second and 64 MiB.
///
/// `None` where there is no such memory to be had.
#[must_use]
pub fn words(one: &PeerId, other: &PeerId) -> Option<Vec<&'static str>> {
    let (first, second) = (one.min(other), one.max(other));
    Some([half(first, second)?, half(second, first)?].concat())
}

/// The words of `key` among those of the pair.
fn half(key: &PeerId, other: &PeerId) -> Option<Vec<&'static str>> {
    let parameters = Params::new(MEMORY_KIB, PASSES, 1, Some(size_of::<u64>())).ok()?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    let salt = [b"knothole words 1".as_slice(), other.as_bytes()].concat();
    let mut hash = [0; size_of::<u64>()];
    argon.hash_password_into(key.as_bytes(), &salt, &mut hash).ok()?;
    let hash = u64::from_be_bytes(hash);
    // The lowest eleven bits of what is left count.
    Some((0..WORDS_EACH).map(|n| word((hash >> (n as u32 * BITS)) as u16)).collect())
}

/// What `me` shows as a QR code to `other`: both whole keys.
#[must_use]
pub fn text(me: &PeerId, other: &PeerId) -> String {
    format!("{SCHEME}{me}?for={other}")
}

/// Why a text does not show that a contact is who it is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It is none of these texts.
    #[error("that is no text of `knothole verify --qr`; it begins with {SCHEME}")]
    NotOne,
    /// It was made for talking to somebody else.
    #[error(
        "their key is right, but that text was made for another key than yours: if they ran `knothole verify` with your name, \
         SOMEBODY ELSE ANSWERS THEM UNDER IT"
    )]
    NotForUs,
    /// It shows another key than the contact's.
    #[error("THE KEYS DIFFER: whoever shows that text is not the one who answers under this name")]
    AnotherKey,
}

/// Checks what `other` shows to `me`.
///
/// # Errors
/// [`Mismatch`].
pub fn check(shown: &str, me: &PeerId, other: &PeerId) -> Result<(), Mismatch> {
    let rest = shown.trim().strip_prefix(SCHEME).ok_or(Mismatch::NotOne)?;
    let (by, made_for) = rest.split_once("?for=").ok_or(Mismatch::NotOne)?;
    let [by, made_for] = [by, made_for].map(str::parse::<PeerId>);
    let (Ok(by), Ok(made_for)) = (by, made_for) else { return Err(Mismatch::NotOne) };
    if by != *other {
        return Err(Mismatch::AnotherKey);
    }
    // Their key is right, but what they hold for ours is not.
    if made_for == *me { Ok(()) } else { Err(Mismatch::NotForUs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> [PeerId; 3] {
        [1, 2, 3].map(|n| PeerId::new([n; 32]))
    }

    #[test]
    fn both_sides_see_the_same_words_and_with_anybody_else_all_others() {
        let [alice, bob, mallory] = peers();
        let here = words(&alice, &bob).unwrap();
        assert_eq!(here.len(), 2 * WORDS_EACH);
        assert_eq!(words(&bob, &alice).unwrap(), here);
        let between = words(&alice, &mallory).unwrap();
        assert!(here.iter().zip(&between).all(|(one, other)| one != other), "{here:?} {between:?}");
    }

    #[test]
    fn the_words_of_two_keys_never_change() {
        let [alice, bob, _] = peers();
        assert_eq!(
            words(&alice, &bob).unwrap().join(" "),
            "visual kite apology shield chat portion level tape traffic almost"
        );
    }

    #[test]
    fn the_text_of_the_other_side_is_accepted_and_no_other() {
        let [alice, bob, mallory] = peers();
        assert_eq!(check(&text(&bob, &alice), &alice, &bob), Ok(()));
        assert_eq!(check(&format!(" {}\n", text(&bob, &alice)), &alice, &bob), Ok(()));
        assert_eq!(check(&text(&mallory, &alice), &alice, &bob), Err(Mismatch::AnotherKey));
        assert_eq!(check(&text(&alice, &bob), &alice, &bob), Err(Mismatch::AnotherKey), "one's own");
        assert_eq!(check(&text(&bob, &mallory), &alice, &bob), Err(Mismatch::NotForUs));
        for other in ["", "knothole:x", "knothole-verify:x?for=y", &text(&bob, &alice)[..100]] {
            assert_eq!(check(other, &alice, &bob), Err(Mismatch::NotOne), "{other}");
        }
    }
}
