//! A home under a passphrase: its key, and its identity sealed with it. That it has a `key` file is what makes a home sealed; what
//! else lies in it of the other form, plain or sealed, is left over from a change that was broken off (see `passphrase`).

use std::fs;
use std::io;

use knothole_vault::Key;

use super::{Home, HomeError};
use crate::wrapping::{self, WrapError};

/// The key, wrapped.
pub(crate) const KEY: &str = "key";
/// The identity, sealed.
pub(crate) const IDENTITY: &str = "identity.sealed";

const MAGIC: [u8; 16] = *b"knothole key  1\n";

impl Home {
    /// Whether it is under a passphrase.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.path.join(KEY).exists()
    }

    /// Opens a home that is under a passphrase, for this handle and its clones. For others there is nothing to do.
    ///
    /// # Errors
    /// [`HomeError::WrongPassphrase`], [`HomeError::Key`], [`HomeError::Memory`] or [`HomeError::File`].
    pub fn unlock(&mut self, passphrase: &str) -> Result<(), HomeError> {
        let path = self.path.join(KEY);
        match fs::read(&path) {
            Ok(wrapped) => {
                let key = wrapping::unwrap(MAGIC, &wrapped, passphrase);
                self.key = Some(key.map_err(|error| self.not_wrapped(error))?);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(HomeError::File { path, source }),
        }
    }

    /// The key, of a sealed home that is open; `None`: it is not sealed.
    ///
    /// # Errors
    /// [`HomeError::Locked`].
    pub fn key(&self) -> Result<Option<&Key>, HomeError> {
        match &self.key {
            None if self.is_sealed() => Err(HomeError::Locked(self.path.clone())),
            key => Ok(key.as_ref()),
        }
    }

    /// Puts the key under a passphrase. From then on the home is sealed.
    pub(crate) fn put_key(&mut self, key: Key, passphrase: &str) -> Result<(), HomeError> {
        let wrapped = wrapping::wrap(MAGIC, &key, passphrase).map_err(|error| self.not_wrapped(error))?;
        self.put(KEY, &wrapped)?;
        self.key = Some(key);
        Ok(())
    }

    /// It is sealed no longer.
    pub(crate) fn forget_key(&mut self) {
        self.key = None;
    }

    pub(crate) fn put_sealed_identity(&self, key: &Key, secret: &[u8]) -> Result<(), HomeError> {
        let sealed = key.seal("identity", &[], secret).ok_or(HomeError::Randomness)?;
        self.put(IDENTITY, &sealed)
    }

    /// The secret of a sealed identity.
    pub(super) fn sealed_identity(&self, key: &Key) -> Result<[u8; 32], HomeError> {
        let path = self.path.join(IDENTITY);
        let sealed = fs::read(&path).map_err(|source| HomeError::File { path: path.clone(), source })?;
        let opened = key.open("identity", &[], &sealed).and_then(|secret| secret.as_slice().try_into().ok());
        opened.ok_or(HomeError::SealedIdentity(path))
    }

    fn not_wrapped(&self, error: WrapError) -> HomeError {
        match error {
            WrapError::Damaged => HomeError::Key(self.path.join(KEY)),
            WrapError::WrongPassphrase => HomeError::WrongPassphrase,
            WrapError::Memory => HomeError::Memory,
            WrapError::Randomness => HomeError::Randomness,
        }
    }
}
