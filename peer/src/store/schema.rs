//! The database file: whose it is, which version, and how it comes to the newest.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use knothole_vault::{Key, Refused, Sealed};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::database::Database;
use super::error::{OpenError, StoreError};
use super::{grams, saturating};
use crate::home::KEY;

/// The file's name in the home.
pub(crate) const FILE: &str = "knothole.db";
/// Its name where it is sealed.
pub(crate) const SEALED_FILE: &str = "knothole.sealed";

/// "Knot": marks the file as ours (SQLite's `application_id`).
const APPLICATION: i32 = 0x4B6E_6F74;

/// The n-th entry leads from version n to n + 1 (SQLite's `user_version`).
const MIGRATIONS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
    include_str!("schema_9.sql"),
    include_str!("schema_10.sql"),
];

/// A backup program may hold the file for a moment; a person waits no longer than this for an honest error.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// All of the store's statements, some seventy, stay prepared.
const PREPARED_STATEMENTS: usize = 128;

/// Only its owner may read what a person has written.
const PRIVATE: u32 = 0o600;

/// Opens the database in `home`, makes it where there is none, and brings it to the newest version. With a key it is the
/// sealed one.
pub(super) fn open(home: &Path, key: Option<&Key>) -> Result<Database, OpenError> {
    let path = home.join(if key.is_some() { SEALED_FILE } else { FILE });
    let refuse = |error: rusqlite::Error| match error.into() {
        StoreError::Damaged => OpenError::Damaged(path.clone()),
        source => OpenError::Unusable { path: path.clone(), source },
    };

    let mut database = match key {
        None if home.join(KEY).exists() => return Err(OpenError::Sealed(home.to_owned())),
        None => {
            make_private(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Database::Plain(Connection::open_with_flags(&path, flags).map_err(refuse)?)
        }
        Some(key) => {
            if !path.exists() {
                make_sealed(home, &path, key)?;
            }
            Database::Sealed(Sealed::open(&path, key).map_err(refuse)?)
        }
    };
    database.busy_timeout(LOCK_PATIENCE).map_err(refuse)?;
    match origin(&database).map_err(refuse)? {
        Origin::Ours(version) if version > MIGRATIONS.len() => {
            return Err(OpenError::Newer { path, found: version, known: MIGRATIONS.len() });
        }
        Origin::Ours(_) | Origin::Empty => {}
        Origin::Foreign => return Err(OpenError::Foreign(path)),
    }
    configure(&database).map_err(refuse)?;
    migrate(&mut database).map_err(refuse)?;
    look(&database).map_err(refuse)?;
    Ok(database)
}

/// A sealed database is sealed when it has been made: an empty one, of which nothing need be hidden.
fn make_sealed(home: &Path, path: &Path, key: &Key) -> Result<(), OpenError> {
    let (empty, draft) = (home.join("knothole.empty"), home.join("knothole.sealed.new"));
    let unusable = |error: rusqlite::Error| OpenError::Unusable { path: path.to_owned(), source: error.into() };
    make_private(&empty).map_err(|source| OpenError::File { path: empty.clone(), source })?;
    let database = Connection::open(&empty).map_err(unusable)?;
    database.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).map_err(unusable)?;
    database.pragma_update(None, "user_version", 0).map_err(unusable)?;
    database.close().map_err(|(_, error)| unusable(error))?;
    let sealed = knothole_vault::seal(&empty, &draft, key).map_err(|refused| match refused {
        Refused::Disk(error) => error,
        Refused::Unfit | Refused::Damaged => io::ErrorKind::InvalidData.into(),
    });
    sealed
        .and_then(|()| fs::remove_file(&empty))
        .and_then(|()| fs::rename(&draft, path))
        .and_then(|()| fs::File::open(home)?.sync_all())
        .map_err(|source| OpenError::File { path: path.to_owned(), source })
}

enum Origin {
    Empty,
    Ours(usize),
    Foreign,
}

/// SQLite's companions of the file (`-wal`, `-shm`) take over its mode. The file is never opened here: closing it would
/// drop the locks that a connection of this process may have on it.
fn make_private(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE))
        }
        made => made.map(drop),
    }
}

fn origin(database: &Connection) -> rusqlite::Result<Origin> {
    let application: i32 = database.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match usize::try_from(version) {
        Ok(version) if application == APPLICATION => Origin::Ours(version),
        Ok(0) if application == 0 && tables == 0 => Origin::Empty,
        _ => Origin::Foreign,
    })
}

