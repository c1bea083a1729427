//! Bob, as a small program that answers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::session::{Session, entries, word};
use crate::text::beginning;

/// How long bob seems to type.
const PAUSE: Duration = Duration::from_millis(400);

/// Answers what alice says.
#[derive(Default)]
pub(super) struct Companion {
    answers: usize,
}

impl Companion {
    /// Answers until the engine ends.
    pub(super) async fn answer(&mut self, session: &mut Session) -> anyhow::Result<()> {
        while let Some(event) = session.event().await {
            if event["type"] != "message" {
                continue;
            }
            session.call("message.read", json!({"with": "alice", "upto": event["message"]})).await?;
            tokio::time::sleep(PAUSE).await;
            let contacts = session.call("contact.list", json!({})).await?;
            let path = entries(&contacts).first().map_or(Value::Null, |alice| alice["path"].clone());
            let text = self.words(word(&event, "text"), &path);
            session.call("message.send", json!({"to": "alice", "text": text})).await?;
        }
        Ok(())
    }

    fn words(&mut self, heard: &str, path: &Value) -> String {
        let heard = beginning(heard.trim());
        let first_word = heard.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase();
        self.answers += 1;
        match (first_word.as_str(), self.answers) {
            ("hi" | "hello" | "hey" | "hallo", _) => "Hello Alice! Good to hear you through the knothole.".to_owned(),
            ("bye" | "goodbye" | "quit" | "exit", _) => "Goodbye! Type /quit, and I will be gone, too.".to_owned(),
            (_, 1) => format!("“{heard}”, you say. I am only a small program, but your words really came over QUIC."),
            (_, 2) if path.is_object() => {
                format!("“{heard}”: that came straight from {}, with nobody between us.", word(path, "remote"))
            }
            (_, 3) => format!("“{heard}” is now in my database; that is what the ✓ on your side means."),
            _ if heard.ends_with('?') => {
                "Good question. I would ask a human; give them your link: knothole id".to_owned()
            }
            _ => format!("“{heard}”, I hear."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bob_greets_explains_and_then_echoes() {
        let mut bob = Companion::default();
        let path = json!({"kind": "direct", "remote": "127.0.0.1:7", "rtt_ms": 0.31});
        assert!(bob.words("Hello!", &path).starts_with("Hello Alice"));
        assert_eq!(bob.words("what?", &path), "“what?”: that came straight from 127.0.0.1:7, with nobody between us.");
        assert!(bob.words("aha", &path).contains("database"));
        assert_eq!(bob.words("I see", &path), "“I see”, I hear.");
    }
}
