//! Who sees whom come and go, on loopback with a real rendezvous: docs/protocol.md, "Presence".

#![expect(clippy::unwrap_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use std::sync::Arc;
use std::time::Duration;

use knothole::command::{Command, ContactView, PresenceMode};
use knothole::event::{Event, EventKind, PathChange};
use knothole::handle::Peer;
use knothole::store::MessageState;
use knothole_proto::certificate::IdentitySecret;
use knothole_proto::contact_link::ContactLink;
use knothole_proto::registration::Profile;
use knothole_rendezvous::serve::{Config, Serving};
use tokio::sync::broadcast::Receiver;

use crate::neighbours::{PATIENCE, add, arrives, configuration, event, reaches, rendezvous, send, start, start_with};

async fn rendezvous_named(key: u8) -> Serving {
    Serving::start(Config { identity: IdentitySecret::new([key; 32]), ..configuration() }).await.unwrap()
}

async fn presence(peer: &Peer, mode: PresenceMode, who: Option<&str>) {
    let who = who.map(str::to_owned);
    peer.request(|reply| Command::Presence { mode, who, reply }).await.unwrap();
}

/// Writes something, and waits until the other side has it.
async fn delivered(peer: &Peer, events: &mut Receiver<Arc<Event>>, to: &str) {
    let id = send(peer, to, "hello").await;
    reaches(events, id, MessageState::Delivered).await;
}

async fn view(peer: &Peer, name: &str) -> ContactView {
    let all = peer.request(Command::Contacts).await.unwrap();
    all.into_iter().find(|contact| contact.name == name).unwrap()
}

async fn sees(events: &mut Receiver<Arc<Event>>, who: &str, wanted: bool) {
    let is =
        |kind: &EventKind| matches!(kind, EventKind::Presence { name, online, .. } if name == who && *online == wanted);
    event(events, |kind| is(kind).then_some(())).await;
}

/// What a person would have been told until now.
fn told(events: &mut Receiver<Arc<Event>>) -> Vec<(String, bool)> {
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::Presence { name, online, .. } = &event.kind {
            told.push((name.clone(), *online));
        }
    }
    told
}

/// What was received until now.
fn received(events: &mut Receiver<Arc<Event>>) -> Vec<String> {
    let mut received = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::Message { text, .. } = &event.kind {
            received.push(text.clone());
        }
    }
    received
}

/// Three who have each other as contacts, but for bob and carol.
struct Three {
    alice: Peer,
    bob: Peer,
    carol: Peer,
    at_alice: Receiver<Arc<Event>>,
    at_bob: Receiver<Arc<Event>>,
    at_carol: Receiver<Arc<Event>>,
    serving: Serving,
    homes: [tempfile::TempDir; 3],
}

async fn three() -> Three {
    let serving = rendezvous().await;
    let homes = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let alice = start(homes[0].path(), serving.address()).await;
    let bob = start(homes[1].path(), serving.address()).await;
    let carol = start(homes[2].path(), serving.address()).await;
    let (mut at_alice, mut at_bob, mut at_carol) = (alice.events(), bob.events(), carol.events());
    for (other, name, events) in [(&bob, "bob", &mut at_bob), (&carol, "carol", &mut at_carol)] {
        add(&alice, other, name).await;
        add(other, &alice, "alice").await;
        sees(&mut at_alice, name, true).await;
        sees(events, "alice", true).await;
        // With a connection come the keys for letters after it.
        delivered(&alice, &mut at_alice, name).await;
        delivered(other, events, "alice").await;
    }
    Three { alice, bob, carol, at_alice, at_bob, at_carol, serving, homes }
}

