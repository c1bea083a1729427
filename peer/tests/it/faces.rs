//! What several faces of one engine see of each other: drafts, and where a conversation stands.

#![expect(clippy::unwrap_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use std::sync::Arc;

use knothole::command::{Command, CommandError, ContactView, NewMessage, PresenceMode};
use knothole::event::{Event, EventKind};
use knothole::handle::Peer;
use knothole::store::{ContactState, MessageState, StoreError, Summary};
use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use knothole_rendezvous::serve::Serving;
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

use crate::neighbours::{add, arrives, event, history, link, reaches, rendezvous, send, start};

/// Two who have each other as contacts.
struct Meeting {
    alice: Peer,
    bob: Peer,
    at_alice: Receiver<Arc<Event>>,
    at_bob: Receiver<Arc<Event>>,
    serving: Serving,
    homes: [TempDir; 2],
}

async fn meeting() -> Meeting {
    let serving = rendezvous().await;
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let alice = start(homes[0].path(), serving.address()).await;
    let bob = start(homes[1].path(), serving.address()).await;
    let (at_alice, at_bob) = (alice.events(), bob.events());
    add(&alice, &bob, "bob").await;
    add(&bob, &alice, "alice").await;
    Meeting { alice, bob, at_alice, at_bob, serving, homes }
}

async fn draft(peer: &Peer, with: &str, text: &str) -> Result<(), CommandError> {
    peer.request(|reply| Command::SetDraft { with: with.into(), text: text.into(), reply }).await
}

async fn read(peer: &Peer, with: &str, upto: MessageId) {
    peer.request(|reply| Command::Read { with: with.into(), upto, reply }).await.unwrap();
}

