//! A conversation with somebody whose home is an older one come back: two engines and a rendezvous on loopback.

#![expect(clippy::expect_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use std::sync::Arc;
use std::time::Duration;

use knothole::backup;
use knothole::command::Command;
use knothole::event::{Event, EventKind};
use knothole::handle::Peer;
use knothole::home::Home;
use knothole::passphrase::Passphrase;
use knothole::store::{Author, MessageState};
use tokio::sync::broadcast::Receiver;

use crate::neighbours::{add, history, rendezvous, send, start};

/// Loopback answers in microseconds; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

async fn write(peer: &Peer, to: &str, texts: &[String]) {
    for text in texts {
        send(peer, to, text.as_str()).await;
    }
}

/// Waits until the last of what was written is delivered.
async fn delivered(peer: &Peer, events: &mut Receiver<Arc<Event>>, to: &str) {
    let all_there = async || {
        let page = history(peer, to).await;
        page.iter().all(|message| message.author == Author::Contact || message.state == MessageState::Delivered)
    };
    let waiting = async {
        while !all_there().await {
            events.recv().await.expect("the engine runs");
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("everything is delivered in time");
}

async fn said(peer: &Peer, with: &str, by: Author) -> Vec<String> {
    let page = history(peer, with).await;
    page.into_iter().filter(|message| message.author == by).map(|message| message.text).collect()
}

fn texts(from: &str, range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("{from} {n}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_with_a_restored_home_and_nothing_is_lost_or_shown_twice() {
    let serving = rendezvous().await;
    let [old, bobs, outside, new] = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let (alice, bob) = (start(old.path(), serving.address()).await, start(bobs.path(), serving.address()).await);
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    add(&alice, &bob, "bob").await;
    add(&bob, &alice, "alice").await;
    write(&alice, "bob", &texts("alice", 0..10)).await;
    write(&bob, "alice", &texts("bob", 0..10)).await;
    delivered(&alice, &mut at_alice, "bob").await;
    delivered(&bob, &mut at_bob, "alice").await;

    let path = outside.path().join("backup");
    let to = path.clone();
    let passphrase = Passphrase::new("words".into());
    alice.request(|reply| Command::Export { path: to, passphrase, reply }).await.unwrap();

    // What the backup knows nothing of.
    write(&alice, "bob", &texts("alice", 10..15)).await;
    write(&bob, "alice", &texts("bob", 10..15)).await;
    delivered(&alice, &mut at_alice, "bob").await;
    delivered(&bob, &mut at_bob, "alice").await;
    alice.stop().await;
    write(&bob, "alice", &texts("bob", 15..20)).await;
    bob.stop().await;

    let home = Home::open(Some(new.path().join("home"))).unwrap();
    let lock = home.engine_lock().unwrap().unwrap();
    backup::import(&home, &lock, &path, "words").unwrap();
    let alice = start(home.path(), serving.address()).await;
    let mut at_alice = alice.events();
    // In the numbers of the old log these would be taken for the five that Bob has already.
    write(&alice, "bob", &texts("alice", 15..25)).await;
    let bob = start(bobs.path(), serving.address()).await;
    let mut at_bob = bob.events();
    let mut shown = bob.events();
    delivered(&alice, &mut at_alice, "bob").await;
    delivered(&bob, &mut at_bob, "alice").await;

    assert_eq!(said(&bob, "alice", Author::Contact).await, texts("alice", 0..25));
    let bobs_words = [texts("bob", 0..10), texts("bob", 15..20)].concat();
    assert_eq!(said(&alice, "bob", Author::Contact).await, bobs_words);
    bob.stop().await;
    let mut fresh = Vec::new();
    while let Ok(event) = shown.try_recv() {
        if let EventKind::Message { text, .. } = &event.kind {
            fresh.push(text.clone());
        }
    }
    assert_eq!(fresh, texts("alice", 15..25), "nothing is shown twice");
    alice.stop().await;
    serving.shutdown().await;
}
