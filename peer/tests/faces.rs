//! What several faces of one engine see of each other: drafts, and where a conversation stands.

#![expect(clippy::unwrap_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

mod neighbours;

use std::sync::Arc;

use knothole::command::{Command, CommandError, NewMessage};
use knothole::event::Event;
use knothole::handle::Peer;
use knothole::store::{MessageState, Summary};
use knothole_proto::frames::MessageId;
use knothole_rendezvous::serve::Serving;
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

use neighbours::{add, arrives, history, reaches, rendezvous, send, start};

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
    reaches(&mut at_alice, ids[1], MessageState::Read).await;
    let told = summary(&bob).await;
    assert_eq!((told.unread, told.first_unread), (1, Some(ids[2])));
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
