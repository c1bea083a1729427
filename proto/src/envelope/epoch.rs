//! What one connection gives for the time after it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::keys::{Chain, Key};
use super::{EpochName, HEADER, MAX_SEALED, NAME, SALT, TAG, Way};
use crate::control::MAX_ENVELOPE;
use crate::identity::PeerId;

/// Keys kept for envelopes that others have overtaken; more than a mailbox holds of one sender. Whoever skips further has
/// lost as many letters, and its next connection gives an epoch without holes.
pub const MAX_SKIPPED: usize = 256;

/// What follows from one connection's secret: the same on both sides, directions swapped.
#[derive(Debug)]
pub struct Epoch {
    /// By what its envelopes are known.
    pub name: EpochName,
    /// For what we seal.
    pub sending: Sending,
    /// For what the other side seals.
    pub receiving: Receiving,
}

/// The chain with which one side seals.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sending(Chain);

/// The chain with which the other side opens, and the keys that it has passed over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Receiving {
    chain: Chain,
    skipped: BTreeMap<u32, Key>,
}

/// Why an envelope stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Too short, too long, or of another epoch.
    #[error("it is no envelope of this epoch")]
    Foreign,
    /// Its key has been used and forgotten.
    #[error("it has been opened before")]
    Spent,
    /// More than [`MAX_SKIPPED`] envelopes would have to be missing before it.
    #[error("too many before it are missing")]
    TooFar,
    /// Damaged, forged, or sealed for somebody else.
    #[error("it is damaged or not meant for us")]
    Damaged,
}

impl Epoch {
    /// The epoch of a connection between `me` and `peer`, whose exporter gave `secret` under
    /// [`EXPORTER_LABEL`](super::EXPORTER_LABEL).
    #[must_use]
    pub fn new(secret: [u8; 32], me: &PeerId, peer: &PeerId) -> Self {
        let (secret, ids) = (Key::exported(secret), [me.min(peer).as_bytes(), me.max(peer).as_bytes()]);
        let derive = |what: &[u8]| secret.derive(&[what, ids[0], ids[1]]);
        let (up, down) = (Chain::new(derive(b"from the smaller id")), Chain::new(derive(b"from the greater id")));
        let (ours, theirs) = if me < peer { (up, down) } else { (down, up) };
        Self {
            name: EpochName(secret.public(&[b"name", ids[0], ids[1]])),
            sending: Sending(ours),
            receiving: Receiving { chain: theirs, skipped: BTreeMap::new() },
        }
    }
}

impl Sending {
    /// Seals a text of at most [`MAX_SEALED`] bytes with the next key, which is forgotten: the chain as it is afterwards
    /// must be in durable storage before the envelope is let out. `salt` is fresh chance. `None` if the text is too long,
    /// or no key is left.
    pub fn seal(&mut self, name: EpochName, way: &Way, salt: [u8; SALT], text: &[u8]) -> Option<Vec<u8>> {
        if text.len() > MAX_SEALED {
            return None;
        }
        let (index, key) = self.0.advance()?;
        let mut header = [0; HEADER];
        header[..NAME].copy_from_slice(&name.0);
        header[NAME..NAME + 4].copy_from_slice(&index.to_be_bytes());
        header[NAME + 4..].copy_from_slice(&salt);
        Some(key.seal(way, header, salt, text))
    }

    /// As it is kept.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Serialising into memory cannot fail.
        Zeroizing::new(postcard::to_allocvec(self).unwrap_or_default())
    }

    /// As it was kept; `None` if these bytes are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

impl Receiving {
    /// Opens an envelope of the epoch `name`, once: its key is forgotten. The chain as it is afterwards, and what was in the
    /// envelope, must be in durable storage before anybody is told.
    ///
    /// # Errors
    /// [`Unopened`]; then nothing has changed.
    pub fn open(&mut self, name: EpochName, way: &Way, envelope: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (header, sealed) = envelope.split_first_chunk::<HEADER>().ok_or(Unopened::Foreign)?;
        let named = EpochName::of(envelope) == Some(name);
        if !named || envelope.len() > MAX_ENVELOPE || sealed.len() < TAG {
            return Err(Unopened::Foreign);
        }
        let (index, salt) = place(header);
        if index < self.chain.next {
            let key = self.skipped.get(&index).ok_or(Unopened::Spent)?;
            let text = key.open(way, *header, salt, sealed).ok_or(Unopened::Damaged)?;
            self.skipped.remove(&index);
            return Ok(text);
        }
        if (index - self.chain.next) as usize > MAX_SKIPPED {
            return Err(Unopened::TooFar);
        }
        // Nobody but the other side may move the chain, so it moves only if the envelope opens.
        let (mut chain, mut passed) = (self.chain.clone(), Vec::new());
        let key = loop {
            match chain.advance().ok_or(Unopened::TooFar)? {
                (at, key) if at == index => break key,
                skipped => passed.push(skipped),
            }
        };
        let text = key.open(way, *header, salt, sealed).ok_or(Unopened::Damaged)?;
        self.chain = chain;
        self.skipped.extend(passed);
        while self.skipped.len() > MAX_SKIPPED {
            self.skipped.pop_first();
        }
        Ok(text)
    }

    /// As it is kept.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Serialising into memory cannot fail.
        Zeroizing::new(postcard::to_allocvec(self).unwrap_or_default())
    }

    /// As it was kept; `None` if these bytes are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// The key's index and the salt.
fn place(header: &[u8; HEADER]) -> (u32, [u8; SALT]) {
    let (mut index, mut salt) = ([0; 4], [0; SALT]);
    index.copy_from_slice(&header[NAME..NAME + 4]);
    salt.copy_from_slice(&header[NAME + 4..]);
    (u32::from_be_bytes(index), salt)
}
