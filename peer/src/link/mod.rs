//! The live connections to contacts: QUIC over the peer's socket, one conversation stream each.
//!
//! [`Links`] dials and accepts at virtual addresses, lets in only the key that is expected at the address, and carries
//! bodies both ways. The engine calls it without ever waiting, and reads [`LinkEvent`]s. Every link that was dialled or
//! reported up ends with exactly one [`LinkEvent::Down`], after its last body.
//!
//! Not here: whether to dial, which of two links to a contact to keep, what a body means, when it counts as delivered.
//! A link keeps nothing beyond its end; a conversation outlives its links elsewhere.

mod configuration;
mod congestion;
mod conversation;
mod handshake;
mod live;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use knothole_proto::certificate::{IdentitySecret, PEER_ALPN};
use knothole_proto::identity::{PeerId, PublicKey};
use quinn::{ClientConfig, Connecting, Connection, Endpoint, TokenMemoryCache, VarInt, ZeroRttAccepted};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub(crate) use configuration::{Heartbeat, SetupError};
pub(crate) use conversation::Abort;
use conversation::{Conversation, FAREWELL, GOODBYE};
pub(crate) use handshake::exported;
use live::{Enlisted, Live, Shared, locked};

use crate::socket::{Socket, VirtualAddress};

/// The most bytes that a body may have: a file's chunk of 128 KiB with its frame and proof fits with room to spare.
pub(crate) const BODY: usize = 192 << 10;

/// How many events wait for the engine before links stop reading; with bodies of full length, 12 MiB.
const EVENTS: usize = 64;

/// How long the endpoint stays after the last close, to repeat it to whoever has not heard it: most round trips. Whoever
/// misses it finds out by the idle timeout.
const LAST_WORDS: Duration = Duration::from_millis(150);

/// A link, never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(u64);

/// What happens on links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// Both sides have proved their keys and let each other in.
    Up {
        /// The new link.
        link: LinkId,
        /// Whose it is.
        virtual_address: VirtualAddress,
        /// The key that the other side proved: the one expected at this address.
        peer: PeerId,
        /// Whether we dialled.
        dialled: bool,
        /// Whether the other side resumed a session, and spoke before its handshake was done.
        early: bool,
    },
    /// A body came, in the order in which it was sent.
    Body {
        /// The link that it came by.
        link: LinkId,
        /// 1 to [`BODY`] bytes.
        body: Vec<u8>,
    },
    /// There is room again after [`SendError::Full`].
    Drained {
        /// The link that was full.
        link: LinkId,
    },
    /// The link has ended. What was queued on it may or may not have arrived.
    Down {
        /// The link, of which nothing more is heard.
        link: LinkId,
        /// Whose it was.
        virtual_address: VirtualAddress,
        /// Why it ended.
        why: Down,
    },
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Down {
    /// One of the two closed it in good order.
    Goodbye,
    /// The other side keeps another link to us.
    Replaced,
    /// The other side stays, but has nothing to say at present.
    Resting,
    /// The other side was silent for too long, or never answered.
    TimedOut,
    /// The other side was restarted and knows nothing of this link.
    Reset,
    /// One of the two did not find the key that it expected.
    Refused,
    /// Something else, in words for the log.
    Failed(String),
}

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// The link's queue is full; here is the body back, and [`LinkEvent::Drained`] will say when to come again.
    #[error("the link is busy")]
    Full(Vec<u8>),
    /// The link has ended or is closing.
    #[error("the link is gone")]
    Gone,
    /// The body has more than [`BODY`] bytes.
    #[error("the body is too long")]
    TooLong,
}

/// All links of a peer. Dropping it ends them without waiting for anything.
#[derive(Debug)]
pub(crate) struct Links {
    endpoint: Endpoint,
    tokens: Arc<TokenMemoryCache>,
    /// How each contact that was ever dialled is known, with the sessions that may be resumed with it.
    sessions: Mutex<HashMap<PublicKey, ClientConfig>>,
    accepting: AbortHandle,
    shared: Arc<Shared>,
}

