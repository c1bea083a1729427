//! The engine in this process, and all that goes with it: the lock and the socket for other processes.

use std::future::pending;

use knothole::engine;
use knothole::handle::{Options, Peer};
use knothole::home::{EngineLock, Home};
use knothole::rpc::{Listener, serve};
use knothole_proto::contact_link::RendezvousAddress;
use tokio::io::DuplexStream;

/// Bytes between this process and its own engine: a few messages; what does not fit waits.
const PIPE: usize = 64 * 1024;

/// An engine that this process runs.
pub(crate) struct Hosted {
    peer: Peer,
    listener: Listener,
    // The last to go: the next engine may start when the database is closed and the socket gone.
    _lock: EngineLock,
}

impl Hosted {
    /// Starts the engine of a home, and serves it to other processes.
    pub(crate) async fn start(
        home: &Home,
        rendezvous: Vec<RendezvousAddress>,
        allow_loopback: bool,
        lock: EngineLock,
    ) -> anyhow::Result<Self> {
        let keepalive = home.keepalive()?;
        let options = Options { home: home.path().to_owned(), rendezvous, allow_loopback, keepalive };
        let peer = engine::start_in(home.clone(), options).await?;
        match Listener::open(home, &lock, peer.clone()) {
            Ok(listener) => Ok(Self { peer, listener, _lock: lock }),
            Err(error) => {
                peer.stop().await;
                Err(error.into())
            }
        }
    }

    /// A JSON-RPC stream to the engine, as another process has it through the socket.
    pub(crate) fn stream(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(PIPE);
        let (reader, writer) = tokio::io::split(far);
        tokio::spawn(serve(self.peer.clone(), reader, writer, pending()));
        near
    }

    /// Lets the clients go, says goodbye to everybody, and stops.
    pub(crate) async fn stop(self) {
        self.listener.close().await;
        self.peer.stop().await;
    }
}
