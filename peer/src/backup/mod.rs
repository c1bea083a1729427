//! A backup: all of a home in one encrypted file, and a home made of one.
//!
//! In it lie, one after the other: the format's version, the identity, the length of config.toml and that, and the database, page
//! by page, as it was at one moment. `chunks` draws how they are sealed, under a passphrase of their own.
//!
//! A home that is made of a backup is an older one come back. So that nothing is lost or doubled, each of its conversations
//! begins a new log (what it numbered after the backup it does not know), and no key that may have been used since is used again:
//! those of letters are forgotten.
//!
//! An import that fails or is broken off leaves a home that is nobody (see `placing`).
//!
//! What it does not do: it merges nothing into a home that is somebody already.

mod chunks;
mod placing;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::home::{EngineLock, Home, HomeError};
use crate::store::{self, FILE, OpenError, Snapshot, StoreError};
use crate::wrapping::{self, WRAPPED, WrapError};
use chunks::{Opening, Sealing};

const MAGIC: [u8; 16] = *b"knothole copy 1\n";
/// The format of what is inside.
const FORMAT: u8 = 1;
/// Bytes of a config.toml at most.
const MAX_CONFIGURATION: usize = 1024 * 1024;

/// Why there is no backup, or none was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An empty passphrase protects nothing.
    #[error("the passphrase of the backup is empty; choose some words that nobody else would")]
    Empty,
    /// Something else lies where the backup should go.
    #[error("{} exists and is no backup; choose another name", .0.display())]
    Occupied(PathBuf),
    /// The file cannot be written.
    #[error("cannot write {}: {source}; free some space there, or choose another place", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}; check its name, and that it belongs to you", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is none of ours, or not as it was written.
    #[error("{} is no backup, or is damaged or cut short; nothing was restored, use another copy of it", .0.display())]
    Damaged(PathBuf),
    /// The backup is of a later version.
    #[error("{} was made by a newer Knothole; install that, and import it then", .0.display())]
    Newer(PathBuf),
    /// The backup is under another passphrase.
    #[error("wrong passphrase for this backup; nothing was restored, try again")]
    WrongPassphrase,
    /// There is not the memory to try a passphrase.
    #[error("there is not enough memory to try the passphrase; close other programs, and try again")]
    Memory,
    /// The home is somebody already.
    #[error(
        "{} is in use: it holds an identity or messages, which would be lost; restore into an empty home, with --home DIR",
        .0.display()
    )]
    InUse(PathBuf),
}

impl BackupError {
    /// A word for programs that ask for a backup; what only a restoration meets has none of its own.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "backup-passphrase",
            Self::Occupied(_) => "backup-occupied",
            Self::Write { .. } => "backup-unwritable",
            _ => "backup-failed",
        }
    }
}

