//! Two engines and a rendezvous in one process, on loopback: what a person may rely on.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use knothole::command::Command;
use knothole::event::{Event, EventKind, PathChange};
use knothole::handle::Peer;
use knothole::store::{ContactState, MessageState};
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::registration::Profile;
use knothole_rendezvous::serve::{Config, Serving};
use tokio::sync::broadcast::Receiver;

use crate::neighbours::{
    add, arrives, configuration, event, history, reaches, rendezvous, send, start, start_with, status,
};

async fn rendezvous_at(address: SocketAddr) -> Serving {
    Serving::start(Config { listen: vec![address], ..configuration() }).await.unwrap()
}

/// Two who have each other as contacts.
struct Meeting {
    alice: Peer,
    bob: Peer,
    at_alice: Receiver<Arc<Event>>,
    at_bob: Receiver<Arc<Event>>,
    serving: Serving,
    /// Where they live; gone with this.
    _homes: [tempfile::TempDir; 2],
}

async fn meeting() -> Meeting {
    let serving = rendezvous().await;
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let alice = start(homes[0].path(), serving.address()).await;
    let bob = start(homes[1].path(), serving.address()).await;
    let (at_alice, at_bob) = (alice.events(), bob.events());
    add(&alice, &bob, "bob").await;
    add(&bob, &alice, "alice").await;
    Meeting { alice, bob, at_alice, at_bob, serving, _homes: homes }
}

