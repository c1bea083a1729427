//! One-time codes between two engines and a real rendezvous, on loopback: docs/protocol.md, "Codes".

#![expect(clippy::unwrap_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use std::sync::Arc;

use knothole::command::{CodeView, Command, CommandError, ContactView};
use knothole::event::{Event, EventKind};
use knothole::handle::Peer;
use knothole::store::ContactState;
use knothole_proto::identity::PeerId;
use knothole_rendezvous::serve::Serving;
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

use crate::neighbours::{event, rendezvous, start, status};

async fn peer(serving: &Serving) -> (Peer, TempDir) {
    let home = tempfile::tempdir().unwrap();
    (start(home.path(), serving.address()).await, home)
}

async fn make(peer: &Peer, name: Option<&str>, me: Option<&str>) -> Result<CodeView, CommandError> {
    let own = |text: Option<&str>| text.map(str::to_owned);
    peer.request(|reply| Command::MakeCode { name: own(name), me: own(me), relay_only: None, reply }).await
}

async fn join(peer: &Peer, code: &str, name: Option<&str>, me: Option<&str>) -> Result<ContactView, CommandError> {
    let own = |text: Option<&str>| text.map(str::to_owned);
    let code = code.parse().unwrap();
    peer.request(|reply| Command::JoinCode { code, name: own(name), me: own(me), relay_only: None, reply }).await
}

async fn id(peer: &Peer) -> PeerId {
    status(peer).await.peer
}

async fn contacts(peer: &Peer) -> Vec<(PeerId, String, ContactState)> {
    let contacts = peer.request(Command::Contacts).await.unwrap();
    contacts.into_iter().map(|contact| (contact.peer, contact.name, contact.state)).collect()
}

async fn added(events: &mut Receiver<Arc<Event>>) -> String {
    event(events, |kind| match kind {
        EventKind::ContactAdded { name, .. } => Some(name.clone()),
        _ => None,
    })
    .await
}

async fn failed(events: &mut Receiver<Arc<Event>>) -> String {
    event(events, |kind| match kind {
        EventKind::CodeFailed { why } => Some(why.clone()),
        _ => None,
    })
    .await
}

