//! What is kept of contacts' coming and going, and of who may see ours.

use knothole_proto::identity::PeerId;

use super::contact::known;
use super::{Outcome, Store, saturating};

/// How a person and a contact stand in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquaintance {
    /// The contact.
    pub peer: PeerId,
    /// When the two wrote to each other last, or else became contacts, in milliseconds since 1970.
    pub spoke: u64,
    /// When the contact was known to be there last.
    pub last_seen: Option<u64>,
    /// Whether it may see that the person is there; `None`: as all may.
    pub shown: Option<bool>,
}

impl Store {
    /// All contacts, whatever their state.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn acquaintances(&self) -> Outcome<Vec<Acquaintance>> {
        self.submit(|database| {
            let mut statement = database.prepare_cached(
                "SELECT peer, last_seen, contacts.shown,
                        max(added_at, coalesce((SELECT stored_at FROM messages INDEXED BY messages_shown
                            WHERE messages.contact = contacts.contact AND messages.shown = 1 ORDER BY sequence DESC LIMIT 1), 0))
                    FROM contacts",
            )?;
            let acquaintance = |row: &rusqlite::Row<'_>| {
                Ok(Acquaintance {
                    peer: PeerId::new(row.get(0)?),
                    last_seen: row.get::<_, Option<i64>>(1)?.map(i64::unsigned_abs),
                    shown: row.get(2)?,
                    spoke: row.get::<_, i64>(3)?.unsigned_abs(),
                })
            };
            Ok(statement.query_map([], acquaintance)?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Notes that these contacts were there, each at a time in milliseconds since 1970. Of those that are unknown nothing is
    /// noted.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn seen(&self, contacts: Vec<(PeerId, u64)>) -> Outcome<()> {
        self.submit(move |database| {
            let mut change = database.prepare_cached("UPDATE contacts SET last_seen = ?2 WHERE peer = ?1")?;
            for (peer, at) in &contacts {
                change.execute((peer.as_bytes(), saturating(*at)))?;
            }
            Ok(())
        })
    }

    /// Sets whether a contact may see that the person is there; `None`: as all may.
    ///
    /// # Errors
    /// [`StoreError::UnknownContact`](super::StoreError::UnknownContact), or those of the disk.
    pub fn show(&self, peer: PeerId, shown: Option<bool>) -> Outcome<()> {
        self.submit(move |database| {
            let contact = known(database, peer)?.contact;
            database.prepare_cached("UPDATE contacts SET shown = ?2 WHERE contact = ?1")?.execute((contact, shown))?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::store::StoreError;
    use crate::store::fixture::{home_with_bob, id, peer};

    #[tokio::test]
    async fn when_a_contact_was_seen_and_whether_it_may_see_us_is_kept() {
        let home = home_with_bob().await;
        let bob = home.store.acquaintances().await.unwrap()[0];
        assert_eq!((bob.peer, bob.last_seen, bob.shown), (peer(2), None, None));
        home.store.seen(vec![(peer(2), 1_700_000_000_000), (peer(9), 1)]).await.unwrap();
        home.store.show(peer(2), Some(false)).await.unwrap();
        assert_eq!(home.store.show(peer(9), Some(false)).await, Err(StoreError::UnknownContact));
        let bob = home.store.acquaintances().await.unwrap()[0];
        assert_eq!((bob.last_seen, bob.shown), (Some(1_700_000_000_000), Some(false)));
        home.store.show(peer(2), None).await.unwrap();
        assert_eq!(home.store.acquaintances().await.unwrap()[0].shown, None);
    }

    #[tokio::test]
    async fn whom_one_has_written_to_since_is_the_latest() {
        let home = home_with_bob().await;
        let added = home.store.acquaintances().await.unwrap()[0].spoke;
        assert!(added > 0);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        home.store.compose(peer(2), id(1), "hi".into(), 5).await.unwrap();
        assert!(home.store.acquaintances().await.unwrap()[0].spoke > added);
    }
}
