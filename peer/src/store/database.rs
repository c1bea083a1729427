//! The connection to the database, plain or sealed.

use std::ops::{Deref, DerefMut};

use knothole_vault::Sealed;
use rusqlite::Connection;

/// A connection that is alike to use in both forms.
#[derive(Debug)]
pub(super) enum Database {
    Plain(Connection),
    Sealed(Sealed),
}

impl Database {
    /// Merges the log into the file, and closes.
    pub(super) fn rest(self) -> rusqlite::Result<()> {
        let merged = self.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let closed = match self {
            Self::Plain(connection) => connection.close().map_err(|(_, error)| error),
            Self::Sealed(sealed) => sealed.close(),
        };
        merged.and(closed)
    }
}

impl Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Plain(connection) => connection,
            Self::Sealed(sealed) => sealed,
        }
    }
}

impl DerefMut for Database {
    fn deref_mut(&mut self) -> &mut Connection {
        match self {
            Self::Plain(connection) => connection,
            Self::Sealed(sealed) => sealed,
        }
    }
}
