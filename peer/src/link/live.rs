//! What the links of a peer share, and what is known of each while it lives.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use knothole_proto::certificate::IdentitySecret;
use knothole_proto::identity::PeerId;
use quinn::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::configuration::Heartbeat;
use super::{Down, LinkEvent, LinkId, SendError};
use crate::socket::{Socket, VirtualAddress};

/// How many bodies a link queues. More tells the caller nothing new about how slow the link is.
const QUEUED_BODIES: usize = 64;

/// How many bytes a link queues, unless a single body has more: what a short message may have to wait behind.
const QUEUE_BYTES: usize = 512 << 10;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) socket: Arc<Socket>,
    pub(super) secret: IdentitySecret,
    pub(super) heartbeat: Heartbeat,
    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) expected: Mutex<HashMap<VirtualAddress, PeerId>>,
    pub(super) live: Mutex<HashMap<LinkId, Live>>,
    pub(super) tasks: Mutex<JoinSet<()>>,
    pub(super) next: AtomicU64,
    pub(super) leaving: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) virtual_address: VirtualAddress,
    pub(super) queue: mpsc::Sender<Vec<u8>>,
    pub(super) pressure: Arc<Pressure>,
    pub(super) connection: Option<Connection>,
    /// Ends the attempt to connect, as long as there is no connection.
    pub(super) attempt: oneshot::Sender<()>,
}

/// What a new link's task has of it.
pub(super) struct Enlisted {
    pub(super) link: LinkId,
    pub(super) pressure: Arc<Pressure>,
    pub(super) queue: mpsc::Receiver<Vec<u8>>,
    /// Says that the attempt to connect is to end.
    pub(super) aborted: oneshot::Receiver<()>,
}

/// How full a link's queue is, and whether somebody waits for room in it.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    bytes: AtomicUsize,
    waiting: AtomicBool,
}

impl Shared {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(super) fn enlist(&self, virtual_address: VirtualAddress) -> Enlisted {
        let link = LinkId(self.next.fetch_add(1, Relaxed));
        let (sender, queue) = mpsc::channel(QUEUED_BODIES);
        let pressure = Arc::<Pressure>::default();
        let (attempt, aborted) = oneshot::channel();
        let live = Live { virtual_address, queue: sender, pressure: pressure.clone(), connection: None, attempt };
        if !self.leaving.load(SeqCst) {
            locked(&self.live).insert(link, live);
        }
        Enlisted { link, pressure, queue, aborted }
    }

    pub(super) fn note_connection(&self, link: LinkId, connection: &Connection) {
        if let Some(live) = locked(&self.live).get_mut(&link) {
            live.connection = Some(connection.clone());
        }
    }

    pub(super) async fn strike(&self, link: LinkId, virtual_address: VirtualAddress, why: Down) {
        tracing::debug!(?link, %virtual_address, ?why, "link down");
        locked(&self.live).remove(&link);
        if !self.leaving.load(SeqCst) {
            // An engine that reads no more needs to know no more.
            let _ = self.events.send(LinkEvent::Down { link, virtual_address, why }).await;
        }
    }
}

impl Pressure {
    /// Queues a body if there is room. Whoever finds none is to be told of room later.
    pub(super) fn offer(&self, queue: &mpsc::Sender<Vec<u8>>, body: Vec<u8>) -> Result<(), SendError> {
        let body = match self.attempt(queue, body) {
            Err(SendError::Full(body)) => body,
            taken => return taken,
        };
        // The queue may have emptied since; one who finds it full after this is certain to be told.
        self.waiting.store(true, SeqCst);
        self.attempt(queue, body)
    }

    /// Takes the next body from the queue, and whether someone is now to be told of room.
    pub(super) async fn take(&self, queue: &mut mpsc::Receiver<Vec<u8>>) -> Option<(Vec<u8>, bool)> {
        let body = queue.recv().await?;
        let left = self.bytes.fetch_sub(body.len(), SeqCst) - body.len();
        let room = left <= QUEUE_BYTES / 2 && queue.len() <= QUEUED_BODIES / 2;
        let tell = room && self.waiting.swap(false, SeqCst);
        Some((body, tell))
    }

    fn attempt(&self, queue: &mpsc::Sender<Vec<u8>>, body: Vec<u8>) -> Result<(), SendError> {
        let length = body.len();
        let queued = self.bytes.load(SeqCst);
        if queued > 0 && queued + length > QUEUE_BYTES {
            return Err(SendError::Full(body));
        }
        self.bytes.fetch_add(length, SeqCst);
        queue.try_send(body).map_err(|refused| {
            self.bytes.fetch_sub(length, SeqCst);
            match refused {
                TrySendError::Full(body) => SendError::Full(body),
                TrySendError::Closed(_) => SendError::Gone,
            }
        })
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
