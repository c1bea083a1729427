//! The example bot, as it stands in peer/examples/bot.rs, with the daemon of its home.
#![expect(clippy::unwrap_used, reason = "a test says with a panic what is wrong")]

#[path = "../../examples/bot.rs"]
#[expect(dead_code, reason = "its `main` is for the example")]
mod program;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use knothole::event::{Event, EventKind};
use knothole::home::Home;
use knothole::store::MessageState;
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
async fn says(events: &mut Receiver<Arc<Event>>) -> (String, Option<knothole_proto::frames::MessageId>) {
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

#[test]
fn the_bot_has_fewer_than_60_lines() {
    assert!(include_str!("../../examples/bot.rs").lines().count() < 60);
}
