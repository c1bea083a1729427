//! Whole databases, sealed.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const SECRET: &str = "a word that nobody else would write";

struct Home {
    directory: TempDir,
    key: Key,
}

impl Home {
    /// A sealed database with an empty table.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        let database = Connection::open(&plain).unwrap();
        database.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
        database.execute_batch("CREATE TABLE said (what TEXT)").unwrap();
        database.close().unwrap();
        let home = Self { directory, key: Key::new([9; 32]) };
        seal(&plain, &home.path(), &home.key).unwrap();
        fs::remove_file(plain).unwrap();
        home
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("sealed")
    }

    fn open(&self) -> Sealed {
        Sealed::open(&self.path(), &self.key).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        let files = fs::read_dir(self.directory.path()).unwrap();
        files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
    }

    /// The files as a kill would leave them.
    fn killed(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for file in fs::read_dir(self.directory.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
        }
        Self { directory, key: self.key.clone() }
    }
}

fn say(database: &Connection, many: i64) {
    let transaction = database.unchecked_transaction().unwrap();
    for n in 0..many {
        transaction.execute("INSERT INTO said VALUES (?1 || ' ' || ?2)", (SECRET, n)).unwrap();
    }
    transaction.commit().unwrap();
}

fn said(database: &Connection) -> i64 {
    database.query_row("SELECT count(*) FROM said WHERE what LIKE ?1 || ' %'", [SECRET], |row| row.get(0)).unwrap()
}

fn sound(database: &Connection) {
    let answer: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(answer, "ok");
}

#[test]
fn what_is_committed_is_there_after_closing_and_after_a_kill_and_no_file_shows_it() {
    let home = Home::new();
    let database = home.open();
    for round in 1..=20 {
        say(&database, 100);
        let killed = home.killed();
        let again = killed.open();
        assert_eq!(said(&again), round * 100);
        sound(&again);
        again.close().unwrap();
        assert!(!killed.bytes().windows(10).any(|run| run == &SECRET.as_bytes()[..10]));
    }
    assert!(home.bytes().len() > 100_000, "the log is there");
    assert!(!home.bytes().windows(10).any(|run| run == &SECRET.as_bytes()[..10]));
    database.close().unwrap();
    let files: Vec<_> = fs::read_dir(home.directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["sealed"]);
    assert_eq!(said(&home.open()), 2000);
}

#[test]
fn a_log_cut_anywhere_has_the_transactions_before_and_no_half_ones() {
    let home = Home::new();
    let database = home.open();
    for _ in 0..6 {
        say(&database, 7);
    }
    let log = fs::read(home.directory.path().join("sealed-wal")).unwrap();
    for cut in (0..log.len()).step_by(997) {
        let killed = home.killed();
        let path = killed.directory.path().join("sealed-wal");
        fs::write(&path, &log[..cut]).unwrap();
        let again = killed.open();
        assert_eq!(said(&again) % 7, 0, "cut at {cut}");
        sound(&again);
        // Torn in its middle instead: what came after is lost with it.
        drop(again);
        let mut torn = log.clone();
        torn[cut] ^= 1;
        fs::write(&path, torn).unwrap();
        let again = killed.open();
        assert_eq!(said(&again) % 7, 0, "torn at {cut}");
    }
}

#[test]
fn a_page_that_a_checkpoint_tore_is_mended_from_the_log() {
    let home = Home::new();
    let database = home.open();
    say(&database, 500);
    let killed = home.killed();
    let mut torn = fs::read(killed.path()).unwrap();
    torn[100] ^= 1;
    fs::write(killed.path(), torn).unwrap();
    let again = killed.open();
    assert_eq!(said(&again), 500);
    again.close().unwrap();
    assert_eq!(said(&killed.open()), 500);
}

#[test]
fn damage_is_told_and_so_is_a_wrong_key() {
    let home = Home::new();
    let database = home.open();
    say(&database, 500);
    database.close().unwrap();
    let whole = fs::read(home.path()).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() - 2000] ^= 1;
    fs::write(home.path(), damaged).unwrap();
    let database = home.open();
    let told = database.query_row("SELECT count(what) FROM said WHERE what <> ''", [], |row| row.get::<_, i64>(0));
    assert_eq!(told.unwrap_err().sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt));
    drop(database);
    fs::write(home.path(), whole).unwrap();
    let opened = Sealed::open(&home.path(), &Key::new([8; 32]));
    let told = opened.and_then(|database| database.query_row("SELECT count(*) FROM said", [], |_| Ok(())));
    assert_eq!(told.unwrap_err().sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt));
}

#[test]
fn large_transactions_rollbacks_savepoints_and_vacuum_need_no_other_files() {
    let home = Home::new();
    let database = home.open();
    database.pragma_update(None, "cache_size", 10).unwrap();
    say(&database, 20_000);
    database.execute_batch("BEGIN; SAVEPOINT a; UPDATE said SET what = 'x'; ROLLBACK TO a; RELEASE a; COMMIT").unwrap();
    assert_eq!(said(&database), 20_000);
    database.execute_batch("CREATE INDEX by_what ON said (what); DELETE FROM said WHERE rowid % 2; VACUUM").unwrap();
    assert_eq!(said(&database), 10_000);
    sound(&database);
    database.close().unwrap();
    assert_eq!(said(&home.open()), 10_000);
}

#[test]
fn sealed_and_unsealed_again_it_is_the_same_byte_for_byte() {
    let home = Home::new();
    let database = home.open();
    say(&database, 3000);
    database.close().unwrap();
    let (plain, again) = (home.directory.path().join("plain"), home.directory.path().join("again"));
    unseal(&home.path(), &plain, &home.key).unwrap();
    assert_eq!(said(&Connection::open(&plain).unwrap()), 3000);
    seal(&plain, &again, &home.key).unwrap();
    unseal(&again, &home.directory.path().join("plain2"), &home.key).unwrap();
    assert_eq!(fs::read(&plain).unwrap(), fs::read(home.directory.path().join("plain2")).unwrap());
    assert!(matches!(unseal(&again, &plain, &Key::new([1; 32])), Err(Refused::Damaged)));
    assert!(matches!(seal(&again, &plain, &home.key), Err(Refused::Unfit)));
}