impl Links {
    /// Begins to carry QUIC over the socket. The receiver must be read for links to make progress.
    ///
    /// # Errors
    /// [`SetupError`]. Must be called within a Tokio runtime.
    pub(crate) fn new(
        socket: Arc<Socket>,
        secret: &IdentitySecret,
        heartbeat: Heartbeat,
    ) -> Result<(Self, mpsc::Receiver<LinkEvent>), SetupError> {
        let server = configuration::server(secret)?;
        let endpoint = Endpoint::new_with_abstract_socket(
            configuration::endpoint(secret),
            Some(server.clone()),
            socket.clone(),
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(SetupError::because)?;
        let (sender, events) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared {
            socket,
            secret: secret.clone(),
            heartbeat,
            events: sender,
            expected: Default::default(),
            live: Default::default(),
            tasks: Default::default(),
            next: AtomicU64::new(1),
            leaving: AtomicBool::new(false),
        });
        let accepting = tokio::spawn(handshake::accept_all(shared.clone(), endpoint.clone(), server)).abort_handle();
        Ok((Self { endpoint, tokens: Arc::default(), sessions: Mutex::default(), accepting, shared }, events))
    }

    /// Lets in `peer` at this virtual address from now on, and no other. At an address where nobody is expected,
    /// nothing is answered.
    pub(crate) fn expect(&self, virtual_address: VirtualAddress, peer: PeerId) {
        locked(&self.shared.expected).insert(virtual_address, peer);
    }

    /// Lets in nobody at this virtual address any more. Links that are up stay up.
    pub(crate) fn expect_nobody(&self, virtual_address: VirtualAddress) {
        locked(&self.shared.expected).remove(&virtual_address);
    }

    /// Dials whoever holds the key `expected`. Bodies may be sent at once: they go out with the end of the handshake,
    /// to that key alone, or with its beginning where a session with that key can be resumed. Every failure is reported
    /// as [`LinkEvent::Down`].
    ///
    /// `rtt` is the round trip to assume until one is measured, as the check of the path found it.
    #[must_use]
    pub(crate) fn dial(&self, virtual_address: VirtualAddress, expected: PeerId, rtt: Duration) -> LinkId {
        let connecting = self.connect(virtual_address, expected, PEER_ALPN, Some(rtt));
        self.follow(virtual_address, expected, handshake::open(connecting))
    }

    /// Makes a link of a connection that is being opened.
    fn follow(
        &self,
        virtual_address: VirtualAddress,
        expected: PeerId,
        opening: impl Future<Output = Result<(Connection, Option<ZeroRttAccepted>), Down>> + Send + 'static,
    ) -> LinkId {
        let shared = self.shared.clone();
        let Enlisted { link, pressure, queue, aborted } = shared.enlist(virtual_address);
        self.shared.spawn(async move {
            let conversation = Conversation {
                link,
                virtual_address,
                peer: expected,
                dialled: true,
                early: false,
                queue,
                pressure,
                events: shared.events.clone(),
            };
            let opened = tokio::select! {
                opened = opening => opened,
                // A link that is closed in good order goes on until it has said what it had to say.
                Ok(()) = aborted => Err(Down::Goodbye),
            };
            let why = match opened {
                Ok((connection, early)) => {
                    shared.note_connection(link, &connection);
                    conversation.open(connection, early).await
                }
                Err(why) => why,
            };
            shared.strike(link, virtual_address, why).await;
        });
        link
    }

    /// Queues a body, which goes out in its turn; that it was taken says nothing about its arrival. An empty one is not
    /// reported on the other side.
    ///
    /// # Errors
    /// [`SendError`]; never waits.
    pub(crate) fn send(&self, link: LinkId, body: Vec<u8>) -> Result<(), SendError> {
        if body.len() > BODY {
            return Err(SendError::TooLong);
        }
        let live = locked(&self.shared.live);
        let Live { queue, pressure, .. } = live.get(&link).ok_or(SendError::Gone)?;
        pressure.offer(queue, body)
    }

