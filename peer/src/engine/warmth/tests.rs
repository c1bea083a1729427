//! A peer with more contacts than it keeps connected, on loopback: docs/protocol.md, "Presence". In tests two are kept, and
//! connections rest after two seconds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::command::{Command, ContactView};
use crate::engine::fixture::town;
use crate::event::{Event, EventKind, PathChange};
use crate::handle::Peer;
use crate::store::MessageState;

const PATIENCE: Duration = Duration::from_secs(30);

async fn event(events: &mut Receiver<Arc<Event>>, wanted: impl Fn(&EventKind) -> bool) {
    let waiting = async {
        loop {
            if wanted(&events.recv().await.unwrap().kind) {
                return;
            }
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

async fn view(peer: &Peer, name: &str) -> ContactView {
    let all = peer.request(Command::Contacts).await.unwrap();
    all.into_iter().find(|contact| contact.name == name).unwrap()
}

/// Writes something, and waits until the other side has it.
async fn delivered(peer: &Peer, events: &mut Receiver<Arc<Event>>, to: &str, text: &str) {
    let id = peer.request(|reply| Command::Send { to: to.into(), message: text.into(), reply }).await.unwrap();
    event(
        events,
        |kind| matches!(kind, EventKind::State { message, state: MessageState::Delivered } if *message == id),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_of_a_contact_not_written_with_rests_and_comes_back_with_a_message() {
    let (serving, _homes, peers) = town::<4>().await;
    let mut links = Vec::new();
    for peer in &peers {
        links.push(peer.request(Command::Status).await.unwrap().link);
    }
    let (mut at_alice, mut told) = (peers[0].events(), peers[0].events());
    let mut at_first = peers[1].events();
    for (index, name) in [(1, "first"), (2, "second"), (3, "third")] {
        let (link, name_of) = (links[index].clone(), Some(name.to_owned()));
        peers[0].request(|reply| Command::AddContact { link, name: name_of, relay_only: None, reply }).await.unwrap();
        let link = links[0].clone();
        peers[index]
            .request(|reply| Command::AddContact { link, name: Some("alice".into()), relay_only: None, reply })
            .await
            .unwrap();
        delivered(&peers[0], &mut at_alice, name, "hello").await;
    }
    // With the second and the third alice has talked since; the first would keep the connection, and lets alice.
    let gone = |kind: &EventKind, who: &str| matches!(kind, EventKind::Path { name, path: PathChange::None { .. }, .. } if name == who);
    event(&mut at_alice, |kind| gone(kind, "first")).await;
    event(&mut at_first, |kind| gone(kind, "alice")).await;
    for (peer, name) in [(0, "first"), (1, "alice")] {
        let contact = view(&peers[peer], name).await;
        assert!(contact.online && contact.path.is_none(), "{contact:?}");
    }
    for name in ["second", "third"] {
        assert!(view(&peers[0], name).await.path.is_some());
    }
    delivered(&peers[1], &mut at_first, "alice", "are you still there?").await;
    assert!(view(&peers[0], "first").await.path.is_some());
    while let Ok(event) = told.try_recv() {
        assert!(!matches!(event.kind, EventKind::Presence { online: false, .. }), "nobody has gone");
    }
    for peer in peers {
        peer.stop().await;
    }
    serving.shutdown().await;
}
