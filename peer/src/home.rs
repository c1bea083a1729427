//! The home: the one directory that holds everything of a peer, and what may be done with it by whom.
//!
//! ```text
//! identity       the secret key, 32 bytes, mode 0600: whoever has it is this peer; under a passphrase identity.sealed
//! key            under a passphrase: the key to all that is sealed, wrapped (see `wrapping`)
//! config.toml    what can be set (see `template`); of a home that nobody named, in the XDG configuration directory
//! make.lock      locked while identity or config.toml is made, where the directory itself cannot be (NFS)
//! engine.lock    locked by the one process that runs the engine
//! knothole.sock  where that process serves the others
//! import.new/    while a backup is restored, and after that was broken off
//! knothole.db    see `store`; under a passphrase knothole.sealed
//! ```
//! What it does not do: it never repairs a damaged identity. A new one would be another peer, whom no contact knows.

mod configuration;
mod sealed;
mod template;
mod terminal;

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use knothole_proto::certificate::IdentitySecret;
use knothole_proto::contact_link::InvalidLink;
use knothole_vault::Key;
use zeroize::Zeroizing;

pub(crate) use sealed::{IDENTITY, KEY};
use template::there;
pub use terminal::{Interface, Language, TerminalConfiguration, Theme};

/// Where a backup becomes a home, inside of it (see `backup`). Without an identity beside it, that is not done.
pub(crate) const IMPORT: &str = "import.new";

/// What can be set.
const CONFIGURATION: &str = "config.toml";

/// Names the home where no argument does.
pub const HOME_VARIABLE: &str = "KNOTHOLE_HOME";

/// Names the rendezvous where no argument does: addresses, separated by commas or spaces.
pub const RENDEZVOUS_VARIABLE: &str = "KNOTHOLE_RENDEZVOUS";
/// Names how often a peer shows that it is there, in place of `keepalive` in config.toml.
pub const KEEPALIVE_VARIABLE: &str = "KNOTHOLE_KEEPALIVE";

/// The directory that holds everything of a peer.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
    /// Its config.toml.
    configuration: PathBuf,
    /// Of a sealed home that is open.
    key: Option<Key>,
}

/// The right to run the engine of a home. It ends when this is dropped, or with the process, however that ends.
#[derive(Debug)]
pub struct EngineLock {
    _locked: File,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The system names no directory for data.
    #[error("no home directory is known here; name one with --home DIR or {HOME_VARIABLE}")]
    Unknown,
    /// The directory cannot be made.
    #[error("cannot make the directory {}: {source}; name another with --home DIR", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file in it cannot be read or written.
    #[error("cannot use {}: {source}; check that it belongs to you and that the disk is not full", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The identity is not one.
    #[error(
        "{} is damaged ({length} bytes instead of 32); restore it from a backup, or move it away to become a new peer \
         that no contact knows yet",
        path.display()
    )]
    Identity {
        /// The identity file.
        path: PathBuf,
        /// Its length in bytes; 33 for all that is longer than 32.
        length: usize,
    },
    /// The sealed identity does not open with the home's key.
    #[error("{} is damaged; restore a backup into another --home (`knothole import`)", .0.display())]
    SealedIdentity(PathBuf),
    /// It is under a passphrase, which was not given.
    #[error(
        "{} is encrypted; give its passphrase at a terminal, in KNOTHOLE_PASSPHRASE, or with --passphrase-file FILE",
        .0.display()
    )]
    Locked(PathBuf),
    /// It is under another passphrase.
    #[error("wrong passphrase; nothing was opened or changed, try again")]
    WrongPassphrase,
    /// The file with the wrapped key is none.
    #[error("{} is damaged, and without it the home cannot be opened; restore that file from a copy", .0.display())]
    Key(PathBuf),
    /// All is sealed, and the wrapped key is gone.
    #[error(
        "{} is missing, and without it the home cannot be opened; put it back, or restore a backup into another --home",
        .0.display()
    )]
    KeyLost(PathBuf),
    /// It is nobody yet.
    #[error(
        "a backup is being restored into {}, or that was broken off; wait for it, or run `knothole import` again for this home",
        .0.display()
    )]
    Unfinished(PathBuf),
    /// The passphrase cannot be tried.
    #[error("there is not enough memory to try the passphrase (64 MiB); close other programs, and try again")]
    Memory,
    /// The system has no random numbers to give.
    #[error("the system gives no random numbers for a new key; try again after restarting the machine")]
    Randomness,
    /// config.toml cannot be understood.
    #[error("{} is not understood: {why}; correct it, or move it away and give --rendezvous once", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, on one line.
        why: String,
    },
    /// A keepalive profile is not one.
    #[error("\"{text}\" in {place} is no keepalive profile; write \"default\", \"strict\" or \"frugal\"")]
    Keepalive {
        /// What it says.
        text: String,
        /// Where it stands.
        place: String,
    },
    /// A rendezvous address is not one.
    #[error("\"{text}\" in {place} is no rendezvous address: {source}; the rendezvous prints its own when it starts")]
    Rendezvous {
        /// What stands there.
        text: String,
        /// Where: the variable or the file.
        place: String,
        /// What is wrong with it.
        source: InvalidLink,
    },
}

