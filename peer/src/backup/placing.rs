//! The steps from an empty home to that of a backup, and back if one of them fails.
//!
//! The directory `import.new` is made first and removed last. While it is there and no identity is, the home is nobody's yet:
//! no identity is made in it ([`Home::identity`]), and what an import that was broken off has left is taken away by the next.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::BackupError;
use crate::home::{Home, HomeError, IDENTITY, IMPORT, draft};
use crate::store::{FILE, SEALED_FILE};

const CONFIGURATION: &str = "config.toml";

/// Where the home is made, empty.
pub(super) fn begin(home: &Home) -> Result<PathBuf, BackupError> {
    // Nobody makes an identity between the look and the mark.
    let failed = |source| HomeError::File { path: home.path().to_owned(), source };
    let directory = File::open(home.path()).map_err(failed)?;
    directory.lock().map_err(failed)?;
    let there = |name: &str| home.path().join(name).exists();
    let begun = there(IMPORT);
    if home.is_sealed() || ["identity", IDENTITY, SEALED_FILE].into_iter().any(there) || (there(FILE) && !begun) {
        return Err(BackupError::InUse(home.path().to_owned()));
    }
    let workshop = home.path().join(IMPORT);
    let made = if begun {
        clear(home, &workshop)
    } else {
        // On the disk before anything that it is the mark of.
        DirBuilder::new().mode(0o700).create(&workshop).and_then(|()| directory.sync_all())
    };
    made.map_err(|source| BackupError::Write { path: workshop.clone(), source })?;
    Ok(workshop)
}

/// Puts what was made into its place. With the identity, which comes last, the home is somebody.
pub(super) fn place(
    home: &Home,
    workshop: &Path,
    configuration: &[u8],
    identity: &[u8; 32],
    step: &mut impl FnMut(&Home),
) -> Result<(), BackupError> {
    let unwritten = |source| BackupError::Write { path: home.path().to_owned(), source };
    step(home);
    fs::rename(workshop.join(FILE), home.path().join(FILE)).map_err(unwritten)?;
    step(home);
    if !configuration.is_empty() && !home.has_own_configuration() {
        lay_by(&workshop.join(CONFIGURATION), configuration).map_err(unwritten)?;
        step(home);
        home.put_configuration(configuration)?;
        step(home);
    }
    home.put("identity", identity)?;
    step(home);
    // If it stays, the next engine removes it.
    let _ = fs::remove_dir_all(workshop);
    Ok(())
}

/// Leaves the home as empty as it was. What cannot be removed stays marked, for the next import.
pub(super) fn undo(home: &Home) {
    let workshop = home.path().join(IMPORT);
    if clear(home, &workshop).is_ok() {
        let _ = fs::remove_dir(&workshop);
    }
}

/// By this copy a later import knows that config.toml is not the person's own.
fn lay_by(path: &Path, configuration: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(configuration)?;
    file.sync_all()
}

/// Takes away all that an import has put into the home, but for the mark.
fn clear(home: &Home, workshop: &Path) -> io::Result<()> {
    let at = |name: &str| home.path().join(name);
    let ours = fs::read(workshop.join(CONFIGURATION));
    let there = home.configuration_path();
    if ours.is_ok_and(|ours| fs::read(there).is_ok_and(|there| there == ours)) {
        remove(there)?;
    }
    for suffix in ["", "-wal", "-shm"] {
        remove(&at(&format!("{FILE}{suffix}")))?;
    }
    // Halves of files, which mean nothing.
    for file in [&at("identity"), there] {
        let _ = remove(&draft(file));
    }
    fs::read_dir(workshop)?.try_for_each(|file| remove(&file?.path()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
