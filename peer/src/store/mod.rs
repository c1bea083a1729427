//! The store: all that must outlive the process, in one SQLite file, `HOME/knothole.db`.
//!
//! One thread owns the database. Every operation, reading too, is a job in its queue, so that an operation sees all that was
//! called before it, and a loop that must never wait can hand one in and take its [`Outcome`] as an event later. A job is
//! queued when its method is *called*, not when its future is first polled. Outcomes are sent after the commit that made
//! them durable, never before: what the store says is stored survives a kill and, as far as the disk is honest, a power cut.
//!
//! What it does not do: it keeps nobody else out of the home (the engine's lock does), it never shows, sends or interprets
//! a text, and it keeps no keys. Where the home is under a passphrase it is `knothole_vault` that seals the file; without, the
//! file is readable to whoever can read the home.

mod arrivals;
mod change;
mod check;
mod commit;
mod contact;
mod contacts;
mod content;
mod database;
mod drafts;
mod epochs;
mod error;
mod expiry;
#[cfg(test)]
mod fixture;
mod grams;
mod history;
mod incoming;
mod letters;
#[cfg(test)]
mod letters_tests;
mod named;
mod outgoing;
mod presence;
mod replace;
mod restored;
mod schema;
mod settings;
mod snapshot;
mod tidying;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use knothole_vault::Key;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::home::Home;

use commit::Job;
use database::Database;
use snapshot::{DatabaseFile, Hold};

pub use arrivals::{Arrived, Opened};
pub use change::{Change, News, What};
pub use commit::Outcome;
pub use contact::{Contact, ContactState, Summary};
pub use error::{OpenError, StoreError};
pub use expiry::Expired;
pub use history::{Author, Kind, Message, MessageState, Place, Reaction};
pub use incoming::{Conversation, Receipt};
pub use letters::{MAX_LETTERS, Sealed};
pub use outgoing::{Amended, Outgoing};
pub use presence::Acquaintance;
pub(crate) use restored::take_up;
pub(crate) use schema::{FILE, SEALED_FILE};
pub use snapshot::Snapshot;

/// Operations that may wait; a further one is refused with [`StoreError::Busy`]. Some seconds of work for a slow disk.
pub const CAPACITY: usize = 4096;

/// Characters of a contact's name at most: what a list can show.
pub const MAX_NAME: usize = 64;

/// Bytes of a stranger's greeting that are kept: enough to say who one is.
pub const MAX_GREETING: usize = 1024;

/// Contact requests that may wait: strangers can make them, and no person looks through more.
pub const MAX_REQUESTS: u32 = 100;

/// Messages in a page of history at most: what can be held in memory when each is as long as may be.
pub const MAX_PAGE: u32 = 1000;

/// A place in one side's log of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The log's id, random: a side that has lost its place begins a new log.
    pub log: u64,
    /// Counts the log's messages from 1, without gaps.
    pub number: u64,
}

/// A handle on the store; clones share it. When the last one goes without [`close`](Self::close), the thread still does what
/// is queued, but nobody waits for it: at the end of the process, what has no outcome yet may be lost.
#[derive(Clone)]
pub struct Store {
    worker: Arc<Mutex<Option<Worker>>>,
    /// Held while operations are called that are to share a transaction.
    gate: Arc<Mutex<()>>,
    hold: Arc<Hold>,
    file: Arc<DatabaseFile>,
}

struct Worker {
    queue: mpsc::Sender<Box<dyn Job>>,
    thread: JoinHandle<()>,
    at_rest: oneshot::Receiver<()>,
}

impl Store {
    /// Opens the database in `home`, an existing directory, makes it (mode 0600) or migrates it where needed, and starts its
    /// thread. Blocks while it reads the disk. At most one store at a time may be open in a home.
    ///
    /// # Errors
    /// [`OpenError`]: the file is another program's, a newer version's or damaged, or the system refuses.
    pub fn open(home: &Path) -> Result<Self, OpenError> {
        Self::start(home.join(FILE), schema::open(home, None)?, None)
    }

    /// The same in a home that may be under a passphrase, and is then open.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_in(home: &Home) -> Result<Self, OpenError> {
        let key = home.key().map_err(|_| OpenError::Sealed(home.path().to_owned()))?;
        let path = home.path().join(if key.is_some() { SEALED_FILE } else { FILE });
        Self::start(path, schema::open(home.path(), key)?, key.cloned())
    }

    fn start(path: PathBuf, database: Database, key: Option<Key>) -> Result<Self, OpenError> {
        let file = File::open(&path).map_err(|source| OpenError::File { path, source })?;
        let file = Arc::new(DatabaseFile::new(file, key));
        let hold = Arc::new(Hold::default());
        let (served, kept) = (hold.clone(), file.clone());
        let (queue, jobs) = mpsc::channel(CAPACITY);
        let (rest, at_rest) = oneshot::channel();
        let gate = Arc::new(Mutex::new(()));
        let gate_of_thread = gate.clone();
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                commit::serve(database, &served, jobs, &gate_of_thread);
                kept.close();
                // A store that is dropped, not closed, has nobody who waits.
                let _ = rest.send(());
            })
            .map_err(OpenError::Thread)?;
        Ok(Self { worker: Arc::new(Mutex::new(Some(Worker { queue, thread, at_rest }))), gate, hold, file })
    }

    /// Takes no further work, for any clone, from the moment of the call; the future ends when all that was queued is done,
    /// the log is merged into the file and the thread has ended. Closing again is no error.
    ///
    /// # Errors
    /// [`StoreError::Stopped`]: the thread had ended before, by a bug of ours.
    pub fn close(&self) -> impl Future<Output = Result<(), StoreError>> + Send + 'static + use<> {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.hold.end();
        let closing = worker.map(|Worker { queue, thread, at_rest }| {
            drop(queue);
            (thread, at_rest)
        });
        async move {
            let Some((thread, at_rest)) = closing else {
                return Ok(());
            };
            let rested = at_rest.await;
            // Returns at once: to say so was the thread's last act.
            thread.join().map_err(|_| StoreError::Stopped)?;
            rested.map_err(|_| StoreError::Stopped)
        }
    }

    /// The operations that `calls` calls share a transaction, and so a sync of the disk, unless they are very many. Each fails
    /// or succeeds for itself all the same.
    pub fn together<T>(&self, calls: impl FnOnce() -> T) -> T {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        calls()
    }

    /// Queues `work`. It may run more than once, each time on the state that the run before has not touched.
    fn submit<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Outcome<T> {
        self.queue(commit::job(work))
    }

    /// The same outside of a transaction, and once only.
    fn submit_alone<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Outcome<T> {
        self.queue(commit::job_alone(work))
    }

    fn queue<T>(&self, (job, outcome): (Box<dyn Job>, Outcome<T>)) -> Outcome<T> {
        match &*self.worker.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(worker) => match worker.queue.try_send(job) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(job)) => job.refuse(StoreError::Busy),
                Err(mpsc::error::TrySendError::Closed(job)) => job.refuse(StoreError::Stopped),
            },
            None => job.refuse(StoreError::Stopped),
        }
        outcome
    }
}

