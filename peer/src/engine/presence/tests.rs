//! What goes straight to a contact from whom one hides, on loopback: nothing. docs/protocol.md, "Presence".

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::command::{Command, PresenceMode};
use crate::engine::fixture::town;
use crate::event::{Event, EventKind, PathChange};
use crate::handle::Peer;

const PATIENCE: Duration = Duration::from_secs(20);

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

async fn port(peer: &Peer) -> u16 {
    peer.request(Command::Status).await.unwrap().rendezvous[0].observed.unwrap().port()
}

async fn sent_to(peer: &Peer, port: u16) -> u64 {
    peer.request(|reply| Command::SentTo { port, reply }).await.unwrap()
}

async fn say(peer: &Peer, to: &str, text: &str) {
    peer.request(|reply| Command::Send { to: to.into(), message: text.into(), reply }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_straight_to_one_from_whom_one_hides_whatever_it_asks() {
    let (serving, _homes, peers) = town::<2>().await;
    let [alice, bob] = &peers[..] else { panic!("two") };
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    for (peer, other, name) in [(alice, bob, "bob"), (bob, alice, "alice")] {
        let link = other.request(Command::Status).await.unwrap().link;
        peer.request(|reply| Command::AddContact { link, name: Some(name.into()), relay_only: None, reply })
            .await
            .unwrap();
    }
    let direct = |kind: &EventKind| matches!(kind, EventKind::Path { path: PathChange::Direct { .. }, .. });
    event(&mut at_alice, direct).await;
    event(&mut at_bob, direct).await;
    for (peer, to, events) in [(alice, "bob", &mut at_bob), (bob, "alice", &mut at_alice)] {
        say(peer, to, "hello").await;
        event(events, |kind| matches!(kind, EventKind::Message { text, .. } if text == "hello")).await;
    }

    let (who, mode) = (Some("bob".to_owned()), PresenceMode::Invisible);
    alice.request(|reply| Command::Presence { mode, who, reply }).await.unwrap();
    event(&mut at_bob, |kind| matches!(kind, EventKind::Presence { online: false, .. })).await;
    // By this letter the last word on the connection has long been said.
    say(bob, "alice", "first").await;
    event(&mut at_alice, |kind| matches!(kind, EventKind::Message { text, .. } if text == "first")).await;
    let port_of_bob = port(bob).await;
    let before = sent_to(alice, port_of_bob).await;
    bob.request(|reply| Command::Connect { who: "alice".into(), reply }).await.unwrap();
    event(&mut at_bob, |kind| {
        matches!(kind, EventKind::Path { path: PathChange::None { why }, .. } if why == "the contact is offline")
    })
    .await;
    say(bob, "alice", "second").await;
    event(&mut at_alice, |kind| matches!(kind, EventKind::Message { text, .. } if text == "second")).await;
    assert_eq!(sent_to(alice, port_of_bob).await, before);
    for peer in peers {
        peer.stop().await;
    }
    serving.shutdown().await;
}
