//! Two engines and a rendezvous in one process, on loopback: what is said is changed, disappears, is read and typed, and both sides
//! show the same of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions"
)]

use std::sync::Arc;
use std::time::Duration;

use knothole::command::{Command, NewMessage};
use knothole::event::{Event, EventKind};
use knothole::handle::Peer;
use knothole::store::{Author, Change, Kind, Message, MessageState, What};
use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use knothole_rendezvous::serve::Serving;
use tempfile::TempDir;
use tokio::sync::broadcast::Receiver;

use crate::neighbours::{PATIENCE, add, arrives, event, history, reaches, rendezvous, send, start};

/// Two who have each other as contacts.
struct Meeting {
    alice: Peer,
    bob: Peer,
    at_alice: Receiver<Arc<Event>>,
    at_bob: Receiver<Arc<Event>>,
    serving: Serving,
    homes: [TempDir; 2],
}

impl Meeting {
    async fn new() -> Self {
        Self::with("").await
    }

    /// Bob's config.toml says this.
    async fn with(configuration: &str) -> Self {
        let serving = rendezvous().await;
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        std::fs::write(homes[1].path().join("config.toml"), configuration).unwrap();
        let alice = start(homes[0].path(), serving.address()).await;
        let bob = start(homes[1].path(), serving.address()).await;
        let (at_alice, at_bob) = (alice.events(), bob.events());
        add(&alice, &bob, "bob").await;
        add(&bob, &alice, "alice").await;
        Self { alice, bob, at_alice, at_bob, serving, homes }
    }

    async fn alice_comes_back(&mut self) {
        self.alice = start(self.homes[0].path(), self.serving.address()).await;
        self.at_alice = self.alice.events();
    }

    async fn bob_comes_back(&mut self) {
        self.bob = start(self.homes[1].path(), self.serving.address()).await;
        self.at_bob = self.bob.events();
    }

    /// Both show the same, author by author.
    async fn agree(&self) {
        let mirrored = async |peer: &Peer, with: &str, alice: Author| {
            let page = history(peer, with).await;
            let mut shown: Vec<_> = page
                .into_iter()
                .map(|message| {
                    let reactions = message.reactions.iter();
                    let mut reactions: Vec<_> =
                        reactions.map(|it| (it.emoji.clone(), it.mine == (alice == Author::Me))).collect();
                    reactions.sort();
                    let Message { id, kind, text, edited, reply, .. } = message;
                    (id, message.author == alice, kind as u8, text, edited, reply, reactions)
                })
                .collect();
            shown.sort();
            shown
        };
        let agreed = async {
            while mirrored(&self.alice, "bob", Author::Me).await != mirrored(&self.bob, "alice", Author::Contact).await
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, agreed).await.expect("both come to show the same");
    }

    async fn end(self) {
        self.alice.stop().await;
        self.bob.stop().await;
        self.serving.shutdown().await;
    }
}

async fn amend(peer: &Peer, with: Option<&str>, content: Content) -> MessageId {
    let with = with.map(str::to_owned);
    peer.request(|reply| Command::Amend { with, content, reply }).await.unwrap()
}

async fn read(peer: &Peer, with: &str, upto: MessageId) {
    peer.request(|reply| Command::Read { with: with.into(), upto, reply }).await.unwrap();
}

async fn type_to(peer: &Peer, to: &str, on: bool) {
    peer.request(|reply| Command::Typing { to: to.into(), on, reply }).await.unwrap();
}

async fn changes(events: &mut Receiver<Arc<Event>>, message: MessageId, what: What) {
    let is = |change: &Change| change.message == message && change.what == what;
    event(events, |kind| matches!(kind, EventKind::Change { change, .. } if is(change)).then_some(())).await;
}

fn edit(of: MessageId, text: &str) -> Content {
    Content::Edit { of, text: text.into() }
}

