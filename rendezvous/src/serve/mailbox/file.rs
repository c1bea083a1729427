//! The file: whose it is, what is in it, and what an order does to it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use knothole_proto::identity::PeerId;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::mailbox::{Contents, Done, KeptLetter, KeptMailbox, Order};

/// The file's name in the state directory.
pub(super) const FILE: &str = "mailbox.db";

/// "Mail": marks the file as ours (SQLite's `application_id`).
const APPLICATION: i32 = 0x4D61_696C;
/// The version of what is in it (SQLite's `user_version`).
const VERSION: i32 = 1;

/// All statements, some ten, stay prepared.
const PREPARED_STATEMENTS: usize = 16;

/// A former process may be about to end; nobody waits longer than this for an honest error.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Why the mailboxes' file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refuses.
    #[error("cannot open the mailboxes in {path}: {why} (may this program write there? see --state)")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// It is another program's.
    #[error("{0} is no mailbox file of a Knothole rendezvous: move it away, or choose another directory with --state")]
    Foreign(PathBuf),
    /// A later version of this program has written it.
    #[error(
        "{path} is of version {found}, which this program does not know: use the newer program that has written it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that is in it.
        found: i32,
    },
    /// It cannot be read as what it should be.
    #[error(
        "{0} is damaged: put your copy of it back; or move it and the files beginning with its name away to start with empty \
         mailboxes, which their owners open again by themselves"
    )]
    Damaged(PathBuf),
    /// Another process has it, or the disk refuses.
    #[error("cannot use the mailboxes in {path}: {why} (does another rendezvous run with this --state?)")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        why: rusqlite::Error,
    },
    /// The system gives no thread.
    #[error("the system gives no thread for the mailboxes: {0}")]
    Thread(io::Error),
}

/// Opens the file in this directory, or makes it, and reads what is in it.
pub(super) fn open(state: &Path) -> Result<(Connection, Contents), OpenError> {
    let path = state.join(FILE);
    make_private(&path).map_err(|why| OpenError::File { path: path.clone(), why })?;
    let refuse = |why: rusqlite::Error| match why.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged(path.clone())
        }
        _ => OpenError::Unusable { path: path.clone(), why },
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(&path, flags).map_err(refuse)?;
    database.busy_timeout(LOCK_PATIENCE).map_err(refuse)?;
    let origin = |name| database.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (origin("application_id").map_err(refuse)?, origin("user_version").map_err(refuse)?);
    let tables = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    let empty = tables.map_err(refuse)? == 0;
    match (application, version) {
        (APPLICATION, ..=VERSION) => {}
        (APPLICATION, found) => return Err(OpenError::Newer { path, found }),
        (0, 0) if empty => {}
        _ => return Err(OpenError::Foreign(path)),
    }
    configure(&database, empty).map_err(refuse)?;
    let sound = database.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)).map_err(refuse)?;
    if sound != "ok" {
        return Err(OpenError::Damaged(path));
    }
    let contents = read(&database).map_err(refuse)?.ok_or(OpenError::Damaged(path.clone()))?;
    Ok((database, contents))
}

/// SQLite's companions of the file (`-wal`, `-shm`) take over its mode.
fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        }
        made => made.map(drop),
    }
}

fn configure(database: &Connection, empty: bool) -> rusqlite::Result<()> {
    database.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    // One process has it, and nobody reads over its shoulder; a second one is told at once.
    database.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    database.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // A commit returns when the bytes are on the disk: "kept" is said only then.
    database.pragma_update(None, "synchronous", "full")?;
    database.pragma_update(None, "fullfsync", "on")?;
    database.pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()))?;
    if empty {
        let schema = include_str!("schema.sql");
        database.execute_batch(&format!(
            "BEGIN IMMEDIATE; {schema} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
        ))?;
    }
    Ok(())
}

/// Moves the write-ahead log into the file and empties it. What is durable is so already; one that fails is made up for.
pub(super) fn empty_log(database: &Connection) {
    if let Err(error) = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::info!(%error, "the mailboxes' log is not emptied yet");
    }
}