/// Another word in the place of the last.
fn mistyped(code: &str) -> String {
    let (begin, last) = code.rsplit_once('-').unwrap();
    format!("{begin}-{}", if last == "zoo" { "zone" } else { "zoo" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_makes_contacts_of_two_who_talk_at_once_and_is_good_for_once() {
    let serving = rendezvous().await;
    let ((alice, _a), (bob, _b), (carol, _c)) = (peer(&serving).await, peer(&serving).await, peer(&serving).await);
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    let code = make(&alice, None, Some("Alice")).await.unwrap().code;
    // What each says of itself, unless the person knows better.
    let joined = join(&bob, &code.to_uppercase(), None, Some("Bob")).await.unwrap();
    assert_eq!((joined.peer, joined.name.as_str()), (id(&alice).await, "Alice"));
    assert_eq!(added(&mut at_alice).await, "Bob");
    assert_eq!(contacts(&alice).await, [(id(&bob).await, "Bob".to_owned(), ContactState::Contact)]);

    bob.request(|reply| Command::Send { to: "Alice".into(), message: "found you".into(), reply }).await.unwrap();
    event(&mut at_alice, |kind| matches!(kind, EventKind::Presence { online: true, .. }).then_some(())).await;
    event(&mut at_bob, |kind| matches!(kind, EventKind::State { .. }).then_some(())).await;

    let again = join(&carol, &code, None, None).await.unwrap_err();
    assert!(matches!(again, CommandError::UnknownCode(1)), "{again}");
    for peer in [alice, bob, carol] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_word_is_told_on_both_sides_and_uses_the_code_up() {
    let serving = rendezvous().await;
    let ((alice, _a), (bob, _b)) = (peer(&serving).await, peer(&serving).await);
    let mut at_alice = alice.events();
    let code = make(&alice, Some("Bob"), None).await.unwrap().code;
    let refused = join(&bob, &mistyped(&code), None, None).await.unwrap_err();
    assert_eq!(refused, CommandError::WrongWords);
    let why = failed(&mut at_alice).await;
    assert!(why.contains("words") && why.contains("knothole code"), "{why}");
    let late = join(&bob, &code, None, None).await.unwrap_err();
    assert!(matches!(late, CommandError::UnknownCode(_)), "{late}");
    assert_eq!((contacts(&alice).await, contacts(&bob).await), (vec![], vec![]));

    let code = make(&alice, Some("Bob"), None).await.unwrap().code;
    assert!(join(&alice, &code, None, None).await.is_err(), "one's own");
    join(&bob, &code, Some("Al"), Some("somebody")).await.unwrap();
    assert_eq!(added(&mut at_alice).await, "Bob", "the name that was given");
    assert_eq!(contacts(&bob).await[0].1, "Al");
    for peer in [alice, bob] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

/// A maker invites whom it has just added, and that may arrive before its last word, as a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_names_even_whom_a_request_listed_by_its_key() {
    let serving = rendezvous().await;
    let ((alice, _a), (bob, _b)) = (peer(&serving).await, peer(&serving).await);
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    let link = status(&bob).await.link;
    alice.request(|reply| Command::AddContact { link, name: None, relay_only: None, reply }).await.unwrap();
    event(&mut at_bob, |kind| matches!(kind, EventKind::ContactRequest { .. }).then_some(())).await;
    assert_eq!(contacts(&bob).await, [(id(&alice).await, id(&alice).await.short(), ContactState::Request)]);

    let code = make(&alice, None, Some("Alice")).await.unwrap().code;
    assert_eq!(join(&bob, &code, None, Some("Bob")).await.unwrap().name, "Alice");
    assert_eq!(added(&mut at_alice).await, "Bob");
    assert_eq!(contacts(&bob).await, [(id(&alice).await, "Alice".to_owned(), ContactState::Contact)]);
    for peer in [alice, bob] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_by_a_code_under_a_verified_name_or_though_blocked_and_a_taken_name_is_no_hindrance() {
    let serving = rendezvous().await;
    let ((alice, _a), (bob, _b), (mallory, _m)) = (peer(&serving).await, peer(&serving).await, peer(&serving).await);
    let mut at_alice = alice.events();
    let code = make(&alice, None, None).await.unwrap().code;
    join(&bob, &code, None, Some("Bob")).await.unwrap();
    assert_eq!(added(&mut at_alice).await, "Bob");

    // Not verified: who claims the same name is listed by its id.
    let code = make(&alice, None, None).await.unwrap().code;
    join(&mallory, &code, None, Some("Bob")).await.unwrap();
    assert_eq!(added(&mut at_alice).await, id(&mallory).await.short());
    let who = id(&mallory).await.to_string();
    alice.request(|reply| Command::Remove { who: who.clone(), reply }).await.unwrap();

    alice.request(|reply| Command::Verify { who: "Bob".into(), shown: None, reply }).await.unwrap();
    let code = make(&alice, None, None).await.unwrap().code;
    let refused = join(&mallory, &code, None, Some("bob")).await.unwrap_err();
    assert_eq!(refused, CommandError::WrongWords, "it is not told why");
    let why = failed(&mut at_alice).await;
    assert!(why.starts_with("WARNING: THE KEY DIFFERS"), "{why}");

    alice.request(|reply| Command::Block { who: "Bob".into(), reply }).await.unwrap();
    let code = make(&alice, None, None).await.unwrap().code;
    assert!(join(&bob, &code, None, None).await.is_err());
    assert!(failed(&mut at_alice).await.contains("blocked"));
    let talked_to = contacts(&alice).await.into_iter().filter(|(.., state)| *state == ContactState::Contact);
    assert_eq!(talked_to.count(), 0);
    for peer in [alice, bob, mallory] {
        peer.stop().await;
    }
    serving.shutdown().await;
}
