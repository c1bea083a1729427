//! The rendezvous' key on the disk: 32 bytes that only its owner reads.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use knothole_proto::certificate::IdentitySecret;

/// Name of the file in the state directory.
const FILE: &str = "identity";

/// Reads the key, or makes one if there is none.
pub(crate) fn load_or_create(state: &Path) -> anyhow::Result<IdentitySecret> {
    let path = state.join(FILE);
    match load(&path)? {
        Some(secret) => Ok(secret),
        None => {
            create(state, &path)?;
            load(&path)?.ok_or_else(|| anyhow!("{} has vanished again", path.display()))
        }
    }
}

fn load(path: &Path) -> anyhow::Result<Option<IdentitySecret>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read the key {}", path.display())),
    };
    let Ok(seed) = <[u8; 32]>::try_from(bytes.as_slice()) else {
        bail!(
            "the key {} is damaged: it has {} bytes and should have 32. Put your copy of it back; or move it away to \
             start with a new key, and give every peer the new address",
            path.display(),
            bytes.len()
        );
    };
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode()).unwrap_or(0);
    if mode & 0o077 != 0 {
        tracing::warn!("others may read the key {}: making it private (0600)", path.display());
        fs::set_permissions(path, Permissions::from_mode(0o600))
            .with_context(|| format!("cannot make the key {} private", path.display()))?;
    }
    Ok(Some(IdentitySecret::new(seed)))
}

/// Writes a new key aside and links it into place: whoever reads it sees all of it or nothing, and of two that start at
/// once the first one's stays.
fn create(state: &Path, path: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot create the key {} (is the directory writable? see --state)", path.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state).with_context(cannot)?;
    let mut seed = [0; 32];
    #[expect(clippy::disallowed_methods, reason = "the binary is where chance comes in")]
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| anyhow!("the system has no randomness to give"))?;
    let aside = state.join(format!("{FILE}.{}", std::process::id()));
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside).and_then(|mut file| {
            file.write_all(&seed)?;
            file.sync_all()
        });
    let linked = written.and_then(|()| fs::hard_link(&aside, path));
    // Left behind it would be a second key that nothing refers to.
    let _ = fs::remove_file(&aside);
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error).with_context(cannot),
        // The directory's entry must last too.
        _ => OpenOptions::new().read(true).open(state).and_then(|directory| directory.sync_all()).with_context(cannot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_stays() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("a/b");
        let first = load_or_create(&state).unwrap();
        assert_eq!(load_or_create(&state).unwrap().as_bytes(), first.as_bytes());
        assert_eq!(fs::metadata(state.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_key_is_an_error_and_is_left_alone() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FILE), [1; 31]).unwrap();
        let error = load_or_create(state.path()).unwrap_err().to_string();
        assert!(error.contains("31 bytes") && error.contains("should have 32"), "{error}");
        assert_eq!(fs::read(state.path().join(FILE)).unwrap(), [1; 31]);
    }

    #[test]
    fn a_key_that_others_may_read_is_made_private() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        fs::write(&path, [1; 32]).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        load_or_create(state.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
