//! docs/protocol.md, "Letters": what two engines reach each other by while no connection joins them. Between them and the
//! rendezvous lies a wire that carries QUIC between peers or does not, as the test wants.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use knothole::command::{Command, MailboxState, RendezvousState};
use knothole::event::EventKind;
use knothole::handle::Peer;
use knothole::store::{Message, MessageState};
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::datagram::{FLIGHT, RELAY};
use knothole_proto::frames::MAX_TEXT;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use tempfile::TempDir;
use tokio::net::UdpSocket;

use crate::neighbours::{PATIENCE, arrives, configuration, event, history, reaches, send, start};

/// A rendezvous, and the wire to it.
struct Post {
    serving: Serving,
    /// As the peers know it: the near end of the wire.
    address: RendezvousAddress,
    /// Whether what is relayed from peer to peer gets through.
    relays: Arc<AtomicBool>,
    /// Where mailboxes are.
    _disk: TempDir,
}

async fn post() -> Post {
    let disk = tempfile::tempdir().unwrap();
    let config = Config {
        policy: Policy { mailbox_bytes: 64 << 20, ..Policy::default() },
        mailboxes: Some(disk.path().to_owned()),
        ..configuration()
    };
    let serving = Serving::start(config).await.unwrap();
    let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = RendezvousAddress { port: near.local_addr().unwrap().port(), ..serving.address().clone() };
    let relays = Arc::new(AtomicBool::new(true));
    tokio::spawn(wire(near, serving.bound()[0], relays.clone()));
    Post { serving, address, relays, _disk: disk }
}

/// Carries datagrams from each peer to the rendezvous by a socket of the peer's own, and back.
async fn wire(near: Arc<UdpSocket>, far: SocketAddr, relays: Arc<AtomicBool>) {
    let mut peers: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut datagram = vec![0; 65_536];
    while let Ok((length, from)) = near.recv_from(&mut datagram).await {
        if matches!(datagram[0], RELAY | FLIGHT) && !relays.load(SeqCst) {
            continue;
        }
        let peer = match peers.get(&from) {
            Some(peer) => peer.clone(),
            None => {
                let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                tokio::spawn(back(socket.clone(), far, near.clone(), from));
                peers.insert(from, socket.clone());
                socket
            }
        };
        let _ = peer.send_to(&datagram[..length], far).await;
    }
}

/// The way back to one peer, which lets nobody else through: to each other the peers are behind hard NATs.
async fn back(socket: Arc<UdpSocket>, far: SocketAddr, near: Arc<UdpSocket>, to: SocketAddr) {
    let mut datagram = vec![0; 65_536];
    loop {
        // From a rendezvous that is not there any more comes an error, once for each datagram.
        let Ok((length, at)) = socket.recv_from(&mut datagram).await else { continue };
        if at == far {
            let _ = near.send_to(&datagram[..length], to).await;
        }
    }
}

async fn add(peer: &Peer, other: &Peer, name: &str) {
    crate::neighbours::add(peer, other, name).await;
    let relay = |reply| Command::Path { who: name.into(), relay_only: true, reply };
    peer.request(relay).await.unwrap();
}

/// Alice and Bob, who have talked, and are not running at the moment.
struct Acquainted {
    post: Post,
    alice: TempDir,
    bob: TempDir,
}

async fn acquainted(mailboxes: bool) -> Acquainted {
    let them =
        Acquainted { post: post().await, alice: tempfile::tempdir().unwrap(), bob: tempfile::tempdir().unwrap() };
    let (alice, bob) = (them.start_alice().await, them.start_bob().await);
    let mut at_alice = alice.events();
    add(&alice, &bob, "bob").await;
    add(&bob, &alice, "alice").await;
    for peer in [&alice, &bob] {
        peer.request(|reply| Command::SetMailbox { open: mailboxes, reply }).await.unwrap();
    }
    let opened = if mailboxes { MailboxState::Open } else { MailboxState::Closed };
    for peer in [&alice, &bob] {
        holds(async || peer.request(Command::Status).await.unwrap().rendezvous[0].mailbox == opened).await;
    }
    let id = send(&alice, "bob", "we talk").await;
    reaches(&mut at_alice, id, MessageState::Delivered).await;
    for home in [&them.alice, &them.bob] {
        shared(home.path()).await;
    }
    tokio::join!(alice.stop(), bob.stop());
    them
}

impl Acquainted {
    async fn start_alice(&self) -> Peer {
        start(self.alice.path(), &self.post.address).await
    }

    async fn start_bob(&self) -> Peer {
        start(self.bob.path(), &self.post.address).await
    }
}

