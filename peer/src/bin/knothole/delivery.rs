//! Sending a message and following it, also across the end of the process that runs the engine.

use anyhow::Context as _;
use knothole_proto::frames::MessageId;
use serde_json::{Value, json};

use crate::session::{Session, entries, word};

/// Messages looked through for one whose events may have been missed: more than are under way at a time.
const LOOK_BACK: u32 = 1000;

/// How far a message has come, in the order of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Queued,
    Sent,
    Delivered,
    Read,
    /// It will not be sent any more.
    Failed,
}

impl Stage {
    /// Reads the word of JSON-RPC.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "sent" => Self::Sent,
            "delivered" => Self::Delivered,
            "read" => Self::Read,
            "failed" => Self::Failed,
            _ => Self::Queued,
        }
    }

    /// The word of JSON-RPC.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }
}

/// Sends a message: it is in durable storage here when this is done. Gives its id.
pub(crate) async fn send(session: &mut Session, to: &str, text: &str) -> anyhow::Result<String> {
    send_as(session, json!({"to": to, "text": text})).await
}

/// Sends a message with these parameters. It has a name before it is sent, so that the successor of an engine that ends over it
/// can be told once more: whether it was stored already, that one knows.
pub(crate) async fn send_as(session: &mut Session, mut asked: Value) -> anyhow::Result<String> {
    let mut id = [0; 16];
    // From the kernel, for AWS-LC's generator takes its time to begin.
    getrandom::fill(&mut id).context("the system gives no random bytes")?;
    asked["message"] = MessageId(id).to_string().into();
    let sent = session.insist("message.send", asked).await?;
    Ok(word(&sent, "message").to_owned())
}

/// Where messages are now, by the conversation's history; those that are not in it are left out.
pub(crate) async fn stages(session: &Session, with: &str) -> anyhow::Result<Vec<(String, Stage)>> {
    let stage = |message: &Value| (word(message, "message").to_owned(), Stage::of(word(message, "state")));
    Ok(entries(&newest(session, with).await?).iter().map(stage).collect())
}

async fn newest(session: &Session, with: &str) -> anyhow::Result<Value> {
    let asked = json!({"with": with, "limit": LOOK_BACK});
    session.call("message.history", asked).await.context("the conversation cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_ordered_and_read_back() {
        let stages = [Stage::Queued, Stage::Sent, Stage::Delivered, Stage::Read, Stage::Failed];
        assert!(stages.is_sorted());
        assert!(stages.iter().all(|stage| Stage::of(stage.as_str()) == *stage));
    }
}