/// Writes a backup of `home`, whose database `snapshot` is, to `path`, in the place of an earlier backup. Blocks.
///
/// # Errors
/// [`BackupError`]; an earlier backup is then as it was.
pub fn export(home: &Home, snapshot: Snapshot, path: &Path, passphrase: &str) -> Result<(), BackupError> {
    if passphrase.is_empty() {
        return Err(BackupError::Empty);
    }
    if path.exists() && !is_backup(path) {
        return Err(BackupError::Occupied(path.to_owned()));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let draft = PathBuf::from(name);
    let written = write(home, snapshot, &draft, passphrase).and_then(|()| {
        let placed = fs::rename(&draft, path).and_then(|()| File::open(directory(path))?.sync_all());
        placed.map_err(|source| BackupError::Write { path: path.to_owned(), source })
    });
    if written.is_err() {
        // It may never have been made.
        let _ = fs::remove_file(&draft);
    }
    written
}

fn write(home: &Home, mut snapshot: Snapshot, path: &Path, passphrase: &str) -> Result<(), BackupError> {
    let failed = |source| BackupError::Write { path: path.to_owned(), source };
    let key = wrapping::random_key().map_err(|_| HomeError::Randomness)?;
    let wrapped = wrapping::wrap(MAGIC, &key, passphrase).map_err(|error| told(error, path))?;
    let identity = home.identity()?;
    let configuration = home.configuration_text()?;
    let length = u32::try_from(configuration.len()).unwrap_or(u32::MAX);

    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    let mut target = BufWriter::new(file);
    target.write_all(&wrapped).map_err(failed)?;
    let mut sealing = Sealing::new(target, key);
    for part in [&[FORMAT], identity.as_bytes().as_slice(), &length.to_be_bytes(), configuration.as_bytes()] {
        sealing.write_all(part).map_err(failed)?;
    }
    let mut page = Zeroizing::new([0; 4096]);
    while snapshot.page(&mut page)? {
        sealing.write_all(&*page).map_err(failed)?;
    }
    drop(snapshot);
    let target = sealing.finish().map_err(failed)?;
    let file = target.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

/// Makes `home`, which must be empty, that of the backup at `path`. Blocks.
///
/// # Errors
/// [`BackupError`]; the home is then as empty as before.
pub fn import(home: &Home, lock: &EngineLock, path: &Path, passphrase: &str) -> Result<(), BackupError> {
    import_in_steps(home, lock, path, passphrase, |_| {})
}

fn import_in_steps(
    home: &Home,
    _lock: &EngineLock,
    path: &Path,
    passphrase: &str,
    mut step: impl FnMut(&Home),
) -> Result<(), BackupError> {
    let workshop = placing::begin(home)?;
    let restored = restore(home, &workshop, path, passphrase, &mut step);
    if restored.is_err() {
        placing::undo(home);
    }
    restored
}

fn restore(
    home: &Home,
    workshop: &Path,
    path: &Path,
    passphrase: &str,
    step: &mut impl FnMut(&Home),
) -> Result<(), BackupError> {
    step(home);
    let unread = |source| BackupError::Read { path: path.to_owned(), source };
    let mut source = BufReader::with_capacity(128 * 1024, File::open(path).map_err(unread)?);
    let mut wrapped = Vec::with_capacity(WRAPPED);
    (&mut source).take(WRAPPED as u64).read_to_end(&mut wrapped).map_err(unread)?;
    let key = wrapping::unwrap(MAGIC, &wrapped, passphrase).map_err(|error| told(error, path))?;
    let mut opening = Opening::new(source, key);
    let unopened = |source: io::Error| match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => BackupError::Damaged(path.to_owned()),
        _ => unread(source),
    };

    let mut format = [0];
    opening.read_exact(&mut format).map_err(unopened)?;
    if format != [FORMAT] {
        return Err(BackupError::Newer(path.to_owned()));
    }
    let mut identity = Zeroizing::new([0; 32]);
    opening.read_exact(&mut *identity).map_err(unopened)?;
    let mut length = [0; 4];
    opening.read_exact(&mut length).map_err(unopened)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_CONFIGURATION {
        return Err(BackupError::Damaged(path.to_owned()));
    }
    let mut configuration = vec![0; length];
    opening.read_exact(&mut configuration).map_err(unopened)?;

    let database = workshop.join(FILE);
    let unwritten = |source| BackupError::Write { path: database.clone(), source };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&database).map_err(unwritten)?;
    let mut target = BufWriter::with_capacity(128 * 1024, file);
    let mut part = Zeroizing::new(vec![0; 64 * 1024]);
    loop {
        match opening.read(&mut part).map_err(unopened)? {
            0 => break,
            length => target.write_all(&part[..length]).map_err(unwritten)?,
        }
    }
    target.into_inner().map_err(|error| unwritten(error.into_error()))?.sync_all().map_err(unwritten)?;
    step(home);
    store::take_up(workshop)?;
    placing::place(home, workshop, &configuration, &identity, step)
}

fn told(error: WrapError, path: &Path) -> BackupError {
    match error {
        WrapError::Damaged => BackupError::Damaged(path.to_owned()),
        WrapError::WrongPassphrase => BackupError::WrongPassphrase,
        WrapError::Memory => BackupError::Memory,
        WrapError::Randomness => HomeError::Randomness.into(),
    }
}

fn is_backup(path: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == MAGIC
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(test)]
mod tests;
