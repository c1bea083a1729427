//! Whether the whole file is sound.

use rusqlite::Connection;

use super::{Outcome, Store, StoreError};

/// Findings that are told at most: a damaged file has one for each page, and the first few say enough.
const FINDINGS: usize = 20;

impl Store {
    /// Reads all of the database, which takes about a second for each gigabyte, and tells what is wrong with it: nothing, as a
    /// rule. Findings name tables and places, no texts.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], where the damage lets nothing more be told, or those of the disk.
    pub fn check(&self) -> Outcome<Vec<String>> {
        self.submit(|database| {
            let mut findings = structure(database)?;
            findings.extend(references(database)?);
            findings.extend(index(database)?);
            findings.truncate(FINDINGS);
            Ok(findings)
        })
    }
}

fn structure(database: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = database.prepare("PRAGMA integrity_check(20)")?;
    let found = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

fn references(database: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = database.prepare("SELECT \"table\", count(*) FROM pragma_foreign_key_check GROUP BY 1")?;
    let lost = statement.query_map([], |row| {
        Ok(format!("{} rows of {} belong to nothing", row.get::<_, i64>(1)?, row.get::<_, String>(0)?))
    })?;
    Ok(lost.collect::<rusqlite::Result<_>>()?)
}

/// Whether all messages are in the index of the search; that it is sound in itself, the structure's check has told.
fn index(database: &Connection) -> Result<Vec<String>, StoreError> {
    let missing: i64 = database.query_row(
        "SELECT count(*) FROM messages WHERE sequence NOT IN (SELECT id FROM messages_grams_docsize)",
        [],
        |row| row.get(0),
    )?;
    Ok(if missing > 0 { vec![format!("{missing} messages are not in the index of the search")] } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use crate::store::fixture::home_with_bob;

    #[tokio::test]
    async fn a_sound_database_has_no_findings() {
        let home = home_with_bob().await;
        home.receive(7, 1).await.unwrap();
        assert_eq!(home.store.check().await, Ok(vec![]));
    }

    #[tokio::test]
    async fn rows_that_belong_to_nothing_and_messages_that_cannot_be_found_are_told() {
        let home = home_with_bob().await;
        home.receive(7, 1).await.unwrap();
        home.execute("DELETE FROM messages_grams WHERE rowid = 1").await.unwrap();
        home.store.close().await.unwrap();
        let database = rusqlite::Connection::open(home.directory.path().join("knothole.db")).unwrap();
        let stray = "PRAGMA foreign_keys = off; INSERT INTO received (contact, log, upto, used) VALUES (77, 1, 1, 1)";
        database.execute_batch(stray).unwrap();
        drop(database);
        let store = crate::store::Store::open(home.directory.path()).unwrap();
        let findings = store.check().await.unwrap();
        assert_eq!(findings, ["1 rows of received belong to nothing", "1 messages are not in the index of the search"],);
    }

    #[tokio::test]
    async fn a_damaged_index_is_named() {
        let home = home_with_bob().await;
        home.receive(7, 1).await.unwrap();
        home.execute("UPDATE messages_grams_data SET block = x'00' WHERE id > 10").await.unwrap();
        let findings = home.store.check().await.unwrap();
        assert!(findings.len() == 1 && findings[0].contains("messages_grams"), "{findings:?}");
    }
}
