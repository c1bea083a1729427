//! What was removed from the index of the search is only marked there, until segments that hold it are merged. That is done after
//! deletions, in steps between which other operations have their turn: it takes some ten microseconds for each message in the
//! database.

use rusqlite::Connection;

use super::{Outcome, Store, StoreError};

/// Pages that a step merges: some milliseconds.
const STEP: i64 = 256;

/// The setting that is there while marks may be left: 1, or 0 if they are being merged and nothing was erased since that began.
const UNTIDY: &str = "index-untidy";

impl Store {
    /// Whether the index may still hold what was erased.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn is_untidy(&self) -> Outcome<bool> {
        self.submit(|database| {
            Ok(database.prepare_cached("SELECT 1 FROM settings WHERE key = ?1")?.exists([UNTIDY])?)
        })
    }

    /// Takes a step, the first or a further one, to merge the index into one segment without marks; whether there is more to do.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn tidy(&self, first: bool) -> Outcome<bool> {
        self.submit(move |database| {
            if first {
                mark(database, 0)?;
            }
            let before = database.total_changes();
            let mut merge =
                database.prepare_cached("INSERT INTO messages_grams (messages_grams, rank) VALUES ('merge', ?1)")?;
            // Less than nothing: all segments, whatever their size, as 'optimize' would at once.
            merge.execute([if first { -STEP } else { STEP }])?;
            // The statement itself counts as one; so FTS5's documentation tells when all is merged.
            let more = database.total_changes() - before >= 2;
            if !more {
                let mut done = database.prepare_cached("DELETE FROM settings WHERE key = ?1 AND value = ?2")?;
                done.execute((UNTIDY, [0_u8]))?;
            }
            Ok(more)
        })
    }
}

/// Notes that something was erased.
pub(super) fn note(database: &Connection) -> Result<(), StoreError> {
    mark(database, 1)
}

fn mark(database: &Connection, value: u8) -> Result<(), StoreError> {
    let mut mark = database.prepare_cached("INSERT OR REPLACE INTO settings (key, value) VALUES (?1, ?2)")?;
    mark.execute((UNTIDY, [value]))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use knothole_proto::content::Content;

    use crate::store::fixture::{Home, home_with_bob, id, peer};

    /// The bytes of the index, without FTS5's averages (1) and structure (10).
    async fn bytes(home: &Home) -> i64 {
        home.count("SELECT ifnull(sum(length(block)), 0) FROM messages_grams_data WHERE id > 10").await
    }

    async fn tidy(home: &Home) {
        let mut first = true;
        while home.store.tidy(first).await.unwrap() {
            first = false;
        }
    }

    #[tokio::test]
    async fn nothing_of_a_deleted_text_is_left_in_the_index() {
        let [with, without] = [home_with_bob().await, home_with_bob().await];
        for (n, home) in [&with, &without].into_iter().enumerate() {
            home.receive(7, 1).await.unwrap();
            let text = if n == 0 { "zebras quickly vexed by jogging" } else { "" };
            home.store.compose(peer(2), id(2), text.into(), 2).await.unwrap();
            home.store.amend(peer(2), id(3), Content::Delete { of: id(2) }, 3).await.unwrap();
            assert_eq!(home.store.is_untidy().await, Ok(true));
        }
        assert_ne!(bytes(&with).await, bytes(&without).await);
        for home in [&with, &without] {
            tidy(home).await;
            assert_eq!(home.store.is_untidy().await, Ok(false));
        }
        assert_eq!(bytes(&with).await, bytes(&without).await);
        assert_eq!(with.store.history(peer(2), Some("text".into()), None, 9).await.unwrap().len(), 1);
        assert_eq!(with.store.check().await, Ok(vec![]));
    }

    #[tokio::test]
    async fn what_is_erased_in_the_meantime_is_not_forgotten() {
        let home = home_with_bob().await;
        home.store.compose(peer(2), id(1), "one".into(), 1).await.unwrap();
        home.store.compose(peer(2), id(2), "two".into(), 2).await.unwrap();
        home.store.amend(peer(2), id(3), Content::Delete { of: id(1) }, 3).await.unwrap();
        let more = home.store.tidy(true).await.unwrap();
        home.store.amend(peer(2), id(4), Content::Delete { of: id(2) }, 4).await.unwrap();
        if more {
            while home.store.tidy(false).await.unwrap() {}
        }
        assert_eq!(home.store.is_untidy().await, Ok(true));
    }
}
