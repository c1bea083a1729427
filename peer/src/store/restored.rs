//! A database that comes out of a backup.

use std::path::Path;

use rusqlite::Transaction;

use super::error::{OpenError, StoreError};
use super::outgoing::renumber;
use super::schema::{self, FILE};

/// Makes the database in `home`, as it was in a backup, fit to go on: each conversation begins a new log, since the contact may have
/// numbers of the old one that this database has given to nothing yet; and keys that may have been used since are forgotten, with
/// what was sealed with them.
pub(crate) fn take_up(home: &Path) -> Result<(), OpenError> {
    let database = schema::open(home, None)?;
    let path = home.join(FILE);
    let taken = database
        .unchecked_transaction()
        .map_err(StoreError::from)
        .and_then(|transaction| forget_keys(&transaction).and_then(|()| begin_logs(&transaction)).map(|()| transaction))
        .and_then(|transaction| Ok(transaction.commit()?));
    let rested = taken.and_then(|()| Ok(database.rest()?));
    rested.map_err(|source| match source {
        StoreError::Damaged => OpenError::Damaged(path),
        source => OpenError::Unusable { path, source },
    })
}

/// All tables of envelopes, whatever they are by now: their names begin so.
fn forget_keys(database: &Transaction<'_>) -> Result<(), StoreError> {
    let mut statement = database.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND (name LIKE 'epochs%' OR name LIKE 'letters%')",
    )?;
    let tables = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    for table in tables {
        database.execute(&format!("DELETE FROM \"{table}\""), [])?;
    }
    Ok(())
}

fn begin_logs(database: &Transaction<'_>) -> Result<(), StoreError> {
    let mut statement = database.prepare("SELECT contact FROM contacts")?;
    let contacts = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    for contact in contacts {
        renumber(database, contact)?;
    }
    Ok(())
}