/// The conversation with the first contact, in short.
async fn summary(peer: &Peer) -> Summary {
    peer.request(Command::Contacts).await.unwrap().remove(0).summary
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_outlives_the_engine_and_goes_with_the_message_that_is_made_of_it() {
    let Meeting { alice, serving, homes, .. } = meeting().await;
    draft(&alice, "bob", "I have beg").await.unwrap();
    assert_eq!(summary(&alice).await.draft.as_deref(), Some("I have beg"));
    assert!(matches!(draft(&alice, "eve", "x").await, Err(CommandError::UnknownContact(_))));
    alice.stop().await;

    let alice = start(homes[0].path(), serving.address()).await;
    assert_eq!(summary(&alice).await.draft.as_deref(), Some("I have beg"));
    send(&alice, "bob", "by another face").await;
    assert_eq!(summary(&alice).await.draft.as_deref(), Some("I have beg"), "it is not of this message");
    send(&alice, "bob", NewMessage { text: "I have begun".into(), from_draft: true, ..NewMessage::default() }).await;
    assert_eq!(summary(&alice).await.draft, None);
    draft(&alice, "bob", "more").await.unwrap();
    draft(&alice, "bob", "").await.unwrap();
    assert_eq!(summary(&alice).await.draft, None);
    alice.stop().await;
    let alice = start(homes[0].path(), serving.address()).await;
    assert_eq!(summary(&alice).await.draft, None);
    assert_eq!(history(&alice, "bob").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_tells_where_the_unread_messages_begin_and_when_the_newest_came() {
    let Meeting { alice, bob, mut at_alice, mut at_bob, serving, homes } = meeting().await;
    assert_eq!(summary(&bob).await, Summary::default());
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(send(&alice, "bob", text).await);
        arrives(&mut at_bob, text).await;
    }
    let told = summary(&bob).await;
    assert_eq!((told.unread, told.first_unread), (3, Some(ids[0])));
    read(&bob, "alice", ids[1]).await;
    let told = summary(&bob).await;
    assert_eq!((told.unread, told.first_unread), (1, Some(ids[2])), "as soon as it is answered");
    reaches(&mut at_alice, ids[1], MessageState::Read).await;
    assert!(told.last_at.is_some() && summary(&alice).await.last_at.is_some());
    draft(&bob, "alice", "four").await.unwrap();
    bob.stop().await;

    let bob = start(homes[1].path(), serving.address()).await;
    let again = summary(&bob).await;
    assert_eq!((again.unread, again.first_unread, again.draft.as_deref()), (1, Some(ids[2]), Some("four")));
    assert!(again.last_at.is_some());
    read(&bob, "alice", ids[2]).await;
    let page = history(&bob, "alice").await;
    assert_eq!((page.len(), summary(&bob).await.first_unread), (3, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_answered_that_a_message_is_read_finds_it_read_in_the_list() {
    let Meeting { alice, bob, mut at_bob, serving: _serving, homes: _homes, .. } = meeting().await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(send(&alice, "bob", format!("text {n}").as_str()).await);
    }
    arrives(&mut at_bob, "text 19").await;
    for (id, left) in ids.iter().zip((0..20).rev()) {
        read(&bob, "alice", *id).await;
        let told = summary(&bob).await;
        assert_eq!((told.unread, told.first_unread), (left, ids.get(20 - left as usize).copied()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_again_under_its_name_is_stored_once() {
    let Meeting { alice, bob, mut at_alice, serving: _serving, homes: _homes, .. } = meeting().await;
    let id = MessageId([7; 16]);
    let named = || NewMessage { id: Some(id), text: "hello".into(), ..NewMessage::default() };
    assert_eq!(send(&alice, "bob", named()).await, id);
    assert_eq!(send(&alice, "bob", named()).await, id);
    let told = history(&alice, "bob").await;
    assert_eq!(told.iter().map(|message| message.id).collect::<Vec<_>>(), [id]);

    let theirs = send(&bob, "alice", "hi").await;
    arrives(&mut at_alice, "hi").await;
    let message = NewMessage { id: Some(theirs), text: "hello".into(), ..NewMessage::default() };
    let refused = alice.request(|reply| Command::Send { to: "bob".into(), message, reply }).await;
    assert_eq!(refused, Err(CommandError::Store(StoreError::MessageKnown)));
    // A text that is not the one of this name is told not to be stored, and what was begun is still there.
    draft(&alice, "bob", "TWO").await.unwrap();
    let message = NewMessage { text: "TWO".into(), from_draft: true, ..named() };
    let refused = alice.request(|reply| Command::Send { to: "bob".into(), message, reply }).await;
    assert_eq!(refused, Err(CommandError::Store(StoreError::MessageKnown)));
    assert_eq!(summary(&alice).await.draft.as_deref(), Some("TWO"));
    // Sent again from a draft that came too late, it takes that with it.
    draft(&alice, "bob", "hello").await.unwrap();
    assert_eq!(send(&alice, "bob", NewMessage { from_draft: true, ..named() }).await, id);
    assert_eq!(summary(&alice).await.draft, None);
    assert_eq!(history(&alice, "bob").await.len(), 2);
}

async fn changed(events: &mut Receiver<Arc<Event>>) -> ContactView {
    event(events, |kind| match kind {
        EventKind::ContactChanged { contact } => Some((**contact).clone()),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_face_learns_what_one_of_them_sends_and_reads() {
    let Meeting { alice, bob, mut at_alice, mut at_bob, serving: _serving, homes: _homes } = meeting().await;
    let first = send(&alice, "bob", "hello").await;
    let reply = NewMessage { text: "again".into(), answers: Some(first), ..NewMessage::default() };
    let second = send(&alice, "bob", reply).await;
    for (id, expected, answers) in [(first, "hello", None), (second, "again", Some(first))] {
        let told = event(&mut at_alice, |kind| match kind {
            EventKind::Sent { peer: _, name, message, text, reply, expires_s: None } => {
                Some((name.clone(), *message, text.clone(), *reply))
            }
            _ => None,
        });
        assert_eq!(told.await, ("bob".into(), id, expected.into(), answers));
    }
    arrives(&mut at_bob, "again").await;
    let told = |kind: &EventKind| match kind {
        EventKind::Read { peer: _, name, upto, unread } => Some((name.clone(), *upto, *unread)),
        _ => None,
    };
    read(&bob, "alice", first).await;
    assert_eq!(event(&mut at_bob, told).await, ("alice".into(), first, 1));
    // Nothing changes by this, and nothing is told of it.
    read(&bob, "alice", first).await;
    read(&bob, "alice", second).await;
    assert_eq!(event(&mut at_bob, told).await, ("alice".into(), second, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_face_learns_what_one_of_them_does_to_a_contact() {
    let Meeting { alice, bob, mut at_alice, serving: _serving, homes: _homes, .. } = meeting().await;
    let who = || "bob".to_owned();
    let added = changed(&mut at_alice).await;
    assert_eq!((added.name.as_str(), added.state), ("bob", ContactState::Contact));

    alice.request(|reply| Command::Verify { who: who(), shown: None, reply }).await.unwrap();
    assert!(changed(&mut at_alice).await.verified);
    alice.request(|reply| Command::Path { who: who(), relay_only: true, reply }).await.unwrap();
    assert!(changed(&mut at_alice).await.relay_only);
    let lasting = Content::Timer { expires_s: Some(3600) };
    alice.request(|reply| Command::Amend { with: Some(who()), content: lasting, reply }).await.unwrap();
    assert_eq!(changed(&mut at_alice).await.expires_s, Some(3600));
    alice.request(|reply| Command::Presence { mode: PresenceMode::Invisible, who: None, reply }).await.unwrap();
    assert!(!changed(&mut at_alice).await.shown);
    alice.request(|reply| Command::Presence { mode: PresenceMode::Online, who: Some(who()), reply }).await.unwrap();
    assert!(changed(&mut at_alice).await.shown);
    let link = link(&bob).await;
    let named = |reply| Command::AddContact { link, name: Some("robert".into()), relay_only: None, reply };
    alice.request(named).await.unwrap();
    assert_eq!(changed(&mut at_alice).await.name, "robert");
    alice.request(|reply| Command::Block { who: "robert".into(), reply }).await.unwrap();
    assert_eq!(changed(&mut at_alice).await.state, ContactState::Blocked);
    alice.request(|reply| Command::Remove { who: "robert".into(), reply }).await.unwrap();
    let removed = event(&mut at_alice, |kind| match kind {
        EventKind::ContactRemoved { name, .. } => Some(name.clone()),
        _ => None,
    });
    assert_eq!(removed.await, "robert");
}