async fn presence(events: &mut Receiver<Arc<Event>>, wanted: bool) {
    event(events, |kind| matches!(kind, EventKind::Presence { online, .. } if *online == wanted).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_straight_to_the_contact_and_is_delivered_and_read() {
    let Meeting { alice, bob, mut at_alice, mut at_bob, serving, _homes } = meeting().await;

    let id = send(&alice, "bob", "hello").await;
    let direct = |kind: &EventKind| matches!(kind, EventKind::Path { path: PathChange::Direct { .. }, .. });
    event(&mut at_bob, |kind| direct(kind).then_some(())).await;
    arrives(&mut at_bob, "hello").await;
    reaches(&mut at_alice, id, MessageState::Delivered).await;
    bob.request(|reply| Command::Read { with: "alice".into(), upto: id, reply }).await.unwrap();
    reaches(&mut at_alice, id, MessageState::Read).await;
    let contacts = bob.request(Command::Contacts).await.unwrap();
    assert_eq!((contacts[0].summary.unread, contacts[0].online), (0, true));
    assert!(contacts[0].path.is_some());
    assert_eq!(history(&bob, "alice").await[0].text, "hello");
    alice.stop().await;
    bob.stop().await;
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_the_contact_is_away_arrives_when_it_comes_back() {
    let serving = rendezvous().await;
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let alice = start(homes[0].path(), serving.address()).await;
    let bob = start(homes[1].path(), serving.address()).await;
    let mut at_alice = alice.events();
    add(&alice, &bob, "bob").await;
    add(&bob, &alice, "alice").await;
    presence(&mut at_alice, true).await;
    bob.stop().await;
    presence(&mut at_alice, false).await;

    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(send(&alice, "bob", format!("while you were away {n}").as_str()).await);
    }
    // Alice's process ends too: what is queued is on her disk.
    alice.stop().await;
    let alice = start(homes[0].path(), serving.address()).await;
    let mut at_alice = alice.events();
    let bob = start(homes[1].path(), serving.address()).await;
    reaches(&mut at_alice, ids[19], MessageState::Delivered).await;
    let got: Vec<_> = history(&bob, "alice").await.into_iter().map(|message| message.text).collect();
    let expected: Vec<_> = (0..20).map(|n| format!("while you were away {n}")).collect();
    assert_eq!(got, expected);
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_a_request_learns_nothing_and_talks_once_accepted() {
    let serving = rendezvous().await;
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let alice = start(homes[0].path(), serving.address()).await;
    let bob = start(homes[1].path(), serving.address()).await;
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    add(&alice, &bob, "bob").await;
    let id = send(&alice, "bob", "do you know me?").await;

    let name = event(&mut at_bob, |kind| match kind {
        EventKind::ContactRequest { name, .. } => Some(name.clone()),
        _ => None,
    })
    .await;
    let views = bob.request(Command::Contacts).await.unwrap();
    assert_eq!(views[0].state, ContactState::Request);
    assert!(alice.request(Command::Contacts).await.unwrap()[0].path.is_none());
    assert!(history(&bob, &name).await.is_empty());

    bob.request(|reply| Command::Accept { who: name.clone(), relay_only: None, reply }).await.unwrap();
    arrives(&mut at_bob, "do you know me?").await;
    reaches(&mut at_alice, id, MessageState::Delivered).await;
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_writing_at_once_lose_nothing_and_double_nothing() {
    let Meeting { alice, bob, mut at_alice, mut at_bob, serving: _serving, _homes } = meeting().await;
    for n in 0..400 {
        let (from_alice, from_bob) = (format!("a{n}"), format!("b{n}"));
        tokio::join!(send(&alice, "bob", from_alice.as_str()), send(&bob, "alice", from_bob.as_str()));
    }
    tokio::join!(arrives(&mut at_alice, "b399"), arrives(&mut at_bob, "a399"));
    for (peer, with) in [(&alice, "bob"), (&bob, "alice")] {
        let all = history(peer, with).await;
        for side in ["a", "b"] {
            let texts: Vec<_> = all.iter().map(|m| m.text.clone()).filter(|text| text.starts_with(side)).collect();
            let expected: Vec<_> = (0..400).map(|n| format!("{side}{n}")).collect();
            assert_eq!(texts, expected, "{side} with {with}");
        }
    }
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_open_a_connection_to_each_other_at_once_agree_on_one() {
    let Meeting { mut alice, mut bob, mut at_alice, mut at_bob, serving, _homes } = meeting().await;
    tokio::join!(presence(&mut at_alice, true), presence(&mut at_bob, true));
    let mut times = Vec::new();
    for n in 0..8 {
        let text = format!("round {n}");
        tokio::join!(alice.stop(), bob.stop());
        let begin = std::time::Instant::now();
        (alice, bob) =
            tokio::join!(start(_homes[0].path(), serving.address()), start(_homes[1].path(), serving.address()));
        (at_alice, at_bob) = (alice.events(), bob.events());
        tokio::join!(send(&alice, "bob", text.as_str()), send(&bob, "alice", text.as_str()));
        tokio::join!(arrives(&mut at_alice, &text), arrives(&mut at_bob, &text));
        times.push(begin.elapsed());
    }
    // docs/protocol.md, "Link": two that both wait for the other would do so for 3 s. A busy machine delays one time or another.
    times.sort_unstable();
    assert!(times[times.len() / 2] < Duration::from_millis(2500), "{times:?}");
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rendezvous_under_two_names_is_one_registration() {
    let serving = rendezvous().await;
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let named = RendezvousAddress { host: "localhost".into(), ..serving.address().clone() };
    let alice = start(homes[0].path(), serving.address()).await;
    let bob = start(homes[1].path(), &named).await;
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    add(&alice, &bob, "bob").await;
    add(&bob, &alice, "alice").await;
    send(&alice, "bob", "one").await;
    arrives(&mut at_bob, "one").await;
    for peer in [&alice, &bob] {
        assert_eq!(status(peer).await.rendezvous.len(), 1);
    }
    let lost = |kind: &EventKind| matches!(kind, EventKind::Unregistered { .. });
    while let Ok(event) = at_alice.try_recv() {
        assert!(!lost(&event.kind));
    }
    assert_eq!(serving.counters().await.signed_in, 2);
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_contact_is_gone_at_once_and_stays_away() {
    let Meeting { alice, bob, mut at_alice, mut at_bob, serving: _serving, _homes } = meeting().await;
    send(&alice, "bob", "one").await;
    arrives(&mut at_bob, "one").await;
    bob.request(|reply| Command::Block { who: "alice".into(), reply }).await.unwrap();
    presence(&mut at_bob, false).await;
    presence(&mut at_alice, false).await;
    send(&alice, "bob", "two").await;
    // Unblocked by accepting her, Bob gets what waited.
    bob.request(|reply| Command::Accept { who: "alice".into(), relay_only: None, reply }).await.unwrap();
    arrives(&mut at_bob, "two").await;
    let got: Vec<_> = history(&bob, "alice").await.into_iter().map(|message| message.text).collect();
    assert_eq!(got, ["one", "two"]);
    alice.stop().await;
    bob.stop().await;
}

/// Waits until a peer has lost its rendezvous and is registered again.
async fn returned(events: &mut Receiver<Arc<Event>>) {
    event(events, |kind| matches!(kind, EventKind::Unregistered { .. }).then_some(())).await;
    event(events, |kind| matches!(kind, EventKind::Registered { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_back_at_a_restarted_rendezvous_without_a_handshake_and_talk_on() {
    let mut serving = rendezvous().await;
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // Strict, so that the test takes seconds: who is not told finds out by its next keepalive.
    let alice = start_with(homes[0].path(), serving.address(), Profile::Strict).await;
    let bob = start_with(homes[1].path(), serving.address(), Profile::Strict).await;
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    add(&alice, &bob, "bob").await;
    add(&bob, &alice, "alice").await;
    let before = send(&alice, "bob", "before").await;
    reaches(&mut at_alice, before, MessageState::Delivered).await;

    for farewell in [false, true] {
        let at = serving.bound()[0];
        let (mut again_at_alice, mut again_at_bob) = (alice.events(), bob.events());
        let text = if farewell { "told" } else { "crashed" };
        if farewell {
            serving.shutdown().await;
        } else {
            drop(serving);
        }
        serving = rendezvous_again(at).await;
        let during = send(&alice, "bob", text).await;
        reaches(&mut at_alice, during, MessageState::Delivered).await;
        tokio::join!(returned(&mut again_at_alice), returned(&mut again_at_bob));
        let counters = serving.counters().await;
        assert_eq!((counters.returned, counters.signed_in), (2, 0), "after a restart, {text}");
        let after = send(&bob, "alice", text).await;
        reaches(&mut at_bob, after, MessageState::Delivered).await;
    }
    let texts: Vec<_> = history(&bob, "alice").await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["before", "crashed", "crashed", "told", "told"]);
    alice.stop().await;
    bob.stop().await;
    serving.shutdown().await;
}

/// The old process' sockets are closed by its own threads, in a moment.
async fn rendezvous_again(at: SocketAddr) -> Serving {
    for _ in 0..500 {
        if std::net::UdpSocket::bind(at).is_ok() {
            return rendezvous_at(at).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{at} does not become free")
}
