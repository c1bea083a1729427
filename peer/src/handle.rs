//! The way for faces, and for programs that embed a peer, to an engine that runs.

use std::path::PathBuf;
use std::sync::Arc;

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::registration::Profile;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::command::{Command, CommandError, Reply};
use crate::event::Event;

/// How to start a peer.
#[derive(Debug, Clone)]
pub struct Options {
    /// An existing directory that holds everything: identity, database, socket.
    pub home: PathBuf,
    /// Where to register; the order is the preference.
    pub rendezvous: Vec<RendezvousAddress>,
    /// Whether 127.0.0.1 and ::1 are addresses like others: only where all peers are on this machine, as in a demo.
    pub allow_loopback: bool,
    /// How often to show that we are there.
    pub keepalive: Profile,
}

/// A handle on a running peer; clones share it.
#[derive(Debug, Clone)]
pub struct Peer {
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<Arc<Event>>,
}

impl Peer {
    pub(crate) const fn new(commands: mpsc::Sender<Command>, events: broadcast::Sender<Arc<Event>>) -> Self {
        Self { commands, events }
    }

    /// Asks something of the engine: `peer.request(|reply| Command::Contacts(reply)).await`.
    ///
    /// # Errors
    /// What the command says, or [`CommandError::Stopping`].
    pub async fn request<T>(&self, make: impl FnOnce(Reply<T>) -> Command) -> Result<T, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(make(reply)).await.map_err(|_| CommandError::Stopping)?;
        answer.await.unwrap_or(Err(CommandError::Stopping))
    }

    /// All events from now on. A receiver that falls behind by 1,024 events misses the oldest, and is told so.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Says goodbye to everybody, finishes what is under way and stops; at most some 3 s.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            // An engine that is gone has stopped, too.
            let _ = stopped.await;
        }
    }
}
