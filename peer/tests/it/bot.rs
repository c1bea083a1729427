//! The example bot, as it stands in peer/examples/bot.rs, with the daemon of its home.
#![expect(clippy::unwrap_used, reason = "a test says with a panic what is wrong")]

#[path = "../../examples/bot.rs"]
#[expect(dead_code, reason = "its `main` is for the example")]
mod program;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use knothole::event::{Event, EventKind};
use knothole::home::Home;
use knothole::rpc::Client;
use knothole::store::{MessageState, Position, Store};
use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use serde_json::json;
use tokio::sync::broadcast::Receiver;

use crate::neighbours::{event, link, reaches, rendezvous, send, start};

/// The daemon of a home, killed with this.
struct Daemon(Child);

impl Daemon {
    fn start(home: &Path, rendezvous: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_knothole"));
        command.arg("--home").arg(home).args(["--rendezvous", rendezvous, "daemon"]).env_remove("KNOTHOLE_PASSPHRASE");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        Self(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the bot says next, and to which message.
async fn says(events: &mut Receiver<Arc<Event>>) -> (String, Option<MessageId>) {
    event(events, |kind| match kind {
        EventKind::Message { text, reply, .. } => Some((text.clone(), *reply)),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_takes_in_who_asks_answers_and_outlives_its_daemon() {
    let serving = rendezvous().await;
    let address = serving.address().to_string();
    let (bot_home, alice_home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let home = Home::open(Some(bot_home.path().to_owned())).unwrap();
    // The bot is there before its daemon is.
    let bot = tokio::spawn(program::run(home.clone()));
    let daemon = Daemon::start(bot_home.path(), &address);

    let alice = start(alice_home.path(), serving.address()).await;
    let mut events = alice.events();
    let mut to_bot = link(&alice).await;
    to_bot.peer = home.identity().unwrap().public_key();
    let added = |reply| knothole::command::Command::AddContact {
        link: to_bot,
        name: Some("bot".into()),
        relay_only: None,
        reply,
    };
    alice.request(added).await.unwrap();
    let hello = send(&alice, "bot", "hello").await;
    assert_eq!(says(&mut events).await, ("hello".into(), Some(hello)));
    let time = send(&alice, "bot", "time").await;
    let (told, of) = says(&mut events).await;
    assert!(told.parse::<jiff::Zoned>().is_ok() && of == Some(time), "{told}");

    // What arrives while the bot is not there, and what is sent while its daemon is not, is answered later.
    bot.abort();
    let unheard = send(&alice, "bot", "unheard").await;
    reaches(&mut events, unheard, MessageState::Delivered).await;
    drop(daemon);
    let early = send(&alice, "bot", "early").await;
    let bot = tokio::spawn(program::run(home));
    let daemon = Daemon::start(bot_home.path(), &address);
    assert_eq!(says(&mut events).await, ("unheard".into(), Some(unheard)));
    assert_eq!(says(&mut events).await, ("early".into(), Some(early)));
    bot.abort();
    drop(daemon);
    alice.stop().await;
    serving.shutdown().await;
}

/// As a bot that was killed between its answer and the note that it has read what it answers.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_page_that_is_unread_is_answered_once_and_answers_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(Some(directory.path().to_owned())).unwrap();
    let store = Store::open_in(&home).unwrap();
    let alice = PeerId::new([7; 32]);
    store.add(alice, Some("alice".into()), vec![]).await.unwrap();
    let asked = |number: u64| MessageId(std::array::from_fn(|place| number.to_be_bytes()[place % 8]));
    let first = asked(2).to_string();
    let answered = [&first[1..25], &first[..1], &first[25..]].concat().parse().unwrap();
    let text = |text: &str| Content::Text { text: text.into(), reply: None, expires_s: None };
    let answer = |text: &str| Content::Text { text: text.into(), reply: Some(asked(2)), expires_s: None };
    let receive = |number, content| store.receive(alice, Position { log: 9, number }, asked(number), content, number);
    receive(1, text("read")).await.unwrap();
    store.mark_read(alice, asked(1)).await.unwrap();
    receive(2, text("first")).await.unwrap();
    store.compose(alice, answered, answer("first"), 0).await.unwrap();
    for answers in (3..=1_100).map(|number| receive(number, answer("an answer"))).collect::<Vec<_>>() {
        answers.await.unwrap();
    }
    receive(1_101, text("last")).await.unwrap();
    store.close().await.unwrap();

    let bot = tokio::spawn(program::run(home.clone()));
    // Nobody is there (RFC 5737).
    let daemon = Daemon::start(directory.path(), &format!("{alice}@192.0.2.1:3478"));
    let (reader, writer) = knothole::rpc::connect(&home).await.unwrap().into_split();
    let (client, mut events) = Client::new(reader, writer);
    let all_read = async {
        while client.call("contact.list", json!({})).await.unwrap()[0]["unread"] != 0 {
            events.next().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all_read).await.unwrap();
    let history = client.call("message.history", json!({"with": "alice", "limit": 1000})).await.unwrap();
    let mine = history.as_array().unwrap().iter().filter(|message| message["from"] != alice.to_string());
    let mine: Vec<_> = mine.map(|message| (message["text"].clone(), message["reply"].clone())).collect();
    assert_eq!(mine, [(json!("last"), json!(asked(1_101).to_string()))]);
    let first = json!({"with": "alice", "search": "first"});
    assert_eq!(
        client.call("message.history", first).await.unwrap().as_array().unwrap().len(),
        2,
        "asked and answered once"
    );
    bot.abort();
    drop(daemon);
}

#[test]
fn the_bot_has_fewer_than_60_lines() {
    assert!(include_str!("../../examples/bot.rs").lines().count() < 60);
}
