//! SQLite on files that are sealed page by page.
//!
//! A virtual file system that lies over SQLite's own: that one opens, locks, syncs and deletes files as ever, and what passes
//! through to their bytes is sealed on its way (`slots` draws how). SQLite notices nothing, so all of it is as durable as
//! without, and nothing of it needs to know a key.
//!
//! What is protected: whoever has the files but not the key learns how many pages there are and which of them changed between
//! two looks, and can change none of them unnoticed. What is not: somebody who can write the files may put back an older state of
//! a page, or of all. The master key and what SQLite holds in memory are the owner's care.
//!
//! What it does not do: it derives no keys from passphrases, and it makes no databases: a file is sealed whole ([`seal`]) when it
//! has been made, because SQLite's rollback journal, which a new database begins with, does not fit into slots. For the same
//! reason a sealed database must be in write-ahead mode with pages of 4,096 bytes, as [`seal`] demands, and be opened by one
//! connection at a time: the index of the log is then in that one's memory and not in a file.

mod file_system;
mod key;
mod slots;
mod whole;

use std::ops::{Deref, DerefMut};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

pub use key::Key;
pub use whole::{Reader, Refused, seal, unseal};

/// A connection to a sealed database.
pub struct Sealed {
    connection: Connection,
    file_system: file_system::FileSystem,
}

impl Sealed {
    /// Opens the sealed database at `path`, which must exist.
    ///
    /// # Errors
    /// What SQLite says; a wrong key looks like a damaged file.
    pub fn open(path: &Path, key: &Key) -> rusqlite::Result<Self> {
        let file_system = file_system::FileSystem::new(key)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(path, flags, file_system.name())?;
        // The log's index in memory; and nothing that SQLite puts aside goes to a file.
        connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
        connection.pragma_update(None, "temp_store", "memory")?;
        Ok(Self { connection, file_system })
    }

    /// Closes it; what remains in the log is merged into the file.
    ///
    /// # Errors
    /// What SQLite says; the file is left as after a crash, with all that was committed.
    pub fn close(self) -> rusqlite::Result<()> {
        let closed = self.connection.close().map_err(|(_, error)| error);
        drop(self.file_system);
        closed
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sealed").field(&self.connection).finish()
    }
}

impl Deref for Sealed {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Sealed {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

#[cfg(test)]
mod tests;
