//! What is said when a command was carried out.

use serde_json::Value;

use super::Command;
use crate::session::name;
use crate::terminal::screen::pages::span;
use crate::terminal::words::{Words, fill};
use crate::text::harmless;

impl Command {
    /// Whether another conversation is opened once it is carried out.
    pub(crate) const fn opens(&self) -> bool {
        matches!(self, Self::Accept { .. } | Self::Add { .. })
    }

    /// What is said of the engine's answer; `None` where the answer shows in another way.
    pub(crate) fn outcome(&self, answer: &Value, words: &Words) -> Option<String> {
        let words = &words.people;
        Some(match self {
            Self::Block { .. } => fill(words.now_blocked, &[&name(answer)]),
            Self::Mailbox { open } => if *open { words.mailbox_on } else { words.mailbox_off }.to_owned(),
            Self::Path { relay, .. } => fill(if *relay { words.now_relay } else { words.now_any }, &[&name(answer)]),
            Self::Presence { visible, name: None } => {
                if *visible { words.now_online } else { words.now_invisible }.to_owned()
            }
            Self::Presence { visible, name: Some(who) } => {
                let told = if *visible { words.now_online_to } else { words.now_invisible_to };
                fill(told, &[&harmless(who)])
            }
            Self::Remove { name, .. } => fill(words.removed, &[name.as_deref().unwrap_or_default()]),
            Self::Rename { new, .. } => fill(words.renamed, &[&harmless(new)]),
            Self::Timer { seconds } => match seconds {
                Some(seconds) => fill(words.timer_on, &[&span(u64::from(*seconds))]),
                None => words.timer_off.to_owned(),
            },
            Self::Verify { same: true, .. } => fill(words.now_verified, &[&name(answer)]),
            _ => return None,
        })
    }
}