fn configure(database: &Connection) -> rusqlite::Result<()> {
    database.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    grams::register(database)?;
    // The answer is the mode that is now in force; "delete", on a file system without shared memory, serves as well.
    database.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // A commit returns when the bytes are on the disk: "delivered" is said only then.
    database.pragma_update(None, "synchronous", "full")?;
    database.pragma_update(None, "fullfsync", "on")?;
    database.pragma_update(None, "foreign_keys", "on")?;
    // What a person deletes is overwritten, not just unlinked.
    database.pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()))
}

/// All or nothing: a migration that fails leaves the old version whole.
fn migrate(database: &mut Connection) -> rusqlite::Result<()> {
    let transaction = Transaction::new(database, TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..)).unwrap_or_default();
    if !missing.is_empty() {
        for migration in missing {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", saturating(MIGRATIONS.len()))?;
    }
    transaction.commit()
}

/// A quick look, whatever the size: the places where every use of the file begins. The whole of it is
/// [`Store::check`](super::Store::check)'s.
fn look(database: &Connection) -> rusqlite::Result<()> {
    for place in [
        "SELECT count(*) FROM (SELECT name FROM contacts LIMIT 1)",
        "SELECT count(*) FROM (SELECT text FROM messages ORDER BY sequence DESC LIMIT 1)",
        "SELECT count(*) FROM (SELECT rowid FROM messages_grams WHERE messages_grams MATCH 'e' LIMIT 1)",
    ] {
        database.query_row(place, [], |_| Ok(()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use tempfile::TempDir;

    use super::*;
    use crate::store::fixture::{id, peer};
    use crate::store::{Position, Store};

    fn home_with(sql: &str) -> TempDir {
        let home = tempfile::tempdir().unwrap();
        Connection::open(home.path().join(FILE)).unwrap().execute_batch(sql).unwrap();
        home
    }

    fn version_1() -> String {
        format!("{} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 1;", MIGRATIONS[0])
    }

    #[test]
    fn an_absent_an_empty_and_a_version_0_file_become_the_newest_version() {
        let absent = tempfile::tempdir().unwrap();
        let empty = tempfile::tempdir().unwrap();
        fs::write(empty.path().join(FILE), "").unwrap();
        // VACUUM gives the file its header and first page.
        for home in [absent, empty, home_with("VACUUM")] {
            let database = open(home.path(), None).unwrap();
            assert!(matches!(origin(&database), Ok(Origin::Ours(version)) if version == MIGRATIONS.len()));
        }
    }

    /// A file as version `version` wrote it, with all of its tables filled that are of the first version.
    fn home_of_version(version: usize) -> TempDir {
        let home = tempfile::tempdir().unwrap();
        let database = Connection::open(home.path().join(FILE)).unwrap();
        grams::register(&database).unwrap();
        for migration in &MIGRATIONS[..version] {
            database.execute_batch(migration).unwrap();
        }
        let fill = format!(
            "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version};
             INSERT INTO settings (key, value) VALUES ('kept', x'0102');
             INSERT INTO contacts (contact, peer, name, state, added_at, log, next)
                VALUES (1, x'{bob}', 'Bob', 'contact', 5, -1, 2);
             INSERT INTO contact_via (contact, position, key, host, port) VALUES (1, 0, x'{bob}', 'host', 7);
             INSERT INTO received (contact, log, upto, used) VALUES (1, 9, 1, 1);
             INSERT INTO messages (contact, id, mine, log, number, text, at, stored_at, state)
                VALUES (1, x'{mine}', 1, -1, 1, 'an old version', 6, 7, 'queued'),
                       (1, x'{theirs}', 0, 9, 1, '旧版本', 6, 8, 'delivered');",
            bob = "02".repeat(32),
            mine = "09".repeat(16),
            theirs = "0a".repeat(16),
        );
        database.execute_batch(&fill).unwrap();
        home
    }

    #[tokio::test]
    async fn a_file_of_every_earlier_version_keeps_what_it_holds() {
        for version in 1..=MIGRATIONS.len() {
            let home = home_of_version(version);
            let store = Store::open(home.path()).unwrap();
            let contacts = store.contacts().await.unwrap();
            assert_eq!((contacts[0].name.as_str(), contacts[0].summary.unread, contacts[0].via.len()), ("Bob", 1, 1));
            assert_eq!(store.setting("kept").await, Ok(Some(vec![1, 2])));
            assert_eq!(store.history(peer(2), None, None, 9).await.unwrap().len(), 2);
            for search in ["version", "旧版", "本", "AN"] {
                let found = store.history(peer(2), Some(search.into()), None, 9).await.unwrap();
                assert_eq!(found.len(), 1, "{search} in version {version}");
            }
            let conversation = store.conversation(peer(2)).await.unwrap();
            assert_eq!(conversation.received, Some(Position { log: 9, number: 1 }), "version {version}");
            let position = store.compose(peer(2), id(1), "next".into(), 8).await.unwrap();
            assert_eq!((position.log, position.number), (u64::MAX, 2), "version {version}");
            store.set_draft(peer(2), "begun".into()).await.unwrap();
            assert_eq!(store.check().await, Ok(vec![]), "version {version}");
        }
    }

    #[test]
    fn a_migrated_file_has_the_tables_of_a_new_one() {
        let shape = |home: &Path| {
            let database = open(home, None).unwrap();
            let mut statement =
                database.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
            rows.collect::<rusqlite::Result<Vec<(String, String, Option<String>)>>>().unwrap()
        };
        let new = tempfile::tempdir().unwrap();
        for version in 1..=MIGRATIONS.len() {
            assert_eq!(shape(home_of_version(version).path()), shape(new.path()), "version {version}");
        }
    }

    #[test]
    fn a_file_of_another_program_is_left_as_it_is() {
        for sql in [
            "CREATE TABLE theirs (x)",
            "PRAGMA application_id = 77",
            "PRAGMA user_version = 3",
            "CREATE TABLE theirs (x); PRAGMA application_id = 77; PRAGMA user_version = 1",
        ] {
            let home = home_with(sql);
            let before = fs::read(home.path().join(FILE)).unwrap();
            let error = open(home.path(), None).unwrap_err();
            assert!(matches!(error, OpenError::Foreign(_)), "{sql}: {error}");
            assert!(error.to_string().contains("another program; move it away"));
            assert_eq!(fs::read(home.path().join(FILE)).unwrap(), before, "{sql}");
        }
    }

    #[test]
    fn a_newer_version_asks_for_a_newer_program() {
        let home = home_with(&format!("{} PRAGMA user_version = 99", version_1()));
        let error = open(home.path(), None).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("install the newer version"));
    }

    #[test]
    fn a_damaged_a_truncated_and_a_text_file_say_restore_or_move_away() {
        let damaged = home_with(&version_1());
        let mut file = fs::OpenOptions::new().write(true).open(damaged.path().join(FILE)).unwrap();
        file.write_all(&[0xA5; 64]).unwrap();
        let truncated = home_with(&version_1());
        let file = fs::OpenOptions::new().write(true).open(truncated.path().join(FILE)).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        let text = tempfile::tempdir().unwrap();
        fs::write(text.path().join(FILE), "a letter, not a database; long enough to be read as a header ".repeat(20))
            .unwrap();
        for home in [damaged, truncated, text] {
            let error = open(home.path(), None).unwrap_err();
            assert!(matches!(error, OpenError::Damaged(_)), "{error}");
            assert!(error.to_string().contains("restore it from a backup, or move it away"));
        }
    }

    #[tokio::test]
    async fn damage_beyond_the_header_is_told_by_whoever_meets_it() {
        let home = home_with(&version_1());
        let mut file = fs::OpenOptions::new().write(true).open(home.path().join(FILE)).unwrap();
        let length = file.metadata().unwrap().len();
        // The second page on: the tables. The first holds the header, and a schema that fits into it.
        file.seek(SeekFrom::Start(8192)).unwrap();
        file.write_all(&vec![0xA5; usize::try_from(length).unwrap() - 8192]).unwrap();
        match Store::open(home.path()) {
            Ok(store) => assert_eq!(store.contacts().await, Err(StoreError::Damaged)),
            Err(error) => assert!(matches!(error, OpenError::Damaged(_)), "{error}"),
        }
    }

    #[test]
    fn only_the_owner_reads_the_file_and_its_companions() {
        let home = home_with("VACUUM");
        fs::set_permissions(home.path().join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
        let _database = open(home.path(), None).unwrap();
        for entry in fs::read_dir(home.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, PRIVATE, "{entry:?}");
        }
    }

    #[test]
    fn a_home_that_is_not_there_is_named() {
        let error = open(Path::new("/nonexistent/home"), None).unwrap_err();
        assert!(error.to_string().starts_with("cannot make /nonexistent/home/knothole.db: "), "{error}");
    }
}