/// All that is in the file but the envelopes; `None` if something is not as we write it.
fn read(database: &Connection) -> rusqlite::Result<Option<Contents>> {
    let mut mailboxes = BTreeMap::new();
    let mut statement = database.prepare("SELECT owner, key, seen FROM mailbox")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (owner, key, seen_s): (Vec<u8>, Vec<u8>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (Some(owner), Ok(key)) = (peer(&owner), key.try_into()) else { return Ok(None) };
        let seen_s = u64::try_from(seen_s).unwrap_or_default();
        mailboxes.insert(owner, KeptMailbox { owner, key, seen_s, senders: Vec::new(), letters: Vec::new() });
    }
    let mut statement = database.prepare("SELECT owner, sender FROM sender")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (owner, sender): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
        let Some(owner) = peer(&owner) else { return Ok(None) };
        if let Some(mailbox) = mailboxes.get_mut(&owner) {
            mailbox.senders.push(sender.cast_unsigned());
        }
    }
    let letters = "SELECT id, owner, sender, mark, at, length(envelope) FROM letter ORDER BY id";
    let mut statement = database.prepare(letters)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, owner, at_s, length): (i64, Vec<u8>, i64, i64) = (row.get(0)?, row.get(1)?, row.get(4)?, row.get(5)?);
        let (sender, mark): (i64, i64) = (row.get(2)?, row.get(3)?);
        let (Some(owner), Ok(id), Ok(length)) = (peer(&owner), u64::try_from(id), u16::try_from(length)) else {
            return Ok(None);
        };
        let (at_s, emptied) = (at_s.unsigned_abs(), at_s < 0);
        let (sender, mark) = (sender.cast_unsigned(), mark.cast_unsigned());
        let letter = KeptLetter { id, sender, mark, at_s, length, emptied };
        // A mailbox that could not be closed on a full disk may have left some behind.
        if let Some(mailbox) = mailboxes.get_mut(&owner) {
            mailbox.letters.push(letter);
        }
    }
    let last = "SELECT seq FROM sqlite_sequence WHERE name = 'letter'";
    let last: Option<i64> = database.query_row(last, [], |row| row.get(0)).optional()?;
    let last_letter = last.and_then(|last| u64::try_from(last).ok()).unwrap_or_default();
    Ok(Some(Contents { mailboxes: mailboxes.into_values().collect(), last_letter }))
}

fn peer(bytes: &[u8]) -> Option<PeerId> {
    Some(PeerId::new(bytes.try_into().ok()?))
}

/// A number as SQLite holds it: the same 64 bits.
const fn integer(number: u64) -> i64 {
    number.cast_signed()
}

/// Does one order; what it answers is true once the transaction is committed.
pub(super) fn obey(database: &Connection, order: &Order) -> rusqlite::Result<Done> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| database.prepare_cached(sql)?.execute(values);
    match order {
        Order::Name { owner, key, seen_s, fresh, senders } => {
            let owner_bytes = owner.as_bytes();
            run(
                "INSERT INTO mailbox (owner, key, seen) VALUES (?1, ?2, ?3)
                 ON CONFLICT (owner) DO UPDATE SET key = ?2, seen = ?3",
                params![owner_bytes, key, integer(*seen_s)],
            )?;
            if *fresh {
                run("DELETE FROM sender WHERE owner = ?1", params![owner_bytes])?;
            }
            for sender in senders {
                let insert = "INSERT OR IGNORE INTO sender (owner, sender) VALUES (?1, ?2)";
                run(insert, params![owner_bytes, integer(*sender)])?;
            }
            Ok(Done::Named { owner: *owner, durable: true })
        }
        Order::Seen { owner, seen_s } => {
            run("UPDATE mailbox SET seen = ?2 WHERE owner = ?1", params![owner.as_bytes(), integer(*seen_s)])?;
            Ok(Done::Obeyed)
        }
        Order::Close { owner, letters } => {
            destroy(database, letters)?;
            run("DELETE FROM sender WHERE owner = ?1", params![owner.as_bytes()])?;
            run("DELETE FROM mailbox WHERE owner = ?1", params![owner.as_bytes()])?;
            Ok(Done::Closed { owner: *owner, failed: None })
        }
        Order::Store { owner, letter, envelope } => {
            let KeptLetter { id, sender, mark, at_s, .. } = letter;
            run(
                "INSERT INTO letter (id, owner, sender, mark, at, envelope) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![integer(*id), owner.as_bytes(), integer(*sender), integer(*mark), integer(*at_s), envelope],
            )?;
            Ok(Done::Stored { owner: *owner, letter: *id, failed: None })
        }
        Order::Fetch { owner, letter } => {
            let select = "SELECT envelope FROM letter WHERE id = ?1";
            let envelope = database.prepare_cached(select)?.query_row([integer(*letter)], |row| row.get(0)).optional();
            let envelope = envelope.unwrap_or_else(|error| {
                tracing::warn!(%error, "a letter cannot be read from the disk");
                None
            });
            Ok(Done::Fetched { owner: *owner, letter: *letter, envelope })
        }
        Order::Empty { letters } => {
            let empty = "UPDATE letter SET envelope = zeroblob(length(envelope)), at = -abs(at) WHERE id = ?1";
            let mut statement = database.prepare_cached(empty)?;
            letters.iter().try_for_each(|letter| statement.execute([integer(*letter)]).map(drop))?;
            Ok(Done::Obeyed)
        }
        Order::Destroy { letters } => {
            destroy(database, letters)?;
            Ok(Done::Obeyed)
        }
    }
}

fn destroy(database: &Connection, letters: &[u64]) -> rusqlite::Result<()> {
    let mut statement = database.prepare_cached("DELETE FROM letter WHERE id = ?1")?;
    letters.iter().try_for_each(|letter| statement.execute([integer(*letter)]).map(drop))
}