    /// Closes a link in good order: what is queued is sent, and acknowledged unless that takes longer than a second.
    /// [`LinkEvent::Down`] follows.
    pub(crate) fn close(&self, link: LinkId) {
        locked(&self.shared.live).remove(&link);
    }

    /// Closes a link at once; what was queued on it is dropped.
    pub(crate) fn abort(&self, link: LinkId, why: Abort) {
        match locked(&self.shared.live).remove(&link) {
            Some(Live { connection: Some(connection), .. }) => {
                let (code, reason) = why.said();
                connection.close(code, reason);
            }
            // The task may just have connected: then it finds its queue closed.
            Some(Live { attempt, .. }) => drop(attempt.send(())),
            None => {}
        }
    }

    /// Has every link at a virtual address send something at once: to be called when its route has changed. QUIC would
    /// else find out that the new path carries only when it next repeats itself, which after an outage may take as long
    /// again as the outage took.
    pub(crate) fn nudge(&self, virtual_address: VirtualAddress) {
        let live = locked(&self.shared.live);
        for Live { queue, pressure, connection, .. } in
            live.values().filter(|live| live.virtual_address == virtual_address)
        {
            // An empty body is nobody's. A queue that has no room for it has more to send than that.
            let _ = pressure.offer(queue, Vec::new());
            if let Some(connection) = connection {
                // Changes nothing, but has QUIC look what it may send under the new path's window.
                connection.set_max_concurrent_uni_streams(VarInt::from_u32(0));
            }
        }
    }

    /// A secret that only the two ends of a link have (RFC 8446 section 7.5), the same on both for the same label.
    #[must_use]
    pub(crate) fn exported_secret(&self, link: LinkId, label: &[u8]) -> Option<[u8; 32]> {
        let live = locked(&self.shared.live);
        exported(live.get(&link)?.connection.as_ref()?, label)
    }

    /// Closes all links in good order, as [`Self::close`] does, and takes two seconds at most. No more events come, and
    /// they need not be read. The routes must lead to the contacts until it is done; the socket goes on receiving as long
    /// as this lives.
    pub(crate) async fn shutdown(&self) {
        self.shared.leaving.store(true, SeqCst);
        locked(&self.shared.live).clear();
        self.accepting.abort();
        let mut talking = std::mem::take(&mut *locked(&self.shared.tasks));
        let _ = timeout(FAREWELL, async { while talking.join_next().await.is_some() {} }).await;
        self.endpoint.close(GOODBYE, b"goodbye");
        let _ = timeout(LAST_WORDS, self.endpoint.wait_idle()).await;
    }

    /// Begins a handshake with whoever holds the key `expected`.
    pub(crate) fn connect(
        &self,
        virtual_address: VirtualAddress,
        expected: PublicKey,
        alpn: &[u8],
        rtt: Option<Duration>,
    ) -> Result<Connecting, SetupError> {
        let Shared { socket, secret, heartbeat, .. } = &*self.shared;
        let activity = socket.routes().activity(virtual_address);
        let transport = configuration::transport(*heartbeat, configuration::End::Dialler, rtt, activity)?;
        let known = || locked(&self.sessions).get(&expected).cloned();
        let mut config = match known().filter(|_| alpn == PEER_ALPN) {
            Some(known) => known,
            None => configuration::client(secret, expected, alpn, alpn == PEER_ALPN)?,
        };
        if alpn == PEER_ALPN {
            locked(&self.sessions).insert(expected, config.clone());
        }
        config.token_store(self.tokens.clone()).transport_config(Arc::new(transport));
        // The name is sent to nobody; it keeps what is remembered of one server apart from another's.
        let name = expected.to_string();
        self.endpoint.connect_with(config, virtual_address.socket_addr(), &name).map_err(SetupError::because)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.accepting.abort();
        // They hold what holds them.
        locked(&self.shared.tasks).abort_all();
        locked(&self.shared.live).clear();
    }
}