/// Opens the database in a home and closes it, so that all of it is in one file, of the newest version.
pub(crate) fn bring_to_rest(home: &Home) -> Result<(), OpenError> {
    let key = home.key().map_err(|_| OpenError::Sealed(home.path().to_owned()))?;
    let database = schema::open(home.path(), key)?;
    let path = home.path().join(if key.is_some() { SEALED_FILE } else { FILE });
    database.rest().map_err(|error| OpenError::Unusable { path, source: error.into() })
}

/// Unix time in milliseconds.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| saturating(since.as_millis()))
}

/// A number as SQLite holds it. Times beyond its range, and only hostile ones are, become the last that fits.
fn saturating(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::task::{Context, Waker};

    use super::fixture::{home_with_bob, id, peer};
    use super::*;

    #[tokio::test]
    async fn what_was_told_stored_survives_a_kill() {
        let home = home_with_bob().await;
        for number in 1..=20 {
            home.receive(7, number).await.unwrap();
        }
        // The files as a kill would leave them: no thread of ours gets to tidy them.
        let killed = tempfile::tempdir().unwrap();
        for file in ["knothole.db", "knothole.db-wal"] {
            fs::copy(home.directory.path().join(file), killed.path().join(file)).unwrap();
        }
        let store = Store::open(killed.path()).unwrap();
        assert_eq!(store.history(peer(2), None, None, 99).await.unwrap().len(), 20);
        let received = store.conversation(peer(2)).await.unwrap().received;
        assert_eq!(received, Some(Position { log: 7, number: 20 }));
    }

    #[tokio::test]
    async fn a_store_that_is_dropped_unclosed_has_done_what_it_told() {
        let home = home_with_bob().await;
        let composed = home.store.compose(peer(2), id(1), "hi".into(), 0);
        drop(home.store);
        let position = composed.await.unwrap();
        let store = Store::open(home.directory.path()).unwrap();
        assert_eq!(store.outbox(peer(2), 0, 9, 99).await.unwrap()[0].position, position);
    }

    #[tokio::test]
    async fn closing_does_what_is_queued_and_leaves_one_file() {
        let home = home_with_bob().await;
        let release = home.hold();
        let composed: Vec<_> = (0..100).map(|n| home.store.compose(peer(2), id(n), "hi".into(), 0)).collect();
        let other = home.store.clone();
        let closing = home.store.close();
        assert_eq!(other.contacts().await, Err(StoreError::Stopped));
        drop(release);
        closing.await.unwrap();
        other.close().await.unwrap();
        for outcome in composed {
            outcome.await.unwrap();
        }
        let files: Vec<_> =
            fs::read_dir(home.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["knothole.db"]);
    }

    #[tokio::test]
    async fn an_operation_is_queued_when_called_not_when_polled() {
        let home = home_with_bob().await;
        let unpolled = home.store.compose(peer(2), id(1), "hi".into(), 0);
        assert_eq!(home.store.outbox(peer(2), 0, 9, 99).await.unwrap().len(), 1);
        drop(unpolled);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_recovers() {
        let home = home_with_bob().await;
        let release = home.hold();
        let waiting: Vec<_> = (0..CAPACITY).map(|_| home.store.setting("x")).collect();
        let mut refused = std::pin::pin!(home.store.setting("x"));
        let answer = refused.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(answer, std::task::Poll::Ready(Err(StoreError::Busy)));
        drop(release);
        for outcome in waiting {
            assert_eq!(outcome.await, Ok(None));
        }
        assert_eq!(home.store.setting("x").await, Ok(None));
    }

    #[tokio::test]
    async fn a_panic_in_a_job_is_an_error_to_all_that_wait() {
        let home = home_with_bob().await;
        let bug = home.store.submit(|_| -> Result<(), StoreError> { panic!("a bug, on purpose") });
        assert_eq!(bug.await, Err(StoreError::Stopped));
        assert_eq!(home.store.contacts().await, Err(StoreError::Stopped));
        assert_eq!(home.store.close().await, Err(StoreError::Stopped));
    }
}
