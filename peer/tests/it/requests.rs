//! Strangers and those who are kept away, on loopback: docs/security.md, "Strangers".

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions"
)]

use std::sync::Arc;
use std::time::Duration;

use knothole::command::{Command, CommandError, ContactView, RendezvousState};
use knothole::event::{Event, EventKind, PathChange};
use knothole::handle::Peer;
use knothole::store::{ContactState, Place};
use knothole_proto::identity::PeerId;
use knothole_rendezvous::serve::Serving;
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

use crate::neighbours::{add, event_within, link, rendezvous, send, start};

/// An invitation that goes out as the other leaves is given up after 11 s.
const PATIENCE: Duration = Duration::from_secs(40);
/// Between two looks at what cannot be waited for.
const LOOK: Duration = Duration::from_millis(10);

/// One who is registered: who stops before that cannot say goodbye, and is taken for present until the registration ends.
async fn peer(serving: &Serving) -> (Peer, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let peer = start(home.path(), serving.address()).await;
    let registered = async {
        while peer.request(Command::Status).await.unwrap().rendezvous[0].state != RendezvousState::Registered {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, registered).await.expect("registered in time");
    (peer, home)
}

async fn introduce(peer: &Peer, other: &Peer, name: &str, greeting: &str) -> Result<ContactView, CommandError> {
    let link = link(other).await;
    let name = Some(name.to_owned());
    peer.request(|reply| Command::Introduce { link, name, greeting: greeting.into(), relay_only: None, reply }).await
}

async fn block(peer: &Peer, who: impl ToString) {
    peer.request(|reply| Command::Block { who: who.to_string(), reply }).await.unwrap();
}

async fn contacts(peer: &Peer) -> Vec<ContactView> {
    peer.request(Command::Contacts).await.unwrap()
}

async fn event<T>(events: &mut Receiver<Arc<Event>>, wanted: impl FnMut(&EventKind) -> Option<T>) -> T {
    event_within(PATIENCE, events, wanted).await
}

async fn request(events: &mut Receiver<Arc<Event>>) -> (PeerId, String) {
    event(events, |kind| match kind {
        EventKind::ContactRequest { peer, text, .. } => Some((*peer, text.clone())),
        _ => None,
    })
    .await
}

fn requests(events: &mut Receiver<Arc<Event>>) -> usize {
    let told = std::iter::from_fn(|| events.try_recv().ok());
    told.filter(|event| matches!(event.kind, EventKind::ContactRequest { .. })).count()
}

/// Waits until so many invitations have gone through the rendezvous.
async fn invited(serving: &Serving, times: u64) {
    let counted = async {
        while serving.counters().await.invited < times {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
}

/// Invites anew at once, by forgetting whom it knows.
async fn insist(serving: &Serving, inviter: &Peer, whom: &Peer, greeting: &str) {
    let before = serving.counters().await.invited;
    inviter.request(|reply| Command::Remove { who: "bob".into(), reply }).await.unwrap();
    introduce(inviter, whom, "bob", greeting).await.unwrap();
    invited(serving, before + 1).await;
}

/// Why a contact is not reached, as the person is told.
async fn unreached(events: &mut Receiver<Arc<Event>>) -> String {
    event(events, |kind| match kind {
        EventKind::Path { path: PathChange::None { why }, .. } => Some(why.clone()),
        _ => None,
    })
    .await
}

fn written(home: &TempDir) -> Vec<(String, u64)> {
    let files = std::fs::read_dir(home.path()).unwrap().map(Result::unwrap);
    let mut files: Vec<_> =
        files.map(|file| (file.file_name().to_string_lossy().into_owned(), file.metadata().unwrap().len())).collect();
    files.retain(|(name, _)| name.starts_with("knothole."));
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_heard_of_once_with_its_greeting_and_costs_no_further_write_until_it_is_answered() {
    let serving = rendezvous().await;
    let ((alice, _a), (bob, at_home)) = (peer(&serving).await, peer(&serving).await);
    let mut at_bob = bob.events();
    let long = introduce(&alice, &bob, "bob", &"x".repeat(141)).await.unwrap_err();
    assert_eq!(long, CommandError::LongGreeting(141));
    introduce(&alice, &bob, "bob", "it is Alice,\n\u{1b}from work").await.unwrap();
    let (who, text) = request(&mut at_bob).await;
    assert_eq!((who, text.as_str()), (link(&alice).await.peer, "it is Alice, from work"));
    let listed = contacts(&bob).await;
    assert_eq!(listed[0].greeting.as_deref(), Some("it is Alice, from work"));

    let before = written(&at_home);
    for n in 0..5 {
        insist(&serving, &alice, &bob, &format!("I insist {n}")).await;
    }
    bob.request(Command::Contacts).await.unwrap();
    assert_eq!(written(&at_home), before);
    assert_eq!(requests(&mut at_bob), 0);
    assert_eq!(contacts(&bob).await.len(), 1, "it stays listed");

    let mut at_alice = alice.events();
    bob.request(|reply| Command::Accept { who: who.to_string(), relay_only: None, reply }).await.unwrap();
    let up = |kind: &EventKind| matches!(kind, EventKind::Presence { online: true, .. }).then_some(());
    event(&mut at_alice, up).await;
    assert_eq!(contacts(&bob).await[0].greeting, None);
    for peer in [alice, bob] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_may_ask_nothing_comes_of_a_stranger() {
    let serving = rendezvous().await;
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), "requests = \"none\"").unwrap();
    let ((alice, _a), bob) = (peer(&serving).await, start(home.path(), serving.address()).await);
    let mut at_bob = bob.events();
    add(&alice, &bob, "bob").await;
    invited(&serving, 1).await;
    insist(&serving, &alice, &bob, "please").await;
    assert!(contacts(&bob).await.is_empty());
    assert_eq!(requests(&mut at_bob), 0);
    assert!(contacts(&alice).await[0].path.is_none());
    for peer in [alice, bob] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_before_it_asks_is_never_shown_and_sees_what_it_would_if_we_were_away() {
    let serving = rendezvous().await;
    let ((alice, _a), (bob, _b), (away, _c)) = (peer(&serving).await, peer(&serving).await, peer(&serving).await);
    let away_link = link(&away).await;
    away.stop().await;
    let mut at_bob = bob.events();
    block(&bob, link(&alice).await.peer).await;
    assert_eq!(contacts(&bob).await[0].state, ContactState::Blocked);

    let mut at_alice = alice.events();
    let absent = |reply| Command::AddContact { link: away_link, name: Some("away".into()), relay_only: None, reply };
    alice.request(absent).await.unwrap();
    let expected = unreached(&mut at_alice).await;
    add(&alice, &bob, "bob").await;
    let seen = event(&mut at_alice, |kind| match kind {
        EventKind::Path { name, path: PathChange::None { why }, .. } if name == "bob" => Some(why.clone()),
        _ => None,
    })
    .await;
    assert_eq!(seen, expected);
    assert_eq!(requests(&mut at_bob), 0);
    for peer in [alice, bob] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_blocked_contact_s_arrives_and_it_is_told_what_it_would_be_if_we_had_left() {
    let serving = rendezvous().await;
    let ((alice, at_alice_s), (bob, at_bob_s)) = (peer(&serving).await, peer(&serving).await);
    let mut at_alice = alice.events();
    add(&alice, &bob, "bob").await;
    add(&bob, &alice, "alice").await;
    let up = |kind: &EventKind| matches!(kind, EventKind::Presence { online: true, .. }).then_some(());
    event(&mut at_alice, up).await;

    // What she sees when he leaves …
    let down = |kind: &EventKind| matches!(kind, EventKind::Presence { online: false, .. }).then_some(());
    bob.stop().await;
    event(&mut at_alice, down).await;
    send(&alice, "bob", "while away").await;
    let away = unreached_in_the_end(&mut at_alice).await;
    let bob = start(at_bob_s.path(), serving.address()).await;
    event(&mut at_alice, up).await;

    // … and when he blocks her.
    let mut at_bob = bob.events();
    block(&bob, "alice").await;
    event(&mut at_alice, down).await;
    send(&alice, "bob", "while blocked").await;
    assert_eq!(unreached_in_the_end(&mut at_alice).await, away);
    let history = |reply| Command::History { with: "alice".into(), search: None, place: Place::End, limit: 9, reply };
    let texts: Vec<_> = bob.request(history).await.unwrap().into_iter().map(|message| message.text).collect();
    assert!(!texts.contains(&"while blocked".to_owned()), "{texts:?}");
    assert_eq!(requests(&mut at_bob), 0);

    // Her coming and going is nothing to him any more.
    let mut at_bob = bob.events();
    alice.stop().await;
    let alice = start(at_alice_s.path(), serving.address()).await;
    let mut at_alice = alice.events();
    send(&alice, "bob", "is he there again?").await;
    unreached_in_the_end(&mut at_alice).await;
    let told = std::iter::from_fn(|| at_bob.try_recv().ok());
    assert_eq!(told.filter(|event| matches!(event.kind, EventKind::Presence { .. })).count(), 0);
    for peer in [alice, bob] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

/// The last word on why, once the rendezvous has had its say.
async fn unreached_in_the_end(events: &mut Receiver<Arc<Event>>) -> String {
    event(events, |kind| match kind {
        EventKind::Path { path: PathChange::None { why }, .. } if why.contains("offline") => Some(why.clone()),
        _ => None,
    })
    .await
}
