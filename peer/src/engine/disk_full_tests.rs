//! A disk that is full for a while: nothing is acknowledged that was not stored, and nothing is lost.
//!
//! The database is kept from growing (`max_page_count`), which SQLite tells as it tells a full disk.

use std::sync::Arc;
use std::time::Duration;

use knothole_proto::certificate::IdentitySecret;
use knothole_proto::frames::MessageId;
use knothole_proto::registration::Profile;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::command::{Command, CommandError, MailboxState};
use crate::engine;
use crate::engine::fixture::town;
use crate::event::{Event, EventKind};
use crate::handle::{Options, Peer};
use crate::store::{Author, Message, MessageState, Place};

/// Longer than the pause after which a store that refused is tried again.
const PATIENCE: Duration = Duration::from_secs(60);

async fn write(peer: &Peer, to: &str, text: String) -> Result<MessageId, CommandError> {
    peer.request(|reply| Command::Send { to: to.into(), message: text.as_str().into(), reply }).await
}

async fn history(peer: &Peer, with: &str) -> Vec<Message> {
    let all = |reply| Command::History { with: with.into(), search: None, place: Place::End, limit: 1000, reply };
    peer.request(all).await.unwrap()
}

async fn add(peer: &Peer, other: &Peer, name: &str) {
    let link = other.request(Command::Status).await.unwrap().link;
    peer.request(|reply| Command::AddContact { link, name: Some(name.into()), relay_only: None, reply }).await.unwrap();
}

async fn room(peer: &Peer, pages: u32) {
    peer.request(|reply| Command::Room { pages, reply }).await.unwrap();
}

/// Waits until a message of ours has come so far.
async fn reaches(events: &mut Receiver<Arc<Event>>, wanted: MessageId, state: MessageState) {
    let told = |kind: &EventKind| matches!(kind, EventKind::State { message, state: now } if (*message, *now) == (wanted, state));
    let waiting = async { while !told(&events.recv().await.unwrap().kind) {} };
    timeout(PATIENCE, waiting).await.expect("it is told in time");
}

async fn delivered(events: &mut Receiver<Arc<Event>>, wanted: MessageId) {
    reaches(events, wanted, MessageState::Delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_nothing_is_acknowledged_and_nothing_is_lost_when_there_is_room() {
    let (serving, _homes, peers) = town::<2>().await;
    let [alice, bob] = [&peers[0], &peers[1]];
    let mut at_alice = alice.events();
    add(alice, bob, "bob").await;
    add(bob, alice, "alice").await;
    let first = write(alice, "bob", "there is room".into()).await.unwrap();
    delivered(&mut at_alice, first).await;

    // 0 pages more than there are.
    room(bob, 0).await;
    let refused = write(bob, "alice", "x".repeat(60_000)).await.unwrap_err();
    assert!(refused.to_string().contains("the disk is full and this was not stored"), "{refused}");
    let mut told = Vec::new();
    for n in 0..20 {
        told.push(write(alice, "bob", format!("{n} {}", "long ".repeat(5000))).await.unwrap());
    }
    // They are on their way, and there is no room for a hundred pages of them.
    reaches(&mut at_alice, told[0], MessageState::Sent).await;
    let stored = history(bob, "alice").await.len();
    let acknowledged =
        history(alice, "bob").await.iter().filter(|message| message.state == MessageState::Delivered).count();
    assert!(acknowledged <= stored, "{acknowledged} delivered, {stored} stored");
    assert!(stored < 21, "it was full");

    room(bob, u32::MAX / 2).await;
    let mut at_bob = bob.events();
    let late = write(bob, "alice", "now there is room".into()).await.unwrap();
    delivered(&mut at_alice, told[19]).await;
    let theirs: Vec<_> =
        history(bob, "alice").await.into_iter().filter(|message| message.author == Author::Contact).collect();
    let expected: Vec<_> = std::iter::once(first).chain(told).collect();
    assert_eq!(theirs.iter().map(|message| message.id).collect::<Vec<_>>(), expected);
    delivered(&mut at_bob, late).await;
    assert_eq!(history(alice, "bob").await.len(), 22, "what was refused was not half written");
    alice.stop().await;
    bob.stop().await;
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_a_full_disk_refused_come_when_there_is_room() {
    let disk = tempfile::tempdir().unwrap();
    let config = Config {
        identity: IdentitySecret::new([43; 32]),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        alternate: None,
        public: None,
        policy: Policy { mailbox_bytes: 64 << 20, ..Policy::default() },
        mailboxes: Some(disk.path().to_owned()),
    };
    let serving = Serving::start(config).await.unwrap();
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut peers = Vec::new();
    for home in &homes {
        let (home, rendezvous) = (home.path().to_owned(), vec![serving.address().clone()]);
        let options = Options { home, rendezvous, allow_loopback: true, keepalive: Profile::Default };
        peers.push(engine::start(options).await.unwrap());
    }
    let [alice, bob] = [&peers[0], &peers[1]];
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    add(alice, bob, "bob").await;
    add(bob, alice, "alice").await;
    let first = write(alice, "bob", "we talk".into()).await.unwrap();
    delivered(&mut at_alice, first).await;
    let second = write(bob, "alice", "so we do".into()).await.unwrap();
    delivered(&mut at_bob, second).await;
    for peer in [alice, bob] {
        peer.request(|reply| Command::SetMailbox { open: true, reply }).await.unwrap();
        let open = async || peer.request(Command::Status).await.unwrap().rendezvous[0].mailbox == MailboxState::Open;
        holds(open).await;
    }

    peers.pop().unwrap().stop().await;
    let alice = peers.pop().unwrap();
    let long = "long ".repeat(12_000);
    let id = write(&alice, "bob", long.clone()).await.unwrap();
    reaches(&mut at_alice, id, MessageState::Sent).await;
    alice.stop().await;

    let (home, rendezvous) = (homes[1].path().to_owned(), vec![serving.address().clone()]);
    let options = Options { home, rendezvous, allow_loopback: true, keepalive: Profile::Default };
    let bob = engine::start(options).await.unwrap();
    room(&bob, 0).await;
    let pushed = async || {
        let counters = serving.counters().await;
        counters.letters_kept > 0 && counters.letters_pushed >= counters.letters_kept
    };
    holds(pushed).await;
    assert_eq!(history(&bob, "alice").await.len(), 2, "it was full");

    room(&bob, u32::MAX / 2).await;
    holds(async || history(&bob, "alice").await.iter().any(|message| message.text == long)).await;
    bob.stop().await;
    serving.shutdown().await;
}

/// Waits until something is so of which nobody is told: it is looked at again and again.
async fn holds(is: impl AsyncFn() -> bool) {
    let look = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, look).await.expect("it is so in time");
}