impl Home {
    /// The home at `path`, else where [`HOME_VARIABLE`] says, else `knothole` in the XDG data directory. It is made, for its
    /// owner alone, where it does not exist.
    ///
    /// Everything lies in a home that is named. The config.toml of one that nobody named is `knothole/config.toml` in the XDG
    /// configuration directory, unless a person's own lies in the home.
    ///
    /// # Errors
    /// [`HomeError::Unknown`] or [`HomeError::Directory`].
    pub fn open(path: Option<PathBuf>) -> Result<Self, HomeError> {
        let named = || env::var_os(HOME_VARIABLE).filter(|name| !name.is_empty());
        if let Some(path) = path.or_else(|| named().map(PathBuf::from)) {
            return Self::made(path);
        }
        let places = etcetera::choose_base_strategy().map_err(|_| HomeError::Unknown)?;
        let home = Self::made(places.data_dir().join("knothole"))?;
        Ok(home.configured(&places.config_dir().join("knothole")))
    }

    fn made(path: PathBuf) -> Result<Self, HomeError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path).and_then(|()| path.canonicalize());
        let path = made.map_err(|source| HomeError::Directory { path, source })?;
        Ok(Self { configuration: path.join(CONFIGURATION), path, key: None })
    }

    /// With its configuration in a directory apart, unless one lies in the home. Where one lies in both places, that in the home is a
    /// person's only if somebody has set something in it: else it is there because the home was named once.
    fn configured(self, apart: &Path) -> Self {
        let apart = apart.join(CONFIGURATION);
        let within = there(&self.configuration) && !(there(&apart) && self.is_as_written());
        if within { self } else { Self { configuration: apart, ..self } }
    }

    /// The right to make what is made once; others wait meanwhile. It ends when this is dropped.
    fn make(&self) -> Result<Option<File>, HomeError> {
        let failed = |source| HomeError::File { path: self.path.clone(), source };
        let directory = File::open(&self.path).map_err(failed)?;
        if directory.lock().is_ok() {
            return Ok(Some(directory));
        }
        // NFS locks no directories, and some file systems nothing: a first use is hardly ever done twice at once.
        Ok(self.make_by_file().inspect_err(|error| tracing::debug!(%error, "nothing can be locked in the home")).ok())
    }

    fn make_by_file(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(self.path.join("make.lock"))?;
        file.lock().map(|()| file)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine of this home serves other processes.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.path.join("knothole.sock")
    }

    /// Its config.toml, whether or not there is one yet.
    #[must_use]
    pub fn configuration_path(&self) -> &Path {
        &self.configuration
    }

    /// The identity; the first call ever makes it.
    ///
    /// # Errors
    /// [`HomeError::Identity`], [`HomeError::SealedIdentity`], [`HomeError::Locked`], [`HomeError::Unfinished`],
    /// [`HomeError::Randomness`] or [`HomeError::File`].
    pub fn identity(&self) -> Result<IdentitySecret, HomeError> {
        // Two processes on a fresh home must not both make one: the later would undo the one whose link is out already.
        let _locked = self.make()?;
        if let Some(key) = self.key()? {
            return self.sealed_identity(key).map(IdentitySecret::new);
        }
        if let Some(secret) = self.plain_identity()? {
            return Ok(secret);
        }
        if self.path.join(IDENTITY).exists() {
            return Err(HomeError::KeyLost(self.path.join(KEY)));
        }
        if self.path.join(IMPORT).exists() {
            return Err(HomeError::Unfinished(self.path.clone()));
        }
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *seed).map_err(|_| HomeError::Randomness)?;
        self.put("identity", &*seed)?;
        Ok(IdentitySecret::new(*seed))
    }

    /// The identity as it lies in a home that is under no passphrase, if there is one.
    fn plain_identity(&self) -> Result<Option<IdentitySecret>, HomeError> {
        let path = self.path.join("identity");
        let failed = |source| HomeError::File { path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        // One byte too many tells a longer file, without reading whatever was put there.
        let mut bytes = Zeroizing::new(Vec::with_capacity(33));
        file.take(33).read_to_end(&mut bytes).map_err(failed)?;
        let length = bytes.len();
        let seed = bytes.as_slice().try_into().map_err(|_| HomeError::Identity { path, length })?;
        Ok(Some(IdentitySecret::new(seed)))
    }

    /// The right to run this home's engine; `None` while another process has it.
    ///
    /// # Errors
    /// [`HomeError::File`].
    pub fn engine_lock(&self) -> Result<Option<EngineLock>, HomeError> {
        let path = self.path.join("engine.lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let failed = |source| HomeError::File { path: path.clone(), source };
        let file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(EngineLock { _locked: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Makes a file of the home, or replaces it: whole or not at all, whenever the power fails.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> Result<(), HomeError> {
        write(&self.path.join(name), content)
    }
}

/// Makes a file, or replaces it: whole or not at all, whenever the power fails.
fn write(path: &Path, content: &[u8]) -> Result<(), HomeError> {
    let draft = draft(path);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(|source| HomeError::File { path: path.to_owned(), source })
}

/// What a file is called until it is whole.
pub(crate) fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    pub(super) fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(Some(directory.path().join("deep").join("home"))).unwrap();
        (directory, home)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_home_and_its_identity_are_for_their_owner_alone() {
        let (_directory, home) = home();
        home.identity().unwrap();
        assert_eq!(mode(home.path()), 0o700);
        assert_eq!(mode(&home.path().join("identity")), 0o600);
        assert_eq!(fs::read(home.path().join("identity")).unwrap().len(), 32);
    }

    #[test]
    fn the_identity_stays_the_same_and_another_home_has_another() {
        let (directory, first) = home();
        let key = first.identity().unwrap().public_key();
        assert_eq!(first.identity().unwrap().public_key(), key);
        let other = Home::open(Some(directory.path().join("other"))).unwrap();
        assert_ne!(other.identity().unwrap().public_key(), key);
    }

    #[test]
    fn processes_that_make_the_identity_at_once_agree_on_one() {
        let (_directory, home) = home();
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let home = home.clone();
                std::thread::spawn(move || home.identity().unwrap().public_key())
            })
            .collect();
        let keys: Vec<_> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_file_is_locked_where_a_directory_cannot_be() {
        let (_directory, home) = home();
        let held = home.make_by_file().unwrap();
        let other = File::open(home.path().join("make.lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().unwrap();
    }

    #[test]
    fn a_damaged_identity_is_an_error_and_is_left_as_it_is() {
        let (_directory, home) = home();
        for length in [0, 31, 33, 4096] {
            fs::write(home.path().join("identity"), vec![7; length]).unwrap();
            let error = home.identity().unwrap_err();
            assert!(matches!(error, HomeError::Identity { length: told, .. } if told == length.min(33)), "{error}");
            assert_eq!(fs::read(home.path().join("identity")).unwrap().len(), length);
        }
    }

    #[test]
    fn one_engine_at_a_time_may_run_in_a_home() {
        let (_directory, home) = home();
        let lock = home.engine_lock().unwrap().expect("nobody else has it");
        assert!(home.engine_lock().unwrap().is_none());
        drop(lock);
        assert!(home.engine_lock().unwrap().is_some());
    }

    #[test]
    fn a_home_that_cannot_be_made_says_which() {
        let error = Home::open(Some(PathBuf::from("/dev/null/home"))).unwrap_err();
        assert!(error.to_string().contains("/dev/null/home"), "{error}");
        assert!(error.to_string().contains("--home"), "{error}");
    }
}
