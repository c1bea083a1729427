//! The demo without a terminal: a short transcript of messages that are really sent.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::output::Output;
use crate::session::{Session, word};
use crate::text::said;

/// How long a message may take to be received and acknowledged.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who says what: alice, then bob, in turns.
const LINES: [&str; 4] = [
    "Hello Bob! Can you hear me through the fence?",
    "Loud and clear, Alice. Who else is listening?",
    "Nobody: this goes straight from my socket to yours, end to end encrypted.",
    "Then the neighbours can keep their ears off the knothole.",
];

/// Lets the two talk, and fails if anything of it does not arrive.
pub(super) async fn play(alice: &mut Session, bob: &mut Session, output: &Output) -> anyhow::Result<()> {
    let begun = Instant::now();
    for (turn, text) in LINES.into_iter().enumerate() {
        if turn % 2 == 0 {
            pass(("alice", alice), ("bob", bob), text, output).await?;
        } else {
            pass(("bob", bob), ("alice", alice), text, output).await?;
        }
    }
    output.line(&format!(
        "* {} messages, each delivered and acknowledged, in {} ms. At a terminal, `knothole demo` lets you talk yourself.",
        LINES.len(),
        begun.elapsed().as_millis()
    ))?;
    Ok(())
}

/// One says something to the other: done when the other has it and the one knows.
async fn pass(
    (author, from): (&str, &mut Session),
    (reader, to): (&str, &mut Session),
    text: &str,
    output: &Output,
) -> anyhow::Result<()> {
    let sent = from.call("message.send", json!({"to": reader, "text": text})).await?;
    let message = word(&sent, "message");
    let pass = async {
        while !received(to, message, text).await? {}
        output.line(&said(author, text))?;
        while !acknowledged(from, message).await? {}
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, pass).await.with_context(|| {
        format!("what {author} said to {reader} was not delivered within {PATIENCE:?}; try KNOTHOLE_LOG=debug")
    })?
}

async fn received(session: &mut Session, message: &str, text: &str) -> anyhow::Result<bool> {
    let event = session.event().await.context("the engine has ended; try KNOTHOLE_LOG=debug")?;
    if event["type"] != "message" {
        return Ok(false);
    }
    if word(&event, "message") != message || word(&event, "text") != text {
        bail!("another message arrived than was sent: a bug of Knothole's; please report it");
    }
    Ok(true)
}

async fn acknowledged(session: &mut Session, message: &str) -> anyhow::Result<bool> {
    let event = session.event().await.context("the engine has ended; try KNOTHOLE_LOG=debug")?;
    Ok(event["type"] == "state" && event["message"] == message && event["state"] == "delivered")
}
