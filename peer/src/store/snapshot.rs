//! The whole database as it is at one moment, to be read while the store goes on.
//!
//! The log is merged into the file, and not again until the snapshot is dropped: meanwhile all that is written goes into the
//! log alone, and the file is what it was. So nothing is copied first, and a sealed database is never on the disk in the clear.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use knothole_vault::{Key, Reader, Refused};

use super::{Outcome, Store, StoreError};

/// Bytes of a page, of which there is a whole number.
const PAGE: usize = 4096;

/// Pages of the log after which SQLite merges it: its own default.
const CHECKPOINT: u32 = 1000;

/// The file beside the connection. It stays open as long as that does.
pub(super) struct DatabaseFile {
    file: Mutex<Option<Arc<File>>>,
    key: Option<Key>,
}

impl DatabaseFile {
    pub(super) fn new(file: File, key: Option<Key>) -> Self {
        Self { file: Mutex::new(Some(Arc::new(file))), key }
    }

    /// The connection is closed. (To close any descriptor of a file ends the locks that this process has on it.)
    pub(super) fn close(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Whether somebody reads the file, and whether that must end.
#[derive(Default)]
pub(super) struct Hold {
    state: Mutex<HoldState>,
    released: Condvar,
}

#[derive(Default)]
struct HoldState {
    held: bool,
    ending: bool,
}

impl Hold {
    /// One reader at a time.
    fn take(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !state.held && !state.ending;
        state.held |= free;
        free
    }

    fn release(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held = false;
        self.released.notify_all();
    }

    fn is_ending(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ending
    }

    /// Reading is to end: the store closes.
    pub(super) fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ending = true;
    }

    /// Waits until nobody reads; a reader sees at its next page that the store closes.
    pub(super) fn wait(&self) {
        self.end();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.released.wait_while(state, |state| state.held));
    }
}

/// The database as it was when this was asked for. The log grows until this is dropped.
pub struct Snapshot {
    store: Store,
    pages: Pages,
}

enum Pages {
    Plain { file: Arc<File>, offset: u64, size: u64 },
    Sealed(Box<Reader>),
}

impl Store {
    /// The database as it will be when all that was called before is done.
    ///
    /// # Errors
    /// [`StoreError::Busy`]: there is another snapshot; or those of the disk.
    pub fn snapshot(&self) -> Outcome<Snapshot> {
        let store = self.clone();
        self.submit_alone(move |database| {
            if !store.hold.take() {
                return Err(StoreError::Busy);
            }
            let pages = database
                .pragma_update(None, "wal_autocheckpoint", 0)
                .and_then(|()| database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)))
                .map_err(StoreError::from)
                .and_then(|busy: bool| if busy { Err(StoreError::Locked) } else { store.pages() });
            match pages {
                Ok(pages) => Ok(Snapshot { store: store.clone(), pages }),
                Err(error) => {
                    store.hold.release();
                    database.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
                    Err(error)
                }
            }
        })
    }

    fn pages(&self) -> Result<Pages, StoreError> {
        let file = self.file.file.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StoreError::Stopped)?;
        match &self.file.key {
            Some(key) => Reader::new(file, key).map(|reader| Pages::Sealed(Box::new(reader))).map_err(told),
            None => {
                let size = file.metadata().map_err(|error| StoreError::Disk(error.to_string()))?.len();
                Ok(Pages::Plain { file, offset: 0, size })
            }
        }
    }
}

impl Snapshot {
    /// Reads the next page, 4,096 bytes in the clear; whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Stopped`]: the store closes; or those of the disk.
    pub fn page(&mut self, page: &mut [u8; PAGE]) -> Result<bool, StoreError> {
        if self.store.hold.is_ending() {
            return Err(StoreError::Stopped);
        }
        match &mut self.pages {
            Pages::Sealed(reader) => reader.page(page).map_err(told),
            Pages::Plain { offset, size, .. } if offset == size => Ok(false),
            Pages::Plain { file, offset, .. } => {
                file.read_exact_at(page, *offset).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => StoreError::Damaged,
                    _ => StoreError::Disk(error.to_string()),
                })?;
                *offset += PAGE as u64;
                Ok(true)
            }
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.store.hold.release();
        drop(self.store.submit_alone(|database| Ok(database.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?)));
    }
}

fn told(refused: Refused) -> StoreError {
    match refused {
        Refused::Disk(error) => StoreError::Disk(error.to_string()),
        Refused::Unfit | Refused::Damaged => StoreError::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::store::fixture::{home_with_bob, id, peer};

    fn copy(snapshot: &mut Snapshot) -> Connection {
        let (mut bytes, mut page) = (Vec::new(), [0; PAGE]);
        while snapshot.page(&mut page).unwrap() {
            bytes.extend_from_slice(&page);
        }
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), bytes).unwrap();
        let database = Connection::open(path.path()).unwrap();
        // The file may go; the connection has read it by then.
        let answer: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(answer, "ok");
        database
    }

    fn said(database: &Connection) -> i64 {
        database.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap()
    }

    #[tokio::test]
    async fn a_snapshot_stays_what_it_was_while_the_store_goes_on() {
        let home = home_with_bob().await;
        for n in 0..50 {
            home.store.compose(peer(2), id(n), "before".to_owned().into(), 0).await.unwrap();
        }
        let mut snapshot = home.store.snapshot().await.unwrap();
        let text = "after ".repeat(5000);
        for n in 50..250 {
            home.store.compose(peer(2), id(n), text.clone().into(), 0).await.unwrap();
        }
        assert_eq!(said(&copy(&mut snapshot)), 50);
        assert!(matches!(home.store.snapshot().await, Err(StoreError::Busy)));
        drop(snapshot);
        let mut later = home.store.snapshot().await.unwrap();
        assert_eq!(said(&copy(&mut later)), 250);
    }

    #[tokio::test]
    async fn a_store_that_closes_ends_the_reading_and_waits_for_that() {
        let home = home_with_bob().await;
        let mut snapshot = home.store.snapshot().await.unwrap();
        let closing = home.store.close();
        assert!(matches!(snapshot.page(&mut [0; PAGE]), Err(StoreError::Stopped)));
        drop(snapshot);
        closing.await.unwrap();
    }
}