fn react(of: MessageId, emoji: &str) -> Content {
    Content::Reaction { of, emoji: emoji.into(), on: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_replies_reactions_and_deletions_reach_the_other_side_at_once() {
    let mut meeting = Meeting::new().await;
    let Meeting { alice, bob, at_alice, at_bob, .. } = &mut meeting;
    let first = send(alice, "bob", "frist").await;
    assert_eq!(arrives(at_bob, "frist").await, first);
    let edited = amend(alice, None, edit(first, "first")).await;
    changes(at_bob, first, What::Edited { text: "first".into() }).await;
    reaches(at_alice, edited, MessageState::Delivered).await;
    amend(bob, Some("alice"), react(first, "👍")).await;
    changes(at_alice, first, What::Reacted { emoji: "👍".into(), on: true }).await;
    let reply = NewMessage { text: "second".into(), answers: Some(first), expires_s: None, ..NewMessage::default() };
    let second = send(bob, "alice", reply).await;
    let answered = |kind: &EventKind| match kind {
        EventKind::Message { message, reply, .. } if *message == second => Some(*reply),
        _ => None,
    };
    assert_eq!(event(at_alice, answered).await, Some(first));
    amend(bob, None, Content::Delete { of: second }).await;
    changes(at_alice, second, What::Deleted).await;
    let refused = alice.request(|reply| Command::Amend { with: None, content: edit(second, "x"), reply }).await;
    assert!(refused.unwrap_err().to_string().contains("only who wrote a message"));
    let page = history(alice, "bob").await;
    assert_eq!((page[0].text.as_str(), page[0].edited, page[1].kind), ("first", true, Kind::Deleted));
    meeting.agree().await;
    meeting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_change_while_the_other_is_away_is_the_same_on_both_sides_in_the_end() {
    let mut meeting = Meeting::new().await;
    let mut ids = Vec::new();
    for n in 0..4 {
        let text = format!("message {n}");
        ids.push(send(&meeting.alice, "bob", text.as_str()).await);
        arrives(&mut meeting.at_bob, &text).await;
    }
    let own = send(&meeting.bob, "alice", "bob's own").await;
    arrives(&mut meeting.at_alice, "bob's own").await;

    meeting.alice.stop().await;
    amend(&meeting.bob, None, react(ids[0], "👍")).await;
    amend(&meeting.bob, None, react(ids[1], "🎉")).await;
    amend(&meeting.bob, None, edit(own, "bob's other words")).await;
    amend(&meeting.bob, Some("alice"), Content::Timer { expires_s: Some(3600) }).await;
    meeting.bob.stop().await;

    meeting.alice_comes_back().await;
    amend(&meeting.alice, None, Content::Delete { of: ids[0] }).await;
    amend(&meeting.alice, None, edit(ids[1], "once")).await;
    amend(&meeting.alice, None, edit(ids[1], "twice")).await;
    amend(&meeting.alice, None, react(own, "🌳")).await;
    let last = amend(&meeting.alice, Some("bob"), Content::Timer { expires_s: None }).await;
    meeting.bob_comes_back().await;

    reaches(&mut meeting.at_alice, last, MessageState::Delivered).await;
    meeting.agree().await;
    let page = history(&meeting.bob, "alice").await;
    let texts: Vec<_> = page.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts[..5], ["", "twice", "message 2", "message 3", "bob's other words"]);
    meeting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_disappear_on_both_sides_by_the_timer_that_both_see() {
    let mut meeting = Meeting::new().await;
    let Meeting { alice, bob, at_alice, at_bob, .. } = &mut meeting;
    let timer = amend(bob, Some("alice"), Content::Timer { expires_s: Some(1) }).await;
    changes(at_bob, timer, What::Timer { expires_s: Some(1) }).await;
    changes(at_alice, timer, What::Timer { expires_s: Some(1) }).await;
    let stays = send(
        alice,
        "bob",
        NewMessage { text: "stays".into(), answers: None, expires_s: Some(0), ..NewMessage::default() },
    )
    .await;
    let goes = send(alice, "bob", "goes").await;
    arrives(at_bob, "goes").await;
    read(bob, "alice", goes).await;
    changes(at_alice, goes, What::Expired).await;
    changes(at_bob, goes, What::Expired).await;
    for (peer, with) in [(&meeting.alice, "bob"), (&meeting.bob, "alice")] {
        let ids: Vec<_> = history(peer, with).await.into_iter().map(|message| message.id).collect();
        assert_eq!(ids, [timer, stays]);
    }
    meeting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_due_while_the_process_was_down_is_gone_when_it_is_back() {
    let mut meeting = Meeting::new().await;
    let draft = |expires_s| NewMessage {
        text: "goes".into(),
        answers: None,
        expires_s: Some(expires_s),
        ..NewMessage::default()
    };
    let id = send(&meeting.alice, "bob", draft(1)).await;
    reaches(&mut meeting.at_alice, id, MessageState::Delivered).await;
    read(&meeting.bob, "alice", id).await;
    meeting.bob.stop().await;
    meeting.alice.stop().await;
    meeting.alice_comes_back().await;
    meeting.bob_comes_back().await;
    let gone = async {
        while !history(&meeting.alice, "bob").await.is_empty() || !history(&meeting.bob, "alice").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("what is due goes");
    meeting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_sees_that_somebody_types_and_stops() {
    let mut meeting = Meeting::new().await;
    let Meeting { alice, bob, at_bob, at_alice, .. } = &mut meeting;
    let types =
        |wanted| move |kind: &EventKind| matches!(kind, EventKind::Typing { on, .. } if *on == wanted).then_some(());
    send(alice, "bob", "hello").await;
    arrives(at_bob, "hello").await;
    type_to(alice, "bob", true).await;
    event(at_bob, types(true)).await;
    type_to(alice, "bob", false).await;
    event(at_bob, types(false)).await;
    // A text says by itself that the typing is over.
    type_to(bob, "alice", true).await;
    event(at_alice, types(true)).await;
    send(bob, "alice", "there").await;
    event(at_alice, types(false)).await;
    meeting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_switches_receipts_and_typing_off_tells_and_sees_neither() {
    let mut meeting = Meeting::with("receipts = false\ntyping = false\n").await;
    let Meeting { alice, bob, at_alice, at_bob, .. } = &mut meeting;
    let id = send(alice, "bob", "hello").await;
    arrives(at_bob, "hello").await;
    type_to(alice, "bob", true).await;
    read(bob, "alice", id).await;
    type_to(bob, "alice", true).await;
    let answer = send(bob, "alice", "answer").await;
    // What was said before it would have come before it.
    let mut told = Vec::new();
    event(at_alice, |kind| match kind {
        EventKind::Message { message, .. } => (*message == answer).then_some(()),
        EventKind::Typing { .. } | EventKind::State { state: MessageState::Read, .. } => {
            told.push(kind.clone());
            None
        }
        _ => None,
    })
    .await;
    read(alice, "bob", answer).await;
    let last = send(alice, "bob", "last").await;
    event(at_bob, |kind| match kind {
        EventKind::Message { message, .. } => (*message == last).then_some(()),
        EventKind::Typing { .. } | EventKind::State { state: MessageState::Read, .. } => {
            told.push(kind.clone());
            None
        }
        _ => None,
    })
    .await;
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(history(alice, "bob").await[0].state, MessageState::Delivered);
    meeting.end().await;
}
