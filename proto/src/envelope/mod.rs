//! Envelopes: what one contact seals for the other while no connection joins them, with keys that both took from their
//! last one. Layout: docs/protocol.md, "Envelope".
//!
//! Each connection gives an [`Epoch`]: a name, and a chain of keys for each direction. A key seals one envelope, and
//! moving the chain on forgets it, so that whoever gets hold of a chain reads nothing that was sealed before. The next
//! connection gives chains that have nothing to do with these, so that it reads nothing after that either.
//!
//! What is not here: where chains are kept (the owner's, who must store a chain that has moved before it lets an envelope
//! out, or shows what was in one), how an envelope travels, and who wrote it beyond "who shared that connection".

mod epoch;
mod keys;
mod letter;
#[cfg(test)]
mod tests;

pub use epoch::{Epoch, MAX_SKIPPED, Receiving, Sending, Unopened};
pub use letter::{InvalidLetter, Letter, MAX_PIECES, Piece};

use crate::identity::PeerId;

/// The label under which the two sides of a connection export the secret of its epoch (RFC 8446, section 7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-knothole-envelope";

/// Bytes of an epoch's name.
pub const NAME: usize = 8;
/// Bytes of an envelope's salt.
pub const SALT: usize = 12;
/// An envelope begins with its epoch's name, the key's index in its chain (big-endian) and a salt.
pub const HEADER: usize = NAME + 4 + SALT;
/// What Poly1305 adds.
const TAG: usize = 16;

/// The longest text that fits an envelope.
pub const MAX_SEALED: usize = crate::control::MAX_ENVELOPE - HEADER - TAG;

/// By what an envelope's epoch is found; looks random to all but the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct EpochName(pub [u8; NAME]);

impl EpochName {
    /// The epoch that an envelope names; `None` if it is too short to be one.
    #[must_use]
    pub fn of(envelope: &[u8]) -> Option<Self> {
        (envelope.len() >= HEADER + TAG).then(|| envelope.first_chunk().copied().map(Self)).flatten()
    }
}

/// Who seals for whom: part of what an envelope's tag vouches for.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// The one who seals.
    pub from: PeerId,
    /// The one who opens.
    pub to: PeerId,
}
