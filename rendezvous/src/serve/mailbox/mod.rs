//! Mailboxes on the disk: one SQLite file, `mailbox.db` in the state directory, and the thread that owns it.
//!
//! The thread does the machine's orders in their order. What waits while the disk writes is done in the next transaction, all
//! of it together, and answered when that is durable: what was told to be kept survives a kill and, as far as the disk is
//! honest, a power cut. What is destroyed is overwritten (`secure_delete`), and the write-ahead log is emptied as soon as
//! nothing is to do.

mod file;

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

pub use self::file::OpenError;
use crate::mailbox::{Contents, Done, Order};

/// Orders in one transaction at most: beyond this a sync is a small part of the time, and the first has waited long.
const GROUP: usize = 256;

/// Quiet for so long, the thread empties the write-ahead log, where copies of what was destroyed may be.
const QUIET: Duration = Duration::from_secs(1);

/// The loop's end of the thread. Orders and answers are not bounded here but by the machine, which counts them.
#[derive(Debug)]
pub(super) struct Disk {
    orders: Sender<Order>,
    done: UnboundedReceiver<Done>,
}

impl Disk {
    /// Opens the file in this directory, which exists, or makes it, and starts its thread; the last value comes when it has
    /// ended, which it does when the disk is dropped and everything is done.
    pub(super) fn open(state: &Path) -> Result<(Self, Contents, oneshot::Receiver<()>), OpenError> {
        let (database, contents) = file::open(state)?;
        let (orders, inbox) = channel();
        let (answers, done) = unbounded_channel();
        let (ended, end) = oneshot::channel();
        let work = move || {
            serve(database, &inbox, &answers);
            // Nobody waits for the end of a rendezvous that is dropped.
            let _ = ended.send(());
        };
        thread::Builder::new().name("mailbox".to_owned()).spawn(work).map_err(OpenError::Thread)?;
        Ok((Self { orders, done }, contents, end))
    }

    /// Hands an order to the thread. It is answered unless the thread has ended, by a bug of ours.
    pub(super) fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the mailbox thread has ended: no letter is kept any more");
        }
    }

    /// The next answer, and with it all that are there; none, ever, if the thread has ended.
    pub(super) async fn done(&mut self) -> Option<Done> {
        self.done.recv().await
    }

    /// Another answer if it is there already.
    pub(super) fn more(&mut self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

/// Works until nobody orders any more.
fn serve(database: Connection, orders: &Receiver<Order>, answers: &UnboundedSender<Done>) {
    let mut group = Vec::with_capacity(GROUP);
    let mut dirty = false;
    loop {
        let first = if dirty { orders.recv_timeout(QUIET) } else { orders.recv().map_err(Into::into) };
        match first {
            Ok(order) => group.push(order),
            Err(RecvTimeoutError::Timeout) => {
                dirty = false;
                file::empty_log(&database);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while group.len() < GROUP
            && let Ok(order) = orders.try_recv()
        {
            group.push(order);
        }
        dirty |= group.iter().any(|order| !matches!(order, Order::Fetch { .. }));
        for done in settle(&database, &mut group) {
            // The loop has ended; what is in the queue is still done.
            let _ = answers.send(done);
        }
    }
    file::empty_log(&database);
    if let Err((_, error)) = database.close() {
        tracing::info!(%error, "the mailboxes' file closes with an error");
    }
}

/// Does the orders, and empties the list; the answers say what is on the disk.
fn settle(database: &Connection, orders: &mut Vec<Order>) -> Vec<Done> {
    match commit(database, orders) {
        Ok(done) => {
            orders.clear();
            done
        }
        // Some of them may be possible: a full disk still takes what destroys.
        Err(error) if orders.len() > 1 => {
            tracing::debug!(orders = orders.len(), %error, "a transaction failed, its halves are tried apart");
            let mut later = orders.split_off(orders.len() / 2);
            let mut done = settle(database, orders);
            done.extend(settle(database, &mut later));
            done
        }
        Err(_) => {
            // The log may have the room that is wanting.
            file::empty_log(database);
            let again = commit(database, orders).inspect_err(|error| {
                tracing::warn!(%error, "the mailboxes' disk refuses; see whether it is full");
            });
            let orders = orders.drain(..);
            again.unwrap_or_else(|_| orders.map(failed).collect())
        }
    }
}

/// Does the orders in one transaction; an error means that nothing of them was done.
fn commit(database: &Connection, orders: &[Order]) -> rusqlite::Result<Vec<Done>> {
    if orders.iter().all(|order| matches!(order, Order::Fetch { .. })) {
        return orders.iter().map(|order| file::obey(database, order)).collect();
    }
    let transaction = Transaction::new_unchecked(database, TransactionBehavior::Immediate)?;
    let done = orders.iter().map(|order| file::obey(&transaction, order)).collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(done)
}

/// The answer to an order that the disk refuses.
fn failed(order: Order) -> Done {
    match order {
        Order::Name { owner, .. } => Done::Named { owner, durable: false },
        Order::Close { owner, letters } => Done::Closed { owner, failed: Some(letters) },
        Order::Store { owner, letter, envelope } => Done::Stored { owner, letter: letter.id, failed: Some(envelope) },
        Order::Fetch { owner, letter } => Done::Fetched { owner, letter, envelope: None },
        Order::Seen { .. } | Order::Empty { .. } | Order::Destroy { .. } => Done::Obeyed,
    }
}

#[cfg(test)]
mod tests;
