//! A rendezvous on loopback and those who live by it: how they are started, come to know each other, write, and wait for each other.
//! What a test needs differently it makes for itself, from these pieces.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper: it fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use knothole::command::{Command, ContactView, NewMessage, Status};
use knothole::engine;
use knothole::event::{Event, EventKind};
use knothole::handle::{Options, Peer};
use knothole::store::{Message, MessageState, Place};
use knothole_proto::certificate::IdentitySecret;
use knothole_proto::contact_link::{ContactLink, RendezvousAddress};
use knothole_proto::frames::MessageId;
use knothole_proto::registration::Profile;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Loopback answers in microseconds; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A rendezvous at a free port, without mailboxes.
pub(crate) fn configuration() -> Config {
    Config {
        identity: IdentitySecret::new([42; 32]),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        alternate: None,
        public: None,
        policy: Policy::default(),
        mailboxes: None,
    }
}

pub(crate) async fn rendezvous() -> Serving {
    Serving::start(configuration()).await.unwrap()
}

/// The peer that lives in this home.
pub(crate) async fn start(home: &Path, rendezvous: &RendezvousAddress) -> Peer {
    start_with(home, rendezvous, Profile::Default).await
}

pub(crate) async fn start_with(home: &Path, rendezvous: &RendezvousAddress, keepalive: Profile) -> Peer {
    let (home, rendezvous) = (home.to_owned(), vec![rendezvous.clone()]);
    engine::start(Options { home, rendezvous, allow_loopback: true, keepalive }).await.unwrap()
}

pub(crate) async fn status(peer: &Peer) -> Status {
    peer.request(Command::Status).await.unwrap()
}

pub(crate) async fn link(peer: &Peer) -> ContactLink {
    status(peer).await.link
}

pub(crate) async fn add(peer: &Peer, other: &Peer, name: &str) -> ContactView {
    let link = link(other).await;
    peer.request(|reply| Command::AddContact { link, name: Some(name.into()), relay_only: None, reply }).await.unwrap()
}

pub(crate) async fn send(peer: &Peer, to: &str, message: impl Into<NewMessage>) -> MessageId {
    let message = message.into();
    peer.request(|reply| Command::Send { to: to.into(), message, reply }).await.unwrap()
}

pub(crate) async fn history(peer: &Peer, with: &str) -> Vec<Message> {
    let all = |reply| Command::History { with: with.into(), search: None, place: Place::End, limit: 1000, reply };
    peer.request(all).await.unwrap()
}

/// Waits for the first event of which this is true.
pub(crate) async fn event<T>(events: &mut Receiver<Arc<Event>>, wanted: impl FnMut(&EventKind) -> Option<T>) -> T {
    event_within(PATIENCE, events, wanted).await
}

/// The same, with a patience of the test's own.
pub(crate) async fn event_within<T>(
    patience: Duration,
    events: &mut Receiver<Arc<Event>>,
    mut wanted: impl FnMut(&EventKind) -> Option<T>,
) -> T {
    let waiting = async {
        loop {
            match events.recv().await {
                Ok(event) => {
                    if let Some(found) = wanted(&event.kind) {
                        return found;
                    }
                }
                // The newest are still there.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => panic!("the engine has ended"),
            }
        }
    };
    tokio::time::timeout(patience, waiting).await.expect("the event comes in time")
}

/// Waits until this text is told of; returns which message it is.
pub(crate) async fn arrives(events: &mut Receiver<Arc<Event>>, wanted: &str) -> MessageId {
    event(events, |kind| match kind {
        EventKind::Message { text, message, .. } if text == wanted => Some(*message),
        _ => None,
    })
    .await
}

pub(crate) async fn reaches(events: &mut Receiver<Arc<Event>>, id: MessageId, wanted: MessageState) {
    let is =
        |kind: &EventKind| matches!(kind, EventKind::State { message, state } if *message == id && *state == wanted);
    event(events, |kind| is(kind).then_some(())).await;
}
