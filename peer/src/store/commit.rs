//! Group commit: whatever waits is done in one transaction, and outcomes leave only after it is on the disk.
//!
//! A sync costs milliseconds and a job microseconds, so jobs that arrive during a sync share the next one. Sharing a fate is
//! not the price: each job runs under a savepoint, so one that fails undoes itself alone; and where the transaction as a
//! whole fails, its halves are tried apart until those that can be stored are.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::database::Database;
use super::error::StoreError;
use super::snapshot::Hold;

/// Jobs in one transaction at most: beyond this a sync is a small part of the time, and the first job has waited long.
const GROUP: usize = 256;

/// The outcome of an operation that is on its way: the operation runs whether or not this is awaited. Operations run in
/// the order in which they were called.
#[must_use = "the operation runs all the same, but only its outcome tells whether it was stored"]
pub struct Outcome<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Future for Outcome<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.unwrap_or(Err(StoreError::Stopped)))
    }
}

/// One operation in the queue. It may run several times before it is settled; only the last run counts.
pub(super) trait Job: Send {
    /// Whether it is to run outside of any transaction.
    fn alone(&self) -> bool;
    /// Does the work, keeps the outcome, and tells whether what it wrote is to stay.
    fn run(&mut self, database: &Connection) -> Result<(), StoreError>;
    /// Sends the outcome of the last run.
    fn settle(self: Box<Self>);
    /// Sends an error instead.
    fn refuse(self: Box<Self>, error: StoreError);
}

/// Makes a job of `work`, and the future that learns its outcome.
pub(super) fn job<T: Send + 'static>(
    work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Job>, Outcome<T>) {
    boxed(work, false)
}

/// The same for what can be done outside of a transaction only.
pub(super) fn job_alone<T: Send + 'static>(
    work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> (Box<dyn Job>, Outcome<T>) {
    boxed(work, true)
}

fn boxed<T: Send + 'static>(
    work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    alone: bool,
) -> (Box<dyn Job>, Outcome<T>) {
    let (reply, outcome) = oneshot::channel();
    (Box::new(Work { work, alone, outcome: Err(StoreError::Stopped), reply }), Outcome(outcome))
}

/// Works until the last sender is gone, then brings the database to rest. Whoever holds the `gate` is about to queue more that
/// belongs to what is queued.
pub(super) fn serve(database: Database, hold: &Hold, mut queue: mpsc::Receiver<Box<dyn Job>>, gate: &Mutex<()>) {
    let mut group = Vec::with_capacity(GROUP);
    while queue.blocking_recv_many(&mut group, GROUP) > 0 {
        drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
        while group.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            group.push(job);
        }
        while let Some(place) = group.iter().position(|job| job.alone()) {
            let later = group.split_off(place + 1);
            let alone = group.pop();
            settle(&database, &mut group);
            if let Some(mut job) = alone {
                // What went wrong is in its outcome.
                let _ = job.run(&database);
                job.settle();
            }
            group = later;
        }
        settle(&database, &mut group);
    }
    hold.wait();
    // All is durable in the log already; a checkpoint that fails is made up for at the next opening.
    if let Err(error) = database.rest() {
        tracing::info!(%error, "the database closes without a checkpoint");
    }
}

struct Work<T, F> {
    work: F,
    alone: bool,
    outcome: Result<T, StoreError>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&Connection) -> Result<T, StoreError> + Send> Job for Work<T, F> {
    fn alone(&self) -> bool {
        self.alone
    }

    fn run(&mut self, database: &Connection) -> Result<(), StoreError> {
        self.outcome = (self.work)(database);
        self.outcome.as_ref().map(drop).map_err(Clone::clone)
    }

    fn settle(self: Box<Self>) {
        // Nobody waits any more: then nobody need know.
        let _ = self.reply.send(self.outcome);
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        let _ = self.reply.send(Err(error));
    }
}

/// Empties `jobs`, each with the outcome that it really had.
fn settle(database: &Connection, jobs: &mut Vec<Box<dyn Job>>) {
    if jobs.is_empty() {
        return;
    }
    match commit(database, jobs) {
        Ok(()) => {
            tracing::trace!(jobs = jobs.len(), "committed");
            jobs.drain(..).for_each(Job::settle);
        }
        Err(error) if jobs.len() > 1 => {
            tracing::debug!(jobs = jobs.len(), %error, "a transaction failed, its halves are tried apart");
            let mut later = jobs.split_off(jobs.len() / 2);
            settle(database, jobs);
            settle(database, &mut later);
        }
        Err(error) => jobs.drain(..).for_each(|job| job.refuse(error.clone())),
    }
}

