//! Putting a home under a passphrase, and taking it away again.
//!
//! A home is sealed when it has a `key` file, and plain when it has none: that file's coming and going is the one moment at which
//! a change happens. Before it, all is written in the new form beside the old and synced; after it, the old is overwritten and
//! removed. Whenever this is broken off, the home is whole in the form that `key` says, and [`tidy`] removes what is left of
//! the other when the home is used next.
//!
//! What it cannot do: make a disk forget that keeps old versions by itself, as flash memory and some file systems do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use knothole_vault::Refused;
use zeroize::Zeroizing;

use crate::home::{EngineLock, Home, HomeError, IDENTITY, IMPORT, KEY};
use crate::store::{self, FILE, OpenError, SEALED_FILE};
use crate::wrapping;

/// A passphrase, wiped from memory when it is dropped, and never shown.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase as it was typed.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// What was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// What a plain home has of its own.
const PLAIN: [&str; 7] =
    ["identity", "identity.new", FILE, "knothole.db-wal", "knothole.db-shm", "knothole.db-journal", "knothole.empty"];
/// What a sealed one has beside its key.
const SEALED: [&str; 7] =
    [IDENTITY, "identity.sealed.new", SEALED_FILE, "knothole.sealed-wal", "knothole.sealed.new", OLD_KEY, "key.new"];
/// A key that is not used any more.
const OLD_KEY: &str = "key.old";

/// Why a passphrase was not set, changed or removed. Everything is as before.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The home's own files cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is one already.
    #[error("this home has a passphrase already; `knothole passphrase change` gives it another")]
    AlreadySet,
    /// There is none.
    #[error("this home has no passphrase; `knothole passphrase set` gives it one")]
    NotSet,
    /// An empty one protects nothing.
    #[error("the passphrase is empty; choose some words that nobody else would")]
    Empty,
    /// The database cannot be sealed.
    #[error("{} cannot be sealed as it is; `knothole check` tells what is wrong with it", .0.display())]
    Unfit(PathBuf),
    /// A file cannot be read, written or removed.
    #[error("cannot use {}: {source}; the home is whole as it was before, free some space and try again", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Whether this can be a passphrase, before anything is done that would be of no use without.
///
/// # Errors
/// [`PassphraseError::Empty`].
pub const fn check(passphrase: &str) -> Result<(), PassphraseError> {
    if passphrase.is_empty() { Err(PassphraseError::Empty) } else { Ok(()) }
}

/// Puts a plain home under a passphrase: encrypts all that it holds.
///
/// # Errors
/// [`PassphraseError`].
pub fn set(home: &mut Home, lock: &EngineLock, passphrase: &str) -> Result<(), PassphraseError> {
    set_in_steps(home, lock, passphrase, |_| {})
}

/// Gives a sealed home that is open another passphrase. The key, and so all that is sealed with it, stays.
///
/// # Errors
/// [`PassphraseError`].
pub fn change(home: &mut Home, passphrase: &str) -> Result<(), PassphraseError> {
    check(passphrase)?;
    let key = home.key()?.ok_or(PassphraseError::NotSet)?.clone();
    Ok(home.put_key(key, passphrase)?)
}

/// Makes a sealed home that is open plain again.
///
/// # Errors
/// [`PassphraseError`].
pub fn remove(home: &mut Home, lock: &EngineLock) -> Result<(), PassphraseError> {
    remove_in_steps(home, lock, |_| {})
}

/// Removes what a change of form that was broken off has left behind. The caller holds the engine's lock.
///
/// # Errors
/// [`HomeError::File`].
pub fn tidy(home: &Home) -> Result<(), HomeError> {
    let there = |name: &str| home.path().join(name).exists();
    if home.is_sealed() || there("identity") {
        // A restored home is whole once it has an identity.
        let _ = fs::remove_dir_all(home.path().join(IMPORT));
    }
    let tidied = if home.is_sealed() {
        // Only what has its sealed counterpart is left over.
        if there(IDENTITY) && there(SEALED_FILE) { erase(home.path(), &PLAIN) } else { Ok(()) }
    } else if there("identity") {
        erase(home.path(), &SEALED)
    } else {
        Ok(())
    };
    tidied.map_err(|(path, source)| HomeError::File { path, source })
}

fn set_in_steps(
    home: &mut Home,
    _lock: &EngineLock,
    passphrase: &str,
    mut step: impl FnMut(&Home),
) -> Result<(), PassphraseError> {
    if home.is_sealed() {
        return Err(PassphraseError::AlreadySet);
    }
    check(passphrase)?;
    let key = wrapping::random_key().map_err(|_| HomeError::Randomness)?;
    let identity = home.identity()?;
    store::bring_to_rest(home)?;
    step(home);
    home.put_sealed_identity(&key, identity.as_bytes())?;
    step(home);
    let path = home.path().join(FILE);
    knothole_vault::seal(&path, &home.path().join(SEALED_FILE), &key).map_err(|refused| failed(path, refused))?;
    step(home);
    home.put_key(key, passphrase)?;
    step(home);
    tidy(home)?;
    step(home);
    Ok(())
}

fn remove_in_steps(home: &mut Home, _lock: &EngineLock, mut step: impl FnMut(&Home)) -> Result<(), PassphraseError> {
    let key = home.key()?.ok_or(PassphraseError::NotSet)?.clone();
    let identity = home.identity()?;
    store::bring_to_rest(home)?;
    step(home);
    let path = home.path().join(SEALED_FILE);
    knothole_vault::unseal(&path, &home.path().join(FILE), &key).map_err(|refused| failed(path, refused))?;
    step(home);
    home.put("identity", identity.as_bytes())?;
    step(home);
    let (path, old) = (home.path().join(KEY), home.path().join(OLD_KEY));
    let removed = fs::rename(&path, old).and_then(|()| File::open(home.path())?.sync_all());
    removed.map_err(|source| PassphraseError::Disk { path, source })?;
    home.forget_key();
    step(home);
    tidy(home)?;
    step(home);
    Ok(())
}

fn failed(path: PathBuf, refused: Refused) -> PassphraseError {
    match refused {
        Refused::Disk(source) => PassphraseError::Disk { path, source },
        Refused::Unfit => PassphraseError::Unfit(path),
        Refused::Damaged => PassphraseError::Open(OpenError::Damaged(path)),
    }
}

/// Overwrites files, as many as there are, and removes them.
fn erase(directory: &Path, names: &[&str]) -> Result<(), (PathBuf, io::Error)> {
    let mut erased = false;
    for name in names {
        let path = directory.join(name);
        match overwrite(&path).and_then(|()| fs::remove_file(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => erased |= done.map_err(|error| (path, error)).map(|()| true)?,
        }
    }
    // Each start comes here, and rarely finds anything.
    if !erased {
        return Ok(());
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| (directory.to_owned(), error))
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let zeros = vec![0; 64 * 1024];
    let mut left = file.metadata()?.len();
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..length])?;
        left -= length as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests;