/// Waits until keys for letters are in a database.
async fn shared(home: &Path) {
    holds(async || {
        let database = rusqlite::Connection::open(home.join("knothole.db")).unwrap();
        let count = "SELECT count(*) FROM epochs WHERE ready = 1";
        database.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap() > 0
    })
    .await;
}

/// Waits until something is so of which nobody is told: it is looked at again and again.
async fn holds(is: impl AsyncFn() -> bool) {
    let look = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it is so in time");
}

async fn texts(peer: &Peer, with: &str) -> Vec<String> {
    history(peer, with).await.into_iter().map(|message| message.text).collect()
}

/// Waits until a peer is at its rendezvous; it may have been before anybody could listen.
async fn registered(peer: &Peer) {
    let mut events = peer.events();
    let status = peer.request(Command::Status).await.unwrap();
    if status.rendezvous[0].state != RendezvousState::Registered {
        event(&mut events, |kind| matches!(kind, EventKind::Registered { .. }).then_some(())).await;
    }
}

/// Waits until a message is here that may have come before anybody could listen.
async fn has(peer: &Peer, with: &str, wanted: &str) {
    holds(async || texts(peer, with).await.iter().any(|text| text == wanted)).await;
}

/// Nothing carries QUIC between the two.
async fn is_unconnected(peer: &Peer) -> bool {
    let contacts = peer.request(Command::Contacts).await.unwrap();
    contacts.iter().all(|contact| contact.path.is_none_or(|path| path.rtt.is_none()))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_both_processes_new_a_message_is_shown_before_any_connection_is_up() {
    let them = acquainted(false).await;
    them.post.relays.store(false, SeqCst);
    let (alice, bob) = (them.start_alice().await, them.start_bob().await);
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    registered(&bob).await;
    let first = send(&alice, "bob", "are you there?").await;
    arrives(&mut at_bob, "are you there?").await;
    reaches(&mut at_alice, first, MessageState::Sent).await;
    send(&bob, "alice", "yes").await;
    arrives(&mut at_alice, "yes").await;
    assert!(is_unconnected(&alice).await && is_unconnected(&bob).await);
    assert_eq!(history(&alice, "bob").await[1].state, MessageState::Sent, "it is not known to be delivered");

    // With a connection the conversation goes on by numbers: all is acknowledged, nothing shown twice.
    them.post.relays.store(true, SeqCst);
    reaches(&mut at_alice, first, MessageState::Delivered).await;
    let last = send(&alice, "bob", "and now?").await;
    reaches(&mut at_alice, last, MessageState::Delivered).await;
    for (peer, with) in [(&alice, "bob"), (&bob, "alice")] {
        assert_eq!(texts(peer, with).await, ["we talk", "are you there?", "yes", "and now?"]);
    }
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_text_goes_by_letter_in_pieces() {
    let them = acquainted(false).await;
    them.post.relays.store(false, SeqCst);
    let (alice, bob) = (them.start_alice().await, them.start_bob().await);
    let mut at_bob = bob.events();
    tokio::join!(registered(&alice), registered(&bob));
    // As much as is let through at once.
    let long = "語".repeat(MAX_TEXT / 3 / 2);
    send(&alice, "bob", long.as_str()).await;
    send(&alice, "bob", "and more").await;
    arrives(&mut at_bob, &long).await;
    arrives(&mut at_bob, "and more").await;
    assert!(is_unconnected(&bob).await);
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_lost_on_one_side_cost_no_message() {
    let them = acquainted(false).await;
    // A backup of before they talked would hold the contact, but no keys.
    let database = rusqlite::Connection::open(them.bob.path().join("knothole.db")).unwrap();
    database.execute("DELETE FROM epochs", []).unwrap();
    drop(database);
    them.post.relays.store(false, SeqCst);
    let (alice, bob) = (them.start_alice().await, them.start_bob().await);
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    tokio::join!(registered(&alice), registered(&bob));
    let lost = send(&alice, "bob", "can you read this?").await;
    reaches(&mut at_alice, lost, MessageState::Sent).await;
    them.post.relays.store(true, SeqCst);
    arrives(&mut at_bob, "can you read this?").await;
    reaches(&mut at_alice, lost, MessageState::Delivered).await;
    assert_eq!(texts(&bob, "alice").await, ["we talk", "can you read this?"]);
    // Once for each time that it was posted: more than once where the answer to the first was late.
    assert!(bob.request(Command::Status).await.unwrap().letters_unopened > 0, "it is noticed");

    // The connection has given new ones.
    shared(them.bob.path()).await;
    tokio::join!(alice.stop(), bob.stop());
    them.post.relays.store(false, SeqCst);
    let (alice, bob) = (them.start_alice().await, them.start_bob().await);
    let mut at_bob = bob.events();
    registered(&bob).await;
    send(&alice, "bob", "and this?").await;
    arrives(&mut at_bob, "and this?").await;
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_contacts_letters_are_not_shown() {
    let them = acquainted(false).await;
    them.post.relays.store(false, SeqCst);
    let (alice, bob) = (them.start_alice().await, them.start_bob().await);
    tokio::join!(registered(&alice), registered(&bob));
    bob.request(|reply| Command::Block { who: "alice".into(), reply }).await.unwrap();
    send(&alice, "bob", "hello?").await;
    holds(async || bob.request(Command::Status).await.unwrap().letters_unopened == 1).await;
    assert_eq!(texts(&bob, "alice").await, ["we talk"]);
    // The rendezvous returned it to her, as if he were away.
    assert_eq!(history(&alice, "bob").await[1].state, MessageState::Queued);
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_in_the_mailbox_and_comes_although_its_sender_has_gone() {
    let them = acquainted(true).await;
    let alice = them.start_alice().await;
    let mut at_alice = alice.events();
    let (first, second) = (send(&alice, "bob", "for later").await, send(&alice, "bob", "and this").await);
    reaches(&mut at_alice, second, MessageState::Sent).await;
    alice.stop().await;
    assert_eq!(them.post.serving.counters().await.letters_kept, 2);

    for again in [false, true] {
        let bob = them.start_bob().await;
        if !again {
            has(&bob, "alice", "and this").await;
        }
        registered(&bob).await;
        holds(async || them.post.serving.counters().await.letters_collected == 2).await;
        assert_eq!(texts(&bob, "alice").await, ["we talk", "for later", "and this"]);
        bob.stop().await;
    }

    // In the box is not at the other side: that is known when the two meet.
    let alice = them.start_alice().await;
    let mut at_alice = alice.events();
    let states = |history: Vec<Message>| history.into_iter().map(|message| message.state).collect::<Vec<_>>();
    let (delivered, sent) = (MessageState::Delivered, MessageState::Sent);
    assert_eq!(states(history(&alice, "bob").await), [delivered, sent, sent]);
    let bob = them.start_bob().await;
    reaches(&mut at_alice, first, delivered).await;
    reaches(&mut at_alice, second, delivered).await;
    assert_eq!(texts(&bob, "alice").await, ["we talk", "for later", "and this"]);
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_text_waits_in_pieces() {
    let them = acquainted(true).await;
    let alice = them.start_alice().await;
    let mut at_alice = alice.events();
    let long = "語".repeat(MAX_TEXT / 3);
    let id = send(&alice, "bob", long.as_str()).await;
    reaches(&mut at_alice, id, MessageState::Sent).await;
    alice.stop().await;
    let bob = them.start_bob().await;
    has(&bob, "alice", &long).await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mailboxes_a_message_stays_queued_until_the_contact_is_here() {
    let them = acquainted(false).await;
    let alice = them.start_alice().await;
    let mut at_alice = alice.events();
    registered(&alice).await;
    let id = send(&alice, "bob", "one").await;
    holds(async || them.post.serving.counters().await.letters_returned >= 1).await;
    send(&alice, "bob", "two").await;
    holds(async || them.post.serving.counters().await.letters_returned >= 2).await;
    assert!(history(&alice, "bob").await[1..].iter().all(|message| message.state == MessageState::Queued));
    let bob = them.start_bob().await;
    reaches(&mut at_alice, id, MessageState::Delivered).await;
    assert_eq!(texts(&bob, "alice").await, ["we talk", "one", "two"]);
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_sealed_before_a_kill_is_posted_after_it() {
    let them = acquainted(true).await;
    // Sealed and stored, and then the process is gone: what an engine without a rendezvous leaves behind.
    let nowhere = RendezvousAddress { port: 9, ..them.post.address.clone() };
    let alice = start(them.alice.path(), &nowhere).await;
    send(&alice, "bob", "sealed").await;
    alice.stop().await;
    let sealed = "SELECT count(*) FROM letters WHERE envelope IS NOT NULL";
    let database = rusqlite::Connection::open(them.alice.path().join("knothole.db")).unwrap();
    assert_eq!(database.query_row(sealed, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    let before: Vec<u8> = database.query_row("SELECT envelope FROM letters", [], |row| row.get(0)).unwrap();
    drop(database);
    assert!(!before.is_empty());

    let alice = them.start_alice().await;
    holds(async || them.post.serving.counters().await.letters_kept == 1).await;
    alice.stop().await;
    let bob = them.start_bob().await;
    has(&bob, "alice", "sealed").await;
    bob.stop().await;
}
