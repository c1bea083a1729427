//! A store in a home of its own, for tests.

use std::time::Duration;

use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use tempfile::TempDir;

use super::{Position, Store, StoreError};

/// A home and the store in it.
pub(super) struct Home {
    pub(super) store: Store,
    pub(super) directory: TempDir,
}

/// A new home with an empty store.
pub(super) fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    Home { store: Store::open(directory.path()).unwrap(), directory }
}

/// A home with peer 2 as the contact Bob.
pub(super) async fn home_with_bob() -> Home {
    let home = home();
    home.store.add(peer(2), Some("Bob".into()), vec![]).await.unwrap();
    home
}

impl Home {
    /// Runs `sql` in the store's own queue.
    pub(super) async fn execute(&self, sql: &'static str) -> Result<(), StoreError> {
        self.store.submit(move |database| Ok(database.execute_batch(sql)?)).await
    }

    /// The number that `sql` finds.
    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        self.store.submit(move |database| Ok(database.query_row(sql, [], |row| row.get(0))?)).await.unwrap()
    }

    /// Holds the store's thread up until the sender is used or dropped; what is queued meanwhile waits together.
    pub(super) fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (held, hold) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel();
        drop(self.store.submit(move |_| {
            let _ = held.send(());
            let _ = released.recv();
            Ok(())
        }));
        hold.recv_timeout(Duration::from_secs(10)).unwrap();
        release
    }

    /// Stores a message of Bob's whose id and text follow from its number.
    pub(super) async fn receive(&self, log: u64, number: u64) -> Result<super::Receipt, StoreError> {
        let id = id(u8::try_from(number).unwrap());
        self.store.receive(peer(2), Position { log, number }, id, format!("text {number}").into(), number).await
    }
}

impl Store {
    /// Lets the database grow by so many pages, as if there were no more room.
    pub(crate) fn room(&self, pages: u32) -> super::Outcome<()> {
        self.submit(move |database| {
            let now: i64 = database.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let most = (now + i64::from(pages)).min(1_000_000_000);
            database.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))?;
            Ok(())
        })
    }
}

/// The n-th peer.
pub(super) fn peer(n: u8) -> PeerId {
    PeerId::new([n; 32])
}

/// The n-th message id.
pub(super) fn id(n: u8) -> MessageId {
    MessageId([n; 16])
}