/// Runs the jobs in one transaction. An error means that nothing of them was stored.
fn commit(database: &Connection, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    // Immediate: a transaction that begins by reading could find at its first write that the file has moved on.
    let transaction = Transaction::new_unchecked(database, TransactionBehavior::Immediate)?;
    for job in jobs {
        database.prepare_cached("SAVEPOINT job")?.execute([])?;
        if let Err(error) = job.run(database) {
            if database.is_autocommit() {
                // SQLite has given up the whole transaction, the earlier jobs' share too.
                return Err(error);
            }
            database.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        database.prepare_cached("RELEASE job")?.execute([])?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::store::fixture::{Home, home_with_bob, id, peer};
    use crate::store::{Outcome, Position, StoreError};

    /// Commits in SQLite's write-ahead log: the frames that give the size of the database after them (file format, 4.1).
    fn commits(home: &Home) -> usize {
        let log = fs::read(home.directory.path().join("knothole.db-wal")).unwrap();
        let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
        log[32..].chunks(24 + page).filter(|frame| frame[4..8] != [0; 4]).count()
    }

    fn compose(home: &Home, n: u8) -> Outcome<Position> {
        home.store.compose(peer(2), id(n), "x".repeat(6000).into(), 0)
    }

    #[tokio::test]
    async fn what_is_called_together_is_committed_together() {
        let home = home_with_bob().await;
        let before = commits(&home);
        let (first, second) = home.store.together(|| {
            let first = compose(&home, 1);
            // As long as the thread would need to begin.
            std::thread::sleep(std::time::Duration::from_millis(20));
            (first, compose(&home, 2))
        });
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(commits(&home) - before, 1);
    }

    #[tokio::test]
    async fn what_waits_together_is_committed_together() {
        let home = home_with_bob().await;
        let release = home.hold();
        let before = commits(&home);
        let waiting: Vec<_> = (0..200).map(|n| home.store.compose(peer(2), id(n), "hi".into(), 0)).collect();
        drop(release);
        for outcome in waiting {
            outcome.await.unwrap();
        }
        assert_eq!(commits(&home) - before, 1);
    }

    #[tokio::test]
    async fn an_outcome_comes_after_the_commit() {
        let home = home_with_bob().await;
        let before = commits(&home);
        compose(&home, 1).await.unwrap();
        assert_eq!(commits(&home) - before, 1);
        home.store.contacts().await.unwrap();
        assert_eq!(commits(&home) - before, 1, "reading writes nothing");
    }

    #[tokio::test]
    async fn a_job_that_fails_half_way_undoes_itself_and_nobody_else() {
        let home = home_with_bob().await;
        let release = home.hold();
        let before = compose(&home, 1);
        let failing = home.store.submit(|database| -> Result<(), StoreError> {
            database.execute_batch("UPDATE contacts SET name = 'Eve', next = 77")?;
            Err(StoreError::UnknownMessage)
        });
        let after = compose(&home, 2);
        drop(release);
        assert_eq!(before.await.unwrap().number, 1);
        assert_eq!(failing.await, Err(StoreError::UnknownMessage));
        assert_eq!(after.await.unwrap().number, 2);
        assert_eq!(home.store.contacts().await.unwrap()[0].name, "Bob");
    }

    #[tokio::test]
    async fn a_job_that_makes_the_commit_fail_fails_alone() {
        let home = home_with_bob().await;
        let release = home.hold();
        let mut waiting: Vec<_> = (0..20).map(|n| compose(&home, n)).collect();
        let failing = home.store.submit(|database| {
            // The violation is looked for at the commit only.
            database.execute_batch(
                "PRAGMA defer_foreign_keys = on; INSERT INTO received (contact, log, upto, used) VALUES (77, 1, 1, 1)",
            )?;
            Ok(())
        });
        waiting.extend((20..30).map(|n| compose(&home, n)));
        drop(release);
        for (number, outcome) in (1..).zip(waiting) {
            assert_eq!(outcome.await.unwrap().number, number);
        }
        assert!(matches!(failing.await, Err(StoreError::Disk(_))));
        assert_eq!(home.count("SELECT count(*) FROM received").await, 0);
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_gives_up_is_tried_again_without_the_culprit() {
        let home = home_with_bob().await;
        let release = home.hold();
        let first = compose(&home, 1);
        let failing = home.store.submit(|database| -> Result<(), StoreError> {
            database.execute_batch("ROLLBACK")?;
            Err(StoreError::Full)
        });
        let last = compose(&home, 2);
        drop(release);
        assert_eq!(first.await.unwrap().number, 1);
        assert_eq!(failing.await, Err(StoreError::Full));
        assert_eq!(last.await.unwrap().number, 2);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_nothing_is_lost_when_there_is_room_again() {
        let home = home_with_bob().await;
        home.execute("PRAGMA max_page_count = 60").await.unwrap();
        let release = home.hold();
        let waiting: Vec<_> = (0..100).map(|n| compose(&home, n)).collect();
        drop(release);
        let mut stored = Vec::new();
        let mut refused = Vec::new();
        for (n, outcome) in (0..).zip(waiting) {
            match outcome.await {
                Ok(position) => stored.push((position.number, id(n))),
                Err(error) => {
                    assert_eq!(error, StoreError::Full);
                    assert!(error.to_string().contains("free some space, then try again"));
                    refused.push(n);
                }
            }
        }
        assert!(!stored.is_empty() && !refused.is_empty());
        // Reading goes on, and shows what was told to be stored, no more.
        assert_eq!(home.store.history(peer(2), None, None, 1000).await.unwrap().len(), stored.len());

        home.execute("PRAGMA max_page_count = 100000").await.unwrap();
        for n in refused {
            stored.push((compose(&home, n).await.unwrap().number, id(n)));
        }
        let outbox = home.store.outbox(peer(2), 0, 1000, usize::MAX).await.unwrap();
        let places: Vec<_> = outbox.iter().map(|outgoing| (outgoing.position.number, outgoing.id)).collect();
        assert_eq!(places, stored);
        assert!(stored.iter().map(|(number, _)| *number).eq(1..=100), "no number is missing");
        home.execute("INSERT INTO messages_grams (messages_grams) VALUES ('integrity-check')").await.unwrap();
    }
}