#[tokio::test(flavor = "multi_thread")]
async fn invisible_to_one_and_visible_to_another_who_sees_it_and_both_are_seen() {
    let Three { alice, bob, carol, mut at_alice, mut at_bob, mut at_carol, serving, homes } = three().await;
    presence(&alice, PresenceMode::Invisible, Some("bob")).await;
    sees(&mut at_bob, "alice", false).await;
    assert!(!view(&bob, "alice").await.online);
    assert!(view(&bob, "alice").await.last_seen.is_some());
    assert!(view(&bob, "alice").await.path.is_none());
    assert!(view(&carol, "alice").await.online);
    assert_eq!(told(&mut at_carol), []);
    let bob_at_alice = view(&alice, "bob").await;
    assert!(!bob_at_alice.shown);
    // What bob writes arrives by letter, and brings no connection about.
    send(&bob, "alice", "are you there?").await;
    arrives(&mut at_alice, "are you there?").await;
    assert!(view(&alice, "bob").await.online, "whom alice still sees");
    assert!(!view(&bob, "alice").await.online);

    // It holds over a restart, from the first moment.
    alice.stop().await;
    sees(&mut at_carol, "alice", false).await;
    let alice = start(homes[0].path(), serving.address()).await;
    let mut at_alice = alice.events();
    sees(&mut at_carol, "alice", true).await;
    send(&bob, "alice", "still not?").await;
    arrives(&mut at_alice, "still not?").await;
    assert_eq!(told(&mut at_bob), [], "bob has seen nothing of it");

    presence(&alice, PresenceMode::Online, Some("bob")).await;
    sees(&mut at_bob, "alice", true).await;
    for peer in [alice, bob, carol] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_hides_is_not_given_away_by_what_it_wrote_before() {
    let Three { alice, bob, carol, mut at_alice, at_bob: _, mut at_carol, serving, homes } = three().await;
    presence(&alice, PresenceMode::Invisible, Some("bob")).await;
    bob.stop().await;
    sees(&mut at_alice, "bob", false).await;
    send(&alice, "bob", "written while he was away").await;
    let returned = async || serving.counters().await.letters_returned;
    let waiting = async {
        while returned().await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes back");
    let before = serving.counters().await.letters_posted;

    // He comes, and then she comes anew.
    let bob = start(homes[1].path(), serving.address()).await;
    let mut at_bob = bob.events();
    sees(&mut at_alice, "bob", true).await;
    alice.stop().await;
    sees(&mut at_carol, "alice", false).await;
    let alice = start(homes[0].path(), serving.address()).await;
    sees(&mut at_carol, "alice", true).await;
    delivered(&carol, &mut at_carol, "alice").await;
    // Carol's may have gone by letter, if she was quicker than her connection.
    let posted = serving.counters().await.letters_posted - before;
    assert!(posted <= 1 && received(&mut at_bob).is_empty(), "{posted} letters");

    send(&alice, "bob", "written now").await;
    arrives(&mut at_bob, "written while he was away").await;
    arrives(&mut at_bob, "written now").await;
    for peer in [alice, bob, carol] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invisible_to_all_but_one() {
    let Three { alice, bob, carol, at_alice: _, mut at_bob, mut at_carol, serving, homes: _homes } = three().await;
    presence(&alice, PresenceMode::Online, Some("carol")).await;
    presence(&alice, PresenceMode::Invisible, None).await;
    sees(&mut at_bob, "alice", false).await;
    assert!(view(&carol, "alice").await.online);
    assert!(alice.request(Command::Status).await.unwrap().invisible);
    let refused = alice.request(|reply| Command::Connect { who: "bob".into(), reply }).await.unwrap_err();
    assert!(refused.to_string().contains("knothole presence online bob"), "{refused}");
    presence(&alice, PresenceMode::Default, Some("carol")).await;
    sees(&mut at_carol, "alice", false).await;
    presence(&alice, PresenceMode::Online, None).await;
    sees(&mut at_bob, "alice", true).await;
    sees(&mut at_carol, "alice", true).await;
    for peer in [alice, bob, carol] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_is_seen_at_once_and_when_that_was_is_remembered() {
    let Three { alice, bob, carol, mut at_alice, at_bob: _, at_carol: _, serving, homes } = three().await;
    bob.stop().await;
    sees(&mut at_alice, "bob", false).await;
    let seen = view(&alice, "bob").await.last_seen.unwrap();
    alice.stop().await;
    let alice = start(homes[0].path(), serving.address()).await;
    assert_eq!(view(&alice, "bob").await.last_seen, Some(seen));
    for peer in [alice, carol] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_has_not_added_the_other_sees_nothing_of_it() {
    let serving = rendezvous().await;
    let homes = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let alice = start(homes[0].path(), serving.address()).await;
    let bob = start(homes[1].path(), serving.address()).await;
    let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
    add(&alice, &bob, "bob").await;
    event(&mut at_bob, |kind| matches!(kind, EventKind::ContactRequest { .. }).then_some(())).await;
    assert_eq!((told(&mut at_alice), told(&mut at_bob)), (vec![], vec![]));
    assert!(!view(&alice, "bob").await.online);
    for peer in [alice, bob] {
        peer.stop().await;
    }
    serving.shutdown().await;
}

/// Where alice is only because carol is: nobody but carol can be invited there.
#[tokio::test(flavor = "multi_thread")]
async fn one_who_is_blocked_is_told_that_we_are_away_also_where_we_are_guests_and_under_another_key() {
    let (own, foreign) = (rendezvous().await, rendezvous_named(44).await);
    let homes = [0; 4].map(|_| tempfile::tempdir().unwrap());
    let alice = start(homes[0].path(), own.address()).await;
    let carol = start(homes[1].path(), foreign.address()).await;
    let bob = start(homes[2].path(), foreign.address()).await;
    let other = start(homes[3].path(), foreign.address()).await;
    let (mut at_alice, mut at_carol) = (alice.events(), carol.events());
    let (me, who) =
        (alice.request(Command::Status).await.unwrap().peer, bob.request(Command::Status).await.unwrap().peer);
    alice.request(|reply| Command::Block { who: who.to_string(), reply }).await.unwrap();
    add(&alice, &carol, "carol").await;
    add(&carol, &alice, "alice").await;
    sees(&mut at_carol, "alice", true).await;
    let known =
        |kind: &EventKind| matches!(kind, EventKind::Registered { rendezvous, .. } if rendezvous == foreign.address());
    event(&mut at_alice, |kind| known(kind).then_some(())).await;
    for asking in [bob, other] {
        let mut events = asking.events();
        let link = ContactLink { peer: me, via: vec![foreign.address().clone()] };
        let adding = |reply| Command::AddContact { link, name: Some("alice".into()), relay_only: None, reply };
        asking.request(adding).await.unwrap();
        let told = event(&mut events, |kind| match kind {
            EventKind::Path { path: PathChange::None { why }, .. } => Some(why.clone()),
            _ => None,
        });
        assert_eq!(told.await, "the contact is offline");
        asking.stop().await;
    }
    for peer in [alice, carol] {
        peer.stop().await;
    }
    own.shutdown().await;
    foreign.shutdown().await;
}

#[test]
fn one_that_is_killed_is_offline_within_the_heartbeat() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (own, other) = (runtime(), runtime());
    let homes = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let serving = own.block_on(rendezvous());
    let alice = own.block_on(start_with(homes[0].path(), serving.address(), Profile::Strict));
    let bob = other.block_on(start_with(homes[1].path(), serving.address(), Profile::Strict));
    let mut at_alice = alice.events();
    own.block_on(add(&alice, &bob, "bob"));
    other.block_on(add(&bob, &alice, "alice"));
    own.block_on(sees(&mut at_alice, "bob", true));
    // Nothing of bob runs any more, and it has not said a word.
    other.shutdown_background();
    // Strict: a connection ends after 9 s, a registration too, and is looked at once a second.
    own.block_on(sees(&mut at_alice, "bob", false));
    assert!(!own.block_on(view(&alice, "bob")).online);
    own.block_on(alice.stop());
    own.block_on(serving.shutdown());
}
