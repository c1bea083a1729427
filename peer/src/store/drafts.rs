//! What a person has begun to write and not sent: one text a contact, which outlives the process as messages do.

use knothole_proto::frames::MAX_TEXT;
use knothole_proto::identity::PeerId;
use rusqlite::Connection;

use super::contact::known;
use super::{Outcome, Store, StoreError};

impl Store {
    /// Keeps `text` as what is begun to a contact, in place of what was there; empty, it deletes that.
    ///
    /// # Errors
    /// [`StoreError::TooLong`], [`StoreError::UnknownContact`], or those of the disk.
    pub fn set_draft(&self, peer: PeerId, text: String) -> Outcome<()> {
        self.submit(move |database| {
            if text.len() > MAX_TEXT {
                return Err(StoreError::TooLong(text.len()));
            }
            let contact = known(database, peer)?.contact;
            if text.is_empty() {
                return drop_draft(database, contact);
            }
            let mut keep = database.prepare_cached("INSERT OR REPLACE INTO drafts (contact, text) VALUES (?1, ?2)")?;
            keep.execute((contact, &text))?;
            Ok(())
        })
    }
}

/// There is the draft or the message made of it, if this is of the same commit, whenever the process ends.
pub(super) fn drop_draft(database: &Connection, contact: i64) -> Result<(), StoreError> {
    database.prepare_cached("DELETE FROM drafts WHERE contact = ?1")?.execute([contact])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::fixture::{Home, home_with_bob, id, peer};

    async fn draft(home: &Home) -> Option<String> {
        home.store.contacts().await.unwrap()[0].summary.draft.clone()
    }

    /// The files as a kill would leave them: no thread of ours gets to tidy them.
    fn killed(home: &Home) -> Home {
        let directory = tempfile::tempdir().unwrap();
        for file in ["knothole.db", "knothole.db-wal"] {
            fs::copy(home.directory.path().join(file), directory.path().join(file)).unwrap();
        }
        Home { store: Store::open(directory.path()).unwrap(), directory }
    }

    #[tokio::test]
    async fn a_draft_is_one_a_contact_and_an_empty_one_is_none() {
        let home = home_with_bob().await;
        assert_eq!(draft(&home).await, None);
        home.store.set_draft(peer(2), "I have".into()).await.unwrap();
        home.store.set_draft(peer(2), "I have begun\n今".into()).await.unwrap();
        assert_eq!(draft(&home).await.as_deref(), Some("I have begun\n今"));
        home.store.set_draft(peer(2), String::new()).await.unwrap();
        assert_eq!(draft(&home).await, None);
    }

    #[tokio::test]
    async fn a_draft_is_as_long_as_a_message_may_be_and_of_a_known_contact() {
        let home = home_with_bob().await;
        home.store.set_draft(peer(2), "x".repeat(MAX_TEXT)).await.unwrap();
        let longer = home.store.set_draft(peer(2), "y".repeat(MAX_TEXT + 1)).await;
        assert_eq!(longer, Err(StoreError::TooLong(MAX_TEXT + 1)));
        assert_eq!(draft(&home).await.map(|text| text.len()), Some(MAX_TEXT));
        assert_eq!(home.store.set_draft(peer(3), "hi".into()).await, Err(StoreError::UnknownContact));
    }

    #[tokio::test]
    async fn a_draft_survives_a_kill() {
        let home = home_with_bob().await;
        home.store.set_draft(peer(2), "I have begun".into()).await.unwrap();
        assert_eq!(draft(&killed(&home)).await.as_deref(), Some("I have begun"));
    }

    #[tokio::test]
    async fn at_every_commit_there_is_the_draft_or_the_message_made_of_it() {
        let home = home_with_bob().await;
        home.store.set_draft(peer(2), "hello".into()).await.unwrap();
        let before = killed(&home);
        home.store.compose_named(peer(2), id(1), "hello".into(), 0, true).await.unwrap();
        let after = killed(&home);
        for (home, expected, messages) in [(before, Some("hello"), 0), (after, None, 1)] {
            assert_eq!(draft(&home).await.as_deref(), expected);
            assert_eq!(home.store.history(peer(2), None, None, 9).await.unwrap().len(), messages);
        }
    }

    #[tokio::test]
    async fn a_message_that_is_not_stored_leaves_the_draft_and_another_message_does_so_too() {
        let home = home_with_bob().await;
        home.store.set_draft(peer(2), "hello".into()).await.unwrap();
        home.store.compose(peer(2), id(1), "something else".into(), 0).await.unwrap();
        let again = home.store.compose_named(peer(2), id(1), "hello".into(), 0, true).await;
        assert_eq!(again, Err(StoreError::MessageKnown));
        assert_eq!(draft(&home).await.as_deref(), Some("hello"));
        home.store.block(peer(2)).await.unwrap();
        assert_eq!(draft(&home).await.as_deref(), Some("hello"), "it can still be read");
    }
}
