//! What is sealed: a message with its place in its author's log, whole or in pieces.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::MAX_SEALED;
use crate::content::Content;
use crate::frames::{MAX_FRAME, MessageId};

/// The version of letters; the first byte of every sealed text.
const VERSION: u8 = 1;
/// What stands before a piece's share of the letter, at its longest: version, log, number, mark, index, count, length.
const AROUND: usize = 1 + 10 + 10 + MARK + 2 + 2 + 2;
/// A letter's mark.
const MARK: usize = 8;
/// A piece's share of the letter.
const SHARE: usize = MAX_SEALED - AROUND;
/// Sealed texts are as long as the next multiple of this, so that lengths tell little of what is written.
const STEP: usize = 64;

/// Pieces of the longest letter.
pub const MAX_PIECES: usize = MAX_FRAME.div_ceil(SHARE);

/// A message, as it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The log of its author.
    pub log: u64,
    /// Its place there.
    pub number: u64,
    /// Its name.
    pub message: MessageId,
    /// When it was written, by its author's clock, in milliseconds since 1970.
    pub at: u64,
    /// What it says.
    pub content: Content,
}

/// A letter's piece, as one envelope holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The letter's log.
    pub log: u64,
    /// The letter's place there.
    pub number: u64,
    /// What tells the letter from others that had its place, before their author changed what they said.
    pub mark: [u8; MARK],
    /// Which piece, from 0.
    pub index: u8,
    /// Of how many: 1 to [`MAX_PIECES`].
    pub count: u8,
    /// Its share of the letter.
    pub share: Vec<u8>,
}

/// Why a sealed text is no letter. Only the contact who sealed it can have made it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLetter {
    /// Of a version that is not known.
    #[error("the letter is of another version: one of the two sides needs an update")]
    Version,
    /// Not to be read, or beyond its bounds.
    #[error("the letter is beyond its bounds")]
    Bounds,
}

impl Letter {
    /// The texts to be sealed, in order: one for each piece.
    #[must_use]
    pub fn to_pieces(&self) -> Vec<Vec<u8>> {
        // Serialising into memory cannot fail.
        let whole = postcard::to_allocvec(self).unwrap_or_default();
        let mark = mark(&whole);
        let count = u8::try_from(whole.chunks(SHARE).len()).unwrap_or(u8::MAX);
        let piece = |(index, share): (u8, &[u8])| {
            let piece = Piece { log: self.log, number: self.number, mark, index, count, share: share.to_vec() };
            let mut text = postcard::to_extend(&piece, vec![VERSION]).unwrap_or_default();
            text.resize(text.len().next_multiple_of(STEP).min(MAX_SEALED), 0);
            text
        };
        (0..).zip(whole.chunks(SHARE)).map(piece).collect()
    }

    /// The letter whose pieces, all of them in order, have this mark and these shares.
    ///
    /// # Errors
    /// [`InvalidLetter`]: together they are none, or not the one that the pieces name.
    pub fn from_shares(log: u64, number: u64, marked: [u8; MARK], shares: &[u8]) -> Result<Self, InvalidLetter> {
        if mark(shares) != marked {
            return Err(InvalidLetter::Bounds);
        }
        match postcard::take_from_bytes::<Self>(shares) {
            Ok((letter, [])) if (letter.log, letter.number) == (log, number) && letter.content.is_within_bounds() => {
                Ok(letter)
            }
            _ => Err(InvalidLetter::Bounds),
        }
    }
}

/// The first bytes of its hash: only its author could make two with the same, and would fool itself.
pub(super) fn mark(whole: &[u8]) -> [u8; MARK] {
    let hash = digest(&SHA256, whole);
    let mut mark = [0; MARK];
    mark.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    mark
}

impl Piece {
    /// Reads what an envelope held.
    ///
    /// # Errors
    /// [`InvalidLetter`].
    pub fn parse(text: &[u8]) -> Result<Self, InvalidLetter> {
        let (version, body) = text.split_first().ok_or(InvalidLetter::Bounds)?;
        if *version != VERSION {
            return Err(InvalidLetter::Version);
        }
        // What follows it is there for the length alone.
        let (piece, _) = postcard::take_from_bytes::<Self>(body).map_err(|_| InvalidLetter::Bounds)?;
        let last = usize::from(piece.index) + 1 == usize::from(piece.count);
        let full = piece.share.len() == SHARE || (last && (1..=SHARE).contains(&piece.share.len()));
        let sound = piece.index < piece.count && usize::from(piece.count) <= MAX_PIECES && piece.number > 0;
        if sound && full { Ok(piece) } else { Err(InvalidLetter::Bounds) }
    }
}
