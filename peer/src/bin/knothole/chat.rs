//! `chat`: plain line mode. A line typed is a message, a line received is printed.

mod conversation;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::arguments::Page;
use crate::delivery;
use crate::exit::NotInTime;
use crate::history;
use crate::output::Output;
use crate::session::{Session, entries, word};
use crate::typed::{self, Typed};
use conversation::{Conversation, Told};

/// Messages of before that a person is shown.
const RECENT: u32 = 10;

/// How long the end of the input waits for what was typed to be delivered.
const PATIENCE: Duration = Duration::from_secs(10);

/// What this chat is used for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// A person types and reads: show what was said before, note what is read, mark what is delivered, take /quit.
    pub(crate) terminal: bool,
    /// How long to wait, at the end, for what was typed to be delivered.
    pub(crate) patience: Duration,
}

pub(crate) async fn run(session: &mut Session, who: &str, output: &Output) -> anyhow::Result<()> {
    let terminal = typed::at_terminal() && Output::at_terminal() && !output.json;
    let manner = Manner {
        terminal,
        // A person who leaves need not wait; what is not delivered stays queued, and they are told.
        patience: if terminal { Duration::ZERO } else { PATIENCE },
    };
    talk(session, who, manner, output).await
}

/// Talks with `who` until standard input ends.
pub(crate) async fn talk(session: &mut Session, who: &str, manner: Manner, output: &Output) -> anyhow::Result<()> {
    // Tells at once, in the engine's own words, whom one cannot talk with; and connects.
    session.call("contact.connect", json!({"peer": who})).await?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let contacts = session.call("contact.list", json!({})).await?;
    let found = entries(&contacts).iter().find(|contact| word(contact, "name") == who || word(contact, "peer") == who);
    let Some(contact) = found else {
        bail!("{who} is no contact any more; `knothole contacts` lists them");
    };
    let mut conversation = Conversation::seen_at(contact, since);
    if manner.terminal {
        output.aside(&format!("* {}; type a line to send it, /quit or Ctrl-D to leave", conversation.told()));
        recall(session, &mut conversation, output).await?;
    }
    let mut typed = typed::lines();
    converse(session, &mut conversation, &mut typed, manner, output).await?;
    finish(session, &mut conversation, manner, output).await
}

/// Shows what was said before, and notes that it is read.
async fn recall(session: &mut Session, conversation: &mut Conversation, output: &Output) -> anyhow::Result<()> {
    let page = Page { name: conversation.peer().to_owned(), search: None, limit: RECENT, ids: false };
    let messages = history::read(session, &page).await?;
    for message in &messages {
        let mine = word(message, "from") == session.me();
        output.line(&conversation.recall(message, mine, &messages))?;
    }
    let received = messages.iter().rfind(|message| word(message, "from") != session.me());
    if let Some(message) = received {
        read(session, conversation, word(message, "message")).await?;
    }
    Ok(())
}

async fn converse(
    session: &mut Session,
    conversation: &mut Conversation,
    typed: &mut mpsc::Receiver<Typed>,
    manner: Manner,
    output: &Output,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            line = typed.recv() => match line {
                None => return Ok(()),
                Some(Typed::Line(line)) if manner.terminal && line.trim() == "/quit" => return Ok(()),
                Some(Typed::Line(line)) if line.trim().is_empty() => {}
                Some(Typed::Line(line)) => {
                    let message = delivery::send(session, conversation.peer(), &line).await?;
                    conversation.sent(message, line);
                }
                Some(Typed::TooLong) => output.aside("* that line is longer than a message can be (64 KiB), and was not sent"),
            },
            event = session.event() => take(session, conversation, event, manner, output).await?,
        }
    }
}

/// Waits, for as long as it may, until all that was typed has been delivered.
async fn finish(
    session: &mut Session,
    conversation: &mut Conversation,
    manner: Manner,
    output: &Output,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + manner.patience;
    while conversation.waiting() > 0 {
        tokio::select! {
            // What has come in is taken even when there is no time left to wait for more.
            biased;
            event = session.event() => take(session, conversation, event, manner, output).await?,
            () = tokio::time::sleep_until(deadline) => break,
        }
    }
    let name = conversation.name();
    if conversation.failed() > 0 {
        bail!("not everything was sent to {name}; see `knothole contacts` for how you stand with {name}");
    }
    let left = match conversation.waiting() {
        0 => return Ok(()),
        1 => format!("1 message is not delivered yet; it goes on while `knothole daemon` runs and {name} is online"),
        more => format!(
            "{more} messages are not delivered yet; they go on while `knothole daemon` runs and {name} is online"
        ),
    };
    if manner.terminal {
        output.aside(&format!("* {left}"));
        return Ok(());
    }
    Err(NotInTime(left).into())
}

/// Takes an event, or the end of the events, which is that of the engine's process.
async fn take(
    session: &mut Session,
    conversation: &mut Conversation,
    event: Option<serde_json::Value>,
    manner: Manner,
    output: &Output,
) -> anyhow::Result<()> {
    let Some(event) = event else {
        session.renew().await?;
        session.call("contact.connect", json!({"peer": conversation.peer()})).await?;
        return catch_up(session, conversation).await;
    };
    let told = conversation.take(&event);
    if output.json && conversation.is_said(&event) {
        output.data(&event, String::new)?;
        return Ok(());
    }
    match told {
        Some(Told::Message { text, message }) => {
            output.line(&text)?;
            if manner.terminal {
                read(session, conversation, &message).await?;
            }
        }
        Some(Told::Delivered(text)) if manner.terminal => output.aside(&format!("✓ {text}")),
        Some(Told::Aside(text)) => output.aside(&text),
        Some(Told::Missed) => {
            output.aside("* some lines were missed; `knothole history` has all of them");
            catch_up(session, conversation).await?;
        }
        Some(Told::Delivered(_)) | None => {}
    }
    Ok(())
}

/// Learns from the history what events did not tell.
async fn catch_up(session: &Session, conversation: &mut Conversation) -> anyhow::Result<()> {
    if conversation.waiting() > 0 {
        for (message, stage) in delivery::stages(session, conversation.peer()).await? {
            conversation.reached(&message, stage);
        }
    }
    Ok(())
}

async fn read(session: &Session, conversation: &Conversation, upto: &str) -> anyhow::Result<()> {
    session.call("message.read", json!({"with": conversation.peer(), "upto": upto})).await?;
    Ok(())
}
